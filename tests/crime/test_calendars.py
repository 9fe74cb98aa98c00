"""Days, weekends and holidays: the dates are the country's own, and known effects come back inside their intervals."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from crimeface_lib.core.errors import InputError
from crimeface_lib.crime import calendar_effects, daily_series, read_points
from crimeface_lib.crime.calendars import _Days

WEEK = np.array([0.95, 0.9, 0.92, 0.95, 1.1, 1.2, 0.98])


def days(
    seed: int, *, years: int = 3, start: str = "2017-01-01", holiday: float = 0.7, first: float = 1.3
) -> pd.Series:
    index = pd.period_range(start, periods=int(365.25 * years), freq="D")
    known = _Days.over(index, "GB", "ENG")
    mean = 40 * WEEK[index.day_of_week] * (1 + 0.15 * np.cos(2 * np.pi * index.day_of_year / 365.25))
    mean = mean * np.where([bool(name) for name in known.holiday], holiday, 1) * np.where(index.day == 1, first, 1)
    return pd.Series(np.random.default_rng(seed).negative_binomial(mean, 0.5).astype(float), index)


def test_holidays_are_those_of_the_country() -> None:
    index = pd.period_range("2019-01-01", "2019-12-31", freq="D")
    england = _Days.over(index, "GB", "ENG")
    dates = [str(day) for day, name in zip(index, england.holiday, strict=True) if name]
    assert dates == [
        "2019-01-01", "2019-04-19", "2019-04-22", "2019-05-06", "2019-05-27", "2019-08-26", "2019-12-25", "2019-12-26",
    ]  # fmt: skip
    illinois = _Days.over(index, "US", "IL")
    assert "Casimir Pulaski Day" in illinois.holiday
    months = pd.period_range("2019-01", periods=12, freq="M")
    columns, _, seen = _Days.over(months, "GB", "ENG").monthly(months)
    raw = columns - columns.min(axis=0)
    assert raw[:, 0].tolist() == [3, 0, 3, 2, 3, 2, 3, 3, 2, 3, 2, 3]  # days beyond February's
    assert raw[:, 2].tolist() == [1, 0, 0, 2, 2, 0, 0, 1, 0, 0, 0, 2]
    assert seen == [12, 12, 5]


def test_known_effects_of_days_come_back() -> None:
    """Effects on 5 draws: inside 95 % intervals as often as they should be (z of 3), and on average within 2 %."""
    truth = {"public holiday": 0.7, "first of the month": 1.3, "day before a holiday": 1.0}
    truth |= dict(zip(("Monday", "Friday", "Saturday"), WEEK[[0, 4, 5]] / np.exp(np.log(WEEK).mean()), strict=True))
    hits, ratios = [], []
    for seed in range(5):
        table = calendar_effects(days(seed)).table.set_index("effect")
        hits.append([table["low"][k] <= v <= table["high"][k] for k, v in truth.items()])
        ratios.append([table["ratio"][k] / v for k, v in truth.items()])
    assert np.mean(hits) > 0.95 - 3 * np.sqrt(0.95 * 0.05 / np.size(hits))
    assert np.mean(ratios, axis=0) == pytest.approx(1.0, abs=0.06)


def test_a_month_is_known_by_its_days() -> None:
    """Months summed from days whose weekends have 1.3 times a working day's events."""
    index = pd.period_range("2008-01-01", "2019-12-31", freq="D")
    mean = 60 * np.where(index.day_of_week >= 5, 1.3, 1.0)
    drawn = np.random.default_rng(0).poisson(mean).astype(float)
    months = pd.Series(drawn, index).groupby(index.asfreq("M")).sum()
    months.iloc[50] = np.nan
    found = calendar_effects(months)
    table = found.table.set_index("effect")
    per_month = 60 * (365.25 / 12) * (5 + 2 * 1.3) / 7
    for name, extra in (("one working day more", 60), ("one weekend day more", 78)):
        assert table["low"][name] <= np.exp(extra / per_month) <= table["high"][name]
    assert table["ratio"]["one weekend day more"] > table["ratio"]["one working day more"]
    assert np.isnan(found.fitted["adjusted"].iloc[50])
    assert found.fitted["adjusted"].std() < found.fitted["observed"].std()
    assert found.resolution == "month"
    assert "taken for a holiday" in found._repr_html_()


def test_real_days(data_root) -> None:
    where = {"time": "date", "x": "longitude", "y": "latitude", "crs": "EPSG:4326", "plane": "EPSG:26971"}
    events = read_points(data_root / "crime/chicago/chicago_aggravated_assaults.csv.gz", **where)
    series = daily_series(events).frame["all"]
    assert len(series) == 3652
    assert series.sum() == len(events)
    table = calendar_effects(series.loc["2015-01-01":], country="US", subdivision="IL").table.set_index("effect")
    assert table["low"]["Sunday"] > 1 > table["high"]["Tuesday"]
    assert table["low"]["New Year's Day"] > 1.2
    assert table["low"]["Independence Day"] > 1.1


def test_days_of_a_month_that_is_absent_are_gaps(town_events) -> None:
    table = pd.DataFrame({"t": ["2020-01-05 10:00", "2020-01-05 11:00", "2020-03-01 09:00"], "x": 1.0, "y": 2.0})
    events = read_points(table, time="t", x="x", y="y", crs="EPSG:27700")
    frame = daily_series(events).frame["all"]
    assert len(frame) == 31 + 29 + 31
    assert frame["2020-01-05"] == 2
    assert frame["2020-01-06"] == 0
    assert frame["2020-02-01":"2020-02-29"].isna().all()
    with pytest.raises(InputError, match="month only"):
        daily_series(town_events)
    assert calendar_effects(town_events).resolution == "month"


@pytest.mark.parametrize(("change", "options", "words"), [
    (lambda s: s.iloc[:300], {}, "at least 365"), (lambda s: -s, {}, "none below 0"), (lambda s: s * 0, {}, "0 events"),
    (lambda s: s, {"country": "XX"}, "XX"), (lambda s: s, {"subdivision": "IL"}, "IL"),
    (lambda s: s.where(s.index.day_of_week < 5), {}, "all seven"), (lambda s: s.asfreq("W"), {}, "days or months"),
    (lambda s: s, {"confidence": 0}, "between 0 and 1"),
])  # fmt: skip
def test_bad_input_says_what_is_wanted(change, options, words: str) -> None:
    with pytest.raises(InputError, match=words):
        calendar_effects(change(days(0, years=2)), **options)
