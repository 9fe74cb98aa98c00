"""The z-buffer by PyTorch3D: on CUDA a batch in one kernel; on a CPU correct and very slow, the oracle of the tests."""

from __future__ import annotations

import warnings

import numpy as np
import torch  # PyTorch3D's library needs torch's to be loaded
from pytorch3d.renderer.mesh.rasterize_meshes import rasterize_meshes
from pytorch3d.structures import Meshes

from crimeface_lib.core.device import resolve_device

#: Bytes of the list of triangles that PyTorch3D keeps for each tile, over which a batch is drawn in parts.
_TILES = 1 << 30


def rasterize_pytorch3d(
    xy: np.ndarray, z: np.ndarray, triangles: np.ndarray, height: int, width: int, device: str | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw all frames in one go on ``device``; see ``rasterize.Rasterizer``. On a CPU it warns, once a place."""
    place = resolve_device(device)
    if place == "cpu":
        warnings.warn(
            "PyTorch3D draws a thousand times slower on a CPU than backend='numba': good for checking only",
            stacklevel=4,
        )
    if not len(triangles) or not len(xy):  # PyTorch3D takes no empty mesh
        shape = (len(xy), height, width)
        return np.full(shape, -1), np.zeros((*shape, 3), np.float32), np.full(shape, np.inf, np.float32)
    frames = max(1, _TILES // (4 * len(triangles) * 22**2))  # it has at most 22 × 22 tiles
    parts = [
        _draw(xy[start : start + frames], z[start : start + frames], triangles, height, width, place)
        for start in range(0, len(xy), frames)
    ]
    face, bary, depth = (np.concatenate(part) for part in zip(*parts, strict=True))
    return face, bary, depth


def _draw(
    xy: np.ndarray, z: np.ndarray, triangles: np.ndarray, height: int, width: int, device: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    points, depths, corners = (torch.from_numpy(array).to(device) for array in (xy, z, triangles))
    drawn = (depths > 0) & points.isfinite().all(-1) & depths.isfinite()
    # a triangle that isn't to be drawn shrinks to a point, which PyTorch3D leaves out
    faces = torch.where(drawn[:, corners].all(-1, keepdim=True), corners, corners[:, :1])
    unit = torch.where(drawn, depths, 0).sum() / drawn.sum().clamp(min=1)  # its own tolerances are absolute
    # PyTorch3D's x points left, its y up, and the shorter side goes from −1 to 1
    middle = points.new_tensor([width / 2, height / 2])
    ndc = (middle - points) * (2 / min(height, width))
    space = torch.cat([ndc, (depths / unit)[..., None]], -1).nan_to_num(0.0, 0.0, 0.0)
    found, near, weights, _ = rasterize_meshes(
        Meshes(space, faces), (height, width), blur_radius=0.0, faces_per_pixel=1, perspective_correct=True,
        max_faces_per_bin=len(triangles),
    )  # fmt: skip
    first = torch.arange(len(xy), device=device)[:, None, None] * len(triangles)  # it counts through the batch
    face = torch.where(found[..., 0] >= 0, found[..., 0] - first, -1)
    bary = torch.where(face[..., None] >= 0, weights[..., 0, :], 0.0)
    depth = torch.where(face >= 0, near[..., 0] * unit, torch.inf)
    return face.cpu().numpy(), bary.cpu().numpy(), depth.cpu().numpy()
