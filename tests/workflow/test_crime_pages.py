"""Crime over time and by place: what the two pages read, refuse and say, and that they run whole."""

from __future__ import annotations

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
from crimeface_lib.core.errors import ConfigError, InputError, RefusedError, SchemaError
from crimeface_lib.core.settings import load_settings
from crimeface_lib.governance import Dpia, User, template
from crimeface_lib.synthetic import synthetic_crimes, write_police_uk
from crimeface_lib.workflow import CaseStore, crime_pages, open_run
from crimeface_lib.workflow.checks import check_inputs, check_policy
from crimeface_lib.workflow.config import config_path, load_config
from crimeface_lib.workflow.origin import login_name

ME = login_name({})
POINTS = {"time": "when", "x": "lon", "y": "lat", "crs": "EPSG:4326", "plane": "EPSG:27700", "type": "kind"}


@pytest.fixture(scope="module")
def made():
    return synthetic_crimes(months=36, per_month=120, rng=3)


@pytest.fixture
def town(made, tmp_path) -> Path:
    write_police_uk(made.table, tmp_path / "town.zip")
    return tmp_path / "town.zip"


@pytest.fixture
def table(made, tmp_path) -> Path:
    """The same events as a table of somebody else's, with days."""
    rows = made.table.dropna(subset=["Longitude"])
    day = np.random.default_rng(1).integers(1, 28, len(rows))
    when = [f"{month}-{d:02d} 12:00" for month, d in zip(rows["Month"], day, strict=True)]
    frame = pd.DataFrame({"when": when, "lon": rows["Longitude"], "lat": rows["Latitude"], "kind": rows["Crime type"]})
    frame.to_csv(tmp_path / "points.csv", index=False)
    return tmp_path / "points.csv"


@pytest.fixture
def halves(made, tmp_path) -> Path:
    """The western and the eastern half of the town."""
    x, y = made.table["Longitude"].median(), made.table["Latitude"].median()
    shapes = [box(x - 1, y - 1, x, y + 1), box(x, y - 1, x + 1, y + 1)]
    gpd.GeoDataFrame({"half": ["west", "east"]}, geometry=shapes, crs=4326).to_file(tmp_path / "halves.geojson")
    return tmp_path / "halves.geojson"


def config(name, crimes, **overrides):
    return load_config(config_path(name), {"crime": crimes, **overrides})


def approve(*models):
    store = CaseStore.open(load_settings().default_store)
    boss = User(ME, frozenset({"admin", "custodian", "researcher"}))
    store.people.add(boss)
    for name, role in (("rhea", "researcher"), ("dora", "approver"), ("abe", "approver")):
        store.people.add(User(name, frozenset({role})), by=boss)
    content = template("place_prediction").to_dict()
    content["scope"]["models"] = [{"name": model, "version": "1"} for model in models]
    author, dpo, approver = (store.people.get(name) for name in ("rhea", "dora", "abe"))
    number = store.dpias.draft(Dpia.from_dict(content), author=author)
    store.dpias.submit(number, author=author)
    store.dpias.advise(number, "Synthetic data only.", favourable=True, adviser=dpo)
    store.dpias.approve(number, approver=approver, review_by=store.clock().date() + timedelta(days=20))
    return store


# -- refused before a kernel starts --------------------------------------------------------------------------------
def test_parts_of_a_config_that_do_not_fit_together_are_named():
    with pytest.raises(ConfigError, match=r"horizon: got '2W', expected whole months such as 1M"):
        config("crime_places", "a.zip", horizon="2W")
    assert config("crime_places", "a.csv", horizon="2W", read_points=POINTS).horizon == "2W"
    with pytest.raises(ConfigError, match=r"tune: got the baseline"):
        config("crime_places", "a.zip", tune=True)
    with pytest.raises(ConfigError, match=r"areas: got boundaries, expected also boundaries \(a file\)"):
        config("crime_forecast", "a.zip", areas="boundaries")
    with pytest.raises(ConfigError, match=r"'horizon': got 13"):
        config("crime_forecast", "a.zip", horizon=13)
    with pytest.raises(ConfigError, match=r"'horizon': got 'soon'"):
        config("crime_places", "a.zip", horizon="soon")


def test_what_cannot_be_read_is_said_before_anything_runs(table, town, tmp_path):
    check_inputs((config("crime_places", table, read_points=POINTS), config("crime_forecast", town)))
    with pytest.raises(SchemaError, match=r"read_points.time: got 'date'; expected one of the columns when, lon, lat"):
        check_inputs((config("crime_places", table, read_points={**POINTS, "time": "date"}),))
    with pytest.raises(SchemaError, match=r"crime .*other tables need read_points"):
        check_inputs((config("crime_forecast", table),))
    with pytest.raises(InputError, match=r"groups: got .*none.csv, expected a CSV file with columns area, group"):
        check_inputs((config("crime_places", town, groups=tmp_path / "none.csv"),))
    pd.read_csv(table).assign(suspect_name="x").to_csv(table, index=False)
    with pytest.raises(RefusedError, match="suspect_name"):
        check_inputs((config("crime_places", table, read_points=POINTS),))


@pytest.mark.parametrize("name", ["crime_forecast", "crime_places"])
def test_without_an_approved_dpia_the_page_is_refused(workplace, town, name):
    CaseStore.open(load_settings().default_store).people.add(User(ME, frozenset({"admin", "researcher"})))
    code, said = workplace.run_cli("run", name, "-p", f"crime={town}")
    assert code == 3, said
    assert "DPIA" in said
    assert "forecast" in config(name, town, predict=False).without()


def test_a_dpia_for_places_does_not_cover_a_forecast_of_series(workplace, town):
    approve("decayed_counts")
    given = {"purpose": "method-evaluation", "dataset": "synthetic-crimes", "actor": ME}
    check_policy((config("crime_places", town, **given),))
    with pytest.raises(RefusedError, match="model: got series_pool"):
        check_policy((config("crime_forecast", town, **given),))


def test_a_permit_for_places_does_not_serve_for_series(workplace, town):
    approve("decayed_counts", "series_pool")
    run = open_run(config("crime_forecast", town, purpose="method-evaluation", dataset="synthetic-crimes"))
    events = crime_pages.read_crime(run)
    counts = crime_pages.counts_by(events, run.cfg, None)
    found = run.use(run.permit_series(events), crime.forecast, counts, horizon=2, model="auto")
    assert found.table["month"].nunique() == 2
    places = run.permit("place_prediction", dataset="synthetic-crimes", model="decayed_counts", version="1")
    with pytest.raises(RefusedError, match="model: got series_pool"):
        run.use(places, crime.forecast, counts, horizon=2, model="auto")


# -- read and grouped ----------------------------------------------------------------------------------------------
def test_counts_by_type_and_area_add_up_and_keep_the_gap(workplace, made, town, halves):
    run = open_run(config("crime_forecast", town, areas="boundaries", boundaries=halves, boundary_name="half", most=3))
    events = crime_pages.read_crime(run)
    borders = crime_pages.read_borders(run, events.crs)
    counts = crime_pages.counts_by(events, run.cfg, borders)
    total = crime.monthly_series(events).frame["all"]
    pd.testing.assert_series_equal(counts.sum(axis=1, min_count=1), total, check_names=False, check_freq=False)
    assert counts.isna().all(axis=1).sum() == 1, "the month that is missing"
    assert counts.columns.names == ["area", "type"]
    assert set(counts.columns.get_level_values("area")) == {"west", "east", "(no area)"}
    assert counts.columns.get_level_values("type").nunique() == 4, "three, and the rest"
    west = counts.T.groupby(level="area").sum().T.sum()["west"]
    x = events.frame["longitude"].to_numpy()
    middle, near = made.table["Longitude"].median(), 0.002  # a meridian is bent in the plane
    assert (x < middle - near).sum() <= west <= (x < middle + near).sum()
    grid = crime.make_grid(events, cell=500.0)
    assert set(crime_pages.names_at(grid.centres(), borders)) <= {"west", "east", "(no area)"}
    kept, found = crime.reported(events)
    assert set(found) == {"Drugs", "Possession of weapons"} & set(events.types)
    assert not set(found) & set(kept.types)
    with pytest.raises(InputError, match="found by policing"):
        crime.reported(events.select(types=["Drugs"]))


def test_a_table_of_points_is_read_cut_and_has_no_districts(workplace, table):
    cfg = config("crime_forecast", table, read_points=POINTS, types=["Burglary"], start="2023-03-01", areas="district")
    run = open_run(cfg)
    events = crime_pages.read_crime(run)
    assert events.types == ("Burglary",)
    assert str(events.months[0]) == "2023-03"
    with pytest.raises(InputError, match="no event carries an LSOA name"):
        crime_pages.counts_by(events, cfg, None)


def test_boundaries_that_are_none_are_refused(workplace, town, table, halves):
    with pytest.raises(SchemaError, match=r"boundary_name: got 'ward', expected one of the columns half"):
        crime_pages.read_borders(open_run(config("crime_places", town, boundaries=halves, boundary_name="ward")), 27700)
    gpd.read_file(halves).set_geometry(gpd.read_file(halves).boundary).to_file(halves)
    with pytest.raises(SchemaError, match="expected polygons"):
        crime_pages.read_borders(open_run(config("crime_places", town, boundaries=halves)), 27700)
    with pytest.raises(InputError, match=r"town.zip: could not be read"):
        crime_pages.read_borders(open_run(config("crime_places", town, boundaries=table.parent / "town.zip")), 27700)


# -- whole -----------------------------------------------------------------------------------------------------------
@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("crime_forecast", ["-p", "areas=district", "-p", "horizon=2"], ["intervals meant to hold 80% held"]),
        ("crime_places", ["-p", "cutoffs=3", "-p", "make_grid.cell=500", "-p", "check_places.runs=5",
                          "-p", "tune=true", "-p", "predict_places.model=counts"],
         ["past dates, in 5% of the area the baseline", "would not be where the events are", "is kept (PAI"]),
    ],
)  # fmt: skip
def test_each_page_runs_whole(workplace, town, monkeypatch, name, arguments, words):
    """P10: feedback, exposure and what was left out stand beside each forecast of places."""
    approve("counts", "series_pool")
    monkeypatch.setenv("CRIMEFACE_CHROMIUM", "/nowhere/chromium")
    command = [Path(sys.executable).with_name("crimeface"), "run", name, "-p", f"crime={town}"]
    given = ["-p", "purpose=method-evaluation", "-p", "dataset=synthetic-crimes"]
    done = subprocess.run([*command, *given, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (folder,) = workplace.runs()
    page = (folder / f"{name}.html").read_text()
    for text in (*words, "recorded events, 2023-01 to 2025-12; 1 month is missing", "Drugs"):
        assert text in page, text


def test_a_short_series_is_told_why_it_has_no_season():
    months = pd.period_range("2020-01", periods=24, freq="M")
    assert crime_pages.too_short(pd.Series(1.0, index=months)) == ""
    gap = pd.Series(1.0, index=months).where(months != "2020-05")
    assert "23 months have data" in crime_pages.too_short(gap)
