"""Events on disk: one GeoParquet file per force and month, with the quality report beside, read back in part.

folder/_quality.json
folder/force_name=Merseyside%20Police/period=2018-01/events.parquet
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields, replace
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import numpy as np

from crimeface_lib.core.errors import InputError, IntegrityError
from crimeface_lib.core.files import write_atomic
from crimeface_lib.core.results import Result, to_plain
from crimeface_lib.core.types import FloatArray, IntArray
from crimeface_lib.crime._pool import run_tasks
from crimeface_lib.crime.events import COLUMNS, Events
from crimeface_lib.crime.grid import Grid
from crimeface_lib.crime.quality import QualityReport
from crimeface_lib.crime.timeseries import MonthlySeries

if TYPE_CHECKING:
    import geopandas as gpd
    import pandas as pd
    import pyarrow as pa

FORMAT = "crimeface events 1"
REPORT = "_quality.json"  # readers of a folder of Parquet files pass over names that begin so
_TEXTS = ("type", "force", "location", "lsoa_code", "lsoa_name", "outcome")


@dataclass(frozen=True, slots=True)
class Part(Result):
    """One file: a force's month.

    Parameters
    ----------
    path : inside the folder. rows, types : how many events, in all and of each type.
    """

    path: str
    force: str
    month: str
    rows: int
    types: dict[str, int]


@dataclass(frozen=True, slots=True)
class Partitions(Result):
    """Events in a folder of GeoParquet files; nothing is read before it is asked for.

    Parameters
    ----------
    parts : one per force and month, in order.
    quality, completeness, resolution, attribution, caveats, crs : as in ``Events``, of the whole folder.
    """

    folder: Path = field(repr=False)
    parts: tuple[Part, ...] = field(repr=False)
    quality: QualityReport
    completeness: pd.DataFrame = field(repr=False)
    resolution: str
    attribution: str
    caveats: tuple[str, ...]
    crs: str

    def __len__(self) -> int:
        return sum(p.rows for p in self.parts)

    @property
    def months(self) -> pd.PeriodIndex:
        """Every month from the first to the last, gaps included."""
        return self.completeness.columns

    @property
    def types(self) -> tuple[str, ...]:
        """The crime types present, sorted."""
        return tuple(sorted({t for p in self.parts for t in p.types}))

    def select(self, *, start: object = None, end: object = None, forces: Iterable[str] | None = None) -> Partitions:
        """Return the partitions of some forces with ``start`` <= month < ``end``; no file is opened.

        Raises
        ------
        InputError : a force that is not there, or nothing left.
        """
        import pandas as pd

        wanted = [forces] if isinstance(forces, str) else list(self.completeness.index if forces is None else forces)
        if unknown := sorted(set(wanted) - set(self.completeness.index)):
            have = ", ".join(map(str, self.completeness.index))
            raise InputError(f"force: got {', '.join(unknown)}; expected some of: {have}")
        first = pd.Period(start, "M") if start is not None else self.months[0]
        months = self.months[(self.months >= first)]
        if end is not None:
            months = months[months.start_time < pd.Timestamp(end)]
        kept = set(months.astype(str))
        parts = tuple(p for p in self.parts if p.force in set(wanted) and p.month in kept)
        if not parts:
            have = f"{self.months[0]} to {self.months[-1]}"
            raise InputError(f"start, end: got {start} to {end}, which holds no events; expected some of {have}")
        return replace(self, parts=parts, completeness=self.completeness.loc[wanted, months])

    def events(self, *, types: Iterable[str] | None = None) -> Events:
        """Read the events, of some types only if asked; ``select`` first what memory holds.

        Raises
        ------
        InputError : an unknown type. IntegrityError : a file that is lacking or damaged.
        """
        import geopandas as gpd
        import pyarrow as pa
        import shapely

        filters = [("type", "in", self._types(types))] if types is not None else None
        columns = list(COLUMNS)
        options = {"columns": columns, "filters": filters, "read_dictionary": list(_TEXTS)}
        tables = [_read(self.folder, p, **options) for p in self.parts]
        table = pa.concat_tables(tables).unify_dictionaries()
        points = shapely.from_wkb(table["geometry"].to_numpy(zero_copy_only=False))
        frame = table.drop_columns("geometry").to_pandas()
        frame["crime_id"] = frame["crime_id"].astype("str")
        frame[["month", "time"]] = frame[["month", "time"]].astype("datetime64[s]")
        rows = gpd.GeoDataFrame(frame, geometry=points, crs=self.crs)[columns]
        return Events(rows, self.quality, self.completeness, self.resolution, self.attribution, self.caveats)

    def count(
        self, grid: Grid, *, by: str | None = None, types: Iterable[str] | None = None, scheduler: Any = None
    ) -> FloatArray:
        """Count located events per cell, partition by partition.

        Parameters
        ----------
        by : None for (C,) counts; "month" for (months, C), rows as ``months``, NaN where any force has a gap.
        scheduler : as in ``partition_events``.

        Returns
        -------
        Counts in the grid's row order, as ``getis_ord`` and ``local_moran`` take them.

        Raises
        ------
        InputError : another ``by``, an unknown type, or a grid in another plane.
        """
        if by not in (None, "month"):
            raise InputError(f"by: got {by!r}, expected None or 'month'")
        if grid.crs != self.crs:
            raise InputError(f"grid: got CRS {grid.crs}, expected the events' {self.crs}")
        wanted = self._types(types) if types is not None else None
        months = {m: i for i, m in enumerate(self.months.astype(str))}
        counts = np.zeros((len(months) if by else 1, len(grid)))
        tasks = [(self.folder, part, grid, wanted) for part in self.parts]
        for month, cells, number in run_tasks(_count, tasks, scheduler=scheduler):
            counts[months[month] if by else 0, cells] += number
        if by:
            counts[~self.completeness.notna().all().to_numpy()] = np.nan
        return counts if by else counts[0]

    def series(self, *, by: str | None = None) -> MonthlySeries:
        """Count events per month as ``monthly_series`` does, from the list of files alone.

        Raises
        ------
        InputError : an unknown key.
        """
        import pandas as pd

        if by not in (None, "type", "force"):
            raise InputError(f"by: got {by!r}, expected None, 'type' or 'force'")
        counted = [(p, t, n) for p in self.parts for t, n in p.types.items()]
        rows = [(p.month, {None: "all", "type": t, "force": p.force}[by], n) for p, t, n in counted]
        table = pd.DataFrame(rows, columns=["month", "key", "events"])
        frame = table.pivot_table(index="month", columns="key", values="events", aggfunc="sum", fill_value=0)
        frame.index = pd.PeriodIndex(frame.index, freq="M")
        frame = frame.reindex(self.months, fill_value=0).astype(np.float64)
        frame.index.name, frame.columns.name = "month", by
        published = self.completeness.notna()
        if by == "force":
            frame = frame.where(published.T.reindex(columns=frame.columns))
        else:
            frame[~published.all().to_numpy()] = np.nan
        gaps = tuple(str(m) for m in frame.index[frame.isna().any(axis=1).to_numpy()])
        return MonthlySeries(frame, by or "all", gaps, self.attribution)

    def to_frame(self) -> pd.DataFrame:
        """One row per file: force, month, events."""
        import pandas as pd

        return pd.DataFrame([(p.force, p.month, p.rows) for p in self.parts], columns=["force", "month", "events"])

    def to_dict(self) -> dict[str, Any]:
        """What ``_quality.json`` holds; never the rows."""
        return {
            "format": FORMAT, "events": len(self), "crs": self.crs, "resolution": self.resolution,
            "attribution": self.attribution, "caveats": list(self.caveats), "quality": self.quality.to_dict(),
            "completeness": {
                str(force): dict(zip(map(str, self.months), to_plain(row), strict=True))
                for force, row in zip(self.completeness.index, self.completeness.to_numpy(float), strict=True)
            },
            "parts": [p.to_dict() for p in self.parts],
        }  # fmt: skip

    def _repr_html_(self) -> str:
        return (
            f"<p><b>{len(self):,} events</b> in {len(self.parts)} files, {self.months[0]} to {self.months[-1]}, "
            f"{len(self.completeness)} force(s), {len(self.quality.gaps)} months missing.</p>"
            f"{self.quality._repr_html_()}<p><small>{escape(self.attribution)}</small></p>"
        )

    def _types(self, types: Iterable[str]) -> list[str]:
        wanted = [types] if isinstance(types, str) else list(types)
        if unknown := sorted(set(wanted) - set(self.types)):
            raise InputError(f"type: got {', '.join(unknown)}; expected some of: {', '.join(self.types)}")
        return wanted


def write_events(events: Events, folder: str | Path) -> Partitions:
    """Write events as GeoParquet 1.1, one file per force and month, and their quality report.

    Raises
    ------
    InputError : the folder holds something already, or the events have spans (``end``), which these files don't keep.
    """
    target = Path(folder)
    if "end" in events.frame:
        raise InputError("events: got spans in the column 'end', but these files keep no span; read them without end=")
    _refuse_full(target)
    parts = [part for _, part in write_parts(events.frame, target, stem="events")]
    found = Partitions(
        target, tuple(sorted(parts, key=_order)), events.quality, events.completeness, events.resolution,
        events.attribution, events.caveats, str(events.crs),
    )  # fmt: skip
    write_report(found)
    return found


def open_partitions(folder: str | Path) -> Partitions:
    """Open a folder that ``write_events`` or ``partition_events`` wrote.

    Raises
    ------
    InputError : no such folder, one without a report, or of another format. IntegrityError : a damaged report.
    """
    import pandas as pd

    path = Path(folder)
    try:
        stored = json.loads((path / REPORT).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(
            f"{path.name}: has no {REPORT}; expected a folder that write_events or partition_events finished"
        ) from error
    except ValueError as error:
        raise IntegrityError(f"{path.name}/{REPORT}: is not JSON; write the events again") from error
    if not isinstance(stored, dict) or stored.get("format") != FORMAT:
        raise InputError(f"{path.name}/{REPORT}: got another format, expected {FORMAT!r}; write the events again")
    try:
        tuples = {f.name for f in fields(QualityReport) if "tuple" in str(f.type)}
        told: dict[str, Any] = {k: tuple(v) if k in tuples else v for k, v in stored["quality"].items()}
        quality = QualityReport(**told)
        matrix = stored["completeness"]
        rows = {force: [np.nan if n is None else n for n in row.values()] for force, row in matrix.items()}
        months = pd.PeriodIndex(list(next(iter(matrix.values()))), freq="M", name="month")
        completeness = pd.DataFrame.from_dict(rows, orient="index", columns=months).rename_axis(index="force")
        parts = tuple(Part(**part) for part in stored["parts"])
        return Partitions(
            path, parts, quality, completeness, stored["resolution"], stored["attribution"],
            tuple(stored["caveats"]), stored["crs"],
        )  # fmt: skip
    except (KeyError, TypeError, StopIteration) as error:
        raise IntegrityError(f"{path.name}/{REPORT}: is damaged ({error!r}); write the events again") from error


def write_report(partitions: Partitions) -> None:
    """Write ``_quality.json``; with it the folder is complete."""
    text = json.dumps(partitions.to_dict(), indent=1, ensure_ascii=False)
    write_atomic(partitions.folder / REPORT, text.encode())


def write_parts(frame: gpd.GeoDataFrame, folder: Path, *, stem: str) -> list[tuple[Path, Part]]:
    """Write the rows of each force and month to its file, whole or not at all."""
    written = []
    month = frame["month"].to_numpy().astype("datetime64[M]")
    for (force, when), index in frame.groupby(["force", month], observed=True).indices.items():
        period = str(np.datetime64(when, "M"))
        path = folder / f"force_name={quote(str(force), safe='')}" / f"period={period}" / f"{stem}.parquet"
        rows = frame.iloc[index]
        write_part(rows, path)
        types = {str(t): int(n) for t, n in rows["type"].value_counts().items() if n}
        written.append((path, Part(path.relative_to(folder).as_posix(), str(force), period, len(rows), types)))
    return written


def write_part(rows: gpd.GeoDataFrame, path: Path) -> None:
    """Write one GeoParquet file; texts are plain strings, so that the files of a folder share one schema."""
    path.parent.mkdir(parents=True, exist_ok=True)
    plain = rows.assign(**{c: rows[c].astype("str") for c in (*_TEXTS, "crime_id")})
    scratch = path.with_suffix(".tmp")
    plain.to_parquet(scratch, index=False, compression="zstd", schema_version="1.1.0", write_covering_bbox=True)
    scratch.replace(path)


def read_places(folder: Path, part: Part, *, types: Sequence[str] | None = None) -> FloatArray:
    """Return (N, 2) metres of a file's events, NaN off the map; only their bounding boxes are read."""
    import pyarrow.compute as pc

    filters = None if types is None else [("type", "in", types)]
    box = _read(folder, part, columns=["bbox"], filters=filters)["bbox"]
    return np.column_stack([pc.struct_field(box, c).to_numpy().astype(np.float64) for c in ("xmin", "ymin")])


def read_columns(folder: Path, part: Part, columns: Sequence[str]) -> pa.Table:
    """Return some columns of one file."""
    return _read(folder, part, columns=list(columns))


def read_part(folder: Path, part: Part) -> gpd.GeoDataFrame:
    """Return one file's rows; texts as plain strings."""
    import geopandas as gpd

    return gpd.read_parquet(folder / part.path)


def _count(task: tuple[Path, Part, Grid, list[str] | None]) -> tuple[str, IntArray, IntArray]:
    folder, part, grid, types = task
    index = grid.index_of(read_places(folder, part, types=types))
    cells, number = np.unique(index[index >= 0], return_counts=True)
    return part.month, cells, number


def _read(folder: Path, part: Part, **options: Any) -> pa.Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.read_table(folder / part.path, partitioning=None, **options)
    except FileNotFoundError as error:
        raise IntegrityError(f"{part.path}: is listed in {REPORT} but is not there; write the events again") from error
    except (pa.ArrowInvalid, OSError) as error:
        raise IntegrityError(f"{part.path}: is damaged ({error}); write the events again") from error


def _refuse_full(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder.name}: holds something already, expected an empty or new folder; choose another")


def _order(part: Part) -> tuple[str, str, str]:
    return part.force, part.month, part.path
