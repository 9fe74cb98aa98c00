"""Sweeps: one notebook over a grid of parameters, in parallel, each point a run of its own with its own report."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from crimeface_lib.core.clock import utc_now
from crimeface_lib.core.errors import ConfigError, CrimefaceError, InputError, MissingBackendError
from crimeface_lib.core.files import write_atomic
from crimeface_lib.core.results import to_plain
from crimeface_lib.core.settings import Settings, load_settings
from crimeface_lib.workflow.config import config_path, load_config
from crimeface_lib.workflow.execute import WORKERS
from crimeface_lib.workflow.job import run_job

#: More runs than anybody would read; a grid that makes more is a mistake.
MOST = 1000


@dataclass(slots=True)
class Point:
    """One run of a sweep: what it is asked, and how it went.

    ``status`` is waiting, done, failed, refused or interrupted; ``attempts`` is 2 where a kernel died once.
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
    for point in points:
        load_config(file or config_path(notebook, settings=settings), {**shared, **point.parameters})
    id = f"{utc_now():%Y%m%d-%H%M%S}-sweep-{notebook.replace('_', '-')}"
    return Sweep(id, notebook, to_plain(dict(shared)), file, points)


def load_sweep(id: str, *, settings: Settings | None = None) -> Sweep:
    """Return a sweep that was begun on this machine.

    Raises
    ------
    InputError : there is none of that id.
    """
    path = _path(id, settings or load_settings())
    if not path.is_file():
        have = ", ".join(sorted(file.stem for file in path.parent.glob("*.json"))[-5:]) or "none"
        raise InputError(f"no sweep {id!r} on this machine; the last ones: {have}")
    record = json.loads(path.read_bytes())
    return Sweep(**record | {"points": [Point(**point) for point in record["points"]]})


def run_sweep(
    sweep: Sweep,
    *,
    workers: int = WORKERS,
    scheduler: str | None = None,
    progress: Callable[[Point], None] | None = None,
    settings: Settings | None = None,
) -> Sweep:
    """Run the points of a sweep that are not done; each ending is kept at once, so it can be gone on with.

    A point that fails does not stop the others. One whose kernel dies is tried once more.

    Parameters
    ----------
    workers : processes side by side on this machine; each runs up to two kernels.
    scheduler : address of a Dask scheduler ("tcp://…") whose workers share this machine's folders; instead of a pool.
    progress : called with each point that ended.

    Raises
    ------
    InputError : fewer than one worker. MissingBackendError : ``scheduler`` without Dask.
    """
    settings = settings or load_settings()
    if workers < 1:
        raise InputError(f"workers: got {workers}, expected 1 or more")
    _keep(sweep, settings)
    todo = [place for place, point in enumerate(sweep.points) if point.status != "done"]
    with _submitting(workers, scheduler) as (submit, completed):
        waiting = {submit(_run_point, sweep, sweep.points[place]): place for place in todo}
        try:
            for future in completed(list(waiting)):
                sweep.points[waiting[future]] = point = future.result()
                _keep(sweep, settings)
                if progress:
                    progress(point)
        except BaseException:
            for future in waiting:
                future.cancel()
            raise
        finally:  # those that Ctrl-C stopped have still said which run they were
            for future, place in waiting.items():
                if future.done() and not future.cancelled() and _ended(future):
                    sweep.points[place] = future.result()
            _keep(sweep, settings)
    return sweep


def _ended(future: Any) -> bool:
    return future.exception() is None


@contextmanager
def _submitting(workers: int, scheduler: str | None) -> Iterator[tuple[Callable[..., Any], Callable[..., Any]]]:
    """Give what submits a call, and what yields finished ones, of a local pool or a Dask cluster."""
    if scheduler is None:
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            try:
                yield pool.submit, as_completed
            except BaseException:
                pool.shutdown(wait=True, cancel_futures=True)
                raise
        return
    try:
        import distributed
    except ImportError as error:
        raise MissingBackendError(
            f"a scheduler needs Dask: {error}; pip install 'crimeface-lib[distributed]'"
        ) from error
    with distributed.Client(scheduler) as client:
        yield lambda *call: client.submit(*call, pure=False), distributed.as_completed


def _run_point(sweep: Sweep, point: Point) -> Point:
    """Run one point in a process of its own and return it with its ending; called again, it goes on where it was."""
    from nbclient.exceptions import DeadKernelError

    settings, ended = load_settings(), Point(point.parameters, run=point.run)
    for ended.attempts in (1, 2):
        try:
            _run_once(sweep, ended, settings)
            ended.status, ended.reason, ended.exit_code = "done", "", 0
        except DeadKernelError as error:
            ended.status, ended.reason, ended.exit_code = "failed", f"the kernel died: {error}", 1
            continue
        except KeyboardInterrupt:
            ended.status, ended.reason, ended.exit_code = "interrupted", "stopped by hand", 130
        except CrimefaceError as error:
            ended.status = "refused" if error.exit_code == 3 else "failed"
            ended.reason, ended.exit_code = str(error), error.exit_code
        except Exception as error:  # noqa: BLE001  # kept with the point; the other points go on
            ended.status, ended.reason, ended.exit_code = "failed", f"{type(error).__name__}: {error}", 1
        break
    return ended


def _run_once(sweep: Sweep, point: Point, settings: Settings) -> None:
    """Go on with the point's run where there is one, else start one."""

    def began(folder: Path) -> None:
        point.run = folder.name

    if point.run and (settings.reports / point.run).is_dir():
        run_job(sweep.notebook, {}, resume=point.run, settings=settings)
        return
    run_job(sweep.notebook, {**sweep.shared, **point.parameters}, config=sweep.config, began=began, settings=settings)


def _path(id: str, settings: Settings) -> Path:
    if Path(id).name != id:
        raise ConfigError(f"sweep: got {id!r}, expected its id, no path")
    return settings.stores / "sweeps" / f"{id}.json"


def _keep(sweep: Sweep, settings: Settings) -> None:
    write_atomic(_path(sweep.id, settings), json.dumps(asdict(sweep), indent=1).encode(), mode=0o600)
