"""Monthly counts ahead: simple models weighted by how they did on past months, and intervals from those errors."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from crimeface_lib.core.display import list_html, table_html
from crimeface_lib.core.errors import InputError
from crimeface_lib.core.results import Result, to_plain
from crimeface_lib.core.types import FloatArray, IntArray
from crimeface_lib.crime._past_errors import LEAST_BEFORE, design_effect, look_back, reach_of, spread_of
from crimeface_lib.crime._periods import read_periods
from crimeface_lib.crime.events import found_by_policing
from crimeface_lib.crime.persons import refuse_person_columns, refuse_person_values
from crimeface_lib.crime.series_pool import FORECAST_MODELS, model_pool
from crimeface_lib.crime.timeseries import FOUND_BY_POLICING

if TYPE_CHECKING:
    import pandas as pd

#: Past months from which the pool is weighted, and how much worse (as a share) a model may be to keep 1/e of the say.
_ORIGINS, _TEMPERATURE = 24, 0.1
_LEAST_MONTHS = 18
#: Months with data that each series needs among the last ``_ORIGINS``.
_LEAST_RECENT = 6


@dataclass(frozen=True, slots=True)
class Forecast(Result):
    """Expected counts ahead.

    Parameters
    ----------
    table : one row per level, series and month: ``level``, ``series``, ``month``, ``expected``, ``low``, ``high``.
    pool : one row per level and model: ``level``, ``model``, ``error`` (mean absolute error over past months, in
        units of the seasonal naive one), ``weight``.
    confidence : of the intervals. coverage : share of past months inside intervals that were drawn the same way from
        the months before alone; NaN where there are too few to tell. checked : the same per level.
    gaps : months without data, left out. excluded : series left out, because they are found by policing.
    """

    table: pd.DataFrame = field(repr=False)
    pool: pd.DataFrame = field(repr=False)
    confidence: float
    coverage: float
    checked: pd.DataFrame = field(repr=False)
    gaps: tuple[str, ...]
    caveats: tuple[str, ...]
    excluded: tuple[str, ...] = ()

    def to_frame(self) -> pd.DataFrame:
        """The table."""
        return self.table

    def to_dict(self) -> dict[str, Any]:
        return {
            "table": to_plain(self.table.astype({"month": str})), "pool": to_plain(self.pool), "gaps": list(self.gaps),
            "confidence": self.confidence, "coverage": to_plain(self.coverage), "checked": to_plain(self.checked),
            "caveats": list(self.caveats), "excluded": list(self.excluded),
        }  # fmt: skip

    def _repr_html_(self) -> str:
        shown = self.table.head(36).astype({"month": str})
        return table_html(shown.round(1)) + list_html(self.caveats)


def forecast(
    series: pd.Series | pd.DataFrame, *, horizon: int, model: str = "auto", confidence: float = 0.8,
    police_discovered: bool = False,
) -> Forecast:  # fmt: skip
    """Forecast monthly counts, one series or many, and make totals agree with their parts.

    ``auto`` weights each model of the pool by its error over the last 24 months, told apart for each level (the total,
    the first key of the columns, the first two, …); ``best`` takes the one with the least error. The levels are then
    reconciled: each series gives way in proportion to its variance (weighted least squares), so parts add up to their
    totals. Intervals hold the wanted share of past errors, each made without looking ahead, and are widened for how
    few of them say something new: errors of one month, and of months in a row, go together. Counts get whole ends.

    Parameters
    ----------
    series : counts on monthly periods; NaN is a gap, never a zero. Columns with several keys (force, type) make the
        levels; one column, or a Series, makes one level.
    horizon : months ahead, 1 to 12.
    model : "auto", "best" or a name from ``FORECAST_MODELS``.
    confidence : share of months that the intervals are to hold.
    police_discovered : forecast series of drugs, weapons and stop and search too, whose counts follow patrols. By
        default columns so named are left out, of the totals as well.

    Raises
    ------
    InputError : fewer than 18 months with data, or 6 of the last 24; negative counts, a horizon or model out of range;
        nothing but what policing finds.
    RefusedError : series of persons: forecasts are of places and types.

    References: Bates & Granger 1969 (combination); Assimakopoulos & Nikolopoulos 2000 (Theta); Syntetos & Boylan 2005;
    Tashman 2000 (rolling origin); Wickramasuriya, Athanasopoulos & Hyndman 2019 (reconciliation); Vovk, Gammerman &
    Shafer 2005 (conformal intervals).
    """
    import pandas as pd

    frame, excluded, included = _of_types(series, police_discovered)
    values = _checked(frame, horizon, model, confidence)
    months = frame.index + horizon
    ahead = months[-horizon:]
    levels = _levels(frame.columns)
    calendar, coming = frame.index.month.to_numpy() - 1, ahead.month.to_numpy() - 1
    made = [_Level.make(name, values @ summing.T, calendar, coming, model, confidence) for name, _, summing in levels]
    expected = _reconcile([level.expected for level in made], [level.spread for level in made], levels)
    whole = bool((values[np.isfinite(values)] % 1 == 0).all())
    ends = [level.interval(mean, confidence, whole=whole) for level, mean in zip(made, expected, strict=True)]
    names = [name for name, _, _ in levels]
    sizes = [len(keys) for _, keys, _ in levels]
    table = pd.DataFrame({
        "level": np.repeat(names, np.multiply(sizes, horizon)),
        "series": np.repeat([_words(key) for _, keys, _ in levels for key in keys], horizon),
        "month": ahead.take(np.tile(np.arange(horizon), sum(sizes))),
        "expected": _column(expected), "low": _column([low for low, _ in ends]),
        "high": _column([high for _, high in ends]),
    })  # fmt: skip
    pool = pd.DataFrame({
        "level": np.repeat(names, [len(level.names) for level in made]),
        "model": [name for level in made for name in level.names],
        "error": np.concatenate([level.errors for level in made]),
        "weight": np.concatenate([level.weights for level in made]),
    })  # fmt: skip
    checks = [(name, level.tried, level.share) for name, level in zip(names, made, strict=True)]
    gaps = tuple(str(month) for month in frame.index[~np.isfinite(values).all(axis=1)])
    tried, inside = sum(level.tried for level in made), sum(level.inside for level in made)
    return Forecast(
        table, pool, confidence, inside / tried if tried else float("nan"),
        pd.DataFrame(checks, columns=["level", "months", "coverage"]), gaps,
        (*_on_policing(excluded, included), *_notes(gaps, checks, confidence)), excluded,
    )  # fmt: skip


def _column(parts: list[FloatArray]) -> FloatArray:
    """Return one column from each level's (H, S), series by series."""
    return np.concatenate([part.T.ravel() for part in parts])


def _words(key: object) -> str:
    return " × ".join(map(str, key)) if isinstance(key, tuple) else str(key)


def _notes(gaps: tuple[str, ...], checks: list[tuple[str, int, float]], confidence: float) -> tuple[str, ...]:
    said = [
        "Recorded events, not crimes committed: reporting, recording and policing change, and a forecast follows.",
        "Intervals reach as far as past errors did: they know nothing of a change that has no example in these months.",
    ]
    if gaps:
        said.append(f"Months without data, left out rather than counted as quiet: {', '.join(gaps)}.")
    if not all(months for _, months, _ in checks):
        said.append("There are too few months to check the intervals on.")
    said += [
        f"Intervals meant to hold {confidence:.0%} held {share:.0%} of {months} past months (level: {level}), each "
        "drawn from the months before it."
        for level, months, share in checks
        if months
    ]
    return tuple(said)


def _of_types(series: Any, police_discovered: bool) -> tuple[pd.DataFrame, tuple[str, ...], tuple[str, ...]]:
    """Return the table without series that policing finds, these, and what policing found of those that are left."""
    import pandas as pd

    if not isinstance(series, pd.Series | pd.DataFrame):
        return series, (), ()  # refused with its type where periods are read
    keys = pd.Index([series.name]) if isinstance(series, pd.Series) else series.columns
    refuse_person_columns((name for name in keys.names if name is not None), where="series")
    levels = pd.DataFrame({k: keys.get_level_values(k) for k in range(keys.nlevels)})
    refuse_person_values(levels, where="series")
    discovered = levels.map(found_by_policing).any(axis=1).to_numpy()
    frame = series.to_frame("all") if isinstance(series, pd.Series) else series
    inside = tuple(series.attrs.get(FOUND_BY_POLICING, ()))
    if police_discovered or not discovered.any():
        return frame, (), (*map(_words, keys[discovered]), *inside)
    excluded = tuple(map(_words, keys[discovered]))
    if discovered.all():
        raise InputError(
            f"series: got only {', '.join(excluded)}, found by policing; pass police_discovered=True to forecast them"
        )
    return frame.loc[:, ~discovered], excluded, inside


def _on_policing(excluded: tuple[str, ...], included: tuple[str, ...]) -> list[str]:
    said = []
    if excluded:
        said.append(f"Left out, because they are found by policing rather than reported: {', '.join(excluded)}.")
    if included:
        said.append(f"Counted in, though found by policing, so that they follow patrols: {', '.join(included)}.")
    return said


def _checked(frame: pd.DataFrame, horizon: int, model: str, confidence: float) -> FloatArray:
    """Return (T, S) counts, or say what is wrong."""
    if not 1 <= horizon <= 12:
        raise InputError(f"horizon: got {horizon}, expected 1 to 12 months")
    if model not in ("auto", "best", *FORECAST_MODELS):
        raise InputError(f"model: got {model!r}, expected 'auto', 'best' or one of: {', '.join(FORECAST_MODELS)}")
    if not 0.5 <= confidence < 1:
        raise InputError(f"confidence: got {confidence}, expected at least 0.5 and below 1")
    return read_periods(frame, every=("M",), least=_LEAST_MONTHS)


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
    reach: FloatArray  # (H,) of these, to either end of the interval
    inside: int
    tried: int

    @property
    def share(self) -> float:
        """Of past months inside intervals drawn the same way; NaN where none could be tried."""
        return self.inside / self.tried if self.tried else float("nan")

    @classmethod
    def make(
        cls, level: str, values: FloatArray, calendar: IntArray, coming: IntArray, model: str, confidence: float
    ) -> _Level:
        horizon, total = len(coming), len(values)
        recent = int(np.isfinite(values[-_ORIGINS:]).sum(axis=0).min())
        if recent < _LEAST_RECENT:
            raise InputError(
                f"series: got {recent} of the last {_ORIGINS} months with data (level: {level}), expected at least "
                f"{_LEAST_RECENT} for each series and sum; leave out series that ended"
            )
        names = list(FORECAST_MODELS) if model in ("auto", "best") else [model]
        first = min(_LEAST_MONTHS, max(total - horizon - LEAST_BEFORE, LEAST_BEFORE))
        cuts = np.arange(max(total - _ORIGINS, first), total + 1)
        pool = model_pool(values, calendar, cuts, horizon)
        made = np.stack([pool[name] for name in names], axis=1)  # (O, M, H, S)
        past, latest = made[:-1], made[-1]
        later = cuts[:-1, None] + np.arange(horizon)
        happened = np.where((later < total)[..., None], values[np.minimum(later, total - 1)], np.nan)
        off = _scaled_errors(past, happened, values)
        errors = _mean(off)
        weights = _weights(errors, best=model == "best")
        expected = np.einsum("m,mhs->hs", weights, latest)
        said = np.einsum("om,omhs->ohs", _weights(_known_then(off), best=model == "best"), past)
        return cls._measured(names, errors, weights, expected, said, happened, confidence)

    @classmethod
    def _measured(
        cls, names: list[str], errors: FloatArray, weights: FloatArray, expected: FloatArray, said: FloatArray,
        happened: FloatArray, confidence: float,
    ) -> _Level:  # fmt: skip
        """Return the level with the spread of its past errors: each series' own, shrunk to the level's."""
        off = (happened - said) / np.sqrt(np.maximum(said, 0.5))  # (O, H, S)
        spread = spread_of(off[None])[0]
        reach, inside, tried = np.zeros(off.shape[1]), 0, 0
        for h in range(off.shape[1]):
            design = design_effect(off[:, h] / np.maximum(spread, 1e-9))
            reach[h] = reach_of(np.abs(off[None, :, h] / np.maximum(spread, 1e-9)), design, confidence)[0]
            hit, known = look_back(off, h, design, confidence)
            inside, tried = inside + hit, tried + known
        return cls(names, errors, weights, expected, spread, reach, inside, tried)

    def interval(self, mean: FloatArray, confidence: float, *, whole: bool) -> tuple[FloatArray, FloatArray]:
        """Return the (H, S) ends around a reconciled mean; where ``whole``, the outermost counts inside them.

        Errors of rare events are lumpy, so counts get no narrower an interval than Poisson's.
        """
        from scipy.special import pdtrik

        far = self.reach[:, None] * self.spread * np.sqrt(np.maximum(mean, 0.5))
        low, high = np.maximum(mean - far, 0.0), mean + far
        if not whole:
            return low, high
        rate = np.maximum(mean, 1e-9)
        least, most = (np.ceil(np.nan_to_num(pdtrik(p, rate))) for p in ((1 - confidence) / 2, (1 + confidence) / 2))
        return np.minimum(np.ceil(low), least), np.maximum(np.floor(high), most)


def _scaled_errors(past: FloatArray, happened: FloatArray, values: FloatArray) -> FloatArray:
    """Return (O, M, H) mean absolute errors, each series in units of its own seasonal naive error; NaN if unknown."""
    lag = 12 if len(values) > 24 else 1
    change = np.abs(values[lag:] - values[:-lag])
    known = np.isfinite(change)
    scale = np.where(known, change, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    moving = scale > 0  # a series that never changes says nothing about the models
    off = np.abs(past - happened[:, None])[..., moving] / scale[moving]
    number = np.isfinite(off).sum(axis=-1)
    return np.divide(np.nansum(off, axis=-1), number, out=np.full(number.shape, np.nan), where=number > 0)


def _mean(off: FloatArray) -> FloatArray:
    """Return (M,) means of the known errors; 1 where nothing tells the models apart."""
    number = np.isfinite(off).sum(axis=(0, 2))
    return np.divide(np.nansum(off, axis=(0, 2)), number, out=np.ones(len(number)), where=number > 0)


def _known_then(off: FloatArray) -> FloatArray:
    """Return (O, M) mean of the errors known at each past origin; 1 while there was none."""
    origins, models, horizon = off.shape
    total, number = np.zeros((origins, models)), np.zeros((origins, models))
    for h in range(horizon):
        seen = np.isfinite(off[: max(origins - h - 1, 0), :, h])
        total[h + 1 :] += np.cumsum(np.where(seen, off[: len(seen), :, h], 0.0), axis=0)
        number[h + 1 :] += np.cumsum(seen, axis=0)
    return np.divide(total, number, out=np.ones_like(total), where=number > 0)


def _weights(errors: FloatArray, *, best: bool) -> FloatArray:
    """Return (..., M) weights that sum to 1 from the models' errors."""
    least = errors.min(axis=-1, keepdims=True)
    if best:
        weights = (errors == least).astype(np.float64)
    else:
        weights = np.exp(-(errors / np.maximum(least, 1e-12) - 1) / _TEMPERATURE)
    return weights / weights.sum(axis=-1, keepdims=True)


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
