"""What the photometric stage compares: points of the model's skin with what photos show of them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from crimeface_lib.reconstruction.camera import Camera
from crimeface_lib.reconstruction.light import albedo_basis, to_linear
from crimeface_lib.reconstruction.morphable import MorphableModel
from crimeface_lib.reconstruction.rasterize import rasterize
from crimeface_lib.reconstruction.shade import sample_pixels
from crimeface_lib.reconstruction.skin import skin_map

#: Longest side of the head in the pictures compared, px, and how many vertices are compared.
_SIDE, _SAMPLES = 200, 1500


@dataclass(frozen=True, slots=True, eq=False)
class Surface:
    """The skin of a model, ready for fast products; vertices count from the first of the face.

    Parameters
    ----------
    triangles : (F, 3). mean : (V, 3) mm, from ``origin``. basis : (V, 3, K + E) float32, mm.
    fields, field_sd : (S, M) log albedo at the chosen vertices and its prior.
    origin : (3,) mm, about which the head turns. identities : K.
    chosen : (S,) vertices compared, as many from each square millimetre. weight : (S,) in (0, 1].
    ring : (P,) places in ``chosen`` and (P,) triangles that touch them.
    corners, weights : (68, 3), the landmarks' vertices and their parts.
    jaw : for each jaw landmark the vertices among which it slides; empty where it doesn't.
    """

    triangles: np.ndarray
    origin: np.ndarray
    mean: np.ndarray
    basis: np.ndarray
    identities: int
    fields: np.ndarray
    field_sd: np.ndarray
    chosen: np.ndarray
    weight: np.ndarray
    ring: tuple[np.ndarray, np.ndarray]
    corners: np.ndarray  # (68, 3) vertices of the landmarks
    weights: np.ndarray  # (68, 3)
    jaw: tuple[np.ndarray, ...]

    def decode(self, coefficients: np.ndarray) -> np.ndarray:
        moved = self.basis.reshape(-1, self.basis.shape[2]) @ coefficients.astype(np.float32)
        decoded: np.ndarray = self.mean + moved.reshape(-1, 3)
        return decoded

    def normals(self, vertices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return (S, 3) unit normals and (S,) twice the area around the chosen vertices."""
        which, face = self.ring
        a, b, c = np.moveaxis(vertices[self.triangles[face]], 1, 0)
        crossed = np.cross(b - a, c - a)
        total = np.stack([np.bincount(which, column, len(self.chosen)) for column in crossed.T], 1)
        length = np.maximum(np.linalg.norm(total, axis=1), 1e-9)
        return total / length[:, None], length

    def normal_slopes(self, vertices: np.ndarray) -> np.ndarray:
        """Return (S, 3, K + E) derivatives of the unit normals by the coefficients."""
        import scipy.sparse as sp

        which, face = self.ring
        corners = vertices[self.triangles[face]]
        opposite = corners[:, [1, 2, 0]] - corners[:, [2, 0, 1]]
        unit, length = self.normals(vertices)
        tangent = (np.eye(3) - unit[:, :, None] * unit[:, None]) / length[:, None, None]
        block = -(tangent[which][:, None] @ skew(opposite))  # d(face normal) = da × (b − c) + db × (c − a) + …
        rows = np.broadcast_to((3 * which)[:, None, None, None] + np.arange(3)[:, None], block.shape)
        columns = np.broadcast_to(3 * self.triangles[face][:, :, None, None] + np.arange(3), block.shape)
        operator = sp.csr_matrix(
            (block.ravel().astype(np.float32), (rows.ravel(), columns.ravel())),
            shape=(3 * len(self.chosen), 3 * len(vertices)),
        )
        slopes: np.ndarray = operator @ self.basis.reshape(-1, self.basis.shape[2])
        return slopes.reshape(len(self.chosen), 3, -1)


def skew(vectors: np.ndarray) -> np.ndarray:
    """Return (..., 3, 3) with ``skew(a) @ b == cross(a, b)``."""
    x, y, z = np.moveaxis(vectors, -1, 0)
    o = np.zeros_like(x)
    crossed: np.ndarray = np.stack([o, -z, y, z, o, -x, -y, x, o], -1).reshape(*vectors.shape, 3)
    return crossed


@lru_cache(maxsize=2)
def surface_of(model: MorphableModel) -> Surface:
    """Return the skin of ``model``: the face, and what landmarks and jaw need of the rest."""
    skin = skin_map(model)
    corners = model.triangles[model.landmark_triangles]
    needed = np.concatenate([corners.ravel(), *model.contour, np.array(model.regions["face"]) - [0, 1]])
    part = slice(int(needed.min()), int(needed.max()) + 1)
    triangles = model.triangles[((model.triangles >= part.start) & (model.triangles < part.stop)).all(1)] - part.start
    origin = model.landmarks(model.mean).mean(0)
    mean = model.mean[part] - origin
    both = np.concatenate([model.identity[:, part], model.expression[:, part]])
    a, b, c = np.moveaxis(mean[triangles], 1, 0)
    area = np.bincount(triangles.ravel(), np.repeat(np.linalg.norm(np.cross(b - a, c - a), axis=1), 3), len(mean))
    chance = area * (skin.inner[part] > 0.2)
    count = min(_SAMPLES, int((chance > 0).sum()))
    chosen = np.sort(np.random.default_rng(0).choice(len(mean), count, replace=False, p=chance / chance.sum()))
    place = np.full(len(mean), -1)
    place[chosen] = np.arange(count)
    face, corner = np.nonzero(place[triangles] >= 0)
    fields, spread = albedo_basis(model)
    lines = model.contour if len(model.contour) == 17 else ()
    return Surface(
        triangles, origin, mean, np.ascontiguousarray(both.transpose(1, 2, 0), np.float32), len(model.identity),
        fields[part][chosen], spread, chosen, skin.inner[part][chosen], (place[triangles[face, corner]], face),
        corners - part.start, model.landmark_weights, tuple(line - part.start for line in lines),
    )  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """One photo cut to the head and made small, in linear light, blurred.

    Parameters
    ----------
    stack : (h, w, 9) float32, colours and their slopes along x and y.
    good : (h, w) float32, 0 where a channel is burnt out or black.
    corner, factor : of the cut in the photo, px, and the scale.
    """

    linear: np.ndarray  # (h, w, 3) float32, sharp
    stack: np.ndarray
    good: np.ndarray
    corner: np.ndarray
    factor: float

    @classmethod
    def cut(cls, photo: np.ndarray, pixels: np.ndarray) -> Picture:
        """Return the part of ``photo`` where the head's vertices, at ``pixels`` (V, 2), are."""
        import cv2

        low, high = pixels.min(0), pixels.max(0)
        extent = float((high - low).max())
        limit = np.array(photo.shape[1::-1])
        low = np.clip(np.floor(low - 0.06 * extent), 0, limit - 2).astype(int)
        high = np.clip(np.ceil(high + 0.06 * extent), low + 2, limit).astype(int)
        crop = photo[low[1] : high[1], low[0] : high[0]]
        factor = min(1.0, _SIDE / extent)
        width, height = np.maximum(np.round((high - low) * factor), 2).astype(int).tolist()
        table = to_linear(np.arange(256)).astype(np.float32)
        linear = cv2.resize(table[crop], (width, height), interpolation=cv2.INTER_AREA)
        bad = ((crop.max(2) >= 250) | (crop.max(2) <= 5)).astype(np.float32)
        bad = cv2.dilate(cv2.resize(bad, (width, height), interpolation=cv2.INTER_AREA), np.ones((3, 3)))
        return cls(
            linear, np.zeros((height, width, 0), np.float32), np.clip(1 - 2 * bad, 0, 1), low.astype(float), factor
        )

    def blurred(self, sd: float) -> Picture:
        """Return the picture with a ``stack`` blurred by ``sd`` px."""
        import cv2

        soft = cv2.GaussianBlur(self.linear, (0, 0), sd)
        slopes = [cv2.Sobel(soft, cv2.CV_32F, *way, ksize=3, scale=1 / 8) for way in ((1, 0), (0, 1))]
        return Picture(self.linear, np.concatenate([soft, *slopes], 2), self.good, self.corner, self.factor)

    def read(self, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return (S, 3) colours and (S, 3, 2) their slopes a pixel of the photo, at the photo's ``pixels`` (S, 2)."""
        at = (pixels - self.corner) * self.factor
        parts = [sample_pixels(np.ascontiguousarray(self.stack[..., k : k + 3]), at) for k in (0, 3, 6)]
        return parts[0].astype(float), np.stack(parts[1:], 2).astype(float) * self.factor

    def shown(
        self, surface: Surface, seen: np.ndarray, pixels: np.ndarray, normals: np.ndarray, margin: float
    ) -> np.ndarray:
        """Return (S,) in [0, 1], how well the photo shows each chosen vertex.

        Parameters
        ----------
        seen, pixels : (V, 3) mm in the camera's frame and (V, 2) px of the photo. normals : (S, 3) camera's frame.
        margin : px of this picture kept from edges behind which the surface goes on.
        """
        import cv2

        at, chosen = (pixels - self.corner) * self.factor, surface.chosen
        height, width = self.linear.shape[:2]
        drawn = rasterize(at, seen[:, 2], surface.triangles, height=height, width=width)
        far = np.where(drawn.covered, drawn.zbuf, 1e6).astype(np.float32)
        jump = cv2.dilate(far, np.ones((3, 3))) - far > 12.0
        clear = cv2.distanceTransform((~jump).astype(np.uint8), cv2.DIST_L2, 3)
        at = at[chosen]
        inside = (at >= 1).all(1) & (at[:, 0] < width - 1) & (at[:, 1] < height - 1)
        column, row = (np.clip(at[:, axis], 0, limit - 1).astype(int) for axis, limit in ((0, width), (1, height)))
        facing = -(normals * seen[chosen]).sum(1) / np.linalg.norm(seen[chosen], axis=1)
        weight = surface.weight * inside * (seen[chosen, 2] < far[row, column] + 4.0) * self.good[row, column]
        weight *= np.clip((facing - 0.25) / 0.25, 0, 1) * np.clip(clear[row, column] / (1 + margin) - 0.5, 0, 1)
        return np.asarray(weight, float)


def to_pictures(photos: list[np.ndarray], cameras: tuple[Camera, ...], shapes: list[np.ndarray]) -> list[Picture]:
    """Return the heads that the ``cameras`` see, cut from the photos."""
    return [Picture.cut(photo, camera.project(shape)[0])
            for photo, camera, shape in zip(photos, cameras, shapes, strict=True)]  # fmt: skip
