"""The gate before each search and prediction: an approved DPIA that covers exactly this run, or a refusal.

It fails closed: whatever can't be read, found or written leads to a refusal, never to a permit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import date, datetime
from typing import NoReturn, get_args

from crimeface_lib.core.clock import Clock
from crimeface_lib.core.errors import CrimefaceError, InputError, RefusedError
from crimeface_lib.core.results import Result
from crimeface_lib.governance.access import may
from crimeface_lib.governance.audit import AuditLog, check_id
from crimeface_lib.governance.dpia import Kind
from crimeface_lib.governance.dpia_record import Approval, NotApprovedError
from crimeface_lib.governance.modelcard import BACKENDS, ModelRegistry
from crimeface_lib.governance.register import DpiaRegister
from crimeface_lib.governance.thresholds import ApprovedThreshold, PolicyFile

#: What an unreadable store or log raises on the way to a decision.
_UNREADABLE = (CrimefaceError, OSError, ValueError, LookupError, TypeError)


@dataclass(frozen=True, slots=True)
class Use(Result):
    """What a run is about to do; every attribute is compared with the DPIA's scope.

    Parameters
    ----------
    kind : face_search, place_prediction or geographic_profile.
    purpose, dataset, model, model_version : ids, as the DPIA's scope names them.
    actor : account id of who runs it.
    dpia : the DPIA meant; None takes any approved one that covers the run.
    threshold : the score below which a candidate is not listed; None takes the approved one, which the permit names.
    """

    kind: Kind
    purpose: str
    dataset: str
    model: str
    model_version: str
    actor: str
    dpia: int | None = None
    threshold: float | None = None

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise InputError(f"kind: got {self.kind!r}, expected one of {', '.join(get_args(Kind))}")
        for field in fields(self)[1:-2]:
            check_id(getattr(self, field.name), name=field.name)


@dataclass(frozen=True, slots=True)
class Permit(Result):
    """That a use is covered: by which DPIA, which content, since when, through which day (UTC), at which threshold.

    A permit is a reference, not a key: ``PolicyGate.require`` looks everything up again at each call.
    """

    dpia: int
    content_hash: str
    at: datetime
    review_by: date
    use: Use
    threshold: float | None = None


class PolicyGate:
    """Grants and refuses uses; both are in the audit log.

    Parameters
    ----------
    register : the DPIAs, and with them the accounts.
    policy : the policy file, with the thresholds that were changed.
    models : the models with a card; the bundled ones by default. A use of any other is refused.
    """

    def __init__(
        self,
        register: DpiaRegister,
        *,
        policy: PolicyFile,
        audit: AuditLog,
        clock: Clock,
        models: ModelRegistry | None = None,
    ) -> None:
        self._register, self._policy, self._audit, self._clock = register, policy, audit, clock
        self._models = models or ModelRegistry.bundled()

    def check(self, use: Use) -> Permit:
        """Return a permit for ``use``.

        Raises
        ------
        RefusedError : says which attribute differs, on which date the DPIA expired, or how to start one.
        """
        try:
            approval = self._covering(use, use.dpia)
            permit = Permit(
                approval.id, approval.content_hash, self._clock(), approval.review_by, use, _threshold(approval)
            )
            self._record("policy.granted", use, dpia=permit.dpia, content_hash=permit.content_hash)
        except _UNREADABLE as error:
            self._refuse(use, use.dpia, error)
        return permit

    def require(self, permit: Permit) -> None:
        """Check once more that ``permit`` still holds; to be called before each search or prediction.

        Raises
        ------
        RefusedError : expired, withdrawn, edited or altered since, or the account lost its role.
        """
        try:
            approval = self._covering(permit.use, permit.dpia)
            if (approval.content_hash, _threshold(approval)) != (permit.content_hash, permit.threshold):
                message = f"DPIA {permit.dpia} was changed and approved anew since the permit; check the run again"
                raise NotApprovedError(message, reason="changed")
        except _UNREADABLE as error:
            self._refuse(permit.use, permit.dpia, error)

    def still_valid(self, permit: Permit) -> bool:
        """Say whether ``require`` passes."""
        try:
            self.require(permit)
        except RefusedError:
            return False
        return True

    def foresee(self, use: Use, dpia: int) -> str:
        """Return why ``use`` would be refused under a DPIA now; empty if it would not.

        A question is no attempt: nothing is logged and no permit comes of it.
        """
        people = self._register.people
        try:
            if not may(people.get(use.actor), use.kind):
                return f"{use.actor} has no role that permits a {use.kind.replace('_', ' ')}"
            self._approval(use, dpia)
        except _UNREADABLE as error:
            return str(error)
        return ""

    def _covering(self, use: Use, dpia: int | None) -> Approval:
        """Return the approval that covers ``use``, or raise why there is none."""
        people = self._register.people
        people.require(people.get(use.actor), use.kind)
        if dpia is not None:
            return self._approval(use, dpia)
        refusals: list[NotApprovedError] = []
        for status in self._register.list():
            if status.kind == use.kind:
                try:
                    return self._approval(use, status.id)
                except NotApprovedError as error:
                    refusals.append(error)
        # the one that says most: fewest differing attributes, then any other reason
        nearest = min(refusals, key=lambda e: (not e.reason.startswith("differs"), e.reason.count("+")), default=None)
        detail = f"{nearest}; or " if nearest else ""
        message = (
            f"no approved DPIA covers this {use.kind}: {detail}start one: crimeface dpia new {use.kind} > dpia.yaml"
        )
        raise NotApprovedError(message, reason=nearest.reason if nearest else "none")

    def _approval(self, use: Use, dpia: int) -> Approval:
        approval = self._register.approval(dpia)
        changed = self._policy.in_force(use.model, use.model_version)  # raises where the policy file can't be relied on
        if differing := _differences(approval, use, changed):
            message = f"DPIA {dpia} does not cover this run: {'; '.join(differing.values())}"
            raise NotApprovedError(message, reason="differs:" + "+".join(differing))
        self._models.require(f"{BACKENDS[use.kind]}:{use.model}", version=use.model_version)
        return approval

    def _record(self, event: str, use: Use, **facts: str | int | None) -> None:
        what = {f.name: getattr(use, f.name) for f in fields(use) if f.name not in ("actor", "dpia", "threshold")}
        self._audit.record(event, actor=use.actor, at=self._clock(), **what, **facts)

    def _refuse(self, use: Use, dpia: int | None, error: Exception) -> NoReturn:
        reason = error.reason if isinstance(error, NotApprovedError) else type(error).__name__
        refusal = RefusedError(f"{use.kind} refused: {error}")
        try:
            self._record("policy.refused", use, dpia=dpia, reason=reason)
        except _UNREADABLE as unwritten:
            refusal.add_note(f"the refusal could not be written to the audit log: {unwritten}")
        raise refusal from error


def _threshold(approval: Approval) -> float | None:
    return approval.content.faces.threshold if approval.content.faces else None


def _differences(approval: Approval, use: Use, changed: ApprovedThreshold | None) -> dict[str, str]:
    """Return what of ``use`` the approval does not allow: attribute → got and approved."""
    scope, approved = approval.content.scope, _threshold(approval)
    named = [model for model in scope.models if model.name == use.model]
    allowed: dict[str, tuple[str, Sequence[str]]] = {
        "kind": (use.kind, [scope.kind]),
        "purpose": (use.purpose, [scope.purpose]),
        "dataset": (use.dataset, scope.datasets),
        "model": (use.model, [model.name for model in scope.models]),
        "model_version": (use.model_version, [model.version for model in named] or [use.model_version]),
    }
    if use.threshold is not None:
        allowed["threshold"] = (repr(use.threshold), [repr(approved)])
    if changed is not None and approved != changed.threshold:
        remedy = f"{changed.threshold!r} by change {changed.change}; edit the DPIA, naming it, and have it approved"
        allowed["threshold"] = (repr(approved), [remedy])
    return {
        name: f"{name}: got {got}, approved {', '.join(approved)}"
        for name, (got, approved) in allowed.items()
        if got not in approved
    }
