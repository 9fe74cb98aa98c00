"""Files are read back by trimesh: right size, right place, texture the right way up."""

from __future__ import annotations

import json
import os
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


def _painted(toy: MorphableModel) -> Mesh:
    """A texture in which no two places look alike."""
    row, column = np.mgrid[:256, :256] / 255
    ripple = 20 * np.sin(9 * row + 4 * column)
    texture = np.stack([60 + 160 * row, 60 + 160 * column, 120 + 3 * ripple], -1).astype(np.uint8)
    sd = np.linspace(0, 2, len(toy.mean))
    return Mesh(toy.mean, toy.triangles, toy.uv, toy.triangles_uv, texture, sd, {"face_model_licence": "© CC0"})


def _reloaded(path: Path) -> Mesh:
    """What another program reads, as a Mesh in millimetres."""
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as data:
            return Mesh(**{name: data[name] for name in data.files if name != "about"})
    mesh = trimesh.load(path, force="mesh", process=False)
    unit = 1000.0 if path.suffix == ".glb" else 1.0
    material = mesh.visual.material
    image = np.asarray((getattr(material, "baseColorTexture", None) or material.image).convert("RGB"))
    faces, uv = np.asarray(mesh.faces), np.asarray(mesh.visual.uv)
    return Mesh(np.asarray(mesh.vertices) * unit, faces, uv, faces, image, np.zeros(len(mesh.vertices)))


@pytest.mark.parametrize("name", ["head.glb", "head.obj", "head.npz", "my first head.obj", "MY HEAD.GLB"])
def test_the_file_read_back_looks_like_the_head(name: str, toy: MorphableModel, tmp_path: Path) -> None:
    head = _painted(toy)
    path = head.export(tmp_path / "a folder" / name)[0]
    again = _reloaded(path.rename(path.with_suffix(path.suffix.lower())))
    for view in ("frontal", "three-quarter"):
        camera = Camera.look(view, head.vertices, size=160)
        ours, theirs = (render(mesh, camera).astype(int) for mesh in (head, again))
        difference = np.abs(ours - theirs).max(-1)
        assert (difference > 6).mean() < 0.005, "the same picture but for rounding at edges"
        assert np.abs(ours - ours[:, ::-1]).mean() > 5, "a flip would show"


def test_the_ply_read_back_has_the_same_shape(toy: MorphableModel, tmp_path: Path) -> None:
    head = _painted(toy)
    mesh = trimesh.load(head.export(tmp_path / "head.ply")[0], process=False)
    again = Mesh(
        np.asarray(mesh.vertices), np.asarray(mesh.faces), head.uv, head.triangles_uv, head.texture, head.vertex_sd
    )
    camera = Camera.look("three-quarter", head.vertices, size=160)
    np.testing.assert_allclose(render(again, camera, what="shape"), render(head, camera, what="shape"), atol=1)


def test_a_file_is_replaced_and_nothing_else_is_left(head: Mesh, tmp_path: Path) -> None:
    first = head.export(tmp_path / "my head.obj")
    (tmp_path / "my head.obj").write_text("old")
    assert head.export(tmp_path / "my head.obj") == first
    assert (tmp_path / "my head.obj").read_text().startswith("# face_model_licence")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["my head.obj", "my_head.mtl", "my_head.png"]


@pytest.mark.parametrize("failing", [1, 2, 3])
def test_a_write_that_fails_leaves_what_was_there(
    failing: int, head: Mesh, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "head.obj").write_text("old")
    calls = []

    def full(path: Path, data: bytes) -> None:
        calls.append(path)
        if len(calls) == failing:
            raise OSError(28, "No space left on device")
        path.write_bytes(data)

    monkeypatch.setattr("crimeface_lib.reconstruction.mesh.write_atomic", full)
    with pytest.raises(InputError, match=r"can't write head\.obj.*No space left"):
        head.export(tmp_path / "head.obj")
    assert [file.name for file in tmp_path.iterdir()] == ["head.obj"]
    assert (tmp_path / "head.obj").read_text() == "old"


def test_places_that_cant_be_written_to_are_named(head: Mesh, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="choose a folder you may write to"):
        head.export(tmp_path / "file" / "head.glb")
    if os.geteuid() != 0:  # root may write anywhere
        (tmp_path / "locked").mkdir(mode=0o500)
        with pytest.raises(InputError, match="Permission denied"):
            head.export(tmp_path / "locked" / "head.glb")
    (tmp_path / "folder.glb").mkdir()
    with pytest.raises(InputError, match=r"can't write folder\.glb"):
        head.export(tmp_path / "folder.glb")


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
