"""From a photo to a head, on a public-domain portrait."""

from __future__ import annotations

import io
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import trimesh
from PIL import Image

from crimeface_lib.core.errors import InputError, NoFaceError, ShapeError
from crimeface_lib.reconstruction import Reconstruction, load_morphable_model, reconstruct


@pytest.fixture(scope="module", params=["builtin", "ict"])
def result(request: pytest.FixtureRequest, astronaut: np.ndarray) -> Reconstruction:
    if request.param == "ict":
        request.getfixturevalue("data_root")
    return reconstruct(astronaut, model=request.param, texture_size=256)


def test_the_fit_lies_on_the_landmarks(result: Reconstruction) -> None:
    row = result.to_frame().iloc[0]
    assert row["residual_px"] < 3.5
    assert abs(row["yaw_deg"]) < 20
    assert "One face was found" in result.sentences[0]
    assert any("Metric scale unknown" in text for text in result.warnings)
    assert (result.vertex_sd >= 0).all()


def test_the_picture_from_the_photos_camera_looks_like_the_photo(result: Reconstruction, astronaut: np.ndarray) -> None:
    picture = result.render(result.cameras[0])
    assert picture.shape == astronaut.shape
    points = result.cameras[0].project(result.model.landmarks(result.mesh(True).vertices))[0]
    low, high = points[17:].min(0).astype(int), points[17:].max(0).astype(int)
    middle = slice(low[1], high[1]), slice(low[0], high[0])
    difference = np.abs(picture[middle].astype(float) - astronaut[middle]).mean()
    assert difference < 8


def test_views_mesh_and_viewer_arrays(result: Reconstruction) -> None:
    for what in ("texture", "shape", "uncertainty"):
        assert result.render("profile", 96, what=what).shape == (96, 96, 3)
    arrays = result.viewer_arrays()
    assert arrays["triangles"].max() == len(arrays["vertices"]) - 1 == len(arrays["uv"]) - 1
    assert arrays["vertices"].dtype == np.float32
    assert result.uncertainty_limits[1] > 0
    moved = np.abs(result.mesh(True).vertices - result.mesh().vertices).max()
    assert moved > 0.5
    with pytest.raises(InputError, match="expression"):
        result.mesh(3)


def test_the_light_is_known_and_can_be_changed(result: Reconstruction) -> None:
    assert result.lighting.shape == (1, 9, 3)
    assert result.albedo.shape == result.texture.shape
    left, right = np.zeros((9, 3)), np.zeros((9, 3))
    left[:2], right[:2] = [[0.6], [-0.5]], [[0.6], [0.5]]
    lit = [result.render(size=96, lighting=light).astype(float).mean(2) for light in (left, right)]
    assert lit[0][:, :48].mean() > 1.05 * lit[0][:, 48:].mean()
    assert lit[1][:, 48:].mean() > 1.05 * lit[1][:, :48].mean()
    again = result.render(result.cameras[0], lighting=result.lighting[0]).astype(float)
    points = result.cameras[0].project(result.model.landmarks(result.mesh(True).vertices))[0]
    low, high = points[17:].min(0).astype(int), points[17:].max(0).astype(int)
    middle = slice(low[1], high[1]), slice(low[0], high[0])
    difference = np.abs(again[middle] - result.render(result.cameras[0])[middle])
    assert difference.mean() < 6, "albedo in the photo's own light is the photo"
    assert result.frontal(96).shape == result.render(size=96, what="albedo").shape == (96, 96, 3)
    with pytest.raises(InputError, match="lighting"):
        result.render(what="shape", lighting=left)


def test_without_the_pixels_the_landmarks_stand(astronaut: np.ndarray, result: Reconstruction) -> None:
    plain = reconstruct(astronaut, model=result.model, photometric=False, device="cpu", texture_size=64)
    assert plain.shading is None
    assert plain.lighting.shape == (0, 9, 3)
    assert plain.frontal(64).shape == (64, 64, 3)
    with pytest.raises(InputError, match="photometric=True"):
        plain.render(what="albedo")
    moved = np.abs(plain.mesh().vertices - result.mesh().vertices).max()
    assert (0.05 < moved < 15) == result.shading.refined


def test_spectacles_are_flagged(astronaut: np.ndarray, result: Reconstruction) -> None:
    assert not any("bridge of the nose" in text for text in result.warnings)
    points = result.cameras[0].project(result.model.landmarks(result.mesh(True).vertices))[0]
    framed = astronaut.copy()
    for eye in (points[36:42], points[42:48]):
        cv2.circle(framed, np.round(eye.mean(0)).astype(int).tolist(), 9, (20, 20, 20), 2)
    cv2.line(framed, *np.round(points[[39, 42]] - [0, 2]).astype(int).tolist(), (20, 20, 20), 2)
    worn = reconstruct(framed, model=result.model, texture_size=64)
    assert any("bridge of the nose" in text for text in worn.warnings)


def test_files_carry_provenance(result: Reconstruction, tmp_path: Path) -> None:
    (path,) = result.export(tmp_path / "head.glb")
    mesh = trimesh.load(path, force="mesh")
    assert 0.15 < mesh.extents[1] < 0.5, "metres"
    header = path.read_bytes()[:200_000]
    assert result.model.licence.encode() in header
    assert json.dumps(result.to_dict())
    assert "<img" in result._repr_html_()


def test_a_known_length_sets_the_scale(astronaut: np.ndarray, result: Reconstruction) -> None:
    scaled = reconstruct(astronaut, model=result.model, interpupillary_mm=70.0, texture_size=64)
    points = scaled.model.landmarks(scaled.mesh().vertices)
    assert np.linalg.norm(points[[36, 39]].mean(0) - points[[42, 45]].mean(0)) == pytest.approx(70.0)
    assert not any("Metric scale unknown" in text for text in scaled.warnings)
    before = result.cameras[0].project(result.mesh(True).vertices)[0]
    np.testing.assert_allclose(scaled.cameras[0].project(scaled.mesh(True).vertices)[0], before, atol=1e-6)


def test_several_photos_share_one_identity(astronaut: np.ndarray) -> None:
    model = load_morphable_model("builtin")
    both = reconstruct([astronaut, astronaut[:, 20:]], model=model, texture_size=64)
    assert len(both.cameras) == 2
    assert both.sentences[1].startswith("Photo 2:")


def test_the_focal_length_of_exif_is_used_and_said(astronaut: np.ndarray) -> None:
    exif, buffer = Image.Exif(), io.BytesIO()
    height, width = astronaut.shape[:2]
    exif.get_ifd(0x8769).update({0xA405: 85, 0xA002: width, 0xA003: height})
    Image.fromarray(astronaut).save(buffer, "JPEG", quality=95, exif=exif)
    focal = 85 * np.hypot(width, height) / np.hypot(36, 24)
    model = load_morphable_model("builtin")
    for source in (buffer.getvalue(), io.BytesIO(buffer.getvalue())):
        told = reconstruct(source, model=model, texture_size=64, photometric=False)
        assert told.cameras[0].focal == pytest.approx(focal, rel=0.1)
        assert told.fit.focal_sd[0] < 0.06 * focal
        assert told.sentences[0].endswith("Focal length from the photo: 85 mm equivalent in EXIF.")
    guessed = reconstruct(astronaut, model=model, texture_size=64, photometric=False)
    assert "Focal length fitted with the face" in guessed.sentences[0]
    assert guessed.fit.focal_sd[0] > told.fit.focal_sd[0]


def test_what_is_no_portrait_is_refused(astronaut: np.ndarray) -> None:
    with pytest.raises(NoFaceError):
        reconstruct(np.zeros((100, 100, 3), np.uint8), model="builtin")
    with pytest.raises(InputError, match="at least one photo"):
        reconstruct([])
    with pytest.raises(ShapeError):
        reconstruct(np.zeros((10, 10)))
    for size in (10, 4096, 256.5):
        with pytest.raises(InputError, match="texture_size"):
            reconstruct(astronaut, texture_size=size)
    with pytest.raises(InputError, match="device"):
        reconstruct(astronaut, device="abacus")
    with pytest.raises(InputError, match="interpupillary_mm"):
        reconstruct(astronaut, interpupillary_mm=6.5)
