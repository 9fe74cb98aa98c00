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
#: The lower half of a key; all of the key of a pixel where nothing is drawn.
_LOW = 0xFFFFFFFF


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
        bary, depth = barycentric(points, depths, corners, face, dtype=torch.float32)
    return face.cpu().numpy(), bary.cpu().numpy(), depth.cpu().numpy()


def draw(xy: torch.Tensor, z: torch.Tensor, triangles: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Return (N, H, W) int64, the nearest triangle at each pixel or −1, on the inputs' device.

    The nearest triangle wins by a scatter of the largest key: the bits of a positive float32 1/z are in order,
    and the triangle's index counts down in the lower half of the 64-bit key: of two at one depth the first wins.

    Parameters
    ----------
    xy : (N, V, 2) float64 px, N frames; z : (N, V); triangles : (T, 3) int64.
    """
    import torch

    frames, count, device = len(xy), len(triangles), xy.device
    # one-dimensional index_select throughout, and results in place: on a CPU it is several times faster than indexing
    order = _flat(triangles.T, xy.shape[1], frames).reshape(-1)
    (ax, bx, cx), (ay, by, cy), (na, nb, nc) = (
        values.reshape(-1).index_select(0, order).view(3, -1) for values in (xy[..., 0], xy[..., 1], (z > 0) / z)
    )
    left, wide = _pixels(ax, bx, cx, width)
    top, tall = _pixels(ay, by, cy, height)
    area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)  # not finite where a corner isn't
    size, nearest = area.abs(), torch.minimum(torch.minimum(na, nb), nc)
    drawn = (nearest > 0) & (size > _THIN) & (size < _VAST) & (torch.minimum(wide, tall) > 0)
    pairs = torch.where(drawn, wide * tall, 0).long()
    px, py, share = left + 0.5, top + 0.5, 1 / area
    ax, bx, cx, ay, by, cy = ax - px, bx - px, cx - px, ay - py, by - py, cy - py
    corner = (left + top * width).view(frames, count) + height * width * torch.arange(frames, device=device)[:, None]
    low = (_LOW - 1 - torch.arange(count, device=device)).expand(frames, count)
    rows = (
        (bx * cy - by * cx) * share, (by - cy) * share, (cx - bx) * share,  # weight of a at the first pixel, its steps
        (cx * ay - cy * ax) * share, (cy - ay) * share, (ax - cx) * share,  # the same of b
        nc, na - nc, nb - nc, corner.view(-1), wide, low.reshape(-1),
    )  # fmt: skip
    keys = torch.full((frames * height * width,), _LOW, dtype=torch.int64, device=device)
    ends = pairs.cumsum(0)
    begin = 0
    while begin < len(pairs):
        done = int(ends[begin - 1]) if begin else 0
        stop = max(begin + 1, int(torch.searchsorted(ends, done + _CHUNK, right=True)))
        _scatter(keys, [one[begin:stop] for one in rows], pairs[begin:stop], width)
        begin = stop
    return keys.bitwise_and_(_LOW).neg_().add_(_LOW - 1).view(frames, height, width)


def _flat(indices: torch.Tensor, size: int, frames: int) -> torch.Tensor:
    """Return ``indices`` (K, T) into each frame's ``size`` rows as (K, frames · T) into all frames' rows."""
    import torch

    return (indices[:, None] + size * torch.arange(frames, device=indices.device)[:, None]).flatten(1)


def _pixels(a: torch.Tensor, b: torch.Tensor, c: torch.Tensor, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the first pixel along one axis whose centre lies between three corners, and how many there are."""
    import torch

    first = torch.minimum(torch.minimum(a, b), c).sub_(0.5).ceil_().clamp_(min=0)
    last = torch.maximum(torch.maximum(a, b), c).sub_(0.5).floor_().clamp_(max=size - 1)
    return first, last.sub_(first).add_(1)


def _scatter(keys: torch.Tensor, rows: list[torch.Tensor], pairs: torch.Tensor, width: int) -> None:
    """Raise ``keys`` (frames · H · W,) at the ``pairs`` (M,) pixels that M triangles may cover; see ``draw``."""
    import torch

    ends = pairs.cumsum(0)
    total = int(ends[-1])
    row = torch.repeat_interleave(pairs, output_size=total)
    first = (ends - pairs).double().index_select(0, row)
    wa, a_along, a_down, wb, b_along, b_down, near, a_near, b_near, corner, wide, low = (
        one.index_select(0, row) for one in rows
    )
    along = torch.arange(total, dtype=torch.float64, device=keys.device).sub_(first)
    down = (along + 0.5).div_(wide).floor_()
    along.addcmul_(down, wide, value=-1)
    wa.addcmul_(along, a_along).addcmul_(down, a_down)
    wb.addcmul_(along, b_along).addcmul_(down, b_down)
    inside = (torch.minimum(wa, wb) >= -_SLACK) & (wa + wb <= 1 + _SLACK)
    bits = near.addcmul_(wa, a_near).addcmul_(wb, b_near).float().view(torch.int32).long()
    pixel = corner.add_(down, alpha=width).add_(along).long()
    keys.scatter_reduce_(0, pixel, bits.bitwise_left_shift_(32).bitwise_or_(low).mul_(inside), "amax")


def barycentric(
    xy: torch.Tensor,
    z: torch.Tensor,
    triangles: torch.Tensor,
    face: torch.Tensor,
    *,
    dtype: torch.dtype | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return perspective-correct weights (N, H, W, 3), 0 where there is no triangle, and depths (N, H, W), infinite
    there, of ``dtype`` (None: the inputs'); both differentiable in ``xy`` (N, V, 2) and ``z`` (N, V), given the
    triangles ``face`` (N, H, W) seen."""
    import torch

    _, height, width = face.shape
    frame, row, column = (face >= 0).nonzero(as_tuple=True)
    pixel = (frame * height + row) * width + column
    seen = face.reshape(-1).index_select(0, pixel)
    order = torch.cat([one.index_select(0, seen) + frame * xy.shape[1] for one in triangles.T])
    ax, bx, cx = xy[..., 0].reshape(-1).index_select(0, order).view(3, -1) - (column + 0.5)
    ay, by, cy = xy[..., 1].reshape(-1).index_select(0, order).view(3, -1) - (row + 0.5)
    wa, wb, wc = bx * cy - by * cx, cx * ay - cy * ax, ax * by - ay * bx
    near = torch.stack([wa, wb, wc], 0) / z.reshape(-1).index_select(0, order).view(3, -1)
    total, dtype, place = near.sum(0), dtype or xy.dtype, 3 * pixel
    weights, depths = (near / total).to(dtype).view(-1), ((wa + wb + wc) / total).to(dtype)
    bary = xy.new_zeros(3 * face.numel(), dtype=dtype).index_copy_(0, torch.cat([place, place + 1, place + 2]), weights)
    depth = xy.new_full((face.numel(),), float("inf"), dtype=dtype).index_copy_(0, pixel, depths)
    return bary.view(*face.shape, 3), depth.view(face.shape)


def interpolate(values: torch.Tensor, triangles: torch.Tensor, face: torch.Tensor, bary: torch.Tensor) -> torch.Tensor:
    """Return (N, H, W, C) of per-vertex ``values`` (N, V, C), 0 where there is no triangle; differentiable in
    ``values`` and ``bary``: with ``barycentric`` this is deferred shading."""
    import torch

    frame = torch.arange(len(values), device=values.device)[:, None, None, None]
    return (values[frame, triangles[face.clamp(min=0)]] * bary[..., None]).sum(-2)
