"""Figures about faces, candidates and evidence. Each takes plain arrays and returns a matplotlib Figure.

Captions are the notebook's job: a figure names its axes and units and nothing more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from crimeface_lib.core.arrays import check_array, check_image, check_vector
from crimeface_lib.core.errors import ShapeError
from crimeface_lib.reporting.style import BLUE, INK, MUTED, ORANGE, PAPER, house_style, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: The iBUG 68 points as strokes: (start, stop, closed).
STROKES = (
    (0, 17, False), (17, 22, False), (22, 27, False), (27, 31, False), (31, 36, False),
    (36, 42, True), (42, 48, True), (48, 60, True), (60, 68, True),
)  # fmt: skip


def face_sheet(
    photo: npt.ArrayLike,
    landmarks: npt.ArrayLike,
    renders: Mapping[str, npt.ArrayLike],
    *,
    landmark_sd: npt.ArrayLike | None = None,
    crop: bool = True,
) -> Figure:
    """Draw the photo with its landmarks beside renders of the reconstructed face.

    Parameters
    ----------
    photo : (H, W, 3) uint8 RGB.
    landmarks : (N, 2) px, x right and y down; 68 points are joined as iBUG strokes.
    renders : name → (h, w, 3) uint8, in the order in which they are shown.
    landmark_sd : (N,) px, one standard deviation, drawn as a circle around each point.
    crop : show the surroundings of the face only, not the whole scene.

    Raises
    ------
    ShapeError : an image or point array of another shape.
    """
    image = check_image(photo, name="photo")
    points = check_array(landmarks, shape=(None, 2), name="landmarks")
    views = [(name, check_image(view, name=name)) for name, view in renders.items()]
    box = face_box(points, image.shape) if crop else (0, 0, image.shape[1], image.shape[0])
    shown = image[box[1] : box[3], box[0] : box[2]]
    panels = [("photo and landmarks", shown), *views]
    with house_style():
        figure, axes = _image_row(panels, alt="Photo with landmarks beside renders of the reconstructed face")
        _draw_landmarks(axes[0], points - box[:2], landmark_sd, scale=shown.shape[0])
    return figure


def uncertainty_sheet(
    renders: Mapping[str, npt.ArrayLike],
    *,
    limits: tuple[float, float],
    label: str = "standard deviation of the surface, mm",
) -> Figure:
    """Draw where the face is well and badly known, one panel a view, with one colour bar in mm.

    Parameters
    ----------
    renders : name → (h, w) mm with NaN outside the face, or (h, w, 3) uint8 already coloured by cividis
        between the same ``limits``.
    limits : lowest and highest value of the colour bar, mm.
    """
    import matplotlib
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    if not 0 <= limits[0] < limits[1]:
        raise ShapeError(f"limits: got {limits}, expected 0 ≤ low < high, in mm")
    scale = ScalarMappable(Normalize(*limits, clip=True), matplotlib.colormaps["cividis"])
    panels = []
    for name, render in renders.items():
        array = np.asarray(render)
        if array.ndim == 2:
            colours = scale.to_rgba(np.ma.masked_invalid(array.astype(np.float64)), bytes=True)[..., :3].copy()
            colours[~np.isfinite(array)] = 255
            array = colours
        panels.append((name, check_image(array, name=name)))
    with house_style():
        figure, axes = _image_row(panels, alt=f"Map of {label}", extra_height=0.55)
        bar = figure.colorbar(scale, ax=axes, location="bottom", shrink=0.6, aspect=40, pad=0.04, extend="max")
        bar.set_label(label)
        bar.outline.set_visible(False)
    return figure


def score_figure(
    labels: Sequence[str],
    log10_lr: npt.ArrayLike,
    low: npt.ArrayLike,
    high: npt.ArrayLike,
    *,
    scores: npt.ArrayLike | None = None,
    mated: npt.ArrayLike | None = None,
    nonmated: npt.ArrayLike | None = None,
    pairs: tuple[int, int] | None = None,
    clamped: npt.ArrayLike | None = None,
    shown: str = "candidates",
) -> Figure:
    """Draw each candidate's log10 likelihood ratio with its interval and, above, where the scores lie.

    Parameters
    ----------
    labels : N names of candidates, best first ("1 · C-0193").
    log10_lr, low, high : (N,) and the ends of its interval.
    scores : (N,) similarity scores; with ``mated`` and ``nonmated`` they make the upper panel.
    mated, nonmated : scores, or evenly spaced quantiles of the scores, of the calibration set: same person,
        different people. pairs : how many comparisons of each kind they stand for; as many as given by default.
    clamped : (N,) bool, the likelihood ratio was held at the limit of the calibration data.
    shown : what the scores are of, for the axis.
    """
    value = check_vector(log10_lr, name="log10_lr", minimum=1)
    ends = np.stack([check_vector(low, name="low"), check_vector(high, name="high")])
    count = len(labels)
    if value.shape != (count,) or ends.shape != (2, count):
        raise ShapeError(f"log10_lr, low, high: got {len(value)}, {ends.shape[1]} values, expected {count} as labels")
    held = np.zeros(count, bool) if clamped is None else np.asarray(clamped, bool)
    upper = scores is not None and mated is not None and nonmated is not None
    with house_style():
        figure = new_figure(
            height=0.85 + 0.27 * count + 2.0 * upper, alt="Likelihood ratios of the candidates, with intervals"
        )
        if upper:
            top, axes = figure.subplots(2, 1, height_ratios=[1.75, 0.6 + 0.27 * count])
            samples = np.asarray(mated, float), np.asarray(nonmated, float)
            _score_densities(top, np.asarray(scores, float), *samples, pairs or (len(samples[0]), len(samples[1])),
                             shown)  # fmt: skip
        else:
            axes = figure.subplots()
        rows = np.arange(count)
        axes.axvline(0, color=MUTED, linewidth=0.8, linestyle=(0, (4, 3)))
        axes.hlines(rows, *ends, color=BLUE, linewidth=2.2, alpha=0.55)
        axes.scatter(value[~held], rows[~held], s=34, color=BLUE, zorder=3)
        axes.scatter(
            value[held], rows[held], s=34, facecolor=PAPER, edgecolor=BLUE, linewidth=1.4, zorder=3,
            label="held at the limit of the calibration data",
        )  # fmt: skip
        axes.set_yticks(rows, labels)
        axes.set_ylim(count - 0.4, -0.6)
        reach = max(1.0, float(np.abs(ends).max())) * 1.08
        axes.set_xlim(-reach, reach)
        axes.grid(axis="x")
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.set_xlabel("←  supports different people      log10 likelihood ratio      supports the same person  →")
        if held.any():
            figure.legend(*axes.get_legend_handles_labels(), loc="outside lower right")
    return figure


def face_box(points: np.ndarray, shape: tuple[int, ...]) -> tuple[int, int, int, int]:
    """Return left, top, right, bottom of a square around the points, cut at the edge of the picture."""
    centre = (points.min(axis=0) + points.max(axis=0)) / 2
    half = max(float(np.ptp(points, axis=0).max()) * 0.85, 8.0)
    left, top = np.floor(np.maximum(centre - half, 0)).astype(int)
    right, bottom = np.ceil(np.minimum(centre + half, [shape[1], shape[0]])).astype(int)
    if right <= left or bottom <= top:
        raise ShapeError(
            f"landmarks: got points around {centre.round()}, expected them inside the {shape[1]} × {shape[0]} photo"
        )
    return int(left), int(top), int(right), int(bottom)


def _image_row(
    panels: Sequence[tuple[str, np.ndarray]], *, alt: str, extra_height: float = 0.0
) -> tuple[Figure, list[Axes]]:
    """Lay images side by side at one height, each under its name."""
    if not panels:
        raise ShapeError("renders: got none, expected at least one image")
    ratios = [image.shape[1] / image.shape[0] for _, image in panels]
    width = min(7.0, 2.6 * sum(ratios))
    height = (width - 0.08 * len(panels)) / sum(ratios) + 0.3 + extra_height
    figure = new_figure(width=width, height=height, alt=alt)
    grid = figure.subplots(1, len(panels), width_ratios=ratios, squeeze=False)
    for axes, (name, image) in zip(grid[0], panels, strict=True):
        axes.imshow(image, interpolation="antialiased")
        axes.set_title(name, size=8.5, weight="normal", pad=5)
        axes.set_axis_off()
    return figure, list(grid[0])


def _draw_landmarks(axes: Axes, points: np.ndarray, sd: Any, *, scale: int) -> None:
    if len(points) == 68:
        for start, stop, closed in STROKES:
            stroke = points[start:stop]
            stroke = np.vstack([stroke, stroke[:1]]) if closed else stroke
            axes.plot(*stroke.T, color=PAPER, linewidth=1.8, alpha=0.55)
            axes.plot(*stroke.T, color=BLUE, linewidth=0.8)
    axes.scatter(points[:, 0], points[:, 1], s=7, color=ORANGE, edgecolor=INK, linewidth=0.3, zorder=3)
    if sd is not None:
        from matplotlib.collections import EllipseCollection

        size = 2 * check_vector(sd, name="landmark_sd")
        axes.add_collection(
            EllipseCollection(
                size, size, np.zeros_like(size), units="xy", offsets=points, transOffset=axes.transData,
                facecolor="none", edgecolor=PAPER, linewidth=0.6,
            )
        )  # fmt: skip
    axes.set_xlim(-0.5, axes.get_xlim()[1])
    axes.set_ylim(scale - 0.5, -0.5)


def _score_densities(
    axes: Axes, scores: np.ndarray, mated: np.ndarray, nonmated: np.ndarray, pairs: tuple[int, int], shown: str
) -> None:
    from scipy.stats import gaussian_kde

    everything = np.concatenate([scores, mated, nonmated])
    margin = 0.05 * float(np.ptp(everything)) or 1.0
    grid = np.linspace(everything.min() - margin, everything.max() + margin, 400)
    kinds = ((nonmated, MUTED, "different people", pairs[1]), (mated, BLUE, "same person", pairs[0]))
    for sample, colour, name, number in kinds:
        density = gaussian_kde(sample)(grid)
        axes.fill_between(grid, density, color=colour, alpha=0.18, linewidth=0)
        axes.plot(grid, density, color=colour, linewidth=1.4, linestyle="-" if colour == BLUE else (0, (5, 2)))
        peak = int(density.argmax())
        axes.annotate(
            f"{name} ({number:,} pairs)", (grid[peak], density[peak]),
            xytext=(0, 4), textcoords="offset points", ha="center" if colour == BLUE else "right", color=colour, size=8,
        )  # fmt: skip
    top = axes.get_ylim()[1] * 1.18
    axes.vlines(scores, 0, top * 0.34, color=ORANGE, linewidth=1.4)
    axes.scatter(
        scores, np.full(len(scores), top * 0.34), marker="v", s=26, color=ORANGE, edgecolor=INK, linewidth=0.4, zorder=4
    )
    axes.set(ylim=(0, top), yticks=[], xlim=(grid[0], grid[-1]))
    axes.set_xlabel(f"similarity score   (▼ {shown}; curves: the calibration's comparisons)")
    axes.spines["left"].set_visible(False)
