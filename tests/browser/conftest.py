"""One server with a demonstration store, one browser, and pages of which every request and complaint is looked at."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from crimeface_lib.core.errors import MissingBackendError
from crimeface_lib.core.settings import Settings
from crimeface_lib.reporting import find_chromium
from crimeface_lib.workflow.serve import AppServer, running_apps

ROOT = Path(__file__).resolve().parents[2]
ARGUMENTS = [
    "--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--use-angle=swiftshader", "--enable-unsafe-swiftshader",
]  # fmt: skip
PATIENCE = 120_000  # ms; a loaded machine is slow, not wrong
AXE = ROOT / ".browser" / "node_modules" / "axe-core" / "axe.min.js"
# Voila's own words when the page was too busy to look again; the page then fetches the widget itself
MENDED = "widget model not found"


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


_DEMONSTRATION = """
from crimeface_lib.workflow.demo import prepare_demo
from crimeface_lib.workflow.job import run_job

demo, _ = prepare_demo()
wanted = {name: demo[name] for name in ("probe", "store", "actor", "purpose", "case")}
run_job("recognise", {**wanted, "watchlist": demo["recognise.watchlist"]})
"""


@pytest.fixture(scope="session")
def home(tmp_path_factory) -> Path:
    """Stores as they are after a demonstration: sample accounts and approvals, and one face search to review."""
    home = tmp_path_factory.mktemp("home")
    folders = {"CRIMEFACE_HOME": str(home), "CRIMEFACE_REPORTS_DIR": str(home / "reports")}
    # in a process of its own: it leaves the researcher's token in the environment, for its notebooks
    subprocess.run([sys.executable, "-c", _DEMONSTRATION], env={**os.environ, **folders}, check=True)
    return home


@pytest.fixture(scope="session")
def server(home) -> Iterator[AppServer]:
    settings = Settings(home=home, reports_dir=home / "reports")
    culling = ("--MappingKernelManager.cull_idle_timeout=2", "--MappingKernelManager.cull_interval=10")
    with running_apps(port=free_port(), settings=settings, options=culling) as server:
        yield server


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A browser of the module's own: Playwright's event loop must have ended when the next tests start theirs."""
    playwright = pytest.importorskip("playwright.sync_api", reason="no Playwright: pip install 'crimeface-lib[pdf]'")
    try:
        path = find_chromium()
    except MissingBackendError as error:
        pytest.skip(str(error))
    with playwright.sync_playwright() as engine:
        browser = engine.chromium.launch(executable_path=str(path), args=ARGUMENTS)
        yield browser
        browser.close()


@dataclass
class Visit:
    """A visitor with cookies of their own; what their page asked for and complained of."""

    page: Any
    address: str
    asked: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.set_default_timeout(PATIENCE)
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.on("websocket", lambda socket: self.asked.append(socket.url))
        self.page.on("console", lambda said: self.complaints.append(said.text) if said.type == "error" else None)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def open(self, app: str) -> Any:
        """Go to an app; its page is ready when the line that says it is starting has gone."""
        self.page.goto(f"{self.address}voila/render/{app}.ipynb")
        self.page.locator("#cf-loading").wait_for(state="detached")
        return self.page

    def check(self) -> None:
        """Assert that nothing outside was asked for, nothing went wrong, and no source is shown."""
        ours = re.compile(rf"(http|ws)://{re.escape(self.address.split('/')[2])}/|data:|blob:")
        assert not [url[:200] for url in self.asked if not ours.match(url)]
        assert not [said for said in self.complaints if MENDED not in said]
        text = self.page.inner_text("body")
        assert not re.search(r"Traceback|Error\b|crimeface_lib|import ", text), "source or a traceback is on the page"


@pytest.fixture(scope="module")
def visiting(browser, server) -> Callable[..., Any]:
    """Return a context manager that lets a new visitor in, checks their page at its end and closes it."""

    @contextlib.contextmanager
    def visiting(**options: Any) -> Iterator[Visit]:
        context = browser.new_context(viewport={"width": 1280, "height": 800}, **options)
        visit = Visit(context.new_page(), server.address)
        try:
            visit.page.goto(server.url)
            yield visit
            visit.check()
        finally:
            context.close()

    return visiting


@pytest.fixture(scope="session")
def picture() -> Callable[..., np.ndarray]:
    """Return the pixels of an element, (H, W, 3) float."""

    def picture(page: Any, selector: str) -> np.ndarray:
        shot = page.locator(selector).first.screenshot()
        return np.asarray(Image.open(BytesIO(shot)).convert("RGB"), dtype=float)

    return picture


@pytest.fixture(scope="session")
def drawn(picture) -> Callable[..., np.ndarray]:
    """Wait until an element is not blank, or differs from what it was, and return its pixels."""

    def drawn(page: Any, selector: str, *, unlike: np.ndarray | None = None) -> np.ndarray:
        end = time.monotonic() + PATIENCE / 1000
        while True:
            now = picture(page, selector)
            changed = unlike is None or now.shape != unlike.shape or np.abs(now - unlike).max() > 30
            if now.std() > 10 and changed:
                return now
            assert time.monotonic() < end, f"{selector} is blank or hasn't changed"
            page.wait_for_timeout(200)

    return drawn


@pytest.fixture(scope="session")
def tab_to() -> Callable[..., None]:
    """Press Tab until the element has the focus, as somebody without a mouse does."""

    def tab_to(page: Any, target: Any, *, most: int = 80) -> None:
        target.wait_for()
        for _ in range(most):
            if target.evaluate("node => node === document.activeElement"):
                return
            page.keyboard.press("Tab")
        raise AssertionError(f"{target} was not reached by {most} presses of Tab")

    return tab_to


@pytest.fixture(scope="session")
def barriers() -> Callable[..., list[str]]:
    """Return what axe-core finds on a page that keeps people out: each with the first element concerned."""
    if not AXE.is_file():
        pytest.skip("no axe-core: npm install --no-save --prefix .browser axe-core@4.14.1")
    script = AXE.read_text("utf-8")

    def barriers(page: Any) -> list[str]:
        page.evaluate(f"{script};0")
        found = page.evaluate("() => axe.run()")["violations"]
        grave = [one for one in found if one["impact"] in ("serious", "critical")]
        return [f"{one['impact']}: {one['help']}: {one['nodes'][0]['html'][:300]}" for one in grave]

    return barriers
