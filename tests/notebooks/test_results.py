"""Every public result shows itself in a notebook: readable, of modest size, and never as somebody else's markup."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import json
import re
import shutil
import tempfile
import types
import typing
from collections.abc import Iterator
from datetime import UTC, date, datetime
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from crimeface_lib import crime, evidence, faces, governance, metrics, recognition, reconstruction, storage, synthetic
from crimeface_lib.core.results import Result

SURFACE = json.loads((Path(__file__).resolve().parents[1] / "api_surface.json").read_text())
#: Dataclasses that are no results: what is asked for, and the handles of a run.
NO_RESULTS = {"CaseStore", "Cover", "Run"}
#: Results whose own look is tested where they are made, as that takes a store, keys, a net or a scan.
ELSEWHERE = {
    "BatchReconstruction": "reconstruction/test_batch.py",
    "BiasTable": "governance/test_bias_register.py",
    "CandidateList": "recognition/test_watchlist.py",
    "EncryptedCandidates": "recognition/test_homomorphic.py",
    "Interactive": "reporting/test_interactive.py",
    "Review": "governance/test_review.py",
    "ScanCheck": "workflow/test_reconstruct_pages.py",
    "Searches": "recognition/test_search.py",
    "SelfExcitingFit": "crime/test_self_exciting.py",
}
#: Fields that the library fills itself: words of a short list, which decide what is shown, checked ones, and times.
CHOICES = {
    "method", "mode", "kind", "state", "resolution", "embedder", "version", "model", "measure", "baseline", "by",
    "metric", "months", "at", "horizon", "country", "subdivision",
}  # fmt: skip
VOID = {"br", "img", "input", "hr", "meta", "link", "col"}
MARKUP = "<script>alert(1)</script>"
NOW = datetime(2026, 1, 10, 12, tzinfo=UTC)


def public_results() -> dict[str, type]:
    found = {}
    for package, names in SURFACE.items():
        for name in names if package != "crimeface_lib.apps" else ():  # widgets
            thing = getattr(importlib.import_module(package), name)
            if inspect.isclass(thing) and (issubclass(thing, Result) or dataclasses.is_dataclass(thing)):
                found[name] = thing
    return found


class Balance(HTMLParser):
    """Raises where a tag is closed that isn't open."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text = ""
        self.rows = 0

    def handle_starttag(self, tag, attributes):
        self.rows += tag == "tr"
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += f" {data}"


def read(html: str) -> Balance:
    page = Balance()
    page.feed(html)
    page.close()
    assert not page.open
    return page


# -- results, made by small calls --------------------------------------------------------------------------------
def of_crime(folder: Path) -> Iterator[Any]:
    town = synthetic.synthetic_crimes(months=36, per_month=100, rng=1)
    yield from (town, town.truth)
    synthetic.write_police_uk(town.table, folder / "town", outcomes=town.outcomes)
    events = crime.read_events(folder / "town")
    grid = crime.make_grid(town.truth.area, crs=town.truth.crs, cell=400)
    counts = grid.count(events)
    outcomes = crime.read_outcomes(folder / "town")
    yield from (events, grid, events.quality, outcomes, crime.write_events(events, folder / "parts"))
    yield from (crime.kde(events, grid, bandwidth=300), crime.getis_ord(counts, grid), crime.local_moran(counts, grid))
    yield crime.hotspot_sensitivity(events, grid, cells=(400.0,), shifts=(0.0,), draws=2, rng=1)
    yield from (crime.summarise(events), crime.cross_table(events), crime.release_tables(events))
    total = crime.monthly_series(events).frame["all"]
    yield from (crime.monthly_series(events, by="type"), crime.seasonal_profile(total))
    yield from (crime.decompose(total, rng=1), crime.change_points(total, draws=99, rng=1))
    yield from (crime.calendar_effects(events), crime.forecast(total, horizon=3))
    risk = crime.predict_places(events, grid, at=events.months[-1] + 1, horizon="1M")
    cutoffs = events.months[-3:].astype(str)
    yield from (risk, crime.evaluate_places(events, grid, cutoffs=cutoffs, horizon="1M", rng=1))
    checks = crime.check_places(events, grid, risk, groups=np.arange(len(grid)) % 2, runs=3, rng=1)
    yield from (checks, checks.exposure, checks.feedback, checks.stability)
    yield crime.simulate_profiles(grid, trials=3, rng=1)
    points = synthetic.synthetic_points(days=200, per_day=2, rng=1)
    yield from (points, points.truth)
    precise = crime.read_points(points.table, time="time", x="x", y="y", crs="EPSG:27700", type="type")
    yield from (crime.daily_series(precise), crime.knox_test(precise, permutations=19, rng=1))
    yield crime.geographic_profile(dataclasses.replace(precise, frame=precise.frame.head(6)), crime.make_grid(precise))
    yield crime.aoristic(precise.frame.assign(end=precise.frame["time"] + pd.Timedelta(hours=8)))
    cutoffs = events.months[-3:].astype(str)
    yield crime.tune_places(events, grid, cutoffs=cutoffs, horizon="1M", model="kde", rng=1)


def of_recognition() -> Iterator[Any]:
    rng = np.random.default_rng(1)
    mated, nonmated = rng.normal(0.95, 0.02, 300), rng.normal(0.8, 0.05, 3000)
    counts = metrics.count_scores(mated, nonmated, replicas=20)
    yield from (counts, metrics.verification(counts), metrics.det_curve(mated, nonmated))
    calibration = recognition.load_calibration("dlib")
    yield from (calibration, calibration.likelihood_ratio(mated[:5]))
    yield recognition.fpir_from_calibration(calibration, threshold=0.95, gallery_size=1000)
    yield metrics.evidence_quality(10 ** rng.normal(2, 1, 200), 10 ** rng.normal(-2, 1, 400), replicas=20)
    yield metrics.error_versus_discard(mated, rng.uniform(0, 100, 300))
    templates, groups = synthetic.synthetic_collection(25, photos=3, rng=1)
    yield from (templates, recognition.evaluate_recognition(templates, groups=groups, replicas=20))
    searched = metrics.search_outcomes(
        rng.uniform(size=(20, 50)), [f"a{n}" for n in range(20)], [f"a{n}" for n in range(50)]
    )
    yield from (searched, metrics.identification(searched))
    scores = synthetic.synthetic_scores(rng=1)
    yield from (
        scores,
        governance.audit_bias(scores.comparisons, groups=("group",), threshold=scores.threshold, replicas=20),
    )
    one, two = (recognition.template_rotation(bytes(32), application=name) for name in ("one", "two"))
    good = ~np.isnan(templates.vectors).any(axis=1)
    people = np.repeat(np.arange(25), 3)[good]
    turned = {"rotations": (one, two), "replicas": 20}
    yield from (one, recognition.evaluate_unlinkability(templates.vectors[good], people, **turned))


def of_faces(photo: np.ndarray) -> Iterator[Any]:
    found = faces.detect_faces(photo)
    yield from (found[0], faces.choose_face(found), faces.find_landmarks(photo, found[0]))
    yield faces.assess_quality(photo, found[0])
    seen = reconstruction.observe(photo)
    head = reconstruction.reconstruct(photo, model="builtin", photometric=False, texture_size=128)
    yield from (seen, seen.view, head, head.model, head.fit, head.cameras[0], head.mesh())
    yield reconstruction.explain_photos(head, [seen], size=120)


def of_evidence(folder: Path, photo: Path) -> Iterator[Any]:
    store = evidence.EvidenceStore.open(folder / "evidence", keys=storage.KeyRing.open(folder / "keys.json"))
    said = {"actor": "custodian-1", "purpose": "test"}
    item = store.add(photo, kind="photo", case="C-1", **said)
    yield from (item, store.list(**said), store.custody(item.id), store.verify(), store.checkpoint())
    yield store.lineage(item.id, **said)
    yield faces.photo_metadata(photo)


def of_governance() -> Iterator[Any]:
    yield from (governance.template("face_search"), governance.ModelRegistry.bundled().require("embedders:dlib"))


@cache
def made() -> tuple[Any, ...]:
    """Return results of real calls, one of a class."""
    from skimage import data

    folder = Path(tempfile.mkdtemp())
    photo = folder / "photo.png"
    Image.fromarray(data.astronaut()).save(photo)
    found: dict[type, Any] = {}
    for results in (
        of_crime(folder), of_recognition(), of_faces(np.ascontiguousarray(data.astronaut())),
        of_evidence(folder, photo), of_governance(),
    ):  # fmt: skip
        for one in results:
            found.setdefault(type(one), one)
    shutil.rmtree(folder)
    return tuple(found.values())


def but(record: Any, name: str, value: Any) -> Any:
    """Return a copy of a dataclass with another value in a field, unchecked."""
    other = object.__new__(type(record))
    for field in dataclasses.fields(record):
        object.__setattr__(other, field.name, value if field.name == name else getattr(record, field.name))
    return other


def filled(kind: Any) -> Any:
    """Return a value of a type: markup wherever there is text. A dataclass is filled field by field, unchecked."""
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return filled(inner[0])
    if origin is typing.Literal:
        return inner[0]
    if origin in (tuple, list, frozenset, set):
        return origin([filled(inner[0])]) if inner else origin()
    if origin is not None:  # a mapping
        return {MARKUP: filled(inner[-1])} if len(inner) == 2 else np.zeros((3, 2))
    if dataclasses.is_dataclass(kind):
        record = object.__new__(kind)
        hints = typing.get_type_hints(kind, localns={"pd": pd, "np": np})
        for field in dataclasses.fields(kind):
            object.__setattr__(record, field.name, filled(hints[field.name]))
        return record
    plain = {str: MARKUP, int: 12345, float: 0.123456, bool: True, datetime: NOW, date: NOW.date(), Path: Path(MARKUP)}
    return plain.get(kind, b"1234" if kind is bytes else np.zeros((3, 2)))


# -- what is asked of each ---------------------------------------------------------------------------------------
def test_every_public_result_shows_itself():
    for name, kind in public_results().items():
        if name not in NO_RESULTS:
            assert callable(getattr(kind, "_repr_html_", None)), f"{name}: inherit Result or Shown"


def test_every_look_of_its_own_is_looked_at():
    """Here, or in the test that the table names; results without one look like the base."""
    own = {name for name, kind in public_results().items() if "_repr_html_" in kind.__dict__}
    here = {type(one).__name__ for one in made()}
    assert own - here == set(ELSEWHERE)
    tests = Path(__file__).resolve().parents[1]
    assert all("html" in (tests / file).read_text() for file in ELSEWHERE.values())


def test_results_are_readable():
    for one in made():
        name, html = type(one).__name__, one._repr_html_()
        page = read(html)
        assert len(page.text.split()) > 3, name
        assert len(html) < 200_000, name
        assert page.rows < 120, name
        assert not re.search(r"\bnan\b|NaT|dtype|array\(|\{'|0x[0-9a-f]{6}|\d{5,}\.\d|\d\.\d{8,}", page.text), name


def test_text_in_a_result_is_never_markup():
    tried = 0
    for one in made():
        for field in dataclasses.fields(one) if dataclasses.is_dataclass(one) else ():
            value = getattr(one, field.name)
            lines = isinstance(value, tuple) and value and all(isinstance(text, str) for text in value)
            if field.name not in CHOICES and (lines or isinstance(value, str)):
                told = but(one, field.name, (MARKUP,) * len(value) if lines else MARKUP)
                assert MARKUP not in told._repr_html_(), f"{type(one).__name__}.{field.name}"
                tried += 1
    assert tried > 50


def test_records_list_their_fields_and_escape_them():
    plain = [kind for kind in public_results().values() if getattr(kind, "_repr_html_", None) is Result._repr_html_]
    records = [kind for kind in plain if kind.to_frame is Result.to_frame]
    assert len(records) > 30
    for kind in records:
        page = read(filled(kind)._repr_html_())
        assert page.rows == sum(field.repr for field in dataclasses.fields(kind)), kind
        assert len(page.text) < 3000
