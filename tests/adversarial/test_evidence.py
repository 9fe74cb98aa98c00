"""Attacks on packages, on the verifier, on intake and on custody."""

from __future__ import annotations

import io
import json
import os
import random
import shutil
import unicodedata
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from crimeface_lib.core.errors import InputError, IntegrityError, RefusedError
from crimeface_lib.evidence import EvidenceStore, replay_package, verify_package
from crimeface_lib.storage import KeyRing

CY, DEE = {"actor": "cy", "purpose": "case work"}, {"actor": "dee", "purpose": "case work"}
Check = Callable[..., object]


def files(bag: Path) -> list[Path]:
    return sorted(path for path in bag.rglob("*") if path.is_file())


def test_flipped_byte(bag: Path, check: Check) -> None:
    """One bit of any file is flipped, manifests and tag files included. → Refused, and the file is named."""
    draw = random.Random(1)
    for path in files(bag):
        sound = path.read_bytes()
        for place in {0, len(sound) - 1, *(draw.randrange(len(sound)) for _ in range(20))}:
            path.write_bytes(sound[:place] + bytes([sound[place] ^ (1 << draw.randrange(8))]) + sound[place + 1 :])
            with pytest.raises(IntegrityError, match=path.relative_to(bag).as_posix()):
                check(bag)
            with pytest.raises(IntegrityError, match=path.relative_to(bag).as_posix()):
                verify_package(bag)
        path.write_bytes(sound)
    check(bag)


def test_dropped_or_appended_byte(bag: Path, check: Check) -> None:
    """A byte is dropped from, or appended to, any file. → Refused, and the file is named."""
    draw = random.Random(2)
    for path in files(bag):
        sound = path.read_bytes()
        place = draw.randrange(len(sound))
        for changed in (
            sound + b"\0",
            sound + b"\n",
            b"\n" + sound,
            sound[:-1],
            sound[:place] + sound[place + 1 :],
            b"",
        ):
            path.write_bytes(changed)
            with pytest.raises(IntegrityError, match=path.relative_to(bag).as_posix()):
                check(bag)
        path.write_bytes(sound)


def test_file_added_removed_renamed(bag: Path, check: Check) -> None:
    """A file is added, removed or renamed, or a folder is added. → Refused, and the file is named."""
    for path in files(bag):
        name, other = path.relative_to(bag).as_posix(), path.with_name(path.name + "x")
        path.rename(other)
        with pytest.raises(IntegrityError, match=name):
            check(bag)
        shutil.copy(other, path)
        with pytest.raises(IntegrityError, match=path.name + "x"):
            check(bag)
        other.unlink()
    (bag / "data" / "empty").mkdir()
    with pytest.raises(IntegrityError, match="data/empty"):
        check(bag)


@pytest.mark.parametrize(
    "name",
    [
        "../../etc/passwd",
        "/etc/passwd",
        "data/../../x",
        "C:/x",
        "data/C:x",
        "data\\x",
        "~/x",
        "data/a\0b",
        "data//x",
        "",
    ],
)
def test_unsafe_path(bag: Path, check: Check, name: str) -> None:
    """A manifest lists a path that leads out: .., absolute, backslash, drive letter, NUL. → Refused by name."""
    for manifest in bag.glob("*manifest-*.txt"):
        sound = manifest.read_text()
        digits = 64 if "256" in manifest.name else 128
        manifest.write_text(sound + f"{'0' * digits}  {name}\n")
        with pytest.raises(IntegrityError, match=manifest.name):
            check(bag)
        manifest.write_text(sound)


def test_lookalike_names(bag: Path, check: Check) -> None:
    """Names that look alike: decomposed Unicode, other case, invisible signs. → Refused."""
    for name in (unicodedata.normalize("NFD", "é.txt"), "BAGIT.TXT", "bagit\u200b.txt", "data/items\u202e.json"):
        (bag / name).write_bytes(b"x")
        with pytest.raises(IntegrityError):
            check(bag)
        (bag / name).unlink()
    check(bag)


def test_links(bag: Path, check: Check, tmp_path: Path) -> None:
    """A file is a symbolic link, a hard link, a pipe. → Refused: it could change after the check, or block it."""
    target = bag / "data/items.json"
    outside = tmp_path / "outside"
    outside.write_bytes(target.read_bytes())
    for make in (target.symlink_to, target.hardlink_to, lambda _: os.mkfifo(target)):
        target.unlink()
        make(outside)
        with pytest.raises(IntegrityError, match=r"data/items\.json"):
            check(bag)


def test_huge_manifest(bag: Path, check: Check) -> None:
    """A manifest of a terabyte (sparse). → Refused by its size, unread."""
    with open(bag / "manifest-sha256.txt", "r+b") as file:
        file.truncate(1 << 40)
    with pytest.raises(IntegrityError, match=r"manifest-sha256\.txt: is larger"):
        check(bag)


def test_zip_is_exact(made: Path, check: Check, tmp_path: Path) -> None:
    """Any byte of a zipped package is flipped, dropped or put before or after it. → Refused."""
    sound = (made / "bag.zip").read_bytes()
    path, draw = tmp_path / "bag.zip", random.Random(3)
    path.write_bytes(sound)
    verify_package(path)
    ends = [*range(60), *range(len(sound) - 200, len(sound))]
    for place in [*ends, *(draw.randrange(len(sound)) for _ in range(300))]:
        path.write_bytes(sound[:place] + bytes([sound[place] ^ (1 << draw.randrange(8))]) + sound[place + 1 :])
        with pytest.raises(IntegrityError):
            verify_package(path)
    for changed in (sound + b"x", b"x" + sound, sound[:-1], sound[1:], sound + sound, b"PK\5\6" + bytes(18), b""):
        path.write_bytes(changed)
        with pytest.raises(IntegrityError):
            verify_package(path)


def _zip(
    path: Path, entries: list[tuple[str, bytes]], *, method: int = zipfile.ZIP_STORED, mode: int = 0o100600
) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in entries:
            entry = zipfile.ZipInfo(name)
            entry.compress_type, entry.external_attr, entry.create_system = method, mode << 16, 3
            archive.writestr(entry, data)
    return path


def test_zip_bomb(tmp_path: Path) -> None:
    """A zip bomb, 1,000 to 1, or a zip in a zip. → Refused at its first header, not inflated."""
    bomb = _zip(tmp_path / "bomb.zip", [("data/items.json", bytes(1 << 27))], method=zipfile.ZIP_DEFLATED)
    assert bomb.stat().st_size < 1 << 18
    nested = _zip(tmp_path / "nested.zip", [("bag.zip", bomb.read_bytes())])
    with pytest.raises(IntegrityError, match=r"bomb\.zip: is not a zip as the export writes it, from byte 0"):
        verify_package(bomb)
    with pytest.raises(IntegrityError, match="is missing"):
        verify_package(nested)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_zip_paths(tmp_path: Path) -> None:
    """A zip with entries that lead out, are there twice, or are links. → Refused; nothing is ever unpacked."""
    for number, entries in enumerate(
        ([("../../out.txt", b"x")], [("/out.txt", b"x")], [("a", b"x"), ("a", b"y")], [("A", b"x"), ("a", b"y")])
    ):
        with pytest.raises(IntegrityError):
            verify_package(_zip(tmp_path / f"{number}.zip", entries))
    with pytest.raises(IntegrityError):
        verify_package(_zip(tmp_path / "link.zip", [("bagit.txt", b"/etc/passwd")], mode=0o120777))
    assert not list(tmp_path.parent.rglob("out.txt"))


@pytest.mark.parametrize(
    "text",
    ["[" * 200_000, '{"size":' + "9" * 5000 + "}", '{"size":NaN}', '{"a":1,"a":2}', "\ud800", "{}", "[]", "null"],
)
def test_hostile_json(bag: Path, tmp_path: Path, text: str) -> None:
    """JSON that nests 200,000 deep, has huge numbers, NaN, double keys or half characters. → Refused, by name."""
    data = text.encode("utf-8", "surrogatepass")
    (tmp_path / "held.json").write_bytes(data)
    with pytest.raises(IntegrityError, match=r"held\.json|checkpoint"):
        verify_package(bag, checkpoint=tmp_path / "held.json")
    for name in ("ledger/proofs.json", "ledger/checkpoint.json", "data/items.json"):
        sound = (bag / name).read_bytes()
        (bag / name).write_bytes(data + b"\n")
        with pytest.raises(IntegrityError, match=name):
            verify_package(bag)
        (bag / name).write_bytes(sound)


def test_checkpoint_from_the_package(bag: Path, made: Path) -> None:
    """The package brings its own checkpoint. → Refused: it proves something only if it came another way."""
    with pytest.raises(InputError, match="another way"):
        verify_package(bag, checkpoint=bag / "ledger/checkpoint.json")


def test_package_of_another_key(made: Path, check: Check, tmp_path: Path) -> None:
    """A whole package is made anew with another key, or with the stolen one. → The held checkpoint shows it."""
    for name, keys in (("other", tmp_path / "other.json"), ("stolen", made / "store/keys.json")):
        evidence = EvidenceStore.open(tmp_path / name, keys=KeyRing.open(keys))
        for number in range(12):
            evidence.add(b"%d" % number, **CY, kind="note")
        with pytest.raises(IntegrityError, match=r"another ledger|fork|no proof"):
            check(evidence.export(tmp_path / f"{name}-bag", **CY))


def test_replay_runs_nothing_of_the_package(made: Path, tmp_path: Path, target) -> None:
    """A package names os.system, or a module path, as the process to replay. → Nothing of it runs."""
    evidence = target.open().evidence
    [parent] = evidence.list(**CY, kind="note")
    evidence._changes.enter(
        [_forged(parent.id, name="os:system"), _forged(parent.id, name="crimeface_lib.evidence.processes:upright")],
        **CY,
    )
    report = replay_package(evidence.export(tmp_path / "bag", **CY))
    assert {row["outcome"] for row in report.rows} == {"not replayed"}
    assert not (tmp_path / "ran").exists()


def _forged(parent: str, *, name: str):
    from crimeface_lib.evidence.intake import Incoming

    process = {
        "name": name,
        "version": "1",
        "parameters": {"command": "touch ran"},
        "environment": {},
        "tolerance": 0.0,
    }
    record = {"kind": "x", "name": None, "case": None, "parents": [parent], "tool": name, "process": process}
    return Incoming(name.encode(), record, {})


@pytest.mark.parametrize("hostile", ["bomb", "cut", "exif", "svg", "eps", "pickle"])
def test_hostile_image(target, hostile: str) -> None:
    """A picture of 60,000 × 60,000, one cut short, one with garbage for EXIF, an SVG, EPS or pickle named photo.jpg.
    → Taken in as it is; its header is read, never decoded or run, and what can't be read is said."""
    buffer = io.BytesIO()
    Image.new("1", (64, 64)).save(buffer, "PNG")
    header = b"IHDR" + (60_000).to_bytes(4, "big") * 2 + b"\1\0\0\0\0"
    huge = b"\x89PNG\r\n\x1a\n\0\0\0\r" + header + zlib.crc32(header).to_bytes(4, "big") + buffer.getvalue()[33:]
    garbage = b"\xff\xd8\xff\xe1\x00\x20Exif\0\0MM\0*" + os.urandom(400)
    data = {
        "bomb": huge, "cut": buffer.getvalue()[:40], "exif": garbage, "svg": b"<svg onload='x'/>",
        "eps": b"%!PS-Adobe-3.0 EPSF-3.0\n(ran) (w) file", "pickle": b"cos\nsystem\n(S'touch ran'\ntR.",
    }[hostile]  # fmt: skip
    path = target.folder / "photo.jpg"
    path.write_bytes(data)
    evidence = target.open().evidence
    item = evidence.add(path, **CY, kind="photo")
    assert evidence.get(item.id, **CY) == data
    assert "unreadable" in item.metadata
    json.dumps(item.to_dict(), allow_nan=False)


def test_intake_follows_no_link(target) -> None:
    """A folder to take in has links to other people's files, pipes and unreadable files. → Each is refused by name."""
    folder = target.folder / "in"
    (folder / "sub").mkdir(parents=True)
    (folder / "good").write_bytes(b"good")
    (folder / "link").symlink_to("/etc/passwd")
    (folder / "sub/all").symlink_to("/etc", target_is_directory=True)
    os.mkfifo(folder / "pipe")
    taken = target.open().evidence.add_files([folder], **CY, kind="file")
    assert {row["path"]: row["outcome"] for row in taken.rows} == {
        "good": "taken in", "link": "refused", "pipe": "refused", "sub/all": "refused",
    }  # fmt: skip


def test_alias_releases_own_hold(target) -> None:
    """The holder of an item releases it under a second account. → Refused and logged: persons count, not accounts."""
    evidence = target.open().evidence
    [note] = evidence.list(**CY, kind="note")
    evidence.hold(note.id, **CY)
    for account in ("cy", "cy-2", " CY "):
        with pytest.raises(RefusedError, match="another person"):
            evidence.release(note.id, actor=account, purpose="mine again")
        assert evidence.custody().events[-1]["event"] == "refusal"
    with pytest.raises(RefusedError, match="held"):
        evidence.delete(note.id, **DEE)
    evidence.release(note.id, **DEE)


def test_original_is_never_written(target) -> None:
    """An original is to be changed: its file is not writable, and changed all the same. → It no longer opens."""
    evidence = target.open().evidence
    [note] = evidence.list(**CY, kind="note")
    path = evidence._vault._object_path(evidence._vault._name(note.sha256))
    assert path.stat().st_mode & 0o222 == 0
    path.chmod(0o600)
    path.write_bytes(path.read_bytes()[:-1] + b"\0")
    with pytest.raises(IntegrityError):
        evidence.get(note.id, **CY)


def test_canary_at_rest(target) -> None:
    """Somebody reads the disk: file names, descriptions, tags, EXIF, hashes of an item. → None is there in plain."""
    evidence = target.open().evidence
    source = target.folder / "canary-file.jpg"
    source.write_bytes(b"canary-content")
    item = evidence.add(source, **CY, kind="photo", name="canary-name", description="canary-words", tags=["canary-tag"])
    source.unlink()
    disk = b"".join(p.name.encode() + p.read_bytes() for p in (target.folder / "store").rglob("*") if p.is_file())
    for trace in (b"canary", item.sha256.encode(), item.sha512.encode()):
        assert trace not in disk


def test_not_met_made_anew_without_checkpoint(made: Path, tmp_path: Path) -> None:
    """A package is made anew from the first byte, and the reviewer has no checkpoint. → It should be refused.
    → It passes, with a warning that says just that."""
    evidence = EvidenceStore.open(tmp_path / "forged", keys=KeyRing.open(tmp_path / "keys.json"))
    evidence.add(b"forged", **CY, kind="note")
    assert "could have made" in verify_package(evidence.export(tmp_path / "bag", **CY)).warning


def test_not_met_events_left_out(target, tmp_path: Path) -> None:
    """Whoever runs the store exports with a changed exporter that leaves out events of an item. → It should show.
    → Not in the package: each event in it is proven, that there are no others is not. The store's own log shows it."""
    evidence = target.open().evidence
    [note] = evidence.list(**CY, kind="note")
    original = evidence._custody.ledger.entries
    evidence._custody.ledger.entries = lambda: [e for e in original() if e["event"] != "consultation"]
    bag = evidence.export(tmp_path / "bag", **CY, items=[note.id])
    assert verify_package(bag, checkpoint=evidence.checkpoint()).events == 4
    assert b"consultation" not in (bag / "data/custody.jsonl").read_bytes()
