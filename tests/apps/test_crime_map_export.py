"""What leaves the crime map: no small count can be read from it, and its first lines say what it is."""

from __future__ import annotations

import base64
import re

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from crimeface_lib.apps import Session
from crimeface_lib.apps.map_data import AppEvents, CellMonths
from crimeface_lib.apps.map_view import MapView
from crimeface_lib.core.settings import Settings
from crimeface_lib.workflow.apps_config import CrimeMapSection

SHA = "b" * 64


@pytest.fixture(scope="module")
def view(events, tmp_path_factory) -> MapView:
    session = Session(settings=Settings(home=tmp_path_factory.mktemp("home")), environ={})
    return MapView(CellMonths(AppEvents(events, SHA), cell=500.0), config=CrimeMapSection(), session=session)


def table(view) -> tuple[str, pd.DataFrame]:
    """The lines at the head, and the rows."""
    lines = view.export().table(code="crimeface-lib 1", at="2026-01-01").splitlines()
    head = [line for line in lines if line.startswith("# ")]
    rows = pd.DataFrame([line.split(",") for line in lines[len(head) + 1 :]], columns=["east", "north", "value"])
    return "\n".join(head), rows


def test_counts_below_five_are_not_in_the_table_and_the_rest_is_right(view, events):
    view.type.value, view.layer.value = "Burglary", "counts"
    head, rows = table(view)
    counts = view.data.counts("Burglary").sum(axis=0)
    small = (counts > 0) & (counts < 5)
    assert small.sum() > 1
    assert (rows["value"][small] == "1 to 4").all()
    given = ~rows["value"].isin(["1 to 4", "not given"]).to_numpy()
    np.testing.assert_array_equal(rows["value"][given].astype(int), counts[given])
    assert given.sum() > len(counts) / 2
    np.testing.assert_allclose(rows[["east", "north"]].astype(float), view.grid.centres())
    assert f"{small.sum()} counts of 1 to 4" in head
    for said in ("Burglary, Jan 2023 to Feb 2024", "13 of 14 months", events.attribution, SHA, "EPSG:27700", "lib 1"):
        assert said in head


def test_one_small_count_takes_others_with_it(view):
    """Who knows the sum must not work it out."""
    area = min(view.areas, key=lambda name: view.areas[name].sum())
    view.type.value, view.layer.value, view.area.value = "All types", "counts", area
    _, rows = table(view)
    hidden = rows["value"].isin(["1 to 4", "not given"])
    counts = view.data.counts(None).sum(axis=0)[view.areas[area]]
    small = (counts > 0) & (counts < 5)
    assert not small.any() or hidden.sum() > 1
    view.area.value = "Whole map"


def test_other_layers_give_no_small_count_away(view):
    view.type.value, view.layer.value = "Robbery", "density"
    _, rows = table(view)
    least = 5 / (2 * np.pi * 0.3**2)
    low = (view.layer_shown.values > 0) & (view.layer_shown.values < least)
    assert low.any()
    assert rows["value"][low].eq(f"below {least:.1f}").all()
    assert all(v.startswith("below") or float(f"{float(v):.2g}") == float(v) for v in rows["value"])
    view.layer.value = "hotspots"
    assert set(table(view)[1]["value"]) <= {"hotspot", "no hotspot"}
    view.layer.value = "points"
    _, rows = table(view)
    _, counts = view.data.points("Robbery")
    assert len(rows) == (counts.sum(axis=0) > 0).sum()
    assert (rows["value"] == "1 to 4").sum() >= ((counts.sum(axis=0) > 0) & (counts.sum(axis=0) < 5)).sum()


def test_a_gap_is_no_zero_in_a_table_either(view, events):
    view.layer.value, view.by_month.value = "counts", True
    view.month.value = int(np.flatnonzero(events.completeness.isna().any().to_numpy())[0])
    head, rows = table(view)
    assert set(rows["value"]) == {"not published"}
    assert "a gap, not zero" in head
    view.by_month.value = False


@pytest.mark.parametrize("layer", ["counts", "density", "hotspots", "points"])
def test_figure_and_table_are_links_that_go_when_the_choice_changes(view, layer, tmp_path):
    view.type.value, view.layer.value = "All types", layer
    view.save.click()
    found = dict(re.findall(r'download="([^"]+)" href="data:[^"]*base64,([^"]+)"', view.links.value))
    assert list(found) == [f"crime-map-{layer}-2023-01-to-2024-02.{kind}" for kind in ("png", "csv")]
    (tmp_path / "a.png").write_bytes(base64.b64decode(found[f"crime-map-{layer}-2023-01-to-2024-02.png"]))
    picture = np.asarray(Image.open(tmp_path / "a.png").convert("RGB"), dtype=float)
    assert picture.shape[1] == 1400
    assert picture.std() > 10
    view.type.value = "Burglary"
    assert view.links.value == ""
