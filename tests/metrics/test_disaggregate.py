"""The differential measures reproduce the worked example, and groups are counted as by hand (R6)."""

from __future__ import annotations

import numpy as np
import pytest

from crimeface_lib.core.errors import InputError, ShapeError
from crimeface_lib.metrics.disaggregate import differentials, rates_by_group

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
    none = differentials([0, 0], [0, 0])
    assert (none.inequity_rate, none.garbe, none.fdr) == (1, 0, 1)


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
