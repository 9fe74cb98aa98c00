"""Files and folders on their way in; what a picture says of itself; notes, search and lineage."""

from __future__ import annotations

import io
import json
import os
import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest

from crimeface_lib.core.errors import InputError, NotFoundError, RefusedError
from crimeface_lib.core.hashing import canonical_json
from crimeface_lib.evidence import EvidenceStore, Process
from crimeface_lib.evidence.metadata import read_metadata
from crimeface_lib.storage import KeyRing, Ledger, TinyDocuments, Vault

ADA = {"actor": "ada", "purpose": "research"}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Sixteen files, one of them twice, in two levels; a link to a file and one to a folder; a pipe. Batches of 8."""
    monkeypatch.setattr("crimeface_lib.evidence.store._BATCH", 8)
    (tmp_path / "in/sub").mkdir(parents=True)
    for number in range(14):
        (tmp_path / f"in/sub/{number:02}.bin").write_bytes(b"%d" % number)
    (tmp_path / "in/again.bin").write_bytes(b"0")
    (tmp_path / "in/empty").write_bytes(b"")
    (tmp_path / "in/link").symlink_to(tmp_path / "in/again.bin")
    (tmp_path / "in/all").symlink_to(tmp_path / "in/sub", target_is_directory=True)
    os.mkfifo(tmp_path / "in/pipe")
    return tmp_path / "in"


def test_a_folder_comes_in_whole_and_one_bad_file_stops_nothing(store: EvidenceStore, folder: Path) -> None:
    told: list[tuple[int, int]] = []
    taken = store.add_files(
        [folder], **ADA, kind="file", case="C-7", tags=["raid"], progress=lambda *step: told.append(step)
    )
    assert [len(taken[outcome]) for outcome in ("taken in", "here before", "refused", "failed")] == [15, 1, 3, 0]
    assert {row["path"]: row["reason"] for row in taken["refused"]} == {
        "all": "is a symbolic link; give the file itself",
        "link": "is a symbolic link; give the file itself",
        "pipe": "is no plain file",
    }
    assert told == [(8, 19), (16, 19), (19, 19)]
    assert not taken.complete
    assert len(taken.to_frame()) == 19
    items = store.list(**ADA, case="C-7", tag="RAID")
    assert len(items) == 15  # one content twice is one item
    assert {item.filename for item in items} >= {"again.bin", "empty", "sub/13.bin"}
    events = [event["event"] for event in store.custody().events]
    assert events == ["collection"] * 15 + ["consultation"]
    assert store.verify().unrecorded == 0


def test_an_interrupted_intake_goes_on(store: EvidenceStore, folder: Path) -> None:
    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.add_files([folder], **ADA, kind="file", case="C-7", progress=interrupt)
    kept = len(store.custody())
    assert 0 < kept <= 8
    taken = store.add_files([folder], **ADA, kind="file", case="C-7")
    assert len(taken["here before"]) >= kept
    assert len(store.list(**ADA)) == 15
    assert store.verify().unrecorded == 0
    # a file that others changed since is another original; in another case all of it is new
    (folder / "again.bin").write_bytes(b"changed")
    assert [row["path"] for row in store.add_files([folder], **ADA, kind="file", case="C-7")["taken in"]] == [
        "again.bin"
    ]
    assert len(store.add_files([folder], **ADA, kind="file", case="C-8")["taken in"]) == 16


def test_a_death_within_a_batch_leaves_none_of_it(
    store: EvidenceStore, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put, left = Vault.put, [6]

    def die(self: Vault, source: object) -> object:
        left[0] -= 1
        if not left[0]:
            raise KeyboardInterrupt
        return put(self, source)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(Vault, "put", die)
        with pytest.raises(KeyboardInterrupt):
            store.add_files([folder], **ADA, kind="file")
    assert len(store.custody()) == 0
    report = store.verify()
    assert (report.items, report.unrecorded) == (0, 0)
    store.add_files([folder], **ADA, kind="file")
    assert store.verify().items == 15


def test_what_can_t_be_taken_in_is_said(store: EvidenceStore, tmp_path: Path) -> None:
    (tmp_path / "nothing").mkdir()
    with pytest.raises(InputError, match="no file"):
        store.add_files([tmp_path / "nothing"], **ADA, kind="file")
    taken = store.add_files([tmp_path / "missing"], **ADA, kind="file")
    assert taken["failed"][0]["reason"] == "can't be read: No such file or directory"
    (tmp_path / "link").symlink_to("/etc/hostname")
    with pytest.raises(RefusedError, match="symbolic link"):
        store.add(tmp_path / "link", **ADA, kind="file")
    for wrong in (3, None, io.StringIO("text")):
        with pytest.raises(InputError, match="expected bytes, a path or a binary file"):
            store.add(wrong, **ADA, kind="file")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="a list of words"):
        store.add(b"x", **ADA, kind="file", tags="word")
    assert len(store.custody()) == 0
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\n.bin"))
    odd.write_bytes(b"odd")
    assert store.add(odd, **ADA, kind="file").filename == "\\xff\n.bin"


def test_exif_is_kept_and_shown(store: EvidenceStore, exif_photo: bytes) -> None:
    item = store.add(exif_photo, **ADA, kind="photo")
    assert item.media_type == "image/jpeg"
    assert (item.metadata["format"], item.metadata["width"], item.metadata["height"]) == ("JPEG", 30, 20)
    exif, gps = item.metadata["exif"], item.metadata["gps"]
    assert (exif["Make"], exif["Model"], exif["BodySerialNumber"]) == ("Canary Cameras", "C-1", "SN-CANARY-77")
    assert exif["ExposureTime"] == pytest.approx(0.004)
    assert exif["MakerNote"] == "2048 bytes"
    assert (gps["latitude"], gps["longitude"]) == (51.477778, -0.001389)  # by hand: 51 + 28/60 + 40/3600
    shown = dict(store.item(item.id, **ADA).to_frame().itertuples(index=False))
    assert shown["metadata.gps.latitude"] == "51.477778"
    assert shown["metadata.exif.BodySerialNumber"] == "SN-CANARY-77"
    assert store.get(item.id, **ADA) == exif_photo
    json.dumps(item.to_dict(), allow_nan=False)


def test_metadata_agrees_with_exifread_by_hand(exif_photo: bytes) -> None:
    """Pillow's answer against the bytes: the make is where TIFF says that tag 0x010F lies."""
    start = exif_photo.index(b"Exif\0\0") + 6
    order = "big" if exif_photo[start : start + 2] == b"MM" else "little"
    read = lambda at, size: int.from_bytes(exif_photo[start + at : start + at + size], order)  # noqa: E731
    first = read(4, 4)
    entries = {read(first + 2 + 12 * n, 2): first + 2 + 12 * n for n in range(read(first, 2))}
    length, offset = read(entries[0x010F] + 4, 4), read(entries[0x010F] + 8, 4)
    make = exif_photo[start + offset : start + offset + length].rstrip(b"\0").decode()
    assert read_metadata(io.BytesIO(exif_photo), filename=None)[1]["exif"]["Make"] == make == "Canary Cameras"


@pytest.mark.parametrize("name", ["text.txt", "x.jpg", None])
def test_what_is_no_picture_has_no_metadata_or_says_why(name: str | None) -> None:
    kind, told = read_metadata(io.BytesIO(b"plain"), filename=name)
    assert ("unreadable" in told) == (name == "x.jpg")
    assert kind == {"text.txt": "text/plain", "x.jpg": "image/jpeg", None: "application/octet-stream"}[name]


@pytest.mark.parametrize("cut", range(2, 400, 9))
def test_a_damaged_header_never_stops_an_intake(exif_photo: bytes, cut: int) -> None:
    for data in (exif_photo[:cut], exif_photo[:cut] + os.urandom(8) + exif_photo[cut + 8 :]):
        json.dumps(read_metadata(io.BytesIO(data), filename="x.jpg"), allow_nan=False)


def test_search(store: EvidenceStore, tmp_path: Path) -> None:
    (tmp_path / "Gate.txt").write_text("x")
    gate = store.add(
        tmp_path / "Gate.txt", **ADA, kind="note", case="1", description="Seen at the weir", tags=["North"]
    )
    other = store.add(b"other", **ADA, kind="photo", case="2", name="AB/9")
    found = lambda **more: [item.id for item in store.list(**ADA, **more)]  # type: ignore[arg-type] # noqa: E731
    assert found() == [gate.id, other.id]
    for more in (
        {"case": "1"}, {"kind": "note"}, {"tag": "north"}, {"text": "WEIR"}, {"text": "gate.t"},
        {"media_type": "text/"},
        {"hash": gate.sha256[:6].upper()}, {"hash": gate.sha512[:9]}, {"until": other.added},
    ):  # fmt: skip
        assert found(**more) == [gate.id], more
    assert found(since=other.added) == found(text="ab/9") == [other.id]
    assert found(case="1", text="ab/9") == found(since=datetime(2030, 1, 1, tzinfo=UTC)) == []
    assert store.custody().events[-1]["items"] == []


def test_notes_change_and_what_came_in_does_not(store: EvidenceStore) -> None:
    item = store.add(b"a photo", **ADA, kind="photo", description="one", tags=["b", "a", " a "])
    assert (item.description, item.tags) == ("one", ("a", "b"))
    changed = store.amend(item.id, **ADA, description="two")
    assert (changed.description, changed.tags, changed.sha256) == ("two", ("a", "b"), item.sha256)
    assert store.amend(item.id, **ADA, tags=[]).tags == ()
    assert store.amend(item.id, **ADA, description="").description is None
    assert [event["event"] for event in store.custody(item.id).events][1:] == ["alteration"] * 3
    report = store.verify()
    assert (report.items, report.unrecorded) == (1, 0)


def test_lineage_is_ancestors_and_descendants(store: EvidenceStore) -> None:
    join = Process("join", "1", b"".join)
    a, b = (store.add(text, **ADA, kind="photo") for text in (b"a", b"b"))
    both = store.derive([a.id, b.id], process=join, **ADA, kind="pair")
    last = store.derive([both.id, both.id], process=join, **ADA, kind="quad")
    side = store.derive([a.id, a.id], process=join, **ADA, kind="side")
    store.delete(a.id, **ADA)
    line = store.lineage(both.id, **ADA)
    assert line.parents == {a.id: (), b.id: (), both.id: (a.id, b.id), last.id: (both.id, both.id)}
    assert list(line.to_frame().kind) == ["erased", "photo", "pair", "pair", "quad", "quad"]
    assert set(store.lineage(side.id, **ADA).parents) == {a.id, side.id}
    assert f'"{b.id}" -> "{both.id}"' in line.to_dot()
    assert store.custody().events[-2]["items"] == [b.id, both.id, last.id]
    with pytest.raises(NotFoundError):
        store.lineage("x", **ADA)


def test_a_large_item_is_copied_out_and_nothing_overwritten(store: EvidenceStore, tmp_path: Path) -> None:
    item = store.add(b"x" * (3 << 20), **ADA, kind="video")
    out = store.copy_to(item.id, tmp_path / "out", **ADA, recipient="the court")
    assert out.read_bytes() == b"x" * (3 << 20)
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    for there in (out, tmp_path / "link"):
        with pytest.raises(InputError, match="exists already"):
            store.copy_to(item.id, there, **ADA)
    assert store.custody().events[-1]["recipient"] == "the court"


def test_nothing_of_an_item_lies_in_the_open(store: EvidenceStore, tmp_path: Path, exif_photo: bytes) -> None:
    source = tmp_path / "canary-file.jpg"
    source.write_bytes(exif_photo)
    item = store.add(source, **ADA, kind="canary-kind", name="canary-name", case="canary-case", description="canary")
    store.amend(item.id, **ADA, description="canary-after", tags=["canary-tag"])
    store.list(**ADA, text="canary")
    disk = b"".join(p.name.encode() + p.read_bytes() for p in (tmp_path / "evidence").rglob("*") if p.is_file())
    for trace in (b"canary", b"CANARY", b"Canary", b"51.47", item.sha256.encode(), item.sha512.encode()):
        assert trace not in disk


def test_a_store_of_the_first_form_is_taken_over(tmp_path: Path) -> None:
    """Records used to lie in the open; commitments in the ledger hold for them as they were."""
    import hashlib

    keys, folder = KeyRing.open(tmp_path / "keys.json"), tmp_path / "evidence"
    folder.mkdir(mode=0o700)
    stored = Vault.open(folder / "vault", keys=keys).put(b"old")
    record = {
        "kind": "photo", "name": "canary-old", "case": None, "parents": [], "tool": None, "sha256": stored.id,
        "sha512": stored.sha512, "size": 3, "added": "2026-01-01T00:00:00.000000Z",
    }  # fmt: skip
    TinyDocuments.open(folder / "records.json").insert(
        "item", {"item": "ab" * 16, "state": "live", "record": record, "salt": "00" * 32}
    )
    digest = hashlib.sha256(bytes(32) + canonical_json(record)).hexdigest()
    entry = {"event": "collection", **ADA, "items": ["ab" * 16], "commitment": digest, "parents": []}
    ledger = Ledger.open(folder / "custody.jsonl", signing_key=keys.signing_key)
    ledger.append(entry, at=datetime(2026, 1, 1, tzinfo=UTC))
    store = EvidenceStore.open(folder, keys=keys)
    assert store.list(**ADA)[0].name == "canary-old"
    assert store.verify().items == 1
    assert b"canary" not in (folder / "records.json").read_bytes()
    store.delete("ab" * 16, **ADA)
    assert store.verify().unrecorded == 0
