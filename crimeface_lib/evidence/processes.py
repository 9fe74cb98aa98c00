"""Processes that make derivatives, such that somebody else can repeat them: a name, a version, a plain function.

A record names its process and never says where its code is. Whoever replays a package brings the processes, so a
package can't make anybody's machine run anything.
"""

from __future__ import annotations

import io
import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from crimeface_lib.core.display import Shown
from crimeface_lib.core.errors import ImageError, InputError

_FORMATS = ("JPEG", "PNG", "TIFF", "WEBP", "GIF", "BMP")
_MOST_PIXELS = 100_000_000


@dataclass(frozen=True, slots=True)
class Process(Shown):
    """A function from the contents of parents to the content of their derivative.

    Parameters
    ----------
    name, version : by which a record refers to it; a change of the result is a new version.
    run : called with the parents' contents, a list of bytes, and the parameters as keywords; returns bytes.
    distance : how far two results are apart, where equal bytes are too much to ask; the unit is its own.
    tolerance : the largest distance at which two results count as the same. Recorded when the derivative is made.
    packages : whose versions may matter; they are recorded.

    >>> Process("reverse", "1", lambda contents: contents[0][::-1]).run([b"abc"])
    b'cba'
    """

    name: str
    version: str
    run: Callable[..., bytes]
    distance: Callable[[bytes, bytes], float] | None = None
    tolerance: float = 0.0
    packages: tuple[str, ...] = ()

    def environment(self) -> dict[str, str]:
        """Return Python, machine and the versions of ``packages``."""
        found = {"python": platform.python_version(), "machine": f"{platform.system()} {platform.machine()}"}
        for package in ("crimeface-lib", *self.packages):
            try:
                found[package] = version(package)
            except PackageNotFoundError:
                found[package] = "not installed as a package"
        return found


def upright(contents: list[bytes]) -> bytes:
    """Return a picture turned as its EXIF says, as PNG without any metadata."""
    from PIL import ImageOps

    return _png(ImageOps.exif_transpose(_picture(contents)).convert("RGB"))


def crop(contents: list[bytes], *, box: tuple[int, int, int, int]) -> bytes:
    """Return left, top, right, bottom of the upright picture, px, as PNG."""
    from PIL import ImageOps

    picture = ImageOps.exif_transpose(_picture(contents))
    left, top, right, bottom = box
    if not (0 <= left < right <= picture.width and 0 <= top < bottom <= picture.height):
        raise InputError(f"box: got {tuple(box)}, expected a part of {picture.width} × {picture.height} px")
    return _png(picture.crop((left, top, right, bottom)).convert("RGB"))


def pixel_distance(one: bytes, other: bytes) -> float:
    """Return the largest difference of any channel of any pixel, 0 to 255; infinite if the sizes differ."""
    from PIL import ImageChops

    a, b = (_picture([data]).convert("RGB") for data in (one, other))
    if a.size != b.size:
        return float("inf")
    extrema: Any = ImageChops.difference(a, b).getextrema()
    return float(max(high for _, high in extrema))


#: Our own processes by name. JPEG decoders of other machines differ by a level or two.
PROCESSES: Mapping[str, Process] = {
    process.name: process
    for process in (
        Process("image.upright", "1", upright, distance=pixel_distance, tolerance=2.0, packages=("pillow",)),
        Process("image.crop", "1", crop, distance=pixel_distance, tolerance=2.0, packages=("pillow",)),
    )
}


def _picture(contents: list[bytes]) -> Any:
    import warnings

    from PIL import Image

    if len(contents) != 1:
        raise InputError(f"got {len(contents)} parents, expected one picture")
    Image.init()  # Pillow's own formats, once
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the size is checked below
            picture = Image.open(io.BytesIO(contents[0]), formats=_FORMATS)
            if picture.width * picture.height > _MOST_PIXELS:
                raise ImageError(f"got {picture.width} × {picture.height} px, expected at most {_MOST_PIXELS:,} pixels")
            picture.load()
    except ImageError:
        raise
    except Exception as error:
        raise ImageError(f"not a picture that can be read: {type(error).__name__}: {error}") from error
    return picture


def _png(picture: Any) -> bytes:
    buffer = io.BytesIO()
    picture.info.clear()
    picture.save(buffer, format="PNG")
    return buffer.getvalue()
