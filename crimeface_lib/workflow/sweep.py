"""Sweeps: one notebook over a grid of parameters, in parallel, each point a run of its own with its own report.

Each point runs in a process of its own and keeps its state in a file of its own, so nothing that dies takes another
point with it: neither a kernel, nor the point's process, nor a Dask worker, nor the sweep itself.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock

from crimeface_lib.core.clock import utc_now
from crimeface_lib.core.errors import ConfigError, CrimefaceError, InputError, MissingBackendError
from crimeface_lib.core.files import write_atomic
from crimeface_lib.core.results import to_plain
from crimeface_lib.core.settings import Settings, load_settings
from crimeface_lib.workflow.config import config_path, input_fields, load_config
from crimeface_lib.workflow.execute import WORKERS
from crimeface_lib.workflow.job import run_job
from crimeface_lib.workflow.seal import read_manifest

#: More runs than anybody would read; a grid that makes more is a mistake.
MOST = 1000

#: The processes of points that run now, to be stopped with the sweep.
_RUNNING: set[subprocess.Popen[str]] = set()
_POINT = "import sys; from crimeface_lib.workflow.sweep import run_alone; run_alone(sys.argv[1], int(sys.argv[2]))"


@dataclass(slots=True)
class Point:
    """One run of a sweep: what it is asked, and how it went.

    ``status`` is waiting, done, failed, refused or interrupted; ``attempts`` is 2 where a
    kernel, or the process that ran the point, died once.
    """

    parameters: dict[str, Any]
    status: str = "waiting"
    run: str = ""
    reason: str = ""
    attempts: int = 0
    exit_code: int = 0


@dataclass(slots=True)
class Sweep:
    """A notebook, what all its runs share, and its points. Kept in a private file: parameters can hold paths."""

    id: str
    notebook: str
    shared: dict[str, Any]
    config: str | None
    points: list[Point] = field(default_factory=list)

    @property
    def done(self) -> list[Point]:
        return [point for point in self.points if point.status == "done"]


def plan_sweep(
    notebook: str,
    grid: Mapping[str, Sequence[Any]],
    shared: Mapping[str, Any],
    *,
    config: str | Path | None = None,
    settings: Settings | None = None,
) -> Sweep:
    """Return a sweep over every combination of the values in ``grid``, each checked before anything runs.

    Raises
    ------
    InputError : an empty grid, one of more than 1,000 points, or a parameter both in ``grid`` and ``shared``.
    ConfigError : a combination that the notebook's config does not allow; it is named.
    """
    settings = settings or load_settings()
    sizes = " × ".join(f"{name} ({len(values)})" for name, values in grid.items())
    combinations = list(itertools.islice(itertools.product(*grid.values()), MOST + 1))
    if not grid or not 0 < len(combinations) <= MOST:
        raise InputError(f"grid: got {sizes or 'nothing'}, expected 1 to {MOST:,} combinations of parameters")
    if both := sorted(set(grid) & set(shared)):
        raise InputError(f"{', '.join(both)}: given for the grid and for all runs, expected one of them")
    file = str(Path(config).resolve()) if config else None
    points = [Point(to_plain(dict(zip(grid, values, strict=True)))) for values in combinations]
    shared = dict(shared)
    for point in points:
        cfg = load_config(file or config_path(notebook, settings=settings), {**shared, **point.parameters})
        for given in (shared, point.parameters):  # a point may run, or be gone on with, from another folder
            given.update({n: str(getattr(cfg, n).resolve()) for n in input_fields(cfg) if n in given})
    id = f"{utc_now():%Y%m%d-%H%M%S}-sweep-{notebook.replace('_', '-')}"
    return Sweep(id, notebook, to_plain(shared), file, points)


def load_sweep(id: str, *, settings: Settings | None = None) -> Sweep:
    """Return a sweep that was begun on this machine.

    Raises
    ------
    InputError : there is none of that id.
    """
    settings = settings or load_settings()
    path = _path(id, settings)
    if not path.is_file():
        have = ", ".join(sorted(file.stem for file in path.parent.glob("*.json"))[-5:]) or "none"
        raise InputError(f"no sweep {id!r} in {path.parent} of this machine; the last ones: {have}")
    record = json.loads(path.read_bytes())
    points = [_point(id, place, settings) or Point(**point) for place, point in enumerate(record["points"])]
    return Sweep(**record | {"points": points})


def run_sweep(
    sweep: Sweep,
    *,
    workers: int = WORKERS,
    scheduler: str | None = None,
    progress: Callable[[Point], None] | None = None,
    settings: Settings | None = None,
) -> Sweep:
    """Run the points of a sweep that are not done; each ending is kept at once, so it can be gone on with.

    A point that fails does not stop the others. One whose kernel or process dies is tried once more.

    Parameters
    ----------
    workers : points side by side on this machine; each runs up to two kernels.
    scheduler : address of a Dask scheduler ("tcp://…") whose workers have this machine's folders and settings; instead
        of this machine. What runs there when the sweep is stopped runs to its end, and is found when it goes on.
    progress : called with each point that ended.

    Raises
    ------
    InputError : fewer than one worker. MissingBackendError : ``scheduler`` without Dask.
    """
    settings = settings or load_settings()
    if workers < 1:
        raise InputError(f"workers: got {workers}, expected 1 or more")
    write_atomic(_path(sweep.id, settings), json.dumps(asdict(sweep), indent=1).encode(), mode=0o600)
    todo = [place for place, point in enumerate(sweep.points) if point.status != "done"]
    with _submitting(workers, scheduler) as (submit, completed):
        waiting = {submit(run_apart, sweep.id, place): place for place in todo}
        for future in completed(list(waiting)):
            place = waiting[future]
            try:
                sweep.points[place] = future.result()
            except Exception as error:  # noqa: BLE001  # a Dask worker that died too often; the other points go on
                sweep.points[place] = _lost(sweep.id, place, f"{type(error).__name__}: {error}", settings)
            if progress:
                progress(sweep.points[place])
    return sweep


@contextmanager
def _submitting(workers: int, scheduler: str | None) -> Iterator[tuple[Callable[..., Any], Callable[..., Any]]]:
    """Give what submits a call, and what yields finished ones, of a local pool or a Dask cluster."""
    if scheduler is None:
        with ThreadPoolExecutor(workers) as pool:
            try:
                yield pool.submit, as_completed
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                for process in list(_RUNNING):  # each closes its run, then says which it was
                    process.send_signal(signal.SIGINT)
                raise
        return
    try:
        import distributed
    except ImportError as error:
        raise MissingBackendError(
            f"a scheduler needs Dask: {error}; pip install 'crimeface-lib[distributed]'"
        ) from error
    try:
        client = distributed.Client(scheduler, timeout=20)
    except OSError as error:
        raise InputError(
            f"scheduler: got {scheduler}, which does not answer; start one with: dask scheduler"
        ) from error
    with client:
        yield lambda *call: client.submit(*call, pure=False), distributed.as_completed


def run_apart(id: str, place: int) -> Point:
    """Run a point of a sweep in a process of its own; one that is killed is started once more."""
    settings = load_settings()
    for attempt in (1, 2):
        command = [sys.executable, "-c", _POINT, id, str(place)]
        with subprocess.Popen(  # in a session of its own, so that Ctrl-C reaches it once, and from here
            command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True
        ) as process:
            _RUNNING.add(process)
            _, said = process.communicate()
            _RUNNING.discard(process)
        if process.returncode == 0:
            point = load_sweep(id, settings=settings).points[place]
            point.attempts = max(point.attempts, attempt)
            break
        last = (said.strip().splitlines() or ["it said nothing"])[-1]
        point = _lost(id, place, f"its process ended with {process.returncode}: {last}", settings)
        point.attempts = attempt
        if process.returncode > 0:  # an error of its own: it would only happen again
            break
    _keep(id, place, point, settings)
    return point


def run_alone(id: str, place: int) -> None:
    """Run a point in a process made for it: it can be stopped, and stops by itself once who started it is gone."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a background shell may have it ignored
    threading.Thread(target=_stop_when_left, args=(os.getppid(),), daemon=True).start()
    run_here(id, place)


def run_here(id: str, place: int) -> None:
    """Run a point of a sweep in this process, once no other does, if it is not done then; its ending is kept."""
    settings = load_settings()
    lock = FileLock(_path(id, settings).with_suffix("") / f"{place}.lock")
    with contextlib.suppress(KeyboardInterrupt), lock:
        sweep = load_sweep(id, settings=settings)
        if (point := sweep.points[place]).status != "done":
            _run_point(sweep, point, began=lambda begun: _keep(id, place, begun, settings))
            _keep(id, place, point, settings)


def _stop_when_left(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os.kill(os.getpid(), signal.SIGINT)


def _run_point(sweep: Sweep, point: Point, *, began: Callable[[Point], None] = lambda point: None) -> Point:
    """Run a point, or go on with its run, and give it its ending; ``began`` is told once its run has a folder."""
    from nbclient.exceptions import DeadKernelError

    settings = load_settings()
    for point.attempts in (1, 2):
        try:
            _run_once(sweep, point, settings, began)
            point.status, point.reason, point.exit_code = "done", "", 0
        except DeadKernelError as error:
            point.status, point.reason, point.exit_code = "failed", f"the kernel died: {error}", 1
            continue
        except KeyboardInterrupt:
            point.status, point.reason, point.exit_code = "interrupted", "stopped by hand", 130
        except CrimefaceError as error:
            point.status = "refused" if error.exit_code == 3 else "failed"
            point.reason, point.exit_code = str(error), error.exit_code
        except Exception as error:  # noqa: BLE001  # kept with the point; the other points go on
            point.status, point.reason, point.exit_code = "failed", f"{type(error).__name__}: {error}", 1
        break
    return point


def _run_once(sweep: Sweep, point: Point, settings: Settings, began: Callable[[Point], None]) -> None:
    """Go on with the point's run where there is one, else start one."""

    def tell(folder: Path) -> None:
        point.run = folder.name
        began(point)

    folder = settings.reports / point.run
    if point.run and folder.is_dir():
        if read_manifest(folder)["status"] != "done":  # else it ended after whatever started it had gone
            run_job(sweep.notebook, {}, resume=point.run, settings=settings)
        return
    run_job(sweep.notebook, {**sweep.shared, **point.parameters}, config=sweep.config, began=tell, settings=settings)


def _path(id: str, settings: Settings) -> Path:
    if Path(id).name != id:
        raise ConfigError(f"sweep: got {id!r}, expected its id, no path")
    return settings.stores / "sweeps" / f"{id}.json"


def _point(id: str, place: int, settings: Settings) -> Point | None:
    """Return what a point has kept of itself, if it has begun."""
    with contextlib.suppress(FileNotFoundError):
        return Point(**json.loads((_path(id, settings).with_suffix("") / f"{place}.json").read_bytes()))
    return None


def _keep(id: str, place: int, point: Point, settings: Settings) -> None:
    path = _path(id, settings).with_suffix("") / f"{place}.json"
    write_atomic(path, json.dumps(asdict(point), indent=1).encode(), mode=0o600)


def _lost(id: str, place: int, reason: str, settings: Settings) -> Point:
    """Return a point whose process is gone, as failed."""
    point = load_sweep(id, settings=settings).points[place]
    point.status, point.reason, point.exit_code = "failed", reason, 1
    return point
