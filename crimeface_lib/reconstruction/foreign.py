"""A face model out of somebody else's file becomes ours: millimetres, head frame, landmarks, texture layout.

What the files lack is made here and said in ``source``: landmarks that no table names are found by the
landmarker in a picture of the mean head from the front; the texture layout is ``unwrap``'s; jaw contours are
``contour_lines``'.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from crimeface_lib.core.arrays import check_array
from crimeface_lib.core.errors import InputError, MissingArtifactError, NoFaceError
from crimeface_lib.core.types import FloatArray, IntArray
from crimeface_lib.reconstruction.camera import Camera
from crimeface_lib.reconstruction.contour import contour_lines
from crimeface_lib.reconstruction.morphable import LANDMARK_MIRROR, MorphableModel
from crimeface_lib.reconstruction.rasterize import rasterize
from crimeface_lib.reconstruction.uncertainty import vertex_normals
from crimeface_lib.reconstruction.unwrap import unwrap

#: Landmark 0–67 -> triangle, and the weights of its three corners.
Places = dict[int, tuple[int, FloatArray]]
_PICTURE = 640
_LIKELY_HEIGHT = (100.0, 600.0)  # mm, from a mask of the face to a head with its shoulders


@dataclass(frozen=True, slots=True)
class Raw:
    """What a file holds, in its own unit: mean (V, 3), bases (K, V, 3) and (E, V, 3) per standard deviation
    or unit, triangles (T, 3) of either winding, and the landmarks it names."""

    mean: FloatArray
    identity: FloatArray
    expression: FloatArray
    triangles: IntArray
    places: Places


def locate_file(path: str | Path | None, *, model: str, names: tuple[str, ...], where: str) -> Path:
    """Return the model's file: ``path`` itself, or the first of ``names`` in the folder ``path``.

    Raises
    ------
    MissingArtifactError : no path, or nothing there; the message says where the file comes from.
    """
    wanted = " or ".join(names)
    if path is None:
        raise MissingArtifactError(f"{model}: got no path, expected your copy of {wanted}; {where}")
    place = Path(path)
    if place.is_dir():
        found = [place / name for name in names if (place / name).is_file()]
        if not found:
            raise MissingArtifactError(f"{model}: no {wanted} in folder {place.name}; {where}")
        return found[0]
    if not place.is_file():
        raise MissingArtifactError(f"{model}: no file {place}; {where}")
    return place


def companion(file: Path, *names: str) -> Path | None:
    """Return the first of ``names`` that lies beside ``file``."""
    return next((file.with_name(name) for name in names if file.with_name(name).is_file()), None)


def read_mapping(file: Path, *, vertices: int) -> dict[int, int]:
    """Return landmark (0–67) -> vertex from eos' text: one line ``18 = 225  # comment`` each, counted from 1.

    Raises
    ------
    InputError : no such line, a landmark beyond 68, or a vertex that the model has not.
    """
    pairs = re.findall(r"^\s*(\d+)\s*=\s*(\d+)\s*(?:#.*)?$", file.read_text(encoding="utf-8", errors="replace"), re.M)
    mapping = {int(landmark) - 1: int(vertex) for landmark, vertex in pairs}
    bad = {k + 1: v for k, v in mapping.items() if not (0 <= k < 68 and v < vertices)}
    if not mapping or bad:
        raise InputError(
            f"{file.name}: got {bad or 'no mapping'}, expected lines 'landmark = vertex' with landmarks 1–68 "
            f"and vertices below {vertices}"
        )
    return mapping


def read_contours(file: Path, mean: FloatArray) -> dict[int, int]:
    """Return jaw landmarks 0–7 and 9–16 -> vertex from eos' contour file, evenly along each side of the jaw.

    Raises
    ------
    InputError : not that file, or vertices that the model has not.
    """
    from scipy.optimize import linear_sum_assignment

    try:
        lines = json.loads(file.read_text())["model_contour"]
        right, left = (check_array(lines[f"{side}_contour"], shape=(None,), name=side, dtype=np.int64)
                       for side in ("right", "left"))  # fmt: skip
        points = [mean[line] for line in (right, left)]
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise InputError(
            f"{file.name}: got {type(error).__name__} ({error}), expected eos' model_contour with right_contour and "
            "left_contour"
        ) from error
    if min(len(right), len(left)) < 8:
        raise InputError(f"{file.name}: got {len(right)} and {len(left)} vertices, expected at least 8 a side")
    jaw: dict[int, int] = {}
    for line, place, landmarks in ((right, points[0], range(8)), (left, points[1], range(16, 8, -1))):
        down = np.argsort(-place[:, 1])
        way = np.r_[0, np.cumsum(np.linalg.norm(np.diff(place[down], axis=0), axis=1))]
        _, chosen = linear_sum_assignment(np.abs(way - way[-1] * np.arange(8)[:, None] / 8))  # no vertex twice
        jaw.update(zip(landmarks, line[down][chosen].tolist(), strict=True))
    return jaw


def vertex_places(mapping: dict[int, int], triangles: IntArray) -> Places:
    """Return landmarks that are vertices as ``Places``.

    Raises
    ------
    InputError : a vertex in no triangle.
    """
    places: Places = {}
    for landmark, vertex in mapping.items():
        where = np.argwhere(triangles == vertex)
        if not len(where):
            raise InputError(f"landmark {landmark + 1}: got vertex {vertex}, expected one that a triangle has")
        places[landmark] = int(where[0, 0]), np.eye(3)[where[0, 1]]
    return places


def adopt(
    raw: Raw,
    *,
    name: str,
    licence: str,
    source: str,
    unit_mm: float,
    expression_names: tuple[str, ...],
    expression_bounds: tuple[float, float],
    expression_sd: float,
    parts: dict[str, tuple[int, int]] | None = None,
) -> MorphableModel:
    """Return the MorphableModel for what a file holds.

    Parameters
    ----------
    unit_mm : millimetres in one unit of the file.
    parts : named vertex ranges that are not skin (eyeballs).

    Raises
    ------
    InputError, ShapeError : not a head: wrong shapes or indices, NaN, or a size no head has.
    NoFaceError : landmarks are missing from the file, and none were found on a picture of the mean head.
    """
    mean = check_array(raw.mean, shape=(None, 3), name=f"{name}: mean") * unit_mm
    triangles = check_array(raw.triangles, shape=(None, 3), name=f"{name}: triangles", dtype=np.int32)
    if not len(triangles) or triangles.min() < 0 or triangles.max() >= len(mean):
        raise InputError(f"{name}: got triangles with vertices out of 0…{len(mean) - 1}, expected a mesh of the mean")
    height = float(np.ptp(mean[:, 1]))
    if not _LIKELY_HEIGHT[0] <= height <= _LIKELY_HEIGHT[1]:
        raise InputError(
            f"{name}: got a mean head {height:.3g} mm high at {unit_mm:g} mm a unit, expected "
            f"{_LIKELY_HEIGHT[0]:.0f}–{_LIKELY_HEIGHT[1]:.0f}; the file's unit or axes are not this model's"
        )
    places = raw.places
    if _inside_out(mean, triangles):
        triangles = np.ascontiguousarray(triangles[:, ::-1])
        places = {k: (triangle, weights[::-1]) for k, (triangle, weights) in places.items()}
    made = 68 - len(places)
    if made:
        places = {**_found_on_picture(mean, triangles, places, name=name), **places}
    chosen = np.array([places[k][0] for k in range(68)], np.int32)
    weights = np.stack([places[k][1] for k in range(68)])
    points = np.einsum("lc,lcd->ld", weights, mean[triangles[chosen]])
    mean = mean - [points[:, 0].mean(), *points[[0, 16], 1:].mean(0)]  # in the plane of symmetry, between the ears
    jaw = triangles[chosen[:17], weights[:17].argmax(1)]
    identity, expression = (np.asarray(basis * unit_mm, np.float32) for basis in (raw.identity, raw.expression))
    uv, triangles_uv = unwrap(mean, triangles)
    digest = hashlib.sha256(b"".join(a.tobytes() for a in (mean.astype("<f4"), identity, expression, triangles)))
    found = f"; {made} of 68 landmarks found by the landmarker on the mean head" if made else ""
    return MorphableModel(
        name=name, licence=licence, source=f"{source}{found}; texture layout made by this project",
        version=f"sha256:{digest.hexdigest()[:16]}", mean=mean, identity=identity, expression=expression,
        expression_names=expression_names, expression_bounds=expression_bounds, expression_sd=expression_sd,
        triangles=triangles, uv=uv, triangles_uv=triangles_uv, landmark_triangles=chosen,
        landmark_weights=weights, contour=contour_lines(mean, jaw, np.arange(len(mean))),
        regions={"face": (0, len(mean)), **(parts or {})},
    )  # fmt: skip


def _inside_out(mean: FloatArray, triangles: IntArray) -> bool:
    """Return whether triangles turn clockwise seen from outside; right for a closed head and for a mask."""
    a, b, c = (mean[triangles[:, k]] for k in range(3))
    behind = np.array([*((mean.min(0) + mean.max(0)) / 2)[:2], mean[:, 2].min()])
    return float((np.cross(b - a, c - a) * (a - behind)).sum()) < 0


def _found_on_picture(mean: FloatArray, triangles: IntArray, known: Places, *, name: str) -> Places:
    """Return all 68 landmarks as the landmarker sees them on the mean head from the front.

    The mean of what it finds in the picture and in its mirror image, moved (by the affine map that fits
    best) so that the known ones come to lie where they are.
    """
    from crimeface_lib.faces import detect_faces, find_landmarks

    front = mean[mean[:, 2] > np.median(mean[:, 2])]
    camera = Camera.look("frontal", front, size=_PICTURE, fill=0.7)
    xy, depth = camera.project(mean)
    seen = rasterize(xy, depth, triangles, height=_PICTURE, width=_PICTURE)
    normals = seen.interpolate(vertex_normals(mean, triangles), triangles)
    light = np.clip(normals @ np.array([0.2, 0.45, 0.87]), 0, 1)[:, None]
    picture = np.full((_PICTURE, _PICTURE, 3), 90, np.uint8)
    picture[seen.covered] = np.array([200.0, 160.0, 140.0]) * (0.25 + 0.85 * light).clip(0, 1.1)
    both = []
    for image in (picture, np.ascontiguousarray(picture[:, ::-1])):
        faces = detect_faces(image)
        if not faces:
            raise NoFaceError(
                f"{name}: the file names {len(known)} of 68 landmarks and no face was found on a picture of its mean "
                "head to place the others; give a landmark file beside it"
            )
        both.append(find_landmarks(image, faces[0]).points + 0.5)
    points = (both[0] + (both[1] * [-1, 1] + [_PICTURE, 0])[LANDMARK_MIRROR]) / 2
    if len(known) >= 4:
        rows = np.array(sorted(known))
        corners = xy[triangles[[known[k][0] for k in rows]]]
        target = np.einsum("lc,lcd->ld", np.stack([known[k][1] for k in rows]), corners)
        source = np.column_stack([points, np.ones(68)])
        points = source @ np.linalg.lstsq(source[rows], target, rcond=None)[0]
    inside = np.argwhere(seen.covered)
    places: Places = {}
    for landmark, (x, y) in enumerate(points):
        row, column = inside[np.argmin(((inside + 0.5 - [y, x]) ** 2).sum(1))]
        weights = np.asarray(seen.bary[row, column], np.float64)
        places[landmark] = int(seen.pix_to_face[row, column]), weights / weights.sum()
    return places
