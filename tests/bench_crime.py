"""What ``bench.py`` measures of crime, beside its peers."""

from __future__ import annotations

import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import bench_forecast
import bench_partitions
import bench_places
import numpy as np
from bench_timing import Benchmark, Measured, Options, Sample, Skipped, medians, side_by_side

from crimeface_lib import crime, synthetic

_KDE = "sklearn KernelDensity"
_GI = "counts in 250 m cells and 8 neighbours; weights built beforehand; 1 job"

ROWS = [
    Benchmark("crime", "kde, exact peer", "ms", ("≥ 20×",), _KDE, "Gaussian 300 m at the centres of 250 m cells; both "
              "sides have the coordinates at hand, as events keep them after their first use"),
    Benchmark("crime", "kde, peer with rtol=0.01", "ms", ("≥ 20×",), _KDE, "the same, and the peer may err by 1 %"),
    Benchmark("crime", "kde, from geometries", "ms", ("≥ 20×",), _KDE, "the same with rtol=0.01, but both "
              "sides first take the coordinates from events of which nobody has asked them yet"),
    Benchmark("crime", "kde, largest difference", "% of peak", ("≤ 1 %",), _KDE, "from the exact sum"),
    Benchmark("crime", "getis_ord, 999 permutations", "ms", ("≥ 100×",), "esda.G_Local",
              f"{_GI}; ours is analytic and permutes nothing", "esda"),
    Benchmark("crime", "getis_ord, analytic peer", "ms", (), "esda.G_Local", f"{_GI}; permutations=0", "esda"),
    Benchmark("crime", "getis_ord, largest difference", "of z", ("≤ 1e-10 of z",), "esda.G_Local", _GI, "esda"),
    Benchmark("crime", "knox_test, 99 permutations", "ms", ("≥ 20×",), "pointpats.knox",
              "970 burglaries of a month, 300 m, 6 days, Euclidean; the peer takes copies of arrays, which it "
              "shuffles in place", "pointpats"),
    Benchmark("crime", "knox_test, pairs apart", "pairs", ("≤ 0 pairs",), "pointpats.knox", "the observed count",
              "pointpats"),
    Benchmark("crime", "hotspot_sensitivity", "s", (), "", "Gi* on 2 cell sizes, 3 origins, 10 draws of snap points"),
    Benchmark("crime", "aoristic, a million spans", "s", (), "", "hour of the week; exponential spans of mean 12 h"),
    Benchmark("crime", "read_events, Merseyside", "s", ("≤ 6 s",), "pandas.read_csv",
              "627,122 rows from the zip, imports included, fresh process; the peer checks and projects nothing"),
    Benchmark("crime", "read_events, peak memory", "GB", ("≤ 1.5 GB",), "pandas.read_csv", "VmHWM of that process"),
    *bench_partitions.ROWS,
    *bench_places.ROWS,
    *bench_forecast.ROWS,
]  # fmt: skip


def crime_sample(options: Options) -> tuple[crime.Events, crime.Grid, str]:
    """Return Chicago's aggravated assaults in 250 m cells where the data is, else crimes of a synthetic town."""
    import geopandas as gpd

    if options.data is None:
        town, target = synthetic.synthetic_crimes(months=36, rng=7), options.scratch / "town.zip"
        synthetic.write_police_uk(town.table, target)
        return crime.read_events(target), crime.make_grid(town.truth.area, crs=town.truth.crs), "synthetic town"
    where = {"time": "date", "x": "longitude", "y": "latitude", "crs": "EPSG:4326", "plane": "EPSG:26971"}
    events = crime.read_points(options.data / "crime/chicago/chicago_aggravated_assaults.csv.gz", **where)
    districts = gpd.read_file(options.data / "boundaries/chicago_police_districts.kml").to_crs("EPSG:26971")
    return events, crime.make_grid(districts), "Chicago aggravated assaults"


_CHILD = """
import sys, time
start = time.perf_counter(), time.process_time()
if sys.argv[1] == "ours":
    from crimeface_lib.crime import read_events
    kept = read_events(sys.argv[2])
else:
    import io, zipfile, pandas
    with zipfile.ZipFile(sys.argv[2]) as file:
        kept = pandas.concat([pandas.read_csv(io.BytesIO(file.read(n))) for n in file.namelist() if n.endswith(".csv")])
took = time.perf_counter() - start[0], time.process_time() - start[1]
peak = next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))
sys.stdout.write(f"{took[0]} {took[1]} {int(peak) * 1024 / 1e9}")
"""


def ingest_in_children(source: Path) -> tuple[Measured, Measured]:
    """Return time and peak memory of both sides, by turns, each in a fresh process."""

    if not Path("/proc/self/status").exists():
        raise Skipped("peak memory is read from /proc, which this system lacks")
    runs: dict[str, list[Sample]] = {"ours": [], "peer": []}
    for side in ("ours", "peer") * 3:
        done = subprocess.run([sys.executable, "-c", _CHILD, side, source], capture_output=True, text=True, check=True)
        runs[side].append(tuple(float(word) for word in done.stdout.split()))
    parts = (slice(2), slice(2, 3))
    time_, memory = (medians({k: [one[s] for one in v] for k, v in runs.items()}, "3 turns") for s in parts)
    return time_, memory


def measure(options: Options) -> Iterator[tuple[str, Callable[[], Measured]]]:
    from scipy.spatial import cKDTree

    events, grid, named = crime_sample(options)
    counts, tree = grid.count(events).astype(float), cKDTree(np.column_stack([grid.row, grid.column]))

    def kde(number: int, *, agreement: bool = False, fresh: bool = False, **tolerance: float) -> Measured:
        from sklearn.neighbors import KernelDensity

        frame = events.frame[grid.index_events(events) >= 0]
        some = replace(events, frame=frame.sample(min(number, len(frame)), random_state=0))
        xy, centres, note = some.coordinates(), grid.centres(), f"{named}, {len(some):,} events, {len(grid):,} cells"
        theirs = lambda _: KernelDensity(bandwidth=300.0, **tolerance).fit(xy).score_samples(centres)  # noqa: E731
        ours = lambda _: crime.kde(some, grid, bandwidth=300.0, edge=False)  # noqa: E731
        if fresh:
            peer = KernelDensity(bandwidth=300.0, **tolerance)
            unread = iter([replace(some) for _ in range(40)])  # whose coordinates nobody has asked for yet
            return side_by_side(
                lambda _: crime.kde(next(unread), grid, bandwidth=300.0, edge=False),
                lambda _: peer.fit(next(unread).coordinates()).score_samples(centres),
                turns=3, calls=5, note=note,
            )  # fmt: skip
        if not agreement:
            return side_by_side(ours, theirs, turns=3, calls=5, note=note)
        exact = np.exp(theirs(0)) * len(xy) * 1e6
        return Measured((float(100 * np.abs(ours(0).values - exact).max() / exact.max()),), None, note)

    def gi_star(permutations: int, *, agreement: bool = False) -> Measured:
        from esda import G_Local
        from libpysal.weights import W

        near = enumerate(tree.query_ball_point(tree.data, 1.5, p=np.inf))
        weights = W({i: [j for j in row if j != i] for i, row in near}, silence_warnings=True)
        keywords = {"transform": "B", "star": True, "permutations": permutations, "n_jobs": 1, "seed": 0}

        def star() -> Any:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that the districts aren't all connected
                return G_Local(counts, weights, **keywords)

        note = f"{named}, {len(grid):,} cells"
        if agreement:
            return Measured((float(np.abs(crime.getis_ord(counts, grid).z - star().Zs).max()),), None, note)
        return side_by_side(lambda _: crime.getis_ord(counts, grid), lambda _: star(), turns=3, calls=20, note=note)

    def knox(*, agreement: bool = False) -> Measured:
        import pandas as pd
        from pointpats import knox as theirs

        rows = pd.read_csv(options.real("crime/chicago/chicago_be_month1.csv"), header=None, names=["x", "y", "t"])
        burglaries = crime.read_points(rows, time="t", x="x", y="y", crs="EPSG:26971")
        xy, day = burglaries.coordinates(), burglaries.when().astype("datetime64[D]").astype(float)[:, None]

        def peer(_: int) -> Any:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that it is going to move
                return theirs(xy.copy(), day.copy(), delta=300, tau=6, permutations=99)

        ours = partial(
            crime.knox_test, burglaries, distance=(300,), days=(7,), metric="euclidean", permutations=99, rng=0
        )
        if agreement:
            return Measured((float(abs(ours().to_frame()["observed"][0] - peer(0)["stat"])),), None, "Chicago")
        return side_by_side(lambda _: ours(), peer, turns=5, calls=5, note="Chicago, 970 burglaries")

    def spans() -> Measured:
        import pandas as pd

        rng = np.random.default_rng(0)
        start = pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 86_400 * 700, 1_000_000), unit="s")
        length = pd.to_timedelta(rng.exponential(43_200, 1_000_000).astype(int), unit="s")
        table = pd.DataFrame({"time": start, "end": start + length})
        return side_by_side(lambda _: crime.aoristic(table, timezone="Europe/London"), turns=3)

    ingest = cache(lambda: ingest_in_children(options.real("crime/uk/merseyside-2018-01_2021-09.zip")))
    yield "kde, exact peer", partial(kde, 10_000)
    yield "kde, peer with rtol=0.01", partial(kde, 100_000, rtol=0.01)
    yield "kde, from geometries", partial(kde, 100_000, fresh=True, rtol=0.01)
    yield "kde, largest difference", partial(kde, 10_000, agreement=True)
    yield "getis_ord, 999 permutations", partial(gi_star, 999)
    yield "getis_ord, analytic peer", partial(gi_star, 0)
    yield "getis_ord, largest difference", partial(gi_star, 0, agreement=True)
    yield "knox_test, 99 permutations", knox
    yield "knox_test, pairs apart", partial(knox, agreement=True)
    once = partial(crime.hotspot_sensitivity, events, grid, rng=0)
    note = f"{named}, {len(events):,} events"
    yield "hotspot_sensitivity", lambda: side_by_side(lambda _: once(), turns=2, note=note)
    yield "aoristic, a million spans", spans
    yield "read_events, Merseyside", lambda: ingest()[0]
    yield "read_events, peak memory", lambda: ingest()[1]
    yield from bench_partitions.measure(options)
    yield from bench_places.measure(options, events, grid)
    yield from bench_forecast.measure(options)
