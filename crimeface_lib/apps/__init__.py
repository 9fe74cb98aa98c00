"""Apps for the browser: widget classes that work without a server; ``notebooks/apps`` shows them through Voila.

Each loads on first use, so that the page of one app doesn't wait for what the others import.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {
    "CrimeMap": "crime_map",
    "FaceViewer": "face_viewer",
    "GovernanceBoard": "governance_board",
    "Lineup": "lineup",
    "Session": "session",
    "load_app_events": "map_data",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'crimeface_lib.apps' has no attribute {name!r}")
    return getattr(import_module(f"crimeface_lib.apps.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return list(__all__)
