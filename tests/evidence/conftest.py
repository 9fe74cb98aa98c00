"""An evidence store whose clock ticks by a second per reading."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from crimeface_lib.evidence import EvidenceStore
from crimeface_lib.storage import KeyRing


@pytest.fixture
def open_store(tmp_path: Path) -> Callable[[], EvidenceStore]:
    """Open the store in ``tmp_path / "evidence"``, again and again if need be."""
    ticks = itertools.count()

    def clock() -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=next(ticks))

    return lambda: EvidenceStore.open(tmp_path / "evidence", keys=KeyRing.open(tmp_path / "keys.json"), clock=clock)


@pytest.fixture
def store(open_store: Callable[[], EvidenceStore]) -> EvidenceStore:
    return open_store()
