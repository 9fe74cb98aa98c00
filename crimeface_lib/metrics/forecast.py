"""How good a forecast was: of places (PAI, PEI, hit rate) and of series (MASE). Arrays in, numbers out.

References: Chainey, Tompson & Uhlig 2008 (PAI); Hunt 2016 (PEI); Hyndman & Koehler 2006 (MASE).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from crimeface_lib.core.arrays import check_vector
from crimeface_lib.core.errors import InputError, ShapeError
from crimeface_lib.core.types import FloatArray


def hit_rate(risk: npt.ArrayLike, counts: npt.ArrayLike, *, area: float) -> float:
    """Return the share of events inside the riskiest ``area`` share of equal cells.

    A cell cut by the limit counts in part, and cells of equal risk share their events evenly: the value expected
    when ties are broken by chance.

    Parameters
    ----------
    risk : (C,) predicted; only its order matters.
    counts : (C,) events that then happened.
    area : share of the cells, in (0, 1].

    Raises
    ------
    ShapeError : unequal lengths, or values that are not finite.
    InputError : ``area`` out of range, negative counts, or no events at all (the rate is undefined).

    >>> hit_rate([3, 2, 1, 0], [5, 3, 1, 1], area=0.25)
    0.5
    """
    predicted, happened = _check(risk, counts, area)
    limit = area * len(predicted)
    order = np.argsort(-predicted, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(predicted[order]) != 0])
    size = np.diff(np.r_[starts, len(order)])
    taken = np.clip((limit - starts) / size, 0.0, 1.0)
    return float(np.add.reduceat(happened[order], starts) @ taken / happened.sum())


def pai(risk: npt.ArrayLike, counts: npt.ArrayLike, *, area: float) -> float:
    """Return the prediction accuracy index: hit rate over area share; 1 is chance, 1/area at most.

    >>> pai([3, 2, 1, 0], [5, 3, 1, 1], area=0.25)
    2.0
    """
    return hit_rate(risk, counts, area=area) / area


def pei(risk: npt.ArrayLike, counts: npt.ArrayLike, *, area: float) -> float:
    """Return the prediction efficiency index: PAI over the best PAI that area could have had, in [0, 1].

    >>> pei([1, 2, 3, 0], [5, 3, 1, 1], area=0.25)
    0.2
    """
    return hit_rate(risk, counts, area=area) / hit_rate(counts, counts, area=area)


def mase(actual: npt.ArrayLike, forecast: npt.ArrayLike, *, history: npt.ArrayLike, season: int = 12) -> float:
    """Return the mean absolute scaled error: mean |actual - forecast| over the in-sample seasonal-naive error.

    Parameters
    ----------
    actual, forecast : (H,) the horizon.
    history : (T,) the values before it; NaN is a gap, and differences that touch one are left out.
    season : lag of the naive forecast.

    Raises
    ------
    InputError : no two values a season apart in ``history``, or a naive error of 0 (the scale is undefined).

    >>> mase([10, 12], [11, 12], history=[1, 2, 3, 4], season=1)
    0.5
    """
    happened, predicted = check_vector(actual, name="actual", minimum=1), check_vector(forecast, name="forecast")
    if len(happened) != len(predicted):
        raise ShapeError(f"forecast: got {len(predicted)} values, expected {len(happened)} as in actual")
    before = np.asarray(history, dtype=np.float64)
    naive = np.abs(before[season:] - before[:-season])
    naive = naive[np.isfinite(naive)]
    if len(naive) == 0 or naive.mean() == 0:
        raise InputError(f"history: got {len(naive)} usable differences at lag {season}, expected some that are not 0")
    return float(np.abs(happened - predicted).mean() / naive.mean())


def _check(risk: npt.ArrayLike, counts: npt.ArrayLike, area: float) -> tuple[FloatArray, FloatArray]:
    predicted, happened = check_vector(risk, name="risk", minimum=1), check_vector(counts, name="counts")
    if len(predicted) != len(happened):
        raise ShapeError(f"counts: got {len(happened)} cells, expected {len(predicted)} as in risk")
    if not 0 < area <= 1:
        raise InputError(f"area: got {area}, expected a share above 0 and at most 1")
    if (happened < 0).any() or happened.sum() == 0:
        raise InputError(f"counts: got a total of {happened.sum():g}, expected at least one event and none negative")
    return predicted, happened
