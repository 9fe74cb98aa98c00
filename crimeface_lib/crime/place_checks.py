"""What belongs beside each forecast of places: what acting on it would do, on whom it falls, how firm it is."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from crimeface_lib.core.display import list_html
from crimeface_lib.core.errors import InputError, ShapeError
from crimeface_lib.core.random import Seed, make_rng
from crimeface_lib.core.results import Result, to_plain
from crimeface_lib.core.types import FloatArray, Progress
from crimeface_lib.crime._history import read_history, reported, span
from crimeface_lib.crime._models import run_model
from crimeface_lib.crime.events import Events, found_by_policing
from crimeface_lib.crime.feedback import Exposure, FeedbackSimulation, exposure, simulate_feedback
from crimeface_lib.crime.grid import Grid
from crimeface_lib.crime.hotspot import top_cells
from crimeface_lib.crime.places import PlaceRisk

if TYPE_CHECKING:
    import pandas as pd

_AREAS = 10  # of the feedback simulation: the riskiest cells
_OFTEN, _SELDOM = 0.9, 0.1


@dataclass(frozen=True, slots=True)
class Stability(Result):
    """How firmly the riskiest cells are known: which ones are chosen when the events are drawn anew.

    Parameters
    ----------
    chosen : (C,) share of the runs in which a cell is among the riskiest.
    overlap : (runs,) Jaccard overlap of each run's riskiest cells with the forecast's: 1 is the same cells.
    share : of the cells that count as riskiest.
    """

    chosen: FloatArray = field(repr=False)
    overlap: FloatArray = field(repr=False)
    share: float
    picked: npt.NDArray[np.int64] = field(repr=False)

    @property
    def firm(self) -> float:
        """Share of the forecast's riskiest cells that nine runs in ten choose too."""
        return float((self.chosen[self.picked] >= _OFTEN).mean())

    @property
    def text(self) -> str:
        low, high = np.quantile(self.overlap, [0.05, 0.95])
        return (
            f"Had the same rates given other events, {self.overlap.mean():.0%} of the cells chosen in either case "
            f"would be chosen in both ({low:.0%} to {high:.0%} in nine of ten runs); {self.firm:.0%} of the riskiest "
            f"{self.share:.0%} of cells are chosen nearly always."
        )

    def to_frame(self) -> pd.DataFrame:
        """The cells that any run chose: how often, and whether the forecast chose them."""
        import pandas as pd

        cell = np.flatnonzero(self.chosen > 0)
        table = pd.DataFrame({"cell": cell, "chosen": self.chosen[cell], "in_forecast": np.isin(cell, self.picked)})
        return table.sort_values(["chosen", "cell"], ascending=[False, True], ignore_index=True)

    def to_dict(self) -> dict[str, Any]:
        return {
            "share": self.share, "runs": len(self.overlap), "overlap": float(self.overlap.mean()), "firm": self.firm,
            "sometimes": int(((self.chosen > _SELDOM) & (self.chosen < _OFTEN)).sum()), "text": self.text,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class PlaceChecks(Result):
    """Everything that goes beside a forecast of places.

    Parameters
    ----------
    feedback, corrected : simulated patrols that follow the records, as found and with the correction.
    stability : of the riskiest cells. exposure : per group of areas; empty without a table of groups.
    discovered : events per type found by policing in the data, and whether the forecast left them out.
    """

    feedback: FeedbackSimulation
    corrected: FeedbackSimulation
    stability: Stability
    exposure: Exposure | None
    discovered: pd.DataFrame
    model: str
    share: float

    @property
    def text(self) -> tuple[str, ...]:
        """One sentence per check, for the report."""
        said = [self.feedback.text, self.corrected.text, self.stability.text]
        if self.exposure is None:
            said.append("No table of groups was given: on whom the forecast falls was not checked.")
        else:
            said.append(self.exposure.text)
        if len(self.discovered) == 0:
            said.append("The data hold no type that is found by policing rather than reported to it.")
        else:
            kinds = ", ".join(self.discovered["type"])
            out = "left out" if self.discovered["left_out"].all() else "INCLUDED, and their counts follow patrols"
            said.append(f"Types found by policing ({kinds}) are {out}.")
        return tuple(said)

    def to_frame(self) -> pd.DataFrame:
        """One row per check: its figure and what it says."""
        import pandas as pd

        worst = float("nan") if self.exposure is None else float(self.exposure.table["ratio"].max())
        left = float(self.discovered["left_out"].all()) if len(self.discovered) else float("nan")
        rows = [
            ("patrols where the events are not, records as found", self.feedback.drift),
            ("patrols where the events are not, records corrected", self.corrected.drift),
            ("mean overlap of the riskiest cells when events are drawn anew", float(self.stability.overlap.mean())),
            ("highest exposure ratio of a group", worst),
            ("types found by policing are left out", left),
        ]
        return pd.DataFrame(
            [(*row, said) for row, said in zip(rows, self.text, strict=True)], columns=["check", "value", "says"]
        )

    def to_dict(self) -> dict[str, Any]:
        return {
            "model": self.model, "share": self.share, "checks": to_plain(self.to_frame()),
            "stability": self.stability.to_dict(), "discovered": to_plain(self.discovered),
            "exposure": [] if self.exposure is None else to_plain(self.exposure.table),
            "feedback": to_plain(self.feedback.to_frame()), "corrected": to_plain(self.corrected.to_frame()),
        }  # fmt: skip

    def _repr_html_(self) -> str:
        return list_html(self.text)


def check_places(
    events: Events,
    grid: Grid,
    risk: PlaceRisk,
    *,
    groups: npt.ArrayLike | None = None,
    share: float = 0.05,
    runs: int = 50,
    rng: Seed = None,
    progress: Progress | None = None,
) -> PlaceChecks:
    """Check a forecast for feedback, exposure, stability and types found by policing, in one call.

    Parameters
    ----------
    events, grid, risk : what the forecast was made from, and the forecast.
    groups : (C,) label of each cell's group of areas (``cell_groups`` makes it from a table); never of persons.
    share : of the cells that count as riskiest. runs : how often the events are drawn anew.
    progress : called with how many of those are done, and of how many.

    Raises
    ------
    ShapeError : ``risk`` or ``groups`` of another grid. InputError : a share out of range, or no risk at all.
    """
    import pandas as pd

    if len(risk.risk) != len(grid):
        raise ShapeError(f"risk: got {len(risk.risk)} cells, expected the grid's {len(grid)}")
    if not risk.risk.max() > 0:
        raise InputError("risk: got no expected event at all, expected some above 0")
    discovered = [t for t in events.types if found_by_policing(t)]
    rows = [(t, int((events.frame["type"] == t).sum()), t in risk.excluded) for t in discovered]
    rates = np.sort(risk.risk)[-_AREAS:] / risk.risk.max() / 2
    return PlaceChecks(
        feedback=simulate_feedback(rates, rng=rng),
        corrected=simulate_feedback(rates, corrected=True, rng=rng),
        stability=stability(events, grid, risk, share=share, runs=runs, rng=rng, progress=progress),
        exposure=None if groups is None else exposure(risk.risk, groups, share=share),
        discovered=pd.DataFrame(rows, columns=["type", "events", "left_out"]),
        model=risk.model,
        share=share,
    )


def stability(
    events: Events,
    grid: Grid,
    risk: PlaceRisk,
    *,
    share: float = 0.05,
    runs: int = 50,
    rng: Seed = None,
    progress: Progress | None = None,
) -> Stability:
    """Make the forecast again from events drawn with replacement, and compare the riskiest cells.

    The draw is of single events; were they to come in bunches, the cells would be less firm than said.
    """
    if runs < 2:
        raise InputError(f"runs: got {runs}, expected at least 2")
    start, end = span(events, risk.at, risk.horizon)
    kept, _ = reported(events, police_discovered=not risk.excluded)
    history = read_history(kept, grid).before(start)
    gen, number = make_rng(rng, stream="stability"), len(history.cell)
    picked = top_cells(risk.risk, share=share)
    chosen, overlap = np.zeros(len(grid)), np.empty(runs)
    for k in range(runs):
        again = np.sort(gen.integers(number, size=number))
        drawn = replace(
            history, cell=history.cell[again], xy=history.xy[again],
            start=history.start[again], end=history.end[again],
        )  # fmt: skip
        values = np.sum(list(run_model(risk.model, drawn, end, risk.settings).values()), axis=0)
        top = top_cells(values, share=share)
        chosen[top] += 1 / runs
        both = len(np.intersect1d(top, picked))
        overlap[k] = both / (len(top) + len(picked) - both)
        if progress is not None:
            progress(k + 1, runs)
    return Stability(chosen, overlap, share, picked)
