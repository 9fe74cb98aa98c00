"""Photos of watchlist entries, kept as evidence where a team decides to: so that reviewers can look at them.

A watchlist itself keeps templates and each photo's SHA-256 only. A photo kept here belongs to one list, and goes when
the last entry made from it does.
"""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from crimeface_lib.core.errors import IntegrityError, RefusedError
from crimeface_lib.core.hashing import sha256_file

if TYPE_CHECKING:
    from crimeface_lib.evidence import EvidenceStore
    from crimeface_lib.recognition import Watchlist
    from crimeface_lib.recognition.sealed import Entry
    from crimeface_lib.workflow.store import CaseStore

KIND = "reference_photo"
#: What the custody record of an erasure says. Words that no exhibit is likely to be called by.
PURPOSE = "end of the retention period"
_ITEM = "photo:"  # how an entry names what it was made from


def case_of(watchlist: str) -> str:
    """Return the case reference under which a list's photos lie, so that each list keeps and ends its own."""
    return f"watchlist:{watchlist}"


def photo_of(entry: Entry) -> str:
    """Return the SHA-256 of the photo that an entry was made from; empty where it was not told."""
    return entry.item.removeprefix(_ITEM) if entry.item.startswith(_ITEM) else ""


def keep_photo(evidence: EvidenceStore, path: Path, *, watchlist: str, sha256: str, actor: str) -> str:
    """Take the photo of an entry into the evidence store and return its id there; once only, however often asked.

    Raises
    ------
    IntegrityError : the file is not the one that was enrolled.
    """
    data = path.read_bytes()  # not the path: the file's name is the subject's id, which the list keeps sealed
    item = evidence.add(
        data, actor=actor, purpose="reference photo of a watchlist entry", kind=KIND, case=case_of(watchlist)
    )
    if item.sha256 != sha256:
        evidence.delete(item.id, actor=actor, purpose="not the photo that was enrolled")
        raise IntegrityError("a photo changed while it was enrolled; enrol it again")
    return item.id


def keep_enrolled_photos(store: CaseStore, folder: Path, *, watchlist: str, actor: str) -> int:
    """Keep the photos of a folder that the list has entries of, whenever they were enrolled; return how many."""
    enrolled = {photo_of(entry) for entry in store.open_watchlist(watchlist).entries()}
    kept = 0
    for path in sorted(path for path in folder.iterdir() if path.is_file()):
        if (digest := sha256_file(path)) in enrolled:
            keep_photo(store.evidence, path, watchlist=watchlist, sha256=digest, actor=actor)
            kept += 1
    return kept


def photos_only_of(watchlist: Watchlist, records: Collection[str]) -> set[str]:
    """Return the photos (SHA-256) from which these records' entries were made, and no other entry of the list."""
    sides: tuple[set[str], set[str]] = (set(), {""})
    for entry in watchlist.entries(damaged="skip"):
        sides[entry.record not in records].add(photo_of(entry))
    return sides[0] - sides[1]


def drop_photos(store: CaseStore, sha256s: Collection[str], *, watchlist: str) -> None:
    """Erase the photos of a list's entries that are gone, each with a tombstone; one that is held stays until it
    isn't, and is due in ``crimeface retention list``.
    """
    who: dict[str, str] = {"actor": "retention", "purpose": PURPOSE}
    kept = store.evidence.list(**who, kind=KIND, case=case_of(watchlist)) if sha256s else ()
    gone = []
    for item in kept:
        if item.sha256 in sha256s:
            with suppress(RefusedError):  # somebody holds it; the attempt stands in the custody log
                store.evidence.delete(item.id, **who)
                gone.append(f"evidence:{item.id}")
    store.disposer.note(gone, category=f"evidence.{KIND}")
