"""The document store in a database: SQLite for many records on one machine, PostgreSQL for several machines.

A document is its JSON text, so that it comes back to the letter. Beside it lies one row per field, its name and the
key of its value: ``find`` is a look-up in an index, not a walk through all documents.

One writer at a time in each space, as in the JSON file: SQLite locks the file when a transaction begins, PostgreSQL
takes an advisory lock that ends with it. Readers see what was committed last. SQLite overwrites with zeros what is
deleted; in PostgreSQL it stays in data files and logs until the server has vacuumed and recycled them, so what must be
erasable goes there encrypted.
"""

from __future__ import annotations

import json
import os
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from crimeface_lib.core.errors import (
    CrimefaceError,
    InputError,
    IntegrityError,
    MissingBackendError,
    NotFoundError,
)
from crimeface_lib.core.hashing import sha256_bytes
from crimeface_lib.storage.documents import TinyDocuments
from crimeface_lib.storage.modes import refuse_others
from crimeface_lib.storage.rules import checked_table, equality_key, no_document, plain_changes, plain_document
from crimeface_lib.storage.schema import back_up, drop_backups, migrated, refuse_newer

_PATIENCE_S = 120
_PAGE = 4096  # documents read at a time
_FORMAT = 1
_MIGRATIONS: dict[int, Callable[[sa.Connection], sa.Connection]] = {}
_NO_SQL = "expected sqlite:///FILE or postgresql+psycopg://USER@HOST/DATABASE"

_metadata = sa.MetaData()
_schema = sa.Table("crimeface_schema", _metadata, sa.Column("version", sa.Integer, nullable=False))
_sequences = sa.Table(
    "crimeface_sequences",
    _metadata,
    sa.Column("collection", sa.Text, primary_key=True),
    sa.Column("last", sa.BigInteger, nullable=False),
)
_documents = sa.Table(
    "crimeface_documents",
    _metadata,
    sa.Column("collection", sa.Text, primary_key=True),
    sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("body", sa.Text, nullable=False),
)
_fields = sa.Table(
    "crimeface_fields",
    _metadata,
    sa.Column("collection", sa.Text, primary_key=True),
    sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("field", sa.Text, primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
    sa.Index("crimeface_fields_by_value", "collection", "field", "value", "id"),
)


class SqlDocuments:
    """A ``DocumentStore`` in one database, which several stores may share, each in a space of its own.

    >>> import tempfile
    >>> store = SqlDocuments.open(f"sqlite:///{tempfile.mkdtemp()}/records.sqlite")
    >>> store.insert_many("dpia", [{"state": "draft"}, {"state": "approved"}])
    [1, 2]
    >>> store.find("dpia", state="approved")
    [{'state': 'approved', 'id': 2}]
    """

    def __init__(self, engine: sa.Engine, *, space: str) -> None:
        self._engine = engine
        self._space = space
        self._thread = threading.local()
        weakref.finalize(self, engine.dispose)

    @classmethod
    def open(cls, url: str, *, space: str = "main") -> SqlDocuments:
        """Open the store ``space`` in the database at ``url``; its tables are made, or migrated, if need be.

        Raises
        ------
        InputError : not a URL of a database that we know, or a newer crimeface made its tables.
        MissingBackendError : the driver is not installed.
        IntegrityError : the file is no database. CrimefaceError : it can't be reached.
        """
        if "/" in checked_table(space):
            raise InputError(f"got space {space!r}, expected a word without a slash")
        engine = _engine(url)
        store = cls(engine, space=space)
        with store._begun(engine.dialect.name + " schema") as connection:
            _prepare(connection, Path(engine.url.database or ""))
        return store

    def __repr__(self) -> str:
        return f"SqlDocuments({self._engine.dialect.name}, space={self._space!r})"

    def close(self) -> None:
        """Give the connections back; the store may be used again."""
        self._engine.dispose()

    def insert(self, table: str, document: Mapping[str, Any]) -> int:
        """Store ``document`` and return its id; ids count up from 1 and are never reused."""
        return self.insert_many(table, [document])[0]

    def insert_many(self, table: str, documents: Iterable[Mapping[str, Any]]) -> list[int]:
        """Store all of ``documents``, or none, and return their ids."""
        plain, collection = [plain_document(table, document) for document in documents], self._collection(table)
        if not plain:
            return []
        with self._writing() as connection:
            insert: Any = sqlite_insert if self._engine.dialect.name == "sqlite" else postgresql_insert
            count = (
                insert(_sequences)
                .values(collection=collection, last=len(plain))
                .on_conflict_do_update(index_elements=["collection"], set_={"last": _sequences.c.last + len(plain)})
            )
            last = connection.execute(count.returning(_sequences.c.last)).scalar_one()
            new = list(range(last - len(plain) + 1, last + 1))
            numbered = list(zip(new, plain, strict=True))
            rows = [{"collection": collection, "id": id, "body": json.dumps(one)} for id, one in numbered]
            connection.execute(sa.insert(_documents), rows)
            index = [row for id, one in numbered for row in _index(collection, id, one)]
            if index:
                connection.execute(sa.insert(_fields), index)
        return new

    def get(self, table: str, id: int) -> dict[str, Any]:
        """Return the document, ``id`` included.

        Raises
        ------
        NotFoundError : no such id in this table.
        """
        collection = self._collection(table)
        if not 0 < id < 1 << 63:
            raise no_document(table, id)
        with self._reading() as connection:
            body = connection.execute(sa.select(_documents.c.body).where(_is(_documents, collection, id))).scalar()
        if body is None:
            raise no_document(table, id)
        return {**json.loads(body), "id": id}

    def find(self, table: str, **equals: Any) -> list[dict[str, Any]]:
        """Return the documents whose fields equal ``equals``, each with its ``id``, in order of id."""
        collection, wanted = self._collection(table), plain_document(table, equals)
        query = sa.select(_documents.c.id, _documents.c.body).where(_documents.c.collection == collection)
        for name, value in wanted.items():
            same = (_fields.c.field == equality_key(name)) & (_fields.c.value == equality_key(value))
            ids = sa.select(_fields.c.id).where((_fields.c.collection == collection) & same)
            query = query.where(_documents.c.id.in_(ids))
        with self._reading() as connection:
            rows = connection.execute(query.order_by(_documents.c.id)).all()
        return [{**json.loads(body), "id": id} for id, body in rows]

    def pages(self, table: str, *, after: int = 0) -> Iterator[list[dict[str, Any]]]:
        """Yield the documents whose id is above ``after``, in order of id, some thousand at a time."""
        query = sa.select(_documents.c.id, _documents.c.body).where(_documents.c.collection == self._collection(table))
        while True:
            with self._reading() as connection:
                page = query.where(_documents.c.id > after).order_by(_documents.c.id).limit(_PAGE)
                rows = connection.execute(page).all()
            if not rows:
                return
            yield [{**json.loads(body), "id": id} for id, body in rows]
            after = rows[-1][0]

    def update(self, table: str, id: int, changes: Mapping[str, Any]) -> dict[str, Any]:
        """Set the fields in ``changes`` and return the whole document.

        Raises
        ------
        NotFoundError : no such id in this table.
        InputError : ``changes`` would give the document another id.
        """
        plain, collection = plain_changes(table, id, changes), self._collection(table)
        with self._writing() as connection:
            whole = {name: value for name, value in self.get(table, id).items() if name != "id"} | plain
            body = sa.update(_documents).where(_is(_documents, collection, id)).values(body=json.dumps(whole))
            connection.execute(body)
            if index := _index(collection, id, plain):
                changed = _fields.c.field.in_([row["field"] for row in index])
                connection.execute(sa.delete(_fields).where(_is(_fields, collection, id) & changed))
                connection.execute(sa.insert(_fields), index)
        return {**whole, "id": id}

    def delete(self, table: str, id: int) -> None:
        """Remove the document.

        Raises
        ------
        NotFoundError : no such id in this table.
        """
        collection = self._collection(table)
        with self._writing() as connection:
            self.get(table, id)
            connection.execute(sa.delete(_fields).where(_is(_fields, collection, id)))
            connection.execute(sa.delete(_documents).where(_is(_documents, collection, id)))
            self._thread.forget = True

    def take_over(self, path: str | Path) -> int:
        """Move the records of the JSON file ``path`` into this space, ids and all; return how many there are.

        The file is renamed to ``<name>.moved``, once they are here. Where that was interrupted, it is finished.

        Raises
        ------
        InputError : this space holds other records. NotFoundError : no such file.
        """
        path = Path(path)
        if not path.exists():
            raise NotFoundError(f"no file {path.name} to move; its records may be here already")
        tables = TinyDocuments.open(path).tables()
        with self._writing() as connection:
            mine = sa.select(_documents.c.collection, _documents.c.id, _documents.c.body)
            found = connection.execute(
                mine.where(_documents.c.collection.startswith(f"{self._space}/", autoescape=True))
            )
            here = {(collection, id): body for collection, id, body in found.all()}
            rows = {(self._collection(name), id): one for name, (_, rows) in tables.items() for id, one in rows.items()}
            if not here:
                last = [{"collection": self._collection(name), "last": last} for name, (last, _) in tables.items()]
                bodies = [{"collection": c, "id": id, "body": json.dumps(one)} for (c, id), one in rows.items()]
                index = [row for (collection, id), one in rows.items() for row in _index(collection, id, one)]
                for table, values in ((_sequences, last), (_documents, bodies), (_fields, index)):
                    if values:
                        connection.execute(sa.insert(table), values)
            elif {key: json.loads(body) for key, body in here.items()} != rows:
                raise InputError(f"this space of the database holds other records than {path.name}; name another one")
        os.replace(path, path.with_name(f"{path.name}.moved"))
        return len(rows)

    @contextmanager
    def transaction(self) -> Iterator[SqlDocuments]:
        """Hold the lock for a block that reads and then writes; an error inside undoes the whole block.

        A transaction inside another one joins it.
        """
        with self._writing():
            yield self

    @contextmanager
    def _writing(self) -> Iterator[sa.Connection]:
        """Yield the connection of this thread's transaction, begun here if there is none."""
        if (mine := getattr(self._thread, "connection", None)) is not None:
            yield mine
            return
        self._thread.forget = False
        with self._begun(self._space) as connection:
            self._thread.connection = connection
            try:
                yield connection
            finally:
                self._thread.connection = None
        if self._thread.forget and self._engine.dialect.name == "sqlite":
            drop_backups(Path(self._engine.url.database or ""))

    @contextmanager
    def _reading(self) -> Iterator[sa.Connection]:
        mine = getattr(self._thread, "connection", None)
        if mine is not None:
            yield mine
        else:
            with _speaking(self._engine), self._engine.connect() as connection:
                yield connection

    @contextmanager
    def _begun(self, lock: str) -> Iterator[sa.Connection]:
        """Yield a connection that is the only one to write in what ``lock`` names; commit, or undo on an error."""
        with _speaking(self._engine), self._engine.connect() as connection:
            if self._engine.dialect.name == "sqlite":
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            else:
                number = int(sha256_bytes(f"crimeface {lock}".encode())[:15], 16)
                connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{_PATIENCE_S}s'")
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(number)))
            yield connection
            connection.commit()

    def _collection(self, table: str) -> str:
        return f"{self._space}/{checked_table(table)}"


def _engine(url: str) -> sa.Engine:
    """Return the engine for ``url``; no error and no log of it shows a password or a document."""
    try:
        parsed = sa.make_url(url)
    except (sa.exc.ArgumentError, ValueError):  # not chained: it may show the password
        raise InputError(f"got a place for documents that is no database URL, {_NO_SQL}") from None
    backend = parsed.get_backend_name()
    if backend not in ("sqlite", "postgresql"):
        raise InputError(f"got a database of kind {backend!r}, {_NO_SQL}")
    if backend == "sqlite" and parsed.database in (None, "", ":memory:"):
        raise InputError(f"got a database without a file, {_NO_SQL}")
    options: dict[str, Any] = {"pool_pre_ping": True}
    if backend == "sqlite":
        path = Path(parsed.database or "").resolve()
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        refuse_others(path, bits=0o007)
        os.close(os.open(path, os.O_CREAT | os.O_RDONLY, 0o600))  # SQLite would let everybody read it
        parsed = parsed.set(database=str(path))
        options = {"poolclass": sa.NullPool, "connect_args": {"timeout": _PATIENCE_S}}
    try:
        engine = sa.create_engine(parsed, hide_parameters=True, **options)
    except ImportError as error:
        remedy = "pip install 'crimeface-lib[postgres]'"
        raise MissingBackendError(f"the driver of {parsed.drivername} is missing: {error}; {remedy}") from error
    except sa.exc.ArgumentError as error:
        raise InputError(f"got a database with the driver {parsed.drivername!r}, {_NO_SQL}") from error
    if backend == "sqlite":
        sa.event.listen(engine, "connect", _careful)
    return engine


def _careful(connection: Any, _: object) -> None:
    """SQLite: we begin transactions ourselves; a commit is on the disk; what was deleted is overwritten."""
    connection.isolation_level = None
    for pragma in ("journal_mode = DELETE", "synchronous = EXTRA", "secure_delete = ON"):
        connection.execute(f"PRAGMA {pragma}").close()


def _prepare(connection: sa.Connection, path: Path) -> None:
    """Make the tables, or bring those of an older format to the present one."""
    if not sa.inspect(connection).has_table(_schema.name):
        _metadata.create_all(connection)
        connection.execute(sa.insert(_schema).values(version=_FORMAT))
        return
    found = refuse_newer("the database", connection.execute(sa.select(_schema.c.version)).scalar(), _FORMAT)
    if found < _FORMAT:
        if connection.dialect.name == "sqlite":  # nobody writes to it now: we hold its lock
            back_up(path, found)
        migrated(connection, _MIGRATIONS, found=found, current=_FORMAT)
        connection.execute(sa.update(_schema).values(version=_FORMAT))


@contextmanager
def _speaking(engine: sa.Engine) -> Iterator[None]:
    """Say what went wrong in the database in our words: without the statement, which holds nothing of use."""
    try:
        yield
    except sa.exc.DBAPIError as error:
        said = str(error.orig).strip().splitlines()[0] if str(error.orig).strip() else type(error.orig).__name__
        if "not a database" in said or "malformed" in said:
            raise IntegrityError(f"the database file is damaged or is none: {said}; restore it from a backup") from None
        raise CrimefaceError(
            f"the {engine.dialect.name} database can't be used: {said}; is it there and free?"
        ) from None


def _is(table: sa.Table, collection: str, id: int) -> sa.ColumnElement[bool]:
    return (table.c.collection == collection) & (table.c.id == id)


def _index(collection: str, id: int, document: Mapping[str, Any]) -> list[dict[str, Any]]:
    row = {"collection": collection, "id": id}
    return [row | {"field": equality_key(name), "value": equality_key(value)} for name, value in document.items()]
