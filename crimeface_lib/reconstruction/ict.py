"""ICT-FaceKit, the model we recommend: read from one npz, from upstream's OBJ folder or zip, or downloaded.

Upstream is ``ICT-VGL/ICT-FaceKit`` (MIT, © 2020 USC Institute for Creative Technologies), commit da5f95a:
centimetres, quads, UV in one tile per region. Here: millimetres, triangles, one UV atlas; the origin is
midway between the ears. The transparent overlays (tear fluid, eyelashes, ...) are left out.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import zipfile
import zlib
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

import numpy as np

from crimeface_lib.core.arrays import check_array
from crimeface_lib.core.artifacts import download, find
from crimeface_lib.core.errors import InputError, MissingArtifactError, NotFoundError
from crimeface_lib.core.files import write_atomic
from crimeface_lib.core.settings import Settings, load_settings
from crimeface_lib.reconstruction.artifact import ICT
from crimeface_lib.reconstruction.contour import contour_lines
from crimeface_lib.reconstruction.morphable import MorphableModel, read_arrays

COMMIT = "da5f95a607f5e6b37755b38d3385d7f2853732e5"
UPSTREAM = f"https://raw.githubusercontent.com/ICT-VGL/ICT-FaceKit/{COMMIT}/FaceXModel"
#: Vertex ranges of upstream's README, and where each region's UV goes in the atlas (left, bottom, width, height).
_REGIONS: dict[str, tuple[int, int, tuple[float, float, float, float]]] = {
    "face": (0, 9409, (0.0, 0.0, 0.72, 1.0)),
    "head_neck": (9409, 11248, (0.72, 0.60, 0.28, 0.40)),
    "mouth_socket": (11248, 13294, (0.72, 0.46, 0.14, 0.14)),
    "eye_socket_left": (13294, 13678, (0.86, 0.46, 0.07, 0.14)),
    "eye_socket_right": (13678, 14062, (0.93, 0.46, 0.07, 0.14)),
    "gums_tongue": (14062, 17039, (0.72, 0.32, 0.28, 0.14)),
    "teeth": (17039, 21451, (0.72, 0.14, 0.28, 0.18)),
    "eyeball_left": (21451, 23021, (0.72, 0.0, 0.14, 0.14)),
    "eyeball_right": (23021, 24591, (0.86, 0.0, 0.14, 0.14)),
}
_VERTICES, _UPSTREAM_VERTICES = 24591, 26719
_NEEDED = ("neutral", "identity", "expression", "triangles", "tri_uv", "uv", "landmarks68", "expression_names")


def load_ict(path: str | Path | None = None, *, settings: Settings | None = None) -> MorphableModel:
    """Return ICT-FaceKit as a MorphableModel: 24,591 vertices, 100 identity and 53 expression modes.

    Parameters
    ----------
    path : the packed npz, or upstream's ``FaceXModel`` folder or zip (with as many modes as it holds);
        None looks in the data root and the cache.

    Raises
    ------
    MissingArtifactError : not on this machine; the message says how to bring it.
    InputError : the file is not what upstream ships.
    """
    place = Path(path) if path else find(ICT, settings=settings)
    if not place.exists():
        raise MissingArtifactError(f"ICT-FaceKit: no file or folder {place}; {ICT.remedy}")
    packed = place.suffix == ".npz"
    return _assemble(read_arrays(place, _NEEDED) if packed else read_facexmodel(place))


def _assemble(data: dict[str, np.ndarray]) -> MorphableModel:
    """Return the model in mm, head frame, overlays dropped, UV in one atlas."""
    if data["neutral"].shape != (_UPSTREAM_VERTICES, 3):
        raise InputError(f"ICT-FaceKit: got {data['neutral'].shape} neutral vertices, expected (26719, 3)")
    modes, names = (None, _UPSTREAM_VERTICES, 3), data["expression_names"]
    for key, shape, top in (
        ("neutral", (_UPSTREAM_VERTICES, 3), None), ("identity", modes, None), ("expression", modes, None),
        ("uv", (None, 2), None), ("landmarks68", (68,), _VERTICES), ("triangles", (None, 3), _UPSTREAM_VERTICES),
        ("tri_uv", (len(data["triangles"]), 3), len(data["uv"])),
    ):  # fmt: skip
        array = check_array(data[key], shape=shape, name=f"ICT-FaceKit: {key}", dtype=np.int64 if top else np.float32)
        if top and (not array.size or array.min() < 0 or array.max() >= top):
            raise InputError(f"ICT-FaceKit: {key}: got indices out of 0…{top - 1}, expected upstream's mesh")
    if len(names) != len(data["expression"]):
        raise InputError(f"ICT-FaceKit: got {len(names)} names of {len(data['expression'])} expressions")
    landmarks = data["landmarks68"].astype(np.int32)
    triangles = data["triangles"].astype(np.int32)
    kept = (triangles < _VERTICES).all(1)
    triangles, corners_uv = triangles[kept], data["tri_uv"].astype(np.int32)[kept]
    uv, triangles_uv = _atlas(triangles, corners_uv, data["uv"].astype(np.float64))
    mean = data["neutral"][:_VERTICES].astype(np.float64) * 10
    mean -= mean[landmarks[[0, 16]]].mean(0)
    basis = {key: data[key][:, :_VERTICES].astype(np.float32) * 10 for key in ("identity", "expression")}
    digest = hashlib.sha256(mean.tobytes())
    for array in basis.values():
        digest.update(array.tobytes())
    in_triangle, corner = _triangle_of(triangles, landmarks)
    face = np.arange(_REGIONS["face"][1])
    return MorphableModel(
        name="ict", licence="MIT", source=f"ICT-VGL/ICT-FaceKit@{COMMIT[:7]}, © 2020 USC ICT",
        version=f"sha256:{digest.hexdigest()[:16]}", mean=mean, **basis,
        expression_names=tuple(str(name) for name in data["expression_names"]),
        expression_bounds=(0.0, 1.0), expression_sd=0.2,  # most blendshapes of a photo rest near nought
        triangles=triangles, uv=uv, triangles_uv=triangles_uv,
        landmark_triangles=in_triangle, landmark_weights=np.eye(3)[corner],
        contour=contour_lines(mean, landmarks[:17], face),
        regions={name: (start, stop) for name, (start, stop, _) in _REGIONS.items()},
    )  # fmt: skip


def _triangle_of(triangles: np.ndarray, vertices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return for each vertex one triangle that has it, and at which corner."""
    flat, first = np.unique(triangles, return_index=True)
    where = first[np.searchsorted(flat, vertices)]
    return (where // 3).astype(np.int32), where % 3


def _atlas(triangles: np.ndarray, corners_uv: np.ndarray, uv: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (U, 2) UV in [0, 1] with every region in its own rectangle, and (T, 3) indices into it."""
    parts, indices, offset = [], np.empty_like(corners_uv), 0
    margin = 0.004
    for start, stop, (left, bottom, width, height) in _REGIONS.values():
        rows = (triangles[:, 0] >= start) & (triangles[:, 0] < stop)
        used, inverse = np.unique(corners_uv[rows], return_inverse=True)
        low, high = uv[used].min(0), uv[used].max(0)
        unit = (uv[used] - low) / (high - low)
        size = np.array([width, height]) - 2 * margin
        parts.append(unit * size + np.array([left, bottom]) + margin)
        indices[rows] = inverse.reshape(-1, 3) + offset
        offset += len(used)
    return np.vstack(parts), indices


def read_facexmodel(path: str | Path) -> dict[str, np.ndarray]:
    """Read upstream's ``FaceXModel`` folder, or a zip of it, with the modes it has.

    Returns
    -------
    The arrays of the packed npz, in cm: ``neutral`` (26719, 3), ``identity`` (K, 26719, 3), ``expression``
    (E, 26719, 3), ``triangles``, ``tri_uv``, ``uv``, ``landmarks68``, ``expression_names``.

    Raises
    ------
    InputError : no neutral mesh or vertex_indices.json, a file that is damaged, or an OBJ of another mesh.
    """
    names, read = _opener(Path(path))
    for needed in ("generic_neutral_mesh.obj", "vertex_indices.json"):
        if needed not in names:
            raise InputError(f"ICT-FaceKit: {Path(path).name} has no {needed}; expected upstream's FaceXModel folder")
    try:
        index = json.loads(read("vertex_indices.json"))
        landmarks, every = np.array(index["idx_to_landmark_verts"]), [str(name) for name in index["expressions"]]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"ICT-FaceKit: vertex_indices.json: got {type(error).__name__} ({error}), expected upstream's JSON with "
            "idx_to_landmark_verts and expressions"
        ) from error
    neutral, uv, triangles, triangles_uv = _read_obj(read("generic_neutral_mesh.obj"), "generic_neutral_mesh.obj")
    identity = sorted(name for name in names if re.fullmatch(r"identity\d+\.obj", name))
    expressions = [name for name in every if f"{name}.obj" in names]

    def offsets(file_names: list[str]) -> np.ndarray:
        modes = np.zeros((len(file_names), *neutral.shape), np.float32)
        for row, name in enumerate(file_names):
            vertices = _obj_rows(read(name), b"v ", name)
            if vertices.shape != neutral.shape:
                raise InputError(f"ICT-FaceKit: {name} has {len(vertices)} vertices, the neutral mesh {len(neutral)}")
            modes[row] = vertices - neutral
        return modes

    return {
        "neutral": neutral, "uv": uv, "triangles": triangles, "tri_uv": triangles_uv,
        "identity": offsets(identity), "expression": offsets([f"{name}.obj" for name in expressions]),
        "landmarks68": landmarks, "expression_names": np.array(expressions),
    }  # fmt: skip


def _opener(path: Path) -> tuple[set[str], Callable[[str], bytes]]:
    """Return the file names of a folder or zip and a function that reads one."""
    if path.is_dir():
        return {file.name for file in path.iterdir()}, lambda name: (path / name).read_bytes()
    if not zipfile.is_zipfile(path):
        raise InputError(f"ICT-FaceKit: {path.name} is no npz, folder or zip")
    archive = zipfile.ZipFile(io.BytesIO(path.read_bytes()))
    entries = {entry.rpartition("/")[2]: entry for entry in archive.namelist()}

    def read(name: str) -> bytes:
        try:
            return archive.read(entries[name])
        except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
            raise InputError(f"ICT-FaceKit: {name} in {path.name}: damaged ({error})") from error

    return set(entries), read


def _obj_rows(data: bytes, tag: bytes, name: str) -> np.ndarray:
    """Return the first numbers after ``tag`` (three for "v ", two for "vt ") as float64 rows."""
    width = 3 if tag == b"v " else 2
    try:
        rows = np.array([line.split()[1 : 1 + width] for line in data.splitlines() if line.startswith(tag)], np.float64)
        return rows.reshape(-1, width)
    except ValueError as error:
        raise InputError(f"ICT-FaceKit: {name}: got {error}, expected '{tag.decode()}' and {width} numbers") from error


def _read_obj(data: bytes, name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return vertices (V, 3), UV (U, 2), triangles and their UV (T, 3), quads split along the first corner."""
    corners: list[list[tuple[int, int]]] = []
    for number, line in enumerate(data.splitlines(), 1):
        if line.startswith(b"f "):
            try:
                polygon = [(int(a) - 1, int(b) - 1) for a, b, *_ in (corner.split(b"/") for corner in line[2:].split())]
            except ValueError as error:
                raise InputError(
                    f"ICT-FaceKit: {name}, line {number}: got {line[:60].decode('ascii', 'replace')!r}, expected a "
                    "face with texture indices, 'f 1/1 2/2 3/3'"
                ) from error
            corners += [[polygon[0], polygon[k], polygon[k + 1]] for k in range(1, len(polygon) - 1)]
    vertices, uv = _obj_rows(data, b"v ", name), _obj_rows(data, b"vt ", name)
    faces = np.array(corners, dtype=np.int32).reshape(-1, 3, 2)
    if not len(faces) or faces.min() < 0 or (faces.reshape(-1, 2).max(0) >= (len(vertices), len(uv))).any():
        raise InputError(
            f"ICT-FaceKit: {name}: got {len(faces)} triangles on {len(vertices)} vertices and {len(uv)} texture "
            "points, expected faces of those that are there"
        )
    return vertices, uv, faces[:, :, 0].copy(), faces[:, :, 1].copy()


def ict_digests() -> dict[str, str]:
    """Return the SHA-256 of each upstream file that the model needs (155 files)."""
    digests: dict[str, str] = json.loads((files("crimeface_lib.reconstruction") / "ict_sha256.json").read_text())
    return digests


def fetch_ict(
    *, base_url: str = UPSTREAM, settings: Settings | None = None, names: list[str] | None = None, progress: bool = True
) -> Path:
    """Download ICT-FaceKit (394 MB, MIT), check each file's SHA-256, pack it into the cache (about 17 MB).

    A download that was broken off goes on where it stopped: checked files are kept.

    Parameters
    ----------
    base_url : where the files of ``FaceXModel/`` are; a mirror must hold the same bytes.
    names : only these files (for tests); by default all.

    Returns
    -------
    The packed npz, where ``load_ict`` finds it.

    Raises
    ------
    MissingArtifactError, IntegrityError : as ``core.artifacts.download``.
    NotFoundError : a name that upstream has not.
    """
    settings = settings or load_settings()
    digests = ict_digests()
    for name in names or digests:
        if name not in digests:
            raise NotFoundError(f"ICT-FaceKit: no file {name!r} upstream; see ict_digests()")
        download(f"{base_url}/{name}", path=f"ict/FaceXModel/{name}", sha256=digests[name],
                 settings=settings, progress=progress)  # fmt: skip
    arrays = read_facexmodel(settings.cache_dir / "ict/FaceXModel")
    small = {
        key: array.astype(np.float16) if key in ("identity", "expression") else array for key, array in arrays.items()
    }
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **small)  # type: ignore[arg-type]
    target = settings.cache_dir / ICT.path
    write_atomic(target, buffer.getvalue())
    return target
