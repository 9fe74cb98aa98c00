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
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
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


_CHIP = (
    "a chip of 250×250 photos of the public-domain portrait, jittered, seed 0; ours batched, dlib (no BLAS) one by one"
)
_PHOTO = "a photo in memory; HOG without upsampling, 5 points, largest face; dlib (no BLAS, 1 thread) photo by photo"
_FIT = "a face, as reconstruct() asks for it: jaw slides, expression free; BLAS 1 thread"
_AGREES = "a frontal face at 224² by PyTorch3D on a CPU; the worse of numba and torch"
_DRAWN = (
    "drawn ICT faces, 200 mm on 62 % of 512 px, σ = 2 px, focal length unknown, expression shared, jaw {}; "
    "bar: N ≥ 100 (--full)"
)
_LIT = (
    "median error of the pixels' shape as a share of the landmarks' one; drawn ICT faces at 256², known light, "
    "landmarks σ = 1 px; bar: N ≥ 30 (--full)"
)
_VIEWS = (("1 view", 15, "0.85"), ("3 views", 25, "0.60"), ("5 views", 40, "0.50"))
_DLIB, _KDE = "dlib.face_recognition_model_v1", "sklearn KernelDensity"
_GI, _DISK = "counts in 250 m cells and 8 neighbours; weights built beforehand; 1 job", "in .bench/ of the working copy"

BENCHMARKS = [
    Benchmark("recognition", "embed chips", "ms", ("≥ 6×",), _DLIB, _CHIP, "dlib"),
    Benchmark("recognition", "embed chips, torch on 1 thread", "ms", ("≥ 6×",), _DLIB, _CHIP, "dlib"),
    Benchmark("recognition", "photo to template, no mirror", "ms", ("≥ 3×", "≤ 35 ms"), _DLIB, _PHOTO, "dlib"),
    Benchmark("recognition", "photo to template, default", "ms", ("≥ 3×", "≤ 35 ms"), _DLIB,
              f"{_PHOTO}; ours also embeds the mirror image", "dlib"),
    Benchmark("recognition", "photo to template, LFW", "ms", ("≥ 3×", "≤ 35 ms"), _DLIB,
              f"{_PHOTO}; View 1, seed 0, no mirror", "dlib"),
    Benchmark("recognition", "watchlist search in 1,000", "ms", (), "bare numpy product on open templates",
              "a probe; ours reads the store, decrypts each entry and gives 20 likelihood ratios"),
    *(row for views, time_, error in _VIEWS for row in (
        Benchmark("reconstruction", f"fit_landmarks, {views}", "ms", (f"≤ {time_} ms",), "",
                  f"{_FIT}; uncertainty of scale and focal length; that of the vertices comes on first use"),
        Benchmark("reconstruction", f"fit_landmarks and vertex_sd, {views}", "ms", (), "", _FIT),
        *(row for jaw, name in (("fixed", ""), ("at the silhouette, and slid by the fit", ", sliding jaw")) for row in (
            Benchmark("reconstruction", f"error along the normal{name}, {views}", "mm", (f"≤ {error} mm",),
                      "the mean face",
                      f"median over faces of the median over the narrow face, after similarity; {_DRAWN.format(jaw)}"),
            Benchmark("reconstruction", f"truth within 2 sd{name}, {views}", "%", ("≥ 90 %", "≤ 98 %"), "",
                      f"mean share of the face's vertices within 2 posterior sd; {_DRAWN.format(jaw)}"),
        )),
    )),
    Benchmark("reconstruction", "fit_landmarks_batch", "/s", (), "", "one photo a face, jaw slides; bar: a GPU's"),
    Benchmark("reconstruction", "rasterize, numba", "ms", ("≤ 2 ms",), "", "a frontal face at 224², with its checks"),
    Benchmark("reconstruction", "rasterize, torch", "ms", ("≤ 12 ms",), "", "a frontal face at 224², with its checks"),
    Benchmark("reconstruction", "rasterize, PyTorch3D", "ms", ("≥ 1000×",), "PyTorch3D's CPU rasteriser",
              "a frontal face at 224², one face a pixel, no bins", "pytorch3d"),
    Benchmark("reconstruction", "rasterize_batch, torch", "ms", ("≤ 0.5 ms",), "",
              "a frame of 32 frontal faces at 224², from NumPy and back; bar: a GPU's"),
    Benchmark("reconstruction", "coverage apart, PyTorch3D", "px", ("≤ 0 px",), "", _AGREES, "pytorch3d"),
    Benchmark("reconstruction", "same triangle, PyTorch3D", "%", ("≥ 99.9 %",), "", _AGREES, "pytorch3d"),
    Benchmark("reconstruction", "weights apart, PyTorch3D", "", ("≤ 0.001",), "", _AGREES, "pytorch3d"),
    *(row for views, seconds in (("1 view", 3), ("3 views", 5)) for row in (
        Benchmark("reconstruction", f"refine_photometric, {views}", "s", (f"≤ {seconds} s",), "",
                  "a drawn ICT face at 256², expression shared; BLAS 1 thread"),
        Benchmark("reconstruction", f"error with pixels, {views}", "%", ("≤ 100 %",), "", _LIT),
    )),
    *(Benchmark("reconstruction", f"error with pixels, {spoilt}", "%", ("≤ 103 %",), "", _LIT)
      for spoilt in ("cast shadow", "shine", "hand", "spectacles", "grey", "over-exposed")),
    Benchmark("reconstruction", "bake_texture, 1 photo", "ms", (), "", "1024² texels from the 512² portrait, albedo"),
    Benchmark("reconstruction", "reconstruct, 1 photo", "ms", (), "",
              "detect, landmarks, fit, pixels, texture of 1024²; 512² portrait"),
    Benchmark("reconstruction", "reconstruct_batch, 8 photos", "/s", (), "reconstruct one by one",
              "8 portraits of 250²; thumbnails and fits written, no mesh, no photometry"),
    Benchmark("crime", "kde, exact peer", "ms", ("≥ 20×",), _KDE, "Gaussian 300 m at the centres of 250 m cells"),
    Benchmark("crime", "kde, peer with rtol=0.01", "ms", ("≥ 20×",), _KDE, "the same, and the peer may err by 1 %"),
    Benchmark("crime", "kde, largest difference", "% of peak", ("≤ 1 %",), _KDE, "from the exact sum"),
    Benchmark("crime", "getis_ord, 999 permutations", "ms", ("≥ 100×",), "esda.G_Local",
              f"{_GI}; ours is analytic and permutes nothing", "esda"),
    Benchmark("crime", "getis_ord, analytic peer", "ms", (), "esda.G_Local", f"{_GI}; permutations=0", "esda"),
    Benchmark("crime", "getis_ord, largest difference", "of z", ("≤ 1e-10 of z",), "esda.G_Local", _GI, "esda"),
    Benchmark("crime", "read_events, Merseyside", "s", ("≤ 6 s",), "pandas.read_csv",
              "627,122 rows from the zip, imports included, fresh process; the peer checks and projects nothing"),
    Benchmark("crime", "read_events, peak memory", "GB", ("≤ 1.5 GB",), "pandas.read_csv", "VmHWM of that process"),
    *(Benchmark("crime", f"place PAI at {area}", "PAI", (f"≥ {pai} PAI",), "counts of one year",
                "decayed counts; Chicago, 11 cut-offs in 2019, 30 days ahead; bar: published less rounding")
      for area, pai in (("1%", 10.53), ("5%", 6.23), ("10%", 4.84))),
    Benchmark("storage", "ledger append", "/s", (), "bare write and fsync, same lines", f"one fsync each, {_DISK}"),
    Benchmark("storage", "document insert", "/s", (), "stock TinyDB",
              f"the peer has no lock, no fsync, no rename; {_DISK}"),
    Benchmark("storage", "vault put", "MB/s", (), "copy and fsync", f"64 MiB, hashed twice and encrypted, {_DISK}"),
    Benchmark("storage", "vault open", "MB/s", (), "copy and fsync", f"64 MiB, decrypted, hash verified, {_DISK}"),
    Benchmark("storage", "ledger append, one by one, long log", "/s", (), "", f"one fsync each, {_DISK}"),
    Benchmark("storage", "ledger append, batches of 1,000", "/s", (), "", f"one fsync each, {_DISK}"),
    Benchmark("storage", "ledger verify", "/s", (), "", "index, chain and signature of each entry"),
    Benchmark("storage", "ledger verify, ten times the entries", "of linear", ("≤ 1.3 of linear",), "",
              "CPU time over ten times that of a tenth of the log"),
    Benchmark("storage", "ledger verify, peak memory", "MB", ("≤ 2 MB",), "", "tracemalloc, opened to read"),
    Benchmark("storage", "document insert, many in SQLite", "/s", (), "stock TinyDB",
              f"one transaction, indexed; the peer writes one JSON file, no fsync; {_DISK}"),
    Benchmark("storage", "document find in SQLite", "ms", ("≤ 20 ms",), "", "by a field's value, through its index"),
    Benchmark("storage", "vault, 2 GiB, peak memory", "MB", ("≤ 64 MB",), "", "growth of the resident set; --full"),
]  # fmt: skip
SECTIONS = tuple(dict.fromkeys(row.section for row in BENCHMARKS))


def measure(section: str, options: Options, say: Callable[[str], Any]) -> dict[Benchmark, Measured | str]:
    """Run a section; a benchmark that can't run here is kept with the reason."""
    home = importlib.import_module("bench_faces" if section.startswith("reco") else "bench_records")
    rows = {row.name: row for row in BENCHMARKS if row.section == section}
    found: dict[Benchmark, Measured | str] = {}
    for name, run in getattr(home, f"{section}_rows")(options):
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
    import bench  # so that the sections see this module, and not a second copy of it

    bench.main()
