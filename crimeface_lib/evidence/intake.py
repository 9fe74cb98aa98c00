"""Files on their way in: opened without following links, hashed, listed. One bad file doesn't stop the rest."""

from __future__ import annotations

import hashlib
import io
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from crimeface_lib.core.errors import CrimefaceError, InputError, RefusedError
from crimeface_lib.storage.vault import Source

_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class Incoming:
    """One thing to take in: where it comes from and what is known of it before it was read."""

    source: Source
    record: dict[str, Any]
    notes: dict[str, Any]


@contextmanager
def opened(source: Source) -> Iterator[BinaryIO]:
    """Open ``source`` for reading from its start.

    Raises
    ------
    InputError : not bytes, a path or a binary file that can seek; or no such file. RefusedError : a symbolic link or
        a device.
    """
    if isinstance(source, bytes):
        yield io.BytesIO(source)
    elif isinstance(source, str | Path):
        with open_plain(Path(source)) as file:
            yield file
    elif hasattr(source, "seekable") and source.seekable() and isinstance(source.read(0), bytes):
        source.seek(0)
        yield source
    else:
        raise InputError(f"got {type(source).__name__}, expected bytes, a path or a binary file that can seek")


def open_plain(path: Path) -> BinaryIO:
    """Open a plain file, neither through a link nor from a device, not even one put there at the last moment."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if path.is_symlink():
            raise RefusedError("is a symbolic link; give the file itself") from error
        raise InputError(f"can't be read: {error.strerror}") from error
    if stat.S_ISREG(os.fstat(handle).st_mode):
        return os.fdopen(handle, "rb")
    os.close(handle)
    raise RefusedError("is no plain file")


def list_files(paths: Sequence[str | Path]) -> list[tuple[str, Path]]:
    """Return each file under ``paths`` with the name by which to remember it; folders are walked through in order.

    Links are listed, so that they can be refused by name, and never followed.
    """
    found: list[tuple[str, Path]] = []
    for given in map(Path, paths):
        if given.is_symlink() or not given.is_dir():
            found.append((show_name(given.name), given))
            continue
        for folder, folders, files in os.walk(given, onerror=_unreadable):
            folders.sort()
            links = [name for name in folders if Path(folder, name).is_symlink()]
            for name in sorted([*files, *links]):
                full = Path(folder, name)
                found.append((show_name(full.relative_to(given).as_posix()), full))
    return found


def _unreadable(error: OSError) -> None:
    raise InputError(f"can't list a folder: {error.strerror}; nothing was taken in") from error


def show_name(name: str) -> str:
    """Return a file name as Unicode text; bytes that are none are shown as escapes."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a plain file. Raises as ``open_plain``."""
    digest = hashlib.sha256()
    with open_plain(path) as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def intake_row(
    name: str, known: str | None, entered: dict[str, Any] | CrimefaceError | OSError | None
) -> dict[str, Any]:
    """Return what became of one file, as ``Intake`` has it."""
    row = {"path": name, "outcome": "taken in", "item": known, "reason": ""}
    if known is not None:
        row["outcome"] = "here before"
    elif isinstance(entered, dict):
        row["item"] = entered["item"]
    else:
        row["outcome"] = "refused" if isinstance(entered, RefusedError) else "failed"
        row["reason"] = str(entered)
    return row
