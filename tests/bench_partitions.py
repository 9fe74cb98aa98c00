"""What ``bench.py`` measures of archives larger than memory: Merseyside's rows ten times, in shifted months."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

from bench_timing import Benchmark, Measured, Options, Skipped

_SIX = "6,271,220 rows: Merseyside ten times, months shifted by 4 years each; fresh process, 2 workers"

ROWS = [
    Benchmark("crime", f"partition_events, {where}, {what}", unit, bars, "", f"{_SIX}; {more}")
    for where, more in (("threads", "this process"), ("Dask", "and the 2 processes of a LocalCluster"))
    for what, unit, bars in (("time", "s", ()), ("peak memory", "GB", ("≤ 2 GB",)))
]

_CHILD = """
import os, sys, threading, time
from pathlib import Path

def resident():
    # of this process and those it started, seen every 0.2 s
    own, parents, total = os.getpid(), {}, 0
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rsplit(")", 1)[1].split()
            parents[int(path.parent.name)] = int(fields[1]), int(fields[21]) * os.sysconf("SC_PAGE_SIZE")
        except OSError:
            continue
    for pid, (parent, size) in parents.items():
        while parent in parents and pid != own:
            pid, parent = parent, parents[parent][0]
        total += size if pid == own else 0
    return total

def watch():
    while True:
        peak[0] = max(peak[0], resident())
        time.sleep(0.2)

if __name__ == "__main__":
    peak = [0]
    threading.Thread(target=watch, daemon=True).start()
    from crimeface_lib.crime import partition_events
    start = time.perf_counter()
    if sys.argv[1] == "Dask":
        from distributed import Client, LocalCluster
        with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0") as cluster:
            with Client(cluster) as client:
                found = partition_events(sys.argv[2], sys.argv[3], scheduler=client, progress=False)
    else:
        found = partition_events(sys.argv[2], sys.argv[3], workers=2, progress=False)
    wall, cpu = time.perf_counter() - start, sum(os.times()[:4])
    assert len(found) == 6_271_220, len(found)
    sys.stdout.write(f"{wall} {cpu} {peak[0] / 1e9}")
"""


def _ten_times(source: Path, target: Path) -> Path:
    """Write the archive ten times over: other months, other ids."""
    with zipfile.ZipFile(source) as file, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as out:
        for name in (n for n in file.namelist() if n.endswith("-street.csv")):
            head, *lines = file.read(name).decode().splitlines()
            year, month = Path(name).name[:7].split("-")
            for turn in range(10):
                new = f"{int(year) + 4 * turn}-{month}"
                rows = (row if row[0] == "," else f"{turn:02x}{row[2:]}" for row in lines)
                shifted = [row.replace(f",{year}-{month},", f",{new},", 1) for row in rows]
                out.writestr(f"{new}/{new}-merseyside-street.csv", "\n".join([head, *shifted, ""]))
    return target


def measure(options: Options) -> Iterator[tuple[str, Callable[[], Measured]]]:
    @cache
    def six() -> Path:
        return _ten_times(options.real("crime/uk/merseyside-2018-01_2021-09.zip"), options.scratch / "six.zip")

    @cache
    def run(where: str) -> tuple[float, ...]:
        if not options.full:
            raise Skipped("only with --full")
        if not Path("/proc/self/stat").exists():
            raise Skipped("memory is read from /proc, which this system lacks")
        script, target = options.scratch / "partition.py", options.scratch / f"six-{where}"
        script.write_text(_CHILD)  # a file, since Dask's processes import it
        command = [sys.executable, str(script), where, str(six()), str(target)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return tuple(float(word) for word in done.stdout.split())

    for where in ("threads", "Dask"):
        yield f"partition_events, {where}, time", lambda w=where: Measured(run(w)[:2])
        yield f"partition_events, {where}, peak memory", lambda w=where: Measured(run(w)[2:])
