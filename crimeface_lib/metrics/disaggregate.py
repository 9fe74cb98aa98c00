"""Error rates by demographic group, and the measures that sum up how far apart the groups are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from crimeface_lib.core.arrays import check_vector
from crimeface_lib.core.errors import InputError, ShapeError
from crimeface_lib.core.results import Result
from crimeface_lib.core.types import FloatArray
from crimeface_lib.metrics.biometric import rate_interval

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class Differentials(Result):
    """How unequal the error rates of the groups are. Read FDR never alone: see ``differentials``.

    Parameters
    ----------
    fmr_max_min, fnmr_max_min : worst group over best; infinite where the best has no error.
    fmr_max_geomean, fnmr_max_geomean : worst group over the geometric mean (NISTIR 8429).
    inequity_rate, garbe, fdr : the summary measures, weighing FMR by ``alpha`` and FNMR by 1 − ``alpha``.
    """

    groups: tuple[str, ...]
    fmr_max_min: float
    fnmr_max_min: float
    fmr_max_geomean: float
    fnmr_max_geomean: float
    inequity_rate: float
    garbe: float
    fdr: float
    alpha: float


def differentials(
    fmr: npt.ArrayLike, fnmr: npt.ArrayLike, *, groups: tuple[str, ...] | None = None, alpha: float = 0.5
) -> Differentials:
    """Return the differential measures of per-group error rates, all at one global threshold.

    FDR takes differences, so it looks perfect where rates are small, however unequal: FMRs of 1, 2 and 8 in
    10,000 give FDR 0.99 though they differ eightfold. That is why all measures come together.

    Parameters
    ----------
    fmr, fnmr : (G,) rates in [0, 1], G ≥ 2, one per group, in the same order.
    alpha : weight of FMR.

    Raises
    ------
    ShapeError : fewer than two groups, or unequal lengths. InputError : a rate outside [0, 1].
    References : ISO/IEC 19795-10; NISTIR 8429 (inequity rate, max/geomean); Howard et al. 2022 (GARBE);
        de Freitas Pereira and Marcel 2021 (FDR).

    >>> differentials([1e-4, 2e-4, 8e-4], [0.010, 0.012, 0.020]).inequity_rate
    4.0
    """
    false, missed = (check_vector(v, name=n, minimum=2) for v, n in ((fmr, "fmr"), (fnmr, "fnmr")))
    names = groups or tuple(str(i) for i in range(len(false)))
    if not len(false) == len(missed) == len(names):
        raise ShapeError(
            f"got {len(false)} FMRs, {len(missed)} FNMRs and {len(names)} groups, expected as many of each"
        )
    both = np.concatenate([false, missed])
    if both.min() < 0 or both.max() > 1 or not 0 <= alpha <= 1:
        raise InputError(f"got rates {both.min()}…{both.max()} and alpha {alpha}, expected all in [0, 1]")
    ratios = _ratio(false.max(), false.min()), _ratio(missed.max(), missed.min())
    return Differentials(
        groups=names,
        fmr_max_min=ratios[0],
        fnmr_max_min=ratios[1],
        fmr_max_geomean=_max_geomean(false),
        fnmr_max_geomean=_max_geomean(missed),
        inequity_rate=ratios[0] ** alpha * ratios[1] ** (1 - alpha),
        garbe=alpha * _gini(false) + (1 - alpha) * _gini(missed),
        fdr=float(1 - alpha * np.ptp(false) - (1 - alpha) * np.ptp(missed)),
        alpha=alpha,
    )


def rates_by_group(
    scores: npt.ArrayLike,
    mated: npt.ArrayLike,
    groups: npt.ArrayLike,
    *,
    threshold: float,
    minimum: int = 30,
    level: float = 0.95,
) -> pd.DataFrame:
    """Return FMR and FNMR of each group at one global threshold, with intervals.

    Failed comparisons are given as NaN scores and counted. Rates from fewer than ``minimum`` comparisons are
    withheld (NaN), because they would be read as findings.

    Parameters
    ----------
    scores : (N,), NaN where the comparison could not be made. mated : (N,) bool.
    groups : (N,) group of the comparison; name cross-group pairs as such ("a × b").

    Returns
    -------
    One row per group: group, mated, nonmated, failed, FMR, FMR_low, FMR_high, FNMR, FNMR_low, FNMR_high.
    """
    import pandas as pd

    values, same, names = np.asarray(scores, dtype=float), np.asarray(mated, dtype=bool), np.asarray(groups).astype(str)
    if not values.shape == same.shape == names.shape or values.ndim != 1:
        raise ShapeError(f"got shapes {values.shape}, {same.shape}, {names.shape}, expected three of (N,)")
    made = ~np.isnan(values)
    rows = []
    for name in np.unique(names):
        here = names == name
        row = {"group": name, "mated": int((here & made & same).sum()), "nonmated": int((here & made & ~same).sum())}
        row["failed"] = int((here & ~made).sum())
        wrong = {"FMR": (~same, values >= threshold), "FNMR": (same, values < threshold)}
        for rate, (kind, error) in wrong.items():
            trials = int((here & made & kind).sum())
            errors = int((here & made & kind & error).sum())
            enough = trials >= max(minimum, 1)
            row[rate] = errors / trials if enough else np.nan
            row[f"{rate}_low"], row[f"{rate}_high"] = (
                rate_interval(errors, trials, level=level) if enough else (np.nan, np.nan)
            )
        rows.append(row)
    return pd.DataFrame(rows)


def _ratio(top: float, bottom: float) -> float:
    """Return top / bottom; infinite where only the bottom is 0, and 1 where both are."""
    if bottom == 0:
        return 1.0 if top == 0 else float("inf")
    return float(top / bottom)


def _max_geomean(rates: FloatArray) -> float:
    if rates.min() == 0:
        return _ratio(rates.max(), 0.0)
    return float(rates.max() / np.exp(np.log(rates).mean()))


def _gini(rates: FloatArray) -> float:
    """Gini coefficient with the n/(n − 1) correction for few groups; 0 where all rates are 0."""
    n, mean = len(rates), rates.mean()
    if mean == 0:
        return 0.0
    return float(n / (n - 1) * np.abs(rates[:, None] - rates[None]).sum() / (2 * n * n * mean))
