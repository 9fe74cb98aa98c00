from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from crimeface_lib.core.errors import InputError, SchemaError
from crimeface_lib.governance import BiasReport, audit_bias


def comparisons(group, *, mated, errors, trials, other=None):
    """``errors`` of ``trials`` comparisons on the wrong side of a threshold of 0."""
    score = np.where(np.arange(trials) < errors, 1.0, -1.0) * (-1 if mated else 1)
    return pd.DataFrame({"score": score, "mated": mated, "sex_a": group, "sex_b": other or group})


@pytest.fixture
def published():
    """Three groups with FMR (1, 2, 8)e-4 and FNMR (.01, .012, .02)."""
    return pd.concat(
        [comparisons(g, mated=False, errors=e, trials=10_000) for g, e in zip("xyz", (1, 2, 8), strict=True)]
        + [comparisons(g, mated=True, errors=e, trials=1_000) for g, e in zip("xyz", (10, 12, 20), strict=True)],
        ignore_index=True,
    )


def test_the_published_measures(published):
    report = audit_bias(published, groups=["sex"], threshold=0.0)
    rates = report.to_frame().set_index("group")
    assert rates["FMR"].to_dict() == {"x": 1e-4, "y": 2e-4, "z": 8e-4}
    assert rates["FNMR"].to_dict() == {"x": 0.01, "y": 0.012, "z": 0.02}
    found = report.differentials["sex"]
    assert found.inequity_rate == pytest.approx(4.0)
    assert found.garbe == pytest.approx(0.4372, abs=5e-5)
    assert found.fdr == pytest.approx(0.99465)
    assert found.fmr_max_geomean == pytest.approx(3.175, abs=5e-4)
    assert report.withheld == {"sex": ()}
    assert report.to_dict()["differentials"]["sex"]["groups"] == ["x", "y", "z"]


def test_cross_group_pairs_are_reported_and_kept_out_of_the_measures(published):
    cross = comparisons("x", mated=False, errors=90, trials=100, other="z")
    swapped = cross.rename(columns={"sex_a": "sex_b", "sex_b": "sex_a"})
    report = audit_bias(pd.concat([published, cross, swapped]), groups=["sex"], threshold=0.0)
    row = report.rates.set_index("group").loc["x × z"]
    assert (row["nonmated"], row["FMR"]) == (200, 0.9)
    assert report.differentials == audit_bias(published, groups=["sex"], threshold=0.0).differentials


def test_small_groups_are_named_as_unknown(published):
    small = comparisons("w", mated=False, errors=0, trials=29)
    report = audit_bias(pd.concat([published, small]), groups=["sex"], threshold=0.0)
    assert report.withheld == {"sex": ("w",)}
    assert np.isnan(report.rates.set_index("group").loc["w", "FMR"])
    assert report.differentials["sex"].groups == ("x", "y", "z")
    assert "Too few to say anything about sex: w." in report._repr_html_()
    assert audit_bias(small, groups=["sex"], threshold=0.0).differentials == {}
    assert "<table" in audit_bias(small, groups=["sex"], threshold=0.0)._repr_html_()


def test_intersections_and_failures(published):
    table = published.assign(age_a="old", age_b="old")
    table.loc[0, "score"] = np.nan
    report = audit_bias(table, groups=["sex", "age"], threshold=0.0)
    assert set(report.rates["attribute"]) == {"sex", "age", "sex & age"}
    assert set(report.rates["group"]) == {"x", "y", "z", "old", "x & old", "y & old", "z & old"}
    assert report.rates.set_index("group")["failed"].to_dict()["x & old"] == 1
    assert set(report.differentials) == {"sex", "sex & age"}


def test_what_can_not_be_audited(published):
    with pytest.raises(InputError, match="list of attributes"):
        audit_bias(published, groups="sex", threshold=0.0)
    with pytest.raises(SchemaError, match="lack age_a, age_b"):
        audit_bias(published, groups=["sex", "age"], threshold=0.0)
    published.loc[published["mated"], "sex_b"] = "other"
    with pytest.raises(SchemaError, match="two groups"):
        audit_bias(published, groups=["sex"], threshold=0.0)


def test_intervals_hold_the_measures_and_people_widen_them(published):
    alone = audit_bias(published, groups=["sex"], threshold=0.0, rng=1)
    assert alone.resampled == "comparisons"
    found = alone.measures().set_index("measure")
    assert (found["low"] <= found["value"]).all()
    assert (found["value"] <= found["high"]).all()
    people = [f"{g}{i % 50}" for i, g in enumerate(published["sex_a"])]
    named = audit_bias(published.assign(subject_a=people, subject_b=people), groups=["sex"], threshold=0.0, rng=1)
    assert named.resampled == "subjects"
    wide, narrow = (r.rates.eval("FNMR_high - FNMR_low").to_numpy() for r in (named, alone))
    assert (wide >= narrow - 1e-12).all()
    assert "subjects resampled" in named._repr_html_()


def test_failure_to_enrol_by_group(published):
    images = pd.DataFrame({"failed": [True] * 6 + [False] * 94 + [True] * 3, "sex": ["x"] * 100 + ["v"] * 3})
    rates = audit_bias(published, groups=["sex"], threshold=0.0, enrolments=images).rates.set_index("group")
    assert rates.loc["x", ["attempts", "FTE"]].tolist() == [100, 0.06]
    assert rates.loc["x", "FTE_low"] < 0.06 < rates.loc["x", "FTE_high"]
    assert (rates.loc["v", "mated"], rates.loc["v", "attempts"]) == (0, 3)
    assert np.isnan(rates.loc["v", "FTE"]), "three images say nothing"
    with pytest.raises(SchemaError, match="enrolments lack sex"):
        audit_bias(published, groups=["sex"], threshold=0.0, enrolments=images[["failed"]])


def test_an_unknown_group_is_not_a_group_of_its_own(published):
    published.loc[3, "sex_b"] = None
    with pytest.raises(SchemaError, match="sex_b has empty cells"):
        audit_bias(published, groups=["sex"], threshold=0.0)


def test_a_report_survives_json(published):
    small = comparisons("w", mated=False, errors=0, trials=29)
    none = comparisons("v", mated=False, errors=0, trials=900), comparisons("v", mated=True, errors=0, trials=900)
    report = audit_bias(pd.concat([published, small, *none]), groups=["sex"], threshold=0.0)
    assert report.differentials["sex"].fmr_max_min == np.inf
    again = BiasReport.from_dict(json.loads(json.dumps(report.to_dict(), allow_nan=False)))
    pd.testing.assert_frame_equal(again.rates, report.rates)
    assert (again.differentials, again.intervals, again.withheld) == (
        report.differentials,
        report.intervals,
        report.withheld,
    )
