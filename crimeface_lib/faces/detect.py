"""Find faces in a photo, and say which one of several is used."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypeAlias

import numpy as np

from crimeface_lib.core.arrays import check_array, check_image
from crimeface_lib.core.errors import InputError, NoFaceError
from crimeface_lib.core.plugins import load_backend
from crimeface_lib.core.results import Result
from crimeface_lib.core.types import FloatArray, ImageArray
from crimeface_lib.faces.weights import POINTS_5, run_frontal_detector, shape_predictor

#: Longest side of the first pass, px. dlib's detector sees faces from 80 px on, so nothing useful is lost.
FIRST_PASS = 1600
#: Widest face that the point predictors see, px: they were trained on smaller ones.
WIDEST = 300
#: Lowest score of a detection that is returned when there is no better one.
WEAKEST = -0.3
#: The third pass: longest side, px; border added, in parts of it; degrees by which the photo is turned.
TURNED_PASS, BORDER, TURNS = 800, 0.25, (0.0, -20.0, 20.0, -40.0, 40.0)

#: Shortest side of a picture that can hold a face, px.
_SMALLEST = 16

Box: TypeAlias = tuple[float, float, float, float]


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

    box: Box
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


class _Seen(NamedTuple):
    """A detection: the box, and the degrees by which the photo was turned about the box's middle to see it."""

    score: float
    box: Box
    roll: float


class DlibDetector:
    """dlib's frontal HOG detector and its 5-point predictor (Boost licence; CC0 weights).

    Each pass is for photos in which those before found nothing, so most cost one. The second doubles the size, for
    small faces; those of about 40–80 px beside a larger one are thus not reported. The third adds a border, for tight
    crops, and turns the photo by up to 40 degrees. Where none finds a face, the best detection just below dlib's
    threshold is returned; its score is negative, and ``choose_face`` says so.
    """

    name = "dlib"

    def detect(self, image: ImageArray) -> list[Face]:
        longest = max(image.shape)
        first, third = min(1.0, FIRST_PASS / longest), min(1.0, TURNED_PASS / longest)
        weak: list[_Seen] = []
        for views in ([(first, 0.0)], [(2.0 * first, 0.0)], [(third, turn) for turn in TURNS]):
            found = [_look(image, scale, turn, BORDER if len(views) > 1 else 0.0) for scale, turn in views]
            best = max(found, key=lambda seen: max((one.score for one in seen), default=-np.inf))
            if strong := [one for one in best if one.score >= 0]:
                return [self._face(image, one) for one in strong]
            weak += best
        return [self._face(image, max(weak, key=lambda one: one.score))] if weak else []

    def _face(self, image: ImageArray, seen: _Seen) -> Face:
        points = predict_points(POINTS_5, image, seen.box, roll=seen.roll)
        return Face(box=seen.box, score=seen.score, points=points, detector=self.name)


def _look(image: ImageArray, scale: float, turn: float, border: float) -> list[_Seen]:
    """Return what dlib's detector sees in a scaled, bordered and turned copy, in pixels of ``image``."""
    copy = resize(image, scale)
    back: FloatArray = np.eye(2, 3)
    if border:
        import cv2

        (height, width), edge = copy.shape[:2], round(border * max(copy.shape))
        matrix = cv2.getRotationMatrix2D(((width - 1) / 2.0, (height - 1) / 2.0), turn, 1.0) + [[0, 0, edge]] * 2
        size = (width + 2 * edge, height + 2 * edge)
        turned = cv2.warpAffine(copy, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        copy, back = np.asarray(turned, dtype=np.uint8), np.asarray(cv2.invertAffineTransform(matrix))
    boxes, scores, _ = run_frontal_detector(copy, WEAKEST)
    seen = []
    for score, found in zip(scores, boxes, strict=True):
        edges = np.array([(found.left(), found.top()), (found.right() + 1, found.bottom() + 1)], dtype=float)
        middle = back @ [*(edges.mean(axis=0) - 0.5), 1.0] + 0.5  # of the photo's pixels, whose centres are whole
        half = (edges[1] - edges[0]) / 2.0
        left, top, right, bottom = (float(v) / scale for v in (*(middle - half), *(middle + half)))
        seen.append(_Seen(float(score), (left, top, right, bottom), turn))
    return seen


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
    if min(image.shape[:2]) < _SMALLEST:
        return []
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


def predict_points(artifact: Any, image: ImageArray, box: Box, *, roll: float = 0.0) -> FloatArray:
    """Return dlib's points (5 or 68, 2), px, for a face box; a face wider than 300 px is first scaled down.

    Only the neighbourhood of the box is scaled, so a 12-megapixel photo costs no more than its face. ``roll`` is by
    how many degrees that neighbourhood is turned, counter-clockwise, to put the face upright for the predictor.
    """
    import dlib

    left, top, right, bottom = box
    scale = min(1.0, WIDEST / max(right - left, 1.0))
    if roll:
        return _predict_turned(artifact, image, box, roll, scale)
    offset = np.zeros(2)
    if scale < 1.0:
        margin = 0.5 * (right - left)
        x0, y0 = max(0, int(left - margin)), max(0, int(top - margin))
        image = resize(np.ascontiguousarray(image[y0 : int(bottom + margin), x0 : int(right + margin)]), scale)
        offset = np.array([x0, y0], dtype=float)
    a, b, c, d = (round(float(v)) for v in (np.array(box).reshape(2, 2) - offset).ravel() * scale)
    shape = shape_predictor(artifact)(image, dlib.rectangle(a, b, c - 1, d - 1))
    return np.array([(p.x, p.y) for p in shape.parts()], dtype=float) / scale + offset


def _predict_turned(artifact: Any, image: ImageArray, box: Box, roll: float, scale: float) -> FloatArray:
    """Return the points as found in a turned copy of the box's neighbourhood, twice its size."""
    import cv2

    left, top, right, bottom = box
    side = max(right - left, bottom - top) * scale
    middle = ((left + right - 1) / 2.0, (top + bottom - 1) / 2.0)
    matrix = np.asarray(cv2.getRotationMatrix2D(middle, roll, scale), dtype=np.float64)
    matrix[:, 2] += side - np.array(middle)
    whole = math.ceil(2 * side)
    copy = cv2.warpAffine(image, matrix, (whole, whole), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    upright = (side / 2.0, side / 2.0, 1.5 * side, 1.5 * side)
    back = cv2.invertAffineTransform(matrix)
    return predict_points(artifact, np.asarray(copy, dtype=np.uint8), upright) @ back[:, :2].T + back[:, 2]
