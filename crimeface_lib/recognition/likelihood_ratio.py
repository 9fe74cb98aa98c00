"""Likelihood ratios of scores: what a calibration is, what it says of a score, and how it is kept."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from crimeface_lib.core.arrays import check_vector
from crimeface_lib.core.errors import InputError, NotFoundError
from crimeface_lib.core.files import write_atomic
from crimeface_lib.core.results import Result
from crimeface_lib.core.types import FloatArray

if TYPE_CHECKING:
    import pandas as pd

#: Of the calibration scores, kept for figures.
QUANTILES = np.linspace(0, 1, 101)
_ARRAYS = ("knots", "log10_lr", "replicas", "mated", "nonmated", "tail", "photo_quality")


@dataclass(frozen=True, slots=True, eq=False)
class LikelihoodRatios(Result):
    """LR of N scores with intervals.

    Parameters
    ----------
    lr, low, high : (N,) ratio and the ends of its interval.
    clamped : (N,) bool: held at the limit of what the calibration data support; beyond it, only the direction
        is known.
    """

    score: FloatArray
    lr: FloatArray
    low: FloatArray
    high: FloatArray
    clamped: npt.NDArray[np.bool_]
    level: float

    def to_frame(self) -> pd.DataFrame:
        import pandas as pd

        names = ("score", "lr", "low", "high", "clamped")
        return pd.DataFrame({name: getattr(self, name) for name in names})


@dataclass(frozen=True, slots=True, eq=False)
class Calibration(Result):
    """A map from score to log10 LR, its bootstrap replicas, its limits and where it comes from.

    Parameters
    ----------
    knots : (K,) scores, ascending. log10_lr : (K,) at the knots; straight lines between.
    replicas : (R, K) the same from resampled subjects.
    bounds : lowest and highest log10 LR the data support: see ``fit_calibration``.
    mated, nonmated : quantiles (0 … 1 in hundredths) of the calibration scores, for figures. tail : (T, 2) score, and
        share of the non-mated comparisons that reach it, further out.
    photo_quality : quantiles of the quality of the calibration's photos, 0–100; empty where it is not known.
    pairs, subjects : how many mated and non-mated comparisons, of how many people; failed : comparisons that
        could not be made.
    dataset, protocol, embedder, version, code, made_at : where it comes from. quality : EER, Cllr, Cllr_min.
    """

    method: str
    knots: FloatArray
    log10_lr: FloatArray
    replicas: FloatArray = field(repr=False)
    bounds: tuple[float, float]
    mated: FloatArray = field(repr=False)
    nonmated: FloatArray = field(repr=False)
    pairs: tuple[int, int]
    failed: int
    subjects: int
    quality: dict[str, float]
    dataset: str = ""
    protocol: str = ""
    embedder: str = ""
    version: str = ""
    code: str = ""
    made_at: str = ""
    tail: FloatArray = field(default_factory=lambda: np.empty((0, 2)), repr=False)
    photo_quality: FloatArray = field(default_factory=lambda: np.empty(0), repr=False)

    def likelihood_ratio(self, scores: npt.ArrayLike, *, level: float = 0.95) -> LikelihoodRatios:
        """Return LRs with intervals, clamped to ``bounds`` and to the range of the calibration scores.

        Raises
        ------
        ShapeError : NaN or not a list of scores.
        """
        values = check_vector(np.atleast_1d(np.asarray(scores, dtype=float)), name="scores")
        low, high = self.bounds
        free = np.interp(values, self.knots, self.log10_lr)
        clamped = (free < low) | (free > high) | (values < self.knots[0]) | (values > self.knots[-1])
        ends = self.interval(values, level=level)
        return LikelihoodRatios(
            score=values, lr=10.0 ** np.clip(free, low, high), low=ends[0], high=ends[1], clamped=clamped, level=level
        )

    def interval(self, scores: npt.ArrayLike, *, level: float = 0.95) -> tuple[FloatArray, FloatArray]:
        """Return the ends of the percentile interval of the LR over resampled subjects, within ``bounds``."""
        values = check_vector(np.atleast_1d(np.asarray(scores, dtype=float)), name="scores")
        if not 0 < level < 1:
            raise InputError(f"level: got {level}, expected a number between 0 and 1")
        spread = np.array([np.interp(values, self.knots, row) for row in self.replicas])
        ends = np.quantile(np.clip(spread, *self.bounds), [(1 - level) / 2, (1 + level) / 2], axis=0)
        return 10.0 ** ends[0], 10.0 ** ends[1]

    def fmr(self, scores: npt.ArrayLike) -> FloatArray:
        """Return the share of the calibration's non-mated comparisons that reach each score; straight in its log.

        Beyond the highest kept it is the last share kept, never 0: it was not seen, which is not never.
        """
        values = check_vector(np.atleast_1d(np.asarray(scores, dtype=float)), name="scores")
        middle = np.column_stack([self.nonmated, 1 - QUANTILES])[:-1]  # of the highest, no share is known
        known = np.concatenate([middle[middle[:, 1] > self.tail[:, 1].max(initial=0)], self.tail])
        return np.exp(np.interp(values, known[:, 0], np.log(known[:, 1])))

    def summary(self) -> dict[str, Any]:
        """Return what a report prints: all but the long arrays."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name not in _ARRAYS}

    def to_frame(self) -> pd.DataFrame:
        import pandas as pd

        low, high = (f"{10**end:.2g}" for end in self.bounds)
        quality = self.quality
        rows = {
            "data set": self.dataset or "unnamed",
            "comparisons": f"{self.pairs[0]:,} of one person, {self.pairs[1]:,} of different people",
            "people": f"{self.subjects:,}",
            "could not be compared": f"{self.failed:,} pairs",
            "quality of the photos": _range_of(self.photo_quality),
            "protocol": self.protocol or "not told",
            "method": f"{self.method}; interval from {len(self.replicas)} bootstrap replicas of the people",
            "likelihood ratios held between": f"{low} and {high}",
            "equal error rate": f"{quality['EER']:.2%}",
            "cost of the ratios, Cllr": f"{quality['Cllr']:.3f} (0 is perfect, 1 says nothing)",
            "embedder": f"{self.embedder} {self.version[:12]}…",
            "made": f"{self.made_at[:10]} with crimeface {self.code}",
        }
        return pd.DataFrame({"calibration": list(rows), "": list(rows.values())})

    def save(self, path: str | Path) -> None:
        """Write the calibration as JSON: numbers and provenance, no template and no name."""
        record = {f.name: getattr(self, f.name) for f in fields(self)}
        plain = {
            k: np.round(v, 9 if k == "tail" else 6).tolist() if isinstance(v, np.ndarray) else v
            for k, v in record.items()
        }
        write_atomic(Path(path), (json.dumps(plain, ensure_ascii=False) + "\n").encode())

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Calibration:
        """Return the calibration that ``save`` wrote.

        Raises
        ------
        InputError : fields are missing or unknown.
        """
        try:
            values: dict[str, Any] = {k: np.array(v, dtype=float) if k in _ARRAYS else v for k, v in record.items()}
            values |= {k: tuple(values[k]) for k in ("bounds", "pairs")}
            return cls(**values)
        except (TypeError, KeyError) as error:
            raise InputError(f"calibration: {error}; make it again with calibrate_on_pairs") from error


def _range_of(quality: FloatArray) -> str:
    if not len(quality):
        return "not known"
    return f"median {quality[50]:.0f} of 100; 98 % of them from {quality[1]:.0f} to {quality[99]:.0f}"


def load_calibration(name: str | Path = "dlib") -> Calibration:
    """Return a calibration that comes with the library, or that ``Calibration.save`` wrote (a path, ``.json``).

    "dlib" was fitted to LFW DevTrain: celebrities' press photos, frontal, well lit. It does not carry over to
    CCTV, to children or to groups that LFW hardly holds; fit your own to pairs that resemble the case.

    Raises
    ------
    NotFoundError : no such calibration. InputError : a file that holds none.

    >>> load_calibration("dlib").embedder
    'dlib'
    """
    own = Path(name).suffix == ".json"
    file = Path(name) if own else resources.files("crimeface_lib.recognition") / f"calibration_{name}.json"
    if not file.is_file():
        raise NotFoundError(
            f"no calibration {str(name)!r} comes with the library; there is: dlib; fit one with calibrate_on_photos, "
            "save it as .json and give its path"
        )
    try:
        return Calibration.from_dict(json.loads(file.read_text("utf-8")))
    except (ValueError, AttributeError) as error:
        raise InputError(f"calibration {file.name}: {error}; expected what Calibration.save wrote") from error
