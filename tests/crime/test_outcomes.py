"""Outcomes by crime id, and stops and searches without the persons."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from crimeface_lib.core.errors import InputError, RefusedError, SchemaError
from crimeface_lib.crime import (
    POLICE_DISCOVERED,
    Events,
    check_source,
    join_outcomes,
    partition_events,
    read_events,
    read_outcomes,
    summarise,
)
from crimeface_lib.crime._layouts import OUTCOME_COLUMNS, STOP_COLUMNS

Write = Callable[..., Path]
Row = Callable[..., str]
SLUG = "demo-constabulary"


def _outcome(number: int, outcome: str, month: str) -> str:
    return (
        f"{number:064x},{month},Demo Constabulary,Demo Constabulary,1.3,53.9,On or near X,D01000001,Demo 001A,{outcome}"
    )


def _stop(date: str, **changes: str) -> str:
    row = {
        "Type": "Person search", "Date": date, "Part of a policing operation": "False", "Latitude": "53.900000",
        "Longitude": "1.300000", "Gender": "Male", "Age range": "18-24", "Self-defined ethnicity": "SECRET",
        "Officer-defined ethnicity": "SECRET", "Legislation": "Misuse of Drugs Act 1971 (section 23)",
        "Object of search": "Controlled drugs", "Outcome": "Arrest", "Outcome linked to object of search": "True",
    } | changes  # fmt: skip
    return ",".join(row.get(c, "") for c in STOP_COLUMNS)


def _put(folder: Path, month: str, kind: str, header: tuple[str, ...], *rows: str) -> Path:
    path = folder / month / f"{month}-{SLUG}-{kind}.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([",".join(header), *rows, ""]))
    return folder


@pytest.fixture
def folder(write_street: Write, street_row: Row) -> Path:
    rows = [street_row(n) for n in (1, 2, 3)]
    path = write_street(*rows, street_row(9, Crime_ID=""), street_row(3, Crime_type="Robbery"))
    first, later = "2023-01", "2023-02"
    review, local = _outcome(1, "Under review", first), _outcome(3, "Local resolution", first)
    _put(path, first, "outcomes", OUTCOME_COLUMNS, review, review, local)
    return _put(path, later, "outcomes", OUTCOME_COLUMNS, _outcome(1, "Charged", later), _outcome(7, "Charged", later))


def test_the_last_outcome_is_joined_and_all_is_counted(folder: Path) -> None:
    outcomes = read_outcomes(folder)
    assert (len(outcomes), outcomes.rows_read, outcomes.files, outcomes.duplicates) == (4, 5, 2, 1)
    assert outcomes.to_frame().set_index("outcome").loc["Charged", "outcomes"] == 2
    events = join_outcomes(read_events(folder), outcomes)
    got = events.frame["outcome"].tolist()
    assert got == ["Charged", "Under investigation", "Local resolution", "Under investigation", "Local resolution"]
    assert list(events.quality.outcomes.values()) == [5, 1, 1, 1, 3, 3, 1, 1, 2]
    assert "crimes not among the events" in events.quality._repr_html_()
    assert events.types == ("Burglary", "Robbery")


def test_outcomes_of_elsewhere_are_refused(folder: Path, tmp_path: Path, town_events: Events) -> None:
    with pytest.raises(InputError, match="none of 3 crimes is among"):
        join_outcomes(town_events, read_outcomes(folder))
    with pytest.raises(InputError, match=r"join_outcomes adds them"):
        read_events(folder, layout="police.uk/outcomes")
    _put(tmp_path / "o", "2023-01", "outcomes", OUTCOME_COLUMNS, _outcome(1, "x", "2023-01").replace(f"{1:064x}", ""))
    with pytest.raises(SchemaError, match="row 2, column 'Crime ID': got nothing"):
        read_outcomes(tmp_path / "o")


def test_stops_come_without_persons(tmp_path: Path) -> None:
    rows = [_stop("2023-03-31T23:30:00+01:00"), _stop("2023-04-02T14:05:00+00:00", Longitude="", Latitude="")]
    folder = _put(tmp_path / "s", "2023-04", "stop-and-search", STOP_COLUMNS, *rows)
    for events in (
        read_events(folder, layout="police.uk/stop-and-search"),
        partition_events(folder, tmp_path / "out", layout="police.uk/stop-and-search", progress=False).events(),
    ):
        assert events.types == ("Stop and search",)
        assert events.types[0] in POLICE_DISCOVERED
        assert events.resolution == "time"
        assert sorted(events.frame["time"]) == [pd.Timestamp("2023-03-31 22:30"), pd.Timestamp("2023-04-02 14:05")]
        assert [str(m) for m in events.months] == ["2023-04"]  # the month published, not the hour before it
        assert events.quality.persons_dropped == (
            "Gender", "Age range", "Self-defined ethnicity", "Officer-defined ethnicity",
        )  # fmt: skip
        assert events.quality.missing_location == 1
        assert "SECRET" not in events.frame.to_csv()
        assert not {"gender", "age range", "ethnicity"} & {c.lower() for c in events.frame.columns}
        assert any("left out of forecasts" in c for c in events.caveats)
        assert "never read" in events.quality._repr_html_()
    assert check_source(folder, layout="police.uk/stop-and-search") == 1


def test_stops_that_are_wrong(tmp_path: Path) -> None:
    layout = "police.uk/stop-and-search"
    for number, date in enumerate(("soon", "2023-06-01T00:00:00+00:00")):
        folder = _put(tmp_path / f"s{number}", "2023-04", "stop-and-search", STOP_COLUMNS, _stop(date))
        with pytest.raises(
            SchemaError, match=f"row 2, column 'Date': got '{date[:4]}.*expected a stamp within 2023-04"
        ):
            read_events(folder, layout=layout)
    folder = _put(tmp_path / "n", "2023-04", "stop-and-search", (*STOP_COLUMNS, "Surname"), _stop("2023-04-01") + ",X")
    with pytest.raises(RefusedError, match="Surname"):
        read_events(folder, layout=layout)
    file = next(folder.rglob("*.csv")).rename(tmp_path / "stops.csv")
    file.write_text(",".join(STOP_COLUMNS) + "\n" + _stop("2023-04-01") + "\n")
    with pytest.raises(SchemaError, match="the name tells no force and month"):
        read_events(file, layout=layout)


def test_summary_by_outcome_and_month(town_events: Events) -> None:
    by_outcome = summarise(town_events, by="outcome").table
    assert (by_outcome["low"].dropna() <= by_outcome["ratio"].dropna()).all()
    by_month = summarise(town_events, by="month")
    table = by_month.table.set_index("month")
    assert list(table.index) == [*by_month.months, "Total"]
    month = town_events.frame["month"].dt.strftime("%Y-%m")
    first = by_month.months[0]
    assert table.loc[first, "events"] == (month == first).sum()
    assert table.loc[first, "previous"] == (month == f"{int(first[:4]) - 1}{first[4:]}").sum()
    assert table["low"].notna().all()
