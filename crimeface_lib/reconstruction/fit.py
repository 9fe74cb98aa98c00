"""From 68 landmarks in one or several photos to a face, its cameras and how sure we are."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from crimeface_lib.core.errors import InputError
from crimeface_lib.core.results import Result
from crimeface_lib.reconstruction.camera import Camera
from crimeface_lib.reconstruction.morphable import MorphableModel
from crimeface_lib.reconstruction.rig import Rig
from crimeface_lib.reconstruction.solver import Problem, State, no_face, posterior, solve, start
from crimeface_lib.reconstruction.view import View

if TYPE_CHECKING:
    import pandas as pd
    from threadpoolctl import ThreadpoolController

NO_FACE = "points: got landmarks of a face seen from behind, or on a line; expected iBUG order, not mirrored"


@dataclass(frozen=True, slots=True, repr=False)
class Fit(Result):
    """A face model fitted to landmarks.

    Parameters
    ----------
    model : name of the model.
    identity : (K,) standard deviations.
    expressions : (views, E).
    cameras : one for each view.
    residual_px : (views,) root mean square distance of the landmarks kept, px.
    outliers : (views, 68) bool, landmarks that the robust loss gave less than a tenth of their weight.
    identity_covariance : (K, K), posterior of the identity.
    focal_sd : (views,) px.
    scale_sd : relative posterior standard deviation of the size; from the model's prior unless a length is given.
    information : how many standard deviations' worth of identity the photos told (effective number of modes).
    iterations : of Levenberg and Marquardt.
    warnings : sentences for the reader.
    morphable : the model itself.
    """

    model: str
    identity: np.ndarray
    expressions: np.ndarray
    cameras: tuple[Camera, ...]
    residual_px: np.ndarray
    outliers: np.ndarray = field(repr=False)
    identity_covariance: np.ndarray = field(repr=False)
    focal_sd: np.ndarray
    scale_sd: float
    information: float
    iterations: int
    warnings: tuple[str, ...]
    morphable: MorphableModel = field(repr=False)
    _vertex_sd: list[np.ndarray] = field(default_factory=list, init=False, repr=False, compare=False)

    @property
    def vertex_sd(self) -> np.ndarray:
        """(V,) mm, posterior standard deviation along the normal, scale and pose removed; worked out on first use."""
        from crimeface_lib.reconstruction.uncertainty import vertex_sd

        if not self._vertex_sd:
            self._vertex_sd.append(vertex_sd(self.morphable, self.identity, self.identity_covariance))
        return self._vertex_sd[0]

    def to_frame(self) -> pd.DataFrame:
        """Return one row a view."""
        import pandas as pd

        yaw, pitch, roll = np.array([camera.yaw_pitch_roll for camera in self.cameras]).T
        return pd.DataFrame({
            "view": np.arange(len(self.cameras)), "residual_px": self.residual_px, "outliers": self.outliers.sum(1),
            "yaw_deg": yaw, "pitch_deg": pitch, "roll_deg": roll,
            "focal_px": [camera.focal for camera in self.cameras], "focal_sd_px": self.focal_sd,
            "distance_mm": [float(np.linalg.norm(camera.centre)) for camera in self.cameras],
        })  # fmt: skip


def fit_landmarks(
    model: MorphableModel,
    views: list[View],
    *,
    shared_expression: bool = False,
    slide_contour: bool = True,
    robust: float = 4.0,
    iterations: int = 30,
) -> Fit:
    """Fit identity, expressions and cameras to the landmarks of one person's photos.

    Closed-form affine pose, then Levenberg–Marquardt with an analytic Jacobian: landmark residuals under a
    redescending loss, N(0, 1) identity, boxed half-normal expressions, log-normal focal lengths; jaw landmarks slide
    along ``model.contour`` to the silhouette.

    Parameters
    ----------
    views : one for each photo.
    shared_expression : the same expression in every photo (a burst, a video still).
    slide_contour : False when the jaw landmarks are fixed points of the face (3D annotation).
    robust : standard deviations beyond which a landmark loses its say.

    Raises
    ------
    InputError : no view.

    References: Zhu et al. 2015 (contour landmarks); Triggs et al. 2000 (Schur complement).
    """
    if not views:
        raise InputError("views: got none, expected at least one View")
    with _blas().limit(limits=1, user_api="blas"):  # matrices this small lose time to threads
        problem = problem_of(model, views, shared_expression=shared_expression, slide_contour=slide_contour)
        begin = start(problem)
        if no_face(begin).any():
            raise InputError(NO_FACE)
        return conclude(model, views, problem, solve(problem, begin, robust=robust, turns=range(iterations)), robust)


@cache
def _blas() -> ThreadpoolController:
    """Return what steers BLAS; looking for its libraries takes as long as a fit, so it is done once."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def problem_of(model: MorphableModel, views: list[View], *, shared_expression: bool, slide_contour: bool) -> Problem:
    """Return the problem of one person."""
    return Problem.build(
        model, np.stack([view.points for view in views])[None].astype(np.float64),
        np.stack([np.broadcast_to(view.sd, 68) for view in views])[None].astype(np.float64),
        np.array([[view.size for view in views]]), np.array([[view.focal for view in views]]),
        shared_expression=shared_expression, slide_contour=slide_contour,
    )  # fmt: skip


def conclude(model: MorphableModel, views: list[View], problem: Problem, state: State, robust: float) -> Fit:
    """Return the Fit of one person's state, with its posterior and the sentences a reader should see."""
    left = posterior(problem, state, robust=robust)
    weights, seen, covariance = left.weights[0], problem.seen[0], left.covariance[0]
    outliers = (weights < 0.1) & seen
    kept = seen & ~outliers
    distance = np.where(kept, (left.residual[0] ** 2).sum(-1), 0.0)
    residual = np.sqrt(distance.sum(1) / np.maximum(kept.sum(1), 1))
    identity, origin = state.identity[0], Rig.of(model).origin
    expressions = np.clip(state.expressions[0], *model.expression_bounds)
    shape = np.r_[1.0, identity] @ Rig.of(model).growth
    growth = shape[1:] / (shape @ np.r_[1.0, identity])
    cameras = tuple(
        Camera(rotation, shift - rotation @ origin, float(np.exp(log_focal)), np.array(view.size[::-1]) / 2, view.size)
        for view, rotation, shift, log_focal in zip(
            views, state.rotations[0], state.shifts[0], state.log_focal[0], strict=True
        )
    )
    warnings = []
    gain = _gain_over_mean_face(identity, covariance)
    if gain < 1.0:
        warnings.append(
            f"The landmarks hardly tell this face from the average one (chi² falls by {gain:.1f} per mode told): "
            "the shape shown is mostly the model's prior."
        )
    for index, view in enumerate(views):
        height = float(np.nanmax(view.points[:, 1]) - np.nanmin(view.points[:, 1]))
        photo, aside, off = f"Photo {index + 1}", int(outliers[index].sum()), residual[index]
        if aside > 10:
            warnings.append(f"{photo}: {aside} of 68 landmarks don't fit a face and were set aside.")
        if off > 0.05 * height:
            warnings.append(
                f"{photo}: landmarks are {off:.1f} px off, {off / height:.0%} of the face: the fit is poor."
            )
        if abs(cameras[index].yaw_pitch_roll[0]) > 60:
            warnings.append(f"{photo}: the head is turned by more than 60°, where landmarks are unreliable.")
    return Fit(
        model=model.name, identity=identity, expressions=expressions, cameras=cameras, residual_px=residual,
        outliers=outliers, identity_covariance=covariance, focal_sd=left.focal_sd[0],
        scale_sd=float(np.sqrt(growth @ covariance @ growth)), information=float((1 - np.diag(covariance)).sum()),
        iterations=int(state.steps[0]), warnings=tuple(warnings), morphable=model,
    )  # fmt: skip


def _gain_over_mean_face(identity: np.ndarray, covariance: np.ndarray) -> float:
    """Return how much of chi² the identity explains, per effective mode: what it would rise by with the
    identity at zero and all else free to adapt (second order, from the posterior)."""
    told = float((1 - np.diag(covariance)).sum())
    return float(identity @ np.linalg.solve(covariance, identity) - identity @ identity) / max(told, 1e-9)
