"""Our own morphable head: sculpted by code from published measurements, so it needs no file and no network.

It holds no scan and no vertex of another model. The form is composed of smooth solids placed on anatomical
landmarks (``builtin_shape``), laid out on a cylindrical chart (``builtin_chart``, ``builtin_head``) and
then moved so that its distances are the published means (``builtin_measure`` has the table and the sources);
identity modes change one measurement each by one published SD (``builtin_modes``). What no published
distance fixes is sculpted by eye and its SDs are estimates; a face fitted with it is plausible, while
depth is known less well than from a model learnt on scans.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

import numpy as np

from crimeface_lib.core.errors import InputError
from crimeface_lib.core.types import FloatArray
from crimeface_lib.reconstruction import builtin_shape as shape
from crimeface_lib.reconstruction.builtin_chart import BALL, MOUTH, RADIUS, width
from crimeface_lib.reconstruction.builtin_expressions import expressions
from crimeface_lib.reconstruction.builtin_head import Head, build_head
from crimeface_lib.reconstruction.builtin_landmarks import landmarks_68
from crimeface_lib.reconstruction.builtin_measure import Landmarks
from crimeface_lib.reconstruction.builtin_modes import calibrate
from crimeface_lib.reconstruction.contour import contour_lines
from crimeface_lib.reconstruction.morphable import MorphableModel


def load_builtin(path: str | Path | None = None) -> MorphableModel:
    """Return the built-in head: mean of published measurements, identity modes of one SD, blendshapes.

    Built once a process, in two to three seconds of one processor; nothing is read or written.

    Parameters
    ----------
    path : must be None; there because every model loader has it.

    Raises
    ------
    InputError : a path was given.

    >>> load_builtin().name
    'builtin'
    """
    if path is not None:
        raise InputError(
            f"path: got {str(path)!r}, expected None: the built-in head is made by code, not read from a file"
        )
    return _build()


@lru_cache(maxsize=1)
def _build() -> MorphableModel:
    head, regions = _arrange(build_head())
    mean, identity, _ = calibrate(head, Landmarks(head))
    blend = expressions(head, mean)
    uv, triangles_uv = _texture_layout(head)
    corners, weights, jaw = landmarks_68(head, mean)
    identity32 = identity.astype(np.float32)
    digest = hashlib.sha256(mean.round(4).tobytes() + np.round(identity32, 4).tobytes()).hexdigest()
    return MorphableModel(
        name="builtin",
        licence="MIT, made by this project",
        source="made by code from published measurements (ANSUR II 2012, NIOSH 2005, Farkas 1994) and estimates",
        version=digest[:12],
        mean=mean,
        identity=identity32,
        expression=np.stack(list(blend.values())).astype(np.float32),
        expression_names=tuple(blend),
        expression_bounds=(0.0, 1.0),
        expression_sd=0.35,
        triangles=head.triangles.astype(np.int32),
        uv=uv,
        triangles_uv=triangles_uv.astype(np.int32),
        landmark_triangles=corners.astype(np.int32),
        landmark_weights=weights,
        contour=contour_lines(mean, jaw, np.arange(*regions["face_skin"])),
        regions=regions,
    )


def _arrange(head: Head) -> tuple[Head, dict[str, tuple[int, int]]]:
    """Sort vertices by region: skin of the face, eyeballs, inside of the mouth, then the rest of the head."""
    x, t = np.abs(head.chart[:, 0]), head.chart[:, 1]
    place = np.full(len(x), 3)
    place[(x < 116) & (t > -128) & (t < 85) & (head.kind == 0)] = 0
    place[head.kind == BALL] = 1
    place[head.kind == MOUTH] = 2
    order = np.argsort(place, kind="stable")
    new = np.empty_like(order)
    new[order] = np.arange(len(order))
    ends = np.searchsorted(place[order], [0, 1, 2, 3, 4])
    names = ("face_skin", "eyes", "mouth", "head")
    regions = {name: (int(a), int(b)) for name, a, b in zip(names, ends, ends[1:], strict=False)}
    regions["face"] = (0, regions["mouth"][1])
    arranged = Head(
        vertices=head.vertices[order],
        triangles=new[head.triangles],
        chart=head.chart[order],
        mirror=new[head.mirror[order]],
        kind=head.kind[order],
        groups={name: new[row] for name, row in head.groups.items()},
    )
    return arranged, regions


def _texture_layout(head: Head) -> tuple[FloatArray, np.ndarray]:
    """The chart as UV, the face widened, cut along the back of the head."""
    back = np.pi * width(head.chart[:, 1])
    on_seam = (head.chart[:, 0] > back - 1e-6) & (back > 1e-6)
    chart = np.vstack([head.chart, head.chart[on_seam] * [-1, 1]])
    twin = np.arange(len(head.chart))
    twin[on_seam] = len(head.chart) + np.arange(on_seam.sum())
    right_side = head.chart[head.triangles].mean(1)[:, 0] < 0
    left_only = (~on_seam[head.triangles] * head.chart[head.triangles][..., 0]).min(1) >= 0
    triangles = np.where((~left_only | right_side)[:, None], twin[head.triangles], head.triangles)
    stretch = 2.5
    u = 0.5 + 0.5 * np.arcsinh(stretch * chart[:, 0] / (np.pi * RADIUS)) / np.arcsinh(stretch)
    v = (chart[:, 1] - shape.BASE) / (shape.CROWN - shape.BASE)
    return np.clip(np.stack([u, v], axis=1), 0, 1), triangles
