"""Figures of recognition: what they draw is what was measured, on probit axes where that is asked."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from crimeface_lib.core.errors import InputError, SchemaError
from crimeface_lib.metrics import (
    count_scores,
    error_versus_discard,
    evidence_quality,
    identification,
    quality_by_group,
    search_outcomes,
)
from crimeface_lib.recognition import fit_calibration
from crimeface_lib.reporting import (
    calibration_figure,
    cmc_figure,
    det_figure,
    discard_figure,
    ece_figure,
    quality_figure,
    score_histogram_figure,
    tippett_figure,
)
from crimeface_lib.reporting.style import figure_png

RNG = np.random.default_rng(4)
MATED, NONMATED = RNG.normal(2, 1, 2000), RNG.normal(0, 1, 3000)


@pytest.fixture(scope="module")
def counts():
    return count_scores(MATED, NONMATED, replicas=0)


@pytest.fixture(scope="module")
def evidence():
    return evidence_quality(np.exp(2 * MATED[:300] - 2), np.exp(2 * NONMATED[:300] - 2), replicas=20)


def texts(figure):
    return " ".join(
        t.get_text() for axes in figure.axes for t in [*axes.texts, *axes.get_xticklabels(), axes.xaxis.label]
    )


def drawn(figure):
    assert figure_png(figure, dpi=40).startswith(b"\x89PNG")
    assert figure.alt
    return figure.axes[0]


def test_det_of_gaussians_is_a_straight_line(counts):
    """N(2, 1) against N(0, 1): Φ⁻¹(FNMR) = −2 − Φ⁻¹(FMR)."""
    figure = det_figure({"made up": counts.error_rates()})
    axes = drawn(figure)
    line = axes.lines[0]
    middle = slice(len(line.get_xdata()) // 4, -len(line.get_xdata()) // 4)
    x, y = line.get_xdata()[middle], line.get_ydata()[middle]
    assert np.polyfit(x, y, 1) == pytest.approx([-1, -2], abs=0.15)
    labels = dict(zip(axes.get_xticks(), (t.get_text() for t in axes.get_xticklabels()), strict=True))
    assert labels[norm.ppf(0.01)] == "1%"
    assert "2,000 mated" in axes.get_legend().get_texts()[0].get_text()
    thick = axes.lines[1].get_ydata()
    assert np.isnan(thick[[0, -1]]).all()  # few errors at both ends


def test_cmc_shows_n_and_both_modes(counts):
    rng = np.random.default_rng(1)
    names = [f"p{i}" for i in range(30)]
    scores = rng.random((40, 30)) + np.eye(40, 30)
    found = identification(search_outcomes(scores, [*names, *["x"] * 10], names), replicas=30)
    figure = cmc_figure(found)
    drawn(figure)
    assert len(figure.axes) == 2
    assert "N = 30" in figure.get_supxlabel()
    assert figure.axes[0].lines[0].get_ydata()[0] == found.ranks["FNIR"][0]
    closed = identification(search_outcomes(scores[:30], names, names), replicas=30)
    assert len(cmc_figure(closed).axes) == 1


def test_histogram_writes_the_errors_at_the_threshold(counts):
    axes = drawn(score_histogram_figure(counts, threshold=1.0))
    said = " ".join(t.get_text() for t in axes.texts)
    assert axes.get_yscale() == "log"
    assert f"{100 * (NONMATED >= 1).mean():.2g}" in said
    assert "3,000 comparisons" in said


def test_tippett_and_cross_entropy(evidence):
    axes = drawn(tippett_figure(evidence))
    same = axes.lines[0]
    assert np.interp(0, same.get_xdata(), same.get_ydata()) == pytest.approx(
        100 * (1 - evidence.misleading[0]), abs=0.6
    )
    axes = drawn(ece_figure(evidence))
    assert axes.lines[1].get_ydata().max() == evidence.cross_entropy["lr"].max()
    assert f"Cllr {evidence.cllr.estimate:.3f}" in axes.texts[0].get_text()
    assert not any("worse" in str(patch.get_label()) for patch in axes.collections)
    wrong = evidence_quality([1e-3, 1e-2], [1e2, 1e3], replicas=20)
    assert any("worse" in str(patch.get_label()) for patch in ece_figure(wrong).axes[0].collections)


def test_calibration_shows_its_limits():
    made = fit_calibration(MATED[:300], NONMATED[:300], replicas=20)
    axes = drawn(calibration_figure(made))
    assert axes.lines[1].get_ydata().max() == pytest.approx(made.bounds[1])
    assert "limit of the data" in axes.texts[0].get_text()
    assert "300 pairs" in texts(calibration_figure(made))


def test_discard_and_quality():
    quality = RNG.uniform(0, 100, 200)
    curve = error_versus_discard(MATED[:200], quality, replicas=20)
    axes = drawn(discard_figure(curve))
    assert axes.lines[0].get_ydata()[0] == curve.table["FNMR"][0]
    assert "200 mated" in axes.get_xlabel()
    table = quality_by_group(quality[:110], ["a"] * 100 + ["b"] * 10, floor=20)
    axes = drawn(quality_figure(table, floor=20))
    assert [t.get_text() for t in axes.get_yticklabels()] == ["a (n = 100)", "b (n = 10)"]
    assert "too few" in axes.texts[0].get_text()


def test_bad_input(counts):
    with pytest.raises(InputError, match="1 to 6"):
        det_figure({})
    with pytest.raises(InputError, match="errors of both kinds"):
        det_figure({"perfect": count_scores([2.0, 3.0], [0.0, 1.0], replicas=0).error_rates()})
    with pytest.raises(SchemaError, match="quality_by_group"):
        quality_figure(counts.to_frame())
