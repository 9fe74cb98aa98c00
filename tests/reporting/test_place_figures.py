"""Figures of a forecast of places, and of series by level: what they show is what the results say."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from crimeface_lib import crime, reporting
from crimeface_lib.core.errors import SchemaError

NOTE = {"attribution": "Synthetic.", "caveat": "It instructs nobody."}


@pytest.fixture(scope="module")
def case():
    """Three years of points, most of them in one corner; a forecast, its evaluation and its checks."""
    gen = np.random.default_rng(4)
    where = np.where(gen.random((3000, 1)) < 0.5, gen.normal(300, 120, (3000, 2)), gen.uniform(0, 2000, (3000, 2)))
    when = pd.Timestamp("2021-01-01") + pd.to_timedelta(np.sort(gen.integers(0, 3 * 365, 3000)), unit="D")
    frame = pd.DataFrame({"t": when, "x": where[:, 0] + 530_000, "y": where[:, 1] + 180_000})
    events = crime.read_points(frame, time="t", x="x", y="y", crs="EPSG:27700")
    grid = crime.make_grid(events, cell=250.0)
    risk = crime.predict_places(events, grid, at="2024-01-01", horizon="1M", model="kde")
    cutoffs = ["2023-09-01", "2023-10-01", "2023-11-01"]
    found = crime.evaluate_places(events, grid, cutoffs=cutoffs, horizon="1M", models=["kde"], resamples=50, rng=0)
    return grid, risk, found, crime.check_places(events, grid, risk, runs=3, rng=0)


def words(figure):
    texts = [
        t.get_text()
        for axes in figure.axes
        for t in (*axes.texts, axes._left_title, axes.xaxis.label, axes.yaxis.label)
    ]
    legends = [*figure.legends, *(axes.get_legend() for axes in figure.axes if axes.get_legend())]
    return " ".join([*texts, *(t.get_text() for one in legends for t in (*one.get_texts(), one.get_title()))])


def test_the_map_rings_and_numbers_the_chosen_cells(case):
    grid, risk, _, checks = case
    said = words(reporting.risk_map(risk, share=0.1, numbered=3, **NOTE))
    assert f"riskiest 10%\n({len(risk.top(share=0.1))} cells)" in said
    assert all(rank in said.split() for rank in "123")
    assert "1 month from 2024-01-01" in said
    stable = words(reporting.stability_map(checks.stability, grid, **NOTE))
    assert f"90% or more ({(checks.stability.chosen >= 0.9).sum()} cells)" in stable


def test_bars_of_contributions_add_up_to_the_risk(case):
    _, risk, _, _ = case
    (axes,) = reporting.contributions_figure(risk, cells=5).axes
    ends = {}
    for bar in axes.patches:
        ends[round(bar.get_y(), 3)] = max(ends.get(round(bar.get_y(), 3), 0), bar.get_x() + bar.get_width())
    assert sorted(ends.values()) == pytest.approx(sorted(risk.risk)[-5:])
    assert len({bar.get_hatch() for bar in axes.patches}) > 1, "told apart without colour"


def test_curves_and_reliability_are_those_of_the_evaluation(case):
    _, _, found, checks = case
    left, right = reporting.hit_rate_figure(found, names=crime.MODEL_NAMES).axes
    rows = found.curves[found.curves["model"] == "kde"]
    assert left.lines[1].get_ydata() == pytest.approx(100 * rows["hit_rate"].to_numpy())
    assert right.lines[0].get_ydata() == pytest.approx(100 * rows["difference"].to_numpy())
    (axes,) = reporting.reliability_figure(found, model="kde").axes
    marks = np.asarray(axes.collections[3].get_offsets())[:, 1]
    assert marks == pytest.approx(found.calibration[found.calibration["model"] == "kde"]["ratio"].to_numpy())
    with pytest.raises(SchemaError, match="got 'glm', expected one that was evaluated"):
        reporting.reliability_figure(found, model="glm")
    assert "rank of the cell" in words(reporting.feedback_figure(checks.feedback, checks.corrected))
    assert [reporting.horizon_in_words(h) for h in ("1M", "30D")] == ["1 month", "30 days"]


def test_panels_continue_the_counts_of_their_level():
    gen = np.random.default_rng(2)
    months = pd.period_range("2021-01", periods=40, freq="M")
    keys = pd.MultiIndex.from_product([["north", "south"], ["theft", "damage"]], names=["area", "type"])
    counts = pd.DataFrame(gen.poisson([80, 40, 20, 10], (40, 4)).astype(float), months, keys)
    ahead = crime.forecast(counts, horizon=3)
    for level, sums in (("area", counts.T.groupby(level=0).sum().T), ("total", counts.sum(axis=1).to_frame("total"))):
        figure = reporting.series_panels_figure(counts, ahead, level=level)
        for axes in figure.axes:
            assert axes.lines[0].get_ydata() == pytest.approx(sums[axes.get_title(loc="left")].iloc[-36:].to_numpy())
    assert "north × theft" in {
        axes.get_title(loc="left") for axes in reporting.series_panels_figure(counts, ahead).axes
    }
    with pytest.raises(SchemaError, match="expected one of total, area, area × type"):
        reporting.series_panels_figure(counts, ahead, level="ward")
