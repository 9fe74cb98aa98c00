"""How likelihood ratios do as evidence: Tippett curves, empirical cross-entropy, devPAV, and the bounds they bear."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from crimeface_lib.core.arrays import check_array, check_vector
from crimeface_lib.core.errors import InputError
from crimeface_lib.core.random import Seed
from crimeface_lib.core.results import Result
from crimeface_lib.core.types import FloatArray
from crimeface_lib.metrics.bootstrap import Interval
from crimeface_lib.metrics.calibration import Weights, cllr, cllr_min, pav_log_lr
from crimeface_lib.metrics.verification import ScoreCounts, count_scores

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True, eq=False)
class EvidenceQuality(Result):
    """How good likelihood ratios were on comparisons whose truth is known.

    Parameters
    ----------
    cllr : cost in bits, 0 perfect, 1 as good as saying nothing. cllr_min : of it, for want of discrimination.
    cllr_cal : the rest, for want of calibration. Each with its interval over people.
    devpav : mean distance between log10 LR and what PAV makes of it; NaN where nothing overlaps.
    misleading : share of mated comparisons with LR < 1, and of non-mated ones with LR > 1.
    tippett : a row a log10 LR: share of mated and of non-mated comparisons with at least this.
    cross_entropy : a row a prior: log10 prior odds, and bits with these LRs (``lr``), with PAV's (``pav``) and with
        LR = 1 (``neutral``). Above neutral the ratios do harm there.
    mated, nonmated, subjects : comparisons and people.
    """

    cllr: Interval
    cllr_min: Interval
    cllr_cal: Interval
    devpav: float
    misleading: tuple[float, float]
    tippett: pd.DataFrame = field(repr=False)
    cross_entropy: pd.DataFrame = field(repr=False)
    mated: int
    nonmated: int
    subjects: int
    level: float

    def to_frame(self) -> pd.DataFrame:
        """Return Cllr, Cllr_min and Cllr_cal, a row each."""
        import pandas as pd

        rows = [
            (name, one.estimate, one.low, one.high)
            for name, one in (("Cllr", self.cllr), ("Cllr_min", self.cllr_min), ("Cllr_cal", self.cllr_cal))
        ]
        table = pd.DataFrame(rows, columns=["cost, bits", "value", "low", "high"])
        return table.assign(mated=self.mated, nonmated=self.nonmated, people=self.subjects)


def evidence_quality(
    lr_mated: npt.ArrayLike,
    lr_nonmated: npt.ArrayLike,
    *,
    subjects: tuple[npt.ArrayLike, npt.ArrayLike] | None = None,
    replicas: int = 200,
    level: float = 0.95,
    rng: Seed = 0,
) -> EvidenceQuality:
    """Return Cllr and its two parts with intervals over people, Tippett curves and empirical cross-entropy.

    Parameters
    ----------
    lr_mated, lr_nonmated : (N,) and (M,) likelihood ratios of comparisons whose truth is known.
    subjects : one or two subjects of each comparison, as in ``count_scores``.

    Raises
    ------
    InputError : ratios that are negative or NaN, or none. ShapeError : subjects of another length.
    References : Brümmer and du Preez 2006; Ramos et al. 2013 (ECE); ENFSI BPM-DI-01.
    """
    same, other = (np.asarray(lr, dtype=float) for lr in (lr_mated, lr_nonmated))
    cllr(same, other)  # says what is wrong with them
    values, codes = np.unique(np.concatenate([same, other]), return_inverse=True)  # ranks, as 0 and ∞ have no log
    ranks = codes.astype(float)
    counts = count_scores(ranks[: len(same)], ranks[len(same) :], subjects=subjects, replicas=replicas, rng=rng)
    return evidence_of_counts(counts, values[counts.scores.astype(int)], level=level)


def evidence_of_counts(counts: ScoreCounts, ratios: npt.ArrayLike, *, level: float = 0.95) -> EvidenceQuality:
    """Return the same of comparisons counted by score, of which there may be any number.

    Parameters
    ----------
    ratios : (B,) likelihood ratio at each of ``counts.scores``.

    Raises
    ------
    InputError : another number of ratios, or one that is negative or NaN.
    """
    lr = np.asarray(ratios, dtype=float)
    if lr.shape != counts.scores.shape:
        raise InputError(f"ratios: got {lr.shape}, expected {counts.scores.shape}, one for each score counted")

    def costs(mated: FloatArray, nonmated: FloatArray) -> tuple[float, float]:
        weights = mated, nonmated
        return cllr(lr, lr, weights=weights), cllr_min(lr, lr, weights=weights)

    found = np.array(costs(counts.mated, counts.nonmated))
    draws = np.array([costs(*pair) for pair in zip(counts.mated_replicas, counts.nonmated_replicas, strict=True)])
    ends = [(1 - level) / 2, (1 + level) / 2]

    def interval(value: float, values: FloatArray) -> Interval:
        if not len(values):
            return Interval(float(value), np.nan, np.nan, level, counts.subjects, 0)
        step: Any = "linear" if np.isfinite(values).all() else "nearest"  # between infinite costs there is nothing
        low, high = np.quantile(values, ends, method=step)
        return Interval(float(value), float(low), float(high), level, counts.subjects, len(values))

    draws = draws.reshape(-1, 2)
    weights = counts.mated, counts.nonmated
    with np.errstate(divide="ignore"):
        logs = np.log10(lr[np.isfinite(lr) & (lr > 0)])
    at = np.linspace(min(logs.min(initial=0), -1), max(logs.max(initial=0), 1), 401)
    return EvidenceQuality(
        cllr=interval(found[0], draws[:, 0]),
        cllr_min=interval(found[1], draws[:, 1]),
        cllr_cal=interval(found[0] - found[1], draws[:, 0] - draws[:, 1]),
        devpav=devpav(lr, lr, weights=weights),
        misleading=(
            float(counts.mated[lr < 1].sum() / counts.mated.sum()),
            float(counts.nonmated[lr > 1].sum() / counts.nonmated.sum()),
        ),
        tippett=tippett(lr, lr, at=at, weights=weights),
        cross_entropy=empirical_cross_entropy(lr, lr, weights=weights),
        mated=counts.pairs[0],
        nonmated=counts.pairs[1],
        subjects=counts.subjects,
        level=level,
    )


def tippett(
    lr_mated: npt.ArrayLike, lr_nonmated: npt.ArrayLike, *, at: npt.ArrayLike, weights: Weights | None = None
) -> pd.DataFrame:
    """Return the shares of mated and non-mated ratios that are at least 10 to the power of each of ``at``.

    >>> tippett([10.0, 0.1], [0.1, 0.01], at=[-1, 0]).values.tolist()
    [[-1.0, 1.0, 0.5], [0.0, 0.5, 0.0]]
    """
    import pandas as pd

    steps = check_vector(at, name="at", minimum=1)
    shares = []
    for logs, weight in _logs(lr_mated, lr_nonmated, weights):
        order = np.argsort(logs)
        below = np.append(0.0, weight[order].cumsum()) / weight.sum()
        shares.append(1 - below[np.searchsorted(logs[order], steps * np.log(10), side="left")])
    return pd.DataFrame({"log10_lr": steps, "mated": shares[0], "nonmated": shares[1]})


def empirical_cross_entropy(
    lr_mated: npt.ArrayLike,
    lr_nonmated: npt.ArrayLike,
    *,
    log10_odds: npt.ArrayLike | None = None,
    weights: Weights | None = None,
) -> pd.DataFrame:
    """Return the information still missing, in bits, when these ratios update each prior; at even odds it is Cllr.

    Parameters
    ----------
    log10_odds : (K,) prior odds that a comparison is mated; by default −3 to 3.

    Returns
    -------
    Columns log10_odds, lr (these ratios), pav (the best monotone calibration of them), neutral (LR = 1 always).

    References : Ramos, Gonzalez-Rodriguez, Zadora and Aitken 2013.

    >>> empirical_cross_entropy([4.0], [0.25], log10_odds=[0.0])["lr"].round(4).tolist()
    [0.3219]
    """
    import pandas as pd

    odds = np.linspace(-3, 3, 121) if log10_odds is None else check_vector(log10_odds, name="log10_odds", minimum=1)
    (same, w_same), (other, w_other) = _logs(lr_mated, lr_nonmated, weights)
    scores, log_lr = pav_log_lr(same, other, weights=(w_same, w_other))
    best = [log_lr[np.searchsorted(scores, side)] for side in (same, other)]
    prior, none = odds * np.log(10), np.zeros(1)
    return pd.DataFrame({
        "log10_odds": odds,
        "lr": _entropy(same, other, w_same, w_other, prior),
        "pav": _entropy(best[0], best[1], w_same, w_other, prior),
        "neutral": _entropy(none, none, none + 1, none + 1, prior),
    })  # fmt: skip


def devpav(lr_mated: npt.ArrayLike, lr_nonmated: npt.ArrayLike, *, weights: Weights | None = None) -> float:
    """Return the mean distance, over log10 LR, between these ratios and what PAV makes of them; 0 is calibrated.

    Only where PAV gives a finite ratio; NaN where the two kinds don't overlap, infinite where a ratio of 0 or ∞ is
    not borne out.

    References : Vergeer et al. 2021, measuring calibration of likelihood-ratio systems.
    """
    (same, w_same), (other, w_other) = _logs(lr_mated, lr_nonmated, weights)
    scores, log_lr = pav_log_lr(same, other, weights=(w_same, w_other))
    inside = np.isfinite(log_lr)
    if not inside.any():
        return float("nan")
    x, y = scores[inside] / np.log(10), log_lr[inside] / np.log(10)
    if not np.isfinite(x).all():
        return float("inf")
    if len(x) == 1:
        return float(abs(y[0] - x[0]))
    step, before, after = np.diff(x), (y - x)[:-1], (y - x)[1:]
    crosses = before * after < 0  # two triangles instead of a trapezium
    size = np.abs(before) + np.abs(after)
    area = np.where(crosses, (before**2 + after**2) / np.where(size > 0, size, 1), size) / 2
    return float((area * step).sum() / step.sum())


def supported_bounds(
    log10_mated: npt.ArrayLike,
    log10_nonmated: npt.ArrayLike,
    *,
    weights: Weights | None = None,
    misleading: float = 1.0,
) -> tuple[float, float]:
    """Return the lowest and highest log10 LR that these comparisons support (empirical bounds, ELUB).

    Whoever acts on an LR above t, at prior odds 1/t, does at least as well as without it, even if one more misleading
    comparison had been seen; and so at every threshold between 1 and the bound. One side never exceeds the number of
    comparisons of the other kind.

    Parameters
    ----------
    log10_mated, log10_nonmated : (N,) and (M,) log10 LRs of the calibration data.
    weights : how often each stands; sums count as numbers of comparisons.
    misleading : how many more to assume, on either side.

    Raises
    ------
    InputError : no comparison of a kind.
    References : Vergeer, van Es, de Jongh, Alberink and Stoel 2016, when to stop extrapolating?
    """
    same, other = (
        check_array(x, shape=(None,), name=n, finite=False)
        for x, n in ((log10_mated, "log10_mated"), (log10_nonmated, "log10_nonmated"))
    )
    w_same, w_other = (
        (np.ones(len(same)), np.ones(len(other))) if weights is None else [check_vector(w, name="w") for w in weights]
    )
    if w_same.sum() <= 0 or w_other.sum() <= 0:
        raise InputError("got no comparison of a kind, expected mated and non-mated ones")
    high = _useful_up_to(same, other, w_same, w_other, misleading)
    low = _useful_up_to(-other, -same, w_other, w_same, misleading)
    return -low, high


def _useful_up_to(
    right: FloatArray, wrong: FloatArray, w_right: FloatArray, w_wrong: FloatArray, misleading: float
) -> float:
    """Return the first log10 threshold from 0 upwards at which acting on the LRs would not pay."""
    order, back = np.argsort(right), np.argsort(wrong)
    right, wrong = right[order], wrong[back]
    above_right = np.append(w_right[order][::-1].cumsum()[::-1], 0.0)
    above_wrong = np.append(w_wrong[back][::-1].cumsum()[::-1], 0.0)
    steps = np.unique(np.concatenate([[0.0], right[right > 0], wrong[wrong > 0]]))  # rates hold from one to the next
    reached = above_right[np.searchsorted(right, steps, side="right")] / (above_right[0] + misleading)
    misled = (above_wrong[np.searchsorted(wrong, steps, side="right")] + misleading) / (above_wrong[0] + misleading)
    with np.errstate(divide="ignore"):
        worth = np.log10(reached) - np.log10(misled)
    fails = worth < np.append(steps[1:], np.inf)  # somewhere before the next step the threshold outgrows its worth
    first = int(np.argmax(fails))
    return float(max(steps[first], worth[first]))


def _logs(
    lr_mated: npt.ArrayLike, lr_nonmated: npt.ArrayLike, weights: Weights | None
) -> list[tuple[FloatArray, FloatArray]]:
    """Return natural log and weight of each ratio that has any, mated and non-mated."""
    found = []
    for side, lr in enumerate((lr_mated, lr_nonmated)):
        values = np.asarray(lr, dtype=float)
        weight = np.ones(len(values)) if weights is None else np.asarray(weights[side], dtype=float)
        with np.errstate(divide="ignore"):
            found.append((np.log(values[weight > 0]), weight[weight > 0]))
    return found


def _entropy(
    log_mated: FloatArray, log_nonmated: FloatArray, w_mated: FloatArray, w_nonmated: FloatArray, prior: FloatArray
) -> FloatArray:
    """Return bits for each prior (natural log odds), without overflow."""
    share = 1 / (1 + np.exp(-prior))
    same = np.array([np.average(np.logaddexp(0, -(log_mated + m)), weights=w_mated) for m in prior])
    other = np.array([np.average(np.logaddexp(0, log_nonmated + m), weights=w_nonmated) for m in prior])
    return (share * same + (1 - share) * other) / np.log(2)
