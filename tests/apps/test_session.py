"""Who looks at a page: signing in, what roles permit, and that the link to the server alone opens no account."""

from __future__ import annotations

import pytest

from crimeface_lib.apps import Session
from crimeface_lib.core.errors import RefusedError
from crimeface_lib.core.settings import Settings
from crimeface_lib.workflow.store import CaseStore

PASSWORD = "correct horse battery"


@pytest.fixture
def session(team) -> Session:
    return Session(settings=team, environ={})


def refusals(settings: Settings) -> list[str]:
    return [e.facts["reason"] for e in CaseStore.open(settings.default_store).audit.events("access.refused")]


def test_nobody_is_signed_in_at_first(session):
    assert session.user is None
    assert not session.may("read_reports")
    with pytest.raises(RefusedError, match="nobody is signed in"):
        session.require("read_reports")
    assert session.leave in session._signed.children
    assert session._signed.layout.display == "none"


def test_a_password_opens_what_the_role_permits_and_nothing_else(session, team):
    called = []
    session.on_change(lambda: called.append(session.user and session.user.id))
    session.account.value, session.secret.value = "rita", PASSWORD
    session.go.click()
    assert called == ["rita"]
    assert session.may("decide_candidates")
    assert not session.may("face_search")
    assert session.secret.value == "", "the password is not kept"
    assert "rita" in session.name.value
    _store, user = session.require("decide_candidates")
    assert user.id == "rita"
    with pytest.raises(RefusedError, match="may not face_search"):
        session.require("face_search")
    assert refusals(team) == ["role"]
    session.leave.click()
    assert called == ["rita", None]
    assert session.store is None


def test_a_token_signs_in_its_own_account_only(session, team):
    store = CaseStore.open(team.default_store)
    token = store.people.issue_token(store.people.get("remy"))
    session.sign_in("rita", token)
    assert session.user is None
    session.sign_in("remy", token)
    assert session.user.id == "remy"


@pytest.mark.parametrize(("account", "secret"), [("rita", "wrong"), ("nobody", PASSWORD), ("rita", "x." + "0" * 64)])
def test_what_is_wrong_is_said_and_logged(session, team, account, secret):
    session.sign_in(account, secret)
    assert session.user is None
    assert "Not signed in" in session.note.value
    assert "cf-problem" in session.note.value
    assert len(refusals(team)) == 1


def test_a_role_that_is_taken_away_counts_at_once(session, team):
    session.sign_in("rita", PASSWORD)
    store = CaseStore.open(team.default_store)
    store.people.set_roles("rita", [], by=store.people.get("ada"))
    assert not session.may("decide_candidates")
    with pytest.raises(RefusedError):
        session.require("decide_candidates")


def test_a_second_sign_in_that_fails_leaves_nobody_signed_in(session):
    session.sign_in("rita", PASSWORD)
    session.sign_in("ada", "wrong password")
    assert session.user is None
    assert not session.may("read_audit")


def test_without_accounts_it_says_who_makes_them_and_makes_no_store(tmp_path):
    session = Session(settings=Settings(home=tmp_path), environ={})
    session.sign_in("ada", "x")
    assert "crimeface people add" in session.note.value
    assert not (tmp_path / "store").exists()
    assert session._demo.layout.display == "none"


def test_the_demonstration_opens_without_a_password_and_only_its_own_store(team):
    from crimeface_lib.workflow.demo import PEOPLE

    store = CaseStore.open(team.stores / "demo" / "store", settings=team)
    for user in PEOPLE:
        store.people.add(user, by=None if user.id == "demo-admin" else PEOPLE[0])
    session = Session(settings=team, environ={})
    assert session._demo.layout.display == ""
    session.sample.value = "demo-reviewer-1"
    session.open_sample.click()
    assert session.demonstration
    assert session.store.folder == store.folder
    assert session.may("decide_candidates")
    session.leave.click()
    session.sign_in("demo-reviewer-1", "demo-reviewer-1")
    assert session.user is None, "in the team's store there is no such account"


def test_on_a_hub_the_hub_says_who_it_is(team):
    session = Session(settings=team, environ={"JUPYTERHUB_USER": "rita"})
    assert session.user is None, "the variable alone proves nothing"
    assert "Not signed in" in session.note.value


def test_where_a_page_is_of_use_without_it_the_line_is_asked_for(team):
    session = Session(optional="Sign in for the forecast", settings=team, environ={})
    assert session._form.layout.display == "none"
    session.ask.click()
    assert session._form.layout.display == ""
    session.sign_in("rita", PASSWORD)
    assert session._ask_row.layout.display == session._form.layout.display == "none"
    session.leave.click()
    assert session._form.layout.display == ""
