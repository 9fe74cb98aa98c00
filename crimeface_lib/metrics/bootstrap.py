"""Intervals by resampling subjects, not comparisons: one person's comparisons stand or fall together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from crimeface_lib.core.errors import InputError, ShapeError
from crimeface_lib.core.random import Seed, make_rng
from crimeface_lib.core.results import Result
from crimeface_lib.core.types import FloatArray
from crimeface_lib.metrics.biometric import rate_interval


@dataclass(frozen=True, slots=True)
class Interval(Result):
    """An estimate with its percentile interval, and the number of subjects and replicas behind it."""

    estimate: float
    low: float
    high: float
    level: float
    subjects: int
    replicas: int


def subject_weights(subjects: npt.ArrayLike, *, replicas: int, rng: Seed) -> FloatArray:
    """Return (replicas, N) weights of N comparisons when subjects are drawn with replacement.

    Parameters
    ----------
    subjects : (N,) one subject of each comparison, or (N, 2) both. A comparison of two different subjects
        weighs the product of how often each was drawn (Owen's pigeonhole bootstrap, which errs on the wide
        side); one of a subject with itself weighs how often that subject was drawn.

    Raises
    ------
    ShapeError : another shape, or none. InputError : fewer than two subjects.
    References : ISO/IEC 19795-1, bootstrap; Bolle, Ratha and Pankanti 2004 (subsets bootstrap); Owen 2007.
    """
    names = np.asarray(subjects)
    if names.ndim == 1:
        names = np.column_stack([names, names])
    if names.ndim != 2 or names.shape[1] != 2 or len(names) == 0:
        raise ShapeError(f"subjects: got shape {np.shape(subjects)}, expected (N,) or (N, 2)")
    distinct, codes = np.unique(names, return_inverse=True)
    codes = codes.reshape(names.shape)
    if len(distinct) < 2:
        raise InputError("subjects: got one, expected at least two to resample")
    drawn = make_rng(rng).multinomial(len(distinct), np.full(len(distinct), 1 / len(distinct)), size=replicas)
    first, second = drawn[:, codes[:, 0]], drawn[:, codes[:, 1]]
    return np.where(codes[:, 0] == codes[:, 1], first, first * second).astype(np.float64)


def bootstrap_interval(
    statistic: Callable[[FloatArray], float],
    subjects: npt.ArrayLike,
    *,
    replicas: int = 1000,
    level: float = 0.95,
    rng: Seed = None,
) -> Interval:
    """Return the percentile interval of ``statistic(weights)`` under resampling of subjects.

    Parameters
    ----------
    statistic : takes (N,) weights of the comparisons and returns a number.
    subjects : as in ``subject_weights``.

    >>> errors = np.array([0, 0, 1, 0, 1, 0, 0, 0])
    >>> subject = ["a", "a", "b", "b", "c", "c", "d", "d"]
    >>> found = bootstrap_interval(lambda w: np.average(errors, weights=w), subject, rng=1)
    >>> found.estimate, bool(found.low < 0.25 < found.high)
    (0.25, True)
    """
    if not 0 < level < 1 or replicas < 20:
        raise InputError(f"got level {level}, {replicas} replicas, expected 0 < level < 1 and at least 20 replicas")
    weights = subject_weights(subjects, replicas=replicas, rng=rng)
    weights = weights[weights.sum(axis=1) > 0]
    values = [statistic(row) for row in weights]
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return Interval(
        estimate=float(statistic(np.ones(weights.shape[1]))),
        low=float(low),
        high=float(high),
        level=level,
        subjects=len(np.unique(np.asarray(subjects))),
        replicas=len(values),
    )


def clustered_interval(
    rate: float, trials: int, *, replicas: npt.ArrayLike, units: int, subjects: int, level: float = 0.95
) -> tuple[float, float]:
    """Return the interval of an error rate whose trials share subjects: exact for as many trials as count.

    The variance over bootstrap replicas says how many independent trials would know the rate as well; for these the
    Clopper–Pearson interval is taken. With no error seen (or nothing but errors) there is no variance to go by: the
    rule of three then counts ``units`` instead of comparisons, as if these were independent. Pairs of people are not
    quite: where a few people resemble many others, and none of them is here, the bound is too low.

    Parameters
    ----------
    rate : errors per trial. trials : comparisons.
    replicas : (R,) the rate in each replica of the subjects; fewer than 20 are not used.
    units : what may err as one: people in mated comparisons, pairs of people in non-mated ones.
    subjects : people resampled; few make the variance itself uncertain.

    Raises
    ------
    InputError : an impossible rate, number or level.
    References : Korn and Graubard 1998; Clopper and Pearson 1934.

    >>> clustered_interval(0.0, 3000, replicas=[0.0] * 20, units=300, subjects=300)
    (0.0, 0.00993...)
    """
    from scipy.stats import t

    if not 0 <= rate <= 1 or not units >= 1 or trials < 1:
        raise InputError(f"got rate {rate} of {trials} trials, {units} units; expected a share of at least one")
    drawn = np.asarray(replicas, dtype=float)
    spread = float(np.var(drawn)) if len(drawn) >= 20 else 0.0
    if rate in (0.0, 1.0) or spread == 0:
        count = float(min(units, trials))
    else:
        tail = (1 + level) / 2
        few = t.ppf(tail, trials - 1) / t.ppf(tail, max(subjects - 1, 1)) if trials > 1 else 1.0
        count = min(float(trials), rate * (1 - rate) / spread * few**2)
    return rate_interval(rate * count, count, level=level)
