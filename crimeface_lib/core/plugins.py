"""Backends are entry points: a third party adds one by installing a package, not by editing ours."""

from __future__ import annotations

from functools import lru_cache
from importlib.metadata import entry_points
from typing import Any

from crimeface_lib.core.errors import MissingBackendError

#: What to type when a backend we know of is not installed.
REMEDIES = {
    ("rasterizers", "pytorch3d"): "conda env create -f environment.yml",
    ("embedders", "onnx"): "pip install 'crimeface-lib[onnx]'",
    ("stores", "sql"): "pip install 'crimeface-lib[postgres]'",
}


def installed(kind: str) -> tuple[str, ...]:
    """Return the names of the installed backends of a kind ("detectors", "embedders", ...), sorted.

    >>> "dlib" in installed("detectors")
    True
    """
    return tuple(sorted({point.name for point in entry_points(group=f"crimeface.{kind}")}))


@lru_cache(maxsize=64)  # looking through the installed packages takes 10 ms, as long as finding a face
def load_backend(kind: str, name: str) -> Any:
    """Return the object behind the entry point ``crimeface.<kind>``: ``<name>``.

    Raises
    ------
    MissingBackendError : not installed, or its own imports fail; the message says what is installed
        and the command that installs it where we know one.
    """
    remedy = REMEDIES.get((kind, name), "see the extras in README.md")
    for point in entry_points(group=f"crimeface.{kind}"):
        if point.name == name:
            try:
                return point.load()
            except ImportError as error:
                others = ", ".join(other for other in installed(kind) if other != name) or "none"
                raise MissingBackendError(
                    f"{kind[:-1].replace('_', ' ')} {name!r} can't be imported: {error}; others: {others}; {remedy}"
                ) from error
    have = ", ".join(installed(kind)) or "none"
    raise MissingBackendError(f"no {kind[:-1].replace('_', ' ')} {name!r}; installed: {have}; {remedy}")
