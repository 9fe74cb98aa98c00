"""The run's manifest: what came out, each file's SHA-256, signed; and the check that it still holds."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from crimeface_lib.core.errors import IntegrityError, NotFoundError
from crimeface_lib.core.files import write_atomic
from crimeface_lib.core.hashing import sha256_file
from crimeface_lib.core.results import Result
from crimeface_lib.storage import Checkpoint

MANIFEST, SIGNATURE, CHECKPOINT = "run.json", "run.json.sig", "checkpoint.json"
_UNLISTED = {MANIFEST, SIGNATURE, CHECKPOINT}


@dataclass(frozen=True, slots=True)
class RunCheck(Result):
    """A run whose files are what its signed manifest says."""

    run: str
    files: int
    key: str


def list_outputs(folder: Path) -> list[dict[str, Any]]:
    """Return path, SHA-256 and size of every file of a run but the manifest and its signature."""
    return [
        {"path": path.relative_to(folder).as_posix(), "sha256": sha256_file(path), "size": path.stat().st_size}
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.relative_to(folder).as_posix() not in _UNLISTED
    ]


def write_manifest(folder: Path, manifest: Mapping[str, Any]) -> bytes:
    """Write ``run.json`` and return its bytes."""
    data = json.dumps(manifest, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False).encode()
    write_atomic(folder / MANIFEST, data)
    return data


def sign_manifest(folder: Path, data: bytes, key: Ed25519PrivateKey) -> None:
    """Write the Ed25519 signature of the manifest's bytes beside it."""
    write_atomic(folder / SIGNATURE, _signature(key.public_key().public_bytes_raw().hex(), key.sign(data).hex()))


def _signature(key: str, signature: str) -> bytes:
    return json.dumps({"key": key, "signature": signature}).encode()


def write_heads(folder: Path, heads: Mapping[str, Checkpoint]) -> None:
    """Write the logs' signed heads beside the manifest; the manifest can't list them, for its own event is in them."""
    write_atomic(folder / CHECKPOINT, _heads({name: head.to_dict() for name, head in heads.items()}))


def _heads(heads: Mapping[str, Any]) -> bytes:
    return json.dumps(heads, indent=1).encode()


def _check_heads(path: Path, *, key: str) -> None:
    """Check the logs' heads that a run left: each signed by the run's key, and to the byte as it was written."""
    if not path.exists():  # who received a run without it misses nothing that the run itself says
        return
    for head in (heads := _held_heads(path)).values():
        head.verify_signature()
        if head.key != key:
            raise IntegrityError(f"{path.name} was changed: it is signed by another key than the run")
    if path.read_bytes() != _heads({name: head.to_dict() for name, head in heads.items()}):
        raise IntegrityError(f"{path.name} was changed: it is not in the form that a run writes")


def read_manifest(folder: Path) -> dict[str, Any]:
    """Return ``run.json``, or say that this is no run."""
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
    except FileNotFoundError as error:
        raise NotFoundError(f"no run in {folder}: it has no {MANIFEST}") from error
    except (ValueError, OSError) as error:
        raise IntegrityError(f"{folder / MANIFEST}: not readable as JSON ({error})") from error
    if not isinstance(manifest, dict):
        raise IntegrityError(f"{folder / MANIFEST}: expected a JSON object")
    return manifest


def verify_store(folder: str | Path, *, checkpoint: Path | None = None) -> dict[str, int]:
    """Check a store's audit and custody logs, each against itself and against a checkpoint held outside.

    Parameters
    ----------
    checkpoint : ``checkpoint.json`` of a run on this store, or the checkpoint of an export from it. Without it only
        what one log says of itself is checked: a log rewritten from its first line with the store's own key passes.

    Returns
    -------
    Number of events by log.

    Raises
    ------
    IntegrityError : an event was edited, dropped, inserted, reordered or cut off, or what was given is no checkpoint.
    NotFoundError : no such checkpoint.
    """
    from crimeface_lib.workflow.store import CaseStore

    heads = _held_heads(checkpoint) if checkpoint is not None else {}
    store = CaseStore.open(folder)
    audit = store.audit.ledger.verify(heads.get("audit"))
    custody = store.evidence.verify(heads.get("custody"), contents=False)
    return {"audit": audit.entries, "custody": custody.events}


def _held_heads(path: Path) -> dict[str, Checkpoint]:
    """Return the checkpoints in a file by log: those that a run left, or the one that an export wrote."""
    try:
        return read_heads(path.read_bytes(), name=str(path))
    except FileNotFoundError as error:
        raise NotFoundError(f"no checkpoint at {path}; give the checkpoint.json of a run") from error
    except OSError as error:
        raise IntegrityError(f"{path} is no checkpoint: {error}") from error


def read_heads(data: bytes, *, name: str) -> dict[str, Checkpoint]:
    """Return the checkpoints by log, ``audit`` and ``custody``, that a file called ``name`` holds.

    Raises
    ------
    IntegrityError : it holds none.
    """
    try:
        held = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise IntegrityError(f"{name} is no checkpoint: {error}") from error
    if isinstance(held, dict) and "origin" in held:
        held = {str(held["origin"]): held}
    if not isinstance(held, dict) or not held or set(held) - {"audit", "custody"}:
        raise IntegrityError(f"{name} is no checkpoint of these logs; give the checkpoint.json of a run or an export's")
    return {log: Checkpoint.from_dict(head) for log, head in held.items()}


def verify_run(folder: str | Path, *, key: str | None = None) -> RunCheck:
    """Check a run folder: the manifest's signature, and every file against it.

    Parameters
    ----------
    key : hexadecimal Ed25519 public key the reviewer holds. Without it the signature shows only that the
        manifest was not changed since *some* key signed it.

    Raises
    ------
    IntegrityError : naming the first file that was changed, added or dropped.
    """
    folder = Path(folder)
    manifest = read_manifest(folder)
    try:
        seal = json.loads((folder / SIGNATURE).read_bytes())
        signer = Ed25519PublicKey.from_public_bytes(bytes.fromhex(seal["key"]))
        signer.verify(bytes.fromhex(seal["signature"]), (folder / MANIFEST).read_bytes())
    except FileNotFoundError as error:
        raise IntegrityError(f"{SIGNATURE} is missing: the run was not finished, or the seal was removed") from error
    except (InvalidSignature, ValueError, KeyError, TypeError) as error:
        raise IntegrityError(f"{MANIFEST} is not what was signed") from error
    if (folder / SIGNATURE).read_bytes() != _signature(seal["key"], seal["signature"]):
        raise IntegrityError(f"{SIGNATURE} was changed: it is not in the form that a run writes")
    _check_heads(folder / CHECKPOINT, key=seal["key"])
    if key is not None and seal["key"] != key:
        raise IntegrityError(f"{MANIFEST} is signed by key {seal['key'][:16]}…, expected {key[:16]}…")
    for path in folder.rglob("*"):
        if path.is_symlink():
            raise IntegrityError(f"{path.relative_to(folder).as_posix()} is a link: a run's files are its own")
    listed = {item["path"]: item["sha256"] for item in manifest["outputs"]}
    found = {item["path"]: item["sha256"] for item in list_outputs(folder)}
    for name in sorted(listed.keys() | found.keys()):
        if name not in found:
            raise IntegrityError(f"{name} is missing")
        if name not in listed:
            raise IntegrityError(f"{name} was added")
        if listed[name] != found[name]:
            raise IntegrityError(f"{name} was changed")
    return RunCheck(run=str(manifest["id"]), files=len(listed), key=str(seal["key"]))
