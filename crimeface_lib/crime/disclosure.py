"""Small cells: a count that could point at a person is not published, nor can it be had by subtraction."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from crimeface_lib.core.errors import InputError
from crimeface_lib.core.results import Result
from crimeface_lib.core.types import BoolArray, FloatArray

if TYPE_CHECKING:
    import pandas as pd

TOTAL = "Total"


@dataclass(frozen=True, slots=True)
class Suppressed(Result):
    """A table of counts with its totals, safe to publish.

    Parameters
    ----------
    table : counts with a "Total" row, and a "Total" column where there are several columns; NaN where suppressed.
    mask : same shape, True where suppressed.
    primary, secondary : how many cells were suppressed for being small, and to protect those from subtraction.
    """

    table: pd.DataFrame
    mask: BoolArray = field(repr=False)
    minimum: int
    primary: int
    secondary: int

    def to_frame(self) -> pd.DataFrame:
        """The table, NaN where suppressed."""
        return self.table

    def _repr_html_(self) -> str:
        note = f"{self.primary} counts below {self.minimum} and {self.secondary} that would reveal them are not shown."
        return (
            self.table.to_html(border=0, classes="cf-table", na_rep="–", float_format="{:,.0f}".format)
            + f"<p>{note}</p>"
        )


def suppress(table: pd.DataFrame, minimum: int = 5) -> Suppressed:
    """Suppress counts from 1 to ``minimum`` - 1, and as many others as keep them from being worked out.

    Totals are published with the table, so in each row and column with a suppressed count at least two are, together
    worth at least ``minimum``, and no count is fixed by the totals of a chain of rows and columns. Zeros are shown
    unless needed for that. With one column there are no row totals.

    Parameters
    ----------
    table : counts, rows x columns, without totals.

    Raises
    ------
    InputError : an empty table, negative or fractional counts, or a minimum below 2.

    >>> import pandas as pd
    >>> suppress(pd.DataFrame({"events": [3, 20, 9]}, index=list("abc"))).table["events"].tolist()
    [nan, 20.0, nan, 32.0]
    """
    import pandas as pd

    counts = np.asarray(table, dtype=np.float64)
    if counts.size == 0 or not np.isfinite(counts).all() or (counts < 0).any() or (counts != np.round(counts)).any():
        raise InputError("table: got no cells, or values that are not counts; expected whole numbers of at least 0")
    if minimum < 2:
        raise InputError(f"minimum: got {minimum}, expected at least 2; a count of 1 is the smallest to protect")
    single = counts.shape[1] == 1
    full = np.vstack([counts, counts.sum(axis=0)])
    if not single:
        full = np.column_stack([full, full.sum(axis=1)])
    mask = (full > 0) & (full < minimum)
    primary = int(mask.sum())
    while True:
        exposed = _exposed_lines(full, mask, minimum, single) or ([] if single else _exposed_chains(mask))
        if not exposed:
            break
        added = [_suppress_one(full, mask, *line) for line in exposed]
        if not any(added):
            break  # the whole line is suppressed, its total with it
    columns = list(table.columns) + ([] if single else [TOTAL])
    shown = pd.DataFrame(np.where(mask, np.nan, full), index=[*table.index, TOTAL], columns=columns)
    shown.index.name, shown.columns.name = table.index.name, table.columns.name
    return Suppressed(shown, mask, minimum, primary, int(mask.sum()) - primary)


def _line(values: Any, axis: int, number: int) -> Any:
    return values[number] if axis == 0 else values[:, number]


def _exposed_lines(full: FloatArray, mask: BoolArray, minimum: int, single: bool) -> list[tuple[int, int]]:
    """Return (axis, number) of the rows (0) and columns (1) whose total gives a suppressed count away."""
    found = []
    for axis in (1,) if single else (0, 1):
        for number in range(full.shape[axis]):
            hidden = _line(mask, axis, number)
            worth = _line(full, axis, number)[:-1][hidden[:-1]].sum()
            if hidden.sum() == 1 or (hidden[:-1].any() and not hidden[-1] and worth < minimum):
                found.append((axis, number))
    return found


def _suppress_one(full: FloatArray, mask: BoolArray, axis: int, number: int) -> bool:
    """Suppress the smallest count still shown in a line, inner and positive ones first; False when none is left."""
    values, hidden = _line(full, axis, number), _line(mask, axis, number)
    shown = np.flatnonzero(~hidden)
    if len(shown) == 0:
        return False
    order = np.lexsort((values[shown], values[shown] == 0, shown == len(values) - 1))
    hidden[shown[order[0]]] = True  # a view into ``mask``
    return True


def _exposed_chains(mask: BoolArray) -> list[tuple[int, int]]:
    """Return the columns with a suppressed count that the other totals fix: a bridge of the row-column graph.

    A set of suppressed cells with given row and column sums leaves a cell free exactly when the cell lies on a cycle.
    """
    rows, columns = mask.shape
    neighbours = [rows + np.flatnonzero(mask[r]) for r in range(rows)] + [
        np.flatnonzero(mask[:, c]) for c in range(columns)
    ]
    order = np.full(rows + columns, -1)
    low = np.zeros(rows + columns, dtype=np.int64)
    bridges, clock = [], 0
    for root in range(rows):
        if order[root] >= 0:
            continue
        order[root] = low[root] = clock
        stack = [(root, -1, iter(neighbours[root]))]
        while stack:
            clock += 1
            node, parent, rest = stack[-1]
            step = next((n for n in rest if n != parent), None)
            if step is None:
                stack.pop()
                if parent >= 0:
                    low[parent] = min(low[parent], low[node])
                    if low[node] > order[parent]:
                        bridges.append((1, int(max(node, parent)) - rows))
            elif order[step] >= 0:
                low[node] = min(low[node], order[step])
            else:
                order[step] = low[step] = clock
                stack.append((int(step), node, iter(neighbours[step])))
    return list(dict.fromkeys(bridges))
