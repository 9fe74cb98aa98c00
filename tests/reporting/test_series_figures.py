"""Figures of series: gaps are hatched, intervals and what they held are shown, wrong names are errors."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from crimeface_lib import crime
from crimeface_lib.core.errors import SchemaError
from crimeface_lib.reporting import (
    calendar_figure,
    change_points_figure,
    decomposition_figure,
    forecast_figure,
    seasonal_profile_figure,
)
from crimeface_lib.reporting.style import figure_png


@pytest.fixture(scope="module")
def counts() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    time = np.arange(48)
    mean = 100 * (1 + 0.2 * np.sin(time * np.pi / 6)) * np.where(time < 30, 1, 0.5)
    index = pd.period_range("2018-01", periods=48, freq="M")
    frame = pd.DataFrame({"theft": rng.poisson(mean), "arson": rng.poisson(mean / 5)}, index).astype(float)
    frame.iloc[18] = np.nan
    return frame.rename_axis(columns="type")


def legend(figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_decomposition_hatches_gaps(counts: pd.DataFrame) -> None:
    figure = decomposition_figure(crime.decompose(counts["theft"], robust=True))
    assert "1 have no data" in figure.alt
    assert {"no data", "observed", "trend", "95% interval of the trend"} <= set(legend(figure))
    assert len(figure.axes[0].patches) == 1
    days = pd.Series(
        np.random.default_rng(1).poisson(9, 70).astype(float), pd.period_range("2020-12-01", periods=70, freq="D")
    )
    labels = [
        text.get_text() for text in decomposition_figure(crime.decompose(days, period=7)).axes[2].get_xticklabels()
    ]
    assert labels == ["2020", "2021"]
    assert figure_png(figure, dpi=50)[:4] == b"\x89PNG"


def test_changes_are_drawn_with_their_intervals(counts: pd.DataFrame) -> None:
    found = crime.change_points(counts["theft"], draws=99)
    figure = change_points_figure(found)
    assert len(found) >= 1
    assert [text.get_text() for text in figure.axes[0].texts] == [f"× {ratio:.2f}" for ratio in found.table["ratio"]]
    assert "change, with the interval of its month" in legend(figure)


def test_forecast_says_what_its_intervals_held(counts: pd.DataFrame) -> None:
    found = crime.forecast(counts, horizon=6)
    figure = forecast_figure(counts["arson"], found, series="arson")
    share = found.checked.set_index("level").loc["type", "coverage"]
    assert f"held {share:.0%}" in figure.axes[0].get_title(loc="left")
    assert forecast_figure(counts.sum(axis=1, skipna=False), found).alt.startswith("6 months ahead")
    with pytest.raises(SchemaError, match="total: total, type: theft"):
        forecast_figure(counts["arson"], found, series="fraud")
    with pytest.raises(SchemaError, match="expected 2021-12"):
        forecast_figure(counts["arson"].iloc[:-1], found, series="arson")


def test_profile_and_calendar(counts: pd.DataFrame) -> None:
    figure = seasonal_profile_figure(crime.seasonal_profile(counts["theft"]))
    assert len(figure.axes[0].get_xticklabels()) == 12
    effects = crime.calendar_effects(counts["theft"])
    rows = [text.get_text() for text in calendar_figure(effects).axes[0].get_yticklabels()]
    assert rows == list(effects.table["effect"][::-1])
