"""Templates of a large collection survive an interruption, and lie nowhere in clear."""

from __future__ import annotations

import base64
from types import SimpleNamespace

import numpy as np
import pytest

from crimeface_lib.core.errors import InputError, IntegrityError
from crimeface_lib.recognition import Embeddings, embed_in_parts, parts

KEY = bytes(range(32))
NET = SimpleNamespace(name="net", version="1")


@pytest.fixture
def embedded(monkeypatch, tmp_path):
    """Photos that are text files, embedded by what they hold; every photo embedded is written down."""
    seen: list[str] = []

    def embed(photos, *, embedder, detector, which, progress):
        seen.extend(path.name for path in photos)
        rows = np.array([np.random.default_rng(path.read_bytes()[0]).normal(size=16) for path in photos])
        vectors = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
        lost = {row: f"no face in {path.name}" for row, path in enumerate(photos) if path.read_bytes() == b"z"}
        vectors[list(lost)] = np.nan
        quality = np.where(np.isnan(vectors[:, 0]), np.nan, 70.0)
        return Embeddings(vectors, quality, lost, embedder.name, f"{embedder.version}+mirror", ("note",) * len(photos))

    monkeypatch.setattr(parts, "embed_images", embed)
    photos = [tmp_path / f"jane-doe-{k}.jpg" for k in range(7)]
    for path, letter in zip(photos, "abczdef", strict=True):
        path.write_text(letter)
    folder = tmp_path / "parts"
    folder.mkdir()
    return SimpleNamespace(photos=photos, folder=folder, seen=seen, embed=embed)


def made(embedded, **options):
    return embed_in_parts(NET, embedded.photos, **({"folder": embedded.folder, "key": KEY, "part": 2} | options))


def test_parts_together_are_what_one_call_gives(embedded):
    told = []
    found = made(embedded, progress=lambda done, total: told.append((done, total)))
    whole = embedded.embed(embedded.photos, embedder=NET, detector="dlib", which="largest", progress=False)
    np.testing.assert_array_equal(found.vectors, whole.vectors)
    assert found.failures == whole.failures == {3: "no face in jane-doe-3.jpg"}
    assert (found.version, len(found.notes)) == ("1+mirror", 7)
    assert told == [(2, 7), (4, 7), (6, 7), (7, 7)]


def test_a_stop_loses_one_part_at_most_and_what_is_read_back_is_the_same(embedded):
    def stop(done, total):
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        made(embedded, progress=stop)
    embedded.seen.clear()
    found = made(embedded)
    assert embedded.seen == [f"jane-doe-{k}.jpg" for k in (4, 5, 6)]
    embedded.seen.clear()
    again = made(embedded)
    assert not embedded.seen
    np.testing.assert_array_equal(found.vectors, again.vectors)
    assert found.failures == again.failures


def test_what_changed_is_embedded_again(embedded):
    made(embedded)
    for change in ({"key": bytes(32)}, {"which": "central"}, {"detector": "yunet"}):
        embedded.seen.clear()
        made(embedded, **change)
        assert len(embedded.seen) == 7, change
    embedded.photos[0].write_text("q")
    embedded.seen.clear()
    made(embedded)
    assert embedded.seen == ["jane-doe-0.jpg", "jane-doe-1.jpg"]


def test_no_template_no_name_no_reason_is_in_clear_and_only_the_owner_reads(embedded):
    found = made(embedded)
    files = list(embedded.folder.iterdir())
    assert len(files) == 4
    for row in (0, 6):
        single, double = found.vectors[row].astype("<f4").tobytes(), found.vectors[row].astype("<f8").tobytes()
        forms = [form[:12] for raw in (single, double) for form in (raw, base64.b64encode(raw), raw.hex().encode())]
        forms += [f"{found.vectors[row][0]:.5f}".encode(), b"jane-doe", b"no face", b"vectors"]
        for file in files:
            assert not [form for form in forms if form in file.name.encode() + file.read_bytes()]
            assert file.stat().st_mode & 0o077 == 0


def test_a_changed_or_exchanged_part_is_refused(embedded):
    made(embedded)
    first, second = sorted(embedded.folder.iterdir())[:2]
    kept = first.read_bytes()
    for wrong in (kept[:-1] + bytes([kept[-1] ^ 1]), second.read_bytes(), b""):
        first.write_bytes(wrong)
        with pytest.raises(IntegrityError, match=r"was changed; delete it"):
            made(embedded)
    first.unlink()
    made(embedded)


@pytest.mark.parametrize("wrong", [{"key": b"short"}, {"part": 0}])
def test_bad_input(embedded, wrong):
    with pytest.raises(InputError, match="expected some photos, 32 and at least 1"):
        made(embedded, **wrong)
    with pytest.raises(InputError, match="got 0 photos"):
        embed_in_parts(NET, [], folder=embedded.folder, key=KEY)
