"""Where events gather: kernel density on the grid, and Getis-Ord Gi* with false discoveries held in check."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from crimeface_lib.core.arrays import check_array
from crimeface_lib.core.display import table_html
from crimeface_lib.core.errors import InputError
from crimeface_lib.core.results import Result
from crimeface_lib.core.types import BoolArray, FloatArray, IntArray
from crimeface_lib.crime.events import Events
from crimeface_lib.crime.grid import Grid

if TYPE_CHECKING:
    import geopandas as gpd

_MAX_BINS = 50_000_000
_TRUNCATE = 5.0  # standard deviations of the kernel that are kept


@dataclass(frozen=True, slots=True)
class Density(Result):
    """Events per km² at the cell centres.

    Parameters
    ----------
    values : (C,) events per km² over the span of the events.
    bandwidth : standard deviation of the Gaussian, metres.
    events : how many lay inside the grid and made the surface.
    edge_corrected : each event's kernel was scaled to put its whole mass inside the area.
    """

    values: FloatArray = field(repr=False)
    bandwidth: float
    events: int
    edge_corrected: bool
    grid: Grid = field(repr=False)

    def to_frame(self) -> gpd.GeoDataFrame:
        """The cells with their density."""
        return self.grid.cells.assign(density=self.values)

    def to_dict(self) -> dict[str, Any]:
        return {
            "bandwidth_m": self.bandwidth, "events": self.events, "edge_corrected": self.edge_corrected,
            "highest_per_km2": float(self.values.max()), "cells": len(self.values),
        }  # fmt: skip

    def _repr_html_(self) -> str:
        import pandas as pd

        return table_html(pd.DataFrame([self.to_dict()]))


def kde(events: Events, grid: Grid, *, bandwidth: float, edge: bool = True) -> Density:
    """Gaussian kernel density at the cell centres, binned and separable.

    Each event is shared among the four nearest bins of at most a third of the bandwidth, and the spread this adds is
    taken off the kernel's variance, so the surface agrees with the exact sum to within 1 % of its peak.

    Parameters
    ----------
    bandwidth : standard deviation of the kernel, metres.
    edge : scale each event's kernel to put its whole mass inside the area (Diggle 1985), so that the
        surface sums to the number of events; without it density is lost over the edge.

    Raises
    ------
    InputError : a bandwidth that is not positive, too fine for the area, or events in another plane.
    """
    xy = events.coordinates()[grid.index_events(events) >= 0]
    density, _ = gaussian_surface(xy, np.ones(len(xy)), grid, bandwidth=bandwidth, edge=edge)
    return Density(density * 1e6, float(bandwidth), len(xy), edge, grid)


def gaussian_surface(
    xy: FloatArray, weights: FloatArray, grid: Grid, *, bandwidth: float, edge: bool
) -> tuple[FloatArray, FloatArray]:
    """Return (C,) weight per m² at the cell centres, and the (N,) weights after edge correction."""
    if not (np.isfinite(bandwidth) and bandwidth > 0):
        raise InputError(f"bandwidth: got {bandwidth}, expected metres above 0")
    split = int(np.ceil(grid.cell * 3 / bandwidth)) // 2 * 2 + 1  # odd, so that a bin sits on each cell centre
    bin_ = grid.cell / split
    shape = (grid.shape[0] * split + 2, grid.shape[1] * split + 2)  # a rim of one bin takes the spill of the sharing
    if shape[0] * shape[1] > _MAX_BINS:
        raise InputError(
            f"bandwidth: {bandwidth:g} m over this area needs {shape[0] * shape[1]:,} bins, "
            f"expected at most {_MAX_BINS:,}; use a wider bandwidth or a smaller area"
        )
    sd = float(np.sqrt(bandwidth**2 - bin_**2 / 6) / bin_)
    place = (xy - grid.origin) / bin_ + 0.5  # in bins, counted from the centre of the rim's corner bin
    if edge:
        mass = _smooth(np.pad(np.kron(grid.inside, np.ones((split, split))), 1), sd)
        column, row = np.round(place).astype(np.int64).T
        weights = weights / mass[row, column]
    image = np.zeros(shape)
    _deposit()(place, weights, image)
    down, across = (_towards_centres(number, split, sd) for number in grid.shape)
    smooth = across @ (down @ image).T
    return smooth[grid.column, grid.row] / bin_**2, weights


@cache
def _deposit() -> Callable[..., None]:
    import numba

    @numba.njit(cache=True, nogil=True)
    def deposit(place: Any, weights: Any, image: Any) -> None:
        """Share each weight among the four bins around its place, in proportion to nearness (linear binning)."""
        for k in range(len(weights)):
            x, y = place[k, 0], place[k, 1]
            column, row = int(np.floor(x)), int(np.floor(y))
            right, up = x - column, y - row
            low, high = weights[k] * (1 - up), weights[k] * up
            image[row, column] += low * (1 - right)
            image[row, column + 1] += low * right
            image[row + 1, column] += high * (1 - right)
            image[row + 1, column + 1] += high * right

    return deposit


def _towards_centres(cells: int, split: int, sd: float) -> Any:
    """Return the sparse (cells, bins) Gaussian that smooths an axis of bins and keeps the centres of cells alone."""
    from scipy.sparse import csr_array

    reach = int(_TRUNCATE * sd + 0.5)
    offset = np.arange(-reach, reach + 1)
    weight = np.exp(-0.5 * (offset / sd) ** 2)
    bins = cells * split + 2
    at = (np.arange(cells) * split + split // 2 + 1)[:, None] + offset
    there = (at >= 0) & (at < bins)
    begins = np.concatenate([[0], np.cumsum(there.sum(axis=1))])
    values = np.broadcast_to(weight / weight.sum(), at.shape)[there]
    return csr_array((values, at[there], begins), shape=(cells, bins))


def _smooth(image: FloatArray, sd: float) -> FloatArray:
    from scipy.ndimage import gaussian_filter

    return gaussian_filter(image, sd, mode="constant", truncate=_TRUNCATE)


@dataclass(frozen=True, slots=True)
class Hotspots(Result):
    """Getis-Ord Gi* per cell.

    Parameters
    ----------
    z : (C,) standard score of the cell and its neighbours against the whole area.
    p : (C,) two-sided, from the normal approximation.
    hot, cold : (C,) bool; significant after Benjamini-Hochberg at ``alpha``: of the cells flagged, at most this share
        is expected to be flagged by chance.
    reach : neighbours within this many cells in each direction, the cell itself included.
    """

    z: FloatArray = field(repr=False)
    p: FloatArray = field(repr=False)
    hot: BoolArray = field(repr=False)
    cold: BoolArray = field(repr=False)
    alpha: float
    reach: int
    grid: Grid = field(repr=False)

    def to_frame(self) -> gpd.GeoDataFrame:
        """The cells with score, p and flags."""
        return self.grid.cells.assign(z=self.z, p=self.p, hot=self.hot, cold=self.cold)

    def to_dict(self) -> dict[str, Any]:
        return {
            "alpha": self.alpha, "reach": self.reach, "cells": len(self.z),
            "hot": int(self.hot.sum()), "cold": int(self.cold.sum()),
        }  # fmt: skip

    def _repr_html_(self) -> str:
        import pandas as pd

        return table_html(pd.DataFrame([self.to_dict()]))


def getis_ord(counts: npt.ArrayLike, grid: Grid, *, reach: int = 1, alpha: float = 0.05) -> Hotspots:
    """Analytic Gi* over the square neighbourhood of each cell, flags corrected for the number of cells.

    Parameters
    ----------
    counts : (C,) events per cell, in the grid's row order.
    reach : 1 is the cell and its 8 neighbours, 2 the 5 x 5 square, and so on.

    Raises
    ------
    InputError : all counts equal (the score is undefined), or a reach below 1.

    References: Getis & Ord 1992; Ord & Getis 1995; Benjamini & Hochberg 1995.
    """
    from scipy.stats import norm

    values: FloatArray = check_array(counts, shape=(len(grid),), name="counts")
    if reach < 1:
        raise InputError(f"reach: got {reach}, expected at least 1 cell")
    mean, sd, number = values.mean(), values.std(), len(values)
    if np.ptp(values) == 0:  # of equal values the deviation is not always 0
        raise InputError(f"counts: got {number} equal values, expected some variation; Gi* is undefined")
    around = box_sum(grid.raster(values, fill=0.0), reach)[grid.row, grid.column]
    neighbours = box_sum(grid.inside.astype(float), reach)[grid.row, grid.column]
    spread = sd * np.sqrt((number * neighbours - neighbours**2) / (number - 1))
    z = np.divide(around - mean * neighbours, spread, out=np.zeros(number), where=spread > 0)
    p = 2 * norm.sf(np.abs(z))
    flagged = false_discovery(p, alpha=alpha)
    return Hotspots(z, p, flagged & (z > 0), flagged & (z < 0), alpha, reach, grid)


def false_discovery(p: npt.ArrayLike, *, alpha: float = 0.05) -> BoolArray:
    """Return which p values stand when the false discovery rate is held at ``alpha`` (Benjamini-Hochberg).

    >>> false_discovery([0.001, 0.02, 0.04, 0.9]).tolist()
    [True, True, False, False]
    """
    values: FloatArray = check_array(p, shape=(None,), name="p")
    ranked = np.sort(values)
    passed = np.flatnonzero(ranked <= alpha * np.arange(1, len(values) + 1) / max(len(values), 1))
    return values <= ranked[passed[-1]] if len(passed) else np.zeros(len(values), dtype=bool)


def box_sum(image: FloatArray, reach: int) -> FloatArray:
    """Sum over the (2 reach + 1)² square around each pixel, exactly, by cumulative sums; nothing lies outside."""
    for axis in (0, 1):
        padded = np.pad(image, [(reach + 1, reach) if a == axis else (0, 0) for a in (0, 1)])
        total = np.cumsum(padded, axis=axis)
        width = 2 * reach + 1
        upper = np.take(total, np.arange(width, total.shape[axis]), axis=axis)
        image = upper - np.take(total, np.arange(total.shape[axis] - width), axis=axis)
    return image


def top_cells(values: npt.ArrayLike, *, share: float) -> IntArray:
    """Return the cells with the highest values, ``share`` of all, highest first; equal values in cell order."""
    array: FloatArray = check_array(values, shape=(None,), name="values")
    if not 0 < share <= 1:
        raise InputError(f"share: got {share}, expected above 0 and at most 1")
    return np.argsort(-array, kind="stable")[: max(1, round(share * len(array)))]
