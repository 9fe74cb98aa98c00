"""Figures in README, cards and BOM are those of the result files, and nobody wrote one by hand (D4)."""

from __future__ import annotations

import json
import re
from importlib import util
from pathlib import Path
from types import ModuleType

import pytest

from crimeface_lib.core.errors import InputError
from crimeface_lib.governance import ModelRegistry
from crimeface_lib.governance.results import Measurement, bundled_results, results_markdown

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def evaluate() -> ModuleType:
    spec = util.spec_from_file_location("evaluate", ROOT / "tests/evaluate.py")
    assert spec is not None
    assert spec.loader is not None
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_table_in_readme_is_made_from_the_result_files(evaluate: ModuleType) -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    shown = text.split(evaluate.START)[1].split(evaluate.END)[0]
    assert shown.strip() == results_markdown(bundled_results()), "run make evaluate"
    prose = text.replace(shown, "")
    assert not re.findall(r"\b(EER|FNMR|FMR|PAI|Cllr|TAR)\b[^.|\n]{0,40}\d", prose), "a figure outside the table"


def test_every_result_has_its_parents() -> None:
    registry = ModelRegistry.bundled()
    results = bundled_results()
    assert len({result.id for result in results}) == len(results)
    for result in results:
        card = registry.require(result.model)
        assert result.datasheet in card.datasheets
        assert re.fullmatch(r"[0-9a-f]{40}( with changes)?", result.code)
        assert re.fullmatch(r"20\d\d-\d\d-\d\d", result.date)
        assert len(result.protocol) > 40
        for figure in result.figures:
            assert figure.n > 0
            assert figure.low is None or figure.low <= figure.value <= figure.high


def test_cards_quote_no_figure_of_ours_by_hand() -> None:
    for card in ModelRegistry.bundled():
        assert not [figure for figure in card.evaluation if "project" in figure.by.lower()]
        assert [result.model for result in card.measured] == [card.name] * len(card.measured)


def test_a_changed_result_changes_the_table_and_the_card(monkeypatch: pytest.MonkeyPatch) -> None:
    result = bundled_results()[0]
    record = result.to_dict()
    record["figures"][0]["value"] = 0.4242
    changed = Measurement.from_dict(record)
    assert results_markdown([changed]) != results_markdown([result])
    monkeypatch.setattr("crimeface_lib.governance.modelcard.bundled_results", lambda: (changed,))
    assert changed.figures[0].in_words() in ModelRegistry.bundled().require(result.model).to_html()


@pytest.mark.parametrize("break_it", [{"figures": []}, {"extra": 1}, {"figures": [{"name": "EER"}]}])
def test_a_result_file_that_says_something_else_is_refused(break_it: dict) -> None:
    with pytest.raises(InputError):
        Measurement.from_dict({**bundled_results()[0].to_dict(), **break_it})


def test_what_is_written_is_what_is_read(evaluate: ModuleType) -> None:
    made = evaluate.record("ict", "ict-scans", "a protocol", [evaluate.figure("x", 1 / 3, 0.2, 0.4, 9, "mm", 2)])
    read = Measurement.from_dict(json.loads(json.dumps(made)))
    assert read.in_words().startswith("x 0.33 mm (0.20 to 0.40), n = 9 — a protocol (measured 20")
    assert evaluate.share("lost", [True, False, False, False], digits=0)["value"] == 25
