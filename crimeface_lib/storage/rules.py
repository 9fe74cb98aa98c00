"""What a document is, and when two values are equal: the same for every store."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from crimeface_lib.core.errors import InputError, NotFoundError
from crimeface_lib.core.hashing import canonical_json, sha256_bytes


def checked_table(name: str) -> str:
    """Return ``name`` if a table may be called so."""
    if not name or name.startswith("_") or not name.isprintable() or len(name) > 100:
        raise InputError(f"got table name {name!r}, expected a short word that does not start with an underscore")
    return name


def plain_document(table: str, document: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of ``document`` as it will come back from the store, or say why it can't be stored."""
    checked_table(table)
    if "id" in document:
        raise InputError(f"{table}: got a document with an id ({document['id']}); the store gives ids, leave it out")
    try:
        plain: dict[str, Any] = json.loads(text := json.dumps(dict(document), allow_nan=False))
        json.dumps(plain, ensure_ascii=False).encode()  # half a surrogate pair is no text
        if json.dumps(plain) != text:
            raise ValueError("two keys of one object become the same text")
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(f"{table}: {error}; documents hold what JSON holds, see core.results.to_plain") from error
    return plain


def plain_changes(table: str, id: int, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``changes`` to document ``id`` as ``plain_document`` does; its own id may be among them."""
    if changes.get("id", id) != id:
        raise InputError(f"{table}: got id {changes['id']} for document {id}; an id can't be changed")
    return plain_document(table, {name: value for name, value in changes.items() if name != "id"})


def equality_key(value: Any) -> str:
    """Return a short text that two values share if they are the same JSON value.

    >>> equality_key(1) == equality_key(1.0), equality_key(1) == equality_key(True)
    (True, False)
    """
    text = canonical_json(_whole(value))
    return text.decode() if len(text) <= 64 else "#" + sha256_bytes(text)


def no_document(table: str, id: int) -> NotFoundError:
    """Return the error for a missing document."""
    return NotFoundError(f"no document {id} in table {table!r}; find({table!r}) lists what there is")


def _whole(value: Any) -> Any:
    """Return ``value`` with each float that is a whole number as an int."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [_whole(one) for one in value]
    return {name: _whole(one) for name, one in value.items()} if isinstance(value, dict) else value
