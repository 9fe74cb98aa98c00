"""The z-buffer in plain torch, on any device: every (triangle, pixel) pair of every frame at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from crimeface_lib.core.device import resolve_device

if TYPE_CHECKING:
    import torch

#: Pairs looked at in one go, so that large triangles or many frames don't fill the memory: about 0.5 GB.
_CHUNK = 1 << 22
#: As in ``rasterize_numba``: rounding at edges, and areas drawn in px².
_SLACK, _THIN, _VAST = 1e-9, 1e-9, 1e12


def rasterize_torch(
    xy: np.ndarray, z: np.ndarray, triangles: np.ndarray, height: int, width: int, device: str | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw all frames in one go on ``device`` (CUDA by default where there is one); see ``rasterize.Rasterizer``."""
    import torch

    place = resolve_device(device)
    points, depths = (torch.from_numpy(array).to(place).double() for array in (xy, z))
    corners = torch.from_numpy(triangles).to(place)
    with torch.inference_mode():
        face = draw(points, depths, corners, height, width)
        bary, depth = barycentric(points, depths, corners, face)
    return face.cpu().numpy(), bary.float().cpu().numpy(), depth.float().cpu().numpy()


def draw(xy: torch.Tensor, z: torch.Tensor, triangles: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Return (N, H, W) int64, the nearest triangle at each pixel or −1, on the inputs' device.

    The nearest triangle wins by a scatter of the largest key: the bits of a positive float32 1/z are in order,
    and the complement of the triangle's index fills the lower half of the 64-bit key: of two at one depth the
    first wins.

    Parameters
    ----------
    xy : (N, V, 2) float64 px, N frames; z : (N, V); triangles : (T, 3) int64.
    """
    import torch

    frames, count = len(xy), len(triangles)
    near = torch.where((z > 0) & xy.isfinite().all(-1), 1 / z, 0)
    # one-dimensional index_select throughout: on a CPU it is several times faster than indexing
    order = _flat(triangles.T, xy.shape[1], frames).reshape(-1)
    (ax, bx, cx), (ay, by, cy), (na, nb, nc) = (
        values.reshape(-1).index_select(0, order).view(3, -1) for values in (xy[..., 0], xy[..., 1], near)
    )
    area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
    left, wide = _pixels(ax, bx, cx, width)
    top, tall = _pixels(ay, by, cy, height)
    good = (na > 0) & (nb > 0) & (nc > 0) & (area.abs() > _THIN) & (area.abs() < _VAST) & (wide > 0) & (tall > 0)
    kept = good.nonzero()[:, 0]
    fields = (ax, ay, bx, by, cx, cy, na, nb, nc, area, left, top, wide, tall)
    ax, ay, bx, by, cx, cy, na, nb, nc, area, left, top, wide, tall = (one.index_select(0, kept) for one in fields)
    frame, index = kept // count, kept % count
    ax, bx, cx, ay, by, cy = (
        ax - left - 0.5,
        bx - left - 0.5,
        cx - left - 0.5,
        ay - top - 0.5,
        by - top - 0.5,
        cy - top - 0.5,
    )
    rows = (
        (bx * cy - by * cx) / area, (by - cy) / area, (cx - bx) / area,  # weight of a at the first pixel, and its steps
        (cx * ay - cy * ax) / area, (cy - ay) / area, (ax - cx) / area,  # the same of b
        na - nc, nb - nc, nc,
        (frame * height + top.long()) * width + left.long(), wide.long(), 0xFFFFFFFF - index,
    )  # fmt: skip
    keys = torch.zeros(frames * height * width, dtype=torch.int64, device=xy.device)
    pairs = (wide * tall).long()
    ends = pairs.cumsum(0)
    begin = 0
    while begin < len(kept):
        done = int(ends[begin - 1]) if begin else 0
        stop = max(begin + 1, int(torch.searchsorted(ends, done + _CHUNK, right=True)))
        _scatter(keys, [one[begin:stop] for one in rows], pairs[begin:stop], width)
        begin = stop
    return torch.where(keys > 0, 0xFFFFFFFF - (keys & 0xFFFFFFFF), -1).view(frames, height, width)


def _flat(indices: torch.Tensor, size: int, frames: int) -> torch.Tensor:
    """Return ``indices`` (K, T) into each frame's ``size`` rows as (K, frames · T) into all frames' rows."""
    import torch

    return (indices[:, None] + size * torch.arange(frames, device=indices.device)[:, None]).flatten(1)


def _pixels(a: torch.Tensor, b: torch.Tensor, c: torch.Tensor, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the first pixel along one axis whose centre lies between three corners, and how many there are."""
    import torch

    first = torch.ceil(torch.minimum(torch.minimum(a, b), c) - 0.5).clamp(min=0)
    last = torch.floor(torch.maximum(torch.maximum(a, b), c) - 0.5).clamp(max=size - 1)
    return first, last - first + 1


def _scatter(keys: torch.Tensor, rows: list[torch.Tensor], pairs: torch.Tensor, width: int) -> None:
    """Raise ``keys`` (frames · H · W,) at the ``pairs`` (M,) pixels that M triangles may cover; see ``draw``."""
    import torch

    total = int(pairs.sum())
    row = torch.repeat_interleave(pairs, output_size=total)
    within = torch.arange(total, device=keys.device) - (pairs.cumsum(0) - pairs).index_select(0, row)
    wa, a_along, a_down, wb, b_along, b_down, na, nb, nc, corner, wide, low = (one.index_select(0, row) for one in rows)
    row_down = torch.div(within, wide, rounding_mode="floor")
    along, down = (within - row_down * wide).double(), row_down.double()
    wa = wa + along * a_along + down * a_down
    wb = wb + along * b_along + down * b_down
    inside = (wa >= -_SLACK) & (wb >= -_SLACK) & (wa + wb <= 1 + _SLACK)
    bits = (nc + wa * na + wb * nb).float().view(torch.int32).long()
    pixel = corner + row_down * (width - wide) + within
    keys.scatter_reduce_(0, pixel, torch.where(inside, (bits << 32) | low, 0), "amax")


def barycentric(
    xy: torch.Tensor, z: torch.Tensor, triangles: torch.Tensor, face: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return perspective-correct weights (N, H, W, 3), 0 where there is no triangle, and depths (N, H, W), infinite
    there; both differentiable in ``xy`` (N, V, 2) and ``z`` (N, V), given the triangles ``face`` (N, H, W) seen."""
    import torch

    frames, height, width = face.shape
    pixel = (face.reshape(-1) >= 0).nonzero()[:, 0]
    frame, within = pixel // (height * width), pixel % (height * width)
    py, px = within // width + 0.5, within % width + 0.5
    corners = triangles.index_select(0, face.reshape(-1).index_select(0, pixel)) + (frame * xy.shape[1])[:, None]
    order = corners.T.reshape(-1)
    ax, bx, cx = xy[..., 0].reshape(-1).index_select(0, order).view(3, -1) - px
    ay, by, cy = xy[..., 1].reshape(-1).index_select(0, order).view(3, -1) - py
    wa, wb, wc = bx * cy - by * cx, cx * ay - cy * ax, ax * by - ay * bx
    near = torch.stack([wa, wb, wc], 0) / z.reshape(-1).index_select(0, order).view(3, -1)
    total = near.sum(0)
    bary = xy.new_zeros((frames * height * width, 3)).index_copy(0, pixel, (near / total).T)
    depth = xy.new_full((frames * height * width,), float("inf")).index_copy(0, pixel, (wa + wb + wc) / total)
    return bary.view(*face.shape, 3), depth.view(face.shape)


def interpolate(values: torch.Tensor, triangles: torch.Tensor, face: torch.Tensor, bary: torch.Tensor) -> torch.Tensor:
    """Return (N, H, W, C) of per-vertex ``values`` (N, V, C), 0 where there is no triangle; differentiable in
    ``values`` and ``bary``: with ``barycentric`` this is deferred shading."""
    import torch

    frame = torch.arange(len(values), device=values.device)[:, None, None, None]
    return (values[frame, triangles[face.clamp(min=0)]] * bary[..., None]).sum(-2)
