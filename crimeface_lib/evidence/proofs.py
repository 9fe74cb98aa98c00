"""What the verifier needs of Merkle trees and checkpoints, written from the RFCs and not from our own store.

Standard library and ``cryptography`` only. That this and the store's own code agree is what a test is for.

References
----------
RFC 6962 §2.1 (hashes, audit paths); RFC 9162 §2.1.3.2 and §2.1.4.2 (verification); RFC 8032 (Ed25519).
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from crimeface_lib.core.errors import IntegrityError, NotFoundError
from crimeface_lib.core.hashing import canonical_json

_FIELDS = {"origin": str, "size": int, "root": str, "at": str, "key": str, "signature": str}
_DOMAIN = b"crimeface checkpoint v1\n"
_LARGEST = 1 << 16  # bytes; a checkpoint takes some hundred


@dataclass(frozen=True, slots=True)
class Head:
    """A checkpoint whose signature holds: ``size`` entries with Merkle root ``root``, signed by ``key``."""

    origin: str
    size: int
    root: bytes
    at: str
    key: str

    @property
    def pem(self) -> bytes:
        """The public key as PEM, to the byte."""
        public = Ed25519PublicKey.from_public_bytes(bytes.fromhex(self.key))
        return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def read_head(record: Any, *, name: str) -> Head:
    """Return the head in a checkpoint's record, once its signature is checked.

    Raises
    ------
    IntegrityError : it is none, or a field was changed after signing; begins with ``name``.
    """
    fields = dict(record) if isinstance(record, Mapping) else {}
    if {field: type(value) for field, value in fields.items()} != _FIELDS:
        raise IntegrityError(f"{name}: is not a checkpoint, which has the fields {', '.join(_FIELDS)}")
    signature = fields.pop("signature")
    try:
        public = Ed25519PublicKey.from_public_bytes(bytes.fromhex(fields["key"]))
        public.verify(bytes.fromhex(signature), _DOMAIN + canonical_json(fields))
        root = bytes.fromhex(fields.pop("root"))
    except (InvalidSignature, ValueError) as error:
        raise IntegrityError(f"{name}: was changed, its signature does not hold") from error
    return Head(root=root, **fields)


def read_head_file(path: str | os.PathLike[str]) -> Head:
    """Return the head in a checkpoint's file.

    Raises
    ------
    NotFoundError : no such file. IntegrityError : it holds no sound checkpoint.
    """
    path = Path(path)
    if not path.is_file():
        raise NotFoundError(f"no checkpoint file {path.name}; ask the exporter for one")
    with open(path, "rb") as file:
        data = file.read(_LARGEST + 1)
    try:
        record = json.loads(data)
        if len(data) > _LARGEST or canonical_json(record) != data.rstrip(b"\n"):
            raise ValueError("not in canonical form")
    except (ValueError, RecursionError) as error:
        raise IntegrityError(f"{path.name}: is not a checkpoint file as the export writes it") from error
    return read_head(record, name=path.name)


def check_inclusion(leaf: bytes, *, index: int, head: Head, proof: Sequence[bytes]) -> bool:
    """Return whether the data ``leaf`` is entry ``index`` of the log that ``head`` describes."""
    if not 0 <= index < head.size:
        return False
    position, last, value = index, head.size - 1, hashlib.sha256(b"\x00" + leaf).digest()
    for step in proof:
        if last == 0:
            return False
        if position & 1 or position == last:
            value = _node(step, value)
            while position and not position & 1:
                position, last = position >> 1, last >> 1
        else:
            value = _node(value, step)
        position, last = position >> 1, last >> 1
    return last == 0 and value == head.root


def check_consistency(old_size: int, old_root: bytes, *, head: Head, proof: Sequence[bytes]) -> bool:
    """Return whether the log that ``head`` describes begins with the one of ``old_size`` entries."""
    if not 0 < old_size <= head.size:
        return old_size == 0 and not proof and old_root == hashlib.sha256(b"").digest()
    if old_size == head.size:
        return not proof and old_root == head.root
    path = list(proof) if old_size & (old_size - 1) else [old_root, *proof]
    position, last = old_size - 1, head.size - 1
    while position & 1:
        position, last = position >> 1, last >> 1
    if not path:
        return False
    old = new = path[0]
    for step in path[1:]:
        if last == 0:
            return False
        if position & 1 or position == last:
            old, new = _node(step, old), _node(step, new)
            while position and not position & 1:
                position, last = position >> 1, last >> 1
        else:
            new = _node(new, step)
        position, last = position >> 1, last >> 1
    return last == 0 and old == old_root and new == head.root


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()
