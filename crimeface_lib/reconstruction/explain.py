"""What a reader of a reconstruction is told: what light and pixels added, what was seen, how sure size and lens are."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from crimeface_lib.core.display import table_html
from crimeface_lib.core.errors import InputError
from crimeface_lib.core.results import Result
from crimeface_lib.metrics.surface import align
from crimeface_lib.reconstruction.camera import Camera
from crimeface_lib.reconstruction.fit import Fit, fit_landmarks
from crimeface_lib.reconstruction.light import FRONTAL, harmonics
from crimeface_lib.reconstruction.portrait import Observation, Reconstruction
from crimeface_lib.reconstruction.shade import render
from crimeface_lib.reconstruction.uncertainty import vertex_normals

if TYPE_CHECKING:
    import pandas as pd

#: Colours of texels that were seen, mirrored and filled in (Okabe and Ito's blue and orange, and a light grey).
SEEN, MIRRORED, FILLED = (86, 180, 233), (230, 159, 0), (222, 222, 222)
#: The light is called even where its brightest side is less than this much brighter than its mean.
_EVEN = 0.12
#: Parts of a direction (unit vector) from which on a side is named.
_NAMED = 0.38


@dataclass(frozen=True, slots=True, repr=False)
class Explanation(Result):
    """What became of one photo.

    Parameters
    ----------
    pictures : name → (S, S, 3) uint8, the face as the photo's camera saw it: the photo, the fitted head and, where
        the light is known, the head without it; and the head from the front in a soft light.
    moved_mm : (V,) mm by which the pixels moved the surface from that of the landmarks, pose and size taken out.
    sentences : (about, sentence) for the reader.
    """

    pictures: dict[str, np.ndarray] = field(repr=False)
    moved_mm: np.ndarray = field(repr=False)
    sentences: tuple[tuple[str, str], ...]

    def to_frame(self) -> pd.DataFrame:
        """Return one row a sentence."""
        import pandas as pd

        return pd.DataFrame(self.sentences, columns=["about", "what is known"])

    def to_dict(self) -> dict[str, Any]:
        return dict(self.sentences)

    def _repr_html_(self) -> str:
        return table_html(self.to_frame())


def explain_photos(face: Reconstruction, taken: list[Observation], *, photo: int = 0, size: int = 360) -> Explanation:
    """Return what the photos told of a face beyond its landmarks, and what they left open.

    Parameters
    ----------
    face : made from the photos.
    taken : what ``observe`` returned of each photo.
    photo : the photo that is pictured and whose camera and light are put into words.
    size : px along a side of the pictures.

    Raises
    ------
    InputError : another number of photos than the face was made from.
    """
    if len(taken) != len(face.cameras):
        raise InputError(f"taken: got {len(taken)} photos, expected the {len(face.cameras)} of the reconstruction")
    before = fit_landmarks(face.model, [one.view for one in taken])
    moved = _moved(face, before)
    known = len(face.lighting) > 0
    whole, close = taken[photo].photo, _close(face, photo, size)
    lit = {"without the photo's light": face.render(close, what="albedo", expression=photo)} if known else {}
    pictures = {
        "photo": _cut(whole, face.cameras[photo], close),
        "fitted head, same camera": face.render(close, expression=photo),
        **lit,
        "from the front, soft light" if known else "from the front": face.frontal(size),
    }
    sentences = [
        ("shape", _shape_in_words(face, moved)),
        ("light", _light_in_words(face.lighting[photo]) if known else "Not told from skin colour."),
        ("texture", _texture_in_words(face)),
        ("size", _size_in_words(face)),
        ("lens", _lens_in_words(face, photo)),
    ]
    return Explanation(pictures, moved, tuple(sentences))


def render_origin(face: Reconstruction, view: str = "frontal", *, size: int = 512) -> np.ndarray:
    """Return a (size, size, 3) uint8 picture of where each part of the texture comes from: ``SEEN``, ``MIRRORED``
    from the other side, or ``FILLED`` in with skin tone, blended as they are."""
    seen, other = face.baked.observed[..., None], face.baked.mirrored[..., None]
    coded = seen * SEEN + other * MIRRORED + (1 - seen - other) * np.array(FILLED)
    mesh = replace(face.mesh(True), texture=np.clip(coded, 0, 255).astype(np.uint8))
    return render(mesh, face.look(view, size=size, close=True), lighting=FRONTAL)


def _moved(face: Reconstruction, before: Fit) -> np.ndarray:
    """Return (V,) mm between the neutral heads before and after the pixels had their say."""
    first, second = face.model.decode(before.identity), face.model.decode(face.fit.identity)
    start, stop = face.model.regions["face"]
    distance: np.ndarray = np.linalg.norm(align(first[start:stop], second[start:stop]).apply(first) - second, axis=1)
    return distance * face.scale


def _front(face: Reconstruction) -> np.ndarray:
    """Return (V,) bool, the skin from the brows to the chin and from cheek to cheek that faces forwards."""
    mesh, (start, stop) = face.mesh(), face.model.regions["face"]
    points = face.model.landmarks(mesh.vertices)
    low, high = points.min(0)[:2], points.max(0)[:2]
    inside: np.ndarray = ((mesh.vertices[:, :2] > low) & (mesh.vertices[:, :2] < high)).all(1)
    inside &= vertex_normals(mesh.vertices, mesh.triangles)[:, 2] > 0.2
    inside &= mesh.vertices[:, 2] > points[:17, 2].min()
    inside[:start], inside[stop:] = False, False
    return inside


def _close(face: Reconstruction, photo: int, size: int) -> Camera:
    """Return the photo's camera, cut to a square round the face and scaled."""
    points, camera = face.landmarks(photo), face.cameras[photo]
    low, high = points.min(0), points.max(0)
    half = 0.85 * float((high - low).max())
    corner, factor = (low + high) / 2 - half, size / (2 * half)
    return Camera(
        camera.rotation, camera.translation, camera.focal * factor, (camera.principal - corner) * factor, (size, size)
    )


def _cut(photo: np.ndarray, camera: Camera, close: Camera) -> np.ndarray:
    """Return the part of the photo that ``close`` sees; light grey beyond its edge."""
    import cv2

    factor = close.focal / camera.focal
    shift = close.principal - camera.principal * factor
    step = max(1, int(1 / factor))  # a large photo is made smaller by means, not by leaving pixels out
    small = cv2.resize(photo, None, fx=1 / step, fy=1 / step, interpolation=cv2.INTER_AREA) if step > 1 else photo
    across, down = small.shape[1] / photo.shape[1], small.shape[0] / photo.shape[0]
    into = np.array([[factor / across, 0, shift[0]], [0, factor / down, shift[1]]])
    into[:, 2] += 0.5 * (into[[0, 1], [0, 1]] - 1)  # cameras count from the corner of a pixel, OpenCV from its centre
    cut: np.ndarray = cv2.warpAffine(small, into, close.size[::-1], flags=cv2.INTER_LINEAR, borderValue=(240,) * 3)
    return cut


def _shape_in_words(face: Reconstruction, moved: np.ndarray) -> str:
    if face.shading is None:
        return "That of the landmarks alone: the pixels were not asked (photometric: false)."
    if not face.shading.refined:
        return "That of the landmarks alone: what the pixels said was not credible, and the warnings say why."
    middle, most = np.percentile(moved[_front(face)], [50, 99])
    return (
        f"The pixels moved the face's surface by {middle:.1f} mm in the median, at most {most:.1f} mm, "
        "from the shape that the landmarks alone gave."
    )


def _light_in_words(lighting: np.ndarray) -> str:
    """Return from where a light (9, 3) falls; red, green and blue weighted as the eye does."""
    grey = lighting @ np.array([0.2126, 0.7152, 0.0722])
    side = grey[1:4] / max(float(np.linalg.norm(grey[1:4])), 1e-9)
    brighter = float(harmonics(side) @ grey / grey[0])
    if brighter < 1 + _EVEN:
        return "Falls evenly from all sides."
    x, y, z = side
    sides = [
        "the left of the picture" if x < -_NAMED else "the right of the picture" if x > _NAMED else "",
        "above" if y > _NAMED else "below" if y < -_NAMED else "",
        "the front" if z > 0.7 else "behind" if z < -_NAMED else "",
    ]
    said = " and ".join(side for side in sides if side)
    return f"Falls mainly from {said}; the side towards it gets {brighter:.1f} times the mean light."


def _texture_in_words(face: Reconstruction) -> str:
    """Return the shares of the face from brows to chin, by surface."""
    mesh = face.mesh()
    rows = _front(face)[mesh.triangles].all(1)
    a, b, c = np.moveaxis(mesh.vertices[mesh.triangles[rows]], 1, 0)
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1)
    place = mesh.uv[mesh.triangles_uv[rows]].mean(1) * [1, -1] + [0, 1]
    side = len(face.baked.observed)
    column, row = np.clip((place * side).astype(int), 0, side - 1).T
    seen, other = (float(np.average(part[row, column], weights=area))
                   for part in (face.baked.observed, face.baked.mirrored))  # fmt: skip
    return (
        f"{seen:.0%} of the face, from brows to chin, was seen, {other:.0%} is mirrored from the other side, "
        f"{max(0.0, 1 - seen - other):.0%} is filled in with skin tone."
    )


def _size_in_words(face: Reconstruction) -> str:
    if face.scale != 1.0:
        return f"Fixed by the distance between the pupils that was given (the average head times {face.scale:.3f})."
    spread = face.fit.scale_sd
    return (
        f"Not told by a photo: that of the average head, ± {spread:.1%} (one standard deviation). "
        f"What measures 60 mm here may as well be {60 * (1 - spread):.0f} or {60 * (1 + spread):.0f} mm."
    )


def _lens_in_words(face: Reconstruction, photo: int) -> str:
    camera, spread = face.cameras[photo], float(face.fit.focal_sd[photo]) / face.cameras[photo].focal
    found = [part for part in face.sentences[photo].split(". ") if part.startswith("Focal length")]
    where = f"{found[0].removesuffix('.')}. " if found else ""
    return (
        f"{where}{camera.focal:,.0f} px ± {spread:.0%}, so the camera stood some "
        f"{np.linalg.norm(camera.centre) / 1000:.1f} m away, ± {spread:.0%}; the nearer, the more the nose stands out."
    )
