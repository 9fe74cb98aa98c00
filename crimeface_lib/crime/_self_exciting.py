"""Expectation-maximisation of a self-exciting point process: arrays in, parameters out.

The intensity, per m² and day, at time t and point s is

    m(month) Σ_j a_j b_j(t, s)  +  Σ_{t_i < t} κ₀ g(t - t_i; ω₀) [same place] / A  +  κ₁ g(t - t_i; ω₁) k(|s - s_i|; σ)

with g a truncated exponential in time and k one in the plane, each of mass 1. The b_j are known before t, so the fit is
a mixture: each round's weights say how likely an event was a background event or the offspring of an earlier one.

References: Mohler et al. 2011, "Self-exciting point process modeling of crime"; Zhuang, Ogata & Vere-Jones 2002
(declustering); Rathbun 1996 (the information of the parameters).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from crimeface_lib.core.types import FloatArray, IntArray

REACH = 400.0  # metres
WINDOW = 60.0  # days
PLACE = 10.0  # metres; events in one square of this side are at the same place
DENSEST = 6_000_000  # pairs in reach of one block of targets, of any age: what memory holds
_SLOWEST, _FASTEST = 0.2 / WINDOW, 50.0  # 1/day
_LARGEST = 0.95  # branching ratio: from 1 on, the process would grow without end


@dataclass(frozen=True, slots=True)
class Design:
    """What the likelihood needs of N events, the targets, and of the earlier ones that may have set them off.

    background : (N, J) density per m² and day at unit weight; exposure : (J, K) its integral over the area in each of
    the K months; month : (N,) int. ``same`` and ``near`` are pairs: target, days, metres. low, high : (S,) days after
    a source at which a stretch of the fit's span begins and ends; a source near a gap has several stretches.
    """

    background: FloatArray
    exposure: FloatArray
    month: IntArray
    same: tuple[IntArray, FloatArray]
    near: tuple[IntArray, FloatArray, FloatArray]
    low: FloatArray
    high: FloatArray

    def mass(self, omega: float) -> float:
        """Return the offspring expected inside the span from all sources, at a branching ratio of 1."""
        whole = (self.low <= 0) & (self.high >= WINDOW)
        rest = ~whole
        return float(whole.sum() + (_within(self.high[rest], omega) - _within(self.low[rest], omega)).sum())


@dataclass(frozen=True, slots=True)
class State:
    """weights : (J,) of the backgrounds; season : (K,); kappa, omega : (2,) same place and near; sigma : metres."""

    weights: FloatArray
    season: FloatArray
    kappa: FloatArray
    omega: FloatArray
    sigma: float


@dataclass(frozen=True, slots=True)
class Fitted:
    state: State
    errors: FloatArray = field(repr=False)  # of weights, kappa, omega, sigma; NaN at a bound
    log_likelihood: tuple[float, ...] = field(repr=False)
    converged: bool


def start_state(design: Design) -> State:
    number, background = len(design.month), design.exposure.sum(axis=1)
    share = np.full(len(background), 0.8 / len(background))
    return State(
        share * number / np.maximum(background, 1e-300), np.ones(design.exposure.shape[1]),
        np.array([0.1, 0.1]), np.array([0.15, 0.15]), 100.0,
    )  # fmt: skip


def maximise(design: Design, *, rounds: int = 300, tolerance: float = 1e-2) -> Fitted:
    """Repeat the two steps until the log-likelihood grows by less than ``tolerance``; it never falls."""
    state, trace, converged = start_state(design), [], False
    for _ in range(rounds):
        value, moved = _step(design, state)
        trace.append(value)
        if len(trace) > 1 and trace[-1] - trace[-2] < tolerance:
            converged = True
            break
        state = moved
    return Fitted(state, _standard_errors(design, state), tuple(trace), converged)


def _step(design: Design, state: State) -> tuple[float, State]:
    """Return the log-likelihood at ``state``, and the state after one round."""
    ground, same, near, total = _intensity(design, state)
    value = float(np.log(total).sum()) - _expected(design, state)
    same, near = same / total[design.same[0]], near / total[design.near[0]]
    share = ground / total
    # month factors, then weights at the new factors: each raises the likelihood, the other held
    season = np.bincount(design.month, weights=share, minlength=len(state.season))
    season = np.divide(season, state.weights @ design.exposure, out=np.ones(len(season)), where=design.exposure[0] > 0)
    season = np.where(season > 0, season, 0.0)
    scale = np.average(season, weights=design.exposure[0])
    season = season / scale
    mixed = design.background * state.weights
    parts = mixed.T @ (share / np.maximum(mixed.sum(axis=1), 1e-300))
    weights = parts / np.maximum(design.exposure @ season, 1e-300)
    sums = np.array([same.sum(), near.sum()])
    delays = np.array([same @ design.same[1], near @ design.near[1]])
    omega = np.array([_delay(design, s, d, w) for s, d, w in zip(sums, delays, state.omega, strict=True)])
    kappa = sums / [max(design.mass(w), 1e-300) for w in omega]
    if kappa.sum() > _LARGEST:
        kappa = kappa * _LARGEST / kappa.sum()
    return value, State(weights, season, kappa, omega, _distance(sums[1], float(near @ design.near[2]), state.sigma))


def _intensity(design: Design, state: State) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Return (N,) the background, the pairs' parts, and (N,) the whole."""
    ground = (design.background @ state.weights) * state.season[design.month]
    same = state.kappa[0] * time_kernel(design.same[1], state.omega[0]) / PLACE**2
    _, days, metres = design.near
    near = (state.kappa[1] * _top(state.omega[1]) * space_top(state.sigma)) * np.exp(
        -state.omega[1] * days - metres / state.sigma
    )
    total = ground.copy()
    for part, pairs in ((same, design.same), (near, design.near)):
        total += np.bincount(pairs[0], weights=part, minlength=len(total))
    return ground, same, near, np.maximum(total, 1e-300)


def _expected(design: Design, state: State) -> float:
    triggered = sum(k * design.mass(w) for k, w in zip(state.kappa, state.omega, strict=True))
    return float(state.weights @ design.exposure @ state.season) + float(triggered)


def _top(omega: float) -> float:
    return omega / -np.expm1(-omega * WINDOW)


def time_kernel(days: FloatArray, omega: float) -> FloatArray:
    """Return the density per day of the delay, truncated at the window."""
    return _top(omega) * np.exp(-omega * days)


def _within(days: FloatArray, omega: float) -> FloatArray:
    return np.expm1(-omega * np.clip(days, 0.0, WINDOW)) / np.expm1(-omega * WINDOW)


def space_top(sigma: float) -> float:
    """Return the kernel's density per m² at distance 0."""
    return float(1 / (2 * np.pi * sigma**2 * -_lost(sigma)))


def _lost(sigma: float) -> float:
    reach = REACH / sigma
    return (1 + reach) * np.exp(-reach) - 1


def _delay(design: Design, number: float, days: float, before: float) -> float:
    """Return the rate that maximises the expected log-likelihood, the branching ratio following it."""
    if number < 1e-9:
        return before

    def cost(log_rate: float) -> float:
        rate = float(np.exp(log_rate))
        return rate * days - number * (np.log(_top(rate)) - np.log(max(design.mass(rate), 1e-300)))

    return float(np.exp(_better(cost, np.log(_SLOWEST), np.log(_FASTEST), np.log(before))))


def _distance(number: float, metres: float, before: float) -> float:
    if number < 1e-9:
        return before

    def cost(log_sigma: float) -> float:
        sigma = float(np.exp(log_sigma))
        return metres / sigma - number * np.log(space_top(sigma))

    return float(np.exp(_better(cost, np.log(PLACE), np.log(2 * REACH), np.log(before))))


def _better(cost: Callable[[float], float], low: float, high: float, before: float) -> float:
    """Return the minimiser between the bounds, or ``before`` where the search found nothing lower."""
    from scipy.optimize import minimize_scalar

    found = minimize_scalar(cost, bounds=(low, high), method="bounded", options={"xatol": 1e-6})
    return float(found.x) if found.fun <= cost(before) else before


def _standard_errors(design: Design, state: State) -> FloatArray:
    """Return the errors of weights, kappa, omega and sigma from the sum of squared scores, month factors held."""
    _, same, near, total = _intensity(design, state)
    number = len(total)

    def onto(pairs: IntArray, values: FloatArray) -> FloatArray:
        return np.bincount(pairs, weights=values, minlength=number).astype(np.float64)

    def delay(days: FloatArray, omega: float) -> FloatArray:
        return 1 / omega - WINDOW * np.exp(-omega * WINDOW) / -np.expm1(-omega * WINDOW) - days

    first, (later, days, metres) = design.same[0], design.near
    sigma = state.sigma
    ratio = REACH / sigma
    spread = -2 / sigma + metres / sigma**2 + ratio**2 * np.exp(-ratio) / (sigma * -_lost(sigma))
    gradient = [
        *(design.background * state.season[design.month][:, None]).T,
        onto(first, same) / max(state.kappa[0], 1e-300), onto(later, near) / max(state.kappa[1], 1e-300),
        onto(first, same * delay(design.same[1], state.omega[0])), onto(later, near * delay(days, state.omega[1])),
        onto(later, near * spread),
    ]  # fmt: skip
    values = np.r_[state.weights, state.kappa, state.omega, sigma]
    scores = np.array(gradient) / total * values[:, None]  # by the logarithm of each parameter, for scale
    information = scores @ scores.T
    used = np.diag(information) > 1.0
    limits = [(_SLOWEST, _FASTEST), (_SLOWEST, _FASTEST), (PLACE, 2 * REACH)]
    used[-3:] &= [1.01 * low < v < high / 1.01 for v, (low, high) in zip(values[-3:], limits, strict=True)]
    errors = np.full(len(values), np.nan)
    errors[used] = np.sqrt(np.diag(np.linalg.pinv(information[np.ix_(used, used)]))) * values[used]
    return errors


def earlier_pairs(
    xy: FloatArray, days: FloatArray, first: int, *, soonest: float, most: int, least: int
) -> tuple[int, IntArray, IntArray, FloatArray]:
    """Return (first used, targets, sources, metres) of the pairs within reach and window, the latest targets first.

    ``days`` (N,) ascend. Targets run from ``first`` on; where there would be more than ``most`` pairs, only the latest
    targets that fit are used, so memory is bounded. ``least`` targets are always tried.
    """
    from scipy.spatial import cKDTree

    found, number, stop = [], 0, len(days)
    step = 500
    while stop > first:
        begin = max(first, stop - step)
        old = int(np.searchsorted(days, days[begin] - soonest - WINDOW, side="right"))
        late, early = cKDTree(xy[begin:stop]), cKDTree(xy[old:stop])
        close = int(late.count_neighbors(early, REACH))
        if number + close > 4 * most and len(days) - stop >= least:
            break
        if close > DENSEST:
            raise MemoryError(close)
        pairs = late.sparse_distance_matrix(early, REACH, output_type="ndarray")
        target, source = pairs["i"] + begin, pairs["j"] + old
        age = days[target] - days[source]
        kept = (age > soonest) & (age < soonest + WINDOW)
        number += int(kept.sum())
        if number > most and len(days) - stop >= least:
            break
        found.append((target[kept], source[kept], pairs["v"][kept]))
        stop = begin
    joined = [np.concatenate(part) for part in zip(*found, strict=True)]
    return stop, joined[0].astype(np.int32), joined[1].astype(np.int32), joined[2]
