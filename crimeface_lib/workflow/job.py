"""A whole job: inputs checked, policy asked, notebooks run, report published; every ending is recorded."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

from crimeface_lib.core.clock import to_iso, utc_now
from crimeface_lib.core.errors import ConfigError, CrimefaceError, InputError, RefusedError
from crimeface_lib.core.files import write_atomic
from crimeface_lib.core.settings import Settings, load_settings
from crimeface_lib.workflow.checks import check_inputs, check_policy, sign_in
from crimeface_lib.workflow.config import CaseReportConfig, RunConfig, config_path, input_fields, load_config, merge
from crimeface_lib.workflow.execute import WORKERS, Progress, run_notebook, stop_kernels
from crimeface_lib.workflow.origin import login_name
from crimeface_lib.workflow.publish import publish
from crimeface_lib.workflow.run import new_run_folder
from crimeface_lib.workflow.seal import read_manifest, write_manifest

#: Fields that all notebooks of one job share.
_SHARED = ("purpose", "actor", "case", "store", "run", "seed", "device", "method_validation")
_SEPARATE = ("reconstruct", "recognise", "crime_overview")


@dataclass(frozen=True, slots=True)
class Job:
    """One run: its folder, its config, and the notebooks to execute, those of one stage side by side."""

    folder: Path
    cfg: RunConfig
    started: datetime
    stages: tuple[tuple[RunConfig, ...], ...]

    @property
    def steps(self) -> tuple[RunConfig, ...]:
        """Every notebook of the job."""
        return tuple(cfg for stage in self.stages for cfg in stage)


def run_job(
    name: str,
    overrides: Mapping[str, Any],
    *,
    config: str | Path | None = None,
    resume: str | None = None,
    progress: Progress | None = None,
    began: Callable[[Path], None] | None = None,
    settings: Settings | None = None,
) -> Path:
    """Run a notebook, with those it draws on, and publish the report; return the run's folder.

    Parameters
    ----------
    resume : id of an interrupted or failed run of the same notebook: its parameters and finished steps are kept.
    began : called with the run's folder, once it can be resumed.

    Raises
    ------
    CrimefaceError : after the failed, refused or interrupted run has been recorded and listed.
    """
    settings = settings or load_settings()
    if resume:
        if overrides or config:
            raise ConfigError("a resumed run keeps its parameters; leave out -p and --config, or start a new run")
        config = _resumable(name, resume, settings)
    cfg = load_config(config or config_path(name, settings=settings), overrides)
    if cfg.notebook != name:
        raise ConfigError(f"config {config} is for {cfg.notebook!r}, expected one for {name!r}")
    if cfg.run and not resume:
        raise ConfigError(f"run: got {cfg.run}, expected none: a new run makes its own folder; use --resume to go on")
    job = plan_job(cfg, settings=settings)
    _announce(job)
    stage_config(job.cfg, settings=settings)
    if began:
        began(job.folder)

    def close(status: str, reason: str = "") -> None:
        publish(job, status=status, reason=reason, settings=settings)

    try:
        check_inputs(job.steps)
        sign_in(job.cfg, settings=settings)
        check_policy(job.steps, settings=settings)
        left_out = tuple(tag for step in job.steps for tag in step.without())
        for stage in job.stages:
            _run_stage(stage, leave_out=left_out, progress=progress, settings=settings)
    except KeyboardInterrupt:
        close("interrupted", f"stopped by hand; go on with: crimeface run {name} --resume {job.folder.name}")
        raise
    except RefusedError as error:
        close("refused", str(error))
        raise
    except CrimefaceError as error:
        close("failed", str(error))
        raise
    except Exception as error:
        close("failed", f"{type(error).__name__}: {error}")
        raise
    close("done")
    return job.folder


def _announce(job: Job) -> None:
    """Write the record that stands if this process dies without a word: the run is listed, and can be resumed."""
    name, folder = job.cfg.notebook, job.folder
    reason = f"still running, or ended without a word; go on with: crimeface run {name} --resume {folder.name}"
    facts = {"id": folder.name, "notebook": name, "title": job.cfg.title, "started": to_iso(job.started)}
    write_manifest(folder, {**facts, "status": "interrupted", "reason": reason, "outputs": []})


def _resumable(name: str, run: str, settings: Settings) -> Path:
    """Return the config that a run to be resumed was started with."""
    manifest = read_manifest(settings.reports / Path(run).name)
    if manifest["notebook"] != name:
        raise InputError(f"run {run} is not one of {name!r}; expected a run of the same notebook")
    if manifest["status"] == "done":
        raise InputError(f"run {run} is done and signed; start a new run")
    staged = settings.stores / "runs" / Path(run).name / f"{name}.yaml"
    if not staged.is_file():
        raise InputError(f"run {run}: its parameters are not on this machine ({staged}); start a new run")
    return staged


def stage_config(cfg: RunConfig, *, settings: Settings) -> Path:
    """Write a config to a private file and return its path.

    papermill keeps every parameter it is given in the executed notebook, and the path of a photo can hold a name:
    notebooks get the path of this file instead.
    """
    staged = settings.stores / "runs" / _folder(cfg).name / f"{cfg.notebook}.yaml"
    write_atomic(staged, yaml.safe_dump(cfg.model_dump(mode="json")).encode(), mode=0o600)
    return staged


def plan_job(cfg: RunConfig, *, settings: Settings) -> Job:
    """Return what to execute: for ``case_report`` three notebooks side by side, then the page on top."""
    started = utc_now()
    folder = cfg.run or new_run_folder(cfg.notebook, at=started, settings=settings)
    actor = cfg.actor or login_name(os.environ)
    store = (cfg.store or settings.default_store).resolve()
    inputs = {name: getattr(cfg, name).resolve() for name in input_fields(cfg)}  # a run may be resumed from elsewhere
    cfg = cfg.model_copy(update={**inputs, "run": folder.resolve(), "store": store, "actor": actor})
    if not isinstance(cfg, CaseReportConfig):
        return Job(folder, cfg, started, ((cfg,),))
    shared = {key: getattr(cfg, key) for key in _SHARED}
    given: dict[str, dict[str, Any]] = {
        "reconstruct": {"photo": cfg.photo},
        "recognise": {"probe": cfg.probe or cfg.photo},
        "crime_overview": {"crime": cfg.crime, "groups": cfg.groups},
    }
    first = tuple(
        load_config(config_path(name, settings=settings), merge({**shared, **given[name]}, getattr(cfg, name)))
        for name in _SEPARATE
    )
    return Job(folder, cfg, started, (first, (cfg,)))


def _run_stage(
    stage: tuple[RunConfig, ...], *, leave_out: tuple[str, ...], progress: Progress | None, settings: Settings
) -> None:
    """Execute the notebooks of a stage side by side, two at most; the first error stops the others.

    Cells tagged with a word in ``leave_out`` are not run.
    """
    todo = [cfg for cfg in stage if not (_folder(cfg) / "steps" / f"{cfg.notebook}.json").is_file()]
    with ThreadPoolExecutor(max_workers=WORKERS) as pool:
        futures = [pool.submit(_run_step, cfg, leave_out, progress, settings) for cfg in todo]
        try:
            done, _ = wait(futures, return_when=FIRST_EXCEPTION)
            _raise_first(futures, done)
        except BaseException:
            for future in futures:
                future.cancel()
            stop_kernels()
            raise


def _raise_first(futures: list[Future[Path]], done: set[Future[Path]]) -> None:
    for future in futures:  # in the order of the report, not of the clock
        if future in done:
            future.result()


def _folder(cfg: RunConfig) -> Path:
    assert cfg.run is not None
    return cfg.run


def _run_step(cfg: RunConfig, leave_out: tuple[str, ...], progress: Progress | None, settings: Settings) -> Path:
    return run_notebook(
        cfg.notebook,
        parameters={"config": str(stage_config(cfg, settings=settings)), "overrides": {}},
        output=_folder(cfg) / "notebooks" / f"{cfg.notebook}.ipynb",
        leave_out=leave_out,
        progress=progress,
    )
