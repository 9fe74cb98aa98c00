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
    assert list(black.to_frame()["part"]) == list(black.parts)
    assert assess_quality(np.zeros_like(astronaut), face).score < 20


@pytest.mark.parametrize("levels", [(8, 16, 32, 50)])
def test_falls_with_noise(astronaut, face, levels):
    grain = np.random.default_rng(0).normal(size=astronaut.shape)
    scores = [assess_quality(np.clip(astronaut + k * grain, 0, 255).astype(np.uint8), face).score for k in levels]
    assert falls(scores)


def test_falls_with_compression_and_over_exposure(astronaut, face):
    packed = [cv2.imencode(".jpg", astronaut, [cv2.IMWRITE_JPEG_QUALITY, q])[1] for q in (60, 30, 15, 5)]
    assert falls([assess_quality(cv2.imdecode(one, cv2.IMREAD_COLOR), face).score for one in packed])
    bright = [np.clip(astronaut * k, 0, 255).astype(np.uint8) for k in (1.0, 1.3, 1.7, 2.5)]
    assert falls([assess_quality(photo, face).score for photo in bright])


def hidden(photo: np.ndarray, face: Face, what: str, part: float) -> np.ndarray:
    """Paint a mask from the chin up, sunglasses from the middle out, or a hand in the colour of the cheek."""
    covered, (right, left) = photo.copy(), face.eyes
    across, middle = left - right, (left + right) / 2
    down = np.array([-across[1], across[0]])
    top = 1.75 - 1.5 * part
    corners, colour = {
        "mask": (((-1.1, top), (1.1, top), (0.8, 2.0), (-0.8, 2.0)), (200, 215, 230)),
        "glasses": (
            ((-part, -0.35 * part), (part, -0.35 * part), (part, 0.4 * part), (-part, 0.4 * part)),
            (15, 15, 18),
        ),
        "hand": (((1.2 - 2 * part, 0.3), (1.2, 0.1), (1.2, 1.9), (1.1 - 2 * part, 1.8)), (160, 110, 90)),
    }[what]
    outline = np.rint([middle + x * across + y * down for x, y in corners]).astype(np.int32)
    return cv2.fillPoly(covered, [outline], colour) if part else covered


@pytest.mark.parametrize("what", ["mask", "glasses", "hand"])
def test_falls_when_the_face_is_hidden(astronaut, face, what):
    found = [assess_quality(hidden(astronaut, face, what, part), face) for part in (0, 0.5, 1.0)]
    assert falls([one.parts["visibility"] for one in found[::2]])
    assert found[-1].score < found[0].score - 10
    assert any("hidden" in reason for reason in found[-1].reasons)


def test_on_real_photos_most_steps_fall(data_root):
    """Blur, glasses and mask on a few LFW photos: at least nine in ten steps lower the score."""
    from crimeface_lib.faces import load_image

    steps = []
    for path in sorted((data_root / "lfw" / "images").glob("*/*.jpg"))[::500]:
        photo = load_image(path)
        for face in detect_faces(photo)[:1]:
            blurred = [cv2.GaussianBlur(photo, (0, 0), sigma) for sigma in (1, 2, 4)]
            for sequence in (
                blurred,
                *([hidden(photo, face, k, part) for part in (0, 0.5, 1)] for k in ("mask", "glasses")),
            ):
                steps += list(np.diff([assess_quality(one, face).score for one in sequence]) < 0)
    assert np.mean(steps) >= 0.9
