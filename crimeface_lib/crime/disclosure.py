"""Small cells: a count that could point at a person is not published, nor can it be had by subtraction."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from crimeface_lib.core.display import table_html
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
        return table_html(self.table.reset_index(), float_format="{:,.0f}".format) + f"<p>{note}</p>"


def suppress(table: pd.DataFrame, minimum: int = 5) -> Suppressed:
    """Suppress counts from 1 to ``minimum`` - 1, and as many others as keep them from being worked out.

    Totals are published with the table, and who reads it can add and subtract. For each small count there stays, among
    the tables with the same published numbers, one in which it is 1 and one in which it is ``minimum``: none of these
    values can be excluded. The others suppressed for that are few and small, inner ones before zeros before totals.
    With one column there are no row totals. Tables published beside one another need ``release_tables``.

    Parameters
    ----------
    table : counts, rows x columns, without totals.

    Raises
    ------
    InputError : an empty table, negative or fractional counts, or a minimum below 2.

    References: Kelly, Golden & Assad 1992, cell suppression as flows in a network.

    >>> import pandas as pd
    >>> suppress(pd.DataFrame({"events": [3, 20, 9]}, index=list("abc"))).table["events"].tolist()
    [nan, 20.0, nan, 32.0]
    """
    import pandas as pd

    counts = np.asarray(table, dtype=np.float64)
    if counts.size == 0 or not np.isfinite(counts).all() or (counts < 0).any() or (counts != np.round(counts)).any():
        raise InputError("table: got no cells, or values that are not counts; expected whole numbers of at least 0")
    check_minimum(minimum)
    single = counts.shape[1] == 1
    full = np.vstack([counts, counts.sum(axis=0)])
    if not single:
        full = np.column_stack([full, full.sum(axis=1)])
    full = np.ascontiguousarray(full)  # the network looks at it and at its mask in row order
    mask = (full > 0) & (full < minimum)
    primary = int(mask.sum())
    network = _Network(full, mask, single)
    for row, column in np.argwhere(mask)[np.argsort(full[mask], kind="stable")]:
        value = full[row, column]
        if not network.is_free(row, column, up=minimum - value, down=value - 1):
            network.free(row, column, minimum - value, rising=True)
            network.free(row, column, value - 1, rising=False)
    columns = list(table.columns) + ([] if single else [TOTAL])
    shown = pd.DataFrame(np.where(mask, np.nan, full), index=[*table.index, TOTAL], columns=columns)
    shown.index.name, shown.columns.name = table.index.name, table.columns.name
    return Suppressed(shown, mask, minimum, primary, int(mask.sum()) - primary)


def check_minimum(minimum: int) -> None:
    """Check the smallest count that may be shown."""
    if minimum < 2:
        raise InputError(f"minimum: got {minimum}, expected at least 2; a count of 1 is the smallest to protect")


class _Network:
    """A table with totals as a network: rows and columns are nodes, each cell a pair of arcs, to raise and to lower it.

    A change that leaves all sums right is a flow in circles. Totals have the opposite sign of the cells they sum.
    """

    def __init__(self, full: FloatArray, mask: BoolArray, single: bool) -> None:
        rows, columns = full.shape
        row, column = (i.ravel() for i in np.indices(full.shape))
        opposite = (row == rows - 1) != ((column == columns - 1) & (not single))
        self.full, self.mask, self.single = full, mask, single
        self.start = np.where(opposite, rows + column, row)  # of the arc that raises the cell
        self.end = np.where(opposite, row, rows + column)
        self.nodes = rows + columns + 1
        self.hub = np.arange(rows) if single else np.array([], dtype=np.int64)  # no row sums: rows are joined
        total = (row == rows - 1) | ((column == columns - 1) & (not single))
        grand = (row == rows - 1) & ((column == columns - 1) | single)
        value = full.ravel()
        cost = np.where(value > 0, np.log2(2 + value), 40.0)
        self.cost = np.where(grand, 1e6, np.where(total, 1e3 + cost, cost))

    def is_free(self, row: int, column: int, *, up: float, down: float) -> bool:
        """Tell whether suppressed cells free the cell already: two of its row and column and the one across.

        In one column, all the others together, as long as the total is shown.
        """
        if self.single:
            others = self.full[self.mask].sum() - self.full[row, 0]
            return bool(not self.mask[-1, 0] and self.mask.sum() > 1 and others >= up)
        inner = self.mask[:-1, :-1]
        if row >= len(inner) or column >= inner.shape[1]:
            return False
        values, there = self.full[:-1, :-1], inner.copy()
        there[row, :] = there[:, column] = False
        below, beside = inner[:, column].copy(), inner[row].copy()
        below[row] = beside[column] = False
        rising = there[below & (values[:, column] >= up)][:, beside & (values[row] >= up)].any()
        across = there[below][:, beside] & (values[below][:, beside] >= down)
        return bool(rising and (down == 0 or across.any()))

    def free(self, row: int, column: int, amount: float, *, rising: bool) -> None:
        """Suppress the cheapest cells that let this one rise or fall by ``amount``, in one or several circles."""
        from scipy.sparse import csr_matrix
        from scipy.sparse.csgraph import dijkstra

        own = row * self.full.shape[1] + column
        value = self.full.ravel().copy()
        mask = self.mask.reshape(-1)  # a view
        others = np.arange(len(value)) != own
        begin, aim = (self.end[own], self.start[own]) if rising else (self.start[own], self.end[own])
        hub = np.full(len(self.hub), self.nodes - 1)
        while amount > 0:
            lower = np.flatnonzero(others & (value > 0))
            raised = np.flatnonzero(others)
            tail = np.concatenate([self.start[raised], self.end[lower], self.hub, hub])
            head = np.concatenate([self.end[raised], self.start[lower], hub, self.hub])
            price = np.where(mask, 1e-6, self.cost)
            price = np.concatenate([price[raised], price[lower], np.full(2 * len(hub), 1e-9)])
            graph = csr_matrix((price, (tail, head)), shape=(self.nodes, self.nodes))
            _, before = dijkstra(graph, indices=begin, return_predecessors=True)
            path = [aim]
            while path[-1] != begin:
                path.append(before[path[-1]])
            steps = [s for s in zip(path[1:], path[:-1], strict=True) if self.nodes - 1 not in s]
            cells = [self._cell(*step) for step in steps]
            push = min([amount, *(value[c] for c, raising in cells if not raising)])
            for cell, raising in cells:
                value[cell] += push if raising else -push
                mask[cell] = True
            amount -= push

    def _cell(self, tail: int, head: int) -> tuple[int, bool]:
        """Return the cell between two nodes, and whether this way raises it."""
        rows, columns = self.full.shape
        row, column = (tail, head - rows) if tail < rows else (head, tail - rows)
        cell = int(row) * columns + int(column)
        return cell, bool(self.start[cell] == tail)
