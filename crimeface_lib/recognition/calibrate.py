"""From scores to likelihood ratios, held within what the calibration data can support.

The shipped calibration is made from the photos that LFW's development list names, each compared with each, by::

    photos = list_photos("lfw/images", pairs="lfw/pairsDevTrain.txt")
    found = embed_images(photos, which="central")
    people = [photo.parent.name for photo in photos]
    dataset = "Labeled Faces in the Wild (deep funneled), photos of pairsDevTrain.txt"
    protocol = "the face nearest to the middle"
    calibrate_on_photos(found, people, dataset=dataset, protocol=protocol, at=utc_now()).save("calibration_dlib.json")
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt

from crimeface_lib import __version__
from crimeface_lib.core.arrays import check_vector
from crimeface_lib.core.clock import to_iso
from crimeface_lib.core.errors import InputError
from crimeface_lib.core.random import Seed
from crimeface_lib.core.types import FloatArray
from crimeface_lib.faces import read_pairs
from crimeface_lib.metrics import (
    ScoreCounts,
    cllr,
    cllr_min,
    count_all_pairs,
    count_scores,
    fit_logistic,
    pav_log_lr,
    supported_bounds,
)
from crimeface_lib.recognition.compare import score_pairs
from crimeface_lib.recognition.embed import Embeddings, embed_images
from crimeface_lib.recognition.likelihood_ratio import QUANTILES, Calibration, LikelihoodRatios, load_calibration

__all__ = [
    "METHODS", "Calibration", "LikelihoodRatios", "calibrate_on_pairs", "calibrate_on_photos", "fit_calibration",
    "load_calibration",
]  # fmt: skip

METHODS = ("logistic", "pav")
#: Shares of the non-mated comparisons whose score is kept besides: thresholds lie out there.
_TAIL = 10.0 ** -np.arange(2, 7.01, 0.25)
#: The bound is what this share of the replicas does not fall below.
_CAUTION = 0.05


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

    Bounds are empirical: up to the highest LR, acting on it pays even if one more misleading comparison were seen
    (``metrics.supported_bounds``), and so in all but 5 % of the replicas. So one side is never more than the number
    of comparisons of the other kind, and less where a few people decide it.

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
    counts = count_scores(same, other, subjects=subjects, failed=(failed, 0), replicas=replicas, rng=rng)
    return _fit_counts(counts, method=method, **provenance)


def _fit_counts(
    counts: ScoreCounts, *, method: str = "logistic", photo_quality: npt.ArrayLike = (), **provenance: str
) -> Calibration:
    """Return a calibration fitted to comparisons counted by score; see ``fit_calibration``.

    Parameters
    ----------
    photo_quality : of the photos compared, 0–100, NaN where there was no face; kept as quantiles.

    Raises
    ------
    InputError : unknown method, no replica, or scores that carry no information.
    """
    if method not in METHODS:
        raise InputError(f"method: got {method!r}, expected {' or '.join(METHODS)}")
    if not len(counts.mated_replicas):
        raise InputError("replicas: got none that holds both kinds of comparison, expected some for the interval")
    scores, real = counts.scores, (counts.mated, counts.nonmated)
    worth = np.asarray(photo_quality, dtype=float)
    worth = worth[np.isfinite(worth)]
    both = sum(side / side.sum() for side in real) / 2
    ends = scores[[0, -1]]
    knots = ends if method == "logistic" else np.unique(np.r_[ends, _quantiles(scores, both, QUANTILES)])
    log10_lr = _fit(scores, real, knots, method)
    if log10_lr[0] >= log10_lr[-1]:
        raise InputError("got scores that don't rise from non-mated to mated, expected higher to mean more similar")
    replicas, limits = [], [_bounds(scores, real, knots, log10_lr)]
    for mated, nonmated in zip(counts.mated_replicas, counts.nonmated_replicas, strict=True):
        drawn = mated * (real[0].sum() / mated.sum()), nonmated * (real[1].sum() / nonmated.sum())
        replicas.append(_fit(scores, drawn, knots, method))
        limits.append(_bounds(scores, drawn, knots, replicas[-1]))
    low, high = np.array(limits).T
    ratios = 10.0 ** np.interp(scores, knots, log10_lr)
    return Calibration(
        method=method,
        knots=knots,
        log10_lr=log10_lr,
        replicas=np.array(replicas),
        bounds=(
            float(max(low[0], np.quantile(low[1:], 1 - _CAUTION))),
            float(min(high[0], np.quantile(high[1:], _CAUTION))),
        ),
        mated=_quantiles(scores, real[0], QUANTILES),
        nonmated=_quantiles(scores, real[1], QUANTILES),
        pairs=counts.pairs,
        failed=sum(counts.failed),
        subjects=counts.subjects,
        quality={
            "EER": counts.eer(),
            "Cllr": cllr(ratios, ratios, weights=real),
            "Cllr_min": cllr_min(scores, scores, weights=real),
        },
        tail=_tail(scores, real[1]),
        photo_quality=np.quantile(worth, QUANTILES) if len(worth) else worth,
        **provenance,
    )


def calibrate_on_photos(
    embeddings: Embeddings,
    subjects: Sequence[str],
    *,
    method: str = "logistic",
    replicas: int = 200,
    rng: Seed = 0,
    at: datetime,
    dataset: str = "",
    protocol: str = "",
) -> Calibration:
    """Return a calibration from photos of known people, each compared with every other.

    Each person weighs as one among the mated, each pair of people as one among the non-mated comparisons. The people
    are compared as they come: those of one sex, age and origin resemble each other more, so where the alternative is
    such a person the LRs are too high.

    Parameters
    ----------
    embeddings : of N photos. subjects : N names; nothing of them is kept.
    at : time of making, for the provenance. dataset : its name, for every page that shows an LR. protocol : how the
        templates were made, such as which face of how many.

    Raises
    ------
    ShapeError : not one name a photo. InputError : nobody has two photos, there is one person only, or scores that
        carry no information.
    """
    counts = count_all_pairs(embeddings.vectors, subjects, by_person=True, replicas=replicas, rng=rng)
    return _fit_counts(
        counts,
        method=method,
        photo_quality=embeddings.quality,
        dataset=dataset,
        protocol="; ".join(filter(None, (protocol, "each photo with each", "a person weighs as one", "cosine"))),
        embedder=embeddings.embedder,
        version=embeddings.version,
        code=__version__,
        made_at=to_iso(at),
    )


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
        protocol="the face nearest to the middle; dlib detector, chips as the version says, cosine",
        embedder=found.embedder,
        version=found.version,
        code=__version__,
        made_at=to_iso(at),
    )


def _fit(scores: FloatArray, counts: tuple[FloatArray, FloatArray], knots: FloatArray, method: str) -> FloatArray:
    """Return log10 LR at the knots from counts by score."""
    if method == "logistic":
        a, b = fit_logistic(scores, scores, weights=counts)
        return (a + b * knots) / np.log(10)
    distinct, log_lr = pav_log_lr(scores, scores, weights=counts)
    limits = np.log(counts[0].sum() + 1.0), np.log(counts[1].sum() + 1.0)
    return np.interp(knots, distinct, np.clip(log_lr, -limits[0], limits[1])) / np.log(10)


def _bounds(
    scores: FloatArray, counts: tuple[FloatArray, FloatArray], knots: FloatArray, log10_lr: FloatArray
) -> tuple[float, float]:
    ratios = np.interp(scores, knots, log10_lr)
    return supported_bounds(ratios, ratios, weights=counts)


def _quantiles(scores: FloatArray, weights: FloatArray, shares: FloatArray) -> FloatArray:
    """Return the lowest score that at least each share of the weight does not exceed."""
    reached = np.cumsum(weights) / weights.sum()
    held = np.flatnonzero(weights)
    places = np.searchsorted(reached, shares * (1 - 1e-12), side="left").clip(held[0], held[-1])
    return scores[places]


def _tail(scores: FloatArray, nonmated: FloatArray) -> FloatArray:
    """Return (T, 2): score, and share of the weight that reaches it, as far out as any of it does."""
    above = nonmated[::-1].cumsum()[::-1] / nonmated.sum()
    places = [int(np.flatnonzero(above >= share)[-1]) for share in _TAIL if share >= above[nonmated > 0].min()]
    places = sorted({*places, int(np.flatnonzero(nonmated)[-1])})
    return np.column_stack([scores[places], above[places]])
