"""The verifier of exported packages: it trusts the checkpoint that it is given, and nothing in the package.

It shares no code with the exporter and needs no store: hashlib, Ed25519 and the functions on Merkle trees.
In this order, and each step before what it finds is used: names and kinds of files, manifests, checkpoint, proofs,
the export's event, items. Whatever fails raises ``IntegrityError`` with the name of the file.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from crimeface_lib.core.errors import InputError, IntegrityError, NotFoundError
from crimeface_lib.core.hashing import canonical_json
from crimeface_lib.core.results import Result
from crimeface_lib.storage.checkpoint import Checkpoint
from crimeface_lib.storage.merkle import verify_consistency, verify_inclusion

_ALGORITHMS = ("sha256", "sha512")
_MANIFESTS = tuple(f"manifest-{name}.txt" for name in _ALGORITHMS)
_TAGMANIFESTS = tuple(f"tagmanifest-{name}.txt" for name in _ALGORITHMS)
_BAGIT = b"BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n"
_CUSTODY, _ITEMS = "data/custody.jsonl", "data/items.json"
_DISCLOSURE, _CHECKPOINT, _PROOFS = "ledger/disclosure.jsonl", "ledger/checkpoint.json", "ledger/proofs.json"
_FIXED = {"bagit.txt", *_MANIFESTS, *_TAGMANIFESTS, _CUSTODY, _ITEMS, "data/case-uco.jsonld"}
_FIXED |= {_DISCLOSURE, _CHECKPOINT, _PROOFS}
_BLOCK = 1 << 20
_LARGEST_RECORD = 256 << 20  # manifests, records and events are read whole


@dataclass(frozen=True, slots=True)
class PackageReport(Result):
    """What was found in order. ``exported`` is when, ``root`` is of the ledger of ``checkpoint_size`` entries."""

    items: int
    events: int
    files: int
    size: int
    exported: str
    actor: str
    checkpoint_size: int
    root: str


def verify_package(
    path: str | Path, *, checkpoint: str | os.PathLike[str] | Mapping[str, Any] | Checkpoint
) -> PackageReport:
    """Check an exported package against a checkpoint that came another way.

    Parameters
    ----------
    path : the package's folder.
    checkpoint : of the same ledger, from the time of the export or before: a path outside of the package, what it
        holds, or a ``Checkpoint``.

    Raises
    ------
    IntegrityError : names the file that was changed, added, removed or is unsafe; or says that the package, sound in
        itself, belongs to another ledger than the checkpoint.
    InputError : the checkpoint lies inside of the package, or is newer than it.
    NotFoundError : there is no such folder or checkpoint.
    """
    bag = Path(path)
    if not bag.is_dir() or bag.is_symlink():
        raise NotFoundError(f"{bag.name} is not a folder; give the folder that the export wrote")
    held = _held_checkpoint(checkpoint, bag)
    sizes = _walk(bag)
    _check_manifests(bag, sizes)
    events, disclosure = _check_ledger(bag, held)
    if hashlib.sha256(_read(bag, _MANIFESTS[0])).hexdigest() != disclosure["entry"].get("package"):
        _fail(_MANIFESTS[0], "is not the manifest of this export: the payload was replaced")
    items = _check_items(bag, set(sizes), events, disclosure)
    entry = disclosure["entry"]
    return PackageReport(
        items=items,
        events=len(events) + 1,
        files=len(sizes),
        size=sum(sizes.values()),
        exported=disclosure["at"],
        actor=entry["actor"],
        checkpoint_size=held.size,
        root=held.root,
    )


def _held_checkpoint(given: str | os.PathLike[str] | Mapping[str, Any] | Checkpoint, bag: Path) -> Checkpoint:
    if isinstance(given, str | os.PathLike):
        path = Path(given)
        if path.resolve().is_relative_to(bag.resolve()):
            raise InputError("the checkpoint lies in the package; it proves something only if it came another way")
        if not path.is_file():
            raise NotFoundError(f"no checkpoint file {path.name}; ask the exporter for one")
        try:
            given = json.loads(path.read_bytes())
        except ValueError as error:
            raise IntegrityError(f"{path.name} is not a checkpoint: {error}") from error
    held = given if isinstance(given, Checkpoint) else Checkpoint.from_dict(given)  # type: ignore[arg-type]
    held.verify_signature()
    return held


def _walk(bag: Path) -> dict[str, int]:
    """Return the size of each file by its name in the package; nothing but files and folders may be there."""
    sizes: dict[str, int] = {}
    for folder, folders, files in os.walk(bag):
        for name in (*folders, *files):
            full = Path(folder, name)
            relative = full.relative_to(bag).as_posix()
            _check_name(relative, source="the package")
            mode = full.lstat().st_mode
            if stat.S_ISREG(mode):
                sizes[relative] = full.lstat().st_size
            elif not stat.S_ISDIR(mode):
                _fail(relative, "is a link or a device, and a package holds plain files only")
            elif not any(full.iterdir()):
                _fail(relative, "is an empty folder that the export did not write")
    for name in sorted(_FIXED - set(sizes)):
        _fail(name, "is missing")
    return sizes


def _check_name(name: str, *, source: str) -> None:
    parts = name.split("/")
    if name.startswith(("/", "~")) or "\\" in name or ":" in parts[0] or any(part in ("", ".", "..") for part in parts):
        _fail(repr(name), f"is an unsafe path in {source}")
    if not name.isprintable() or unicodedata.normalize("NFC", name) != name:
        _fail(ascii(name), f"is not in Unicode normal form C in {source}: two names could look the same")


def _check_manifests(bag: Path, sizes: Mapping[str, int]) -> None:
    """Check that the four manifests list exactly these files, with their hashes, to the byte."""
    if _read(bag, "bagit.txt") != _BAGIT:
        _fail("bagit.txt", "is not the declaration of BagIt 1.0")
    payload = sorted(name for name in sizes if name.startswith("data/"))
    tags = sorted(set(sizes) - set(payload) - set(_TAGMANIFESTS))
    if unknown := set(tags) - _FIXED:
        _fail(min(unknown), "was added: the export does not write it")
    listed = {manifest: _parse_manifest(bag, manifest) for manifest in (*_TAGMANIFESTS, *_MANIFESTS)}
    for names, manifests in ((tags, _TAGMANIFESTS), (payload, _MANIFESTS)):
        for manifest in manifests:
            for name in sorted(set(listed[manifest]) ^ set(names)):
                _fail(name, f"is {'missing' if name in listed[manifest] else 'not listed'} in {manifest}")
        for name in names:
            for manifest, digest in zip(manifests, _digests(bag / name), strict=True):
                if listed[manifest][name] != digest:
                    _fail(name, f"was changed: its hash is not the one in {manifest}")


def _parse_manifest(bag: Path, manifest: str) -> dict[str, str]:
    """Return hash by name, from lines in exactly the form in which the export writes them."""
    try:
        text = _read(bag, manifest).decode()
    except UnicodeDecodeError:
        _fail(manifest, "was changed: it is not UTF-8")
    digits = 2 * hashlib.new(manifest.removesuffix(".txt").split("-")[1]).digest_size
    found: dict[str, str] = {}
    for line in text.split("\n")[:-1]:
        digest, name = line[:digits], line[digits + 2 :]
        _check_name(name, source=manifest)
        if line[digits : digits + 2] != "  " or set(digest) - set("0123456789abcdef") or name in found:
            _fail(manifest, f"was changed: line {len(found) + 1} is not a hash, two spaces and a new name")
        found[name] = digest
    if "".join(f"{found[name]}  {name}\n" for name in sorted(found)) != text:
        _fail(manifest, "was changed: its lines are out of order, or there is more than lines")
    return found


def _check_ledger(bag: Path, held: Checkpoint) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return the items' events and the export's own, once each is proven to be in the held checkpoint's ledger."""
    inside = Checkpoint.from_dict(_json(bag, _CHECKPOINT))
    try:
        inside.verify_signature()
    except IntegrityError as error:
        raise IntegrityError(f"{_CHECKPOINT}: {error}") from error
    if (inside.key, inside.origin) != (held.key, held.origin):
        _fail(_CHECKPOINT, "is of another ledger, or signed by another key, than the checkpoint you hold")
    if held.size > inside.size:
        raise InputError(
            f"the checkpoint you hold ({held.size} entries) is newer than the package ({inside.size}): "
            "ask for one from the time of the export"
        )
    proofs = _json(bag, _PROOFS)
    try:
        _check_consistency(proofs["consistency"], inside=inside, held=held)
        lines = [*_lines(bag, _CUSTODY), *_lines(bag, _DISCLOSURE)]
        records = [json.loads(line) for line in lines]
        indices = [record["index"] for record in records]
        if sorted(proofs["inclusion"], key=int) != [str(index) for index in indices] or len(indices) < 2:
            _fail(_PROOFS, "does not hold one proof for each event, in order")
        for index, line in zip(indices, lines, strict=True):
            proof = [bytes.fromhex(step) for step in proofs["inclusion"][str(index)]]
            verify_inclusion(line, index=index, size=inside.size, proof=proof, root=bytes.fromhex(inside.root))
    except IntegrityError as error:
        raise IntegrityError(str(error) if "ledger/" in str(error) else f"{_CUSTODY} or {_PROOFS}: {error}") from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise IntegrityError(f"{_PROOFS}: does not have the form that the export writes") from error
    if records[-1]["entry"].get("event") != "disclosure":
        _fail(_DISCLOSURE, "is not the event of an export")
    return records[:-1], records[-1]


def _check_consistency(proofs: Mapping[str, Any], *, inside: Checkpoint, held: Checkpoint) -> None:
    """Check that the package's ledger continues from the held checkpoint, and the proofs that it offers to others."""
    if str(held.size) not in proofs and held.size:
        _fail(_PROOFS, f"has no proof that the ledger continues from your checkpoint of {held.size} entries")
    for size, offered in proofs.items():
        old_root = held.root if int(size) == held.size else offered["root"]
        if old_root != offered["root"]:
            _fail(_PROOFS, f"fork: the package's ledger had other {held.size} entries than your checkpoint")
        verify_consistency(
            old_size=int(size),
            new_size=inside.size,
            old_root=bytes.fromhex(old_root),
            new_root=bytes.fromhex(inside.root),
            proof=[bytes.fromhex(step) for step in offered["proof"]],
        )


def _check_items(bag: Path, names: set[str], events: list[dict[str, Any]], disclosure: Mapping[str, Any]) -> int:
    """Check that the contents are those that came in: record by commitment, content by record."""
    items = _json(bag, _ITEMS)
    if sorted(items) != sorted(disclosure["entry"]["items"]):
        _fail(_ITEMS, "does not hold the items that the export's event names")
    if extra := names - _FIXED - {f"data/objects/{id}" for id in items}:
        _fail(min(extra), "was added: no item of the export")
    committed: dict[str, str] = {}
    for event in events:
        if "commitment" in event["entry"]:
            committed.setdefault(event["entry"]["items"][0], event["entry"]["commitment"])
    for id, item in items.items():
        salted = bytes.fromhex(item["salt"]) + canonical_json(item["record"])
        if hashlib.sha256(salted).hexdigest() != committed.get(id):
            _fail(_ITEMS, f"the record of item {id} is not the one that its intake committed to")
        name, record = f"data/objects/{id}", item["record"]
        if name not in names:
            _fail(name, "is missing")
        if _digests(bag / name) != (record["sha256"], record["sha512"]):
            _fail(name, "is not the content that came in")
    return len(items)


def _digests(path: Path) -> tuple[str, ...]:
    """Return the hashes of a file in the order of the algorithms, in one pass."""
    hashes = [hashlib.new(name) for name in _ALGORITHMS]
    with open(path, "rb") as file:
        while block := file.read(_BLOCK):
            for value in hashes:
                value.update(block)
    return tuple(value.hexdigest() for value in hashes)


def _lines(bag: Path, name: str) -> list[bytes]:
    data = _read(bag, name)
    if not data.endswith(b"\n"):
        _fail(name, "was cut off")
    return data[:-1].split(b"\n")


def _json(bag: Path, name: str) -> Any:
    """Return what a file holds, which must be canonical JSON and a newline, to the byte."""
    data = _read(bag, name)
    try:
        value = json.loads(data)
        sound = canonical_json(value) + b"\n" == data and isinstance(value, dict)
    except (ValueError, RecursionError):
        sound = False
    if not sound:
        _fail(name, "was changed: it is not in the form that the export writes")
    return value


def _read(bag: Path, name: str) -> bytes:
    if (bag / name).stat().st_size > _LARGEST_RECORD:
        _fail(name, f"is larger than the {_LARGEST_RECORD >> 20} MiB that a record may have")
    return (bag / name).read_bytes()


def _fail(name: str, what: str) -> NoReturn:
    raise IntegrityError(f"{name}: {what}")
