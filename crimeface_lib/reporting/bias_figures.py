"""Error rates by group, and a differential over time against the band that was approved."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from crimeface_lib.core.errors import SchemaError
from crimeface_lib.reporting.style import (
    BLUE,
    INK,
    LINE,
    MUTED,
    ORANGE,
    PAPER,
    VERMILLION,
    WASH,
    house_style,
    new_figure,
)

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Each rate, and which comparisons it is a share of.
_RATES = {"FMR": "nonmated", "FNMR": "mated"}
#: What the measures are called on a page.
MEASURE_NAMES = {
    "fmr_max_min": "FMR, worst group over best", "fnmr_max_min": "FNMR, worst group over best",
    "fmr_max_geomean": "FMR, worst group over geometric mean",
    "fnmr_max_geomean": "FNMR, worst group over geometric mean",
    "inequity_rate": "inequity rate", "garbe": "GARBE", "fdr": "fairness discrepancy rate (FDR)",
}  # fmt: skip


def bias_rates_figure(rates: pd.DataFrame, *, attribute: str | None = None) -> Figure:
    """Draw FMR and FNMR of each group with intervals, on a logarithmic axis; too few comparisons give no point.

    Parameters
    ----------
    rates : as ``BiasReport.rates``: attribute, group, mated, nonmated, FMR, FNMR and their ``_low`` and ``_high``.
    attribute : draw this one only. Pairs across groups ("a × b") have no FNMR.

    Raises
    ------
    SchemaError : a column is missing, or there is no row.
    """
    needed = {"attribute", "group", *(f"{rate}{end}" for rate in _RATES for end in ("", "_low", "_high"))}
    if missing := sorted((needed | {"mated", "nonmated"}) - set(rates.columns)):
        raise SchemaError(f"rates: lack {', '.join(missing)}; give BiasReport.rates")
    shown = rates if attribute is None else rates[rates["attribute"] == attribute]
    if shown.empty:
        raise SchemaError(f"rates: got no group of {attribute or 'any attribute'}, expected at least one")
    order = {name: i for i, name in enumerate(dict.fromkeys(shown["attribute"]))}
    crossed = shown["group"].str.contains("×", regex=False)
    shown = shown.assign(_a=shown["attribute"].map(order), _c=crossed).sort_values(["_a", "_c"], kind="stable")
    with house_style():
        figure = new_figure(
            height=0.95 + 0.26 * (len(shown) + shown["attribute"].nunique()), alt="Error rates by group, with intervals"
        )
        for axes, rate in zip(figure.subplots(1, 2, sharey=True), _RATES, strict=True):
            places = _forest(axes, shown, rate)
        figure.axes[0].set_yticks(places, shown["group"])
        figure.axes[0].set_ylim(places[-1] + 0.7, -1.0)
        figure.legend(
            handles=_forest_legend(), loc="outside lower center", ncols=3, handletextpad=0.4, columnspacing=1.4
        )
    return figure


def bias_trend_figure(rows: pd.DataFrame) -> Figure:
    """Draw one measure over its reports, with intervals and the approved band at the time of each.

    Parameters
    ----------
    rows : as ``BiasRegister.trend`` gives them: at, measure, attribute, model, version, value, low, high, band_low,
        band_high, state. An infinite value is drawn at the upper edge, as such.

    Raises
    ------
    SchemaError : no row, or several measures, attributes or models.
    """
    for column in ("measure", "attribute", "model"):
        if rows.empty or rows[column].nunique() != 1:
            raise SchemaError(f"trend: got {0 if rows.empty else rows[column].nunique()} {column}s, expected one")
    first = rows.iloc[0]
    value, low, high = (rows[name].to_numpy(dtype=float) for name in ("value", "low", "high"))
    known = np.concatenate([x[np.isfinite(x)] for x in (value, low, high, rows["band_high"], rows["band_low"])])
    top = float(known.max()) if len(known) else 1.0
    edge = top + 0.12 * (top - float(known.min()) or 1.0)
    with house_style():
        figure = new_figure(height=3.0, alt=f"{MEASURE_NAMES[first['measure']]} by {first['attribute']} over time")
        axes = figure.subplots()
        x = np.arange(len(rows))
        _draw_band(axes, rows, x)
        axes.plot(x, np.minimum(value, edge), color=LINE, linewidth=1, zorder=1)
        axes.vlines(x, low.clip(max=edge), high.clip(max=edge), color=BLUE, linewidth=2.2, alpha=0.55, zorder=2)
        outside = (rows["state"] == "outside").to_numpy()
        for chosen, marker, colour in ((~outside, "o", BLUE), (outside, "s", VERMILLION)):
            axes.scatter(
                x[chosen], np.minimum(value[chosen], edge), marker=marker, s=40, color=colour, edgecolor=INK,
                linewidth=0.4, zorder=3,
                label=("outside its band" if marker == "s" else "within it, or no band") if chosen.any() else None,
            )  # fmt: skip
        for place in np.flatnonzero(np.isnan(value)):
            axes.annotate("no error seen: unknown", (place, low[place]), ha="center", color=MUTED, size=7.5)
        for place in np.flatnonzero(np.isinf(value)):
            axes.annotate("∞", (x[place], edge), xytext=(6, 0), textcoords="offset points", va="center", color=INK)
        _mark_versions(axes, rows["version"].tolist())
        axes.set_xticks(x, [f"{at:%Y-%m-%d}" for at in rows["at"]], rotation=30 if len(rows) > 8 else 0)
        axes.set_xlim(-0.5, len(rows) - 0.5)
        axes.set_ylabel(MEASURE_NAMES[first["measure"]])
        axes.set_title(f"{first['model']}, by {first['attribute']}")
        figure.legend(loc="outside lower center", ncols=4)
    return figure


def _forest(axes: Axes, rates: pd.DataFrame, rate: str) -> list[float]:
    """Draw one rate of all groups; return the height of each row."""
    ends = rates[[rate, f"{rate}_low", f"{rate}_high"]].to_numpy(dtype=float)
    positive = ends[np.isfinite(ends) & (ends > 0)]
    floor = 10 ** np.floor(np.log10(positive.min())) if len(positive) else 1e-3
    ceiling = max(10 ** np.ceil(np.log10(positive.max())), 10 * floor) if len(positive) else 1.0
    axes.set_xscale("log")
    axes.set_xlim(floor * 0.8, ceiling * 1.1)
    axes.xaxis.set_major_formatter(lambda share, _: f"{100 * share:g}%")
    axes.xaxis.set_minor_formatter("")
    trials = rates[_RATES[rate]].to_numpy(dtype=int)
    places: list[float] = []
    attributes = rates["attribute"].tolist()
    height = -1.0
    for i, (name, group) in enumerate(zip(attributes, rates["group"], strict=True)):
        if i == 0 or name != attributes[i - 1]:
            height += 1.0
            axes.text(floor * 0.8, height - 0.35, f" {name}", color=MUTED, size=7.5, va="center", weight="bold")
            axes.axhline(height - 0.62, color=LINE, linewidth=0.6) if i else None
        height += 0.62 if i == 0 or name != attributes[i - 1] else 1.0
        places.append(height)
        value, low, high = ends[i]
        crossed = "×" in group
        if not np.isfinite(value):
            said = "no such pair" if crossed and rate == "FNMR" else f"too few: n = {trials[i]:,}"
            axes.text(floor, height, said, color=MUTED, size=7.5, va="center", style="italic")
            continue
        colour = ORANGE if crossed else BLUE
        axes.hlines(height, max(low, floor * 0.8), high, color=colour, linewidth=2.2, alpha=0.55)
        if value > 0:
            axes.scatter([value], [height], s=30, color=colour, marker="D" if crossed else "o", edgecolor=INK,
                         linewidth=0.4, zorder=3)  # fmt: skip
        else:
            axes.scatter([high], [height], s=30, color=PAPER, edgecolor=colour, marker="<", zorder=3)
    axes.grid(axis="x")
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.set_xlabel(f"{rate}: share of {_RATES[rate].replace('nonmated', 'non-mated')} comparisons")
    return places


def _forest_legend() -> list[Any]:
    from matplotlib.lines import Line2D

    plain: Any = {"linestyle": "", "markeredgecolor": INK, "markersize": 5.5}
    return [
        Line2D([], [], marker="o", color=BLUE, label="one group, with interval", **plain),
        Line2D([], [], marker="D", color=ORANGE, label="pairs across two groups", **plain),
        Line2D([], [], marker="<", markerfacecolor=PAPER, color=BLUE, label="no error seen: at most this", **plain),
    ]


def _draw_band(axes: Axes, rows: pd.DataFrame, x: np.ndarray) -> None:
    """Shade what was approved at the time of each report; the band may change between two."""
    named = False
    for place, (low, high) in zip(x, rows[["band_low", "band_high"]].to_numpy(dtype=float), strict=True):
        if np.isfinite(low) and np.isfinite(high):
            label = None if named else "approved band"
            axes.fill_between([place - 0.5, place + 0.5], low, high, facecolor=WASH, edgecolor="none", label=label)
            axes.hlines([low, high], place - 0.5, place + 0.5, color=MUTED, linewidth=0.8, linestyle=(0, (4, 3)))
            named = True


def _mark_versions(axes: Axes, versions: list[str]) -> None:
    for place in range(1, len(versions)):
        if versions[place] != versions[place - 1]:
            axes.axvline(place - 0.5, color=INK, linewidth=0.9)
            axes.annotate(
                f"version {versions[place][:10]}", (place - 0.5, 1), xycoords=("data", "axes fraction"),
                xytext=(3, -2), textcoords="offset points", va="top", size=7.5, color=MUTED,
            )  # fmt: skip
