from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crimeface_lib.core.errors import InputError
from crimeface_lib.governance import Item, RetentionSchedule

START = datetime(2026, 1, 1, tzinfo=UTC)
SCHEDULE = RetentionSchedule({"probe": timedelta(days=1), "template": timedelta(days=365)})


def test_what_is_due_and_what_a_hold_keeps():
    items = [
        Item("p1", "probe", START),
        Item("p2", "probe", START, holds=("HOLD-7",)),
        Item("t1", "template", START),
    ]
    plan = SCHEDULE.due(items, START + timedelta(days=1))
    assert [(i.id, i.fate) for i in plan.items] == [("p1", "delete"), ("p2", "held"), ("t1", "keep")]
    assert plan.to_delete == ("p1",)
    assert plan.to_frame()["holds"].tolist() == ["", "HOLD-7", ""]
    assert [i.why for i in plan.items] == [
        "its category's 1 days are over",
        "its category's 1 days are over, and held: HOLD-7",
        "its period runs",
    ]
    assert SCHEDULE.due(items, START + timedelta(days=1) - timedelta(seconds=1)).to_delete == ()
    assert list(SCHEDULE.due([], START).to_frame().columns) == [
        "id", "category", "case", "expires", "fate", "why", "holds"
    ]  # fmt: skip


@given(st.integers(0, 800), st.booleans(), st.sampled_from(["probe", "template"]))
def test_a_held_item_never_goes_and_another_goes_once_its_period_ends(days, held, category):
    item = Item("x", category, START, holds=("H",) if held else ())
    goes = SCHEDULE.due([item], START + timedelta(days=days)).to_delete == ("x",)
    assert goes == (not held and days >= {"probe": 1, "template": 365}[category])


def test_an_unknown_category_stops_the_plan():
    with pytest.raises(InputError, match="no period for category 'scan'; there are: probe, template"):
        SCHEDULE.due([Item("s", "scan", START)], START)
    with pytest.raises(InputError, match="without a zone"):
        SCHEDULE.due([Item("p", "probe", START.replace(tzinfo=None))], START)
    with pytest.raises(InputError, match="positive"):
        RetentionSchedule({"probe": timedelta(0)})


def test_a_case_has_periods_of_its_own_and_an_own_term_may_be_sooner():
    schedule = RetentionSchedule.from_yaml(
        "periods: {probe: 1, template: 365, scan: undecided}\ncases: {C-1: {probe: 100}}\non_open: true"
    )
    assert schedule.on_open
    later = START + timedelta(days=50)
    items = [
        Item("ours", "probe", START, case="C-1"),
        Item("theirs", "probe", START, case="C-2"),
        Item("expired", "template", START, expires=START + timedelta(days=10)),
        Item("kept", "scan", START),
    ]
    plan = schedule.due(items, later)
    assert plan.to_delete == ("theirs", "expired")
    assert {i.id: i.why for i in plan.items}["expired"] == "its own term is over"
    assert {i.id: i.expires for i in plan.items}["kept"] is None
    assert plan.to_frame()["fate"].tolist() == ["delete", "delete", "keep", "keep"]
    assert schedule.due(items[:1], START + timedelta(days=100)).items[0].why == "case C-1's 100 days are over"


@pytest.mark.parametrize(
    "text",
    ["just words", "a: [", "periods: {probe: 0}", "periods: {probe: -3}", "periods: {probe: 1.5}",
     "periods: {probe: '7'}", "periods: {probe: 999999}",
     "periods: {probe: 1}\nother: 2", "periods: {probe: ~}", "cases: {}"],
)  # fmt: skip
def test_a_schedule_that_says_something_else_is_refused(text):
    with pytest.raises(InputError, match="not a retention schedule"):
        RetentionSchedule.from_yaml(text)


def test_a_category_names_its_kinds_unless_they_are_named_themselves():
    schedule = RetentionSchedule.from_yaml(
        "periods: {evidence: undecided, evidence.photo: 5}\ncases: {C: {evidence: 9}}"
    )
    items = [Item(str(i), f"evidence.{kind}", START, case=case)
             for i, (kind, case) in enumerate([("photo", None), ("mesh", None), ("photo", "C")])]  # fmt: skip
    assert [due.expires for due in schedule.due(items, START).items] == [
        START + timedelta(days=5), None, START + timedelta(days=9)
    ]  # fmt: skip
