"""Archives larger than memory: file by file into partitions, the whole looked at only by ids and places."""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from crimeface_lib.core.errors import InputError
from crimeface_lib.core.files import write_atomic
from crimeface_lib.crime import _assemble, ingest
from crimeface_lib.crime._layouts import parse
from crimeface_lib.crime._pool import run_tasks
from crimeface_lib.crime._sources import CsvFile, find_files
from crimeface_lib.crime.events import check_plane
from crimeface_lib.crime.partitions import (
    REPORT,
    Part,
    Partitions,
    open_partitions,
    read_columns,
    read_part,
    read_places,
    write_part,
    write_parts,
    write_report,
)
from crimeface_lib.crime.quality import QualityReport, check_policies, find_gaps

if TYPE_CHECKING:
    import pandas as pd
    from shapely.geometry.base import BaseGeometry

_WORK = "_work"
_IDS_AT_ONCE = 20_000_000
_SUMMED = ("rows_read", "zero_places", "duplicates_dropped", "missing_id", "missing_id_not_asb", "missing_location",
           "missing_lsoa", "shared_point", "outside")  # fmt: skip


class _Task(NamedTuple):
    file: CsvFile
    kind: str
    force: str | None
    crs: str
    area: BaseGeometry | None
    policies: dict[str, str]
    folder: Path
    at: datetime | None

    @property
    def stem(self) -> str:
        """Name of what comes of the file: of its name and content, so that a changed file is read again."""
        return hashlib.sha256(f"{self.file.name}|{self.file.size}|{self.file.mark}".encode()).hexdigest()[:16]


def partition_events(
    source: str | Path,
    folder: str | Path,
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
    scheduler: Any = None,
    workers: int | None = None,
    progress: bool | Callable[[int, int], object] = True,
    max_bytes: int = 64 << 30,
) -> Partitions:
    """Read an archive into a folder of GeoParquet files, as ``read_events`` and ``write_events`` would together.

    Never more than ``workers`` source files are in memory, and of the whole 8 bytes an event for the ids and 16 an
    event of one force for the places. Stopped, it goes on where it was when called again; a source file that
    changed is read again.

    Parameters
    ----------
    folder : new, empty, or begun by an earlier call with the same settings.
    layout, force, crs, area, at, duplicates, missing_place, missing_id, outside, max_bytes : as in ``read_events``.
    scheduler : None or "threads", "processes", "serial"; or a Dask client or its address, whose workers
        must see both folders.
    workers : of a local pool; as many as cores by default.
    progress : True shows a bar; or a function called with how many files are done and how many there are.

    Raises
    ------
    What ``read_events`` raises; InputError too for a folder with other things or other settings in it.
    """
    policies = check_policies(
        duplicates=duplicates, missing_place=missing_place, missing_id=missing_id, outside=outside
    )
    check_plane(crs)
    kind, target = ingest.kind_of(layout), Path(folder)
    found = find_files(source, kind=kind, max_bytes=max_bytes)
    files = ingest.files_of(found.files, force)
    tasks = [_Task(file, kind, force, crs, area, policies, target, at) for file in files]
    settings = {"layout": layout, "force": force, "crs": crs, "area": area.wkt if area is not None else None,
                "policies": policies, "files": sorted(t.stem for t in tasks)}  # fmt: skip
    if (target / REPORT).exists() and _begun(target) == settings:
        return open_partitions(target)
    _begin(target, settings)
    settling = target / _WORK / "settling"
    if settling.exists():  # stopped while files were changed: what the notes say of them is no longer so
        for task in tasks:
            _note(task).unlink(missing_ok=True)
    done = {t.stem: json.loads(p.read_text()) for t in tasks if (p := _note(t)).exists()}
    with _bar(progress) as tell:
        tell(len(done), len(tasks))
        todo = [t for t in tasks if t.stem not in done]
        for stem, note in run_tasks(_read_file, todo, scheduler=scheduler, workers=workers):
            done[stem] = note
            tell(len(done), len(tasks))
    notes = [done[t.stem] for t in tasks]
    if not any(n["rows_read"] for n in notes):
        raise InputError(f"{Path(source).name}: got no rows in {len(files)} {kind} files, expected at least one event")
    settling.touch()
    return _finish(target, notes, found.skipped, found.repeated, policies, crs=crs, area=area, kind=kind)


def _read_file(task: _Task) -> tuple[str, dict[str, Any]]:
    """Read one source file into its partitions and note what it was like; runs in any process."""
    parsed = parse(task.file, kind=task.kind)
    table = ingest.rows_of(parsed.table, task.force) if parsed.table.num_rows else parsed.table
    note: dict[str, Any] = {"rows_read": table.num_rows, "parts": [], "months": [], **ingest.notes([parsed])}
    if table.num_rows:
        name = task.file.name
        frame, note["zero_places"] = ingest.to_rows(table, name=name)
        ingest.refuse_future(frame, task.at, name=name)
        frame, completeness, counts = ingest.settle(frame, task.policies, name=name)
        xy = _assemble.project(frame["longitude"].to_numpy(), frame["latitude"].to_numpy(), crs=task.crs)
        later = task.policies | {"outside": "keep"}  # the whole tells what is far; ids are settled before places
        later["missing_place"] = later["missing_place"].replace("drop", "keep")
        rows, placed = ingest.place(frame, xy, np.isfinite(xy[:, 0]), later, crs=task.crs, name=name)
        note |= counts | placed
        note["months"] = [(f, str(m), n) for (f, m), n in completeness.stack().items()]
        note["parts"] = [part.to_dict() for _, part in write_parts(rows, task.folder, stem=task.stem)]
    write_atomic(_note(task), json.dumps(note).encode())
    return task.stem, note


def _finish(
    folder: Path, notes: list[dict[str, Any]], skipped: dict[str, int], repeated: int, policies: dict[str, str], *,
    crs: str, area: BaseGeometry | None, kind: str,
) -> Partitions:  # fmt: skip
    """Settle what no single file can tell, and write the report."""
    completeness = _completeness([m for n in notes for m in n["months"]])
    parts = [Part(**p) for n in notes for p in n["parts"]]
    parts, again, double = _merge(folder, parts, policies)
    for (force, month), number in double.items():
        completeness.loc[force, month] -= number
    shared, conflicting = _flag_shared_ids(folder, parts)
    many_lsoa = _many_lsoa(folder, parts)
    parts, outside = _settle_places(folder, parts, policies, area)
    counts: dict[str, Any] = {name: sum(int(n.get(name, 0)) for n in notes) for name in _SUMMED}
    counts["outside"] = outside
    for name, number in again.items():
        counts[name] += number
    quality = QualityReport(
        rows=sum(p.rows for p in parts), files=len(notes), files_skipped=skipped, files_repeated=repeated,
        empty_files=sum(n["empty_files"] for n in notes), gaps=find_gaps(completeness), policies=policies,
        repeated_ids=shared, conflicting_ids=conflicting, points_many_lsoa=many_lsoa,
        dropped=_assemble.dropped(counts, policies), **_joined(notes), **counts,
    )  # fmt: skip
    like = ingest.as_events(read_part(folder, parts[0]).iloc[:0], quality, completeness, kind=kind)
    result = Partitions(
        folder, tuple(sorted(parts, key=lambda p: (p.force, p.month))), quality, completeness, like.resolution,
        like.attribution, like.caveats, crs,
    )  # fmt: skip
    write_report(result)
    return result


def _completeness(months: list[tuple[str, str, float]]) -> pd.DataFrame:
    import pandas as pd

    table = pd.DataFrame(months, columns=["force", "month", "rows"])
    table["month"] = pd.PeriodIndex(table["month"], freq="M")
    matrix = table.pivot_table(index="force", columns="month", values="rows", aggfunc="sum")
    span = pd.period_range(matrix.columns.min(), matrix.columns.max(), name="month")
    return matrix.reindex(columns=span).astype(np.float64)


def _merge(
    folder: Path, parts: list[Part], policies: dict[str, str]
) -> tuple[list[Part], Counter[str], dict[tuple[str, str], int]]:
    """Bring a force's month that several files had into one; return how the counts and the completeness change."""
    import pandas as pd

    groups = defaultdict(list)
    for part in parts:
        groups[part.force, part.month].append(part)
    result: list[Part] = []
    change: Counter[str] = Counter()
    double = {}
    for (force, month), group in groups.items():
        if len(group) > 1:
            pieces = [read_part(folder, p) for p in group]
            rows = pd.concat(pieces, ignore_index=True)
            keep, _, counts = _assemble.settle_ids(rows, policies, name=f"{force} {month}")
            change["duplicates_dropped"] += counts["duplicates_dropped"]
            change["missing_location"] -= int(rows.loc[~keep, "longitude"].isna().sum())
            change["missing_lsoa"] -= int(rows.loc[~keep, "lsoa_code"].isna().sum())
            change["shared_point"] += _shared(rows[keep]) - sum(_shared(piece) for piece in pieces)
            double[force, month] = int((~keep).sum())
            write_part(rows[keep], folder / group[0].path)
            for part in group[1:]:
                (folder / part.path).unlink()
            group = [_counted(group[0], rows[keep])]
        result += group
    return result, change, double


def _settle_places(
    folder: Path, parts: list[Part], policies: dict[str, str], area: BaseGeometry | None
) -> tuple[list[Part], int]:
    """Follow the policies on places, force by force; return the files that are left and how many events lay outside."""
    import pandas as pd

    result, number = [], 0
    for force in sorted({p.force for p in parts}):
        own = [p for p in parts if p.force == force]
        places = [read_places(folder, p) for p in own]
        xy = np.concatenate(places)
        inside = _assemble.near(xy, pd.Series([force]).repeat(len(xy)), area)
        keep, on_map, placed = _assemble.settle_places(xy, inside, policies, name=force)
        number += placed["outside"]
        off_map = np.isfinite(xy[:, 0]) & ~on_map
        ends = np.cumsum([len(p) for p in places])[:-1]
        for part, left, off in zip(own, np.split(keep, ends), np.split(off_map, ends), strict=True):
            if not left.all() or off.any():
                rows = read_part(folder, part)
                rows.loc[off, "geometry"] = None
                write_part(rows[left], folder / part.path)
                part = _counted(part, rows[left])
            result.append(part)
    return [p for p in result if p.rows], number


def _flag_shared_ids(folder: Path, parts: list[Part]) -> tuple[int, int]:
    """Flag events that share an id, wherever the other lies; return how many, and how many ids have several types."""
    import pandas as pd

    flagged, conflicting = 0, 0
    passes = -(-sum(p.rows for p in parts) // _IDS_AT_ONCE)
    for turn in range(passes):
        shared = (
            _repeated(_ids(folder, p)[1] for p in parts)
            if passes == 1
            else _repeated(number[number % passes == turn] for number in (_ids(folder, p)[1] for p in parts))
        )
        kinds = []
        for part in parts if len(shared) else []:
            present, number = _ids(folder, part)
            here = present[np.isin(number, shared)]
            if len(here):
                rows = read_part(folder, part)
                kinds.append(rows.iloc[here][["crime_id", "type"]].astype("str"))
                flagged += len(here)
                if not rows["conflict"].to_numpy()[here].all():
                    rows.loc[here, "conflict"] = True
                    write_part(rows, folder / part.path)
        if kinds:
            conflicting += int((pd.concat(kinds).groupby("crime_id")["type"].nunique() > 1).sum())
    return flagged, conflicting


def _ids(folder: Path, part: Part) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint64]]:
    """Return which rows have an id, and a 64-bit number of each."""
    import pandas as pd

    texts = read_columns(folder, part, ["crime_id"])["crime_id"].to_pandas()
    present = np.flatnonzero(texts.notna().to_numpy())
    return present, pd.util.hash_array(texts.to_numpy(dtype=object)[present], categorize=False)


def _repeated(numbers: Iterator[npt.NDArray[np.uint64]]) -> npt.NDArray[np.uint64]:
    every = np.concatenate(list(numbers))
    every.sort()
    return np.unique(every[1:][every[1:] == every[:-1]])


def _many_lsoa(folder: Path, parts: list[Part]) -> int:
    """Count points that lay in several LSOAs; held are the different pairs of the two."""
    import pandas as pd

    pairs: pd.DataFrame | None = None
    for part in parts:
        table = read_columns(folder, part, ["longitude", "latitude", "lsoa_code"]).to_pandas().dropna()
        pairs = pd.concat([pairs, table]).drop_duplicates() if pairs is not None else table.drop_duplicates()
    return int((pairs.groupby(["longitude", "latitude"]).size() > 1).sum()) if pairs is not None else 0


def _shared(rows: pd.DataFrame) -> int:
    return int(rows[["longitude", "latitude"]].dropna().duplicated(keep=False).sum())


def _counted(part: Part, rows: pd.DataFrame) -> Part:
    types = {str(t): int(n) for t, n in rows["type"].value_counts().items() if n}
    return replace(part, rows=len(rows), types=types)


def _joined(notes: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what the files were like, all together."""
    encodings: Counter[str] = Counter()
    absent: Counter[str] = Counter()
    for note in notes:
        encodings.update(note["encodings"])
        absent.update(note["columns_absent"])
    return {
        "encodings": dict(encodings),
        "columns_absent": dict(absent),
        "columns_ignored": tuple(sorted({c for n in notes for c in n["columns_ignored"]})),
        "persons_dropped": tuple(dict.fromkeys(c for n in notes for c in n["persons_dropped"])),
    }


def _note(task: _Task) -> Path:
    return task.folder / _WORK / f"{task.stem}.json"


def _begun(folder: Path) -> object:
    path = folder / _WORK / "settings.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def _begin(folder: Path, settings: dict[str, Any]) -> None:
    """Write the settings, or check that they are those of the call that began the folder."""
    begun = _begun(folder)
    if begun is None and folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder.name}: holds something already, expected an empty or new folder; choose another")
    if begun is not None and begun != settings:
        raise InputError(
            f"{folder.name}: was begun with other settings or other files; choose another folder, or delete this one"
        )
    write_atomic(folder / _WORK / "settings.json", json.dumps(settings).encode())


@contextmanager
def _bar(progress: bool | Callable[[int, int], object]) -> Iterator[Callable[[int, int], object]]:
    if callable(progress):
        yield progress
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("files read"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), disable=not progress) as bars:
        task = bars.add_task("", total=None)
        yield lambda done, total: bars.update(task, completed=done, total=total)
