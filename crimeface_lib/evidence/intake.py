"""The evidence store: originals that can't change, derivatives that name their parents, custody of every use.

Content lies encrypted in a vault under its hash. Metadata lies in a document store. Each use is an event in a ledger
that can't be edited, so the ledger holds opaque ids only: the intake event commits to the item's record through a
salted hash, and an erasure destroys record, salt and the content's key. What remains then says that there was an
item, and who did what when, and nothing of what it was.

An intake and an erasure each touch three places. Both leave a mark first, so that one which was interrupted is
undone or completed when the store is opened again.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from crimeface_lib.core.clock import Clock, to_iso, utc_now
from crimeface_lib.core.errors import InputError, IntegrityError, NotFoundError, RefusedError
from crimeface_lib.evidence.items import INTAKE, CustodyRecord, EvidenceItem, EvidenceReport, ItemList, commitment
from crimeface_lib.evidence.package import write_package
from crimeface_lib.storage import Checkpoint, KeyRing, Ledger, TinyDocuments, Vault
from crimeface_lib.storage.locking import file_lock, held
from crimeface_lib.storage.vault import Source

_Row: TypeAlias = dict[str, Any]
_Rows: TypeAlias = list[_Row]  # inside the class, list is a method


class EvidenceStore:
    """Items of evidence with their chain of custody.

    Each method that brings in, reads, passes on or removes content writes exactly one event, with who and for what
    purpose. Events can't be erased: put no names of persons into ``actor``, ``purpose`` or ``recipient`` other than
    those of the staff who act.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> store = EvidenceStore.open(folder / "evidence", keys=KeyRing.open(folder / "keys.json"))
    >>> photo = store.add(b"a photo", actor="ada", purpose="intake", kind="photo", name="AB/1", case="C-7")
    >>> store.get(photo.id, actor="ben", purpose="reconstruction")
    b'a photo'
    >>> list(store.custody(photo.id).to_frame().event)
    ['collection', 'consultation']
    """

    def __init__(self, path: Path, *, keys: KeyRing, clock: Clock) -> None:
        self._clock = clock
        self._documents = TinyDocuments.open(path / "records.json")
        self._vault = Vault.open(path / "vault", keys=keys)
        self._ledger = Ledger.open(path / "custody.jsonl", signing_key=keys.signing_key)
        self._lock = file_lock(path / "evidence")

    @classmethod
    def open(cls, path: str | Path, *, keys: KeyRing, clock: Clock = utc_now) -> EvidenceStore:
        """Open the store in the folder ``path``, made if need be; what was interrupted is undone or completed."""
        path = Path(path).resolve()
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        store = cls(path, keys=keys, clock=clock)
        with held(store._lock):
            store._recover()
        return store

    def add(
        self,
        source: Source,
        *,
        actor: str,
        purpose: str,
        kind: str,
        name: str | None = None,
        case: str | None = None,
        parents: Sequence[str] = (),
        tool: str | None = None,
    ) -> EvidenceItem:
        """Take in an original, or a derivative of items that are here.

        The same content in the same case is one item: it is returned as it was recorded, and the intake is logged.

        Parameters
        ----------
        source : bytes, a path, or a binary file that can seek.
        kind : what it is, e.g. ``photo``.
        name, case : exhibit and case reference.
        parents : ids or SHA-256 of the items that this one was made from.
        tool : name and version of what made a derivative.

        Raises
        ------
        RefusedError : a derivative (it has a tool, or is of kind ``derivative``) without a parent; or the content is
            here already as another kind of thing.
        NotFoundError : a parent is not in the store.
        InputError : no actor, purpose or kind.
        """
        _require(actor=actor, purpose=purpose, kind=kind)
        with held(self._lock):
            ancestors = [self._parent(parent, case=case) for parent in parents]
            if (tool is not None or kind == "derivative") and not ancestors:
                raise RefusedError("got a derivative without a parent; name the ids or hashes of what it was made from")
            row = self._documents.insert("item", {"item": secrets.token_hex(16), "state": "entering"})
            record = _Row(kind=kind, name=name, case=case, parents=ancestors, tool=tool)
            try:
                return self._enter(row, source, actor=actor, purpose=purpose, record=record)
            except BaseException:
                self._recover()
                raise

    def get(self, id: str, *, actor: str, purpose: str) -> bytes:
        """Return the content of an item; a consultation.

        Raises
        ------
        NotFoundError : no such item, or it was erased.
        IntegrityError : the content is not what came in.
        """
        _require(actor=actor, purpose=purpose)
        row = self._row(id)
        self._log("consultation", actor, purpose, [id])
        return self._vault.read(row["record"]["sha256"])

    def disclose(self, id: str, *, actor: str, purpose: str, recipient: str) -> bytes:
        """Return the content of an item to be passed on to ``recipient``; a disclosure. Raises as ``get`` does."""
        _require(actor=actor, purpose=purpose, recipient=recipient)
        row = self._row(id)
        self._log("disclosure", actor, purpose, [id], recipient=recipient)
        return self._vault.read(row["record"]["sha256"])

    def item(self, id: str) -> EvidenceItem:
        """Return what was recorded of an item at intake.

        Raises
        ------
        NotFoundError : no such item, or it was erased.
        """
        return EvidenceItem.from_record(id, self._row(id)["record"])

    def list(self, *, case: str | None = None, kind: str | None = None) -> ItemList:
        """Return the items, all or those of one case or kind."""
        found = [EvidenceItem.from_record(row["item"], row["record"]) for row in self._live()]
        return ItemList(tuple(i for i in found if case in (None, i.case) and kind in (None, i.kind)))

    def hold(self, id: str, *, actor: str, purpose: str) -> None:
        """Forbid the deletion of an item until another person releases it."""
        _require(actor=actor, purpose=purpose)
        with held(self._lock):
            self._row(id)
            self._log("hold", actor, purpose, [id])

    def release(self, id: str, *, actor: str, purpose: str) -> None:
        """End all holds on an item.

        Raises
        ------
        RefusedError : ``actor`` is one of the holders; the attempt is logged.
        InputError : nobody holds it.
        """
        _require(actor=actor, purpose=purpose)
        with held(self._lock):
            self._row(id)
            holders = self.holders(id)
            if not holders:
                raise InputError(f"nobody holds item {id}; there is nothing to release")
            if _person(actor) in map(_person, holders):
                self._log("refusal", actor, purpose, [id], refused="release")
                raise RefusedError(f"{actor} holds item {id} and can't release it; another person has to")
            self._log("release", actor, purpose, [id])

    def holders(self, id: str) -> tuple[str, ...]:
        """Return who holds an item, as the ledger says; nobody may edit that."""
        holders: tuple[str, ...] = ()
        for event in self.custody(id).events:
            if event["event"] == "hold":
                holders = (*holders, event["actor"])
            elif event["event"] == "release":
                holders = ()
        return holders

    def delete(self, id: str, *, actor: str, purpose: str) -> None:
        """Erase an item: destroy the key of its content, its record and the salt; a tombstone remains.

        The content stays where another item, of another case, has the same. Derivatives stay: delete them as well.

        Raises
        ------
        RefusedError : somebody holds the item; the attempt is logged.
        InputError : ``purpose`` repeats the name or the hash of what is to be erased.
        """
        _require(actor=actor, purpose=purpose)
        with held(self._lock):
            row = self._row(id)
            if holders := self.holders(id):
                self._log("refusal", actor, purpose, [id], refused="erasure")
                raise RefusedError(f"item {id} is held by {', '.join(holders)}; another person has to release it first")
            told = [row["record"][field] or "" for field in ("name", "sha256", "sha512")]
            if any(len(word) > 2 and word.casefold() in f"{actor} {purpose}".casefold() for word in told):
                raise InputError("the purpose repeats what is to be erased, and events stay; say it in other words")
            self._documents.update("item", row["id"], {"state": "erasing", "actor": actor, "purpose": purpose})
            self._recover()

    def custody(self, id: str | None = None) -> CustodyRecord:
        """Return all events, or those of one item, erased ones included."""
        events = self._ledger.entries()
        return CustodyRecord(tuple(event for event in events if id is None or id in event["items"]))

    def checkpoint(self) -> Checkpoint:
        """Sign the present state of the ledger. Give it to the reviewer: only outside of the store is it of use.

        The store remembers its size, so that a later package can prove that it continues from here.
        """
        checkpoint = self._ledger.checkpoint(at=self._clock())
        with self._documents.transaction():
            if not self._documents.find("checkpoint", size=checkpoint.size):
                self._documents.insert("checkpoint", {"size": checkpoint.size})
        return checkpoint

    def verify(self, checkpoint: Checkpoint | None = None, *, contents: bool = True) -> EvidenceReport:
        """Check ledger, records and contents against each other, and the ledger against ``checkpoint``.

        Parameters
        ----------
        checkpoint : one that was kept outside; without it a cut or rewritten ledger can't be seen.
        contents : also read every object through.

        Raises
        ------
        IntegrityError : names what differs.
        """
        with held(self._lock):
            report = self._ledger.verify(checkpoint)
            rows = {row["item"]: row for row in self._live()}
            erased = self._check_records(rows)
            hashes = {row["record"]["sha256"] for row in rows.values()}
            for sha256 in sorted(hashes):
                try:
                    if contents:
                        self._vault.verify(sha256)
                    else:
                        self._vault.describe(sha256)
                except NotFoundError as error:
                    raise IntegrityError(f"the content {sha256[:16]}… is gone without an erasure") from error
            unrecorded = len(set(self._vault.ids()) - hashes)
        return EvidenceReport(report.entries, report.root, report.checked_against, len(rows), erased, unrecorded)

    def export(
        self,
        out_dir: str | Path,
        *,
        actor: str,
        purpose: str,
        items: Iterable[str] | None = None,
        recipient: str | None = None,
    ) -> Path:
        """Write items, decrypted, into a new folder that proves itself; a disclosure of all of them.

        ``verify_package`` checks it against a checkpoint that went another way: the file ``ledger/checkpoint.json``
        of this package, handed over separately, or any earlier one that ``checkpoint`` gave.

        Parameters
        ----------
        items : ids; all items by default.
        recipient : who will get it.
        """
        _require(actor=actor, purpose=purpose)
        with held(self._lock):
            rows = self._live() if items is None else [self._row(id) for id in dict.fromkeys(items)]
            if not rows:
                raise InputError("got no items to export; add some, or name those you want")
            ids = [row["item"] for row in rows]
            return write_package(
                Path(out_dir).resolve(),
                rows=rows,
                vault=self._vault,
                ledger=self._ledger,
                proven_sizes=[row["size"] for row in self._documents.find("checkpoint")],
                clock=self._clock,
                log=lambda digest: self._log("disclosure", actor, purpose, ids, recipient=recipient, package=digest),
            )

    def _enter(self, row: int, source: Source, *, actor: str, purpose: str, record: _Row) -> EvidenceItem:
        """Store content, then record, then event; the record's mark goes last."""
        stored = self._vault.put(source)
        twins = [live for live in self._live() if live["record"]["sha256"] == stored.id]
        twin = next((live for live in twins if live["record"]["case"] == record["case"]), None)
        if twin is None:
            item, salt = self._documents.get("item", row)["item"], secrets.token_hex(32)
            record |= {
                "sha256": stored.id,
                "sha512": stored.sha512,
                "size": stored.size,
                "added": to_iso(self._clock()),
            }
            self._documents.update("item", row, {"record": record, "salt": salt})
        else:
            item, salt, there = twin["item"], twin["salt"], twin["record"]
            if any(there[field] != record[field] for field in ("kind", "parents", "tool")):
                raise RefusedError(f"this content is item {item} already, a {there['kind']}; items don't change")
            record = there
        event = INTAKE[min(len(record["parents"]), 2)]
        digest = commitment(record, salt=salt)
        self._log(event, actor, purpose, [item], commitment=digest, parents=record["parents"])
        if twin is None:
            self._documents.update("item", row, {"state": "live"})
        else:
            self._documents.delete("item", row)
        return EvidenceItem.from_record(item, record)

    def _recover(self) -> None:
        """Undo or complete whatever is marked as begun; to be called under the lock."""
        begun = [row for row in self._documents.find("item") if row["state"] != "live"]
        if not begun:
            return
        logged = {(event["event"] == "erasure", item) for event in self._ledger.entries() for item in event["items"]}
        for row in begun:
            if row["state"] == "erasing":
                if (True, row["item"]) not in logged:
                    self._log("erasure", row["actor"], row["purpose"], [row["item"]])
                self._drop(row, sha256=row["record"]["sha256"])
            elif (False, row["item"]) in logged:
                self._documents.update("item", row["id"], {"state": "live"})
            else:
                self._documents.delete("item", row["id"])
                used = {live["record"]["sha256"] for live in self._live()}
                for sha256 in set(self._vault.ids()) - used:
                    self._vault.shred(sha256)

    def _drop(self, row: _Row, *, sha256: str) -> None:
        """Destroy the content unless another item has it, then put the tombstone in the record's place."""
        if not any(live["record"]["sha256"] == sha256 for live in self._live()):
            self._vault.shred(sha256)
        with self._documents.transaction():
            self._documents.delete("item", row["id"])
            self._documents.insert("tombstone", {"item": row["item"]})

    def _check_records(self, rows: dict[str, _Row]) -> int:
        """Compare the records with what the ledger says of them; return the number of erased items."""
        intake: dict[str, _Row] = {}
        erased: set[str] = set()
        for event in self._ledger.entries():
            if event["event"] in INTAKE:
                intake.setdefault(event["items"][0], event)
            elif event["event"] == "erasure":
                erased.update(event["items"])
        for id, row in rows.items():
            if id in erased:
                raise IntegrityError(f"item {id} was erased, and its record is back")
            if id not in intake:
                raise IntegrityError(f"item {id} has a record and never came in")
            if commitment(row["record"], salt=row["salt"]) != intake[id]["commitment"]:
                raise IntegrityError(
                    f"the record of item {id} is not the one that entry {intake[id]['index']} commits to"
                )
        if gone := sorted(set(intake) - erased - set(rows)):
            raise IntegrityError(f"the record of item {gone[0]} is gone without an erasure")
        return len(erased)

    def _live(self) -> _Rows:
        return self._documents.find("item", state="live")

    def _row(self, id: str) -> _Row:
        if found := self._documents.find("item", item=id, state="live"):
            return found[0]
        if self._documents.find("tombstone", item=id):
            raise NotFoundError(f"item {id} was erased; custody({id!r}) shows what remains")
        raise NotFoundError(f"no item {id!r}; list() shows what there is")

    def _parent(self, parent: str, *, case: str | None) -> str:
        found = [row for row in self._live() if parent in (row["item"], row["record"]["sha256"])]
        if not found:
            raise NotFoundError(f"no item has the id or SHA-256 {parent!r}; add the parent first")
        found.sort(key=lambda row: row["record"]["case"] != case)  # the one of the same case first
        return str(found[0]["item"])

    def _log(self, event: str, actor: str, purpose: str, items: Sequence[str], **details: Any) -> int:
        entry = {"event": event, "actor": actor, "purpose": purpose, "items": [*items], **details}
        return self._ledger.append(entry, at=self._clock())


def _require(**texts: str) -> None:
    for name, text in texts.items():
        if not isinstance(text, str) or not text.strip():
            raise InputError(
                f"got {name} {text!r}, expected words; every use of evidence says who and for what purpose"
            )


def _person(actor: str) -> str:
    return actor.strip().casefold()
