"""How the benchmarks are timed and judged: a row with its bars, ours and the peer by turns, medians."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

SCALE = {"ms": 1e3, "s": 1.0, "/s": -1.0, "MB/s": -1.0}  # of seconds; −1 is a rate; other units are no times
Sample = tuple[float, ...]  # (wall, CPU) seconds an item, or one figure


class Skipped(Exception):
    """Why a benchmark can't run here."""


class Options(NamedTuple):
    full: bool
    data: Path | None
    scratch: Path

    def real(self, path: str) -> Path:
        if self.data is None:
            raise Skipped("no real data: set CRIMEFACE_DATA_ROOT (data/README.md)")
        return self.data / path


@dataclass(frozen=True)
class Measured:
    ours: Sample
    peer: Sample | None = None
    note: str = ""
    unjudged: str = ""  # why the bar doesn't apply
    samples: dict[str, list[Sample]] = field(default_factory=dict)


class Benchmark(NamedTuple):
    """A row. A bar is "≥ 3×" (peer's time / ours) or "≤ 35 ms" (our own figure); none means that nobody set one."""

    section: str
    name: str
    unit: str
    bars: tuple[str, ...]
    peer: str
    protocol: str
    needs: str = "numpy"  # the peer's module

    def shown(self, sample: Sample) -> Sample:
        scale = SCALE.get(self.unit, 1.0)
        return tuple(1 / n if scale < 0 else n * scale for n in sample)

    def ratios(self, found: Measured) -> Sample:
        timed = found.peer is not None and self.unit in SCALE
        return tuple(b / a for a, b in zip(found.ours, found.peer or (), strict=True)) if timed else ()

    def spread(self, found: Measured) -> str:
        """Return the range of the wall ratio over the turns."""
        turns = zip(found.samples.get("ours", []), found.samples.get("peer", []), strict=False)
        by_turn = [theirs[0] / ours[0] for ours, theirs in turns]
        return f"\nturns {figure(min(by_turn))}–{figure(max(by_turn))}" if self.ratios(found) else ""

    def verdict(self, bar: str, found: Measured) -> str:
        if found.unjudged:
            return f"not judged: {found.unjudged}"
        sign, number = bar.split()[:2]
        values, limit = self.ratios(found) if "×" in bar else self.shown(found.ours), float(number.rstrip("×"))
        held = ["met" if (v >= limit if sign == "≥" else v <= limit) else "missed" for v in values]
        return held[0] if len(set(held)) == 1 else f"{held[0]} (CPU: {held[1]})"


def figure(number: float) -> str:
    return f"{number:,.0f}" if abs(number) >= 100 else f"{number:.3g}"


def side_by_side(
    ours: Callable[[int], Any], peer: Callable[[int], Any] | None = None, *,
    turns: int = 5, items: float = 1, calls: int = 1, note: str = "",
) -> Measured:  # fmt: skip
    """Time ours(turn) and peer(turn) by turns; a call does ``items``, ``calls`` of ours make one sample."""
    samples: dict[str, list[Sample]] = {"ours": [], "peer": []}
    busy, own, began = busy_seconds(), time.process_time(), time.perf_counter()
    for turn in range(turns + 1):  # 0 is the warm-up
        for name, side, number in (("ours", ours, calls), ("peer", peer, 1)):
            start = time.perf_counter(), time.process_time()
            for _ in range(number if side else 0):
                side(turn)
            end = time.perf_counter(), time.process_time()
            if turn and side:
                samples[name].append(tuple((b - a) / items / number for a, b in zip(start, end, strict=True)))
    others = (busy_seconds() - busy - time.process_time() + own) / (time.perf_counter() - began)
    return medians(samples, f"{note}{', ' if note else ''}{turns} turns, others kept {max(others, 0):.1f} cores busy")


def busy_seconds() -> float:
    """Return the CPU seconds that all processes together have used since boot; NaN where /proc doesn't say."""
    if not Path("/proc/stat").exists():
        return float("nan")
    ticks = [int(word) for word in Path("/proc/stat").read_text("ascii").split("\n", 1)[0].split()[1:8]]
    return (sum(ticks[:3]) + sum(ticks[5:])) / os.sysconf("SC_CLK_TCK")


def medians(samples: dict[str, list[Sample]], note: str) -> Measured:
    middle = {name: tuple(np.median(taken, axis=0).tolist()) for name, taken in samples.items() if taken}
    return Measured(middle["ours"], middle.get("peer"), note, samples=samples)
