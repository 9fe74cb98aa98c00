"""Deletion by the schedule: legal holds of cases and things, and what is left of what went.

A hold is placed by one person and released by another. What goes leaves a tombstone: id, category, when and by which
rule, and nothing of what it was. Each erasure, and each refusal because of a hold, is in the audit log.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from crimeface_lib.core.clock import Clock, to_iso
from crimeface_lib.core.errors import CrimefaceError, InputError, NotFoundError, RefusedError
from crimeface_lib.core.hashing import sha256_bytes
from crimeface_lib.core.results import Result
from crimeface_lib.governance.access import People, User
from crimeface_lib.governance.audit import AuditLog
from crimeface_lib.governance.retention import Due, RetentionPlan
from crimeface_lib.storage.documents import DocumentStore

if TYPE_CHECKING:
    import pandas as pd

_HOLDS, _TOMBSTONES = "legal_holds", "tombstones"
_SCOPE = re.compile(r"(case|item):\S.{0,200}")


@dataclass(frozen=True, slots=True)
class Hold(Result):
    """A legal hold: what it keeps (``case:REF`` or ``item:ID``), who placed it and why."""

    id: int
    scope: str
    reason: str
    by: str
    at: str


@dataclass(frozen=True, slots=True)
class Disposal(Result):
    """What an application of the schedule did: ids that went, that a hold kept, and that could not go, with reasons."""

    erased: tuple[str, ...]
    held: tuple[str, ...]
    failed: dict[str, str]

    def to_frame(self) -> pd.DataFrame:
        """Return one row an item: id, outcome, reason."""
        import pandas as pd

        rows = [(id, "erased", "") for id in self.erased] + [(id, "held", "") for id in self.held]
        rows += [(id, "failed", reason) for id, reason in self.failed.items()]
        return pd.DataFrame(rows, columns=["id", "outcome", "reason"])


class Disposer:
    """Legal holds and erasures of a store; use ``Disposer.open``."""

    def __init__(self, store: DocumentStore, *, audit: AuditLog, clock: Clock, people: People) -> None:
        self._store, self._audit, self._clock, self._people = store, audit, clock, people

    @classmethod
    def open(cls, store: DocumentStore, *, audit: AuditLog, clock: Clock, people: People) -> Disposer:
        """Return the disposer whose holds and tombstones lie in ``store``."""
        return cls(store, audit=audit, clock=clock, people=people)

    # -- holds ---------------------------------------------------------------------------------------------
    def hold(self, scope: str, *, reason: str, by: User) -> int:
        """Keep a case (``case:REF``) or a thing (``item:ID``) beyond its period; return the hold's number.

        Raises
        ------
        InputError : another scope, or no reason. RefusedError : the account keeps no evidence.
        """
        if not _SCOPE.fullmatch(scope) or not reason.strip():
            raise InputError(f"hold: got {scope!r}, {reason!r}, expected case:REF or item:ID, and a reason")
        by = self._people.require(by, "keep_evidence")
        record = {
            "scope": scope,
            "reason": reason.strip(),
            "by": by.id,
            "person": by.person,
            "at": to_iso(self._clock()),
        }
        with self._store.transaction():
            id = self._store.insert(_HOLDS, record)
            self._audit.record("hold.placed", actor=by.id, at=self._clock(), hold=id, scope=_digest(scope))
        return id

    def release(self, hold: int, *, by: User) -> None:
        """End a hold.

        Raises
        ------
        RefusedError : ``by`` placed it, under whatever account; the attempt is logged. NotFoundError : no such hold.
        """
        by = self._people.require(by, "keep_evidence")
        with self._store.transaction():
            found = [record for record in self._store.find(_HOLDS) if record["id"] == hold]
            if not found:
                raise NotFoundError(
                    f"no hold {hold}; there are: {', '.join(str(h.id) for h in self.holds()) or 'none'}"
                )
            same = found[0]["person"] == by.person
            if not same:
                self._store.delete(_HOLDS, hold)
                self._audit.record("hold.released", actor=by.id, at=self._clock(), hold=hold)
        if same:
            self._audit.record("hold.refused", actor=by.id, at=self._clock(), hold=hold, reason="same_person")
            raise RefusedError(f"{by.id} placed hold {hold} and can't release it; another person has to")

    def holds(self) -> tuple[Hold, ...]:
        """Return the holds in force."""
        fields = Hold.__dataclass_fields__
        return tuple(Hold(**{k: v for k, v in record.items() if k in fields}) for record in self._store.find(_HOLDS))

    def holds_on(self, id: str, *, case: str | None) -> tuple[str, ...]:
        """Return "hold 3" for each hold on a thing or on its case."""
        scopes = {f"item:{id}"} | ({f"case:{case}"} if case else set())
        return tuple(f"hold {hold.id}" for hold in self.holds() if hold.scope in scopes)

    # -- erasure -------------------------------------------------------------------------------------------
    def dispose(self, plan: RetentionPlan, *, erase: Mapping[str, Callable[[str], None]], actor: str) -> Disposal:
        """Erase what a plan says must go; what a hold keeps is logged as refused, what fails is told, the rest goes on.

        Parameters
        ----------
        erase : category, or what stands before its first dot → function that erases one item by its id.

        A hold that was placed after the plan was made wins too. The tombstone is written first, as "going": after a
        death in between the item is due again, and nothing is gone without a trace.
        """
        erased, held, failed = [], [], {}

        def told(event: str, item: Due, **facts: str) -> None:
            at = self._clock()
            self._audit.record(event, actor=actor, at=at, item=_digest(item.id), category=item.category, **facts)

        for item in plan.items:
            if item.fate == "keep":
                continue
            if item.holds or self.holds_on(item.id, case=item.case):
                told("retention.refused", item, reason="held")
                held.append(item.id)
                continue
            grave = self._bury(item, actor)
            try:
                (erase.get(item.category) or erase[item.category.partition(".")[0]])(item.id)
            except RefusedError:  # the thing's own store knows of a hold that we don't
                self._store.delete(_TOMBSTONES, grave)
                told("retention.refused", item, reason="held")
                held.append(item.id)
            except (CrimefaceError, OSError, LookupError) as error:
                self._store.delete(_TOMBSTONES, grave)
                told("retention.failed", item, reason=type(error).__name__)
                failed[item.id] = f"{type(error).__name__}: {error}"
            else:
                told("retention.erased", item)
                self._store.update(_TOMBSTONES, grave, {"state": "gone"})
                erased.append(item.id)
        return Disposal(tuple(erased), tuple(held), failed)

    def note(self, ids: Sequence[str], *, category: str) -> None:
        """Record that things whose own term was over went when they were opened: tombstones, and one event for all."""
        if not ids:
            return
        at, digests = self._clock(), [_digest(id) for id in ids]
        why = {"why": "its own term is over", "by": "retention", "at": to_iso(at), "state": "gone"}
        with self._store.transaction():
            for digest in digests:
                self._store.insert(_TOMBSTONES, {"item": digest, "category": category, **why})
        self._audit.record("retention.erased", actor="retention", at=at, item=digests, category=category)

    def tombstones(self) -> pd.DataFrame:
        """Return what is left of what went: item (a hash of its id), category, why, by, at, state (going or gone)."""
        import pandas as pd

        columns = ["item", "category", "why", "by", "at", "state"]
        return pd.DataFrame(self._store.find(_TOMBSTONES), columns=["id", *columns])[columns]

    def _bury(self, item: Due, actor: str) -> int:
        about = {"item": _digest(item.id), "category": item.category}
        with self._store.transaction():
            if begun := self._store.find(_TOMBSTONES, **about, state="going"):
                return int(begun[0]["id"])
            why = {"why": item.why, "by": actor, "at": to_iso(self._clock()), "state": "going"}
            return self._store.insert(_TOMBSTONES, {**about, **why})


def _digest(text: str) -> str:
    """Return what log and tombstone keep of an id or a scope: an id may hold a subject's or a case's reference."""
    return "sha256:" + sha256_bytes(text.encode())
