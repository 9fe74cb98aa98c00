"""Config is one object, and it can't drift from the functions it feeds."""

from __future__ import annotations

import importlib
import inspect

import pytest
import yaml

from crimeface_lib.core.errors import ConfigError
from crimeface_lib.core.settings import load_settings
from crimeface_lib.workflow.config import CONFIGS, Section, build_config, config_path, load_config, merge

NEEDED = {
    "reconstruct": {"photo": "a.jpg"},
    "reconstruct_many": {"photos": "photos"},
    "evaluate_reconstruction": {"photos": "photos"},
    "recognise": {"probe": "a.jpg"},
    "verify_pair": {"photo_a": "a.jpg", "photo_b": "b.jpg"},
    "crime_overview": {"crime": "a.zip"},
    "crime_forecast": {"crime": "a.zip"},
    "crime_places": {"crime": "a.zip"},
    "crime_hotspots": {"crime": "a.zip"},
    "case_report": {"photo": "a.jpg", "crime": "a.zip"},
    "compare_runs": {"runs": ["a", "b"]},
}
#: Where the function of a section lives, under the section's name or this one.
FUNCTIONS = {
    "reconstruct": ("reconstruction", "reconstruct"),
    "embed": ("recognition", "embed_images"),
    "search": ("recognition", "Watchlist.search"),
    "read_events": ("crime", "read_events"),
    "make_grid": ("crime", "make_grid"),
    "kde": ("crime", "kde"),
    "getis_ord": ("crime", "getis_ord"),
    "local_moran": ("crime", "local_moran"),
    "hotspot_sensitivity": ("crime", "hotspot_sensitivity"),
    "knox_test": ("crime", "knox_test"),
    "aoristic": ("crime", "aoristic"),
    "read_series": ("crime", "read_points"),
    "geographic_profile": ("crime", "geographic_profile"),
    "predict_places": ("crime", "predict_places"),
    "evaluate_places": ("crime", "evaluate_places"),
    "check_places": ("crime", "check_places"),
    "decompose": ("crime", "decompose"),
    "change_points": ("crime", "change_points"),
    "calendar_effects": ("crime", "calendar_effects"),
    "forecast": ("crime", "forecast"),
    "audit_bias": ("governance", "audit_bias"),
    "evaluate_recognition": ("recognition", "evaluate_recognition"),
}


@pytest.mark.parametrize("name", list(CONFIGS))
def test_each_notebook_has_a_config_that_loads(name):
    cfg = load_config(config_path(name), NEEDED.get(name, {}))
    assert cfg.notebook == name
    assert cfg.question.endswith("?")


def sections():
    for name, model in CONFIGS.items():
        for field, info in model.model_fields.items():
            kind = info.annotation
            if isinstance(kind, type) and issubclass(kind, Section):
                yield pytest.param(field, kind, id=f"{name}.{field}")


@pytest.mark.parametrize(("section", "model"), list(sections()))
def test_a_section_holds_only_keywords_of_its_function(section, model):
    package, path = FUNCTIONS[section]
    function = importlib.import_module(f"crimeface_lib.{package}")
    for part in path.split("."):
        function = getattr(function, part)
    keywords = {p.name for p in inspect.signature(function).parameters.values() if p.kind is p.KEYWORD_ONLY}
    assert set(model.model_fields) <= keywords


@pytest.mark.parametrize("name", list(CONFIGS))
def test_the_yaml_and_the_model_agree_on_defaults(name):
    """What a file says and what the model would say without it: the same, so neither surprises."""
    written = yaml.safe_load(config_path(name).read_text())
    needed = NEEDED.get(name, {})
    bare = build_config({"notebook": name, "title": written["title"], "question": written["question"], **needed})
    full = load_config(config_path(name), needed)
    assert full == bare


def test_overrides_merge_deeply_and_dots_reach_into_sections():
    cfg = load_config(
        "configs/crime_overview.yaml", {"crime": "x.zip", "make_grid.cell": "100", "kde": {"bandwidth": 50}}
    )
    assert cfg.make_grid.cell == 100.0
    assert cfg.kde.bandwidth == 50.0
    assert cfg.predict_places.horizon == "1M"
    assert merge({"a": {"b": 1, "c": 2}}, {"a.b": 3}) == {"a": {"b": 3, "c": 2}}


def test_the_string_false_is_false():
    """papermill's -p x false injects a string that is true in Python."""
    assert load_config("configs/crime_overview.yaml", {"crime": "x.zip", "predict": "false"}).predict is False


def test_an_empty_optional_value_is_unset():
    cfg = load_config("configs/reconstruct.yaml", {"photo": "a.jpg", "store": "", "case": "null"})
    assert cfg.store is None
    assert cfg.case is None


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({}, r"parameter 'photo' is missing; give it with -p photo=VALUE"),
        ({"photo": "a.jpg", "phot": 1}, r"unknown parameter 'phot'; known: .*photo"),
        ({"photo": "a.jpg", "seed": "soon"}, r"parameter 'seed': got 'soon'"),
        ({"photo": "a.jpg", "reconstruct.texture_size": 1}, r"reconstruct.texture_size.*got 1"),
    ],
)
def test_a_bad_parameter_is_named_with_the_remedy(overrides, message):
    with pytest.raises(ConfigError, match=message):
        load_config("configs/reconstruct.yaml", overrides)


def test_a_missing_or_foreign_config_file(tmp_path):
    with pytest.raises(ConfigError, match="nowhere"):
        load_config("nowhere.yaml")
    (tmp_path / "x.yaml").write_text("notebook: gossip")
    with pytest.raises(ConfigError, match="expected a mapping with 'notebook:' one of reconstruct"):
        load_config(tmp_path / "x.yaml")
    with pytest.raises(ConfigError, match="no notebook 'gossip'; there are: reconstruct"):
        config_path("gossip", settings=load_settings())
