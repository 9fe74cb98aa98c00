"""One synthetic town for the whole folder, and a way to write street files by hand."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from crimeface_lib.crime import Events, Grid, make_grid, read_events
from crimeface_lib.crime._layouts import STREET_COLUMNS
from crimeface_lib.synthetic import SyntheticCrimes, synthetic_crimes, write_police_uk

HEADER = ",".join(STREET_COLUMNS)


def _street_row(number: int = 1, *, month: str = "2023-01", force: str = "Demo Constabulary", **changes: str) -> str:
    """One line of a street file; ``changes`` replace columns (spaces as underscores)."""
    row = {
        "Crime ID": f"{number:064x}", "Month": month, "Reported by": force, "Falls within": force,
        "Longitude": "1.300000", "Latitude": "53.900000", "Location": "On or near Example Street",
        "LSOA code": "D01000001", "LSOA name": "Demo 001A", "Crime type": "Burglary",
        "Last outcome category": "Under investigation", "Context": "",
    }  # fmt: skip
    return ",".join((row | {k.replace("_", " "): v for k, v in changes.items()})[c] for c in STREET_COLUMNS)


@pytest.fixture(scope="session")
def street_row() -> Callable[..., str]:
    return _street_row


@pytest.fixture
def write_street(tmp_path: Path) -> Callable[..., Path]:
    """Write rows as ``<tmp>/<month>/<month>-demo-constabulary-street.csv`` and return the folder."""

    def write(*rows: str, month: str = "2023-01", header: str = HEADER, slug: str = "demo-constabulary") -> Path:
        file = tmp_path / "crimes" / month / f"{month}-{slug}-street.csv"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("\r\n".join([header, *rows, ""]), encoding="utf-8")
        return tmp_path / "crimes"

    return write


@pytest.fixture(scope="session")
def town() -> SyntheticCrimes:
    return synthetic_crimes(months=36, start="2022-01", per_month=700, rng=7)


@pytest.fixture(scope="session")
def town_events(town: SyntheticCrimes, tmp_path_factory: pytest.TempPathFactory) -> Events:
    target = tmp_path_factory.mktemp("town") / "crimes.zip"
    write_police_uk(town.table, target)
    return read_events(target)


@pytest.fixture(scope="session")
def town_grid(town: SyntheticCrimes) -> Grid:
    return make_grid(town.truth.area, crs=town.truth.crs, cell=250.0)


@pytest.fixture(scope="session")
def merseyside(data_root: Path) -> pd.DataFrame:
    """Real monthly counts by type, read without the library; 2019-07 was not published."""
    from pyarrow import BufferReader, concat_tables, csv

    wanted = csv.ConvertOptions(include_columns=["Month", "Crime type"])
    with zipfile.ZipFile(data_root / "crime/uk/merseyside-2018-01_2021-09.zip") as archive:
        names = [name for name in archive.namelist() if name.endswith("-street.csv")]
        tables = [csv.read_csv(BufferReader(archive.read(name)), convert_options=wanted) for name in names]
    rows = concat_tables(tables).to_pandas()
    counts = pd.crosstab(pd.PeriodIndex(rows["Month"], freq="M"), rows["Crime type"]).astype(float)
    return counts.reindex(pd.period_range("2018-01", "2021-09", freq="M"))
