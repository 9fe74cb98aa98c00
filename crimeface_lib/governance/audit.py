"""The audit log: who did what when, in hashes and ids, on a ledger that shows tampering.

A fact is a number, a hash, a date or an id. Names of people, sentences, images and file paths are refused at
the door, so that the log can be kept and shown when the case data are long gone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeAlias

from crimeface_lib.core.clock import from_iso
from crimeface_lib.core.errors import InputError, IntegrityError, NotFoundError
from crimeface_lib.core.results import Result
from crimeface_lib.storage.ledger import Ledger

if TYPE_CHECKING:
    import pandas as pd

Fact: TypeAlias = str | int | float | bool | Sequence[str | int] | None

_EVENT = re.compile(r"[a-z]+(\.[a-z_]+)+")
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:+@-]{0,127}")
_IMAGE = re.compile(r"\.(jpe?g|png|gif|bmp|tiff?|webp|heic|mp4|obj|glb|ply)$", re.IGNORECASE)
#: A fact with such a name would hold what the log must never hold.
_FORBIDDEN = re.compile(r"(^|_)(name|path|file|filename|folder|face|image|photo|password|token|passphrase|key)$")


def check_id(value: object, *, name: str = "id") -> str:
    """Return ``value`` if it is an id: letters, digits and ``. _ : + @ -``, at most 128.

    Raises
    ------
    InputError : a path, a sentence, an image's file name, or no text at all.

    >>> check_id("sha256:00ff")
    'sha256:00ff'
    """
    if not isinstance(value, str) or not _ID.fullmatch(value) or _IMAGE.search(value):
        raise InputError(
            f"{name}: got {type(value).__name__} that is no id, expected letters, digits and . _ : + @ - "
            "(no spaces, no slashes, no image file); give an id or a hash"
        )
    return value


@dataclass(frozen=True, slots=True)
class AuditEvent(Result):
    """One line of the log; ``index`` is its place in the ledger."""

    index: int
    at: datetime
    event: str
    actor: str
    facts: dict[str, Any]


@dataclass(frozen=True, slots=True)
class AuditEvents(Result):
    """A selection of the log, oldest first."""

    events: tuple[AuditEvent, ...]

    def __len__(self) -> int:
        return len(self.events)

    def __iter__(self) -> Iterator[AuditEvent]:
        return iter(self.events)

    def to_frame(self) -> pd.DataFrame:
        """Return one row an event: index, at, event, actor, facts (as ``key=value`` words)."""
        import pandas as pd

        rows = [
            (e.index, e.at, e.event, e.actor, " ".join(f"{key}={_word(value)}" for key, value in e.facts.items()))
            for e in self.events
        ]
        return pd.DataFrame(rows, columns=["index", "at", "event", "actor", "facts"])


class AuditLog:
    """Events on a ledger.

    Parameters
    ----------
    ledger : an open ``storage.Ledger``; its checkpoints prove the log to a third party.
    """

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger

    def record(self, event: str, *, actor: str, at: datetime, **facts: Fact) -> int:
        """Append one event and return its index.

        Parameters
        ----------
        event : dotted lower-case words, e.g. ``dpia.approved``.
        actor : account id of who did it.
        facts : numbers, hashes, dates and ids, or flat lists of them.

        Raises
        ------
        InputError : a fact that could hold a name, a sentence, an image or a path.
        """
        if not _EVENT.fullmatch(event):
            raise InputError(f"event: got {event!r}, expected dotted lower-case words such as dpia.approved")
        return self.ledger.append(
            {"event": event, "actor": check_id(actor, name="actor"), **_check_facts(facts)}, at=at
        )

    def events(self, event: str = "", *, since: int = 0) -> AuditEvents:
        """Return the events whose name starts with ``event``, from ledger index ``since`` on.

        Entries that others put on the same ledger have no event and are left out.
        """
        return AuditEvents(
            tuple(
                AuditEvent(e.pop("index"), from_iso(e.pop("at")), e.pop("event"), e.pop("actor"), e)
                for e in self.ledger.entries(since)
                if "event" in e and e["event"].startswith(event)
            )
        )

    def search(
        self,
        event: str = "",
        *,
        actor: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        **facts: Fact,
    ) -> AuditEvents:
        """Return the events that agree with everything given, oldest first.

        Parameters
        ----------
        event : how the event's name starts: ``policy.`` finds grants and refusals.
        since, until : first moment, and first moment no more.
        facts : fact → value: ``dpia=3``, ``run="20260110-120000-recognise"``; a list agrees if it holds the value.
        """

        def agrees(found: AuditEvent) -> bool:
            return (
                (actor is None or found.actor == actor)
                and (since is None or found.at >= since)
                and (until is None or found.at < until)
                and all(_agrees(found.facts.get(key), value) for key, value in facts.items())
            )

        return AuditEvents(tuple(found for found in self.events(event) if agrees(found)))

    def show(self, index: int) -> AuditEvent:
        """Return the event at a place of the ledger.

        Raises
        ------
        NotFoundError : no event stands there.
        """
        found = next(iter(self.events(since=index)), None) if index >= 0 else None
        if found is None or found.index != index:
            raise NotFoundError(f"no event {index} in the audit log of {len(self.ledger)} entries")
        return found

    def start_use(
        self,
        *,
        actor: str,
        at: datetime,
        permit: str,
        reference_sha256: str,
        input_sha256: Sequence[str],
        reviewers: Sequence[str] = (),
    ) -> int:
        """Record that a search or prediction starts, and return the index that ``end_use`` takes.

        Parameters
        ----------
        permit : content hash of the DPIA that allows it.
        reference_sha256 : of the reference database (gallery, event table) as it is now.
        input_sha256 : of each probe or input.
        reviewers : account ids of the people who will decide.
        """
        facts = {"permit": permit, "reference_sha256": reference_sha256, "input_sha256": list(input_sha256)}
        return self.record("use.started", actor=actor, at=at, **facts, reviewers=list(reviewers))

    def end_use(self, use: int, *, actor: str, at: datetime, outcome: str, output_sha256: Sequence[str] = ()) -> int:
        """Record how the use that began at index ``use`` ended: ``completed``, ``failed`` or ``refused``."""
        if outcome not in ("completed", "failed", "refused"):
            raise InputError(f"outcome: got {outcome!r}, expected completed, failed or refused")
        return self.record("use.ended", actor=actor, at=at, use=use, outcome=outcome, output_sha256=list(output_sha256))


class LatestEvents:
    """The last event of a family by one of its facts; reads only what was added since it last looked.

    Parameters
    ----------
    event : how the names of the family start. key : the fact; None keeps one last event for the whole family.
    """

    def __init__(self, audit: AuditLog, event: str, *, key: str | None = None) -> None:
        self._audit, self._event, self._key = audit, event, key
        self._last: dict[Any, AuditEvent] = {}
        self._read_to = 0

    def of(self, value: Any = None) -> AuditEvent | None:
        """Return the last event whose fact is ``value``, or None.

        Raises
        ------
        IntegrityError : the log became shorter, or what was added is not signed by its key.
        """
        size = len(self._audit.ledger)  # raises if the log became shorter
        if size > self._read_to:
            self._audit.ledger.check_head()
        for found in self._audit.events(self._event, since=self._read_to) if size > self._read_to else ():
            self._last[found.facts.get(self._key) if self._key else None] = found
        self._read_to = size
        return self._last.get(value)


class LoggedAccounts:
    """Roles and person of each account as the audit log has them: records that say something else count for nothing."""

    def __init__(self, audit: AuditLog) -> None:
        self._audit = audit
        self._added = LatestEvents(audit, "people.added", key="account")
        self._changed = LatestEvents(audit, "people.roles_set", key="account")

    def person(self, account: str) -> str:
        """Return the person behind an account."""
        return str(self._logged(account).facts["person"])

    def check(self, record: dict[str, Any]) -> dict[str, Any]:
        """Return ``record`` of an account if the log has it so.

        Raises
        ------
        IntegrityError : it was added, or its roles or person were changed, in the records only.
        """
        account = record["user"]
        added, changed = self._logged(account), self._changed.of(account)
        last = changed if changed is not None and changed.index > added.index else added
        if (record["person"], record["roles"]) != (added.facts["person"], last.facts["roles"]):
            raise IntegrityError(
                f"account {account}: roles or person are not those in the audit log; an admin sets them anew: "
                f"crimeface people role {account} --role ROLE"
            )
        return record

    def check_new(self, account: str, person: str, records: Sequence[Mapping[str, Any]]) -> None:
        """Check that an account may stand beside those in ``records``.

        Raises
        ------
        InputError : it or its person differs from another in case only, and would be taken for it.
        IntegrityError : there are no records, and the log shows that there were.
        """
        known = {text.casefold(): text for record in records for text in (record["user"], record["person"])}
        for text in (account, person):
            if known.get(text.casefold(), text) != text:
                raise InputError(f"got {text!r}, which differs from {known[text.casefold()]!r} in case only; use that")
        added = self._audit.events("people.added") if not records else ()
        if any(found.facts["account"] != account for found in added):  # the first alone may have been cut short
            raise IntegrityError("the records of the accounts are gone, and the audit log has some; restore a backup")

    def _logged(self, account: str) -> AuditEvent:
        if (added := self._added.of(account)) is None:
            raise IntegrityError(f"account {account}: the audit log shows nobody who added it; delete its record")
        return added


def _agrees(got: Any, wanted: Fact) -> bool:
    return got == wanted or (isinstance(got, list) and wanted in got)


def _word(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def _check_facts(facts: dict[str, Fact]) -> dict[str, Any]:
    checked: dict[str, Any] = {}
    for key, value in facts.items():
        if _FORBIDDEN.search(key):
            raise InputError(f"fact {key!r}: the log holds no names, faces, paths or secrets; give an id or a hash")
        if isinstance(value, list | tuple):
            checked[key] = [v if isinstance(v, int) else check_id(v, name=key) for v in value]
        elif value is None or isinstance(value, bool | int | float):
            checked[key] = value
        else:
            checked[key] = check_id(value, name=key)
    return checked
