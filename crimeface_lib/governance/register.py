"""The DPIA register: who wrote, advised on and approved which content, and whether that still holds.

draft → submitted → approved | rejected → draft; approved → review_due → expired by the clock alone;
approved or review_due → withdrawn. Editing makes a new version in draft and voids advice and approval.
An approval names the hash of what was approved; content altered under it is no longer approved.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from typing import Any, NoReturn

from crimeface_lib.core.clock import Clock, from_iso, to_iso
from crimeface_lib.core.errors import InputError, IntegrityError, NotFoundError
from crimeface_lib.core.hashing import content_hash
from crimeface_lib.governance.access import Action, People, User
from crimeface_lib.governance.audit import AuditLog, Fact, LatestEvents
from crimeface_lib.governance.changes import ChangeRegister
from crimeface_lib.governance.dpia import Dpia, flatten
from crimeface_lib.governance.dpia_record import (
    Approval,
    DpiaDiff,
    DpiaList,
    DpiaRecord,
    DpiaStatus,
    DpiaVersion,
    NotApprovedError,
    State,
)
from crimeface_lib.storage.documents import DocumentStore

#: An approval is "review_due" in its last days, and no approval lasts longer than MAX_TERM.
REVIEW_NOTICE = timedelta(days=30)
MAX_TERM = timedelta(days=366)

#: What each step needs: the permitted action and the states it may start from.
STEPS: dict[str, tuple[Action, frozenset[State]]] = {
    "edit": ("draft_dpia", frozenset({"draft", "submitted", "rejected", "approved", "review_due", "expired"})),
    "submit": ("draft_dpia", frozenset({"draft"})),
    "advise": ("advise_dpia", frozenset({"submitted"})),
    "approve": ("approve_dpia", frozenset({"submitted"})),
    "reject": ("approve_dpia", frozenset({"submitted"})),
    "withdraw": ("withdraw_dpia", frozenset({"approved", "review_due"})),
}

_TABLE = "dpias"


class DpiaRegister:
    """DPIAs in a document store; use ``DpiaRegister.open``.

    Each step takes the acting ``User``, checks the role that account has now, and writes one audit event, for
    the step or for its refusal. The event is written before the step is kept: a step that is not in the log
    did not happen.
    """

    def __init__(self, store: DocumentStore, *, audit: AuditLog, clock: Clock, people: People) -> None:
        self._store, self._audit, self._clock, self.people = store, audit, clock, people
        self.changes = ChangeRegister.open(store, audit=audit, clock=clock, people=people)
        self._logged = LatestEvents(audit, "dpia.", key="dpia")

    @classmethod
    def open(cls, store: DocumentStore, *, audit: AuditLog, clock: Clock, people: People | None = None) -> DpiaRegister:
        """Return the register kept in ``store``; the accounts come from the same store by default."""
        people = people or People.open(store, audit=audit, clock=clock)
        return cls(store, audit=audit, clock=clock, people=people)

    # -- steps ---------------------------------------------------------------------------------------------
    def draft(self, content: Dpia, *, author: User) -> int:
        """Put a first version into the register and return the DPIA's id."""
        author = self.people.require(author, "draft_dpia")
        version = self._version(content, author)
        with self._store.transaction():
            record = {"state": "draft", "versions": [version], "advice": None, "approval": None, "reason": ""}
            dpia = self._store.insert(_TABLE, record)
            self._log("drafted", author, dpia, version=1, content_hash=content.content_hash)
        return dpia

    def edit(self, dpia: int, content: Dpia, *, author: User) -> DpiaStatus:
        """Add a version, in draft; advice and approval of the version before no longer hold."""
        with self._step("edit", dpia, author) as record:
            versions = [*record["versions"], self._version(content, author)]
            self._log("edited", author, dpia, version=len(versions), content_hash=content.content_hash)
            fresh = {"state": "draft", "versions": versions, "advice": None, "approval": None, "reason": ""}
            self._store.update(_TABLE, dpia, fresh)
        return self.status(dpia)

    def submit(self, dpia: int, *, author: User) -> DpiaStatus:
        """Hand the draft in for advice and approval.

        Raises
        ------
        InputError : fields are empty; each is named.
        """
        with self._step("submit", dpia, author) as record:
            if empty := self._content(dpia, record).empty_fields:
                raise InputError(f"DPIA {dpia}: empty fields: {', '.join(empty)}; fill them in and edit the draft")
            self._log("submitted", author, dpia)
            self._store.update(_TABLE, dpia, {"state": "submitted"})
        return self.status(dpia)

    def advise(self, dpia: int, advice: str, *, favourable: bool, adviser: User) -> DpiaStatus:
        """Record the DPO's advice on the submitted version; nothing is approved without it.

        Raises
        ------
        RefusedError : the adviser has written a version of it.
        """
        advice = _said(advice, "advice")
        with self._step("advise", dpia, adviser) as record:
            self._check_independent("advise", dpia, record, adviser)
            self._log("advised", adviser, dpia, favourable=favourable)
            given = {"text": advice, "favourable": favourable, **self._signed(adviser)}
            self._store.update(_TABLE, dpia, {"advice": given})
        return self.status(dpia)

    def approve(self, dpia: int, *, approver: User, review_by: date, overruled: str = "") -> DpiaStatus:
        """Approve the submitted version through ``review_by`` (UTC), at most a year ahead.

        Parameters
        ----------
        overruled : reasons for approving against the DPO's advice; needed exactly then.

        Raises
        ------
        RefusedError : no advice yet; the approver has written a version, is the sole admin; the residual risk
            is high and no regulator was consulted; the threshold is another than was approved before and no approved
            change is named.
        InputError : ``review_by`` is past or too far ahead.
        IntegrityError : the stored content is not what was submitted.
        """
        with self._step("approve", dpia, approver) as record:
            content = self._content(dpia, record)
            self._check_independent("approve", dpia, record, approver)
            if self.people.is_sole_admin(approver.person):
                self._refuse("approve", dpia, approver, "sole_admin", "the only admin may not approve; add another")
            if not record["advice"]:
                self._refuse("approve", dpia, approver, "no_advice", "the DPO's advice comes first: advise(...)")
            if bool(overruled.strip()) == record["advice"]["favourable"]:
                remedy = "give overruled= exactly when the DPO advised against"
                self._refuse("approve", dpia, approver, "advice", remedy)
            if content.residual == "high" and not content.regulator_consultation:
                remedy = "the residual risk is high: consult the regulator and put the reference into the DPIA"
                self._refuse("approve", dpia, approver, "high_risk", remedy)
            self._check_threshold(dpia, record, content, approver)
            today = self._clock().astimezone(UTC).date()
            if not today < review_by <= today + MAX_TERM:
                raise InputError(
                    f"review_by: got {review_by}, expected a day after {today}, at most {MAX_TERM.days} days on"
                )
            facts: dict[str, Fact] = {"version": len(record["versions"]), "content_hash": content.content_hash}
            self._log("approved", approver, dpia, **facts, review_by=review_by.isoformat())
            term = {"review_by": review_by.isoformat(), "overruled": overruled.strip(), **self._signed(approver)}
            earlier = [*record.get("approved", []), len(record["versions"])]
            state = {"state": "approved", "approval": {**facts, **term}, "approved": earlier}
            self._store.update(_TABLE, dpia, state)
        return self.status(dpia)

    def reject(self, dpia: int, reason: str, *, approver: User) -> DpiaStatus:
        """Send the submitted version back; ``edit`` makes it a draft again."""
        reason = _said(reason, "reason")
        with self._step("reject", dpia, approver):
            self._log("rejected", approver, dpia)
            self._store.update(_TABLE, dpia, {"state": "rejected", "reason": reason})
        return self.status(dpia)

    def withdraw(self, dpia: int, reason: str, *, user: User) -> DpiaStatus:
        """End an approval for good; runs under it are refused at their next call."""
        reason = _said(reason, "reason")
        with self._step("withdraw", dpia, user):
            self._log("withdrawn", user, dpia)
            self._store.update(_TABLE, dpia, {"state": "withdrawn", "reason": reason})
        return self.status(dpia)

    # -- reading -------------------------------------------------------------------------------------------
    def status(self, dpia: int, *, at: datetime | None = None) -> DpiaStatus:
        """Return where a DPIA stands at ``at`` (now by default); review_due and expired are computed here.

        Raises
        ------
        NotFoundError : no such DPIA.
        IntegrityError : the record can't be read.
        """
        return self._status(dpia, self._read(dpia), at or self._clock())

    def list(self, *, at: datetime | None = None) -> DpiaList:
        """Return the status of every DPIA at ``at`` (now by default)."""
        at = at or self._clock()
        return DpiaList(tuple(self._status(record["id"], record, at) for record in self._store.find(_TABLE)))

    def content(self, dpia: int) -> Dpia:
        """Return the last version of a DPIA.

        Raises
        ------
        NotFoundError : no such DPIA.
        IntegrityError : the stored content is not what was written.
        """
        return self._content(dpia, self._read(dpia))

    def versions(self, dpia: int) -> tuple[DpiaVersion, ...]:
        """Return every version of a DPIA, oldest first.

        Raises
        ------
        NotFoundError : no such DPIA. IntegrityError : a stored version is not what was written.
        """
        return tuple(
            DpiaVersion(number, _checked(dpia, stored), stored["content_hash"], stored["by"], stored["at"])
            for number, stored in enumerate(self._read(dpia)["versions"], start=1)
        )

    def diff(self, dpia: int, *, before: int | None = None, after: int | None = None) -> DpiaDiff:
        """Return what differs between two versions; by default between the last two.

        Raises
        ------
        NotFoundError : no such DPIA or version.
        """
        versions = self.versions(dpia)
        after = len(versions) if after is None else after
        before = max(after - 1, 1) if before is None else before
        for number in (before, after):
            if not 1 <= number <= len(versions):
                raise NotFoundError(f"DPIA {dpia} has no version {number}; it has 1 to {len(versions)}")
        old, new = (flatten(versions[number - 1].content.to_dict()) for number in (before, after))
        fields = [*old, *(field for field in new if field not in old)]
        changes = {f: (old.get(f), new.get(f)) for f in fields if old.get(f) != new.get(f)}
        return DpiaDiff(dpia, before, after, changes)

    def record(self, dpia: int) -> DpiaRecord:
        """Return everything known of a DPIA, for its report."""
        record = self._read(dpia)
        steps = tuple(
            {"step": e.event.removeprefix("dpia."), "by": e.actor, "at": to_iso(e.at)}
            for e in self._audit.search("dpia.", dpia=dpia)
        )
        advice, approval = record["advice"] or {}, record["approval"] or {}
        return DpiaRecord(self.status(dpia), self.content(dpia), self.versions(dpia), advice, approval, steps)

    def approval(self, dpia: int) -> Approval:
        """Return the approved content of a DPIA, if the approval holds now.

        Raises
        ------
        NotApprovedError : it is not approved, or expired, or the audit log shows no such approval as last step.
        IntegrityError : the stored content is not what was approved.
        """
        record = self._read(dpia)
        status = self._status(dpia, record, self._clock())
        if status.state == "expired":
            message = f"DPIA {dpia} expired on {status.review_by}; edit it and have it approved again"
            raise NotApprovedError(message, reason="expired")
        if status.state not in ("approved", "review_due") or status.review_by is None:
            raise NotApprovedError(f"DPIA {dpia} is {status.state}, expected approved", reason=status.state)
        content, bound = self._content(dpia, record), record["approval"]
        if (bound["content_hash"], bound["version"]) != (status.content_hash, status.version):
            raise IntegrityError(f"DPIA {dpia}: the content is not what was approved; have it approved again")
        logged = self._logged.of(dpia)
        facts = {key: bound[key] for key in ("version", "content_hash", "review_by")}
        if logged is None or logged.event != "dpia.approved" or not facts.items() <= logged.facts.items():
            message = f"DPIA {dpia}: the audit log does not show this approval as the last step; have it approved again"
            raise NotApprovedError(message, reason="not_in_log")
        return Approval(dpia, status.version, content, status.content_hash, status.review_by)

    # -- inside --------------------------------------------------------------------------------------------
    @contextmanager
    def _step(self, step: str, dpia: int, user: User) -> Iterator[dict[str, Any]]:
        action, states = STEPS[step]
        with self._store.transaction():
            self.people.require(user, action, dpia=dpia)
            record = self._read(dpia)
            state = self._status(dpia, record, self._clock()).state
            if state not in states:
                self._refuse(step, dpia, user, "state", f"it is {state}, expected {' or '.join(sorted(states))}")
            yield record

    def _status(self, dpia: int, record: Mapping[str, Any], at: datetime) -> DpiaStatus:
        try:
            last, approval = record["versions"][-1], record["approval"]
            content, scope = last["content"], last["content"]["scope"]
            return DpiaStatus(
                dpia,
                _state_at(record, at),
                len(record["versions"]),
                content["title"],
                scope["kind"],
                scope["purpose"],
                last["content_hash"],
                intact=content_hash(content) == last["content_hash"],
                advised=bool(record["advice"]),
                approved_at=from_iso(approval["at"]) if approval else None,
                review_by=date.fromisoformat(approval["review_by"]) if approval else None,
                reason=record["reason"],
            )
        except (LookupError, TypeError, ValueError) as error:
            raise IntegrityError(f"DPIA {dpia}: the stored record can't be read ({error}); restore it") from error

    def _check_independent(self, step: str, dpia: int, record: Mapping[str, Any], user: User) -> None:
        if user.person in {version["person"] for version in record["versions"]}:
            self._refuse(
                step, dpia, user, "own_work", "the same person has written a version of it; another person is needed"
            )

    def _check_threshold(self, dpia: int, record: Mapping[str, Any], content: Dpia, user: User) -> None:
        """A threshold that differs from one approved before, for the same model, names the change that approved it."""
        faces = content.faces
        for number in record.get("approved", []) if faces else ():
            before = _checked(dpia, record["versions"][number - 1]).faces
            if faces is None or before is None or before.threshold == faces.threshold:
                continue
            if (before.algorithm, before.version) != (faces.algorithm, faces.version):
                continue
            why = f"the threshold was {before.threshold!r} in version {number} and is {faces.threshold!r}; "
            if faces.threshold_change is None:
                self._refuse("approve", dpia, user, "threshold", why + "name the approved change in threshold_change")
            asked = self.changes.require(faces.threshold_change, "threshold", by=user).content
            if (asked["model"], asked["version"], asked["after"]) != (faces.algorithm, faces.version, faces.threshold):
                self._refuse("approve", dpia, user, "threshold", why + f"change {faces.threshold_change} is of another")

    def _content(self, dpia: int, record: Mapping[str, Any]) -> Dpia:
        return _checked(dpia, record["versions"][-1])

    def _read(self, dpia: int) -> dict[str, Any]:
        try:
            return self._store.get(_TABLE, dpia)
        except NotFoundError as error:
            raise NotFoundError(f"no DPIA {dpia}; list() shows what there is") from error

    def _version(self, content: Dpia, author: User) -> dict[str, Any]:
        return {"content": content.to_dict(), "content_hash": content.content_hash, **self._signed(author)}

    def _signed(self, user: User) -> dict[str, str]:
        return {"by": user.id, "person": user.person, "at": to_iso(self._clock())}

    def _log(self, step: str, user: User, dpia: int, **facts: Fact) -> None:
        self._audit.record(f"dpia.{step}", actor=user.id, at=self._clock(), dpia=dpia, **facts)

    def _refuse(self, step: str, dpia: int, user: User, reason: str, why: str) -> NoReturn:
        self.people.refuse(
            user.id, f"{step}_dpia", reason, f"DPIA {dpia}: {user.id} may not {step} it: {why}", dpia=dpia
        )


def _state_at(record: Mapping[str, Any], at: datetime) -> State:
    if record["state"] != "approved":
        return record["state"]
    approval, review_by = record["approval"], date.fromisoformat(record["approval"]["review_by"])
    today = at.astimezone(UTC).date()
    if at < from_iso(approval["at"]):
        return "submitted"
    if today > review_by:
        return "expired"
    return "review_due" if today >= review_by - REVIEW_NOTICE else "approved"


def _checked(dpia: int, stored: Mapping[str, Any]) -> Dpia:
    if content_hash(stored["content"]) != stored["content_hash"]:
        raise IntegrityError(f"DPIA {dpia}: the stored content was altered after it was written; edit it anew")
    return Dpia.from_dict(stored["content"])


def _said(text: str, name: str) -> str:
    if not text.strip():
        raise InputError(f"{name}: got nothing, expected a sentence that the next reader can act on")
    return text.strip()
