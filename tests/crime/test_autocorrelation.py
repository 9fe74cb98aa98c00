"""Local Moran's I: the statistic as esda has it, the p value as shuffling has it."""

from __future__ import annotations

import esda
import numpy as np
import pytest
from libpysal.weights import lat2W
from shapely.geometry import box

from crimeface_lib.core.errors import InputError
from crimeface_lib.crime import KINDS, local_moran, make_grid

GRID = make_grid(box(0, 0, 5000, 4000), cell=250.0, crs="EPSG:27700")


@pytest.fixture(scope="module")
def counts():
    rng = np.random.default_rng(0)
    far = ((GRID.centres() - [2000, 2000]) ** 2).sum(1)
    return rng.poisson(rng.gamma(0.3, 3.0, len(GRID)) + 8 * np.exp(-far / 2 / 500**2)).astype(float)


def test_statistic_is_esdas(counts):
    weights, order = lat2W(*GRID.shape, rook=False), GRID.row * GRID.shape[1] + GRID.column
    image = GRID.raster(counts).ravel()
    found = local_moran(counts, GRID)
    assert found.statistic == pytest.approx(esda.Moran_Local(image, weights, permutations=0).Is[order], abs=1e-12)
    assert found.global_statistic == pytest.approx(esda.Moran(image, weights, permutations=0).I, abs=1e-12)


@pytest.mark.parametrize("reach", [1, 2])
def test_p_values_are_those_of_shuffling(counts, reach):
    rng, found = np.random.default_rng(1), local_moran(counts, GRID, reach=reach)
    for cell in rng.choice(len(GRID), 25, replace=False):
        near = np.maximum(abs(GRID.row - GRID.row[cell]), abs(GRID.column - GRID.column[cell])) <= reach
        near[cell] = False
        others = np.delete(counts, cell)
        draws = rng.permuted(np.tile(others, (3000, 1)), axis=1)[:, : near.sum()].sum(axis=1)
        shuffled = min(1.0, 2 * min((draws >= counts[near].sum()).mean(), (draws <= counts[near].sum()).mean()))
        assert found.p[cell] == pytest.approx(shuffled, abs=4 * np.sqrt(max(shuffled, 0.01) / 3000) + 0.01)


def test_a_planted_cluster_is_found_and_noise_is_not():
    far = np.hypot(*(GRID.centres() - [2000, 2000]).T)
    planted = np.random.default_rng(3).poisson(1.0 + 8 * np.exp(-(far**2) / 2 / 500**2))
    found = local_moran(planted, GRID)
    words = np.array(KINDS)[found.kind]
    assert (words[far < 500] == "high among high").mean() > 0.4
    assert (words[far > 1500] == "high among high").mean() < 0.02
    noise = np.random.default_rng(2).poisson(2.0, len(GRID))
    assert (local_moran(noise, GRID).kind > 0).sum() <= 1


def test_shapes_with_lonely_cells_and_huge_counts():
    from shapely.ops import unary_union

    grid = make_grid(unary_union([box(0, 0, 1000, 1000), box(5000, 5000, 5250, 5250)]), cell=250.0, crs="EPSG:27700")
    values = np.arange(len(grid)) ** 3
    found = local_moran(values, grid)
    assert found.alone == 1
    assert found.p[-1] == 1.0
    assert ((found.p > 0) & (found.p <= 1)).all()


@pytest.mark.parametrize(("values", "options"), [
    (np.ones(len(GRID)), {}), (np.full(len(GRID), 0.5), {}), (-np.arange(len(GRID)), {}),
    (np.arange(len(GRID)), {"reach": 0}), (np.eye(1, len(GRID))[0] * 1e8, {}), (np.ones(3), {}),
])  # fmt: skip
def test_bad_input_says_what_is_wanted(values, options):
    with pytest.raises((InputError, ValueError), match="expected"):
        local_moran(values, GRID, **options)
