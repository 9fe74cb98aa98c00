"""Figures show what they are given: gaps stay gaps, white stays white, dark means more also in grey."""

from __future__ import annotations

import io
from itertools import pairwise

import geopandas as gpd
import matplotlib
import numpy as np
import pandas as pd
import pytest
import shapely
from PIL import Image

from crimeface_lib.core.errors import InputError, SchemaError, ShapeError
from crimeface_lib.reporting import (
    completeness_figure,
    crime_map,
    face_sheet,
    house_style,
    monthly_series_figure,
    pai_figure,
    score_figure,
    uncertainty_sheet,
)
from crimeface_lib.reporting.maps import value_classes
from crimeface_lib.reporting.style import figure_png, sequential


def _pixels(figure) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(figure_png(figure, dpi=60))).convert("RGB"))


def _grid(side: int = 10, cell: float = 250.0) -> gpd.GeoDataFrame:
    boxes = [shapely.box(x, y, x + cell, y + cell) for y in cell * np.arange(side) for x in cell * np.arange(side)]
    return gpd.GeoDataFrame(geometry=boxes, crs=27700)


MAP = {"title": "Burglary", "legend": "burglaries per cell", "attribution": "OGL v3.0", "caveat": "Snap points."}


def test_style_leaves_no_trace(astronaut):
    before = dict(matplotlib.rcParams)
    with house_style():
        pass
    figure_png(face_sheet(astronaut, [[200, 100], [250, 150]], {}), dpi=30)
    assert dict(matplotlib.rcParams) == before


def test_sequential_scale_darkens_steadily():
    rgb = sequential()(np.linspace(0, 1, 101))[:, :3]
    grey = rgb @ [0.2126, 0.7152, 0.0722]
    assert np.all(np.diff(grey) < 0)
    assert grey[0] > 0.9
    assert grey[-1] < 0.15


def test_figure_shows_itself_in_a_notebook(astronaut):
    data, about = face_sheet(astronaut, [[200, 100], [250, 150]], {"front": astronaut})._repr_mimebundle_()
    assert data["image/png"].startswith("iVBOR")
    assert about["image/png"]["alt"].startswith("Photo with landmarks")


def test_face_sheet_crops_around_the_face(astronaut):
    points = np.array([[190, 70], [250, 70], [220, 160.0]])
    close = face_sheet(astronaut, points, {}, landmark_sd=[1, 2, 3])
    assert close.axes[0].images[0].get_array().shape[0] < 200
    assert face_sheet(astronaut, points, {}, crop=False).axes[0].images[0].get_array().shape[0] == 512
    with pytest.raises(ShapeError, match="inside the 512 × 512 photo"):
        face_sheet(astronaut, points + 2000, {})
    with pytest.raises(ShapeError, match="expected uint8"):
        face_sheet(astronaut / 255, points, {})


def test_uncertainty_is_coloured_by_its_limits_and_white_where_unknown():
    field = np.array([[0.0, 4.0], [9.0, np.nan]])
    image = uncertainty_sheet({"front": field}, limits=(0, 4)).axes[0].images[0].get_array()
    top = matplotlib.colormaps["cividis"](1.0, bytes=True)[:3]
    assert image[0, 1].tolist() == image[1, 0].tolist() == list(top)
    assert image[1, 1].tolist() == [255, 255, 255]
    with pytest.raises(ShapeError, match="low < high"):
        uncertainty_sheet({"front": field}, limits=(4, 4))


def test_score_figure_draws_each_interval_and_hollow_where_clamped():
    rng = np.random.default_rng(0)
    figure = score_figure(
        ["1 · C-1", "2 · C-2"], [2.0, -1.0], [1.5, -1.5], [2.5, -0.2], scores=[0.7, 0.2],
        mated=rng.normal(0.7, 0.1, 50), nonmated=rng.normal(0.2, 0.1, 50), clamped=[True, False],
    )  # fmt: skip
    segments = figure.axes[1].collections[0].get_segments()
    assert [s[:, 0].tolist() for s in segments] == [[1.5, 2.5], [-1.5, -0.2]]
    assert len(figure.legends) == 1
    with pytest.raises(ShapeError, match="expected 2"):
        score_figure(["a", "b"], [1.0], [0.0], [2.0])


def test_a_missing_month_is_a_gap_and_not_a_zero():
    months = pd.period_range("2019-01", "2019-06", freq="M").delete(2)
    figure = monthly_series_figure(pd.DataFrame({"burglary": [5.0, 6, 7, 8, 9]}, index=months))
    drawn = figure.axes[0].lines[0].get_ydata()
    assert np.isnan(drawn[2])
    assert len(drawn) == 6
    assert "no data" in [t.get_text() for t in figure.legends[0].get_texts()]


def test_forecast_band_extends_the_months():
    observed = pd.DataFrame({"all": [5.0, 6]}, index=["2019-01", "2019-02"])
    band = pd.DataFrame({"low": [4.0], "high": [8.0]}, index=["2019-03"])
    figure = monthly_series_figure(observed, interval=band)
    assert figure.axes[0].get_xlim() == (-0.5, 2.5)
    assert [t.get_text() for t in figure.legends[0].get_texts()] == ["forecast interval", "all"]


def test_completeness_marks_each_absent_month():
    matrix = pd.DataFrame(
        [[True, False, True], [True, True, False]], index=["a", "b"], columns=["2019-06", "2019-07", "2019-08"]
    )
    figure = completeness_figure(matrix)
    crosses = figure.axes[0].collections[1].get_offsets()
    assert crosses.tolist() == [[1, 0], [2, 1]]
    assert [t.get_text() for t in figure.axes[0].get_xticklabels()] == ["J", "J", "A"]
    with pytest.raises(SchemaError, match="expected months"):
        completeness_figure(matrix.set_axis(["x", "y", "z"], axis=1))


def test_map_leaves_no_data_white_and_says_so():
    cells = _grid()
    values = np.arange(100.0)
    values[50:] = np.nan
    figure = crime_map(cells, values, **MAP, outline=cells.union_all(), hotspots=values > 45)
    labels = [t.get_text() for t in figure.legends[0].get_texts()]
    assert labels[:2] == ["no data", "0"]
    assert labels[-1] == "hotspot"
    assert figure.axes[0].get_children()
    facing = [tuple(c.get_facecolor()[0][:3]) for c in figure.axes[0].collections if len(c.get_paths()) == 50]
    assert facing == [(1.0, 1.0, 1.0)]
    assert "OGL v3.0" in figure._supxlabel.get_text()


def test_map_bands_hold_each_value_once():
    counts = np.array([1, 1, 1, 2, 2, 3, 4, 8, 9, 30, 0, 0])
    cells = _grid(4).iloc[: len(counts)]
    figure = crime_map(cells, counts, **MAP)
    drawn = sum(len(c.get_paths()) for c in figure.axes[0].collections)
    assert drawn == len(counts)
    bands = [t.get_text() for t in figure.legends[0].get_texts()][1:]
    ends = [list(map(int, b.split(" – "))) for b in bands]
    assert all(a[-1] + 1 == b[0] for a, b in pairwise(ends))
    assert ends[0][0] == 1
    assert ends[-1][-1] == 30


@pytest.mark.parametrize("values", [np.zeros(9), np.full(9, np.nan), np.full(9, 0.3), np.ones(9)])
def test_map_of_one_value_is_drawn(values):
    assert _pixels(crime_map(_grid(3), values, **MAP)).std() > 0
    assert len(value_classes(values)) <= 1


def test_map_refuses_degrees_negatives_and_other_lengths():
    cells = _grid(3)
    with pytest.raises(InputError, match="in degrees, expected metres"):
        crime_map(cells.to_crs(4326), np.zeros(9), **MAP)
    with pytest.raises(InputError, match="amounts of 0 or more"):
        crime_map(cells, np.full(9, -1.0), **MAP)
    with pytest.raises(ShapeError, match="hotspots"):
        crime_map(cells, np.zeros(9), **MAP, hotspots=[True])


def test_pai_figure_puts_the_baseline_first_and_hollow():
    rows = pd.DataFrame(
        [
            {"model": m, "area": a, "pai": p, "pai_low": p - 1, "pai_high": p + 1}
            for m, p in (("kde", 5), ("decayed_counts", 6))
            for a in (0.01, 0.1)
        ]
    )
    figure = pai_figure(rows, names={"decayed_counts": "decayed counts"})
    assert [t.get_text() for t in figure.legends[0].get_texts()] == ["decayed counts (baseline)", "kde"]
    assert [t.get_text() for t in figure.axes[0].get_xticklabels()] == ["1%", "10%"]
    with pytest.raises(SchemaError, match="baseline 'glm'"):
        pai_figure(rows, baseline="glm")
    with pytest.raises(SchemaError, match=r"missing \['pai_low'\]"):
        pai_figure(rows.drop(columns="pai_low"))
