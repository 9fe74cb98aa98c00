"""The self-exciting fit against a simulation with known parameters, and its parts against slow sums."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from shapely.geometry import box

from crimeface_lib.core.errors import InputError
from crimeface_lib.crime import Events, Grid, fit_self_exciting, make_grid, read_points
from crimeface_lib.crime import _self_exciting as em
from crimeface_lib.crime.self_exciting import SelfExcitingFit, _decayed_before, _lay_out, _stretches

SIDE, DAYS = 5000, 1400
TRUTH = {"same_place": 0.12, "near": 0.25, "same_rate": 0.4, "near_rate": 0.2, "distance": 50.0}


def simulate(gen: np.random.Generator, truth: dict[str, float], *, rate: float = 9.0) -> pd.DataFrame:
    """Play a cluster process: background events over uneven cells, then offspring of offspring until none come."""
    weight = gen.gamma(1.5, size=(20, 20)).ravel()
    number = gen.poisson(rate * DAYS)
    cell = gen.choice(400, number, p=weight / weight.sum())
    xy = (np.column_stack(np.divmod(cell, 20)) + gen.random((number, 2))) * SIDE / 20
    parents = np.column_stack([xy, gen.uniform(0, DAYS, number)])
    found = [parents]
    while len(parents):
        same = np.repeat(parents, gen.poisson(truth["same_place"], len(parents)), axis=0)
        near = np.repeat(parents, gen.poisson(truth["near"], len(parents)), axis=0)
        radius, angle = gen.gamma(2.0, truth["distance"], len(near)), gen.uniform(0, 2 * np.pi, len(near))
        near[:, :2] += (radius * [np.cos(angle), np.sin(angle)]).T
        for children, name in ((same, "same_rate"), (near, "near_rate")):
            children[:, 2] += 0.25 + gen.exponential(1 / truth[name], len(children))
        parents = np.concatenate([same, near])
        parents = parents[parents[:, 2] < DAYS]
        found.append(parents)
    rows = np.concatenate(found)
    rows = rows[((rows[:, :2] > 0) & (rows[:, :2] < SIDE)).all(axis=1)]
    when = pd.Timestamp("2019-01-01") + pd.to_timedelta(rows[:, 2], unit="D")
    return pd.DataFrame({"when": when.floor("s"), "x": rows[:, 0] + 500_000, "y": rows[:, 1] + 300_000})


def _read(table: pd.DataFrame) -> tuple[Events, Grid]:
    area = box(500_000, 300_000, 500_000 + SIDE, 300_000 + SIDE)
    return read_points(table, time="when", x="x", y="y", crs="EPSG:27700"), make_grid(area, crs="EPSG:27700")


@pytest.fixture(scope="module")
def fit() -> SelfExcitingFit:
    events, grid = _read(simulate(np.random.default_rng(11), TRUTH))
    return fit_self_exciting(events, grid, at=pd.Timestamp("2019-01-01") + pd.Timedelta(days=DAYS))


def test_parameters_come_back(fit: SelfExcitingFit) -> None:
    found = fit.parameters.set_index("name")
    for name, value in TRUTH.items():
        row = found.loc[name]
        # the background remembers offspring too, and takes a part of what is near: as the docstring says
        assert abs(row["value"] - value) < max(4 * row["error"], (0.25 if name == "near" else 0.12) * value), name
        assert 0 < row["error"] < 0.35 * value
    assert fit.branching == pytest.approx(0.34, abs=0.04)
    assert fit.converged
    assert "no event is traced to another" in fit.text
    assert len(fit.to_dict()["parameters"]) == 10
    assert "<table" in fit._repr_html_()


def test_the_log_likelihood_never_falls(fit: SelfExcitingFit) -> None:
    assert len(fit.log_likelihood) > 5
    assert (np.diff(fit.log_likelihood) >= -1e-6).all()


def test_without_excitation_none_is_found() -> None:
    events, grid = _read(simulate(np.random.default_rng(3), TRUTH | {"same_place": 0.0, "near": 0.0}, rate=6.0))
    found = fit_self_exciting(events, grid, at="2022-10-01")
    assert found.branching < 0.05


def test_faults(town_events: Events, town_grid: Grid) -> None:
    with pytest.raises(InputError, match="know only their month, expected days"):
        fit_self_exciting(town_events, town_grid, at="2024-06")
    events, grid = _read(simulate(np.random.default_rng(1), TRUTH, rate=0.1))
    with pytest.raises(InputError, match="expected at least 100"):
        fit_self_exciting(events, grid, at="2020-01-01")


def test_events_too_dense_for_the_memory_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    events, grid = _read(simulate(np.random.default_rng(1), TRUTH, rate=2.0))
    monkeypatch.setattr(em, "DENSEST", 100)
    with pytest.raises(InputError, match=r"expected at most 100; 'self_exciting' needs events less dense"):
        fit_self_exciting(events, grid, at="2022-01-01")


def test_pairs_are_all_pairs_and_bounded() -> None:
    gen = np.random.default_rng(0)
    xy, days = gen.uniform(0, 3000, (3000, 2)), np.sort(gen.uniform(0, 300, 3000))
    first, target, source, metres = em.earlier_pairs(xy, days, 500, soonest=0.25, most=10**6, least=100)
    apart = np.hypot(*(xy[:, None] - xy[None]).transpose(2, 0, 1))
    age = days[:, None] - days[None] - 0.25
    expected = np.argwhere((apart <= em.REACH) & (age > 0) & (age < em.WINDOW) & (np.arange(3000) >= 500)[:, None])
    assert first == 500
    assert sorted(zip(target, source, strict=True)) == [tuple(pair) for pair in expected]
    np.testing.assert_allclose(metres, apart[target, source])
    some = em.earlier_pairs(xy, days, 0, soonest=0.25, most=len(expected) // 2, least=100)
    assert some[0] > 0
    assert len(some[1]) <= len(expected) // 2
    assert some[1].min() >= some[0]


def test_memory_of_the_background_is_the_sum_over_earlier_events() -> None:
    gen = np.random.default_rng(1)
    days, group = np.sort(gen.integers(-900, 0, 200)).astype(float), gen.integers(0, 4, 200)
    earlier = (days[None] < days[:, None]) & (group[None] == group[:, None])
    weight = np.exp(-(days[:, None] - days[None]) / (2 * 365.25))
    np.testing.assert_allclose(_decayed_before(group, days), (earlier * weight).sum(axis=1), rtol=1e-9)


def test_kernel_mass_per_cell_agrees_with_draws() -> None:
    grid = make_grid(box(0, 0, 2000, 2000), crs="EPSG:27700", cell=250)
    xy, sigma = np.array([[1010.0, 1120.0]]), 60.0
    inside, outside = _lay_out(grid, xy, grid.index_of(xy), np.ones(1), sigma)
    gen = np.random.default_rng(2)
    radius, angle = gen.gamma(2.0, sigma, 400_000), gen.uniform(0, 2 * np.pi, 400_000)
    kept = radius < em.REACH
    drawn = xy + (radius * [np.cos(angle), np.sin(angle)]).T[kept]
    expected = np.bincount(grid.index_of(drawn), minlength=len(grid)) / kept.sum()
    np.testing.assert_allclose(inside + outside, expected, atol=0.02)
    assert np.flatnonzero(inside).tolist() == grid.index_of(xy).tolist()


def test_a_gap_is_no_time_without_offspring() -> None:
    """Offspring that fell into months without data count for nothing, rather than against the branching."""
    months = np.array([[-90.0, -75.0], [-75.0, -60.0], [-30.0, 0.0]])
    low, high = _stretches(np.array([-70.0, -10.0]), months, -80.0)
    assert low.tolist() == [0, 40, 0]
    assert high.tolist() == [10, 70, 10]
