"""The differential measures reproduce the worked example, and groups are counted as by hand (R6)."""

from __future__ import annotations

import numpy as np
import pytest

from crimeface_lib.core.errors import InputError, ShapeError
from crimeface_lib.metrics.disaggregate import differential_intervals, differentials, rate_replicas, rates_by_group

FMR, FNMR = [1e-4, 2e-4, 8e-4], [0.010, 0.012, 0.020]


def test_worked_example():
    found = differentials(FMR, FNMR, groups=("a", "b", "c"), alpha=0.5)
    assert found.inequity_rate == pytest.approx(4.000, abs=5e-4)
    assert found.garbe == pytest.approx(0.4372, abs=5e-5)
    assert found.fdr == pytest.approx(0.99465, abs=5e-6)
    assert found.fmr_max_geomean == pytest.approx(3.175, abs=5e-4)
    assert found.fmr_max_min == pytest.approx(8)  # although FDR looks perfect


def test_equal_groups():
    found = differentials([0.01, 0.01], [0.02, 0.02])
    assert (found.inequity_rate, found.garbe, found.fdr, found.fmr_max_geomean) == pytest.approx((1, 0, 1, 1))


def test_no_error_anywhere_is_unknown_and_not_equal():
    none = differentials([0, 0], [0.1, 0.1])
    assert np.isnan([none.fmr_max_min, none.fmr_max_geomean, none.inequity_rate, none.garbe]).all()
    assert none.fnmr_max_min == pytest.approx(1)
    assert none.fdr == 1
    assert none.to_dict()["fmr_max_min"] == "unknown"
    zero, some = np.zeros((50, 2)), np.full((50, 2), 0.1)
    ends = differential_intervals(zero, some)
    assert ends["fmr_max_min"] == ends["inequity_rate"] == (1, np.inf)  # anything may be true
    assert ends["garbe"] == (0, 1)
    assert ends["fnmr_max_min"] == (1, 1)


def test_a_group_without_errors_makes_ratios_infinite():
    found = differentials([0, 0.01], [0.1, 0.1])
    assert found.fmr_max_min == found.fmr_max_geomean == found.inequity_rate == np.inf
    assert found.to_dict()["fmr_max_min"] is None  # JSON knows no infinity


def test_rates_by_group_counted_by_hand():
    scores = [0.9, 0.4, 0.7, 0.1, np.nan, 0.8]
    mated = [True, True, False, False, True, True]
    groups = ["x", "x", "x", "x", "x", "y"]
    frame = rates_by_group(scores, mated, groups, threshold=0.5, minimum=2).set_index("group")
    assert frame.loc["x", ["mated", "nonmated", "failed"]].tolist() == [2, 2, 1]
    assert frame.loc["x", "FMR"] == 0.5
    assert frame.loc["x", "FNMR"] == 0.5
    assert frame.loc["x", "FMR_low"] < 0.5 < frame.loc["x", "FMR_high"]
    assert frame.loc["y", ["FMR", "FNMR"]].isna().all()  # too few to say


def test_bad_input():
    with pytest.raises(ShapeError, match="at least 2"):
        differentials([0.1], [0.1])
    with pytest.raises(ShapeError, match="groups"):
        differentials(FMR, FNMR, groups=("a",))
    with pytest.raises(InputError, match=r"\[0, 1\]"):
        differentials([0.1, 1.2], [0.1, 0.1])
    with pytest.raises(ShapeError, match="three"):
        rates_by_group([1.0], [True, False], ["a"], threshold=0)


def two_groups(rng, *, people=40, error=0.1):
    """Comparisons of ``people`` subjects a group, each four times with itself and four times with the next."""
    rows = []
    for group in "xy":
        for i in range(people):
            bad = rng.random() < error  # a person errs always or never: comparisons are not independent
            for other, same in (*[(i, True)] * 4, *[((i + 1) % people, False)] * 4):
                rows.append((0.0 if bad == same else 1.0, same, group, f"{group}{i}", f"{group}{other}"))
    score, mated, group, first, second = map(np.array, zip(*rows, strict=True))
    return score, mated, group, np.column_stack([first, second])


def test_independent_replicas_are_the_jeffreys_posterior():
    from scipy.stats import beta

    scores, mated = np.r_[np.zeros(10), np.ones(90), np.zeros(200)], np.arange(300) < 100
    fmr, fnmr = rate_replicas(
        np.tile(scores, 2), np.tile(mated, 2), np.repeat(["x", "y"], 300), threshold=0.5, names=("x", "y"),
        replicas=20_000, rng=1,
    )  # fmt: skip
    for found, (errors, trials) in ((fmr, (0, 200)), (fnmr, (10, 100))):
        ends = beta.ppf([0.025, 0.975], errors + 0.5, trials - errors + 0.5)
        assert np.quantile(found[:, 0], [0.025, 0.975]) == pytest.approx(ends, rel=0.05)
    low, high = differential_intervals(fmr, fnmr)["fmr_max_min"]
    assert 1 <= low < high < np.inf  # although neither group has a false one


def test_resampling_people_is_wider_than_resampling_their_comparisons():
    score, mated, group, subjects = two_groups(np.random.default_rng(2))
    options = {"threshold": 0.5, "names": ("x", "y"), "replicas": 400, "rng": 3}
    alone = rate_replicas(score, mated, group, **options)[1]
    people = rate_replicas(score, mated, group, subjects=subjects, **options)[1]
    assert people.shape == (400, 2)
    assert people.std(axis=0) == pytest.approx(2 * alone.std(axis=0), rel=0.25)  # four comparisons stand for one
    assert people.mean(axis=0) == pytest.approx(
        [score[(group == g) & mated].__lt__(0.5).mean() for g in "xy"], abs=0.01
    )


def test_an_interval_covers_what_is_true():
    """95 % intervals of GARBE and of max/min hold the true value in about 95 of 100 drawn audits."""
    rng, true = np.random.default_rng(5), differentials([0.05, 0.10], [0.02, 0.06])
    covered = dict.fromkeys(("garbe", "fnmr_max_min", "fdr"), 0)
    for _ in range(200):
        fmr = [rng.beta(k + 0.5, 400 - k + 0.5, 400) for k in rng.binomial(400, [0.05, 0.10])]
        fnmr = [rng.beta(k + 0.5, 400 - k + 0.5, 400) for k in rng.binomial(400, [0.02, 0.06])]
        found = differential_intervals(np.column_stack(fmr), np.column_stack(fnmr))
        for name in covered:
            covered[name] += found[name][0] <= getattr(true, name) <= found[name][1]
    assert all(180 <= count <= 199 for count in covered.values()), covered


def test_too_few_people_for_an_interval():
    with pytest.raises(ShapeError, match="too few people"):
        differential_intervals(np.zeros((5, 2)), np.zeros((5, 2)))
