"""Many faces at once in PyTorch agree with one at a time in NumPy, and one bad face harms no other."""

from __future__ import annotations

import numpy as np
import pytest

from crimeface_lib.core.errors import InputError, ShapeError
from crimeface_lib.reconstruction import MorphableModel, View, fit_landmarks, fit_landmarks_batch, load_morphable_model


def landmarks(model: MorphableModel, take, count: int, size: int) -> np.ndarray:
    rng, points = np.random.default_rng(11), []
    for _ in range(count):
        identity = rng.standard_normal(len(model.identity))
        expression = rng.uniform(0, 0.5, len(model.expression)) * (rng.random(len(model.expression)) < 0.2)
        yaw, pitch = rng.uniform(-35, 35), rng.uniform(-12, 12)
        points.append(take(model, identity, expression, yaw=yaw, pitch=pitch, noise=2.0, size=size, rng=rng)[0].points)
    return np.stack(points)


def agree(model: MorphableModel, points: np.ndarray, size: int, device: str) -> None:
    sd = np.linspace(1.5, 3.0, len(points))
    priors = [None if index % 2 else (2.0 * size, 0.05) for index in range(len(points))]
    batch = fit_landmarks_batch(model, points, (size, size), sd=sd, focal_prior=priors, device=device, chunk=4)
    assert not batch.failures
    for index, found in enumerate(batch):
        alone = fit_landmarks(model, [View(points[index], (size, size), sd[index], priors[index])])
        for one, other in ((found, alone), (batch, alone)):
            identity, expression = one.identity, one.expressions
            if one is batch:
                identity, expression = batch.identity[index], batch.expressions[index : index + 1]
            moved = model.decode(identity, expression[0]) - model.decode(other.identity, other.expressions[0])
            assert np.abs(moved).max() < 0.01
        np.testing.assert_allclose(found.cameras[0].translation, alone.cameras[0].translation, rtol=1e-4, atol=0.01)
        np.testing.assert_allclose(found.vertex_sd, alone.vertex_sd, atol=1e-3)
        assert found.warnings == alone.warnings


@pytest.mark.parametrize("name", ["toy", "ict"])
def test_a_batch_gives_what_one_at_a_time_gives(request: pytest.FixtureRequest, take, name: str) -> None:
    if name == "ict":
        request.getfixturevalue("data_root")
    model = load_morphable_model("ict") if name == "ict" else request.getfixturevalue("toy")
    points = landmarks(model, take, 6, 512)
    points[1, [3, 20, 60]] = np.nan
    points[2, 40] += 90
    agree(model, points, 512, "cpu")


@pytest.mark.gpu
def test_gpu_and_cpu_agree(toy: MorphableModel, take) -> None:
    import torch

    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    agree(toy, landmarks(toy, take, 9, 512), 512, "cuda")


def test_one_bad_face_stops_no_other(toy: MorphableModel, take) -> None:
    points = landmarks(toy, take, 5, 400)
    points[1] = np.nan
    points[2] = points[2] * [-1, 1] + [400, 0]
    points[3] = np.linspace(10, 300, 68)[:, None]
    batch = fit_landmarks_batch(toy, points, [(400, 400)] * 5)
    assert sorted(batch.failures) == [1, 2, 3]
    assert "at least 12" in batch.failures[1]
    assert "mirrored" in batch.failures[2]
    assert "on a line" in batch.failures[3]
    assert np.isnan(batch.identity[1:4]).all()
    assert np.isfinite(batch.identity[[0, 4]]).all()
    frame = batch.to_frame()
    assert frame["failure"].astype(bool).tolist() == [False, True, True, True, False]
    with pytest.raises(InputError, match=r"face 2: .*mirrored"):
        batch[2]
    with pytest.raises(IndexError):
        batch[5]
    assert len(fit_landmarks_batch(toy, points[:0], (400, 400))) == 0


def test_arrays_that_do_not_belong_together_are_refused(toy: MorphableModel, take) -> None:
    points = landmarks(toy, take, 2, 400)
    with pytest.raises(ShapeError, match="points"):
        fit_landmarks_batch(toy, points[0], (400, 400))
    with pytest.raises(InputError, match=r"expected \(2, 2\)"):
        fit_landmarks_batch(toy, points, [(400, 400)] * 3)
    for wrong in ({"sd": 0.0}, {"sd": np.ones(3)}, {"chunk": 0}, {"focal_prior": [(1.0, 0.1)]},
                  {"focal_prior": [(-1.0, 0.1), None]}, {"device": "tpu"}):  # fmt: skip
        with pytest.raises(InputError):
            fit_landmarks_batch(toy, points, (400, 400), **wrong)
