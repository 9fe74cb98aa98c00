"""Which new templates go on a list: not those that are there, and what of those that resemble somebody else."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from crimeface_lib.core.clock import to_iso
from crimeface_lib.core.errors import InputError, RefusedError
from crimeface_lib.core.results import Result
from crimeface_lib.core.types import Float32Array
from crimeface_lib.recognition.embed import Embeddings
from crimeface_lib.recognition.gallery import Gallery
from crimeface_lib.recognition.records import Records
from crimeface_lib.recognition.rotation import Rotation, turn
from crimeface_lib.recognition.sealed import Entry, plain_words, template_item
from crimeface_lib.recognition.search import Progress, most_similar_other, unit_rows

if TYPE_CHECKING:
    import pandas as pd

#: report: enrolled and told; skip: told and not enrolled; refuse: nothing at all is enrolled.
POLICIES = ("report", "skip", "refuse")


@dataclass(frozen=True, slots=True)
class Duplicate(Result):
    """A new template that may show somebody who is on the list under another name; a candidate for people to check.

    Parameters
    ----------
    index : of the new image; ``subject`` its name.
    other : the most similar other subject; ``record`` of that entry, empty where it is one of the new images.
    reason : "same photo", "same template" or "score". score : cosine; 1 for the first two.
    """

    index: int
    subject: str
    other: str
    record: str
    reason: str
    score: float


@dataclass(frozen=True, slots=True)
class Enrolment(Result):
    """What was enrolled and what was not.

    Parameters
    ----------
    enrolled : how many. present : how many were on the list already, under the same name.
    failures : index → reason, for images that have no template.
    duplicates : candidates for somebody under two names; no verdict, for people to check.
    """

    enrolled: int
    failures: dict[int, str]
    present: int = 0
    duplicates: tuple[Duplicate, ...] = ()

    def duplicates_frame(self) -> pd.DataFrame:
        """Return the candidates for somebody under two names, one row each."""
        import pandas as pd

        return pd.DataFrame([one.to_dict() for one in self.duplicates], columns=list(Duplicate.__dataclass_fields__))


def check_policy(policy: str, score: float | None) -> None:
    """Refuse an unknown policy, or a score that is none."""
    if policy not in POLICIES:
        raise InputError(f"duplicates: got {policy!r}, expected {', '.join(POLICIES)}")
    if score is not None and not -1 <= score <= 1:
        raise InputError(f"duplicate_score: got {score}, expected a cosine between −1 and 1")


def entries_to_be(
    embeddings: Embeddings,
    rows: Sequence[int],
    subjects: Sequence[str | None],
    photos: Sequence[str],
    *,
    expires: date | None,
    at: datetime,
    facts: dict[str, str | None],
) -> list[Entry]:
    """Return the entries of these rows.

    Raises
    ------
    RefusedError : one lacks a field, or would already have expired.
    """
    if not isinstance(expires, date):
        raise RefusedError(f"watchlist entry: expires is missing (got {expires!r}), expected the last day, a date")
    last = expires.date() if isinstance(expires, datetime) else expires
    if last < at.date():
        raise RefusedError(f"watchlist entry: expires is {last}, expected {at.date()} or later")
    shared: dict[str, Any] = {**_required(facts), "added_at": to_iso(at), "expires": last}
    shared |= {"embedder": embeddings.embedder, "version": embeddings.version, "minor": "minor_approval" in facts}
    return [
        Entry(
            record=secrets.token_hex(12),
            **shared | _required({"subject": subject}),
            quality=float(embeddings.quality[row]) if np.isfinite(embeddings.quality[row]) else None,
            item=f"photo:{photo}" if photo else template_item(embeddings.vectors[row]),
        )
        for row, subject, photo in zip(rows, subjects, photos, strict=True)
    ]


def minor_facts(minor: bool, approval: str | None) -> dict[str, str | None]:
    """Return what a child's entry needs besides; an approval without a child is a mistake somewhere."""
    if not minor and approval is not None:
        raise RefusedError("watchlist entry: got an approval for a child, expected minor=True with it")
    return {"minor_approval": approval} if minor else {}


def _refuse_duplicates(found: Sequence[Duplicate]) -> None:
    """Say that nothing was enrolled, and why.

    Raises
    ------
    RefusedError : there are duplicates.
    """
    if found:
        first = "; ".join(f"image {one.index} ({one.reason}, {one.score:.3f})" for one in found[:5])
        raise RefusedError(
            f"nothing enrolled: got {len(found)} images that resemble somebody under another name: {first}"
            f"{' …' if len(found) > 5 else ''}; have people check them, then use enrol_many with duplicates='skip' "
            "or 'report'"
        )


def _same_items(new: Sequence[int], entries: Sequence[Entry], there: dict[str, Entry]) -> dict[int, Duplicate]:
    """Return which new entries have the photo or template of another subject: of one ``there``, or before them."""
    found: dict[int, Duplicate] = {}
    first: dict[str, Entry] = {}
    for place in new:
        entry = entries[place]
        other = there.get(entry.item) or first.setdefault(entry.item, entry)
        if other.subject != entry.subject:
            record = other.record if entry.item in there else ""
            reason = f"same {entry.item.partition(':')[0]}"
            found[place] = Duplicate(place, entry.subject, other.subject, record, reason, 1.0)
    return found


def _required(given: dict[str, str | None]) -> dict[str, str]:
    for name, value in given.items():
        if not isinstance(value, str) or not value.strip():
            raise RefusedError(
                f"watchlist entry: {name} is missing (got {value!r}), expected words; each entry needs one"
            )
    return {name: plain_words(str(value)) for name, value in given.items()}


@dataclass(frozen=True)
class Enroller:
    """Writes entries to be into the records of a list; ``opened`` opens the list for the search for duplicates."""

    records: Records
    rotation: Rotation | None
    opened: Callable[[], Gallery]
    policy: str
    score: float | None
    batch: int = 1000
    progress: Progress | None = None

    def add(self, embeddings: Embeddings, rows: Sequence[int], entries: Sequence[Entry]) -> Enrolment:
        """Write what is not there yet, and tell what was and who resembles somebody."""
        head = self.records.fitting(embeddings, embeddings.vectors.shape[1], self.rotation)
        vectors = turn(unit_rows(embeddings.vectors[rows], name="embeddings", dimension=head.dimension), self.rotation)
        seals = self.records.seals
        labels = [(seals.label("item", entry.item), seals.label("subject", entry.subject)) for entry in entries]
        there, last = self.records.found("item", {item for item, _ in labels})
        seen, new = {(record["item"], record["who"]) for record in there}, []
        for place, label in enumerate(labels):
            if label not in seen:
                new.append(place)
                seen.add(label)
        wanted = {labels[place][0] for place in new}
        known = [seals.about(record, head=head) for record in there if record["item"] in wanted]
        found = _same_items(new, entries, {one.item: one for one in reversed(known)})
        if self.score is not None:
            found |= self._resembling([p for p in new if p not in found], entries, vectors, self.score)
        told = tuple(replace(found[place], index=rows[place]) for place in sorted(found))
        if self.policy == "refuse":
            _refuse_duplicates(told)
        going = [place for place in new if self.policy != "skip" or place not in found]
        added = 0
        for start in range(0, len(going), self.batch):
            some = [(entries[place], vectors[place]) for place in going[start : start + self.batch]]
            with self.records.transaction():
                head = self.records.fitting(embeddings, head.dimension, self.rotation)
                count, last = self.records.write(head, some, after=last)
            added += count
            if self.progress is not None:
                self.progress(start + len(some), len(going))
        present = len(entries) - len(new) + len(going) - added
        return Enrolment(enrolled=added, failures=dict(embeddings.failures), present=present, duplicates=told)

    def _resembling(
        self, new: Sequence[int], entries: Sequence[Entry], vectors: Float32Array, score: float
    ) -> dict[int, Duplicate]:
        """Return which new entries score at least ``score`` with another subject, on the list or before them."""
        if not new:
            return {}
        numbers = {name: number for number, name in enumerate(dict.fromkeys(entries[p].subject for p in new))}
        people, rows = np.array([numbers[entries[p].subject] for p in new]), vectors[list(new)]
        near = most_similar_other(rows, rows, people=people, others=people, score=score, earlier=True)
        found = {one: (entries[new[other]].subject, "", value) for one, (other, value) in near.items()}
        labels = {self.records.seals.label("subject", name): number for name, number in numbers.items()}
        with self.opened() as gallery:
            closest = gallery.resembling(rows, people, labels, score=score)
        for one, (entry, value) in closest.items():
            if one not in found or value >= found[one][2]:
                found[one] = (entry.subject, entry.record, value)
        return {
            new[one]: Duplicate(new[one], entries[new[one]].subject, other, record, "score", value)
            for one, (other, record, value) in found.items()
        }
