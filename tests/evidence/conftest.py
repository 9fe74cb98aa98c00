"""An evidence store whose clock ticks by a second per reading, and a photo that says where it was taken."""

from __future__ import annotations

import io
import itertools
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from PIL import Image

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


@pytest.fixture(scope="session")
def exif_photo() -> bytes:
    """A JPEG of 30 × 20 px, to be turned, taken in Greenwich Park by a camera with a serial number."""
    exif = Image.Exif()
    exif[0x010F], exif[0x0110], exif[0x0112] = "Canary Cameras", "C-1\0\0", 6
    inner = exif.get_ifd(0x8769)
    inner[0x9003], inner[0xA431], inner[0x829A] = "2026:01:31 12:00:00", "SN-CANARY-77", 0.004
    inner[0x927C] = bytes(range(256)) * 8
    place = exif.get_ifd(0x8825)
    place[1], place[2], place[3], place[4] = "N", (51.0, 28.0, 40.0), "W", (0.0, 0.0, 5.0)
    buffer = io.BytesIO()
    Image.new("RGB", (30, 20), (90, 140, 60)).save(buffer, format="JPEG", exif=exif)
    return buffer.getvalue()
