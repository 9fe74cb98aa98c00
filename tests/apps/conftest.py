"""A small town for the map, and a face already reconstructed, shared by the tests of the apps."""

from __future__ import annotations

import pytest

from crimeface_lib.crime import read_events
from crimeface_lib.synthetic import synthetic_crimes, write_police_uk


@pytest.fixture(scope="session")
def crimes(tmp_path_factory):
    """14 months of a town that doesn't exist, one month missing, as a zip."""
    path = tmp_path_factory.mktemp("crimes") / "crimes.zip"
    write_police_uk(synthetic_crimes(months=14, per_month=300, rng=5).table, path)
    return path


@pytest.fixture(scope="session")
def events(crimes):
    return read_events(crimes)
