"""A folder of evidence that proves itself: a BagIt bag with its part of the ledger inside.

The payload's manifest is hashed into the event that records the export, the event is in the ledger, and the ledger's
root is in a checkpoint that travels another way. So not one byte of the payload can change unseen, even if all
manifests are made anew. ``evidence.verify`` checks it and shares no code with this module.

::

    bagit.txt  manifest-sha256.txt  manifest-sha512.txt  tagmanifest-sha256.txt  tagmanifest-sha512.txt
    data/objects/<item>         contents
    data/items.json             intake records, with the salts that open the ledger's commitments
    data/custody.jsonl          the ledger's lines about these items
    data/case-uco.jsonld        the same for other tools
    ledger/disclosure.jsonl     the line that records this export
    ledger/checkpoint.json      the ledger when it was made
    ledger/proofs.json          each line is in that ledger; that ledger continues from each earlier checkpoint

References
----------
RFC 8493 (BagIt 1.0). ``bag-info.txt`` is optional there and left out: nothing would vouch for it.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from crimeface_lib.core.clock import Clock
from crimeface_lib.core.errors import InputError
from crimeface_lib.core.files import sync_directory
from crimeface_lib.core.hashing import canonical_json
from crimeface_lib.evidence.caseuco import case_graph
from crimeface_lib.storage import Ledger, Vault


def write_package(
    out: Path,
    *,
    rows: Sequence[dict[str, Any]],
    vault: Vault,
    ledger: Ledger,
    proven_sizes: Iterable[int],
    clock: Clock,
    log: Callable[[str], int],
) -> Path:
    """Write the package to the new folder ``out``; it appears whole or not at all.

    Parameters
    ----------
    rows : the store's records of the items.
    proven_sizes : sizes of earlier checkpoints from which to prove continuity.
    log : writes the export's event, given the SHA-256 of the payload's manifest, and returns its index.
    """
    if out.exists():
        raise InputError(f"{out.name} exists already; give a folder that does not")
    out.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}.", suffix=".tmp"))
    try:
        lines = _write_payload(staging / "data", rows=rows, vault=vault, ledger=ledger)
        _write(staging / "bagit.txt", b"BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n")
        _write_manifests(staging, "manifest", (staging / "data").rglob("*"))
        lines.append(log(hashlib.sha256((staging / "manifest-sha256.txt").read_bytes()).hexdigest()))
        _write_seal(staging / "ledger", ledger=ledger, lines=lines, proven_sizes=proven_sizes, clock=clock)
        tags = [path for path in staging.rglob("*") if not path.is_relative_to(staging / "data")]
        _write_manifests(staging, "tagmanifest", tags)
        for folder in [staging, *(path for path in staging.rglob("*") if path.is_dir())]:
            sync_directory(folder)
        os.replace(staging, out)
    except BaseException:
        shutil.rmtree(staging)
        raise
    sync_directory(out.parent)
    return out


def _write_payload(data: Path, *, rows: Sequence[dict[str, Any]], vault: Vault, ledger: Ledger) -> list[int]:
    """Write what the manifest covers; return the indices of the ledger's lines that are in it."""
    ids = {row["item"] for row in rows}
    (data / "objects").mkdir(parents=True)
    for row in rows:
        vault.open_to(row["record"]["sha256"], data / "objects" / row["item"])
    records = {row["item"]: {"record": row["record"], "salt": row["salt"]} for row in rows}
    _write(data / "items.json", canonical_json(records) + b"\n")
    events = [event for event in ledger.entries() if ids.intersection(event["items"])]
    chosen = {event["index"] for event in events}
    lines = [line for index, line in enumerate(ledger.lines()) if index in chosen]
    _write(data / "custody.jsonl", b"".join(line + b"\n" for line in lines))
    graph = case_graph({id: entry["record"] for id, entry in records.items()}, events)
    _write(data / "case-uco.jsonld", json.dumps(graph, indent=1, ensure_ascii=False).encode() + b"\n")
    return sorted(chosen)


def _write_seal(folder: Path, *, ledger: Ledger, lines: list[int], proven_sizes: Iterable[int], clock: Clock) -> None:
    """Write the export's own line, the checkpoint over it, and the proofs."""
    folder.mkdir()
    checkpoint = ledger.checkpoint(at=clock())
    size = checkpoint.size
    line = next(line for index, line in enumerate(ledger.lines()) if index == lines[-1])
    _write(folder / "disclosure.jsonl", line + b"\n")
    _write(folder / "checkpoint.json", canonical_json(checkpoint.to_dict()) + b"\n")
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
