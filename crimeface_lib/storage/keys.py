"""The key ring: one file that opens everything else, and the only secret to guard.

It holds key-encryption keys (each object key in the vault is wrapped by one), an Ed25519 key that signs ledgers, and
a root from which keys for names are derived. A passphrase, a key from the environment or a command (``unlock.py``)
seals the file by AES-256-GCM; without one its permissions are its only protection.

A wrapped key names the key-encryption key that wrapped it, so that several may be in use at a time. To rotate is to
``rotate`` (a new key wraps from now on, the older ones still unwrap), to rewrap whatever was wrapped before, and to
``retire`` the older ones. It may stop anywhere in between and be taken up again.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from crimeface_lib.core.errors import InputError, IntegrityError, NotFoundError
from crimeface_lib.core.files import leftovers, remove_leftovers, write_atomic
from crimeface_lib.core.hashing import canonical_json
from crimeface_lib.storage.locking import file_lock, held
from crimeface_lib.storage.modes import refuse_others
from crimeface_lib.storage.schema import back_up, drop_backups, migrated, refuse_newer
from crimeface_lib.storage.unlock import Passphrase, Unlock

_FORMAT, _FORMAT_1 = "crimeface key ring", "crimeface key ring v1"
_VERSION = 2
_WAYS = {
    "passphrase": ("passphrase", "set CRIMEFACE_PASSPHRASE or give passphrase="),
    "key": ("master key", "set CRIMEFACE_MASTER_KEY or give unlock=MasterKey(...)"),
    "command": ("key command", "set CRIMEFACE_KEY_COMMAND or give unlock=Command(...)"),
}
_ID, _NONCE, _KEY, _TAG = 8, 12, 32, 16
WRAPPED = _ID + _NONCE + _KEY + _TAG  # bytes of a wrapped key


@dataclass(frozen=True, slots=True, repr=False)
class _Secrets:
    """What the file protects. ``keks`` maps a key id to a key; ``active`` is the id that wraps."""

    active: bytes
    keks: dict[bytes, bytes]
    signing: bytes
    root: bytes


@dataclass(frozen=True, slots=True, repr=False)
class _Content:
    """The file, opened: its secrets, what it says of its seal, and the key of that seal."""

    secrets: _Secrets
    seal: dict[str, Any] | None
    master: bytes | None
    stamp: tuple[int, int, int] = (0, 0, 0)


class KeyRing:
    """The keys of one installation.

    >>> import tempfile
    >>> keys = KeyRing.open(Path(tempfile.mkdtemp()) / "keys.json")
    >>> blob = keys.wrap(bytes(32), context=b"object 1")
    >>> keys.unwrap(blob, context=b"object 1") == bytes(32)
    True
    """

    def __init__(self, path: Path, unlock: Unlock | None) -> None:
        self._path = path
        self._unlock = unlock
        self._content, version = _load(path, unlock, None)
        if version < _VERSION:
            with held(file_lock(path)):
                self._content, version = _load(path, unlock, self._content)
                if version < _VERSION:  # else another process was faster
                    back_up(path, version)
                    self._content = _save(path, self._content)

    def __repr__(self) -> str:
        return f"KeyRing({len(self._secrets.keks)} keys, verify_key={self.verify_key[:16]}…)"

    @classmethod
    def open(
        cls, path: str | Path, *, passphrase: str | None = None, unlock: Unlock | None = None, create: bool = True
    ) -> KeyRing:
        """Open the key file at ``path``, or make a new one, readable by its owner only.

        Parameters
        ----------
        passphrase : short for ``unlock=Passphrase(...)``.
        unlock : what seals the file: ``unlock.Passphrase``, ``MasterKey`` or ``Command``; nothing by default.

        Raises
        ------
        NotFoundError : no such file and ``create`` is False.
        RefusedError : others than the owner may read the file.
        InputError : it is sealed in another way than the one given, or a newer crimeface wrote it.
        IntegrityError : wrong passphrase or key, or the file was changed.
        """
        path, unlock = Path(path).resolve(), _way(passphrase, unlock)
        if not path.exists() and not create:
            raise NotFoundError(f"no key file {path}; leave create=False out to make one, or restore it from a backup")
        if not path.exists() or leftovers(path):
            with held(file_lock(path)):
                remove_leftovers(path)
                if not path.exists():
                    _save(path, _sealed(_new_secrets(), unlock))
        return cls(path, unlock)

    @property
    def signing_key(self) -> Ed25519PrivateKey:
        """The key that signs ledger entries and checkpoints."""
        return Ed25519PrivateKey.from_private_bytes(self._secrets.signing)

    @property
    def verify_key(self) -> str:
        """The public half of ``signing_key``, hexadecimal: give it to reviewers."""
        return self.signing_key.public_key().public_bytes_raw().hex()

    @property
    def sealed_by(self) -> str:
        """What opens the file: passphrase, key, command, or nothing but its permissions."""
        seal = self._content.seal
        return "nothing but the permissions of the file" if seal is None else str(seal["kind"])

    @property
    def active(self) -> str:
        """The id of the key that wraps."""
        self._refresh()
        return self._secrets.active.hex()

    def __contains__(self, key_id: str) -> bool:
        """Return whether the key of this id is here, so that what it wrapped can be unwrapped."""
        if bytes.fromhex(key_id) not in self._secrets.keks:
            self._refresh()
        return bytes.fromhex(key_id) in self._secrets.keks

    @property
    def retiring(self) -> tuple[str, ...]:
        """The ids of older keys that are still here: a rotation is not finished until there are none."""
        self._refresh()
        return tuple(sorted(id.hex() for id in self._secrets.keks if id != self._secrets.active))

    def derive(self, purpose: str, *, rotates: bool = False) -> bytes:
        """Return the 32-byte key for ``purpose``, unrelated to those of other purposes.

        It is the same each time, or, if it ``rotates``, until the next rotation. Seal no content with it: what is to
        be kept and rotated needs a ``data_key``.
        """
        if not purpose:
            raise InputError("got an empty purpose, expected a word that says what the key is for")
        info = b"crimeface derive v1\n" + purpose.encode()
        secret = self._secrets.keks[self._secrets.active] if rotates else self._secrets.root
        return HKDF(algorithm=SHA256(), length=_KEY, salt=None, info=info).derive(secret)

    def wrap(self, data_key: bytes, *, context: bytes) -> bytes:
        """Return the 32-byte ``data_key`` encrypted under the active key and bound to ``context``."""
        if len(data_key) != _KEY:
            raise InputError(f"got a key of {len(data_key)} bytes, expected {_KEY}")
        self._refresh()  # another process may have rotated: what an older key wraps now would be lost
        key_id, nonce = self._secrets.active, os.urandom(_NONCE)
        return key_id + nonce + AESGCM(self._secrets.keks[key_id]).encrypt(nonce, data_key, key_id + context)

    def unwrap(self, blob: bytes, *, context: bytes) -> bytes:
        """Return the key that ``wrap`` encrypted with the same ``context``.

        Raises
        ------
        NotFoundError : it was wrapped by a key that is not in this ring.
        IntegrityError : the blob was changed, or belongs to something else.
        """
        if len(blob) != WRAPPED:
            raise IntegrityError(f"got a wrapped key of {len(blob)} bytes, expected {WRAPPED}: it was cut or extended")
        key_id, nonce, sealed = blob[:_ID], blob[_ID : _ID + _NONCE], blob[_ID + _NONCE :]
        if key_id.hex() not in self:
            raise NotFoundError(f"key {key_id.hex()} is not in this ring; open the ring that wrapped the object")
        try:
            return AESGCM(self._secrets.keks[key_id]).decrypt(nonce, sealed, key_id + context)
        except InvalidTag as error:
            raise IntegrityError("a wrapped key was changed, or belongs to another object") from error

    def rewrap(self, blob: bytes, *, context: bytes) -> bytes:
        """Return ``blob`` wrapped by the active key; as it is if it was that one. Raises as ``unwrap`` does."""
        if blob[:_ID].hex() == self.active:
            return blob
        return self.wrap(self.unwrap(blob, context=context), context=context)

    def data_key(self, path: str | Path, *, context: bytes, first: bytes | None = None) -> bytes:
        """Return the 32-byte key that lies, wrapped, in the file ``path``; made at random when there is none.

        A rotation rewraps it (``rewrap_file``), and what it seals stays as it is. To destroy the file is to shred
        all that it sealed.

        Parameters
        ----------
        first : the key to begin with, for content that another key has sealed already.
        """
        path = Path(path)
        with held(file_lock(path)):
            remove_leftovers(path)
            if not path.exists():
                write_atomic(path, self.wrap(first or os.urandom(_KEY), context=context), mode=0o600)
            return self.unwrap(path.read_bytes(), context=context)

    def rewrap_file(self, path: str | Path, *, context: bytes) -> bool:
        """Rewrap the key that ``data_key`` keeps in ``path``; return whether there was need to."""
        path = Path(path)
        with held(file_lock(path)):
            remove_leftovers(path)
            old = path.read_bytes()
            if (new := self.rewrap(old, context=context)) != old:
                write_atomic(path, new, mode=0o600)
        return new != old

    def rotate(self) -> str:
        """Make a new key-encryption key the active one and return its id; older keys still unwrap."""
        key_id = os.urandom(_ID)
        with self._alone():
            keks = {**self._secrets.keks, key_id: os.urandom(_KEY)}
            self._replace(replace(self._secrets, active=key_id, keks=keks))
        return key_id.hex()

    def retire(self, ids: Iterable[str] | None = None) -> tuple[str, ...]:
        """Forget keys and return their ids: what they wrapped is lost, so rewrap it first.

        Parameters
        ----------
        ids : some of ``retiring``, as it was before the rewrapping; all but the active key by default.
        """
        with self._alone():
            gone = self.retiring if ids is None else tuple(sorted(set(ids) & set(self.retiring)))
            keks = {id: key for id, key in self._secrets.keks.items() if id.hex() not in gone}
            self._replace(replace(self._secrets, keks=keks))
        return gone

    def reseal(self, *, passphrase: str | None = None, unlock: Unlock | None = None) -> None:
        """Seal the file anew: by another passphrase, another key, another way, or, with none, not at all.

        Whoever has a copy of the old file and its passphrase has the keys in it: rotate as well.
        """
        way = _way(passphrase, unlock)
        with self._alone():
            self._content = _save(self._path, _sealed(self._secrets, way))
            self._unlock = way

    @property
    def _secrets(self) -> _Secrets:
        return self._content.secrets

    def _refresh(self) -> None:
        """Take in what another process changed."""
        if _stamp(self._path) != self._content.stamp:
            self._content, _ = _load(self._path, self._unlock, self._content)

    def _replace(self, secrets: _Secrets) -> None:
        self._content = _save(self._path, replace(self._content, secrets=secrets))

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Hold the lock of the file and know its present content; what it was before a migration goes."""
        with held(file_lock(self._path)):
            self._refresh()
            yield
            drop_backups(self._path)


def _way(passphrase: str | None, unlock: Unlock | None) -> Unlock | None:
    if passphrase is not None and unlock is not None:
        raise InputError("got a passphrase and another way to unlock, expected one of them")
    return Passphrase(passphrase) if passphrase is not None else unlock


def _new_secrets() -> _Secrets:
    key_id = os.urandom(_ID)
    signing = Ed25519PrivateKey.generate().private_bytes_raw()
    return _Secrets(active=key_id, keks={key_id: os.urandom(_KEY)}, signing=signing, root=os.urandom(_KEY))


def _sealed(secrets: _Secrets, unlock: Unlock | None) -> _Content:
    """Return what is to be written, under a new seal."""
    if unlock is None:
        return _Content(secrets, None, None)
    master, said = unlock.new()
    return _Content(secrets, {"kind": unlock.kind, **said}, master)


def _save(path: Path, content: _Content) -> _Content:
    """Write the file; to be called under its lock."""
    secrets = content.secrets
    body = canonical_json(
        {
            "active": secrets.active.hex(),
            "keks": {key_id.hex(): _text(key) for key_id, key in secrets.keks.items()},
            "signing": _text(secrets.signing),
            "root": _text(secrets.root),
        }
    )
    head = _head(content.seal)
    if content.master is not None:
        nonce = os.urandom(_NONCE)
        body = nonce + AESGCM(content.master).encrypt(nonce, body, canonical_json(head))
    remove_leftovers(path)
    write_atomic(path, canonical_json({**head, "body": _text(body)}), mode=0o600)
    return replace(content, stamp=_stamp(path))


def _load(path: Path, unlock: Unlock | None, known: _Content | None) -> tuple[_Content, int]:
    """Return the file, opened, and its version; ``known`` is what it was: the same seal need not be opened twice."""
    refuse_others(path)
    stamp, wrong = _stamp(path), f"the key file {path.name} was changed or is not a key ring; restore it from a backup"
    try:
        record = json.loads(path.read_bytes())
        old = record["format"] == _FORMAT_1
        if record["format"] != _FORMAT and not old:
            raise IntegrityError(wrong)
        version = refuse_newer("the key file", 1 if old else record["version"], _VERSION)
        record = migrated(record, _MIGRATIONS, found=version, current=_VERSION)
        body, seal = base64.b64decode(record["body"], validate=True), record["seal"]
        master = _master(path.name, seal, unlock, known)
        if master is not None:
            bound = _FORMAT_1.encode() if old else canonical_json(_head(seal))
            body = AESGCM(master).decrypt(body[:_NONCE], body[_NONCE:], bound)
        secrets = _parse(body)
    except InvalidTag as error:
        raise IntegrityError(
            f"the key file {path.name} does not open: wrong passphrase or key, or the file was changed"
        ) from error
    except InputError:
        raise
    except (ValueError, KeyError, TypeError) as error:
        raise IntegrityError(wrong) from error
    if secrets.active not in secrets.keks or any(
        len(key) != _KEY for key in (*secrets.keks.values(), secrets.signing, secrets.root)
    ):
        raise IntegrityError(wrong)
    return _Content(secrets, seal, master, stamp), version


def _master(name: str, seal: dict[str, Any] | None, unlock: Unlock | None, known: _Content | None) -> bytes | None:
    """Return the key of the seal, None for a file that has no seal; or say how the file is to be opened."""
    if seal is None:
        if unlock is not None:
            raise InputError(f"the key file {name} has no {_WAYS[unlock.kind][0]}; open it without one")
        return None
    what, remedy = _WAYS[seal["kind"]]
    if unlock is None or unlock.kind != seal["kind"]:
        raise InputError(f"the key file {name} needs its {what}; {remedy}")
    return known.master if known is not None and known.seal == seal else unlock.key(seal)


def _parse(body: bytes) -> _Secrets:
    fields = json.loads(body)
    return _Secrets(
        active=bytes.fromhex(fields["active"]),
        keks={bytes.fromhex(key_id): base64.b64decode(key) for key_id, key in fields["keks"].items()},
        signing=base64.b64decode(fields["signing"]),
        root=base64.b64decode(fields["root"]),
    )


def _from_1(record: dict[str, Any]) -> dict[str, Any]:
    """1 → 2: other seals than a passphrase, and the seal is bound to the body."""
    scrypt = record["scrypt"]
    return {"body": record["body"], "seal": None if scrypt is None else {"kind": "passphrase", **scrypt}}


_MIGRATIONS = {1: _from_1}


def _head(seal: dict[str, Any] | None) -> dict[str, Any]:
    return {"format": _FORMAT, "version": _VERSION, "seal": seal}


def _stamp(path: Path) -> tuple[int, int, int]:
    status = path.stat()
    return status.st_mtime_ns, status.st_ino, status.st_size


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
