"""What opens the key file: a passphrase, a key from the environment, or a command that asks an HSM or KMS.

Each gives the 32-byte key that seals the file's body, and says in the file, openly, what it needs to find it again.
"""

from __future__ import annotations

import base64
import binascii
import os
import signal
import subprocess
import unicodedata
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from crimeface_lib.core.errors import CrimefaceError, InputError, IntegrityError

SCRYPT = {"n": 1 << 15, "r": 8, "p": 3}  # 32 MiB and about 0.2 s: OWASP's minimum
_SCRYPT_MOST = {"n": 1 << 20, "r": 16, "p": 16}  # a forged file must not take all memory
_KEY = 32
_ANSWER_MOST = 1 << 16


class Unlock(Protocol):
    """One way to open a key file."""

    @property
    def kind(self) -> str:
        """The word by which the file names this way."""
        ...

    def new(self) -> tuple[bytes, dict[str, Any]]:
        """Return a 32-byte key and what the file is to say, so that ``key`` finds it again."""
        ...

    def key(self, said: Mapping[str, Any]) -> bytes:
        """Return the key that belongs to what the file says. Raises IntegrityError."""
        ...


@dataclass(frozen=True, slots=True, repr=False)
class Passphrase:
    """A passphrase, stretched by scrypt; its cost and salt are in the file."""

    text: str
    kind = "passphrase"

    def new(self) -> tuple[bytes, dict[str, Any]]:
        said = {**SCRYPT, "salt": base64.b64encode(os.urandom(16)).decode()}
        return self.key(said), said

    def key(self, said: Mapping[str, Any]) -> bytes:
        cost = {name: int(said[name]) for name in SCRYPT}
        if any(cost[name] > most for name, most in _SCRYPT_MOST.items()):
            raise IntegrityError("the key file asks for more work than any of ours does; restore it from a backup")
        text = unicodedata.normalize("NFC", self.text).encode()
        return Scrypt(salt=base64.b64decode(said["salt"], validate=True), length=_KEY, **cost).derive(text)


@dataclass(frozen=True, slots=True, repr=False)
class MasterKey:
    """A key that the environment provides, 32 random bytes in base64."""

    text: str
    kind = "key"

    def new(self) -> tuple[bytes, dict[str, Any]]:
        return self.key({}), {}

    def key(self, said: Mapping[str, Any]) -> bytes:
        with suppress(binascii.Error, ValueError):
            if len(data := base64.b64decode(self.text, validate=True)) == _KEY:
                return data
        raise InputError("the master key is not 32 bytes in base64; make one with: openssl rand -base64 32")


@dataclass(frozen=True, slots=True, repr=False)
class Command:
    """A program that wraps and unwraps a key: it gets the word ``wrap`` or ``unwrap`` as its last argument and the
    bytes on its standard input, answers on its standard output and exits with 0. No shell is involved.

    Parameters
    ----------
    words : program and arguments.
    timeout : seconds until it is ended, with whatever it started.
    """

    words: Sequence[str]
    timeout: float = 30.0
    kind = "command"

    def new(self) -> tuple[bytes, dict[str, Any]]:
        key = os.urandom(_KEY)
        wrapped = self._ask("wrap", key)
        if key in wrapped:
            raise IntegrityError("the key command gave the key back as it was; it has to encrypt what it wraps")
        if self._ask("unwrap", wrapped) != key:
            raise IntegrityError("the key command does not unwrap what it wrapped; nothing was sealed with it")
        return key, {"wrapped": base64.b64encode(wrapped).decode()}

    def key(self, said: Mapping[str, Any]) -> bytes:
        key = self._ask("unwrap", base64.b64decode(said["wrapped"], validate=True))
        if len(key) != _KEY:
            raise IntegrityError(f"the key command answered {len(key)} bytes, expected the {_KEY} that it wrapped")
        return key

    def _ask(self, verb: str, data: bytes) -> bytes:
        pipe = subprocess.PIPE
        try:
            running = subprocess.Popen(
                [*self.words, verb], stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True
            )
        except OSError as error:
            raise InputError(f"the key command can't start: {error.strerror}; see CRIMEFACE_KEY_COMMAND") from error
        with running:
            try:
                answer, complaint = running.communicate(data, timeout=self.timeout)
            except BaseException as error:
                os.killpg(running.pid, signal.SIGKILL)  # and what it started, which holds the pipes open
                if isinstance(error, subprocess.TimeoutExpired):
                    raise CrimefaceError(f"the key command did not {verb} within {self.timeout:g} s; ended") from None
                raise
        if running.returncode:
            said = complaint.decode(errors="replace").strip().splitlines()[-1:] or ["it said nothing"]
            raise CrimefaceError(f"the key command failed to {verb}, exit status {running.returncode}: {said[0][:200]}")
        if not 0 < len(answer) <= _ANSWER_MOST:
            raise IntegrityError(f"the key command answered {len(answer)} bytes to {verb}, not 1 to {_ANSWER_MOST}")
        return answer
