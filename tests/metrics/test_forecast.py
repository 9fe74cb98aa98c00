"""PAI, PEI, hit rate and MASE against closed forms and a slow count by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crimeface_lib.core.errors import InputError, ShapeError
from crimeface_lib.metrics import hit_rate, mase, pai, pei


def test_perfect_ranking_of_concentrated_events() -> None:
    counts = np.r_[np.full(10, 7), np.zeros(90)]
    assert hit_rate(counts, counts, area=0.1) == 1.0
    assert pai(counts, counts, area=0.1) == pytest.approx(10.0)
    assert pei(counts, counts, area=0.05) == pytest.approx(1.0)


def test_equal_risk_is_chance() -> None:
    counts = np.random.default_rng(0).poisson(2, 500)
    for area in (0.01, 0.05, 0.333, 1.0):
        assert pai(np.zeros(500), counts, area=area) == pytest.approx(1.0)


def test_ties_are_the_mean_over_random_orders() -> None:
    gen = np.random.default_rng(1)
    risk, counts = gen.integers(0, 4, 40), gen.poisson(3, 40)
    draws = []
    for _ in range(4000):
        order = np.lexsort((gen.random(40), -risk))
        draws.append(counts[order[:10]].sum() / counts.sum())
    assert hit_rate(risk, counts, area=0.25) == pytest.approx(np.mean(draws), abs=4 * np.std(draws) / np.sqrt(4000))


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 9)), min_size=2, max_size=60), st.floats(0.02, 1.0))
def test_bounds(cells: list[tuple[int, int]], area: float) -> None:
    risk, counts = np.array(cells).T
    counts = counts + (counts.sum() == 0)
    assert 0 <= hit_rate(risk, counts, area=area) <= 1 + 1e-12
    assert 0 <= pei(risk, counts, area=area) <= 1 + 1e-9
    assert pai(risk, counts, area=area) <= 1 / area + 1e-9


def test_mase_of_the_naive_forecast_on_a_line_is_one() -> None:
    line = np.arange(48.0)
    assert mase(line[36:], line[24:36], history=line[:36]) == pytest.approx(1.0)
    gappy = line[:36].copy()
    gappy[5] = np.nan
    assert mase(line[36:], line[24:36], history=gappy) == pytest.approx(1.0)


def test_errors_say_what_is_wrong() -> None:
    with pytest.raises(ShapeError, match="got 3 cells, expected 2"):
        pai([1, 2], [1, 2, 3], area=0.1)
    with pytest.raises(InputError, match="area: got 0"):
        pai([1, 2], [1, 2], area=0)
    with pytest.raises(InputError, match="at least one event"):
        pei([1, 2], [0, 0], area=0.5)
    with pytest.raises(InputError, match="usable differences"):
        mase([1], [1], history=[3, 3, 3], season=1)
