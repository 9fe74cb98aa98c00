"""The list of figures and tables: every captioned part is numbered, listed, and where the list says."""

from __future__ import annotations

import base64
import io
import re

import nbformat.v4 as nbf
import pandas as pd
import pytest
from PIL import Image

from crimeface_lib.reporting import html_table, publish_notebook
from crimeface_lib.reporting._contents import number_parts
from crimeface_lib.reporting.pdf import CHROMIUM_ARGS

LONG = "Rates by group, drawn from the newest report. " + "More words. " * 20


def figure(png: str, caption: str, *, number: int = 1, width: int = 910) -> str:
    return (
        f'<figure class="cf-figure"><img alt="{caption}" width="{width}" src="data:image/png;base64,{png}">'
        f"<figcaption><b>Figure {number}.</b> {caption}</figcaption></figure>"
    )


@pytest.fixture
def page(png, tmp_path):
    wide = pd.DataFrame({f"a long name {n}": [f"some words {n}"] for n in range(14)})
    tall = io.BytesIO()
    Image.new("RGB", (200, 400)).save(tall, "PNG")
    parts = [
        figure(png, "Events a month."),
        html_table(wide, caption=LONG),
        wide.to_html(),
        figure(png, "A &lt;small&gt; one.", number=2, width=455),
        figure(base64.b64encode(tall.getvalue()).decode(), "A tall one.", number=3),
        html_table(wide.T.reset_index().set_axis(["name", "words"], axis=1), caption="5 % of it."),
    ]
    outputs = [nbf.new_output("display_data", data={"text/html": part}) for part in parts]
    notebook = nbf.new_notebook(cells=[nbf.new_markdown_cell("# Page"), nbf.new_code_cell("x", outputs=outputs)])
    return publish_notebook(notebook, tmp_path / "page.html")


def test_every_captioned_part_is_listed_and_the_list_leads_to_it(page):
    html = page.read_text("utf-8")
    listed = re.findall(r'<li><a href="#([\w-]+)">([\w ]+)</a> (.*?)</li>', html)
    assert listed == [
        ("figure-1", "Figure 1", "Events a month"),
        ("figure-2", "Figure 2", "A &lt;small&gt; one"),
        ("figure-3", "Figure 3", "A tall one"),
        ("table-1", "Table 1", "Rates by group, drawn from the newest report"),
        ("table-2", "Table 2", "5% of it"),
    ]
    for anchor, label, _ in listed:
        (part,) = re.findall(rf'<figure class="[\w -]+" id="{anchor}">(.*?)</figure>', html, flags=re.DOTALL)
        assert f"<figcaption><b>{label}.</b> " in part
    assert all(re.search(r'alt="[^"]+"', image) for image in re.findall(r"<img [^>]*>", html))
    assert 'style="--share:0.500"' in html
    assert html.count('<div class="cf-scroll"><table') == 3


def test_a_page_without_captions_has_no_list():
    body = '<div class="cf-html"><table><tr><td>1</td></tr></table></div><p>after</p>'
    assert number_parts(body) == (
        '<div class="cf-html"><div class="cf-scroll"><table><tr><td>1</td></tr></table></div></div><p>after</p>', []
    )  # fmt: skip


def test_wide_parts_stay_on_the_page_on_a_phone_and_on_paper(page, chromium):
    from playwright.sync_api import sync_playwright

    outer = "Math.max(...[...document.querySelectorAll('.cf-body img, .cf-body figcaption')].map({}))"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=list(CHROMIUM_ARGS))
        try:
            tab = browser.new_page(viewport={"width": 390, "height": 844})
            tab.goto(page.as_uri())
            assert tab.evaluate("document.documentElement.scrollWidth") == 390
            assert tab.evaluate(outer.format("part => part.tagName == 'IMG' ? part.clientWidth : 0")) > 390
            assert tab.evaluate(outer.format("part => part.tagName == 'IMG' ? 0 : part.clientWidth")) < 390
            wide = "box => box.scrollWidth > box.clientWidth"
            scrolling = tab.evaluate(
                f"[...document.querySelectorAll('.cf-scroll')].filter({wide}).map(b => b.tabIndex)"
            )
            assert set(scrolling) == {0}, "what scrolls can be reached by keyboard"
            tab.click("text=Table 2")
            assert tab.evaluate("document.querySelector(':target').id") == "table-2"
            tab.emulate_media(media="print")
            tab.set_viewport_size({"width": 680, "height": 990})  # A4 without its margins
            assert tab.evaluate(outer.format("part => part.getBoundingClientRect().right")) <= 680
            drawn = "[...document.images].map(i => [i.clientWidth / i.clientHeight, i.naturalWidth / i.naturalHeight])"
            assert all(shown == pytest.approx(meant, rel=0.02) for shown, meant in tab.evaluate(drawn))
        finally:
            browser.close()
