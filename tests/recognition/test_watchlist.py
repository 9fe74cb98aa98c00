"""The watchlist: sealed, bound, lawful, expiring (T1, T2, P3, P6); the candidate list: never a verdict (P5)."""

from __future__ import annotations

import base64
import json
import logging
from dataclasses import fields
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest

from crimeface_lib.core.errors import InputError, IntegrityError, NoFaceError, RefusedError
from crimeface_lib.recognition import Candidate, CandidateList, Embeddings, Watchlist, lr_text
from crimeface_lib.storage import TinyDocuments

KEY = bytes(range(32))
NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
FACTS = {
    "source": "custody photo",
    "rationale": "wanted on warrant",
    "category": "wanted",
    "added_by": "officer-7",
    "expires": date(2026, 12, 31),
}


def opened(folder, *, at: datetime = NOW, key: bytes = KEY) -> Watchlist:
    return Watchlist.open(folder, key=key, clock=lambda: at)


def one(embeddings: Embeddings, index: int) -> Embeddings:
    return Embeddings(
        vectors=embeddings.vectors[index : index + 1],
        quality=embeddings.quality[index : index + 1],
        failures={},
        embedder=embeddings.embedder,
        version=embeddings.version,
    )


def test_enrol_search_and_reopen(tmp_path, templates):
    people = templates(40)
    told = opened(tmp_path).enrol_many(people, **FACTS)
    assert told.enrolled == 40
    again = opened(tmp_path)
    assert len(again) == 40
    nearby = templates(1, vectors=people.vectors[7] + 0.02 * templates(1, seed=5).vectors)
    found = again.search(nearby, top=5)
    assert found.candidates[0].subject == "S-007"
    assert [c.rank for c in found.candidates] == [1, 2, 3, 4, 5]
    scores = people.vectors @ nearby.vectors[0]
    assert [c.score for c in found.candidates] == pytest.approx(np.sort(scores)[::-1][:5].tolist(), abs=1e-6)
    assert found.gallery_size == 40
    assert again.entries()[7].source == "custody photo"
    assert again.entries()[7].added_at.startswith("2026-06-01T12:00")


def test_an_empty_watchlist_gives_no_candidates(tmp_path, templates):
    found = opened(tmp_path).search(templates(1))
    assert (len(found), found.gallery_size) == (0, 0)
    assert "0 candidates" in found._repr_html_()


@pytest.mark.parametrize("field", ["subject", "source", "rationale", "category", "added_by", "expires"])
@pytest.mark.parametrize("value", [None, "", "  "])
def test_a_missing_field_is_refused_by_name(tmp_path, templates, field, value):
    facts = {**FACTS, "subject": "A", field: value}
    watchlist = opened(tmp_path)
    with pytest.raises(RefusedError, match=f"{field} is missing"):
        watchlist.enrol(templates(1), **facts)
    assert len(watchlist) == 0


def test_expired_entries_never_appear_and_are_purged(tmp_path, templates):
    people = templates(2)
    watchlist = opened(tmp_path)
    watchlist.enrol(one(people, 0), subject="short", **FACTS | {"expires": date(2026, 6, 1)})
    watchlist.enrol(one(people, 1), subject="long", **FACTS)
    assert watchlist.search(one(people, 0)).candidates[0].subject == "short"  # the last day counts
    late = Watchlist(TinyDocuments.open(tmp_path / "entries.json"), key=KEY, clock=lambda: NOW + timedelta(days=1))
    assert [c.subject for c in late.search(one(people, 0)).candidates] == ["long"]
    assert late.purge() == 1
    assert len(opened(tmp_path)) == 1
    with pytest.raises(RefusedError, match="expires"):
        watchlist.enrol(one(people, 0), subject="late", **FACTS | {"expires": date(2026, 5, 31)})


def test_opening_purges(tmp_path, templates):
    opened(tmp_path).enrol_many(templates(3), **FACTS)
    before = (tmp_path / "entries.json").read_bytes()
    assert len(opened(tmp_path, at=NOW + timedelta(days=400))) == 0
    after = (tmp_path / "entries.json").read_bytes()
    for document in json.loads(before)["entries"].values():
        assert document["sealed"].encode() not in after


def test_failed_images_are_told(tmp_path, templates):
    people = templates(3)
    vectors = people.vectors.copy()
    vectors[1] = np.nan
    holed = Embeddings(
        vectors=vectors,
        quality=np.array([80, np.nan, 70.0]),
        failures={1: "no face"},
        embedder=people.embedder,
        version=people.version,
    )
    watchlist = opened(tmp_path)
    told = watchlist.enrol_many(holed, subjects=["a", "b", "c"], **FACTS)
    assert (told.enrolled, told.failures) == (2, {1: "no face"})
    assert [e.subject for e in watchlist.entries()] == ["a", "c"]
    failed = Embeddings(
        vectors=vectors[1:2], quality=np.array([np.nan]), failures={0: "no face"}, embedder="dlib", version="v"
    )
    with pytest.raises(NoFaceError, match="no face"):
        watchlist.enrol(failed, subject="b", **FACTS)
    with pytest.raises(NoFaceError, match="no face"):
        watchlist.search(failed)


def test_templates_of_another_model_are_refused(tmp_path, templates):
    watchlist = opened(tmp_path)
    watchlist.enrol_many(templates(2), **FACTS)
    other = templates(1, version="0" * 64)
    with pytest.raises(RefusedError, match="different models"):
        watchlist.enrol(other, subject="x", **FACTS)
    with pytest.raises(RefusedError, match="different models"):
        watchlist.search(other)
    assert len(watchlist) == 2


def altered(folder, change) -> None:
    path = folder / "entries.json"
    tables = json.loads(path.read_bytes())
    change(tables["entries"])
    path.write_text(json.dumps(tables))


def swap(rows):
    rows["1"]["sealed"], rows["2"]["sealed"] = rows["2"]["sealed"], rows["1"]["sealed"]


def flip(rows):
    sealed = bytearray(base64.b64decode(rows["1"]["sealed"]))
    sealed[40] ^= 1
    rows["1"]["sealed"] = base64.b64encode(bytes(sealed)).decode()


def cut(rows):
    rows["1"]["sealed"] = rows["1"]["sealed"][:40]


def rename(rows):
    rows["1"]["record"] = rows["2"]["record"]


@pytest.mark.parametrize("change", [swap, flip, cut, rename, lambda rows: rows["1"].pop("sealed")])
def test_altered_records_are_found(tmp_path, templates, change):
    opened(tmp_path).enrol_many(templates(2), **FACTS)
    altered(tmp_path, change)
    with pytest.raises(IntegrityError, match="record 1"):
        opened(tmp_path).entries()


def test_another_key_opens_nothing(tmp_path, templates):
    opened(tmp_path).enrol_many(templates(1), **FACTS)
    with pytest.raises(IntegrityError, match="another key"):
        opened(tmp_path, key=bytes(32))
    with pytest.raises(InputError, match="32"):
        opened(tmp_path, key=b"short")


def test_no_template_and_no_name_on_disk_or_in_words(tmp_path, caplog):
    """T1: a canary vector is looked for as float32, float64, base64 and decimals in all that is written or shown."""
    canary = np.random.default_rng(99).normal(size=128)
    canary = (canary / np.linalg.norm(canary)).astype(np.float32)
    probe = Embeddings(
        vectors=canary[None], quality=np.array([75.0]), failures={}, embedder="dlib", version=version_of_library()
    )
    with caplog.at_level(logging.DEBUG):
        watchlist = opened(tmp_path)
        entry = watchlist.enrol(probe, subject="Canary Subject", **FACTS)
        found = watchlist.search(probe)
    words = [repr(x) + str(x) for x in (watchlist, entry, found, probe)]
    words += [
        found._repr_html_(),
        str(found.to_dict()),
        found.to_frame().to_csv(),
        str(watchlist.entries()),
        caplog.text,
    ]
    shown = "".join(words).encode()
    disk = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert len(disk) > 500
    for form in (canary.astype("<f4"), canary.astype("<f8"), canary.astype(">f4"), canary.astype(">f8")):
        raw = form.tobytes()
        encoded = [base64.b64encode(raw[shift:])[4:40] for shift in range(3)]
        for piece in (raw[:16], raw[64:80], raw.hex()[:24].encode(), *encoded):
            assert piece not in disk
            assert piece not in shown
    for value in canary[:40]:
        for text in (f"{value:.5f}", repr(float(value))[:9], f"{value:.4e}"):
            assert text.encode() not in disk
            assert text.encode() not in shown
    assert b"Canary Subject" not in disk
    assert b"Canary Subject" in shown


def version_of_library() -> str:
    from crimeface_lib.recognition import load_calibration

    return load_calibration("dlib").version


def test_the_list_says_what_it_means_and_never_decides(tmp_path, templates):
    watchlist = opened(tmp_path)
    people = templates(30)
    watchlist.enrol_many(people, **FACTS | {"source": "<b>photo</b>"})
    found = watchlist.search(one(people, 3), top=3)
    page = found._repr_html_()
    everything = page + str(found.to_dict()) + "".join(f.name for f in (*fields(Candidate), *fields(CandidateList)))
    for word in ("match", "verdict", "identified"):
        assert word not in everything.lower()
    assert "&lt;b&gt;photo" in page
    words = " ".join(found.caveats)
    for needed in ("Two trained people", "CCTV", "30 entries", "not the probability", "may not be on the watchlist"):
        assert needed in words
    best = found.candidates[0]
    assert best.score == pytest.approx(1)
    assert best.at_limit
    assert "limit of the calibration data" in page
    assert best.lr_low <= best.likelihood_ratio <= best.lr_high
    assert list(found.to_frame()["rank"]) == [1, 2, 3]
    assert json.dumps(found.to_dict())


def test_lr_as_text():
    assert lr_text(13200, 8100, 20400) == "1.3 × 10⁴ (8.1 × 10³ – 2.0 × 10⁴)"
    assert lr_text(1.5e-7, 1e-8, 1) == "1.5 × 10⁻⁷ (1.0 × 10⁻⁸ – 1.0)"
    assert lr_text(996, 99.6, 0.5) == "1.0 × 10³ (100 – 0.50)"


def test_bad_searches(tmp_path, templates):
    watchlist = opened(tmp_path)
    with pytest.raises(InputError, match="one probe"):
        watchlist.search(templates(2))
    for wrong, said in (
        ({"top": 0}, "top"),
        ({"mode": "threshold"}, "a threshold with it"),
        ({"mode": "rank", "threshold": 0.9}, "no threshold"),
        ({"mode": "verdict"}, "expected threshold or rank"),
        ({"threshold": np.nan}, "a score"),
        ({"index": "guess"}, "expected exact"),
        ({"damaged": "hide"}, "expected refuse or skip"),
    ):
        watchlist.enrol_many(templates(2), **FACTS)
        with pytest.raises(InputError, match=said):
            watchlist.search(templates(1), **wrong)
    with pytest.raises(InputError, match="enrol_many"):
        watchlist.enrol(templates(2), subject="a", **FACTS)
    with pytest.raises(InputError, match="one for each"):
        watchlist.enrol_many(templates(2), subjects=["a"], **FACTS)


@pytest.mark.parametrize("wrong", [{"level": 2}, {"level": float("nan")}, {"top": 2.5}])
@pytest.mark.parametrize("entries", [0, 1])
def test_options_are_checked_before_anything_is_searched(tmp_path, templates, entries, wrong):
    watchlist = opened(tmp_path)
    if entries:
        watchlist.enrol(templates(1), subject="a", **FACTS)
    with pytest.raises(InputError, match=next(iter(wrong))):
        watchlist.search(templates(1), **wrong)


@pytest.mark.parametrize("key", ["x" * 32, None, bytes(31), bytearray(32)])
def test_what_is_no_key(tmp_path, key):
    with pytest.raises(InputError, match="expected 32"):
        Watchlist.open(tmp_path, key=key)


def test_nothing_is_enrolled_when_one_is_refused(tmp_path, templates):
    watchlist = opened(tmp_path)
    with pytest.raises(RefusedError, match="subject"):
        watchlist.enrol_many(templates(3), subjects=["a", "b", ""], **FACTS)
    assert len(watchlist) == 0


def test_a_child_needs_an_extra_approval(tmp_path, templates):
    watchlist, people = opened(tmp_path), templates(3)
    for approval in (None, "", "  "):
        with pytest.raises(RefusedError, match="minor_approval is missing"):
            watchlist.enrol(one(people, 0), subject="a", minor=True, minor_approval=approval, **FACTS)
    with pytest.raises(RefusedError, match="expected minor=True"):
        watchlist.enrol(one(people, 0), subject="a", minor_approval="change 4", **FACTS)
    with pytest.raises(RefusedError, match="minor_approval is missing"):
        watchlist.enrol_many(people, minor=True, **FACTS)
    assert len(watchlist) == 0
    watchlist.enrol(one(people, 0), subject="a", minor=True, minor_approval="change 4", **FACTS)
    watchlist.enrol(one(people, 1), subject="b", **FACTS)
    assert [(e.minor, e.minor_approval) for e in watchlist.entries()] == [(True, "change 4"), (False, "")]


def test_no_candidate_scores_below_the_threshold(tmp_path, templates):
    watchlist, people = opened(tmp_path), templates(6)
    watchlist.enrol_many(people, **FACTS)
    whole = watchlist.search(one(people, 0), top=len(people))
    scores = [c.score for c in whole.candidates]
    cut = watchlist.search(one(people, 0), top=len(people), threshold=scores[1])
    assert [c.score for c in cut.candidates] == scores[:2]
    nobody = watchlist.search(one(people, 0), threshold=2.0)
    assert (len(nobody), nobody.gallery_size) == (0, whole.gallery_size)
    assert nobody.to_frame().empty
    assert "0 candidates" in nobody._repr_html_()
