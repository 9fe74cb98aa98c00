"""The lines of a ledger's file: what is one, what is the beginning of one, and what is neither."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from typing import Any, BinaryIO

from crimeface_lib.core.errors import InputError, IntegrityError
from crimeface_lib.core.hashing import canonical_json

LINE_MOST = 1 << 20  # bytes of a line: no file makes us take more into memory
_FIELDS = {"at", "entry", "index", "previous", "signature"}
_START = b'{"at":"'
_END = re.compile(rb',"index":(\d+),"previous":"([0-9a-f]{64})","signature":"[0-9a-f]*"?}?\Z')


def whole_lines(file: BinaryIO) -> Iterator[bytes]:
    """Yield each line that has its newline, without it; the last may lack it while another process writes it."""
    while line := file.readline(LINE_MOST):
        if not line.endswith(b"\n"):
            if len(line) == LINE_MOST:
                raise IntegrityError(
                    f"a line is longer than any that this log writes, {LINE_MOST} bytes: it was changed"
                )
            return
        yield line[:-1]


def begins_entry(tail: bytes, index: int, previous: str) -> bool:
    """Return whether ``tail`` is the beginning of the line of entry ``index``.

    Zeros at its end are what a file system leaves that made a file longer and lost power before the data came.
    """
    written = tail.rstrip(b"\0")
    if not (_START.startswith(written) or written.startswith(_START)):
        return False
    try:
        codecs.getincrementaldecoder("utf-8")().decode(written)
    except UnicodeDecodeError:
        return False
    if any(byte < 0x20 for byte in written):  # JSON has none
        return False
    end = _END.search(written)
    if end is None:  # not yet at its index: then it is not a whole JSON object either
        return not written.endswith(b'"}')
    return (int(end[1]), end[2].decode()) == (index, previous)


def parse_line(line: bytes, index: int) -> dict[str, Any]:
    """Return the record in ``line``, which must be entry ``index`` exactly as this log writes it."""
    try:
        record = json.loads(line)
        sound = isinstance(record, dict) and set(record) == _FIELDS and isinstance(record["entry"], dict)
        sound = sound and isinstance(record["signature"], str) and canonical_json(record) == line
    except (ValueError, RecursionError):
        sound, record = False, None
    if isinstance(record, dict) and "version" in record:
        raise InputError(f"entry {index} is in a format of a newer crimeface; install a newer one to read it")
    if not sound:
        raise IntegrityError(f"entry {index} is not a line that this log writes: it was changed")
    if record["index"] != index:
        raise IntegrityError(
            f"entry {index} says that it is entry {record['index']}: entries were removed, added or reordered"
        )
    return record
