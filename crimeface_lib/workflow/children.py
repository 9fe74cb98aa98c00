"""Photos of children: enrolled only under an approval that names each photo by its hash."""

from __future__ import annotations

from pathlib import Path

from crimeface_lib.core.errors import InputError
from crimeface_lib.core.hashing import sha256_file
from crimeface_lib.governance import User
from crimeface_lib.workflow.store import CaseStore


def ask_for_children(store: CaseStore, folder: Path, *, watchlist: str, reason: str, by: User) -> int:
    """Ask for the approval that every photo in ``folder`` needs; return the change's number.

    Raises
    ------
    InputError : no such folder, or no file in it. RefusedError : the account may not ask.
    """
    if not folder.is_dir() or not (photos := photo_hashes(folder)):
        raise InputError(f"got {folder}, expected a folder of photos")
    return store.changes.ask("children", {"watchlist": watchlist, "photos": photos}, reason=reason, by=by)


def check_children(store: CaseStore, change: int, folder: Path, *, watchlist: str, by: User) -> None:
    """Return if an approved change covers every photo in ``folder`` on this watchlist.

    Raises
    ------
    RefusedError : not approved, for another watchlist, or a photo is not among those approved.
    """
    approved = store.changes.require(change, "children", by=by).content
    others = sorted(set(photo_hashes(folder)) - set(approved["photos"]))
    if approved["watchlist"] != watchlist or others:
        message = (
            f"change {change} covers {len(approved['photos'])} photos for watchlist {approved['watchlist']!r}; got "
            f"{len(others)} others for {watchlist!r}: ask for them with crimeface policy children"
        )
        store.people.refuse(by.id, "enrol_children", "not_covered", message, change=change)


def photo_hashes(folder: Path) -> list[str]:
    """Return the SHA-256 of each file in ``folder``, sorted."""
    return sorted(sha256_file(path) for path in folder.iterdir() if path.is_file())
