"""Place models against slow sums, and the published figures on Chicago."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest

from crimeface_lib.core.errors import InputError
from crimeface_lib.crime import Events, Grid, evaluate_places, make_grid, predict_places, read_points
from crimeface_lib.crime._models import MODELS, NEED_TIMES, fit_mixture
from crimeface_lib.metrics import pai

AT = "2024-06"
MONTHLY = [name for name in MODELS if name not in NEED_TIMES]


@pytest.fixture(scope="module")
def stamped() -> tuple[Events, Grid]:
    """Two years of stamped events on a 1 km square, more in its south-west."""
    gen = np.random.default_rng(2)
    xy = np.abs(gen.normal(0, 400, size=(3000, 2))) % 1000
    when = pd.Timestamp("2022-01-01") + pd.to_timedelta(np.sort(gen.uniform(0, 730, 3000)), unit="D")
    table = pd.DataFrame({"when": when.floor("s"), "x": xy[:, 0] + 500_000, "y": xy[:, 1] + 300_000})
    events = read_points(table, time="when", x="x", y="y", crs="EPSG:27700")
    from shapely.geometry import box

    return events, make_grid(box(500_000, 300_000, 501_000, 301_000), crs="EPSG:27700", cell=100)


@pytest.mark.parametrize("model", MONTHLY)
def test_contributions_sum_to_risk_and_risk_to_the_rate(town_events: Events, town_grid: Grid, model: str) -> None:
    found = predict_places(town_events, town_grid, at=AT, horizon="1M", model=model)
    np.testing.assert_allclose(found.contributions.sum(axis=1), found.risk, rtol=1e-12)
    assert list(found.contributions) == ["recency", "long_term", "neighbours"]
    assert (found.contributions.to_numpy() >= 0).all()
    reported = town_events.select(types=[t for t in town_events.types if t not in found.excluded])
    assert found.risk.sum() == pytest.approx(town_grid.count(reported, month=AT).sum(), rel=0.25)
    assert len(found.top(share=0.1)) == round(0.1 * len(town_grid))
    assert found.to_geo()["risk"].max() == found.to_frame()["risk"].iloc[0]


@pytest.mark.parametrize("model", list(MODELS))
def test_stamped_events_too(stamped: tuple[Events, Grid], model: str) -> None:
    """Parts sum to the score, the score to about the rate, and what comes after the cut-off is not seen."""
    events, grid = stamped
    found = predict_places(events, grid, at="2023-08-15", horizon="4W", model=model)
    np.testing.assert_allclose(found.contributions.sum(axis=1), found.risk, rtol=1e-9)
    assert (found.contributions.to_numpy() >= 0).all()
    assert found.risk.sum() == pytest.approx(3000 / 730 * 28, rel=0.25)
    past = predict_places(events.select(end="2023-08-15"), grid, at="2023-08-15", horizon="4W", model=model)
    np.testing.assert_allclose(found.risk, past.risk, rtol=1e-12)


@pytest.mark.parametrize("model", NEED_TIMES)
def test_models_made_of_days_refuse_months(town_events: Events, town_grid: Grid, model: str) -> None:
    with pytest.raises(InputError, match="know only their month, expected days"):
        predict_places(town_events, town_grid, at=AT, horizon="1M", model=model)
    with pytest.raises(InputError, match="know only their month, expected days"):
        evaluate_places(town_events, town_grid, cutoffs=["2024-05", AT], horizon="1M", models=[model])


def test_counts_are_the_mean_of_the_published_months(town_events: Events, town_grid: Grid) -> None:
    found = predict_places(town_events, town_grid, at=AT, horizon="1M", model="counts", police_discovered=True)
    months = [str(m) for m in pd.period_range("2023-06", "2024-05", freq="M") if str(m) != "2023-10"]
    total = sum(town_grid.count(town_events, month=m) for m in months)
    days = sum(pd.Period(m).days_in_month for m in months)
    np.testing.assert_allclose(found.risk, total / days * 30, rtol=1e-12)


def test_decayed_counts_are_the_weighted_sum(stamped: tuple[Events, Grid]) -> None:
    events, grid = stamped
    at = pd.Timestamp("2023-09-11")
    found = predict_places(events, grid, at=at, horizon="2W", model="decayed_counts")
    age = (at - pd.to_datetime(events.frame["time"])).dt.total_seconds().to_numpy() / 86_400
    tau = 2 * 365.25
    past = age > 0
    weight = np.bincount(grid.index_events(events)[past], weights=np.exp(-age[past] / tau), minlength=len(grid))
    exposure = tau * (1 - np.exp(-(at - pd.Timestamp("2022-01-01")).days / tau))
    np.testing.assert_allclose(found.risk, weight / exposure * 14, rtol=1e-9)


@pytest.mark.parametrize("model", MONTHLY)
def test_nothing_after_the_cutoff_is_seen(town_events: Events, town_grid: Grid, model: str) -> None:
    whole = predict_places(town_events, town_grid, at=AT, horizon="1M", model=model)
    past = predict_places(town_events.select(end=AT), town_grid, at=AT, horizon="1M", model=model)
    np.testing.assert_array_equal(whole.risk, past.risk)


def test_types_found_by_policing_are_left_out_and_named(town_events: Events, town_grid: Grid) -> None:
    found = predict_places(town_events, town_grid, at=AT, horizon="1M")
    assert found.excluded == ("Drugs", "Possession of weapons")
    assert any("found by policing" in c for c in found.caveats)
    assert any("2023-10" in c for c in found.caveats)
    more = predict_places(town_events, town_grid, at=AT, horizon="1M", police_discovered=True)
    assert more.risk.sum() > found.risk.sum()
    with pytest.raises(InputError, match="police_discovered=True"):
        predict_places(town_events.select(types=["Drugs"]), town_grid, at=AT, horizon="1M")


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"horizon": "1W"}, "these events know only their month"),
        ({"horizon": "30D"}, "these events know only their month"),
        ({"horizon": "soon"}, "expected days, weeks or months"),
        ({"horizon": "0M"}, "expected days, weeks or months"),
        ({"at": "2024-06-15"}, "use the first of a month"),
        ({"at": "June"}, "expected a date"),
        ({"at": "2021-01"}, "no event in the grid lies before it"),
        ({"at": "2031-01"}, "no month of the 365.25 days before"),
        ({"model": "oracle"}, "expected one of: decayed_counts, counts, kde, glm"),
    ],
)
def test_faults(town_events: Events, town_grid: Grid, keywords: dict[str, str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        predict_places(town_events, town_grid, **({"at": AT, "horizon": "1M"} | keywords))


def test_mixture_finds_the_likelihood_maximum() -> None:
    gen = np.random.default_rng(4)
    features = gen.gamma(1.0, size=(4000, 3))
    target = gen.poisson(features @ [0.7, 0.0, 0.3])
    weight = fit_mixture(features, target)
    assert weight == pytest.approx([0.7, 0.0, 0.3], abs=0.05)
    assert (features @ weight).sum() == pytest.approx(target.sum(), rel=1e-9)

    def likelihood(w: np.ndarray) -> float:
        return float((target * np.log(features @ w)).sum() - (features @ w).sum())

    assert all(likelihood(weight) >= likelihood(np.abs(weight + gen.normal(0, 0.02, 3))) for _ in range(50))


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
    stamped: tuple[Events, Grid], monkeypatch: pytest.MonkeyPatch
) -> None:
    events, grid = stamped
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


def test_events_off_the_grid_do_not_count(town_events: Events, town_grid: Grid) -> None:
    half = replace(town_events, frame=town_events.frame.assign(geometry=town_events.frame.geometry.translate(1e6)))
    with pytest.raises(InputError, match="no event in the grid"):
        predict_places(half, town_grid, at=AT, horizon="1M")
