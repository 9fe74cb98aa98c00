"""Spherical harmonics against scipy's and against an integral; colours there and back."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import sph_harm_y

from crimeface_lib.reconstruction import MorphableModel
from crimeface_lib.reconstruction.light import (
    EVEN,
    albedo_basis,
    harmonics,
    harmonics_slope,
    lamp_colour,
    matte,
    to_linear,
    to_srgb,
)
from crimeface_lib.reconstruction.skin import skin_map


@pytest.fixture
def directions() -> np.ndarray:
    drawn = np.random.default_rng(0).normal(size=(4000, 3))
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


def test_bands_span_scipys_harmonics_up_to_the_second(directions: np.ndarray) -> None:
    polar, azimuth = np.arccos(directions[:, 2]), np.arctan2(directions[:, 1], directions[:, 0])
    theirs = np.stack(
        [
            part
            for n in range(3)
            for m in range(n + 1)
            for part in (sph_harm_y(n, m, polar, azimuth).real, sph_harm_y(n, m, polar, azimuth).imag)
        ],
        1,
    )
    ours = harmonics(directions)
    solved = np.linalg.lstsq(theirs, ours, rcond=None)[0]
    np.testing.assert_allclose(theirs @ solved, ours, atol=1e-9)
    assert np.linalg.matrix_rank(ours) == 9


def test_a_lamp_shines_as_lamberts_law_says(directions: np.ndarray) -> None:
    """Nine bands hold a distant lamp's cosine (Ramamoorthi and Hanrahan: 99 % of its energy)."""
    lamp = np.array([0.36, 0.48, 0.8])
    cosine = np.clip(directions @ lamp, 0, None)
    lighting = np.linalg.lstsq(harmonics(directions), cosine, rcond=None)[0]
    assert np.abs(harmonics(directions) @ lighting - cosine).max() < 0.1
    # the kernel is in the bands: a lamp's radiance projected on plain harmonics gives the same coefficients
    plain = harmonics(directions) / np.array([1.0, *[2 / 3] * 3, *[1 / 4] * 5])
    at_lamp = harmonics(lamp) / np.array([1.0, *[2 / 3] * 3, *[1 / 4] * 5])
    np.testing.assert_allclose(lighting, at_lamp / (plain**2).mean(0) / 4, atol=0.02)
    np.testing.assert_allclose(harmonics(directions) @ EVEN, 1.0, atol=1e-6)


def test_slopes_agree_with_differences(directions: np.ndarray) -> None:
    some, step = directions[:20], 1e-6
    for axis in range(3):
        moved = np.eye(3)[axis] * step
        found = (harmonics(some + moved) - harmonics(some - moved)) / (2 * step)
        np.testing.assert_allclose(harmonics_slope(some)[..., axis], found, atol=1e-6)


def test_srgb_is_the_standards() -> None:
    np.testing.assert_allclose(to_linear(np.array([10.0, 188, 255])), [0.003035, 0.502886, 1.0], atol=1e-5)
    every = np.arange(256.0)
    np.testing.assert_allclose(to_srgb(to_linear(every)), every, atol=1e-9)
    assert to_srgb(np.array([-1.0, 2.0])) == pytest.approx([0.0, 255.0])


def test_the_lamp_takes_what_skin_would_not_explain() -> None:
    skin = np.exp([0.65, 0.0, -0.33]) * 0.3
    np.testing.assert_allclose(lamp_colour(skin), 1.0, atol=1e-9)
    orange = lamp_colour(skin * [1.5, 1.0, 0.5])
    assert 1.2 < orange[0] < 1.5
    assert 0.5 < orange[2] < 0.8
    assert lamp_colour(np.full(3, 0.3)).tolist() == [1.0, 1.0, 1.0], "a grey photo says nothing of colour"


def test_albedo_fields_are_even_or_odd_across_the_face(toy: MorphableModel) -> None:
    fields, spread = albedo_basis(toy)
    assert fields.shape == (len(toy.mean), len(spread))
    skin = skin_map(toy)
    middle = skin.inner > 0.5
    gap = np.minimum(np.abs(fields - fields[skin.mirror]), np.abs(fields + fields[skin.mirror]))[middle]
    assert gap.max() < 0.05


@pytest.mark.parametrize("tone", [(0.5, 0.27, 0.19), (0.12, 0.06, 0.04)])
@pytest.mark.parametrize("lamp", [(1.0, 1.0, 1.0), (1.3, 1.0, 0.6)])
def test_shine_is_told_from_skin_in_light_and_shade(tone: tuple, lamp: tuple) -> None:
    rng = np.random.default_rng(4)
    shade = rng.uniform(0.3, 1.3, (600, 1)) * np.array(lamp)
    skin = np.array(tone) * shade * np.exp(rng.normal(0, 0.03, (600, 3)))
    shone = skin[:100] + 0.5 * max(tone) * np.array(lamp)
    kept = matte(np.concatenate([shone, skin[100:]]), np.ones(600, bool))
    assert kept[:100][shade[:100, 0] > 0.6].max() < 0.3
    assert np.median(kept[100:]) > 0.95
    assert kept[100:].mean() > 0.85
    grey = np.repeat(skin.mean(1, keepdims=True), 3, 1)
    assert (matte(grey, np.ones(600, bool)) == 1).all(), "a grey photo tells nothing"
    assert (matte(skin, np.zeros(600, bool)) == 1).all(), "nor does one without skin"
