"""Evidence with its chain of custody, packages that prove themselves, and the verifier that trusts neither.

Names load on first use, so that the verifier runs without the store.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {
    "CustodyRecord": "items",
    "EvidenceItem": "items",
    "EvidenceReport": "items",
    "EvidenceStore": "store",
    "Intake": "items",
    "ItemList": "items",
    "Lineage": "items",
    "PROCESSES": "processes",
    "PackageReport": "verify",
    "Process": "processes",
    "ReplayReport": "replay",
    "Timestamp": "timestamp",
    "replay_package": "replay",
    "timestamp_request": "timestamp",
    "verify_package": "verify",
    "verify_timestamp": "timestamp",
}

__all__ = [*_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'crimeface_lib.evidence' has no attribute {name!r}")
    return getattr(import_module(f"crimeface_lib.evidence.{_HOMES[name]}"), name)
