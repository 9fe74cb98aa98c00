"""Surfaces of millions of points: on CUDA by PyTorch3D where it is installed, else exactly on the CPU."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

from crimeface_lib.core.arrays import check_array
from crimeface_lib.core.device import resolve_device
from crimeface_lib.core.errors import InputError, MissingBackendError, ShapeError
from crimeface_lib.metrics.surface import point_to_surface

if TYPE_CHECKING:
    from crimeface_lib.reconstruction.mesh import Mesh

_REMEDY = "PyTorch3D isn't installed: conda env create -f environment.yml"


def surface_distance(
    points: np.ndarray,
    vertices: np.ndarray,
    triangles: np.ndarray,
    *,
    backend: str = "auto",
    device: str | None = None,
) -> np.ndarray:
    """Return the (N,) distance of each point, of a scan say, from a triangle mesh, in their unit.

    Parameters
    ----------
    points : (N, 3). vertices : (V, 3), same unit. triangles : (T, 3) indices.
    backend : "exact" is ``metrics.point_to_surface``, a search tree on the CPU in float64; "pytorch3d" tries every
        triangle, in float32: right to about a millionth of the mesh's size, worth it on CUDA only. "auto" is
        pytorch3d where it is installed and ``device`` is CUDA, else exact.
    device : "cpu", "cuda", "cuda:1"; None takes CUDA where there is one. Only PyTorch3D uses it.

    Raises
    ------
    ShapeError : wrong shapes, no triangles, or triangles of vertices that aren't there.
    MissingBackendError : no such backend or device. InputError : a backend's name that isn't known.

    >>> square = np.array([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]])
    >>> surface_distance([[0.5, 0.2, 3.0], [2, 0.5, 0]], square, [[0, 1, 2], [0, 2, 3]], device="cpu").tolist()
    [3.0, 1.0]
    """
    if backend not in ("auto", "exact", "pytorch3d"):
        raise InputError(f"backend: got {backend!r}, expected 'auto', 'exact' or 'pytorch3d'")
    if backend == "auto":
        backend = "pytorch3d" if resolve_device(device) != "cpu" and find_spec("pytorch3d") else "exact"
    if backend == "exact":
        return point_to_surface(points, vertices, triangles)
    points = check_array(points, shape=(None, 3), name="points")
    vertices = check_array(vertices, shape=(None, 3), name="vertices")
    triangles = check_array(triangles, shape=(None, 3), name="triangles", dtype=np.int64)
    if not len(triangles) or triangles.min() < 0 or triangles.max() >= len(vertices):
        raise ShapeError(
            f"triangles: got {len(triangles)}, expected at least one, indices within 0…{len(vertices) - 1}"
        )
    if not len(points):  # PyTorch3D takes none
        return np.zeros(0)
    import torch

    try:
        from pytorch3d.loss.point_mesh_distance import point_face_distance
    except ImportError as error:
        raise MissingBackendError(f"surface_distance: {error}; {_REMEDY}; or backend='exact'") from error
    # float32, around the middle; PyTorch3D's own tolerances are absolute and want triangles far larger than 1
    corners = vertices[triangles]
    middle, size = corners.mean((0, 1)), float(np.median(np.linalg.norm(corners - corners[:, [1, 2, 0]], axis=2)))
    unit = size / 100 or 1.0
    place, first = resolve_device(device), torch.zeros(1, dtype=torch.int64)
    scan, mesh = (torch.from_numpy(((one - middle) / unit).astype(np.float32)) for one in (points, corners))
    squared = point_face_distance(scan.to(place), first.to(place), mesh.to(place), first.to(place), len(scan))
    distance: np.ndarray = unit * squared.double().sqrt().cpu().numpy()
    return distance


def to_pytorch3d(mesh: Mesh, *, device: str | None = None) -> Any:
    """Return the mesh, its texture with it, as a ``pytorch3d.structures.Meshes`` of one: what PyTorch3D samples,
    compares, smooths and renders (with ``Camera.to_pytorch3d``).

    Coordinates stay in millimetres, as float32. ``mesh_laplacian_smoothing``, ``mesh_edge_loss`` and
    ``mesh_normal_consistency`` say how regular a surface is, ``sample_points_from_meshes`` with ``chamfer_distance``
    how far two heads of different models are apart; all can be differentiated.

    Raises
    ------
    MissingBackendError : PyTorch3D isn't installed, or no such device.
    """
    import torch

    try:
        from pytorch3d.renderer import TexturesUV
        from pytorch3d.structures import Meshes
    except ImportError as error:
        raise MissingBackendError(f"to_pytorch3d: {error}; {_REMEDY}") from error
    place = resolve_device(device)
    vertices, uv = (torch.from_numpy(one.astype(np.float32)).to(place) for one in (mesh.vertices, mesh.uv))
    triangles, layout = (
        torch.from_numpy(one.astype(np.int64)).to(place) for one in (mesh.triangles, mesh.triangles_uv)
    )
    picture = torch.from_numpy(mesh.texture.astype(np.float32) / 255).to(place)
    # texels are cells, whose centres are half a texel from the border
    textures = TexturesUV([picture], [layout], [uv], align_corners=False)
    return Meshes([vertices], [triangles], textures)
