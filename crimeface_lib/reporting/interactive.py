"""Parts of a report that a reader can turn or hover: a 3D face, a map of cells, a series.

Each is carried whole inside the page. On paper its static figure stands in its place.
"""

from __future__ import annotations

import base64
import io
import json
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from crimeface_lib.core.arrays import check_array, check_image, check_vector
from crimeface_lib.core.errors import InputError, IntegrityError, ShapeError
from crimeface_lib.reporting.style import CATEGORIES, INK, LINE, PIXELS_PER_INCH, figure_png, sequential

if TYPE_CHECKING:
    import geopandas as gpd
    import k3d
    import pandas as pd
    import plotly.graph_objects as go
    from matplotlib.figure import Figure

_LOOK = "appearance"
_DOUBT = "uncertainty, mm"


@dataclass(frozen=True, slots=True, repr=False)
class Interactive:
    """A live part with what stands for it on paper; shows itself in notebooks and in reports."""

    html: str
    static: str
    live: dict[str, Any]

    def __repr__(self) -> str:
        return f"Interactive({len(self.html):,} characters)"

    def _repr_html_(self) -> str:
        return self.html + self.static

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        return {**self.live, "text/html": self._repr_html_(), "text/plain": repr(self)}


def face_view(
    vertices: npt.ArrayLike,
    triangles: npt.ArrayLike,
    *,
    uv: npt.ArrayLike | None = None,
    triangles_uv: npt.ArrayLike | None = None,
    texture: npt.ArrayLike | None = None,
    vertex_sd: npt.ArrayLike | None = None,
    height: int = 460,
) -> k3d.Plot:
    """Return a k3d view of a face, framed from the front, ready for a notebook or ``snapshot_html``.

    Parameters
    ----------
    vertices : (V, 3) mm, head frame: x right, y up, z out of the face.
    triangles : (T, 3) indices into ``vertices``.
    uv : (U, 2) in [0, 1], origin at the bottom left; with ``texture`` it colours the face.
    triangles_uv : (T, 3) indices into ``uv``; by default the texture follows the vertices.
    texture : (H, W, 3) uint8, row 0 at the top.
    vertex_sd : (V,) mm; adds a second look at the same surface, coloured by its uncertainty.
    """
    import k3d
    from k3d.colormaps import matplotlib_color_maps

    points = check_array(vertices, shape=(None, 3), name="vertices")
    faces = check_array(triangles, shape=(None, 3), name="triangles", dtype=np.int64)
    if not 0 <= faces.min() <= faces.max() < len(points):
        raise ShapeError(f"triangles: got indices {faces.min()}…{faces.max()}, expected 0…{len(points) - 1}")
    normals = _vertex_normals(points, faces)
    arrays = _mesh_arrays(points, faces, normals)
    plot = k3d.plot(
        height=height, grid_visible=False, camera_auto_fit=False, background_color=0xFFFFFF, menu_visibility=False,
        axes_helper=0, camera_fov=30.0, colorbar_object_id=0, lighting=1.7, name="face",
    )  # fmt: skip
    style = {"flat_shading": False, "side": "double", "roughness": 0.75, "compression_level": 6}
    if texture is not None:
        if uv is None:
            raise ShapeError("uv: got none, expected (U, 2) coordinates for the texture")
        coloured = _texture_arrays(points, faces, normals, uv, triangles_uv, texture)
        plot += k3d.mesh(**coloured, name=_LOOK, **style)
    else:
        plot += k3d.mesh(**arrays, color=0xC9AE9C, name=_LOOK, **style)
    if vertex_sd is not None:
        sd = check_vector(vertex_sd, name="vertex_sd")
        if len(sd) != len(points):
            raise ShapeError(f"vertex_sd: got {len(sd)} values, expected {len(points)} as the vertices")
        limits = [float(sd.min()), float(max(np.percentile(sd, 99), sd.min() + 1e-3))]
        plot += k3d.mesh(
            **arrays, attribute=sd.astype(np.float32), color_map=matplotlib_color_maps.cividis, color_range=limits,
            name=_DOUBT, visible=False, **style,
        )  # fmt: skip
    used = points[np.unique(faces)]
    low, high = used.min(axis=0), used.max(axis=0)
    centre = (low + high) / 2
    distance = float((high - low)[:2].max()) / 2 / np.tan(np.radians(15)) * 1.15 + (high[2] - centre[2])
    plot.camera = [*(centre + [0, 0, distance]), *centre, 0, 1, 0]
    return plot


def snapshot_html(plot: k3d.Plot, *, static: Figure | None = None, title: str = "3D face") -> Interactive:
    """Return a k3d view frozen into an iframe that works from disk: drag turns, the wheel zooms.

    Where the view has several looks (``face_view`` with ``vertex_sd``) buttons switch between them.

    Parameters
    ----------
    static : the figure that stands for it on paper.
    title : what a screen reader says of the frame.
    """
    css = _template("face_frame.css")
    page = plot.get_snapshot(additional_js_code=_template("face_frame.js")).replace(
        "</head>", f"<style>{css}</style></head>", 1
    )
    # k3d's formula fonts are not in the snapshot and we show no formula: don't let the browser look for them
    page = page.replace("eval(k3dSource)", 'eval(k3dSource.replace(/,url\\(fonts[^)]*\\) format\\("[a-z]+"\\)/g, ""))')
    target = '<div id="canvasTarget"></div>'
    if target not in page:
        raise IntegrityError("k3d: its snapshot page has changed shape, expected a canvasTarget; use k3d 3.x")
    page = page.replace(target, target + _looks(plot), 1)
    frame = (
        f'<iframe class="cf-interactive" title="{escape(title)}" style="width:100%;height:{plot.height}px;border:0" '
        f'sandbox="allow-scripts" srcdoc="{escape(page)}"></iframe>'
    )
    return Interactive(frame, _on_paper(static), {})


def plotly_html(figure: go.Figure, *, static: Figure | None = None) -> Interactive:
    """Return a plotly figure for notebook and report; a report carries plotly's code once for all of them."""
    from crimeface_lib.reporting._cells import plotly_markup

    text = figure.to_json()
    return Interactive(plotly_markup(text), _on_paper(static), {"application/vnd.plotly.v1+json": json.loads(text)})


def cell_heatmap(cells: gpd.GeoDataFrame, values: npt.ArrayLike, *, label: str) -> go.Figure:
    """Return a map of square cells to hover and zoom, on projected metres: it needs no map service.

    Parameters
    ----------
    cells : (N,) squares of one size, perhaps cut by a border, in a projected CRS in metres.
    values : (N,); NaN stays white.
    label : what is shown, in words and units.
    """
    import plotly.graph_objects as go

    amounts = check_array(values, shape=(len(cells),), name="values", finite=False)
    if cells.crs is not None and cells.crs.is_geographic:
        raise InputError(f"cells: got {cells.crs.name} in degrees, expected metres; use cells.to_crs(a projected CRS)")
    bounds = cells.geometry.bounds.to_numpy()
    size = float((bounds[:, 2:] - bounds[:, :2]).max())
    whole = bounds[np.isclose(bounds[:, 2:] - bounds[:, :2], size).all(axis=1)][0]
    place = np.floor(((bounds[:, :2] + bounds[:, 2:]) / 2 - whole[:2]) / size).astype(int)
    first = place.min(axis=0)
    columns, rows = np.ptp(place, axis=0) + 1
    grid = np.full((rows, columns), np.nan)
    grid[place[:, 1] - first[1], place[:, 0] - first[0]] = amounts
    centres = whole[:2] + (first + 0.5) * size
    scale = [[p, "#" + "".join(f"{round(255 * c):02x}" for c in sequential()(p)[:3])] for p in np.linspace(0, 1, 9)]
    # a few busy cells must not leave all others pale: the scale ends at the 99th percentile and says so
    most = float(np.ceil(np.nanpercentile(amounts, 99))) if np.isfinite(amounts).any() else 1.0
    words = f"{label} (darkest: {most:,.0f} or more)"
    figure = go.Figure(
        go.Heatmap(
            z=grid, x=centres[0] + size * np.arange(columns), y=centres[1] + size * np.arange(rows), colorscale=scale,
            xgap=0.5, ygap=0.5, zmin=0, zmax=most or 1.0, hoverongaps=False,
            colorbar={"title": {"text": words, "side": "right"}, "thickness": 12},
            hovertemplate=f"E %{{x:,.0f}} m<br>N %{{y:,.0f}} m<br><b>%{{z:,.4~g}}</b> {escape(label)}<extra></extra>",
        )
    )  # fmt: skip
    figure.update_xaxes(visible=False, constrain="domain").update_yaxes(
        visible=False, scaleanchor="x", constrain="domain"
    )
    return _house_layout(figure, height=560)


def monthly_chart(frame: pd.DataFrame, *, unit: str = "recorded events a month") -> go.Figure:
    """Return monthly series to hover; a month without data is a gap.

    Parameters
    ----------
    frame : one row a month, one column a series, as for ``monthly_series_figure``.
    """
    import pandas as pd
    import plotly.graph_objects as go

    from crimeface_lib.reporting.crime_figures import read_months

    series = frame.set_axis(read_months(frame.index))
    series = series.reindex(pd.period_range(series.index.min(), series.index.max(), freq="M"))
    dashes = ("solid", "dash", "dot", "dashdot", "longdash")
    figure = go.Figure(
        [
            go.Scatter(
                x=series.index.astype(str), y=series[name].to_numpy(float), name=str(name), mode="lines+markers",
                connectgaps=False,
                marker={"size": 5}, line={"color": CATEGORIES[i % len(CATEGORIES)], "dash": dashes[i % len(dashes)]},
                hovertemplate="%{x}: %{y:,.0f}",
            )
            for i, name in enumerate(series.columns)
        ]
    )  # fmt: skip
    figure.update_xaxes(type="date", showgrid=False, linecolor=INK).update_yaxes(
        title=unit, tickformat=",.0f", rangemode="tozero", gridcolor=LINE, zerolinecolor=INK
    )
    return _house_layout(figure, height=360)


def _house_layout(figure: go.Figure, *, height: int) -> go.Figure:
    figure.update_layout(
        template="none", height=height, margin={"l": 56, "r": 12, "t": 16, "b": 40}, separators=".,",
        hovermode="closest",
        font={"family": "Segoe UI,Roboto,Helvetica Neue,Liberation Sans,Arial,sans-serif", "size": 13, "color": INK},
        legend={"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 1, "xanchor": "right"},
    )  # fmt: skip
    return figure


def _template(name: str) -> str:
    return Path(__file__).with_name("templates").joinpath(name).read_text("utf-8")


def _on_paper(static: Figure | None) -> str:
    """Return what stands for a live part on paper; in a notebook it is hidden, in a report its style decides."""
    if static is None:
        return '<p class="cf-print cf-note" hidden>An interactive part stands here: open the HTML report to use it.</p>'
    data = base64.b64encode(figure_png(static)).decode()
    width = round(static.get_size_inches()[0] * PIXELS_PER_INCH)
    alt = escape(getattr(static, "alt", "") or "figure")
    image = f'<img alt="{alt}" style="width:{width}px" src="data:image/png;base64,{data}">'
    return f'<div class="cf-print cf-figure" hidden>{image}</div>'


def _looks(plot: k3d.Plot) -> str:
    """Return the buttons that switch looks and, for a coloured one, its scale."""
    if len(plot.objects) < 2:
        return ""
    buttons = "".join(f'<button data-id="{mesh.id}">{escape(mesh.name)}</button>' for mesh in plot.objects)
    scales = "".join(
        f'<p data-id="{mesh.id}">{mesh.color_range[0]:.1f}<i></i>{mesh.color_range[1]:.1f} mm</p>'
        for mesh in plot.objects if len(mesh.color_range)
    )  # fmt: skip
    return f"<nav>{buttons}{scales}</nav>"


def _mesh_arrays(points: np.ndarray, faces: np.ndarray, normals: np.ndarray) -> dict[str, np.ndarray]:
    return {
        "vertices": points.astype(np.float32), "indices": faces.astype(np.uint32), "normals": normals.astype(np.float32)
    }  # fmt: skip


def _texture_arrays(
    points: np.ndarray, faces: np.ndarray, normals: np.ndarray, uv: Any, triangles_uv: Any, texture: Any
) -> dict[str, Any]:
    """Return a mesh with one texture coordinate a vertex: vertices on a seam are doubled, normals are not."""
    from PIL import Image

    coordinates = check_array(uv, shape=(None, 2), name="uv")
    corners = (
        faces
        if triangles_uv is None
        else check_array(triangles_uv, shape=(len(faces), 3), name="triangles_uv", dtype=np.int64)
    )
    if not 0 <= corners.min() <= corners.max() < len(coordinates):
        raise ShapeError(
            f"uv: got {len(coordinates)} coordinates, expected at least {corners.max() + 1}; or give triangles_uv"
        )
    pairs, index = np.unique(np.stack([faces.ravel(), corners.ravel()], axis=1), axis=0, return_inverse=True)
    vertex, place = pairs.T
    downwards = coordinates * [1, -1] + [0, 1]  # k3d counts v from the top of the picture, as glTF does
    file = io.BytesIO()
    Image.fromarray(check_image(texture, name="texture")).save(file, format="JPEG", quality=88)
    return _mesh_arrays(points[vertex], index.reshape(-1, 3), normals[vertex]) | {
        "uvs": downwards[place].astype(np.float32), "texture": file.getvalue(), "texture_file_format": "jpg"
    }  # fmt: skip


def _vertex_normals(points: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Return (V, 3) unit normals, each the mean of its triangles' weighted by their area."""
    across = np.cross(points[faces[:, 1]] - points[faces[:, 0]], points[faces[:, 2]] - points[faces[:, 0]])
    normals = np.zeros_like(points)
    np.add.at(normals, faces.ravel(), np.repeat(across, 3, axis=0))
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    return normals / np.where(length > 0, length, 1.0)
