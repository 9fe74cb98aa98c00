"""The pages of crime overview and hotspots: what they read, refuse and say, and that the second runs whole."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
from shapely.geometry import box

from crimeface_lib import crime
from crimeface_lib.core.errors import ConfigError, InputError, RefusedError
from crimeface_lib.core.settings import load_settings
from crimeface_lib.governance import Dpia, User, template
from crimeface_lib.synthetic import synthetic_crimes, write_police_uk
from crimeface_lib.workflow import CaseStore, open_run
from crimeface_lib.workflow.checks import check_inputs, check_policy
from crimeface_lib.workflow.config import config_path, load_config
from crimeface_lib.workflow.hotspot_study import HotspotStudy, RecordedTables
from crimeface_lib.workflow.origin import login_name
from crimeface_lib.workflow.shown import NotShown, SavedTable

POINTS = {"time": "when", "end": "until", "x": "Longitude", "y": "Latitude", "plane": "EPSG:27700"}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """A town of 14 months by month, the same with spans of hours, its borders, and a series of eight places."""
    folder, rng = tmp_path_factory.mktemp("town"), np.random.default_rng(3)
    made = synthetic_crimes(months=14, per_month=250, rng=3)
    write_police_uk(made.table, folder / "crimes.zip")
    table = made.table.dropna(subset=["Longitude"]).reset_index(drop=True)
    day = pd.to_datetime(table["Month"].astype(str)) + pd.to_timedelta(rng.integers(0, 28 * 24, len(table)), unit="h")
    table = table.assign(when=day, until=day + pd.to_timedelta(rng.integers(0, 20, len(table)), unit="h"))
    table[["when", "until", "Longitude", "Latitude", "Crime type"]].to_csv(folder / "spans.csv", index=False)
    area = gpd.GeoSeries([made.truth.area], crs=made.truth.crs)
    low, left, right, high = area.total_bounds
    shapes = [made.truth.area, box(low - 9e4, left - 9e4, right - 8e4, high - 8e4)]
    gpd.GeoDataFrame({"name": ["town", "elsewhere"]}, geometry=shapes, crs=area.crs).to_file(folder / "areas.gpkg")
    some = table.drop_duplicates(["Longitude", "Latitude"]).sample(8, random_state=1)
    some.rename(columns={"when": "date", "Longitude": "longitude", "Latitude": "latitude"})[
        ["date", "longitude", "latitude"]
    ].to_csv(folder / "series.csv", index=False)
    return folder


def opened(name="crime_hotspots", **overrides):
    return open_run(load_config(config_path(name), overrides))


def test_data_by_month_say_why_there_are_no_near_repeats(workplace, inputs):
    run = opened(crime=inputs / "crimes.zip")
    study = HotspotStudy.of(run)
    assert isinstance(study.near_repeats(run), NotShown)
    assert "near repeats happen within days" in run.record["cannot_say"][0]
    assert run.cfg.without() == ("spans", "profile")
    stays = study.sensitivity(run, "gi")
    assert set(stays.settings["varied"]) == {"cell size", "origin", "snap points"}
    found = crime.getis_ord(study.counts, study.grid)
    assert (stays.reference == found.hot).all()
    assert f"{found.hot.sum():,} of {len(study.grid):,} cells" in study.hotspots_in_words(found, stays)


def test_partitions_and_borders_are_read_and_hashed(workplace, inputs, tmp_path):
    crime.write_events(crime.read_events(inputs / "crimes.zip"), tmp_path / "parts")
    given = {"boundaries": inputs / "areas.gpkg", "boundary_name": "name"}
    run = opened(crime=tmp_path / "parts", **{"read_events.layout": "crimeface"}, **given, boundary_only=["town"])
    study = HotspotStudy.of(run)
    assert [(entry["role"], entry.get("files")) for entry in run.record["inputs"]] == [
        ("crime", len(list((tmp_path / "parts").rglob("*.parquet")))), ("boundaries", None),
    ]  # fmt: skip
    assert study.grid.basis == "cells whose centre lies inside the given area"
    assert "have no place on it" in study.on_map_in_words()
    with pytest.raises(InputError, match=r"reach over .*of the area only.*boundary_only"):
        HotspotStudy.of(opened(crime=inputs / "crimes.zip", **given))
    with pytest.raises(InputError, match=r"0% of the located events lie inside"):
        HotspotStudy.of(opened(crime=inputs / "crimes.zip", **given, boundary_only=["elsewhere"]))
    with pytest.raises(ConfigError, match="expected also boundary_name"):
        HotspotStudy.of(opened(crime=inputs / "crimes.zip", boundaries=inputs / "areas.gpkg", boundary_only=["town"]))
    with pytest.raises(InputError, match="series: got"):
        check_inputs((load_config(config_path("crime_hotspots"), {"crime": inputs / "crimes.zip", "series": "x.csv"}),))


def test_tables_hold_together_and_say_what_they_lack(workplace, inputs):
    run = opened("crime_overview", crime=inputs / "crimes.zip", predict=False)
    tables = RecordedTables.of(HotspotStudy.of(run).events)
    for by in ("type", "outcome", "lsoa", "month"):
        shown = tables.show(run, by)
        assert shown.rows[-1]["ratio (95 % interval)"].endswith(")")
        assert not {row["events"] for row in shown.rows} & set("1234")
    cross = tables.show_cross(run)
    assert not {value for row in cross.rows for value in row.values()} & set("1234")
    totals = {row["type"]: row["events"] for row in tables.show(run, "type").rows}
    names = list(cross.rows[0])
    assert {row["type"]: row[names[-1]] for row in cross.rows} == totals, "the same cell hidden or shown in both"
    assert tables.in_words().startswith("The latest year has")
    points = opened("crime_overview", crime=inputs / "spans.csv", predict=False, read_points=POINTS)
    tables = RecordedTables.of(HotspotStudy.of(points).events)
    assert isinstance(tables.show(points, "outcome"), NotShown)
    assert isinstance(tables.show_cross(points), NotShown)
    assert isinstance(tables.show(points, "month"), SavedTable)
    short = RecordedTables.of(HotspotStudy.of(points).events.select(end="2023-05-01"))
    assert "can't be told" in short.in_words()


def approve(store, content, *, author):
    dpo, approver = (store.people.get(name) for name in ("dora", "abe"))
    number = store.dpias.draft(Dpia.from_dict(content), author=author)
    store.dpias.submit(number, author=author)
    store.dpias.advise(number, "Synthetic data only.", favourable=True, adviser=dpo)
    store.dpias.approve(number, approver=approver, review_by=store.clock().date() + timedelta(days=20))


@pytest.mark.slow
def test_the_page_runs_whole_with_days_spans_and_a_series(workplace, inputs, monkeypatch):
    monkeypatch.setenv("CRIMEFACE_CHROMIUM", "/nowhere/chromium")
    store = CaseStore.open(load_settings().default_store)
    boss = User(login_name({}), frozenset({"admin", "researcher"}))
    store.people.add(boss)
    for name, role in (("rhea", "researcher"), ("dora", "approver"), ("abe", "approver")):
        store.people.add(User(name, frozenset({role})), by=boss)
    given = {f"read_points.{key}": value for key, value in POINTS.items()}
    given |= {"crime": inputs / "spans.csv", "series": inputs / "series.csv", "dataset": "sample-series"}
    given |= {"purpose": "method-evaluation", "knox_test.permutations": 19, "hotspot_sensitivity.cells": [500]}
    command = [Path(sys.executable).with_name("crimeface"), "run", "crime_hotspots"]
    command += [part for key, value in given.items() for part in ("-p", f"{key}={value}")]
    with pytest.raises(RefusedError, match="DPIA"):
        check_policy((load_config(config_path("crime_hotspots"), {**given, "actor": login_name({})}),))
    content = template("geographic_profile").to_dict()
    content["scope"] |= {"datasets": ["sample-series"]}
    approve(store, content, author=store.people.get("rhea"))
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    step = json.loads((workplace.runs()[-1] / "steps" / "crime_hotspots.json").read_text())
    assert {figure["name"] for figure in step["figures"]} == {"density", "hotspots", "moran", "hours", "profile"}
    said = " ".join(step["found"])
    for words in ("stand out as hotspots", "Moran's I", "gather in time", "the smallest areas are"):
        assert words in said or (words == "gather in time" and "Near repeats:" in said), words
    assert any("names no person and no address" in line for line in step["cannot_say"])
    assert [permit["use"]["kind"] for permit in step["permits"]] == ["geographic_profile"]
    run = opened(crime=inputs / "spans.csv", read_points=POINTS, series=inputs / "series.csv", dataset="synthetic-x")
    study = HotspotStudy.of(run)
    with pytest.raises(RefusedError, match="not the synthetic sample"):
        study.profile(run)
