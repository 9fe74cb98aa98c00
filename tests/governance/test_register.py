from __future__ import annotations

import json
from datetime import date, timedelta

import pytest

from crimeface_lib.core.errors import InputError, IntegrityError, NotFoundError, RefusedError
from crimeface_lib.governance import Dpia, User, template


def test_from_draft_to_withdrawal(office):
    register, dpia = office.register, office.approved()
    status = register.status(dpia)
    assert (status.state, status.version, status.advised, status.intact) == ("approved", 1, True, True)
    assert register.withdraw(dpia, "The study ended.", user=office.dpo).reason == "The study ended."
    assert [e.event for e in office.audit.events("dpia.")] == [
        "dpia.drafted", "dpia.submitted", "dpia.advised", "dpia.approved", "dpia.withdrawn",
    ]  # fmt: skip
    with pytest.raises(RefusedError, match="it is withdrawn"):
        register.edit(dpia, template("face_search"), author=office.author)


def test_the_state_follows_the_clock(office):
    dpia = office.approved()
    at = {day: office.clock().replace(month=day.month, day=day.day) for day in map(date.fromisoformat, [
        "2026-05-30", "2026-05-31", "2026-06-30", "2026-07-01"])}  # fmt: skip
    states = [office.register.status(dpia, at=moment).state for moment in at.values()]
    assert states == ["approved", "review_due", "review_due", "expired"]
    assert office.register.status(dpia, at=office.clock() - timedelta(hours=1)).state == "submitted"
    office.clock.now = at[date(2026, 7, 1)]
    with pytest.raises(RefusedError, match="it is expired"):
        office.register.withdraw(dpia, "Too late.", user=office.dpo)
    stored = office.records.read_text()
    assert "expired" not in stored
    assert "review_due" not in stored


def test_the_author_approves_under_no_account_and_no_role(office):
    dpia = office.submitted()
    office.register.advise(dpia, "Fine.", favourable=True, adviser=office.dpo)
    by_alias = {"approver": office.alias, "review_by": office.review_by}
    with pytest.raises(RefusedError, match="same person has written"):
        office.register.approve(dpia, **by_alias)
    switched = office.people.set_roles("author-1", ["approver"], by=office.admin)
    with pytest.raises(RefusedError, match="same person has written"):
        office.register.approve(dpia, **{**by_alias, "approver": switched})
    with pytest.raises(RefusedError, match="differ from the stored account"):
        office.register.approve(dpia, **{**by_alias, "approver": User("author-2", frozenset({"approver"}), "p-new")})
    with pytest.raises(RefusedError, match="same person has written"):
        office.register.advise(dpia, "I like it.", favourable=True, adviser=office.alias)
    assert office.reasons("access.refused") == ["own_work", "own_work", "altered_account", "own_work"]


def test_whoever_wrote_any_version_is_an_author(office):
    dpia = office.submitted()
    writes = office.people.set_roles("dpo-1", ["approver", "researcher"], by=office.admin)
    office.register.edit(dpia, template("face_search"), author=writes)
    office.register.edit(dpia, template("face_search"), author=office.author)
    office.register.submit(dpia, author=office.author)
    with pytest.raises(RefusedError, match="same person has written"):
        office.register.advise(dpia, "Fine.", favourable=True, adviser=writes)


def test_advice_comes_first_and_is_lost_with_the_version(office):
    dpia = office.submitted()
    with pytest.raises(RefusedError, match="advice comes first"):
        office.register.approve(dpia, approver=office.dpo, review_by=office.review_by)
    office.register.advise(dpia, "Fine.", favourable=True, adviser=office.dpo)
    office.register.edit(dpia, template("face_search"), author=office.author)
    office.register.submit(dpia, author=office.author)
    with pytest.raises(RefusedError, match="advice comes first"):
        office.register.approve(dpia, approver=office.dpo, review_by=office.review_by)


def test_overruling_the_advice_needs_reasons(office):
    dpia = office.submitted()
    office.register.advise(dpia, "Don't.", favourable=False, adviser=office.dpo)
    with pytest.raises(RefusedError, match="overruled"):
        office.register.approve(dpia, approver=office.dpo, review_by=office.review_by)
    office.register.approve(dpia, approver=office.dpo, review_by=office.review_by, overruled="Because.")
    assert office.store.get("dpias", dpia)["approval"]["overruled"] == "Because."


def test_the_sole_admin_may_not_approve(office):
    dpia = office.submitted()
    office.register.advise(dpia, "Fine.", favourable=True, adviser=office.dpo)
    both = office.people.set_roles("dpo-1", ["approver", "admin"], by=office.admin)
    office.people.set_roles("admin-1", [], by=both)
    with pytest.raises(RefusedError, match="only admin"):
        office.register.approve(dpia, approver=both, review_by=office.review_by)
    office.people.set_roles("admin-1", ["admin"], by=both)
    assert office.register.approve(dpia, approver=both, review_by=office.review_by).state == "approved"


def test_a_high_residual_risk_needs_the_regulator(office, high_risk):
    dpia = office.submitted(high_risk)
    office.register.advise(dpia, "Ask the regulator.", favourable=True, adviser=office.dpo)
    with pytest.raises(RefusedError, match="consult the regulator"):
        office.register.approve(dpia, approver=office.dpo, review_by=office.review_by)
    asked = Dpia.from_dict({**high_risk.to_dict(), "regulator_consultation": "IC-123456"})
    assert office.register.status(office.approved(asked)).state == "approved"


@pytest.mark.parametrize("days", [-1, 0, 367])
def test_an_approval_lasts_a_year_at_most(office, days):
    dpia = office.submitted()
    office.register.advise(dpia, "Fine.", favourable=True, adviser=office.dpo)
    with pytest.raises(InputError, match="review_by"):
        office.register.approve(dpia, approver=office.dpo, review_by=office.clock().date() + timedelta(days=days))


def alter(office, change):
    """Edit the records on the disk, as somebody with an editor could."""
    records = json.loads(office.records.read_text())
    change(records["dpias"]["1"])
    office.records.write_text(json.dumps(records))


def test_an_approval_binds_the_content(office):
    dpia = office.approved()
    alter(office, lambda record: record["versions"][0]["content"]["scope"].update(datasets=["synthetic-others"]))
    assert not office.register.status(dpia).intact
    for read in (office.register.content, office.register.approval):
        with pytest.raises(IntegrityError, match="altered"):
            read(dpia)


def test_content_altered_while_submitted_is_not_approved(office):
    dpia = office.submitted()
    office.register.advise(dpia, "Fine.", favourable=True, adviser=office.dpo)
    alter(office, lambda record: record["versions"][0]["content"].update(need="Another."))
    with pytest.raises(IntegrityError, match="altered"):
        office.register.approve(dpia, approver=office.dpo, review_by=office.review_by)


def test_new_hashes_do_not_help_because_the_log_has_the_old_one(office):
    dpia = office.approved()
    forged = Dpia.from_dict({**template("face_search").to_dict(), "need": "Another."})

    def forge(record):
        record["versions"][0].update(content=forged.to_dict(), content_hash=forged.content_hash)
        record["approval"]["content_hash"] = forged.content_hash

    alter(office, forge)
    assert office.register.status(dpia).intact
    with pytest.raises(RefusedError, match="audit log does not show"):
        office.register.approval(dpia)


@pytest.mark.parametrize("change", [{"state": "approved"}, {"review_by": "2027-01-01"}])
def test_a_withdrawal_or_a_date_can_not_be_edited_away(office, change):
    dpia = office.approved()
    if "state" in change:
        office.register.withdraw(dpia, "No longer.", user=office.dpo)
        alter(office, lambda record: record.update(change))
    else:
        alter(office, lambda record: record["approval"].update(change))
    with pytest.raises(RefusedError, match="audit log does not show"):
        office.register.approval(dpia)


def test_what_can_not_be_logged_does_not_happen(office, monkeypatch):
    dpia = office.approved()

    def full(*args, **kwargs):
        raise OSError("no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(office.audit.ledger, "append", full)
        with pytest.raises(OSError, match="no space"):
            office.register.edit(dpia, template("face_search"), author=office.author)
    assert office.register.status(dpia).version == 1
    with monkeypatch.context() as patch:
        patch.setattr(office.store, "update", full)
        with pytest.raises(OSError, match="no space"):
            office.register.withdraw(dpia, "No longer.", user=office.dpo)
    with pytest.raises(RefusedError, match="audit log does not show"):  # withdrawn in the log: that counts
        office.register.approval(dpia)


def test_what_is_unreadable_or_unknown_says_so(office):
    with pytest.raises(NotFoundError, match="no DPIA 7"):
        office.register.status(7)
    dpia = office.approved()
    alter(office, lambda record: record["versions"][0]["content"].pop("need"))
    with pytest.raises(IntegrityError, match="altered"):
        office.register.content(dpia)
    alter(office, lambda record: record["versions"][0].pop("content"))
    with pytest.raises(IntegrityError, match="can't be read"):
        office.register.list()


def test_reasons_and_advice_are_not_empty(office):
    dpia = office.submitted()
    with pytest.raises(InputError, match="reason"):
        office.register.reject(dpia, "  ", approver=office.dpo)
    with pytest.raises(InputError, match="advice"):
        office.register.advise(dpia, "", favourable=True, adviser=office.dpo)
    assert office.register.status(dpia).state == "submitted"
    assert [e.event for e in office.audit.events("dpia.")] == ["dpia.drafted", "dpia.submitted"]
    assert office.register.reject(dpia, "Say who was asked.", approver=office.dpo).state == "rejected"
    assert office.register.edit(dpia, template("face_search"), author=office.author).state == "draft"


def test_the_register_is_a_table(office):
    assert list(office.register.list().to_frame().columns)[:3] == ["id", "state", "version"]
    office.approved()
    office.submitted(template("place_prediction"))
    listed = office.register.list()
    assert listed.to_frame()["state"].tolist() == ["approved", "submitted"]
    assert listed.to_frame()["kind"].tolist() == ["face_search", "place_prediction"]
    assert "<table" in listed._repr_html_()


def test_empty_fields_are_named_and_not_submitted(office):
    content = template("face_search").to_dict()
    content["consultation"], content["processing"]["retention"] = "", " "
    dpia = office.register.draft(Dpia.from_dict(content), author=office.author)
    with pytest.raises(InputError, match=r"empty fields: processing.retention, consultation"):
        office.register.submit(dpia, author=office.author)
    assert office.register.status(dpia).state == "draft"
    office.register.edit(dpia, template("face_search"), author=office.author)
    assert office.register.submit(dpia, author=office.author).state == "submitted"


def test_versions_are_kept_and_differ_by_field(office):
    dpia = office.approved()
    content = template("face_search").to_dict()
    content["need"], content["scope"]["datasets"] = "Another.", ["synthetic-faces", "sample-faces"]
    office.register.edit(dpia, Dpia.from_dict(content), author=office.other)
    office.register.edit(dpia, template("face_search"), author=office.author)
    versions = office.register.versions(dpia)
    assert [(v.version, v.by) for v in versions] == [(1, "author-1"), (2, "other-1"), (3, "author-1")]
    assert versions[0].content_hash == versions[2].content_hash != versions[1].content_hash
    first = office.register.diff(dpia, before=1, after=2)
    assert first.changes == {
        "need": (template("face_search").need, "Another."), "scope.datasets.2": (None, "sample-faces"),
    }  # fmt: skip
    last = office.register.diff(dpia)
    assert (last.before, last.after, set(last.changes)) == (2, 3, set(first.changes))
    assert office.register.diff(dpia, before=1, after=3).to_frame().empty
    with pytest.raises(NotFoundError, match="no version 4"):
        office.register.diff(dpia, after=4)


def test_the_record_tells_who_did_what(office):
    dpia = office.approved()
    record = office.register.record(dpia)
    assert [step["step"] for step in record.steps] == ["drafted", "submitted", "advised", "approved"]
    assert (record.advice["by"], record.approval["by"], record.approval["overruled"]) == ("dpo-1", "dpo-1", "")
    assert record.approval["content_hash"] == record.content.content_hash
