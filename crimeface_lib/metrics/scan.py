"""How far a reconstructed face is from a scan of the same face, as the NoW benchmark measures it.

The protocol (now.is.tue.mpg.de): a similarity that brings the landmarks together, the scan cropped to a
ball round the face, a similarity that makes the scan's distances to the mesh smallest, and then the
distance of each of the scan's vertices from the nearest point of the mesh's surface.

References: Sanyal et al., "Learning to Regress 3D Face Shape and Expression from an Image without 3D
Supervision", CVPR 2019.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from crimeface_lib.core.arrays import check_array
from crimeface_lib.core.errors import InputError, MissingArtifactError, ShapeError
from crimeface_lib.core.results import Result
from crimeface_lib.core.types import FloatArray, IntArray
from crimeface_lib.metrics.surface import Alignment, SurfaceIndex, align

if TYPE_CHECKING:
    import pandas as pd

UNITS = {"mm": 1.0, "cm": 10.0, "m": 1000.0}
SUFFIXES = (".ply", ".obj", ".stl", ".glb", ".gltf")
#: Of the 68 Multi-PIE/iBUG points, the seven that NoW marks: corners of the eyes from right to left, the
#: base of the nose, corners of the mouth.
NOW_LANDMARKS = (36, 39, 42, 45, 33, 48, 54)
_SIZES = (60.0, 3000.0)  # mm, the longest side of a face's scan, and of a person's
_SAMPLE, _ROUNDS = 4000, 30

Surface = str | Path | tuple[npt.ArrayLike, npt.ArrayLike]


@dataclass(frozen=True, slots=True, eq=False)
class SurfaceComparison(Result):
    """Distances of a scan from a mesh, mm.

    Parameters
    ----------
    median, mean, std : of ``distance``, mm, as NoW lists them.
    within_1mm, within_2mm : share of the scan's vertices.
    vertices : how many of the scan's vertices were measured, of ``scan_vertices``.
    protocol : what was aligned, by what, and cropped how.
    warnings : what the reader must know.
    landmark_rms : mm, of the landmarks after the first alignment; NaN without landmarks.
    alignment : takes the mesh (mm) to the scan's place (mm).
    distance : (N,) mm, not negative, for a heat map over ``points``.
    signed : (N,) mm, positive where the scan lies outside the mesh.
    points : (N, 3) mm, the scan's vertices that were measured.
    kept : (N,) their indices in the scan.
    """

    median: float
    mean: float
    std: float
    within_1mm: float
    within_2mm: float
    vertices: int
    scan_vertices: int
    protocol: str
    warnings: tuple[str, ...]
    landmark_rms: float
    alignment: Alignment = field(repr=False)
    distance: FloatArray = field(repr=False)
    signed: FloatArray = field(repr=False)
    points: FloatArray = field(repr=False)
    kept: IntArray = field(repr=False)

    def to_frame(self) -> pd.DataFrame:
        """Return one row of the figures."""
        import pandas as pd

        names = ("median", "mean", "std")
        row: dict[str, Any] = {f"{name}_mm": getattr(self, name) for name in names}
        row |= {"within_1mm": self.within_1mm, "within_2mm": self.within_2mm, "vertices": self.vertices}
        return pd.DataFrame([{**row, "protocol": self.protocol, "warnings": " ".join(self.warnings)}])


def read_surface(source: Surface, *, unit: Literal["mm", "cm", "m"] | None = None) -> tuple[FloatArray, IntArray]:
    """Return vertices (V, 3) in mm and triangles (T, 3); a point cloud has no triangles.

    Parameters
    ----------
    source : a .ply, .obj, .stl or .glb file, or (vertices, triangles).
    unit : of the file or array; by default millimetres, for glTF metres, as its standard demands.

    Raises
    ------
    MissingArtifactError : no such file.
    InputError : not such a file, empty, or of a size that no face has in that unit.
    """
    if isinstance(source, str | Path):
        vertices, triangles, name = *_read_file(Path(source)), Path(source).name
        unit = unit or ("m" if Path(source).suffix.lower() in (".glb", ".gltf") else "mm")
    else:
        try:
            vertices, triangles = source
        except (TypeError, ValueError) as error:
            raise InputError(
                f"surface: got {type(source).__name__}, expected a file or (vertices, triangles)"
            ) from error
        name, unit = "vertices", unit or "mm"
    if unit not in UNITS:
        raise InputError(f"unit: got {unit!r}, expected one of {', '.join(UNITS)}")
    points: FloatArray = check_array(vertices, shape=(None, 3), name=name) * UNITS[unit]
    index: IntArray = check_array(np.asarray(triangles).reshape(-1, 3), shape=(None, 3), name=name, dtype=np.int64)
    if not len(points):
        raise InputError(f"{name}: got no vertices, expected a surface")
    size = float(np.ptp(points, axis=0).max())
    if not _SIZES[0] <= size <= _SIZES[1]:
        likely = [other for other, factor in UNITS.items() if 150 <= size / UNITS[unit] * factor <= 600]
        hint = f"; it looks like {likely[0]}: say unit={likely[0]!r}" if likely else ""
        raise InputError(
            f"{name}: got {size:.3g} mm across, taking its unit as {unit}; expected "
            f"{_SIZES[0]:.0f}–{_SIZES[1]:.0f} mm{hint}"
        )
    return points, index


def compare_meshes(
    mesh: Surface,
    scan: Surface,
    *,
    landmarks: tuple[npt.ArrayLike, npt.ArrayLike] | None = None,
    scale: bool = True,
    refine: bool = True,
    crop: float | Literal["now"] | None = "now",
    mesh_unit: Literal["mm", "cm", "m"] | None = None,
    scan_unit: Literal["mm", "cm", "m"] | None = None,
) -> SurfaceComparison:
    """Return how far the vertices of ``scan`` are from the surface of ``mesh``.

    Parameters
    ----------
    mesh : the reconstruction: a .ply, .obj, .stl or .glb file, or (vertices, triangles).
    scan : the truth, likewise; a point cloud will do.
    landmarks : (on the mesh, on the scan), each (N, 3) in its own unit, the same N ≥ 3 places in the same order:
        all 68, NoW's seven, or others. None: both lie in one place already, and only ``refine`` moves the mesh.
    scale : align by similarities, as NoW does for photos, from which size isn't known; False keeps the size.
    refine : after the landmarks, make the scan's distances as small as can be (rms).
    crop : "now" measures what lies in NoW's ball round the face (68 or seven landmarks; without them all is
        measured, and ``protocol`` says so); a number is a radius in mm about the landmarks' middle.
    mesh_unit, scan_unit : millimetres by default; metres for glTF.

    Raises
    ------
    MissingArtifactError, InputError, ShapeError : a file or array that isn't a face's surface, or landmarks
        that don't correspond.
    """
    vertices, triangles = read_surface(mesh, unit=mesh_unit)
    if not len(triangles):
        raise InputError("mesh: got points without triangles, expected a surface to measure from")
    target, _ = read_surface(scan, unit=scan_unit)
    moved, kept, first, words = Alignment(np.eye(3), np.zeros(3), 1.0, float("nan")), np.arange(len(target)), "", ""
    if landmarks is not None:
        on_mesh, on_scan = _landmarks(landmarks, (mesh, mesh_unit), (scan, scan_unit))
        moved, first = align(on_mesh, on_scan, scale=scale), f"{len(on_mesh)} landmarks"
        kept, words = _cropped(target, on_scan, crop)
    rms = moved.rms
    points = target[kept]
    index = SurfaceIndex(vertices, triangles)
    if refine:
        moved = _refine(index, points, moved, scale=scale)
    distance, nearest, triangle = _measure(index, points, moved)
    warnings = []
    if rms > 10:
        warnings.append(f"Landmarks are {rms:.1f} mm apart after alignment: do they name the same places?")
    if np.median(distance) > 10:
        warnings.append(f"The median distance is {np.median(distance):.1f} mm: the surfaces may not be aligned at all.")
    steps = [first or "as given", *(["least scan-to-mesh distances"] if refine else [])]
    protocol = f"{'similarity' if scale else 'rigid'} alignment: {', then '.join(steps)}; {words or 'no crop'}"
    return SurfaceComparison(
        median=float(np.median(distance)), mean=float(distance.mean()), std=float(distance.std()),
        within_1mm=float((distance <= 1).mean()), within_2mm=float((distance <= 2).mean()), vertices=len(points),
        scan_vertices=len(target), protocol=protocol,
        warnings=tuple(warnings), landmark_rms=rms, alignment=moved,
        distance=distance, signed=distance * _side(points, nearest, moved.apply(vertices)[triangles[triangle]]),
        points=points, kept=kept,
    )  # fmt: skip


def _read_file(path: Path) -> tuple[npt.ArrayLike, npt.ArrayLike]:
    """Return vertices as the file counts them, and triangles."""
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(f"{path.name}: got {path.suffix or 'no suffix'!r}, expected one of {', '.join(SUFFIXES)}")
    if not path.is_file():
        raise MissingArtifactError(f"no scan or mesh at {path}")
    import trimesh

    try:
        loaded = trimesh.load(path, process=False, maintain_order=True)
        whole: Any = loaded.to_geometry() if isinstance(loaded, trimesh.Scene) else loaded
        return whole.vertices, getattr(whole, "faces", np.zeros((0, 3), int))
    except Exception as error:  # trimesh's parsers raise whatever a damaged file makes them stumble over
        raise InputError(f"{path.name}: got no readable {path.suffix[1:]} ({type(error).__name__}: {error})") from error


def _landmarks(
    landmarks: tuple[npt.ArrayLike, npt.ArrayLike], *owners: tuple[Surface, Any]
) -> tuple[FloatArray, FloatArray]:
    """Return both sets in mm."""
    if len(landmarks) != 2:
        raise ShapeError(f"landmarks: got {len(landmarks)} sets, expected (on the mesh, on the scan)")
    out = []
    for points, (source, unit), name in zip(landmarks, owners, ("on the mesh", "on the scan"), strict=True):
        metres = isinstance(source, str | Path) and Path(source).suffix.lower() in (".glb", ".gltf")
        factor = UNITS[unit or ("m" if metres else "mm")]
        out.append(check_array(points, shape=(None, 3), name=f"landmarks {name}") * factor)
    if len(out[0]) != len(out[1]) or len(out[0]) < 3:
        raise ShapeError(f"landmarks: got {len(out[0])} and {len(out[1])}, expected the same three or more places")
    return out[0], out[1]


def _cropped(target: FloatArray, points: FloatArray, crop: float | Literal["now"] | None) -> tuple[IntArray, str]:
    """Return which vertices of the scan count, and words for it; ``points`` are the landmarks on it."""
    middle: FloatArray = points.mean(0)
    if crop == "now" and len(points) in (7, 68):
        outer, inner, inner_2, outer_2, base, *_ = points[list(NOW_LANDMARKS)] if len(points) == 68 else points
        up = (inner + inner_2) / 2 - base
        middle, radius = base + 0.3 * up, 0.7 * float(np.linalg.norm(outer - outer_2) + np.linalg.norm(up))
        words = f"scan within {radius:.0f} mm of the face's middle (NoW's crop)"
    elif crop is None or crop == "now":
        radius, words = (
            np.inf,
            "no crop" if crop is None else f"no crop (NoW's needs 7 or 68 landmarks, not {len(points)})",
        )
    elif isinstance(crop, str) or not crop > 0:
        raise InputError(f"crop: got {crop!r}, expected 'now', a positive radius in mm, or None")
    else:
        radius, words = float(crop), f"scan within {crop:g} mm of the landmarks' middle"
    kept = np.flatnonzero(np.linalg.norm(target - middle, axis=1) <= radius)
    if len(kept) < 100:
        raise InputError(
            f"scan: got {len(kept)} vertices within {radius:.0f} mm of the landmarks, expected at least 100; are "
            "landmarks and scan in one frame and unit?"
        )
    return kept, words


def _refine(index: SurfaceIndex, points: FloatArray, start: Alignment, *, scale: bool) -> Alignment:
    """Return the alignment from ``start`` on that makes the distances of ``points`` smallest (Gauss–Newton)."""
    sample = points[np.linspace(0, len(points) - 1, min(len(points), _SAMPLE)).astype(int)]
    best, moved, before = start, start, np.inf
    for _ in range(_ROUNDS):
        distance, nearest, _ = _measure(index, sample, moved)
        rms = float(np.sqrt((distance**2).mean()))
        if rms >= before * (1 - 1e-5):
            break
        before, best = rms, Alignment(moved.rotation, moved.translation, moved.scale, rms)
        away = (sample - nearest) / np.maximum(distance, 1e-12)[:, None]
        middle = nearest.mean(0)
        columns = [np.cross(nearest - middle, away), away, np.einsum("nd,nd->n", nearest - middle, away)[:, None]]
        system = np.hstack(columns if scale else columns[:2])
        moved = _moved(moved, np.linalg.lstsq(system, distance, rcond=1e-9)[0], middle)
    return best


def _measure(index: SurfaceIndex, points: FloatArray, moved: Alignment) -> tuple[FloatArray, FloatArray, IntArray]:
    """Return distances (N,), nearest points (N, 3) and triangles (N,) of the mesh in its new place.

    The mesh stays where it was indexed: the points go to its frame and what is found comes back.
    """
    local = (points - moved.translation) @ moved.rotation / moved.scale
    distance, nearest, triangle = index.closest(local)
    return distance * moved.scale, moved.apply(nearest), triangle


def _moved(before: Alignment, step: FloatArray, middle: FloatArray) -> Alignment:
    """Return ``before`` followed by a small turn about ``middle``, a shift and a change of size."""
    from scipy.spatial.transform import Rotation

    turn = Rotation.from_rotvec(step[:3]).as_matrix()
    factor = float(np.exp(step[6])) if len(step) == 7 else 1.0
    translation = factor * turn @ (before.translation - middle) + middle + step[3:6]
    return Alignment(turn @ before.rotation, translation, before.scale * factor, before.rms)


def _side(points: FloatArray, nearest: FloatArray, corners: FloatArray) -> FloatArray:
    """Return 1 where points lie on the outer side of their nearest triangle, else -1."""
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    side: FloatArray = np.where(np.einsum("nd,nd->n", points - nearest, normal) < 0, -1.0, 1.0)
    return side
