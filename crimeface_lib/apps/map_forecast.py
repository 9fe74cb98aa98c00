"""The forecast on the crime map: under an approved DPIA only, through the gate and the log that notebooks use."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from crimeface_lib.apps.map_data import CellMonths
from crimeface_lib.apps.map_layers import Layer, scale_top
from crimeface_lib.apps.page import bullets
from crimeface_lib.core.errors import InputError, RefusedError
from crimeface_lib.core.types import BoolArray
from crimeface_lib.crime import (
    MODEL_NAMES,
    MODEL_VERSION,
    SYNTHETIC_ATTRIBUTION,
    PlaceEvaluation,
    PlaceRisk,
    evaluate_places,
    predict_places,
    reported,
)
from crimeface_lib.crime.place_evaluation import BASELINE
from crimeface_lib.crime.places import PLACE_CAVEATS
from crimeface_lib.reporting import format_count, format_percent, horizon_in_words
from crimeface_lib.reporting.maps import format_amount

if TYPE_CHECKING:
    from crimeface_lib.apps.session import Session
    from crimeface_lib.governance import Permit
    from crimeface_lib.workflow.apps_config import CrimeMapSection

_TRIED = 6  # past months
_SHARE = 0.05  # of the cells, of which it is said how much they held
_PARTS = {
    "recency": "this cell, last quarter",
    "long_term": "this cell, before that",
    "neighbours": "cells nearby",
}
_SAYS = "It counts records by place: it says nothing about any person, and tells nobody where to go."


@dataclass(frozen=True, slots=True)
class MapForecast:
    """Expected records per cell, the permit they were made under, and what past months say of such forecasts."""

    risk: PlaceRisk
    permit: Permit
    tried: str

    def layer(self, inside: BoolArray) -> Layer:
        """Return what the map draws."""
        values = np.where(inside, self.risk.risk, np.nan)
        return Layer(values, "expected records per cell", self.said, scale_top(values))

    @property
    def said(self) -> str:
        """How to read it."""
        return (
            f"Records expected in {self.when}, by {self.model}, from all months of the data: "
            f"{format_count(self.risk.risk.sum())} on the whole map. "
            f"DPIA {self.permit.dpia} covers it until {self.permit.review_by}."
        )

    @property
    def model(self) -> str:
        """What the model is called in sentences."""
        return MODEL_NAMES[self.risk.model]

    @property
    def when(self) -> str:
        """The time ahead: a month by its name, else how long from when."""
        if self.risk.horizon == "1M":
            return f"{pd.Period(self.risk.at, 'M'):%b %Y}"
        return f"{horizon_in_words(self.risk.horizon)} from {self.risk.at}"

    @property
    def limits(self) -> tuple[str, ...]:
        """What it can't say."""
        return tuple(_SAYS if one == PLACE_CAVEATS[1] else one for one in self.risk.caveats)

    def limits_html(self) -> str:
        """Return what past months say of it, and what it can't say."""
        return f"<h3>About this forecast</h3><p>{escape(self.tried)}</p>{bullets(self.limits)}"

    def parts_html(self, cell: int) -> str:
        """Return where the expectation of a cell comes from, as a table with bars."""
        whole = float(self.risk.risk[cell])
        if whole <= 0:
            return '<p class="cf-note">Nothing is expected here: no record led to it.</p>'
        rows = "".join(
            f'<tr><th scope="row">{words}</th><td class="num">{format_amount(value)}</td>'
            f'<td><span class="cf-part"><i style="width:{100 * value / whole:.0f}%"></i></span></td></tr>'
            for name, words in _PARTS.items()
            if (value := float(self.risk.contributions[name].iloc[cell])) or name != "neighbours"
        )
        caption = f"{format_amount(whole)} records expected in {self.when}"
        head = "<th scope=col>made up of</th><th class=num scope=col>expected</th><th scope=col>share</th>"
        return (
            f'<table class="cf-table cf-parts"><caption>{caption}</caption>'
            f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
        )


def make_forecast(session: Session, data: CellMonths, kind: str | None, *, config: CrimeMapSection) -> MapForecast:
    """Return the forecast of the horizon after the last month, if an approved DPIA covers it.

    Parameters
    ----------
    kind : a type; None takes all but those found by policing.

    Raises
    ------
    RefusedError : nobody is signed in, the role doesn't permit it, or no DPIA covers it; nothing was computed, and the
        refusal is in the audit log. InputError : a type found by policing, or a horizon finer than the data.
    """
    from crimeface_lib.governance import Use
    from crimeface_lib.workflow.demo import CRIMES, PURPOSE
    from crimeface_lib.workflow.gated import check_dataset, run_under_permit

    store, user = session.require("place_prediction")
    events = data.events if kind is None else data.events.select(types=[kind])
    try:
        reported(events)
    except InputError as error:
        raise InputError(
            f"{kind} is found by policing rather than reported: its counts follow where officers are. No forecast is "
            "made of it; choose another type"
        ) from error
    purpose, dataset = (PURPOSE, CRIMES) if session.demonstration else (config.purpose, config.dataset)
    check_dataset(dataset, events)
    if events.attribution == SYNTHETIC_ATTRIBUTION and not dataset.startswith("synthetic-"):
        raise RefusedError(
            f"dataset: these events are the synthetic sample, not {dataset!r}; open the demonstration to forecast the "
            "sample, or put your own data into the folder apps/crime"
        )
    permit = store.gate.check(Use("place_prediction", purpose, dataset, config.model, MODEL_VERSION, user.id))
    at = str(events.months[-1] + 1)
    options = {"horizon": config.horizon, "inputs": [data.sha256]}
    risk = run_under_permit(store, permit, predict_places, events, data.grid, at=at, model=config.model, **options)
    try:
        past = [str(month) for month in events.months[-_TRIED:]]
        models = [config.model, BASELINE, "counts"]
        found = run_under_permit(
            store, permit, evaluate_places, events, data.grid, cutoffs=past, models=models, rng=0, **options
        )
        tried = _in_words(found, config.model)
    except InputError:
        tried = "There are too few whole months to try it on the past: how good it is isn't known."
    return MapForecast(risk, permit, tried)


def _in_words(found: PlaceEvaluation, model: str) -> str:
    """Return how much of what followed lay where the model, the baseline and a year's counts pointed."""
    table = found.summary[np.isclose(found.summary["area"], _SHARE)].set_index("model")
    others = {BASELINE: f"the baseline, {MODEL_NAMES[BASELINE]}", "counts": "counting the last year alone"}
    held = [f"{words}: {format_percent(table['hit_rate'][name], digits=0)}" for name, words in others.items()
            if name != model]  # fmt: skip
    first, times = table["hit_rate"][model], table["pai"][model]
    return (
        f"Tried on {found.scores['cutoff'].nunique()} past months: the {_SHARE:.0%} of cells that it ranked highest "
        f"held {format_percent(first, digits=0)} of the records that followed, {times:.1f} times their share. "
        f"To compare, {'; '.join(held)}."
    )
