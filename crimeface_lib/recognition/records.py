"""The sealed records of one watchlist in a document store: found by label, walked through, counted by their head."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any, Protocol, TypeVar

import numpy as np

from crimeface_lib.core.errors import InputError, IntegrityError, NotFoundError, RefusedError, ShapeError
from crimeface_lib.core.types import Float32Array
from crimeface_lib.recognition.rotation import Rotation
from crimeface_lib.recognition.sealed import Entry, Head, Seals, open_first_format
from crimeface_lib.storage import DocumentStore, TinyDocuments

Record = dict[str, Any]
T = TypeVar("T")
#: Entries that one JSON file may hold: it is written whole at each change.
JSON_LIMIT = 10_000
_TABLE, _HEAD = "entries", "head"
_TRIES = 3  # to read while others write, before they are kept from it
_FEW = 8  # labels that are looked up one by one; for more, all records are walked through once


class Made(Protocol):
    """What says which model and version its templates are of."""

    @property
    def embedder(self) -> str: ...

    @property
    def version(self) -> str: ...


class Records:
    """What a ``Watchlist`` reads and writes; every method that does both is one transaction."""

    def __init__(self, store: DocumentStore, *, key: bytes) -> None:
        self.seals, self._store = Seals(key), store
        self._upgrade(key)

    def transaction(self) -> AbstractContextManager[Any]:
        """Hold the lock of the store for a block."""
        return self._store.transaction()

    def head(self) -> Head | None:
        """Return what the list is of, None before the first entry.

        Raises
        ------
        IntegrityError : another key, or the head was altered or taken away.
        """
        found = self._store.find(_HEAD)
        if found:
            return self.seals.open_head(found[0].get("sealed"))
        if next(self._store.pages(_TABLE), None) is not None:
            raise IntegrityError("watchlist: its head is missing; restore it from a backup")
        return None

    def steady(self, read: Callable[[Head | None], T]) -> T:
        """Return what ``read`` makes of the list as it was at one time, while others may write.

        Raises
        ------
        IntegrityError : as ``head``, and what ``read`` raises of a list that nobody changed meanwhile.
        """
        for _ in range(_TRIES):
            head = self.head()
            try:
                found = read(head)
            except IntegrityError:
                if self.head() == head:
                    raise
            else:
                if self.head() == head:
                    return found
        with self.transaction():
            return read(self.head())

    def fitting(self, made: Made, dimension: int, rotation: Rotation | None) -> Head:
        """Return the head, a new one for an empty list.

        Raises
        ------
        RefusedError : the list holds templates of another model. ShapeError : of another dimension.
        """
        head = self.head()
        if head is None or not len(head):
            return Head(made.embedder, made.version, dimension, "" if rotation is None else rotation.id)
        _require_fit(head, made, dimension)
        return head

    def found(self, field: str, labels: set[str], *, after: int = 0) -> tuple[list[Record], int]:
        """Return the records whose ``field`` is one of ``labels``, behind the record ``after``; none is opened.

        Returns them, and the last record that was looked at.
        """
        if len(labels) <= _FEW:
            few = [one for label in sorted(labels) for one in self._store.find(_TABLE, **{field: label})]
            return [one for one in few if one["id"] > after], after
        records: list[Record] = []
        for page in self._store.pages(_TABLE, after=after):
            records += (record for record in page if record.get(field) in labels)
            after = page[-1]["id"]
        return records, after

    def walk(self, head: Head, visit: Callable[[Record], object]) -> tuple[str, ...]:
        """Call ``visit`` with each record in order; return what is damaged (it raised), missing or put back."""
        wrong, marks = [], []
        for record in (one for page in self._store.pages(_TABLE) for one in page):
            try:
                mark = self.seals.mark(record, head=head)
                visit(record)
            except IntegrityError:
                wrong.append(f"{record['id']} ({record.get('record', 'without a name')})")
            else:
                marks.append(mark)
        seen = replace(head, days={}, total=0).changed(marks)
        missing = len(head) - len(seen) - len(wrong)
        if missing > 0:
            wrong.append("1 that is missing" if missing == 1 else f"{missing:,} that are missing")
        elif missing < 0 or (not wrong and seen != head):
            wrong.append("some that had been removed and are back")
        return tuple(wrong)

    def verify(self, record: Record, *, head: Head) -> None:
        """Open both boxes of a record. Raises IntegrityError."""
        self.seals.open_about(record, head=head)
        self.seals.open_into(np.zeros(head.dimension, dtype=np.float32), record, head=head)

    def open_all(self, head: Head) -> Iterator[tuple[Record, Entry, Float32Array]]:
        """Yield each record with its entry and template.

        Raises
        ------
        IntegrityError : one is damaged; ``walk`` says which others.
        """
        for record in (one for page in self._store.pages(_TABLE) for one in page):
            template = np.zeros(head.dimension, dtype=np.float32)
            self.seals.open_into(template, record, head=head)
            yield record, self.seals.about(record, head=head), template

    def write(self, head: Head, new: Sequence[tuple[Entry, Float32Array]], *, after: int) -> tuple[int, int]:
        """Write entries with their templates, but for those that somebody wrote after the record ``after``.

        Returns how many were written, and the last record there is.
        """
        if isinstance(self._store, TinyDocuments) and len(head) + len(new) > JSON_LIMIT:
            raise InputError(
                f"got {len(head) + len(new):,} entries, a JSON file holds up to {JSON_LIMIT:,}; set "
                "CRIMEFACE_DOCUMENTS to a database, or give one as documents=open_documents('sqlite:///…')"
            )
        records = [self.seals.seal(entry, template, head=head) for entry, template in new]
        meanwhile, after = self.found("item", {record["item"] for record in records}, after=after)
        there = {(record["item"], record["who"]) for record in meanwhile}
        records = [record for record in records if (record["item"], record["who"]) not in there]
        ids = self._store.insert_many(_TABLE, records)
        self.put_head(head.changed(self.seals.mark(record, head=head) for record in records))
        return len(records), max([after, *ids])

    def past(self, day: int) -> list[Record]:
        """Return the sound records whose last day was before ``day``; no other is looked at."""
        head, found = self.head(), []
        for last in sorted(head.days) if head is not None else ():
            for record in self._store.find(_TABLE, ends=self.seals.day_label(last)) if last < day else ():
                try:
                    assert head is not None
                    self.seals.about(record, head=head)
                except IntegrityError:
                    continue  # it may be another's, put there to have it deleted
                found.append(record)
        return found

    def delete(self, records: Iterable[Record]) -> int:
        """Delete records that were opened before; return how many."""
        head, marks = self.head(), []
        for record in records:
            assert head is not None
            self._store.delete(_TABLE, record["id"])
            marks.append(self.seals.mark(record, head=head))
        if head is not None and marks:
            self.put_head(head.changed(marks, sign=-1))
        return len(marks)

    def by_name(self, name: str) -> Record:
        """Return the record called ``name``. Raises NotFoundError, or IntegrityError if it is damaged."""
        head, found = self.head(), self._store.find(_TABLE, record=name)
        if head is None or not found:
            raise NotFoundError(f"no record {name!r} in this watchlist")
        self.seals.about(found[0], head=head)
        return found[0]

    def forget_damaged(self) -> tuple[str, ...]:
        """Delete what can't be read and count anew what is left; return what was wrong."""
        with self.transaction():
            head = self.head()
            if head is None or not (wrong := self.walk(head, lambda record: self.verify(record, head=head))):
                return ()
            kept = []
            for record in [one for page in self._store.pages(_TABLE) for one in page]:
                try:
                    self.verify(record, head=head)
                    kept.append(self.seals.mark(record, head=head))
                except IntegrityError:
                    self._store.delete(_TABLE, record["id"])
            self.put_head(replace(head, days={}, total=0).changed(kept))
        return wrong

    def reseal(self, head: Head, seals: Seals, turned: Callable[[Float32Array], Float32Array], *, rotation: str) -> int:
        """Seal every record anew, its template turned; return how many."""
        new, marks = replace(head, rotation=rotation, days={}, total=0), []
        for record, entry, template in self.open_all(head):
            fresh = seals.seal(entry, turned(template[None])[0], head=new)
            self._store.update(_TABLE, record["id"], fresh)
            marks.append(seals.mark(fresh, head=new))
        old, self.seals = self.seals, seals
        try:
            self.put_head(new.changed(marks))
        except BaseException:
            self.seals = old
            raise
        return len(marks)

    def put_head(self, head: Head) -> None:
        sealed, found = {"sealed": self.seals.seal_head(head)}, self._store.find(_HEAD)
        if found:
            self._store.update(_HEAD, found[0]["id"], sealed)
        else:
            self._store.insert(_HEAD, sealed)

    def _upgrade(self, key: bytes) -> None:
        """Seal the records of the first format anew; all of them or none."""
        if self._store.find(_HEAD) or not (old := self._store.find(_TABLE)) or "ends" in old[0]:
            return
        with self.transaction():
            if self._store.find(_HEAD):
                return  # another process was faster
            opened = [open_first_format(record, key) for record in self._store.find(_TABLE)]
            entry, template = opened[0]
            head = Head(entry.embedder, entry.version, len(template))
            for entry, template in opened:
                _require_fit(head, entry, len(template))
            for record in self._store.find(_TABLE):
                self._store.delete(_TABLE, record["id"])
            records = [self.seals.seal(entry, template, head=head) for entry, template in opened]
            self._store.insert_many(_TABLE, records)
            self.put_head(head.changed(self.seals.mark(record, head=head) for record in records))


def _require_fit(head: Head, made: Made, dimension: int) -> None:
    same_model("watchlist", (head.embedder, head.version), made)
    if dimension != head.dimension:
        raise ShapeError(f"watchlist: got templates of {dimension} numbers, expected {head.dimension}")


def same_model(what: str, known: tuple[str, str], given: Made) -> None:
    """Refuse templates of another model or version."""
    if known != (given.embedder, given.version):
        raise RefusedError(
            f"{what}: got templates of {given.embedder} {_short(given.version)}, expected {known[0]} "
            f"{_short(known[1])}; templates of different models can't be compared: embed again with the same one"
        )


def _short(version: str) -> str:
    weights, plus, rest = version.partition("+")
    return weights[:12] + plus + rest


def require_whole(wrong: tuple[str, ...], head: Head, damaged: str) -> None:
    """Refuse to go on with damaged records, unless the caller chose to."""
    if damaged not in ("refuse", "skip"):
        raise InputError(f"damaged: got {damaged!r}, expected refuse or skip")
    if wrong and damaged == "refuse":
        first = ", ".join(wrong[:5]) + (" …" if len(wrong) > 5 else "")
        raise IntegrityError(
            f"watchlist: {len(wrong):,} of {len(head):,} records can't be read, altered, exchanged or missing: record "
            f"{first}; restore them from a backup, or go on without them: damaged='skip'"
        )
