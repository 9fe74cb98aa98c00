"""Surface metrics against scipy and trimesh."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh
from scipy.spatial import procrustes
from scipy.spatial.transform import Rotation

from crimeface_lib.core.errors import InputError, ShapeError
from crimeface_lib.metrics.surface import (
    align,
    closest_on_surface,
    normal_error,
    normalised_mean_error,
    point_to_surface,
)


@pytest.fixture
def cloud() -> np.ndarray:
    return np.random.default_rng(1).normal(size=(40, 3)) * [30, 50, 20]


def test_align_recovers_a_known_similarity(cloud: np.ndarray) -> None:
    rotation = Rotation.from_euler("xyz", [20, -40, 70], degrees=True).as_matrix()
    found = align(cloud, 1.3 * cloud @ rotation.T + [5, 6, 7])
    np.testing.assert_allclose(found.rotation, rotation, atol=1e-12)
    assert found.scale == pytest.approx(1.3)
    assert found.rms < 1e-9


def test_align_agrees_with_scipy_on_noisy_points(cloud: np.ndarray) -> None:
    rng = np.random.default_rng(2)
    target = cloud @ Rotation.random(rng=rng).as_matrix().T + rng.normal(size=cloud.shape)
    spread = np.linalg.norm(target - target.mean(0))
    expected = np.sqrt(procrustes(target, cloud)[2] * spread**2 / len(cloud))
    assert align(cloud, target).rms == pytest.approx(expected, rel=1e-9)
    rigid = Rotation.align_vectors(target - target.mean(0), cloud - cloud.mean(0))[0].as_matrix()
    np.testing.assert_allclose(align(cloud, target, scale=False).rotation, rigid, atol=1e-9)


def test_align_never_mirrors(cloud: np.ndarray) -> None:
    assert np.linalg.det(align(cloud, cloud * [-1, 1, 1]).rotation) == pytest.approx(1.0)


def test_align_refuses_what_fixes_no_rotation() -> None:
    line = np.arange(5.0)[:, None] * [1, 2, 3]
    with pytest.raises(InputError, match="on one line"):
        align(line, line)
    with pytest.raises(ShapeError, match="expected at least 3"):
        align(line[:2], line[:2])


@pytest.mark.parametrize("stretch", [(1, 1, 1), (1, 1, 40)])
def test_point_to_surface_agrees_with_trimesh(cloud: np.ndarray, stretch: tuple[int, int, int]) -> None:
    mesh = trimesh.creation.icosphere(subdivisions=2, radius=25.0)
    vertices = mesh.vertices * stretch
    corners = vertices[mesh.faces]
    nearest = trimesh.triangles.closest_point
    every = [nearest(corners, np.tile(point, (len(corners), 1))) - point for point in cloud]
    expected = [np.linalg.norm(offsets, axis=1).min() for offsets in every]
    np.testing.assert_allclose(point_to_surface(cloud, vertices, mesh.faces), expected, atol=1e-9)


def test_point_to_surface_refuses_missing_vertices() -> None:
    with pytest.raises(ShapeError, match="triangles"):
        point_to_surface(np.zeros((1, 3)), np.eye(3), [[0, 1, 3]])


def test_normal_error_sees_growth_of_one_cap_only() -> None:
    mesh = trimesh.creation.icosphere(subdivisions=3, radius=50.0)
    normals = mesh.vertices / 50.0
    assert np.abs(normal_error(mesh.vertices * 1.1, mesh.vertices, normals)).max() < 1e-9
    rigid = normal_error(mesh.vertices * 1.1, mesh.vertices, normals, scale=False)
    np.testing.assert_allclose(rigid, 5.0, atol=1e-9)


def test_nme_needs_a_length() -> None:
    with pytest.raises(InputError, match="normaliser"):
        normalised_mean_error(np.zeros((2, 2)), np.ones((2, 2)), normaliser=0.0)


def test_named_normalisers_are_those_of_the_literature() -> None:
    truth = np.random.default_rng(4).normal(size=(68, 2)) * 40
    estimate = truth + [3.0, 4.0]
    eyes = np.hypot(*(truth[36] - truth[45]))
    assert normalised_mean_error(estimate, truth, normaliser="interocular") == pytest.approx(5 / eyes)
    width, height = truth.max(0) - truth.min(0)
    assert normalised_mean_error(estimate, truth, normaliser="bbox") == pytest.approx(5 / np.sqrt(width * height))
    with pytest.raises(ShapeError, match="expected 68"):
        normalised_mean_error(estimate[:5], truth[:5], normaliser="bbox")
    with pytest.raises(InputError, match="interocular"):
        normalised_mean_error(estimate, truth, normaliser="pupils")  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", range(4))
def test_nearest_points_on_any_soup_of_triangles(seed: int) -> None:
    """Sizes from 0.01 to 100, slivers and single points among them: against every triangle by trimesh."""
    rng = np.random.default_rng(seed)
    size = 10 ** rng.uniform(-2, 2, (60, 1, 1))
    corners = rng.normal(size=(60, 1, 3)) * 20 + rng.normal(size=(60, 3, 3)) * size
    corners[0, 2] = corners[0, 1]
    corners[1] = corners[1, :1]
    points = rng.normal(size=(80, 3)) * 40
    distance, nearest, index = closest_on_surface(points, corners.reshape(-1, 3), np.arange(180).reshape(-1, 3))
    sound = corners[2:]  # trimesh divides by zero at the degenerate ones
    every = np.stack([trimesh.triangles.closest_point(sound, np.tile(p, (len(sound), 1))) for p in points])
    segment = points[:, None] - corners[0, 0]
    along = corners[0, 1] - corners[0, 0]
    part = np.clip(segment @ along / (along @ along), 0, 1)
    line = np.linalg.norm(segment[:, 0] - part * along, axis=1)
    point = np.linalg.norm(points - corners[1, 0], axis=1)
    expected = np.minimum(np.linalg.norm(every - points[:, None], axis=2).min(1), np.minimum(line, point))
    np.testing.assert_allclose(distance, expected, atol=1e-9)
    np.testing.assert_allclose(np.linalg.norm(points - nearest, axis=1), distance, atol=1e-9)
    on_it = np.linalg.norm(
        trimesh.triangles.closest_point(corners[index][index > 1], nearest[index > 1]) - nearest[index > 1], axis=1
    )
    assert on_it.max() < 1e-9
