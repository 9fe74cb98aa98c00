"""What ``bench.py`` measures of place models, beside open_cp.

open_cp is on no package index: clone github.com/QuantCrimAtLeeds/PredictCode and put the folder that holds ``open_cp``
on PYTHONPATH. In its files replace ``np.object``, ``np.int`` and ``np.float``, which NumPy no longer has, by
``object``, ``int`` and ``float``.
"""

from __future__ import annotations

import resource
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache, partial
from importlib.util import find_spec
from typing import Any

import numpy as np
from bench_timing import Benchmark, Measured, Options, Skipped, side_by_side

from crimeface_lib import crime
from crimeface_lib.crime._history import History, read_history
from crimeface_lib.crime._prohotspot import prospective_weights, quartic_sums
from crimeface_lib.crime.self_exciting import fit_history

_AT = np.datetime64("2019-01-01", "s")
_SIZES = {"10k": 10_000, "100k": 100_000}
_WHERE = "Chicago, 250 m cells, the last events before 2019"

ROWS = [
    *(Benchmark("crime", f"place PAI at {area}", "PAI", (f"≥ {pai} PAI",), "counts of one year",
                "decayed counts; Chicago, 11 cut-offs in 2019, 30 days ahead; bar: published less rounding")
      for area, pai in (("1%", 10.53), ("5%", 6.23), ("10%", 4.84))),
    *(Benchmark("crime", f"prohotspot, {size}", "ms", ("≥ 20×",), "open_cp", _WHERE) for size in _SIZES),
    *(Benchmark("crime", f"retrospective, {size}", "ms", (), "open_cp", _WHERE) for size in _SIZES),
    Benchmark("crime", "prohotspot, largest difference", "of peak", ("≤ 1e-9 of peak",), "open_cp", _WHERE),
    Benchmark("crime", "retrospective, largest difference", "of peak", ("≤ 1e-9 of peak",), "open_cp", _WHERE),
    Benchmark("crime", "self_exciting, 100k", "s", ("≤ 10 s",), "open_cp seppexp",
              f"{_WHERE}; to convergence, the peer 20 rounds without kernels in space"),
    Benchmark("crime", "self_exciting, memory", "GB", ("≤ 0.5 GB",), "", "growth of the peak; 0 where it was higher"),
]  # fmt: skip


def _open_cp(events: History, grid: crime.Grid) -> tuple[Any, Any]:
    """Return open_cp's region and points."""
    if find_spec("open_cp") is None:
        raise Skipped("no module open_cp: the head of tests/bench_places.py says where it is")
    import open_cp

    (west, south), (rows, columns), side = grid.origin, grid.shape, grid.cell
    region = open_cp.RectangularRegion(xmin=west, xmax=west + columns * side, ymin=south, ymax=south + rows * side)
    order = np.argsort(events.start)
    return region, open_cp.TimedPoints(events.start[order], events.xy[order].T)


def _prospective(events: History, grid: crime.Grid) -> tuple[Callable[[int], Any], Callable[[int], Any]]:
    region, points = _open_cp(events, grid)
    from open_cp.prohotspot import ProspectiveHotSpot

    peer = ProspectiveHotSpot(region=region, grid_size=grid.cell)
    peer.data = points
    weeks = np.floor((_AT - events.start) / np.timedelta64(7, "D")).astype(np.int64)
    return (
        lambda _: prospective_weights(grid, events.cell, weeks)[0],
        lambda _: peer.predict(_AT, _AT).intensity_matrix[grid.row, grid.column],
    )


def _retrospective(events: History, grid: crime.Grid) -> tuple[Callable[[int], Any], Callable[[int], Any]]:
    region, points = _open_cp(events, grid)
    from open_cp.retrohotspot import RetroHotSpotGrid

    peer = RetroHotSpotGrid(region=region, grid_size=grid.cell)
    peer.data = points
    return (
        lambda _: quartic_sums(grid, events.xy, events.cell, bandwidth=200.0)[0],
        lambda _: peer.predict().intensity_matrix[grid.row, grid.column],
    )


def measure(options: Options, events: crime.Events, grid: crime.Grid) -> Iterator[tuple[str, Callable[[], Measured]]]:
    @cache
    def latest(number: int) -> History:
        if not options.full:
            raise Skipped("only with --full")
        options.real("crime/chicago")
        known = read_history(events, grid).before(_AT)
        cut = {name: getattr(known, name)[-number:] for name in ("cell", "xy", "start", "end")}
        return replace(known, **cut)

    def timed(sides: Any, number: int) -> Measured:
        return side_by_side(*sides(latest(number), grid), turns=1, calls=5, note=f"{number:,} events")

    def differing(sides: Any) -> Measured:
        ours, theirs = (side(0) for side in sides(latest(10_000), grid))
        return Measured((float(np.abs(ours - theirs).max() / theirs.max()),), None, "10,000 events")

    def sepp() -> Measured:
        known = latest(100_000)
        fit = fit_history(known)
        note = f"100,000 events, branching {fit.branching:.3f}"
        if find_spec("open_cp") is None:
            return side_by_side(lambda _: fit_history(known), turns=1, note=note)
        region, points = _open_cp(known, grid)
        from open_cp.seppexp import SEPPTrainer

        peer = SEPPTrainer(region=region, grid_size=grid.cell)
        peer.data = points

        def train(_: int) -> Any:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return peer.train(iterations=20)

        return side_by_side(
            lambda _: fit_history(known), train, turns=1, note=f"{note}, the peer's {train(0).theta:.3f}"
        )

    def memory() -> Measured:
        known, before = latest(100_000), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        fit_history(known)
        return Measured(((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1e6,), None, "100,000 events")

    @cache
    def places() -> Any:
        if not options.full:
            raise Skipped("only with --full")
        options.real("crime/chicago")
        cutoffs = [f"2019-{month:02d}-01" for month in range(1, 12)]
        found = crime.evaluate_places(events, grid, cutoffs=cutoffs, horizon="30D", rng=0)
        return found.summary.set_index(["area", "model"])["pai"]

    yield "self_exciting, memory", memory
    for size, number in _SIZES.items():
        yield f"prohotspot, {size}", partial(timed, _prospective, number)
        yield f"retrospective, {size}", partial(timed, _retrospective, number)
    yield "prohotspot, largest difference", partial(differing, _prospective)
    yield "retrospective, largest difference", partial(differing, _retrospective)
    yield "self_exciting, 100k", sepp

    def pais(area: float) -> Measured:
        found = places()[area]
        return Measured((float(found["decayed_counts"]),), (float(found["counts"]),))

    for area in (0.01, 0.05, 0.10):
        yield f"place PAI at {area:.0%}", partial(pais, area)
