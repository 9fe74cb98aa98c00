"""A face model small enough to reason about: an egg with a nose, eight modes, two expressions."""

from __future__ import annotations

import numpy as np
import pytest

from crimeface_lib.reconstruction import Camera, MorphableModel, View

ROWS, COLUMNS = 61, 80


def _frontal_landmarks() -> np.ndarray:
    """(68, 2) mm, iBUG order, a schematic face."""

    def arc(start: float, stop: float, count: int, x: float, y: float, a: float, b: float) -> np.ndarray:
        angle = np.deg2rad(np.linspace(start, stop, count))
        return np.stack([x + a * np.cos(angle), y + b * np.sin(angle)], 1)

    eye = np.array([[-1, 0], [-0.4, 0.45], [0.4, 0.45], [1, 0], [0.4, -0.4], [-0.4, -0.4]])
    nose = np.array([[0, 22], [0, 12], [0, 2], [0, -8], [-13, -17], [-6, -19], [0, -20], [6, -19], [13, -17]])
    parts = [
        arc(180, 360, 17, 0, 20, 68, 100), arc(160, 40, 5, -32, 30, 18, 10), arc(140, 20, 5, 32, 30, 18, 10),
        nose, eye * [14, 10] + [-32, 20], eye * [14, 10] + [32, 20],
        arc(180, -150, 12, 0, -42, 25, 11), arc(180, -135, 8, 0, -42, 18, 4),
    ]  # fmt: skip
    return np.concatenate(parts)


@pytest.fixture(scope="session")
def toy() -> MorphableModel:
    latitude = np.linspace(-np.pi / 2, np.pi / 2, ROWS)[:, None]
    longitude = np.linspace(-np.pi, np.pi, COLUMNS + 1)[None]
    x, y, z = (
        80 * np.cos(latitude) * np.sin(longitude),
        115 * np.sin(latitude),
        95 * np.cos(latitude) * np.cos(longitude),
    )
    grid = np.stack(np.broadcast_arrays(x, y, z), -1).reshape(-1, 3)

    def bump(cx: float, cy: float, width: float) -> np.ndarray:
        return np.exp(-((grid[:, 0] - cx) ** 2 + (grid[:, 1] - cy) ** 2) / (2 * width**2)) * (grid[:, 2] > 0)

    out = np.array([0.0, 0.0, 1.0])
    mean = grid + (22 * bump(0, -8, 10))[:, None] * out
    unit = grid / [80, 115, 95]
    fields = [
        unit * [3, 0, 0], unit * [0, 4, 0], unit * [0, 0, 4], bump(0, -8, 12)[:, None] * [0, 0, 4],
        (bump(-40, -10, 18) + bump(40, -10, 18))[:, None] * [0, 0, 3], bump(0, -80, 20)[:, None] * [0, -4, 2],
        (bump(-32, 20, 14) - bump(32, 20, 14))[:, None] * [3, 0, 0], bump(0, 50, 25)[:, None] * [0, 2, 3],
    ]  # fmt: skip
    smile = bump(-25, -42, 8)[:, None] * [-6, 5, 0] + bump(25, -42, 8)[:, None] * [6, 5, 0]
    wide = (bump(0, -52, 9) - bump(0, -32, 9))[:, None] * [0, -8, 0]
    index = np.arange(ROWS * (COLUMNS + 1)).reshape(ROWS, COLUMNS + 1)
    a, b, c, d = index[:-1, :-1].ravel(), index[:-1, 1:].ravel(), index[1:, 1:].ravel(), index[1:, :-1].ravel()
    triangles = np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)]).astype(np.int32)
    v, u = np.meshgrid(np.linspace(0.01, 0.99, ROWS), np.linspace(0.01, 0.99, COLUMNS + 1), indexing="ij")
    front = np.flatnonzero(mean[:, 2] > 0)
    flat = ((mean[front, None, :2] - _frontal_landmarks()) ** 2).sum(-1)
    vertices = front[flat.argmin(0)]
    of, corner = np.stack([np.argwhere(triangles == vertex)[0] for vertex in vertices]).T
    return MorphableModel(
        name="toy", licence="CC0", source="made by the tests", version="1", mean=mean,
        identity=np.stack(fields).astype(np.float32), expression=np.stack([smile, wide]).astype(np.float32),
        expression_names=("smile", "open"), expression_bounds=(0.0, 1.0), expression_sd=0.5, triangles=triangles,
        uv=np.stack([u.ravel(), v.ravel()], 1), triangles_uv=triangles, landmark_triangles=of.astype(np.int32),
        landmark_weights=np.eye(3)[corner], contour=(), regions={"face": (0, len(mean))},
    )  # fmt: skip


def photograph(
    model: MorphableModel, identity: np.ndarray, expression: np.ndarray, *, yaw: float = 0.0, pitch: float = 0.0,
    noise: float = 0.0, size: int = 400, rng: np.random.Generator | None = None,
) -> tuple[View, Camera]:  # fmt: skip
    """The landmarks that a camera would see, and the camera."""
    vertices = model.decode(identity, expression)
    camera = Camera.look((yaw, pitch), vertices, size=size, fov=20.0)
    points = camera.project(model.landmarks(vertices))[0]
    if rng is not None:
        points = points + rng.normal(0, noise, points.shape)
    return View(points, (size, size), max(noise, 0.5)), camera


@pytest.fixture(scope="session")
def take():
    return photograph
