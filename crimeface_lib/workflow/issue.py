"""A report that may be passed on: the executed notebook with two reviewers' decisions in its sign-off."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from crimeface_lib.core.errors import InputError, IntegrityError
from crimeface_lib.core.files import write_atomic
from crimeface_lib.core.hashing import content_hash, sha256_file
from crimeface_lib.core.settings import Settings, load_settings
from crimeface_lib.governance import Review, User
from crimeface_lib.reporting import Cover, html_to_pdf, publish_notebook
from crimeface_lib.workflow.publish import provenance
from crimeface_lib.workflow.seal import read_manifest, verify_run
from crimeface_lib.workflow.store import CaseStore


def issue_report(
    run: str, out: Path, *, store: CaseStore, by: User, notebook: str | None = None, settings: Settings | None = None
) -> Path:
    """Write the report of a run with a candidate list, once two people have decided on the list.

    The run itself stays as it was signed: its own pages remain drafts.

    Parameters
    ----------
    out : ends in ``.html`` or ``.pdf``. notebook : which page of the run; its main one by default.

    Raises
    ------
    RefusedError : fewer than two people have decided, or on another list. IntegrityError : the run was changed.
    InputError : the run has no candidate list, or did not finish.
    """
    settings = settings or load_settings()
    folder = settings.reports / Path(run).name
    manifest = read_manifest(folder)
    name = notebook or str(manifest["notebook"])
    verify_run(folder, key=store.keys.verify_key)
    step = read_step(folder, name)
    if out.suffix.lower() not in (".html", ".pdf"):
        raise InputError(f"out: got {out.name!r}, expected a name that ends in .html or .pdf")
    if manifest["status"] != "done" or not step.get("reviews"):
        raise InputError(f"{name} of run {folder.name} has no candidate list; its own page is the report")
    reviews = [_decided(folder, entry, store=store, by=by) for entry in step["reviews"]]
    cover = Cover(
        asked=step["question"], found=[*step["found"], *(review.outcome for review in reviews)],
        cannot_say=step["cannot_say"], title=step["title"], run_id=folder.name, started=manifest["started"],
        validation_id=manifest["method_validation"],
        decisions=[
            {**one.to_dict(), "decision": one.decision.replace("_", " ")} for r in reviews for one in r.decisions
        ],
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as place:
        page = Path(place, "report.html")
        publish_notebook(folder / "notebooks" / f"{name}.ipynb", page, cover=cover, provenance=provenance(step))
        if out.suffix.lower() == ".pdf":
            html_to_pdf(page, page.with_suffix(".pdf"), chromium=settings.chromium)
            page = page.with_suffix(".pdf")
        # written down first: what the log doesn't know was not issued
        store.audit.record(
            "report.issued", actor=by.id, at=store.clock(), run=folder.name, step=name, sha256=sha256_file(page),
            reviews=[review.id for review in reviews],
        )  # fmt: skip
        write_atomic(out, page.read_bytes())
    return out


def _decided(folder: Path, entry: dict[str, Any], *, store: CaseStore, by: User) -> Review:
    """Return the decided review of a list that is still what was decided on."""
    require_list(read_step(folder, entry["notebook"]), entry["list_sha256"], run=folder.name)
    return store.reviews.require_decided(run=folder.name, list_sha256=entry["list_sha256"], by=by)


def require_list(step: dict[str, Any], list_sha256: str, *, run: str) -> None:
    """Check that a notebook's candidate list is the one that the reviewers were asked about.

    Raises
    ------
    IntegrityError : it is another one.
    """
    if content_hash(step["results"]["list"]).removeprefix("sha256:") != list_sha256:
        raise IntegrityError(f"run {run}: its candidate list is not the one that was handed to the reviewers")


def read_step(folder: Path, notebook: str) -> dict[str, Any]:
    """Return what a notebook of a run left.

    Raises
    ------
    InputError : it has no such notebook, or that did not finish.
    """
    try:
        step: dict[str, Any] = json.loads((folder / "steps" / f"{notebook}.json").read_bytes())
    except FileNotFoundError as error:
        raise InputError(f"run {folder.name} has no finished {notebook}; expected one of its notebooks") from error
    return step
