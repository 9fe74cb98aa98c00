"""Levenberg–Marquardt over identity, expressions and cameras; each view's own unknowns are eliminated first.

Written for B persons at once with N views each, over NumPy or PyTorch alike: ``xp`` is the library whose arrays came
in. Unknowns: global = identity (and the expression where it is shared); local to a view = expression, turn (3),
shift (3), log focal length (1). The normal equations are solved by the Schur complement, batched over views.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from crimeface_lib.reconstruction.contour import outward
from crimeface_lib.reconstruction.morphable import MorphableModel
from crimeface_lib.reconstruction.rig import Rig

POSE = 7
#: Steps after which the jaw landmarks stay where they slid to, so that the fit comes to rest.
_SLIDING = 6
#: At rest when the next step is this part of a standard deviation of the posterior, squared.
_REST = 0.1
#: How far outside its box an expression may lie on the way, as a standard deviation: a soft wall lets Newton's steps
#: converge in a handful, where clipped ones zigzag.
_BOX_SD = 0.03

Array = Any  # numpy.ndarray or torch.Tensor


@dataclass(frozen=True, slots=True)
class Problem:
    """The landmarks of B persons in N views and the rows of the model that they touch."""

    xp: Any
    observed: Array  # (B, N, 68, 2) px from the principal point, 0 where not seen
    seen: Array  # (B, N, 68) bool
    sd: Array  # (B, N, 68) px
    log_focal: Array  # (B, N)
    log_focal_sd: Array  # (B, N)
    outward: Array  # (B, N, 17, 2) unit, px
    points: Array  # (R, 3) mean positions: landmarks, then contour candidates
    basis: Array  # (R, 3, K + E)
    candidates: Array  # (17, M) rows of ``points`` where a jaw landmark may be
    bounds: tuple[float, float]
    expression_sd: float
    identities: int
    shared: bool
    slide: bool

    @classmethod
    def build(
        cls, model: MorphableModel, observed: np.ndarray, sd: np.ndarray, sizes: np.ndarray, focal: np.ndarray, *,
        shared_expression: bool, slide_contour: bool, array: Callable[[np.ndarray], Array] = np.asarray, xp: Any = np,
    ) -> Problem:  # fmt: skip
        """Return the problem of ``observed`` (B, N, 68, 2) px, NaN where not seen.

        Parameters
        ----------
        sd : (B, N, 68) px.
        sizes : (B, N, 2) height and width, px.
        focal : (B, N, 2) median px and standard deviation of the logarithm.
        array : makes arrays of the library ``xp``, on their device.
        """
        rig = Rig.of(model)
        seen = np.isfinite(observed).all(-1)
        from_middle = np.where(seen[..., None], observed - sizes[..., None, ::-1] / 2, 0.0)
        return cls(
            xp=xp, observed=array(from_middle), seen=array(seen), sd=array(sd), log_focal=array(np.log(focal[..., 0])),
            log_focal_sd=array(focal[..., 1]), outward=array(outward(observed)), points=array(rig.points),
            basis=array(rig.basis), candidates=array(rig.candidates), bounds=model.expression_bounds,
            expression_sd=model.expression_sd, identities=len(model.identity), shared=shared_expression,
            slide=slide_contour and rig.slides,
        )  # fmt: skip

    def take(self, index: Array) -> Problem:
        """Return the problem of some of the persons."""
        return replace(self, **{name: getattr(self, name)[index] for name in _OF_PERSONS})


_OF_PERSONS = ("observed", "seen", "sd", "log_focal", "log_focal_sd", "outward")


@dataclass(frozen=True, slots=True)
class State:
    """Where the solver stands."""

    identity: Array  # (B, K)
    expressions: Array  # (B, N, E); equal along N where shared
    rotations: Array  # (B, N, 3, 3)
    shifts: Array  # (B, N, 3) mm
    log_focal: Array  # (B, N)
    rows: Array  # (B, N, 68) rows of the model's points where the landmarks are
    damping: Array  # (B,)
    steps: Array  # (B,) taken so far
    rest: Array  # (B,) bool

    def take(self, index: Array) -> State:
        return State(*(getattr(self, field.name)[index] for field in fields(self)))

    def where(self, xp: Any, choice: Array, other: State) -> State:
        """Return this state for the persons of ``choice`` (B,), ``other`` for the rest."""
        pairs = ((getattr(self, field.name), getattr(other, field.name)) for field in fields(self))
        return State(*(xp.where(choice.reshape(-1, *[1] * (a.ndim - 1)), a, b) for a, b in pairs))


@dataclass(frozen=True, slots=True)
class Sight:
    """The model's rows as the cameras of a state see them: (B, N, R, 3) mm and (B, N, R, 2) px."""

    turned: Array
    place: Array
    pixels: Array

    def at(self, xp: Any, rows: Array) -> Sight:
        """Return (B, N, 68, ...) of ``rows`` (B, N, 68)."""
        persons, views = (xp.arange(size) for size in rows.shape[:2])
        index = persons[:, None, None], views[:, None], rows
        return Sight(self.turned[index], self.place[index], self.pixels[index])


@dataclass(frozen=True, slots=True)
class Normal:
    """The normal equations, split in global and local unknowns."""

    gg: Array  # (B, G, G) of the landmarks alone
    gl: Array  # (B, N, G, L)
    ll: Array  # (B, N, L, L) of the landmarks alone
    g: Array  # (B, G)
    l: Array  # (B, N, L)
    prior_g: Array  # (B, G) diagonal
    prior_l: Array  # (B, N, L) diagonal

    def solve(self, xp: Any, damping: Array) -> tuple[Array, Array]:
        """Return the damped step (B, G), (B, N, L)."""
        schur, eliminated, right = self.schur(xp, damping)
        step = -xp.linalg.solve(schur, (self.g - (self.gl @ right).sum((1, 3)))[..., None])
        return step[..., 0], -(right + eliminated @ step[:, None])[..., 0]

    def schur(self, xp: Any, damping: Array) -> tuple[Array, Array, Array]:
        """Return the Schur complement (B, G, G), ll⁻¹ lg (B, N, L, G) and ll⁻¹ l (B, N, L, 1)."""
        local = _damped(xp, self.ll, self.prior_l, damping[:, None, None])
        both = xp.linalg.solve(local, xp.concatenate([self.gl.swapaxes(-1, -2), self.l[..., None]], -1))
        eliminated, right = both[..., :-1], both[..., -1:]
        return _damped(xp, self.gg, self.prior_g, damping[:, None]) - (self.gl @ eliminated).sum(1), eliminated, right


def _damped(xp: Any, matrix: Array, prior: Array, damping: Array) -> Array:
    """Return (..., M, M) with the prior (..., M) on the diagonal, and that times 1 + damping."""
    raised = prior + damping * (prior + xp.linalg.diagonal(matrix))
    return matrix + raised[..., None] * xp.eye(matrix.shape[-1])


def _skew(xp: Any, vectors: Array) -> Array:
    """Return (..., 3, 3) with ``skew(a) @ b == cross(a, b)``."""
    x, y, z = vectors[..., 0], vectors[..., 1], vectors[..., 2]
    zero = xp.zeros_like(x)
    return xp.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).reshape(*vectors.shape, 3)


def _turn(xp: Any, vectors: Array) -> Array:
    """Return (..., 3, 3) rotations of (..., 3) rotation vectors (Rodrigues)."""
    angle = xp.clip((vectors**2).sum(-1), 1e-24, None)[..., None, None] ** 0.5
    cross = _skew(xp, vectors)
    return xp.eye(3) + xp.sin(angle) / angle * cross + (1 - xp.cos(angle)) / angle**2 * cross @ cross


def _typical(xp: Any, distance: Array, seen: Array) -> Array:
    """Return (..., 1), the lower median over the last axis of what is seen."""
    ordered = xp.sort(xp.where(seen, distance, 1e30), -1)
    ordered = getattr(ordered, "values", ordered)  # torch also returns the order
    middle = (seen.sum(-1) - 1) // 2
    persons, views = (xp.arange(size) for size in middle.shape)
    return ordered[persons[:, None], views, middle][..., None]


def start(problem: Problem) -> State:
    """Return the mean face under an affine camera in closed form, reweighted against outliers."""
    xp, observed = problem.xp, problem.observed
    points = problem.points[:68] / 100
    design = xp.concatenate([points, xp.ones_like(points[:, :1])], 1)
    outer = (design[:, :, None] * design[:, None]).reshape(68, 16)
    weight = problem.seen * xp.ones_like(problem.sd)
    for _ in range(6):
        moment = (weight @ outer).reshape(*weight.shape[:2], 4, 4)
        affine = xp.linalg.solve(moment, design.T @ (weight[..., None] * observed))  # (B, N, 4, 2)
        distance = ((design @ affine - observed) ** 2).sum(-1) ** 0.5
        scale = 3 * _typical(xp, distance, problem.seen) + 1e-9
        weight = problem.seen / (1 + (distance / scale) ** 2)
    linear = affine[..., :3, :].swapaxes(-1, -2) / 100  # (B, N, 2, 3)
    size = ((linear**2).sum(-1) ** 0.5).mean(-1)
    # the nearest two rows of a rotation: (M Mᵀ)^-½ M, where the root of a 2 × 2 matrix A is (A + d I) / t
    square = linear @ linear.swapaxes(-1, -2)
    root = (square[..., 0, 0] * square[..., 1, 1] - square[..., 0, 1] ** 2)[..., None, None]
    root = xp.clip(root, 0.0, None) ** 0.5
    trace = (square[..., 0, 0] + square[..., 1, 1])[..., None, None]
    across = xp.linalg.solve((square + (root + 1e-9 * trace) * xp.eye(2)) / (trace + 2 * root) ** 0.5, linear)
    third = (_skew(xp, across[..., 0, :]) @ across[..., 1, :, None])[..., 0]
    shifts = xp.concatenate([affine[..., 3, :], xp.exp(problem.log_focal)[..., None]], -1) / size[..., None]
    nought = xp.zeros_like(observed[:, 0, 0, 0])  # (B,)
    index = xp.zeros_like(problem.seen, dtype=problem.candidates.dtype)  # (B, N, 68)
    neutral = min(max(0.0, problem.bounds[0]), problem.bounds[1])
    unmoved = problem.basis[0, 0] * 0
    return State(
        identity=nought[:, None] + unmoved[: problem.identities],
        expressions=xp.zeros_like(size)[..., None] + unmoved[problem.identities :] + neutral,
        rotations=xp.concatenate([across, third[..., None, :]], -2), shifts=shifts, log_focal=problem.log_focal,
        rows=index + xp.arange(68), damping=nought + 1e-3, steps=index[:, 0, 0], rest=nought > 0,
    )  # fmt: skip


def no_face(state: State) -> Array:
    """Return (B,) bool, where a start shows a face from behind, as when left and right are swapped, or a line."""
    third = state.rotations[..., 2, :]
    return ((third[..., 2] > 0) | ((third**2).sum(-1) < 0.5)).any(-1)


def look(problem: Problem, state: State) -> Sight:
    """Return where the model's landmarks and contour candidates are for the cameras of ``state``."""
    xp, basis = problem.xp, problem.basis
    identity = state.identity[:, None] + xp.zeros_like(state.log_focal)[..., None]
    coefficients = xp.concatenate([identity, state.expressions], -1)
    moved = coefficients @ basis.reshape(-1, basis.shape[2]).T
    moved = problem.points + moved.reshape(*identity.shape[:2], len(basis), 3)
    turned = moved @ state.rotations.swapaxes(-1, -2)
    place = turned + state.shifts[..., None, :]
    return Sight(turned, place, xp.exp(state.log_focal)[..., None, None] * place[..., :2] / place[..., 2:])


def slide(problem: Problem, sight: Sight) -> Array:
    """Return (B, N, 68) rows of ``problem.points``: each jaw landmark at the outermost of its candidates."""
    xp, lines = problem.xp, problem.candidates
    reach = (sight.pixels[:, :, lines] * problem.outward[..., None, :]).sum(-1)
    jaw = lines[xp.arange(17), reach.argmax(-1)]
    return xp.concatenate([jaw, xp.zeros_like(jaw[..., :1]) + xp.arange(17, 68)], -1)


def cost(problem: Problem, state: State, residual: Array, weights: Array) -> Array:
    """Return (B,), the weighted sum of squares with the priors."""
    data = (weights * (residual**2).sum(-1) / problem.sd**2).sum((1, 2))
    expressions = state.expressions[:, :1] if problem.shared else state.expressions
    outside = _outside(problem, expressions)
    focal = ((state.log_focal - problem.log_focal) / problem.log_focal_sd) ** 2
    prior = (state.identity**2).sum(-1) + (expressions**2).sum((1, 2)) / problem.expression_sd**2
    prior = prior + (outside**2).sum((1, 2)) / _BOX_SD**2
    return data + prior + focal.sum(-1)


def robust_weights(problem: Problem, residual: Array, robust: float) -> Array:
    """Return (B, N, 68) weights: near 1 within ``robust`` standard deviations, then falling like the eighth power of
    the distance; wider while the fit is still coarse; 0 where not seen."""
    distance = (residual**2).sum(-1) ** 0.5 / problem.sd
    width = robust * problem.xp.clip(_typical(problem.xp, distance, problem.seen) / 1.18, 1.0, None)
    return problem.seen / (1 + (distance / width) ** 4) ** 2


def linearise(problem: Problem, state: State, sight: Sight, weights: Array) -> Normal:
    """Return the normal equations at ``state``, seen at its rows; expressions pushed against their box are held."""
    xp, identities = problem.xp, problem.identities
    scale = (weights**0.5 / problem.sd)[..., None, None]  # (B, N, 68, 1, 1)
    over = xp.exp(state.log_focal)[..., None] / sight.place[..., 2]
    off = -sight.pixels / sight.place[..., 2:]
    nought = xp.zeros_like(over)
    by_point = xp.stack([over, nought, off[..., 0], nought, over, off[..., 1]], -1).reshape(*over.shape, 2, 3) * scale
    modes = (by_point @ state.rotations[:, :, None]) @ problem.basis[state.rows]
    # a longer lens from further away: focal length and distance grow together
    zoom = sight.pixels * scale[..., 0] + by_point[..., 2] * state.shifts[:, :, None, 2:]
    jacobian = xp.concatenate([modes, -by_point @ _skew(xp, sight.turned), by_point, zoom[..., None]], -1)
    jacobian = jacobian.reshape(*over.shape[:2], 136, jacobian.shape[-1])
    residual = ((sight.pixels - problem.observed) * scale[..., 0]).reshape(*over.shape[:2], 136, 1)
    gradient = (jacobian.swapaxes(-1, -2) @ residual)[..., 0]

    split = modes.shape[-1] if problem.shared else identities
    nought, one = xp.zeros_like(state.shifts), xp.ones_like(state.identity)
    pull, tight = _expression_prior(problem, state.expressions)
    focal, loose = (state.log_focal - problem.log_focal)[..., None], problem.log_focal_sd[..., None] ** -2
    product = jacobian.swapaxes(-1, -2) @ jacobian
    shared, own = (slice(None), slice(0)) if problem.shared else (slice(0), slice(None))
    return Normal(
        gg=product[..., :split, :split].sum(1), gl=product[..., :split, split:], ll=product[..., split:, split:],
        g=gradient[..., :split].sum(1) + xp.concatenate([state.identity, pull[:, 0, shared]], -1),
        l=gradient[..., split:] + xp.concatenate([pull[..., own], nought, nought, focal * loose], -1),
        prior_g=xp.concatenate([one, tight[:, 0, shared]], -1),
        prior_l=xp.concatenate([tight[..., own], nought, nought, loose], -1),
    )  # fmt: skip


def _outside(problem: Problem, expressions: Array) -> Array:
    """Return how far each expression lies outside its box, negative below it."""
    low, high = problem.bounds
    return problem.xp.clip(expressions - high, 0.0, None) + problem.xp.clip(expressions - low, None, 0.0)


def _expression_prior(problem: Problem, expressions: Array) -> tuple[Array, Array]:
    """Return slope and curvature of half the prior's cost: Gaussian, and steep outside the box."""
    outside, tight = _outside(problem, expressions), problem.expression_sd**-2
    return expressions * tight + outside * _BOX_SD**-2, (outside != 0) * (0 * outside + _BOX_SD**-2) + tight


def step(problem: Problem, state: State, d_global: Array, d_local: Array) -> State:
    """Return ``state`` moved by (B, G) and (B, N, L)."""
    xp, own = problem.xp, d_local.shape[-1] - POSE
    d_expression = d_global[:, None, problem.identities :] if problem.shared else d_local[..., :own]
    turn, shift, log_focal = d_local[..., own : own + 3], d_local[..., own + 3 : own + 6], d_local[..., own + 6 :]
    shifts = state.shifts + shift
    shifts = xp.concatenate([shifts[..., :2], shifts[..., 2:] * xp.exp(log_focal)], -1)
    return replace(
        state, identity=state.identity + d_global[:, : problem.identities],
        expressions=state.expressions + d_expression,
        rotations=_turn(xp, turn) @ state.rotations, shifts=shifts, log_focal=state.log_focal + log_focal[..., 0],
    )  # fmt: skip


def solve(problem: Problem, state: State, *, robust: float, turns: range) -> State:
    """Return the state in which every person's fit has come to rest, or all ``turns`` were taken."""
    xp, sight = problem.xp, look(problem, state)
    for turn in turns:
        if problem.slide and turn < _SLIDING:
            rows = xp.where(state.rest[:, None, None], state.rows, slide(problem, sight))
            state = replace(state, rows=rows)
        here = sight.at(xp, state.rows)
        residual = here.pixels - problem.observed
        weights = robust_weights(problem, residual, robust)
        normal = linearise(problem, state, here, weights)
        moves = normal.solve(xp, state.damping)
        ahead = step(problem, state, *moves)
        seen_ahead = look(problem, ahead)
        there = seen_ahead.at(xp, state.rows)
        value = cost(problem, ahead, there.pixels - problem.observed, weights)
        before = cost(problem, state, residual, weights)
        better = (value < before) & (there.place[..., 2] > 0).all(-1).all(-1) & ~state.rest
        decrement = -(normal.g * moves[0]).sum(-1) - (normal.l * moves[1]).sum((1, 2))
        calm = (decrement < _REST) & (state.damping < 0.1)
        ahead = replace(ahead, damping=xp.clip(state.damping / 6, 1e-7, None), steps=state.steps + 1, rest=calm)
        stuck = replace(state, damping=state.damping * 6, rest=state.rest | (state.damping > 1e3))
        state = ahead.where(xp, better, stuck)
        if state.rest.all():
            break
        sight = look(problem, state) if not better.all() else seen_ahead
    return state


@dataclass(frozen=True, slots=True)
class Posterior:
    """What the landmarks leave open at a solution."""

    residual: Array  # (B, N, 68, 2) px
    weights: Array  # (B, N, 68) robust weights
    covariance: Array  # (B, K, K) of the identity
    focal_sd: Array  # (B, N) px


def posterior(problem: Problem, state: State, *, robust: float) -> Posterior:
    """Return the Gaussian (Laplace) posterior around ``state``."""
    xp = problem.xp
    here = look(problem, state).at(xp, state.rows)
    residual = here.pixels - problem.observed
    weights = robust_weights(problem, residual, robust)
    normal = linearise(problem, state, here, weights)
    schur, eliminated, _ = normal.schur(xp, xp.zeros_like(state.damping))
    covariance = xp.linalg.inv(schur)
    last = eliminated[..., -1, :]  # of the focal length
    unit = xp.zeros_like(normal.l[..., None]) + xp.eye(normal.l.shape[-1])[:, -1:]
    local = _damped(xp, normal.ll, normal.prior_l, xp.zeros_like(state.damping)[:, None, None])
    variance = xp.linalg.solve(local, unit)[..., -1, 0] + (last @ covariance * last).sum(-1)
    kept = problem.identities
    return Posterior(residual, weights, covariance[:, :kept, :kept], variance**0.5 * xp.exp(state.log_focal))
