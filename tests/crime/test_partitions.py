"""Events on disk, and archives larger than memory: the same as read whole, valid for others, resumable."""

from __future__ import annotations

import json
import zipfile
from dataclasses import fields
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from crimeface_lib.core.errors import InputError, IntegrityError, SchemaError
from crimeface_lib.crime import (
    Events,
    Partitions,
    check_source,
    getis_ord,
    make_grid,
    monthly_series,
    open_partitions,
    partition_events,
    read_events,
    write_events,
)
from crimeface_lib.crime._layouts import STREET_COLUMNS
from crimeface_lib.synthetic import synthetic_crimes, write_police_uk


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small town, a row far away, an id in two months with two types, and a second force."""
    table = synthetic_crimes(months=8, start="2023-01", per_month=150, rng=3).table
    odd = table.tail(2).assign(Longitude=-2.5, Latitude=51.5)
    ids = table["Crime ID"].dropna()
    twice = table[table["Month"] == table["Month"].max()].head(1)
    twice = twice.assign(**{"Crime ID": ids.iloc[0], "Crime type": "Robbery"})
    other = table.head(40).assign(**{"Reported by": "Other Police", "Falls within": "Other Police"})
    other["Crime ID"] = other["Crime ID"].str.replace("^..", "zz", regex=True)
    path = tmp_path_factory.mktemp("archive") / "crimes.zip"
    with zipfile.ZipFile(path, "w") as file:
        for month, rows in pd.concat([table, odd, twice], ignore_index=True).groupby("Month"):
            file.writestr(f"{month}/{month}-demo-constabulary-street.csv", rows.to_csv(index=False))
        for month, rows in other.groupby("Month"):
            file.writestr(f"{month}/{month}-other-street.csv", rows[list(STREET_COLUMNS)].to_csv(index=False))
    return path


@pytest.fixture(scope="module")
def whole(archive: Path) -> Events:
    return read_events(archive)


def _same(one: Events, other: Events) -> None:
    order = ["force", "month", "crime_id", "longitude", "type", "location", "lsoa_name", "outcome"]
    tables = []
    for events in (one, other):
        plain = pd.DataFrame(events.frame.drop(columns="geometry")).astype(object)
        plain = plain.where(plain.notna(), None)
        tables.append(plain.assign(xy=list(map(str, events.coordinates()))))
    tables = [t.sort_values([*order, "xy"], key=lambda c: c.astype(str)).reset_index(drop=True) for t in tables]
    pd.testing.assert_frame_equal(*tables)
    pd.testing.assert_frame_equal(one.completeness, other.completeness, check_freq=False)


@pytest.mark.parametrize("scheduler", ["serial", "threads"])
def test_file_by_file_is_the_same_as_whole(archive: Path, whole: Events, tmp_path: Path, scheduler: str) -> None:
    told: list[tuple[int, int]] = []
    found = partition_events(
        archive, tmp_path / "out", scheduler=scheduler, progress=lambda done, total: told.append((done, total))
    )
    for field in fields(whole.quality):
        assert getattr(found.quality, field.name) == getattr(whole.quality, field.name), field.name
    assert (whole.quality.outside, whole.quality.conflicting_ids) == (2, 1)
    assert whole.quality.repeated_ids >= 2
    _same(found.events(), whole)
    assert told[0][0] == 0
    assert told[-1][0] == told[-1][1] == whole.quality.files
    assert found.attribution == whole.attribution
    assert found.caveats == whole.caveats


@pytest.mark.parametrize("policies", [
    {"outside": "drop", "missing_place": "drop"}, {"missing_id": "drop", "duplicates": "keep"}, {"outside": "keep"},
])  # fmt: skip
def test_policies_are_the_same(archive: Path, tmp_path: Path, policies: dict[str, str]) -> None:
    whole = read_events(archive, **policies)
    found = partition_events(archive, tmp_path / "out", scheduler="serial", progress=False, **policies)
    for field in fields(whole.quality):
        assert getattr(found.quality, field.name) == getattr(whole.quality, field.name), field.name
    _same(found.events(), whole)
    assert sum(whole.quality.dropped.values()) == whole.quality.rows_read - whole.quality.rows


def test_dask_gives_the_same(archive: Path, whole: Events, tmp_path: Path) -> None:
    distributed = pytest.importorskip("distributed")
    local = {"n_workers": 1, "threads_per_worker": 1, "processes": False}
    hidden = {"dashboard_address": "127.0.0.1:0"}
    with distributed.LocalCluster(**local, **hidden) as cluster, distributed.Client(cluster) as client:
        found = partition_events(archive, tmp_path / "out", scheduler=client, progress=False)
        grid = make_grid(whole, cell=500)
        np.testing.assert_array_equal(found.count(grid, scheduler=client), grid.count(whole))
    assert found.quality == whole.quality


def test_it_goes_on_where_it_stopped(archive: Path, whole: Events, tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        partition_events(archive, tmp_path / "out", scheduler="serial", progress=stop)
    with pytest.raises(InputError, match="write_events or partition_events finished"):
        open_partitions(tmp_path / "out")
    with pytest.raises(InputError, match="begun with other settings"):
        partition_events(archive, tmp_path / "out", outside="drop", progress=False)
    told: list[int] = []
    found = partition_events(archive, tmp_path / "out", progress=lambda done, _: told.append(done))
    assert told[0] >= 2
    _same(found.events(), whole)


def test_written_and_read_back(whole: Events, tmp_path: Path) -> None:
    written = write_events(whole, tmp_path / "out")
    found = open_partitions(tmp_path / "out")
    assert found.quality == written.quality == whole.quality
    _same(found.events(), whole)
    _same(read_events(tmp_path / "out", layout="crimeface"), whole)
    assert check_source(tmp_path / "out", layout="crimeface") == len(found.parts)
    assert set(read_events(tmp_path / "out", layout="crimeface", force="Other Police").frame["force"]) == {
        "Other Police"
    }
    assert len(found) == len(whole)
    assert found.to_frame()["events"].sum() == len(whole)
    assert "events" in found._repr_html_()
    with pytest.raises(InputError, match="holds something already"):
        write_events(whole, tmp_path / "out")


def test_stopped_while_it_was_settled_it_begins_again(
    archive: Path, whole: Events, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("crimeface_lib.crime.streaming.write_report", stop)
        with pytest.raises(KeyboardInterrupt):
            partition_events(archive, tmp_path / "out", progress=False)
    found = partition_events(archive, tmp_path / "out", progress=False)
    assert found.quality == whole.quality


def test_others_read_it(whole: Events, tmp_path: Path) -> None:
    found = write_events(whole, tmp_path / "out")
    every = gpd.read_parquet(tmp_path / "out")
    assert len(every) == len(whole)
    assert every.crs == whole.crs
    assert set(every["force_name"]) == set(whole.frame["force"])
    path = tmp_path / "out" / found.parts[0].path
    told = json.loads(pq.read_schema(path).metadata[b"geo"])
    column = told["columns"]["geometry"]
    assert told["version"] == "1.1.0"
    assert column["encoding"] == "WKB"
    assert column["crs"]["id"] == {"authority": "EPSG", "code": 27700}
    rows = gpd.read_parquet(path)
    np.testing.assert_allclose(column["bbox"], rows.total_bounds)
    assert column["covering"]["bbox"]["xmin"] == ["bbox", "xmin"]


def test_parts_of_it(whole: Events, tmp_path: Path) -> None:
    found = write_events(whole, tmp_path / "out")
    some = found.select(start="2023-03", end="2023-05", forces="Demo Constabulary")
    (tmp_path / "out" / found.parts[0].path).unlink()  # not of March: never opened
    events = some.events(types=["Burglary"])
    expected = whole.select(types=["Burglary"], start="2023-03", end="2023-05", forces=["Demo Constabulary"])
    assert len(events) == len(expected)
    assert [str(m) for m in events.months] == ["2023-03", "2023-04"]
    with pytest.raises(IntegrityError, match=r"is listed in _quality.json but is not there"):
        found.events()
    with pytest.raises(InputError, match="type: got Piracy"):
        some.events(types="Piracy")
    with pytest.raises(InputError, match="force: got Kent"):
        found.select(forces="Kent")
    with pytest.raises(InputError, match="holds no events"):
        found.select(start="2030-01")


def test_counts_and_series_without_reading_all(whole: Events, tmp_path: Path) -> None:
    found = write_events(whole, tmp_path / "out")
    grid = make_grid(whole, cell=500)
    np.testing.assert_array_equal(found.count(grid), grid.count(whole))
    assert len(getis_ord(found.count(grid), grid).z) == len(grid)
    by_month = found.count(grid, by="month", types="Burglary")
    for row, month in zip(by_month, found.months, strict=True):
        if whole.completeness[month].isna().any():
            assert np.isnan(row).all()
        else:
            np.testing.assert_array_equal(row, grid.count(whole.select(types="Burglary"), month=month))
    for by in (None, "type", "force"):
        pd.testing.assert_frame_equal(found.series(by=by).frame, monthly_series(whole, by=by).frame)
    with pytest.raises(InputError, match="expected None or 'month'"):
        found.count(grid, by="week")


def test_two_files_of_one_month_become_one(archive: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(archive) as file:
        month = next(n for n in file.namelist() if "2023-02" in n and "demo" in n)
        data = file.read(month)
    for name in ("a.csv", "b.csv"):  # names that tell no month: read both, and drop what is there twice
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / "in" / f"{name}-street.csv").write_bytes(data)
    whole = read_events(tmp_path / "in")
    found = partition_events(tmp_path / "in", tmp_path / "out", progress=False)
    assert whole.quality.duplicates_dropped > 50
    assert len(found.parts) == 1
    assert found.quality.duplicates_dropped == whole.quality.duplicates_dropped
    assert found.quality.shared_point == whole.quality.shared_point
    _same(found.events(), whole)


def test_faults(archive: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected one of threads, processes, serial"):
        partition_events(archive, tmp_path / "a", scheduler="slurm", progress=False)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("")
    with pytest.raises(InputError, match="holds something already"):
        partition_events(archive, tmp_path / "full", progress=False)
    with pytest.raises(SchemaError, match="far outside"):
        partition_events(archive, tmp_path / "b", outside="refuse", progress=False)
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "_quality.json").write_text("{")
    with pytest.raises(IntegrityError, match="is not JSON"):
        open_partitions(tmp_path / "c")
    (tmp_path / "c" / "_quality.json").write_text('{"format": "x"}')
    with pytest.raises(InputError, match="another format"):
        open_partitions(tmp_path / "c")
    assert isinstance(partition_events(archive, tmp_path / "d", progress=False, scheduler="threads"), Partitions)


def test_the_town_of_the_sample(tmp_path: Path) -> None:
    sample = synthetic_crimes(months=3, per_month=60, rng=1)
    write_police_uk(sample.table, tmp_path / "crimes.zip")
    found = partition_events(tmp_path / "crimes.zip", tmp_path / "out", progress=False)
    assert found.quality.gaps == tuple(f"Demo Constabulary {m}" for m in [sample.truth.gap])
