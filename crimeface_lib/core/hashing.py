"""One way to hash: SHA-256 of bytes, of files, and of records in canonical JSON."""

from __future__ import annotations

import hashlib
import json
from os import PathLike
from typing import Any

_BLOCK = 1 << 20


def sha256_bytes(data: bytes) -> str:
    """Return the hexadecimal SHA-256 of ``data``.

    >>> sha256_bytes(b"")[:8]
    'e3b0c442'
    """
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: str | PathLike[str]) -> str:
    """Return the hexadecimal SHA-256 of a file, read in blocks of 1 MiB."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def canonical_json(record: Any) -> bytes:
    """Return ``record`` as UTF-8 JSON with sorted keys and no spaces; NaN is refused.

    >>> canonical_json({"b": 1, "a": "é"})
    b'{"a":"\\xc3\\xa9","b":1}'
    """
    return json.dumps(record, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def content_hash(record: Any) -> str:
    """Return ``sha256:<hex>`` of the canonical JSON of ``record``."""
    return "sha256:" + sha256_bytes(canonical_json(record))
