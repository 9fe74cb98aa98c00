"""A further photo of the same person helps; one of somebody else is noticed."""

from __future__ import annotations

import numpy as np
import pytest

from crimeface_lib.core.errors import InputError
from crimeface_lib.reconstruction import Camera, View, gain_of_views, load_morphable_model


@pytest.fixture(scope="module")
def model():
    return load_morphable_model("builtin")


def taken(model, seed, count, noise=0.3):
    """Photos of a drawn person, 512 px, from several sides, with little noise."""
    gen = np.random.default_rng(seed)
    vertices = model.decode(1.5 * gen.standard_normal(len(model.identity)))
    face = vertices[slice(*model.regions["face"])]
    views = []
    for yaw in (0, -30, 30, -15)[:count]:
        camera = Camera.look((yaw + gen.uniform(-4, 4), gen.uniform(-8, 8)), face, size=512, fill=0.62, fov=22)
        points = camera.project(model.landmarks(vertices))[0] + gen.normal(0, noise, (68, 2))
        views.append(View(points, (512, 512), 1.0))
    return views


def test_more_photos_explain_unseen_ones_better_and_make_the_shape_surer(model):
    gain = gain_of_views(model, taken(model, 1, 3), rng=0)
    table = gain.table.set_index("photos")
    assert "surface sd, mm" in gain.to_frame()
    assert table.index.tolist() == [0, 1, 2, 3]
    assert table["sets"].tolist() == [1, 3, 3, 1]
    assert table.loc[0, "held_out"] > table.loc[1, "held_out"] > table.loc[2, "held_out"]
    assert table["vertex_sd"].dropna().is_monotonic_decreasing
    assert table["from_all"].is_monotonic_decreasing
    assert table.loc[3, "from_all"] == pytest.approx(0, abs=1e-9)
    assert np.isnan(table.loc[3, "held_out"])
    assert "average face" in gain.in_words()
    assert not any("one person" in text for text in gain.warnings)


def test_a_photo_of_somebody_else_is_noticed(model):
    strangers = [taken(model, seed, 1)[0] for seed in (2, 3, 4)]
    gain = gain_of_views(model, strangers, rng=0)
    assert any("may not show one person" in text for text in gain.warnings)


def test_sets_bound_the_work_and_one_photo_is_too_few(model):
    views = taken(model, 1, 4)
    assert gain_of_views(model, views, sets=2, rng=0).table["sets"].tolist() == [1, 2, 2, 2, 1]
    with pytest.raises(InputError, match="at least 2 photos"):
        gain_of_views(model, views[:1])
