"""Passwords and tokens, as pure functions: nothing here stores, logs or asks the time."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from crimeface_lib.core.clock import from_iso, to_iso
from crimeface_lib.core.errors import InputError, RefusedError
from crimeface_lib.core.hashing import canonical_json

MINIMUM_LENGTH = 12
#: scrypt's N with r = 8 and p = 1: 32 MiB and about 0.1 s a try.
COST = 2**15


def hash_password(password: str, *, cost: int = COST) -> dict[str, Any]:
    """Return what to store instead of a password: salt, cost and scrypt digest.

    Raises
    ------
    InputError : fewer than 12 characters.

    References
    ----------
    RFC 7914.
    """
    if len(password) < MINIMUM_LENGTH:
        raise InputError(f"password: got {len(password)} characters, expected at least {MINIMUM_LENGTH}")
    salt = secrets.token_bytes(16)
    return {"salt": salt.hex(), "cost": cost, "scrypt": _scrypt(password, salt, cost).hex()}


def verify_password(password: str, stored: Mapping[str, Any] | None, *, cost: int = COST) -> bool:
    """Say whether ``password`` is the one hashed; takes as long where there is none to compare with.

    >>> verify_password("correct horse", hash_password("correct horse", cost=2), cost=2)
    True
    """
    known = stored or {"salt": "00" * 16, "cost": cost, "scrypt": ""}
    got = _scrypt(password, bytes.fromhex(known["salt"]), known["cost"])
    return hmac.compare_digest(got, bytes.fromhex(known["scrypt"]))


def make_token(user_id: str, *, epoch: int, expires: datetime, key: bytes) -> str:
    """Return a token that stands for an account until ``expires``, signed with HMAC-SHA-256.

    Parameters
    ----------
    epoch : counts the account's passwords and roles; a token of an earlier one no longer counts.
    """
    claims = {"user": user_id, "epoch": epoch, "expires": to_iso(expires), "nonce": secrets.token_hex(8)}
    body = base64.urlsafe_b64encode(canonical_json(claims)).decode()
    return f"{body}.{_sign(body, key)}"


def open_token(token: str, *, at: datetime, key: bytes) -> tuple[str, int]:
    """Return the account id and the epoch in a token.

    Raises
    ------
    RefusedError : not signed with ``key``, or expired at ``at``.
    """
    body, _, signature = token.partition(".")
    if not hmac.compare_digest(_sign(body, key).encode(), signature.encode()):
        raise RefusedError("this token was not issued here or was altered; log in again")
    claims = json.loads(base64.urlsafe_b64decode(body))
    if at >= from_iso(claims["expires"]):
        raise RefusedError(f"this token expired at {claims['expires']}; log in again")
    return str(claims["user"]), int(claims["epoch"])


def _scrypt(password: str, salt: bytes, cost: int) -> bytes:
    # OpenSSL asks for 128 N r bytes and a little more
    return hashlib.scrypt(password.encode(), salt=salt, n=cost, r=8, p=1, maxmem=2048 * cost + 2**20, dklen=32)


def _sign(body: str, key: bytes) -> str:
    return hmac.new(key, body.encode(), hashlib.sha256).hexdigest()
