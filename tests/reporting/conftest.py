"""An executed notebook made by hand, and a browser where there is one."""

from __future__ import annotations

import base64

import nbformat.v4 as nbf
import numpy as np
import pytest
from nbformat import NotebookNode

from crimeface_lib.core.errors import MissingBackendError
from crimeface_lib.reporting import find_chromium
from crimeface_lib.reporting.style import figure_png, house_style, new_figure


@pytest.fixture
def png() -> str:
    with house_style():
        figure = new_figure(width=3, height=2)
        figure.subplots().plot([1, 2, 3])
    return base64.b64encode(figure_png(figure, dpi=40)).decode()


@pytest.fixture
def notebook(png: str) -> NotebookNode:
    """A run that ended well: markdown, parameters, a picture, a plotly figure, streams."""
    plotly = {"data": [{"type": "scatter", "x": [1, 2], "y": [3, 4]}], "layout": {"title": {"text": "</script>"}}}
    outputs = [
        nbf.new_output("stream", name="stderr", text="fit:  0%|  |\rfit: 100%|##|\n"),
        nbf.new_output("stream", name="stdout", text="two faces\n"),
        nbf.new_output(
            "display_data", data={"image/png": png}, metadata={"image/png": {"width": 390, "alt": "a line"}}
        ),
        nbf.new_output("display_data", data={"application/vnd.plotly.v1+json": plotly, "text/plain": "Figure()"}),
        nbf.new_output("display_data", data={"text/html": "<script>window.x = 1</script>"}),
        nbf.new_output(
            "display_data", data={"text/html": '<script src="https://cdn.example.org/a.js"></script><p>x</p>'}
        ),
    ]
    return nbf.new_notebook(
        cells=[
            nbf.new_markdown_cell("# Near repeat\nIt costs $k$ and $$\\frac{a}{b}$$ at most."),
            nbf.new_code_cell("days = 7\ncell = 250.0", metadata={"tags": ["parameters"]}),
            nbf.new_code_cell("# Parameters\ndays = 14\n", metadata={"tags": ["injected-parameters"]}),
            nbf.new_markdown_cell("## Figures\nLook at the line."),
            nbf.new_code_cell("draw(model)", outputs=outputs),
        ]
    )


@pytest.fixture
def failed(notebook: NotebookNode) -> NotebookNode:
    """The same run, stopped by an error, with papermill's marker and a cell that never ran."""
    marker = nbf.new_markdown_cell(
        "<span>An Exception was encountered</span>", metadata={"tags": ["papermill-error-cell-tag"]}
    )
    error = nbf.new_output(
        "error",
        ename="NoFaceError",
        evalue="no face in <photo>; expected one",
        traceback=["\x1b[0;31mNoFaceError\x1b[0m: x"],
    )
    notebook.cells[0:0] = [marker]
    notebook.cells += [nbf.new_code_cell("search()", outputs=[error]), nbf.new_code_cell("never_run()")]
    return notebook


@pytest.fixture(scope="session")
def chromium() -> str:
    """The system's browser, or a skip that says what brings it."""
    pytest.importorskip("playwright", reason="no Playwright: pip install 'crimeface-lib[pdf]'")
    try:
        return str(find_chromium())
    except MissingBackendError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def tetrahedron() -> tuple[np.ndarray, np.ndarray]:
    vertices = 80 * np.array([[0, 1, 0], [-1, -1, 1], [1, -1, 1], [0, -1, -1.0]])
    return vertices, np.array([[0, 1, 2], [0, 2, 3], [0, 3, 1], [1, 3, 2]])
