"""Which triangle is seen at each pixel, where in it, and how far away."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol

import numpy as np

from crimeface_lib.core.arrays import check_array
from crimeface_lib.core.display import Shown
from crimeface_lib.core.errors import InputError, ShapeError
from crimeface_lib.core.plugins import load_backend


@dataclass(frozen=True, slots=True)
class Fragments(Shown):
    """What a z-buffer holds.

    Parameters
    ----------
    pix_to_face : (H, W) int64, index of the nearest triangle; -1 where there is none.
    bary : (H, W, 3) float32, perspective-correct barycentric coordinates; 0 where there is none.
    zbuf : (H, W) float32, depth in the unit of ``z``; infinite where there is none.
    """

    pix_to_face: np.ndarray
    bary: np.ndarray
    zbuf: np.ndarray

    @property
    def covered(self) -> np.ndarray:
        """(H, W) bool."""
        return self.pix_to_face >= 0

    def interpolate(self, values: np.ndarray, triangles: np.ndarray) -> np.ndarray:
        """Return (P, C) of per-vertex ``values`` (V, C) at the P covered pixels, row by row."""
        covered = self.covered
        corners = triangles[self.pix_to_face[covered]]
        weights = self.bary[covered].astype(values.dtype)
        mixed: np.ndarray = np.einsum("pk,pkc->pc", weights, values[corners])
        return mixed


class Rasterizer(Protocol):
    """What an entry point of ``crimeface.rasterizers`` is: N frames of one mesh in, three arrays of N pictures out.

    ``xy`` is (N, V, 2) float32, ``z`` (N, V) float32, ``triangles`` (T, 3) int64; what comes out is (N, H, W) int64,
    (N, H, W, 3) float32 and (N, H, W) float32, as in ``Fragments``. ``device`` is None for the backend's own choice.
    """

    def __call__(
        self, xy: np.ndarray, z: np.ndarray, triangles: np.ndarray, height: int, width: int, device: str | None = None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]: ...


def rasterize(
    xy: np.ndarray,
    z: np.ndarray,
    triangles: np.ndarray,
    *,
    height: int,
    width: int,
    backend: str = "auto",
    device: str | None = None,
) -> Fragments:
    """Return what is seen at each pixel; both sides of a triangle are drawn.

    Parameters
    ----------
    xy : (V, 2) px, x right and y down; the centre of the top left pixel is at (0.5, 0.5).
    z : (V,) depth; a triangle with a corner at z <= 0 or with a corner that isn't finite is not drawn.
    triangles : (T, 3) int.
    backend : "numba" (the CPU), "torch" (any device), "pytorch3d" (CUDA) or another that is installed; "auto" is
        numba, or torch on a ``device`` that isn't the CPU.
    device : "cpu", "cuda", "cuda:1"; None is the backend's own choice.

    Raises
    ------
    ShapeError : wrong shapes, or triangles of vertices that aren't there.
    MissingBackendError : no such backend or device.

    >>> xy = np.array([[0.0, 0], [4, 0], [0, 4]])
    >>> rasterize(xy, np.ones(3), np.array([[0, 1, 2]]), height=2, width=2).pix_to_face.tolist()
    [[0, 0], [0, 0]]
    """
    xy = check_array(xy, shape=(None, 2), name="xy", dtype=np.float32, finite=False)
    z = check_array(z, shape=(len(xy),), name="z", dtype=np.float32, finite=False)
    options: dict[str, Any] = {"height": height, "width": width, "backend": backend, "device": device}
    return rasterize_batch(xy[None], z[None], triangles, **options)[0]


def rasterize_batch(
    xy: np.ndarray,
    z: np.ndarray,
    triangles: np.ndarray,
    *,
    height: int,
    width: int,
    backend: str = "auto",
    device: str | None = None,
) -> list[Fragments]:
    """Return what is seen at each pixel of N frames of one mesh, drawn in one call; otherwise as ``rasterize``.

    Parameters
    ----------
    xy : (N, V, 2) px; z : (N, V); triangles : (T, 3) int, the same in every frame.
    """
    xy = check_array(xy, shape=(None, None, 2), name="xy", dtype=np.float32, finite=False)
    z = check_array(z, shape=xy.shape[:2], name="z", dtype=np.float32, finite=False)
    triangles = check_array(triangles, shape=(None, 3), name="triangles", dtype=np.int64)
    if height < 1 or width < 1:
        raise InputError(f"height, width: got {height}, {width}, expected at least 1")
    if len(triangles) and (triangles.min() < 0 or triangles.max() >= xy.shape[1]):
        raise ShapeError(f"triangles: got indices {triangles.min()}…{triangles.max()}, expected 0…{xy.shape[1] - 1}")
    if backend == "auto":
        backend = "numba" if device in (None, "cpu") else "torch"
    return [
        Fragments(*frame) for frame in zip(*_backend(backend)(xy, z, triangles, height, width, device), strict=True)
    ]


@cache  # reading the entry points takes longer than drawing
def _backend(name: str) -> Rasterizer:
    backend: Rasterizer = load_backend("rasterizers", name)
    return backend
