"""Steps in over-dispersed monthly counts: exact segmentation of many series at once, and counts drawn from a fit.

Arrays are (B, T): B series of T months. A month without data has no count and no exposure, so it costs nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from crimeface_lib.core.types import BoolArray, FloatArray, IntArray

_ROUNDS = 3  # of segments given the season, and the season given the segments
_CELLS = 4_000_000  # of one block of cost matrices


@dataclass(frozen=True, slots=True)
class Steps:
    """The best segmentations of each series into 1 to K + 1 levels, under one season."""

    season: FloatArray  # (B, T) factor of each month, mean 1 over the calendar
    deviance: FloatArray  # (K + 1, B)
    starts: list[IntArray]  # (B, k) first month of each new level
    level: FloatArray  # (B, T) of the segmentation with K changes

    def levels(self, counts: FloatArray, known: BoolArray, changes: int) -> FloatArray:
        """Return (B, T) levels of the segmentation with ``changes``."""
        return _levels(_sums(np.where(known, counts, 0.0)), _sums(np.where(known, self.season, 0.0)),
                       self.starts[changes])  # fmt: skip


def best_steps(
    counts: FloatArray, known: BoolArray, calendar: IntArray | None, *, changes: int, shortest: int
) -> Steps:
    """Find, for 0 to ``changes``, the segmentation of least quasi-Poisson deviance, by dynamic programming.

    Parameters
    ----------
    counts : (B, T); known : (T,); calendar : (T,) 0-11, or None for no season.
    shortest : months with data in each segment, at least.
    """
    size = max(1, _CELLS // (counts.shape[1] + 1) ** 2)
    blocks = [_block(counts[i : i + size], known, calendar, changes, shortest) for i in range(0, len(counts), size)]
    return Steps(
        np.concatenate([b.season for b in blocks]), np.concatenate([b.deviance for b in blocks], axis=1),
        [np.concatenate([b.starts[k] for b in blocks]) for k in range(changes + 1)],
        np.concatenate([b.level for b in blocks]),
    )  # fmt: skip


def _block(counts: FloatArray, known: BoolArray, calendar: IntArray | None, changes: int, shortest: int) -> Steps:
    counts = np.where(known, counts, 0.0)
    seen = _sums(known[None].astype(float))[0]
    allowed = seen[None, :] - seen[:, None] >= shortest  # (T + 1, T + 1) from start to end
    total = _sums(counts)
    month = None if calendar is None else (calendar[:, None] == np.arange(12)).astype(float) * known[:, None]
    season = np.ones(counts.shape)
    if month is not None:
        season = _season(counts, np.ones(counts.shape), month)
    for turn in range(_ROUNDS if month is not None else 1):
        exposure = _sums(np.where(known, season, 0.0))
        cost, starts = _program(_costs(total, exposure, allowed), changes)
        level = _levels(total, exposure, starts[changes])
        if month is not None and turn < _ROUNDS - 1:
            season = _season(counts, level, month)
    with np.errstate(divide="ignore", invalid="ignore"):
        ideal = np.where(counts > 0, counts * np.log(counts / season), 0.0).sum(axis=1)
    return Steps(season, 2 * (ideal + cost), starts, level)


def _sums(values: FloatArray) -> FloatArray:
    return np.concatenate([np.zeros((len(values), 1)), np.cumsum(values, axis=1)], axis=1)


def _costs(total: FloatArray, exposure: FloatArray, allowed: BoolArray) -> FloatArray:
    """Return (B, T + 1, T + 1) negative log-likelihood of one level from each start to each end."""
    events = total[:, None, :] - total[:, :, None]
    of = exposure[:, None, :] - exposure[:, :, None]
    some = allowed & (events > 0)
    rate = np.divide(events, of, out=np.ones_like(events), where=some)
    return np.where(allowed, -events * np.log(rate), np.inf)


def _program(cost: FloatArray, changes: int) -> tuple[FloatArray, list[IntArray]]:
    """Return (K + 1, B) least costs and the (B, k) starts of new levels for each k."""
    series, edges = cost.shape[:2]
    best, back = cost[:, 0], []
    least = [best[:, -1]]
    for _ in range(changes):
        whole = best[:, :, None] + cost
        pick = whole.argmin(axis=1)
        best = np.take_along_axis(whole, pick[:, None], axis=1)[:, 0]
        back.append(pick)
        least.append(best[:, -1])
    starts = []
    for k in range(changes + 1):
        end, found = np.full(series, edges - 1), []
        for pick in reversed(back[:k]):
            end = pick[np.arange(series), end]
            found.append(end)
        starts.append(np.stack(found[::-1], axis=1) if found else np.zeros((series, 0), dtype=np.int64))
    return np.stack(least), starts


def _levels(total: FloatArray, exposure: FloatArray, starts: IntArray) -> FloatArray:
    """Return (B, T) mean per unit of season in each month's own segment."""
    length = total.shape[1] - 1
    rows = np.arange(len(total))[:, None]
    edges = np.concatenate([np.zeros_like(rows), starts, np.full_like(rows, length)], axis=1)
    events, of = np.diff(total[rows, edges]), np.diff(exposure[rows, edges])
    segment = (np.arange(length)[None, :, None] >= starts[:, None, :]).sum(axis=2)
    return np.take_along_axis(np.maximum(events / np.maximum(of, 1e-9), 1e-9), segment, axis=1)


def _season(counts: FloatArray, level: FloatArray, month: FloatArray) -> FloatArray:
    """Return (B, T) factors of the calendar months, given levels; mean 1 over the twelve."""
    factor = np.maximum((counts @ month) / np.maximum(level @ month, 1e-9), 1e-3)
    factor /= factor.mean(axis=1, keepdims=True)
    return factor @ (month > 0).T + (month.sum(axis=1) == 0)


@dataclass(frozen=True, slots=True)
class Noise:
    """How counts scatter about their mean: variance over mean, and likeness of a month to the one before."""

    dispersion: float
    autocorrelation: float

    def draw(self, mean: FloatArray, number: int, gen: np.random.Generator) -> FloatArray:
        """Return (number, T) counts: negative binomial with these moments, linked by a Gaussian copula."""
        from scipy.special import ndtr

        z = gen.standard_normal((number, len(mean)))
        rho = self.autocorrelation
        for t in range(1, len(mean)):
            z[:, t] = rho * z[:, t - 1] + np.sqrt(1 - rho**2) * z[:, t]
        return _quantile(np.clip(ndtr(z), 1e-9, 1 - 1e-9), np.maximum(mean, 1e-6)[None], max(self.dispersion, 1.001))


def _quantile(p: FloatArray, mean: FloatArray, dispersion: float) -> FloatArray:
    from scipy.special import nbdtrik

    # P(count <= k) rises through p between k - 1 and the continuous root; far below, at zero events, there is no root
    root = nbdtrik(p, np.broadcast_to(mean / (dispersion - 1), p.shape), 1 / dispersion)
    return np.ceil(np.maximum(np.where(np.isfinite(root), root, 0.0), 0.0))


def residuals(counts: FloatArray, steps: Steps) -> FloatArray:
    """Return (B, T) Pearson residuals from the richest segmentation."""
    mean = np.maximum(steps.level * steps.season, 1e-9)
    return (counts - mean) / np.sqrt(mean)


def likeness(rest: FloatArray, known: BoolArray) -> FloatArray:
    """Return (B,) correlation of each month's residual with the month before."""
    both = (known[1:] & known[:-1]).astype(float)
    rest = np.where(known, rest, 0.0)
    top = (rest[:, 1:] * rest[:, :-1]) @ both / max(both.sum(), 1.0)
    return top / np.maximum((rest**2).sum(axis=1) / known.sum(), 1e-12)
