"""How an entry of a watchlist lies on disk: two AES-256-GCM boxes, bound to all that is said of them in the clear.

A record is::

    record   random                                        names it
    who      keyed hash of the subject                     finds the entries of one subject
    item     keyed hash of the photo, or of the template   finds what is there already
    ends     the last day, under AES-SIV                   finds what has expired
    sealed   two boxes: what is known of the entry, and its template

All of the clear fields, with the model, its version and the rotation that the list is of, are the associated data of
both boxes: with any of them changed, or any box exchanged, neither opens. What they tell without the key is which
records share a subject, a photo or a last day, and how many there are; not which subject, photo or day.

Beside the records lies one sealed head: the model, how many entries end on which day, and the sum of the keyed hashes
of all records. So a wrong key is told at once, ``len`` and ``purge`` open no entry, and a record that was taken away
or put back is noticed, unless others are damaged, which is noticed too: then nobody can tell whether one came back
for one of them. That the whole list was put back to an earlier state shows in the audit log only.
"""

from __future__ import annotations

import base64
import hmac
import json
import secrets
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any

import numpy as np
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, AESSIV
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from crimeface_lib.core.errors import InputError, IntegrityError
from crimeface_lib.core.hashing import canonical_json, sha256_bytes
from crimeface_lib.core.results import Result
from crimeface_lib.core.types import Float32Array

_DOMAIN = b"crimeface watchlist v2|"
_NONCE = 12
_SUM = 1 << 256


@dataclass(frozen=True, slots=True)
class Entry(Result):
    """What the watchlist knows of an entry; the template itself is never part of it.

    ``expires`` is the last day on which the entry is searched. ``quality`` is 0–100, None where unknown.
    ``minor_approval`` is the reference of the extra approval that an entry of a child (``minor``) has.
    ``item`` is what it was made from: "photo:" or, where the photo was not told, "template:" and a SHA-256.
    """

    record: str
    subject: str
    source: str
    rationale: str
    category: str
    added_by: str
    added_at: str
    expires: date
    quality: float | None
    embedder: str
    version: str
    minor: bool = False
    minor_approval: str = ""
    item: str = ""


@dataclass(frozen=True, slots=True)
class Head:
    """What a list is of, and what it holds. ``days``: last day (as an ordinal) → how many entries."""

    embedder: str
    version: str
    dimension: int
    rotation: str = ""
    days: dict[int, int] = field(default_factory=dict)
    total: int = 0

    def __len__(self) -> int:
        return sum(self.days.values())

    def changed(self, marks: Iterable[tuple[int, int]], *, sign: int = 1) -> Head:
        """Return the head after entries of these (last day, keyed hash) were added, or, with −1, taken away."""
        days, total = dict(self.days), self.total
        for day, mark in marks:
            days[day] = days.get(day, 0) + sign
            total = (total + sign * mark) % _SUM
        return replace(self, days={day: count for day, count in days.items() if count}, total=total)


class Seals:
    """Seals and opens the records of one watchlist; ``key`` is 32 bytes."""

    def __init__(self, key: bytes) -> None:
        if not isinstance(key, bytes) or len(key) != 32:
            got = f"{len(key)} bytes" if isinstance(key, bytes) else type(key).__name__
            raise InputError(f"key: got {got}, expected 32; derive one with storage.KeyRing.derive")
        self._box = AESGCM(key)
        drawn = HKDF(algorithm=SHA256(), length=96, salt=None, info=_DOMAIN + b"labels").derive(key)
        self._hash, self._siv = drawn[:32], AESSIV(drawn[32:])
        self._days: dict[str, int] = {}

    def __reduce__(self) -> str:
        raise TypeError("keys are not pickled: they would lie in clear wherever that goes")

    def label(self, kind: str, value: str | bytes) -> str:
        """Return the keyed hash by which records are found."""
        data = value.encode() if isinstance(value, str) else value
        return hmac.digest(self._hash, kind.encode() + b"|" + data, "sha256")[:16].hex()

    def day_label(self, day: int) -> str:
        return base64.b64encode(self._siv.encrypt(day.to_bytes(4, "big"), [_DOMAIN])).decode()

    def day(self, label: str) -> int:
        """Return the day of a ``day_label``. Raises InvalidTag or ValueError."""
        if label not in self._days:  # a list has few
            sealed = base64.b64decode(label, validate=True)
            self._days[label] = int.from_bytes(self._siv.decrypt(sealed, [_DOMAIN]), "big")
        return self._days[label]

    def seal(self, entry: Entry, template: Float32Array, *, head: Head) -> dict[str, Any]:
        """Return the record of an entry."""
        clear = {
            "record": entry.record,
            "who": self.label("subject", entry.subject),
            "item": self.label("item", entry.item),
            "ends": self.day_label(entry.expires.toordinal()),
        }
        bound = _bound(clear, head)
        boxes = (self._shut(canonical_json(entry.to_dict()), bound + b"about"), self._shut(_bytes(template), bound))
        return clear | {"sealed": ".".join(base64.b64encode(box).decode() for box in boxes)}

    def mark(self, record: Mapping[str, Any], *, head: Head) -> tuple[int, int]:
        """Return (last day, keyed hash) of a record, for the head.

        Raises
        ------
        IntegrityError : its clear fields are not what this key wrote.
        """
        try:
            mark = hmac.digest(self._hash, b"mark|" + _bound(record, head), "sha256")
            return self.day(record["ends"]), int.from_bytes(mark, "big")
        except (InvalidTag, KeyError, TypeError, ValueError) as error:
            raise _damaged(record) from error

    def about(self, record: Mapping[str, Any], *, head: Head) -> Entry:
        """Return what is known of an entry; its template stays shut.

        Raises
        ------
        IntegrityError : the record was altered or exchanged.
        """
        known = json.loads(self.open_about(record, head=head))
        return Entry(**known | {"expires": date.fromisoformat(known["expires"])})

    def open_about(self, record: Mapping[str, Any], *, head: Head) -> bytes:
        """Return the first box, decrypted. Raises IntegrityError as ``about`` does."""
        try:
            box = base64.b64decode(record["sealed"].partition(".")[0], validate=True)
            return self._box.decrypt(box[:_NONCE], box[_NONCE:], _bound(record, head) + b"about")
        except (InvalidTag, KeyError, TypeError, ValueError, AttributeError) as error:
            raise _damaged(record) from error

    def open_into(self, row: Float32Array, record: Mapping[str, Any], *, head: Head) -> None:
        """Decrypt the template of a record into ``row``, (D,) float32 and contiguous.

        Raises
        ------
        IntegrityError : the record was altered or exchanged.
        """
        try:
            box = base64.b64decode(record["sealed"].partition(".")[2], validate=True)
            self._box.decrypt_into(box[:_NONCE], box[_NONCE:], _bound(record, head), row.view(np.uint8).data)
        except (InvalidTag, KeyError, TypeError, ValueError, AttributeError) as error:
            row[:] = 0
            raise _damaged(record) from error

    def seal_head(self, head: Head) -> str:
        known = {
            "embedder": head.embedder, "version": head.version, "dimension": head.dimension,
            "rotation": head.rotation, "days": {str(day): count for day, count in head.days.items()},
            "total": f"{head.total:x}",
        }  # fmt: skip
        return base64.b64encode(self._shut(canonical_json(known), _DOMAIN + b"head")).decode()

    def open_head(self, sealed: Any) -> Head:
        """Return the head.

        Raises
        ------
        IntegrityError : another key, or the head was altered.
        """
        try:
            box = base64.b64decode(sealed, validate=True)
            known = json.loads(self._box.decrypt(box[:_NONCE], box[_NONCE:], _DOMAIN + b"head"))
        except (InvalidTag, TypeError, ValueError) as error:
            raise IntegrityError(
                "watchlist: sealed with another key, or its head was altered; open it with the right key, or restore "
                "it from a backup"
            ) from error
        days = {int(day): count for day, count in known["days"].items()}
        return Head(**known | {"days": days, "total": int(known["total"], 16)})

    def _shut(self, plain: bytes, bound: bytes) -> bytes:
        nonce = secrets.token_bytes(_NONCE)
        return nonce + self._box.encrypt(nonce, plain, bound)


def _bound(record: Mapping[str, Any], head: Head) -> bytes:
    """Return the associated data: the clear fields, none with a line break, and what made the list's templates."""
    clear = f"{record['record']}\n{record['who']}\n{record['item']}\n{record['ends']}\n"
    return b"%s%s%s\n%s\n%d\n%s\n" % (
        _DOMAIN, clear.encode(), head.embedder.encode(), head.version.encode(), head.dimension, head.rotation.encode()
    )  # fmt: skip


def _bytes(template: Float32Array) -> bytes:
    return np.ascontiguousarray(template, dtype="<f4").tobytes()


def _damaged(record: Mapping[str, Any]) -> IntegrityError:
    return IntegrityError(
        f"watchlist record {record.get('id', '?')} ({record.get('record', 'without a name')}): altered or exchanged; "
        "restore it from a backup"
    )


def open_first_format(record: Mapping[str, Any], key: bytes) -> tuple[Entry, Float32Array]:
    """Return entry and template of a record as it was first: one box, bound to the record's name only.

    Raises
    ------
    IntegrityError : another key, or it was altered.
    """
    try:
        name, box = str(record["record"]), base64.b64decode(record["sealed"], validate=True)
        plain = AESGCM(key).decrypt(box[:_NONCE], box[_NONCE:], b"crimeface watchlist v1|" + name.encode())
    except (InvalidTag, KeyError, TypeError, ValueError) as error:
        raise _damaged(record) from error
    end = 4 + int.from_bytes(plain[:4], "big")
    known = json.loads(plain[4:end])
    template: Float32Array = np.frombuffer(plain[end:], dtype="<f4")
    entry = Entry(**known | {"expires": date.fromisoformat(known["expires"]), "item": template_item(template)})
    return entry, template


def plain_words(text: str) -> str:
    """Return a text as it is kept: an accent written as a letter of its own is the same name."""
    return unicodedata.normalize("NFC", text.strip())


def template_item(template: Float32Array) -> str:
    """Return how a template is known again where its photo was not told."""
    return f"template:{sha256_bytes(_bytes(template))}"
