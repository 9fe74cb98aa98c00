"""What ``bench.py`` measures of crime and storage."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tracemalloc
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tinydb import TinyDB

from crimeface_lib import crime, storage, synthetic

if TYPE_CHECKING:
    from bench import Measured, Options, Sample


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
    from bench import Skipped, medians

    if not Path("/proc/self/status").exists():
        raise Skipped("peak memory is read from /proc, which this system lacks")
    runs: dict[str, list[Sample]] = {"ours": [], "peer": []}
    for side in ("ours", "peer") * 3:
        done = subprocess.run([sys.executable, "-c", _CHILD, side, source], capture_output=True, text=True, check=True)
        runs[side].append(tuple(float(word) for word in done.stdout.split()))
    parts = (slice(2), slice(2, 3))
    time_, memory = (medians({k: [one[s] for one in v] for k, v in runs.items()}, "3 turns") for s in parts)
    return time_, memory


def crime_rows(options: Options) -> Iterator[tuple[str, Callable[[], Measured]]]:
    from bench import Measured, Skipped, side_by_side
    from scipy.spatial import cKDTree

    events, grid, named = crime_sample(options)
    counts, tree = grid.count(events).astype(float), cKDTree(np.column_stack([grid.row, grid.column]))

    def kde(number: int, *, agreement: bool = False, **tolerance: float) -> Measured:
        from sklearn.neighbors import KernelDensity

        frame = events.frame[grid.index_events(events) >= 0]
        some = replace(events, frame=frame.sample(min(number, len(frame)), random_state=0))
        xy, centres, note = some.coordinates(), grid.centres(), f"{named}, {len(some):,} events, {len(grid):,} cells"
        theirs = lambda _: KernelDensity(bandwidth=300.0, **tolerance).fit(xy).score_samples(centres)  # noqa: E731
        ours = lambda _: crime.kde(some, grid, bandwidth=300.0, edge=False)  # noqa: E731
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

    @cache
    def places() -> Any:
        if not options.full:
            raise Skipped("only with --full")
        options.real("crime/chicago")
        cutoffs = [f"2019-{month:02d}-01" for month in range(1, 12)]
        found = crime.evaluate_places(events, grid, cutoffs=cutoffs, horizon="30D", rng=0)
        return found.summary.set_index(["area", "model"])["pai"]

    ingest = cache(lambda: ingest_in_children(options.real("crime/uk/merseyside-2018-01_2021-09.zip")))
    yield "kde, exact peer", partial(kde, 10_000)
    yield "kde, peer with rtol=0.01", partial(kde, 100_000, rtol=0.01)
    yield "kde, largest difference", partial(kde, 10_000, agreement=True)
    yield "getis_ord, 999 permutations", partial(gi_star, 999)
    yield "getis_ord, analytic peer", partial(gi_star, 0)
    yield "getis_ord, largest difference", partial(gi_star, 0, agreement=True)
    yield "read_events, Merseyside", lambda: ingest()[0]
    yield "read_events, peak memory", lambda: ingest()[1]
    for area in (0.01, 0.05, 0.10):
        both = lambda area=area: [(float(places()[area, model]),) for model in ("decayed_counts", "counts")]  # noqa: E731
        yield f"place PAI at {area:.0%}", lambda both=both: Measured(*both())


def storage_rows(options: Options) -> Iterator[tuple[str, Callable[[], Measured]]]:
    from bench import side_by_side

    keys, folder, at = storage.KeyRing.open(options.scratch / "keys.json"), options.scratch, datetime.now(UTC)

    def write_out(path: Path, lines: list[bytes]) -> None:
        with open(path, "ab", buffering=0) as file:
            for line in lines:
                file.write(line)
                os.fsync(file.fileno())

    def appends(turn: int) -> None:
        log = storage.Ledger.open(folder / f"log-{turn}.jsonl", signing_key=keys.signing_key)
        for number in range(200):
            log.append({"event": "search", "actor": "a1b2", "number": number}, at=at)

    def hardened(turn: int) -> None:
        store = storage.TinyDocuments.open(folder / f"hardened-{turn}.json")
        for number in range(200):
            store.insert("records", {"state": "draft", "number": number, "text": "x" * 100})

    def stock(turn: int) -> None:
        with TinyDB(folder / f"stock-{turn}.json") as store:
            for number in range(200):
                store.table("records").insert({"state": "draft", "number": number, "text": "x" * 100})

    def copy(_: int) -> None:
        shutil.copyfile(source, folder / "copy")
        write_out(folder / "copy", [b""])

    appends(-1)
    lines, source = (folder / "log--1.jsonl").read_bytes().splitlines(keepends=True), folder / "source"
    source.write_bytes(np.random.default_rng(0).bytes(64 << 20))
    bare = lambda turn: write_out(folder / f"bare-{turn}", lines)  # noqa: E731
    yield "ledger append", lambda: side_by_side(appends, bare, items=200, note=f"200 lines of {len(lines[0])} bytes")
    yield "document insert", lambda: side_by_side(hardened, stock, items=200, note="200 into an empty store")
    vaults, size = [storage.Vault.open(folder / f"vault-{turn}", keys=keys) for turn in range(6)], 64 * 1.048576
    yield "vault put", lambda: side_by_side(lambda turn: vaults[turn].put(source), copy, items=size)
    id_ = vaults[0].put(source).id
    yield "vault open", lambda: side_by_side(lambda _: vaults[0].open_to(id_, folder / "opened"), copy, items=size)
    yield from large_rows(options, keys)


def large_rows(options: Options, keys: storage.KeyRing) -> Iterator[tuple[str, Callable[[], Measured]]]:
    """Logs, stores and files of the size that an installation has after years; smaller ones without ``--full``."""
    from bench import Measured, Skipped, side_by_side

    folder, at, many = options.scratch, datetime.now(UTC), 100_000 if options.full else 10_000
    rows = [{"state": "draft", "number": number, "text": "x" * 100} for number in range(many)]

    @cache
    def log(count: int) -> storage.Ledger:
        log = storage.Ledger.open(folder / f"large-{count}.jsonl", signing_key=keys.signing_key)
        for start in range(0, count, 1000):
            log.append_many(({"event": "search", "number": n} for n in range(start, start + 1000)), at=at)
        return log

    def batches(turn: int) -> None:
        for start in range(0, many, 1000):
            opened.append_many(({"event": "search", "number": n} for n in range(start, start + 1000)), at=at)

    opened = storage.Ledger.open(folder / "batches.jsonl", signing_key=keys.signing_key)

    def one_by_one() -> Measured:
        log = storage.Ledger.open(folder / "one-by-one.jsonl", signing_key=keys.signing_key)
        put = lambda _: [log.append({"event": "search", "number": n}, at=at) for n in range(many)]  # noqa: E731
        return side_by_side(put, turns=1, items=many, note=f"{many:,} entries, after as many")

    def linear() -> Measured:
        both = side_by_side(
            lambda _: log(many).verify(), lambda _: log(many // 10).verify(), turns=3, note=f"{many:,} entries"
        )
        return Measured((both.ours[1] / both.peer[1] / 10,), None, both.note)  # CPU time: others disturb it less

    def memory() -> Measured:
        log(many)
        tracemalloc.start()
        storage.Ledger.open(folder / f"large-{many}.jsonl").verify(log(many).checkpoint(at=at))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return Measured((peak / 1e6,), None, f"{many:,} entries")

    @cache
    def filled() -> storage.DocumentStore:
        store = storage.open_documents(f"sqlite:///{folder}/filled.sqlite")
        store.insert_many("records", rows)
        return store

    def in_sqlite(turn: int) -> None:
        storage.open_documents(f"sqlite:///{folder}/sqlite-{turn}.sqlite").insert_many("records", rows)

    def in_tinydb(turn: int) -> None:
        with TinyDB(folder / f"many-{turn}.json") as store:
            store.table("records").insert_multiple(rows)

    def two_gigabytes() -> Measured:
        if not options.full:
            raise Skipped("only with --full")
        with open(folder / "huge", "wb") as file:
            for number in range(2048):
                file.write(number.to_bytes(8, "big") * (1 << 17))
        done = subprocess.run([sys.executable, "-c", _HUGE, folder], capture_output=True, text=True, check=True)
        return Measured((float(done.stdout),), None, "fresh process, put and open_to")

    find = lambda _: filled().find("records", number=many // 2)  # noqa: E731
    verify, timed = lambda _: log(many).verify(), {"turns": 3, "items": many, "note": f"{many:,} of them"}
    yield "ledger append, one by one, long log", one_by_one
    yield "ledger append, batches of 1,000", lambda: side_by_side(batches, **timed)
    yield "ledger verify", lambda: side_by_side(verify, **timed)
    yield "ledger verify, ten times the entries", linear
    yield "ledger verify, peak memory", memory
    yield "document insert, many in SQLite", lambda: side_by_side(in_sqlite, in_tinydb, **timed)
    yield "document find in SQLite", lambda: side_by_side(find, calls=50, note=f"one of {many:,}")
    yield "vault, 2 GiB, peak memory", two_gigabytes


_HUGE = """
import resource, sys
from pathlib import Path
from crimeface_lib.storage import KeyRing, Vault
folder = Path(sys.argv[1])
vault = Vault.open(folder / "huge-vault", keys=KeyRing.open(folder / "huge-keys.json"))
vault.put(b"warm")
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
vault.open_to(vault.put(folder / "huge").id, folder / "huge-out")
sys.stdout.write(str((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1e3))
"""
