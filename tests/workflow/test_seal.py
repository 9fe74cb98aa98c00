"""A finished run is signed; whatever is changed, added or dropped afterwards is found and named."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from crimeface_lib.core.errors import IntegrityError, NotFoundError
from crimeface_lib.storage import Checkpoint
from crimeface_lib.workflow.seal import list_outputs, sign_manifest, verify_run, write_heads, write_manifest

LOGS = ("audit", "custody")


@pytest.fixture
def key():
    return Ed25519PrivateKey.generate()


@pytest.fixture
def sealed(tmp_path, key):
    folder = tmp_path / "run"
    (folder / "files").mkdir(parents=True)
    (folder / "report.html").write_text("<p>found</p>")
    (folder / "files/face.ply").write_bytes(b"ply")
    data = write_manifest(folder, {"id": "run", "outputs": list_outputs(folder)})
    sign_manifest(folder, data, key)
    at = datetime(2026, 1, 1, tzinfo=UTC)
    write_heads(folder, {name: Checkpoint.sign(origin=name, size=1, root=bytes(32), at=at, key=key) for name in LOGS})
    return folder


def test_an_untouched_run_passes(sealed, key):
    public = key.public_key().public_bytes_raw().hex()
    check = verify_run(sealed, key=public)
    assert (check.run, check.files, check.key) == ("run", 2, public)


def test_every_byte_counts(sealed):
    for path in [p for p in sealed.rglob("*") if p.is_file()]:
        old = path.read_bytes()
        for place in (0, len(old) // 2, len(old) - 1):
            path.write_bytes(old[:place] + bytes([old[place] ^ 1]) + old[place + 1 :])
            with pytest.raises(IntegrityError):
                verify_run(sealed)
        for damaged in (old[1:], old[:-1], old + b"\n", b" " + old):
            path.write_bytes(damaged)
            with pytest.raises(IntegrityError):
                verify_run(sealed)
        path.write_bytes(old)
    verify_run(sealed)


def test_the_heads_of_another_store_and_links_are_found(sealed):
    at, key = datetime(2026, 1, 1, tzinfo=UTC), Ed25519PrivateKey.generate()
    old = (sealed / "checkpoint.json").read_bytes()
    write_heads(sealed, {"audit": Checkpoint.sign(origin="audit", size=1, root=bytes(32), at=at, key=key)})
    with pytest.raises(IntegrityError, match=r"checkpoint\.json"):
        verify_run(sealed)
    (sealed / "checkpoint.json").write_bytes(old)
    (sealed / "elsewhere").symlink_to(sealed.parent)
    with pytest.raises(IntegrityError, match="elsewhere is a link"):
        verify_run(sealed)


def test_added_dropped_and_renamed_files_are_named(sealed):
    (sealed / "extra.txt").write_text("x")
    with pytest.raises(IntegrityError, match=r"extra\.txt was added"):
        verify_run(sealed)
    (sealed / "extra.txt").unlink()
    (sealed / "report.html").rename(sealed / "report2.html")
    with pytest.raises(IntegrityError, match=r"report\.html is missing"):
        verify_run(sealed)


def test_signing_again_with_another_key_shows_against_the_key_a_reviewer_holds(sealed, key):
    (sealed / "report.html").write_text("<p>something else</p>")
    (sealed / "checkpoint.json").unlink()
    data = write_manifest(sealed, {"id": "run", "outputs": list_outputs(sealed)})
    sign_manifest(sealed, data, Ed25519PrivateKey.generate())
    verify_run(sealed)  # consistent in itself, which is all that can be said without a key
    with pytest.raises(IntegrityError, match="is signed by key"):
        verify_run(sealed, key=key.public_key().public_bytes_raw().hex())


def test_no_seal_and_no_run(sealed, tmp_path):
    (sealed / "run.json.sig").unlink()
    with pytest.raises(IntegrityError, match="seal was removed"):
        verify_run(sealed)
    with pytest.raises(NotFoundError, match="no run in"):
        verify_run(tmp_path)
    (sealed / "run.json").write_text(json.dumps([1]))
    with pytest.raises(IntegrityError, match="expected a JSON object"):
        verify_run(sealed)
