"""Face models from a user's own files, on small files in exactly their formats; each is fitted, textured, drawn."""

from __future__ import annotations

import json
import os
import pickle
import struct
import sys
import types
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat
from scipy.sparse import csc_matrix

from crimeface_lib.core.errors import InputError, MissingArtifactError, NoFaceError
from crimeface_lib.metrics.surface import align
from crimeface_lib.reconstruction import (
    Mesh,
    MorphableModel,
    bake_texture,
    fit_landmarks,
    flame,
    load_morphable_model,
)
from crimeface_lib.reconstruction.shade import render

MODES, MOVES = 12, 4
FLAME_IDENTITIES = 20  # the real files have 300 of them before the expressions, which takes long to write


@pytest.fixture(scope="module", autouse=True)
def few_identities() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        assert flame._IDENTITIES == 300
        patch.setattr(flame, "_IDENTITIES", FLAME_IDENTITIES)
        yield


@pytest.fixture(scope="module")
def head() -> MorphableModel:
    """The truth that the files are written from: the front of the built-in head."""
    whole = load_morphable_model("builtin")
    count = whole.regions["face"][1]
    kept = (whole.triangles < count).all(1)
    renumber = np.cumsum(kept) - 1
    return replace(
        whole, mean=whole.mean[:count], identity=whole.identity[:MODES, :count], expression=whole.expression[:, :count],
        triangles=whole.triangles[kept], triangles_uv=whole.triangles_uv[kept], regions={"face": (0, count)},
        landmark_triangles=renumber[whole.landmark_triangles].astype(np.int32), contour=(),
    )  # fmt: skip


@pytest.fixture(scope="module")
def mapping(head: MorphableModel) -> dict[int, int]:
    """Landmark (from 1) -> vertex, for landmarks 18–68."""
    corners = head.triangles[head.landmark_triangles, head.landmark_weights.argmax(1)]
    return {k + 1: int(corners[k]) for k in range(17, 68)}


def write_mapping(path: Path, mapping: dict[int, int]) -> None:
    lines = [f"{k:2d} = {v:5d}  # a comment, 7 = 8" for k, v in mapping.items()]
    path.write_text("# Mapping\n[landmark_mappings]\n            # 1 to 8\n" + "\n".join(lines) + "\n")


def write_bfm_2009(folder: Path, head: MorphableModel, mapping: dict[int, int] | None) -> Path:
    """Micrometres, standard deviations, triangles from 1 and clockwise."""
    modes = head.identity[:MODES].reshape(len(head.identity[:MODES]), -1).astype(np.float64) * 1000
    sd = np.linalg.norm(modes, axis=1)
    file = folder / "01_MorphableModel.mat"
    savemat(file, {
        "shapeMU": (head.mean.reshape(-1, 1) * 1000).astype(np.float32), "shapePC": (modes.T / sd).astype(np.float32),
        "shapeEV": sd[:, None], "tl": head.triangles[:, [0, 2, 1]] + 1.0, "texMU": np.zeros((9, 1)),
    })  # fmt: skip
    if mapping:
        write_mapping(folder / "ibug_to_bfm2009.txt", mapping)
    return file


def write_bfm_2017(folder: Path, head: MorphableModel, mapping: dict[int, int] | None) -> Path:
    h5py = pytest.importorskip("h5py", reason="BFM 2017 and 2019 need h5py: pip install h5py")
    file = folder / "model2017-1_bfm_nomouth.h5"
    with h5py.File(file, "w") as data:
        for part, basis, mean in (
            ("shape", head.identity[:MODES], head.mean + 1.0),
            ("expression", head.expression[:MOVES], np.full_like(head.mean, -1.0)),
        ):
            flat = basis.reshape(len(basis), -1).astype(np.float64)
            sd = np.linalg.norm(flat, axis=1)
            data[f"{part}/model/mean"] = mean.ravel().astype(np.float32)
            data[f"{part}/model/pcaBasis"] = (flat.T / sd).astype(np.float32)
            data[f"{part}/model/pcaVariance"] = sd**2
        data["shape/representer/cells"] = head.triangles.T
    if mapping:
        write_mapping(folder / "ibug_to_bfm2017-1_bfm_nomouth.txt", mapping)
    return file


def cereal_matrix(matrix: np.ndarray) -> bytes:
    return struct.pack("<ii", *matrix.shape) + np.asarray(matrix, "<f4").tobytes("F")


def cereal_pca(mean: np.ndarray, basis: np.ndarray, variance: np.ndarray, triangles: np.ndarray) -> bytes:
    matrices = b"".join(cereal_matrix(m) for m in (mean.reshape(-1, 1), basis, variance.reshape(-1, 1)))
    return matrices + struct.pack("<Q", len(triangles)) + np.asarray(triangles, "<i4").tobytes()


def blendshapes(modes: np.ndarray) -> bytes:
    out = struct.pack("<Q", len(modes))
    for number, mode in enumerate(modes):
        name = f"move {number}".encode()
        out += struct.pack("<Q", len(name)) + name + cereal_matrix(mode.reshape(-1, 1))
    return out


def eos_model(head: MorphableModel, version: int, expression: bytes = b"") -> bytes:
    flat = head.identity[:MODES].reshape(MODES, -1).astype(np.float64)
    sd = np.linalg.norm(flat, axis=1)
    out = struct.pack("<I", version) + cereal_pca(head.mean, flat.T / sd, sd**2, head.triangles)
    out += cereal_pca(np.zeros((0, 1)), np.zeros((0, 0)), np.zeros((0, 1)), np.zeros((0, 3)))
    if version >= 2:
        out += expression or b"\x01"
    if version >= 3:
        out += b"\x00" + struct.pack("<QQ", 1, 4) + b"chin" + struct.pack("<i", 5)
    out += struct.pack("<Q", 0) * (2 if version >= 4 else 1)
    return out


def write_surrey(folder: Path, head: MorphableModel, mapping: dict[int, int] | None) -> Path:
    file = folder / "sfm_shape_3448.bin"
    file.write_bytes(eos_model(head, 1))
    (folder / f"expression_blendshapes_{len(head.mean)}.bin").write_bytes(blendshapes(head.expression[:MOVES]))
    if mapping:
        write_mapping(folder / "ibug_to_sfm.txt", mapping)
        corners = head.triangles[head.landmark_triangles, head.landmark_weights.argmax(1)]
        sides = {"right_contour": corners[:8].tolist(), "left_contour": corners[16:8:-1].tolist()}
        (folder / "sfm_model_contours.json").write_text(json.dumps({"model_contour": sides}))
    return file


class Python2(pickle._Pickler):  # type: ignore[name-defined]
    """Writes bytes as Python 2 wrote its strings, as the files of 2017 have them."""

    def save_bytes(self, value: bytes) -> None:
        self.write(b"T" + struct.pack("<i", len(value)) + value)
        self.memoize(value)

    dispatch = {**pickle._Pickler.dispatch, bytes: save_bytes}  # type: ignore[attr-defined]  # noqa: RUF012


@pytest.fixture
def chumpy(monkeypatch: pytest.MonkeyPatch) -> type:
    """A stand-in with the real class's name and state, so that pickles name ``chumpy.ch.Ch``."""

    class Ch:
        def __init__(self, x: np.ndarray) -> None:
            self.__dict__.update({"_dirty_vars": {"x"}, "_itr": None, "x": x})

    Ch.__module__, Ch.__qualname__ = "chumpy.ch", "Ch"
    package, module = types.ModuleType("chumpy"), types.ModuleType("chumpy.ch")
    module.Ch = Ch  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "chumpy", package)
    monkeypatch.setitem(sys.modules, "chumpy.ch", module)
    return Ch


def flame_data(head: MorphableModel, wrap: Callable[[np.ndarray], object]) -> dict[str, object]:
    modes = np.concatenate(
        [head.identity[:MODES], np.zeros((FLAME_IDENTITIES - MODES, *head.mean.shape)), head.expression[:MOVES]]
    )
    jaw = np.clip((-60 - head.mean[:, 1]) / 20, 0, 1) * (head.mean[:, 2] > 0)
    weights = np.stack([1 - jaw, 0 * jaw, jaw, 0 * jaw, 0 * jaw], 1)
    regressor = np.zeros((5, len(head.mean)))
    regressor[2, np.argsort(np.linalg.norm(head.mean - [0, -26, 8], axis=1))[:50]] = 1 / 50
    return {
        "v_template": wrap(head.mean / 1000), "shapedirs": wrap(modes.transpose(1, 2, 0).astype(np.float32) / 1000),
        "f": head.triangles.astype(np.uint32), "weights": wrap(weights), "J_regressor": csc_matrix(regressor),
        "kintree_table": np.zeros((2, 5), np.int64), "bs_type": "lrotmin",
    }  # fmt: skip


def write_flame(folder: Path, head: MorphableModel, mapping: dict[int, int] | None) -> Path:
    file = folder / "generic_model.pkl"
    with file.open("wb") as out:
        pickle.dump(flame_data(head, np.asarray), out, protocol=2)
    if mapping:
        lengths = {"lmk_face_idx": head.landmark_triangles[17:], "lmk_b_coords": head.landmark_weights[17:]}
        (folder / "flame_static_embedding.pkl").write_bytes(pickle.dumps(lengths))
    return file


WRITERS = {
    "bfm": write_bfm_2009, "bfm 2017": write_bfm_2017, "surrey": write_surrey, "flame": write_flame,
}  # fmt: skip


@pytest.fixture(scope="module", params=list(WRITERS))
def loaded(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    head: MorphableModel,
    mapping: dict[int, int],
) -> tuple[str, MorphableModel]:
    folder = tmp_path_factory.mktemp("a folder")
    WRITERS[request.param](folder, head, mapping)
    return request.param, load_morphable_model(request.param.partition(" ")[0], path=folder)


def test_the_file_becomes_the_head_it_was_written_from(
    loaded: tuple[str, MorphableModel], head: MorphableModel, tmp_path: Path
) -> None:
    name, model = loaded
    there = align(model.mean, head.mean, scale=False)
    assert there.rms < 0.01, "millimetres"
    np.testing.assert_allclose(there.rotation, np.eye(3), atol=1e-4)
    np.testing.assert_allclose(model.identity[:MODES], head.identity[:MODES], atol=2e-3)
    moves = 0 if name == "bfm" else MOVES
    np.testing.assert_allclose(model.expression[:moves], head.expression[:moves], atol=2e-3)
    np.testing.assert_array_equal(np.sort(model.triangles, 1), np.sort(head.triangles, 1))
    off = there.apply(model.landmarks(model.mean)) - head.landmarks(head.mean)
    assert np.linalg.norm(off[17:], axis=1).max() < 3.0, "mapped to vertices, or exact"
    seen = np.linalg.norm(off[:17, :2], axis=1)
    assert np.median(seen) < 8.0, "the jaw is found on a picture where no file names it; its depth slides"
    assert "University" in model.licence or "Max Planck" in model.licence
    assert len(model.contour) == 17
    model.save(tmp_path / "cache.npz")
    back = load_morphable_model(path=tmp_path / "cache.npz")
    assert (back.version, back.source, back.regions) == (model.version, model.source, model.regions)
    np.testing.assert_array_equal(back.identity, model.identity)


def test_texture_layout_has_no_fold(loaded: tuple[str, MorphableModel]) -> None:
    model = loaded[1]
    a, b, c = (model.uv[model.triangles_uv[:, k]] for k in range(3))
    doubled = (b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]
    folded = doubled < 0
    assert model.uv[model.triangles_uv[folded]][..., 1].max(initial=0) < 0.30, "folds lie in a place of their own"
    assert model.uv.min() >= 0
    assert model.uv.max() <= 1
    assert doubled[~folded].sum() / 2 > 0.35, "most of the picture is used"


def test_each_is_fitted_textured_and_drawn(loaded: tuple[str, MorphableModel], take) -> None:
    name, model = loaded
    rng = np.random.default_rng(5)
    identity = np.clip(rng.normal(size=len(model.identity)), -2, 2) * (np.arange(len(model.identity)) < MODES)
    neutral = np.zeros(len(model.expression))
    view, camera = take(model, identity, neutral, yaw=12.0, noise=0.7, rng=rng)
    fit = fit_landmarks(model, [view], slide_contour=False)
    assert fit.residual_px[0] < 1.6
    truth = model.decode(identity)
    error, prior = (align(shape, truth).rms for shape in (model.decode(fit.identity), model.mean))
    assert error < prior
    paint = Mesh(truth, model.triangles, model.uv, model.triangles_uv, _stripes(), np.zeros(len(truth)))
    photo = render(paint, camera)
    baked = bake_texture(model, [model.decode(fit.identity, fit.expressions[0])], [photo], list(fit.cameras), size=128)
    again = render(
        Mesh(truth, model.triangles, model.uv, model.triangles_uv, baked.image, np.zeros(len(truth))), camera
    )
    pixels = camera.project(model.landmarks(truth))[0][27:36].astype(int)  # the nose
    difference = [np.abs(again[y, x].astype(int) - photo[y, x]).max() for x, y in pixels]
    assert np.median(difference) < 30, name
    assert baked.observed_fraction > 0.05


def _stripes() -> np.ndarray:
    rows, columns = np.mgrid[:128, :128] / 128
    return np.stack([110 + 90 * rows, 90 + 60 * columns, 80 + 40 * rows], -1).astype(np.uint8)


def test_loose_eyeballs_are_no_skin_and_have_texture_of_their_own(
    head: MorphableModel, mapping: dict[int, int], tmp_path: Path
) -> None:
    """FLAME's eyeballs hang on nothing: two small balls behind the lids, after all other vertices."""
    import trimesh

    ball = trimesh.creation.icosphere(subdivisions=2, radius=11.0)
    count, each = len(head.mean), len(ball.vertices)
    mean = np.concatenate([head.mean, *(ball.vertices + [side * 31, 0, 65] for side in (1, -1))])
    triangles = np.concatenate([head.triangles, *(ball.faces + count + k * each for k in range(2))]).astype(np.int32)
    still = np.zeros((MODES, 2 * each, 3), np.float32)
    eyed = replace(
        head, mean=mean, triangles=triangles, identity=np.concatenate([head.identity, still], 1),
        expression=np.concatenate([head.expression, np.repeat(still[:1], len(head.expression), 0)], 1),
        triangles_uv=np.zeros_like(triangles),
    )  # fmt: skip
    write_flame(tmp_path, eyed, mapping)
    model = load_morphable_model("flame", path=tmp_path)
    assert model.regions == {
        "face": (0, len(mean)), "eyeball_0": (count, count + each), "eyeball_1": (count + each, len(mean)),
    }  # fmt: skip
    loose = triangles[:, 0] >= count
    height = model.uv[model.triangles_uv][..., 1]
    assert height[loose].max() < height[~loose].min()


def test_landmarks_are_found_without_any_table(head: MorphableModel, tmp_path: Path) -> None:
    write_bfm_2009(tmp_path, head, None)
    model = load_morphable_model("bfm", path=tmp_path)
    there = align(model.mean, head.mean, scale=False)
    off = there.apply(model.landmarks(model.mean)) - head.landmarks(head.mean)
    assert np.median(np.linalg.norm(off[:, :2], axis=1)) < 6.0
    assert "68 of 68 landmarks found by the landmarker" in model.source


def test_ict_landmarks_found_agree_with_its_own_table(data_root: Path) -> None:
    from crimeface_lib.reconstruction.foreign import _found_on_picture

    ict = load_morphable_model("ict")
    places = _found_on_picture(ict.mean, ict.triangles, {}, name="ict")
    found = np.stack([places[k][1] @ ict.mean[ict.triangles[places[k][0]]] for k in range(68)])
    off = np.linalg.norm(found - ict.landmarks(ict.mean), axis=1)
    assert np.median(off[27:]) < 4.0, "eyes, nose, mouth; brows have no hair to be found by"


def test_a_mean_without_a_face_says_what_it_needs(toy: MorphableModel, tmp_path: Path) -> None:
    egg = replace(toy, mean=toy.mean * [1, 1, -1])  # seen from behind; with its nose, it passes for a face
    file = write_bfm_2009(tmp_path, egg, None)
    with pytest.raises(NoFaceError, match=r"0 of 68 landmarks.*give a landmark file"):
        load_morphable_model("bfm", path=file)


@pytest.mark.parametrize("version", [2, 3, 4])
def test_every_format_of_eos_is_read(
    version: int, head: MorphableModel, mapping: dict[int, int], tmp_path: Path
) -> None:
    flat = head.expression[:MOVES].reshape(MOVES, -1).astype(np.float64)
    sd = np.linalg.norm(flat, axis=1)
    pca = cereal_pca(np.zeros_like(head.mean), flat.T / sd, sd**2, head.triangles)
    variant = {2: b"", 3: b"\x00" + struct.pack("<i", 1) + blendshapes(head.expression[:MOVES]),
               4: b"\x00" + struct.pack("<i", 0) + pca}[version]  # fmt: skip
    file = tmp_path / "mine.bin"
    file.write_bytes(eos_model(head, version, variant))
    write_mapping(tmp_path / "ibug_to_sfm.txt", mapping)
    model = load_morphable_model("surrey", path=file)
    assert len(model.expression) == (0 if version == 2 else MOVES)
    assert model.expression_bounds == {2: (0.0, 1.0), 3: (0.0, 1.0), 4: (-3.0, 3.0)}[version]
    if version > 2:
        np.testing.assert_allclose(model.expression, head.expression[:MOVES], atol=2e-3)


@pytest.mark.parametrize("style", ["python 2", "protocol 5"])
def test_flame_with_chumpy_inside_is_read_without_chumpy(
    style: str,
    chumpy: type,
    head: MorphableModel,
    mapping: dict[int, int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = write_flame(tmp_path, head, mapping)
    data = flame_data(head, chumpy)
    with file.open("wb") as out:
        Python2(out, protocol=2).dump(data) if style == "python 2" else pickle.dump(data, out, protocol=5)
    monkeypatch.delitem(sys.modules, "chumpy")
    monkeypatch.delitem(sys.modules, "chumpy.ch")
    model = load_morphable_model("flame", path=tmp_path)
    np.testing.assert_allclose(model.identity[:MODES], head.identity[:MODES], atol=2e-3)
    assert model.expression_names[-1] == "jaw_open"
    opened = model.landmarks(model.mean + 3 * model.expression[-1])
    rest = model.landmarks(model.mean)
    assert opened[8, 1] < rest[8, 1] - 15
    assert opened[8, 2] < rest[8, 2]
    np.testing.assert_allclose(opened[27:48], rest[27:48], atol=1e-3)


def test_the_embedding_of_deca_gives_all_landmarks(head: MorphableModel, tmp_path: Path) -> None:
    write_flame(tmp_path, head, None)
    embedding = {
        "full_lmk_faces_idx": head.landmark_triangles[None],
        "full_lmk_bary_coords": head.landmark_weights[None],
    }
    np.save(tmp_path / "landmark_embedding.npy", embedding, allow_pickle=True)  # type: ignore[arg-type]
    model = load_morphable_model("flame", path=tmp_path)
    shift = head.landmarks(head.mean)[[0, 16]].mean(0)
    np.testing.assert_allclose(model.landmarks(model.mean), head.landmarks(head.mean) - shift, atol=1e-3)


class Burglar:
    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (self.command,)


@pytest.mark.parametrize("place", ["value", "embedding", "array"])
def test_a_malicious_pickle_runs_nothing(place: str, head: MorphableModel, tmp_path: Path) -> None:
    evidence = tmp_path / "broken-in"
    burglar = Burglar(f"touch '{evidence}'")
    file = write_flame(tmp_path, head, None)
    if place == "embedding":
        (tmp_path / "flame_static_embedding.pkl").write_bytes(pickle.dumps({"lmk_face_idx": burglar}))
    else:
        hidden = np.array([burglar], object) if place == "array" else burglar
        file.write_bytes(pickle.dumps({**flame_data(head, np.asarray), "bs_style": hidden}))
    with pytest.raises(InputError, match=r"system, which no array needs: nothing of it was run"):
        load_morphable_model("flame", path=file)
    assert not evidence.exists()


@pytest.mark.parametrize("name", ["bfm", "surrey", "flame"])
def test_missing_files_say_where_they_come_from(name: str, tmp_path: Path) -> None:
    for path in (None, tmp_path, tmp_path / "nothing.pkl"):
        with pytest.raises(MissingArtifactError, match=r"unibas|eos|flame\.is"):
            load_morphable_model(name, path=path)


@pytest.mark.parametrize(
    ("name", "file", "message"),
    [
        ("bfm", "x.mat", "no readable MATLAB"), ("bfm", "x.txt", r"expected a \.mat"),
        ("surrey", "x.bin", "expected 1 to 4"), ("flame", "x.pkl", "no readable pickle"),
    ],
)  # fmt: skip
def test_files_of_another_kind_are_refused(name: str, file: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / file
    path.write_bytes(b"not a model at all, but long enough to have a header" * 9)
    with pytest.raises(InputError, match=message):
        load_morphable_model(name, path=path)


def test_damaged_files_are_refused(head: MorphableModel, mapping: dict[int, int], tmp_path: Path) -> None:
    files = {"surrey": write_surrey, "flame": write_flame, "bfm": write_bfm_2009}
    for name, write in files.items():
        file = write(tmp_path, head, mapping)
        whole = file.read_bytes()
        file.write_bytes(whole[: len(whole) // 2])
        with pytest.raises(InputError, match=file.name):
            load_morphable_model(name, path=file)
    surrey = write_surrey(tmp_path, head, mapping)
    (tmp_path / "ibug_to_sfm.txt").write_text("9 = 99999\n")
    with pytest.raises(InputError, match="vertices below"):
        load_morphable_model("surrey", path=surrey)
    savemat(tmp_path / "01_MorphableModel.mat", {"shapeMU": np.zeros((9, 1))})
    with pytest.raises(InputError, match="without shapePC, shapeEV, tl"):
        load_morphable_model("bfm", path=tmp_path)
    data = {"v_template": np.zeros((4, 3)), "shapedirs": np.zeros((5, 3, 2)), "f": np.zeros((1, 3), int)}
    (tmp_path / "generic_model.pkl").write_bytes(pickle.dumps(data))
    with pytest.raises(InputError, match=r"shapedirs: got shape \(5, 3, 2\)"):
        load_morphable_model("flame", path=tmp_path)


def test_a_head_in_the_wrong_unit_is_refused(head: MorphableModel, tmp_path: Path) -> None:
    data = flame_data(head, np.asarray)
    (tmp_path / "generic_model.pkl").write_bytes(pickle.dumps({**data, "v_template": head.mean}))
    with pytest.raises(InputError, match="mm high at 1000 mm a unit"):
        load_morphable_model("flame", path=tmp_path)


def test_h5_without_h5py_names_the_command(
    head: MorphableModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from crimeface_lib.core.errors import MissingBackendError

    monkeypatch.setitem(sys.modules, "h5py", None)
    (tmp_path / "model2019_bfm.h5").write_bytes(b"x")
    with pytest.raises(MissingBackendError, match="pip install h5py"):
        load_morphable_model("bfm", path=tmp_path)


def test_h5_of_another_layout_is_refused(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py", reason="BFM 2017 and 2019 need h5py: pip install h5py")
    file = tmp_path / "model2019_bfm.h5"
    with h5py.File(file, "w") as data:
        data["shape/model/mean"] = np.zeros(9)
    with pytest.raises(InputError, match="no numbers at shape/model/pcaBasis"):
        load_morphable_model("bfm", path=file)
    file.write_bytes(b"not an HDF5 file")
    with pytest.raises(InputError, match="no readable HDF5"):
        load_morphable_model("bfm", path=file)
