"""Recorded crime by place and month on a map: density, counts, hotspots, and the history of a cell.

The map is drawn on projected metres, so that no map service is asked for anything. There is no forecast here:
that runs under an approved DPIA only.
"""

from __future__ import annotations

import base64
import tempfile
from dataclasses import replace
from html import escape
from pathlib import Path
from typing import Any

import ipywidgets as widgets
import numpy as np
import pandas as pd

from crimeface_lib.apps.page import bullets, column, figure_widget, html, row, split
from crimeface_lib.core.errors import InputError
from crimeface_lib.core.settings import Settings, load_settings
from crimeface_lib.core.types import FloatArray
from crimeface_lib.crime import Events, getis_ord, kde, make_grid, monthly_series, read_events
from crimeface_lib.reporting import cell_heatmap, format_count, html_table
from crimeface_lib.reporting.style import VERMILLION

ALL = "All types"
_LAYERS = {"Density": "density", "Counts": "counts", "Hotspots": "hotspots"}
_SAMPLE_SEED, _SAMPLE_MONTHS = 20260101, 36
_ASK = '<p class="cf-note">Click a cell of the map to see its history.</p>'
_CANNOT = (
    "The map says nothing about the people who live or pass there.",
    "It doesn't forecast: that needs an approved DPIA, and the crime overview shows it.",
    "Small counts are shown as the source published them; for tables that leave the house use the report.",
)


class CrimeMap:
    """The app; display it, or display ``widget``.

    Parameters
    ----------
    events : at least one with a location.
    cell : side of a cell, metres.
    bandwidth : standard deviation of the density's kernel, metres.

    Raises
    ------
    InputError : no event has a location, or the cells are too fine.
    """

    def __init__(self, events: Events, *, cell: float = 250.0, bandwidth: float = 300.0) -> None:
        self.events, self.bandwidth = events, bandwidth
        self.grid = make_grid(events, cell=cell)
        self._index = self.grid.index_events(events)
        months = [(f"{month:%b %Y}", month) for month in events.months]
        self._cell: int | None = None
        self.type = widgets.Dropdown(description="Type", options=[ALL, *events.types])
        self.months = widgets.SelectionRangeSlider(
            description="Months", options=months, value=(months[0][1], months[-1][1]), continuous_update=False
        )
        self.months.add_class("cf-months")
        self.layer = widgets.ToggleButtons(options=list(_LAYERS.items()))
        self.facts, self.note, self.history = html(), html(css="cf-note"), html(_ASK, css="cf-history")
        values, label, said = self._layer_values(self.selected)
        # whole at once: what is changed between the making and the showing of a FigureWidget may never be drawn
        self.figure = figure_widget(self._heatmap(values, label))
        self.figure.data[0].on_click(self._on_click)
        for part in (self.type, self.months, self.layer):
            part.observe(lambda _: self._draw(), "value")
        choices = row(self.type, self.months, self.layer)
        main = split(column(self.figure, self.note), column(self.facts, self.history))
        self.widget = column(choices, main, self._limits())
        self._tell(self.selected, said)

    def _repr_mimebundle_(self, **options: Any) -> Any:
        return self.widget._repr_mimebundle_(**options)

    @property
    def selected(self) -> Events:
        """The events of the type and months chosen."""
        first, last = self.months.value
        types = None if self.type.value == ALL else [self.type.value]
        return self.events.select(types=types, start=first.start_time, end=(last + 1).start_time)

    def _limits(self) -> widgets.HTML:
        said = bullets(one for one in (*self.events.caveats, *_CANNOT) if one != self.events.attribution)
        source = f'<p class="cf-note">{escape(self.events.attribution)}</p>'
        return html(f'<div class="cf-cannot"><b>What this can\'t say</b>{said}{source}</div>')

    def _heatmap(self, values: FloatArray, label: str) -> Any:
        figure = cell_heatmap(self.grid.cells, values, label=label)
        margin = {"l": 4, "r": 4, "t": 4, "b": 4}
        figure.update_layout(height=500, margin=margin, dragmode="pan", shapes=[_square(None)])
        title = {"side": "bottom", "font": {"size": 13}}
        figure.update_traces(
            colorbar={"orientation": "h", "thickness": 10, "len": 0.9, "y": 0, "yanchor": "top", "title": title}
        )
        return figure

    def _layer_values(self, chosen: Events) -> tuple[FloatArray, str, str]:
        """Return the value of each cell, its name, and a sentence on how to read it."""
        counts = self.grid.count(chosen).astype(float)
        if self.layer.value == "counts":
            return counts, "recorded events per cell", f"Events recorded in each square of {self.grid.cell:g} m."
        if self.layer.value == "density":
            density = kde(chosen, self.grid, bandwidth=self.bandwidth).values
            said = f"Events smoothed over {self.bandwidth:g} m, so that neighbours share them."
            return density, "recorded events per km²", said
        if np.ptp(counts) == 0:
            return counts * 0, "hotspot score (Gi*)", "All cells have the same count: no hotspot can be told."
        found = getis_ord(counts, self.grid)
        said = (
            f"{int(found.hot.sum())} of {len(counts):,} cells stand out from the rest with their neighbours "
            "(Getis-Ord Gi*, at most 5 % of them by chance); all others are pale."
        )
        return np.where(found.hot, found.z, 0.0), "hotspot score (Gi*)", said

    def _draw(self) -> None:
        chosen = self.selected
        values, label, said = self._layer_values(chosen)
        fresh = self._heatmap(values, label).data[0]
        with self.figure.batch_update():
            trace = self.figure.data[0]
            trace.z, trace.zmax, trace.hovertemplate = fresh.z, fresh.zmax, fresh.hovertemplate
            trace.colorbar.title.text = fresh.colorbar.title.text
        self._tell(chosen, said)

    def _tell(self, chosen: Events, said: str) -> None:
        self.note.value = f"<p>{escape(said)} A dark cell may be one car park or station that many records share.</p>"
        self.facts.value = self._facts_html(chosen)
        if self._cell is not None:
            self.show_cell(self._cell)

    def _facts_html(self, chosen: Events) -> str:
        located = int((self.grid.index_events(chosen) >= 0).sum())
        table = chosen.completeness
        delivered, asked = int(table.notna().sum().sum()), table.size
        gaps = [f"{month:%b %Y}" for month in table.columns[table.isna().any(axis=0)]]
        named = ", ".join(gaps[:6]) + (" …" if len(gaps) > 6 else "")
        missing = f" Missing, unknown and not zero: {named}." if gaps else ""
        unit = "months" if len(table) == 1 else f"force-months of {len(table)} forces"
        return (
            f'<p class="cf-facts"><span><b>{format_count(len(chosen))}</b>events</span>'
            f"<span><b>{format_count(len(chosen) - located)}</b>without a place on the map</span></p>"
            f"<p>{delivered} of {asked} {unit} delivered.{missing}</p>"
        )

    def _on_click(self, trace: Any, points: Any, state: Any) -> None:
        if points.xs:
            cell = int(self.grid.index_of([[points.xs[0], points.ys[0]]])[0])
            if cell >= 0:
                self.show_cell(cell)

    def show_cell(self, cell: int) -> None:
        """Show the monthly history of a cell, by its row in ``grid.cells``, and mark it on the map.

        Raises
        ------
        InputError : no such cell.
        """
        if not 0 <= cell < len(self.grid):
            raise InputError(f"cell: got {cell}, expected 0…{len(self.grid) - 1}")
        self._cell = cell
        self.figure.layout.shapes = [_square(self.grid.cells.geometry.iloc[cell].bounds)]
        chosen = self.selected
        here = self.grid.index_events(chosen) == cell
        east, north = self.grid.centres()[cell]
        where = f"E {format_count(east)} m, N {format_count(north)} m"
        counts = chosen.frame.loc[here, "type"].astype(str).value_counts()
        picture = self._history_picture(cell)
        table = (
            html_table(
                pd.DataFrame({"type": counts.index.astype(str), "events": counts.to_numpy()}),
                caption=f"{format_count(here.sum())} events, {self.months.label[0]} to {self.months.label[1]}",
            )
            if len(counts)
            else '<p class="cf-note">No event was recorded here in these months.</p>'
        )
        self.history.value = f"<h3>Cell at {where}</h3>{picture}{table}"

    def _history_picture(self, cell: int) -> str:
        """Return the cell's monthly counts, of the type chosen, over all months, as a picture in the reports' style."""
        from crimeface_lib.reporting import monthly_series_figure
        from crimeface_lib.reporting.style import figure_png

        mine = self._index == cell
        if self.type.value != ALL:
            mine = mine & (self.events.frame["type"] == self.type.value).to_numpy()
        frame = monthly_series(replace(self.events, frame=self.events.frame[mine])).frame
        if frame.empty or not len(frame.columns):
            return ""
        figure = monthly_series_figure(frame.set_axis([self.type.value], axis=1), unit="events a month")
        figure.set_size_inches(4.2, 2.3)
        data = base64.b64encode(figure_png(figure)).decode()
        return f'<img alt="Events a month in this cell" src="data:image/png;base64,{data}">'


def load_app_events(*, settings: Settings | None = None) -> Events:
    """Return the events the app shows: those in ``<home>/apps/crime``, else the synthetic sample.

    The folder holds one zip of data.police.uk, or the files of one unpacked.

    Raises
    ------
    InputError : several zips, or no street-level file in the folder.
    """
    folder = (settings or load_settings()).stores / "apps" / "crime"
    if folder.is_dir() and any(folder.iterdir()):
        zips = sorted(folder.glob("*.zip"))
        if len(zips) > 1:
            raise InputError(f"{folder.name}: got {len(zips)} zips, expected one; leave the one to show")
        return read_events(zips[0] if zips else folder)
    from crimeface_lib.synthetic import synthetic_crimes, write_police_uk

    with tempfile.TemporaryDirectory() as place:
        write_police_uk(synthetic_crimes(months=_SAMPLE_MONTHS, rng=_SAMPLE_SEED).table, Path(place))
        return read_events(place)


def _square(bounds: tuple[float, float, float, float] | None) -> dict[str, Any]:
    """Return the plotly shape that rings the chosen cell; invisible without one."""
    x0, y0, x1, y1 = bounds or (0.0, 0.0, 0.0, 0.0)
    return {"type": "rect", "x0": x0, "y0": y0, "x1": x1, "y1": y1, "visible": bounds is not None,
            "line": {"color": VERMILLION, "width": 2.5}}  # fmt: skip
