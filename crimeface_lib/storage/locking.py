"""One writer at a time, across threads and processes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from crimeface_lib.core.errors import CrimefaceError

_PATIENCE_S = 120.0


def file_lock(path: Path) -> FileLock:
    """Return the lock that guards ``path``; it is a file beside it and may be entered again by its thread."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(path.with_name(path.name + ".lock"), timeout=_PATIENCE_S, mode=0o600, poll_interval=0.002)


@contextmanager
def held(lock: FileLock) -> Iterator[None]:
    """Hold ``lock`` for the block.

    Raises
    ------
    CrimefaceError : another process kept it for two minutes.
    """
    try:
        lock.acquire()
    except Timeout as error:
        name = Path(lock.lock_file).name
        raise CrimefaceError(
            f"waited {_PATIENCE_S:.0f} s for {name}; another process holds it, end that first"
        ) from error
    try:
        yield
    finally:
        lock.release()
