"""The photo's colours on the head: what was seen, what is mirrored from the other side, what is filled in."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from crimeface_lib.reconstruction.camera import Camera
from crimeface_lib.reconstruction.morphable import MorphableModel
from crimeface_lib.reconstruction.rasterize import rasterize
from crimeface_lib.reconstruction.shade import sample_pixels
from crimeface_lib.reconstruction.skin import skin_map, smooth_fill
from crimeface_lib.reconstruction.uncertainty import vertex_normals

#: Colours (RGB) of parts that no photo showed, by the beginning of the region's name.
DEFAULTS = {
    "eyeball": (214, 206, 198), "eye_socket": (150, 90, 80), "mouth": (72, 34, 32), "gums": (110, 62, 58),
    "teeth": (150, 138, 124),
}  # fmt: skip
#: Longest side of the face in the photo that is worth reading, in texels of the texture.
_OVERSAMPLE = 1.25


@dataclass(frozen=True, slots=True, repr=False)
class Texture:
    """Colours in the model's UV space.

    Parameters
    ----------
    image : (S, S, 3) uint8 RGB, first row on top (v = 1).
    observed : (S, S) float32 in [0, 1]: 1 where a photo showed the texel, 0 where it is mirrored or filled.
    mirrored : (S, S) float32 in [0, 1]: part of the colour that came from the other side of the face.
    """

    image: np.ndarray
    observed: np.ndarray
    mirrored: np.ndarray

    @property
    def observed_fraction(self) -> float:
        return float(self.observed.mean())


@dataclass(frozen=True, slots=True)
class _Photo:
    """One photo, cropped to the head and scaled, with what the fitted head hides."""

    image: np.ndarray  # (h, w, 3) float32
    camera: Camera
    depth: np.ndarray  # (h, w) mm, the furthest surface accepted
    clear: np.ndarray  # (h, w) in [0, 1], 0 at occluding edges and outside the head

    @classmethod
    def prepare(
        cls, image: np.ndarray, camera: Camera, vertices: np.ndarray, triangles: np.ndarray, size: int
    ) -> _Photo:
        import cv2

        xy, _ = camera.project(vertices)
        low = np.clip(np.floor(xy.min(0)).astype(int) - 8, 0, None)
        high = np.minimum(np.ceil(xy.max(0)).astype(int) + 8, image.shape[1::-1])
        high = np.maximum(high, low + 1)
        crop = image[low[1] : high[1], low[0] : high[0]].astype(np.float32)
        moved = Camera(camera.rotation, camera.translation, camera.focal, camera.principal - low, crop.shape[:2])
        factor = min(1.0, size * _OVERSAMPLE / max(xy.max(0) - xy.min(0)))
        small = moved.resized(factor)
        crop = np.asarray(cv2.resize(crop, small.size[::-1], interpolation=cv2.INTER_AREA), np.float32)
        pixels, z = small.project(vertices)
        seen = rasterize(pixels, z, triangles, height=small.size[0], width=small.size[1])
        kernel = np.ones((3, 3), np.uint8)
        filled = np.where(seen.covered, seen.zbuf, 1e6).astype(np.float32)
        jump = (cv2.dilate(filled, kernel) - cv2.erode(filled, kernel)) > 12.0
        reach = max(2.0, 0.012 * max(small.size))
        distance = cv2.distanceTransform((~jump).astype(np.uint8), cv2.DIST_L2, 3)
        return cls(crop, small, cv2.dilate(filled, kernel), _smoothstep(distance / reach, 0.3, 1.0))

    def look_up(self, points: np.ndarray, normals: np.ndarray, is_skin: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return (P, 3) colours and (P,) confidences of ``points`` (P, 3) mm with unit ``normals``.

        Skin counts when seen squarely; teeth and eyes, which are small and round, from any side.
        """
        pixels, z = self.camera.project(points)
        height, width = self.camera.size
        inside = (z > 0) & (pixels >= 0).all(1) & (pixels[:, 0] < width) & (pixels[:, 1] < height)
        column = np.clip(pixels[:, 0], 0, width - 1).astype(int)
        row = np.clip(pixels[:, 1], 0, height - 1).astype(int)
        towards = self.camera.centre - points
        facing = (towards * normals).sum(1) / np.linalg.norm(towards, axis=1)
        shown = inside & (z <= self.depth[row, column] + 3.0)
        squarely = _smoothstep(facing + 0.5 * (1 - is_skin), 0.2, 0.55)
        confidence = shown * squarely * np.maximum(self.clear[row, column], 1 - is_skin)
        return sample_pixels(self.image, pixels), confidence.astype(np.float32)


def bake_texture(
    model: MorphableModel,
    shapes: list[np.ndarray],
    images: list[np.ndarray],
    cameras: list[Camera],
    *,
    size: int = 512,
) -> Texture:
    """Return the texture of a head from the photos it was fitted to.

    Each texel takes the photos' colours weighted by how squarely they show it. What none shows is mirrored
    from the other side, its colour corrected to fit where the two meet; the rest continues the skin smoothly.
    Hair, background and clothes are kept out: beyond the face's middle a colour unlike skin has no say.

    Parameters
    ----------
    shapes : for each photo the (V, 3) vertices with its expression, mm.
    images : (H, W, 3) uint8 RGB, as the cameras saw them.
    size : texels along a side.
    """
    skin = skin_map(model)
    photos = [_Photo.prepare(image, camera, shape, model.triangles, size)
              for image, camera, shape in zip(images, cameras, shapes, strict=True)]  # fmt: skip
    normals = [vertex_normals(shape, model.triangles) for shape in shapes]
    mirror = skin.mirror
    views = list(zip(photos, shapes, normals, strict=True))
    at_vertices = _blend([photo.look_up(shape, normal, skin.is_skin) for photo, shape, normal in views])
    allowed, tone = skin.allowed(*at_vertices)
    colour, confidence = at_vertices[0], at_vertices[1] * allowed
    field = smooth_fill(skin, colour, confidence * allowed**3, towards=tone)
    both = np.minimum(confidence, confidence[mirror])
    correction = smooth_fill(skin, colour - colour[mirror], both, towards=np.zeros(3))
    field[~skin.is_skin] = _inner_parts(model, *at_vertices, tone)[~skin.is_skin]
    correction[~skin.is_skin] = 0.0

    cells = rasterize(*_uv_plane(model, size), model.triangles_uv, height=size, width=size)
    covered = cells.covered

    def texels(values: np.ndarray) -> np.ndarray:
        return cells.interpolate(values.astype(np.float32), model.triangles)

    def seen(order: np.ndarray | slice) -> tuple[np.ndarray, np.ndarray]:
        looks, smooth = [], texels(skin.is_skin[:, None])[:, 0]
        for photo, shape, normal in views:
            direction = texels(normal[order])
            direction /= np.maximum(np.linalg.norm(direction, axis=1, keepdims=True), 1e-9)
            looks.append(photo.look_up(texels(shape[order]), direction, smooth))
        colours, weight = _blend(looks)
        return colours, weight * texels(allowed[order, None])[:, 0]

    direct, weight = seen(slice(None))
    other, other_weight = seen(mirror)
    other = np.clip(other + texels(correction), 0, 255)
    filling = other_weight[:, None] * other + (1 - other_weight[:, None]) * texels(field)
    final = weight[:, None] * direct + (1 - weight[:, None]) * filling
    return Texture(
        image=_spread(covered, np.round(np.clip(final, 0, 255)).astype(np.uint8)),
        observed=_spread(covered, weight), mirrored=_spread(covered, (1 - weight) * other_weight),
    )  # fmt: skip


def _blend(looks: list[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """Return the colours of several photos, the squarest view leading, and the best confidence."""
    if len(looks) == 1:
        return looks[0]
    confidence = np.stack([look[1] for look in looks])
    share = confidence**4 + 1e-12
    share /= share.sum(0)
    return np.einsum("np,npc->pc", share, np.stack([look[0] for look in looks])), confidence.max(0)


def _inner_parts(model: MorphableModel, colour: np.ndarray, confidence: np.ndarray, tone: np.ndarray) -> np.ndarray:
    """Return (V, 3) colours for the unseen parts of eyes, teeth and mouth; zero elsewhere.

    Teeth and mouth take the middle colour of what was seen of them, else, like the eyes, a default in the
    photo's light, which the skin tells.
    """
    colours = np.zeros((len(model.mean), 3))
    light = np.clip(tone.mean() / 165.0, 0.3, 1.1)
    for name, (start, stop) in model.regions.items():
        for beginning, default in DEFAULTS.items():
            if not name.startswith(beginning):
                continue
            seen = confidence[start:stop] > 0.3
            if seen.sum() >= 20 and not name.startswith("eye"):
                colours[start:stop] = np.median(colour[start:stop][seen], 0)
            else:
                colours[start:stop] = np.array(default) * light
    return colours


def _uv_plane(model: MorphableModel, size: int) -> tuple[np.ndarray, np.ndarray]:
    plane = np.stack([model.uv[:, 0], 1 - model.uv[:, 1]], 1) * size
    return plane, np.ones(len(plane))


def _spread(covered: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return an (S, S[, C]) picture of values at the covered texels, the rest taken from the nearest one."""
    from scipy.ndimage import distance_transform_edt

    picture = np.zeros((*covered.shape, *values.shape[1:]), values.dtype)
    picture[covered] = values
    nearest = distance_transform_edt(~covered, return_distances=False, return_indices=True)
    spread: np.ndarray = picture[tuple(nearest)]
    return spread


def _smoothstep(value: np.ndarray, low: float, high: float) -> np.ndarray:
    """Return 0 below ``low``, 1 above ``high``, smooth in between."""
    part = np.clip((value - low) / (high - low), 0, 1)
    smooth: np.ndarray = part * part * (3 - 2 * part)
    return smooth
