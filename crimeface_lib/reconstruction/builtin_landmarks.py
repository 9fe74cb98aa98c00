"""The 68 Multi-PIE/iBUG points on the built-in head."""

from __future__ import annotations

import numpy as np

from crimeface_lib.core.types import FloatArray
from crimeface_lib.reconstruction.builtin_chart import MOUTH
from crimeface_lib.reconstruction.builtin_head import Head
from crimeface_lib.reconstruction.morphable import LANDMARK_MIRROR

# Frontal places (x, y) mm of the left side, on the mean head; the right side mirrors them. They follow how
# landmarkers mark photos (for instance a little inside the corners of the eye), judged on 60 photos of LFW.
_BROW = ((10.7, 13.7), (20.4, 18.4), (31.4, 20.4), (42.6, 18.4), (52.6, 11.4))
_BRIDGE = ((0.0, 0.8), (0, -11.0), (0, -23.0), (0, -34.8))
_BASE = ((0.0, -49.2), (6.6, -47.8), (12.8, -45.6))
_UPPER_LIP = ((0.0, -62.3), (6.8, -61.2), (16.2, -64.8))
_LOWER_LIP = ((0.0, -79.2), (8.0, -78.4), (17.0, -75.6))
_EYE_CORNERS = ((17.6, -1.6), (43.2, 0.8))
_JAW_Y = (2.5, -18.0, -37.0, -54.5, -71.5, -88.5, -103.5, -112.0)
_CAMERA_Z = 900.0  # the frontal view in which the jaw line is the silhouette


def landmarks_68(head: Head, mean: FloatArray) -> tuple[np.ndarray, FloatArray, np.ndarray]:
    """Return triangles (68,), weights (68, 3), and the vertices (17,) of the jaw line."""
    places: dict[int, tuple[int, FloatArray]] = {}
    front = _FrontalPlaces(head, mean)
    for first, spots in ((22, _BROW), (27, _BRIDGE), (33, _BASE), (51, _UPPER_LIP)):
        for offset, spot in enumerate(spots):
            places[first + offset] = front.locate(*spot)
    for landmark, spot in zip((57, 56, 55), _LOWER_LIP, strict=True):
        places[landmark] = front.locate(*spot)
    places[42], places[45] = (front.locate(*spot) for spot in _EYE_CORNERS)
    jaw = _jaw(head, mean)
    for landmark, vertex in {**_vertices(head), **{16 - i: v for i, v in enumerate(jaw)}}.items():
        places[landmark] = _corner(head, vertex)
    by_vertex = {tuple(sorted(row)): i for i, row in enumerate(head.triangles.tolist())}
    for landmark in range(68):
        if landmark not in places:
            triangle, weights = places[int(LANDMARK_MIRROR[landmark])]
            row = head.mirror[head.triangles[triangle]]
            index = by_vertex[tuple(sorted(row.tolist()))]
            order = [row.tolist().index(v) for v in head.triangles[index].tolist()]
            places[landmark] = index, weights[order]
    triangles = np.array([places[i][0] for i in range(68)])
    weights = np.array([places[i][1] for i in range(68)])
    left = np.array(jaw)
    return triangles, weights, np.concatenate([head.mirror[left], left[-2::-1]])


def _vertices(head: Head) -> dict[int, int]:
    """Landmarks that are vertices, left side and midline."""
    ring, upper, lower = (head.groups[name] for name in ("lid_rim", "lip_upper", "lip_lower"))
    half = len(ring) // 2
    a, b, c, d = (round(share * half) for share in (0.29, 0.56, 0.31, 0.60))
    inner = int(np.argmin(np.abs(head.vertices[upper, 0] - 9.0)))
    return {
        43: ring[a], 44: ring[b], 46: ring[-d], 47: ring[-c],
        54: upper[-1], 62: upper[0], 63: upper[inner], 64: upper[-4], 65: lower[inner], 66: lower[0],
    }  # fmt: skip


def _jaw(head: Head, mean: FloatArray) -> list[int]:
    """Vertices of landmarks 16 (left temple) to 8 (chin): the silhouette seen from the front."""
    x, y, z = mean.T
    perspective = _CAMERA_Z / (_CAMERA_Z - z)
    side = (head.chart[:, 0] > 0) & (head.chart[:, 0] < 116) & (head.chart[:, 1] > -128) & (head.kind == 0)
    out = []
    for target in _JAW_Y:
        on_jaw = z > np.interp(-target, [60, 71, 87, 101], [0, 8, 25, 52])  # not on the neck behind it
        near = np.flatnonzero(side & on_jaw & (np.abs(y - target) < 2.5))
        if target < -105:
            near = np.flatnonzero(side & (np.abs(x - 19.0) < 3.0) & (z > 60))
            out.append(int(near[np.argmin((y * perspective)[near])]))
        else:
            out.append(int(near[np.argmax((x * perspective)[near])]))
    middle = np.flatnonzero((x == 0) & (z > 60))
    out.append(int(middle[np.argmin((y * perspective)[middle])]))
    return out


def _corner(head: Head, vertex: int) -> tuple[int, FloatArray]:
    triangle = int(np.flatnonzero((head.triangles == vertex).any(1))[0])
    return triangle, (head.triangles[triangle] == vertex).astype(np.float64)


class _FrontalPlaces:
    """Finds the triangle of the face's skin under a frontal place."""

    def __init__(self, head: Head, mean: FloatArray) -> None:
        corners = mean[head.triangles]
        normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        skin = (head.kind[head.triangles] != MOUTH).all(1) & (corners[..., 2].min(1) > 40) & (normal[:, 2] > 0)
        self.index = np.flatnonzero(skin)
        self.corners = corners[skin]

    def locate(self, x: float, y: float) -> tuple[int, FloatArray]:
        distance = np.hypot(self.corners[..., 0].mean(1) - x, self.corners[..., 1].mean(1) - y)
        near = np.argsort(distance)[:40]
        system = np.concatenate([self.corners[near, :, :2].transpose(0, 2, 1), np.ones((len(near), 1, 3))], axis=1)
        weights = np.linalg.solve(system, np.broadcast_to([[x], [y], [1.0]], (len(near), 3, 1)))[..., 0]
        best = int(np.argmax(weights.min(1)))
        chosen = np.clip(weights[best], 0, None)
        return int(self.index[near[best]]), chosen / chosen.sum()
