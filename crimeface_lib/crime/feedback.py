"""What acting on a forecast does to the next one, and on whom it falls."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from crimeface_lib.core.arrays import check_vector
from crimeface_lib.core.errors import InputError, ShapeError
from crimeface_lib.core.random import Seed, make_rng
from crimeface_lib.core.results import Result
from crimeface_lib.core.types import FloatArray
from crimeface_lib.crime.hotspot import top_cells

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class FeedbackSimulation(Result):
    """Where patrols end up when they follow the records that they make.

    Parameters
    ----------
    truth : (K,) each area's share of the events that happen.
    final : (runs, K) each area's share of the patrols at the end.
    corrected : whether discovered events were thinned by how likely their area was to be visited.
    discovered : share of events that are only recorded where a patrol is.
    """

    truth: FloatArray
    final: FloatArray
    corrected: bool
    discovered: float
    steps: int

    @property
    def drift(self) -> float:
        """Mean share of patrols that is not where the events are (total variation); 0 is none, 1 all."""
        return float(np.abs(self.final - self.truth).sum(axis=1).mean() / 2)

    @property
    def text(self) -> str:
        """One sentence for the report."""
        how = "with the correction" if self.corrected else "without correction"
        return (
            f"If patrols followed the records {how}, and {self.discovered:.0%} of events were recorded only where a "
            f"patrol is, after {self.steps:,} rounds {self.drift:.0%} of the patrols would not be where the events are."
        )

    def to_frame(self) -> pd.DataFrame:
        """Per area the share of events, and the mean and central 90 % of the share of patrols over the runs."""
        import pandas as pd

        low, high = np.quantile(self.final, [0.05, 0.95], axis=0)
        return pd.DataFrame({"events": self.truth, "patrols": self.final.mean(axis=0), "low": low, "high": high})


def simulate_feedback(
    rates: npt.ArrayLike,
    *,
    corrected: bool = False,
    discovered: float = 1.0,
    start: npt.ArrayLike | None = None,
    steps: int = 2000,
    runs: int = 200,
    rng: Seed = None,
) -> FeedbackSimulation:
    """Play the urn of Ensign et al.: each step a patrol goes to an area in proportion to its record, and adds to it.

    Parameters
    ----------
    rates : (K,) chance of an event in each area and step, in [0, 1]; the truth.
    corrected : count a discovered event with a chance inverse to that of its area being visited.
    discovered : share of the events that are recorded only where the patrol is; the rest are reported everywhere.
    start : (K,) records at the start, above 0; 1 each by default.

    Raises
    ------
    InputError : fewer than 2 areas, rates or shares out of [0, 1], no positive start.

    References: Ensign, Friedler, Neville, Scheidegger & Venkatasubramanian 2018, "Runaway feedback loops in predictive
    policing".
    """
    rate = check_vector(rates, name="rates", minimum=2)
    first = np.ones(len(rate)) if start is None else check_vector(start, name="start")
    if (rate < 0).any() or (rate > 1).any() or rate.sum() == 0 or not 0 <= discovered <= 1:
        raise InputError(
            f"got rates {rate.tolist()} and discovered={discovered}, expected values in [0, 1], not all rates 0"
        )
    if first.shape != rate.shape or (first <= 0).any():
        raise InputError(f"start: got {first.tolist()}, expected {len(rate)} records above 0")
    gen = make_rng(rng, stream="simulate_feedback")
    record = np.tile(first, (runs, 1))
    each = np.arange(runs)
    for _ in range(steps):
        chance = record / record.sum(axis=1, keepdims=True)
        visited = (gen.random((runs, 1)) > np.cumsum(chance, axis=1)[:, :-1]).sum(axis=1)
        found = gen.random(runs) < rate[visited] * discovered
        if corrected:
            found &= gen.random(runs) < chance.min(axis=1) / chance[each, visited]
        record[each, visited] += found
        if discovered < 1:
            record += gen.random(record.shape) < rate * (1 - discovered)
    return FeedbackSimulation(
        rate / rate.sum(), record / record.sum(axis=1, keepdims=True), corrected, float(discovered), steps
    )


@dataclass(frozen=True, slots=True)
class Exposure(Result):
    """How the riskiest cells fall on groups of places.

    Parameters
    ----------
    table : group, its share of all cells (or of ``weight``), its share of the riskiest cells, and their ratio:
        1 is in proportion.
    """

    table: pd.DataFrame
    share: float

    def to_frame(self) -> pd.DataFrame:
        """The table."""
        return self.table

    @property
    def text(self) -> str:
        """One sentence for the report: the group on which the riskiest cells fall the most, and the least."""
        ratios = self.table.set_index("group")["ratio"].dropna()
        most, least = ratios.idxmax(), ratios.idxmin()
        return (
            f"The riskiest {self.share:.0%} of cells fall on {most} {ratios[most]:.1f} times as much as its share of "
            f"the whole, and on {least} {ratios[least]:.1f} times."
        )


def exposure(
    risk: npt.ArrayLike, groups: npt.ArrayLike, *, share: float = 0.05, weight: npt.ArrayLike | None = None
) -> Exposure:
    """Compare each group's share of the riskiest cells with its share of all.

    Parameters
    ----------
    risk : (C,) per cell.
    groups : (C,) a label of the place, such as its ward or deprivation decile; never of a person.
    weight : (C,) what a share is of, such as residents; cells by default.

    Raises
    ------
    ShapeError : unequal lengths. InputError : no weight at all.
    """
    import pandas as pd

    values = check_vector(risk, name="risk", minimum=1)
    label, load = np.asarray(groups), np.ones(len(values)) if weight is None else check_vector(weight, name="weight")
    if label.shape != values.shape or load.shape != values.shape:
        raise ShapeError(f"groups, weight: got {label.shape}, {load.shape}, expected {values.shape} as risk")
    chosen = np.zeros(len(values))
    chosen[top_cells(values, share=share)] = 1
    if load.sum() <= 0 or (load * chosen).sum() <= 0:
        raise InputError("weight: got none in the riskiest cells, expected some above 0")
    sums = pd.DataFrame(
        {"group": label, "of_all": load / load.sum(), "of_riskiest": load * chosen / (load * chosen).sum()}
    )
    table = sums.groupby("group", sort=True).sum().reset_index()
    table["ratio"] = table["of_riskiest"] / table["of_all"].where(table["of_all"] > 0)
    return Exposure(table, share)
