"""The crime map without a server, against counts made by pandas alone."""

from __future__ import annotations

import re
import shutil

import numpy as np
import pandas as pd
import pytest

from crimeface_lib.apps import CrimeMap, load_app_events
from crimeface_lib.core.errors import InputError
from crimeface_lib.core.settings import Settings
from crimeface_lib.crime import getis_ord


@pytest.fixture(scope="module")
def crime_map(events) -> CrimeMap:
    return CrimeMap(events, cell=500.0)


@pytest.fixture(autouse=True)
def start_anew(crime_map):
    crime_map.type.value, crime_map.layer.value = "All types", "counts"
    crime_map.months.value = (crime_map.events.months[0], crime_map.events.months[-1])


def shown(crime_map) -> np.ndarray:
    """The values drawn, in the order of the grid's cells."""
    return np.asarray(crime_map.figure.data[0].z)[crime_map.grid.row, crime_map.grid.column]


def counted(crime_map, frame: pd.DataFrame) -> pd.Series:
    """Events per (column, row) of the raster, from the coordinates alone."""
    located = frame[frame.geometry.notna()]
    place = np.floor((np.column_stack([located.geometry.x, located.geometry.y]) - crime_map.grid.origin) / 500)
    return pd.Series(map(tuple, place.astype(int))).value_counts()


def test_the_map_starts_whole(events):
    fresh = CrimeMap(events, cell=500.0)
    assert np.nanmax(fresh.figure.data[0].z) > 0
    assert "per km²" in fresh.figure.data[0].colorbar.title.text
    assert not fresh.figure.layout.shapes[0].visible


def test_counts_of_a_type_and_months_agree_with_the_table(crime_map, events):
    months = events.months
    crime_map.type.value = "Burglary"
    crime_map.months.value = (months[2], months[5])
    frame = events.frame
    period = frame["month"].dt.to_period("M")
    chosen = frame[(frame["type"] == "Burglary") & (period >= months[2]) & (period <= months[5])]
    expected = counted(crime_map, chosen)
    grid = crime_map.grid
    wanted = [expected.get((column, row), 0) for row, column in zip(grid.row, grid.column, strict=True)]
    np.testing.assert_array_equal(shown(crime_map), wanted)
    assert f">{len(chosen)}<" in crime_map.facts.value


def test_density_sums_to_the_events_on_the_map(crime_map, events):
    crime_map.layer.value = "density"
    located = int(events.frame.geometry.notna().sum())
    assert shown(crime_map).sum() * 0.25 == pytest.approx(located, rel=0.02)


def test_hotspots_are_those_of_the_statistic(crime_map, events):
    crime_map.layer.value = "hotspots"
    found = getis_ord(crime_map.grid.count(events), crime_map.grid)
    np.testing.assert_array_equal(shown(crime_map) > 0, found.hot)
    assert f"{int(found.hot.sum())} of {len(crime_map.grid)}" in crime_map.note.value


def test_the_gap_is_named_and_not_counted_as_quiet(crime_map, events):
    gap = events.quality.gaps[0].rsplit(" ", 1)[-1]
    assert f"{len(events.months) - 1} of {len(events.months)} months delivered" in crime_map.facts.value
    assert f"{pd.Period(gap, 'M'):%b %Y}" in crime_map.facts.value


def test_a_click_shows_the_history_of_that_cell(crime_map, events):
    expected = counted(crime_map, events.frame)
    (column, row), most = expected.index[0], int(expected.iloc[0])
    grid = crime_map.grid
    x, y = np.array([column + 0.5, row + 0.5]) * 500 + grid.origin

    class Points:
        xs, ys = [x], [y]

    crime_map._on_click(None, Points, None)
    assert f"{most} events" in crime_map.history.value.replace("\u2009", "")
    assert "data:image/png" in crime_map.history.value
    ring = crime_map.figure.layout.shapes[0]
    assert ring.visible
    assert (ring.x0, ring.y1) == (x - 250, y + 250)
    numbers = [int(n) for n in re.findall(r'class="num">(\d+)</td>', crime_map.history.value)]
    assert sum(numbers) == most
    assert 0 not in numbers


def test_a_cell_outside_is_refused(crime_map):
    with pytest.raises(InputError, match="expected 0…"):
        crime_map.show_cell(len(crime_map.grid))


def test_a_quiet_choice_is_said_and_not_drawn_as_a_failure(crime_map, events):
    gap = next(month for month in events.months if events.completeness[month].isna().any())
    crime_map.layer.value = "hotspots"
    crime_map.months.value = (gap, gap)
    assert "no hotspot can be told" in crime_map.note.value
    assert "0 of 1 months delivered" in crime_map.facts.value


def test_caveats_and_attribution_are_in_view(crime_map, events):
    text = crime_map.widget.children[-1].value
    assert events.attribution in text
    assert "snap points" in text
    assert "forecast" in text


def test_events_come_from_the_folder_or_are_the_sample(tmp_path, crimes, events, monkeypatch):
    monkeypatch.setattr("crimeface_lib.apps.crime_map._SAMPLE_MONTHS", 3)
    settings = Settings(home=tmp_path)
    assert "Synthetic" in load_app_events(settings=settings).attribution
    folder = tmp_path / "apps" / "crime"
    folder.mkdir(parents=True)
    shutil.copy(crimes, folder / "a.zip")
    assert len(load_app_events(settings=settings)) == len(events)
    shutil.copy(crimes, folder / "b.zip")
    with pytest.raises(InputError, match="got 2 zips"):
        load_app_events(settings=settings)
