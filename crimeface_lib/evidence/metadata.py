"""What a file says of itself: media type, size of a picture, EXIF, place of the GPS. Read, never believed.

EXIF is written by whoever made the file and can be changed by anybody. Pictures are opened, never decoded.
"""

from __future__ import annotations

import math
import mimetypes
import warnings
from collections.abc import Mapping
from typing import Any, BinaryIO

_FORMATS = ("JPEG", "PNG", "TIFF", "WEBP", "GIF", "BMP", "JPEG2000")
_LONGEST = 500  # characters of one value; the original keeps all of it
_MOST_TAGS = 400
_EXIF_IFD, _GPS_IFD = 0x8769, 0x8825


def read_metadata(file: BinaryIO, *, filename: str | None) -> tuple[str, dict[str, Any]]:
    """Return the media type of a file and what its header tells; ``file`` is read from its start.

    What looks like a picture and can't be read has the reason under ``unreadable``: that is a finding about the
    evidence, not a reason to turn it away.

    >>> import io
    >>> read_metadata(io.BytesIO(b"plain words"), filename="note.txt")
    ('text/plain', {})
    """
    from PIL import Image, UnidentifiedImageError

    guessed = mimetypes.guess_type(filename or "", strict=True)[0] or "application/octet-stream"
    file.seek(0)
    Image.init()  # Pillow's own formats, once
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a warning about size or corrupt EXIF is no error of ours
            with Image.open(file, formats=_FORMATS) as image:
                told: dict[str, Any] = {"format": image.format, "width": image.width, "height": image.height}
                told |= _exif(image)
                return Image.MIME.get(image.format or "", guessed), told
    except UnidentifiedImageError:
        return guessed, {"unreadable": "no picture of a known format"} if guessed.startswith("image/") else {}
    except Exception as error:  # noqa: BLE001 - a hostile header may raise anything in a decoder
        return guessed, {"unreadable": f"{type(error).__name__}: {_text(str(error))}"}


def _exif(image: Any) -> dict[str, Any]:
    from PIL import ExifTags

    try:
        exif = image.getexif()
        fields = {ExifTags.TAGS.get(tag, f"tag {tag:#06x}"): value for tag, value in exif.items()}
        inner = exif.get_ifd(_EXIF_IFD)
        fields |= {ExifTags.TAGS.get(tag, f"tag {tag:#06x}"): value for tag, value in inner.items()}
        gps = {ExifTags.GPSTAGS.get(tag, f"tag {tag:#06x}"): value for tag, value in exif.get_ifd(_GPS_IFD).items()}
    except Exception as error:  # noqa: BLE001 - as above
        return {"unreadable": f"EXIF, {type(error).__name__}: {_text(str(error))}"}
    for pointer in ("ExifOffset", "GPSInfo"):
        fields.pop(pointer, None)
    found = {}
    if fields:
        found["exif"] = {name: _plain(value) for name, value in [*fields.items()][:_MOST_TAGS]}
    if gps:
        place = _degrees(gps)
        found["gps"] = place | {name: _plain(value) for name, value in [*gps.items()][:_MOST_TAGS]}
    return found


def _degrees(gps: Mapping[str, Any]) -> dict[str, float]:
    """Return latitude and longitude in degrees, WGS 84 as a rule; nothing if they are not there or make no sense."""
    place = {}
    for name, limit, negative in (("Latitude", 90.0, "S"), ("Longitude", 180.0, "W")):
        try:
            degrees, minutes, seconds = (float(part) for part in gps[f"GPS{name}"])
            value = degrees + minutes / 60 + seconds / 3600
        except (KeyError, TypeError, ValueError, ZeroDivisionError):
            return {}
        if not (math.isfinite(value) and 0 <= value <= limit):
            return {}
        place[name.lower()] = round(-value if gps.get(f"GPS{name}Ref") == negative else value, 6)
    return place


def _plain(value: Any) -> Any:
    """Return a value of EXIF as JSON can hold it, cut where it is long."""
    if isinstance(value, bool | int):
        return value if abs(value) < 1 << 53 else str(value)[:_LONGEST]
    if isinstance(value, bytes):
        text = value.rstrip(b"\0")
        return _text(text.decode("ascii")) if text.isascii() and len(text) < _LONGEST else f"{len(value)} bytes"
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, tuple | list):
        return [_plain(part) for part in value[:16]]
    if isinstance(value, Mapping):
        return {_text(str(name)): _plain(part) for name, part in [*value.items()][:16]}
    try:
        number = float(value)  # PIL's rationals
    except (TypeError, ValueError, ZeroDivisionError, OverflowError):
        return _text(str(value))
    return number if math.isfinite(number) else None


def _text(value: str) -> str:
    printable = "".join(c if c.isprintable() else "�" for c in value.rstrip("\0 "))
    return printable if len(printable) <= _LONGEST else printable[:_LONGEST] + "…"
