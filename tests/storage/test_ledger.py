"""The ledger: whatever is done to the file shows, and a death leaves the old log or the new one."""

from __future__ import annotations

import json
import subprocess
import sys
import tracemalloc
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


def test_checkpoints_alone_show_a_fork_and_a_rollback(tmp_path: Path) -> None:
    ledger = write_log(tmp_path / "a" / "log.jsonl", 5)
    older = ledger.checkpoint(at=AT)
    ledger.append({"n": 5}, at=AT)
    newer = ledger.checkpoint(at=AT)
    newer.verify_extends(older, proof=ledger.consistency_proof(5))
    newer.verify_extends(newer)
    with pytest.raises(IntegrityError, match="rollback: log has 5 entries where it had 6"):
        older.verify_extends(newer)
    forked = write_log(tmp_path / "b" / "log.jsonl", 5, actor="eve")
    with pytest.raises(IntegrityError, match="fork: two different logs of 5 entries"):
        forked.checkpoint(at=AT).verify_extends(older)
    forked.append({"n": 5}, at=AT)
    with pytest.raises(IntegrityError, match="does not begin with the log of 5"):
        forked.checkpoint(at=AT).verify_extends(older, proof=forked.consistency_proof(5))
    with pytest.raises(IntegrityError, match="not what was signed"):
        newer.verify_extends(replace(older, size=4), proof=ledger.consistency_proof(4))
    stranger = write_log(tmp_path / "c" / "log.jsonl", 5, key=Ed25519PrivateKey.generate()).checkpoint(at=AT)
    with pytest.raises(InputError, match="one log and one key"):
        newer.verify_extends(stranger)


def test_a_batch_is_the_same_as_its_entries_one_by_one(tmp_path: Path) -> None:
    one = write_log(tmp_path / "a" / "log.jsonl", 9)
    batch = write_log(tmp_path / "b" / "log.jsonl", 2)
    assert batch.append_many(({"event": "e", "actor": "ada", "n": n} for n in range(2, 9)), at=AT) == list(range(2, 9))
    assert batch.append_many([], at=AT) == []
    assert (tmp_path / "a/log.jsonl").read_bytes() == (tmp_path / "b/log.jsonl").read_bytes()
    assert batch.verify(one.checkpoint(at=AT)).entries == 9
    before = (tmp_path / "b/log.jsonl").read_bytes()
    with pytest.raises(InputError):
        batch.append_many([{"fine": 1}, {"at": 1}], at=AT)
    assert (tmp_path / "b/log.jsonl").read_bytes() == before


@pytest.fixture
def torn(tmp_path: Path) -> tuple[Path, bytes]:
    """A log of three entries, and the line of a fourth that is not in it."""
    path = tmp_path / "log.jsonl"
    write_log(path, 4)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:3]))
    return path, lines[3]


@pytest.mark.parametrize("zeros", [0, 300])
def test_an_unfinished_append_is_moved_aside_and_said(
    torn: tuple[Path, bytes], caplog: pytest.LogCaptureFixture, zeros: int
) -> None:
    path, line = torn
    sound = path.read_bytes()
    for cut in (1, 5, 30, 80, len(line) // 2, len(line) - 135, len(line) - 3, len(line) - 1):
        path.write_bytes(sound + line[:cut] + bytes(zeros))
        reader = Ledger.open(path)
        assert (
            len(reader),
            reader.verify(
                Ledger.open(path.with_name("none"), signing_key=KEY, origin="log").checkpoint(at=AT)
            ).unfinished,
        ) == (3, cut + zeros)
        caplog.clear()
        ledger = Ledger.open(path, signing_key=KEY)
        assert ledger.moved_aside == cut + zeros
        assert f"{cut + zeros} bytes of an unfinished append" in caplog.text
        assert path.read_bytes() == sound
        assert line[:cut] + bytes(zeros) in [aside.read_bytes() for aside in path.parent.glob("log.jsonl.torn-*")]
        assert ledger.verify().unfinished == 0


@pytest.mark.parametrize(
    "tail",
    [
        b"garbage",
        b"\xff\xfe",
        b'{"at":"2026-01-01T00:00:00.000000Z","entry":{"a":"\x01',
        b'{"at":"2026","entry":{},"index":7,"previous":"' + b"0" * 64 + b'","signature":"ab',
        b'{"at":"2026","entry":{},"index":3,"previous":"' + b"0" * 64 + b'","signature":"ab',
        b'{"entry":1}',
        b'{"at":"2026"}',
    ],
)
def test_a_tail_that_is_no_unfinished_append_is_an_error_and_stays(torn: tuple[Path, bytes], tail: bytes) -> None:
    path, _ = torn
    content = path.read_bytes() + tail
    path.write_bytes(content)
    with pytest.raises(IntegrityError, match="no beginning of entry 3"):
        Ledger.open(path, signing_key=KEY)
    with pytest.raises(IntegrityError, match="no beginning of entry 3"):
        Ledger.open(path).verify(write_log(path.with_name("x") / "log.jsonl", 3).checkpoint(at=AT))
    assert path.read_bytes() == content


def test_a_line_without_end_and_a_line_of_a_newer_format_are_said(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    held = write_log(path, 2).checkpoint(at=AT)
    sound = path.read_bytes()
    path.write_bytes(sound + b"x" * (1 << 21))
    with pytest.raises(IntegrityError, match="longer than any that this log writes, 1048576"):
        Ledger.open(path).verify(held)
    path.write_bytes(sound + b'{"at":"2027","entry":{},"index":2,"version":2}\n')
    with pytest.raises(InputError, match="newer crimeface"):
        Ledger.open(path).verify(held)
    path.write_bytes(sound)
    with pytest.raises(InputError, match="log its hash instead"):
        Ledger.open(path, signing_key=KEY).append({"x": "y" * (1 << 20)}, at=AT)
    path.chmod(0o622)
    with pytest.raises(RefusedError, match="chmod 600"):
        Ledger.open(path, signing_key=KEY)


def test_verifying_takes_memory_that_does_not_grow_with_the_log(tmp_path: Path) -> None:
    peaks = []
    for count in (200, 2000):
        path = tmp_path / str(count) / "log.jsonl"
        ledger = Ledger.open(path, signing_key=KEY)
        ledger.append_many(({"event": "e", "n": n} for n in range(count)), at=AT)
        held = ledger.checkpoint(at=AT)
        tracemalloc.start()
        assert Ledger.open(path).verify(held).entries == count
        Ledger.open(path).verify(write_log(tmp_path / f"none-{count}" / "log.jsonl", 0).checkpoint(at=AT))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 20_000, peaks


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
