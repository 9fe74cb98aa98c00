"""Damped Gauss–Newton over shape, cameras, light and albedo: pixels, landmarks and priors in one system."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from crimeface_lib.reconstruction import light
from crimeface_lib.reconstruction.camera import FACING
from crimeface_lib.reconstruction.fit import Fit
from crimeface_lib.reconstruction.morphable import MorphableModel
from crimeface_lib.reconstruction.pixels import Picture, Surface, skew
from crimeface_lib.reconstruction.view import View

#: Blur in px, steps, and whether the shape moves: light and albedo first, coarse to fine.
_SCHEDULE = ((3.0, 2, False), (3.0, 3, True), (1.5, 3, True), (0.8, 3, True))
#: Albedo that no field follows (pores, freckles, stubble), relative; standard deviations of light's bands
#: about the even light; colour part of light's and albedo's deviations beside their grey part.
_GRAIN, _LIGHT_SD, _COLOUR_PART = 0.06, np.array([3.0, *[0.5] * 3, *[0.25] * 5]), 0.35
#: Standard deviations beyond which a pixel, one that is too bright (shine), and a landmark, loses its say.
_ROBUST_PIXEL, _ROBUST_BRIGHT, _ROBUST_LANDMARK = 3.0, 2.0, 4.0


@dataclass(frozen=True, slots=True)
class State:
    """Where the solver stands; shifts are those of the surface's origin."""

    identity: np.ndarray  # (K,)
    expressions: np.ndarray  # (N, E); equal rows where shared
    rotations: np.ndarray  # (N, 3, 3)
    shifts: np.ndarray  # (N, 3) mm
    log_focal: np.ndarray  # (N,)
    lighting: np.ndarray  # (N, 9, 3)
    tone: np.ndarray  # (3,) linear
    fields: np.ndarray  # (M, 3) log albedo


@dataclass(frozen=True, slots=True)
class Compared:
    """One view at a state."""

    vertices: np.ndarray  # (V, 3) mm
    normals: np.ndarray  # (S, 3) camera's frame
    seen: np.ndarray  # (V, 3) mm, camera's frame
    offset: np.ndarray  # (V, 2) px from the principal point
    bands: np.ndarray  # (S, 9)
    value: np.ndarray  # (S, 3) linear colours of the photo
    slopes: np.ndarray  # (S, 3, 2)
    colour: np.ndarray  # (S, 3) albedo
    shone: np.ndarray  # (S, 3) irradiance

    @property
    def residual(self) -> np.ndarray:
        return self.value - self.colour * self.shone


class Refiner:
    """The photos of one face. ``run`` moves a state to explain them; the posterior is of the last step."""

    def __init__(
        self, model: MorphableModel, surface: Surface, views: list[View], pictures: list[Picture], *,
        shared: bool, say: float,
    ) -> None:  # fmt: skip
        self.model, self.surface, self.views, self.pictures, self.shared = model, surface, views, pictures, shared
        self.scale = say / (3 * len(surface.chosen))
        self.observed = np.stack([np.nan_to_num(view.points) for view in views])
        self.seen = np.stack([np.isfinite(view.points).all(1) for view in views])
        self.sd = np.stack([np.broadcast_to(view.sd, 68) for view in views])
        self.principal = np.array([(view.size[1] / 2, view.size[0] / 2) for view in views])
        self.corners = np.tile(surface.corners, (len(views), 1, 1))
        self.weights = np.tile(surface.weights, (len(views), 1, 1))
        count, identities, expressions = len(views), surface.identities, len(model.expression)
        self.own = identities + expressions * (1 if shared else count)
        self.shape_columns = [
            np.r_[:identities, identities + (0 if shared else expressions * view) + np.arange(expressions),
                  self.own + 7 * view + np.arange(7)]
            for view in range(count)
        ]  # fmt: skip
        self.moving, fields = self.own + 7 * count, len(surface.field_sd)
        self.light_columns = self.moving + np.arange(27 * count).reshape(count, 9, 3)
        self.field_columns = self.moving + 27 * count + np.arange(3 * fields).reshape(fields, 3)
        self.count = self.moving + 27 * count + 3 * fields
        grey = np.full((3, 3), 1 / 3)
        split = grey + (np.eye(3) - grey) / _COLOUR_PART**2
        self.light_prior = split / _LIGHT_SD[:, None, None] ** 2
        self.field_prior = split / surface.field_sd[:, None, None] ** 2

    def start(self, fit: Fit) -> State:
        """Return the state of a landmark fit; each jaw landmark slides to the outermost of its candidates."""
        state = State(
            fit.identity.copy(), fit.expressions.copy(), np.stack([camera.rotation for camera in fit.cameras]),
            np.stack([camera.translation + camera.rotation @ self.surface.origin for camera in fit.cameras]),
            np.log([camera.focal for camera in fit.cameras]), np.tile(light.EVEN, (len(self.views), 1, 1)),
            np.ones(3), np.zeros((len(self.surface.field_sd), 3)),
        )  # fmt: skip
        for view, points in enumerate(self.observed):
            offset = self._project(state, view, self._vertices(state, view))[1]
            centre = points[self.seen[view]].mean(0)
            for row, line in enumerate(self.surface.jaw):
                if len(line):
                    furthest = line[(offset[line] @ (points[row] - centre)).argmax()]
                    self.corners[view, row], self.weights[view, row] = furthest, [1.0, 0.0, 0.0]
        return state

    def run(self, state: State) -> State:
        """Return the state after the whole schedule; its landmarks keep the weights of the start."""
        self.trust = self._landmark_trust(state)
        for blur, steps, moving in _SCHEDULE:
            self._look(state, blur)
            state = self._descend(state if moving else self._first_light(state), steps, moving)
        return state

    def relight(self, state: State) -> State:
        """Return the state with light and albedo for the shape it has."""
        self._look(state, _SCHEDULE[1][0])
        return self._descend(self._first_light(state), 4, False)

    def _look(self, state: State, blur: float) -> None:
        """Blur the pictures, and find what each shows."""
        self.pictures = [picture.blurred(blur) for picture in self.pictures]
        self.shown = []
        for view, at in enumerate(self.compare(state)):
            pixels = at.offset + self.principal[view]
            shown = self.pictures[view].shown(self.surface, at.seen, pixels, at.normals, blur)
            self.shown.append(shown * light.matte(at.value, shown > 0.2))

    def _vertices(self, state: State, view: int) -> np.ndarray:
        return self.surface.decode(np.r_[state.identity, state.expressions[view]])

    def _project(self, state: State, view: int, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        seen = points @ state.rotations[view].T + state.shifts[view]
        return seen, np.exp(state.log_focal[view]) * seen[:, :2] / seen[:, 2:]

    def compare(self, state: State) -> list[Compared]:
        """Return each view as the state explains it."""
        chosen, found = self.surface.chosen, []
        colour = state.tone * np.exp(self.surface.fields @ state.fields)
        for view, picture in enumerate(self.pictures):
            vertices = self._vertices(state, view)
            normals = self.surface.normals(vertices)[0] @ state.rotations[view].T
            seen, offset = self._project(state, view, vertices)
            bands = light.harmonics(normals @ FACING)
            value, slopes = picture.read(offset[chosen] + self.principal[view])
            shone = bands @ state.lighting[view]
            found.append(Compared(vertices, normals, seen, offset, bands, value, slopes, colour, shone))
        return found

    def _first_light(self, state: State) -> State:
        """Return the state with the middle colour of what is shown and the light that explains each photo best."""
        found = self.compare(state)
        kept = [weight > 0.2 for weight in self.shown]
        if not any(k.any() for k in kept):
            return state
        tone = np.maximum(np.median(np.concatenate([at.value[k] for at, k in zip(found, kept, strict=True)]), 0), 0.004)
        prior = np.diag(np.r_[0.1, np.full(8, 2.0)]) * 0.02
        lighting = []
        for at, k in zip(found, kept, strict=True):
            h, goal = at.bands[k], at.value[k] / tone
            lighting.append(np.linalg.solve(h.T @ h / max(len(h), 1) + prior, h.T @ goal / max(len(h), 1)))
        return replace(state, tone=tone, lighting=np.stack(lighting))

    def _landmarks(self, state: State, view: int, vertices: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        points = np.einsum("lc,lcd->ld", self.weights[view], vertices[self.corners[view]])
        seen, offset = self._project(state, view, points)
        return seen, offset, offset + self.principal[view] - self.observed[view]

    def landmark_chi2(self, state: State) -> float:
        """Return the weighted sum of squares of the landmarks."""
        total = 0.0
        for view in range(len(self.views)):
            off = self._landmarks(state, view, self._vertices(state, view))[2]
            total += float((self.trust[view] * (off**2).sum(1)).sum())
        return total

    def _landmark_trust(self, state: State) -> np.ndarray:
        """Return (N, 68) precisions, Geman and McClure's weights among them."""
        trust = np.zeros(self.seen.shape)
        for view, seen in enumerate(self.seen):
            off = np.linalg.norm(self._landmarks(state, view, self._vertices(state, view))[2], axis=1) / self.sd[view]
            width = _ROBUST_LANDMARK * max(1.0, float(np.median(off[seen])) / 1.18)
            trust[view] = seen / (1 + (off / width) ** 2) ** 2 / self.sd[view] ** 2
        return trust

    def pixel_trust(self, found: list[Compared]) -> list[np.ndarray]:
        """Return for each photo the (S, 3) precision of its colours, robust, in equal steps for the eye."""
        trust = []
        for at, shown in zip(found, self.shown, strict=True):
            slope = 0.45 * np.clip(at.value, 0.01, 1) ** -0.55  # of sRGB's curve
            error = at.residual * slope
            kept = shown > 0.2
            sd = np.clip(1.48 * np.median(np.abs(error[kept])), 0.012, 0.2) if kept.sum() > 50 else 1e3
            width = sd * np.where(error.mean(1) > 0, _ROBUST_BRIGHT, _ROBUST_PIXEL)
            robust = 1 / (1 + (error**2).mean(1) / width**2) ** 2
            trust.append(self.scale * (slope / sd) ** 2 * (shown * robust)[:, None])
        return trust

    def _grain(self, found: list[Compared], trust: list[np.ndarray]) -> tuple[list[np.ndarray], np.ndarray]:
        """Return how each vertex's own unknown albedo shows in each photo, and the (S, 3) precision it takes away.

        That albedo is the same in every photo and is integrated out: what differs between photos counts in
        full, what they have in common hardly.
        """
        glow = [at.colour * at.shone for at in found]
        variance = _GRAIN**2 / self.scale
        told = sum(p * g**2 for p, g in zip(trust, glow, strict=True))
        return glow, variance / (1 + variance * told)

    def _cost(
        self, state: State, found: list[Compared], trust: list[np.ndarray], grain: tuple[list[np.ndarray], np.ndarray]
    ) -> float:
        glow, taken = grain
        total = sum(float((p * at.residual**2).sum()) for p, at in zip(trust, found, strict=True))
        common = sum(p * g * at.residual for p, g, at in zip(trust, glow, found, strict=True))
        lighting = state.lighting - light.EVEN
        rows = state.expressions[:1] if self.shared else state.expressions
        focal = [(value - np.log(view.focal[0])) / view.focal[1]
                 for value, view in zip(state.log_focal, self.views, strict=True)]  # fmt: skip
        return (
            total - float((taken * common**2).sum()) + self.landmark_chi2(state) + float(np.square(focal).sum())
            + float(np.einsum("nbc,bcd,nbd->", lighting, self.light_prior, lighting))
            + float(np.einsum("mc,mcd,md->", state.fields, self.field_prior, state.fields))
            + float(state.identity @ state.identity + (rows**2).sum() / self.model.expression_sd**2)
        )  # fmt: skip

    def _descend(self, state: State, steps: int, moving: bool) -> State:
        """Return the state after steps each of which lowers the cost."""
        damping, found = 1e-3, self.compare(state)
        for _ in range(steps):
            trust = self.pixel_trust(found)
            grain = self._grain(found, trust)  # like the trust, that of the step's start
            hessian, gradient = self.normal(state, found, trust)
            cost, active = self._cost(state, found, trust, grain), self._active(state, gradient, moving)
            matrix, slope = hessian[np.ix_(active, active)], gradient[active]
            diagonal = np.diag(matrix).copy()
            for _ in range(6):
                step = np.zeros(self.count)
                matrix[np.diag_indices(len(matrix))] = diagonal * (1 + damping)
                step[active] = -np.linalg.solve(matrix, slope)
                trial = self._step(state, step)
                ahead = self.compare(trial)
                value = self._cost(trial, ahead, trust, grain)
                if value < cost:
                    break
                damping *= 10
            if not value < cost:
                break
            state, found, damping = trial, ahead, max(damping / 10, 1e-6)
            if (cost - value) / cost < 2e-3:
                break
        return state

    def _active(self, state: State, gradient: np.ndarray, moving: bool) -> np.ndarray:
        """Return the unknowns that may move: at first no shape, and never an expression out of its box."""
        free = np.ones(self.count, bool)
        free[: self.moving] = moving
        rows = state.expressions[:1] if self.shared else state.expressions
        part, value = slice(self.surface.identities, self.own), rows.ravel()
        low, high = self.model.expression_bounds
        free[part] &= ~(((value <= low) & (gradient[part] > 0)) | ((value >= high) & (gradient[part] < 0)))
        return np.flatnonzero(free)

    def _step(self, state: State, step: np.ndarray) -> State:
        identities, count = self.surface.identities, len(self.views)
        pose = step[self.own : self.moving].reshape(count, 7)
        expression = step[identities : self.own].reshape(-1, len(self.model.expression))
        shifts = state.shifts + pose[:, 3:6]
        shifts[:, 2] *= np.exp(pose[:, 6])  # a longer lens from further away
        return State(
            state.identity + step[:identities],
            np.clip(state.expressions + expression, *self.model.expression_bounds),
            _turn(pose[:, :3]) @ state.rotations, shifts, state.log_focal + pose[:, 6],
            state.lighting + step[self.light_columns], state.tone, state.fields + step[self.field_columns],
        )  # fmt: skip

    def normal(self, state: State, found: list[Compared], trust: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Return the (U, U) curvature and (U,) gradient of half the cost, to first order in the residuals."""
        hessian, gradient = np.zeros((self.count, self.count)), np.zeros(self.count)
        glow, taken = self._grain(found, trust)
        slopes = [self._by_shape(state, view, at) for view, at in enumerate(found)]
        for channel in range(3):
            shared = np.zeros((len(taken), self.count), np.float32) if len(found) > 1 else None
            left = np.zeros(len(taken))
            for view, at in enumerate(found):
                jacobian, columns = self._jacobian(at, slopes[view], view, channel)
                p, g, residual = trust[view][:, channel], glow[view][:, channel], at.residual[:, channel]
                if shared is None:
                    p = p - taken[:, channel] * (p * g) ** 2
                else:
                    shared[:, columns] += (p * g).astype(np.float32)[:, None] * jacobian
                    left += p * g * residual
                jacobian *= np.sqrt(p).astype(np.float32)[:, None]
                hessian[np.ix_(columns, columns)] += jacobian.T @ jacobian
                gradient[columns] += jacobian.T @ (np.sqrt(p) * residual).astype(np.float32)
            if shared is not None:
                root = np.sqrt(taken[:, channel]).astype(np.float32)
                shared *= root[:, None]
                hessian -= shared.T @ shared
                gradient -= shared.T @ (root * left.astype(np.float32))
        for view, at in enumerate(found):
            self._add_landmarks(hessian, gradient, state, view, at.vertices)
        self._add_priors(hessian, gradient, state)
        return hessian, gradient

    def _jacobian(self, at: Compared, slopes: np.ndarray, view: int, channel: int) -> tuple[np.ndarray, np.ndarray]:
        colour, shone = at.colour[:, channel, None], at.shone[:, channel, None]
        parts = [slopes[:, channel], -colour * at.bands, -colour * shone * self.surface.fields]
        columns = [self.shape_columns[view], self.light_columns[view, :, channel], self.field_columns[:, channel]]
        return np.concatenate(parts, 1, dtype=np.float32, casting="same_kind"), np.concatenate(columns)

    def _by_shape(self, state: State, view: int, at: Compared) -> np.ndarray:
        """Return (S, 3 channels, K + E + 7) float32 derivatives of the residual by coefficients and camera."""
        chosen, rotation, shift = self.surface.chosen, state.rotations[view], state.shifts[view]
        seen, offset = at.seen[chosen], at.offset[chosen]
        on_point = at.slopes @ _by_point(seen, offset, np.exp(state.log_focal[view]))
        turning = light.harmonics_slope(at.normals @ FACING)
        on_normal = -at.colour[..., None] * np.einsum("bc,sbd->scd", state.lighting[view], turning) @ FACING
        pose = np.concatenate([
            -on_point @ skew(seen - shift) - on_normal @ skew(at.normals), on_point,
            at.slopes @ offset[..., None] + on_point[..., 2:] * shift[2],
        ], 2)  # fmt: skip
        shape = (on_point @ rotation).astype(np.float32) @ self.surface.basis[chosen]
        shape += (on_normal @ rotation).astype(np.float32) @ self.surface.normal_slopes(at.vertices)
        return np.concatenate([shape, pose.astype(np.float32)], 2)

    def _add_landmarks(
        self, hessian: np.ndarray, gradient: np.ndarray, state: State, view: int, vertices: np.ndarray
    ) -> None:
        seen, offset, residual = self._landmarks(state, view, vertices)
        by_point = _by_point(seen, offset, np.exp(state.log_focal[view]))
        basis = np.einsum("lc,lcdk->ldk", self.weights[view], self.surface.basis[self.corners[view]])
        shift = state.shifts[view]
        jacobian = np.concatenate([
            by_point @ state.rotations[view] @ basis, -by_point @ skew(seen - shift), by_point,
            (offset + by_point[..., 2] * shift[2])[..., None],
        ], 2)  # fmt: skip
        root = np.sqrt(self.trust[view])[:, None]
        jacobian = (jacobian * root[..., None]).reshape(136, -1)
        columns = self.shape_columns[view]
        hessian[np.ix_(columns, columns)] += jacobian.T @ jacobian
        gradient[columns] += jacobian.T @ (residual * root).ravel()

    def _add_priors(self, hessian: np.ndarray, gradient: np.ndarray, state: State) -> None:
        identities = self.surface.identities
        rows = state.expressions[:1] if self.shared else state.expressions
        focal = np.array([view.focal for view in self.views])
        precision = np.zeros((len(self.views), 7))
        precision[:, 6] = focal[:, 1] ** -2
        value = np.zeros_like(precision)
        value[:, 6] = state.log_focal - np.log(focal[:, 0])
        diagonal = np.r_[np.ones(identities), np.full(rows.size, self.model.expression_sd**-2), precision.ravel()]
        place = np.arange(self.moving)
        hessian[place, place] += diagonal
        gradient[: self.moving] += diagonal * np.r_[state.identity, rows.ravel(), value.ravel()]
        lighting = state.lighting - light.EVEN
        for columns, prior, now in (
            *((c, self.light_prior, now) for c, now in zip(self.light_columns, lighting, strict=True)),
            (self.field_columns, self.field_prior, state.fields),
        ):
            hessian[columns[:, :, None], columns[:, None]] += prior
            gradient[columns] += np.einsum("bcd,bd->bc", prior, now)

    def identity_precision(self, state: State, found: list[Compared], trust: list[np.ndarray]) -> np.ndarray:
        """Return the (K, K) inverse of the identity's posterior covariance, expressions held by their box taken
        as known."""
        hessian, gradient = self.normal(state, found, trust)
        rest = self._active(state, gradient, True)
        rest = rest[rest >= self.surface.identities]
        own = slice(self.surface.identities)
        cross = hessian[own, rest]
        precision: np.ndarray = hessian[own, own] - cross @ np.linalg.solve(hessian[np.ix_(rest, rest)], cross.T)
        return precision

    def nothing(self) -> list[np.ndarray]:
        """Return the trust of pixels that have no say."""
        return [np.zeros((len(self.surface.chosen), 3)) for _ in self.views]


def _by_point(seen: np.ndarray, offset: np.ndarray, focal: float) -> np.ndarray:
    """Return (P, 2, 3) derivatives of pixels by points in the camera's frame."""
    by_point = np.zeros((len(seen), 2, 3))
    by_point[:, 0, 0] = by_point[:, 1, 1] = focal / seen[:, 2]
    by_point[:, :, 2] = -offset / seen[:, 2:]
    return by_point


def _turn(vectors: np.ndarray) -> np.ndarray:
    from scipy.spatial.transform import Rotation

    matrices: np.ndarray = Rotation.from_rotvec(vectors).as_matrix()
    return matrices
