"""A calibration a stratum of quality: better where quality tells, refused where data are too few (R7)."""

from __future__ import annotations

import numpy as np
import pytest

from crimeface_lib.core.errors import InputError, RefusedError, ShapeError
from crimeface_lib.recognition import cllr_gain, fit_quality_calibration


def draw(rng, count):
    """Scores that tell much at high quality and little at low: N(±d, 1) with d = 2 or 0.3, ln LR = 2·d·s."""
    quality = rng.uniform(0, 100, count)
    strength = np.where(quality < 50, 0.3, 2.0)
    return rng.normal(strength, 1), quality, strength


@pytest.fixture(scope="module")
def fitted():
    rng = np.random.default_rng(0)
    mated, q_mated, _ = draw(rng, 1500)
    other, q_other, _ = draw(rng, 1500)
    return fit_quality_calibration(mated, -other, quality=(q_mated, q_other), edges=(0, 50, 100), replicas=25)


def test_each_quality_has_its_own_ratio(fitted):
    found = fitted.likelihood_ratio([0.5, 0.5, 0.5], [10.0, 49.9, 90.0])
    assert np.log(found.lr) == pytest.approx([0.3, 0.3, 2.0], abs=0.25)  # 2·d·s
    assert found.lr[0] == found.lr[1]
    assert (found.low <= found.lr).all()
    assert fitted.likelihood_ratio([0.5], [100.0]).lr[0] == found.lr[2]  # the last edge belongs to the last stratum
    table = fitted.to_frame()
    assert table["EER"][0] > 3 * table["EER"][1]
    assert table["mated"].sum() == 1500


def test_it_lowers_the_cost_of_new_comparisons(fitted):
    rng = np.random.default_rng(1)
    mated, q_mated, _ = draw(rng, 800)
    other, q_other, _ = draw(rng, 800)
    scores, quality = np.r_[mated, -other], np.r_[q_mated, q_other]
    same = np.arange(1600) < 800
    before, after = fitted.whole.likelihood_ratio(scores).lr, fitted.likelihood_ratio(scores, quality).lr
    people = np.column_stack([np.arange(1600)] * 2)
    gain = cllr_gain(before, after, same, subjects=people, replicas=100)
    assert gain.low > 0.01
    nothing = cllr_gain(before, before, same, subjects=people, replicas=30)
    assert (nothing.low, nothing.high) == (0, 0)


def test_no_silent_fallback(fitted):
    with pytest.raises(RefusedError, match="2 of 3 lie outside 0 to 100"):
        fitted.likelihood_ratio([0.5] * 3, [np.nan, 50.0, 101.0])
    asked = fitted.likelihood_ratio([0.5], [np.nan], outside="whole")
    assert asked.lr[0] == fitted.whole.likelihood_ratio([0.5]).lr[0]
    with pytest.raises(InputError, match="'refuse' or 'whole'"):
        fitted.likelihood_ratio([0.5], [1.0], outside="guess")


def test_too_few_pairs_are_refused():
    rng = np.random.default_rng(2)
    mated, quality, _ = draw(rng, 300)
    quality[:280] = 80.0
    with pytest.raises(InputError, match=r"quality 0 to 50: got \d+ mated"):
        fit_quality_calibration(mated, -mated, quality=(quality, quality), edges=(0, 50, 100), replicas=20)


def test_bad_input():
    scores = np.linspace(0, 1, 30)
    with pytest.raises(InputError, match="ascending"):
        fit_quality_calibration(scores + 1, scores, quality=(scores, scores), edges=(5, 5))
    with pytest.raises(ShapeError, match="quality"):
        fit_quality_calibration(scores + 1, scores, quality=(scores, scores[:3]), edges=(0, 1))
    with pytest.raises(ShapeError, match="expected one N"):
        cllr_gain([1.0], [1.0, 2.0], [True], subjects=[["a", "b"]])
