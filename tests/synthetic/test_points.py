"""Points with days: each number that they were drawn from can be found in the table again."""

from __future__ import annotations

import numpy as np
import pytest

from crimeface_lib.core.errors import InputError
from crimeface_lib.crime import Events, knox_test, read_points
from crimeface_lib.synthetic import SyntheticPoints, synthetic_points
from crimeface_lib.synthetic.points import CORNER, CRS, SIDE


@pytest.fixture(scope="module")
def sample() -> SyntheticPoints:
    return synthetic_points(days=1461, per_day=4.0, repeats=0.3, season=0.2, growth=0.1, rng=4)


@pytest.fixture(scope="module")
def events(sample: SyntheticPoints) -> Events:
    return read_points(sample.table, time="time", x="x", y="y", crs=CRS, type="type")


def test_seeded_and_in_order(sample: SyntheticPoints) -> None:
    again = synthetic_points(days=1461, per_day=4.0, repeats=0.3, season=0.2, growth=0.1, rng=4)
    assert again.table.equals(sample.table)
    assert sample.table["time"].is_monotonic_increasing
    parent = sample.truth.parent
    child = np.flatnonzero(parent >= 0)
    assert (parent[child] < child).all()
    assert (sample.truth.family[child] == sample.truth.family[parent[child]]).all()


def test_week_season_and_growth_are_recovered(sample: SyntheticPoints) -> None:
    """Background days: z-scores of weekday counts, of the year's cosine and of growth."""
    truth = sample.truth
    when = sample.table["time"][truth.parent < 0].dt
    week = np.bincount(when.day_of_week, minlength=7)
    expected = truth.week / 7 * week.sum()
    assert np.abs((week - expected) / np.sqrt(expected)).max() < 3.5
    wave = np.cos(2 * np.pi * (when.day_of_year.to_numpy() - 182) / 365.25)
    assert 2 * wave.mean() == pytest.approx(truth.season, abs=4 * np.sqrt(2 / len(wave)))
    year = when.year.to_numpy() - 2023
    slope = np.polyfit(np.arange(4), np.log(np.bincount(year)), 1)[0]
    assert slope == pytest.approx(np.log1p(truth.growth), abs=4 * np.sqrt(4 / len(year) / 5))
    assert len(year) == pytest.approx(4.0 * 1461 * 1.21, rel=0.05)  # four years of growth


def test_repeats_are_recovered_from_the_families(sample: SyntheticPoints) -> None:
    truth, table = sample.truth, sample.table
    child = np.flatnonzero(truth.parent >= 0)
    number = len(table)
    assert len(child) / number == pytest.approx(0.3, abs=4 * np.sqrt(0.3 * 1.3 / number) + 0.01)  # edges lose some
    xy, day = table[["x", "y"]].to_numpy(), table["time"].to_numpy().astype("datetime64[s]").astype(float) / 86_400
    step = xy[child] - xy[truth.parent[child]]
    same = np.abs(step).max(axis=1) < 0.2  # a tenth of a metre is the table's own step
    assert same.mean() == pytest.approx(truth.at_once, abs=4 * np.sqrt(0.25 / len(child)))
    assert step[~same].std() == pytest.approx(truth.reach, rel=0.08)
    assert (day[child] - day[truth.parent[child]]).mean() == pytest.approx(truth.delay, rel=0.1)


def test_near_repeats_are_recovered_by_the_knox_excess(sample: SyntheticPoints, events: Events) -> None:
    """Pairs near in place and time beyond chance are those of one family, told by the truth alone; z below 4."""
    truth = sample.truth
    far, late = (50.0, 200.0, 400.0), (3, 7, 14)
    table = knox_test(events, distance=far, days=late, metric="euclidean", permutations=1, rng=0).table
    xy = sample.table[["x", "y"]].to_numpy()
    day = sample.table["time"].to_numpy().astype("datetime64[D]").astype(int)
    kin = np.zeros((len(far), len(late)))
    for rows in np.split(np.argsort(truth.family, kind="stable"), np.flatnonzero(np.diff(np.sort(truth.family))) + 1):
        for i, one in enumerate(rows):
            for two in rows[i + 1 :]:
                space = np.searchsorted(far, np.hypot(*(xy[one] - xy[two])))
                time = np.searchsorted(late, abs(day[one] - day[two]), side="right")
                if space < len(far) and time < len(late):
                    kin[space, time] += 1
    chance = (table["observed"].to_numpy() - kin.ravel() - table["expected"].to_numpy()) / np.sqrt(table["expected"])
    assert np.abs(chance).max() < 4
    assert table["ratio"].iloc[0] > 5
    quiet = synthetic_points(days=365, per_day=4.0, repeats=0.0, season=0.0, rng=5)
    plain = read_points(quiet.table, time="time", x="x", y="y", crs=CRS)
    flat = knox_test(plain, distance=far, days=late, metric="euclidean", permutations=1, rng=0).table
    assert (np.abs(flat["observed"] - flat["expected"]) < 4 * np.sqrt(flat["expected"]) + 1).all()


def test_background_is_correlated_and_calibrated(sample: SyntheticPoints) -> None:
    truth = sample.truth
    first = sample.table[truth.parent < 0]
    edges = [np.linspace(start, start + SIDE, 9) for start in CORNER]
    counts = np.histogram2d(first["x"], first["y"], bins=edges)[0]
    fine = (np.arange(160) + 0.5) * SIDE / 160
    grid = np.stack(np.meshgrid(fine + CORNER[0], fine + CORNER[1], indexing="ij"), axis=-1).reshape(-1, 2)
    share = truth.density(grid).reshape(8, 20, 8, 20).sum(axis=(1, 3)) * (SIDE / 160) ** 2
    assert share.sum() == pytest.approx(1.0, abs=0.01)  # what the square cuts off the bumps is drawn again
    expected = share / share.sum() * len(first)
    assert np.corrcoef(counts.ravel(), expected.ravel())[0, 1] > 0.98
    assert ((counts - expected) ** 2 / expected).sum() == pytest.approx(64, abs=5 * np.sqrt(2 * 64))


@pytest.mark.parametrize(
    "options", [{"days": 0}, {"repeats": 1.0}, {"reach": 0.0}, {"at_once": 1.2}, {"per_day": -1.0}]
)
def test_limits(options: dict[str, float]) -> None:
    with pytest.raises(InputError, match="positive numbers"):
        synthetic_points(**options)
