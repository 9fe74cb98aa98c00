"""The face viewer without a server: its widgets are driven as a page would drive them."""

from __future__ import annotations

import base64
import re
from datetime import UTC, datetime
from io import BytesIO

import numpy as np
import pytest
import trimesh
from PIL import Image

from crimeface_lib.apps import FaceViewer
from crimeface_lib.apps.face_parts import draw_photo, expression_groups
from crimeface_lib.faces import detect_faces


@pytest.fixture(scope="module")
def viewer() -> FaceViewer:
    made = FaceViewer(model="builtin")
    made.sample.click()
    return made


def upload(viewer: FaceViewer, data: bytes) -> None:
    when = datetime.now(UTC)
    file = {"name": "x", "type": "", "size": len(data), "content": memoryview(data), "last_modified": when}
    viewer.upload.value = (file,)


def file_of(viewer: FaceViewer, kind: str) -> bytes:
    found = re.search(rf'href="data:[\w/-]+;base64,([\w+/=]+)" title="[^"]*">{kind}<', viewer.downloads.value)
    assert found, f"no link for {kind}"
    return base64.b64decode(found[1])


def test_nothing_is_read_before_it_is_asked_for():
    viewer = FaceViewer(model="no such model")
    assert "cf-idle" in viewer.status.value
    assert viewer.reconstruction is None
    assert "25 MB" in str([child.value for child in viewer.widget.children[0].children if hasattr(child, "value")])


def test_the_sample_becomes_a_face(viewer):
    assert "cf-ready" in viewer.status.value, viewer.status.value
    assert "One face was found" in viewer.status.value
    assert viewer.stage.children == (viewer._plot,)
    assert viewer.photo.value.count("<circle") == 68
    assert not viewer.upload.disabled


def test_a_slider_moves_the_vertices_of_the_mesh_shown_and_nothing_else(viewer):
    viewer.look.value = "shape"
    mesh, _ = viewer._meshes["shape"]
    sent = []
    mesh.observe(lambda change: sent.append(change["name"]))
    viewer.neutral.click()
    closed = mesh.vertices.copy()
    viewer.sliders["Open mouth"].value = 1.0
    assert set(sent) == {"vertices"}
    result = viewer.reconstruction
    expected = np.zeros(len(result.model.expression))
    expected[expression_groups(result.model.expression_names)["Open mouth"]] = 1.0
    moved = result.model.decode(result.fit.identity, expected) - result.model.decode(result.fit.identity)
    np.testing.assert_allclose(mesh.vertices - closed, moved, atol=1e-3)
    assert np.linalg.norm(moved, axis=1).max() > 5.0


def test_as_in_the_photo_brings_the_fitted_expression_back(viewer):
    viewer.look.value = "shape"
    viewer.neutral.click()
    viewer.as_photo.click()
    mesh, _ = viewer._meshes["shape"]
    np.testing.assert_allclose(mesh.vertices, viewer.reconstruction.mesh(True).vertices, atol=1e-3)


def test_one_look_is_shown_at_a_time_and_the_scale_with_uncertainty_only(viewer):
    for look in ("appearance", "skin", "shape", "uncertainty"):
        viewer.look.value = look
        assert [name for name, (mesh, _) in viewer._meshes.items() if mesh.visible] == [look]
        assert ("mm standard deviation" in viewer.legend.value) == (look == "uncertainty")
    viewer.wireframe.value = True
    assert viewer._meshes["uncertainty"][0].wireframe
    viewer.wireframe.value = False


def test_the_even_light_shows_the_skin_without_the_photos_light_and_the_slider_sets_the_strength(viewer):
    viewer.look.value = "skin"
    skin, appearance = viewer._meshes["skin"][0], viewer._meshes["appearance"][0]
    shown = np.asarray(Image.open(BytesIO(skin.texture)).convert("RGB"), float)
    assert np.abs(shown - viewer.reconstruction.albedo).mean() < 4
    assert skin.texture != appearance.texture
    np.testing.assert_array_equal(skin.uvs, appearance.uvs)
    viewer.light.value = 2.5
    assert viewer._plot.lighting == 2.5
    viewer.light.value = 1.7


def test_a_look_shown_later_has_the_expression_of_the_sliders(viewer):
    viewer.look.value = "shape"
    viewer.neutral.click()
    viewer.look.value = "appearance"
    mesh, old = viewer._meshes["appearance"]
    np.testing.assert_allclose(mesh.vertices, viewer.reconstruction.mesh(False).vertices[old], atol=1e-3)
    viewer.as_photo.click()


def test_files_are_whole(viewer):
    glb = trimesh.load(BytesIO(file_of(viewer, "GLB")), file_type="glb", force="mesh")
    ply = trimesh.load(BytesIO(file_of(viewer, "PLY")), file_type="ply", force="mesh")
    shown = viewer.reconstruction.mesh(True)
    assert len(glb.faces) == len(ply.faces) == len(shown.triangles)
    used = shown.vertices[np.unique(shown.triangles)]
    np.testing.assert_allclose(np.ptp(glb.vertices, axis=0) * 1000, np.ptp(used, axis=0), rtol=1e-4)
    assert file_of(viewer, "OBJ")[:2] == b"PK"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"hello", "not a photo that can be read"),
        (b"", "not a photo that can be read"),
    ],
)
def test_what_is_no_photo_is_told_plainly(data, said):
    viewer = FaceViewer(model="builtin")
    viewer.show_photo(data)
    assert said in viewer.status.value
    assert "cf-problem" in viewer.status.value
    assert "0x" not in viewer.status.value, "an address in memory is no message"


def test_a_photo_without_a_face_is_told_plainly():
    viewer = FaceViewer(model="builtin")
    file = BytesIO()
    Image.new("RGB", (300, 200), "grey").save(file, "PNG")
    upload(viewer, file.getvalue())
    assert "No face was found" in viewer.status.value
    assert viewer.upload.value == (), "the photo is let go"
    assert not viewer.sample.disabled


def test_a_photo_that_fails_takes_the_face_before_it_off_the_page(astronaut):
    viewer = FaceViewer(model="builtin")
    viewer.show_sample()
    viewer.show_photo(b"hello")
    assert viewer.reconstruction is None
    assert "appears here" in viewer.stage.children[0].value
    assert viewer.photo.value == viewer.downloads.value == ""
    viewer.look.value = "shape"
    assert viewer.legend.value == ""


def test_a_photo_over_the_limit_is_refused_with_the_limit():
    viewer = FaceViewer(model="builtin", max_bytes=1000)
    upload(viewer, bytes(1500))
    assert "limit is 0.001 MB" in viewer.status.value
    viewer.show_photo(bytes(1500))
    assert "limit is 0.001 MB" in viewer.status.value


def test_a_missing_model_is_told(astronaut):
    viewer = FaceViewer(model="nonsense")
    viewer.show_photo(astronaut)
    assert "cf-problem" in viewer.status.value
    assert "nonsense" in viewer.status.value


def test_our_own_fault_is_told_without_a_traceback(astronaut, monkeypatch):
    viewer = FaceViewer(model="builtin")
    monkeypatch.setattr(viewer, "_fit", lambda index: 1 / 0)
    viewer.show_photo(astronaut)
    assert "our side" in viewer.status.value
    assert "ZeroDivision" not in viewer.status.value
    assert not viewer.sample.disabled


def test_of_several_faces_the_one_used_is_named_and_another_can_be_chosen(astronaut, monkeypatch):
    viewer = FaceViewer(model="builtin")
    fitted = []
    monkeypatch.setattr(viewer, "_fit", fitted.append)
    monkeypatch.setattr(viewer, "_offer_files", lambda: None)
    portrait = Image.fromarray(astronaut[20:220, 120:320])
    canvas = np.full((400, 720, 3), 255, np.uint8)
    canvas[:, :400], canvas[:300, 420:] = portrait.resize((400, 400)), portrait.resize((300, 300))
    viewer.show_photo(canvas)
    assert "2 faces were found; the largest one" in viewer.status.value
    assert viewer.which.layout.display != "none"
    assert len(viewer.which.options) == 2
    viewer.which.value = 1
    assert fitted == [0, 1]
    assert "number 1" in viewer.status.value


def test_the_overlay_lies_on_the_face(astronaut):
    faces = detect_faces(astronaut)
    svg = draw_photo(astronaut, faces, 0)
    width, height = map(int, re.search(r'viewBox="0 0 (\d+) (\d+)"', svg).groups())
    x, y, w, h = map(
        float, re.search(r'<rect x="([\d.]+)" y="([\d.]+)" width="([\d.]+)" height="([\d.]+)"', svg).groups()
    )
    assert 0 <= x < x + w <= width
    assert 0 <= y < y + h <= height
    assert (w, h) == pytest.approx((faces[0].width, faces[0].height), abs=0.1)
