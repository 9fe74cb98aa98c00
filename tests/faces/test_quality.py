"""The quality score falls when a photo is made worse (R7), and says why."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from crimeface_lib.faces import Face, assess_quality, detect_faces


@pytest.fixture(scope="module")
def face(astronaut) -> Face:
    return detect_faces(astronaut)[0]


def falls(scores: list[float]) -> bool:
    return bool((np.diff(scores) < 0).all())


def test_falls_with_blur(astronaut, face):
    scores = [assess_quality(cv2.GaussianBlur(astronaut, (0, 0), s), face).score for s in (2, 3, 4, 6, 9)]
    assert falls([assess_quality(astronaut, face).score, *scores])


def test_falls_with_darkening(astronaut, face):
    scores = [assess_quality((astronaut * k).astype(np.uint8), face).score for k in (1.0, 0.6, 0.4, 0.25, 0.1)]
    assert falls(scores)


def test_falls_with_downscaling(astronaut, face):
    scores = []
    for k in (1.0, 0.7, 0.5, 0.3):
        small = cv2.resize(astronaut, None, fx=k, fy=k, interpolation=cv2.INTER_AREA)
        box = tuple(v * k for v in face.box)
        scores.append(assess_quality(small, Face(box=box, score=face.score, points=face.points * k)).score)
    assert falls(scores)


def test_falls_with_turning_the_head(astronaut, face):
    scores = []
    for shift in (4, 9, 14, 18):
        points = face.points.copy()
        points[4, 0] += shift
        scores.append(assess_quality(astronaut, Face(box=face.box, score=1.0, points=points)).parts["pose"])
    assert falls(scores)


def test_reasons_are_plain_words(astronaut, face):
    assert assess_quality(astronaut, face).reasons == ()
    black = assess_quality((astronaut * 0.05).astype(np.uint8), face)
    assert black.score < 40
    assert any("dark" in reason for reason in black.reasons)
    assert 0 <= black.score <= 100
    assert list(black.to_frame()["part"]) == ["resolution", "sharpness", "exposure", "contrast", "pose"]
    assert assess_quality(np.zeros_like(astronaut), face).score == 0
