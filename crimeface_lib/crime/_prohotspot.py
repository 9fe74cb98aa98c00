"""Prospective and retrospective hotspot grids, as the field has used them; both exact, by sums over the raster.

References: Bowers, Johnson & Pease 2004, "Prospective hot-spotting"; Johnson et al. 2007, Home Office Online Report
19/07. Definitions and defaults are those of open_cp (github.com/QuantCrimAtLeeds/PredictCode).
"""

from __future__ import annotations

import math

import numpy as np

from crimeface_lib.core.errors import InputError
from crimeface_lib.core.types import FloatArray, IntArray
from crimeface_lib.crime._history import DAY, YEAR, History, Parts
from crimeface_lib.crime.grid import Grid
from crimeface_lib.crime.hotspot import box_sum

REACH = 8  # cells and weeks: events as far or as old as this have no weight
_WHOLE = math.lcm(*range(1, REACH + 1))  # makes every weight 1 / (1 + k) a whole number, so that sums are exact


def prohotspot(history: History, end: np.datetime64) -> Parts:
    """Bowers, Johnson & Pease's prospective hotspots, scaled to the last year's rate.

    Raises
    ------
    InputError : the events know only their month, or none lies in the last eight weeks.
    """
    need_times(history, "prohotspot")
    weeks = np.floor((history.at - history.start) / (7 * DAY)).astype(np.int64)
    total, own = prospective_weights(history.grid, history.cell, weeks)
    nothing = np.zeros(len(own))
    return _to_rate(history, end, {"recency": own, "long_term": nothing, "neighbours": total - own})


def prospective_weights(grid: Grid, cell: IntArray, weeks: IntArray) -> tuple[FloatArray, FloatArray]:
    """Return (C,) sums of 1 / ((1 + d)(1 + t)) over the events, and the part of the cell's own events.

    d is the distance in whole cells, diagonal steps counting as one, t the age in whole ``weeks``; both below 8. The
    rings of equal distance are differences of squares, and all sums are of whole numbers, so nothing is rounded.
    """
    used = (weeks >= 0) & (weeks < REACH)
    image = np.zeros(grid.shape)
    np.add.at(image, (grid.row[cell[used]], grid.column[cell[used]]), _WHOLE // (1 + weeks[used]))
    squares = [_WHOLE // (1 + d) - (_WHOLE // (2 + d) if d + 1 < REACH else 0) for d in range(REACH)]
    total = np.zeros(grid.shape)
    for d, weight in enumerate(squares):
        total += weight * box_sum(image, d)
    where = grid.row, grid.column
    return total[where] / _WHOLE**2, image[where] / _WHOLE


def retrospective(history: History, end: np.datetime64, *, days: float = 60.0, bandwidth: float = 200.0) -> Parts:
    """The retrospective hotspot grid: quartic kernels of 200 m around the events of the last 60 days."""
    age = ((history.at - history.start) + (history.at - history.end)) / DAY / 2
    used = age <= days
    total, own = quartic_sums(history.grid, history.xy[used], history.cell[used], bandwidth=bandwidth)
    return _to_rate(history, end, {"recency": own, "long_term": np.zeros(len(own)), "neighbours": total - own})


def quartic_sums(grid: Grid, xy: FloatArray, cell: IntArray, *, bandwidth: float) -> tuple[FloatArray, FloatArray]:
    """Return (C,) sums of (1 - d²/h²)² over the events within h of the cell's centre, and the part of its own."""
    number = np.full(grid.shape, -1, dtype=np.int64)
    number[grid.row, grid.column] = np.arange(len(grid))
    reach = int(np.ceil(bandwidth / grid.cell))
    padded = np.pad(number, reach, constant_values=-1)
    row, column, centres = grid.row[cell] + reach, grid.column[cell] + reach, grid.centres()
    total, own = np.zeros(len(grid)), np.zeros(len(grid))
    for down in range(-reach, reach + 1):
        for across in range(-reach, reach + 1):
            near = padded[row + down, column + across]
            there = near >= 0
            square = ((xy[there] - centres[near[there]]) ** 2).sum(axis=1) / bandwidth**2
            weight = np.bincount(near[there], weights=np.maximum(1 - square, 0.0) ** 2, minlength=len(grid))
            total += weight
            if down == across == 0:
                own += weight
    return total, own


def need_times(history: History, model: str) -> None:
    """Refuse events that know only their month, for a model made of days.

    Raises
    ------
    InputError : always, on such events.
    """
    if history.by_month:
        raise InputError(
            f"model: got {model!r} on events that know only their month, expected days: what follows an event within "
            "days can't be seen in them; use model='decayed_counts'"
        )


def _to_rate(history: History, end: np.datetime64, parts: Parts) -> Parts:
    """Scale weights, which only rank, so that they sum to the last year's events per day times the horizon."""
    total = sum(float(part.sum()) for part in parts.values())
    if total == 0:
        raise InputError(
            f"at: no event of the last weeks before {history.at} carries weight; use model='decayed_counts'"
        )
    weight, exposure = history.weights(tau=np.inf, window=YEAR)
    scale = float(weight.sum()) / exposure * ((end - history.at) / DAY) / total
    return {name: part * scale for name, part in parts.items()}
