"""A run: the one place where gates, storage and science meet.

A notebook opens a run, takes its inputs in, asks for permits, saves figures and results, and finishes. What it
leaves in ``reports/<run id>/steps/<notebook>.json`` is all that the report and the manifest are made from.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass, field
from datetime import datetime
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from crimeface_lib.core.clock import to_iso, utc_now
from crimeface_lib.core.device import resolve_device
from crimeface_lib.core.errors import ConfigError, InputError, IntegrityError, NotFoundError, RefusedError
from crimeface_lib.core.files import write_atomic
from crimeface_lib.core.hashing import content_hash, sha256_file
from crimeface_lib.core.random import make_rng
from crimeface_lib.core.results import to_plain
from crimeface_lib.core.settings import Settings, load_settings
from crimeface_lib.workflow.config import RunConfig, input_fields
from crimeface_lib.workflow.gated import SERIES_MODEL, check_dataset, run_under_permit
from crimeface_lib.workflow.identity import identify
from crimeface_lib.workflow.origin import code_version, login_name
from crimeface_lib.workflow.passed_over import pass_over
from crimeface_lib.workflow.samples import cautions
from crimeface_lib.workflow.shown import DPI, NotShown, SavedFigure, SavedTable

if TYPE_CHECKING:
    import pandas as pd

    from crimeface_lib.workflow.store import CaseStore


@dataclass(slots=True)
class Run:
    """An open run. Everything a notebook saves goes through here, so that every number has a parent."""

    id: str
    folder: Path
    cfg: RunConfig
    store: CaseStore
    actor: str
    device: str
    started: datetime
    rng: np.random.Generator
    record: dict[str, Any] = field(repr=False)

    # -- inputs, models, permits ---------------------------------------------------------------------------
    def take_in(self, path: Path, *, role: str, evidence: bool = True, pattern: str = "*.csv") -> Path:
        """Hash an input and, where it is evidence, keep an encrypted write-once copy with a custody event.

        Parameters
        ----------
        role : what it is to this run: "photo", "probe", "crime".
        evidence : False for what needs a hash but no custody: public data, a file or a folder of CSVs; and a probe,
            of which ``search`` takes a copy once there is a candidate.
        pattern : which files of a folder count.
        """
        if path.is_dir() and not evidence:
            files = [file for file in sorted(path.rglob(pattern)) if file.is_file()]
            digests = {file.relative_to(path).as_posix(): sha256_file(file) for file in files}
            self._add("inputs", role=role, sha256=content_hash(digests).removeprefix("sha256:"), files=len(digests))
            return path
        if not path.is_file():
            raise InputError(f"{role}: got {path}, expected a file that exists")
        entry = {"role": role, "sha256": sha256_file(path), "bytes": path.stat().st_size, "type": path.suffix.lower()}
        if evidence:
            entry["evidence"] = self._keep(path, sha256=str(entry["sha256"]))
        self._add("inputs", **entry)
        return path

    def _keep(self, path: Path, *, sha256: str) -> str:
        """Take a photo into the evidence store and return its id there."""
        item = self.store.evidence.add(
            path.resolve(), actor=self.actor, purpose=self.cfg.purpose, kind="photo", case=self.cfg.case
        )
        if item.sha256 != sha256:
            raise IntegrityError("an input changed while it was used; run again")
        return item.id

    def used(self, *names: str) -> None:
        """Note models that numbers of this run depend on, by the name of their card.

        Raises
        ------
        RefusedError : a model without a card, or with a licence nobody has looked at.
        """
        for name in names:
            card = self.store.models.require(name)
            self._add(
                "models", model=card.name, version=card.version, source=card.source,
                licence=card.licence.code if card.licence.weights == "none" else card.licence.weights,
                use="research only" if card.research_only else "as licensed",
            )  # fmt: skip

    def permit(self, kind: str, *, dataset: str, model: str, version: str) -> Any:
        """Return the permit for a gated use, or raise RefusedError: there is no way on without it."""
        identify(self.store, self.actor, environ=os.environ)
        permit = self.store.permit(kind, self.cfg, dataset=dataset, model=model, version=version)
        self._add("permits", **to_plain(permit))
        return permit

    def approval(self, permit: Any) -> SavedTable:
        """Return who wrote, advised on and approved the DPIA behind a permit, from the audit log."""
        steps = [event for event in self.store.audit.events("dpia.") if event.facts["dpia"] == permit.dpia]
        rows = [
            {"time": f"{s.at:%Y-%m-%d %H:%M:%S}", "step": s.event.removeprefix("dpia."), "by": s.actor} for s in steps
        ]
        title = self.store.dpias.status(permit.dpia).title
        return SavedTable(f"DPIA {permit.dpia}: {title}. Holds until {permit.review_by}.", rows)

    def permit_search(self, embedder: Any) -> Any:
        """Return the permit to search this run's watchlist with an embedder."""
        dataset = self.cfg.watchlist  # type: ignore[attr-defined]
        return self.permit("face_search", dataset=dataset, model=embedder.name, version=embedder.version)

    def permit_places(self, events: Any) -> Any:
        """Return the permit to forecast places from ``events``."""
        from crimeface_lib.crime import MODEL_VERSION

        model = self.cfg.predict_places.model  # type: ignore[attr-defined]
        return self._permit_events("place_prediction", events, self.cfg.dataset, model, MODEL_VERSION)  # type: ignore[attr-defined]

    def permit_series(self, events: Any) -> Any:
        """Return the permit to forecast monthly counts of ``events``, by type or area; as for places."""
        return self._permit_events("place_prediction", events, self.cfg.dataset, *SERIES_MODEL)  # type: ignore[attr-defined]

    def permit_profile(self, events: Any, *, dataset: str, method: str = "bayes") -> Any:
        """Return the permit to profile a series with ``crime.geographic_profile``; as for places."""
        from crimeface_lib.crime import PROFILE_VERSION

        return self._permit_events("geographic_profile", events, dataset, method, PROFILE_VERSION)

    def _permit_events(self, kind: str, events: Any, dataset: str, model: str, version: str) -> Any:
        without = ", or leave the forecast out with predict=false" if kind == "place_prediction" else ""
        check_dataset(dataset, events, otherwise=without)
        return self.permit(kind, dataset=dataset, model=model, version=version)

    def use(self, permit: Any, function: Any, *arguments: Any, **options: Any) -> Any:
        """Return ``function(*arguments, **options)``, a search or a prediction, if ``permit`` still holds.

        Start and end of the use are in the audit log, with reference data, inputs and reviewers.
        """
        inputs = [entry["sha256"] for entry in self.record["inputs"]]
        reviewers = getattr(self.cfg, "reviewers", ())
        return run_under_permit(self.store, permit, function, *arguments, inputs=inputs, reviewers=reviewers, **options)

    def search(self, probe: Any, *, permit: Any) -> Any:
        """Return the candidates for a probe in this run's watchlist: those at the approved threshold, or the best.

        Candidates go to two reviewers, and the probe into the evidence store; a probe without a candidate is not kept.

        Raises
        ------
        RefusedError : a list by rank, which shows entries below the approved threshold.
        """
        cfg: Any = self.cfg
        by_rank = cfg.search.mode == "rank"
        if by_rank and permit.threshold > -1:
            raise RefusedError(
                f"search.mode: got rank, which lists entries below the approved threshold {permit.threshold:g}; search "
                "with mode=threshold, or have an assessment approved whose threshold is -1: every score"
            )
        watchlist = self.store.open_watchlist(cfg.watchlist)
        threshold = None if by_rank else permit.threshold
        options = {"threshold": threshold, "calibration": self.calibration(probe), **cfg.search.model_dump()}
        found = self.use(permit, watchlist.search, probe, **options)
        self.save("list", found)
        if not found.candidates:
            self.found("No entry reaches the approved threshold; of the probe nothing was kept.")
            return found
        for entry in self.record["inputs"]:
            if entry["role"] == "probe":
                entry["evidence"] = self._keep(cfg.probe, sha256=entry["sha256"])
        digest = content_hash(self.record["results"]["list"]).removeprefix("sha256:")
        review = self.store.reviews.ask(
            run=self.id, list_sha256=digest, candidates=[c.record for c in found.candidates],
            by=self.store.people.get(self.actor), reviewers=cfg.reviewers,
        )  # fmt: skip
        self._add("reviews", review=review.id, notebook=cfg.notebook, list_sha256=digest)
        return found

    def calibration(self, probe: Any) -> Any:
        """Return the calibration that the config names, else the one that comes with the library for this embedder."""
        from crimeface_lib.recognition import load_calibration

        own = self.cfg.calibration  # type: ignore[attr-defined]
        return load_calibration(own or probe.embedder)

    # -- outputs -------------------------------------------------------------------------------------------
    def figure(
        self, figure: Any, name: str, *, caption: str, why: str = "there was no candidate"
    ) -> SavedFigure | NotShown:
        """Save a matplotlib figure as ``figures/<notebook>_<name>.png`` and return what the notebook shows.

        None instead of a figure says that there is none in this run, and ``why``: no candidate, no picture.
        """
        if figure is None:
            self._add("not_shown", name=name, caption=caption, why=why)
            return NotShown(caption, why)
        buffer = BytesIO()
        figure.savefig(buffer, format="png", dpi=DPI, bbox_inches="tight")
        path, alt = f"figures/{self.cfg.notebook}_{name}.png", getattr(figure, "alt", "")
        write_atomic(self.folder / path, buffer.getvalue())
        self._add("figures", name=name, path=path, caption=caption, alt=alt)
        return SavedFigure(self._number(), path, caption, buffer.getvalue(), alt)

    def table(self, frame: Any, name: str, *, caption: str) -> SavedTable:
        """Keep a frame's rows as the result ``name`` and return what the notebook shows."""
        times = {name: frame[name].dt.strftime("%Y-%m-%d %H:%M:%S UTC") for name in frame.select_dtypes("datetimetz")}
        shown = SavedTable(caption, frame.assign(**times).to_dict(orient="records"))
        self.record["results"][name] = to_plain(shown.rows)
        return shown

    def save(self, name: str, result: Any) -> Any:
        """Keep a result as JSON for the report that draws on this notebook; return it, so a cell can end with it."""
        self.record["results"][name] = to_plain(result)
        return result

    def export(self, thing: Any, name: str) -> None:
        """Write ``thing.export`` to ``files/<name>``; what it wrote is listed and hashed when the run ends."""
        path = self.folder / "files" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        for written in thing.export(path):
            self._add("files", file=written.name, bytes=written.stat().st_size, sha256=sha256_file(written))

    def scratch(self, name: str) -> Path:
        """Return a folder for what is made on the way and must not stay: outside the run's folder, there again when
        the run is resumed, deleted when the notebook finishes."""
        path = self._scratch / name
        path.mkdir(parents=True, exist_ok=True)
        return path

    @property
    def _scratch(self) -> Path:
        return self.store.settings.stores / "scratch" / self.id / self.cfg.notebook

    def found(self, *sentences: str) -> None:
        """Add to what the report's first block says was found."""
        self._add_lines("found", sentences)

    def cannot_say(self, *sentences: str) -> None:
        """Add to what the report's first block says it can't say."""
        self._add_lines("cannot_say", sentences)

    # -- other notebooks of the same run -------------------------------------------------------------------
    def step(self, notebook: str) -> dict[str, Any]:
        """Return what another notebook of the same run left."""
        path = self.folder / "steps" / f"{notebook}.json"
        if not path.is_file():
            raise NotFoundError(
                f"run {self.id} has no finished {notebook}.ipynb; run both: crimeface run {self.cfg.notebook}"
            )
        found: dict[str, Any] = json.loads(path.read_bytes())
        return found

    def draw_on(self, *notebooks: str) -> None:
        """Take over inputs, models and permits of other notebooks of this run: their numbers are shown here."""
        for notebook in notebooks:
            step = self.step(notebook)
            for kind in ("inputs", "models", "permits", "reviews"):
                for entry in step[kind]:
                    self._add(kind, **entry)

    def figure_of(self, notebook: str, name: str) -> SavedFigure | NotShown:
        """Return a figure of another notebook of this run, to show it again."""
        for item in self.step(notebook)["not_shown"]:
            if item["name"] == name:
                return NotShown(item["caption"], item.get("why", "there was no candidate"))
        for item in self.step(notebook)["figures"]:
            if item["name"] == name:
                png = (self.folder / item["path"]).read_bytes()
                return SavedFigure(self._number(), item["path"], item["caption"], png, item.get("alt", ""))
        raise NotFoundError(f"{notebook}.ipynb left no figure {name!r}")

    def table_of(self, notebook: str, name: str, *, caption: str) -> SavedTable:
        """Return a table of another notebook of this run, to show it again."""
        return SavedTable(caption, self.step(notebook)["results"][name])

    def custody(self) -> pd.DataFrame:
        """Return the custody events of this run's evidence, in order: one row an event."""
        import pandas as pd

        ids = dict.fromkeys(entry["evidence"] for entry in self.record["inputs"] if "evidence" in entry)
        frames = [self.store.evidence.custody(id).to_frame() for id in ids]
        if not frames:
            return pd.DataFrame(columns=["time", "event", "actor", "purpose", "item"])
        events = pd.concat(frames).drop_duplicates("index").sort_values("index")
        return events.assign(time=events["time"].dt.floor("s"))

    def finish(self) -> None:
        """Write what this notebook did; without it the step counts as unfinished.

        A run opened by hand, in JupyterLab say, is closed here: its manifest is signed and it is listed. One that
        ``crimeface run`` started is closed there, with its report.
        """
        self.record["finished"] = to_iso(utc_now())
        self.record["seconds"] = round((utc_now() - self.started).total_seconds(), 1)
        shutil.rmtree(self._scratch, ignore_errors=True)
        data = json.dumps(self.record, ensure_ascii=False, indent=1, allow_nan=False).encode()
        write_atomic(self.folder / "steps" / f"{self.cfg.notebook}.json", data)
        self.store.audit.record(
            "step.finished", actor=self.actor, at=utc_now(), run=self.id, step=self.cfg.notebook,
            inputs=[entry["sha256"] for entry in self.record["inputs"]],
            permits=[entry["content_hash"] for entry in self.record["permits"]],
        )  # fmt: skip
        if self.cfg.run is None:
            from crimeface_lib.workflow.publish import publish

            publish(self)

    def _number(self) -> int:
        self.record["shown"] += 1
        return int(self.record["shown"])

    def _add_lines(self, kind: str, sentences: tuple[str, ...]) -> None:
        self.record[kind] += [text for text in dict.fromkeys(sentences) if text not in self.record[kind]]

    def _add(self, kind: str, **entry: Any) -> None:
        if entry not in self.record[kind]:
            self.record[kind].append(entry)


def open_run(cfg: RunConfig, *, settings: Settings | None = None) -> Run:
    """Open a run for a notebook: its folder, its store, its random numbers; the start is logged.

    A notebook that papermill executes gets the folder of the whole run in ``cfg.run``; one opened by hand in
    JupyterLab gets a new folder.
    """
    from crimeface_lib.workflow.retention import apply_on_open
    from crimeface_lib.workflow.store import CaseStore

    settings = settings or load_settings()
    started = utc_now()
    folder = cfg.run or new_run_folder(cfg.notebook, at=started, settings=settings)
    if not folder.is_dir():
        raise ConfigError(f"run: got {folder}, expected the folder of a run; leave it empty to start a new one")
    store = CaseStore.of(cfg, settings=settings)
    actor = cfg.actor or login_name(os.environ)
    if actor != login_name(os.environ):
        identify(store, actor, environ=os.environ)
    apply_on_open(store, actor=actor)
    cfg = cfg.model_copy(update={"actor": actor})
    pass_over(cfg.without())
    store.require_cards(cfg)
    device = resolve_device(cfg.device if cfg.device != "auto" else settings.device)
    parameters = to_plain(cfg.model_dump(mode="json", exclude={"run", "store"}))
    record: dict[str, Any] = {
        "notebook": cfg.notebook,
        "title": cfg.title,
        "question": cfg.question,
        "started": to_iso(started),
        "actor": actor,
        "purpose": cfg.purpose,
        "case": cfg.case,
        "method_validation": cfg.method_validation,
        "parameters": {k: f"(input {k})" if k in input_fields(cfg) else v for k, v in parameters.items()},
        "config_hash": content_hash(parameters),
        "seed": cfg.seed,
        "device": device,
        "code": code_version(settings.project_root),
        "cannot_say": cautions(cfg, settings=settings),
        "results": {},
        "shown": 0,
        **{kind: [] for kind in ("found", "inputs", "models", "permits", "reviews", "figures", "not_shown", "files")},
    }
    store.audit.record(
        "step.started", actor=actor, at=started, run=folder.name, step=cfg.notebook, config=record["config_hash"]
    )
    rng = make_rng(cfg.seed, stream=cfg.notebook)
    return Run(folder.name, folder, cfg, store, actor, device, started, rng, record)


def new_run_folder(notebook: str, *, at: datetime, settings: Settings) -> Path:
    """Make and return ``reports/<UTC time>-<notebook>``; a second run in the same second gets a number."""
    stem = f"{at:%Y%m%d-%H%M%S}-{notebook.replace('_', '-')}"
    for suffix in ("", *(f"-{n}" for n in range(2, 100))):
        folder = settings.reports / f"{stem}{suffix}"
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        return folder
    raise InputError(f"got 99 runs of {notebook} in one second, expected fewer; wait a moment")
