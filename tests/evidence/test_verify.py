"""An exported package: whatever is done to it, even consistently, fails against a checkpoint held elsewhere."""

from __future__ import annotations

import ast
import hashlib
import json
import os
import shutil
import subprocess
import sys
import unicodedata
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from crimeface_lib.core.errors import InputError, IntegrityError, NotFoundError
from crimeface_lib.core.hashing import canonical_json
from crimeface_lib.evidence import EvidenceStore, verify_package
from crimeface_lib.storage import Checkpoint, KeyRing, Ledger

ADA = {"actor": "ada", "purpose": "disclosure to the defence"}


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory, exif_photo: bytes) -> tuple[Path, dict[str, Checkpoint]]:
    """A package of three items, with checkpoints from before, from the export, and from after."""
    folder = tmp_path_factory.mktemp("export")
    store = EvidenceStore.open(folder / "evidence", keys=KeyRing.open(folder / "keys.json"))
    photo = store.add(exif_photo, **ADA, kind="photo", name="AB/1", case="C-7", description="at the gate", tags=["x"])
    held = {"before": store.checkpoint()}
    store.add(b"a mesh", **ADA, kind="mesh", case="C-7", parents=[photo.id], tool="fit 1.0")
    store.add(b"", **ADA, kind="note", name="é")
    store.get(photo.id, **ADA)
    bag = store.export(folder / "bag", **ADA, recipient="the defence")
    held["export"] = store.checkpoint()
    store.get(photo.id, **ADA)
    held["after"] = store.checkpoint()
    return bag, held


@pytest.fixture
def bag(exported: tuple[Path, dict[str, Checkpoint]], tmp_path: Path) -> Iterator[Path]:
    shutil.copytree(exported[0], tmp_path / "bag")
    yield tmp_path / "bag"
    shutil.rmtree(tmp_path / "bag")


@pytest.fixture
def held(exported: tuple[Path, dict[str, Checkpoint]]) -> Checkpoint:
    return exported[1]["export"]


def names(bag: Path) -> list[str]:
    return sorted(path.relative_to(bag).as_posix() for path in bag.rglob("*") if path.is_file())


def seal_again(bag: Path) -> None:
    """Make all manifests anew, as a forger would."""
    for prefix, inside in (("manifest", True), ("tagmanifest", False)):
        files = [n for n in names(bag) if n.startswith("data/") is inside and not n.startswith("tagmanifest")]
        for algorithm in ("sha256", "sha512"):
            lines = [f"{hashlib.new(algorithm, (bag / n).read_bytes()).hexdigest()}  {n}\n" for n in files]
            (bag / f"{prefix}-{algorithm}.txt").write_text("".join(lines))


def test_a_sound_package_passes_with_any_earlier_checkpoint(
    exported: tuple[Path, dict[str, Checkpoint]], tmp_path: Path
) -> None:
    bag, held = exported
    report = verify_package(bag, checkpoint=held["export"])
    assert (report.items, report.events, report.actor, report.files) == (3, 5, "ada", 15)
    assert report.size == sum((bag / name).stat().st_size for name in names(bag))
    assert verify_package(bag, checkpoint=held["before"].to_dict()).checkpoint_size == 1
    (tmp_path / "held.json").write_bytes((bag / "ledger" / "checkpoint.json").read_bytes())
    assert verify_package(str(bag), checkpoint=tmp_path / "held.json").root == held["export"].root
    assert len(list((bag / "data" / "objects").iterdir())) == 3
    with pytest.raises(InputError, match="newer than the package"):
        verify_package(bag, checkpoint=held["after"])
    with pytest.raises(InputError, match="came another way"):
        verify_package(bag, checkpoint=bag / "ledger" / "checkpoint.json")


def test_another_bagit_reader_agrees(bag: Path) -> None:
    bagit = pytest.importorskip("bagit", reason="bagit is not installed: pip install bagit")
    bagit.Bag(str(bag)).validate()
    (bag / "data" / "items.json").write_bytes(b"{}")
    with pytest.raises(bagit.BagValidationError):
        bagit.Bag(str(bag)).validate()


def test_each_flipped_byte_is_caught_and_its_file_named(bag: Path, held: Checkpoint) -> None:
    for name in names(bag):
        sound = (bag / name).read_bytes()
        step = max(1, len(sound) // 12)
        for index in sorted({*range(0, len(sound), step), len(sound) - 1} - {-1}):
            for bit in (1, 0x20):
                changed = bytearray(sound)
                changed[index] ^= bit
                (bag / name).write_bytes(changed)
                with pytest.raises(IntegrityError) as caught:
                    verify_package(bag, checkpoint=held)
                if "manifest" not in name:
                    assert name in str(caught.value)
        (bag / name).write_bytes(sound)
    verify_package(bag, checkpoint=held)


@pytest.mark.parametrize("junk", [b"x", b"\n", b"\0", b" "])
def test_appended_bytes_are_caught(bag: Path, held: Checkpoint, junk: bytes) -> None:
    for name in names(bag):
        sound = (bag / name).read_bytes()
        (bag / name).write_bytes(sound + junk)
        with pytest.raises(IntegrityError):
            verify_package(bag, checkpoint=held)
        if sound:
            (bag / name).write_bytes(sound[:-1])
            with pytest.raises(IntegrityError):
                verify_package(bag, checkpoint=held)
        (bag / name).write_bytes(sound)


def test_missing_files_are_caught_and_named(bag: Path, held: Checkpoint) -> None:
    for name in names(bag):
        sound = (bag / name).read_bytes()
        (bag / name).unlink()
        with pytest.raises(IntegrityError, match="missing"):
            verify_package(bag, checkpoint=held)
        (bag / name).write_bytes(sound)


@pytest.mark.parametrize("name", ["x.txt", "data/x.txt", "data/objects/x", "ledger/x", "bag-info.txt"])
def test_extra_files_are_caught_and_named(bag: Path, held: Checkpoint, name: str) -> None:
    (bag / name).write_bytes(b"x")
    with pytest.raises(IntegrityError, match=name):
        verify_package(bag, checkpoint=held)
    seal_again(bag)
    with pytest.raises(IntegrityError):
        verify_package(bag, checkpoint=held)


def test_links_folders_and_devices_are_caught(bag: Path, held: Checkpoint, tmp_path: Path) -> None:
    target = bag / "data" / "items.json"
    (tmp_path / "outside").write_bytes(target.read_bytes())
    for make in (
        lambda path: path.symlink_to(tmp_path / "outside"),
        lambda path: os.mkfifo(path),
        lambda path: path.mkdir(),
    ):
        sound = target.read_bytes()
        target.unlink()
        make(target)
        with pytest.raises(IntegrityError, match=r"data/items\.json"):
            verify_package(bag, checkpoint=held)
        target.rmdir() if target.is_dir() else target.unlink()
        target.write_bytes(sound)
    (bag / "data" / "linked").symlink_to(tmp_path, target_is_directory=True)
    with pytest.raises(IntegrityError, match="data/linked"):
        verify_package(bag, checkpoint=held)


@pytest.mark.parametrize("name", ["../x", "data/../../x", "/etc/passwd", "~/x", "data//x", "C:/x", "data\\x", "./x"])
def test_unsafe_paths_in_manifests_are_caught(bag: Path, held: Checkpoint, name: str) -> None:
    for manifest in ("manifest-sha256.txt", "tagmanifest-sha256.txt"):
        path = bag / manifest
        sound = path.read_text()
        path.write_text(sound + f"{'0' * 64}  {name}\n")
        with pytest.raises(IntegrityError, match="unsafe path"):
            verify_package(bag, checkpoint=held)
        path.write_text(sound)


def test_names_that_look_the_same_are_caught(bag: Path, held: Checkpoint) -> None:
    (bag / "data" / unicodedata.normalize("NFD", "é")).write_bytes(b"")
    with pytest.raises(IntegrityError, match="Unicode"):
        verify_package(bag, checkpoint=held)


def edit_json(change: Callable[[dict], None]) -> Callable[[Path], None]:  # type: ignore[type-arg]
    def edit(path: Path) -> None:
        record = json.loads(path.read_bytes())
        change(record)
        path.write_bytes(canonical_json(record) + b"\n")

    return edit


def _rename(record: dict) -> None:  # type: ignore[type-arg]
    next(iter(record.values()))["record"]["name"] = "AB/2"


def _drop_line(path: Path) -> None:
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))


def _other_root(record: dict) -> None:  # type: ignore[type-arg]
    record["consistency"]["1"]["root"] = "00" * 32


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("data/items.json", edit_json(_rename)),
        ("data/items.json", edit_json(lambda record: record.popitem())),
        ("data/custody.jsonl", _drop_line),
        ("data/custody.jsonl", lambda path: path.write_bytes(path.read_bytes().replace(b'"ada"', b'"eve"'))),
        ("data/case-uco.jsonld", lambda path: path.write_bytes(b"{}\n")),
        ("ledger/disclosure.jsonl", lambda path: path.write_bytes(path.read_bytes().replace(b"defence", b"offence"))),
        ("ledger/checkpoint.json", edit_json(lambda record: record.update(size=record["size"] - 1))),
        ("ledger/proofs.json", edit_json(lambda record: record["inclusion"].popitem())),
        ("ledger/proofs.json", edit_json(lambda record: record.clear())),
        ("ledger/proofs.json", edit_json(lambda record: record.update(inclusion=[1]))),
        ("ledger/proofs.json", edit_json(_other_root)),
    ],
)
def test_a_consistently_resealed_change_is_caught(
    bag: Path, held: Checkpoint, name: str, change: Callable[[Path], None]
) -> None:
    change(bag / name)
    seal_again(bag)
    with pytest.raises(IntegrityError):
        verify_package(bag, checkpoint=held)


def test_resealed_contents_are_caught(bag: Path, held: Checkpoint) -> None:
    for path in sorted((bag / "data" / "objects").iterdir()):
        sound = path.read_bytes()
        path.write_bytes(sound + b"x")
        seal_again(bag)
        with pytest.raises(IntegrityError, match="payload was replaced"):
            verify_package(bag, checkpoint=held)
        path.write_bytes(sound)
    seal_again(bag)
    verify_package(bag, checkpoint=held)


def test_a_whole_other_package_is_caught_even_if_the_key_was_stolen(
    exported: tuple[Path, dict[str, Checkpoint]], tmp_path: Path
) -> None:
    """The forger has the key, rewrites the log and exports: sound in itself, and not what was promised."""
    bag, held = exported
    (tmp_path / "keys.json").write_bytes((bag.parent / "keys.json").read_bytes())
    (tmp_path / "keys.json").chmod(0o600)
    store = EvidenceStore.open(tmp_path / "evidence", keys=KeyRing.open(tmp_path / "keys.json"))
    store.add(b"another photo", **ADA, kind="photo", name="AB/1", case="C-7")
    first = store.checkpoint()
    for n in range(held["export"].size - 2):
        store.add(b"%d" % n, **ADA, kind="note")
    forged = store.export(tmp_path / "bag", **ADA)
    assert verify_package(forged, checkpoint=store.checkpoint()).items == held["export"].size - 1
    assert verify_package(forged, checkpoint=first).checkpoint_size == 1
    for checkpoint in (held["export"], held["before"]):
        with pytest.raises(IntegrityError, match="fork"):
            verify_package(forged, checkpoint=checkpoint)
    other = KeyRing.open(tmp_path / "other.json").signing_key
    stranger = Ledger.open(tmp_path / "custody.jsonl", signing_key=other).checkpoint(at=datetime.now(UTC))
    with pytest.raises(IntegrityError, match="another ledger"):
        verify_package(forged, checkpoint=stranger)


def test_a_checkpoint_of_which_the_exporter_kept_no_trace_is_said(tmp_path: Path) -> None:
    keys = KeyRing.open(tmp_path / "keys.json")
    store = EvidenceStore.open(tmp_path / "evidence", keys=keys)
    item = store.add(b"a photo", **ADA, kind="photo")
    ledger = Ledger.open(tmp_path / "evidence" / "custody.jsonl", signing_key=keys.signing_key)
    held = ledger.checkpoint(at=datetime.now(UTC))
    store.get(item.id, **ADA)
    with pytest.raises(IntegrityError, match="no proof that the ledger continues"):
        verify_package(store.export(tmp_path / "bag", **ADA), checkpoint=held)


def test_an_export_never_overwrites(store: EvidenceStore, tmp_path: Path) -> None:
    store.add(b"a photo", **ADA, kind="photo")
    (tmp_path / "bag").mkdir()
    with pytest.raises(InputError, match="exists already"):
        store.export(tmp_path / "bag", **ADA)
    with pytest.raises(NotFoundError):
        store.export(tmp_path / "new", **ADA, items=["x"])
    with pytest.raises(NotFoundError, match="no folder and no file"):
        verify_package(tmp_path / "new", checkpoint=store.checkpoint())
    assert not list(tmp_path.glob(".*.tmp"))


def test_a_package_holds_only_what_was_asked_for(store: EvidenceStore, tmp_path: Path) -> None:
    wanted = store.add(b"wanted", **ADA, kind="photo")
    other = store.add(b"other", **ADA, kind="photo", name="AB/9")
    bag = store.export(tmp_path / "bag", **ADA, items=[wanted.id])
    everything = b"".join((bag / name).read_bytes() for name in names(bag))
    assert b"AB/9" not in everything
    assert other.id.encode() not in everything
    assert verify_package(bag, checkpoint=store.checkpoint()).items == 1


def test_case_uco_names_every_file_person_tool_and_action(bag: Path) -> None:
    graph = json.loads((bag / "data" / "case-uco.jsonld").read_bytes())["@graph"]
    kinds = [node["@type"].split(":")[1] for node in graph]
    assert {kind: kinds.count(kind) for kind in kinds} == {
        "File": 3, "ProvenanceRecord": 3, "Identity": 1, "Tool": 1, "InvestigativeAction": 4,
    }  # fmt: skip
    ids = [node["@id"] for node in graph]
    assert len(set(ids)) == len(ids)
    derivation = next(node for node in graph if node.get("uco-core:name") == "derivation")
    for field in ("uco-action:object", "uco-action:result", "uco-action:instrument"):
        assert derivation[field][0]["@id"] in ids


VALIDATOR = Path(sys.executable).with_name("case_validate")


@pytest.mark.skipif(not VALIDATOR.exists(), reason="case_validate is not installed: pip install case-utils")
def test_the_ontology_s_own_validator_agrees(bag: Path) -> None:
    """With the ontology that comes with it: it needs no network."""
    command = [str(VALIDATOR), str(bag / "data" / "case-uco.jsonld")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


LOADED = """
import sys, runpy
sys.argv = ["verify", sys.argv[1], "--checkpoint", sys.argv[2]]
try:
    runpy.run_module("crimeface_lib.evidence.verify", run_name="__main__")
except SystemExit as end:
    assert not end.code, end.code
known = {*sys.stdlib_module_names, "cryptography", "_cffi_backend", "cffi", "_openssl", "__main__"}
ours = [n for n in sys.modules if n.startswith("crimeface_lib.") and n.split(".")[1] not in ("core", "evidence")]
print(ours + [n for n in sys.modules if n.split(".")[0] not in {*known, "crimeface_lib"} and "editable" not in n])
"""


def test_the_verifier_loads_the_standard_library_and_cryptography_only(
    bag: Path, held: Checkpoint, tmp_path: Path
) -> None:
    (tmp_path / "held.json").write_bytes(canonical_json(held.to_dict()))
    done = subprocess.run(
        [sys.executable, "-c", LOADED, str(bag), str(tmp_path / "held.json")],
        capture_output=True,
        text=True,
        check=True,
    )
    told, loaded = done.stdout.splitlines()
    assert told.startswith("unchanged: 3 items")
    assert set(ast.literal_eval(loaded)) <= {"_distutils_hack", "sitecustomize"}  # what every Python here starts with
