"""Places, never persons: by name in several languages, and by what the values look like."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from crimeface_lib.core.errors import RefusedError
from crimeface_lib.crime import read_points
from crimeface_lib.crime.persons import is_person_column, refuse_person_values

NAMED = {"time": "when", "x": "x", "y": "y", "crs": "EPSG:27700"}


@pytest.mark.parametrize("column", [
    "suspect_name", "MO of offender", "nhs number", "Nachname", "Prénom", "Fecha de nacimiento", "víctima", "Täter",
    "VictimAge", "Number of victims", "ethnic_group", "vrm", "Collar number", "PersonName", "e-mail", "Telephone",
    "Officer-defined ethnicity", "AGE_RANGE", "custody number", "eye colour",
])  # fmt: skip
def test_names(column: str) -> None:
    assert is_person_column(column)


@pytest.mark.parametrize("column", [
    "Reported by", "Outcome type", "Context", "Policing operation", "racecourse", "Property name", "cell", "beat",
    "Removal of more than just outer clothing", "Outcome linked to object of search", "police force name", "Domestic",
])  # fmt: skip
def test_names_of_places_pass(column: str) -> None:
    assert not is_person_column(column)


@pytest.mark.parametrize(("values", "what"), [
    (["John Smith", "SMITH, Mary", "Dr Ahmed Khan"], "full names"),
    (["a@example.org", "b.c@example.com"], "e-mail"),
    (["07700 900123", "+44 7700 900456", "020 7946 0958"], "telephone"),
    (["AB123456C", "AB 12 34 56 D"], "national insurance"),
    (["1950-02-03", "1961-07-08", "1985-01-30", "1990-12-01", "2001-05-06", "1944-04-04"], "dates of birth"),
])  # fmt: skip
def test_values(values: list[object], what: str) -> None:
    with pytest.raises(RefusedError, match=f"column 'note': got values that look like {what}") as caught:
        refuse_person_values(pd.DataFrame({"note": values}))
    assert str(values[0]) not in str(caught.value)


def test_nhs_numbers_by_their_check_digit() -> None:
    stems = [f"{n:09d}" for n in range(123_456_000, 123_456_060)]
    check = [(11 - sum(int(d) * w for d, w in zip(s, range(10, 1, -1), strict=True)) % 11) % 11 for s in stems]
    numbers = [s + str(c) for s, c in zip(stems, check, strict=True) if c < 10]
    with pytest.raises(RefusedError, match="NHS numbers"):
        refuse_person_values(pd.DataFrame({"ref": numbers}))
    refuse_person_values(pd.DataFrame({"ref": [str(int(n) + 1) for n in numbers]}))


@pytest.mark.parametrize("values", [
    ["On or near Victoria Road", "James Street", "St John Park", "Liverpool 001A"],
    ["HZ123456", "HZ123457"], ["2019-01-01", "2020-05-05", "2021-01-01", "2018-03-03", "2019-02-02"],
    ["Public order", "Other theft"], [101, 102, 103], ["ANTI-SOCIAL", "THEFT"],
])  # fmt: skip
def test_values_of_places_pass(values: list[object]) -> None:
    refuse_person_values(pd.DataFrame({"note": values}))


def test_readers_refuse_them(tmp_path: Path) -> None:
    table = pd.DataFrame({"when": ["2019-01-01", "2019-01-02"], "x": [4e5, 4e5], "y": [3e5, 3e5]})
    with pytest.raises(RefusedError, match="look like full names"):
        read_points(table.assign(note=["John Smith", "Mary Jones"]), **NAMED)
    with pytest.raises(RefusedError, match="columns about persons"):
        read_points(table.assign(Sospechoso="x"), **NAMED)


@pytest.mark.parametrize(
    "inside",
    [
        [{"suspect": {"name": "x"}, "street": "High Street"}] * 10,
        [json.dumps({"details": [{"dob": "1980-01-01"}]})] * 10,
        [["John Smith", "Mary Jones"]] * 10,
        [{"note": "John Smith"}, {"note": "Mary Jones"}] * 5,
    ],
)
def test_records_inside_a_column_are_looked_into(inside):
    with pytest.raises(RefusedError, match="props"):
        refuse_person_values(pd.DataFrame({"props": inside}))
    refuse_person_values(pd.DataFrame({"props": [{"street": "High Street", "lanes": [1, 2]}, "[not JSON", None]}))
