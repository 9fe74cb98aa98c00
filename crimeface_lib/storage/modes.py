"""Who may read a store: its owner, and for records the owner's group where an administrator said so."""

from __future__ import annotations

import stat
from pathlib import Path

from crimeface_lib.core.errors import RefusedError


def private_folder(path: Path) -> Path:
    """Make the folder ``path``, open to its owner only, and return it.

    Raises
    ------
    RefusedError : it is there and others may enter it.
    """
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    refuse_others(path, remedy="chmod 700")
    return path


def refuse_others(path: Path, *, bits: int = 0o077, remedy: str = "chmod 600") -> None:
    """Check that nobody but the owner has any of the permission ``bits`` of ``path``; a missing path is private.

    Raises
    ------
    RefusedError : somebody else may read, write or enter it.
    """
    mode = stat.S_IMODE(path.stat().st_mode) if path.exists() else 0
    if mode & bits:
        kind = "folder" if path.is_dir() else "file"
        raise RefusedError(f"others may open the {kind} {path.name} (its mode is {mode:03o}); run: {remedy} {path}")
