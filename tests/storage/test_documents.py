"""The JSON file's own: who may read it, what is no store, formats. What all stores do is in test_stores."""

from __future__ import annotations

import json
import logging
import stat
from pathlib import Path

import pytest

from crimeface_lib.core.errors import InputError, IntegrityError, RefusedError
from crimeface_lib.storage import TinyDocuments, open_documents


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "records.json"


def put(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    path.chmod(0o600)
    return path


def test_the_file_is_private_at_first_and_its_mode_is_kept(path: Path) -> None:
    store = TinyDocuments.open(path)
    store.insert("case", {})
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.chmod(0o640)
    store.insert("case", {})
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    path.chmod(0o644)
    with pytest.raises(RefusedError, match=r"mode is 644.*chmod 600"):
        TinyDocuments.open(path)


@pytest.mark.parametrize(
    "content",
    [b"{", b"[]", b'{"case": 1}', b'{"case": {"x": {}}}', b'{"case": {"1": 2}}', b"\xff",
     b'{"_schema": {"1": {"version": "2"}}}', b'{"_schema": {"1": {"version": true}}}'],
)  # fmt: skip
def test_a_file_that_is_no_store_is_said_at_once(path: Path, content: bytes) -> None:
    with pytest.raises(IntegrityError, match="restore it"):
        TinyDocuments.open(put(path, content))
    assert path.read_bytes() == content


def test_a_file_of_tinydb_itself_is_migrated_and_kept(path: Path) -> None:
    """Written by TinyDB 4.8: no last ids, no format; three documents, the second one removed."""
    plain = '{"case": {"1": {"a": 1}, "3": {"a": 3}}, "_default": {"1": {"b": 1}}}'
    store = TinyDocuments.open(put(path, plain))
    assert [row["id"] for row in store.find("case")] == [1, 3]
    assert store.insert("case", {}) == 4
    assert json.loads(path.read_bytes())["_schema"] == {"1": {"version": 1}}
    backup = path.with_name("records.json.v0.bak")
    assert backup.read_text() == plain
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600
    TinyDocuments.open(path).update("case", 1, {"a": 2})
    assert backup.exists()
    store.delete("case", 3)
    assert not backup.exists(), "what was deleted lies nowhere else"


def test_our_own_first_format_keeps_the_ids_of_deleted_records(path: Path) -> None:
    put(path, '{"case": {"1": {"a": 1}}, "_sequence": {"1": {"case": 7, "gone": 2}}}')
    store = TinyDocuments.open(path)
    assert (store.insert("case", {}), store.insert("gone", {})) == (8, 3)


def test_a_newer_format_is_refused_and_left_alone(path: Path) -> None:
    content = '{"_schema": {"1": {"version": 2}}, "case": {"1": {"a": 1}}}'
    with pytest.raises(InputError, match="is in format 2, this crimeface reads up to 1; install a newer one"):
        TinyDocuments.open(put(path, content))
    assert path.read_text() == content
    path.unlink()
    store = TinyDocuments.open(path)
    store.insert("case", {})
    put(path, content)  # another process brought it to a newer format meanwhile
    with pytest.raises(InputError, match="newer"):
        store.insert("case", {})
    assert path.read_text() == content


def test_a_file_that_grows_too_large_says_what_to_use_instead(
    path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(TinyDocuments.open.__func__.__globals__, "_LARGE", 1000)  # type: ignore[attr-defined]
    with caplog.at_level(logging.WARNING):
        TinyDocuments.open(path).insert("case", {"text": "x" * 2000})
    assert "CRIMEFACE_DOCUMENTS" in caplog.text
    assert path.name not in caplog.text


def test_a_space_is_for_databases(path: Path) -> None:
    with pytest.raises(InputError, match="give each space a file"):
        open_documents(path, space="other")
