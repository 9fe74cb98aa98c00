"""The demonstration: inputs that we may show to anyone, and a store in which every approval is a visible sample.

The photo is scikit-image's public-domain portrait of the astronaut Eileen Collins; the probe is a degraded crop of
it; the watchlist is drawn from a distribution, the crimes happen in a town that does not exist. The store is its
own folder, so nothing approved here approves anything elsewhere.
"""

from __future__ import annotations

import os
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from crimeface_lib.core.clock import utc_now
from crimeface_lib.core.hashing import sha256_file
from crimeface_lib.core.random import make_rng
from crimeface_lib.core.settings import Settings, load_settings
from crimeface_lib.governance import Dpia, User, template
from crimeface_lib.workflow.identity import TOKEN
from crimeface_lib.workflow.reference_photos import keep_photo
from crimeface_lib.workflow.samples import SEED, make_samples
from crimeface_lib.workflow.store import CaseStore

WATCHLIST, CRIMES, PURPOSE = "sample-watchlist", "synthetic-crimes", "demonstration"
SUBJECT = "sample-astronaut"
_ENTRIES = 500

#: Accounts of the demonstration: one writes, one advises, one approves, two review; the first account keeps the others.
PEOPLE = (
    User("demo-admin", frozenset({"admin"})),
    User("demo-researcher", frozenset({"researcher"})),
    User("demo-dpo", frozenset({"approver"})),
    User("demo-approver", frozenset({"approver"})),
    User("demo-reviewer-1", frozenset({"reviewer"})),
    User("demo-reviewer-2", frozenset({"reviewer"})),
    User("demo-stakeholder", frozenset({"stakeholder"})),
)


def prepare_demo(*, settings: Settings | None = None) -> tuple[dict[str, Any], list[str]]:
    """Make what the demonstration needs, keeping what an earlier one made; return (overrides, what was done)."""
    settings = settings or load_settings()
    folder = settings.stores / "demo"
    store = CaseStore.open(folder / "store", settings=settings)
    make_samples(folder / "inputs")
    told = ["input      public-domain portrait as photo, a degraded crop of it as probe, synthetic crimes"]
    told += [*_people(store), *_approvals(store), *_watchlist(store, folder / "inputs")]
    # whoever runs a demonstration may act as its researcher: the token is for this process and its kernels
    os.environ[TOKEN] = store.people.issue_token(store.people.get("demo-researcher"))
    overrides = {
        "title": "Demonstration case",
        "photo": folder / "inputs" / "photo.png",
        "probe": folder / "inputs" / "probe.jpg",
        "crime": folder / "inputs" / "crimes.zip",
        "groups": folder / "inputs" / "areas.csv",
        "store": folder / "store",
        "actor": "demo-researcher",
        "purpose": PURPOSE,
        "case": "DEMO-1",
        "recognise.watchlist": WATCHLIST,
        "crime_overview.dataset": CRIMES,
    }
    return overrides, told


def _people(store: CaseStore) -> list[str]:
    known = {user.id for user in store.people.list()}
    for user in PEOPLE:
        if user.id not in known:
            store.people.add(user, by=None if user.id == "demo-admin" else PEOPLE[0])
    if not store.policy.path.exists():  # a store from before there was one
        store.policy.restore(by=PEOPLE[0])
    return ["accounts   " + ", ".join(f"{u.id} ({', '.join(sorted(u.roles))})" for u in PEOPLE[1:])]


def _approvals(store: CaseStore) -> list[str]:
    """Draft, submit, advise on and approve one DPIA for each gated use, unless one stands."""
    from crimeface_lib.recognition import load_embedder

    author, dpo, approver = PEOPLE[1:4]
    embedder = load_embedder("dlib", device="cpu")
    wanted = (
        _dpia("face_search", WATCHLIST, [(embedder.name, embedder.version)]),
        _dpia("place_prediction", CRIMES, [("decayed_counts", "1")]),
    )
    told = []
    standing = {(s.content_hash, s.state): s for s in store.dpias.list()}
    for content in wanted:
        found = standing.get((content.content_hash, "approved"))
        if found is None:
            number = store.dpias.draft(content, author=author)
            store.dpias.submit(number, author=author)
            store.dpias.advise(number, "Sample data only; nobody is affected.", favourable=True, adviser=dpo)
            store.dpias.approve(number, approver=approver, review_by=utc_now().date() + timedelta(days=180))
            found = store.dpias.status(number)
        told.append(
            f"DPIA {found.id}     {content.scope.kind.replace('_', ' ')}: written by {author.id}, "
            f"advised on by {dpo.id}, approved by {approver.id} until {found.review_by}"
        )
    return told


def _dpia(kind: Any, dataset: str, models: list[tuple[str, str]]) -> Dpia:
    """Return the packaged sample DPIA with the scope of this demonstration."""
    content = template(kind).to_dict()
    names = [{"name": name, "version": version} for name, version in models]
    content["title"] = f"Demonstration: {kind.replace('_', ' ')} on sample data"
    content["scope"] = {"kind": kind, "purpose": PURPOSE, "datasets": [dataset], "models": names}
    if content.get("faces"):
        content["faces"] |= {"algorithm": names[0]["name"], "version": names[0]["version"]}
    return Dpia.from_dict(content)


def _watchlist(store: CaseStore, inputs: Path) -> list[str]:
    """Enrol the synthetic entries and the one sample portrait, whose photo is kept, once."""
    from crimeface_lib.faces import load_image
    from crimeface_lib.recognition import embed_images, load_embedder
    from crimeface_lib.synthetic import synthetic_watchlist

    with_entries = store.open_watchlist(WATCHLIST, create=True)
    if len(with_entries) == 0:
        embedder = load_embedder("dlib", device="cpu")
        facts = {
            "rationale": "to show how a search works",
            "category": "sample",
            "added_by": "demo-researcher",
            "expires": date.today() + timedelta(days=365),
        }
        made = synthetic_watchlist(_ENTRIES, embedder=embedder, rng=make_rng(SEED, stream="watchlist"))
        with_entries.enrol_many(made, source="synthetic", **facts)
        portrait = inputs / "photo.png"
        photo, digest = embed_images([load_image(portrait)], device="cpu"), sha256_file(portrait)
        source = "public-domain portrait (NASA)"
        with_entries.enrol(photo, subject=SUBJECT, source=source, photo=digest, **facts)
        keep_photo(store.evidence, portrait, watchlist=WATCHLIST, sha256=digest, actor="demo-researcher")
    return [f"watchlist  {len(with_entries)} entries: {_ENTRIES} synthetic, 1 public-domain portrait"]
