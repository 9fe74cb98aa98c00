"""Reading police.uk files: the facts of the real ones, and every fault we could think of."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from shapely.geometry import box

from crimeface_lib.core.errors import InputError, RefusedError, SchemaError
from crimeface_lib.crime import OGL_ATTRIBUTION, SYNTHETIC_ATTRIBUTION, Events, check_source, read_events
from crimeface_lib.crime._layouts import STREET_COLUMNS
from crimeface_lib.crime.events import ASB, COLUMNS

Write = Callable[..., Path]
Row = Callable[..., str]
HEADER = ",".join(STREET_COLUMNS)


@pytest.fixture(scope="session")
def merseyside(data_root: Path) -> Events:
    return read_events(data_root / "crime/uk/merseyside-2018-01_2021-09.zip")


def test_facts_of_merseyside(merseyside: Events) -> None:
    quality = merseyside.quality
    assert quality.rows_read == quality.rows == 627_122
    assert quality.files == 44
    assert round(quality.missing_id / quality.rows, 3) == 0.204
    assert quality.missing_id == (merseyside.frame["type"] == ASB).sum()
    assert quality.missing_id_not_asb == 0
    assert quality.missing_location == quality.missing_lsoa == quality.outside == 0
    assert quality.duplicates_dropped == quality.repeated_ids == 0
    assert quality.gaps == ("Merseyside Police 2019-07",)
    assert len(merseyside.months) == 45
    assert round(quality.shared_point / quality.rows, 2) == 0.76
    assert quality.points_many_lsoa == 18
    assert merseyside.attribution == OGL_ATTRIBUTION


def test_projection_of_merseyside_is_the_national_grid(merseyside: Events) -> None:
    from pyproj import Transformer

    rows = merseyside.frame.iloc[::50_000]
    xy = Transformer.from_crs("EPSG:4326", "EPSG:27700", always_xy=True).transform(rows.longitude, rows.latitude)
    np.testing.assert_allclose([rows.geometry.x, rows.geometry.y], xy, atol=1e-6)


def test_facts_of_london(data_root: Path) -> None:
    events = read_events(data_root / "crime/uk/city-of-london-2018-01_2021-09.zip", force="city-of-london")
    assert (events.quality.rows_read, events.quality.duplicates_dropped) == (28_761, 5)
    assert events.quality.missing_location == 2_191
    assert events.quality.outside == 7
    located = events.frame.geometry.notna().sum()
    assert located == events.quality.rows - 2_191 - 7


def test_folder_zip_and_file_agree(write_street: Write, street_row: Row, tmp_path: Path) -> None:
    write_street(street_row(1), street_row(2))
    folder = write_street(street_row(3, month="2023-02"), month="2023-02")
    for name in (
        "2023-02-demo-constabulary-outcomes.csv",
        "2023-02-demo-constabulary-stop-and-search.csv",
        "notes.csv",
    ):
        (folder / "2023-02" / name).write_text("Name,Date of birth\n")
    archive = tmp_path / "all.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in sorted(folder.rglob("*.csv")):
            file.write(path, path.relative_to(folder))
    one, other = read_events(folder), read_events(archive)
    assert one.frame.drop(columns="time").equals(other.frame.drop(columns="time"))
    assert one.quality == other.quality
    assert one.quality.files_skipped == {"outcomes": 1, "stop-and-search": 1, "other": 1}
    assert list(one.frame.columns) == list(COLUMNS)
    assert len(read_events(folder / "2023-01" / "2023-01-demo-constabulary-street.csv")) == 2
    assert one.attribution == SYNTHETIC_ATTRIBUTION
    assert check_source(archive) == 2


def test_column_order_and_byte_order_mark(write_street: Write, street_row: Row) -> None:
    folder = write_street(street_row(1), street_row(2))
    plain = read_events(folder).frame
    file = next(folder.rglob("*.csv"))
    turned = [",".join(reversed(line.split(","))) for line in file.read_text().splitlines()]
    file.write_text("\n".join(turned), encoding="utf-8-sig")
    assert read_events(folder).frame.drop(columns="time").equals(plain.drop(columns="time"))


def test_duplicates_are_dropped_once_and_conflicts_kept(write_street: Write, street_row: Row) -> None:
    folder = write_street(
        street_row(1), street_row(1), street_row(1),
        street_row(2), street_row(2, Crime_type="Robbery"),
        street_row(3), street_row(3, Last_outcome_category="Local resolution"),
        street_row(4, Crime_ID="", Crime_type=ASB), street_row(4, Crime_ID="", Crime_type=ASB),
    )  # fmt: skip
    events = read_events(folder)
    assert events.quality.duplicates_dropped == 2
    assert (events.quality.repeated_ids, events.quality.conflicting_ids) == (4, 1)
    assert events.frame["conflict"].tolist() == [False, True, True, True, True, False, False]
    assert (events.quality.missing_id, events.quality.missing_id_not_asb) == (2, 0)


def test_missing_and_far_places_stay_in_the_table(write_street: Write, street_row: Row) -> None:
    rows = [street_row(n, Longitude=f"1.3{n // 3:03d}00", LSOA_code=f"D{n // 30}") for n in range(300)]
    folder = write_street(*rows, street_row(900, Longitude="", Latitude=""), street_row(901, Latitude="51.500000"))
    events = read_events(folder)
    assert (events.quality.missing_location, events.quality.outside, len(events)) == (1, 1, 302)
    assert events.frame.geometry.isna().sum() == 2
    assert np.isnan(events.coordinates()[-1]).all()
    assert np.isfinite(events.frame["latitude"].iloc[-1])
    x, y = events.coordinates()[0]
    assert read_events(folder, area=box(x - 0.03, y - 0.03, x + 0.03, y + 0.03)).quality.outside == 298


def test_a_missing_month_and_a_bare_header_are_gaps(write_street: Write, street_row: Row) -> None:
    write_street(street_row(1))
    write_street(month="2023-02")
    folder = write_street(street_row(2, month="2023-04"), month="2023-04")
    events = read_events(folder)
    assert events.quality.empty_files == 1
    assert events.quality.gaps == ("Demo Constabulary 2023-02", "Demo Constabulary 2023-03")
    assert np.isnan(events.completeness.loc["Demo Constabulary", "2023-02"])
    assert [str(m) for m in events.months] == ["2023-01", "2023-02", "2023-03", "2023-04"]


def test_one_force(write_street: Write, street_row: Row) -> None:
    write_street(street_row(1))
    folder = write_street(street_row(2, force="Devon & Cornwall Police"), slug="devon-and-cornwall")
    assert read_events(folder).completeness.shape == (2, 1)
    for force in ("devon-and-cornwall", "Devon & Cornwall Police", "Devon and Cornwall Police"):
        assert read_events(folder, force=force).frame["force"].tolist() == ["Devon & Cornwall Police"]
    with pytest.raises(InputError, match="expected one of: Demo Constabulary, Devon & Cornwall Police"):
        read_events(folder, force="Kent Police")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"Longitude": "abc"}, "row 3, column 'Longitude': got 'abc'"),
        ({"Latitude": "91.000000"}, "row 3, column 'Latitude': got 91.0"),
        ({"Longitude": "inf"}, "row 3, column 'Longitude': got inf"),
        ({"Month": "January"}, "row 3, column 'Month': got 'January', expected a month"),
        ({"Month": "2023-13"}, "row 3, column 'Month': got '2023-13'"),
        ({"Month": "2099-01"}, "row 3, column 'Month': got '2099-01', expected 2023-01 as in the file's name"),
        ({"Month": ""}, "row 3, column 'Month': got nothing"),
        ({"Crime_type": ""}, "row 3, column 'Crime type': got nothing"),
        ({"Location": "a,b"}, "row 3: got 13 fields, expected 12"),
    ],
)  # fmt: skip
def test_impossible_values_name_file_row_and_column(
    write_street: Write, street_row: Row, changes: dict[str, str], message: str
) -> None:
    folder = write_street(street_row(1), street_row(2, **changes))
    with pytest.raises(SchemaError, match=r"2023-01-demo-constabulary-street\.csv") as caught:
        read_events(folder)
    assert message in str(caught.value)


def test_a_lacking_column_names_those_expected(write_street: Write) -> None:
    folder = write_street(header=HEADER.replace("Crime type", "Offence"))
    with pytest.raises(
        SchemaError, match=r"street\.csv: lacks the column 'Crime type'; got .*; expected Crime ID, Month"
    ):
        read_events(folder)


def test_months_after_the_clock_are_refused(write_street: Write, street_row: Row) -> None:
    folder = write_street(street_row(1, month="2031-01"), month="2031-01")
    assert len(read_events(folder)) == 1
    with pytest.raises(SchemaError, match="expected none after 2026-11"):
        read_events(folder, at=datetime(2026, 11, 1, tzinfo=UTC))


@pytest.mark.parametrize("column", ["Name", "Date of birth", "Suspect", "Self-defined ethnicity", "person_id", "DOB"])
def test_person_columns_are_refused(write_street: Write, street_row: Row, column: str) -> None:
    folder = write_street(street_row(1) + ",x", header=HEADER + f",{column}")
    with pytest.raises(RefusedError, match=f"columns about persons .{column}.;"):
        read_events(folder)


def test_exact_positions_are_refused(write_street: Write, street_row: Row) -> None:
    with pytest.raises(RefusedError, match="more than 6 decimals"):
        read_events(write_street(street_row(1, Longitude="1.3000123456")))


def test_exact_positions_without_streets_are_refused(write_street: Write, street_row: Row) -> None:
    """Streets and LSOAs tell snap points from exact positions; leaving them out is no way around."""
    nameless = {"Location": "", "LSOA code": "", "LSOA name": ""}
    rows = [street_row(k, **(nameless | {"Longitude": f"{1.3 + k / 1e4:.6f}"})) for k in range(1, 20)]
    with pytest.raises(RefusedError, match="no street"):
        read_events(write_street(*rows))


@pytest.mark.parametrize("force", ["Police Service of Northern Ireland", "northern-ireland"])
def test_a_force_by_its_slug(force: str, write_street: Write, street_row: Row) -> None:
    name = "Police Service of Northern Ireland"
    row = street_row(1, force=name, Longitude="-5.930000", Latitude="54.600000")
    folder = write_street(row, slug="northern-ireland")
    assert read_events(folder, force=force).frame["force"].tolist() == [name]


def test_sources_that_are_none(tmp_path: Path, write_street: Write, street_row: Row) -> None:
    with pytest.raises(InputError, match="no such file or folder: nowhere"):
        read_events(tmp_path / "nowhere")
    with pytest.raises(InputError, match="got no CSV at all"):
        read_events(tmp_path)
    with pytest.raises(InputError, match=r"expected one of police\.uk"):
        read_events(tmp_path, layout="ucr")
    with pytest.raises(InputError, match="got no rows in 1 street files"):
        read_events(write_street())
    outcomes = tmp_path / "2023-01-demo-constabulary-outcomes.csv"
    outcomes.write_text("x\n")
    with pytest.raises(InputError, match="got a file of outcomes"):
        read_events(outcomes)
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(InputError, match="neither a folder, a zip nor a CSV"):
        read_events(tmp_path / "a.txt")
    (tmp_path / "bytes.csv").write_bytes((HEADER + "\n" + street_row(1) + "\n").encode() + b"\x81,")
    with pytest.raises(SchemaError, match="row 3: got bytes that are neither UTF-8 nor Windows-1252"):
        read_events(tmp_path / "bytes.csv")


def test_unsafe_zips(tmp_path: Path) -> None:
    cases = {"up.zip": ("../2023-01-x-street.csv", "x"), "bomb.zip": ("2023-01-x-street.csv", "0" * 20_000_000)}
    for name, (member, text) in cases.items():
        with zipfile.ZipFile(tmp_path / name, "w", zipfile.ZIP_DEFLATED) as file:
            file.writestr(member, text)
    with pytest.raises(InputError, match="points outside the zip"):
        read_events(tmp_path / "up.zip")
    with pytest.raises(InputError, match="would inflate from"):
        read_events(tmp_path / "bomb.zip")
    with zipfile.ZipFile(tmp_path / "big.zip", "w") as file:
        file.writestr("2023-01-x-street.csv", "x" * 1000)
    with pytest.raises(InputError, match="raise max_bytes"):
        read_events(tmp_path / "big.zip", max_bytes=100)
    data = (tmp_path / "big.zip").read_bytes()
    (tmp_path / "torn.zip").write_bytes(data.replace(b"xxxx", b"xxyx", 1))
    with pytest.raises(InputError, match="is damaged"):
        read_events(tmp_path / "torn.zip")


def test_overlapping_archives_and_zips_within(write_street: Write, street_row: Row, tmp_path: Path) -> None:
    name = "2023-01-demo-constabulary-street.csv"
    for archive, outcome in (("2023-01.zip", "Under investigation"), ("2023-02.zip", "Local resolution")):
        (tmp_path / "all").mkdir(exist_ok=True)
        with zipfile.ZipFile(tmp_path / "all" / archive, "w") as file:
            file.writestr(f"2023-01/{name}", f"{HEADER}\n{street_row(1, Last_outcome_category=outcome)}\n")
            file.writestr(f"__MACOSX/._{name}", "junk")
    for source in (tmp_path / "all", tmp_path / "nested.zip"):
        if source.suffix:
            with zipfile.ZipFile(source, "w") as file:
                for inner in sorted((tmp_path / "all").iterdir()):
                    file.write(inner, inner.name)
        events = read_events(source)
        assert events.frame["outcome"].tolist() == ["Local resolution"]
        assert events.quality.files_repeated == 1
    with zipfile.ZipFile(tmp_path / "deep.zip", "w") as file:
        file.write(tmp_path / "nested.zip", "nested.zip")
    with pytest.raises(InputError, match="a zip in a zip in a zip"):
        read_events(tmp_path / "deep.zip")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252", "utf-16"])
def test_encodings(write_street: Write, street_row: Row, encoding: str) -> None:
    folder = write_street(street_row(1, Location='"On or near ""Caf\xe9"", Y\n Felin"'))
    file = next(folder.rglob("*.csv"))
    file.write_bytes(file.read_bytes().decode().encode(encoding))
    events = read_events(folder)
    assert events.frame["location"].tolist() == ['On or near "Caf\xe9", Y\n Felin']
    assert bool(events.quality.encodings) == (encoding in ("cp1252", "utf-16"))


def test_headers_of_other_years(write_street: Write, street_row: Row) -> None:
    row = "2011-01,Demo Constabulary,Demo Constabulary,335000,390000,On or near Example Street,Burglary,"
    folder = write_street(
        row, month="2011-01", header="Month,Reported by,Falls within,Easting,Northing,Location,Crime type,Context"
    )
    events = read_events(folder)
    np.testing.assert_allclose(events.coordinates(), [[335_000, 390_000]], atol=0.2)
    assert set(events.quality.columns_absent) == {"Crime ID", "LSOA code", "LSOA name", "Last outcome category"}
    assert events.quality.missing_id == 1
    write_street(street_row(2) + ",x", header=HEADER.upper().replace(" ", "_") + ",Beat")
    events = read_events(folder)
    assert len(events) == 2
    assert events.quality.columns_ignored == ("Beat",)
    with pytest.raises(RefusedError, match="column 'Beat': got values that look like e-mail"):
        read_events(write_street(street_row(2) + ",pc1@example.org", header=HEADER + ",Beat"))


def test_policies(write_street: Write, street_row: Row) -> None:
    folder = write_street(
        street_row(1), street_row(1), street_row(2, Crime_ID=""), street_row(3, Longitude="", Latitude=""),
        street_row(4, Longitude="0.000000", Latitude="0.000000"),
    )  # fmt: skip
    plain = read_events(folder).quality
    assert (plain.rows, plain.missing_location, plain.zero_places, plain.duplicates_dropped) == (4, 2, 1, 1)
    strict = read_events(folder, duplicates="keep", missing_id="drop", missing_place="drop")
    assert (len(strict), strict.quality.dropped) == (2, {"missing_place": 2, "missing_id": 1})
    assert "kept" in strict.quality.to_frame()["policy"].tolist()
    for policy, what in (("duplicates", "exact duplicates"), ("missing_id", "no id"), ("missing_place", "no location")):
        with pytest.raises(SchemaError, match=f"rows with {what}.*{policy}='refuse'"):
            read_events(folder, **{policy: "refuse"})
        with pytest.raises(InputError, match=f"{policy}: got 'ignore', expected one of: "):
            read_events(folder, **{policy: "ignore"})


def test_exchanged_and_foreign_coordinates(write_street: Write, street_row: Row) -> None:
    with pytest.raises(SchemaError, match="longitude and latitude look exchanged"):
        read_events(write_street(street_row(1, Longitude="53.900000", Latitude="1.300000")))
    with pytest.raises(SchemaError, match=r"outside the area of OSGB36.*check the CRS"):
        read_events(write_street(street_row(1, Longitude="-87.600000", Latitude="41.800000")))
    with pytest.raises(InputError, match="expected a projected CRS in metres"):
        read_events(write_street(street_row(1)), crs="EPSG:3435")


def test_true_points_pass_and_blurred_ones_do_not(data_root: Path, tmp_path: Path) -> None:
    """A jitter of some metres, rounded to six decimals as snap points are."""
    import io

    import pandas as pd

    gen = np.random.default_rng(1)
    for force in ("merseyside", "city-of-london"):
        source = data_root / f"crime/uk/{force}-2018-01_2021-09.zip"
        assert check_source(source) > 40  # the header of all, the rows of the first
        with zipfile.ZipFile(source) as file:
            name = next(n for n in file.namelist() if n.endswith(f"2019-05-{force}-street.csv"))
            table = pd.read_csv(io.BytesIO(file.read(name)), dtype={"Crime ID": str})
        for keep in (slice(None), slice(0, 300)):
            rows = table.iloc[keep]
            for column in ("Longitude", "Latitude"):
                rows = rows.assign(**{column: (rows[column] + gen.normal(0, 2e-4, len(rows))).round(6)})
            path = tmp_path / "2019-05-x-street.csv"
            rows.to_csv(path, index=False)
            with pytest.raises(RefusedError, match="few of which share one"):
                read_events(path)
        table.iloc[:300].to_csv(path, index=False)
        assert len(read_events(path)) > 290
