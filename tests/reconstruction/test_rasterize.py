"""Both rasterizers against every pixel tested by hand, and against each other on a head."""

from __future__ import annotations

import numpy as np
import pytest

from crimeface_lib.core.errors import InputError, MissingBackendError, ShapeError
from crimeface_lib.reconstruction import Camera, MorphableModel, rasterize
from crimeface_lib.reconstruction.rasterize_torch import rasterize_torch

BACKENDS = ("numba", "torch")
TWO = np.array([[0, 1, 2], [3, 4, 5]])


def by_hand(xy: np.ndarray, z: np.ndarray, triangles: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Rays through the pixel centres, met with the planes of the triangles one by one."""
    face, depth = np.full((side, side), -1), np.full((side, side), np.inf)
    for index, corners in enumerate(triangles):
        space = np.c_[xy[corners] * z[corners, None], z[corners]]  # a camera with focal length 1
        for row, column in np.ndindex(side, side):
            ray = np.array([column + 0.5, row + 0.5, 1.0])
            parts = np.linalg.solve(space.T, ray)
            if (parts >= 0).all() and 1 / parts.sum() < depth[row, column]:
                face[row, column], depth[row, column] = index, 1 / parts.sum()
    return face, depth


@pytest.mark.parametrize("backend", BACKENDS)
def test_agrees_with_rays(backend: str) -> None:
    rng = np.random.default_rng(0)
    xy, z = rng.uniform(-4, 24, (30, 2)).round(3), rng.uniform(1, 5, 30).round(3)
    triangles = np.arange(30).reshape(10, 3)
    face, depth = by_hand(xy, z, triangles, 20)
    got = rasterize(xy, z, triangles, height=20, width=20, backend=backend)
    np.testing.assert_array_equal(got.pix_to_face, face)
    np.testing.assert_allclose(got.zbuf, depth, rtol=1e-5)
    np.testing.assert_allclose(got.bary[got.covered].sum(1), 1, atol=1e-5)
    np.testing.assert_allclose(got.interpolate(z[:, None], triangles)[:, 0], depth[face >= 0], rtol=1e-4)


def test_backends_agree_on_a_head(toy: MorphableModel) -> None:
    camera = Camera.look("three-quarter", toy.mean, size=200)
    xy, z = camera.project(toy.mean)
    a, b = (rasterize(xy, z, toy.triangles, height=200, width=200, backend=name) for name in BACKENDS)
    np.testing.assert_array_equal(a.covered, b.covered)
    assert (a.pix_to_face == b.pix_to_face).mean() > 0.999
    same = a.pix_to_face == b.pix_to_face
    np.testing.assert_allclose(a.bary[same], b.bary[same], atol=1e-4)


def test_torch_in_small_portions_is_the_same(toy: MorphableModel, monkeypatch: pytest.MonkeyPatch) -> None:
    camera = Camera.look("frontal", toy.mean, size=80)
    xy, z = camera.project(toy.mean)
    whole = rasterize_torch(xy, z, toy.triangles.astype(np.int64), 80, 80)
    monkeypatch.setattr("crimeface_lib.reconstruction.rasterize_torch._CHUNK", 500)
    for one, other in zip(whole, rasterize_torch(xy, z, toy.triangles.astype(np.int64), 80, 80), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("backend", BACKENDS)
def test_degenerate_and_hidden_triangles_draw_nothing(backend: str) -> None:
    xy = np.array([[0.0, 0], [9, 0], [0, 9], [1, 1], [5, 5], [9, 9]])
    for z in (np.array([1.0, 1, -1, 1, 1, 1]), np.array([1.0, 0, 1, 1, 1, 1]), np.array([1.0, np.nan, 1, 1, 1, 1])):
        assert not rasterize(xy, z, TWO, height=8, width=8, backend=backend).covered.any()
    far = np.full((6, 2), np.inf)
    assert not rasterize(far, np.ones(6), TWO, height=8, width=8, backend=backend).covered.any()
    none = rasterize(xy, np.ones(6), np.zeros((0, 3), int), height=4, width=5, backend=backend)
    assert none.pix_to_face.shape == (4, 5)
    assert np.isinf(none.zbuf).all()


def test_what_cannot_be_drawn_is_refused() -> None:
    xy = np.zeros((3, 2))
    with pytest.raises(ShapeError, match="triangles"):
        rasterize(xy, np.ones(3), [[0, 1, 3]], height=2, width=2)
    with pytest.raises(InputError, match="height"):
        rasterize(xy, np.ones(3), [[0, 1, 2]], height=0, width=2)
    with pytest.raises(MissingBackendError, match="installed: numba, torch"):
        rasterize(xy, np.ones(3), [[0, 1, 2]], height=2, width=2, backend="metal")
