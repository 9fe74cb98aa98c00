"""What the evidence store gives back: items, lists of items, the chain of custody, reports."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from crimeface_lib.core.clock import from_iso
from crimeface_lib.core.hashing import canonical_json
from crimeface_lib.core.results import Result

if TYPE_CHECKING:
    import pandas as pd

INTAKE = ("collection", "derivation", "combination")  # no parent, one, several
EVENTS = (*INTAKE, "consultation", "disclosure", "hold", "release", "refusal", "erasure")


@dataclass(frozen=True, slots=True)
class EvidenceItem(Result):
    """One original or derivative.

    Parameters
    ----------
    id : opaque and random; the only trace of the item that outlives its erasure.
    kind : what it is, e.g. ``photo``, ``extract``, ``mesh``.
    name, case : exhibit and case reference.
    sha256, sha512, size : of the content at intake; hexadecimal, bytes.
    parents : ids of the items that a derivative was made from; none for an original.
    tool : what made a derivative.
    added : when it came in, UTC.
    """

    id: str
    kind: str
    name: str | None
    case: str | None
    sha256: str
    sha512: str
    size: int
    parents: tuple[str, ...]
    tool: str | None
    added: datetime

    @classmethod
    def from_record(cls, id: str, record: Mapping[str, Any]) -> EvidenceItem:
        """Return the item that an intake record describes."""
        fields = dict(record) | {"parents": tuple(record["parents"]), "added": from_iso(record["added"])}
        return cls(id=id, **fields)


@dataclass(frozen=True, slots=True)
class ItemList(Result):
    """Items in the order in which they came in."""

    items: tuple[EvidenceItem, ...]

    def __iter__(self) -> Iterator[EvidenceItem]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> EvidenceItem:
        return self.items[index]

    def to_frame(self) -> pd.DataFrame:
        """Return one row per item."""
        import pandas as pd

        columns = [name for name in EvidenceItem.__dataclass_fields__ if name != "sha512"]
        return pd.DataFrame([[getattr(item, name) for name in columns] for item in self.items], columns=columns)


@dataclass(frozen=True, slots=True)
class CustodyRecord(Result):
    """Who did what to which item, when and for what purpose, in the order of the ledger.

    ``events`` are the ledger's entries: ``index``, ``at``, ``event``, ``actor``, ``purpose``, ``items`` and what
    belongs to the kind of event, e.g. the ``recipient`` of a disclosure.
    """

    events: tuple[dict[str, Any], ...]

    def __len__(self) -> int:
        return len(self.events)

    def to_frame(self) -> pd.DataFrame:
        """Return one row per event and item."""
        import pandas as pd

        rows = [
            [event["index"], from_iso(event["at"]), event["event"], event["actor"], event["purpose"], item]
            for event in self.events
            for item in event["items"]
        ]
        return pd.DataFrame(rows, columns=["index", "time", "event", "actor", "purpose", "item"])


@dataclass(frozen=True, slots=True)
class EvidenceReport(Result):
    """What a verification of the store found in order.

    ``unrecorded`` counts stored objects that no item refers to. ``checked_against`` is the size of the checkpoint.
    """

    events: int
    root: str
    checked_against: int | None
    items: int
    erased: int
    unrecorded: int


def commitment(record: Mapping[str, Any], *, salt: str) -> str:
    """Return what the ledger keeps of an intake record: a hash that says nothing once the salt is erased.

    Parameters
    ----------
    salt : 32 random bytes, hexadecimal, kept with the record and not in the ledger.
    """
    return hashlib.sha256(bytes.fromhex(salt) + canonical_json(record)).hexdigest()
