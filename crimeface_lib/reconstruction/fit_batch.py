"""Thousands of faces at once, one photo each: the steps of ``fit_landmarks`` in PyTorch, on a GPU or the CPU."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from crimeface_lib.core.arrays import check_array
from crimeface_lib.core.device import resolve_device
from crimeface_lib.core.errors import InputError
from crimeface_lib.core.results import Result
from crimeface_lib.reconstruction.fit import NO_FACE, Fit, conclude, problem_of
from crimeface_lib.reconstruction.morphable import MorphableModel
from crimeface_lib.reconstruction.solver import Problem, State, look, no_face, robust_weights, solve, start
from crimeface_lib.reconstruction.view import FOCAL_PER_SIDE, FOCAL_SPREAD, MINIMUM_LANDMARKS, View

if TYPE_CHECKING:
    import pandas as pd

#: Turns after which the few faces that still move go on alone.
_TOGETHER = 10


@dataclass(frozen=True, slots=True, repr=False)
class FitBatch(Result):
    """Faces fitted together; ``batch[i]`` is the ``Fit`` of one, with its posterior, as ``fit_landmarks`` returns it.

    Parameters
    ----------
    model : name of the model.
    device : where it was computed.
    identity : (N, K) standard deviations; NaN rows where ``failures`` says why.
    expressions : (N, E).
    focal : (N,) px.
    residual_px : (N,) robustly weighted root mean square distance of the landmarks, px.
    failures : index → reason.
    """

    model: str
    device: str
    identity: np.ndarray = field(repr=False)
    expressions: np.ndarray = field(repr=False)
    focal: np.ndarray = field(repr=False)
    residual_px: np.ndarray = field(repr=False)
    failures: dict[int, str]
    morphable: MorphableModel = field(repr=False)
    _views: tuple[np.ndarray, ...] = field(repr=False)  # points, sizes, sd, focal priors
    _state: State = field(repr=False)
    _slide_contour: bool = field(repr=False)
    _robust: float = field(repr=False)

    def __len__(self) -> int:
        return len(self.identity)

    def __iter__(self) -> Iterator[Fit]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int) -> Fit:
        """Return one face's fit.

        Raises
        ------
        InputError : it failed, with the reason. IndexError : no such face.
        """
        index = range(len(self))[index]
        if index in self.failures:
            raise InputError(f"face {index}: {self.failures[index]}")
        points, size, sd, focal = (part[index] for part in self._views)
        view = View(points, (int(size[0]), int(size[1])), sd, (float(focal[0]), float(focal[1])))
        problem = problem_of(self.morphable, [view], shared_expression=False, slide_contour=self._slide_contour)
        return conclude(self.morphable, [view], problem, self._state.take(slice(index, index + 1)), self._robust)

    def to_frame(self) -> pd.DataFrame:
        """Return one row a face."""
        import pandas as pd

        why = [self.failures.get(index, "") for index in range(len(self))]
        return pd.DataFrame({"residual_px": self.residual_px, "focal_px": self.focal, "failure": why})


def fit_landmarks_batch(
    model: MorphableModel,
    points: np.ndarray,
    sizes: Sequence[tuple[int, int]] | tuple[int, int] | np.ndarray,
    *,
    sd: float | np.ndarray = 2.0,
    focal_prior: Sequence[tuple[float, float] | None] | None = None,
    slide_contour: bool = True,
    robust: float = 4.0,
    iterations: int = 30,
    device: str | None = "cpu",
    chunk: int = 1024,
) -> FitBatch:
    """Fit each face to the landmarks of its one photo, as ``fit_landmarks`` does, many at once.

    In float64 throughout: float32 loses the small differences that tell a camera nearby from one far away.

    Parameters
    ----------
    points : (N, 68, 2) px; NaN rows are landmarks not seen.
    sizes : (height, width) of each photo, or of all.
    sd : px; one number, (N,) or (N, 68).
    focal_prior : for each photo as in ``View``, None where nothing is known.
    device : "cpu", "cuda"; None takes CUDA where there is some.
    chunk : faces held at once; 1,024 take about 2 GB with ICT-FaceKit.

    Raises
    ------
    ShapeError, InputError : arrays that don't belong together. A face that can't be fitted stops no other: it is in
        ``failures``.
    MissingBackendError : no such device.

    >>> from crimeface_lib.reconstruction import load_morphable_model
    >>> batch = fit_landmarks_batch(load_morphable_model("builtin"), np.full((1, 68, 2), np.nan), (480, 640))
    >>> batch.failures
    {0: 'points: got 0 landmarks, expected at least 12 to fix a camera'}
    """
    views = _arrays(points, sizes, sd, focal_prior)
    if chunk < 1:
        raise InputError(f"chunk: got {chunk}, expected at least 1")
    device = resolve_device(device)
    failures = _unfit(views[0])
    good = np.array([index for index in range(len(views[0])) if index not in failures], dtype=int)
    state, residual, wrong = _fit_chunks(model, views, good, device, chunk, slide_contour, robust, iterations)
    failures |= {int(good[row]): NO_FACE for row in np.flatnonzero(wrong)}
    bad = np.isin(np.arange(len(residual)), list(failures))
    return FitBatch(
        model=model.name, device=device, identity=np.where(bad[:, None], np.nan, state.identity),
        expressions=np.where(bad[:, None], np.nan, np.clip(state.expressions[:, 0], *model.expression_bounds)),
        focal=np.where(bad, np.nan, np.exp(state.log_focal[:, 0])), residual_px=np.where(bad, np.nan, residual),
        failures=dict(sorted(failures.items())), morphable=model, _views=views, _state=state,
        _slide_contour=slide_contour, _robust=robust,
    )  # fmt: skip


def _arrays(points: Any, sizes: Any, sd: Any, focal_prior: Any) -> tuple[np.ndarray, ...]:
    """Return (N, 68, 2) points, (N, 2) sizes, (N, 68) sd and (N, 2) focal priors."""
    points = check_array(points, shape=(None, 68, 2), name="points", finite=False).astype(np.float64)
    count = len(points)
    spread = np.asarray(sd, np.float64)
    spread = spread[:, None] if spread.ndim == 1 else spread
    size, known = np.asarray(sizes, np.float64), [None] * count if focal_prior is None else list(focal_prior)
    if size.shape not in ((2,), (count, 2)) or spread.shape not in ((), (count, 1), (count, 68)) or len(known) != count:
        raise InputError(
            f"sizes, sd, focal_prior: got {size.shape}, {spread.shape} and {len(known)}; expected ({count}, 2) or "
            f"(2,), ({count},) or ({count}, 68) or a number, and {count}"
        )
    if not (spread > 0).all() or not (size >= 1).all():
        raise InputError(f"sd, sizes: got {spread.min():g} and {size.min():g} px at least, expected positive pixels")
    size = np.broadcast_to(size, (count, 2))
    focal = np.stack([size.max(1) * FOCAL_PER_SIDE, np.full(count, FOCAL_SPREAD)], 1)
    for index, prior in enumerate(known):
        focal[index] = focal[index] if prior is None else prior
    if not (focal > 0).all():
        raise InputError("focal_prior: expected (median px, log sd), both positive")
    return points, size, np.broadcast_to(spread, (count, 68)), focal


def _unfit(points: np.ndarray) -> dict[int, str]:
    """Return which faces ``View`` would refuse, and why."""
    seen = np.isfinite(points).all(2)
    low, high = (np.where(seen[..., None], points, far) for far in (np.inf, -np.inf))
    span = (high.max(1) - low.min(1)).min(1)
    few = seen.sum(1) < MINIMUM_LANDMARKS
    why = {}
    for index in np.flatnonzero(few | (span < 2)):
        why[int(index)] = (
            f"points: got {seen[index].sum()} landmarks, expected at least {MINIMUM_LANDMARKS} to fix a camera"
            if few[index]
            else f"points: got landmarks within {span[index]:.2g} px, expected a face"
        )
    return why


def _fit_chunks(
    model: MorphableModel, views: tuple[np.ndarray, ...], good: np.ndarray, device: str, chunk: int, slides: bool,
    robust: float, iterations: int,
) -> tuple[State, np.ndarray, np.ndarray]:  # fmt: skip
    """Return states and residuals of all faces, nought where not ``good``, and which of those show no face."""
    import torch

    found, lost = [], []
    with torch.device(device), torch.inference_mode():
        for begin in range(0, max(len(good), 1), chunk):
            seen, size, spread, focal = (part[good[begin : begin + chunk]][:, None] for part in views)
            problem = Problem.build(
                model, seen, spread, size, focal, shared_expression=False, slide_contour=slides,
                array=lambda values: torch.as_tensor(np.ascontiguousarray(values), device=device), xp=torch,
            )  # fmt: skip
            state, residual, wrong = _fit_chunk(problem, robust, iterations)
            found.append((*(getattr(state, one.name) for one in fields(State)), residual))
            lost.append(wrong)
    *parts, residual = (_spread(np.concatenate(column), good, len(views[0])) for column in zip(*found, strict=True))
    return State(*parts), residual, np.concatenate(lost)


def _fit_chunk(problem: Problem, robust: float, iterations: int) -> tuple[State, np.ndarray, np.ndarray]:
    """Return states and residuals (B,) px as NumPy's, and (B,) bool where no face was seen."""
    begin = start(problem)
    wrong = no_face(begin)
    state = solve(problem, begin, robust=robust, turns=range(min(_TOGETHER, iterations)))
    left = (~state.rest & ~wrong).nonzero()[:, 0]
    if len(left) and iterations > _TOGETHER:
        rest = solve(problem.take(left), state.take(left), robust=robust, turns=range(_TOGETHER, iterations))
        for one in fields(State):
            getattr(state, one.name)[left] = getattr(rest, one.name)
    apart = look(problem, state).at(problem.xp, state.rows).pixels - problem.observed
    weights = robust_weights(problem, apart, robust)
    residual = ((weights * (apart**2).sum(-1)).sum((1, 2)) / weights.sum((1, 2))) ** 0.5
    done = State(*(getattr(state, one.name).cpu().numpy() for one in fields(State)))
    return done, residual.cpu().numpy(), wrong.cpu().numpy()


def _spread(values: np.ndarray, good: np.ndarray, count: int) -> np.ndarray:
    """Return (count, ...) with ``values`` at ``good``, nought elsewhere."""
    out = np.zeros((count, *values.shape[1:]), values.dtype)
    out[good] = values
    return out
