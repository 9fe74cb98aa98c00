"""Whether a method errs more on some groups than on others: the rates, the measures, and what is unknown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from crimeface_lib.core.display import table_html
from crimeface_lib.core.errors import InputError, SchemaError
from crimeface_lib.core.random import Seed, make_rng
from crimeface_lib.core.results import Result
from crimeface_lib.metrics import (
    MEASURES,
    Differentials,
    differential_intervals,
    differentials,
    rate_interval,
    rate_replicas,
    rates_by_group,
)

if TYPE_CHECKING:
    import pandas as pd

#: Columns of ``BiasReport.rates``.
_COLUMNS: dict[str, Any] = {
    "attribute": str, "group": str, "mated": int, "nonmated": int, "failed": int,
    "FMR": float, "FMR_low": float, "FMR_high": float, "FNMR": float, "FNMR_low": float, "FNMR_high": float,
    "attempts": int, "FTE": float, "FTE_low": float, "FTE_high": float,
}  # fmt: skip
#: Between two groups in one comparison, and between two attributes of one group.
CROSS, AND = " × ", " & "


@dataclass(frozen=True, slots=True)
class BiasReport(Result):
    """Error rates by group at one threshold, and how far apart they are.

    Parameters
    ----------
    rates : a row an attribute and group, cross-group pairs ("a × b") included: attribute, group, mated,
        nonmated, failed, FMR, FNMR and their intervals; attempts, FTE and its interval where enrolments were given.
        NaN where there were fewer than ``minimum``.
    differentials : attribute → measures over the groups whose two rates are both known.
    intervals : attribute → measure → (low, high).
    withheld : attribute → groups left out of the measures; about them nothing is known, which is not "no difference".
    resampled : "subjects", or "comparisons" where nobody said who was compared: intervals are then too narrow if
        the same people occur more than once.
    level : of all intervals.
    """

    threshold: float
    minimum: int
    level: float
    resampled: str
    rates: pd.DataFrame
    differentials: dict[str, Differentials]
    intervals: dict[str, dict[str, tuple[float, float]]]
    withheld: dict[str, tuple[str, ...]]

    def to_frame(self) -> pd.DataFrame:
        """Return the rates."""
        return self.rates.copy()

    def measures(self) -> pd.DataFrame:
        """Return a row an attribute and measure: attribute, measure, value, low, high."""
        import pandas as pd

        rows = [
            (attribute, name, getattr(found, name), *self.intervals[attribute][name])
            for attribute, found in self.differentials.items()
            for name in MEASURES
        ]
        return pd.DataFrame(rows, columns=["attribute", "measure", "value", "low", "high"])

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> BiasReport:
        """Return the report that ``to_dict`` wrote; what JSON can't hold, a NaN rate or a ratio, is back."""
        import pandas as pd

        def ratio(value: Any) -> Any:
            return np.inf if value is None else np.nan if value == "unknown" else value

        found = {
            name: Differentials(groups=tuple(m["groups"]), alpha=m["alpha"], **{key: ratio(m[key]) for key in MEASURES})
            for name, m in record["differentials"].items()
        }
        ends = {
            name: {measure: (ratio(low), ratio(high)) for measure, (low, high) in intervals.items()}
            for name, intervals in record["intervals"].items()
        }
        rates = pd.DataFrame(record["rates"], columns=list(_COLUMNS)).astype(_COLUMNS)
        withheld = {name: tuple(groups) for name, groups in record["withheld"].items()}
        plain = {name: record[name] for name in ("threshold", "minimum", "level", "resampled")}
        return cls(**plain, rates=rates, differentials=found, intervals=ends, withheld=withheld)

    def _repr_html_(self) -> str:
        html = table_html(self.rates.dropna(axis="columns", how="all"), float_format="{:.3g}".format)
        html += table_html(self.measures(), float_format="{:.3g}".format) if self.differentials else ""
        unknown = [escape(f"{name}: {', '.join(groups)}") for name, groups in self.withheld.items() if groups]
        note = f" Too few to say anything about {'; '.join(unknown)}." if unknown else ""
        return (
            f"{html}<p>One threshold for all: {self.threshold:g}. No rate from fewer than {self.minimum}.{note} "
            f"Intervals: {self.level:.0%}, {escape(self.resampled)} resampled.</p>"
        )


def audit_bias(
    comparisons: pd.DataFrame,
    *,
    groups: Sequence[str],
    threshold: float,
    enrolments: pd.DataFrame | None = None,
    minimum: int = 30,
    alpha: float = 0.5,
    level: float = 0.95,
    replicas: int = 500,
    rng: Seed = None,
) -> BiasReport:
    """Return error rates and differentials for each attribute, and for all attributes together.

    Parameters
    ----------
    comparisons : a row a comparison: ``score`` (NaN where it could not be made), ``mated`` (bool), and for each
        attribute ``<attribute>_a`` and ``<attribute>_b``, the group of either side. ``subject_a`` and
        ``subject_b``, who is on either side, where known: intervals then come from resampling people.
    groups : attributes, such as ``["sex", "age"]``; with several their intersection is audited too.
    threshold : one for all groups; higher scores are more similar.
    enrolments : a row an image: ``failed`` (bool, no template) and each attribute; gives failure to enrol (FTE).
    minimum : rates from fewer comparisons, and FTE from fewer images, are withheld.
    alpha : weight of FMR in the measures.

    Raises
    ------
    SchemaError : a column is missing, a group is unknown (empty), or a mated comparison is between two groups.
    InputError : no attribute.
    References : ISO/IEC 19795-10; see ``metrics.differentials``.
    """
    import pandas as pd

    _check_given(comparisons, enrolments, groups)
    known_people = {"subject_a", "subject_b"} <= set(comparisons)
    subjects = comparisons[["subject_a", "subject_b"]].astype(str).to_numpy() if known_people else None
    attributes = {name: [name] for name in groups} | ({AND.join(groups): list(groups)} if len(groups) > 1 else {})
    scores = comparisons["score"].to_numpy(dtype=float), comparisons["mated"].to_numpy(dtype=bool)
    tables, measures, intervals, withheld = [], {}, {}, {}
    for name, parts in attributes.items():
        facts = (*scores, _labels(comparisons, parts).to_numpy())
        table = rates_by_group(*facts, threshold=threshold, minimum=minimum, level=level)
        within = table[~table["group"].str.contains(CROSS, regex=False)]
        known = within.dropna(subset=["FMR", "FNMR"])
        names = tuple(known["group"])
        withheld[name] = tuple(within["group"][~within["group"].isin(names)])
        seed = make_rng(rng, stream=f"bias {name}") if isinstance(rng, int) else rng
        options: dict[str, Any] = {"threshold": threshold, "subjects": subjects, "replicas": replicas, "rng": seed}
        draws = rate_replicas(*facts, names=names, **options) if names else None
        if draws and known_people:
            table = _widened(table, names, draws, level=level)
        if draws and len(names) > 1:
            measures[name] = differentials(known["FMR"], known["FNMR"], groups=names, alpha=alpha)
            intervals[name] = differential_intervals(*draws, alpha=alpha, level=level)
        tables.append(_with_fte(table, enrolments, parts, minimum=minimum, level=level).assign(attribute=name))
    rates = pd.concat([table.reindex(columns=list(_COLUMNS)).astype(_COLUMNS) for table in tables], ignore_index=True)
    about = (threshold, minimum, level, "subjects" if known_people else "comparisons")
    return BiasReport(*about, rates, measures, intervals, withheld)


def _check_given(comparisons: pd.DataFrame, enrolments: pd.DataFrame | None, groups: Sequence[str]) -> None:
    if not groups or isinstance(groups, str):
        raise InputError(f"groups: got {groups!r}, expected a list of attributes such as ['sex']")
    _check_columns(comparisons, ["score", "mated", *(f"{name}_{side}" for name in groups for side in "ab")])
    if enrolments is not None:
        _check_columns(enrolments, ["failed", *groups], table="enrolments")


def _check_columns(given: pd.DataFrame, needed: Sequence[str], *, table: str = "comparisons") -> None:
    if missing := [column for column in needed if column not in given]:
        raise SchemaError(
            f"{table} lack {', '.join(missing)}; each attribute needs "
            f"{'<attribute>_a and <attribute>_b' if table == 'comparisons' else 'a column of its name'}"
        )
    if empty := [column for column in needed if column != "score" and given[column].isna().any()]:
        raise SchemaError(
            f"{table}: {', '.join(empty)} has empty cells; expected a group in each: "
            "write one such as 'unknown', or leave those rows out and say so"
        )


def _widened(table: pd.DataFrame, names: tuple[str, ...], draws: tuple[Any, Any], *, level: float) -> pd.DataFrame:
    """Return the rates with each interval as wide as both ways ask: exact for independent trials, and of people."""
    wide = table.set_index("group")
    ends = [(1 - level) / 2, (1 + level) / 2]
    for rate, replicas in zip(("FMR", "FNMR"), draws, strict=True):
        low, high = np.quantile(replicas, ends, axis=0) if len(replicas) else (1.0, 0.0)
        wide.loc[list(names), f"{rate}_low"] = np.minimum(wide.loc[list(names), f"{rate}_low"], low)
        wide.loc[list(names), f"{rate}_high"] = np.maximum(wide.loc[list(names), f"{rate}_high"], high)
    return wide.reset_index()


def _with_fte(
    table: pd.DataFrame, enrolments: pd.DataFrame | None, parts: Sequence[str], *, minimum: int, level: float
) -> pd.DataFrame:
    """Return the rates with failure to enrol by group; a group that has images and no comparison gets a row."""
    if enrolments is None:
        return table.assign(attempts=0)
    failed = enrolments["failed"].astype(bool).groupby(_joined(enrolments, list(parts))).agg(["size", "sum"])
    rows = [
        (group, n, k / n, *rate_interval(int(k), int(n), level=level)) if n >= minimum else (group, n, *[np.nan] * 3)
        for group, n, k in failed.itertuples(name=None)
    ]
    columns = ["group", "attempts", "FTE", "FTE_low", "FTE_high"]
    import pandas as pd

    both = table.merge(pd.DataFrame(rows, columns=columns), on="group", how="outer")
    counts = ["mated", "nonmated", "failed", "attempts"]
    return both.assign(**both[counts].fillna(0))


def _labels(comparisons: pd.DataFrame, attributes: Sequence[str]) -> pd.Series[str]:
    """Return the group of each comparison: "a", or "a × b" where the sides differ."""
    first, second = (_joined(comparisons, [f"{name}_{side}" for name in attributes]) for side in "ab")
    crossed = first != second
    if (crossed & comparisons["mated"].astype(bool)).any():
        raise SchemaError(f"{' and '.join(attributes)}: a mated comparison has two groups; one person has one")
    low, high = first.where(first < second, second), first.where(first >= second, second)
    return first.where(~crossed, low + CROSS + high)


def _joined(table: pd.DataFrame, columns: Sequence[str]) -> pd.Series[str]:
    label = table[columns[0]].astype(str)
    for column in columns[1:]:
        label = label + AND + table[column].astype(str)
    return label
