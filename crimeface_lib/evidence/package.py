"""A folder, or a zip, of evidence that proves itself: a BagIt bag with its part of the ledger inside.

The payload's manifest is hashed into the event that records the export, the event is in the ledger, and the ledger's
root is in a checkpoint that travels another way. So not one byte of the payload can change unseen, even if all
manifests are made anew. ``evidence.verify`` checks it and shares no code with this module.

::

    bagit.txt  manifest-sha256.txt  manifest-sha512.txt  tagmanifest-sha256.txt  tagmanifest-sha512.txt
    data/objects/<item>         contents
    data/items.json             records and notes, with the salts that open the ledger's commitments
    data/custody.jsonl          the ledger's lines about these items
    data/case-uco.jsonld        the same for other tools
    ledger/disclosure.jsonl     the line that records this export
    ledger/checkpoint.json      the ledger when it was made
    ledger/public_key.pem       the key that signed it
    ledger/proofs.json          each line is in that ledger; that ledger continues from each earlier checkpoint

References
----------
RFC 8493 (BagIt 1.0). ``bag-info.txt`` is optional there and left out: nothing would vouch for it.
A zip holds the same files in order, stored, with fixed dates: the same package has the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from crimeface_lib.core.errors import InputError
from crimeface_lib.core.files import sync_directory
from crimeface_lib.core.hashing import canonical_json
from crimeface_lib.evidence.caseuco import case_graph
from crimeface_lib.storage import Checkpoint, Ledger, Vault

_MOST_FILES, _LARGEST_ZIP = 65_000, 0xFFFF_0000  # without the ZIP64 extension


def write_package(
    out: Path,
    *,
    items: Mapping[str, Mapping[str, Any]],
    vault: Vault,
    ledger: Ledger,
    proven_sizes: Iterable[int],
    checkpoint: Callable[[], Checkpoint],
    log: Callable[[str], int],
) -> Path:
    """Write the package to the new folder or zip ``out``; it appears whole or not at all.

    Parameters
    ----------
    items : record and notes of each item by its id, with their salts.
    proven_sizes : sizes of earlier checkpoints from which to prove continuity.
    checkpoint : signs the ledger's state and remembers its size.
    log : writes the export's event, given the SHA-256 of the payload's manifest, and returns its index.
    """
    if os.path.lexists(out):
        raise InputError(f"{out.name} exists already; give one that does not")
    out.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}.", suffix=".tmp"))
    try:
        lines = _write_payload(staging / "data", items=items, vault=vault, ledger=ledger)
        _write(staging / "bagit.txt", b"BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n")
        _write_manifests(staging, "manifest", (staging / "data").rglob("*"))
        lines.append(log(hashlib.sha256((staging / "manifest-sha256.txt").read_bytes()).hexdigest()))
        _write_seal(staging / "ledger", ledger=ledger, lines=lines, proven_sizes=proven_sizes, checkpoint=checkpoint())
        tags = [path for path in staging.rglob("*") if not path.is_relative_to(staging / "data")]
        _write_manifests(staging, "tagmanifest", tags)
        if out.suffix.lower() == ".zip":
            os.replace(_zip(staging), out)
        else:
            for folder in [staging, *(path for path in staging.rglob("*") if path.is_dir())]:
                sync_directory(folder)
            os.replace(staging, out)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    sync_directory(out.parent)
    return out


def _write_payload(data: Path, *, items: Mapping[str, Mapping[str, Any]], vault: Vault, ledger: Ledger) -> list[int]:
    """Write what the manifest covers; return the indices of the ledger's lines that are in it."""
    (data / "objects").mkdir(parents=True)
    for id, item in items.items():
        vault.open_to(item["record"]["value"]["sha256"], data / "objects" / id)
    _write(data / "items.json", canonical_json(items) + b"\n")
    events = [event for event in ledger.entries() if set(items).intersection(event["items"])]
    chosen = {event["index"] for event in events}
    lines = [line for index, line in enumerate(ledger.lines()) if index in chosen]
    _write(data / "custody.jsonl", b"".join(line + b"\n" for line in lines))
    _write(
        data / "case-uco.jsonld", json.dumps(case_graph(items, events), indent=1, ensure_ascii=False).encode() + b"\n"
    )
    return sorted(chosen)


def _write_seal(
    folder: Path, *, ledger: Ledger, lines: list[int], proven_sizes: Iterable[int], checkpoint: Checkpoint
) -> None:
    """Write the export's own line, the checkpoint over it, and the proofs."""
    folder.mkdir()
    size = checkpoint.size
    line = next(line for index, line in enumerate(ledger.lines()) if index == lines[-1])
    _write(folder / "disclosure.jsonl", line + b"\n")
    _write(folder / "checkpoint.json", canonical_json(checkpoint.to_dict()) + b"\n")
    public = Ed25519PublicKey.from_public_bytes(bytes.fromhex(checkpoint.key))
    _write(folder / "public_key.pem", public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    proofs = {
        "inclusion": {str(index): _hex(ledger.inclusion_proof(index, size)) for index in lines},
        "consistency": {
            str(old): {"root": ledger.root(old).hex(), "proof": _hex(ledger.consistency_proof(old, size))}
            for old in sorted({*proven_sizes, size})
            if 0 < old <= size
        },
    }
    _write(folder / "proofs.json", canonical_json(proofs) + b"\n")


def _write_manifests(bag: Path, name: str, paths: Iterable[Path]) -> None:
    names = sorted(path.relative_to(bag).as_posix() for path in paths if path.is_file())
    for algorithm in ("sha256", "sha512"):
        text = "".join(f"{_digest(bag / file, algorithm)}  {file}\n" for file in names)
        _write(bag / f"{name}-{algorithm}.txt", text.encode())


def _zip(staging: Path) -> Path:
    """Write all files below ``staging`` into one zip beside them and return it."""
    files = sorted(path for path in staging.rglob("*") if path.is_file())
    if len(files) > _MOST_FILES or sum(path.stat().st_size + 1024 for path in files) > _LARGEST_ZIP:
        raise InputError("got more than a plain zip can hold (4 GiB or 65,000 files); export to a folder instead")
    packed = staging / "package.zip"
    with open(packed, "wb") as file:
        with zipfile.ZipFile(file, "w", allowZip64=False) as archive:
            for path in files:
                entry = zipfile.ZipInfo(path.relative_to(staging).as_posix())  # ZipInfo's own date is 1980
                entry.external_attr, entry.create_system, entry.file_size = 0o100600 << 16, 3, path.stat().st_size
                with open(path, "rb") as source, archive.open(entry, "w") as target:
                    shutil.copyfileobj(source, target, 1 << 20)
        file.flush()
        os.fsync(file.fileno())
    return packed


def _digest(path: Path, algorithm: str) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def _write(path: Path, data: bytes) -> None:
    with open(path, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _hex(hashes: Iterable[bytes]) -> list[str]:
    return [value.hex() for value in hashes]
