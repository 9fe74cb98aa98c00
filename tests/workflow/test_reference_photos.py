"""Photos of watchlist entries that are kept as evidence: by choice only, and no longer than their entries."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from PIL import Image

from crimeface_lib.core.errors import IntegrityError
from crimeface_lib.core.hashing import sha256_file
from crimeface_lib.core.settings import load_settings
from crimeface_lib.governance import User
from crimeface_lib.recognition import load_embedder
from crimeface_lib.synthetic import synthetic_watchlist
from crimeface_lib.workflow.origin import login_name
from crimeface_lib.workflow.reference_photos import KIND, case_of, keep_enrolled_photos, keep_photo
from crimeface_lib.workflow.retention import apply_retention, plan_retention
from crimeface_lib.workflow.store import CaseStore


@pytest.fixture
def store(workplace, clock):
    opened = CaseStore.open(load_settings().default_store, clock=clock)
    opened.people.add(User(login_name({}), frozenset({"admin", "custodian", "researcher"})))
    periods = "{evidence: undecided, watchlist: undecided, run.report: undecided, run.parameters: undecided}"
    (opened.folder / "retention.yaml").write_text(f"periods: {periods}")
    return opened


@pytest.fixture
def photos(tmp_path):
    """A folder of two pictures; what they show doesn't matter here."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("a", "b"):
        Image.new("RGB", (40, 40), (ord(name), 0, 0)).save(folder / f"{name}.png")
    return folder


def enrol(store, clock, photos, *, names=("a", "b"), days=5, watchlist="default"):
    """Make an entry of each photo: what is tested is what becomes of the photos, not how templates are made."""
    made = synthetic_watchlist(len(names), embedder=load_embedder("dlib", device="cpu"), rng=days)
    store.open_watchlist(watchlist, create=True).enrol_many(
        made, subjects=list(names), photos=[sha256_file(photos / f"{name}.png") for name in names], source="s",
        rationale="r", category="c", added_by="ada", expires=(clock.now + timedelta(days=days)).date(),
    )  # fmt: skip


def kept(store, watchlist="default"):
    return list(store.evidence.list(actor="ada", purpose="count", kind=KIND, case=case_of(watchlist)))


def test_the_command_keeps_the_photos_of_entries_only_when_asked(workplace, store, photos, astronaut):
    Image.fromarray(astronaut).save(photos / "s-1.png")
    enrol = ("watchlist", "enrol", photos, "--source", "s", "--rationale", "r", "--category", "c", "--expires",
             str(datetime.now(UTC).date()))  # fmt: skip
    code, said = workplace.run_cli(*enrol)
    assert (code, "1 enrolled, 2 failed" in said) == (0, True), said
    assert kept(store) == []
    for _ in range(2):
        code, said = workplace.run_cli(*enrol, "--keep-photos")
        assert (code, "1 photos kept as evidence" in said) == (0, True), said
    [item] = kept(store)
    assert item.sha256 == sha256_file(photos / "s-1.png")
    assert item.filename is None, "the file's name is the subject's"


def test_a_photo_goes_when_the_last_entry_made_from_it_expires(store, clock, photos):
    enrol(store, clock, photos)
    enrol(store, clock, photos, names=("a",), days=30, watchlist="other")
    for watchlist in ("default", "other"):
        keep_enrolled_photos(store, photos, watchlist=watchlist, actor="ada")
    assert (len(kept(store)), len(kept(store, "other"))) == (2, 1)
    clock.now += timedelta(days=7)
    store.open_watchlist("default")
    assert (kept(store), len(kept(store, "other"))) == ([], 1)
    assert store.disposer.tombstones()["category"].tolist() == ["watchlist"] * 2 + [f"evidence.{KIND}"] * 2
    store.evidence.verify()


def test_a_photo_that_is_held_stays_and_the_retention_list_says_that_it_is_due(store, clock, photos):
    enrol(store, clock, photos)
    keep_enrolled_photos(store, photos, watchlist="default", actor="ada")
    held = kept(store)[0]
    store.evidence.hold(held.id, actor="ada", purpose="appeal")
    clock.now += timedelta(days=7)
    store.open_watchlist("default")
    assert [item.id for item in kept(store)] == [held.id]
    plan = plan_retention(store, actor="ada").to_frame()
    assert plan[["id", "fate"]].to_numpy().tolist() == [[f"evidence:{held.id}", "held"]]
    store.evidence.release(held.id, actor="ben", purpose="decided")
    assert apply_retention(store, actor="ada").erased == (f"evidence:{held.id}",)


def test_the_schedule_takes_entry_and_photo_together(store, clock, photos):
    enrol(store, clock, photos, days=300)
    keep_enrolled_photos(store, photos, watchlist="default", actor="ada")
    assert plan_retention(store, actor="ada").to_delete == ()
    text = (store.folder / "retention.yaml").read_text().replace("watchlist: undecided", "watchlist: 10")
    (store.folder / "retention.yaml").write_text(text)
    clock.now += timedelta(days=11)
    done = apply_retention(store, actor="ada")
    assert (len(done.erased), done.failed) == (2, {})
    assert kept(store) == []


def test_another_file_than_the_one_enrolled_is_not_kept(store, photos):
    with pytest.raises(IntegrityError, match="changed while it was enrolled"):
        keep_photo(store.evidence, photos / "a.png", watchlist="default", sha256="0" * 64, actor="ada")
    assert kept(store) == []


def test_entry_is_found_by_its_record(store, clock, photos):
    enrol(store, clock, photos)
    watchlist = store.open_watchlist("default")
    for entry in watchlist.entries():
        assert watchlist.entry(entry.record) == entry
    assert np.all([entry.item.startswith("photo:") for entry in watchlist.entries()])
