"""Two people decide on a candidate list, each for themselves; until both have, nobody reads what either said.

A decision is kept sealed (AES-256-GCM, bound to its review) and its hash stands in the audit log, so it can be
neither read before the second is made nor changed afterwards. A list's report is issued after two decisions.
"""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NoReturn, TypeAlias, get_args

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from crimeface_lib.core.clock import Clock, to_iso
from crimeface_lib.core.errors import InputError, IntegrityError, NotFoundError
from crimeface_lib.core.hashing import canonical_json, sha256_bytes
from crimeface_lib.core.results import Result
from crimeface_lib.governance.access import People, User
from crimeface_lib.governance.audit import AuditLog, Fact, check_id
from crimeface_lib.storage.documents import DocumentStore

if TYPE_CHECKING:
    import pandas as pd

#: What a reviewer may decide; none of them says who somebody is.
Decision: TypeAlias = Literal["follow_up", "no_follow_up", "inconclusive"]

_TABLE, _NEEDED, _BLOCK = "reviews", 2, 4096


@dataclass(frozen=True, slots=True)
class Decided(Result):
    """One reviewer's decision; ``candidate`` is the record to follow up, empty for the other decisions."""

    decision: Decision
    candidate: str
    reason: str
    by: str
    at: str


@dataclass(frozen=True, slots=True)
class Review(Result):
    """Where the review of a candidate list stands.

    Parameters
    ----------
    run, list_sha256 : the list that is decided on. candidates : its records, best first.
    reviewers : the accounts asked; anybody who may decide where empty.
    decided : how many have; ``decisions`` is empty until all have.
    """

    id: int
    run: str
    list_sha256: str
    candidates: tuple[str, ...]
    asked_by: str
    asked_at: str
    reviewers: tuple[str, ...]
    decided: int
    decisions: tuple[Decided, ...] = ()

    @property
    def state(self) -> str:
        """``awaiting review``, ``agreed`` or ``not agreed``."""
        if not self.decisions:
            return f"awaiting review ({self.decided} of {_NEEDED})"
        return "agreed" if len({(d.decision, d.candidate) for d in self.decisions}) == 1 else "not agreed"

    @property
    def outcome(self) -> str:
        """What two decisions come to, in words."""
        if not self.decisions:
            return f"{self.decided} of {_NEEDED} reviewers have decided; neither is shown before both have."
        if self.state == "not agreed":
            return "The reviewers did not agree: no candidate is followed up on this list."
        first = self.decisions[0]
        said = {"follow_up": f"follow up {first.candidate}", "no_follow_up": "follow up none"}
        return f"Both reviewers decided alike: {said.get(first.decision, 'inconclusive')}."

    def to_dict(self) -> dict[str, Any]:
        """Return the fields, state and outcome."""
        return {**Result.to_dict(self), "state": self.state, "outcome": self.outcome}

    def to_frame(self) -> pd.DataFrame:
        """Return one row a decision; none before both are made."""
        import pandas as pd

        return pd.DataFrame([d.to_dict() for d in self.decisions], columns=list(Decided.__dataclass_fields__))

    def _repr_html_(self) -> str:
        table = self.to_frame().to_html(index=False, border=0, classes="cf-table") if self.decisions else ""
        return f"<p><b>Review {self.id}, {self.state}.</b> {self.outcome}</p>{table}"


@dataclass(frozen=True, slots=True)
class ReviewList(Result):
    """Reviews, oldest first."""

    reviews: tuple[Review, ...]

    def __len__(self) -> int:
        return len(self.reviews)

    def __iter__(self) -> Iterator[Review]:
        return iter(self.reviews)

    def to_frame(self) -> pd.DataFrame:
        """Return one row a review."""
        import pandas as pd

        columns = ["id", "state", "run", "decided", "asked_by", "asked_at", "outcome"]
        return pd.DataFrame([{key: r.to_dict()[key] for key in columns} for r in self.reviews], columns=columns)


class ReviewBook:
    """Reviews in a document store; use ``ReviewBook.open``. Each step, and each refusal, is an audit event."""

    def __init__(self, store: DocumentStore, *, audit: AuditLog, clock: Clock, people: People, key: bytes) -> None:
        self._store, self._audit, self._clock, self.people, self._box = store, audit, clock, people, AESGCM(key)

    @classmethod
    def open(cls, store: DocumentStore, *, audit: AuditLog, clock: Clock, people: People, key: bytes) -> ReviewBook:
        """Return the reviews kept in ``store``; ``key`` is 32 bytes, from ``KeyRing.derive("review")``."""
        return cls(store, audit=audit, clock=clock, people=people, key=key)

    def ask(
        self, *, run: str, list_sha256: str, candidates: Sequence[str], by: User, reviewers: Sequence[str] = ()
    ) -> Review:
        """Ask for the review of a candidate list.

        Parameters
        ----------
        reviewers : accounts that are asked; at least two persons, none of them ``by``. Empty: whoever may decide.

        Raises
        ------
        RefusedError : an account named may not decide, or they are not two other people. NotFoundError : no account.
        """
        by = self.people.require(by, "face_search")
        named = [self.people.require(self.people.get(one), "decide_candidates") for one in reviewers]
        persons = {one.person for one in named}
        if reviewers and (len(persons) < _NEEDED or by.person in persons):
            message = f"reviewers: got {', '.join(reviewers)}, expected two people other than {by.id}"
            self.people.refuse(by.id, "ask_review", "reviewers", message)
        facts = {"run": check_id(run, name="run"), "list_sha256": check_id(list_sha256, name="list_sha256")}
        signed = {"asked_by": by.id, "person": by.person, "asked_at": to_iso(self._clock())}
        asked = {"candidates": [check_id(c, name="candidate") for c in candidates], "reviewers": list(reviewers)}
        with self._store.transaction():
            number = self._store.insert(_TABLE, {**facts, **signed, **asked, "seals": []})
            self._record("asked", by, number, **facts, reviewers=list(reviewers))
        return self.get(number)

    def decide(self, review: int, decision: Decision, *, reason: str, by: User, candidate: str = "") -> Review:
        """Record one reviewer's decision, sealed until the second one is made.

        Parameters
        ----------
        candidate : record of the candidate to follow up; needed for ``follow_up`` and only there.

        Raises
        ------
        RefusedError : the account may not decide, was not asked, ran the search, has decided, or both have.
        InputError : no such decision or candidate, or no reason.
        """
        record = self._read(review)
        if decision not in get_args(Decision) or (decision == "follow_up") != bool(candidate):
            raise InputError(
                f"decision: got {decision!r} with candidate {candidate!r}, expected follow_up with a candidate, or "
                "no_follow_up or inconclusive without"
            )
        if candidate and candidate not in record["candidates"]:
            raise InputError(f"candidate: got {candidate!r}, expected a record of the list of review {review}")
        if not reason.strip():
            raise InputError("reason: got nothing, expected what was seen in the photos that led to the decision")
        by = self.people.require(by, "decide_candidates", review=review)
        with self._store.transaction():
            record = self._read(review)
            self._check_independent(review, record, by)
            said = {"decision": decision, "candidate": candidate, "reason": reason.strip(), "by": by.id}
            sealed = self._seal(review, {**said, "at": to_iso(self._clock()), "person": by.person})
            seals = [*record["seals"], sealed]
            self._record("decided", by, review, seal_sha256=sha256_bytes(sealed.encode()), number=len(seals))
            self._store.update(_TABLE, review, {"seals": seals})
            if len(seals) == _NEEDED:
                outcome = self.get(review).state.replace(" ", "_")
                self._record("opened", by, review, outcome=outcome)
        return self.get(review)

    def get(self, review: int) -> Review:
        """Return where a review stands.

        Raises
        ------
        NotFoundError : no such review. IntegrityError : a decision is not what was recorded.
        """
        return self._review(self._read(review))

    def list(self, *, run: str | None = None) -> ReviewList:
        """Return every review, or those of a run."""
        found = self._store.find(_TABLE, **({"run": run} if run else {}))
        return ReviewList(tuple(self._review(record) for record in found))

    def barrier(self, review: int, *, by: User) -> str:
        """Return why ``by`` may not decide on a review, or an empty text; nothing is refused or logged by asking.

        ``own_work``, ``decided`` (by this person), ``complete`` or ``not_asked``.
        """
        found = self._barrier(review, self._read(review), by)
        return found[0] if found else ""

    def require_decided(self, *, run: str, list_sha256: str, by: User) -> Review:
        """Return the review of a candidate list if two people have decided on it.

        Raises
        ------
        RefusedError : nobody was asked, fewer than two have decided, or the list is not the one decided on.
        """
        self.people.require(by, "read_reports")
        found = [review for review in self.list(run=run) if review.list_sha256 == list_sha256]
        if not found or not found[-1].decisions:
            where = found[-1].state if found else "no review of this list was asked for"
            message = f"run {run} has a candidate list: {where}; two people decide: crimeface review decide N"
            self.people.refuse(by.id, "issue_report", "not_reviewed", message, run=run)
        return found[-1]

    # -- inside --------------------------------------------------------------------------------------------
    def _check_independent(self, review: int, record: Mapping[str, Any], by: User) -> None:
        if barrier := self._barrier(review, record, by):
            self._refuse(review, by, *barrier)

    def _barrier(self, review: int, record: Mapping[str, Any], by: User) -> tuple[str, str] | None:
        """Return the first reason, as a word and in words, why ``by`` may not decide."""
        earlier = {self._unseal(review, sealed)["person"] for sealed in record["seals"]}
        refusals = {
            "own_work": (by.person == record["person"], "the same person ran the search"),
            "decided": (by.person in earlier, "the same person has decided; a second one is another person"),
            "complete": (len(record["seals"]) >= _NEEDED, "two people have decided"),
            "not_asked": (bool(record["reviewers"]) and by.id not in record["reviewers"], "others were asked"),
        }
        return next(((reason, why) for reason, (refused, why) in refusals.items() if refused), None)

    def _refuse(self, review: int, by: User, reason: str, why: str) -> NoReturn:
        message = f"review {review}: {by.id} may not decide: {why}"
        self.people.refuse(by.id, "decide_candidates", reason, message, review=review)

    def _review(self, record: Mapping[str, Any]) -> Review:
        seals, decisions = record["seals"], []
        if len(seals) >= _NEEDED:
            logged = [e.facts["seal_sha256"] for e in self._audit.search("review.decided", review=record["id"])]
            if logged != [sha256_bytes(sealed.encode()) for sealed in seals]:
                raise IntegrityError(f"review {record['id']}: its decisions are not those in the audit log")
            opened = [self._unseal(record["id"], sealed) for sealed in seals]
            if len({one.pop("person") for one in opened}) < _NEEDED:
                raise IntegrityError(f"review {record['id']}: one person decided twice")
            decisions = [Decided(**one) for one in opened]  # type: ignore[arg-type]
        fields: dict[str, Any] = {f: record[f] for f in ("id", "run", "list_sha256", "asked_by", "asked_at")}
        fields |= {name: tuple(record[name]) for name in ("candidates", "reviewers")}
        return Review(**fields, decided=len(seals), decisions=tuple(decisions))

    def _seal(self, review: int, decision: Mapping[str, Any]) -> str:
        nonce, said = secrets.token_bytes(12), canonical_json(decision)
        padded = said.ljust(-(-len(said) // _BLOCK) * _BLOCK)  # the length would tell a decision
        sealed = self._box.encrypt(nonce, padded, _bound(review))
        return base64.b64encode(nonce + sealed).decode()

    def _unseal(self, review: int, sealed: str) -> dict[str, str]:
        try:
            data = base64.b64decode(sealed, validate=True)
            opened: dict[str, str] = json.loads(self._box.decrypt(data[:12], data[12:], _bound(review)))
        except (InvalidTag, ValueError) as error:
            raise IntegrityError(f"review {review}: a decision was altered, or sealed with another key") from error
        return opened

    def _read(self, review: int) -> dict[str, Any]:
        try:
            return self._store.get(_TABLE, review)
        except NotFoundError as error:
            raise NotFoundError(f"no review {review}; crimeface review list shows what there is") from error

    def _record(self, step: str, by: User, review: int, **facts: Fact) -> None:
        self._audit.record(f"review.{step}", actor=by.id, at=self._clock(), review=review, **facts)


def _bound(review: int) -> bytes:
    return f"crimeface review v1|{review}".encode()
