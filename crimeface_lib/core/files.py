"""Writes that either happened or didn't."""

from __future__ import annotations

import os
import tempfile
from glob import escape
from pathlib import Path


def sync_directory(path: Path) -> None:
    """Make a rename inside ``path`` survive a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_atomic(path: Path, data: bytes, *, mode: int | None = None) -> None:
    """Replace ``path`` by ``data``: temp file, fsync, rename, fsync of the directory.

    A reader, or a machine that died anywhere in between, sees the old bytes or the new ones.

    Parameters
    ----------
    mode : permission bits of the new file; the old file's by default, else 0o644.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    if mode is None:
        mode = path.stat().st_mode & 0o7777 if path.exists() else 0o644
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def leftovers(path: Path) -> list[Path]:
    """Return what a death inside ``write_atomic(path, ...)`` left, or what is being written now."""
    return list(path.parent.glob(f".{escape(path.name)}.*.tmp"))


def remove_leftovers(path: Path) -> None:
    """Remove what a death inside ``write_atomic(path, ...)`` left; to be called under the lock that guards ``path``."""
    for left in leftovers(path):
        left.unlink(missing_ok=True)
