"""Exact and approximate search, open sets, sessions in locked memory."""

from __future__ import annotations

import pickle
import sys
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crimeface_lib.core.errors import InputError, MissingBackendError, RefusedError, ShapeError
from crimeface_lib.recognition import Embeddings, Gallery, Watchlist, fpir_from_calibration, load_calibration
from crimeface_lib.recognition import search as searching
from crimeface_lib.recognition.locked import LockedRows
from crimeface_lib.recognition.search import ExactIndex, build_index, measure_recall, most_similar_other, unit_rows

FACTS = {
    "source": "custody photo", "rationale": "wanted on warrant", "category": "wanted", "added_by": "officer-7",
    "expires": date(2026, 12, 31),
}  # fmt: skip
NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)


def rows_of(count: int, *, seed: int = 0, dimension: int = 16) -> np.ndarray:
    drawn = np.random.default_rng(seed).normal(size=(count, dimension)) + 1
    return (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)


def by_sorting(rows: np.ndarray, probes: np.ndarray, top: int) -> np.ndarray:
    """The reference: every score in float64, a full stable sort."""
    return np.argsort(-np.round(probes.astype(float) @ rows.astype(float).T, 12), axis=1, kind="stable")[:, :top]


@pytest.mark.parametrize("order", ["random", "rising", "falling"])
@pytest.mark.parametrize(("count", "top"), [(1, 1), (7, 20), (5000, 20), (5000, 5000), (70_000, 3)])
def test_the_search_equals_a_full_sort(count, top, order):
    rows, probes = rows_of(count), rows_of(3, seed=1)
    if order != "random":
        rows = rows[np.argsort((rows @ probes[0]) * (1 if order == "rising" else -1))]
    found = ExactIndex(rows).nearest(probes, top=top)
    assert np.array_equal(np.stack(found.rows), by_sorting(rows, probes, top))
    for one, (picked, scores) in enumerate(zip(found.rows, found.scores, strict=True)):
        assert scores == pytest.approx(rows[picked].astype(float) @ probes[one].astype(float), abs=1e-12)


@given(st.lists(st.integers(0, 5), min_size=1, max_size=60), st.integers(1, 10), st.integers(1, 4), st.integers(4, 40))
@settings(max_examples=60, deadline=None)
def test_equal_scores_come_in_the_order_of_the_rows_whatever_the_blocks(picks, top, probes, size):
    rows, asked = rows_of(6, dimension=8)[picks], rows_of(probes, seed=2, dimension=8)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(searching, "_SCORES", size)
        found = ExactIndex(rows).nearest(asked, top=top)
    assert np.array_equal(np.stack(found.rows), by_sorting(rows, asked, top))


def test_rows_that_are_not_live_are_not_found():
    rows, probes = rows_of(300), rows_of(2, seed=1)
    live = np.random.default_rng(0).random(300) < 0.3
    for index in ("exact", "faiss"):
        found = build_index(rows, index).nearest(probes, top=300, live=live)
        assert all(live[picked].all() for picked in found.rows)
    assert [len(picked) for picked in ExactIndex(rows).nearest(probes, top=300, live=live).rows] == [live.sum()] * 2
    assert len(ExactIndex(rows).nearest(probes, top=3, live=np.zeros(300, dtype=bool)).rows[0]) == 0


@pytest.mark.parametrize(
    ("value", "said"),
    [([[1.0, np.nan]], "NaN"), ([[0.0, 0.0]], "zeros"), ([[1.0]], "expected"), ([1.0, 0.0], "expected"),
     ([["a", "b"]], "numbers")],
)  # fmt: skip
def test_rows_that_are_no_templates_are_refused(value, said):
    with pytest.raises(ShapeError, match=said):
        unit_rows(value, name="probes", dimension=2)


def test_rows_are_made_unit_length():
    assert unit_rows([[3.0, 4.0]], name="x").tolist() == [[pytest.approx(0.6), pytest.approx(0.8)]]


def test_most_similar_others_equal_a_loop():
    rows, new = rows_of(400), rows_of(300, seed=3)
    others, people = np.random.default_rng(0).integers(0, 50, 400), np.random.default_rng(1).integers(0, 50, 300)
    found = most_similar_other(new, rows, people=people, others=others, score=0.8)
    scores = new @ rows.T
    scores[people[:, None] == others[None, :]] = -1
    assert set(found) == set(np.flatnonzero(scores.max(axis=1) >= 0.8))
    assert all(found[one][0] == scores[one].argmax() for one in found)
    earlier = most_similar_other(new, new, people=people, others=people, score=0.8, earlier=True)
    within = np.tril(new @ new.T, -1)
    within[people[:, None] == people[None, :]] = -1
    assert set(earlier) == set(np.flatnonzero(within.max(axis=1) >= 0.8))


# -- approximate -------------------------------------------------------------------------------------------
@pytest.mark.parametrize("index", ["faiss", "faiss-ivf", "faiss-hnsw"])
def test_faiss_tells_its_recall_and_its_scores_are_exact(tmp_path, templates, index):
    watchlist = opened(tmp_path)
    people = templates(800)
    watchlist.enrol_many(people, **FACTS)
    found = watchlist.search(one(people, 3), top=5, index=index)
    exact = watchlist.search(one(people, 3), top=5)
    assert found.candidates[0] == exact.candidates[0]
    assert "FAISS" in found.index
    assert 0 < found.recall <= 1
    (said,) = (text for text in found.caveats if "approximate" in text)
    assert f"{found.recall:.1%}" in said
    assert exact.recall == 1
    assert not any("approximate" in text for text in exact.caveats)


def test_the_recall_is_what_is_found_of_the_exact_list():
    rows = rows_of(600, dimension=64)

    class Blind(ExactIndex):
        def nearest(self, probes, *, top, live=None):
            found = super().nearest(probes, top=top)
            return type(found)(tuple(r[::2] for r in found.rows), tuple(s[::2] for s in found.scores))

    assert measure_recall(rows, ExactIndex(rows), top=10) == (1.0, 200)
    assert measure_recall(rows, Blind(rows), top=10)[0] == pytest.approx(0.5, abs=0.01)
    assert measure_recall(rows, build_index(rows, "faiss-hnsw"), top=10)[0] > 0.95


def test_without_faiss_the_error_names_the_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(MissingBackendError, match=r"pip install 'crimeface-lib\[faiss\]'"):
        build_index(rows_of(100), "faiss")
    assert build_index(rows_of(100), "exact").name == "exact"


# -- sessions ----------------------------------------------------------------------------------------------
def opened(folder, *, at: datetime = NOW) -> Watchlist:
    return Watchlist.open(folder, key=bytes(range(32)), clock=lambda: at)


def one(embeddings: Embeddings, index: int) -> Embeddings:
    return Embeddings(
        vectors=embeddings.vectors[index : index + 1], quality=embeddings.quality[index : index + 1], failures={},
        embedder=embeddings.embedder, version=embeddings.version,
    )  # fmt: skip


def test_several_probes_in_one_session(tmp_path, templates):
    watchlist, people = opened(tmp_path), templates(50)
    watchlist.enrol_many(people, **FACTS)
    vectors = people.vectors[[4, 9, 30]].copy()
    vectors[1] = np.nan
    probes = Embeddings(
        vectors=vectors, quality=np.array([80, np.nan, 70.0]), failures={1: "no face"}, embedder="dlib",
        version=people.version,
    )  # fmt: skip
    with watchlist.opened() as gallery:
        found = gallery.search(probes, top=3)
        again = gallery.search(one(people, 4), top=3)
    assert [found.lists[i].candidates[0].subject for i in (0, 2)] == ["S-004", "S-030"]
    assert found.lists[0].candidates == again.lists[0].candidates == watchlist.search(one(people, 4), top=3).candidates
    assert found.failures == {1: "no face"}
    assert list(found.to_frame()["probe"]) == [0, 0, 0, 2, 2, 2]
    assert "Not searched" in found._repr_html_()
    assert "no face" in found._repr_html_()


def test_an_open_gallery_says_where_it_lies_and_is_zeroed(tmp_path, templates):
    watchlist, people = opened(tmp_path), templates(5)
    watchlist.enrol_many(people, **FACTS)
    with watchlist.opened() as gallery:
        rows = gallery._rows.array
        assert rows == pytest.approx(people.vectors)
        assert "locked" in gallery.memory
        assert gallery.memory in repr(gallery)
        for secret in (gallery, gallery._rows, gallery._seals):
            with pytest.raises(TypeError, match="not pickled"):
                pickle.dumps(secret)
    assert not rows.any(), "zeroed in place"
    with pytest.raises(InputError, match="closed"):
        gallery.search(one(people, 0))
    with pytest.raises(InputError, match="closed"):
        gallery.false_positives(0.9)
    with pytest.raises(ZeroDivisionError), watchlist.opened() as gallery:  # noqa: PT012
        rows = gallery._rows.array
        raise ZeroDivisionError
    assert not rows.any()


def test_memory_that_can_not_be_locked_is_told(monkeypatch):
    monkeypatch.setattr("crimeface_lib.recognition.locked._lock", lambda *_: (False, "not locked: ulimit -l"))
    rows = LockedRows(3, 4)
    assert (rows.locked, rows.note) == (False, "not locked: ulimit -l")


def test_an_entry_that_expires_during_a_session_is_not_found(tmp_path, templates):
    people, clock = templates(3), [NOW]
    watchlist = Watchlist.open(tmp_path, key=bytes(32), clock=lambda: clock[0])
    watchlist.enrol(one(people, 0), subject="short", **FACTS | {"expires": date(2026, 6, 1)})
    watchlist.enrol(one(people, 1), subject="long", **FACTS)
    with watchlist.opened() as gallery:
        assert gallery.search(one(people, 0)).lists[0].gallery_size == 2
        clock[0] = NOW + timedelta(days=1)
        found = gallery.search(one(people, 0)).lists[0]
        assert [c.subject for c in found.candidates] == ["long"]
        assert found.gallery_size == 1
        clock[0] = NOW + timedelta(days=900)
        empty = gallery.search(one(people, 0), threshold=0.5).lists[0]
    assert (len(empty), empty.gallery_size) == (0, 0)


def test_more_asked_than_there_are(tmp_path, templates):
    watchlist, people = opened(tmp_path), templates(4)
    watchlist.enrol_many(people, **FACTS)
    assert len(watchlist.search(one(people, 0), top=1000)) == 4


def test_probes_of_another_dimension_or_model_are_refused(tmp_path, templates):
    watchlist, people = opened(tmp_path), templates(2)
    watchlist.enrol_many(people, **FACTS)
    short = Embeddings(
        vectors=rows_of(1), quality=np.array([80.0]), failures={}, embedder="dlib", version=people.version
    )
    with pytest.raises(ShapeError, match="expected"):
        watchlist.search(short)
    with pytest.raises(ShapeError, match="expected"):
        watchlist.enrol(short, subject="x", **FACTS)
    with watchlist.opened() as gallery, pytest.raises(RefusedError, match="different models"):
        gallery.search(templates(1, version="0" * 64))


# -- open sets ---------------------------------------------------------------------------------------------
def test_the_two_modes_are_told_apart(tmp_path, templates):
    watchlist, people = opened(tmp_path), templates(6)
    watchlist.enrol_many(people, **FACTS)
    ranked = watchlist.search(one(people, 0), top=3)
    assert (ranked.mode, ranked.threshold, ranked.fpir) == ("rank", None, None)
    assert "also one for a person who is not on the list" in " ".join(ranked.caveats)
    kept = watchlist.search(one(people, 0), threshold=0.9, mode="threshold")
    assert (kept.mode, kept.threshold, len(kept)) == ("threshold", 0.9, 1)
    assert kept.fpir.sentence in kept.caveats
    assert "threshold 0.900" in kept._repr_html_()
    assert "by rank" in ranked._repr_html_()


def test_the_calibration_s_fpir_grows_with_the_list():
    calibration = load_calibration("dlib")
    threshold = float(np.quantile(calibration.nonmated, 0.9))
    single = fpir_from_calibration(calibration, threshold=threshold, gallery_size=1)
    many = fpir_from_calibration(calibration, threshold=threshold, gallery_size=30)
    assert single.fpir == pytest.approx(0.1, abs=0.01)
    assert many.fpir == pytest.approx(1 - (1 - single.fpir) ** 30)
    assert single.low < single.fpir < single.high
    assert (many.low, many.high) == pytest.approx(tuple(1 - (1 - end) ** 30 for end in (single.low, single.high)))
    above = fpir_from_calibration(calibration, threshold=1.0, gallery_size=100_000)
    assert above.fpir == above.low == 0
    rule_of_three = 1 - 0.05 ** (1 / above.trials)
    assert above.high == pytest.approx(1 - (1 - rule_of_three) ** 100_000)  # not seen is not never
    assert above.trials == 2132 * 2131 // 2
    assert "take it for a guess" not in above.sentence
    assert "take it for a guess" in fpir_from_calibration(calibration, threshold=0.9, gallery_size=10**6).sentence
    assert fpir_from_calibration(calibration, threshold=-1, gallery_size=2).fpir == pytest.approx(1)
    with pytest.raises(InputError, match="a score"):
        fpir_from_calibration(calibration, threshold=np.nan, gallery_size=2)


def test_the_gallery_s_fpir_is_what_its_own_people_yield(tmp_path, templates):
    watchlist, people = opened(tmp_path), templates(150)
    watchlist.enrol_many(people, subjects=[f"S-{i // 2}" for i in range(150)], **FACTS)
    scores = people.vectors @ people.vectors.T
    for i in range(150):
        scores[i, [i, i ^ 1]] = -1  # not with one's own photos
    threshold = float(np.median(scores.max(axis=1)))
    with watchlist.opened() as gallery:
        rate = gallery.false_positives(threshold)
        assert rate.trials == 75, "a person with many photos counts once"
        errors = (scores.max(axis=1) >= threshold).reshape(75, 2)
        assert errors.all(axis=1).sum() <= rate.false <= errors.any(axis=1).sum()
        assert rate.low < rate.fpir < rate.high
        assert gallery.search(one(people, 0), threshold=threshold).lists[0].fpir.evaluated == 1, "75 people are few"
    more = templates(60, seed=9)
    watchlist.enrol_many(more, subjects=[f"T-{i}" for i in range(60)], **FACTS)
    assert watchlist.search(one(people, 0), threshold=threshold).fpir.evaluated == 210


def test_the_fpir_is_measured_without_what_has_expired(tmp_path, templates):
    """What a legal hold keeps beyond its last day takes part in no search, nor in what is said of one."""
    people = templates(130)
    twins = replace(people, vectors=np.repeat(people.vectors[:1], 130, axis=0))
    watchlist = opened(tmp_path)
    watchlist.enrol_many(people, **FACTS)
    watchlist.enrol_many(twins, subjects=[f"T-{i}" for i in range(130)], **FACTS | {"expires": NOW.date()})
    now = [NOW]
    later = Watchlist.open(tmp_path, key=bytes(range(32)), clock=lambda: now[0], purge=False)
    with later.opened() as gallery:
        assert gallery.search(one(people, 0), threshold=0.99).lists[0].fpir.fpir > 0.3
        now[0] += timedelta(days=1)
        found = gallery.search(one(people, 0), threshold=0.99).lists[0]
    assert (found.gallery_size, found.fpir.gallery_size, found.fpir.fpir) == (130, 130, 0)


def test_nobody_to_measure_on(tmp_path, templates):
    watchlist, people = opened(tmp_path), templates(2)
    watchlist.enrol_many(people, subjects=["a", "a"], **FACTS)
    with watchlist.opened() as gallery, pytest.raises(InputError, match="two people"):
        gallery.false_positives(0.9)
    assert isinstance(watchlist.opened(), Gallery)
