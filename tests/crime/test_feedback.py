"""The urn against its closed forms, exposure against counting."""

from __future__ import annotations

import numpy as np
import pytest

from crimeface_lib.core.errors import InputError, ShapeError
from crimeface_lib.crime import exposure, simulate_feedback


def test_equal_rates_drift_as_polya_says() -> None:
    """With equal rates the urn is Pólya's: its share tends to a Beta of the starting records."""
    found = simulate_feedback([1.0, 1.0], start=[2, 3], steps=1500, runs=1500, rng=1)
    assert found.final[:, 0].mean() == pytest.approx(0.4, abs=0.02)
    assert found.final[:, 0].var() == pytest.approx(2 * 3 / (25 * 6), rel=0.12)


def test_the_larger_rate_takes_nearly_all_and_the_correction_stops_it() -> None:
    rates = [0.8, 0.5]
    runaway = simulate_feedback(rates, start=[5, 5], steps=6000, runs=100, rng=2)
    corrected = simulate_feedback(rates, start=[5, 5], steps=6000, runs=100, corrected=True, rng=2)
    assert runaway.final[:, 0].mean() > 0.85
    assert corrected.final[:, 0].mean() == pytest.approx(8 / 13, abs=0.02)
    assert corrected.drift < 0.05 < 0.2 < runaway.drift
    assert "without correction" in runaway.text
    assert runaway.to_frame()["events"].tolist() == pytest.approx([8 / 13, 5 / 13])


def test_correction_holds_for_several_areas() -> None:
    found = simulate_feedback([0.6, 0.3, 0.1], start=[4, 4, 4], steps=6000, runs=60, corrected=True, rng=3)
    assert found.final.mean(axis=0) == pytest.approx([0.6, 0.3, 0.1], abs=0.03)


def test_reported_events_do_not_run_away() -> None:
    assert simulate_feedback([0.3, 0.2], discovered=0.0, steps=4000, runs=50, rng=4).drift < 0.03


@pytest.mark.parametrize("discovered", [0.4, 0.8])
def test_the_share_of_patrols_is_the_fixed_point_of_the_urn(discovered: float) -> None:
    """With events both reported and discovered, the limit solves p = a(p) / (a(p) + b(p)), a and b the mean gains."""
    first, second = 0.6, 0.3
    a = np.polynomial.Polynomial([1 - discovered, discovered]) * first
    b = np.polynomial.Polynomial([1, -discovered]) * second
    roots = (np.polynomial.Polynomial([0, 1]) * (a + b) - a).roots()
    limit = next(r for r in roots if 0 < r <= 1)
    found = simulate_feedback([first, second], discovered=discovered, steps=8000, runs=40, rng=5)
    assert found.final[:, 0].mean() == pytest.approx(limit, abs=0.02)
    assert limit > first / (first + second)
    corrected = simulate_feedback(
        [first, second], discovered=discovered, corrected=True, steps=3000, runs=40, rng=6
    )  # fmt: skip
    assert corrected.final[:, 0].mean() == pytest.approx(2 / 3, abs=0.02)


def test_exposure_counts() -> None:
    risk = np.r_[np.full(5, 9.0), np.zeros(15)]
    groups = np.r_[np.full(4, "a"), np.full(6, "b"), np.full(10, "c")]
    table = exposure(risk, groups, share=0.25).table.set_index("group")
    assert table["of_all"].tolist() == pytest.approx([0.2, 0.3, 0.5])
    assert table["of_riskiest"].tolist() == pytest.approx([0.8, 0.2, 0.0])
    assert table["ratio"].tolist() == pytest.approx([4.0, 2 / 3, 0.0])
    assert "fall on a 4.0 times as much as its share" in exposure(risk, groups, share=0.25).text


def test_faults() -> None:
    with pytest.raises(InputError, match=r"expected values in \[0, 1\]"):
        simulate_feedback([2.0, 0.1])
    with pytest.raises(InputError, match="records above 0"):
        simulate_feedback([0.2, 0.1], start=[0, 1])
    with pytest.raises(ShapeError, match="expected"):
        exposure([1.0, 2.0], ["a"])
