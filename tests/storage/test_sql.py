"""What is a database's own: death between statements, spaces, formats, what stays on the disk, what errors say."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa

from crimeface_lib.core.errors import (
    CrimefaceError,
    InputError,
    IntegrityError,
    MissingBackendError,
    NotFoundError,
    RefusedError,
)
from crimeface_lib.core.plugins import load_backend
from crimeface_lib.storage import TinyDocuments, open_documents
from crimeface_lib.storage.sql import SqlDocuments

MODULE = SqlDocuments.open.__func__.__globals__  # type: ignore[attr-defined]
databases = pytest.mark.parametrize(
    "place", ["sqlite", pytest.param("postgresql", marks=pytest.mark.xdist_group("postgres"))], indirect=True
)


@databases
def test_spaces_of_one_database_do_not_meet(place: str) -> None:
    one, two = (SqlDocuments.open(place, space=name) for name in ("one", "two"))
    assert [store.insert("case", {"a": name}) for store, name in ((one, "x"), (two, "y"))] == [1, 1]
    one.delete("case", 1)
    assert (one.find("case"), two.find("case")) == ([], [{"a": "y", "id": 1}])
    for space in ("", "_x", "a/b"):
        with pytest.raises(InputError):
            SqlDocuments.open(place, space=space)


@databases
def test_a_file_is_taken_over_with_its_ids(place: str, tmp_path: Path) -> None:
    file = TinyDocuments.open(tmp_path / "records.json")
    file.insert_many("row", [{"a": 1.0}, {"a": "é"}, {"a": None}])
    file.delete("row", 3)
    file.delete("gone", file.insert("gone", {}))
    SqlDocuments.open(place, space="other").insert("row", {})
    store = SqlDocuments.open(place, space="mine%_")
    assert store.take_over(tmp_path / "records.json") == 2
    assert (
        store.find("row")
        == file_rows(tmp_path / "records.json.moved")
        == store.find("row", a=1) + store.find("row", a="é")
    )
    assert (store.insert("row", {}), store.insert("gone", {})) == (4, 2)
    with pytest.raises(NotFoundError, match="may be here already"):
        store.take_over(tmp_path / "records.json")


def file_rows(path: Path) -> list[dict[str, object]]:
    return TinyDocuments.open(path).find("row")


def die_at_statement(last: int, place: str, act: Callable[[SqlDocuments], object]) -> int:
    """Run ``act`` in a child that ends at its ``last`` statement or commit; return its exit status."""
    child = os.fork()
    if child == 0:
        store, left = SqlDocuments.open(place), last

        def boundary(*_: object) -> None:
            nonlocal left
            left -= 1
            if left == 0:
                os._exit(9)

        sa.event.listen(sa.Engine, "before_cursor_execute", boundary)
        sa.event.listen(sa.Engine, "commit", boundary)
        try:
            act(store)
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@databases
@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
def test_after_death_at_any_statement_the_state_is_old_or_new(place: str) -> None:
    SqlDocuments.open(place).insert_many("row", [{"a": letter} for letter in "abc"])
    old = [{"a": "a", "id": 1}, {"a": "b", "id": 2}, {"a": "c", "id": 3}]
    new = [{"a": "Z", "id": 1}, {"a": "c", "id": 3}, {"a": "Z", "id": 4}]

    def act(store: SqlDocuments) -> None:
        with store.transaction():
            store.update("row", 1, {"a": "Z"})
            store.delete("row", 2)
            store.insert("row", {"a": "Z"})

    said, last, status = [], 0, 9
    while status == 9:
        last += 1
        status = die_at_statement(last, place, act)
        store = SqlDocuments.open(place)
        said.append("new" if store.find("row") == new else "old")
        assert store.find("row") == (new if said[-1] == "new" else old)
        assert len(store.find("row", a="Z")) == (2 if said[-1] == "new" else 0), "the index agrees"
    assert status == 0
    assert last > 12
    assert said == ["old"] * (len(said) - 1) + ["new"]


@databases
def test_two_that_open_an_empty_database_at_once_make_one_store(place: str) -> None:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(4) as pool:
        ids = list(pool.map(lambda _: SqlDocuments.open(place).insert("row", {}), range(8)))
    assert sorted(ids) == list(range(1, 9))


@pytest.mark.parametrize(
    "place", [pytest.param("postgresql", marks=pytest.mark.xdist_group("postgres"))], indirect=True
)
def test_a_server_that_drops_the_connection_loses_nothing_but_the_transaction(place: str) -> None:
    store = SqlDocuments.open(place)
    store.insert("row", {"a": 1})

    def dropped() -> None:
        with store.transaction():
            store.insert("row", {"a": 2})
            others = sa.create_engine(place, poolclass=sa.NullPool)
            with others.connect() as connection:
                connection.exec_driver_sql(
                    "select pg_terminate_backend(pid) from pg_stat_activity"
                    " where datname = current_database() and pid <> pg_backend_pid()"
                )
            store.insert("row", {"a": 3})

    with pytest.raises(CrimefaceError, match="postgresql database can't be used"):
        dropped()
    assert store.find("row") == [{"a": 1, "id": 1}]
    assert store.insert("row", {"a": 4}) == 2


@databases
def test_formats(place: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    SqlDocuments.open(place).insert_many("row", [{"a": 1}, {"a": 2}])

    def step(connection: sa.Connection) -> sa.Connection:
        connection.exec_driver_sql("ALTER TABLE crimeface_documents ADD COLUMN note TEXT")
        if fail:
            raise ZeroDivisionError
        return connection

    fail = True
    with monkeypatch.context() as patch:
        patch.setitem(MODULE, "_FORMAT", 2)
        patch.setitem(MODULE["_MIGRATIONS"], 1, step)
        with pytest.raises(ZeroDivisionError):
            SqlDocuments.open(place)
        fail = False
        store = SqlDocuments.open(place)
        assert [row["a"] for row in store.find("row")] == [1, 2]
        backup = tmp_path / "records.sqlite.v1.bak"
        assert backup.exists() is place.startswith("sqlite")
        SqlDocuments.open(place)  # once is enough
        patch.setitem(MODULE, "_FORMAT", 1)
        with pytest.raises(InputError, match="is in format 2, this crimeface reads up to 1"):
            SqlDocuments.open(place)
        if backup.exists():
            kept = SqlDocuments.open(f"sqlite:///{backup}")
            assert [row["a"] for row in kept.find("row")] == [1, 2]
        store.delete("row", 1)
        assert not backup.exists(), "what was deleted lies nowhere else"


def test_sqlite_overwrites_what_is_deleted_and_its_file_is_private(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "records.sqlite"
    store = open_documents(f"sqlite:///{path}")
    new = store.insert_many("case", [{"name": "a canary that sings", "text": "x" * 9000 + "canary"}, {"b": 1}])
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert b"canary" in path.read_bytes()
    store.update("case", new[0], {"name": "other"})
    assert b"a canary that sings" not in path.read_bytes()
    store.delete("case", new[0])
    assert all(b"canary" not in file.read_bytes() for file in path.parent.iterdir())
    path.chmod(0o644)
    with pytest.raises(RefusedError, match="chmod 600"):
        open_documents(f"sqlite:///{path}")


def test_a_file_that_is_no_database_is_said(tmp_path: Path) -> None:
    path = tmp_path / "records.sqlite"
    path.write_bytes(b"no database at all" * 100)
    path.chmod(0o600)
    with pytest.raises(IntegrityError, match="restore it from a backup"):
        open_documents(f"sqlite:///{path}")


@pytest.mark.parametrize(
    "url",
    ["sqlite://", "sqlite:///:memory:", "mysql://u:geheim@h/d", "nonsense://x", "postgresql+nothing://u:geheim@h/d",
     "://", "postgresql+psycopg://u:geheim@h:port/d"],
)  # fmt: skip
def test_bad_urls_say_what_is_expected_and_no_password(url: str) -> None:
    with pytest.raises(InputError, match=r"expected sqlite:///FILE or postgresql") as caught:
        open_documents(url)
    assert "geheim" not in str(caught.value)


def test_a_server_that_is_not_there_is_said_without_the_password() -> None:
    with pytest.raises(CrimefaceError, match="is it there") as caught:
        open_documents("postgresql+psycopg://u:geheim@127.0.0.1:1/d?connect_timeout=2")
    assert "geheim" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(("module", "url"), [("sqlalchemy", "sqlite:///x"), ("psycopg", "postgresql+psycopg://u@h/d")])
def test_a_missing_package_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch, module: str, url: str) -> None:
    if module == "sqlalchemy":
        monkeypatch.delitem(sys.modules, "crimeface_lib.storage.sql")
    monkeypatch.setitem(sys.modules, module, None)
    load_backend.cache_clear()
    with pytest.raises(MissingBackendError, match=r"crimeface-lib\[postgres\]"):
        open_documents(url)


def test_it_shows_no_password(tmp_path: Path) -> None:
    assert repr(SqlDocuments.open(f"sqlite:///{tmp_path}/x.sqlite")) == "SqlDocuments(sqlite, space='main')"


@databases
def test_a_whole_store_works_on_it(place: str, tmp_path: Path) -> None:
    from crimeface_lib.core.settings import Settings
    from crimeface_lib.governance import User
    from crimeface_lib.workflow.store import CaseStore

    settings = Settings(_env_file=None, documents=place)  # type: ignore[call-arg]
    store = CaseStore.open(tmp_path / "store", settings=settings)
    store.people.add(User("root-1", frozenset({"admin"})))
    item = store.evidence.add(b"photo", actor="ada", purpose="intake", kind="photo", name="AB/1", case="C-7")
    store.evidence.add(b"crop", actor="ada", purpose="crop", kind="derivative", parents=[item.id], tool="crop 1")
    store.evidence.delete(item.id, actor="ada", purpose="retention is over")
    again = CaseStore.open(tmp_path / "store", settings=settings)
    assert again.evidence.verify(again.evidence.checkpoint()).erased == 1
    assert [user.id for user in again.people.list()] == ["root-1"]
