"""What is due for deletion, as a dry run: a schedule by category, and legal holds that win over it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Literal, TypeAlias

from crimeface_lib.core.errors import InputError
from crimeface_lib.core.results import Result

if TYPE_CHECKING:
    import pandas as pd

Fate: TypeAlias = Literal["delete", "held", "keep"]


@dataclass(frozen=True, slots=True)
class Item(Result):
    """Something kept: its id, its category, since when, and the references of legal holds on it."""

    id: str
    category: str
    since: datetime
    holds: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Due(Result):
    """What becomes of one item: its period ends at ``expires``; a hold keeps it beyond that."""

    id: str
    category: str
    expires: datetime
    fate: Fate
    holds: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RetentionPlan(Result):
    """What would go at a time; nothing has been deleted."""

    at: datetime
    items: tuple[Due, ...]

    @property
    def to_delete(self) -> tuple[str, ...]:
        """Ids of the items that would go."""
        return tuple(item.id for item in self.items if item.fate == "delete")

    def to_frame(self) -> pd.DataFrame:
        """Return one row an item: id, category, expires, fate, holds."""
        import pandas as pd

        rows = [{**item.to_dict(), "expires": item.expires, "holds": ", ".join(item.holds)} for item in self.items]
        return pd.DataFrame(rows, columns=list(Due.__dataclass_fields__))


@dataclass(frozen=True, slots=True)
class RetentionSchedule(Result):
    """How long each category is kept.

    Parameters
    ----------
    periods : category → period. The law and your policy set them; there are no defaults.

    Raises
    ------
    InputError : a period that isn't positive.

    >>> from datetime import UTC
    >>> plan = RetentionSchedule({"probe": timedelta(days=1)}).due(
    ...     [Item("p1", "probe", datetime(2026, 1, 1, tzinfo=UTC))], datetime(2026, 1, 2, tzinfo=UTC))
    >>> plan.to_delete
    ('p1',)
    """

    periods: Mapping[str, timedelta]

    def __post_init__(self) -> None:
        wrong = [category for category, period in self.periods.items() if period <= timedelta(0)]
        if wrong:
            raise InputError(f"retention periods must be positive, got otherwise for {', '.join(wrong)}")

    def due(self, items: Iterable[Item], at: datetime) -> RetentionPlan:
        """Return what would go at ``at``: all whose period has ended and that no legal hold keeps.

        Raises
        ------
        InputError : an item of a category that has no period, or a time without a zone.
        """
        return RetentionPlan(at, tuple(self._fate(item, at) for item in items))

    def _fate(self, item: Item, at: datetime) -> Due:
        if item.category not in self.periods:
            known = ", ".join(sorted(self.periods)) or "none"
            raise InputError(f"item {item.id}: no period for category {item.category!r}; there are: {known}; add it")
        if item.since.tzinfo is None or at.tzinfo is None:
            raise InputError(f"item {item.id}: got a time without a zone, expected UTC")
        expires = item.since + self.periods[item.category]
        fate: Fate = "keep" if at < expires else "held" if item.holds else "delete"
        return Due(item.id, item.category, expires, fate, item.holds)
