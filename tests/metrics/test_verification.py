"""Verification in one call: exact rates, intervals over people that cover, all pairs as one by one (R1, R3)."""

from __future__ import annotations

import numpy as np
import pytest

from crimeface_lib.core.errors import InputError, ShapeError
from crimeface_lib.metrics import (
    clustered_interval,
    count_all_pairs,
    count_scores,
    eer,
    error_rates,
    rate_interval,
    subject_weights,
    verification,
)

RNG = np.random.default_rng(3)
MATED, NONMATED = RNG.normal(2, 1, 300), RNG.normal(0, 1, 500)


def photos(people=12, each=3, seed=0):
    rng = np.random.default_rng(seed)
    centre = rng.normal(size=(people, 8))
    who = np.repeat(np.arange(people), each)
    return centre[who] + 0.7 * rng.normal(size=(len(who), 8)), [f"p{i}" for i in who]


def test_counts_of_a_list_are_exact():
    counts = count_scores(MATED, NONMATED, failed=(3, 4), replicas=20)
    curve, true = counts.error_rates(), error_rates(MATED, NONMATED, thresholds=counts.scores, failed=(3, 4))
    for name in ("fmr", "fnmr", "gfar", "gfrr"):
        assert getattr(curve, name)[:-1] == pytest.approx(getattr(true, name))
        assert getattr(curve, name)[-1] in (0, pytest.approx(1))
    assert verification(counts).eer.estimate == pytest.approx(eer(MATED, NONMATED))
    assert (counts.pairs, counts.units) == ((300, 500), (300, 500))


def test_the_threshold_is_the_lowest_that_keeps_the_asked_rate():
    found = verification(count_scores(MATED, NONMATED, replicas=50), fmr=(0.1, 0.01, 1e-6))
    for row in found.rates.itertuples():
        assert row.FMR == (row.threshold <= NONMATED).mean() <= row.asked
        assert (row.threshold > MATED).mean() == row.FNMR
        assert row.FMR_low <= row.FMR <= row.FMR_high
    last = found.rates.iloc[-1]  # nothing of 500 at or above: at most about 3 in 500
    assert (last.FMR, last.accepted) == (0, 0)
    assert last.FMR_high == pytest.approx(3 / 500, rel=0.01)
    assert "300 mated" in found._repr_html_()


def test_all_pairs_are_those_compared_one_by_one():
    vectors, who = photos()
    vectors[5] = np.nan
    counts = count_all_pairs(vectors, who, replicas=30, rng=4)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    names = np.array(who)
    rows = np.column_stack(np.triu_indices(len(who), 1))
    scores = (unit[rows[:, 0]] * unit[rows[:, 1]]).sum(axis=1)
    same = names[rows[:, 0]] == names[rows[:, 1]]
    made = ~np.isnan(scores)
    assert counts.pairs == ((same & made).sum(), (~same & made).sum())
    assert counts.failed == ((same & ~made).sum(), (~same & ~made).sum())
    assert counts.units == (12, 66)
    at = counts.scores[[5, 50, 100]]
    true = error_rates(scores[same & made], scores[~same & made], thresholds=at)
    curve = counts.error_rates()
    assert curve.fmr[[5, 50, 100]] == pytest.approx(true.fmr)
    assert curve.fnmr[[5, 50, 100]] == pytest.approx(true.fnmr)
    for side, kind in ((counts.mated_replicas, same), (counts.nonmated_replicas, ~same)):
        weights = subject_weights(names[rows[made]], replicas=30, rng=4)  # the same draws
        assert side.sum(axis=1) == pytest.approx(weights[:, kind[made]].sum(axis=1), rel=1e-5)


def test_by_person_nobody_counts_twice():
    vectors, who = photos(each=2)
    more = np.concatenate([vectors, np.repeat(vectors[:1], 20, axis=0)])
    counts = count_all_pairs(more, [*who, *[who[0]] * 20], by_person=True, replicas=0)
    assert counts.mated.sum() == pytest.approx(12)
    assert counts.nonmated.sum() == pytest.approx(66)


def clusters(rng, *, people, each, rate):
    """Whether each of a person's comparisons errs: half of what varies is the person's own."""
    own = rng.beta(rate, 1 - rate, people)
    return rng.random((people, each)) < own[:, None]


def test_intervals_of_clustered_errors_cover_and_naive_ones_do_not():
    """True FNMR 10 %, 80 people × 10 comparisons that mostly err together: 95 % intervals hold it 93 to 97 times."""
    rng = np.random.default_rng(1)
    held = {"people": 0, "comparisons": 0}
    trials = 600
    drawn = rng.multinomial(80, np.full(80, 1 / 80), size=200)
    for _ in range(trials):
        wrong = clusters(rng, people=80, each=10, rate=0.1)
        rate = float(wrong.mean())
        low, high = clustered_interval(rate, 800, replicas=drawn @ wrong.sum(axis=1) / 800, units=80, subjects=80)
        held["people"] += low <= 0.1 <= high
        low, high = rate_interval(int(wrong.sum()), 800)
        held["comparisons"] += low <= 0.1 <= high
    assert 0.93 <= held["people"] / trials <= 0.97
    assert held["comparisons"] / trials < 0.75


def test_without_an_error_the_bound_counts_people():
    assert clustered_interval(0.0, 5000, replicas=np.zeros(50), units=100, subjects=100)[1] == pytest.approx(
        1 - 0.05 ** (1 / 100)
    )
    assert clustered_interval(0.1, 50, replicas=np.full(50, 0.1), units=50, subjects=50) == rate_interval(5, 50)
    with pytest.raises(InputError, match="share"):
        clustered_interval(1.5, 10, replicas=[], units=1, subjects=1)


def test_the_eer_has_an_interval_over_people():
    people = np.repeat(np.arange(60), 5)
    effect = np.random.default_rng(2).normal(0, 1, 60)[people]
    mated, other = MATED + effect, RNG.normal(0, 1, 300)
    wide = verification(count_scores(mated, other, subjects=(people, people + 60), replicas=100)).eer
    naive = verification(count_scores(mated, other, replicas=100)).eer
    assert wide.low < wide.estimate < wide.high
    assert wide.high - wide.low > 1.2 * (naive.high - naive.low)
    assert wide.subjects == 120


def test_bad_input():
    with pytest.raises(ShapeError, match="subjects"):
        count_scores([1.0], [0.0], subjects=(["a", "b"], ["c"]))
    with pytest.raises(InputError, match="failed"):
        count_scores([1.0], [0.0], failed=(-1, 0), replicas=0)
    with pytest.raises(InputError, match="two photos"):
        count_all_pairs(np.eye(3), ["a", "b", "c"])
    with pytest.raises(ShapeError, match="subjects"):
        count_all_pairs(np.eye(3), ["a"])
    with pytest.raises(InputError, match="between 0 and 1"):
        verification(count_scores([1.0], [0.0], replicas=0), fmr=[0])
