"""The rasterizers against every pixel tested by hand, and against each other and PyTorch3D on a head."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from crimeface_lib.core.errors import InputError, MissingBackendError, ShapeError
from crimeface_lib.core.plugins import load_backend
from crimeface_lib.reconstruction import Camera, Fragments, MorphableModel, rasterize
from crimeface_lib.reconstruction.rasterize import rasterize_batch

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


def same(a: Fragments, b: Fragments, *, atol: float = 0.0, faces: float = 1.0) -> None:
    """No pixel covered by only one; ``faces`` of the covered pixels show one triangle, there with equal weights."""
    np.testing.assert_array_equal(a.covered, b.covered)
    equal = a.pix_to_face == b.pix_to_face
    assert equal[a.covered].mean() >= faces
    np.testing.assert_allclose(a.bary[equal], b.bary[equal], atol=atol)
    np.testing.assert_allclose(a.zbuf[equal], b.zbuf[equal], rtol=max(atol, 1e-6))


def frames(model: MorphableModel, *, count: int = 3, size: int = 200) -> dict[str, Any]:
    """A head turning: the arguments of ``rasterize_batch``."""
    cameras = [Camera.look((yaw, 10.0), model.mean, size=size) for yaw in np.linspace(-40, 70, count)]
    xy, z = zip(*(camera.project(model.mean) for camera in cameras), strict=True)
    return {"xy": np.stack(xy), "z": np.stack(z), "triangles": model.triangles, "height": size - 30, "width": size}


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_batch_equals_its_frames_and_numba(toy: MorphableModel, backend: str) -> None:
    batch = frames(toy)
    drawn = rasterize_batch(**batch, backend=backend)
    for index, got in enumerate(drawn):
        one = {**batch, "xy": batch["xy"][index], "z": batch["z"][index]}
        same(got, rasterize(**one, backend=backend))
        same(got, rasterize(**one, backend="numba"), atol=1e-6)
    assert rasterize_batch(**{**batch, "xy": batch["xy"][:0], "z": batch["z"][:0]}, backend=backend) == []


def test_torch_in_small_portions_is_the_same(toy: MorphableModel, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = frames(toy, size=80)
    whole = rasterize_batch(**batch, backend="torch")
    monkeypatch.setattr("crimeface_lib.reconstruction.rasterize_torch._CHUNK", 500)
    for one, other in zip(whole, rasterize_batch(**batch, backend="torch"), strict=True):
        same(one, other)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("turn", [0.0, 0.3, 45.0])
def test_no_cracks_where_triangles_meet(backend: str, turn: float) -> None:
    """Corners on pixel centres, and edges through them: every pixel of a closed patch is covered."""
    side, angle = np.arange(0.5, 31), np.deg2rad(turn)
    x, y = (axis.ravel() - 15.5 for axis in np.meshgrid(side, side))
    xy = np.stack([x * np.cos(angle) - y * np.sin(angle), x * np.sin(angle) + y * np.cos(angle)], 1) + 15.5
    index = np.arange(31 * 31).reshape(31, 31)
    a, b, c, d = index[:-1, :-1].ravel(), index[:-1, 1:].ravel(), index[1:, 1:].ravel(), index[1:, :-1].ravel()
    triangles = np.concatenate([np.stack([a, b, c], 1), np.stack([c, a, d], 1)])
    inside = rasterize(xy, np.ones(len(xy)), triangles, height=31, width=31, backend=backend).covered
    assert inside[8:23, 8:23].all()
    assert turn or inside.all()


def test_deferred_shading_is_differentiable(toy: MorphableModel) -> None:
    import torch

    from crimeface_lib.reconstruction import rasterize_torch as code

    batch = frames(toy, count=2, size=60)
    xy, z = (torch.from_numpy(batch[name]).requires_grad_() for name in ("xy", "z"))
    triangles = torch.from_numpy(toy.triangles).long()
    face = code.draw(xy.detach(), z.detach(), triangles, 30, 60)
    bary, depth = code.barycentric(xy, z, triangles, face)
    shown = code.interpolate(torch.stack([z, z * 2], -1), triangles, face, bary)
    np.testing.assert_allclose(shown[face >= 0].detach(), torch.stack([depth, depth * 2], -1)[face >= 0].detach())
    assert (shown[face < 0] == 0).all()
    corner = torch.tensor([[[0.0, 0.0], [9.0, 1.0], [2.0, 9.0]]], dtype=torch.float64, requires_grad=True)
    far = torch.tensor([[3.0, 4.0, 6.0]], dtype=torch.float64, requires_grad=True)
    seen = torch.tensor([[[-1, -1, -1], [-1, 0, 0], [-1, 0, 0]]])
    assert torch.autograd.gradcheck(
        lambda *at: code.barycentric(*at, torch.tensor([[0, 1, 2]]), seen)[0], (corner, far)
    )


def test_tensor_code_needs_only_torch_and_numpy() -> None:
    code = (
        "import sys, crimeface_lib.reconstruction.rasterize_torch\n"
        "print(sorted({'pydantic', 'PIL', 'dlib', 'pandas', 'numba', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.fixture
def oracle() -> None:
    if importlib.util.find_spec("pytorch3d") is None:
        pytest.skip("pytorch3d isn't installed: conda env create -f environment.yml")


def test_agrees_with_pytorch3d(toy: MorphableModel, oracle: None) -> None:
    batch = frames(toy, count=2, size=100)
    with pytest.warns(UserWarning, match="slower on a CPU"):
        theirs = rasterize_batch(**batch, backend="pytorch3d", device="cpu")
    for backend in BACKENDS:
        for ours, their in zip(rasterize_batch(**batch, backend=backend, device="cpu"), theirs, strict=True):
            same(ours, their, atol=1e-3, faces=0.999)


def test_camera_in_pytorch3d(toy: MorphableModel, oracle: None) -> None:
    import torch
    from pytorch3d.renderer import PerspectiveCameras

    camera = Camera.look((35.0, -20.0), toy.mean, size=120)
    moved = Camera(camera.rotation, camera.translation, camera.focal, camera.principal + [9, -5], (100, 160))
    keywords = {k: torch.from_numpy(v) if isinstance(v, np.ndarray) else v for k, v in moved.to_pytorch3d().items()}
    theirs = PerspectiveCameras(**keywords).transform_points_screen(torch.from_numpy(toy.mean).float())
    np.testing.assert_allclose(theirs[:, :2], moved.project(toy.mean)[0], atol=1e-2)


def test_degenerate_frames_in_pytorch3d(oracle: None) -> None:
    xy = np.array([[[0.0, 0], [9, 0], [0, 9], [1, 1], [5, 5], [9, 9]]])
    for z in ([1, 1, -1, 1, 1, 1], [1, np.nan, 1, 1, 1, 1], [1, np.inf, 1, 1, 1, 1]):
        arguments = {"xy": xy, "z": np.array([z], float), "triangles": TWO, "height": 8, "width": 8}
        with pytest.warns(UserWarning, match="slower"):
            assert not rasterize_batch(**arguments, backend="pytorch3d", device="cpu")[0].covered.any()
    with pytest.warns(UserWarning, match="slower"):
        none = rasterize(xy[0], np.ones(6), np.zeros((0, 3), int), height=4, width=5, backend="pytorch3d", device="cpu")
    assert none.pix_to_face.shape == (4, 5)


@pytest.mark.gpu
@pytest.mark.parametrize("backend", ["torch", "pytorch3d"])
def test_gpu_equals_cpu(toy: MorphableModel, backend: str) -> None:
    import torch

    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    if importlib.util.find_spec(backend) is None:
        pytest.skip("pytorch3d isn't installed: conda env create -f environment.yml")
    batch = frames(toy, count=8)
    for one, other in zip(
        rasterize_batch(**batch), rasterize_batch(**batch, backend=backend, device="cuda"), strict=True
    ):
        same(one, other, atol=1e-3, faces=0.999)


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
    with pytest.raises(MissingBackendError, match=r"installed: numba, .*torch"):
        rasterize(xy, np.ones(3), [[0, 1, 2]], height=2, width=2, backend="metal")
    with pytest.raises(InputError, match="backend='torch'"):
        rasterize(xy, np.ones(3), [[0, 1, 2]], height=2, width=2, backend="numba", device="cuda")
    with pytest.raises(ShapeError, match="z"):
        rasterize_batch(xy[None], np.ones(3), [[0, 1, 2]], height=2, width=2)


def test_a_missing_pytorch3d_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    load_backend.cache_clear()
    monkeypatch.setitem(sys.modules, "pytorch3d.renderer.mesh.rasterize_meshes", None)
    monkeypatch.delitem(sys.modules, "crimeface_lib.reconstruction.rasterize_pytorch3d", raising=False)
    with pytest.raises(MissingBackendError, match=r"pytorch3d.*others: numba, torch; conda env create"):
        load_backend("rasterizers", "pytorch3d")
    load_backend.cache_clear()
