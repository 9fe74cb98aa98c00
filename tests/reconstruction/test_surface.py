"""Distances on CUDA are those of the CPU; a head in PyTorch3D is the head."""

from __future__ import annotations

import importlib.util
import sys

import numpy as np
import pytest

from crimeface_lib.core.errors import InputError, MissingBackendError, ShapeError
from crimeface_lib.metrics import point_to_surface
from crimeface_lib.reconstruction import Mesh, MorphableModel, surface_distance, to_pytorch3d


@pytest.fixture
def oracle() -> None:
    if importlib.util.find_spec("pytorch3d") is None:
        pytest.skip("pytorch3d isn't installed: conda env create -f environment.yml")


@pytest.fixture
def head(toy: MorphableModel) -> Mesh:
    rows, columns = np.mgrid[:64, :64] * 4
    texture = np.stack([rows, columns, 255 - rows], -1).astype(np.uint8)
    return Mesh(toy.mean, toy.triangles, toy.uv, toy.triangles_uv, texture, np.zeros(len(toy.mean)))


@pytest.fixture
def scan(head: Mesh) -> np.ndarray:
    """Points on the surface, near it and far from it."""
    gen = np.random.default_rng(0)
    drawn = head.vertices[gen.choice(len(head.vertices), 300)]
    return np.concatenate([drawn[:100], drawn[100:200] + gen.normal(0, 2, (100, 3)), 3 * drawn[200:]])


def test_without_cuda_it_is_the_exact_distance(head: Mesh, scan: np.ndarray) -> None:
    found = surface_distance(scan, head.vertices, head.triangles, device="cpu")
    np.testing.assert_array_equal(found, point_to_surface(scan, head.vertices, head.triangles))


@pytest.mark.parametrize("unit", [1.0, 0.001])
@pytest.mark.parametrize("shift", [0.0, 5000.0])
def test_pytorch3d_agrees(head: Mesh, scan: np.ndarray, oracle: None, unit: float, shift: float) -> None:
    moved, vertices = ((one + shift) * unit for one in (scan, head.vertices))
    found = surface_distance(moved, vertices, head.triangles, backend="pytorch3d", device="cpu")
    np.testing.assert_allclose(found, point_to_surface(moved, vertices, head.triangles), atol=2e-4 * unit, rtol=1e-6)
    assert not len(surface_distance(np.zeros((0, 3)), vertices, head.triangles, backend="pytorch3d", device="cpu"))
    with pytest.raises(ShapeError, match="triangles"):
        surface_distance(scan, vertices, [[0, 1, 10**6]], backend="pytorch3d", device="cpu")


@pytest.mark.gpu
def test_gpu_equals_cpu(head: Mesh, scan: np.ndarray, oracle: None) -> None:
    import torch

    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    found = surface_distance(scan, head.vertices, head.triangles, device="cuda")
    np.testing.assert_allclose(found, point_to_surface(scan, head.vertices, head.triangles), atol=2e-4, rtol=1e-6)


@pytest.mark.filterwarnings("ignore:Sparse invariant checks")  # within PyTorch3D
def test_the_head_in_pytorch3d_is_the_head(head: Mesh, oracle: None) -> None:
    """Points sampled lie on it and have the colours of its texture; its losses see a dent."""
    import torch
    from pytorch3d.loss import chamfer_distance, mesh_edge_loss, mesh_laplacian_smoothing, mesh_normal_consistency
    from pytorch3d.ops import sample_points_from_meshes

    torch.manual_seed(0)
    theirs = to_pytorch3d(head, device="cpu")
    points, colours = sample_points_from_meshes(theirs, 2000, return_textures=True)
    assert point_to_surface(points[0].numpy(), head.vertices, head.triangles).max() < 1e-3

    nearest = np.linalg.norm(points[0].numpy()[:, None] - head.vertices[None], axis=2).argmin(1)
    apart = np.abs(255 * colours[0].numpy() - head.vertex_colours()[nearest])
    assert np.median(apart) < 8, "within a cell of the mesh"
    assert np.median(np.abs(255 * colours[0].numpy() - head.vertex_colours()[nearest][:, ::-1])) > 16
    gen = np.random.default_rng(1)
    rough = to_pytorch3d(
        Mesh(
            head.vertices + gen.normal(0, 3, head.vertices.shape), head.triangles, head.uv, head.triangles_uv,
            head.texture, head.vertex_sd,
        ), device="cpu",
    )  # fmt: skip
    for loss in (mesh_laplacian_smoothing, mesh_edge_loss, mesh_normal_consistency):
        assert loss(rough) > 1.1 * loss(theirs)
    again = sample_points_from_meshes(theirs, 2000)
    assert chamfer_distance(points, sample_points_from_meshes(rough, 2000))[0] > chamfer_distance(points, again)[0]


def test_what_is_missing_is_named(head: Mesh, scan: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="'exact' or 'pytorch3d'"):
        surface_distance(scan, head.vertices, head.triangles, backend="gpu")
    for name in ("pytorch3d.loss.point_mesh_distance", "pytorch3d.renderer"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingBackendError, match=r"conda env create.*backend='exact'"):
        surface_distance(scan, head.vertices, head.triangles, backend="pytorch3d", device="cpu")
    with pytest.raises(MissingBackendError, match="conda env create"):
        to_pytorch3d(head, device="cpu")
