"""The surface of the built-in head: smooth solids sculpted on anatomical landmarks, in millimetres."""

from __future__ import annotations

import numpy as np

from crimeface_lib.core.types import FloatArray

AXIS_Z = 8.0  # the vertical axis from which rays leave in the face, mm in front of the ear canals

# Horizontal sections of the face, top to bottom: half breadth, depth at which it is widest, depth of the
# midline (without nose and lips), exponent of the superellipse.
_SECTION_Y = np.array([-126.0, -118, -108, -100, -90, -82, -75, -68, -60, -50, -40, -28, -15, 0, 15, 35, 58])
_SECTIONS = np.array(
    [  # half breadth, widest at z, midline z, exponent
        [28, 36, 82, 2.0],
        [36, 32, 95.5, 2.0],
        [42.5, 26, 102.2, 2.0],
        [48.3, 21, 103.0, 2.0],
        [56, 15, 100.2, 1.95],
        [58.5, 11, 100.2, 1.9],
        [60.8, 8, 100.5, 1.88],
        [62, 6, 100.3, 1.88],
        [64, 6, 100.7, 1.9],
        [65, 7, 100.0, 1.95],
        [66.5, 9, 96.3, 2.0],
        [68, 12, 91.8, 2.1],
        [69, 13, 88.3, 2.2],
        [69.5, 12, 90.0, 2.3],
        [68.5, 10, 97.0, 2.3],
        [66, 8, 96.0, 2.25],
        [61, 4, 86.0, 2.1],
    ]
)

# Relief added along the surface normal: x, y, z of the centre, the three widths, height; mm. Mirrored.
_RELIEF = np.array(
    [
        [25, 18, 90, 13, 6, 30, 2.2],  # brow ridge
        [45, 12, 72, 7, 9, 25, 2.5],  # outer rim of the orbit
        [16, -1, 86, 6.5, 7, 30, -7.5],  # inner corner of the orbit
        [31, 9, 80, 13, 6, 30, -2.3],  # hollow under the brow
        [32, -9, 80, 14, 6, 30, -2.6],  # hollow under the eye
        [20, -16, 85, 8, 6, 30, -2.0],  # tear trough
        [50, -24, 62, 16, 13, 28, 3.2],  # cheekbone
        [38, -44, 80, 17, 19, 34, 1.7],  # cheek pad
        [56, -60, 42, 16, 20, 28, -0.8],  # hollow of the cheek
        [27.5, -70, 88, 5, 6, 12, -0.7],  # corner of the mouth
        [17, -84, 92, 9, 5, 20, -1.0],  # beside the chin
        [9, -102, 94, 9, 7, 20, 0.8],  # chin pads
        [62, 22, 45, 14, 16, 18, -3.0],  # temple
        [46, 1, 76, 6, 6, 20, -2.0],  # outer corner of the eye
        [0, -57, 98, 20, 16, 30, 4.2],  # the lips' part of the jaws
        [0, 38, 96, 26, 14, 30, 1.0],  # forehead
    ]
)


def smooth_min(a: FloatArray, b: FloatArray, k: float) -> FloatArray:
    """Union of two solids with a fillet of about ``k`` mm (quadratic)."""
    h = np.maximum(k - np.abs(a - b), 0.0) / k
    return np.minimum(a, b) - h * h * (k / 4)


def smooth_max(a: FloatArray, b: FloatArray, k: float) -> FloatArray:
    """Intersection of two solids with a rounding of about ``k`` mm."""
    return -smooth_min(-a, -b, k)


def _ellipsoid(p: FloatArray, centre: tuple[float, ...], radii: tuple[float, ...]) -> FloatArray:
    q = p - np.array(centre)
    k0 = np.linalg.norm(q / np.array(radii), axis=1)
    k1 = np.linalg.norm(q / np.square(radii), axis=1)
    return k0 * (k0 - 1) / np.maximum(k1, 1e-9)


def _cone(p: FloatArray, a: tuple[float, ...], b: tuple[float, ...], ra: float, rb: float) -> FloatArray:
    """A capsule whose radius runs from ``ra`` at ``a`` to ``rb`` at ``b``."""
    start, axis = np.array(a), np.array(b) - np.array(a)
    t = np.clip((p - start) @ axis / (axis @ axis), 0, 1)
    return np.linalg.norm(p - start - t[:, None] * axis, axis=1) - (ra + t * (rb - ra))


def smoothstep(x: FloatArray, low: float, high: float) -> FloatArray:
    t = np.clip((x - low) / (high - low), 0, 1)
    return t * t * t * (t * (6 * t - 15) + 10)


EYE_CENTRE = np.array([29.2, 0.0, 74.2])
_EYE_TURN = np.deg2rad(14.0)  # the plane of the lids faces this much outwards
LID_RADII = (15.8, 13.6, 12.9)


def to_eye(p: FloatArray) -> FloatArray:
    """Points in the frame of the left eye: x along the lids outwards, z out of the face."""
    q = p - EYE_CENTRE
    c, s = np.cos(_EYE_TURN), np.sin(_EYE_TURN)
    return np.stack([c * q[:, 0] - s * q[:, 2], q[:, 1], s * q[:, 0] + c * q[:, 2]], axis=1)


def from_eye(q: FloatArray) -> FloatArray:
    c, s = np.cos(_EYE_TURN), np.sin(_EYE_TURN)
    return np.stack([c * q[:, 0] + s * q[:, 2], q[:, 1], -s * q[:, 0] + c * q[:, 2]], axis=1) + EYE_CENTRE


class Sections:
    """Cubic interpolation of the section table, tabulated once at 0.5 mm so that a look-up is cheap."""

    def __init__(self) -> None:
        from scipy.interpolate import PchipInterpolator
        from scipy.ndimage import gaussian_filter1d

        self.y = np.arange(_SECTION_Y[0], _SECTION_Y[-1] + 0.25, 0.5)
        rough = PchipInterpolator(_SECTION_Y, _SECTIONS)(self.y)
        self.rows = gaussian_filter1d(rough, 14.0, axis=0, mode="nearest").T
        self.rows[2] = gaussian_filter1d(rough[:, 2], 7.0, mode="nearest")  # the profile is finer than the cheeks

    def __call__(self, y: FloatArray) -> list[FloatArray]:
        return [np.interp(y, self.y, row) for row in self.rows]


def _skull(p: FloatArray) -> FloatArray:
    front, back = 105.0, 89.0
    q = p - np.array([0.0, 33.0, -8.0])
    depth = np.where(q[:, 2] > 0, front, back)
    return _power_ellipsoid(q, np.stack([np.full(len(p), 75.5), np.full(len(p), 82.0), depth], axis=1), 2.15)


def _power_ellipsoid(q: FloatArray, radii: FloatArray, n: float) -> FloatArray:
    g = np.maximum((np.abs(q / radii) ** n).sum(1), 1e-9) ** (1 / n)
    return np.linalg.norm(q, axis=1) * (1 - 1 / g)


def _mask(p: FloatArray, sections: Sections) -> FloatArray:
    """The front of the face without nose, eyes and lips; closed below by the line of the jaw."""
    x, y, z = np.abs(p[:, 0]), p[:, 1], p[:, 2]
    breadth, widest, middle, n = sections(y)
    dz = z - widest
    depth = np.where(dz > 0, middle - widest, widest + 55.0)
    g = np.maximum((x / breadth) ** n + (np.abs(dz) / depth) ** n, 1e-9) ** (1 / n)
    face = np.hypot(x, dz) * (1 - 1 / g)
    slope = 0.40 * smoothstep(x, 4, 50)
    floor = -119.0 + slope * np.maximum(86 - z, 0) + 0.10 * np.maximum(86 - z, 0)
    face = smooth_max(face, (floor - y) / np.sqrt(1 + slope**2), 18.0)
    return smooth_max(face, y - 70.0, 30.0)


def _neck(p: FloatArray) -> FloatArray:
    y = p[:, 1]
    centre = -14.0 + 0.30 * (y + 120)
    flare = 16.0 * smoothstep(-y, 118, 190)
    q = np.stack([p[:, 0] / (49.5 + flare), (p[:, 2] - centre) / (51.0 + 0.5 * flare)], axis=1)
    g = np.maximum(np.linalg.norm(q, axis=1), 1e-9)
    shaft = np.hypot(p[:, 0], p[:, 2] - centre) * (1 - 1 / g)
    muscle = _cone(np.abs(p) * [1, 0, 0] + p * [0, 1, 1], (50, -45, -16), (14, -205, 30), 8.0, 9.0)
    return smooth_max(smooth_min(shaft, muscle, 14.0), y + 25.0, 30.0)


def _relief(p: FloatArray) -> FloatArray:
    total = np.zeros(len(p))
    for cx, cy, cz, sx, sy, sz, height in _RELIEF:
        fall = np.exp(-(((p[:, 1] - cy) / sy) ** 2) - ((p[:, 2] - cz) / sz) ** 2)
        sides = np.exp(-(((p[:, 0] - cx) / sx) ** 2))
        if cx:
            sides = sides + np.exp(-(((p[:, 0] + cx) / sx) ** 2))
        total += height * fall * sides
    return total


def _segment_relief(p: FloatArray, a: tuple[float, float], b: tuple[float, float], width: float) -> FloatArray:
    """Gaussian fall-off from a segment in the frontal plane, both sides."""
    q = np.stack([np.abs(p[:, 0]), p[:, 1]], axis=1)
    start, axis = np.array(a), np.array(b) - np.array(a)
    t = np.clip((q - start) @ axis / (axis @ axis), 0, 1)
    d = np.linalg.norm(q - start - t[:, None] * axis, axis=1)
    return np.exp(-((d / width) ** 2)) * (p[:, 2] > 40)


def _nose(p: FloatArray) -> FloatArray:
    q = p.copy()
    q[:, 0] = np.abs(q[:, 0])
    bridge = _cone(q, (0, 6, 85.6), (0, -29, 109.2), 6.9, 7.8)
    wall = _cone(q, (0, 5, 74.0), (0, -37, 90.5), 9.4, 15.8)
    tip = _ellipsoid(q, (0, -34.8, 109.0), (10.2, 8.8, 12.6))
    dome = _ellipsoid(q, (3.8, -34.6, 112.0), (6.2, 6.2, 7.6))
    wing = _ellipsoid(q, (12.1, -40.2, 101.6), (5.8, 6.8, 9.6))
    pillar = _cone(q, (0, -41.4, 110.5), (0, -45.6, 101.0), 3.2, 3.8)
    nose = smooth_min(bridge, wall, 13.0)
    nose = smooth_min(nose, smooth_min(tip, dome, 5.0), 8.0)
    nose = smooth_min(nose, wing, 5.2)
    return smooth_min(nose, pillar, 4.5)


def _lips(p: FloatArray) -> FloatArray:
    x, y, z = np.abs(p[:, 0]), p[:, 1], p[:, 2]
    s = np.clip(x / 27.0, 0, 2.0)
    taper = np.sqrt(np.maximum(1 - s**2, 0.0)) - 4 * np.maximum(s - 0.96, 0)
    arch = 0.0185 * x**2
    line = STOMION_Y + lip_line(x)
    bow = -0.7 * np.exp(-((x / 4.0) ** 2)) + 0.5 * np.exp(-(((x - 8) / 6) ** 2))
    upper = np.hypot((y - (line + 4.4 * taper + bow * 0.6)) / 1.12, z - (104.0 - arch)) - (5.5 * taper - 0.4)
    lower = np.hypot((y - (line - 4.9 * taper)) / 1.1, z - (102.0 - arch)) - (5.8 * taper - 0.5)
    return smooth_min(upper, lower, 1.8)


STOMION_Y = -69.6


def lip_front(x: FloatArray) -> FloatArray:
    """Depth of the meeting of the lips at ``x`` mm from the midline, about."""
    return 106.0 - 0.0185 * x**2


def lip_line(x: FloatArray) -> FloatArray:
    """How far the line between the lips lies above its middle at ``x`` mm from the midline."""
    return 0.9 * np.exp(-(((x - 10) / 7) ** 2)) - 0.9 * np.exp(-((10 / 7) ** 2)) - 0.0006 * x**2


def solid(p: FloatArray, sections: Sections) -> FloatArray:
    """Signed value of the closed head: negative inside, about mm near the surface."""
    head = smooth_min(_skull(p), _mask(p, sections), 22.0)
    head = smooth_min(head, _neck(p), 16.0)
    head = head - _relief(p)
    head = smooth_min(head, _nose(p), 6.5)
    groove = _segment_relief(p, (19.5, -42), (32, -66), 5.0)
    head = head + 0.9 * groove
    philtrum = np.exp(-(((p[:, 1] + 55.5) / 6.5) ** 2)) * (p[:, 2] > 60)
    ridge = np.exp(-(((np.abs(p[:, 0]) - 5) / 2.6) ** 2))
    head = head + philtrum * (1.1 * np.exp(-((p[:, 0] / 3.2) ** 2)) - 0.5 * ridge)
    head = smooth_min(head, _lips(p), 4.6)
    lid = to_eye(np.stack([np.abs(p[:, 0]), p[:, 1], p[:, 2]], axis=1))
    lids = _ellipsoid(lid, (0, 0, 0), LID_RADII)
    crease = np.exp(-(((lid[:, 1] - 9.0 + 0.018 * lid[:, 0] ** 2) / 1.5) ** 2)) * np.exp(-((lid[:, 0] / 15) ** 4))
    head = smooth_min(head, lids, 3.5)
    return head + 1.0 * crease * (lid[:, 2] > 0)


_EAR_TILT = np.deg2rad(-12.0)
_EAR_CENTRE = np.array([142.5, -16.0])  # on the chart


def to_ear(x: FloatArray, t: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Ear frame of chart points: u backwards from the root, v upwards (mm), e = 1 on the outline."""
    c, s = np.cos(_EAR_TILT), np.sin(_EAR_TILT)
    u, v = c * (x - _EAR_CENTRE[0]) - s * (t - _EAR_CENTRE[1]), s * (x - _EAR_CENTRE[0]) + c * (t - _EAR_CENTRE[1])
    return u + 15.5, v, np.hypot(u / _ear_half(v), v / 31.0)


def _ear_half(v: FloatArray) -> FloatArray:
    return 15.8 + 0.10 * np.clip(v, -40, 31)


def from_ear(e: float, turn: FloatArray) -> FloatArray:
    """Chart points (N, 2) of the outline scaled by ``e``; ``turn`` 0 is the back, positive is up."""
    v = 31.0 * e * np.sin(turn)
    u = _ear_half(v) * e * np.cos(turn)
    c, s = np.cos(_EAR_TILT), np.sin(_EAR_TILT)
    return np.stack([c * u + s * v, -s * u + c * v], axis=1) + _EAR_CENTRE


_RAY_T = np.array([-215.0, -185, -160, -135, -115, -95])
_RAY_Y = np.array([-168.0, -130, -105, -98, -97, -95])
_RAY_Z = np.array([-26.0, -14, 0, 8, 8, 8])
_RAY_TILT = np.array([0.0, -17, -22, -21, -13, 0])
CROWN = 155.0
BASE = -215.0


def rays(theta: FloatArray, t: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Origins and directions of the rays that carry chart points (azimuth, height) to the surface."""
    from scipy.interpolate import PchipInterpolator

    low = np.clip(t, BASE, -95)
    front = (0.5 * (1 + np.cos(theta))) ** 2
    y_back = -95 + (low + 95) * 73 / 120
    y = front * PchipInterpolator(_RAY_T, _RAY_Y)(low) + (1 - front) * y_back
    tilt = front * PchipInterpolator(_RAY_T, _RAY_TILT)(low)
    rise = np.clip(t - 45, 0, None)
    y = np.where(t > -95, np.clip(t, -95, 45), y)
    tilt = np.deg2rad(np.where(t > 45, rise * 90 / (CROWN - 45), tilt))
    z = np.where(t > -95, AXIS_Z - 10 * smoothstep(t, 45, 110), PchipInterpolator(_RAY_T, _RAY_Z)(low))
    origin = np.stack([np.zeros_like(t), y, z], axis=1)
    direction = np.stack([np.sin(theta) * np.cos(tilt), np.sin(tilt), np.cos(theta) * np.cos(tilt)], axis=1)
    return origin, direction


def cast(origin: FloatArray, direction: FloatArray, value, *, start: float = 150.0) -> FloatArray:
    """March inwards to the outermost surface of ``value`` and return the points (N, 3)."""
    r = np.full(len(origin), start)
    for _ in range(45):
        r = r - 0.75 * np.clip(value(origin + r[:, None] * direction), -8, 40)
    lo, hi = r - 1.0, r + 1.0
    f_lo, f_hi = value(origin + lo[:, None] * direction), value(origin + hi[:, None] * direction)
    step = np.where((f_lo < 0) & (f_hi > 0), lo + 2.0 * -f_lo / np.where(f_hi == f_lo, 1, f_hi - f_lo), r)
    f = value(origin + step[:, None] * direction)
    better = np.abs(f) < np.abs(value(origin + r[:, None] * direction))
    return origin + np.where(better, step, r)[:, None] * direction
