"""Config of the page about where recorded crime gathers."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from crimeface_lib.workflow._config_base import Section
from crimeface_lib.workflow._crime_config import CrimeDataConfig, GridSection


class KdeSection(Section):
    bandwidth: float = Field(300.0, gt=0, description="metres")


class ClusterSection(Section):
    reach: int = Field(1, ge=1, description="neighbours within so many cells; 1 is the eight around a cell")
    alpha: float = Field(0.05, gt=0, lt=1, description="share of false discoveries among the cells flagged")


class SensitivitySection(Section):
    cells: tuple[float, ...] = Field((125.0, 250.0, 500.0), description="other sides of a cell, metres")
    shifts: tuple[float, ...] = Field((0.0, 0.5), description="of the grid's origin, shares of a cell")
    draws: int = Field(5, ge=0, description="events drawn anew around their snap points; none for exact coordinates")


class KnoxSection(Section):
    distance: tuple[float, ...] = Field((0, 100, 200, 400), description="upper edges of the bands, metres")
    days: tuple[int, ...] = Field((7, 14, 28), description="upper edges of the bands, days")
    metric: Literal["manhattan", "euclidean"] = "manhattan"
    permutations: int = Field(199, ge=19)


class AoristicSection(Section):
    timezone: str | None = Field(None, description="such as Europe/London, where the times have a zone")


class ProfileSection(Section):
    method: Literal["bayes", "rossmo"] = "bayes"


class SeriesSection(Section):
    time: str = "date"
    x: str | None = Field("longitude", description="column of the longitude or easting")
    y: str | None = "latitude"
    crs: str = Field("EPSG:4326", description="of the coordinates")


class CrimeHotspotsConfig(CrimeDataConfig):
    notebook: Literal["crime_hotspots"] = "crime_hotspots"
    predict: Literal[False] = Field(False, description="nothing is forecast here")
    dataset: str = Field("police.uk-street", description="the series' dataset as its DPIA names it; only for a profile")
    near_repeat_months: int = Field(12, ge=1, description="near repeats are sought in so many months, the latest")
    series: Path | None = Field(
        None, description="table of the places of one linked series; its profile needs an approved DPIA"
    )
    make_grid: GridSection = GridSection()
    kde: KdeSection = KdeSection()
    getis_ord: ClusterSection = ClusterSection()
    local_moran: ClusterSection = ClusterSection()
    hotspot_sensitivity: SensitivitySection = SensitivitySection()
    knox_test: KnoxSection = KnoxSection()
    aoristic: AoristicSection = AoristicSection()
    read_series: SeriesSection = SeriesSection()
    geographic_profile: ProfileSection = ProfileSection()

    def without(self) -> tuple[str, ...]:
        spans = self.read_points is not None and self.read_points.end is not None
        return ("spans",) * (not spans) + ("profile",) * (self.series is None)
