"""Turn and scale a face so that its five points lie where the recognition net expects them."""

from __future__ import annotations

import numpy as np

from crimeface_lib.core.arrays import check_image
from crimeface_lib.core.errors import InputError
from crimeface_lib.core.types import ImageArray
from crimeface_lib.faces.detect import Face

#: Margin around the face in parts of its size; what dlib's net was trained with.
PADDING = 0.25


def align_face(image: ImageArray, face: Face, *, size: int = 150) -> ImageArray:
    """Return the face upright as a (size, size, 3) uint8 RGB chip.

    This is dlib's ``get_face_chip`` with padding 0.25: the least-squares similarity from the five points to
    dlib's mean face, bilinear, through an image pyramid where the face is larger than the chip. Parts outside
    the picture are black.

    Parameters
    ----------
    image : (H, W, 3) uint8 RGB, the picture in which ``face`` was detected.
    size : side of the chip, px, 32–1024.

    Raises
    ------
    ShapeError : not an image. InputError : an impossible size.
    """
    image = check_image(image)
    if not 32 <= size <= 1024:
        raise InputError(f"size: got {size}, expected 32–1024 px; the recognition net takes 150")
    import dlib

    left, top, right, bottom = (int(v) for v in np.rint(face.box))
    points = [dlib.point(int(x), int(y)) for x, y in np.rint(face.points)]
    shape = dlib.full_object_detection(dlib.rectangle(left, top, right - 1, bottom - 1), points)
    return dlib.get_face_chip(image, shape, size, PADDING)
