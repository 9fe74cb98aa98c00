"""The custody figure: every event in order, one lane an item, nothing dropped in silence."""

from __future__ import annotations

import pandas as pd
import pytest

from crimeface_lib.core.errors import SchemaError
from crimeface_lib.reporting import custody_timeline
from crimeface_lib.reporting.style import figure_png


def words(figure) -> list[str]:
    return [text.get_text() for text in figure.axes[0].texts]


def frame(count: int, *, items: int = 1) -> pd.DataFrame:
    at = pd.date_range("2026-01-01", periods=count, freq="h", tz="UTC")
    rows = [(n, at[n], "consultation", f"actor-{n}", "why" * 40, f"{i:04}") for n in range(count) for i in range(items)]
    return pd.DataFrame(rows, columns=["index", "time", "event", "actor", "purpose", "item"])


def test_custody_timeline_is_in_order_of_time():
    at = pd.to_datetime(["2026-01-02", "2026-01-01"], utc=True)
    figure = custody_timeline(pd.DataFrame({"time": at, "event": ["viewed", "collected"], "actor": ["a", "b"]}))
    words = [t.get_text() for t in figure.axes[0].texts]
    assert words.index("collected") < words.index("viewed")
    with pytest.raises(SchemaError, match="expected time, event, actor"):
        custody_timeline(pd.DataFrame({"time": at}))


def test_an_event_about_several_items_is_one_line_over_their_lanes():
    figure = custody_timeline(frame(3, items=4))
    assert words(figure).count("consultation") == 3
    assert {"0000", "0003"} <= set(words(figure))
    assert not {"0000"} & set(words(custody_timeline(frame(3, items=13))))  # too many for lanes
    assert figure_png(figure)[:4] == b"\x89PNG"


def test_gaps_and_what_is_left_out_are_said():
    shown = frame(90)
    shown.loc[80:, "time"] += pd.Timedelta(days=3)
    said = words(custody_timeline(shown))
    assert "10 earlier events are not shown" in said
    assert "3 days later" in said
    assert "actor-9" not in said
    assert "actor-10" in said
    assert max(map(len, said)) < 50


def test_an_event_without_an_item_or_of_a_new_kind_is_shown():
    rows = frame(2).assign(event=["search", "consultation"], item=[None, "abcd"])
    assert "search" in words(custody_timeline(rows))
