"""Light and skin colour: spherical harmonics of nine bands, linear light, and what is lamp and what is skin.

Light is given in the viewer's frame: x right and y up of the picture, z from the face to the viewer.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from crimeface_lib.reconstruction.camera import FACING
from crimeface_lib.reconstruction.morphable import MorphableModel
from crimeface_lib.reconstruction.skin import skin_map

#: 1, x, y, z, xy, xz, yz, x²−y², 3z²−1: real harmonics with Lambert's kernel, scaled so that a first
#: coefficient of 1 is an even light in which a surface shows its albedo.
_SCALE = 3.5449077 * np.array([0.2820948, *[0.4886025 * 2 / 3] * 3, *[1.0925484 / 4] * 3, 0.5462742 / 4, 0.3153916 / 4])
#: (9, 3): the even white light.
EVEN = np.zeros((9, 3))
EVEN[0] = 1.0
#: A soft white light from where the viewer is: pictures for comparing faces.
FRONTAL = np.zeros((9, 3))
FRONTAL[[0, 3]] = [[0.8], [0.2]]
#: Logarithms of red/green and blue/green of skin in linear light and their spread (lightest to darkest patches
#: of the ColorChecker and their surroundings), and the spread of a photo's white balance.
_SKIN_CHROMA, _SKIN_SPREAD, _LAMP_SPREAD = np.array([0.65, -0.33]), 0.15, 0.20
#: Paleness beyond which a colour loses its say, in standard deviations of the skin's own; less than this brightness,
#: beside the middle of the skin, is no shine.
_PALE, _PALE_WIDTH, _SHINES = 1.0, 1.5, 0.7
#: Bumps of the albedo on one side of the face.
_BUMPS = 32


def to_linear(colour: np.ndarray) -> np.ndarray:
    """Return linear light in [0, 1] of sRGB values in 0–255.

    >>> [round(float(value), 3) for value in to_linear(np.array([0, 128, 255]))]
    [0.0, 0.216, 1.0]
    """
    unit = np.asarray(colour) / 255
    linear: np.ndarray = np.where(unit <= 0.04045, unit / 12.92, ((np.maximum(unit, 0) + 0.055) / 1.055) ** 2.4)
    return linear


def to_srgb(linear: np.ndarray) -> np.ndarray:
    """Return sRGB values in 0–255, clipped, of linear light.

    >>> to_srgb(to_linear(np.array([3, 99, 255]))).round().tolist()
    [3.0, 99.0, 255.0]
    """
    unit = np.clip(linear, 0, 1)
    coded: np.ndarray = 255 * np.where(unit <= 0.0031308, unit * 12.92, 1.055 * unit ** (1 / 2.4) - 0.055)
    return coded


def harmonics(normals: np.ndarray) -> np.ndarray:
    """Return (..., 9) values at unit ``normals`` (..., 3): ``harmonics(n) @ lighting`` is the irradiance.

    References: Ramamoorthi and Hanrahan 2001.
    """
    x, y, z = np.moveaxis(normals, -1, 0)
    bands = [np.ones_like(x), x, y, z, x * y, x * z, y * z, x * x - y * y, 3 * z * z - 1]
    values: np.ndarray = np.stack(bands, -1) * _SCALE
    return values


def harmonics_slope(normals: np.ndarray) -> np.ndarray:
    """Return (..., 9, 3), the derivatives of ``harmonics``."""
    x, y, z = np.moveaxis(normals, -1, 0)
    o, i = np.zeros_like(x), np.ones_like(x)
    rows = [
        (o, o, o),
        (i, o, o),
        (o, i, o),
        (o, o, i),
        (y, x, o),
        (z, o, x),
        (o, z, y),
        (2 * x, -2 * y, o),
        (o, o, 6 * z),
    ]
    slope: np.ndarray = np.stack([np.stack(row, -1) for row in rows], -2) * _SCALE[:, None]
    return slope


def to_viewer(normals: np.ndarray, rotation: np.ndarray) -> np.ndarray:
    """Return head-frame ``normals`` (N, 3) in the viewer's frame of a camera with ``rotation``."""
    turned: np.ndarray = normals @ (FACING @ rotation).T
    return turned


def irradiance(normals: np.ndarray, rotation: np.ndarray, lighting: np.ndarray) -> np.ndarray:
    """Return (N, 3) irradiance of head-frame ``normals`` (N, 3), never less than a fifth of the mean."""
    light: np.ndarray = harmonics(to_viewer(normals, rotation)) @ lighting
    return np.maximum(light, 0.2 * lighting[0])


@lru_cache(maxsize=2)
def albedo_basis(model: MorphableModel) -> tuple[np.ndarray, np.ndarray]:
    """Return (V, M) float32 fields of log albedo and their (M,) prior standard deviations.

    Round bumps over the face, in pairs that are equal on both sides (freer) and opposite (stiffer), then
    brows and lips, whose colour no bump is narrow enough to follow.
    """
    skin, mean = skin_map(model), model.mean
    candidates = np.flatnonzero((skin.outer > 0) & (mean[:, 0] >= 0))
    centres = [mean[candidates[np.argmax(mean[candidates, 2])]] * [0, 1, 1]]
    nearest = np.full(len(candidates), np.inf)
    while len(centres) < _BUMPS:  # each as far as can be from those before
        nearest = np.minimum(nearest, np.linalg.norm(mean[candidates] - centres[-1], axis=1))
        centres.append(mean[candidates[nearest.argmax()]])
    width = 0.8 * np.sqrt(nearest.max() * 30.0)
    right = _bumps(mean, np.array(centres), width)
    left = _bumps(mean * [-1, 1, 1], np.array(centres), width)
    points = model.landmarks(mean)
    lips = np.exp(-((_distance(mean, points[[*range(48, 60), 48]]) / 6.0) ** 4))
    brows = [np.exp(-((_distance(mean, points[part]) / 6.0) ** 4)) for part in (slice(17, 22), slice(22, 27))]
    fields = [right + left, right - left, np.stack([lips, brows[0] + brows[1], brows[0] - brows[1]], 1)]
    spread = [np.full(_BUMPS, 0.12), np.full(_BUMPS, 0.06), np.array([0.5, 0.6, 0.15])]
    return np.concatenate(fields, 1).astype(np.float32), np.concatenate(spread)


def _bumps(points: np.ndarray, centres: np.ndarray, width: float) -> np.ndarray:
    squared = (points**2).sum(1)[:, None] + (centres**2).sum(1) - 2 * points @ centres.T
    bumps: np.ndarray = np.exp(-squared / (2 * width**2))
    return bumps


def _distance(points: np.ndarray, line: np.ndarray) -> np.ndarray:
    """Return (N,) mm from a polyline."""
    start, along = line[:-1], np.diff(line, axis=0)
    offset = points[:, None] - start
    part = np.clip((offset * along).sum(2) / (along**2).sum(1), 0, 1)
    distance: np.ndarray = np.linalg.norm(offset - part[..., None] * along, axis=2).min(1)
    return distance


def lamp_colour(tone: np.ndarray) -> np.ndarray:
    """Return (3,) colour of the light, green 1, that best explains a skin of linear colour ``tone`` (3,).

    A photo shows the product of lamp and skin. Skins differ little in hue and cameras balance their white:
    the most likely lamp given both spreads. A grey photo says nothing of colour: white.
    """
    if tone.max() - tone.min() < 0.02 * tone.max():
        return np.ones(3)
    seen = np.log(np.maximum(tone, 1e-4))
    share = _LAMP_SPREAD**2 / (_LAMP_SPREAD**2 + _SKIN_SPREAD**2)
    red, blue = np.exp(share * (seen[[0, 2]] - seen[1] - _SKIN_CHROMA))
    return np.array([red, 1.0, blue])


def matte(colour: np.ndarray, skin: np.ndarray) -> np.ndarray:
    """Return (N,) in [0, 1], how far each linear ``colour`` (N, 3) of a face is lit skin and not shine.

    Shine adds the lamp's own colour to that of the skin: it makes paler, by more than the skin's hue varies,
    and isn't dark. A grey photo tells nothing: all ones.

    Parameters
    ----------
    skin : (N,) bool, the colours to learn from.

    References: Shafer 1985 (dichromatic reflection).
    """
    if skin.sum() < 50:
        return np.ones(len(colour))
    tone = np.maximum(np.median(colour[skin], 0), 0.004)
    lamp = lamp_colour(tone) / tone
    lean = lamp / lamp.mean() - 1
    if np.abs(lean).max() < 0.05:
        return np.ones(len(colour))
    relative = colour / tone
    bright = relative.mean(1)
    pale = relative @ lean / (lean @ lean) / np.maximum(bright, 0.05)
    off = pale - np.median(pale[skin])
    sd = max(1.48 * float(np.median(np.abs(off[skin]))), 0.02)
    excess = np.maximum(off / sd - _PALE, 0) * (bright > _SHINES)
    kept: np.ndarray = 1 / (1 + (excess / _PALE_WIDTH) ** 2) ** 2
    return kept
