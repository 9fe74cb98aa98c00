"""What the pages about crime over time and by place read, group and say. Places, never persons."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from crimeface_lib.core.errors import ConfigError, CrimefaceError, InputError, SchemaError
from crimeface_lib.workflow.shown import Working

if TYPE_CHECKING:
    from pathlib import Path

    import geopandas as gpd
    import pandas as pd

    from crimeface_lib.crime import (
        ChangePoints,
        Decomposition,
        Events,
        Forecast,
        Grid,
        PlaceEvaluation,
        SeasonalProfile,
    )
    from crimeface_lib.workflow._crime_config import CrimeDataConfig, CrimeForecastConfig
    from crimeface_lib.workflow.run import Run

#: Where a place lies in none of the areas.
NOWHERE = "(no area)"
_EXPECTED = {
    "boundaries": "a file of polygons", "groups": "a CSV file with columns area, group",
    "series": "a table of the places of one series",
}  # fmt: skip
_MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip


def read_crime(run: Run) -> Events:
    """Take in and read what the run's config names, cut to its types, dates and boundaries.

    Raises
    ------
    What ``crime.read_events`` and ``crime.read_points`` raise. InputError : types or dates that leave nothing.
    """
    from crimeface_lib import crime

    cfg: Any = run.cfg
    pattern = "*.parquet" if cfg.read_points is None and cfg.read_events.layout == "crimeface" else "*.csv"
    source = run.take_in(cfg.crime, role="crime", evidence=False, pattern=pattern)
    if cfg.read_points is None:
        events = crime.read_events(source, **cfg.read_events.model_dump(), progress=Working("files"))
    else:
        given = cfg.read_points.model_dump()
        borders = read_borders(run, given["plane"] or given["crs"])
        area = None if borders is None else borders.union_all()
        events = crime.read_points(source, area=area, **given)
    events = events.select(types=cfg.types or None, start=cfg.start, end=cfg.end)
    if not len(events):
        raise InputError("types, start, end: got a choice that leaves no event, expected at least one")
    return events


def read_borders(run: Run, crs: Any) -> gpd.GeoDataFrame | None:
    """Return the config's boundaries in a plane, or None where it names no file.

    Raises
    ------
    What ``named_borders`` raises. ConfigError : names without their column.
    """
    cfg: Any = run.cfg
    if cfg.boundaries is None:
        return None
    if cfg.boundary_only and cfg.boundary_name is None:
        raise ConfigError("boundary_only: got names, expected also boundary_name, the column that they stand in")
    file = run.take_in(cfg.boundaries, role="boundaries", evidence=False)
    return named_borders(file, crs=crs, column=cfg.boundary_name, only=cfg.boundary_only)


def named_borders(path: Path, *, crs: Any, column: str | None, only: tuple[str, ...] = ()) -> gpd.GeoDataFrame:
    """Return polygons of a file in a plane, with the column ``name``: empty where no ``column`` says what it is.

    Raises
    ------
    What ``crime.read_boundaries`` raises. SchemaError : no such column.
    """
    import geopandas as gpd

    from crimeface_lib import crime

    borders = crime.read_boundaries(path, crs=crs, select={column: only} if column and only else None)
    if column is not None and column not in borders:
        have = ", ".join(map(str, borders.columns.drop("geometry")))
        raise SchemaError(f"boundary_name: got {column!r}, expected one of the columns {have}")
    names = [""] * len(borders) if column is None else borders[column].astype(str)
    names = [f"area {name}" if name.isdigit() else name for name in names]  # a number alone reads as a count
    return gpd.GeoDataFrame({"name": names}, geometry=borders.geometry.array, crs=borders.crs)


def check_crime_data(cfg: CrimeDataConfig) -> None:
    """Ask, before a notebook starts, whether the source can be read: headers, columns, files that exist.

    Raises
    ------
    InputError and its kin : the message begins with the parameter that is wrong.
    """
    import pandas as pd

    from crimeface_lib import crime

    for name in ("boundaries", "groups", "series"):
        path = getattr(cfg, name, None)
        if path is not None and not path.is_file():
            raise InputError(f"{name}: got {path}, expected {_EXPECTED[name]}")
    if cfg.read_points is None:
        try:
            crime.check_source(cfg.crime, layout=cfg.read_events.layout)
        except CrimefaceError as error:
            raise type(error)(f"crime {cfg.crime}: {error}; other tables need read_points") from error
        return
    if not cfg.crime.is_file():
        raise InputError(f"crime: got {cfg.crime}, expected a file that exists")
    if cfg.crime.name.lower().endswith((".csv", ".csv.gz")):
        have = list(pd.read_csv(cfg.crime, encoding="utf-8-sig", nrows=0).columns)
        named = {key: getattr(cfg.read_points, key) for key in ("time", "end", "x", "y", "type", "force", "id")}
        if lacking := [f"read_points.{key}: got {name!r}" for key, name in named.items() if name and name not in have]:
            raise SchemaError(f"{'; '.join(lacking)}; expected one of the columns {', '.join(map(str, have))}")
        crime.refuse_person_columns(have, where=cfg.crime.name)


# -- groups ------------------------------------------------------------------------------------------------------
def counts_by(events: Events, cfg: CrimeForecastConfig, borders: gpd.GeoDataFrame | None) -> pd.DataFrame:
    """Return monthly counts by type, or by area and type: the most frequent apart, the rest added up; NaN is a gap."""
    import pandas as pd

    from crimeface_lib.crime import monthly_series

    total = monthly_series(events).frame["all"]
    kind = _most(events.frame["type"].astype(str).to_numpy(), cfg.most, "other types")
    keys = [pd.Series(kind, name="type")]
    if cfg.areas != "none":
        keys = keys if len(np.unique(kind)) > 1 else []
        area = _most(_areas(events, cfg.areas, borders), cfg.most, "other areas")
        keys.insert(0, pd.Series(area, name=cfg.areas if cfg.areas != "boundaries" else "area"))
    month = events.frame["month"].dt.to_period("M").reset_index(drop=True)
    frame = pd.crosstab(month, keys if len(keys) > 1 else keys[0]).reindex(total.index, fill_value=0).astype(float)
    frame[total.isna().to_numpy()] = np.nan
    return frame


def _areas(events: Events, by: str, borders: gpd.GeoDataFrame | None) -> np.ndarray:
    if by == "force":
        return events.frame["force"].astype(str).to_numpy()
    if by == "district":
        name = events.frame["lsoa_name"].astype(object)
        if name.isna().all():
            raise InputError("areas: got district, but no event carries an LSOA name; expected force or boundaries")
        return name.str.rsplit(n=1).str[0].fillna(NOWHERE).to_numpy()
    return names_at(events.coordinates(), borders)


def names_at(xy: np.ndarray, borders: gpd.GeoDataFrame | None) -> np.ndarray:
    """Return (N,) the name of the polygon that each of (N, 2) points lies in."""
    import shapely

    found = np.full(len(xy), NOWHERE, dtype=object)
    if borders is None:
        raise InputError("boundaries: got none, expected a file of polygons")
    there = np.flatnonzero(np.isfinite(xy).all(axis=1))
    point, polygon = shapely.STRtree(borders.geometry.array).query(shapely.points(xy[there]), predicate="intersects")
    found[there[point]] = borders["name"].to_numpy()[polygon]
    return found


def _most(names: np.ndarray, most: int, rest: str) -> np.ndarray:
    import pandas as pd

    counts = pd.Series(names).value_counts()
    if len(counts) <= most + 1:
        return names
    return np.where(np.isin(names, counts.index[:most]), names, rest)


def groups_of(run: Run, events: Events, grid: Grid, borders: gpd.GeoDataFrame | None) -> np.ndarray:
    """Return (C,) the group of areas of each cell: by the config's table, else by the polygon its centre lies in."""
    from crimeface_lib.crime import cell_groups

    cfg: Any = run.cfg
    if cfg.groups is not None:
        return cell_groups(events, grid, run.take_in(cfg.groups, role="groups", evidence=False))
    return names_at(grid.centres(), borders)


# -- words -------------------------------------------------------------------------------------------------------
def too_short(series: pd.Series) -> str:
    """Return why season and changes of level can't be told from these months, or nothing."""
    known = series.dropna()
    seen = np.bincount(known.index.month, minlength=13)[1:].min()
    return (
        ""
        if seen >= 2
        else f"{len(known)} months have data, too few for a season: each month of the year is needed twice"
    )


def past_in_words(parts: Decomposition, changes: ChangePoints, profile: SeasonalProfile) -> tuple[str, ...]:
    """Return what the past shows: changes of level, how much of it is season, and which months stand out."""
    table = profile.table.set_index("month")
    high, low = table["index"].idxmax(), table["index"].idxmin()
    said = [
        f"From {row.month} on the level was {row.ratio:.2f} times the one before ({row.ratio_low:.2f} to "
        f"{row.ratio_high:.2f}); the month lies between {row.low} and {row.high}."
        for row in changes.table.itertuples()
    ] or [f"No change of level stands out from chance (false alarms held at {changes.alpha:.0%})."]
    said.append(
        f"{_MONTHS[high - 1]} has {table['index'][high]:.2f} times an average month ({table.low[high]:.2f} to "
        f"{table.high[high]:.2f}), {_MONTHS[low - 1]} {table['index'][low]:.2f} times ({table.low[low]:.2f} to "
        f"{table.high[low]:.2f}); the season explains {parts.seasonal_strength:.0%} of the variation about the trend."
    )
    return tuple(said)


def records_in_words(events: Events) -> str:
    """Return how many events there are, of when, and which months are missing."""
    gaps = int(events.completeness.isna().any().sum())
    missing = "no month is missing" if not gaps else f"{gaps} month{'s are' if gaps > 1 else ' is'} missing"
    return f"{len(events):,} recorded events, {events.months[0]} to {events.months[-1]}; {missing}."


def ahead_table(found: Forecast, *, most: int = 40) -> pd.DataFrame:
    """Return the first and the last month ahead of each series, at most so many rows."""
    first, last = found.table["month"].min(), found.table["month"].max()
    table = found.table[found.table["month"].isin([first, last])].head(most)
    shown = {name: table[name].map(_count) for name in ("expected", "low", "high")}
    return table.assign(month=table["month"].astype(str), **shown)


def level_sums(found: Forecast) -> pd.DataFrame:
    """Return, by month, what the series of each level add up to."""
    sums = found.table.groupby(["month", "level"], sort=False)["expected"].sum().unstack("level")
    sums = sums[list(dict.fromkeys(found.table["level"]))].map(lambda value: f"{value:,.2f}")
    return sums.rename_axis(columns=None).reset_index().astype({"month": str})


def _count(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 or value == round(value) else f"{value:.1f}"


def scores_table(found: PlaceEvaluation) -> pd.DataFrame:
    """Return the scores of each model at each share of the area, intervals beside their figures."""
    import pandas as pd

    from crimeface_lib.crime import MODEL_NAMES

    one = found.summary
    return pd.DataFrame({
        "area": one["area"].map("{:.0%}".format), "model": one["model"].map(MODEL_NAMES),
        "PAI": [f"{r.pai:.2f} ({r.pai_low:.2f} to {r.pai_high:.2f})" for r in one.itertuples()],
        "PEI": one["pei"].map("{:.2f}".format), "hit rate": one["hit_rate"].map("{:.1%}".format),
        "PAI against the baseline": [
            "baseline" if r.model == found.baseline
            else f"{r.difference:+.2f} ({r.difference_low:+.2f} to {r.difference_high:+.2f}), {r.against_baseline}"
            for r in one.itertuples()
        ],
    })  # fmt: skip


def limits_in_words(events: Events, found: Forecast, left_out: tuple[str, ...]) -> tuple[str, ...]:
    """Return what a forecast of counts can't say; how its intervals did is among what was found."""
    gaps = f"Months without data, left out rather than counted as quiet: {', '.join(found.gaps)}."
    policing = f"Left out, as policing finds them and their counts follow patrols: {', '.join(left_out)}."
    said = [*events.caveats, *found.caveats[:2], *([gaps] if found.gaps else []), *([policing] if left_out else [])]
    return tuple(said)


def forecast_in_words(found: Forecast) -> tuple[str, ...]:
    """Return what is expected in all, and what such intervals held before."""
    top = found.table[found.table["level"] == found.table["level"].iloc[0]]
    top = top[top["series"] == top["series"].iloc[0]]
    first, last = top.iloc[0], top.iloc[-1]
    said = [
        f"{row.expected:,.0f} records expected in {row.month} ({found.confidence:.0%} interval {row.low:,.0f} to "
        f"{row.high:,.0f})"
        for row in ([first, last] if len(top) > 1 else [first])
    ]
    held = [
        f"{row.coverage:.0%} of {row.months:,} ({row.level})" for row in found.checked.itertuples() if row.months
    ]  # fmt: skip
    checked = (
        f"Of past counts, intervals meant to hold {found.confidence:.0%} held {'; '.join(held)}."
        if held else "There are too few months to check the intervals on."
    )  # fmt: skip
    return f"{' and '.join(said)}.", checked
