"""What leaves the crime map: a figure in the style of reports, and a table in which no small count can be read."""

from __future__ import annotations

import base64
import csv
import io
from dataclasses import dataclass, replace
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from crimeface_lib.apps.map_data import CellMonths, part_of
from crimeface_lib.apps.map_forecast import MapForecast
from crimeface_lib.apps.map_layers import ALL, FORECAST, Choice, Layer
from crimeface_lib.core.clock import Clock, to_iso, utc_now
from crimeface_lib.core.settings import Settings
from crimeface_lib.core.types import BoolArray, IntArray
from crimeface_lib.crime import Density, getis_ord, suppress
from crimeface_lib.reporting import crime_map, hotspot_map, risk_map
from crimeface_lib.reporting.maps import LEGEND, caption, finish_map, map_shape
from crimeface_lib.reporting.style import BLUE, INK, figure_png, house_style, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MINIMUM = 5  # counts below it don't leave the house
_HIDDEN = {True: f"1 to {MINIMUM - 1}", False: "not given"}
_CHOSEN = 0.05  # share of the cells that a forecast's figure rings
_CAVEAT = "Recorded events, at snap points that many addresses share: what was not recorded isn't here."


@dataclass(frozen=True, slots=True)
class MapExport:
    """What a map shows, ready to be written down."""

    data: CellMonths
    choice: Choice
    layer: Layer
    inside: BoolArray
    forecast: MapForecast | None
    bandwidth: float
    borders: Any = None

    @property
    def name(self) -> str:
        """Begin of the files' names."""
        months = self.data.events.months[self.choice.shown]
        when = self.forecast.risk.at if self.forecast else f"{months[0]}-to-{months[-1]}"
        return f"crime-map-{self.choice.layer}-{when}"

    @property
    def title(self) -> str:
        """What is shown, of where and when."""
        when = f"from {self.forecast.risk.at}" if self.forecast else self.choice.period(self.data.events.months)
        return ", ".join(filter(None, (self.choice.kind or ALL, self.choice.area, when)))

    @property
    def completeness(self) -> str:
        """Which months of the period the source has."""
        months = self.data.events.months
        there = self.data.whole[self.choice.shown]
        gaps = ", ".join(str(m) for m in months[self.choice.shown][~there])
        return f"{int(there.sum())} of {len(there)} months published whole" + (f"; missing: {gaps}" if gaps else "")

    # -- figure ------------------------------------------------------------------------------------------------
    def figure(self) -> Figure:
        """Return the map as reports draw it."""
        data = self.data
        grid = part_of(data.grid, self.inside)
        made = f" {self.title}; DPIA {self.forecast.permit.dpia}." if self.forecast else ""
        words: dict[str, Any] = {
            "attribution": f"{data.events.attribution} {self.completeness}.{made}",
            "outline": None,
        }
        caveat = self.forecast.risk.caveats[0] if self.forecast else _CAVEAT
        if self.choice.area is not None and self.borders is not None:
            words["outline"] = self.borders[self.borders["name"] == self.choice.area]
        if self.forecast is not None:
            risk = self.forecast.risk
            parts = risk.contributions[self.inside].reset_index(drop=True)
            part = replace(risk, risk=risk.risk[self.inside], contributions=parts, grid=grid)
            return risk_map(part, share=_CHOSEN, caveat=caveat, **words)
        values = self.layer.values[self.inside]
        if self.choice.layer == "points":
            return self._points_figure(grid, words)
        if self.choice.layer == "density" and self.layer.known:
            events = int(self._counts().sum())
            density = Density(values, self.bandwidth, events, True, grid)
            return hotspot_map(density, title=self.title, caveat=caveat, **words)
        counts = data.counts(self.choice.kind)[self.choice.shown].sum(axis=0)
        if self.choice.layer == "hotspots" and np.ptp(counts) > 0:
            found = getis_ord(counts.astype(float), data.grid)
            flat = {name: getattr(found, name)[self.inside] for name in ("z", "p", "hot", "cold")}
            return hotspot_map(replace(found, grid=grid, **flat), title=self.title, caveat=caveat, **words)
        legend = self.layer.label.replace(" per ", "\nper ")
        return crime_map(grid.cells, values, title=self.title, legend=legend, caveat=caveat, **words)

    def _points_figure(self, grid: Any, words: dict[str, Any]) -> Figure:
        points = self.layer.points
        assert points is not None
        size = 120 * points.events / points.most
        with house_style():
            figure = new_figure(height=5.1 * map_shape(grid.cells) + 0.85, alt=f"Map: {self.title}")
            axes = figure.subplots()
            look: dict[str, Any] = {"color": BLUE, "alpha": 0.6, "edgecolor": INK, "linewidth": 0.4}
            axes.scatter(points.xy[:, 0], points.xy[:, 1], s=np.maximum(size, 1.5), **look)
            steps = sorted({max(1, points.most // 10), max(1, points.most // 2), points.most})
            handles = [axes.scatter([], [], s=120 * n / points.most, label=f"{n:,}", **look) for n in steps]
            beyond = finish_map(axes, grid.cells, title=self.title, outline=words["outline"])
            legend = "recorded events\nat a snap point"
            figure.legend(handles=handles, title=legend, loc="outside right upper", **LEGEND)
            caption(figure, _CAVEAT, words["attribution"], beyond=beyond)
        return figure

    # -- table -------------------------------------------------------------------------------------------------
    def table(self, *, code: str, at: str) -> str:
        """Return CSV: lines that begin with # say what it is and what was left out, then a row per cell or point."""
        xy, values, left_out = self._rows()
        crs, grid = self.data.events.crs, self.data.grid
        what = "snap points" if self.choice.layer == "points" else f"cells of {grid.cell:g} m, by their centres"
        shown = "recorded events" if self.choice.layer == "points" else self.layer.label
        head = [
            f"crimeface: {shown}. {self.title}. {self.completeness[0].upper()}{self.completeness[1:]}.",
            f"Layer: {self.choice.layer}; {what}, in {crs.to_string()}, metres.",
            f"Source: {self.data.events.attribution} SHA-256 of what was read: {self.data.sha256}.",
            left_out,
            *self.data.events.caveats[:2],
            *(self.forecast.limits if self.forecast else ()),
            *([f"Forecast by {self.forecast.model} under DPIA {self.forecast.permit.dpia}."] if self.forecast else []),
            f"Code: {code}. Written {at}.",
        ]
        text = io.StringIO()
        text.writelines(f"# {' '.join(line.split())}\n" for line in dict.fromkeys(head))
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["east", "north", "value"])
        writer.writerows([f"{x:.0f}", f"{y:.0f}", value] for (x, y), value in zip(xy, values, strict=True))
        return text.getvalue()

    def _rows(self) -> tuple[Any, list[str], str]:
        """Return where each row stands, its value as text, and what is not given."""
        xy, layer = self.data.grid.centres()[self.inside], self.layer.values[self.inside]
        if not self.layer.known:
            return xy, ["not published"] * len(xy), "Nothing was published of this time: it is a gap, not zero."
        if self.choice.layer == "hotspots":
            kinds = np.where(layer > 0, "hotspot", "no hotspot").tolist()
            return xy, kinds, "Scores are not given: counts could be worked out from them."
        if self.choice.layer == "density":
            least = MINIMUM / (2 * np.pi * self.bandwidth**2) * 1e6
            told = [f"below {least:.1f}" if 0 < v < least else _rounded(v) for v in layer]
            return xy, told, f"What fewer than {MINIMUM} events could make is given as below it; others are rounded."
        if self.choice.layer == FORECAST:
            assert self.forecast is not None
            kept = [k for k in self.data.events.types if k not in self.forecast.risk.excluded]
            kinds = [self.choice.kind] if self.choice.kind else kept
            behind = sum(self.data.counts(kind).sum(axis=0) for kind in kinds)[self.inside]
            told = ["not given" if 0 < n < MINIMUM else _rounded(v) for v, n in zip(layer, behind, strict=True)]
            return xy, told, f"Not given: cells with 1 to {MINIMUM - 1} records behind them; others are rounded."
        counts = self._counts()
        if self.choice.layer == "points":
            every, by_month = self.data.points(self.choice.kind)
            counts = by_month[self.choice.shown].sum(axis=0)
            inside = self.inside[self.data.grid.index_of(every)] & (counts > 0)
            xy, counts = every[inside], counts[inside]
        told, left_out = _suppressed(counts)
        return xy, told, left_out

    def _counts(self) -> IntArray:
        return self.data.counts(self.choice.kind)[self.choice.shown].sum(axis=0)[self.inside]


def _rounded(value: float) -> str:
    """Return a number to two figures."""
    return f"{float(f'{value:.2g}'):g}"


def _suppressed(counts: IntArray) -> tuple[list[str], str]:
    """Return counts as text, small ones and those that would reveal them left out, and a sentence on how many."""
    import pandas as pd

    if not len(counts):
        return [], "No event is in this choice."
    safe = suppress(pd.DataFrame({"events": counts}), MINIMUM)
    hidden = safe.mask[:-1, 0]
    told = [_HIDDEN[n < MINIMUM] if h else str(n) for n, h in zip(counts.tolist(), hidden, strict=True)]
    return told, (
        f"Not given: {safe.primary} counts of 1 to {MINIMUM - 1}, and {safe.secondary} that would reveal them. Tables "
        "of overlapping periods or areas reveal small counts by subtraction: publish one, or use a report's."
    )


def links_html(export: MapExport, *, settings: Settings, clock: Clock = utc_now) -> str:
    """Return links that hold the files: the figure as PNG, the table as CSV."""
    from crimeface_lib.workflow.origin import code_version

    code = code_version(settings.project_root)
    version = f"crimeface-lib {code['packages']['crimeface-lib']}, commit {code['commit'] or 'unknown'}"
    version += ", changed since" * code["changed_since_commit"]
    table = export.table(code=version, at=to_iso(clock()))
    files = [
        ("Map (PNG)", f"{export.name}.png", "image/png", figure_png(export.figure())),
        ("Table (CSV)", f"{export.name}.csv", "text/csv;charset=utf-8", b"\xef\xbb\xbf" + table.encode()),
    ]
    return "".join(
        f'<a download="{escape(name)}" href="data:{kind};base64,{base64.b64encode(content).decode()}">{label}</a>'
        for label, name, kind, content in files
    )
