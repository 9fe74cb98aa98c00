"""What the calendar does to counts: weekdays, weekends, public holidays, the first of the month."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from crimeface_lib.core.display import list_html, table_html
from crimeface_lib.core.errors import InputError
from crimeface_lib.core.results import Result, to_plain
from crimeface_lib.core.types import FloatArray
from crimeface_lib.crime._periods import fit_counts, read_periods
from crimeface_lib.crime.events import Events
from crimeface_lib.crime.timeseries import daily_series, monthly_series

if TYPE_CHECKING:
    import pandas as pd

_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_LEAST = {"D": 365, "M": 24}
_PAIRS = {"D": 3, "M": 2}  # of sines and cosines of the year


@dataclass(frozen=True, slots=True)
class CalendarEffects(Result):
    """How much each feature of the calendar multiplies a count by.

    Parameters
    ----------
    table : one row an effect: ``kind``, ``effect``, ``ratio`` with ``low`` and ``high``, ``seen`` (days or months).
    fitted : one row a period: ``observed``, ``expected``, ``calendar`` (the factor of its days) and ``adjusted``
        (observed over that factor: what an average day or month would have had); NaN is a gap.
    resolution : "day" or "month". dispersion : variance over mean of the counts about the fit.
    """

    table: pd.DataFrame = field(repr=False)
    fitted: pd.DataFrame = field(repr=False)
    resolution: str
    country: str
    subdivision: str | None
    confidence: float
    dispersion: float
    caveats: tuple[str, ...]

    def to_frame(self) -> pd.DataFrame:
        """The table."""
        return self.table

    def to_dict(self) -> dict[str, Any]:
        names = ("resolution", "country", "subdivision", "confidence", "dispersion", "caveats")
        return {"table": to_plain(self.table)} | {name: to_plain(getattr(self, name)) for name in names}

    def _repr_html_(self) -> str:
        where = self.country + (f", {self.subdivision}" if self.subdivision else "")
        shown = table_html(self.table, float_format="{:.3f}".format)
        return f"<p>Counts by {self.resolution}, public holidays of {where}; 1 is no effect.</p>{shown}" + list_html(
            self.caveats
        )


def calendar_effects(
    source: pd.Series | Events,
    *,
    country: str = "GB",
    subdivision: str | None = "ENG",
    confidence: float = 0.95,
) -> CalendarEffects:
    """Estimate what weekdays, weekends and public holidays do to counts, by day or by month.

    A log-linear model with a smooth trend (two bends a year) and a smooth season of the year. Counts by day tell each
    weekday from the mean of the week, a public holiday from the same weekday, the days beside it, and the first of the
    month (where undated events are often booked); each holiday by its name too. Counts by month tell what one
    working day more, one weekend day more, and a holiday in place of a working day do.

    Parameters
    ----------
    source : counts on consecutive days or months, NaN for gaps; or events, counted by day when they have a time.
    country, subdivision : whose public holidays, e.g. "US" and "IL"; codes as the package ``holidays`` has them.

    Raises
    ------
    InputError : less than a year of days or two years of months, counts below 0, a country or part not known.

    References: McCullagh & Nelder 1989 (quasi-Poisson); Bell & Hillmer 1983 (trading days in monthly series).
    """
    import pandas as pd

    if isinstance(source, Events):
        counted = daily_series(source) if source.resolution == "time" else monthly_series(source)
        source = counted.frame["all"]
    values, resolution = _checked(source, confidence)
    days = _Days.over(source.index, country, subdivision)
    smooth = _smooth(len(values), source.index, resolution)
    known = np.isfinite(values)
    columns, rows, seen = _usable(days.daily() if resolution == "D" else days.monthly(source.index), known)
    fit = _Fit.make(values, known, smooth, columns, confidence)
    parts = [fit.rows(rows, seen)]
    if resolution == "D" and (named := days.named(known)):
        flags = np.column_stack([columns[:, :6], columns[:, 6:][:, [r[1] != "public holiday" for r in rows[7:]]]])
        each = np.column_stack(list(named.values()))
        both = _Fit.make(values, known, smooth, np.column_stack([flags, each]), confidence)
        pick = np.eye(both.columns)[flags.shape[1] :]
        names = [("holiday by name", name, one) for name, one in zip(named, pick, strict=True)]
        parts.append(both.rows(names, [int((flag * known).sum()) for flag in named.values()]))
    factor = np.exp(columns @ fit.effects - (columns[known] @ fit.effects).mean())
    fitted = pd.DataFrame(
        {"observed": values, "expected": fit.expected, "calendar": factor, "adjusted": values / factor},
        index=source.index,
    )
    return CalendarEffects(
        pd.concat(parts, ignore_index=True), fitted, "day" if resolution == "D" else "month", country, subdivision,
        confidence, fit.dispersion, _caveats(resolution),
    )  # fmt: skip


def _caveats(resolution: str) -> tuple[str, ...]:
    when = "The day is the one that was recorded: undated events are often booked on the first of a month, or on the day of the report."  # noqa: E501
    weak = "Months differ little in their make-up, and holidays fall in the same months each year: the season may be taken for a holiday's effect, and the other way round. Counts by day tell them apart."  # noqa: E501
    return (when if resolution == "D" else weak,)


def _checked(series: pd.Series, confidence: float) -> tuple[FloatArray, str]:
    if not 0 < confidence < 1:
        raise InputError(f"confidence: got {confidence}, expected between 0 and 1")
    values = read_periods(series, every=("D", "M"))
    known, resolution = np.isfinite(values), str(series.index.freqstr)
    if known.sum() < _LEAST[resolution] or values[known].sum() == 0:
        unit = "days" if resolution == "D" else "months"
        raise InputError(
            f"source: got {values[known].sum():g} events in {known.sum()} {unit} with data, expected some in at least "
            f"{_LEAST[resolution]}"
        )
    if resolution == "D" and np.bincount(series.index.day_of_week[known], minlength=7).min() < 2:
        raise InputError("source: a day of the week has data fewer than twice; expected counts of all seven days")
    return values, resolution


Made = tuple[FloatArray, list[tuple[str, str, FloatArray]], list[int]]


@dataclass(frozen=True, slots=True)
class _Days:
    """Each day of the span: its weekday, and the public holiday on it."""

    index: pd.PeriodIndex
    weekday: Any
    holiday: list[str]

    @classmethod
    def over(cls, periods: pd.PeriodIndex, country: str, subdivision: str | None) -> _Days:
        import holidays
        import pandas as pd

        index = pd.period_range(periods[0].start_time, periods[-1].end_time, freq="D")
        years = range(index[0].year, index[-1].year + 2)
        try:
            found = holidays.country_holidays(country, subdiv=subdivision, years=years)
        except NotImplementedError as error:
            raise InputError(f"country, subdivision: got {country!r}, {subdivision!r}: {error}") from error
        first = {day: name.split(";")[0] for day, name in found.items()}
        return cls(index, index.day_of_week.to_numpy(), [first.get(day.to_timestamp().date(), "") for day in index])

    def daily(self) -> Made:
        """Return (T, 6 + F) columns, and per effect its kind, name and the contrast of columns that it is."""
        own = np.array([bool(name) for name in self.holiday])
        beside = [np.r_[own[1:], False] & ~own, np.r_[False, own[:-1]] & ~own]
        flags = {"public holiday": own, "day before a holiday": beside[0], "day after a holiday": beside[1],
                 "first of the month": self.index.day.to_numpy() == 1}  # fmt: skip
        week = (self.weekday[:, None] == np.arange(6)).astype(float) - (self.weekday == 6)[:, None]
        columns = np.column_stack([week, *flags.values()]).astype(float)
        total = columns.shape[1]
        unit = np.eye(total)
        rows = [("day of the week", name, unit[k]) for k, name in enumerate(_WEEKDAYS[:6])]
        rows.append(("day of the week", "Sunday", -unit[:6].sum(axis=0)))
        rows += [("day", name, unit[6 + k]) for k, name in enumerate(flags)]
        return (
            columns,
            rows,
            [int((self.weekday == k).sum()) for k in range(7)] + [int(f.sum()) for f in flags.values()],
        )

    def named(self, known: Any) -> dict[str, FloatArray]:
        """Return (T,) flags of each holiday seen at least twice."""
        names = np.array(self.holiday)
        found = {str(name): (names == name).astype(float) for name in dict.fromkeys(self.holiday) if name}
        return {name: flag for name, flag in found.items() if (flag * known).sum() >= 2}

    def monthly(self, months: pd.PeriodIndex) -> Made:
        """Return (T, 3) days, weekend days, and holidays on working days of each month, with the effects they make."""
        number = (self.index.asfreq("M").asi8 - months.asi8[0]).astype(int)
        weekend = self.weekday >= 5
        free = np.array([bool(name) for name in self.holiday]) & ~weekend
        columns = np.column_stack([np.bincount(number, w, len(months)) for w in (np.ones(len(number)), weekend, free)])
        rows = [
            ("month", "one working day more", np.array([1.0, 0, 0])),
            ("month", "one weekend day more", np.array([1.0, 1, 0])),
            ("month", "a public holiday in place of a working day", np.array([0, 0, 1.0])),
        ]
        return columns - columns.mean(axis=0), rows, [len(months)] * 2 + [int((columns[:, 2] > 0).sum())]


def _usable(made: Made, known: Any) -> Made:
    """Leave out effects of days never or once seen among those with data."""
    columns, rows, seen = made
    there = np.abs(columns[known]).sum(axis=0) > 1
    keep = [k for k, (_, _, contrast) in enumerate(rows) if there[contrast != 0].all()]
    return columns[:, there], [(*rows[k][:2], rows[k][2][there]) for k in keep], [seen[k] for k in keep]


def _smooth(total: int, index: pd.PeriodIndex, resolution: str) -> FloatArray:
    """Return (T, P) cubic B-splines with two bends a year, and sines and cosines of the year."""
    from scipy.interpolate import BSpline

    years = total / (365.25 if resolution == "D" else 12)
    inner = np.linspace(0, total - 1, max(round(2 * years), 1) + 1)
    spline = BSpline.design_matrix(np.arange(total, dtype=float), np.r_[[0.0] * 3, inner, [total - 1.0] * 3], 3)
    part = index.day_of_year.to_numpy() / 365.25 if resolution == "D" else (index.month.to_numpy() - 0.5) / 12
    angle = 2 * np.pi * part[:, None] * np.arange(1, _PAIRS[resolution] + 1)
    return np.column_stack([spline.toarray(), np.sin(angle), np.cos(angle)])


@dataclass(frozen=True, slots=True)
class _Fit:
    effects: FloatArray  # (F,)
    covariance: FloatArray  # (F, F)
    expected: FloatArray  # (T,)
    dispersion: float
    reach: float  # standard errors to either end of the interval

    @property
    def columns(self) -> int:
        return len(self.effects)

    @classmethod
    def make(cls, values: FloatArray, known: Any, smooth: FloatArray, columns: FloatArray, confidence: float) -> _Fit:
        from scipy.stats import t as student

        design = np.column_stack([columns, smooth])
        number = columns.shape[1]
        fit = fit_counts(values[known], design[known], slice(number))
        return cls(
            fit.effects[:number], fit.covariance[:number, :number], np.exp(design @ fit.effects), fit.dispersion,
            float(student.ppf((1 + confidence) / 2, fit.freedom)),
        )  # fmt: skip

    def rows(self, rows: list[tuple[str, str, FloatArray]], seen: list[int]) -> pd.DataFrame:
        import pandas as pd

        contrast = np.array([row[2] for row in rows])
        effect = contrast @ self.effects
        margin = self.reach * np.sqrt(np.einsum("ij,jk,ik->i", contrast, self.covariance, contrast))
        return pd.DataFrame({
            "kind": [row[0] for row in rows], "effect": [row[1] for row in rows], "ratio": np.exp(effect),
            "low": np.exp(effect - margin), "high": np.exp(effect + margin), "seen": seen,
        })  # fmt: skip
