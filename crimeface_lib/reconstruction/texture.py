"""The photo's colours on the head: what was seen, what is mirrored from the other side, what is filled in."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from crimeface_lib.core.display import Shown
from crimeface_lib.reconstruction.camera import Camera
from crimeface_lib.reconstruction.light import irradiance, to_linear, to_srgb
from crimeface_lib.reconstruction.morphable import MorphableModel
from crimeface_lib.reconstruction.rasterize import rasterize
from crimeface_lib.reconstruction.shade import sample_pixels
from crimeface_lib.reconstruction.skin import skin_map, smooth_fill
from crimeface_lib.reconstruction.uncertainty import vertex_normals

if TYPE_CHECKING:
    import scipy.sparse as sp

#: Colours (RGB) of parts that no photo showed, by the beginning of the region's name.
DEFAULTS = {
    "eyeball": (214, 206, 198), "eye_socket": (150, 90, 80), "mouth": (72, 34, 32), "gums": (110, 62, 58),
    "teeth": (150, 138, 124),
}  # fmt: skip
#: Longest side of the face in the photo that is worth reading, in texels of the texture.
_OVERSAMPLE = 1.25


@dataclass(frozen=True, slots=True, repr=False)
class Texture(Shown):
    """Colours in the model's UV space.

    Parameters
    ----------
    image : (S, S, 3) uint8 RGB, first row on top (v = 1).
    observed : (S, S) float32 in [0, 1]: 1 where a photo showed the texel, 0 where it is mirrored or filled.
    mirrored : (S, S) float32 in [0, 1]: part of the colour that came from the other side of the face.
    albedo : (S, S, 3) uint8 sRGB, the colours in an even white light; None where the light isn't known.
    """

    image: np.ndarray
    observed: np.ndarray
    mirrored: np.ndarray
    albedo: np.ndarray | None = None

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

    def look_up(
        self, points: np.ndarray, normals: np.ndarray, shone: np.ndarray, is_skin: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return (P, 3) colours and (P,) confidences of ``points`` (P, 3) mm with unit ``normals``; (P, 6) with the
        colours in an even light where the irradiance ``shone`` (P, 3) is known, else ``shone`` is (P, 0). With (P, 6)
        the second half is the light to show the first colours in.

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
        colours = sample_pixels(self.image, pixels)
        if shone.shape[1]:
            linear = to_linear(colours) / shone[:, :3]
            if shone.shape[1] == 6:
                colours = to_srgb(linear * np.minimum(shone[:, 3:], 4 * shone[:, :3]))
            colours = np.concatenate([colours, to_srgb(linear)], 1)
        return colours, confidence.astype(np.float32)


def bake_texture(
    model: MorphableModel,
    shapes: list[np.ndarray],
    images: list[np.ndarray],
    cameras: list[Camera],
    *,
    size: int = 1024,
    lighting: np.ndarray | None = None,
) -> Texture:
    """Return the texture of a head from the photos it was fitted to.

    Each texel takes the photos' colours weighted by how squarely they show it. What none shows is mirrored
    from the other side, its colour corrected to fit where the two meet; the rest continues the skin smoothly.
    Hair, background and clothes are kept out: a colour unlike skin has no say beyond the face's middle, nor
    where the face turns away. Where the photos' light is known, all are shown in that of the first, and the same is
    done with the light divided out.

    Parameters
    ----------
    shapes : for each photo the (V, 3) vertices with its expression, mm.
    images : (H, W, 3) uint8 RGB, as the cameras saw them.
    size : texels along a side.
    lighting : (photos, 9, 3) as in ``Shading``; for ``Texture.albedo``.
    """
    skin = skin_map(model)
    photos = [_Photo.prepare(image, camera, shape, model.triangles, size)
              for image, camera, shape in zip(images, cameras, shapes, strict=True)]  # fmt: skip
    normals = [vertex_normals(shape, model.triangles) for shape in shapes]
    mirror, shone = skin.mirror, [np.zeros((len(model.mean), 0))] * len(images)
    if lighting is not None:
        shone = [irradiance(n, c.rotation, light) for n, c, light in zip(normals, cameras, lighting, strict=True)]
        shone[1:] = [np.concatenate([own, shone[0]], 1) for own in shone[1:]]  # all in the first photo's light
    views = list(zip(photos, zip(shapes, normals, shone, strict=True), strict=True))
    at_vertices = _blend([photo.look_up(*of, skin.is_skin) for photo, of in views])
    allowed, tone = skin.allowed(*at_vertices)
    colour, confidence = at_vertices[0], at_vertices[1] * allowed
    field = smooth_fill(skin, colour, confidence * allowed**3, towards=tone)
    both = np.minimum(confidence, confidence[mirror])
    correction = smooth_fill(skin, colour - colour[mirror], both, towards=np.zeros_like(tone))
    field[~skin.is_skin] = _inner_parts(model, *at_vertices, tone)[~skin.is_skin]
    correction[~skin.is_skin] = 0.0

    covered, nearest, mix = _texels(model, size)

    def seen(order: np.ndarray | slice) -> tuple[np.ndarray, np.ndarray]:
        smooth, may = (mix @ np.stack([skin.is_skin, allowed[order]], 1).astype(np.float32)).T
        looks = []
        for photo, of in views:
            mixed = mix @ np.concatenate([values[order] for values in of], 1).astype(np.float32)
            direction = mixed[:, 3:6] / np.maximum(np.linalg.norm(mixed[:, 3:6], axis=1, keepdims=True), 1e-9)
            looks.append(photo.look_up(mixed[:, :3], direction, mixed[:, 6:], smooth))
        colours, weight = _blend(looks)
        return colours, weight * may

    direct, weight = seen(slice(None))
    other, other_weight = seen(mirror)
    repaired, continued = np.split(mix @ np.concatenate([correction, field], 1).astype(np.float32), 2, axis=1)
    final = other_weight[:, None] * np.clip(other + repaired, 0, 255) + (1 - other_weight[:, None]) * continued
    final += weight[:, None] * (direct - final)

    def spread(values: np.ndarray) -> np.ndarray:
        picture = np.zeros((size, size, *values.shape[1:]), values.dtype)
        picture[covered] = values
        return picture.reshape(size * size, *values.shape[1:])[nearest]

    picture = spread(np.clip(final + 0.5, 0, 255).astype(np.uint8))
    return Texture(
        image=np.ascontiguousarray(picture[..., :3]), observed=spread(weight),
        mirrored=spread((1 - weight) * other_weight),
        albedo=np.ascontiguousarray(picture[..., 3:]) if lighting is not None else None,
    )  # fmt: skip


@lru_cache(maxsize=2)
def _texels(model: MorphableModel, size: int) -> tuple[np.ndarray, np.ndarray, sp.csr_matrix]:
    """Return which texels the chart covers (S, S), for each the flat index of the nearest covered one, and the
    (P, V) weights of the vertices in the P covered ones."""
    import cv2
    import scipy.sparse as sp

    plane = np.stack([model.uv[:, 0], 1 - model.uv[:, 1]], 1) * size
    cells = rasterize(plane, np.ones(len(plane)), model.triangles_uv, height=size, width=size)
    covered = cells.covered
    count = int(covered.sum())
    vertices = model.triangles[cells.pix_to_face[covered]].ravel()
    start = np.arange(0, 3 * count + 1, 3)
    mix = sp.csr_matrix((cells.bary[covered].ravel(), vertices, start), shape=(count, len(model.mean)))
    _, label = cv2.distanceTransformWithLabels(
        (~covered).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    place = np.zeros(int(label.max()) + 1, np.int64)
    place[label[covered]] = np.flatnonzero(covered)
    return covered, place[label], mix


def line_across_the_nose(image: np.ndarray, camera: Camera, landmarks: np.ndarray) -> float:
    """Return how much the brightest or darkest line across the bridge of the nose stands out, a part of the skin's
    brightness there: spectacles give 0.1 to 0.7 (rimless ones less), bare noses mostly less than 0.08.

    Parameters
    ----------
    landmarks : (68, 3) of the fitted head, mm.
    """
    along = np.linspace(-0.35, 1.0, 48)[:, None, None] * (landmarks[29] - landmarks[27])
    across = np.linspace(-4, 4, 9)[:, None] * np.array([1.0, 0.0, 0.0])
    pixels, _ = camera.project((landmarks[27] + along + across).reshape(-1, 3))
    bright = sample_pixels(image.astype(np.float32), pixels).mean(1).reshape(48, 9).mean(1).astype(float)
    place = np.linspace(-1, 1, 48)
    smooth = np.polyval(np.polyfit(place, bright, 2), place)
    return float(np.abs(bright - smooth).max() / max(bright.mean(), 1.0))


def _blend(looks: list[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """Return the colours of several photos, the squarest view leading, and the best confidence."""
    if len(looks) == 1:
        return looks[0]
    confidence = np.stack([look[1] for look in looks])
    share = confidence**4 + 1e-12
    share /= share.sum(0)
    return np.einsum("np,npc->pc", share, np.stack([look[0] for look in looks])), confidence.max(0)


def _inner_parts(model: MorphableModel, colour: np.ndarray, confidence: np.ndarray, tone: np.ndarray) -> np.ndarray:
    """Return (V, C) colours for the unseen parts of eyes, teeth and mouth; zero elsewhere.

    Teeth and mouth take the middle colour of what was seen of them, else, like the eyes, a default in the
    photo's light, which the skin tells.
    """
    colours = np.zeros((len(model.mean), len(tone)))
    light = np.repeat(np.clip(tone.reshape(-1, 3).mean(1) / 165.0, 0.3, 1.1), 3)
    for name, (start, stop) in model.regions.items():
        for beginning, default in DEFAULTS.items():
            if not name.startswith(beginning):
                continue
            seen = confidence[start:stop] > 0.3
            if seen.sum() >= 20 and not name.startswith("eye"):
                colours[start:stop] = np.median(colour[start:stop][seen], 0)
            else:
                colours[start:stop] = np.tile(default, len(tone) // 3) * light
    return colours


def _smoothstep(value: np.ndarray, low: float, high: float) -> np.ndarray:
    """Return 0 below ``low``, 1 above ``high``, smooth in between."""
    part = np.clip((value - low) / (high - low), 0, 1)
    smooth: np.ndarray = part * part * (3 - 2 * part)
    return smooth
