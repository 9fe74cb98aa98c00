"""The crime map without a server, against counts made by pandas alone."""

from __future__ import annotations

import re
import shutil

import numpy as np
import pandas as pd
import pytest

from crimeface_lib.apps import CrimeMap, Session, load_app_events
from crimeface_lib.apps.map_data import AppEvents, CellMonths
from crimeface_lib.apps.map_layers import scale_top
from crimeface_lib.apps.map_view import EVERYWHERE, MapView
from crimeface_lib.core.errors import InputError
from crimeface_lib.core.settings import Settings
from crimeface_lib.crime import getis_ord, kde
from crimeface_lib.workflow.apps_config import CrimeMapSection

CELL = 500.0


@pytest.fixture(scope="module")
def view(events, tmp_path_factory) -> MapView:
    session = Session(settings=Settings(home=tmp_path_factory.mktemp("home")), environ={})
    return MapView(CellMonths(AppEvents(events, "0" * 64), cell=CELL), config=CrimeMapSection(), session=session)


@pytest.fixture(autouse=True)
def start_anew(view):
    view.by_month.value, view.area.value = False, EVERYWHERE
    view.months.value = (0, len(view.events.months) - 1)
    view.type.value, view.layer.value = "All types", "counts"


@pytest.fixture(scope="module")
def gap(events) -> int:
    """The month that the source doesn't have."""
    (month,) = np.flatnonzero(events.completeness.isna().any().to_numpy())
    return int(month)


def shown(view) -> np.ndarray:
    """The values drawn, in the order of the grid's cells."""
    return np.asarray(view.map.figure.data[0].z)[view.grid.row, view.grid.column]


def of_months(events, first: int, last: int, kind: str | None = None) -> pd.DataFrame:
    period = events.frame["month"].dt.to_period("M")
    keep = (period >= events.months[first]) & (period <= events.months[last])
    return events.frame[keep & ((events.frame["type"] == kind) if kind else True)]


def counted(view, frame: pd.DataFrame) -> np.ndarray:
    """Events per cell, from the coordinates alone."""
    located = frame[frame.geometry.notna()]
    place = np.floor((np.column_stack([located.geometry.x, located.geometry.y]) - view.grid.origin) / CELL)
    counts = pd.Series(map(tuple, place.astype(int))).value_counts()
    return np.array([counts.get((c, r), 0) for r, c in zip(view.grid.row, view.grid.column, strict=True)])


def plain(text: str) -> str:
    return re.sub(r"<[^>]+>", "", text).replace("\u2009", "").replace(",", "")


def test_the_map_starts_whole(view, events):
    fresh = MapView(view.data, config=view.config, session=view.session)
    assert np.nanmax(fresh.map.figure.data[0].z) > 0
    assert "per km²" in fresh.map.figure.data[0].colorbar.title.text
    assert not fresh.map.figure.layout.shapes[0].visible


def test_counts_of_a_type_and_months_agree_with_the_table(view, events):
    view.type.value, view.months.value = "Burglary", (2, 5)
    chosen = of_months(events, 2, 5, "Burglary")
    np.testing.assert_array_equal(shown(view), counted(view, chosen))
    assert f"{len(chosen)}events" in plain(view.facts.value)


def test_density_is_the_kernel_estimate_and_sums_to_the_events_on_the_map(view, events):
    view.layer.value = "density"
    np.testing.assert_allclose(shown(view), kde(events, view.grid, bandwidth=300.0).values, rtol=1e-5, atol=1e-4)
    assert shown(view).sum() * 0.25 == pytest.approx(events.frame.geometry.notna().sum(), rel=0.02)


def test_hotspots_are_those_of_the_statistic(view, events):
    view.layer.value = "hotspots"
    found = getis_ord(view.grid.count(events), view.grid)
    np.testing.assert_array_equal(shown(view) > 0, found.hot)
    assert f"{int(found.hot.sum())} of {len(view.grid)}" in view.note.value


def test_points_are_snap_points_with_how_many_events_each(view, events):
    view.layer.value, view.type.value = "points", "Shoplifting"
    located = of_months(events, 0, len(events.months) - 1, "Shoplifting")
    located = located[located.geometry.notna()]
    expected = pd.Series(zip(located.geometry.x.round(1), located.geometry.y.round(1), strict=True)).value_counts()
    circles = view.map.figure.data[2]
    drawn = dict(
        zip(zip(np.round(circles.x, 1), np.round(circles.y, 1), strict=True), circles.marker.size, strict=True)
    )
    assert drawn == expected.to_dict()
    assert f"the largest {expected.max()}" in view.note.value
    assert not view.map.figure.data[0].showscale


def test_an_area_shows_its_cells_and_counts_its_events_only(view, events):
    name = max(view.areas, key=lambda area: view.areas[area].sum())
    view.area.value = name
    inside = view.areas[name]
    assert 0 < inside.sum() < len(view.grid)
    expected = counted(view, events.frame)
    np.testing.assert_array_equal(shown(view)[inside], expected[inside])
    assert np.isnan(shown(view)[~inside]).all()
    assert f"{expected[inside].sum()}eventsin {name}" in plain(view.facts.value)
    west, east = view.map.figure.layout.xaxis.range
    centres = view.grid.centres()[inside, 0]
    assert (west, east) == (centres.min() - 1.5 * CELL, centres.max() + 1.5 * CELL)
    assert all(inside[cell] for _, cell in view.highest.options)


def test_months_one_by_one_compare_on_one_scale(view, events, gap):
    view.months.value = (1, 9)
    view.by_month.value = True
    assert [label for label, _ in view.month.options] == [f"{m:%b %Y}" for m in events.months[1:10]]
    tops = set()
    for month in {1, 4, 9} - {gap}:
        view.month.value = month
        np.testing.assert_array_equal(shown(view), counted(view, of_months(events, month, month)))
        tops.add(view.map.figure.data[0].zmax)
        assert f"{events.months[month]:%b %Y}" in view.note.value
    every = [counted(view, of_months(events, m, m)) for m in range(1, 10) if m != gap]
    assert tops == {scale_top(np.concatenate(every).astype(float))}


def test_a_month_that_was_not_published_is_a_gap_on_every_layer(view, events, gap):
    view.by_month.value = True
    view.month.value = gap
    for layer in ("counts", "density", "hotspots", "points"):
        view.layer.value = layer
        assert np.isnan(shown(view)).all(), layer
        assert "a gap, not a time without crime" in view.note.value
        assert view.map.figure.layout.annotations[0].visible
    assert "?events" in plain(view.facts.value)
    assert "0 of 1 month published" in view.facts.value
    view.by_month.value = False
    assert not view.map.figure.layout.annotations[0].visible
    assert f"{len(events.months) - 1} of {len(events.months)} months published" in view.facts.value
    assert f"{events.months[gap]:%b %Y}" in view.facts.value


def test_play_steps_through_the_period_and_ends_there(view):
    view.months.value = (2, 6)
    view.by_month.value = True
    view.play.click()
    assert view.clock.playing
    assert view.play.description == "Pause"
    assert (view.clock.min, view.clock.max) == (0, 4)
    view.clock.value = 3  # as the browser's clock does
    assert view.month.value == 5
    view.month.value = 4  # whoever moves the slider goes on from there
    assert view.clock.value == 2
    view.months.value = (3, 6)
    assert not view.clock.playing
    assert view.month.value == 4
    assert view.clock.value == 1


def test_a_click_shows_the_history_of_that_cell(view, events):
    expected = counted(view, events.frame)
    cell, most = int(expected.argmax()), int(expected.max())
    x, y = view.grid.centres()[cell]

    class Points:
        xs, ys = [x], [y]

    view.map._on_click(Points, view.show_cell)
    assert f"{most} events" in view.history.value.replace("\u2009", "")
    assert "data:image/png" in view.history.value
    assert view.highest.value == cell
    ring = view.map.figure.layout.shapes[0]
    assert ring.visible
    assert (ring.x0, ring.y1) == (x - 250, y + 250)
    numbers = [int(n) for n in re.findall(r'class="num">(\d+)</td>', view.history.value)]
    assert sum(numbers) == most
    assert 0 not in numbers


def test_the_highest_cells_can_be_chosen_from_a_list(view, events):
    expected = counted(view, events.frame)
    cells = [cell for _, cell in view.highest.options]
    np.testing.assert_array_equal(expected[cells], np.sort(expected)[::-1][:10])
    view.highest.value = cells[3]
    assert view.cell == cells[3]
    frame = events.frame.iloc[view.data.rows(cells[3])]
    assert frame["lsoa_name"].mode()[0] in view.history.value
    with pytest.raises(InputError, match="expected 0…"):
        view.show_cell(len(view.grid))


def test_a_quiet_choice_is_said_and_not_drawn_as_a_failure(view, events):
    frame = events.frame.groupby("type", observed=True).size()
    view.type.value, view.layer.value = str(frame.idxmin()), "hotspots"
    view.by_month.value = True
    for month in range(len(events.months)):
        view.month.value = month
        assert "stand out" in view.note.value or "no hotspot can be told" in view.note.value or "gap" in view.note.value


def test_caveats_and_attribution_are_in_view_and_every_control_has_a_label(view, events):
    text = view.widget.children[-1].value
    assert events.attribution in text
    assert "snap points" in text
    assert "approved DPIA" in text
    controls = (view.area, view.type, view.layer, view.months, view.by_month, view.month, view.play, view.highest)
    assert all(control.description for control in (*controls, view.save))


def test_borders_of_the_config_are_drawn_and_name_the_areas(view, events, tmp_path):
    import geopandas as gpd
    from shapely.geometry import box

    west, south, east, north = view.grid.cells.total_bounds
    middle = round((west + east) / 2 / CELL) * CELL
    halves = [box(west, south, middle, north), box(middle, south, east, north)]
    gpd.GeoDataFrame({"part": ["West", "East"]}, geometry=halves, crs=events.crs).to_file(tmp_path / "parts.gpkg")
    config = CrimeMapSection(cell=CELL, boundaries=tmp_path / "parts.gpkg", boundary_name="part")
    app = CrimeMap(settings=Settings(home=tmp_path), config=config)
    shown_here = app.show(AppEvents(events, "0" * 64))
    assert list(shown_here.area.options) == [EVERYWHERE, "East", "West"]
    shown_here.area.value, shown_here.layer.value = "West", "counts"
    x = events.frame.geometry.x
    assert f"{((x >= west) & (x < middle)).sum()}eventsin West" in plain(shown_here.facts.value)
    line = shown_here.map.figure.data[1]
    assert middle in np.round(line.x, 3)


def test_over_tiles_it_shows_the_same_and_names_who_made_them(view, events):
    tiles = {"tiles": "https://tiles.example.org/{z}/{x}/{y}.png", "tiles_attribution": "Map by Example"}
    over = MapView(view.data, config=CrimeMapSection(**tiles), session=view.session)
    over.layer.value = "counts"
    cells, _, circles, ring = over.map.figure.data
    np.testing.assert_array_equal(cells.z, shown(view))
    (source,) = over.map.figure.layout.map.style["sources"].values()
    assert source["tiles"] == [tiles["tiles"]]
    assert "Map by Example" in over.widget.children[-1].value
    assert over.widget.children[-1].value.count("Map by") == 1

    class Clicked:
        point_inds = (7,)

    over.map._on_click(Clicked, over.show_cell)
    corners = over.grid.cells.geometry.iloc[[7]].to_crs(4326).total_bounds
    np.testing.assert_allclose([ring.lon.min(), ring.lat.min(), ring.lon.max(), ring.lat.max()], corners, atol=1e-9)
    over.layer.value = "points"
    assert len(circles.lon) == len(over.layer_shown.points.events)
    view.layer.value = "points"
    np.testing.assert_array_equal(circles.marker.size, view.map.figure.data[2].marker.size)


def test_events_come_from_the_folder_or_are_the_sample(tmp_path, crimes, events, monkeypatch):
    monkeypatch.setattr("crimeface_lib.apps.map_data._SAMPLE_MONTHS", 3)
    settings = Settings(home=tmp_path)
    assert "Synthetic" in load_app_events(settings=settings).events.attribution
    folder = tmp_path / "apps" / "crime"
    folder.mkdir(parents=True)
    shutil.copy(crimes, folder / "a.zip")
    assert len(load_app_events(settings=settings).events) == len(events)
    shutil.copy(crimes, folder / "b.zip")
    with pytest.raises(InputError, match="got 2 zips"):
        load_app_events(settings=settings)
    app = CrimeMap(settings=settings)
    app.load().join()
    assert app.view is None
    assert "expected one; leave the one to show" in app._stage.children[0].value


def test_the_page_is_there_before_its_map(tmp_path, crimes):
    folder = tmp_path / "apps" / "crime"
    folder.mkdir(parents=True)
    shutil.copy(crimes, folder / "a.zip")
    app = CrimeMap(settings=Settings(home=tmp_path))
    assert "Reading the recorded crime" in app._stage.children[0].value
    app.load().join()
    assert app.view is not None
    assert app._stage.children == (app.view.widget,)
