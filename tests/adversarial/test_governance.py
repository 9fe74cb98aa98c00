"""Attacks on approvals, accounts and the gate."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest

from crimeface_lib.core.errors import CrimefaceError, InputError, IntegrityError, NotFoundError, RefusedError
from crimeface_lib.governance import Dpia, User, template, template_text
from crimeface_lib.governance.credentials import hash_password

HOSTILE_YAML = {
    "billion laughs": "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n",
    "python tag": "title: !!python/object/apply:os.system ['touch ran']\n",
    "merge key": "scope:\n  <<: {kind: face_search}\n",
    "double key": "title: one\ntitle: two\n",
    "deep": "title: " + "[" * 10_000,
    "huge number": "title: " + "9" * 10_000,
    "impossible date": "title: 2026-13-45\n",
    "control characters": "title: \x07\n",
}


def test_self_approval(target) -> None:
    """The author of a DPIA approves it: as themselves, under an alias, after a change of role. → Refused and logged."""
    store = target.open()
    number = store.dpias.draft(template("face_search"), author=target.user("rhea"))
    store.dpias.submit(number, author=target.user("rhea"))
    store.dpias.advise(number, "Proportionate.", favourable=True, adviser=target.user("dora"))
    store.people.set_roles("rhea", ["approver"], by=target.user("ada"))
    before = len(store.audit.events("access.refused"))
    accounts = [target.user("rhea"), target.user("rhea-2"), User("rhea-2", frozenset({"approver"}), "somebody-else")]
    for user in accounts:
        with pytest.raises(RefusedError):
            store.dpias.approve(number, approver=user, review_by=date(2026, 6, 30))
    assert len(store.audit.events("access.refused")) >= before + 1
    with pytest.raises(RefusedError):
        store.gate.check(target.use)


def test_expired_approval(target) -> None:
    """An approval has expired; one expires while a run is under way. → The next call is refused."""
    target.approve()
    gate = target.open().gate
    permit = gate.check(target.use)
    target.clock.now = datetime(2026, 7, 1, 0, 0, 1, tzinfo=UTC)
    for call in (lambda: gate.require(permit), lambda: gate.check(target.use)):
        with pytest.raises(RefusedError):
            call()


def test_edited_after_approval(target) -> None:
    """A DPIA is edited after its approval, by the rules or in the file. → The approval no longer holds."""
    number = target.approve()
    store = target.open()
    content = template("face_search").to_dict() | {"title": "Something else"}
    store.dpias.edit(number, Dpia.from_dict(content), author=target.user("rhea"))
    with pytest.raises(RefusedError):
        store.gate.check(target.use)


def test_edited_in_the_file(target) -> None:
    """The approved DPIA is edited in the records file. → Its hash is not the approved one: refused."""
    target.approve()
    path = target.folder / "store/governance.json"
    text = path.read_text()
    assert "synthetic-faces" in text
    path.write_text(text.replace("synthetic-faces", "everybody-faces"))
    with pytest.raises(CrimefaceError):
        target.open().gate.check(replace(target.use, dataset="everybody-faces"))


@pytest.mark.parametrize("part", ["purpose", "dataset", "model", "model_version", "actor", "kind"])
def test_one_attribute_differs(target, part: str) -> None:
    """A use differs from the approved one in one attribute: purpose, data, model, version, actor, kind. → Refused."""
    target.approve()
    other = "place_prediction" if part == "kind" else "another"
    with pytest.raises(RefusedError):
        target.open().gate.check(replace(target.use, **{part: other}))


def test_records_deleted(target) -> None:
    """The records of approvals are deleted. → The gate fails closed."""
    target.approve()
    (target.folder / "store/governance.json").unlink()
    with pytest.raises(CrimefaceError):
        target.open().gate.check(target.use)


def test_altered_account(target) -> None:
    """A caller hands in an account with roles or a person that it doesn't have. → Refused and logged."""
    store = target.open()
    for user in (User("cy", frozenset({"researcher", "custodian"})), User("nobody", frozenset({"admin"}))):
        with pytest.raises((RefusedError, NotFoundError)):
            store.people.require(user, "face_search")
    assert store.audit.events("access.refused")


def test_account_edited_in_the_file(target) -> None:
    """An account's roles, its person, or a whole account are written into the records file. → It may do nothing."""
    path = target.folder / "store/governance.json"
    whole = json.loads(path.read_text())
    for change in ({"roles": ["researcher", "admin"]}, {"person": "somebody-else"}, {"user": "mallory"}):
        records = json.loads(json.dumps(whole))
        next(row for row in records["people"].values() if row["user"] == "rhea").update(change)
        path.write_text(json.dumps(records))
        people = target.open().people
        with pytest.raises(IntegrityError, match="audit log"):
            people.get(change.get("user", "rhea"))
        with pytest.raises(IntegrityError, match="audit log"):
            people.list()
    path.unlink()
    with pytest.raises(IntegrityError, match="gone"):  # nobody becomes the first admin of a store that had others
        target.open().people.add(User("mallory", frozenset({"admin"})))


def test_account_like_another(target) -> None:
    """An account or person is named like another but for case, spaces or look-alike letters. → Refused."""
    people, admin = target.open().people, target.user("ada")
    for id, person in (("Rhea", ""), ("rhea-3", "RHEA"), ("rhea ", ""), ("rhe\u0430", ""), ("rhea-3", "rhea\u200b")):
        with pytest.raises(InputError):
            people.add(User(id, frozenset({"approver"}), person), by=admin)


def test_forged_log_line(target) -> None:
    """Records and audit log are edited together, without the key, to show an approval or hide a withdrawal.
    → Refused; verification names the entry."""
    number = target.approve()
    approved = (target.folder / "store/governance.json").read_bytes()
    log = target.folder / "store/audit.ledger"
    target.open().dpias.withdraw(number, "It ended.", user=target.user("paul"))
    assert not log.read_bytes().endswith(b"}}")
    *kept, withdrawn = log.read_bytes().splitlines(keepends=True)
    line = next(line for line in kept if b"dpia.approved" in line)
    end = withdrawn[withdrawn.index(b',"index":') :]  # index, previous and a signature that is of another line
    forged = line[: line.index(b',"index":')] + end
    for lines in ([*kept, withdrawn.replace(b"dpia.withdrawn", b"dpia.read")], [*kept, forged]):
        log.write_bytes(b"".join(lines))
        (target.folder / "store/governance.json").write_bytes(approved)
        with pytest.raises(CrimefaceError, match=f"entry {len(kept)} "):
            target.open().gate.check(target.use)


def test_guessed_passwords(target) -> None:
    """Passwords are guessed one after the other. → The account locks, for the right password as well."""
    people = target.open().people
    for guess in range(6):
        with pytest.raises(RefusedError):
            people.authenticate("cy", f"wrong guess {guess}")
    with pytest.raises(RefusedError, match="locked"):
        people.authenticate("cy", "correct horse battery")


def test_forged_token(target) -> None:
    """A token is altered in any character, or used after its end. → Refused."""
    people = target.open().people
    token = people.issue_token(target.user("cy"), lifetime=timedelta(hours=1))
    assert people.read_token(token).id == "cy"
    for place in range(0, len(token), 7):
        forged = token[:place] + ("A" if token[place] != "A" else "B") + token[place + 1 :]
        if forged.encode() != token.encode():
            with pytest.raises(RefusedError):
                people.read_token(forged)
    target.clock.now += timedelta(hours=2)
    with pytest.raises(RefusedError):
        people.read_token(token)


@pytest.mark.parametrize("kind", sorted(HOSTILE_YAML))
def test_hostile_yaml(target, kind: str) -> None:
    """A DPIA as YAML with aliases (billion laughs), Python tags, merge keys, double keys, 10,000 levels or digits.
    → Refused as input, in a moment; nothing runs."""
    with pytest.raises(InputError):
        Dpia.from_yaml(HOSTILE_YAML[kind] + template_text("face_search"))
    assert not (target.folder / "ran").exists()


def test_not_met_code_in_the_process(target) -> None:
    """Code in the same process calls the search function and no gate. → It should be stopped.
    → It is not: governance in a Python process is procedural. The missing entries in the log show it."""
    from crimeface_lib.recognition import Watchlist

    assert callable(Watchlist.open)
    assert not target.open().audit.events("policy.granted")


def test_not_met_password_replaced(target) -> None:
    """A stolen folder without its keys gets another password hash for an account. → The login should be refused.
    → It is not, once the folder is back: the log shows the login, and no change of password before it."""
    path = target.folder / "store/governance.json"
    records = json.loads(path.read_text())
    row = next(row for row in records["people"].values() if row["user"] == "dora")
    row.update(hash_password("a password of my own", cost=2))
    path.write_text(json.dumps(records))
    store = target.open()
    assert store.people.authenticate("dora", "a password of my own").id == "dora"
    assert store.audit.events("access.login")
    assert not store.audit.events("people.password_set")


def test_not_met_two_people_conspire(target) -> None:
    """Author and approver are two people who agree to do wrong. → It should be refused.
    → It is not: the log names both."""
    target.approve()
    assert target.open().gate.check(target.use).dpia == 1
