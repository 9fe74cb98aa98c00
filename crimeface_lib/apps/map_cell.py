"""One cell of the crime map: its monthly history, its types, and where what is expected there comes from."""

from __future__ import annotations

import base64
from html import escape

import numpy as np
import pandas as pd

from crimeface_lib.apps.map_data import CellMonths
from crimeface_lib.apps.map_forecast import MapForecast
from crimeface_lib.apps.map_layers import ALL, Choice, Layer
from crimeface_lib.core.types import BoolArray
from crimeface_lib.reporting import format_count, html_table, monthly_series_figure
from crimeface_lib.reporting.maps import format_amount
from crimeface_lib.reporting.style import figure_png

_MOST = 6  # types of a cell that are named
ASK = '<p class="cf-note">Click a cell of the map, or choose one of the highest, to see its history.</p>'


def cell_html(data: CellMonths, cell: int, choice: Choice, forecast: MapForecast | None) -> str:
    """Return what is known of a cell: parts of the forecast where there is one, history, types in the months shown."""
    east, north = data.grid.centres()[cell]
    parts = forecast.parts_html(cell) if forecast else ""
    rows = data.rows(cell)
    rows = rows[(data.month[rows] >= choice.shown.start) & (data.month[rows] < choice.shown.stop)]
    counts = pd.Series(data.kind[rows]).value_counts()
    if choice.kind is not None:
        counts = counts[counts.index == data.events.types.index(choice.kind)]
    when = choice.period(data.events.months)
    if not data.published[choice.shown].any():
        table = f'<p class="cf-note">{when}: not published.</p>'
    elif counts.empty:
        table = f'<p class="cf-note">No event was recorded here: {when}.</p>'
    else:
        rest = counts.iloc[_MOST:].sum()
        counts = counts.iloc[:_MOST]
        named = [data.events.types[k] for k in counts.index] + ["other types"] * bool(rest)
        frame = pd.DataFrame({"type": named, "events": [*counts, *([rest] if rest else [])]})
        whole = int(frame["events"].sum())
        table = html_table(frame, caption=f"{format_count(whole)} event{'s' * (whole != 1)}, {when}")
    picture = data.keep(("history", cell, choice.kind), lambda: _history(data, cell, choice.kind))
    return (
        f"<h3>{escape(data.name(cell))}</h3>"
        f'<p class="cf-note">Cell around E {format_count(east)} m, N {format_count(north)} m</p>{parts}{picture}{table}'
    )


def highest(data: CellMonths, layer: Layer, inside: BoolArray, *, number: int = 10) -> list[tuple[str, int]]:
    """Return the cells with the highest values, named, for a list to choose from by keyboard."""
    values = np.where(inside & np.isfinite(layer.values), layer.values, 0.0)
    best = np.argsort(-values, kind="stable")[:number]
    return [
        (f"{rank}. {format_amount(float(values[cell]))}: {data.name(int(cell))}", int(cell))
        for rank, cell in enumerate(best[values[best] > 0], 1)
    ]


def _history(data: CellMonths, cell: int, kind: str | None) -> str:
    """Return the cell's monthly counts over all months, as a picture in the reports' style; a gap stays one."""
    from matplotlib.ticker import MaxNLocator

    counts = np.where(data.published, data.counts(kind)[:, cell].astype(float), np.nan)
    frame = pd.DataFrame({kind or ALL: counts}, index=data.events.months)
    figure = monthly_series_figure(frame, unit="events a month")
    figure.axes[0].yaxis.set_major_locator(MaxNLocator(integer=True, nbins=5))
    figure.set_size_inches(4.2, 2.3)
    image = base64.b64encode(figure_png(figure)).decode()
    return f'<img alt="Events a month in this cell" src="data:image/png;base64,{image}">'
