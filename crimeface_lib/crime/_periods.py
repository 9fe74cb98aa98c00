"""What every analysis of a series asks first: consecutive periods, numbers that can be counts, gaps as NaN."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from crimeface_lib.core.errors import InputError
from crimeface_lib.core.types import FloatArray

if TYPE_CHECKING:
    import pandas as pd

_MOST_ERROR = 10.0  # of a logarithm: an effect known no better than this is not known
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


class LogLinear(NamedTuple):
    """Effects on the logarithm of counts, (P,) and (P, P); ``dispersion`` is variance over mean about the fit."""

    effects: FloatArray
    covariance: FloatArray
    dispersion: float
    freedom: float


def fit_counts(counts: FloatArray, design: FloatArray, told: slice) -> LogLinear:
    """Fit a quasi-Poisson regression; the covariance is never narrower than Poisson's.

    Parameters
    ----------
    told : columns whose effects are told; the others (a trend) need not be told apart.

    Raises
    ------
    InputError : counts too few to tell these effects, such as none at all in one calendar month.

    References: McCullagh & Nelder 1989.
    """
    import statsmodels.api as sm

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a fit that is perfect, or has no end: looked at below
        fit = sm.GLM(counts, design, family=sm.families.Poisson()).fit()
    dispersion = float(fit.pearson_chi2 / fit.df_resid) if fit.df_resid > 0 else float("nan")
    covariance = fit.normalized_cov_params * max(dispersion, 1.0)
    error = np.sqrt(np.abs(np.diag(covariance)))
    if not (np.isfinite(fit.params).all() and np.isfinite(dispersion) and (error[told] < _MOST_ERROR).all()):
        raise InputError(
            f"series: got {counts.sum():,.0f} events in {len(counts)} periods, too few somewhere to tell the effects "
            "apart; expected some in each part of the span and each kind of period; add types up, or take fewer years"
        )
    return LogLinear(fit.params, covariance, dispersion, float(fit.df_resid))
