"""Maps of what the statistics say of cells: hotspots and their stability, kinds of neighbourhood, profiles of series.

Classes differ in lightness and in hatching, so that they stay apart in a grey print and for the colour-blind.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from crimeface_lib.core.errors import InputError
from crimeface_lib.core.types import BoolArray
from crimeface_lib.crime import (
    KINDS,
    Density,
    GeographicProfile,
    Hotspots,
    LocalMoran,
    Sensitivity,
    false_discovery,
    top_cells,
)
from crimeface_lib.crime.profiling import LIMITS
from crimeface_lib.reporting.maps import LEGEND, add_paths, caption, finish_map, format_amount, map_shape, ring
from crimeface_lib.reporting.style import INK, MUTED, PAPER, house_style, new_figure, sequential

if TYPE_CHECKING:
    import geopandas as gpd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_GROUND = "#F3F1EA"


class Class(NamedTuple):
    """Cells drawn alike."""

    cells: BoolArray
    label: str
    colour: Any
    hatch: str = ""


class Panel(NamedTuple):
    """One map of a figure: its classes, what the legend is called, cells ringed and cells dotted."""

    title: str
    legend: str
    classes: Sequence[Class]
    ringed: BoolArray | None = None
    ringed_as: str = ""
    dotted: BoolArray | None = None


def hotspot_map(
    found: Hotspots | LocalMoran | Density,
    *,
    title: str,
    attribution: str,
    caveat: str,
    outline: Any = None,
    sensitivity: Sensitivity | None = None,
) -> Figure:
    """Draw hotspots, and beside them how far they depend on grid and snap points.

    Parameters
    ----------
    found : Gi* (hot and cold at its level of false discovery, and at a fifth of it), local Moran (its four kinds), or
        a density (five classes, each of a stated share of the area).
    sensitivity : of the same grid; its panel rings the hotspots of the first.
    attribution, caveat, outline : as ``crime_map`` takes them.

    Raises
    ------
    InputError : a sensitivity on another grid.
    """
    panels = [Panel(title, *_CLASSES[type(found)](found))]
    if sensitivity is not None:
        if len(sensitivity.grid) != len(found.grid) or sensitivity.grid.origin != found.grid.origin:
            raise InputError("sensitivity: got one on another grid, expected the one of the map beside it")
        panels.append(_stability(sensitivity))
    return draw_panels(found.grid.cells, panels, attribution=attribution, caveat=caveat, outline=outline, alt=title)


def profile_map(
    profile: GeographicProfile, *, title: str, attribution: str, caveat: str, outline: Any = None
) -> Figure:
    """Draw a geographic profile: regions by probability, or by share of the area for a score that is none.

    The places of the series are shown as the cells that they lie in, no finer. Beside ``caveat`` stands that the map
    names no person and no address.
    """
    tones = sequential()([0.95, 0.55, 0.25])
    if profile.method == "bayes":
        inner = [profile.region(level=level) for level in (0.5, 0.9, 0.99)]
        labels = ["smallest area with 50%", "up to 90%", "up to 99%", "the remaining 1%"]
        legend = "probability of the anchor,\nif it lies in the area"
    else:
        inner = [profile.best(share=share) for share in (0.01, 0.05, 0.2)]
        labels = ["first 1% of the area", "up to 5%", "up to 20%", "the rest"]
        legend = "order of search by score,\nno probability"
    rings = [inner[0], inner[1] & ~inner[0], inner[2] & ~inner[1], ~inner[2]]
    hatches = ("", "", "", "")
    classes = [Class(*row) for row in zip(rings, labels, [*tones, _GROUND], hatches, strict=True)]
    caveat = " ".join(dict.fromkeys([caveat, LIMITS[0]]))
    index = profile.grid.index_of(profile.sites[["x", "y"]].to_numpy())
    dotted = np.bincount(index[index >= 0], minlength=len(profile.grid)) > 0
    panel = Panel(title, legend, classes, dotted=dotted)
    return draw_panels(profile.grid.cells, [panel], attribution=attribution, caveat=caveat, outline=outline, alt=title)


def _hot_and_cold(found: Hotspots) -> tuple[str, list[Class]]:
    strict = false_discovery(found.p, alpha=found.alpha / 5)
    firm, plain = f"{100 * found.alpha / 5:g}%", f"{100 * found.alpha:g}%"
    return "Gi*, false discoveries\nheld at", [
        Class(found.hot & strict, f"hot, {firm}", "#7A1F00"),
        Class(found.hot & ~strict, f"hot, {plain}", "#E2793B"),
        Class(~found.hot & ~found.cold, "neither", _GROUND),
        Class(found.cold & ~strict, f"cold, {plain}", "#BBD7EA", "...."),
        Class(found.cold & strict, f"cold, {firm}", "#7FB2D6", "xxxx"),
    ]


def _kinds(found: LocalMoran) -> tuple[str, list[Class]]:
    looks = {
        1: ("#7A1F00", ""),
        4: ("#E2793B", "////"),
        2: ("#BBD7EA", "\\\\\\\\"),
        3: ("#7FB2D6", "...."),
        0: (_GROUND, ""),
    }
    return f"local Moran, false\ndiscoveries at {100 * found.alpha:g}%", [
        Class(found.kind == kind, KINDS[kind], *look) for kind, look in looks.items()
    ]


def _levels(found: Density) -> tuple[str, list[Class]]:
    shares, tones = (0.01, 0.05, 0.1, 0.25, 1.0), sequential()([1.0, 0.72, 0.48, 0.25, 0.0])
    classes, taken = [], np.zeros(len(found.values), dtype=bool)
    for share, tone in zip(shares, tones, strict=True):
        best = np.zeros(len(found.values), dtype=bool)
        best[top_cells(found.values, share=share)] = True
        new = best & ~taken
        if not new.any():
            continue
        name = f"densest {100 * share:g}% of the area" if share < 1 else "the rest"
        classes.append(Class(new, f"{name} (from {format_amount(found.values[new].min())})", tone))
        taken |= best
    return f"events per km²,\nbandwidth {found.bandwidth:g} m", classes


_CLASSES: dict[type, Any] = {Hotspots: _hot_and_cold, LocalMoran: _kinds, Density: _levels}


def _stability(found: Sensitivity) -> Panel:
    share, tones = found.share, sequential()([0.95, 0.6, 0.3])
    varied = ", ".join(dict.fromkeys(found.settings["varied"]))
    return Panel(
        "Does it stay a hotspot?", f"share of {len(found.settings)} settings\n({varied})",
        [
            Class(share >= 0.9, "90% or more", tones[0]),
            Class((share >= 0.5) & (share < 0.9), "50 to 90%", tones[1]),
            Class((share > 0) & (share < 0.5), "under 50%", tones[2], "...."), Class(share == 0, "never", _GROUND),
        ],
        found.reference, "hotspot in the map beside it",
    )  # fmt: skip


def draw_panels(
    cells: gpd.GeoDataFrame, panels: Sequence[Panel], *, attribution: str, caveat: str, outline: Any, alt: str
) -> Figure:
    """Draw one map beside or above another, each with its legend, over one caption."""
    shape, many = map_shape(cells), len(panels)
    beside = many > 1 and shape > 0.5
    with house_style():
        height = {False: 5.1 * shape + 0.85 if many == 1 else many * (5.1 * shape + 0.3) + 0.6, True: 3.4 * shape + 2.5}
        figure = new_figure(height=float(height[beside]), alt=f"Map: {alt}")
        grid = figure.subplots(1, many, squeeze=False) if beside else figure.subplots(many, 1, squeeze=False)
        beyond = 0
        for axes, panel in zip(grid.ravel(), panels, strict=True):
            handles = _draw_panel(axes, cells, panel)
            beyond = finish_map(axes, cells, title=panel.title, outline=outline)
            if many == 1:
                figure.legend(handles=handles, title=panel.legend, loc="outside right upper", **LEGEND)
                continue
            where = {"loc": "upper left", "bbox_to_anchor": (0.0, -0.02) if beside else (1.02, 1.0)}
            axes.legend(handles=handles, title=panel.legend, borderaxespad=0.0, **where, **LEGEND)
        caption(figure, caveat, attribution, beyond=beyond)
    return figure


def _draw_panel(axes: Axes, cells: gpd.GeoDataFrame, panel: Panel) -> list[Any]:
    import shapely
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles: list[Any] = []
    shapes = np.asarray(cells.geometry)
    for part in panel.classes:
        if part.cells.any():
            area = shapely.union_all(shapes[part.cells])
            add_paths(axes, [area], facecolor=part.colour, edgecolor=MUTED if part.hatch else part.colour,
                      linewidth=0.0 if part.hatch else 0.25, hatch=part.hatch or None)  # fmt: skip
        handles.append(Patch(facecolor=part.colour, edgecolor=MUTED, linewidth=0.5, hatch=part.hatch, label=part.label))
    if panel.ringed is not None and panel.ringed.any():
        handles.append(ring(axes, cells.geometry[panel.ringed], label=panel.ringed_as, width=0.8))
    if panel.dotted is not None and panel.dotted.any():
        at = shapely.centroid(shapes[panel.dotted])
        style: dict[str, Any] = {
            "marker": "o",
            "color": PAPER,
            "markeredgecolor": INK,
            "markersize": 4,
            "linestyle": "",
        }
        axes.plot(shapely.get_x(at), shapely.get_y(at), **style)
        handles.append(Line2D([], [], **style, label="cell with a place of the series"))
    return handles
