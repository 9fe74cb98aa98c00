"""Attacks by way of the command line: configs, parameters, runs, model files, names."""

from __future__ import annotations

import io
import json
import pickle
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from PIL import Image

from crimeface_lib.core.errors import ConfigError, CrimefaceError, ImageError, InputError, IntegrityError
from crimeface_lib.faces import load_image
from crimeface_lib.reconstruction import load_morphable_model
from crimeface_lib.storage import Checkpoint
from crimeface_lib.workflow import load_config
from crimeface_lib.workflow.cli import parse_parameters
from crimeface_lib.workflow.seal import list_outputs, sign_manifest, verify_run, verify_store, write_manifest


@pytest.mark.parametrize(
    "text",
    [
        "notebook: !!python/object/apply:os.system ['touch ran']",
        "a: &a [1, 1]\nb: &b [*a, *a]\nnotebook: *b",
        "notebook: reconstruct\nnotebook: recognise",
        "notebook: " + "{a: " * 5000,
        "notebook: reconstruct\nphoto: x.jpg\nseed: " + "9" * 5000,
        "notebook: reconstruct\nphoto: x.jpg\n__class__: x",
        "notebook: ../../etc/passwd",
        "",
    ],
    ids=["tag", "laughs", "double", "deep", "huge", "unknown", "path", "empty"],
)
def test_hostile_config(tmp_path: Path, text: str) -> None:
    """A config with a Python tag, aliases, double keys, 5,000 levels or digits, unknown keys. → Refused as input."""
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(ConfigError):
        load_config(tmp_path / "config.yaml")
    assert not (tmp_path / "ran").exists()


def test_hostile_parameter(tmp_path: Path) -> None:
    """A parameter on the command line is YAML with a Python tag or an alias. → It stays text."""
    for text in ("!!python/object/apply:os.system ['touch ran']", "*x", "[" * 5000):
        assert parse_parameters([f"a={text}"]) == {"a": text}


class _Bang:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (Path.touch, (Path("ran"),))


@pytest.mark.parametrize("name", ["ict", "flame", "bfm"])
def test_pickle_in_a_model_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """A face model's file is a pickle, or an npz with one inside, that runs code. → Refused, nothing runs."""
    monkeypatch.chdir(tmp_path)
    np.savez(tmp_path / "model.npz", mean=np.array([_Bang()], dtype=object), allow_pickle=True)
    (tmp_path / "model.pkl").write_bytes(pickle.dumps({"v_template": _Bang(), "f": _Bang()}))
    for file in ("model.npz", "model.pkl"):
        with pytest.raises(CrimefaceError):
            load_morphable_model(name, path=tmp_path / file)
    assert not (tmp_path / "ran").exists()


def test_hostile_photo(tmp_path: Path) -> None:
    """A photo of 60,000 × 60,000, one cut short, an SVG, an EPS, a text. → Refused from the header, with the reason."""
    buffer = io.BytesIO()
    Image.new("L", (64, 64)).save(buffer, "PNG")
    sound = bytearray(buffer.getvalue())
    sound[16:24] = (60_000).to_bytes(4, "big") * 2
    for data in (bytes(sound), buffer.getvalue()[:60], b"<svg/>", b"%!PS-Adobe-3.0 EPSF-3.0", b"text", b""):
        with pytest.raises(ImageError):
            load_image(data)


@pytest.mark.parametrize("name", ["../other", "/etc", "a/b", "a\\b", "", ".", "a\0"])
def test_watchlist_name(target, name: str) -> None:
    """A watchlist's name leads out of the store. → Refused."""
    with pytest.raises(InputError):
        target.open().watchlist_path(name)


def test_run_changed_after_signing(tmp_path: Path) -> None:
    """A file of a signed run is changed, added or removed, or its manifest is. → Verification names it."""
    (tmp_path / "report.html").write_text("candidates")
    manifest = {"id": "run", "notes": [], "outputs": list_outputs(tmp_path)}
    sign_manifest(tmp_path, write_manifest(tmp_path, manifest), Ed25519PrivateKey.generate())
    verify_run(tmp_path)
    (tmp_path / "report.html").write_text("something else")
    with pytest.raises(IntegrityError, match=r"report\.html was changed"):
        verify_run(tmp_path)
    (tmp_path / "report.html").write_text("candidates")
    (tmp_path / "more.html").write_text("x")
    with pytest.raises(IntegrityError, match=r"more\.html was added"):
        verify_run(tmp_path)
    (tmp_path / "more.html").unlink()
    (tmp_path / "run.json").write_text(json.dumps(manifest))
    with pytest.raises(IntegrityError):
        verify_run(tmp_path)


def test_checkpoint_of_something_else(target, made: Path, tmp_path: Path) -> None:
    """A store is verified against a checkpoint that is empty, of another log or store, or altered. → Refused."""
    verify_store(target.folder / "store", checkpoint=made / "heads.json")
    verify_store(target.folder / "store", checkpoint=made / "held.json")  # as an export wrote it
    head = json.loads((made / "held.json").read_bytes())
    other = Checkpoint.sign(
        origin="custody", size=1, root=b"0" * 32, at=datetime(2026, 1, 1, tzinfo=UTC), key=Ed25519PrivateKey.generate()
    )
    held = tmp_path / "given.json"
    wrong = [{}, [], 1, {"custody": {}}, head | {"origin": "audit"}, {"log": head}, head | {"size": 1}, other.to_dict()]
    for given in wrong:
        held.write_text(json.dumps(given))
        with pytest.raises(CrimefaceError):
            verify_store(target.folder / "store", checkpoint=held)


def test_not_met_run_signed_anew(tmp_path: Path) -> None:
    """A run is changed and signed anew with another key, and the reviewer holds no key. → It should be refused.
    → It passes, naming the key: compare it with the one that you hold (--key)."""
    (tmp_path / "report.html").write_text("forged")
    manifest = {"id": "run", "notes": [], "outputs": list_outputs(tmp_path)}
    key = Ed25519PrivateKey.generate()
    sign_manifest(tmp_path, write_manifest(tmp_path, manifest), key)
    assert verify_run(tmp_path).key == key.public_key().public_bytes_raw().hex()
    with pytest.raises(IntegrityError):
        verify_run(tmp_path, key="00" * 32)
