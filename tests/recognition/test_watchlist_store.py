"""What a watchlist does with its records: binding, damage, resumed enrolment, duplicates, transfer, renewal."""

from __future__ import annotations

import base64
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from crimeface_lib.core.errors import InputError, IntegrityError, NotFoundError, RefusedError, ShapeError
from crimeface_lib.recognition import Embeddings, Watchlist, load_calibration, template_rotation
from crimeface_lib.recognition import records as recording
from crimeface_lib.storage import DocumentStore, TinyDocuments, open_documents

KEY, OTHER = bytes(range(32)), bytes(32)
NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
FACTS = {
    "source": "custody photo", "rationale": "wanted on warrant", "category": "wanted", "added_by": "officer-7",
    "expires": date(2026, 12, 31),
}  # fmt: skip


@pytest.fixture(params=["json", "sqlite"])
def documents(request, tmp_path) -> Callable[[], DocumentStore]:
    """The store of one watchlist, opened anew each time."""
    if request.param == "sqlite":
        pytest.importorskip("sqlalchemy", reason="no SQLAlchemy")
        return lambda: open_documents(f"sqlite:///{tmp_path}/list.sqlite")
    return lambda: TinyDocuments.open(tmp_path / "entries.json")


def opened(store: DocumentStore, *, at: datetime = NOW, key: bytes = KEY, **more) -> Watchlist:
    return Watchlist.open("unused", key=key, clock=lambda: at, documents=store, **more)


def some(people: Embeddings, rows: list[int]) -> Embeddings:
    return Embeddings(
        vectors=people.vectors[rows], quality=people.quality[rows], failures={}, embedder=people.embedder,
        version=people.version, subjects=tuple(people.subjects[i] for i in rows),
    )  # fmt: skip


def subjects(watchlist: Watchlist) -> list[str]:
    return [entry.subject for entry in watchlist.entries()]


# -- binding -----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("field", ["record", "who", "item", "ends", "sealed", "about", "template"])
def test_no_part_of_a_record_can_be_exchanged(documents, templates, field):
    """T2: each clear field and each box, swapped between two records, ends in an authentication failure."""
    opened(documents()).enrol_many(templates(2), **FACTS | {"expires": date(2026, 12, 31)})
    opened(documents()).enrol_many(templates(2, seed=4), subjects=["x", "y"], **FACTS | {"expires": date(2027, 1, 1)})
    store = documents()
    first, last = store.find("entries")[0], store.find("entries")[-1]
    if field in ("about", "template"):
        boxes = [one["sealed"].split(".") for one in (first, last)]
        place = ("about", "template").index(field)
        boxes[0][place], boxes[1][place] = boxes[1][place], boxes[0][place]
        changes = [{"sealed": ".".join(one)} for one in boxes]
    else:
        changes = [{field: last[field]}, {field: first[field]}]
    for one, change in zip((first, last), changes, strict=True):
        store.update("entries", one["id"], change)
    watchlist = opened(store)
    assert [name.split()[0] for name in watchlist.check()] == ["1", "4"]
    with pytest.raises(IntegrityError, match=r"2 of 4 records .* record 1"):
        watchlist.search(templates(1))


def test_records_are_bound_to_model_version_dimension_and_rotation(documents, templates):
    """T2: the same record under a head that names another model does not open."""
    watchlist = opened(documents())
    watchlist.enrol_many(templates(1), **FACTS)
    seals, head, (record,) = watchlist._records.seals, watchlist._records.head(), documents().find("entries")
    row = np.zeros(128, dtype=np.float32)
    seals.open_into(row, record, head=head)
    assert row.any()
    for change in ({"embedder": "other"}, {"version": "v2"}, {"dimension": 64}, {"rotation": "ab"}):
        with pytest.raises(IntegrityError):
            seals.open_into(row, record, head=replace(head, **change))
        with pytest.raises(IntegrityError):
            seals.about(record, head=replace(head, **change))
        assert not row.any()


def test_the_clear_fields_tell_no_name_no_day_and_no_model(documents, templates):
    opened(documents()).enrol_many(templates(3), **FACTS)
    text = json.dumps([documents().find("entries"), documents().find("head")])
    for secret in ("S-00", "2026", "custody", "wanted", "officer", "dlib", templates(1).version[:12]):
        assert secret not in text
    assert len({one["ends"] for one in documents().find("entries")}) == 1  # as the docstring says: days are grouped


# -- damage ------------------------------------------------------------------------------------------------
def test_one_damaged_record_is_named_and_the_others_searched_on_request(documents, templates):
    people = templates(5)
    opened(documents()).enrol_many(people, **FACTS)
    store = documents()
    name = store.find("entries")[2]["record"]
    store.update("entries", 3, {"sealed": "AAAA.AAAA"})
    watchlist = opened(store)
    assert watchlist.check() == (f"3 ({name})",)
    for act in (watchlist.entries, lambda: watchlist.search(some(people, [0])), watchlist.opened):
        with pytest.raises(IntegrityError, match=rf"1 of 5 records .*3 \({name}\).*damaged='skip'"):
            act()
    with pytest.raises(IntegrityError):
        watchlist.remove(name)
    found = watchlist.search(some(people, [0]), damaged="skip")
    assert (found.gallery_size, found.unreadable) == (4, (f"3 ({name})",))
    assert any("1 records of the watchlist are damaged" in text for text in found.caveats)
    assert len(watchlist.entries(damaged="skip")) == 4
    assert len(watchlist) == 5
    assert watchlist.forget_damaged() == (f"3 ({name})",)
    assert (watchlist.check(), watchlist.forget_damaged(), len(watchlist)) == ((), (), 4)
    assert watchlist.search(some(people, [0])).candidates[0].subject == "S-000"


def test_records_taken_away_or_put_back_are_noticed(documents, templates):
    people = templates(4)
    watchlist = opened(documents())
    watchlist.enrol_many(people, **FACTS)
    store = documents()
    taken = {name: value for name, value in store.find("entries")[1].items() if name != "id"}
    store.delete("entries", 2)
    with pytest.raises(IntegrityError, match="1 that is missing"):
        watchlist.entries()
    assert watchlist.search(some(people, [0]), damaged="skip").gallery_size == 3
    store.insert("entries", taken)
    assert watchlist.check() == ()
    watchlist.remove(taken["record"])
    store.insert("entries", taken)
    with pytest.raises(IntegrityError, match="removed and are back"):
        watchlist.entries()
    watchlist.remove(watchlist.entries(damaged="skip")[0].record)
    assert watchlist.check() == ("some that had been removed and are back",)  # as many as the head says, but others


def test_reading_keeps_nobody_from_writing(documents, templates, monkeypatch):
    """While templates are opened and indexed, another process enrols; what is read is whole all the same."""
    from crimeface_lib.recognition import gallery as galleries
    from crimeface_lib.recognition import sealed

    people = templates(6)
    opened(documents()).enrol_many(some(people, [0, 1, 2]), **FACTS)
    writes = iter([3, 4])

    def write(*_, **__):
        for row in itertools.islice(writes, 1):
            opened(documents()).enrol_many(some(people, [row]), **FACTS)

    for module, name in ((sealed.Seals, "open_into"), (galleries, "build_index")):
        real = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *a, real=real, **k: (write(), real(*a, **k))[1])
    worker = threading.Thread(target=lambda: told.append(len(opened(documents()).opened())), daemon=True)
    told: list[int] = []
    worker.start()
    worker.join(timeout=20)
    assert told in ([4], [5])
    assert opened(documents()).check() == ()


def test_a_record_relabelled_as_expired_is_not_deleted(documents, templates):
    watchlist = opened(documents())
    watchlist.enrol(templates(1), subject="short", **FACTS | {"expires": date(2026, 6, 1)})
    watchlist.enrol(templates(1, seed=3), subject="long", **FACTS)
    store = documents()
    store.update("entries", 2, {"ends": store.find("entries")[0]["ends"]})
    late = opened(store, at=NOW + timedelta(days=1))
    assert [one["id"] for one in store.find("entries")] == [2]
    assert len(late.check()) == 1


def test_a_lost_head_and_a_wrong_key_are_told_at_once(documents, templates):
    opened(documents()).enrol_many(templates(2), **FACTS)
    before = documents().find("entries")
    with pytest.raises(IntegrityError, match="another key"):
        opened(documents(), key=OTHER)
    store = documents()
    store.delete("head", 1)
    with pytest.raises(IntegrityError, match="head is missing"):
        len(opened(store))
    assert store.find("entries") == before, "nothing lost"


# -- the first format --------------------------------------------------------------------------------------
def old_record(subject: str, row: np.ndarray, name: str, *, version: str = "") -> dict[str, str]:
    known = {
        "record": name, "subject": subject, "source": "s", "rationale": "r", "category": "c", "added_by": "a",
        "added_at": "2026-01-01T00:00:00.000000Z", "expires": "2026-12-31", "quality": 70.0, "embedder": "dlib",
        "version": version or load_calibration("dlib").version, "minor": False, "minor_approval": "",
    }  # fmt: skip
    head = json.dumps(known, sort_keys=True, separators=(",", ":")).encode()
    plain = len(head).to_bytes(4, "big") + head + row.astype("<f4").tobytes()
    nonce = os.urandom(12)
    box = nonce + AESGCM(KEY).encrypt(nonce, plain, b"crimeface watchlist v1|" + name.encode())
    return {"record": name, "sealed": base64.b64encode(box).decode()}


def test_a_list_of_the_first_format_is_taken_over_whole(documents, templates):
    people, store = templates(3), documents()
    store.insert_many("entries", [old_record(f"P-{i}", people.vectors[i], f"{i:024x}") for i in range(3)])
    with pytest.raises(IntegrityError):
        opened(store, key=OTHER)
    assert len(store.find("entries")) == 3
    watchlist = opened(store)
    assert subjects(watchlist) == ["P-0", "P-1", "P-2"]
    assert watchlist.entries()[1].record == f"{1:024x}"
    assert watchlist.check() == ()
    assert watchlist.search(some(people, [1])).candidates[0].subject == "P-1"
    assert watchlist.enrol_many(people, subjects=["P-0", "P-1", "new"], **FACTS).present == 2


# -- enrolment that goes on --------------------------------------------------------------------------------
def test_enrolment_interrupted_between_batches_goes_on_without_duplicates(documents, templates):
    people, told = templates(25), []

    def interrupt(done: int, count: int) -> None:
        told.append((done, count))
        if done >= 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        opened(documents()).enrol_many(people, **FACTS, batch=10, progress=interrupt)
    assert told == [(10, 25), (20, 25)]
    watchlist = opened(documents())
    assert len(watchlist) == 20
    again = watchlist.enrol_many(people, **FACTS, batch=10)
    assert (again.enrolled, again.present, again.duplicates) == (5, 20, ())
    assert sorted(subjects(watchlist)) == sorted(people.subjects)
    assert watchlist.check() == ()
    once_more = watchlist.enrol_many(people, **FACTS)
    assert (once_more.enrolled, once_more.present) == (0, 25)


_ENROLLING = """
import sys
from datetime import date
import numpy as np
from crimeface_lib.recognition import Embeddings, Watchlist
from crimeface_lib.storage import open_documents
rows = np.random.default_rng(0).normal(size=(1500, 32)).astype(np.float32)
people = Embeddings(vectors=rows / np.linalg.norm(rows, axis=1, keepdims=True), quality=np.full(1500, 80.0),
                    failures={}, embedder="m", version="1", subjects=tuple(f"S-{i}" for i in range(1500)))
watchlist = Watchlist.open("unused", key=bytes(32), documents=open_documents(sys.argv[1]))
facts = {"source": "s", "rationale": "r", "category": "c", "added_by": "a", "expires": date(9999, 1, 1)}
print("ready", flush=True)
print(watchlist.enrol_many(people, **facts, batch=50).enrolled, flush=True)
"""


def test_enrolment_that_was_killed_goes_on(tmp_path):
    """A real SIGKILL in the middle of the writing: whole batches are there, and the next run completes them."""
    pytest.importorskip("sqlalchemy", reason="no SQLAlchemy")
    place = f"sqlite:///{tmp_path}/list.sqlite"
    store = open_documents(place)
    with subprocess.Popen([sys.executable, "-c", _ENROLLING, place], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        until = time.monotonic() + 60
        while next(store.pages("entries", after=300), None) is None and time.monotonic() < until:
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
    watchlist = Watchlist.open("unused", key=bytes(32), documents=open_documents(place))
    here = len(watchlist)
    assert 300 < here < 1500
    assert here % 50 == 0
    assert watchlist.check() == ()
    done = subprocess.run([sys.executable, "-c", _ENROLLING, place], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["ready", str(1500 - here)]
    assert len(set(subjects(watchlist))) == len(watchlist) == 1500


def test_two_that_enrol_the_same_people_at_once(documents, templates):
    """What another process wrote between two batches is not written again."""
    people = templates(30)

    def meanwhile(done: int, _: int) -> None:
        if done == 10:
            opened(documents()).enrol_many(some(people, list(range(10, 20))), **FACTS)

    told = opened(documents()).enrol_many(people, **FACTS, batch=10, progress=meanwhile)
    assert (told.enrolled, told.present) == (20, 10)
    assert sorted(subjects(opened(documents()))) == sorted(people.subjects)


def test_a_json_file_that_grows_too_large_is_refused_before_it_does(tmp_path, templates, monkeypatch):
    monkeypatch.setattr(recording, "JSON_LIMIT", 20)
    watchlist = opened(TinyDocuments.open(tmp_path / "entries.json"))
    with pytest.raises(InputError, match="a JSON file holds up to 20; set CRIMEFACE_DOCUMENTS"):
        watchlist.enrol_many(templates(21), **FACTS)
    assert len(watchlist) == 0
    watchlist.enrol_many(templates(20), **FACTS)


def test_who_is_known_is_told_without_opening_an_entry(documents, templates, monkeypatch):
    watchlist = opened(documents())
    watchlist.enrol_many(templates(12), **FACTS)
    monkeypatch.setattr("crimeface_lib.recognition.sealed.Seals.about", None)
    names = {f"S-{i:03d}" for i in range(5, 30)}
    assert watchlist.known(names) == {f"S-{i:03d}" for i in range(5, 12)}
    assert watchlist.known(["S-001", "nobody"]) == {"S-001"}
    assert watchlist.purge() == 0


def test_a_name_is_one_however_its_accents_are_written(documents, templates):
    """File names come decomposed from some systems: José is José."""
    watchlist = opened(documents())
    composed, apart = "Jos\u00e9", "Jose\u0301"
    watchlist.enrol_many(templates(1), subjects=[composed], **FACTS)
    assert watchlist.enrol_many(templates(1), subjects=[apart], **FACTS).present == 1
    assert watchlist.known([apart]) == {apart}


def test_the_digest_changes_with_each_entry(documents, templates):
    watchlist, people = opened(documents()), templates(2)
    seen = [watchlist.digest]
    for row in (0, 1):
        watchlist.enrol(some(people, [row]), subject=str(row), **FACTS)
        seen.append(watchlist.digest)
    assert opened(documents()).digest == seen[-1]
    watchlist.remove(watchlist.entries()[0].record)
    assert len({*seen, watchlist.digest}) == 4


# -- duplicates --------------------------------------------------------------------------------------------
@pytest.fixture
def alike(templates) -> Embeddings:
    """Five people, and a sixth who is the first under another name in another photo."""
    people = templates(6)
    vectors = people.vectors.copy()
    vectors[5] = vectors[0] + 0.02 * templates(1, seed=8).vectors[0]
    return templates(6, vectors=vectors)


def test_the_same_template_under_another_name_is_reported(documents, templates):
    people, watchlist = templates(3), opened(documents())
    watchlist.enrol_many(people, **FACTS)
    (told,) = watchlist.enrol_many(some(people, [1]), subjects=["alias"], **FACTS).duplicates
    assert (told.index, told.subject, told.other, told.reason, told.score) == (0, "alias", "S-001", "same template", 1)
    assert told.record == watchlist.entries()[1].record
    with pytest.raises(RefusedError, match="same template"):
        watchlist.enrol(some(people, [1]), subject="third", **FACTS)
    with pytest.raises(RefusedError, match="under this name"):
        watchlist.enrol(some(people, [1]), subject="S-001", **FACTS)
    assert len(watchlist) == 4


def test_the_same_photo_is_known_again_though_its_template_moved(documents, templates):
    people, watchlist = templates(2), opened(documents())
    moved = templates(2, vectors=people.vectors + 1e-7)
    watchlist.enrol_many(people, photos=["ab", "cd"], **FACTS)
    again = watchlist.enrol_many(moved, photos=["ab", "cd"], **FACTS)
    assert (again.enrolled, again.present) == (0, 2)
    within = watchlist.enrol_many(templates(2, seed=5), subjects=["x", "y"], photos=["ef", "ef"], **FACTS)
    assert [(one.subject, one.other, one.record, one.reason) for one in within.duplicates] == [
        ("y", "x", "", "same photo")
    ]


@pytest.mark.parametrize("before", [True, False])
def test_people_who_resemble_others_are_reported_skipped_or_refused(documents, alike, before):
    watchlist = opened(documents())
    if before:
        watchlist.enrol_many(some(alike, [0, 1, 2, 3, 4]), **FACTS)
    there = len(watchlist)
    with pytest.raises(RefusedError, match=r"nothing enrolled: got 1 images .* have people check"):
        watchlist.enrol_many(alike, **FACTS, duplicates="refuse", duplicate_score=0.9)
    assert len(watchlist) == there
    told = watchlist.enrol_many(alike, **FACTS, duplicates="skip", duplicate_score=0.9)
    assert (told.enrolled, len(told.duplicates), len(watchlist)) == (5 - there, 1, 5)
    (found,) = told.duplicates
    assert (found.index, found.subject, found.other, found.reason) == (5, "S-005", "S-000", "score")
    assert bool(found.record) == before
    assert found.score == pytest.approx(float(alike.vectors[0] @ alike.vectors[5]), abs=1e-6)
    reported = watchlist.enrol_many(alike, **FACTS, duplicate_score=0.9)
    assert (reported.enrolled, len(reported.duplicates), len(watchlist)) == (1, 1, 6)
    assert list(reported.duplicates_frame()["other"]) == ["S-000"]
    assert watchlist.enrol_many(alike, **FACTS, duplicate_score=0.9).duplicates == (), "all are there"
    assert "match" not in repr(reported).lower()


def test_one_person_in_several_photos_is_no_duplicate(documents, alike):
    told = opened(documents()).enrol_many(
        alike, subjects=["a", "b", "c", "d", "e", "a"], **FACTS, duplicates="refuse", duplicate_score=0.9
    )
    assert (told.enrolled, told.duplicates) == (6, ())


@pytest.mark.parametrize("wrong", [{"duplicates": "hide"}, {"duplicate_score": 2.0}, {"duplicate_score": np.nan},
                                   {"batch": 0}, {"photos": ["ab"]}])  # fmt: skip
def test_impossible_ways_to_enrol(documents, templates, wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        opened(documents()).enrol_many(templates(2), **FACTS, **wrong)


def test_a_list_of_the_first_format_with_two_models_is_left_as_it_is(documents, templates):
    people, store = templates(2), documents()
    store.insert("entries", old_record("P-0", people.vectors[0], "a" * 24))
    store.insert("entries", old_record("P-1", people.vectors[1], "b" * 24, version="f" * 64))
    before = store.find("entries")
    with pytest.raises(RefusedError, match="different models"):
        opened(store)
    assert store.find("entries") == before


# -- handing over ------------------------------------------------------------------------------------------
def test_a_package_goes_from_one_list_to_another(documents, templates, tmp_path):
    people, watchlist = templates(12), opened(documents())
    watchlist.enrol_many(people, **FACTS)
    watchlist.enrol(templates(1, seed=7), subject="short", **FACTS | {"expires": date(2026, 6, 1)})
    sent = watchlist.export(tmp_path / "list.package", key=OTHER)
    assert (sent.entries, sent.expired) == (13, 0)
    assert (tmp_path / "list.package").stat().st_mode & 0o777 == 0o600
    other = Watchlist.open(tmp_path / "other", key=bytes(31) + b"x", clock=lambda: NOW + timedelta(days=1))
    other.enrol_many(some(people, [2, 3]), **FACTS)
    got = other.import_package(tmp_path / "list.package", key=OTHER, batch=5)
    assert (got.entries, got.present, got.expired, got.sha256) == (10, 2, 1, sent.sha256)
    assert sorted(subjects(other)) == sorted(people.subjects)
    names = [{line["record"] for line in map(json.loads, lines_of(tmp_path / "list.package")[1:])}]
    names += [{entry.record for entry in some_list.entries()} for some_list in (watchlist, other)]
    assert not any(a & b for a, b in itertools.combinations(names, 2)), "lists are not linked by names of records"
    again = other.import_package(tmp_path / "list.package", key=OTHER)
    assert (again.entries, again.present, again.expired) == (0, 12, 1)
    assert other.search(some(people, [8])).candidates[0].score == pytest.approx(1)
    assert other.check() == ()


def lines_of(path: Path) -> list[str]:
    return path.read_text().splitlines()


@pytest.mark.parametrize(
    "change",
    [lambda s: s[:-1], lambda s: [*s, s[-1]], lambda s: [*s[:-1], s[-1][:-9]], lambda s: s[:1],
     lambda s: [s[0], s[1].replace('"record": "', '"record": "0'), *s[2:]],
     lambda s: [*s[:-1], s[-1].replace("A", "B")], lambda s: [*s, "[]"]],
)  # fmt: skip
def test_a_package_that_was_changed_is_refused_whole(tmp_path, templates, change):
    source = Watchlist.open(tmp_path / "a", key=KEY, clock=lambda: NOW)
    source.enrol_many(templates(4), **FACTS)
    path = tmp_path / "list.package"
    source.export(path, key=OTHER)
    path.write_text("\n".join(change(lines_of(path))) + "\n")
    other = Watchlist.open(tmp_path / "b", key=KEY, clock=lambda: NOW)
    with pytest.raises(IntegrityError):
        other.import_package(path, key=OTHER)
    assert len(other) == 0


@pytest.mark.parametrize("line", [0, 2])
def test_a_package_with_bytes_that_are_no_text_is_refused(tmp_path, templates, line):
    source = Watchlist.open(tmp_path / "a", key=KEY, clock=lambda: NOW)
    source.enrol_many(templates(4), **FACTS)
    source.export(tmp_path / "package", key=OTHER)
    data = (tmp_path / "package").read_bytes().split(b"\n")
    data[line] = data[line][:20] + b"\xff" + data[line][21:]
    (tmp_path / "package").write_bytes(b"\n".join(data))
    with pytest.raises(IntegrityError if line else InputError, match="package"):
        source.import_package(tmp_path / "package", key=OTHER)


def test_templates_of_another_dimension_never_get_on_a_list(tmp_path, templates):
    short = replace(templates(2), vectors=templates(2).vectors[:, :64])
    source = Watchlist.open(tmp_path / "a", key=KEY, clock=lambda: NOW)
    source.enrol_many(short, **FACTS)
    source.export(tmp_path / "package", key=OTHER)
    other = Watchlist.open(tmp_path / "b", key=KEY, clock=lambda: NOW)
    other.enrol_many(templates(1, seed=8), **FACTS)
    with pytest.raises(ShapeError, match="64 numbers, expected 128"):
        other.import_package(tmp_path / "package", key=OTHER)
    with pytest.raises(ShapeError, match="64 numbers, expected 128"):
        other.enrol_many(short, **FACTS)
    assert (len(other), other.check()) == (1, ())


def test_what_can_not_be_handed_over(tmp_path, templates):
    source = Watchlist.open(tmp_path / "a", key=KEY, clock=lambda: NOW)
    path = tmp_path / "list.package"
    with pytest.raises(InputError, match="empty watchlist"):
        source.export(path, key=OTHER)
    source.enrol_many(templates(2), **FACTS)
    source.export(path, key=OTHER)
    with pytest.raises(InputError, match="there already"):
        source.export(path, key=OTHER)
    with pytest.raises(IntegrityError, match="another key"):
        source.import_package(path, key=KEY)
    with pytest.raises(NotFoundError):
        source.import_package(tmp_path / "nothing", key=OTHER)
    (tmp_path / "other").write_text("{}\n")
    with pytest.raises(InputError, match="no watchlist package"):
        source.import_package(tmp_path / "other", key=OTHER)
    elsewhere = Watchlist.open(tmp_path / "b", key=KEY, clock=lambda: NOW)
    elsewhere.enrol_many(templates(1, version="0" * 64), **FACTS)
    with pytest.raises(RefusedError, match="different models"):
        elsewhere.import_package(path, key=OTHER)
    assert len(elsewhere) == 1
    damaged = TinyDocuments.open(tmp_path / "a" / "entries.json")
    damaged.update("entries", 1, {"who": "x"})
    with pytest.raises(IntegrityError, match="record 1"):
        source.export(tmp_path / "second", key=OTHER)
    assert not list(tmp_path.glob("*second*"))


# -- renewal -----------------------------------------------------------------------------------------------
@pytest.fixture
def turns() -> Iterator[list]:
    return [template_rotation(bytes([n]) * 32, application="border") for n in range(2)]


def test_a_turned_list_gives_the_same_scores(documents, templates, turns):
    people, probe = templates(20), templates(1, seed=3)
    plain = Watchlist.open("unused", key=KEY, clock=lambda: NOW, documents=documents(), rotation=None)
    plain.enrol_many(people, **FACTS)
    before = plain.search(probe)
    assert plain.renew(rotation=turns[0]) == 20
    after = plain.search(probe)
    assert [c.record for c in after.candidates] == [c.record for c in before.candidates]
    assert [c.score for c in after.candidates] == pytest.approx([c.score for c in before.candidates], abs=1e-6)
    turned = opened(documents(), rotation=turns[0])
    assert turned.search(probe).candidates == after.candidates
    assert turned.enrol_many(people, **FACTS).present == 20
    turned.enrol(templates(1, seed=11), subject="late", **FACTS)
    assert turned.search(templates(1, seed=11)).candidates[0].score == pytest.approx(1, abs=1e-6)
    with turned.opened() as gallery:
        assert not np.allclose(gallery._rows.array[:20], people.vectors, atol=0.05)
    for wrong in (None, turns[1]):
        with pytest.raises(RefusedError, match="another rotation"):
            opened(documents(), rotation=wrong)


def test_a_new_key_and_a_new_turn_end_the_old_ones(documents, templates, turns):
    people = templates(5)
    watchlist = opened(documents(), rotation=turns[0])
    watchlist.enrol_many(people, **FACTS)
    old = documents().find("entries")
    assert watchlist.renew(key=OTHER) == 5
    with pytest.raises(IntegrityError, match="another key"):
        opened(documents(), rotation=turns[0])
    assert watchlist.renew(rotation=turns[1]) == 5
    renewed = opened(documents(), key=OTHER, rotation=turns[1])
    assert renewed.check() == ()
    assert [e.to_dict() for e in renewed.entries()] == [e.to_dict() for e in watchlist.entries()]
    assert renewed.search(some(people, [3])).candidates[0].score == pytest.approx(1, abs=1e-6)
    assert renewed.enrol_many(people, **FACTS).present == 5, "photos are known again"
    assert renewed.known(["S-003"]) == {"S-003"}
    new = documents().find("entries")
    assert all(a[f] != b[f] for a, b in zip(old, new, strict=True) for f in ("who", "item", "ends", "sealed"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(renewed._records, "put_head", lambda head: (_ for _ in ()).throw(OSError("disk full")))
        with pytest.raises(OSError, match="disk full"):
            renewed.renew(key=KEY)
    assert (len(renewed), renewed.check()) == (5, ()), "the old key is in use still"
    documents().update("entries", 2, {"item": "x"})
    with pytest.raises(IntegrityError, match="record 2"):
        renewed.renew(key=KEY)
    assert documents().find("entries")[0] == new[0], "all or none"


def test_a_package_of_a_turned_list_fits_another_turn(tmp_path, templates, turns):
    people = templates(6)
    first = Watchlist.open(tmp_path / "a", key=KEY, clock=lambda: NOW, rotation=turns[0])
    first.enrol_many(people, **FACTS)
    first.export(tmp_path / "package", key=OTHER)
    second = Watchlist.open(tmp_path / "b", key=KEY, clock=lambda: NOW, rotation=turns[1])
    second.import_package(tmp_path / "package", key=OTHER)
    assert second.search(some(people, [4])).candidates[0].score == pytest.approx(1, abs=1e-6)
