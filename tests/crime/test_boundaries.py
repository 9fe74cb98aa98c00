"""Borders: any common format comes out as the same polygons in the plane, and what is no border is refused."""

from __future__ import annotations

import zipfile

import geopandas as gpd
import numpy as np
import pytest
import shapely
from shapely.geometry import LineString, Point, Polygon, box

from crimeface_lib.core.errors import InputError, SchemaError
from crimeface_lib.crime import read_boundaries

PLANE = "EPSG:27700"


@pytest.fixture
def areas():
    twisted = Polygon([(0, 0), (2000, 2000), (2000, 0), (0, 2000)])  # crosses itself
    shapes = [box(0, 0, 1000, 1000), shapely.transform(box(1000, 0, 3000, 1000), lambda xy: xy), twisted]
    shapes = [shapely.transform(s, lambda xy: xy + 400_000) for s in shapes]
    return gpd.GeoDataFrame({"name": ["A", "B", "C"]}, geometry=shapes, crs=PLANE)


def test_formats_agree_and_shapes_are_made_valid(areas, tmp_path):
    areas.to_file(tmp_path / "a.gpkg", layer="areas")
    areas.to_crs("EPSG:4326").to_file(tmp_path / "a.geojson")
    (tmp_path / "shp").mkdir()
    areas.to_file(tmp_path / "shp" / "a.shp")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for file in (tmp_path / "shp").iterdir():
            archive.write(file, file.name)
    raised = areas.set_geometry(shapely.force_3d(areas.geometry.array)).to_crs("EPSG:4326")
    raised.to_file(tmp_path / "a.kml", driver="KML")
    for name in ("a.gpkg", "a.geojson", "a.zip", "a.kml"):
        found = read_boundaries(tmp_path / name, crs=PLANE)
        assert found.crs == PLANE
        assert found.geometry.is_valid.all()
        assert not found.geometry.has_z.any()
        np.testing.assert_allclose(found.area, [1e6, 2e6, 2e6], rtol=1e-3)
    some = read_boundaries(tmp_path / "a.gpkg", crs=PLANE, select={"name": ["A", "B"]})
    assert some["name"].tolist() == ["A", "B"]
    with pytest.raises(InputError, match=r"select name: got Z, expected some of: A, B, C"):
        read_boundaries(tmp_path / "a.gpkg", crs=PLANE, select={"name": "Z"})
    with pytest.raises(SchemaError, match=r"got column 'town', expected one of: name"):
        read_boundaries(tmp_path / "a.gpkg", crs=PLANE, select={"town": "A"})
    with pytest.raises(InputError, match="expected a projected CRS"):
        read_boundaries(tmp_path / "a.gpkg", crs="EPSG:4326")


def test_what_is_no_border_is_refused(areas, tmp_path):
    areas.to_file(tmp_path / "two.gpkg", layer="areas")
    gpd.GeoDataFrame(geometry=[Point(0, 0)], crs=PLANE).to_file(tmp_path / "two.gpkg", layer="points")
    with pytest.raises(InputError, match=r"layer: got none named, expected one of: areas, points"):
        read_boundaries(tmp_path / "two.gpkg", crs=PLANE)
    assert len(read_boundaries(tmp_path / "two.gpkg", crs=PLANE, layer="areas")) == 3
    with pytest.raises(SchemaError, match=r"got Point among 1 shapes, expected polygons only"):
        read_boundaries(tmp_path / "two.gpkg", crs=PLANE, layer="points")
    gpd.GeoDataFrame(geometry=[LineString([(0, 0), (1, 1)])], crs=PLANE).to_file(tmp_path / "line.gpkg")
    with pytest.raises(SchemaError, match="LineString"):
        read_boundaries(tmp_path / "line.gpkg", crs=PLANE)
    areas.to_file(tmp_path / "bare.shp")
    (tmp_path / "bare.prj").unlink()
    with pytest.raises(SchemaError, match=r"got no CRS"):
        read_boundaries(tmp_path / "bare.shp", crs=PLANE)
    (tmp_path / "text.geojson").write_text("no such thing")
    with pytest.raises(InputError, match=r"could not be read"):
        read_boundaries(tmp_path / "text.geojson", crs=PLANE)
    with pytest.raises(InputError, match="no such file"):
        read_boundaries(tmp_path / "none.gpkg", crs=PLANE)


def test_real_borders(data_root):
    city = read_boundaries(data_root / "boundaries/london_boroughs.gpkg", crs=PLANE, select={"name": "City of London"})
    assert city.area.sum() / 1e6 == pytest.approx(2.9, rel=0.1)
    districts = read_boundaries(data_root / "boundaries/chicago_police_districts.kml", crs="EPSG:26971")
    assert districts.area.sum() / 1e6 == pytest.approx(600, rel=0.1)
    assert len(read_boundaries(data_root / "boundaries/london_wards.zip", crs=PLANE)) > 600
