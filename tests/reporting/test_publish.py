"""A report is one file, in a fixed order, that loads nothing from elsewhere."""

from __future__ import annotations

import re
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import nbformat
import nbformat.v4 as nbf
import pytest

from crimeface_lib.core.errors import InputError, NotFoundError
from crimeface_lib.reporting import Cover, publish_notebook
from crimeface_lib.reporting._cells import make_ready, outside_loads

COVER = Cover(
    asked="Do burglaries repeat near each other?", found=["Within 200 m.", "Within 14 days."],
    cannot_say="Who did it.", run_id="near_repeat-1", started="2026-03-01T09:12:05Z",
)  # fmt: skip
PROVENANCE = {
    "device": "cpu",
    "inputs": [{"name": "a.csv", "sha256": "ab" * 32}, {"name": "<b>.csv", "sha256": "cd" * 32, "licence": "OGL"}],
    "dpia": {"id": "DPIA-1", "state": "approved"},
}


class _Page(HTMLParser):
    """What a reader sees, and what a browser would load."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.text, self.loads, self._hidden = "", [], 0
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self._hidden += tag in {"script", "style"}
        self.loads += [v for k, v in attrs if k in {"src", "srcset", "data"} and not v.startswith("data:")]
        self.loads += [v for k, v in attrs if k == "href" and tag != "a"]

    def handle_endtag(self, tag):
        self._hidden -= tag in {"script", "style"}

    def handle_data(self, data):
        self.text += "" if self._hidden else data


def _publish(notebook, folder: Path, **options) -> tuple[str, _Page]:
    html = publish_notebook(notebook, folder / "report.html", **options).read_text("utf-8")
    return html, _Page(html)


def _without_scripts(html: str) -> str:
    return re.sub(r"<script\b.*?</script>", "", html, flags=re.DOTALL)


def _in_order(text: str, *words: str) -> bool:
    places = [text.index(word) for word in words]
    return places == sorted(places)


def test_order_is_asked_found_limits_figures_provenance_sign_off(notebook, tmp_path):
    _, page = _publish(notebook, tmp_path, cover=COVER, provenance=PROVENANCE)
    assert _in_order(
        page.text, "Near repeat", "Not validated for casework", "What was asked", "What was found", "What it can’t say",
        "Look at the line.", "Provenance", "SHA-256", "DPIA-1", "Sign-off",
    )  # fmt: skip
    assert "2026-03-01 09:12 UTC" in page.text
    assert "<b>.csv" in page.text  # escaped, not markup


def test_page_loads_nothing_and_forbids_loading(notebook, tmp_path):
    html, page = _publish(notebook, tmp_path, cover=COVER)
    assert page.loads == []
    assert not re.search(r"@import|url\((?!data:)", _without_scripts(html))
    assert "default-src 'none'" in unescape(html)
    assert "MathJax" not in _without_scripts(html)
    assert "require.js" not in _without_scripts(html)
    assert "Left out: this output would load https://cdn.example.org/a.js" in page.text


def test_formulas_are_pictures(notebook, tmp_path):
    html, page = _publish(notebook, tmp_path)
    assert _without_scripts(html).count("data:image/svg+xml") == 2
    assert "$" not in page.text
    assert "frac" not in page.text


def test_parameters_are_a_table_and_not_code(notebook, tmp_path):
    html, page = _publish(notebook, tmp_path)
    rows = re.findall(r"<code>(\w+)</code></th><td>([^<]*)</td><td class=\"cf-origin\">([^<]*)", html)
    assert rows == [("days", "14", "set for this run"), ("cell", "250.0", "default")]
    assert "# Parameters" not in page.text


def test_code_and_messages_are_folded_and_progress_keeps_its_last_state(notebook, tmp_path):
    html, _ = _publish(notebook, tmp_path)
    folded = re.findall(r"<details.*?</details>", html, flags=re.DOTALL)
    assert any("fit: 100%" in part for part in folded)
    assert "fit:  0%" not in html
    assert any("draw" in part for part in folded)
    assert "window.x = 1" not in html


def test_plotly_code_is_carried_once_and_only_where_needed(notebook, tmp_path):
    notebook.cells.append(nbf.new_code_cell("again", outputs=notebook.cells[-1].outputs))
    html, _ = _publish(notebook, tmp_path)
    assert html.count('<div class="cf-plotly cf-interactive"') == 2
    assert html.count("plotly.js v") == 1
    assert len(html) < 12_000_000
    plain, _ = _publish(nbf.new_notebook(cells=notebook.cells[:4]), tmp_path)
    assert "plotly.js v" not in plain
    assert len(plain) < 60_000


def test_failed_run_shows_the_error_first(failed, tmp_path):
    html, page = _publish(failed, tmp_path, cover=COVER, provenance=PROVENANCE)
    assert _in_order(page.text, "The run failed", "no face in <photo>; expected one", "Not validated", "What was asked")
    assert 'class="cf-badge cf-failed"' in html
    assert "code cell 4. 1 later cell was not run" in page.text
    assert "never_run" not in html
    assert "\x1b" not in html
    assert "An Exception was encountered" not in html
    assert "Sign-off" not in page.text


def test_refused_run_gives_its_reason_first(notebook, tmp_path):
    cover = replace(COVER, status="refused", reason="DPIA-1 expired on 2026-01-31.")
    _, page = _publish(notebook, tmp_path, cover=cover)
    assert _in_order(page.text, "The run was refused", "DPIA-1 expired", "What was asked")


@pytest.mark.parametrize("cover", [None, COVER])
def test_without_a_validation_id_the_page_says_so(notebook, tmp_path, cover):
    assert "Not validated for casework" in _publish(notebook, tmp_path, cover=cover)[1].text


def test_a_blank_validation_id_is_none(notebook, tmp_path):
    _, page = _publish(notebook, tmp_path, cover=replace(COVER, validation_id="  "))
    assert "Not validated for casework" in page.text


def test_with_a_validation_id_the_page_names_it(notebook, tmp_path):
    _, page = _publish(notebook, tmp_path, cover=replace(COVER, validation_id="VAL-7"))
    assert "VAL-7" in page.text
    assert "Not validated" not in page.text


def test_no_page_says_the_forbidden_word(notebook, tmp_path):
    assert "match" not in _publish(notebook, tmp_path, cover=COVER, provenance=PROVENANCE)[1].text.lower()


def test_publishing_leaves_the_notebook_as_it_is_and_repeats_itself(notebook, tmp_path):
    before = nbformat.writes(notebook)
    first, _ = _publish(notebook, tmp_path, cover=COVER)
    assert nbformat.writes(notebook) == before
    assert _publish(notebook, tmp_path, cover=COVER)[0] == first


def test_reads_a_notebook_from_disk(notebook, tmp_path):
    path = tmp_path / "run.ipynb"
    nbformat.write(notebook, path)
    assert "Near repeat" in _publish(path, tmp_path)[1].text
    with pytest.raises(NotFoundError, match="run it first"):
        publish_notebook(tmp_path / "absent.ipynb", tmp_path / "x.html")
    (tmp_path / "bad.ipynb").write_text("{")
    with pytest.raises(InputError, match="no notebook"):
        publish_notebook(tmp_path / "bad.ipynb", tmp_path / "x.html")


def test_a_text_cell_that_loads_from_elsewhere_is_refused(tmp_path):
    notebook = nbf.new_notebook(cells=[nbf.new_markdown_cell("![x](https://example.org/x.png)")])
    with pytest.raises(InputError, match=r"https://example.org/x.png"):
        publish_notebook(notebook, tmp_path / "x.html")
    assert not (tmp_path / "x.html").exists()


def test_progress_widgets_leave_and_other_widgets_leave_a_word():
    def output(plain: str):
        kind = "application/vnd.jupyter.widget-view+json"
        return nbf.new_output("display_data", data={kind: {"model_id": "1"}, "text/plain": plain})

    cell = nbf.new_code_cell(
        "x", outputs=[output("HBox(children=…)"), output("  0%|          | 0/3"), output("Plot(…)")]
    )
    outputs = make_ready(nbf.new_notebook(cells=[cell])).notebook.cells[0].outputs
    assert ["live widget" in o.data["text/html"] for o in outputs] == [True]


@pytest.mark.parametrize(
    ("html", "found"),
    [
        ('<link rel="stylesheet" href="//cdn/x.css">', ["//cdn/x.css"]),
        ('<style>@import "a.css"; b{background:url(c.png)}</style>', ["a.css", "c.png"]),
        ('<p style="background:url(data:,)">', []),
        ('<iframe srcdoc="&lt;img src=&quot;http://x/y&quot;&gt;"></iframe>', ["http://x/y"]),
        ('<script>s.src = "https://x"</script><a href="https://x">x</a>', []),
    ],
)
def test_outside_loads(html, found):
    assert outside_loads(html) == found


def test_unknown_status_is_refused():
    with pytest.raises(InputError, match="got 'ok', expected one of done"):
        Cover(asked="", found="", cannot_say="", status="ok")
