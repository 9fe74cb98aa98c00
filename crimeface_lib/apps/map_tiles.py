"""The map over a background of tiles, in the projection of the web; the config names the host that is asked."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from crimeface_lib.apps.map_layers import Layer
from crimeface_lib.apps.map_plane import (
    BUTTONS,
    CIRCLES,
    HEIGHT,
    POINT_HOVER,
    extent,
    gap_note,
    hover,
    outline,
    point_marks,
    scale_title,
)
from crimeface_lib.apps.page import figure_widget
from crimeface_lib.core.types import BoolArray, FloatArray
from crimeface_lib.crime import Grid
from crimeface_lib.reporting import cell_heatmap
from crimeface_lib.reporting.style import INK, VERMILLION

if TYPE_CHECKING:
    import geopandas as gpd

_WIDTH = 700  # pixels: about how wide the map is, to choose a zoom by
_TILE = 256


class TileMap:
    """A map over tiles, with what ``PlaneMap`` has.

    Parameters
    ----------
    tiles, attribution : template of the tiles' address, and what their provider wants said on the map.
    borders, first, on_cell : as ``PlaneMap`` takes them.
    """

    def __init__(
        self, grid: Grid, borders: gpd.GeoDataFrame | None, first: Layer, *, tiles: str, attribution: str,
        on_cell: Callable[[int], None],
    ) -> None:  # fmt: skip
        import plotly.graph_objects as go

        self.grid = grid
        scale = cell_heatmap(grid.cells, np.zeros(len(grid)), label="").data[0].colorscale
        colorbar = {"orientation": "h", "thickness": 10, "len": 0.9, "y": 0, "yanchor": "top"}
        style = {"mode": "lines", "hoverinfo": "skip"}
        x, y = outline(borders, grid)
        figure = go.Figure([
            go.Choroplethmap(
                geojson=json.loads(grid.cells.to_crs(4326).geometry.to_json()),
                locations=np.arange(len(grid)).astype(str),
                colorscale=scale, marker={"opacity": 0.65, "line": {"width": 0}},
                colorbar=colorbar | {"title": {"side": "bottom", "font": {"size": 13}}},
            ),
            go.Scattermap(**self._degrees(x, y), line={"color": INK, "width": 1}, **style),
            go.Scattermap(mode="markers", marker=CIRCLES, hovertemplate=POINT_HOVER),
            go.Scattermap(line={"color": VERMILLION, "width": 3}, **style),
        ])  # fmt: skip
        source = {"type": "raster", "tiles": [tiles], "tileSize": _TILE, "attribution": attribution}
        background = {"id": "tiles", "type": "raster", "source": "tiles"}
        figure.update_layout(
            height=HEIGHT, margin={"l": 4, "r": 4, "t": 4, "b": 4}, showlegend=False,
            annotations=[gap_note()], modebar=BUTTONS,
            map={"style": {"version": 8, "sources": {"tiles": source}, "layers": [background]}},
            separators=".\u2009",
        )  # fmt: skip
        figure.layout.map.center, figure.layout.map.zoom = self._view(np.ones(len(grid), dtype=bool))
        self._apply(figure, first)
        self.figure = figure_widget(figure)
        self.figure.data[0].on_click(lambda _trace, points, _state: self._on_click(points, on_cell))

    def _on_click(self, points: Any, on_cell: Callable[[int], None]) -> None:
        if points.point_inds:
            on_cell(int(points.point_inds[0]))

    def draw(self, layer: Layer) -> None:
        """Show another layer; of what is drawn only what differs is sent."""
        with self.figure.batch_update():
            self._apply(self.figure, layer)

    def ring(self, cell: int | None) -> None:
        """Mark a cell."""
        corners = np.zeros((0, 2)) if cell is None else np.asarray(self.grid.cells.geometry.iloc[cell].exterior.coords)
        with self.figure.batch_update():
            self.figure.data[3].update(self._degrees(corners[:, 0], corners[:, 1]))

    def show_area(self, inside: BoolArray) -> None:
        """Zoom to some cells."""
        with self.figure.batch_update():
            self.figure.layout.map.center, self.figure.layout.map.zoom = self._view(inside)

    def _apply(self, figure: Any, layer: Layer) -> None:
        cells, _, circles, _ = figure.data
        pointed = layer.points is not None
        cells.z = np.where(np.isfinite(layer.values), 0.0, np.nan) if pointed else layer.values
        cells.zmin, cells.zmax, cells.showscale = 0.0, layer.top, not pointed
        cells.marker.opacity = 0.01 if pointed else 0.65  # still there to be clicked
        cells.hoverinfo, cells.hovertemplate = ("skip", None) if pointed else (None, hover(layer))
        cells.colorbar.title.text = scale_title(layer)
        xy, events, sizeref, text = point_marks(layer)
        circles.update(self._degrees(xy[:, 0], xy[:, 1]))
        circles.text, circles.marker.size, circles.marker.sizeref = text, events, sizeref
        figure.layout.annotations[0].visible = not layer.known

    def _degrees(self, x: FloatArray, y: FloatArray) -> dict[str, FloatArray]:
        from pyproj import Transformer

        there = Transformer.from_crs(self.grid.crs, 4326, always_xy=True)
        lon, lat = there.transform(np.asarray(x), np.asarray(y))
        return {name: np.where(np.isfinite(v), v, np.nan) for name, v in (("lon", lon), ("lat", lat))}

    def _view(self, inside: BoolArray) -> tuple[dict[str, float], float]:
        """Return centre and zoom that hold some cells: at zoom 0 the world is 512 pixels wide."""
        left, bottom, right, top = extent(self.grid, inside)
        corners = self._degrees(np.array([left, right]), np.array([bottom, top]))
        (west, east), (south, north) = corners["lon"], corners["lat"]
        across = (east - west) / 360 * 512 / _WIDTH
        height = (north - south) / 360 * 512 / np.cos(np.radians((south + north) / 2)) / (HEIGHT - 60)
        centre = {"lon": float((west + east) / 2), "lat": float((south + north) / 2)}
        return centre, float(-np.log2(max(across, height)))
