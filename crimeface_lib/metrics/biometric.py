"""Error rates of one-to-one comparison: FMR, FNMR, DET, EER, with failures counted (ISO/IEC 19795-1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from crimeface_lib.core.arrays import check_vector
from crimeface_lib.core.errors import InputError
from crimeface_lib.core.results import Result
from crimeface_lib.core.types import FloatArray

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True, eq=False)
class ErrorRates(Result):
    """Error rates at each threshold; a pair is taken for mated when its score is at or above the threshold.

    Parameters
    ----------
    thresholds, fmr, fnmr : (T,) float64. FMR: share of non-mated comparisons at or above the threshold; FNMR:
        share of mated ones below it; among the comparisons made.
    gfar, gfrr : (T,) generalised rates, which count comparisons that could not be made (failure to enrol or to
        acquire) as not accepted.
    mated, nonmated : number of comparisons made. failed_mated, failed_nonmated : number that could not be.
    """

    thresholds: FloatArray
    fmr: FloatArray
    fnmr: FloatArray
    gfar: FloatArray
    gfrr: FloatArray
    mated: int
    nonmated: int
    failed_mated: int
    failed_nonmated: int

    def to_frame(self) -> pd.DataFrame:
        import pandas as pd

        return pd.DataFrame(
            {
                "threshold": self.thresholds,
                "FMR": self.fmr,
                "FNMR": self.fnmr,
                "GFAR": self.gfar,
                "GFRR": self.gfrr,
            }
        )


def error_rates(
    mated: npt.ArrayLike,
    nonmated: npt.ArrayLike,
    *,
    thresholds: npt.ArrayLike,
    failed: tuple[int, int] = (0, 0),
) -> ErrorRates:
    """Return FMR and FNMR, and their generalised forms, at each threshold.

    Parameters
    ----------
    mated, nonmated : (N,) and (M,) scores, higher is more similar.
    thresholds : (T,) or one number.
    failed : how many mated and non-mated comparisons could not be made.

    Raises
    ------
    ShapeError : an empty or non-finite list. InputError : negative counts.
    References : ISO/IEC 19795-1.

    >>> error_rates([0.9, 0.6], [0.6, 0.1], thresholds=0.6, failed=(2, 0)).to_frame()
       threshold  FMR  FNMR  GFAR  GFRR
    0        0.6  0.5   0.0   0.5   0.5
    """
    same, other = _sorted(mated, "mated"), _sorted(nonmated, "nonmated")
    at = check_vector(np.atleast_1d(np.asarray(thresholds, dtype=float)), name="thresholds", minimum=1)
    if min(failed) < 0:
        raise InputError(f"failed: got {failed}, expected two counts, (mated, non-mated)")
    rejected = np.searchsorted(same, at, side="left").astype(float)
    accepted = len(other) - np.searchsorted(other, at, side="left").astype(float)
    return ErrorRates(
        thresholds=at,
        fmr=accepted / len(other),
        fnmr=rejected / len(same),
        gfar=accepted / (len(other) + failed[1]),
        gfrr=(rejected + failed[0]) / (len(same) + failed[0]),
        mated=len(same),
        nonmated=len(other),
        failed_mated=failed[0],
        failed_nonmated=failed[1],
    )


def det_curve(mated: npt.ArrayLike, nonmated: npt.ArrayLike, *, failed: tuple[int, int] = (0, 0)) -> ErrorRates:
    """Return the error rates at every threshold where one of them changes, from all accepted to none.

    Raises
    ------
    ShapeError : an empty or non-finite list.
    """
    same, other = _sorted(mated, "mated"), _sorted(nonmated, "nonmated")
    scores = np.unique(np.concatenate([same, other]))
    beyond = np.nextafter(scores[-1], np.inf)
    return error_rates(same, other, thresholds=np.append(scores, beyond), failed=failed)


def eer(mated: npt.ArrayLike, nonmated: npt.ArrayLike) -> float:
    """Return the equal error rate: where FMR and FNMR cross, interpolated between neighbouring thresholds.

    >>> eer([0.9, 0.8, 0.4], [0.1, 0.2, 0.5])
    0.333...
    """
    curve = det_curve(mated, nonmated)
    gap = curve.fnmr - curve.fmr  # rises from −1 to 1
    after = int(np.argmax(gap >= 0))
    if gap[after] == 0:
        return float(curve.fmr[after])
    share = -gap[after - 1] / (gap[after] - gap[after - 1])
    return float(curve.fnmr[after - 1] + share * (curve.fnmr[after] - curve.fnmr[after - 1]))


def rate_interval(errors: float, trials: float, *, level: float = 0.95) -> tuple[float, float]:
    """Return the exact (Clopper–Pearson) interval of an error rate, for independent trials.

    With no error seen the upper bound is one-sided, ``1 − (1 − level)^(1/n)``: the rule of three, about 3/n.
    Where subjects occur more than once this is too narrow: use ``clustered_interval``, which may also pass a
    number of trials that is not whole.

    Raises
    ------
    InputError : impossible counts or level.
    References : ISO/IEC 19795-1; Clopper and Pearson 1934.

    >>> rate_interval(0, 300)
    (0.0, 0.00993...)
    """
    from scipy.stats import beta

    if not 0 <= errors <= trials or not trials > 0 or not 0 < level < 1:
        raise InputError(
            f"got {errors} errors in {trials} trials at level {level}, expected 0 ≤ errors ≤ trials, 0 < level < 1"
        )
    if errors == 0:
        return 0.0, float(1 - (1 - level) ** (1 / trials))
    tail = (1 - level) / 2
    high = 1.0 if errors == trials else float(beta.ppf(1 - tail, errors + 1, trials - errors))
    return float(beta.ppf(tail, errors, trials - errors + 1)), high


def _sorted(scores: npt.ArrayLike, name: str) -> FloatArray:
    return np.sort(check_vector(scores, name=name, minimum=1))
