from __future__ import annotations

from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from crimeface_lib.core.errors import InputError, IntegrityError, NotFoundError
from crimeface_lib.governance import AuditLog
from crimeface_lib.storage import Ledger

AT = datetime(2026, 1, 10, tzinfo=UTC)


@pytest.fixture
def log(tmp_path):
    return AuditLog(Ledger.open(tmp_path / "audit.jsonl", signing_key=Ed25519PrivateKey.generate()))


def test_what_is_recorded_comes_back(log):
    facts = {"dpia": 3, "share": 0.5, "none": None, "yes": True, "hashes": ["sha256:00", "sha256:ff"]}
    assert log.record("dpia.approved", actor="dpo-1", at=AT, **facts) == 0
    log.record("policy.granted", actor="u@hub", at=AT)
    (event,) = log.events("dpia.")
    assert (event.index, event.at, event.event, event.actor, event.facts) == (0, AT, "dpia.approved", "dpo-1", facts)
    assert [e.index for e in log.events(since=1)] == [1]
    frame = log.events().to_frame()
    assert frame["facts"].tolist() == ["dpia=3 hashes=sha256:00,sha256:ff none=None share=0.5 yes=True", ""]
    assert log.events("nothing.").to_frame().columns.tolist() == frame.columns.tolist()


@pytest.mark.parametrize(
    "facts",
    [
        {"subject": "Ada Lovelace"},
        {"input": "/cases/42/probe"},
        {"input": "C:\\cases"},
        {"input": "ada.jpg"},
        {"input": "face.PNG"},
        {"inputs": ["sha256:00", "a/b"]},
        {"person_name": "p1"},
        {"file": "f1"},
        {"token": "abc"},
        {"note": ""},
        {"note": {"nested": "x"}},
        {"note": ["x", ["y"]]},
        {"note": b"bytes"},
    ],
)
def test_names_sentences_images_and_paths_are_refused(log, facts):
    with pytest.raises(InputError) as caught:
        log.record("use.started", actor="u1", at=AT, **facts)
    assert "Ada" not in str(caught.value)
    assert len(log.events()) == 0


@pytest.mark.parametrize(("event", "actor"), [("Approved", "u"), ("approved", "u"), ("dpia.approved", "Ada L.")])
def test_events_are_dotted_words_by_an_account(log, event, actor):
    with pytest.raises(InputError):
        log.record(event, actor=actor, at=AT)


def test_a_use_has_a_start_an_end_and_all_its_fields(log):
    use = log.start_use(
        actor="u1", at=AT, permit="sha256:aa", reference_sha256="bb", input_sha256=["cc"], reviewers=["r1", "r2"]
    )
    log.end_use(use, actor="u1", at=AT, outcome="completed", output_sha256=["dd"])
    start, end = log.events("use.")
    assert start.facts == {
        "permit": "sha256:aa", "reference_sha256": "bb", "input_sha256": ["cc"], "reviewers": ["r1", "r2"],
    }  # fmt: skip
    assert end.facts == {"use": start.index, "outcome": "completed", "output_sha256": ["dd"]}
    with pytest.raises(InputError, match="outcome"):
        log.end_use(use, actor="u1", at=AT, outcome="fine")


def test_an_edited_line_is_found(log, tmp_path):
    log.record("policy.refused", actor="u1", at=AT, reason="expired")
    log.record("policy.granted", actor="u1", at=AT)
    assert log.ledger.verify().entries == 2
    path = tmp_path / "audit.jsonl"
    path.write_text(path.read_text().replace("refused", "granted"))
    with pytest.raises(IntegrityError):
        log.ledger.verify()


def test_other_entries_of_the_ledger_are_left_out(log):
    log.ledger.append({"custody": "x"}, at=AT)
    log.record("policy.granted", actor="u1", at=AT)
    assert [e.index for e in log.events()] == [1]


def test_events_are_found_by_actor_time_and_facts(log):
    later = datetime(2026, 1, 11, tzinfo=UTC)
    log.record("dpia.approved", actor="dpo-1", at=AT, dpia=3)
    log.record("step.finished", actor="u1", at=later, run="r1", permits=["sha256:aa", "sha256:bb"])
    log.record("policy.refused", actor="u1", at=later, dpia=3, reason="expired")
    found = lambda *a, **k: [e.index for e in log.search(*a, **k)]  # noqa: E731
    assert found() == [0, 1, 2]
    assert found(actor="u1") == [1, 2]
    assert found(dpia=3) == [0, 2]
    assert found("policy.", dpia=3) == [2]
    assert found(permits="sha256:bb") == [1]
    assert (found(since=later), found(until=later), found(since=AT, until=later)) == ([1, 2], [0], [0])
    assert found(run="r2") == []
    assert log.show(2).facts["reason"] == "expired"
    for index in (3, -1):
        with pytest.raises(NotFoundError, match=f"no event {index}"):
            log.show(index)


def test_the_last_event_of_a_family_is_read_on_from_where_it_was(log, monkeypatch):
    from crimeface_lib.governance.audit import LatestEvents

    latest = LatestEvents(log, "dpia.", key="dpia")
    assert latest.of(1) is None
    log.record("dpia.drafted", actor="u1", at=AT, dpia=1)
    log.record("dpia.submitted", actor="u1", at=AT, dpia=1)
    assert (latest.of(1).event, latest.of(2)) == ("dpia.submitted", None)
    asked, entries = [], log.ledger.entries
    monkeypatch.setattr(log.ledger, "entries", lambda since=0: asked.append(since) or entries(since))
    latest.of(1)
    log.record("dpia.approved", actor="u2", at=AT, dpia=1)
    assert latest.of(1).event == "dpia.approved"
    assert asked == [2]
