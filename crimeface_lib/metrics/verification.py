"""One-to-one comparison in one call: comparisons counted by score, with people resampled, however many there are.

A million photos make more comparisons than a machine can hold, and a list of a thousand too few to round. Both become
``ScoreCounts``: how many comparisons have which score, and the same again in every bootstrap replica.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from crimeface_lib.core.arrays import check_array, check_vector
from crimeface_lib.core.display import table_html
from crimeface_lib.core.errors import InputError, ShapeError
from crimeface_lib.core.random import Seed, make_rng
from crimeface_lib.core.results import Result
from crimeface_lib.core.types import FloatArray
from crimeface_lib.metrics.biometric import ErrorRates
from crimeface_lib.metrics.bootstrap import Interval, clustered_interval

if TYPE_CHECKING:
    import pandas as pd

_IntArray = npt.NDArray[np.int64]
#: Distinct scores kept as they are; beyond, scores are counted in so many steps.
_BINS = 8192
_PAIRS = 16_384  # weighted in memory at once
_SCORES = 4_000_000  # of one block of the matrix of all comparisons: 32 MB


@dataclass(frozen=True, slots=True, eq=False)
class ScoreCounts(Result):
    """Comparisons counted by score, with the counts of each bootstrap replica of the people.

    Parameters
    ----------
    scores : (B,) ascending. A comparison counted at ``scores[b]`` scores at least that and less than the next, so
        rates at these thresholds are exact.
    mated, nonmated : (B,) comparisons at each score. ``mated_replicas``, ``nonmated_replicas`` : (R, B).
    pairs : comparisons made, mated and non-mated. failed : comparisons that could not be made.
    subjects : people. units : people with mated comparisons, and pairs of different people.
    """

    scores: FloatArray = field(repr=False)
    mated: FloatArray = field(repr=False)
    nonmated: FloatArray = field(repr=False)
    mated_replicas: FloatArray = field(repr=False)
    nonmated_replicas: FloatArray = field(repr=False)
    pairs: tuple[int, int]
    failed: tuple[int, int]
    subjects: int
    units: tuple[int, int]

    def error_rates(self) -> ErrorRates:
        """Return the error rates at every score, and beyond the last, where nothing is accepted."""
        fmr, fnmr = _rates(self.mated, self.nonmated)
        (mated, nonmated), (lost, gone) = self.pairs, self.failed
        return ErrorRates(
            thresholds=np.append(self.scores, np.nextafter(self.scores[-1], np.inf)),
            fmr=fmr,
            fnmr=fnmr,
            gfar=fmr * nonmated / (nonmated + gone),
            gfrr=(fnmr * mated + lost) / (mated + lost),
            mated=mated,
            nonmated=nonmated,
            failed_mated=lost,
            failed_nonmated=gone,
        )

    def eer(self) -> float:
        """Return the rate where FMR and FNMR are equal."""
        return _crossing(*_rates(self.mated, self.nonmated))

    def to_frame(self) -> pd.DataFrame:
        import pandas as pd

        return pd.DataFrame({"score": self.scores, "mated": self.mated, "nonmated": self.nonmated})


@dataclass(frozen=True, slots=True, eq=False)
class Verification(Result):
    """Error rates of one-to-one comparison at stated FMRs, the EER, and how many comparisons of how many people.

    Parameters
    ----------
    rates : a row an asked FMR: asked, threshold, FMR, FMR_low, FMR_high, accepted (non-mated comparisons at or above
        the threshold), FNMR, FNMR_low, FNMR_high, rejected (mated ones below), GFAR, GFRR. Fewer than 30 errors
        say little: the interval tells how little.
    eer : with its interval, NaN ends without replicas.
    curve : rates at every threshold, for the DET.
    """

    rates: pd.DataFrame
    eer: Interval
    curve: ErrorRates = field(repr=False)
    mated: int
    nonmated: int
    failed_mated: int
    failed_nonmated: int
    subjects: int
    level: float

    def to_frame(self) -> pd.DataFrame:
        """Return the rates."""
        return self.rates.copy()

    def _repr_html_(self) -> str:
        table = table_html(self.rates)
        return (
            f"<p><b>EER {self.eer.estimate:.2%}</b> ({self.eer.low:.2%} – {self.eer.high:.2%}); {self.mated:,} mated "
            f"and {self.nonmated:,} non-mated comparisons of {self.subjects:,} people; {self.failed_mated:,} and "
            f"{self.failed_nonmated:,} could not be made; intervals {self.level:.0%}, people resampled.</p>{table}"
        )


def count_scores(
    mated: npt.ArrayLike,
    nonmated: npt.ArrayLike,
    *,
    subjects: tuple[npt.ArrayLike, npt.ArrayLike] | None = None,
    failed: tuple[int, int] = (0, 0),
    replicas: int = 500,
    rng: Seed = 0,
) -> ScoreCounts:
    """Count given scores; without ties of more than 8,192 different scores nothing is rounded.

    Parameters
    ----------
    mated, nonmated : (N,) and (M,) scores, higher is more similar.
    subjects : one or two subjects of each comparison, (N,) or (N, 2) and (M,) or (M, 2). Without them each
        comparison counts as one of its own people, which is too narrow where people occur more than once.
    failed : how many mated and non-mated comparisons could not be made.
    replicas : 0 for none, and no interval of the EER.

    Raises
    ------
    ShapeError : an empty or non-finite list, or subjects of another length. InputError : negative counts.

    >>> count_scores([0.9, 0.6], [0.6, 0.1], replicas=0).to_frame()["nonmated"].tolist()
    [1.0, 1.0, 0.0]
    """
    same, other = check_vector(mated, name="mated", minimum=1), check_vector(nonmated, name="nonmated", minimum=1)
    names = pair_subjects(subjects, len(same), len(other))
    distinct, codes = np.unique(names, return_inverse=True)
    codes = codes.reshape(names.shape)
    both = np.concatenate([same, other])
    scores = np.unique(both)
    if len(scores) > _BINS:
        scores = np.linspace(scores[0], scores[-1], _BINS)
    tally = _Tally(scores, len(distinct), replicas=replicas, rng=rng)
    tally.add(same, codes[: len(same), 0], codes[: len(same), 1], mated=True)
    tally.add(other, codes[len(same) :, 0], codes[len(same) :, 1], mated=False)
    crossed = np.sort(codes[len(same) :], axis=1)
    return tally.result(failed, units=(len(np.unique(codes[: len(same), 0])), len(np.unique(crossed, axis=0))))


def count_all_pairs(
    vectors: npt.ArrayLike,
    subjects: Sequence[str] | npt.ArrayLike,
    *,
    by_person: bool = False,
    replicas: int = 200,
    rng: Seed = 0,
) -> ScoreCounts:
    """Compare every template with every other and count the cosines, in steps of 0.00024; memory is bounded.

    Parameters
    ----------
    vectors : (N, D) templates, NaN rows where there is none: their comparisons count as failed.
    subjects : (N,) who is in each photo.
    by_person : each person weighs as one in mated and each pair of people as one in non-mated comparisons, so that
        who has many photos doesn't outvote the others.

    Raises
    ------
    ShapeError : other shapes. InputError : nobody has two photos, or there is one person only.
    """
    rows = check_array(vectors, shape=(None, None), name="vectors", finite=False)
    names = np.asarray(subjects).astype(str)
    if names.shape != (len(rows),):
        raise ShapeError(f"subjects: got shape {names.shape}, expected ({len(rows)},) as the templates")
    made = np.isfinite(rows).all(axis=1)
    failed = _pair_numbers(names) - _pair_numbers(names[made])
    if not (_pair_numbers(names[made]) > 0).all():
        raise InputError("got templates without a mated or without a non-mated pair, expected two photos of somebody")
    distinct, codes, photos = np.unique(names[made], return_inverse=True, return_counts=True)
    unit = rows[made] / np.linalg.norm(rows[made], axis=1, keepdims=True)
    tally = _Tally(np.linspace(-1, 1, _BINS + 1)[:-1], len(distinct), replicas=replicas, rng=rng)
    for i, j, scores in _all_pairs(unit):
        first, second = codes[i], codes[j]
        same = first == second
        weights = np.where(same, 2 / (photos[first] * np.maximum(photos[first] - 1, 1)),
                           1 / (photos[first] * photos[second])) if by_person else None  # fmt: skip
        for side in (True, False):
            here = same == side
            chosen = None if weights is None else weights[here]
            tally.add(scores[here], first[here], second[here], mated=side, weights=chosen)
    several = int((photos > 1).sum())
    return tally.result((int(failed[0]), int(failed[1])), units=(several, len(distinct) * (len(distinct) - 1) // 2))


def verification(
    counts: ScoreCounts, *, fmr: Sequence[float] = (1e-2, 1e-3, 1e-4), level: float = 0.95
) -> Verification:
    """Return FNMR at stated FMRs, and the EER, all with intervals over people.

    The threshold for an asked FMR is the lowest that doesn't exceed it. Intervals hold the threshold: they say how
    well its two rates are known. Those of FMR err on the wide side, as two people are drawn for each
    comparison; those of FNMR hold the truth 93 to 97 times in 100 where a person's comparisons fail together.

    Raises
    ------
    InputError : an FMR outside (0, 1).
    References : ISO/IEC 19795-1; Korn and Graubard 1998 (intervals of rates from clustered trials).

    >>> found = verification(count_scores([0.9, 0.8, 0.4], [0.1, 0.2, 0.5], replicas=0), fmr=[0.4])
    >>> found.rates[["threshold", "FMR", "FNMR"]].values.tolist()
    [[0.4, 0.333..., 0.0]]
    """
    import pandas as pd

    if not all(0 < value < 1 for value in fmr):
        raise InputError(f"fmr: got {list(fmr)}, expected rates between 0 and 1")
    curve = counts.error_rates()
    draws = [_rates(m, n) for m, n in zip(counts.mated_replicas, counts.nonmated_replicas, strict=True)]
    rows = []
    for asked in fmr:
        at = int(np.argmax(curve.fmr <= asked))
        row: dict[str, float] = {"asked": asked, "threshold": float(curve.thresholds[at])}
        for side, name, units in ((0, "FMR", counts.units[1]), (1, "FNMR", counts.units[0])):
            value = float((curve.fmr, curve.fnmr)[side][at])
            trials = counts.pairs[1 - side]
            spread = np.array([draw[side][at] for draw in draws])
            low, high = clustered_interval(
                value, trials, replicas=spread, units=units, subjects=counts.subjects, level=level
            )
            row |= {name: value, f"{name}_low": low, f"{name}_high": high}
            row |= {("accepted", "rejected")[side]: round(value * trials)}
        rows.append(row | {"GFAR": float(curve.gfar[at]), "GFRR": float(curve.gfrr[at])})
    replicated = np.array([_crossing(*draw) for draw in draws])
    ends = np.quantile(replicated, [(1 - level) / 2, (1 + level) / 2]) if len(draws) else (np.nan, np.nan)
    return Verification(
        rates=pd.DataFrame(rows),
        eer=Interval(
            _crossing(curve.fmr, curve.fnmr), float(ends[0]), float(ends[1]), level, counts.subjects, len(draws)
        ),
        curve=curve,
        mated=counts.pairs[0],
        nonmated=counts.pairs[1],
        failed_mated=counts.failed[0],
        failed_nonmated=counts.failed[1],
        subjects=counts.subjects,
        level=level,
    )


def pair_subjects(
    subjects: tuple[npt.ArrayLike, npt.ArrayLike] | None, mated: int, nonmated: int
) -> npt.NDArray[np.str_]:
    """Return (mated + nonmated, 2) who is on either side; somebody else in each comparison where nobody says.

    Raises
    ------
    ShapeError : subjects of another length than the scores.
    """
    if subjects is None:
        return np.repeat(np.arange(mated + nonmated).astype(str)[:, None], 2, axis=1)
    sides = [np.asarray(side).astype(str) for side in subjects]
    sides = [np.column_stack([side, side]) if side.ndim == 1 else side for side in sides]
    if [side.shape for side in sides] != [(mated, 2), (nonmated, 2)]:
        shapes = " and ".join(str(side.shape) for side in sides)
        raise ShapeError(f"subjects: got {shapes}, expected one or two names a score, of {mated} and {nonmated} scores")
    return np.concatenate(sides)


class _Tally:
    """Adds up comparisons by score, each in every replica as often as its two people were drawn."""

    def __init__(self, scores: FloatArray, subjects: int, *, replicas: int, rng: Seed) -> None:
        if replicas and subjects < 2:
            raise InputError("subjects: got one, expected at least two to resample")
        self.scores, self.subjects = scores, subjects
        drawn = make_rng(rng).multinomial(subjects, np.full(subjects, 1 / subjects), size=replicas)
        self.drawn = np.ascontiguousarray(drawn.T, dtype=np.float32)  # (subjects, R)
        self.counts = np.zeros((2, len(scores)))
        self.replicas = np.zeros((2, len(scores), replicas))
        self.pairs = [0, 0]

    def add(
        self, values: FloatArray, first: _IntArray, second: _IntArray, *, mated: bool,
        weights: FloatArray | None = None,
    ) -> None:  # fmt: skip
        from scipy.sparse import csr_matrix

        side = 0 if mated else 1
        self.pairs[side] += len(values)
        place = np.clip(np.searchsorted(self.scores, values, side="right") - 1, 0, len(self.scores) - 1)
        self.counts[side] += np.bincount(place, weights=weights, minlength=len(self.scores))
        for start in range(0, len(values) if self.drawn.shape[1] else 0, _PAIRS):
            part = slice(start, start + _PAIRS)
            product = self.drawn[first[part]]
            if not mated:
                product = product * self.drawn[second[part]]
            rows, where = np.unique(place[part], return_inverse=True)
            ones = np.ones(len(where), dtype=np.float32) if weights is None else weights[part].astype(np.float32)
            matrix = csr_matrix((ones, (where, np.arange(len(where)))), shape=(len(rows), len(where)))
            self.replicas[side, rows] += matrix @ product

    def result(self, failed: tuple[int, int], *, units: tuple[int, int]) -> ScoreCounts:
        if min(failed) < 0:
            raise InputError(f"failed: got {failed}, expected two counts, (mated, non-mated)")
        used = np.flatnonzero(self.counts.sum(axis=0))
        drawn = [side[used].T for side in self.replicas]
        whole = (drawn[0].sum(axis=1) > 0) & (drawn[1].sum(axis=1) > 0)  # a replica without one kind says nothing
        return ScoreCounts(
            scores=self.scores[used],
            mated=self.counts[0, used],
            nonmated=self.counts[1, used],
            mated_replicas=drawn[0][whole],
            nonmated_replicas=drawn[1][whole],
            pairs=(self.pairs[0], self.pairs[1]),
            failed=failed,
            subjects=self.subjects,
            units=units,
        )


def _all_pairs(unit: FloatArray) -> Iterator[tuple[_IntArray, _IntArray, FloatArray]]:
    """Yield places and cosines of each row with every later one, a block at a time."""
    start = 0
    while start < len(unit) - 1:
        stop = min(len(unit), start + max(1, _SCORES // (len(unit) - start)))
        block = unit[start:stop] @ unit[start:].T
        i, j = np.nonzero(np.triu(np.ones(block.shape, dtype=bool), k=1))
        yield i + start, j + start, block[i, j]
        start = stop


def _pair_numbers(names: npt.NDArray[np.str_]) -> npt.NDArray[np.int64]:
    """Return the numbers of mated and of non-mated pairs among photos of these people."""
    photos = np.unique(names, return_counts=True)[1]
    mated = int((photos * (photos - 1) // 2).sum())
    return np.array([mated, len(names) * (len(names) - 1) // 2 - mated])


def _rates(mated: FloatArray, nonmated: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return FMR and FNMR at each score and beyond the last, of counts by score."""
    below, under = np.append(0.0, np.cumsum(mated)), np.append(0.0, np.cumsum(nonmated))
    return (under[-1] - under) / under[-1], below / below[-1]


def _crossing(fmr: FloatArray, fnmr: FloatArray) -> float:
    """Return the rate where FMR, falling, and FNMR, rising, cross; straight between thresholds."""
    gap = fnmr - fmr
    after = int(np.argmax(gap >= 0))
    if gap[after] == 0 or after == 0:
        return float(fmr[after])
    share = -gap[after - 1] / (gap[after] - gap[after - 1])
    return float(fnmr[after - 1] + share * (fnmr[after] - fnmr[after - 1]))
