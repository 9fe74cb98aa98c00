"""Time is an argument: functions take ``at`` or a clock; only the outermost layer calls ``utc_now``."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeAlias

from crimeface_lib.core.errors import InputError

Clock: TypeAlias = Callable[[], datetime]


def utc_now() -> datetime:
    """Return the current time in UTC, with its zone attached."""
    return datetime.now(UTC)


def to_iso(at: datetime) -> str:
    """Return ``at`` as ISO 8601 in UTC with microseconds and a Z.

    >>> to_iso(datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))
    '2026-01-02T03:04:05.000000Z'
    """
    if at.tzinfo is None:
        raise InputError(f"got a time without a zone ({at}), expected UTC; use datetime.now(UTC)")
    return at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def from_iso(text: str) -> datetime:
    """Return the UTC datetime that ``to_iso`` wrote."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise InputError(f"got {text!r}, expected a time such as 2026-01-31T12:00:00Z") from error
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
