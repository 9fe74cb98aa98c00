"""Figures about many reconstructions: what a further photo adds, how errors spread, and the worst of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from crimeface_lib.core.arrays import check_array, check_image, check_vector
from crimeface_lib.core.errors import SchemaError, ShapeError
from crimeface_lib.reporting.figures import STROKES, face_box
from crimeface_lib.reporting.style import BLUE, INK, MUTED, ORANGE, house_style, new_figure

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

_DRAWN = {"found": ORANGE, "fitted": BLUE}


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
    """Draw which share of the photos lies below each error; photos that failed keep the curve below 100%.

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
            axes.annotate(f"{share}% below {value:.2g}", (value, share / 100 * len(values)), xytext=(5, -10),
                          textcoords="offset points", size=7.5, color=INK)  # fmt: skip
        axes.set(xlim=(0, end), ylim=(0, total * 1.02), xlabel=label, ylabel="share of all photos")
        ticks = np.linspace(0, 1, 6)
        axes.set_yticks(ticks * total, [f"{100 * tick:.0f}%" for tick in ticks])
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
    shapes = [image.shape[0] / image.shape[1] for image in images]
    tallest = [max(shapes[row * columns : (row + 1) * columns]) for row in range(rows)]
    lines = max(caption.count("\n") for caption in captions) + 1
    heights = [7.0 / columns * tall + 0.16 * lines + 0.08 for tall in tallest]
    with house_style():
        figure = new_figure(height=sum(heights), alt=f"{len(images)} pictures with captions")
        grid = figure.subplots(rows, columns, squeeze=False, height_ratios=heights).ravel()
        for axes in grid:
            axes.set_axis_off()
        for axes, image, caption in zip(grid, images, captions, strict=False):
            axes.imshow(image, interpolation="antialiased")
            axes.text(0.0, -0.03, caption, transform=axes.transAxes, va="top", size=7.0, color=INK, linespacing=1.25)
    return figure


def landmark_overlay(photo: Any, found: npt.ArrayLike, fitted: npt.ArrayLike, *, size: int = 280) -> np.ndarray:
    """Return a (size, size, 3) uint8 picture of the face: landmarks found as orange dots, fitted ones as blue strokes.

    Parameters
    ----------
    photo : (H, W, 3) uint8.
    found, fitted : (68, 2) px; a missing landmark is NaN. Jaw landmarks slide along the outline of a turned head, so
        those fitted may lie further along it than those found.
    """
    import cv2

    image = check_image(photo, name="photo")
    points = check_array(found, shape=(68, 2), name="found", finite=False)
    lines = check_array(fitted, shape=(68, 2), name="fitted")
    left, top, right, bottom = face_box(points[np.isfinite(points).all(axis=1)], image.shape)
    scale = size / max(right - left, bottom - top)
    shrink = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    crop = cv2.resize(image[top:bottom, left:right], None, fx=scale, fy=scale, interpolation=shrink)
    picture = np.full((size, size, 3), 255, np.uint8)
    picture[: crop.shape[0], : crop.shape[1]] = crop[:size, :size]
    colours = {name: tuple(int(code[k : k + 2], 16) for k in (1, 3, 5)) for name, code in _DRAWN.items()}
    for start, stop, closed in STROKES:
        stroke = np.round((lines[start:stop] - [left, top]) * scale * 16).astype(np.int32)[:, None]
        cv2.polylines(picture, [stroke], closed, colours["fitted"], 2, cv2.LINE_AA, shift=4)
    for x, y in (points[np.isfinite(points).all(axis=1)] - [left, top]) * scale:
        cv2.circle(picture, (round(x * 16), round(y * 16)), 32, colours["found"], -1, cv2.LINE_AA, shift=4)
    return picture


def error_by_pose_figure(yaw: npt.ArrayLike, errors: npt.ArrayLike) -> Figure:
    """Draw each photo's error against the turn of the head, and the median of each ten degrees.

    Parameters
    ----------
    yaw : (N,) degrees; errors : (N,) % of the distance between the eyes.
    """
    turn = np.abs(check_vector(yaw, name="yaw", minimum=1))
    value = check_vector(errors, name="errors")
    if len(turn) != len(value):
        raise ShapeError(f"errors: got {len(value)} for {len(turn)} photos, expected one each")
    bins = np.floor(turn / 10).astype(int)
    middle = [(10 * k + 5, float(np.median(value[bins == k])), int((bins == k).sum())) for k in np.unique(bins)]
    top = float(np.percentile(value, 99.5) * 1.2)
    with house_style():
        figure = new_figure(height=2.6, alt=f"Landmark error of {len(turn)} photos by turn of the head")
        axes = figure.subplots()
        axes.scatter(turn, np.minimum(value, top), s=6, color=BLUE, alpha=0.25, linewidth=0)
        axes.plot([x for x, _, _ in middle], [y for _, y, _ in middle], color=ORANGE, marker="s", markersize=5)
        for x, y, number in middle:
            axes.annotate(
                f"{number:,}", (x, y), xytext=(0, 7), textcoords="offset points", ha="center", size=7, color=INK
            )
        axes.set(xlabel="turn of the head to either side, degrees (numbers: photos)", xlim=(0, 10 * bins.max() + 11),
                 ylabel="landmark error,\n% of the distance between the eyes", ylim=(0, top))  # fmt: skip
        axes.grid(axis="y")
    return figure
