"""Where events may happen next, and how well such predictions did: places, never persons."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from crimeface_lib.core.errors import InputError
from crimeface_lib.core.random import Seed, make_rng
from crimeface_lib.core.results import Result, to_plain
from crimeface_lib.core.types import FloatArray, IntArray
from crimeface_lib.crime._history import DAY, History, read_history, reported, span
from crimeface_lib.crime._models import MODEL_NAMES, MODELS
from crimeface_lib.crime.events import Events, refuse_person_columns
from crimeface_lib.crime.grid import Grid
from crimeface_lib.crime.hotspot import top_cells
from crimeface_lib.metrics.forecast import hit_rate

if TYPE_CHECKING:
    import geopandas as gpd
    import pandas as pd

#: The model that each evaluation includes and each other model is compared with.
BASELINE = "decayed_counts"
PLACE_CAVEATS = (
    "It ranks places; the level is that of the past, with no season in it.",
    "A forecast of recorded events by place: it says nothing about any person and instructs no patrol.",
    "Recorded events follow reporting and policing: acting on a forecast changes the data that make the next one.",
)


@dataclass(frozen=True, slots=True)
class PlaceRisk(Result):
    """Expected events per cell in the horizon.

    Parameters
    ----------
    risk : (C,) expected events, in the grid's row order.
    contributions : frame (C rows) with ``recency`` (the cell's last quarter), ``long_term`` (the cell before that) and
        ``neighbours``; they sum to ``risk``.
    excluded : crime types left out, because they are found by policing.
    """

    risk: FloatArray = field(repr=False)
    contributions: pd.DataFrame = field(repr=False)
    model: str
    at: str
    horizon: str
    excluded: tuple[str, ...]
    caveats: tuple[str, ...]
    grid: Grid = field(repr=False)

    def to_geo(self) -> gpd.GeoDataFrame:
        """Every cell with its risk and the parts of it, for a map."""
        return self.grid.cells.assign(
            risk=self.risk, **{c: self.contributions[c].to_numpy() for c in self.contributions}
        )

    def to_frame(self, *, cells: int = 20) -> pd.DataFrame:
        """The riskiest cells: place, expected events, and where the expectation comes from."""
        top = np.argsort(-self.risk, kind="stable")[:cells]
        table = self.contributions.iloc[top].reset_index(drop=True)
        centres = self.grid.centres()[top]
        for position, (name, values) in enumerate(
            [("cell", top), ("x", centres[:, 0]), ("y", centres[:, 1]), ("risk", self.risk[top])]
        ):
            table.insert(position, name, values)
        return table

    def top(self, *, share: float) -> IntArray:
        """Return the riskiest cells, ``share`` of all, riskiest first."""
        return top_cells(self.risk, share=share)

    def to_dict(self) -> dict[str, Any]:
        return {
            "model": self.model, "at": self.at, "horizon": self.horizon, "expected_events": float(self.risk.sum()),
            "cells": len(self.risk), "excluded": list(self.excluded), "caveats": list(self.caveats),
            "top": to_plain(self.to_frame()),
        }  # fmt: skip

    def _repr_html_(self) -> str:
        notes = "".join(f"<li>{c}</li>" for c in self.caveats)
        table = self.to_frame(cells=10).round(3).to_html(index=False, border=0, classes="cf-table")
        return (
            f"<p><b>{self.risk.sum():.1f} events expected</b> in {self.horizon} from {self.at}, model {self.model}; "
            f"the ten cells with most:</p>{table}<ul>{notes}</ul>"
        )


def predict_places(
    events: Events, grid: Grid, *, at: object, horizon: str, model: str = "counts", police_discovered: bool = False
) -> PlaceRisk:
    """Expected events per cell from ``at`` to the end of the horizon, from the events before ``at`` only.

    Parameters
    ----------
    at : cut-off, e.g. "2021-01" or a date; the first of a month where the events know only their month.
    horizon : "30D", "2W" or "1M" (days, weeks, calendar months); whole months where the events know only those.
    model : "decayed_counts" (five years, exp(-age / 2 years): the baseline), "counts" (one year), "kde" (one year,
        300 m), "glm" (Poisson on decayed counts at several scales in time and space).
    police_discovered : include drugs, weapons and stop and search, whose counts follow patrols.

    Raises
    ------
    InputError : an unknown model, a horizon finer than the data, or no data before ``at``.
    RefusedError : a column about persons.
    """
    import pandas as pd

    if model not in MODELS:
        raise InputError(f"model: got {model!r}, expected one of: {', '.join(MODELS)}")
    refuse_person_columns(events.frame.columns, where="predict_places")
    start, end = span(events, at, horizon)
    events, excluded = reported(events, police_discovered=police_discovered)
    history = read_history(events, grid).before(start)
    if len(history.cell) == 0:
        raise InputError(f"at: got {start}, but no event in the grid lies before it; the data start {events.months[0]}")
    parts = MODELS[model](history, end)
    return PlaceRisk(
        risk=np.sum(list(parts.values()), axis=0),
        contributions=pd.DataFrame(parts),
        model=model,
        at=str(start.astype("datetime64[D]")),
        horizon=horizon,
        excluded=excluded,
        caveats=_caveats(events, excluded, start),
        grid=grid,
    )


def _caveats(events: Events, excluded: tuple[str, ...], start: np.datetime64 | None = None) -> tuple[str, ...]:
    caveats = [*PLACE_CAVEATS]
    if excluded:
        caveats.append(f"Left out, because they are found by policing rather than reported: {', '.join(excluded)}.")
    missing = events.months[events.completeness.isna().any().to_numpy()]
    gaps = [str(m) for m in missing if start is None or m.start_time < start]
    if gaps:
        caveats.append(
            f"Months missing from the data, left out of the rates rather than counted as quiet: {', '.join(gaps)}."
        )
    if start is not None and events.months[-1].end_time < start - DAY:
        caveats.append(f"The data end {events.months[-1]}, before the cut-off: the latest months are unknown.")
    return tuple(caveats)


@dataclass(frozen=True, slots=True)
class PlaceEvaluation(Result):
    """How well models ranked places at each cut-off, and on average against the baseline.

    Parameters
    ----------
    scores : rows of cutoff, model, area, events, hit_rate, pai, pei.
    summary : per model and area the mean PAI, PEI and hit rate with bootstrap intervals over the cut-offs, and the
        paired difference of PAI to the baseline with its interval.
    skipped : cut-offs that could not be scored, with the reason.
    """

    scores: pd.DataFrame = field(repr=False)
    summary: pd.DataFrame
    baseline: str
    horizon: str
    confidence: float
    skipped: dict[str, str]
    caveats: tuple[str, ...]

    def to_frame(self) -> pd.DataFrame:
        """The summary."""
        return self.summary

    def to_dict(self) -> dict[str, Any]:
        return {
            "summary": to_plain(self.summary), "scores": to_plain(self.scores), "baseline": self.baseline,
            "horizon": self.horizon, "confidence": self.confidence, "skipped": self.skipped,
            "caveats": list(self.caveats),
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

    def _repr_html_(self) -> str:
        return self.summary.round(3).to_html(index=False, border=0, classes="cf-table")


def evaluate_places(
    events: Events,
    grid: Grid,
    *,
    cutoffs: Iterable[object],
    horizon: str,
    models: Sequence[str] = (BASELINE, "counts"),
    areas: Sequence[float] = (0.01, 0.05, 0.10),
    police_discovered: bool = False,
    confidence: float = 0.95,
    resamples: int = 2000,
    rng: Seed = None,
) -> PlaceEvaluation:
    """Predict at each cut-off from what was known then, and score against what followed (rolling origin).

    The decayed-count baseline is always included. Intervals are percentiles over resampled cut-offs, the same ones for
    a model and the baseline; with few cut-offs they are too narrow rather than too wide.

    Raises
    ------
    InputError : fewer than 2 cut-offs that can be scored; the message says why the others can't.
    """
    import pandas as pd

    names = list(dict.fromkeys([BASELINE, *models]))
    unknown = [n for n in names if n not in MODELS]
    if unknown:
        raise InputError(f"models: got {', '.join(unknown)}, expected some of: {', '.join(MODELS)}")
    kept, excluded = reported(events, police_discovered=police_discovered)
    rows, skipped = [], {}
    history = read_history(kept, grid)
    for cutoff in cutoffs:
        start, end = span(events, cutoff, horizon)
        label = str(start.astype("datetime64[D]"))
        happened, past = history.count(start, end), history.before(start)
        reason = _unscorable(history, past, start, end, happened)
        if reason:
            skipped[label] = reason
            continue
        for name in names:
            risk = np.sum(list(MODELS[name](past, end).values()), axis=0)
            for area in areas:
                rate = hit_rate(risk, happened, area=area)
                best = hit_rate(happened, happened, area=area)
                rows.append((label, name, area, int(happened.sum()), rate, rate / area, rate / best))
    scores = pd.DataFrame(rows, columns=["cutoff", "model", "area", "events", "hit_rate", "pai", "pei"])
    if scores["cutoff"].nunique() < 2:
        raise InputError(
            f"cutoffs: got {scores['cutoff'].nunique()} that can be scored, expected at least 2; skipped: {skipped}"
        )
    summary = _summarise(scores, names, confidence=confidence, resamples=resamples, rng=rng)
    return PlaceEvaluation(scores, summary, BASELINE, horizon, confidence, skipped, _caveats(kept, excluded))


def _unscorable(history: History, past: History, start: np.datetime64, end: np.datetime64, happened: IntArray) -> str:
    """Return why a horizon can't be scored, or nothing."""
    if len(past.cell) == 0 or not (past.months[:, 1] <= start).any():
        return "no month of data before it"
    if not history.covers(start, end) or (not history.by_month and history.start.max() + DAY < end):
        return "a part of the horizon is missing from the data"
    return "" if happened.sum() else "no event in the horizon"


def _summarise(scores: pd.DataFrame, names: list[str], *, confidence: float, resamples: int, rng: Seed) -> pd.DataFrame:
    import pandas as pd

    number = scores["cutoff"].nunique()
    draw = make_rng(rng, stream="evaluate_places").integers(number, size=(resamples, number))
    tails = [(1 - confidence) / 2, (1 + confidence) / 2]
    rows = []
    for area, group in scores.groupby("area"):
        wide = group.pivot(index="cutoff", columns="model", values="pai")[names]
        means = group.groupby("model")[["hit_rate", "pei"]].mean()
        for name in names:
            values = wide[name].to_numpy()
            difference = values - wide[BASELINE].to_numpy()
            low, high = np.quantile(values[draw].mean(axis=1), tails)
            worse, better = np.quantile(difference[draw].mean(axis=1), tails)
            row = {
                "model": name,
                "area": area,
                "cutoffs": number,
                "pai": values.mean(),
                "pai_low": low,
                "pai_high": high,
            }
            row |= {"pei": means.loc[name, "pei"], "hit_rate": means.loc[name, "hit_rate"]}
            row |= {"difference": difference.mean(), "difference_low": worse, "difference_high": better}
            rows.append(row | {"against_baseline": _verdict(name, worse, better)})
    return pd.DataFrame(rows)


def _verdict(name: str, low: float, high: float) -> str:
    if name == BASELINE:
        return "baseline"
    return "above" if low > 0 else "below" if high < 0 else "no difference shown"
