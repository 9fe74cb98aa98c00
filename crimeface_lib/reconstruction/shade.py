"""Pictures of a head: its texture, its bare shape, or its uncertainty; anti-aliased, on light grey."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from crimeface_lib.core.errors import InputError
from crimeface_lib.reconstruction.camera import Camera
from crimeface_lib.reconstruction.light import irradiance, to_linear, to_srgb
from crimeface_lib.reconstruction.rasterize import Fragments, rasterize
from crimeface_lib.reconstruction.uncertainty import vertex_normals

if TYPE_CHECKING:
    from crimeface_lib.reconstruction.mesh import Mesh

WHAT = ("texture", "shape", "uncertainty")
_BACKGROUND = np.array([240.0, 240.0, 242.0])
_CLAY = np.array([206.0, 196.0, 186.0])
#: Key, fill and rim light: direction to the light in the camera frame (y down, z away) and strength.
_LIGHTS = (((-0.45, -0.55, -0.7), 0.62), ((0.7, -0.1, -0.6), 0.25), ((0.0, -0.8, 0.3), 0.15))
_AMBIENT = 0.25


def render(
    mesh: Mesh,
    camera: Camera,
    *,
    what: str = "texture",
    observed: np.ndarray | None = None,
    limits: tuple[float, float] | None = None,
    lighting: np.ndarray | None = None,
    supersample: int = 2,
) -> np.ndarray:
    """Return an (H, W, 3) uint8 picture of ``mesh`` through ``camera``.

    Parameters
    ----------
    what : "texture" (the photo's own light; unobserved parts are lightly shaded, so that they read as filled
        in), "shape" (clay under a soft light), "uncertainty" (``mesh.vertex_sd`` in the colours of cividis).
    observed : (S, S) in [0, 1], which texels a photo showed.
    limits : mm at the ends of the colour scale.
    lighting : (9, 3) harmonics of a light to put on a ``mesh`` whose texture is an albedo; see ``light``.

    Raises
    ------
    InputError : an unknown ``what``.
    """
    import cv2

    if what not in WHAT:
        raise InputError(f"what: got {what!r}, expected one of {', '.join(WHAT)}")
    height, width = camera.size
    large = camera.resized(supersample)
    xy, depth = large.project(mesh.vertices)
    seen = rasterize(xy, depth, mesh.triangles, height=large.size[0], width=large.size[1])
    light = _light(mesh, large, seen)
    if what == "texture":
        uv = _uv(mesh, seen)
        colour = sample(mesh.texture.astype(np.float32), uv)
        if lighting is not None:
            colour = to_srgb(to_linear(colour) * irradiance(_normals(mesh, seen), large.rotation, lighting))
        elif observed is not None:
            filled = 1 - sample(observed.astype(np.float32)[..., None], uv)
            colour *= 1 - filled * (1 - np.clip(0.55 + 0.5 * light, 0, 1.05))
    elif what == "shape":
        colour = _CLAY * light
    else:
        low, high = limits or uncertainty_limits(mesh.vertex_sd)
        value = seen.interpolate(mesh.vertex_sd[:, None], mesh.triangles)
        colour = _colours((value[:, 0] - low) / max(high - low, 1e-9)) * (0.75 + 0.25 * light)
    picture = np.tile(_BACKGROUND.astype(np.float32), (*large.size, 1))
    picture[seen.covered] = np.clip(colour, 0, 255)
    small = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
    return np.round(small).astype(np.uint8)


def uncertainty_limits(sd: np.ndarray) -> tuple[float, float]:
    """Return the ends of the colour scale in mm: zero and the 90th percentile, rounded up to 0.1 mm."""
    return 0.0, float(np.ceil(np.percentile(sd, 90) * 10) / 10)


def sample(image: np.ndarray, uv: np.ndarray) -> np.ndarray:
    """Return (P, C) bilinear values of a float32 (H, W, C) ``image`` at ``uv`` (P, 2), origin bottom left."""
    height, width = image.shape[:2]
    return sample_pixels(image, np.stack([uv[:, 0] * width, (1 - uv[:, 1]) * height], 1))


def sample_pixels(image: np.ndarray, xy: np.ndarray) -> np.ndarray:
    """Return (P, C) bilinear values of a float32 ``image`` at ``xy`` (P, 2) px; pixel centres at i + 0.5."""
    import cv2

    rows = -(-len(xy) // 4096)  # remap takes pictures, and none wider than 32767
    padded = np.zeros((rows * 4096, 2), np.float32)
    padded[: len(xy)] = xy - 0.5
    grid = padded.reshape(rows, 4096, 2)
    values = cv2.remap(image, grid[..., 0], grid[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    flat: np.ndarray = values.reshape(rows * 4096, -1)[: len(xy)]
    return flat


def _uv(mesh: Mesh, seen: Fragments) -> np.ndarray:
    return seen.interpolate(mesh.uv, mesh.triangles_uv)


def _normals(mesh: Mesh, seen: Fragments) -> np.ndarray:
    """Return (P, 3) unit normals at the covered pixels."""
    normals = seen.interpolate(vertex_normals(mesh.vertices, mesh.triangles), mesh.triangles)
    return normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-9)


def _light(mesh: Mesh, camera: Camera, seen: Fragments) -> np.ndarray:
    """Return (P, 1) soft Lambert light at the covered pixels, about 1 where the key light falls."""
    normals = _normals(mesh, seen) @ camera.rotation.T
    total = np.full(len(normals), _AMBIENT)
    for direction, strength in _LIGHTS:
        unit = np.array(direction) / np.linalg.norm(direction)
        total += strength * np.clip((normals @ unit + 0.3) / 1.3, 0, None)
    return total[:, None]


def _colours(value: np.ndarray) -> np.ndarray:
    """Return (P, 3) cividis colours, 0–255, of values in [0, 1]."""
    import matplotlib

    table = matplotlib.colormaps["cividis"](np.linspace(0, 1, 256))[:, :3] * 255
    return table[(np.clip(value, 0, 1) * 255).astype(int)]
