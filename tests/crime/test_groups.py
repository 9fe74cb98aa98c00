"""Cells take the group of the area that most of their events carry."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from crimeface_lib.core.errors import InputError, RefusedError, SchemaError
from crimeface_lib.crime import cell_groups, exposure


@pytest.fixture
def table(town_events):
    codes = sorted(town_events.frame["lsoa_code"].dropna().unique())
    return pd.DataFrame({"area": codes, "group": ["a" if k % 2 else "b" for k in range(len(codes))]})


def test_each_cell_has_the_group_of_most_of_its_events(town_events, town_grid, table, tmp_path):
    found = cell_groups(town_events, town_grid, table)
    cell = town_grid.index_events(town_events)
    named = table.set_index("area")["group"]
    for number in np.unique(cell[cell >= 0])[::40]:
        codes = town_events.frame["lsoa_code"][cell == number].dropna().value_counts()
        if len(codes) and (len(codes) == 1 or codes.iloc[0] > codes.iloc[1]):
            assert found[number] == named[codes.index[0]]
    assert set(found[np.bincount(cell[cell >= 0], minlength=len(town_grid)) == 0]) <= {"(no group)"}
    table.to_csv(tmp_path / "groups.csv", index=False)
    assert (cell_groups(town_events, town_grid, tmp_path / "groups.csv") == found).all()


def test_exposure_by_group_is_in_proportion_when_risk_is_even(town_events, town_grid, table):
    groups = cell_groups(town_events, town_grid, table)
    even = exposure(np.random.default_rng(0).random(len(town_grid)), groups, share=0.5).table.set_index("group")
    assert even.loc[["a", "b"], "ratio"].between(0.8, 1.2).all()
    skewed = exposure((groups == "a").astype(float), groups, share=0.05).table.set_index("group")
    assert skewed.loc["a", "of_riskiest"] == 1.0
    assert skewed.loc["b", "ratio"] == 0.0


def test_bad_tables_say_what_is_wanted(town_events, town_grid, table):
    with pytest.raises(SchemaError, match="columns area, group"):
        cell_groups(town_events, town_grid, table.rename(columns={"area": "lsoa"}))
    with pytest.raises(SchemaError, match="more than one group"):
        cell_groups(town_events, town_grid, pd.concat([table, table.assign(group="c")]))
    with pytest.raises(InputError, match="LSOA codes"):
        cell_groups(town_events, town_grid, table.assign(area=[f"X{k}" for k in range(len(table))]))
    with pytest.raises(RefusedError):
        cell_groups(town_events, town_grid, table.assign(date_of_birth="1990-01-01"))
