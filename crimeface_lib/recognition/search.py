"""The best scores of many templates for many probes: exact, in blocks, or with a FAISS index whose recall is told.

Arrays in, arrays out; the templates are of unit length, so that a score, a cosine, is one product of two rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from crimeface_lib.core.arrays import check_array
from crimeface_lib.core.errors import InputError, MissingBackendError, ShapeError
from crimeface_lib.core.random import Seed, make_rng
from crimeface_lib.core.types import Float32Array, FloatArray

IntArray = npt.NDArray[np.int64]
#: Called with how many are done, and of how many.
Progress = Callable[[int, int], object]

#: Scores held at a time: 32 MB.
_SCORES = 8 << 20
#: More than float32 loses in a product of two unit rows of 2,048 numbers.
_SLACK = 3e-6


@dataclass(frozen=True, slots=True, eq=False)
class Nearest:
    """The best rows for each of M probes, best first; equal scores in the order of the rows.

    Parameters
    ----------
    rows : for each probe (k,) row numbers. scores : for each probe (k,) float64 cosines.
    """

    rows: tuple[IntArray, ...]
    scores: tuple[FloatArray, ...]


class Index(Protocol):
    """What finds the nearest rows: ``ExactIndex`` or ``FaissIndex``."""

    name: str

    def nearest(self, probes: Float32Array, *, top: int, live: npt.NDArray[np.bool_] | None = None) -> Nearest:
        """Return the ``top`` best of the rows that are ``live``."""
        ...


def unit_rows(value: npt.ArrayLike, *, name: str, dimension: int | None = None) -> Float32Array:
    """Return (N, D) float32 rows of unit length.

    Raises
    ------
    ShapeError : another dimension, NaN, or a row of zeros.
    """
    rows: Float32Array = check_array(value, shape=(None, dimension), name=name, dtype=np.float32)
    lengths = np.sqrt(np.einsum("nd,nd->n", rows, rows, dtype=np.float64))
    if (lengths == 0).any():
        raise ShapeError(f"{name}: got a row of zeros, expected templates; leave failed images out")
    if (np.abs(lengths - 1) < 1e-6).all():
        return rows
    return (rows / lengths[:, None]).astype(np.float32)


class ExactIndex:
    """Every row is compared: nothing is missed, and memory stays bounded.

    >>> index = ExactIndex(np.eye(3, dtype=np.float32))
    >>> index.nearest(np.array([[0.0, 0.8, 0.6]], dtype=np.float32), top=2).rows[0]
    array([1, 2])
    """

    name = "exact"

    def __init__(self, rows: Float32Array) -> None:
        self._rows = rows

    def nearest(self, probes: Float32Array, *, top: int, live: npt.NDArray[np.bool_] | None = None) -> Nearest:
        """Return the ``top`` best of the rows that are ``live`` (all by default), fewer where there are fewer.

        One float32 product a block finds all rows that may be among the best; their scores are then computed in
        float64, so that order and ties depend neither on blocks nor on the number of probes.
        """
        found: list[tuple[IntArray, FloatArray]] = []
        for some in np.split(probes, range(64, len(probes), 64)):
            found += self._some(some, top, live)
        return Nearest(rows=tuple(rows for rows, _ in found), scores=tuple(scores for _, scores in found))

    def _some(self, probes: Float32Array, top: int, live: Any) -> list[tuple[IntArray, FloatArray]]:
        best = [(np.empty(0, dtype=np.int64), np.empty(0)) for _ in probes]
        bars = np.full(len(probes), -np.inf, dtype=np.float32)  # below it, a row can't be among the best
        for start, scores in blocks(self._rows, probes):
            if live is not None:
                scores[:, ~live[start : start + scores.shape[1]]] = -np.inf
            if scores.shape[1] > top:  # raises the bar before anything is copied
                kth = np.partition(scores, scores.shape[1] - top, axis=1)[:, -top] if start == 0 else bars
                bars = np.maximum(bars, kth - np.float32(_SLACK))
            above = scores >= bars[:, None]
            above &= scores > -np.inf
            for one in np.flatnonzero(above.any(axis=1)):
                rows = np.flatnonzero(above[one])
                if len(rows) > 8 * top:  # the later rows of this gallery resemble the probe more
                    kth = np.partition(scores[one, rows], len(rows) - top)[-top]
                    rows = rows[scores[one, rows] >= kth - np.float32(_SLACK)]
                rows = np.concatenate([best[one][0], rows + start])
                best[one] = _ranked(self._rows, probes[one], rows, top)
                if len(best[one][0]) == top:
                    bars[one] = max(bars[one], np.float32(best[one][1][-1] - _SLACK))
        return best


def blocks(rows: Float32Array, probes: Float32Array) -> Iterator[tuple[int, Float32Array]]:
    """Yield (first row, (M, B) float32 scores) for one block of rows after the other."""
    size = max(1, _SCORES // max(1, len(probes)))
    size = min(size, 1 << 16)
    for start in range(0, len(rows), size):
        yield start, probes @ rows[start : start + size].T


def _ranked(gallery: Float32Array, probe: Float32Array, rows: IntArray, top: int) -> tuple[IntArray, FloatArray]:
    """Return the best ``top`` of ``rows`` with their scores in float64; equal scores in order of the rows."""
    scores = np.einsum("nd,d->n", gallery[rows].astype(np.float64), probe.astype(np.float64))
    order = np.lexsort((rows, -np.round(scores, 12)))[:top]
    return rows[order], np.clip(scores[order], -1.0, 1.0)


def most_similar_other(
    new: Float32Array,
    rows: Float32Array,
    *,
    people: IntArray,
    others: IntArray,
    score: float,
    earlier: bool = False,
    progress: Progress | None = None,
) -> dict[int, tuple[int, float]]:
    """Return for each new template that scores at least ``score`` with another person's row: (best row, score).

    Parameters
    ----------
    new : (M, D), rows : (N, D) float32, unit length. people : (M,), others : (N,) numbers of the persons.
    earlier : ``rows`` are the new templates themselves, and each is compared with those before it only.
    """
    found: dict[int, tuple[int, float]] = {}
    for first in range(0, len(new), 256):
        some = slice(first, min(first + 256, len(new)))
        limit = some.stop if earlier else len(rows)
        for start, scores in blocks(rows[:limit], new[some]):
            for one in np.flatnonzero(scores.max(axis=1) >= score):  # few; the rest is one pass over the product
                row, line = first + int(one), scores[one]
                line[others[start : start + len(line)] == people[row]] = -np.inf
                if earlier:
                    line[max(0, row - start) :] = -np.inf
                best = int(line.argmax())
                if line[best] >= max(score, found.get(row, (0, -np.inf))[1]):
                    found[row] = (start + best, min(1.0, float(line[best])))
        if progress is not None:
            progress(some.stop, len(new))
    return found


class FaissIndex:
    """An approximate index (extra ``faiss``): faster on millions of rows, and it may miss some.

    FAISS copies the templates into memory of its own, which is neither locked nor zeroed.

    Parameters
    ----------
    kind : "ivf" (clusters: 4 √N of them, ``effort`` searched) or "hnsw" (a graph of 32 neighbours a row, built with
        200, searched with ``effort``).
    effort : the larger, the more is found and the slower; 32 clusters or 256 neighbours by default.

    Raises
    ------
    MissingBackendError : FAISS is not installed. InputError : another kind.
    """

    def __init__(self, rows: Float32Array, *, kind: str = "ivf", effort: int | None = None) -> None:
        try:
            import faiss
        except ImportError as error:
            raise MissingBackendError(
                f"FAISS can't be imported: {error}; pip install 'crimeface-lib[faiss]', or use index='exact'"
            ) from error
        if kind not in ("ivf", "hnsw"):
            raise InputError(f"kind: got {kind!r}, expected ivf or hnsw")
        count, dimension = rows.shape
        self._rows = rows
        if kind == "ivf":
            lists = max(1, min(int(4 * np.sqrt(count)), count // 39))  # FAISS asks for 39 rows a cluster
            probed = min(effort or 32, lists)
            self._index: Any = faiss.IndexIVFFlat(
                faiss.IndexFlatIP(dimension), dimension, lists, faiss.METRIC_INNER_PRODUCT
            )
            self._index.cp.seed = 1234
            self._index.train(rows)
            self._index.nprobe = probed
            self.name = f"FAISS IVF-Flat, {lists:,} clusters, {probed} searched"
        else:
            self._index = faiss.IndexHNSWFlat(dimension, 32, faiss.METRIC_INNER_PRODUCT)
            self._index.hnsw.efConstruction, self._index.hnsw.efSearch = 200, effort or 256
            self.name = f"FAISS HNSW, 32 neighbours, built with 200, searched with {effort or 256}"
        self._index.add(rows)

    def nearest(self, probes: Float32Array, *, top: int, live: npt.NDArray[np.bool_] | None = None) -> Nearest:
        """Return up to ``top`` of the rows that are ``live``, with exact scores."""
        gone = 0 if live is None else int((~live).sum())
        _, found = self._index.search(probes, min(top + gone, len(self._rows)))
        kept = [rows[rows >= 0] for rows in found]
        kept = kept if live is None else [rows[live[rows]] for rows in kept]
        pairs = [_ranked(self._rows, probe, rows, top) for probe, rows in zip(probes, kept, strict=True)]
        return Nearest(rows=tuple(rows for rows, _ in pairs), scores=tuple(scores for _, scores in pairs))


def build_index(rows: Float32Array, index: str) -> Index:
    """Return the index called "exact", "faiss" (an IVF), "faiss-ivf" or "faiss-hnsw" over ``rows``.

    Raises
    ------
    MissingBackendError : FAISS is not installed. InputError : another name.
    """
    if index == "exact":
        return ExactIndex(rows)
    if index in ("faiss", "faiss-ivf", "faiss-hnsw"):
        return FaissIndex(rows, kind=index.partition("-")[2] or "ivf")
    raise InputError(f"index: got {index!r}, expected exact, faiss, faiss-ivf or faiss-hnsw")


def measure_recall(
    rows: Float32Array, index: Index, *, top: int, probes: int = 200, rng: Seed = 0
) -> tuple[float, int]:
    """Return which share of the exact ``top`` an index finds, and with how many probes this was measured.

    The probes are rows drawn at random; a row itself, which every index finds, does not count.
    """
    picked = make_rng(rng).choice(len(rows), size=min(probes, len(rows)), replace=False)
    exact = ExactIndex(rows).nearest(rows[picked], top=top + 1)
    found = index.nearest(rows[picked], top=top + 1)
    hits = wanted = 0
    for one, right, got in zip(picked, exact.rows, found.rows, strict=True):
        others = np.setdiff1d(right, [one])[:top]
        hits, wanted = hits + len(np.intersect1d(others, got)), wanted + len(others)
    return (hits / wanted if wanted else 1.0), len(picked)
