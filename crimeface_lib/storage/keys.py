"""The key ring: one file that opens everything else, and the only secret to guard.

It holds key-encryption keys (each object key in the vault is wrapped by one), an Ed25519 key that signs ledgers, and
a root from which keys for other purposes are derived. With a passphrase the file is sealed by scrypt and AES-256-GCM;
without one its permissions are its only protection.

A wrapped key names the key-encryption key that wrapped it, so that several may be in use at a time: ``rotate``
makes a new one the active one, and what was wrapped before still opens.
"""

from __future__ import annotations

import base64
import json
import os
import stat
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from crimeface_lib.core.errors import InputError, IntegrityError, NotFoundError, RefusedError
from crimeface_lib.core.files import write_atomic
from crimeface_lib.core.hashing import canonical_json
from crimeface_lib.storage.locking import file_lock, held

_FORMAT = "crimeface key ring v1"
_SCRYPT = {"n": 1 << 15, "r": 8, "p": 3}  # 32 MiB and about 0.2 s: OWASP's minimum
_SCRYPT_MOST = {"n": 1 << 20, "r": 16, "p": 16}  # a forged file must not take all memory
_ID, _NONCE, _KEY, _TAG = 8, 12, 32, 16
_WRAPPED = _ID + _NONCE + _KEY + _TAG


@dataclass(frozen=True, slots=True, repr=False)
class _Secrets:
    """What the file protects. ``keks`` maps a key id to a key; ``active`` is the id that wraps."""

    active: bytes
    keks: dict[bytes, bytes]
    signing: bytes
    root: bytes


class KeyRing:
    """The keys of one installation.

    >>> import tempfile
    >>> keys = KeyRing.open(Path(tempfile.mkdtemp()) / "keys.json")
    >>> blob = keys.wrap(bytes(32), context=b"object 1")
    >>> keys.unwrap(blob, context=b"object 1") == bytes(32)
    True
    """

    def __init__(self, path: Path, secrets: _Secrets, passphrase: str | None) -> None:
        self._path = path
        self._secrets = secrets
        self._passphrase = passphrase

    def __repr__(self) -> str:
        return f"KeyRing({len(self._secrets.keks)} keys, verify_key={self.verify_key[:16]}…)"

    @classmethod
    def open(cls, path: str | Path, *, passphrase: str | None = None, create: bool = True) -> KeyRing:
        """Open the key file at ``path``, or make a new one, readable by its owner only.

        Raises
        ------
        NotFoundError : no such file and ``create`` is False.
        RefusedError : others than the owner may read the file.
        InputError : a passphrase is needed, or was given for a file that has none.
        IntegrityError : wrong passphrase, or the file was changed.
        """
        path = Path(path).resolve()
        if not path.exists() and not create:
            raise NotFoundError(f"no key file {path}; leave create=False out to make one, or restore it from a backup")
        if not path.exists():
            with held(file_lock(path)):
                if not path.exists():
                    _save(path, _new_secrets(), passphrase)
        return cls(path, _load(path, passphrase), passphrase)

    @property
    def signing_key(self) -> Ed25519PrivateKey:
        """The key that signs ledger entries and checkpoints."""
        return Ed25519PrivateKey.from_private_bytes(self._secrets.signing)

    @property
    def verify_key(self) -> str:
        """The public half of ``signing_key``, hexadecimal: give it to reviewers."""
        return self.signing_key.public_key().public_bytes_raw().hex()

    def derive(self, purpose: str) -> bytes:
        """Return the 32-byte key for ``purpose``: the same each time, unrelated to those of other purposes."""
        if not purpose:
            raise InputError("got an empty purpose, expected a word that says what the key is for")
        info = b"crimeface derive v1\n" + purpose.encode()
        return HKDF(algorithm=SHA256(), length=_KEY, salt=None, info=info).derive(self._secrets.root)

    def wrap(self, data_key: bytes, *, context: bytes) -> bytes:
        """Return the 32-byte ``data_key`` encrypted under the active key and bound to ``context``."""
        if len(data_key) != _KEY:
            raise InputError(f"got a key of {len(data_key)} bytes, expected {_KEY}")
        key_id, nonce = self._secrets.active, os.urandom(_NONCE)
        return key_id + nonce + AESGCM(self._secrets.keks[key_id]).encrypt(nonce, data_key, key_id + context)

    def unwrap(self, blob: bytes, *, context: bytes) -> bytes:
        """Return the key that ``wrap`` encrypted with the same ``context``.

        Raises
        ------
        NotFoundError : it was wrapped by a key that is not in this ring.
        IntegrityError : the blob was changed, or belongs to something else.
        """
        if len(blob) != _WRAPPED:
            raise IntegrityError(f"got a wrapped key of {len(blob)} bytes, expected {_WRAPPED}: it was cut or extended")
        key_id, nonce, sealed = blob[:_ID], blob[_ID : _ID + _NONCE], blob[_ID + _NONCE :]
        if key_id not in self._secrets.keks:
            raise NotFoundError(f"key {key_id.hex()} is not in this ring; open the ring that wrapped the object")
        try:
            return AESGCM(self._secrets.keks[key_id]).decrypt(nonce, sealed, key_id + context)
        except InvalidTag as error:
            raise IntegrityError("a wrapped key was changed, or belongs to another object") from error

    def rotate(self) -> str:
        """Make a new key-encryption key the active one and return its id; older keys still unwrap."""
        with held(file_lock(self._path)):
            now = _load(self._path, self._passphrase)  # another process may have rotated
            key_id = os.urandom(_ID)
            keks = now.keks | {key_id: os.urandom(_KEY)}
            self._secrets = _Secrets(active=key_id, keks=keks, signing=now.signing, root=now.root)
            _save(self._path, self._secrets, self._passphrase)
        return key_id.hex()


def _new_secrets() -> _Secrets:
    key_id = os.urandom(_ID)
    signing = Ed25519PrivateKey.generate().private_bytes_raw()
    return _Secrets(active=key_id, keks={key_id: os.urandom(_KEY)}, signing=signing, root=os.urandom(_KEY))


def _save(path: Path, secrets: _Secrets, passphrase: str | None) -> None:
    body = canonical_json(
        {
            "active": secrets.active.hex(),
            "keks": {key_id.hex(): _text(key) for key_id, key in secrets.keks.items()},
            "signing": _text(secrets.signing),
            "root": _text(secrets.root),
        }
    )
    record: dict[str, Any] = {"format": _FORMAT, "scrypt": None, "body": _text(body)}
    if passphrase is not None:
        salt, nonce = os.urandom(16), os.urandom(_NONCE)
        sealed = AESGCM(_stretch(passphrase, salt, _SCRYPT)).encrypt(nonce, body, _FORMAT.encode())
        record |= {"scrypt": _SCRYPT | {"salt": _text(salt)}, "body": _text(nonce + sealed)}
    write_atomic(path, canonical_json(record), mode=0o600)


def _load(path: Path, passphrase: str | None) -> _Secrets:
    if mode := stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise RefusedError(f"others may open the key file (mode bits {mode:03o}); run: chmod 600 {path}")
    wrong = f"the key file {path.name} was changed or is not a key ring; restore it from a backup"
    try:
        record = json.loads(path.read_bytes())
        if record["format"] != _FORMAT:
            raise IntegrityError(wrong)
        body, scrypt = base64.b64decode(record["body"], validate=True), record["scrypt"]
        if scrypt is None:
            if passphrase is not None:
                raise InputError(f"the key file {path.name} has no passphrase; open it without one")
        elif passphrase is None:
            raise InputError(
                f"the key file {path.name} needs its passphrase; set CRIMEFACE_PASSPHRASE or give passphrase="
            )
        else:
            cost = {name: int(scrypt[name]) for name in _SCRYPT}
            if any(cost[name] > most for name, most in _SCRYPT_MOST.items()):
                raise IntegrityError(wrong)
            key = _stretch(passphrase, base64.b64decode(scrypt["salt"], validate=True), cost)
            body = AESGCM(key).decrypt(body[:_NONCE], body[_NONCE:], _FORMAT.encode())
        fields = json.loads(body)
        secrets = _Secrets(
            active=bytes.fromhex(fields["active"]),
            keks={bytes.fromhex(key_id): base64.b64decode(key) for key_id, key in fields["keks"].items()},
            signing=base64.b64decode(fields["signing"]),
            root=base64.b64decode(fields["root"]),
        )
    except InvalidTag as error:
        raise IntegrityError(
            f"the key file {path.name} does not open: wrong passphrase, or the file was changed"
        ) from error
    except InputError:
        raise
    except (ValueError, KeyError, TypeError) as error:
        raise IntegrityError(wrong) from error
    keys = [*secrets.keks.values(), secrets.signing, secrets.root]
    if secrets.active not in secrets.keks or any(len(key) != _KEY for key in keys):
        raise IntegrityError(wrong)
    return secrets


def _stretch(passphrase: str, salt: bytes, cost: dict[str, int]) -> bytes:
    return Scrypt(salt=salt, length=_KEY, **cost).derive(unicodedata.normalize("NFC", passphrase).encode())


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
