"""A toy gallery worked by hand; ranks and thresholds apart; N beside every rate (R2)."""

from __future__ import annotations

import numpy as np
import pytest

from crimeface_lib.core.errors import InputError, ShapeError
from crimeface_lib.metrics import identification, listed_outcomes, search_outcomes

GALLERY = ["a", "b", "c", "a"]
PROBES = ["a", "b", "c", "b", "x", "y"]
#           a     b     c     a, too
SCORES = [[0.3, 0.5, 0.1, 0.9],  # rank 1 by the second photo of a
          [0.7, 0.6, 0.2, 0.7],  # behind a, who counts once: rank 2
          [0.4, 0.5, 0.5, 0.1],  # level with b: ties count against the method, rank 2
          [np.nan] * 4,  # no template: a miss
          [0.8, 0.1, 0.1, 0.2],  # not in the gallery, top 0.8
          [0.2, 0.4, 0.3, 0.1]]  # not in the gallery, top 0.4  # fmt: skip


def toy(**options):
    return identification(search_outcomes(SCORES, PROBES, GALLERY), replicas=50, **options)


def test_outcomes_by_hand():
    found = search_outcomes(SCORES, PROBES, GALLERY)
    assert found.gallery_size == 4
    assert found.mated.tolist() == [True] * 4 + [False] * 2
    assert found.rank.tolist() == [1, 2, 2, 0, 0, 0]
    assert found.mate_score.tolist() == [0.9, 0.6, 0.5, -np.inf, -np.inf, -np.inf]
    assert found.top_score.tolist() == [0.5, 0.7, 0.5, -np.inf, 0.8, 0.4]
    assert found.failed.tolist() == [False] * 3 + [True, False, False]
    assert not {"subjects", "subject"} & set(found.to_frame())


def test_both_modes_by_hand():
    found = toy(ranks=(1, 2, 4, 9), fpir=(0.5, 0.1))
    assert found.ranks[["N", "rank", "FNIR"]].values.tolist() == [[4, 1, 0.75], [4, 2, 0.25], [4, 4, 0.25]]
    # half of the two may raise an alarm: T = 0.8, all but a (0.9) are missed; none may: just above 0.8
    assert found.thresholds["FPIR"].tolist() == [0.5, 0.0]
    assert found.thresholds["FNIR"].tolist() == [0.75, 0.75]
    assert found.thresholds["threshold"].tolist() == [0.8, np.nextafter(0.8, 1)]
    assert (found.thresholds["N"] == 4).all()
    assert (found.searches, found.failed) == ((4, 2), (1, 0))
    assert (found.ranks["FNIR_low"] <= found.ranks["FNIR"]).all()
    assert (found.ranks["FNIR"] <= found.ranks["FNIR_high"]).all()


def test_lists_of_candidates_say_the_same_as_far_as_they_go():
    lists = [
        [(GALLERY[i], row[i]) for i in np.argsort(row)[::-1]] if np.isfinite(row).all() else None
        for row in np.array(SCORES)
    ]
    whole = listed_outcomes(lists, PROBES, enrolled=GALLERY, gallery_size=4)
    by_matrix = search_outcomes(SCORES, PROBES, GALLERY)
    for name in ("mated", "rank", "mate_score", "top_score", "failed"):
        assert getattr(whole, name).tolist() == getattr(by_matrix, name).tolist()
    short = listed_outcomes([one and one[:1] for one in lists], PROBES, enrolled=GALLERY, gallery_size=4)
    assert short.rank.tolist()[:2] == [1, 0]  # not in the list: missed at any rank


def test_an_entry_that_failed_is_a_miss():
    found = search_outcomes([[np.nan, 0.2]], ["a"], ["a", "b"])
    assert (found.mated[0], found.rank[0], found.failed[0]) == (True, 0, False)
    never = search_outcomes([[0.2]], ["a"], ["b"], enrolled=["a", "b"])
    assert (never.mated[0], never.rank[0]) == (True, 0)


def test_far_below_the_operational_size_is_said():
    assert "50 times as many" in toy(operational=200).caveats[1]
    assert len(toy(operational=20).caveats) == 1
    assert "4 entries" in toy().caveats[0]
    closed = identification(search_outcomes(SCORES[:2], PROBES[:2], GALLERY), replicas=50)
    assert closed.thresholds.empty
    assert "closed set" in closed.caveats[-1]
    assert "<b>4</b> entries" in closed._repr_html_()
    assert set(toy().to_frame()["mode"]) == {"investigative", "identification"}


def test_people_who_are_searched_often_widen_the_interval():
    rng = np.random.default_rng(5)
    own = np.repeat(rng.random(40) < 0.3, 10)  # a person's probes all miss, or none
    gallery = [f"p{i}" for i in range(40)]
    who = np.repeat(gallery, 10)
    table = rng.random((400, 40)) * 0.5
    table[np.arange(400), np.repeat(np.arange(40), 10)] = np.where(own, -1.0, 1.0)
    row = identification(search_outcomes(table, who, gallery), replicas=200, ranks=[1]).ranks.iloc[0]
    rate = own.mean()
    assert rate == row.FNIR
    assert row.FNIR_high - row.FNIR_low > 2.5 * 3.92 * np.sqrt(rate * (1 - rate) / 400)


def test_bad_input():
    with pytest.raises(ShapeError, match="probes by entries"):
        search_outcomes([[1.0]], ["a", "b"], ["a"])
    with pytest.raises(ShapeError, match="one each"):
        listed_outcomes([], ["a"], enrolled=[], gallery_size=0)
    with pytest.raises(InputError, match="mated search"):
        identification(search_outcomes([[0.5, 0.1]] * 2, ["x", "y"], ["a", "b"]))
    with pytest.raises(InputError, match="ranks from 1"):
        toy(ranks=[0])


def test_probes_that_failed_raise_no_alarm_and_find_nobody():
    gone = [float("nan")] * 2
    found = identification(search_outcomes([gone, gone, [0.9, 0.1]], ["a", "z", "b"], ["a", "b"]), fpir=[0.1])
    row = found.thresholds.iloc[0]
    assert (row["FPIR"], row["FNIR"]) == (0.0, 0.5)


def test_no_rank_at_all_is_refused():
    with pytest.raises(InputError, match="ranks from 1"):
        identification(search_outcomes(SCORES, PROBES, GALLERY), ranks=[])
