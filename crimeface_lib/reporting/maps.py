"""Maps of places on paper: a choropleth of grid cells that also reads in a grey print."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from crimeface_lib.core.arrays import check_array
from crimeface_lib.core.errors import InputError, ShapeError
from crimeface_lib.reporting.style import INK, MUTED, PAPER, VERMILLION, house_style, new_figure, sequential
from crimeface_lib.reporting.tables import format_count

if TYPE_CHECKING:
    import geopandas as gpd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.path import Path

#: How legends of maps are set.
LEGEND: dict[str, Any] = {
    "alignment": "left", "title_fontproperties": {"size": 8}, "labelspacing": 0.55, "handlelength": 1.5,
    "handleheight": 1.1,
}  # fmt: skip
#: Shares of the positive values below which each class ends: few cells are dark, as few places are busy.
_QUANTILES = (0.5, 0.75, 0.9, 0.97)


def crime_map(
    cells: gpd.GeoDataFrame,
    values: npt.ArrayLike,
    *,
    title: str,
    legend: str,
    attribution: str,
    caveat: str,
    outline: Any = None,
    hotspots: npt.ArrayLike | None = None,
    ringed_as: str = "hotspot",
) -> Figure:
    """Draw one value per grid cell with a scale bar, a north arrow, the source and what it can't say.

    Parameters
    ----------
    cells : (N,) polygons in a projected CRS in metres, in the order of ``values``.
    values : (N,); NaN where there is no data, drawn white.
    legend : what is shown, in words and units ("recorded burglaries per cell, 2019").
    attribution : the data's source and licence, as its licence asks.
    caveat : what the map can't say, one sentence under it.
    outline : GeoDataFrame, GeoSeries or geometry drawn as the borders inside and around the area; cells are cut off at
        its outer edge, and the caption counts those that lie wholly beyond it.
    hotspots : (N,) bool, cells ringed, and what the legend calls them.

    Raises
    ------
    InputError : the cells are in degrees.
    ShapeError : another number of values than cells.
    """
    amounts = check_array(values, shape=(len(cells),), name="values", finite=False)
    ringed = np.zeros(len(cells), bool) if hotspots is None else np.asarray(hotspots, bool)
    if ringed.shape != amounts.shape:
        raise ShapeError(f"hotspots: got shape {ringed.shape}, expected {amounts.shape} as the cells")
    shape = map_shape(cells)
    with house_style():
        figure = new_figure(height=5.1 * shape + 0.85, alt=f"Map: {title}")
        axes = figure.subplots()
        handles = _draw_cells(axes, cells.geometry, amounts)
        if ringed.any():
            handles.append(ring(axes, cells.geometry[ringed], label=ringed_as))
        beyond = finish_map(axes, cells, title=title, outline=outline)
        figure.legend(handles=handles, title=legend, loc="outside right upper", **LEGEND)
        caption(figure, caveat, attribution, beyond=beyond)
    return figure


def map_shape(cells: gpd.GeoDataFrame) -> float:
    """Return height over width of the area, kept to what a page holds.

    Raises
    ------
    InputError : no cell, or cells in degrees.
    """
    if not len(cells):
        raise InputError("cells: got none, expected at least one")
    if cells.crs is not None and cells.crs.is_geographic:
        raise InputError(f"cells: got {cells.crs.name} in degrees, expected metres; use cells.to_crs(a projected CRS)")
    left, bottom, right, top = cells.total_bounds
    return float(np.clip((top - bottom) / (right - left), 0.4, 1.35))


def finish_map(axes: Axes, cells: gpd.GeoDataFrame, *, title: str, outline: Any = None) -> int:
    """Draw borders, scale bar and title around what is drawn; return how many cells lie beyond the borders.

    Raises
    ------
    InputError : borders in another plane than the cells.
    """
    import shapely
    from matplotlib.patches import PathPatch

    beyond = 0
    left, bottom, right, top = cells.total_bounds
    if outline is not None:
        crs = getattr(outline, "crs", None)
        if crs is not None and cells.crs is not None and crs != cells.crs:
            raise InputError(f"outline: got CRS {crs.name}, expected the cells' {cells.crs.name}; use to_crs(...)")
        border = [outline] if isinstance(outline, shapely.Geometry) else list(outline.geometry)
        area = shapely.union_all(shapely.make_valid(shapely.force_2d(border)))
        shapely.prepare(area)
        beyond = int((~shapely.intersects(area, np.asarray(cells.geometry))).sum())
        edge = PathPatch(path_of(area), facecolor="none", edgecolor="none", transform=axes.transData)
        axes.add_patch(edge)
        for drawn in axes.collections:
            drawn.set_clip_path(edge)
        add_paths(axes, border, facecolor="none", edgecolor=MUTED, linewidth=0.7)
    pad = 0.02 * max(right - left, top - bottom)
    axes.set(xlim=(left - pad, right + pad), ylim=(bottom - pad, top + pad), aspect="equal")
    axes.set_axis_off()
    axes.set_anchor("N")
    axes.set_title(title)
    _scale_bar(axes)
    return beyond


def caption(figure: Figure, caveat: str, attribution: str, *, beyond: int = 0) -> None:
    """Write under a map what it can't say, what it doesn't show, and where the data come from.

    Raises
    ------
    InputError : nothing said of what it can't say.
    """
    if not caveat.strip():
        raise InputError("caveat: got nothing, expected a sentence on what the map can't say: none goes without")
    hidden = f"{format_count(beyond)} cells beyond the borders are not shown." if beyond else ""
    text = "\n".join(filter(None, (caveat, hidden, attribution)))
    figure.supxlabel(text, x=0.01, ha="left", size=7, color=MUTED, wrap=True)


def value_classes(values: npt.ArrayLike) -> np.ndarray:
    """Return the ascending class edges of positive values: quantiles, rounded to whole numbers for counts.

    >>> value_classes([0, 1, 1, 2, 3, 8, 40]).tolist()
    [1.0, 2.0, 7.0, 24.0, 35.0, 40.0]
    """
    array = np.asarray(values, float)
    positive = array[np.isfinite(array) & (array > 0)]
    if not len(positive):
        return np.array([])
    edges = np.quantile(positive, [0, *_QUANTILES, 1])
    return np.unique(np.round(edges)) if np.all(positive == np.round(positive)) else np.unique(edges)


def _draw_cells(axes: Axes, geometry: Any, values: np.ndarray) -> list[Any]:
    """Colour the cells by class; return the legend's patches, least first."""
    from matplotlib.patches import Patch

    if np.nanmin(values, initial=0.0) < 0:
        raise InputError(f"values: got {np.nanmin(values):g}, expected amounts of 0 or more")
    edges = value_classes(values)
    whole = bool(np.all(edges == np.round(edges)))
    inner = edges[1:-1]
    bands = len(inner) + 1 if len(edges) else 0
    colours: Any = sequential()(np.linspace(0.22, 1.0, max(bands, 1)))
    kind = np.where(values > 0, np.searchsorted(inner, values, side="right" if not whole else "left"), -1)
    known = np.isfinite(values)
    handles = []
    groups: list[Any] = [(~known, PAPER, "no data"), (known & (kind < 0), sequential()(0.0), "0")]
    groups += [(known & (kind == i), colours[i], _band_label(edges, i, bands, whole=whole)) for i in range(bands)]
    for mask, colour, label in groups:
        if mask.any():
            add_paths(axes, geometry[mask], facecolor=colour, edgecolor=colour, linewidth=0.25)
        if mask.any() or label not in {"no data", "0"}:
            handles.append(Patch(facecolor=colour, edgecolor=MUTED, linewidth=0.5, label=label))
    return handles


def _band_label(edges: np.ndarray, band: int, bands: int, *, whole: bool) -> str:
    low, high = edges[band], edges[min(band + 1, len(edges) - 1)]
    if not whole:
        return f"{format_amount(low)} – {format_amount(high)}"
    low = low if band == 0 else low + 1
    return format_count(int(low)) if low >= high else f"{format_count(int(low))} – {format_count(int(high))}"


def format_amount(value: float) -> str:
    """Return a number to two figures, never as a power of ten."""
    rounded = float(f"{value:.2g}")
    return format_count(int(rounded)) if rounded >= 10 else np.format_float_positional(rounded, trim="-")


def ring(axes: Axes, geometry: Any, *, label: str, width: float = 1.3) -> Any:
    """Outline cells; return the line for the legend."""
    import shapely
    from matplotlib.lines import Line2D

    area = shapely.union_all(np.asarray(geometry))
    for colour, thickness in ((PAPER, 2.2 * width), (VERMILLION, width)):
        add_paths(axes, [area], facecolor="none", edgecolor=colour, linewidth=thickness)
    return Line2D([], [], color=VERMILLION, linewidth=1.6, label=label)


def add_paths(axes: Axes, geometry: Iterable[Any], **style: Any) -> None:
    """Draw polygons, with their holes."""
    from matplotlib.collections import PathCollection

    axes.add_collection(PathCollection([path_of(shape) for shape in geometry], **style))


def path_of(shape: Any) -> Path:
    """Return a polygon or multipolygon, with its holes, as one matplotlib path."""
    import shapely
    from matplotlib.path import Path

    rings = []
    for polygon in shapely.get_parts(shapely.get_parts(shapely.force_2d([shape]))):
        if polygon.geom_type != "Polygon":  # a line or point that a repair left over
            continue
        polygon = shapely.geometry.polygon.orient(polygon)
        rings += [np.asarray(ring.coords) for ring in (polygon.exterior, *polygon.interiors)]
    return Path.make_compound_path(*(Path(ring, closed=True) for ring in rings))


def _scale_bar(axes: Axes) -> None:
    """Draw a bar of a round length, about a fifth of the width, and an arrow to grid north."""
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    wanted = min(right - left, max((right - left) / 5, (top - bottom) / 8))
    unit = 10 ** np.floor(np.log10(wanted))
    length = float(unit * max(step for step in (1, 2, 5) if step * unit <= wanted))
    drop = bottom - 0.035 * (top - bottom)
    axes.plot([left, left + length], [drop, drop], color=INK, linewidth=2.2, solid_capstyle="butt", clip_on=False)
    text = f"{length / 1000:g} km" if length >= 1000 else f"{length:g} m"
    axes.annotate(text, (left + length, drop), xytext=(5, 0), textcoords="offset points", va="center", size=8)
    axes.annotate("N", (0.985, 1.0), (0, -26), xycoords="axes fraction", textcoords="offset points", ha="center",
                  va="center", size=9, weight="bold",
                  arrowprops={"arrowstyle": "-|>", "color": INK, "shrinkA": 0})  # fmt: skip
    axes.set_ylim(drop - 0.02 * (top - bottom), top)
