"""What every analysis of a series asks first: consecutive periods, numbers that can be counts, gaps as NaN."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from crimeface_lib.core.errors import InputError
from crimeface_lib.core.types import FloatArray

if TYPE_CHECKING:
    import pandas as pd

_WORDS = {"D": "days", "M": "months"}


def read_periods(
    series: pd.Series | pd.DataFrame, *, every: tuple[str, ...] = (), counts: bool = True, least: int = 0
) -> FloatArray:
    """Return the values, float64 with NaN for gaps.

    Parameters
    ----------
    every : "D", "M": the kinds of period that will do; any when empty.
    counts : refuse values below 0.
    least : periods with data that each series needs.

    Raises
    ------
    InputError : no periods, periods that are not consecutive, infinite or negative values, too few with data.
    """
    import pandas as pd

    words = " or ".join(_WORDS[one] for one in every) or "days, weeks or months"
    if not isinstance(series, pd.Series | pd.DataFrame) or not isinstance(series.index, pd.PeriodIndex):
        got = series.index if isinstance(series, pd.Series | pd.DataFrame) else series
        raise InputError(
            f"series: got {type(got).__name__}, expected pandas on {words} (a PeriodIndex), such as "
            "monthly_series(events).frame['all']"
        )
    if every and series.index.freqstr not in every:
        raise InputError(f"series: got periods of {series.index.freqstr!r}, expected {words}")
    if len(series) > 1 and (np.diff(series.index.asi8) != 1).any():
        raise InputError("series: got periods that are not consecutive; expected each one, with NaN where data lack")
    values = series.to_numpy(dtype=np.float64, na_value=np.nan)
    known = ~np.isnan(values)
    if np.isinf(values).any() or (counts and (values[known] < 0).any()):
        raise InputError(f"series: got a value of {values[known].min():g} to {values[known].max():g}, expected "
                         + ("counts, none below 0" if counts else "finite numbers"))  # fmt: skip
    number = int(np.atleast_1d(known.sum(axis=0)).min()) if values.size else 0
    if number < least:
        raise InputError(f"series: got {number} periods with data, expected at least {least} {words}")
    return values
