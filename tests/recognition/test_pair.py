"""Two photos compared: what stands against it, the one ratio, and how it moves."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from crimeface_lib.core.errors import ImageError, NoFaceError, RefusedError
from crimeface_lib.recognition import embed_images, load_calibration, load_embedder, pair, score_pairs
from crimeface_lib.recognition.pair import check_pair, compare_pair, look_at
from crimeface_lib.synthetic import degrade_photo


@pytest.fixture(scope="module")
def embedder():
    return load_embedder("dlib", device="cpu")


@pytest.fixture(scope="module")
def sides(tmp_path_factory, embedder):
    from skimage import data

    folder = tmp_path_factory.mktemp("pair")
    photo = np.ascontiguousarray(data.astronaut())
    Image.fromarray(photo).save(folder / "a.png")
    Image.fromarray(degrade_photo(photo, rng=1)).save(folder / "b.png")
    return tuple(
        look_at(folder / f"{name.lower()}.png", name, "largest", detector="dlib", embedder=embedder) for name in "AB"
    )


def passed(checks):
    return {check.check: check.passed for check in checks}


def test_one_file_twice_and_a_copy_of_one_picture_are_told_and_stop_the_comparison(sides):
    calibration = load_calibration("dlib")
    first, second = sides
    assert not passed(check_pair(first, first, calibration, minimum=40))["two files"]
    copied = passed(check_pair(first, second, calibration, minimum=40))
    assert copied["two files"]
    assert not copied["two pictures"], "smaller, darker, noisier, and the same picture"
    turned = replace(second, photo=second.photo[:, ::-1].copy())
    assert passed(check_pair(first, turned, calibration, minimum=40))["two pictures"], "no copy as far as pixels tell"


def test_a_poor_photo_stops_it_and_one_poorer_than_the_calibrations_is_told(sides):
    calibration = load_calibration("dlib")
    first, second = sides
    poor = replace(second, quality=replace(second.quality, score=35.0))
    assert not passed(check_pair(first, poor, calibration, minimum=40))["quality of photo B"]
    (*_, told) = check_pair(first, poor, calibration, minimum=30)
    assert (told.passed, told.caution) == (True, True)
    assert "better photos than this" in told.found
    (*_, told) = check_pair(first, poor, replace(calibration, photo_quality=np.empty(0)), minimum=30)
    assert "doesn't tell" in told.found
    weak = replace(second, choice=replace(second.choice, face=replace(second.choice.face, score=-0.2)))
    assert not passed(check_pair(first, weak, calibration, minimum=30))["face in photo B"]


def test_the_ratio_is_the_calibrations_for_the_score_and_a_lost_face_is_a_named_failure(sides, embedder, monkeypatch):
    changes = {"as it is": None, "nothing left": np.zeros((200, 200, 3), np.uint8)}
    monkeypatch.setattr(pair, "_altered", lambda side: changes | {"as it is": side.photo})
    calibration = load_calibration("dlib")
    options = {"detector": "dlib", "others": (), "level": 0.9}
    found = compare_pair(embedder, *sides, calibration=calibration, **options)
    vectors = embed_images([side.photo for side in sides], embedder=embedder).vectors
    assert found.score == pytest.approx(score_pairs(vectors[:1], vectors[1:])[0], abs=1e-6)
    ratios = calibration.likelihood_ratio([found.score], level=0.9)
    assert (found.likelihood_ratio, found.clamped) == (ratios.lr[0], ratios.clamped[0])
    assert [(row["side"], row["lr"] is None) for row in found.changes] == [
        ("A", False), ("A", True), ("B", False), ("B", True),
    ]  # fmt: skip
    assert "no face" in found.changes[1]["why"]
    with pytest.raises(RefusedError, match="calibration"):
        compare_pair(embedder, *sides, calibration=replace(calibration, version="other"), **options)


def test_small_changes_leave_pictures_of_a_face(sides):
    made = pair._altered(sides[0])
    assert len(made) == 8
    assert all(image.dtype == np.uint8 and min(image.shape[:2]) > 60 for image in made.values())
    plain = made["cut out, found anew"]
    assert np.array_equal(made["mirror image"], plain[:, ::-1])
    assert made["a quarter darker"].mean() < plain.mean() < made["a quarter brighter"].mean()


def test_no_photo_and_no_face(tmp_path, embedder):
    Image.new("RGB", (200, 200), "grey").save(tmp_path / "grey.png")
    (tmp_path / "text.jpg").write_text("no photo")
    with pytest.raises(NoFaceError):
        look_at(tmp_path / "grey.png", "A", "largest", detector="dlib", embedder=embedder)
    with pytest.raises(ImageError):
        look_at(tmp_path / "text.jpg", "A", "largest", detector="dlib", embedder=embedder)
