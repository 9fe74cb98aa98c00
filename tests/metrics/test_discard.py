"""Errors left when poor photos are discarded, what the gate costs, and quality by group (R7)."""

from __future__ import annotations

import numpy as np
import pytest

from crimeface_lib.core.errors import InputError, ShapeError
from crimeface_lib.metrics import error_versus_discard, quality_by_group

SCORES = np.array([0.9, 0.1, 0.8, 0.2, 0.7, np.nan, 0.6, 0.5])
QUALITY = np.array([90.0, 10, 80, 20, 70, np.nan, 20, 50])


def test_counted_by_hand():
    images = [90, 10, 20, np.nan, 50]
    curve = error_versus_discard(SCORES, QUALITY, threshold=0.4, images=images)
    table = curve.table
    assert table["floor"].tolist() == [10, 20, 50, 70, 80, 90]
    assert table["left"].tolist() == [7, 6, 4, 3, 2, 1]  # equal qualities go together
    assert table["FNMR"].to_numpy() == pytest.approx([2 / 7, 1 / 6, 0, 0, 0, 0])
    assert table["FTE"].to_numpy() == pytest.approx([0.2, 0.4, 0.6, 0.8, 0.8, 0.8])  # turned away or without template
    assert table["GFRR"].to_numpy() == pytest.approx([3 / 8, 3 / 8, 4 / 8, 5 / 8, 6 / 8, 7 / 8])
    assert table["ideal"].to_numpy() == pytest.approx([2 / 7, 1 / 6, 0, 0, 0, 0])  # this quality is ideal
    assert (curve.comparisons, curve.failed, curve.images) == (8, 1, 5)


def test_gain_of_noise_and_of_the_wrong_way_round():
    rng = np.random.default_rng(0)
    scores = rng.normal(0, 1, 2000)
    right = error_versus_discard(scores, scores, replicas=40)
    noise = error_versus_discard(scores, rng.random(2000), replicas=40)
    wrong = error_versus_discard(scores, -scores, replicas=40)
    assert right.gain == pytest.approx(1, abs=0.02)
    assert noise.low < 0 < noise.high
    assert wrong.gain < -0.05
    assert right.threshold == pytest.approx(np.quantile(scores, 0.05))


def test_nothing_to_gain_is_no_gain():
    assert error_versus_discard([0.9, 0.8], [1.0, 2.0], threshold=0.1).gain == 0


def test_a_gate_raises_failure_to_enrol_where_photos_are_poor():
    groups = np.repeat(["dark", "light"], 50)
    quality = np.r_[np.linspace(0, 60, 50), np.linspace(30, 100, 50)]
    quality[99] = np.nan
    table = quality_by_group(quality, groups, floor=30).set_index("group")
    assert table.loc["dark", "FTE"] == 0.5
    assert table.loc["light", "FTE"] == 0.02
    assert table.loc["dark", "median"] == pytest.approx(30)
    assert table.loc["dark", "difference"] < 0 < table.loc["light", "difference"]
    assert table.loc["dark", "FTE_low"] < 0.5 < table.loc["dark", "FTE_high"]
    few = quality_by_group([50.0], ["x"], floor=30)
    assert few[["median", "FTE", "FTE_low"]].isna().all(axis=None)


def test_bad_input():
    with pytest.raises(ShapeError, match="quality"):
        error_versus_discard([0.1, 0.2], [1.0])
    with pytest.raises(ShapeError, match="each with a quality"):
        error_versus_discard([0.1, 0.2], [1.0, np.nan])
    with pytest.raises(InputError, match="shares"):
        error_versus_discard([0.1, 0.2], [1.0, 2.0], partial=1)
    with pytest.raises(ShapeError, match="subjects"):
        error_versus_discard([0.1, 0.2], [1.0, 2.0], subjects=["a"])
    with pytest.raises(ShapeError, match="groups"):
        quality_by_group([1.0], ["a", "b"], floor=0)
