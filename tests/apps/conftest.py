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


@pytest.fixture(scope="session")
def settle():
    """A function that makes a place with accounts, by their roles, the first an admin's; it returns the settings."""
    from crimeface_lib.governance import User

    def settle(folder, roles, *, password=None):
        settings = Settings(home=folder / "home", reports_dir=folder / "reports")
        people, by = CaseStore.open(settings.default_store, settings=settings).people, None
        for account, role in roles.items():
            added = people.add(User(account, frozenset({role})), password=password, by=by)
            by = by or added
        return settings

    return settle


@pytest.fixture
def team(tmp_path, settle):
    """Settings of a place whose store has an admin, a researcher, two reviewers, an approver and a stakeholder.

    Each has the password "correct horse battery".
    """
    roles = {"ada": "admin", "rhea": "researcher", "rita": "reviewer", "remy": "reviewer", "paul": "approver",
             "stan": "stakeholder"}  # fmt: skip
    return settle(tmp_path, roles, password="correct horse battery")
