"""The jaw line seen in a photo is a silhouette: it slides over the cheek when the head turns."""

from __future__ import annotations

import numpy as np

_TURNS = np.deg2rad(np.arange(0, 65, 5))


def contour_lines(
    mean: np.ndarray, jaw: np.ndarray, face: np.ndarray, *, band: float = 4.0, behind: float = 3.0
) -> tuple[np.ndarray, ...]:
    """Return for each jaw landmark the vertices where its silhouette point lies as the head turns away.

    For landmark i the face is cut by the plane through it that holds the line of sight of a frontal camera
    and the outward direction of the frontal jaw line; along the cut, the extreme vertex is taken for turns
    of 0 to 60 degrees, 30 mm inwards at most.

    Parameters
    ----------
    mean : (V, 3) mm, head frame.
    jaw : (17,) vertices of landmarks 0–16 in the frontal view.
    face : vertices allowed.
    band, behind : mm; half the width of the cut, and how far behind the landmark a vertex may lie.

    Returns
    -------
    17 int32 arrays, ordered from the cheek outwards; the last vertex is the frontal landmark itself.
    """
    points, lines = mean[jaw], []
    tangent = np.gradient(points[:, :2], axis=0)
    outward = np.stack([-tangent[:, 1], tangent[:, 0]], 1)
    outward *= np.sign(((points[:, :2] - points[:, :2].mean(0)) * outward).sum(1))[:, None]
    outward /= np.linalg.norm(outward, axis=1, keepdims=True)
    for landmark, point, out in zip(jaw, points, outward, strict=True):
        offset = mean[face] - point
        along, across = offset[:, :2] @ out, offset[:, :2] @ np.array([-out[1], out[0]])
        near = (np.abs(across) < band) & (offset[:, 2] > -behind) & (along > -30) & (along < 3)
        cut = face[near]
        line = [int(landmark)]
        for turn in _TURNS:
            line.append(int(cut[np.argmax(np.cos(turn) * along[near] + np.sin(turn) * offset[near, 2])]))
        unique = list(dict.fromkeys(line))
        lines.append(np.array(unique[::-1], dtype=np.int32))
    return tuple(lines)


def outward(points: np.ndarray) -> np.ndarray:
    """Return (..., 17, 2) unit vectors out of the face across the jaw line of landmarks (..., 68, 2), NaN where not
    seen; away from the face's middle where a neighbour is missing."""
    jaw = points[..., :17, :]
    tangent = np.gradient(jaw, axis=-2)
    radial = np.where(np.isfinite(jaw), jaw - np.nanmean(points, -2, keepdims=True), [0.0, 1.0])
    across = np.stack([-tangent[..., 1], tangent[..., 0]], -1)
    across = np.where(np.isfinite(across).all(-1, keepdims=True), across, radial)
    across *= np.where((across * radial).sum(-1, keepdims=True) < 0, -1.0, 1.0)
    unit: np.ndarray = across / np.maximum(np.linalg.norm(across, axis=-1, keepdims=True), 1e-9)
    return unit
