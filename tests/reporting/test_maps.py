"""Maps of hotspots and profiles: each class said, told apart in grey and by the colour-blind, borders respected."""

from __future__ import annotations

import io

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb
from PIL import Image
from shapely.geometry import box

from crimeface_lib.core.errors import InputError
from crimeface_lib.crime import (
    aoristic,
    geographic_profile,
    getis_ord,
    hotspot_sensitivity,
    kde,
    local_moran,
    make_grid,
    read_points,
)
from crimeface_lib.reporting import aoristic_figure, crime_map, hotspot_map, profile_map
from crimeface_lib.reporting.place_maps import _hot_and_cold, _kinds, _levels, _stability
from crimeface_lib.reporting.style import figure_png

SAYS = {"title": "Burglary", "attribution": "OGL v3.0", "caveat": "Snap points."}


def events(xy):
    table = pd.DataFrame({"x": xy[:, 0], "y": xy[:, 1], "t": pd.Timestamp("2024-01-01")})
    return read_points(table, time="t", x="x", y="y", crs="EPSG:27700")


@pytest.fixture(scope="module")
def town():
    rng = np.random.default_rng(0)
    grid = make_grid(box(0, 0, 6000, 5000), cell=250.0, crs="EPSG:27700")
    found = events(np.vstack([rng.normal([2000, 2000], 400, (400, 2)), rng.uniform([0, 0], [6000, 5000], (600, 2))]))
    return found, grid, grid.count(found)


@pytest.fixture(scope="module")
def sensitivity(town):
    return hotspot_sensitivity(town[0], town[1], draws=2, rng=0)


def drawn(figure):
    return np.asarray(Image.open(io.BytesIO(figure_png(figure, dpi=50))).convert("RGB"))


def legends(figure):
    found = [*figure.legends, *(axes.get_legend() for axes in figure.axes if axes.get_legend())]
    return [text.get_text() for legend in found for text in legend.get_texts()]


def test_hotspots_stand_beside_their_stability(town, sensitivity):
    found, grid, counts = town
    figure = hotspot_map(getis_ord(counts, grid), sensitivity=sensitivity, **SAYS)
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["Burglary", "Does it stay a hotspot?"]
    for text in ("hot, 1%", "hot, 5%", "cold, 5%", "90% or more", "never", "hotspot in the map beside it"):
        assert text in legends(figure)
    assert figure._supxlabel.get_text() == "Snap points.\nOGL v3.0"
    assert figure.get_size_inches()[0] <= 180 / 25.4
    assert drawn(figure).std() > 10
    other = make_grid(box(0, 0, 6000, 6000), cell=250.0, crs="EPSG:27700")
    with pytest.raises(InputError, match="on another grid"):
        hotspot_map(getis_ord(other.count(found), other), sensitivity=sensitivity, **SAYS)


def test_every_cell_is_in_one_class(town, sensitivity):
    found, grid, counts = town
    for classes in (
        _hot_and_cold(getis_ord(counts, grid))[1], _kinds(local_moran(counts, grid))[1],
        _levels(kde(found, grid, bandwidth=400.0))[1], _stability(sensitivity).classes,
    ):  # fmt: skip
        assert (np.sum([part.cells for part in classes], axis=0) == 1).all()


#: What is seen without green- or red-sensitive cones (Machado, Oliveira & Fernandes 2009, severity 1), linear RGB.
BLIND = {
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "grey": np.tile([0.2126, 0.7152, 0.0722], (3, 1)),
}  # fmt: skip


@pytest.mark.parametrize("sight", BLIND)
def test_classes_stay_apart_in_grey_and_without_red_or_green(town, sensitivity, sight):
    """Two classes differ by 0.06 in perceived lightness at least, or by their hatching."""
    found, grid, counts = town
    for classes in (
        _hot_and_cold(getis_ord(counts, grid))[1], _kinds(local_moran(counts, grid))[1],
        _levels(kde(found, grid, bandwidth=400.0))[1], _stability(sensitivity).classes,
    ):  # fmt: skip
        linear = np.array([to_rgb(part.colour) for part in classes]) ** 2.2
        seen = np.clip(linear @ np.array(BLIND[sight]).T, 0, 1) ** (1 / 2.2)
        for i in range(len(classes)):
            for j in range(i):
                apart = np.linalg.norm(seen[i] - seen[j]) / np.sqrt(3)
                assert apart > 0.06 or classes[i].hatch != classes[j].hatch, (classes[i].label, classes[j].label)


def test_a_profile_shows_areas_and_cells_but_no_place(town):
    grid = town[1]
    xy = np.random.default_rng(1).normal([2600, 2600], 500, (7, 2))
    for method, text in (("bayes", "smallest area with 50%"), ("rossmo", "first 1% of the area")):
        figure = profile_map(geographic_profile(events(xy), grid, method=method), **SAYS)
        assert text in legends(figure)
        assert "names no person and no address" in figure._supxlabel.get_text()
        dots = np.column_stack(figure.axes[0].lines[0].get_data())
        assert (((dots - grid.origin) / grid.cell) % 1 == 0.5).all()


def test_borders_cut_cells_off_and_what_lies_beyond_is_said(town):
    grid = town[1]
    west = gpd.GeoDataFrame(geometry=[box(0, 0, 1600, 5000), box(1600, 0, 3100, 5000)], crs="EPSG:27700")
    figure = crime_map(grid.cells, town[2], legend="n", outline=west, **SAYS)
    assert "cells beyond the borders are not shown" in figure._supxlabel.get_text()
    clipped = [drawn_.get_clip_path() is not None for drawn_ in figure.axes[0].collections]
    assert any(clipped)
    assert (drawn(figure)[:, :, 2] < 250).any()
    with pytest.raises(InputError, match="outline: got CRS WGS 84"):
        crime_map(grid.cells, town[2], legend="n", outline=west.to_crs(4326), **SAYS)


@pytest.mark.parametrize("shape", [(250, 250), (500, 20_000), (20_000, 500)])
def test_one_cell_and_very_tall_or_wide_areas_are_drawn(shape):
    grid = make_grid(box(0, 0, *shape), cell=250.0, crs="EPSG:27700")
    inside = events(grid.centres()[:1])
    assert drawn(crime_map(grid.cells, grid.count(inside), legend="n", **SAYS)).std() > 0
    assert drawn(hotspot_map(kde(inside, grid, bandwidth=300.0), **SAYS)).std() > 0
    if len(grid) > 5:
        figure = hotspot_map(
            getis_ord(grid.count(inside), grid), sensitivity=hotspot_sensitivity(inside, grid, draws=0, cells=(125.0,)),
            **SAYS,
        )  # fmt: skip
        assert len(figure.axes) == 2
        assert drawn(figure).std() > 0


def test_no_cells_are_refused(town):
    with pytest.raises(InputError, match="cells: got none"):
        crime_map(town[1].cells[:0], [], legend="n", **SAYS)


def test_chosen_cells_are_called_so(town):
    figure = crime_map(town[1].cells, town[2], legend="n", hotspots=town[2] > 5, ringed_as="chosen cells", **SAYS)
    assert legends(figure)[-1] == "chosen cells"


def test_hours_and_weekdays_of_spans():
    table = pd.DataFrame({"time": ["2024-03-04 20:00"] * 9, "end": ["2024-03-05 08:00"] * 9})
    figure = aoristic_figure(aoristic(table), caveat="Uniform over each span.")
    image = next(axes.images[0] for axes in figure.axes if axes.images).get_array()
    assert image.shape == (7, 24)
    assert image[0, 20:].tolist() == pytest.approx([0.75] * 4)
    assert "Uniform" in figure._supxlabel.get_text()
    assert drawn(figure).std() > 5
    with pytest.raises(InputError, match="by='week'"):
        aoristic_figure(aoristic(table, by="hour"), caveat="")


def test_a_map_says_what_it_can_not(town):
    with pytest.raises(InputError, match="caveat: got nothing"):
        crime_map(town[1].cells, town[2], legend="n", **(SAYS | {"caveat": " "}))
