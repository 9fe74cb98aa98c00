"""Reading the archives of data.police.uk: street-level crimes, stops and searches."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from crimeface_lib.core.errors import InputError, SchemaError
from crimeface_lib.core.types import FloatArray, Progress
from crimeface_lib.crime import _assemble
from crimeface_lib.crime._layouts import Parsed, parse, read_header
from crimeface_lib.crime._sources import CsvFile, find_files, to_utf8
from crimeface_lib.crime.events import (
    OGL_ATTRIBUTION,
    POLICE_UK_CAVEATS,
    SYNTHETIC_ATTRIBUTION,
    Events,
    check_plane,
)
from crimeface_lib.crime.partitions import open_partitions
from crimeface_lib.crime.quality import QualityReport, check_policies, completeness_matrix, find_gaps

if TYPE_CHECKING:
    import geopandas as gpd
    import pandas as pd
    import pyarrow as pa
    from shapely.geometry.base import BaseGeometry

#: Layouts that ``read_events`` reads, and the kind of file each is made of.
LAYOUTS = {"police.uk": "street", "police.uk/stop-and-search": "stop-and-search"}
OWN = "crimeface"
STOP_CAVEATS = (
    POLICE_UK_CAVEATS[0],
    "Stops follow patrols, not crime: they are left out of forecasts unless asked for.",
    "Who was stopped is dropped before it is read: columns about persons never enter.",
    "Some forces give the day of a stop, not its hour.",
    POLICE_UK_CAVEATS[2],
)
#: Force of the synthetic sample (``synthetic.crimes``): its events are never attributed to the police.
SYNTHETIC_FORCE = "Demo Constabulary"


def read_events(
    source: str | Path,
    *,
    layout: str = "police.uk",
    force: str | None = None,
    crs: str = "EPSG:27700",
    area: BaseGeometry | None = None,
    at: datetime | None = None,
    duplicates: str = "drop",
    missing_place: str = "keep",
    missing_id: str = "keep",
    outside: str = "clip",
    max_bytes: int = 8 << 30,
    progress: Progress | None = None,
) -> Events:
    """Read events from a folder tree, a zip or one CSV of data.police.uk.

    Files of other kinds are skipped and counted; ``join_outcomes`` adds those of outcomes. Of overlapping archives
    the last in name order gives a force's month. For more than memory holds, see ``partition_events``.

    Parameters
    ----------
    layout : "police.uk", the street-level crimes; or "police.uk/stop-and-search", whose columns about persons are
        dropped unread; or "crimeface", a folder of ``write_events`` or ``partition_events``, for which the options
        from ``crs`` on were decided when it was written (``open_partitions`` reads parts of it).
    force : keep one force, by its name ("Merseyside Police") or its file slug ("merseyside").
    crs : projected plane, in metres; the British National Grid by default.
    area : polygon in ``crs``; events beyond it are outside. By default those farther from their
        force's centre than 3 times the radius holding 99 % of its events are.
    at : when given, months after it are refused.
    duplicates : exact duplicates of a row with an id: "drop", "keep" or "refuse".
    missing_place, missing_id : "keep" (off the map), "drop" or "refuse".
    outside : "clip" (kept in tables, off the map), "keep", "drop" or "refuse".
    max_bytes : limit on the CSV bytes, inflated.
    progress : called with how many files are read, and of how many.

    Raises
    ------
    InputError : no such source or force, an unknown layout or policy, an unsafe zip, no rows at all.
    SchemaError : a lacking column or an impossible value, with file, row and column; what a policy refuses.
    RefusedError : a column or values about persons, or positions finer than snap points.
    """
    import pyarrow as pa

    policies = check_policies(
        duplicates=duplicates, missing_place=missing_place, missing_id=missing_id, outside=outside
    )
    if layout == OWN:
        return open_partitions(source).select(forces=force).events()
    kind, name = kind_of(layout), Path(source).name
    check_plane(crs)
    found = find_files(source, kind=kind, max_bytes=max_bytes)
    files = files_of(found.files, force)
    parsed = []
    for number, file in enumerate(files, start=1):
        parsed.append(parse(file, kind=kind))
        if progress is not None:
            progress(number, len(files))
    table = rows_of(pa.concat_tables([p.table for p in parsed]).unify_dictionaries(), force)
    if table.num_rows == 0:
        raise InputError(f"{name}: got no rows in {len(files)} {kind} files, expected at least one event")
    frame, zero = to_rows(table, name=name)
    refuse_future(frame, at, name=name)
    frame, completeness, counts = settle(frame, policies, name=name)
    xy = _assemble.project(frame["longitude"].to_numpy(), frame["latitude"].to_numpy(), crs=crs)
    inside = _assemble.near(xy, frame["force"], area)
    frame, placed = place(frame, xy, inside, policies, crs=crs, name=name)
    quality = QualityReport(
        rows_read=table.num_rows, rows=len(frame), files=len(files), files_skipped=found.skipped,
        files_repeated=found.repeated, gaps=find_gaps(completeness), policies=policies, zero_places=zero,
        dropped=_assemble.dropped(counts | placed, policies), **notes(parsed), **counts, **placed,
    )  # fmt: skip
    return as_events(frame, quality, completeness, kind=kind)


def check_source(source: str | Path, *, layout: str = "police.uk", max_bytes: int = 8 << 30) -> int:
    """Check the header of each file of the layout and the rows of the first, quickly; return how many there are.

    Raises
    ------
    What ``read_events`` raises, for the parts it looks at.
    """
    if layout == OWN:
        return len(open_partitions(source).parts)
    kind = kind_of(layout)
    files = find_files(source, kind=kind, max_bytes=max_bytes).files
    rows = False
    for number, file in enumerate(files):
        if number == 0:
            rows = parse(file, kind=kind).table.num_rows > 0
            continue
        data, _ = to_utf8(file.read(), name=file.name)
        read_header(data, name=file.name, kind=kind)
        rows = rows or b"\n" in data.strip()
    if not rows:
        raise InputError(f"{Path(source).name}: got no rows in {len(files)} {kind} files, expected at least one event")
    return len(files)


def kind_of(layout: str) -> str:
    """Return the kind of file a layout is made of."""
    if layout == "police.uk/outcomes":
        raise InputError(f"layout: got {layout!r}, which has no events of its own; join_outcomes adds them to events")
    if layout not in LAYOUTS:
        raise InputError(
            f"layout: got {layout!r}, expected one of {', '.join((*LAYOUTS, OWN))}; read_points reads other tables"
        )
    return LAYOUTS[layout]


def slug(force: str) -> str:
    """Return a force's name as data.police.uk writes it in file names.

    >>> [slug(f) for f in ("Devon & Cornwall Police", "Police Service of Northern Ireland", "British Transport Police")]
    ['devon-and-cornwall', 'northern-ireland', 'btp']
    """
    name = re.sub(r"\b(police service of|police|constabulary|service)\b", " ", force.lower().replace("&", "and"))
    found = "-".join(re.findall(r"[a-z]+", name))
    return "btp" if found == "british-transport" else found


def files_of(files: list[CsvFile], force: str | None) -> list[CsvFile]:
    """Return the files named after ``force``, or all when the names don't tell."""
    named = [f for f in files if force is not None and f.force == slug(force)]
    return named or files


def rows_of(table: pa.Table, force: str | None) -> pa.Table:
    """Return the rows of ``force``, by name or slug; all when none is asked for."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if force is None:
        return table
    names = table["force"].combine_chunks().dictionary.to_pylist()
    wanted = [n for n in names if n == force or slug(n) == slug(force)]
    if not wanted:
        raise InputError(f"force: got {force!r}, expected one of: {', '.join(sorted(names)) or 'none (no rows)'}")
    return table.filter(pc.is_in(table["force"].cast(pa.string()), pa.array(wanted)))


def to_rows(table: pa.Table, *, name: str) -> tuple[pd.DataFrame, int]:
    """Return the parsed rows as a frame, places at 0°, 0° or with half of their coordinates missing, and how many
    were at 0°, 0°.
    """
    frame = table.to_pandas()
    frame["crime_id"] = frame["crime_id"].astype("str")
    frame["month"] = _months(frame["month"])
    frame["time"] = frame["time"].astype("datetime64[s]")
    zero = (frame["longitude"] == 0) & (frame["latitude"] == 0)
    half = frame["longitude"].isna() | frame["latitude"].isna()
    frame.loc[zero | half, ["longitude", "latitude"]] = np.nan
    _assemble.check_degrees(frame["longitude"].to_numpy(), frame["latitude"].to_numpy(), crs="EPSG:27700", name=name)
    return frame, int(zero.sum())


def refuse_future(frame: pd.DataFrame, at: datetime | None, *, name: str) -> None:
    """Refuse months after ``at``."""
    months = frame["month"].to_numpy().astype("datetime64[M]")
    if at is not None and (months > np.datetime64(at.strftime("%Y-%m"))).any():
        raise SchemaError(f"{name}: got the month {months.max()}, expected none after {at:%Y-%m}; check the clock")


def settle(
    frame: pd.DataFrame, policies: dict[str, str], *, name: str
) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, Any]]:
    """Return the rows after the policies on duplicates and ids, the completeness, and the counts."""
    distinct, keep, counts = _assemble.settle_ids(frame, policies, name=name)
    completeness = completeness_matrix(frame["force"][distinct], frame["month"].to_numpy()[distinct])
    return frame[keep].reset_index(drop=True), completeness, counts


def place(
    frame: pd.DataFrame, xy: FloatArray, inside: Any, policies: dict[str, str], *, crs: str, name: str
) -> tuple[gpd.GeoDataFrame, dict[str, Any]]:
    """Return the rows with their points after the policies on places, and the counts."""
    keep, on_map, placed = _assemble.settle_places(xy, inside, policies, name=name)
    placed |= _assemble.lsoa_counts(frame, xy)
    return _assemble.to_geoframe(frame[keep].reset_index(drop=True), xy[keep], on_map[keep], crs=crs), placed


def notes(parsed: Sequence[Parsed]) -> dict[str, Any]:
    """Return what the files were like, for the quality report."""
    headers = [p.header for p in parsed]
    return {
        "empty_files": sum(p.table.num_rows == 0 for p in parsed),
        "encodings": dict(Counter(p.encoding for p in parsed if p.encoding != "UTF-8")),
        "columns_absent": dict(Counter(c for h in headers for c in h.absent)),
        "columns_ignored": tuple(sorted({c for h in headers for c in h.ignored})),
        "persons_dropped": tuple(dict.fromkeys(c for h in headers for c in h.persons)),
    }


def as_events(frame: gpd.GeoDataFrame, quality: QualityReport, completeness: pd.DataFrame, *, kind: str) -> Events:
    """Return the events with the attribution and caveats of their source."""
    synthetic = set(completeness.index) <= {SYNTHETIC_FORCE, slug(SYNTHETIC_FORCE)}
    stops = kind == "stop-and-search"
    caveats = STOP_CAVEATS if stops else POLICE_UK_CAVEATS
    return Events(
        frame=frame,
        quality=quality,
        completeness=completeness,
        resolution="time" if stops else "month",
        attribution=SYNTHETIC_ATTRIBUTION if synthetic else OGL_ATTRIBUTION,
        caveats=(*caveats, SYNTHETIC_ATTRIBUTION) if synthetic else caveats,
    )


def _months(column: pd.Series) -> np.ndarray:
    """Return datetime64[s] first days of the months of a categorical column of "2018-01"."""
    days = np.array(list(column.cat.categories), dtype="datetime64[M]").astype("datetime64[s]")
    return days[column.cat.codes.to_numpy()]
