"""The map drawn on projected metres: cells, points and borders, with no map service asked for anything."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from crimeface_lib.apps.map_layers import Layer
from crimeface_lib.apps.page import figure_widget
from crimeface_lib.core.types import BoolArray, FloatArray
from crimeface_lib.crime import Grid
from crimeface_lib.reporting import cell_heatmap
from crimeface_lib.reporting.maps import format_amount
from crimeface_lib.reporting.style import BLUE, INK, MUTED, VERMILLION

if TYPE_CHECKING:
    import geopandas as gpd

HEIGHT = 500
_LARGEST = 26  # pixels across, of the largest point
_GAPS = 90  # cells across, above which a gap between them would be most of what one sees
GAP = "Not published: a gap, not zero"
#: How snap points look, on this map and on one with tiles.
CIRCLES: dict[str, Any] = {"color": BLUE, "opacity": 0.5, "sizemode": "area", "sizemin": 1}
#: Of plotly's buttons those that make a picture without its source, or send the figure to plotly's own server.
BUTTONS = {"remove": ["toimage", "sendcharttocloud"]}
POINT_HOVER = "<b>%{text}</b> at this snap point<extra></extra>"


class PlaneMap:
    """A map without a background; ``figure`` is its widget.

    Parameters
    ----------
    borders : drawn as thin lines, in the grid's plane. first : what it shows when it is made: a figure has to be whole
        then. on_cell : called with the row of the cell that was clicked.
    """

    def __init__(
        self, grid: Grid, borders: gpd.GeoDataFrame | None, first: Layer, *, on_cell: Callable[[int], None]
    ) -> None:
        import plotly.graph_objects as go

        self.grid = grid
        figure = cell_heatmap(grid.cells, np.zeros(len(grid)), label="")
        colorbar = {"orientation": "h", "thickness": 10, "len": 0.9, "y": 0, "yanchor": "top"}
        if max(grid.shape) > _GAPS:
            figure.update_traces(xgap=0, ygap=0)
        figure.update_traces(colorbar=colorbar | {"title": {"side": "bottom", "font": {"size": 13}}})
        x, y = outline(borders, grid)
        figure.add_trace(go.Scatter(x=x, y=y, mode="lines", line={"color": MUTED, "width": 0.8}, hoverinfo="skip"))
        figure.add_trace(go.Scatter(x=[], y=[], mode="markers", marker=CIRCLES | {"line": {"color": INK, "width": 0.3}},
                                    hovertemplate=POINT_HOVER))  # fmt: skip
        figure.update_layout(
            height=HEIGHT, margin={"l": 4, "r": 4, "t": 4, "b": 4}, dragmode="pan", showlegend=False,
            shapes=[_square(None)], annotations=[gap_note()], modebar=BUTTONS,
        )  # fmt: skip
        _apply(figure, layer=first, grid=grid)
        self.figure = figure_widget(figure)
        for trace in (self.figure.data[0], self.figure.data[2]):
            trace.on_click(lambda _trace, points, _state: self._on_click(points, on_cell))

    def draw(self, layer: Layer) -> None:
        """Show another layer; of what is drawn only what differs is sent."""
        with self.figure.batch_update():
            _apply(self.figure, layer=layer, grid=self.grid)

    def ring(self, cell: int | None) -> None:
        """Mark a cell."""
        bounds = None if cell is None else self.grid.cells.geometry.iloc[cell].bounds
        self.figure.layout.shapes = [_square(bounds)]

    def show_area(self, inside: BoolArray) -> None:
        """Zoom to some cells."""
        left, bottom, right, top = extent(self.grid, inside)
        with self.figure.batch_update():
            self.figure.layout.xaxis.range, self.figure.layout.yaxis.range = (left, right), (bottom, top)

    def _on_click(self, points: Any, on_cell: Callable[[int], None]) -> None:
        if points.xs:
            cell = int(self.grid.index_of([[points.xs[0], points.ys[0]]])[0])
            if cell >= 0:
                on_cell(cell)


def _apply(figure: Any, *, layer: Layer, grid: Grid) -> None:
    heat, _, circles = figure.data
    pointed = layer.points is not None
    values = np.where(np.isfinite(layer.values), 0.0, np.nan) if pointed else layer.values
    heat.z = grid.raster(values).astype(np.float32)
    heat.zmin, heat.zmax, heat.showscale = 0.0, layer.top, not pointed
    heat.hoverinfo, heat.hovertemplate = ("skip", None) if pointed else (None, hover(layer))
    heat.colorbar.title.text = scale_title(layer)
    xy, events, sizeref, text = point_marks(layer)
    circles.x, circles.y, circles.text = xy[:, 0], xy[:, 1], text
    circles.marker.size, circles.marker.sizeref = events, sizeref
    figure.layout.annotations[0].visible = not layer.known


def scale_title(layer: Layer) -> str:
    """Return what stands at the colour scale."""
    return f"{layer.label} (darkest: {format_amount(layer.top)} or more)"


def hover(layer: Layer) -> str:
    """Return plotly's template of what is said over a cell."""
    return f"<b>%{{z:,.3~g}}</b> {layer.label}<extra></extra>"


def point_marks(layer: Layer) -> tuple[FloatArray, FloatArray, float, list[str]]:
    """Return where circles stand, their events, plotly's ``sizeref`` that makes areas compare, and words."""
    if layer.points is None:
        return np.zeros((0, 2)), np.zeros(0), 1.0, []
    events = layer.points.events
    words = [f"{n:,} event{'s' * (n != 1)}" for n in events.tolist()]
    return layer.points.xy, events.astype(float), 2 * layer.points.most / _LARGEST**2, words


def gap_note() -> dict[str, Any]:
    """Return plotly's annotation for a time that was not published; not visible at first."""
    return {"text": GAP, "xref": "paper", "yref": "paper", "x": 0.5, "y": 0.55, "showarrow": False, "visible": False,
            "font": {"size": 16, "color": MUTED}, "bgcolor": "#FFFFFF"}  # fmt: skip


def outline(borders: gpd.GeoDataFrame | None, grid: Grid) -> tuple[FloatArray, FloatArray]:
    """Return x and y of the borders near the grid, NaN between lines; finer than a cell's fiftieth is left out."""
    import shapely

    if borders is None:
        return np.zeros(0), np.zeros(0)
    lines = shapely.boundary(shapely.simplify(np.asarray(borders.geometry), grid.cell / 50))
    west, south, east, north = grid.cells.total_bounds
    lines = shapely.get_parts(shapely.clip_by_rect(lines, west, south, east, north))
    lines = shapely.get_parts(lines[shapely.length(lines) > 0])
    if not len(lines):
        return np.zeros(0), np.zeros(0)
    parts = [np.vstack([shapely.get_coordinates(line), [[np.nan, np.nan]]]) for line in lines]
    return np.vstack(parts).T[0], np.vstack(parts).T[1]


def extent(grid: Grid, inside: BoolArray) -> tuple[float, float, float, float]:
    """Return west, south, east and north of some cells, with a cell's breadth around them."""
    centres, pad = grid.centres()[inside], 1.5 * grid.cell
    (left, bottom), (right, top) = centres.min(axis=0) - pad, centres.max(axis=0) + pad
    return float(left), float(bottom), float(right), float(top)


def _square(bounds: tuple[float, float, float, float] | None) -> dict[str, Any]:
    """Return the plotly shape that rings the chosen cell; invisible without one."""
    x0, y0, x1, y1 = bounds or (0.0, 0.0, 0.0, 0.0)
    return {"type": "rect", "x0": x0, "y0": y0, "x1": x1, "y1": y1, "visible": bounds is not None,
            "line": {"color": VERMILLION, "width": 2.5}}  # fmt: skip
