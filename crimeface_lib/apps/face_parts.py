"""What the face viewer shows, without its widgets: the photo with what was found in it, sliders, words, files."""

from __future__ import annotations

import base64
import re
import tempfile
import zipfile
from collections.abc import Sequence
from html import escape
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from crimeface_lib.core.errors import CrimefaceError, ImageError, NoFaceError
from crimeface_lib.core.types import FloatArray, ImageArray
from crimeface_lib.reporting.style import ORANGE, PAPER, SKY

if TYPE_CHECKING:
    from crimeface_lib.faces import Face, Landmarks
    from crimeface_lib.reconstruction import Mesh

#: Slider and the names of its modes, of either face model, without side and underscores.
EXPRESSIONS = {
    "Open mouth": ("jawopen",),
    "Smile": ("mouthsmile", "smile"),
    "Pucker lips": ("mouthpucker", "lipspucker"),
    "Raise brows": ("browinnerup", "browouterup"),
    "Close eyes": ("eyeblink", "blink"),
}
_KINDS = {"GLB": "model/gltf-binary", "OBJ": "application/zip", "PLY": "application/octet-stream"}
_WIDTH = 640  # px of the picture sent to the page


def expression_groups(names: Sequence[str]) -> dict[str, list[int]]:
    """Return for each slider the indices of the modes it moves; sliders without a mode are left out.

    >>> expression_groups(("jawOpen", "mouthSmile_L", "mouthSmile_R", "noseSneer_L"))
    {'Open mouth': [0], 'Smile': [1, 2]}
    >>> expression_groups(("smile_left", "smile_right", "jaw_side"))
    {'Smile': [0, 1]}
    """
    plain = [re.sub(r"_(l|r|left|right)$", "", name.lower()).replace("_", "") for name in names]
    groups = {label: [i for i, name in enumerate(plain) if name in wanted] for label, wanted in EXPRESSIONS.items()}
    return {label: modes for label, modes in groups.items() if modes}


def draw_photo(
    image: ImageArray,
    faces: Sequence[Face],
    index: int,
    *,
    landmarks: Landmarks | None = None,
    points: FloatArray | None = None,
) -> str:
    """Return an SVG: the photo, cut to what matters, the faces boxed and numbered, and the points of the one used.

    Parameters
    ----------
    image : (H, W, 3) uint8 RGB.
    index : which of ``faces`` is used.
    landmarks : its points, or where only those are at hand, points : (68, 2) px from the corner of the photo.
    """
    from PIL import Image

    left, top, right, bottom = _frame(image, faces)
    width, height = right - left, bottom - top
    unit = width / 320.0  # photo px for a CSS px at the size shown
    file = BytesIO()
    picture = Image.fromarray(image[top:bottom, left:right])
    picture.thumbnail((_WIDTH, 2 * _WIDTH))
    picture.save(file, format="JPEG", quality=85)
    parts = [
        f'<image width="{width}" height="{height}" preserveAspectRatio="none" '
        f'href="data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"/>'
    ]
    for number, face in enumerate(faces):
        x, y = face.box[0] - left, face.box[1] - top
        colour = ORANGE if number == index else PAPER
        parts.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{face.width:.1f}" height="{face.height:.1f}" fill="none" '
            f'stroke="{colour}" stroke-width="{1.6 * unit:.2f}"/>'
        )
        if len(faces) > 1:
            parts.append(
                f'<text x="{x + 4 * unit:.1f}" y="{y + 15 * unit:.1f}" font-size="{13 * unit:.1f}" '
                f'font-weight="700" fill="{colour}">{number + 1}</text>'
            )
    if landmarks is not None:
        points = landmarks.points + 0.5
    if points is not None:
        shown = points - (left, top)
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{1.9 * unit:.2f}" fill="{SKY}"/>' for x, y in shown]
    what = f"The photo; {len(faces)} face(s) found, number {index + 1} is used"
    return f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{what}">{"".join(parts)}</svg>'


def _frame(image: ImageArray, faces: Sequence[Face]) -> tuple[int, int, int, int]:
    """Return the part of the photo that is shown: all faces with a margin, so that the points can be seen."""
    height, width = image.shape[:2]
    boxes = np.array([face.box for face in faces])
    low, high = boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)
    margin = 0.6 * max(face.width for face in faces)
    left, top = (int(v) for v in np.maximum(low - margin, 0))
    right, bottom = (int(v) for v in np.minimum(high + margin, (width, height)))
    return left, top, right, bottom


def sample_photo() -> ImageArray:
    """Return scikit-image's public-domain portrait of the astronaut Eileen Collins, (512, 512, 3) uint8 RGB."""
    from skimage import data

    return np.ascontiguousarray(data.astronaut())


def plain_words(error: CrimefaceError) -> str:
    """Return what a visitor reads instead of an error message."""
    from PIL import UnidentifiedImageError

    if isinstance(error, NoFaceError):
        return (
            "No face was found in this photo. Choose one where the face is larger, sharper or seen more from the front."
        )
    if isinstance(error, ImageError) and isinstance(error.__cause__, UnidentifiedImageError):
        return "This file is not a photo that can be read. Choose a JPEG, PNG, TIFF, BMP or WebP file."
    return str(error)


def model_file(mesh: Mesh, kind: str) -> bytes:
    """Return the head as the bytes of a "GLB" or "PLY" file, or for "OBJ" of a zip with its three files."""
    with tempfile.TemporaryDirectory() as folder:
        files = mesh.export(Path(folder) / f"face.{kind.lower()}")
        if len(files) == 1:
            return files[0].read_bytes()
        packed = BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            for file in files:
                archive.write(file, file.name)
        return packed.getvalue()


def file_links(mesh: Mesh, note: str) -> str:
    """Return links that hold the head as files: nothing is left on disk."""
    links = []
    for kind, mime in _KINDS.items():
        data, suffix = model_file(mesh, kind), "zip" if kind == "OBJ" else kind.lower()
        links.append(
            f'<a download="face.{suffix}" href="data:{mime};base64,{base64.b64encode(data).decode()}" '
            f'title="{len(data) / 1e6:.1f} MB">{kind}</a>'
        )
    return f'{"".join(links)}<p class="cf-note">{escape(note)}</p>'
