"""Where events may happen next, and how well such predictions did: places, never persons."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from crimeface_lib.core.display import list_html, table_html
from crimeface_lib.core.errors import InputError
from crimeface_lib.core.results import Result, to_plain
from crimeface_lib.core.types import FloatArray, IntArray
from crimeface_lib.crime._history import DAY, read_history, reported, span
from crimeface_lib.crime._models import MODELS, run_model
from crimeface_lib.crime.events import Events, refuse_person_columns
from crimeface_lib.crime.grid import Grid
from crimeface_lib.crime.hotspot import top_cells

if TYPE_CHECKING:
    import geopandas as gpd
    import pandas as pd

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
    settings: dict[str, float] = field(default_factory=dict)

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
            "model": self.model, "settings": self.settings, "at": self.at, "horizon": self.horizon,
            "expected_events": float(self.risk.sum()), "cells": len(self.risk), "excluded": list(self.excluded),
            "caveats": list(self.caveats), "top": to_plain(self.to_frame()),
        }  # fmt: skip

    def _repr_html_(self) -> str:
        table = table_html(self.to_frame(cells=10).round(3))
        return (
            f"<p><b>{self.risk.sum():.1f} events expected</b> in {self.horizon} from {self.at}, model {self.model}; "
            f"the ten cells with most:</p>{table}{list_html(self.caveats)}"
        )


def predict_places(
    events: Events,
    grid: Grid,
    *,
    at: object,
    horizon: str,
    model: str = "counts",
    settings: Mapping[str, float] | None = None,
    police_discovered: bool = False,
) -> PlaceRisk:
    """Expected events per cell from ``at`` to the end of the horizon, from the events before ``at`` only.

    Parameters
    ----------
    at : cut-off, e.g. "2021-01" or a date; the first of a month where the events know only their month.
    horizon : "30D", "2W" or "1M" (days, weeks, calendar months); whole months where the events know only those.
    model : "decayed_counts" (five years, exp(-age / 2 years): the baseline), "counts" (one year), "kde" (one year,
        300 m), "glm" (Poisson on decayed counts at several scales in time and space), "prohotspot", "retrospective"
        (the field's older grids), "self_exciting" (``fit_self_exciting``).
    settings : other than the model's own, such as ``{"tau": 3.0}`` (years); ``tune_places`` compares them.
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
    parts = run_model(model, history, end, settings)
    return PlaceRisk(
        risk=np.sum(list(parts.values()), axis=0),
        contributions=pd.DataFrame(parts),
        model=model,
        at=str(start.astype("datetime64[D]")),
        horizon=horizon,
        excluded=excluded,
        caveats=caveats(events, excluded, start),
        grid=grid,
        settings=dict(settings or {}),
    )


def caveats(events: Events, excluded: tuple[str, ...], start: np.datetime64 | None = None) -> tuple[str, ...]:
    """Return what must be said beside a forecast or an evaluation of these events."""
    said = [*PLACE_CAVEATS]
    if excluded:
        said.append(f"Left out, because they are found by policing rather than reported: {', '.join(excluded)}.")
    missing = events.months[events.completeness.isna().any().to_numpy()]
    gaps = [str(m) for m in missing if start is None or m.start_time < start]
    if gaps:
        said.append(
            f"Months missing from the data, left out of the rates rather than counted as quiet: {', '.join(gaps)}."
        )
    if start is not None and events.months[-1].end_time < start - DAY:
        said.append(f"The data end {events.months[-1]}, before the cut-off: the latest months are unknown.")
    return tuple(said)
