"""The files of a package, in a folder or in one zip, found without following, unpacking or trusting anything.

A zip is read in the one form in which the export writes it: stored files one after the other, fixed dates, ASCII
names, then the directory that follows from them. There is nothing to inflate, so nothing can explode, and no byte of
it is free to change.
"""

from __future__ import annotations

import os
import stat
import struct
import unicodedata
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NoReturn

from crimeface_lib.core.errors import IntegrityError

_BLOCK = 1 << 20
_LARGEST_RECORD = 256 << 20  # bytes; manifests, records and events are read whole
_LOCAL, _ENTRY, _END = struct.Struct("<4s5H3L2H"), struct.Struct("<4s6H3L5H2L"), struct.Struct("<4s4H2LH")
_DATE = 33  # 1 January 1980
_MODE = 0o100600 << 16


def fail(name: str, what: str) -> NoReturn:
    """Raise IntegrityError about the file ``name``."""
    raise IntegrityError(f"{name}: {what}")


@dataclass(frozen=True, slots=True)
class Part:
    """One file of a package: ``size`` bytes at ``offset`` of the file at ``path``."""

    name: str
    path: Path
    offset: int
    size: int

    def blocks(self) -> Iterator[bytes]:
        """Yield the content, block by block."""
        try:
            with open(self.path, "rb") as file:
                yield from _blocks(file, self.offset, self.size)
        except OSError as error:
            raise IntegrityError(f"{self.name}: can't be read: {error.strerror}") from error

    def read(self) -> bytes:
        """Return the content; not of a file that is too large to be a record."""
        if self.size > _LARGEST_RECORD:
            fail(self.name, f"is larger than the {_LARGEST_RECORD >> 20} MiB that a record may have")
        return b"".join(self.blocks())


def find_parts(package: Path) -> dict[str, Part]:
    """Return the files of a package by name.

    Raises
    ------
    IntegrityError : names what is no plain file, has an unsafe name or one like another's, or the byte of a zip from
        which on it is not what the export writes.
    """
    parts = _walk(package) if package.is_dir() else _read_zip(package)
    seen: dict[str, str] = {}
    for name in parts:
        check_name(name, source="the package")
        if (other := seen.setdefault(name.casefold(), name)) != name:
            fail(name, f"differs from {other} in case only: on some machines one would replace the other")
    return parts


def check_name(name: str, *, source: str) -> None:
    """Check that ``name`` is a relative path that means the same file on every machine."""
    steps = name.split("/")
    if name.startswith("~") or "\\" in name or ":" in name or any(step in ("", ".", "..") for step in steps):
        fail(ascii(name), f"is an unsafe path in {source}")
    if not name.isprintable() or unicodedata.normalize("NFC", name) != name:
        fail(
            ascii(name), f"is not in Unicode normal form C in {source}, or has invisible signs: names could look alike"
        )


def _walk(bag: Path) -> dict[str, Part]:
    parts: dict[str, Part] = {}

    def unreadable(error: OSError) -> NoReturn:
        fail(Path(error.filename).relative_to(bag).as_posix(), f"can't be read: {error.strerror}")

    for folder, folders, files in os.walk(bag, onerror=unreadable):
        for entry in sorted((*folders, *files)):
            full = Path(folder, entry)
            name, facts = full.relative_to(bag).as_posix(), full.lstat()
            if stat.S_ISDIR(facts.st_mode):
                if not any(full.iterdir()):
                    fail(ascii(name), "is an empty folder that the export did not write")
            elif not stat.S_ISREG(facts.st_mode):
                fail(ascii(name), "is a link or a device, and a package holds plain files only")
            elif facts.st_nlink > 1:
                fail(name, "has a second name elsewhere (a hard link) and could change through it; verify a copy")
            else:
                parts[name] = Part(name, full, 0, facts.st_size)
    return parts


def _read_zip(path: Path) -> dict[str, Part]:
    parts: dict[str, Part] = {}
    directory = b""
    size = path.stat().st_size
    with open(path, "rb") as file:
        while (header := file.read(_LOCAL.size))[:4] == b"PK\3\4" and len(header) == _LOCAL.size:
            start = file.tell() - _LOCAL.size
            *_, crc, length, _, name_length, _ = _LOCAL.unpack(header)
            raw = file.read(name_length)
            name, begin = raw.decode("ascii", "backslashreplace"), start + _LOCAL.size + len(raw)
            if header != _LOCAL.pack(b"PK\3\4", 20, 0, 0, 0, _DATE, crc, length, length, len(raw), 0):
                _not_ours(path, start, f"at {name!a}")
            if not raw.isascii() or begin + length > size or name in parts:
                _not_ours(path, start, f"at {name!a}: no ASCII name, cut off, or there twice")
            found = 0
            for block in _blocks(file, begin, length):
                found = zlib.crc32(block, found)
            if found != crc:
                fail(name, f"was changed in {path.name}: its checksum is not the one beside it")
            parts[name] = Part(name, path, begin, length)
            directory += _ENTRY.pack(
                b"PK\1\2", 20 | 3 << 8, 20, 0, 0, 0, _DATE, crc, length, length, len(raw), 0, 0, 0, 0, _MODE, start
            ) + raw  # fmt: skip
        end = file.tell() - len(header)
        count = min(len(parts), 0xFFFF)
        tail = directory + _END.pack(b"PK\5\6", 0, 0, count, count, len(directory), end, 0)
        if header + file.read(len(tail) + 1) != tail:
            _not_ours(path, end, "in the directory at its end")
    return parts


def _not_ours(path: Path, offset: int, where: str) -> NoReturn:
    fail(
        path.name,
        f"is not a zip as the export writes it, from byte {offset} on, {where}; "
        "a package that somebody zipped anew is verified as the folder that it unpacks to",
    )


def _blocks(file: BinaryIO, offset: int, size: int) -> Iterator[bytes]:
    file.seek(offset)
    while size and (block := file.read(min(_BLOCK, size))):
        size -= len(block)
        yield block
