"""Levenberg–Marquardt over identity, expressions and cameras; each view's own unknowns are eliminated first.

Unknowns: global = identity (and the expression where it is shared); local to a view = expression, turn (3),
shift (3), log focal length (1). The normal equations are solved by the Schur complement, batched over views.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from crimeface_lib.core.errors import InputError
from crimeface_lib.reconstruction.camera import Camera
from crimeface_lib.reconstruction.morphable import MorphableModel

if TYPE_CHECKING:
    from crimeface_lib.reconstruction.view import View

POSE = 7
#: Steps after which the jaw landmarks stay where they slid to, so that the fit comes to rest.
_SLIDING = 6


@dataclass(frozen=True, slots=True)
class Problem:
    """The landmarks of N views and the rows of the model that they touch."""

    observed: np.ndarray  # (N, 68, 2) px, 0 where not seen
    seen: np.ndarray  # (N, 68) bool
    sd: np.ndarray  # (N, 68) px
    sizes: tuple[tuple[int, int], ...]
    principal: np.ndarray  # (N, 2)
    log_focal: np.ndarray  # (N,)
    log_focal_sd: np.ndarray  # (N,)
    origin: np.ndarray  # (3,) mm, subtracted from the model so that turns are about the face
    points: np.ndarray  # (68 + C, 3) mean positions: landmarks, then contour candidates
    basis: np.ndarray  # (68 + C, 3, K + E)
    candidates: np.ndarray  # (17, M) rows of ``points`` where a jaw landmark may be
    outward: np.ndarray  # (N, 17, 2) unit, px
    bounds: tuple[float, float]
    expression_sd: float
    identities: int
    shared: bool
    slide: bool

    @property
    def expressions(self) -> int:
        return self.basis.shape[2] - self.identities

    @classmethod
    def build(
        cls, model: MorphableModel, views: list[View], *, shared_expression: bool, slide_contour: bool
    ) -> Problem:
        observed = np.stack([view.points for view in views]).astype(np.float64)
        seen: np.ndarray = np.asarray(np.isfinite(observed).all(2))
        landmarks = model.landmarks(model.mean)
        origin = landmarks.mean(0)
        both = np.concatenate([model.identity, model.expression])
        corners = model.triangles[model.landmark_triangles]
        basis = np.einsum("lc,klcd->ldk", model.landmark_weights, both[:, corners].astype(np.float64))
        lines = [line for line in model.contour if len(line)] if slide_contour and len(model.contour) == 17 else []
        extra = np.concatenate(lines) if lines else np.zeros(0, np.int32)
        candidates = np.tile(np.arange(17)[:, None], (1, 1 + max((len(line) for line in lines), default=0)))
        row = 68
        for index, line in enumerate(model.contour if lines else ()):
            candidates[index, 1 : 1 + len(line)] = np.arange(row, row + len(line))
            row += len(line)
        priors = np.array([view.focal for view in views])
        return cls(
            observed=np.where(seen[..., None], observed, 0.0), seen=seen,
            sd=np.stack([np.broadcast_to(view.sd, 68) for view in views]).astype(np.float64),
            sizes=tuple(view.size for view in views),
            principal=np.array([(view.size[1] / 2, view.size[0] / 2) for view in views]),
            log_focal=np.log(priors[:, 0]), log_focal_sd=priors[:, 1], origin=origin,
            points=np.concatenate([landmarks, model.mean[extra]]) - origin,
            basis=np.concatenate([basis, both[:, extra].transpose(1, 2, 0)]),
            candidates=candidates, outward=np.stack([_outward(points) for points in observed]),
            bounds=model.expression_bounds, expression_sd=model.expression_sd, identities=len(model.identity),
            shared=shared_expression, slide=bool(lines),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class State:
    """Where the solver stands."""

    identity: np.ndarray  # (K,)
    expressions: np.ndarray  # (N, E); equal rows where shared
    rotations: np.ndarray  # (N, 3, 3)
    shifts: np.ndarray  # (N, 3) mm
    log_focal: np.ndarray  # (N,)


@dataclass(frozen=True, slots=True)
class Solution:
    identity: np.ndarray
    expressions: np.ndarray
    cameras: tuple[Camera, ...]
    residual: np.ndarray  # (N, 68, 2) px
    weights: np.ndarray  # (N, 68) robust weights
    identity_covariance: np.ndarray  # (K, K)
    focal_sd: np.ndarray  # (N,) px
    iterations: int


def _outward(points: np.ndarray) -> np.ndarray:
    """Return (17, 2) unit vectors out of the face across the jaw line; from the centre where a neighbour is missing."""
    centre = np.nanmean(points, 0)
    jaw = points[:17]
    tangent = np.gradient(jaw, axis=0)
    radial = np.where(np.isfinite(jaw), jaw - centre, [0.0, 1.0])
    across = np.stack([-tangent[:, 1], tangent[:, 0]], 1)
    across = np.where(np.isfinite(across).all(1, keepdims=True), across, radial)
    across *= np.where((across * radial).sum(1, keepdims=True) < 0, -1.0, 1.0)
    unit: np.ndarray = across / np.maximum(np.linalg.norm(across, axis=1, keepdims=True), 1e-9)
    return unit


def _turn(vectors: np.ndarray) -> np.ndarray:
    """Return (N, 3, 3) rotations of (N, 3) rotation vectors (Rodrigues)."""
    angle = np.linalg.norm(vectors, axis=1)[:, None, None]
    cross = _skew(vectors)
    safe = np.maximum(angle, 1e-12)
    turned: np.ndarray = np.eye(3) + np.sin(safe) / safe * cross + (1 - np.cos(safe)) / safe**2 * cross @ cross
    return turned


def _skew(vectors: np.ndarray) -> np.ndarray:
    """Return (..., 3, 3) with ``skew(a) @ b == cross(a, b)``."""
    out = np.zeros((*vectors.shape, 3))
    x, y, z = vectors[..., 0], vectors[..., 1], vectors[..., 2]
    out[..., 0, 1], out[..., 0, 2], out[..., 1, 2] = -z, y, -x
    out[..., 1, 0], out[..., 2, 0], out[..., 2, 1] = z, -y, x
    return out


def start(problem: Problem) -> State:
    """Return the mean face under an affine camera in closed form, reweighted against outliers.

    Raises
    ------
    InputError : the landmarks show the face from behind, as when left and right are swapped.
    """
    views = len(problem.observed)
    design = np.c_[problem.points[:68], np.ones(68)]
    rotations, shifts = np.zeros((views, 3, 3)), np.zeros((views, 3))
    for view in range(views):
        target = problem.observed[view] - problem.principal[view]
        weight = problem.seen[view].astype(float)
        for _ in range(6):
            affine = np.linalg.lstsq(design * weight[:, None], target * weight[:, None], rcond=None)[0]
            distance = np.linalg.norm(design @ affine - target, axis=1)
            scale = 3 * np.median(distance[problem.seen[view]]) + 1e-9
            weight = problem.seen[view] / (1 + (distance / scale) ** 2)
        size = np.linalg.norm(affine[:3], axis=0).mean()
        u, _, vt = np.linalg.svd(affine[:3].T, full_matrices=False)
        across = u @ vt
        rotations[view] = np.vstack([across, np.cross(across[0], across[1])])
        if rotations[view, 2, 2] > 0:
            raise InputError("points: got landmarks of a face seen from behind; expected iBUG order, not mirrored")
        shifts[view] = [affine[3, 0] / size, affine[3, 1] / size, np.exp(problem.log_focal[view]) / size]
    neutral = np.clip(0.0, *problem.bounds)
    return State(
        np.zeros(problem.identities), np.full((views, problem.expressions), neutral), rotations, shifts,
        problem.log_focal.copy(),
    )  # fmt: skip


def _project(problem: Problem, state: State, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return turned points, camera points (N, L, 3) and pixels (N, L, 2) of the model's ``rows`` (N, L)."""
    identity = np.broadcast_to(state.identity, (len(rows), problem.identities))
    coefficients = np.concatenate([identity, state.expressions], 1)
    flat = problem.basis.reshape(-1, coefficients.shape[1])
    every = problem.points + (coefficients @ flat.T).reshape(len(rows), -1, 3)
    turned = np.take_along_axis(every, rows[..., None], 1) @ state.rotations.transpose(0, 2, 1)
    seen_from = turned + state.shifts[:, None]
    focal = np.exp(state.log_focal)[:, None, None]
    pixels = focal * seen_from[..., :2] / seen_from[..., 2:] + problem.principal[:, None]
    return turned, seen_from, pixels


def _slide(problem: Problem, state: State) -> np.ndarray:
    """Return (N, 68) rows of ``problem.points``: each jaw landmark at the outermost of its candidates."""
    views = len(problem.observed)
    rows = np.tile(np.arange(68), (views, 1))
    if not problem.slide:
        return rows
    flat = np.tile(problem.candidates.ravel(), (views, 1))
    pixels = _project(problem, state, flat)[2].reshape(views, *problem.candidates.shape, 2)
    furthest = (pixels * problem.outward[:, :, None]).sum(-1).argmax(2)
    rows[:, :17] = problem.candidates[np.arange(17), furthest]
    return rows


def _cost(problem: Problem, state: State, residual: np.ndarray, weights: np.ndarray) -> float:
    """Return the weighted sum of squares with the priors."""
    data = (weights * (residual**2).sum(-1) / problem.sd**2).sum()
    rows = state.expressions[:1] if problem.shared else state.expressions
    focal = ((state.log_focal - problem.log_focal) / problem.log_focal_sd) ** 2
    return float(data + state.identity @ state.identity + (rows**2).sum() / problem.expression_sd**2 + focal.sum())


def _robust_weights(problem: Problem, residual: np.ndarray, robust: float) -> np.ndarray:
    """Return (N, 68) Geman–McClure weights, wider while the fit is still coarse; 0 where not seen."""
    distance = np.linalg.norm(residual, axis=-1) / problem.sd
    typical = np.array([np.median(row[seen]) for row, seen in zip(distance, problem.seen, strict=True)])
    width = robust * np.maximum(1.0, typical / 1.18)[:, None]
    weights: np.ndarray = problem.seen / (1 + (distance / width) ** 2) ** 2
    return weights


@dataclass(frozen=True, slots=True)
class Normal:
    """The normal equations, split in global and local unknowns."""

    gg: np.ndarray  # (G, G)
    gl: np.ndarray  # (N, G, L)
    ll: np.ndarray  # (N, L, L)
    g: np.ndarray  # (G,)
    l: np.ndarray  # (N, L)

    def solve(self, damping: float) -> tuple[np.ndarray, np.ndarray]:
        """Return the damped step (G,), (N, L)."""
        schur, eliminated, right = self.schur(damping)
        step = -np.linalg.solve(schur, self.g - (self.gl @ right).sum((0, 2)))
        return step, -(right[..., 0] + eliminated @ step)

    def schur(self, damping: float = 0.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the Schur complement (G, G), ll⁻¹ lg (N, L, G) and ll⁻¹ l (N, L, 1)."""
        local = self.ll.copy()
        index = np.arange(local.shape[1])
        local[:, index, index] *= 1 + damping
        both = np.linalg.solve(local, np.concatenate([self.gl.transpose(0, 2, 1), self.l[..., None]], 2))
        eliminated, right = both[..., :-1], both[..., -1:]
        total = self.gg + damping * np.diag(np.diag(self.gg)) - (self.gl @ eliminated).sum(0)
        return total, eliminated, right


def _normal(
    problem: Problem, state: State, rows: np.ndarray, projected: tuple[np.ndarray, ...], weights: np.ndarray
) -> Normal:
    """Return the normal equations at ``state``; expressions pushed against their box are held."""
    turned, seen_from, pixels = projected
    identities, expressions = problem.identities, problem.expressions
    scale = (np.sqrt(weights) / problem.sd)[..., None]
    depth, focal = seen_from[..., 2], np.exp(state.log_focal)[:, None]
    by_point = np.zeros((*depth.shape, 2, 3))
    by_point[..., 0, 0] = by_point[..., 1, 1] = focal / depth
    by_point[..., 2] = -(pixels - problem.principal[:, None]) / depth[..., None]
    by_point *= scale[..., None]
    modes = (by_point @ state.rotations[:, None]) @ problem.basis[rows]
    pose = np.concatenate([
        -by_point @ _skew(turned),
        by_point,
        # a longer lens from further away: focal length and distance grow together
        ((pixels - problem.principal[:, None]) * scale + by_point[..., 2] * state.shifts[:, None, 2:])[..., None],
    ], axis=-1)  # fmt: skip
    split = identities + (expressions if problem.shared else 0)
    views, count = len(rows), 2 * rows.shape[1]
    j_global = modes[..., :split].reshape(views, count, split)
    j_local = np.concatenate([modes[..., split:], pose], -1).reshape(views, count, -1)
    residual = ((pixels - problem.observed) * scale).reshape(views, count, 1)
    transposed = j_local.transpose(0, 2, 1)
    upright = j_global.transpose(0, 2, 1)
    gg, gl, ll = (upright @ j_global).sum(0), upright @ j_local, transposed @ j_local
    g = (upright @ residual).sum((0, 2))
    l = (transposed @ residual)[..., 0]

    prior_g = np.r_[np.ones(identities), np.full(split - identities, problem.expression_sd**-2)]
    value_g = np.r_[state.identity, state.expressions[0] if problem.shared else []]
    own = j_local.shape[2] - POSE
    prior_l = np.tile(np.r_[np.full(own, problem.expression_sd**-2), np.zeros(POSE)], (views, 1))
    prior_l[:, -1] = problem.log_focal_sd**-2.0
    value_l = np.zeros_like(l)
    value_l[:, :own] = state.expressions[:, :own]
    value_l[:, -1] = state.log_focal - problem.log_focal
    g, l = g + prior_g * value_g, l + prior_l * value_l
    free_g = np.r_[np.ones(identities), _free(problem, value_g[identities:], g[identities:])]
    free_l = np.concatenate([_free(problem, value_l[:, :own], l[:, :own]), np.ones((views, POSE))], 1)
    gg, g = gg * free_g[:, None] * free_g, g * free_g
    ll, l = ll * free_l[:, :, None] * free_l[:, None], l * free_l
    gl = gl * free_g[:, None] * free_l[:, None]
    gg[np.arange(split), np.arange(split)] += prior_g
    index = np.arange(ll.shape[1])
    ll[:, index, index] += prior_l
    return Normal(gg, gl, ll, g, l)


def _free(problem: Problem, value: np.ndarray, gradient: np.ndarray) -> np.ndarray:
    """Return 1 where a coefficient may move, 0 where the gradient pushes it out of its box."""
    low, high = problem.bounds
    held = ((value <= low) & (gradient > 0)) | ((value >= high) & (gradient < 0))
    return (~held).astype(float)


def _step(problem: Problem, state: State, d_global: np.ndarray, d_local: np.ndarray) -> State:
    own = d_local.shape[1] - POSE
    d_expression = d_global[problem.identities :] if problem.shared else d_local[:, :own]
    turn, shift, log_focal = d_local[:, own : own + 3], d_local[:, own + 3 : own + 6], d_local[:, own + 6]
    shifts = state.shifts + shift
    shifts[:, 2] *= np.exp(log_focal)
    return State(
        state.identity + d_global[: problem.identities],
        np.clip(state.expressions + d_expression, *problem.bounds),
        _turn(turn) @ state.rotations, shifts, state.log_focal + log_focal,
    )  # fmt: skip


def solve(problem: Problem, *, robust: float, iterations: int) -> Solution:
    """Return the fit and its posterior, from the closed-form start."""
    state, damping, done = start(problem), 1e-3, 0
    while done < iterations:
        if done < _SLIDING:
            rows = _slide(problem, state)
        projected = _project(problem, state, rows)
        residual = projected[2] - problem.observed
        weights = _robust_weights(problem, residual, robust)
        cost = _cost(problem, state, residual, weights)
        normal = _normal(problem, state, rows, projected, weights)
        for _ in range(8):
            trial = _step(problem, state, *normal.solve(damping))
            ahead = _project(problem, trial, rows)
            behind = bool((ahead[1][..., 2] <= 0).any())
            value = np.inf if behind else _cost(problem, trial, ahead[2] - problem.observed, weights)
            if value < cost:
                break
            damping *= 6
        if not value < cost:
            break
        state, damping = trial, max(damping / 6, 1e-7)
        done += 1
        if (cost - value) / cost < 1e-3:
            break
    return _conclude(problem, state, rows, robust, done)


def _conclude(problem: Problem, state: State, rows: np.ndarray, robust: float, iterations: int) -> Solution:
    """Return the solution with the posterior at ``state`` (expressions held by their box are taken as known)
    and the cameras for the model's own origin."""
    projected = _project(problem, state, rows)
    residual = projected[2] - problem.observed
    weights = _robust_weights(problem, residual, robust)
    schur, eliminated, _ = (normal := _normal(problem, state, rows, projected, weights)).schur()
    covariance = np.linalg.inv(schur)
    last = eliminated[:, -1]
    unit = np.zeros((normal.ll.shape[1], 1))
    unit[-1] = 1
    variance = np.linalg.solve(normal.ll, np.tile(unit, (len(rows), 1, 1)))[:, -1, 0]
    variance = variance + np.einsum("ng,gh,nh->n", last, covariance, last)
    focal = np.exp(state.log_focal)
    cameras = tuple(
        Camera(rotation, shift - rotation @ problem.origin, float(length), centre, size)
        for rotation, shift, length, centre, size in zip(
            state.rotations, state.shifts, focal, problem.principal, problem.sizes, strict=True
        )
    )
    identities = problem.identities
    return Solution(
        state.identity, state.expressions, cameras, np.where(problem.seen[..., None], residual, np.nan), weights,
        covariance[:identities, :identities], np.sqrt(variance) * focal, iterations,
    )  # fmt: skip
