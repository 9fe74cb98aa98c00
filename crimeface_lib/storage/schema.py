"""Each store says in which version of its format it is: a newer one is refused, an older one is migrated.

Before a migration the old file is copied to ``<name>.v<version>.bak``. A backup holds what its store held, so the
first record or key that is destroyed later takes the backup with it: what was erased lies nowhere else.

The ledger is never migrated, because to write a signed line anew is to forge it: each line has its version for ever.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from glob import escape
from pathlib import Path
from typing import TypeVar

from crimeface_lib.core.errors import InputError, IntegrityError
from crimeface_lib.core.files import write_atomic

Content = TypeVar("Content")


def refuse_newer(what: str, found: object, current: int) -> int:
    """Return the version ``found``, if it is one that this library can read.

    Raises
    ------
    InputError : it was written by a newer crimeface. IntegrityError : it is no version.
    """
    if type(found) is not int or found < 0:
        raise IntegrityError(f"{what}: got format {found!r}, expected a whole number; restore it from a backup")
    if found > current:
        raise InputError(f"{what} is in format {found}, this crimeface reads up to {current}; install a newer one")
    return found


def migrated(
    content: Content, steps: Mapping[int, Callable[[Content], Content]], *, found: int, current: int
) -> Content:
    """Return ``content`` in the ``current`` format; ``steps[n]`` leads from format n to n + 1."""
    for version in range(found, current):
        content = steps[version](content)
    return content


def back_up(path: Path, version: int) -> Path:
    """Keep ``path`` as it is beside itself, readable by its owner only, and return where."""
    backup = path.with_name(f"{path.name}.v{version}.bak")
    write_atomic(backup, path.read_bytes(), mode=0o600)
    return backup


def drop_backups(path: Path) -> None:
    """Remove the backups that migrations of ``path`` kept."""
    for backup in path.parent.glob(f"{escape(path.name)}.v*.bak"):
        backup.unlink(missing_ok=True)
