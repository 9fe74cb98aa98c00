"""Which group of areas each cell of a grid belongs to, by a table that the user gives. Of places, never of persons."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from crimeface_lib.core.errors import InputError, SchemaError
from crimeface_lib.crime.events import Events, refuse_person_columns
from crimeface_lib.crime.grid import Grid

if TYPE_CHECKING:
    import pandas as pd

#: Of cells whose events name no area of the table.
NO_GROUP = "(no group)"


def cell_groups(events: Events, grid: Grid, groups: str | Path | pd.DataFrame) -> npt.NDArray[Any]:
    """Return (C,) the group of each cell: that of the area code (LSOA) which most of its events carry.

    Parameters
    ----------
    groups : CSV file or frame with columns ``area`` (code as in the events) and ``group``, such as a deprivation
        decile or a ward.

    Raises
    ------
    SchemaError : a lacking column, or an area with two groups. InputError : no event carries an area of the table.
    RefusedError : a column about persons.
    """
    import pandas as pd

    table = pd.read_csv(groups, dtype=str) if isinstance(groups, str | Path) else groups
    refuse_person_columns(table.columns, where="groups")
    if missing := {"area", "group"} - set(table.columns):
        raise SchemaError(f"groups: missing {', '.join(sorted(missing))}; expected columns area, group")
    table = table[["area", "group"]].dropna().astype(str).drop_duplicates()
    if table["area"].duplicated().any():
        twice = table.loc[table["area"].duplicated(), "area"].iloc[0]
        raise SchemaError(f"groups: area {twice} has more than one group, expected one")
    cell = grid.index_events(events)
    carried = pd.DataFrame({"cell": cell, "area": events.frame["lsoa_code"].astype(object).to_numpy()})
    carried = carried[(cell >= 0) & carried["area"].isin(table["area"]).to_numpy()]
    if carried.empty:
        raise InputError(f"groups: none of the {len(table)} areas occurs in the events; expected their LSOA codes")
    most = carried.value_counts(sort=True).reset_index().drop_duplicates("cell")
    named = dict(zip(table["area"], table["group"], strict=True))
    found = np.full(len(grid), NO_GROUP, dtype=object)
    found[most["cell"].to_numpy()] = most["area"].map(named).to_numpy()
    return found
