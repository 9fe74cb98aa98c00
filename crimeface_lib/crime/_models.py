"""Place models: from the events before a cut-off to expected events per cell, in additive parts.

Every model sees the months that all forces published, and divides by the time they cover: a gap is not a quiet month.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np

from crimeface_lib.core.errors import InputError
from crimeface_lib.core.types import BoolArray, FloatArray, IntArray
from crimeface_lib.crime.grid import Grid
from crimeface_lib.crime.hotspot import gaussian_surface

DAY = np.timedelta64(86_400, "s")
Dates: TypeAlias = Any  # datetime64[s] arrays: numpy's stubs don't know their arithmetic
YEAR = 365.25
#: Of all place models; model cards and DPIAs name it.
MODEL_VERSION = "1"
#: What figures and sentences call the models.
MODEL_NAMES = {
    "decayed_counts": "decayed counts of five years",
    "counts": "counts of one year",
    "kde": "kernel density, 300 m",
    "glm": "Poisson regression",
}
BANDWIDTH = 300.0  # metres
_RECENT = 91.0  # days
_HISTORY_YEARS = 5.0
_TRAINING_CUTOFFS = 6

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


def counts(history: History, end: np.datetime64) -> Parts:
    """Events of the last year, per cell, scaled to the horizon."""
    recent, older = history.rate(tau=np.inf, window=YEAR)
    days = (end - history.at) / DAY
    return {"recency": recent * days, "long_term": older * days, "neighbours": np.zeros(len(history.grid))}


def decayed_counts(history: History, end: np.datetime64) -> Parts:
    """Events of five years weighted exp(-age / 2 years): the baseline that others must beat."""
    recent, older = history.rate(tau=2 * YEAR, window=_HISTORY_YEARS * YEAR)
    days = (end - history.at) / DAY
    return {"recency": recent * days, "long_term": older * days, "neighbours": np.zeros(len(history.grid))}


def kde(history: History, end: np.datetime64) -> Parts:
    """Gaussian smoothing of the last year, 300 m; the part from other cells is told apart."""
    weight, exposure = history.weights(tau=np.inf, window=YEAR)
    grid = history.grid
    used = weight > 0
    xy, cell, recent = history.xy[used], history.cell[used], history.recent()[used]
    surface, corrected = gaussian_surface(xy, weight[used], grid, bandwidth=BANDWIDTH, edge=True)
    scale = grid.cell**2 / exposure * ((end - history.at) / DAY)
    square = ((xy - grid.centres()[cell]) ** 2).sum(axis=1)
    own = corrected * np.exp(-square / (2 * BANDWIDTH**2)) / (2 * np.pi * BANDWIDTH**2)
    parts = [np.bincount(cell, weights=own * side, minlength=len(grid)) * scale for side in (recent, ~recent)]
    neighbours = np.maximum(surface * scale - parts[0] - parts[1], 0.0)
    return {"recency": parts[0], "long_term": parts[1], "neighbours": neighbours}


def glm(history: History, end: np.datetime64) -> Parts:
    """Poisson regression with identity link and weights that are not negative, on decayed counts at several scales.

    The weights are fitted at six earlier cut-offs, one horizon apart; the prediction is a sum, so its parts are exact.
    """
    rows, targets = [], []
    for k in range(1, _TRAINING_CUTOFFS + 1):
        start, stop = step_back(history.at, end, k), step_back(history.at, end, k - 1)
        past = history.before(start)
        if len(past.cell) and history.covers(start, stop) and (past.months[:, 1] <= start).any():
            rows.append(_features(past, stop)[0])
            targets.append(history.count(start, stop))
    if not rows:
        raise InputError(f"at: no whole horizon before {history.at} to fit 'glm' on; use model='decayed_counts'")
    weight = fit_mixture(np.vstack(rows), np.concatenate(targets))
    features, part = _features(history, end)
    return {name: features[:, part == name] @ weight[part == name] for name in ("recency", "long_term", "neighbours")}


def _features(history: History, end: np.datetime64) -> tuple[FloatArray, np.ndarray]:
    """Return (C, F) expected events in the horizon by each scale alone, and which part each belongs to."""
    window = _HISTORY_YEARS * YEAR
    own = [np.add(*history.rate(tau=t * YEAR, window=window)) for t in (0.25, 1.0, 2.0, 5.0)]
    near = [_spread(history.grid, own[1], m) for m in (300.0, 600.0)]
    wide = _spread(history.grid, own[2], 1500.0)
    names = np.array(["recency", "long_term", "long_term", "long_term", "neighbours", "neighbours", "neighbours"])
    return np.column_stack([*own, *near, wide]) * ((end - history.at) / DAY), names


def _spread(grid: Grid, values: FloatArray, bandwidth: float) -> FloatArray:
    """Return (C,) values smoothed over other cells only, edge-corrected."""
    from scipy.ndimage import gaussian_filter

    def others(image: FloatArray) -> FloatArray:
        sd = bandwidth / grid.cell
        centre = gaussian_filter(np.pad([[1.0]], int(5 * sd) + 1), sd, mode="constant").max()
        return (gaussian_filter(image, sd, mode="constant") - centre * image)[grid.row, grid.column]

    mass = others(grid.inside.astype(float))
    return np.divide(others(grid.raster(values, fill=0.0)), mass, out=np.zeros(len(grid)), where=mass > 1e-12)


def fit_mixture(features: FloatArray, target: FloatArray, *, rounds: int = 500) -> FloatArray:
    """Return the (F,) weights >= 0 that maximise the Poisson likelihood of ``target`` with mean ``features @ weights``.

    Expectation-maximisation (Shepp & Vardi 1982): each round raises the likelihood; fitted and observed totals agree.
    Rows without any feature tell nothing about the weights and are left out.
    """
    used = features.sum(axis=1) > 0
    features, target = features[used], target[used]
    total = np.maximum(features.sum(axis=0), 1e-300)
    weight = np.full(features.shape[1], target.sum() / max(features.sum(), 1e-300))
    hit = target > 0  # other rows add nothing to the numerator
    there, happened = features[hit], target[hit]
    for _ in range(rounds):
        mean = np.maximum(there @ weight, 1e-300)
        weight = weight * (there.T @ (happened / mean)) / total
    return weight


MODELS: dict[str, Callable[[History, np.datetime64], Parts]] = {
    "decayed_counts": decayed_counts,
    "counts": counts,
    "kde": kde,
    "glm": glm,
}
