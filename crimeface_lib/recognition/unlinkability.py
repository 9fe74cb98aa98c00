"""What a turn per application gains and costs: are templates linked across applications, still compared within?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy import stats

from crimeface_lib.core.arrays import check_vector
from crimeface_lib.core.errors import InputError
from crimeface_lib.core.random import Seed, make_rng
from crimeface_lib.core.results import Result
from crimeface_lib.core.types import Float32Array, FloatArray
from crimeface_lib.metrics import eer
from crimeface_lib.recognition.compare import score_pairs
from crimeface_lib.recognition.rotation import Rotation
from crimeface_lib.recognition.search import unit_rows

if TYPE_CHECKING:
    import pandas as pd

NOT_IRREVERSIBLE = (
    "Neither the turn nor the encryption is irreversible: whoever has the keys has the templates, and a face can be "
    "made from a template that resembles the person."
)


def linkability(mated: npt.ArrayLike, nonmated: npt.ArrayLike, *, omega: float = 1.0, bins: int | None = None) -> float:
    """Return D_sys, from 0 (scores across applications tell nothing) to 1 (each pair of one person is found).

    Parameters
    ----------
    mated, nonmated : (N,) and (M,) scores across two applications, of one person and of different people.
    omega : prior odds that two templates are of one person.
    bins : of the histograms; by default a tenth of the mated scores, at least 2 and at most 100. Few scores make
        D_sys too high: identical distributions give 0 only in the limit.

    Raises
    ------
    ShapeError : fewer than 20 scores. InputError : odds that are not positive.

    References : Gomez-Barrero et al. 2018, "General framework to evaluate unlinkability in biometric template
        protection systems"; the measure that ISO/IEC 30136 takes up.

    >>> linkability(np.linspace(0.8, 1, 50), np.linspace(0, 0.2, 50))
    1.0
    """
    same = check_vector(mated, name="mated", minimum=20)
    other = check_vector(nonmated, name="nonmated", minimum=20)
    if not omega > 0:
        raise InputError(f"omega: got {omega}, expected positive odds")
    count = bins or int(np.clip(len(same) // 10, 2, 100))
    edges = np.histogram_bin_edges(np.concatenate([same, other]), bins=count)
    p_same, p_other = (np.histogram(scores, edges)[0] / len(scores) for scores in (same, other))
    # D(s) = 2 ωLR / (1 + ωLR) − 1 where ωLR > 1, else 0; written so that a bin without non-mated scores is no division
    weight = omega * p_same
    local = np.divide(weight - p_other, weight + p_other, out=np.zeros(count), where=weight > p_other)
    return float((local * p_same).sum())


@dataclass(frozen=True, slots=True, eq=False)
class Unlinkability(Result):
    """Scores within and across applications, and what they say.

    Parameters
    ----------
    within_mated, within_nonmated : (N,), (M,) scores of templates under one turn.
    across_mated, across_nonmated : scores of templates under two turns.
    d_sys, low, high : linkability across turns, with its interval over resampled comparisons at ``level``.
    d_unprotected : linkability without turns, where the same person's templates lie in both applications.
    chance : D_sys of as many scores without any difference (the non-mated ones, dealt at random): what counts as 0.
    eer_plain, eer_turned : equal error rate before and after. loss : largest change of a score.
    """

    within_mated: FloatArray = field(repr=False)
    within_nonmated: FloatArray = field(repr=False)
    across_mated: FloatArray = field(repr=False)
    across_nonmated: FloatArray = field(repr=False)
    d_sys: float
    low: float
    high: float
    level: float
    d_unprotected: float
    chance: float
    eer_plain: float
    eer_turned: float
    loss: float

    @property
    def sentence(self) -> str:
        """What the figures say, and what they don't."""
        return (
            f"Across applications, templates of one person and of different people give scores that are told apart to "
            f"D_sys = {self.d_sys:.3f} ({self.low:.3f} – {self.high:.3f}); {self.chance:.3f} is what chance gives with "
            f"as many scores, {self.d_unprotected:.3f} what templates that are not turned give. Within an application "
            f"the equal error rate goes from {self.eer_plain:.2%} to {self.eer_turned:.2%}, and no score changes by "
            f"more than {self.loss:.0e}. {NOT_IRREVERSIBLE}"
        )

    def to_frame(self) -> pd.DataFrame:
        import pandas as pd

        rows = {
            "linkability across applications, D_sys": f"{self.d_sys:.3f} ({self.low:.3f} – {self.high:.3f})",
            "of as many scores without a difference": f"{self.chance:.3f}",
            "of templates that are not turned": f"{self.d_unprotected:.3f}",
            "equal error rate before → after": f"{self.eer_plain:.2%} → {self.eer_turned:.2%}",
            "largest change of a score": f"{self.loss:.0e}",
            "comparisons of one person": f"{len(self.across_mated):,}",
            "comparisons of different people": f"{len(self.across_nonmated):,}",
        }
        return pd.DataFrame({"protection": list(rows), "": list(rows.values())})


def evaluate_unlinkability(
    vectors: Float32Array,
    people: Sequence[object],
    *,
    rotations: tuple[Rotation, Rotation],
    nonmated: int = 20_000,
    replicas: int = 200,
    level: float = 0.95,
    rng: Seed = 0,
) -> Unlinkability:
    """Return how well templates of one person can be linked across two turns, and what the turns cost.

    Parameters
    ----------
    vectors : (N, D) templates. people : N names; the mated comparisons are all pairs of one person's photos.
    nonmated : at most so many comparisons of different people, drawn at random.

    Raises
    ------
    InputError : not as many names as templates, or the same turn twice. ShapeError : fewer than 20 mated pairs.
    """
    rows, gen = unit_rows(vectors, name="vectors"), make_rng(rng)
    _, who = np.unique(np.asarray(people, dtype=str), return_inverse=True)
    if len(who) != len(rows) or rotations[0].id == rotations[1].id:
        raise InputError(f"got {len(who)} names for {len(rows)} templates, expected as many, and two different turns")
    mated = np.array([(i, j) for p in np.unique(who) for i, j in _pairs(np.flatnonzero(who == p))]).reshape(-1, 2)
    drawn = gen.integers(0, len(rows), size=(4 * nonmated, 2))
    others = drawn[who[drawn[:, 0]] != who[drawn[:, 1]]][:nonmated]
    first, second = rotations[0].apply(rows), rotations[1].apply(rows)

    def scores(a: Float32Array, b: Float32Array) -> tuple[FloatArray, FloatArray]:
        return score_pairs(a[mated[:, 0]], b[mated[:, 1]]), score_pairs(a[others[:, 0]], b[others[:, 1]])

    plain, within, across = scores(rows, rows), scores(first, first), scores(first, second)
    linked = linkability(*across)  # says what is wrong with too few
    again = [linkability(*(gen.choice(some, len(some)) for some in across)) for _ in range(replicas)]
    # resampling repeats scores, which raises D_sys: so its spread counts, and not where it lies
    margin = float(np.std(again) * stats.norm.ppf((1 + level) / 2))
    dealt = [gen.choice(across[1], len(mated)) for _ in range(20)]
    return Unlinkability(
        within_mated=within[0], within_nonmated=within[1], across_mated=across[0], across_nonmated=across[1],
        d_sys=linked, low=max(0.0, linked - margin), high=min(1.0, linked + margin), level=level,
        d_unprotected=linkability(*plain),
        chance=float(np.mean([linkability(some, across[1]) for some in dealt])),
        eer_plain=eer(*plain), eer_turned=eer(*within),
        loss=float(max(np.abs(a - b).max() for a, b in zip(plain, within, strict=True))),
    )  # fmt: skip


def _pairs(rows: npt.NDArray[np.int64]) -> list[tuple[int, int]]:
    return [(int(i), int(j)) for place, i in enumerate(rows) for j in rows[place + 1 :]]
