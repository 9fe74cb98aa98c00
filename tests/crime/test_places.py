"""Place models against slow sums, and the published figures on Chicago."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from crimeface_lib.core.errors import InputError
from crimeface_lib.crime import Events, Grid, evaluate_places, make_grid, predict_places, read_points
from crimeface_lib.crime._models import MODELS, NEED_TIMES, fit_mixture

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


def test_events_off_the_grid_do_not_count(town_events: Events, town_grid: Grid) -> None:
    half = replace(town_events, frame=town_events.frame.assign(geometry=town_events.frame.geometry.translate(1e6)))
    with pytest.raises(InputError, match="no event in the grid"):
        predict_places(half, town_grid, at=AT, horizon="1M")


def test_settings_other_than_the_models_own(town_events: Events, town_grid: Grid) -> None:
    known = {"at": AT, "horizon": "1M", "model": "decayed_counts"}
    found = predict_places(town_events, town_grid, **known, settings={"tau": 0.1})
    own = predict_places(town_events, town_grid, **known)
    assert found.settings == {"tau": 0.1}
    assert found.contributions["recency"].sum() > 2 * own.contributions["recency"].sum()
    with pytest.raises(InputError, match="settings of 'decayed_counts': got speed=1, expected values above 0 of: tau"):
        predict_places(town_events, town_grid, **known, settings={"speed": 1})
    with pytest.raises(InputError, match="of: none"):
        predict_places(town_events, town_grid, at=AT, horizon="1M", model="glm", settings={"tau": 1})
