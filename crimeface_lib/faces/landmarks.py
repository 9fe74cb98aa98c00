"""The 68 points of the Multi-PIE/iBUG scheme, each with its standard deviation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from crimeface_lib.core.arrays import check_array, check_image
from crimeface_lib.core.plugins import load_backend
from crimeface_lib.core.results import Result
from crimeface_lib.core.types import FloatArray, ImageArray
from crimeface_lib.faces.detect import Face, predict_points
from crimeface_lib.faces.weights import POINTS_68

if TYPE_CHECKING:
    import pandas as pd

#: Point numbers of each part, iBUG order; "right" is the subject's right, left in the picture.
PARTS = {
    "jaw": range(0, 17),
    "right_brow": range(17, 22),
    "left_brow": range(22, 27),
    "nose": range(27, 36),
    "right_eye": range(36, 42),
    "left_eye": range(42, 48),
    "mouth": range(48, 68),
}
#: Where each point goes when the picture is mirrored.
MIRROR = np.array(
    [*range(16, -1, -1), *range(26, 16, -1), 27, 28, 29, 30, 35, 34, 33, 32, 31]
    + [45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40]
    + [54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55, 64, 63, 62, 61, 60, 67, 66, 65]
)
#: Shifts in x and y and change of size, as parts of the box's width, used to see how much the points move.
_JITTER = (
    (0.05, 0.0, 0.0),
    (-0.05, 0.0, 0.0),
    (0.0, 0.05, 0.0),
    (0.0, -0.05, 0.0),
    (0.0, 0.0, 0.08),
    (0.0, 0.0, -0.08),
)
#: sd = 1.4 × the movement, at least 1.2 % of the eye distance. Set on 199 LFW photos, where the eye corners and
#: the nose base of dlib's separately trained 5-point model then differ by 1.05 sd (rms), 96 % within 2 sd.
_SCALE, _FLOOR = 1.4, 0.012


@dataclass(frozen=True, slots=True, eq=False)
class Landmarks(Result):
    """68 points of a face.

    Parameters
    ----------
    points : (68, 2) float64, px, iBUG order (jaw 0–16, brows 17–26, nose 27–35, eyes 36–47, mouth 48–67).
    sd : (68,) float64, px, standard deviation along one axis: 1.4 times the root mean square movement of the
        point when the face box is shifted by 5 %, resized by 8 %, and the picture mirrored, and at least
        1.2 % of the distance between the outer eye corners. Both numbers are set against a second predictor
        at five points; errors that both share, and the jaw under a beard, may be larger.
    landmarker, licence : the model, and the licence of its weights, which each report shows.
    """

    points: FloatArray
    sd: FloatArray
    landmarker: str
    licence: str

    def __post_init__(self) -> None:
        check_array(self.points, shape=(68, 2), name="points")
        check_array(self.sd, shape=(68,), name="sd")

    @property
    def interocular(self) -> float:
        """Distance between the outer corners of the eyes (points 36 and 45), px."""
        return float(np.linalg.norm(self.points[36] - self.points[45]))

    def to_frame(self) -> pd.DataFrame:
        import pandas as pd

        part = [name for name, numbers in PARTS.items() for _ in numbers]
        return pd.DataFrame({"part": part, "x": self.points[:, 0], "y": self.points[:, 1], "sd": self.sd})


class Landmarker(Protocol):
    """What an entry point of ``crimeface.landmarkers`` returns when called without arguments."""

    name: str
    licence: str

    def points(self, image: ImageArray, box: tuple[float, float, float, float]) -> FloatArray:
        """Return (68, 2) px for the face in ``box``."""
        ...


class Dlib68:
    """dlib's 68-point regression trees. The weights were trained on 300-W: non-commercial research only."""

    name = "dlib68"
    licence = POINTS_68.licence

    def points(self, image: ImageArray, box: tuple[float, float, float, float]) -> FloatArray:
        return predict_points(POINTS_68, image, box)


def find_landmarks(image: ImageArray, face: Face, *, landmarker: str | Landmarker = "dlib68") -> Landmarks:
    """Return the 68 points of ``face`` and how far each may be off.

    Parameters
    ----------
    image : (H, W, 3) uint8 RGB, the picture in which ``face`` was detected.
    landmarker : name of an entry point in ``crimeface.landmarkers``, or an object with ``points``.

    Raises
    ------
    ShapeError : not an image. MissingBackendError : no such landmarker. MissingArtifactError : no weights.
    """
    image = check_image(image)
    backend: Landmarker = load_backend("landmarkers", landmarker)() if isinstance(landmarker, str) else landmarker
    points = backend.points(image, face.box)
    mirrored = np.ascontiguousarray(image[:, ::-1])
    last = image.shape[1] - 1
    left, top, right, bottom = face.box
    moves = [backend.points(image, _moved(face.box, *jitter)) - points for jitter in _JITTER]
    for jitter in ((0.0, 0.0, 0.0), *_JITTER[::2]):
        box = _moved((last + 1 - right, top, last + 1 - left, bottom), *jitter)
        again = backend.points(mirrored, box)[MIRROR]
        moves.append(np.column_stack([last - again[:, 0], again[:, 1]]) - points)
    spread = np.sqrt(np.mean(np.square(moves), axis=(0, 2)))
    sd = np.maximum(_SCALE * spread, _FLOOR * np.linalg.norm(points[36] - points[45]))
    return Landmarks(points=points, sd=sd, landmarker=backend.name, licence=backend.licence)


def _moved(
    box: tuple[float, float, float, float], dx: float, dy: float, growth: float
) -> tuple[float, float, float, float]:
    left, top, right, bottom = box
    width = right - left
    grow = growth * width / 2.0
    return (
        left + dx * width - grow,
        top + dy * width - grow,
        right + dx * width + grow,
        bottom + dy * width + grow,
    )
