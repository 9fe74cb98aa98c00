"""A perspective camera in OpenCV's convention: x right, y down, z forward; pixel centres at i + 0.5."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from crimeface_lib.core.arrays import check_array
from crimeface_lib.core.display import Shown
from crimeface_lib.core.errors import InputError, ShapeError

#: Head frame (y up, z out of the face) to a camera straight in front of it (y down, z forward).
FACING = np.diag([1.0, -1.0, -1.0])
#: Turn of the head in degrees, yaw positive towards the subject's left, for ``Camera.look``.
VIEWS = {"frontal": (0.0, 0.0), "three-quarter": (40.0, 0.0), "three-quarter-right": (-40.0, 0.0),
         "profile": (90.0, 0.0), "profile-right": (-90.0, 0.0)}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Camera(Shown):
    """Where a photo was taken from: ``pixel = focal * (x, y) / z + principal`` with ``(x, y, z) = R p + t``.

    Parameters
    ----------
    rotation : (3, 3) float64, head frame to camera.
    translation : (3,) float64, mm.
    focal : px, the same along both axes.
    principal : (2,) float64, px, x right and y down from the top left corner.
    size : (height, width) px.
    """

    rotation: np.ndarray
    translation: np.ndarray
    focal: float
    principal: np.ndarray
    size: tuple[int, int]

    def __post_init__(self) -> None:
        check_array(self.rotation, shape=(3, 3), name="rotation")
        check_array(self.translation, shape=(3,), name="translation")
        check_array(self.principal, shape=(2,), name="principal")
        if not np.allclose(self.rotation @ self.rotation.T, np.eye(3), atol=1e-6):
            raise ShapeError("rotation: got a matrix that is not orthonormal, expected a rotation")
        if not (np.isfinite(self.focal) and self.focal > 0):
            raise InputError(f"focal: got {self.focal}, expected a positive number of pixels")

    def transform(self, points: np.ndarray) -> np.ndarray:
        """Return (N, 3) head-frame ``points`` in the camera frame, mm."""
        moved: np.ndarray = points @ self.rotation.T + self.translation
        return moved

    def project(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return (N, 2) pixels and (N,) depths in mm of (N, 3) head-frame ``points``.

        >>> camera = Camera.look("frontal", np.zeros((2, 3)) + [[0, 100, 0], [0, -100, 0]], size=100)
        >>> pixels, depth = camera.project(np.zeros((1, 3)))
        >>> pixels[0].tolist()
        [50.0, 50.0]
        """
        moved = self.transform(points)
        return self.focal * moved[:, :2] / moved[:, 2:] + self.principal, moved[:, 2]

    @property
    def centre(self) -> np.ndarray:
        """The camera's position in the head frame, (3,) mm."""
        place: np.ndarray = -self.rotation.T @ self.translation
        return place

    @property
    def yaw_pitch_roll(self) -> tuple[float, float, float]:
        """How the head is turned, degrees; yaw positive when the face looks towards the right of the picture."""
        turn = FACING @ self.rotation
        yaw = np.arctan2(turn[0, 2], turn[2, 2])
        pitch = np.arcsin(np.clip(turn[1, 2], -1, 1))
        roll = np.arctan2(turn[1, 0], turn[1, 1])
        return tuple(float(np.rad2deg(angle)) for angle in (yaw, pitch, roll))  # type: ignore[return-value]

    def resized(self, factor: float) -> Camera:
        """Return the camera of the picture scaled by ``factor``."""
        height, width = (max(1, round(length * factor)) for length in self.size)
        return Camera(self.rotation, self.translation, self.focal * factor, self.principal * factor, (height, width))

    def to_pytorch3d(self) -> dict[str, Any]:
        """Return the keywords of ``pytorch3d.renderer.PerspectiveCameras`` for the same picture.

        PyTorch3D's camera looks along +z with x to the left and y up, and multiplies row vectors, hence
        ``R`` transposed with the first two axes turned round. Values are float32 with a batch axis.
        """
        flip = np.diag([-1.0, -1.0, 1.0])
        return {
            "R": (flip @ self.rotation).T[None].astype(np.float32),
            "T": (flip @ self.translation)[None].astype(np.float32),
            "focal_length": np.full((1, 2), self.focal, np.float32),
            "principal_point": self.principal[None].astype(np.float32),
            "image_size": np.array([self.size], np.float32),
            "in_ndc": False,
        }

    @classmethod
    def look(
        cls,
        view: str | tuple[float, float],
        vertices: np.ndarray,
        *,
        size: int = 512,
        fill: float = 0.82,
        fov: float = 18.0,
    ) -> Camera:
        """Return a camera that sees all of ``vertices`` (N, 3) mm in the middle of a square picture.

        Parameters
        ----------
        view : "frontal", "three-quarter", "three-quarter-right", "profile", "profile-right", or the
            (yaw, pitch) of the head in degrees.
        size : px; fill : part of the picture's side that the head takes; fov : degrees.

        Raises
        ------
        InputError : an unknown view.
        """
        if isinstance(view, str) and view not in VIEWS:
            raise InputError(f"view: got {view!r}, expected one of {', '.join(VIEWS)} or (yaw, pitch)")
        yaw, pitch = np.deg2rad(VIEWS[view] if isinstance(view, str) else view)
        about_y = np.array([[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]])
        about_x = np.array([[1, 0, 0], [0, np.cos(pitch), -np.sin(pitch)], [0, np.sin(pitch), np.cos(pitch)]])
        rotation = FACING @ about_x @ about_y
        turned = vertices @ rotation.T
        middle = (turned.min(0) + turned.max(0)) / 2
        extent = float((turned.max(0) - turned.min(0))[:2].max())
        focal = size / 2 / np.tan(np.deg2rad(fov) / 2)
        translation = np.array([0.0, 0.0, focal * extent / (fill * size)]) - middle
        return cls(rotation, translation, float(focal), np.full(2, size / 2), (size, size))
