"""What a reader is told of a reconstruction, and how it stands beside a scan."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import trimesh

from crimeface_lib.core.errors import InputError, MissingArtifactError, ShapeError
from crimeface_lib.metrics.scan import NOW_LANDMARKS
from crimeface_lib.reconstruction import (
    Observation,
    Reconstruction,
    compare_with_scan,
    explain_photos,
    observe,
    reconstruct,
    render_origin,
)
from crimeface_lib.reconstruction.explain import _light_in_words


@pytest.fixture(scope="module")
def seen(astronaut: np.ndarray) -> Observation:
    return observe(astronaut)


@pytest.fixture(scope="module")
def face(astronaut: np.ndarray) -> Reconstruction:
    return reconstruct(astronaut, model="builtin", texture_size=128)


def test_pictures_words_and_figures_of_one_photo(face: Reconstruction, seen: Observation) -> None:
    told = explain_photos(face, [seen], size=120)
    assert {picture.shape for picture in told.pictures.values()} == {(120, 120, 3)}
    assert list(told.to_frame()["about"]) == ["shape", "light", "texture", "size", "lens"]
    assert json.dumps(told.to_dict())
    assert (told.moved_mm > 1e-6).any() == face.shading.refined
    shares = [int(part.split("%")[0].split()[-1]) for part in told.to_dict()["texture"].split(",") if "%" in part]
    assert sum(shares) == pytest.approx(100, abs=1)
    assert f"{face.cameras[0].focal:,.0f} px" in told.to_dict()["lens"]
    assert "Not told by a photo" in told.to_dict()["size"]


def test_the_photo_and_the_fitted_head_lie_on_one_another(face: Reconstruction, seen: Observation) -> None:
    """The mouth and eyes of the render are where the photo has them: shifted by some pixels they would agree less."""
    told = explain_photos(face, [seen], size=160)
    photo, head = (told.pictures[name].mean(2) for name in ("photo", "fitted head, same camera"))
    inner = slice(50, 110)

    def agreement(shift: int, axis: int) -> float:
        moved = np.roll(head, shift, axis)
        return float(np.corrcoef(photo[inner, inner].ravel(), moved[inner, inner].ravel())[0, 1])

    here = agreement(0, 0)
    assert here > 0.9
    assert all(here > agreement(shift, axis) for shift in (-4, 4) for axis in (0, 1))


def test_without_the_pixels_that_is_said(astronaut: np.ndarray, seen: Observation) -> None:
    plain = reconstruct(astronaut, model="builtin", texture_size=64, photometric=False, interpupillary_mm=60)
    told = explain_photos(plain, [seen], size=64)
    assert "not asked" in told.to_dict()["shape"]
    assert "was given" in told.to_dict()["size"]
    assert list(told.pictures) == ["photo", "fitted head, same camera", "from the front"]
    assert np.abs(told.moved_mm).max() < 1e-6
    with pytest.raises(InputError, match="got 2 photos, expected the 1"):
        explain_photos(plain, [seen, seen])


def test_light_is_put_into_words() -> None:
    light = np.zeros((9, 3))
    light[0] = 1.0
    assert "evenly" in _light_in_words(light)
    light[1] = -0.5
    assert "the left of the picture; the side towards it gets 1.6 times" in _light_in_words(light)
    light[1:4] = [[0.4], [0.4], [0.0]]
    assert "the right of the picture and above;" in _light_in_words(light)


def test_origin_shows_what_was_seen_in_the_middle_and_filled_behind(face: Reconstruction) -> None:
    front, profile = render_origin(face, size=96), render_origin(face, "profile", size=96)
    blue = front[40:60, 40:60].astype(int)
    assert (blue[..., 2] > blue[..., 0] + 30).mean() > 0.6
    assert not np.array_equal(front, profile)


def test_a_scan_of_the_head_itself_lies_on_it(face: Reconstruction, tmp_path: Path) -> None:
    """Moved, turned and in metres; the landmarks come as a file."""
    head = face.mesh()
    turn = trimesh.transformations.rotation_matrix(0.4, [0, 1, 0.3], [10, 20, 30])
    used = trimesh.Trimesh(head.vertices, head.triangles, process=False).apply_transform(turn)
    used.apply_scale(0.001)
    used.export(tmp_path / "scan.ply")
    marks = trimesh.transform_points(face.model.landmarks(head.vertices)[list(NOW_LANDMARKS)], turn) / 1000
    np.savetxt(tmp_path / "marks.txt", marks, delimiter=", ")
    check = compare_with_scan(face, tmp_path / "scan.ply", landmarks=tmp_path / "marks.txt", unit="m")
    assert check.comparison.median < 0.01
    assert "within 2 mm" in check.in_words()
    assert 0 < len(check.covered.triangles) < len(head.triangles), "what the scan's crop leaves out is not drawn"
    assert check.render(size=64).shape == (64, 64, 3)
    assert json.dumps(check.to_dict())


def test_bad_landmarks_are_refused(face: Reconstruction, tmp_path: Path) -> None:
    with pytest.raises(ShapeError, match=r"expected \(7, 3\) or \(68, 3\)"):
        compare_with_scan(face, tmp_path / "scan.ply", landmarks=np.zeros((5, 3)))
    with pytest.raises(MissingArtifactError, match="no landmarks"):
        compare_with_scan(face, tmp_path / "scan.ply", landmarks=tmp_path / "none.txt")
    (tmp_path / "bad.txt").write_text("1 2 x\n")
    with pytest.raises(InputError, match="one 'x y z' a line"):
        compare_with_scan(face, tmp_path / "scan.ply", landmarks=tmp_path / "bad.txt")
