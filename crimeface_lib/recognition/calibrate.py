"""From scores to likelihood ratios, held within what the calibration data can support.

The shipped calibration is made from LFW's development list by::

    from crimeface_lib.recognition import calibrate_on_pairs
    calibrate_on_pairs("lfw/images", "lfw/pairsDevTrain.txt", rng=0, at=utc_now()).save("calibration_dlib.json")
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from crimeface_lib import __version__
from crimeface_lib.core.arrays import check_array, check_vector
from crimeface_lib.core.clock import to_iso
from crimeface_lib.core.errors import InputError, NotFoundError, ShapeError
from crimeface_lib.core.files import write_atomic
from crimeface_lib.core.random import Seed, make_rng
from crimeface_lib.core.results import Result
from crimeface_lib.core.types import FloatArray
from crimeface_lib.faces import read_pairs
from crimeface_lib.metrics import cllr, cllr_min, eer, fit_logistic, pav_log_lr, subject_weights
from crimeface_lib.recognition.compare import score_pairs
from crimeface_lib.recognition.embed import embed_images

if TYPE_CHECKING:
    import pandas as pd

METHODS = ("logistic", "pav")
_QUANTILES = np.linspace(0, 1, 101)


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
    bounds : lowest and highest log10 LR the data support.
    mated, nonmated : quantiles (0 … 1 in hundredths) of the calibration scores, for figures.
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

    def summary(self) -> dict[str, Any]:
        """Return what a report prints: all but the long arrays."""
        long = ("knots", "log10_lr", "replicas", "mated", "nonmated")
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name not in long}

    def to_frame(self) -> pd.DataFrame:
        import pandas as pd

        low, high = (f"{10**end:.2g}" for end in self.bounds)
        quality = self.quality
        rows = {
            "data set": self.dataset or "unnamed",
            "comparisons": f"{self.pairs[0]:,} of one person, {self.pairs[1]:,} of different people",
            "people": f"{self.subjects:,}",
            "could not be compared": f"{self.failed:,} pairs",
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
        plain = {k: np.round(v, 6).tolist() if isinstance(v, np.ndarray) else v for k, v in record.items()}
        write_atomic(Path(path), (json.dumps(plain, ensure_ascii=False) + "\n").encode())

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Calibration:
        """Return the calibration that ``save`` wrote.

        Raises
        ------
        InputError : fields are missing or unknown.
        """
        arrays = ("knots", "log10_lr", "replicas", "mated", "nonmated")
        try:
            values: dict[str, Any] = {k: np.array(v, dtype=float) if k in arrays else v for k, v in record.items()}
            values |= {k: tuple(values[k]) for k in ("bounds", "pairs")}
            return cls(**values)
        except (TypeError, KeyError) as error:
            raise InputError(f"calibration: {error}; make it again with calibrate_on_pairs") from error


def fit_calibration(
    mated: npt.ArrayLike,
    nonmated: npt.ArrayLike,
    *,
    method: str = "logistic",
    subjects: tuple[npt.ArrayLike, npt.ArrayLike] | None = None,
    replicas: int = 200,
    rng: Seed = 0,
    failed: int = 0,
    **provenance: str,
) -> Calibration:
    """Return a calibration fitted to scores of pairs with known truth.

    Bounds are empirical: the largest (smallest) LR that would still be worth claiming if one more misleading
    comparison were seen, so never more than the number of non-mated (mated) comparisons.

    Parameters
    ----------
    mated, nonmated : (N,) and (M,) scores, at least 20 each.
    method : "logistic" (a straight line in log odds) or "pav" (any monotone curve).
    subjects : one or two subjects of each comparison, (N,) or (N, 2) and (M,) or (M, 2); resampled for the
        intervals. Without them each comparison counts as a subject of its own, which is too narrow where
        people occur more than once.
    failed : comparisons that could not be made.
    provenance : dataset, protocol, embedder, version, code, made_at.

    Raises
    ------
    ShapeError : too few scores. InputError : unknown method, or scores that carry no information.
    References : Brümmer and du Preez 2006; Vergeer et al. 2016 (empirical bounds); ENFSI BPM-DI-01.
    """
    same = check_vector(mated, name="mated", minimum=20)
    other = check_vector(nonmated, name="nonmated", minimum=20)
    if method not in METHODS:
        raise InputError(f"method: got {method!r}, expected {' or '.join(METHODS)}")
    both = np.concatenate([same, other])
    knots = np.array([both.min(), both.max()]) if method == "logistic" else np.unique(np.quantile(both, _QUANTILES))
    log10_lr = _fit(same, other, np.ones(len(both)), knots, method)
    if log10_lr[0] >= log10_lr[-1]:
        raise InputError("got scores that don't rise from non-mated to mated, expected higher to mean more similar")
    names = _names(subjects, len(same), len(other))
    drawn = subject_weights(names, replicas=replicas, rng=make_rng(rng))
    usable = (drawn[:, : len(same)].sum(axis=1) > 0) & (drawn[:, len(same) :].sum(axis=1) > 0)
    log10_same, log10_other = np.interp(same, knots, log10_lr), np.interp(other, knots, log10_lr)
    ratios = 10.0**log10_same, 10.0**log10_other
    return Calibration(
        method=method,
        knots=knots,
        log10_lr=log10_lr,
        replicas=np.array([_fit(same, other, row, knots, method) for row in drawn[usable]]),
        bounds=(-_upper_bound(-log10_other, -log10_same), _upper_bound(log10_same, log10_other)),
        mated=np.quantile(same, _QUANTILES),
        nonmated=np.quantile(other, _QUANTILES),
        pairs=(len(same), len(other)),
        failed=failed,
        subjects=len(np.unique(names)),
        quality={"EER": eer(same, other), "Cllr": cllr(*ratios), "Cllr_min": cllr_min(same, other)},
        **provenance,
    )


def load_calibration(name: str = "dlib") -> Calibration:
    """Return a calibration that comes with the library.

    "dlib" was fitted to LFW DevTrain: celebrities' press photos, frontal, well lit. It does not carry over to
    CCTV, to children or to groups that LFW hardly holds; fit your own to pairs that resemble the case.

    Raises
    ------
    NotFoundError : no such calibration.

    >>> load_calibration("dlib").pairs
    (1094, 1099)
    """
    file = resources.files("crimeface_lib.recognition") / f"calibration_{name}.json"
    if not file.is_file():
        raise NotFoundError(
            f"no calibration {name!r} comes with the library; there is: dlib; fit one with fit_calibration"
        )
    return Calibration.from_dict(json.loads(file.read_text("utf-8")))


def calibrate_on_pairs(
    images: str | Path,
    pairs: str | Path,
    *,
    rng: Seed = 0,
    at: datetime,
    device: str | None = None,
    limit: int | None = None,
) -> Calibration:
    """Return a calibration of the default pipeline on a list of pairs in LFW's format.

    Parameters
    ----------
    images : folder with ``<name>/<name>_<number>.jpg``.
    pairs : text file; after its first line, ``name  i  j`` is a mated and ``name  i  name  j`` a non-mated pair.
    at : time of making, for the provenance.
    limit : take every k-th pair so that about this many remain.

    Raises
    ------
    InputError : not such a list. Photos that can't be read or show no face count in ``failed``.
    """
    listed = read_pairs(pairs)
    listed = listed[:: max(1, len(listed) // limit)] if limit else listed
    files = sorted({file for a, b, _ in listed for file in (a, b)})
    found = embed_images((Path(images) / file for file in files), device=device, which="central")
    row = {file: i for i, file in enumerate(files)}
    made = [p for p in listed if row[p[0]] not in found.failures and row[p[1]] not in found.failures]
    scores = score_pairs(found.vectors[[row[p[0]] for p in made]], found.vectors[[row[p[1]] for p in made]])
    same = np.array([p[2] for p in made])
    people = np.array([[Path(a).parent.name, Path(b).parent.name] for a, b, _ in made])
    return fit_calibration(
        scores[same],
        scores[~same],
        subjects=(people[same], people[~same]),
        rng=rng,
        failed=len(listed) - len(made),
        dataset=f"Labeled Faces in the Wild (deep funneled), {Path(pairs).name}",
        protocol="the face nearest to the middle; dlib detector, 150-px chip, mean of face and mirror image, cosine",
        embedder=found.embedder,
        version=found.version,
        code=__version__,
        made_at=to_iso(at),
    )


def _fit(same: FloatArray, other: FloatArray, weights: FloatArray, knots: FloatArray, method: str) -> FloatArray:
    """Return log10 LR at the knots from weighted scores."""
    w_same, w_other = weights[: len(same)], weights[len(same) :]
    if method == "logistic":
        a, b = fit_logistic(same, other, weights=(w_same, w_other))
        return (a + b * knots) / np.log(10)
    repeated = np.repeat(same, w_same.astype(int)), np.repeat(other, w_other.astype(int))
    scores, log_lr = pav_log_lr(*repeated)
    limits = np.log(len(same) + 1.0), np.log(len(other) + 1.0)
    return np.interp(knots, scores, np.clip(log_lr, -limits[0], limits[1])) / np.log(10)


def _upper_bound(mated: FloatArray, nonmated: FloatArray) -> float:
    """Return the largest log10 LR that pays: at it, the share of mated comparisons that reach it, over the share
    of non-mated ones with one more added, is at least the LR itself."""
    seen = np.sort(mated)
    share = 1 - np.arange(len(seen)) / len(seen)
    above = len(nonmated) - np.searchsorted(np.sort(nonmated), seen, side="left")
    worth = np.log10(share * (len(nonmated) + 1) / (above + 1))
    # claiming min(t, worth) is always supported; the best such claim is the bound
    return float(max(0.0, np.minimum(seen, worth).max()))


def _names(subjects: tuple[npt.ArrayLike, npt.ArrayLike] | None, mated: int, nonmated: int) -> npt.NDArray[Any]:
    if subjects is None:
        return np.arange(mated + nonmated)
    first, second = np.asarray(subjects[0]), np.asarray(subjects[1])
    if first.ndim == 1:
        first = np.column_stack([first, first])
    if second.ndim == 1:
        second = np.column_stack([second, second])
    if len(first) != mated or len(second) != nonmated:
        raise ShapeError(f"subjects: got {len(first)} and {len(second)}, expected {mated} and {nonmated} as scores")
    return check_array(np.concatenate([first, second]), shape=(None, 2), name="subjects", dtype=np.str_, finite=False)
