"""Pages as somebody opens them in JupyterLab, cell by cell, and which test runs which of them whole."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from crimeface_lib.core.settings import Settings
from crimeface_lib.reporting._cells import make_ready
from crimeface_lib.workflow import shown
from crimeface_lib.workflow.config import build_config
from crimeface_lib.workflow.passed_over import PassedOver
from crimeface_lib.workflow.samples import cautions
from crimeface_lib.workflow.shown import Working

ROOT = Path(__file__).resolve().parents[2]
#: The test that runs each notebook whole, on small data.
RUN_BY = {
    "00_start_here": "notebooks/test_by_hand.py",
    "bias_audit": "workflow/test_reviewer_pages.py",
    "case_report": "workflow/test_demo.py",
    "compare_runs": "workflow/test_sweep.py",
    "crime_forecast": "workflow/test_crime_pages.py",
    "crime_hotspots": "workflow/test_hotspot_page.py",
    "crime_overview": "notebooks/test_by_hand.py",
    "crime_places": "workflow/test_crime_pages.py",
    "dpia": "workflow/test_reviewer_pages.py",
    "evaluate_recognition": "workflow/test_recognition_study.py",
    "evaluate_reconstruction": "workflow/test_reconstruct_pages.py",
    "evidence_case": "workflow/test_reviewer_pages.py",
    "governance_review": "workflow/test_sweep.py",
    "recognise": "workflow/test_demo.py",
    "reconstruct": "workflow/test_execute.py",
    "reconstruct_many": "workflow/test_reconstruct_pages.py",
    "verify_pair": "workflow/test_pair_page.py",
}


def test_every_notebook_is_run_whole_by_a_test():
    assert set(RUN_BY) == {path.stem for path in (ROOT / "notebooks").glob("*.ipynb")}
    for name, file in RUN_BY.items():
        text = (ROOT / "tests" / file).read_text()
        assert re.search(rf"\W{name.replace('_', '[_-]')}\W", text), f"{file} does not run {name}.ipynb"


@pytest.fixture
def by_hand(tmp_path):
    """Run a notebook as papermill's command does, from its own folder; return what is left of it."""

    def run(name: str, *options: str) -> tuple[list[nbformat.NotebookNode], Path]:
        environment = {k: v for k, v in os.environ.items() if not k.startswith("CRIMEFACE_") or k.endswith("DATA_ROOT")}
        environment |= {"CRIMEFACE_HOME": str(tmp_path / "home"), "CRIMEFACE_REPORTS_DIR": str(tmp_path / "reports")}
        out = tmp_path / "out.ipynb"
        command = [sys.executable, "-m", "papermill", str(ROOT / f"notebooks/{name}.ipynb"), str(out), *options]
        done = subprocess.run(
            [*command, "--cwd", str(tmp_path)], env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr[-3000:]
        cells = [cell for cell in nbformat.read(out, as_version=4).cells if cell.cell_type == "code"]
        return cells, tmp_path / "reports"

    return run


@pytest.mark.slow
def test_the_tour_needs_nothing_and_leaves_no_report(by_hand):
    cells, reports = by_hand("00_start_here")
    assert all(cell.outputs for cell in cells)
    assert not reports.exists()


@pytest.mark.slow
def test_a_page_runs_to_its_end_on_the_sample_without_the_parts_left_out(by_hand):
    cells, reports = by_hand("crime_overview", "-y", "overrides: {crime: sample, predict: false, make_grid.cell: 500}")
    html = ["".join(o.data.get("text/html", "") for o in c.outputs if "data" in o) for c in cells]
    over = [cell for cell, shown in zip(cells, html, strict=True) if "the settings leave this part out" in shown]
    assert over == [cell for cell in cells if "forecast" in cell.metadata.get("tags", [])]
    (folder,) = reports.glob("*-crime-overview")
    record = json.loads((folder / "steps/crime_overview.json").read_text())
    assert record["cannot_say"][0] == "Anything about a case: crime came from the sample that is part of crimeface."
    assert "series" in {figure["name"] for figure in record["figures"]}


def in_ipython(*cells: str) -> str:
    """Return what an IPython shell prints for cells run one after the other."""
    code = f"shell = get_ipython()\nfor cell in {list(cells)!r}: shell.run_cell(cell)"
    command = [sys.executable, "-m", "IPython", "--colors=NoColor", "--no-banner", "-c", code]
    environment = os.environ | {"IPYTHONDIR": os.devnull}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def test_what_a_user_can_mend_is_one_sentence_and_the_traceback_comes_when_asked_for():
    failing = "from crimeface_lib.workflow import load_config\nload_config('configs/reconstruct.yaml')"
    ours = "from crimeface_lib.core.errors import IntegrityError\nraise IntegrityError('changed')"
    said = in_ipython(failing, "print('=next=')", "%xmode Verbose", failing, "print('=next=')", "%xmode Context", ours)
    short, long, own = said.split("=next=\n")
    assert [line for line in short.splitlines() if "parameter 'photo' is missing" in line and "ConfigError" in line]
    assert "Traceback" not in short
    assert "Traceback" in long
    assert "build_config" in long
    assert "Traceback" in own, "what is our fault is never cut short"


def test_a_cell_is_passed_over_by_its_first_line_only():
    said = in_ipython(
        "from crimeface_lib.workflow.passed_over import pass_over\npass_over(['forecast'])",
        "# only with: forecast\nprint('wrong')",
        "# only with: groups, forecast\nprint('wrong')",
        "# only with: groups\nprint('right')",
        "print('also')\n# only with: forecast",
        "pass_over([])",
        "# only with: forecast\nprint('again')",
    )
    assert [word for word in ("wrong", "right", "also", "again") if word in said] == ["right", "also", "again"]
    assert said.count("PassedOver(part='forecast')") == 2
    assert "(&lt;b&gt;)" in PassedOver("<b>")._repr_html_()


def test_a_sample_is_used_only_when_it_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("CRIMEFACE_HOME", str(tmp_path))
    from crimeface_lib.workflow import load_config

    given = load_config("configs/reconstruct.yaml", {"photo": "sample", "title": "sample"})
    assert given.photo == (tmp_path / "samples/photo.png").resolve()
    assert given.photo.is_file()
    assert given.title == "sample", "only an input that can't be left out"
    assert load_config("configs/evidence_case.yaml", {"files": "sample"}).files == Path("sample")
    assert len(cautions(given, settings=Settings(home=tmp_path))) == 1
    other = build_config({"notebook": "reconstruct", "title": "x", "question": "y", "photo": "mine.png"})
    assert cautions(other, settings=Settings(home=tmp_path)) == []


def test_long_work_tells_how_far_it_is_and_its_line_goes(monkeypatch):
    import IPython.display

    lines = []

    class Line:
        def update(self, html):
            lines.append(html.data)

    clock = iter(range(0, 1000, 10))
    monkeypatch.setattr(shown, "_in_notebook", lambda: True)
    monkeypatch.setattr(shown.time, "monotonic", lambda: next(clock))
    monkeypatch.setitem(sys.modules, "ipykernel", sys)
    monkeypatch.setattr(IPython.display, "display", lambda html, display_id: lines.append(html.data) or Line())
    working = Working("<photos>")
    assert lines == ['<p class="cf-note">&lt;photos&gt; …</p>'], "before the first is done"
    assert list(working.each("abc")) == ["a", "b", "c"]
    assert "1 of 3, about 40 s to go" in lines[2]
    assert lines[-1] == "<script></script>"
    output = nbformat.v4.new_output("display_data", data={"text/html": lines[-1]})
    cell = nbformat.v4.new_code_cell("work()", outputs=[output])
    assert not make_ready(nbformat.v4.new_notebook(cells=[cell])).notebook.cells[0].outputs, "a report has no trace"
    assert len(lines) == 6
