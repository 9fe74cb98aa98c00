"""Tasks run on threads, processes or a Dask cluster; we write no scheduler of our own."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from multiprocessing import get_context
from typing import Any, TypeVar

from crimeface_lib.core.errors import InputError, MissingBackendError

Task = TypeVar("Task")
Found = TypeVar("Found")
#: Local schedulers; anything else is a Dask client or the address of its scheduler.
LOCAL = ("threads", "processes", "serial")


def run_tasks(
    function: Callable[[Task], Found], tasks: Sequence[Task], *, scheduler: Any = None, workers: int | None = None
) -> Iterator[Found]:
    """Yield the results as they come, in no order; the first error ends it, and what has not begun is let go.

    Parameters
    ----------
    scheduler : None or "threads", "processes", "serial"; or a ``distributed.Client`` or its scheduler's address, whose
        workers must see the same files.
    workers : of the local pools; as many as cores by default.

    Raises
    ------
    InputError : another scheduler. MissingBackendError : Dask is not installed.
    """
    chosen = "threads" if scheduler is None else scheduler
    if chosen == "serial":
        yield from map(function, tasks)
        return
    if chosen in LOCAL:
        count = min(workers or os.cpu_count() or 1, max(len(tasks), 1))
        pool: Executor
        pool = ThreadPoolExecutor(count) if chosen == "threads" else ProcessPoolExecutor(count, get_context("spawn"))
        with pool:
            futures: list[Future[Found]] = [pool.submit(function, task) for task in tasks]
            try:
                yield from (future.result() for future in as_completed(futures))
            finally:
                pool.shutdown(wait=False, cancel_futures=True)
        return
    with _client(chosen) as client:
        from distributed import as_completed as dask_completed

        remote = client.map(function, list(tasks), pure=False)
        try:
            yield from (future.result() for future in dask_completed(remote))
        finally:
            client.cancel(remote)


@contextmanager
def _client(scheduler: Any) -> Iterator[Any]:
    try:
        from distributed import Client
    except ImportError as error:
        raise MissingBackendError(
            f"scheduler: got {scheduler!r}, which needs Dask; pip install 'crimeface-lib[distributed]', or choose one "
            f"of: {', '.join(LOCAL)}"
        ) from error
    if isinstance(scheduler, Client):
        yield scheduler
    elif isinstance(scheduler, str) and ":" in scheduler:
        try:
            client = Client(scheduler, timeout="10s")
        except (OSError, ValueError) as error:
            raise InputError(f"scheduler: no Dask scheduler answers at {scheduler} ({error})") from error
        with client:
            yield client
    else:
        raise InputError(
            f"scheduler: got {scheduler!r}, expected one of {', '.join(LOCAL)}, a Dask client or an address such as "
            "'tcp://127.0.0.1:8786'"
        )
