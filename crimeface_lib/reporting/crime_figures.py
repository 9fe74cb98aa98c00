"""Figures about crime data by month and about forecasts of places. Places, never persons."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from crimeface_lib.core.errors import SchemaError
from crimeface_lib.reporting.style import (
    BLUE,
    CATEGORIES,
    INK,
    LINE,
    MUTED,
    PAPER,
    VERMILLION,
    WASH,
    house_style,
    new_figure,
    sequential,
)

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from crimeface_lib.crime import Aoristic

_LINES = ("-", (0, (6, 2)), (0, (2, 1.4)), (0, (7, 2, 1.5, 2)), (0, (4, 1)), (0, (1, 1)))
_MARKERS = ("o", "s", "^", "D", "v", "P")


def completeness_figure(matrix: pd.DataFrame) -> Figure:
    """Draw which force delivered which month: filled is present, a cross is absent.

    Parameters
    ----------
    matrix : one row a force, one column a month (anything pandas reads as a month), truth for present.

    Raises
    ------
    SchemaError : empty, or columns that are no months.
    """
    months = read_months(matrix.columns)
    present = matrix.to_numpy(bool)
    rows, columns = present.shape
    if not rows or not columns:
        raise SchemaError(f"completeness: got {rows} forces × {columns} months, expected at least one of each")
    with house_style():
        missing = int((~present).sum())
        figure = new_figure(
            height=0.85 + 0.3 * rows, alt=f"Months delivered by force; {missing} force-months are absent"
        )
        axes = figure.subplots()
        axes.pcolormesh(
            np.arange(columns + 1) - 0.5, np.arange(rows + 1) - 0.5, present, cmap=_two(PAPER, BLUE), vmin=0, vmax=1,
            edgecolor=PAPER, linewidth=1.2, alpha=0.85,
        )  # fmt: skip
        absent = np.argwhere(~present)
        axes.scatter(absent[:, 1], absent[:, 0], marker="x", s=26, color=VERMILLION, linewidth=1.6)
        axes.set_yticks(range(rows), [str(name) for name in matrix.index])
        axes.set_ylim(rows - 0.5, -0.5)
        month_axis(axes, months)
        axes.tick_params(axis="both", length=0)
        for spine in axes.spines.values():
            spine.set_visible(False)
        figure.legend(
            handles=[_patch(BLUE, "month delivered"), _cross("month absent: unknown, not zero")],
            loc="outside upper right", ncols=2,
        )  # fmt: skip
    return figure


def monthly_series_figure(
    frame: pd.DataFrame, *, unit: str = "recorded events a month", interval: pd.DataFrame | None = None
) -> Figure:
    """Draw monthly series; a month without data is a gap in the line, never a zero.

    Parameters
    ----------
    frame : one row a month (months absent from the index, and NaN, are gaps), one column a series.
    unit : words on the vertical axis.
    interval : columns ``low`` and ``high`` on the same kind of index, drawn as a band (a forecast).
    """
    import pandas as pd

    if frame.empty:
        raise SchemaError("monthly series: got no month, expected at least one")
    series = frame.set_axis(read_months(frame.index))
    band = interval.set_axis(read_months(interval.index)) if interval is not None else None
    last = max(series.index.max(), band.index.max()) if band is not None else series.index.max()
    months = pd.period_range(series.index.min(), last, freq="M")
    series = series.reindex(months)
    gaps = series.isna().all(axis=1).to_numpy()
    if band is not None:
        band = band.reindex(months)
        gaps = gaps & band["low"].isna().to_numpy()
    with house_style():
        figure = new_figure(height=2.9, alt=f"Monthly series of {unit}; {int(gaps.sum())} months have no data")
        axes = figure.subplots()
        x = np.arange(len(months))
        for place, gap in enumerate(np.flatnonzero(gaps)):
            axes.axvspan(gap - 0.5, gap + 0.5, facecolor=WASH, edgecolor=LINE, hatch="////", linewidth=0,
                         label="no data" if place == 0 else None)  # fmt: skip
        if band is not None:
            axes.fill_between(
                x, band["low"], band["high"], color=BLUE, alpha=0.18, linewidth=0, label="forecast interval"
            )
        for i, name in enumerate(series.columns):
            axes.plot(
                x, series[name], color=CATEGORIES[i % len(CATEGORIES)], linestyle=_LINES[i % len(_LINES)],
                marker="o", markersize=2.6, label=str(name),
            )  # fmt: skip
        axes.set_ylim(0, axes.get_ylim()[1])
        axes.set_ylabel(unit)
        axes.grid(axis="y")
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        month_axis(axes, months)
        if len(series.columns) > 1 or gaps.any() or band is not None:
            figure.legend(*axes.get_legend_handles_labels(), loc="outside upper right", ncols=4)
    return figure


def pai_figure(
    rows: pd.DataFrame, *, baseline: str = "decayed_counts", names: Mapping[str, str] | None = None
) -> Figure:
    """Draw the predictive accuracy index by model and share of area, each beside the count baseline.

    Parameters
    ----------
    rows : columns ``model``, ``area`` (share of it, 0.05 for 5%), ``pai``, ``pai_low``, ``pai_high``: what
        ``crime.evaluate_places`` calls its summary.
    names : words for the legend, where a model's own name is a code.
    baseline : the model that is drawn hollow, its value carried across the group as a line.

    Raises
    ------
    SchemaError : a column is missing, or the baseline is not among the models.
    """
    if missing := {"model", "area", "pai", "pai_low", "pai_high"} - set(rows.columns):
        raise SchemaError(f"PAI rows: missing {sorted(missing)}, expected model, area, pai, pai_low, pai_high")
    models = list(dict.fromkeys(rows["model"]))
    if baseline not in models:
        raise SchemaError(f"PAI rows: got models {models}, expected the baseline {baseline!r} among them")
    models = [baseline, *(m for m in models if m != baseline)]
    shares = sorted(set(rows["area"]))
    step = 0.7 / len(models)
    with house_style():
        figure = new_figure(height=3.0, alt="Predictive accuracy index of each model beside the count baseline")
        axes = figure.subplots()
        for i, model in enumerate(models):
            part = rows[rows["model"] == model].set_index("area").reindex(shares)
            x = np.arange(len(shares)) + (i - (len(models) - 1) / 2) * step
            colour = INK if model == baseline else CATEGORIES[(i - 1) % len(CATEGORIES)]
            axes.vlines(x, part["pai_low"], part["pai_high"], color=colour, linewidth=1.6)
            axes.scatter(
                x, part["pai"], s=38, marker=_MARKERS[i % len(_MARKERS)], zorder=3, edgecolor=colour, linewidth=1.4,
                color=PAPER if model == baseline else colour,
                label=(names or {}).get(model, str(model)) + (" (baseline)" if model == baseline else ""),
            )  # fmt: skip
            if model == baseline:
                axes.hlines(part["pai"], np.arange(len(shares)) - 0.42, np.arange(len(shares)) + 0.42,
                            color=MUTED, linewidth=0.8, linestyle=(0, (4, 3)), zorder=1)  # fmt: skip
        axes.axhline(1, color=LINE, linewidth=1.2)
        axes.annotate("1 = no better than chance", (1.0, 1), xycoords=("axes fraction", "data"), xytext=(0, 3),
                      textcoords="offset points", ha="right", size=7.5, color=MUTED)  # fmt: skip
        axes.set_xticks(range(len(shares)), [f"{100 * share:g}%" for share in shares])
        axes.set_xlim(-0.55, len(shares) - 0.45)
        axes.set_ylim(0, axes.get_ylim()[1])
        axes.set(xlabel="share of the area chosen", ylabel="predictive accuracy index")
        axes.grid(axis="y")
        axes.tick_params(axis="x", length=0)
        figure.legend(*axes.get_legend_handles_labels(), loc="outside upper right", ncols=4)
    return figure


def aoristic_figure(found: Aoristic, *, caveat: str) -> Figure:
    """Draw events expected by weekday and hour, with what each day and each hour adds up to at the sides.

    Parameters
    ----------
    found : of ``crime.aoristic(..., by="week")``.
    caveat : what it can't say, one sentence under it.

    Raises
    ------
    InputError : a result by hour or weekday alone.
    """
    from crimeface_lib.crime.aoristic import WEEKDAYS

    amounts = found.by_weekday_and_hour()
    with house_style():
        figure = new_figure(height=3.3, alt=f"Events expected by weekday and hour, {found.events} events with a span")
        grid = figure.subplots(2, 2, sharex="col", sharey="row", width_ratios=(6, 1), height_ratios=(1, 3))
        (above, corner), (axes, beside) = grid
        corner.set_axis_off()
        image = axes.imshow(amounts, cmap=sequential(), vmin=0, aspect="auto", interpolation="nearest")
        axes.set_yticks(range(7), WEEKDAYS)
        axes.set_xticks(range(0, 24, 3), [f"{hour:02d}" for hour in range(0, 24, 3)])
        axes.set_xlabel("hour of the day")
        above.bar(range(24), amounts.sum(axis=0), color=MUTED, width=0.85)
        beside.barh(range(7), amounts.sum(axis=1), color=MUTED, height=0.85)
        above.tick_params(axis="x", length=0)
        beside.tick_params(axis="y", length=0)
        figure.colorbar(image, ax=grid, label="events expected per hour", shrink=0.8)
        figure.supxlabel(caveat, x=0.01, ha="left", size=7, color=MUTED, wrap=True)
    return figure


def read_months(labels: pd.Index) -> pd.PeriodIndex:
    """Return the labels as months, whatever pandas reads as such."""
    import pandas as pd

    if isinstance(labels, pd.PeriodIndex):
        return labels.asfreq("M")
    try:
        return pd.PeriodIndex(labels, freq="M")
    except (TypeError, ValueError) as error:
        raise SchemaError(f"months: got {list(labels[:3])}, expected months such as 2019-07 ({error})") from error


def month_axis(axes: Axes, months: pd.PeriodIndex) -> None:
    """Label months by initial and years beneath; only years where the initials would not fit."""
    count = len(months)
    every = 1 if count <= 50 else 3 if count <= 130 else 12
    shown = [i for i, month in enumerate(months) if (month.month - 1) % every == 0]
    axes.set_xticks(shown, [months[i].strftime("%b")[0] if every < 12 else "" for i in shown], size=7)
    years = [i for i, month in enumerate(months) if i == 0 or month.month == 1]
    below = axes.secondary_xaxis(location=0)
    below.set_xticks(years, [f"\n{months[i].year}" for i in years], ha="left" if count > 1 else "center", size=8)
    below.tick_params(length=0)
    below.spines["bottom"].set_visible(False)
    axes.set_xlim(-0.5, count - 0.5)


def _two(absent: str, present: str):
    from matplotlib.colors import ListedColormap

    return ListedColormap([absent, present])


def _patch(colour: str, label: str):
    from matplotlib.patches import Patch

    return Patch(facecolor=colour, alpha=0.85, label=label)


def _cross(label: str):
    from matplotlib.lines import Line2D

    return Line2D([], [], marker="x", linestyle="", color=VERMILLION, markeredgewidth=1.6, markersize=5, label=label)
