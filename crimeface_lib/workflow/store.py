"""The store of a team: keys, people, approvals, audit log, evidence, watchlists, in one folder."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crimeface_lib.core.clock import Clock, utc_now
from crimeface_lib.core.errors import InputError, IntegrityError, NotFoundError, RefusedError
from crimeface_lib.core.settings import Settings, load_settings
from crimeface_lib.evidence import EvidenceStore
from crimeface_lib.evidence.custody import account_of
from crimeface_lib.governance import (
    AuditLog,
    BiasRegister,
    ChangeRegister,
    Disposer,
    DpiaRegister,
    ModelCard,
    ModelRegistry,
    People,
    Permit,
    PolicyFile,
    PolicyGate,
    ReviewBook,
    Use,
)
from crimeface_lib.storage import KeyRing, Ledger
from crimeface_lib.storage.locking import file_lock, held
from crimeface_lib.workflow import backing
from crimeface_lib.workflow.config import RunConfig
from crimeface_lib.workflow.reference_photos import drop_photos, photos_only_of


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
    models: ModelRegistry
    bias: BiasRegister
    disposer: Disposer
    evidence: EvidenceStore
    clock: Clock
    settings: Settings

    @classmethod
    def open(cls, folder: str | Path, *, settings: Settings | None = None, clock: Clock = utc_now) -> CaseStore:
        """Open a store, making an empty one where there is none. An empty store approves nothing."""
        settings = settings or load_settings()
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        keys = KeyRing.open(folder / "keys.json", unlock=backing.unlock_by(settings))
        documents = backing.open_records(folder / "governance.json", part="governance", keys=keys, settings=settings)
        audit = AuditLog(Ledger.open(folder / "audit.ledger", signing_key=keys.signing_key))
        people = People.open(documents, audit=audit, clock=clock, key=keys.derive("access-token", rotates=True))
        dpias = DpiaRegister.open(documents, audit=audit, clock=clock, people=people)
        policy = PolicyFile.open(folder / "policy.json", changes=dpias.changes, audit=audit, clock=clock)
        models = ModelRegistry.open(folder / "models")
        gate = PolicyGate(dpias, policy=policy, audit=audit, clock=clock, models=models)
        bias = BiasRegister.open(documents, audit=audit, clock=clock, dpias=dpias)
        disposer = Disposer.open(documents, audit=audit, clock=clock, people=people)
        review_key = backing.content_key(folder, "reviews", keys=keys)
        reviews = ReviewBook.open(documents, audit=audit, clock=clock, people=people, key=review_key)
        vault = folder / "evidence"
        items = backing.open_records(vault / "records.json", part="evidence", keys=keys, settings=settings)
        evidence = EvidenceStore.open(
            vault, keys=keys, clock=clock, documents=items, person_of=lambda account: _person(people, account),
            legal_holds=lambda id, case: disposer.holds_on(f"evidence:{id}", case=case),
        )  # fmt: skip
        return cls(
            folder, keys, audit, people, dpias, dpias.changes, policy, gate, reviews, models, bias, disposer, evidence,
            clock,
            settings,
        )  # fmt: skip

    @classmethod
    def of(cls, cfg: RunConfig, *, settings: Settings) -> CaseStore:
        """Open the store that a run works on: the one its config names, else this machine's."""
        return cls.open(cfg.store or settings.default_store, settings=settings)

    def permit(self, kind: Any, cfg: RunConfig, *, dataset: str, model: str, version: str) -> Permit:
        """Return the gate's permit for a use that a run of ``cfg`` makes, or raise RefusedError.

        What follows "+" in ``version`` says how the weights are run; it is the weights that an assessment names.
        """
        weights = version.partition("+")[0]
        use = Use(
            kind=kind, purpose=cfg.purpose, dataset=dataset, model=model, model_version=weights, actor=cfg.actor,
            dpia=getattr(cfg, "dpia", None),
        )  # fmt: skip
        return self.gate.check(use)

    def require_cards(self, cfg: RunConfig) -> None:
        """Check that each model which ``cfg`` names has a card, before anything of it is loaded.

        Raises
        ------
        RefusedError : one has none; the refusal is in the audit log.
        """
        named = [("embedders", "embed", "embedder"), ("detectors", "embed", "detector")]
        named += [("morphable_models", "reconstruct", "model")]
        named += [("place_models", "predict_places", "model")] if getattr(cfg, "predict", False) else []
        named += [("profile_models", "geographic_profile", "method")] if getattr(cfg, "series", None) else []
        for kind, section, field in named:
            name = getattr(getattr(cfg, section, None), field, "auto")
            try:
                _ = name == "auto" or self.require_model(kind, name)
            except RefusedError:
                model = "onnx" if name.endswith((".yaml", ".yml")) else name  # the log takes no path
                self.audit.record("model.refused", actor=cfg.actor, at=self.clock(), backend=kind, model=model)
                raise

    def require_model(self, kind: str, name: str) -> ModelCard:
        """Return the model card of a backend; of a net in an ONNX file, ``name`` is the path of its own card.

        Raises
        ------
        RefusedError : there is none, or the two cards of a net differ. IntegrityError : in the file's SHA-256.
        """
        if kind != "embedders" or not name.endswith((".yaml", ".yml")):
            return self.models.require(f"{kind}:{name}")
        from crimeface_lib.recognition import read_card

        own = read_card(name)
        card = self.models.require(f"embedders:{own.name}", weights={own.file: own.sha256})
        if card.licence.weights != own.licence:
            raise RefusedError(
                f"{own.name}: the licence is {own.licence!r} on the net's card and {card.licence.weights!r} on its "
                "model card; find out which it is"
            )
        return card

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
        first = self.keys.derive(f"watchlist:{name}") if (path / "entries.json").exists() else None  # before rotations
        key = backing.content_key(self.folder, f"watchlists/{name}", keys=self.keys, first=first)
        records = backing.open_records(
            path / "entries.json", part=f"watchlist.{name}", keys=self.keys, settings=self.settings
        )
        if new := backing.next_key(self.folder, f"watchlists/{name}", keys=self.keys):  # a renewal was interrupted
            with suppress(IntegrityError):  # before it sealed anything
                Watchlist.open(path, key=new, clock=self.clock, documents=records, purge=False)
                backing.adopt_next_key(self.folder, f"watchlists/{name}", keys=self.keys, key=new)
                key = new
        watchlist = Watchlist.open(path, key=key, clock=self.clock, documents=records, purge=False)
        if ended := watchlist.expired():
            ids = {record: f"watchlist:{name}:{record}" for record in ended}
            held = {record for record, id in ids.items() if self.disposer.holds_on(id, case=None)}
            photos = photos_only_of(watchlist, set(ids) - held)
            watchlist.purge(held=held)
            self.disposer.note([id for record, id in ids.items() if record not in held], category="watchlist")
            drop_photos(self, photos, watchlist=name)
        return watchlist

    def renew_watchlist(self, name: str, *, actor: str) -> int:
        """Seal every entry of a watchlist under a new key and forget the old one; return how many there are.

        Unlike ``rotate_keys`` it seals the contents anew: for when the list's own key may be in other hands. Where it
        was interrupted, the list opens by the key that it is sealed under.
        """
        part = f"watchlists/{name}"
        with held(file_lock(self.folder / "rotation")):
            watchlist = self.open_watchlist(name)
            new = backing.next_key(self.folder, part, keys=self.keys, create=True)
            assert new is not None
            count = int(watchlist.renew(key=new))
            backing.adopt_next_key(self.folder, part, keys=self.keys, key=new)
        self.audit.record("watchlist.renewed", actor=actor, at=self.clock(), watchlist=name, entries=count)
        return count

    def rotate_keys(self, *, actor: str, progress: Callable[[int, int], object] | None = None) -> int:
        """Rotate the keys, or finish a rotation that was interrupted; return how many keys were rewrapped."""
        count = backing.rotate_keys(self.folder, keys=self.keys, progress=progress)
        self.audit.record("keys.rotated", actor=actor, at=self.clock(), active=self.keys.active, rewrapped=count)
        return count


def _person(people: People, account: str) -> str:
    """Return the person behind an account; for one that is not known here, a run of a demo say, the account itself."""
    try:
        return people.get(account).person
    except NotFoundError:
        return account_of(account)
