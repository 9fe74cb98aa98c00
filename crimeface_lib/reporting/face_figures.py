"""Figures about many reconstructions: what a further photo adds, how errors spread, and the worst of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from crimeface_lib.core.arrays import check_image, check_vector
from crimeface_lib.core.errors import SchemaError, ShapeError
from crimeface_lib.reporting.style import BLUE, INK, MUTED, ORANGE, house_style, new_figure

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


def view_gain_figure(rows: pd.DataFrame) -> Figure:
    """Draw what each further photo adds: the error in photos left out, and the surface's standard deviation.

    Parameters
    ----------
    rows : columns ``photos``, ``held_out``, ``held_out_low``, ``held_out_high`` (% of the distance between the eyes)
        and ``vertex_sd`` (mm); 0 photos is the average face. ``reconstruction.gain_of_views`` makes them.

    Raises
    ------
    SchemaError : a column is missing.
    """
    if missing := {"photos", "held_out", "held_out_low", "held_out_high", "vertex_sd"} - set(rows.columns):
        raise SchemaError(f"rows: missing {sorted(missing)}, expected those of gain_of_views")
    with house_style():
        figure = new_figure(height=2.7, alt="Error in photos left out and surface uncertainty by number of photos")
        left, right = figure.subplots(1, 2)
        known = rows[rows["held_out"].notna()]
        left.vlines(known["photos"], known["held_out_low"], known["held_out_high"], color=BLUE, linewidth=5, alpha=0.25)
        left.plot(known["photos"], known["held_out"], color=BLUE, marker="o", markersize=5)
        left.annotate("average face", (0, known["held_out"].iloc[0]), xytext=(6, 4), textcoords="offset points",
                      size=7.5, color=MUTED)  # fmt: skip
        left.set(xlabel="photos used", ylabel="landmark error in photos left out,\n% of the distance between the eyes")
        sure = rows[rows["vertex_sd"].notna()]
        right.plot(sure["photos"], sure["vertex_sd"], color=ORANGE, marker="s", markersize=5)
        right.set(xlabel="photos used", ylabel="standard deviation of the surface,\nmedian over the face, mm")
        for axes, shown in ((left, known), (right, sure)):
            axes.set_xticks(shown["photos"])
            axes.set_xlim(shown["photos"].min() - 0.4, shown["photos"].max() + 0.4)
            axes.set_ylim(0, axes.get_ylim()[1] * 1.05)
            axes.grid(axis="y")
    return figure


def cumulative_error_figure(
    errors: npt.ArrayLike, *, failed: int = 0, label: str, limit: float | None = None
) -> Figure:
    """Draw which share of the photos lies below each error; photos that failed keep the curve below 100 %.

    Parameters
    ----------
    errors : (N,) one a photo, in the unit that ``label`` names.
    failed : photos without a result.
    limit : right end of the axis; by default a little beyond the 99th percentile, so that one wild photo doesn't
        flatten the curve. How many lie beyond is written on the figure.
    """
    values = np.sort(check_vector(errors, name="errors", minimum=1))
    total = len(values) + failed
    end = limit or float(np.percentile(values, 99) * 1.15)
    beyond = int((values > end).sum())
    with house_style():
        figure = new_figure(height=2.6, alt=f"Cumulative distribution of {label} over {total} photos")
        axes = figure.subplots()
        axes.step([0, *values, max(end, values[-1])], [0, *np.arange(1, len(values) + 1), len(values)], where="post",
                  color=BLUE)  # fmt: skip
        for share in (50, 95):
            value = float(np.percentile(values, share))
            axes.vlines(value, 0, share / 100 * len(values), color=MUTED, linewidth=0.8, linestyle=(0, (4, 3)))
            axes.annotate(f"{share} % below {value:.2g}", (value, share / 100 * len(values)), xytext=(5, -10),
                          textcoords="offset points", size=7.5, color=INK)  # fmt: skip
        axes.set(xlim=(0, end), ylim=(0, total * 1.02), xlabel=label, ylabel="share of all photos")
        ticks = np.linspace(0, 1, 6)
        axes.set_yticks(ticks * total, [f"{100 * tick:.0f} %" for tick in ticks])
        axes.grid(axis="both")
        axes.set_title(f"{len(values):,} photos reconstructed, {failed:,} not; {beyond:,} beyond the right edge",
                       size=8.5, weight="normal", color=MUTED)  # fmt: skip
    return figure


def contact_sheet(pictures: Sequence[Any], captions: Sequence[str], *, columns: int = 5) -> Figure:
    """Lay pictures out in rows, each over its caption.

    Parameters
    ----------
    pictures : (H, W, 3) uint8 each; shown as wide as the column.
    captions : one each; a line break is kept.

    Raises
    ------
    ShapeError : no picture, or another number of captions.
    """
    if not len(pictures) or len(pictures) != len(captions):
        raise ShapeError(f"captions: got {len(captions)} for {len(pictures)} pictures, expected one each, at least one")
    images = [check_image(picture, name=f"picture {k}") for k, picture in enumerate(pictures)]
    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    tallest = max(image.shape[0] / image.shape[1] for image in images)
    lines = max(caption.count("\n") for caption in captions) + 1
    with house_style():
        figure = new_figure(height=rows * (7.0 / columns * tallest + 0.16 * lines + 0.08),
                            alt=f"{len(images)} pictures with captions")  # fmt: skip
        grid = figure.subplots(rows, columns, squeeze=False).ravel()
        for axes in grid:
            axes.set_axis_off()
        for axes, image, caption in zip(grid, images, captions, strict=False):
            axes.imshow(image, interpolation="antialiased")
            axes.text(0.0, -0.03, caption, transform=axes.transAxes, va="top", size=7.0, color=INK, linespacing=1.25)
    return figure
