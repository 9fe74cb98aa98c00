"""A store whose records lie in a database and whose keys are sealed: everything works, nothing is in plain files."""

from __future__ import annotations

import base64
import getpass
import os
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from crimeface_lib.core.errors import ConfigError, InputError, NotFoundError
from crimeface_lib.core.settings import Settings
from crimeface_lib.governance import User
from crimeface_lib.storage import KeyRing, Vault
from crimeface_lib.workflow.backing import move_records
from crimeface_lib.workflow.store import CaseStore

AT = datetime(2026, 3, 4, tzinfo=UTC)
ADMIN = User("root-1", frozenset({"admin"}))


def settings(**given: object) -> Settings:
    return Settings(_env_file=None, **given)  # type: ignore[call-arg]


def opened(folder: Path, **given: object) -> CaseStore:
    return CaseStore.open(folder, settings=settings(**given), clock=lambda: AT)


def enrol(store: CaseStore) -> None:
    import numpy as np

    from crimeface_lib.recognition import Embeddings

    vectors = np.eye(2, 128, dtype=np.float32)
    names = {"subjects": ("s1", "s2"), "embedder": "dlib", "version": "v", "quality": np.array([90.0, 90.0])}
    store.open_watchlist("list", create=True).enrol_many(
        Embeddings(vectors=vectors, failures={}, **names), source="test", rationale="test", category="test",
        added_by="ada", expires=AT.date(),
    )  # fmt: skip


def test_records_lie_in_the_database_and_stores_do_not_meet_there(tmp_path: Path) -> None:
    place = {"documents": f"sqlite:///{tmp_path}/all.sqlite"}
    one, two = opened(tmp_path / "one", **place), opened(tmp_path / "two", **place)
    one.people.add(ADMIN)
    item = one.evidence.add(b"photo", actor="ada", purpose="intake", kind="photo", name="AB/1", case="C-7")
    enrol(one)
    assert not list((tmp_path / "one").rglob("*records.json")) + list((tmp_path / "one").rglob("governance.json"))
    again = opened(tmp_path / "one", **place)
    assert [user.id for user in again.people.list()] == ["root-1"]
    assert again.evidence.get(item.id, actor="ada", purpose="check") == b"photo"
    assert len(again.open_watchlist("list")) == 2
    assert two.people.list() == ()
    assert len(two.evidence.list(actor="ada", purpose="check")) == 0
    renamed = (tmp_path / "one").rename(tmp_path / "three")
    assert len(opened(renamed, **place).evidence.list(actor="ada", purpose="check")) == 1
    on_disk = (tmp_path / "all.sqlite").read_bytes()
    assert b"AB/1" not in on_disk


def test_records_in_files_are_not_left_behind_but_moved(tmp_path: Path) -> None:
    folder, place = tmp_path / "store", {"documents": f"sqlite:///{tmp_path}/all.sqlite"}
    store = opened(folder)
    store.people.add(ADMIN)
    item = store.evidence.add(b"photo", actor="ada", purpose="intake", kind="photo", name="AB/1", case="C-7")
    enrol(store)
    with pytest.raises(ConfigError, match="crimeface records move"):
        opened(folder, **place)
    with pytest.raises(ConfigError, match="names no database"):
        move_records(folder, settings=settings())
    assert move_records(folder, settings=settings(**place)) == 5  # two entries and the head of their list among them
    assert move_records(folder, settings=settings(**place)) == 0
    with pytest.raises(ConfigError, match="set CRIMEFACE_DOCUMENTS"):  # no empty register instead
        opened(folder)
    moved = opened(folder, **place)
    assert [user.id for user in moved.people.list()] == ["root-1"]
    assert moved.evidence.get(item.id, actor="ada", purpose="check") == b"photo"
    assert len(moved.open_watchlist("list").entries()) == 2
    (folder / "governance.json.moved").rename(folder / "governance.json")  # as if it had died before the rename
    assert move_records(folder, settings=settings(**place)) == 1
    moved.people.add(User("other-1", frozenset({"researcher"})), by=ADMIN)
    (folder / "governance.json.moved").rename(folder / "governance.json")
    with pytest.raises(InputError, match="holds other records"):
        move_records(folder, settings=settings(**place))


def test_a_rotation_covers_contents_watchlists_reviews_and_tokens(tmp_path: Path) -> None:
    store = opened(tmp_path / "store")
    store.people.add(ADMIN)
    item = store.evidence.add(b"photo", actor="ada", purpose="intake", kind="photo", name="AB/1", case="C-7")
    enrol(store)
    token = store.people.issue_token(store.people.get("root-1"))
    payload = {path: path.read_bytes() for path in (tmp_path / "store").rglob("*.enc")}
    old = tmp_path / "old.json"
    old.write_bytes((tmp_path / "store/keys.json").read_bytes())
    old.chmod(0o600)
    assert store.rotate_keys(actor="root-1") >= len(payload) + 2
    assert len(list(store.audit.events("keys.rotated"))) == 1
    again = opened(tmp_path / "store")
    assert again.keys.retiring == ()
    assert {path: path.read_bytes() for path in payload} == payload
    assert again.evidence.get(item.id, actor="ada", purpose="check") == b"photo"
    assert len(again.open_watchlist("list").entries()) == 2
    with pytest.raises(Exception, match="token"):
        again.people.read_token(token)
    thief = KeyRing.open(old)
    vault = Vault.open(tmp_path / "store/evidence/vault", keys=thief)
    with pytest.raises(NotFoundError, match="not in this ring"):
        vault.ids()
    for name in ("watchlists/list", "reviews"):
        with pytest.raises(NotFoundError, match="not in this ring"):
            thief.data_key(tmp_path / "store" / name / "content.key", context=name.encode())


def test_a_watchlist_of_before_keeps_opening(tmp_path: Path) -> None:
    store = opened(tmp_path / "store")
    enrol(store)
    key = tmp_path / "store/watchlists/list/content.key"
    derived = store.keys.derive("watchlist:list")
    key.unlink()
    (tmp_path / "store/watchlists/list/entries.json").unlink()
    from crimeface_lib.recognition import Watchlist

    Watchlist.open(tmp_path / "store/watchlists/list", key=derived)
    (tmp_path / "store/watchlists/list/entries.json").write_text("{}")
    (tmp_path / "store/watchlists/list/entries.json").chmod(0o600)
    store.open_watchlist("list")
    assert store.keys.data_key(key, context=b"watchlists/list") == derived


KMS = """
import sys
key = b"0123456789abcdef"
data = sys.stdin.buffer.read()
flip = lambda b: bytes(x ^ key[i % 16] for i, x in enumerate(b))
sys.stdout.buffer.write(b"W" + flip(data) if sys.argv[1] == "wrap" else flip(data[1:]))
"""


def test_each_way_to_open_the_keys(tmp_path: Path) -> None:
    (tmp_path / "kms.py").write_text(KMS)
    ways = {
        "passphrase": {"passphrase": "a b c"},
        "key": {"master_key": base64.b64encode(os.urandom(32)).decode()},
        "command": {"key_command": f"'{sys.executable}' {tmp_path}/kms.py"},
    }
    for kind, way in ways.items():
        opened(tmp_path / kind, **way)
        assert opened(tmp_path / kind, **way).keys.sealed_by == kind
        with pytest.raises(InputError, match="needs its"):
            opened(tmp_path / kind)
    with pytest.raises(ConfigError, match="more than one"):
        opened(tmp_path / "passphrase", **ways["passphrase"], **ways["key"])
    shown = repr(settings(documents="postgresql+psycopg://u:geheim@h/d", **ways["key"]))
    assert "geheim" not in shown
    assert str(ways["key"]["master_key"]) not in shown


def test_the_command_line_rotates_and_seals(workplace, monkeypatch) -> None:
    monkeypatch.setattr("typer.prompt", lambda *_, **__: "new words")
    login = getpass.getuser()
    assert workplace.run_cli("people", "add", login, "--role", "admin")[0] == 0
    code, said = workplace.run_cli("keys", "rotate")
    assert (code, "keys rewrapped" in said) == (0, True), said
    code, said = workplace.run_cli("keys", "seal")
    assert (code, "set CRIMEFACE_PASSPHRASE" in said) == (0, True), said
    code, said = workplace.run_cli("keys", "show")
    assert (code, "CRIMEFACE_PASSPHRASE" in said) == (2, True), said
    monkeypatch.setenv("CRIMEFACE_PASSPHRASE", "new words")
    code, said = workplace.run_cli("keys", "show")
    assert (code, "sealed by  passphrase" in said) == (0, True), said
    assert "way=passphrase" in workplace.run_cli("audit", "list", "keys.sealed")[1]
    assert workplace.run_cli("keys", "seal", "--unsealed", "--command", "x")[0] == 2
