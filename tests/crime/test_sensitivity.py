"""Sensitivity of hotspots: what stays on other grids is said to stay, and places are drawn from where they may be."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.spatial import cKDTree
from shapely.geometry import box

from crimeface_lib.core.errors import InputError
from crimeface_lib.crime import (
    getis_ord,
    hotspot_sensitivity,
    kde,
    local_moran,
    make_grid,
    read_points,
    sensitivity,
    top_cells,
)
from crimeface_lib.crime.grid import regrid
from crimeface_lib.crime.sensitivity import Neighbourhoods

AREA = box(400_000, 400_000, 408_000, 406_000)
GRID = make_grid(AREA, cell=250.0, crs="EPSG:27700")


def events(xy):
    table = pd.DataFrame({"x": xy[:, 0], "y": xy[:, 1], "t": pd.Timestamp("2024-01-01")})
    return read_points(table, time="t", x="x", y="y", crs="EPSG:27700")


@pytest.fixture(scope="module")
def town():
    """One broad cluster that no grid can miss, one at a single point on an edge of cells, and noise."""
    rng = np.random.default_rng(0)
    broad = [402_000, 402_000] + rng.normal(0, 350, (900, 2))
    point = np.tile([406_000.0, 404_000.0], (60, 1))
    noise = rng.uniform([400_000, 400_000], [408_000, 406_000], (1500, 2))
    return events(np.vstack([broad, point, noise]))


@pytest.mark.parametrize("rule", ["gi", "moran", "kde", "top"])
def test_what_is_hot_everywhere_is_told_from_what_is_not(town, rule):
    found = hotspot_sensitivity(town, GRID, draws=4, rule=rule, rng=0)
    counts = GRID.count(town)
    values = kde(town, GRID, bandwidth=300.0).values if rule == "kde" else counts
    reference = {
        "gi": getis_ord(counts, GRID).hot, "moran": local_moran(counts, GRID).kind == 1,
    }.get(rule, np.isin(np.arange(len(GRID)), top_cells(values, share=0.05)))  # fmt: skip
    assert (found.reference == reference).all()
    far = np.hypot(*(GRID.centres() - [402_000, 402_000]).T)
    assert found.share[far < 200].min() > 0.9
    assert found.share[(far > 1500) & (np.hypot(*(GRID.centres() - [406_000, 404_000]).T) > 1500)].mean() < 0.05
    assert found.settings["varied"].value_counts().to_dict() == {"snap points": 4, "origin": 3, "cell size": 2}
    assert found.settings["agreement"].between(0, 1).all()
    assert (found.settings["rank_correlation"] > 0.3).all()
    facts = found.to_dict()
    assert facts["hotspots_in_nine_of_ten"] + facts["hotspots_in_less_than_half"] <= facts["hotspots"]
    assert f"of {facts['hotspots']} hotspot cells" in found._repr_html_()


def test_the_share_is_the_mean_over_settings_by_hand(town):
    found = hotspot_sensitivity(town, GRID, cells=(500.0,), shifts=(0.0,), draws=0)
    coarse = regrid(GRID, cell=500.0)
    hot = getis_ord(coarse.count(town), coarse).hot
    assert (found.share == hot[coarse.index_of(GRID.centres())]).all()
    twice = hotspot_sensitivity(town, GRID, cells=(500.0, 1000.0), shifts=(0.0, 0.5), draws=0)
    by_size = hotspot_sensitivity(town, GRID, cells=(500.0, 1000.0), shifts=(0.0,), draws=0)
    by_shift = hotspot_sensitivity(town, GRID, cells=(), shifts=(0.0, 0.5), draws=0)
    np.testing.assert_allclose(twice.share, (by_size.share + by_shift.share) / 2)


def test_a_setting_that_is_the_reference_agrees_with_it(town):
    found = hotspot_sensitivity(town, GRID, cells=(), shifts=(0.0,), draws=2, snap_reach=1e-6, rng=0)
    assert found.settings["agreement"].tolist() == pytest.approx([1, 1])
    assert (found.share == found.reference).all()


def test_places_are_drawn_from_the_neighbourhood_of_their_point():
    rng = np.random.default_rng(2)
    sites = rng.uniform(0, 1000, (60, 2))
    spread = Neighbourhoods.around(np.repeat(sites, 300, axis=0), reach=120.0)
    drawn = spread.draw(np.random.default_rng(3))
    near = cKDTree(sites).query(drawn)[1]
    assert (near == np.repeat(np.arange(60), 300)).all()
    assert np.hypot(*(drawn - np.repeat(sites, 300, axis=0)).T).max() <= 120.0 + 1e-6


def test_draws_are_uniform_over_a_square_neighbourhood():
    x, y = np.meshgrid(np.arange(5) * 100.0, np.arange(5) * 100.0)
    sites = np.column_stack([x.ravel(), y.ravel()])
    drawn = Neighbourhoods.around(np.repeat(sites, 400, axis=0), reach=1e4).draw(np.random.default_rng(0))
    middle = (drawn.reshape(25, 400, 2) - sites[:, None])[12]
    assert np.abs(middle).max() <= 50
    assert middle.std(axis=0) == pytest.approx([100 / np.sqrt(12)] * 2, rel=0.1)


@pytest.mark.parametrize("xy", [[[404_000.0, 403_000.0]], [[404_000.0, 403_000.0]] * 50,
                                [[401_000.0, 401_000.0], [402_000.0, 401_000.0], [403_000.0, 401_000.0]]])  # fmt: skip
def test_one_event_one_point_and_a_line_are_fine(xy):
    found = hotspot_sensitivity(events(np.array(xy)), GRID, draws=2, rng=0)
    assert np.isfinite(found.share).all()
    assert found.events == len(xy)


def test_another_grid_covers_the_same_area():
    for cell, shift in ((125.0, (0.0, 0.0)), (250.0, (0.5, 0.25)), (400.0, (0.0, 0.5))):
        other = regrid(GRID, cell=cell, shift=shift)
        assert other.area_km2 == pytest.approx(GRID.area_km2, rel=0.12)
        assert (GRID.index_of(other.centres()) >= 0).all()
    assert (regrid(GRID, cell=250.0).row == GRID.row).all()
    with pytest.raises(InputError, match="use a smaller cell"):
        regrid(GRID, cell=50_000.0)


@pytest.mark.parametrize("bad", [{"cells": (-1,)}, {"shifts": (1.0,)}, {"draws": -1}, {"snap_reach": 0.0},
                                 {"rule": "none"}, {"level": 0}, {"cells": (), "shifts": (), "draws": 0}])  # fmt: skip
def test_bad_settings_say_what_is_wanted(town, bad):
    with pytest.raises(InputError, match="expected"):
        hotspot_sensitivity(town, GRID, **bad)


def test_too_many_places_are_no_snap_points(town, monkeypatch):
    monkeypatch.setattr(sensitivity, "MAX_POINTS", 100)
    with pytest.raises(InputError, match="use draws=0"):
        hotspot_sensitivity(town, GRID, draws=1)
    assert len(hotspot_sensitivity(town, GRID, draws=0).settings) == 5


def test_events_elsewhere_are_refused(town):
    elsewhere = make_grid(box(0, 0, 1000, 1000), cell=250.0, crs="EPSG:27700")
    with pytest.raises(InputError, match="none of them inside"):
        hotspot_sensitivity(town, elsewhere)
