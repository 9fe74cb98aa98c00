"""Small records (metadata, never blobs) behind one Protocol, with TinyDB as the embedded default.

TinyDB as it comes loses data: concurrent writers overwrite each other, and a death in the middle of a write
leaves JSON that may parse and be wrong. Here a file lock covers each whole read-modify-write, the query cache is
off, the next id is computed under the lock and never used twice, and a commit is one atomic rename.

That file is read and written whole at each change: good for some thousand records. For more, or for several machines,
``open_documents`` takes the URL of a database, which behaves the same (see ``sql.py``).
"""

from __future__ import annotations

import copy
import json
import logging
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Protocol, TypeAlias, runtime_checkable

from tinydb import TinyDB
from tinydb.storages import Storage
from tinydb.table import Document, Table

from crimeface_lib.core.errors import InputError, IntegrityError
from crimeface_lib.core.files import remove_leftovers, write_atomic
from crimeface_lib.core.plugins import load_backend
from crimeface_lib.storage.locking import file_lock, held
from crimeface_lib.storage.modes import refuse_others
from crimeface_lib.storage.rules import checked_table, equality_key, no_document, plain_changes, plain_document
from crimeface_lib.storage.schema import back_up, drop_backups, migrated, refuse_newer

_SEQUENCE = "_sequence"  # the last id given out per table: the id of a deleted record never comes back
_SCHEMA = "_schema"
_FORMAT = 1
_LARGE = 16 << 20  # bytes; writing such a file takes some 0.2 s at each change
_Tables: TypeAlias = dict[str, dict[str, Any]]

_log = logging.getLogger(__name__)


@runtime_checkable
class DocumentStore(Protocol):
    """Tables of JSON documents with integer ids."""

    def insert(self, table: str, document: Mapping[str, Any]) -> int:
        """Store ``document`` and return its id; ids count up from 1 and are never reused."""
        ...

    def insert_many(self, table: str, documents: Iterable[Mapping[str, Any]]) -> list[int]:
        """Store all of ``documents``, or none, and return their ids; much faster than one by one."""
        ...

    def get(self, table: str, id: int) -> dict[str, Any]:
        """Return the document, ``id`` included. Raises NotFoundError."""
        ...

    def find(self, table: str, **equals: Any) -> list[dict[str, Any]]:
        """Return the documents whose fields equal ``equals``, each with its ``id``, in order of id.

        Equal is what JSON calls equal: 1 and 1.0 are, 1 and true aren't, and a missing field equals nothing.
        """
        ...

    def pages(self, table: str, *, after: int = 0) -> Iterator[list[dict[str, Any]]]:
        """Yield the documents whose id is above ``after``, in order of id, some thousand at a time at most."""
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


def open_documents(place: str | Path, *, space: str = "main") -> DocumentStore:
    """Open the store at ``place``: a JSON file, or a database ``sqlite:///…`` or ``postgresql+psycopg://…``.

    Parameters
    ----------
    space : keeps stores that share one database apart; a JSON file is one space.

    Raises
    ------
    MissingBackendError : a database needs ``pip install 'crimeface-lib[postgres]'``.
    InputError, IntegrityError : not a place for a store, or what is there is none.
    """
    if "://" in str(place):
        store: DocumentStore = load_backend("stores", "sql").open(str(place), space=space)
        return store
    if space != "main":
        raise InputError(f"got space {space!r} for a JSON file, expected a database URL; give each space a file")
    return TinyDocuments.open(place)


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

        A file of an older format, or of TinyDB itself, is migrated and a backup kept.

        Raises
        ------
        IntegrityError : the file is there and is not a store.
        InputError : a newer crimeface wrote it.
        RefusedError : everybody may read it.
        """
        path = Path(path).resolve()
        refuse_others(path, bits=0o007)
        store = cls(path)
        if path.exists() and _format(store._storage.read()) < _FORMAT:
            with store.transaction():
                store._storage.migrate()
        return store

    def insert(self, table: str, document: Mapping[str, Any]) -> int:
        """Store ``document`` and return its id; ids count up from 1 and are never reused."""
        return self.insert_many(table, [document])[0]

    def insert_many(self, table: str, documents: Iterable[Mapping[str, Any]]) -> list[int]:
        """Store all of ``documents``, or none, and return their ids; the file is written once."""
        plain = [plain_document(table, document) for document in documents]
        with self.transaction():
            rows, sequence = self._table(table), Table(self._storage, _SEQUENCE, cache_size=0)
            last = dict(sequence.get(doc_id=1) or {})
            first = int(last.get(table, 0)) + 1
            new = list(range(first, first + len(plain)))
            if new:
                rows.insert_multiple(Document(one, doc_id=id) for id, one in zip(new, plain, strict=True))
                sequence.upsert(Document(last | {table: new[-1]}, doc_id=1))
        return new

    def get(self, table: str, id: int) -> dict[str, Any]:
        """Return the document, ``id`` included.

        Raises
        ------
        NotFoundError : no such id in this table.
        """
        found = self._table(table).get(doc_id=id)
        if found is None:
            raise no_document(table, id)
        return _with_id(found)

    def find(self, table: str, **equals: Any) -> list[dict[str, Any]]:
        """Return the documents whose fields equal ``equals``, each with its ``id``, in order of id."""
        wanted = plain_document(table, equals)
        keys = {field: equality_key(value) for field, value in wanted.items()}

        def fits(row: Document) -> bool:
            # Python's == is quick and too generous: it takes 1 for true
            return all(f in row and row[f] == v and equality_key(row[f]) == keys[f] for f, v in wanted.items())

        found = [row for row in self._table(table) if fits(row)]
        return [_with_id(row) for row in sorted(found, key=lambda row: row.doc_id)]

    def pages(self, table: str, *, after: int = 0) -> Iterator[list[dict[str, Any]]]:
        """Yield the documents whose id is above ``after``, in order of id: all at once, as the file is read whole."""
        rows = self._storage.read().get(checked_table(table), {})
        ids = sorted(id for id in map(int, rows) if id > after)
        if ids:
            yield [copy.deepcopy(rows[str(id)]) | {"id": id} for id in ids]

    def update(self, table: str, id: int, changes: Mapping[str, Any]) -> dict[str, Any]:
        """Set the fields in ``changes`` and return the whole document.

        Raises
        ------
        NotFoundError : no such id in this table.
        InputError : ``changes`` would give the document another id.
        """
        plain = plain_changes(table, id, changes)
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
            self._storage.forget_backups()

    def tables(self) -> dict[str, tuple[int, dict[int, dict[str, Any]]]]:
        """Return all there is: for each table the last id that was given, and the documents by id."""
        content = self._storage.read()
        last = content.get(_SEQUENCE, {}).get("1", {})
        names = sorted({name for name in content if not name.startswith("_")} | set(last))
        rows = {name: {int(id): row for id, row in content.get(name, {}).items()} for name in names}
        return {name: (int(last.get(name, 0)), rows[name]) for name in names}

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
        return Table(self._storage, checked_table(name), cache_size=0)  # fresh: remembers neither results nor ids


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
        self._thread.changed = self._thread.forget = False

    def commit(self) -> None:
        if not self._thread.changed:
            return
        remove_leftovers(self._path)
        self._thread.tables.setdefault(_SCHEMA, {"1": {"version": _FORMAT}})
        data = json.dumps(self._thread.tables, ensure_ascii=False, allow_nan=False).encode()
        write_atomic(self._path, data, mode=None if self._path.exists() else 0o600)
        if self._thread.forget:
            drop_backups(self._path)
        if len(data) > _LARGE:
            _log.warning(
                "a document store of %d MB is written whole at each change; set CRIMEFACE_DOCUMENTS to a database",
                len(data) >> 20,
            )

    def forget_backups(self) -> None:
        """Let the backups of a migration go with this commit: a record in them was deleted."""
        self._thread.forget = True

    def migrate(self) -> None:
        """Bring what this transaction loaded to the present format, and keep the file as it was."""
        if (found := _format(self._thread.tables)) < _FORMAT:  # else another process was faster
            back_up(self._path, found)
            self.write(migrated(self._thread.tables, _MIGRATIONS, found=found, current=_FORMAT))

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
        except (ValueError, RecursionError) as error:
            raise IntegrityError(f"{self._path.name} is not JSON ({error}); restore it from a backup") from error
        if not isinstance(tables, dict) or not all(map(_is_table, tables.values())):
            raise IntegrityError(f"{self._path.name} holds no tables; restore it from a backup")
        refuse_newer(self._path.name, _format(tables), _FORMAT)
        return tables


def _is_table(rows: object) -> bool:
    return isinstance(rows, dict) and all(id.isdecimal() and isinstance(row, dict) for id, row in rows.items())


def _format(tables: _Tables) -> Any:
    return tables.get(_SCHEMA, {}).get("1", {}).get("version", 0)


def _from_tinydb(tables: _Tables) -> _Tables:
    """0 → 1: a file of TinyDB itself, or ours before it said its format; no id in it may be given again."""
    used = {name: max((int(id) for id in rows), default=0) for name, rows in tables.items() if name[:1] != "_"}
    given = tables.get(_SEQUENCE, {}).get("1", {})
    last = {name: max(used.get(name, 0), int(given.get(name, 0))) for name in {**used, **given}}
    return {**tables, _SEQUENCE: {"1": last}, _SCHEMA: {"1": {"version": 1}}}


_MIGRATIONS = {0: _from_tinydb}


def _with_id(document: Document) -> dict[str, Any]:
    return copy.deepcopy(dict(document)) | {"id": document.doc_id}
