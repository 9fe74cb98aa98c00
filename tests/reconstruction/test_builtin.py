"""The built-in head is checked with rulers of its own: extents and edges of the mesh, not its generator."""

from __future__ import annotations

import numpy as np
import pytest

from crimeface_lib.core.errors import InputError
from crimeface_lib.reconstruction.builtin import load_builtin
from crimeface_lib.reconstruction.morphable import MorphableModel

RIGHT_TO_LEFT = [
    *range(16, -1, -1), *range(26, 16, -1), *range(27, 31), *range(35, 30, -1), 45, 44, 43, 42, 47, 46,
    39, 38, 37, 36, 41, 40, *range(54, 47, -1), *range(59, 54, -1), *range(64, 59, -1), 67, 66, 65,
]  # fmt: skip


@pytest.fixture(scope="module")
def model() -> MorphableModel:
    return load_builtin()


def normals(vertices: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    a, b, c = (vertices[triangles[:, k]] for k in range(3))
    return np.cross(b - a, c - a)


def rulers(model: MorphableModel, vertices: np.ndarray) -> dict[str, float]:
    """Calliper readings, mm, from the 68 landmarks and from extents of the mesh."""
    points = model.landmarks(vertices)
    x, y, z = model.mean.T  # where each calliper touches is chosen on the mean head
    across = vertices[:, 0]
    wings = (y < -37) & (y > -45) & (z > 99.5) & (np.abs(x) < 25)
    start, stop = model.regions["eyes"]
    in_eye = (model.triangles >= start) & (model.triangles < stop)
    lids = np.unique(model.triangles[in_eye.any(1)])
    lids = lids[(lids < start) & (model.mean[lids, 0] > 0)]
    inner, outer = lids[x[lids].argmin()], lids[x[lids].argmax()]
    mirrored = [int(np.linalg.norm(model.mean - model.mean[v] * [-1, 1, 1], axis=1).argmin()) for v in (inner, outer)]
    chin = np.flatnonzero((x == 0) & (z > 60) & (y < -90))
    chin = vertices[chin[y[chin].argmin()]]
    return {
        "head_breadth": np.ptp(across[(np.abs(y - 34) < 4) & (z > -40)]),
        "nose_breadth": np.ptp(across[wings]),
        "bizygomatic_breadth": np.ptp(across[(np.abs(y + 20) < 3) & (z > 22)]),
        "face_height": float(np.linalg.norm(points[27] - chin)),
        "intercanthal_breadth": across[inner] - across[mirrored[0]],
        "biocular_breadth": across[outer] - across[mirrored[1]],
        "mouth_breadth": points[54, 0] - points[48, 0],
        "nose_height": float(np.linalg.norm(points[27] - points[33])),
    }


# Mean and SD, mm, of men and women pooled half and half, worked out by hand from the table's figures.
PUBLISHED = {
    "head_breadth": (151.1, 6.3),
    "nose_breadth": (34.9, 4.4),
    "bizygomatic_breadth": (138.2, 7.4),
    "face_height": (117.9, 8.0),
    "intercanthal_breadth": (32.6, 2.6),
    "biocular_breadth": (89.5, 3.5),
    "mouth_breadth": (49.6, 4.4),
    "nose_height": (50.1, 4.4),
}


def test_shape_and_names(model: MorphableModel) -> None:
    start, stop = model.regions["face"]
    assert stop - start >= 3000
    assert 8_000 <= len(model.mean) <= 13_000
    assert len(model.identity) >= 20
    assert len(model.expression) == len(model.expression_names) >= 10
    assert len(model.contour) == 17
    assert all(len(line) for line in model.contour)
    assert model.uv.min() >= 0
    assert model.uv.max() <= 1


def test_the_same_head_each_time(model: MorphableModel) -> None:
    assert load_builtin() is model
    assert len(model.version) == 12


def test_a_path_is_refused() -> None:
    with pytest.raises(InputError, match="made by code"):
        load_builtin("head.npz")


@pytest.mark.parametrize("name", PUBLISHED)
def test_mean_is_the_published_mean(model: MorphableModel, name: str) -> None:
    assert rulers(model, model.mean)[name] == pytest.approx(PUBLISHED[name][0], abs=1.0)


@pytest.mark.parametrize("name", PUBLISHED)
def test_spread_is_the_published_sd(model: MorphableModel, name: str) -> None:
    change = [
        rulers(model, model.mean + 0.5 * mode)[name] - rulers(model, model.mean - 0.5 * mode)[name]
        for mode in model.identity.astype(float)
    ]
    assert np.sqrt(np.square(change).sum()) == pytest.approx(PUBLISHED[name][1], rel=0.10)


def test_mean_is_symmetric(model: MorphableModel) -> None:
    from scipy.spatial import cKDTree

    distance, _ = cKDTree(model.mean).query(model.mean * [-1, 1, 1])
    assert distance.max() < 1e-6
    points = model.landmarks(model.mean)
    np.testing.assert_allclose(points[RIGHT_TO_LEFT] * [-1, 1, 1], points, atol=1e-6)


def test_surface_is_closed_but_for_the_neck(model: MorphableModel) -> None:
    edges = model.triangles[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)
    directed = {tuple(edge) for edge in edges.tolist()}
    assert len(directed) == len(edges), "an edge is walked twice in the same direction"
    border = np.array([edge for edge in directed if edge[::-1] not in directed])
    assert len(np.unique(border[:, 0])) == len(border)
    assert (model.mean[border.ravel(), 1] < -140).all(), "a hole above the neck"
    euler = len(model.mean) - (len(edges) + len(border)) // 2 + len(model.triangles)
    assert euler == 1, "not a disc"


def test_triangles_look_outwards_and_none_is_degenerate(model: MorphableModel) -> None:
    n = normals(model.mean, model.triangles)
    area = np.linalg.norm(n, axis=1) / 2
    assert area.min() > 1e-4
    centre = model.mean[model.triangles].mean(1)
    volume = (n * centre).sum() / 6
    assert 3.5e6 < volume < 6.5e6, "mm³, a head with its neck"
    front = (centre[:, 2] > 95) & (np.abs(centre[:, 0]) < 40) & (centre[:, 1] > 10)
    assert (n[front, 2] > 0).all()


@pytest.mark.parametrize("amount", [-2.5, 2.5])
def test_no_mode_turns_a_triangle_over(model: MorphableModel, amount: float) -> None:
    start, stop = model.regions["face_skin"]
    skin = model.triangles[((model.triangles >= start) & (model.triangles < stop)).all(1)]
    before = normals(model.mean, skin)
    before /= np.linalg.norm(before, axis=1, keepdims=True)
    for number, mode in enumerate(model.identity):
        after = normals(model.mean + amount * mode, skin)
        after /= np.linalg.norm(after, axis=1, keepdims=True)
        assert (before * after).sum(1).min() > 0, f"identity mode {number}"


def test_landmarks_lie_where_anatomy_says(model: MorphableModel) -> None:
    p = model.landmarks(model.mean)
    x, y, z = p.T
    assert (np.diff(x[:17]) > 0).all()
    assert (np.diff(x[17:27]) > 0).all()
    assert y[8] == y[:17].min()
    assert z[30] == z.max(), "the tip of the nose leads"
    assert model.mean[:, 2].max() - z[30] < 1.5
    assert (np.diff(y[27:31]) < 0).all()
    assert (np.diff(x[31:36]) > 0).all()
    assert x[36] < x[39] < 0 < x[42] < x[45]
    assert z[39] > z[36]
    for upper, lower in ((37, 41), (38, 40), (43, 47), (44, 46)):
        assert 7 < y[upper] - y[lower] < 13
    assert y[51] > y[62] > y[66] > y[57]
    assert y[33] > y[51]
    assert (np.diff(x[48:55]) > 0).all()
    assert (y[17:27] > y[36:48].max()).all()


def test_expressions_do_what_they_say(model: MorphableModel) -> None:
    rest = model.landmarks(model.mean)

    def with_one(name: str) -> np.ndarray:
        coefficients = np.zeros(len(model.expression_names))
        coefficients[model.expression_names.index(name)] = 1
        return model.landmarks(model.decode(None, coefficients))

    opened = with_one("jaw_open")
    assert opened[62, 1] - opened[66, 1] > 12
    assert opened[8, 1] < rest[8, 1] - 15
    np.testing.assert_allclose(opened[17:48], rest[17:48], atol=0.5)
    smile = with_one("smile_left")
    assert smile[54, 1] > rest[54, 1] + 3
    assert smile[54, 0] > rest[54, 0] + 3
    np.testing.assert_allclose(smile[48], rest[48], atol=0.2)
    blink = with_one("blink_right")
    assert (blink[[37, 38], 1] - blink[[41, 40], 1] < 1.5).all()
    np.testing.assert_allclose(blink[42:48], rest[42:48], atol=1e-3)
    assert (with_one("brow_inner_up")[[21, 22], 1] > rest[[21, 22], 1] + 3).all()


def test_texture_layout_has_no_overlap(model: MorphableModel) -> None:
    a, b, c = (model.uv[model.triangles_uv[:, k]] for k in range(3))
    doubled = (b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]
    assert (doubled > 0).all(), "a triangle lies the wrong way round"
    start, stop = model.regions["face"]
    face = ((model.triangles >= start) & (model.triangles < stop)).all(1)
    assert doubled[face].sum() / 2 > 0.25, "the face gets a good part of the texture"
    assert doubled.sum() / 2 <= 1.0
