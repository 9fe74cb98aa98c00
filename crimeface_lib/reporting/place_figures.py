"""Figures about a forecast of places: the chosen cells and why, hit rates on past months, expected beside observed.

Models and classes differ in marker, line and lightness as well as in colour, for a grey print.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from crimeface_lib.core.errors import SchemaError
from crimeface_lib.reporting.maps import crime_map
from crimeface_lib.reporting.place_maps import Class, Panel, draw_panels
from crimeface_lib.reporting.style import (
    BLUE,
    CATEGORIES,
    INK,
    LINE,
    MUTED,
    ORANGE,
    PAPER,
    SKY,
    house_style,
    new_figure,
    sequential,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from crimeface_lib.crime import Grid, PlaceEvaluation, PlaceRisk, Stability

_DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1.5, 1.5)), (0, (7, 2, 1.5, 2)))
_MARKERS = ("o", "s", "^", "D", "v", "P")
_PARTS = {
    "recency": ("this cell, last quarter", BLUE, ""),
    "long_term": ("this cell, before", SKY, "////"),
    "neighbours": ("its neighbours", ORANGE, "...."),
}


def horizon_in_words(horizon: str) -> str:
    """Return "1M" as "1 month".

    >>> horizon_in_words("2W")
    '2 weeks'
    """
    number, unit = int(horizon[:-1]), {"D": "day", "W": "week", "M": "month"}[horizon[-1]]
    return f"{number} {unit}" + "s" * (number > 1)


def risk_map(
    risk: PlaceRisk, *, share: float, attribution: str, caveat: str, outline: Any = None, numbered: int = 10
) -> Figure:
    """Draw expected events per cell, the chosen cells ringed and the first of them numbered by rank.

    Parameters
    ----------
    share : of the cells that count as chosen. outline, attribution, caveat : as ``crime_map`` takes them.
    """
    picked = risk.top(share=share)
    chosen = np.zeros(len(risk.risk), dtype=bool)
    chosen[picked] = True
    figure = crime_map(
        risk.grid.cells, risk.risk, title=f"Expected events, {horizon_in_words(risk.horizon)} from {risk.at}",
        legend=f"expected recorded\nevents per cell\n({risk.grid.cell:g} m, {len(chosen):,} cells)",
        attribution=attribution, caveat=caveat, outline=outline, hotspots=chosen,
        ringed_as=f"chosen: riskiest {100 * share:g}%\n({len(picked):,} cells)",
    )  # fmt: skip
    from matplotlib.patheffects import withStroke

    places = risk.grid.centres()[picked[:numbered]]
    if len(places):
        spots = _around(places, margin=0.09 * float(np.ptp(risk.grid.centres(), axis=0).max()))
        for rank, (place, spot) in enumerate(zip(places, spots, strict=True), 1):
            figure.axes[0].annotate(
                str(rank), place, xytext=spot, size=6.5, color=INK, zorder=6, ha="center", va="center",
                bbox={"boxstyle": "round,pad=0.15", "facecolor": PAPER, "edgecolor": MUTED, "linewidth": 0.5},
                arrowprops={"arrowstyle": "-", "color": INK, "linewidth": 0.7, "shrinkA": 0, "shrinkB": 0,
                            "path_effects": [withStroke(linewidth=2.2, foreground=PAPER)]},
            )  # fmt: skip
    return figure


def _around(places: np.ndarray, *, margin: float) -> np.ndarray:
    """Return where the labels of ``places`` (N, 2) stand: on an oval around them all, shared out so that the lines that
    lead to them are shortest in all, for then none crosses another."""
    from scipy.optimize import linear_sum_assignment

    middle, reach = (places.min(axis=0) + places.max(axis=0)) / 2, np.ptp(places, axis=0) / 2 + margin
    turn = np.linspace(0, 2 * np.pi, 2 * len(places), endpoint=False)
    spots = middle + reach * np.stack([np.cos(turn), np.sin(turn)], axis=1)
    _, chosen = linear_sum_assignment(np.linalg.norm(places[:, None] - spots, axis=2))
    return np.asarray(spots[chosen])


def contributions_figure(risk: PlaceRisk, *, cells: int = 15) -> Figure:
    """Draw where the expectation in the riskiest cells comes from, as bars stacked to the expected events."""
    table = risk.to_frame(cells=cells).iloc[::-1]
    y = np.arange(len(table))
    with house_style():
        figure = new_figure(height=0.9 + 0.22 * len(table), alt=f"Parts of the expectation in {len(table)} cells")
        axes = figure.subplots()
        left = np.zeros(len(table))
        for name, (words, colour, hatch) in _PARTS.items():
            part = table[name].to_numpy() if name in table else np.zeros(len(table))
            if part.any():
                axes.barh(y, part, left=left, height=0.74, color=colour, hatch=hatch, edgecolor=PAPER, linewidth=0.6,
                          label=words)  # fmt: skip
            left += part
        for height, value in zip(y, table["risk"], strict=True):
            axes.annotate(f"{value:.3g}", (value, height), xytext=(4, 0), textcoords="offset points", va="center",
                          size=7.5)  # fmt: skip
        axes.set_yticks(y, [f"{len(table) - k}: cell {cell}" for k, cell in enumerate(table["cell"])])
        axes.set_xlim(0, 1.1 * float(table["risk"].max()))
        axes.set_xlabel(f"expected recorded events, {horizon_in_words(risk.horizon)} from {risk.at}")
        axes.set_ylabel("rank and cell")
        axes.grid(axis="x")
        axes.tick_params(axis="y", length=0)
        figure.legend(*axes.get_legend_handles_labels(), loc="outside upper right", ncols=3)
    return figure


def hit_rate_figure(found: PlaceEvaluation, *, names: dict[str, str] | None = None) -> Figure:
    """Draw the share of events found in a share of the area, and what each model adds to the baseline, paired.

    Parameters
    ----------
    names : words for models. A band is the interval over the cut-offs of ``found``.
    """
    curves, number = found.curves, int(found.summary["cutoffs"].iloc[0])
    models = [found.baseline, *(m for m in dict.fromkeys(curves["model"]) if m != found.baseline)]
    with house_style():
        figure = new_figure(
            height=3.4, alt=f"Hit rate by share of the area on {number} past dates, {len(models)} models"
        )
        left, right = figure.subplots(1, 2)
        for k, model in enumerate(models):
            part = curves[curves["model"] == model].sort_values("area")
            x, base = 100 * part["area"], model == found.baseline
            colour = INK if base else CATEGORIES[(k - 1) % len(CATEGORIES)]
            style: dict[str, Any] = {
                "color": colour, "linestyle": _DASHES[k % len(_DASHES)], "marker": _MARKERS[k % len(_MARKERS)],
                "markersize": 3.4, "markerfacecolor": PAPER if base else colour, "markevery": 3, "linewidth": 1.4,
            }  # fmt: skip
            words = (names or {}).get(model, model) + (" (baseline)" if base else "")
            left.plot(x, 100 * part["hit_rate"], label=words, **style)
            if base:
                left.fill_between(x, 100 * part["low"], 100 * part["high"], color=MUTED, alpha=0.25, linewidth=0)
                continue
            right.plot(x, 100 * part["difference"], **style)
            right.fill_between(x, 100 * part["difference_low"], 100 * part["difference_high"], color=colour,
                               alpha=0.16, linewidth=0)  # fmt: skip
        far = 100 * float(curves["area"].max())
        left.plot([0, far], [0, far], color=MUTED, linewidth=0.9, linestyle=(0, (1, 2)), label="at random")
        left.set(ylabel="events found, % of all", ylim=(0, None), title="Hit rate")
        right.axhline(0, color=INK, linewidth=1.0)
        right.set(ylabel="percentage points", title="Added to the baseline, paired")
        for axes in (left, right):
            axes.set(xlabel="share of the area chosen, %", xlim=(0, far))
            axes.grid(axis="y")
        each = horizon_in_words(found.horizon)
        note = f"{number} past dates, {each} each; bands: {found.confidence:.0%} intervals over the dates."
        figure.supxlabel(note, x=0.01, ha="left", size=7, color=MUTED)
        figure.legend(*left.get_legend_handles_labels(), loc="outside upper right", ncols=4)
    return figure


def reliability_figure(
    found: PlaceEvaluation, *, model: str | None = None, names: dict[str, str] | None = None
) -> Figure:
    """Draw observed beside expected events, cells in bins that expect about as many events each.

    Parameters
    ----------
    model : drawn beside the baseline; the baseline alone where not given.

    Raises
    ------
    SchemaError : a model that was not evaluated.
    """
    have = list(dict.fromkeys(found.calibration["model"]))
    shown = list(dict.fromkeys([found.baseline, model or found.baseline]))
    if unknown := [name for name in shown if name not in have]:
        raise SchemaError(f"model: got {unknown[0]!r}, expected one that was evaluated: {', '.join(have)}")
    number = int(found.summary["cutoffs"].iloc[0])
    with house_style():
        figure = new_figure(height=3.1, alt=f"Observed over expected events in ten bins of cells, {number} past dates")
        axes = figure.subplots()
        axes.axhline(1, color=INK, linewidth=1.0)
        for k, name in enumerate(shown):
            part = found.calibration[found.calibration["model"] == name]
            x = part["bin"] + (k - (len(shown) - 1) / 2) * 0.25
            colour, base = (INK, True) if name == found.baseline else (BLUE, False)
            axes.vlines(x, part["ratio_low"], part["ratio_high"], color=colour, linewidth=1.6)
            axes.scatter(x, part["ratio"], s=34, marker=_MARKERS[k], color=PAPER if base else colour, edgecolor=colour,
                         linewidth=1.4, zorder=3,
                         label=(names or {}).get(name, name) + (" (baseline)" if base else ""))  # fmt: skip
        last = found.calibration[found.calibration["model"] == shown[-1]]
        mean = last["expected"] / last["cells"]
        ticks = [f"{m:.2g}\n{c:,}" for m, c in zip(mean, last["cells"], strict=True)]
        axes.set_xticks(last["bin"], ticks, size=7)
        axes.set_ylim(0, None)
        axes.set_ylabel("observed per expected event")
        axes.set_xlabel(f"mean expected events per cell; under it the cells in the bin (over {number} past dates)")
        axes.grid(axis="y")
        axes.tick_params(axis="x", length=0)
        figure.legend(*axes.get_legend_handles_labels(), loc="outside upper right", ncols=2)
    return figure


def stability_map(found: Stability, grid: Grid, *, attribution: str, caveat: str, outline: Any = None) -> Figure:
    """Draw how often each cell is among the riskiest when the events are drawn anew; the forecast's are ringed."""
    share, tones = found.chosen, sequential()([0.95, 0.6, 0.3])
    ringed = np.zeros(len(grid), dtype=bool)
    ringed[found.picked] = True
    parts = (
        (share >= 0.9, "90% or more", tones[0], ""), ((share >= 0.5) & (share < 0.9), "50 to 90%", tones[1], ""),
        ((share > 0) & (share < 0.5), "under 50%", tones[2], "...."), (share == 0, "never", "#F3F1EA", ""),
    )  # fmt: skip
    classes = [Class(cells, f"{words} ({int(cells.sum()):,} cells)", *look) for cells, words, *look in parts]
    panel = Panel(
        "Would the same cells be chosen again?", f"chosen in a share of\n{len(found.overlap)} draws of the events",
        classes, ringed, f"chosen by the forecast\n({len(found.picked):,} cells)",
    )  # fmt: skip
    return draw_panels(grid.cells, [panel], attribution=attribution, caveat=caveat, outline=outline, alt=panel.title)


def feedback_figure(found: Any, corrected: Any) -> Figure:
    """Draw each area's share of the events beside its simulated share of patrols, records as found and corrected."""
    with house_style():
        runs, areas = found.final.shape
        figure = new_figure(height=2.9, alt=f"Shares of events and of patrols in {areas} areas, {runs} simulations")
        axes = figure.subplots()
        x = np.arange(areas)[::-1]  # rates ascend, ranks begin with the riskiest
        axes.bar(
            x, 100 * found.truth, color=LINE, edgecolor=MUTED, linewidth=0.8, width=0.8, label="events that happen"
        )
        for side, one, colour, marker, words in (
            (-0.17, found, ORANGE, "s", "patrols, records as found"),
            (0.17, corrected, BLUE, "o", "patrols, corrected"),
        ):  # fmt: skip
            table = one.to_frame()
            axes.vlines(x + side, 100 * table["low"], 100 * table["high"], color=colour, linewidth=1.8)
            axes.scatter(x + side, 100 * table["patrols"], s=28, marker=marker, color=colour, edgecolor=INK,
                         linewidth=0.7, zorder=3, label=words)  # fmt: skip
        axes.set_xticks(range(areas), [str(k) for k in range(1, areas + 1)])
        axes.set(xlabel="rank of the cell in the forecast", ylabel="share, %")
        axes.grid(axis="y")
        note = f"Means of {runs} simulations of {found.steps:,} rounds; lines hold nine of ten of them."
        figure.supxlabel(note, x=0.01, ha="left", size=7, color=MUTED)
        figure.legend(*axes.get_legend_handles_labels(), loc="outside upper right", ncols=3)
    return figure
