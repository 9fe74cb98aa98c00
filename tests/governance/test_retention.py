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
    assert SCHEDULE.due(items, START + timedelta(days=1) - timedelta(seconds=1)).to_delete == ()
    assert list(SCHEDULE.due([], START).to_frame().columns) == ["id", "category", "expires", "fate", "holds"]


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
