"""What a reader met: counts of what was dropped, kept and flagged, each by a policy that has a name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from crimeface_lib.core.display import table_html
from crimeface_lib.core.errors import InputError
from crimeface_lib.core.results import Result

if TYPE_CHECKING:
    import pandas as pd

#: Policies of the readers, the default first, and what each says in the report.
POLICIES: dict[str, dict[str, str]] = {
    "duplicates": {"drop": "dropped, one kept", "keep": "kept", "refuse": "refused"},
    "missing_place": {"keep": "kept in tables, off the map", "drop": "dropped", "refuse": "refused"},
    "missing_id": {"keep": "kept", "drop": "dropped", "refuse": "refused"},
    "outside": {
        "clip": "clipped: kept in tables, off the map", "keep": "kept, on the map",
        "drop": "dropped", "refuse": "refused",
    },
}  # fmt: skip


def check_policies(**chosen: str) -> dict[str, str]:
    """Return the policies chosen.

    Raises
    ------
    InputError : a policy that is not in ``POLICIES``.
    """
    for name, value in chosen.items():
        if value not in POLICIES[name]:
            raise InputError(f"{name}: got {value!r}, expected one of: {', '.join(POLICIES[name])}")
    return chosen


@dataclass(frozen=True, slots=True)
class QualityReport(Result):
    """What was read, dropped, kept with a flag, and left off the map, each by a named policy with its count.

    Parameters
    ----------
    policies : the ones followed, see ``POLICIES``; ``duplicates_dropped`` counts exact duplicates, dropped or not.
    dropped : rows dropped by each policy.
    files_repeated : files of a force's month that a later archive has too; the later one was read.
    encodings : files read as something else than UTF-8.
    columns_absent : columns of the layout that some files lack, with the number of files; their values are missing.
    columns_ignored : columns that the layout doesn't know; not read.
    persons_dropped : columns about persons that the layout has; dropped before a value was read.
    zero_places : rows at 0°, 0°, taken as without a location.
    outcomes : how the outcomes files were joined; empty where they were not.
    """

    rows_read: int
    rows: int
    files: int
    files_skipped: dict[str, int]
    empty_files: int
    duplicates_dropped: int
    repeated_ids: int
    conflicting_ids: int
    missing_id: int
    missing_id_not_asb: int
    missing_location: int
    missing_lsoa: int
    outside: int
    shared_point: int
    points_many_lsoa: int
    gaps: tuple[str, ...]
    policies: dict[str, str] = field(
        default_factory=lambda: {name: next(iter(known)) for name, known in POLICIES.items()}
    )
    dropped: dict[str, int] = field(default_factory=dict)
    files_repeated: int = 0
    encodings: dict[str, int] = field(default_factory=dict)
    columns_absent: dict[str, int] = field(default_factory=dict)
    columns_ignored: tuple[str, ...] = ()
    persons_dropped: tuple[str, ...] = ()
    zero_places: int = 0
    outcomes: dict[str, int] = field(default_factory=dict)

    def to_frame(self) -> pd.DataFrame:
        """One row per check: count, share of the rows kept, and the policy followed."""
        import pandas as pd

        says = {name: POLICIES[name][value] for name, value in self.policies.items()}
        per_row = [
            ("exact duplicate rows with one crime id", self.duplicates_dropped, says["duplicates"]),
            ("rows that still share a crime id", self.repeated_ids, "kept, flagged as a conflict"),
            ("no crime id", self.missing_id, says["missing_id"] + "; anti-social behaviour never has one"),
            ("no crime id, other types", self.missing_id_not_asb, says["missing_id"]),
            ("no location", self.missing_location, says["missing_place"]),
            ("of these at 0°, 0°", self.zero_places, "taken as no location"),
            ("location far outside", self.outside, says["outside"]),
            ("no LSOA", self.missing_lsoa, "kept"),
            ("shares its point with another event of the month", self.shared_point, "kept: points are snap points"),
        ]
        rows = [(name, count, count / self.rows if self.rows else np.nan, policy) for name, count, policy in per_row]
        counted = [
            ("rows read", self.rows_read, f"from {self.files} files; skipped: {_listed(self.files_skipped)}"),
            ("rows kept", self.rows, ""),
        ]
        after = [
            ("crime ids with different types", self.conflicting_ids, "all kept and flagged"),
            ("points with more than one LSOA", self.points_many_lsoa, "kept: boundaries and points change"),
            ("months missing", len(self.gaps), _first(self.gaps)),
            ("files with a header only", self.empty_files, "a gap, not a month without crime"),
            ("files that a later archive has too", self.files_repeated, "the later one is read"),
            ("files not in UTF-8", sum(self.encodings.values()), _listed(self.encodings)),
            ("columns that some files lack", len(self.columns_absent), f"missing: {_listed(self.columns_absent)}"),
            ("columns not of the layout", len(self.columns_ignored), f"not read: {_first(self.columns_ignored)}"),
            ("columns about persons", len(self.persons_dropped), f"never read: {_first(self.persons_dropped)}"),
            *((f"outcomes: {name.replace('_', ' ')}", count, "") for name, count in self.outcomes.items()),
        ]
        always = {"rows read", "rows kept", "months missing", "crime ids with different types"}
        table = [(n, c, np.nan, p) for n, c, p in counted] + rows
        table += [(n, c, np.nan, p) for n, c, p in after if c or n in always or n.startswith("outcomes")]
        return pd.DataFrame(table, columns=["check", "count", "share", "policy"])

    def _repr_html_(self) -> str:
        table = self.to_frame()
        table["share"] = table["share"].map(lambda share: "–" if np.isnan(share) else f"{share:.2%}")
        return table_html(table)


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{n} {kind}" for kind, n in sorted(counts.items())) or "none"


def _first(names: tuple[str, ...]) -> str:
    return "; ".join(names[:12]) + ("; …" if len(names) > 12 else "")


def completeness_matrix(force: pd.Series, month: np.ndarray) -> pd.DataFrame:
    """Rows per force and month, over every month from the first to the last; NaN where a force has none."""
    import pandas as pd

    if len(month) == 0:
        return pd.DataFrame(index=pd.Index([], name="force"), columns=pd.PeriodIndex([], freq="M", name="month"))
    number = month.astype("datetime64[M]").astype(np.int64)
    codes, names = pd.factorize(np.asarray(force, dtype=object), sort=True)
    first, last = int(number.min()), int(number.max())
    counts = np.zeros((len(names), last - first + 1))
    np.add.at(counts, (codes, number - first), 1)
    counts[counts == 0] = np.nan
    columns = pd.period_range(pd.Period(ordinal=first, freq="M"), periods=last - first + 1, name="month")
    return pd.DataFrame(counts, index=pd.Index(names, name="force"), columns=columns)


def find_gaps(completeness: pd.DataFrame) -> tuple[str, ...]:
    """Return "force month" for each month missing from ``completeness``."""
    rows, columns = np.nonzero(np.isnan(completeness.to_numpy(dtype=float)))
    return tuple(f"{completeness.index[r]} {completeness.columns[c]}" for r, c in zip(rows, columns, strict=True))
