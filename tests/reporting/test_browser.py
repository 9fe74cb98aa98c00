"""In a real browser: the page from disk asks for nothing, draws its live parts, and prints."""

from __future__ import annotations

import asyncio
import shutil
import subprocess

import nbformat.v4 as nbf
import pytest

from crimeface_lib.core.errors import InputError, MissingBackendError, NotFoundError
from crimeface_lib.reporting import Cover, face_view, html_to_pdf, publish_index, publish_notebook, snapshot_html
from crimeface_lib.reporting.pdf import CHROMIUM_ARGS


@pytest.fixture
def report(notebook, tetrahedron, tmp_path):
    vertices, triangles = tetrahedron
    view = snapshot_html(face_view(vertices, triangles, vertex_sd=[1, 2, 3, 4]))
    notebook.cells.append(
        nbf.new_code_cell("view", outputs=[nbf.new_output("display_data", data=view._repr_mimebundle_())])
    )
    cover = Cover(asked="a?", found="f.", cannot_say="c.", run_id="run-7")
    return publish_notebook(notebook, tmp_path / "run-7" / "report.html", cover=cover)


def test_report_works_from_disk_without_network(report, chromium):
    from playwright.sync_api import sync_playwright

    asked, errors = [], []
    with sync_playwright() as playwright:
        args = [a for a in CHROMIUM_ARGS if a != "--disable-gpu"]
        args += ["--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
        browser = playwright.chromium.launch(executable_path=chromium, args=args)
        try:
            page = browser.new_page(viewport={"width": 1280, "height": 800})
            page.on("request", lambda request: asked.append(request.url))
            page.on("console", lambda message: message.type == "error" and errors.append(message.text))
            page.on("pageerror", lambda error: errors.append(str(error)))
            page.goto(report.as_uri())
            page.locator(".cf-plotly .main-svg").first.wait_for(state="attached")
            frame = page.frame_locator("iframe")
            frame.locator("canvas").first.wait_for(state="attached")
            frame.get_by_role("button", name="uncertainty").click()
            frame.locator("nav p").wait_for(state="visible")
            for width, height in ((1280, 800), (390, 844)):
                page.set_viewport_size({"width": width, "height": height})
                assert page.evaluate("document.documentElement.scrollWidth") <= width
        finally:
            browser.close()
    outside = [url for url in asked if not url.startswith(("data:", "blob:", "about:")) and url != report.as_uri()]
    assert outside == []
    assert errors == []


def test_index_search(report, chromium):
    from playwright.sync_api import sync_playwright

    (report.parent / "run.json").write_text('{"id": "run-7", "title": "Near repeat", "status": "done"}')
    (report.parent.parent / "run-8").mkdir()
    (report.parent.parent / "run-8" / "run.json").write_text('{"id": "run-8", "title": "Faces", "status": "failed"}')
    index = publish_index(report.parent.parent)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=list(CHROMIUM_ARGS))
        try:
            page = browser.new_page()
            page.goto(index.as_uri())
            page.fill("#search", "failed FACES")
            assert page.locator(".cf-runs > li:visible").all_inner_texts()[0].count("Faces") == 1
            assert page.inner_text("#count") == "1 run"
        finally:
            browser.close()


def test_pdf_bears_run_pages_and_the_validation_warning(report, chromium, tmp_path):
    targets = html_to_pdf([report, report], [tmp_path / "a.pdf", tmp_path / "b.pdf"], chromium=chromium)
    assert all(t.read_bytes().startswith(b"%PDF") for t in targets)
    if not shutil.which("pdftotext"):
        pytest.skip("no pdftotext: apt install poppler-utils")
    text = subprocess.run(["pdftotext", "-layout", targets[0], "-"], capture_output=True, check=True, text=True).stdout
    pages = text.rstrip("\f").split("\f")
    for number, page in enumerate(pages, 1):
        assert f"{number}/{len(pages)}" in page.replace(" ", "")
        assert "run run-7" in page
        assert "Not validated for casework" in page
    assert "What was asked" in pages[0]
    assert "open the HTML report" in text
    assert "draw(model)" not in text


def test_pdf_of_a_validated_method_names_the_validation_instead(notebook, chromium, tmp_path):
    cover = Cover(asked="a", found="b", cannot_say="c", run_id="run-8", validation_id="MV-2026-7")
    page = publish_notebook(notebook, tmp_path / "r.html", cover=cover)
    (target,) = html_to_pdf(page, tmp_path / "r.pdf", chromium=chromium)
    if not shutil.which("pdftotext"):
        pytest.skip("no pdftotext: apt install poppler-utils")
    text = subprocess.run(["pdftotext", "-layout", target, "-"], capture_output=True, check=True, text=True).stdout
    assert "not validated" not in text.lower()
    assert "method validation MV-2026-7" in " ".join(text.split())


def test_pdf_says_what_is_missing(tmp_path, monkeypatch):
    page = tmp_path / "r.html"
    page.write_text("<p>x</p>")
    with pytest.raises(NotFoundError, match="publish it first"):
        html_to_pdf(tmp_path / "absent.html", tmp_path / "x.pdf")
    with pytest.raises(InputError, match="as many of each"):
        html_to_pdf([page], [])
    with pytest.raises(MissingBackendError, match="set CRIMEFACE_CHROMIUM"):
        html_to_pdf(page, tmp_path / "x.pdf", chromium=tmp_path / "nowhere")
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CRIMEFACE_CHROMIUM", raising=False)
    with pytest.raises(MissingBackendError, match="apt install chromium"):
        html_to_pdf(page, tmp_path / "x.pdf")


def test_a_notebook_whose_event_loop_runs_can_print_too(report, chromium, tmp_path):
    async def cell() -> None:
        html_to_pdf(report, tmp_path / "a.pdf", chromium=chromium)

    asyncio.run(cell())
    assert (tmp_path / "a.pdf").read_bytes().startswith(b"%PDF")
