"""Changes that one person asks for and another approves, each bound by the hash of what was approved.

asked → approved | rejected. What is asked is a threshold (``governance.thresholds``) or children on a watchlist.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

from crimeface_lib.core.clock import Clock, to_iso
from crimeface_lib.core.errors import InputError, NotFoundError
from crimeface_lib.core.hashing import content_hash
from crimeface_lib.core.results import Result
from crimeface_lib.governance.access import People, User
from crimeface_lib.governance.audit import AuditLog, LatestEvents
from crimeface_lib.storage.documents import DocumentStore

if TYPE_CHECKING:
    import pandas as pd

ChangeKind: TypeAlias = Literal["threshold", "children"]
ChangeState: TypeAlias = Literal["asked", "approved", "rejected"]

_TABLE = "changes"


@dataclass(frozen=True, slots=True)
class Change(Result):
    """What was asked, by whom, and what became of it; ``reason`` of asking, ``answer`` of deciding."""

    id: int
    kind: ChangeKind
    state: ChangeState
    content: dict[str, Any]
    content_hash: str
    asked_by: str
    asked_at: str
    reason: str
    decided_by: str = ""
    decided_at: str = ""
    answer: str = ""


@dataclass(frozen=True, slots=True)
class ChangeList(Result):
    """Every change, oldest first."""

    changes: tuple[Change, ...]

    def __len__(self) -> int:
        return len(self.changes)

    def __iter__(self) -> Iterator[Change]:
        return iter(self.changes)

    def to_frame(self) -> pd.DataFrame:
        """Return one row a change."""
        import pandas as pd

        return pd.DataFrame([c.to_dict() for c in self.changes], columns=list(Change.__dataclass_fields__))


class ChangeRegister:
    """Changes in a document store; use ``ChangeRegister.open``. Each step, and each refusal, is an audit event."""

    def __init__(self, store: DocumentStore, *, audit: AuditLog, clock: Clock, people: People) -> None:
        self._store, self._audit, self._clock, self.people = store, audit, clock, people
        self._logged = LatestEvents(audit, "change.", key="change")

    @classmethod
    def open(cls, store: DocumentStore, *, audit: AuditLog, clock: Clock, people: People) -> ChangeRegister:
        """Return the changes kept in ``store``."""
        return cls(store, audit=audit, clock=clock, people=people)

    def ask(self, kind: ChangeKind, content: Mapping[str, Any], *, reason: str, by: User) -> int:
        """Ask for a change and return its number.

        Raises
        ------
        RefusedError : the account may not ask. InputError : no such kind, or no reason.
        """
        if kind not in get_args(ChangeKind):
            raise InputError(f"change: got {kind!r}, expected one of {', '.join(get_args(ChangeKind))}")
        reason = _said(reason, "reason")
        by, digest = self.people.require(by, "ask_approval"), content_hash(dict(content))
        signed = {"asked_by": by.id, "person": by.person, "asked_at": to_iso(self._clock()), "reason": reason}
        with self._store.transaction():
            record = {"kind": kind, "state": "asked", "content": dict(content), "content_hash": digest, **signed}
            number = self._store.insert(_TABLE, record)
            self._record("asked", by, number, kind=kind, content_hash=digest)
        return number

    def approve(self, change: int, *, answer: str, by: User) -> Change:
        """Approve a change.

        Raises
        ------
        RefusedError : no approver, the person who asked, the only admin, or the change was decided already.
        """
        return self._decide(change, "approved", answer, by)

    def reject(self, change: int, *, answer: str, by: User) -> Change:
        """Reject a change; to be asked for anew."""
        return self._decide(change, "rejected", answer, by)

    def get(self, change: int) -> Change:
        """Return a change.

        Raises
        ------
        NotFoundError : no such change.
        """
        return _change(self._read(change))

    def list(self, *, kind: ChangeKind | None = None) -> ChangeList:
        """Return every change, or those of a kind."""
        found = self._store.find(_TABLE, **({"kind": kind} if kind else {}))
        return ChangeList(tuple(_change(record) for record in found))

    def require(self, change: int, kind: ChangeKind, *, by: User | None = None) -> Change:
        """Return an approved change, checked against its hash and against the audit log.

        Raises
        ------
        RefusedError : not approved, of another kind, or not what was approved.
        """
        actor = by.id if by else "unknown"
        found = next((_change(r) for r in self._store.find(_TABLE) if r["id"] == change), None)
        logged = self._logged.of(change)
        if found is None or found.kind != kind or found.state != "approved":
            state = f"a change of {found.kind} that is {found.state}" if found else "no such change"
            message = f"change {change}: got {state}, expected an approved change of {kind}"
            self.people.refuse(actor, "use_change", "not_approved", message, change=change)
        facts = {"content_hash": content_hash(found.content), "kind": kind}
        if logged is None or logged.event != "change.approved" or not facts.items() <= logged.facts.items():
            message = f"change {change}: it is not what was approved; ask for it anew"
            self.people.refuse(actor, "use_change", "altered", message, change=change)
        return found

    def _decide(self, change: int, state: ChangeState, answer: str, by: User) -> Change:
        answer = _said(answer, "answer")
        with self._store.transaction():
            by = self.people.require(by, "give_approval", change=change)
            record = self._read(change)
            refusals = {
                "state": (record["state"] != "asked", f"it is {record['state']}, expected asked"),
                "own_work": (record["person"] == by.person, "the same person asked for it; another person is needed"),
                "sole_admin": (self.people.is_sole_admin(by.person), "the only admin may not approve; add another"),
            }
            for reason, (refused, why) in refusals.items():
                if refused:
                    message = f"change {change}: {by.id} may not decide on it: {why}"
                    self.people.refuse(by.id, "give_approval", reason, message, change=change)
            digest = content_hash(record["content"])
            self._record(state, by, change, kind=record["kind"], content_hash=digest)
            decided = {"decided_by": by.id, "decided_at": to_iso(self._clock()), "answer": answer}
            self._store.update(_TABLE, change, {"state": state, **decided})
        return self.get(change)

    def _read(self, change: int) -> dict[str, Any]:
        try:
            return self._store.get(_TABLE, change)
        except NotFoundError as error:
            raise NotFoundError(f"no change {change}; crimeface policy changes lists what there is") from error

    def _record(self, step: str, by: User, change: int, **facts: str) -> None:
        self._audit.record(f"change.{step}", actor=by.id, at=self._clock(), change=change, **facts)


def _change(record: Mapping[str, Any]) -> Change:
    return Change(**{key: value for key, value in record.items() if key != "person"})


def _said(text: str, name: str) -> str:
    if not text.strip():
        raise InputError(f"{name}: got nothing, expected a sentence that the next reader can act on")
    return text.strip()
