"""How well place models did on past months, beside the count baseline: ranking, level, and what is shown by neither."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from crimeface_lib.core.display import table_html
from crimeface_lib.core.errors import InputError
from crimeface_lib.core.random import Seed, make_rng
from crimeface_lib.core.results import Result, to_plain
from crimeface_lib.core.types import FloatArray, IntArray, Progress
from crimeface_lib.crime._history import DAY, History, read_history, reported, span
from crimeface_lib.crime._models import MODEL_NAMES, MODELS, run_model
from crimeface_lib.crime.events import Events
from crimeface_lib.crime.grid import Grid
from crimeface_lib.crime.places import caveats as place_caveats
from crimeface_lib.metrics.forecast import hit_rate

if TYPE_CHECKING:
    import pandas as pd

#: The model that each evaluation includes and each other model is compared with.
BASELINE = "decayed_counts"
CURVE = tuple(np.arange(1, 21) / 100)  # shares of the area at which the hit-rate curve is drawn
_BINS = 10
_FLOOR = 0.01  # share of the events spread evenly before a deviance is taken, so that no cell is impossible
_ONLY_PAST = (
    "The models beside the baseline are compared on past months only; which one a forecast may use, its DPIA says."
)


@dataclass(frozen=True, slots=True)
class PlaceEvaluation(Result):
    """How well models ranked places at each cut-off, and on average against the baseline.

    Parameters
    ----------
    scores : rows of cutoff, model, area, events, hit_rate, pai, pei.
    summary : per model and area the mean PAI, PEI and hit rate with bootstrap intervals over the cut-offs, and the
        paired difference of PAI to the baseline with its interval.
    skipped : cut-offs that could not be scored, with the reason.
    curves : per model and share of the area (1 to 20 %) the mean hit rate with its interval, and the paired difference.
    calibration : per model ten bins of cells with equal expected events: cells, expected and observed events, their
        ratio with its interval.
    levels : per model expected and observed events, their ratio with its interval; the paired difference of the Poisson
        deviance per event to the baseline's (lower is better); and ``dispersion``, by how much counts vary more than a
        Poisson law with these means would have it.
    """

    scores: pd.DataFrame = field(repr=False)
    summary: pd.DataFrame
    baseline: str
    horizon: str
    confidence: float
    skipped: dict[str, str]
    caveats: tuple[str, ...]
    curves: pd.DataFrame = field(repr=False)
    calibration: pd.DataFrame = field(repr=False)
    levels: pd.DataFrame = field(repr=False)

    def to_frame(self) -> pd.DataFrame:
        """The summary."""
        return self.summary

    def to_dict(self) -> dict[str, Any]:
        return {
            "summary": to_plain(self.summary), "scores": to_plain(self.scores), "baseline": self.baseline,
            "horizon": self.horizon, "confidence": self.confidence, "skipped": self.skipped,
            "caveats": list(self.caveats), "curves": to_plain(self.curves),
            "calibration": to_plain(self.calibration), "levels": to_plain(self.levels),
        }  # fmt: skip

    def in_words(self, *, area: float = 0.05) -> str:
        """Return, for one share of the area, the baseline's PAI and what each other model adds to it."""
        rows = self.summary[np.isclose(self.summary["area"], area)].set_index("model")
        base = rows.loc[self.baseline]
        said = [
            f"in {area:.0%} of the area the baseline ({MODEL_NAMES[self.baseline]}) found {base.pai:.1f} times as many "
            f"events as chance (PAI, 95 % interval {base.pai_low:.1f} to {base.pai_high:.1f})"
        ]
        said += [
            f"{MODEL_NAMES[name]} reached {row.difference:+.2f} against it "
            f"({row.difference_low:+.2f} to {row.difference_high:+.2f})"
            for name, row in rows.drop(index=self.baseline).iterrows()
        ]
        return "; ".join(said).replace("-", "−") + "."

    def calibration_in_words(self, *, model: str | None = None) -> str:
        """Return how far the expected events of a model (the baseline's by default) were from those that came."""
        row = self.levels.set_index("model").loc[model or self.baseline]
        return (
            f"For each event that {MODEL_NAMES[row.name]} expected, {row.ratio:.2f} came "
            f"({row.ratio_low:.2f} to {row.ratio_high:.2f}); counts per cell varied {row.dispersion:.2f} times as much "
            "as a Poisson law with these means would have it."
        )

    def _repr_html_(self) -> str:
        table = table_html(self.summary.round(3))
        return f"{table}<p>{self.calibration_in_words()}</p>"


def evaluate_places(
    events: Events,
    grid: Grid,
    *,
    cutoffs: Iterable[object],
    horizon: str,
    models: Sequence[str] = (BASELINE, "counts"),
    settings: Mapping[str, Mapping[str, float]] | None = None,
    areas: Sequence[float] = (0.01, 0.05, 0.10),
    police_discovered: bool = False,
    confidence: float = 0.95,
    resamples: int = 2000,
    rng: Seed = None,
    progress: Progress | None = None,
) -> PlaceEvaluation:
    """Predict at each cut-off from what was known then, and score against what followed (rolling origin).

    The decayed-count baseline is always included. Intervals are percentiles over resampled cut-offs, the same ones for
    a model and the baseline; with few cut-offs they are too narrow rather than too wide.

    Parameters
    ----------
    settings : per model settings other than its own, as ``tune_places`` chose them; never for the baseline.
    progress : called with how many cut-offs are done, and of how many.

    Raises
    ------
    InputError : fewer than 2 cut-offs that can be scored; the message says why the others can't.
    """
    import pandas as pd

    names = list(dict.fromkeys([BASELINE, *models]))
    if unknown := [n for n in names if n not in MODELS]:
        raise InputError(f"models: got {', '.join(unknown)}, expected some of: {', '.join(MODELS)}")
    if BASELINE in (settings or {}):
        raise InputError(f"settings: got some for the baseline {BASELINE!r}, expected them for other models only")
    chosen = {name: (name, dict((settings or {}).get(name, {}))) for name in names}
    kept, excluded = reported(events, police_discovered=police_discovered)
    trial = play_back(read_history(kept, grid), kept, cutoffs=cutoffs, horizon=horizon, runs=chosen, progress=progress)
    shares = sorted({*areas, *CURVE})
    every = score_rows(trial, shares)
    resampled = Resampled(len(trial.happened), resamples, confidence, rng)
    curves = [
        row
        for area, group in every.groupby("area")
        if np.isclose(area, CURVE).any()
        for row in _compare(group.pivot(index="cutoff", columns="model", values="hit_rate")[names], resampled, area)
    ]
    scores = every[[any(np.isclose(a, areas)) for a in every["area"]]].reset_index(drop=True)
    return PlaceEvaluation(
        scores=scores,
        summary=_summarise(scores, names, resampled),
        baseline=BASELINE,
        horizon=horizon,
        confidence=confidence,
        skipped=trial.skipped,
        caveats=(*place_caveats(kept, excluded), _ONLY_PAST),
        curves=pd.DataFrame(curves),
        calibration=_calibration(trial, names, resampled),
        levels=_levels(trial, names, resampled),
    )


@dataclass(frozen=True, slots=True)
class Trial:
    """What was predicted and what happened: per cut-off (C,) events, and per run its (C,) expected events."""

    labels: list[str]
    happened: list[IntArray]
    risks: dict[str, list[FloatArray]]
    skipped: dict[str, str]


def play_back(
    history: History,
    events: Events,
    *,
    cutoffs: Iterable[object],
    horizon: str,
    runs: Mapping[str, tuple[str, Mapping[str, float]]],
    progress: Progress | None = None,
) -> Trial:
    """Run each model (by name: model and settings) at each cut-off that can be scored.

    Raises
    ------
    InputError : fewer than 2 such cut-offs.
    """
    trial = Trial([], [], {name: [] for name in runs}, {})
    dates = list(cutoffs)
    for number, cutoff in enumerate(dates):
        if progress is not None:
            progress(number, len(dates))
        start, end = span(events, cutoff, horizon)
        label = str(start.astype("datetime64[D]"))
        if label in trial.labels:
            continue
        happened, past = history.count(start, end), history.before(start)
        if reason := _unscorable(history, past, start, end, happened):
            trial.skipped[label] = reason
            continue
        trial.labels.append(label)
        trial.happened.append(happened)
        for name, (model, settings) in runs.items():
            trial.risks[name].append(np.sum(list(run_model(model, past, end, settings).values()), axis=0))
    if progress is not None:
        progress(len(dates), len(dates))
    if len(trial.labels) < 2:
        raise InputError(
            f"cutoffs: got {len(trial.labels)} that can be scored, expected at least 2; skipped: {trial.skipped}"
        )
    return trial


def _unscorable(history: History, past: History, start: np.datetime64, end: np.datetime64, happened: IntArray) -> str:
    """Return why a horizon can't be scored, or nothing."""
    if len(past.cell) == 0 or not (past.months[:, 1] <= start).any():
        return "no month of data before it"
    if not history.covers(start, end) or (not history.by_month and history.start.max() + DAY < end):
        return "a part of the horizon is missing from the data"
    return "" if happened.sum() else "no event in the horizon"


def score_rows(trial: Trial, areas: Sequence[float]) -> pd.DataFrame:
    """Return rows of cutoff, model, area, events, hit_rate, pai, pei."""
    import pandas as pd

    rows = []
    for k, (label, happened) in enumerate(zip(trial.labels, trial.happened, strict=True)):
        best = {area: hit_rate(happened, happened, area=area) for area in areas}
        for name, risks in trial.risks.items():
            for area in areas:
                rate = hit_rate(risks[k], happened, area=area)
                rows.append((label, name, area, int(happened.sum()), rate, rate / area, rate / best[area]))
    return pd.DataFrame(rows, columns=["cutoff", "model", "area", "events", "hit_rate", "pai", "pei"])


class Resampled:
    """Percentile intervals over resampled cut-offs: the same draws for every model, so that differences are paired."""

    def __init__(self, number: int, resamples: int, confidence: float, rng: Seed) -> None:
        self.draw = make_rng(rng, stream="evaluate_places").integers(number, size=(resamples, number))
        self.tails = [(1 - confidence) / 2, (1 + confidence) / 2]

    def mean(self, values: FloatArray) -> tuple[float, float]:
        low, high = np.quantile(values[self.draw].mean(axis=1), self.tails)
        return float(low), float(high)

    def ratio(self, above: FloatArray, below: FloatArray) -> tuple[float, float]:
        sums = below[self.draw].sum(axis=1)
        ratios = np.divide(above[self.draw].sum(axis=1), sums, out=np.full(len(sums), np.nan), where=sums > 0)
        low, high = np.nanquantile(ratios, self.tails) if np.isfinite(ratios).any() else (np.nan, np.nan)
        return float(low), float(high)


def _compare(wide: pd.DataFrame, resampled: Resampled, area: float) -> list[dict[str, Any]]:
    rows = []
    for name in wide:
        values = wide[name].to_numpy()
        difference = values - wide[BASELINE].to_numpy()
        low, high = resampled.mean(values)
        worse, better = resampled.mean(difference)
        row = {"model": name, "area": area, "hit_rate": values.mean(), "low": low, "high": high}
        rows.append(row | {"difference": difference.mean(), "difference_low": worse, "difference_high": better})
    return rows


def _summarise(scores: pd.DataFrame, names: list[str], resampled: Resampled) -> pd.DataFrame:
    import pandas as pd

    rows = []
    for area, group in scores.groupby("area"):
        means = group.groupby("model")[["hit_rate", "pei"]].mean()
        wide = group.pivot(index="cutoff", columns="model", values="pai")[names]
        for row in _compare(wide, resampled, float(area)):
            name, low, high = row["model"], row["difference_low"], row["difference_high"]
            rows.append({
                "model": name, "area": area, "cutoffs": len(wide),
                "pai": row["hit_rate"], "pai_low": row["low"], "pai_high": row["high"],
                "pei": means.loc[name, "pei"], "hit_rate": means.loc[name, "hit_rate"],
                "difference": row["difference"], "difference_low": low, "difference_high": high,
                "against_baseline": verdict(name, low, high),
            })  # fmt: skip
    return pd.DataFrame(rows)


def verdict(name: str, low: float, high: float) -> str:
    """Return what the paired interval lets one say."""
    if name == BASELINE:
        return "baseline"
    return "above" if low > 0 else "below" if high < 0 else "no difference shown"


def _calibration(trial: Trial, names: list[str], resampled: Resampled) -> pd.DataFrame:
    """Return the reliability table: cells sorted by expected events into bins that expect about the same number."""
    import pandas as pd

    rows, cells = [], len(trial.happened[0])
    happened = np.concatenate(trial.happened)
    which = np.repeat(np.arange(len(trial.labels)), cells)
    for name in names:
        risk = np.concatenate(trial.risks[name])
        order = np.argsort(risk, kind="stable")
        bins = np.empty(len(risk), dtype=np.int64)
        reached = np.cumsum(risk[order])
        bins[order] = np.minimum((reached - risk[order] / 2) / reached[-1] * _BINS, _BINS - 1).astype(np.int64)
        for k in np.unique(bins):
            used = bins == k
            sums = [np.bincount(which[used], weights=v[used], minlength=len(trial.labels)) for v in (happened, risk)]
            low, high = resampled.ratio(sums[0].astype(np.float64), sums[1].astype(np.float64))
            expected, observed = float(risk[used].sum()), int(happened[used].sum())
            rows.append({
                "model": name, "bin": int(k) + 1, "cells": int(used.sum()), "expected": expected, "observed": observed,
                "ratio": observed / expected if expected > 0 else np.nan, "ratio_low": low, "ratio_high": high,
            })  # fmt: skip
    return pd.DataFrame(rows)


def _levels(trial: Trial, names: list[str], resampled: Resampled) -> pd.DataFrame:
    import pandas as pd

    observed = np.array([h.sum() for h in trial.happened], dtype=np.float64)
    deviances = {
        name: np.array([_deviance(h, r) for h, r in zip(trial.happened, trial.risks[name], strict=True)])
        for name in names
    }
    rows = []
    for name in names:
        expected = np.array([r.sum() for r in trial.risks[name]])
        low, high = resampled.ratio(observed, expected)
        square = sum(((h - r) ** 2).sum() for h, r in zip(trial.happened, trial.risks[name], strict=True))
        difference = (deviances[name] - deviances[BASELINE]) / observed
        better, worse = resampled.mean(difference)
        rows.append({
            "model": name, "expected": float(expected.sum()), "observed": int(observed.sum()),
            "ratio": float(observed.sum() / expected.sum()), "ratio_low": low, "ratio_high": high,
            "deviance": float(deviances[name].sum() / observed.sum()), "deviance_difference": float(difference.mean()),
            "deviance_low": better, "deviance_high": worse, "dispersion": float(square / expected.sum()),
        })  # fmt: skip
    return pd.DataFrame(rows)


def _deviance(happened: IntArray, risk: FloatArray) -> float:
    """Return the Poisson deviance, a hundredth of the expected events spread evenly over all cells first."""
    mean = (1 - _FLOOR) * risk + _FLOOR * risk.mean()
    hit = happened > 0
    logs = happened[hit] * np.log(happened[hit] / mean[hit])
    return float(2 * (logs.sum() - (happened - mean).sum()))
