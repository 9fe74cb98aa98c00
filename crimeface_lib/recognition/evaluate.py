"""How well recognition does on photos of known people: every figure of it in one call, with n and intervals.

The photos may be a folder a person (each compared with each) or a list of pairs. Nothing here searches a watchlist:
the people are known, and only numbers come out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from crimeface_lib.core.errors import InputError, RefusedError, ShapeError
from crimeface_lib.core.random import Seed, make_rng
from crimeface_lib.core.results import Result
from crimeface_lib.core.types import FloatArray
from crimeface_lib.metrics import (
    DiscardCurve,
    EvidenceQuality,
    Identification,
    ScoreCounts,
    SearchOutcomes,
    Verification,
    count_all_pairs,
    count_scores,
    error_versus_discard,
    evidence_of_counts,
    identification,
    quality_by_group,
    rate_interval,
    search_outcomes,
    verification,
)
from crimeface_lib.recognition.compare import score_pairs
from crimeface_lib.recognition.embed import Embeddings
from crimeface_lib.recognition.likelihood_ratio import Calibration

if TYPE_CHECKING:
    import pandas as pd

_IntArray = npt.NDArray[np.int64]
_PROBES = 256  # searched at once
_MATED = 200_000  # mated comparisons in a curve over quality


@dataclass(frozen=True, slots=True, eq=False)
class RecognitionEvaluation(Result):
    """Each part has its own ``to_frame``; this one's sums them up.

    Parameters
    ----------
    verification : FMR, FNMR and EER. counts : the comparisons behind it, for histograms.
    identification : search by rank and by threshold; None where nobody has two photos or there is one person.
    evidence : Cllr and its parts; None without a calibration.
    discard : FNMR against discarding photos of low quality; None without quality.
    failed : photos without a template, of ``images``; fte_low, fte_high : interval of their share.
    quality : by group, None without groups. comparisons, enrolments : for ``governance.audit_bias``, which gives the
        rates by group and across groups; None without groups.
    """

    verification: Verification
    counts: ScoreCounts = field(repr=False)
    identification: Identification | None
    evidence: EvidenceQuality | None
    discard: DiscardCurve | None
    images: int
    subjects: int
    failed: int
    fte_low: float
    fte_high: float
    level: float
    protocol: str
    quality: pd.DataFrame | None = field(default=None, repr=False)
    comparisons: pd.DataFrame | None = field(default=None, repr=False)
    enrolments: pd.DataFrame | None = field(default=None, repr=False)

    def to_frame(self) -> pd.DataFrame:
        """Return a row a figure: figure, value, low, high, unit, n, people."""
        import pandas as pd

        seen = self.verification
        both = f"{seen.mated:,} mated, {seen.nonmated:,} non-mated comparisons"
        fte = self.failed / self.images
        rows: list[tuple[Any, ...]] = [
            ("failure to enrol", fte, self.fte_low, self.fte_high, "share", f"{self.images:,} photos")
        ]
        rows.append(("EER", seen.eer.estimate, seen.eer.low, seen.eer.high, "share", both))
        rows += [
            (f"FNMR at FMR {r['asked']:g}", r["FNMR"], r["FNMR_low"], r["FNMR_high"], "share", both)
            for r in seen.rates.to_dict("records")
        ]
        if self.evidence:
            named = {"Cllr": self.evidence.cllr, "Cllr_min": self.evidence.cllr_min, "Cllr_cal": self.evidence.cllr_cal}
            rows += [(name, one.estimate, one.low, one.high, "bits", both) for name, one in named.items()]
        if self.identification:
            found = self.identification
            searches = (
                f"N = {found.gallery_size:,}; {found.searches[0]:,} mated, {found.searches[1]:,} non-mated searches"
            )
            rows += [
                (f"FNIR at rank {r['rank']:g}", r["FNIR"], r["FNIR_low"], r["FNIR_high"], "share", searches)
                for r in found.ranks.to_dict("records")
            ]
            rows += [
                (f"FNIR at FPIR {r['asked']:g}", r["FNIR"], r["FNIR_low"], r["FNIR_high"], "share", searches)
                for r in found.thresholds.to_dict("records")
            ]
        table = pd.DataFrame(rows, columns=["figure", "value", "low", "high", "unit", "n"])
        return table.assign(people=self.subjects)


def evaluate_recognition(
    embeddings: Embeddings,
    *,
    subjects: Sequence[str] | None = None,
    pairs: npt.ArrayLike | None = None,
    groups: Mapping[str, Sequence[str]] | None = None,
    calibration: Calibration | None = None,
    fmr: Sequence[float] = (1e-2, 1e-3, 1e-4),
    ranks: Sequence[int] = (1, 5, 10, 20, 50),
    fpir: Sequence[float] = (0.1, 0.01),
    operational: int | None = None,
    floor: float = 20.0,
    replicas: int = 200,
    level: float = 0.95,
    rng: Seed = 0,
) -> RecognitionEvaluation:
    """Return every figure of recognition on these photos; memory doesn't grow with the number of comparisons.

    Parameters
    ----------
    embeddings : of N photos; those without a template count as failures.
    subjects : N names; by default ``embeddings.subjects``.
    pairs : (P, 2) rows to compare, as ``pair_rows`` makes them of a list; by default each photo with each.
    groups : attribute → N groups, one of the person in each photo, for ``audit_bias`` and quality by group.
    calibration : judged on these comparisons; of the same embedder and version.
    fmr, ranks, fpir, operational : as in ``metrics.verification`` and ``metrics.identification``. The first photo of
        each person is the gallery; the others are mated searches, and every photo is one without its own person.
    floor : quality below which a gate would turn a photo away, for the table by group.

    Raises
    ------
    ShapeError : names, pairs or groups that don't fit the photos. RefusedError : a calibration of another model.
    InputError : no mated or no non-mated comparison, or rates outside (0, 1).
    """
    names = np.asarray(embeddings.subjects if subjects is None else subjects).astype(str)
    _check(embeddings, names, groups, calibration)
    made: Any = np.isfinite(embeddings.vectors).all(axis=1)
    if pairs is None:
        counts = count_all_pairs(embeddings.vectors, names, replicas=replicas, rng=rng)
        listed = _mated_rows(names, limit=_MATED, rng=rng)
        protocol = "each photo compared with each"
    else:
        listed = _checked_pairs(pairs, len(names))
        counts = _count_listed(embeddings, names, listed, replicas=replicas, rng=rng)
        listed = listed[names[listed[:, 0]] == names[listed[:, 1]]]
        protocol = "the comparisons of a list"
    low, high = rate_interval(int((~made).sum()), len(names), level=level)
    ratios = None if calibration is None else calibration.likelihood_ratio(counts.scores).lr
    table = None
    if groups:
        parts = [
            quality_by_group(embeddings.quality, group, floor=floor, level=level).assign(attribute=name)
            for name, group in groups.items()
        ]
        import pandas as pd

        table = pd.concat(parts, ignore_index=True)
    options: dict[str, Any] = {"operational": operational, "level": level, "replicas": replicas, "rng": rng}
    outcomes = _outcomes(embeddings.vectors, names)
    return RecognitionEvaluation(
        verification=verification(counts, fmr=fmr, level=level),
        counts=counts,
        identification=identification(outcomes, ranks=ranks, fpir=fpir, **options) if outcomes else None,
        evidence=None if ratios is None else evidence_of_counts(counts, ratios, level=level),
        discard=_discard(embeddings, names, listed, replicas=replicas, level=level, rng=rng),
        images=len(names),
        subjects=len(np.unique(names)),
        failed=int((~made).sum()),
        fte_low=low,
        fte_high=high,
        level=level,
        protocol=protocol,
        quality=table,
        comparisons=comparison_table(embeddings, names, groups=groups, rng=rng) if groups else None,
        enrolments=_enrolments(made, groups) if groups else None,
    )


def pair_rows(pairs: Sequence[tuple[str, str, bool]], files: Sequence[str]) -> _IntArray:
    """Return (P, 2) the rows of a list of pairs, as ``faces.read_pairs`` gives it, among ``files``.

    Raises
    ------
    InputError : a file of the list is not among them.

    >>> pair_rows([("a/1.jpg", "b/1.jpg", False)], ["b/1.jpg", "a/1.jpg"]).tolist()
    [[1, 0]]
    """
    place = {file: row for row, file in enumerate(files)}
    if missing := sorted({file for a, b, _ in pairs for file in (a, b)} - set(place)):
        raise InputError(f"pairs: {len(missing)} photos of the list have no template asked for; embed them too")
    return np.array([(place[a], place[b]) for a, b, _ in pairs], dtype=np.int64).reshape(-1, 2)


def comparison_table(
    embeddings: Embeddings,
    subjects: Sequence[str] | npt.ArrayLike,
    *,
    groups: Mapping[str, Sequence[str]],
    limit: int = 500_000,
    rng: Seed = 0,
) -> pd.DataFrame:
    """Return comparisons with who and which group is on either side, as ``governance.audit_bias`` takes them.

    Parameters
    ----------
    groups : attribute → N groups. limit : mated, and non-mated comparisons, each drawn at random if there are more.

    Returns
    -------
    Columns score (NaN where it could not be made), mated, subject_a, subject_b, and two for each attribute.
    """
    import pandas as pd

    names = np.asarray(subjects).astype(str)
    rows = np.concatenate([_mated_rows(names, limit=limit, rng=rng), _crossed_rows(names, limit=limit, rng=rng)])
    first, second = rows[:, 0], rows[:, 1]
    columns: dict[str, Any] = {"score": _scores(embeddings.vectors, rows), "mated": names[first] == names[second]}
    for name, labels in {"subject": names, **groups}.items():
        held = np.asarray(labels).astype(str)
        columns |= {f"{name}_a": held[first], f"{name}_b": held[second]}
    return pd.DataFrame(columns)


def _check(
    embeddings: Embeddings, names: Any, groups: Mapping[str, Any] | None, calibration: Calibration | None
) -> None:
    lengths = {"subjects": len(names), **{name: len(group) for name, group in (groups or {}).items()}}
    if wrong := {name: length for name, length in lengths.items() if length != len(embeddings)}:
        raise ShapeError(f"got {wrong} for {len(embeddings)} photos, expected one each")
    known = (embeddings.embedder, embeddings.version)
    if calibration is not None and (calibration.embedder, calibration.version) != known:
        raise RefusedError(
            f"calibration: got one of {calibration.embedder} {calibration.version[:12]}…, expected of "
            f"{known[0]} {known[1][:12]}…; calibrate again with calibrate_on_photos"
        )


def _checked_pairs(pairs: npt.ArrayLike, photos: int) -> _IntArray:
    rows = np.asarray(pairs)
    if rows.ndim != 2 or rows.shape[1] != 2 or rows.dtype.kind not in "iu" or not len(rows):
        raise ShapeError(f"pairs: got {rows.dtype} {rows.shape}, expected (P, 2) rows; see pair_rows")
    if rows.min() < 0 or rows.max() >= photos:
        raise ShapeError(f"pairs: got rows {rows.min()} to {rows.max()}, expected 0 to {photos - 1}")
    return rows.astype(np.int64)


def _count_listed(embeddings: Embeddings, names: Any, rows: _IntArray, *, replicas: int, rng: Seed) -> ScoreCounts:
    scores = _scores(embeddings.vectors, rows)
    who, made = names[rows], ~np.isnan(scores)
    same = who[:, 0] == who[:, 1]
    sides = [(same == kind) & made for kind in (True, False)]
    if not all(side.any() for side in sides):
        raise InputError(f"pairs: got {sides[0].sum()} mated and {sides[1].sum()} non-mated, expected some of each")
    lost = int((same & ~made).sum()), int((~same & ~made).sum())
    people = who[sides[0]], who[sides[1]]
    return count_scores(scores[sides[0]], scores[sides[1]], subjects=people, failed=lost, replicas=replicas, rng=rng)


def _scores(vectors: Any, rows: _IntArray) -> FloatArray:
    """Return the cosine of each pair of rows, NaN where a template is missing."""
    found = np.full(len(rows), np.nan)
    made = np.flatnonzero(np.isfinite(vectors).all(axis=1)[rows].all(axis=1))
    for start in range(0, len(made), 100_000):
        part = made[start : start + 100_000]
        found[part] = score_pairs(vectors[rows[part, 0]], vectors[rows[part, 1]])
    return found


def _mated_rows(names: Any, *, limit: int, rng: Seed) -> _IntArray:
    """Return (M, 2) all pairs of photos of one person, or so many of them at random."""
    codes = np.unique(names, return_inverse=True)[1]
    order = np.argsort(codes, kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(codes[order])) + 1)
    found = [np.column_stack([g[i] for i in np.triu_indices(len(g), 1)]) for g in groups if len(g) > 1]
    rows = np.concatenate(found) if found else np.empty((0, 2), dtype=np.int64)
    if len(rows) > limit:
        rows = rows[np.sort(make_rng(rng, stream="mated").choice(len(rows), limit, replace=False))]
    return rows.astype(np.int64)


def _crossed_rows(names: Any, *, limit: int, rng: Seed) -> _IntArray:
    """Return (M, 2) all pairs of photos of different people, or so many of them at random."""
    count = len(names)
    if count * (count - 1) // 2 <= limit:
        rows = np.column_stack(np.triu_indices(count, 1))
        return rows[names[rows[:, 0]] != names[rows[:, 1]]]
    drawn = np.sort(make_rng(rng, stream="crossed").integers(0, count, size=(2 * limit, 2)), axis=1)
    drawn = np.unique(drawn, axis=0)
    drawn = drawn[names[drawn[:, 0]] != names[drawn[:, 1]]]
    return drawn if len(drawn) <= limit else drawn[np.sort(make_rng(rng).choice(len(drawn), limit, replace=False))]


def _outcomes(vectors: Any, names: Any) -> SearchOutcomes | None:
    """Return searches of a gallery of each person's first photo; None where nothing can be searched."""
    people, first = np.unique(names, return_index=True)
    entries = first[np.isfinite(vectors[first]).all(axis=1)]
    further = np.setdiff1d(np.arange(len(names)), first)
    if len(entries) < 2 or not len(further):
        return None
    unit = np.asarray(vectors, dtype=float)
    unit = unit / np.linalg.norm(unit, axis=1, keepdims=True)
    parts = [
        search_outcomes(unit[part] @ unit[entries].T, names[part], names[entries], enrolled=people)
        for part in np.split(np.arange(len(names)), np.arange(_PROBES, len(names), _PROBES))
    ]

    def joined(name: str) -> Any:
        return np.concatenate([getattr(part, name) for part in parts])

    every = {name: joined(name) for name in ("rank", "mate_score", "top_score", "failed", "subjects")}
    twice = {name: np.concatenate([values[further], values]) for name, values in every.items()}
    mated = np.arange(len(further) + len(names)) < len(further)
    return SearchOutcomes(gallery_size=len(entries), mated=mated, **twice)


def _discard(
    embeddings: Embeddings, names: Any, rows: _IntArray, *, replicas: int, level: float, rng: Seed
) -> DiscardCurve | None:
    """Return the curve over mated comparisons; None where no quality, or next to no comparison, is known."""
    scores = _scores(embeddings.vectors, rows)
    made = ~np.isnan(scores)
    worse = embeddings.quality[rows].min(axis=1)
    if made.sum() < 2 or np.isnan(worse[made]).any():
        return None
    return error_versus_discard(
        scores, worse, images=embeddings.quality, subjects=names[rows[:, 0]], replicas=replicas, level=level, rng=rng
    )


def _enrolments(made: Any, groups: Mapping[str, Sequence[str]]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame({"failed": ~made, **{name: np.asarray(group).astype(str) for name, group in groups.items()}})
