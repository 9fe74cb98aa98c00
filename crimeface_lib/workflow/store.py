"""The store of a team: keys, people, approvals, audit log, evidence, watchlists, in one folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crimeface_lib.core.clock import Clock, utc_now
from crimeface_lib.core.errors import InputError, NotFoundError
from crimeface_lib.core.settings import Settings, load_settings
from crimeface_lib.evidence import EvidenceStore
from crimeface_lib.governance import (
    AuditLog,
    ChangeRegister,
    DpiaRegister,
    People,
    Permit,
    PolicyFile,
    PolicyGate,
    ReviewBook,
    Use,
)
from crimeface_lib.storage import KeyRing, Ledger, TinyDocuments
from crimeface_lib.workflow.config import RunConfig


@dataclass(frozen=True, slots=True)
class CaseStore:
    """Everything that outlives a run. Use ``CaseStore.open``."""

    folder: Path
    keys: KeyRing
    audit: AuditLog
    people: People
    dpias: DpiaRegister
    changes: ChangeRegister
    policy: PolicyFile
    gate: PolicyGate
    reviews: ReviewBook
    evidence: EvidenceStore
    clock: Clock

    @classmethod
    def open(cls, folder: str | Path, *, settings: Settings | None = None, clock: Clock = utc_now) -> CaseStore:
        """Open a store, making an empty one where there is none. An empty store approves nothing."""
        settings = settings or load_settings()
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        passphrase = settings.passphrase.get_secret_value() if settings.passphrase else None
        keys = KeyRing.open(folder / "keys.json", passphrase=passphrase)
        documents = TinyDocuments.open(folder / "governance.json")
        audit = AuditLog(Ledger.open(folder / "audit.ledger", signing_key=keys.signing_key))
        people = People.open(documents, audit=audit, clock=clock, key=keys.derive("access-token"))
        dpias = DpiaRegister.open(documents, audit=audit, clock=clock, people=people)
        policy = PolicyFile.open(folder / "policy.json", changes=dpias.changes, audit=audit, clock=clock)
        gate = PolicyGate(dpias, policy=policy, audit=audit, clock=clock)
        reviews = ReviewBook.open(documents, audit=audit, clock=clock, people=people, key=keys.derive("review"))
        evidence = EvidenceStore.open(folder / "evidence", keys=keys, clock=clock)
        return cls(folder, keys, audit, people, dpias, dpias.changes, policy, gate, reviews, evidence, clock)

    @classmethod
    def of(cls, cfg: RunConfig, *, settings: Settings) -> CaseStore:
        """Open the store that a run works on: the one its config names, else this machine's."""
        return cls.open(cfg.store or settings.default_store, settings=settings)

    def permit(self, kind: Any, cfg: RunConfig, *, dataset: str, model: str, version: str) -> Permit:
        """Return the gate's permit for a use that a run of ``cfg`` makes, or raise RefusedError."""
        use = Use(
            kind=kind, purpose=cfg.purpose, dataset=dataset, model=model, model_version=version, actor=cfg.actor,
            dpia=getattr(cfg, "dpia", None),
        )  # fmt: skip
        return self.gate.check(use)

    def watchlist_path(self, name: str) -> Path:
        """Return where the watchlist called ``name`` lies."""
        if not name.replace("-", "").replace("_", "").isalnum():
            raise InputError(f"watchlist: got {name!r}, expected letters, digits, - and _ only")
        return self.folder / "watchlists" / name

    def open_watchlist(self, name: str, *, create: bool = False) -> Any:
        """Return a watchlist of this store, its templates unlocked by a key of its own."""
        from crimeface_lib.recognition import Watchlist

        path = self.watchlist_path(name)
        if not create and not path.exists():
            have = ", ".join(sorted(p.name for p in (self.folder / "watchlists").glob("*"))) or "none"
            raise NotFoundError(
                f"no watchlist {name!r} in the store; there are: {have}; see crimeface watchlist --help"
            )
        return Watchlist.open(path, key=self.keys.derive(f"watchlist:{name}"))
