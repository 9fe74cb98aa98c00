"""Several tables published together, or one after another: no count follows from all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from html import escape
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from crimeface_lib.core.display import table_html
from crimeface_lib.core.errors import InputError
from crimeface_lib.core.results import Result
from crimeface_lib.core.types import BoolArray, FloatArray
from crimeface_lib.crime.disclosure import TOTAL, check_minimum
from crimeface_lib.crime.events import Events
from crimeface_lib.crime.summary import BY, Summary, compared_months, key_of, with_ratio

if TYPE_CHECKING:
    import pandas as pd
    from scipy.sparse import csr_array

_MOST = 20_000
Cell = tuple[tuple[tuple[str, str], ...], tuple[str, ...]]  # ((key, value), …) in key order, and the months


@dataclass(frozen=True, slots=True)
class Release(Result):
    """Tables that are safe to publish beside one another and beside those published before.

    Parameters
    ----------
    tables : per tuple of keys the counts with totals, NaN where suppressed.
    shown : per cell of all tables, this release's and earlier ones', whether it was published; give the
        release to ``previous`` of the next.
    primary, secondary : cells suppressed for being small, and to protect those.
    """

    tables: dict[tuple[str, ...], pd.DataFrame] = field(repr=False)
    shown: dict[Cell, bool] = field(repr=False)
    months: tuple[str, ...]
    minimum: int
    primary: int
    secondary: int
    attribution: str

    def to_frame(self) -> pd.DataFrame:
        """One row per published count."""
        import pandas as pd

        rows = []
        for keys, table in self.tables.items():
            for index, events in _long(table).items():
                labels = index if isinstance(index, tuple) else (index,)
                rows.append({"table": " × ".join(keys), **dict(zip(keys, labels, strict=True)), "events": events})
        return pd.DataFrame(rows)

    def _repr_html_(self) -> str:
        html = "".join(
            f"<h4>{' × '.join(keys)}</h4>{table_html(table.reset_index(), float_format='{:,.0f}'.format)}"
            for keys, table in self.tables.items()
        )
        note = f"{self.primary} counts below {self.minimum} and {self.secondary} that would reveal them are not shown."
        return f"{html}<p>{note} <small>{escape(self.attribution)}</small></p>"


def release_tables(
    events: Events,
    *,
    tables: Sequence[Sequence[str]] = (("type",), ("lsoa",), ("month",)),
    areas: Mapping[str, Mapping[str, str]] | None = None,
    previous: Release | None = None,
    minimum: int = 5,
) -> Release:
    """Count events by several keys, small counts suppressed so that all tables together don't bring them back.

    Each table has its totals. For each count from 1 to ``minimum`` - 1, in this release or an earlier one, there
    stays a set of events with the same published numbers in which it is at most 1, and one in which it is at least
    ``minimum``; found by linear programming over the finest combinations of the keys.

    Parameters
    ----------
    tables : keys of each table: one or two of "type", "lsoa", "force", "outcome", "month" and the names in ``areas``.
    areas : larger areas by LSOA name, such as {"ward": {"Liverpool 001A": "Anfield", …}}; may nest.
    previous : what was published before of the same events, such as of fewer months; its counts can't be unpublished.

    Raises
    ------
    InputError : an unknown key, too many combinations of the keys, or events that changed since ``previous``.

    References: Hundepool et al. 2012, Statistical Disclosure Control, ch. 4 and 5.
    """
    check_minimum(minimum)
    wanted = [tuple(keys) for keys in tables]
    if not wanted or any(not 1 <= len(keys) <= 2 or len(set(keys)) < len(keys) for keys in wanted):
        raise InputError(f"tables: got {wanted}, expected one or two different keys for each")
    earlier = previous.shown if previous else {}
    names = sorted({k for keys in wanted for k in keys} | {k for fixed, _ in earlier for k, _ in fixed})
    months = tuple(sorted(events.frame["month"].dt.strftime("%Y-%m").unique()))
    atoms = _atoms(events, names, areas or {}, [months, *{spans for _, spans in earlier}])
    new = _cells(atoms, wanted, months)
    cells = {**dict.fromkeys(sorted(new), True), **earlier}
    frozen = np.array([earlier.get(c, False) for c in cells])
    members = _membership(atoms, names, list(cells))
    count = members @ atoms["(n)"].to_numpy(float)
    small = (count > 0) & (count < minimum)
    if (small & frozen).any():
        raise InputError("previous: got counts that were shown and are small now; expected the same events as then")
    hidden = small | np.array([not shown for shown in cells.values()])
    hidden = _protect(members, atoms["(n)"].to_numpy(float), hidden, small, frozen, minimum)
    shown = dict(zip(cells, (~hidden).tolist(), strict=True))
    values = dict(zip(cells, np.where(hidden, np.nan, count), strict=True))
    laid = {keys: _lay_out(atoms, keys, months, values) for keys in wanted}
    own = np.array([c in new for c in cells])
    primary = int((small & own).sum())
    return Release(laid, shown, months, minimum, primary, int((hidden & own).sum()) - primary, events.attribution)


def release_years(
    events: Events,
    *,
    tables: Sequence[Sequence[str]] = (("type", "outcome"), ("type",), ("outcome",)),
    end: object = None,
    minimum: int = 5,
    confidence: float = 0.95,
) -> tuple[Release, dict[str, Summary]]:
    """Release tables of the latest 12 months, and the change of each of one key from the 12 before, from what is shown.

    The year before is released by itself, so both columns of a change, and the larger tables beside them, stay safe
    together. A table of another key by ``summarise`` shares but the total with these, which gives nothing away.

    Parameters
    ----------
    tables, minimum : as in ``release_tables``; end, confidence : as in ``summarise``.

    Returns
    -------
    The release of the latest year, and per key of its tables of one key the summary.

    Raises
    ------
    InputError : as both of them.
    """
    import pandas as pd

    months = compared_months(events, end)
    month = events.frame["month"].dt.to_period("M")
    years = [replace(events, frame=events.frame[month.isin([m - back for m in months])]) for back in (0, 12)]
    now, before = (release_tables(year, tables=tables, minimum=minimum) for year in years)
    changes = {}
    for by in [keys[0] for keys in now.tables if len(keys) == 1]:
        columns = {"events": now.tables[by,]["events"], "previous": before.tables[by,]["events"]}
        given = [
            column.reindex(columns["events"].index.union(columns["previous"].index)) for column in columns.values()
        ]
        absent = [~given[k].index.isin(column.index) for k, column in enumerate(columns.values())]
        table = pd.DataFrame({n: c.mask(a, 0.0) for n, c, a in zip(columns, given, absent, strict=True)})
        hidden = int(table.isna().to_numpy().sum())
        rows = table.drop(index=TOTAL).sort_values(["events", "previous"], ascending=False, kind="stable")
        table = with_ratio(pd.concat([rows, table.loc[[TOTAL]]]), confidence).rename_axis(by).reset_index()
        changes[by] = Summary(table, by, tuple(map(str, months)), minimum, hidden, confidence, events.attribution)
    return now, changes


def _atoms(
    events: Events, names: list[str], areas: Mapping[str, Mapping[str, str]], spans: list[tuple[str, ...]]
) -> pd.DataFrame:
    """Return the combinations of the keys that have events, and how many; months are kept apart where releases are."""
    import pandas as pd

    known = (*BY, *areas)
    if unknown := [n for n in names if n not in known]:
        raise InputError(f"tables: got {', '.join(unknown)}; expected some of: {', '.join(known)}")
    month = events.frame["month"].dt.strftime("%Y-%m")
    alike: dict[tuple[bool, ...], str] = {}
    stands = {m: alike.setdefault(tuple(m in span for span in spans), m) for m in sorted(month.unique())}
    columns: dict[str, Any] = {"(month)": month.map(stands)}
    for name in names:
        if name in areas:
            found = events.frame["lsoa_name"].astype(object).map(dict(areas[name]))
            columns[name] = found.where(found.notna(), "(none given)").astype(str)
        else:
            columns[name] = key_of(events, BY[name]).astype(str)
    atoms = pd.DataFrame(columns).groupby(["(month)", *names], sort=True).size().rename("(n)").reset_index()
    if len(atoms) > _MOST:
        raise InputError(
            f"tables: the keys {', '.join(names)} combine in {len(atoms):,} ways, expected at most {_MOST:,}; "
            "select fewer months, types or areas, or fewer keys"
        )
    return atoms


def _cells(atoms: pd.DataFrame, tables: list[tuple[str, ...]], months: tuple[str, ...]) -> set[Cell]:
    """Return the cells of the tables with their totals; a cell of several tables is one."""
    cells: set[Cell] = set()
    for keys in tables:
        for size in range(len(keys) + 1):
            for part in combinations(sorted(keys), size):
                rows = atoms[list(part)].drop_duplicates().itertuples(index=False) if part else [()]
                cells |= {(tuple(zip(part, row, strict=True)), months) for row in rows}
    return cells


def _membership(atoms: pd.DataFrame, names: list[str], cells: list[Cell]) -> csr_array:
    """Return (cells, atoms) 1 where the atom belongs to the cell."""
    from scipy.sparse import csr_array

    values = {name: atoms[name].to_numpy(object) for name in (*names, "(month)")}
    masks: dict[tuple[str, str], BoolArray] = {}
    rows = []
    for keys, months in cells:
        if ("(months)", str(months)) not in masks:
            masks["(months)", str(months)] = np.isin(values["(month)"], list(months))
        inside = masks["(months)", str(months)].copy()
        for key, value in keys:
            if (key, value) not in masks:
                masks[key, value] = values[key] == value
            inside &= masks[key, value]
        rows.append(np.flatnonzero(inside))
    index = np.concatenate(rows)
    ends = np.cumsum([0, *(len(r) for r in rows)])
    return csr_array((np.ones(len(index)), index, ends), shape=(len(cells), len(atoms)))


def _protect(
    members: csr_array, atoms: FloatArray, hidden: BoolArray, small: BoolArray, frozen: BoolArray, minimum: int
) -> BoolArray:
    """Return which cells to suppress, so that each small one can rise to ``minimum`` and fall to 1."""
    count = members @ atoms
    hidden = hidden.copy()
    todo = [(i, minimum - count[i]) for i in np.flatnonzero(small)]
    todo += [(i, 1 - count[i]) for i in np.flatnonzero(small & (count > 1))]
    order = np.argsort([-abs(need) for _, need in todo], kind="stable")
    open_ = {todo[i] for i in order}
    for cell, need in (todo[i] for i in order):
        if (cell, need) not in open_:
            continue
        change = _move(members, atoms, hidden, frozen, cell, need)
        moved = members @ change
        hidden |= np.abs(moved) > 1e-6
        reached = {(c, n) for c, n in open_ if (moved[c] - n) * np.sign(n) > -1e-6}
        open_ -= reached
    return hidden


def _move(
    members: csr_array, atoms: FloatArray, hidden: BoolArray, frozen: BoolArray, cell: int, need: float
) -> npt.NDArray[np.float64]:
    """Return the change of the atoms that moves a cell by ``need`` and the shown ones as little as can be."""
    from scipy.optimize import linprog
    from scipy.sparse import block_array, csr_array, identity

    free = np.flatnonzero(~hidden & ~frozen)
    size = members.sum(axis=1)[free]
    number, extra = len(atoms), len(free)
    price = np.concatenate([np.zeros(number), np.repeat(1 + np.log2(1 + (members @ atoms)[free]) * size, 2)])
    eye = identity(extra, format="csr")
    fixed = members[np.flatnonzero(frozen)]
    left = block_array([
        [members[free], -eye, eye],
        [csr_array(members[[cell]]), None, None],
        *([[fixed, None, None]] if fixed.shape[0] else []),
    ], format="csr") if extra else csr_array(np.vstack([members[[cell]].toarray(), fixed.toarray()]))  # fmt: skip
    right = np.concatenate([np.zeros(extra), [need], np.zeros(fixed.shape[0])])
    bounds = np.column_stack([np.concatenate([-atoms, np.zeros(2 * extra)]), np.full(number + 2 * extra, np.inf)])
    found = linprog(price, A_eq=left, b_eq=right, bounds=bounds, method="highs")
    if not found.success:
        raise InputError(
            "previous: what was published leaves a small count no room; it is revealed already, or the events changed"
        )
    return found.x[:number]


def _lay_out(
    atoms: pd.DataFrame, keys: tuple[str, ...], months: tuple[str, ...], values: dict[Cell, float]
) -> pd.DataFrame:
    """Return the counts of one table with totals; what has no events is 0."""
    import pandas as pd

    def value(**fixed: str) -> float:
        return values.get((tuple(sorted((k, v) for k, v in fixed.items() if v != TOTAL)), months), 0.0)

    rows = [*sorted(atoms[keys[0]].unique()), TOTAL]
    if len(keys) == 1:
        return pd.DataFrame({"events": [value(**{keys[0]: r}) for r in rows]}, index=pd.Index(rows, name=keys[0]))
    columns = [*sorted(atoms[keys[1]].unique()), TOTAL]
    body = [[value(**{keys[0]: r, keys[1]: c}) for c in columns] for r in rows]
    return pd.DataFrame(body, index=pd.Index(rows, name=keys[0]), columns=pd.Index(columns, name=keys[1]))


def _long(table: pd.DataFrame) -> pd.Series:
    return table["events"] if list(table.columns) == ["events"] else table.stack(future_stack=True)
