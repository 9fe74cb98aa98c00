"""A painted head is photographed, and its paint found again."""

from __future__ import annotations

import numpy as np
import pytest

from crimeface_lib.reconstruction import Camera, Mesh, MorphableModel, Texture, bake_texture, load_morphable_model
from crimeface_lib.reconstruction.shade import render, sample
from crimeface_lib.reconstruction.skin import skin_map


def _paint(toy: MorphableModel, side: int = 256) -> np.ndarray:
    """Skin with a dark stripe across and a red spot on one cheek."""
    v, u = np.mgrid[1 : 0 : side * 1j, 0 : 1 : side * 1j]
    paint = np.tile(np.array([200.0, 150, 125]), (side, side, 1))
    paint[np.abs(v - 0.52) < 0.02] = [90, 60, 50]
    paint[(u - 0.56) ** 2 + (v - 0.42) ** 2 < 0.03**2] = [190, 60, 60]
    return paint.astype(np.uint8)


@pytest.fixture(scope="module")
def painted(toy: MorphableModel) -> np.ndarray:
    return _paint(toy)


def _bake(toy: MorphableModel, paint: np.ndarray, *views: tuple[float, float]) -> Texture:
    mesh = Mesh(toy.mean, toy.triangles, toy.uv, toy.triangles_uv, paint, np.zeros(len(toy.mean)))
    cameras = [Camera.look(view, toy.mean, size=512) for view in views]
    photos = [render(mesh, camera) for camera in cameras]
    return bake_texture(toy, [toy.mean] * len(photos), photos, cameras, size=256)


def test_what_a_photo_shows_is_kept(toy: MorphableModel, painted: np.ndarray) -> None:
    baked = _bake(toy, painted, (0, 0))
    clear = baked.observed > 0.95
    assert clear.mean() > 0.05
    difference = np.abs(baked.image.astype(float) - painted).mean(2)
    assert np.median(difference[clear]) < 3
    assert np.percentile(difference[clear], 95) < 25, "only edges of the paint are blurred"
    behind = sample(baked.observed[..., None], np.array([[0.02, 0.5], [0.98, 0.5]]))
    np.testing.assert_allclose(behind, 0, atol=1e-6)


def test_the_back_is_filled_with_skin_and_not_with_background(toy: MorphableModel, painted: np.ndarray) -> None:
    back = _bake(toy, painted, (0, 0)).image[40:216, :24].reshape(-1, 3).astype(float)
    np.testing.assert_allclose(np.median(back, 0), [200, 150, 125], atol=12)


def test_the_hidden_cheek_is_mirrored_and_said_to_be(toy: MorphableModel, painted: np.ndarray) -> None:
    baked = _bake(toy, painted, (-55, 0))
    spot, mirrored = (np.array([[u, 0.42]]) for u in (0.56, 0.44))
    assert sample(baked.observed[..., None], spot)[0, 0] > 0.9
    assert sample(baked.observed[..., None], mirrored)[0, 0] < 0.6
    far = np.array([[0.40, 0.52]])
    assert sample(baked.observed[..., None], far)[0, 0] < 0.05
    assert sample(baked.mirrored[..., None], far)[0, 0] > 0.5
    assert sample(baked.image.astype(np.float32), far)[0].max() < 140, "the stripe goes on in the mirrored part"


def test_two_photos_show_more_than_one(toy: MorphableModel, painted: np.ndarray) -> None:
    one, two = _bake(toy, painted, (40, 0)), _bake(toy, painted, (40, 0), (-40, 0))
    assert two.observed_fraction > 1.2 * one.observed_fraction


def test_two_photos_in_two_lights_make_one_skin(toy: MorphableModel) -> None:
    """Plain skin, lit warm from the left and cold from the right: the bake knows the lights, and shows neither seam."""
    skin = np.full((64, 64, 3), [180, 140, 120], np.uint8)
    mesh = Mesh(toy.mean, toy.triangles, toy.uv, toy.triangles_uv, skin, np.zeros(len(toy.mean)))
    lights = np.zeros((2, 9, 3))
    lights[:, 0], lights[:, 1] = [[0.8, 0.7, 0.5], [0.5, 0.7, 0.8]], [[-0.2] * 3, [0.2] * 3]
    cameras = [Camera.look(view, toy.mean, size=256) for view in ((35, 0), (-35, 0))]
    photos = [render(mesh, camera, lighting=light) for camera, light in zip(cameras, lights, strict=True)]
    baked = bake_texture(toy, [toy.mean] * 2, photos, cameras, size=128, lighting=lights)
    assert baked.albedo is not None
    clear = baked.observed > 0.9
    np.testing.assert_allclose(baked.albedo[clear], np.tile(skin[0, 0], (clear.sum(), 1)), atol=6)
    assert np.abs(np.diff(baked.image[clear[:, 64], 64].astype(float), axis=0)).max() < 6
    alone = bake_texture(toy, [toy.mean], photos[:1], cameras[:1], size=128, lighting=lights[:1])
    same = clear & (alone.observed > 0.9)
    np.testing.assert_allclose(baked.image[same].astype(float), alone.image[same], atol=8)


def test_hair_at_the_temple_is_no_skin_but_a_beard_is_kept() -> None:
    model = load_morphable_model("builtin")
    skin, points = skin_map(model), model.landmarks(model.mean)
    colour, confidence = np.tile([200.0, 150, 125], (len(model.mean), 1)), np.ones(len(model.mean))
    temple = skin.inner * skin.temple > 0.5
    chin = (skin.inner > 0.5) & (model.mean[:, 1] < points[57, 1])
    assert temple.sum() > 10 < chin.sum()
    plain = skin.allowed(colour, confidence)[0]
    assert plain[temple | chin].min() > 0.5, "skin counts in both places"
    colour[skin.temple > 0.3] = colour[chin] = [45, 35, 30]
    allowed, tone = skin.allowed(colour, confidence)
    assert np.median(allowed[temple]) < 0.2
    assert np.median(allowed[chin]) > 0.8
    np.testing.assert_allclose(tone, [200, 150, 125])
