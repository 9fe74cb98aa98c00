"""Events: what happened, where and when, with what is wrong or missing in the source beside it.

Events are keyed by place and time only. A table with a column about persons is refused (``refuse_person_columns``).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from crimeface_lib.core.errors import InputError, RefusedError, SchemaError
from crimeface_lib.core.results import Result, to_plain
from crimeface_lib.core.types import FloatArray

if TYPE_CHECKING:
    import geopandas as gpd
    import pandas as pd
    from shapely.geometry.base import BaseGeometry

OGL_ATTRIBUTION = "Contains public sector information licensed under the Open Government Licence v3.0."
SYNTHETIC_ATTRIBUTION = "Synthetic sample made by crimeface: a town, streets and crimes that do not exist."
ASB = "Anti-social behaviour"
#: Types found by policing rather than reported to it: their counts follow patrols, so forecasts leave them out.
POLICE_DISCOVERED = ("Drugs", "Possession of weapons", "Stop and search")

POLICE_UK_CAVEATS = (
    "Locations are snap points: approximate, each for at least 8 addresses or none, and they change over the years.",
    "Time is the month: nothing can be said about days, weeks or hours.",
    "A month that a force did not publish is a gap, not a month without crime.",
    "Recorded crime is not all crime: what is reported and recorded differs between places and types.",
)

#: Columns of every ``Events.frame``, in order; ``geometry`` is the projected point, or missing.
COLUMNS = (
    "crime_id", "month", "time", "type", "force", "longitude", "latitude", "location",
    "lsoa_code", "lsoa_name", "outcome", "conflict", "geometry",
)  # fmt: skip

_PERSON = re.compile(
    r"^(name|(full|first|last|middle|given|family|maiden)names?|forenames?|surname|alias|dob|age|agerange|sex|gender|race|"
    r"nhs(no|number)?|nino|passport\w*|pnc(id)?|ssn|phone\w*|mobile|email|homeaddress)$"
    r"|dateofbirth|birthdate|ethnicity|nationality|religion|nationalinsurance|socialsecurity"
    r"|(suspect|offender|victim|arrestee|detainee|complainant|witness|defendant|person|nominal)(s|id|ids|name|names|number|ref|key|dob|age|sex|address)?$"
)


def refuse_person_columns(columns: Iterable[object], *, where: str = "the table") -> None:
    """Refuse a table that has a column about persons: events are keyed by place and time.

    Raises
    ------
    RefusedError : a name, a date of birth, an ethnicity, a suspect, victim or person key among ``columns``.

    >>> refuse_person_columns(["Crime ID", "LSOA name", "Month"])
    >>> refuse_person_columns(["Month", "Date of birth"])
    Traceback (most recent call last):
    ...
    crimeface_lib.core.errors.RefusedError: the table: got columns about persons (Date of birth); ...
    """
    found = [str(c) for c in columns if _PERSON.search(re.sub(r"[^a-z0-9]", "", str(c).lower()))]
    if found:
        raise RefusedError(
            f"{where}: got columns about persons ({', '.join(found)}); crime analysis takes events keyed by place and "
            "time only (policy P7: places, never persons); drop these columns at the source"
        )


@dataclass(frozen=True, slots=True)
class QualityReport(Result):
    """What was read, dropped, kept with a flag, and left off the map, each by a named policy with its count."""

    rows_read: int
    rows: int
    files: int
    files_skipped: dict[str, int]
    empty_files: int
    duplicates_dropped: int
    repeated_ids: int
    conflicting_ids: int
    missing_id: int
    missing_id_not_asb: int
    missing_location: int
    missing_lsoa: int
    outside: int
    shared_point: int
    points_many_lsoa: int
    gaps: tuple[str, ...]

    def to_frame(self) -> pd.DataFrame:
        """One row per check: count, share of the rows kept, and the policy followed."""
        import pandas as pd

        per_row = [
            ("exact duplicate rows with one crime id", self.duplicates_dropped, "dropped, one kept"),
            ("rows that still share a crime id", self.repeated_ids, "kept, flagged as a conflict"),
            ("no crime id", self.missing_id, "kept; anti-social behaviour never has one"),
            ("no crime id, other types", self.missing_id_not_asb, "kept"),
            ("no location", self.missing_location, "kept in tables, off the map"),
            ("location far outside", self.outside, "clipped: kept in tables, off the map"),
            ("no LSOA", self.missing_lsoa, "kept"),
            ("shares its point with another event of the month", self.shared_point, "kept: points are snap points"),
        ]
        rows = [(name, count, count / self.rows if self.rows else np.nan, policy) for name, count, policy in per_row]
        skipped = ", ".join(f"{n} {kind}" for kind, n in sorted(self.files_skipped.items())) or "none"
        rows = [
            ("rows read", self.rows_read, np.nan, f"from {self.files} files; skipped: {skipped}"),
            ("rows kept", self.rows, np.nan, ""),
            *rows,
            ("crime ids with different types", self.conflicting_ids, np.nan, "all kept and flagged"),
            ("points with more than one LSOA", self.points_many_lsoa, np.nan, "kept: boundaries and points change"),
            (
                "months missing",
                len(self.gaps),
                np.nan,
                "; ".join(self.gaps[:12]) + ("; …" if len(self.gaps) > 12 else ""),
            ),
            ("files with a header only", self.empty_files, np.nan, "a gap, not a month without crime"),
        ]
        return pd.DataFrame(rows, columns=["check", "count", "share", "policy"])

    def _repr_html_(self) -> str:
        table = self.to_frame()
        table["count"] = table["count"].map("{:,}".format)
        table["share"] = table["share"].map(lambda share: "–" if np.isnan(share) else f"{share:.2%}")
        return table.to_html(index=False, border=0, classes="cf-table")


@dataclass(frozen=True, slots=True)
class Events(Result):
    """Crime events in a projected plane.

    Parameters
    ----------
    frame : GeoDataFrame with ``COLUMNS``; ``month`` is the first day of the month, ``time`` the full stamp or NaT
        where the source tells the month only; ``geometry`` the projected point in metres, missing off the map.
    quality : what was dropped, kept and flagged.
    completeness : rows per force (index) and month (columns, monthly periods); NaN is a gap, not zero.
    resolution : "month" or "time".
    attribution, caveats : to be printed on each map and report made from these events.
    """

    frame: gpd.GeoDataFrame = field(repr=False)
    quality: QualityReport
    completeness: pd.DataFrame
    resolution: str
    attribution: str
    caveats: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        refuse_person_columns(self.frame.columns, where="events")
        lacking = [c for c in COLUMNS if c not in self.frame.columns]
        if lacking:
            raise SchemaError(
                f"events: the frame lacks {', '.join(lacking)}; expected {', '.join(COLUMNS)}; use read_events"
            )
        if self.frame.crs is None or not self.frame.crs.is_projected:
            raise SchemaError(
                f"events: got CRS {self.frame.crs}, expected a projected one in metres; use frame.to_crs(...)"
            )
        if self.resolution not in ("month", "time"):
            raise InputError(f"events: got resolution {self.resolution!r}, expected 'month' or 'time'")

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def months(self) -> pd.PeriodIndex:
        """Every month from the first to the last, gaps included."""
        return self.completeness.columns

    @property
    def types(self) -> tuple[str, ...]:
        """The crime types present, sorted."""
        return tuple(sorted(str(t) for t in self.frame["type"].dropna().unique()))

    @property
    def crs(self) -> Any:
        return self.frame.crs

    @property
    def area(self) -> BaseGeometry:
        """Convex hull of the located events, in the projected plane."""
        import shapely

        points = np.unique(self.coordinates(), axis=0)
        return shapely.convex_hull(shapely.multipoints(points[np.isfinite(points).all(axis=1)]))

    def coordinates(self) -> FloatArray:
        """Return (N, 2) projected coordinates in metres, NaN where an event is off the map."""
        import shapely

        points = np.asarray(self.frame.geometry.array)
        return np.column_stack([shapely.get_x(points), shapely.get_y(points)])

    def select(
        self,
        *,
        types: Iterable[str] | None = None,
        start: object = None,
        end: object = None,
        forces: Iterable[str] | None = None,
    ) -> Events:
        """Return the events of some types or forces with ``start`` <= time < ``end``.

        Completeness keeps telling which months the source covers (of these forces and this span).

        Raises
        ------
        InputError : a type or force that is not there; the message lists those that are.
        """
        import pandas as pd

        keep = np.ones(len(self.frame), dtype=bool)
        completeness = self.completeness
        for column, wanted in (("type", types), ("force", forces)):
            if wanted is None:
                continue
            wanted = [wanted] if isinstance(wanted, str) else list(wanted)
            have = sorted(str(v) for v in self.frame[column].dropna().unique())
            unknown = sorted(set(wanted) - set(have))
            if unknown:
                raise InputError(f"{column}: got {', '.join(unknown)}; expected some of: {', '.join(have)}")
            keep &= self.frame[column].isin(wanted).to_numpy()
            completeness = completeness.loc[wanted] if column == "force" else completeness
        when = self.when()
        if start is not None:
            keep &= when >= np.datetime64(pd.Timestamp(start), "s")
            completeness = completeness.loc[:, completeness.columns >= pd.Period(start, "M")]
        if end is not None:
            keep &= when < np.datetime64(pd.Timestamp(end), "s")
            completeness = completeness.loc[:, completeness.columns.start_time < pd.Timestamp(end)]
        return replace(self, frame=self.frame[keep], completeness=completeness)

    def when(self) -> np.ndarray:
        """Return (N,) datetime64[s]: the stamp, or the first day of the month where only the month is known."""
        return self.frame["month" if self.resolution == "month" else "time"].to_numpy().astype("datetime64[s]")

    def to_frame(self) -> pd.DataFrame:
        """Events per type: count, share, located."""
        import pandas as pd

        group = self.frame.groupby("type", observed=True)
        table = pd.DataFrame({"events": group.size(), "located": group["geometry"].count()})
        table["share"] = table["events"] / max(len(self.frame), 1)
        return table.sort_values("events", ascending=False).reset_index()

    def to_dict(self) -> dict[str, Any]:
        """Counts, quality and completeness; never the rows."""
        return {
            "events": len(self),
            "months": [str(m) for m in self.months],
            "types": to_plain(self.to_frame()),
            "quality": self.quality.to_dict(),
            "completeness": {str(f): to_plain(dict(zip(map(str, self.months), row, strict=True)))
                             for f, row in zip(self.completeness.index, self.completeness.to_numpy(), strict=True)},
            "resolution": self.resolution,
            "attribution": self.attribution,
            "caveats": list(self.caveats),
        }  # fmt: skip

    def _repr_html_(self) -> str:
        span = f"{self.months[0]} to {self.months[-1]}" if len(self.months) else "no months"
        shares = {"share": "{:.1%}".format}
        table = self.to_frame().to_html(index=False, border=0, classes="cf-table", formatters=shares)
        return (
            f"<p><b>{len(self):,} events</b>, {span}, {len(self.completeness)} force(s), "
            f"{len(self.quality.gaps)} months missing.</p>{table}<p><small>{self.attribution}</small></p>"
        )


def completeness_matrix(force: pd.Series, month: np.ndarray) -> pd.DataFrame:
    """Rows per force and month, over every month from the first to the last; NaN where a force has none."""
    import pandas as pd

    if len(month) == 0:
        return pd.DataFrame(index=pd.Index([], name="force"), columns=pd.PeriodIndex([], freq="M", name="month"))
    number = month.astype("datetime64[M]").astype(np.int64)
    codes, names = pd.factorize(np.asarray(force, dtype=object), sort=True)
    first, last = int(number.min()), int(number.max())
    counts = np.zeros((len(names), last - first + 1))
    np.add.at(counts, (codes, number - first), 1)
    counts[counts == 0] = np.nan
    columns = pd.period_range(pd.Period(ordinal=first, freq="M"), periods=last - first + 1, name="month")
    return pd.DataFrame(counts, index=pd.Index(names, name="force"), columns=columns)


def find_gaps(completeness: pd.DataFrame) -> tuple[str, ...]:
    """Return "force month" for each month missing from ``completeness``."""
    rows, columns = np.nonzero(np.isnan(completeness.to_numpy(dtype=float)))
    return tuple(f"{completeness.index[r]} {completeness.columns[c]}" for r, c in zip(rows, columns, strict=True))
