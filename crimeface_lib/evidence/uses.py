"""The verbs that show items or pass them on, and what may be seen of custody; each use of an item is one event."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path

from filelock import FileLock

from crimeface_lib.core.errors import InputError
from crimeface_lib.evidence.custody import Custody, require
from crimeface_lib.evidence.items import CustodyRecord, EvidenceItem, ItemList, Lineage
from crimeface_lib.evidence.records import Records, Row
from crimeface_lib.storage import Vault


class Uses:
    """Base of ``EvidenceStore``: what changes no item."""

    _records: Records
    _vault: Vault
    _custody: Custody
    _lock: FileLock

    def get(self, id: str, *, actor: str, purpose: str) -> bytes:
        """Return the content of an item; a consultation.

        Raises
        ------
        NotFoundError : no such item, or it was erased.
        IntegrityError : the content is not what came in.
        """
        return self._vault.read(self._use("consultation", id, actor=actor, purpose=purpose)["sha256"])

    def disclose(self, id: str, *, actor: str, purpose: str, recipient: str) -> bytes:
        """Return the content of an item to be passed on to ``recipient``; a disclosure. Raises as ``get`` does."""
        require(recipient=recipient)
        record = self._use("disclosure", id, actor=actor, purpose=purpose, recipient=recipient)
        return self._vault.read(record["sha256"])

    def copy_to(self, id: str, path: str | Path, *, actor: str, purpose: str, recipient: str | None = None) -> Path:
        """Write the content of an item to the new file ``path``, however large it is.

        A disclosure if there is a ``recipient``, else a consultation. Raises as ``get`` does.
        """
        if os.path.lexists(path):
            raise InputError(f"{Path(path).name} exists already; give a file that does not")
        event = "consultation" if recipient is None else "disclosure"
        record = self._use(event, id, actor=actor, purpose=purpose, recipient=recipient)
        return self._vault.open_to(record["sha256"], path)

    def item(self, id: str, *, actor: str, purpose: str) -> EvidenceItem:
        """Return what is recorded of an item; a consultation.

        Raises
        ------
        NotFoundError : no such item, or it was erased.
        """
        self._use("consultation", id, actor=actor, purpose=purpose)
        return self._records.item(self._records.row(id))

    def list(
        self,
        *,
        actor: str,
        purpose: str,
        case: str | None = None,
        kind: str | None = None,
        tag: str | None = None,
        hash: str | None = None,
        text: str | None = None,
        media_type: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> ItemList:
        """Return the items that fit everything asked for; a consultation of what is recorded of them.

        Parameters
        ----------
        hash : how a SHA-256 or SHA-512 begins.
        text : a part of description, name or file name, in any case of letters.
        media_type : how it begins, e.g. ``image/``.
        since, until : bounds on when it came in; ``until`` is the first moment too late.
        """
        require(actor=actor, purpose=purpose)
        rows = self._records.live()
        wanted = ItemList(tuple(map(self._records.item, rows))).select(
            case=case, kind=kind, tag=tag, hash=hash, text=text, media_type=media_type, since=since, until=until
        )
        self._custody.log("consultation", actor, purpose, [item.id for item in wanted])
        return wanted

    def lineage(self, id: str, *, actor: str, purpose: str) -> Lineage:
        """Return what an item was made from, and what was made from it; a consultation of all of them."""
        require(actor=actor, purpose=purpose)
        self._records.row(id)
        items = {item.id: item for item in map(self._records.item, self._records.live())}
        parents = {event["items"][0]: tuple(event["parents"]) for event in self._custody.state().intake.values()}
        family = Lineage.of(id, parents=parents, items=items)
        self._custody.log("consultation", actor, purpose, [*family.items])
        return family

    def custody(self, id: str | None = None) -> CustodyRecord:
        """Return all events, or those of one item, erased ones included."""
        return CustodyRecord(self._custody.events(id))

    def holders(self, id: str) -> tuple[str, ...]:
        """Return who holds an item, as the ledger says; nobody may edit that."""
        return self._custody.holders(id)

    def _use(self, event: str, id: str, *, actor: str, purpose: str, recipient: str | None = None) -> Row:
        """Log a use of an item, then return its record."""
        require(actor=actor, purpose=purpose)
        record = self._records.record(id)
        self._custody.log(event, actor, purpose, [id], recipient=recipient)
        return record
