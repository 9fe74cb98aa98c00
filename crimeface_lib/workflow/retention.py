"""What a store and its runs keep, as the schedule in the store's ``retention.yaml`` sees it, and how each thing goes.

Categories: ``evidence.<kind>`` (the photo of a watchlist entry goes with the entry at the latest); ``watchlist`` (each
entry has a last day of its own besides); ``run.report``, the folder of a run that this store's key signed;
``run.parameters``, the file with the paths of a run's inputs.
"""

from __future__ import annotations

import json
import shutil
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from pathlib import Path

from crimeface_lib.core.clock import from_iso
from crimeface_lib.core.errors import NotFoundError
from crimeface_lib.core.hashing import sha256_bytes
from crimeface_lib.core.yamltext import read_yaml
from crimeface_lib.governance import Disposal, Item, RetentionPlan, RetentionSchedule
from crimeface_lib.reporting import publish_index
from crimeface_lib.storage.locking import file_lock, held
from crimeface_lib.workflow.reference_photos import KIND, PURPOSE, case_of, drop_photos, photo_of, photos_only_of
from crimeface_lib.workflow.seal import MANIFEST, SIGNATURE, read_manifest
from crimeface_lib.workflow.store import CaseStore

SCHEDULE = "retention.yaml"


def read_schedule(store: CaseStore) -> RetentionSchedule:
    """Return the store's schedule.

    Raises
    ------
    NotFoundError : there is none. InputError : it says something else.
    """
    path = store.folder / SCHEDULE
    if not path.is_file():
        raise NotFoundError(
            f"no retention schedule at {path}; copy configs/retention.yaml there and write your own periods into it"
        )
    return RetentionSchedule.from_yaml(path.read_text(encoding="utf-8"))


def plan_retention(store: CaseStore, *, actor: str) -> RetentionPlan:
    """Return what would go now and why, and what a hold keeps; nothing is deleted, and the look is logged."""
    schedule, at = read_schedule(store), store.clock()
    items = list(kept_items(store, actor=actor))
    due = set(schedule.due(items, at).to_delete)  # the evidence store is asked for holds on these only: it reads all
    return schedule.due([_with_own_holds(store, item) if item.id in due else item for item in items], at)


def apply_retention(store: CaseStore, *, actor: str) -> Disposal:
    """Erase what is due; the schedule's hash is in the audit log, with each erasure and each refusal."""
    with held(file_lock(store.folder / "retention")):  # several notebooks may open the store at once
        plan = plan_retention(store, actor=actor)
        digest = sha256_bytes((store.folder / SCHEDULE).read_bytes())
        store.audit.record("retention.applied", actor=actor, at=plan.at, schedule=digest, due=len(plan.to_delete))
        done = store.disposer.dispose(
            plan,
            erase={
                "evidence": lambda id: store.evidence.delete(_name(id), actor=actor, purpose=PURPOSE),
                "watchlist": lambda id: _remove_entry(store, id),
                "run.report": lambda id: shutil.rmtree(store.settings.reports / _name(id)),
                "run.parameters": lambda id: shutil.rmtree(_staged(store) / _name(id)),
            },
            actor=actor,
        )
    if any(id.startswith("report:") for id in done.erased):
        publish_index(store.settings.reports)
    return done


def apply_on_open(store: CaseStore, *, actor: str) -> None:
    """Apply the schedule if there is one and it says so."""
    if (store.folder / SCHEDULE).is_file() and read_schedule(store).on_open:
        apply_retention(store, actor=actor)


def kept_items(store: CaseStore, *, actor: str) -> Iterator[Item]:
    """Yield everything that a schedule is asked about, with the legal holds on it."""

    def item(id: str, category: str, since: datetime, *, case: str | None = None, **more: datetime) -> Item:
        return Item(id, category, since, store.disposer.holds_on(id, case=case), case, **more)

    entries: dict[tuple[str | None, str], list[Item]] = defaultdict(list)  # by list and photo
    for folder in sorted((store.folder / "watchlists").glob("*")):
        for entry in store.open_watchlist(folder.name).entries():
            ends = datetime.combine(entry.expires + timedelta(days=1), time(), UTC)
            made = item(f"watchlist:{folder.name}:{entry.record}", "watchlist", from_iso(entry.added_at), expires=ends)
            entries[case_of(folder.name), photo_of(entry)].append(made)
    for kept in store.evidence.list(actor=actor, purpose="review of retention periods"):
        made = item(f"evidence:{kept.id}", f"evidence.{kept.kind}", kept.added, case=kept.case)
        yield _with_entries(made, entries[kept.case, kept.sha256]) if kept.kind == KIND else made
    for several in entries.values():
        yield from several
    cases: dict[str, str | None] = {}
    for folder in sorted(path.parent for path in store.settings.reports.glob(f"*/{MANIFEST}")):
        if _signed_here(store, folder):
            manifest = read_manifest(folder)
            cases[folder.name] = manifest.get("case")
            yield item(f"report:{folder.name}", "run.report", from_iso(manifest["finished"]), case=manifest.get("case"))
    for folder in sorted(path for path in _staged(store).glob("*") if path.is_dir()):
        configs = [read_yaml(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.yaml"))]
        if any(str(config.get("store")) == str(store.folder.resolve()) for config in configs):
            since = datetime.fromtimestamp(folder.stat().st_mtime, UTC)
            case = next((config["case"] for config in configs if config.get("case")), cases.get(folder.name))
            yield item(f"parameters:{folder.name}", "run.parameters", since, case=case)


def _with_entries(photo: Item, entries: list[Item]) -> Item:
    """Return a reference photo with the term and the holds of the entries made from it; without any it is due."""
    ends = [entry.expires for entry in entries if entry.expires is not None]
    return replace(
        photo, expires=max(ends, default=photo.since), holds=(*photo.holds, *(h for e in entries for h in e.holds))
    )


def _with_own_holds(store: CaseStore, item: Item) -> Item:
    """Return an item of evidence with the holds that the evidence store knows of."""
    own = store.evidence.holders(_name(item.id)) if item.id.startswith("evidence:") else ()
    return replace(item, holds=(*item.holds, *(f"held by {holder}" for holder in own)))


def _signed_here(store: CaseStore, folder: Path) -> bool:
    """Whether this store's key signed a run: other stores put theirs into the same folder."""
    try:
        seal = json.loads((folder / SIGNATURE).read_bytes())
    except (OSError, ValueError):
        return False
    return bool(seal.get("key") == store.keys.signing_key.public_key().public_bytes_raw().hex())


def _remove_entry(store: CaseStore, id: str) -> None:
    _, name, record = id.split(":")
    watchlist = store.open_watchlist(name)
    photos = photos_only_of(watchlist, {record})
    watchlist.remove(record)
    drop_photos(store, photos, watchlist=name)


def _staged(store: CaseStore) -> Path:
    return store.settings.stores / "runs"


def _name(id: str) -> str:
    """Return what stands after the first colon, a name of one thing in one folder."""
    return Path(id.partition(":")[2]).name
