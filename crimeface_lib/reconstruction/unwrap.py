"""A texture layout for a head whose file has none: round a cylinder, folds and loose parts beside it."""

from __future__ import annotations

import numpy as np

from crimeface_lib.core.types import FloatArray, IntArray

#: Share of the picture's height for the head's outside; below it what folds over (behind the ears, inside the
#: nostrils and lips), then loose parts (eyeballs, teeth), each in a cell of its own.
_OUTSIDE, _FOLDS = (0.30, 1.0), (0.12, 0.29)
_PARTS, _MARGIN = (0.0, 0.11), 0.004
_WIDENED = 2.5  # the front gets more of the picture than the back


def connected_parts(triangles: IntArray, vertices: int) -> IntArray:
    """Return for each vertex the number of its connected part; part 0 has the most vertices."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    ends = triangles[:, [0, 1, 1, 2]].reshape(-1, 2).T
    _, part = connected_components(coo_matrix((np.ones(ends.shape[1]), ends), shape=(vertices, vertices)))
    order = np.argsort(-np.bincount(part), kind="stable")
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return np.asarray(rank[part], np.int32)


def unwrap(mean: FloatArray, triangles: IntArray) -> tuple[FloatArray, IntArray]:
    """Return (U, 2) UV in [0, 1] and (T, 3) indices into it: azimuth across, height upwards, cut at the back.

    Triangles that turn over in the layout go to a second, smaller copy of it, parts that hang on nothing to
    cells of their own, so that what is hidden doesn't take the colours of what hides it.

    Parameters
    ----------
    mean : (V, 3) mm, head frame. triangles : (T, 3), counter-clockwise from outside.
    """
    part = connected_parts(triangles, len(mean))[triangles[:, 0]]
    flat = _cylinder(mean, triangles)
    a, b, c = flat[:, 0], flat[:, 1], flat[:, 2]
    turned = (b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0] < 0
    corners = np.zeros_like(flat)
    for rows, (bottom, top) in (((part == 0) & ~turned, _OUTSIDE), ((part == 0) & turned, _FOLDS)):
        if rows.any():
            corners[rows] = _into(flat[rows], 0.0, bottom, 1.0, top)
    loose = np.unique(part[part > 0])
    for cell, number in enumerate(loose):
        rows = part == number
        corners[rows] = _into(
            _cylinder(mean, triangles[rows]), cell / len(loose), _PARTS[0], (cell + 1) / len(loose), _PARTS[1]
        )
    uv, index = np.unique(np.round(corners.reshape(-1, 2), 7), axis=0, return_inverse=True)
    return uv, np.asarray(index.reshape(-1, 3), np.int32)


def _cylinder(mean: FloatArray, triangles: IntArray) -> FloatArray:
    """Return (T, 3, 2): azimuth about the part's upright axis, and height, at each corner of each triangle."""
    used = mean[np.unique(triangles)]
    middle = (used.min(0) + used.max(0)) / 2
    mask = np.ptp(used[:, 2]) < 0.75 * np.ptp(used[:, 0])
    # the axis of a mask lies behind it, that of a head in its middle
    axis = np.array([middle[0], used[:, 2].min() - 0.1 * np.ptp(used[:, 0]) if mask else middle[2]])
    corners = mean[triangles]
    turn = np.arctan2(corners[..., 0] - axis[0], corners[..., 2] - axis[1])
    turn = np.where((np.ptp(turn, axis=1) > np.pi)[:, None] & (turn < 0), turn + 2 * np.pi, turn)
    return np.stack([np.arcsinh(_WIDENED * turn / np.pi), corners[..., 1]], -1)


def _into(flat: FloatArray, left: float, bottom: float, right: float, top: float) -> FloatArray:
    """Return ``flat`` stretched into a rectangle of the picture, less a margin."""
    low, high = flat.reshape(-1, 2).min(0), flat.reshape(-1, 2).max(0)
    size = np.array([right - left, top - bottom]) - 2 * _MARGIN
    stretched: FloatArray = (flat - low) / np.maximum(high - low, 1e-9) * size + np.array([left, bottom]) + _MARGIN
    return stretched
