"""The photos of the face viewer: read one by one, and shown beside the head with what was found in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING

from crimeface_lib.apps.face_parts import draw_photo, plain_words
from crimeface_lib.core.errors import ImageError, NoFaceError
from crimeface_lib.core.types import ImageArray

if TYPE_CHECKING:
    from crimeface_lib.faces import Face
    from crimeface_lib.reconstruction import Observation


@dataclass(frozen=True, slots=True)
class Photo:
    """A photo that was read.

    Parameters
    ----------
    name : the file's, for the visitor's eyes only.
    source : bytes of an image file, or (H, W, 3) uint8 RGB.
    faces : largest first; index : which of them is used.
    seen : None where the photo can't be used, and problem says why.
    sentence : which face of how many is used.
    """

    name: str
    source: bytes | ImageArray = field(repr=False)
    faces: tuple[Face, ...] = ()
    index: int = 0
    seen: Observation | None = field(default=None, repr=False)
    sentence: str = ""
    problem: str = ""


def read_photo(name: str, source: bytes | ImageArray, *, which: int | None = None) -> Photo:
    """Return the photo with its faces and the points of the one used; what is wrong with it is in ``problem``.

    Parameters
    ----------
    which : which face, 0 is the largest, which is the default.
    """
    from crimeface_lib.faces import choose_face, detect_faces
    from crimeface_lib.reconstruction import observe

    try:
        seen = observe(source, which="largest" if which is None else which)
    except (ImageError, NoFaceError) as error:
        return Photo(name, source, problem=plain_words(error))
    faces = tuple(detect_faces(seen.photo))
    if which is None:
        choice = choose_face(faces)
        return Photo(name, source, faces, choice.index, seen, choice.sentence)
    sentence = f"{len(faces)} faces were found; number {which + 1} ({seen.face.width:.0f} px wide) is used."
    return Photo(name, source, faces, which, seen, sentence)


def gallery(photos: Sequence[Photo], active: Photo | None) -> str:
    """Return HTML: the photos in use with boxes and points, the ``active`` one framed, then those left out and why."""
    used, many = [photo for photo in photos if photo.seen is not None], len(photos) > 1
    shown = []
    for number, photo in enumerate(used, 1):
        assert photo.seen is not None
        picture = draw_photo(photo.seen.photo, photo.faces, photo.index, points=photo.seen.view.points)
        caption = f"<figcaption>{number}: {escape(photo.name)}</figcaption>" if many else ""
        chosen = ' class="cf-chosen"' if many and photo is active else ""
        shown.append(f"<figure{chosen}>{picture}{caption}</figure>")
    left_out = [f"<p>{escape(f'{photo.name}: {photo.problem}')}</p>" for photo in photos if many and photo.problem]
    return f'<div class="cf-gallery{" cf-many" if many else ""}">{"".join(shown)}</div>{"".join(left_out)}'
