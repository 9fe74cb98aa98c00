"""Geographic profiles: formula and posterior by brute force, regions that hold the anchor as often as they say."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import gamma, kstest
from shapely.geometry import box

from crimeface_lib.core.errors import InputError, RefusedError, ShapeError
from crimeface_lib.crime import geographic_profile, make_grid, profiling, read_points, simulate_profiles
from crimeface_lib.crime.grid import regrid

GRID = make_grid(box(400_000, 400_000, 410_000, 408_000), cell=500.0, crs="EPSG:27700")


def series(xy):
    xy = np.asarray(xy, dtype=float)
    table = pd.DataFrame({"x": xy[:, 0], "y": xy[:, 1], "t": pd.Timestamp("2024-01-01")})
    return read_points(table, time="t", x="x", y="y", crs="EPSG:27700")


@pytest.fixture(scope="module")
def places():
    return np.array([405_000, 404_000]) + np.random.default_rng(4).normal(0, 900, (7, 2))


@pytest.mark.parametrize("metric", ["manhattan", "euclidean"])
def test_rossmos_formula_by_brute_force(places, metric):
    buffer, f, g = 800.0, 1.1, 1.4
    brute = np.zeros(len(GRID))
    for i, (x, y) in enumerate(GRID.centres()):
        for px, py in places:
            d = abs(x - px) + abs(y - py) if metric == "manhattan" else np.hypot(x - px, y - py)
            brute[i] += 1 / d**f if d > buffer else buffer ** (g - f) / (2 * buffer - d) ** g
    found = geographic_profile(series(places), GRID, method="rossmo", metric=metric, buffer=buffer, decay=(f, g))
    np.testing.assert_allclose(found.score, brute / brute.sum(), rtol=1e-12)
    assert found.rank[brute.argmax()] == pytest.approx(1 / len(GRID))


def test_rossmos_usual_buffer_is_half_the_mean_distance_to_the_nearest(places):
    nearest = [min(np.abs(a - b).sum() for j, b in enumerate(places) if j != i) for i, a in enumerate(places)]
    found = geographic_profile(series(places), GRID, method="rossmo")
    assert found.parameters["buffer_m"] == pytest.approx(np.mean(nearest) / 2)


@pytest.mark.parametrize("metric", ["manhattan", "euclidean"])
@pytest.mark.parametrize("given", [False, True])
def test_the_posterior_by_brute_force(places, metric, given):
    """Every integral as a sum, every density written out with scipy's gamma."""
    rng = np.random.default_rng(1)
    prior, targets = (rng.gamma(1.0, size=len(GRID)) if given else np.ones(len(GRID)) for _ in range(2))
    targets = targets / targets.sum()
    centres, eps = GRID.centres(), 0.08

    def apart(a, b):
        d = np.abs(a[:, None] - b[None])
        return np.maximum(d.sum(-1) if metric == "manhattan" else np.hypot(d[..., 0], d[..., 1]), 0.3826 * GRID.cell)

    within, to_places = apart(centres, centres), apart(centres, places)
    posterior, distances = np.zeros(len(GRID)), []
    for mean, weight in zip(profiling._DISTANCES, profiling._DISTANCE_PRIOR, strict=True):
        part = np.zeros(len(GRID))
        for shape in (2.0, 3.0, 4.0, 6.0):
            law = gamma(shape, scale=mean / shape)
            norm = (law.pdf(within) / within) @ targets
            likelihood = ((1 - eps) * law.pdf(to_places) / to_places / norm[:, None] + eps).prod(axis=1)
            part += weight / 4 * prior / prior.sum() * likelihood
        posterior += part
        distances.append(part.sum())
    options = {"prior": prior, "targets": targets} if given else {}
    found = geographic_profile(series(places), GRID, metric=metric, mislinked=eps, **options)
    np.testing.assert_allclose(found.score, posterior / posterior.sum(), rtol=1e-6, atol=1e-12)
    assert found.distance[0] == pytest.approx(np.dot(distances, profiling._DISTANCES) / sum(distances))
    assert found.distance[1] < found.distance[0] < found.distance[2]


@pytest.mark.parametrize("method", ["bayes", "rossmo"])
def test_influence_is_what_leaving_the_place_out_moves(places, method):
    options = {"method": method} | ({"buffer": 700.0} if method == "rossmo" else {})
    found = geographic_profile(series(places), GRID, **options)
    k = 2
    rest = np.delete(found.sites[["x", "y"]].to_numpy(), k, axis=0)
    without = geographic_profile(series(rest), GRID, **options)
    assert found.sites["influence"][k] == pytest.approx(np.abs(without.score - found.score).sum() / 2)


def test_regions_and_search_are_the_best_cells(places):
    found = geographic_profile(series(places), GRID)
    for level in (0.5, 0.9):
        region = found.region(level=level)
        assert found.score[region].sum() >= level > found.score[region].sum() - found.score[region].min()
        assert found.score[region].min() >= found.score[~region].max()
    assert found.best(share=0.1).sum() == round(0.1 * len(GRID))
    assert found.to_frame()["rank"].min() == pytest.approx(1 / len(GRID))
    assert sum("marauder" in text for text in found.caveats) == 1
    for text in ("no person and no address", "marauder", "km²"):
        assert text in found._repr_html_()
    with pytest.raises(InputError, match="gives no probability"):
        geographic_profile(series(places), GRID, method="rossmo").region(level=0.5)


def test_regions_hold_the_anchor_as_often_as_they_say():
    trials = simulate_profiles(GRID, trials=150, places=6, rng=0)
    u = np.random.default_rng(1).uniform(size=150)
    assert kstest(trials.trials["before"] + u * trials.trials["own"], "uniform").pvalue > 0.01
    assert 0.86 <= trials.coverage(level=0.9) <= 0.98
    search = trials.to_frame().set_index("method")["mean_search"]
    assert search["bayes"] < search["rossmo"] < 0.2
    assert simulate_profiles(GRID, trials=3, rng=0).to_dict() == simulate_profiles(GRID, trials=3, rng=0).to_dict()


def test_what_the_model_does_not_know_costs_what_the_caveat_says():
    """A commuter is not found; places of somebody else cost less than they cost the plain mean."""
    commuters = simulate_profiles(GRID, trials=60, commute=3.0, rng=0)
    assert commuters.coverage(level=0.9) < 0.3
    mixed = simulate_profiles(GRID, trials=60, mislinked=2, rng=0)
    assert mixed.coverage(level=0.9) > 0.7
    search = mixed.to_frame().set_index("method")["mean_search"]
    assert search["bayes"] < search["centre"]


def test_where_targets_are_explains_where_offences_are(places):
    """All targets lie west, so offences there say little of the anchor: the region widens to the east."""
    targets = np.where(GRID.centres()[:, 0] < 406_000, 1.0, 1e-3)
    west = np.column_stack([np.minimum(places[:, 0], 405_900), places[:, 1]])
    even, told = (geographic_profile(series(west), GRID, targets=t) for t in (None, targets))
    east = GRID.centres()[:, 0] > 406_000
    assert told.score[east].sum() > 2 * even.score[east].sum()


def test_a_series_at_the_edge_says_so():
    edge = np.array([400_300, 404_000]) + np.random.default_rng(0).uniform(-250, 250, (6, 2))
    assert any("outside it" in text for text in geographic_profile(series(edge), GRID).caveats)


def test_an_area_and_never_an_address(places):
    fine = make_grid(box(400_000, 400_000, 410_000, 408_000), cell=200.0, crs="EPSG:27700")
    with pytest.raises(RefusedError, match="ranks areas, not addresses"):
        geographic_profile(series(places), fine)
    for other in (regrid(GRID, cell=500.0, shift=(0.1, 0.0)), regrid(GRID, cell=260.0)):
        with pytest.raises(RefusedError, match="cut against one another"):
            geographic_profile(series(places), other)


@pytest.mark.parametrize(("change", "said"), [
    (lambda xy: xy[:4], "4 distinct places, expected at least 5"),
    (lambda xy: np.repeat(xy[:4], 3, axis=0), "12 at 4 distinct places"),
    (lambda xy: np.repeat(xy[:1], 9, axis=0), "9 at 1 distinct places"),
    (lambda xy: xy + 50_000, "7 of 7 off the map or outside the grid"),
    (lambda xy: np.repeat(xy, 40, axis=0), "got 280, expected one linked series of 5 to 200"),
])  # fmt: skip
def test_what_is_no_series_is_refused(places, change, said):
    with pytest.raises(InputError, match=said):
        geographic_profile(series(change(places)), GRID)


@pytest.mark.parametrize("options", [
    {"method": "guess"}, {"method": "rossmo", "prior": np.ones(len(GRID))}, {"buffer": 100.0}, {"metric": "road"},
    {"method": "rossmo", "buffer": -1.0}, {"method": "rossmo", "decay": (0, 1.2)}, {"mislinked": 0.7},
    {"prior": np.zeros(len(GRID))}, {"targets": -np.ones(len(GRID))},
])  # fmt: skip
def test_bad_options_say_what_is_wanted(places, options):
    with pytest.raises(InputError, match="expected"):
        geographic_profile(series(places), GRID, **options)


def test_other_lengths_and_no_trials_are_refused(places):
    with pytest.raises(ShapeError, match="prior"):
        geographic_profile(series(places), GRID, prior=np.ones(3))
    for wrong in ({"trials": 0}, {"places": 3}, {"commute": -1}, {"mislinked": 9}):
        with pytest.raises(InputError, match="expected a trial"):
            simulate_profiles(GRID, **wrong)


def test_repeats_at_one_place_count_once_and_are_named(places):
    again = np.vstack([places, places[:1], places[:1]])
    once, twice = geographic_profile(series(places), GRID), geographic_profile(series(again), GRID)
    assert twice.score.tolist() == once.score.tolist()
    assert twice.sites["events"].sum() == 9
    assert any("9 events lie at 7 places" in text for text in twice.caveats)
