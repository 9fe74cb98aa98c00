"""Figures of an evaluation of recognition: how often it errs, how well its likelihood ratios are calibrated.

Each says how many comparisons of how many people it is drawn from. Mated is blue and solid, non-mated grey and dashed,
so that a grey print tells them apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from crimeface_lib.core.errors import InputError, SchemaError
from crimeface_lib.reporting.style import (
    BLUE,
    CATEGORIES,
    INK,
    LINE,
    MUTED,
    ORANGE,
    VERMILLION,
    WASH,
    house_style,
    new_figure,
)

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from crimeface_lib.metrics import DiscardCurve, ErrorRates, EvidenceQuality, Identification, ScoreCounts
    from crimeface_lib.recognition import Calibration

_DASHES = ("-", (0, (6, 2)), (0, (2, 1.5)), (0, (6, 2, 1, 2)), (0, (1, 1)), (0, (8, 2, 2, 2)))
_TICKS = (1e-5, 1e-4, 1e-3, 1e-2, 0.05, 0.2, 0.5)
#: Fewer errors than these make a rate that the next data set may not repeat (Doddington's rule of 30).
_FEW = 30


def det_figure(curves: Mapping[str, ErrorRates]) -> Figure:
    """Draw FNMR against FMR on normal-deviate axes, where Gaussian scores make a straight line.

    Where fewer than 30 errors stand behind a rate the line is thin; it ends where there is none.

    Parameters
    ----------
    curves : name → rates at every threshold (``ScoreCounts.error_rates``, ``det_curve``); at most six.

    Raises
    ------
    InputError : no curve, more than six, or one without errors of both kinds at any threshold.
    References : Martin et al. 1997; ISO/IEC 19795-1.
    """
    if not 1 <= len(curves) <= len(CATEGORIES):
        raise InputError(f"curves: got {len(curves)}, expected 1 to {len(CATEGORIES)}")
    with house_style():
        figure = new_figure(height=4.4, width=5.6, alt="Detection error trade-off of " + ", ".join(curves))
        axes = figure.subplots()
        lowest = [1.0, 1.0]
        for (name, curve), colour, dash in zip(curves.items(), CATEGORIES, _DASHES, strict=False):
            seen = (curve.fmr > 0) & (curve.fnmr > 0) & (curve.fmr < 1) & (curve.fnmr < 1)
            if not seen.any():
                raise InputError(f"{name}: no threshold makes errors of both kinds, so there is no curve to draw")
            x, y = _probit(curve.fmr[seen]), _probit(curve.fnmr[seen])
            lowest = [min(lowest[0], curve.fmr[seen].min()), min(lowest[1], curve.fnmr[seen].min())]
            few = (curve.fmr[seen] * curve.nonmated < _FEW) | (curve.fnmr[seen] * curve.mated < _FEW)
            axes.plot(x, y, color=colour, linewidth=0.8, linestyle=dash)
            label = f"{name}: {curve.mated:,} mated,\n{curve.nonmated:,} non-mated comparisons"
            axes.plot(x, np.where(few, np.nan, y), color=colour, linewidth=2.2, linestyle=dash, label=label)
        limits = _probit(np.array([max(min(lowest) * 0.8, 1e-7), 0.5]))
        axes.plot(limits, limits, color=LINE, linewidth=0.8, zorder=0)
        axes.annotate("equal errors", (limits[1], limits[1]), xytext=(-14, -60), textcoords="offset points", ha="right",
                      color=MUTED, size=7.5)  # fmt: skip
        axes.set(xlim=limits, ylim=_probit(np.array([max(lowest[1] * 0.8, 1e-7), 0.5])))
        for side in (axes.xaxis, axes.yaxis):
            side.set_ticks(_probit(np.array(_TICKS)), [_percent(tick) for tick in _TICKS])
        axes.set(xlim=limits, ylim=_probit(np.array([max(lowest[1] * 0.8, 1e-7), 0.5])))
        axes.grid()
        axes.set_xlabel("FMR: non-mated comparisons at or above the threshold")
        axes.set_ylabel("FNMR: mated comparisons below it")
        axes.legend(loc="upper right", handlelength=3)
        _note(axes, f"thin: fewer than {_FEW} errors of a kind")
    return figure


def cmc_figure(found: Identification) -> Figure:
    """Draw both modes of search: misses by rank, and misses against false alarms, with intervals and N.

    Raises
    ------
    InputError : no rank.
    """
    if found.ranks.empty:
        raise InputError("ranks: got none, expected at least one; see metrics.identification")
    alarms = not found.thresholds.empty
    with house_style():
        figure = new_figure(height=3.0, alt="Search: misses by rank, and misses against false alarms")
        panels = np.atleast_1d(figure.subplots(1, 1 + alarms))
        _band(panels[0], found.ranks, "rank", "FNIR", colour=BLUE)
        panels[0].set_xscale("log")
        panels[0].set_xticks(found.ranks["rank"], [f"{rank:g}" for rank in found.ranks["rank"]])
        panels[0].minorticks_off()
        panels[0].set_title("Investigative, by rank")
        panels[0].set(xlabel="rank R", ylabel=f"FNIR(N, R): misses, of {found.searches[0]:,} mated searches")
        if alarms:
            _band(panels[1], found.thresholds, "FPIR", "FNIR", colour=ORANGE, marker="s")
            panels[1].set_xscale("log")
            panels[1].xaxis.set_major_formatter(lambda share, _: _percent(share))
            panels[1].set_title("Identification, by threshold")
            panels[1].set(xlabel=f"FPIR(N, T): alarms, of {found.searches[1]:,} non-mated searches",
                          ylabel="FNIR(N, T): misses")  # fmt: skip
        for axes in panels:
            axes.yaxis.set_major_formatter(lambda share, _: _percent(share))
            axes.set_ylim(0, None)
            axes.grid(axis="y")
        about = f"N = {found.gallery_size:,} entries; {found.subjects:,} people; shaded: {found.level:.0%} interval"
        figure.supxlabel(about, size=7.5, color=MUTED)
    return figure


def score_histogram_figure(counts: ScoreCounts, *, threshold: float | None = None, bins: int = 60) -> Figure:
    """Draw how many comparisons have which score, on a logarithmic axis: errors are made in the tails.

    Parameters
    ----------
    threshold : drawn with the errors on either side of it.
    """
    edges = np.linspace(counts.scores[0], np.nextafter(counts.scores[-1], np.inf), bins + 1)
    place = np.clip(np.searchsorted(edges, counts.scores, side="right") - 1, 0, bins - 1)
    sides = {
        "different people": (counts.nonmated, MUTED, (0, (5, 2)), counts.pairs[1]),
        "same person": (counts.mated, BLUE, "-", counts.pairs[0]),
    }
    with house_style():
        figure = new_figure(height=3.0, alt="Histogram of scores of mated and non-mated comparisons")
        axes = figure.subplots()
        lowest = 1.0
        for name, (weights, colour, dash, number) in sides.items():
            share = np.bincount(place, weights=weights, minlength=bins) / weights.sum()
            lowest = min(lowest, share[share > 0].min())
            axes.stairs(share, edges, color=colour, linewidth=1.6, linestyle=dash)
            axes.stairs(share, edges, color=colour, alpha=0.15, fill=True)
            peak = int(share.argmax())
            axes.annotate(f"{name}\n{number:,} comparisons", ((edges[peak] + edges[peak + 1]) / 2, share[peak]),
                          xytext=(0, 5), textcoords="offset points", ha="center", color=colour, size=8)  # fmt: skip
        axes.set_yscale("log")
        axes.set_ylim(lowest * 0.6, 3)
        axes.yaxis.set_major_formatter(lambda share, _: _percent(share))
        axes.set(
            xlabel=f"similarity score   ({counts.subjects:,} people)", ylabel="share of the comparisons, a bar each"
        )
        if threshold is not None:
            axes.axvline(threshold, color=VERMILLION, linewidth=1.2)
            fmr = counts.nonmated[counts.scores >= threshold].sum() / counts.nonmated.sum()
            fnmr = counts.mated[counts.scores < threshold].sum() / counts.mated.sum()
            axes.annotate(f"FNMR {_percent(fnmr)} ", (threshold, 2.6), ha="right", va="top", color=VERMILLION, size=8)
            axes.annotate(f" FMR {_percent(fmr)}", (threshold, 2.6), ha="left", va="top", color=VERMILLION, size=8)
        axes.grid(axis="y")
    return figure


def tippett_figure(evidence: EvidenceQuality) -> Figure:
    """Draw which share of the comparisons has at least each likelihood ratio; the misleading parts are shaded."""
    table = evidence.tippett
    x = table["log10_lr"].to_numpy()
    with house_style():
        figure = new_figure(height=3.0, alt="Tippett curves of the likelihood ratios")
        axes = figure.subplots()
        same, other = 100 * table["mated"].to_numpy(), 100 * table["nonmated"].to_numpy()
        axes.fill_between(x, other, where=x >= 0, color=VERMILLION, alpha=0.25, linewidth=0)
        axes.fill_between(x, same, 100, where=x <= 0, color=VERMILLION, alpha=0.25, linewidth=0)
        axes.plot(x, same, color=BLUE, label=f"same person, {evidence.mated:,} comparisons")
        dash: Any = (0, (5, 2))
        axes.plot(x, other, color=MUTED, linestyle=dash, label=f"different people, {evidence.nonmated:,} comparisons")
        axes.axvline(0, color=INK, linewidth=0.8)
        misled = evidence.misleading
        axes.annotate(f"misleading: {_percent(misled[0])} of the same person", (0.01, 0.9), xycoords="axes fraction",
                      color=VERMILLION, size=7.5)  # fmt: skip
        axes.annotate(f"misleading: {_percent(misled[1])} of different people", (0.99, 0.08), ha="right",
                      xycoords="axes fraction", color=VERMILLION, size=7.5)  # fmt: skip
        axes.set(xlabel="log10 likelihood ratio", ylabel="comparisons with at least this, %", ylim=(0, 100),
                 xlim=(x[0], x[-1]))  # fmt: skip
        axes.legend(loc="center left")
        axes.grid()
    return figure


def ece_figure(evidence: EvidenceQuality) -> Figure:
    """Draw the empirical cross-entropy over prior odds, with the best calibration (PAV) and LR = 1 beside it."""
    table = evidence.cross_entropy
    x = table["log10_odds"].to_numpy()
    with house_style():
        figure = new_figure(height=3.0, alt="Empirical cross-entropy over prior odds")
        axes = figure.subplots()
        one = evidence.cllr
        axes.plot(x, table["neutral"], color=MUTED, linestyle=(0, (1, 1.5)), label="no evidence, LR = 1")
        axes.plot(x, table["lr"], color=BLUE, label="these likelihood ratios")
        axes.plot(x, table["pav"], color=ORANGE, linestyle=(0, (5, 2)), label="the same scores, best calibrated (PAV)")
        axes.vlines(0, 0, one.estimate, color=BLUE, linewidth=0.8)
        axes.annotate(f"Cllr {one.estimate:.3f} ({one.low:.3f} – {one.high:.3f})", (0, one.estimate), xytext=(6, 8),
                      textcoords="offset points", color=BLUE, size=8)  # fmt: skip
        harm = table["lr"].to_numpy() > table["neutral"].to_numpy() + 1e-9
        if harm.any():
            axes.fill_between(x, 0, 1, where=harm, color=VERMILLION, alpha=0.12, linewidth=0,
                              transform=axes.get_xaxis_transform(), label="worse than no evidence")  # fmt: skip
        worst = float(table["lr"].replace(np.inf, 1.0).max())
        top = min(1.05, max(4 * worst, 0.02))  # what is left of the uncertainty would be a flat line below 1 bit
        about = f"{evidence.mated:,} mated, {evidence.nonmated:,} non-mated comparisons of {evidence.subjects:,} people"
        axes.set(xlabel=f"prior log10 odds that a comparison is mated\n{about}",
                 ylabel="empirical cross-entropy, bits", xlim=(x[0], x[-1]), ylim=(0, top))  # fmt: skip
        figure.legend(loc="outside upper center", ncols=4)
        axes.grid(axis="y")
    return figure


def calibration_figure(calibration: Calibration) -> Figure:
    """Draw the likelihood ratio over the score, its interval and limits, above where the calibration's scores lie."""
    low, high = calibration.bounds
    first, last = float(calibration.knots[0]), float(calibration.knots[-1])
    x = np.linspace(first - 0.02 * (last - first), last + 0.02 * (last - first), 400)
    found = calibration.likelihood_ratio(x)
    with house_style():
        figure = new_figure(height=3.6, alt="Likelihood ratio over score, with interval and limits")
        axes, lower = figure.subplots(2, 1, sharex=True, height_ratios=[2.4, 1])
        free = np.interp(x, calibration.knots, calibration.log10_lr)
        axes.axhspan(low, high, color=WASH)
        axes.plot(x, free, color=MUTED, linewidth=0.9, linestyle=(0, (2, 1.5)))
        axes.fill_between(x, np.log10(found.low), np.log10(found.high), color=BLUE, alpha=0.22, linewidth=0)
        axes.plot(x, np.log10(found.lr), color=BLUE)
        axes.axhline(0, color=INK, linewidth=0.8)
        for edge, va in ((low, "top"), (high, "bottom")):
            axes.annotate(f"limit of the data: LR {_power(edge)}", (x[0] if edge > 0 else x[-1], edge), va=va,
                          ha="left" if edge > 0 else "right", color=INK, size=8)  # fmt: skip
        axes.set(ylim=(min(low * 1.9, -1), max(high * 1.5, 1)), ylabel="log10 likelihood ratio")
        for name, scores, colour, height, number in (
            ("same person", calibration.mated, BLUE, 1, calibration.pairs[0]),
            ("different people", calibration.nonmated, MUTED, 0, calibration.pairs[1]),
        ):
            lower.hlines(height, scores[0], scores[-1], color=colour, linewidth=1)
            lower.hlines(height, scores[5], scores[95], color=colour, linewidth=7, alpha=0.55)
            lower.vlines(scores[50], height - 0.3, height + 0.3, color=INK, linewidth=1.4)
            lower.annotate(f"{name}, {number:,} pairs", (scores[50], height), xytext=(0, 7), ha="center",
                           textcoords="offset points", color=colour, size=8)  # fmt: skip
        lower.set(ylim=(-0.6, 2.0), yticks=[], xlabel="similarity score   (bar: 5 to 95%, stroke: median; "
                  f"{calibration.subjects:,} people)")  # fmt: skip
        lower.spines["left"].set_visible(False)
        axes.set_xlim(x[0], x[-1])
    return figure


def discard_figure(curve: DiscardCurve) -> Figure:
    """Draw FNMR as comparisons of the lowest quality are discarded, beside the best and the worst that could be."""
    table = curve.table
    with house_style():
        figure = new_figure(height=3.0, alt="FNMR against the share of comparisons discarded for low quality")
        axes = figure.subplots()
        x, first = table["discarded"].to_numpy(), float(table["FNMR"].iloc[0])
        shown = x <= 0.95
        axes.step(x[shown], table["FNMR"][shown], where="post", color=BLUE, label="this quality")
        axes.axhline(first, color=MUTED, linewidth=0.9, linestyle=(0, (1, 1.5)), label="a quality that tells nothing")
        axes.plot(x[shown], table["ideal"][shown], color=MUTED, linestyle=(0, (5, 2)), label="errors discarded first")
        axes.axvspan(0, curve.partial, color=WASH, zorder=0)
        axes.xaxis.set_major_formatter(lambda share, _: f"{100 * share:g}%")
        axes.yaxis.set_major_formatter(lambda share, _: _percent(share))
        axes.set(xlabel=f"share discarded, lowest quality first   ({curve.comparisons:,} mated comparisons of "
                 f"{curve.subjects:,} people)", ylabel=f"FNMR of the rest at threshold {curve.threshold:.3f}",
                 xlim=(0, 0.95), ylim=(0, max(1.6 * float(table["FNMR"][shown].max()), 1e-6)))  # fmt: skip
        axes.legend(loc="upper left", ncols=3)
        axes.set_title(f"Gain over the first {curve.partial:.0%}: {curve.gain:.2f} of the ideal "
                       f"({curve.low:.2f} – {curve.high:.2f})")  # fmt: skip
        axes.grid(axis="y")
    return figure


def quality_figure(groups: pd.DataFrame, *, floor: float | None = None) -> Figure:
    """Draw the quality of each group's photos, and how many a gate would turn away.

    Parameters
    ----------
    groups : as ``metrics.quality_by_group``. floor : of the gate, drawn as a line.

    Raises
    ------
    SchemaError : a column is missing, or there is no row.
    """
    if missing := {"group", "images", "q10", "median", "q90", "FTE", "FTE_low", "FTE_high"} - set(groups.columns):
        raise SchemaError(f"groups: lack {sorted(missing)}; give those of metrics.quality_by_group")
    if groups.empty:
        raise SchemaError("groups: got none, expected at least one")
    rows = np.arange(len(groups))
    with house_style():
        figure = new_figure(height=0.9 + 0.3 * len(groups), alt="Quality of photos by group, and failure to enrol")
        left, right = figure.subplots(1, 2, sharey=True, width_ratios=[3, 2])
        left.hlines(rows, groups["q10"], groups["q90"], color=BLUE, linewidth=6, alpha=0.35)
        left.scatter(groups["median"], rows, color=BLUE, s=30, zorder=3)
        if floor is not None:
            left.axvline(floor, color=VERMILLION, linewidth=1)
        right.hlines(rows, 100 * groups["FTE_low"], 100 * groups["FTE_high"], color=ORANGE, linewidth=2.2, alpha=0.6)
        right.scatter(100 * groups["FTE"], rows, color=ORANGE, marker="s", s=28, edgecolor=INK, linewidth=0.4, zorder=3)
        for row in rows[groups["median"].isna()]:
            left.annotate("too few photos to say", (0, row), va="center", color=MUTED, size=7.5)
        labels = [f"{group} (n = {n:,})" for group, n in zip(groups["group"], groups["images"], strict=True)]
        left.set_yticks(rows, labels)
        left.set_ylim(len(rows) - 0.5, -0.5)
        left.set(xlim=(0, 100), xlabel="quality, 0 to 100   (bar: 10 to 90%, point: median)")
        right.set(xlabel="failed to enrol or below the gate, %", xlim=(0, None))
        for axes in (left, right):
            axes.grid(axis="x")
            axes.tick_params(axis="y", length=0)
            axes.spines["left"].set_visible(False)
    return figure


def _probit(share: np.ndarray) -> np.ndarray:
    from scipy.special import ndtri

    found: np.ndarray = ndtri(share)
    return found


def _percent(share: float) -> str:
    return f"{100 * share:.2g}%" if share < 0.995 else "100%"


def _power(exponent: float) -> str:
    """Return 10 to the power as a ratio to two figures: 150,000 or 1/380."""
    text = f"{float(f'{10 ** abs(exponent):.1e}'):,.0f}"
    return text if exponent >= 0 else f"1/{text}"


def _band(axes: Axes, table: pd.DataFrame, x: str, y: str, *, colour: str, marker: str = "o") -> None:
    rows = table[table[x] > 0].sort_values(x)
    axes.fill_between(rows[x], rows[f"{y}_low"], rows[f"{y}_high"], color=colour, alpha=0.2, linewidth=0)
    axes.plot(rows[x], rows[y], color=colour, marker=marker, markersize=5)


def _note(axes: Axes, text: str) -> None:
    axes.annotate(text, (0.01, 0.02), xycoords="axes fraction", color=MUTED, size=7.5)
