"""Events: what happened, where and when, with what is wrong or missing in the source beside it.

Events are keyed by place and time only. A table with a column about persons is refused (``refuse_person_columns``).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from crimeface_lib.core.display import table_html
from crimeface_lib.core.errors import InputError, SchemaError
from crimeface_lib.core.results import Result, to_plain
from crimeface_lib.core.types import FloatArray
from crimeface_lib.crime.persons import refuse_person_columns, refuse_person_values
from crimeface_lib.crime.quality import QualityReport

if TYPE_CHECKING:
    import geopandas as gpd
    import pandas as pd
    from shapely.geometry.base import BaseGeometry

OGL_ATTRIBUTION = "Contains public sector information licensed under the Open Government Licence v3.0."
SYNTHETIC_ATTRIBUTION = "Synthetic sample made by crimeface: a town, streets and crimes that do not exist."
ASB = "Anti-social behaviour"
#: Types found by policing rather than reported to it: their counts follow patrols, so forecasts leave them out. As
#: data.police.uk names them; ``found_by_policing`` knows other names.
POLICE_DISCOVERED = ("Drugs", "Possession of weapons", "Stop and search")
_DISCOVERED = re.compile(
    r"\b(drugs?|narcotics?|controlled substances?|(possess\w*|carry\w*)( of)?( an?)?( \w+)? weapons?|"
    r"weapons? (law )?(violations?|offen[cs]es?|possession)|concealed carry|stops? and (search|frisk)\w*|prostitution|"
    r"gambling|liquor law|loitering|drunk driving|drink driving)\b|(^|\band )weapons?$"
)

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


def found_by_policing(type: object) -> bool:
    """Tell whether a crime type is found by policing rather than reported to it, by its name.

    >>> [found_by_policing(t) for t in ("Drugs", "WEAPONS VIOLATION", "Public disorder and weapons", "Burglary")]
    [True, True, True, False]
    """
    return bool(
        re.search(rf"\b({_DISCOVERED.pattern})", re.sub(r"[\W_]+", " ", str(type).replace("&", " and ")).lower())
    )


def check_plane(crs: Any) -> None:
    """Check that a CRS is a plane in metres.

    Raises
    ------
    InputError : unknown, not projected, or in feet.
    """
    from pyproj import CRS
    from pyproj.exceptions import CRSError

    try:
        plane = CRS(crs)
    except CRSError as error:
        raise InputError(f"plane: got {crs!r}, expected a CRS such as 'EPSG:27700'") from error
    if not plane.is_projected or plane.axis_info[0].unit_conversion_factor != 1:
        unit = plane.axis_info[0].unit_name if plane.axis_info else "no unit"
        raise InputError(f"plane: got {crs} in {unit}, expected a projected CRS in metres such as 'EPSG:27700'")


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
    cut : first moment and end of what ``select`` took of stamped events, datetime64[s]; None where it did not cut.
    """

    frame: gpd.GeoDataFrame = field(repr=False)
    quality: QualityReport
    completeness: pd.DataFrame
    resolution: str
    attribution: str
    caveats: tuple[str, ...] = ()
    cut: tuple[Any, Any] = (None, None)
    _xy: FloatArray | None = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        refuse_person_columns(self.frame.columns, where="events")
        lacking = [c for c in COLUMNS if c not in self.frame.columns]
        if lacking:
            raise SchemaError(
                f"events: the frame lacks {', '.join(lacking)}; expected {', '.join(COLUMNS)}; use read_events"
            )
        try:
            check_plane(self.frame.crs)
        except InputError as error:
            raise SchemaError(f"events: {error}; use frame.to_crs(...)") from error
        refuse_person_values(self.frame[["type", "force"]], where="events")
        if self.resolution not in ("month", "time"):
            raise InputError(f"events: got resolution {self.resolution!r}, expected 'month' or 'time'")

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def months(self) -> pd.PeriodIndex:
        """Every month from the first to the last, gaps included."""
        return self.completeness.columns

    @property
    def published(self) -> pd.DataFrame:
        """Which months of which force are there whole: published, and not cut in two by ``select``."""
        begin, end = self.cut
        whole = np.ones(len(self.months), dtype=bool)
        if begin is not None:
            whole &= self.months.start_time.to_numpy() >= begin
        if end is not None:
            whole &= (self.months + 1).start_time.to_numpy() <= end
        return self.completeness.notna() & whole

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
        """Return (N, 2) projected coordinates in metres, NaN where an event is off the map; read-only, read once."""
        import shapely

        if self._xy is None:
            found, index = shapely.get_coordinates(np.asarray(self.frame.geometry.array), return_index=True)
            if (np.diff(index) == 0).any():
                raise SchemaError("events: got shapes other than points, expected a point each; take centroids first")
            xy = np.full((len(self.frame), 2), np.nan)
            xy[index] = found
            self._keep_coordinates(xy)
        return self._xy  # type: ignore[return-value]

    def _keep_coordinates(self, xy: FloatArray) -> None:
        xy.flags.writeable = False
        object.__setattr__(self, "_xy", xy)

    def select(
        self,
        *,
        types: Iterable[str] | None = None,
        start: object = None,
        end: object = None,
        forces: Iterable[str] | None = None,
    ) -> Events:
        """Return the events of some types or forces with ``start`` <= time < ``end``.

        Completeness keeps telling which months the source covers (of these forces and this span). A month that
        ``start`` or ``end`` cuts in two is a gap in monthly series. Where only the month is known, ``start`` stands for
        its month.

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
        when, months = self.when(), completeness.columns
        first = pd.Timestamp(start) if start is not None else pd.Timestamp.min
        last = pd.Timestamp(end) if end is not None else pd.Timestamp.max
        if self.resolution == "month" and start is not None:
            first = first.to_period("M").start_time
        if start is not None:
            keep &= when >= np.datetime64(first, "s")
        if end is not None:
            keep &= when < np.datetime64(last, "s")
        completeness = completeness.loc[:, (months.end_time >= first) & (months.start_time < last)]
        cut = self.cut
        if self.resolution == "time":
            begins = [np.datetime64(first, "s")] * (start is not None) + [cut[0]] * (cut[0] is not None)
            ends = [np.datetime64(last, "s")] * (end is not None) + [cut[1]] * (cut[1] is not None)
            cut = (max(begins, default=None), min(ends, default=None))
        chosen = replace(self, frame=self.frame[keep], completeness=completeness, cut=cut)
        if self._xy is not None:
            chosen._keep_coordinates(self._xy[keep])
        return chosen

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
        """How many events, quality and completeness; never the rows, and no count by type, which can be small."""
        return {
            "events": len(self),
            "months": [str(m) for m in self.months],
            "quality": self.quality.to_dict(),
            "completeness": {str(f): to_plain(dict(zip(map(str, self.months), row, strict=True)))
                             for f, row in zip(self.completeness.index, self.completeness.to_numpy(), strict=True)},
            "resolution": self.resolution,
            "attribution": self.attribution,
            "caveats": list(self.caveats),
        }  # fmt: skip

    def _repr_html_(self) -> str:
        span = f"{self.months[0]} to {self.months[-1]}" if len(self.months) else "no months"
        table = self.to_frame()
        table["share"] = table["share"].map("{:.1%}".format)
        return (
            f"<p><b>{len(self):,} events</b>, {span}, {len(self.completeness)} force(s), "
            f"{len(self.quality.gaps)} months missing.</p>{table_html(table)}"
            f"<p><small>{escape(self.attribution)}</small></p>"
        )
