"""The z-buffer on the CPU, compiled once and cached."""

from __future__ import annotations

import math

import numba
import numpy as np

from crimeface_lib.core.errors import InputError

#: How far outside its triangle, in barycentric units, a pixel centre may fall by rounding: no cracks along edges.
SLACK = 1e-9
#: Areas drawn, px²: thinner ones have no barycentric coordinates, larger ones touch the camera's plane.
THIN, VAST = 1e-9, 1e12


def rasterize_numba(
    xy: np.ndarray, z: np.ndarray, triangles: np.ndarray, height: int, width: int, device: str | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw frames one after the other; see ``rasterize.Rasterizer``.

    Raises
    ------
    InputError : a device other than the CPU.
    """
    if device not in (None, "cpu"):
        raise InputError(f"device: got {device!r}, but backend 'numba' draws on the CPU; use backend='torch'")
    shape = (len(xy), height, width)
    face, bary, depth = np.empty(shape, np.int64), np.empty((*shape, 3), np.float32), np.empty(shape, np.float32)
    for frame in range(len(xy)):
        points = xy[frame].astype(np.float64)
        near = _nearness(points, z[frame])
        _cover(points, near, triangles, face[frame])
        _resolve(points, near, triangles, face[frame], bary[frame], depth[frame])
    return face, bary, depth


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _nearness(points, depths):
    """Return 1/z of each vertex, 0 where it can't be drawn."""
    near = np.zeros(len(depths))
    for vertex in range(len(depths)):
        if depths[vertex] > 0.0 and math.isfinite(points[vertex, 0]) and math.isfinite(points[vertex, 1]):
            near[vertex] = 1.0 / depths[vertex]
    return near


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _cover(points, near, triangles, keys):
    """Leave at each pixel the largest key: the bits of 1/z, which sort as it does, above the complement of the
    triangle's index, so that of two at one depth the first wins. Without branches in the loop: they cost more."""
    height, width = keys.shape
    keys[:] = 0
    for index in range(triangles.shape[0]):
        a, b, c = triangles[index, 0], triangles[index, 1], triangles[index, 2]
        near_a, near_b, near_c = near[a], near[b], near[c]
        if not (near_a > 0.0 and near_b > 0.0 and near_c > 0.0):
            continue
        ax, ay, bx, by, cx, cy = points[a, 0], points[a, 1], points[b, 0], points[b, 1], points[c, 0], points[c, 1]
        left, right = max(math.ceil(min(ax, bx, cx) - 0.5), 0.0), min(math.floor(max(ax, bx, cx) - 0.5), width - 1.0)
        top, bottom = max(math.ceil(min(ay, by, cy) - 0.5), 0.0), min(math.floor(max(ay, by, cy) - 0.5), height - 1.0)
        if left > right or top > bottom:
            continue
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        if not THIN < abs(area) < VAST:
            continue
        dx, dy = left + 0.5, top + 0.5  # weights at the first pixel, and how they grow along x and y
        share = 1.0 / area
        start_a = ((bx - dx) * (cy - dy) - (by - dy) * (cx - dx)) * share
        start_b = ((cx - dx) * (ay - dy) - (cy - dy) * (ax - dx)) * share
        right_a, right_b, down_a, down_b = (by - cy) * share, (cy - ay) * share, (cx - bx) * share, (ax - cx) * share
        low = 0xFFFFFFFF - index
        for row in range(int(top), int(bottom) + 1):
            wa, wb = start_a, start_b
            for column in range(int(left), int(right) + 1):
                wc = 1.0 - wa - wb
                value = np.float32(wa * near_a + wb * near_b + wc * near_c)
                inside = (wa >= -SLACK) & (wb >= -SLACK) & (wc >= -SLACK)
                key = (np.int64(value.view(np.int32)) << 32) | low
                key = key if inside else 0
                old = keys[row, column]
                keys[row, column] = key if key > old else old
                wa += right_a
                wb += right_b
            start_a += down_a
            start_b += down_b


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _resolve(points, near, triangles, face, bary, depth):
    """Turn keys into indices, and compute weights and depths at the pixels covered."""
    height, width = face.shape
    for row in range(height):
        for column in range(width):
            if face[row, column] == 0:
                face[row, column], depth[row, column] = -1, np.inf
                bary[row, column, 0] = bary[row, column, 1] = bary[row, column, 2] = 0.0
                continue
            index = 0xFFFFFFFF - (face[row, column] & 0xFFFFFFFF)
            a, b, c = triangles[index, 0], triangles[index, 1], triangles[index, 2]
            px, py = column + 0.5, row + 0.5
            ax, ay, bx, by, cx, cy = points[a, 0], points[a, 1], points[b, 0], points[b, 1], points[c, 0], points[c, 1]
            area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
            wa = ((bx - px) * (cy - py) - (by - py) * (cx - px)) * near[a]
            wb = ((cx - px) * (ay - py) - (cy - py) * (ax - px)) * near[b]
            wc = ((ax - px) * (by - py) - (ay - py) * (bx - px)) * near[c]
            share = 1.0 / (wa + wb + wc)
            face[row, column], depth[row, column] = index, area * share
            bary[row, column, 0], bary[row, column, 1], bary[row, column, 2] = wa * share, wb * share, wc * share
