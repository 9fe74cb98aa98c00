"""What ``bench.py`` measures of storage, beside its peers."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import numpy as np
from bench_timing import Benchmark, Measured, Options, Skipped, side_by_side
from tinydb import TinyDB

from crimeface_lib import storage

_DISK = "in .bench/ of the working copy"

ROWS = [
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


def measure(options: Options) -> Iterator[tuple[str, Callable[[], Measured]]]:

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
