"""Reports are kept for good, held against the approved band, and found out if they change (E4, P11, R6)."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from crimeface_lib.core.errors import InputError, IntegrityError, NotFoundError
from crimeface_lib.governance import BiasRegister, NotApprovedError, audit_bias

PROTOCOL = "synthetic scores with known rates"


def report(fnmr: dict[str, float], *, trials: int = 2000, fmr: float = 0.01):
    """A report on groups whose rates are exactly what is asked."""
    parts = []
    for group, missed in fnmr.items():
        for mated, rate in ((True, missed), (False, fmr)):
            wrong = np.arange(trials) < round(rate * trials)
            parts.append(pd.DataFrame({"score": np.where(wrong == mated, 0.0, 1.0), "mated": mated, "g": group}))
    table = pd.concat(parts).rename(columns={"g": "sex_a"}).eval("sex_b = sex_a")
    return audit_bias(table, groups=["sex"], threshold=0.5, rng=1)


@pytest.fixture
def register(office):
    return BiasRegister.open(office.store, audit=office.audit, clock=office.clock, dpias=office.register)


@pytest.fixture
def about(office):
    return {
        "model": office.model.name, "version": office.model.version, "dataset": "synthetic-faces",
        "protocol": PROTOCOL, "actor": "other-1",
    }  # fmt: skip


def test_a_differential_outside_its_approved_band_raises_an_alert(office, register, about):
    dpia = office.approved()
    calm = register.add(report({"x": 0.02, "y": 0.04}), dpia=dpia, **about)
    assert calm.alerts == ()
    assert set(calm.to_frame()["state"]) == {"within", "no band"}
    stored = register.add(report({"x": 0.02, "y": 0.20}), dpia=dpia, **about)
    (alert, *_) = [a for a in stored.alerts if a.measure == "fnmr_max_min"]
    assert alert.value == pytest.approx(10)
    assert (alert.clear, alert.band) == (True, (1.0, 3.0))
    assert "approved 1 to 3" in alert.in_words()
    events = office.audit.events("bias.alert").events
    assert {e.facts["measure"] for e in events} == {a.measure for a in stored.alerts}
    assert {e.facts["report"] for e in events} == {2}


def test_chance_is_said(office, register, about):
    stored = register.add(report({"x": 0.01, "y": 0.04}, trials=200), dpia=office.approved(), **about)
    (alert,) = [a for a in stored.alerts if a.measure == "fnmr_max_min"]
    assert not alert.clear
    assert "reaches into the band" in alert.in_words()


def test_without_an_assessment_there_is_no_band_and_that_is_said(register, about):
    stored = register.add(report({"x": 0.02, "y": 0.9}), **about)
    assert stored.alerts == ()
    assert set(stored.to_frame()["state"]) == {"no band"}


def test_the_band_is_that_of_an_approval_that_holds(office, register, about):
    dpia = office.approved()
    with pytest.raises(InputError, match="does not cover"):
        register.add(report({"x": 0.02, "y": 0.04}), dpia=dpia, **{**about, "version": "other"})
    office.clock.pass_days(400)
    with pytest.raises(NotApprovedError, match="expired"):
        register.add(report({"x": 0.02, "y": 0.04}), dpia=dpia, **about)
    assert register.list() == ()


def test_summary_is_the_last_of_each_and_trend_is_all_in_order(office, register, about):
    dpia = office.approved()
    for missed in (0.02, 0.03, 0.10):
        register.add(report({"x": 0.02, "y": missed}), dpia=dpia, **about)
        office.clock.pass_days(30)
    register.add(report({"x": 0.05, "y": 0.05}), **{**about, "dataset": "other-faces"})
    summary = register.summary().to_frame()
    assert summary["report"].unique().tolist() == [3, 4]
    trend = register.trend("fnmr_max_min", attribute="sex", model=about["model"], dataset="synthetic-faces").to_frame()
    assert trend["value"].tolist() == pytest.approx([1, 1.5, 5])
    assert trend["state"].tolist() == ["within", "within", "outside"]
    assert trend["at"].is_monotonic_increasing
    assert "outside" in register.summary()._repr_html_()
    with pytest.raises(InputError, match="expected one of fmr_max_min"):
        register.trend("bias", attribute="sex", model="dlib")
    with pytest.raises(NotFoundError, match="dlib by sex"):
        register.trend("garbe", attribute="age", model="dlib")


def test_a_small_group_is_named(register, about):
    table = report({"x": 0.02, "y": 0.04})
    few = pd.DataFrame({"score": [1.0] * 5, "mated": True, "sex_a": "z", "sex_b": "z"})
    stored = audit_bias(few, groups=["sex"], threshold=0.5)
    register.add(table, **about)
    register.add(stored, **{**about, "dataset": "tiny"})
    assert register.summary().withheld == ("sex: z",)
    assert "sex: z" in register.summary()._repr_html_()


@pytest.mark.parametrize("how", ["altered", "dropped"])
def test_a_report_that_was_altered_or_dropped_is_found(office, register, about, how):
    for missed in (0.02, 0.03):
        register.add(report({"x": 0.02, "y": missed}), **about)
    records = json.loads(office.records.read_text())
    if how == "altered":
        records["bias_reports"]["2"]["report"]["differentials"]["sex"]["garbe"] = 0.0
    else:
        del records["bias_reports"]["2"]
    office.records.write_text(json.dumps(records))
    with pytest.raises(IntegrityError, match="bias report 2"):
        register.summary()
    assert register.__class__.__dict__.keys().isdisjoint({"delete", "edit", "update"}), "reports are only added"


def test_get_and_what_can_not_be_kept(register, about):
    register.add(report({"x": 0.02, "y": 0.03}), **about)
    assert register.get(1).protocol == PROTOCOL
    assert register.get(1).report.resampled == "comparisons"
    with pytest.raises(NotFoundError, match="no bias report 2"):
        register.get(2)
    with pytest.raises(InputError, match="protocol"):
        register.add(report({"x": 0.02, "y": 0.03}), **{**about, "protocol": " "})
