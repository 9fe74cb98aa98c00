"""The sample has the layout of the real files, and its truth can be found in it."""

from __future__ import annotations

import csv
import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

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


def test_limits() -> None:
    with pytest.raises(InputError, match="at least 3 months"):
        synthetic_crimes(months=1)
