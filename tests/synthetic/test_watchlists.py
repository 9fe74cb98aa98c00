"""Synthetic galleries resemble real ones in their scores; degraded photos stay findable."""

from __future__ import annotations

from datetime import UTC, date, datetime

import numpy as np
import pytest

from crimeface_lib.core.errors import InputError, NoFaceError
from crimeface_lib.faces import assess_quality, detect_faces
from crimeface_lib.recognition import Watchlist, embed_images, load_calibration, load_embedder
from crimeface_lib.synthetic.faces import degrade_photo
from crimeface_lib.synthetic.watchlists import synthetic_watchlist


@pytest.fixture(scope="module")
def embedder():
    return load_embedder("dlib", device="cpu")


def test_scores_are_those_of_strangers(embedder):
    """Against the quantiles of real non-mated pairs that the shipped calibration holds."""
    made = synthetic_watchlist(600, embedder=embedder, rng=1)
    assert np.allclose(np.linalg.norm(made.vectors, axis=1), 1, atol=1e-6)
    assert made.subjects[:2] == ("SYN-0001", "SYN-0002")
    scores = (made.vectors @ made.vectors.T)[np.triu_indices(600, 1)]
    real = load_calibration("dlib").nonmated
    for part in (5, 25, 50, 75, 95, 99):
        assert np.quantile(scores, part / 100) == pytest.approx(real[part], abs=0.012)


def test_same_seed_same_people(embedder):
    first, again, other = (synthetic_watchlist(3, embedder=embedder, rng=seed).vectors for seed in (7, 7, 8))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_bad_input(embedder):
    with pytest.raises(InputError, match="at least 1"):
        synthetic_watchlist(0, embedder=embedder)

    class Other:
        name, version, dimension = "other", "1", 128

    with pytest.raises(InputError, match="expected dlib"):
        synthetic_watchlist(1, embedder=Other())


def test_degraded_photo_is_worse_and_repeatable(astronaut):
    probe = degrade_photo(astronaut, rng=3)
    assert np.array_equal(probe, degrade_photo(astronaut, rng=3))
    assert not np.array_equal(probe, degrade_photo(astronaut, rng=4))
    before, after = (assess_quality(photo, detect_faces(photo)[0]).score for photo in (astronaut, probe))
    assert after < before - 5
    with pytest.raises(InputError, match="scale"):
        degrade_photo(astronaut, scale=2)
    with pytest.raises(NoFaceError):
        degrade_photo(np.full((200, 200, 3), 128, np.uint8))


def test_the_degraded_portrait_ranks_its_original_first(astronaut, embedder, tmp_path):
    at = datetime(2026, 1, 1, tzinfo=UTC)
    watchlist = Watchlist.open(tmp_path, key=bytes(32), clock=lambda: at)
    facts = {"rationale": "r", "category": "c", "added_by": "a", "expires": date(2027, 1, 1)}
    watchlist.enrol_many(synthetic_watchlist(200, embedder=embedder, rng=2), source="synthetic", **facts)
    photo = embed_images([astronaut], embedder=embedder)
    watchlist.enrol(photo, subject="DEMO-ASTRONAUT", source="public domain", **facts)
    for seed in range(5):
        probe = embed_images([degrade_photo(astronaut, rng=seed)], embedder=embedder)
        found = watchlist.search(probe, top=3)
        assert found.gallery_size == 201
        assert found.candidates[0].subject == "DEMO-ASTRONAUT"
        assert found.candidates[0].likelihood_ratio > 100 * found.candidates[1].likelihood_ratio
        assert found.candidates[1].quality is None
