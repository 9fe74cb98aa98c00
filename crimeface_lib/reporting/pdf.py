"""HTML reports on paper: A4 by the system's Chromium, several in one launch."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from html import escape, unescape
from os import PathLike
from pathlib import Path

from crimeface_lib.core.errors import InputError, MissingBackendError, NotFoundError
from crimeface_lib.core.files import write_atomic
from crimeface_lib.core.settings import load_settings

StrPath = str | PathLike[str]

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge")
CHROMIUM_ARGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
_LINE = (
    "font:7.5pt 'Liberation Sans',Arial,sans-serif;color:#59636F;width:100%;margin:0 15mm;"
    "display:flex;justify-content:space-between"
)


def html_to_pdf(
    html_path: StrPath | Sequence[StrPath], pdf_path: StrPath | Sequence[StrPath], *, chromium: StrPath | None = None
) -> list[Path]:
    """Print reports to A4 and return the PDFs' paths, in order.

    Scripts are off and no request leaves the machine: a page prints its static figures. The footer bears the
    run and the page of pages; the head of each page of a report without a method validation says so.

    Parameters
    ----------
    html_path, pdf_path : one path each, or as many of the one as of the other.
    chromium : the browser; by default the settings', else the first of ``BROWSERS`` on PATH.

    Raises
    ------
    MissingBackendError : no Playwright or no browser; the message names what brings it.
    NotFoundError : no report at that path.
    """
    pages = [Path(path).resolve() for path in _listed(html_path)]
    targets = [Path(path) for path in _listed(pdf_path)]
    if len(pages) != len(targets):
        raise InputError(f"got {len(pages)} pages and {len(targets)} PDF paths, expected as many of each")
    if absent := [page for page in pages if not page.is_file()]:
        raise NotFoundError(f"no report at {absent[0]}; publish it first")
    browser_path = find_chromium(chromium)
    # in a thread: a notebook's own thread has an event loop running, beside which Playwright can't have one
    with ThreadPoolExecutor(1) as thread:
        thread.submit(_print, pages, targets, browser_path).result()
    return targets


def _print(pages: list[Path], targets: list[Path], browser_path: Path) -> None:
    try:
        from playwright.sync_api import Error, sync_playwright
    except ImportError as error:
        raise MissingBackendError("PDF needs Playwright; pip install 'crimeface-lib[pdf]'") from error
    with sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(executable_path=str(browser_path), args=list(CHROMIUM_ARGS))
        except Error as error:
            raise MissingBackendError(
                f"{browser_path} does not start ({error.message.splitlines()[0]}); set CRIMEFACE_CHROMIUM"
            ) from error
        try:
            context = browser.new_context(java_script_enabled=False, offline=True)
            for source, target in zip(pages, targets, strict=True):
                page = context.new_page()
                page.goto(source.as_uri(), wait_until="load")
                head, foot = _margins(source)
                data = page.pdf(
                    format="A4", print_background=True, display_header_footer=True,
                    header_template=head, footer_template=foot, tagged=True, outline=True,
                    margin={"top": "17mm", "bottom": "18mm", "left": "15mm", "right": "15mm"},
                )  # fmt: skip
                page.close()
                write_atomic(target, data)
        finally:
            browser.close()


def find_chromium(chromium: StrPath | None = None) -> Path:
    """Return the browser that prints: the one named, else the settings', else one on PATH.

    Raises
    ------
    MissingBackendError : there is none.
    """
    named = chromium or load_settings().chromium
    if named:
        if Path(named).is_file():
            return Path(named)
        raise MissingBackendError(f"no browser at {named}; set CRIMEFACE_CHROMIUM to a Chromium or Chrome")
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        raise MissingBackendError(
            f"PDF needs a browser; looked for {', '.join(BROWSERS)} on PATH; "
            "apt install chromium, or set CRIMEFACE_CHROMIUM"
        )
    return Path(found)


def _listed(paths: StrPath | Sequence[StrPath]) -> list[StrPath]:
    return [paths] if isinstance(paths, str | PathLike) else list(paths)


def _margins(source: Path) -> tuple[str, str]:
    """Return header and footer from what the page says of itself in its first lines."""
    with source.open(encoding="utf-8") as file:
        top = file.read(4096)

    def meta(name: str) -> str | None:
        found = re.search(rf'<meta name="{name}" content="([^"]*)"', top)
        return unescape(found[1]) if found else None

    warning = "Not validated for casework" if meta("cf-validation") == "" else ""
    run = meta("cf-run")
    head = f'<div style="{_LINE}"><span>crimeface report</span><span>{warning}</span></div>'
    foot = (
        f'<div style="{_LINE}"><span>{escape(f"run {run}") if run else ""}</span>'
        '<span><span class="pageNumber"></span> / <span class="totalPages"></span></span></div>'
    )
    return head, foot
