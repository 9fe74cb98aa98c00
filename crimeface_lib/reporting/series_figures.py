"""Figures about series: trend and season with their gaps, changes of level, the calendar, and what is ahead."""

from __future__ import annotations

from textwrap import fill
from typing import TYPE_CHECKING, Any

import numpy as np

from crimeface_lib.core.errors import SchemaError
from crimeface_lib.reporting.crime_figures import month_axis
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

    from crimeface_lib.crime.calendars import CalendarEffects
    from crimeface_lib.crime.changepoints import ChangePoints
    from crimeface_lib.crime.decompose import Decomposition
    from crimeface_lib.crime.forecast import Forecast
    from crimeface_lib.crime.timeseries import SeasonalProfile

_MONTHS = "JFMAMJJASOND"


def decomposition_figure(found: Decomposition, *, unit: str = "events") -> Figure:
    """Draw observed values with their trend and its interval, the season, and the rest; gaps are hatched throughout."""
    table = found.table
    x = np.arange(len(table))
    neutral = 1.0 if found.multiplicative else 0.0
    with house_style():
        alt = f"Trend, season and rest of {len(table)} periods; {len(found.gaps)} have no data"
        figure = new_figure(height=4.6, alt=alt)
        top, middle, bottom = figure.subplots(3, 1, sharex=True, gridspec_kw={"height_ratios": (2.4, 1, 1)})
        for axes in (top, middle, bottom):
            _shade(axes, table["gap"].to_numpy())
            axes.grid(axis="y")
            _thousands(axes)
        _band(top, x, table["low"], table["high"], f"{found.confidence:.0%} interval of the trend")
        top.plot(x, table["observed"], color=MUTED, linewidth=0.9, marker=_dot(x), markersize=2.4, label="observed")
        top.plot(x, table["trend"], color=BLUE, linewidth=2.0, label="trend")
        top.set_ylabel(unit)
        middle.plot(x, table["seasonal"], color=ORANGE, label="season")
        middle.set_ylabel("season" + (", factor" if found.multiplicative else ""))
        weight = table["weight"].to_numpy()
        odd = weight < 0.5
        bottom.vlines(x, neutral, table["residual"], color=MUTED, linewidth=1.2)
        if odd.any():
            bottom.scatter(x[odd], table["residual"].to_numpy()[odd], s=20, marker="D", color=VERMILLION, zorder=3,
                           label="outlier, weighted down")  # fmt: skip
        bottom.set_ylabel("rest")
        for axes in (middle, bottom):
            axes.axhline(neutral, color=LINE, linewidth=0.9, zorder=0)
        _periods(bottom, table.index)
        _legend(figure, top, bottom)
    return figure


def change_points_figure(found: ChangePoints, *, unit: str = "events a month") -> Figure:
    """Draw the counts, the level of each stretch, and when each change came, with the interval of its month."""
    import pandas as pd

    table = found.fitted
    x = np.arange(len(table))
    with house_style():
        alt = f"{len(found)} changes of level in {len(table)} months; {len(found.gaps)} months have no data"
        figure = new_figure(height=3.1, alt=alt)
        axes = figure.subplots()
        _shade(axes, table["gap"].to_numpy())
        axes.plot(x, table["observed"], color=MUTED, linewidth=0.9, marker=_dot(x), markersize=2.6, label="observed")
        axes.plot(x, table["expected"], color=ORANGE, linewidth=1.2, linestyle=(0, (4, 1.5)), label="level with season")
        axes.step(x, table["level"], where="mid", color=BLUE, linewidth=2.2, label="level")
        bottom, top = 0.0, 1.22 * float(np.nanmax(table[["observed", "expected"]].to_numpy()))
        axes.set_ylim(bottom, top)
        first = pd.Period(table.index[0], "M").ordinal
        for k, row in enumerate(found.table.itertuples()):
            at, low, high = (month.ordinal - first for month in (row.month, row.low, row.high))
            height = top * (0.97 - 0.06 * (k % 3))
            axes.axvline(at - 0.5, ymax=height / top, color=VERMILLION, linewidth=1.1,
                         label="change, with the interval of its month" if k == 0 else None)  # fmt: skip
            axes.plot([low - 0.8, high - 0.2], [height, height], color=VERMILLION, linewidth=3, solid_capstyle="butt")
            axes.annotate(f"× {row.ratio:.2f}", (at - 0.5, height), xytext=(3, 3), textcoords="offset points", size=7.5,
                          color=INK)  # fmt: skip
        axes.set_ylabel(unit)
        axes.grid(axis="y")
        _thousands(axes)
        _periods(axes, table.index)
        _legend(figure, axes)
    return figure


def forecast_figure(
    history: pd.Series, found: Forecast, *, series: str | None = None, level: str | None = None,
    unit: str = "recorded events a month", past: int = 48,
) -> Figure:  # fmt: skip
    """Draw the months ahead as a fan beside the past, with what such intervals held before.

    Parameters
    ----------
    history : the counts that ``series`` of ``found`` continues; the last ``past`` months are drawn.
    series, level : which of the forecast's series, and of its levels where a name is in two; the first when not given.

    Raises
    ------
    SchemaError : no such series or level, or a history that does not end where the forecast begins.
    """
    import pandas as pd

    names = found.table[["level", "series"]].drop_duplicates()
    fits = names[((names["level"] == level) | (level is None)) & ((names["series"] == series) | (series is None))]
    if fits.empty:
        known = ", ".join(f"{one.level}: {one.series}" for one in names.head(8).itertuples())
        raise SchemaError(f"forecast: got level {level!r}, series {series!r}, expected one of {known}")
    rows = found.table.merge(fits.head(1))
    if rows["month"].iloc[0] != history.index[-1] + 1:
        raise SchemaError(f"history: got a last month of {history.index[-1]}, expected {rows['month'].iloc[0] - 1}")
    shown = history.iloc[-past:]
    index = pd.period_range(shown.index[0], rows["month"].iloc[-1], freq="M")
    told = found.checked.set_index("level").loc[rows["level"].iloc[0]]
    with house_style():
        figure = new_figure(height=3.0, alt=f"{len(rows)} months ahead of {len(shown)} months of {unit}")
        axes = figure.subplots()
        _shade(axes, np.r_[shown.isna().to_numpy(), np.zeros(len(rows), dtype=bool)])
        x, ahead = np.arange(len(shown)), len(shown) + np.arange(len(rows))
        axes.plot(x, shown, color=MUTED, marker=_dot(x), markersize=2.6, linewidth=1.2, label="recorded")
        axes.axvline(len(shown) - 0.5, color=LINE, linewidth=1.0)
        _band(axes, ahead, rows["low"], rows["high"], f"interval meant to hold {found.confidence:.0%}")
        axes.plot(ahead, rows["expected"], color=BLUE, marker="o", markersize=3.2, linewidth=2.0, label="expected")
        axes.set_ylim(0, axes.get_ylim()[1])
        held = (
            f"Such intervals held {told['coverage']:.0%} of {told['months']:,.0f} past months"
            if np.isfinite(told["coverage"]) else "Too few months to check such intervals on"
        )  # fmt: skip
        axes.set_title(held, size=8, color=INK, weight="normal")
        axes.set_ylabel(unit)
        axes.grid(axis="y")
        _thousands(axes)
        _periods(axes, index)
        _legend(figure, axes)
    return figure


def series_panels_figure(
    history: pd.DataFrame, found: Forecast, *, level: str | None = None, most: int = 12, past: int = 36
) -> Figure:
    """Draw the past and the months ahead of each series of one level, the largest first, each on its own scale.

    Parameters
    ----------
    history : the counts that ``found`` continues, all of them. level : the finest where not given.

    Raises
    ------
    SchemaError : no such level.
    """
    levels = list(dict.fromkeys(found.table["level"]))
    if level is not None and level not in levels:
        raise SchemaError(f"level: got {level!r}, expected one of {', '.join(levels)}")
    level = level or levels[-1]
    rows = found.table[found.table["level"] == level]
    order = rows.groupby("series")["expected"].sum().sort_values(ascending=False).index
    names = list(order[:most])
    sums = _sums(history, levels.index(level), len(levels))
    across = min(3, len(names))
    down = -(-len(names) // across)
    with house_style():
        alt = f"Past and expected counts of {len(names)} of {len(order)} series, {found.confidence:.0%} intervals"
        figure = new_figure(height=0.7 + 1.45 * down, alt=alt)
        grid = figure.subplots(down, across, squeeze=False)
        for axes, name in zip(grid.ravel(), names, strict=False):
            part, shown = rows[rows["series"] == name], sums[name].iloc[-past:]
            x, ahead = np.arange(len(shown)), len(shown) + np.arange(len(part))
            _shade(axes, np.r_[shown.isna().to_numpy(), np.zeros(len(part), dtype=bool)])
            axes.plot(x, shown, color=MUTED, linewidth=1.1, label="recorded")
            axes.axvline(len(shown) - 0.5, color=LINE, linewidth=1.0)
            _band(axes, ahead, part["low"], part["high"], f"interval meant to hold {found.confidence:.0%}")
            axes.plot(ahead, part["expected"], color=BLUE, marker="o", markersize=2.6, label="expected")
            axes.set_ylim(0, axes.get_ylim()[1])
            axes.set_title(fill(name, 30), size=8)
            years = [(k, month.year) for k, month in enumerate(shown.index) if month.month == 1]
            axes.set_xticks([k for k, _ in years], [str(year) for _, year in years])
            axes.grid(axis="y")
            _thousands(axes)
        for axes in grid.ravel()[len(names) :]:
            axes.set_axis_off()
        figure.supylabel("recorded events a month", size=8)
        _legend(figure, *grid.ravel()[: len(names)])
    return figure


def _sums(history: pd.DataFrame, place: int, levels: int) -> pd.DataFrame:
    """Return the counts of one level of a hierarchy under the names that the forecast gives its series."""
    if place == 0 and levels > 1:
        return history.sum(axis=1, min_count=1).to_frame("total")
    depth = max(place, 1) if levels > 1 else history.columns.nlevels
    sums = history.T.groupby(level=list(range(depth)), sort=False).sum(min_count=1).T
    return sums.set_axis([" × ".join(map(str, k if isinstance(k, tuple) else (k,))) for k in sums.columns], axis=1)


def seasonal_profile_figure(found: SeasonalProfile) -> Figure:
    """Draw each calendar month beside an average month, with its interval."""
    table = found.table
    with house_style():
        figure = new_figure(height=2.6, width=5.0, alt="Each calendar month as a factor of an average month")
        axes = figure.subplots()
        clear = (table["low"] > 1) | (table["high"] < 1)
        axes.axhline(1, color=LINE, linewidth=1.2)
        axes.vlines(table["month"], table["low"], table["high"], color=BLUE, linewidth=1.8)
        for mask, face, words in ((clear, BLUE, "interval without 1"), (~clear, PAPER, "interval with 1")):
            part = table[mask]
            axes.scatter(part["month"], part["index"], s=34, color=face, edgecolor=BLUE, linewidth=1.4, zorder=3,
                         label=words if len(part) else None)  # fmt: skip
        axes.set_xticks(range(1, 13), list(_MONTHS))
        axes.set_ylabel("average month = 1")
        axes.set_title(f"{found.confidence:.0%} intervals, variance {found.dispersion:.1f} times the mean",
                       size=8, color=INK, weight="normal")  # fmt: skip
        axes.grid(axis="y")
        axes.tick_params(axis="x", length=0)
        _legend(figure, axes)
    return figure


def calendar_figure(found: CalendarEffects) -> Figure:
    """Draw the effect of each kind of day as a factor with its interval; 1 is no effect."""
    table = found.table.iloc[::-1]
    y = np.arange(len(table))
    with house_style():
        figure = new_figure(height=0.9 + 0.2 * len(table), alt=f"{len(table)} effects of the calendar, 1 is none")
        axes = figure.subplots()
        axes.axvline(1, color=LINE, linewidth=1.2)
        clear = ((table["low"] > 1) | (table["high"] < 1)).to_numpy()
        axes.hlines(y, table["low"], table["high"], color=BLUE, linewidth=1.8)
        axes.scatter(
            table["ratio"], y, s=30, color=np.where(clear, BLUE, PAPER), edgecolor=BLUE, linewidth=1.3, zorder=3
        )
        axes.set_yticks(y, list(table["effect"]))
        kinds = table["kind"].to_numpy()
        for k in np.flatnonzero(kinds[1:] != kinds[:-1]):
            axes.axhline(k + 0.5, color=LINE, linewidth=0.8, linestyle=(0, (4, 3)))
        axes.set_ylim(-0.7, len(table) - 0.3)
        axes.set_xlabel(f"factor, {found.confidence:.0%} interval (filled: without 1)")
        axes.grid(axis="x")
        axes.tick_params(axis="y", length=0)
    return figure


def _shade(axes: Axes, gaps: Any) -> None:
    """Hatch the periods without data, in runs."""
    edges = np.flatnonzero(np.diff(np.r_[False, gaps, False].astype(int)))
    for place, (start, end) in enumerate(zip(edges[::2], edges[1::2], strict=True)):
        axes.axvspan(start - 0.5, end - 0.5, facecolor=WASH, edgecolor=LINE, hatch="////", linewidth=0,
                     label="no data" if place == 0 else None)  # fmt: skip


def _band(axes: Axes, x: Any, low: Any, high: Any, label: str) -> None:
    axes.fill_between(x, low, high, color=BLUE, alpha=0.18, linewidth=0, label=label)


def _dot(x: Any) -> str:
    return "o" if len(x) <= 150 else ""


def _thousands(axes: Axes) -> None:
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.6g}")


def _periods(axes: Axes, index: pd.PeriodIndex) -> None:
    """Label months by initial and years beneath; years alone where the initials would not fit, or for days."""
    if index.freqstr == "M":
        month_axis(axes, index)
        return
    starts = [i for i, day in enumerate(index) if day.day_of_year == 1 or i == 0]
    axes.set_xticks(starts, [str(index[i].year) for i in starts])
    axes.set_xlim(-0.5, len(index) - 0.5)


def _legend(figure: Figure, *axes: Axes) -> None:
    found = {label: handle for one in axes for handle, label in zip(*one.get_legend_handles_labels(), strict=True)}
    if found:
        figure.legend(list(found.values()), list(found), loc="outside upper right", ncols=4)
