"""The app notebooks hold a title, one cell that builds and one that shows; nothing else, and no outputs."""

from __future__ import annotations

import ast
from pathlib import Path

import nbformat
import pytest

FOLDER = Path(__file__).resolve().parents[2] / "notebooks" / "apps"
ALL = sorted(FOLDER.glob("*.ipynb"))


def test_every_app_has_its_card_on_the_first_page():
    tree = (FOLDER.parents[1] / "configs/voila/templates/crimeface/tree.html").read_text()
    assert {p.stem for p in ALL} <= {"crime_map", "face_viewer", "governance_board", "lineup"}
    assert all(f'"{p.name}"' in tree for p in ALL)


@pytest.mark.parametrize("path", ALL, ids=lambda p: p.stem)
def test_three_cells_without_logic_or_outputs(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert [cell.cell_type for cell in notebook.cells] == ["markdown", "code", "code"]
    assert notebook.cells[0].source.startswith("# ")
    assert notebook.metadata.kernelspec.name == "python3"
    assert "crimeface" in notebook.metadata.title, "the browser's tab shows it"
    for cell in notebook.cells[1:]:
        assert not cell.outputs
        assert cell.execution_count is None
        assert len(cell.source.splitlines()) <= 8
        banned = (ast.FunctionDef, ast.ClassDef, ast.For, ast.While, ast.Try, ast.With, ast.Lambda)
        assert not [node for node in ast.walk(ast.parse(cell.source)) if isinstance(node, banned)]
