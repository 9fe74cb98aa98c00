"""Bias, retention, bill of materials and mail, as somebody at the command line meets them."""

from __future__ import annotations

import json
import logging
import os
from datetime import timedelta

import numpy as np
import pandas as pd
import pytest
import yaml

from crimeface_lib.core.errors import NotFoundError, RefusedError
from crimeface_lib.core.settings import load_settings
from crimeface_lib.governance import User, template
from crimeface_lib.governance.thresholds import read_report
from crimeface_lib.recognition import load_embedder
from crimeface_lib.reporting import CRATE
from crimeface_lib.synthetic import synthetic_watchlist
from crimeface_lib.workflow import notices, verify_run
from crimeface_lib.workflow.origin import login_name
from crimeface_lib.workflow.retention import apply_on_open, apply_retention, kept_items, plan_retention
from crimeface_lib.workflow.store import CaseStore

SCHEDULE = {"evidence.photo": 30, "watchlist": 365, "run.report": 60, "run.parameters": 60}
KEEPER = User("keeper", frozenset({"custodian"}))
SECOND = User("second", frozenset({"custodian"}))


@pytest.fixture
def store(workplace, clock):
    """A store with an admin who is logged in, two custodians, a researcher and a DPO."""
    opened = CaseStore.open(load_settings().default_store, clock=clock)
    boss = User(login_name({}), frozenset({"admin", "custodian"}))
    opened.people.add(boss)
    for user in (KEEPER, SECOND, User("rhea", frozenset({"researcher"})), User("dora", frozenset({"approver"}))):
        opened.people.add(user, by=boss)
    (opened.folder / "retention.yaml").write_text(yaml.safe_dump({"periods": SCHEDULE}))
    return opened


@pytest.fixture
def approved(store):
    """A DPIA on synthetic data, approved for 20 days."""
    author, dpo = (store.people.get(name) for name in ("rhea", "dora"))
    number = store.dpias.draft(template("face_search"), author=author)
    store.dpias.submit(number, author=author)
    store.dpias.advise(number, "Synthetic data only.", favourable=True, adviser=dpo)
    store.dpias.approve(number, approver=dpo, review_by=store.clock().date() + timedelta(days=20))
    return number


@pytest.fixture
def scores(tmp_path):
    """Comparisons of two groups, one missed ten times as often as the other."""
    rows = []
    for group, missed in (("x", 20), ("y", 200)):
        for mated, wrong in ((True, missed), (False, 10)):
            score = np.where((np.arange(1000) < wrong) == mated, 0.0, 1.0)
            rows.append(pd.DataFrame({"score": score, "mated": mated, "sex_a": group, "sex_b": group}))
    pd.concat(rows).to_csv(tmp_path / "scores.csv", index=False)
    return tmp_path / "scores.csv"


def bias_arguments(scores):
    model = template("face_search").scope.models[0]
    return (
        "bias", "add", scores, "--groups", "sex", "--threshold", "0.5", "--model", model.name, "--version",
        model.version, "--dataset", "synthetic-faces", "--protocol", "drawn with known rates",
    )  # fmt: skip


# -- bias ----------------------------------------------------------------------------------------------
def test_a_differential_outside_its_band_is_said(workplace, store, approved, scores, tmp_path):
    code, said = workplace.run_cli(*bias_arguments(scores), "--dpia", approved)
    assert code == 0, said
    assert "outside its band report 1: fnmr_max_min by sex is 10" in said
    code, said = workplace.run_cli("bias", "summary")
    assert "outside" in said
    code, said = workplace.run_cli(
        "bias", "trend", "fnmr_max_min", "--attribute", "sex", "--model", "dlib", "--figure", tmp_path / "t.png"
    )
    assert code == 0, said
    assert (tmp_path / "t.png").read_bytes().startswith(b"\x89PNG")
    code, said = workplace.run_cli("bias", "export", "1", "--out", tmp_path / "r.json", "--figure", tmp_path / "r.png")
    assert code == 0, said
    assert read_report(tmp_path / "r.json").differentials["sex"].fnmr_max_min == pytest.approx(10)
    assert (tmp_path / "r.png").read_bytes().startswith(b"\x89PNG")
    code, said = workplace.run_cli("bias", "trend", "kindness", "--attribute", "sex", "--model", "dlib")
    assert (code, "expected one of fmr_max_min" in said) == (2, True)


def test_a_table_that_says_neither_true_nor_false_is_refused(workplace, store, scores):
    scores.write_text(scores.read_text().replace("True", "perhaps"))
    code, said = workplace.run_cli(*bias_arguments(scores))
    assert code == 2
    assert "column mated: got 'perhaps', expected true or false" in said
    code, said = workplace.run_cli(*bias_arguments(scores.with_name("absent.csv")))
    assert (code, "not a readable CSV" in said) == (2, True)


# -- retention -----------------------------------------------------------------------------------------
def add_photo(store, name, **options):
    return store.evidence.add(name.encode(), actor="keeper", purpose="intake", kind="photo", name=name, **options)


def stored(store):
    return len(store.evidence.list(actor="keeper", purpose="count"))


def test_the_dry_run_says_what_would_go_and_deletes_nothing(workplace, store, clock):
    item = add_photo(store, "AB/1", case="C-1")
    clock.now += timedelta(days=31)
    plan = plan_retention(store, actor="keeper")
    assert plan.to_delete == (f"evidence:{item.id}",)
    for command in (("retention", "list"), ("retention", "apply", "--dry-run")):
        code, said = workplace.run_cli(*command)
        assert code == 0, said
        assert f"evidence:{item.id}" in said
    assert "0 of 1 would go" in said, "the command line's clock is today's"
    assert store.evidence.get(item.id, actor="keeper", purpose="look") == b"AB/1"


def test_expired_evidence_is_shredded_and_a_hold_of_either_kind_wins(store, clock):
    gone, by_case, by_item = (
        add_photo(store, name, case=case) for name, case in (("a", None), ("b", "C-1"), ("c", None))
    )
    store.evidence.hold(by_item.id, actor="keeper", purpose="appeal")
    hold = store.disposer.hold("case:C-1", reason="appeal", by=KEEPER)
    clock.now += timedelta(days=31)
    for held in (by_case, by_item):
        with pytest.raises(RefusedError, match="is held by"):
            store.evidence.delete(held.id, actor="keeper", purpose="clearing up")
    done = apply_retention(store, actor="keeper")
    assert done.erased == (f"evidence:{gone.id}",)
    assert set(done.held) == {f"evidence:{by_case.id}", f"evidence:{by_item.id}"}
    assert len(store.audit.events("retention.refused")) == 2
    with pytest.raises(NotFoundError, match="was erased"):
        store.evidence.get(gone.id, actor="keeper", purpose="look")
    store.evidence.verify()
    store.audit.ledger.verify()
    store.disposer.release(hold, by=SECOND)
    assert apply_retention(store, actor="keeper").erased == (f"evidence:{by_case.id}",)


def test_expired_watchlist_entries_go_on_open_unless_held(store, clock):
    made = synthetic_watchlist(3, embedder=load_embedder("dlib", device="cpu"), rng=1)
    facts = {"source": "s", "rationale": "r", "category": "c", "added_by": "keeper"}
    watchlist = store.open_watchlist("default", create=True)
    watchlist.enrol_many(made, expires=(clock.now + timedelta(days=5)).date(), **facts)
    kept = watchlist.entries()[0].record
    store.disposer.hold(f"item:watchlist:default:{kept}", reason="appeal", by=KEEPER)
    clock.now += timedelta(days=7)
    opened = store.open_watchlist("default")
    assert [entry.record for entry in opened.entries()] == [kept]
    assert opened.search(made_probe(made), top=5).gallery_size == 0, "held, and expired all the same"
    (event,) = store.audit.events("retention.erased")
    assert len(event.facts["item"]) == 2
    assert store.disposer.tombstones()["category"].tolist() == ["watchlist"] * 2
    assert apply_retention(store, actor="keeper").held == (f"watchlist:default:{kept}",)


def made_probe(made):
    from dataclasses import replace

    return replace(made, vectors=made.vectors[:1], quality=np.array([50.0]), notes=(), subjects=(), failures={})


def test_run_folders_of_this_store_go_and_others_stay(workplace, store, clock, tmp_path):
    crime = tmp_path / "absent.zip"
    assert workplace.run_cli("run", "crime_overview", "-p", f"crime={crime}", "-p", "predict=false")[0] == 2
    assert workplace.run_cli(
        "run", "crime_overview", "-p", f"crime={crime}", "-p", "predict=false", "-p", f"store={tmp_path / 'other'}"
    )[0] == 2  # fmt: skip
    assert len(workplace.runs()) == 2
    clock.now += timedelta(days=61)
    ids = {item.category: item.id for item in kept_items(store, actor="keeper")}
    assert set(ids) == {"run.report", "run.parameters"}
    done = apply_retention(store, actor="keeper")
    assert set(done.erased) == set(ids.values())
    (left,) = workplace.runs()
    assert left.name != ids["run.report"].partition(":")[2]
    gone = ids["run.report"].partition(":")[2]
    assert f"<code>{gone}</code>" not in (workplace.reports / "index.html").read_text()


def test_on_open_is_asked_for_and_a_store_without_a_schedule_says_so(store, clock):
    add_photo(store, "a")
    clock.now += timedelta(days=31)
    apply_on_open(store, actor="keeper")
    assert stored(store) == 1
    (store.folder / "retention.yaml").write_text(yaml.safe_dump({"periods": SCHEDULE, "on_open": True}))
    apply_on_open(store, actor="keeper")
    assert stored(store) == 0
    (store.folder / "retention.yaml").unlink()
    apply_on_open(store, actor="keeper")
    with pytest.raises(NotFoundError, match=r"copy configs/retention\.yaml"):
        plan_retention(store, actor="keeper")


def test_the_example_schedule_reads_and_names_every_category(store):
    from crimeface_lib.governance import RetentionSchedule

    example = (load_settings().project_root / "configs/retention.yaml").read_text()
    schedule = RetentionSchedule.from_yaml(example)
    assert not schedule.on_open
    assert set(schedule.periods) == set(SCHEDULE) | {"evidence"}


def test_holds_at_the_command_line(workplace, store):
    code, said = workplace.run_cli("retention", "hold", "case:C-1", "--reason", "appeal")
    assert (code, "hold 1 on case:C-1" in said) == (0, True)
    assert "case:C-1" in workplace.run_cli("retention", "holds")[1]
    code, said = workplace.run_cli("retention", "release", "1")
    assert (code, "another person has to" in said) == (3, True)
    assert "none yet" in workplace.run_cli("retention", "gone")[1]


# -- models, crates ------------------------------------------------------------------------------------
def test_the_bill_of_materials_of_an_installation_and_of_a_run(workplace, store, tmp_path):
    code, said = workplace.run_cli("mlbom", "--out", tmp_path / "bom.json")
    assert code == 0, said
    names = {c["name"] for c in json.loads((tmp_path / "bom.json").read_text())["components"]}
    assert {"dlib-resnet", "kde", "bfm", "lfw"} <= names
    workplace.run_cli("run", "crime_overview", "-p", "crime=absent.zip", "-p", "predict=false")
    code, said = workplace.run_cli("mlbom", "--out", tmp_path / "run.json", "--run", workplace.runs()[0])
    assert "0 models" in said


def test_a_card_with_an_unknown_licence_is_not_added(workplace, store, tmp_path):
    card = store.models.require("builtin").to_dict() | {"name": "ours"}
    (tmp_path / "card.yaml").write_text(yaml.safe_dump(card | {"licence": {"code": "MIT", "weights": "?"}}))
    code, said = workplace.run_cli("models", "add", tmp_path / "card.yaml")
    assert (code, "is not known" in said) == (3, True)
    (tmp_path / "card.yaml").write_text(yaml.safe_dump(card))
    assert workplace.run_cli("models", "add", tmp_path / "card.yaml")[0] == 0
    assert "ours" in workplace.run_cli("models", "list")[1]


@pytest.mark.parametrize(
    ("notebook", "given", "parameter", "backend"),
    [("recognise", "probe", "embed.embedder=arcface", "embedders:arcface"),
     ("reconstruct", "photo", "reconstruct.model=secret", "morphable_models:secret"),
     ("crime_overview", "crime", "predict_places.model=oracle", "place_models:oracle")],
)  # fmt: skip
def test_no_run_loads_a_model_without_a_card(workplace, store, monkeypatch, notebook, given, parameter, backend):
    """D1: the card is asked for before anything is loaded, and the refusal is logged."""
    loaded = []
    monkeypatch.setattr("crimeface_lib.core.plugins.load_backend", lambda *a: loaded.append(a))
    monkeypatch.setattr("crimeface_lib.workflow.job.check_inputs", lambda steps: None)
    code, said = workplace.run_cli("run", notebook, "-p", f"{given}=absent.png", "-p", parameter)
    assert code == 3, said
    assert f"no model card for '{backend}'" in said
    assert loaded == []
    (event,) = reopened(store, store.clock).audit.events("model.refused")
    assert f"{event.facts['backend']}:{event.facts['model']}" == backend
    (folder,) = workplace.runs()
    assert json.loads((folder / "run.json").read_text())["status"] == "refused"


def test_a_run_that_fails_leaves_a_crate_too(workplace, store, tmp_path):
    (tmp_path / "jane-canary.zip").write_bytes(b"no zip")
    workplace.run_cli("run", "crime_overview", "-p", f"crime={tmp_path / 'jane-canary.zip'}", "-p", "predict=false")
    (folder,) = workplace.runs()
    text = (folder / CRATE).read_text()
    (action,) = [e for e in json.loads(text)["@graph"] if e["@type"] == "CreateAction"]
    assert action["actionStatus"].endswith("FailedActionStatus")
    assert "jane-canary" not in text
    assert verify_run(folder).files == len(json.loads((folder / "run.json").read_text())["outputs"])


# -- mail ----------------------------------------------------------------------------------------------
@pytest.fixture
def outbox(monkeypatch):
    """What would be mailed, with a server set; ``.down`` makes sending fail."""
    from crimeface_lib.reporting import NotSentError

    sent = []

    def send(notice, *, settings, at):
        if getattr(send, "down", False):
            raise NotSentError("mail not sent: ConnectionRefusedError")
        sent.append(notice)

    monkeypatch.setattr(notices, "send_notice", send)
    monkeypatch.setenv("CRIMEFACE_SMTP_HOST", "mail.example.org")
    sent_by = type("Outbox", (), {"sent": sent, "send": send})
    return sent_by


def reopened(store, clock):
    return CaseStore.open(store.folder, clock=clock)


def test_a_review_is_told_once_when_due_and_once_when_over(store, approved, clock, outbox):
    opened = reopened(store, clock)
    for days, expected in ((0, 1), (1, 1), (25, 2), (1, 2)):
        clock.now += timedelta(days=days)
        assert notices.tell_of_reviews(opened) == []
        assert len(outbox.sent) == expected
    assert [notice.key.split(".")[1] for notice in outbox.sent] == ["due", "expired"]


def test_a_mail_that_fails_is_said_logged_and_tried_again(store, approved, clock, outbox, caplog):
    opened = reopened(store, clock)
    outbox.send.down = True
    with caplog.at_level(logging.WARNING):
        (line,) = notices.tell_of_reviews(opened)
    assert "mail not sent" in line
    assert "mail not sent" in caplog.text
    assert [e.facts["reason"] for e in opened.audit.events("notice.failed")] == ["NotSentError"]
    outbox.send.down = False
    assert notices.tell_of_reviews(opened) == []
    assert len(outbox.sent) == 1


def test_no_server_no_mail_and_no_word(store, approved, clock):
    assert notices.tell_of_reviews(store) == []
    assert len(store.audit.events("notice.")) == 0


def test_a_candidate_list_is_told_of_and_an_empty_one_is_not(store, clock, outbox):
    opened = reopened(store, clock)
    canary = {"subject": "jane-canary", "score": 0.9}
    for run, candidates in (("r1", [canary]), ("r2", [])):
        notices.tell_of_run(opened, run, {"recognise": {"results": {"list": {"candidates": candidates}}}})
    notices.tell_of_run(opened, "r3", {"crime_overview": {"results": {"list": [1]}}})
    (notice,) = outbox.sent
    assert notice.key == "candidates.r1"
    assert "jane-canary" not in f"{notice.subject} {notice.body}"


def test_an_alert_is_mailed_from_the_command_line(workplace, store, approved, scores, outbox):
    code, said = workplace.run_cli(*bias_arguments(scores), "--dpia", approved)
    assert code == 0, said
    assert [notice.key for notice in outbox.sent] == ["differential.1"]


def test_a_run_ends_well_although_no_mail_server_answers(workplace, store, approved, monkeypatch):
    monkeypatch.setenv("CRIMEFACE_SMTP_HOST", "127.0.0.1")
    monkeypatch.setenv("CRIMEFACE_SMTP_PORT", "1")
    monkeypatch.setenv("CRIMEFACE_SMTP_SENDER", "a@example.org")
    monkeypatch.setenv("CRIMEFACE_SMTP_RECIPIENTS", "b@example.org")
    workplace.run_cli("run", "crime_overview", "-p", "crime=absent.zip", "-p", "predict=false")
    manifest = json.loads((workplace.runs()[0] / "run.json").read_text())
    assert any(note.startswith("mail not sent: ConnectionRefusedError") for note in manifest["notes"])
    verify_run(workplace.runs()[0])
    code, said = workplace.run_cli("notify")
    assert (code, "mail not sent" in said) == (1, True)
    monkeypatch.delenv("CRIMEFACE_SMTP_HOST")
    assert workplace.run_cli("notify")[0] == 2
    assert os.environ["CRIMEFACE_SMTP_PORT"] == "1"
