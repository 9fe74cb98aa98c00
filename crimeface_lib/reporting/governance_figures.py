"""Runs over time by what became of them, how their numbers moved, and rates an audit found beside the true ones."""

from __future__ import annotations

from textwrap import wrap
from typing import TYPE_CHECKING

import numpy as np

from crimeface_lib.core.errors import SchemaError
from crimeface_lib.reporting.style import (
    BLACK,
    BLUE,
    GREEN,
    INK,
    LINE,
    MUTED,
    ORANGE,
    PURPLE,
    VERMILLION,
    house_style,
    new_figure,
)

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

#: Colour and shape together: told apart in grey as well.
_STATUS = {
    "done": (GREEN, "o"), "refused": (VERMILLION, "X"), "failed": (ORANGE, "s"), "interrupted": (PURPLE, "^"),
    "gone": (BLACK, "D"),
}  # fmt: skip
_OTHER = (MUTED, "h")


def runs_figure(runs: pd.DataFrame) -> Figure:
    """Draw each run at the time it began, a row a notebook, marked by what became of it.

    Parameters
    ----------
    runs : started (UTC), notebook, status.

    Raises
    ------
    SchemaError : a column is missing, or there is no run.
    """
    if runs.empty or (missing := {"started", "notebook", "status"} - set(runs.columns)):
        raise SchemaError(f"runs: got {len(runs)} rows{'' if runs.empty else f' without {missing}'}, expected some")
    rows = list(dict.fromkeys(sorted(runs["notebook"])))
    with house_style():
        from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

        figure = new_figure(height=0.95 + 0.32 * len(rows), alt=f"{len(runs)} runs by time, notebook and outcome")
        axes = figure.subplots()
        for status, group in runs.groupby("status"):
            colour, marker = _STATUS.get(str(status), _OTHER)
            places = group["notebook"].map(rows.index)
            axes.scatter(
                group["started"].tolist(), places, marker=marker, s=46, color=colour, edgecolor=INK, linewidth=0.4,
                label=f"{status} ({len(group)})", zorder=3,
            )  # fmt: skip
        axes.set_yticks(range(len(rows)), [name.replace("_", " ") for name in rows])
        axes.set_ylim(len(rows) - 0.5, -0.5)
        locator = AutoDateLocator(minticks=3, maxticks=8)
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))
        axes.margins(x=0.04)
        axes.grid(axis="both")
        axes.tick_params(axis="y", length=0)
        figure.legend(loc="outside lower center", ncols=len(_STATUS))
    return figure


def recovered_figure(compared: pd.DataFrame) -> Figure:
    """Draw what was found, with its interval, beside the truth; rates and measures in a panel each.

    Parameters
    ----------
    compared : what, truth, found, low, high, inside; rates begin with "FMR of" or "FNMR of".

    Raises
    ------
    SchemaError : no row.
    """
    if compared.empty:
        raise SchemaError("compared: got no row, expected rates and measures with their truth")
    rates = compared["what"].str.match(r"FN?MR of ")
    with house_style():
        figure = new_figure(height=0.9 + 0.26 * max(rates.sum(), (~rates).sum()), alt="found and true, side by side")
        panels = zip(figure.subplots(1, 2), (rates, ~rates), ("rates", "measures"), strict=True)
        for axes, chosen, title in panels:
            shown = compared[chosen]
            scale = 100.0 if title == "rates" else 1.0
            y = np.arange(len(shown))
            low, high, found, truth = (scale * shown[["low", "high", "found", "truth"]].to_numpy(dtype=float)).T
            axes.hlines(y, low, high, color=BLUE, linewidth=2.2, alpha=0.55, label="interval")
            axes.scatter(found, y, s=28, color=BLUE, edgecolor=INK, linewidth=0.4, zorder=3, label="found")
            axes.scatter(truth, y, s=90, marker="|", color=VERMILLION, linewidth=2.2, zorder=4, label="true")
            axes.set_yticks(y, ["\n".join(wrap(words, 26)) for words in shown["what"]])
            axes.set_ylim(len(shown) - 0.4, -0.6)
            axes.set_title(f"{title}, %" if title == "rates" else title)
            axes.grid(axis="x")
            axes.tick_params(axis="y", length=0)
        figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


def moved_figure(results: pd.DataFrame, *, most: int = 15) -> Figure | None:
    """Draw the numbers that differ between runs, each run by its number, as a share of the runs' median.

    Parameters
    ----------
    results : table, row, column, a column a run headed by its number, range; as ``workflow.compare`` gives them.
    most : at most so many rows, from the top. None is returned where no row has a median other than 0.
    """
    numbers = [name for name in results if str(name).isdigit()]
    middle = results[numbers].median(axis=1)
    rows = results[middle != 0].head(most)
    if rows.empty:
        return None
    share = 100 * rows[numbers].div(middle[rows.index], axis=0)
    names = [f"{row.table}, {row.column}" + (f": {row.row}" if row.row else "") for row in rows.itertuples()]
    with house_style():
        figure = new_figure(height=0.8 + 0.44 * len(rows), alt=f"{len(rows)} numbers by run, as shares of the median")
        axes = figure.subplots()
        axes.axvline(100, color=LINE, linewidth=0.8, zorder=1)
        width = float(np.ptp(share.to_numpy())) or 1.0
        for place, values in enumerate(share.to_numpy()):
            axes.plot(values, [place] * len(values), "o", color=BLUE, markersize=4)
            for at, lane, runs in _labels(values, digit=0.018 * width):
                axes.text(at, place + lane, _numbers(runs), color=INK, size=7.5, ha="center", va="center")
        axes.margins(x=0.08)
        labels = ["\n".join(wrap(name.replace("_", " "), 46)[:2]) for name in names]
        axes.set_yticks(range(len(rows)), labels, fontsize=7)
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_xlabel("share of the median of the runs, %   (digits: the runs)")
        axes.grid(axis="y")
        axes.tick_params(axis="y", length=0)
    return figure


def _labels(values: np.ndarray, *, digit: float) -> list[tuple[float, float, list[int]]]:
    """Return the labels of a row: where, above or below the line, and for which runs; those that meet are one.

    Parameters
    ----------
    digit : width of a character, in the unit of ``values``.
    """
    ends, made = {-0.3: -np.inf, 0.3: -np.inf}, []
    for value in np.unique(values):
        runs = (np.flatnonzero(values == value) + 1).tolist()
        half = digit * len(_numbers(runs)) / 2
        free = [lane for lane, end in ends.items() if value - half > end]
        if free:
            made.append([value, free[0], runs])
        else:
            made[-1][2] = sorted(made[-1][2] + runs)
            value, half = made[-1][0], digit * len(_numbers(made[-1][2])) / 2
        ends[made[-1][1]] = value + half + digit
    return [(at, lane, runs) for at, lane, runs in made]


def _numbers(numbers: list[int]) -> str:
    """Return run numbers in few signs.

    >>> _numbers([1, 2, 3, 5])
    '1–3, 5'
    """
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(f"{run[0]}–{run[-1]}" if len(run) > 2 else ", ".join(map(str, run)) for run in runs)
