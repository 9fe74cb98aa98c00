"""What turning templates per application does to their scores."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from crimeface_lib.reporting.style import BLUE, MUTED, ORANGE, house_style, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from crimeface_lib.recognition.unlinkability import Unlinkability


def unlinkability_figure(result: Unlinkability) -> Figure:
    """Draw the scores within one application, which stay apart, and across two, which should not.

    Parameters
    ----------
    result : of ``recognition.evaluate_unlinkability``.
    """
    panels = (
        ("Within one application", result.within_mated, result.within_nonmated, ""),
        ("Across two applications", result.across_mated, result.across_nonmated, f"D_sys = {result.d_sys:.3f}"),
    )
    with house_style():
        figure = new_figure(height=2.7, alt="Distributions of scores within one application and across two")
        for axes, (title, mated, nonmated, said) in zip(figure.subplots(1, 2), panels, strict=True):
            bins = np.histogram_bin_edges(np.concatenate([mated, nonmated]), bins=40)
            for scores, colour, line, name in (
                (nonmated, ORANGE, "--", f"different people ({len(nonmated):,})"),
                (mated, BLUE, "-", f"one person ({len(mated):,})"),
            ):
                share = np.histogram(scores, bins)[0] / len(scores)
                axes.stairs(share, bins, color=colour, linestyle=line, linewidth=1.6, label=name)
                axes.stairs(share, bins, color=colour, fill=True, alpha=0.12)
            axes.set(title=title, xlabel="score, cosine", ylabel="share of comparisons")
            axes.set_ylim(0, axes.get_ylim()[1] * 1.35)  # room for the legend
            axes.legend(loc="upper left", frameon=False, fontsize=7.5)
            axes.annotate(said, (0.98, 0.97), xycoords="axes fraction", ha="right", va="top", size=7.5, color=MUTED)
    return figure
