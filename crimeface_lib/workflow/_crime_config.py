"""Configs of the pages about recorded crime over time and by place."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from crimeface_lib.workflow._config_base import RunConfig, Section


class ReadEventsSection(Section):
    layout: str = "police.uk"
    force: str | None = Field(None, description="one force of several, by its name or its files'; also -p force=NAME")


class GridSection(Section):
    cell: float = Field(250.0, gt=0, description="side of a map cell, metres")


class PointsSection(Section):
    time: str = Field(description="column of the stamp, or of the month with resolution month")
    end: str | None = Field(None, description="column of the latest time, where only a span is known")
    x: str | None = Field(None, description="column of the longitude or easting; empty where there is a geometry")
    y: str | None = None
    crs: str = Field("EPSG:4326", description="of the coordinates")
    plane: str | None = Field(None, description="projected CRS in metres to work in; crs itself where it is projected")
    type: str | None = None
    force: str | None = None
    id: str | None = None
    time_format: str | None = None
    resolution: Literal["time", "month"] = "time"
    attribution: str = ""


class CrimeDataConfig(RunConfig):
    """What the pages about recorded crime read: police.uk's files, or any table of points with a time."""

    crime: Path = Field(
        description="a police.uk zip, its folder or one CSV; or a table of points", examples=["police.zip"]
    )
    predict: bool = Field(True, description="also forecast; needs an approved DPIA")
    dataset: str = Field("police.uk-street", description="the dataset a DPIA names")
    dpia: int | None = None
    types: tuple[str, ...] = Field((), description="only these types; all where empty")
    start: date | None = Field(None, description="first day; all where empty")
    end: date | None = Field(None, description="the day after the last; all where empty")
    boundaries: Path | None = Field(None, description="polygons of areas: GeoJSON, GeoPackage, KML, zipped shapefile")
    boundary_name: str | None = Field(None, description="the column that names them")
    boundary_only: tuple[str, ...] = Field((), description="only the areas of these names; all where empty")
    read_events: ReadEventsSection = ReadEventsSection()
    read_points: PointsSection | None = Field(None, description="columns and CRS of a table that is not police.uk's")

    @model_validator(mode="before")
    @classmethod
    def _force_is_what_is_read(cls, data: Any) -> Any:
        """``force`` is short for ``read_events.force``: one force of an extract that holds several."""
        if not isinstance(data, dict) or "force" not in data:
            return data
        rest = {name: value for name, value in data.items() if name != "force"}
        read = dict(rest.get("read_events") or {})
        if rest.get("read_points") or read.get("force") not in (None, data["force"]):
            raise ValueError(
                f"force: got {data['force']!r} beside read_points or another read_events.force; expected one of them"
            )
        return {**rest, "read_events": {**read, "force": data["force"]}}

    def without(self) -> tuple[str, ...]:
        return ("forecast",) * (not self.predict)

    @property
    def by_month(self) -> bool:
        """Whether the source tells the month only."""
        return (
            self.read_events.layout == "police.uk"
            if self.read_points is None
            else self.read_points.resolution == "month"
        )


class DecomposeSection(Section):
    robust: bool = Field(False, description="let outliers weigh less")
    multiplicative: bool = Field(False, description="factors instead of sums; every count must be above 0")


class ChangePointsSection(Section):
    alpha: float = Field(0.05, gt=0, lt=1, description="how often a change may be found where there is none")
    most: int = Field(5, ge=1, le=12, description="changes, at most")


class CalendarSection(Section):
    country: str = Field("GB", description="whose public holidays")
    subdivision: str | None = Field("ENG", description="part of the country; empty where there is none")


class ForecastSection(Section):
    model: str = Field("auto", description="auto weights a pool of models, best takes one; or a model's name")
    confidence: float = Field(0.8, ge=0.5, lt=1, description="share of months that the intervals are to hold")


class CrimeForecastConfig(CrimeDataConfig):
    notebook: Literal["crime_forecast"] = "crime_forecast"
    horizon: int = Field(6, ge=1, le=12, description="months ahead")
    areas: Literal["none", "force", "district", "boundaries"] = Field(
        "none", description="forecast for each area, too: district is that of the LSOA names, boundaries a file's"
    )
    most: int = Field(6, ge=1, le=20, description="how many types, and areas, stand apart; the rest are added up")
    decompose: DecomposeSection = DecomposeSection()
    change_points: ChangePointsSection = ChangePointsSection()
    calendar_effects: CalendarSection = CalendarSection()
    forecast: ForecastSection = ForecastSection()

    @model_validator(mode="after")
    def _boundaries_are_named(self) -> CrimeForecastConfig:
        if self.areas == "boundaries" and (self.boundaries is None or self.boundary_name is None):
            raise ValueError("areas: got boundaries, expected also boundaries (a file) and boundary_name (its column)")
        return self


class PlaceModelSection(Section):
    model: str = Field("decayed_counts", description="the model that the forecast uses, as its DPIA names it")
    police_discovered: bool = Field(False, description="include types found by policing, whose counts follow patrols")


class PlaceTrialSection(Section):
    models: tuple[str, ...] = Field(("counts", "kde"), description="compared with the baseline on past dates")


class PlaceCheckSection(Section):
    share: float = Field(0.05, gt=0, le=0.5, description="of the cells that count as chosen")
    runs: int = Field(50, ge=2, le=1000, description="how often the events are drawn anew")


class CrimePlacesConfig(CrimeDataConfig):
    notebook: Literal["crime_places"] = "crime_places"
    horizon: str = Field("1M", pattern=r"^[1-9]\d*[DWM]$", description="1M is a month; 30D or 2W need data with days")
    groups: Path | None = Field(None, description="CSV of area (LSOA code) and group, on whom the forecast may fall")
    cutoffs: int = Field(12, ge=2, le=36, description="how many past months the forecast is tried on")
    tune: bool = Field(False, description="choose the model's settings on the twelve months before those")
    make_grid: GridSection = GridSection()
    predict_places: PlaceModelSection = PlaceModelSection()
    evaluate_places: PlaceTrialSection = PlaceTrialSection()
    check_places: PlaceCheckSection = PlaceCheckSection()

    def without(self) -> tuple[str, ...]:
        return (*super().without(), *("tune",) * (not self.tune), *("groups",) * (not self.grouped))

    @property
    def grouped(self) -> bool:
        """Whether something says to which group of areas a cell belongs."""
        return self.groups is not None or (self.boundaries is not None and self.boundary_name is not None)

    @model_validator(mode="after")
    def _horizon_fits_the_data(self) -> CrimePlacesConfig:
        cfg = self
        if cfg.by_month and not cfg.horizon.endswith("M"):
            raise ValueError(f"horizon: got {cfg.horizon!r}, expected whole months such as 1M: the data tell no days")
        if cfg.tune and cfg.predict_places.model == "decayed_counts":
            raise ValueError("tune: got the baseline decayed_counts, which stays as it is; choose another model")
        return self
