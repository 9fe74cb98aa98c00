"""Cllr from its formula, PAV against scikit-learn, logistic calibration against the true ratio (R4)."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from crimeface_lib.core.errors import InputError
from crimeface_lib.metrics.calibration import cllr, cllr_min, fit_logistic, pav_log_lr

RNG = np.random.default_rng(11)
MATED, NONMATED = RNG.normal(2, 1, 400), RNG.normal(0, 1, 900)


def test_formula_of_bruemmer_and_du_preez_by_hand():
    # ½·(mean(log2(1 + 1/8), log2(1 + 1/2)) + mean(log2(1 + 1/4), log2(1 + 2)))
    expected = 0.5 * ((np.log2(1.125) + np.log2(1.5)) / 2 + (np.log2(1.25) + np.log2(3)) / 2)
    assert cllr([8, 2], [0.25, 2]) == pytest.approx(expected, rel=1e-14)
    assert cllr([1e300], [1e-300]) == pytest.approx(0, abs=1e-200)
    assert cllr([0.0], [1.0]) == np.inf
    assert cllr([np.inf], [0.0]) == 0


def test_true_ratios_of_gaussians_are_calibrated():
    """For N(±1, 1) the ratio is exp(2x): Cllr and its minimum agree within what 100,000 draws allow."""
    rng = np.random.default_rng(5)
    mated, nonmated = rng.normal(1, 1, 100_000), rng.normal(-1, 1, 100_000)
    loss = cllr(np.exp(2 * mated), np.exp(2 * nonmated))
    best = cllr_min(mated, nonmated)
    assert best <= loss
    assert loss - best < 0.001


def test_pav_equals_scikit_learn():
    mated, nonmated = MATED.round(1), NONMATED.round(1)  # with ties
    scores, log_lr = pav_log_lr(mated, nonmated)
    both = np.r_[mated, nonmated]
    label = np.r_[np.ones(len(mated)), np.zeros(len(nonmated))]
    posterior = IsotonicRegression().fit(both, label).predict(scores)
    with np.errstate(divide="ignore"):
        expected = np.log(posterior / (1 - posterior)) - np.log(len(mated) / len(nonmated))
    inside = np.isfinite(expected)
    assert np.array_equal(np.isfinite(log_lr), inside)
    assert np.allclose(log_lr[inside], expected[inside])


def test_logistic_equals_scikit_learn():
    intercept, slope = fit_logistic(MATED, NONMATED)
    both = np.r_[MATED, NONMATED][:, None]
    label = np.r_[np.ones(len(MATED)), np.zeros(len(NONMATED))]
    weight = np.r_[np.full(len(MATED), 0.5 / len(MATED)), np.full(len(NONMATED), 0.5 / len(NONMATED))]
    model = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(both, label, sample_weight=weight)
    assert slope == pytest.approx(model.coef_[0, 0], rel=1e-3)
    assert intercept == pytest.approx(model.intercept_[0], rel=1e-3)
    # N(2, 1) against N(0, 1): ln LR = 2x − 2
    assert slope == pytest.approx(2, abs=0.25)
    assert intercept == pytest.approx(-2, abs=0.35)


def test_logistic_minimises_cllr():
    a, b = fit_logistic(MATED, NONMATED)

    def at(a: float, b: float) -> float:
        return cllr(np.exp(a + b * MATED), np.exp(a + b * NONMATED))

    assert all(at(a, b) <= at(a + da, b + db) for da in (-0.1, 0, 0.1) for db in (-0.1, 0, 0.1))
    assert at(a, b) >= cllr_min(MATED, NONMATED)


def test_weights_are_repetitions():
    twice = np.r_[MATED[:5], MATED]
    weights = np.ones(len(MATED))
    weights[:5] = 2
    plain = fit_logistic(twice, NONMATED)
    weighted = fit_logistic(MATED, NONMATED, weights=(weights, np.ones(len(NONMATED))))
    assert weighted == pytest.approx(plain, rel=1e-4)


def test_separated_scores_stay_finite():
    a, b = fit_logistic([5.0, 6.0], [0.0, 1.0])
    assert np.isfinite([a, b]).all()
    assert b > 0
    assert cllr_min([5.0, 6.0], [0.0, 1.0]) == 0


@given(st.lists(st.floats(-3, 3), min_size=1, max_size=20), st.lists(st.floats(-3, 3), min_size=1, max_size=20))
def test_cllr_min_is_between_0_and_1_and_unmoved_by_monotone_maps(mated, nonmated):
    best = cllr_min(mated, nonmated)
    assert -1e-12 <= best <= 1 + 1e-12
    assert best == pytest.approx(cllr_min(np.array(mated) * 8, np.array(nonmated) * 8))


def test_bad_input():
    with pytest.raises(InputError, match="ratios"):
        cllr([-1], [1])
    with pytest.raises(InputError, match="at least one of each"):
        cllr_min([], [1])
    with pytest.raises(InputError, match="weight"):
        fit_logistic([1.0], [0.0], weights=([0.0], [1.0]))
