"""One notebook through papermill: over IPC, with progress, stopped cleanly, its error handed on as itself."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from jupyter_client.manager import AsyncKernelManager

from crimeface_lib.core import errors
from crimeface_lib.core.errors import CrimefaceError, NotFoundError
from crimeface_lib.core.settings import load_settings

Progress = Callable[[str, int, int], None]  # notebook, cells done, cells in all

#: Notebooks that run side by side, at most.
WORKERS = 2

_KERNELS: set[int] = set()


class IpcKernelManager(AsyncKernelManager):
    """Talks to the kernel over Unix sockets in a private folder: case data crosses no TCP port."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._sockets = tempfile.TemporaryDirectory(prefix="crimeface-", ignore_cleanup_errors=True)
        self._pid = 0
        self.transport = "ipc"
        self.ip = str(Path(self._sockets.name) / "kernel")

    async def _async_launch_kernel(self, kernel_cmd: list[str], **options: Any) -> None:
        # what a kernel writes beside its messages (its shutdown, a library's chatter) is not for the user's terminal
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        environment = {**_share_of_cores(), **(options.pop("env", None) or os.environ)}
        await super()._async_launch_kernel(kernel_cmd, **quiet, **options, env=environment)

    _launch_kernel = _async_launch_kernel

    async def _async_post_start_kernel(self, **options: Any) -> None:
        await super()._async_post_start_kernel(**options)
        if self.provisioner is not None and (pid := getattr(self.provisioner, "pid", None)):
            _KERNELS.add(pid)
            self._pid = pid

    post_start_kernel = _async_post_start_kernel

    async def _async_cleanup_resources(self, restart: bool = False) -> None:
        await super()._async_cleanup_resources(restart=restart)
        if not restart:
            _KERNELS.discard(self._pid)  # the system may give the number to somebody else's process
            self._sockets.cleanup()

    cleanup_resources = _async_cleanup_resources


def _share_of_cores() -> dict[str, str]:
    """Return how many threads each of the kernels that run side by side may take, unless the user has said so.

    Two that each spin on every core wait for one another: torch took ten times as long for a face.
    """
    return {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // WORKERS))}


def stop_kernels() -> None:
    """Kill the kernels started here: they sit in sessions of their own, so Ctrl-C never reaches them."""
    while _KERNELS:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(_KERNELS.pop(), signal.SIGKILL)


def notebook_path(name: str) -> Path:
    """Return ``notebooks/<name>.ipynb`` of this checkout."""
    folder = load_settings().project_root / "notebooks"
    path = folder / f"{name}.ipynb"
    if not path.is_file():
        have = ", ".join(sorted(p.stem for p in folder.glob("*.ipynb"))) or "none"
        raise NotFoundError(
            f"no notebook {name!r} in {folder}; there are: {have}; set CRIMEFACE_PROJECT_ROOT to a checkout"
        )
    return path


def run_notebook(
    name: str,
    *,
    parameters: Mapping[str, Any],
    output: str | Path,
    leave_out: Collection[str] = (),
    progress: Progress | None = None,
) -> Path:
    """Execute a notebook of this checkout and return the path of the executed copy.

    Parameters
    ----------
    name : stem of a notebook in ``notebooks/``.
    parameters : values for its ``parameters`` cell, as papermill takes them: ``config`` and ``overrides``.
    output : where the executed notebook goes; it is there, with what ran so far, also after a failure.
    leave_out : cells with one of these tags are dropped before the run.
    progress : called with (name, cells done, cells in all).

    Raises
    ------
    the library's own error that stopped a cell, rebuilt from its name and message; CrimefaceError for any other.
    """
    import nbformat
    import papermill
    from papermill.exceptions import PapermillExecutionError

    notebook = nbformat.read(notebook_path(name), as_version=4)
    notebook.cells = [c for c in notebook.cells if not set(c.metadata.get("tags", ())) & set(leave_out)]
    total = len(notebook.cells) + 1  # papermill injects one
    Path(output).parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, output)

    def cell_done(*, cell_index: int, **_: Any) -> None:
        if progress:
            progress(name, cell_index + 1, total)

    try:
        papermill.execute_notebook(
            str(output),
            str(output),
            parameters=dict(parameters),
            kernel_name="python3",
            progress_bar=False,
            log_output=False,
            kernel_manager_class=IpcKernelManager,
            on_cell_executed=cell_done,
            iopub_timeout=300,  # a busy machine shows output late; papermill gives up after 4 s
        )
    except PapermillExecutionError as error:
        raise rebuild_error(error.ename, error.evalue, where=f"{name}.ipynb, cell {error.cell_index}") from error
    if progress:
        progress(name, total, total)
    return Path(output)


def rebuild_error(ename: str, evalue: str, *, where: str) -> CrimefaceError:
    """Return the library's error of that name, so that its exit code survives the kernel boundary.

    >>> rebuild_error("ImageError", "got 1×1", where="x").exit_code
    2
    """
    kind = getattr(errors, ename, None)
    if isinstance(kind, type) and issubclass(kind, CrimefaceError):
        return kind(evalue)
    return CrimefaceError(f"{where}: {ename}: {evalue}")
