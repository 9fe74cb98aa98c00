"""The forecast on the crime map: nothing without an account and an approved DPIA, and what it is made of with one."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from crimeface_lib.apps import Session
from crimeface_lib.apps.map_data import AppEvents, CellMonths
from crimeface_lib.apps.map_view import MapView
from crimeface_lib.core.clock import utc_now
from crimeface_lib.crime import predict_places
from crimeface_lib.governance import Dpia, User
from crimeface_lib.workflow.apps_config import CrimeMapSection
from crimeface_lib.workflow.demo import CRIMES, PEOPLE, PURPOSE, _dpia
from crimeface_lib.workflow.store import CaseStore

PASSWORD = "correct horse battery"
SHA = "a" * 64


def approve(store: CaseStore, purpose: str, dataset: str, *, author: User, dpo: User, approver: User) -> int:
    given = _dpia("place_prediction", dataset, [("decayed_counts", "1")]).to_dict()
    content = Dpia.from_dict(given | {"scope": given["scope"] | {"purpose": purpose}})
    number = store.dpias.draft(content, author=author)
    store.dpias.submit(number, author=author)
    store.dpias.advise(number, "Places only.", favourable=True, adviser=dpo)
    store.dpias.approve(number, approver=approver, review_by=utc_now().date() + timedelta(days=30))
    return int(number)


@pytest.fixture
def store(team) -> CaseStore:
    return CaseStore.open(team.default_store, settings=team)


@pytest.fixture
def view(team, events) -> MapView:
    config = CrimeMapSection(dataset=CRIMES)
    return MapView(
        CellMonths(AppEvents(events, SHA), cell=500.0), config=config, session=Session(settings=team, environ={})
    )


@pytest.fixture
def approved(store) -> int:
    by = store.people.add(User("peter", frozenset({"approver"})), by=store.people.get("ada"))
    return approve(
        store, "research", CRIMES, author=store.people.get("rhea"), dpo=store.people.get("paul"), approver=by
    )


def layers(view) -> list[str]:
    return [name for _, name in view.layer.options]


def uses(store) -> list[dict]:
    return [event.facts for event in store.audit.events("use.")]


def test_only_who_may_forecast_is_offered_it(view):
    assert "forecast" not in layers(view)
    view.session.sign_in("rita", PASSWORD)
    assert "forecast" not in layers(view), "a reviewer makes none"
    view.layer.value = "hotspots"
    view.session.sign_in("rhea", PASSWORD)
    assert "forecast" in layers(view)
    assert view.layer.value == "hotspots", "signing in changes nothing else"


def test_without_an_approved_dpia_nothing_is_computed_and_the_reason_is_said(view, store, monkeypatch):
    called = []
    monkeypatch.setattr("crimeface_lib.apps.map_forecast.predict_places", lambda *a, **k: called.append(a))
    view.session.sign_in("rhea", PASSWORD)
    view.layer.value = "forecast"
    assert not called
    assert view.forecast is None
    assert view.layer.value == "density"
    assert "No approved DPIA covers this" not in view.status.value
    assert "no approved DPIA covers this place prediction" in view.status.value
    assert [e.facts["kind"] for e in store.audit.events("policy.refused")] == ["place_prediction"]
    assert not uses(store)


def test_under_a_dpia_it_is_the_librarys_forecast_and_in_the_log(view, store, approved, events):
    view.session.sign_in("rhea", PASSWORD)
    view.layer.value = "forecast"
    at = str(events.months[-1] + 1)
    expected = predict_places(events, view.grid, at=at, horizon="1M", model="decayed_counts")
    drawn = np.asarray(view.map.figure.data[0].z)[view.grid.row, view.grid.column]
    np.testing.assert_allclose(drawn, expected.risk, rtol=1e-6)
    assert "Drugs" in expected.excluded
    text = view.note.value + view.about.value
    assert "expected" in text
    assert f"DPIA {approved}" in text
    assert "found by policing" in text
    assert re.search(r"held \d+.% of the records that followed.* counting the last year alone: \d+.%", text)
    assert "patrol" not in (text + view.widget.children[-1].value).lower()
    started = [u for u in uses(store) if u.get("input_sha256") == [SHA]]
    assert len(started) == 2, "the forecast, and its trial on past months"
    cell = int(expected.risk.argmax())
    view.show_cell(cell)
    parts = [float(n) for n in re.findall(r'class="num">([\d.]+)</td><td><span', view.history.value)]
    assert sum(parts) == pytest.approx(expected.risk[cell], rel=0.05)
    assert "data:image/png" in view.history.value, "its history stands beside it"


def test_a_type_that_policing_finds_is_not_forecast(view, approved, store):
    view.session.sign_in("rhea", PASSWORD)
    view.type.value = "Drugs"
    view.layer.value = "forecast"
    assert view.layer.value == "density"
    assert "found by policing" in view.status.value
    assert not uses(store)


def test_whoever_leaves_takes_the_forecast_along(view, approved):
    view.session.sign_in("rhea", PASSWORD)
    view.layer.value = "forecast"
    view.show_cell(0)
    view.session.sign_out()
    assert view.layer.value == "density"
    assert view.forecast is None
    assert "forecast" not in layers(view)
    assert "expected" not in view.about.value + view.note.value + view.history.value


def test_a_role_that_was_taken_away_meanwhile_is_refused(view, approved, store):
    view.session.sign_in("rhea", PASSWORD)
    store.people.set_roles("rhea", [], by=store.people.get("ada"))
    view.layer.value = "forecast"
    assert view.forecast is None
    assert "No forecast was made" in view.status.value


def test_the_sample_is_not_forecast_under_another_datasets_name(view, events):
    config = CrimeMapSection(dataset="police.uk-street")
    other = MapView(CellMonths(AppEvents(events, SHA), cell=500.0), config=config, session=view.session)
    view.session.sign_in("rhea", PASSWORD)
    other.layer.value = "forecast"
    assert "are the synthetic sample" in other.status.value


def test_the_demonstration_forecasts_the_sample_only(team, events):
    demo = CaseStore.open(team.stores / "demo" / "store", settings=team)
    for user in PEOPLE:
        demo.people.add(user, by=None if user.id == "demo-admin" else PEOPLE[0])
    approve(demo, PURPOSE, CRIMES, author=PEOPLE[1], dpo=PEOPLE[2], approver=PEOPLE[3])
    session = Session(settings=team, environ={})
    config = CrimeMapSection()
    sample = MapView(CellMonths(AppEvents(events, SHA), cell=500.0), config=config, session=session)
    real = MapView(
        CellMonths(AppEvents(replace(events, attribution="A force"), SHA), cell=500.0), config=config, session=session
    )
    session.open_demonstration("demo-researcher")
    sample.layer.value = real.layer.value = "forecast"
    assert sample.forecast is not None
    assert real.forecast is None
    assert "not the synthetic sample" in real.status.value
