"""Every link of notebooks and READMEs leads somewhere: to files and headings within the checkout.

Addresses elsewhere are looked at for their form only: tests use no network.
"""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

import nbformat
import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    *sorted((ROOT / "notebooks").rglob("*.ipynb")), ROOT / "README.md", ROOT / "CHANGELOG.md",
    ROOT / "data/README.md", ROOT / "reports/README.md",
]  # fmt: skip
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)(?:\s+\"[^\"]*\")?\)")
#: A page of a run stands beside the others as HTML; the notebook is where it is published from.
PUBLISHED = re.compile(r"\w+\.html")


def words_of(path: Path) -> str:
    """Return a page's Markdown without its code."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".ipynb":
        cells = nbformat.reads(text, as_version=4).cells
        text = "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    return re.sub(r"`[^`\n]*`", "", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL))


def anchors_of(path: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub and JupyterLab name them."""
    heads = re.findall(r"^#+ +(.+?)\s*$", words_of(path), flags=re.MULTILINE)
    github = {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}
    return github | {head.replace(" ", "-") for head in heads}


def wrong_with(link: str, page: Path) -> str:
    """Return what is wrong with a link of a page, or nothing."""
    parts = urlsplit(link)
    if parts.scheme:
        ok = parts.scheme == "https" and re.fullmatch(r"[a-z0-9-]+(\.[a-z0-9-]+)+", parts.netloc)
        return "" if ok else "expected https and the name of a host"
    target = page.parent / unquote(parts.path) if parts.path else page
    if page.suffix == ".ipynb" and PUBLISHED.fullmatch(parts.path):
        target = target.with_suffix(".ipynb")
    if not target.resolve().is_relative_to(ROOT):
        return "leads out of the checkout"
    if not target.exists():
        return "no such file"
    if parts.fragment and parts.fragment not in anchors_of(target):
        return f"no heading for #{parts.fragment} in {target.name}"
    return ""


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_links_of_a_page_lead_somewhere(page):
    wrong = {link: said for link in LINK.findall(words_of(page)) if (said := wrong_with(link, page))}
    assert not wrong


def test_wrong_links_are_seen(tmp_path):
    page = ROOT / "README.md"
    assert wrong_with("data/READ.md", page) == "no such file"
    assert wrong_with("#no-such-heading", page).startswith("no heading")
    assert wrong_with("../elsewhere", page) == "leads out of the checkout"
    assert wrong_with("http://example.org", page)
    assert wrong_with("https://example", page)
    assert not wrong_with("#your-own-input", page)
    assert not wrong_with("data/README.md#where-real-data-goes", page)
    assert LINK.findall(words_of(page)), "README has links"
