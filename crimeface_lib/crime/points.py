"""Any table of points with a time and coordinates, its columns and its CRS named by the caller."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from crimeface_lib.core.errors import InputError, SchemaError
from crimeface_lib.core.types import FloatArray
from crimeface_lib.crime.events import (
    COLUMNS,
    Events,
    QualityReport,
    completeness_matrix,
    find_gaps,
    refuse_person_columns,
)

if TYPE_CHECKING:
    import geopandas as gpd
    import pandas as pd

_TABLES = (".csv", ".csv.gz", ".parquet", ".geojson", ".gpkg")


def read_points(
    source: str | Path | pd.DataFrame,
    *,
    time: str,
    x: str | None = None,
    y: str | None = None,
    crs: str,
    plane: str | None = None,
    type: str | None = None,
    force: str | None = None,
    id: str | None = None,
    attribution: str = "",
    resolution: str = "time",
) -> Events:
    """Read events from CSV, Parquet, GeoJSON, GeoPackage or a frame.

    Parameters
    ----------
    time : column of the stamp, e.g. "2010-01-01 00:05", or of the month with ``resolution="month"``.
    x, y : columns of the coordinates in ``crs`` (x is the longitude); leave out where the source has a geometry.
    crs : of the coordinates, e.g. "EPSG:4326".
    plane : projected CRS in metres of the result; ``crs`` itself by default when that is projected.
    type, force, id : columns that hold these; "event", "all" and nothing by default.

    Raises
    ------
    InputError : no such source, or a format not in the list above.
    SchemaError : a lacking column, a time or coordinate that can't be read; with its row.
    RefusedError : a column about persons.
    """
    import pandas as pd
    from pyproj import CRS

    if not CRS(plane or crs).is_projected:
        raise InputError(f"plane: got {plane or crs}, expected a projected CRS in metres such as 'EPSG:27700'")
    table, name = _read_table(source)
    refuse_person_columns(table.columns, where=name)
    if x is None or y is None:
        table, x, y = _from_geometry(table, name)
    _require(table, (time, x, y, type, force, id), name)
    stamps = _numbers(table, time, name, pd.to_datetime, missing=False).to_numpy().astype("datetime64[s]")
    given = np.column_stack([_numbers(table, c, name, pd.to_numeric).to_numpy(float) for c in (x, y)])
    xy, degrees = _transform(given, crs, plane or crs), _transform(given, crs, "EPSG:4326")
    frame = pd.DataFrame(
        {
            "crime_id": table[id].astype("str") if id else pd.Series(np.nan, index=table.index, dtype="str"),
            "month": stamps.astype("datetime64[M]").astype("datetime64[s]"),
            "time": stamps if resolution == "time" else np.datetime64("NaT", "s"),
            "type": pd.Categorical(table[type]) if type else pd.Categorical(["event"] * len(table)),
            "force": pd.Categorical(table[force]) if force else pd.Categorical(["all"] * len(table)),
            "longitude": degrees[:, 0],
            "latitude": degrees[:, 1],
            **{c: pd.Categorical([None] * len(table)) for c in ("location", "lsoa_code", "lsoa_name", "outcome")},
            "conflict": False,
        }
    ).reset_index(drop=True)
    return _events(frame, xy, id is not None, plane=plane or crs, attribution=attribution, resolution=resolution)


def _events(
    frame: pd.DataFrame, xy: np.ndarray, has_id: bool, *, plane: str, attribution: str, resolution: str
) -> Events:
    import geopandas as gpd
    import shapely
    from geopandas.array import GeometryArray

    if len(frame) == 0:
        raise InputError("got no rows, expected at least one event")
    there = np.isfinite(xy).all(axis=1)
    geometry = np.full(len(frame), None, dtype=object)
    geometry[there] = shapely.points(xy[there])
    completeness = completeness_matrix(frame["force"], frame["month"].to_numpy())
    repeated = frame["crime_id"].notna() & frame["crime_id"].duplicated(keep=False)
    frame["conflict"] = repeated
    month = frame["month"].to_numpy().astype("datetime64[M]").astype(float)[there]
    _, inverse, counts = np.unique(np.column_stack([xy[there], month]), axis=0, return_inverse=True, return_counts=True)
    quality = QualityReport(
        rows_read=len(frame),
        rows=len(frame),
        files=1,
        files_skipped={},
        empty_files=0,
        duplicates_dropped=0,
        repeated_ids=int(repeated.sum()),
        conflicting_ids=int((frame[repeated].groupby("crime_id")["type"].nunique() > 1).sum()),
        missing_id=int(frame["crime_id"].isna().sum()) if has_id else 0,
        missing_id_not_asb=int(frame["crime_id"].isna().sum()) if has_id else 0,
        missing_location=int((~there).sum()),
        missing_lsoa=0,
        outside=0,
        shared_point=int((counts[inverse] > 1).sum()),
        points_many_lsoa=0,
        gaps=find_gaps(completeness),
    )
    table = gpd.GeoDataFrame(frame, geometry=GeometryArray(geometry, crs=plane))[list(COLUMNS)]
    return Events(table, quality, completeness, resolution, attribution)


def _read_table(source: str | Path | pd.DataFrame) -> tuple[pd.DataFrame, str]:
    import geopandas as gpd
    import pandas as pd

    if isinstance(source, pd.DataFrame):
        return source, "the frame"
    path = Path(source)
    if not path.is_file():
        raise InputError(f"no such file: {path.name}")
    if path.name.lower().endswith((".csv", ".csv.gz")):
        return pd.read_csv(path, encoding="utf-8-sig"), path.name
    if path.suffix.lower() == ".parquet":
        import pyarrow.parquet as pq

        geo = b"geo" in (pq.read_schema(path).metadata or {})
        return (gpd.read_parquet(path) if geo else pd.read_parquet(path)), path.name
    if path.suffix.lower() in (".geojson", ".gpkg"):
        return gpd.read_file(path), path.name
    raise InputError(f"{path.name}: got an unknown format, expected one of {', '.join(_TABLES)}")


def _from_geometry(table: pd.DataFrame, name: str) -> tuple[gpd.GeoDataFrame, str, str]:
    import geopandas as gpd
    import shapely

    if not isinstance(table, gpd.GeoDataFrame):
        raise InputError(f"{name}: has no geometry; name the columns of the coordinates by x and y")
    points = np.asarray(table.geometry.array)
    return table.assign(_x=shapely.get_x(points), _y=shapely.get_y(points)), "_x", "_y"


def _require(table: pd.DataFrame, columns: tuple[str | None, ...], name: str) -> None:
    lacking = [c for c in columns if c is not None and c not in table.columns]
    if lacking:
        have = ", ".join(map(str, table.columns))
        raise SchemaError(f"{name}: lacks the column {', '.join(map(repr, lacking))}; got {have}")


def _transform(xy: FloatArray, source: str, target: str) -> FloatArray:
    from pyproj import Transformer

    there = np.isfinite(xy).all(axis=1)
    result = np.full(xy.shape, np.nan)
    result[there] = np.column_stack(Transformer.from_crs(source, target, always_xy=True).transform(*xy[there].T))
    result[~np.isfinite(result).all(axis=1)] = np.nan
    return result


def _numbers(table: pd.DataFrame, column: str, name: str, parse: Any, *, missing: bool = True) -> pd.Series:
    """Parse one column; a value that is there and can't be read is an error with its row (the header is row 1)."""
    parsed = parse(table[column], errors="coerce")
    bad = parsed.isna() & (table[column].notna() if missing else True)
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        value = table[column].iloc[row]
        raise SchemaError(f"{name}, row {row + 2}, column {column!r}: got {value!r}, expected a readable value")
    return parsed
