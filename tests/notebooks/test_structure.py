"""A notebook is a reader's page: one parameters cell, short cells, words before each figure, no outputs in git.

The page to start from is a tour: it runs on samples, has no config and opens no run, so it has no parameters cell.
"""

from __future__ import annotations

import ast
import builtins
import re
from pathlib import Path

import nbformat
import papermill
import pytest

from crimeface_lib.core.errors import ConfigError
from crimeface_lib.workflow.config import CONFIGS, config_path, load_config

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
ALL = sorted(NOTEBOOKS.glob("*.ipynb"))
TOUR = "00_start_here"
FIGURE = re.compile(r"run\.figure\(|^reporting\.", flags=re.MULTILINE)


@pytest.fixture(params=ALL, ids=lambda p: p.stem)
def notebook(request):
    return nbformat.read(request.param, as_version=4)


@pytest.fixture(params=CONFIGS)
def name(request):
    return request.param


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_each_config_has_its_notebook_and_the_tour_leads_to_all():
    assert {path.stem for path in ALL} == {TOUR, *CONFIGS}
    tour = nbformat.read(NOTEBOOKS / f"{TOUR}.ipynb", as_version=4)
    words = "\n".join(cell.source for cell in tour.cells if cell.cell_type == "markdown")
    assert set(re.findall(r"\]\((\w+)\.ipynb\)", words)) == set(CONFIGS)
    assert not [cell for cell in tour.cells if "parameters" in cell.metadata.get("tags", [])]
    assert not [cell for cell in code_cells(tour) if "open_run" in cell.source]


def test_it_is_valid_and_holds_no_outputs(notebook):
    nbformat.validate(notebook)
    for cell in code_cells(notebook):
        assert not cell.outputs, "run: nbstripout notebooks/*.ipynb"
        assert cell.execution_count is None


# -- parameters --------------------------------------------------------------------------------------------------
def parameters_cell(name):
    notebook = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
    (cell,) = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    return cell.source


def suggested(source):
    """Return what ``overrides`` is when the # is taken away before each of its lines."""
    lines = [re.sub(r"^ +# ", "    ", line) for line in source.splitlines()]
    return ast.literal_eval(ast.parse("\n".join(lines)).body[1].value)


def test_papermill_explains_both_parameters(name):
    told = papermill.inspect_notebook(NOTEBOOKS / f"{name}.ipynb")
    assert list(told) == ["config", "overrides"]
    assert told["config"]["inferred_type_name"] == "str"
    assert ast.literal_eval(told["config"]["default"]) == f"configs/{name}.yaml"
    assert told["overrides"]["inferred_type_name"] == "dict"
    assert told["overrides"]["default"] == "{}"
    assert all(len(one["help"].split()) >= 5 for one in told.values())
    named = told["overrides"]["help"].removeprefix("settings to change, such as ").replace(" (needed)", "").split(", ")
    assert named == list(suggested(parameters_cell(name)))


def test_the_suggested_settings_exist_and_fit_together(name):
    """The config model would refuse an unknown one; those marked as needed are the ones it can't do without."""
    source = parameters_cell(name)
    load_config(config_path(name), suggested(source))
    needed = set(re.findall(r'# "([\w.]+)": [^#]+# needed', source))
    assert needed == {key for key, field in CONFIGS[name].model_fields.items() if field.is_required()} - {
        "title",
        "question",
    }


def test_a_page_without_its_input_says_so_in_one_sentence(name):
    source = parameters_cell(name)
    needed = re.findall(r'# "([\w.]+)": [^#]+# needed', source)
    for key in needed:
        others = {k: v for k, v in suggested(source).items() if k != key}
        with pytest.raises(
            ConfigError, match=rf"parameter '{key}' is missing.*in a notebook with overrides = {{.*{key}"
        ) as caught:
            load_config(config_path(name), others)
        assert "\n" not in str(caught.value)


def test_cells_are_short_and_hold_no_logic(notebook):
    for cell in code_cells(notebook):
        lines = [line for line in cell.source.splitlines() if line.strip() and not line.startswith("# only with: ")]
        assert len(lines) <= 8, cell.source
        tree = ast.walk(ast.parse(cell.source))
        banned = (ast.FunctionDef, ast.ClassDef, ast.For, ast.While, ast.Try, ast.With, ast.Lambda)
        assert not [node for node in tree if isinstance(node, banned)], cell.source


def test_words_stand_before_each_figure(notebook):
    """Right before it, or before the one cell that prepares it."""
    cells = notebook.cells
    for place, cell in enumerate(cells):
        if cell.cell_type == "code" and FIGURE.search(cell.source):
            words = [before.source for before in cells[max(0, place - 2) : place] if before.cell_type == "markdown"]
            assert words, f"no words before: {cell.source}"
            assert len(words[-1].split()) >= 15, f"tell what to look at: {words[-1]}"


# -- parts that settings leave out -------------------------------------------------------------------------------
def parts(cell):
    return [tag for tag in cell.metadata.get("tags", []) if tag != "parameters"]


def test_a_part_that_settings_may_leave_out_says_so_in_its_first_line(notebook):
    """The job drops cells by their tags; a kernel is told none, and passes them over by that line."""
    for cell in code_cells(notebook):
        marked = re.match(r"# only with: (.+)\n", cell.source)
        assert (marked[1].split(", ") if marked else []) == parts(cell), cell.source


def test_no_cell_needs_what_a_part_left_out_would_have_made(notebook):
    cells = code_cells(notebook)
    for left_out in {tag for cell in cells for tag in parts(cell)}:
        made = set(dir(builtins))
        for cell in cells:
            if left_out not in parts(cell):
                names = [node for node in ast.walk(ast.parse(cell.source)) if isinstance(node, ast.Name)]
                made |= {node.id for node in names if isinstance(node.ctx, ast.Store)}
                made |= {alias.asname or alias.name for node in ast.walk(ast.parse(cell.source))
                         if isinstance(node, ast.Import | ast.ImportFrom) for alias in node.names}  # fmt: skip
                assert {node.id for node in names} <= made, f"without {left_out}: {cell.source}"
