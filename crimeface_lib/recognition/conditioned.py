"""Likelihood ratios that know how good the photos were: one calibration for each stratum of quality.

A blurred photo's score says less. Where enough known pairs of such photos exist, they get a calibration of their own;
where they don't, this refuses, unless the caller asks for the calibration of all qualities by name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from crimeface_lib.core.arrays import check_array, check_vector
from crimeface_lib.core.errors import InputError, RefusedError, ShapeError
from crimeface_lib.core.random import Seed
from crimeface_lib.core.results import Result
from crimeface_lib.core.types import FloatArray
from crimeface_lib.metrics import Interval, bootstrap_interval, cllr, pair_subjects
from crimeface_lib.recognition.calibrate import Calibration, LikelihoodRatios, fit_calibration

if TYPE_CHECKING:
    import pandas as pd

#: Comparisons of each kind that a stratum needs.
MINIMUM = 100


@dataclass(frozen=True, slots=True, eq=False)
class QualityCalibration(Result):
    """One calibration a stratum of quality, the worse photo of a pair deciding, and one of all.

    Parameters
    ----------
    edges : (K + 1,) ascending; stratum k holds qualities from ``edges[k]`` and below ``edges[k + 1]``, the last its end
        too. strata : K calibrations. whole : of all pairs.
    """

    edges: tuple[float, ...]
    strata: tuple[Calibration, ...]
    whole: Calibration

    def likelihood_ratio(
        self, scores: npt.ArrayLike, quality: npt.ArrayLike, *, outside: str = "refuse", level: float = 0.95
    ) -> LikelihoodRatios:
        """Return LRs with intervals, each from the calibration of its quality.

        Parameters
        ----------
        scores : (N,). quality : (N,) of the worse photo of each pair.
        outside : "refuse", or "whole" to take the calibration of all pairs for qualities beyond the edges or unknown.

        Raises
        ------
        RefusedError : a quality that no stratum holds. ShapeError : unequal lengths. InputError : unknown ``outside``.
        """
        values = check_vector(scores, name="scores")
        worth = check_array(quality, shape=values.shape, name="quality", finite=False)
        if outside not in ("refuse", "whole"):
            raise InputError(f"outside: got {outside!r}, expected 'refuse' or 'whole'")
        place = self.stratum(worth)
        if outside == "refuse" and (place < 0).any():
            raise RefusedError(
                f"quality: {int((place < 0).sum())} of {len(place)} lie outside {self.edges[0]:g} to "
                f"{self.edges[-1]:g}, for which there is no calibration; take photos of known quality, or say "
                "outside='whole'"
            )
        parts = [*((c, place == k) for k, c in enumerate(self.strata)), (self.whole, place < 0)]
        filled: dict[str, Any] = {n: np.empty(len(values)) for n in ("lr", "low", "high")}
        filled["clamped"] = np.empty(len(values), dtype=bool)
        for calibration, here in parts:
            if here.any():
                found = calibration.likelihood_ratio(values[here], level=level)
                for name, column in filled.items():
                    column[here] = getattr(found, name)
        return LikelihoodRatios(score=values, level=level, **filled)

    def stratum(self, quality: FloatArray) -> npt.NDArray[np.int64]:
        """Return the stratum of each quality, −1 where none holds it."""
        edges = np.array(self.edges)
        place = np.searchsorted(edges, quality, side="right") - 1
        place[quality == edges[-1]] = len(self.strata) - 1
        return np.where((quality >= edges[0]) & (quality <= edges[-1]), place, -1)

    def to_frame(self) -> pd.DataFrame:
        """Return a row a stratum: its edges, comparisons, people, bounds, EER and Cllr."""
        import pandas as pd

        rows = [
            {"from": low, "to": high, "mated": c.pairs[0], "nonmated": c.pairs[1], "people": c.subjects,
             "log10_lr_low": c.bounds[0], "log10_lr_high": c.bounds[1], "EER": c.quality["EER"],
             "Cllr": c.quality["Cllr"]}
            for low, high, c in zip(self.edges[:-1], self.edges[1:], self.strata, strict=True)
        ]  # fmt: skip
        return pd.DataFrame(rows)


def fit_quality_calibration(
    mated: npt.ArrayLike,
    nonmated: npt.ArrayLike,
    *,
    quality: tuple[npt.ArrayLike, npt.ArrayLike],
    edges: Sequence[float],
    subjects: tuple[npt.ArrayLike, npt.ArrayLike] | None = None,
    minimum: int = MINIMUM,
    method: str = "logistic",
    replicas: int = 200,
    rng: Seed = 0,
    **provenance: str,
) -> QualityCalibration:
    """Return calibrations fitted to pairs of like quality; ``cllr_gain`` tells whether they are worth having.

    Parameters
    ----------
    mated, nonmated : (N,) and (M,) scores. quality : (N,) and (M,) quality of the worse photo of each pair.
    edges : of the strata, ascending; pairs outside only count in the calibration of all.
    subjects, method, replicas, provenance : as in ``fit_calibration``.
    minimum : comparisons of each kind in each stratum.

    Raises
    ------
    InputError : a stratum with too few pairs, or edges that don't rise. ShapeError : unequal lengths.
    """
    scores = check_vector(mated, name="mated", minimum=1), check_vector(nonmated, name="nonmated", minimum=1)
    limits = tuple(float(edge) for edge in edges)
    if len(limits) < 2 or not all(a < b for a, b in pairwise(limits)):
        raise InputError(f"edges: got {limits}, expected two or more, ascending")
    worth = [check_array(q, shape=s.shape, name="quality", finite=False) for q, s in zip(quality, scores, strict=True)]
    names = pair_subjects(subjects, len(scores[0]), len(scores[1]))
    people = names[: len(scores[0])], names[len(scores[0]) :]
    options: dict[str, Any] = {"method": method, "replicas": replicas, "rng": rng, **provenance}
    whole = fit_calibration(*scores, subjects=people, **options)
    places = [QualityCalibration(limits, (whole,) * (len(limits) - 1), whole).stratum(q) for q in worth]
    strata = []
    for k, (low, high) in enumerate(pairwise(limits)):
        here = [place == k for place in places]
        held = [int(side.sum()) for side in here]
        if min(held) < minimum:
            raise InputError(
                f"quality {low:g} to {high:g}: got {held[0]} mated and {held[1]} non-mated pairs, expected "
                f"{minimum} of each; join it with its neighbour or collect more pairs"
            )
        chosen = [(s[h], n[h]) for s, n, h in zip(scores, people, here, strict=True)]
        strata.append(fit_calibration(chosen[0][0], chosen[1][0], subjects=(chosen[0][1], chosen[1][1]), **options))
    return QualityCalibration(limits, tuple(strata), whole)


def cllr_gain(
    before: npt.ArrayLike,
    after: npt.ArrayLike,
    mated: npt.ArrayLike,
    *,
    subjects: npt.ArrayLike,
    replicas: int = 500,
    level: float = 0.95,
    rng: Seed = 0,
) -> Interval:
    """Return by how much other LRs of the same comparisons lower Cllr, with an interval over people.

    An interval that reaches 0 says that no gain was shown.

    Parameters
    ----------
    before, after : (N,) LRs of comparisons not used for either calibration. mated : (N,) bool.
    subjects : (N, 2) who is on either side.

    Raises
    ------
    ShapeError : unequal lengths.
    """
    old, new, same = np.asarray(before, float), np.asarray(after, float), np.asarray(mated, bool)
    if not old.shape == new.shape == same.shape or np.shape(subjects) != (len(same), 2):
        raise ShapeError(
            f"got {old.shape}, {new.shape}, {same.shape} and subjects {np.shape(subjects)}, expected one N"
        )

    def gain(weights: FloatArray) -> float:
        split = weights[same], weights[~same]
        if not (split[0].any() and split[1].any()):
            return float("nan")
        return cllr(old[same], old[~same], weights=split) - cllr(new[same], new[~same], weights=split)

    return bootstrap_interval(gain, subjects, replicas=replicas, level=level, rng=rng)
