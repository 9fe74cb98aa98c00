"""Find faces in a photo, and say which one of several is used."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from crimeface_lib.core.arrays import check_array, check_image
from crimeface_lib.core.errors import InputError, NoFaceError
from crimeface_lib.core.plugins import load_backend
from crimeface_lib.core.results import Result
from crimeface_lib.core.types import FloatArray, ImageArray
from crimeface_lib.faces.weights import POINTS_5, frontal_detector, shape_predictor

#: Longest side of the first pass, px. dlib's detector sees faces from 80 px on, so nothing useful is lost.
FIRST_PASS = 1600
#: Widest face that the point predictors see, px: they were trained on smaller ones.
WIDEST = 300
#: Lowest score of a detection that is returned when there is no better one. Of 4,992 LFW photos 18 had no
#: detection above 0; at −0.3, 12 of these have one, and nearly always it is the face.
WEAKEST = -0.3


@dataclass(frozen=True, slots=True, eq=False)
class Face(Result):
    """One detected face.

    Parameters
    ----------
    box : (left, top, right, bottom), px; right − left is the width.
    score : the detector's own score; only good for comparing faces found by the same detector.
    points : (5, 2) float64 px in dlib's order: outer and inner corner of the subject's left eye (right in the
        picture), outer and inner corner of the subject's right eye, base of the nose.
    detector : its name.
    marks : (5, 2) float64 px where the detector itself gives them, else None: both eyes, tip of the nose, both
        corners of the mouth, each time the one left in the picture first.
    """

    box: tuple[float, float, float, float]
    score: float
    points: FloatArray
    detector: str = "dlib"
    marks: FloatArray | None = None

    def __post_init__(self) -> None:
        check_array(self.points, shape=(5, 2), name="points")
        if self.marks is not None:
            check_array(self.marks, shape=(5, 2), name="marks")

    @property
    def width(self) -> float:
        return self.box[2] - self.box[0]

    @property
    def height(self) -> float:
        return self.box[3] - self.box[1]

    @property
    def eyes(self) -> FloatArray:
        """(2, 2) px, the middles of the eyes, the one left in the picture (the subject's right one) first."""
        return np.array([self.points[2:4].mean(axis=0), self.points[:2].mean(axis=0)])

    @property
    def interocular(self) -> float:
        """Distance between the middles of the eyes, px."""
        return float(np.linalg.norm(self.eyes[1] - self.eyes[0]))


@dataclass(frozen=True, slots=True)
class Choice(Result):
    """The face that is used, and a sentence for the report that says which of how many it is."""

    face: Face
    index: int
    count: int
    sentence: str


class Detector(Protocol):
    """What an entry point of ``crimeface.detectors`` returns when called without arguments."""

    name: str

    def detect(self, image: ImageArray) -> list[Face]:
        """Return the faces of an (H, W, 3) uint8 RGB image, in its own pixels, in any order."""
        ...


class DlibDetector:
    """dlib's frontal HOG detector and its 5-point predictor (Boost licence; CC0 weights).

    A second pass at twice the size looks for small faces, and only where the first found none: faces of
    about 40–80 px beside a larger one are not reported. Where both passes find none, the best detection just
    below dlib's threshold is returned; its score is negative, and ``choose_face`` says so.
    """

    name = "dlib"

    def detect(self, image: ImageArray) -> list[Face]:
        first = min(1.0, FIRST_PASS / max(image.shape))
        weak: list[tuple[float, Any, float]] = []
        for scale in (first, 2.0 * first):
            boxes, scores, _ = frontal_detector().run(resize(image, scale), 0, WEAKEST)
            found = [(score, box, scale) for score, box in zip(scores, boxes, strict=True)]
            if strong := [one for one in found if one[0] >= 0]:
                return [self._face(image, *one) for one in strong]
            weak += found
        return [self._face(image, *max(weak, key=lambda one: one[0]))] if weak else []

    def _face(self, image: ImageArray, score: float, found: Any, scale: float) -> Face:
        edges = np.array([found.left(), found.top(), found.right() + 1, found.bottom() + 1]) / scale
        box = (float(edges[0]), float(edges[1]), float(edges[2]), float(edges[3]))
        return Face(box=box, score=float(score), points=predict_points(POINTS_5, image, box), detector=self.name)


def detect_faces(image: ImageArray, *, detector: str | Detector = "dlib", min_size: float = 40) -> list[Face]:
    """Return the faces in a photo, largest first; an empty list when there is none.

    Parameters
    ----------
    image : (H, W, 3) uint8 RGB.
    detector : name of an entry point in ``crimeface.detectors``, or an object with ``detect``.
    min_size : narrowest face reported, px of ``image``.

    Raises
    ------
    ShapeError : not an image. MissingBackendError : no such detector. MissingArtifactError : no weights.
    """
    image = check_image(image)
    backend: Detector = load_backend("detectors", detector)() if isinstance(detector, str) else detector
    faces = [face for face in backend.detect(image) if min(face.width, face.height) >= min_size]
    return sorted(faces, key=lambda face: face.width * face.height, reverse=True)


def choose_face(faces: Sequence[Face], *, which: str | int = "largest", size: tuple[int, int] | None = None) -> Choice:
    """Return the one face that is used, with a sentence that says which of how many.

    Parameters
    ----------
    faces : as ``detect_faces`` returns them, largest first.
    which : "largest", "central" (nearest to the middle of the picture; needs ``size``) or an index.
    size : (H, W) of the picture, px.

    Raises
    ------
    NoFaceError : there is none. InputError : no such index, or an unknown word.
    """
    if not faces:
        raise NoFaceError(
            "got no face in the picture, expected at least one of about 40 px; crop closer, use a more frontal "
            "photo, or try another detector"
        )
    if which == "largest":
        index = int(np.argmax([face.width * face.height for face in faces]))
    elif which == "central" and size is not None:
        middle = np.array([size[1], size[0]]) / 2.0
        centres = np.array([face.box for face in faces]).reshape(-1, 2, 2).mean(axis=1)
        index = int(np.argmin(np.linalg.norm(centres - middle, axis=1)))
    elif isinstance(which, int) and 0 <= which < len(faces):
        index = which
    else:
        raise InputError(
            f"which: got {which!r}, expected 'largest', 'central' (with size=(H, W)) or 0…{len(faces) - 1}"
        )
    face = faces[index]
    said = f"number {which}, counted from 0," if isinstance(which, int) else f"the {which} one"
    sentence = (
        f"One face was found ({face.width:.0f} px wide) and is used."
        if len(faces) == 1
        else f"{len(faces)} faces were found; {said} ({face.width:.0f} px wide) is used."
    )
    if face.score < 0:
        sentence += " The detection is weak: check that it is a face."
    return Choice(face=face, index=index, count=len(faces), sentence=sentence)


def resize(image: ImageArray, scale: float) -> ImageArray:
    """Return ``image`` scaled by ``scale``: area averaging down, bilinear up; itself at 1."""
    if scale == 1.0:
        return image
    import cv2

    method = cv2.INTER_AREA if scale < 1.0 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, None, fx=scale, fy=scale, interpolation=method), dtype=np.uint8)


def predict_points(artifact: Any, image: ImageArray, box: tuple[float, float, float, float]) -> FloatArray:
    """Return dlib's points (5 or 68, 2), px, for a face box; a face wider than 300 px is first scaled down.

    Only the neighbourhood of the box is scaled, so a 12-megapixel photo costs no more than its face.
    """
    import dlib

    left, top, right, bottom = box
    scale = min(1.0, WIDEST / max(right - left, 1.0))
    offset = np.zeros(2)
    if scale < 1.0:
        margin = 0.5 * (right - left)
        x0, y0 = max(0, int(left - margin)), max(0, int(top - margin))
        image = resize(np.ascontiguousarray(image[y0 : int(bottom + margin), x0 : int(right + margin)]), scale)
        offset = np.array([x0, y0], dtype=float)
    a, b, c, d = (round(float(v)) for v in (np.array(box).reshape(2, 2) - offset).ravel() * scale)
    shape = shape_predictor(artifact)(image, dlib.rectangle(a, b, c - 1, d - 1))
    return np.array([(p.x, p.y) for p in shape.parts()], dtype=float) / scale + offset
