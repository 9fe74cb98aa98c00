"""Records of items, kept as encrypted objects: on disk in plain sight are opaque ids and states, nothing else.

What came in (``record``) and what is said of it (``notes``) are two objects of the vault, each a salt and canonical
JSON. An object's address is the SHA-256 of its content, so it is at the same time the commitment that the ledger
holds; and to shred the object is to make commitment and record say nothing.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeAlias

from crimeface_lib.core.errors import IntegrityError, NotFoundError
from crimeface_lib.core.hashing import canonical_json
from crimeface_lib.evidence.custody import State
from crimeface_lib.evidence.items import EvidenceItem
from crimeface_lib.storage import DocumentStore, KeyRing, Vault

Row: TypeAlias = dict[str, Any]
#: Hears how many items were looked at, of how many.
Tell: TypeAlias = Callable[[int, int], object]
_TABLE, _TOMBSTONES = "item", "tombstone"
_SALT = 32


class Records:
    """The table of items. Each row has ``item`` (opaque id), ``state`` and the addresses ``record`` and ``notes``.

    ``content`` is a keyed hash of what the item holds, to find twins without opening every record.
    """

    def __init__(self, documents: DocumentStore, vault: Vault, keys: KeyRing) -> None:
        self.documents, self._vault = documents, vault
        self._key = keys.derive("evidence index")
        self._by_content: dict[str, list[Row]] | None = None
        self._opened: dict[str, tuple[str, Row]] = {}  # by address: what is there can't change

    def seal(self, value: Mapping[str, Any]) -> tuple[str, bytes]:
        """Return ``value`` with a new salt, as it is to be stored, after its address."""
        data = secrets.token_bytes(_SALT) + canonical_json(value)
        return hashlib.sha256(data).hexdigest(), data

    def store(self, value: Mapping[str, Any]) -> str:
        """Store ``value`` with a new salt and return its address."""
        return self._vault.put(self.seal(value)[1]).id

    def open(self, address: str) -> Row:
        """Return the value that lies at an address."""
        return self.opening(address)["value"]

    def opening(self, address: str) -> Row:
        """Return salt and value, with which anybody can check the commitment."""
        if address not in self._opened:
            data = self._vault.read(address)
            self._opened[address] = (data[:_SALT].hex(), json.loads(data[_SALT:]))
        salt, value = self._opened[address]
        return {"salt": salt, "value": value}

    def forget(self, address: str | None) -> None:
        """Shred what lies at an address."""
        if address is not None:
            self._opened.pop(address, None)
            if self._vault.exists(address):
                self._vault.shred(address)

    def begin(self, count: int) -> list[Row]:
        """Insert rows for items that are about to come in."""
        with self.documents.transaction():
            ids = [secrets.token_hex(16) for _ in range(count)]
            return [
                {"item": item, "id": self.documents.insert(_TABLE, {"item": item, "state": "entering"})} for item in ids
            ]

    def change(self, changes: Mapping[int, Mapping[str, Any] | None]) -> None:
        """Change rows, or delete those whose change is None, all at once."""
        with self.documents.transaction():
            for id, change in changes.items():
                if change is None:
                    self.documents.delete(_TABLE, id)
                else:
                    self.documents.update(_TABLE, id, change)

    def bury(self, row: Row) -> None:
        """Put a tombstone in the place of a row."""
        with self.documents.transaction():
            self.documents.delete(_TABLE, row["id"])
            self.documents.insert(_TOMBSTONES, {"item": row["item"]})

    def begun(self) -> list[Row]:
        """Return the rows of whatever was begun and not ended."""
        return [row for row in self.documents.find(_TABLE) if row["state"] != "live" or row.get("amending")]

    def live(self) -> list[Row]:
        """Return the rows of the items that are here."""
        return self.documents.find(_TABLE, state="live")

    def row(self, id: str) -> Row:
        """Return the row of an item.

        Raises
        ------
        NotFoundError : no such item, or it was erased.
        """
        if found := self.documents.find(_TABLE, item=id, state="live"):
            return found[0]
        if self.documents.find(_TOMBSTONES, item=id):
            raise NotFoundError(f"item {id} was erased; its custody shows what remains")
        raise NotFoundError(f"no item {id!r}; list shows what there is")

    @contextmanager
    def indexed(self) -> Iterator[None]:
        """Read all rows once, so that ``with_content`` is quick for a block that looks for many and writes none."""
        self._by_content = defaultdict(list)
        for row in self.live():
            self._by_content[row["content"]].append(row)
        try:
            yield
        finally:
            self._by_content = None

    def with_content(self, sha256: str) -> list[Row]:
        """Return the rows of all items that have this content."""
        if self._by_content is not None:
            return self._by_content.get(self.index(sha256), [])
        return self.documents.find(_TABLE, content=self.index(sha256), state="live")

    def index(self, sha256: str) -> str:
        """Return what stands for a hash in the rows."""
        return hmac.new(self._key, sha256.encode(), hashlib.sha256).hexdigest()

    def addresses(self) -> set[str]:
        """Return the addresses of all objects that some row needs."""
        needed: set[str] = set()
        for row in self.documents.find(_TABLE):
            needed.update(row[field] for field in ("record", "notes", "amending") if row.get(field))
            if row["state"] != "entering" and (content := self.content(row)):
                needed.add(content)
        return needed

    def content(self, row: Row) -> str | None:
        """Return the address of what an item holds; None once its record is shredded, which happens last."""
        return str(self.open(row["record"])["sha256"]) if self._vault.exists(row["record"]) else None

    def migrate(self) -> None:
        """Bring rows of the first form, which had their record in plain sight, into the vault."""
        for row in self.documents.find(_TABLE):
            if isinstance(record := row.get("record"), dict):
                address = self._vault.put(bytes.fromhex(row["salt"]) + canonical_json(record)).id
                content = self.index(record["sha256"])
                self.change({row["id"]: {"record": address, "content": content, "salt": None}})

    def record(self, id: str) -> Row:
        """Return what came in as an item. Raises as ``row``."""
        return self.open(self.row(id)["record"])

    def item(self, row: Row) -> EvidenceItem:
        """Return the item of a row."""
        notes = self.open(row["notes"]) if row.get("notes") else {}
        return EvidenceItem.from_record(row["item"], self.open(row["record"]), notes)

    def openings(self, row: Row) -> Row:
        """Return record and notes of an item with the salts that open the ledger's commitments."""
        return {kind: self.opening(row[kind]) for kind in ("record", "notes") if row.get(kind)}

    def parent(self, parent: str, *, case: str | None) -> str:
        """Return the id of the item that has this id or SHA-256; the one of the same case before others.

        Raises
        ------
        NotFoundError : there is none.
        """
        rows = [row for row in self.live() if row["item"] == parent] or self.with_content(parent)
        if not rows:
            raise NotFoundError(f"no item has the id or SHA-256 {parent!r}; add the parent first")
        rows.sort(key=lambda row: self.open(row["record"])["case"] != case)
        return str(rows[0]["item"])

    def known(self, sha256: str, *, case: str | None) -> str | None:
        """Return the id of the item of a case that has this content."""
        rows = [row for row in self.with_content(sha256) if self.open(row["record"])["case"] == case]
        return str(rows[0]["item"]) if rows else None

    def check_all(self, state: State) -> int:
        """Compare rows and records with what the ledger says; return the number of items.

        Raises
        ------
        IntegrityError : names the item that is back, strange, gone or changed.
        """
        rows = {row["item"]: row for row in self.live()}
        if back := sorted(state.erased & set(rows)):
            raise IntegrityError(f"item {back[0]} was erased, and its record is back")
        if strange := sorted(set(rows) - set(state.intake)):
            raise IntegrityError(f"item {strange[0]} has a record and never came in")
        if gone := sorted(set(state.intake) - state.erased - set(rows)):
            raise IntegrityError(f"the record of item {gone[0]} is gone without an erasure")
        for id, row in rows.items():
            for kind in ("record", "notes"):
                if row.get(kind) != state.committed.get((id, kind)):
                    raise IntegrityError(f"the {kind} of item {id} is not the one that the ledger commits to")
            try:
                for kind in ("record", "notes"):
                    if row.get(kind):
                        self._vault.verify(row[kind])
                self._vault.describe(self.open(row["record"])["sha256"])
            except NotFoundError as error:
                raise IntegrityError(f"content or record of item {id} is gone without an erasure") from error
            except IntegrityError as error:
                raise IntegrityError(f"item {id}: {error}") from error
        return len(rows)

    def check_contents(self, tell: Tell) -> None:
        """Read every content through; others may bring in and erase meanwhile.

        Raises
        ------
        IntegrityError : names the item whose content was changed or is gone.
        """
        rows = self.live()
        for done, row in enumerate(rows):
            tell(done, len(rows))
            try:
                self._vault.verify(self.open(row["record"])["sha256"])
            except (NotFoundError, IntegrityError) as error:
                if not self.documents.find(_TABLE, item=row["item"], state="live"):
                    continue  # erased since we began
                gone = f"content or record of item {row['item']} is gone without an erasure"
                said = gone if isinstance(error, NotFoundError) else f"item {row['item']}: {error}"
                raise IntegrityError(said) from error
