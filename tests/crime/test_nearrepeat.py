"""The Knox test: counts by brute force, expectations exactly, and the Near Repeat Calculator's published example."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pandas as pd
import pytest

from crimeface_lib.core.errors import InputError
from crimeface_lib.crime import knox_test, nearrepeat, read_points


def events(xy, day):
    time = pd.Timestamp("2020-01-01") + pd.to_timedelta(np.asarray(day), unit="D")
    return read_points(
        pd.DataFrame({"x": xy[:, 0], "y": xy[:, 1], "t": time}), time="t", x="x", y="y", crs="EPSG:27700"
    )


def scattered(rng, count=60):
    return 400_000 + rng.integers(0, 8, (count, 2)) * 60.0, rng.integers(0, 40, count)


@pytest.mark.parametrize("metric", ["manhattan", "euclidean"])
def test_counts_equal_brute_force(metric):
    rng = np.random.default_rng(1)
    xy, day = scattered(rng)
    far, late = (0, 60, 150), (1, 7, 20)
    brute = np.zeros((3, 3), int)
    for i, j in itertools.combinations(range(len(day)), 2):
        dx, dy = np.abs(xy[i] - xy[j])
        apart, days = (dx + dy if metric == "manhattan" else math.hypot(dx, dy)), abs(int(day[i]) - int(day[j]))
        if apart <= far[-1] and days < late[-1]:
            brute[
                next(k for k, e in enumerate(far) if apart <= e), next(k for k, e in enumerate(late) if days < e)
            ] += 1
    found = knox_test(events(xy, day), distance=far, days=late, metric=metric, permutations=9, rng=0).to_frame()
    assert found["observed"].to_numpy().reshape(3, 3).tolist() == brute.tolist()


def test_expectation_is_the_mean_over_every_arrangement():
    xy, day = scattered(np.random.default_rng(2), count=6)
    day = day % 5
    found = knox_test(events(xy, day), distance=(60, 400), days=(1, 3), permutations=9, rng=0).to_frame()
    whole = [np.array(p) for p in itertools.permutations(day)]
    direct = np.zeros(4)
    for arranged in whole:
        for i, j in itertools.combinations(range(6), 2):
            apart, days = np.abs(xy[i] - xy[j]).sum(), abs(int(arranged[i]) - int(arranged[j]))
            if apart <= 400 and days < 3:
                direct[(0 if apart <= 60 else 2) + (days >= 1)] += 1
    assert found["expected"].to_numpy() == pytest.approx(direct / len(whole))


def test_near_repeat_calculators_own_example(data_root):
    """Its ratios rest on 20 shuffles: 28 / 1.65 is a mean of 17.0 where the exact one is 15.5 and a mean of 20 has a
    standard deviation of 0.7. Ours are exact; they lie within the noise of theirs."""
    rows = pd.read_csv(data_root / "crime/chicago/chicago_be_month1.csv", header=None, names=["x", "y", "t"])
    burglaries = read_points(rows, time="t", x="x", y="y", crs="EPSG:26971")
    found = knox_test(burglaries, distance=(0, 100, 200, 300), days=(7,), permutations=499, rng=0).to_frame()
    assert found["observed"].tolist() == [28, 44, 97, 77]
    theirs = found["observed"] / [1.65, 1.69, 1.32, 0.94]
    noise = np.sqrt(found["expected"] / 20)
    assert (np.abs(theirs - found["expected"]) < 3 * noise).all()
    assert (found["p"][:3] < 0.01).all()
    assert found["p"][3] > 0.5


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("seed", range(3))
def test_observed_pairs_are_those_of_pointpats(seed):
    """Euclidean; it counts up to and with tau, and shuffles the times it is given, so they are copies."""
    from pointpats import knox

    xy, day = scattered(np.random.default_rng(seed), count=120)
    theirs = knox(xy.copy(), day[:, None].astype(float), delta=150.0, tau=6, permutations=1)["stat"]
    ask = {"distance": (150,), "days": (7,), "permutations": 9, "rng": 0}
    assert knox_test(events(xy, day), metric="euclidean", **ask).to_frame()["observed"][0] == theirs
    assert knox_test(events(xy, day), metric="manhattan", **ask).to_frame()["observed"][0] < theirs


def test_planted_repeats_are_found_and_shuffled_ones_are_not():
    rng = np.random.default_rng(3)
    xy, day = 400_000 + rng.uniform(0, 20_000, (400, 2)), rng.integers(0, 365, 400)
    again = xy[:60] + rng.normal(0, 30, (60, 2)), day[:60] + rng.integers(1, 6, 60)
    planted = events(np.vstack([xy, again[0]]), np.concatenate([day, again[1]]))
    quiet = events(np.vstack([xy, again[0]]), rng.permutation(np.concatenate([day, again[1]])))
    ask = {"distance": (200,), "days": (7,), "permutations": 199, "rng": 0}
    assert knox_test(planted, **ask).to_frame()["p"].iloc[0] == pytest.approx(1 / 200)
    assert knox_test(quiet, **ask).to_frame()["p"].iloc[0] > 0.01
    assert knox_test(planted, **ask).to_dict() == knox_test(planted, **ask).to_dict()


def test_p_values_are_uniform_without_clustering():
    rng = np.random.default_rng(4)
    ps = []
    for seed in range(20):
        chance = events(400_000 + rng.uniform(0, 2_000, (80, 2)), rng.integers(0, 60, 80))
        ps.append(knox_test(chance, distance=(400,), days=(7,), permutations=99, rng=seed).to_frame()["p"].iloc[0])
    assert np.mean(ps) == pytest.approx(0.5, abs=0.2)


def test_everything_at_one_place_is_no_news():
    found = knox_test(
        events(np.full((30, 2), 400_000.0), np.arange(30)), distance=(0, 100), days=(7,), rng=0
    ).to_frame()
    assert found["ratio"][0] == pytest.approx(1.0)
    assert np.isnan(found["ratio"][1])


def test_months_are_too_coarse(town_events):
    with pytest.raises(InputError, match="know only their month"):
        knox_test(town_events)


@pytest.mark.parametrize("bad", [{"distance": ()}, {"distance": (100, 100)}, {"days": (0.5,)}, {"days": (7, 3)},
                                 {"metric": "road"}, {"permutations": 0}, {"distance": (float("nan"),)}])  # fmt: skip
def test_bad_bands_say_what_is_wanted(bad):
    xy, day = scattered(np.random.default_rng(5))
    with pytest.raises(InputError, match="expected"):
        knox_test(events(xy, day), **bad)


def test_too_many_pairs_are_refused_before_memory_goes(monkeypatch):
    monkeypatch.setattr(nearrepeat, "MAX_PAIRS", 100)
    xy, day = scattered(np.random.default_rng(6))
    with pytest.raises(InputError, match="shorter distances"):
        knox_test(events(xy, day))
