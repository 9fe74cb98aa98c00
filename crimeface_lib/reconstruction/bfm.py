"""The Basel Face Model from the user's own file: 2009 (``01_MorphableModel.mat``), 2017 and 2019 (``.h5``).

References: Paysan et al., AVSS 2009; Gerig et al., "Morphable Face Models - An Open Framework", FG 2018
(statismo's HDF5 layout: shape, expression and color, each with model/mean, pcaBasis, pcaVariance and
representer/cells).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from crimeface_lib.core.errors import InputError, MissingBackendError
from crimeface_lib.core.types import FloatArray
from crimeface_lib.reconstruction.foreign import (
    Places,
    Raw,
    adopt,
    companion,
    locate_file,
    read_contours,
    read_mapping,
    vertex_places,
)
from crimeface_lib.reconstruction.morphable import MorphableModel

LICENCE = "Basel Face Model: academic, non-commercial use under the University of Basel's licence; not to be passed on"
_NAMES = (
    "01_MorphableModel.mat", "model2019_bfm.h5", "model2019_face12.h5", "model2019_fullHead.h5",
    "model2017-1_bfm_nomouth.h5", "model2017-1_face12_nomouth.h5",
)  # fmt: skip
_MODES = 199


def load_bfm(path: str | Path | None = None) -> MorphableModel:
    """Return the Basel Face Model as a MorphableModel: up to 199 identity modes, and the expression modes
    (2017, 2019) it has.

    Parameters
    ----------
    path : your file, or the folder that has it. Used when they lie beside it, as eos names and writes them:
        ``ibug_to_bfm2009.txt`` or ``ibug_to_bfm2017-1_bfm_nomouth.txt`` (landmark = vertex), and
        ``bfm2009_model_contours.json`` or ``bfm2017-1_bfm_nomouth_model_contours.json`` (jaw). Landmarks they don't
        name are found by the landmarker on the mean head.

    Raises
    ------
    MissingArtifactError : no such file. InputError : not a Basel Face Model, or damaged.
    MissingBackendError : an .h5 file, and h5py is not installed.
    """
    where = "ask for it at faces.dmi.unibas.ch/bfm (a licence to be signed)"
    file = locate_file(path, model="bfm", names=_NAMES, where=where)
    old = file.suffix.lower() == ".mat"
    if not old and file.suffix.lower() not in (".h5", ".hdf5"):
        raise InputError(f"{file.name}: got {file.suffix!r}, expected a .mat (2009) or .h5 (2017, 2019)")
    mean, identity, expression, triangles = _read_2009(file) if old else _read_h5(file)
    return adopt(
        Raw(mean, identity, expression, triangles, _landmarks(file, mean, triangles)),
        name="bfm", licence=LICENCE, source=f"{file.name}, University of Basel",
        unit_mm=0.001 if old else 1.0, expression_names=tuple(f"expression_{k}" for k in range(len(expression))),
        expression_bounds=(-3.0, 3.0), expression_sd=1.0,
    )  # fmt: skip


def _landmarks(file: Path, mean: FloatArray, triangles: np.ndarray) -> Places:
    """Return the landmarks that the files beside ``file`` name."""
    short = file.stem.removeprefix("model")
    stems = ["bfm2009"] if file.suffix.lower() == ".mat" else [file.stem, short, f"bfm{short}"]
    mapping = companion(file, *(f"ibug_to_{stem}.txt" for stem in stems))
    contours = companion(file, *(f"{stem}_model_contours.json" for stem in stems))
    known = read_mapping(mapping, vertices=len(mean)) if mapping else {}
    if contours:
        known = {**read_contours(contours, mean), **known}
    return vertex_places(known, triangles)


def _read_2009(file: Path) -> tuple[FloatArray, FloatArray, FloatArray, np.ndarray]:
    """Return mean and modes in micrometres, and triangles counted from 0."""
    from scipy.io import loadmat

    needed = ("shapeMU", "shapePC", "shapeEV", "tl")
    try:
        data = loadmat(file, variable_names=needed)
    except Exception as error:  # scipy raises what its C parser meets: ValueError, TypeError, zlib.error, ...
        raise InputError(f"{file.name}: got no readable MATLAB 5 file ({error}), expected the BFM of 2009") from error
    missing = [key for key in needed if key not in data]
    if missing:
        raise InputError(f"{file.name}: got a MATLAB file without {', '.join(missing)}, expected the BFM of 2009")
    mean, modes = _pca(file, *(data[key] for key in needed[:3]), sd=True)
    return mean, modes, np.zeros((0, *mean.shape)), np.asarray(data["tl"], np.int64) - 1


def _read_h5(file: Path) -> tuple[FloatArray, FloatArray, FloatArray, np.ndarray]:
    """Return the neutral mean, the modes in mm, and triangles."""
    try:
        import h5py
    except ImportError as error:
        raise MissingBackendError(f"{file.name}: HDF5 files need h5py; pip install h5py") from error
    keys = ("mean", "pcaBasis", "pcaVariance")
    try:
        with h5py.File(file, "r") as data:
            shape, moved = ([_dataset(file, data, f"{part}/model/{key}") for key in keys]
                            for part in ("shape", "expression"))  # fmt: skip
            cells = _dataset(file, data, "shape/representer/cells")
    except OSError as error:
        raise InputError(
            f"{file.name}: got no readable HDF5 file ({error}), expected the BFM of 2017 or 2019"
        ) from error
    mean, identity = _pca(file, *shape, sd=False)
    shift, expression = _pca(file, *moved, sd=False)
    if shift.shape != mean.shape:
        raise InputError(f"{file.name}: got {len(shift)} vertices in expression, expected {len(mean)} as in shape")
    return mean + shift, identity, expression, cells.T if cells.shape[0] == 3 else cells


def _dataset(file: Path, data: Any, key: str) -> np.ndarray:
    """Return a numeric data set."""
    found = data.get(key)
    if found is None or not hasattr(found, "dtype") or found.dtype.kind not in "iuf":
        raise InputError(f"{file.name}: got no numbers at {key}, expected the BFM of 2017 or 2019 (statismo's layout)")
    return np.asarray(found)


def _pca(
    file: Path, mean: np.ndarray, basis: np.ndarray, spread: np.ndarray, *, sd: bool
) -> tuple[FloatArray, FloatArray]:
    """Return the mean (V, 3) and the modes (K, V, 3) of one standard deviation each."""
    size, count = mean.size, spread.size
    if size == 0 or size % 3 or basis.shape != (size, count):
        raise InputError(
            f"{file.name}: got a mean of {mean.shape}, a basis of {basis.shape}, a spread of {spread.shape}; expected "
            "(3V,), (3V, K) and (K,)"
        )
    spread = np.asarray(spread, np.float64).ravel()
    if not np.isfinite(spread).all() or spread.min(initial=0) < 0:
        raise InputError(f"{file.name}: got a spread that is negative or not a number, expected variances")
    scaled = np.asarray(basis[:, :_MODES], np.float64) * (spread if sd else np.sqrt(spread))[:_MODES]
    return np.asarray(mean, np.float64).reshape(-1, 3), scaled.T.reshape(scaled.shape[1], -1, 3)
