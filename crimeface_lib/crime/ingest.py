"""Reading events: data.police.uk archives, and any table of points with time and coordinates."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from crimeface_lib.core.errors import InputError, SchemaError
from crimeface_lib.core.types import BoolArray, FloatArray, IntArray
from crimeface_lib.crime._sources import CsvFile, find_street_files
from crimeface_lib.crime._street import check_header, parse_street
from crimeface_lib.crime.events import (
    ASB,
    COLUMNS,
    OGL_ATTRIBUTION,
    POLICE_UK_CAVEATS,
    SYNTHETIC_ATTRIBUTION,
    Events,
    QualityReport,
    completeness_matrix,
    find_gaps,
)

if TYPE_CHECKING:
    import geopandas as gpd
    import pandas as pd
    import pyarrow as pa
    from shapely.geometry.base import BaseGeometry

LAYOUTS = ("police.uk",)
#: Force of the synthetic sample (``synthetic.crimes``): its events are never attributed to the police.
SYNTHETIC_FORCE = "Demo Constabulary"
_RENAME = {
    "Crime ID": "crime_id", "Reported by": "force", "Longitude": "longitude", "Latitude": "latitude",
    "Location": "location", "LSOA code": "lsoa_code", "LSOA name": "lsoa_name", "Crime type": "type",
    "Last outcome category": "outcome",
}  # fmt: skip
_FAR = 3.0  # times the radius that holds 99 % of a force's events
_FAR_LEAST = 10_000.0  # metres


def read_events(
    source: str | Path,
    *,
    layout: str = "police.uk",
    force: str | None = None,
    crs: str = "EPSG:27700",
    area: BaseGeometry | None = None,
    at: datetime | None = None,
    max_bytes: int = 8 << 30,
) -> Events:
    """Read street-level crimes from a folder tree, a zip or one CSV of data.police.uk.

    Files of outcomes and of stop and search are skipped and counted. Duplicates, missing ids and missing or far
    locations follow the policies that ``Events.quality`` names.

    Parameters
    ----------
    layout : "police.uk", the only one so far; ``read_points`` reads other tables.
    force : keep one force, by its name ("Merseyside Police") or its file slug ("merseyside").
    crs : projected plane, in metres; the British National Grid by default.
    area : polygon in ``crs``; events outside are clipped off the map. By default events farther from their
        force's centre than 3 times the radius holding 99 % of its events are.
    at : when given, months after it are refused.
    max_bytes : limit on the CSV bytes, inflated.

    Raises
    ------
    InputError : no such source or force, an unknown layout, an unsafe zip, no rows at all.
    SchemaError : a lacking column or an impossible value, with file, row and column.
    RefusedError : a column about persons.
    """
    import pyarrow as pa

    _check_layout(layout)
    files, skipped = find_street_files(source, max_bytes=max_bytes)
    files = _files_of(files, force)
    tables = [parse_street(file.read(), name=file.name) for file in files]
    table = pa.concat_tables(tables).unify_dictionaries()
    if force is not None:
        table = _rows_of(table, force)
    if table.num_rows == 0:
        raise InputError(f"{Path(source).name}: got no rows in {len(files)} street files, expected at least one event")
    frame, counts = _clean(table)
    month = frame["month"].to_numpy().astype("datetime64[M]")
    if at is not None and (month > np.datetime64(at.strftime("%Y-%m"))).any():
        name = Path(source).name
        raise SchemaError(f"{name}: got the month {month.max()}, expected none after {at:%Y-%m}; check the clock")
    completeness = completeness_matrix(frame["force"], month)
    counts |= {"rows_read": table.num_rows, "files": len(files), "empty_files": sum(t.num_rows == 0 for t in tables)}
    frame, placed = _place(frame, month, crs=crs, area=area)
    synthetic = set(completeness.index) == {SYNTHETIC_FORCE}
    return Events(
        frame=frame,
        quality=QualityReport(rows=len(frame), files_skipped=skipped, gaps=find_gaps(completeness), **counts, **placed),
        completeness=completeness,
        resolution="month",
        attribution=SYNTHETIC_ATTRIBUTION if synthetic else OGL_ATTRIBUTION,
        caveats=(*POLICE_UK_CAVEATS, SYNTHETIC_ATTRIBUTION) if synthetic else POLICE_UK_CAVEATS,
    )


def check_source(source: str | Path, *, layout: str = "police.uk", max_bytes: int = 8 << 30) -> int:
    """Check the header of each street file and the rows of the first, quickly; return how many files there are.

    Raises
    ------
    What ``read_events`` raises, for the parts it looks at.
    """
    _check_layout(layout)
    files, _ = find_street_files(source, max_bytes=max_bytes)
    rows = False
    for number, file in enumerate(files):
        data = file.read()
        (check_header if number else parse_street)(data, name=file.name)
        rows = rows or b"\n" in data.strip()
    if not rows:
        raise InputError(f"{Path(source).name}: got no rows in {len(files)} street files, expected at least one event")
    return len(files)


def _check_layout(layout: str) -> None:
    if layout not in LAYOUTS:
        raise InputError(
            f"layout: got {layout!r}, expected one of {', '.join(LAYOUTS)}; read_points reads other tables"
        )


def _slug(force: str) -> str:
    name = re.sub(r"\b(police|constabulary|service)\b", " ", force.lower().replace("&", "and"))
    return "-".join(re.findall(r"[a-z]+", name))


def _file_slug(file: CsvFile) -> str:
    found = re.search(r"\d{4}-\d{2}-(.+)-street\.csv$", file.name.lower())
    return found[1] if found else ""


def _files_of(files: list[CsvFile], force: str | None) -> list[CsvFile]:
    """Return the files named after ``force``, or all when the names don't tell."""
    named = [f for f in files if force is not None and _file_slug(f) == _slug(force)]
    return named or files


def _rows_of(table: pa.Table, force: str) -> pa.Table:
    import pyarrow as pa
    import pyarrow.compute as pc

    names = table["Reported by"].combine_chunks().dictionary.to_pylist()
    wanted = [n for n in names if n == force or _slug(n) == _slug(force)]
    if not wanted:
        raise InputError(f"force: got {force!r}, expected one of: {', '.join(sorted(names)) or 'none (no rows)'}")
    return table.filter(pc.is_in(table["Reported by"].cast(pa.string()), pa.array(wanted)))


def _clean(table: pa.Table) -> tuple[pd.DataFrame, dict[str, int]]:
    """Return the frame without exact duplicates, ids that remain shared flagged, and the counts."""
    import pandas as pd

    frame = table.to_pandas()
    frame["Crime ID"] = frame["Crime ID"].astype("str")
    ids = frame["Crime ID"]
    present = ids.notna().to_numpy()
    shared = present & ids.duplicated(keep=False).to_numpy()
    drop = np.zeros(len(frame), dtype=bool)
    drop[shared] = frame[shared].duplicated().to_numpy()
    frame, present, shared = frame[~drop], present[~drop], shared[~drop]
    rest = frame.loc[shared, "Crime ID"]
    still = rest.duplicated(keep=False).to_numpy()
    conflict = np.zeros(len(frame), dtype=bool)
    conflict[np.flatnonzero(shared)[still]] = True
    kinds = frame.loc[conflict].groupby("Crime ID")["Crime type"].nunique()
    month = _months(frame["Month"])
    half = frame["Longitude"].isna() | frame["Latitude"].isna()
    frame.loc[half, ["Longitude", "Latitude"]] = np.nan
    counts = {
        "duplicates_dropped": int(drop.sum()),
        "repeated_ids": int(conflict.sum()),
        "conflicting_ids": int((kinds > 1).sum()),
        "missing_id": int((~present).sum()),
        "missing_id_not_asb": int((~present & (frame["Crime type"] != ASB).to_numpy()).sum()),
    }
    frame = frame.drop(columns=["Month", "Falls within"]).rename(columns=_RENAME).reset_index(drop=True)
    frame["month"] = month
    frame["time"] = pd.Series(np.full(len(frame), np.datetime64("NaT", "s")))
    frame["conflict"] = conflict
    return frame, counts


def _place(
    frame: pd.DataFrame, month: np.ndarray, *, crs: str, area: BaseGeometry | None
) -> tuple[gpd.GeoDataFrame, dict[str, int]]:
    """Return the frame with its points, those missing or far outside left off the map, and the counts."""
    xy, points = _project(frame["longitude"].to_numpy(), frame["latitude"].to_numpy(), crs=crs)
    missing = np.isnan(xy[:, 0])
    outside = ~missing & ~_inside(xy, frame["force"], area)
    counts = {
        "missing_location": int(missing.sum()),
        "missing_lsoa": int(frame["lsoa_code"].isna().sum()),
        "outside": int(outside.sum()),
        "shared_point": _shared(points, month),
        "points_many_lsoa": _many_lsoa(points, frame["lsoa_code"]),
    }
    return _geoframe(frame, xy, points, off_map=missing | outside, crs=crs), counts


def _months(column: pd.Series) -> np.ndarray:
    """Return datetime64[s] first days of the months of a categorical column of "2018-01"."""
    days = np.array(list(column.cat.categories), dtype="datetime64[M]").astype("datetime64[s]")
    return days[column.cat.codes.to_numpy()]


def _project(lon: FloatArray, lat: FloatArray, *, crs: str) -> tuple[FloatArray, IntArray]:
    """Return (N, 2) metres and (N,) numbers of the unique points, -1 where missing; each point projected once."""
    import pandas as pd
    from pyproj import Transformer

    there = np.isfinite(lon) & np.isfinite(lat)
    key = np.round(lon[there] * 1e6).astype(np.int64) * (1 << 30) + np.round(lat[there] * 1e6).astype(np.int64)
    codes, _ = pd.factorize(key)
    _, first = np.unique(codes, return_index=True)
    x, y = Transformer.from_crs("EPSG:4326", crs, always_xy=True).transform(lon[there][first], lat[there][first])
    unique = np.column_stack([x, y])
    unique[~np.isfinite(unique).all(axis=1)] = np.nan
    xy = np.full((len(lon), 2), np.nan)
    points = np.full(len(lon), -1, dtype=np.int64)
    xy[there], points[there] = unique[codes], codes
    points[np.isnan(xy[:, 0])] = -1
    return xy, points


def _inside(xy: FloatArray, force: pd.Series, area: BaseGeometry | None) -> BoolArray:
    """Return (N,) whether each located event is near its force, or inside ``area``."""
    import shapely

    if area is not None:
        shapely.prepare(area)
        return shapely.intersects_xy(area, xy[:, 0], xy[:, 1])
    inside = np.isfinite(xy[:, 0])
    codes = force.astype("category").cat.codes.to_numpy()
    for code in np.unique(codes[inside]):
        rows = np.flatnonzero((codes == code) & inside)
        distance = np.hypot(*(xy[rows] - np.median(xy[rows], axis=0)).T)
        inside[rows] = distance <= max(_FAR * np.quantile(distance, 0.99), _FAR_LEAST)
    return inside


def _shared(points: IntArray, month: np.ndarray) -> int:
    """Count the events that share their point with another event of the same month."""
    there = points >= 0
    _, inverse, counts = np.unique(
        points[there] * 10_000 + month[there].astype(np.int64), return_inverse=True, return_counts=True
    )
    return int((counts[inverse] > 1).sum())


def _many_lsoa(points: IntArray, lsoa: pd.Series) -> int:
    codes = lsoa.astype("category").cat.codes.to_numpy().astype(np.int64)
    there = (points >= 0) & (codes >= 0)
    pairs = np.unique(points[there] * (int(codes.max(initial=0)) + 1) + codes[there]) // (int(codes.max(initial=0)) + 1)
    return int((np.unique(pairs, return_counts=True)[1] > 1).sum())


def _geoframe(
    frame: pd.DataFrame, xy: FloatArray, points: IntArray, *, off_map: BoolArray, crs: str
) -> gpd.GeoDataFrame:
    """Build the GeoDataFrame; events at one point share one geometry object."""
    import geopandas as gpd
    import shapely
    from geopandas.array import GeometryArray

    numbers, first = np.unique(points, return_index=True)
    unique = shapely.points(xy[first])
    geometry = unique[np.searchsorted(numbers, points)]
    geometry[off_map] = None
    result = gpd.GeoDataFrame(frame, geometry=GeometryArray(geometry, crs=crs))
    return result[list(COLUMNS)]
