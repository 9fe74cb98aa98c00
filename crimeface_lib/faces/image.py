"""Read a photo safely: upright, RGB, 8 bits, with limits decided from the header before any pixel is decoded."""

from __future__ import annotations

import math
import os
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import IO, TypeAlias

import numpy as np
from PIL import Image

from crimeface_lib.core.errors import ImageError
from crimeface_lib.core.results import Result
from crimeface_lib.core.types import ImageArray

ImageSource: TypeAlias = str | os.PathLike[str] | bytes | IO[bytes]

FORMATS = ("JPEG", "PNG", "TIFF", "BMP", "WEBP", "PPM")
MIN_SIDE = 32
MAX_PIXELS = 100_000_000

_REMEDY = "give a JPEG, PNG, TIFF, BMP, WebP or PNM photo"
_DIAGONAL_35MM = math.hypot(36.0, 24.0)
_ORIENTATION, _EXIF_IFD, _FOCAL_35MM, _EXIF_WIDTH, _EXIF_HEIGHT = 0x0112, 0x8769, 0xA405, 0xA002, 0xA003
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True, slots=True)
class PhotoMetadata(Result):
    """What the file says about the picture. Place, camera serial number and comments are not read.

    Parameters
    ----------
    width, height : px, upright, as ``load_image`` returns them.
    format : "JPEG", "PNG", ...
    orientation : EXIF orientation 1–8 that was applied; 1 when there is none (and for TIFF).
    focal_px : focal length in pixels from the 35-mm equivalent in EXIF, else None.
    focal_note : where ``focal_px`` comes from, or why there is none.
    """

    width: int
    height: int
    format: str
    orientation: int
    focal_px: float | None
    focal_note: str


def load_image(source: ImageSource) -> ImageArray:
    """Return the photo as (H, W, 3) uint8 RGB, upright.

    EXIF orientation is applied, transparency is laid on white, grey becomes three equal channels, 16 bits
    become 8. Of a file with several pictures the first is read. Colour profiles are not applied.

    Parameters
    ----------
    source : path, bytes or binary file object of a JPEG, PNG, TIFF, BMP, WebP or PNM file.

    Raises
    ------
    ImageError : no such file, not one of these formats, cut short, a side below 32 px, or more than 100
        megapixels; the size is read from the header, so an oversized file is never decoded.

    >>> buffer = BytesIO()
    >>> Image.new("L", (64, 48), 128).save(buffer, "PNG")
    >>> load_image(buffer.getvalue()).shape
    (48, 64, 3)
    """
    with _opened(source) as image:
        turn = _TURNS.get(_orientation(image))
        try:
            rgb = _to_rgb(image)
        except _DECODE_ERRORS as error:
            raise ImageError(
                f"got a damaged {image.format} file ({error}), expected a whole one; export it again"
            ) from error
        return np.array(rgb.transpose(turn) if turn is not None else rgb, dtype=np.uint8)


def photo_metadata(source: ImageSource) -> PhotoMetadata:
    """Return size, format, orientation and focal length without decoding the pixels.

    The focal length follows CIPA's definition of the 35-mm equivalent (equal diagonal):
    ``focal_px = f35 · √(W² + H²) / 43.27 mm``. It is withheld where EXIF gives another aspect ratio than the
    file has, because the photo was then cropped and the diagonal no longer tells.

    Raises
    ------
    ImageError : as ``load_image``.
    References : CIPA DCG-001.
    """
    with _opened(source) as image:
        orientation = _orientation(image)
        width, height = image.size if orientation < 5 else image.size[::-1]
        focal, note = _focal(image)
        return PhotoMetadata(
            width=width,
            height=height,
            format=str(image.format),
            orientation=orientation,
            focal_px=focal,
            focal_note=note,
        )


_DECODE_ERRORS = (OSError, ValueError, SyntaxError, EOFError, IndexError, TypeError, struct.error, zlib.error)


@contextmanager
def _opened(source: ImageSource) -> Iterator[Image.Image]:
    """Open, check format and size from the header, and close again."""
    if isinstance(source, str | os.PathLike):
        path = Path(source)
        if not path.is_file():
            what = "a folder" if path.is_dir() else "a path with no file"
            raise ImageError(f"image: got {what} ({path.name!r}), expected a photo; {_REMEDY}")
        if path.stat().st_size == 0:
            raise ImageError(f"image: got an empty file ({path.name!r}), expected a photo; copy it again")
        file: ImageSource = path
    elif isinstance(source, bytes | bytearray | memoryview):
        file = BytesIO(source)
    elif hasattr(source, "read"):
        file = source
    else:
        raise ImageError(f"image: got {type(source).__name__}, expected a path, bytes or a binary file; {_REMEDY}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # our own limit follows
        try:
            image = Image.open(file, formats=FORMATS)
        except Image.DecompressionBombError as error:
            raise ImageError(
                f"image: got too many pixels ({error}), expected at most {MAX_PIXELS}; scale it down"
            ) from error
        except _DECODE_ERRORS as error:
            raise ImageError(f"image: got a file that is no image we read ({error}); {_REMEDY}") from error
    with image:
        width, height = image.size
        if min(width, height) < MIN_SIDE:
            raise ImageError(
                f"image: got {width} × {height} px, expected at least {MIN_SIDE} px on each side; find a larger copy"
            )
        if width * height > MAX_PIXELS:
            raise ImageError(
                f"image: got {width} × {height} = {width * height} px, expected at most {MAX_PIXELS}; scale it down"
            )
        yield image


def _exif(image: Image.Image) -> Image.Exif:
    """Return the EXIF block; an unreadable one counts as absent, as in every viewer."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return image.getexif()
        except _DECODE_ERRORS:
            return Image.Exif()


def _orientation(image: Image.Image) -> int:
    """Return the turn that is left to do: Pillow itself turns a TIFF, from its size to its pixels."""
    if image.format == "TIFF":
        return 1
    value = _exif(image).get(_ORIENTATION, 1)
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _focal(image: Image.Image) -> tuple[float | None, str]:
    """Return the focal length in px, or None, and a sentence that says why."""
    try:
        details = _exif(image).get_ifd(_EXIF_IFD)
        equivalent = float(details.get(_FOCAL_35MM, 0))
        stated = float(details.get(_EXIF_WIDTH, 0)), float(details.get(_EXIF_HEIGHT, 0))
    except _DECODE_ERRORS:
        return None, "EXIF can't be read"
    if not 1.0 <= equivalent <= 5000.0:
        return None, "no 35-mm equivalent focal length in EXIF"
    width, height = image.size
    if min(stated) > 0:
        ratio = max(stated) / min(stated) / (max(width, height) / min(width, height))
        if abs(ratio - 1.0) > 0.01:
            return None, "the photo was cropped after it was taken: EXIF gives another aspect ratio"
    return equivalent * math.hypot(width, height) / _DIAGONAL_35MM, f"EXIF: {equivalent:g} mm equivalent"


def _to_rgb(image: Image.Image) -> Image.Image:
    """Return 8-bit RGB: 16-bit grey scaled, transparency on white."""
    if image.mode.startswith("I"):  # 16-bit grey, under several names
        grey = np.asarray(image, dtype=np.int64)
        if grey.min() < 0 or grey.max() > 65535:
            raise ValueError("32-bit grey values")
        return Image.fromarray((grey // 257).astype(np.uint8)).convert("RGB")
    if image.mode == "F":
        raise ValueError("floating-point pixels have no agreed white")
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        paper = Image.new("RGBA", rgba.size, "white")
        return Image.alpha_composite(paper, rgba).convert("RGB")
    return image.convert("RGB")
