"""What the evidence store gives back: items, lists of items, lineage, the chain of custody, reports."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from crimeface_lib.core.clock import from_iso
from crimeface_lib.core.results import Result, to_plain

if TYPE_CHECKING:
    import pandas as pd

INTAKE = ("collection", "derivation", "combination")  # no parent, one, several
EVENTS = (*INTAKE, "alteration", "consultation", "disclosure", "hold", "release", "refusal", "erasure")


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
    filename, media_type : as it came in.
    metadata : what a picture's header says: format, width, height, ``exif``, ``gps``; not to be believed unseen.
    process : name, version, parameters, environment and tolerance of the process that made a derivative.
    description, tags : what people say of it; the only part that may be altered.
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
    filename: str | None = None
    media_type: str = "application/octet-stream"
    metadata: dict[str, Any] = field(default_factory=dict)
    process: dict[str, Any] | None = None
    description: str | None = None
    tags: tuple[str, ...] = ()

    @classmethod
    def from_record(cls, id: str, record: Mapping[str, Any], notes: Mapping[str, Any]) -> EvidenceItem:
        """Return the item that an intake record and the notes on it describe."""
        fields = {**record, "parents": tuple(record["parents"]), "added": from_iso(record["added"])}
        return cls(id=id, **fields, description=notes.get("description"), tags=tuple(notes.get("tags", ())))

    @property
    def words(self) -> str:
        """What a search for text looks through."""
        return "\n".join(text for text in (self.description, self.name, self.filename) if text)

    def to_frame(self) -> pd.DataFrame:
        """Return one row per field, EXIF and GPS included."""
        import pandas as pd

        rows = []
        for name, value in self.to_dict().items():
            if name in ("metadata", "process"):
                rows += _flat(name, value or {})
            elif value not in (None, [], ""):
                rows.append((name, ", ".join(map(str, value)) if isinstance(value, list) else str(value)))
        return pd.DataFrame(rows, columns=["field", "value"])


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

    def select(
        self,
        *,
        case: str | None = None,
        kind: str | None = None,
        tag: str | None = None,
        hash: str | None = None,
        text: str | None = None,
        media_type: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> ItemList:
        """Return the items that fit everything asked for, as ``EvidenceStore.list`` describes it."""
        return ItemList(
            tuple(
                item
                for item in self.items
                if case in (None, item.case)
                and kind in (None, item.kind)
                and (tag is None or tag.casefold() in map(str.casefold, item.tags))
                and (hash is None or any(digest.startswith(hash.lower()) for digest in (item.sha256, item.sha512)))
                and (text is None or text.casefold() in item.words.casefold())
                and item.media_type.startswith(media_type or "")
                and (since is None or item.added >= since)
                and (until is None or item.added < until)
            )
        )

    def to_frame(self) -> pd.DataFrame:
        """Return one row per item."""
        import pandas as pd

        hidden = ("sha512", "metadata", "process")
        columns = [name for name in EvidenceItem.__dataclass_fields__ if name not in hidden]
        return pd.DataFrame([[getattr(item, name) for name in columns] for item in self.items], columns=columns)


@dataclass(frozen=True, slots=True)
class Intake(Result):
    """What became of each file of an intake: one row a file, in order.

    ``rows`` have ``path``, as it was given; ``outcome``: ``taken in``, ``here before``, ``refused`` or ``failed``;
    ``item``, the id where there is one; and ``reason``.
    """

    rows: tuple[dict[str, Any], ...]

    def __getitem__(self, outcome: str) -> tuple[dict[str, Any], ...]:
        return tuple(row for row in self.rows if row["outcome"] == outcome)

    @property
    def complete(self) -> bool:
        """Whether no file was refused or failed."""
        return not (self["refused"] or self["failed"])

    def to_frame(self) -> pd.DataFrame:
        """Return one row per file."""
        import pandas as pd

        return pd.DataFrame(list(self.rows), columns=["path", "outcome", "item", "reason"])


@dataclass(frozen=True, slots=True)
class Lineage(Result):
    """What an item was made from and what was made from it.

    ``parents`` maps the id of each item of the family to those of its parents; ``items`` are those still here.
    """

    id: str
    parents: dict[str, tuple[str, ...]]
    items: dict[str, EvidenceItem]

    @classmethod
    def of(cls, id: str, *, parents: Mapping[str, tuple[str, ...]], items: Mapping[str, EvidenceItem]) -> Lineage:
        """Return ancestors and descendants of ``id``, given the parents of all items in order of their intake."""
        family = {id}
        for child in reversed([*parents]):  # a parent came in before its children
            if child in family:
                family.update(parents[child])
        below = {id}
        for child, of in parents.items():
            if below.intersection(of):
                below.add(child)
        family |= below
        ordered = {member: of for member, of in parents.items() if member in family}
        return cls(id, ordered, {member: items[member] for member in ordered if member in items})

    def to_frame(self) -> pd.DataFrame:
        """Return one row per item and parent, ancestors before descendants."""
        import pandas as pd

        rows = []
        for id, parents in self.parents.items():
            item = self.items.get(id)
            for parent in parents or (None,):
                made_by = item.tool if item else None
                rows.append((id, item.kind if item else "erased", item.name if item else None, parent, made_by))
        return pd.DataFrame(rows, columns=["item", "kind", "name", "parent", "made by"])

    def to_dot(self) -> str:
        """Return the family as a graph in Graphviz's language; arrows point from parent to child."""
        quoted = {id: id[:8] + "\\n" + (self.items[id].kind if id in self.items else "erased") for id in self.parents}
        lines = [f'  "{id}" [label="{label}"];' for id, label in quoted.items()]
        lines += [f'  "{parent}" -> "{id}";' for id, parents in self.parents.items() for parent in parents]
        return "\n".join(["digraph lineage {", *lines, "}"])


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
        """Return one row per event and item; an event about no item, a search without result, has one row."""
        import pandas as pd

        rows = [
            [event["index"], from_iso(event["at"]), event["event"], event["actor"], event["purpose"], item]
            for event in self.events
            for item in event["items"] or [None]
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


def _flat(name: str, values: Mapping[str, Any]) -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for key, value in values.items():
        if isinstance(value, Mapping):
            rows += _flat(f"{name}.{key}", value)
        else:
            rows.append((f"{name}.{key}", str(to_plain(value))))
    return rows
