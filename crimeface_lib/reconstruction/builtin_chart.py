"""The flat layout of the built-in head: points and triangles on half a cylindrical chart, then mirrored.

A chart point is (X, t): t is the height in mm (bent over the crown and under the chin) and X the azimuth in
mm on a cylinder that narrows towards the crown, so that the crown is one point and the outline is convex.
Points lie on the rims of lids and lips and fill the rest at a spacing that follows the detail.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from crimeface_lib.core.types import FloatArray
from crimeface_lib.reconstruction import builtin_shape as shape

RADIUS = 75.0
SKIN, BALL, MOUTH = 0, 1, 2
MOUTH_HALF = 25.6
_GAP = 0.75  # half the chart height of the slit between the lips, mm
EYE_HALF = 14.4

# Spacing: centre X, t, half axes, spacing inside; mm.
_ZONES = np.array(
    [
        [0, -35, 80, 85, 3.0],
        [33, 2, 22, 15, 1.9],
        [32, 0, 16, 9, 1.45],
        [11, -40, 17, 10, 1.3],
        [0, -22, 22, 32, 2.2],
        [0, -70, 27, 12, 1.5],
        [142, -16, 20, 36, 1.75],
        [60, -95, 60, 22, 4.5],
    ]
)


@dataclass(frozen=True, slots=True)
class Chart:
    """points (P, 2) mm; kind (P,) SKIN, BALL or MOUTH; depth (P,) share of the way into the mouth slit;
    triangles (T, 3) over the half with X >= 0; groups: named rows of point indices."""

    points: FloatArray
    kind: np.ndarray
    depth: FloatArray
    triangles: np.ndarray
    groups: dict[str, np.ndarray]


def width(t: FloatArray) -> FloatArray:
    """Radius of the chart's cylinder at height ``t``, mm."""
    rise = np.clip((np.asarray(t) - 45) / (shape.CROWN - 45), 0, 1)
    return RADIUS * np.cos(rise * np.pi / 2)


def to_chart(points: FloatArray) -> FloatArray:
    """Chart points of face points (between chin and brows, where rays are level)."""
    theta = np.arctan2(points[:, 0], points[:, 2] - shape.AXIS_Z)
    return np.stack([theta * RADIUS, points[:, 1]], axis=1)


def spacing(p: FloatArray) -> FloatArray:
    h = np.full(len(p), 7.5)
    for cx, ct, rx, rt, inside in _ZONES:
        q = np.hypot((p[:, 0] - cx) / rx, (p[:, 1] - ct) / rt)
        h = np.minimum(h, inside + 0.16 * np.maximum(q - 1, 0) * min(rx, rt))
    return h


def almond(s: FloatArray, upper: bool, out: float = 0.0) -> FloatArray:
    """Edge of the lid in the eye's frame (N, 2), inner to outer corner for ``s`` in 0…1, ``out`` mm outside."""
    x = (2 * s - 1) * (EYE_HALF + 0.55 * out)
    middle = -1.7 + 2.6 * s
    if upper:
        y = middle + (5.7 + out) * np.sin(np.pi * s**0.92) ** 0.82
    else:
        y = middle - (4.9 + out) * np.sin(np.pi * s**1.12) ** 0.86
    return np.stack([x, y], axis=1)


def lid_points(edge: FloatArray, radii: tuple[float, ...]) -> FloatArray:
    """(N, 3) head points over the eye-frame points ``edge``, on the ellipsoid with ``radii``."""
    room = 1 - (edge[:, 0] / radii[0]) ** 2 - (edge[:, 1] / radii[1]) ** 2
    z = radii[2] * np.sqrt(np.maximum(room, 0.012))
    return shape.from_eye(np.column_stack([edge, z]))


def _ring(count: int, out: float = 0.0, scale: float = 1.0) -> FloatArray:
    """One closed ring round the eye in chart coordinates: upper edge outwards, lower edge back."""
    half = count // 2
    s = (1 - np.cos(np.linspace(0, np.pi, half + 1))) / 2 * 0.35 + np.linspace(0, 1, half + 1) * 0.65
    loop = np.vstack([almond(s, True, out), almond(s[::-1], False, out)[1:-1]])
    return to_chart(lid_points(loop * scale, shape.LID_RADII))


def _features() -> tuple[FloatArray, np.ndarray, FloatArray, dict[str, np.ndarray]]:
    """Points on lids and lips, with kind, depth and names."""
    parts: list[tuple[str, FloatArray, int, float]] = []
    rim = 56
    for name, ring, kind in (
        ("pupil", _ring(4, scale=1e-6)[:1], BALL),
        ("ball_1", _ring(14, scale=0.3), BALL),
        ("ball_2", _ring(26, scale=0.55), BALL),
        ("ball_3", _ring(40, scale=0.77), BALL),
        ("lid_inner", _ring(rim, scale=0.955), BALL),
        ("lid_rim", _ring(rim), SKIN),
        ("lid_1", _ring(rim, out=0.9), SKIN),
        ("lid_2", _ring(rim, out=2.1), SKIN),
        ("lid_3", _ring(50, out=3.6), SKIN),
    ):
        parts.append((name, ring, kind, 0.0))
    x = np.linspace(0, MOUTH_HALF, 28)
    line = shape.STOMION_Y + shape.lip_line(x)
    half_gap = _GAP * np.sqrt(1 - (x / MOUTH_HALF) ** 2)
    depth_z = shape.lip_front(x)
    for name, share, depth in (
        ("lip_upper", 1.0, 0.0),
        ("lip_lower", -1.0, 0.0),
        ("mouth_upper", 0.45, 0.6),
        ("mouth_lower", -0.45, 0.6),
        ("mouth_middle", 0.0, 1.0),
    ):
        stop = {"lip_upper": len(x), "lip_lower": len(x) - 1}.get(name, len(x) - 2)
        row = to_chart(np.column_stack([x, line + share * half_gap, depth_z]))[:stop]
        parts.append((name, row, MOUTH if depth else SKIN, depth))
    for name, side in (("lip_upper_1", 1.0), ("lip_lower_1", -1.0)):
        for out in (0.8, 1.7):
            reach = x[:-2] if out > 1 else x[:-1]
            away = half_gap[: len(reach)] + out * np.sqrt(1 - (reach / (MOUTH_HALF + 1.5)) ** 2)
            row = np.column_stack([reach, line[: len(reach)] + side * away, depth_z[: len(reach)]])
            parts.append((f"{name}_{out}", to_chart(row), SKIN, 0.0))
    for share in (0.62, 0.69, 0.76, 0.83, 0.89, 0.95, 1.03, 1.10):
        turn = np.linspace(np.deg2rad(-100), np.deg2rad(115), int(62 * share))
        parts.append((f"ear_{share}", shape.from_ear(share, turn), SKIN, 0.0))
    groups, start = {}, 0
    for name, points, _, _ in parts:
        groups[name] = np.arange(start, start + len(points))
        start += len(points)
    kinds = np.repeat([part[2] for part in parts], [len(part[1]) for part in parts])
    depths = np.repeat([part[3] for part in parts], [len(part[1]) for part in parts])
    return np.vstack([part[1] for part in parts]), kinds, depths, groups


def _borders(fixed: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Points on the midline (free to slide) and on the back and base (fixed)."""
    taken = np.sort(fixed[fixed[:, 0] < 1e-6, 1])
    knots = np.concatenate([[shape.BASE], taken[:1], taken[-1:], [shape.CROWN]])
    middle = []
    for low, high in ((knots[0], knots[1]), (knots[2], knots[3])):
        fine = np.linspace(low, high, 2000)
        count = np.concatenate([[0], np.cumsum(np.diff(fine) / spacing(np.column_stack([0 * fine, fine]))[1:])])
        steps = np.linspace(0, count[-1], round(count[-1]) + 1)[1:-1]
        middle.append(np.interp(steps, count, fine))
    slide = np.concatenate(middle)
    slide = np.column_stack([np.zeros_like(slide), slide])
    fine = np.linspace(shape.BASE, shape.CROWN, 4000)
    arc = np.concatenate([[0], np.cumsum(np.hypot(np.diff(fine), np.diff(np.pi * width(fine))))])
    t = np.interp(np.linspace(0, arc[-1], 52), arc, fine)
    back = np.column_stack([np.pi * width(t), t])
    base = np.column_stack([np.linspace(0, np.pi * RADIUS, 30)[:-1], np.full(29, shape.BASE)])
    by_crown = np.array([[8.0, shape.CROWN - 5.0]])  # keeps the front's midline off the back's
    return slide, np.vstack([back, base, by_crown])


def _fill(taken: FloatArray) -> FloatArray:
    """Hexagonal points at the wanted spacing wherever nothing lies yet."""
    from scipy.spatial import cKDTree

    points = taken
    level = 1.2
    while level < 9:
        xs, ts = np.arange(0.5, np.pi * RADIUS, level), np.arange(shape.BASE, shape.CROWN, level * 0.866)
        grid_x, grid_t = np.meshgrid(xs, ts)
        grid_x = grid_x + (np.arange(len(ts)) % 2)[:, None] * level / 2
        grid = np.column_stack([grid_x.ravel(), grid_t.ravel()])
        h = spacing(grid)
        room = (grid[:, 0] < np.pi * width(grid[:, 1]) - 0.5 * h) & (grid[:, 0] > 0.45 * h)
        room &= (grid[:, 1] > shape.BASE + 0.5 * h) & (grid[:, 1] < shape.CROWN - 0.5 * h)
        grid = grid[room & (h >= level) & (h < level * 1.15)]
        if len(grid):
            far = cKDTree(points).query(grid)[0] > 0.72 * spacing(grid)
            points = np.vstack([points, grid[far]])
        level *= 1.15
    return points[len(taken) :]


def _inside_rims(points: FloatArray, features: FloatArray, groups: dict[str, np.ndarray]) -> np.ndarray:
    lips = np.concatenate([groups["lip_upper"], groups["lip_lower"][::-1]])
    return _inside(points, features[groups["lid_3"]]) | _inside(points, features[lips])


def _inside(points: FloatArray, polygon: FloatArray) -> np.ndarray:
    """Whether each point lies in the polygon: an odd number of edges crossed to its right."""
    a, b = polygon, np.roll(polygon, -1, axis=0)
    t, x = points[:, 1, None], points[:, 0, None]
    straddles = (a[:, 1] > t) != (b[:, 1] > t)
    rise = np.where(b[:, 1] == a[:, 1], 1.0, b[:, 1] - a[:, 1])
    return (straddles & (x < a[:, 0] + (t - a[:, 1]) * (b[:, 0] - a[:, 0]) / rise)).sum(1) % 2 == 1


def build_chart() -> Chart:
    """Lay out half the head; the other half is its mirror image."""
    from scipy.spatial import Delaunay

    features, kind, depth, groups = _features()
    slide, border = _borders(features)
    frame = np.vstack([features, border, slide])
    free = _fill(frame)
    free = free[~_inside_rims(free, features, groups)]
    points = np.vstack([frame, free])
    still = len(features) + len(border)
    for step in range(24):
        if step % 6 == 0:
            triangles = Delaunay(points).simplices
            edges = np.unique(np.sort(triangles[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1), axis=0)
            both = np.vstack([edges, edges[:, ::-1]])
        weight = 1 / spacing(0.5 * (points[both[:, 0]] + points[both[:, 1]]))
        total = np.bincount(both[:, 0], weight, minlength=len(points))
        mean = np.column_stack(
            [np.bincount(both[:, 0], weight * points[both[:, 1], k], minlength=len(points)) / total for k in (0, 1)]
        )
        moved = points + 0.5 * (mean - points)
        moved[:still] = points[:still]
        moved[still : len(frame), 0] = 0.0
        points = moved
    triangles = Delaunay(points).simplices
    a, b, c = points[triangles[:, 0]], points[triangles[:, 1]], points[triangles[:, 2]]
    area = (b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]
    triangles = np.where((area > 0)[:, None], triangles, triangles[:, [0, 2, 1]])[np.abs(area) > 1e-6]
    extra = len(points) - len(features)
    return Chart(
        points=points,
        kind=np.concatenate([kind, np.zeros(extra, dtype=int)]),
        depth=np.concatenate([depth, np.zeros(extra)]),
        triangles=triangles,
        groups=groups,
    )
