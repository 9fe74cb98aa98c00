"""FMR, FNMR, DET, EER against closed forms and counts by hand (R1, R3)."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm
from sklearn.metrics import roc_curve

from crimeface_lib.core.errors import InputError, ShapeError
from crimeface_lib.metrics.biometric import det_curve, eer, error_rates, rate_interval


def test_gaussians_against_the_closed_form():
    """Scores N(2, 1) and N(0, 1): FMR(t) = 1 − Φ(t), FNMR(t) = Φ(t − 2), EER = Φ(−1)."""
    quantiles = (np.arange(200_000) + 0.5) / 200_000
    nonmated = norm.ppf(quantiles)
    at = np.linspace(-1, 3, 9)
    rates = error_rates(nonmated + 2, nonmated, thresholds=at)
    assert np.allclose(rates.fmr, norm.sf(at), atol=1e-5)
    assert np.allclose(rates.fnmr, norm.cdf(at - 2), atol=1e-5)
    assert eer(nonmated + 2, nonmated) == pytest.approx(norm.cdf(-1), abs=1e-5)


def test_ties_at_the_threshold_are_accepted():
    rates = error_rates([0.5, 0.7], [0.5, 0.3], thresholds=[0.5, 0.6])
    assert rates.fmr.tolist() == [0.5, 0.0]
    assert rates.fnmr.tolist() == [0.0, 0.5]


def test_a_failed_enrolment_raises_the_generalised_rate_only():
    without = error_rates([0.9, 0.2], [0.1], thresholds=0.5)
    failed = error_rates([0.9, 0.2], [0.1], thresholds=0.5, failed=(1, 0))
    assert failed.fnmr[0] == without.fnmr[0] == 0.5
    assert failed.gfrr[0] == pytest.approx(2 / 3)
    assert failed.gfrr[0] > without.gfrr[0]


def test_det_agrees_with_scikit_learn():
    rng = np.random.default_rng(3)
    mated, nonmated = rng.normal(1, 1, 200).round(1), rng.normal(0, 1, 300).round(1)
    curve = det_curve(mated, nonmated)
    fpr, tpr, thresholds = roc_curve(
        np.r_[np.ones(200), np.zeros(300)], np.r_[mated, nonmated], drop_intermediate=False
    )
    assert np.allclose(curve.fmr[::-1], fpr)
    assert np.allclose(1 - curve.fnmr[::-1], tpr)
    assert np.allclose(curve.thresholds[::-1][1:], thresholds[1:])
    assert curve.fmr[0] == 1
    assert curve.fnmr[-1] == 1


scores = st.lists(st.floats(-5, 5), min_size=1, max_size=30)


@given(scores, scores)
def test_rates_are_monotone_and_eer_lies_between(mated, nonmated):
    curve = det_curve(mated, nonmated)
    assert (np.diff(curve.fmr) <= 0).all()
    assert (np.diff(curve.fnmr) >= 0).all()
    assert 0 <= eer(mated, nonmated) <= 1


def test_eer_of_separated_and_of_reversed_scores():
    assert eer([2, 3], [0, 1]) == 0
    assert eer([0, 1], [2, 3]) == 1


def test_zero_errors_follow_the_rule_of_three():
    low, high = rate_interval(0, 1000)
    assert low == 0
    assert high == pytest.approx(3 / 1000, rel=0.01)
    assert rate_interval(5, 100) == pytest.approx((0.01643, 0.11283), abs=1e-5)  # R: binom.test(5, 100)
    assert rate_interval(100, 100)[1] == 1


def test_bad_input():
    with pytest.raises(ShapeError, match="at least 1"):
        error_rates([], [1.0], thresholds=0)
    with pytest.raises(ShapeError, match="NaN"):
        error_rates([np.nan], [1.0], thresholds=0)
    with pytest.raises(InputError, match="failed"):
        error_rates([1.0], [1.0], thresholds=0, failed=(-1, 0))
    with pytest.raises(InputError, match="trials"):
        rate_interval(3, 2)
