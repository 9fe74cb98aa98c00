"""A linear 3D morphable face model, whatever file it came from."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from crimeface_lib.core.arrays import check_array
from crimeface_lib.core.display import Shown
from crimeface_lib.core.errors import InputError, MissingArtifactError, ShapeError
from crimeface_lib.core.files import write_atomic
from crimeface_lib.core.plugins import load_backend


@dataclass(frozen=True, slots=True, weakref_slot=True, repr=False, eq=False)
class MorphableModel(Shown):
    """Mean + identity + expression, in millimetres, head frame: x right of the picture (the subject's
    left), y up, z out of the face.

    Parameters
    ----------
    name : "ict", "builtin", ...
    licence, source, version : what reports print about it; ``version`` is a content hash or a commit.
    mean : (V, 3) float64, mm.
    identity : (K, V, 3) float32, mm per standard deviation: draw coefficients from N(0, 1).
    expression : (E, V, 3) float32, mm per unit.
    expression_names : E names.
    expression_bounds : lowest and highest sensible coefficient ((0, 1) for blendshapes).
    expression_sd : prior standard deviation of one expression coefficient.
    triangles : (T, 3) int32, counter-clockwise seen from outside.
    uv : (U, 2) float64 in [0, 1], origin at the bottom left as in OBJ.
    triangles_uv : (T, 3) int32 into ``uv``.
    landmark_triangles, landmark_weights : (68,) int32 and (68, 3) float64: Multi-PIE/iBUG 68 points as
        barycentric points on triangles (a vertex is a triangle with weights 1, 0, 0).
    contour : 17 int32 arrays, one for each jaw landmark 0–16: the vertices along which the silhouette
        point may slide when the head turns, ordered from the cheek outwards. May be empty arrays.
    regions : named vertex ranges (start, stop); "face" always present: what is fitted and textured first.
    """

    name: str
    licence: str
    source: str
    version: str
    mean: np.ndarray
    identity: np.ndarray
    expression: np.ndarray
    expression_names: tuple[str, ...]
    expression_bounds: tuple[float, float]
    expression_sd: float
    triangles: np.ndarray
    uv: np.ndarray
    triangles_uv: np.ndarray
    landmark_triangles: np.ndarray
    landmark_weights: np.ndarray
    contour: tuple[np.ndarray, ...]
    regions: dict[str, tuple[int, int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        vertices = len(self.mean)
        check_array(self.mean, shape=(None, 3), name="mean")
        check_array(self.identity, shape=(None, vertices, 3), name="identity", dtype=np.float32)
        check_array(self.expression, shape=(None, vertices, 3), name="expression", dtype=np.float32)
        check_array(self.uv, shape=(None, 2), name="uv")
        check_array(self.triangles_uv, shape=(len(self.triangles), 3), name="triangles_uv", dtype=np.int64)
        check_array(self.landmark_weights, shape=(68, 3), name="landmark_weights")
        check_array(self.landmark_triangles, shape=(68,), name="landmark_triangles", dtype=np.int64)
        for name, array, top in (
            ("triangles", self.triangles, vertices),
            ("triangles_uv", self.triangles_uv, len(self.uv)),
            ("landmark_triangles", self.landmark_triangles, len(self.triangles)),
            *((f"contour {number}", line, vertices) for number, line in enumerate(self.contour) if len(line)),
        ):
            if array.min() < 0 or array.max() >= top:
                raise ShapeError(f"{name}: got indices {array.min()}…{array.max()}, expected 0…{top - 1}")
        if len(self.expression_names) != len(self.expression):
            raise ShapeError(f"expression_names: got {len(self.expression_names)}, expected {len(self.expression)}")
        if len(self.contour) not in (0, 17):
            raise ShapeError(f"contour: got {len(self.contour)} lines, expected 17, or none")
        if "face" not in self.regions:
            raise ShapeError(f"regions: got {sorted(self.regions)}, expected one called 'face'")

    def __repr__(self) -> str:
        return (
            f"MorphableModel({self.name!r}, {len(self.mean):,} vertices, {len(self.identity)} identity and "
            f"{len(self.expression)} expression modes, {self.licence})"
        )

    def decode(self, identity: np.ndarray | None = None, expression: np.ndarray | None = None) -> np.ndarray:
        """Return the (V, 3) vertices in mm for coefficients of length at most K and E (missing ones are 0)."""
        vertices = self.mean.copy()
        for coefficients, basis, name in (
            (identity, self.identity, "identity"),
            (expression, self.expression, "expression"),
        ):
            if coefficients is None:
                continue
            values = check_array(coefficients, shape=(None,), name=name)
            if len(values) > len(basis):
                raise ShapeError(f"{name}: got {len(values)} coefficients, expected at most {len(basis)}")
            flat = basis[: len(values)].reshape(len(values), vertices.size)
            vertices += (values.astype(basis.dtype) @ flat).reshape(vertices.shape)  # bases stay float32
        return vertices

    def landmarks(self, vertices: np.ndarray) -> np.ndarray:
        """Return the (68, 3) landmark points on decoded ``vertices`` (V, 3)."""
        corners = vertices[self.triangles[self.landmark_triangles]]
        return np.einsum("lc,lcd->ld", self.landmark_weights, corners)

    def save(self, path: str | Path) -> None:
        """Write the model to an npz that ``load_morphable_model(path=...)`` reads back, bases as float32."""
        text = {key: getattr(self, key) for key in _TEXT} | {"contour_lengths": [len(line) for line in self.contour]}
        buffer = io.BytesIO()
        np.savez_compressed(
            buffer,
            text=np.array(json.dumps(text)),
            contour=np.concatenate([np.zeros(0, np.int32), *self.contour]),
            **{key: getattr(self, key) for key in _ARRAYS},
        )
        write_atomic(Path(path), buffer.getvalue())


_EYES = np.r_[45:41:-1, 47, 46, 39:35:-1, 41, 40]
_LIPS = np.r_[54:47:-1, 59:54:-1, 64:59:-1, 67:64:-1]
#: For each of the 68 landmarks, the one on the other side of the face.
LANDMARK_MIRROR = np.r_[16:-1:-1, 26:16:-1, 27:31, 35:30:-1, _EYES, _LIPS]
_TEXT = ("name", "licence", "source", "version", "expression_names", "expression_bounds", "expression_sd", "regions")
_ARRAYS = tuple(f.name for f in fields(MorphableModel) if f.name not in _TEXT and f.name != "contour")


def load_morphable_model(name: str = "auto", *, path: str | Path | None = None) -> MorphableModel:
    """Return a face model; which one it is, says ``model.name``.

    Parameters
    ----------
    name : an installed model ("ict", "builtin", ...); "auto" takes ICT-FaceKit where its file is in the
        data root or the cache, else the built-in head. Nothing is downloaded.
    path : with a name, the file or folder its loader reads; with "auto", an npz written by ``save``.

    Raises
    ------
    MissingBackendError : no model of that name is installed.
    MissingArtifactError : its file is not on this machine.
    InputError : the file is not a face model.

    >>> load_morphable_model("builtin").name
    'builtin'
    """
    if name == "auto" and path is not None:
        return _read_model(Path(path))
    if name == "auto":
        from crimeface_lib.core.artifacts import locate
        from crimeface_lib.reconstruction.artifact import ICT

        name = "ict" if locate(ICT) else "builtin"
    model: MorphableModel = load_backend("morphable_models", name)(path=path)
    return model


def _read_model(path: Path) -> MorphableModel:
    data: dict[str, Any] = dict(read_arrays(path, ("text", "contour", *_ARRAYS)))
    try:
        text = json.loads(str(data.pop("text")))
        lengths, flat = text.pop("contour_lengths"), data.pop("contour")
        contour = tuple(np.split(flat, np.cumsum(lengths)[:-1])) if lengths else ()
        text["regions"] = {key: (start, stop) for key, (start, stop) in text["regions"].items()}
        for key in ("expression_names", "expression_bounds"):
            text[key] = tuple(text[key])
        return MorphableModel(contour=contour, **text, **data)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path.name}: got no face model ({error}), expected an npz written by save") from error


def read_arrays(path: Path, needed: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Return the named arrays of an npz, no pickles.

    Raises
    ------
    MissingArtifactError : no such file.
    InputError : not an npz, truncated, or arrays are missing.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            missing = sorted(set(needed) - set(archive.files))
            if missing:
                raise InputError(f"{path.name}: got {sorted(archive.files)}, expected also {missing}")
            return {key: archive[key] for key in needed}
    except FileNotFoundError as error:
        raise MissingArtifactError(f"no face model at {path}") from error
    except (zipfile.BadZipFile, OSError, EOFError, AttributeError) as error:
        raise InputError(f"{path.name}: not a readable npz ({error})") from error
    except ValueError as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path.name}: not a readable npz ({error})") from error
