"""Memory for open templates: one place, out of swap and core dumps where the system lets us, zeroed at the end."""

from __future__ import annotations

import ctypes
import mmap
import weakref

import numpy as np

from crimeface_lib.core.types import Float32Array


class LockedRows:
    """(N, D) float32 in pages of their own, zeroed by ``close``, and also where nobody calls it.

    ``note`` says whether they are locked into memory, and why not where they aren't: most systems let a process lock
    a few MB only (``ulimit -l``). It can't be pickled.

    >>> rows = LockedRows(2, 3)
    >>> rows.array[:] = 1
    >>> rows.close()
    """

    def __init__(self, count: int, dimension: int) -> None:
        size = max(1, count * dimension * 4)
        self._map = mmap.mmap(-1, size)
        if hasattr(mmap, "MADV_DONTDUMP"):
            self._map.madvise(mmap.MADV_DONTDUMP)
        self.array = self._view(count, dimension)
        self.locked, self.note = _lock(self._map, size)
        self._wipe = weakref.finalize(self, _zero, self._map, size)

    def _view(self, count: int, dimension: int) -> Float32Array:
        return np.frombuffer(self._map, dtype=np.float32, count=count * dimension).reshape(count, dimension)

    def __reduce__(self) -> str:
        raise TypeError("open templates are not pickled: they would lie in clear wherever that goes")

    def close(self) -> None:
        """Overwrite the rows with zeros; the pages go when nothing looks at them any more."""
        self._wipe()
        self.array = np.empty((0, self.array.shape[1]), dtype=np.float32)


def _zero(pages: mmap.mmap, size: int) -> None:
    ctypes.memset(_address(pages), 0, size)


def _address(pages: mmap.mmap) -> int:
    return ctypes.addressof(ctypes.c_char.from_buffer(pages))


def _lock(pages: mmap.mmap, size: int) -> tuple[bool, str]:
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        libc.mlock.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
        done = libc.mlock(_address(pages), size) == 0
    except (AttributeError, OSError, TypeError):  # no such call on this system
        return False, "open templates are not locked into memory: this system has no mlock"
    if done:
        return True, "open templates are locked into memory"
    return False, (
        f"open templates ({size / 2**20:.0f} MB) are not locked into memory and may reach the swap space: the system "
        f"refused (error {ctypes.get_errno()}); raise ulimit -l"
    )
