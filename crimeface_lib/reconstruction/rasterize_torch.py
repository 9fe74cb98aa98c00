"""The z-buffer in plain torch, on any device: every (triangle, pixel) pair at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch

#: Pairs looked at in one go, so that large triangles don't fill the memory.
_CHUNK = 1 << 24


def rasterize_torch(
    xy: np.ndarray, z: np.ndarray, triangles: np.ndarray, height: int, width: int, *, device: str = "cpu"
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (H, W) faces, (H, W, 3) barycentric coordinates and (H, W) depths; see ``rasterize``."""
    import torch

    points, depths = (torch.from_numpy(array.astype(np.float64)).to(device) for array in (xy, z))
    face, bary, depth = draw(points, depths, torch.from_numpy(triangles).to(device), height, width)
    return face.cpu().numpy(), bary.float().cpu().numpy(), depth.float().cpu().numpy()


def draw(
    xy: torch.Tensor, z: torch.Tensor, triangles: torch.Tensor, height: int, width: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return faces (H, W), barycentric coordinates (H, W, 3) and depths (H, W) as tensors on the inputs' device.

    The nearest triangle wins by a scatter of the largest key: the bits of a positive float32 1/z are in
    order, and the triangle's index fills the lower half of the 64-bit key.
    """
    import torch

    corners = xy[triangles]
    edge_b, edge_c = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    area = edge_b[:, 0] * edge_c[:, 1] - edge_b[:, 1] * edge_c[:, 0]
    good = (z[triangles] > 0).all(1) & (area.abs() > 1e-9) & (area.abs() < 1e12)
    kept = good.nonzero()[:, 0]
    last = torch.tensor([width - 1, height - 1], dtype=xy.dtype, device=xy.device)
    low = torch.ceil(corners[kept].amin(1) - 0.5).clamp(min=0)
    high = torch.minimum(torch.floor(corners[kept].amax(1) - 0.5), last)
    extent = (high - low + 1).clamp(min=0).long()
    count = extent.prod(1)
    keys = torch.full((height * width,), -1, dtype=torch.int64, device=xy.device)
    ends = torch.cumsum(count, 0)
    begin = 0
    while begin < len(kept):
        done = int(ends[begin - 1]) if begin else 0
        stop = max(begin + 1, int(torch.searchsorted(ends, torch.tensor(done + _CHUNK, device=xy.device))))
        part = slice(begin, stop)
        row = torch.repeat_interleave(torch.arange(begin, stop, device=xy.device)[: len(count[part])], count[part])
        within = torch.arange(len(row), device=xy.device) + done - (ends - count)[row]
        x = low[row, 0].long() + within % extent[row, 0].clamp(min=1)
        y = low[row, 1].long() + within // extent[row, 0].clamp(min=1)
        index = kept[row]
        weights, near = _weights(x, y, index, xy, z, triangles)
        inside = (weights >= 0).all(1)
        key = (near[inside].float().view(torch.int32).long() << 32) | index[inside]
        keys.scatter_reduce_(0, (y * width + x)[inside], key, "amax")
        begin = stop
    face = torch.where(keys < 0, keys, keys & 0xFFFFFFFF)
    pixels = (face >= 0).nonzero()[:, 0]
    bary = torch.zeros((height * width, 3), dtype=xy.dtype, device=xy.device)
    depth = torch.full((height * width,), float("inf"), dtype=xy.dtype, device=xy.device)
    seen = face[pixels]
    weights, near = _weights(pixels % width, pixels // width, seen, xy, z, triangles)
    bary[pixels] = weights / z[triangles[seen]] / near[:, None]
    depth[pixels] = 1.0 / near
    return face.view(height, width), bary.view(height, width, 3), depth.view(height, width)


def _weights(
    x: torch.Tensor, y: torch.Tensor, index: torch.Tensor, xy: torch.Tensor, z: torch.Tensor, triangles: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return (P, 3) affine barycentric coordinates of pixel centres in their triangles, and (P,) 1/z."""
    import torch

    (ax, ay), (bx, by), (cx, cy) = (xy[triangles[index, k]].unbind(1) for k in range(3))
    px, py = x.to(xy.dtype) + 0.5, y.to(xy.dtype) + 0.5
    area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
    wa = ((bx - px) * (cy - py) - (by - py) * (cx - px)) / area
    wb = ((cx - px) * (ay - py) - (cy - py) * (ax - px)) / area
    weights = torch.stack([wa, wb, 1.0 - wa - wb], 1)
    return weights, (weights / z[triangles[index]]).sum(1)
