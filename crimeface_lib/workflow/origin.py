"""Where a run's numbers come from, apart from its inputs: who ran it, and which code."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

#: Packages whose versions decide numbers.
_VERSIONS = ("crimeface-lib", "numpy", "scipy", "pandas", "torch", "dlib-bin", "opencv-python-headless", "geopandas")


def login_name(environ: Mapping[str, str]) -> str:
    """Return who seems to be logged in: the Hub's user where there is one, else the operating system's.

    The system is asked for the process's user; ``USER`` and ``LOGNAME`` are variables that anyone can set. A name, and
    no proof: ``identity.identify`` has the Hub confirm it.
    """
    if named := environ.get("JUPYTERHUB_USER"):
        return named
    if sys.platform == "win32":  # no user ids there
        return os.getlogin()
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a container's user without a name
        return f"uid-{os.getuid()}"


def code_version(root: Path) -> dict[str, Any]:
    """Return package and Python versions, and the commit of the checkout where git knows one."""

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=False)
        return done.stdout.strip() if done.returncode == 0 else ""

    try:
        commit, changed = git("rev-parse", "HEAD"), bool(git("status", "--porcelain", "--untracked-files=no"))
    except FileNotFoundError:  # no git on this machine
        commit, changed = "", False
    return {
        "packages": {name: version(name) for name in _VERSIONS},
        "python": platform.python_version(),
        "commit": commit or None,
        "changed_since_commit": changed,
    }
