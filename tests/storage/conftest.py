"""Shared by the storage tests: a PostgreSQL of their own, and a death at any call that reaches the disk."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from crimeface_lib.storage import KeyRing


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
    subprocess.run([*psql, "-c", f"create database {name}"], check=True)
    return url.replace("/postgres?", f"/{name}?")


@pytest.fixture
def keys(tmp_path: Path) -> KeyRing:
    return KeyRing.open(tmp_path / "keys.json")
