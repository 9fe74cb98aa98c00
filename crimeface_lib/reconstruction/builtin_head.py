"""The built-in head in three dimensions: the chart cast onto the solid, then what rays cannot carve."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from crimeface_lib.core.types import FloatArray
from crimeface_lib.reconstruction import builtin_shape as shape
from crimeface_lib.reconstruction.builtin_chart import BALL, EYE_HALF, MOUTH, MOUTH_HALF, Chart, build_chart, width


@dataclass(frozen=True, slots=True)
class Head:
    """vertices (V, 3) mm; triangles (T, 3) counter-clockwise from outside; chart (V, 2) with X < 0 on the
    right of the subject; mirror (V,) index of the vertex on the other side; kind (V,); groups: rows on the
    left side (X >= 0)."""

    vertices: FloatArray
    triangles: np.ndarray
    chart: FloatArray
    mirror: np.ndarray
    kind: np.ndarray
    groups: dict[str, np.ndarray]


def half_surface(chart: Chart) -> FloatArray:
    """Cast the points of the half chart onto the head, (P, 3) mm."""
    sections = shape.Sections()
    x, t = chart.points.T
    theta = x / np.maximum(width(t), 1e-9)
    theta = np.where(t > shape.CROWN - 1e-6, 0.0, np.clip(theta, 0, np.pi))
    origin, direction = shape.rays(theta, t)
    points = shape.cast(origin, direction, lambda p: shape.solid(p, sections))
    eye = chart.kind == BALL
    points[eye] = _sink_eyes(points[eye])
    points[(x < 1e-6) | (theta > np.pi - 1e-6), 0] = 0.0
    points = _close_lips(points, chart)
    points = _nostrils(points, t)
    return points + _ear(x, t)


def _sink_eyes(points: FloatArray) -> FloatArray:
    """The ball lies behind the edge of the lids by their thickness, less so at the corners."""
    eye = shape.to_eye(points)
    taper = np.sqrt(np.maximum(1 - (eye[:, 0] / EYE_HALF) ** 2, 0.0))
    cornea = 0.7 * np.exp(-((np.hypot(eye[:, 0] - 1.8, eye[:, 1]) / 5.0) ** 4))
    eye[:, 2] += -0.35 - 1.15 * taper + cornea
    return shape.from_eye(eye)


def _close_lips(points: FloatArray, chart: Chart) -> FloatArray:
    """Bring the rims of the lips together and sink the slit between them into the mouth."""
    out = points.copy()
    ends = chart.groups["lip_upper"][-1:]
    below = shape.STOMION_Y + shape.lip_line(points[:, 0]) - points[:, 1]
    for side, sign in (("lip_upper", -1), ("lip_lower", 1)):
        rim = np.concatenate([chart.groups[side], ends])
        crease = np.polyfit(points[rim, 0] ** 2, points[rim, 2], 3)
        slit = np.zeros(len(points), dtype=bool)
        slit[rim] = True
        slit |= (chart.kind == MOUTH) & (sign * below >= 0)
        tuck = 0.7 if side == "lip_upper" else 1.3
        out[slit, 2] = np.polyval(crease, points[slit, 0] ** 2) - tuck * (1 - (points[slit, 0] / MOUTH_HALF) ** 2)
    x, y, z = out.T
    line = shape.STOMION_Y + shape.lip_line(x)
    d = y - line
    near = (np.abs(d) < 4) & (x < MOUTH_HALF + 1) & (z > 60)
    out[near, 1] -= (np.sign(d) * np.minimum(np.abs(d) * 0.85, 0.95 * (1 - np.abs(d) / 4) ** 2))[near]
    taper = np.sqrt(np.maximum(1 - (x / MOUTH_HALF) ** 2, 0))
    out[:, 2] -= chart.depth * 9.0 * taper
    return out


def _nostrils(points: FloatArray, t: FloatArray) -> FloatArray:
    """Push the underside of the nose up into two openings."""
    out = points.copy()
    x, y, z = points.T
    along, across = (z - 104.0) * 0.93 + (7.0 - x) * 0.37, (x - 6.6) * 0.93 + (z - 104.0) * 0.37
    spot = np.exp(-((along / 4.8) ** 4) - (across / 2.9) ** 4) * shape.smoothstep(-y, 42.5, 45.0) * (y > -49)
    out[:, 1] += 4.5 * spot * (np.abs(t + 42) < 9)
    return out


def _ear(x: FloatArray, t: FloatArray) -> FloatArray:
    """Offsets (P, 3) that raise the ear from the side of the head."""
    u, v, e = shape.to_ear(x, t)
    step = shape.smoothstep
    inside = 1 - step(e, 0.94, 1.04)
    plate = 15.5 * step(u, 1, 31) + 2.5 * step(u, -3, 8)
    ridges = step(v, -24, -10)
    back = step(u, 3, 12) + step(v, 14, 24) * (1 - step(u, 3, 12))
    helix = 2.6 * np.exp(-(((e - 0.92) / 0.075) ** 2)) * back * (0.5 + 0.5 * ridges)
    scapha = -2.6 * np.exp(-(((e - 0.74) / 0.09) ** 2)) * back * ridges
    antihelix = 2.2 * np.exp(-(((e - 0.54) / 0.10) ** 2)) * step(u, 10, 18) * ridges
    concha = -8.5 * np.exp(-(((u - 11.5) / 6.5) ** 2) - (((v + 4) / 9.5) ** 2))
    tragus = 4.5 * np.exp(-(((u - 2.5) / 2.6) ** 2) - (((v + 7) / 4.5) ** 2))
    lobe = 2.5 * np.exp(-(((u - 11) / 7) ** 2) - (((v + 25) / 6) ** 2))
    height = inside * (plate + helix + scapha + antihelix + concha + lobe) + tragus * inside
    tuck = 6.0 * step(e, 0.97, 1.03) * (1 - step(e, 1.03, 1.6)) * step(u, 10, 26)
    return np.stack([height - 0.2 * tuck, np.zeros_like(x), -0.12 * height + tuck], axis=1)


def build_head() -> Head:
    """Build both halves of the mean head."""
    chart = build_chart()
    half = half_surface(chart)
    on_middle = half[:, 0] == 0.0
    count = len(half)
    other = np.arange(count)
    other[~on_middle] = count + np.arange((~on_middle).sum())
    vertices = np.vstack([half, half[~on_middle] * [-1, 1, 1]])
    layout = np.vstack([chart.points, chart.points[~on_middle] * [-1, 1]])
    triangles = np.vstack([chart.triangles, other[chart.triangles][:, ::-1]])
    mirror = np.empty(len(vertices), dtype=int)
    mirror[:count] = other
    mirror[other] = np.arange(count)
    kind = np.concatenate([chart.kind, chart.kind[~on_middle]])
    return Head(vertices, triangles, layout, mirror, kind, chart.groups)
