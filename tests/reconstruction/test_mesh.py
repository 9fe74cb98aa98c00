"""Files are read back by trimesh: right size, right place, texture the right way up."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pytest
import trimesh

from crimeface_lib.core.errors import InputError
from crimeface_lib.reconstruction import Camera, Mesh, MorphableModel
from crimeface_lib.reconstruction.shade import render

#: Colours of the four quarters of the texture, top left, top right, bottom left, bottom right.
QUARTERS = np.array([[200, 30, 30], [30, 200, 30], [30, 30, 200], [200, 200, 30]], np.uint8)


@pytest.fixture
def head(toy: MorphableModel) -> Mesh:
    texture = np.zeros((64, 64, 3), np.uint8)
    texture[:32, :32], texture[:32, 32:], texture[32:, :32], texture[32:, 32:] = QUARTERS
    sd = np.linspace(0, 2, len(toy.mean))
    return Mesh(toy.mean, toy.triangles, toy.uv, toy.triangles_uv, texture, sd, {"face_model_licence": "CC0"})


def _expected(points: np.ndarray) -> np.ndarray:
    """v grows with y and u with the turn about y: the toy's quarters are its upper and lower left and right."""
    return QUARTERS[2 * (points[:, 1] < 0) + (points[:, 0] > 0)]


def _inner(points: np.ndarray) -> np.ndarray:
    return (np.abs(points[:, 1]) > 8) & (np.abs(points[:, 0]) > 8)


def _texture_at_vertices(mesh: trimesh.Trimesh) -> np.ndarray:
    material = mesh.visual.material
    image = getattr(material, "baseColorTexture", None) or material.image
    return trimesh.visual.color.uv_to_color(mesh.visual.uv, image)[:, :3]


def test_glb_is_in_metres_with_its_texture_and_provenance(head: Mesh, tmp_path: Path) -> None:
    (path,) = head.export(tmp_path / "head.glb")
    mesh = trimesh.load(path, force="mesh", process=False)
    points = np.asarray(mesh.vertices) * 1000
    np.testing.assert_allclose(np.ptp(points, 0), np.ptp(head.vertices, 0), rtol=1e-5)
    inner = _inner(points)
    np.testing.assert_array_equal(_texture_at_vertices(mesh)[inner], _expected(points)[inner])
    data = path.read_bytes()
    tree = json.loads(data[20 : 20 + struct.unpack("<I", data[12:16])[0]])
    assert tree["asset"]["extras"] == {"face_model_licence": "CC0", "unit": "metre"}


def test_obj_names_its_material_and_picture(head: Mesh, tmp_path: Path) -> None:
    files = head.export(tmp_path / "head.obj")
    assert [file.name for file in files] == ["head.obj", "head.mtl", "head.png"]
    mesh = trimesh.load(files[0], force="mesh", process=False)
    points = np.asarray(mesh.vertices)
    np.testing.assert_allclose(np.ptp(points, 0), np.ptp(head.vertices, 0), rtol=1e-4)
    inner = _inner(points)
    np.testing.assert_array_equal(_texture_at_vertices(mesh)[inner], _expected(points)[inner])
    assert files[0].read_text().startswith("# face_model_licence: CC0\n# unit: millimetre\n")


def test_ply_has_colour_and_uncertainty(head: Mesh, tmp_path: Path) -> None:
    (path,) = head.export(tmp_path / "head.ply")
    mesh = trimesh.load(path, process=False)
    points = np.asarray(mesh.vertices)
    np.testing.assert_allclose(points, head.vertices, atol=1e-4)
    inner = _inner(points)
    np.testing.assert_array_equal(mesh.visual.vertex_colors[inner, :3], _expected(points)[inner])
    assert b"comment face_model_licence: CC0" in path.read_bytes()
    np.testing.assert_allclose(mesh.metadata["_ply_raw"]["vertex"]["data"]["sd_mm"].ravel(), head.vertex_sd, rtol=1e-6)


def test_npz_holds_every_array(head: Mesh, tmp_path: Path) -> None:
    (path,) = head.export(tmp_path / "head.npz")
    with np.load(path, allow_pickle=False) as data:
        np.testing.assert_array_equal(data["vertices"], head.vertices)
        np.testing.assert_array_equal(data["texture"], head.texture)
        assert "unit: millimetre" in data["about"]


def test_unknown_suffix_is_refused(head: Mesh, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"expected one of \.glb, \.obj, \.ply, \.npz"):
        head.export(tmp_path / "head.stl")


def test_pictures_show_the_texture_the_right_way_up(head: Mesh) -> None:
    picture = render(head, Camera.look("frontal", head.vertices, size=128))
    assert picture.shape == (128, 128, 3)
    for (row, column), colour in zip(((40, 40), (40, 88), (88, 40), (88, 88)), QUARTERS, strict=True):
        np.testing.assert_array_equal(picture[row, column], colour)
    np.testing.assert_array_equal(picture[2, 2], [240, 240, 242])


def test_shape_is_lit_and_uncertainty_follows_the_limits(head: Mesh) -> None:
    camera = Camera.look("frontal", head.vertices, size=96)
    shape = render(head, camera, what="shape")
    assert shape[48, 40].mean() > shape[80, 60].mean() > 50
    low, high = (render(head, camera, what="uncertainty", limits=limits) for limits in ((0, 100), (-100, 0)))
    assert low[48, 48, 2] > low[48, 48, 0], "the dark end of cividis is blue"
    assert high[48, 48, 0] > high[48, 48, 2], "its bright end is yellow"
    with pytest.raises(InputError, match="texture, shape, uncertainty"):
        render(head, camera, what="wireframe")
