"""What became of the crimes: the outcomes files of data.police.uk, joined to events by the crime's id."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from crimeface_lib.core.display import table_html
from crimeface_lib.core.errors import InputError
from crimeface_lib.core.results import Result
from crimeface_lib.crime import ingest
from crimeface_lib.crime._layouts import parse
from crimeface_lib.crime._sources import find_files
from crimeface_lib.crime.events import Events

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class Outcomes(Result):
    """Outcomes by crime and month.

    Parameters
    ----------
    frame : crime_id, month (its first day), force, outcome; in order of months, without exact duplicates.
    rows_read, files, duplicates : what was read, and the exact duplicates dropped.
    """

    frame: pd.DataFrame = field(repr=False)
    rows_read: int
    files: int
    duplicates: int

    def __len__(self) -> int:
        return len(self.frame)

    def to_frame(self) -> pd.DataFrame:
        """Outcomes of each type: how many, and the share."""
        counts = self.frame["outcome"].value_counts().rename_axis("outcome").rename("outcomes").reset_index()
        return counts.assign(share=counts["outcomes"] / max(len(self.frame), 1))

    def _repr_html_(self) -> str:
        table = self.to_frame()
        table["share"] = table["share"].map("{:.1%}".format)
        return f"<p><b>{len(self):,} outcomes</b> from {self.files} files.</p>{table_html(table)}"


def read_outcomes(source: str | Path, *, force: str | None = None, max_bytes: int = 8 << 30) -> Outcomes:
    """Read the outcomes files of a folder tree, a zip or one CSV of data.police.uk.

    Parameters
    ----------
    force, max_bytes : as in ``read_events``.

    Raises
    ------
    What ``read_events`` raises; SchemaError for an outcome without a crime's id.
    """
    import pyarrow as pa

    found = find_files(source, kind="outcomes", max_bytes=max_bytes)
    files = ingest.files_of(found.files, force)
    tables = [parse(file, kind="outcomes").table for file in files]
    table = ingest.rows_of(pa.concat_tables(tables).unify_dictionaries(), force)
    if table.num_rows == 0:
        raise InputError(f"{Path(source).name}: got no rows in {len(files)} outcomes files, expected at least one")
    rows, _ = ingest.to_rows(table, name=Path(source).name)
    frame = rows[["crime_id", "month", "force", "outcome"]].sort_values("month", kind="stable")
    again = frame.duplicated().to_numpy()
    return Outcomes(frame[~again].reset_index(drop=True), table.num_rows, len(files), int(again.sum()))


def join_outcomes(events: Events, outcomes: Outcomes) -> Events:
    """Give each event the last outcome of its crime; events without one keep what their own file says.

    An outcome says what became of a crime, not of a person. The counts are in ``quality.outcomes``: of outcomes read,
    exact duplicates, crimes with several outcomes (the last month's is taken, the later row within a month), crimes
    that are not among the events, events joined, events whose outcome that changed, events with an id and no outcome,
    events without an id, and events that share their id with another and so have its outcome too.

    Raises
    ------
    InputError : no event has the id of an outcome: another force, other months, or another source.
    """
    import pandas as pd

    last = outcomes.frame.drop_duplicates("crime_id", keep="last").set_index("crime_id")["outcome"].astype(object)
    several = outcomes.frame["crime_id"].nunique() < len(outcomes.frame)
    ids = events.frame["crime_id"]
    found = ids.astype(object).map(last)
    joined = found.notna().to_numpy()
    if not joined.any():
        raise InputError(
            f"outcomes: none of {len(last):,} crimes is among the {len(events):,} events; expected the same force and "
            "months from one source"
        )
    old = events.frame["outcome"].astype(object)
    new = found.where(joined, old)
    changed = joined & (new != old).to_numpy()
    repeats = outcomes.frame["crime_id"].value_counts() if several else pd.Series(dtype=int)
    counts = {
        "rows read": outcomes.rows_read,
        "exact duplicates, dropped": outcomes.duplicates,
        "crimes with several, the last taken": int((repeats > 1).sum()),
        "crimes not among the events": int((~last.index.isin(ids.dropna())).sum()),
        "events joined": int(joined.sum()),
        "events whose outcome changed": int(changed.sum()),
        "events with an id and no outcome": int((ids.notna().to_numpy() & ~joined).sum()),
        "events without an id": int(ids.isna().sum()),
        "events sharing the id they are joined by": int((joined & ids.duplicated(keep=False).to_numpy()).sum()),
    }
    frame = events.frame.assign(outcome=pd.Categorical(new))
    return replace(events, frame=frame, quality=replace(events.quality, outcomes=counts))
