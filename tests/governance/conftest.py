"""A small organisation on disk: accounts, a register, a gate, and a clock that only tests move."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from crimeface_lib.governance import (
    AuditLog,
    Dpia,
    DpiaRegister,
    People,
    PolicyFile,
    PolicyGate,
    ReviewBook,
    Use,
    User,
    template,
)
from crimeface_lib.storage import Ledger, TinyDocuments


class Clock:
    """Stands still until told otherwise."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 10, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def pass_days(self, days: float) -> None:
        self.now += timedelta(days=days)


class Office:
    """Everything a gated run needs; ``alias`` is a second account of the author."""

    admin = User("admin-1", frozenset({"admin"}))
    author = User("author-1", frozenset({"researcher"}), "p-author")
    other = User("other-1", frozenset({"researcher"}), "p-other")
    alias = User("author-2", frozenset({"approver"}), "p-author")
    dpo = User("dpo-1", frozenset({"approver"}), "p-dpo")
    reviewer = User("reviewer-1", frozenset({"reviewer"}))
    second = User("reviewer-2", frozenset({"reviewer"}))
    stakeholder = User("stakeholder-1", frozenset({"stakeholder"}))

    review_by = date(2026, 6, 30)
    model = template("face_search").scope.models[0]
    use = Use("face_search", "method-evaluation", "synthetic-faces", model.name, model.version, "other-1")

    def __init__(self, folder: Path) -> None:
        self.folder, self.clock = folder, Clock()
        self.records = folder / "records.json"
        self.store = TinyDocuments.open(self.records)
        self.audit = AuditLog(Ledger.open(folder / "audit.jsonl", signing_key=Ed25519PrivateKey.generate()))
        self.people = People.open(self.store, audit=self.audit, clock=self.clock, key=b"k" * 32, cost=2**4, attempts=3)
        self.register = DpiaRegister.open(self.store, audit=self.audit, clock=self.clock)
        self.changes = self.register.changes
        self.policy = PolicyFile.open(folder / "policy.json", changes=self.changes, audit=self.audit, clock=self.clock)
        self.gate = PolicyGate(self.register, policy=self.policy, audit=self.audit, clock=self.clock)
        self.reviews = ReviewBook.open(
            self.store, audit=self.audit, clock=self.clock, people=self.people, key=b"r" * 32
        )
        self.people.add(self.admin)
        for user in (self.author, self.other, self.alias, self.dpo, self.reviewer, self.second, self.stakeholder):
            self.people.add(user, by=self.admin)

    def submitted(self, content: Dpia | None = None) -> int:
        dpia = self.register.draft(content or template("face_search"), author=self.author)
        self.register.submit(dpia, author=self.author)
        return dpia

    def approved(self, content: Dpia | None = None) -> int:
        dpia = self.submitted(content)
        self.register.advise(dpia, "Go ahead on synthetic data.", favourable=True, adviser=self.dpo)
        self.register.approve(dpia, approver=self.dpo, review_by=self.review_by)
        return dpia

    def reasons(self, event: str) -> list[str]:
        return [e.facts["reason"] for e in self.audit.events(event)]


@pytest.fixture
def make_office() -> Callable[[Path], Office]:
    return Office


@pytest.fixture
def office(tmp_path: Path) -> Office:
    return Office(tmp_path)


@pytest.fixture
def high_risk() -> Dpia:
    """A DPIA with a risk that nothing was done about."""
    content = template("face_search").to_dict()
    content["risks"] = [{"risk": "A wrong candidate.", "likelihood": "probable", "severity": "severe"}]
    return Dpia.from_dict(content)
