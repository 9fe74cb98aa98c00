"""Roles × transitions at random, against the rules written down a second time."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from crimeface_lib.core.errors import RefusedError
from crimeface_lib.governance import template

ACCOUNTS = ("admin-1", "author-1", "other-1", "author-2", "dpo-1", "reviewer-1", "stakeholder-1")
PERSONS = {"author-1": "p-author", "author-2": "p-author", "other-1": "p-other", "dpo-1": "p-dpo"}
ROLES = {
    "admin-1": {"admin"},
    "author-1": {"researcher"},
    "other-1": {"researcher"},
    "author-2": {"approver"},
    "dpo-1": {"approver"},
    "reviewer-1": {"reviewer"},
    "stakeholder-1": {"stakeholder"},
}
# everybody tries everything, those who might succeed or nearly so more often
writing = st.sampled_from(["author-1"] * 4 + ["other-1"] * 3 + [*ACCOUNTS])
approving = st.sampled_from(["dpo-1"] * 5 + ["author-2"] * 3 + [*ACCOUNTS])
rarely = st.sampled_from([False, False, False, True])
managing = st.sampled_from(["admin-1"] * 6 + [*ACCOUNTS])


@dataclass
class Expected:
    """What the rules say of one DPIA."""

    stage: str = "draft"
    high: bool = False
    writers: set[str] = field(default_factory=set)
    advice: bool | None = None
    last_day: date | None = None


class Register(RuleBasedStateMachine):
    """Each rule does a step as anybody; the model says whether it is allowed."""

    def __init__(self, make_office, high_risk) -> None:
        super().__init__()
        self.folder = Path(mkdtemp())
        self.office = make_office(self.folder)
        self.contents = {False: template("face_search"), True: high_risk}
        self.roles = {account: set(roles) for account, roles in ROLES.items()}
        self.dpias: dict[int, Expected] = {}

    def teardown(self) -> None:
        rmtree(self.folder)

    def person(self, account: str) -> str:
        return PERSONS.get(account, account)

    def pick(self, data: st.DataObject) -> tuple[int, Expected]:
        dpia = data.draw(st.sampled_from(sorted(self.dpias)))
        return dpia, self.dpias[dpia]

    def sole_admin(self, account: str) -> bool:
        return {self.person(a) for a, roles in self.roles.items() if "admin" in roles} == {self.person(account)}

    def state(self, expected: Expected) -> str:
        if expected.stage != "approved":
            return expected.stage
        left = (expected.last_day - self.office.clock().date()).days
        return "expired" if left < 0 else "review_due" if left <= 30 else "approved"

    def attempt(self, allowed: bool, step, *args, **kwargs):
        """Do the step if it is allowed; otherwise see that it is refused, logged and changes nothing."""
        if allowed:
            return step(*args, **kwargs)
        before, refused = self.office.register.list(), len(self.office.audit.events("access.refused"))
        with pytest.raises(RefusedError):
            step(*args, **kwargs)
        assert self.office.register.list() == before
        assert len(self.office.audit.events("access.refused")) == refused + 1
        return None

    @precondition(lambda self: len(self.dpias) < 2)
    @rule(account=writing, high=rarely)
    def draft(self, account: str, high: bool) -> None:
        allowed = "researcher" in self.roles[account]
        user = self.office.people.get(account)
        dpia = self.attempt(allowed, self.office.register.draft, self.contents[high], author=user)
        if allowed:
            self.dpias[dpia] = Expected(high=high, writers={self.person(account)})

    @precondition(lambda self: self.dpias)
    @rule(data=st.data(), account=writing, high=rarely)
    def edit(self, data, account: str, high: bool) -> None:
        dpia, expected = self.pick(data)
        allowed = "researcher" in self.roles[account] and expected.stage != "withdrawn"
        self.attempt(
            allowed, self.office.register.edit, dpia, self.contents[high], author=self.office.people.get(account)
        )
        if allowed:
            self.dpias[dpia] = Expected(high=high, writers=expected.writers | {self.person(account)})

    @precondition(lambda self: self.dpias)
    @rule(data=st.data(), account=writing)
    def submit(self, data, account: str) -> None:
        self.submit_as(account, self.pick(data)[0])

    def submit_as(self, account: str, dpia: int) -> None:
        expected = self.dpias[dpia]
        allowed = "researcher" in self.roles[account] and expected.stage == "draft"
        self.attempt(allowed, self.office.register.submit, dpia, author=self.office.people.get(account))
        if allowed:
            expected.stage = "submitted"

    @precondition(lambda self: self.dpias)
    @rule(data=st.data(), account=approving, favourable=st.sampled_from([True, True, False]))
    def advise(self, data, account: str, favourable: bool) -> None:
        self.advise_as(account, self.pick(data)[0], favourable)

    def advise_as(self, account: str, dpia: int, favourable: bool) -> None:
        expected = self.dpias[dpia]
        independent = self.person(account) not in expected.writers
        allowed = "approver" in self.roles[account] and expected.stage == "submitted" and independent
        user = self.office.people.get(account)
        self.attempt(allowed, self.office.register.advise, dpia, "Advice.", favourable=favourable, adviser=user)
        if allowed:
            expected.advice = favourable

    @precondition(lambda self: self.dpias)
    @rule(data=st.data(), account=approving, days=st.integers(1, 60), overruled=st.sampled_from(["", "", "Reasons."]))
    def approve(self, data, account: str, days: int, overruled: str) -> None:
        self.approve_as(account, self.pick(data)[0], days, overruled)

    def approve_as(self, account: str, dpia: int, days: int, overruled: str) -> None:
        expected = self.dpias[dpia]
        allowed = (
            "approver" in self.roles[account]
            and expected.stage == "submitted"
            and self.person(account) not in expected.writers
            and not self.sole_admin(account)
            and expected.advice is (not overruled)
            and not expected.high
        )
        last_day, user = self.office.clock().date() + timedelta(days=days), self.office.people.get(account)
        self.attempt(
            allowed, self.office.register.approve, dpia, approver=user, review_by=last_day, overruled=overruled
        )
        if allowed:
            expected.stage, expected.last_day = "approved", last_day

    @precondition(lambda self: self.dpias)
    @rule(data=st.data(), account=approving)
    def reject(self, data, account: str) -> None:
        dpia, expected = self.pick(data)
        allowed = "approver" in self.roles[account] and expected.stage == "submitted"
        self.attempt(allowed, self.office.register.reject, dpia, "Why.", approver=self.office.people.get(account))
        if allowed:
            expected.stage = "rejected"

    @precondition(lambda self: self.dpias)
    @rule(data=st.data(), account=approving)
    def withdraw(self, data, account: str) -> None:
        dpia, expected = self.pick(data)
        allowed = bool(self.roles[account] & {"researcher", "approver"}) and self.state(expected) in (
            "approved",
            "review_due",
        )
        self.attempt(allowed, self.office.register.withdraw, dpia, "Why.", user=self.office.people.get(account))
        if allowed:
            expected.stage = "withdrawn"

    @initialize(steps=st.integers(0, 3))
    def one_is_under_way(self, steps: int) -> None:
        self.draft("author-1", False)
        if steps > 0:
            self.submit_as("author-1", 1)
        if steps > 1:
            self.advise_as("dpo-1", 1, True)
        if steps > 2:
            self.approve_as("dpo-1", 1, 40, "")

    @rule(
        account=st.sampled_from(["author-1", "dpo-1", "other-1", "admin-1"]),
        roles=st.sampled_from([{"researcher"}, {"approver"}, {"researcher", "approver"}, {"approver", "admin"}, set()]),
        by=managing,
    )
    def switch_roles(self, account: str, roles: set[str], by: str) -> None:
        allowed = "admin" in self.roles[by] and self.person(by) != self.person(account)
        self.attempt(allowed, self.office.people.set_roles, account, roles, by=self.office.people.get(by))
        if allowed:
            self.roles[account] = set(roles)

    @rule(days=st.integers(1, 25))
    def time_passes(self, days: int) -> None:
        self.office.clock.pass_days(days)

    @invariant()
    def a_permit_needs_an_approval_that_holds(self) -> None:
        runner = next((a for a, roles in self.roles.items() if "researcher" in roles), None)
        for dpia, expected in self.dpias.items():
            state = self.state(expected)
            assert self.office.register.status(dpia).state == state
            use = replace(self.office.use, dpia=dpia, actor=runner or "other-1")
            if runner and state in ("approved", "review_due"):
                assert self.office.gate.check(use).dpia == dpia
            else:
                with pytest.raises(RefusedError):
                    self.office.gate.check(use)


def test_no_sequence_of_steps_gets_round_the_rules(make_office, high_risk, monkeypatch):
    monkeypatch.setattr("os.fsync", lambda handle: None)  # thousands of steps; power cuts are storage's tests
    run_state_machine_as_test(
        lambda: Register(make_office, high_risk),
        settings=settings(max_examples=15, stateful_step_count=30, deadline=None, database=None),
    )
