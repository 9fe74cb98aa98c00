"""STL keeps gaps as gaps, equals statsmodels' where there are none, and its trend's interval holds the trend."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from statsmodels.tsa.seasonal import STL

from crimeface_lib.core.errors import InputError
from crimeface_lib.crime import Decomposition, decompose


def counts(seed: int = 0, total: int = 60, period: int = 12) -> pd.Series:
    time = np.arange(total)
    mean = 100 * (1 + 0.2 * np.sin(2 * np.pi * time / period)) * (1 + 0.002 * time)
    drawn = np.random.default_rng(seed).poisson(mean).astype(float)
    return pd.Series(drawn, pd.period_range("2015-01", periods=total, freq="M" if period == 12 else "D"))


@pytest.mark.parametrize(("total", "period", "seasonal", "robust"), [
    (60, 12, 7, False), (60, 12, 7, True), (45, 12, 7, True), (120, 12, 13, True), (300, 7, 7, False),
    (100, 12, 35, False),
])  # fmt: skip
def test_equals_statsmodels_without_gaps(total: int, period: int, seasonal: int, robust: bool) -> None:
    series = counts(total=total, period=period)
    series.iloc[20] *= 3
    found = decompose(series, period=period, seasonal=seasonal, robust=robust).table
    peer = STL(series.to_numpy(), period=period, seasonal=seasonal, robust=robust).fit()
    np.testing.assert_allclose(found["trend"], peer.trend, rtol=1e-9)
    np.testing.assert_allclose(found["seasonal"], peer.seasonal, atol=1e-8)
    np.testing.assert_allclose(found["weight"], peer.weights, atol=1e-8)


def test_factors_are_those_of_the_logarithm() -> None:
    series = counts()
    found = decompose(series, multiplicative=True).table
    peer = STL(np.log(series.to_numpy()), period=12, seasonal=7).fit()
    np.testing.assert_allclose(found["trend"], np.exp(peer.trend), rtol=1e-9)
    product = found["trend"] * found["seasonal"] * found["residual"]
    np.testing.assert_allclose(product, series, rtol=1e-9)


def test_a_gap_stays_a_gap_and_what_it_held_has_no_say() -> None:
    series = counts()
    gap = series.copy()
    gap.iloc[[18, 40, 41]] = np.nan
    found = decompose(gap)
    rows = found.table.iloc[[18, 40, 41]]
    assert rows[["observed", "residual", "weight"]].isna().all(axis=None)
    assert rows["gap"].all()
    assert found.gaps == tuple(str(month) for month in rows.index)
    assert found.table["gap"].sum() == 3
    assert np.isfinite(found.table[["trend", "low", "high", "seasonal"]].to_numpy()).all()
    whole = decompose(series).table
    assert np.abs(found.table["trend"] - whole["trend"]).max() < 5  # 5 % of the level: the season is not torn
    known = found.table[~found.table["gap"]]
    np.testing.assert_allclose(known["trend"] + known["seasonal"] + known["residual"], known["observed"])
    assert "gap" in found._repr_html_()
    assert found.to_dict()["table"][18]["observed"] is None


def test_an_exact_trend_and_season_come_back_across_gaps() -> None:
    time = np.arange(72)
    season = np.tile(20 * np.sin(np.arange(12)), 6)
    season -= season[:12].mean()
    series = pd.Series(500 + 2.0 * time + season, pd.period_range("2015-01", periods=72, freq="M"))
    series.iloc[[0, 30, 31, 32, 71]] = np.nan
    found = decompose(series).table
    np.testing.assert_allclose(found["trend"], 500 + 2.0 * time, rtol=2e-4)
    np.testing.assert_allclose(found["seasonal"], season, atol=0.2)
    near = decompose(series)
    assert near.seasonal_strength > 0.99
    assert near.trend_strength > 0.99


def test_an_outlier_weighs_less_when_robust() -> None:
    series = counts(3)
    series.iloc[30] *= 5
    plain, robust = decompose(series).table, decompose(series, robust=True).table
    assert robust["weight"].iloc[30] < 0.05
    assert abs(robust["trend"].iloc[30] - 105) < abs(plain["trend"].iloc[30] - 105) / 2


def test_the_interval_of_the_trend_holds_a_level_that_did_not_move() -> None:
    """20 series of 60 over-dispersed months with a gap, true level 200; measured with 80: 93.5 % of months at 48."""
    inside = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        mean = 200 * (1 + 0.2 * np.sin(2 * np.pi * np.arange(60) / 12))
        drawn = mean + rng.normal(size=60) * np.sqrt(3 * mean)
        drawn[30] = np.nan
        table = decompose(pd.Series(drawn, pd.period_range("2015-01", periods=60, freq="M"))).table
        inside.append(((table["low"] <= 200) & (table["high"] >= 200)).mean())
    assert 0.86 < np.mean(inside) < 0.99


def test_real_months(data_root, merseyside: pd.DataFrame) -> None:
    found = decompose(merseyside["Anti-social behaviour"], robust=True)
    assert found.gaps == ("2019-07",)
    assert np.isnan(found.table.loc["2019-07", "residual"])
    assert found.table.loc["2020-04", "weight"] < 0.1  # the first lockdown


@pytest.mark.parametrize(("change", "options", "words"), [
    (lambda s: s.iloc[:20], {}, "at least twice"), (lambda s: s.reset_index(drop=True), {}, "PeriodIndex"),
    (lambda s: s.iloc[[0, *range(2, 60)]], {}, "consecutive"), (lambda s: s, {"seasonal": 8}, "odd"),
    (lambda s: s, {"trend": 2}, "odd"), (lambda s: s * 0, {"multiplicative": True}, "all above 0"),
    (lambda s: s, {"confidence": 1.0}, "between 0 and 1"), (lambda s: s * np.inf, {}, "finite"),
    (lambda s: s, {"period": 1}, "at least 2"),
])  # fmt: skip
def test_bad_input_says_what_is_wanted(change, options, words: str) -> None:
    with pytest.raises(InputError, match=words):
        decompose(change(counts()), **options)


def test_constant_and_empty_counts_are_sound() -> None:
    for level in (0.0, 7.0):
        found: Decomposition = decompose(
            pd.Series(np.full(36, level), pd.period_range("2020-01", periods=36, freq="M"))
        )
        np.testing.assert_allclose(found.table["trend"], level, atol=1e-9)
        assert np.isfinite(found.table[["low", "high"]].to_numpy()).all()


def test_values_below_zero_have_an_interval_too() -> None:
    months = pd.period_range("2018-01", periods=48, freq="M")
    table = decompose(pd.Series(np.random.default_rng(0).normal(-5, 1, 48), months)).table
    assert (table["low"] < table["trend"]).all()
