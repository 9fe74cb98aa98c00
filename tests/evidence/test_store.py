"""The evidence store: originals, derivatives, holds, erasure, and one event per use."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest

from crimeface_lib.core.errors import InputError, IntegrityError, NotFoundError, RefusedError
from crimeface_lib.evidence import EvidenceItem, EvidenceStore, Process
from crimeface_lib.storage import KeyRing, TinyDocuments, Vault

ADA = {"actor": "ada", "purpose": "research"}
BEN = {"actor": "ben", "purpose": "review"}


def add(store: EvidenceStore, content: bytes = b"a photo", **more: object) -> EvidenceItem:
    return store.add(content, **ADA | {"kind": "photo"} | more)  # type: ignore[arg-type]


def events(store: EvidenceStore, id: str | None = None) -> list[str]:
    return [event["event"] for event in store.custody(id).events]


def test_an_original_is_stored_once_by_its_content(store: EvidenceStore, tmp_path: Path) -> None:
    item = add(store, name="AB/1", case="C-7")
    assert item.sha256 == hashlib.sha256(b"a photo").hexdigest()
    assert item.sha512 == hashlib.sha512(b"a photo").hexdigest()
    assert (item.size, item.kind, item.name, item.case) == (7, "photo", "AB/1", "C-7")
    assert item.added == datetime(2026, 1, 1, tzinfo=UTC)
    assert add(store, name="other", case="C-7") == item
    other_case = add(store, case="C-8")
    assert other_case.id != item.id
    assert len(list((tmp_path / "evidence").rglob("*.enc"))) == 3  # one content, two records
    assert [i.id for i in store.list(**ADA)] == [item.id, other_case.id]
    assert list(store.list(**ADA, case="C-7")) == [item] == list(store.list(**ADA, case="C-7", kind="photo"))
    assert len(store.list(**ADA, kind="mesh")) == 0
    assert store.item(item.id, **ADA) == item
    frame = store.list(**ADA).to_frame()
    assert list(frame.case) == ["C-7", "C-8"]
    assert "AB/1" in store.list(**ADA)._repr_html_()
    with pytest.raises(RefusedError, match="items don't change"):
        add(store, kind="map", case="C-7")


def test_a_derivative_names_its_parents(store: EvidenceStore) -> None:
    photo, second = add(store), add(store, b"another")
    for parents in ((), []):
        with pytest.raises(RefusedError, match="without a parent"):
            add(store, b"a mesh", kind="mesh", tool="fit 1.0", parents=parents)
    with pytest.raises(RefusedError, match="without a parent"):
        add(store, b"a mesh", kind="derivative")
    with pytest.raises(NotFoundError, match="add the parent first"):
        add(store, b"a mesh", kind="mesh", parents=["0" * 64])
    mesh = add(store, b"a mesh", kind="mesh", tool="fit 1.0", parents=[photo.sha256])
    both = add(store, b"a pair", kind="mesh", tool="fit 1.0", parents=[photo.id, second.id])
    assert mesh.parents == (photo.id,)
    assert both.parents == (photo.id, second.id)
    assert events(store) == ["collection", "collection", "derivation", "combination"]
    assert len(store.list(**ADA)) == 4
    assert events(store)[-1] == "consultation"


def test_each_public_method_that_touches_personal_data_writes_exactly_one_event(
    store: EvidenceStore, tmp_path: Path
) -> None:
    """E3, over all public methods: a new one has to be put into one of the two tables."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a").write_bytes(b"in a folder")
    item = add(store, name="canary-name", description="canary-words", tags=["canary-tag"])
    both = Process("join", "1", lambda contents: b"".join(contents))
    uses: list[tuple[str, str, Callable[[], object]]] = [
        ("add", "collection", lambda: add(store, b"second")),
        ("add", "collection", lambda: add(store)),
        ("add", "derivation", lambda: add(store, b"mesh", parents=[item.id])),
        ("add_files", "collection", lambda: store.add_files([tmp_path / "folder"], **ADA, kind="file")),
        ("derive", "derivation", lambda: store.derive([item.id], process=both, **ADA, kind="copy", case="other")),
        ("derive", "combination", lambda: store.derive([item.id] * 2, process=both, **ADA, kind="twice")),
        ("amend", "alteration", lambda: store.amend(item.id, **ADA, tags=["canary-tag", "seen"])),
        ("get", "consultation", lambda: store.get(item.id, **ADA)),
        ("item", "consultation", lambda: store.item(item.id, **ADA)),
        ("list", "consultation", lambda: store.list(**ADA)),
        ("list", "consultation", lambda: store.list(**ADA, text="nowhere")),
        ("lineage", "consultation", lambda: store.lineage(item.id, **ADA)),
        ("copy_to", "consultation", lambda: store.copy_to(item.id, tmp_path / "copy", **ADA)),
        ("copy_to", "disclosure", lambda: store.copy_to(item.id, tmp_path / "other", **ADA, recipient="the court")),
        ("disclose", "disclosure", lambda: store.disclose(item.id, **ADA, recipient="the court")),
        ("export", "disclosure", lambda: store.export(tmp_path / "bag", **ADA)),
        ("hold", "hold", lambda: store.hold(item.id, **ADA)),
        ("delete", "refusal", lambda: refused(lambda: store.delete(item.id, **BEN))),
        ("release", "refusal", lambda: refused(lambda: store.release(item.id, actor=" ADA ", purpose="x"))),
        ("release", "release", lambda: store.release(item.id, **BEN)),
    ]
    blind: dict[str, Callable[[], object]] = {
        "custody": lambda: store.custody().to_dict(),
        "holders": lambda: store.holders(item.id),
        "checkpoint": lambda: store.checkpoint(),
        "verify": lambda: store.verify(),
        "open": lambda: None,
    }
    for name, expected, use in uses:
        before = len(store.custody())
        use()
        assert events(store)[before:] == [expected], name
    for name, look in blind.items():
        before = len(store.custody())
        seen = repr(look())
        assert len(store.custody()) == before, name
        for secret in ("canary", item.sha256, "a photo"):
            assert secret not in seen, name
    before = len(store.custody())
    store.delete(item.id, **ADA)
    assert events(store)[before:] == ["erasure"]
    public = {name for name in dir(EvidenceStore) if not name.startswith("_")}
    assert public == {name for name, *_ in uses} | set(blind)
    for event in store.custody().events:
        assert event["actor"]
        assert event["purpose"]
        assert event["at"].endswith("Z")


def refused(call: Callable[[], object]) -> None:
    with pytest.raises(RefusedError):
        call()


def test_custody_is_a_table_in_order(store: EvidenceStore) -> None:
    item = add(store)
    add(store, b"other")
    assert store.get(item.id, **BEN) == b"a photo"
    frame = store.custody(item.id).to_frame()
    assert list(frame.columns) == ["index", "time", "event", "actor", "purpose", "item"]
    assert list(frame["index"]) == [0, 2]
    assert list(frame.event) == ["collection", "consultation"]
    assert list(frame.actor) == ["ada", "ben"]
    assert isinstance(frame["time"].dtype, pd.DatetimeTZDtype)
    assert set(frame["item"]) == {item.id}


@pytest.mark.parametrize("missing", ["actor", "purpose"])
def test_who_and_why_are_asked_for(store: EvidenceStore, tmp_path: Path, missing: str) -> None:
    item = add(store)
    said = ADA | {missing: "  "}
    for call in (
        lambda: store.add(b"x", **said, kind="photo"),
        lambda: store.get(item.id, **said),
        lambda: store.disclose(item.id, **said, recipient="x"),
        lambda: store.hold(item.id, **said),
        lambda: store.item(item.id, **said),
        lambda: store.list(**said),
        lambda: store.lineage(item.id, **said),
        lambda: store.amend(item.id, **said, description="x"),
        lambda: store.derive([item.id], process=Process("x", "1", lambda c: c[0]), **said, kind="x"),
        lambda: store.add_files([tmp_path], **said, kind="x"),
        lambda: store.copy_to(item.id, tmp_path / "copy", **said),
        lambda: store.release(item.id, **said),
        lambda: store.delete(item.id, **said),
        lambda: store.export(tmp_path / "bag", **said),
    ):
        with pytest.raises(InputError, match=missing):
            call()
    assert events(store) == ["collection"]


def test_a_hold_wins_and_another_person_releases_it(store: EvidenceStore) -> None:
    item = add(store)
    store.hold(item.id, **ADA)
    store.hold(item.id, **BEN)
    assert store.holders(item.id) == ("ada", "ben")
    with pytest.raises(RefusedError, match="held by ada, ben"):
        store.delete(item.id, actor="cy", purpose="retention ended")
    with pytest.raises(RefusedError, match="another person"):
        store.release(item.id, **BEN)
    assert store.get(item.id, **ADA) == b"a photo"
    store.release(item.id, actor="cy", purpose="case closed")
    with pytest.raises(InputError, match="nobody holds"):
        store.release(item.id, actor="cy", purpose="case closed")
    store.delete(item.id, actor="cy", purpose="retention ended")
    assert store.holders(item.id) == ()


def test_an_erasure_leaves_nothing_of_what_was_erased(store: EvidenceStore, tmp_path: Path) -> None:
    content = b"a canary that sings of nobody"
    item = add(store, content, name="AB/1-canary", case="OP-CANARY", description="a canary, yellow", tags=["songbird"])
    kept = add(store, b"kept")
    held = store.checkpoint()
    for words in ("erase ab/1-CANARY", "the Songbird is not needed", "op-canary ended", f"drop {item.sha256[:12]}"):
        with pytest.raises(InputError, match="repeats what is to be erased"):
            store.delete(item.id, actor="ada", purpose=words)
    store.delete(item.id, actor="ada", purpose="retention ended")
    on_disk = b"".join(
        path.name.encode() + path.read_bytes() for path in (tmp_path / "evidence").rglob("*") if path.is_file()
    )
    for trace in (
        content,
        b"AB/1-canary",
        b"OP-CANARY",
        b"yellow",
        b"songbird",
        item.sha256.encode(),
        item.sha512.encode(),
    ):
        assert trace not in on_disk
    assert item.id.encode() in on_disk  # the tombstone
    for call in (lambda: store.get(item.id, **ADA), lambda: store.item(item.id, **ADA)):
        with pytest.raises(NotFoundError, match="was erased"):
            call()
    assert events(store, item.id) == ["collection", "erasure"]
    report = store.verify(held)
    assert (report.items, report.erased, report.unrecorded) == (1, 1, 0)
    assert store.get(kept.id, **ADA) == b"kept"
    assert add(store, content, case="OP-CANARY").id != item.id


def test_content_that_another_case_has_stays(store: EvidenceStore) -> None:
    one, two = add(store, case="1"), add(store, case="2")
    store.delete(one.id, **ADA)
    assert store.get(two.id, **ADA) == b"a photo"
    store.delete(two.id, **ADA)
    assert store.verify().items == 0


def test_a_missing_item_is_said(store: EvidenceStore) -> None:
    for call in (store.get, store.hold, store.release, store.delete):
        with pytest.raises(NotFoundError, match="no item 'x'"):
            call("x", **ADA)
    assert events(store) == []


def test_verify_compares_records_contents_and_ledger(store: EvidenceStore, tmp_path: Path) -> None:
    item = add(store, name="AB/1")
    gone = add(store, b"gone")
    held = store.checkpoint()
    path = tmp_path / "evidence" / "records.json"
    sound = path.read_bytes()
    assert store.verify(held).items == 2
    documents = TinyDocuments.open(path)

    mine, other = documents.find("item")
    documents.update("item", 1, {"record": other["record"]})
    with pytest.raises(IntegrityError, match=f"the record of item {item.id} is not the one"):
        store.verify()
    path.write_bytes(sound)
    store.amend(item.id, **ADA, description="a new description")
    documents.update("item", 1, {"notes": mine["notes"]})  # a rollback to what was said before
    with pytest.raises(IntegrityError, match=f"the notes of item {item.id} is not the one"):
        store.verify()
    path.write_bytes(sound)
    store.amend(item.id, **ADA, description="")
    sound = path.read_bytes()
    documents.delete("item", 2)
    with pytest.raises(IntegrityError, match=f"the record of item {gone.id} is gone"):
        store.verify()
    documents.insert("item", {"item": "x", "state": "live", "record": other["record"]})
    with pytest.raises(IntegrityError, match="never came in"):
        store.verify()
    path.write_bytes(sound)
    store.delete(gone.id, **ADA)
    path.write_bytes(sound)
    with pytest.raises(IntegrityError, match="was erased, and its record is back"):
        store.verify()


def test_verify_reads_the_contents_through(store: EvidenceStore, tmp_path: Path) -> None:
    item = add(store)
    vault = Vault.open(tmp_path / "evidence" / "vault", keys=KeyRing.open(tmp_path / "keys.json"))
    encrypted = vault._object_path(vault._name(item.sha256))
    encrypted.chmod(0o600)
    encrypted.write_bytes(encrypted.read_bytes()[:-1] + b"\0")
    assert store.verify(contents=False).items == 1
    with pytest.raises(IntegrityError, match="not what was stored"):
        store.verify()
    with pytest.raises(IntegrityError, match="not what was stored"):
        store.get(item.id, **ADA)
    vault.shred(item.sha256)
    with pytest.raises(IntegrityError, match="gone without an erasure"):
        store.verify(contents=False)


def test_a_failed_intake_leaves_nothing(store: EvidenceStore, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="can't be read"):
        store.add(Path("nowhere"), **ADA, kind="photo")

    def full(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("crimeface_lib.storage.ledger.Ledger.append", full)
        with pytest.raises(OSError, match="No space"):
            add(store)
    assert events(store) == []
    report = store.verify()
    assert (report.items, report.unrecorded) == (0, 0)


DIE_AT_EACH_BOUNDARY = """
import os, shutil, sys
from pathlib import Path
from crimeface_lib.evidence import EvidenceStore
from crimeface_lib.storage import KeyRing

folder, verb = Path(sys.argv[1]), sys.argv[2]
keys = KeyRing.open(folder / "keys.json")
ada = {"actor": "ada", "purpose": "x"}
os.fsync = lambda handle: None  # a process dies here, not the machine: what was written is there
first = EvidenceStore.open(folder / "first", keys=keys)
item = first.add(b"old", **ada, kind="photo", description="one")
before = len(first.custody())

def die_at(nth):
    store, left = EvidenceStore.open(folder / "store", keys=keys), [nth]
    def count(handle):
        left[0] -= 1
        if not left[0]:
            os._exit(9)
    os.fsync = count
    if verb == "add":
        store.add(b"new", **ada, kind="photo", description="new")
    elif verb == "amend":
        store.amend(item.id, **ada, description="other")
    else:
        store.delete(item.id, **ada)
    os._exit(0)

nth, died = 1, True
while died:
    shutil.rmtree(folder / "store", ignore_errors=True)
    shutil.copytree(folder / "first", folder / "store")
    if not (child := os.fork()):
        die_at(nth)
    died = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    store = EvidenceStore.open(folder / "store", keys=keys)
    report = store.verify()
    state = report.items, [event["event"] for event in store.custody().events[before:]]
    after = {"add": (2, ["collection"]), "amend": (1, ["alteration"]), "delete": (0, ["erasure"])}[verb]
    assert state in [(1, []), after], (nth, state)
    if verb == "amend":
        assert store.item(item.id, **ada).description == ("other" if state == after else "one"), nth
    assert report.unrecorded == 0, nth
    nth += died
print(nth - 1)
"""


@pytest.mark.parametrize("verb", ["add", "amend", "delete"])
def test_after_death_at_any_boundary_the_store_is_before_or_after(tmp_path: Path, verb: str) -> None:
    command = [sys.executable, "-c", DIE_AT_EACH_BOUNDARY, str(tmp_path), verb]
    deaths = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert int(deaths) > 8


WRITER = """
import sys
from pathlib import Path
from crimeface_lib.evidence import EvidenceStore
from crimeface_lib.storage import KeyRing
folder, name = Path(sys.argv[1]), sys.argv[2]
store = EvidenceStore.open(folder / "evidence", keys=KeyRing.open(folder / "keys.json"))
for i in range(8):
    item = store.add(f"{i}".encode(), actor=name, purpose="x", kind="note", case=name)
    store.get(item.id, actor=name, purpose="x")
    if i % 2:
        store.delete(item.id, actor=name, purpose="x")
"""


def test_concurrent_processes_lose_nothing(store: EvidenceStore, tmp_path: Path) -> None:
    """All write the same contents, each in its own case, so that they meet in the vault as well."""
    running = [subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path), f"p{n}"]) for n in range(3)]
    assert [process.wait(timeout=60) for process in running] == [0, 0, 0]
    report = store.verify(store.checkpoint())
    assert (report.items, report.erased, report.events, report.unrecorded) == (12, 12, 60, 0)
    for item in store.list(**ADA):
        assert hashlib.sha256(store.get(item.id, **ADA)).hexdigest() == item.sha256


def test_records_hold_json_only(store: EvidenceStore, tmp_path: Path) -> None:
    item = add(store)
    assert json.loads(json.dumps(item.to_dict()))["sha256"] == item.sha256
    assert json.loads(json.dumps(store.verify(store.checkpoint()).to_dict()))["items"] == 1
