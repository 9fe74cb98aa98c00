"""From the covariance of coefficients to a standard deviation in millimetres at every vertex."""

from __future__ import annotations

import numba
import numpy as np

from crimeface_lib.reconstruction.morphable import MorphableModel


def vertex_normals(vertices: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """Return (V, 3) unit normals, weighted by triangle area; zero where a vertex is in no triangle."""
    normals: np.ndarray = _normals(np.ascontiguousarray(vertices, np.float64), np.ascontiguousarray(triangles))
    return normals


@numba.njit(cache=True)
def _normals(vertices, triangles):
    normals = np.zeros_like(vertices)
    for t in range(len(triangles)):
        a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        for axis in range(3):
            y, z = (axis + 1) % 3, (axis + 2) % 3
            area = (vertices[b, y] - vertices[a, y]) * (vertices[c, z] - vertices[a, z])
            area -= (vertices[b, z] - vertices[a, z]) * (vertices[c, y] - vertices[a, y])
            normals[a, axis] += area
            normals[b, axis] += area
            normals[c, axis] += area
    for v in range(len(normals)):
        length = np.sqrt(normals[v, 0] ** 2 + normals[v, 1] ** 2 + normals[v, 2] ** 2)
        if length > 0:
            normals[v] /= length
    return normals


def vertex_sd(model: MorphableModel, identity: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """Return (V,) mm standard deviations along the normal.

    What a similarity transform could explain is taken out first (least squares over the face region), so
    that the map shows shape and not the unknown scale.

    Parameters
    ----------
    identity : (K,) where the posterior is centred.
    covariance : (K, K).
    """
    vertices = model.decode(identity)
    normals = vertex_normals(vertices, model.triangles)
    count, basis = len(covariance), model.identity[: len(covariance)]
    start, stop = model.regions["face"]
    centre = vertices[start:stop].mean(0)
    flat = _similarity_moves(vertices[start:stop] - centre).reshape(7, -1).astype(np.float32)
    coefficients = np.linalg.solve(flat @ flat.T, flat @ basis[:, start:stop].reshape(count, -1).T)  # (7, K)
    moved = np.einsum("svd,vd->sv", _similarity_moves(vertices - centre), normals).astype(np.float32)
    along = _along(basis, normals.astype(np.float32)) - coefficients.T @ moved
    factor = np.linalg.cholesky(covariance + 1e-12 * np.eye(count)).astype(np.float32)
    spread = factor.T @ along
    return np.sqrt(np.einsum("kv,kv->v", spread, spread)).astype(np.float64)


@numba.njit(cache=True, fastmath=True)
def _along(basis, normals):
    """Return (K, V), modes (K, V, 3) along normals (V, 3)."""
    count, vertices = basis.shape[:2]
    out = np.empty((count, vertices), np.float32)
    for k in range(count):
        for v in range(vertices):
            out[k, v] = basis[k, v, 0] * normals[v, 0] + basis[k, v, 1] * normals[v, 1] + basis[k, v, 2] * normals[v, 2]
    return out


def _similarity_moves(points: np.ndarray) -> np.ndarray:
    """Return the (7, N, 3) displacements of small shifts, turns and growth about the origin."""
    moves = np.zeros((7, *points.shape))
    for axis in range(3):
        moves[axis, :, axis] = 1.0
        moves[3 + axis] = np.cross(np.eye(3)[axis], points)
    moves[6] = points
    return moves
