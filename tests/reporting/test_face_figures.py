"""What many reconstructions show: every photo counted, missing values left out, wild ones said."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from crimeface_lib.core.errors import SchemaError, ShapeError
from crimeface_lib.reporting import (
    contact_sheet,
    cumulative_error_figure,
    error_by_pose_figure,
    landmark_overlay,
    view_gain_figure,
)
from crimeface_lib.reporting.style import figure_png

GAIN = pd.DataFrame({
    "photos": [0, 1, 2, 3], "held_out": [4.0, 3.0, 2.5, np.nan], "held_out_low": [4.0, 2.8, 2.4, np.nan],
    "held_out_high": [4.0, 3.3, 2.6, np.nan], "vertex_sd": [np.nan, 1.3, 1.0, 0.9],
})  # fmt: skip


def test_gain_leaves_out_what_is_not_known():
    figure = view_gain_figure(GAIN)
    held_out, sure = (axes.lines[0] for axes in figure.axes)
    assert held_out.get_xdata().tolist() == [0, 1, 2]
    assert sure.get_xdata().tolist() == [1, 2, 3]
    assert all(axes.get_ylim()[0] == 0 for axes in figure.axes)
    assert figure_png(figure, dpi=40)
    with pytest.raises(SchemaError, match="vertex_sd"):
        view_gain_figure(GAIN.drop(columns="vertex_sd"))


def test_failed_photos_keep_the_curve_below_one_hundred_percent():
    errors = np.append(np.linspace(1, 4, 98), 90.0)
    figure = cumulative_error_figure(errors, failed=1, label="error, %")
    axes = figure.axes[0]
    assert axes.lines[0].get_ydata().max() == 99
    assert axes.get_ylim()[1] >= 100
    assert axes.get_xlim()[1] < 90
    assert "1 beyond the right edge" in axes.get_title(loc="left")
    assert "1 not" in axes.get_title(loc="left")
    with pytest.raises((ShapeError, ValueError)):
        cumulative_error_figure([], label="error")


def test_contact_sheet_holds_every_picture_with_its_words():
    pictures = [np.full((20, 20 + k, 3), 40 * k, np.uint8) for k in range(6)]
    figure = contact_sheet(pictures, [f"photo {k}\nworst" for k in range(6)], columns=4)
    shown = [axes for axes in figure.axes if axes.images]
    assert [axes.texts[0].get_text() for axes in shown] == [f"photo {k}\nworst" for k in range(6)]
    assert figure_png(figure, dpi=40)
    with pytest.raises(ShapeError, match="expected one each"):
        contact_sheet(pictures, ["one"])


def test_overlay_draws_both_and_takes_missing_landmarks(astronaut):
    rng = np.random.default_rng(0)
    found = rng.uniform([180, 60], [280, 180], (68, 2))
    plain = landmark_overlay(astronaut, found, found + 3)
    found[3] = np.nan
    assert landmark_overlay(astronaut, found, np.nan_to_num(found, nan=200.0)).shape == (280, 280, 3)
    orange, blue = (np.abs(plain.astype(int) - colour).sum(-1).min() for colour in ([230, 159, 0], [0, 114, 178]))
    assert max(orange, blue) < 20


def test_pose_figure_counts_the_photos_of_each_ten_degrees():
    figure = error_by_pose_figure([-5, 3, 12, 47], [1.0, 3.0, 2.0, 6.0])
    line = figure.axes[0].lines[0]
    assert line.get_xdata().tolist() == [5, 15, 45]
    assert line.get_ydata().tolist() == [2.0, 2.0, 6.0]
    with pytest.raises(ShapeError, match="expected one each"):
        error_by_pose_figure([1.0], [1.0, 2.0])
