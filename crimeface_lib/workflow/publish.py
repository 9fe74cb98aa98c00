"""From executed notebooks to what a reviewer opens: HTML, PDF, a signed manifest, the list of runs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from crimeface_lib.core.clock import to_iso, utc_now
from crimeface_lib.core.errors import MissingBackendError
from crimeface_lib.core.hashing import sha256_bytes, sha256_file
from crimeface_lib.core.settings import Settings, load_settings
from crimeface_lib.reporting import (
    CRATE,
    Cover,
    format_count,
    html_to_pdf,
    publish_index,
    publish_notebook,
    write_crate,
)
from crimeface_lib.workflow.config import CONFIGS, RunConfig, input_fields
from crimeface_lib.workflow.notices import tell_of_reviews, tell_of_run
from crimeface_lib.workflow.origin import code_version
from crimeface_lib.workflow.seal import list_outputs, sign_manifest, write_heads, write_manifest
from crimeface_lib.workflow.store import CaseStore

_DRAFT = (
    "It is for the two people who decide on its candidate list, each for themselves, and not to be passed on. "
    "They decide with: crimeface review decide {review}. Then crimeface review issue {run} writes the report with "
    "both decisions."
)


class Opened(Protocol):
    """What can be published: a ``Run`` opened by hand, or a ``Job`` of the command line."""

    @property
    def folder(self) -> Path: ...
    @property
    def cfg(self) -> RunConfig: ...
    @property
    def started(self) -> datetime: ...


def publish(run: Opened, *, status: str = "done", reason: str = "", settings: Settings | None = None) -> Path:
    """Write the reports, the signed manifest and the list of runs; return the manifest's path.

    Parameters
    ----------
    status : done, failed, refused or interrupted; ``reason`` says why for the last three.

    A run that failed is published too, as far as it got, with the error first. Where no browser is found the
    reports come without PDF, and a note in the manifest says so.
    """
    settings = settings or load_settings()
    folder, cfg = run.folder, run.cfg
    steps = {path.stem: json.loads(path.read_bytes()) for path in sorted((folder / "steps").glob("*.json"))}
    pages = [
        _publish_page(run, name, steps.get(name), status=status, reason=reason)
        for name in CONFIGS
        if _executed(folder, name).is_file() or (name == cfg.notebook and status != "done")
    ]
    store = CaseStore.of(cfg, settings=settings)
    notes = [*_print_pages(pages, settings), *tell_of_run(store, folder.name, steps), *tell_of_reviews(store)]
    manifest: dict[str, Any] = {
        "id": folder.name,
        "notebook": cfg.notebook,
        "title": cfg.title,
        "question": cfg.question,
        "status": status,
        "reason": _without_paths(reason, cfg),
        "started": to_iso(run.started),
        "finished": to_iso(utc_now()),
        "actor": cfg.actor,
        "purpose": cfg.purpose,
        "case": cfg.case,
        "method_validation": cfg.method_validation,
        "code": code_version(settings.project_root),
        "steps": [
            {key: step[key] for key in ("notebook", "seconds", "config_hash", "seed", "device")}
            for step in steps.values()
        ],
        "headline": " ".join(steps.get(cfg.notebook, {}).get("found", [])),
        "notes": notes,
        **{kind: _all(steps, kind) for kind in ("inputs", "models", "permits", "reviews")},
        "outputs": [_titled(item) for item in list_outputs(folder) if item["path"] != CRATE],
    }
    crate = write_crate(folder, manifest, list(steps.values()))
    manifest["outputs"] += [{"path": CRATE, "sha256": sha256_file(crate), "size": crate.stat().st_size}]
    data = write_manifest(folder, manifest)
    sign_manifest(folder, data, store.keys.signing_key)
    store.audit.record(f"run.{status}", actor=cfg.actor, at=utc_now(), run=folder.name, manifest=sha256_bytes(data))
    heads = {"audit": store.audit.ledger.checkpoint(at=utc_now()), "custody": store.evidence.checkpoint()}
    write_heads(folder, heads)
    publish_index(settings.reports)
    return folder / "run.json"


def provenance(step: dict[str, Any]) -> dict[str, Any]:
    """Return what a report prints about where a notebook's numbers come from."""
    code = step["code"]
    commit = (
        f"{code['commit'][:12]}{' with changes' if code['changed_since_commit'] else ''}"
        if code["commit"]
        else "unknown"
    )
    return {
        "run by": step["actor"],
        "purpose": step["purpose"],
        "case": step["case"] or "none",
        "inputs": [
            {key: format_count(value) if key == "bytes" else value for key, value in entry.items()}
            for entry in step["inputs"]
        ],
        "models": step["models"] or "none",
        "DPIA": [_permit_row(permit) for permit in step["permits"]] or "none needed: nothing was searched or forecast",
        "parameters": dict(_flat(step["parameters"])),
        "config hash": step["config_hash"],
        "seed": step["seed"],
        "device": step["device"],
        "code": {"commit": commit, "Python": code["python"], **code["packages"]},
    }


def _asked(cfg: RunConfig) -> dict[str, Any]:
    """Return what is known of a run that did not get to its end: what it was asked."""
    fields = cfg.model_dump(mode="json", exclude={"run", "store"})
    hidden = {name: f"(input {name})" for name in input_fields(cfg)}
    return {"run by": cfg.actor, "purpose": cfg.purpose, "parameters": dict(_flat(fields | hidden))}


def _flat(parameters: Mapping[str, Any], section: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each parameter by the name that ``-p`` knows it by."""
    for name, value in parameters.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{section}{name}.")
        else:
            yield f"{section}{name}", value


def _publish_page(run: Opened, name: str, step: dict[str, Any] | None, *, status: str, reason: str) -> Path:
    """Publish one executed notebook; one that left no step did not get to its end."""
    from nbformat.v4 import new_notebook

    stopped = status if status != "done" else "failed"
    cover = Cover(
        asked=step["question"] if step else run.cfg.question,
        found=step["found"] if step else "Nothing: the run stopped before this notebook was finished.",
        cannot_say=step["cannot_say"] if step else "Nothing can be concluded from a run that did not finish.",
        title=step["title"] if step else run.cfg.title,
        run_id=run.folder.name,
        status="done" if step else stopped,
        reason="" if step else _without_paths(reason, run.cfg),
        started=run.started,
        validation_id=run.cfg.method_validation,
    )
    parents = provenance(step) if step else _asked(run.cfg)
    if step and step["reviews"]:
        cover = replace(cover, draft=_DRAFT.format(run=run.folder.name, review=step["reviews"][0]["review"]))
    executed: Any = _executed(run.folder, name)
    if not executed.is_file():  # it ended before any notebook began: its page says why
        executed = new_notebook()
    return publish_notebook(executed, run.folder / f"{name}.html", cover=cover, provenance=parents)


def _print_pages(pages: list[Path], settings: Settings) -> list[str]:
    """Print every page as PDF with one browser; return a note instead where there is none."""
    if not pages:
        return []
    try:
        html_to_pdf(pages, [page.with_suffix(".pdf") for page in pages], chromium=settings.chromium)
    except MissingBackendError as error:
        return [f"no PDF: {error}"]
    return []


def _executed(folder: Path, name: str) -> Path:
    return folder / "notebooks" / f"{name}.ipynb"


def _all(steps: dict[str, Any], kind: str) -> list[Any]:
    """Return the entries of all steps, each once, in order."""
    found: list[Any] = []
    for step in steps.values():
        found += [entry for entry in step[kind] if entry not in found]
    return found


def _titled(item: dict[str, Any]) -> dict[str, Any]:
    """Give the outputs that the list of runs links to their names."""
    path = Path(item["path"])
    if path.name == "reconstruct_face.png":
        return {**item, "title": "thumbnail"}
    if path.parent == Path() and path.suffix in {".html", ".pdf"}:
        return {**item, "title": f"{path.stem.replace('_', ' ')}{' (PDF)' if path.suffix == '.pdf' else ''}"}
    return item


def _permit_row(permit: dict[str, Any]) -> dict[str, Any]:
    use = permit["use"]
    return {
        "DPIA": permit["dpia"],
        "allows": use["kind"].replace("_", " "),
        "dataset": use["dataset"],
        "model": f"{use['model']} {use['model_version'][:19]}",
        "review by": permit["review_by"],
        "content hash": permit["content_hash"],
    }


def _without_paths(text: str, cfg: RunConfig) -> str:
    """Return a message with the paths of inputs replaced by their role: a path can hold a name."""
    for name in input_fields(cfg):
        path = getattr(cfg, name)
        for form in sorted({str(path), str(path.resolve()), path.name}, key=len, reverse=True):
            text = text.replace(form, f"(input {name})")
        text = text.replace(f"{name} (input {name}): (input {name})", f"(input {name})")
    return text
