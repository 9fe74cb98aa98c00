"""Turn and scale a face so that its points lie where a recognition net expects them."""

from __future__ import annotations

import numpy as np

from crimeface_lib.core.arrays import check_array, check_image
from crimeface_lib.core.errors import InputError, ShapeError
from crimeface_lib.core.types import FloatArray, ImageArray
from crimeface_lib.faces.detect import Face, resize

#: Margin around the face in parts of its size; what dlib's net was trained with.
PADDING = 0.25
#: Where nets of ArcFace's kind expect the eye left in the picture, the other eye, tip of the nose, and the corners of
#: the mouth, left in the picture first; px of a 112-px chip (InsightFace's reference points).
ARCFACE_TEMPLATE = np.array(
    [(38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041)]
)
#: Where dlib's five points lie in a chip so aligned: median over 357 LFW photos. For faces without ``marks``.
_FIVE_IN_ARCFACE = np.array([(80.42, 52.54), (66.55, 53.08), (31.32, 52.91), (45.21, 53.14), (56.06, 79.79)])


def align_face(image: ImageArray, face: Face, *, size: int = 150, template: FloatArray | None = None) -> ImageArray:
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

    Raises
    ------
    ShapeError : not an image, or no such template. InputError : an impossible size.
    """
    image = check_image(image)
    if not 32 <= size <= 1024:
        raise InputError(f"size: got {size}, expected 32–1024 px; dlib's net takes 150, ArcFace's 112")
    return _dlib_chip(image, face, size) if template is None else _warped(image, face, size, template)


def _dlib_chip(image: ImageArray, face: Face, size: int) -> ImageArray:
    import dlib

    left, top, right, bottom = (int(v) for v in np.rint(face.box))
    points = [dlib.point(int(x), int(y)) for x, y in np.rint(face.points)]
    shape = dlib.full_object_detection(dlib.rectangle(left, top, right - 1, bottom - 1), points)
    return dlib.get_face_chip(image, shape, size, PADDING)


def _warped(image: ImageArray, face: Face, size: int, template: FloatArray) -> ImageArray:
    import cv2

    target = check_array(template, shape=(None, 2), name="template")
    if len(target) == 2:
        seen = face.eyes
    elif len(target) == 5 and face.marks is not None:
        seen = face.marks
    elif len(target) == 5:
        seen, target = face.points, _moved(_FIVE_IN_ARCFACE, similarity(ARCFACE_TEMPLATE, target))
    else:
        raise ShapeError(f"template: got {target.shape}, expected (5, 2) eyes, nose and mouth or (2, 2) eyes, px")
    scale = min(1.0, float(np.linalg.norm(similarity(seen, target)[:, 0])))
    small = resize(image, scale)  # averaged first: a bilinear warp alone would leave out pixels of a large face
    matrix = similarity((seen + 0.5) * scale - 0.5, target)
    return np.asarray(cv2.warpAffine(small, matrix, (size, size), flags=cv2.INTER_LINEAR), dtype=np.uint8)


def similarity(source: FloatArray, target: FloatArray) -> FloatArray:
    """Return the (2, 3) matrix of rotation, scale and shift that lays (N, 2) points on others by least squares."""
    a, b = source - source.mean(axis=0), target - target.mean(axis=0)
    cosine, sine = np.sum(a * b), np.sum(a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0])
    turn = np.array([[cosine, -sine], [sine, cosine]]) / max(float(np.sum(a * a)), 1e-12)
    return np.column_stack([turn, target.mean(axis=0) - turn @ source.mean(axis=0)])


def _moved(points: FloatArray, matrix: FloatArray) -> FloatArray:
    return points @ matrix[:, :2].T + matrix[:, 2]
