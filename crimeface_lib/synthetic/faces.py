"""Photos made worse, as a camera far away would have taken them."""

from __future__ import annotations

from io import BytesIO

import numpy as np
from PIL import Image

from crimeface_lib.core.arrays import check_image
from crimeface_lib.core.errors import InputError
from crimeface_lib.core.random import Seed, make_rng
from crimeface_lib.core.types import ImageArray
from crimeface_lib.faces import choose_face, detect_faces, load_image


def degrade_photo(
    image: ImageArray,
    *,
    rng: Seed = None,
    margin: float = 0.9,
    scale: float = 0.8,
    blur: float = 0.8,
    light: float = 0.7,
    noise: float = 4.0,
    jpeg: int = 60,
) -> ImageArray:
    """Return a crop around the largest face, smaller, blurred, darker, noisy and compressed, in this order.

    Parameters
    ----------
    image : (H, W, 3) uint8 RGB with a face.
    margin : around the face box, in box widths; the crop is moved by up to a fifth of it.
    scale : of the size. blur : Gaussian, px of the result. light : factor. noise : Gaussian, of 255.
    jpeg : quality, 1–95.

    Raises
    ------
    NoFaceError : no face to crop around. InputError : impossible values.
    ImageError : what remains is too small to be a photo.
    """
    import cv2

    image = check_image(image)
    if not (0 < scale <= 1 and 0 < light <= 1 and blur >= 0 and noise >= 0 and margin >= 0 and 1 <= jpeg <= 95):
        raise InputError(
            f"got scale {scale}, light {light}, blur {blur}, noise {noise}, margin {margin}, jpeg {jpeg}; expected "
            "scale and light in (0, 1], the next three from 0, jpeg 1–95"
        )
    gen = make_rng(rng)
    face = choose_face(detect_faces(image)).face
    room = margin * face.width
    shift = gen.uniform(-0.2, 0.2, 2) * room
    left, top = (max(0, int(v)) for v in np.array(face.box[:2]) - room + shift)
    right, bottom = (int(v) for v in np.array(face.box[2:]) + room + shift)
    small = cv2.resize(image[top:bottom, left:right], None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    worse = small.astype(float) if blur == 0 else cv2.GaussianBlur(small.astype(float), (0, 0), blur)
    worse = worse * light + gen.normal(0, noise, worse.shape)
    buffer = BytesIO()
    Image.fromarray(np.clip(np.rint(worse), 0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=jpeg)
    return load_image(buffer.getvalue())
