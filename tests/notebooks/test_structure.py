"""A notebook is a reader's page: one parameters cell, short cells, words before each figure, no outputs in git."""

from __future__ import annotations

import ast
from pathlib import Path

import nbformat
import pytest

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
ALL = sorted(NOTEBOOKS.glob("*.ipynb"))


@pytest.fixture(params=ALL, ids=lambda p: p.stem)
def notebook(request):
    return nbformat.read(request.param, as_version=4)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_there_are_notebooks():
    assert {"reconstruct", "recognise", "crime_overview", "case_report"} <= {p.stem for p in ALL}


def test_it_is_valid_and_holds_no_outputs(notebook):
    nbformat.validate(notebook)
    for cell in code_cells(notebook):
        assert not cell.outputs, "run: nbstripout notebooks/*.ipynb"
        assert cell.execution_count is None


def test_one_parameters_cell(notebook):
    tagged = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    assert len(tagged) == 1
    names = [t.id for node in ast.parse(tagged[0].source).body for t in node.targets]
    assert names == ["config", "overrides"]


def test_cells_are_short_and_hold_no_logic(notebook):
    for cell in code_cells(notebook):
        lines = [line for line in cell.source.splitlines() if line.strip()]
        assert len(lines) <= 8, cell.source
        tree = ast.walk(ast.parse(cell.source))
        banned = (ast.FunctionDef, ast.ClassDef, ast.For, ast.While, ast.Try, ast.With, ast.Lambda)
        assert not [node for node in tree if isinstance(node, banned)], cell.source


def test_words_stand_before_each_figure(notebook):
    """Right before it, or before the one cell that prepares it."""
    cells = notebook.cells
    for place, cell in enumerate(cells):
        if cell.cell_type == "code" and "run.figure(" in cell.source:
            words = [before.source for before in cells[max(0, place - 2) : place] if before.cell_type == "markdown"]
            assert words, f"no words before: {cell.source}"
            assert len(words[-1].split()) >= 15, f"tell what to look at: {words[-1]}"
