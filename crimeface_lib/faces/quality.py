"""How well a face photo can be used, in five parts and one number. Not an ISO/IEC 29794-5 measure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from crimeface_lib.core.arrays import check_image
from crimeface_lib.core.results import Result
from crimeface_lib.core.types import FloatArray, ImageArray
from crimeface_lib.faces.align import PADDING, align_face
from crimeface_lib.faces.detect import Face

if TYPE_CHECKING:
    import pandas as pd

#: Each part is 1 at or beyond this value, and falls towards 0 with it.
FULL_RESOLUTION = 60.0  # px between the eyes
FULL_SHARPNESS = 0.12  # mean gradient per pixel of the chip, in standard deviations of its luminance
FULL_CONTRAST = 45.0  # standard deviation of luminance, 0–255
WELL_LIT = (80.0, 180.0)  # mean luminance, 0–255
WIDEST_YAW = 0.5  # nose base beside the middle of the eyes, in distances between the eyes
WIDEST_PITCH = 0.5  # change of the height of the nose, in distances between the eyes
_NOSE_DROP = 0.77  # height of the nose below the eyes in dlib's mean face, same unit
_POOR = 0.6

_UNITS = {
    "resolution": "px between the eyes",
    "sharpness": "gradient per px, in sd of the luminance",
    "exposure": "mean luminance, 0 to 255",
    "contrast": "sd of the luminance, 0 to 255",
    "pose": "nose off frontal, in eye distances",
}
_REASONS = {
    "resolution": "few pixels: {value:.0f} px between the eyes ({full:.0f} or more is good)",
    "sharpness": "blurred or enlarged: little fine detail",
    "exposure": "too dark or too bright: mean luminance {value:.0f} of 255",
    "contrast": "flat: little difference between light and dark",
    "pose": "not frontal: nose {value:.2f} eye distances from where a frontal face has it",
}


@dataclass(frozen=True, slots=True)
class Quality(Result):
    """Fitness of a face for comparison.

    Parameters
    ----------
    score : 0–100, the geometric mean of the parts: one bad part can't be bought back by the others.
    parts : resolution, sharpness, exposure, contrast and pose, each 0–1.
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
        table = self.to_frame().to_html(
            index=False, border=0, classes="cf-table", float_format=lambda value: f"{value:.2f}"
        )
        reasons = "".join(f"<li>{reason}</li>" for reason in self.reasons)
        return f"<p><b>Quality {self.score:.0f} of 100</b>; each part from 0 to 1:</p>{table}<ul>{reasons}</ul>"


def assess_quality(image: ImageArray, face: Face, *, chip: ImageArray | None = None) -> Quality:
    """Return how well ``face`` can be used; the score falls with blur, downscaling and darkening.

    Among photos that are all fairly good it tells little: over LFW DevTrain's mated pairs its rank correlation
    with the comparison score is 0.00. Use it to find bad photos, not to rank good ones.

    Parameters
    ----------
    image : (H, W, 3) uint8 RGB, the picture in which ``face`` was detected.
    chip : the 150-px chip of this face, where the caller has it already.

    Raises
    ------
    ShapeError : not an image.
    """
    inner = _inner_luminance(align_face(image, face) if chip is None else check_image(chip, name="chip"))
    mean, spread = float(inner.mean()), float(inner.std())
    rows, columns = np.gradient(inner)
    yaw, pitch = _pose(face.points)
    measured = {
        "resolution": face.interocular,
        "sharpness": float(np.hypot(rows, columns).mean() / max(spread, 1.0)),
        "exposure": mean,
        "contrast": spread,
        "pose": float(np.hypot(yaw, pitch)),
    }
    parts = {
        "resolution": min(1.0, measured["resolution"] / FULL_RESOLUTION),
        "sharpness": min(1.0, measured["sharpness"] / FULL_SHARPNESS),
        "exposure": float(np.clip(min(mean / WELL_LIT[0], (255.0 - mean) / (255.0 - WELL_LIT[1])), 0.0, 1.0)),
        "contrast": min(1.0, spread / FULL_CONTRAST),
        "pose": float(np.sqrt(max(0.0, 1 - (yaw / WIDEST_YAW) ** 2) * max(0.0, 1 - (pitch / WIDEST_PITCH) ** 2))),
    }
    reasons = tuple(
        _REASONS[name].format(value=measured[name], full=FULL_RESOLUTION) for name in parts if parts[name] < _POOR
    )
    return Quality(
        score=100.0 * float(np.prod(list(parts.values())) ** (1.0 / len(parts))),
        parts=parts,
        measured=measured,
        reasons=reasons,
    )


def _inner_luminance(chip: ImageArray) -> FloatArray:
    """Return the luminance (Rec. 601) of the face inside the chip, smoothed a little against noise."""
    import cv2

    edge = round(chip.shape[0] * PADDING / (1 + 2 * PADDING))
    grey = cv2.cvtColor(np.ascontiguousarray(chip[edge:-edge, edge:-edge]), cv2.COLOR_RGB2GRAY)
    return np.asarray(cv2.GaussianBlur(grey.astype(np.float64), (0, 0), 1.0), dtype=np.float64)


def _pose(points: FloatArray) -> tuple[float, float]:
    """Return proxies of yaw and pitch from the five points, 0 for a frontal face; roll does not count."""
    left, right = points[:2].mean(axis=0), points[2:4].mean(axis=0)
    across = left - right
    length = max(float(np.linalg.norm(across)), 1.0)
    across /= length
    down = np.array([-across[1], across[0]])
    nose = (points[4] - (left + right) / 2.0) / length
    return float(nose @ across), float(nose @ down) - _NOSE_DROP
