"""Aoristic weights: minute by minute by brute force, over midnight, a change of the clocks and whole weeks."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crimeface_lib.core.errors import InputError, RefusedError, SchemaError
from crimeface_lib.crime import aoristic, aoristic_weights


def spans(*pairs):
    return pd.DataFrame(pairs, columns=["time", "end"])


def by_minute(start, end, by, timezone=None):
    """Each minute of the span in its bin, one by one."""
    minutes = pd.date_range(start, end, freq="1min", inclusive="left", tz=timezone)
    bins = {"hour": 24, "weekday": 7, "week": 168}[by]
    slot = {"hour": minutes.hour, "weekday": minutes.day_of_week, "week": minutes.day_of_week * 24 + minutes.hour}[by]
    return np.bincount(slot, minlength=bins) / len(minutes)


@pytest.mark.parametrize("by", ["hour", "weekday", "week"])
@settings(max_examples=20, deadline=None)
@given(begin=st.integers(0, 3 * 525_600), length=st.integers(1, 30_000))
def test_weights_are_the_shares_of_minutes(by, begin, length):
    start = pd.Timestamp("2019-01-01") + pd.Timedelta(minutes=begin)
    end = start + pd.Timedelta(minutes=length)
    weights = aoristic_weights(spans((start, end)), by=by)[0]
    np.testing.assert_allclose(weights, by_minute(start, end, by), atol=1e-12)
    assert weights.sum() == pytest.approx(1.0)


@pytest.mark.parametrize(("start", "end"), [
    ("2024-03-30 20:00", "2024-03-31 06:00"), ("2024-10-26 20:00", "2024-10-27 06:30"),
    ("2024-03-01 12:00", "2024-11-20 17:10"), ("2024-10-27 00:00", "2024-10-27 03:00"), ("2024-07-01", "2024-07-02"),
])  # fmt: skip
@pytest.mark.parametrize("by", ["hour", "week"])
def test_a_night_of_23_or_25_hours_counts_as_such(start, end, by):
    weights = aoristic_weights(spans((start, end)), by=by, timezone="Europe/London")[0]
    np.testing.assert_allclose(weights, by_minute(start, end, by, "Europe/London"), atol=1e-12)


def test_times_with_a_zone_are_the_same_instants():
    local, fixed = spans(("2024-07-01 23:30", "2024-07-02 00:30")), spans(("2024-07-01 22:30", "2024-07-01 23:30"))
    fixed = fixed.apply(lambda column: pd.to_datetime(column, utc=True))
    both = [aoristic(table, by="hour", timezone="Europe/London").expected for table in (local, fixed)]
    assert both[0].tolist() == both[1].tolist()
    with pytest.raises(InputError, match="timezone"):
        aoristic(fixed)


def test_an_instant_is_certain_and_a_bin_holds_its_start():
    found = aoristic(spans(("2024-03-04 08:00", "2024-03-04 08:00"), ("2024-03-04 07:00", "2024-03-04 08:00")))
    table = found.to_frame().set_index(["weekday", "hour"]).loc["Monday"]
    assert table.loc[[7, 8], "certain"].tolist() == [1, 1]
    assert found.sd.max() == 0
    assert found.by_weekday_and_hour()[0, 7:9].tolist() == [1, 1]


def test_totals_and_deviations_are_those_of_drawn_times():
    rng = np.random.default_rng(0)
    start = pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 40_000, 300), unit="min")
    length = rng.exponential(700, 300).astype(int)
    found = aoristic(pd.DataFrame({"time": start, "end": start + pd.to_timedelta(length, unit="min")}), by="hour")
    assert found.expected.sum() == pytest.approx(300)
    draws = start.to_numpy() + (rng.uniform(size=(2000, 300)) * length * 60).astype("timedelta64[s]")
    hours = draws.astype("datetime64[h]").astype(int) % 24
    counts = np.stack([np.bincount(row, minlength=24) for row in hours])
    np.testing.assert_allclose(found.expected, counts.mean(axis=0), atol=5 * counts.std() / np.sqrt(2000))
    np.testing.assert_allclose(found.sd, counts.std(axis=0), rtol=0.1)


def test_a_span_of_weeks_tells_nothing_and_is_counted():
    found = aoristic(spans(("2024-01-01", "2024-01-15"), ("2024-01-01 09:10", "2024-01-01 09:20")))
    assert found.longer_than_cycle == 1
    assert found.expected[0] == pytest.approx(1 / 168)
    assert found.expected.max() == pytest.approx(1 + 1 / 168)
    assert "Every day counts 24 hours" in found._repr_html_()


def test_rows_with_wrong_or_unknown_spans_are_named():
    backward = spans(("2024-01-01", "2024-01-02"), ("2024-01-03", "2024-01-02"))
    with pytest.raises(InputError, match=r"1 rows \(1, counted from 0\) where 'end' lies before 'time'"):
        aoristic(backward)
    unknown = spans(("2024-01-01", "2024-01-02"), ("2024-01-03", None), (None, None))
    with pytest.raises(InputError, match=r"2 rows \(1, 2, counted from 0\) without"):
        aoristic(unknown)
    assert aoristic(unknown, missing="drop").dropped == 2
    with pytest.raises(InputError, match="none with a start and an end"):
        aoristic(unknown[1:], missing="drop")


@pytest.mark.parametrize(("table", "options", "error"), [
    (pd.DataFrame({"time": ["2024-01-01"]}), {}, SchemaError),
    (spans(("yesterday", "2024-01-02")), {}, SchemaError), (spans((1, 2)), {}, SchemaError),
    (spans(("2024-01-01", "2024-01-02")), {"by": "month"}, InputError),
    (spans(("2024-01-01", "2024-01-02")), {"timezone": "Mars/Olympus"}, InputError),
    (spans(("2024-01-01", "2024-01-02")), {"missing": "guess"}, InputError), ([1], {}, InputError),
    (spans(("2024-01-01", "2024-01-02")).assign(suspect_id=1), {}, RefusedError),
    (spans().astype("datetime64[s]"), {}, InputError),
])  # fmt: skip
def test_bad_input_says_what_is_wanted(table, options, error):
    with pytest.raises(error):
        aoristic(table, **options)


def test_a_matrix_too_large_is_refused(monkeypatch):
    import sys

    monkeypatch.setattr(sys.modules["crimeface_lib.crime.aoristic"], "_MAX_WEIGHTS", 100)
    with pytest.raises(InputError, match="use aoristic"):
        aoristic_weights(spans(("2024-01-01", "2024-01-02")))
