"""FLAME from the user's own file (``generic_model.pkl``, ``flame2020``, ``flame2023``): read, never run.

The files are pickles, some with chumpy objects inside; ``inert`` reads them without importing or calling
what they name, and without chumpy. Identity and expression bases are the file's; its jaw joint, which no
linear mode has, becomes one more expression: opening by 5 degrees a unit, to first order.

References: Li et al., "Learning a model of facial shape and expression from 4D scans", SIGGRAPH Asia 2017;
flame.is.tue.mpg.de. Landmark embeddings: RingNet and DECA (Sanyal et al. 2019, Feng et al. 2021).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from crimeface_lib.core.arrays import check_array
from crimeface_lib.core.errors import InputError
from crimeface_lib.core.types import FloatArray, IntArray
from crimeface_lib.reconstruction.foreign import Places, Raw, adopt, companion, locate_file
from crimeface_lib.reconstruction.inert import as_array, read_inert
from crimeface_lib.reconstruction.morphable import MorphableModel
from crimeface_lib.reconstruction.unwrap import connected_parts

LICENCE = (
    "FLAME: non-commercial scientific research under the Max Planck Society's licence (flame.is.tue.mpg.de); "
    "FLAME 2023 Open: CC BY 4.0"
)
_NAMES = ("generic_model.pkl", "FLAME2023/flame2023.pkl", "flame2023.pkl", "flame2023_Open.pkl", "FLAME_NEUTRAL.pkl")
_EMBEDDINGS = ("landmark_embedding.npy", "flame_static_embedding_68.pkl", "flame_static_embedding.pkl")
_JAW, _JAW_TURN = 2, np.deg2rad(5.0)
_IDENTITIES = 300  # shapedirs holds these first, then expressions


def load_flame(path: str | Path | None = None) -> MorphableModel:
    """Return FLAME as a MorphableModel: up to 300 identity modes, 100 expression modes and the jaw.

    Parameters
    ----------
    path : your pickle, or the folder that has it. Used when one lies beside it: ``landmark_embedding.npy``
        (68 points) or ``flame_static_embedding.pkl`` (51, without the jaw line). Landmarks they don't name
        are found by the landmarker on the mean head.

    Raises
    ------
    MissingArtifactError : no such file. InputError : not FLAME, damaged, or a pickle that would run code.
    """
    where = "get it at flame.is.tue.mpg.de (free registration)"
    file = locate_file(path, model="flame", names=_NAMES, where=where)
    data = read_inert(file)
    missing = sorted({"v_template", "f", "shapedirs"} - set(data))
    if missing:
        raise InputError(f"{file.name}: got a dictionary without {', '.join(missing)}, expected FLAME's model file")
    mean = check_array(as_array(data["v_template"], name="v_template"), shape=(None, 3), name="v_template")
    bases = check_array(as_array(data["shapedirs"], name="shapedirs"), shape=(len(mean), 3, None), name="shapedirs")
    triangles = check_array(as_array(data["f"], name="f"), shape=(None, 3), name="f", dtype=np.int64)
    modes = bases.transpose(2, 0, 1)
    identities = min(_IDENTITIES, len(modes))
    jaw = _jaw_mode(data, mean)
    expression = np.concatenate([modes[identities:], jaw])
    embedding = companion(file, *_EMBEDDINGS)
    places = _read_embedding(embedding, len(triangles)) if embedding else {}
    return adopt(
        Raw(mean, modes[:identities], expression, triangles, places),
        name="flame", licence=LICENCE, source=f"{file.name}, Max Planck Institute for Intelligent Systems",
        unit_mm=1000.0,
        expression_names=(*(f"expression_{k}" for k in range(len(expression) - len(jaw))), *["jaw_open"] * len(jaw)),
        expression_bounds=(-3.0, 3.0), expression_sd=1.0, parts=_eyeballs(triangles, len(mean)),
    )  # fmt: skip


def _jaw_mode(data: dict[str, Any], mean: FloatArray) -> FloatArray:
    """Return (1, V, 3), what opening the jaw does at first, (0, V, 3) where the file has no jaw joint."""
    if not {"weights", "J_regressor"} <= set(data):
        return np.zeros((0, *mean.shape))
    weights, joints = as_array(data["weights"], name="weights"), as_array(data["J_regressor"], name="J_regressor")
    if weights.shape[:1] != (len(mean),) or joints.shape != (weights.shape[1], len(mean)) or len(joints) <= _JAW:
        raise InputError(f"weights, J_regressor: got {weights.shape} and {joints.shape}, expected (V, J) and (J, V)")
    offset = mean - joints[_JAW] @ mean
    turn = np.stack([np.zeros(len(mean)), -offset[:, 2], offset[:, 1]], 1)  # about x, the chin downwards
    return np.asarray((_JAW_TURN * weights[:, _JAW, None] * turn)[None])


def _eyeballs(triangles: IntArray, vertices: int) -> dict[str, tuple[int, int]]:
    """Return the loose parts that are runs of vertices, as regions that are not skin."""
    part = connected_parts(np.asarray(triangles, np.int32), vertices)
    runs = {number: np.flatnonzero(part == number) for number in range(1, int(part.max()) + 1)}
    whole = [run for run in runs.values() if len(run) > 3 and np.ptp(run) + 1 == len(run)]
    return {f"eyeball_{k}": (int(run[0]), int(run[-1]) + 1) for k, run in enumerate(whole)}


def _read_embedding(file: Path, triangles: int) -> Places:
    """Return the landmarks of an embedding: all 68, or 17–67 and the frontal row of the moving jaw."""
    data = read_inert(file)
    pairs = (
        ("full_lmk_faces_idx", "full_lmk_bary_coords", 0), ("static_lmk_faces_idx", "static_lmk_bary_coords", 17),
        ("lmk_face_idx", "lmk_b_coords", 17),
    )  # fmt: skip
    for faces, weights, first in pairs:
        if faces in data and weights in data:
            index = as_array(data[faces], name=faces).ravel().astype(np.int64)
            bary = check_array(
                as_array(data[weights], name=weights).reshape(-1, 3), shape=(len(index), 3), name=weights
            )
            first = 0 if len(index) == 68 else first
            if first + len(index) != 68 or index.min() < 0 or index.max() >= triangles:
                raise InputError(
                    f"{file.name}: got {len(index)} landmarks on triangles up to {index.max()}, expected 68 or 51 on "
                    f"triangles below {triangles}"
                )
            return {first + k: (int(index[k]), bary[k]) for k in range(len(index))}
    raise InputError(f"{file.name}: got {sorted(data)}, expected lmk_face_idx and lmk_b_coords or DECA's names")
