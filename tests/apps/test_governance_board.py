"""The governance board without a server: who sees what, the numbers against the store's own, and what doesn't hold."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
import threading
from datetime import timedelta

import ipywidgets as widgets
import pandas as pd
import pytest

from crimeface_lib.apps import GovernanceBoard, Session, governance_check
from crimeface_lib.apps.governance_check import last_check
from crimeface_lib.apps.governance_parts import PARTS, timeline_html
from crimeface_lib.apps.governance_table import PAGE, PagedTable
from crimeface_lib.core.clock import to_iso, utc_now
from crimeface_lib.core.errors import CrimefaceError, RefusedError
from crimeface_lib.core.hashing import sha256_bytes
from crimeface_lib.core.settings import Settings
from crimeface_lib.governance import Dpia, Use, User, audit_bias, template
from crimeface_lib.governance.access import PERMITTED
from crimeface_lib.reporting import format_count
from crimeface_lib.synthetic import synthetic_scores
from crimeface_lib.workflow.demo import PEOPLE
from crimeface_lib.workflow.seal import list_outputs, sign_manifest, write_heads, write_manifest
from crimeface_lib.workflow.store import CaseStore

ACCOUNTS = {role: user.id for user in PEOPLE for role in user.roles} | {"custodian": "demo-custodian"}
WRITER, DPO, APPROVER = PEOPLE[1:4]


class Clock:
    """Days from now that the store believes in."""

    def __init__(self, days: float = 0) -> None:
        self.days = days

    def __call__(self):
        return utc_now() + timedelta(days=self.days)


def open_store(settings: Settings, clock=utc_now) -> CaseStore:
    return CaseStore.open(settings.stores / "demo" / "store", settings=settings, clock=clock)


def add_run(store: CaseStore, number: int, *, status: str, actor: str) -> str:
    """Leave what a finished run leaves, without the run."""
    at = store.clock()
    id = f"{at:%Y%m%d-%H%M%S}-recognise-{number}"
    folder = store.settings.reports / id
    folder.mkdir(parents=True)
    (folder / "report.html").write_text(f"<p>{number}</p>")
    store.audit.record("step.started", actor=actor, at=at, run=id, step="recognise")
    data = write_manifest(folder, {
        "id": id, "notebook": "recognise", "status": status, "started": to_iso(at), "finished": to_iso(at),
        "actor": actor, "purpose": "research", "case": None, "permits": [], "outputs": list_outputs(folder),
    })  # fmt: skip
    sign_manifest(folder, data, store.keys.signing_key)
    store.audit.record(f"run.{status}", actor=actor, at=at, run=id, manifest=sha256_bytes(data))
    write_heads(folder, {"audit": store.audit.ledger.checkpoint(at=at), "custody": store.evidence.checkpoint()})
    return id


def approve(store: CaseStore, title: str, *, days: int) -> int:
    number = store.dpias.draft(Dpia.from_dict(template("face_search").to_dict() | {"title": title}), author=WRITER)
    store.dpias.submit(number, author=WRITER)
    store.dpias.advise(number, "Synthetic data only.", favourable=True, adviser=DPO)
    store.dpias.approve(number, approver=APPROVER, review_by=store.clock().date() + timedelta(days=days))
    return number


@pytest.fixture(scope="module")
def filled(tmp_path_factory) -> Settings:
    """A demonstration store with two assessments, runs, refusals, bias reports, a change of threshold, evidence."""
    root = tmp_path_factory.mktemp("board")
    settings = Settings(home=root / "home", reports_dir=root / "reports")
    clock = Clock(-60)
    store = open_store(settings, clock)
    for user in (*PEOPLE, User("demo-custodian", frozenset({"custodian"}))):
        store.people.add(user, by=None if user is PEOPLE[0] else PEOPLE[0])
    approve(store, "Spring", days=20)
    add_run(store, 0, status="done", actor="demo-researcher")
    clock.days = -10
    number = approve(store, "Autumn <b>", days=22)
    model = template("face_search").scope.models[0]
    about = {"model": model.name, "version": model.version, "dataset": "synthetic-faces", "protocol": "made scores"}
    made = synthetic_scores({"a": (0.02, 0.05), "b": (0.1, 0.2)}, people=400, rng=1)
    options = {"groups": ["group"], "replicas": 20, "rng": 1}
    before, after = (
        audit_bias(made.comparisons, threshold=t, **options) for t in (made.threshold, made.threshold + 0.05)
    )
    for report in (before, after):
        store.bias.add(report, **about, actor="demo-researcher", dpia=number)
    change = store.policy.ask(
        made.threshold + 0.05, model=model.name, version=model.version, before=before, after=after,
        reason="It evens the groups out.", by=WRITER,
    )  # fmt: skip
    store.changes.approve(change, answer="Agreed.", by=APPROVER)
    for at, status in enumerate(("done", "failed", "refused"), start=1):
        add_run(store, at, status=status, actor="demo-researcher")
    with pytest.raises(RefusedError):
        store.gate.check(Use("face_search", "another", "synthetic-faces", model.name, model.version, "demo-researcher"))
    for name in ("AB/1", "AB/2", "AB/3"):
        store.evidence.add(name.encode() * 2000, actor="demo-custodian", purpose="intake", kind="photo", name=name)
    return settings


@pytest.fixture
def settings(filled, tmp_path) -> Settings:
    """A copy that a test may break."""
    for name in ("home", "reports"):
        shutil.copytree(filled.stores.parent / name, tmp_path / name)
    return Settings(home=tmp_path / "home", reports_dir=tmp_path / "reports")


def board_of(settings: Settings, role: str) -> GovernanceBoard:
    board = GovernanceBoard(Session(settings=settings, environ={}))
    board.session.open_demonstration(ACCOUNTS[role])
    return board


def everything(board: GovernanceBoard) -> str:
    """Return all that was sent of a board: every text of every widget, shown or not, but for the session's line."""
    found, todo = (
        [],
        [board.line, board._inside, *board._sections.values(), *(t.widget for t in board.run_tables.values())],
    )
    while todo:
        part = todo.pop()
        found += [str(getattr(part, name, "")) for name in ("value", "options", "description")]
        todo += getattr(part, "children", ())
    return " ".join(found)


def show_all(board: GovernanceBoard) -> None:
    for _, name in board.nav.options:
        board.nav.value = name


# -- who sees what ---------------------------------------------------------------------------------------------
SHOWN = {
    "researcher": ["assessments", "bias"], "stakeholder": ["assessments", "bias"],
    **{r: [name for name in PARTS if name != "overview"] for r in ("reviewer", "approver", "custodian", "admin")},
}  # fmt: skip


def test_the_table_of_parts_names_actions_that_some_role_has():
    known = frozenset().union(*PERMITTED.values())
    assert all(part.needs and set(part.needs) <= known for part in PARTS.values())
    assert set(SHOWN) == set(PERMITTED)


@pytest.mark.parametrize("role", list(PERMITTED))
def test_each_role_sees_its_parts_and_nothing_of_the_others_is_sent(filled, role):
    board = board_of(filled, role)
    assert [name for _, name in board.nav.options] == SHOWN[role]
    show_all(board)
    text = everything(board)
    assert "Autumn &lt;b&gt;" in text, "titles are text, not markup"
    assert "<b>Autumn" not in text
    others = {user.id for user in PEOPLE} - {ACCOUNTS[role]}
    named = {account for account in others if account in text}
    assert named == ({"demo-researcher", "demo-approver"} - {ACCOUNTS[role]} if len(SHOWN[role]) > 2 else set())
    for word in ("Traceback", "crimeface_lib", str(filled.stores.parent), "match"):
        assert word not in text, word


def test_nobody_and_an_account_without_roles_see_nothing(settings):
    board = GovernanceBoard(Session(settings=settings, environ={}))
    assert "Sign in" in board.line.value
    assert "cf-tile" not in everything(board)
    store = open_store(settings)
    store.people.set_roles("demo-stakeholder", [], by=PEOPLE[0])
    board.session.open_demonstration("demo-stakeholder")
    assert "roles don&#x27;t permit" in board.line.value
    assert "cf-tile" not in everything(board)


def test_a_role_that_is_taken_away_takes_the_page_away_at_the_next_click(settings):
    board = board_of(settings, "reviewer")
    board.nav.value = "runs"
    assert "demo-researcher" in everything(board)
    store = open_store(settings)
    store.people.set_roles("demo-reviewer-2", ["stakeholder"], by=PEOPLE[0])
    assert ACCOUNTS["reviewer"] == "demo-reviewer-2"
    board.nav.value = "refusals"
    assert [name for _, name in board.nav.options] == SHOWN["stakeholder"]
    assert "demo-researcher" not in everything(board)
    board.check.start()
    assert "may not read_audit" in board.check.line.value


def test_signing_out_clears_the_page(filled):
    board = board_of(filled, "admin")
    show_all(board)
    board.session.leave.click()
    assert "Sign in" in board.line.value
    assert not re.search("demo-|DPIA|cf-tile", everything(board))


# -- what stands there -----------------------------------------------------------------------------------------
def number_of(board: GovernanceBoard, tile: str) -> str:
    return re.search(rf"<span>{tile}</span><b>([^<]*)</b>", board.tiles.value)[1]


def test_the_tiles_agree_with_the_store(filled):
    board, store = board_of(filled, "stakeholder"), open_store(filled)
    assert number_of(board, "Assessments in force") == "1"
    assert number_of(board, "Soonest to end") == "12 days"
    assert "1 to be reviewed within 30 days; 1 expired" in board.tiles.value
    assert number_of(board, "Runs in the period") == str(len(list(filled.reports.iterdir())))
    refused = [e for e in store.audit.events() if e.event.endswith(".refused")]
    assert number_of(board, "Refusals in the period") == str(len(refused)) == "2"
    outside = store.bias.list()[-1].alerts
    assert number_of(board, "Differentials outside their band") == str(len(outside))
    assert number_of(board, "Integrity") == "Not checked"
    for words in ("DPIA 1 is expired", "DPIA 2 is review due"):
        assert words in board.attention.value


def test_a_period_is_kept_to_and_one_that_ends_before_it_begins_is_said(filled):
    board = board_of(filled, "admin")
    board.period.value = 30
    assert number_of(board, "Runs in the period") == "3"
    board.period.value = 0
    assert number_of(board, "Runs in the period") == "4"
    board.period.value = -1
    today = utc_now().date()
    assert board._dates.layout.display == ""
    board.first.value = today - timedelta(days=70)
    board.last.value = today - timedelta(days=50)
    assert number_of(board, "Runs in the period") == "1"
    board.last.value = today - timedelta(days=80)
    assert "expected the first day first" in board.line.value
    assert [name for _, name in board.nav.options] == ["integrity"]
    board.period.value = 90
    assert number_of(board, "Runs in the period") == "4"


def test_runs_are_newest_first_and_say_what_became_of_them(filled):
    board = board_of(filled, "reviewer")
    board.nav.value = "runs"
    rows = board.run_tables["runs"].chosen
    assert rows["status"].tolist() == ["refused", "failed", "done", "done"]
    assert set(rows["seal"]) == {"not checked"}
    board.run_tables["runs"].choice.value = "failed"
    assert board.run_tables["runs"].chosen["run"].str.endswith("-2").all()
    board.which.value = "uses"
    assert "None in this period." in board._run_box.children[0].children[2].value


def test_the_timeline_puts_each_day_where_it_is(filled):
    store = open_store(filled)
    today = utc_now().date()
    text = timeline_html(store.dpias.list(), today=today)
    assert text.index("DPIA 2") < text.index("DPIA 1"), "what is in force comes first"
    assert "12 days left" in text
    assert "expired 40 days ago" in text
    begin, end = today - timedelta(days=70), today + timedelta(days=37)
    days = (end - begin).days
    for css, left in (("approved", 60), ("due", 40), ("today", 70)):
        place = 100 * (left if css == "today" else {"approved": 60, "due": 60}[css]) / days
        assert f'cf-bar-{css}" style="left:{place:.2f}%' in text, (css, left)
    last = store.dpias.status(1)
    expired = 100 * ((last.review_by + timedelta(days=1)) - begin).days / days
    assert f'cf-bar-expired" style="left:{expired:.2f}%' in text
    assert "no timeline" in timeline_html([], today=today)


def test_bias_shows_the_chosen_measure_with_its_values(filled):
    board = board_of(filled, "stakeholder")
    board.nav.value = "bias"
    trend = open_store(filled).bias.trend("fmr_max_min", attribute="group", model="dlib")
    board.bias.measure.value = "fmr_max_min"
    assert 'alt="FMR, worst group over best by group, 2 reports' in board.bias.figure.value
    assert "data:image/png;base64" in board.bias.figure.value
    assert board.bias.table.chosen["value"].tolist() == [f"{v:.4g}" for v in trend.rows["value"][::-1]]


def test_a_change_of_threshold_shows_both_people_and_its_effect(filled):
    board = board_of(filled, "approver")
    board.nav.value = "thresholds"
    (row,) = board.changes.chosen.to_dict("records")
    assert (row["asked by"], row["decided by"], row["state"]) == ("demo-researcher", "demo-approver", "approved")
    (change,) = open_store(filled).changes.list()
    assert f"{change.content['before']:g} → {change.content['after']:g}" in row["what"]
    for side in ("before", "after"):
        value = change.content[f"differentials_{side}"]["differentials"]["group"]["garbe"]
        assert f'<td class="num">{value:.3g}</td>' in board.effects.value


def test_retention_is_looked_at_only_when_asked_and_that_is_logged(settings):
    board = board_of(settings, "custodian")
    board.nav.value = "retention"
    before = len(open_store(settings).evidence.custody())
    look = board._sections["retention"].children[1].children[0]
    look.click()
    assert "no retention schedule" in board.retention_note.value
    shutil.copy(settings.project_root / "configs" / "retention.yaml", settings.stores / "demo" / "store")
    look.click()
    assert "Nothing is due." in board.retention_note.value
    rows = board.retention.chosen.set_index("category")
    assert (rows.loc["evidence.photo", "things"], rows.loc["run.report", "things"]) == ("3", "4")
    (look,) = open_store(settings).evidence.custody().events[before:]
    assert (look["event"], look["actor"]) == ("consultation", "demo-custodian")


def test_an_empty_store_has_sensible_words(tmp_path):
    settings = Settings(home=tmp_path / "home", reports_dir=tmp_path / "reports")
    store = open_store(settings)
    for user in PEOPLE:
        store.people.add(user, by=None if user is PEOPLE[0] else PEOPLE[0])
    board = board_of(settings, "approver")
    show_all(board)
    text = everything(board)
    for words in ("no assessment is in force", "Nothing in this period.", "No bias report has been kept",
                  "Nothing was refused", "Nobody asked for a change", "No assessment has been written"):  # fmt: skip
        assert words in text, words
    board.check.start()
    board.check.thread.join()
    assert "Everything that was checked holds" in board.check.line.value
    assert "there are none" in board.check.result.value


# -- tables ----------------------------------------------------------------------------------------------------
def test_a_table_turns_its_pages_filters_and_saves_what_is_left():
    frame = pd.DataFrame(
        {"run": [f"r{i}" for i in range(60)], "status": ["done", "failed", "=1+1"] * 20, "n": range(60)}
    )
    table = PagedTable("Runs", none="None.", choose="status")
    table.show(frame)
    assert table.count.value.count("1–25 of 60") == 1
    table.next.click()
    table.next.click()
    assert "51–60 of 60" in table.count.value
    assert table.next.disabled
    assert table.table.value.count("<tr>") == 1 + 60 - 2 * PAGE
    table.choice.value = "=1+1"
    assert "1–20 of 20, of 60 in all" in table.count.value
    table.text.value = "R5"
    assert table.chosen["run"].tolist() == ["r5", "r50", "r53", "r56", "r59"]
    data = base64.b64decode(re.search(r'base64,([^"]*)"', table.save.value)[1])
    saved = pd.read_csv(io.BytesIO(data))
    assert saved["run"].tolist() == table.chosen["run"].tolist()
    assert set(saved["status"]) == {"'=1+1"}, "a spreadsheet computes nothing of it"
    table.text.value = "nowhere"
    assert "No row has that." in table.table.value
    assert table.save.value == ""


def test_a_table_sends_nothing_once_its_account_may_not():
    may = [True]
    table = PagedTable("Runs", none="None.", may=lambda: may[0])
    table.show(pd.DataFrame({"run": [f"r{i}" for i in range(60)]}))
    may[0] = False
    table.next.click()
    assert "r30" not in table.table.value
    table.text.value = "r"
    assert (table.save.value, "r1" in table.table.value) == ("", False)


# -- integrity -------------------------------------------------------------------------------------------------
def checked(board: GovernanceBoard) -> str:
    board.check.start()
    board.check.thread.join(60)
    assert not board.check.running
    assert board.check.stop.disabled
    assert not board.check.button.disabled
    return board.check.line.value


def test_a_check_says_that_all_holds_and_who_made_it(settings):
    board = board_of(settings, "approver")
    said = checked(board)
    assert "Everything that was checked holds" in said
    assert "cf-ready" in said
    (event,) = open_store(settings).audit.events("integrity.checked")
    assert (event.actor, event.facts["result"]) == (ACCOUNTS["approver"], "holds")
    assert number_of(board, "Integrity") == "Holds"
    for words in (
        "4 as signed",
        "3 items, each read to its end",
        "4 checkpoints agree",
        "no checkpoint held elsewhere",
    ):
        assert words in board.check.result.value, words
    board.nav.value = "runs"
    assert set(board.run_tables["runs"].chosen["seal"]) == {"holds"}
    stakeholder = board_of(settings, "stakeholder")
    assert number_of(stakeholder, "Integrity") == "Holds"
    assert ACCOUNTS["approver"] not in everything(stakeholder)


def edit(path, old: bytes, new: bytes) -> None:
    data = path.read_bytes()
    assert old in data
    path.write_bytes(data.replace(old, new, 1))


def a_custody_line(settings, home):
    edit(home / "evidence" / "custody.jsonl", b'"purpose":"intake"', b'"purpose":"intakE"')


def a_cut_audit_log(settings, home):
    log = home / "audit.ledger"
    log.write_bytes(b"".join(log.read_bytes().splitlines(keepends=True)[:-1]))


def an_audit_line(settings, home):
    edit(home / "audit.ledger", b'"actor":"demo-researcher"', b'"actor":"demo-rexearcher"')


def a_shorter_audit_line(settings, home):
    edit(home / "audit.ledger", b'"actor":"demo-researcher"', b'"actor":"demo-reviewer"')


def flip(home, pick) -> None:
    path = pick((home / "evidence" / "vault" / "objects").glob("*.enc"), key=lambda path: path.stat().st_size)
    data = bytearray(path.read_bytes())
    data[-20] ^= 1
    path.write_bytes(data)


def a_byte_of_evidence(settings, home):
    flip(home, max)


def a_byte_of_a_record(settings, home):
    flip(home, min)


def a_report(settings, home):
    (max(settings.reports.iterdir()) / "report.html").write_text("<p>Something else</p>")


def a_run_that_is_gone(settings, home):
    shutil.rmtree(max(settings.reports.iterdir()))


def the_evidence_records(settings, home):
    (home / "evidence" / "records.json").write_text("{")


@pytest.mark.parametrize(
    ("damage", "first"),
    [
        (a_custody_line, "custody log and records of evidence: entry 0 of custody was changed"),
        (a_byte_of_a_record, "custody log and records of evidence: item "),
        (a_byte_of_evidence, "contents of the evidence: item "),
        (a_report, "report.html was changed"),
        (a_run_that_is_gone, "is gone without an erasure"),
        (the_evidence_records, "custody log and records of evidence: "),
        (an_audit_line, "audit log, by itself: entry"),
        (a_shorter_audit_line, "audit became shorter"),
        (a_cut_audit_log, "audit became shorter"),
    ],
)
def test_what_does_not_hold_is_said_and_never_a_crash(settings, damage, first):
    board = board_of(settings, "admin")
    damage(settings, settings.stores / "demo" / "store")
    board.check.start()
    if board.check.thread is not None:
        board.check.thread.join(60)
    said = board.check.line.value
    assert first in said
    assert "cf-problem" in said
    board.refresh()
    show_all(board)
    text = everything(board)
    assert "Traceback" not in text
    assert str(settings.stores.parent) not in text, "no path of this machine"
    if damage in (a_shorter_audit_line, a_cut_audit_log):
        assert "Nothing can be shown: audit became shorter" in board.line.value
    else:
        assert number_of(board, "Integrity") == "Does not hold"
        assert "found something that does not hold" in board.attention.value


def test_an_edited_audit_log_lets_nobody_in_and_names_the_entry(settings):
    an_audit_line(settings, settings.stores / "demo" / "store")
    board = board_of(settings, "admin")
    assert board.session.user is None
    assert re.search(r"Not signed in: entry \d+ of audit", board.session.note.value)


def test_an_altered_record_is_said_and_integrity_can_still_be_checked(settings):
    path = settings.stores / "demo" / "store" / "governance.json"
    content = json.loads(path.read_text())
    for record in content["dpias"].values():
        record.pop("versions", None)
    path.write_text(json.dumps(content))
    board = board_of(settings, "admin")
    assert "Nothing can be shown: " in board.line.value
    assert [name for _, name in board.nav.options] == ["integrity"]
    assert "checked" in checked(board).lower()


def test_a_long_check_keeps_nobody_out_and_an_item_erased_meanwhile_is_no_fault(settings):
    store, seen = open_store(settings), []

    def tell(done: int, of: int) -> None:
        seen.append((done, of))
        if done == 0:  # another process works on while the first content is read
            other = open_store(settings).evidence
            last = other.list(actor="demo-custodian", purpose="look")[-1]
            other.delete(last.id, actor="demo-custodian", purpose="test of an erasure")

    assert store.evidence.verify(tell=tell).items == 3
    assert seen == [(0, 3), (1, 3), (2, 3)]
    assert store.evidence.verify().erased == 1


def test_what_could_not_be_checked_is_not_said_to_hold(settings, monkeypatch):
    board = board_of(settings, "admin")

    def busy(**options):
        raise CrimefaceError("waited 120 s for evidence.lock; another process holds it")

    monkeypatch.setattr(type(board.session.store.evidence), "verify", lambda self, **options: busy())
    assert "What could be checked holds, not all could." in checked(board)
    assert "waited 120 s" in board.check.result.value
    assert number_of(board, "Integrity") == "Not checked"


def test_a_section_that_cant_be_read_is_said(settings, monkeypatch):
    board = board_of(settings, "admin")

    def altered(self, **options):
        raise KeyError("content")

    monkeypatch.setattr(type(board.session.store.changes), "list", altered)
    board.nav.value = "thresholds"
    assert "not in the form that is written here (KeyError)" in board.line.value
    assert [name for _, name in board.nav.options] == ["integrity"]


def give(board: GovernanceBoard, data: bytes) -> None:
    file = {"name": "checkpoint.json", "type": "application/json", "size": len(data), "content": memoryview(data),
            "last_modified": utc_now()}  # fmt: skip
    board.check.upload.value = (file,)


def test_a_checkpoint_held_elsewhere_shows_a_log_rewritten_by_whoever_has_the_keys(settings):
    board = board_of(settings, "reviewer")
    store = open_store(settings)
    held = {"audit": store.audit.ledger.checkpoint(at=utc_now()), "custody": store.evidence.checkpoint()}
    data = json.dumps({name: head.to_dict() for name, head in held.items()}).encode()
    give(board, data)
    assert "was given" in board.check.given.value
    assert "holds" in checked(board)
    assert board.check.result.value.count("1 checkpoints agree") == 2
    assert "no checkpoint held elsewhere" not in board.check.result.value

    give(board, json.dumps({"custody": held["custody"].to_dict()}).encode())
    assert "holds" in checked(board), "an export's checkpoint is of one log only"

    forged = held["audit"].sign(origin="audit", size=3, root=b"\0" * 32, at=utc_now(), key=store.keys.signing_key)
    give(board, json.dumps({"audit": forged.to_dict()}).encode())
    said = checked(board)
    assert "audit log, against checkpoints held elsewhere: the checkpoint held elsewhere: its first 3 entries" in said


@pytest.mark.parametrize("data", [b"", b"[1]", b'{"audit": 1}', b"\xff\xfe", b" " * 1_000_001])
def test_a_file_that_is_no_checkpoint_is_refused_with_words(filled, data):
    board = board_of(filled, "reviewer")
    give(board, data)
    assert "Not used: " in board.check.given.value
    assert board.check.upload.value == ()


def test_a_check_moves_does_not_block_and_can_be_stopped(settings, monkeypatch):
    going, seen = threading.Event(), []

    def slow(store, *, held, tell):
        for done in range(100_000):
            tell("seals of runs", done, 100_000)
            going.set()
            threading.Event().wait(0.002)
        raise AssertionError("nobody stopped it")

    monkeypatch.setattr(governance_check, "check_store", slow)
    monkeypatch.setattr(governance_check, "_PAUSE", 0.0)
    board = board_of(settings, "admin")
    board.check.bar.observe(lambda change: seen.append(change["new"]), "value")
    board.check.start()
    first = board.check.thread
    assert going.wait(30)
    board.check.button.click()
    assert board.check.thread is first, "one at a time"
    board.nav.value = "runs"
    board.refresh()
    assert board.check.running, "the page works meanwhile, and the check goes on"
    board.check.stop.click()
    board.check.thread.join(30)
    assert len(seen) > 1
    assert "Stopped before the end" in board.check.line.value
    store = open_store(settings)
    assert [e.facts["result"] for e in store.audit.events("integrity.checked")] == ["stopped"]
    assert last_check(store) is None
    going.clear()
    board.check.start()
    assert going.wait(30)
    board.session.leave.click()
    board.check.thread.join(30)
    assert board.check.line.value == "", "the next visitor sees nothing of it"


def test_a_thousand_events_are_one_page(settings):
    store = open_store(settings)
    events = [{"event": "policy.refused", "actor": "demo-researcher", "kind": "face_search", "reason": "none"}] * 1000
    store.audit.ledger.append_many(events, at=utc_now())
    board = board_of(settings, "reviewer")
    board.nav.value = "refusals"
    assert number_of(board, "Refusals in the period") == "1002"
    assert f"1–25 of {format_count(1002)}" in board.refusals.count.value
    assert board.refusals.table.value.count("<tr>") == 1 + PAGE


def test_every_control_has_a_name(filled):
    board = board_of(filled, "admin")
    show_all(board)
    todo = [board.widget, *board._sections.values()]
    while todo:
        part = todo.pop()
        todo += getattr(part, "children", ())
        if isinstance(part, widgets.Text | widgets.Dropdown | widgets.DatePicker | widgets.Button | widgets.FileUpload):
            assert part.description, part
