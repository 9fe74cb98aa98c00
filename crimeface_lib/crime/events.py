"""Events: what happened, where and when, with what is wrong or missing in the source beside it.

Events are keyed by place and time only. A table with a column about persons is refused (``refuse_person_columns``).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from crimeface_lib.core.errors import InputError, SchemaError
from crimeface_lib.core.results import Result, to_plain
from crimeface_lib.core.types import FloatArray
from crimeface_lib.crime.persons import refuse_person_columns
from crimeface_lib.crime.quality import QualityReport

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
    _xy: FloatArray | None = field(default=None, init=False, repr=False, compare=False)

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
        """Return (N, 2) projected coordinates in metres, NaN where an event is off the map; read-only, read once."""
        import shapely

        if self._xy is None:
            points = np.asarray(self.frame.geometry.array)
            xy = np.column_stack([shapely.get_x(points), shapely.get_y(points)])
            xy.flags.writeable = False
            object.__setattr__(self, "_xy", xy)
        return self._xy  # type: ignore[return-value]

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
