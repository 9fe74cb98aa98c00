"""A signed statement of what a log held at one time. Kept outside of the store, it shows any later change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from crimeface_lib.core.clock import to_iso
from crimeface_lib.core.errors import InputError, IntegrityError
from crimeface_lib.core.hashing import canonical_json
from crimeface_lib.core.results import Result
from crimeface_lib.storage.merkle import verify_consistency

_DOMAIN = b"crimeface checkpoint v1\n"  # a signature made for one thing is worth nothing for another


@dataclass(frozen=True, slots=True)
class Checkpoint(Result):
    """Size and root of a log at one time, signed.

    Parameters
    ----------
    origin : which log.
    size : number of entries.
    root : hexadecimal root of the RFC 6962 tree over them.
    at : when, ISO 8601 in UTC.
    key : hexadecimal Ed25519 public key.
    signature : hexadecimal, over all of the above.
    """

    origin: str
    size: int
    root: str
    at: str
    key: str
    signature: str

    @classmethod
    def sign(cls, *, origin: str, size: int, root: bytes, at: datetime, key: Ed25519PrivateKey) -> Checkpoint:
        """Make the statement and sign it."""
        public = key.public_key().public_bytes_raw().hex()
        unsigned = cls(origin, size, root.hex(), to_iso(at), public, "")
        return replace(unsigned, signature=key.sign(unsigned._signed_bytes()).hex())

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Checkpoint:
        """Return the checkpoint that ``to_dict`` wrote.

        Raises
        ------
        IntegrityError : a field is missing, unknown or of the wrong type.
        """
        names = {"origin": str, "size": int, "root": str, "at": str, "key": str, "signature": str}
        if not isinstance(record, Mapping) or set(record) != set(names):
            raise IntegrityError(f"not a checkpoint: expected the fields {', '.join(names)}")
        for name, kind in names.items():
            if type(record[name]) is not kind:
                raise IntegrityError(
                    f"not a checkpoint: {name} is {type(record[name]).__name__}, expected {kind.__name__}"
                )
        return cls(**record)

    def verify_signature(self) -> None:
        """Check the signature against ``key``; whether that key is the right one is for the holder to say.

        Raises
        ------
        IntegrityError : a field was changed after signing.
        """
        try:
            public = Ed25519PublicKey.from_public_bytes(bytes.fromhex(self.key))
            public.verify(bytes.fromhex(self.signature), self._signed_bytes())
        except (InvalidSignature, ValueError) as error:
            raise IntegrityError(
                f"the checkpoint of {self.origin} at size {self.size} is not what was signed"
            ) from error

    def verify_extends(self, older: Checkpoint, *, proof: Sequence[bytes] = ()) -> None:
        """Check that the log of this checkpoint continues that of an ``older`` one; the log itself is not needed.

        Parameters
        ----------
        proof : ``ledger.consistency_proof(older.size, self.size)``; none is needed where the sizes are equal.

        Raises
        ------
        IntegrityError : a fork (two logs of one size, or one that does not begin with the other), a rollback (this
            log is shorter), or a checkpoint that was changed.
        InputError : they are of different logs or keys.
        """
        older.verify_signature()
        self.verify_signature()
        if (self.origin, self.key) != (older.origin, older.key):
            raise InputError(f"got checkpoints of {older.origin} and {self.origin}, expected one log and one key")
        if self.size < older.size:
            raise IntegrityError(
                f"rollback: {self.origin} has {self.size} entries where it had {older.size} on {older.at}"
            )
        roots = {"old_root": bytes.fromhex(older.root), "new_root": bytes.fromhex(self.root)}
        verify_consistency(old_size=older.size, new_size=self.size, proof=proof, **roots)

    def _signed_bytes(self) -> bytes:
        record = {"origin": self.origin, "size": self.size, "root": self.root, "at": self.at, "key": self.key}
        return _DOMAIN + canonical_json(record)
