"""What photo quality is worth: errors left when the worst are discarded, and quality by group (ISO/IEC 29794)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from crimeface_lib.core.arrays import check_array
from crimeface_lib.core.errors import InputError, ShapeError
from crimeface_lib.core.random import Seed
from crimeface_lib.core.results import Result
from crimeface_lib.core.types import FloatArray
from crimeface_lib.metrics.biometric import rate_interval
from crimeface_lib.metrics.bootstrap import bootstrap_interval

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True, eq=False)
class DiscardCurve(Result):
    """FNMR among the comparisons that are left, as those of the lowest quality are discarded.

    Parameters
    ----------
    table : a row a step: floor (comparisons below this quality are discarded), discarded (their share), left, FNMR
        among those left, ideal (what discarding only errors would give), FTE (share of photos below the floor or
        without a template) and GFRR (discarded or failed comparisons counted as rejected). FTE is NaN without photos.
    threshold : of the score. comparisons : mated ones, failed ones included. images : photos; 0 where not given.
    gain : area between no gain and the curve, as a share of the ideal's: 0 tells nothing, 1 is perfect; over the
        first ``partial`` of discarding. Below 0 the quality misleads. low, high : its interval over people.
    """

    table: pd.DataFrame = field(repr=False)
    threshold: float
    comparisons: int
    failed: int
    images: int
    gain: float
    low: float
    high: float
    partial: float
    subjects: int
    level: float

    def to_frame(self) -> pd.DataFrame:
        """Return the table."""
        return self.table.copy()


def error_versus_discard(
    mated: npt.ArrayLike,
    quality: npt.ArrayLike,
    *,
    threshold: float | None = None,
    fnmr: float = 0.05,
    images: npt.ArrayLike | None = None,
    partial: float = 0.2,
    subjects: npt.ArrayLike | None = None,
    replicas: int = 200,
    level: float = 0.95,
    rng: Seed = 0,
) -> DiscardCurve:
    """Return how FNMR falls when comparisons of low quality are discarded, and what that costs in failures to enrol.

    Parameters
    ----------
    mated : (N,) scores of mated comparisons, NaN where one could not be made.
    quality : (N,) quality of the worse photo of each. Equal qualities are discarded together.
    threshold : of the score; by default where the FNMR with all comparisons is about ``fnmr``.
    images : (M,) quality of each photo, NaN where it gave no template: makes FTE.
    subjects : (N,) whose comparison it is, resampled for the interval of the gain.

    Raises
    ------
    ShapeError : unequal lengths, or fewer than two comparisons. InputError : a share outside (0, 1).
    References : ISO/IEC 29794-1; Grother and Tabassi 2007; Schlett et al. 2023 (partial curves, ideal).

    >>> curve = error_versus_discard([0.9, 0.8, 0.2, 0.7], [80, 70, 10, 60], threshold=0.5)
    >>> curve.table[["discarded", "FNMR"]].values.tolist()[:2]
    [[0.0, 0.25], [0.25, 0.0]]
    """
    import pandas as pd

    scores = check_array(mated, shape=(None,), name="mated", finite=False)
    worth = check_array(quality, shape=scores.shape, name="quality", finite=False)
    made = ~np.isnan(scores)
    if not 0 < fnmr < 1 or not 0 < partial < 1:
        raise InputError(f"got fnmr {fnmr}, partial {partial}, expected shares between 0 and 1")
    if made.sum() < 2 or np.isnan(worth[made]).any():
        raise ShapeError(f"got {int(made.sum())} comparisons with a score, expected two or more, each with a quality")
    at = float(np.quantile(scores[made], fnmr)) if threshold is None else float(threshold)
    wrong = (scores[made] < at).astype(float)
    kept = worth[made]
    floor, share, left, rate = _steps(kept, wrong, np.ones(len(kept)))
    photos = None if images is None else check_array(images, shape=(None,), name="images", finite=False)
    total = len(scores)
    table = pd.DataFrame({"floor": floor, "discarded": share, "left": left.astype(int), "FNMR": rate})
    table["ideal"] = _ideal(float(wrong.mean()), share)
    table["FTE"] = np.nan if photos is None else [(np.isnan(photos) | (photos < f)).mean() for f in floor]
    table["GFRR"] = (total - left * (1 - rate)) / total
    who = np.arange(total) if subjects is None else np.asarray(subjects)
    if len(who) != total:
        raise ShapeError(f"subjects: got {len(who)}, expected {total}")
    found = bootstrap_interval(
        lambda w: _gain(kept, wrong, w, partial=partial), who[made], replicas=replicas, level=level, rng=rng
    )
    return DiscardCurve(
        table=table,
        threshold=at,
        comparisons=total,
        failed=total - int(made.sum()),
        images=0 if photos is None else len(photos),
        gain=found.estimate,
        low=found.low,
        high=found.high,
        partial=partial,
        subjects=found.subjects,
        level=level,
    )


def quality_by_group(
    quality: npt.ArrayLike, groups: npt.ArrayLike, *, floor: float, minimum: int = 30, level: float = 0.95
) -> pd.DataFrame:
    """Return the quality of each group's photos, and how many of them a quality gate turns away as failed to enrol.

    Parameters
    ----------
    quality : (N,) NaN where a photo gave no template: below every floor.
    groups : (N,) of the person in each photo. floor : photos below this quality are turned away.
    minimum : groups of fewer photos are withheld (NaN).

    Returns
    -------
    A row a group: group, images, q10, median, q90 (of photos with a template), FTE, FTE_low, FTE_high, and
    ``difference``, its median less that of all.

    Raises
    ------
    ShapeError : unequal lengths.

    >>> quality_by_group([10.0, 50.0, float("nan")], ["a", "a", "a"], floor=20, minimum=2)["FTE"].tolist()
    [0.666...]
    """
    import pandas as pd

    values = check_array(quality, shape=(None,), name="quality", finite=False)
    names = np.asarray(groups).astype(str)
    if names.shape != values.shape:
        raise ShapeError(f"groups: got shape {names.shape}, expected {values.shape} as quality")
    everyone = float(np.nanmedian(values)) if np.isfinite(values).any() else np.nan
    rows = []
    for name in np.unique(names):
        own = values[names == name]
        known = own[~np.isnan(own)]
        enough = len(own) >= minimum
        away = int((np.isnan(own) | (own < floor)).sum())
        q10, median, q90 = np.quantile(known, [0.1, 0.5, 0.9]) if enough and len(known) else [np.nan] * 3
        low, high = rate_interval(away, len(own), level=level) if enough else (np.nan, np.nan)
        rows.append({
            "group": name, "images": len(own), "q10": q10, "median": median, "q90": q90,
            "difference": median - everyone, "FTE": away / len(own) if enough else np.nan,
            "FTE_low": low, "FTE_high": high,
        })  # fmt: skip
    return pd.DataFrame(rows)


def _steps(
    quality: FloatArray, wrong: FloatArray, weights: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Return floor, share discarded, weight left and error rate left, before each distinct quality is discarded."""
    floor, place = np.unique(quality, return_inverse=True)
    held = np.bincount(place, weights=weights)
    bad = np.bincount(place, weights=weights * wrong)
    left, errors = held[::-1].cumsum()[::-1], bad[::-1].cumsum()[::-1]
    some = left > 0
    return floor[some], 1 - left[some] / held.sum(), left[some], errors[some] / left[some]


def _ideal(rate: float, discarded: FloatArray) -> FloatArray:
    """Return the error rate left if errors were discarded first."""
    return np.clip((rate - discarded) / np.maximum(1 - discarded, 1e-12), 0, None)


def _gain(quality: FloatArray, wrong: FloatArray, weights: FloatArray, *, partial: float) -> float:
    _, share, _, rate = _steps(quality, wrong, weights)
    at = np.linspace(0, partial, 101)
    curve = rate[np.clip(np.searchsorted(share, at, side="right") - 1, 0, None)]
    best = rate[0] - _ideal(rate[0], at)
    return float((rate[0] - curve).sum() / best.sum()) if best.any() else 0.0  # no error, or only errors
