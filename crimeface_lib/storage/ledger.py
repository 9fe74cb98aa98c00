"""An append-only log in which any later change shows: a Merkle tree over a file of JSON lines.

Each line holds the entry, its index and time, the root over all lines before it, and an Ed25519 signature; the line
itself is a leaf of the tree. So nobody without the key can add or alter a line, and the first line after a change
names the place. Cutting off the tail, or a rewrite by someone who has the key, shows only against a ``Checkpoint``
that is kept elsewhere: ``verify`` trusts nothing that is in the file.

An append is one write and one fsync. If the process dies in between, the half line at the end has no newline: that
entry was never acknowledged. The next writer moves it aside, into a file beside the log, and says so; but only if it is
the beginning of the very line that would have come next. Anything else there is an error.

A line is never written anew, so the log is never migrated: a later format will mark its lines with their version.
"""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from crimeface_lib.core.clock import to_iso
from crimeface_lib.core.errors import InputError, IntegrityError, RefusedError
from crimeface_lib.core.files import sync_directory, write_atomic
from crimeface_lib.core.hashing import canonical_json, sha256_bytes
from crimeface_lib.core.results import Result
from crimeface_lib.storage.checkpoint import Checkpoint
from crimeface_lib.storage.lines import LINE_MOST, begins_entry, parse_line, whole_lines
from crimeface_lib.storage.locking import file_lock, held
from crimeface_lib.storage.merkle import Edge, MerkleTree, leaf_hash
from crimeface_lib.storage.modes import refuse_others

_DOMAIN = b"crimeface ledger entry v1\n"
_RESERVED = ("index", "at")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LedgerReport(Result):
    """What a verification found in order: nothing is reported that was not checked.

    ``checked_against`` is the size of the checkpoint, or None when there was none: then a missing tail, or a
    rewrite by a holder of the key, would not have been noticed. ``unfinished`` is the number of bytes at the end that
    are the beginning of an entry whose writer died, or is writing it now; they are no entry.
    """

    origin: str
    entries: int
    root: str
    checked_against: int | None
    unfinished: int = 0


class Ledger:
    """An append-only, tamper-evident log; several threads and processes may append.

    >>> import tempfile
    >>> from datetime import UTC
    >>> key, at = Ed25519PrivateKey.generate(), datetime(2026, 1, 1, tzinfo=UTC)
    >>> log = Ledger.open(Path(tempfile.mkdtemp()) / "audit.jsonl", signing_key=key)
    >>> log.append({"event": "login", "actor": "ada"}, at=at)
    0
    >>> log.entries()
    [{'actor': 'ada', 'event': 'login', 'index': 0, 'at': '2026-01-01T00:00:00.000000Z'}]
    >>> log.verify(log.checkpoint(at=at)).entries
    1
    """

    def __init__(self, path: Path, *, signing_key: Ed25519PrivateKey | None, origin: str) -> None:
        self._path = path
        self._key = signing_key
        self._lock = file_lock(path)
        self._mutex = threading.RLock()
        self._tree = MerkleTree()
        self._offset = 0  # bytes of the file that are in the tree
        self.moved_aside = 0
        self.origin = origin

    @classmethod
    def open(
        cls, path: str | Path, *, signing_key: Ed25519PrivateKey | None = None, origin: str | None = None
    ) -> Ledger:
        """Open the log at ``path``; with a key it may be appended to and is created if need be.

        A tail that a dying writer left is moved aside; ``moved_aside`` says how many bytes that were.

        Parameters
        ----------
        signing_key : needed to append and to make checkpoints; leave out to read and verify.
        origin : name of the log, part of every signature; the file name without suffix by default.

        Raises
        ------
        IntegrityError : the file ends in something that is no entry and no beginning of one.
        RefusedError : others than the owner may write to it.
        """
        path = Path(path).resolve()
        ledger = cls(path, signing_key=signing_key, origin=origin or path.stem)
        if signing_key is not None:
            refuse_others(path, bits=0o022)
            with held(ledger._lock):
                ledger._recover()
        return ledger

    def append(self, entry: Mapping[str, Any], *, at: datetime) -> int:
        """Add ``entry`` and return its index; when this returns, the entry is on the disk.

        Parameters
        ----------
        entry : what JSON can hold, without the fields ``index`` and ``at``. Nothing in it can ever be erased: put
            opaque ids here, no names and no content.

        Raises
        ------
        InputError : not JSON, or a reserved field.
        RefusedError : the log was opened without a key.
        """
        return self.append_many([entry], at=at)[0]

    def append_many(self, entries: Iterable[Mapping[str, Any]], *, at: datetime) -> list[int]:
        """Add ``entries`` in order, with one fsync for all, and return their indices.

        After a death meanwhile the log holds a beginning of them. Parameters and errors are those of ``append``.
        """
        key, entries = self._signing_key(), list(entries)
        with self._mutex, held(self._lock):
            self._recover()
            first, edge, lines = len(self._tree), self._tree.edge(), []
            for index, entry in enumerate(entries, first):
                lines.append(self._line(entry, index=index, previous=edge.root(), at=at, key=key))
                edge.append(leaf_hash(lines[-1]))
            if lines:
                self._write(b"".join(line + b"\n" for line in lines))
            for line in lines:
                self._tree.append(leaf_hash(line))
                self._offset += len(line) + 1
        return list(range(first, first + len(lines)))

    def entries(self, start: int = 0) -> list[dict[str, Any]]:
        """Return the entries from ``start`` on, each with its ``index`` and ``at``.

        Raises
        ------
        IntegrityError : a line is not one that this log writes.
        """
        records = (parse_line(line, index) for index, line in enumerate(self.lines()) if index >= start)
        return [record["entry"] | {"index": record["index"], "at": record["at"]} for record in records]

    def lines(self) -> Iterator[bytes]:
        """Yield the leaves of the tree: each whole line of the file, without its newline."""
        if not self._path.exists():
            return
        with open(self._path, "rb") as file:
            yield from whole_lines(file)

    def __len__(self) -> int:
        self._refresh()
        return len(self._tree)

    def root(self, size: int | None = None) -> bytes:
        """Return the root of the tree over the first ``size`` entries, all by default."""
        with self._mutex:
            self._refresh()
            return self._tree.root(size)

    def inclusion_proof(self, index: int, size: int | None = None) -> list[bytes]:
        """Return the proof that entry ``index`` is in the log of ``size`` entries.

        ``merkle.verify_inclusion`` checks it.
        """
        with self._mutex:
            self._refresh()
            return self._tree.inclusion_proof(index, size)

    def consistency_proof(self, old: int, new: int | None = None) -> list[bytes]:
        """Return the proof that the log of ``new`` entries extends that of ``old``.

        ``merkle.verify_consistency`` checks it.
        """
        with self._mutex:
            self._refresh()
            return self._tree.consistency_proof(old, new)

    def checkpoint(self, *, at: datetime) -> Checkpoint:
        """Sign the present size and root. Keep what you get outside of this machine."""
        key = self._signing_key()
        with self._mutex:  # size and root of the same moment
            self._refresh()
            size, root = len(self._tree), self._tree.root()
        return Checkpoint.sign(origin=self.origin, size=size, root=root, at=at, key=key)

    def verify(self, checkpoint: Checkpoint | None = None) -> LedgerReport:
        """Read the file anew and check every line, then the whole against ``checkpoint``.

        Parameters
        ----------
        checkpoint : one that was kept outside of the store. Without it a cut tail can't be seen.

        Raises
        ------
        IntegrityError : names the entry, or says that the log was cut short or forked.
        InputError : the checkpoint belongs to another log, or nothing says whose signature to expect.
        """
        if checkpoint is not None:
            checkpoint.verify_signature()
            if checkpoint.origin != self.origin:
                raise InputError(f"got a checkpoint of {checkpoint.origin!r}, expected one of {self.origin!r}")
        vouched = self._vouched(checkpoint)
        edge, offset = self._verified(self._expected_key(checkpoint), vouched=vouched or 0)
        if checkpoint is not None and checkpoint.size > len(edge):
            raise IntegrityError(
                f"{self.origin} was cut short: {len(edge)} entries, and {checkpoint.size} at the checkpoint"
            )
        if checkpoint is not None and vouched is None:
            raise IntegrityError(
                f"fork: the first {checkpoint.size} entries of {self.origin} are not those of the checkpoint"
                f" of {checkpoint.at}; the log was rewritten by a holder of the key"
            )
        against = checkpoint.size if checkpoint else None
        unfinished = len(self._tail(offset, len(edge), edge.root()))
        return LedgerReport(self.origin, len(edge), edge.root().hex(), against, unfinished)

    def check_head(self) -> None:
        """Check the last line only: its signature covers the root over all before it, so no forged line gets past.

        Raises
        ------
        IntegrityError : names the first entry that is not what was signed. InputError : the log is open without key.
        """
        verifier = Ed25519PublicKey.from_public_bytes(self._expected_key(None))
        with self._mutex:
            self._refresh()
            if not (size := len(self._tree)):
                return
            line = next(islice(self.lines(), size - 1, None), b"")
            try:
                self._check(line, size - 1, self._tree.root(size - 1).hex(), verifier)
            except IntegrityError:
                self.verify()  # which names the entry
                raise

    def _vouched(self, checkpoint: Checkpoint | None) -> int | None:
        """Return how many lines are, to the byte, those of ``checkpoint``: these need no other check; None if not."""
        if checkpoint is None:
            return None
        edge = Edge()
        for line in islice(self.lines(), checkpoint.size):
            edge.append(leaf_hash(line))
        return checkpoint.size if edge.root().hex() == checkpoint.root else None

    def _verified(self, public: bytes, *, vouched: int) -> tuple[Edge, int]:
        """Check index, chain and signature of each line but the first ``vouched``, which a checkpoint speaks for.

        Returns the edge of the tree over all lines, and their length in bytes. Nothing else is kept.
        """
        verifier = Ed25519PublicKey.from_public_bytes(public)
        edge, offset = Edge(), 0
        for index, line in enumerate(self.lines()):
            if index >= vouched:
                self._check(line, index, edge.root().hex(), verifier)
            edge.append(leaf_hash(line))
            offset += len(line) + 1
        return edge, offset

    def _check(self, line: bytes, index: int, previous: str, verifier: Ed25519PublicKey) -> None:
        record = parse_line(line, index)
        signature = record.pop("signature")
        if record["previous"] != previous:
            raise IntegrityError(
                f"entry {index} of {self.origin} follows another log: one before it was changed, added or removed"
            )
        try:
            verifier.verify(bytes.fromhex(signature), self._signed_bytes(record))
        except (InvalidSignature, ValueError) as error:
            raise IntegrityError(f"entry {index} of {self.origin} was changed: its signature does not hold") from error

    def _expected_key(self, checkpoint: Checkpoint | None) -> bytes:
        own = self._key.public_key().public_bytes_raw() if self._key else None
        held_key = bytes.fromhex(checkpoint.key) if checkpoint else None
        if own and held_key and own != held_key:
            raise IntegrityError(f"the checkpoint of {self.origin} was signed by another key than the one in use")
        if not (public := held_key or own):
            raise InputError("nothing says whose signature to expect: give a checkpoint, or open the log with its key")
        return public

    def _signed_bytes(self, record: Mapping[str, Any]) -> bytes:
        """Return what a line's signature covers: an entry of one log is no entry of another."""
        return _DOMAIN + canonical_json({**record, "origin": self.origin})

    def _line(
        self, entry: Mapping[str, Any], *, index: int, previous: bytes, at: datetime, key: Ed25519PrivateKey
    ) -> bytes:
        """Return the signed line for ``entry``, or say why it can't be one."""
        if taken := [name for name in _RESERVED if name in entry]:
            raise InputError(f"got an entry with {', '.join(taken)}; the log gives these itself, rename the field")
        record = {"at": to_iso(at), "entry": dict(entry), "index": index, "previous": previous.hex()}
        try:
            record["signature"] = key.sign(self._signed_bytes(record)).hex()
            line = canonical_json(record)
            if canonical_json(json.loads(line)) != line:
                raise ValueError("two keys of one object become the same text")
        except (TypeError, ValueError, RecursionError) as error:
            raise InputError(f"an entry holds what JSON holds: {error}; see core.results.to_plain") from error
        if len(line) >= LINE_MOST:
            raise InputError(f"got an entry of {len(line)} bytes, expected less than {LINE_MOST}; log its hash instead")
        return line

    def _signing_key(self) -> Ed25519PrivateKey:
        if self._key is None:
            raise RefusedError(f"{self.origin} is open for reading only; open it with signing_key= to write")
        return self._key

    def _refresh(self) -> None:
        """Take in what others appended since."""
        with self._mutex:
            size = self._path.stat().st_size if self._path.exists() else 0
            if size < self._offset:
                raise IntegrityError(f"{self.origin} became shorter while open: {size} bytes, {self._offset} before")
            if size == self._offset:
                return
            with open(self._path, "rb") as file:
                file.seek(self._offset)
                for line in whole_lines(file):
                    self._tree.append(leaf_hash(line))
                    self._offset += len(line) + 1

    def _recover(self) -> None:
        """Move the half line that a dying writer left into a file of its own; to be called under the lock."""
        self._refresh()
        if not (tail := self._tail(self._offset, len(self._tree), self._tree.root())):
            return
        aside = self._path.with_name(f"{self._path.name}.torn-{self._offset}-{sha256_bytes(tail)[:8]}")
        write_atomic(aside, tail, mode=0o600)
        with open(self._path, "r+b") as file:
            file.truncate(self._offset)
            os.fsync(file.fileno())
        self.moved_aside += len(tail)
        _log.warning("%s ended in %d bytes of an unfinished append; they were moved aside", self.origin, len(tail))

    def _tail(self, offset: int, index: int, previous: bytes) -> bytes:
        """Return what follows the last whole line: nothing, or the beginning of entry ``index``."""
        if not self._path.exists() or self._path.stat().st_size == offset:
            return b""
        with open(self._path, "rb") as file:
            file.seek(offset)
            tail = file.read(LINE_MOST)
        if b"\n" in tail:  # written by another process since
            return b""
        if not begins_entry(tail, index, previous.hex()):
            raise IntegrityError(
                f"{self.origin} ends in {len(tail)} bytes that are no beginning of entry {index}: it was changed, or "
                "the disk lost data; compare it with a backup and a checkpoint"
            )
        return tail

    def _write(self, lines: bytes) -> None:
        """Append ``lines`` and force it to the disk, or leave the file as it was."""
        new = not self._path.exists()
        handle = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            rest = memoryview(lines)
            while rest:
                rest = rest[os.write(handle, rest) :]
            os.fsync(handle)
        except BaseException:
            os.ftruncate(handle, self._offset)
            with suppress(OSError):  # the first error is the one to tell
                os.fsync(handle)
            raise
        finally:
            os.close(handle)
        if new:
            sync_directory(self._path.parent)
