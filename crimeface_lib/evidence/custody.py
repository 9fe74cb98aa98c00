"""The chain of custody: events about opaque ids in a ledger, and what they say about holds and commitments."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from crimeface_lib.core.clock import Clock
from crimeface_lib.core.errors import InputError, RefusedError
from crimeface_lib.evidence.items import INTAKE
from crimeface_lib.storage import Ledger

Event = dict[str, Any]
_HASH_PART = re.compile(r"(?i)(?<![0-9a-f])[0-9a-f]{8,}(?![0-9a-f])")


@dataclass(slots=True)
class State:
    """What the ledger says of the items: where each came in, what was committed to, what was erased."""

    intake: dict[str, Event] = field(default_factory=dict)
    committed: dict[tuple[str, str], str] = field(default_factory=dict)
    erased: set[str] = field(default_factory=set)


class Custody:
    """The custody ledger of one store. ``person_of`` tells which person is behind an account."""

    def __init__(self, ledger: Ledger, *, clock: Clock, person_of: Callable[[str], str]) -> None:
        self.ledger, self._clock, self._person_of = ledger, clock, person_of

    def log(self, event: str, actor: str, purpose: str, items: Sequence[str], **details: Any) -> int:
        """Write one event and return its index; when this returns, it is on the disk."""
        told = {name: value for name, value in details.items() if value is not None}
        entry = {"event": event, "actor": actor, "purpose": purpose, "items": [*items], **told}
        return self.ledger.append(entry, at=self._clock())

    def events(self, id: str | None = None) -> tuple[Event, ...]:
        """Return all events, or those of one item."""
        return tuple(event for event in self.ledger.entries() if id is None or id in event["items"])

    def holders(self, id: str) -> tuple[str, ...]:
        """Return who holds an item."""
        holders: tuple[str, ...] = ()
        for event in self.events(id):
            if event["event"] == "hold":
                holders = (*holders, event["actor"])
            elif event["event"] == "release":
                holders = ()
        return holders

    def same_person(self, one: str, other: str) -> bool:
        """Return whether two accounts are of one person."""
        return self._person_of(one) == self._person_of(other)

    def refuse(self, actor: str, purpose: str, id: str, what: str, message: str) -> RefusedError:
        """Log that something was refused and return the error to raise."""
        self.log("refusal", actor, purpose, [id], refused=what)
        return RefusedError(message)

    def state(self) -> State:
        """Return what all events together say."""
        state = State()
        for event in self.ledger.entries():
            if event["event"] in INTAKE:
                [id] = event["items"]
                state.intake.setdefault(id, event)
                state.committed.setdefault((id, "record"), event["commitment"])
            if "notes" in event:
                state.committed[event["items"][0], "notes"] = event["notes"]
            if event["event"] == "erasure":
                state.erased.update(event["items"])
        return state


def require(**texts: Any) -> None:
    """Check that each text has words in it.

    Raises
    ------
    InputError : names what is missing.
    """
    for name, text in texts.items():
        if not isinstance(text, str) or not text.strip():
            raise InputError(
                f"got {name} {text!r}, expected words; every use of evidence says who and for what purpose"
            )


def check_words(said: str, *, secret: Iterable[str | None], hashes: Iterable[str]) -> None:
    """Check that a text which will stay for ever repeats nothing of what is to be erased.

    Raises
    ------
    InputError : it does.
    """
    words = [word.strip() for word in secret if word and len(word.strip()) > 2]
    repeated = any(re.search(rf"(?<!\w){re.escape(word)}(?!\w)", said, re.IGNORECASE) for word in words)
    if repeated or any(part.lower() in digest for part in _HASH_PART.findall(said) for digest in hashes):
        raise InputError("the purpose repeats what is to be erased, and events stay; say it in other words")


def account_of(actor: str) -> str:
    """Return what stands for a person where nothing knows better: the account, in one spelling.

    >>> account_of(" Ada ")
    'ada'
    """
    return actor.strip().casefold()


def plain_parameters(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return parameters as a record keeps them, or say that they can't be kept."""
    import json

    try:
        plain: dict[str, Any] = json.loads(json.dumps(dict(parameters), allow_nan=False))
    except (TypeError, ValueError) as error:
        raise InputError(f"parameters: {error}; a third party can repeat only what JSON can hold") from error
    return plain
