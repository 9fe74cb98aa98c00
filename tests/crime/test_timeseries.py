"""Series keep their gaps; the seasonal profile finds the truth that the sample was drawn from."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from crimeface_lib.core.errors import InputError
from crimeface_lib.crime import Events, calendar_effects, monthly_series, seasonal_profile
from crimeface_lib.crime.events import ASB
from crimeface_lib.synthetic import SyntheticCrimes


def test_a_missing_month_is_a_gap(town_events: Events) -> None:
    series = monthly_series(town_events)
    assert series.gaps == ("2023-10",)
    assert np.isnan(series.frame.loc["2023-10", "all"])
    assert len(series.frame) == 36
    assert series.frame["all"].sum() == len(town_events)
    assert series.to_dict()["counts"]["all"][21] is None


def test_a_published_month_without_a_type_is_zero(town_events: Events) -> None:
    rare = town_events.select(types=["Robbery"])
    rare = rare.select(start="2022-01", end="2024-01")
    frame = monthly_series(rare, by="type").frame
    quiet = frame.index[frame["Robbery"] == 0]
    counted = rare.frame["month"].dt.to_period("M").value_counts()
    assert all(m not in counted.index for m in quiet)
    assert int(frame["Robbery"].isna().sum()) == 1


def test_profile_recovers_the_season(town: SyntheticCrimes, town_events: Events) -> None:
    profile = seasonal_profile(monthly_series(town_events, by="type").frame[ASB], confidence=0.99).table
    truth = town.truth.seasonality[town.truth.types.index(ASB)]
    expected = truth / np.exp(np.log(truth).mean())
    assert ((profile["low"] <= expected) & (expected <= profile["high"])).sum() >= 11
    assert profile["index"].to_numpy() == pytest.approx(expected, rel=0.15)


def test_profile_of_an_exact_season() -> None:
    index = pd.period_range("2020-01", periods=36, freq="M")
    shape = 1 + 0.3 * np.cos(2 * np.pi * (index.month - 7) / 12)
    series = pd.Series(1000 * shape * 1.05 ** (np.arange(36) / 12), index=index)
    series.iloc[[4, 30]] = np.nan
    series.iloc[0] *= 1.000_001  # statsmodels warns of a perfect fit
    factor = 1 + 0.3 * np.cos(2 * np.pi * (np.arange(1, 13) - 7) / 12)
    found = seasonal_profile(series).table["index"].to_numpy()
    np.testing.assert_allclose(found, factor / np.exp(np.log(factor).mean()), rtol=1e-5)


def test_faults(town_events: Events) -> None:
    with pytest.raises(InputError, match="each at least twice"):
        seasonal_profile(monthly_series(town_events).frame["all"].iloc[:13])
    with pytest.raises(InputError, match="by: got 'day'"):
        monthly_series(town_events, by="day")


def test_counts_that_never_change_and_counts_too_few() -> None:
    """The first divided by a dispersion of 0; the second had effects without end."""
    months = pd.period_range("2018-01", periods=48, freq="M")
    found = seasonal_profile(pd.Series(7.0, months)).table
    assert found["index"].to_numpy() == pytest.approx(np.ones(12))
    assert (found["low"] < 1).all()
    assert calendar_effects(pd.Series(7.0, months)).table["ratio"].to_numpy() == pytest.approx(np.ones(3))
    rare = pd.Series(np.r_[np.zeros(47), 1.0], months)
    for analysis in (seasonal_profile, calendar_effects):
        with pytest.raises(InputError, match="too few somewhere"):
            analysis(rare)
    with pytest.raises(InputError, match="none below 0"):
        seasonal_profile(pd.Series(-1.0, months))
