"""Small records (metadata, never blobs) behind one Protocol, with TinyDB as the embedded default.

TinyDB as it comes loses data: concurrent writers overwrite each other, and a death in the middle of a write
leaves JSON that may parse and be wrong. Here a file lock covers each whole read-modify-write, the query cache is
off, the next id is computed under the lock and never used twice, and a commit is one atomic rename.
"""

from __future__ import annotations

import copy
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Protocol, TypeAlias, runtime_checkable

from tinydb import TinyDB
from tinydb.storages import Storage
from tinydb.table import Document, Table

from crimeface_lib.core.errors import InputError, IntegrityError, NotFoundError
from crimeface_lib.core.files import write_atomic
from crimeface_lib.storage.locking import file_lock, held

_SEQUENCE = "_sequence"  # the last id given out per table: the id of a deleted record never comes back
_Tables: TypeAlias = dict[str, dict[str, Any]]


@runtime_checkable
class DocumentStore(Protocol):
    """Tables of JSON documents with integer ids."""

    def insert(self, table: str, document: Mapping[str, Any]) -> int:
        """Store ``document`` and return its id; ids count up from 1 and are never reused."""
        ...

    def get(self, table: str, id: int) -> dict[str, Any]:
        """Return the document, ``id`` included. Raises NotFoundError."""
        ...

    def find(self, table: str, **equals: Any) -> list[dict[str, Any]]:
        """Return the documents whose fields equal ``equals``, each with its ``id``, in order of id."""
        ...

    def update(self, table: str, id: int, changes: Mapping[str, Any]) -> dict[str, Any]:
        """Set the fields in ``changes`` and return the whole document. Raises NotFoundError."""
        ...

    def delete(self, table: str, id: int) -> None:
        """Remove the document. Raises NotFoundError."""
        ...

    def transaction(self) -> AbstractContextManager[Any]:
        """Hold the lock for a block that reads and then writes: all of it happens, or, on an error, nothing."""
        ...


class TinyDocuments:
    """A ``DocumentStore`` in one JSON file that several threads and processes may share.

    >>> import tempfile
    >>> store = TinyDocuments.open(Path(tempfile.mkdtemp()) / "records.json")
    >>> store.insert("dpia", {"purpose": "research"})
    1
    >>> store.update("dpia", 1, {"state": "draft"})
    {'purpose': 'research', 'state': 'draft', 'id': 1}
    >>> store.find("dpia", state="approved")
    []
    """

    def __init__(self, path: Path) -> None:
        self._lock = file_lock(path)
        self._database = TinyDB(path, storage=_AtomicJson)

    @classmethod
    def open(cls, path: str | Path) -> TinyDocuments:
        """Open the store at ``path``; the file appears with the first record, readable by its owner only.

        Raises
        ------
        IntegrityError : the file is there and is not a store.
        """
        store = cls(Path(path).resolve())
        store._storage.read()
        return store

    def insert(self, table: str, document: Mapping[str, Any]) -> int:
        """Store ``document`` and return its id; ids count up from 1 and are never reused."""
        if "id" in document:
            raise InputError(
                f"{table}: got a document with an id ({document['id']}); the store gives ids, leave it out"
            )
        plain = _plain(table, document)
        with self.transaction():
            rows, sequence = self._table(table), Table(self._storage, _SEQUENCE, cache_size=0)
            last = dict(sequence.get(doc_id=1) or {})
            new = int(last.get(table, 0)) + 1
            rows.insert(Document(plain, doc_id=new))
            sequence.upsert(Document(last | {table: new}, doc_id=1))
        return new

    def get(self, table: str, id: int) -> dict[str, Any]:
        """Return the document, ``id`` included.

        Raises
        ------
        NotFoundError : no such id in this table.
        """
        found = self._table(table).get(doc_id=id)
        if found is None:
            raise NotFoundError(f"no document {id} in table {table!r}; find({table!r}) lists what there is")
        return _with_id(found)

    def find(self, table: str, **equals: Any) -> list[dict[str, Any]]:
        """Return the documents whose fields equal ``equals``, each with its ``id``, in order of id."""
        wanted = _plain(table, equals)
        missing = object()
        found = [row for row in self._table(table) if all(row.get(k, missing) == v for k, v in wanted.items())]
        return [_with_id(row) for row in sorted(found, key=lambda row: row.doc_id)]

    def update(self, table: str, id: int, changes: Mapping[str, Any]) -> dict[str, Any]:
        """Set the fields in ``changes`` and return the whole document.

        Raises
        ------
        NotFoundError : no such id in this table.
        InputError : ``changes`` would give the document another id.
        """
        if changes.get("id", id) != id:
            raise InputError(f"{table}: got id {changes['id']} for document {id}; an id can't be changed")
        plain = _plain(table, {k: v for k, v in changes.items() if k != "id"})
        with self.transaction():
            self.get(table, id)
            self._table(table).update(plain, doc_ids=[id])
            return self.get(table, id)

    def delete(self, table: str, id: int) -> None:
        """Remove the document.

        Raises
        ------
        NotFoundError : no such id in this table.
        """
        with self.transaction():
            self.get(table, id)
            self._table(table).remove(doc_ids=[id])

    @contextmanager
    def transaction(self) -> Iterator[TinyDocuments]:
        """Hold the lock for a block that reads and then writes; an error inside undoes the whole block.

        A transaction inside another one joins it.
        """
        if self._storage.active:
            yield self
            return
        with held(self._lock):
            self._storage.begin()
            try:
                yield self
                self._storage.commit()
            finally:
                self._storage.end()

    @property
    def _storage(self) -> _AtomicJson:
        storage = self._database.storage
        assert isinstance(storage, _AtomicJson)
        return storage

    def _table(self, name: str) -> Table:
        if not name or name.startswith("_"):
            raise InputError(f"got table name {name!r}, expected a word that does not start with an underscore")
        return Table(self._storage, name, cache_size=0)  # fresh: remembers neither results nor ids


class _AtomicJson(Storage):
    """The file: read whole; written whole, at the end of a transaction, by an atomic rename."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._thread = threading.local()

    @property
    def active(self) -> bool:
        """Whether this thread is inside a transaction."""
        return getattr(self._thread, "tables", None) is not None

    def begin(self) -> None:
        self._thread.tables = self._load()
        self._thread.changed = False

    def commit(self) -> None:
        if self._thread.changed:
            data = json.dumps(self._thread.tables, ensure_ascii=False, allow_nan=False).encode()
            write_atomic(self._path, data, mode=None if self._path.exists() else 0o600)

    def end(self) -> None:
        self._thread.tables = None

    def read(self) -> _Tables:
        return self._thread.tables if self.active else self._load()

    def write(self, data: _Tables) -> None:
        assert self.active, "a write outside of a transaction"
        # as the file will hold it: ids are text
        self._thread.tables = {table: {str(i): row for i, row in rows.items()} for table, rows in data.items()}
        self._thread.changed = True

    def _load(self) -> _Tables:
        if not self._path.exists():
            return {}
        try:
            tables = json.loads(self._path.read_bytes())
        except ValueError as error:
            raise IntegrityError(f"{self._path.name} is not JSON ({error}); restore it from a backup") from error
        if not isinstance(tables, dict) or not all(isinstance(rows, dict) for rows in tables.values()):
            raise IntegrityError(f"{self._path.name} holds no tables; restore it from a backup")
        return tables


def _plain(table: str, document: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of ``document`` as it will come back from the file, or say why it can't be stored."""
    try:
        plain: dict[str, Any] = json.loads(json.dumps(dict(document), allow_nan=False))
    except (TypeError, ValueError) as error:
        raise InputError(f"{table}: {error}; documents hold what JSON holds, see core.results.to_plain") from error
    return plain


def _with_id(document: Document) -> dict[str, Any]:
    return copy.deepcopy(dict(document)) | {"id": document.doc_id}
