"""One street-level CSV of data.police.uk: bytes in, a checked Arrow table out."""

from __future__ import annotations

import csv
import io
import re
from typing import TYPE_CHECKING

import numpy as np

from crimeface_lib.core.errors import RefusedError, SchemaError
from crimeface_lib.crime.events import refuse_person_columns

if TYPE_CHECKING:
    import pyarrow as pa

#: Header of a street file, in the order data.police.uk writes it.
STREET_COLUMNS = (
    "Crime ID", "Month", "Reported by", "Falls within", "Longitude", "Latitude", "Location",
    "LSOA code", "LSOA name", "Crime type", "Last outcome category", "Context",
)  # fmt: skip
_READ = STREET_COLUMNS[:-1]  # Context has been empty since 2011
_NEEDED = ("Month", "Reported by", "Crime type")
_MONTH = re.compile(r"\d{4}-(0[1-9]|1[0-2])")
_RANGE = {"Longitude": 180.0, "Latitude": 90.0}


def parse_street(data: bytes, *, name: str) -> pa.Table:
    """Return the rows of one street file, texts as dictionaries and coordinates as float64.

    Raises
    ------
    SchemaError : a column is lacking, or a value is impossible; the message names file, row (the header
        is row 1) and column.
    RefusedError : a column about persons, or coordinates finer than published snap points.
    """
    import pyarrow as pa
    from pyarrow import csv as pacsv

    check_header(data, name=name)
    text, codes = pa.string(), pa.dictionary(pa.int32(), pa.string())
    types = dict.fromkeys(_READ, codes) | {"Crime ID": text, "Longitude": pa.float64(), "Latitude": pa.float64()}
    options = pacsv.ConvertOptions(
        column_types=types, include_columns=list(_READ), null_values=[""], strings_can_be_null=True
    )
    try:
        table = pacsv.read_csv(
            io.BytesIO(data), convert_options=options, read_options=pacsv.ReadOptions(block_size=16 << 20)
        ).unify_dictionaries()
    except pa.ArrowInvalid as error:
        raise _explain(data, name, error) from error
    _check_values(table, name)
    return table


def check_header(data: bytes, *, name: str) -> None:
    """Raise what ``parse_street`` raises for the header alone."""
    try:
        line = data[: data.find(b"\n") + 1 or len(data)].decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SchemaError(f"{name}: got a header that is not UTF-8 ({error.reason}); save the file as UTF-8") from error
    header = next(csv.reader([line.strip("\r\n")]), [])
    refuse_person_columns(header, where=name)
    lacking = [c for c in STREET_COLUMNS if c not in header and c != "Context"]
    if lacking:
        raise SchemaError(
            f"{name}: lacks the column {', '.join(repr(c) for c in lacking)}; got {header}; "
            f"expected {', '.join(STREET_COLUMNS)}"
        )
    twice = sorted({c for c in header if header.count(c) > 1})
    if twice:
        raise SchemaError(f"{name}: got the column {', '.join(twice)} more than once, expected once")


def _explain(data: bytes, name: str, error: Exception) -> SchemaError:
    """Find the first row that Arrow could not read, for the message."""
    try:
        rows = list(csv.reader(io.StringIO(data.decode("utf-8-sig"), newline="")))
    except UnicodeDecodeError as bad:
        row = data[: bad.start].count(b"\n") + 1
        return SchemaError(f"{name}, row {row}: got bytes that are not UTF-8; save the file as UTF-8")
    header = rows[0]
    for row, fields in enumerate(rows[1:], start=2):
        if row and len(fields) != len(header):
            return SchemaError(f"{name}, row {row}: got {len(fields)} fields, expected {len(header)} as in the header")
        for column in _RANGE:
            value = fields[header.index(column)] if fields else ""
            try:
                float(value or 0)
            except ValueError:
                return SchemaError(
                    f"{name}, row {row}, column {column!r}: got {value!r}, expected degrees such as -2.804451"
                )
    return SchemaError(f"{name}: could not be read as CSV ({error})")


def _check_values(table: pa.Table, name: str) -> None:
    for column in _NEEDED:
        if table[column].null_count:
            row = int(np.flatnonzero(table[column].is_null().to_numpy())[0])
            raise SchemaError(f"{name}, row {row + 2}, column {column!r}: got nothing, expected a value")
    months = table["Month"].combine_chunks()
    wrong = [i for i, m in enumerate(months.dictionary.to_pylist()) if not _MONTH.fullmatch(m)]
    stem = re.match(r"(\d{4}-\d{2})-", name.rsplit("/", 1)[-1])
    expected = "a month such as 2018-01"
    if not wrong and stem:
        wrong = [i for i, m in enumerate(months.dictionary.to_pylist()) if m != stem[1]]
        expected = f"{stem[1]} as in the file's name"
    bad = np.flatnonzero(np.isin(months.indices.to_numpy(), wrong))
    if len(bad):
        value = months.dictionary[months.indices[int(bad[0])].as_py()]
        raise SchemaError(f"{name}, row {bad[0] + 2}, column 'Month': got {value.as_py()!r}, expected {expected}")
    for column, limit in _RANGE.items():
        values = table[column].to_numpy()
        nulls = table[column].is_null().to_numpy()
        bad = np.flatnonzero(~nulls & ~(np.abs(values) <= limit))
        if len(bad):
            raise SchemaError(
                f"{name}, row {bad[0] + 2}, column {column!r}: got {values[bad[0]]}, expected degrees within ±{limit:g}"
            )
        micro = values[~nulls] * 1e6
        fine = int((np.abs(micro - np.round(micro)) > 1e-3).sum())
        if fine:
            raise RefusedError(
                f"{name}, column {column!r}: got {fine} values with more than 6 decimals, which data.police.uk's "
                "snap points never have: these look like exact positions; read_points reads data of your own"
            )
