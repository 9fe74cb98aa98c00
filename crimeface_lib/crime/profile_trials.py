"""How well geographic profiles do where the anchor is known: series drawn as the model has them, and otherwise."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from crimeface_lib.core.display import table_html
from crimeface_lib.core.errors import InputError
from crimeface_lib.core.random import Seed, make_rng
from crimeface_lib.core.results import Result, to_plain
from crimeface_lib.core.types import FloatArray
from crimeface_lib.crime.grid import Grid
from crimeface_lib.crime.profiling import MIN_SITES, AnchorModel, rossmo_score, search_rank

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class ProfileTrials(Result):
    """What it took to find known anchors.

    Parameters
    ----------
    trials : one row per drawn series: ``bayes``, ``rossmo`` and ``centre`` (nearness to the mean of the places, the
        simplest way there is) hold the share of the area searched when the anchor's cell is reached; 0.5 is chance;
        ``before`` the Bayesian probability of the cells searched before it, ``own`` that of the cell itself.
    places, mislinked, commute : how the series were drawn.
    """

    trials: pd.DataFrame = field(repr=False)
    places: int
    mislinked: int
    commute: float
    grid: Grid = field(repr=False)

    def coverage(self, *, level: float) -> float:
        """Return the share of trials whose region of this probability held the anchor; a right model has ``level``,
        or a little more, for a region is made of whole cells."""
        return float((self.trials["before"] < level).mean())

    def to_frame(self) -> pd.DataFrame:
        """One row per method: mean and median share searched, share of trials found in a tenth of the area."""
        import pandas as pd

        methods = ("bayes", "rossmo", "centre")
        return pd.DataFrame([
            {"method": name, "mean_search": self.trials[name].mean(), "median_search": self.trials[name].median(),
             "found_in_a_tenth": (self.trials[name] <= 0.1).mean()} for name in methods
        ])  # fmt: skip

    def to_dict(self) -> dict[str, Any]:
        return {
            "trials": len(self.trials), "places": self.places, "mislinked": self.mislinked, "commute": self.commute,
            "coverage": {f"{level:.0%}": self.coverage(level=level) for level in (0.5, 0.9)},
            "methods": to_plain(self.to_frame()),
        }  # fmt: skip

    def _repr_html_(self) -> str:
        facts = self.to_dict()
        covered = ", ".join(f"{level} region: {share:.0%}" for level, share in facts["coverage"].items())
        table = table_html(self.to_frame().round(3))
        return (
            f"<p><b>{facts['trials']} drawn series</b> of {self.places} places; anchors inside the {covered}</p>{table}"
        )


def simulate_profiles(
    grid: Grid,
    *,
    trials: int = 200,
    places: int = 8,
    commute: float = 0.0,
    mislinked: int | None = None,
    assumed_mislinked: float = 0.05,
    prior: npt.ArrayLike | None = None,
    targets: npt.ArrayLike | None = None,
    rng: Seed = None,
) -> ProfileTrials:
    """Draw anchors and series on ``grid``, profile each series, and see where its anchor comes in the search.

    Anchor, mean distance and buffer are drawn from the prior of the Bayesian profile. With ``commute`` 0 and
    ``mislinked`` None the series are what that model supposes, so its regions hold the anchor as often as they say.
    Other values show what is left when it is wrong.

    Parameters
    ----------
    places : in each series, at least 5.
    commute : the series gather about a point this many mean distances from the anchor.
    mislinked : places of each series that are someone else's; None draws them at ``assumed_mislinked``, which is what
        the profile is told.
    prior, targets : as ``geographic_profile`` takes them; series are drawn by them and profiled with them.

    Raises
    ------
    InputError : fewer than 5 places, more mislinked than places, no trial, or a negative distance.
    """
    import pandas as pd

    if places < MIN_SITES or trials < 1 or not commute >= 0 or not 0 <= (mislinked or 0) <= places:
        raise InputError(
            f"trials, places, commute, mislinked: got {trials}, {places}, {commute}, {mislinked}; expected a trial or "
            f"more, {MIN_SITES} places or more, a distance from 0, no more mislinked than places"
        )
    gen = make_rng(rng, stream="simulate_profiles")
    model = AnchorModel.on(grid, metric="euclidean", mislinked=assumed_mislinked, prior=prior, targets=targets)
    rows = []
    for _ in range(trials):
        anchor, xy = _draw(model, places, commute, mislinked, gen)
        score, _, _ = model.posterior(xy)
        order = np.argsort(-score, kind="stable")
        found = int(np.flatnonzero(order == anchor)[0])
        far = np.hypot(*(grid.centres() - xy.mean(axis=0)).T)
        rows.append({
            "bayes": (found + 1) / len(grid), "rossmo": search_rank(rossmo_score(xy, grid))[anchor],
            "centre": search_rank(-far)[anchor], "before": score[order[:found]].sum(), "own": score[anchor],
        })  # fmt: skip
    drawn = places * assumed_mislinked if mislinked is None else mislinked
    return ProfileTrials(pd.DataFrame(rows), places, round(drawn), commute, grid)


def _draw(
    model: AnchorModel, places: int, commute: float, mislinked: int | None, gen: np.random.Generator
) -> tuple[int, FloatArray]:
    """Return the anchor's cell and (places, 2) the series."""
    grid = model.grid
    anchor = int(gen.choice(len(grid), p=np.exp(model.log_prior)))
    p = int(gen.choice(len(model.mean), p=np.exp(model.log_weight)))
    middle = grid.centres()[anchor]
    if commute:
        turn = gen.uniform(0, 2 * np.pi)
        middle = middle + commute * model.mean[p] * np.array([np.cos(turn), np.sin(turn)])
    chance = model.chances(middle, p)
    cells = gen.choice(len(grid), size=places, p=chance)
    other = gen.uniform(size=places) < model.mislinked if mislinked is None else np.arange(places) < mislinked
    cells = np.where(other, gen.choice(len(grid), size=places, p=model.targets), cells)
    return anchor, grid.centres()[cells] + gen.uniform(-0.5, 0.5, (places, 2)) * grid.cell
