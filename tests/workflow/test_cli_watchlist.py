"""Handing a watchlist from one store to another, from a terminal."""

from __future__ import annotations

import json
from datetime import date

import numpy as np
import pytest

from crimeface_lib.core.settings import load_settings
from crimeface_lib.recognition import Embeddings, Watchlist, load_calibration
from crimeface_lib.workflow import backing
from crimeface_lib.workflow.store import CaseStore

FACTS = {"source": "s", "rationale": "r", "category": "c", "added_by": "rhea", "expires": date(9999, 1, 1)}


def renew_step_by_step(run, store, monkeypatch) -> None:
    """A new key for a list; the list opens wherever the renewal was interrupted."""
    where, old = ("--store", store.folder), (store.folder / "watchlists/default/content.key").read_bytes()
    assert run("watchlist", "renew", *where, "--as", "rhea")[0] == 3, "a researcher does not renew keys"
    sealed = [one.to_dict() for one in store.open_watchlist("default").entries()]
    with monkeypatch.context() as patch:
        patch.setattr(Watchlist, "renew", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            store.renew_watchlist("default", actor="ada")
    assert len(store.open_watchlist("default").entries()) == 3, "under the old key still"
    store.rotate_keys(actor="ada")
    with monkeypatch.context() as patch:
        patch.setattr(backing, "adopt_next_key", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            store.renew_watchlist("default", actor="ada")
    assert [one.to_dict() for one in store.open_watchlist("default").entries()] == sealed, "under the new one"
    assert not (store.folder / "watchlists/default/next").exists()
    before = (store.folder / "watchlists/default/content.key").read_bytes()
    code, said = run("watchlist", "renew", *where, "--as", "ada")
    assert (code, "3 entries sealed under a new key" in said) == (0, True), said
    assert old != before != (store.folder / "watchlists/default/content.key").read_bytes()
    assert run("watchlist", "check", *where)[1].startswith("3 records are whole")
    assert len(store.audit.events("watchlist.renewed")) == 1


def test_a_list_goes_from_one_store_to_another(workplace, monkeypatch, tmp_path):
    monkeypatch.setenv("CRIMEFACE_PASSWORD", "correct horse battery")
    monkeypatch.setenv("CRIMEFACE_NEW_PASSWORD", "correct horse battery")
    run, add = workplace.run_cli, ("--password",)
    stores = []
    for name in ("a", "b"):
        store = tmp_path / name
        assert run("people", "add", "ada", "--role", "admin", *add, "--store", store)[0] == 0
        for account, role in (("rhea", "researcher"), ("cy", "custodian")):
            said = run("people", "add", account, "--role", role, *add, "--store", store, "--as", "ada")
            assert said[0] == 0, said
        stores.append(store)
    source = CaseStore.open(stores[0], settings=load_settings())
    rows = np.random.default_rng(0).normal(size=(3, 128))
    people = Embeddings(
        vectors=(rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32), quality=np.full(3, 80.0),
        failures={}, embedder="dlib", version=load_calibration("dlib").version, subjects=("x", "y", "z"),
    )  # fmt: skip
    source.open_watchlist("default", create=True).enrol_many(people, **FACTS)
    package, key = tmp_path / "package", tmp_path / "transfer.key"
    code, said = run("watchlist", "export", package, "--key", key, "--store", stores[0], "--as", "rhea")
    assert code == 3, "a researcher does not hand lists over"
    assert not package.exists()
    code, said = run("watchlist", "export", package, "--key", key, "--store", stores[0], "--as", "cy")
    assert (code, "3 entries exported" in said) == (0, True), said
    assert key.stat().st_mode & 0o777 == 0o600
    for expected in ("3 entries taken in, 0 were", "0 entries taken in, 3 were"):
        code, said = run("watchlist", "import", package, "--key", key, "--store", stores[1], "--as", "rhea")
        assert (code, expected in said) == (0, True), said
    assert run("watchlist", "check", "--store", stores[1])[1].startswith("3 records are whole")
    events = [CaseStore.open(store, settings=load_settings()).audit.events("watchlist.") for store in stores]
    assert [[event.event for event in some.events] for some in events] == [
        ["watchlist.exported"], ["watchlist.imported", "watchlist.imported"],
    ]  # fmt: skip
    path = stores[1] / "watchlists" / "default" / "entries.json"
    renew_step_by_step(run, CaseStore.open(stores[1], settings=load_settings()), monkeypatch)
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "nobody.png").write_bytes(b"no image")
    nothing = Embeddings(
        vectors=np.full((1, 128), np.nan, dtype=np.float32), quality=np.array([np.nan]), failures={0: "no image"},
        embedder="dlib", version=people.version,
    )  # fmt: skip
    monkeypatch.setattr("crimeface_lib.recognition.load_embedder", lambda *_: None)  # the net is tested elsewhere
    monkeypatch.setattr("crimeface_lib.recognition.embed_images", lambda *_, **__: nothing)
    facts = ("--source", "s", "--rationale", "r", "--category", "c", "--expires", "9999-01-01")
    code, said = run("watchlist", "enrol", photos, *facts, "--store", stores[1], "--as", "rhea")
    assert (code, "0 enrolled, 1 failed" in said) == (0, True), said
    (event,) = CaseStore.open(stores[1], settings=load_settings()).audit.events("watchlist.enrolled").events
    assert (event.actor, event.facts["entries"], event.facts["failed"]) == ("rhea", 0, 1)
    tables = json.loads(path.read_bytes())
    del tables["entries"]["2"]
    path.write_text(json.dumps(tables))
    code, said = run("watchlist", "check", "--store", stores[1])
    assert (code, "1 that is missing" in said) == (1, True), said
    key.write_text("short\n")
    code, said = run("watchlist", "import", package, "--key", key, "--store", stores[1], "--as", "rhea")
    assert (code, "64 hexadecimal digits" in said) == (2, True), said
    code, said = run("watchlist", "import", package, "--key", tmp_path / "no", "--store", stores[1], "--as", "rhea")
    assert code == 2
