"""Changes of level: the segmentation is the best there is, chance seldom makes one, and lockdown is found."""

from __future__ import annotations

from itertools import combinations, pairwise

import numpy as np
import pandas as pd
import pytest

from crimeface_lib.core.errors import InputError
from crimeface_lib.crime import ChangePoints, change_points
from crimeface_lib.crime._segments import Noise, best_steps


def drawn(seed: int, *, total: int = 48, level: float = 200.0, steps=(), noise: Noise = Noise(3.0, 0.0)) -> pd.Series:
    time = np.arange(total)
    mean = level * (1 + 0.2 * np.sin(2 * np.pi * time / 12))
    for at, factor in steps:
        mean = mean * np.where(time >= at, factor, 1)
    counts = noise.draw(mean, 1, np.random.default_rng(seed))[0]
    return pd.Series(counts, pd.period_range("2015-01", periods=total, freq="M"))


def deviance(counts, known, edges) -> float:
    """Poisson deviance of levels between edges, written out from its definition."""
    total = 0.0
    for start, end in pairwise(edges):
        part = counts[start:end][known[start:end]]
        mean = part.mean()
        total += 2 * sum((y * np.log(y / mean) if y else 0.0) - (y - mean) for y in part)
    return total


def test_dynamic_programming_finds_what_trying_all_finds() -> None:
    rng = np.random.default_rng(0)
    for _ in range(6):
        counts = rng.poisson(rng.choice([2, 5, 9], 16)).astype(float)
        known = np.ones(16, dtype=bool)
        known[rng.integers(16)] = False
        found = best_steps(counts[None], known, None, changes=2, shortest=2)
        for changes in range(3):
            tried = [
                deviance(counts, known, (0, *at, 16))
                for at in combinations(range(1, 16), changes)
                if all(known[a:b].sum() >= 2 for a, b in pairwise((0, *at, 16)))
            ]
            assert found.deviance[changes, 0] == pytest.approx(min(tried), abs=1e-9)
            at = found.starts[changes][0]
            assert deviance(counts, known, (0, *at, 16)) == pytest.approx(min(tried), abs=1e-9)


def test_counts_drawn_have_the_noise_they_were_asked_for() -> None:
    counts = Noise(3.0, 0.5).draw(np.full(400, 50.0), 50, np.random.default_rng(1))
    assert counts.mean() == pytest.approx(50, abs=0.6)
    assert counts.var() / counts.mean() == pytest.approx(3.0, rel=0.06)
    off = counts - counts.mean()
    assert (off[:, 1:] * off[:, :-1]).mean() / counts.var() == pytest.approx(0.5, abs=0.04)
    rare = Noise(1.0, 0.0).draw(np.full(400, 0.3), 50, np.random.default_rng(2))
    assert rare.mean() == pytest.approx(0.3, abs=0.02)
    assert (rare == 0).mean() == pytest.approx(np.exp(-0.3), abs=0.02)


def test_chance_seldom_makes_a_change() -> None:
    """8 stationary series with a season: at 5 % more than 2 would come once in 170 times. Measured: 1.3 % of 150."""
    found = [len(change_points(drawn(seed, total=36), draws=99)) for seed in range(8)]
    assert sum(number > 0 for number in found) <= 2


def test_a_step_is_found_with_its_month_and_size() -> None:
    months, ratios, off = [], [], []
    for seed in range(5):
        table = change_points(drawn(seed, steps=[(27, 0.65)]), draws=99).table
        assert len(table) >= 1
        row = table.iloc[(table["ratio"] - 0.65).abs().argmin()]
        months.append(row["low"] <= pd.Period("2017-04") <= row["high"])
        ratios.append(row["ratio_low"] <= 0.65 <= row["ratio_high"])
        off.append(abs(row["month"].ordinal - pd.Period("2017-04").ordinal))
    assert np.median(off) <= 1
    assert max(off) <= 3
    assert sum(months) >= 4
    assert sum(ratios) >= 4


def test_a_change_and_its_return_are_seen_together() -> None:
    found = change_points(drawn(5, steps=[(24, 0.5), (29, 2.0)]), draws=99)
    assert found.table["month"].astype(str).tolist() == ["2017-01", "2017-06"]
    assert found.tests["p"].iloc[0] <= 0.05


def test_a_change_at_a_gap_is_said_to_lie_there() -> None:
    series = drawn(1, steps=[(27, 0.3)])
    series.iloc[26] = np.nan
    found = change_points(series, draws=99)
    assert found.gaps == ("2017-03",)
    assert np.isnan(found.fitted.loc["2017-03", "observed"])
    assert any("any month of the gap" in text for text in found.caveats)
    assert "gap" in str(found.fitted.columns.tolist())


def test_same_seed_same_answer_and_it_shows_itself() -> None:
    series = drawn(2, steps=[(20, 1.5)])
    one, two = change_points(series, draws=99), change_points(series, draws=99)
    pd.testing.assert_frame_equal(one.table, two.table)
    assert f"{len(one)} change" in one._repr_html_()
    assert one.to_dict()["changes"][0]["month"] == str(one.table["month"][0])
    none = change_points(drawn(0), draws=99)
    assert len(none) == 0
    assert "No changes" in none._repr_html_()


def test_lockdown_is_found(data_root, merseyside: pd.DataFrame) -> None:
    """Vehicle crime and shoplifting fell in April 2020, told of nothing but the counts."""
    for kind in ("Vehicle crime", "Shoplifting"):
        found: ChangePoints = change_points(merseyside[kind], draws=199)
        row = found.table[found.table["month"] == pd.Period("2020-04")]
        assert len(row) == 1, kind
        assert row["ratio_high"].item() < 0.9
        assert found.gaps == ("2019-07",)


@pytest.mark.parametrize(("change", "options", "words"), [
    (lambda s: s.iloc[:20], {}, "at least 24"), (lambda s: -s, {}, "none below 0"), (lambda s: s * 0, {}, "0 events"),
    (lambda s: s.iloc[[0, *range(2, 48)]], {}, "consecutive"), (lambda s: s.reset_index(), {}, "PeriodIndex"),
    (lambda s: s, {"alpha": 0.0}, "between 0 and 1"), (lambda s: s, {"most": 0}, "1 to 12"),
    (lambda s: s.where(s.index.month != 3), {}, "season=False"), (lambda s: s.iloc[:5], {"season": False}, "at least"),
])  # fmt: skip
def test_bad_input_says_what_is_wanted(change, options, words: str) -> None:
    with pytest.raises(InputError, match=words):
        change_points(change(drawn(0)), **options)


def test_few_and_rare_counts_are_sound() -> None:
    rare = pd.Series(
        np.random.default_rng(3).poisson(0.3, 30).astype(float), pd.period_range("2020-01", periods=30, freq="M")
    )
    assert len(change_points(rare, season=False, draws=99)) <= 1
    short = change_points(drawn(4, total=14), season=False, draws=99)
    assert np.isfinite(short.fitted["expected"]).all()
