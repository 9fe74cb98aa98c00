"""Densities against scikit-learn's exact sum, Gi* against esda, false discoveries against scipy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import false_discovery_control

from crimeface_lib.core.errors import InputError, ShapeError
from crimeface_lib.crime import Events, Grid, false_discovery, getis_ord, kde, make_grid, top_cells


@pytest.mark.parametrize("bandwidth", [150.0, 300.0, 900.0])
def test_kde_agrees_with_the_exact_sum_to_one_percent(town_events: Events, town_grid: Grid, bandwidth: float) -> None:
    from sklearn.neighbors import KernelDensity

    xy = town_events.coordinates()[town_grid.index_events(town_events) >= 0]
    exact = np.exp(KernelDensity(bandwidth=bandwidth).fit(xy).score_samples(town_grid.centres())) * len(xy) * 1e6
    ours = kde(town_events, town_grid, bandwidth=bandwidth, edge=False)
    assert np.abs(ours.values - exact).max() <= 0.01 * exact.max()
    assert np.abs(ours.values - exact).mean() <= 0.01 * exact.mean()


def test_edge_correction_keeps_every_event(town_events: Events, town_grid: Grid) -> None:
    corrected = kde(town_events, town_grid, bandwidth=400.0)
    plain = kde(town_events, town_grid, bandwidth=400.0, edge=False)
    km2 = town_grid.cell**2 / 1e6
    assert corrected.values.sum() * km2 == pytest.approx(corrected.events, rel=0.01)
    assert plain.values.sum() * km2 < 0.99 * plain.events
    assert corrected.to_frame()["density"].tolist() == corrected.values.tolist()


def test_kde_limits(town_events: Events, town_grid: Grid) -> None:
    with pytest.raises(InputError, match="metres above 0"):
        kde(town_events, town_grid, bandwidth=0)
    with pytest.raises(InputError, match="use a wider bandwidth"):
        kde(town_events, town_grid, bandwidth=0.5)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("reach", [1, 2])
def test_gi_star_equals_esda(town_events: Events, reach: int) -> None:
    from esda import G_Local
    from libpysal.weights import W

    grid = make_grid(town_events, cell=400)
    counts = grid.count(town_events).astype(float)
    close = (np.abs(grid.row[:, None] - grid.row) <= reach) & (np.abs(grid.column[:, None] - grid.column) <= reach)
    np.fill_diagonal(close, False)
    weights = W({i: np.flatnonzero(row).tolist() for i, row in enumerate(close)}, silence_warnings=True)
    expected = G_Local(counts, weights, transform="B", permutations=0, star=True).Zs
    found = getis_ord(counts, grid, reach=reach)
    np.testing.assert_allclose(found.z, expected, atol=1e-10, rtol=0)
    assert (found.hot <= (found.z > 0)).all()
    assert found.hot.sum() > 0
    assert not (found.hot & found.cold).any()


def test_gi_star_of_noise_flags_almost_nothing(town_grid: Grid) -> None:
    gen = np.random.default_rng(3)
    flagged = [getis_ord(gen.poisson(20, len(town_grid)), town_grid).to_dict() for _ in range(40)]
    assert sum(f["hot"] + f["cold"] > 0 for f in flagged) <= 8


def test_gi_star_needs_variation(town_grid: Grid) -> None:
    with pytest.raises(InputError, match="Gi\\* is undefined"):
        getis_ord(np.ones(len(town_grid)), town_grid)
    with pytest.raises(ShapeError):
        getis_ord(np.ones(3), town_grid)


def test_false_discovery_equals_scipy() -> None:
    gen = np.random.default_rng(0)
    for _ in range(50):
        p = gen.uniform(size=60) ** gen.uniform(1, 4)
        assert (false_discovery(p, alpha=0.1) == (false_discovery_control(p) <= 0.1)).all()


def test_top_cells() -> None:
    assert top_cells([1.0, 9.0, 3.0, 9.0], share=0.5).tolist() == [1, 3]
    with pytest.raises(InputError, match="share: got 2"):
        top_cells([1.0], share=2)
