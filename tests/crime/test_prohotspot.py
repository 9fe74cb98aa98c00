"""Prospective and retrospective grids against their definitions, event by event and cell by cell."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from shapely.geometry import Point

from crimeface_lib.core.errors import InputError
from crimeface_lib.crime import Events, Grid, make_grid, predict_places, read_points
from crimeface_lib.crime._prohotspot import prospective_weights, quartic_sums

AT = pd.Timestamp("2023-03-31 06:00")


@pytest.fixture(scope="module")
def sample() -> tuple[Events, Grid]:
    """Half a year in a round area, so that the raster's corners lie outside."""
    gen = np.random.default_rng(5)
    xy = gen.normal(0, 900, size=(1500, 2)) + [500_000, 300_000]
    when = pd.Timestamp("2022-10-01") + pd.to_timedelta(gen.uniform(0, 200, 1500), unit="D")
    table = pd.DataFrame({"when": when.floor("s"), "x": xy[:, 0], "y": xy[:, 1]})
    table.loc[0, "when"] = AT - pd.Timedelta(weeks=8)  # exactly as old as the limit: without weight
    table.loc[1, "when"] = AT - pd.Timedelta(weeks=1)  # exactly one week
    events = read_points(table, time="when", x="x", y="y", crs="EPSG:27700")
    return events, make_grid(Point(500_000, 300_000).buffer(2000), crs="EPSG:27700", cell=130)


def _past(sample: tuple[Events, Grid]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    events, grid = sample
    cell, age = grid.index_events(events), (np.datetime64(AT, "s") - events.when()) / np.timedelta64(1, "s")
    kept = (cell >= 0) & (age > 0)
    return cell[kept], age[kept] / 86_400, events.coordinates()[kept]


def test_prospective_weights_are_the_double_sum(sample: tuple[Events, Grid]) -> None:
    grid = sample[1]
    cell, age, _ = _past(sample)
    weeks = np.floor(age / 7).astype(int)
    rows, columns = (np.abs(a[:, None] - a[cell]) for a in (grid.row, grid.column))
    apart = np.maximum(rows, columns)
    expected = ((apart < 8) & (weeks < 8)) / ((1 + apart) * (1 + weeks))
    total, own = prospective_weights(grid, cell, weeks)
    np.testing.assert_allclose(total, expected.sum(axis=1), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(own, np.where(apart == 0, expected, 0).sum(axis=1), rtol=1e-12, atol=1e-12)


def test_quartic_sums_are_the_double_sum(sample: tuple[Events, Grid]) -> None:
    grid = sample[1]
    cell, _, xy = _past(sample)
    square = ((grid.centres()[:, None] - xy) ** 2).sum(axis=2) / 200**2
    expected = np.where(square <= 1, (1 - square) ** 2, 0)
    total, own = quartic_sums(grid, xy, cell, bandwidth=200)
    np.testing.assert_allclose(total, expected.sum(axis=1), rtol=1e-12, atol=1e-12)
    mine = np.arange(len(grid))[:, None] == cell
    np.testing.assert_allclose(own, np.where(mine, expected, 0).sum(axis=1), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("model", ["prohotspot", "retrospective"])
def test_scores_are_the_weights_at_the_rate_of_the_year(sample: tuple[Events, Grid], model: str) -> None:
    events, grid = sample
    found = predict_places(events, grid, at=AT, horizon="2W", model=model)
    cell, age, xy = _past(sample)
    recent = age <= 60
    weights = (
        prospective_weights(grid, cell, np.floor(age / 7).astype(int))[0]
        if model == "prohotspot"
        else quartic_sums(grid, xy[recent], cell[recent], bandwidth=200)[0]
    )
    days = (AT - pd.Timestamp("2022-10-01")).total_seconds() / 86_400
    np.testing.assert_allclose(found.risk, weights / weights.sum() * len(cell) / days * 14, rtol=1e-9, atol=1e-15)
    assert (found.contributions["long_term"] == 0).all()


def test_no_recent_event_is_said(sample: tuple[Events, Grid]) -> None:
    events, grid = sample
    with pytest.raises(InputError, match="no event of the last weeks"):
        predict_places(events.select(end="2022-11-01"), grid, at="2023-03-01", horizon="2W", model="prohotspot")
