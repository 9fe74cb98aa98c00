"""Monthly counts ahead: simple models weighted by how they did on past months, and intervals from those errors."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from crimeface_lib.core.errors import InputError
from crimeface_lib.core.results import Result, to_plain
from crimeface_lib.core.types import FloatArray, IntArray
from crimeface_lib.crime.series_pool import FORECAST_MODELS, model_pool

if TYPE_CHECKING:
    import pandas as pd

#: Past months from which the pool is weighted, and how much worse (as a share) a model may be to keep 1/e of the say.
_ORIGINS, _TEMPERATURE = 24, 0.1
_LEAST_MONTHS = 18
#: Residuals' worth of the level's common spread that each series' own is shrunk by.
_SHRINK = 12


@dataclass(frozen=True, slots=True)
class Forecast(Result):
    """Expected counts ahead.

    Parameters
    ----------
    table : one row per level, series and month: ``level``, ``series``, ``month``, ``expected``, ``low``, ``high``.
    pool : one row per level and model: ``level``, ``model``, ``error`` (mean absolute error over past months, in
        units of the seasonal naive one), ``weight``.
    confidence : of the intervals; coverage : share of past months inside the intervals drawn the same way.
    gaps : months without data, left out.
    """

    table: pd.DataFrame = field(repr=False)
    pool: pd.DataFrame = field(repr=False)
    confidence: float
    coverage: float
    gaps: tuple[str, ...]
    caveats: tuple[str, ...]

    def to_frame(self) -> pd.DataFrame:
        """The table."""
        return self.table

    def to_dict(self) -> dict[str, Any]:
        return {
            "table": to_plain(self.table.astype({"month": str})), "pool": to_plain(self.pool), "gaps": list(self.gaps),
            "confidence": self.confidence, "coverage": self.coverage, "caveats": list(self.caveats),
        }  # fmt: skip

    def _repr_html_(self) -> str:
        notes = "".join(f"<li>{text}</li>" for text in self.caveats)
        shown = self.table.head(36).astype({"month": str})
        return shown.round(1).to_html(index=False, border=0, classes="cf-table") + f"<ul>{notes}</ul>"


def forecast(
    series: pd.Series | pd.DataFrame, *, horizon: int, model: str = "auto", confidence: float = 0.8
) -> Forecast:
    """Forecast monthly counts, one series or many, and make totals agree with their parts.

    ``auto`` weights each model of the pool by its error over the last 24 months, told apart for each level (the total,
    the first key of the columns, the first two, …). The levels are then reconciled: each series gives way in
    proportion to its variance (weighted least squares), so parts add up to their totals.

    Parameters
    ----------
    series : counts on monthly periods; NaN is a gap, never a zero. Columns with several keys (force, type) make the
        levels; one column, or a Series, makes one level.
    horizon : months ahead, 1 to 12.
    model : "auto" or a name from ``FORECAST_MODELS``.
    confidence : share of months that the intervals are to hold.

    Raises
    ------
    InputError : fewer than 18 months with data, negative counts, a horizon or model out of range.

    References: Bates & Granger 1969 (combination); Assimakopoulos & Nikolopoulos 2000 (Theta); Syntetos & Boylan 2005;
    Tashman 2000 (rolling origin); Wickramasuriya, Athanasopoulos & Hyndman 2019 (reconciliation).
    """
    import pandas as pd

    frame = series.to_frame("all") if isinstance(series, pd.Series) else series
    values = _checked(frame, horizon, model, confidence)
    months = frame.index + horizon
    ahead = months[-horizon:]
    levels = _levels(frame.columns)
    calendar, coming = frame.index.month.to_numpy() - 1, ahead.month.to_numpy() - 1
    made = [_Level.make(values @ summing.T, calendar, coming, model, confidence) for _, _, summing in levels]
    expected = _reconcile([level.expected for level in made], [level.spread for level in made], levels)
    tables, pools, hit, tried = [], [], 0.0, 0.0
    for (name, keys, _), level, mean in zip(levels, made, expected, strict=True):
        low, high = level.interval(mean)
        tables.append(_rows(name, keys, ahead, mean, low, high))
        pools.append(
            pd.DataFrame({"level": name, "model": level.names, "error": level.errors, "weight": level.weights})
        )
        hit, tried = hit + level.inside, tried + level.tried
    gaps = tuple(str(month) for month in frame.index[frame.isna().any(axis=1).to_numpy()])
    caveats = [
        "Recorded events, not crimes committed: reporting, recording and policing change, and a forecast follows."
    ]
    if gaps:
        caveats.append(f"Months without data, left out rather than counted as quiet: {', '.join(gaps)}.")
    pool = pd.concat(pools, ignore_index=True)
    return Forecast(pd.concat(tables, ignore_index=True), pool, confidence, hit / max(tried, 1), gaps, tuple(caveats))


def _checked(frame: pd.DataFrame, horizon: int, model: str, confidence: float) -> FloatArray:
    """Return (T, S) counts, or say what is wrong."""
    import pandas as pd

    if not isinstance(frame.index, pd.PeriodIndex) or frame.index.freqstr != "M":
        raise InputError(
            f"series: got an index of {type(frame.index).__name__}, expected months (pandas PeriodIndex 'M')"
        )
    if len(frame) > 1 and (np.diff(frame.index.asi8) != 1).any():
        raise InputError("series: got months that are not consecutive; expected every month, with NaN where data lack")
    if not 1 <= horizon <= 12:
        raise InputError(f"horizon: got {horizon}, expected 1 to 12 months")
    if model != "auto" and model not in FORECAST_MODELS:
        raise InputError(f"model: got {model!r}, expected 'auto' or one of: {', '.join(FORECAST_MODELS)}")
    if not 0.5 <= confidence < 1:
        raise InputError(f"confidence: got {confidence}, expected at least 0.5 and below 1")
    values = frame.to_numpy(dtype=np.float64)
    known = np.isfinite(values)
    if known.sum(axis=0).min(initial=len(frame)) < _LEAST_MONTHS or not values.size:
        raise InputError(
            f"series: got {known.sum(axis=0).min(initial=0)} months with data, expected at least {_LEAST_MONTHS}"
        )
    if (values[known] < 0).any():
        raise InputError(f"series: got a count of {values[known].min():g}, expected none below 0")
    return values


Levels = list[tuple[str, list[Any], FloatArray]]


def _levels(columns: pd.Index) -> Levels:
    """Return (name, keys, summing matrix (groups, S)) from the total down to the series themselves."""
    import pandas as pd

    if len(columns) == 1:
        return [("series", list(columns), np.ones((1, 1)))]
    levels: Levels = [("total", ["total"], np.ones((1, len(columns))))]
    depth = columns.nlevels
    for number in range(1, depth):
        codes, keys = pd.factorize(columns.map(lambda key, n=number: key[:n] if n > 1 else key[0]))
        levels.append((str(columns.names[number - 1] or f"level {number}"), list(keys), np.eye(len(keys))[codes].T))
    levels.append((" × ".join(str(name or "series") for name in columns.names), list(columns), np.eye(len(columns))))
    return levels


@dataclass(frozen=True, slots=True)
class _Level:
    """The series of one level, forecast together."""

    names: list[str]
    errors: FloatArray  # (M,)
    weights: FloatArray  # (M,)
    expected: FloatArray  # (H, S)
    spread: FloatArray  # (S,) standard deviation of (count - expected) / sqrt(expected)
    tails: FloatArray  # (2, H) quantiles of the standardised errors
    inside: float
    tried: int

    @classmethod
    def make(cls, values: FloatArray, calendar: IntArray, coming: IntArray, model: str, confidence: float) -> _Level:
        horizon, total = len(coming), len(values)
        names = list(FORECAST_MODELS) if model == "auto" else [model]
        cuts = np.arange(max(total - _ORIGINS, min(_LEAST_MONTHS, total - 1)), total + 1)
        pool = model_pool(values, calendar, cuts, horizon)
        made = np.stack([pool[name] for name in names], axis=1)  # (O, M, H, S)
        past, latest = made[:-1], made[-1]
        later = cuts[:-1, None] + np.arange(horizon)
        happened = np.where((later < total)[..., None], values[np.minimum(later, total - 1)], np.nan)
        errors = _scaled_errors(past, happened, values)
        weights = np.exp(-(errors / max(errors.min(), 1e-12) - 1) / _TEMPERATURE)
        weights /= weights.sum()
        expected = np.einsum("m,mhs->hs", weights, latest)
        said = np.einsum("m,omhs->ohs", weights, past)
        return cls._measured(names, errors, weights, expected, said, happened, confidence)

    @classmethod
    def _measured(
        cls, names: list[str], errors: FloatArray, weights: FloatArray, expected: FloatArray, said: FloatArray,
        happened: FloatArray, confidence: float,
    ) -> _Level:  # fmt: skip
        """Return the level with the spread of its past errors: each series' own, shrunk to the level's."""
        off = (happened - said) / np.sqrt(np.maximum(said, 0.5))
        known = np.isfinite(off)
        number = known.sum(axis=(0, 1))
        square = np.where(known, off, 0.0) ** 2
        common = square.sum() / max(known.sum(), 1)
        spread = np.sqrt((square.sum(axis=(0, 1)) + _SHRINK * common) / (number + _SHRINK))
        standard = off / np.maximum(spread, 1e-9)
        tails = np.stack([np.nanquantile(row, _ends(confidence, row)) for row in standard.transpose(1, 0, 2)], axis=1)
        within = (standard >= tails[0][:, None]) & (standard <= tails[1][:, None])
        return cls(names, errors, weights, expected, spread, tails, float(within[known].sum()), int(known.sum()))

    def interval(self, mean: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the (H, S) ends around a reconciled mean."""
        reach = self.spread * np.sqrt(np.maximum(mean, 0.5))
        return np.maximum(mean + self.tails[0][:, None] * reach, 0.0), mean + self.tails[1][:, None] * reach


def _ends(confidence: float, errors: FloatArray) -> list[float]:
    """Return the lower and upper quantile of (O, S) standardised errors that hold ``confidence`` of the next ones.

    A quantile of n errors holds less than its share of the next (split conformal prediction: Vovk et al. 2005), and
    series of one month err together, so n is the number of errors over their design effect 1 + (S - 1) correlation.
    """
    errors = errors[np.isfinite(errors).all(axis=1)]
    origins, series = errors.shape
    together = errors.mean(axis=1).var() / max(errors.var(axis=0).mean(), 1e-12) if origins > 1 else 1.0
    number = max(origins * series / max(series * together, 1.0), 1.0)
    outside = max((1 - confidence) / 2 - (1 + confidence) / 2 / number, 0.0)
    return [outside, 1 - outside]


def _scaled_errors(past: FloatArray, happened: FloatArray, values: FloatArray) -> FloatArray:
    """Return (M,) mean absolute error, each series in units of its own seasonal naive error."""
    lag = 12 if len(values) > 24 else 1
    change = np.abs(values[lag:] - values[:-lag])
    known = np.isfinite(change)
    scale = np.where(known, change, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    moving = scale > 0  # a series that never changes says nothing about the models
    off = np.abs(past - happened[:, None])[..., moving] / scale[moving]
    return np.nanmean(off, axis=(0, 2, 3)) if moving.any() else np.ones(past.shape[1])


def _reconcile(expected: list[FloatArray], spread: list[FloatArray], levels: Levels) -> list[FloatArray]:
    """Return each level's (H, S) means, moved least in units of their variance so that parts sum to totals."""
    if len(levels) == 1:
        return expected
    summing = np.vstack([matrix for _, _, matrix in levels])
    base = np.concatenate(expected, axis=1)
    variance = np.concatenate([s**2 for s in spread]) * np.maximum(base, 0.5).mean(axis=0)
    weighted = summing / np.maximum(variance, 1e-9)[:, None]
    bottom = np.linalg.solve(summing.T @ weighted, weighted.T @ base.T).T
    agreed = np.maximum(bottom, 0.0) @ summing.T
    ends = np.cumsum([len(keys) for _, keys, _ in levels])[:-1]
    return list(np.split(agreed, ends, axis=1))


def _rows(name: str, keys: list[Any], ahead: Any, mean: FloatArray, low: FloatArray, high: FloatArray) -> pd.DataFrame:
    import pandas as pd

    words = [" × ".join(map(str, key)) if isinstance(key, tuple) else str(key) for key in keys]
    return pd.DataFrame({
        "level": name, "series": np.repeat(words, len(ahead)), "month": np.tile(ahead, len(keys)),
        "expected": mean.T.ravel(), "low": low.T.ravel(), "high": high.T.ravel(),
    })  # fmt: skip
