"""A small town for the map, and a face already reconstructed, shared by the tests of the apps."""

from __future__ import annotations

import pytest

from crimeface_lib.core.settings import Settings
from crimeface_lib.crime import read_events
from crimeface_lib.synthetic import synthetic_crimes, write_police_uk
from crimeface_lib.workflow.store import CaseStore


@pytest.fixture(scope="session")
def crimes(tmp_path_factory):
    """14 months of a town that doesn't exist, one month missing, as a zip."""
    path = tmp_path_factory.mktemp("crimes") / "crimes.zip"
    write_police_uk(synthetic_crimes(months=14, per_month=300, rng=5).table, path)
    return path


@pytest.fixture(scope="session")
def events(crimes):
    return read_events(crimes)


@pytest.fixture
def team(tmp_path):
    """Settings of a place whose store has an admin, a researcher, two reviewers, an approver and a stakeholder.

    Each has the password "correct horse battery".
    """
    from crimeface_lib.governance import User

    settings = Settings(home=tmp_path / "home", reports_dir=tmp_path / "reports")
    store = CaseStore.open(settings.default_store, settings=settings)
    roles = {"ada": "admin", "rhea": "researcher", "rita": "reviewer", "remy": "reviewer", "paul": "approver",
             "stan": "stakeholder"}  # fmt: skip
    by = None
    for account, role in roles.items():
        added = store.people.add(User(account, frozenset({role})), password="correct horse battery", by=by)
        by = by or added
    return settings
