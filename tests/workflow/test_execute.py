"""Notebooks by themselves: opened by hand, over private sockets, with their errors handed on."""

from __future__ import annotations

import json

import nbformat
import pytest
from PIL import Image

from crimeface_lib.core.errors import CrimefaceError, ImageError, NotFoundError
from crimeface_lib.workflow import run_notebook, verify_run
from crimeface_lib.workflow.execute import notebook_path, rebuild_error

pytestmark = pytest.mark.slow


def test_a_notebook_run_by_hand_is_signed_and_listed(workplace, tmp_path, astronaut):
    """As papermill or JupyterLab would: no folder given, so it makes one and closes it itself."""
    Image.fromarray(astronaut).save(tmp_path / "face.png")
    seen = []
    run_notebook(
        "reconstruct",
        parameters={
            "config": "configs/reconstruct.yaml",
            "overrides": {"photo": str(tmp_path / "face.png"), "formats": ["ply"], "seed": "3"},
        },
        output=tmp_path / "out.ipynb",
        progress=lambda name, done, total: seen.append((name, done, total)),
    )
    (folder,) = workplace.runs()
    assert verify_run(folder).files > 3
    manifest = json.loads((folder / "run.json").read_text())
    assert manifest["status"] == "done"
    assert manifest["steps"][0]["seed"] == 3, "a string from papermill becomes the number it stands for"
    assert folder.name in (workplace.reports / "index.html").read_text()
    assert seen[-1][1] == seen[-1][2]
    assert not any("crimeface-" in line for line in _errors(tmp_path / "out.ipynb"))


def test_an_error_in_a_cell_keeps_its_kind_and_the_notebook_what_ran(workplace, tmp_path):
    (tmp_path / "text.jpg").write_text("no photo")
    parameters = {"config": "configs/reconstruct.yaml", "overrides": {"photo": str(tmp_path / "text.jpg")}}
    with pytest.raises(ImageError, match="give a JPEG"):
        run_notebook("reconstruct", parameters=parameters, output=tmp_path / "out.ipynb")
    assert "ImageError" in _errors(tmp_path / "out.ipynb")


def test_names():
    with pytest.raises(NotFoundError, match=r"there are: .*case_report, .*crime_overview"):
        notebook_path("gossip")
    error = rebuild_error("ZeroDivisionError", "division by zero", where="x.ipynb, cell 3")
    assert type(error) is CrimefaceError
    assert str(error) == "x.ipynb, cell 3: ZeroDivisionError: division by zero"
    assert type(rebuild_error("annotations", "", where="x")) is CrimefaceError, "a name of the module that is no error"


def _errors(path) -> list[str]:
    notebook = nbformat.read(path, as_version=4)
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    return [output.ename for output in outputs if output.output_type == "error"]
