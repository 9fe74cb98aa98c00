"""How far one surface is from another: alignment, distances, landmark error."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from crimeface_lib.core.arrays import check_array
from crimeface_lib.core.errors import InputError, ShapeError
from crimeface_lib.core.results import Result
from crimeface_lib.core.types import FloatArray, IntArray

_CHUNK = 4096


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
    """
    from scipy.spatial import cKDTree

    p: FloatArray = check_array(points, shape=(None, 3), name="points")
    v: FloatArray = check_array(vertices, shape=(None, 3), name="vertices")
    t: IntArray = check_array(triangles, shape=(None, 3), name="triangles", dtype=np.int64)
    if len(t) == 0 or t.min() < 0 or t.max() >= len(v):
        raise ShapeError(f"triangles: got {len(t)} with indices out of 0…{len(v) - 1}, expected at least one within")
    corners = v[t]
    centres = corners.mean(1)
    radius = np.linalg.norm(corners - centres[:, None], axis=2).max(1)
    tree, used = cKDTree(centres), v[np.unique(t)]
    upper = cKDTree(used).query(p)[0]  # the surface is at most as far as its nearest vertex
    # small triangles are found by their centre; the few large ones are tried by every point
    limit = float(np.percentile(radius, 99))
    large = np.flatnonzero(radius > limit)
    best = np.asarray(upper, np.float64).copy()
    for start in range(0, len(p), _CHUNK):
        part = slice(start, min(start + _CHUNK, len(p)))
        near = tree.query_ball_point(p[part], upper[part] + limit)
        row = np.repeat(np.arange(part.start, part.stop), [len(hits) for hits in near])
        index = np.concatenate([np.asarray(hits, np.int64) for hits in near])
        _improve(best, p, corners, row, index)
        close = np.linalg.norm(p[part, None] - centres[large], axis=2) <= upper[part, None] + radius[large]
        rows, columns = np.nonzero(close)
        _improve(best, p, corners, rows + part.start, large[columns])
    return best


def _improve(best: FloatArray, points: FloatArray, corners: FloatArray, row: IntArray, index: IntArray) -> None:
    """Lower ``best`` (in place) by the distances of the pairs (point ``row``, triangle ``index``)."""
    for start in range(0, len(row), 1 << 18):
        part = slice(start, start + (1 << 18))
        np.minimum.at(best, row[part], _triangle_distance(points[row[part]], corners[index[part]]))


def _triangle_distance(points: FloatArray, corners: FloatArray) -> FloatArray:
    """Return the (N,) distance of ``points`` (N, 3) from their triangles ``corners`` (N, 3, 3)."""
    a, b, c = corners[:, 0], corners[:, 1], corners[:, 2]
    normal = np.cross(b - a, c - a)
    length = np.linalg.norm(normal, axis=1)
    inside = length > 0
    distance = np.full(len(points), np.inf)
    for start, stop in ((a, b), (b, c), (c, a)):
        along = stop - start
        square = np.maximum((along**2).sum(1), 1e-300)
        part = np.clip(((points - start) * along).sum(1) / square, 0, 1)
        distance = np.minimum(distance, np.linalg.norm(points - start - part[:, None] * along, axis=1))
        inside &= (np.cross(along, points - start) * normal).sum(1) >= 0
    height = np.abs(((points - a) * normal).sum(1)) / np.maximum(length, 1e-300)
    plane: FloatArray = np.where(inside, height, distance)
    return plane


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


def normalised_mean_error(estimate: npt.ArrayLike, truth: npt.ArrayLike, *, normaliser: float) -> float:
    """Return the mean distance of landmarks divided by ``normaliser``, NME.

    Parameters
    ----------
    estimate, truth : (N, D). normaliser : distance between the eyes, or √(width · height) of the face box.

    >>> normalised_mean_error([[3.0, 4.0]], [[0.0, 0.0]], normaliser=50.0)
    0.1
    """
    a: FloatArray = check_array(estimate, shape=(None, None), name="estimate")
    b: FloatArray = check_array(truth, shape=a.shape, name="truth")
    if not normaliser > 0:
        raise InputError(f"normaliser: got {normaliser}, expected a positive length")
    return float(np.linalg.norm(a - b, axis=1).mean() / normaliser)
