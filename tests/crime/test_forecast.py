"""Forecasts of counts: nothing of the future is seen, gaps are no zeros, parts add up, intervals hold their share."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from crimeface_lib.core.errors import InputError, RefusedError
from crimeface_lib.crime import FORECAST_MODELS, Events, forecast, monthly_series
from crimeface_lib.crime.series_pool import model_pool


def months(count, start="2015-01"):
    return pd.period_range(start, periods=count, freq="M")


def drawn(rng, count=84, groups=6, dispersion=0.02):
    """Counts with a season, a slow change of level and more spread than Poisson has."""
    season = 1 + 0.3 * np.sin(2 * np.pi * np.arange(count) / 12)
    level = rng.uniform(20, 200, groups) * np.exp(np.cumsum(rng.normal(0, 0.02, (count, groups)), axis=0))
    mean = level * season[:, None]
    counts = rng.poisson(mean * rng.gamma(1 / dispersion, dispersion, mean.shape)).astype(float)
    return pd.DataFrame(counts, months(count), pd.Index([f"g{k}" for k in range(groups)], name="type"))


def test_nothing_after_a_cut_is_seen():
    values = drawn(np.random.default_rng(0)).to_numpy(copy=True)
    values[40, 2] = np.nan
    calendar = np.arange(len(values)) % 12
    cuts = np.array([20, 37, 60])
    whole = model_pool(values, calendar, cuts, 4)
    for row, cut in enumerate(cuts):
        alone = model_pool(values[:cut], calendar[:cut], np.array([cut]), 4)
        for name in FORECAST_MODELS:
            np.testing.assert_allclose(whole[name][row], alone[name][0], rtol=1e-9, err_msg=name)


def test_models_against_their_definitions():
    rng = np.random.default_rng(1)
    values = rng.poisson(30, (50, 2)).astype(float)
    values[45, 0] = np.nan
    pool = model_pool(values, np.arange(50) % 12, np.array([50]), 2)
    assert pool["mean_12"][0, 0] == pytest.approx(np.nanmean(values[-12:], axis=0))
    assert pool["seasonal_mean"][0, 0] == pytest.approx(values[[14, 26, 38]].mean(axis=0))  # month 50 is month 2
    weight = 0.9 ** np.arange(50)[::-1]
    known = np.isfinite(values)
    assert pool["level_0.1"][0, 1] == pytest.approx([
        (weight * np.nan_to_num(values[:, k]))[known[:, k]].sum() / weight[known[:, k]].sum() for k in range(2)
    ])  # fmt: skip
    slow, fitted = np.sqrt(0.94 ** np.arange(50)[::-1]), np.arange(50)
    season = pool["season_0.06"][0, :, 1] / np.average(values[:, 1], weights=slow**2)
    line = np.polyval(np.polyfit(fitted, values[:, 1], 1, w=slow), [50, 51])
    assert pool["line_0.06_1"][0, :, 1] == pytest.approx(line * season, rel=0.02)


def test_croston_on_a_series_worked_by_hand():
    """Sizes 3, 5 and intervals 2, 3: 3 + 0.1·2 over 2 + 0.1·1, less a twentieth."""
    values = np.array([[0, 3, 0, 0, 5, 0]], float).T
    pool = model_pool(values, np.arange(6), np.array([6]), 1)
    assert pool["croston_sba"][0, 0, 0] == pytest.approx(0.95 * 3.2 / 2.1)


def test_parts_add_up_at_every_level():
    rng = np.random.default_rng(2)
    frame = drawn(rng)
    keys = [("north", "a"), ("north", "b"), ("south", "a"), ("south", "b"), ("south", "c"), ("west", "a")]
    frame.columns = pd.MultiIndex.from_tuples(keys, names=["force", "type"])
    table = forecast(frame, horizon=3).to_frame()
    assert list(dict.fromkeys(table["level"])) == ["total", "force", "force × type"]
    found = table.set_index(["level", "series", "month"])["expected"].sort_index()
    parts = found["force × type"].groupby(level="month").sum()
    np.testing.assert_allclose(found["total"].to_numpy(), parts.to_numpy())
    np.testing.assert_allclose(found["force"].groupby(level="month").sum().to_numpy(), parts.to_numpy())
    south = sum(found["force × type", f"south × {k}"] for k in "abc")
    np.testing.assert_allclose(found["force", "south"].to_numpy(), south.to_numpy())


def test_intervals_hold_their_share_of_months_not_seen():
    inside = []
    for seed in range(8):
        frame = drawn(np.random.default_rng(seed), count=96)
        table = forecast(frame.iloc[:84], horizon=12).to_frame()
        leaf = table[table["level"] == "type"]
        truth = frame.iloc[84:].to_numpy().T.ravel()
        inside.append(((truth >= leaf["low"]) & (truth <= leaf["high"])).mean())
    assert 0.72 < np.mean(inside) < 0.9


def test_a_season_and_a_gap():
    frame = drawn(np.random.default_rng(3), groups=1)
    series = frame["g0"].copy()
    whole = forecast(series, horizon=6)
    series.iloc[50] = np.nan
    found = forecast(series, horizon=6)
    assert found.gaps == (str(series.index[50]),)
    assert any("left out" in caveat for caveat in found.caveats)
    zero = forecast(series.fillna(0.0), horizon=6)
    near = np.abs(found.table["expected"] - whole.table["expected"]).max()
    assert near < np.abs(zero.table["expected"] - whole.table["expected"]).max()
    peak = whole.table.set_index("month")["expected"]
    assert (
        peak["2022-04"]
        > 1.2 * forecast(frame["g0"].iloc[:78], horizon=6).table.set_index("month")["expected"]["2021-10"]
    )


def test_all_zero_and_constant_series_are_sound():
    frame = pd.DataFrame({"none": np.zeros(30), "same": np.full(30, 7.0)}, index=months(30))
    table = forecast(frame, horizon=2).to_frame()
    leaf = table[table["level"] == table["level"].iloc[-1]]
    assert leaf["expected"].to_numpy() == pytest.approx([0, 0, 7, 7], abs=0.2)
    assert np.isfinite(table[["low", "high"]].to_numpy()).all()


def test_real_layout(town_events):
    found = forecast(monthly_series(town_events, by="type").frame, horizon=3)
    assert {"2023-10"} == set(found.gaps)
    assert found.pool.groupby("level")["weight"].sum().to_numpy() == pytest.approx(1.0)
    assert "expected" in found._repr_html_()
    assert found.to_dict()["table"][0]["month"] == "2025-01"


@pytest.mark.parametrize(("change", "options", "words"), [
    (lambda f: f.iloc[:12], {}, "at least 18"), (lambda f: -f, {}, "none below 0"),
    (lambda f: f.iloc[[0, *range(2, 84)]], {}, "consecutive"), (lambda f: f.reset_index(drop=True), {}, "PeriodIndex"),
    (lambda f: f, {"horizon": 0}, "1 to 12"), (lambda f: f, {"model": "prophet"}, "one of"),
    (lambda f: f, {"confidence": 1.0}, "below 1"), (lambda f: f * np.nan, {}, "periods with data"),
])  # fmt: skip
def test_bad_input_says_what_is_wanted(change, options, words):
    with pytest.raises(InputError, match=words):
        forecast(change(drawn(np.random.default_rng(4))), **({"horizon": 3} | options))


def test_best_takes_one_model_for_each_level():
    rng = np.random.default_rng(5)
    frame = drawn(rng, groups=3)
    pool = forecast(frame, horizon=2, model="best").pool
    best = pool[pool["weight"] == 1.0].set_index("level")
    assert list(best.index) == ["total", "type"]
    for level, rows in pool.groupby("level"):
        assert best.loc[level, "error"] == rows["error"].min()
    assert forecast(frame, horizon=2, model=str(best["model"].iloc[0])).table["expected"].notna().all()


def test_coverage_is_told_per_level_and_from_the_past_alone():
    frame = drawn(np.random.default_rng(6), count=72)
    found = forecast(frame, horizon=3)
    assert list(found.checked["level"]) == ["total", "type"]
    assert found.checked["months"].tolist() == [17 + 16 + 18, 6 * (17 + 16 + 18)]
    assert found.coverage == pytest.approx(np.average(found.checked["coverage"], weights=found.checked["months"]))
    assert found.to_dict()["checked"][1]["level"] == "type"
    # a shock in the last months lowers what is told, and is said
    shock = frame.copy()
    shock.iloc[-4:] = (shock.iloc[-4:] * 0.3).round()
    told = forecast(shock, horizon=3)
    assert told.coverage < found.coverage - 0.05
    assert any(f"held {told.checked['coverage'][0]:.0%}" in text for text in told.caveats)
    assert np.isfinite(forecast(frame.iloc[:18, :1], horizon=12).table["high"]).all()


def test_a_share_of_past_months_is_held_by_a_stationary_series():
    """What is told of the past is what then happens: 40 series of counts about a fixed mean, z of 3."""
    told, held = [], []
    for seed in range(40):
        counts = np.random.default_rng(seed).negative_binomial(20, 0.25, 63).astype(float)
        found = forecast(pd.Series(counts[:60], months(60)), horizon=3)
        told.append(found.coverage)
        table = found.table
        held.append(((counts[60:] >= table["low"]) & (counts[60:] <= table["high"])).mean())
    assert 0.72 < np.mean(told) < 0.9
    assert np.mean(held) > 0.8 - 3 * np.sqrt(0.16 / 120)


def test_intervals_of_rare_events_are_counts():
    rng = np.random.default_rng(7)
    frame = pd.DataFrame(rng.poisson([0.1, 0.6, 30], (60, 3)).astype(float), months(60), columns=list("abc"))
    table = forecast(frame, horizon=3).table
    ends = table[["low", "high"]].to_numpy()
    assert (ends >= 0).all()
    assert (ends % 1 == 0).all()
    rare = table[table["series"] == "b"]
    assert (rare["low"] == 0).all()  # half the months have none
    assert (rare["high"] >= 1).all()
    rates = forecast(frame / 3, horizon=3).table
    assert (rates["low"] % 1 != 0).any()  # numbers that are no counts get no whole ends


def test_gaps_at_the_end_and_series_that_ended():
    series = drawn(np.random.default_rng(8), groups=1)["g0"]
    series.iloc[-3:] = np.nan
    table = forecast(series, horizon=6).table
    assert np.isfinite(table[["expected", "low", "high"]].to_numpy()).all()
    assert str(table["month"].iloc[0]) == str(series.index[-1] + 1)
    frame = drawn(np.random.default_rng(9), groups=2)
    frame.iloc[40:, 1] = np.nan
    with pytest.raises(InputError, match="leave out series that ended"):
        forecast(frame, horizon=3)
    with pytest.raises(InputError, match="inf"):
        forecast(series.replace(series.iloc[0], np.inf), horizon=3)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_few_months_are_an_error(count):
    with pytest.raises(InputError, match=f"got {count} periods with data, expected at least 18 months"):
        forecast(pd.Series(np.ones(count), months(count)), horizon=1)


def test_types_found_by_policing_are_left_out_unless_asked_for() -> None:
    counts = np.random.default_rng(1).poisson(9.0, (48, 3)).astype(float)
    keys = pd.MultiIndex.from_product([["A"], ["Burglary", "Drugs", "Robbery"]], names=["force", "type"])
    frame = pd.DataFrame(counts, months(48), columns=keys)
    found = forecast(frame, horizon=1)
    assert found.excluded == ("A × Drugs",)
    assert not found.table["series"].str.contains("Drugs").any()
    assert (
        found.table["expected"].iloc[0] < forecast(frame, horizon=1, police_discovered=True).table["expected"].iloc[0]
    )
    assert "Left out" in found.caveats[0]
    with pytest.raises(InputError, match="police_discovered=True"):
        forecast(frame["A", "Drugs"].rename("Drugs"), horizon=1)


def test_a_total_says_which_of_it_policing_found(town_events: Events) -> None:
    total = monthly_series(town_events).frame["all"]
    assert "Drugs, Possession of weapons" in forecast(total, horizon=1).caveats[0]
    kept = [t for t in town_events.types if t not in ("Drugs", "Possession of weapons")]
    total = monthly_series(town_events.select(types=kept)).frame["all"]
    assert "patrols" not in " ".join(forecast(total, horizon=1).caveats)


@pytest.mark.parametrize("columns", [
    pd.Index(["a", "b"], name="suspect_id"), pd.Index(["John Smith", "Mary Jones"]),
    pd.MultiIndex.from_tuples([("A", "a@b.org"), ("B", "c@d.org")]),
])  # fmt: skip
def test_series_of_persons_are_refused(columns: pd.Index) -> None:
    with pytest.raises(RefusedError, match="places, never persons"):
        forecast(pd.DataFrame(np.ones((48, 2)), months(48), columns=columns), horizon=1)
