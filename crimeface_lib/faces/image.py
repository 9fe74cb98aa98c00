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
from PIL import Image, UnidentifiedImageError

from crimeface_lib.core.errors import ImageError
from crimeface_lib.core.results import Result
from crimeface_lib.core.types import ImageArray

ImageSource: TypeAlias = str | os.PathLike[str] | bytes | IO[bytes]

FORMATS = ("JPEG", "PNG", "TIFF", "BMP", "WEBP", "PPM")
MIN_SIDE = 32
MAX_PIXELS = 100_000_000

_REMEDY = "give a JPEG, PNG, TIFF, BMP, WebP or PNM photo"
_DIAGONAL_35MM = math.hypot(36.0, 24.0)
_ORIENTATION, _EXIF_IFD, _EXIF_WIDTH, _EXIF_HEIGHT = 0x0112, 0x8769, 0xA002, 0xA003
_FOCAL_35MM, _FOCAL_MM, _ZOOM, _PLANE_RESOLUTION, _PLANE_UNIT = 0xA405, 0x920A, 0xA404, 0xA20E, 0xA210
#: Millimetres in EXIF's units of resolution: inch, centimetre, millimetre, micrometre.
_UNITS_MM = {2: 25.4, 3: 10.0, 4: 1.0, 5: 0.001}
#: Spread of the logarithm of a focal length from EXIF: rounding to whole millimetres, focusing close by, makers who
#: mean the width and not the diagonal; and where EXIF doesn't say the photo's size, a crop that would not show.
_FOCAL_LOG_SD, _FOCAL_LOG_SD_UNCHECKED = 0.05, 0.2
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
    focal_px : focal length in pixels from EXIF, else None.
    focal_log_sd : standard deviation of its logarithm, None without a focal length.
    focal_note : where ``focal_px`` comes from, or why there is none.
    """

    width: int
    height: int
    format: str
    orientation: int
    focal_px: float | None
    focal_log_sd: float | None
    focal_note: str

    @property
    def focal_prior(self) -> tuple[float, float] | None:
        """(median px, standard deviation of the logarithm), as ``reconstruction.View`` takes it."""
        return None if self.focal_px is None or self.focal_log_sd is None else (self.focal_px, self.focal_log_sd)


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

    The focal length follows CIPA's definition of the 35-mm equivalent (equal diagonal),
    ``focal_px = f35 · √(W² + H²) / 43.27 mm``, or where EXIF has none, the focal length times the pixels per
    millimetre of the sensor. It is withheld where the file has another size than EXIF says the photo was taken
    at: a crop can't be told from a smaller copy then.

    Raises
    ------
    ImageError : as ``load_image``.
    References : CIPA DCG-001.
    """
    with _opened(source) as image:
        orientation = _orientation(image)
        width, height = image.size if orientation < 5 else image.size[::-1]
        focal, spread, note = _focal(image)
        return PhotoMetadata(
            width=width,
            height=height,
            format=str(image.format),
            orientation=orientation,
            focal_px=focal,
            focal_log_sd=spread,
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
            why = "unknown format" if isinstance(error, UnidentifiedImageError) else error  # Pillow's text has the path
            raise ImageError(f"image: got a file that is no image we read ({why}); {_REMEDY}") from error
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


def _focal(image: Image.Image) -> tuple[float | None, float | None, str]:
    """Return the focal length in px and the spread of its logarithm, or None, and a sentence that says why."""
    try:
        details = _exif(image).get_ifd(_EXIF_IFD)
        tags = (_FOCAL_35MM, _FOCAL_MM, _ZOOM, _PLANE_RESOLUTION, _EXIF_WIDTH, _EXIF_HEIGHT)
        equivalent, millimetres, zoom, resolution, *stated = (float(details.get(tag) or 0) for tag in tags)
        unit = _UNITS_MM.get(details.get(_PLANE_UNIT, 2), math.nan)
    except _DECODE_ERRORS:
        return None, None, "EXIF can't be read"
    size, diagonal = sorted(image.size), math.hypot(*image.size)
    if 8.0 <= equivalent <= 3000.0:
        focal, note = equivalent * diagonal / _DIAGONAL_35MM, f"{equivalent:g} mm equivalent in EXIF"
    else:
        focal = millimetres * resolution / unit
        if not 8.0 <= focal / diagonal * _DIAGONAL_35MM <= 3000.0:
            return None, None, "no focal length in EXIF that a lens could have"
        note = f"{millimetres:g} mm and {resolution / unit:.0f} px per mm of sensor in EXIF"
    if zoom > 1.05:
        return None, None, f"{note}, but a digital zoom of {zoom:.3g} which makers count in or leave out"
    if not min(stated) > 0:
        return (
            focal,
            _FOCAL_LOG_SD_UNCHECKED,
            f"{note}, which doesn't say the photo's size: it may be cropped",
        )
    if any(abs(now / then - 1) > 0.01 for now, then in zip(size, sorted(stated), strict=True)):
        taken = " × ".join(f"{side:.0f}" for side in stated)
        return None, None, f"{note}, but it was taken at {taken} px: cropped or resized, which can't be told"
    return focal, _FOCAL_LOG_SD, note


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
