"""An attacker with every table at once, and with last month's: no small count follows."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import linprog

from crimeface_lib.core.errors import InputError
from crimeface_lib.crime import Events, Release, read_points, release_tables, release_years, summarise


def _crimes(seed: int, rows: int = 150) -> Events:
    gen = np.random.default_rng(seed)
    month = gen.choice(["2023-01", "2023-02", "2023-03"], rows)
    table = pd.DataFrame({
        "when": month, "x": 400_000 + gen.integers(0, 500, rows), "y": 300_000.0,
        "kind": gen.choice(list("ABCD"), rows, p=[0.6, 0.3, 0.07, 0.03]),
    })  # fmt: skip
    events = read_points(table, time="when", x="x", y="y", type="kind", crs="EPSG:27700", resolution="month")
    lsoa = gen.choice([f"L{n}" for n in range(6)], rows, p=[0.4, 0.3, 0.15, 0.09, 0.04, 0.02])
    events.frame["lsoa_name"] = pd.Categorical(lsoa)
    return events


def _attack(events: Events, releases: list[Release], wards: dict[str, str]) -> list[tuple[float, float, float]]:
    """Count and bounds of each suppressed cell, over every possible set of events; sums made here, not there."""
    rows = pd.DataFrame({
        "month": events.frame["month"].dt.strftime("%Y-%m"), "type": events.frame["type"].astype(str),
        "lsoa": events.frame["lsoa_name"].astype(str),
    })  # fmt: skip
    rows["ward"] = rows["lsoa"].map(wards)
    places = rows[["lsoa", "ward"]].drop_duplicates().to_numpy()
    atoms = pd.DataFrame(
        [(m, t, *p) for m in rows["month"].unique() for t in rows["type"].unique() for p in places],
        columns=["month", "type", "lsoa", "ward"],
    )
    shown, hidden = [], []
    for release in releases:
        inside = atoms["month"].isin(release.months).to_numpy()
        for keys, table in release.tables.items():
            long = table["events"] if len(keys) == 1 else table.stack(future_stack=True)
            for index, value in long.items():
                member = inside.copy()
                real = rows["month"].isin(release.months)
                for key, label in zip(keys, index if isinstance(index, tuple) else (index,), strict=True):
                    if label != "Total":
                        member &= (atoms[key] == label).to_numpy()
                        real &= rows[key] == label
                if np.isnan(value):
                    hidden.append((member.astype(float), float(real.sum())))
                else:
                    assert value == real.sum()
                    assert not 0 < value < release.minimum
                    shown.append((member.astype(float), value))
    left, right = np.array([m for m, _ in shown]), np.array([v for _, v in shown])
    ends = []
    for member, real in hidden:
        low, high = (linprog(sign * member, A_eq=left, b_eq=right, bounds=(0, None)) for sign in (1, -1))
        ends.append((real, low.fun, np.inf if high.status == 3 else -high.fun))
    return ends


@pytest.mark.parametrize("seed", range(2))
def test_no_small_count_follows_from_all_tables(seed: int) -> None:
    events = _crimes(seed)
    wards = {f"L{n}": f"W{n // 2}" for n in range(6)}
    tables = (("type",), ("lsoa", "type"), ("ward", "type"), ("month",))
    release = release_tables(events, tables=tables, areas={"ward": wards})
    assert release.primary > 0
    for real, low, high in _attack(events, [release], wards):
        assert low <= real + 1e-6 <= high + 2e-6
        if real < 5:
            assert low <= 1 + 1e-6
            assert high >= 5 - 1e-6


@pytest.mark.parametrize("seed", range(2))
def test_one_more_month_reveals_nothing(seed: int) -> None:
    events = _crimes(seed + 10, 90)
    wards = dict.fromkeys([f"L{n}" for n in range(6)], "W")
    first = release_tables(events.select(end="2023-03"), tables=(("lsoa",), ("type",)))
    alone = release_tables(events, tables=(("lsoa",), ("type",)))
    both = release_tables(events, tables=(("lsoa",), ("type",)), previous=first)
    small = [e for e in _attack(events, [first, both], wards) if e[0] < 5]
    assert all(low <= 1 + 1e-6 and high >= 5 - 1e-6 for _, low, high in small)
    assert both.secondary >= alone.secondary


def test_tables_one_by_one_would_reveal() -> None:
    """The attack finds what separate suppression gives away: the test can fail."""
    events = _crimes(3)
    wards = dict.fromkeys([f"L{n}" for n in range(6)], "W")
    apart = [
        release_tables(events, tables=(keys,)) for keys in (("lsoa", "type"), ("month", "type"), ("lsoa", "month"))
    ]
    together = release_tables(events, tables=(("lsoa", "type"), ("month", "type"), ("lsoa", "month")))

    def tight(releases: list[Release]) -> int:
        ends = _attack(events, releases, wards)
        return sum(real < 5 and (low > 1 + 1e-6 or high < 5 - 1e-6) for real, low, high in ends)

    assert tight([together]) == 0
    assert tight(apart) > 0


def test_faults(town_events: Events, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="expected some of: type, lsoa, force, outcome, month"):
        release_tables(town_events, tables=(("officer",),))
    with pytest.raises(InputError, match="one or two different keys"):
        release_tables(town_events, tables=(("type", "type"),))
    monkeypatch.setattr("crimeface_lib.crime.release._MOST", 10)
    with pytest.raises(InputError, match="select fewer months"):
        release_tables(town_events, tables=(("lsoa", "type"), ("outcome", "type")))


def test_changes_are_made_from_what_is_released(town_events):
    """Both years of each table come from one release each: no second way to the same count."""
    released, changes = release_years(town_events, minimum=5)
    assert set(changes) == {"type", "outcome"}
    whole = summarise(town_events, by="type", minimum=2).to_frame().set_index("type")
    for by, found in changes.items():
        table = found.to_frame().set_index(by)
        np.testing.assert_array_equal(
            table["events"].drop("Total"), released.tables[by,]["events"].reindex(table.index[:-1])
        )
        assert table.index[-1] == "Total"
        assert table.loc["Total", "events"] == whole.loc["Total", "events"]
        assert not ((table[["events", "previous"]] > 0) & (table[["events", "previous"]] < 5)).to_numpy().any()
        shown = table[["events", "previous"]].notna().all(axis=1)
        assert table["ratio"][~shown].isna().all()
    shown = changes["type"].to_frame().set_index("type")
    kept = shown.index[shown[["events", "previous"]].notna().all(axis=1)]
    np.testing.assert_allclose(shown.loc[kept, "ratio"], whole.loc[kept, "ratio"])
