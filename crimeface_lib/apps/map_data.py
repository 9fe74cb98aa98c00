"""What the crime map draws from: the events, counted by month and cell, so that any choice of months is a sum."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from crimeface_lib.core.errors import InputError
from crimeface_lib.core.hashing import content_hash, sha256_file
from crimeface_lib.core.settings import Settings, load_settings
from crimeface_lib.core.types import BoolArray, FloatArray, IntArray
from crimeface_lib.crime import Events, Grid, cell_groups, make_grid, read_events

if TYPE_CHECKING:
    import geopandas as gpd
    import pandas as pd

_SAMPLE_SEED, _SAMPLE_MONTHS = 20260101, 36


@dataclass(frozen=True, slots=True)
class AppEvents:
    """The events an app shows, and the SHA-256 of what they were read from."""

    events: Events
    sha256: str


def load_app_events(*, settings: Settings | None = None) -> AppEvents:
    """Return the events the app shows: those in ``<home>/apps/crime``, else the synthetic sample.

    The folder holds one zip of data.police.uk, or the files of one unpacked.

    Raises
    ------
    InputError : several zips, or no street-level file in the folder.
    """
    folder = (settings or load_settings()).stores / "apps" / "crime"
    if folder.is_dir() and any(folder.iterdir()):
        zips = sorted(folder.glob("*.zip"))
        if len(zips) > 1:
            raise InputError(f"{folder.name}: got {len(zips)} zips, expected one; leave the one to show")
        return _read(zips[0] if zips else folder)
    from crimeface_lib.synthetic import synthetic_crimes, write_police_uk

    with tempfile.TemporaryDirectory() as place:
        write_police_uk(synthetic_crimes(months=_SAMPLE_MONTHS, rng=_SAMPLE_SEED).table, Path(place))
        return _read(Path(place))


def _read(source: Path) -> AppEvents:
    if source.is_file():
        return AppEvents(read_events(source), sha256_file(source))
    files = {file.relative_to(source).as_posix(): sha256_file(file) for file in sorted(source.rglob("*.csv"))}
    return AppEvents(read_events(source), content_hash(files).removeprefix("sha256:"))


class CellMonths:
    """Events of each type, counted by month and cell.

    Parameters
    ----------
    source : events, at least one with a location.
    cell : side of a cell, metres.

    Attributes
    ----------
    cell : (N,) the cell of each event, -1 off the map. month : (N,) months since the first. kind : (N,) its type, an
        index into ``events.types``. published, whole : (M,) whether any force, and whether every force, has the month.
    """

    def __init__(self, source: AppEvents, *, cell: float) -> None:
        import pandas as pd

        events = source.events
        self.events, self.sha256, self.grid = events, source.sha256, make_grid(events, cell=cell)
        self.cell = self.grid.index_events(events)
        month = events.frame["month"].to_numpy().astype("datetime64[M]").astype(np.int64)
        self.month = month - events.months[0].ordinal
        self.kind = pd.Categorical(events.frame["type"].astype(str), categories=events.types).codes
        self.published = events.completeness.notna().any(axis=0).to_numpy()
        self.whole = events.completeness.notna().all(axis=0).to_numpy()
        self._order = np.argsort(self.cell, kind="stable")
        self._starts = np.searchsorted(self.cell[self._order], np.arange(len(self.grid) + 1))
        self._kept: dict[Any, Any] = {}

    def keep(self, key: Any, make: Callable[[], Any]) -> Any:
        """Return what ``make`` returned for this key, calling it once."""
        if key not in self._kept:
            self._kept[key] = make()
        return self._kept[key]

    def chosen(self, kind: str | None) -> BoolArray:
        """Return (N,) whether each event is of a type; all types where None."""
        if kind is None:
            return np.ones(len(self.kind), dtype=bool)
        return np.asarray(self.kind == self.events.types.index(kind))

    def counts(self, kind: str | None) -> IntArray:
        """Return (M, C) events of a type; a month that was not published has zeros, ``published`` tells which."""
        return self.keep(("counts", kind), lambda: self._count(kind, self.cell, len(self.grid)))

    def density(self, kind: str | None, *, bandwidth: float) -> FloatArray:
        """Return (M, C) events per km², as ``kde`` smooths each month: densities add up as events do."""
        return self.keep(("density", kind, bandwidth), lambda: self._smooth(kind, bandwidth))

    def points(self, kind: str | None) -> tuple[FloatArray, IntArray]:
        """Return (P, 2) snap points in metres, and (M, P) how many events each has."""
        place, xy = self.keep("points", self._places)
        return xy, self.keep(("points", kind), lambda: self._count(kind, place, len(xy)))

    def rows(self, cell: int) -> IntArray:
        """Return the rows of ``events.frame`` that lie in a cell."""
        return self._order[self._starts[cell] : self._starts[cell + 1]]

    def name(self, cell: int) -> str:
        """Return how the source calls the place: the area and the street that most of the cell's events name."""
        return self.keep(("name", cell), lambda: self._name(self.rows(cell)))

    def areas(self, borders: gpd.GeoDataFrame | None) -> dict[str, BoolArray]:
        """Return (C,) which cells belong to each area, by name: those of ``borders``, else the districts."""
        return self.keep(("areas", id(borders)), lambda: self._areas(borders))

    def _areas(self, borders: gpd.GeoDataFrame | None) -> dict[str, BoolArray]:
        from crimeface_lib.crime.groups import NO_GROUP
        from crimeface_lib.workflow.crime_pages import NOWHERE, names_at

        if borders is not None and borders["name"].ne("").any():
            found = names_at(self.grid.centres(), borders)
        else:
            table = _districts(self.events)
            if table.empty:
                return {}
            found = cell_groups(self.events, self.grid, table)
        names = sorted(set(found) - {NOWHERE, NO_GROUP, ""})
        return {str(name): found == name for name in names}

    def _name(self, rows: IntArray) -> str:
        area, street = (_most(self.events.frame[column].iloc[rows]) for column in ("lsoa_name", "location"))
        return ", ".join(filter(None, (area, street.removeprefix("On or near ")))) or "no name"

    def _count(self, kind: str | None, place: IntArray, number: int) -> IntArray:
        keep = self.chosen(kind) & (place >= 0)
        months = len(self.events.months)
        flat = self.month[keep] * number + place[keep]
        return np.bincount(flat, minlength=months * number).reshape(months, number)

    def _smooth(self, kind: str | None, bandwidth: float) -> FloatArray:
        from crimeface_lib.crime.hotspot import gaussian_surface

        keep = np.flatnonzero(self.chosen(kind) & (self.cell >= 0))
        keep = keep[np.argsort(self.month[keep], kind="stable")]
        ends = np.searchsorted(self.month[keep], np.arange(len(self.events.months) + 1))
        xy = self.events.coordinates()[keep]
        # the correction at the edge is of the place alone: worked out once, it holds for each month
        _, weight = gaussian_surface(xy, np.ones(len(xy)), self.grid, bandwidth=bandwidth, edge=True)
        surfaces = np.zeros((len(self.events.months), len(self.grid)))
        for month, (first, last) in enumerate(pairwise(ends)):
            if last > first:
                part = slice(first, last)
                surfaces[month], _ = gaussian_surface(
                    xy[part], weight[part], self.grid, bandwidth=bandwidth, edge=False
                )
        return surfaces * 1e6

    def _places(self) -> tuple[IntArray, FloatArray]:
        """Return (N,) the snap point of each event, -1 off the map, and (P, 2) where they are, to 10 cm."""
        there = self.cell >= 0
        tenths = np.round(self.events.coordinates()[there] * 10).astype(np.int64)
        low, span = tenths.min(axis=0), int(np.ptp(tenths[:, 1])) + 1
        flat, number = np.unique((tenths[:, 0] - low[0]) * span + tenths[:, 1] - low[1], return_inverse=True)
        place = np.full(len(there), -1, dtype=np.int64)
        place[there] = number
        return place, np.column_stack([flat // span + low[0], flat % span + low[1]]) / 10


def _most(column: pd.Series) -> str:
    counts = column.dropna().astype(str).value_counts()
    return str(counts.index[0]) if len(counts) else ""


def _districts(events: Events) -> pd.DataFrame:
    """Return the area (LSOA code) and its district: the LSOA's name without the number at its end."""
    pairs = events.frame[["lsoa_code", "lsoa_name"]].dropna().drop_duplicates("lsoa_code").astype(str)
    return pairs.assign(group=pairs["lsoa_name"].str.rsplit(n=1).str[0]).rename(columns={"lsoa_code": "area"})


def part_of(grid: Grid, inside: BoolArray) -> Grid:
    """Return the cells of a grid that are ``inside``, in their order."""
    cells = grid.cells[inside].reset_index(drop=True)
    return replace(grid, row=grid.row[inside], column=grid.column[inside], cells=cells)
