"""What is due goes and leaves a tombstone; a hold wins, needs a second person, and each refusal is logged (E10)."""

from __future__ import annotations

from datetime import timedelta

import pytest

from crimeface_lib.core.errors import InputError, NotFoundError, RefusedError
from crimeface_lib.governance import Disposer, Item, RetentionSchedule, User

SCHEDULE = RetentionSchedule({"evidence.photo": timedelta(days=10), "run": timedelta(days=10)})
KEEPER = User("keeper-1", frozenset({"custodian"}), "p-keeper")
ALIAS = User("keeper-2", frozenset({"custodian"}), "p-keeper")
SECOND = User("keeper-3", frozenset({"custodian"}))


@pytest.fixture
def disposer(office):
    for user in (KEEPER, ALIAS, SECOND):
        office.people.add(user, by=office.admin)
    return Disposer.open(office.store, audit=office.audit, clock=office.clock, people=office.people)


@pytest.fixture
def things(office):
    """Three things in the world; ``erase`` takes one out of it."""
    start = office.clock()
    there = {"a": "evidence.photo", "b": "evidence.photo", "r": "run"}
    office.clock.pass_days(20)
    return there, lambda: [Item(id, category, start, case="C-1") for id, category in there.items()]


def plan(office, disposer, items):
    held = [Item(i.id, i.category, i.since, disposer.holds_on(i.id, case=i.case), i.case) for i in items]
    return SCHEDULE.due(held, office.clock())


def events(office, name):
    return [e.facts for e in office.audit.events(name)]


def test_what_is_due_goes_and_leaves_a_tombstone(office, disposer, things):
    there, items = things
    erase = {"evidence": there.pop, "run": there.pop}
    done = disposer.dispose(plan(office, disposer, items()), erase=erase, actor="keeper-1")
    assert (done.erased, done.held, done.failed, there) == (("a", "b", "r"), (), {}, {})
    graves = disposer.tombstones()
    assert graves["category"].tolist() == ["evidence.photo", "evidence.photo", "run"]
    assert set(graves["state"]) == {"gone"}
    assert "a" not in graves["item"].tolist(), "a hash of the id, not the id"
    assert len(events(office, "retention.erased")) == 3
    office.audit.ledger.verify()


@pytest.mark.parametrize("scope", ["case:C-1", "item:b"])
def test_expired_and_held_is_refused_and_logged_until_another_person_releases(office, disposer, things, scope):
    there, items = things
    erase = {"evidence": there.pop, "run": there.pop}
    hold = disposer.hold(scope, reason="appeal", by=KEEPER)
    done = disposer.dispose(plan(office, disposer, items()), erase=erase, actor="keeper-1")
    assert "b" in done.held
    assert "b" in there
    assert {e["reason"] for e in events(office, "retention.refused")} == {"held"}
    for again in (KEEPER, ALIAS):
        with pytest.raises(RefusedError, match="another person has to"):
            disposer.release(hold, by=again)
    assert len(events(office, "hold.refused")) == 2
    disposer.release(hold, by=SECOND)
    assert disposer.holds() == ()
    disposer.dispose(plan(office, disposer, items()), erase=erase, actor="keeper-1")
    assert there == {}


def test_a_hold_placed_after_the_plan_wins_too(office, disposer, things):
    there, items = things
    made = plan(office, disposer, items())
    disposer.hold("item:a", reason="appeal", by=KEEPER)
    assert disposer.dispose(made, erase={"evidence": there.pop, "run": there.pop}, actor="keeper-1").held == ("a",)
    assert there == {"a": "evidence.photo"}


def test_one_that_can_not_go_is_told_and_the_rest_goes_on(office, disposer, things):
    there, items = things

    def refuse(id):
        if id == "a":
            raise RefusedError("held in its own store")
        raise OSError("disk")

    done = disposer.dispose(plan(office, disposer, items()), erase={"evidence": refuse, "run": there.pop}, actor="k-1")
    assert (done.erased, done.held, done.failed) == (("r",), ("a",), {"b": "OSError: disk"})
    assert disposer.tombstones()["category"].tolist() == ["run"], "no tombstone of what is still there"
    assert done.to_frame()["outcome"].tolist() == ["erased", "held", "failed"]


def test_death_in_the_middle_leaves_the_item_due(office, disposer, things):
    there, items = things

    def die(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        disposer.dispose(plan(office, disposer, items()), erase={"evidence": die, "run": die}, actor="k-1")
    assert disposer.tombstones()["state"].tolist() == ["going"]
    disposer.dispose(plan(office, disposer, items()), erase={"evidence": there.pop, "run": there.pop}, actor="k-1")
    assert there == {}
    assert disposer.tombstones()["state"].tolist() == ["gone"] * 3


def test_who_may_hold_and_what(office, disposer):
    with pytest.raises(RefusedError):
        disposer.hold("case:C-1", reason="x", by=office.author)
    for scope, reason in (("C-1", "x"), ("case:", "x"), ("case:C-1", " ")):
        with pytest.raises(InputError, match="case:REF or item:ID"):
            disposer.hold(scope, reason=reason, by=KEEPER)
    with pytest.raises(NotFoundError, match="no hold 7; there are: none"):
        disposer.release(7, by=KEEPER)
