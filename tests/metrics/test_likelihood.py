"""Cllr and its parts, devPAV, cross-entropy, Tippett and bounds equal those of NFI's ``lir`` (R4)."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from crimeface_lib.core.errors import InputError
from crimeface_lib.metrics import (
    cllr,
    count_scores,
    devpav,
    empirical_cross_entropy,
    evidence_of_counts,
    evidence_quality,
    fit_logistic,
    pav_log_lr,
    supported_bounds,
    tippett,
)

RNG = np.random.default_rng(17)
#: log10 LRs, miscalibrated; once with ties.
MATED, NONMATED = RNG.normal(1.2, 1, 150), RNG.normal(-1, 1.3, 250)
LABELS = np.repeat([1, 0], [150, 250])


@pytest.fixture(scope="module")
def lir():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what it imports warns
        import lir.algorithms.bayeserror
        import lir.algorithms.isotonic_regression
        import lir.algorithms.logistic_regression
        import lir.metrics.devpav
        import lir.plotting.expected_calibration_error
    return lir


@pytest.fixture(params=[None, 1], ids=["continuous", "ties"])
def logs(request):
    return (MATED, NONMATED) if request.param is None else (MATED.round(1), NONMATED.round(1))


def test_costs_equal_lir(lir, logs):
    data = lir.metrics.LLRData(features=np.concatenate(logs), labels=LABELS)
    ratios = [10.0**side for side in logs]
    found = evidence_quality(*ratios, replicas=20)
    assert found.cllr.estimate == pytest.approx(lir.metrics.cllr(data), rel=1e-12)
    assert found.cllr_min.estimate == pytest.approx(lir.metrics.cllr_min(data), rel=1e-12)
    assert found.cllr_cal.estimate == pytest.approx(lir.metrics.cllr_cal(data), rel=1e-9)
    assert devpav(*ratios) == pytest.approx(lir.metrics.devpav.devpav(np.concatenate(logs), LABELS), rel=1e-9)


def test_calibrators_equal_lir(lir, logs):
    scores = np.concatenate(logs)
    isotonic = lir.algorithms.isotonic_regression.IsotonicCalibrator().fit_transform(scores, LABELS)
    distinct, log_lr = pav_log_lr(*logs)
    assert log_lr[np.searchsorted(distinct, scores)] / np.log(10) == pytest.approx(isotonic, abs=1e-9)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logit = lir.algorithms.logistic_regression.LogitCalibrator(C=1e9, tol=1e-9)
        expected = logit.fit_transform(scores.reshape(-1, 1), LABELS)
    a, b = fit_logistic(*logs)
    assert (a + b * scores) / np.log(10) == pytest.approx(np.ravel(expected), abs=1e-3)


def test_bounds_equal_lir(lir, logs):
    """Ours are exact, theirs on a grid of 0.01."""
    expected = lir.algorithms.bayeserror.elub(np.concatenate(logs), LABELS)
    assert supported_bounds(*logs) == pytest.approx(expected, abs=0.0201)
    twice = supported_bounds(*logs, weights=(np.full(150, 2.0), np.full(250, 2.0)))
    assert twice == pytest.approx(supported_bounds(*(np.repeat(side, 2) for side in logs)))


def test_bounds_by_hand():
    # all LRs far out: 9/10 of the mated reach any t, one of 21 misleads: t ≤ 0.9 · 21; and the other way round
    assert supported_bounds(np.full(9, 6.0), np.full(20, -6.0)) == pytest.approx(
        (-np.log10(20 / 21 * 10), np.log10(0.9 * 21))
    )
    assert supported_bounds([0.5] * 9, [-0.5] * 20) == pytest.approx((-0.5, 0.5))  # no more than was claimed
    assert supported_bounds([-1.0] * 9, [1.0] * 20) == (0, 0)  # misleading throughout: nothing is supported
    with pytest.raises(InputError, match="no comparison of a kind"):
        supported_bounds([], [1.0])


def test_cross_entropy_equals_lir(lir, logs):
    at = np.linspace(-2, 2, 9)
    found = empirical_cross_entropy(*(10.0**side for side in logs), log10_odds=at)
    module = lir.plotting.expected_calibration_error
    priors = 10**at / (1 + 10**at)
    for name, ratios in (("lr", 10 ** np.concatenate(logs)), ("neutral", np.ones(400))):
        assert found[name].to_numpy() == pytest.approx(module.calculate_ece(ratios, LABELS, priors))
    assert found["lr"][4] == pytest.approx(cllr(*(10.0**side for side in logs)))  # at even odds
    assert (found["pav"] <= found["lr"] + 1e-12).all()
    assert (found["pav"] <= found["neutral"] + 1e-12).all()


def test_tippett_counted(logs):
    table = tippett(*(10.0**side for side in logs), at=[-1, 0, 2])
    for row in table.itertuples():
        log = np.log(10.0**row.log10_lr)
        assert row.mated == pytest.approx((np.log(10.0 ** logs[0]) >= log).mean())
        assert row.nonmated == pytest.approx((np.log(10.0 ** logs[1]) >= log).mean())


def test_counted_comparisons_give_the_same(logs):
    counts = count_scores(*logs, replicas=30)
    by_count, one_by_one = evidence_of_counts(counts, 10**counts.scores), evidence_quality(
        *(10.0**side for side in logs), replicas=30
    )  # fmt: skip
    assert by_count.to_frame().equals(one_by_one.to_frame()) or np.allclose(
        by_count.to_frame().iloc[:, 1:], one_by_one.to_frame().iloc[:, 1:]
    )
    assert by_count.misleading == one_by_one.misleading


def test_extremes():
    certain = evidence_quality([np.inf, 2.0, 9.0], [0.0, 0.5, 0.4], replicas=20)
    assert certain.cllr.estimate == pytest.approx(cllr([np.inf, 2, 9], [0, 0.5, 0.4]))
    assert certain.cllr_min.estimate == 0
    assert np.isnan(certain.devpav)
    assert devpav([3.0, 1.0], [1.0, 0.2]) == pytest.approx(0, abs=1e-12)  # one LR left in the overlap, as PAV has it
    wrong = evidence_quality([0.0, 1.0], [1.0, 0.5], replicas=20)
    assert wrong.cllr.estimate == np.inf
    assert wrong.cllr_min.estimate <= 1


def test_bad_input():
    with pytest.raises(InputError, match="ratios"):
        evidence_quality([-1.0], [1.0])
    with pytest.raises(InputError, match="one for each score"):
        evidence_of_counts(count_scores([1.0], [0.0], replicas=0), [1.0])
