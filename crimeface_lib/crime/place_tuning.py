"""Settings of place models, chosen on past months that no later figure is reported on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

from crimeface_lib.core.display import table_html
from crimeface_lib.core.errors import InputError
from crimeface_lib.core.random import Seed
from crimeface_lib.core.results import Result, to_plain
from crimeface_lib.core.types import Progress
from crimeface_lib.crime._history import read_history, reported, span
from crimeface_lib.crime._models import MODEL_NAMES, MODELS
from crimeface_lib.crime.events import Events
from crimeface_lib.crime.grid import Grid
from crimeface_lib.crime.place_evaluation import BASELINE, Resampled, play_back, score_rows

if TYPE_CHECKING:
    import pandas as pd

#: What is tried of each model, its own settings first; years but for the names that say otherwise.
TRIALS: Mapping[str, tuple[dict[str, float], ...]] = {
    "decayed_counts": tuple({"tau": tau} for tau in (2.0, 0.5, 1.0, 3.0, 5.0)),
    "counts": tuple({"years": years} for years in (1.0, 0.5, 2.0, 3.0, 5.0)),
    "kde": tuple({"bandwidth": metres, "years": years} for years in (1.0, 5.0) for metres in (300.0, 100.0, 150.0)),
    "retrospective": tuple({"days": days, "bandwidth": m} for days in (60.0, 365.0) for m in (200.0, 400.0)),
}


@dataclass(frozen=True, slots=True)
class PlaceTuning(Result):
    """What was tried of one model, and what did best.

    Parameters
    ----------
    table : per setting the mean PAI with its interval over the cut-offs, the paired difference to the model's own
        settings with its interval, and which one is ``chosen``.
    chosen : the settings with the highest mean; the model's own, unless the paired interval is above 0.
    until : end of the last horizon used. Report only on what comes from then on: figures on the months tried are too
        good.
    """

    model: str
    table: pd.DataFrame
    chosen: dict[str, float]
    area: float
    cutoffs: int
    until: str
    skipped: dict[str, str]

    def to_frame(self) -> pd.DataFrame:
        """The table of what was tried."""
        return self.table

    @property
    def text(self) -> str:
        """What was chosen, in a sentence."""
        named = ", ".join(f"{k} = {v:g}" for k, v in self.chosen.items())
        return (
            f"Of {len(self.table)} settings of {MODEL_NAMES[self.model]} tried on {self.cutoffs} cut-offs to "
            f"{self.until}, {named} is kept (PAI at {self.area:.0%} of the area); figures are for later months only."
        )

    def to_dict(self) -> dict[str, Any]:
        return {
            "model": self.model, "table": to_plain(self.table), "chosen": self.chosen, "area": self.area,
            "cutoffs": self.cutoffs, "until": self.until, "skipped": self.skipped,
        }  # fmt: skip

    def _repr_html_(self) -> str:
        return f"<p>{escape(self.text)}</p>{table_html(self.table.round(3))}"


def tune_places(
    events: Events,
    grid: Grid,
    *,
    cutoffs: Iterable[object],
    horizon: str,
    model: str = BASELINE,
    trials: Sequence[Mapping[str, float]] | None = None,
    area: float = 0.05,
    police_discovered: bool = False,
    confidence: float = 0.95,
    resamples: int = 2000,
    rng: Seed = None,
    progress: Progress | None = None,
) -> PlaceTuning:
    """Try settings of a model at each cut-off and choose by the mean PAI, intervals over the cut-offs and paired.

    Parameters
    ----------
    trials : settings to try, those to be replaced first; a small table of each model's by default.
    area : share of the area at which they are compared.
    progress : called with how many cut-offs are done, and of how many.

    Raises
    ------
    InputError : a model without settings, an unknown setting, or fewer than 2 cut-offs that can be scored.
    """
    import pandas as pd

    if model not in MODELS or (trials is None and model not in TRIALS):
        raise InputError(f"model: got {model!r}, expected one with settings: {', '.join(TRIALS)}")
    tried = [dict(t) for t in (TRIALS[model] if trials is None else trials)]
    if len(tried) < 2:
        raise InputError(f"trials: got {len(tried)}, expected at least 2 settings to compare")
    names = [", ".join(f"{k} = {v:g}" for k, v in t.items()) or "its own" for t in tried]
    kept, _ = reported(events, police_discovered=police_discovered)
    runs = {name: (model, settings) for name, settings in zip(names, tried, strict=True)}
    trial = play_back(read_history(kept, grid), kept, cutoffs=cutoffs, horizon=horizon, runs=runs, progress=progress)
    wide = score_rows(trial, [area]).pivot(index="cutoff", columns="model", values="pai")[list(runs)]
    resampled = Resampled(len(wide), resamples, confidence, rng)
    rows = []
    for name in runs:
        values, difference = wide[name].to_numpy(), (wide[name] - wide[names[0]]).to_numpy()
        (low, high), (worse, better) = resampled.mean(values), resampled.mean(difference)
        rows.append({
            "settings": name, "pai": values.mean(), "pai_low": low, "pai_high": high,
            "difference": difference.mean(), "difference_low": worse, "difference_high": better,
        })  # fmt: skip
    table = pd.DataFrame(rows)
    best = int(table["pai"].where(table["difference_low"] > 0).fillna(0).argmax())
    best = best if table["difference_low"].iloc[best] > 0 else 0
    table["chosen"] = [k == best for k in range(len(table))]
    until = max(span(kept, cutoff, horizon)[1] for cutoff in wide.index)
    return PlaceTuning(
        model,
        table,
        {k: float(v) for k, v in tried[best].items()},
        area,
        len(wide),
        str(until.astype("datetime64[D]")),
        trial.skipped,
    )
