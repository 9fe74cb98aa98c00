"""Any table of points with a time and coordinates, its columns and its CRS named by the caller."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from crimeface_lib.core.errors import InputError, SchemaError
from crimeface_lib.core.types import BoolArray, FloatArray
from crimeface_lib.crime import _assemble
from crimeface_lib.crime.events import Events, check_plane
from crimeface_lib.crime.persons import refuse_person_columns, refuse_person_values
from crimeface_lib.crime.quality import QualityReport, check_policies, completeness_matrix, find_gaps

if TYPE_CHECKING:
    import geopandas as gpd
    import pandas as pd
    from shapely.geometry.base import BaseGeometry

_TABLES = (".csv", ".csv.gz", ".parquet", ".geojson", ".gpkg")
NOT_NAMED = "(none given)"
_MANY = 10


def read_points(
    source: str | Path | pd.DataFrame,
    *,
    time: str,
    end: str | None = None,
    x: str | None = None,
    y: str | None = None,
    crs: str,
    plane: str | None = None,
    type: str | None = None,
    force: str | None = None,
    id: str | None = None,
    time_format: str | None = None,
    area: BaseGeometry | None = None,
    at: datetime | None = None,
    duplicates: str = "drop",
    missing_place: str = "keep",
    missing_id: str = "keep",
    outside: str = "clip",
    attribution: str = "",
    resolution: str = "time",
) -> Events:
    """Read events from CSV, Parquet, GeoJSON, GeoPackage or a frame.

    Parameters
    ----------
    time : column of the stamp, e.g. "2010-01-01 00:05", or of the month with ``resolution="month"``. Stamps with an
        offset become UTC.
    end : column of the latest time that the event may have happened at, ``time`` being the earliest; empty where that
        is not known. It becomes the column ``end`` of the frame, which ``aoristic`` spreads events over.
    x, y : columns of the coordinates in ``crs`` (x is the longitude); leave out where the source has a geometry.
        0, 0 in degrees stands for no location.
    crs : of the coordinates, e.g. "EPSG:4326".
    plane : projected CRS in metres of the result; ``crs`` itself by default when that is projected.
    type, force, id : columns that hold these; "event", "all" and nothing by default.
    time_format : of the stamps, as in strptime; needed where the day comes first or the stamp is a number.
    area : polygon in ``plane``; events beyond it are outside. By default those are that lie beyond the area in which
        the plane is meant to be used.
    at : when given, stamps after it are refused.
    duplicates, missing_place, missing_id, outside : policies, as in ``read_events``.

    Raises
    ------
    InputError : no such source, a format not in the list above, an unknown policy, a plane not in metres.
    SchemaError : a lacking column, a time or coordinate that can't be read or an end before its time, with the row;
        places in another CRS than said, or with longitude and latitude exchanged.
    RefusedError : a column or values about persons.
    """
    import pandas as pd

    policies = check_policies(
        duplicates=duplicates, missing_place=missing_place, missing_id=missing_id, outside=outside
    )
    if resolution not in ("time", "month"):
        raise InputError(f"resolution: got {resolution!r}, expected 'time' or 'month'")
    if end is not None and resolution == "month":
        raise InputError(f"end: got {end!r} with resolution='month', expected stamps: a month has no hours")
    plane = plane or crs
    check_plane(plane)
    table, name = _read_table(source)
    refuse_person_columns(table.columns, where=name)
    if x is None or y is None:
        table, x, y = _from_geometry(table, name, crs)
    _require(table, (time, end, x, y, type, force, id), name)
    refuse_person_values(table, where=name, known=(time, end, x, y))
    if len(table) == 0:
        raise InputError(f"{name}: got no rows, expected at least one event")
    stamps = _stamps(table[time], time, name, time_format)
    if resolution == "time" and _months_only(stamps):
        raise SchemaError(
            f"{name}, column {time!r}: got the first of a month, 0 h, in every row, expected times; these tell the "
            "month only: use resolution='month'"
        )
    if at is not None and (stamps > np.datetime64(at.replace(tzinfo=None), "s")).any():
        row = int(np.flatnonzero(stamps > np.datetime64(at.replace(tzinfo=None), "s"))[0])
        raise SchemaError(
            f"{name}, row {row + 2}, column {time!r}: got {stamps[row]}, expected none after {at:%Y-%m-%d %H:%M}"
        )
    spans = {} if end is None else {"end": _ends(table[end], end, stamps, name, time_format)}
    given = np.column_stack([_numbers(table, c, name) for c in (x, y)])
    zero = _check_plausible(given, crs, name)
    xy = _assemble.project(*given.T, crs=plane, source=crs)
    degrees = _assemble.project(*given.T, crs="EPSG:4326", source=crs)
    used = _assemble.check_degrees(*degrees.T, crs=plane, name=name)
    frame = pd.DataFrame(
        {
            "crime_id": table[id].astype("str").array if id else pd.array([np.nan] * len(table), dtype="str"),
            "month": stamps.astype("datetime64[M]").astype("datetime64[s]"),
            "time": stamps if resolution == "time" else np.full(len(table), np.datetime64("NaT", "s")),
            "type": _labels(table, type, "event"),
            "force": _labels(table, force, "all"),
            "longitude": degrees[:, 0],
            "latitude": degrees[:, 1],
            **{c: pd.Categorical.from_codes(np.full(len(table), -1), []) for c in _EMPTY},
            **spans,
        }
    )
    distinct, keep, counts = _assemble.settle_ids(frame, policies, name=name, has_id=id is not None)
    completeness = completeness_matrix(frame["force"][distinct], frame["month"].to_numpy()[distinct])
    frame, xy, used = frame[keep].reset_index(drop=True), xy[keep], used[keep]
    inside = _assemble.near(xy, frame["force"], area) if area is not None else used
    keep, on_map, placed = _assemble.settle_places(xy, inside, policies, name=name)
    placed |= _assemble.lsoa_counts(frame, xy) | {"missing_lsoa": 0}
    frame = frame[keep].reset_index(drop=True)
    rows = _assemble.to_geoframe(frame, xy[keep], on_map[keep], crs=plane).assign(**frame[list(spans)])
    quality = QualityReport(
        rows_read=len(table), rows=len(rows), files=1, files_skipped={}, empty_files=0, gaps=find_gaps(completeness),
        policies=policies, zero_places=zero, dropped=_assemble.dropped(counts | placed, policies), **counts, **placed,
    )  # fmt: skip
    return Events(rows, quality, completeness, resolution, attribution)


_EMPTY = ("location", "lsoa_code", "lsoa_name", "outcome")


def _labels(table: pd.DataFrame, column: str | None, otherwise: str) -> pd.Categorical:
    import pandas as pd

    if column is None:
        return pd.Categorical.from_codes(np.zeros(len(table), dtype=np.int8), [otherwise])
    texts = table[column].astype("str")
    return pd.Categorical(texts.where(texts.notna(), NOT_NAMED))


def _stamps(column: pd.Series, title: str, name: str, time_format: str | None, *, optional: bool = False) -> np.ndarray:
    """Return (N,) datetime64[s]; what can't be read is an error with its row (the header is row 1).

    ``optional`` : NaT where none is given.
    """
    import pandas as pd

    if pd.api.types.is_numeric_dtype(column) and time_format is None:
        raise SchemaError(
            f"{name}, column {title!r}: got numbers such as {column.iloc[0]}, expected stamps; "
            "say what they mean by time_format, such as '%Y%m'"
        )
    if time_format is not None:
        column = column.astype("str")
    parsed = pd.to_datetime(column, errors="coerce", utc=True, format=time_format)
    given = column.notna().to_numpy()
    if (
        time_format is None
        and parsed.isna().to_numpy()[given].any()
        and not pd.api.types.is_datetime64_any_dtype(column)
    ):
        parsed = pd.to_datetime(column, errors="coerce", utc=True, format="ISO8601")
    bad = np.flatnonzero(parsed.isna().to_numpy() & (given | (not optional)))
    if len(bad):
        raise SchemaError(
            f"{name}, row {bad[0] + 2}, column {title!r}: got {column.iloc[bad[0]]!r}, expected a readable stamp like "
            "the first row's; time_format says how to read others"
        )
    return parsed.dt.tz_localize(None).to_numpy().astype("datetime64[s]")


def _months_only(stamps: np.ndarray) -> bool:
    """Tell whether stamps of several months are all a month's first moment."""
    months = stamps.astype("datetime64[M]")
    return len(stamps) >= _MANY and bool((stamps == months).all()) and bool((months != months[0]).any())


def _ends(column: pd.Series, title: str, start: np.ndarray, name: str, time_format: str | None) -> np.ndarray:
    """Return (N,) datetime64[s], NaT where none is given; an end before its start is an error with its row."""
    if column.isna().all():
        return np.full(len(column), np.datetime64("NaT", "s"))
    ends = _stamps(column, title, name, time_format, optional=True)
    bad = np.flatnonzero(ends < start)
    if len(bad):
        raise SchemaError(
            f"{name}, row {bad[0] + 2}, column {title!r}: got {ends[bad[0]]}, expected no earlier than the start, "
            f"{start[bad[0]]}; are the two columns exchanged?"
        )
    return ends


def _numbers(table: pd.DataFrame, column: str, name: str) -> FloatArray:
    """Return (N,) float64, NaN where nothing is given; what can't be read or is no finite number is an error."""
    import pandas as pd

    parsed = pd.to_numeric(table[column], errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    bad = np.flatnonzero((np.isnan(parsed) & table[column].notna().to_numpy()) | np.isinf(parsed))
    if len(bad):
        value = str(table[column].iloc[bad[0]])
        raise SchemaError(f"{name}, row {bad[0] + 2}, column {column!r}: got {value!r}, expected a finite number")
    return parsed


def _check_plausible(given: FloatArray, crs: str, name: str) -> int:
    """Check that all coordinates can be of ``crs``; those at 0°, 0° become missing, and are counted."""
    from pyproj import CRS

    small: BoolArray = np.asarray((np.abs(given) <= (180.0, 90.0)).all(axis=1))
    there = np.isfinite(given).all(axis=1)
    if CRS(crs).is_geographic:
        bad = np.flatnonzero(there & ~small)
        if len(bad):
            exchanged = (np.abs(given[there][:, ::-1]) <= (180.0, 90.0)).all()
            remedy = "longitude and latitude look exchanged: swap x and y" if exchanged else "are some in another CRS?"
            raise SchemaError(
                f"{name}, row {bad[0] + 2}: got {tuple(given[bad[0]].tolist())}, expected degrees within ±180, ±90 "
                f"in {crs}; {remedy}"
            )
        zero = there & (given == 0).all(axis=1)
        given[zero] = np.nan
        return int(zero.sum())
    far = there & ~small
    fine = there & small & (np.abs(given - np.round(given, 3)) > 1e-9).any(axis=1)
    if fine.any() and (far.any() or fine.sum() * 2 > there.sum()):
        row = int(np.flatnonzero(fine)[0])
        others = f" while others are metres such as {tuple(given[far][0].tolist())}" if far.any() else ""
        raise SchemaError(
            f"{name}, row {row + 2}: got {tuple(given[row].tolist())}, which looks like degrees{others}; expected all "
            f"in {crs}; give crs='EPSG:4326', or bring all rows into one CRS first"
        )
    return 0


def _read_table(source: str | Path | pd.DataFrame) -> tuple[pd.DataFrame, str]:
    import geopandas as gpd
    import pandas as pd

    if isinstance(source, pd.DataFrame):
        return source, "the frame"
    path = Path(source)
    if not path.is_file():
        raise InputError(f"no such file: {path.name}")
    try:
        if path.name.lower().endswith((".csv", ".csv.gz")):
            return pd.read_csv(path, encoding="utf-8-sig"), path.name
        if path.suffix.lower() == ".parquet":
            import pyarrow.parquet as pq

            geo = b"geo" in (pq.read_schema(path).metadata or {})
            return (gpd.read_parquet(path) if geo else pd.read_parquet(path)), path.name
        if path.suffix.lower() in (".geojson", ".gpkg"):
            return gpd.read_file(path), path.name
    except (ValueError, OSError, RuntimeError, EOFError) as error:  # what pandas, Arrow, GDAL and gzip raise
        reason = str(error).splitlines()[0] if str(error) else error.__class__.__name__
        raise InputError(f"{path.name}: could not be read ({reason}); is it the format its name says?") from error
    raise InputError(f"{path.name}: got an unknown format, expected one of {', '.join(_TABLES)}")


def _from_geometry(table: pd.DataFrame, name: str, crs: str) -> tuple[gpd.GeoDataFrame, str, str]:
    import geopandas as gpd
    import shapely
    from pyproj import CRS

    if not isinstance(table, gpd.GeoDataFrame):
        raise InputError(f"{name}: has no geometry; name the columns of the coordinates by x and y")
    if table.crs is not None and CRS(table.crs) != CRS(crs) and not _both_degrees(table.crs, crs):
        raise SchemaError(f"{name}: got a geometry in {table.crs}, expected {crs} as said by crs; which is right?")
    points = np.asarray(table.geometry.array)
    kinds = shapely.get_type_id(points)
    bad = np.flatnonzero(kinds > 0)
    if len(bad):
        kind = points[bad[0]].geom_type
        raise SchemaError(f"{name}, row {bad[0] + 2}: got a {kind}, expected points; take centroids first")
    return table.assign(_x=shapely.get_x(points), _y=shapely.get_y(points)), "_x", "_y"


def _both_degrees(one: Any, other: Any) -> bool:
    """GeoJSON says OGC:CRS84, which is EPSG:4326 with the longitude first, as here."""
    from pyproj import CRS

    return {CRS(c).to_string() for c in (one, other)} <= {"EPSG:4326", "OGC:CRS84"}


def _require(table: pd.DataFrame, columns: tuple[str | None, ...], name: str) -> None:
    lacking = [c for c in columns if c is not None and c not in table.columns]
    if lacking:
        have = ", ".join(map(str, table.columns))
        raise SchemaError(f"{name}: lacks the column {', '.join(map(repr, lacking))}; got {have}")
