"""The Surrey Face Model from the user's own eos file (``sfm_shape_3448.bin``), and any model saved by eos.

eos writes C++ objects with cereal's binary archive: little-endian numbers one after another, a matrix as
rows, columns (int32) and its float32 columns, a vector or string as its length (uint64) and its elements.
Nothing of it is executable, and every length is checked against what is left of the file.

References: Huber et al., "A Multiresolution 3D Morphable Face Model and Fitting Framework", VISAPP 2016;
github.com/patrikhuber/eos, include/eos/morphablemodel (versions 1–4 of the format).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from crimeface_lib.core.errors import InputError
from crimeface_lib.core.types import FloatArray
from crimeface_lib.reconstruction.foreign import (
    Raw,
    adopt,
    companion,
    locate_file,
    read_contours,
    read_mapping,
    vertex_places,
)
from crimeface_lib.reconstruction.morphable import MorphableModel

LICENCE = "Surrey Face Model: free for academic and non-commercial use only, University of Surrey; cite Huber 2016"


def load_surrey(path: str | Path | None = None) -> MorphableModel:
    """Return the Surrey Face Model as a MorphableModel.

    Parameters
    ----------
    path : eos' ``sfm_shape_3448.bin``, or the folder that has it (eos' ``share``). Used when they lie beside
        it: ``ibug_to_sfm.txt`` (landmarks), ``sfm_model_contours.json`` (jaw),
        ``expression_blendshapes_3448.bin`` (six expressions; without it the face stays neutral).

    Raises
    ------
    MissingArtifactError : no such file. InputError : not what eos writes, or damaged.
    """
    names = ("sfm_shape_3448.bin", "sfm_shape_1724.bin", "sfm_shape_16759.bin", "sfm_shape_29587.bin")
    file = locate_file(path, model="surrey", names=names, where="get it from github.com/patrikhuber/eos, folder share")
    archive = _Archive(file)
    shape, expression = _read_model(archive)
    blendshapes = companion(file, f"expression_blendshapes_{len(shape.mean)}.bin")
    if expression is None and blendshapes:
        expression = _read_blendshapes(_Archive(blendshapes), vertices=len(shape.mean))
    mapping, contours = companion(file, "ibug_to_sfm.txt"), companion(file, "sfm_model_contours.json")
    landmarks = read_mapping(mapping, vertices=len(shape.mean)) if mapping else {}
    if contours:
        landmarks = {**read_contours(contours, shape.mean), **landmarks}
    kept = expression or _Expression((), np.zeros((0, *shape.mean.shape)), (0.0, 1.0), 0.35)
    return adopt(
        Raw(shape.mean, shape.modes, kept.modes, shape.triangles, vertex_places(landmarks, shape.triangles)),
        name="surrey", licence=LICENCE, source=f"{file.name}, University of Surrey, read from the eos format",
        unit_mm=1.0, expression_names=kept.names, expression_bounds=kept.bounds, expression_sd=kept.sd,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Shape:
    mean: FloatArray  # (V, 3)
    modes: FloatArray  # (K, V, 3), one standard deviation each
    triangles: np.ndarray


@dataclass(frozen=True, slots=True)
class _Expression:
    names: tuple[str, ...]
    modes: FloatArray
    bounds: tuple[float, float]
    sd: float


class _Archive:
    """Reads cereal's binary archive from its beginning; nothing beyond its end."""

    def __init__(self, file: Path) -> None:
        self.name, self._data, self._at = file.name, file.read_bytes(), 0

    def numbers(self, kind: str, count: int) -> np.ndarray:
        """Return ``count`` numbers of a NumPy ``kind``."""
        size = np.dtype(kind).itemsize * count
        if count < 0 or size > len(self._data) - self._at:
            raise InputError(
                f"{self.name}: got {count:,} numbers announced at byte {self._at:,} of {len(self._data):,}, expected "
                "a model saved by eos (a cereal binary archive); the file is cut short or of another kind"
            )
        values = np.frombuffer(self._data, kind, count, self._at)
        self._at += size
        return values

    def whole(self, kind: str = "<u8") -> int:
        return int(self.numbers(kind, 1)[0])

    def matrix(self) -> FloatArray:
        rows, columns = (self.whole("<i4") for _ in range(2))
        if min(rows, columns) < 0:
            raise InputError(f"{self.name}: got a matrix of {rows} × {columns}, expected a model saved by eos")
        return self.numbers("<f4", rows * columns).reshape(columns, rows).T.astype(np.float64)

    def text(self) -> str:
        return bytes(self.numbers("u1", self.whole())).decode("utf-8", "replace")

    def rows(self, kind: str, width: int) -> np.ndarray:
        return self.numbers(kind, self.whole() * width).reshape(-1, width)

    @property
    def left(self) -> int:
        return len(self._data) - self._at


def _read_model(archive: _Archive) -> tuple[_Shape, _Expression | None]:
    version = archive.whole("<u4")
    if not 1 <= version <= 4:
        raise InputError(
            f"{archive.name}: got format {version}, expected 1 to 4 (a model saved by eos; convert a .scm with eos' "
            "scm-to-cereal)"
        )
    shape = _read_pca(archive)
    if shape is None:
        raise InputError(f"{archive.name}: got a model without a shape, expected a mean and its modes")
    _read_pca(archive)  # colour, not used here
    expression = None
    if version >= 2 and not archive.whole("u1"):
        expression = _read_expression(archive, vertices=len(shape.mean))
    if expression is not None and isinstance(expression, _Shape):
        shape = _Shape(shape.mean + expression.mean, shape.modes, shape.triangles)
        expression = _Expression(_numbered(expression.modes), expression.modes, (-3.0, 3.0), 1.0)
    return shape, expression


def _read_expression(archive: _Archive, *, vertices: int) -> _Shape | _Expression | None:
    """Return what the variant (PCA model, blendshapes) holds."""
    if archive.whole("<i4") == 0:
        return _read_pca(archive)
    return _read_blendshapes(archive, vertices=vertices)


def _read_pca(archive: _Archive) -> _Shape | None:
    """Return a PCA model, None for an empty one."""
    mean, basis, variance = (archive.matrix() for _ in range(3))
    triangles = archive.rows("<i4", 3).astype(np.int32)
    if not mean.size:
        return None
    if mean.size % 3 or basis.shape != (mean.size, variance.size) or (variance < 0).any():
        raise InputError(
            f"{archive.name}: got a mean of {mean.size}, a basis of {basis.shape} and {variance.size} variances, "
            "expected (3V), (3V, K) and K that aren't negative"
        )
    modes = (basis * np.sqrt(variance.ravel())).T.reshape(variance.size, -1, 3)
    return _Shape(mean.reshape(-1, 3), modes, triangles)


def _read_blendshapes(archive: _Archive, *, vertices: int) -> _Expression:
    count = archive.whole()
    if count > 10_000:
        raise InputError(f"{archive.name}: got {count:,} blendshapes, expected a file saved by eos")
    names, modes = [], []
    for _ in range(count):
        names.append(archive.text())
        mode = archive.matrix()
        if mode.size != 3 * vertices:
            raise InputError(f"{archive.name}: got {mode.size // 3} vertices in {names[-1]!r}, expected {vertices}")
        modes.append(mode.reshape(-1, 3))
    return _Expression(tuple(names), np.array(modes).reshape(-1, vertices, 3), (0.0, 1.0), 0.35)


def _numbered(modes: FloatArray) -> tuple[str, ...]:
    return tuple(f"expression_{k}" for k in range(len(modes)))
