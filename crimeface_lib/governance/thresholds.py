"""The policy file: which thresholds were changed, by which approval; an edit by hand is refused.

The first threshold of a model is approved with the DPIA that names it. Whoever changes it later shows the
differentials between groups before and after, and another person approves the change: only then is it written here,
and the DPIAs that name the old one permit nothing until they are edited and approved again.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crimeface_lib.core.clock import Clock
from crimeface_lib.core.errors import InputError, NotFoundError
from crimeface_lib.core.files import write_atomic
from crimeface_lib.core.hashing import canonical_json, content_hash, sha256_bytes
from crimeface_lib.core.results import Result, to_plain
from crimeface_lib.governance.access import User
from crimeface_lib.governance.audit import AuditLog, LatestEvents
from crimeface_lib.governance.bias import BiasReport
from crimeface_lib.governance.changes import ChangeRegister
from crimeface_lib.governance.dpia_record import NotApprovedError

SCHEMA = 1


@dataclass(frozen=True, slots=True)
class ApprovedThreshold(Result):
    """A changed threshold and the change that approved it."""

    model: str
    version: str
    threshold: float
    change: int


class PolicyFile:
    """The policy file of a store; use ``PolicyFile.open``."""

    def __init__(self, path: Path, *, changes: ChangeRegister, audit: AuditLog, clock: Clock) -> None:
        self.path, self._changes, self._audit, self._clock = path, changes, audit, clock
        self._written = LatestEvents(audit, "thresholds.written")

    @classmethod
    def open(cls, path: str | Path, *, changes: ChangeRegister, audit: AuditLog, clock: Clock) -> PolicyFile:
        """Return the policy file at ``path``; a new store, whose audit log is empty, gets its first one."""
        policy = cls(Path(path), changes=changes, audit=audit, clock=clock)
        if len(audit.ledger) == 0:
            policy._write((), actor="store")
        return policy

    def thresholds(self) -> tuple[ApprovedThreshold, ...]:
        """Return the changed thresholds.

        Raises
        ------
        NotApprovedError : the file is missing, unreadable, of a newer schema, not what the audit log says was
            written, or names a change that was not approved.
        """
        try:
            data = self.path.read_bytes()
        except OSError as error:
            raise self._refusal("policy_missing", f"can't be read ({type(error).__name__})") from error
        written = self._written.of()
        if written is None or written.facts["sha256"] != sha256_bytes(data):
            raise self._refusal("policy_altered", "is not what the audit log says was written")
        try:
            content = json.loads(data)
            if content["schema"] != SCHEMA:
                raise self._refusal("policy_schema", f"has schema {content['schema']}, expected {SCHEMA}")
            found = tuple(ApprovedThreshold(**entry) for entry in content["thresholds"])
        except (ValueError, TypeError, KeyError) as error:
            raise self._refusal("policy_unreadable", "is no policy") from error
        for one in found:
            approved = self._changes.require(one.change, "threshold").content
            if (one.model, one.version, one.threshold) != (approved["model"], approved["version"], approved["after"]):
                raise self._refusal("policy_altered", f"differs from change {one.change}")
        return found

    def in_force(self, model: str, version: str) -> ApprovedThreshold | None:
        """Return the changed threshold of a model and version; None where the DPIA's first one stands."""
        return next((t for t in self.thresholds() if (t.model, t.version) == (model, version)), None)

    def ask(
        self,
        threshold: float,
        *,
        model: str,
        version: str,
        before: BiasReport,
        after: BiasReport,
        reason: str,
        by: User,
    ) -> int:
        """Ask for another threshold, showing what it does to the groups; return the change's number.

        Parameters
        ----------
        before, after : differentials of the same groups at the old and at the new threshold.

        Raises
        ------
        InputError : a report without differentials, at another threshold, or of other groups. RefusedError : the
            account may not ask.
        """
        old = self.in_force(model, version)
        if not math.isfinite(threshold) or after.threshold != threshold:
            raise InputError(f"after: got differentials at {after.threshold:g}, expected at {threshold:g}")
        if old is not None and before.threshold != old.threshold:
            raise InputError(f"before: got differentials at {before.threshold:g}, expected at {old.threshold:g}")
        if before.threshold == after.threshold:
            raise InputError(f"threshold: got {threshold:g} before and after, expected a change")
        groups = [{name: d.groups for name, d in report.differentials.items()} for report in (before, after)]
        if not groups[0] or groups[0] != groups[1]:
            raise InputError(f"differentials: got groups {groups[0]} before and {groups[1]} after, expected the same")
        content = {
            "model": model, "version": version, "before": before.threshold, "after": threshold,
            "differentials_before": _shown(before), "differentials_after": _shown(after),
        }  # fmt: skip
        return self._changes.ask("threshold", content, reason=reason, by=by)

    def apply(self, change: int, *, by: User) -> ApprovedThreshold:
        """Put an approved change in force."""
        content = self._changes.require(change, "threshold", by=by).content
        new = ApprovedThreshold(content["model"], content["version"], content["after"], change)
        kept = [t for t in self.thresholds() if (t.model, t.version) != (new.model, new.version)]
        if any(t.change > change for t in self.thresholds() if t not in kept):
            raise InputError(f"change {change}: a later one is in force; ask for it anew")
        self._write((*kept, new), actor=by.id)
        return new

    def restore(self, *, by: User) -> tuple[ApprovedThreshold, ...]:
        """Write a lost or altered file anew from the approved changes; an admin does."""
        by = self._changes.people.require(by, "manage_people")
        last: dict[tuple[str, str], ApprovedThreshold] = {}
        for change in self._changes.list(kind="threshold"):
            if change.state == "approved":
                content = self._changes.require(change.id, "threshold", by=by).content
                key = (content["model"], content["version"])
                last[key] = ApprovedThreshold(*key, content["after"], change.id)
        self._write(tuple(last.values()), actor=by.id)
        return self.thresholds()

    def _write(self, thresholds: tuple[ApprovedThreshold, ...], *, actor: str) -> None:
        data = canonical_json({"schema": SCHEMA, "thresholds": [t.to_dict() for t in thresholds]})
        # logged first: a file that the log doesn't know permits nothing
        self._audit.record(
            "thresholds.written", actor=actor, at=self._clock(), sha256=sha256_bytes(data),
            changes=[t.change for t in thresholds],
        )  # fmt: skip
        write_atomic(self.path, data, mode=0o600)

    def _refusal(self, reason: str, what: str) -> NotApprovedError:
        message = f"the policy file {self.path.name} {what}; an admin restores it: crimeface policy restore --as ADMIN"
        return NotApprovedError(message, reason=reason)


def read_report(path: str | Path) -> BiasReport:
    """Return a bias report from a JSON file that holds ``BiasReport.to_dict()``.

    Raises
    ------
    NotFoundError : no such file. InputError : not a bias report.
    """
    try:
        return BiasReport.from_dict(json.loads(Path(path).read_bytes()))
    except FileNotFoundError as error:
        raise NotFoundError(f"no bias report at {path}; audit_bias(...).to_dict() makes one") from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise InputError(f"{path} is no bias report ({type(error).__name__}: {error})") from error


def _shown(report: BiasReport) -> dict[str, Any]:
    """Return what is kept of a report: its hash, and the measures that an approver reads."""
    whole = to_plain(report.to_dict())
    kept = {name: whole[name] for name in ("threshold", "minimum", "level", "differentials", "intervals", "withheld")}
    return {"report": content_hash(whole), **kept}
