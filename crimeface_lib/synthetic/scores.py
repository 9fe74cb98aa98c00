"""Scores of comparisons between groups whose error rates are known, to check that an audit finds what is there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from crimeface_lib.core.errors import InputError
from crimeface_lib.core.random import Seed, make_rng
from crimeface_lib.core.results import Result

if TYPE_CHECKING:
    import pandas as pd

#: Group → true (FMR, FNMR) at the threshold. The last one has too few people to say anything about.
RATES: Mapping[str, tuple[float, float]] = {
    "group 1": (0.010, 0.02), "group 2": (0.020, 0.03), "group 3": (0.040, 0.06), "group 4": (0.020, 0.03),
}  # fmt: skip
#: True FMR between people of two groups.
ACROSS = 0.004
_SPREAD = 0.1  # standard deviation of the scores
_OF_PEOPLE = 0.1  # share of the variance that comes with the person: some are taken for others more often


@dataclass(frozen=True, slots=True)
class SyntheticScores(Result):
    """Comparisons of people who do not exist, and the truth about them.

    Parameters
    ----------
    comparisons : as ``governance.audit_bias`` takes them: score, mated, group_a, group_b, subject_a, subject_b.
    threshold : at which ``truth`` holds.
    truth : a row a group: group, FMR, FNMR; pairs across groups ("a × b") have no FNMR.
    """

    comparisons: pd.DataFrame = field(repr=False)
    threshold: float
    truth: pd.DataFrame

    def to_frame(self) -> pd.DataFrame:
        """Return the truth."""
        return self.truth.copy()


def synthetic_scores(
    rates: Mapping[str, tuple[float, float]] = RATES,
    *,
    people: int = 200,
    few: Mapping[str, int] | None = None,
    threshold: float = 0.5,
    rng: Seed = None,
) -> SyntheticScores:
    """Return scores drawn such that each group has exactly the rates asked for, on average over all people.

    Scores are normal, mated and non-mated ones with a mean each that puts the threshold at the wanted quantile. A tenth
    of the variance belongs to the person, so comparisons of one person go together, as they do with real faces.

    Parameters
    ----------
    rates : group → (FMR, FNMR), each above 0 and below 1.
    people : in each group. Each has six mated and 25 non-mated comparisons in the own group.
    few : group → its own number of people; two in the last group by default.

    Raises
    ------
    InputError : a rate that is 0 or 1 or beyond, fewer than two groups or two people.

    >>> made = synthetic_scores(people=10, rng=1)
    >>> made.truth.FMR.head(3).tolist(), len(made.comparisons) > 900
    ([0.01, 0.02, 0.04], True)
    """
    import pandas as pd

    sizes = dict.fromkeys(rates, people) | dict({[*rates][-1]: 2} if few is None and len(rates) > 2 else few or {})
    if len(rates) < 2 or min(sizes.values()) < 2 or not all(0 < rate < 1 for pair in rates.values() for rate in pair):
        raise InputError(f"rates: got {dict(rates)} of {sizes} people, expected two groups or more, rates in (0, 1)")
    generator = make_rng(rng, stream="synthetic scores") if isinstance(rng, int) else make_rng(rng)
    start = dict(zip(sizes, np.cumsum([0, *sizes.values()])[:-1].tolist(), strict=True))
    tables = []
    for name, (fmr, fnmr) in rates.items():
        own = start[name] + np.arange(sizes[name])
        same = np.repeat(own, 6)
        first = np.repeat(own, 25)
        second = start[name] + (first - start[name] + generator.integers(1, sizes[name], len(first))) % sizes[name]
        tables += [_pairs(name, name, same, same, fnmr), _pairs(name, name, first, second, fmr)]
    for one, other in combinations(rates, 2):
        count = 8 * min(sizes[one], sizes[other])
        first, second = (start[name] + generator.integers(0, sizes[name], count) for name in (one, other))
        tables.append(_pairs(one, other, first, second, ACROSS))
    table = pd.concat(tables, ignore_index=True)
    table["score"] = _draw(table, threshold=threshold, generator=generator)
    truth = [(name, fmr, fnmr) for name, (fmr, fnmr) in rates.items()]
    truth += [(f"{one} × {other}", ACROSS, float("nan")) for one, other in combinations(sorted(rates), 2)]
    shown = ["score", "mated", "group_a", "group_b", "subject_a", "subject_b"]
    return SyntheticScores(table[shown], threshold, pd.DataFrame(truth, columns=["group", "FMR", "FNMR"]))


def _pairs(one: str, other: str, first: Any, second: Any, rate: float) -> pd.DataFrame:
    import pandas as pd

    mated = bool(one == other and (first == second).all())
    columns = {"group_a": one, "group_b": other, "subject_a": first, "subject_b": second, "mated": mated, "rate": rate}
    return pd.DataFrame(columns)


def _draw(table: pd.DataFrame, *, threshold: float, generator: np.random.Generator) -> np.ndarray:
    """Return a score for each pair: its person's part, its own part, and the mean that gives it its error rate."""
    from scipy.stats import norm

    mated = table["mated"].to_numpy()
    first, second = table["subject_a"].to_numpy(), table["subject_b"].to_numpy()
    effect = generator.standard_normal(int(max(first.max(), second.max())) + 1)
    person = np.where(mated, effect[first], (effect[first] + effect[second]) / np.sqrt(2))
    noise = np.sqrt(_OF_PEOPLE) * person + np.sqrt(1 - _OF_PEOPLE) * generator.standard_normal(len(table))
    quantile = norm.ppf(table["rate"].to_numpy())
    return threshold + _SPREAD * (np.where(mated, -quantile, quantile) + noise)
