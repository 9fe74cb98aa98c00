"""What touches content, records and ledger at once: intake, alteration, erasure.

Each leaves a mark before it begins, and is done when its event is in the ledger. ``recover`` undoes what has no event
yet and completes what has one, so that after a death at any point the store is as before or as after.
All is to be called under the store's lock.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from crimeface_lib.core.clock import Clock, to_iso
from crimeface_lib.core.errors import CrimefaceError, RefusedError
from crimeface_lib.evidence.custody import Custody
from crimeface_lib.evidence.intake import Incoming, opened
from crimeface_lib.evidence.items import INTAKE
from crimeface_lib.evidence.metadata import read_metadata
from crimeface_lib.evidence.records import Records, Row
from crimeface_lib.storage import Vault


@dataclass(frozen=True, slots=True)
class _Prepared:
    """An item that is stored and has no event yet; ``row`` is another item's, if that has the same content."""

    row: Row
    twin: bool


_Plan: TypeAlias = list[_Prepared | CrimefaceError | OSError]


class Changes:
    """The three changes and their recovery."""

    def __init__(self, records: Records, vault: Vault, custody: Custody, clock: Clock) -> None:
        self._records, self._vault, self._custody, self._clock = records, vault, custody, clock

    def enter(
        self, incoming: Sequence[Incoming], *, actor: str, purpose: str
    ) -> Sequence[Row | CrimefaceError | OSError]:
        """Take things in; return the row of each, or why it can't be: marks, contents and records, events, marks."""
        begun = self._records.begin(len(incoming))
        try:
            plan: _Plan = []
            with self._records.indexed():
                for row, thing in zip(begun, incoming, strict=True):
                    try:
                        plan.append(self._prepare(row, thing, plan))
                    except (CrimefaceError, OSError) as error:
                        plan.append(error)
            ready = [step for step in plan if isinstance(step, _Prepared)]
            self._records.change({step.row["id"]: _addresses(step.row) for step in ready if not step.twin})
            for step in ready:
                self._log_intake(step, actor=actor, purpose=purpose)
            live = {step.row["id"] for step in ready if not step.twin}
            self._records.change({row["id"]: {"state": "live"} if row["id"] in live else None for row in begun})
            if any(isinstance(step, OSError) for step in plan):  # a full disk may have left half of something
                self._sweep()
        except BaseException:
            self.recover()
            raise
        return [step.row if isinstance(step, _Prepared) else step for step in plan]

    def amend(self, row: Row, notes: Mapping[str, Any], *, actor: str, purpose: str) -> None:
        """Put other notes in the place of those that an item has."""
        address, data = self._records.seal(notes)
        self._records.change({row["id"]: {"amending": address}})
        self._vault.put(data)
        self._custody.log("alteration", actor, purpose, [row["item"]], notes=address)
        self.recover()

    def erase(self, row: Row, *, actor: str, purpose: str) -> None:
        """Erase an item for good."""
        self._records.change({row["id"]: {"state": "erasing", "actor": actor, "purpose": purpose}})
        self.recover()

    def recover(self) -> None:
        """Undo or complete whatever is marked as begun."""
        begun = self._records.begun()
        if not begun:
            return
        events = self._custody.events()
        erased = {item for event in events if event["event"] == "erasure" for item in event["items"]}
        entered = {item for event in events if event["event"] in INTAKE for item in event["items"]}
        altered = {event["notes"] for event in events if event["event"] == "alteration"}
        for row in begun:
            if row["state"] == "erasing":
                if row["item"] not in erased:
                    self._custody.log("erasure", row["actor"], row["purpose"], [row["item"]])
                self._drop(row)
            elif row["state"] == "entering":
                self._records.change({row["id"]: {"state": "live"} if row["item"] in entered else None})
            else:
                new, old = row["amending"], row.get("notes")
                keep, lose = (new, old) if new in altered else (old, new)
                self._records.forget(lose)  # first: a row that no longer names it could not lead a recovery to it
                self._records.change({row["id"]: {"notes": keep, "amending": None}})
        if any(row["state"] == "entering" for row in begun):
            self._sweep()

    def _prepare(self, row: Row, thing: Incoming, before: _Plan) -> _Prepared:
        record = dict(thing.record)
        with opened(thing.source) as file:
            stored = self._vault.put(file)
            record["media_type"], record["metadata"] = read_metadata(file, filename=record.get("filename"))
        content, case = self._records.index(stored.id), record["case"]
        pending = [step.row for step in before if isinstance(step, _Prepared) and not step.twin]
        same = [*self._records.with_content(stored.id), *(r for r in pending if r["content"] == content)]
        for twin in same:
            there = self._records.open(twin["record"])
            if there["case"] != case:
                continue
            if any(there.get(field) != record.get(field) for field in ("kind", "parents", "tool", "process")):
                raise RefusedError(
                    f"this content is item {twin['item']} already, a {there['kind']}; items don't change"
                )
            return _Prepared(twin, twin=True)
        record |= {"sha256": stored.id, "sha512": stored.sha512, "size": stored.size, "added": to_iso(self._clock())}
        address = self._records.store(record)
        notes = self._records.store(thing.notes) if thing.notes else None
        return _Prepared({**row, "record": address, "notes": notes, "content": content}, twin=False)

    def _log_intake(self, step: _Prepared, *, actor: str, purpose: str) -> None:
        parents = self._records.open(step.row["record"])["parents"]
        notes = None if step.twin else step.row["notes"]
        self._custody.log(
            INTAKE[min(len(parents), 2)], actor, purpose, [step.row["item"]],
            commitment=step.row["record"], parents=parents, notes=notes,
        )  # fmt: skip

    def _drop(self, row: Row) -> None:
        """Destroy the content unless another item has it, then notes and record; the tombstone goes last."""
        content = self._records.content(row)
        if content and not self._records.with_content(content):
            self._vault.shred(content)
        self._records.forget(row.get("notes"))
        self._records.forget(row["record"])
        self._records.bury(row)

    def _sweep(self) -> None:
        """Shred what no row leads to."""
        for address in set(self._vault.ids()) - self._records.addresses():
            self._vault.shred(address)


def _addresses(row: Row) -> Row:
    return {field: row[field] for field in ("record", "notes", "content")}
