"""The z-buffer on the CPU, compiled once and cached."""

from __future__ import annotations

import math

import numba
import numpy as np


@numba.njit(cache=True, nogil=True)
def _draw(xy, z, triangles, face, bary, nearest):
    height, width = face.shape
    for index in range(triangles.shape[0]):
        a, b, c = triangles[index, 0], triangles[index, 1], triangles[index, 2]
        if not (z[a] > 0.0 and z[b] > 0.0 and z[c] > 0.0):
            continue
        ax, ay, bx, by, cx, cy = xy[a, 0], xy[a, 1], xy[b, 0], xy[b, 1], xy[c, 0], xy[c, 1]
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        if not (abs(area) > 1e-9 and abs(area) < 1e12):  # also NaN
            continue
        x0, x1 = max(math.ceil(min(ax, bx, cx) - 0.5), 0), min(math.floor(max(ax, bx, cx) - 0.5), width - 1)
        y0, y1 = max(math.ceil(min(ay, by, cy) - 0.5), 0), min(math.floor(max(ay, by, cy) - 0.5), height - 1)
        near_a, near_b, near_c = 1.0 / z[a], 1.0 / z[b], 1.0 / z[c]
        for y in range(y0, y1 + 1):
            py = y + 0.5
            for x in range(x0, x1 + 1):
                px = x + 0.5
                wa = ((bx - px) * (cy - py) - (by - py) * (cx - px)) / area
                wb = ((cx - px) * (ay - py) - (cy - py) * (ax - px)) / area
                wc = 1.0 - wa - wb
                if wa < 0 or wb < 0 or wc < 0:
                    continue
                near = wa * near_a + wb * near_b + wc * near_c
                if near > nearest[y, x]:
                    nearest[y, x] = near
                    face[y, x] = index
                    bary[y, x, 0] = wa * near_a / near
                    bary[y, x, 1] = wb * near_b / near
                    bary[y, x, 2] = wc * near_c / near


def rasterize_numba(
    xy: np.ndarray, z: np.ndarray, triangles: np.ndarray, height: int, width: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (H, W) faces, (H, W, 3) barycentric coordinates and (H, W) depths; see ``rasterize``."""
    face = np.full((height, width), -1, np.int64)
    bary = np.zeros((height, width, 3), np.float32)
    nearest = np.zeros((height, width), np.float64)
    _draw(xy.astype(np.float64), z.astype(np.float64), triangles, face, bary, nearest)
    with np.errstate(divide="ignore"):
        return face, bary, (1.0 / nearest).astype(np.float32)
