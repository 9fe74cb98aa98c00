"""The files that key holder, prober and comparer exchange: a head in JSON, a signature where there is one, and parts.

The head lists size and SHA-256 of each part, so a signature over the head holds for all and for their order.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from crimeface_lib.core.errors import InputError, IntegrityError
from crimeface_lib.core.hashing import canonical_json, sha256_bytes

MARK = b"crimeface he v1\n"
_SIGNATURE = 64

Source = bytes | str | Path


class Opened(NamedTuple):
    """A file, its hashes checked. ``name`` is the SHA-256 of the whole."""

    head: dict[str, Any]
    parts: list[bytes]
    signature: bytes
    name: str


def pack(
    kind: str, said: dict[str, Any], parts: Sequence[bytes], *, signing_key: Ed25519PrivateKey | None = None
) -> bytes:
    """Return the bytes of a file: mark, length of the head, head, signature (zeros where unsigned), parts."""
    listed = [[len(part), sha256_bytes(part)] for part in parts]
    head = canonical_json({**said, "kind": kind, "parts": listed})
    signature = signing_key.sign(MARK + head) if signing_key else bytes(_SIGNATURE)
    return b"".join([MARK, len(head).to_bytes(4, "big"), head, signature, *parts])


def unpack(source: Source, kind: str, *, verify_key: Ed25519PublicKey | None = None) -> Opened:
    """Return what ``pack`` wrote, its signature checked where a key is given.

    Raises
    ------
    IntegrityError : another file, one of another kind, changed, cut, or not signed by that key.
    """
    data = source if isinstance(source, bytes) else Path(source).read_bytes()
    changed = f"the {kind} was changed or cut; get the file again"
    if not data.startswith(MARK):
        raise IntegrityError(f"not a file of ours, expected the {kind} and no other file")
    start = len(MARK) + 4
    end = start + int.from_bytes(data[start - 4 : start], "big")
    try:
        head = json.loads(data[start:end])
        listed = [(int(size), str(digest)) for size, digest in head["parts"]]
        found = head["kind"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise IntegrityError(changed) from error
    if found != kind:
        raise IntegrityError(f"got a file of kind {found!r}, expected {kind!r}")
    signature, at = data[end : end + _SIGNATURE], end + _SIGNATURE
    if verify_key is not None:
        verify(head, signature, verify_key)
    parts = []
    for size, digest in listed:
        parts.append(data[at : at + size])
        at += size
        if size < 0 or sha256_bytes(parts[-1]) != digest:
            raise IntegrityError(changed)
    if at != len(data):
        raise IntegrityError(changed)
    return Opened(head, parts, signature, sha256_bytes(data))


def verify(head: dict[str, Any], signature: bytes, key: Ed25519PublicKey) -> None:
    """Check the signature over a head.

    Raises
    ------
    IntegrityError : it is not that of ``key``, or the head was changed.
    """
    try:
        key.verify(signature, MARK + canonical_json(head))
    except (InvalidSignature, ValueError, TypeError) as error:
        raise IntegrityError(
            "not signed by this key holder, or changed since; get file and verify key again"
        ) from error


def public_key(text: str) -> Ed25519PublicKey:
    """Return the key of ``KeyRing.verify_key``.

    Raises
    ------
    InputError : not 64 hexadecimal digits.
    """
    try:
        return Ed25519PublicKey.from_public_bytes(bytes.fromhex(text))
    except ValueError as error:
        raise InputError(f"verify_key: got {text[:16]!r}…, expected the 64 digits of KeyRing.verify_key") from error
