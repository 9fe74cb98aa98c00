"""The fit against exact landmarks, finite differences, and its own posterior."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from crimeface_lib.core.errors import InputError, ShapeError
from crimeface_lib.metrics.surface import normal_error
from crimeface_lib.reconstruction import MorphableModel, View, fit_landmarks, load_morphable_model
from crimeface_lib.reconstruction.solver import Problem, cost, linearise, look, start, step
from crimeface_lib.reconstruction.uncertainty import vertex_normals, vertex_sd

IDENTITY = np.array([0.8, -0.6, 0.5, 1.2, -0.9, 0.7, 0.4, -0.5])
SMILE = np.array([0.6, 0.0])


def test_exact_landmarks_give_the_face_and_the_camera_back(toy: MorphableModel, take) -> None:
    views, cameras = zip(*(take(toy, IDENTITY, SMILE, yaw=yaw) for yaw in (-35, 0, 35)), strict=True)
    views = [replace(view, sd=0.02) for view in views]
    fit = fit_landmarks(toy, views, iterations=100)
    truth = toy.decode(IDENTITY)
    error = normal_error(toy.decode(fit.identity), truth, vertex_normals(truth, toy.triangles))
    assert np.abs(error).max() < 0.25
    assert fit.residual_px.max() < 0.05
    np.testing.assert_allclose(fit.expressions[:, 0], 0.6, atol=0.05)
    yaws = [camera.yaw_pitch_roll[0] for camera in fit.cameras]
    np.testing.assert_allclose(yaws, [camera.yaw_pitch_roll[0] for camera in cameras], atol=0.3)


@pytest.mark.parametrize("shared", [False, True])
def test_gradient_and_curvature_agree_with_finite_differences(toy: MorphableModel, take, shared: bool) -> None:
    rng = np.random.default_rng(3)
    views = [take(toy, IDENTITY, SMILE, yaw=yaw, noise=2.0, rng=rng)[0] for yaw in (-20, 25)]
    problem = Problem.build(
        toy, np.stack([view.points for view in views])[None], np.full((1, 2, 68), 2.0),
        np.array([[view.size for view in views]]), np.array([[view.focal for view in views]]),
        shared_expression=shared, slide_contour=True,
    )  # fmt: skip
    begin = start(problem)
    state = replace(
        begin, identity=IDENTITY[None] * 0.3, expressions=np.tile([0.4, -0.02], (1, 2, 1)),
        rotations=Rotation.from_rotvec([0.02, 0.03, -0.01]).as_matrix() @ begin.rotations,
        log_focal=begin.log_focal + 0.1,
    )  # fmt: skip
    weights = rng.uniform(0.3, 1, (1, 2, 68))

    def half(d_global: np.ndarray, d_local: np.ndarray) -> float:
        moved = step(problem, state, d_global, d_local)
        residual = look(problem, moved).at(np, moved.rows).pixels - problem.observed
        return float(cost(problem, moved, residual, weights)[0]) / 2

    normal = linearise(problem, state, look(problem, state).at(np, state.rows), weights)
    still = 0 * normal.g, 0 * normal.l
    for which, gradient in enumerate((normal.g, normal.l)):
        for index in np.ndindex(gradient.shape):
            move = [part.copy() for part in still]
            move[which][index] = 1e-5
            found = (half(*move) - half(*(-part for part in move))) / 2e-5
            assert found == pytest.approx(gradient[index], rel=1e-4, abs=1e-3)
    assert half(*normal.solve(np, np.array([1e-3]))) < half(*still)


def test_the_posterior_covers_the_truth(toy: MorphableModel, take) -> None:
    rng, inside = np.random.default_rng(4), []
    for _ in range(25):
        identity = rng.standard_normal(8)
        views = [take(toy, identity, SMILE, yaw=yaw, noise=2.0, rng=rng)[0] for yaw in (-30, 30)]
        fit = fit_landmarks(toy, views)
        truth = toy.decode(identity)
        error = normal_error(toy.decode(fit.identity), truth, vertex_normals(truth, toy.triangles))
        inside.append((np.abs(error) < 2 * fit.vertex_sd)[fit.vertex_sd > 0.01].mean())
    assert 0.88 < np.mean(inside) < 0.995


def test_vertex_sd_agrees_with_samples_of_the_posterior(toy: MorphableModel) -> None:
    rng = np.random.default_rng(5)
    root = rng.normal(size=(8, 8)) * 0.1
    covariance = root @ root.T
    mean = toy.decode(IDENTITY)
    normals = vertex_normals(mean, toy.triangles)
    drawn = rng.multivariate_normal(IDENTITY, covariance, 500)
    errors = np.stack([normal_error(toy.decode(identity), mean, normals) for identity in drawn])
    sd = vertex_sd(toy, IDENTITY, covariance)
    np.testing.assert_allclose(errors.std(0)[sd > 0.05], sd[sd > 0.05], rtol=0.15)


def test_more_photos_tell_more(toy: MorphableModel, take) -> None:
    rng = np.random.default_rng(6)
    views = [take(toy, IDENTITY, SMILE, yaw=yaw, noise=3.0, rng=rng)[0] for yaw in (0, -40, 40)]
    one, three = fit_landmarks(toy, views[:1]), fit_landmarks(toy, views)
    assert three.vertex_sd.mean() < 0.8 * one.vertex_sd.mean()
    assert three.information > one.information


def test_outliers_and_missing_landmarks_do_little_harm(toy: MorphableModel, take) -> None:
    rng = np.random.default_rng(7)
    view, _ = take(toy, IDENTITY, SMILE, yaw=10, noise=1.0, rng=rng)
    clean = fit_landmarks(toy, [view])
    points = view.points.copy()
    wrong = [2, 20, 40, 50, 60]
    points[wrong] += rng.choice([-80, 80], (5, 2))
    points[[5, 30]] = np.nan
    spoilt = fit_landmarks(toy, [replace(view, points=points)])
    assert spoilt.outliers[0].nonzero()[0].tolist() == wrong
    truth = toy.decode(clean.identity)
    error = normal_error(toy.decode(spoilt.identity), truth, vertex_normals(truth, toy.triangles))
    assert np.sqrt((error**2).mean()) < 0.6


def test_landmarks_that_say_nothing_bring_a_warning(toy: MorphableModel, take) -> None:
    view, _ = take(toy, 0 * IDENTITY, 0 * SMILE)
    fit = fit_landmarks(toy, [replace(view, sd=60.0)])
    assert "hardly tell this face from the average one" in fit.warnings[0]
    np.testing.assert_allclose(fit.identity, 0, atol=0.2)
    assert fit.information < 2


def test_known_focal_length_is_kept(toy: MorphableModel, take) -> None:
    view, camera = take(toy, IDENTITY, SMILE)
    fit = fit_landmarks(toy, [replace(view, focal_prior=(camera.focal, 0.001))])
    assert fit.cameras[0].focal == pytest.approx(camera.focal, rel=0.005)
    assert fit.focal_sd[0] < 0.002 * camera.focal
    assert set(fit.to_frame()) >= {"residual_px", "yaw_deg", "focal_px", "distance_mm"}


def test_every_warning_is_given_where_it_is_due(toy: MorphableModel, take) -> None:
    view, _ = take(toy, IDENTITY, SMILE, noise=1.0, rng=np.random.default_rng(8))
    assert fit_landmarks(toy, [view]).warnings == ()
    rng = np.random.default_rng(9)
    astray, shaken = view.points.copy(), view.points + rng.normal(0, 25, (68, 2))
    astray[17:29] += rng.choice([-70, 70], (12, 2))
    said = fit_landmarks(toy, [view, replace(view, points=astray)]).warnings
    assert said == ("Photo 2: 12 of 68 landmarks don't fit a face and were set aside.",)
    assert any("the fit is poor" in text for text in fit_landmarks(toy, [replace(view, points=shaken)]).warnings)
    aside, _ = take(toy, IDENTITY, SMILE, yaw=75, noise=1.0, rng=rng)
    assert any("turned by more than 60°" in text for text in fit_landmarks(toy, [aside]).warnings)
    with pytest.raises(InputError, match="on a line"):
        fit_landmarks(toy, [replace(view, points=np.linspace(10, 300, 68)[:, None] * [1, 1])])


def test_scale_and_focal_length_are_as_unsure_as_said(toy: MorphableModel, take) -> None:
    """Over 60 drawn faces the errors, in the standard deviations given, have a spread near one."""
    rng, off = np.random.default_rng(10), []
    start, stop = toy.regions["face"]
    size = lambda vertices: np.sqrt(((vertices - vertices.mean(0)) ** 2).sum())  # noqa: E731
    for _ in range(60):
        identity, focal = rng.standard_normal(8), 1134 * np.exp(0.1 * rng.standard_normal())
        view, camera = take(toy, identity, SMILE, yaw=rng.uniform(-30, 30))
        moved = replace(camera, focal=float(focal), translation=camera.translation * [1, 1, focal / camera.focal])
        points = moved.project(toy.landmarks(toy.decode(identity, SMILE)))[0] + rng.normal(0, 2, (68, 2))
        fit = fit_landmarks(toy, [replace(view, points=points, sd=2.0, focal_prior=(1134.0, 0.1))])
        grown = size(toy.decode(fit.identity)[start:stop]) / size(toy.decode(identity)[start:stop])
        off.append(((fit.cameras[0].focal - focal) / fit.focal_sd[0], np.log(grown) / fit.scale_sd))
    spread = np.sqrt((np.array(off) ** 2).mean(0))
    assert ((spread > 0.75) & (spread < 1.3)).all(), spread


def test_what_is_no_face_is_refused(toy: MorphableModel, take) -> None:
    view, _ = take(toy, IDENTITY, SMILE)
    few = view.points.copy()
    few[11:] = np.nan
    with pytest.raises(InputError, match="got 11 landmarks, expected at least 12"):
        replace(view, points=few)
    with pytest.raises(InputError, match="expected a face"):
        replace(view, points=np.ones((68, 2)))
    with pytest.raises(InputError, match="positive"):
        replace(view, sd=0.0)
    with pytest.raises(ShapeError, match="points"):
        View(np.zeros((5, 2)), (10, 10))
    with pytest.raises(InputError, match="mirrored"):
        fit_landmarks(toy, [replace(view, points=view.points * [-1, 1] + [400, 0])])
    with pytest.raises(InputError, match="at least one View"):
        fit_landmarks(toy, [])


def test_synthetic_faces_of_ict_are_recovered(data_root, take) -> None:
    """Five faces, so wider bounds than the 0.85 and 0.60 mm that a hundred faces keep for one and three views."""
    model, errors = load_morphable_model("ict"), {1: [], 3: []}
    for seed in range(5):
        rng = np.random.default_rng(seed)
        identity, expression = rng.standard_normal(100), np.zeros(53)
        expression[rng.choice(53, 10, replace=False)] = rng.uniform(0, 0.6, 10)
        views = [take(model, identity, expression, yaw=yaw, noise=2.0, size=512, rng=rng)[0] for yaw in (5, -35, 35)]
        truth = model.decode(identity)
        normals = vertex_normals(truth, model.triangles)[:6706]
        for count in errors:
            fit = fit_landmarks(model, views[:count], shared_expression=True, slide_contour=False)
            error = normal_error(model.decode(fit.identity)[:6706], truth[:6706], normals)
            errors[count].append(np.median(np.abs(error)))
    assert np.median(errors[1]) < 0.95
    assert np.median(errors[3]) < 0.75
