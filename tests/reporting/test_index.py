"""The index lists every run, the newest first, and links only what lies inside a run's folder."""

from __future__ import annotations

import json
import re

import pytest

from crimeface_lib.core.errors import NotFoundError
from crimeface_lib.reporting import publish_index


def _run(folder, name, **record):
    (folder / name).mkdir()
    (folder / name / "run.json").write_text(json.dumps({"id": name, "notebook": "demo", **record}))
    return folder / name


def test_runs_are_listed_newest_first_with_status_reason_and_links(tmp_path):
    old = _run(tmp_path, "a", started="2026-01-01T00:00:00Z", status="done", headline="Two <candidates>", outputs=[
        {"path": "report.html", "title": "report"}, {"path": "thumbnail.png"},
        {"path": "../secret.html"}, {"path": "gone.pdf"},
    ])  # fmt: skip
    (tmp_path / "secret.html").write_text("x")
    (old / "report.html").write_text("x")
    (old / "thumbnail.png").write_bytes(b"x")
    _run(tmp_path, "b", started="2026-02-01T00:00:00Z", status="refused", reason="DPIA expired", outputs=[])
    html = publish_index(tmp_path).read_text("utf-8")
    assert html.index("DPIA expired") < html.index("Two &lt;candidates&gt;")
    assert re.findall(r'href="([^"]+)"', html) == ["a/report.html", "a/report.html"]
    assert re.findall(r'<img[^>]+src="([^"]+)"', html) == ["a/thumbnail.png"]
    assert re.findall(r'class="cf-badge cf-(\w+)"', html) == ["refused", "done"]
    assert "2 runs" in html


def test_a_record_that_cannot_be_read_is_listed(tmp_path):
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "run.json").write_text("{")
    html = publish_index(tmp_path).read_text("utf-8")
    assert "cf-unreadable" in html
    assert "can&#39;t be read" in html


def test_no_run_and_no_folder(tmp_path):
    assert "No run yet" in publish_index(tmp_path).read_text("utf-8")
    with pytest.raises(NotFoundError):
        publish_index(tmp_path / "absent")
