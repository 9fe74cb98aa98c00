"""How often a person who is not on the list would still yield a candidate: the FPIR, which grows with the list."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from crimeface_lib.core.errors import InputError
from crimeface_lib.core.results import Result
from crimeface_lib.core.types import Float32Array
from crimeface_lib.metrics import rate_interval
from crimeface_lib.recognition.search import blocks

if TYPE_CHECKING:
    from crimeface_lib.recognition.calibrate import Calibration


@dataclass(frozen=True, slots=True)
class OpenSetRate(Result):
    """The false positive identification rate (FPIR) of a threshold on a list of ``gallery_size`` entries.

    Parameters
    ----------
    fpir, low, high : the rate and its interval at ``level``.
    false, trials : what it was counted from. unit : what a trial is.
    evaluated : how many entries each trial was compared with.
    method : in words.
    """

    threshold: float
    gallery_size: int
    fpir: float
    low: float
    high: float
    level: float
    false: int
    trials: int
    unit: str
    evaluated: int
    method: str

    @property
    def sentence(self) -> str:
        """The rate in words, with what it rests on."""
        said = (
            f"At the threshold {self.threshold:.3f}, a person who is not among these {self.gallery_size:,} entries "
            f"would still yield a candidate in {self.fpir:.1%} of searches ({self.low:.1%} – {self.high:.1%}; "
            f"{self.false:,} in {self.trials:,} {self.unit}; {self.method})."
        )
        if self.trials < 10 * self.gallery_size and self.evaluated == 1:
            said += (
                f" So few comparisons can't tell what happens in lists of {self.gallery_size:,}: take it for a guess."
            )
        return said


def fpir_from_calibration(
    calibration: Calibration, *, threshold: float, gallery_size: int, level: float = 0.95
) -> OpenSetRate:
    """Return the FPIR that a calibration's scores of different people imply: 1 − (1 − FMR)^N.

    It takes the comparisons of a search for independent and as hard as those of the calibration. The number of
    comparisons above the threshold is read from the calibration's tail, rounded up.

    Raises
    ------
    InputError : a threshold that is no number, or less than no entry.

    References : ISO/IEC 19795-1 (FPIR); the independence is its assumption, not a finding.
    """
    if not np.isfinite(threshold) or gallery_size < 0:
        raise InputError(f"got threshold {threshold} and {gallery_size} entries, expected a score and a count")
    people = calibration.subjects
    trials = min(calibration.pairs[1], people * (people - 1) // 2)  # photos of the same two people stand for one
    seen = threshold <= calibration.nonmated[-1]
    false = int(np.ceil(round(float(calibration.fmr(threshold)[0]) * trials, 9))) if seen else 0
    low, high = rate_interval(false, trials, level=level)
    grown = [float(-np.expm1(gallery_size * np.log1p(-min(rate, 1 - 1e-15)))) for rate in (false / trials, low, high)]
    return OpenSetRate(
        threshold=float(threshold),
        gallery_size=gallery_size,
        fpir=grown[0],
        low=grown[1],
        high=grown[2],
        level=level,
        false=false,
        trials=trials,
        unit="comparisons of different people",
        evaluated=1,
        method="1 − (1 − FMR)^N from the calibration, as if comparisons were independent",
    )


def fpir_of_gallery(
    rows: Float32Array,
    people: npt.NDArray[np.int64],
    *,
    threshold: float,
    probes: npt.NDArray[np.int64],
    level: float = 0.95,
) -> OpenSetRate:
    """Return the FPIR measured on a gallery: some of its entries searched among those of all other people.

    Parameters
    ----------
    rows : (N, D) float32, unit length. people : (N,) number of the person of each row, −1 of one that takes no part.
    probes : row numbers, of a person each.

    Raises
    ------
    InputError : nobody to search, or nobody else to search among.
    """
    size = int((people >= 0).sum())
    if not np.isfinite(threshold) or not len(probes) or len(np.unique(people[people >= 0])) < 2:
        raise InputError("got fewer than two people or no threshold, expected a gallery to measure on")
    best = np.full(len(probes), -np.inf)
    for some in np.array_split(np.arange(len(probes)), max(1, len(probes) // 64)):
        for start, scores in blocks(rows, rows[probes[some]]):
            others = people[start : start + scores.shape[1]][None, :]
            scores[(others == people[probes[some]][:, None]) | (others < 0)] = -np.inf
            best[some] = np.maximum(best[some], scores.max(axis=1))
    false, trials = int((best >= threshold).sum()), len(probes)
    low, high = rate_interval(false, trials, level=level)
    return OpenSetRate(
        threshold=float(threshold),
        gallery_size=size,
        fpir=false / trials,
        low=low,
        high=high,
        level=level,
        false=false,
        trials=trials,
        unit="people of the list",
        evaluated=size,
        method="an entry each, searched among those of all other people; the photos are references, not probes",
    )
