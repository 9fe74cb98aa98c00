"""Place models: from the events before a cut-off to expected events per cell, in additive parts.

Every model sees the months that all forces published, and divides by the time they cover: a gap is not a quiet month.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from inspect import signature

import numpy as np

from crimeface_lib.core.errors import InputError
from crimeface_lib.core.types import FloatArray
from crimeface_lib.crime._history import DAY, YEAR, History, Parts, spread, step_back
from crimeface_lib.crime._prohotspot import prohotspot, retrospective
from crimeface_lib.crime.hotspot import gaussian_surface
from crimeface_lib.crime.self_exciting import self_exciting

#: Of all place models; model cards and DPIAs name it.
MODEL_VERSION = "1"
#: What figures and sentences call the models.
MODEL_NAMES = {
    "decayed_counts": "decayed counts of five years",
    "counts": "counts of one year",
    "kde": "kernel density, 300 m",
    "glm": "Poisson regression",
    "prohotspot": "prospective hotspots",
    "retrospective": "retrospective hotspots",
    "self_exciting": "self-exciting process",
}
#: Made of days: refused on events that know only their month.
NEED_TIMES = ("prohotspot", "self_exciting")
_HISTORY_YEARS = 5.0
_TRAINING_CUTOFFS = 6


def counts(history: History, end: np.datetime64, *, years: float = 1.0) -> Parts:
    """Events of the last year, per cell, scaled to the horizon."""
    recent, older = history.rate(tau=np.inf, window=years * YEAR)
    days = (end - history.at) / DAY
    return {"recency": recent * days, "long_term": older * days, "neighbours": np.zeros(len(history.grid))}


def decayed_counts(history: History, end: np.datetime64, *, tau: float = 2.0, years: float = 5.0) -> Parts:
    """Events of five years weighted exp(-age / 2 years): the baseline that others must beat."""
    recent, older = history.rate(tau=tau * YEAR, window=years * YEAR)
    days = (end - history.at) / DAY
    return {"recency": recent * days, "long_term": older * days, "neighbours": np.zeros(len(history.grid))}


def kde(history: History, end: np.datetime64, *, bandwidth: float = 300.0, years: float = 1.0) -> Parts:
    """Gaussian smoothing of the last year, 300 m; the part from other cells is told apart."""
    weight, exposure = history.weights(tau=np.inf, window=years * YEAR)
    grid = history.grid
    used = weight > 0
    xy, cell, recent = history.xy[used], history.cell[used], history.recent()[used]
    surface, corrected = gaussian_surface(xy, weight[used], grid, bandwidth=bandwidth, edge=True)
    scale = grid.cell**2 / exposure * ((end - history.at) / DAY)
    square = ((xy - grid.centres()[cell]) ** 2).sum(axis=1)
    own = corrected * np.exp(-square / (2 * bandwidth**2)) / (2 * np.pi * bandwidth**2)
    parts = [np.bincount(cell, weights=own * side, minlength=len(grid)) * scale for side in (recent, ~recent)]
    neighbours = np.maximum(surface * scale - parts[0] - parts[1], 0.0)
    return {"recency": parts[0], "long_term": parts[1], "neighbours": neighbours}


def glm(history: History, end: np.datetime64) -> Parts:
    """Poisson regression with identity link and weights that are not negative, on decayed counts at several scales.

    The weights are fitted at six earlier cut-offs, one horizon apart; the prediction is a sum, so its parts are exact.
    """
    rows, targets = [], []
    for k in range(1, _TRAINING_CUTOFFS + 1):
        start, stop = step_back(history.at, end, k), step_back(history.at, end, k - 1)
        past = history.before(start)
        if len(past.cell) and history.covers(start, stop) and (past.months[:, 1] <= start).any():
            rows.append(_features(past, stop)[0])
            targets.append(history.count(start, stop))
    if not rows:
        raise InputError(f"at: no whole horizon before {history.at} to fit 'glm' on; use model='decayed_counts'")
    weight = fit_mixture(np.vstack(rows), np.concatenate(targets))
    features, part = _features(history, end)
    return {name: features[:, part == name] @ weight[part == name] for name in ("recency", "long_term", "neighbours")}


def _features(history: History, end: np.datetime64) -> tuple[FloatArray, np.ndarray]:
    """Return (C, F) expected events in the horizon by each scale alone, and which part each belongs to."""
    window = _HISTORY_YEARS * YEAR
    own = [np.add(*history.rate(tau=t * YEAR, window=window)) for t in (0.25, 1.0, 2.0, 5.0)]
    near = [spread(history.grid, own[1], m) for m in (300.0, 600.0)]
    wide = spread(history.grid, own[2], 1500.0)
    names = np.array(["recency", "long_term", "long_term", "long_term", "neighbours", "neighbours", "neighbours"])
    return np.column_stack([*own, *near, wide]) * ((end - history.at) / DAY), names


def fit_mixture(features: FloatArray, target: FloatArray, *, rounds: int = 500) -> FloatArray:
    """Return the (F,) weights >= 0 that maximise the Poisson likelihood of ``target`` with mean ``features @ weights``.

    Expectation-maximisation (Shepp & Vardi 1982): each round raises the likelihood; fitted and observed totals agree.
    Rows without any feature tell nothing about the weights and are left out.
    """
    used = features.sum(axis=1) > 0
    features, target = features[used], target[used]
    total = np.maximum(features.sum(axis=0), 1e-300)
    weight = np.full(features.shape[1], target.sum() / max(features.sum(), 1e-300))
    hit = target > 0  # other rows add nothing to the numerator
    there, happened = features[hit], target[hit]
    for _ in range(rounds):
        mean = np.maximum(there @ weight, 1e-300)
        weight = weight * (there.T @ (happened / mean)) / total
    return weight


MODELS: dict[str, Callable[..., Parts]] = {
    "decayed_counts": decayed_counts,
    "counts": counts,
    "kde": kde,
    "glm": glm,
    "prohotspot": prohotspot,
    "retrospective": retrospective,
    "self_exciting": self_exciting,
}


def run_model(model: str, history: History, end: np.datetime64, settings: Mapping[str, float] | None = None) -> Parts:
    """Return the model's parts, with settings other than its own where some are given.

    Raises
    ------
    InputError : a setting that the model lacks, or one that is not above 0.
    """
    function, given = MODELS[model], dict(settings or {})
    known = [name for name, p in signature(function).parameters.items() if p.kind is p.KEYWORD_ONLY]
    if wrong := [f"{k}={v}" for k, v in given.items() if k not in known or not v > 0]:
        raise InputError(
            f"settings of {model!r}: got {', '.join(wrong)}, expected values above 0 of: {', '.join(known) or 'none'}"
        )
    return function(history, end, **given)
