"""The camera against OpenCV's own projection."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from crimeface_lib.core.errors import InputError, ShapeError
from crimeface_lib.reconstruction import Camera
from crimeface_lib.reconstruction.camera import FACING, VIEWS

POINTS = np.random.default_rng(0).normal(size=(30, 3)) * [60, 90, 60]


def _camera(yaw: float = 20.0, pitch: float = -10.0, roll: float = 5.0) -> Camera:
    turn = Rotation.from_euler("ZXY", [roll, pitch, yaw], degrees=True).as_matrix()
    return Camera(FACING @ turn, np.array([10.0, -20, 900]), 1100.0, np.array([250.0, 190]), (400, 500))


def test_projection_agrees_with_opencv() -> None:
    camera = _camera()
    matrix = np.array([[camera.focal, 0, 250.0], [0, camera.focal, 190], [0, 0, 1]])
    vector = cv2.Rodrigues(camera.rotation)[0]
    expected = cv2.projectPoints(POINTS, vector, camera.translation, matrix, None)[0][:, 0]
    pixels, depth = camera.project(POINTS)
    np.testing.assert_allclose(pixels, expected, atol=1e-8)
    np.testing.assert_allclose(depth, (POINTS @ camera.rotation.T + camera.translation)[:, 2])


def test_angles_are_those_of_the_head() -> None:
    np.testing.assert_allclose(_camera(35, 0, 0).yaw_pitch_roll, [35, 0, 0], atol=1e-9)
    np.testing.assert_allclose(np.abs(_camera(0, -12, 0).yaw_pitch_roll), [0, 12, 0], atol=1e-9)
    nose = np.array([[0.0, 0, 100]])
    assert (
        Camera.look((30.0, 0.0), POINTS).project(nose)[0][0, 0] > Camera.look("frontal", POINTS).project(nose)[0][0, 0]
    )


def test_centre_projects_to_depth_zero() -> None:
    camera = _camera()
    assert camera.transform(camera.centre[None]) == pytest.approx(np.zeros((1, 3)), abs=1e-9)


def test_resized_scales_pixels() -> None:
    camera = _camera()
    np.testing.assert_allclose(camera.resized(0.5).project(POINTS)[0], camera.project(POINTS)[0] / 2)


@pytest.mark.parametrize("view", VIEWS)
def test_standard_views_hold_the_whole_head(view: str) -> None:
    pixels, depth = Camera.look(view, POINTS, size=300).project(POINTS)
    assert (depth > 0).all()
    assert pixels.min() > 0
    assert pixels.max() < 300


def test_pytorch3d_keywords_follow_its_convention() -> None:
    """PyTorch3D: row vectors, x left and y up in the camera, screen = principal - focal * (x, y) / z."""
    camera = _camera()
    keywords = camera.to_pytorch3d()
    view = POINTS @ keywords["R"][0] + keywords["T"][0]
    screen = keywords["principal_point"][0] - keywords["focal_length"][0] * view[:, :2] / view[:, 2:]
    np.testing.assert_allclose(screen, camera.project(POINTS)[0], atol=1e-2)


def test_nonsense_is_refused() -> None:
    with pytest.raises(ShapeError, match="orthonormal"):
        Camera(2 * np.eye(3), np.zeros(3), 1.0, np.zeros(2), (1, 1))
    with pytest.raises(InputError, match="focal"):
        Camera(np.eye(3), np.zeros(3), 0.0, np.zeros(2), (1, 1))
    with pytest.raises(InputError, match="expected one of frontal"):
        Camera.look("behind", POINTS)
