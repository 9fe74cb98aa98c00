"""Counts by month and by day: a month that was not published is a gap, never a zero."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from crimeface_lib.core.display import table_html
from crimeface_lib.core.errors import InputError
from crimeface_lib.core.results import Result, to_plain
from crimeface_lib.crime._periods import fit_counts, read_periods
from crimeface_lib.crime.events import Events, found_by_policing

if TYPE_CHECKING:
    import pandas as pd


#: Key of a series' ``attrs``: types in its counts that policing finds; ``forecast`` says so.
FOUND_BY_POLICING = "found_by_policing"


@dataclass(frozen=True, slots=True)
class MonthlySeries(Result):
    """Events per month.

    Parameters
    ----------
    frame : months (monthly periods, none skipped) x groups, float64; NaN is a gap.
    gaps : months that are missing for at least one group.
    """

    frame: pd.DataFrame = field(repr=False)
    by: str
    gaps: tuple[str, ...]
    attribution: str

    def to_frame(self) -> pd.DataFrame:
        """Months as rows, groups as columns."""
        return self.frame

    def to_dict(self) -> dict[str, Any]:
        return {
            "months": [str(m) for m in self.frame.index],
            "counts": {str(c): to_plain(self.frame[c].to_numpy()) for c in self.frame},
            "gaps": list(self.gaps),
        }

    def _repr_html_(self) -> str:
        return table_html(self.frame.tail(12).reset_index(), missing="gap", float_format="{:,.0f}".format)


def monthly_series(events: Events, *, by: str | None = None) -> MonthlySeries:
    """Count events per month, in total, by "type" or by "force".

    A month that any force in the data did not publish is a gap in the total and for each type: its count is unknown.

    Raises
    ------
    InputError : an unknown key.
    """
    import pandas as pd

    if by not in (None, "type", "force"):
        raise InputError(f"by: got {by!r}, expected None, 'type' or 'force'")
    key = pd.Series("all", index=events.frame.index) if by is None else events.frame[by].astype(object)
    counts = pd.crosstab(events.frame["month"].dt.to_period("M"), key)
    frame = counts.reindex(events.months, fill_value=0).astype(np.float64)
    frame.index.name, frame.columns.name = "month", by
    published = events.published
    if by == "force":
        frame = frame.where(published.T.reindex(columns=frame.columns))
    else:
        frame[~published.all().to_numpy()] = np.nan
    if by != "type":
        frame.attrs[FOUND_BY_POLICING] = tuple(t for t in events.types if found_by_policing(t))
    gaps = tuple(str(m) for m in frame.index[frame.isna().any(axis=1).to_numpy()])
    return MonthlySeries(frame, by or "all", gaps, events.attribution)


@dataclass(frozen=True, slots=True)
class DailySeries(MonthlySeries):
    """Events per day: ``frame`` has one row a day; ``gaps`` are the months whose days are all missing."""


def daily_series(events: Events, *, by: str | None = None) -> DailySeries:
    """Count events per day, in total, by "type" or by "force"; every day of a month not published is a gap.

    The first and the last month count as published whole: cut them by ``events.select`` where they are not; the series
    begins and ends with the days that are left.

    Raises
    ------
    InputError : events that tell the month only, or an unknown key.
    """
    import pandas as pd

    if events.resolution != "time":
        raise InputError("events: got the month only (as data.police.uk publishes), expected times; use monthly_series")
    months = monthly_series(replace(events, cut=(None, None)), by=by)
    key = pd.Series("all", index=events.frame.index) if by is None else events.frame[by].astype(object)
    counts = pd.crosstab(events.frame["time"].dt.to_period("D"), key)
    days = pd.period_range(events.months[0].start_time, events.months[-1].end_time, freq="D", name="day")
    frame = counts.reindex(index=days, columns=months.frame.columns, fill_value=0).astype(np.float64)
    published = months.frame.notna().to_numpy()[(days.asfreq("M").asi8 - events.months.asi8[0]).astype(int)]
    begin, end = events.cut
    inside = np.ones(len(days), dtype=bool)
    inside &= True if begin is None else days.start_time.to_numpy() >= begin
    inside &= True if end is None else (days + 1).start_time.to_numpy() <= end
    return DailySeries(frame.where(published)[inside], months.by, months.gaps, months.attribution)


@dataclass(frozen=True, slots=True)
class SeasonalProfile(Result):
    """How each calendar month departs from the trend: 1 is an average month.

    Parameters
    ----------
    table : month (1-12), index, low, high.
    dispersion : variance over mean of the residuals; above 1 the counts vary more than Poisson, and the intervals
        are widened for it.
    """

    table: pd.DataFrame
    dispersion: float
    confidence: float

    def to_frame(self) -> pd.DataFrame:
        """The table."""
        return self.table


def seasonal_profile(series: pd.Series, *, confidence: float = 0.95) -> SeasonalProfile:
    """Fit a log-linear trend and calendar-month effects to monthly counts; gaps are left out, not filled.

    Parameters
    ----------
    series : counts on monthly periods, e.g. ``monthly_series(events).frame["all"]``; NaN is a gap.

    Raises
    ------
    InputError : a calendar month seen fewer than twice, or no events.

    References: quasi-Poisson regression, McCullagh & Nelder 1989.
    """
    import pandas as pd
    from scipy.stats import t as student

    read_periods(series, every=("M",))
    known = series.dropna()
    calendar = np.asarray(known.index.month) if len(known) else np.array([], dtype=int)
    seen = np.bincount(calendar, minlength=13)[1:]
    if seen.min() < 2 or known.sum() == 0:
        raise InputError(
            f"series: got calendar months seen {seen.tolist()} times, expected each at least twice, with events"
        )
    time = (known.index.year * 12 + calendar).to_numpy(dtype=float)
    effects = (calendar[:, None] == np.arange(1, 13)).astype(float)
    design = np.column_stack([(time - time.mean()) / 12, effects])
    fit = fit_counts(known.to_numpy(dtype=float), design, slice(1, None))
    contrast = np.column_stack([np.zeros(12), np.eye(12) - 1 / 12])
    effect = contrast @ fit.effects
    error = np.sqrt(np.einsum("ij,jk,ik->i", contrast, fit.covariance, contrast))
    margin = student.ppf((1 + confidence) / 2, fit.freedom) * error
    table = pd.DataFrame(
        {
            "month": range(1, 13),
            "index": np.exp(effect),
            "low": np.exp(effect - margin),
            "high": np.exp(effect + margin),
        }
    )
    return SeasonalProfile(table, fit.dispersion, confidence)
