"""The Voila apps on 127.0.0.1, behind a token: a child process that is watched and stopped with us."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crimeface_lib.core.errors import CrimefaceError, InputError, NotFoundError
from crimeface_lib.core.files import write_atomic
from crimeface_lib.core.settings import Settings, load_settings
from crimeface_lib.workflow.apps_config import load_apps_config

_HOST = "127.0.0.1"
_LOG = Path("apps", "server.log")  # below the stores; written anew at each start
_START_SECONDS = 90.0
_STOP_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class AppServer:
    """A server that answers: its address without and with the token, and its process."""

    address: str
    token: str
    process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        return f"{self.address}?token={self.token}"


def serve_apps(*, port: int = 8866) -> None:
    """Serve ``notebooks/apps`` on 127.0.0.1 until Ctrl-C; the address with its token is printed once.

    Raises
    ------
    InputError : the port is taken. NotFoundError : no apps or no template in this checkout.
    CrimefaceError : the server stops by itself.
    """
    from rich.console import Console

    out = Console(highlight=False, soft_wrap=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # stopped by kill as by Ctrl-C, children included
    settings = load_settings()
    with running_apps(port=port, settings=settings) as server:
        out.print(f"apps   {server.url}")
        out.print("       on this machine only; the link holds the key, Ctrl-C stops it")
        code = server.process.wait()
    raise CrimefaceError(f"the app server stopped by itself (exit code {code}); its log is {settings.stores / _LOG}")


@contextmanager
def running_apps(*, port: int, settings: Settings | None = None, options: tuple[str, ...] = ()) -> Iterator[AppServer]:
    """Start the server, hand it over once it answers, and stop it with its kernels at the end.

    Parameters
    ----------
    options : further options of ``voila``, e.g. ``--MappingKernelManager.cull_idle_timeout=5``.
    """
    settings = settings or load_settings()
    apps, voila = settings.project_root / "notebooks" / "apps", settings.project_root / "configs" / "voila"
    for folder in (apps, voila):
        if not folder.is_dir():
            raise NotFoundError(f"no folder {folder}; set CRIMEFACE_PROJECT_ROOT to a checkout")
    load_apps_config(settings)  # what is wrong with it is told here rather than in the child's log
    _check_port(port)
    token = secrets.token_urlsafe(24)
    command = [
        sys.executable, "-m", "crimeface_lib.workflow.app_server", str(apps), "--no-browser", "--token",
        f"--Voila.ip={_HOST}", f"--port={port}", "--Voila.port_retries=0", f"--Voila.config_file_paths={voila}",
        "--Voila.log_level=WARN", *options,
    ]  # fmt: skip
    log = settings.stores / _LOG
    write_atomic(log, b"", mode=0o600)
    with log.open("ab") as words:
        process = subprocess.Popen(
            command, env=_environment(settings, voila, token), stdout=words, stderr=words, start_new_session=True
        )
    try:
        _wait_until_it_answers(process, port, log)
        yield AppServer(f"http://{_HOST}:{port}/", token, process)
    finally:
        _stop(process)


def _environment(settings: Settings, voila: Path, token: str) -> dict[str, str]:
    """Return the child's environment: our template, the token (never on a command line), settings made absolute."""
    templates = os.pathsep.join(filter(None, (str(voila.parent), os.environ.get("JUPYTER_PATH"))))
    paths: dict[str, Any] = {
        "PROJECT_ROOT": settings.project_root, "DATA_ROOT": settings.data_root, "CACHE_DIR": settings.cache_dir,
        "REPORTS_DIR": settings.reports, "HOME": settings.stores,
    }  # fmt: skip
    return {
        **os.environ, "JUPYTER_PATH": templates, "JUPYTER_TOKEN": token, "CRIMEFACE_DEVICE": settings.device,
        **{f"CRIMEFACE_{name}": str(Path(path).absolute()) for name, path in paths.items() if path},
    }  # fmt: skip


def _check_port(port: int) -> None:
    if not 1 <= port <= 65535:
        raise InputError(f"port: got {port}, expected 1 to 65535")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_HOST, port))
        except OSError as error:
            raise InputError(
                f"port: {port} can't be used ({error.strerror}); stop what runs there, or use --port {port + 1}"
            ) from error


def _wait_until_it_answers(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    end = time.monotonic() + _START_SECONDS
    while time.monotonic() < end:
        if (code := process.poll()) is not None:
            raise CrimefaceError(f"the app server did not start (exit code {code}); its log is {log}")
        with socket.socket() as probe:
            if probe.connect_ex((_HOST, port)) == 0:
                return
        time.sleep(0.1)
    raise CrimefaceError(f"the app server did not answer within {_START_SECONDS:.0f} s; the machine may be overloaded")


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Ask the server to stop, which stops its kernels; kill it if it won't: kernels end when their parent is gone."""
    process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
