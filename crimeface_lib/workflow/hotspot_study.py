"""What the pages about recorded crime draw and say: its tables, and where it gathers. Places, never persons."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from crimeface_lib.core.errors import InputError
from crimeface_lib.crime.events import POLICE_UK_CAVEATS
from crimeface_lib.workflow.crime_pages import read_borders, read_crime
from crimeface_lib.workflow.shown import NotShown, SavedTable

if TYPE_CHECKING:
    import geopandas as gpd
    import pandas as pd

    from crimeface_lib.crime import (
        Aoristic,
        Events,
        GeographicProfile,
        Grid,
        Hotspots,
        KnoxTest,
        LocalMoran,
        Release,
        Sensitivity,
        Summary,
    )
    from crimeface_lib.workflow.run import Run

_SHOWN = 20  # rows of a long table
_LEVEL = 0.05  # of the area, that counts as dense
_MARGIN = 3000.0  # metres around a series, at least


@dataclass(frozen=True, slots=True)
class HotspotStudy:
    """The events of a run, the cells they are counted in, and the borders around those.

    Parameters
    ----------
    counts : (C,) events per cell. borders : as the config's file has them, None without one.
    """

    events: Events
    grid: Grid
    counts: Any = field(repr=False)
    borders: gpd.GeoDataFrame | None = field(repr=False)

    @classmethod
    def of(cls, run: Run) -> HotspotStudy:
        """Return what the config of a run names, read.

        Raises
        ------
        InputError : borders that the events don't lie in or fill but a corner of, besides what the readers raise.
        """
        from crimeface_lib import crime

        events = read_crime(run)
        borders = read_borders(run, events.crs)
        if borders is not None:
            _check_borders(events, borders)
        cfg: Any = run.cfg
        grid = crime.make_grid(events if borders is None else borders, **cfg.make_grid.model_dump())
        return cls(events, grid, grid.count(events), borders)

    @property
    def note(self) -> dict[str, Any]:
        """What each map carries: source, caveat and borders."""
        unnamed = "Source and licence: not named by whoever ran this."
        caveats = (*self.events.caveats, "A cell is a square of a grid that could lie otherwise.")
        return {"attribution": self.events.attribution or unnamed, "caveat": caveats[0], "outline": self.borders}

    @property
    def caveats(self) -> tuple[str, ...]:
        """What the events can't say, whatever their source says of itself."""
        return tuple(dict.fromkeys((*self.events.caveats, POLICE_UK_CAVEATS[3])))

    @property
    def period(self) -> str:
        return f"{self.events.months[0]} to {self.events.months[-1]}"

    def sensitivity(self, run: Run, rule: Any) -> Sensitivity:
        """Return how the hotspots by a rule hang on grid and points; exact coordinates are not drawn anew."""
        from crimeface_lib.crime import hotspot_sensitivity

        cfg: Any = run.cfg
        settings = cfg.hotspot_sensitivity.model_dump()
        if POLICE_UK_CAVEATS[0] not in self.events.caveats:
            settings["draws"] = 0
        own = {"gi": cfg.getis_ord, "moran": cfg.local_moran}.get(rule)
        level, reach = (own.alpha, own.reach) if own else (_LEVEL, 1)
        return hotspot_sensitivity(
            self.events, self.grid, rule=rule, level=level, reach=reach, bandwidth=cfg.kde.bandwidth, rng=run.rng,
            **settings,
        )  # fmt: skip

    def near_repeats(self, run: Run) -> SavedTable | NotShown:
        """Return the table of the Knox test of the latest months; data that know no days say so instead."""
        from crimeface_lib.crime import knox_test

        cfg: Any = run.cfg
        caption = f"Pairs of events beside what chance gives, by distance and time, {cfg.near_repeat_months} months."
        if self.events.resolution == "month":
            why = "these data tell the month only and near repeats happen within days"
            run.cannot_say(f"Whether crime repeats nearby: {why}.")
            return NotShown(caption, why)
        first = self.events.months[-1] - cfg.near_repeat_months + 1
        latest = self.events.select(start=max(first, self.events.months[0]).start_time)
        found = run.save("knox", knox_test(latest, **cfg.knox_test.model_dump(), rng=run.rng))
        run.found(_repeats_in_words(found))
        run.cannot_say(*found.caveats)
        return run.table(_bands(found), "near_repeats", caption=caption)

    def hotspots_in_words(self, found: Hotspots, stays: Sensitivity) -> str:
        facts, share = stays.to_dict(), self.counts[found.hot].sum() / max(self.counts.sum(), 1)
        number = int(found.hot.sum())
        if not number:
            return "No cell stands out as a hotspot after correction for the number of cells tested."
        return (
            f"{number:,} of {len(self.grid):,} cells stand out as hotspots (Gi*, false discoveries held at "
            f"{found.alpha:.0%}): {number / len(self.grid):.1%} of the area with {share:.0%} of the events. With the "
            f"grid and the points drawn otherwise {facts['hotspots_in_nine_of_ten']:,} of them stay hotspots at least "
            "nine times in ten, and "
            f"{facts['hotspots_in_less_than_half']:,} less than half the time."
        )

    def moran_in_words(self, found: LocalMoran) -> str:
        busy, lone = (int((found.kind == kind).sum()) for kind in (1, 4))
        degree = np.searchsorted([0.05, 0.3], found.global_statistic)
        alike = ("hardly alike", "somewhat alike", "alike")[degree]
        return (
            f"Neighbouring cells are {alike} (Moran's I "
            f"{found.global_statistic:.2f}): {busy:,} busy cells lie among busy ones, {lone:,} stand "
            "alone among quiet ones."
        )

    def on_map_in_words(self) -> str:
        on = int(self.counts.sum())
        left = len(self.events) - on
        where = f"{self.grid.area_km2:,.1f} km² in cells of {self.grid.cell:g} m"
        rest = f"; {left:,} others have no place on it" if left else ""
        return f"{on:,} recorded events, {self.period}, lie on the map of {where}{rest}."

    def profile(self, run: Run) -> GeographicProfile:
        """Return the profile of the run's series, under a permit: cells of 250 m or more, well beyond the series."""
        from crimeface_lib import crime

        cfg: Any = run.cfg
        plane = str(self.events.crs)
        given = cfg.read_series.model_dump()
        series = crime.read_points(run.take_in(cfg.series, role="series"), plane=plane, **given)
        permit = run.permit_profile(series, dataset=cfg.dataset, method=cfg.geographic_profile.method)
        found: GeographicProfile = run.use(
            permit, crime.geographic_profile, series, _around(series), **cfg.geographic_profile.model_dump()
        )
        run.cannot_say(*found.caveats)
        return found


def _around(series: Events) -> Grid:
    """Return cells of 250 m or more around a series, by its own span on each side."""
    import shapely

    from crimeface_lib.crime import make_grid

    xy = series.coordinates()
    xy = xy[np.isfinite(xy).all(axis=1)]
    if not len(xy):
        raise InputError("series: got no place on the map, expected at least five; check read_series")
    low, high = xy.min(axis=0), xy.max(axis=0)
    margin = max(_MARGIN, float((high - low).max()))
    side = float((high - low).max() + 2 * margin)
    area = shapely.box(*(low - margin), *(high + margin))
    return make_grid(area, cell=max(250.0, float(np.ceil(side / 300 / 50) * 50)), crs=str(series.crs))


def _check_borders(events: Events, borders: gpd.GeoDataFrame) -> None:
    """Refuse borders that the data don't cover: an area without data is no area without crime."""
    import shapely

    area = borders.union_all()
    xy = events.coordinates()
    xy = xy[np.isfinite(xy).all(axis=1)]
    inside = shapely.contains_xy(area, *xy.T).mean() if len(xy) else 0.0
    covered = events.area.buffer(1000.0).intersection(area).area / area.area
    if inside < 0.5:
        raise InputError(
            f"boundaries: {inside:.0%} of the located events lie inside, expected most; is it the file of this area?"
        )
    if covered < 0.5:
        raise InputError(
            f"boundaries: the events reach over {covered:.0%} of the area only, expected most of it: where there are "
            "no data there may be crime; name the areas that the data cover with boundary_name and boundary_only"
        )


def _bands(found: KnoxTest) -> pd.DataFrame:
    """Return a row a distance band, a column a time band: the ratio to chance, the pairs and p."""
    table = found.to_frame()
    place = table["distance_to"].map("up to {:g} m".format).where(table["distance_to"] > 0, "the same place")
    time = table["days_from"].map("{:g}".format) + " to under " + table["days_to"].map("{:g} days".format)
    ratio = table["ratio"].map("{:.2f}".format).where(table["ratio"].notna(), "–")
    shown = ratio + " (" + table["observed"].map("{:,} pairs".format) + ", p " + table["p"].map("{:.3f}".format) + ")"
    wide = table.assign(place=place, time=time, shown=shown).pivot(index="place", columns="time", values="shown")
    wide = wide.loc[place.drop_duplicates(), time.drop_duplicates()]
    return wide.rename_axis(index="distance", columns=None).reset_index()


def _repeats_in_words(found: KnoxTest) -> str:
    table = found.to_frame()
    sure = table[(table["p"] <= 0.05) & (table["ratio"] > 1)]
    if sure.empty:
        return "Events close in space do not gather in time more than chance has it, in any band tried."
    row = sure.loc[sure["ratio"].idxmax()]
    where = "at the same place" if row.distance_to == 0 else f"within {row.distance_to:g} m of one another"
    return (
        f"Near repeats: {row.observed:,.0f} pairs of events lie {where} and {row.days_from:g} to under {row.days_to:g} "
        f"days apart, {row.ratio:.2f} times what chance gives (p {row.p:.3f}); {len(sure)} of {len(table)} bands "
        "stand out one by one."
    )


def hours_in_words(found: Aoristic) -> str:
    """Return which hour of the week has most events, and how wide the spans are."""
    top = found.to_frame().nlargest(1, "expected").iloc[0]
    return (
        f"{top.weekday}, {top.hour:02d}:00 to {(top.hour + 1) % 24:02d}:00, has most of {found.events:,} events with a "
        f"span ({top.expected:,.1f} expected, standard deviation {top.sd:.1f}); half of the spans are longer than "
        f"{found.median_span_hours:.1f} hours, and {found.dropped:,} events had no end."
    )


def profile_in_words(found: GeographicProfile) -> str:
    """Return what a profile narrows an area down to, and what moves it most."""
    facts = found.to_dict()
    areas = ", ".join(f"{km2:,.1f} km² with {level}" for level, km2 in facts["region_km2"].items())
    said = f"the smallest areas are {areas} of the probability" if areas else "cells are ordered, without a probability"
    return (
        f"The anchor of the series of {found.events} events, if it lies in the {facts['area_km2']:,.0f} km² searched: "
        f"{said}. Leaving out one place moves up to {facts['largest_influence']:.0%} of the score."
    )


# -- tables of what was recorded -----------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class RecordedTables:
    """Tables of the latest year, safe to publish beside one another.

    Parameters
    ----------
    release : type by outcome with totals; changes : per key the change from the year before.
    lacking : why there is no table by a key; of all, no release either, where no
        month of the latest year is in the data with its month a year earlier.
    """

    release: Release | None
    changes: dict[str, Summary]
    lacking: dict[str, str]

    @classmethod
    def of(cls, events: Events) -> RecordedTables:
        """Return the tables that the source allows."""
        from crimeface_lib.crime import release_years, summarise
        from crimeface_lib.crime.summary import BY, compared_months

        try:
            compared_months(events)
        except InputError:
            return cls(None, {}, dict.fromkeys(_KEYS, "no month of the latest year is there with its month a year ago"))
        have = [key for key in ("outcome", "lsoa") if events.frame[BY[key]].notna().any()]
        tables: Any = [("type", "outcome"), ("type",), ("outcome",)] if "outcome" in have else [("type",)]
        release, changes = release_years(events, tables=tables)
        for key in ("month", *(k for k in have if k == "lsoa")):
            changes[key] = summarise(events, by=key)
        return cls(
            release, changes, {k: f"the source tells no {_KEYS[k]}" for k in ("outcome", "lsoa") if k not in have}
        )

    def show(self, run: Run, by: str) -> SavedTable | NotShown:
        """Return the change by a key, the largest rows of a long one; what the source lacks says so."""
        if by in self.lacking:
            return NotShown(f"Change by {_KEYS[by]}.", self.lacking[by])
        found = self.changes[by]
        table = found.to_frame()
        total, rows = table.iloc[-1:], table.iloc[:-1]
        more = len(rows) - _SHOWN if by != "month" else 0
        import pandas as pd

        shown = pd.concat([rows.head(_SHOWN) if more > 0 else rows, total])
        count = {n: shown[n].map(lambda v: "–" if np.isnan(v) else f"{v:,.0f}") for n in ("events", "previous")}
        interval = [_interval(*row) for row in shown[["ratio", "low", "high"]].to_numpy()]
        words = pd.DataFrame({_KEYS[by]: shown[by], **count, "ratio (95 % interval)": interval})
        rest = f" The {_SHOWN} with most events; {more:,} others are in the total." if more > 0 else ""
        hidden = f" {found.suppressed:,} counts are not shown." if found.suppressed else ""
        caption = (
            f"By {_KEYS[by]}: {len(found.months)} months from {found.months[0]} to {found.months[-1]} beside the same "
            f"months a year earlier.{hidden}{rest}"
        )
        return run.table(words, f"change_by_{by}", caption=caption)

    def show_cross(self, run: Run) -> SavedTable | NotShown:
        """Return types by outcome of the latest year, as released."""
        if self.release is None or "outcome" in self.lacking:
            return NotShown("Events by type and outcome.", self.lacking["outcome"])
        caption = (
            f"Events by type and outcome, {self.release.months[0]} to {self.release.months[-1]}: "
            f"{self.release.primary:,} counts below {self.release.minimum} and {self.release.secondary:,} that would "
            "give them away are not shown (–)."
        )
        table = self.release.tables["type", "outcome"]
        names = [name for name in self.changes["outcome"].to_frame()["outcome"] if name in table]
        words = table[names].map(lambda v: "–" if np.isnan(v) else f"{v:,.0f}").rename_axis(columns=None)
        number = {name: str(place) for place, name in enumerate(names[:-1], 1)}
        key = "; ".join(f"{place} {name}" for name, place in number.items())
        words = words.rename(columns=number).reset_index()
        return run.table(words, "type_by_outcome", caption=f"{caption} Outcomes: {key}.")

    def in_words(self) -> str:
        """Return the change of the total, and of how many types it can be told."""
        if "type" in self.lacking:
            return f"The change from the year before can't be told: {self.lacking['type']}."
        table = self.changes["type"].to_frame()
        total, rows = table.iloc[-1], table.iloc[:-1]
        up, down = int((rows["low"] > 1).sum()), int((rows["high"] < 1).sum())
        return (
            f"The latest year has {total.events:,.0f} records where the same months a year earlier had "
            f"{total.previous:,.0f}: {total.ratio:.2f} times as many ({total.low:.2f} to {total.high:.2f}). Of "
            f"{len(rows)} types {up} rose and {down} fell by more than chance."
        )


_KEYS = {"type": "type", "outcome": "outcome", "lsoa": "area", "month": "month"}


def _interval(ratio: float, low: float, high: float) -> str:
    if np.isnan(low):
        return "–"
    if np.isnan(ratio) or np.isinf(high):
        return "none before"
    return f"{ratio:.2f} ({low:.2f} to {high:.2f})"
