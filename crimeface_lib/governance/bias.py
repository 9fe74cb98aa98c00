"""Whether a method errs more on some groups than on others: the rates, the measures, and what is unknown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from crimeface_lib.core.errors import InputError, SchemaError
from crimeface_lib.core.results import Result
from crimeface_lib.metrics import Differentials, differentials, rates_by_group

if TYPE_CHECKING:
    import pandas as pd

#: Between two groups in one comparison, and between two attributes of one group.
CROSS, AND = " × ", " & "


@dataclass(frozen=True, slots=True)
class BiasReport(Result):
    """Error rates by group at one threshold, and how far apart they are.

    Parameters
    ----------
    rates : a row an attribute and group, cross-group pairs ("a × b") included: attribute, group, mated,
        nonmated, failed, FMR, FNMR and their intervals; NaN where there were fewer than ``minimum`` comparisons.
    differentials : attribute → measures over the groups whose two rates are both known.
    withheld : attribute → groups left out of the measures; about them nothing is known, which is not "no difference".
    """

    threshold: float
    minimum: int
    rates: pd.DataFrame
    differentials: dict[str, Differentials]
    withheld: dict[str, tuple[str, ...]]

    def to_frame(self) -> pd.DataFrame:
        """Return the rates."""
        return self.rates.copy()

    def _repr_html_(self) -> str:
        import pandas as pd

        style = {"index": False, "border": 0, "classes": "cf-table", "na_rep": "–", "float_format": "{:.3g}".format}
        measures = [{"attribute": name, **measure.to_dict()} for name, measure in self.differentials.items()]
        html = self.rates.to_html(**style)
        html += pd.DataFrame(measures).drop(columns="groups").to_html(**style) if measures else ""
        unknown = [f"{name}: {', '.join(groups)}" for name, groups in self.withheld.items() if groups]
        note = f" Too few to say anything about {'; '.join(unknown)}." if unknown else ""
        return f"{html}<p>One threshold for all: {self.threshold:g}. No rate from fewer than {self.minimum}.{note}</p>"


def audit_bias(
    comparisons: pd.DataFrame, *, groups: Sequence[str], threshold: float, minimum: int = 30, alpha: float = 0.5
) -> BiasReport:
    """Return error rates and differentials for each attribute, and for all attributes together.

    Parameters
    ----------
    comparisons : a row a comparison: ``score`` (NaN where it could not be made), ``mated`` (bool), and for each
        attribute ``<attribute>_a`` and ``<attribute>_b``, the group of either side.
    groups : attributes, such as ``["sex", "age"]``; with several their intersection is audited too.
    threshold : one for all groups; higher scores are more similar.
    minimum : rates from fewer comparisons are withheld.
    alpha : weight of FMR in the measures.

    Raises
    ------
    SchemaError : a column is missing, or a mated comparison is between two groups.
    InputError : no attribute.
    References : ISO/IEC 19795-10; see ``metrics.differentials``.
    """
    import pandas as pd

    if not groups or isinstance(groups, str):
        raise InputError(f"groups: got {groups!r}, expected a list of attributes such as ['sex']")
    needed = ["score", "mated", *(f"{name}_{side}" for name in groups for side in "ab")]
    if missing := [column for column in needed if column not in comparisons]:
        raise SchemaError(
            f"comparisons lack {', '.join(missing)}; each attribute needs <attribute>_a and <attribute>_b"
        )
    attributes = {name: [name] for name in groups} | ({AND.join(groups): list(groups)} if len(groups) > 1 else {})
    tables, measures, withheld = [], {}, {}
    for name, parts in attributes.items():
        table = rates_by_group(
            comparisons["score"].to_numpy(),
            comparisons["mated"].to_numpy(),
            _labels(comparisons, parts).to_numpy(),
            threshold=threshold,
            minimum=minimum,
        )
        tables.append(table.assign(attribute=name))
        within = table[~table["group"].str.contains(CROSS, regex=False)]
        known = within.dropna(subset=["FMR", "FNMR"])
        withheld[name] = tuple(within["group"][~within["group"].isin(known["group"])])
        if len(known) > 1:
            measures[name] = differentials(known["FMR"], known["FNMR"], groups=tuple(known["group"]), alpha=alpha)
    rates = pd.concat(tables, ignore_index=True)
    rates.insert(0, "attribute", rates.pop("attribute"))
    return BiasReport(threshold, minimum, rates, measures, withheld)


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
