"""Where a head has skin, which colours of a photo are skin, and how they go on where no photo looked."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from crimeface_lib.reconstruction.morphable import MorphableModel
from crimeface_lib.reconstruction.uncertainty import vertex_normals

if TYPE_CHECKING:
    import scipy.sparse as sp

#: Regions that aren't skin, by the beginning of their name.
NOT_SKIN = ("eye", "mouth", "gums", "teeth", "lacrimal")
#: Millimetres above the brows to which the face is trusted, and to which colours are looked at.
_FOREHEAD_INNER, _FOREHEAD_OUTER = 4.0, 38.0
#: Difference from the skin around (CIELAB, lightness counted half) that is surely skin, and surely not.
_SKIN_LIKE, _NOT_SKIN_LIKE = 6.0, 14.0


@dataclass(frozen=True, slots=True, eq=False)
class SkinMap:
    """What the mean head says about its skin.

    Parameters
    ----------
    is_skin : (V,) bool.
    inner, outer : (V,) in [0, 1], the middle of the face, and the face with its margin.
    temple : (V,) in [0, 1], the part of the middle, beside the eyes and above, into which hair falls.
    mirror : (V,) vertex nearest to the mirrored place.
    joined : (V,) index of the place, the same for vertices that coincide.
    laplacian : (places, places) of the mesh's edges.
    """

    is_skin: np.ndarray
    inner: np.ndarray
    outer: np.ndarray
    temple: np.ndarray
    mirror: np.ndarray
    joined: np.ndarray
    laplacian: sp.csc_matrix

    def allowed(self, colour: np.ndarray, confidence: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return (V,) in [0, 1], how far a photo may colour each vertex, and the (C,) skin tone.

        The middle of the face is taken as it is, beard and brows included, where it is seen squarely; in the
        margin, at the temples, and where the face turns away, a colour must be like the skin that the middle
        leads one to expect there; beyond it nothing is taken.

        Parameters
        ----------
        colour : (V, C), the first three sRGB in 0–255.
        """
        sure = self.inner * (1 - self.temple) * confidence * self.is_skin
        core = sure > 0.5 * sure.max()
        tone = np.median(colour[core], 0) if core.any() else np.tile([190.0, 150.0, 130.0], colour.shape[1] // 3)
        expected = smooth_fill(self, colour[:, :3], sure, towards=tone[:3], stiffness=0.05)
        difference = (_lab(colour[:, :3]) - _lab(expected)) * np.array([0.5, 1.0, 1.0])
        like = 1 - np.clip((np.linalg.norm(difference, axis=1) - _SKIN_LIKE) / (_NOT_SKIN_LIKE - _SKIN_LIKE), 0, 1)
        like = _average(self, like, rounds=4)
        like = np.clip(2 * like - 1, 0, 1)  # hair nearby is reason enough to doubt
        square = np.clip((confidence - 0.3) / 0.4, 0, 1) * (1 - self.temple)
        mask = np.maximum(self.inner * np.maximum(square, like), self.outer * like)
        return np.where(self.is_skin, _average(self, mask, rounds=2), 1.0), tone


@lru_cache(maxsize=2)
def skin_map(model: MorphableModel) -> SkinMap:
    """Return the skin of ``model``; depends on its mean only."""
    import scipy.sparse as sp
    from scipy.spatial import cKDTree

    mean, count = model.mean, len(model.mean)
    is_skin = np.ones(count, bool)
    for name, (start, stop) in model.regions.items():
        if name.startswith(NOT_SKIN):
            is_skin[start:stop] = False
    points = model.landmarks(mean)
    forward = vertex_normals(mean, model.triangles)[:, 2]
    ears = points[[0, 16], 2].mean()
    front = np.clip((mean[:, 2] - ears - 2) / 10, 0, 1) * np.clip((forward + 0.35) / 0.3, 0, 1)
    inside = [_distance_inside(mean[:, :2], _outline(points, above))
              for above in (_FOREHEAD_INNER, _FOREHEAD_OUTER)]  # fmt: skip
    inner = np.clip((inside[0] - 11) / 10, 0, 1) * front * is_skin
    outer = np.clip((inside[1] + 6) / 12, 0, 1) * front * is_skin
    corner = points[[36, 45]]
    beside = np.abs(mean[:, 0] - corner[:, 0].mean()) - np.ptp(corner[:, 0]) / 2
    temple = np.clip((beside - 3) / 6, 0, 1) * np.clip((mean[:, 1] - corner[:, 1].mean() + 12) / 10, 0, 1)
    _, joined = np.unique(np.round(mean, 2), axis=0, return_inverse=True)
    joined = joined.ravel()
    triangles = joined[model.triangles[is_skin[model.triangles].all(1)]]
    edges = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    places = int(joined.max()) + 1
    adjacency = sp.coo_matrix((np.ones(len(edges)), edges.T), shape=(places, places)).tocsr()
    adjacency = ((adjacency + adjacency.T) > 0).astype(np.float64)
    laplacian = sp.diags(np.asarray(adjacency.sum(1)).ravel()) - adjacency
    mirror = cKDTree(mean).query(mean * [-1, 1, 1])[1]
    return SkinMap(is_skin, inner, outer, temple, mirror, joined, laplacian.tocsc())


def smooth_fill(
    skin: SkinMap, values: np.ndarray, weight: np.ndarray, *, towards: np.ndarray, stiffness: float = 0.0015
) -> np.ndarray:
    """Return (V, C) values that follow ``values`` where ``weight`` is, go on smoothly, and end at ``towards``.

    The minimum of weighted differences, of the differences along edges, and of ``stiffness`` times the
    distance to ``towards``: a sparse linear system.
    """
    import scipy.sparse as sp
    from scipy.sparse.linalg import splu

    places = skin.laplacian.shape[0]
    held = np.bincount(skin.joined, weight * skin.is_skin, places) * 2.0
    system = skin.laplacian + sp.diags(held + stiffness)
    sums = [np.bincount(skin.joined, weight * skin.is_skin * column, places) * 2.0 for column in values.T]
    right = np.stack(sums, 1) + stiffness * towards
    factor = splu(system.tocsc(), permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})
    solved: np.ndarray = factor.solve(right)[skin.joined]
    return solved


def _average(skin: SkinMap, values: np.ndarray, *, rounds: int) -> np.ndarray:
    """Return ``values`` averaged with their neighbours ``rounds`` times."""
    degree = skin.laplacian.diagonal()
    count = np.bincount(skin.joined, minlength=len(degree))
    place = np.bincount(skin.joined, values, len(degree)) / count
    for _ in range(rounds):
        place = place - 0.7 * (skin.laplacian @ place) / np.maximum(degree, 1)
    averaged: np.ndarray = place[skin.joined]
    return averaged


def _outline(points: np.ndarray, above: float) -> np.ndarray:
    """Return the (N, 2) frontal outline of the face: the jaw, and an arch ``above`` mm over the brows."""
    jaw = points[:17, :2]
    top = points[17:27, 1].max() + above
    angle = np.linspace(0, np.pi, 13)[1:-1]
    half, base = (jaw[16, 0] - jaw[0, 0]) / 2, jaw[[0, 16], 1].mean()
    middle = jaw[[0, 16], 0].mean()
    arch = np.stack([middle + half * np.cos(angle) * 0.97, base + (top - base) * np.sin(angle) ** 0.6], 1)
    return np.concatenate([jaw, arch])


def _distance_inside(points: np.ndarray, polygon: np.ndarray) -> np.ndarray:
    """Return (N,) mm from the polygon's edge, positive inside."""
    from matplotlib.path import Path

    start, along = polygon, np.roll(polygon, -1, 0) - polygon
    offset = points[:, None] - start
    part = np.clip((offset * along).sum(2) / (along**2).sum(1), 0, 1)
    distance = np.linalg.norm(offset - part[..., None] * along, axis=2).min(1)
    return np.where(Path(polygon).contains_points(points), distance, -distance)


def _lab(colour: np.ndarray) -> np.ndarray:
    """Return (N, 3) CIELAB of (N, 3) sRGB in 0–255."""
    import cv2

    unit = np.clip(colour, 0, 255).astype(np.float32)[None] / 255
    lab: np.ndarray = cv2.cvtColor(unit, cv2.COLOR_RGB2LAB)[0]
    return lab.astype(np.float64)
