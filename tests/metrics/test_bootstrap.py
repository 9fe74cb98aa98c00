"""Resampling subjects covers the truth; resampling comparisons does not (R3)."""

from __future__ import annotations

import numpy as np
import pytest

from crimeface_lib.core.errors import InputError, ShapeError
from crimeface_lib.metrics.bootstrap import bootstrap_interval, subject_weights


def test_coverage_on_clusters():
    """50 subjects × 8 comparisons with a shared effect each: subjects cover about 95 %, pairs far less."""
    rng = np.random.default_rng(2)
    subject = np.repeat(np.arange(50), 8)
    hits = {"subjects": 0, "comparisons": 0}
    trials = 200
    for _ in range(trials):
        scores = np.repeat(rng.normal(0, 1, 50), 8) + rng.normal(0, 1, 400)  # true mean 0
        for name, unit in (("subjects", subject), ("comparisons", np.arange(400))):
            weights = subject_weights(unit, replicas=150, rng=rng)
            low, high = np.quantile(weights @ scores / weights.sum(axis=1), [0.025, 0.975])
            hits[name] += low <= 0 <= high
    assert 0.90 <= hits["subjects"] / trials <= 0.98
    assert hits["comparisons"] / trials < 0.75


def test_interval_of_a_mean_agrees_with_the_standard_error():
    values = np.random.default_rng(0).normal(3, 2, 400)
    found = bootstrap_interval(lambda w: float(np.average(values, weights=w)), np.arange(400), rng=1)
    half = 1.96 * values.std(ddof=1) / 20
    assert found.estimate == pytest.approx(values.mean())
    assert found.high - found.estimate == pytest.approx(half, rel=0.1)
    assert found.subjects == 400


def test_weights_of_pairs():
    pairs = np.array([["a", "a"], ["a", "b"], ["b", "c"]])
    weights = subject_weights(pairs, replicas=500, rng=3)
    a = weights[:, 0]
    assert set(np.unique(a)) <= {0, 1, 2, 3}
    assert a.mean() == pytest.approx(1, abs=0.15)
    assert (weights[a == 0][:, 1] == 0).all()
    assert (weights[a == 3][:, 1:] == 0).all()  # a was drawn three times: nobody else was


def test_same_seed_same_interval():
    values = np.arange(30.0)
    first, second = (bootstrap_interval(lambda w: w @ values, np.arange(30), rng=9) for _ in range(2))
    assert first == second


def test_bad_input():
    with pytest.raises(ShapeError, match="subjects"):
        subject_weights(np.zeros((2, 3)), replicas=5, rng=0)
    with pytest.raises(InputError, match="two"):
        subject_weights(["a", "a"], replicas=5, rng=0)
    with pytest.raises(InputError, match="level"):
        bootstrap_interval(np.sum, [1, 2], level=2)
