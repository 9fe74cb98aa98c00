"""Tables of other places: columns and CRS named by the caller."""

from __future__ import annotations

from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest

from crimeface_lib.core.errors import InputError, RefusedError, SchemaError
from crimeface_lib.crime import read_points


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
