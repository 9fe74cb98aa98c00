"""What Events refuse and how they are narrowed."""

from __future__ import annotations

import json
from dataclasses import replace

import pandas as pd
import pytest

from crimeface_lib.core.errors import InputError, RefusedError, SchemaError
from crimeface_lib.crime import Events, daily_series, monthly_series, read_points, refuse_person_columns
from crimeface_lib.crime.events import found_by_policing


@pytest.mark.parametrize(
    "column",
    ["name", "Full Name", "surname", "D.O.B.", "Offender_ID", "victimName", "Gender", "Age range", "NHS number"],
)
def test_person_columns(column: str) -> None:
    with pytest.raises(RefusedError, match="places, never persons"):
        refuse_person_columns(["Month", column])


def test_columns_of_places_pass() -> None:
    refuse_person_columns(
        ["Crime ID", "LSOA name", "Street name", "Stage", "Age of building", "Message", "Location", "agency"]
    )


def test_a_frame_with_persons_never_becomes_events(town_events: Events) -> None:
    with pytest.raises(RefusedError, match="suspect"):
        replace(town_events, frame=town_events.frame.assign(suspect="x"))
    with pytest.raises(SchemaError, match="lacks type"):
        replace(town_events, frame=town_events.frame.drop(columns="type"))
    with pytest.raises(SchemaError, match="expected a projected CRS in metres"):
        replace(town_events, frame=town_events.frame.to_crs("EPSG:4326"))


def test_select(town_events: Events) -> None:
    some = town_events.select(types=["Burglary", "Robbery"], start="2022-06", end="2023-01")
    assert some.types == ("Burglary", "Robbery")
    assert [str(some.months[0]), str(some.months[-1])] == ["2022-06", "2022-12"]
    assert some.frame["month"].min().strftime("%Y-%m") == "2022-06"
    assert some.completeness.iloc[0].sum() > len(some)  # completeness is about the source, not the selection
    with pytest.raises(InputError, match="type: got Arson; expected some of: Anti-social"):
        town_events.select(types="Arson")


def test_they_show_and_tell_counts_never_rows(town_events: Events) -> None:
    text = json.dumps(town_events.to_dict())
    assert "Demo Constabulary" in text
    assert town_events.frame["crime_id"].dropna().iloc[0] not in text
    assert "do not exist" in town_events._repr_html_()
    assert "kept in tables, off the map" in town_events.quality._repr_html_()


@pytest.fixture(scope="module")
def stamped() -> Events:
    days = pd.date_range("2020-01-01", "2020-03-31 12:00", freq="12h")
    table = pd.DataFrame({"time": days, "x": 500_000.0, "y": 300_000.0})
    return read_points(table, time="time", x="x", y="y", crs="EPSG:27700")


def test_a_month_cut_in_two_is_no_quiet_month(stamped: Events) -> None:
    """The days that select left out were counted as days without crime."""
    cut = stamped.select(start="2020-01-15").select(end="2020-03-11")
    monthly = monthly_series(cut).frame["all"]
    assert monthly.isna().tolist() == [True, False, True]
    assert monthly["2020-02"] == 58
    daily = daily_series(cut).frame["all"]
    assert (str(daily.index[0]), str(daily.index[-1])) == ("2020-01-15", "2020-03-10")
    assert (daily == 2).all()


def test_start_inside_a_month_takes_the_month_where_only_that_is_known(town_events: Events) -> None:
    whole = monthly_series(town_events.select(start="2023-01-01")).frame["all"]
    assert monthly_series(town_events.select(start="2023-01-15")).frame["all"].equals(whole)


def test_persons_and_planes_that_are_none_are_refused_however_events_are_made(stamped: Events) -> None:
    names = ["John Smith", "Mary Jones"]
    with pytest.raises(RefusedError, match="full names"):
        replace(stamped, frame=stamped.frame.assign(type=[names[i % 2] for i in range(len(stamped))]))
    with pytest.raises(SchemaError, match="US survey foot"):
        replace(stamped, frame=stamped.frame.to_crs("EPSG:2263"))


@pytest.mark.parametrize("name", [
    "drugs", "NARCOTICS", "WEAPONS VIOLATION", "Stop & Search", "Stop-and-frisk", "Public disorder and weapons",
    "Possession of an offensive weapon", "GAMBLING",
])  # fmt: skip
def test_what_policing_finds_is_known_by_other_names(name: str) -> None:
    assert found_by_policing(name)


@pytest.mark.parametrize("name", [
    "Burglary", "Drugstore robbery", "Assault with a weapon", "Theft of weapons from a car", "Anti-social behaviour",
])  # fmt: skip
def test_what_is_reported_is_not_taken_for_it(name: str) -> None:
    assert not found_by_policing(name)
