"""Handing a watchlist from one store to another, from a terminal."""

from __future__ import annotations

import json
from datetime import date

import numpy as np

from crimeface_lib.core.settings import load_settings
from crimeface_lib.recognition import Embeddings, load_calibration
from crimeface_lib.workflow.store import CaseStore

FACTS = {"source": "s", "rationale": "r", "category": "c", "added_by": "rhea", "expires": date(9999, 1, 1)}


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
