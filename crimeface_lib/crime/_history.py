"""What a place model may see: the events and the months covered, as known at a cut-off."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np

from crimeface_lib.core.errors import InputError
from crimeface_lib.core.types import BoolArray, FloatArray, IntArray
from crimeface_lib.crime.events import Events, found_by_policing
from crimeface_lib.crime.grid import Grid

DAY = np.timedelta64(86_400, "s")
Dates: TypeAlias = Any  # datetime64[s] arrays: numpy's stubs don't know their arithmetic
YEAR = 365.25
_RECENT = 91.0  # days

Parts = dict[str, FloatArray]


@dataclass(frozen=True, slots=True)
class History:
    """The located events and the months covered, seen from a cut-off.

    cell : (N,) int64; xy : (N, 2) m; start, end : (N,) datetime64[s], equal for a stamped event, the month's ends
    where only the month is known (``by_month``); months : (M, 2) datetime64[s] ends of the months that every force
    published.
    """

    grid: Grid
    cell: IntArray
    xy: FloatArray
    start: Dates
    end: Dates
    months: Dates
    by_month: bool
    at: np.datetime64

    def before(self, at: np.datetime64) -> History:
        """Return what was known at an earlier cut-off."""
        keep = self.end <= at if self.by_month else self.start < at
        return replace(self, cell=self.cell[keep], xy=self.xy[keep], start=self.start[keep], end=self.end[keep], at=at)

    def count(self, start: np.datetime64, end: np.datetime64) -> IntArray:
        """Return (C,) events with ``start`` <= time < ``end``."""
        return np.bincount(self.cell[(self.start >= start) & (self.start < end)], minlength=len(self.grid))

    def covers(self, start: np.datetime64, end: np.datetime64) -> bool:
        """Return whether every month of the span is in the data."""
        wanted = np.arange(start.astype("datetime64[M]"), (end - np.timedelta64(1, "s")).astype("datetime64[M]") + 1)
        return bool(np.isin(wanted, self.months[:, 0].astype("datetime64[M]")).all())

    def weights(self, *, tau: float, window: float) -> tuple[FloatArray, float]:
        """Return (N,) weights exp(-age/tau), averaged over an event's span, 0 beyond ``window``; and their exposure.

        ``tau``, ``window`` and the exposure are in days; an infinite ``tau`` counts evenly.
        """
        young, old = (self.at - self.end) / DAY, (self.at - self.start) / DAY
        weight = np.where((young + old) / 2 < window, _mean_decay(young, old, tau), 0.0)
        young, old = (self.at - self.months[:, 1]) / DAY, (self.at - self.months[:, 0]) / DAY
        if self.by_month:
            used = (young >= 0) & ((young + old) / 2 < window)
        else:
            young, old = np.maximum(young, 0.0), np.minimum(old, window)
            used = old > young
        exposure = float(((old - young) * _mean_decay(young, old, tau))[used].sum())
        if exposure == 0:
            raise InputError(
                f"at: no month of the {window:g} days before {self.at} is in the data; choose another cut-off"
            )
        return weight, exposure

    def recent(self) -> BoolArray:
        """Return (N,) whether an event lies in the last quarter."""
        return ((self.at - self.start) + (self.at - self.end)) / DAY / 2 < _RECENT

    def rate(self, *, tau: float, window: float) -> tuple[FloatArray, FloatArray]:
        """Return (C,) events per day from the last quarter, and from before it; their sum is the decayed rate."""
        weight, exposure = self.weights(tau=tau, window=window)
        recent = self.recent()
        parts = [np.bincount(self.cell, weights=weight * side, minlength=len(self.grid)) for side in (recent, ~recent)]
        return parts[0] / exposure, parts[1] / exposure


def step_back(at: np.datetime64, end: np.datetime64, number: int) -> np.datetime64:
    """Return ``at`` moved back by ``number`` horizons: whole months where the horizon is made of them, else days."""
    first, last = at.astype("datetime64[M]"), end.astype("datetime64[M]")
    if first == at and last == end:
        return (first - number * (last - first)).astype("datetime64[s]")
    return at - number * (end - at)


def _mean_decay(young: FloatArray, old: FloatArray, tau: float) -> FloatArray:
    if np.isinf(tau):
        return np.ones(len(young))
    span = np.maximum((old - young) / tau, 1e-12)
    return np.exp(-young / tau) * -np.expm1(-span) / span


def spread(grid: Grid, values: FloatArray, bandwidth: float) -> FloatArray:
    """Return (C,) values smoothed over other cells only, edge-corrected."""
    from scipy.ndimage import gaussian_filter

    def others(image: FloatArray) -> FloatArray:
        sd = bandwidth / grid.cell
        centre = gaussian_filter(np.pad([[1.0]], int(5 * sd) + 1), sd, mode="constant").max()
        return (gaussian_filter(image, sd, mode="constant") - centre * image)[grid.row, grid.column]

    mass = others(grid.inside.astype(float))
    return np.divide(others(grid.raster(values, fill=0.0)), mass, out=np.zeros(len(grid)), where=mass > 1e-12)


def reported(events: Events, *, police_discovered: bool = False) -> tuple[Events, tuple[str, ...]]:
    """Return the events without the types found by policing, and the types left out.

    Raises
    ------
    InputError : no type is left.
    """
    excluded = () if police_discovered else tuple(t for t in events.types if found_by_policing(t))
    if not excluded:
        return events, ()
    kept = [t for t in events.types if t not in excluded]
    if not kept:
        raise InputError(
            f"events: got only {', '.join(excluded)}, found by policing; pass police_discovered=True to model them"
        )
    return events.select(types=kept), excluded


def span(events: Events, at: object, horizon: str) -> tuple[np.datetime64, np.datetime64]:
    """Return the first and the last moment of the horizon, checked against what the events can tell."""
    import pandas as pd

    found = re.fullmatch(r"([1-9]\d*)\s*([DWM])", str(horizon).strip().upper())
    if not found:
        raise InputError(f"horizon: got {horizon!r}, expected days, weeks or months such as '30D', '2W' or '1M'")
    number, unit = int(found[1]), found[2]
    try:
        if not re.match(r"\d{4}-\d{2}", str(at)):
            raise ValueError("no year and month")
        start = pd.Timestamp(str(at))
        start = start.tz_convert(None) if start.tz is not None else start  # as readers take stamps with an offset
    except ValueError as error:
        raise InputError(f"at: got {at!r}, expected a date such as 2021-01-01 or a month such as 2021-01") from error
    if events.resolution == "month":
        if unit != "M":
            raise InputError(
                f"horizon: got {horizon!r}, but these events know only their month: "
                "nothing finer can be predicted or checked; use whole months such as '1M'"
            )
        if start != start.normalize().replace(day=1):
            raise InputError(f"at: got {start}, but these events know only their month; use the first of a month")
    step = pd.DateOffset(months=number) if unit == "M" else pd.Timedelta(days=number * (7 if unit == "W" else 1))
    return np.datetime64(start, "s"), np.datetime64(start + step, "s")


def read_history(events: Events, grid: Grid) -> History:
    """Return the located events of the months that every force published."""
    whole = events.months[events.completeness.notna().all().to_numpy()]
    first = whole.start_time.to_numpy().astype("datetime64[s]")
    months = np.column_stack([first, (whole + 1).start_time.to_numpy().astype("datetime64[s]")])
    month = events.frame["month"].to_numpy().astype("datetime64[s]")
    cell = grid.index_events(events)
    keep = (cell >= 0) & np.isin(month, first)
    start = events.when()[keep]
    end = start
    if events.resolution == "month":
        end = (month[keep].astype("datetime64[M]") + np.timedelta64(1, "M")).astype("datetime64[s]")
    by_month = events.resolution == "month"
    return History(grid, cell[keep], events.coordinates()[keep], start, end, months, by_month, months[-1, 1])
