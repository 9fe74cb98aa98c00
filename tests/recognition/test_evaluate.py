"""Every figure of recognition in one call, on made-up templates whose truth is known (R1, R2, R4, R7)."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from crimeface_lib.core.errors import InputError, RefusedError, ShapeError
from crimeface_lib.governance import audit_bias
from crimeface_lib.recognition import (
    calibrate_on_photos,
    comparison_table,
    evaluate_recognition,
    pair_rows,
    score_pairs,
)


@pytest.fixture(scope="module")
def photos(templates):
    """25 people × 4 photos, one of which failed."""
    rng = np.random.default_rng(3)
    who = np.repeat(np.arange(25), 4)
    vectors = rng.normal(size=(25, 128))[who] + 1.6 * rng.normal(size=(100, 128))
    made = templates(100, vectors=vectors)
    made.vectors[7] = np.nan
    quality = rng.uniform(20, 100, 100)
    quality[7] = np.nan
    return replace(made, quality=quality, failures={7: "no face"}, subjects=tuple(f"p{i:02d}" for i in who))


@pytest.fixture(scope="module")
def groups(photos):
    return {"sex": ["f" if int(name[1:]) % 2 else "m" for name in photos.subjects]}


@pytest.fixture(scope="module")
def whole(photos, groups):
    calibration = calibrate_on_photos(photos, photos.subjects, at=datetime(2026, 1, 1, tzinfo=UTC), replicas=25)
    return evaluate_recognition(photos, groups=groups, calibration=calibration, operational=10_000, replicas=40)


def test_each_with_each(whole, photos):
    assert (whole.images, whole.subjects, whole.failed) == (100, 25, 1)
    assert whole.fte_low < 0.01 < whole.fte_high
    seen = whole.verification
    assert (seen.mated, seen.failed_mated) == (25 * 6 - 3, 3)
    assert (seen.nonmated, seen.failed_nonmated) == (99 * 98 // 2 - 147, 96)
    rows = np.column_stack(np.triu_indices(100, 1))
    rows = rows[~(rows == 7).any(axis=1)]
    scores = score_pairs(photos.vectors[rows[:, 0]], photos.vectors[rows[:, 1]])
    names = np.array(photos.subjects)
    same = names[rows[:, 0]] == names[rows[:, 1]]
    for row in seen.rates.itertuples():
        assert pytest.approx((scores[~same] >= row.threshold).mean(), abs=1e-3) == row.FMR
        assert pytest.approx((scores[same] < row.threshold).mean(), abs=0.01) == row.FNMR
        assert row.GFRR > row.FNMR  # the failed photo counts


def test_searches_leave_one_out(whole, photos):
    found = whole.identification
    assert found.gallery_size == 25  # the first photo of each
    assert found.searches == (75, 100)
    assert found.failed == (1, 1)
    gallery, names = np.arange(0, 100, 4), np.array(photos.subjects)
    scores = photos.vectors @ photos.vectors[gallery].T
    own = names[:, None] == names[gallery]
    mate = np.where(own, scores, -np.inf).max(axis=1)
    rank = 1 + (np.where(own, -np.inf, scores) >= mate[:, None]).sum(axis=1)
    missed = [(not rank[i] <= 1) or i == 7 for i in range(100) if i % 4]
    assert found.ranks["FNIR"][0] == pytest.approx(np.mean(missed))
    assert "400 times as many" in found.caveats[1]


def test_evidence_discard_and_quality(whole):
    assert whole.evidence.cllr_min.estimate <= whole.evidence.cllr.estimate < 1
    assert whole.discard.comparisons == 150
    assert whole.discard.failed == 3
    assert whole.quality["images"].sum() == 100
    figures = whole.to_frame()
    assert {"EER", "Cllr", "FNIR at rank 1", "FNIR at FPIR 0.1", "failure to enrol"} <= set(figures["figure"])
    assert figures["n"].str.len().min() > 5
    assert (figures["low"] <= figures["value"] + 1e-12).all()
    assert "p01" not in whole._repr_html_() + repr(whole)


def test_groups_go_to_the_audit(whole):
    report = audit_bias(
        whole.comparisons, groups=["sex"], threshold=whole.verification.rates["threshold"][0],
        enrolments=whole.enrolments, replicas=40, rng=0,
    )  # fmt: skip
    assert set(report.rates["group"]) == {"f", "m", "f × m"}
    assert report.rates["failed"].sum() == 99
    assert report.resampled == "subjects"
    assert report.rates["FTE"].max() > 0


def test_a_list_of_pairs(photos):
    files = [f"{name}/{i}" for i, name in enumerate(photos.subjects)]
    listed = [(files[4 * i], files[4 * i + 1], True) for i in range(25)]
    listed += [(files[4 * i], files[(4 * i + 5) % 100], False) for i in range(25)] + [(files[4], files[7], True)]
    rows = pair_rows(listed, files)
    found = evaluate_recognition(photos, pairs=rows, replicas=40)
    assert (found.verification.mated, found.verification.nonmated) == (25, 25)
    assert found.verification.failed_mated == 1
    assert found.evidence is None
    assert found.comparisons is None
    assert "list" in found.protocol


def test_comparisons_are_drawn_where_there_are_too_many(photos, groups):
    table = comparison_table(photos, photos.subjects, groups=groups, limit=60, rng=1)
    assert table["mated"].sum() == 60
    assert 40 <= (~table["mated"]).sum() <= 60
    assert (table.loc[table["mated"], "subject_a"] == table.loc[table["mated"], "subject_b"]).all()
    assert (table.loc[~table["mated"], "subject_a"] != table.loc[~table["mated"], "subject_b"]).all()


def test_nobody_twice_is_an_error_and_one_photo_each_has_no_search(templates):
    alone = templates(6)
    with pytest.raises(InputError, match="two photos of somebody"):
        evaluate_recognition(alone)


def test_bad_input(photos, whole):
    with pytest.raises(ShapeError, match="expected one each"):
        evaluate_recognition(photos, subjects=["a"])
    with pytest.raises(ShapeError, match="pair_rows"):
        evaluate_recognition(photos, pairs=[[0.5, 1.0]])
    with pytest.raises(ShapeError, match="0 to 99"):
        evaluate_recognition(photos, pairs=[[0, 100]])
    with pytest.raises(InputError, match="0 non-mated"):
        evaluate_recognition(photos, pairs=[[0, 1]])
    with pytest.raises(InputError, match="1 photos of the list"):
        pair_rows([("a", "b", True)], ["a"])
    other = calibrate_on_photos(
        replace(photos, version="other"), photos.subjects, at=datetime(2026, 1, 1, tzinfo=UTC), replicas=20
    )
    with pytest.raises(RefusedError, match="calibrate again"):
        evaluate_recognition(photos, calibration=other)
