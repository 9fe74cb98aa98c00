"""Shared by all tests: real data when it is there, and a photo that is in the public domain."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

# run by hand: a benchmark's parts are found beside it, and doctests would import them
collect_ignore_glob = ["bench*.py", "pictures.py"]


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder of real data, or a skip that says how to bring it."""
    root = os.environ.get("CRIMEFACE_DATA_ROOT")
    if not root or not Path(root).is_dir():
        pytest.skip("no real data: set CRIMEFACE_DATA_ROOT to the folder described in data/README.md")
    return Path(root).resolve()


@pytest.fixture(scope="session")
def astronaut() -> np.ndarray:
    """scikit-image's public-domain photo of Eileen Collins, (512, 512, 3) uint8 RGB."""
    from skimage import data

    return np.ascontiguousarray(data.astronaut())
