"""Error rates by demographic group, and the measures that sum up how far apart the groups are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from crimeface_lib.core.arrays import check_vector
from crimeface_lib.core.errors import InputError, ShapeError
from crimeface_lib.core.random import Seed, make_rng
from crimeface_lib.core.results import Result
from crimeface_lib.core.types import FloatArray
from crimeface_lib.metrics.biometric import rate_interval
from crimeface_lib.metrics.bootstrap import subject_weights

if TYPE_CHECKING:
    import pandas as pd

#: The measures of ``Differentials``, in the order in which reports show them.
MEASURES = (
    "fmr_max_min", "fnmr_max_min", "fmr_max_geomean", "fnmr_max_geomean", "inequity_rate", "garbe", "fdr",
)  # fmt: skip
#: What each can be at all.
_RANGES = dict.fromkeys(MEASURES, (1.0, np.inf)) | {"garbe": (0.0, 1.0), "fdr": (0.0, 1.0)}
_WEIGHTS = 4_000_000  # of comparisons in memory at once: 32 MB


@dataclass(frozen=True, slots=True)
class Differentials(Result):
    """How unequal the error rates of the groups are. Read FDR never alone: see ``differentials``.

    Parameters
    ----------
    fmr_max_min, fnmr_max_min : worst group over best; infinite where only the best has no error, NaN where no group
        has one: then nothing is known of the ratio, and its interval reaches from 1 to infinity.
    fmr_max_geomean, fnmr_max_geomean : worst group over the geometric mean (NISTIR 8429).
    inequity_rate, garbe, fdr : the summary measures, weighing FMR by ``alpha`` and FNMR by 1 − ``alpha``.
        NaN, but for FDR, where either rate is unknown so.
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

    def to_dict(self) -> dict[str, Any]:
        """Return every field as JSON can hold it: None is infinite, "unknown" is NaN."""
        unknown = {name: "unknown" for name in MEASURES if np.isnan(getattr(self, name))}
        return Result.to_dict(self) | unknown


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
    found = _measures(false[None], missed[None], alpha=alpha)
    return Differentials(groups=names, alpha=alpha, **{name: float(found[name][0]) for name in MEASURES})


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


def rate_replicas(
    scores: npt.ArrayLike,
    mated: npt.ArrayLike,
    groups: npt.ArrayLike,
    *,
    threshold: float,
    names: tuple[str, ...],
    subjects: npt.ArrayLike | None = None,
    replicas: int = 1000,
    rng: Seed = None,
) -> tuple[FloatArray, FloatArray]:
    """Return what FMR and FNMR of the groups ``names`` might as well have been, two (replicas, G) arrays.

    Parameters
    ----------
    scores, mated, groups : as in ``rates_by_group``; each group has comparisons of both kinds.
    subjects : (N, 2) who is on either side. With it subjects are resampled, as they must be where one occurs more
        than once. Without it comparisons are taken as independent, and rates are drawn from the Jeffreys
        posterior Beta(errors + ½, trials − errors + ½), which a group without any error leaves open upwards.

    References : Owen 2007 (pigeonhole bootstrap); Brown, Cai and DasGupta 2001 (Jeffreys).
    """
    values, same, labels = (
        np.asarray(scores, dtype=float),
        np.asarray(mated, dtype=bool),
        np.asarray(groups).astype(str),
    )
    kept = ~np.isnan(values) & np.isin(labels, names)
    values, same, labels = values[kept], same[kept], labels[kept]
    cells = [(kind, labels == name) for kind in (~same, same) for name in names]
    trials = np.array([(kind & here) for kind, here in cells])  # (2G, n)
    wrong = np.where(same, values < threshold, values >= threshold)
    generator = make_rng(rng)
    if subjects is None:
        total, errors = trials.sum(axis=1), (trials & wrong).sum(axis=1)
        rates = generator.beta(errors + 0.5, total - errors + 0.5, size=(replicas, len(total)))
    else:
        codes = np.unique(np.asarray(subjects)[kept], return_inverse=True)[1].reshape(-1, 2)
        blocks, block = [], max(1, _WEIGHTS // max(len(codes), 1))
        for start in range(0, replicas, block):
            weights = subject_weights(codes, replicas=min(block, replicas - start), rng=generator)
            total, errors = weights @ trials.T, weights @ (trials & wrong).T
            blocks.append(np.divide(errors, total, out=np.full_like(total, np.nan), where=total > 0))
        rates = np.concatenate(blocks)
        rates = rates[~np.isnan(rates).any(axis=1)]  # a replica that drew nobody of a group says nothing
    return rates[:, : len(names)], rates[:, len(names) :]


def differential_intervals(
    fmr: FloatArray, fnmr: FloatArray, *, alpha: float = 0.5, level: float = 0.95
) -> dict[str, tuple[float, float]]:
    """Return the percentile interval of each measure over replicas of the rates.

    The worst of several noisy rates over the best is biased upwards: few comparisons look unequal. The interval of
    a ratio may therefore lie above 1 where nothing differs; read it beside the rates and their intervals.

    Parameters
    ----------
    fmr, fnmr : (R, G) as ``rate_replicas`` gives them.

    Raises
    ------
    ShapeError : fewer than 20 replicas.
    """
    if len(fmr) < 20:
        raise ShapeError(
            f"got {len(fmr)} replicas that hold every group, expected at least 20; there are too few people"
        )
    found = _measures(fmr, fnmr, alpha=alpha)
    return {name: _ends(found[name], _RANGES[name], level=level) for name in MEASURES}


def _ends(values: FloatArray, possible: tuple[float, float], *, level: float) -> tuple[float, float]:
    """Return the interval; a replica without any error may stand anywhere in the possible range."""
    share = ((1 - level) / 2, (1 + level) / 2)  # "nearest": interpolating towards an infinite ratio gives NaN
    low, high = (
        np.quantile(np.where(np.isnan(values), edge, values), part, method="nearest")
        for part, edge in zip(share, possible, strict=True)
    )
    return float(low), float(high)


def _measures(fmr: FloatArray, fnmr: FloatArray, *, alpha: float) -> dict[str, FloatArray]:
    """Return each measure, (R,), of (R, G) rates."""
    ratios = [_ratio(rates.max(axis=1), rates.min(axis=1)) for rates in (fmr, fnmr)]
    means = [_ratio(rates.max(axis=1), _geomean(rates)) for rates in (fmr, fnmr)]
    return {
        "fmr_max_min": ratios[0],
        "fnmr_max_min": ratios[1],
        "fmr_max_geomean": means[0],
        "fnmr_max_geomean": means[1],
        "inequity_rate": ratios[0] ** alpha * ratios[1] ** (1 - alpha),
        "garbe": alpha * _gini(fmr) + (1 - alpha) * _gini(fnmr),
        "fdr": 1 - alpha * np.ptp(fmr, axis=1) - (1 - alpha) * np.ptp(fnmr, axis=1),
    }


def _ratio(top: FloatArray, bottom: FloatArray) -> FloatArray:
    """Return top / bottom; infinite where only the bottom is 0, NaN where both are."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return top / bottom


def _geomean(rates: FloatArray) -> FloatArray:
    with np.errstate(divide="ignore"):
        return np.exp(np.log(rates).mean(axis=1))


def _gini(rates: FloatArray) -> FloatArray:
    """Gini coefficient with the n/(n − 1) correction for few groups; NaN where all rates are 0."""
    n = rates.shape[1]
    differences = np.abs(rates[:, :, None] - rates[:, None]).sum(axis=(1, 2))
    scale = 2 * n * (n - 1) * rates.mean(axis=1)
    return np.divide(differences, scale, out=np.full_like(scale, np.nan), where=scale > 0)
