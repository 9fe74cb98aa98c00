"""Links of published reports lead somewhere within their folder; addresses elsewhere are not followed."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("demo")]


class Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.ids: set[str] = set()

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.links += [found[name] for name in ("href", "src") if found.get(name)]
        self.ids |= {found[name] for name in ("id", "name") if found.get(name)}


def read_html(path: Path) -> Links:
    page = Links()
    page.feed(path.read_text(encoding="utf-8"))
    return page


def broken(folder: Path) -> list[str]:
    """Return the links within a folder of reports that lead nowhere."""
    pages = {path: read_html(path) for path in folder.rglob("*.html")}
    wrong = []
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            target = path.parent / unquote(parts.path) if parts.path else path
            if parts.scheme in {"data", "https", "mailto"}:
                continue
            if not target.exists() or (parts.fragment and parts.fragment not in pages.get(target, page).ids):
                wrong.append(f"{path.name}: {link}")
    return wrong


def test_links_of_reports_lead_somewhere(demo_run):
    """The report of a demonstration, its pages, and the list of runs."""
    assert len(list(demo_run.glob("*.html"))) >= 4
    assert (demo_run.parent / "index.html").is_file()
    assert broken(demo_run.parent) == []


def test_a_broken_link_is_seen(tmp_path):
    (tmp_path / "a.html").write_text(
        '<a href="b.html">x</a><a href="#c">y</a><p id="d"><a href="#d">z</a><img src="data:,">'
    )
    assert broken(tmp_path) == ["a.html: b.html", "a.html: #c"]
