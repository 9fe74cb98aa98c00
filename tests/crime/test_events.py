"""What Events refuse and how they are narrowed."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from crimeface_lib.core.errors import InputError, RefusedError, SchemaError
from crimeface_lib.crime import Events, refuse_person_columns


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
    with pytest.raises(SchemaError, match="expected a projected one"):
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
