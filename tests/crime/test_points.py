"""Tables of other places: columns and CRS named by the caller."""

from __future__ import annotations

from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest

from crimeface_lib.core.errors import InputError, RefusedError, SchemaError
from crimeface_lib.crime import aoristic, getis_ord, kde, knox_test, make_grid, read_points, summarise, write_events


@pytest.fixture
def table() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "date": ["2019-01-01 00:05", "2019-03-02 10:00", "2019-03-02 11:00"],
            "lon": [-87.6277, -87.6683, -87.6683],
            "lat": [41.7922, 41.7513, 41.7513],
            "kind": ["a", "b", "b"],
        }
    )


NAMED = {"time": "date", "x": "lon", "y": "lat", "crs": "EPSG:4326", "plane": "EPSG:26971"}


def test_formats_agree(table: pd.DataFrame, tmp_path: Path) -> None:
    table.to_csv(tmp_path / "a.csv", index=False)
    table.to_csv(tmp_path / "a.csv.gz", index=False)
    table.to_parquet(tmp_path / "a.parquet")
    geo = gpd.GeoDataFrame(table[["date", "kind"]], geometry=gpd.points_from_xy(table.lon, table.lat), crs="EPSG:4326")
    geo.to_file(tmp_path / "a.geojson")
    geo.to_parquet(tmp_path / "geo.parquet")
    expected = read_points(table, type="kind", **NAMED)
    for name in ("a.csv", "a.csv.gz", "a.parquet"):
        np.testing.assert_array_equal(
            read_points(tmp_path / name, type="kind", **NAMED).coordinates(), expected.coordinates()
        )
    for name in ("a.geojson", "geo.parquet"):
        events = read_points(tmp_path / name, time="date", type="kind", crs="EPSG:4326", plane="EPSG:26971")
        np.testing.assert_allclose(events.coordinates(), expected.coordinates(), atol=1e-6)
        assert events.frame["time"].tolist() == expected.frame["time"].tolist()
    assert expected.resolution == "time"
    assert expected.quality.gaps == ("all 2019-02",)
    assert expected.quality.shared_point == 2


def test_missing_places_are_kept_off_the_map(table: pd.DataFrame) -> None:
    events = read_points(table.assign(lat=[41.8, np.nan, 41.7]), **NAMED)
    assert (len(events), events.quality.missing_location, int(events.frame.geometry.isna().sum())) == (3, 1, 1)


def test_faults(table: pd.DataFrame, tmp_path: Path) -> None:
    with pytest.raises(SchemaError, match=r"lacks the column 'when'; got date, lon"):
        read_points(table, **(NAMED | {"time": "when"}))
    with pytest.raises(SchemaError, match=r"row 3, column 'date': got 'soon'"):
        read_points(table.assign(date=["2019-01-01", "soon", "2019-01-02"]), **NAMED)
    with pytest.raises(SchemaError, match=r"row 2, column 'lat': got 'north'"):
        read_points(table.assign(lat=["north", "41", "42"]), **NAMED)
    with pytest.raises(RefusedError, match="victim_age"):
        read_points(table.assign(victim_age=30), **NAMED)
    with pytest.raises(InputError, match="expected a projected CRS"):
        read_points(table, **(NAMED | {"plane": None}))
    with pytest.raises(InputError, match="name the columns of the coordinates"):
        read_points(table, **(NAMED | {"x": None, "y": None}))
    with pytest.raises(InputError, match="at least one event"):
        read_points(table.iloc[:0], **NAMED)
    (tmp_path / "a.xlsx").write_bytes(b"")
    with pytest.raises(InputError, match=r"unknown format, expected one of \.csv"):
        read_points(tmp_path / "a.xlsx", **NAMED)


ONE = pd.DataFrame({"t": ["2020-01-01"], "x": [4e5], "y": [3e5]})
GRID = {"time": "t", "x": "x", "y": "y", "crs": "EPSG:27700"}
DEGREES = GRID | {"crs": "EPSG:4326", "plane": "EPSG:27700"}


@pytest.mark.parametrize(("changes", "named", "message"), [
    ({"x": np.inf}, GRID, "row 2, column 'x': got 'inf', expected a finite number"),
    ({"x": -2.80445, "y": 53.35245}, GRID, r"looks like degrees; expected all in EPSG:27700"),
    ({"x": 53.35, "y": -2.8}, DEGREES, "longitude and latitude look exchanged"),
    ({"x": 41.8, "y": -100.0}, DEGREES, "exchanged: swap x and y"),
    ({"x": 4e5, "y": 3e5}, DEGREES, "within ±180, ±90 in EPSG:4326; are some in another CRS"),
    ({"t": 202001}, GRID, "got numbers such as 202001.*time_format"),
    ({"t": "2020-13-45"}, GRID, "row 2, column 't': got '2020-13-45'"),
])  # fmt: skip
def test_values_that_mislead(changes: dict[str, object], named: dict[str, str], message: str) -> None:
    with pytest.raises(SchemaError, match=message):
        read_points(ONE.assign(**changes), **named)


def test_rows_of_two_systems_are_refused() -> None:
    with pytest.raises(SchemaError, match=r"row 3.*looks like degrees while others are metres"):
        read_points(pd.concat([ONE, ONE.assign(x=-2.80445, y=53.35245)]), **GRID)
    geo = gpd.GeoDataFrame(ONE[["t"]], geometry=gpd.points_from_xy(ONE.x, ONE.y), crs="EPSG:27700")
    with pytest.raises(SchemaError, match=r"got a geometry in EPSG:27700, expected EPSG:4326"):
        read_points(geo, time="t", crs="EPSG:4326", plane="EPSG:27700")
    with pytest.raises(SchemaError, match="row 2: got a Polygon, expected points"):
        read_points(geo.set_geometry(geo.buffer(5)), time="t", crs="EPSG:27700")


def test_clock_formats_and_missing_values() -> None:
    from datetime import UTC, datetime

    with pytest.raises(SchemaError, match="expected none after 2026-01-01"):
        read_points(ONE.assign(t="2099-01-01"), at=datetime(2026, 1, 1, tzinfo=UTC), **GRID)
    assert str(read_points(ONE.assign(t=202002), time_format="%Y%m", **GRID).months[0]) == "2020-02"
    assert str(read_points(ONE.assign(t="2020-06-01T00:30:00+01:00"), **GRID).frame["time"][0]) == "2020-05-31 23:30:00"
    nullable = pd.DataFrame({"t": ["2020-01-01"] * 2, "x": pd.array([4e5, pd.NA], dtype="Float64"), "y": [3e5, 3e5]})
    assert read_points(nullable, **GRID).quality.missing_location == 1
    zero = read_points(pd.concat([ONE.assign(x=0, y=0), ONE.assign(x=-2.8, y=53.4)]), **DEGREES)
    assert (zero.quality.zero_places, zero.quality.missing_location) == (1, 1)
    assert read_points(pd.concat([ONE, ONE]).assign(k=["a", None]), type="k", **GRID).types == ("(none given)", "a")


def test_policies_are_those_of_read_events() -> None:
    table = pd.concat([ONE, ONE, ONE.assign(x=np.nan)]).assign(ref=["1", "1", None])
    events = read_points(table, id="ref", **GRID)
    assert (len(events), events.quality.duplicates_dropped, events.quality.missing_id) == (2, 1, 1)
    assert len(read_points(table, id="ref", duplicates="keep", missing_place="drop", **GRID)) == 2
    assert len(read_points(table, id="ref", missing_id="drop", **GRID)) == 1
    with pytest.raises(SchemaError, match="exact duplicates"):
        read_points(table, id="ref", duplicates="refuse", **GRID)
    with pytest.raises(InputError, match="outside: got 'x', expected one of: clip, keep, drop, refuse"):
        read_points(table, outside="x", **GRID)


def test_one_row_one_point_and_no_place_are_sound() -> None:
    one = read_points(ONE, **GRID)
    grid = make_grid(one)
    assert kde(one, grid, bandwidth=300).values.max() > 0
    assert not getis_ord(grid.count(one), grid).hot.any()
    with pytest.raises(InputError, match="a year earlier"):
        summarise(one)
    same = read_points(pd.concat([ONE] * 50), **GRID)
    assert same.quality.shared_point == 50
    with pytest.raises(InputError, match="got nothing with a location"):
        make_grid(read_points(ONE.assign(x=np.nan), **GRID))
    with pytest.raises(InputError, match="know only their month"):
        knox_test(read_points(ONE, resolution="month", **GRID), distance=[100], days=[7])


def test_spans_come_from_a_file(table: pd.DataFrame, tmp_path: Path) -> None:
    spans = table.assign(until=["2019-01-01 02:05", None, "2019-03-02 11:00"])
    spans.to_csv(tmp_path / "a.csv", index=False)
    events = read_points(tmp_path / "a.csv", end="until", **NAMED)
    assert events.frame["end"].isna().tolist() == [False, True, False]
    found = aoristic(events, by="hour", missing="drop")
    assert (found.events, found.dropped) == (2, 1)
    assert found.expected[:3] == pytest.approx([55 / 120, 0.5, 5 / 120])
    assert found.expected[11] == 1.0
    assert len(events.select(start="2019-03-01").frame["end"]) == 2
    with pytest.raises(InputError, match=r"keep no span"):
        write_events(events, tmp_path / "kept")
    with pytest.raises(SchemaError, match=r"row 2, column 'until': got 2018-12-31.*no earlier than the start"):
        read_points(spans.assign(until="2018-12-31 00:00"), end="until", **NAMED)
    with pytest.raises(SchemaError, match=r"row 4, column 'until': got 'late'"):
        read_points(spans.assign(until=[None, None, "late"]), end="until", **NAMED)
    with pytest.raises(InputError, match=r"a month has no hours"):
        read_points(spans, end="until", resolution="month", **NAMED)
    assert read_points(spans.assign(until=np.nan), end="until", **NAMED).frame["end"].isna().all()


def test_months_are_not_taken_for_times(table: pd.DataFrame) -> None:
    """Read as stamps, months would let in the models made of days."""
    months = pd.concat([table] * 5, ignore_index=True).assign(date=[f"2020-{m % 12 + 1:02d}" for m in range(15)])
    with pytest.raises(SchemaError, match="resolution='month'"):
        read_points(months, **NAMED)
    assert read_points(months, **NAMED, resolution="month").resolution == "month"


def test_an_id_that_is_a_person_is_refused(table: pd.DataFrame) -> None:
    with pytest.raises(RefusedError, match="e-mail"):
        read_points(table.assign(ref=["a@example.org", "b@example.org", "c@example.org"]), id="ref", **NAMED)


def test_a_stretched_plane_is_refused(table: pd.DataFrame) -> None:
    """In the web's Mercator, a cell of 250 m in Chicago is 186 m wide on the ground."""
    with pytest.raises(InputError, match=r"1\.34 m in EPSG:3857"):
        read_points(table, **(NAMED | {"plane": "EPSG:3857"}))
