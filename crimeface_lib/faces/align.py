"""Turn and scale a face so that its points lie where a recognition net expects them."""

from __future__ import annotations

import math

import numpy as np

from crimeface_lib.core.arrays import check_array, check_image
from crimeface_lib.core.errors import InputError, ShapeError
from crimeface_lib.core.types import FloatArray, ImageArray
from crimeface_lib.faces.detect import Face, predict_points, resize
from crimeface_lib.faces.weights import POINTS_5

#: Margin around the face in parts of its size; what dlib's net was trained with.
PADDING = 0.25
#: dlib's mean face, and where it lies in a chip whose side is 1.
_MEAN_FACE = np.array(
    [
        (0.8595674595992, 0.2134981538014),
        (0.6460604764104, 0.2289674387677),
        (0.1205750620789, 0.2137274526848),
        (0.3340850613712, 0.2290642403242),
        (0.4901123135679, 0.6277975316475),
    ]
)
DLIB_TEMPLATE = (PADDING + _MEAN_FACE) / (1 + 2 * PADDING)
#: Where nets of ArcFace's kind expect the eye left in the picture, the other eye, tip of the nose, and the corners of
#: the mouth, left in the picture first; px of a 112-px chip (InsightFace's reference points).
ARCFACE_TEMPLATE = np.array(
    [(38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041)]
)
#: Where dlib's five points lie in a chip so aligned: median over 357 LFW photos. For faces without ``marks``.
_FIVE_IN_ARCFACE = np.array([(80.42, 52.54), (66.55, 53.08), (31.32, 52.91), (45.21, 53.14), (56.06, 79.79)])

#: Middle and side of dlib's box there: medians over 180 LFW photos with YuNet's marks.
_BOX_IN_ARCFACE = np.array([56.0, 73.0, 90.6])


def align_face(
    image: ImageArray,
    face: Face,
    *,
    size: int = 150,
    template: FloatArray | None = None,
    jitter: tuple[float, float, float, float] | None = None,
) -> ImageArray:
    """Return the face upright as a (size, size, 3) uint8 RGB chip.

    Without a template this is dlib's ``get_face_chip`` with padding 0.25: the least-squares similarity from the
    five points to dlib's mean face, bilinear, through an image pyramid where the face is larger than the chip. Parts
    outside the picture are black.

    Parameters
    ----------
    image : (H, W, 3) uint8 RGB, the picture in which ``face`` was detected.
    size : side of the chip, px, 32–1024.
    template : where the net expects the face, px of the chip: (5, 2) both eyes, tip of the nose, both corners of the
        mouth, each time the one left in the picture first (``ARCFACE_TEMPLATE``), or (2, 2) the eyes alone. Faces
        whose detector gives no ``marks`` are laid by dlib's five points on the places these have in such chips; on
        357 LFW photos the corners of a 112-px chip then move by 4 px (median), against points at the mouth.
    jitter : (size, degrees, right, down) by which the face lies otherwise in the chip: times, clockwise, and in parts
        of the chip's side. Templates of several such chips are averaged.

    Raises
    ------
    ShapeError : not an image, or no such template. InputError : an impossible size.
    """
    image = check_image(image)
    if not 32 <= size <= 1024:
        raise InputError(f"size: got {size}, expected 32–1024 px; dlib's net takes 150, ArcFace's 112")
    if template is None and jitter is None:
        return _dlib_chip(image, face, size)
    seen, target = (face.points, DLIB_TEMPLATE * size - 0.5) if template is None else _points(face, template)
    if jitter is not None:
        zoom, degrees, right, down = jitter
        turn = np.deg2rad(degrees)
        matrix = zoom * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        middle = np.full(2, (size - 1) / 2.0)
        target = (target - middle) @ matrix.T + middle + size * np.array([right, down])
    return _warped(image, seen, target, size)


def _dlib_chip(image: ImageArray, face: Face, size: int) -> ImageArray:
    import dlib

    left, top, right, bottom = (int(v) for v in np.rint(face.box))
    points = [dlib.point(int(x), int(y)) for x, y in np.rint(face.points)]
    shape = dlib.full_object_detection(dlib.rectangle(left, top, right - 1, bottom - 1), points)
    return dlib.get_face_chip(image, shape, size, PADDING)


def _points(face: Face, template: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return which points of the face go where in the chip."""
    target = check_array(template, shape=(None, 2), name="template")
    if len(target) == 2:
        return face.eyes, target
    if len(target) != 5:
        raise ShapeError(f"template: got {target.shape}, expected (5, 2) eyes, nose and mouth or (2, 2) eyes, px")
    if face.marks is not None:
        return face.marks, target
    return face.points, _moved(_FIVE_IN_ARCFACE, similarity(ARCFACE_TEMPLATE, target))


def _warped(image: ImageArray, seen: FloatArray, target: FloatArray, size: int) -> ImageArray:
    import cv2

    scale = min(1.0, float(np.linalg.norm(similarity(seen, target)[:, 0])))
    small = resize(image, scale)  # averaged first: a bilinear warp alone would leave out pixels of a large face
    matrix = similarity((seen + 0.5) * scale - 0.5, target)
    return np.asarray(cv2.warpAffine(small, matrix, (size, size), flags=cv2.INTER_LINEAR), dtype=np.uint8)


def face_from_marks(image: ImageArray, marks: FloatArray, *, score: float, detector: str) -> Face:
    """Return the face whose eyes, tip of nose and corners of the mouth a detector gave, with dlib's box and points.

    The box is where dlib's detector puts its own for such marks, so that a size means the same whatever the detector;
    dlib's five points are then looked for in it, with the eyes level.
    """
    matrix = similarity(marks, ARCFACE_TEMPLATE)
    scale = float(np.linalg.norm(matrix[:, 0]))
    x, y = (float(v) for v in np.linalg.solve(matrix[:, :2], _BOX_IN_ARCFACE[:2] - matrix[:, 2]))
    half = float(_BOX_IN_ARCFACE[2]) / 2.0 / max(scale, 1e-6)
    box = (x - half, y - half, x + half, y + half)
    across = marks[1] - marks[0]
    roll = math.degrees(math.atan2(across[1], across[0]))
    points = predict_points(POINTS_5, image, box, roll=roll)
    return Face(box=box, score=score, points=points, detector=detector, marks=marks)


def similarity(source: FloatArray, target: FloatArray) -> FloatArray:
    """Return the (2, 3) matrix of rotation, scale and shift that lays (N, 2) points on others by least squares."""
    a, b = source - source.mean(axis=0), target - target.mean(axis=0)
    cosine, sine = np.sum(a * b), np.sum(a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0])
    turn = np.array([[cosine, -sine], [sine, cosine]]) / max(float(np.sum(a * a)), 1e-12)
    return np.column_stack([turn, target.mean(axis=0) - turn @ source.mean(axis=0)])


def _moved(points: FloatArray, matrix: FloatArray) -> FloatArray:
    return points @ matrix[:, :2].T + matrix[:, 2]
