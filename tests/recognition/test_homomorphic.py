"""Comparing under encryption (T5): the scores agree with plain ones, and each file is only what its holder may have."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("tenseal")

from crimeface_lib.core.errors import (
    InputError,
    IntegrityError,
    MissingBackendError,
    NoFaceError,
    NotFoundError,
    RefusedError,
    ShapeError,
)
from crimeface_lib.recognition import (
    Comparer,
    Embeddings,
    KeyHolder,
    encrypt_probe,
    he_files,
    load_calibration,
    score_pairs,
)
from crimeface_lib.recognition.he_ckks import BLOCK, new_context, open_context, serialised
from crimeface_lib.recognition.homomorphic import PUBLIC, SECRET, STEP
from crimeface_lib.storage import KeyRing

COUNT = BLOCK + 40  # two blocks, the second not full


@pytest.fixture(scope="module")
def party(tmp_path_factory, templates):
    """A key holder with a gallery, a comparer, a probe that resembles entry 3, and the answer to it."""
    folder = tmp_path_factory.mktemp("he")
    keys = KeyRing.open(folder / "keys.json")
    key = keys.data_key(folder / "content.key", context=b"he")
    holder = KeyHolder.create(folder / "he", key=key, signing_key=keys.signing_key)
    gallery = templates(COUNT, seed=1)
    sealed = holder.protect(gallery, records=[f"record-{i}" for i in range(COUNT)])
    comparer = Comparer(folder / "he" / PUBLIC, sealed, verify_key=keys.verify_key)
    near = gallery.vectors[3] + np.random.default_rng(2).normal(0, 0.02, 128)
    sought = templates(1, vectors=near[None])
    public = {"context": folder / "he" / PUBLIC, "verify_key": keys.verify_key}
    probe = encrypt_probe(sought, **public)
    return SimpleNamespace(
        folder=folder / "he", keys=keys, key=key, holder=holder, gallery=gallery, sealed=sealed, comparer=comparer,
        sought=sought, public=public, probe=probe, answer=comparer.compare(probe),
    )  # fmt: skip


def changed(data: bytes, at: int) -> bytes:
    return data[: (at := at % len(data))] + bytes([data[at] ^ 1]) + data[at + 1 :]


def renamed(one: Embeddings, **said) -> Embeddings:
    fields = {name: getattr(one, name) for name in ("vectors", "quality", "failures", "embedder", "version")}
    return Embeddings(**fields | said)


def test_scores_agree_with_plain_ones_to_the_stated_rounding(party):
    """Every score, over both blocks, beside ``score_pairs``: order, value and number."""
    plain = score_pairs(np.broadcast_to(party.sought.vectors, party.gallery.vectors.shape), party.gallery.vectors)
    found = party.holder.candidates(party.answer, probe=party.probe, threshold=-1, top=1000)
    assert found.gallery_size == len(found) == COUNT
    rows = [int(name.removeprefix("record-")) for name in found.records]
    assert sorted(rows) == list(range(COUNT))
    assert np.abs(np.array(found.scores) - plain[rows]).max() <= STEP
    assert found.records[0] == "record-3"
    assert list(found.scores) == sorted(found.scores, reverse=True)


def test_only_rounded_scores_above_the_threshold_leave(party):
    found = party.holder.candidates(party.answer, probe=party.probe, threshold=0.5)
    assert found.records == ("record-3",)
    assert all(round(score, 3) == score for score in found.scores)
    assert found.scores == party.holder.candidates(party.answer, probe=party.probe, threshold=0.5).scores  # one answer
    assert len(party.holder.candidates(party.answer, probe=party.probe, threshold=-1, top=7)) == 7
    assert not len(party.holder.candidates(party.answer, probe=party.probe, threshold=0.99))
    for bad in ({"threshold": 2}, {"threshold": float("nan")}, {"threshold": 0.5, "top": 0}):
        with pytest.raises(InputError, match="expected −1 to 1"):
            party.holder.candidates(party.answer, probe=party.probe, **bad)


def test_the_result_feeds_a_calibration_and_says_no_verdict(party):
    found = party.holder.candidates(party.answer, probe=party.probe, threshold=0.5)
    ratio = load_calibration("dlib").likelihood_ratio(found.scores)
    assert ratio.lr[0] > 1
    assert found.to_frame().columns.tolist() == ["record", "score"]
    assert "no identification" in found._repr_html_()


def test_the_key_holder_has_no_way_to_hand_out_raw_decryptions(party):
    """Two answers to one probe differ in their ciphertexts' noise; what leaves differs by the blur only."""
    assert {name for name in dir(party.holder) if not name.startswith("_")} == {
        "candidates", "context_id", "create", "open", "protect",
    }  # fmt: skip
    again = encrypt_probe(party.sought, **party.public)
    other = party.holder.candidates(party.comparer.compare(again), probe=again, threshold=-1, top=1000)
    first = party.holder.candidates(party.answer, probe=party.probe, threshold=-1, top=1000)
    difference = np.abs(
        [dict(zip(first.records, first.scores, strict=True))[r] for r in other.records] - np.array(other.scores)
    )
    assert 0 < difference.max() <= 2 * STEP
    assert np.allclose(difference / STEP, np.round(difference / STEP), atol=1e-6)


def test_a_context_that_can_decrypt_is_refused(party):
    """T5: even signed by the key holder; and the sealed key itself is no context."""
    private = he_files.pack("context", {}, [serialised(new_context(), secret=True)], signing_key=party.keys.signing_key)
    for use in (
        lambda: Comparer(private, party.sealed, verify_key=party.keys.verify_key),
        lambda: encrypt_probe(party.sought, context=private, verify_key=party.keys.verify_key),
    ):
        with pytest.raises(RefusedError, match="holds a secret key"):
            use()
    with pytest.raises(IntegrityError, match="not a file of ours"):
        Comparer(party.folder / SECRET, party.sealed, verify_key=party.keys.verify_key)


def test_nothing_that_goes_out_holds_template_name_or_key(party):
    out = [(party.folder / PUBLIC).read_bytes(), party.sealed, party.probe, party.answer]
    canaries = [b"record-3", party.gallery.vectors[3].tobytes(), party.gallery.vectors[3].astype(float).tobytes()]
    for data in (
        *out,
        (party.folder / SECRET).read_bytes(),
        repr(party.holder).encode(),
        repr(party.comparer).encode(),
    ):
        assert not any(canary in data for canary in canaries)
    assert not open_context(he_files.unpack(party.folder / PUBLIC, "context").parts[0]).is_private()
    assert oct((party.folder / SECRET).stat().st_mode)[-3:] == "600"


def test_the_keys_open_again_and_no_others_do(party, tmp_path):
    holder = KeyHolder.open(party.folder, key=party.key, signing_key=party.keys.signing_key)
    assert holder.candidates(party.answer, probe=party.probe, threshold=0.5).records == ("record-3",)
    with pytest.raises(IntegrityError, match="another key"):
        KeyHolder.open(party.folder, key=bytes(32), signing_key=party.keys.signing_key)
    with pytest.raises(InputError, match="32"):
        KeyHolder.open(party.folder, key=b"short", signing_key=party.keys.signing_key)
    with pytest.raises(InputError, match="holds keys already"):
        KeyHolder.create(party.folder, key=party.key, signing_key=party.keys.signing_key)
    with pytest.raises(NotFoundError, match=r"he_public\.ctx"):
        KeyHolder.open(tmp_path, key=party.key, signing_key=party.keys.signing_key)


def test_another_holder_is_told_apart(party, tmp_path, templates):
    """Another context, signed by the same ring: its gallery, probe and key don't go with ours."""
    other = KeyHolder.create(tmp_path / "b", key=party.key, signing_key=party.keys.signing_key)
    theirs = other.protect(templates(3), records=["a", "b", "c"])
    with pytest.raises(IntegrityError, match="another context"):
        Comparer(party.folder / PUBLIC, theirs, verify_key=party.keys.verify_key)
    probe = encrypt_probe(party.sought, context=tmp_path / "b" / PUBLIC, verify_key=party.keys.verify_key)
    with pytest.raises(IntegrityError, match="another context"):
        party.comparer.compare(probe)
    with pytest.raises(IntegrityError, match="another probe"):
        party.holder.candidates(party.answer, probe=probe, threshold=0)
    with pytest.raises(IntegrityError, match="another probe, or under another key"):
        other.candidates(party.answer, probe=party.probe, threshold=0)
    (tmp_path / "b" / SECRET).write_bytes((party.folder / SECRET).read_bytes())
    with pytest.raises(IntegrityError, match=r"of another he_public\.ctx"):
        KeyHolder.open(tmp_path / "b", key=party.key, signing_key=party.keys.signing_key)
    stranger = KeyRing.open(tmp_path / "keys.json")
    with pytest.raises(IntegrityError, match="not signed"):
        Comparer(party.folder / PUBLIC, party.sealed, verify_key=stranger.verify_key)
    with pytest.raises(InputError, match="64 digits"):
        Comparer(party.folder / PUBLIC, party.sealed, verify_key="xyz")


def test_a_changed_file_is_found_out(party):
    """A byte changed in mark, head, signature and parts, a part gone, or bytes added."""
    places = (2, 30, 1500, len(party.sealed) // 2, len(party.sealed) - 1)
    for bad in (
        *(changed(party.sealed, at) for at in places),
        party.sealed[:-1],
        party.sealed + b"x",
        b"",
        b"\xff" * 99,
    ):
        with pytest.raises(IntegrityError):
            Comparer(party.folder / PUBLIC, bad, verify_key=party.keys.verify_key)
    for at in (2, 40, -1):
        with pytest.raises(IntegrityError):
            party.comparer.compare(changed(party.probe, at))
        with pytest.raises(IntegrityError):
            party.holder.candidates(changed(party.answer, at), probe=party.probe, threshold=0)


def test_parts_in_another_order_or_of_another_gallery_are_found_out(party, templates):
    """What a forger can make who has no signing key: heads that list other parts."""
    head, parts, _, _ = he_files.unpack(party.sealed, "gallery")
    said = {key: value for key, value in head.items() if key not in ("kind", "parts")}
    with pytest.raises(IntegrityError, match="not signed"):
        Comparer(party.folder / PUBLIC, he_files.pack("gallery", said, parts[::-1]), verify_key=party.keys.verify_key)
    answer = he_files.unpack(party.answer, "answer")
    said = {key: value for key, value in answer.head.items() if key not in ("kind", "parts")}
    for forged in (
        {**said, "gallery": {**head, "version": "other"}},
        {**said, "gallery": {**head, "count": 3}},
        {**said, "signature": "00" * 64},
        {"probe": said["probe"]},
    ):
        with pytest.raises(IntegrityError):
            party.holder.candidates(he_files.pack("answer", forged, answer.parts), probe=party.probe, threshold=0)
    for wrong in (answer.parts[:1], parts[:2], [b"junk"] * 2, [answer.parts[0]] * 2):
        with pytest.raises(IntegrityError):  # a part missing, ciphertexts of the gallery, none, one block twice
            party.holder.candidates(he_files.pack("answer", said, wrong), probe=party.probe, threshold=0)


def test_templates_of_other_models_are_not_compared(party, templates):
    for said, field in (({"version": "v2"}, "version"), ({"embedder": "sface"}, "embedder")):
        probe = encrypt_probe(renamed(party.sought, **said), **party.public)
        with pytest.raises(RefusedError, match=f"{field}: got a probe"):
            party.comparer.compare(probe)
        lying = he_files.unpack(party.answer, "answer")  # by a comparer that does not look
        said = {key: lying.head[key] for key in ("gallery", "signature")} | {
            "probe": he_files.unpack(probe, "probe").name
        }
        with pytest.raises(RefusedError, match=f"{field}: got a probe"):
            party.holder.candidates(he_files.pack("answer", said, lying.parts), probe=probe, threshold=0)
    short = renamed(party.sought, vectors=np.eye(64, dtype=np.float32)[:1])
    with pytest.raises(RefusedError, match="dimension: got a probe of 64"):
        party.comparer.compare(encrypt_probe(short, **party.public))


def test_templates_that_are_none_are_refused(party, templates):
    one = templates(2)
    failed = renamed(one, vectors=np.vstack([one.vectors[:1], np.full((1, 128), np.nan)]), failures={1: "no face"})
    with pytest.raises(NoFaceError, match="no face"):
        party.holder.protect(failed, records=["a", "b"])
    with pytest.raises(ShapeError, match="unit length"):
        party.holder.protect(renamed(one, vectors=one.vectors * 3), records=["a", "b"])
    for records in (["a"], ["a", "a"], []):
        with pytest.raises(InputError, match="different names"):
            party.holder.protect(one, records=records)
    with pytest.raises(InputError, match="one probe"):
        encrypt_probe(one, **party.public)


def test_progress_is_told_and_an_odd_dimension_is_filled_up(party):
    told: list[tuple[int, int]] = []
    vectors = np.eye(13, dtype=np.float32)
    odd = renamed(party.gallery, vectors=vectors, quality=np.ones(13), failures={})
    sealed = party.holder.protect(
        odd, records=list("abcdefghijklm"), progress=lambda done, all: told.append((done, all))
    )
    probe = encrypt_probe(renamed(odd, vectors=vectors[4:5], quality=np.ones(1)), **party.public)
    answer = Comparer(party.public["context"], sealed, verify_key=party.keys.verify_key).compare(probe)
    assert party.holder.candidates(answer, probe=probe, threshold=0.5).records == ("e",)
    assert told == [(13, 13)]


def test_without_tenseal_the_command_is_said(party, monkeypatch):
    monkeypatch.setitem(sys.modules, "tenseal", None)
    with pytest.raises(MissingBackendError, match=r"pip install 'crimeface-lib\[he\]'"):
        Comparer(party.folder / PUBLIC, party.sealed, verify_key=party.keys.verify_key)
