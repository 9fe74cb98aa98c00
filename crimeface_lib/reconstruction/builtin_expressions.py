"""What the face of the built-in head can do: blendshapes in mm, 0 is neutral, 1 is full."""

from __future__ import annotations

import numpy as np

from crimeface_lib.core.types import FloatArray
from crimeface_lib.reconstruction import builtin_shape as shape
from crimeface_lib.reconstruction.builtin_chart import MOUTH_HALF
from crimeface_lib.reconstruction.builtin_head import Head
from crimeface_lib.reconstruction.builtin_modes import Fields, bell

step = shape.smoothstep
_JAW_AXIS = np.array([0.0, -26.0, 8.0])  # through both joints of the jaw
_JAW_TURN = np.deg2rad(15.0)


def expressions(head: Head, mean: FloatArray) -> dict[str, FloatArray]:
    """Return displacement fields (V, 3) mm by name, for the calibrated ``mean`` (V, 3)."""
    f = Fields(head)
    x, y, z, ax = f.x, f.y, f.z, f.ax
    low = lower_share(head)
    up, sides = 1 - low, {"left": step(x, -7.0, 7.0), "right": step(-x, -7.0, 7.0)}
    lips = bell(y, -70, 14) * bell(ax, 0, 34) * step(z, 60, 90)
    out: dict[str, FloatArray] = {"jaw_open": _turn_jaw(mean, f, low)}
    out["jaw_side"] = f.pack(x=6.0 * low * _jaw_part(f))
    out["jaw_forward"] = f.pack(z=5.0 * low * _jaw_part(f))
    for name, side in sides.items():
        outward = np.tanh(x / 6.0) * side
        corner = side * f.blob(29, -69, 86, 17, 15, 35)
        cheek = side * f.blob(42, -38, 75, 20, 18, 40)
        out[f"smile_{name}"] = f.pack(
            x=7.5 * corner * outward + 1.5 * cheek * outward,
            y=6.5 * corner + 4.0 * cheek,
            z=-4.0 * corner + 2.2 * cheek,
        )
        out[f"mouth_down_{name}"] = f.pack(x=1.5 * corner * outward, y=-6.0 * corner, z=-1.0 * corner)
        out[f"mouth_stretch_{name}"] = f.pack(x=6.0 * corner * outward, y=-1.0 * corner, z=-3.0 * corner)
        out[f"blink_{name}"] = _blink(head, mean, left=name == "left")
        out[f"squint_{name}"] = f.pack(
            y=side * (1.8 * f.blob(32, -8, 84, 16, 6, 30) + 2.4 * f.blob(36, -20, 78, 20, 12, 30)),
            z=1.0 * side * f.blob(35, -18, 78, 20, 11, 30),
        )
        out[f"brow_outer_up_{name}"] = f.pack(y=6.5 * side * f.blob(40, 21, 80, 17, 15, 35))
    out["lips_pucker"] = f.pack(x=-x * 0.34 * lips, z=7.0 * bell(y, -70, 13) * bell(ax, 0, 18) * step(z, 70, 95))
    roll = bell(y, -70, 9) * bell(ax, 0, 24) * step(z, 75, 95)
    out["lips_press"] = f.pack(y=-np.clip(y + 70, -8, 8) * 0.25 * roll, z=-2.6 * roll)
    out["upper_lip_up"] = f.pack(y=5.0 * up * bell(y, -64, 13) * bell(ax, 0, 23) * step(z, 70, 92))
    out["lower_lip_down"] = f.pack(y=-5.0 * low * bell(y, -75, 12) * bell(ax, 0, 23) * step(z, 70, 92))
    out["chin_up"] = f.pack(y=3.5 * bell(y, -92, 15) * bell(ax, 0, 24) * step(z, 60, 90) * low)
    out["brow_inner_up"] = f.pack(y=6.5 * bell(ax, 8, 20) * bell(y, 19, 15) * step(z, 55, 90))
    frown = bell(y, 16, 11) * step(z, 55, 90)
    out["brow_down"] = f.pack(
        x=-2.5 * np.tanh(x / 6.0) * frown * bell(ax, 14, 14),
        y=-4.5 * frown * bell(ax, 16, 24),
        z=0.8 * frown * bell(ax, 10, 14),
    )
    out["cheek_puff"] = f.pack(
        x=8.0 * np.tanh(x / 8.0) * f.blob(46, -62, 65, 22, 22, 40), z=4.5 * f.blob(38, -62, 78, 22, 20, 40)
    )
    out["nose_wrinkle"] = f.pack(
        y=3.0 * f.blob(13, -38, 102, 10, 14, 25), x=0.9 * np.tanh(x / 6.0) * f.blob(14, -40, 100, 10, 10, 25)
    )
    return out


def lower_share(head: Head) -> FloatArray:
    """1 where the jaw carries the skin, 0 where the skull does; the slit of the mouth parts them (V,)."""
    # on the chart, where the slit is open; at the corners and on the cheeks the change is gradual
    t = head.chart[:, 1]
    ax = np.abs(head.vertices[:, 0])
    gap = 0.7 * np.sqrt(np.maximum(1 - (ax / MOUTH_HALF) ** 2, 0.0))
    soft = gap + 0.05 + 24.0 * step(ax, 17.0, 62.0)
    line = shape.STOMION_Y + shape.lip_line(ax)
    u = np.clip(0.5 + (line - t) / (2 * soft), 0, 1)
    u = np.where(head.kind == 2, u, u * u * (3 - 2 * u))
    corner = np.sqrt(np.maximum(1 - (ax / MOUTH_HALF) ** 2, 0.0))
    corner = np.maximum(corner, step(ax, 26.0, 48.0))
    return 0.5 + (u - 0.5) * (1 - (1 - corner) * np.exp(-(((t - line) / 9.0) ** 2)))


def _jaw_part(f: Fields) -> FloatArray:
    under = step(-f.y, 98, 122) * (1 - step(f.z, 24, 74))
    return step(f.z, -25, 30) * (1 - under)


def _turn_jaw(mean: FloatArray, f: Fields, low: FloatArray) -> FloatArray:
    weight = low * _jaw_part(f)
    y, z = mean[:, 1] - _JAW_AXIS[1], mean[:, 2] - _JAW_AXIS[2]
    c, s = np.cos(_JAW_TURN), np.sin(_JAW_TURN)
    return f.pack(y=weight * (c * y - s * z - y), z=weight * (s * y + c * z - z))


def _blink(head: Head, mean: FloatArray, *, left: bool) -> FloatArray:
    """The upper lid slides over the ball down to the lower lid."""
    flip = np.array([1.0 if left else -1.0, 1, 1])
    ring = head.groups["lid_rim"] if left else head.mirror[head.groups["lid_rim"]]
    eye, rim = shape.to_eye(mean * flip), shape.to_eye(mean[ring] * flip)
    half = len(ring) // 2
    upper = np.interp(eye[:, 0], rim[: half + 1, 0], rim[: half + 1, 1])
    lower = np.interp(eye[:, 0], *rim[np.r_[0, half : len(ring)]][np.argsort(rim[np.r_[0, half : len(ring)], 0]), :2].T)
    above = eye[:, 1] - upper
    share = (1 - step(above, 0.6, 10.0)) * (above > -0.05) * (eye[:, 2] > 0) * step(15.6 - np.abs(eye[:, 0]), 0.0, 2.0)
    share = np.where(head.kind == 1, 0.0, share)
    moved = eye[:, 1] - share * (upper - lower) * 0.97
    radius = 15.0
    z = np.sqrt(radius**2 - np.clip(moved, -14, 14) ** 2) - np.sqrt(radius**2 - np.clip(eye[:, 1], -14, 14) ** 2)
    over = 0.9 * share * np.clip((upper - lower) / 10, 0, 1)
    out = eye.copy()
    out[:, 1], out[:, 2] = moved, eye[:, 2] + share * z + over
    return (shape.from_eye(out) - shape.from_eye(eye)) * flip
