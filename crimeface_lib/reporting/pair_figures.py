"""Figures of two photos that are compared: what was compared, and how far the ratio moves when a photo is changed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from crimeface_lib.core.arrays import check_array, check_image
from crimeface_lib.core.errors import ShapeError
from crimeface_lib.reporting.figures import STROKES, face_box
from crimeface_lib.reporting.style import BLUE, INK, LINE, MUTED, ORANGE, PAPER, WASH, house_style, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MARKS = {"A": ("o", BLUE), "B": ("s", ORANGE), "both": ("D", INK)}


def pair_figure(sides: Sequence[Any]) -> Figure:
    """Draw a row a photo: the whole picture with the face used, its landmarks, and the aligned chip.

    Parameters
    ----------
    sides : each with name, photo (H, W, 3) uint8, choice.face.box (px), points (N, 2) px and chip (S, S, 3) uint8.

    Raises
    ------
    ShapeError : no photo.
    """
    if not sides:
        raise ShapeError("sides: got no photo, expected two")
    with house_style():
        figure = new_figure(height=2.35 * len(sides), alt="Both photos, the faces used, their landmarks and chips")
        grid = figure.subplots(len(sides), 3, squeeze=False)
        for row, side in zip(grid, sides, strict=True):
            photo = check_image(side.photo, name=f"photo {side.name}")
            points = check_array(side.points, shape=(None, 2), name="points")
            box = face_box(points, photo.shape)
            left, top, right, bottom = side.choice.face.box
            outline = np.array([(left, top), (right, top), (right, bottom), (left, bottom), (left, top)])
            row[0].imshow(photo, interpolation="antialiased")
            row[0].plot(*outline.T, color=PAPER, linewidth=3)
            row[0].plot(*outline.T, color=ORANGE, linewidth=1.5)
            row[0].set(xlim=(-0.5, photo.shape[1] - 0.5), ylim=(photo.shape[0] - 0.5, -0.5))
            row[1].imshow(photo[box[1] : box[3], box[0] : box[2]], interpolation="antialiased")
            _strokes(row[1], points - box[:2])
            row[1].set(xlim=(-0.5, box[2] - box[0] - 0.5), ylim=(box[3] - box[1] - 0.5, -0.5))
            row[2].imshow(side.chip, interpolation="antialiased")
            names = (f"photo {side.name}, face used", "landmarks", f"chip compared, {len(side.chip)} px")
            for axes, name in zip(row, names, strict=True):
                axes.set_title(name, size=8.5, weight="normal", pad=4)
                axes.set_axis_off()
    return figure


def changes_figure(
    changes: Sequence[dict[str, Any]], *, ratio: tuple[float, float, float], bounds: tuple[float, float]
) -> Figure:
    """Draw the log10 likelihood ratio after each small change to a photo, beside that of the photos as they are.

    Parameters
    ----------
    changes : rows with change, side ("A", "B" or "both"), lr (None where it could not be compared).
    ratio : the likelihood ratio and the ends of its interval. bounds : log10 of the lowest and highest supported.
    """
    names = list(dict.fromkeys(row["change"] for row in changes))
    if not names:
        raise ShapeError("changes: got none, expected at least one")
    middle, low, high = np.log10(ratio)
    with house_style():
        figure = new_figure(height=1.0 + 0.27 * len(names), alt="Likelihood ratio after small changes to the photos")
        axes = figure.subplots()
        axes.axvspan(*bounds, color=WASH, zorder=0)
        axes.axvspan(low, high, color=BLUE, alpha=0.15, linewidth=0, zorder=1)
        axes.axvline(middle, color=BLUE, linewidth=1.2, zorder=1)
        axes.axvline(0, color=MUTED, linewidth=0.8, linestyle=(0, (4, 3)))
        for side, (marker, colour) in _MARKS.items():
            rows = [row for row in changes if row["side"] == side]
            shift = {"A": -0.13, "B": 0.13}.get(side, 0.0)
            for row in (row for row in rows if row["lr"] is None):
                axes.annotate(f"{side}: no face", (0.01, names.index(row["change"]) + shift), color=MUTED, size=7,
                              xycoords=("axes fraction", "data"), va="center")  # fmt: skip
            known = [row for row in rows if row["lr"] is not None]
            if known:
                places = [names.index(row["change"]) + shift for row in known]
                label = "both changed" if side == "both" else f"photo {side} changed"
                x = np.log10([row["lr"] for row in known])
                axes.scatter(x, places, s=30, color=colour, marker=marker, zorder=3, edgecolor=PAPER, label=label)
        axes.set_yticks(range(len(names)), names)
        axes.set_ylim(len(names) - 0.5, -0.5)
        reach = 1.1 * max(1.0, *np.abs(bounds))
        axes.set_xlim(min(bounds[0] * 1.1, -1), reach)
        axes.hlines(np.arange(len(names)) - 0.5, -reach, reach, color=LINE, linewidth=0.5, zorder=0)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.set_xlabel(
            "log10 likelihood ratio   (line: photos as they are; blue band: its interval; grey: limits of the data)"
        )
        figure.legend(*axes.get_legend_handles_labels(), loc="outside upper right", ncols=3)
    return figure


def _strokes(axes: Axes, points: np.ndarray) -> None:
    if len(points) == 68:
        for start, stop, closed in STROKES:
            stroke = np.vstack([points[start:stop], points[start : start + closed]])
            axes.plot(*stroke.T, color=PAPER, linewidth=1.8, alpha=0.55)
            axes.plot(*stroke.T, color=BLUE, linewidth=0.8)
    axes.scatter(points[:, 0], points[:, 1], s=5, color=ORANGE, edgecolor=INK, linewidth=0.3, zorder=3)
