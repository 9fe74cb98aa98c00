"""core: what every layer stands on."""

from __future__ import annotations

import hashlib
import http.server
import subprocess
import sys
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crimeface_lib.core import errors, plugins
from crimeface_lib.core.arrays import check_array, check_image, check_vector
from crimeface_lib.core.artifacts import Artifact, download, find
from crimeface_lib.core.clock import from_iso, to_iso
from crimeface_lib.core.device import resolve_device
from crimeface_lib.core.files import write_atomic
from crimeface_lib.core.hashing import canonical_json, content_hash, sha256_file
from crimeface_lib.core.plugins import load_backend
from crimeface_lib.core.random import make_rng
from crimeface_lib.core.results import Result, to_plain
from crimeface_lib.core.settings import Settings


def test_importing_the_library_imports_nothing_heavy():
    code = (
        "import sys; before = set(sys.modules); import crimeface_lib; "
        "heavy = {'torch', 'numpy', 'pandas', 'cv2', 'numba'} & (set(sys.modules) - before); assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_error_is_also_the_builtin_it_resembles():
    assert issubclass(errors.ShapeError, ValueError)
    assert issubclass(errors.NotFoundError, KeyError)
    assert issubclass(errors.MissingArtifactError, FileNotFoundError)
    assert issubclass(errors.RefusedError, PermissionError)
    assert str(errors.NotFoundError("no run 'x'")) == "no run 'x'", "KeyError would add quotes"
    codes = {c.__name__: c.exit_code for c in (errors.ImageError, errors.RefusedError, errors.IntegrityError)}
    assert codes == {"ImageError": 2, "RefusedError": 3, "IntegrityError": 1}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([[1, 2]], "expected (N, 3)"),
        ("abc", "expected numbers"),
        ([[1, 2, np.nan]], "NaN"),
        ([1, 2, 3], "got shape (3,)"),
    ],
)
def test_check_array_says_what_is_wrong(value, message):
    with pytest.raises(errors.ShapeError) as caught:
        check_array(value, shape=(None, 3), name="points")
    assert message in str(caught.value)
    assert str(caught.value).startswith("points")


def test_check_vector_and_image():
    with pytest.raises(errors.ShapeError, match="at least 2"):
        check_vector([1.0], name="scores", minimum=2)
    with pytest.raises(errors.ShapeError, match="load_image"):
        check_image(np.zeros((4, 4)))
    assert check_image(np.zeros((4, 4, 3), np.uint8)).shape == (4, 4, 3)


@given(st.datetimes(timezones=st.just(UTC)))
def test_times_round_trip(at):
    assert from_iso(to_iso(at)) == at


def test_a_time_without_a_zone_is_refused():
    with pytest.raises(errors.InputError, match="without a zone"):
        to_iso(datetime(2026, 1, 1))


@given(st.dictionaries(st.text(), st.integers() | st.text() | st.lists(st.booleans())))
def test_canonical_json_does_not_depend_on_order(record):
    shuffled = dict(reversed(list(record.items())))
    assert canonical_json(record) == canonical_json(shuffled)
    assert content_hash(record) == "sha256:" + hashlib.sha256(canonical_json(shuffled)).hexdigest()


def test_canonical_json_refuses_nan():
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json({"x": float("nan")})


def test_write_atomic_keeps_the_old_file_when_it_fails(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    write_atomic(path, b"old", mode=0o600)
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError("died")))
    with pytest.raises(OSError, match="died"):
        write_atomic(path, b"new")
    monkeypatch.undo()
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"], "no temporary file is left"
    write_atomic(path, b"new")
    assert path.stat().st_mode & 0o777 == 0o600, "the mode is kept"


def test_devices():
    assert resolve_device("cpu") == "cpu"
    assert resolve_device(None) in {"cpu", "cuda"}
    with pytest.raises(errors.InputError, match="expected auto"):
        resolve_device("tpu")
    with pytest.raises(errors.MissingBackendError, match="CUDA devices"):
        resolve_device("cuda:99")


def test_streams_of_one_seed_are_independent_and_repeatable():
    draws = {s: make_rng(7, stream=s).normal(size=2000) for s in ("a", "b")}
    assert np.array_equal(draws["a"], make_rng(7, stream="a").normal(size=2000))
    assert abs(np.corrcoef(draws["a"], draws["b"])[0, 1]) < 0.1


def test_results_become_json():
    @dataclass(frozen=True, slots=True)
    class Point(Result):
        x: float
        tags: tuple[str, ...]
        values: np.ndarray

    point = Point(float("nan"), ("a",), np.arange(2, dtype=np.int32))
    assert point.to_dict() == {"x": None, "tags": ["a"], "values": [0, 1]}
    assert "<table" in point._repr_html_()
    assert to_plain({"at": datetime(2026, 1, 1, tzinfo=UTC), "n": np.float32(0.5)}) == {
        "at": "2026-01-01T00:00:00+00:00",
        "n": 0.5,
    }


def test_a_missing_backend_names_what_is_there_and_the_remedy(monkeypatch):
    with pytest.raises(errors.MissingBackendError, match=r"no embedder 'other'; installed: dlib, onnx.*README"):
        load_backend("embedders", "other")
    monkeypatch.setattr(plugins, "entry_points", lambda group: ())  # as if that package weren't there
    with pytest.raises(errors.MissingBackendError, match=r"no embedder 'onnx'; installed: none; pip install"):
        plugins.load_backend.__wrapped__("embedders", "onnx")


def test_settings_come_from_the_environment_and_an_empty_path_is_unset(monkeypatch, tmp_path):
    monkeypatch.setenv("CRIMEFACE_DATA_ROOT", "")
    monkeypatch.setenv("CRIMEFACE_REPORTS_DIR", str(tmp_path))
    settings = Settings(_env_file=None)
    assert settings.data_root is None
    assert settings.reports == tmp_path


def test_find_looks_in_order_and_checks_the_digest(tmp_path):
    data, cache = tmp_path / "data", tmp_path / "cache"
    settings = Settings(_env_file=None, data_root=data, cache_dir=cache)
    artifact = Artifact("the model", "m/x.bin", "MIT", "run crimeface fetch x", sha256=hashlib.sha256(b"1").hexdigest())
    with pytest.raises(errors.MissingArtifactError, match=r"looked in data root .*run crimeface fetch x"):
        find(artifact, settings=settings)
    (cache / "m").mkdir(parents=True)
    (cache / "m/x.bin").write_bytes(b"1")
    assert find(artifact, settings=settings) == cache / "m/x.bin"
    (data / "m").mkdir(parents=True)
    (data / "m/x.bin").write_bytes(b"2")
    with pytest.raises(errors.IntegrityError, match="expected"):
        find(artifact, settings=settings)


def test_download_checks_what_came(tmp_path):
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", "5")
            self.end_headers()
            self.wfile.write(b"hello")

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/hello.txt"
    settings = Settings(_env_file=None, cache_dir=tmp_path)
    good = hashlib.sha256(b"hello").hexdigest()
    try:
        path = download(url, path="a/hello.txt", sha256=good, settings=settings, progress=False)
        assert sha256_file(path) == good
        with pytest.raises(errors.IntegrityError):
            download(url, path="b/hello.txt", sha256="0" * 64, settings=settings, progress=False)
        assert not (tmp_path / "b/hello.txt").exists()
    finally:
        server.shutdown()
        server.server_close()
    with pytest.raises(errors.MissingArtifactError, match="copy the file to"):
        download(url, path="c/hello.txt", sha256=good, settings=settings, progress=False)


def test_env_example_names_every_setting_and_sets_none(monkeypatch, tmp_path):
    example = Path(__file__).resolve().parents[2] / "env.example"
    lines = [line for line in example.read_text().splitlines() if line and not line.startswith("#")]
    names = {line.split("=")[0].removeprefix("CRIMEFACE_").lower() for line in lines}
    assert names == set(Settings.model_fields)
    for name in Settings.model_fields:
        monkeypatch.delenv(f"CRIMEFACE_{name.upper()}", raising=False)
    assert Settings(_env_file=example) == Settings(_env_file=None)
