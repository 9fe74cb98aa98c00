"""Which cells resemble their surroundings and which stand out: local Moran's I, with no random numbers needed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from crimeface_lib.core.arrays import check_array
from crimeface_lib.core.display import table_html
from crimeface_lib.core.errors import InputError
from crimeface_lib.core.results import Result
from crimeface_lib.core.types import FloatArray, IntArray
from crimeface_lib.crime.grid import Grid
from crimeface_lib.crime.hotspot import box_sum, false_discovery

if TYPE_CHECKING:
    import geopandas as gpd

#: Possible sums of neighbours' counts that are worked out.
_MAX_SUM = 4_000_000
#: Below this the transform's rounding is all there is.
_SMALLEST_P = 1e-12
#: What a cell is called, by whether it and its neighbours' mean lie above the area's mean.
KINDS = ("not significant", "high among high", "low among high", "low among low", "high among low")


@dataclass(frozen=True, slots=True)
class LocalMoran(Result):
    """Local Moran's I per cell.

    Parameters
    ----------
    statistic : (C,) I, the cell's departure from the mean times its neighbours' mean departure, over the variance.
    p : (C,) two-sided, given the cell's own count, the others being exchangeable.
    kind : (C,) index into ``KINDS``; 0 where the cell does not stand after Benjamini-Hochberg at ``alpha``.
    global_statistic : Moran's I of the whole area.
    alone : cells without any neighbour in the area; they have statistic 0 and p 1.
    """

    statistic: FloatArray = field(repr=False)
    p: FloatArray = field(repr=False)
    kind: npt.NDArray[np.int8] = field(repr=False)
    global_statistic: float
    alone: int
    alpha: float
    reach: int
    grid: Grid = field(repr=False)

    def to_frame(self) -> gpd.GeoDataFrame:
        """The cells with statistic, p and kind in words."""
        words = np.array(KINDS)[self.kind]
        return self.grid.cells.assign(local_moran=self.statistic, p=self.p, kind=words)

    def to_dict(self) -> dict[str, Any]:
        cells = {name: int((self.kind == k).sum()) for k, name in enumerate(KINDS)}
        return {"global_statistic": self.global_statistic, "alpha": self.alpha, "reach": self.reach,
                "alone": self.alone, "cells": cells}  # fmt: skip

    def _repr_html_(self) -> str:
        import pandas as pd

        figures = {"Moran's I": round(self.global_statistic, 3), **self.to_dict()["cells"]}
        return table_html(pd.DataFrame([figures]))


def local_moran(counts: npt.ArrayLike, grid: Grid, *, reach: int = 1, alpha: float = 0.05) -> LocalMoran:
    """Local Moran's I with the square ring of neighbours, row-standardised.

    The p value is that of conditional permutation: the cell keeps its count, its neighbours' are drawn from the other
    cells. Counts are whole numbers, so the distribution of their sum is found exactly, by convolution: no shuffles,
    and no coarsest p value that a correction for thousands of cells can't pass. (Drawn with replacement, which differs
    by the order of neighbours / cells.)

    Parameters
    ----------
    counts : (C,) events per cell, whole numbers, in the grid's row order.
    reach : 1 is the 8 cells around, 2 the 24 around, and so on.

    Raises
    ------
    InputError : all counts equal (the statistic is undefined), not whole numbers, a reach below 1 or too wide.

    References: Anselin 1995; Sokal, Oden & Thomson 1998.
    """
    values: FloatArray = check_array(counts, shape=(len(grid),), name="counts")
    if reach < 1:
        raise InputError(f"reach: got {reach}, expected at least 1 cell")
    if (values < 0).any() or (values % 1).any():
        raise InputError(f"counts: got {values[(values < 0) | (values % 1 > 0)][0]:g}, expected whole numbers from 0")
    number = len(values)
    if number < 5 or np.ptp(values) == 0:
        raise InputError(f"counts: got {number} cells of {len(np.unique(values))} values, expected some variation")
    around = np.rint(box_sum(grid.raster(values, fill=0.0), reach)[grid.row, grid.column] - values)
    neighbours = np.rint(box_sum(grid.inside.astype(float), reach)[grid.row, grid.column] - 1).astype(np.int64)
    z = values - values.mean()
    lag = np.divide(around, neighbours, out=np.zeros(number), where=neighbours > 0) - values.mean()
    lag[neighbours == 0] = 0.0
    statistic = z * lag * (number - 1) / (z @ z)
    p = _p_values(values.astype(np.int64), around.astype(np.int64), neighbours)
    stands = false_discovery(p, alpha=alpha)
    kind = np.where(z > 0, np.where(lag > 0, 1, 4), np.where(lag > 0, 2, 3))
    alone = int((neighbours == 0).sum())
    overall = float((z @ lag) / (z @ z) * number / max(number - alone, 1))
    return LocalMoran(statistic, p, np.where(stands, kind, 0).astype(np.int8), overall, alone, alpha, reach, grid)


def _p_values(counts: IntArray, around: IntArray, neighbours: IntArray) -> FloatArray:
    """Return (C,) two-sided p of the sum of ``neighbours`` counts drawn from the other cells being as far out.

    With own count v left out, the distribution of one draw is (N P - 1[v]) / (N - 1); its k-fold convolution is
    the binomial sum of those of P, shifted by multiples of v.
    """
    from scipy.fft import irfft, next_fast_len, rfft
    from scipy.special import binom

    number, widest = len(counts), int(neighbours.max(initial=0))
    length = widest * int(counts.max()) + 1
    if length > _MAX_SUM:
        raise InputError(
            f"reach: {widest} neighbours with up to {counts.max():,} events each are too many for exact p values "
            f"({length:,} possible sums, expected at most {_MAX_SUM:,}); use a smaller reach or cell"
        )
    p = np.ones(number)
    size = next_fast_len(length, real=True)
    single = rfft(np.bincount(counts, minlength=1) / number, size)
    for k in np.unique(neighbours[neighbours > 0]):
        cells = np.flatnonzero(neighbours == k)
        own, total = counts[cells], around[cells]
        most, least = np.zeros(len(cells)), np.zeros(len(cells))  # P(sum <= total), P(sum >= total)
        for left_out in range(int(k) + 1):
            share = binom(k, left_out) * (number / (number - 1)) ** (k - left_out) * (-1 / (number - 1)) ** left_out
            if left_out and abs(share) < 1e-14:
                break
            cumulated = np.concatenate([[0.0], np.cumsum(irfft(single ** (k - left_out), size)[:length]), [0.0]])
            cumulated[-1] = cumulated[-2]
            sums = np.clip(total - left_out * own, -1, length - 1)
            most += share * cumulated[sums + 1]
            least += share * (cumulated[-1] - cumulated[np.maximum(sums, 0)])
        p[cells] = np.clip(2 * np.minimum(most, least), _SMALLEST_P, 1.0)
    return p
