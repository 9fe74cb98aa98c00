"""From the covariance of coefficients to a standard deviation in millimetres at every vertex."""

from __future__ import annotations

import numpy as np

from crimeface_lib.reconstruction.morphable import MorphableModel


def vertex_normals(vertices: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """Return (V, 3) unit normals, weighted by triangle area; zero where a vertex is in no triangle."""
    corners = vertices[triangles]
    faces = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    index = triangles.ravel()
    each = np.repeat(faces, 3, axis=0)
    normals = np.stack([np.bincount(index, each[:, axis], len(vertices)) for axis in range(3)], 1)
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    return np.divide(normals, length, out=np.zeros_like(normals), where=length > 0)


def vertex_sd(model: MorphableModel, identity: np.ndarray, covariance: np.ndarray) -> tuple[np.ndarray, float]:
    """Return (V,) mm standard deviations along the normal, and that of the relative size.

    What a similarity transform could explain is taken out first (least squares over the face region), so
    that the map shows shape and not the unknown scale.

    Parameters
    ----------
    identity : (K,) where the posterior is centred.
    covariance : (K, K).
    """
    vertices = model.decode(identity)
    normals = vertex_normals(vertices, model.triangles).astype(np.float32)
    count, basis = len(covariance), model.identity[: len(covariance)]
    start, stop = model.regions["face"]
    centre = vertices[start:stop].mean(0)
    face = vertices[start:stop] - centre
    moves = _similarity_moves(face)  # (7, F, 3)
    flat = moves.reshape(7, -1)[:, :].astype(np.float32)
    coefficients = np.linalg.solve(flat @ flat.T, flat @ basis[:, start:stop].reshape(count, -1).T)  # (7, K)
    along = np.stack([np.einsum("vd,vd->v", mode, normals) for mode in basis])  # (K, V)
    moved = np.einsum("svd,vd->sv", _similarity_moves(vertices - centre).astype(np.float32), normals)
    along -= coefficients.T @ moved
    factor = np.linalg.cholesky(covariance + 1e-12 * np.eye(count)).astype(np.float32)
    sd = np.sqrt(((factor.T @ along) ** 2).sum(0))
    return sd.astype(np.float64), float(np.sqrt(coefficients[6] @ covariance @ coefficients[6]))


def _similarity_moves(points: np.ndarray) -> np.ndarray:
    """Return the (7, N, 3) displacements of small shifts, turns and growth about the origin."""
    moves = np.zeros((7, *points.shape))
    for axis in range(3):
        moves[axis, :, axis] = 1.0
        moves[3 + axis] = np.cross(np.eye(3)[axis], points)
    moves[6] = points
    return moves
