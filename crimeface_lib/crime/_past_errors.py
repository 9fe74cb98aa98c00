"""What errors of past forecasts say about the next ones: their spread, how many count, how far intervals reach."""

from __future__ import annotations

import numpy as np

from crimeface_lib.core.types import FloatArray

#: Past origins before intervals are checked.
LEAST_BEFORE = 6
#: Months over which errors of one origin and the next are taken to be alike.
_LAGS = 6
#: Residuals' worth of the level's common spread that each series' own is shrunk by.
_SHRINK = 12


def spread_of(off: FloatArray) -> FloatArray:
    """Return (K, S) spreads from (K, O, H, S) errors; NaN is unknown."""
    known = np.isfinite(off)
    number, square = known.sum(axis=(1, 2)), (np.where(known, off, 0.0) ** 2).sum(axis=(1, 2))
    common = square.sum(axis=1, keepdims=True) / np.maximum(number.sum(axis=1, keepdims=True), 1)
    return np.sqrt((square + _SHRINK * common) / (number + _SHRINK))


def design_effect(errors: FloatArray) -> float:
    """Return how many of (O, S) errors say what one independent error would.

    1 + (S - 1) correlation for series of one month that err together, times 1 + 2 sum of correlations for months in
    a row (Kish 1965; Newey & West 1987).
    """
    known = np.isfinite(errors).any(axis=1)
    if known.sum() < 2:
        return float(errors.size)
    series = np.isfinite(errors[known]).sum(axis=1)
    month = np.nansum(errors[known], axis=1) / series
    together = (month**2).sum() / max(float((np.nansum(errors[known] ** 2, axis=1) / series).sum()), 1e-12)
    lags = np.arange(1, min(_LAGS, len(month) - 1) + 1)
    alike = [(month[lag:] * month[:-lag]).sum() / max((month**2).sum(), 1e-12) for lag in lags]
    serial = 1.0 + 2 * float(((1 - lags / (_LAGS + 1)) * alike).sum())
    return max(float(series.mean()) * together, 1.0) * max(serial, 1.0)


def reach_of(errors: FloatArray, design: float, confidence: float) -> FloatArray:
    """Return (K,) quantiles of (K, O, S) absolute errors, NaN unknown, that hold ``confidence`` of the next ones.

    A quantile of n errors holds less than its share of the next (split conformal prediction), n being the number of
    errors over their design effect. Without an error the answer is infinite.
    """
    flat = np.sort(errors.reshape(len(errors), -1), axis=1)  # NaN last
    number = np.isfinite(flat).sum(axis=1)
    share = np.minimum(confidence * (1 + design / np.maximum(number, 1)), 1.0)
    place = np.maximum(share * (number - 1), 0.0)
    below = np.floor(place).astype(np.int64)
    above = np.minimum(below + 1, np.maximum(number - 1, 0))
    rows = np.arange(len(flat))
    found = flat[rows, below] + (place - below) * (flat[rows, above] - flat[rows, below])
    return np.where(number > 0, found, np.inf)


def look_back(off: FloatArray, h: int, design: float, confidence: float) -> tuple[int, int]:
    """Return how many past errors lay inside intervals drawn from the errors known before, and how many were tried."""
    origins, horizon = off.shape[:2]
    turn = np.arange(LEAST_BEFORE, origins)
    if not len(turn):
        return 0, 0
    then = turn[:, None, None] > np.arange(origins)[None, :, None] + np.arange(horizon)  # (K, O, H) known by then
    spread = np.maximum(spread_of(np.where(then[..., None], off, np.nan)), 1e-9)  # (K, S)
    before = np.where(then[:, :, h, None], np.abs(off[:, h]), np.nan) / spread[:, None]
    reach = reach_of(before, design, confidence)
    tested = np.abs(off[turn, h]) / spread
    known = np.isfinite(tested)
    return int((tested[known] <= np.broadcast_to(reach[:, None], tested.shape)[known]).sum()), int(known.sum())
