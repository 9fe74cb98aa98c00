"""Where a run's numbers come from, apart from its inputs: who ran it, and which code."""

from __future__ import annotations

import getpass
import platform
import subprocess
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

#: Packages whose versions decide numbers.
_VERSIONS = ("crimeface-lib", "numpy", "scipy", "pandas", "torch", "dlib-bin", "opencv-python-headless", "geopandas")


def login_name(environ: Mapping[str, str]) -> str:
    """Return who is logged in: JupyterHub's word where there is a Hub, else the operating system's."""
    return environ.get("JUPYTERHUB_USER") or getpass.getuser()


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
