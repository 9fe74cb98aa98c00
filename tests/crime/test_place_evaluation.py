"""Rolling-origin evaluation: against single scores, closed forms and the published figures on Chicago."""

from __future__ import annotations

from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
from scipy.stats import poisson
from shapely.geometry import box

from crimeface_lib.core.errors import InputError
from crimeface_lib.crime import Events, Grid, evaluate_places, make_grid, predict_places, read_points, tune_places
from crimeface_lib.crime._models import MODELS
from crimeface_lib.metrics import pai

AT = "2024-06"


@pytest.fixture(scope="module")
def steady() -> tuple[Events, Grid]:
    """Two years of a Poisson process at rates that differ between cells and never change."""
    gen = np.random.default_rng(8)
    rates = gen.gamma(0.7, size=100)
    cell = gen.choice(100, 8000, p=rates / rates.sum())
    xy = (np.column_stack(np.divmod(cell, 10)) + gen.random((8000, 2))) * 100
    when = pd.Timestamp("2022-01-01") + pd.to_timedelta(gen.uniform(0, 730, 8000), unit="D")
    table = pd.DataFrame({"when": when.floor("s"), "x": xy[:, 0] + 500_000, "y": xy[:, 1] + 300_000})
    events = read_points(table, time="when", x="x", y="y", crs="EPSG:27700")
    return events, make_grid(box(500_000, 300_000, 501_000, 301_000), crs="EPSG:27700", cell=100)


def test_evaluation_scores_what_followed(town_events: Events, town_grid: Grid) -> None:
    found = evaluate_places(
        town_events, town_grid, cutoffs=["2024-05", AT, "2023-10", "2025-01"], horizon="1M", models=["counts"], rng=1
    )  # fmt: skip
    row = found.scores.query("cutoff == '2024-06-01' and model == 'counts' and area == 0.05").iloc[0]
    risk = predict_places(town_events, town_grid, at=AT, horizon="1M").risk
    reported = town_events.select(types=[t for t in town_events.types if t not in ("Drugs", "Possession of weapons")])
    assert row["pai"] == pytest.approx(pai(risk, town_grid.count(reported, month=AT), area=0.05))
    assert set(found.skipped) == {"2023-10-01", "2025-01-01"}
    assert "missing from the data" in found.skipped["2023-10-01"]
    assert found.summary["model"].unique().tolist() == ["decayed_counts", "counts"]
    again = evaluate_places(town_events, town_grid, cutoffs=["2024-05", AT], horizon="1M", models=["counts"], rng=1)
    assert again.summary.equals(found.summary)


def test_evaluation_tells_a_bad_model_from_the_baseline(
    steady: tuple[Events, Grid], monkeypatch: pytest.MonkeyPatch
) -> None:
    events, grid = steady
    zero = np.zeros(len(grid))
    chance = {"recency": zero, "long_term": np.random.default_rng(0).random(len(grid)), "neighbours": zero}
    monkeypatch.setitem(MODELS, "chance", lambda history, end: chance)
    cutoffs = pd.date_range("2023-01-01", periods=10, freq="MS")
    summary = evaluate_places(
        events, grid, cutoffs=cutoffs, horizon="30D", models=["chance"], areas=[0.1], rng=0
    ).summary
    assert summary.set_index("model")["against_baseline"].to_dict() == {"decayed_counts": "baseline", "chance": "below"}
    assert summary.set_index("model").loc["decayed_counts", "pai"] > 1.5


def test_evaluation_needs_two_cutoffs(town_events: Events, town_grid: Grid) -> None:
    with pytest.raises(InputError, match="got 1 that can be scored, expected at least 2"):
        evaluate_places(town_events, town_grid, cutoffs=[AT, "2023-10"], horizon="1M")
    with pytest.raises(InputError, match="models: got oracle"):
        evaluate_places(town_events, town_grid, cutoffs=[AT], horizon="1M", models=["oracle"])


def test_curves_agree_with_the_summary_and_reach_further(steady: tuple[Events, Grid]) -> None:
    cutoffs = pd.date_range("2023-01-01", periods=8, freq="MS")
    found = evaluate_places(*steady, cutoffs=cutoffs, horizon="30D", models=["kde"], areas=[0.05, 0.1], rng=0)
    at = found.summary.set_index(["model", "area"])
    curve = found.curves.set_index(["model", "area"])
    for model in ("decayed_counts", "kde"):
        assert curve.loc[(model, 0.05), "hit_rate"] == pytest.approx(at.loc[(model, 0.05), "hit_rate"])
        assert curve.loc[(model, 0.05), "low"] == pytest.approx(at.loc[(model, 0.05), "pai_low"] * 0.05)
        assert found.curves.query("model == @model")["hit_rate"].is_monotonic_increasing
    assert len(found.curves) == 40
    assert (curve.loc["decayed_counts", "difference"] == 0).all()
    assert any("compared on past months only" in said for said in found.caveats)


def test_calibration_tells_a_right_level_from_a_wrong_one(
    steady: tuple[Events, Grid], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(MODELS, "double", lambda history, end: {k: 2 * v for k, v in
                                                                MODELS["counts"](history, end).items()})  # fmt: skip
    cutoffs = pd.date_range("2023-01-01", periods=10, freq="MS")
    found = evaluate_places(*steady, cutoffs=cutoffs, horizon="30D", models=["counts", "double"], rng=0)
    levels = found.levels.set_index("model")
    assert levels.loc["counts", "ratio"] == pytest.approx(1.0, abs=0.06)
    assert levels.loc["double", "ratio"] == pytest.approx(levels.loc["counts", "ratio"] / 2)
    assert levels.loc["counts", "dispersion"] == pytest.approx(1.0, abs=0.15)
    assert levels.loc["double", "deviance_low"] > 0 == levels.loc["decayed_counts", "deviance_difference"]
    bins = found.calibration.query("model == 'counts'")
    assert bins["expected"].sum() == pytest.approx(levels.loc["counts", "expected"])
    assert bins["observed"].sum() == levels.loc["counts", "observed"]
    assert bins["cells"].sum() == 10 * 100
    assert (bins["expected"] / bins["expected"].mean() - 1).abs().max() < 0.2
    assert ((bins["ratio_low"] <= bins["ratio"]) & (bins["ratio"] <= bins["ratio_high"])).all()
    assert "came (" in found.calibration_in_words(model="counts")


def test_deviance_is_that_of_the_poisson_law() -> None:
    from crimeface_lib.crime.place_evaluation import _deviance

    happened, risk = np.array([0, 1, 4, 2]), np.full(4, 1.5)  # even, so that the even floor changes nothing
    expected = 2 * (poisson.logpmf(happened, np.maximum(happened, 1e-12)) - poisson.logpmf(happened, risk)).sum()
    assert _deviance(happened, risk) == pytest.approx(expected, rel=1e-6)
    assert np.isfinite(_deviance(happened, np.array([1.0, 0.0, 0.0, 1.0])))


def test_tuning_keeps_what_is_not_beaten(steady: tuple[Events, Grid]) -> None:
    """At rates that never change a short memory is worse; the model's own settings stay."""
    cutoffs = pd.date_range("2023-01-01", periods=10, freq="MS")
    found = tune_places(
        *steady, cutoffs=cutoffs, horizon="30D", trials=[{"tau": 2.0}, {"tau": 0.02}], area=0.1, rng=0
    )  # fmt: skip
    assert found.chosen == {"tau": 2.0}
    assert found.table.loc[1, "difference_high"] < 0
    other = tune_places(
        *steady, cutoffs=cutoffs, horizon="30D", trials=[{"tau": 0.02}, {"tau": 2.0}], area=0.1, rng=0
    )  # fmt: skip
    assert other.chosen == {"tau": 2.0}
    assert other.table["chosen"].tolist() == [False, True]
    assert other.until == "2023-10-31"  # the horizon of the last cut-off was looked at
    assert "figures are for later months only" in other.text
    evaluated = evaluate_places(
        *steady, cutoffs=cutoffs, horizon="30D", models=["counts"], settings={"counts": {"years": 0.1}}, rng=0
    )
    pais = evaluated.summary.set_index(["model", "area"])["pai"]
    assert pais["counts", 0.1] < pais["decayed_counts", 0.1]


def test_tuning_faults(steady: tuple[Events, Grid]) -> None:
    known = {"cutoffs": ["2023-02", "2023-03"], "horizon": "30D"}
    with pytest.raises(InputError, match="expected one with settings: decayed_counts"):
        tune_places(*steady, **known, model="glm")
    with pytest.raises(InputError, match="got 1, expected at least 2 settings"):
        tune_places(*steady, **known, trials=[{"tau": 1.0}])
    with pytest.raises(InputError, match="got speed=1"):
        tune_places(*steady, **known, trials=[{"tau": 1.0}, {"speed": 1}])
    with pytest.raises(InputError, match="settings: got some for the baseline"):
        evaluate_places(*steady, **known, settings={"decayed_counts": {"tau": 1.0}})


def test_chicago_baselines_are_the_published_ones(data_root: Path) -> None:
    events = read_points(
        data_root / "crime/chicago/chicago_aggravated_assaults.csv.gz",
        time="date", x="longitude", y="latitude", crs="EPSG:4326", plane="EPSG:26971",
    )  # fmt: skip
    districts = gpd.read_file(data_root / "boundaries/chicago_police_districts.kml").to_crs("EPSG:26971")
    grid = make_grid(districts, cell=250.0)
    found = evaluate_places(
        events, grid, cutoffs=pd.date_range("2019-01-01", periods=11, freq="MS"), horizon="30D", rng=0
    )
    table = found.summary.set_index(["model", "area"])["pai"]
    assert found.scores.groupby("cutoff")["events"].first().mean() == pytest.approx(1268, abs=1)
    assert table["decayed_counts"].tolist() == pytest.approx([10.54, 6.24, 4.85], abs=0.01)
    assert table["counts"].tolist() == pytest.approx([10.18, 5.94, 4.62], abs=0.02)
