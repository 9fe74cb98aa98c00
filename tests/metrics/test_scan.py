"""A mesh against a scan: what was moved is moved back, what is out of shape is measured, units are asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import trimesh
from scipy.spatial.transform import Rotation

from crimeface_lib.core.errors import InputError, MissingArtifactError, ShapeError
from crimeface_lib.metrics import compare_meshes, read_surface

TURN = Rotation.from_euler("xyz", [12, -25, 8], degrees=True).as_matrix()


def _bumpy(subdivisions: int) -> trimesh.Trimesh:
    """Something like a head: no symmetry of its own, 150 to 200 mm."""
    ball = trimesh.creation.icosphere(subdivisions=subdivisions, radius=1.0)
    x, y, z = ball.vertices.T
    radius = 80 + 12 * np.sin(3 * x + 1) + 10 * y * z + 18 * np.exp(-((x - 0.1) ** 2 + (y + 0.2) ** 2) / 0.08) * (z > 0)
    return trimesh.Trimesh(ball.vertices * radius[:, None] * [0.9, 1.2, 1.0], ball.faces, process=False)


@pytest.fixture(scope="module")
def mesh() -> trimesh.Trimesh:
    return _bumpy(4)


@pytest.fixture(scope="module")
def marks(mesh: trimesh.Trimesh) -> np.ndarray:
    """NoW's seven, roughly: corners of the eyes, base of the nose, corners of the mouth."""
    at = np.array([[-45, 30], [-18, 28], [18, 28], [45, 30], [0, -20], [-25, -45], [25, -45]], float)
    front = mesh.vertices[mesh.vertices[:, 2] > 0]
    return np.array([front[np.argmin(((front[:, :2] - place) ** 2).sum(1))] for place in at])


def _moved(points: np.ndarray, scale: float = 1.0) -> np.ndarray:
    return scale * points @ TURN.T + [40, -10, 300]


def test_a_moved_copy_is_at_distance_zero(mesh: trimesh.Trimesh, marks: np.ndarray) -> None:
    scan = _moved(mesh.vertices, 1.1), mesh.faces
    found = compare_meshes((mesh.vertices, mesh.faces), scan, landmarks=(marks, _moved(marks, 1.1)))
    assert found.distance.max() < 1e-6
    assert found.alignment.scale == pytest.approx(1.1)
    assert "7 landmarks, then least scan-to-mesh distances; scan within" in found.protocol
    centre = _moved(marks, 1.1)[4] + 0.3 * (_moved(marks, 1.1)[[1, 2]].mean(0) - _moved(marks, 1.1)[4])
    assert 100 < found.vertices < found.scan_vertices
    assert np.linalg.norm(found.points - centre, axis=1).max() < 0.7 * 1.1 * 220
    np.testing.assert_array_equal(found.points, scan[0][found.kept])


def test_refining_undoes_careless_landmarks(mesh: trimesh.Trimesh, marks: np.ndarray) -> None:
    rng = np.random.default_rng(3)
    scan = _bumpy(5)  # other vertices on the same surface
    careless = _moved(marks) + rng.normal(0, 3.0, marks.shape)
    truth = _moved(scan.vertices), scan.faces
    rough, fine = (
        compare_meshes((mesh.vertices, mesh.faces), truth, landmarks=(marks, careless), refine=refine)
        for refine in (False, True)
    )
    assert fine.median < 0.25 < rough.median
    np.testing.assert_allclose(fine.alignment.rotation, TURN, atol=0.01)
    assert fine.alignment.scale == pytest.approx(1.0, abs=0.01)
    expected = trimesh.triangles.closest_point  # the figures are those of the distances, by brute force on a few
    corners = fine.alignment.apply(mesh.vertices)[mesh.faces]
    for row in rng.integers(0, len(fine.points), 20):
        every = expected(corners, np.tile(fine.points[row], (len(corners), 1))) - fine.points[row]
        assert fine.distance[row] == pytest.approx(np.linalg.norm(every, axis=1).min(), abs=1e-9)
    assert (fine.median, fine.mean, fine.std) == (np.median(fine.distance), fine.distance.mean(), fine.distance.std())


def test_a_dent_of_known_depth_is_measured_and_signed(mesh: trimesh.Trimesh, marks: np.ndarray) -> None:
    grown = mesh.vertices + 2.0 * mesh.vertex_normals
    found = compare_meshes((mesh.vertices, mesh.faces), (grown, mesh.faces), landmarks=(marks, marks), scale=False,
                           refine=False, crop=None)  # fmt: skip
    assert found.median == pytest.approx(2.0, abs=0.05)
    assert np.median(found.signed) == pytest.approx(2.0, abs=0.05)
    assert found.within_1mm < 0.01 < found.within_2mm
    inside = compare_meshes((grown, mesh.faces), (mesh.vertices, mesh.faces), refine=False)
    assert np.median(inside.signed) < -1.9
    assert inside.protocol == "similarity alignment: as given; no crop"
    frame = found.to_frame()
    assert frame["median_mm"][0] == found.median
    assert "median, mm" in found._repr_html_()


def test_rigid_keeps_the_size(mesh: trimesh.Trimesh, marks: np.ndarray) -> None:
    scan = (mesh.vertices * 1.1, mesh.faces)
    found = compare_meshes((mesh.vertices, mesh.faces), scan, landmarks=(marks, marks * 1.1), scale=False)
    assert found.alignment.scale == 1.0
    assert found.median > 0.5
    np.testing.assert_allclose(found.alignment.rotation @ found.alignment.rotation.T, np.eye(3), atol=1e-9)


@pytest.mark.parametrize("suffix", [".ply", ".obj", ".stl", ".glb"])
def test_files_are_read_in_their_units(suffix: str, mesh: trimesh.Trimesh, marks: np.ndarray, tmp_path: Path) -> None:
    folder = tmp_path / "scans of today"
    folder.mkdir()
    factor = 1000.0 if suffix == ".glb" else 1.0
    trimesh.Trimesh(mesh.vertices / factor, mesh.faces, process=False).export(folder / f"scan{suffix}")
    found = compare_meshes((mesh.vertices, mesh.faces), folder / f"scan{suffix}", landmarks=(marks, marks / factor))
    assert found.median < 1e-3


def test_a_point_cloud_is_a_scan_but_no_mesh(mesh: trimesh.Trimesh, tmp_path: Path) -> None:
    trimesh.PointCloud(mesh.vertices).export(tmp_path / "cloud.ply")
    found = compare_meshes((mesh.vertices, mesh.faces), tmp_path / "cloud.ply")
    assert found.median < 1e-3
    with pytest.raises(InputError, match="without triangles"):
        compare_meshes(tmp_path / "cloud.ply", (mesh.vertices, mesh.faces))


def test_metres_taken_for_millimetres_are_noticed(mesh: trimesh.Trimesh) -> None:
    whole = (mesh.vertices, mesh.faces)
    with pytest.raises(InputError, match=r"0\.2\d* mm across.*looks like m: say unit='m'"):
        compare_meshes(whole, (mesh.vertices / 1000, mesh.faces))
    assert compare_meshes(whole, (mesh.vertices / 1000, mesh.faces), scan_unit="m").median < 1e-6
    assert compare_meshes((mesh.vertices / 10, mesh.faces), whole, mesh_unit="cm").median < 1e-6


def test_bad_input_is_named(mesh: trimesh.Trimesh, marks: np.ndarray, tmp_path: Path) -> None:
    whole = (mesh.vertices, mesh.faces)
    (tmp_path / "bad.ply").write_bytes(b"ply\nformat binary_little_endian 1.0\nelement vertex 9\nend_header\nxx")
    (tmp_path / "bad.txt").write_bytes(b"")
    for scan, error, message in (
        (tmp_path / "none.ply", MissingArtifactError, "no scan or mesh"),
        (tmp_path / "bad.txt", InputError, "expected one"),
        (tmp_path / "bad.ply", InputError, r"bad\.ply"), (mesh.vertices, InputError, "expected a file or"),
        ((mesh.vertices * np.nan, mesh.faces), ShapeError, "NaN"), ((np.zeros((0, 3)), []), InputError, "no vertices"),
    ):  # fmt: skip
        with pytest.raises(error, match=message):
            compare_meshes(whole, scan)  # type: ignore[arg-type]
    for keywords, message in (
        ({"landmarks": (marks, marks[:5])}, "same three or more"),
        ({"landmarks": (marks, marks + 900)}, "one frame and unit"),
        ({"landmarks": (marks, marks), "crop": -1.0}, "positive radius"), ({"landmarks": (marks,)}, "on the scan"),
        ({"scan_unit": "inch"}, "expected one of mm, cm, m"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=message):
            compare_meshes(whole, whole, **keywords)  # type: ignore[arg-type]


def test_surfaces_far_apart_are_warned_about(mesh: trimesh.Trimesh) -> None:
    found = compare_meshes((mesh.vertices, mesh.faces), (mesh.vertices + 400, mesh.faces), refine=False)
    assert "may not be aligned" in found.warnings[0]


def test_read_surface_returns_millimetres() -> None:
    vertices, triangles = read_surface((np.eye(3) * 0.2, [[0, 1, 2]]), unit="m")
    assert vertices.max() == 200.0
    assert triangles.shape == (1, 3)
