"""How good likelihood ratios are, and the two ways to make them from scores: PAV and logistic regression."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from crimeface_lib.core.arrays import check_array, check_vector
from crimeface_lib.core.errors import InputError, ShapeError
from crimeface_lib.core.types import FloatArray

Weights = tuple[npt.ArrayLike, npt.ArrayLike]

#: Holds the slope of separable scores finite; too small to be seen in any other.
_RIDGE = 1e-6


def cllr(lr_mated: npt.ArrayLike, lr_nonmated: npt.ArrayLike, *, weights: Weights | None = None) -> float:
    """Return the log-likelihood-ratio cost in bits: 0 is perfect, 1 is what LR = 1 for everything gives.

    ``Cllr = ½ · (mean log₂(1 + 1/LR) over mated + mean log₂(1 + LR) over non-mated)``

    Parameters
    ----------
    weights : non-negative weights of the mated and of the non-mated ratios, as counts or a bootstrap replica have them.

    Raises
    ------
    ShapeError : an empty list, or NaN. InputError : a negative ratio.
    References : Brümmer and du Preez 2006, equation 14.

    >>> cllr([1.0, 1.0], [1.0])
    1.0
    """
    logs = _log(lr_mated, "lr_mated"), _log(lr_nonmated, "lr_nonmated")
    return _cost(*logs, *_weights(weights, len(logs[0]), len(logs[1])))


def cllr_min(mated: npt.ArrayLike, nonmated: npt.ArrayLike, *, weights: Weights | None = None) -> float:
    """Return the Cllr that the best monotone calibration of these scores (or ratios) would have.

    What remains is lack of discrimination; ``cllr − cllr_min``, the Cllr_cal, is the loss by calibration.

    References : Brümmer and du Preez 2006 (PAV on the evaluation data itself).

    >>> cllr_min([2.0, 3.0], [0.0, 1.0])
    0.0
    """
    same = check_array(mated, shape=(None,), name="mated", finite=False)
    other = check_array(nonmated, shape=(None,), name="nonmated", finite=False)
    w_same, w_other = _weights(weights, len(same), len(other))
    scores, log_lr = pav_log_lr(same, other, weights=(w_same, w_other))
    return _cost(log_lr[np.searchsorted(scores, same)], log_lr[np.searchsorted(scores, other)], w_same, w_other)


def pav_log_lr(
    mated: npt.ArrayLike, nonmated: npt.ArrayLike, *, weights: Weights | None = None
) -> tuple[FloatArray, FloatArray]:
    """Return the distinct scores and the natural log LR that pool-adjacent-violators gives each.

    The ends are −∞ and +∞ where only one kind of pair lies there.

    References : Zadrozny and Elkan 2002; Brümmer and du Preez 2006.
    """

    from scipy.optimize import isotonic_regression

    same = check_array(mated, shape=(None,), name="mated", finite=False)
    other = check_array(nonmated, shape=(None,), name="nonmated", finite=False)
    w_same, w_other = _weights(weights, len(same), len(other))
    if w_same.sum() <= 0 or w_other.sum() <= 0:
        raise InputError(f"got {len(same)} mated and {len(other)} non-mated scores, expected at least one of each")
    scores, place = np.unique(np.concatenate([same, other]), return_inverse=True)
    hits = np.bincount(place[: len(same)], weights=w_same, minlength=len(scores))
    counts = hits + np.bincount(place[len(same) :], weights=w_other, minlength=len(scores))
    held = counts > 0
    posterior = isotonic_regression(hits[held] / counts[held], weights=counts[held]).x
    with np.errstate(divide="ignore"):
        log_odds = np.log(posterior) - np.log1p(-np.minimum(posterior, 1.0))
    level = np.searchsorted(np.flatnonzero(held), np.arange(len(scores)), side="right") - 1  # of the last one held
    return scores, log_odds[np.maximum(level, 0)] - np.log(w_same.sum() / w_other.sum())


def fit_logistic(
    mated: npt.ArrayLike,
    nonmated: npt.ArrayLike,
    *,
    weights: Weights | None = None,
) -> tuple[float, float]:
    """Return intercept and slope of ``ln LR = a + b · score``, each kind of pair weighing one half.

    This minimises Cllr on the data given. A tiny ridge on the standardised slope (1e-6) keeps it finite where
    the two kinds don't overlap.

    Parameters
    ----------
    weights : non-negative weights of the mated and of the non-mated scores, as a bootstrap replica has them.

    Raises
    ------
    ShapeError : an empty or non-finite list. InputError : weights that sum to nothing.
    References : Brümmer and du Preez 2006; Morrison 2013.
    """

    from scipy.special import expit

    same = check_vector(mated, name="mated", minimum=1)
    other = check_vector(nonmated, name="nonmated", minimum=1)
    w_same, w_other = _weights(weights, len(same), len(other))
    if w_same.sum() <= 0 or w_other.sum() <= 0:
        raise InputError("weights: got a kind of pair without any weight, expected a positive sum for both")
    w_same, w_other = w_same / w_same.sum() / 2, w_other / w_other.sum() / 2
    both = np.concatenate([same, other])
    centre, scale = float(both.mean()), float(both.std()) or 1.0
    x, y = (same - centre) / scale, (other - centre) / scale

    def cost(theta: FloatArray) -> float:
        a, b = theta
        value = w_same @ np.logaddexp(0, -a - b * x) + w_other @ np.logaddexp(0, a + b * y)
        return float(value + 0.5 * _RIDGE * b * b)

    theta, step = np.array([0.0, 1.0]), np.ones(2)
    while np.abs(step).max() > 1e-9:  # Newton; convex, so halving the step always finds a lower cost
        a, b = theta
        p, q = expit(-a - b * x), expit(a + b * y)
        down, up = -w_same * p, w_other * q
        slope = np.array([down.sum() + up.sum(), down @ x + up @ y + _RIDGE * b])
        u, v = w_same * p * (1 - p), w_other * q * (1 - q)
        cross = u @ x + v @ y
        curve = np.array([[u.sum() + v.sum() + _RIDGE, cross], [cross, u @ x**2 + v @ y**2 + _RIDGE]])
        step = np.linalg.solve(curve, slope)
        while cost(theta - step) > cost(theta) + 1e-15:
            step = step / 2
        theta = theta - step
    a, b = theta
    return float(a - b * centre / scale), float(b / scale)


def _log(ratios: npt.ArrayLike, name: str) -> FloatArray:
    values: FloatArray = check_array(ratios, shape=(None,), name=name, finite=False)
    if len(values) == 0 or np.isnan(values).any() or (values < 0).any():
        raise InputError(f"{name}: got {len(values)} values, some negative, NaN or none at all; expected ratios ≥ 0")
    with np.errstate(divide="ignore"):
        return np.log(values)


def _weights(weights: Weights | None, mated: int, nonmated: int) -> tuple[FloatArray, FloatArray]:
    if weights is None:
        return np.ones(mated), np.ones(nonmated)
    found = [check_vector(side, name=f"weights[{i}]") for i, side in enumerate(weights)]
    if [len(side) for side in found] != [mated, nonmated]:
        raise ShapeError(f"weights: got {[len(side) for side in found]}, expected {[mated, nonmated]}")
    return found[0], found[1]


def _cost(log_mated: FloatArray, log_nonmated: FloatArray, w_mated: FloatArray, w_nonmated: FloatArray) -> float:
    """Cllr from natural logs, without overflow."""
    sides = ((np.logaddexp(0, -log_mated), w_mated), (np.logaddexp(0, log_nonmated), w_nonmated))
    bits = sum(np.average(cost[w > 0], weights=w[w > 0]) for cost, w in sides)
    return float(bits / (2 * np.log(2)))
