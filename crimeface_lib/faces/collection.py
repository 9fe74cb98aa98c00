"""The photos of a folder, and the pairs of a list in the format of Labeled Faces in the Wild."""

from __future__ import annotations

from pathlib import Path

from crimeface_lib.core.errors import InputError

#: Files of a folder that are taken for photos; some can't be read, and loading them says so.
PHOTO_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp", ".ppm", ".pgm", ".heic", ".heif", ".avif", ".gif"}
)


def list_photos(folder: str | Path, *, pairs: str | Path | None = None, limit: int | None = None) -> list[Path]:
    """Return the photos below a folder, sorted.

    Parameters
    ----------
    pairs : only those that a list of pairs names; see ``read_pairs``.
    limit : at most so many, spread evenly over the list, so that a few tell about all.

    Raises
    ------
    InputError : no such folder, no photo in it, or a photo of the list that isn't there.
    """
    root = Path(folder)
    if not root.is_dir():
        raise InputError(f"photos: got {root}, expected a folder of photos")
    if pairs is None:
        photos = [path for path in sorted(root.rglob("*")) if path.suffix.lower() in PHOTO_SUFFIXES and path.is_file()]
    else:
        photos = sorted({root / file for first, second, _ in read_pairs(pairs) for file in (first, second)})
        missing = [path for path in photos if not path.is_file()]
        if missing:
            raise InputError(
                f"pairs: {len(missing)} of {len(photos)} photos are not below {root}, e.g. {missing[0].name}"
            )
    if not photos:
        raise InputError(f"photos: got none below {root}, expected files named {', '.join(sorted(PHOTO_SUFFIXES))}")
    if limit is not None and limit < 1:
        raise InputError(f"limit: got {limit}, expected at least 1")
    if limit is None or limit >= len(photos):
        return photos
    return [photos[k * len(photos) // limit] for k in range(limit)]


def read_pairs(path: str | Path) -> list[tuple[str, str, bool]]:
    """Return (file, file, mated) of each pair in a list in LFW's format; files relative to the image folder.

    Raises
    ------
    InputError : a line that is neither form.
    """
    found = []
    for number, line in enumerate(Path(path).read_text("utf-8").splitlines()[1:], start=2):
        words = line.split("\t")
        if len(words) == 3:
            words = [words[0], words[1], words[0], words[2]]
        plain = all(Path(name).name == name for name in words[::2])
        if len(words) != 4 or not plain or not words[1].isdigit() or not words[3].isdigit():
            raise InputError(
                f"{Path(path).name}, line {number}: got {line!r}, expected name, number, number or two names"
            )
        first, second = (f"{name}/{name}_{int(i):04d}.jpg" for name, i in (words[:2], words[2:]))
        found.append((first, second, words[0] == words[2]))
    return found
