"""The verifier of exported packages: it trusts the checkpoint that it is given, and nothing in the package.

It shares no code with the exporter and needs no store: the standard library and Ed25519.
``python -m crimeface_lib.evidence.verify PACKAGE --checkpoint FILE`` runs it alone. In this order, and each step before
what it finds is used: names and kinds of files, manifests, checkpoint, proofs, the export's event, items. Whatever
fails raises ``IntegrityError`` with the name of the file.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crimeface_lib.core.errors import CrimefaceError, InputError, IntegrityError, NotFoundError
from crimeface_lib.core.hashing import canonical_json
from crimeface_lib.core.results import Result
from crimeface_lib.evidence.parts import Part, check_name, fail, find_parts
from crimeface_lib.evidence.proofs import Head, check_consistency, check_inclusion, read_head, read_head_file

_ALGORITHMS = ("sha256", "sha512")
_MANIFESTS = tuple(f"manifest-{name}.txt" for name in _ALGORITHMS)
_TAGMANIFESTS = tuple(f"tagmanifest-{name}.txt" for name in _ALGORITHMS)
_BAGIT = b"BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n"
_CUSTODY, _ITEMS = "data/custody.jsonl", "data/items.json"
_DISCLOSURE, _CHECKPOINT, _PROOFS = "ledger/disclosure.jsonl", "ledger/checkpoint.json", "ledger/proofs.json"
_KEY = "ledger/public_key.pem"
_FIXED = {"bagit.txt", *_MANIFESTS, *_TAGMANIFESTS, _CUSTODY, _ITEMS, "data/case-uco.jsonld"}
_FIXED |= {_DISCLOSURE, _CHECKPOINT, _PROOFS, _KEY}

WEAKER = (
    "no held checkpoint: this shows only that the package agrees with itself; whoever made it could have made "
    "all of it anew. Ask for the checkpoint by another way and give it with --checkpoint FILE"
)


@dataclass(frozen=True, slots=True)
class PackageReport(Result):
    """What was found in order.

    ``exported`` is when; ``root`` is of the ledger at ``checkpoint_size`` entries, the checkpoint that was held.
    Without one ``checkpoint_size`` is None and the result is the weaker one that ``warning`` describes.
    """

    items: int
    events: int
    files: int
    size: int
    exported: str
    actor: str
    checkpoint_size: int | None
    root: str
    key: str

    @property
    def warning(self) -> str:
        """What a reader has to know of this result; empty if nothing."""
        return WEAKER if self.checkpoint_size is None else ""


def is_package(path: str | Path) -> bool:
    """Return whether ``path`` is meant to be a package, sound or not: a zip, or a folder with some of its files."""
    path = Path(path)
    return path.suffix.lower() == ".zip" or any((path / name).exists() for name in _FIXED)


def verify_package(
    path: str | Path, *, checkpoint: str | os.PathLike[str] | Mapping[str, Any] | Result | None = None
) -> PackageReport:
    """Check an exported package against a checkpoint that came another way.

    Parameters
    ----------
    path : the package: a folder, or the zip that the export wrote.
    checkpoint : of the same ledger, from the time of the export or before: a path outside of the package, what it
        holds, or a ``Checkpoint``. Without one the result is weaker and says so.

    Raises
    ------
    IntegrityError : names the file that was changed, added, removed or is unsafe; or says that the package, sound in
        itself, belongs to another ledger than the checkpoint.
    InputError : the checkpoint lies inside of the package, or is newer than it.
    NotFoundError : there is no such package or checkpoint.
    """
    package = Path(path)
    if package.is_symlink() or not (package.is_dir() or package.is_file()):
        raise NotFoundError(f"{package.name} is no folder and no file; give what the export wrote")
    held = _held_head(checkpoint, package)
    parts = find_parts(package)
    for name in sorted(_FIXED - set(parts)):
        fail(name, "is missing")
    _check_manifests(parts)
    head, lines = _check_ledger(parts, held)
    try:
        *events, disclosure = (json.loads(line) for line in lines)
        entry = disclosure["entry"]
        if entry["event"] != "disclosure":
            fail(_DISCLOSURE, "is not the event of an export")
        if hashlib.sha256(parts[_MANIFESTS[0]].read()).hexdigest() != entry["package"]:
            fail(_MANIFESTS[0], "is not the manifest of this export: the payload was replaced")
        items = _check_items(parts, [event["entry"] for event in events], entry)
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise IntegrityError(f"{_ITEMS} or {_CUSTODY}: does not have the form that the export writes") from error
    return PackageReport(
        items=items,
        events=len(events) + 1,
        files=len(parts),
        size=sum(part.size for part in parts.values()),
        exported=disclosure["at"],
        actor=entry["actor"],
        checkpoint_size=held.size if held else None,
        root=(held or head).root.hex(),
        key=head.key,
    )


def _held_head(given: Any, package: Path) -> Head | None:
    if given is None:
        return None
    if not isinstance(given, str | os.PathLike):
        return read_head(given.to_dict() if isinstance(given, Result) else given, name="the checkpoint you hold")
    if Path(given).resolve().is_relative_to(package.resolve()):
        raise InputError("the checkpoint lies in the package; it proves something only if it came another way")
    return read_head_file(given)


def _check_manifests(parts: Mapping[str, Part]) -> None:
    """Check that the four manifests list exactly these files, with their hashes, to the byte."""
    if parts["bagit.txt"].read() != _BAGIT:
        fail("bagit.txt", "was changed: it is not the declaration of BagIt 1.0")
    payload = sorted(name for name in parts if name.startswith("data/"))
    tags = sorted(set(parts) - set(payload) - set(_TAGMANIFESTS))
    if unknown := set(tags) - _FIXED:
        fail(min(unknown), "was added: the export does not write it")
    parsed = {manifest: _parse_manifest(parts[manifest]) for manifest in (*_TAGMANIFESTS, *_MANIFESTS)}
    # Tags first: they hold the payload's manifests, and a wrong hash in one of those is no fault of the payload.
    for names, manifests in ((tags, _TAGMANIFESTS), (payload, _MANIFESTS)):
        listed = [parsed[manifest] for manifest in manifests]
        for manifest, found in zip(manifests, listed, strict=True):
            for name in sorted(set(found) ^ set(names)):
                if all((name in one) == (name in found) for one in listed):  # not the one manifest's fault
                    fail(name, f"is {'missing, and' if name in found else 'not'} listed in {manifest}")
                fail(manifest, f"was changed: the other manifest and {name} disagree with it")
        for name in names:
            wrong = [
                manifest
                for manifest, digest, found in zip(manifests, _digests(parts[name]), listed, strict=True)
                if found[name] != digest
            ]
            if len(wrong) == 1:
                fail(wrong[0], f"was changed: it has another hash for {name} than that file, and the other manifest")
            if wrong:
                fail(name, f"was changed: its hash is not the one in {wrong[0]}")


def _parse_manifest(part: Part) -> dict[str, str]:
    """Return hash by name, from lines in exactly the form in which the export writes them."""
    try:
        text = part.read().decode()
    except UnicodeDecodeError:
        fail(part.name, "was changed: it is not UTF-8")
    digits = 2 * hashlib.new(part.name.removesuffix(".txt").split("-")[1]).digest_size
    found: dict[str, str] = {}
    for line in text.split("\n")[:-1]:
        digest, name = line[:digits], line[digits + 2 :]
        check_name(name, source=part.name)
        if line[digits : digits + 2] != "  " or set(digest) - set("0123456789abcdef") or name in found:
            fail(part.name, f"was changed: line {len(found) + 1} is not a hash, two spaces and a new name")
        found[name] = digest
    if "".join(f"{found[name]}  {name}\n" for name in sorted(found)) != text:
        fail(part.name, "was changed: its lines are out of order, or there is more than lines")
    return found


def _check_ledger(parts: Mapping[str, Part], held: Head | None) -> tuple[Head, list[bytes]]:
    """Return the package's head and the lines of its events, each proven to be in the ledger; the export's last."""
    head = read_head(_json(parts[_CHECKPOINT]), name=_CHECKPOINT)
    if parts[_KEY].read() != head.pem:
        fail(_KEY, "is not the key that signed the checkpoint")
    if held and (head.key, head.origin) != (held.key, held.origin):
        fail(_CHECKPOINT, "is of another ledger, or signed by another key, than the checkpoint you hold")
    if held and held.size > head.size:
        raise InputError(
            f"the checkpoint you hold ({held.size} entries) is newer than the package ({head.size}): "
            "ask for one from the time of the export"
        )
    proofs = _json(parts[_PROOFS])
    custody, lines = _lines(parts[_CUSTODY]), _lines(parts[_DISCLOSURE])
    try:
        _check_consistency(proofs["consistency"], head=head, held=held)
        inclusion = [(int(index), _unhex(proof)) for index, proof in proofs["inclusion"].items()]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise IntegrityError(f"{_PROOFS}: does not have the form that the export writes") from error
    inclusion.sort()
    if len(inclusion) != len(custody) + 1 or len(lines) != 1:
        fail(_CUSTODY, f"does not have the number of lines for which there are proofs in {_PROOFS}")
    for line, (index, proof) in zip([*custody, *lines], inclusion, strict=True):
        if not check_inclusion(line, index=index, head=head, proof=proof):
            name = _DISCLOSURE if index == inclusion[-1][0] else _CUSTODY
            fail(name, f"entry {index} is not what the ledger holds at that place, or its proof in {_PROOFS} is wrong")
    return head, [*custody, *lines]


def _check_consistency(proofs: Mapping[str, Any], *, head: Head, held: Head | None) -> None:
    """Check that the package's ledger continues from the held checkpoint, and the proofs that it offers to others."""
    if held and held.size and str(held.size) not in proofs:
        fail(_PROOFS, f"has no proof that the ledger continues from your checkpoint of {held.size} entries")
    for size, offered in proofs.items():
        root = bytes.fromhex(offered["root"])
        if held and int(size) == held.size and root != held.root:
            fail(_PROOFS, f"fork: the package's ledger had other {held.size} entries than your checkpoint")
        if not check_consistency(int(size), root, head=head, proof=_unhex(offered["proof"])):
            fail(_PROOFS, f"does not prove that the ledger continues from its first {size} entries")


def _check_items(parts: Mapping[str, Part], entries: list[dict[str, Any]], disclosure: Mapping[str, Any]) -> int:
    """Check that the contents are those that came in: record by commitment, content by record."""
    items = _json(parts[_ITEMS])
    if sorted(items) != sorted(disclosure["items"]):
        fail(_ITEMS, "does not hold the items that the export's event names")
    if extra := set(parts) - _FIXED - {f"data/objects/{id}" for id in items}:
        fail(min(extra), "was added: no item of the export")
    committed: dict[tuple[str, str], str] = {}
    for entry in entries:
        if "commitment" in entry:  # what came in, which never changes
            committed.setdefault((entry["items"][0], "record"), entry["commitment"])
        if "notes" in entry:  # what was said of it last
            committed[entry["items"][0], "notes"] = entry["notes"]
    for id, item in items.items():
        for kind in ("record", "notes"):
            opened = item.get(kind)
            digest = opened and hashlib.sha256(bytes.fromhex(opened["salt"]) + canonical_json(opened["value"]))
            if (digest and digest.hexdigest()) != committed.get((id, kind)):
                fail(_ITEMS, f"the {kind} of item {id} is not the one that the ledger commits to")
        name, record = f"data/objects/{id}", item["record"]["value"]
        if name not in parts:
            fail(name, "is missing")
        if _digests(parts[name]) != (record["sha256"], record["sha512"]):
            fail(name, "is not the content that came in")
    return len(items)


def _digests(part: Part) -> tuple[str, ...]:
    """Return the hashes of a file in the order of the algorithms, in one pass."""
    hashes = [hashlib.new(name) for name in _ALGORITHMS]
    for block in part.blocks():
        for value in hashes:
            value.update(block)
    return tuple(value.hexdigest() for value in hashes)


def _lines(part: Part) -> list[bytes]:
    data = part.read()
    if not data.endswith(b"\n"):
        fail(part.name, "was cut off")
    return data[:-1].split(b"\n")


def _json(part: Part) -> dict[str, Any]:
    """Return what a file holds, which must be canonical JSON and a newline, to the byte."""
    data = part.read()
    try:
        value = json.loads(data)
        sound = isinstance(value, dict) and canonical_json(value) + b"\n" == data
    except (ValueError, RecursionError):
        sound = False
    if not sound:
        fail(part.name, "was changed: it is not in the form that the export writes")
    return value


def _unhex(hashes: Sequence[str]) -> list[bytes]:
    return [bytes.fromhex(value) for value in hashes]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the verifier alone; return 0 if the package is sound, else what ``core.errors`` says."""
    parser = argparse.ArgumentParser(prog="python -m crimeface_lib.evidence.verify", description=verify_package.__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("package", type=Path, help="folder or zip that the export wrote")
    parser.add_argument("--checkpoint", type=Path, help="checkpoint that you hold; came another way than the package")
    given = parser.parse_args(arguments)
    try:
        report = verify_package(given.package, checkpoint=given.checkpoint)
    except CrimefaceError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    if report.warning:
        sys.stderr.write(f"warning: {report.warning}\n")
    sys.stdout.write(
        f"unchanged: {report.items} items, {report.events} events, {report.files} files, "
        f"exported {report.exported} by {report.actor}, key {report.key}\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
