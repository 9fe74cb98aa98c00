"""The CSV layouts of data.police.uk: bytes in, a checked Arrow table of the columns of ``Events`` out."""

from __future__ import annotations

import csv
import io
import re
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from crimeface_lib.core.errors import RefusedError, SchemaError
from crimeface_lib.crime._sources import CsvFile, to_utf8
from crimeface_lib.crime.persons import is_person_column, refuse_person_columns, refuse_person_values

if TYPE_CHECKING:
    import pyarrow as pa

#: Headers in the order in which data.police.uk writes them.
STREET_COLUMNS = (
    "Crime ID", "Month", "Reported by", "Falls within", "Longitude", "Latitude", "Location",
    "LSOA code", "LSOA name", "Crime type", "Last outcome category", "Context",
)  # fmt: skip
OUTCOME_COLUMNS = (*STREET_COLUMNS[:9], "Outcome type")
STOP_COLUMNS = (
    "Type", "Date", "Part of a policing operation", "Policing operation", "Latitude", "Longitude", "Gender",
    "Age range", "Self-defined ethnicity", "Officer-defined ethnicity", "Legislation", "Object of search", "Outcome",
    "Outcome linked to object of search", "Removal of more than just outer clothing",
)  # fmt: skip
STOP = "Stop and search"
_PLACE = {"Longitude": 180.0, "Latitude": 90.0}
_OLD_PLACE = ("Easting", "Northing")  # the first files, of 2010 and 2011
_MONTH = re.compile(r"\d{4}-(0[1-9]|1[0-2])")
_COMMON = {
    "Crime ID": "crime_id", "Month": "month", "Reported by": "force", "Falls within": "within",
    "Location": "location", "LSOA code": "lsoa_code", "LSOA name": "lsoa_name",
}  # fmt: skip


class Layout(NamedTuple):
    """Columns as published, those read and what they become, and those without which a file is refused."""

    columns: tuple[str, ...]
    read: dict[str, str]
    needed: tuple[str, ...]


LAYOUTS = {
    "street": Layout(
        STREET_COLUMNS,
        {**_COMMON, "Crime type": "type", "Last outcome category": "outcome"},
        ("Month", "Reported by", "Crime type"),
    ),
    "outcomes": Layout(
        OUTCOME_COLUMNS, {**_COMMON, "Outcome type": "outcome"}, ("Crime ID", "Month", "Reported by", "Outcome type")
    ),
    "stop-and-search": Layout(STOP_COLUMNS, {"Date": "time", "Outcome": "outcome"}, ("Date",)),
}
#: Of every table that ``parse`` returns; those a layout lacks are missing throughout.
PARSED = (*_COMMON.values(), "type", "outcome", "time", "longitude", "latitude")


class Header(NamedTuple):
    """Which column of the file is which of the layout; what it lacks, has beside it, and has about persons."""

    names: dict[str, str]
    fields: list[str]
    absent: tuple[str, ...]
    ignored: tuple[str, ...]
    persons: tuple[str, ...]


class Parsed(NamedTuple):
    table: pa.Table
    header: Header
    encoding: str


def parse(file: CsvFile, *, kind: str = "street") -> Parsed:
    """Return the rows of one file, texts as dictionaries, coordinates as float64 degrees.

    Raises
    ------
    SchemaError : a column is lacking, or a value is impossible; the message names file, row (the header
        is row 1) and column.
    RefusedError : persons, or coordinates finer than published snap points.
    """
    import pyarrow as pa
    from pyarrow import csv as pacsv

    name = file.name
    data, encoding = to_utf8(file.read(), name=name)
    header = read_header(data, name=name, kind=kind)
    text, codes = pa.string(), pa.dictionary(pa.int32(), pa.string())
    places = _OLD_PLACE if "Easting" in header.names else tuple(_PLACE)
    types = {header.names[c]: codes for c in LAYOUTS[kind].read if c in header.names}
    types |= {header.names[c]: pa.float64() for c in places}
    types |= {header.names[c]: text for c in ("Crime ID", "Date") if c in header.names}
    include = [*types, *header.ignored]  # what is not of the layout is looked at for persons, then left
    types |= dict.fromkeys(header.ignored, codes)
    try:
        table = pacsv.read_csv(
            io.BytesIO(data),
            parse_options=pacsv.ParseOptions(newlines_in_values=b'"' in data),
            convert_options=pacsv.ConvertOptions(
                column_types=types, include_columns=include, null_values=[""], strings_can_be_null=True
            ),
            read_options=pacsv.ReadOptions(block_size=16 << 20),
        ).unify_dictionaries()
    except pa.ArrowInvalid as error:
        raise _explain(data, name, error, [header.names[c] for c in places]) from error
    back = {v: k for k, v in header.names.items()}
    table = table.rename_columns([back.get(c, c) for c in table.column_names])
    _check_values(table, file, LAYOUTS[kind], places)
    looked_at = table.select([c for c in ("Location", *header.ignored) if c in table.column_names])
    refuse_person_values(looked_at.slice(0, 20_000).to_pandas(), where=name)
    if kind == "stop-and-search":
        table = _with_stops(table, file)
    table = _canonical(table, LAYOUTS[kind], places)
    if kind != "stop-and-search":
        _refuse_exact(table, name)
    return Parsed(table, header, encoding)


def read_header(data: bytes, *, name: str, kind: str = "street") -> Header:
    """Check the header alone; case and blanks in the names don't matter.

    Raises
    ------
    What ``parse`` raises for the header.
    """
    layout = LAYOUTS[kind]
    line = re.split(rb"\r\n|\n|\r", data, maxsplit=1)[0]
    fields = next(csv.reader([line.decode()]), [])
    known = {_plain(c): c for c in (*layout.columns, *_OLD_PLACE)}
    names, others = {}, []
    for title in fields:
        column = known.get(_plain(title))
        if column in names or fields.count(title) > 1:
            raise SchemaError(f"{name}: got the column {title} more than once, expected once")
        if column:
            names[column] = title
        else:
            others.append(title)
    refuse_person_columns(others, where=name)
    old = set(_OLD_PLACE) <= set(names) and not set(_PLACE) <= set(names)
    lacking = [c for c in (*layout.needed, *(() if old else _PLACE)) if c not in names]
    if lacking:
        raise SchemaError(
            f"{name}: lacks the column {', '.join(repr(c) for c in lacking)}; got {fields}; "
            f"expected {', '.join(layout.columns)}"
        )
    if not old:
        others += [names.pop(c) for c in _OLD_PLACE if c in names]
    absent = tuple(c for c in (*layout.read, *(_PLACE if not old else ())) if c not in names)
    persons = tuple(c for c in layout.columns if c in names and is_person_column(c))
    return Header(names, fields, absent, tuple(c for c in others if c.strip()), persons)


def _plain(title: str) -> str:
    return re.sub(r"[\s_]+", " ", title).strip().lower()


def _explain(data: bytes, name: str, error: Exception, numbers: list[str]) -> SchemaError:
    """Find the first row that Arrow could not read, for the message."""
    csv.field_size_limit(1 << 24)
    try:
        rows = list(csv.reader(io.StringIO(data.decode(), newline="")))
    except csv.Error as bad:
        return SchemaError(f"{name}: could not be read as CSV ({bad})")
    header = rows[0]
    for row, fields in enumerate(rows[1:], start=2):
        if fields and len(fields) != len(header):
            return SchemaError(f"{name}, row {row}: got {len(fields)} fields, expected {len(header)} as in the header")
        for column in numbers:
            value = fields[header.index(column)] if fields else ""
            try:
                float(value or 0)
            except ValueError:
                return SchemaError(
                    f"{name}, row {row}, column {column!r}: got {value!r}, expected degrees such as -2.804451"
                )
    return SchemaError(f"{name}: could not be read as CSV ({error})")


def _check_values(table: pa.Table, file: CsvFile, layout: Layout, places: tuple[str, ...]) -> None:
    name = file.name
    for column in layout.needed:
        if table[column].null_count:
            row = int(np.flatnonzero(table[column].is_null().to_numpy())[0])
            raise SchemaError(f"{name}, row {row + 2}, column {column!r}: got nothing, expected a value")
    if "Month" in layout.needed:
        _check_months(table, file)
    for column in places:
        values, nulls = table[column].to_numpy(), table[column].is_null().to_numpy()
        limit = _PLACE.get(column, 1.4e6)
        bad = np.flatnonzero(~nulls & ~(np.abs(values) <= limit))
        if len(bad):
            unit = "degrees" if column in _PLACE else "metres"
            raise SchemaError(
                f"{name}, row {bad[0] + 2}, column {column!r}: got {values[bad[0]]}, expected {unit} within ±{limit:g}"
            )
        parts = values[~nulls] * (1e6 if column in _PLACE else 1.0)
        fine = int((np.abs(parts - np.round(parts)) > 1e-3).sum())
        if fine:
            decimals = "6 decimals" if column in _PLACE else "no decimals"
            raise RefusedError(f"{name}, column {column!r}: got {fine} values with more than {decimals}, {_EXACT}")


_EXACT = (
    "which data.police.uk's snap points never have: these look like exact positions; read_points reads data of your own"
)


def _check_months(table: pa.Table, file: CsvFile) -> None:
    months = table["Month"].combine_chunks()
    texts = months.dictionary.to_pylist()
    wrong = [i for i, m in enumerate(texts) if not _MONTH.fullmatch(m)]
    expected = "a month such as 2018-01"
    if not wrong and file.month:
        wrong = [i for i, m in enumerate(texts) if m != file.month]
        expected = f"{file.month} as in the file's name"
    bad = np.flatnonzero(np.isin(months.indices.to_numpy(), wrong))
    if len(bad):
        value = texts[months.indices[int(bad[0])].as_py()]
        raise SchemaError(f"{file.name}, row {bad[0] + 2}, column 'Month': got {value!r}, expected {expected}")


def _canonical(table: pa.Table, layout: Layout, places: tuple[str, ...]) -> pa.Table:
    """Return the columns of ``PARSED``; places of the National Grid become degrees of six decimals."""
    import pyarrow as pa

    one, other = (table[c].to_numpy() for c in places)
    if places == _OLD_PLACE:
        from pyproj import Transformer

        there = np.isfinite(one) & np.isfinite(other)
        lon, lat = np.full(len(one), np.nan), np.full(len(one), np.nan)
        turn = Transformer.from_crs("EPSG:27700", "EPSG:4326", always_xy=True)
        lon[there], lat[there] = np.round(turn.transform(one[there], other[there]), 6)
        one, other = lon, lat
    columns: dict[str, Any] = {new: table[old] for old, new in layout.read.items() if old in table.column_names} | {
        "longitude": pa.array(one),
        "latitude": pa.array(other),
    }
    codes = pa.dictionary(pa.int32(), pa.string())
    kinds = {"crime_id": pa.string(), "time": pa.timestamp("s")}
    for column in PARSED:
        if column in table.column_names:  # added for stops
            columns[column] = table[column]
        elif column not in columns:
            columns[column] = pa.nulls(len(table), kinds.get(column, codes))
    return pa.table({c: columns[c] for c in PARSED})


def _with_stops(table: pa.Table, file: CsvFile) -> pa.Table:
    """Add the type, and the force and the month that only the file's name tells; read the stamps."""
    import pandas as pd
    import pyarrow as pa

    if not file.month:
        raise SchemaError(
            f"{file.name}: the name tells no force and month, which stop-and-search files lack; "
            "rename it such as 2018-01-merseyside-stop-and-search.csv"
        )
    texts = table["Date"].to_pandas()
    stamps = pd.to_datetime(texts, utc=True, format="ISO8601", errors="coerce").dt.tz_localize(None)
    first = pd.Timestamp(file.month)
    day = pd.Timedelta(days=1)  # of a month's first and last day local time and UTC may disagree
    bad = np.flatnonzero(~((stamps >= first - day) & (stamps < first + pd.offsets.MonthBegin(1) + day)).to_numpy())
    if len(bad):
        raise SchemaError(
            f"{file.name}, row {bad[0] + 2}, column 'Date': got {texts[bad[0]]!r}, "
            f"expected a stamp within {file.month} such as {file.month}-01T12:00:00+00:00"
        )
    table = table.set_column(table.column_names.index("Date"), "Date", pa.array(stamps.astype("datetime64[s]")))
    for column, value in (("month", file.month), ("force", file.force), ("type", STOP)):
        constant = pa.DictionaryArray.from_arrays(pa.array(np.zeros(len(table), np.int32)), pa.array([value]))
        table = table.append_column(column, constant)
    return table


_LEAST, _SCATTERED = 8, 0.5
_PAIRS, _MEETING = 3_000, 0.001


def _refuse_exact(table: pa.Table, name: str) -> None:
    """Refuse positions that don't repeat as snap points do.

    Events of one street name in one LSOA share few points: of the events after a group's first, 2 to 12 % had a point
    of their own in each month of Merseyside and the City of London, and two events in one LSOA met in 1 to 12 % of
    pairs. Where positions are exact or blurred, nearly all events have a point of their own.
    """
    import pandas as pd

    frame = table.select(["longitude", "latitude", "location", "lsoa_code"]).to_pandas().dropna(subset=["longitude"])
    if frame.empty:
        return
    micro = np.round(frame[["longitude", "latitude"]].to_numpy() * 1e6).astype(np.int64)
    point = pd.factorize(micro[:, 0] * (1 << 30) + micro[:, 1])[0]
    street, lsoa = (frame[c].cat.codes.to_numpy().astype(np.int64) for c in ("location", "lsoa_code"))
    known = (street >= 0) & (lsoa >= 0)
    group = street[known] * (int(lsoa.max()) + 1) + lsoa[known]
    many = int(point.max()) + 1
    nameless = ~known & (street < 0)
    if nameless.sum() >= _LEAST and len(np.unique(point[nameless])) > _SCATTERED * nameless.sum():
        raise RefusedError(
            f"{name}: got {int(nameless.sum()):,} events with a place but no street ('Location'), most at a point of "
            f"their own, {_EXACT}"
        )
    groups, pairs = len(np.unique(group)), len(np.unique(group * many + point[known]))
    spare = int(known.sum()) - groups
    scattered = (pairs - groups) / spare if spare >= _LEAST else 0.0
    sizes = np.bincount(lsoa[lsoa >= 0])
    together = int((sizes * (sizes - 1)).sum()) // 2
    _, same = np.unique((lsoa * many + point)[lsoa >= 0], return_counts=True)
    meeting = int((same * (same - 1)).sum()) / 2 / together if together >= _PAIRS else 1.0
    if scattered > _SCATTERED or meeting < _MEETING:
        raise RefusedError(
            f"{name}: got {len(np.unique(point)):,} different points for {len(point):,} events, few of which share "
            f"one, {_EXACT}"
        )
