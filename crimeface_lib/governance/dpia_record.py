"""What the register says of a DPIA: its status, its versions, what differs between them, its approval."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from crimeface_lib.core.errors import RefusedError
from crimeface_lib.core.results import Result
from crimeface_lib.governance.dpia import Dpia, Kind

if TYPE_CHECKING:
    import pandas as pd

State: TypeAlias = Literal["draft", "submitted", "approved", "rejected", "review_due", "expired", "withdrawn"]


@dataclass(frozen=True, slots=True)
class DpiaStatus(Result):
    """Where a DPIA stands at a time.

    Parameters
    ----------
    version : counts the contents; 1 is the first draft.
    content_hash : of that version, as it was recorded when written.
    intact : what is stored still has that hash.
    approved_at, review_by : of the approval in force or past; None before one. Valid through ``review_by`` (UTC).
    advised : the DPO has advised on this version.
    reason : of a rejection or withdrawal.
    """

    id: int
    state: State
    version: int
    title: str
    kind: Kind
    purpose: str
    content_hash: str
    intact: bool
    advised: bool
    approved_at: datetime | None = None
    review_by: date | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class DpiaList(Result):
    """The register at a time, one status a DPIA."""

    entries: tuple[DpiaStatus, ...]

    def __len__(self) -> int:
        return len(self.entries)

    def __iter__(self) -> Iterator[DpiaStatus]:
        return iter(self.entries)

    def to_frame(self) -> pd.DataFrame:
        """Return one row a DPIA."""
        import pandas as pd

        return pd.DataFrame([e.to_dict() for e in self.entries], columns=list(DpiaStatus.__dataclass_fields__))


@dataclass(frozen=True, slots=True)
class DpiaVersion(Result):
    """One content of a DPIA: who wrote it when, and its hash."""

    version: int
    content: Dpia
    content_hash: str
    by: str
    at: str


@dataclass(frozen=True, slots=True)
class DpiaDiff(Result):
    """What differs between two versions: field → (before, after); None where it isn't there."""

    id: int
    before: int
    after: int
    changes: dict[str, tuple[Any, Any]]

    def to_frame(self) -> pd.DataFrame:
        """Return one row a field: field, before, after."""
        import pandas as pd

        rows = [(field, before, after) for field, (before, after) in self.changes.items()]
        return pd.DataFrame(rows, columns=["field", "before", "after"])


@dataclass(frozen=True, slots=True)
class DpiaRecord(Result):
    """Everything the register knows of a DPIA, as its report shows it.

    Parameters
    ----------
    advice : text, favourable, by, at; empty before it is given. approval : by, at, review_by, overruled; likewise.
    steps : every step that the audit log has, oldest first: step, by, at.
    """

    status: DpiaStatus
    content: Dpia
    versions: tuple[DpiaVersion, ...]
    advice: dict[str, Any]
    approval: dict[str, Any]
    steps: tuple[dict[str, str], ...]


@dataclass(frozen=True, slots=True)
class Approval(Result):
    """A content that is approved at a time, checked against the record and against the ledger."""

    id: int
    version: int
    content: Dpia
    content_hash: str
    review_by: date


class NotApprovedError(RefusedError):
    """No approval holds for what was asked; ``reason`` is the word for it in the audit log."""

    def __init__(self, message: str, *, reason: str) -> None:
        super().__init__(message)
        self.reason = reason
