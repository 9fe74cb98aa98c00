"""Shared by the storage tests: a PostgreSQL of their own, and a death at any call that reaches the disk."""

from __future__ import annotations

import builtins
import io
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
import traceback
import uuid
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from crimeface_lib.storage import KeyRing
from crimeface_lib.storage.unlock import SCRYPT


def _postgres_command(name: str) -> str:
    places = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    found = shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), *map(str, places)]))
    if not found:
        pytest.skip(f"no PostgreSQL on this machine: {name} is neither on PATH nor in /usr/lib/postgresql")
    return found


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The URL of a server that is started for these tests, listens to a socket in a folder of its own, and ends."""
    initdb, pg_ctl = _postgres_command("initdb"), _postgres_command("pg_ctl")
    folder = Path(tempfile.mkdtemp(prefix="crimeface-pg-"))  # short: a socket's path has at most 107 bytes
    prefix: list[str] = []
    if os.geteuid() == 0:  # the server refuses to run as root
        if not (setpriv := shutil.which("setpriv")) or "postgres" not in {user.pw_name for user in pwd.getpwall()}:
            pytest.skip("PostgreSQL does not run as root, and there is no setpriv or no user postgres")
        prefix = [setpriv, "--reuid=postgres", "--regid=postgres", "--clear-groups"]
        shutil.chown(folder, "postgres", "postgres")
    run = lambda *words: subprocess.run([*prefix, *words], check=True, capture_output=True, cwd=folder)  # noqa: E731
    data, options = folder / "data", f"-c listen_addresses='' -c fsync=off -k {folder}"
    run(initdb, "-D", data, "-U", "crimeface", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
    run(pg_ctl, "-D", data, "-o", options, "-l", folder / "log", "-w", "start")
    try:
        yield f"postgresql+psycopg://crimeface@/postgres?host={folder}"
    finally:
        run(pg_ctl, "-D", data, "-m", "immediate", "-w", "stop")
        shutil.rmtree(folder)


STORES = ["json", "sqlite", pytest.param("postgresql", marks=pytest.mark.xdist_group("postgres"))]


@pytest.fixture(params=STORES)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a store of each kind may be opened, empty."""
    if request.param == "json":
        return str(tmp_path / "records.json")
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/records.sqlite"
    url: str = request.getfixturevalue("postgres")
    name = f"t{uuid.uuid4().hex}"
    psql = [_postgres_command("psql"), "-qX", "-U", "crimeface", "-h", url.split("host=")[1], "postgres"]
    subprocess.run([*psql, "-c", f"create schema {name}"], check=True)
    return f"{url}&options=-csearch_path%3D{name}"


@pytest.fixture
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stretch passphrases a little only."""
    monkeypatch.setitem(SCRYPT, "n", 1 << 10)


@pytest.fixture
def keys(tmp_path: Path) -> KeyRing:
    return KeyRing.open(tmp_path / "keys.json")


class _Dying:
    """Counts the calls that reach the disk and ends the process, for good, at the ``last`` of them.

    ``torn`` is the part of a write that still goes out: a death in the middle of it. Exit status: 8 at a write, 9 at
    any other call, 0 if there were fewer calls. Data in Python's buffers are lost, as in a real death.
    """

    CALLS = ("fsync", "replace", "rename", "unlink", "remove", "rmdir", "mkdir", "ftruncate", "fchmod", "chmod", "link")

    def __init__(self, last: int, torn: float) -> None:
        self.left, self.torn = last, torn
        for name in self.CALLS:
            setattr(os, name, self.counted(getattr(os, name)))
        os.write = self.torn_write(os.write)
        os.open = self.creating(os.open)
        os.fdopen = self.wrapped(os.fdopen)
        builtins.open = io.open = self.wrapped(open)

    def due(self) -> bool:
        self.left -= 1
        return self.left == 0

    def counted(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any, **named: Any) -> Any:
            if self.due():
                os._exit(9)
            return real(*given, **named)

        return call

    def torn_write(self, real: Callable[..., int]) -> Callable[..., int]:
        def call(handle: int, data: Any) -> int:
            if self.due():
                real(handle, bytes(data)[: int(len(data) * self.torn)])
                os._exit(8)
            return real(handle, data)

        return call

    def creating(self, real: Callable[..., int]) -> Callable[..., int]:
        def call(path: Any, flags: int, *given: Any, **named: Any) -> int:
            if flags & (os.O_CREAT | os.O_TRUNC) and self.due():
                os._exit(9)
            return real(path, flags, *given, **named)

        return call

    def wrapped(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(path: Any, mode: str = "r", *given: Any, **named: Any) -> Any:
            file = real(path, mode, *given, **named)
            return _DyingFile(file, self) if set(mode) & set("wax+") else file

        return call


class _DyingFile:
    def __init__(self, file: Any, dying: _Dying) -> None:
        self._file, self._dying = file, dying

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> _DyingFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def write(self, data: Any) -> Any:
        if self._dying.due():
            self._file.write(data[: int(len(data) * self._dying.torn)])
            self._file.flush()
            os._exit(8)
        return self._file.write(data)

    def truncate(self, *size: int) -> Any:
        if self._dying.due():
            os._exit(9)
        return self._file.truncate(*size)


Act = Callable[[Path], object]


def _die(act: Act, scene: Path, *, last: int, torn: float) -> int:
    """Run ``act`` on ``scene`` in a child that dies at its ``last`` boundary; return the exit status."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 on forks beside threads: this child is short
        child = os.fork()
    if child == 0:
        try:
            _Dying(last, torn)
            act(scene)
        except BaseException:  # noqa: BLE001  (whatever it is, the parent has to hear of it)
            traceback.print_exc()
            os._exit(7)
        os._exit(0)
    for _ in range(60_000):
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.0005)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    raise AssertionError("a child hangs")


@pytest.fixture
def outcomes_of_death(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Act, Act, Callable[[Path], str]], list[str]]:
    """Return what ``check`` says of the state after a death at each boundary of ``act``, in order, torn writes too.

    ``prepare`` makes the state before, once; ``check`` opens the stores anew and fails where they are not sound.
    ``cuts`` are the parts of a torn write that still go out.
    """

    monkeypatch.setattr(os, "fsync", lambda handle: None)  # still a boundary; the disk need not be waited for

    def run(prepare: Act, act: Act, check: Callable[[Path], str], *, cuts: Sequence[float] = (0.5,)) -> list[str]:
        before, said, last = Path(tempfile.mkdtemp(dir=tmp_path)), [], 0
        prepare(before)
        while True:
            last += 1
            for torn in cuts:
                scene = tmp_path / "scene"
                shutil.rmtree(scene, ignore_errors=True)
                shutil.copytree(before, scene)
                status = _die(act, scene, last=last, torn=torn)
                assert status in (0, 8, 9), f"boundary {last}: the child failed, see its traceback"
                said.append(check(scene))
                if status != 8:
                    break
            if status == 0:
                assert last > 3, "nothing was intercepted"
                return said

    return run
