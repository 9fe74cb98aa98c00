"""A group below the minimum is named and has no point; the infinite and the zero are drawn as what they are."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import PathCollection

from crimeface_lib.core.errors import SchemaError
from crimeface_lib.reporting import bias_rates_figure, bias_trend_figure
from crimeface_lib.reporting.style import figure_png


def rates():
    nan = np.nan
    rows = [
        ("sex", "x", 100, 500, 0.01, 0.005, 0.02, 0.05, 0.02, 0.1),
        ("sex", "y", 100, 500, 0.0, 0.0, 0.006, 0.1, 0.05, 0.2),
        ("sex", "x × y", 0, 500, 0.001, 0.0005, 0.01, nan, nan, nan),
        ("sex", "z", 4, 7, nan, nan, nan, nan, nan, nan),
    ]
    ends = ["FMR", "FMR_low", "FMR_high", "FNMR", "FNMR_low", "FNMR_high"]
    return pd.DataFrame(rows, columns=["attribute", "group", "mated", "nonmated", *ends])


def words(figure):
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def test_small_groups_are_named_and_have_no_point():
    figure = bias_rates_figure(rates())
    said = words(figure)
    assert "too few: n = 7" in said
    assert "too few: n = 4" in said
    assert "no such pair" in said
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["x", "y", "z", "x × y"]
    points = [found for found in figure.axes[1].collections if isinstance(found, PathCollection)]
    assert len(points) == 2, "two groups have an FNMR"
    assert figure_png(figure, dpi=40).startswith(b"\x89PNG")


def test_nothing_known_is_still_a_figure():
    unknown = rates().tail(1)
    assert "too few: n = 7" in words(bias_rates_figure(unknown))
    with pytest.raises(SchemaError, match="no group of age"):
        bias_rates_figure(rates(), attribute="age")
    with pytest.raises(SchemaError, match="lack FMR"):
        bias_rates_figure(rates().drop(columns="FMR"))


def trend(**changes):
    columns = {
        "at": pd.date_range("2026-01-01", periods=3, freq="MS", tz="UTC"), "measure": "garbe", "attribute": "sex",
        "model": "dlib", "version": ["1", "1", "2"], "value": [0.1, 0.2, np.inf], "low": [0.0, 0.1, 0.2],
        "high": [0.2, 0.3, np.inf], "band_low": [np.nan, 0, 0], "band_high": [np.nan, 0.3, 0.3],
        "state": ["no band", "within", "outside"],
    }  # fmt: skip
    return pd.DataFrame({**columns, **changes})


def test_the_trend_shows_band_versions_and_the_infinite():
    figure = bias_trend_figure(trend())
    (axes,) = figure.axes
    assert {"∞", "version 2"} <= set(words(figure))
    heights = [line.get_ydata()[-1] for line in axes.lines]
    assert np.isfinite(heights).all()
    labels = {text.get_text() for text in figure.legends[0].get_texts()}
    assert labels == {"approved band", "within it, or no band", "outside its band"}
    assert figure_png(bias_trend_figure(trend().head(1)), dpi=40).startswith(b"\x89PNG")


@pytest.mark.parametrize("rows", [trend().head(0), trend(measure=["garbe", "fdr", "fdr"]), trend(model=list("aab"))])
def test_a_trend_is_of_one_thing(rows):
    with pytest.raises(SchemaError, match="expected one"):
        bias_trend_figure(rows)
