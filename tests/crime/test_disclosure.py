"""An attacker with all the totals: no suppressed count can be worked out."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from crimeface_lib.core.errors import InputError
from crimeface_lib.crime import suppress


def _attack(shown: np.ndarray) -> list[tuple[float, float]]:
    """Bounds of each suppressed cell, from what is shown and that each row and column sums to its total."""
    hidden = [tuple(i) for i in np.argwhere(np.isnan(shown))]
    lines = [(0, r) for r in range(shown.shape[0])] + [(1, c) for c in range(shown.shape[1])]
    equations, right = [], []
    for axis, number in lines:
        values = shown[number] if axis == 0 else shown[:, number]
        sign = np.r_[np.ones(len(values) - 1), -1.0]
        equations.append([sign[cell[1 - axis]] if cell[axis] == number else 0.0 for cell in hidden])
        right.append(-np.nansum(sign * values))
    ends = []
    for aim in np.eye(len(hidden)):
        found = [linprog(sign * aim, A_eq=equations, b_eq=right, bounds=(0, None)) for sign in (1, -1)]
        ends.append((found[0].fun, np.inf if found[1].status == 3 else -found[1].fun))
    return ends


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 5), st.integers(2, 4), st.integers(0, 10_000))
def test_no_count_follows_from_the_totals(rows: int, columns: int, seed: int) -> None:
    counts = np.random.default_rng(seed).poisson(6, size=(rows, columns))
    safe = suppress(pd.DataFrame(counts), 5)
    full = np.block([[counts, counts.sum(1, keepdims=True)], [counts.sum(0, keepdims=True), counts.sum(keepdims=True)]])
    assert (safe.mask >= ((full > 0) & (full < 5))).all()
    assert (np.where(safe.mask, -1, full) == safe.table.fillna(-1).to_numpy()).all()
    hidden = full[safe.mask]
    for value, (low, high) in zip(hidden, _attack(safe.table.to_numpy(dtype=float)), strict=True):
        assert high - low > 0.5
        if value < 5:  # neither 1 nor 5 can be excluded
            assert low <= 1 + 1e-6
            assert high >= 5 - 1e-6


@pytest.mark.parametrize("mean", [0.3, 1.0, 3.0])
def test_sparse_tables_too(mean: float) -> None:
    for seed in range(4):
        counts = np.random.default_rng(seed).poisson(mean, size=(6, 5))
        safe = suppress(pd.DataFrame(counts), 5)
        for low, high in np.array(_attack(safe.table.to_numpy(dtype=float)))[_small(counts)[safe.mask]]:
            assert low <= 1 + 1e-6
            assert high >= 5 - 1e-6


def _small(counts: np.ndarray) -> np.ndarray:
    full = np.block([[counts, counts.sum(1, keepdims=True)], [counts.sum(0, keepdims=True), counts.sum(keepdims=True)]])
    return (full > 0) & (full < 5)


def test_differencing_two_releases_by_a_column() -> None:
    table = pd.DataFrame({"events": [3, 40, 11, 0]}, index=list("abcd"))
    safe = suppress(table, 5)
    assert safe.table["events"].isna().tolist() == [True, False, True, False, False]
    assert (safe.primary, safe.secondary) == (1, 1)
    assert safe.table.loc["Total", "events"] == 54


def test_two_ones_do_not_reveal_each_other() -> None:
    safe = suppress(pd.DataFrame({"events": [1, 1, 30, 9]}), 5)
    assert safe.table["events"].isna().tolist() == [True, True, False, True, False]


def test_a_chain_of_rows_and_columns_is_broken() -> None:
    # every line below has two suppressed cells, yet r2c2 would follow: the four others form one closed block
    counts = np.full((5, 5), 20)
    for cell in ((0, 0), (0, 1), (1, 0), (1, 1), (3, 3), (3, 4), (4, 3), (4, 4), (1, 3)):
        counts[cell] = 3
    ends = _attack(suppress(pd.DataFrame(counts), 5).table.to_numpy(dtype=float))
    assert min(high - low for low, high in ends) > 0.5


def test_nothing_small_nothing_hidden() -> None:
    safe = suppress(pd.DataFrame([[10, 0], [20, 30]]), 5)
    assert not safe.mask.any()


def test_faults() -> None:
    with pytest.raises(InputError, match="whole numbers"):
        suppress(pd.DataFrame([[1.5]]), 5)
    with pytest.raises(InputError, match="at least 2"):
        suppress(pd.DataFrame([[1]]), 1)


def test_in_one_column_small_counts_that_cover_one_another_are_left_to_it(monkeypatch):
    from crimeface_lib.crime.disclosure import _Network

    rng = np.random.default_rng(7)
    tables = [
        pd.DataFrame({"n": rng.poisson(mean, rng.integers(1, 12))}) for mean in (0.5, 2.0, 6.0) for _ in range(20)
    ]
    found = [suppress(table).mask for table in tables]
    monkeypatch.setattr(_Network, "is_free", lambda *_, **__: False)  # always searches
    assert all((mask == suppress(table).mask).all() for mask, table in zip(found, tables, strict=True))
    assert sum(mask.sum() for mask in found) > 100
