"""Each refusal is in the audit log: the reasons that the code can give, found in its source, are each provoked here."""

from __future__ import annotations

import ast
from dataclasses import replace
from pathlib import Path

import pytest

import crimeface_lib.governance as governance
from crimeface_lib.core.errors import RefusedError
from crimeface_lib.governance import Dpia, People, User, template
from crimeface_lib.storage import TinyDocuments

SOURCE = Path(governance.__file__).parent
SECRET, WRONG = "canary-correct-horse-battery", "canary-wrong-horse-battery"


def reasons_in_the_source() -> set[tuple[str, str]]:
    """Return (module, reason) of every refusal: the text given to ``refuse``, and the keys of ``refusals``."""
    found = set()
    for module in ("access", "register", "changes", "review"):
        for node in ast.walk(ast.parse((SOURCE / f"{module}.py").read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "attr", "") in ("refuse", "_refuse"):
                place = 3 if (node.func.attr, module) == ("_refuse", "register") else 2
                reason = node.args[place]
                texts = [n.value for n in ast.walk(reason) if isinstance(n, ast.Constant)]
                assert texts or isinstance(reason, ast.Name | ast.Starred), ast.unparse(node)
                found |= {(module, text) for text in texts}
            assigned = isinstance(node, ast.AnnAssign | ast.Assign) and ast.unparse(node).startswith("refusals = {")
            if assigned and isinstance(node.value, ast.Dict):
                found |= {(module, key.value) for key in node.value.keys}
    return found


def lock(office, account="analyst-1"):
    for _ in range(4):
        with pytest.raises(RefusedError):
            office.people.authenticate(account, WRONG)
    office.people.authenticate(account, SECRET)


def ended_token(office):
    token = office.people.issue_token(office.author)
    office.people.end_tokens("author-1", by=office.author)
    office.people.read_token(token)


def first_account(office):
    store = TinyDocuments.open(office.folder / "empty.json")
    People.open(store, audit=office.audit, clock=office.clock).add(User("u", frozenset({"researcher"})))


def hub(office, answer, environment=None):
    def ask(url, token):
        if answer is None:
            raise RefusedError("no such token")
        return answer

    office.people.trust_hub("http://hub/hub/api", by=office.admin)
    office.people.from_jupyterhub({"JUPYTERHUB_API_TOKEN": "t", **(environment or {})}, ask=ask)


def approve(office, content=None, *, favourable=True, advised=True, by=None, **options):
    dpia = office.submitted(content)
    if advised:
        office.register.advise(dpia, "Advice.", favourable=favourable, adviser=office.dpo)
    office.register.approve(dpia, approver=by or office.dpo, review_by=office.review_by, **options)


def sole_admin(office):
    both = office.people.set_roles("dpo-1", ["approver", "admin"], by=office.admin)
    office.people.set_roles("admin-1", [], by=both)
    return both


def high(office):
    content = template("face_search").to_dict()
    content["risks"] = [{"risk": "r", "likelihood": "probable", "severity": "severe"}]
    approve(office, Dpia.from_dict(content))


def other_threshold(office):
    dpia = office.approved()
    content = template("face_search").to_dict()
    content["faces"]["threshold"] = 0.5
    office.register.edit(dpia, Dpia.from_dict(content), author=office.author)
    office.register.submit(dpia, author=office.author)
    office.register.advise(dpia, "Advice.", favourable=True, adviser=office.dpo)
    office.register.approve(dpia, approver=office.dpo, review_by=office.review_by)


def change(office, **decided):
    number = office.changes.ask("children", {"photos": []}, reason="r", by=office.author)
    for by in decided.get("by", ()):
        office.changes.approve(number, answer="a", by=by)
    return number


def altered_change(office):
    number = change(office, by=[office.dpo])
    office.store.update("changes", number, {"content": {"photos": ["another"]}})
    office.changes.require(number, "children")


def review(office, *decide, reviewers=()):
    number = office.reviews.ask(
        run="r", list_sha256="ab", candidates=["c"], by=office.other, reviewers=reviewers
    ).id  # fmt: skip
    for by in decide:
        office.reviews.decide(number, "inconclusive", reason="r", by=by)


def add(office, id, person=""):
    return office.people.add(User(id, frozenset({"reviewer"}), person), by=office.admin)


PROVOKED = {
    ("access", "first_account"): first_account,
    ("access", "credentials"): lambda o: o.people.authenticate("nobody", WRONG),
    ("access", "locked"): lock,
    ("access", "hub"): lambda o: o.people.from_jupyterhub({}),
    ("access", "hub_untrusted"): lambda o: o.people.from_jupyterhub({"JUPYTERHUB_API_TOKEN": "t"}),
    ("access", "hub_denied"): lambda o: hub(o, None),
    ("access", "hub_denied "): lambda o: hub(o, "other-1", {"JUPYTERHUB_USER": "dpo-1"}),
    ("access", "token"): lambda o: o.people.read_token("made-up.token"),
    ("access", "token_ended"): ended_token,
    ("access", "role"): lambda o: o.people.require(o.stakeholder, "face_search"),
    ("access", "unknown_account"): lambda o: o.people.require(User("ghost"), "face_search"),
    ("access", "altered_account"): lambda o: o.people.require(replace(o.other, person="p2"), "face_search"),
    ("access", "no_admin"): lambda o: o.people.add(User("new")),
    ("access", "own_account"): lambda o: o.people.set_roles("admin-1", ["approver"], by=o.admin),
    ("register", "sole_admin"): lambda o: approve(o, by=sole_admin(o), advised=False),
    ("register", "no_advice"): lambda o: approve(o, advised=False),
    ("register", "advice"): lambda o: approve(o, favourable=False),
    ("register", "high_risk"): high,
    ("register", "state"): lambda o: o.register.submit(o.approved(), author=o.author),
    ("register", "own_work"): lambda o: approve(o, by=o.alias),
    ("register", "threshold"): other_threshold,
    ("changes", "not_approved"): lambda o: o.changes.require(change(o), "children"),
    ("changes", "altered"): altered_change,
    ("changes", "state"): lambda o: change(o, by=[o.dpo, o.dpo]),
    ("changes", "own_work"): lambda o: change(o, by=[o.alias]),
    ("changes", "sole_admin"): lambda o: change(o, by=[sole_admin(o)]),
    ("review", "reviewers"): lambda o: review(o, reviewers=["reviewer-1"]),
    ("review", "not_reviewed"): lambda o: o.reviews.require_decided(run="r", list_sha256="ab", by=o.other),
    ("review", "own_work"): lambda o: review(o, add(o, "other-1b", "p-other")),
    ("review", "decided"): lambda o: review(o, o.reviewer, add(o, "reviewer-1b", "reviewer-1")),
    ("review", "complete"): lambda o: review(o, o.reviewer, o.second, add(o, "reviewer-3")),
    ("review", "not_asked"): lambda o: review(o, add(o, "r3"), reviewers=["reviewer-1", "reviewer-2"]),
}  # fmt: skip


def test_every_reason_in_the_source_is_provoked_here():
    assert reasons_in_the_source() == {(module, reason.strip()) for module, reason in PROVOKED}


@pytest.mark.parametrize(("module", "reason"), PROVOKED, ids=lambda word: word)
def test_a_refusal_is_an_audit_event(office, module, reason):
    office.people.add(User("analyst-1", frozenset({"researcher"})), password=SECRET, by=office.admin)
    with pytest.raises(RefusedError):
        PROVOKED[module, reason](office)
    last = list(office.audit.events())[-1]
    assert (last.event, last.facts["reason"]) == ("access.refused", reason.strip())
    assert last.actor
    assert last.facts["action"]


def test_nothing_here_refuses_past_the_log():
    """``raise RefusedError`` stands only where a caller writes it down: token and Hub (read_token, from_jupyterhub)."""
    told = {("access", "refuse"), ("credentials", "open_token"), ("hub", "ask_hub")}
    found = set()
    for module in ("access", "credentials", "hub", "register", "changes", "thresholds", "review", "policy", "audit"):
        for function in ast.walk(ast.parse((SOURCE / f"{module}.py").read_text())):
            if isinstance(function, ast.FunctionDef):
                raised = {ast.unparse(n.exc) for n in ast.walk(function) if isinstance(n, ast.Raise) and n.exc}
                if any(text.startswith("RefusedError(") for text in raised):
                    found.add((module, function.name))
    assert found == told
