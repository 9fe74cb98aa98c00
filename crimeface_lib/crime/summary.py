"""Counts and their change, with intervals; small counts suppressed."""

from __future__ import annotations

from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from crimeface_lib.core.display import table_html
from crimeface_lib.core.errors import InputError
from crimeface_lib.core.results import Result
from crimeface_lib.core.types import FloatArray
from crimeface_lib.crime.disclosure import TOTAL, Suppressed, suppress
from crimeface_lib.crime.events import Events

if TYPE_CHECKING:
    import pandas as pd

#: What can be summarised by, and the column that holds it.
BY = {"type": "type", "lsoa": "lsoa_name", "force": "force", "outcome": "outcome", "month": "month"}
NONE_GIVEN = "(none given)"


@dataclass(frozen=True, slots=True)
class Summary(Result):
    """Events of the latest year and their change against the year before.

    Parameters
    ----------
    table : per group, and in total: ``events`` of the months compared, ``previous`` of the same calendar months a year
        earlier, ``ratio`` with ``low`` and ``high``; NaN where suppressed.
    months : the months of the latest year that are compared; those missing in either year are left out of both.
    """

    table: pd.DataFrame = field(repr=False)
    by: str
    months: tuple[str, ...]
    minimum: int
    suppressed: int
    confidence: float
    attribution: str

    def to_frame(self) -> pd.DataFrame:
        """The table."""
        return self.table

    def _repr_html_(self) -> str:
        html = table_html(self.table, float_format="{:,.2f}".format)
        return (
            f"<p>{len(self.months)} months from {self.months[0]} to {self.months[-1]} against the same months a year "
            f"earlier.</p>{html}<p>{self.suppressed} counts are not shown: below {self.minimum}, or revealing one "
            f"that is. <small>{escape(self.attribution)}</small></p>"
        )


def summarise(
    events: Events, *, by: str = "type", end: object = None, minimum: int = 5, confidence: float = 0.95
) -> Summary:
    """Count the latest 12 months by a key and compare with the 12 before.

    Parameters
    ----------
    by : "type", "lsoa", "force", "outcome", or "month": each month beside the same month a year earlier.
    end : the last month, e.g. "2021-09"; the last of the data by default.
    minimum : counts from 1 to minimum - 1 are suppressed, and others that would reveal them.
    confidence : of the interval of the ratio (Poisson counts, exact given their sum).

    Raises
    ------
    InputError : an unknown key, or no month that both years have.
    """
    import pandas as pd

    column = _column(by)
    compared = compared_months(events, end)
    key = key_of(events, column)
    month = events.frame["month"].dt.to_period("M")
    before = (month + 12).astype(str) if by == "month" else key
    current = key[month.isin(compared)].value_counts()
    previous = before[month.isin([m - 12 for m in compared])].value_counts()
    counts = pd.DataFrame({"events": current, "previous": previous}).fillna(0).astype(int)
    if by == "month":
        counts = counts.sort_index()
    else:
        counts = counts.sort_values(["events", "previous"], ascending=False, kind="stable")
    safe = [suppress(counts[[name]], minimum) for name in counts]
    table = pd.concat([s.table for s in safe], axis=1)
    table = with_ratio(table, confidence).rename_axis(by).reset_index()
    hidden = sum(int(s.mask.sum()) for s in safe)
    return Summary(table, by, tuple(map(str, compared)), minimum, hidden, confidence, events.attribution)


def compared_months(events: Events, end: object = None) -> list[pd.Period]:
    """Return the months of the year to ``end`` that are whole in the data, as are the same months a year earlier."""
    import pandas as pd

    last = pd.Period(str(end), "M") if end is not None else events.months[-1]
    whole = set(events.months[events.published.all().to_numpy()])
    compared = [m for m in pd.period_range(last - 11, last) if m in whole and m - 12 in whole]
    if not compared:
        raise InputError(
            f"end: no month of the year to {last} is in the data with its month a year earlier; choose another"
        )
    return compared


def with_ratio(table: pd.DataFrame, confidence: float) -> pd.DataFrame:
    """Return ``events`` and ``previous`` with their ratio and its interval."""
    ratio = ratio_interval(table["events"].to_numpy(), table["previous"].to_numpy(), confidence=confidence)
    return table.assign(ratio=ratio[:, 0], low=ratio[:, 1], high=ratio[:, 2])


def cross_table(events: Events, *, rows: str = "lsoa", columns: str = "type", minimum: int = 5) -> Suppressed:
    """Count events by two keys with totals, small counts suppressed so that no subtraction brings them back."""
    import pandas as pd

    keys = [key_of(events, _column(name)) for name in (rows, columns)]
    return suppress(pd.crosstab(*keys, rownames=[rows], colnames=[columns]), minimum)


def ratio_interval(events: Any, previous: Any, *, confidence: float = 0.95) -> FloatArray:
    """Return (N, 3) ratio of two Poisson counts with its exact conditional interval; NaN where either is NaN.

    A previous count of 0 has no ratio and no upper end.

    References: Przyborowski & Wilenski 1940; Clopper & Pearson 1934.

    >>> ratio_interval([120], [100]).round(2).tolist()
    [[1.2, 0.91, 1.58]]
    """
    from scipy.stats import beta

    now, before = np.asarray(events, dtype=np.float64), np.asarray(previous, dtype=np.float64)
    tail = (1 - confidence) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        low = np.where(now > 0, beta.ppf(tail, now, before + 1), 0.0)
        high = np.where(before > 0, beta.ppf(1 - tail, now + 1, before), 1.0)
        result = np.column_stack([np.where(before > 0, now / before, np.nan), low / (1 - low), high / (1 - high)])
    result[np.isnan(now) | np.isnan(before)] = np.nan
    return result


def _column(by: str) -> str:
    if by not in BY:
        raise InputError(f"by: got {by!r}, expected one of: {', '.join(BY)}")
    return BY[by]


def key_of(events: Events, column: str) -> pd.Series:
    if column == "month":
        return events.frame["month"].dt.strftime("%Y-%m").astype(object)
    key = events.frame[column].astype(object)
    key = key.where(key.notna(), NONE_GIVEN)
    if (key == TOTAL).any():
        raise InputError(f"{column}: got a value {TOTAL!r}, which names the totals; rename it")
    return key
