"""Near repeats: do events close in space gather in time more than chance has it? The Knox test, by permutation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from crimeface_lib.core.display import list_html, table_html
from crimeface_lib.core.errors import InputError
from crimeface_lib.core.random import Seed, make_rng
from crimeface_lib.core.results import Result, to_plain
from crimeface_lib.core.types import FloatArray, IntArray
from crimeface_lib.crime.events import Events

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd

#: Pairs of events held at once, 16 bytes each.
MAX_PAIRS = 100_000_000
#: Permuted times held at once.
_BLOCK_BYTES = 64_000_000


@dataclass(frozen=True, slots=True)
class KnoxTest(Result):
    """Pairs of events by distance and time, against what chance would give.

    Parameters
    ----------
    table : one row per distance band and time band: ``distance_from``, ``distance_to`` (metres; from excluded, to
        included, both 0 is the same place), ``days_from``, ``days_to`` (from included, to excluded), ``observed``,
        ``expected`` (exact under exchangeable times), ``ratio``, ``p`` (one-sided, more pairs than chance).
    events : how many had a place and a time; dropped : how many had not.
    metric : "manhattan" or "euclidean".
    permutations : how many shuffles of the times the p values rest on; the smallest p is 1 / (permutations + 1).
    """

    table: pd.DataFrame = field(repr=False)
    events: int
    dropped: int
    metric: str
    permutations: int
    caveats: tuple[str, ...]

    def to_frame(self) -> pd.DataFrame:
        """The table."""
        return self.table

    def to_dict(self) -> dict[str, Any]:
        return {
            "table": to_plain(self.table), "events": self.events, "dropped": self.dropped, "metric": self.metric,
            "permutations": self.permutations, "caveats": list(self.caveats),
        }  # fmt: skip

    def _repr_html_(self) -> str:
        table = table_html(self.table.round(3))
        return f"<p><b>{self.events:,} events</b>, {self.metric} distance</p>{table}{list_html(self.caveats)}"


def knox_test(
    events: Events,
    *,
    distance: Sequence[float] = (0, 100, 200, 300),
    days: Sequence[int] = (7, 14, 28),
    metric: Literal["manhattan", "euclidean"] = "manhattan",
    permutations: int = 999,
    rng: Seed = None,
) -> KnoxTest:
    """Count pairs of events by distance and time and compare with shuffled times.

    Parameters
    ----------
    distance : upper edges of the bands, metres, ascending; 0 is the band of the same place.
    days : upper edges of the bands, whole days, ascending, the edge itself excluded: (7, 14) is less than a week, and
        one week to less than two.
    permutations : shuffles of the times over the places.

    Raises
    ------
    InputError : the events know only their month, fewer than 3 have place and time, bad bands, or too many pairs.

    References: Knox 1964; Ratcliffe & Rengert 2008 (near repeats). The expectation is exact, pairs near in space times
    the share of all pairs near in time (Knox 1964), not an average over the shuffles.
    """
    if events.resolution != "time":
        raise InputError(
            "events: got events that know only their month, expected days: near repeats happen within days; "
            "read them with a time column, see read_points"
        )
    far, late = _edges(distance, "distance", lowest=0.0), _edges(days, "days", lowest=1.0).astype(np.int64)
    if metric not in ("manhattan", "euclidean"):
        raise InputError(f"metric: got {metric!r}, expected 'manhattan' or 'euclidean'")
    if permutations < 1:
        raise InputError(f"permutations: got {permutations}, expected at least 1 (999 is usual)")
    xy, when = events.coordinates(), events.when()
    known = np.isfinite(xy).all(axis=1) & ~np.isnat(when)
    xy, day = xy[known], when[known].astype("datetime64[D]").astype(np.int64)
    if len(day) < 3:
        raise InputError(f"events: got {len(day)} with a place and a time, expected at least 3")
    pairs, band = _near_pairs(xy, far, metric)
    observed = _count(pairs, band, day[None], late, len(far))[0]
    gen = make_rng(rng, stream="knox_test")
    exceed = np.zeros(observed.shape, dtype=np.int64)
    block = max(1, _BLOCK_BYTES // (8 * len(day)))
    for start in range(0, permutations, block):
        shuffled = gen.permuted(np.tile(day, (min(block, permutations - start), 1)), axis=1)
        exceed += (_count(pairs, band, shuffled, late, len(far)) >= observed).sum(axis=0)
    expected = np.outer(np.bincount(band, minlength=len(far)), _share_in_time(day, late))
    table = _table(far, late, observed, expected, (exceed + 1) / (permutations + 1))
    caveats = (
        "Pairs near in space and time arise from one series of offences and also from places and seasons that are "
        "busy for all: the test doesn't tell them apart.",
        f"Each of the {table.shape[0]} bands is a test of its own; a few small p values come by chance.",
    )
    return KnoxTest(table, len(day), int((~known).sum()), metric, permutations, caveats)


def _edges(values: Sequence[float], name: str, *, lowest: float) -> FloatArray:
    edges = np.asarray(values, dtype=np.float64)
    good = edges.ndim == 1 and len(edges) and np.isfinite(edges).all() and edges[0] >= lowest
    if not good or (np.diff(edges) <= 0).any() or (name == "days" and (edges % 1).any()):
        kind = "whole days" if name == "days" else "metres"
        raise InputError(f"{name}: got {values!r}, expected ascending upper edges in {kind}, from {lowest:g}")
    return edges


def _near_pairs(xy: FloatArray, far: FloatArray, metric: str) -> tuple[IntArray, IntArray]:
    """Return (P, 2) pairs no further apart than the last edge, in order of their first, and the (P,) band of each."""
    from scipy.spatial import cKDTree

    order = 1.0 if metric == "manhattan" else 2.0
    tree = cKDTree(xy)
    reach = far[-1] * (1 + 1e-12)
    number = (int(tree.count_neighbors(tree, reach, p=order)) - len(xy)) // 2
    if number > MAX_PAIRS:
        raise InputError(
            f"distance: {number:,} pairs of events are no further than {far[-1]:g} m apart, expected at most "
            f"{MAX_PAIRS:,}; use shorter distances, one crime type or a shorter span"
        )
    pairs = tree.query_pairs(reach, p=order, output_type="ndarray")
    pairs = pairs[np.argsort(pairs[:, 0], kind="stable")].astype(np.int32)
    apart = xy[pairs[:, 0]] - xy[pairs[:, 1]]
    length = np.abs(apart).sum(axis=1) if metric == "manhattan" else np.hypot(*apart.T)
    band = np.searchsorted(far, length, side="left")
    near = band < len(far)
    return pairs[near], band[near].astype(np.int32)


def _count(pairs: IntArray, band: IntArray, day: IntArray, late: IntArray, bands: int) -> IntArray:
    """Return (B, bands, L) pairs by distance and time band for each of (B, N) arrangements of the days."""
    counts = np.zeros((len(day), bands, len(late) + 1), dtype=np.int64)
    _kernel()(pairs, band, np.ascontiguousarray(day), late, counts)
    return counts[:, :, :-1]


@cache
def _kernel() -> Callable[..., None]:
    import numba

    @numba.njit(cache=True, nogil=True)
    def count(pairs: Any, band: Any, day: Any, late: Any, counts: Any) -> None:
        for turn in range(len(day)):
            times, into = day[turn], counts[turn]
            for k in range(len(pairs)):
                apart = abs(times[pairs[k, 0]] - times[pairs[k, 1]])
                slot = 0
                while slot < len(late) and apart >= late[slot]:
                    slot += 1
                into[band[k], slot] += 1

    return count


def _share_in_time(day: IntArray, late: IntArray) -> FloatArray:
    """Return (L,) share of all pairs of events whose days lie in each band, exactly."""
    ranked = np.sort(day)
    place = np.arange(len(ranked))
    below = np.array([(np.searchsorted(ranked, ranked + edge, side="left") - place - 1).sum() for edge in late])
    return np.diff(below, prepend=0) / (len(day) * (len(day) - 1) / 2)


def _table(far: FloatArray, late: IntArray, observed: IntArray, expected: FloatArray, p: FloatArray) -> pd.DataFrame:
    import pandas as pd

    near, early = np.concatenate([[0.0], far[:-1]]), np.concatenate([[0], late[:-1]])
    space, time = (axis.ravel() for axis in np.meshgrid(np.arange(len(far)), np.arange(len(late)), indexing="ij"))
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(expected > 0, observed / expected, np.nan)
    return pd.DataFrame({
        "distance_from": near[space], "distance_to": far[space], "days_from": early[time], "days_to": late[time],
        "observed": observed.ravel(), "expected": expected.ravel(), "ratio": ratio.ravel(), "p": p.ravel(),
    })  # fmt: skip
