"""The torch port equals dlib; failures are named; templates never show."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise

import cv2
import numpy as np
import pytest

from crimeface_lib.core.artifacts import find
from crimeface_lib.core.errors import InputError, IntegrityError, MissingBackendError, ShapeError
from crimeface_lib.faces import align_face, choose_face, detect_faces, load_image
from crimeface_lib.faces.weights import RESNET
from crimeface_lib.recognition import embed_images, load_embedder, score_pairs
from crimeface_lib.recognition.dlib_weights import read_face_net

dlib = pytest.importorskip("dlib")


@pytest.fixture(scope="module")
def embedder():
    return load_embedder("dlib", device="cpu")


@pytest.fixture(scope="module")
def chip(astronaut):
    return align_face(astronaut, detect_faces(astronaut)[0])


def by_dlib(chips: np.ndarray) -> np.ndarray:
    model = dlib.face_recognition_model_v1(str(find(RESNET)))
    return np.array([np.array(model.compute_face_descriptor(np.ascontiguousarray(c))) for c in chips])


def test_equals_dlib(embedder, chip):
    noise = np.random.default_rng(0).integers(0, 256, (1, 150, 150, 3), dtype=np.uint8)
    chips = np.concatenate([chip[None], chip[None, :, ::-1], noise])
    raw = embedder.embed(chips, normalise=False)
    assert np.abs(raw - by_dlib(chips)).max() < 1e-5
    unit = embedder.embed(chips)
    assert np.allclose(unit, raw / np.linalg.norm(raw, axis=1, keepdims=True))


def test_equals_dlib_on_lfw(embedder, data_root):
    chips = []
    for path in sorted((data_root / "lfw" / "images").glob("*/*.jpg"))[::97][:50]:
        photo = load_image(path)
        faces = detect_faces(photo)
        if faces:
            chips.append(align_face(photo, choose_face(faces, which="central", size=photo.shape[:2]).face))
    assert len(chips) >= 45
    assert np.abs(embedder.embed(np.stack(chips), normalise=False) - by_dlib(np.stack(chips))).max() < 1e-5


def test_batches_do_not_change_the_result(embedder, chip):
    many = np.repeat(chip[None], 35, axis=0)  # one full batch and a rest
    assert np.allclose(embedder.embed(many), embedder.embed(chip[None]), atol=1e-6)
    assert embedder.embed(many[:0]).shape == (0, 128)


@pytest.mark.gpu
def test_gpu_equals_cpu(embedder, chip):
    import torch

    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    torch.backends.cudnn.allow_tf32 = False
    assert np.abs(load_embedder("dlib", device="cuda").embed(chip[None]) - embedder.embed(chip[None])).max() < 1e-5


def test_failures_are_named_and_rows_are_nan(astronaut, embedder, tmp_path):
    blank = np.full((100, 100, 3), 200, np.uint8)
    found = embed_images([astronaut, blank, tmp_path / "nowhere.jpg", astronaut], embedder=embedder)
    assert sorted(found.failures) == [1, 2]
    assert "no face" in found.failures[1]
    assert "no file" in found.failures[2]
    assert np.isnan(found.vectors[[1, 2]]).all()
    assert np.allclose(np.linalg.norm(found.vectors[[0, 3]], axis=1), 1)
    assert np.allclose(found.vectors[0], found.vectors[3], atol=1e-6)
    assert found.failure_to_enrol == 0.5
    assert "2 of 4" in repr(found)
    assert "50.0%" in found._repr_html_()
    assert np.isnan(found.quality[[1, 2]]).all()
    assert found.version == f"{embedder.version}+mirror+jitter2"
    assert list(found.to_frame()["failure"] == "") == [True, False, False, True]
    with pytest.raises(ShapeError, match="NaN"):
        score_pairs(found.vectors, found.vectors)


def test_mirroring_is_averaged(astronaut, embedder):
    found = embed_images([astronaut, astronaut[:, ::-1]], embedder=embedder, jitter=0)
    single = embed_images([astronaut, astronaut[:, ::-1]], embedder=embedder, mirror=False, jitter=0)
    assert score_pairs(*found.vectors[:, None])[0] > score_pairs(*single.vectors[:, None])[0]
    assert single.version == embedder.version


def test_jittered_chips_are_averaged_and_the_version_says_so(astronaut, embedder):
    """By hand: the chip, its mirror image, the smaller one mirrored and the larger one, then the mean."""
    face = detect_faces(astronaut)[0]
    smaller, larger = (align_face(astronaut, face, jitter=(zoom, 0.0, 0.0, 0.0)) for zoom in (0.92, 1.08))
    chip = align_face(astronaut, face)
    each = embedder.embed(np.stack([chip, chip[:, ::-1], smaller[:, ::-1], larger]))
    mean = each.sum(axis=0) / np.linalg.norm(each.sum(axis=0))
    assert np.allclose(embed_images([astronaut], embedder=embedder).vectors[0], mean, atol=1e-5)
    for wrong in ({"jitter": 99}, {"min_quality": -1}, {"which": "prettiest"}, {"which": -1}, {"workers": 0}):
        with pytest.raises(InputError, match=next(iter(wrong))):
            embed_images([astronaut], embedder=embedder, **wrong)


def test_hostile_photos_fail_by_name_and_the_others_go_on(astronaut, embedder, tmp_path):
    from PIL import Image

    head = astronaut[:256, 96:352]
    Image.fromarray(head).convert("CMYK").save(tmp_path / "cmyk.jpg", quality=95)
    Image.fromarray(head).save(tmp_path / "whole.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "whole.png").read_bytes()[:20000])
    cv2.imwrite(str(tmp_path / "deep.png"), head[..., ::-1].astype(np.uint16) * 257)
    cv2.imwrite(str(tmp_path / "deep.tif"), cv2.cvtColor(head, cv2.COLOR_RGB2GRAY).astype(np.uint16) * 257)
    Image.fromarray(head).save(tmp_path / "moving.gif", save_all=True, append_images=[Image.fromarray(head)] * 3)
    bomb = (tmp_path / "whole.png").read_bytes()
    (tmp_path / "bomb.png").write_bytes(bomb[:16] + (60000).to_bytes(4, "big") * 2 + bomb[24:])
    bad = [tmp_path / "cut.png", tmp_path / "moving.gif", tmp_path / "bomb.png", b"", b"GIF89a", tmp_path,
           np.full((64, 64, 3), np.nan), np.zeros((64, 64), np.uint8), np.zeros((1, 1, 3), np.uint8),
           np.zeros((0, 9, 3), np.uint8), np.zeros((3, 4000, 3), np.uint8), head.astype(np.uint16) * 257]  # fmt: skip
    good = [tmp_path / name for name in ("cmyk.jpg", "deep.png", "deep.tif")]
    found = embed_images([head, *bad, *good], embedder=embedder, mirror=False, jitter=0)
    assert sorted(found.failures) == list(range(1, len(bad) + 1))
    assert all("got" in reason for reason in found.failures.values())
    assert (found.vectors[-3:] @ found.vectors[0] > (0.97, 0.999, 0.9)).all()  # the last is grey
    assert str(tmp_path) not in str(found.failures)


def test_a_quality_gate_is_a_failure_to_enrol(astronaut, embedder):
    dark = (astronaut * 0.1).astype(np.uint8)
    found = embed_images([astronaut, dark], embedder=embedder, min_quality=60, mirror=False, jitter=0)
    assert list(found.failures) == [1]
    assert "too dark" in found.failures[1]
    assert 0 < found.quality[1] < 60
    assert found.failure_to_enrol == 0.5


def test_an_endless_generator_is_read_only_a_little_ahead(astronaut, embedder):
    """What is read but not yet used stays bounded, whatever the length."""
    flat, read = np.zeros((64, 64, 3), np.uint8), []

    def photos():
        for index in range(1000):
            read.append(index)
            if index == 40:
                raise KeyboardInterrupt
            yield flat

    with pytest.raises(KeyboardInterrupt):
        embed_images(photos(), embedder=embedder, workers=2)
    assert len(read) == 41


def test_no_image_at_all(embedder):
    none = embed_images([], embedder=embedder)
    assert none.vectors.shape == (0, 128)
    assert np.isnan(none.failure_to_enrol)
    assert "0 images" in none._repr_html_()


def test_a_template_never_shows(astronaut, embedder):
    found = embed_images([astronaut], embedder=embedder)
    shown = repr(found) + found._repr_html_() + str(found.to_dict()) + str(found.to_frame())
    assert "vectors" not in shown
    for value in found.vectors[0][:20]:
        assert f"{value:.4f}" not in shown


def test_scores():
    a = np.eye(3)
    assert score_pairs(a, a).tolist() == [1, 1, 1]
    assert score_pairs(a, np.roll(a, 1, axis=0)).tolist() == [0, 0, 0]
    with pytest.raises(ShapeError, match="expected"):
        score_pairs(np.ones((2, 3)), np.ones((2, 4)))
    with pytest.raises(ShapeError, match="zeros"):
        score_pairs(np.zeros((1, 3)), np.ones((1, 3)))


def test_wrong_chips_and_unknown_embedder(embedder):
    with pytest.raises(ShapeError, match="align_face"):
        embedder.embed(np.zeros((1, 100, 100, 3), np.uint8))
    with pytest.raises(MissingBackendError, match="installed"):
        load_embedder("nonesuch")


def test_the_weights_are_read_strictly(tmp_path):
    data = find(RESNET).read_bytes()
    net = read_face_net(find(RESNET))
    assert [layer.kind for layer in net.layers] == ["con", "affine"] * 29 + ["fc"]
    widths = [32] * 4 + [64] * 4 + [128] * 3 + [256] * 4  # of the stem and of each block
    expected = 3 * 32 * 49 + 3 * 32 + 256 * 128  # three vectors beside each convolution: bias, gain, shift
    for before, after in pairwise(widths):
        expected += 9 * (before * after + after * after) + 2 * 3 * after
    assert sum(layer.weight.size + layer.bias.size for layer in net.layers) == expected
    path = tmp_path / "weights.dat"
    for damaged in (data[:-1], data + b"\0", data[:5000] + b"\0" + data[5000:], b"", b"text" * 100):
        path.write_bytes(damaged)
        with pytest.raises(IntegrityError, match="byte"):
            read_face_net(path)


def test_the_tensor_code_needs_only_numpy_and_torch():
    code = (
        "import sys; import crimeface_lib.recognition.resnet; "
        "print(sorted({'pydantic', 'PIL', 'dlib', 'cv2', 'pandas'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
