"""Files as data.police.uk ships them, for crimes that were made up: street, outcomes, stop and search."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from crimeface_lib.core.files import write_atomic
from crimeface_lib.crime._layouts import OUTCOME_COLUMNS, STOP_COLUMNS, STREET_COLUMNS
from crimeface_lib.crime.ingest import SYNTHETIC_FORCE

if TYPE_CHECKING:
    import pandas as pd

#: What may come of a crime, and how often; one under investigation has no outcome yet.
OUTCOMES = {
    "Investigation complete; no suspect identified": 0.45,
    "Unable to prosecute suspect": 0.30,
    "Under investigation": 0.10,
    "Awaiting court outcome": 0.06,
    "Local resolution": 0.05,
    "Offender given a caution": 0.04,
}
_OPEN = "Under investigation"
_LATER = (0.35, 0.3, 0.2, 0.1, 0.05)  # months from a crime to its outcome
_OBJECTS = {"Controlled drugs": 0.6, "Offensive weapons": 0.2, "Stolen goods": 0.15, "Article for use in theft": 0.05}
_FOUND = {"A no further action disposal": 0.75, "Community resolution": 0.15, "Arrest": 0.1}


def write_police_uk(
    table: pd.DataFrame,
    target: str | Path,
    *,
    outcomes: pd.DataFrame | None = None,
    stops: pd.DataFrame | None = None,
) -> list[str]:
    """Write tables as data.police.uk ships them: ``2023-01/2023-01-demo-constabulary-street.csv``, and so on.

    A month without rows gets no file. The same tables give the same bytes.

    Parameters
    ----------
    target : a folder, or a file ending in .zip.
    outcomes, stops : further tables, written beside the crimes (``SyntheticCrimes`` has both).

    Returns
    -------
    The names of the files written, relative to the target.
    """
    target = Path(target)
    slug = SYNTHETIC_FORCE.lower().replace(" ", "-")
    kinds: list[tuple[str, pd.DataFrame, tuple[str, ...], str]] = [("street", table, STREET_COLUMNS, "Month")]
    if outcomes is not None:
        kinds.append(("outcomes", outcomes, OUTCOME_COLUMNS, "Month"))
    if stops is not None:
        kinds.append(("stop-and-search", stops, STOP_COLUMNS, "Date"))
    files = {}
    for kind, rows, columns, when in kinds:
        for month, part in rows.groupby(rows[when].str[:7], sort=True):
            text = part[list(columns)].to_csv(index=False, float_format="%.6f", lineterminator="\r\n")
            files[f"{month}/{month}-{slug}-{kind}.csv"] = text.encode()
    files = dict(sorted(files.items()))
    if target.suffix.lower() == ".zip":
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for name, data in files.items():
                archive.writestr(zipfile.ZipInfo(name, date_time=(2026, 1, 1, 0, 0, 0)), data, zipfile.ZIP_DEFLATED)
        write_atomic(target, buffer.getvalue())
    else:
        for name, data in files.items():
            write_atomic(target / name, data)
    return list(files)


def draw_outcomes(table: pd.DataFrame, gen: np.random.Generator) -> pd.DataFrame:
    """Return one row for each crime with an id and an outcome: the month it came in, and what the crime's row says.

    An outcome that would come after the last month of the crimes is left out, as it is not yet known.
    """
    import pandas as pd

    done = table["Crime ID"].notna() & (table["Last outcome category"] != _OPEN)
    rows = table[done].drop_duplicates("Crime ID")
    month = pd.PeriodIndex(rows["Month"], freq="M") + gen.choice(len(_LATER), len(rows), p=_LATER)
    last = pd.Period(table["Month"].max(), "M")
    made = rows.rename(columns={"Last outcome category": "Outcome type"}).assign(Month=month.astype(str))
    return made[np.asarray(month <= last)][list(OUTCOME_COLUMNS)].reset_index(drop=True)


def draw_stops(
    points: pd.DataFrame, weight: np.ndarray, months: list[str], per_month: float, gen: np.random.Generator
) -> pd.DataFrame:
    """Return stops and searches at snap points. Columns about persons are there, as in the real files, and empty."""
    import pandas as pd

    counts = gen.poisson(per_month, len(months))
    number = int(counts.sum())
    at = points.iloc[gen.choice(len(points), number, p=weight)]
    days = gen.integers(28, size=number)
    stamp = np.repeat(np.array(months, dtype="datetime64[M]"), counts).astype("datetime64[D]") + days
    stamp = stamp.astype("datetime64[s]") + gen.integers(86_400, size=number)
    table = pd.DataFrame(dict.fromkeys(STOP_COLUMNS), index=range(number), dtype=object)
    table["Type"] = "Person search"
    table["Date"] = [f"{when}+00:00" for when in np.sort(stamp)]
    table["Part of a policing operation"] = "False"
    table["Latitude"], table["Longitude"] = at["latitude"].to_numpy(), at["longitude"].to_numpy()
    table["Legislation"] = "Misuse of Drugs Act 1971 (section 23)"
    for column, shares in (("Object of search", _OBJECTS), ("Outcome", _FOUND)):
        table[column] = gen.choice(list(shares), number, p=list(shares.values()))
    return table
