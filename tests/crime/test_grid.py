"""The grid: its order, its counts, its limits."""

from __future__ import annotations

import geopandas as gpd
import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely.geometry import Point, Polygon

from crimeface_lib.core.errors import InputError, ShapeError
from crimeface_lib.crime import Events, Grid, make_grid


@settings(max_examples=15, deadline=None)
@given(st.floats(100, 400), st.integers(0, 2**32))
def test_index_is_the_cell_that_holds_the_point(cell: float, seed: int) -> None:
    grid = make_grid(Point(500_000, 300_000).buffer(1500), cell=cell, crs="EPSG:27700")
    points = np.random.default_rng(seed).uniform(-2000, 2000, size=(50, 2)) + (500_000, 300_000)
    index = grid.index_of(points)
    inside = index >= 0
    squares = np.asarray(grid.cells.geometry.array)
    assert shapely.intersects_xy(squares[index[inside]], *points[inside].T).all()
    union = shapely.unary_union(squares)
    assert not shapely.contains_xy(union.buffer(-1e-6), *points[~inside].T).any()


def test_row_order_is_shared_by_cells_centres_and_raster(town_grid: Grid) -> None:
    centres = town_grid.centres()
    np.testing.assert_allclose(np.column_stack([town_grid.cells.centroid.x, town_grid.cells.centroid.y]), centres)
    assert town_grid.index_of(centres).tolist() == list(range(len(town_grid)))
    values = np.arange(len(town_grid), dtype=float)
    assert (town_grid.raster(values)[town_grid.row, town_grid.column] == values).all()
    assert np.isnan(town_grid.raster(values)[~town_grid.inside]).all()


def test_counts(town_events: Events, town_grid: Grid) -> None:
    total = town_grid.count(town_events)
    assert total.sum() == (town_grid.index_events(town_events) >= 0).sum()
    whole = [str(m) for m in town_events.months if str(m) not in town_events.quality.gaps[0]]
    assert (sum(town_grid.count(town_events, month=m) for m in whole) == total).all()
    with pytest.raises(InputError, match="is a gap in the data, not a month without crime"):
        town_grid.count(town_events, month=town_events.quality.gaps[0].split()[-1])
    with pytest.raises(InputError, match="expected one from 2022-01 to 2024-12"):
        town_grid.count(town_events, month="2030-01")


def test_grid_from_events_holds_them_all(town_events: Events) -> None:
    grid = make_grid(town_events, cell=300)
    located = np.isfinite(town_events.coordinates()).all(axis=1)
    assert (grid.index_events(town_events)[located] >= 0).all()
    assert "grown by one cell" in grid.to_frame()["basis"][0]


def test_grid_from_a_frame_with_a_hole() -> None:
    ring = Polygon([(0, 0), (1000, 0), (1000, 1000), (0, 1000)], [[(250, 250), (750, 250), (750, 750), (250, 750)]])
    grid = make_grid(gpd.GeoDataFrame(geometry=[ring], crs="EPSG:27700"), cell=250)
    assert (len(grid), grid.shape, grid.area_km2) == (12, (4, 4), 0.75)


def test_limits(town_events: Events, town_grid: Grid) -> None:
    with pytest.raises(InputError, match=r"expected at most 2,000,000; use cell=\d+") as caught:
        make_grid(town_events, cell=1.0)
    remedy = float(str(caught.value).split("use cell=")[1].split()[0])
    assert len(make_grid(town_events, cell=remedy))
    with pytest.raises(InputError, match="smaller cell"):
        make_grid(Point(0, 0).buffer(10), cell=1000, crs="EPSG:27700")
    with pytest.raises(InputError, match="expected a projected CRS"):
        make_grid(Point(0, 0).buffer(1), crs="EPSG:4326")
    with pytest.raises(InputError, match="got nothing with a location"):
        make_grid(Polygon(), crs="EPSG:27700")
    with pytest.raises(InputError, match="cell: got 0"):
        make_grid(town_events, cell=0)
    with pytest.raises(ShapeError, match="one per cell"):
        town_grid.raster([1.0])
    with pytest.raises(InputError, match="expected the grid's EPSG:27700"):
        town_grid.count(Events(town_events.frame.to_crs("EPSG:32631"), *[getattr(town_events, f) for f in (
            "quality", "completeness", "resolution", "attribution")]))  # fmt: skip


def test_a_plane_in_feet_or_of_no_name_is_refused() -> None:
    with pytest.raises(InputError, match="US survey foot"):
        make_grid(shapely.box(0, 0, 5000, 5000), crs="EPSG:2263")
    with pytest.raises(InputError, match="plane"):
        make_grid(gpd.GeoDataFrame(geometry=[shapely.box(0, 0, 1000, 1000)]))
