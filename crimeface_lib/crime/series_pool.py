"""The pool of simple models for monthly counts, each a weighted mean of the past.

So a gap is left out rather than filled, and all series and all past origins are worked out together.
"""

from __future__ import annotations

import numpy as np

from crimeface_lib.core.types import FloatArray, IntArray

#: Monthly decay of an exponentially weighted mean.
_DECAYS = (0.03, 0.06, 0.1, 0.15, 0.25, 0.4, 0.6)
#: Decay of the weights under a local line, and how fast its slope fades month by month.
_LINES = ((0.06, 0.9), (0.15, 0.9), (0.06, 1.0))
#: Words for the models, in the order of the pool.
FORECAST_MODELS = {
    "mean_12": "mean of 12 months",
    "seasonal_mean": "mean of the same month in 3 years",
    "croston_sba": "Croston's method for rare events, Syntetos and Boylan's correction",
    **{f"level_{d:g}": f"exponentially weighted mean, {d:.0%} a month" for d in _DECAYS},
    **{f"season_{d:g}": f"pooled season on an exponentially weighted mean, {d:.0%} a month" for d in _DECAYS},
    **{f"line_{d:g}_{f:g}": f"pooled season on a local line, {d:.0%} a month, slope kept {f:.0%}" for d, f in _LINES},
    **{f"theta_{d:g}_{f:g}": f"Theta: half level, half line, {d:.0%} a month, slope kept {f:.0%}" for d, f in _LINES},
}


def model_pool(values: FloatArray, calendar: IntArray, cuts: IntArray, horizon: int) -> dict[str, FloatArray]:
    """Return model → (O, H, S) expected counts for the months after each cut, from the rows of (T, S) before it."""
    known = np.isfinite(values).astype(float)
    filled = np.where(known > 0, values, 0.0)
    age = cuts[:, None] - 1 - np.arange(len(values))  # (O, T), below 0 where the month is still to come
    before = (age >= 0).astype(float)
    season = _season(values, calendar, cuts)  # (O, 12)
    adjusted = filled / season[:, calendar, None]  # (O, T, S)
    months = (calendar[0] + cuts[:, None] + np.arange(horizon)) % 12  # (O, H)
    ahead = np.take_along_axis(season, months, axis=1)[..., None]
    flat = np.ones((1, horizon, 1))

    def mean(weight: FloatArray, of: FloatArray = filled) -> FloatArray:
        """Return (O, S) means of (T, S) or (O, T, S) values under (O, T) weights."""
        total = weight @ of if of.ndim == 2 else np.matmul(weight[:, None], of)[:, 0]
        return np.divide(total, weight @ known, out=np.full(total.shape, np.nan), where=weight @ known > 1e-9)

    def mean_or(weight: FloatArray, other: FloatArray) -> FloatArray:
        found = mean(weight)
        return np.where(np.isnan(found), other, found)

    year = mean_or(before * (age < 12), mean(before))
    same = before[:, None] * (calendar == months[..., None]) * (age < 36)[:, None]  # (O, H, T)
    made = {
        "mean_12": flat * year[:, None],
        "seasonal_mean": np.stack([mean_or(same[:, h], year) for h in range(horizon)], axis=1),
        "croston_sba": flat * _croston(values, cuts)[:, None],
    }
    for decay in _DECAYS:
        weight = before * (1.0 - decay) ** np.maximum(age, 0)
        made[f"level_{decay:g}"] = flat * mean(weight)[:, None]
        made[f"season_{decay:g}"] = ahead * mean(weight, adjusted)[:, None]
    for decay, kept in _LINES:
        weight = before * (1.0 - decay) ** np.maximum(age, 0)
        level, at_end, slope = _line(weight[..., None] * known, adjusted, age)
        line = at_end[:, None] + slope[:, None] * np.cumsum(kept ** np.arange(1, horizon + 1))[:, None]
        made[f"line_{decay:g}_{kept:g}"] = np.maximum(line, 0.0) * ahead
        made[f"theta_{decay:g}_{kept:g}"] = np.maximum(level[:, None] / 2 + line / 2, 0.0) * ahead
    return made


def _line(weight: FloatArray, values: FloatArray, age: IntArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return (O, S) weighted mean, value now and slope a month of the straight lines through (O, T, S) values."""
    time = -age[..., None].astype(float)
    total = np.maximum(weight.sum(axis=1), 1e-12)
    centre, level = (weight * time).sum(axis=1) / total, (weight * values).sum(axis=1) / total
    off = time - centre[:, None]
    slope = (weight * off * (values - level[:, None])).sum(axis=1) / np.maximum((weight * off**2).sum(axis=1), 1e-9)
    return level, level - slope * centre, slope


def _season(values: FloatArray, calendar: IntArray, cuts: IntArray) -> FloatArray:
    """Return (O, 12) multiplicative season of all series together before each cut: the mean ratio to the year centred
    on a month, shrunk to 1 as if by one more year."""
    total = np.where(np.isfinite(values).all(axis=1), values.sum(axis=1), np.nan)
    known = np.isfinite(total)
    kernel = np.array([0.5, *[1.0] * 11, 0.5]) / 12
    if len(total) < len(kernel):
        return np.ones((len(cuts), 12))
    mass = np.convolve(known.astype(float), kernel, "same")
    trend = np.convolve(np.where(known, total, 0.0), kernel, "same") / np.maximum(mass, 1e-9)
    usable = known & (mass > 0.6) & (trend > 0)
    usable[:6] = usable[-6:] = False
    ratio = np.divide(total, trend, out=np.zeros(len(total)), where=usable)
    month = ((calendar[:, None] == np.arange(12)) & usable[:, None]).astype(float)  # (T, 12)
    seen = (np.arange(len(total)) < cuts[:, None] - 6).astype(float)  # the centred year must lie before the cut
    season = (seen @ (month * ratio[:, None]) + 1.0) / (seen @ month + 1.0)
    return np.maximum(season / season.mean(axis=1, keepdims=True), 0.05)


def _croston(values: FloatArray, cuts: IntArray, decay: float = 0.1) -> FloatArray:
    """Return (O, S) events a month before each cut: smoothed size over smoothed interval of the months that had any."""
    size = np.zeros(values.shape[1])
    gap, wait = np.ones(values.shape[1]), np.ones(values.shape[1])
    begun = np.zeros(values.shape[1], dtype=bool)
    rates = np.zeros((len(values) + 1, values.shape[1]))
    for t, row in enumerate(values):
        some = row > 0
        first, later = some & ~begun, some & begun
        size = np.where(first, row, np.where(later, size + decay * (row - size), size))
        gap = np.where(first, wait, np.where(later, gap + decay * (wait - gap), gap))
        wait = np.where(some, 1.0, np.where(np.isfinite(row), wait + 1.0, wait))
        begun |= some
        rates[t + 1] = (1 - decay / 2) * size / gap
    return rates[cuts]
