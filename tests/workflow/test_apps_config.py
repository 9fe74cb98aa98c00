"""The apps' settings: what is shipped is valid, and what is wrong is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from crimeface_lib.core.errors import ConfigError
from crimeface_lib.core.settings import Settings
from crimeface_lib.workflow.apps_config import AppsConfig, load_apps_config

TILES = "https://tiles.example.org/{z}/{x}/{y}.png"


def written(tmp_path: Path, text: str) -> Settings:
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "apps.yaml").write_text(text)
    return Settings(project_root=tmp_path)


def test_the_file_in_the_checkout_says_the_defaults_and_asks_nothing_outside():
    cfg = load_apps_config(Settings())
    assert cfg == AppsConfig()
    assert cfg.crime_map.tiles_origin is None


def test_tiles_name_one_host_and_whoever_made_them(tmp_path):
    text = f"crime_map:\n  tiles: {TILES}\n  tiles_attribution: Example\n"
    assert load_apps_config(written(tmp_path, text)).crime_map.tiles_origin == "https://tiles.example.org"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"crime_map:\n  tiles: {TILES}\n", "tiles_attribution"),
        ("crime_map:\n  tiles: /etc/{z}/{x}/{y}\n  tiles_attribution: x\n", "expected an address"),
        ("crime_map:\n  tiles: https://{s}.a/{z}/{x}/{y}\n  tiles_attribution: x\n", "one host"),
        ("crime_map:\n  tiles: \"https://a.b ; script-src */{z}/{x}/{y}\"\n  tiles_attribution: x\n", "expected"),
        ("crime_map:\n  cell: 0\n", "greater than 0"),
        ("colour: red\n", "colour"),
        ("- a\n", "valid"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(tmp_path, text, said):
    with pytest.raises(ConfigError, match=said):
        load_apps_config(written(tmp_path, text))


def test_without_the_file_the_defaults_hold(tmp_path):
    assert load_apps_config(Settings(project_root=tmp_path)) == AppsConfig()
