"""The face viewer without a server: its widgets are driven as a page would drive them."""

from __future__ import annotations

import base64
import re
from datetime import UTC, datetime
from io import BytesIO

import ipywidgets as widgets
import numpy as np
import pytest
import trimesh
from PIL import Image

from crimeface_lib.apps import FaceViewer
from crimeface_lib.apps.face_page import MAX_PHOTOS
from crimeface_lib.apps.face_parts import draw_photo, expression_groups
from crimeface_lib.faces import detect_faces


@pytest.fixture(scope="module")
def viewer() -> FaceViewer:
    made = FaceViewer(model="builtin")
    made.sample.click()
    return made


def upload(viewer: FaceViewer, **files: bytes) -> None:
    when = datetime.now(UTC)
    viewer.upload.value = tuple(
        {"name": name, "type": "", "size": len(data), "content": memoryview(data), "last_modified": when}
        for name, data in files.items()
    )


def png(image: np.ndarray) -> bytes:
    file = BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()


def file_of(viewer: FaceViewer, kind: str) -> bytes:
    found = re.search(rf'href="data:[\w/-]+;base64,([\w+/=]+)" title="[^"]*">{kind}<', viewer.downloads.value)
    assert found, f"no link for {kind}"
    return base64.b64decode(found[1])


def test_nothing_is_read_before_it_is_asked_for():
    viewer = FaceViewer(model="no such model")
    assert "cf-idle" in viewer.status.value
    assert viewer.reconstruction is None
    assert "50 MB" in str([child.value for child in viewer.widget.children[0].children if hasattr(child, "value")])


def test_a_notebook_shows_it_as_a_widget(viewer):
    assert "application/vnd.jupyter.widget-view+json" in viewer._repr_mimebundle_()


def test_the_sample_becomes_a_face(viewer):
    assert "cf-ready" in viewer.status.value, viewer.status.value
    assert "One face was found" in viewer.status.value
    assert viewer.canvas.children == (viewer.stage.plot,)
    assert viewer.gallery.value.count("<circle") == 68
    assert not viewer.upload.disabled


def test_a_slider_moves_the_vertices_of_the_mesh_shown_and_nothing_else(viewer):
    viewer.look.value = "shape"
    mesh, _ = viewer.stage._meshes["shape"]
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
    mesh, _ = viewer.stage._meshes["shape"]
    np.testing.assert_allclose(mesh.vertices, viewer.reconstruction.mesh(True).vertices, atol=1e-3)


def test_one_look_is_shown_at_a_time_and_the_scale_with_uncertainty_only(viewer):
    for look in ("appearance", "skin", "shape", "uncertainty"):
        viewer.look.value = look
        assert [name for name, (mesh, _) in viewer.stage._meshes.items() if mesh.visible] == [look]
        assert ("mm standard deviation" in viewer.legend.value) == (look == "uncertainty")
    viewer.wireframe.value = True
    assert viewer.stage._meshes["uncertainty"][0].wireframe
    viewer.wireframe.value = False


def test_the_even_light_shows_the_skin_without_the_photos_light_and_the_slider_sets_the_strength(viewer):
    viewer.look.value = "skin"
    skin, appearance = viewer.stage._meshes["skin"][0], viewer.stage._meshes["appearance"][0]
    shown = np.asarray(Image.open(BytesIO(skin.texture)).convert("RGB"), float)
    assert np.abs(shown - viewer.reconstruction.albedo).mean() < 4
    assert skin.texture != appearance.texture
    np.testing.assert_array_equal(skin.uvs, appearance.uvs)
    viewer.lights[2].value = 2.5
    assert "recalculateLights(2.50)" in viewer.stage.plot.additional_js_code
    viewer.lights[2].value = 1.7


def test_a_look_shown_later_has_the_expression_of_the_sliders(viewer):
    viewer.look.value = "shape"
    viewer.neutral.click()
    viewer.look.value = "appearance"
    mesh, old = viewer.stage._meshes["appearance"]
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
    viewer.show_photos([data])
    assert said in viewer.status.value
    assert "cf-problem" in viewer.status.value
    assert "0x" not in viewer.status.value, "an address in memory is no message"


def test_a_photo_without_a_face_is_told_plainly():
    viewer = FaceViewer(model="builtin")
    upload(viewer, grey=png(np.full((200, 300, 3), 128, np.uint8)))
    assert "No face was found" in viewer.status.value
    assert viewer.upload.value == (), "the photo is let go"
    assert not viewer.sample.disabled


def test_a_photo_that_fails_takes_the_face_before_it_off_the_page(astronaut):
    viewer = FaceViewer(model="builtin")
    viewer.show_sample()
    viewer.show_photos([b"hello"])
    assert viewer.reconstruction is None
    assert "appears here" in viewer.canvas.children[0].value
    assert "<svg" not in viewer.gallery.value
    assert viewer.downloads.value == ""
    viewer.look.value = "shape"
    assert viewer.legend.value == ""


def test_a_photo_over_the_limit_is_refused_with_the_limit():
    viewer = FaceViewer(model="builtin", max_bytes=1000)
    upload(viewer, x=bytes(1500))
    assert "limit is 0.001 MB" in viewer.status.value
    viewer.show_photos([bytes(1500)])
    assert "limit is 0.001 MB" in viewer.status.value


def test_a_missing_model_is_told(astronaut):
    viewer = FaceViewer(model="nonsense")
    viewer.show_photos([astronaut])
    assert "cf-problem" in viewer.status.value
    assert "nonsense" in viewer.status.value


def test_our_own_fault_is_told_without_a_traceback(astronaut, monkeypatch):
    viewer = FaceViewer(model="builtin")
    monkeypatch.setattr(viewer, "_reconstruct", lambda taken: 1 / 0)
    viewer.show_photos([astronaut])
    assert "our side" in viewer.status.value
    assert "ZeroDivision" not in viewer.status.value
    assert not viewer.sample.disabled


def test_of_several_faces_the_one_used_is_named_and_another_can_be_chosen(astronaut):
    viewer = FaceViewer(model="builtin")
    portrait = Image.fromarray(astronaut[20:220, 120:320])
    canvas = np.full((400, 720, 3), 255, np.uint8)
    canvas[:, :400], canvas[:300, 420:] = portrait.resize((400, 400)), portrait.resize((300, 300))
    viewer.show_photos([canvas])
    assert "2 faces were found; the largest one" in viewer.status.value
    assert viewer.which.layout.display != "none"
    assert len(viewer.which.options) == 2
    larger = viewer.reconstruction.cameras[0]
    viewer.which.value = 1
    assert "number 2" in viewer.status.value
    assert viewer.reconstruction.landmarks()[:, 0].min() > 400 > larger.principal[0]
    assert viewer.which.value == 1


@pytest.fixture(scope="module")
def several(astronaut):
    """Three photos of which one shows nobody, uploaded together."""
    made = FaceViewer(model="builtin")
    said = []
    made.status.observe(lambda change: said.append(change["new"]), "value")
    tilted = np.asarray(Image.fromarray(astronaut).rotate(12, resample=Image.Resampling.BICUBIC))
    upload(made, first=png(astronaut), wall=png(np.full((200, 300, 3), 128, np.uint8)), tilted=png(tilted))
    return made, said


def test_several_photos_make_one_head_and_the_one_without_a_face_is_named(several):
    viewer, said = several
    assert "cf-ready" in viewer.status.value, viewer.status.value
    assert "One head from 2 photos" in viewer.status.value
    assert "Left out: wall" in viewer.status.value
    assert viewer.gallery.value.count("<circle") == 2 * 68
    assert "wall: No face was found" in viewer.gallery.value
    assert "2: tilted" in viewer.gallery.value
    assert len(viewer.reconstruction.cameras) == 2
    assert "From one photo the surface is known" in viewer.facts.value
    bars = [float(bar) for text in said for bar in re.findall(r'<progress max="1" value="([\d.]+)"', text)]
    assert bars == sorted(bars)
    assert len(set(bars)) == 5, "three photos, the fit, the painting"
    assert [f"Photo {k} of 3" in said[k - 1] for k in (1, 2, 3)] == [True] * 3


def test_as_in_the_photo_is_the_expression_and_the_view_of_the_photo_chosen(several):
    viewer, _ = several
    assert [label for label, _ in viewer.photo.options] == ["1 of 2: first", "2 of 2: tilted"]
    viewer.photo.value = 1
    assert viewer.gallery.value.index("cf-chosen") > viewer.gallery.value.index("1: first")
    viewer.as_photo.click()
    np.testing.assert_allclose(viewer.stage.mesh().vertices, viewer.reconstruction.mesh(1).vertices, atol=1e-6)
    eye, target, up = np.reshape(viewer.stage.plot.camera, (3, 3))
    rolled = np.degrees(np.arctan2(up[0], up[1]))
    assert abs(rolled) == pytest.approx(12, abs=4), "the photo was turned by 12 degrees"
    seen = viewer.reconstruction.cameras[1].rotation.T @ [0, 0, 1]
    np.testing.assert_allclose((target - eye) / np.linalg.norm(target - eye), seen, atol=1e-6)
    viewer.front.click()
    assert viewer.stage.plot.camera[6:] == [0, 1, 0]
    viewer.sample.click()
    assert "One face was found" in viewer.status.value, "the photo chosen before is no longer there"
    assert viewer.photo.layout.display == "none"


def test_too_many_photos_are_refused_with_the_limit():
    viewer = FaceViewer(model="builtin")
    upload(viewer, **{f"p{k}": b"x" for k in range(MAX_PHOTOS + 1)})
    assert f"limit is {MAX_PHOTOS}" in viewer.status.value


def test_when_no_photo_can_be_used_each_is_told_why():
    viewer = FaceViewer(model="builtin")
    upload(viewer, text=b"hello", wall=png(np.full((200, 300, 3), 128, np.uint8)))
    assert "text: This file is not a photo" in viewer.status.value
    assert "wall: No face was found" in viewer.status.value
    assert "cf-problem" in viewer.status.value


def test_the_lamp_stands_where_the_sliders_say(viewer):
    viewer.lights[0].value, viewer.lights[1].value = -80, 0
    x, y, z = map(float, re.search(r"keyLight\.position\.set\(([-\d.]+), ([-\d.]+), ([-\d.]+)\)",
                                   viewer.stage.plot.additional_js_code).groups())  # fmt: skip
    assert (x, y, z) == pytest.approx((-np.sin(np.radians(80)), 0, np.cos(np.radians(80))), abs=1e-3)
    lamp = viewer.stage.plot.additional_js_code
    ran = []
    viewer.stage.plot.observe(lambda change: ran.append(change["new"]), "additional_js_code")
    viewer.png.click()
    assert "getScreenshot" in ran[0]
    assert ran[1] == lamp, "a page opened anew saves no picture"
    viewer.lights[0].value, viewer.lights[1].value = 10, 25


def test_files_can_have_the_expression_of_the_sliders(viewer):
    viewer.neutral.click()
    viewer.sliders["Open mouth"].value = 1.0
    viewer.refile.click()
    ply = trimesh.load(BytesIO(file_of(viewer, "PLY")), file_type="ply", force="mesh", process=False)
    np.testing.assert_allclose(np.ptp(ply.vertices, axis=0), np.ptp(viewer.stage.mesh().vertices, axis=0), rtol=1e-4)
    assert "the expression set above" in viewer.downloads.value
    viewer.as_photo.click()
    viewer.refile.click()


def test_every_control_has_a_name_that_is_read_out(viewer):
    def controls(widget):
        yield widget
        for child in getattr(widget, "children", ()):
            yield from controls(child)

    kinds = (widgets.Button, widgets.FloatSlider, widgets.Dropdown, widgets.ToggleButton, widgets.FileUpload)
    found = [one for one in controls(viewer.widget) if isinstance(one, kinds)]
    assert len(found) >= 18
    assert all(one.description for one in found)


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
