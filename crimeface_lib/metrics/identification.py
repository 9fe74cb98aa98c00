"""One-to-many search, open set: FNIR(N, R, T), FPIR(N, T) and CMC, with the size of the gallery always beside them.

An investigation reads a list by rank; an identification system raises an alarm above a threshold. The two ask for
different rates of the same searches, and both get worse as the gallery grows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from crimeface_lib.core.arrays import check_array
from crimeface_lib.core.display import list_html, table_html
from crimeface_lib.core.errors import InputError, ShapeError
from crimeface_lib.core.random import Seed
from crimeface_lib.core.results import Result
from crimeface_lib.core.types import FloatArray
from crimeface_lib.metrics.bootstrap import clustered_interval, subject_weights

if TYPE_CHECKING:
    import pandas as pd

_IntArray = npt.NDArray[np.int64]
#: Evaluated on a gallery this many times smaller than the operational one, rates need the caveat.
FAR_BELOW = 10


@dataclass(frozen=True, slots=True, eq=False)
class SearchOutcomes(Result):
    """What P searches of one gallery brought, as far as error rates need it.

    Parameters
    ----------
    gallery_size : N, entries searched.
    mated : (P,) bool, the person is in the gallery (or should have been: see ``failed``).
    rank : (P,) rank of the best entry of the same person, 0 where none is in the list. Ties count against the method.
    mate_score : (P,) its score, −∞ where there is none.
    top_score : (P,) highest score of anybody else, −∞ where there is none.
    failed : (P,) bool, no template of the probe: a miss, or no alarm.
    subjects : (P,) whose probe it is.
    """

    gallery_size: int
    mated: npt.NDArray[np.bool_] = field(repr=False)
    rank: _IntArray = field(repr=False)
    mate_score: FloatArray = field(repr=False)
    top_score: FloatArray = field(repr=False)
    failed: npt.NDArray[np.bool_] = field(repr=False)
    subjects: npt.NDArray[np.str_] = field(repr=False)

    def to_frame(self) -> pd.DataFrame:
        """Return a row a search, without names."""
        import pandas as pd

        names = ("mated", "rank", "mate_score", "top_score", "failed")
        return pd.DataFrame({name: getattr(self, name) for name in names})


@dataclass(frozen=True, slots=True, eq=False)
class Identification(Result):
    """Error rates of one-to-many search in a gallery of ``gallery_size``; they hold for no other size.

    Parameters
    ----------
    ranks : investigative mode, no threshold. A row a rank R: N, rank, FNIR(N, R, 0) and its interval, hit rate.
    thresholds : identification mode, no limit of rank. A row an asked FPIR: N, asked, threshold, FPIR(N, T), its
        interval, FNIR(N, N, T), its interval. Empty without non-mated searches.
    searches : mated and non-mated. failed : of them without a template, counted as misses and as no alarm.
    subjects : people searched for. caveats : sentences that belong beside the numbers.
    """

    gallery_size: int
    ranks: pd.DataFrame
    thresholds: pd.DataFrame
    searches: tuple[int, int]
    failed: tuple[int, int]
    subjects: int
    level: float
    caveats: tuple[str, ...]

    def to_frame(self) -> pd.DataFrame:
        """Return both modes, a row a rank or a threshold."""
        import pandas as pd

        modes = {"investigative": self.ranks, "identification": self.thresholds}
        return pd.concat([table.assign(mode=name) for name, table in modes.items() if len(table)], ignore_index=True)

    def _repr_html_(self) -> str:
        tables = "".join(
            f"<p>{title}</p>{table_html(table)}"
            for title, table in (
                ("<b>Investigative</b>: a person reads the list down to rank R", self.ranks),
                ("<b>Identification</b>: an alarm at or above threshold T", self.thresholds),
            )
            if len(table)
        )
        return (
            f"<p>N = <b>{self.gallery_size:,}</b> entries; {self.searches[0]:,} mated and {self.searches[1]:,} "
            f"non-mated searches for {self.subjects:,} people; {self.failed[0]:,} and {self.failed[1]:,} failed; "
            f"intervals {self.level:.0%}, people resampled.</p>{tables}{list_html(self.caveats)}"
        )


def search_outcomes(
    scores: npt.ArrayLike,
    probes: Sequence[str] | npt.ArrayLike,
    gallery: Sequence[str] | npt.ArrayLike,
    *,
    enrolled: Sequence[str] | npt.ArrayLike | None = None,
) -> SearchOutcomes:
    """Return the outcomes of searches whose scores with every entry are known.

    Parameters
    ----------
    scores : (P, N), higher is more similar. A row of NaN is a probe without a template, a column of NaN an entry
        without one: it can't be found, and whose only entry it is counts as missed.
    probes : (P,) and gallery : (N,) who is in each.
    enrolled : who is meant to be in the gallery, where that is more than ``gallery``.

    Raises
    ------
    ShapeError : names that don't fit the scores.

    >>> found = search_outcomes([[0.9, 0.2], [0.3, 0.4]], ["a", "z"], ["a", "b"])
    >>> found.rank.tolist(), found.top_score.tolist()
    ([1, 0], [0.2, 0.4])
    """
    table = check_array(scores, shape=(None, None), name="scores", finite=False)
    who, entries = np.asarray(probes).astype(str), np.asarray(gallery).astype(str)
    if table.shape != (len(who), len(entries)) or table.size == 0:
        raise ShapeError(f"scores: got shape {table.shape}, expected ({len(who)}, {len(entries)}), probes by entries")
    failed = np.isnan(table).all(axis=1)
    known = np.where(np.isnan(table), -np.inf, table)
    own = who[:, None] == entries
    mate = np.where(own, known, -np.inf).max(axis=1)
    people, codes = np.unique(entries, return_inverse=True)
    best = np.full((len(people), len(who)), -np.inf)  # of each person, whose best entry stands for them
    np.maximum.at(best, codes, known.T)
    others = np.where((people[:, None] == who), -np.inf, best)
    rank = np.where(np.isfinite(mate), 1 + (others >= mate).sum(axis=0), 0)
    meant = np.isin(who, people if enrolled is None else np.asarray(enrolled).astype(str))
    return SearchOutcomes(
        gallery_size=len(entries),
        mated=meant,
        rank=rank.astype(np.int64),
        mate_score=mate,
        top_score=others.max(axis=0),
        failed=failed,
        subjects=who,
    )


def listed_outcomes(
    lists: Sequence[Sequence[tuple[str, float]] | None],
    probes: Sequence[str],
    *,
    enrolled: Sequence[str],
    gallery_size: int,
) -> SearchOutcomes:
    """Return the outcomes of searches of which only the lists of candidates are known.

    Parameters
    ----------
    lists : of each search, (subject, score) of its candidates; None where the probe had no template.
    probes : who is in each probe. enrolled : everybody in the gallery, found or not.

    Raises
    ------
    ShapeError : not one list for each probe.
    """
    if len(lists) != len(probes) or not len(probes):
        raise ShapeError(f"lists: got {len(lists)} for {len(probes)} probes, expected one each")
    rank = np.zeros(len(probes), dtype=np.int64)
    mate, top = np.full(len(probes), -np.inf), np.full(len(probes), -np.inf)
    for row, (candidates, who) in enumerate(zip(lists, probes, strict=True)):
        best: dict[str, float] = {}
        for subject, score in candidates or ():
            best[subject] = max(score, best.get(subject, -np.inf))
        mate[row] = best.pop(who, -np.inf)
        top[row] = max(best.values(), default=-np.inf)
        rank[row] = 1 + sum(score >= mate[row] for score in best.values()) if np.isfinite(mate[row]) else 0
    return SearchOutcomes(
        gallery_size=gallery_size,
        mated=np.isin(probes, list(enrolled)),
        rank=rank,
        mate_score=mate,
        top_score=top,
        failed=np.array([candidates is None for candidates in lists]),
        subjects=np.asarray(probes).astype(str),
    )


def identification(
    searches: SearchOutcomes,
    *,
    ranks: Sequence[int] = (1, 5, 10, 20, 50),
    fpir: Sequence[float] = (0.1, 0.01, 0.001),
    operational: int | None = None,
    level: float = 0.95,
    replicas: int = 500,
    rng: Seed = 0,
) -> Identification:
    """Return FNIR by rank and FNIR at stated FPIRs, with intervals over people, for this size of gallery.

    Parameters
    ----------
    ranks : those beyond the gallery's size are left out.
    fpir : asked false-alarm rates of non-mated searches; the threshold is the lowest that doesn't exceed each.
    operational : entries in the gallery that the numbers are wanted for; far more than here adds a caveat.

    Raises
    ------
    InputError : no mated search, a rank below 1 or an FPIR outside (0, 1).
    References : ISO/IEC 19795-1; NIST FRTE 1:N (investigative and identification mode).
    """
    import pandas as pd

    mated, other = searches.mated, ~searches.mated
    if not mated.any() or min(ranks, default=0) < 1 or not all(0 < value < 1 for value in fpir):
        raise InputError(
            f"got {int(mated.sum())} mated searches, ranks {list(ranks)}, FPIRs {list(fpir)}; expected a mated search, "
            "ranks from 1, rates between 0 and 1"
        )
    weights = subject_weights(searches.subjects, replicas=replicas, rng=rng)

    def rate(wrong: npt.NDArray[np.bool_], side: npt.NDArray[np.bool_], name: str) -> dict[str, float]:
        total = weights[:, side].sum(axis=1)
        drawn = (weights[:, side] @ wrong[side])[total > 0] / total[total > 0]
        value, people = float(wrong[side].mean()), len(np.unique(searches.subjects[side]))
        low, high = clustered_interval(
            value, int(side.sum()), replicas=drawn, units=people, subjects=people, level=level
        )
        return {name: value, f"{name}_low": low, f"{name}_high": high}

    size = searches.gallery_size
    by_rank = [
        {"N": size, "rank": r, **rate((searches.rank == 0) | (searches.rank > r), mated, "FNIR")}
        for r in sorted(set(ranks))
        if r <= size
    ]
    by_alarm = []
    for asked in fpir if other.any() else ():
        threshold = _threshold(searches.top_score[other], asked)
        alarm = (searches.top_score >= threshold) & ~searches.failed
        missed = (searches.mate_score < threshold) | ~np.isfinite(searches.mate_score)
        by_alarm.append(
            {"N": size, "asked": asked, "threshold": threshold, **rate(alarm, other, "FPIR"),
             **rate(missed, mated, "FNIR")}
        )  # fmt: skip
    table = pd.DataFrame(by_rank)
    return Identification(
        gallery_size=size,
        ranks=table.assign(hit_rate=1 - table["FNIR"]) if len(table) else table,
        thresholds=pd.DataFrame(by_alarm),
        searches=(int(mated.sum()), int(other.sum())),
        failed=(int((mated & searches.failed).sum()), int((other & searches.failed).sum())),
        subjects=len(np.unique(searches.subjects)),
        level=level,
        caveats=_caveats(size, operational, alarms=bool(other.any())),
    )


def _threshold(top: FloatArray, asked: float) -> float:
    """Return the lowest threshold at which no more than the asked share of searches raises an alarm."""
    scores = np.unique(top[np.isfinite(top)])
    if not len(scores):
        return -np.inf
    steps = np.append(scores, np.nextafter(scores[-1], np.inf))
    shares = 1 - np.searchsorted(np.sort(top), steps, side="left") / len(top)
    return float(steps[np.argmax(shares <= asked)])


def _caveats(size: int, operational: int | None, *, alarms: bool) -> tuple[str, ...]:
    said = [
        f"Measured with {size:,} entries in the gallery. With more entries more people resemble a probe by chance: "
        "misses by rank and false alarms both grow."
    ]
    if operational is not None and operational >= FAR_BELOW * size:
        said.append(
            f"The gallery in use holds {operational:,} entries, {operational / size:,.0f} times as many: these rates "
            "say nothing about it. Measure with a gallery of that size."
        )
    if not alarms:
        said.append("Every person searched for is in the gallery, so false alarms were not measured: a closed set.")
    return tuple(said)
