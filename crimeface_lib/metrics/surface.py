"""How far one surface is from another: alignment, distances, landmark error."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from crimeface_lib.core.arrays import check_array
from crimeface_lib.core.errors import InputError, ShapeError
from crimeface_lib.core.results import Result
from crimeface_lib.core.types import FloatArray, IntArray

#: Points, and pairs of a point and a triangle, that are looked at in one block.
_CHUNK, _PAIRS = 16384, 1 << 18


@dataclass(frozen=True, slots=True, eq=False)
class Alignment(Result):
    """A similarity or rigid transform: ``p -> scale * rotation @ p + translation``.

    Parameters
    ----------
    rotation : (3, 3), a proper rotation. translation : (3,). scale : 1 when rigid.
    rms : root mean square distance left between the points, in their unit.
    """

    rotation: FloatArray
    translation: FloatArray
    scale: float
    rms: float

    def apply(self, points: npt.ArrayLike) -> FloatArray:
        """Return (N, 3) ``points`` moved."""
        moved: FloatArray = self.scale * np.asarray(points, np.float64) @ self.rotation.T + self.translation
        return moved


def align(source: npt.ArrayLike, target: npt.ArrayLike, *, scale: bool = True) -> Alignment:
    """Return the least-squares transform that takes ``source`` onto ``target``, point by point.

    Parameters
    ----------
    source, target : (N, 3), N >= 3, not all on a line.
    scale : False keeps the size (rigid).

    Raises
    ------
    ShapeError : shapes differ or fewer than three points. InputError : points on one line or at one place.

    References: Umeyama 1991.

    >>> triangle = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0]])
    >>> round(align(triangle, 2 * triangle + 5).scale, 6)
    2.0
    """
    a: FloatArray = check_array(source, shape=(None, 3), name="source")
    b: FloatArray = check_array(target, shape=(len(a), 3), name="target")
    if len(a) < 3:
        raise ShapeError(f"source: got {len(a)} points, expected at least 3")
    centre_a, centre_b = a.mean(0), b.mean(0)
    off_a, off_b = a - centre_a, b - centre_b
    u, values, vt = np.linalg.svd(off_b.T @ off_a)
    if values[1] <= 1e-12 * max(values[0], 1e-300):
        raise InputError("source, target: got points on one line, expected points that fix a rotation")
    signs = np.array([1.0, 1.0, np.sign(np.linalg.det(u) * np.linalg.det(vt))])
    rotation = (u * signs) @ vt
    factor = float((values * signs).sum() / (off_a**2).sum()) if scale else 1.0
    translation = centre_b - factor * rotation @ centre_a
    left = factor * a @ rotation.T + translation - b
    return Alignment(rotation, translation, factor, float(np.sqrt((left**2).sum(1).mean())))


def point_to_surface(points: npt.ArrayLike, vertices: npt.ArrayLike, triangles: npt.ArrayLike) -> FloatArray:
    """Return the (N,) distance of each point from a triangle mesh, exact.

    Parameters
    ----------
    points : (N, 3), a scan say. vertices : (V, 3), same unit. triangles : (T, 3) indices.

    Raises
    ------
    ShapeError : wrong shapes, or triangles of vertices that aren't there.

    References: Ericson, Real-Time Collision Detection, 5.1.5.

    >>> square = [[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]]
    >>> point_to_surface([[0.5, 0.2, 3.0], [2.0, 0.5, 0.0]], square, [[0, 1, 2], [0, 2, 3]]).tolist()
    [3.0, 1.0]
    """
    return closest_on_surface(points, vertices, triangles)[0]


def closest_on_surface(
    points: npt.ArrayLike, vertices: npt.ArrayLike, triangles: npt.ArrayLike
) -> tuple[FloatArray, FloatArray, IntArray]:
    """Return for each point its distance (N,), the nearest point (N, 3) of the mesh, and its triangle (N,).

    Parameters, Raises, References: as ``point_to_surface``.
    """
    return SurfaceIndex(vertices, triangles).closest(points)


class SurfaceIndex:
    """A triangle mesh prepared for many questions of what is nearest on it.

    Large triangles are cut into pieces; pieces are looked for by their centres, ever more of them until none
    further away could be nearer. Memory is bounded by blocks of points.
    """

    def __init__(self, vertices: npt.ArrayLike, triangles: npt.ArrayLike) -> None:
        from scipy.spatial import cKDTree

        v: FloatArray = check_array(vertices, shape=(None, 3), name="vertices")
        t: IntArray = check_array(triangles, shape=(None, 3), name="triangles", dtype=np.int64)
        if len(t) == 0 or t.min() < 0 or t.max() >= len(v):
            raise ShapeError(
                f"triangles: got {len(t)} with indices out of 0…{len(v) - 1}, expected at least one within"
            )
        self._corners, self._parent = _pieces(v[t])
        centres = self._corners.mean(1)
        self._radius = np.linalg.norm(self._corners - centres[:, None], axis=2).max(1)
        self._tree = cKDTree(centres)

    def closest(self, points: npt.ArrayLike) -> tuple[FloatArray, FloatArray, IntArray]:
        """Return distance (N,), nearest point (N, 3) and triangle (N,) for each of ``points`` (N, 3)."""
        p: FloatArray = check_array(points, shape=(None, 3), name="points")
        limit, most = float(self._radius.max()), len(self._corners)
        best, chosen = np.full(len(p), np.inf), np.zeros(len(p), np.int64)
        for start in range(0, len(p), _CHUNK):
            rows, count, done = np.arange(start, min(start + _CHUNK, len(p))), min(4, most), 0
            while len(rows):
                away, index = self._tree.query(p[rows], k=np.arange(1, count + 1))
                near = away[:, done:] - self._radius[index[:, done:]] < best[rows, None]
                _improve(best, chosen, p, self._corners, rows[np.nonzero(near)[0]], index[:, done:][near])
                rows = rows[away[:, -1] < best[rows] + limit] if count < most else rows[:0]
                done, count = count, min(4 * count, most)
        return best, _closest_point(p, self._corners[chosen]), self._parent[chosen]


def _pieces(corners: FloatArray) -> tuple[FloatArray, IntArray]:
    """Return triangles (M, 3, 3) no larger than most, and which of ``corners`` (T, 3, 3) each is a piece of.

    Triangles larger than 1.5 times the median are halved at their longest edge, as long as there is room for
    pieces (four times as many as triangles).
    """
    parent = np.arange(len(corners))
    limit = 1.5 * float(np.median(np.linalg.norm(corners - corners.mean(1, keepdims=True), axis=2).max(1)))
    most = 4 * len(corners) + 1000
    while True:
        large = np.linalg.norm(corners - corners.mean(1, keepdims=True), axis=2).max(1) > limit
        if not large.any() or len(corners) + large.sum() > most:
            return corners, parent
        cut = corners[large]
        edges = np.linalg.norm(cut - np.roll(cut, -1, axis=1), axis=2)
        turn = (edges.argmax(1)[:, None] + np.arange(3)) % 3  # the longest edge first
        a, b, c = np.take_along_axis(cut, turn[..., None], 1).transpose(1, 0, 2)
        middle = (a + b) / 2
        corners = np.concatenate([corners[~large], np.stack([a, middle, c], 1), np.stack([middle, b, c], 1)])
        parent = np.concatenate([parent[~large], parent[large], parent[large]])


def _improve(
    best: FloatArray, chosen: IntArray, points: FloatArray, corners: FloatArray, row: IntArray, index: IntArray
) -> None:
    """Lower ``best`` and set ``chosen`` (in place) by the pairs (point ``row``, triangle ``index``), rows in order."""
    for start in range(0, len(row), _PAIRS):
        rows, tried = row[start : start + _PAIRS], index[start : start + _PAIRS]
        place = points[rows]
        distance = np.linalg.norm(_closest_point(place, corners[tried]) - place, axis=1)
        order = np.lexsort((distance, rows))
        first = order[np.r_[True, np.diff(rows[order]) > 0]]
        nearer = first[distance[first] < best[rows[first]]]
        best[rows[nearer]], chosen[rows[nearer]] = distance[nearer], tried[nearer]


def _closest_point(points: FloatArray, corners: FloatArray) -> FloatArray:
    """Return the (N, 3) point nearest to ``points`` (N, 3) on their triangles ``corners`` (N, 3, 3)."""
    a, b, c = corners[:, 0], corners[:, 1], corners[:, 2]
    normal = np.cross(b - a, c - a)
    square = np.einsum("nd,nd->n", normal, normal)
    inside = square > 0
    nearest, found = np.empty_like(points), np.full(len(points), np.inf)
    for start, stop in ((a, b), (b, c), (c, a)):
        along, offset = stop - start, points - start
        length = np.maximum(np.einsum("nd,nd->n", along, along), 1e-300)
        part = np.clip(np.einsum("nd,nd->n", offset, along) / length, 0, 1)
        place = start + part[:, None] * along
        gap = np.einsum("nd,nd->n", points - place, points - place)
        closer = gap < found
        nearest[closer], found[closer] = place[closer], gap[closer]
        inside &= np.einsum("nd,nd->n", np.cross(along, offset), normal) >= 0
    height = np.einsum("nd,nd->n", points - a, normal) / np.maximum(square, 1e-300)
    foot: FloatArray = np.where(inside[:, None], points - height[:, None] * normal, nearest)
    return foot


def normal_error(
    estimate: npt.ArrayLike, truth: npt.ArrayLike, normals: npt.ArrayLike, *, scale: bool = True
) -> FloatArray:
    """Return the (V,) signed error along the true surface's normals, after alignment.

    Parameters
    ----------
    estimate, truth : (V, 3), vertices that correspond. normals : (V, 3) unit normals of ``truth``.
    scale : align by a similarity; False rigidly.
    """
    a: FloatArray = check_array(estimate, shape=(None, 3), name="estimate")
    b: FloatArray = check_array(truth, shape=(len(a), 3), name="truth")
    n: FloatArray = check_array(normals, shape=(len(a), 3), name="normals")
    error: FloatArray = ((align(a, b, scale=scale).apply(a) - b) * n).sum(1)
    return error


def normalised_mean_error(
    estimate: npt.ArrayLike, truth: npt.ArrayLike, *, normaliser: float | Literal["interocular", "bbox"]
) -> float:
    """Return the mean distance of landmarks divided by a length, NME.

    Parameters
    ----------
    estimate, truth : (N, D).
    normaliser : the length, or how to take it from ``truth``: "interocular" is the distance of the outer
        corners of the eyes (300-W), "bbox" is √(width · height) of the landmarks' box (AFLW2000-3D); these
        two need the 68 Multi-PIE/iBUG points.

    Raises
    ------
    ShapeError : shapes differ, or no 68 points where they are needed. InputError : not a positive length.

    >>> normalised_mean_error([[3.0, 4.0]], [[0.0, 0.0]], normaliser=50.0)
    0.1
    """
    a: FloatArray = check_array(estimate, shape=(None, None), name="estimate")
    b: FloatArray = check_array(truth, shape=a.shape, name="truth")
    if isinstance(normaliser, str):
        if normaliser not in ("interocular", "bbox"):
            raise InputError(f"normaliser: got {normaliser!r}, expected a length, 'interocular' or 'bbox'")
        if len(b) != 68:
            raise ShapeError(f"truth: got {len(b)} landmarks, expected 68 for normaliser={normaliser!r}")
        extent = np.ptp(b, axis=0)
        length = float(np.linalg.norm(b[36] - b[45]) if normaliser == "interocular" else np.sqrt(extent[0] * extent[1]))
    else:
        length = float(normaliser)
    if not length > 0:
        raise InputError(f"normaliser: got {length}, expected a positive length")
    return float(np.linalg.norm(a - b, axis=1).mean() / length)
