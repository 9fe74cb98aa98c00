from __future__ import annotations

import json
from dataclasses import replace

import pytest

from crimeface_lib.core.errors import InputError, RefusedError
from crimeface_lib.governance import Dpia, Permit, template


def test_a_covered_use_is_granted_and_logged(office):
    dpia = office.approved()
    permit = office.gate.check(office.use)
    assert (permit.dpia, permit.at, permit.review_by) == (dpia, office.clock(), office.review_by)
    assert permit.content_hash == template("face_search").content_hash
    (event,) = office.audit.events("policy.")
    assert (event.event, event.actor) == ("policy.granted", office.use.actor)
    assert event.facts["content_hash"] == permit.content_hash
    office.gate.require(permit)
    assert office.gate.still_valid(permit)


def test_no_dpia_says_how_to_start_one(office):
    with pytest.raises(RefusedError, match=r"crimeface dpia new face_search > dpia.yaml"):
        office.gate.check(office.use)
    assert office.reasons("policy.refused") == ["none"]


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"purpose": "live-use"}, "purpose: got live-use, approved method-evaluation"),
        ({"dataset": "lfw"}, "dataset: got lfw, approved synthetic-faces"),
        ({"model": "arcface"}, "model: got arcface, approved dlib"),
        ({"model_version": "0.3.1"}, "model_version: got 0.3.1, approved 55533b28"),
        ({"threshold": 0.5}, "threshold: got 0.5, approved 0.0"),
    ],
)
def test_one_attribute_differs(office, change, said, named):
    dpia = office.approved()
    use = replace(office.use, **change, dpia=dpia if named else None)
    with pytest.raises(RefusedError, match=said) as caught:
        office.gate.check(use)
    assert str(caught.value).count("got ") == 1
    assert office.reasons("policy.refused") == [f"differs:{next(iter(change))}"]


def test_another_kind_is_refused(office):
    dpia = office.approved()
    use = replace(office.use, kind="place_prediction", dpia=dpia)
    with pytest.raises(RefusedError, match="kind: got place_prediction, approved face_search"):
        office.gate.check(use)


def test_the_refusal_names_the_nearest_dpia(office):
    office.approved()
    content = template("face_search").to_dict()
    content["scope"] |= {"purpose": "teaching", "datasets": ["sample-faces"]}
    office.approved(Dpia.from_dict(content))
    with pytest.raises(RefusedError, match="DPIA 1 does not cover this run: dataset: got lfw"):
        office.gate.check(replace(office.use, dataset="lfw"))
    assert office.gate.check(replace(office.use, purpose="teaching", dataset="sample-faces")).dpia == 2


@pytest.mark.parametrize("account", ["dpo-1", "stakeholder-1", "reviewer-1", "admin-1", "nobody"])
def test_only_a_researcher_runs_one(office, account):
    office.approved()
    with pytest.raises(RefusedError, match=r"needs researcher|no account"):
        office.gate.check(replace(office.use, actor=account))


@pytest.mark.parametrize("step", ["drafted", "submitted", "rejected", "withdrawn", "edited"])
def test_what_is_not_approved_permits_nothing(office, step):
    dpia = office.approved() if step in ("withdrawn", "edited") else office.register.draft(
        template("face_search"), author=office.author)  # fmt: skip
    if step in ("submitted", "rejected"):
        office.register.submit(dpia, author=office.author)
    if step == "rejected":
        office.register.reject(dpia, "No.", approver=office.dpo)
    if step == "withdrawn":
        office.register.withdraw(dpia, "No.", user=office.author)
    if step == "edited":
        office.register.edit(dpia, template("face_search"), author=office.author)
    with pytest.raises(RefusedError, match="expected approved"):
        office.gate.check(office.use)


def test_it_expires_during_a_run(office):
    office.approved()
    permit = office.gate.check(office.use)
    office.clock.now = office.clock.now.replace(month=6, day=30, hour=23, minute=59)
    office.gate.require(permit)
    office.clock.now = office.clock.now.replace(month=7, day=1, hour=0, minute=0)
    with pytest.raises(RefusedError, match="expired on 2026-06-30"):
        office.gate.require(permit)
    assert not office.gate.still_valid(permit)
    assert office.reasons("policy.refused") == ["expired", "expired"]
    with pytest.raises(RefusedError, match="expired on 2026-06-30"):
        office.gate.check(office.use)


def test_whatever_changes_during_a_run_ends_the_permit(office):
    dpia = office.approved()
    permit = office.gate.check(office.use)
    closed = office.people.set_roles("other-1", [], by=office.admin)
    with pytest.raises(RefusedError, match="may not face_search"):
        office.gate.require(permit)
    assert closed.roles == frozenset()
    office.people.set_roles("other-1", ["researcher"], by=office.admin)
    office.gate.require(permit)
    content = Dpia.from_dict({**template("face_search").to_dict(), "need": "Another."})
    office.register.edit(dpia, content, author=office.author)
    with pytest.raises(RefusedError, match="is draft"):
        office.gate.require(permit)
    office.register.submit(dpia, author=office.author)
    office.register.advise(dpia, "Fine.", favourable=True, adviser=office.dpo)
    office.register.approve(dpia, approver=office.dpo, review_by=office.review_by)
    with pytest.raises(RefusedError, match="approved anew"):
        office.gate.require(permit)
    assert office.gate.check(office.use).content_hash == content.content_hash


def test_a_permit_made_by_hand_is_checked_like_any_other(office):
    office.approved()
    real = office.gate.check(office.use)
    forged = Permit(1, real.content_hash, real.at, real.review_by, replace(office.use, dataset="lfw"))
    with pytest.raises(RefusedError, match="dataset"):
        office.gate.require(forged)
    with pytest.raises(RefusedError, match="no DPIA 9"):
        office.gate.require(replace(real, dpia=9))


@pytest.mark.parametrize("harm", ["gone", "not json", "no tables", "no record", "altered", "log gone"])
def test_it_fails_closed(office, harm):
    office.approved()
    permit = office.gate.check(office.use)
    records = json.loads(office.records.read_text())
    if harm == "gone":
        office.records.unlink()
    elif harm == "log gone":
        (office.folder / "audit.jsonl").unlink()
    else:
        if harm == "altered":
            records["dpias"]["1"]["versions"][0]["content"]["need"] = "Another."
        if harm == "no record":
            records["dpias"]["1"] = {"state": "approved"}
        broken = {"not json": '{"dpias": {"1', "no tables": "[]"}.get(harm, json.dumps(records))
        office.records.write_text(broken)
    with pytest.raises(RefusedError):
        office.gate.check(office.use)
    with pytest.raises(RefusedError):
        office.gate.require(permit)


def test_a_grant_that_can_not_be_logged_is_none(office, monkeypatch):
    office.approved()

    def full(*args, **kwargs):
        raise OSError("no space left on device")

    monkeypatch.setattr(office.audit.ledger, "append", full)
    with pytest.raises(RefusedError, match="no space") as caught:
        office.gate.check(office.use)
    assert "could not be written" in caught.value.__notes__[0]


@pytest.mark.parametrize("change", [{"kind": "emotion"}, {"dataset": "cases/a b"}, {"purpose": ""}])
def test_a_use_is_made_of_ids(office, change):
    with pytest.raises(InputError, match=next(iter(change))):
        replace(office.use, **change)
