"""The key file: who may read it, what a wrong passphrase says, what a wrapped key is bound to."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from crimeface_lib.core.errors import InputError, IntegrityError, NotFoundError, RefusedError
from crimeface_lib.storage import KeyRing


def test_the_same_file_gives_the_same_keys(tmp_path: Path) -> None:
    first, again = KeyRing.open(tmp_path / "keys.json"), KeyRing.open(tmp_path / "keys.json", create=False)
    assert stat.S_IMODE((tmp_path / "keys.json").stat().st_mode) == 0o600
    assert first.verify_key == again.verify_key
    assert first.derive("templates") == again.derive("templates") != first.derive("names")
    assert len(first.derive("templates")) == 32
    assert first.derive("templates").hex() not in repr(first)
    assert again.unwrap(first.wrap(b"k" * 32, context=b"a"), context=b"a") == b"k" * 32


def test_a_missing_file_is_made_only_when_asked(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no key file"):
        KeyRing.open(tmp_path / "keys.json", create=False)


def test_a_passphrase_seals_the_file(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    keys = KeyRing.open(path, passphrase="cafe\u0301")
    assert KeyRing.open(path, passphrase="caf\u00e9").verify_key == keys.verify_key
    with pytest.raises(IntegrityError, match="wrong passphrase"):
        KeyRing.open(path, passphrase="other")
    with pytest.raises(InputError, match="needs its passphrase"):
        KeyRing.open(path)
    assert keys.signing_key.private_bytes_raw() not in path.read_bytes()
    cost = json.loads(path.read_bytes())["seal"]
    assert (cost["n"], cost["r"], cost["p"]) == (1 << 15, 8, 3)


def test_a_passphrase_for_an_open_file_is_no_comfort(tmp_path: Path) -> None:
    KeyRing.open(tmp_path / "keys.json")
    with pytest.raises(InputError, match="has no passphrase"):
        KeyRing.open(tmp_path / "keys.json", passphrase="x")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666])
def test_a_file_that_others_may_read_is_refused_with_the_remedy(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "keys.json"
    KeyRing.open(path)
    path.chmod(mode)
    with pytest.raises(RefusedError, match="chmod 600"):
        KeyRing.open(path)


@pytest.mark.parametrize("passphrase", [None, "secret"])
@pytest.mark.usefixtures("cheap")
def test_a_changed_file_is_noticed(tmp_path: Path, passphrase: str | None) -> None:
    path = tmp_path / "keys.json"
    KeyRing.open(path, passphrase=passphrase)
    record = json.loads(path.read_bytes())
    for changed in (
        {"format": "x"},
        {"version": "2"},
        {"body": "!"},
        {"body": record["body"][:40]},
        {"seal": {"kind": "passphrase", "n": 2}},
        {"seal": {"kind": "other"}},
        {"seal": {"kind": "passphrase", "n": 1 << 40, "r": 8, "p": 1, "salt": ""}},
    ):
        path.write_text(json.dumps(record | changed))
        with pytest.raises(IntegrityError):
            KeyRing.open(path, passphrase=passphrase or "x" if "seal" in changed else passphrase)
    path.write_text("{")
    with pytest.raises(IntegrityError, match="not a key ring"):
        KeyRing.open(path, passphrase=passphrase)


def test_a_wrapped_key_is_bound_to_its_context_and_ring(tmp_path: Path) -> None:
    keys, other = KeyRing.open(tmp_path / "a.json"), KeyRing.open(tmp_path / "b.json")
    blob = keys.wrap(b"k" * 32, context=b"object 1")
    assert blob != keys.wrap(b"k" * 32, context=b"object 1")
    with pytest.raises(IntegrityError, match="another object"):
        keys.unwrap(blob, context=b"object 2")
    with pytest.raises(NotFoundError, match="not in this ring"):
        other.unwrap(blob, context=b"object 1")
    for index in range(8, len(blob), 7):
        with pytest.raises(IntegrityError):
            keys.unwrap(blob[:index] + bytes([blob[index] ^ 1]) + blob[index + 1 :], context=b"object 1")
    with pytest.raises(IntegrityError, match="cut or extended"):
        keys.unwrap(blob + b"x", context=b"object 1")
    with pytest.raises(InputError, match="expected 32"):
        keys.wrap(b"short", context=b"")


@pytest.mark.parametrize("passphrase", [None, "secret"])
@pytest.mark.usefixtures("cheap")
def test_after_a_rotation_old_wraps_open_and_new_ones_use_the_new_key(tmp_path: Path, passphrase: str | None) -> None:
    path = tmp_path / "keys.json"
    keys = KeyRing.open(path, passphrase=passphrase)
    old, verify_key, derived = keys.wrap(b"k" * 32, context=b"a"), keys.verify_key, keys.derive("x")
    key_id = keys.rotate()
    again = KeyRing.open(path, passphrase=passphrase)
    assert again.unwrap(old, context=b"a") == b"k" * 32
    assert again.wrap(b"k" * 32, context=b"a")[:8].hex() == key_id != old[:8].hex()
    assert (again.verify_key, again.derive("x")) == (verify_key, derived)
