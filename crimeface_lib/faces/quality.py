"""How well a face photo can be used, in eight parts and one number. Not an ISO/IEC 29794-5 measure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from crimeface_lib.core.arrays import check_image
from crimeface_lib.core.display import list_html, table_html
from crimeface_lib.core.results import Result
from crimeface_lib.core.types import FloatArray, ImageArray
from crimeface_lib.faces.align import PADDING, align_face
from crimeface_lib.faces.detect import Face
from crimeface_lib.faces.weights import run_frontal_detector

if TYPE_CHECKING:
    import pandas as pd

#: Each part is 1 at or beyond this value, and falls towards 0 with it.
FULL_RESOLUTION = 60.0  # px between the eyes
FULL_SHARPNESS = 0.1  # detail finer than 1.5 px of the chip, rms, in standard deviations of its luminance
FULL_CONTRAST = 28.0  # standard deviation of luminance, 0–255
WELL_LIT = (80.0, 180.0)  # mean luminance, 0–255
WIDEST_YAW = 0.5  # nose base beside the middle of the eyes, in distances between the eyes
WIDEST_PITCH = 0.5  # change of the height of the nose, in distances between the eyes
HALF_NOISE = 0.15  # noise in standard deviations of the luminance: the part is a half
FLAT_BLOCKS, HALF_BLOCKS = 1.25, 0.6  # steps at JPEG's grid in steps elsewhere: none up to; the part is a half beyond
HIDDEN, WHOLE = -0.8, 2.5  # dlib's score of the face set upright: the part is 0 and 1
_NOSE_DROP = 0.77  # height of the nose below the eyes in dlib's mean face, same unit
_LOWEST = 0.05  # of any part, so that one that is nothing leaves an order among the others
_WEIGHTS = {"visibility": 2.0}  # the others are 1
_POOR = {"visibility": 0.45}  # below it there is a reason; of the other parts below 0.6

_UNITS = {
    "resolution": "px between the eyes",
    "sharpness": "fine detail, in sd of the luminance",
    "exposure": "mean luminance, 0 to 255",
    "contrast": "sd of the luminance, 0 to 255",
    "noise": "noise, in sd of the luminance",
    "compression": "steps at the grid of 8 px, in steps elsewhere",
    "pose": "nose off frontal, in eye distances",
    "visibility": "score of dlib's detector",
}
_REASONS = {
    "resolution": "few pixels: {value:.0f} px between the eyes ({full:.0f} or more is good)",
    "sharpness": "blurred or enlarged: little fine detail",
    "exposure": "too dark or too bright: mean luminance {value:.0f} of 255",
    "contrast": "flat: little difference between light and dark",
    "noise": "noisy: noise is {value:.0%} of the face's contrast",
    "compression": "compressed hard: blocks of 8 px show",
    "pose": "not frontal: nose {value:.2f} eye distances from where a frontal face has it, or head tilted",
    "visibility": "partly hidden, turned away or unlike a face",
}


@dataclass(frozen=True, slots=True)
class Quality(Result):
    """Fitness of a face for comparison.

    Parameters
    ----------
    score : 0–100, the geometric mean of the parts, visibility counted twice: one bad part can't be bought back by
        the others.
    parts : resolution, sharpness, exposure, contrast, noise, compression, pose and visibility, each 0–1.
    measured : the values behind the parts, in the units given in this module.
    reasons : one plain sentence for each poor part; empty for a good photo.
    """

    score: float
    parts: dict[str, float]
    measured: dict[str, float]
    reasons: tuple[str, ...]

    def to_frame(self) -> pd.DataFrame:
        import pandas as pd

        rows = [(part, value, self.measured[part], _UNITS[part]) for part, value in self.parts.items()]
        return pd.DataFrame(rows, columns=["part", "fitness", "measured", "unit"])

    def _repr_html_(self) -> str:
        table = table_html(self.to_frame(), float_format="{:.2f}".format)
        return f"<p><b>Quality {self.score:.0f} of 100</b>; each part from 0 to 1:</p>{table}{list_html(self.reasons)}"


def assess_quality(image: ImageArray, face: Face, *, chip: ImageArray | None = None) -> Quality:
    """Return how well ``face`` can be used.

    The score falls with blur, fewer pixels, noise, JPEG compression, darkening, over-exposure, turning and tilting
    the head, and with masks, sunglasses and hands over the face. On 100 LFW photos, of others than those on which the
    constants were set, each made worse in four steps, it rose by more than a point at some step in 0–3 of 100 with
    blur, fewer pixels, noise, compression, darkening and tilt, 4 with sunglasses, 11 with over-exposure (dark photos
    gain from light at first), 12 with a hand and 16 with a mask; it fell at every step in 89–98, 92, 75, 59 and 76.

    Over LFW DevTrain's mated pairs its rank correlation with the similarity is 0.32, nearly all of it from
    visibility. Without the tenth of the pairs with the lowest scores FNMR falls from 1.1 to 0.8 % at FMR 0.3 %. So it
    keeps out bad photos; among fairly good ones it tells little of the error to be expected.

    Parameters
    ----------
    image : (H, W, 3) uint8 RGB, the picture in which ``face`` was detected.
    chip : the 150-px chip of this face, where the caller has it already.

    Raises
    ------
    ShapeError : not an image.
    """
    image = check_image(image)
    grey = _inner_luminance(align_face(image, face) if chip is None else check_image(chip, name="chip"))
    light, noise = float(grey.mean()), _noise(grey)
    spread = float(np.sqrt(max(grey.var() - noise**2, 1.0)))
    clipped = float(np.mean((grey <= 2) | (grey >= 253)))
    yaw, pitch, roll = _pose(face.points)
    measured = {
        "resolution": face.interocular,
        "sharpness": _detail(grey, noise) / spread,
        "exposure": light,
        "contrast": spread,
        "noise": noise / spread,
        "compression": _blocks(image, face),
        "pose": float(np.hypot(yaw, pitch)),
        "visibility": _likeness(image, face),
    }
    frontal = max(0.0, 1 - (yaw / WIDEST_YAW) ** 2) * max(0.0, 1 - (pitch / WIDEST_PITCH) ** 2)
    clean = 1.0 / (1.0 + (measured["noise"] / HALF_NOISE) ** 2)
    parts = {
        "resolution": measured["resolution"] / FULL_RESOLUTION,
        "sharpness": min(measured["sharpness"] / FULL_SHARPNESS, 1.0) * clean,  # noise passes for detail
        "exposure": min(light / WELL_LIT[0], (255.0 - light) / (255.0 - WELL_LIT[1]), 1.0) * (1.0 - clipped),
        "contrast": spread / FULL_CONTRAST,
        "noise": clean,
        "compression": 1.0 / (1.0 + max(0.0, (measured["compression"] - FLAT_BLOCKS) / HALF_BLOCKS)),
        "pose": float(np.sqrt(frontal)) * max(0.0, np.cos(roll)),
        "visibility": (measured["visibility"] - HIDDEN) / (WHOLE - HIDDEN),
    }
    parts = {name: float(np.clip(part, 0.0, 1.0)) for name, part in parts.items()}
    poor = [name for name in parts if parts[name] < _POOR.get(name, 0.6)]
    reasons = tuple(_REASONS[name].format(value=measured[name], full=FULL_RESOLUTION) for name in poor)
    worth = np.log([max(part, _LOWEST) for part in parts.values()])
    mean = np.average(worth, weights=[_WEIGHTS.get(name, 1.0) for name in parts])
    return Quality(score=100.0 * float(np.exp(mean)), parts=parts, measured=measured, reasons=reasons)


def _inner_luminance(chip: ImageArray) -> FloatArray:
    """Return the luminance (Rec. 601) of the face inside the chip."""
    import cv2

    edge = round(chip.shape[0] * PADDING / (1 + 2 * PADDING))
    grey = cv2.cvtColor(np.ascontiguousarray(chip[edge:-edge, edge:-edge]), cv2.COLOR_RGB2GRAY)
    return np.asarray(grey, dtype=np.float64)


def _noise(grey: FloatArray) -> float:
    """Return the noise's standard deviation from the differences that edges and shading cancel in (Immerkær 1996)."""
    import cv2

    kernel = np.outer([1.0, -2.0, 1.0], [1.0, -2.0, 1.0]) / 6.0
    found = np.abs(cv2.filter2D(grey, -1, kernel)[1:-1, 1:-1])
    return float(np.median(found) / 0.6745)  # the median, since the face's own detail is in few places


def _detail(grey: FloatArray, noise: float) -> float:
    """Return the rms of what a blur of 1.5 px takes away, less what is noise of it."""
    import cv2

    fine = grey - cv2.GaussianBlur(grey, (0, 0), 1.5)
    return float(np.sqrt(max(fine.var() - 3.0 * noise**2, 0.0)))  # the chip is interpolated, so most noise is less fine


def _blocks(image: ImageArray, face: Face) -> float:
    """Return the mean step between pixels at the grid line of 8 px where it is largest, in steps elsewhere."""
    left, top, right, bottom = (max(0, int(v)) for v in face.box)
    grey = image[top:bottom, left:right].mean(axis=2)
    found = []
    for axis in (0, 1):
        steps = np.abs(np.diff(grey, axis=axis)).mean(axis=1 - axis)
        if len(steps) < 32:
            return 1.0
        phases = np.sort([steps[k::8].mean() for k in range(8)])
        found.append((phases[-1] + 0.5) / (phases[:-1].mean() + 0.5))
    return float(min(found))


def _likeness(image: ImageArray, face: Face) -> float:
    """Return dlib's score of the face set upright at 160 px: it falls where a part of a face is missing."""
    seen = align_face(image, face, size=160, jitter=(0.72, 0.0, 0.0, 0.0))
    boxes, scores, _ = run_frontal_detector(seen, -1.0)
    central = [
        score
        for score, box in zip(scores, boxes, strict=True)
        if max(abs(box.left() + box.right() - 160), abs(box.top() + box.bottom() - 160)) < 64
    ]
    return float(max(central, default=-1.0))


def _pose(points: FloatArray) -> tuple[float, float, float]:
    """Return proxies of yaw and pitch from the five points, 0 for a frontal face, and the roll in radians."""
    left, right = points[:2].mean(axis=0), points[2:4].mean(axis=0)
    across = left - right
    length = max(float(np.linalg.norm(across)), 1.0)
    across /= length
    down = np.array([-across[1], across[0]])
    nose = (points[4] - (left + right) / 2.0) / length
    return float(nose @ across), float(nose @ down) - _NOSE_DROP, float(np.arctan2(across[1], across[0]))
