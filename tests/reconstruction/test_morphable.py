"""Models are saved, loaded, refused; ICT-FaceKit is read, fetched and checked."""

from __future__ import annotations

import http.server
import threading
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from crimeface_lib.core.errors import (
    InputError,
    IntegrityError,
    MissingArtifactError,
    MissingBackendError,
    NotFoundError,
)
from crimeface_lib.core.settings import Settings
from crimeface_lib.reconstruction import MorphableModel, fetch_ict, load_morphable_model
from crimeface_lib.reconstruction.ict import _assemble, ict_digests, load_ict, read_facexmodel


def test_save_and_load_give_the_same_model(toy: MorphableModel, tmp_path: Path) -> None:
    toy.save(tmp_path / "toy.npz")
    back = load_morphable_model(path=tmp_path / "toy.npz")
    for name in ("mean", "identity", "expression", "triangles", "uv", "landmark_weights"):
        np.testing.assert_array_equal(getattr(back, name), getattr(toy, name))
    assert (back.regions, back.expression_bounds, back.contour) == (toy.regions, toy.expression_bounds, toy.contour)


def test_contour_lines_survive_a_round_trip(data_root: Path, tmp_path: Path) -> None:
    model = load_morphable_model("ict", path=data_root / "ict/FaceXModel-sample.zip")
    model.save(tmp_path / "small.npz")
    back = load_morphable_model(path=tmp_path / "small.npz")
    assert [line.tolist() for line in back.contour] == [line.tolist() for line in model.contour]


def test_files_that_are_no_models_are_refused(toy: MorphableModel, tmp_path: Path) -> None:
    path = tmp_path / "toy.npz"
    with pytest.raises(MissingArtifactError, match="no face model at"):
        load_morphable_model(path=path)
    path.write_bytes(b"not a zip at all")
    with pytest.raises(InputError, match="not a readable npz"):
        load_morphable_model(path=path)
    np.savez(path, mean=toy.mean)
    with pytest.raises(InputError, match="expected also"):
        load_morphable_model(path=path)
    toy.save(path)
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(InputError, match="not a readable npz"):
        load_morphable_model(path=path)
    with pytest.raises(MissingBackendError, match="installed: bfm, builtin, flame, ict, surrey"):
        load_morphable_model("nobody")


def test_an_npz_with_a_pickle_or_damaged_parts_is_refused(toy: MorphableModel, tmp_path: Path) -> None:
    path = tmp_path / "toy.npz"
    toy.save(path)
    with np.load(path) as archive:
        good = dict(archive)
    for change, message in (
        ({"mean": np.array([{"a": 1}], object)}, "allow_pickle=False"),
        ({"mean": good["mean"][:-1]}, "identity: got shape"),
        ({"triangles": good["triangles"] + 9999}, "triangles: got indices"),
        ({"landmark_triangles": good["landmark_triangles"][:60]}, "landmark_triangles: got shape"),
        ({"identity": good["identity"] * np.float32(np.nan)}, "NaN"),
        ({"text": np.array("no json")}, "expected an npz written by save"),
        ({"text": np.array("{}")}, "contour_lengths"),
    ):
        np.savez(path, **{**good, **change})  # type: ignore[arg-type]
        with pytest.raises(InputError, match=message):
            load_morphable_model(path=path)


def test_auto_takes_the_built_in_head_where_ict_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRIMEFACE_DATA_ROOT", str(tmp_path))
    monkeypatch.setenv("CRIMEFACE_CACHE_DIR", str(tmp_path))
    assert load_morphable_model().name == "builtin"


def test_auto_takes_ict_where_it_is(data_root: Path) -> None:
    assert load_morphable_model().name == "ict"


def test_ict_absent_says_how_to_bring_it(tmp_path: Path) -> None:
    nowhere = Settings(data_root=tmp_path, cache_dir=tmp_path / "cache")
    with pytest.raises(MissingArtifactError, match="crimeface fetch ict"):
        load_ict(settings=nowhere)


@pytest.fixture(scope="module")
def ict(data_root: Path) -> MorphableModel:
    return load_ict(data_root / "ict/ict_facekit.npz")


def test_ict_is_a_head_in_millimetres(ict: MorphableModel) -> None:
    assert ict.mean.shape == (24591, 3)
    assert len(ict.identity) == 100
    assert len(ict.expression) == 53
    points = ict.landmarks(ict.mean)
    assert 85 < np.linalg.norm(points[36] - points[45]) < 95
    assert points[30, 2] > points[27, 2] > points[0, 2], "the nose points along z"
    assert points[27, 1] > points[8, 1], "y is up"
    assert points[45, 0] > 0, "the subject's left is on the right"
    corners = ict.mean[ict.triangles[: 2 * 9000]]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    assert normals[:, 2].sum() > 0, "triangles turn outwards"
    assert ict.uv.min() >= 0
    assert ict.uv.max() <= 1


def test_contours_run_from_the_cheek_to_the_landmark(ict: MorphableModel) -> None:
    points = ict.landmarks(ict.mean)
    for number in (0, 1, 2, 14, 15, 16):
        line = ict.mean[ict.contour[number]]
        np.testing.assert_allclose(line[-1], points[number])
        assert abs(line[0, 0]) < abs(line[-1, 0]) - 5
        assert line[0, 2] > line[-1, 2] + 5


def test_upstream_files_give_the_same_model_as_the_packed_one(ict: MorphableModel, data_root: Path) -> None:
    small = load_ict(data_root / "ict/FaceXModel-sample.zip")
    np.testing.assert_allclose(small.mean, ict.mean, atol=1e-4)
    np.testing.assert_array_equal(small.triangles, ict.triangles)
    np.testing.assert_allclose(small.identity, ict.identity[:3], atol=0.02)
    assert small.expression_names == ("jawOpen", "mouthSmile_L", "mouthSmile_R")


def test_damaged_upstream_files_are_named(data_root: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(data_root / "ict/FaceXModel-sample.zip") as archive:
        archive.extractall(tmp_path)
    (folder,) = {file.parent for file in tmp_path.rglob("generic_neutral_mesh.obj")}
    for name, old, new, message in (
        ("identity000.obj", b"\nv ", b"\nv x", "identity000.obj: got could not convert"),
        ("identity001.obj", b"\nv ", b"\n# ", "identity001.obj has 26718 vertices, the neutral mesh 26719"),
        ("generic_neutral_mesh.obj", b"\nf ", b"\nf 1 2 3 # ", "line .* expected a face with texture indices"),
        ("generic_neutral_mesh.obj", b"\nf ", b"\nf 1/1 2/2 99999999/1\nf ", "expected faces of those that are there"),
        ("vertex_indices.json", b"{", b"", "vertex_indices.json: got JSONDecodeError"),
        ("vertex_indices.json", b"idx_to_landmark_verts", b"elsewhere", "vertex_indices.json: got KeyError"),
    ):
        whole = (folder / name).read_bytes()
        (folder / name).write_bytes(whole.replace(old, new, 1))
        with pytest.raises(InputError, match=message):
            load_ict(folder)
        (folder / name).write_bytes(whole)
    (folder / "jawOpen.obj").unlink()
    assert load_ict(folder).expression_names == ("mouthSmile_L", "mouthSmile_R"), "what is there is loaded"
    (folder / "vertex_indices.json").unlink()
    with pytest.raises(InputError, match=r"has no vertex_indices\.json; expected upstream's FaceXModel folder"):
        load_ict(folder)
    zipped = tmp_path / "cut.zip"
    zipped.write_bytes((data_root / "ict/FaceXModel-sample.zip").read_bytes()[:-3000])
    with pytest.raises(InputError, match="no npz, folder or zip"):
        load_ict(zipped)


@pytest.fixture(scope="module")
def upstream(data_root: Path) -> dict[str, np.ndarray]:
    return read_facexmodel(data_root / "ict/FaceXModel-sample.zip")


@pytest.mark.parametrize(
    ("key", "change", "message"),
    [
        ("identity", lambda a: a[:, :100], "identity: got shape"), ("landmarks68", lambda a: a[:51], "landmarks68"),
        ("triangles", lambda a: a + 9999, "triangles: got indices"), ("tri_uv", lambda a: a[:9], "tri_uv: got shape"),
        ("neutral", lambda a: a[:9], "expected \\(26719, 3\\)"),
    ],
)  # fmt: skip
def test_a_packed_file_of_other_shapes_is_refused(
    key: str, change: Callable[[np.ndarray], np.ndarray], message: str, upstream: dict[str, np.ndarray]
) -> None:
    with pytest.raises(InputError, match=message):
        _assemble({**upstream, key: change(upstream[key])})


@pytest.fixture
def mirror(data_root: Path, tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A local web server with a few of upstream's files."""
    folder = tmp_path / "mirror"
    with zipfile.ZipFile(data_root / "ict/FaceXModel-sample.zip") as archive:
        archive.extractall(folder)

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", folder
    server.shutdown()
    server.server_close()


def test_fetch_downloads_checks_and_packs(mirror: tuple[str, Path], tmp_path: Path) -> None:
    url, folder = mirror
    here = Settings(data_root=None, cache_dir=tmp_path / "cache")
    names = [file.name for file in folder.iterdir()]
    packed = fetch_ict(base_url=url, settings=here, names=names, progress=False)
    model = load_ict(settings=here)
    assert (packed.is_file(), len(model.identity), len(model.expression)) == (True, 3, 3)


def test_fetch_refuses_bytes_that_differ(mirror: tuple[str, Path], tmp_path: Path) -> None:
    url, folder = mirror
    here = Settings(data_root=None, cache_dir=tmp_path / "cache")
    (folder / "vertex_indices.json").write_text("{}")
    with pytest.raises(IntegrityError):
        fetch_ict(base_url=url, settings=here, names=["vertex_indices.json"], progress=False)
    with pytest.raises(MissingArtifactError, match="could not download"):
        fetch_ict(base_url=url, settings=here, names=["identity050.obj"], progress=False)
    with pytest.raises(NotFoundError, match="no file"):
        fetch_ict(base_url=url, settings=here, names=["../secret"], progress=False)


def test_every_file_of_upstream_has_a_digest() -> None:
    digests = ict_digests()
    assert len(digests) == 155
    assert {f"identity{number:03d}.obj" for number in range(100)} <= set(digests)
    assert {len(digest) for digest in digests.values()} == {64}
