"""A series as trend, season and rest, by STL; a period without data stays a gap in all that was observed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from crimeface_lib.core.display import table_html
from crimeface_lib.core.errors import InputError
from crimeface_lib.core.random import Seed, make_rng
from crimeface_lib.core.results import Result, to_plain
from crimeface_lib.core.types import BoolArray, FloatArray
from crimeface_lib.crime._periods import read_periods

if TYPE_CHECKING:
    import pandas as pd

_DRAWS = 200
_MOST_PERIODS = 5_000


@dataclass(frozen=True, slots=True)
class Decomposition(Result):
    """Trend, season and rest of one series.

    Parameters
    ----------
    table : one row a period: ``observed`` and ``residual`` (NaN in a gap), ``trend`` with ``low`` and ``high``,
        ``seasonal``, ``weight`` (robustness weight; below 1 the period was an outlier), ``gap``. In a gap, trend and
        season are drawn through from its neighbours; nothing is claimed about what happened there.
    multiplicative : observed = trend x seasonal x residual rather than their sum.
    trend_strength, seasonal_strength : 0 to 1, share of the variance beside the rest that the part explains.
    """

    table: pd.DataFrame = field(repr=False)
    period: int
    robust: bool
    multiplicative: bool
    confidence: float
    trend_strength: float
    seasonal_strength: float
    gaps: tuple[str, ...]

    def to_frame(self) -> pd.DataFrame:
        """The table."""
        return self.table

    def to_dict(self) -> dict[str, Any]:
        names = ("period", "robust", "multiplicative", "confidence", "trend_strength", "seasonal_strength", "gaps")
        rows = self.table.reset_index(names="when").astype({"when": str})
        return {name: to_plain(getattr(self, name)) for name in names} | {"table": to_plain(rows)}

    def _repr_html_(self) -> str:
        kind = "product" if self.multiplicative else "sum"
        said = (
            f"<p>Observed = {kind} of trend, season and rest. Strength of the trend {self.trend_strength:.2f}, of the "
            f"season {self.seasonal_strength:.2f}; {len(self.gaps)} gap(s).</p>"
        )
        shown = self.table.tail(2 * self.period).drop(columns="gap")
        return said + table_html(shown.reset_index(), missing="gap", float_format="{:,.2f}".format)


def decompose(
    series: pd.Series,
    *,
    period: int = 12,
    seasonal: int = 7,
    trend: int | None = None,
    robust: bool = False,
    multiplicative: bool = False,
    confidence: float = 0.95,
    rng: Seed = 0,
) -> Decomposition:
    """Decompose a series by STL: loess of the season's own months, loess of what is left for the trend.

    A gap is left out of each local regression, so it needs no filling in; without gaps the result is that of
    Cleveland's STL to rounding. The interval of the trend is that of the smoother under residuals as large, and as
    alike from one period to the next, as those found; counts vary in proportion to their mean.

    Parameters
    ----------
    series : numbers on consecutive periods (days, weeks, months); NaN is a gap.
    period : periods in a season's round: 12 for months, 7 for days.
    seasonal, trend : odd lengths of the smoothers, in rounds and in periods; ``trend`` follows Cleveland's rule
        when not given.
    robust : let outliers (a riot, a change of recording) weigh less.
    multiplicative : decompose the logarithm, and give back factors.

    Raises
    ------
    InputError : periods that are not consecutive, fewer than two rounds, a season's month never or once seen, a
        zero where a logarithm is wanted, smoothers that are not odd and at least 3.

    References: Cleveland, Cleveland, McRae & Terpenning 1990 (STL); Hafen 2010 (gaps); Wang, Smith & Hyndman 2006
    (strength).

    >>> import numpy, pandas
    >>> months = pandas.period_range("2020-01", periods=48, freq="M")
    >>> found = decompose(pandas.Series(100 + 10 * numpy.sin(numpy.arange(48) * numpy.pi / 6), months))
    >>> float(found.table["trend"].mean().round(1))
    100.0
    """
    import pandas as pd
    from scipy.stats import norm

    values = _checked(series, period, seasonal, trend, multiplicative, confidence)
    known = np.isfinite(values)
    smooth = _Stl.plan(known, period, seasonal, trend or _trend_length(period, seasonal))
    level, season, weight = smooth.fit(values, robust=robust)
    rest = np.where(known, values - level - season, np.nan)
    even = multiplicative or not np.nanmin(values) >= 0  # what falls below 0 is no count
    spread = np.ones(len(values)) if even else np.maximum(level + season, 0.05 * np.nanmean(values) or 1.0)
    error = norm.ppf((1 + confidence) / 2) * smooth.trend_error(rest, spread, weight, make_rng(rng, stream="decompose"))
    parts = {"trend": level, "low": level - error, "high": level + error, "seasonal": season, "residual": rest}
    parts = {name: np.exp(part) if multiplicative else part for name, part in parts.items()}
    if not multiplicative and np.nanmin(values) >= 0:
        parts["low"] = np.maximum(parts["low"], 0.0)
    raw = np.where(known, series.to_numpy(float), np.nan)
    columns = {"observed": raw, **parts, "weight": np.where(known, weight, np.nan), "gap": ~known}
    table = pd.DataFrame(columns, index=series.index)
    gaps = tuple(str(when) for when in series.index[~known])
    return Decomposition(
        table, period, robust, multiplicative, confidence, _strength(level, rest), _strength(season, rest), gaps
    )


def _strength(part: FloatArray, rest: FloatArray) -> float:
    whole = float(np.nanvar(np.where(np.isfinite(rest), part, np.nan) + rest))
    return max(0.0, 1 - float(np.nanvar(rest)) / whole) if whole > 0 else 0.0


def _trend_length(period: int, seasonal: int) -> int:
    return int(np.ceil(1.5 * period / (1 - 1.5 / seasonal))) // 2 * 2 + 1


def _checked(
    series: pd.Series, period: int, seasonal: int, trend: int | None, multiplicative: bool, confidence: float
) -> FloatArray:
    """Return (T,) values, logarithms where factors are wanted, or say what is wrong."""
    if period < 2 or not 0 < confidence < 1:
        raise InputError(f"got period={period}, confidence={confidence}, expected at least 2 and between 0 and 1")
    for name, length in (("seasonal", seasonal), ("trend", trend or 3)):
        if length < 3 or length % 2 == 0:
            raise InputError(f"{name}: got {length}, expected an odd length of at least 3")
    values = read_periods(series, counts=False)
    known = np.isfinite(values)
    seen = np.bincount(np.flatnonzero(known) % period, minlength=period)
    if seen.min() < 2 or len(values) > _MOST_PERIODS:
        raise InputError(
            f"series: got {known.sum()} periods with data, the rarest part of the round seen {seen.min()} times; "
            f"expected each part of a round of {period} at least twice, and at most {_MOST_PERIODS:,} periods"
        )
    if multiplicative:
        if values[known].min() <= 0:
            raise InputError(
                f"series: got a value of {values[known].min():g}, expected all above 0; use multiplicative=False"
            )
        return np.log(values)
    return values


@dataclass(frozen=True, slots=True)
class _Loess:
    """Local lines through observed places, planned once: which places, and their distance weights."""

    index: Any  # (M, q) rows of the observed values
    weight: FloatArray  # (M, q) tricube
    place: FloatArray  # (M, q)
    at: FloatArray  # (M,)
    span: float

    @classmethod
    def plan(cls, place: FloatArray, at: FloatArray, length: int, span: float) -> _Loess:
        """The ``length`` observed places nearest to each of ``at``; ties go to the left."""
        width = min(length, len(place))
        middle = (place[:-width] + place[width:]) / 2 if width < len(place) else np.empty(0)
        index = np.searchsorted(middle, at)[:, None] + np.arange(width)
        away = np.abs(place[index] - at[:, None])
        reach = away.max(axis=1, keepdims=True) + max(length - len(place), 0) // 2
        weight = np.where(away <= 0.001 * reach, 1.0, (1 - np.minimum(away / np.maximum(reach, 1e-12), 1) ** 3) ** 3)
        weight[away > 0.999 * reach] = 0.0
        return cls(index, weight, place[index], at, span)

    def __call__(self, values: FloatArray, robustness: FloatArray) -> FloatArray:
        """Return (M, K) smooths of (N, K) values under (N,) weights."""
        weight = self.weight * robustness[self.index]
        total = weight.sum(axis=1, keepdims=True)
        weight = np.where(total > 0, weight, self.weight)  # all near are outliers: take them as they are
        weight /= weight.sum(axis=1, keepdims=True)
        centre = (weight * self.place).sum(axis=1, keepdims=True)
        off = self.place - centre
        square = (weight * off**2).sum(axis=1, keepdims=True)
        steep = np.sqrt(square) > 0.001 * self.span
        slope = np.divide(self.at[:, None] - centre, square, out=np.zeros_like(square), where=steep)
        return np.einsum("mq,mqk->mk", weight * (1 + slope * off), values[self.index])


@dataclass(frozen=True, slots=True)
class _Stl:
    known: BoolArray  # (T,)
    period: int
    phases: list[tuple[Any, _Loess]]  # observed rows of each part of the round, and their smoother
    low_pass: _Loess
    trend: _Loess

    @classmethod
    def plan(cls, known: BoolArray, period: int, seasonal: int, trend: int) -> _Stl:
        total = len(known)
        time, place = np.arange(total, dtype=float), np.flatnonzero(known)
        phases = []
        for part in range(period):
            rows = np.arange(part, total, period)
            seen = np.flatnonzero(known[rows]).astype(float)
            at = np.arange(-1.0, len(rows) + 1)  # one round before and after, for the moving averages
            phases.append((rows[known[rows]], _Loess.plan(seen, at, seasonal, len(rows) - 1)))
        low_pass = _Loess.plan(time, time, period + 1 if period % 2 == 0 else period + 2, total - 1)
        return cls(known, period, phases, low_pass, _Loess.plan(place.astype(float), time, trend, total - 1))

    def fit(self, values: FloatArray, *, robust: bool) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return (T,) trend, season and weights, with Cleveland's numbers of passes."""
        weight = np.ones(len(values))
        column = np.where(self.known, values, 0.0)[:, None]
        level = np.zeros_like(column)
        for turn in range(16 if robust else 1):
            level, season = self.parts(column, weight, passes=2 if robust else 5, level=level)
            if robust and turn < 15:
                weight = _bisquare(values - (level + season)[:, 0], self.known)
        return level[:, 0], season[:, 0], weight

    def parts(
        self, values: FloatArray, weight: FloatArray, *, passes: int = 5, level: FloatArray | None = None
    ) -> tuple[FloatArray, FloatArray]:
        """Return (T, K) trend and season of (T, K) values, begun from a trend ``level``."""
        total, columns = values.shape
        level = np.zeros_like(values) if level is None else level
        cycle = np.empty((total + 2 * self.period, columns))
        for _ in range(passes):
            flat = values - level
            for part, (rows, smooth) in enumerate(self.phases):
                cycle[part :: self.period] = smooth(flat[rows], weight[rows])
            slow = _mean(_mean(_mean(cycle, self.period), self.period), 3)
            season = cycle[self.period : self.period + total] - self.low_pass(slow, np.ones(total))
            level = self.trend((values - season)[self.known], weight[self.known])
        return level, season

    def trend_error(
        self, rest: FloatArray, spread: FloatArray, weight: FloatArray, gen: np.random.Generator
    ) -> FloatArray:
        """Return (T,) standard error of the trend, from noise with the residuals' size and likeness sent through."""
        scale = np.sqrt(spread)
        white = gen.standard_normal((len(rest), _DRAWS))
        left, alike = self._left(white, scale, weight)
        ours = np.where(self.known, rest / scale, 0.0)
        extra = _alike(ours[:, None], self.known, weight) - alike  # smoothing alone makes residuals unlike neighbours
        rho = float(np.clip(extra, 0.0, 0.9))
        noise = white.copy()
        for t in range(1, len(rest)):
            noise[t] = rho * noise[t - 1] + np.sqrt(1 - rho**2) * white[t]
        left, _ = self._left(noise, scale, weight)
        size = np.sqrt(_square(ours[:, None], self.known, weight) / left)
        level, _ = self.parts(noise * scale[:, None], weight)
        return size * np.sqrt((level**2).mean(axis=1))

    def _left(self, noise: FloatArray, scale: FloatArray, weight: FloatArray) -> tuple[float, float]:
        """Return what of the noise's square is left as residual, and how alike neighbours are in it."""
        drawn = noise * scale[:, None]
        level, season = self.parts(drawn, weight)
        rest = (drawn - level - season) / scale[:, None]
        return _square(rest, self.known, weight), _alike(rest, self.known, weight)


def _square(rest: FloatArray, known: BoolArray, weight: FloatArray) -> float:
    use = weight * known
    return float((use @ rest**2).mean() / use.sum())


def _alike(rest: FloatArray, known: BoolArray, weight: FloatArray) -> float:
    use = weight * known
    both = use[1:] * use[:-1]
    top = both @ (rest[1:] * rest[:-1]) / max(both.sum(), 1e-12)
    return float((top / np.maximum(use @ rest**2 / use.sum(), 1e-12)).mean())


def _mean(values: FloatArray, length: int) -> FloatArray:
    """Return moving means of ``length`` rows."""
    total = np.concatenate([np.zeros((1, values.shape[1])), np.cumsum(values, axis=0)])
    return (total[length:] - total[:-length]) / length


def _bisquare(rest: FloatArray, known: BoolArray) -> FloatArray:
    away = np.abs(np.where(known, rest, 0.0))
    limit = 6 * np.median(away[known])
    weight = (1 - np.minimum(away / max(limit, 1e-300), 1.0) ** 2) ** 2
    weight[away <= 0.001 * limit] = 1.0
    weight[away > 0.999 * limit] = 0.0
    return weight if limit > 0 else np.ones(len(rest))
