"""The key file: who may read it, what a wrong passphrase says, what a wrapped key is bound to."""

from __future__ import annotations

import base64
import json
import os
import stat
import sys
import time
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from crimeface_lib.core.errors import CrimefaceError, InputError, IntegrityError, NotFoundError, RefusedError
from crimeface_lib.core.hashing import canonical_json
from crimeface_lib.storage import KeyRing
from crimeface_lib.storage.unlock import Command, MasterKey, Passphrase, Unlock


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


def test_a_process_that_was_open_takes_part_in_a_rotation(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    mine, other = KeyRing.open(path), KeyRing.open(path)
    old = mine.wrap(b"k" * 32, context=b"a")
    other.rotate()
    assert mine.retiring == other.retiring == (old[:8].hex(),)
    assert mine.wrap(b"k" * 32, context=b"a")[:8].hex() == other.active, "else it would wrap with a key about to go"
    new = other.rewrap(old, context=b"a")
    assert other.rewrap(new, context=b"a") == new
    assert other.retire() == (old[:8].hex(),)
    other.rotate()
    newest = other.rewrap(new, context=b"a")
    assert mine.unwrap(newest, context=b"a") == b"k" * 32, "read anew when a key is missing"
    with pytest.raises(NotFoundError, match="not in this ring"):
        mine.unwrap(old, context=b"a")


def test_only_the_keys_that_were_rewrapped_need_go(tmp_path: Path) -> None:
    keys = KeyRing.open(tmp_path / "keys.json")
    first, second = keys.active, keys.rotate()
    blob = keys.wrap(b"k" * 32, context=b"a")
    keys.rotate()  # by somebody else, meanwhile
    assert keys.retire([first, "00" * 8]) == (first,)
    assert keys.retiring == (second,)
    assert keys.unwrap(blob, context=b"a") == b"k" * 32
    assert keys.retire([keys.active]) == (), "the active key never goes"


def test_a_data_key_is_random_bound_to_its_place_and_rewrapped(tmp_path: Path) -> None:
    keys, path = KeyRing.open(tmp_path / "keys.json"), tmp_path / "list.key"
    key = keys.data_key(path, context=b"list")
    assert len(key) == 32
    assert (
        keys.data_key(path, context=b"list", first=bytes(32)) == key != keys.data_key(tmp_path / "b", context=b"list")
    )
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(IntegrityError):
        keys.data_key(path, context=b"other")
    assert not keys.rewrap_file(path, context=b"list")
    keys.rotate()
    assert keys.rewrap_file(path, context=b"list")
    keys.retire()
    assert keys.data_key(path, context=b"list") == key


def test_a_derived_key_may_end_with_a_rotation(tmp_path: Path) -> None:
    keys = KeyRing.open(tmp_path / "keys.json")
    stays, ends = keys.derive("x"), keys.derive("x", rotates=True)
    assert stays != ends == keys.derive("x", rotates=True)
    keys.rotate()
    assert (keys.derive("x") == stays, keys.derive("x", rotates=True) == ends) == (True, False)


# A key management service as it might be: it encrypts by a key of its own and answers wrap and unwrap.
KMS = """
import os, sys, time
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
mode, verb, data = sys.argv[1], sys.argv[-1], sys.stdin.buffer.read()
if mode == "refuse": sys.exit("AccessDenied: this role may not " + verb)
if mode == "hang": os.system("sleep 60")
if mode == "silent": sys.exit(0)
if mode == "parrot": sys.stdout.buffer.write(data); sys.exit(0)
if mode == "short" and verb == "unwrap": sys.stdout.buffer.write(b"x" * 16); sys.exit(0)
if mode == "wrong" and verb == "unwrap": sys.stdout.buffer.write(b"x" * 32); sys.exit(0)
kms, nonce = AESGCM(b"M" * 32), os.urandom(12)
out = nonce + kms.encrypt(nonce, data, b"") if verb == "wrap" else kms.decrypt(data[:12], data[12:], b"")
sys.stdout.buffer.write(out)
"""


@pytest.fixture
def kms(tmp_path: Path) -> Path:
    (tmp_path / "kms; touch pwned").mkdir()
    script = tmp_path / "kms; touch pwned" / "kms $(id).py"
    script.write_text(KMS)
    return script


def by(script: Path, mode: str = "work", **options: float) -> Command:
    return Command((sys.executable, str(script), mode), **options)


MASTER = MasterKey(base64.b64encode(bytes(range(32))).decode())


def test_each_way_to_seal_opens_again_and_no_other_does(tmp_path: Path, cheap: None, kms: Path) -> None:
    ways: list[Unlock] = [Passphrase("words"), MASTER, by(kms)]
    for way in ways:
        path = tmp_path / f"{way.kind}.json"
        keys = KeyRing.open(path, unlock=way)
        keys.rotate()
        again = KeyRing.open(path, unlock=way)
        assert (again.verify_key, again.sealed_by, again.active) == (keys.verify_key, way.kind, keys.active)
        assert keys.signing_key.private_bytes_raw() not in path.read_bytes()
        assert base64.b64encode(keys.signing_key.private_bytes_raw()) not in path.read_bytes()
        for other in (None, *ways):
            if other is not way:
                with pytest.raises(InputError, match=r"needs its (passphrase|master key|key command); set CRIMEFACE_"):
                    KeyRing.open(path, unlock=other)
        assert "words" not in repr(way)
        assert "AAEC" not in repr(way)
    with pytest.raises(IntegrityError, match="wrong passphrase or key"):
        KeyRing.open(tmp_path / "key.json", unlock=MasterKey(base64.b64encode(bytes(32)).decode()))
    with pytest.raises(InputError, match="one of them"):
        KeyRing.open(tmp_path / "key.json", unlock=MASTER, passphrase="x")


def test_the_seal_of_a_file_cannot_be_altered(tmp_path: Path, cheap: None, kms: Path) -> None:
    path = tmp_path / "keys.json"
    KeyRing.open(path, unlock=MASTER)
    record = json.loads(path.read_bytes())
    path.write_text(json.dumps({**record, "seal": {"kind": "key", "note": "x"}}))
    with pytest.raises(IntegrityError, match="was changed"):
        KeyRing.open(path, unlock=MASTER)


@pytest.mark.parametrize("text", ["", "short", "!" * 44, base64.b64encode(bytes(31)).decode()])
def test_a_master_key_that_is_none_is_said_and_not_shown(tmp_path: Path, text: str) -> None:
    with pytest.raises(InputError, match="openssl rand -base64 32") as caught:
        KeyRing.open(tmp_path / "keys.json", unlock=MasterKey(text))
    assert not text or text not in str(caught.value)
    assert not (tmp_path / "keys.json").exists()


@pytest.mark.parametrize(
    ("mode", "error", "says"),
    [
        ("refuse", CrimefaceError, "failed to wrap, exit status 1: AccessDenied: this role may not wrap"),
        ("silent", IntegrityError, "answered 0 bytes"),
        ("parrot", IntegrityError, "gave the key back as it was"),
        ("short", IntegrityError, "does not unwrap what it wrapped"),
        ("wrong", IntegrityError, "does not unwrap what it wrapped"),
    ],
)
def test_a_key_command_that_fails_seals_nothing(
    tmp_path: Path, kms: Path, mode: str, error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        KeyRing.open(tmp_path / "keys.json", unlock=by(kms, mode))
    assert not (tmp_path / "keys.json").exists()


def test_a_key_command_is_asked_once_without_a_shell_and_ended_in_time(tmp_path: Path, kms: Path) -> None:
    path = tmp_path / "keys.json"
    KeyRing.open(path, unlock=by(kms)).rotate()
    assert not list(tmp_path.glob("pwned*"))
    with pytest.raises(CrimefaceError, match="failed to unwrap"):
        KeyRing.open(path, unlock=by(kms, "refuse"))
    with pytest.raises(IntegrityError, match="wrong passphrase or key"):
        KeyRing.open(path, unlock=by(kms, "wrong"))
    with pytest.raises(IntegrityError, match="answered 16 bytes"):
        KeyRing.open(path, unlock=by(kms, "short"))
    began = time.monotonic()
    with pytest.raises(CrimefaceError, match=r"within 0\.5 s"):
        KeyRing.open(path, unlock=by(kms, "hang", timeout=0.5))
    assert time.monotonic() - began < 30, "what it started held the pipe for 60 s"
    with pytest.raises(InputError, match="can't start: No such file"):
        KeyRing.open(path, unlock=Command((str(tmp_path / "absent"),)))


def test_a_new_seal_leaves_the_keys_as_they_were(tmp_path: Path, cheap: None, kms: Path) -> None:
    path = tmp_path / "keys.json"
    keys = KeyRing.open(path, passphrase="before")
    other = KeyRing.open(path, passphrase="before")
    blob = keys.wrap(b"k" * 32, context=b"a")
    other.rotate()
    keys.reseal(passphrase="after")
    again = KeyRing.open(path, passphrase="after")
    assert again.unwrap(blob, context=b"a") == b"k" * 32
    assert len(again.retiring) == 1, "the rotation of another process was not undone"
    for wrong in ("before", "After"):
        with pytest.raises(IntegrityError, match="wrong passphrase"):
            KeyRing.open(path, passphrase=wrong)
    again.reseal(unlock=by(kms))
    KeyRing.open(path, unlock=by(kms)).reseal()
    assert KeyRing.open(path).sealed_by.startswith("nothing")


@pytest.mark.parametrize("passphrase", [None, "secret"])
def test_a_file_of_the_first_format_is_migrated_and_its_backup_goes_with_the_first_change(
    tmp_path: Path, passphrase: str | None
) -> None:
    """As version 0.1 wrote it: the format in one word, scrypt beside the body, nothing bound but the format."""
    name, key_id = "crimeface key ring v1", "0011223344556677"
    text = lambda data: base64.b64encode(data).decode()  # noqa: E731
    fields = {"active": key_id, "keks": {key_id: text(b"K" * 32)}, "signing": text(b"S" * 32), "root": text(b"R" * 32)}
    record: dict[str, object] = {"format": name, "scrypt": None, "body": text(canonical_json(fields))}
    if passphrase:
        cost, salt, nonce = {"n": 1024, "r": 8, "p": 1}, b"salt" * 4, b"n" * 12
        key = Scrypt(salt=salt, length=32, **cost).derive(passphrase.encode())
        sealed = nonce + AESGCM(key).encrypt(nonce, canonical_json(fields), name.encode())
        record |= {"scrypt": {**cost, "salt": text(salt)}, "body": text(sealed)}
    path = tmp_path / "keys.json"
    path.write_bytes(canonical_json(record))
    path.chmod(0o600)
    keys = KeyRing.open(path, passphrase=passphrase)
    assert (keys.active, keys.signing_key.private_bytes_raw()) == (key_id, b"S" * 32)
    backup = tmp_path / "keys.json.v1.bak"
    assert backup.read_bytes() == canonical_json(record)
    assert json.loads(path.read_bytes())["version"] == 2
    assert KeyRing.open(path, passphrase=passphrase).derive("x") == keys.derive("x")
    keys.rotate()
    assert not backup.exists(), "it opens with what is no longer in use"


def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    KeyRing.open(path)
    path.write_text(json.dumps({**json.loads(path.read_bytes()), "version": 3}))
    with pytest.raises(InputError, match="format 3, this crimeface reads up to 2"):
        KeyRing.open(path)


def test_what_a_dying_writer_left_is_swept_on_opening(tmp_path: Path) -> None:
    KeyRing.open(tmp_path / "keys.json")
    left = tmp_path / ".keys.json.abc.tmp"
    left.write_bytes(b"keys")
    KeyRing.open(tmp_path / "keys.json")
    assert not left.exists()
    assert os.listdir(tmp_path).count("keys.json") == 1
