"""What a store stands on, as this machine's settings say: what opens its keys, and where its records lie.

Records lie in JSON files inside the store's folder, or in the database that ``CRIMEFACE_DOCUMENTS`` names; there each
store has spaces of its own, told apart by its keys. Ledgers, encrypted contents and keys are always in the folder.
"""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

from crimeface_lib.core.errors import ConfigError
from crimeface_lib.core.files import write_atomic
from crimeface_lib.core.plugins import load_backend
from crimeface_lib.core.settings import Settings
from crimeface_lib.storage import DocumentStore, KeyRing, TinyDocuments, Vault, open_documents
from crimeface_lib.storage.locking import file_lock, held
from crimeface_lib.storage.unlock import Command, MasterKey, Passphrase, Unlock

_CONTENT_KEY = "content.key"
_NEXT = "next"  # folder of the key that a renewal, once it is done, puts in the place of the one before


def unlock_by(settings: Settings) -> Unlock | None:
    """Return what opens the key file; None where nothing but its permissions guards it.

    Raises
    ------
    ConfigError : the settings name more than one way.
    """
    ways: list[Unlock] = []
    if settings.passphrase is not None:
        ways.append(Passphrase(settings.passphrase.get_secret_value()))
    if settings.master_key is not None:
        ways.append(MasterKey(settings.master_key.get_secret_value()))
    if settings.key_command is not None:
        ways.append(Command(tuple(shlex.split(settings.key_command))))
    if len(ways) > 1:
        raise ConfigError(
            "got more than one of CRIMEFACE_PASSPHRASE, CRIMEFACE_MASTER_KEY and CRIMEFACE_KEY_COMMAND; set the one "
            "that sealed the key file"
        )
    return ways[0] if ways else None


def open_records(path: Path, *, part: str, keys: KeyRing, settings: Settings) -> DocumentStore:
    """Open the records of a ``part`` of a store: the JSON file ``path``, or the database that the settings name.

    Raises
    ------
    ConfigError : the settings name a database, and the records are in the file; or none, and they were moved to one.
    """
    if settings.documents is None:
        if not path.exists() and path.with_name(f"{path.name}.moved").exists():
            raise ConfigError(f"the {part} records of this store lie in a database; set CRIMEFACE_DOCUMENTS to it")
        return TinyDocuments.open(path)
    if path.exists():
        raise ConfigError(
            f"the {part} records of this store lie in {path.name}, and CRIMEFACE_DOCUMENTS names a database; unset it, "
            "or run: crimeface records move"
        )
    return open_documents(settings.documents.get_secret_value(), space=_space(part, keys))


def move_records(folder: Path, *, settings: Settings) -> int:
    """Move all records of the store in ``folder`` from their JSON files to the database; return how many there are.

    Each file is renamed once its records are there. Where a move was interrupted, it is finished.

    Raises
    ------
    ConfigError : the settings name no database. InputError : it holds other records of this store.
    """
    if settings.documents is None:
        raise ConfigError("CRIMEFACE_DOCUMENTS names no database, expected sqlite:///FILE or postgresql+psycopg://…")
    keys = KeyRing.open(folder / "keys.json", unlock=unlock_by(settings), create=False)
    parts = {folder / "governance.json": "governance", folder / "evidence" / "records.json": "evidence"}
    parts |= {path: f"watchlist.{path.parent.name}" for path in (folder / "watchlists").glob("*/entries.json")}
    url, count = settings.documents.get_secret_value(), 0
    for path, part in parts.items():
        if path.exists():
            count += load_backend("stores", "sql").open(url, space=_space(part, keys)).take_over(path)
    return count


def _space(part: str, keys: KeyRing) -> str:
    return f"{keys.derive('document space').hex()[:16]}.{part}"


def content_key(folder: Path, name: str, *, keys: KeyRing, first: bytes | None = None) -> bytes:
    """Return the key that seals the part ``name`` of the store in ``folder``; made at random, or ``first``.

    It is kept wrapped in the part's folder, so that ``rotate_keys`` finds it.
    """
    path = folder / name / _CONTENT_KEY
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    return keys.data_key(path, context=name.encode(), first=first)


def next_key(folder: Path, name: str, *, keys: KeyRing, create: bool = False) -> bytes | None:
    """Return the key under which a renewal seals the part ``name`` anew; None where none was begun."""
    begun = (folder / name / _NEXT / _CONTENT_KEY).exists()
    return content_key(folder, f"{name}/{_NEXT}", keys=keys) if begun or create else None


def adopt_next_key(folder: Path, name: str, *, keys: KeyRing, key: bytes) -> None:
    """Make the ``key`` of a renewal the one of the part ``name``; the one before is gone."""
    path = folder / name / _CONTENT_KEY
    with held(file_lock(path)):
        write_atomic(path, keys.wrap(key, context=name.encode()), mode=0o600)
    shutil.rmtree(folder / name / _NEXT, ignore_errors=True)


def rotate_keys(folder: Path, *, keys: KeyRing, progress: Callable[[int, int], object] | None = None) -> int:
    """Give the store in ``folder`` a new key-encryption key, rewrap all that the older one wrapped, and forget it.

    Contents stay as they are, and open all the while. Where a rotation was interrupted, it is finished. Returns the
    number of keys that were rewrapped. The key that signs and the names of files don't change.
    """
    with held(file_lock(folder / "rotation")):  # two at once could each forget the other's key
        if not keys.retiring:
            keys.rotate()
        older = keys.retiring
        count = Vault.open(folder / "evidence" / "vault", keys=keys).rewrap(progress=progress)
        for path in sorted(folder.rglob(_CONTENT_KEY)):
            count += keys.rewrap_file(path, context=path.parent.relative_to(folder).as_posix().encode())
        keys.retire(older)
    return count
