"""What each layer of the crime map shows for a choice of months, type and area: values, and how to read them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from crimeface_lib.apps.map_data import CellMonths
from crimeface_lib.core.types import BoolArray, FloatArray, IntArray
from crimeface_lib.crime import getis_ord
from crimeface_lib.reporting import format_count

ALL = "All types"
LAYERS = {"Density": "density", "Counts": "counts", "Hotspots": "hotspots", "Points": "points"}
FORECAST = "forecast"
#: Points drawn at most, the busiest first: more are a blot, and slow.
MOST_POINTS = 2000
_HOT = 90  # percentile of the hotspots' scores at which their colours end


@dataclass(frozen=True, slots=True)
class Choice:
    """What is asked of the map.

    Parameters
    ----------
    kind, area : a type and an area; None for all.
    first, last : months of the period, counted from the first of the data.
    month : the one month of the period that is shown; None shows all of them together.
    """

    layer: str
    kind: str | None
    area: str | None
    first: int
    last: int
    month: int | None = None

    @property
    def shown(self) -> slice:
        """The months that are shown."""
        return slice(self.first, self.last + 1) if self.month is None else slice(self.month, self.month + 1)

    def period(self, months: Any) -> str:
        """Return the months shown, in words."""
        named = months[self.shown]
        return f"{named[0]:%b %Y}" + (f" to {named[-1]:%b %Y}" if len(named) > 1 else "")


@dataclass(frozen=True, slots=True)
class Points:
    """Snap points: (P, 2) metres, (P,) events at each, the most that any has in a month shown, and how many there are
    in all; the busiest ``MOST_POINTS`` are kept."""

    xy: FloatArray
    events: IntArray
    most: int
    total: int


@dataclass(frozen=True, slots=True)
class Layer:
    """What is drawn.

    Parameters
    ----------
    values : (C,) NaN where nothing is known, or outside the area chosen.
    label : what a value is, in words and units. said : how to read the map, one or two sentences.
    top : where the colour scale ends; the same for each month of a period, so that months compare.
    """

    values: FloatArray = field(repr=False)
    label: str
    said: str
    top: float
    points: Points | None = None

    @property
    def known(self) -> bool:
        """Whether any month shown was published."""
        return bool(np.isfinite(self.values).any())


def make_layer(data: CellMonths, choice: Choice, inside: BoolArray, *, bandwidth: float) -> Layer:
    """Return what a layer shows; ``FORECAST`` is made elsewhere, under a permit.

    Parameters
    ----------
    inside : (C,) the cells of the area chosen.
    """
    if not data.published[choice.shown].any():
        known = {"counts": "recorded events per cell", "density": "recorded events per km²"}
        said = "Not published: nothing is known of this time. It is a gap, not a time without crime."
        points = Points(np.zeros((0, 2)), np.zeros(0, np.int64), 1, 0) if choice.layer == "points" else None
        return Layer(np.full(len(data.grid), np.nan), known.get(choice.layer, ""), said, 1.0, points)
    return _MAKERS[choice.layer](data, choice, inside, bandwidth)


def scale_top(values: FloatArray, *, percentile: float = 99) -> float:
    """Return where a colour scale ends: at a percentile, so that a few busy cells don't leave all others pale."""
    known = values[np.isfinite(values)]
    top = float(np.percentile(known, percentile)) if len(known) else 0.0
    if top <= 0 and len(known):
        top = float(known.max())
    return float(np.ceil(top)) if top > 1 else float(f"{top:.2g}") or 1.0


def _counts(data: CellMonths, choice: Choice, inside: BoolArray, bandwidth: float) -> Layer:
    said = f"Events recorded in each square of {data.grid.cell:g} m."
    values, top = _shown(data, data.counts(choice.kind).astype(float), choice, inside)
    return Layer(values, "recorded events per cell", said, top)


def _density(data: CellMonths, choice: Choice, inside: BoolArray, bandwidth: float) -> Layer:
    said = f"Events smoothed over {bandwidth:g} m, so that neighbours share them."
    values, top = _shown(data, data.density(choice.kind, bandwidth=bandwidth), choice, inside)
    return Layer(values, "recorded events per km²", said, top)


def _hotspots(data: CellMonths, choice: Choice, inside: BoolArray, bandwidth: float) -> Layer:
    label = "hotspot score (Gi*)"
    counts = data.counts(choice.kind)[choice.shown].sum(axis=0)
    scores = _hot_scores(data, counts)
    values = np.where(inside, scores, np.nan)
    if not scores.any():
        what = "All cells have the same count" if np.ptp(counts) == 0 else "No cell stands out from the rest"
        return Layer(values, label, f"{what}: no hotspot can be told.", 1.0)
    top = scale_top(scores[scores > 0], percentile=_HOT)
    if choice.month is not None:
        key = ("hot", choice.kind, choice.first, choice.last)
        top = data.keep(key, lambda: _highest_of_months(data, choice))
    said = (
        f"{int((scores > 0).sum())} of {format_count(len(scores))} cells stand out from the rest with their neighbours "
        "(Getis-Ord Gi*, at most 5% of them by chance); all others are pale."
    )
    return Layer(values, label, said, top)


def _points(data: CellMonths, choice: Choice, inside: BoolArray, bandwidth: float) -> Layer:
    xy, counts = data.points(choice.kind)
    here = data.keep("cells of points", lambda: data.grid.index_of(xy))
    events = np.where(inside[here], counts[choice.shown].sum(axis=0), 0)
    most = int(events.max()) if choice.month is None else int(counts[choice.first : choice.last + 1].max())
    used = np.flatnonzero(events)
    best = used[np.argsort(-events[used], kind="stable")][:MOST_POINTS]
    only = f" The busiest {format_count(len(best))} of {format_count(len(used))} are drawn." * (len(best) < len(used))
    said = (
        f"Each circle is a snap point that many addresses share; its area is the number of events there, the largest "
        f"{format_count(most)}.{only}"
    )
    values, top = _shown(data, data.counts(choice.kind).astype(float), choice, inside)
    return Layer(values, "recorded events per cell", said, top, Points(xy[best], events[best], max(most, 1), len(used)))


_MAKERS = {"counts": _counts, "density": _density, "hotspots": _hotspots, "points": _points}


def _shown(data: CellMonths, by_month: FloatArray, choice: Choice, inside: BoolArray) -> tuple[FloatArray, float]:
    """Return (C,) the sum over the months shown, and where the scale ends: of one month, that of the whole period."""
    values = np.where(inside, by_month[choice.shown].sum(axis=0), np.nan)
    if choice.month is None:
        return values, scale_top(values)
    period = slice(choice.first, choice.last + 1)
    return values, scale_top(by_month[period][data.published[period]][:, inside])


def _hot_scores(data: CellMonths, counts: IntArray) -> FloatArray:
    """Return (C,) the score where a cell is a hotspot, else 0."""
    if np.ptp(counts) == 0:
        return np.zeros(len(counts))
    found = getis_ord(counts.astype(float), data.grid)
    return np.where(found.hot, found.z, 0.0)


def _highest_of_months(data: CellMonths, choice: Choice) -> float:
    """Return the end of a scale that holds for each month of the period."""
    months = [m for m in range(choice.first, choice.last + 1) if data.published[m]]
    scores = np.concatenate([_hot_scores(data, data.counts(choice.kind)[m]) for m in months])
    return scale_top(scores[scores > 0], percentile=_HOT)
