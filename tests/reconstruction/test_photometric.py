"""Drawn heads in a known light: what the pixels add, when they may not, and the light that they tell."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from crimeface_lib.core.errors import ShapeError
from crimeface_lib.metrics.surface import normal_error
from crimeface_lib.reconstruction import Camera, Fit, MorphableModel, View, fit_landmarks, rasterize
from crimeface_lib.reconstruction.light import harmonics, to_srgb, to_viewer
from crimeface_lib.reconstruction.photometric import Shading, refine_photometric
from crimeface_lib.reconstruction.photometric_solver import Refiner
from crimeface_lib.reconstruction.pixels import surface_of, to_pictures
from crimeface_lib.reconstruction.uncertainty import vertex_normals

SKIN = np.array([0.45, 0.25, 0.18])
LAMP = np.zeros((9, 3))
LAMP[:4] = np.array([0.75, 0.3, 0.15, 0.3])[:, None]
Drawn = tuple[np.ndarray, list[View], list[np.ndarray], Fit]


def paint(model: MorphableModel, vertices: np.ndarray, camera: Camera, spoil: Callable | None = None) -> np.ndarray:
    """A photo of the head in LAMP's light; ``spoil`` changes the (P, 3) radiance at points (P, 3)."""
    height, width = camera.size
    xy, z = camera.project(vertices)
    seen = rasterize(xy, z, model.triangles, height=height, width=width)
    normals = seen.interpolate(vertex_normals(vertices, model.triangles), model.triangles)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    grain = 1 + 0.1 * np.sin(model.mean @ [0.11, 0.07, 0.05]) * np.cos(model.mean @ [0.05, -0.13, 0.02])
    radiance = SKIN * seen.interpolate(grain[:, None], model.triangles)
    radiance = radiance * np.maximum(harmonics(to_viewer(normals, camera.rotation)) @ LAMP, 0.02)
    if spoil:
        radiance = spoil(radiance, seen.interpolate(vertices, model.triangles))
    photo = np.full((height, width, 3), [0.1, 0.3, 0.7])
    photo[seen.covered] = radiance
    return to_srgb(photo).round().astype(np.uint8)


def draw(toy: MorphableModel, take: Callable, seed: int, *yaws: float, spoil: Callable | None = None) -> Drawn:
    rng = np.random.default_rng(seed)
    identity, smile = rng.standard_normal(8), np.array([0.5, 0.0])
    views, cameras = zip(*(take(toy, identity, smile, yaw=yaw, noise=2.5, size=256, rng=rng) for yaw in yaws),
                         strict=True)  # fmt: skip
    photos = [paint(toy, toy.decode(identity, smile), camera, spoil) for camera in cameras]
    return identity, list(views), photos, fit_landmarks(toy, list(views), shared_expression=True)


def error(toy: MorphableModel, found: np.ndarray, truth: np.ndarray) -> float:
    shape = toy.decode(truth)
    front = toy.mean[:, 2] > 30
    off = normal_error(toy.decode(found)[front], shape[front], vertex_normals(shape, toy.triangles)[front])
    return float(np.sqrt((off**2).mean()))


@pytest.fixture(scope="module")
def refined(toy: MorphableModel, take: Callable) -> list[tuple[Drawn, Shading]]:
    drawn = [draw(toy, take, seed, 5.0) for seed in range(6)] + [draw(toy, take, 9, -30.0, 5.0, 30.0)]
    return [(one, refine_photometric(toy, one[3], one[1], one[2], shared_expression=True)) for one in drawn]


def test_pixels_bring_the_shape_nearer(toy: MorphableModel, refined: list[tuple[Drawn, Shading]]) -> None:
    before = [error(toy, fit.identity, truth) for (truth, _, _, fit), _ in refined]
    after = [error(toy, shading.fit.identity, truth) for (truth, *_), shading in refined]
    assert np.mean(after) < 0.92 * np.mean(before)
    assert np.max(np.subtract(after, before)) < 0.15, "nowhere worse by more than the noise"


def test_light_and_albedo_are_told_apart(toy: MorphableModel, refined: list[tuple[Drawn, Shading]]) -> None:
    for (_, views, _, _), shading in refined:
        assert shading.lighting.shape == (len(views), 9, 3)
        direction = shading.lighting[:, 1:4].mean(2)
        cosine = direction @ LAMP[1:4, 0] / np.linalg.norm(direction, axis=1) / np.linalg.norm(LAMP[1:4, 0])
        assert cosine.min() > 0.85
        middle = shading.albedo[toy.mean[:, 2] > 60].mean(0)
        hue = middle / middle.sum()
        np.testing.assert_allclose(hue, SKIN / SKIN.sum(), atol=0.05)


def test_a_cast_shadow_is_no_shape(toy: MorphableModel, take: Callable) -> None:
    def shadow(radiance: np.ndarray, points: np.ndarray) -> np.ndarray:
        return radiance * np.where(points @ [0.8, 0.6, 0] > 15, 0.25, 1.0)[:, None]

    for seed in range(3):
        truth, views, photos, fit = draw(toy, take, seed, 5.0, spoil=shadow)
        shading = refine_photometric(toy, fit, views, photos, shared_expression=True)
        assert error(toy, shading.fit.identity, truth) < error(toy, fit.identity, truth) + 0.15
        if not shading.refined:
            assert shading.fit is fit
            assert "contradicts its landmarks" in shading.warnings[0]


def test_shine_is_no_shape(toy: MorphableModel, take: Callable) -> None:
    places = toy.landmarks(toy.mean)[[33, 48]] + [[0, 45, 0], [12, 25, 0]]  # between the brows, and on a cheek

    def shine(radiance: np.ndarray, points: np.ndarray) -> np.ndarray:
        off = np.linalg.norm((points[:, None] - places)[..., :2], axis=2)
        return radiance + 0.4 * np.exp(-((off / 14) ** 2)).sum(1)[:, None]

    rows = []
    for seed in range(4):
        truth, views, photos, fit = draw(toy, take, seed, 5.0, spoil=shine)
        shading = refine_photometric(toy, fit, views, photos, shared_expression=True)
        rows.append([error(toy, found.identity, truth) for found in (fit, shading.fit)])
    before, after = np.array(rows).T
    assert after.mean() <= before.mean(), "better, or left alone"
    assert (after - before).max() < 0.15


def test_a_photo_of_another_thing_leaves_the_landmarks_alone(toy: MorphableModel, take: Callable) -> None:
    _, views, photos, fit = draw(toy, take, 1, 0.0)
    stripes = np.zeros_like(photos[0])
    stripes[:, ::16] = stripes[:, 1::16] = stripes[:, 2::16] = 200
    shading = refine_photometric(toy, fit, views, [stripes])
    assert np.abs(toy.decode(shading.fit.identity) - toy.decode(fit.identity)).max() < 3
    burnt = refine_photometric(toy, fit, views, [np.full_like(photos[0], 255)])
    assert not burnt.refined
    assert burnt.fit is fit
    assert burnt.lighting.shape == (0, 9, 3)
    assert "Too little skin" in burnt.warnings[0]
    with pytest.raises(ShapeError, match="images"):
        refine_photometric(toy, fit, views, [photos[0][:-1]])


@pytest.mark.parametrize("shared", [True, False])
def test_gradient_agrees_with_finite_differences(toy: MorphableModel, take: Callable, shared: bool) -> None:
    _, views, photos, fit = draw(toy, take, 2, -20.0, 15.0)
    surface = surface_of(toy)
    pictures = to_pictures(photos, fit.cameras, [toy.decode(fit.identity)] * 2)
    refiner = Refiner(toy, surface, views, pictures, shared=shared, say=100.0)
    state = refiner.start(replace(fit, expressions=np.full((2, 2), 0.4)))
    refiner.trust = refiner._landmark_trust(state)
    refiner._look(state, 3.0)
    state = refiner._first_light(state)
    found = refiner.compare(state)
    trust = refiner.pixel_trust(found)
    grain = refiner._grain(found, trust)
    _, gradient = refiner.normal(state, found, trust)

    def cost(step: np.ndarray) -> float:
        moved = refiner._step(state, step)
        return refiner._cost(moved, refiner.compare(moved), trust, grain) / 2

    light_and_albedo = gradient[refiner.moving :]
    size = np.abs(light_and_albedo).max()
    for index in [*range(refiner.moving), *range(refiner.moving, refiner.count, 5)]:
        step = np.eye(refiner.count)[index] * 1e-4
        slope = (cost(step) - cost(-step)) / 2e-4
        # a picture's slope is a Sobel filter's, its values are interpolated: near, not the same
        rough = index < refiner.moving
        near = pytest.approx(gradient[index], rel=0.2 if rough else 1e-2, abs=size * (0.05 if rough else 0.002))
        assert slope == near
