"""What the landmark fit needs of a face model: the rows that landmarks touch, worked out once for each model."""

from __future__ import annotations

import weakref
from dataclasses import dataclass

import numpy as np

from crimeface_lib.reconstruction.morphable import MorphableModel

_RIGS: weakref.WeakKeyDictionary[MorphableModel, Rig] = weakref.WeakKeyDictionary()


@dataclass(frozen=True, slots=True)
class Rig:
    """The 68 landmarks, the places where jaw landmarks may slide to, and how the face region changes size.

    Parameters
    ----------
    origin : (3,) mm, subtracted from the model so that turns are about the face.
    points : (R, 3) mean positions less ``origin``: landmarks, then contour candidates.
    basis : (R, 3, K + E) mm, identity then expression.
    candidates : (17, M) rows of ``points`` where a jaw landmark may be.
    slides : whether the model has contour lines.
    growth : (1 + K, 1 + K) mm², products of the face region's mean and identity modes, each about its middle.
    """

    origin: np.ndarray
    points: np.ndarray
    basis: np.ndarray
    candidates: np.ndarray
    slides: bool
    growth: np.ndarray

    @classmethod
    def of(cls, model: MorphableModel) -> Rig:
        """Return the model's rig, kept for as long as the model is."""
        if (known := _RIGS.get(model)) is None:
            known = _RIGS[model] = cls._build(model)
        return known

    @classmethod
    def _build(cls, model: MorphableModel) -> Rig:
        landmarks = model.landmarks(model.mean)
        origin = landmarks.mean(0)
        corners = model.triangles[model.landmark_triangles]
        lines = model.contour if len(model.contour) == 17 and any(map(len, model.contour)) else ()
        extra = np.concatenate(lines) if lines else np.zeros(0, np.int32)
        parts = []
        for modes in (model.identity, model.expression):
            of_landmarks = np.einsum("lc,klcd->ldk", model.landmark_weights, modes[:, corners].astype(np.float64))
            parts.append(np.concatenate([of_landmarks, modes[:, extra].transpose(1, 2, 0)]))
        candidates = np.tile(np.arange(17)[:, None], (1, 1 + max(map(len, lines), default=0)))
        row = 68
        for index, line in enumerate(lines):
            candidates[index, 1 : 1 + len(line)] = np.arange(row, row + len(line))
            row += len(line)
        start, stop = model.regions["face"]
        face = np.concatenate([model.mean[None, start:stop].astype(np.float32), model.identity[:, start:stop]])
        face = (face - face.mean(1, keepdims=True)).reshape(len(face), -1)
        return cls(
            origin=origin, points=np.concatenate([landmarks, model.mean[extra]]) - origin,
            basis=np.ascontiguousarray(np.concatenate(parts, 2)), candidates=candidates, slides=bool(lines),
            growth=(face @ face.T).astype(np.float64),
        )  # fmt: skip
