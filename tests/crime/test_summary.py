"""Counts, their change and its interval."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest

from crimeface_lib.core.errors import InputError
from crimeface_lib.crime import Events, cross_table, summarise
from crimeface_lib.crime.summary import ratio_interval


def test_ratio_interval_is_clopper_pearson() -> None:
    now, before = np.array([120, 3, 0, 7]), np.array([100, 9, 5, 0])
    found = ratio_interval(now, before)
    for (ratio, low, high), k, m in zip(found, now, before, strict=True):
        ends = binomtest(int(k), int(k + m)).proportion_ci(0.95)
        assert low == pytest.approx(ends.low / (1 - ends.low))
        assert high == (pytest.approx(ends.high / (1 - ends.high)) if m else np.inf)
        assert np.isnan(ratio) if m == 0 else ratio == k / m


def test_interval_covers() -> None:
    gen = np.random.default_rng(5)
    found = ratio_interval(gen.poisson(60, 3000), gen.poisson(50, 3000))
    covered = ((found[:, 1] <= 1.2) & (found[:, 2] >= 1.2)).mean()
    assert 0.945 <= covered <= 0.98


def test_summary_compares_the_months_that_both_years_have(town_events: Events) -> None:
    gap = town_events.quality.gaps[0].split()[-1]
    assert gap == "2023-10"
    summary = summarise(town_events)
    assert len(summary.months) == 11
    assert "2024-10" not in summary.months
    month = town_events.frame["month"].dt.strftime("%Y-%m")
    table = summary.table.set_index("type")
    assert table.loc["Total", "events"] == month.isin(summary.months).sum()
    year_before = [f"{int(m[:4]) - 1}{m[4:]}" for m in summary.months]
    burglary = (month.isin(year_before) & (town_events.frame["type"] == "Burglary")).sum()
    assert table.loc["Burglary", "previous"] == burglary
    assert "against the same months a year earlier" in summary._repr_html_()


def test_small_counts_are_hidden(town_events: Events) -> None:
    narrow = town_events.select(types=["Robbery", "Theft from the person"])
    table = summarise(narrow, by="lsoa").table
    shown = table["events"].dropna()
    assert ((shown == 0) | (shown >= 5)).all()
    assert table["ratio"][table["events"].isna()].isna().all()
    cross = cross_table(narrow)
    assert cross.primary > 10
    assert cross.table.loc["Total", "Total"] == len(narrow)


def test_faults(town_events: Events) -> None:
    with pytest.raises(InputError, match="expected one of: type, lsoa, force, outcome"):
        summarise(town_events, by="officer")
    with pytest.raises(InputError, match="a year earlier"):
        summarise(town_events, end="2022-06")
