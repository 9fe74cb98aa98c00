"""What is due for deletion, and why, as a dry run: periods by category and case, and legal holds that win over them.

Nothing is deleted here: see ``governance.disposal``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from crimeface_lib.core.errors import InputError
from crimeface_lib.core.results import Result
from crimeface_lib.core.yamltext import read_yaml

if TYPE_CHECKING:
    import pandas as pd

Fate: TypeAlias = Literal["delete", "held", "keep"]


#: Category → period; None is "until somebody decides otherwise".
Periods: TypeAlias = Mapping[str, timedelta | None]
#: What a schedule may not be longer than: a typing error in days is not a policy.
_LONGEST = 36_525


@dataclass(frozen=True, slots=True)
class Item(Result):
    """Something kept: its id, its category, since when, and the references of legal holds on it.

    Parameters
    ----------
    case : reference of the case, whose own period comes before the category's.
    expires : an end of its own, such as a watchlist entry's; the sooner of it and the schedule's counts.
    """

    id: str
    category: str
    since: datetime
    holds: tuple[str, ...] = ()
    case: str | None = None
    expires: datetime | None = None


@dataclass(frozen=True, slots=True)
class Due(Result):
    """What becomes of one item, and why: its period ends at ``expires`` (None: never), a hold keeps it beyond that."""

    id: str
    category: str
    case: str | None
    expires: datetime | None
    fate: Fate
    why: str
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
        """Return one row an item: id, category, case, expires, fate, why, holds; what goes first."""
        import pandas as pd

        order = {"delete": 0, "held": 1, "keep": 2}
        shown = sorted(self.items, key=lambda item: order[item.fate])
        rows = [{**item.to_dict(), "expires": item.expires, "holds": ", ".join(item.holds)} for item in shown]
        return pd.DataFrame(rows, columns=list(Due.__dataclass_fields__))


@dataclass(frozen=True, slots=True)
class RetentionSchedule(Result):
    """How long each category is kept.

    Parameters
    ----------
    periods : category → period, None for "until somebody decides". The law and your policy set them; there are no
        defaults, and an item of a category that isn't named stops the plan. "evidence" names each "evidence.<kind>"
        that isn't named itself.
    cases : case → periods of its own, which come before those of its category.
    on_open : apply the schedule whenever a run opens the store; without it somebody has to apply it.

    Raises
    ------
    InputError : a period that isn't positive.

    >>> from datetime import UTC
    >>> plan = RetentionSchedule({"probe": timedelta(days=1)}).due(
    ...     [Item("p1", "probe", datetime(2026, 1, 1, tzinfo=UTC))], datetime(2026, 1, 2, tzinfo=UTC))
    >>> plan.to_delete
    ('p1',)
    """

    periods: Periods
    cases: Mapping[str, Periods] = field(default_factory=dict)
    on_open: bool = False

    def __post_init__(self) -> None:
        for periods in (self.periods, *self.cases.values()):
            wrong = [name for name, period in periods.items() if period is not None and period <= timedelta(0)]
            if wrong:
                raise InputError(f"retention periods must be positive, got otherwise for {', '.join(wrong)}")

    @classmethod
    def from_yaml(cls, text: str) -> RetentionSchedule:
        """Return the schedule written in ``text``: days by category, or ``undecided``.

        Raises
        ------
        InputError : not such a file.

        >>> RetentionSchedule.from_yaml("periods: {evidence.photo: 365, run.report: undecided}").periods["run.report"]
        """
        try:
            file = _File.model_validate(read_yaml(text))
        except (ValidationError, InputError) as error:
            raise InputError(f"not a retention schedule: {error}; expected periods: {{category: days}}") from error
        cases = {case: _periods(periods) for case, periods in file.cases.items()}
        return cls(_periods(file.periods), cases, file.on_open)

    def due(self, items: Iterable[Item], at: datetime) -> RetentionPlan:
        """Return what would go at ``at``: all whose period has ended and that no legal hold keeps.

        Raises
        ------
        InputError : an item of a category that has no period, or a time without a zone.
        """
        return RetentionPlan(at, tuple(self._fate(item, at) for item in items))

    def _period(self, item: Item) -> tuple[timedelta | None, str]:
        """Return an item's period and whose it is: the case's before the category's, the kind's before its head's."""
        of_case = self.cases.get(item.case or "", {})
        for periods, source in ((of_case, f"case {item.case}'s"), (self.periods, "its category's")):
            for name in (item.category, item.category.partition(".")[0]):
                if name in periods:
                    return periods[name], source
        known = ", ".join(sorted(self.periods)) or "none"
        raise InputError(f"item {item.id}: no period for category {item.category!r}; there are: {known}; add it")

    def _fate(self, item: Item, at: datetime) -> Due:
        times = (item.since, at) if item.expires is None else (item.since, at, item.expires)
        if any(time.tzinfo is None for time in times):
            raise InputError(f"item {item.id}: got a time without a zone, expected UTC")
        period, source = self._period(item)
        ends = [] if period is None else [(item.since + period, f"{source} {period.days} days are over")]
        if item.expires is not None:
            ends.append((item.expires, "its own term is over"))
        if not ends:
            return Due(item.id, item.category, item.case, None, "keep", f"{source} period is undecided", item.holds)
        expires, why = min(ends)
        if at < expires:
            return Due(item.id, item.category, item.case, expires, "keep", "its period runs", item.holds)
        if item.holds:
            why = f"{why}, and held: {', '.join(item.holds)}"
        return Due(item.id, item.category, item.case, expires, "held" if item.holds else "delete", why, item.holds)


class _File(BaseModel):
    """A schedule as it is written: days by category."""

    model_config = ConfigDict(extra="forbid")

    periods: dict[str, _Days]
    cases: dict[str, dict[str, _Days]] = {}
    on_open: bool = False


_Days: TypeAlias = Annotated[int, Field(ge=1, le=_LONGEST, strict=True)] | Literal["undecided"]
_File.model_rebuild()


def _periods(days: Mapping[str, int | str]) -> dict[str, timedelta | None]:
    return {name: timedelta(days=n) if isinstance(n, int) else None for name, n in days.items()}
