"""Two reviewers, the second blind to the first, both people other than the one who searched."""

from __future__ import annotations

import json

import pytest

from crimeface_lib.core.errors import InputError, IntegrityError, NotFoundError, RefusedError
from crimeface_lib.governance import User

RUN, LIST = "20260110-120000-recognise", "ab" * 32
REASON = "canary-reason: the ears differ"


@pytest.fixture
def review(office) -> int:
    return office.reviews.ask(run=RUN, list_sha256=LIST, candidates=["rec1", "rec2"], by=office.other).id


def issue(office):
    return office.reviews.require_decided(run=RUN, list_sha256=LIST, by=office.other)


def test_issued_after_two_people_have_decided(office, review):
    with pytest.raises(RefusedError, match=r"awaiting review \(0 of 2\)"):
        issue(office)
    first = office.reviews.decide(review, "follow_up", candidate="rec1", reason=REASON, by=office.reviewer)
    assert (first.decided, first.decisions, first.state) == (1, (), "awaiting review (1 of 2)")
    with pytest.raises(RefusedError, match=r"awaiting review \(1 of 2\)"):
        issue(office)
    office.reviews.decide(review, "follow_up", candidate="rec1", reason="Same scar.", by=office.second)
    done = issue(office)
    assert done.state == "agreed"
    assert done.outcome == "Both reviewers decided alike: follow up rec1."
    assert [(d.by, d.reason) for d in done.decisions] == [("reviewer-1", REASON), ("reviewer-2", "Same scar.")]
    assert [e.event for e in office.audit.events("review.")] == [
        "review.asked", "review.decided", "review.decided", "review.opened",
    ]  # fmt: skip
    with pytest.raises(RefusedError, match="no review of this list"):
        office.reviews.require_decided(run=RUN, list_sha256="cd" * 32, by=office.other)
    assert office.reasons("access.refused") == ["not_reviewed"] * 3


def test_reviewers_who_differ_follow_up_nobody(office, review):
    office.reviews.decide(review, "follow_up", candidate="rec1", reason="r", by=office.reviewer)
    done = office.reviews.decide(review, "follow_up", candidate="rec2", reason="r", by=office.second)
    assert (done.state, issue(office).outcome) == (
        "not agreed", "The reviewers did not agree: no candidate is followed up on this list.",
    )  # fmt: skip


def test_the_second_is_blind_to_the_first(office, review):
    """Nothing that is stored or shown tells what the first decided, not even the length of what is stored."""
    seen = []
    for decision, candidate in (("follow_up", "rec1"), ("inconclusive", "")):
        other = office.reviews.ask(run="r2", list_sha256=LIST, candidates=["rec1"], by=office.other).id
        office.reviews.decide(other, decision, candidate=candidate, reason=REASON, by=office.reviewer)
        (seal,) = json.loads(office.records.read_text())["reviews"][str(other)]["seals"]
        seen.append(len(seal))
        shown = office.reviews.get(other)
        assert REASON not in f"{shown} {shown._repr_html_()} {shown.to_dict()} {office.reviews.list()._repr_html_()}"
        assert decision not in str(shown.to_dict())
    stored = b"".join(path.read_bytes() for path in office.folder.rglob("*") if path.is_file())
    assert b"canary-reason" not in stored
    assert seen[0] == seen[1]


def test_the_same_person_is_no_second_reviewer(office, review):
    office.people.add(User("reviewer-1b", frozenset({"reviewer"}), "reviewer-1"), by=office.admin)
    office.people.add(User("other-1b", frozenset({"reviewer"}), "p-other"), by=office.admin)
    office.reviews.decide(review, "no_follow_up", reason="r", by=office.reviewer)
    for account, said in (
        ("reviewer-1", "has decided"), ("reviewer-1b", "has decided"), ("other-1b", "ran the search"),
        ("author-1", "may not decide_candidates"), ("dpo-1", "may not decide_candidates"),
    ):  # fmt: skip
        with pytest.raises(RefusedError, match=said):
            office.reviews.decide(review, "no_follow_up", reason="r", by=office.people.get(account))
    office.reviews.decide(review, "no_follow_up", reason="r", by=office.second)
    third = office.people.add(User("reviewer-3", frozenset({"reviewer"})), by=office.admin)
    with pytest.raises(RefusedError, match="two people have decided"):
        office.reviews.decide(review, "no_follow_up", reason="r", by=third)
    assert office.reasons("access.refused") == ["decided", "decided", "own_work", "role", "role", "complete"]


def test_those_who_were_asked_decide(office):
    third = office.people.add(User("reviewer-3", frozenset({"reviewer"})), by=office.admin)
    asked = office.reviews.ask(
        run=RUN, list_sha256=LIST, candidates=["rec1"], by=office.other, reviewers=["reviewer-1", "reviewer-2"]
    )
    with pytest.raises(RefusedError, match="others were asked"):
        office.reviews.decide(asked.id, "inconclusive", reason="r", by=third)
    for reviewers in (["reviewer-1"], ["reviewer-1", "reviewer-1"], ["reviewer-1", "dpo-1"]):
        with pytest.raises(RefusedError):
            office.reviews.ask(run=RUN, list_sha256=LIST, candidates=[], by=office.other, reviewers=reviewers)
    with pytest.raises(RefusedError, match="may not face_search"):
        office.reviews.ask(run=RUN, list_sha256=LIST, candidates=[], by=office.reviewer)


@pytest.mark.parametrize(
    ("decision", "candidate", "reason"),
    [("follow_up", "", "r"), ("no_follow_up", "rec1", "r"), ("follow_up", "rec9", "r"), ("is him", "", "r"),
     ("inconclusive", "", " ")],
)  # fmt: skip
def test_a_decision_is_one_of_three_with_a_reason(office, review, decision, candidate, reason):
    with pytest.raises(InputError):
        office.reviews.decide(review, decision, candidate=candidate, reason=reason, by=office.reviewer)
    assert office.reviews.get(review).decided == 0


@pytest.mark.parametrize("harm", ["byte", "swap", "drop", "repeat"])
def test_a_decision_can_not_be_changed_afterwards(office, review, harm):
    office.reviews.decide(review, "follow_up", candidate="rec1", reason="r", by=office.reviewer)
    office.reviews.decide(review, "follow_up", candidate="rec1", reason="r", by=office.second)
    records = json.loads(office.records.read_text())
    seals = records["reviews"][str(review)]["seals"]
    third = office.people.add(User("reviewer-3", frozenset({"reviewer"})), by=office.admin)
    changed = {
        "byte": [seals[0], ("A" if seals[1][0] != "A" else "B") + seals[1][1:]], "swap": seals[::-1],
        "drop": seals[:1], "repeat": [seals[0], seals[0]],
    }[harm]  # fmt: skip
    records = json.loads(office.records.read_text())
    records["reviews"][str(review)]["seals"] = changed
    office.records.write_text(json.dumps(records))
    if harm == "drop":  # back to one: a new second decision doesn't fit the log
        with pytest.raises(RefusedError, match="awaiting"):
            issue(office)
        with pytest.raises(IntegrityError, match="not those in the audit log"):
            office.reviews.decide(review, "inconclusive", reason="r", by=third)
    else:
        with pytest.raises(IntegrityError):
            issue(office)


def test_an_unknown_review_is_named(office):
    with pytest.raises(NotFoundError, match="no review 4"):
        office.reviews.get(4)
    assert office.reviews.list().to_frame().empty
