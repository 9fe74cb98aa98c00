"""What the code may not do, read from its source: no way past the gate, no streams, no verdicts, no patrols."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import inspect
import json
import pkgutil
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import nbformat
import pandas as pd
import pytest

from crimeface_lib.core.errors import RefusedError

ROOT = Path(__file__).resolve().parents[1]
LIBRARY = ROOT / "crimeface_lib"

#: The functions that search a watchlist, predict places or profile a series. They take arrays and tables and know no
#: gate; what a user reaches them through (CLI, notebooks, apps, HTTP) is the public path, and asks for a permit.
GATED = {
    "crimeface_lib.recognition.Gallery.search",
    "crimeface_lib.recognition.Watchlist.search",
    "crimeface_lib.crime.predict_places",
    "crimeface_lib.crime.evaluate_places",
    "crimeface_lib.crime.tune_places",
    "crimeface_lib.crime.check_places",
    "crimeface_lib.crime.geographic_profile",
}
#: What a gated function returns. A new function with such a result has to be listed above.
GATED_RESULTS = (
    "CandidateList",
    "Searches",
    "PlaceRisk",
    "PlaceEvaluation",
    "PlaceTuning",
    "PlaceChecks",
    "GeographicProfile",
)
#: The gated way itself, and counts over time: no place, no person.
NEITHER = {
    "crimeface_lib.workflow.Run.search", "crimeface_lib.workflow.Run.permit_search", "crimeface_lib.crime.forecast",
    "crimeface_lib.reporting.forecast_figure",
}  # fmt: skip
#: Layers that users reach. The science below is held to arrays by import-linter.
PUBLIC_PATHS = ("workflow", "apps", "api", "reporting")
#: Packages that import neither faces nor crime (import-linter), so none of their functions can be one.
APART = ("storage", "evidence", "governance", "metrics", "core")


@cache
def sources() -> list[tuple[str, str]]:
    return list(_sources())


@cache
def trees() -> list[tuple[str, ast.Module]]:
    """Each source file of the library and each code cell of a notebook, parsed."""
    return [(path, ast.parse(text)) for path, text in sources()]


def _sources() -> Iterator[tuple[str, str]]:
    for path in sorted(LIBRARY.rglob("*.py")):
        yield path.relative_to(ROOT).as_posix(), path.read_text()
    for path in sorted((ROOT / "notebooks").rglob("*.ipynb")):
        for cell in nbformat.read(path, as_version=4).cells:
            if cell.cell_type == "code":
                yield path.relative_to(ROOT).as_posix(), cell.source


def public_callables() -> Iterator[tuple[str, object]]:
    """Every function of the public API, and every public method of its classes."""
    for package, names in json.loads((ROOT / "tests/api_surface.json").read_text()).items():
        for name in names:
            thing = getattr(importlib.import_module(package), name)
            if inspect.isfunction(thing):
                yield f"{package}.{name}", thing
            elif inspect.isclass(thing):
                for method, function in inspect.getmembers(thing, inspect.isfunction):
                    if not method.startswith("_"):
                        yield f"{package}.{name}.{method}", function


def test_every_public_search_and_prediction_is_known_to_be_gated():
    """P2: a new one fails here until it is listed, and then must not be reachable without a permit (next test)."""
    found = set()
    for name, function in public_callables():
        package = name.split(".")[1]
        said = str(inspect.signature(function).return_annotation)
        named = re.search(r"(^|_)(predict|search|identify|forecast)(_|$)", name.split(".")[-1])
        if package not in APART and (named or re.search(rf"\b({'|'.join(GATED_RESULTS)})\b", said)):
            found.add(name)
    lazy = {f"crimeface_lib.{name.split('.')[-1]}" for name in GATED} | {"crimeface_lib.Watchlist.search"}
    assert found - lazy - NEITHER == GATED


def past_the_gate(path: str, tree: ast.Module) -> list[str]:
    """Return each mention of a gated function that is not handed to ``use`` or ``run_under_permit``."""
    handed = {
        id(argument)
        for call in ast.walk(tree)
        if isinstance(call, ast.Call) and _name(call.func) in ("use", "run_under_permit")
        for argument in call.args
    }
    plain = {name.split(".")[-1] for name in GATED} - {"search"}
    found = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Name | ast.Attribute) or id(node) in handed or isinstance(node.ctx, ast.Store):
            continue
        owner = ast.unparse(node.value) if isinstance(node, ast.Attribute) else ""
        settings = owner == "cfg" or owner.endswith(".cfg")
        if _name(node) in plain and not settings:
            found.append(f"{path}:{node.lineno}: {ast.unparse(node)}")
        if isinstance(node, ast.Attribute) and node.attr == "search" and re.search(r"watchlist|entries|gallery", owner):
            found.append(f"{path}:{node.lineno}: {ast.unparse(node)}")
    return found


def _name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def test_no_public_path_goes_around_the_gate():
    """P2: CLI, notebooks, apps and API hand gated functions to ``run.use(permit, …)``, which asks each time."""
    found = []
    for path, tree in trees():
        if path.startswith("notebooks") or path.split("/")[1] in PUBLIC_PATHS:
            found += past_the_gate(path, tree)
    assert not found, "call it as run.use(permit, function, …), or run.search(probe, permit=permit)"


def test_only_the_gated_modules_open_a_watchlist():
    """P2: those that enrol, list and purge; the review, which reads about its entries; the run, which has a permit."""
    opening = {
        path
        for path, text in sources()
        if "/recognition/" not in path and re.search(r"\bWatchlist\.open\(|\.open_watchlist\(", text)
    }
    assert opening <= {
        "crimeface_lib/workflow/store.py", "crimeface_lib/workflow/run.py", "crimeface_lib/workflow/checks.py",
        "crimeface_lib/workflow/cli_governance.py", "crimeface_lib/workflow/demo.py",
        "crimeface_lib/workflow/retention.py", "crimeface_lib/workflow/cli_watchlist.py",
        "crimeface_lib/workflow/lineup.py", "crimeface_lib/workflow/reference_photos.py",
    }  # fmt: skip


@pytest.mark.parametrize(
    "code",
    ["crime.predict_places(events, grid, at='2026-01')", "f = predict_places", "watchlist.search(probe)",
     "store.open_watchlist('w').search(p)", "[evaluate_places(e) for e in x]",
     "run.save('r', crime.predict_places(e))"],
)  # fmt: skip
def test_the_check_sees_a_way_around(code):
    assert past_the_gate("x", ast.parse(code))


@pytest.mark.parametrize("code", ["run.use(permit, crime.predict_places, events)", "cfg.predict_places.model_dump()",
                                  "run.search(probe, permit=permit)", "re.search('a', b)"])  # fmt: skip
def test_the_check_lets_the_gated_way_pass(code):
    assert not past_the_gate("x", ast.parse(code))


# -- P5: candidates, never a verdict --------------------------------------------------------------------------
def test_no_schema_says_match():
    """No field of a result or config, no public name, parameter, CLI command or option."""
    from crimeface_lib.workflow.cli import app

    words = set()
    for module in pkgutil.walk_packages([str(LIBRARY)], "crimeface_lib."):
        if ".apps" in module.name or ".rasterize_pytorch3d" in module.name:
            continue
        try:
            loaded = importlib.import_module(module.name)
        except ImportError:  # an extra that is not installed
            continue
        for name, thing in vars(loaded).items():
            if inspect.isclass(thing) and thing.__module__ == module.name:
                words.add(name)
                words |= {f.name for f in dataclasses.fields(thing)} if dataclasses.is_dataclass(thing) else set()
                words |= set(getattr(thing, "model_fields", {}))
    for name, function in public_callables():
        words |= {name.split(".")[-1], *inspect.signature(function).parameters}
    import typer

    commands = typer.main.get_command(app)
    for group in [commands, *commands.commands.values()]:
        words |= {*getattr(group, "commands", {}), *(p.name for p in group.params)}
    assert not [word for word in words if re.search(r"(^|_)match(es|ed|ing|er)?(_|$)", word, re.I)]


# -- P7: places, never persons --------------------------------------------------------------------------------
PERSON_COLUMNS = [
    "suspect_id", "Suspect ID", "offender", "OffenderName", "victim_name", "person_id", "nominal_ref", "Name",
    "full name", "surname", "date_of_birth", "DOB", "birth date", "NINO", "PNC id", "arrestee_ids",
    "ethnicity", "nationality",
]  # fmt: skip


@pytest.mark.parametrize("column", PERSON_COLUMNS)
def test_forecasts_refuse_ids_names_and_dates_of_birth(column):
    """P7: at every door: the reader's check, the events' own, and prediction."""
    from crimeface_lib.crime import make_grid, predict_places, refuse_person_columns
    from crimeface_lib.crime.events import Events

    with pytest.raises(RefusedError, match="persons"):
        refuse_person_columns(["Month", column])
    events = _events()
    keyed = events.frame.assign(**{column: "x"})
    with pytest.raises(RefusedError, match="persons"):
        dataclasses.replace(events, frame=keyed)
    smuggled = object.__new__(Events)  # past the constructor
    for field in dataclasses.fields(Events):
        object.__setattr__(smuggled, field.name, keyed if field.name == "frame" else getattr(events, field.name))
    with pytest.raises(RefusedError, match="persons"):
        predict_places(smuggled, make_grid(events, cell=1000.0), at="2024-01", horizon="1M")


def _events():
    import tempfile

    from crimeface_lib.crime import read_events
    from crimeface_lib.synthetic import synthetic_crimes, write_police_uk

    with tempfile.TemporaryDirectory() as folder:
        write_police_uk(synthetic_crimes(months=3, per_month=40, rng=1).table, Path(folder, "c.zip"))
        return read_events(Path(folder, "c.zip"))


def test_a_panel_keyed_by_person_is_no_series():
    """P7: what is not events is not forecast: a frame of persons × months has no way in."""
    from crimeface_lib.crime import predict_places

    panel = pd.DataFrame({"2024-01": [1, 0], "2024-02": [2, 1]}, index=pd.Index(["p1", "p2"], name="person_id"))
    with pytest.raises((TypeError, AttributeError, ValueError, RefusedError)):
        predict_places(panel, None, at="2024-03", horizon="1M")


# -- P8: no streams, no scraping, no inference of emotion or ethnicity ----------------------------------------
#: Who may speak to the network, and why.
NETWORK = {
    "crimeface_lib/core/artifacts.py",  # models, when asked to
    "crimeface_lib/governance/hub.py",  # who is logged in
    "crimeface_lib/governance/notify.py", "crimeface_lib/reporting/notify.py",  # mail, when switched on
    "crimeface_lib/workflow/notify.py",
    "crimeface_lib/evidence/timestamp.py",  # a time-stamp authority, when asked to
    "crimeface_lib/workflow/serve.py",  # listens on this machine
}  # fmt: skip
CLIENTS = {"requests", "httpx", "aiohttp", "urllib.request", "http.client", "socket", "smtplib", "websockets", "pooch"}
SCRAPERS = {"bs4", "scrapy", "selenium", "mechanize", "instaloader", "tweepy", "snscrape"}


def imported(tree: ast.Module) -> set[str]:
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def test_nothing_scrapes_and_few_speak_to_the_network():
    for path, tree in trees():
        names = imported(tree)
        assert not {name.split(".")[0] for name in names} & SCRAPERS, path
        if path not in NETWORK:
            assert not names & CLIENTS, f"{path} speaks to the network: {names & CLIENTS}; say why in NETWORK"


def test_no_live_stream_is_opened():
    """Video files are read; a camera's number or a stream's address is not."""
    for path, tree in trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and _name(node.func) in ("VideoCapture", "VideoStream"):
                source = ast.unparse(node.args[0]) if node.args else "nothing"
                assert re.fullmatch(r"str\((\w+\.)*\w*(path|file)\w*\)", source), f"{path}: a stream? {source}"
                assert re.search(r"\.(is_file|suffix)\b", ast.unparse(tree)), f"{path}: is it a file?"
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                assert not re.match(r"(rtsp|rtmp|rtp|udp|mms)://", node.value), f"{path}: {node.value}"
    assert "getUserMedia" not in "".join(p.read_text(errors="ignore") for p in LIBRARY.rglob("*.js"))


def test_nothing_infers_emotion_or_ethnicity():
    trait = re.compile(r"(^|_)(emotion\w*|ethnic\w*|race|racial\w*|sentiment|criminality|trustworth\w*|sexual\w*)(_|$)")
    verbs = "predict|infer|classify|estimate|detect|recogni[sz]e"
    infers = re.compile(rf"(^|_)({verbs})_(\w*_)?(gender|sex|age|religion)(_|$)")
    for path, tree in trees():
        for node in ast.walk(tree):
            names = []
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                names = [node.name]
            elif isinstance(node, ast.Name | ast.Attribute):
                names = [_name(node)]
            elif isinstance(node, ast.arg):
                names = [node.arg]
            snake = [re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower() for name in names]
            assert not [name for name in snake if trait.search(name) or infers.search(name)], (path, names)


# -- P9, P10: maps with caveats; forecasts that instruct nobody ------------------------------------------------
def test_every_map_carries_its_caveat():
    """P9: by signature, and each call in a notebook or an app gives one."""
    from crimeface_lib.reporting import crime_map, hotspot_map, profile_map

    for draws in (crime_map, hotspot_map, profile_map):
        for name in ("caveat", "attribution"):
            parameter = inspect.signature(draws).parameters[name]
            assert parameter.default is inspect.Parameter.empty, f"{draws.__name__}: {name} can be left out"
    calls = [
        (path, call)
        for path, tree in trees()
        for call in ast.walk(tree)
        if isinstance(call, ast.Call) and _name(call.func) == "crime_map"
    ]
    assert calls
    for path, call in calls:
        given = {keyword.arg or ast.unparse(keyword.value) for keyword in call.keywords}
        assert "caveat" in given or "source_note" in given, f"{path}: {ast.unparse(call)}"
    app = (LIBRARY / "apps/map_view.py").read_text()
    assert "self.events.caveats" in app
    assert "attribution" in app


PATROL = re.compile(
    r"\b(send|deploy|dispatch|direct|assign|increase|concentrate|focus|station|move|allocate)\b[^.;]{0,60}"
    r"\b(patrols?|officers?|police|units?|cars?)\b|\bpatrol (here|there|this|these|the)\b|\bshould (be )?patrol",
    re.I,
)
NEGATED = re.compile(r"\b(no|not|never|nor|neither|nobody|without|n't|don't|doesn't|unacceptable)\b", re.I)


def sentences() -> Iterator[tuple[str, str]]:
    """Each sentence of every text in the library's code, cards, templates, apps and notebooks."""
    for path, tree in trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield from ((path, s) for s in re.split(r"(?<=[.;:?])\s", node.value))
    for path in [*(ROOT / "notebooks").rglob("*.ipynb")]:
        for cell in nbformat.read(path, as_version=4).cells:
            if cell.cell_type == "markdown":
                yield from ((path.name, s) for s in re.split(r"(?<=[.;:?])\s", cell.source))
    for path in [*LIBRARY.rglob("*.j2"), *(LIBRARY / "governance/templates").glob("*.yaml"), ROOT / "README.md"]:
        yield from ((path.name, s) for s in re.split(r"(?<=[.;:?])\s", re.sub(r"<[^>]+>", " ", path.read_text())))


def test_no_text_instructs_a_patrol():
    """P10: a sentence that names where police should go is wrong unless it says not to."""
    found = [(where, text) for where, text in sentences() if PATROL.search(text) and not NEGATED.search(text)]
    assert not found, found


def test_the_wording_check_sees_an_instruction():
    instructions = ("Deploy two more officers to cell 17.", "Patrol this area on Friday.", "It should be patrolled.")
    for text in instructions:
        assert PATROL.search(text)
        assert not NEGATED.search(text)


def test_every_forecast_of_places_carries_its_feedback_audit():
    """P10: a notebook that predicts places simulates what acting on it would do to the next forecast."""
    for path in sorted((ROOT / "notebooks").rglob("*.ipynb")):
        code = "\n".join(c.source for c in nbformat.read(path, as_version=4).cells if c.cell_type == "code")
        if "crime.predict_places" in code:
            assert re.search(r"simulate_feedback|check_places", code), path.name
