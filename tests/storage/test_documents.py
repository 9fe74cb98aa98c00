"""TinyDB made fit: ids, transactions, concurrent writers, death at each boundary."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from crimeface_lib.core.errors import InputError, IntegrityError, NotFoundError
from crimeface_lib.storage import DocumentStore, TinyDocuments


@pytest.fixture
def store(tmp_path: Path) -> TinyDocuments:
    return TinyDocuments.open(tmp_path / "records.json")


def test_a_document_comes_back_as_it_was_stored(store: TinyDocuments) -> None:
    assert isinstance(store, DocumentStore)
    new = store.insert("case", {"name": "é", "tags": ["a", "b"], "n": 1.5, "none": None})
    assert store.get("case", new) == {"id": new, "name": "é", "tags": ["a", "b"], "n": 1.5, "none": None}
    assert store.find("case", name="é", n=1.5) == [store.get("case", new)]
    assert store.find("case", name="e") == [] == store.find("other") == store.find("case", absent=None)
    assert store.update("case", new, {"n": 2}) == store.get("case", new)
    store.delete("case", new)
    with pytest.raises(NotFoundError, match="no document 1 in table 'case'"):
        store.get("case", new)


def test_what_was_returned_is_a_copy(store: TinyDocuments) -> None:
    new = store.insert("case", {"tags": ["a"]})
    with store.transaction():
        store.update("case", new, {"n": 1})
        store.get("case", new)["tags"].append("b")
    assert store.get("case", new)["tags"] == ["a"]


def test_ids_are_never_given_twice(store: TinyDocuments) -> None:
    first = store.insert("case", {})
    store.delete("case", first)
    assert store.insert("case", {}) == first + 1
    assert store.insert("other", {}) == 1


@pytest.mark.parametrize("document", [{"id": 3}, {"a": object()}, {"a": float("nan")}, {"a": b"bytes"}])
def test_what_json_cannot_hold_is_refused(store: TinyDocuments, document: dict[str, object]) -> None:
    with pytest.raises(InputError):
        store.insert("case", document)
    assert store.find("case") == []


def test_an_id_cannot_be_changed_and_a_missing_one_is_said(store: TinyDocuments) -> None:
    new = store.insert("case", {"a": 1})
    assert store.update("case", new, store.get("case", new) | {"a": 2})["a"] == 2
    with pytest.raises(InputError, match="can't be changed"):
        store.update("case", new, {"id": 9})
    with pytest.raises(NotFoundError):
        store.update("case", 9, {})
    with pytest.raises(NotFoundError):
        store.delete("case", 9)
    with pytest.raises(InputError, match="underscore"):
        store.insert("_sequence", {})


def test_an_error_undoes_the_whole_transaction(store: TinyDocuments) -> None:
    new = store.insert("case", {"a": 1})

    def fail() -> None:
        with store.transaction():
            store.update("case", new, {"a": 2})
            store.insert("case", {})
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert store.find("case") == [{"a": 1, "id": new}]
    assert store.insert("case", {}) == new + 1


def test_nobody_sees_half_a_transaction(store: TinyDocuments) -> None:
    inside, seen = threading.Event(), threading.Event()
    with ThreadPoolExecutor(1) as pool:

        def write() -> None:
            with store.transaction():
                store.insert("case", {})
                inside.set()
                assert seen.wait(10)
                store.insert("case", {})

        done = pool.submit(write)
        assert inside.wait(10)
        assert store.find("case") == []
        seen.set()
        done.result()
    assert len(store.find("case")) == 2


def test_the_file_mode_is_kept_and_private_at_first(store: TinyDocuments, tmp_path: Path) -> None:
    store.insert("case", {})
    path = tmp_path / "records.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.chmod(0o640)
    store.insert("case", {})
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"case": 1}', b"\xff"])
def test_a_file_that_is_no_store_is_said_at_once(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "records.json").write_bytes(content)
    with pytest.raises(IntegrityError, match="restore it"):
        TinyDocuments.open(tmp_path / "records.json")


WRITER = """
import sys
from crimeface_lib.storage.documents import TinyDocuments
path, name, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
store = TinyDocuments.open(path)
counter = store.find("counter")[0]["id"]
for i in range(count):
    store.insert("row", {"writer": name, "i": i})
    with store.transaction():
        store.update("counter", counter, {"n": store.get("counter", counter)["n"] + 1})
"""


def test_concurrent_processes_and_threads_lose_nothing(store: TinyDocuments, tmp_path: Path) -> None:
    processes, count = 3, 25
    store.insert("counter", {"n": 0})
    command = [sys.executable, "-c", WRITER, str(tmp_path / "records.json")]
    running = [subprocess.Popen([*command, f"p{i}", str(count)]) for i in range(processes)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda i: store.insert("row", {"writer": f"t{i % 4}", "i": i}), range(20)))
    assert [process.wait(timeout=60) for process in running] == [0] * processes
    rows = store.find("row")
    assert len(rows) == processes * count + 20
    assert len({row["id"] for row in rows}) == len(rows)
    assert len({(row["writer"], row["i"]) for row in rows}) == len(rows)
    assert store.find("counter")[0]["n"] == processes * count


DIE = """
import os, sys
from crimeface_lib.storage.documents import TinyDocuments
path, point, cut = sys.argv[1], sys.argv[2], int(sys.argv[3])
store = TinyDocuments.open(path)
die = lambda *a, **k: os._exit(9)
real = os.fdopen
class Torn:
    def __init__(self, file): self.file = file
    def __enter__(self): return self
    def __exit__(self, *a): self.file.close()
    def write(self, data): self.file.write(data[:cut]); self.file.flush(); os._exit(9)
if point == "write": os.fdopen = lambda *a: Torn(real(*a))
if point == "fsync": os.fsync = die
if point == "replace": os.replace = die
if point == "sync_directory":
    import crimeface_lib.core.files as files
    files.sync_directory = die
store.update("row", 1, {"a": "Z" * 1500})
"""


@pytest.mark.parametrize(
    ("point", "cut", "state"),
    [
        *[("write", cut, "old") for cut in (0, 1, 700, 2400)],
        ("fsync", 0, "old"),
        ("replace", 0, "old"),
        ("sync_directory", 0, "new"),
    ],
)
def test_after_death_at_any_boundary_the_state_is_old_or_new(
    store: TinyDocuments, tmp_path: Path, point: str, cut: int, state: str
) -> None:
    for letter in "abc":
        store.insert("row", {"a": letter * 300})
    path = tmp_path / "records.json"
    old = json.loads(path.read_bytes())
    died = subprocess.run([sys.executable, "-c", DIE, str(path), point, str(cut)])
    assert died.returncode == 9
    now = json.loads(path.read_bytes())
    assert (now == old) is (state == "old")
    again = TinyDocuments.open(path)
    assert [row["a"][0] for row in again.find("row")] == ["a" if state == "old" else "Z", "b", "c"]
    assert again.insert("row", {}) == 4
