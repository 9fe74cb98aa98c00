"""A watchlist that is open for a search session: its templates once in locked memory, zeroed at the end."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from crimeface_lib.core.clock import Clock
from crimeface_lib.core.errors import InputError, NoFaceError
from crimeface_lib.core.random import Seed, make_rng
from crimeface_lib.core.types import Float32Array
from crimeface_lib.recognition.calibrate import Calibration, LikelihoodRatios, load_calibration
from crimeface_lib.recognition.candidates import Candidate, CandidateList, Searches, caveats
from crimeface_lib.recognition.embed import Embeddings
from crimeface_lib.recognition.locked import LockedRows
from crimeface_lib.recognition.openset import OpenSetRate, fpir_from_calibration, fpir_of_gallery
from crimeface_lib.recognition.records import same_model
from crimeface_lib.recognition.rotation import Rotation, turn
from crimeface_lib.recognition.sealed import Entry, Head, Seals
from crimeface_lib.recognition.search import Progress, build_index, measure_recall, most_similar_other, unit_rows

#: People on a list from which its FPIR is measured on itself.
_ENOUGH = 100


class Gallery:
    """The open templates of a watchlist; made by ``Watchlist.opened`` and used in a ``with`` block.

    ``memory`` says whether the templates could be locked into memory, ``index`` how they are searched, ``recall``
    which share of the exact list that finds, ``unreadable`` which records are damaged or missing and are not in it.
    """

    def __init__(
        self,
        records: Sequence[Mapping[str, Any]],
        rows: LockedRows,
        *,
        head: Head | None,
        seals: Seals,
        clock: Clock,
        rotation: Rotation | None,
        unreadable: tuple[str, ...],
        index: str,
    ) -> None:
        self.unreadable, self.memory = unreadable, rows.note
        self._records, self._rows, self._head, self._seals = records, rows, head, seals
        self._clock, self._rotation, self._open = clock, rotation, True
        self._days = np.array([seals.day(record["ends"]) for record in records], dtype=np.int64)
        self._index = build_index(rows.array, index) if len(records) else build_index(rows.array, "exact")
        self.index = self._index.name
        self._recalls: dict[int, tuple[float, int]] = {}
        self._rates: dict[tuple[float, float, int], OpenSetRate] = {}

    def __enter__(self) -> Gallery:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def __len__(self) -> int:
        return len(self._records)

    def __repr__(self) -> str:
        return f"<Gallery of {len(self)} entries, {self.index}; {self.memory}>"

    def __reduce__(self) -> str:
        raise TypeError("open templates are not pickled: they would lie in clear wherever that goes")

    def close(self) -> None:
        """Zero the templates; nothing can be searched any more. An approximate index is dropped, not zeroed."""
        self._open = False
        self._rows.close()
        self._index = build_index(self._rows.array, "exact")

    def search(
        self,
        probes: Embeddings,
        *,
        top: int = 20,
        threshold: float | None = None,
        mode: str | None = None,
        calibration: Calibration | None = None,
        level: float = 0.95,
    ) -> Searches:
        """Return the candidates for each probe; see ``Watchlist.search``. Probes without a template are told.

        With a threshold, the lists tell the FPIR: measured on the gallery (``false_positives``) where it holds 100
        people, from the calibration where it holds fewer.

        Raises
        ------
        RefusedError : probe, entries and calibration are not of one model and version. InputError : ``top`` below 1,
            a mode that does not fit the threshold, or a closed gallery.
        """
        mode = _mode(mode, threshold, top, level)
        self._require_open()
        calibration = calibration or load_calibration(probes.embedder)
        same_model("calibration", (calibration.embedder, calibration.version), probes)
        if self._head is not None:
            same_model("watchlist", (self._head.embedder, self._head.version), probes)
        usable = [row for row in range(len(probes)) if row not in probes.failures]
        vectors = unit_rows(probes.vectors[usable], name="probes", dimension=self._rows.array.shape[1] or None)
        vectors = turn(vectors, self._rotation)
        live = self._live()
        size = int(live.sum())
        nearest = self._index.nearest(vectors, top=top, live=None if live.all() else live)
        fpir = None if threshold is None else self._fpir(threshold, calibration, size, level)
        recall, index = self._recall(top)
        shared = CandidateList(
            candidates=(), gallery_size=size, probe_quality=np.nan, probe_note="", embedder=probes.embedder,
            version=probes.version, calibration=calibration.summary(), level=level, caveats=(), mode=mode,
            threshold=threshold, fpir=fpir, index=self.index, recall=recall, unreadable=self.unreadable,
        )  # fmt: skip
        lists = {}
        for probe, rows, scores in zip(usable, nearest.rows, nearest.scores, strict=True):
            kept = scores >= (-np.inf if threshold is None else threshold)
            ranked = self._candidates(rows[kept], scores[kept], calibration, level)
            said = caveats(
                calibration, gallery_size=size, shown=len(ranked), fpir=fpir, index=index,
                unreadable=len(self.unreadable),
            )  # fmt: skip
            note = probes.notes[probe] if probes.notes else ""
            lists[probe] = replace(
                shared, candidates=ranked, probe_quality=float(probes.quality[probe]), probe_note=note, caveats=said
            )
        return Searches(lists=lists, failures=dict(probes.failures))

    def _fpir(self, threshold: float, calibration: Calibration, size: int, level: float) -> OpenSetRate:
        first = np.flatnonzero(self._live())[:10_000]
        if len({self._records[int(row)]["who"] for row in first}) < _ENOUGH:
            return fpir_from_calibration(calibration, threshold=threshold, gallery_size=size, level=level)
        if (threshold, level, size) not in self._rates:
            self._rates[threshold, level, size] = self.false_positives(threshold, level=level)
        return self._rates[threshold, level, size]

    def _live(self) -> npt.NDArray[np.bool_]:
        return self._days >= self._clock().date().toordinal()

    def false_positives(
        self, threshold: float, *, probes: int = 200, level: float = 0.95, rng: Seed = 0
    ) -> OpenSetRate:
        """Return the FPIR of a threshold, measured with an entry each of people here, searched among all others'.

        Expired entries take no part. Nobody's candidates are told; only how often there are any. Entries of one
        person under two names count as false, so look for duplicates first.

        Raises
        ------
        InputError : fewer than two people, or a closed gallery.
        """
        self._require_open()
        live = np.flatnonzero(self._live())
        codes = np.unique([self._records[int(row)]["who"] for row in live], return_inverse=True)[1]
        people = np.full(len(self), -1)
        people[live] = codes
        drawn = make_rng(rng).permutation(len(live))
        one_each = np.unique(codes[drawn], return_index=True)[1]
        picked = live[drawn[np.sort(one_each)[:probes]]]
        return fpir_of_gallery(self._rows.array, people, threshold=threshold, probes=picked, level=level)

    def resembling(
        self,
        new: Float32Array,
        people: npt.NDArray[np.int64],
        labels: Mapping[str, int],
        *,
        score: float,
        progress: Progress | None = None,
    ) -> dict[int, tuple[Entry, float]]:
        """Return for each new template, turned as those here, the most similar entry of another person.

        Parameters
        ----------
        people : (M,) number of the person of each new template. labels : of their names → number.
        """
        self._require_open()
        if self._head is None or not len(self):
            return {}
        others = np.array([labels.get(record["who"], -1) for record in self._records])
        near = most_similar_other(new, self._rows.array, people=people, others=others, score=score, progress=progress)
        head = self._head
        return {one: (self._seals.about(self._records[row], head=head), value) for one, (row, value) in near.items()}

    def _recall(self, top: int) -> tuple[float, str]:
        """Return the recall of an approximate index for lists of this length, and the sentence about it."""
        if self.index == "exact":
            return 1.0, ""
        if top not in self._recalls:
            self._recalls[top] = measure_recall(self._rows.array, self._index, top=top)
        recall, probes = self._recalls[top]
        return recall, (
            f"{self.index}; it found {recall:.1%} of the exact {top:,} best for {probes:,} entries of the list that "
            "were searched as probes"
        )

    def _candidates(self, rows: Any, scores: Any, calibration: Calibration, level: float) -> tuple[Candidate, ...]:
        if not len(rows):
            return ()
        assert self._head is not None
        ratios = calibration.likelihood_ratio(scores, level=level)
        known = [self._seals.about(self._records[row], head=self._head) for row in rows]
        return tuple(
            _candidate(rank, entry, score, ratios) for rank, entry, score in zip(itertools.count(1), known, scores)
        )

    def _require_open(self) -> None:
        if not self._open:
            raise InputError("got a gallery that was closed, expected an open one; call Watchlist.opened again")


def _mode(mode: str | None, threshold: float | None, top: int, level: float) -> str:
    """Return the mode, which the threshold implies where it was not told."""
    if mode not in (None, "threshold", "rank"):
        raise InputError(f"mode: got {mode!r}, expected threshold or rank")
    if not isinstance(top, (int, np.integer)) or top < 1:
        raise InputError(f"top: got {top!r}, expected a whole number, at least 1")
    if not 0 < level < 1:
        raise InputError(f"level: got {level}, expected a number between 0 and 1")
    if threshold is not None and not np.isfinite(threshold):
        raise InputError(f"threshold: got {threshold}, expected a score")
    implied = "rank" if threshold is None else "threshold"
    if mode not in (None, implied):
        raise InputError(
            f"mode: got {mode!r} with threshold={threshold}, expected "
            + ("a threshold with it" if mode == "threshold" else "no threshold: a list by rank has none")
        )
    return implied


def only_probe(probes: Embeddings) -> None:
    """Refuse none, several, or one without a template."""
    if len(probes) != 1:
        raise InputError(f"got {len(probes)} probes, expected one probe; Watchlist.opened().search takes several")
    if probes.failures:
        raise NoFaceError(f"not searched: {probes.failures[0]}")


def _candidate(rank: int, entry: Entry, score: float, ratios: LikelihoodRatios) -> Candidate:
    place = rank - 1
    return Candidate(
        rank=rank,
        subject=entry.subject,
        record=entry.record,
        score=float(score),
        likelihood_ratio=float(ratios.lr[place]),
        lr_low=float(ratios.low[place]),
        lr_high=float(ratios.high[place]),
        at_limit=bool(ratios.clamped[place]),
        quality=entry.quality,
        category=entry.category,
        source=entry.source,
        expires=entry.expires,
    )
