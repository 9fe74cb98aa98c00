"""How built-in heads differ: smooth displacement fields, one for each measurement and more for form.

Raw fields move the mean head along one dimension each. They are then mixed so that each changes its own
measurement and no other, and scaled to one published SD. Measurements of one head go together: a common
factor ("size") explains ``SHARED`` of each one's variance, an estimate of ours within the 0.2-0.5 usual
between head dimensions. Forms without a published distance have SDs that are our estimates.
"""

from __future__ import annotations

import numpy as np

from crimeface_lib.core.types import FloatArray
from crimeface_lib.reconstruction import builtin_shape as shape
from crimeface_lib.reconstruction.builtin_head import Head
from crimeface_lib.reconstruction.builtin_measure import MEASUREMENTS, Landmarks

SHARED = 0.3
step = shape.smoothstep


def bell(value: FloatArray, centre: float, width: float) -> FloatArray:
    return np.exp(-(((value - centre) / width) ** 2))


def ramp(value: FloatArray, low: float, high: float) -> FloatArray:
    """0 below ``low``, 1 above ``high``, straight between with soft ends."""
    t = np.clip((value - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


class Fields:
    """Places on the mean head, and displacement fields (V, 3) written with them."""

    def __init__(self, head: Head) -> None:
        self.x, self.y, self.z = head.vertices.T
        self.side, self.ax = np.tanh(self.x / 6.0), np.abs(self.x)
        u, v, e = shape.to_ear(np.abs(head.chart[:, 0]), head.chart[:, 1])
        self.ear = 1 - step(e, 0.95, 1.7)
        self.ear_u, self.ear_v = u, v
        self.front = step(self.z, -55.0, 45.0)

    def pack(self, x: FloatArray | float = 0.0, y: FloatArray | float = 0.0, z: FloatArray | float = 0.0) -> FloatArray:
        zero = np.zeros_like(self.x)
        return np.stack([zero + x, zero + y, zero + z], axis=1)

    def blob(self, cx: float, cy: float, cz: float, wx: float, wy: float, wz: float) -> FloatArray:
        """A soft spot on both sides."""
        return bell(self.ax, cx, wx) * bell(self.y, cy, wy) * bell(self.z, cz, wz)

    def below(self, top: float, bottom: float) -> FloatArray:
        """Grows from 0 at ``top`` to 1 at ``bottom`` in the face and stays there; the nape keeps still."""
        return ramp(-self.y, -top, -bottom) * self.front


def measured_fields(f: Fields) -> dict[str, FloatArray]:
    """One raw field for each of MEASUREMENTS, unscaled."""
    x, y, z, ax = f.x, f.y, f.z, f.ax
    lift = np.tanh(y / 3.0) * f.blob(31, 0, 83, 13, 8, 25)
    return {
        "head_breadth": f.pack(x=x / 75 * step(y, -60, 40) * (1 - 0.5 * step(z, 40, 100))),
        "head_length": f.pack(z=-(np.clip(30 - z, 0, None) ** 1.2) / 300 * step(y, -110, 0)),
        "frontal_breadth": f.pack(x=x / 55 * bell(y, 30, 28) * step(z, 5, 70)),
        "bizygomatic_breadth": f.pack(x=x / 68 * bell(y, -20, 34) * step(z, -90, 20) * (1 - 0.6 * step(z, 70, 105))),
        "bigonial_breadth": f.pack(x=x / 53 * bell(y, -86, 30) * step(z, -70, 10) * (1 - 0.6 * step(z, 60, 100))),
        "face_height": f.pack(y=-f.below(-66, -122)),
        "nose_height": f.pack(y=-f.below(4, -52)),
        "upper_lip_height": f.pack(y=-f.below(-46, -72)),
        "nose_breadth": f.pack(x=x / 17 * bell(y, -40, 12) * bell(ax, 0, 22) * step(z, 82, 100)),
        "nose_protrusion": f.pack(z=(step(-y, -6, 36) * (1 - step(-y, 38, 54))) * bell(ax, 0, 14) * step(z, 80, 108)),
        "nasal_root_breadth": f.pack(x=x / 8 * bell(y, 0, 14) * bell(ax, 0, 12) * step(z, 60, 90)),
        "intercanthal_breadth": f.pack(x=f.side * f.blob(18, -1, 84, 12, 12, 30)),
        "biocular_breadth": f.pack(x=f.side * f.blob(46, 0, 78, 18, 18, 30)),
        "eye_fissure_height": f.pack(y=lift),
        "mouth_breadth": f.pack(x=x / 25 * bell(y, -70, 15) * bell(ax, 0, 36) * step(z, 60, 90)),
        "upper_vermilion_height": f.pack(y=bell(y, -61.5, 5.5) * bell(ax, 0, 22) * step(z, 70, 95)),
        "lower_vermilion_height": f.pack(y=-bell(y, -78.5, 6) * bell(ax, 0, 22) * step(z, 70, 95)),
        "ear_length": f.pack(y=f.ear_v / 30 * f.ear),
        "ear_breadth": f.pack(z=-f.ear_u / 33 * f.ear),
    }


def form_fields(f: Fields) -> dict[str, FloatArray]:
    """Forms that no distance of the table describes, already scaled to one SD (estimates, mm)."""
    x, y, z, ax = f.x, f.y, f.z, f.ax
    sym = f.pack
    upper = step(y, 0, 100)
    return {
        "head_height": sym(y=6.0 * step(y, 25, 115)),
        "forehead_slope": sym(z=-3.5 * step(y, 22, 85) * step(z, 0, 80)),
        "brow_ridge": sym(z=1.8 * f.blob(22, 16, 95, 20, 9, 30)),
        "glabella": sym(z=1.5 * bell(ax, 0, 14) * bell(y, 10, 12) * step(z, 60, 95)),
        "brow_height": sym(y=2.2 * f.blob(28, 18, 88, 26, 13, 35)),
        "eye_depth": sym(z=1.6 * f.blob(31, 0, 83, 20, 14, 30)),
        "eye_tilt": sym(y=1.4 * np.clip((ax - 31) / 14, -1.4, 1.4) * f.blob(31, 0, 82, 22, 12, 30)),
        "upper_lid_fold": sym(z=0.9 * f.blob(33, 9, 84, 14, 4.5, 25), y=-1.1 * f.blob(33, 10, 84, 15, 5, 25)),
        "cheekbone": sym(z=2.6 * f.blob(46, -22, 65, 22, 18, 35), x=1.2 * f.side * f.blob(50, -22, 62, 20, 18, 35)),
        "midface": sym(z=2.4 * f.blob(18, -28, 92, 26, 22, 30)),
        "cheek_fullness": sym(
            x=3.0 * f.side * f.blob(58, -58, 45, 26, 28, 45), z=1.5 * f.blob(44, -56, 65, 24, 26, 40)
        ),
        "nasolabial": sym(z=1.3 * f.blob(30, -48, 85, 12, 18, 25)),
        "nose_hump": sym(z=1.4 * bell(y, -14, 11) * bell(ax, 0, 11) * step(z, 85, 105)),
        "nose_tip_height": sym(y=2.3 * bell(y, -38, 11) * bell(ax, 0, 14) * step(z, 96, 116)),
        "nose_bridge_depth": sym(z=1.8 * bell(y, 0, 13) * bell(ax, 0, 13) * step(z, 65, 92)),
        "lips_protrusion": sym(z=2.0 * bell(y, -69, 15) * bell(ax, 0, 25) * step(z, 65, 95)),
        "lip_roll": sym(z=1.0 * np.tanh((y + 70) / 5) * bell(y, -69, 12) * bell(ax, 0, 22) * step(z, 65, 95)),
        "mouth_corner_height": sym(y=1.2 * f.blob(26, -71, 89, 12, 11, 25)),
        "chin_protrusion": sym(z=3.2 * bell(y, -106, 22) * bell(ax, 0, 34) * step(z, 35, 90)),
        "chin_breadth": sym(x=x / 20 * 2.5 * bell(y, -108, 20) * bell(ax, 0, 36) * step(z, 50, 90)),
        "chin_fold": sym(z=-1.3 * bell(y, -88, 6.5) * bell(ax, 0, 19) * step(z, 65, 92)),
        "jaw_angle": sym(y=-4.0 * f.blob(54, -82, 15, 24, 26, 42)),
        "jaw_depth": sym(z=2.0 * f.below(-10, -112)),
        "under_chin": sym(y=-3.0 * bell(ax, 0, 36) * bell(y, -124, 16) * bell(z, 52, 28)),
        "neck_breadth": sym(x=x / 50 * 4.0 * step(-y, 70, 150), z=(z + 14) / 50 * 3.0 * step(-y, 95, 165)),
        "crown": sym(y=3.0 * bell(z, -50, 55) * upper * step(y, 40, 110)),
        "ear_protrusion": sym(x=f.side * 3.0 * np.clip(f.ear_u / 28, 0, 1.3) * f.ear),
        "jaw_to_side": sym(x=1.5 * f.below(-45, -115)),
        "nose_to_side": sym(x=0.9 * bell(y, -36, 20) * bell(ax, 0, 20) * step(z, 88, 112)),
        "eyes_uneven": sym(y=0.8 * np.tanh(x / 15) * bell(y, 5, 30) * bell(ax, 32, 28) * step(z, 30, 80)),
        "mouth_uneven": sym(y=0.9 * np.tanh(x / 12) * bell(y, -70, 22) * bell(ax, 20, 26) * step(z, 40, 85)),
        "jaw_uneven": sym(x=1.6 * f.blob(52, -75, 20, 26, 34, 50)),
        "cheeks_uneven": sym(z=1.0 * np.tanh(x / 15) * f.blob(45, -30, 65, 24, 28, 40)),
    }


def free_fields(head: Head, *, count: int = 24, scale: float = 26.0, sd: float = 1.1) -> FloatArray:
    """Leading modes (count, V, 3) of a smooth random field over the face, for what the named forms miss.

    A Gaussian process on the mirrored place (so the modes are symmetric), length ``scale`` mm and SD ``sd``
    mm along the view and a little less across (estimates), fading out towards ears, crown and neck.
    """
    from scipy.linalg import eigh

    p = head.vertices * [1.0, 1.0, 0.8]
    p[:, 0] = np.abs(p[:, 0])
    seeds = np.array([[a, b] for a in np.arange(0, 75, 12.0) for b in np.arange(-120, 70, 13.0)])
    face = np.flatnonzero((head.vertices[:, 0] >= 0) & (head.vertices[:, 2] > 15) & (head.kind == 0))
    nearest = [face[np.argmin(((p[face, :2] - seed) ** 2).sum(1))] for seed in seeds]
    knots = p[np.unique(nearest)]
    gram = np.exp(-((knots[:, None] - knots[None]) ** 2).sum(2) / (2 * scale**2))
    share, vectors = eigh(gram + 1e-8 * np.eye(len(knots)))
    kernel = np.exp(-((p[:, None] - knots[None]) ** 2).sum(2) / (2 * scale**2))
    waves = (kernel @ (vectors / np.sqrt(share))[:, ::-1][:, : count // 2]).T
    z = head.vertices[:, 2]
    fade = step(z, -10, 45) * step(-head.vertices[:, 1], -95, -50) * (1 - step(-head.vertices[:, 1], 118, 150))
    zero = np.zeros_like(waves)
    along = np.stack([zero, zero, waves * fade], axis=2)
    up = np.stack([zero, 0.7 * waves * fade, zero], axis=2)
    return sd * np.concatenate([along, up])[:count]


def calibrate(head: Head, landmarks: Landmarks) -> tuple[FloatArray, FloatArray, tuple[str, ...]]:
    """Return the mean (V, 3) that has the published measurements, the modes (K, V, 3) and their names."""
    f = Fields(head)
    raw = np.stack(list(measured_fields(f).values()))
    target, sd = np.array([[m.mean, m.sd] for m in MEASUREMENTS]).T
    mean = head.vertices.copy()
    for _ in range(4):
        mean += np.tensordot(
            np.linalg.solve(_effect(mean, raw, landmarks), target - landmarks.measure(mean)), raw, axes=1
        )
    pure = np.tensordot(np.linalg.inv(_effect(mean, raw, landmarks)).T, raw, axes=1)
    form = form_fields(f)
    loose = np.concatenate([np.stack(list(form.values())), free_fields(head)])
    loose = loose - np.tensordot(_effect(mean, loose, landmarks).T, pure, axes=1)
    size = np.tensordot(np.sqrt(SHARED) * sd, pure, axes=1)[None]
    own = np.sqrt(1 - SHARED) * sd[:, None, None] * pure
    names = ("size", *(m.name for m in MEASUREMENTS), *form, *(f"free_{i}" for i in range(len(loose) - len(form))))
    return mean, np.concatenate([size, own, loose]), names


def _effect(mean: FloatArray, fields: FloatArray, landmarks: Landmarks) -> FloatArray:
    """(measurements, fields): change of each measurement for one unit of each field, central difference."""
    h = 0.05
    return ((landmarks.measure(mean + h * fields) - landmarks.measure(mean - h * fields)) / (2 * h)).T
