"""Encrypted objects, addressed by the SHA-256 of what they hold.

Each object has a random key of its own, wrapped by the key ring. The content is cut into chunks of 1 MiB, each
sealed with AES-256-GCM; the nonce holds the chunk's index and whether it is the last, the associated data holds the
object's id. So a chunk can't be dropped, repeated, swapped, moved to another object or cut off the end.

On disk an object is ``objects/<name>.enc`` and ``keys/<name>.key``. The name is a keyed hash of the id: the folder
tells nobody which photo is in it. The key file is what makes an object exist; to shred it is to destroy that file.
When keys rotate, only the key files are written anew: ``rewrap``.

References
----------
V. T. Hoang, R. Reyhanitabar, P. Rogaway, D. Vizár: Online authenticated-encryption and its nonce-reuse
misuse-resistance (2015), the STREAM construction.
"""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import io
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeAlias

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from crimeface_lib.core.errors import InputError, IntegrityError, NotFoundError
from crimeface_lib.core.files import remove_leftovers, sync_directory, write_atomic
from crimeface_lib.core.hashing import canonical_json
from crimeface_lib.core.results import Result
from crimeface_lib.storage.keys import WRAPPED, KeyRing
from crimeface_lib.storage.locking import file_lock, held
from crimeface_lib.storage.modes import private_folder
from crimeface_lib.storage.schema import refuse_newer

Source: TypeAlias = bytes | str | Path | BinaryIO

CHUNK = 1 << 20
_TAG = 16
_FORMAT = 1
_DOMAIN = b"crimeface vault v1\n"
_META_NONCE = b"\xff" * 12  # no chunk has it: their last byte is 0 or 1


@dataclass(frozen=True, slots=True)
class StoredObject(Result):
    """What the vault knows of an object. ``id`` is the hexadecimal SHA-256 of its content, ``size`` is in bytes."""

    id: str
    size: int
    sha512: str


class Vault:
    """A folder of encrypted, write-once objects.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> vault = Vault.open(folder / "vault", keys=KeyRing.open(folder / "keys.json"))
    >>> photo = vault.put(b"a photo")
    >>> vault.put(b"a photo") == photo, vault.read(photo.id)
    (True, b'a photo')
    """

    def __init__(self, path: Path, *, keys: KeyRing) -> None:
        self._keys = keys
        self._names = keys.derive("vault names")
        self._path, self._objects, self._wrapped = path, path / "objects", path / "keys"
        self._lock = file_lock(path / "vault")

    @classmethod
    def open(cls, path: str | Path, *, keys: KeyRing) -> Vault:
        """Open the vault in the folder ``path``, made if need be.

        A shredding that was interrupted is finished, and what a death in ``put`` or ``rewrap`` left is removed.

        Raises
        ------
        RefusedError : others than the owner may enter the folder.
        InputError : a newer crimeface made it.
        """
        path = private_folder(Path(path).resolve())
        vault = cls(path, keys=keys)
        for folder in (vault._objects, vault._wrapped):
            private_folder(folder)
        with held(vault._lock):
            vault._check_format()
            for tombstone in vault._wrapped.glob("*.shredded"):
                vault._destroy(tombstone.stem)
            vault._sweep()
        return vault

    def put(self, source: Source) -> StoredObject:
        """Store the content of ``source`` and return its address; the same content is stored once.

        Parameters
        ----------
        source : bytes, a path, or a binary file that can seek. It is read twice, in blocks: once to hash it, and once
            to encrypt it.

        Raises
        ------
        InputError : the file can't seek.
        IntegrityError : the source changed between the two readings.
        """
        with _opened(source) as file:
            stored = _describe(file)
            if self.exists(stored.id):
                return stored
            file.seek(0)
            key = os.urandom(32)
            with held(self._lock):  # no other process may sweep it away before it is marked as in use
                handle, name = tempfile.mkstemp(dir=self._objects, suffix=".tmp")
                fcntl.flock(handle, fcntl.LOCK_EX)
            temporary = Path(name)
            try:
                with os.fdopen(handle, "wb") as out:
                    self._encrypt(file, out, key=key, stored=stored)
                    os.fchmod(out.fileno(), 0o400)
                    out.flush()
                    os.fsync(out.fileno())
                    self._commit(temporary, key=key, stored=stored)  # while the file is open: closed, it is swept
            finally:
                temporary.unlink(missing_ok=True)
        return stored

    def read(self, id: str) -> bytes:
        """Return the whole content of an object.

        Raises
        ------
        NotFoundError : no such object, or it was shredded.
        IntegrityError : what is on the disk is not what was stored.
        """
        return b"".join(self._chunks(id))

    def open_to(self, id: str, path: str | Path) -> Path:
        """Write the content of an object to ``path``, chunk by chunk; the file appears once all of it is verified.

        Raises
        ------
        NotFoundError, IntegrityError : as for ``read``.
        """
        path = Path(path)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".tmp")
        try:
            with os.fdopen(handle, "wb") as out:
                for chunk in self._chunks(id):
                    out.write(chunk)
                out.flush()
                os.fsync(out.fileno())
            os.replace(name, path)
        finally:
            Path(name).unlink(missing_ok=True)
        sync_directory(path.parent)
        return path

    def describe(self, id: str) -> StoredObject:
        """Return size and hashes of an object without reading its content.

        Raises
        ------
        NotFoundError, IntegrityError : as for ``read``.
        """
        return self._unlock(self._name(id))[1]

    def verify(self, id: str) -> StoredObject:
        """Read an object through, keeping nothing, and return what it is.

        Raises
        ------
        NotFoundError, IntegrityError : as for ``read``.
        """
        for _ in self._chunks(id):
            pass
        return self.describe(id)

    def exists(self, id: str) -> bool:
        """Return whether the object can be read: it was stored and not shredded."""
        name = self._name(id)
        return self._key_path(name).exists() and not self._tombstone(name).exists()

    def ids(self) -> list[str]:
        """Return the ids of all objects, sorted."""
        names = {path.stem for path in self._wrapped.glob("*.key")}
        names -= {path.stem for path in self._wrapped.glob("*.shredded")}
        return sorted(self._unlock(name)[1].id for name in names)

    def shred(self, id: str) -> None:
        """Destroy the object's key, remove its content and leave a tombstone that names neither.

        To shred again does nothing. Copies of the key file in a backup are out of reach: keep none for longer than
        the retention period.

        Raises
        ------
        NotFoundError : there never was such an object.
        """
        name = self._name(id)
        with held(self._lock):
            if not self._tombstone(name).exists():
                if not self._key_path(name).exists():
                    raise NotFoundError(f"no object {id[:16]}… in the vault")
                write_atomic(self._tombstone(name), b"", mode=0o400)
            self._destroy(name)

    def rewrap(self, *, progress: Callable[[int, int], object] | None = None) -> int:
        """Wrap the key of each object by the active key of the ring and return how many there was need to.

        Contents are not touched. It may stop anywhere and be called again: each object opens all the while.

        Parameters
        ----------
        progress : called with the number of objects done and of all.

        Raises
        ------
        IntegrityError, NotFoundError : a key file was changed, or the ring lacks the key that wrapped it.
        """
        paths, done = sorted(self._wrapped.glob("*.key")), 0
        for number, path in enumerate(paths, 1):
            with held(self._lock), suppress(FileNotFoundError):  # shredded meanwhile
                old, context = path.read_bytes(), _DOMAIN + path.stem.encode()
                new = self._keys.rewrap(old[:WRAPPED], context=context) + old[WRAPPED:]
                if new != old:
                    remove_leftovers(path)
                    write_atomic(path, new, mode=0o600)
                    done += 1
            if progress is not None:
                progress(number, len(paths))
        return done

    def _check_format(self) -> None:
        """Refuse what a newer crimeface made; a vault that does not say its format has the first one."""
        mark, found = self._path / "format.json", _FORMAT
        try:
            found = json.loads(mark.read_bytes())["vault"]
        except FileNotFoundError:
            write_atomic(mark, canonical_json({"vault": _FORMAT}), mode=0o600)
        except (ValueError, KeyError, TypeError) as error:
            raise IntegrityError("format.json of the vault was changed; restore it from a backup") from error
        refuse_newer("the vault", found, _FORMAT)

    def _sweep(self) -> None:
        """Remove what dead processes left: key files under way, and contents that nobody is writing any more."""
        for left in self._wrapped.glob(".*.tmp"):  # written under the lock only, which we hold
            left.unlink(missing_ok=True)
        for left in self._objects.glob("*.tmp"):
            with suppress(FileNotFoundError, BlockingIOError), open(left, "rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                left.unlink()

    def _encrypt(self, file: BinaryIO, out: BinaryIO, *, key: bytes, stored: StoredObject) -> None:
        cipher, digest = AESGCM(key), hashlib.sha256()
        left = stored.size
        for index in range(max(1, -(-stored.size // CHUNK))):
            chunk = file.read(min(CHUNK, left))
            digest.update(chunk)
            left -= len(chunk)
            out.write(cipher.encrypt(_nonce(index, last=left == 0), chunk, _DOMAIN + stored.id.encode()))
        if left or file.read(1) or digest.hexdigest() != stored.id:
            raise IntegrityError("the source changed while it was being stored; nothing was kept, try again")

    def _commit(self, temporary: Path, *, key: bytes, stored: StoredObject) -> None:
        """Give the encrypted content its name, then its key: from there on it exists."""
        name = self._name(stored.id)
        with held(self._lock):
            if self.exists(stored.id):  # another process was faster
                return
            self._destroy(name)  # what a death in this function left
            os.replace(temporary, self._object_path(name))
            sync_directory(self._objects)
            meta = AESGCM(key).encrypt(_META_NONCE, canonical_json(stored.to_dict()), _DOMAIN + name.encode())
            sealed = self._keys.wrap(key, context=_DOMAIN + name.encode()) + meta
            write_atomic(self._key_path(name), sealed, mode=0o600)
            self._tombstone(name).unlink(missing_ok=True)
            sync_directory(self._wrapped)

    def _unlock(self, name: str) -> tuple[bytes, StoredObject]:
        """Return the key of an object and what its key file says of it."""
        context = _DOMAIN + name.encode()
        try:
            blob = self._key_path(name).read_bytes()
            if blob[:8].hex() not in self._keys:  # rewrapped since we read it, and the older key retired
                blob = self._key_path(name).read_bytes()
        except FileNotFoundError as error:
            raise NotFoundError("no such object in the vault, or it was shredded") from error
        key = self._keys.unwrap(blob[:WRAPPED], context=context)
        try:
            meta = AESGCM(key).decrypt(_META_NONCE, blob[WRAPPED:], context)
        except InvalidTag as error:
            raise IntegrityError("an object's key file was changed; restore it from a backup") from error
        return key, StoredObject(**json.loads(meta))

    def _chunks(self, id: str) -> Iterator[bytes]:
        """Yield the content in chunks, each verified; the hash of the whole is checked at the end."""
        if not self.exists(id):
            raise NotFoundError(f"no object {id[:16]}… in the vault, or it was shredded")
        name = self._name(id)
        key, stored = self._unlock(name)
        cipher, digest = AESGCM(key), hashlib.sha256()
        changed = f"object {id[:16]}… is not what was stored: its file was changed; restore it from a backup"
        try:
            with open(self._object_path(name), "rb") as file:
                left = os.fstat(file.fileno()).st_size
                for index in range(max(1, -(-left // (CHUNK + _TAG)))):
                    sealed = file.read(CHUNK + _TAG)
                    left -= len(sealed)
                    chunk = cipher.decrypt(_nonce(index, last=left == 0), sealed, _DOMAIN + id.encode())
                    digest.update(chunk)
                    yield chunk
        except (InvalidTag, FileNotFoundError) as error:
            raise IntegrityError(changed) from error
        if digest.hexdigest() != stored.id or stored.id != id:
            raise IntegrityError(changed)

    def _destroy(self, name: str) -> None:
        """Remove key, then content; the key's bytes are overwritten first, for disks where that helps."""
        remove_leftovers(self._key_path(name))
        with suppress(FileNotFoundError), open(self._key_path(name), "r+b") as file:
            file.write(bytes(os.fstat(file.fileno()).st_size))
            file.flush()
            os.fsync(file.fileno())
        for path in (self._key_path(name), self._object_path(name)):
            path.unlink(missing_ok=True)
            sync_directory(path.parent)

    def _name(self, id: str) -> str:
        if len(id) != 64 or set(id) - set("0123456789abcdef"):
            raise InputError(f"got object id {id!r}, expected 64 lower-case hexadecimal digits")
        return hmac.new(self._names, id.encode(), hashlib.sha256).hexdigest()

    def _object_path(self, name: str) -> Path:
        return self._objects / f"{name}.enc"

    def _key_path(self, name: str) -> Path:
        return self._wrapped / f"{name}.key"

    def _tombstone(self, name: str) -> Path:
        return self._wrapped / f"{name}.shredded"


def _nonce(index: int, *, last: bool) -> bytes:
    return index.to_bytes(11, "big") + bytes([last])


@contextmanager
def _opened(source: Source) -> Iterator[BinaryIO]:
    if isinstance(source, bytes):
        yield io.BytesIO(source)
    elif isinstance(source, str | Path):
        with open(source, "rb") as file:
            yield file
    elif hasattr(source, "seekable") and source.seekable():
        source.seek(0)
        yield source
    else:
        raise InputError(f"got {type(source).__name__}, expected bytes, a path or a binary file that can seek")


def _describe(file: BinaryIO) -> StoredObject:
    sha256, sha512, size = hashlib.sha256(), hashlib.sha512(), 0
    while block := file.read(CHUNK):
        sha256.update(block)
        sha512.update(block)
        size += len(block)
    return StoredObject(id=sha256.hexdigest(), size=size, sha512=sha512.hexdigest())
