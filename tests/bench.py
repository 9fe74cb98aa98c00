"""Measure crimeface beside its peers in one run: ``make bench``, or ``python tests/bench.py --full --only crime``.

Ours and the peer take turns (A B A B …) after one warm-up each; shown are medians of wall and of CPU time (all
threads of the process). The wall clock decides; where CPU time would decide otherwise that is said too, since on a
busy machine the wall clock also measures the neighbours. A net on several threads then burns CPU time too, waiting
for its own other thread: with one core taken by others the torch rows here are up to ten times slower by both clocks.
So each row says how many cores others kept busy; above 0.1 run it again. Samples go to ``.bench/results.json``.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import json
import os
import platform
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import bench_crime
import bench_pages
import bench_recognition
import bench_reconstruction
import bench_storage
from bench_timing import Benchmark, Measured, Options, Skipped, figure

ROOT = Path(__file__).resolve().parents[1]
PARTS = (bench_recognition, bench_reconstruction, bench_crime, bench_storage, bench_pages)
SECTIONS = {part.__name__.removeprefix("bench_"): part for part in PARTS}
BENCHMARKS = [row for part in SECTIONS.values() for row in part.ROWS]


def measure(section: str, options: Options, say: Callable[[str], Any]) -> dict[Benchmark, Measured | str]:
    """Run a section; a benchmark that can't run here is kept with the reason."""
    rows = {row.name: row for row in BENCHMARKS if row.section == section}
    found: dict[Benchmark, Measured | str] = {}
    for name, run in SECTIONS[section].measure(options):
        row = rows.pop(name)
        say(f"{section}: {name}")
        if importlib.util.find_spec(row.needs) is None:
            found[row] = f"skipped: {row.needs} is not installed"
            continue
        try:
            found[row] = run()
        except Skipped as reason:
            found[row] = f"skipped: {reason}"
    return found | dict.fromkeys(rows.values(), "not run")


def as_table(results: dict[Benchmark, Measured | str], title: str) -> Any:
    from rich.table import Table

    table = Table(title=title, show_lines=True, caption="two figures: wall | CPU; a ratio above 1: ours is faster")
    for column in ("what, beside which peer; protocol", "ours", "peer", "peer / ours", "bar", "bar is"):
        table.add_column(
            column,
            justify="left" if column.startswith(("what", "bar")) else "right",
            overflow="fold",
            min_width=70 if column.startswith("what") else None,
        )
    for row, found in results.items():
        what = f"[bold]{row.name}[/bold]" + (f" beside {row.peer}" if row.peer else "") + f"\n[dim]{row.protocol}"
        bars = "\n".join(row.bars) or "none set"
        if isinstance(found, str):
            table.add_row(what, found, "", "", bars, "–")
            continue
        sides = [
            " | ".join(map(figure, row.shown(side))) + f" {row.unit}" if side else ""
            for side in (found.ours, found.peer)
        ]
        ratios = " | ".join(f"{figure(ratio)}×" for ratio in row.ratios(found)) + row.spread(found)
        verdicts = "\n".join(row.verdict(bar, found) for bar in row.bars) or "–"
        table.add_row(f"{what}; {found.note}", *sides, ratios, bars, verdicts)
    return table


def machine() -> dict[str, Any]:
    from threadpoolctl import threadpool_info

    packages = ("crimeface-lib", "numpy", "torch", "dlib-bin", "numba", "scikit-learn", "esda", "tinydb")
    installed = {name.metadata["Name"]: name.version for name in importlib.metadata.distributions()}
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"), "python": platform.python_version(),
        "system": platform.platform(), "cores": os.cpu_count(), "load": os.getloadavg(),
        "threads": {pool["internal_api"]: pool["num_threads"] for pool in threadpool_info()},
        "versions": {name: installed.get(name, "not installed") for name in packages},
    }  # fmt: skip


def main() -> None:
    from rich.console import Console

    parser = argparse.ArgumentParser(description="Measure crimeface beside its peers.")
    parser.add_argument("--full", action="store_true", help="more faces, more turns, place prediction on Chicago")
    parser.add_argument("--only", choices=SECTIONS, help="one section")
    given, data = parser.parse_args(), os.environ.get("CRIMEFACE_DATA_ROOT")
    console, out = Console(), ROOT / ".bench"
    console = console if console.is_terminal else Console(width=170)
    out.mkdir(exist_ok=True)
    results: dict[Benchmark, Measured | str] = {}
    before, began = machine(), time.monotonic()
    with tempfile.TemporaryDirectory(dir=out) as scratch, console.status("") as status:
        options = Options(given.full, Path(data).resolve() if data else None, Path(scratch))
        for section in [given.only] if given.only else SECTIONS:
            results |= measure(section, options, status.update)
    after = machine()
    loads = " → ".join(f"{load['load'][0]:.1f}" for load in (before, after))
    title = f"crimeface bench, {after['cores']} cores, load {loads}, {time.monotonic() - began:.0f} s"
    console.print(as_table(results, title))
    console.print(f"threads {after['threads']}\nversions {after['versions']}")
    rows = [
        {**row._asdict(), "result": found if isinstance(found, str) else asdict(found),
         "verdicts": [] if isinstance(found, str) else [row.verdict(bar, found) for bar in row.bars]}
        for row, found in results.items()
    ]  # fmt: skip
    (out / "results.json").write_text(json.dumps({"before": before, "after": after, "rows": rows}, indent=1), "utf-8")


if __name__ == "__main__":
    main()
