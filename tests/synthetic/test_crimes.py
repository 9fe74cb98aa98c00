"""The sample has the layout of the real files, and its truth can be found in it."""

from __future__ import annotations

import csv
import io
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm

from crimeface_lib.core.errors import InputError
from crimeface_lib.crime import make_grid, read_events
from crimeface_lib.crime._layouts import STREET_COLUMNS
from crimeface_lib.crime.events import ASB
from crimeface_lib.synthetic import SyntheticCrimes, synthetic_crimes, write_police_uk
from crimeface_lib.synthetic.crimes import REPEAT_DELAY, REPEAT_SAME_POINT


@pytest.fixture(scope="module")
def sample() -> SyntheticCrimes:
    return synthetic_crimes(months=36, rng=11)


def test_seeded(sample: SyntheticCrimes) -> None:
    assert synthetic_crimes(months=36, rng=11).table.equals(sample.table)
    assert not synthetic_crimes(months=36, rng=12).table.equals(sample.table)


def test_faults_are_those_of_the_real_files(sample: SyntheticCrimes, tmp_path: Path) -> None:
    table, truth = sample.table, sample.truth
    assert list(table.columns) == list(STREET_COLUMNS)
    assert (table["Crime ID"].isna() == (table["Crime type"] == ASB)).all()
    assert 0.005 < table["Longitude"].isna().mean() < 0.015
    assert truth.gap not in set(table["Month"])
    assert table["Month"].nunique() == 35
    assert 800 < len(table) / 35 < 1500
    assert (truth.points["addresses"] >= 8).all()
    write_police_uk(table, tmp_path / "a.zip")
    events = read_events(tmp_path / "a.zip")
    assert events.quality.duplicates_dropped == truth.duplicates > 0
    assert events.quality.missing_location <= truth.without_location
    assert events.quality.gaps == (f"Demo Constabulary {truth.gap}",)
    assert events.quality.missing_id_not_asb == events.quality.repeated_ids == events.quality.outside == 0
    assert "do not exist" in events.attribution


def test_files_are_as_shipped(tmp_path: Path) -> None:
    sample = synthetic_crimes(months=4, per_month=300, rng=1)
    names = write_police_uk(sample.table, tmp_path / "a.zip")
    assert names == write_police_uk(sample.table, tmp_path / "tree")
    assert names[0] == "2023-01/2023-01-demo-constabulary-street.csv"
    with zipfile.ZipFile(tmp_path / "a.zip") as file:
        assert file.namelist() == names
        data = file.read(names[0])
    assert data == (tmp_path / "tree" / names[0]).read_bytes()
    header, *rows = csv.reader(io.StringIO(data.decode()))
    assert header == list(STREET_COLUMNS)
    places = [(r[4], r[5]) for r in rows if r[4]]
    assert all(len(v.partition(".")[2]) == 6 for place in places for v in place)
    write_police_uk(sample.table, tmp_path / "b.zip")
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


def test_it_lies_at_sea_and_inside_its_outline(sample: SyntheticCrimes, tmp_path: Path) -> None:
    truth = sample.truth
    import shapely

    assert shapely.contains_xy(truth.area, truth.points["x"], truth.points["y"]).all()
    assert truth.points["longitude"].between(1.1, 1.5).all()
    assert truth.points["latitude"].between(53.8, 54.0).all()
    assert len(make_grid(truth.area, crs=truth.crs)) > 500


def test_background_is_recovered(sample: SyntheticCrimes) -> None:
    """The places of non-repeats follow the background: chi-square of counts over points near its degrees of freedom."""
    truth = sample.truth
    kept = sample.table[truth.is_background & sample.table["Longitude"].notna().to_numpy()].drop_duplicates()
    kind = truth.types.index("Violence and sexual offences")
    rows = kept[kept["Crime type"] == truth.types[kind]]
    number = {place: i for i, place in enumerate(zip(truth.points["longitude"], truth.points["latitude"], strict=True))}
    counts = np.bincount(
        [number[p] for p in zip(rows["Longitude"], rows["Latitude"], strict=True)], minlength=len(number)
    )
    expected = truth.background[kind] * counts.sum()
    used = expected > 1
    chi = ((counts - expected)[used] ** 2 / expected[used]).sum()
    assert chi == pytest.approx(used.sum(), abs=5 * np.sqrt(2 * used.sum()))


def test_repeat_share_is_recovered_from_pairs() -> None:
    """Close pairs in excess of chance, without looking at the flags, give back the share of near repeats."""
    sample = synthetic_crimes(months=60, per_month=3000, rng=5)
    table, truth = sample.table.dropna(subset=["Longitude", "Crime ID"]).drop_duplicates("Crime ID"), sample.truth
    for name in ("Burglary", "Shoplifting"):
        share = truth.repeat_share[truth.types.index(name)]
        rows = table[table["Crime type"] == name]
        month = rows["Month"].str[:4].astype(int) * 12 + rows["Month"].str[5:].astype(int)
        place = rows.groupby(["Longitude", "Latitude"]).ngroup().to_numpy()
        counts = np.zeros((place.max() + 1, month.max() - month.min() + 1))
        np.add.at(counts, (place, month.to_numpy() - month.min()), 1)
        near = range(1, len(REPEAT_DELAY))
        found = (counts * (counts - 1)).sum() / 2 + sum(_pairs(counts, k) for k in near)
        total = counts.sum(axis=0, keepdims=True)
        alike = sum(_pairs(counts, k) for k in range(6, 30)) / sum(_pairs(total, k) for k in range(6, 30))
        chance = alike * ((total * (total - 1)).sum() / 2 + sum(_pairs(total, k) for k in near))
        # pairs per first event: itself with each of its repeats, and the repeats with each other
        ratio = share / (1 - share)
        pairs = ratio * REPEAT_SAME_POINT + ratio**2 / 2 * REPEAT_SAME_POINT**2
        assert found - chance == pytest.approx(len(rows) * (1 - share) * pairs, rel=0.2, abs=0.02 * len(rows))


def _pairs(counts: np.ndarray, lag: int) -> float:
    return float((counts[:, lag:] * counts[:, :-lag]).sum())


@pytest.fixture(scope="module")
def town() -> SyntheticCrimes:
    """Five years with three sectors that report differently."""
    return synthetic_crimes(months=60, per_month=2000, reporting=(0.9, 0.6, 0.35), rng=21)


def monthly(sample: SyntheticCrimes, kind: str) -> tuple[np.ndarray, pd.PeriodIndex]:
    """Return counts of the months published, without duplicates, from the fourth on: the first lack earlier causes."""
    rows = sample.table[sample.table["Crime type"] == kind]
    rows = rows[rows["Crime ID"].isna() | ~rows["Crime ID"].duplicated()]
    months = pd.PeriodIndex(sorted(set(sample.table["Month"])), freq="M")[3:]
    return rows["Month"].value_counts().reindex(months.astype(str), fill_value=0).to_numpy(float), months


def test_season_and_growth_are_recovered(town: SyntheticCrimes) -> None:
    """Poisson regression on a year's cosine and time, per type: z-scores of all 14 x 3 numbers, widened for repeats."""
    truth, scores = town.truth, []
    for number, kind in enumerate(truth.types):
        counts, months = monthly(town, kind)
        angle = 2 * np.pi * months.month.to_numpy() / 12
        years = (months.asi8 - months.asi8[0]) / 12
        amplitude = (truth.seasonality[number].max() - truth.seasonality[number].min()) / 2
        peak = 2 * np.pi * (truth.seasonality[number].argmax() + 1) / 12
        factor = np.log(truth.seasonality[number][months.month.to_numpy() - 1])
        design = np.column_stack([np.ones(len(counts)), years, np.cos(angle), np.sin(angle)])
        # what is left beside the true season should have no year's wave, and grow as it should
        fit = sm.GLM(counts, design, family=sm.families.Poisson(), offset=factor).fit(scale="X2")
        want = np.array([np.log1p(truth.growth[number]), 0.0, 0.0])
        error = np.sqrt(np.diag(fit.cov_params()))[1:] * max(1.0, 1 / np.sqrt(fit.scale))
        scores.append((fit.params[1:] - want) / error)
        if amplitude > 0.25:  # and without the truth, the wave itself comes back
            free = sm.GLM(counts, design, family=sm.families.Poisson()).fit()
            assert np.hypot(*free.params[2:]) == pytest.approx(amplitude, abs=0.08)
            turn = np.arctan2(free.params[3], free.params[2]) - peak
            assert abs((turn + np.pi) % (2 * np.pi) - np.pi) < 0.5
    assert np.abs(scores).max() < 4.5
    assert np.sqrt(np.mean(np.square(scores))) == pytest.approx(1.0, abs=0.35)


def test_reporting_is_recovered_where_it_is_known_what_happened(town: SyntheticCrimes) -> None:
    """Reported over occurred per sector, without duplicates; and from a survey of one event in ten."""
    truth, table = town.truth, town.table
    group = truth.points.drop_duplicates("lsoa_code").set_index("lsoa_code")["group"]
    rows = table[table["LSOA code"].notna() & (table["Crime ID"].isna() | ~table["Crime ID"].duplicated())]
    reported = rows["LSOA code"].map(group).value_counts().sort_index().to_numpy() / 0.99  # 1 in 100 lost its place
    occurred = truth.occurred.groupby("group")["events"].sum().to_numpy()
    error = np.sqrt(truth.reporting * (1 - truth.reporting) / occurred) + 0.003 * truth.reporting
    assert np.abs(reported / occurred - truth.reporting).max() < (4 * error).max()
    survey = np.random.default_rng(0).binomial(occurred, 0.1)
    assert reported / survey / 10 == pytest.approx(truth.reporting, rel=0.08)
    # recorded counts alone rank the sectors differently from what happened
    assert truth.occurred["events"].sum() > 1.5 * len(rows)
    whole = synthetic_crimes(months=4, per_month=300, rng=1)
    assert whole.truth.reporting.tolist() == [1.0]
    last = whole.table.drop_duplicates("Crime ID")["Crime ID"].notna().sum()
    assert whole.truth.occurred.loc[whole.truth.occurred["type"] != ASB, "events"].sum() == last


def test_background_of_each_point_is_correlated_and_calibrated(town: SyntheticCrimes) -> None:
    """Counts per point and type against the truth where reporting is known: correlated, and right in each band."""
    truth = town.truth
    at = pd.MultiIndex.from_frame(truth.points[["longitude", "latitude"]])
    heard = truth.reporting[truth.points["group"]]
    for kind in ("Violence and sexual offences", ASB, "Shoplifting"):
        rows = town.table[(town.table["Crime type"] == kind) & town.table["Longitude"].notna()]
        rows = rows[rows["Crime ID"].isna() | ~rows["Crime ID"].duplicated()]
        counts = rows.groupby(["Longitude", "Latitude"]).size().reindex(at, fill_value=0).to_numpy(float)
        expected = truth.background[truth.types.index(kind)] * heard
        expected *= counts.sum() / expected.sum()
        assert np.corrcoef(counts, expected)[0, 1] > 0.9
        band = np.digitize(expected, np.quantile(expected, [0.25, 0.5, 0.75, 0.9]))
        found, want = np.bincount(band, counts), np.bincount(band, expected)
        assert (np.abs(found - want) < 4.5 * np.sqrt(want)).all()


def test_outcomes_and_stops_are_read_back(tmp_path: Path) -> None:
    sample = synthetic_crimes(months=5, per_month=400, rng=3)
    names = write_police_uk(sample.table, tmp_path / "a.zip", outcomes=sample.outcomes, stops=sample.stops)
    assert {name.rsplit("-", 1)[-1] for name in names} == {"street.csv", "outcomes.csv", "search.csv"}
    assert len(names) == 4 + 5 + 4  # outcomes come in the month without crimes, too
    assert sample.outcomes["Crime ID"].is_unique
    crimes = sample.table.dropna(subset="Crime ID").drop_duplicates("Crime ID")
    both = sample.outcomes.merge(crimes, on="Crime ID", suffixes=("", " of the crime"), validate="one_to_one")
    assert len(both) == len(sample.outcomes)
    assert (both["Outcome type"] == both["Last outcome category"]).all()
    assert (both["Month"] >= both["Month of the crime"]).all()
    events = read_events(tmp_path / "a.zip")
    assert len(events) == len(sample.table) - sample.truth.duplicates
    stops = read_events(tmp_path / "a.zip", layout="police.uk/stop-and-search")
    assert len(stops) == len(sample.stops)
    assert sample.stops[["Gender", "Age range", "Officer-defined ethnicity"]].isna().all(axis=None)


def test_limits() -> None:
    with pytest.raises(InputError, match="shares"):
        synthetic_crimes(reporting=(0.5, 1.2))
    with pytest.raises(InputError, match="at least 3 months"):
        synthetic_crimes(months=1)
