"""crimeface evidence: each command as a user types it, with its exit code."""

from __future__ import annotations

import io
import json

import pytest
from PIL import Image

from crimeface_lib.core.settings import load_settings
from crimeface_lib.governance import User
from crimeface_lib.workflow.store import CaseStore

WHO = ["--purpose", "trial"]


@pytest.fixture
def run(workplace, monkeypatch: pytest.MonkeyPatch):
    """Run a command in a folder with a store of three custodians' accounts: cleo's, cleo's second, and dan's."""
    secret = "correct horse battery"
    monkeypatch.setenv("CRIMEFACE_PASSWORD", secret)
    monkeypatch.chdir(workplace.root)
    store = CaseStore.open(load_settings().default_store)
    admin = store.people.add(User("ada", frozenset({"admin"})), password=secret)
    for id, person in (("cleo", "cleo"), ("cleo-2", "cleo"), ("dan", "dan")):
        store.people.add(User(id, frozenset({"custodian"}), person), password=secret, by=admin)

    def call(*words: str, code: int = 0, by: str = "cleo") -> str:
        own = ["--as", by] if words[0] == "evidence" and words[1] != "replay" else []
        found, told = workplace.run_cli(*words, *own)
        assert found == code, told
        return told

    return call


@pytest.fixture
def exif_photo() -> bytes:
    """A JPEG taken in Greenwich Park."""
    exif = Image.Exif()
    place = exif.get_ifd(0x8825)
    place[1], place[2], place[3], place[4] = "N", (51.0, 28.0, 40.0), "W", (0.0, 0.0, 5.0)
    buffer = io.BytesIO()
    Image.new("RGB", (30, 20)).save(buffer, format="JPEG", exif=exif)
    return buffer.getvalue()


def test_a_life_of_an_item(run, workplace, exif_photo: bytes) -> None:
    tmp_path = workplace.root
    (tmp_path / "in").mkdir()
    (tmp_path / "in/photo.jpg").write_bytes(exif_photo)
    (tmp_path / "in/link").symlink_to("/etc/hostname")
    told = run("evidence", "add", "in", "--kind", "photo", "--case", "C-7", *WHO, code=3)
    assert "1 taken in, 0 here before, 1 refused, 0 failed" in told
    run("evidence", "add", "missing.jpg", *WHO, code=2)
    [item] = json.loads(run("evidence", "list", "--json", "--case", "C-7", *WHO))["items"]
    id = item["id"]
    assert "51.477778" in run("evidence", "consult", id[:8], *WHO)
    assert len(json.loads(run("evidence", "consult", id, "--json", *WHO))["custody"]) == 4
    run("evidence", "get", id, "--out", "copy.jpg", *WHO)
    assert (tmp_path / "copy.jpg").read_bytes() == exif_photo
    run("evidence", "get", id, "--out", "copy.jpg", *WHO, code=2)
    run("evidence", "disclose", id, "--to", "the court", "--out", "court.jpg", *WHO)
    run("evidence", "hold", id, *WHO)
    run("evidence", "release", id, *WHO, by="cleo-2", code=3)
    run("evidence", "delete", id, *WHO, by="dan", code=3)
    run("evidence", "release", id, *WHO, by="dan")
    run("evidence", "export", "--out", "bag.zip", "--checkpoint", "held.json", "--timestamp-query", "q.tsq", *WHO)
    assert "unchanged" in run("verify", "bag.zip", "--checkpoint", "held.json")
    assert "no held checkpoint" in run("verify", "bag.zip")
    assert "none" in run("evidence", "replay", "bag.zip", "--checkpoint", "held.json")
    data = (tmp_path / "bag.zip").read_bytes()
    (tmp_path / "bag.zip").write_bytes(data[:500] + bytes([data[500] ^ 1]) + data[501:])
    run("verify", "bag.zip", "--checkpoint", "held.json", code=1)
    run("evidence", "delete", id, "--purpose", "drop photo.jpg", code=2)
    run("evidence", "delete", id, "--purpose", "retention ended")
    run("evidence", "consult", id, *WHO, code=2)


def test_only_a_custodian_may(run) -> None:
    assert "needs custodian" in run("evidence", "list", *WHO, by="ada", code=3)
    assert "purpose" in run("evidence", "list", code=2).lower()
    run("evidence", "list", "--purpose", " ", code=2)


def test_the_checkpoint_goes_another_way(run, workplace) -> None:
    tmp_path = workplace.root
    (tmp_path / "a.txt").write_text("a")
    assert "AB/1" in run("evidence", "add", "a.txt", "--name", "AB/1", "--tag", "x", *WHO)
    told = run("evidence", "export", "--out", "bag", "--checkpoint", "bag/held.json", *WHO, code=2)
    assert "another way" in told
    run("evidence", "export", "--out", "bag", "--checkpoint", "held.json", *WHO)
    (tmp_path / "bag/bagit.txt").unlink()
    assert "bagit.txt" in run("verify", "bag", "--checkpoint", "held.json", code=1)
