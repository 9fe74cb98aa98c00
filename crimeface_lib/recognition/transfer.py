"""A watchlist as one file, to hand over: its records sealed under a transfer key, its head first.

The head says how many records there are and what they add up to, so a line that was cut off, added, changed or
exchanged is noticed before anything is taken in.
"""

from __future__ import annotations

import itertools
import json
import os
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from crimeface_lib.core.errors import InputError, IntegrityError, NotFoundError
from crimeface_lib.core.files import sync_directory
from crimeface_lib.core.hashing import sha256_file
from crimeface_lib.core.results import Result
from crimeface_lib.core.types import Float32Array
from crimeface_lib.recognition.records import Records, require_whole
from crimeface_lib.recognition.rotation import Rotation, turn, turn_back
from crimeface_lib.recognition.sealed import Entry, Head, Seals
from crimeface_lib.recognition.search import Progress

_FORMAT = "crimeface watchlist package 1"


@dataclass(frozen=True, slots=True)
class Transfer(Result):
    """What was handed over.

    Parameters
    ----------
    entries : written, or taken in. present : were on the list already. expired : were left out, as their time is up.
    sha256 : of the package, for the records of both sides. Records have other names in it, and others on each list.
    """

    entries: int
    present: int
    expired: int
    sha256: str


def export_records(records: Records, path: Path, *, key: bytes, rotation: Rotation | None, today: date) -> Transfer:
    """Write the entries that have not expired; see ``Watchlist.export``."""
    seals = Seals(key)

    def read(head: Head | None) -> tuple[Head, int, list[dict[str, Any]]]:
        if head is None or not len(head):
            raise InputError("got an empty watchlist, expected entries to export")
        require_whole(records.walk(head, lambda record: records.verify(record, head=head)), head, "refuse")
        given = replace(head, rotation="", days={}, total=0)
        live = ((entry, template) for _, entry, template in records.open_all(head) if entry.expires >= today)
        sealed = [seals.seal(_renamed(one), turn_back(row[None], rotation)[0], head=given) for one, row in live]
        return given.changed(seals.mark(record, head=given) for record in sealed), len(head), sealed

    given, count, sealed = records.steady(read)
    digest = _write_package(path, given, sealed, seals=seals)
    return Transfer(entries=len(sealed), present=0, expired=count - len(sealed), sha256=digest)


def import_records(
    records: Records,
    path: Path,
    *,
    key: bytes,
    rotation: Rotation | None,
    today: date,
    batch: int,
    progress: Progress | None,
) -> Transfer:
    """Take in the entries of a package; see ``Watchlist.import_package``."""
    seals = Seals(key)
    given = _read_head(path, seals=seals)
    records.fitting(given, given.dimension, rotation)  # before anything is written

    def label(entry: Entry) -> tuple[str, str]:
        return records.seals.label("item", entry.item), records.seals.label("subject", entry.subject)

    items = {label(entry)[0] for entry, _ in _read_entries(path, given, seals=seals)}  # opens each once, too
    there, last = records.found("item", items)
    seen = {(record["item"], record["who"]) for record in there}
    entries, done, counts = _read_entries(path, given, seals=seals), 0, {"entries": 0, "present": 0, "expired": 0}
    while some := list(itertools.islice(entries, batch)):
        live = {label(entry): (entry, row) for entry, row in some if entry.expires >= today}
        new = [(_renamed(one), turn(row[None], rotation)[0]) for name, (one, row) in live.items() if name not in seen]
        seen |= set(live)
        with records.transaction():
            head = records.fitting(given, given.dimension, rotation)
            added, last = records.write(head, new, after=last)
        done += len(some)
        counts["entries"] += added
        counts["present"] += len(live) - added
        counts["expired"] += len(some) - len(live)
        if progress is not None:
            progress(done, len(given))
    return Transfer(**counts, sha256=sha256_file(path))


def _renamed(entry: Entry) -> Entry:
    """Return the entry under a new name of its record: that stands in clear, and would link lists to each other."""
    return replace(entry, record=secrets.token_hex(12))


def _write_package(path: Path, head: Head, records: Iterable[dict[str, Any]], *, seals: Seals) -> str:
    """Write the package whole or not at all, readable by its owner only; return its SHA-256."""
    if path.exists():
        raise InputError(f"got {path.name}, which is there already; name a new file")
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        with os.fdopen(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w", encoding="utf-8") as file:
            file.write(json.dumps({"format": _FORMAT, "head": seals.seal_head(head)}) + "\n")
            for record in records:
                file.write(json.dumps(record) + "\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
    sync_directory(path.parent)
    return sha256_file(path)


def _read_head(path: Path, *, seals: Seals) -> Head:
    """Return what a package is of.

    Raises
    ------
    NotFoundError : no such file. InputError : not a package. IntegrityError : another key, or it was cut or changed.
    """
    head = _first(path, seals)
    seen = Head(head.embedder, head.version, head.dimension, head.rotation)
    seen = seen.changed(seals.mark(record, head=head) for record in _lines(path))
    if (seen.days, seen.total) != (head.days, head.total):
        raise IntegrityError(
            f"{path.name}: got {len(seen)} records, expected {len(head)} others; it was cut or changed: copy it again"
        )
    return head


def _read_entries(path: Path, head: Head, *, seals: Seals) -> Iterator[tuple[Entry, Float32Array]]:
    """Yield each entry with its template, (D,) float32."""
    for record in _lines(path):
        template = np.zeros(head.dimension, dtype=np.float32)
        seals.open_into(template, record, head=head)
        yield seals.about(record, head=head), template


def _first(path: Path, seals: Seals) -> Head:
    if not path.is_file():
        raise NotFoundError(f"no file {path.name}; expected a package that crimeface watchlist export wrote")
    with path.open("rb") as file:
        try:
            first = json.loads(file.readline())
            known = first["format"] == _FORMAT
        except (ValueError, KeyError, TypeError, RecursionError):
            known = False
    if not known:
        raise InputError(f"{path.name} is no watchlist package of this version; crimeface watchlist export writes one")
    return seals.open_head(first.get("head"))


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open("rb") as file:
        for number, line in enumerate(file):
            if number:
                try:
                    record = json.loads(line)
                    record |= {"id": f"in line {number + 1}"}
                except (ValueError, TypeError, RecursionError) as error:
                    raise IntegrityError(
                        f"package {path.name}: line {number + 1} was cut or changed; copy it again"
                    ) from error
                yield record
