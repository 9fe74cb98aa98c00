"""All that goes beside a forecast: each part against what it must be on data made for it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from shapely.geometry import box

from crimeface_lib.core.errors import InputError, ShapeError
from crimeface_lib.crime import Events, Grid, PlaceChecks, check_places, make_grid, predict_places, read_points


@pytest.fixture(scope="module")
def checks(town_events: Events, town_grid: Grid) -> PlaceChecks:
    risk = predict_places(town_events, town_grid, at="2024-06", horizon="1M", model="decayed_counts")
    west = np.where(town_grid.column < np.median(town_grid.column), "west", "east")
    return check_places(town_events, town_grid, risk, groups=west, runs=20, rng=3)


def test_every_check_is_there_and_says_a_sentence(checks: PlaceChecks) -> None:
    table = checks.to_frame()
    assert len(table) == len(checks.text) == 5
    assert table["value"].notna().all()
    assert checks.corrected.drift < checks.feedback.drift
    assert checks.discovered["type"].tolist() == ["Drugs", "Possession of weapons"]
    assert checks.discovered["left_out"].all()
    assert "are left out" in checks.text[-1]
    assert "times as much as its share" in checks.text[3]
    assert checks.to_dict()["stability"]["runs"] == 20


def test_included_police_discovered_types_are_flagged(town_events: Events, town_grid: Grid) -> None:
    risk = predict_places(town_events, town_grid, at="2024-06", horizon="1M", police_discovered=True)
    found = check_places(town_events, town_grid, risk, runs=2, rng=3)
    assert "INCLUDED" in found.text[-1]
    assert "not checked" in found.text[3]
    assert found.exposure is None


def test_stability_tells_firm_cells_from_chance() -> None:
    """Five cells of a hundred stand far above the rest; of the five after them none does."""
    gen = np.random.default_rng(0)
    cell = np.r_[np.repeat(np.arange(5), 150), gen.integers(5, 100, 950)]
    xy = (np.column_stack(np.divmod(cell, 10)) + 0.5) * 100 + [500_000, 300_000]
    when = pd.Timestamp("2022-01-01") + pd.to_timedelta(gen.uniform(0, 700, len(cell)), unit="D")
    table = pd.DataFrame({"when": when.floor("s"), "x": xy[:, 0], "y": xy[:, 1]})
    events = read_points(table, time="when", x="x", y="y", crs="EPSG:27700")
    grid = make_grid(box(500_000, 300_000, 501_000, 301_000), crs="EPSG:27700", cell=100)
    risk = predict_places(events, grid, at="2023-12-01", horizon="30D", model="decayed_counts")
    firm = check_places(events, grid, risk, share=0.05, runs=20, rng=1).stability
    assert firm.overlap.tolist() == [1.0] * 20
    assert firm.firm == 1.0
    loose = check_places(events, grid, risk, share=0.10, runs=20, rng=1).stability
    assert loose.overlap.mean() < 0.9
    assert 0.5 <= loose.firm < 1.0
    assert loose.chosen.sum() == pytest.approx(10)
    again = check_places(events, grid, risk, share=0.10, runs=20, rng=1).stability
    np.testing.assert_array_equal(again.chosen, loose.chosen)
    assert loose.to_frame()["chosen"].iloc[:5].tolist() == pytest.approx([1.0] * 5)


def test_faults(town_events: Events, town_grid: Grid) -> None:
    risk = predict_places(town_events, town_grid, at="2024-06", horizon="1M")
    coarse = make_grid(town_events, cell=1000.0)
    with pytest.raises(ShapeError, match="expected the grid's"):
        check_places(town_events, coarse, risk)
    with pytest.raises(InputError, match="runs: got 1"):
        check_places(town_events, town_grid, risk, runs=1)
