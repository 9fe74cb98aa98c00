"""The ledger: whatever is done to the file shows, and a death leaves the old log or the new one."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crimeface_lib.core.errors import InputError, IntegrityError, RefusedError
from crimeface_lib.core.hashing import canonical_json
from crimeface_lib.storage import Checkpoint, Ledger
from crimeface_lib.storage.merkle import merkle_root, verify_consistency, verify_inclusion

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


def write_log(path: Path, count: int, *, actor: str = "ada", key: Ed25519PrivateKey = KEY) -> Ledger:
    ledger = Ledger.open(path, signing_key=key)
    for i in range(count):
        ledger.append({"event": "e", "actor": actor, "n": i}, at=AT)
    return ledger


def test_entries_come_back_in_order_and_proofs_hold(tmp_path: Path) -> None:
    ledger = write_log(tmp_path / "log.jsonl", 7)
    assert [entry["n"] for entry in ledger.entries()] == list(range(7)) == [e["index"] for e in ledger.entries()]
    assert ledger.entries(5) == ledger.entries()[5:]
    assert ledger.entries()[0]["at"] == "2026-01-02T03:04:05.000000Z"
    lines = list(ledger.lines())
    assert ledger.root() == merkle_root(lines)
    assert ledger.root(3) == merkle_root(lines[:3])
    for i, line in enumerate(lines):
        verify_inclusion(line, index=i, size=7, proof=ledger.inclusion_proof(i), root=ledger.root())
    verify_consistency(
        old_size=3, new_size=7, old_root=ledger.root(3), new_root=ledger.root(), proof=ledger.consistency_proof(3)
    )


def test_a_checkpoint_holds_for_every_later_log(tmp_path: Path) -> None:
    ledger = Ledger.open(tmp_path / "log.jsonl", signing_key=KEY)
    checkpoints = [ledger.checkpoint(at=AT)]
    for i in range(6):
        ledger.append({"n": i}, at=AT)
        checkpoints.append(ledger.checkpoint(at=AT))
    reader = Ledger.open(tmp_path / "log.jsonl")
    for size, checkpoint in enumerate(checkpoints):
        report = reader.verify(Checkpoint.from_dict(json.loads(json.dumps(checkpoint.to_dict()))))
        assert (report.entries, report.checked_against) == (6, size)
    assert ledger.verify().checked_against is None
    with pytest.raises(InputError, match="whose signature"):
        reader.verify()


LINES = 8


def _edit(lines: list[bytes], i: int, j: int) -> list[bytes]:
    record = json.loads(lines[i])
    record["entry"]["actor"] = "eve"
    return [*lines[:i], canonical_json(record), *lines[i + 1 :]]


def _flip(lines: list[bytes], i: int, j: int) -> list[bytes]:
    line = bytearray(lines[i])
    line[j % len(line)] ^= 1
    return [*lines[:i], bytes(line), *lines[i + 1 :]]


def _swap(lines: list[bytes], i: int, j: int) -> list[bytes]:
    out = list(lines)
    j %= LINES
    j = (i + 1) % LINES if i == j else j
    out[i], out[j] = out[j], out[i]
    return out


TAMPERINGS = {
    "edit": _edit,
    "flip": _flip,
    "delete": lambda lines, i, j: lines[:i] + lines[i + 1 :],
    "insert": lambda lines, i, j: [*lines[:i], lines[j % LINES], *lines[i:]],
    "reorder": _swap,
    "truncate": lambda lines, i, j: lines[:i],
}


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[bytes], Checkpoint, Path]:
    path = tmp_path_factory.mktemp("ledger") / "log.jsonl"
    ledger = write_log(path, LINES)
    return list(ledger.lines()), ledger.checkpoint(at=AT), path


@given(st.sampled_from(sorted(TAMPERINGS)), st.integers(0, LINES - 1), st.integers(0, 10_000))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_any_tampering_fails_against_a_held_checkpoint(
    sound: tuple[list[bytes], Checkpoint, Path], how: str, i: int, j: int
) -> None:
    lines, checkpoint, path = sound
    path.write_bytes(b"".join(line + b"\n" for line in TAMPERINGS[how](lines, i, j)))
    with pytest.raises(IntegrityError):
        Ledger.open(path).verify(checkpoint)
    if how != "truncate" and not (how == "delete" and i == LINES - 1):
        with pytest.raises(IntegrityError, match=r"entry \d+"):  # the signatures alone show it, and where
            Ledger.open(path, signing_key=KEY).verify()


def test_the_message_says_what_happened(sound: tuple[list[bytes], Checkpoint, Path]) -> None:
    lines, checkpoint, path = sound

    def message(changed: list[bytes]) -> str:
        path.write_bytes(b"".join(line + b"\n" for line in changed))
        with pytest.raises(IntegrityError) as caught:
            Ledger.open(path).verify(checkpoint)
        return str(caught.value)

    assert "cut short: 5 entries, and 8" in message(lines[:5])
    assert "entry 3 of log was changed" in message(_edit(lines, 3, 0))
    assert "entry 3 says that it is entry 4" in message(lines[:3] + lines[4:])
    assert "entry 2 is not a line" in message([*lines[:2], lines[2] + b" ", *lines[3:]])


def test_a_rewrite_by_the_holder_of_the_key_is_a_fork(tmp_path: Path) -> None:
    held = write_log(tmp_path / "a" / "log.jsonl", 5).checkpoint(at=AT)
    second = write_log(tmp_path / "b" / "log.jsonl", 5, actor="eve")
    assert second.verify().entries == 5  # consistent in itself
    with pytest.raises(IntegrityError, match="fork: the first 5 entries"):
        second.verify(held)
    second.append({"n": 5}, at=AT)
    with pytest.raises(IntegrityError, match="fork"):
        second.verify(held)


def test_another_key_or_log_does_not_pass(tmp_path: Path) -> None:
    other_key = Ed25519PrivateKey.generate()
    held = write_log(tmp_path / "a" / "log.jsonl", 3).checkpoint(at=AT)
    forged = write_log(tmp_path / "b" / "log.jsonl", 3, key=other_key)
    with pytest.raises(IntegrityError, match="another key"):
        forged.verify(held)
    with pytest.raises(IntegrityError, match="signature does not hold"):
        Ledger.open(tmp_path / "b" / "log.jsonl").verify(held)
    with pytest.raises(IntegrityError, match="signature does not hold"):
        Ledger.open(tmp_path / "a" / "log.jsonl", signing_key=KEY, origin="other").verify()
    with pytest.raises(InputError, match="expected one of 'other'"):
        Ledger.open(tmp_path / "a" / "log.jsonl", signing_key=KEY, origin="other").verify(held)


@pytest.mark.parametrize(
    "change", [{"size": 2}, {"root": "00" * 32}, {"at": "x"}, {"key": "00" * 32}, {"signature": "z"}]
)
def test_a_changed_checkpoint_does_not_pass(tmp_path: Path, change: dict[str, object]) -> None:
    ledger = write_log(tmp_path / "log.jsonl", 3)
    with pytest.raises(IntegrityError, match="not what was signed"):
        ledger.verify(replace(ledger.checkpoint(at=AT), **change))


def test_what_is_no_checkpoint_is_said() -> None:
    for record in ({}, {"origin": "log"}, dict.fromkeys(("origin", "size", "root", "at", "key", "signature"), "1")):
        with pytest.raises(IntegrityError, match="not a checkpoint"):
            Checkpoint.from_dict(record)


def test_bad_entries_are_refused_and_leave_no_trace(tmp_path: Path) -> None:
    ledger = write_log(tmp_path / "log.jsonl", 1)
    before = (tmp_path / "log.jsonl").read_bytes()
    for entry in ({"at": 1}, {"index": 1}, {"x": float("nan")}, {"x": object()}, {"x": "\ud800"}, {1: "a", "1": "b"}):
        with pytest.raises(InputError):
            ledger.append(entry, at=AT)
    with pytest.raises(InputError, match="without a zone"):
        ledger.append({}, at=datetime(2026, 1, 1))
    with pytest.raises(RefusedError, match="reading only"):
        Ledger.open(tmp_path / "log.jsonl").append({}, at=AT)
    assert (tmp_path / "log.jsonl").read_bytes() == before


def test_a_file_that_shrinks_while_open_is_noticed(tmp_path: Path) -> None:
    ledger = write_log(tmp_path / "log.jsonl", 3)
    path = tmp_path / "log.jsonl"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(IntegrityError, match="became shorter"):
        ledger.append({}, at=AT)


def test_a_failed_append_leaves_the_log_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = write_log(tmp_path / "log.jsonl", 3)

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        with pytest.raises(OSError, match="No space"):
            ledger.append({"n": 3}, at=AT)
    assert len(ledger) == 3
    assert ledger.append({"n": 3}, at=AT) == 3
    assert ledger.verify(ledger.checkpoint(at=AT)).entries == 4


DIE = """
import os, sys
from datetime import datetime, UTC
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from crimeface_lib.storage.ledger import Ledger
path, point, cut = sys.argv[1], sys.argv[2], int(sys.argv[3])
ledger = Ledger.open(path, signing_key=Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
real = os.write
def torn(handle, data):
    real(handle, bytes(data)[:cut]); os._exit(9)
if point == "write": os.write = torn
if point == "fsync": os.fsync = lambda handle: os._exit(9)
ledger.append({"n": 3}, at=datetime(2026, 1, 1, tzinfo=UTC))
"""


@pytest.mark.parametrize(("point", "cut"), [("write", 0), ("write", 1), ("write", 200), ("write", 9999), ("fsync", 0)])
def test_after_death_in_an_append_the_log_is_old_or_new(tmp_path: Path, point: str, cut: int) -> None:
    path = tmp_path / "log.jsonl"
    held = write_log(path, 3).checkpoint(at=AT)
    old = path.read_bytes()
    assert subprocess.run([sys.executable, "-c", DIE, str(path), point, str(cut)]).returncode == 9
    reader = Ledger.open(path)
    expected = 4 if point == "fsync" or cut == 9999 else 3
    assert len(reader) == expected == reader.verify(held).entries
    ledger = Ledger.open(path, signing_key=KEY)
    assert path.read_bytes()[: len(old)] == old
    assert path.read_bytes().endswith(b"\n")
    assert ledger.append({"n": 9}, at=AT) == expected
    assert reader.verify(held).entries == expected + 1 == len(reader)


WRITER = """
import sys
from datetime import datetime, UTC
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from crimeface_lib.storage.ledger import Ledger
ledger = Ledger.open(sys.argv[1], signing_key=Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
for i in range(int(sys.argv[3])):
    ledger.append({"writer": sys.argv[2], "i": i}, at=datetime(2026, 1, 1, tzinfo=UTC))
"""


def test_concurrent_processes_lose_nothing(tmp_path: Path) -> None:
    path, processes, count = tmp_path / "log.jsonl", 3, 40
    ledger = Ledger.open(path, signing_key=KEY)
    running = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(path), f"p{i}", str(count)]) for i in range(processes)
    ]
    for i in range(20):
        ledger.append({"writer": "own", "i": i}, at=AT)
    assert [process.wait(timeout=60) for process in running] == [0] * processes
    entries = ledger.entries()
    assert len({(entry["writer"], entry["i"]) for entry in entries}) == len(entries) == processes * count + 20
    assert ledger.verify(ledger.checkpoint(at=AT)).root == merkle_root(ledger.lines()).hex()
