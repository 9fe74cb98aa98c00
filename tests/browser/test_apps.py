"""The apps in a real browser: they draw, they answer, and no request leaves 127.0.0.1."""

from __future__ import annotations

import os
import re
import socket
import time
import urllib.error
import urllib.request
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from crimeface_lib.core.errors import MissingBackendError
from crimeface_lib.core.settings import Settings
from crimeface_lib.reporting import find_chromium
from crimeface_lib.workflow.serve import running_apps

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("browser")]
ARGUMENTS = [
    "--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--use-angle=swiftshader", "--enable-unsafe-swiftshader",
]  # fmt: skip
PATIENCE = 120_000  # ms; a loaded machine is slow, not wrong


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = Settings(home=tmp_path_factory.mktemp("home"))
    culling = ("--MappingKernelManager.cull_idle_timeout=2", "--MappingKernelManager.cull_interval=10")
    with running_apps(port=port, settings=settings, options=culling) as server:
        yield server


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="no Playwright: pip install 'crimeface-lib[pdf]'")
    try:
        path = find_chromium()
    except MissingBackendError as error:
        pytest.skip(str(error))
    with playwright.sync_playwright() as engine:
        browser = engine.chromium.launch(executable_path=str(path), args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def page(browser, server):
    """A page that is logged in; at its end, what it asked for and complained of is looked at."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    asked, complaints = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("websocket", lambda socket: asked.append(socket.url))
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(server.url)
    yield page
    text = page.inner_text("body")
    context.close()
    ours = re.compile(rf"(http|ws)://127\.0\.0\.1:{server.address.split(':')[2]}|data:|blob:")
    assert not [url[:200] for url in asked if not ours.match(url)]
    assert any(url.startswith("ws://") for url in asked), "the record of requests sees everything"
    assert not complaints
    assert not re.search(r"Traceback|Error\b|crimeface_lib|import ", text), "source or a traceback is on the page"


def picture(page, selector: str) -> np.ndarray:
    return np.asarray(Image.open(BytesIO(page.locator(selector).first.screenshot())).convert("RGB"), dtype=float)


def test_face_viewer(page, server):
    page.get_by_role("link", name="3D face").click()
    page.get_by_role("button", name="Use the sample photo").click()
    page.get_by_text("One face was found").wait_for()
    link = page.get_by_role("link", name="GLB")
    link.wait_for()
    end = time.monotonic() + 20
    while (drawn := picture(page, ".cf-stage canvas")).std() < 20 and time.monotonic() < end:
        page.wait_for_timeout(300)
    assert drawn.std() > 20, "the canvas is blank"
    page.get_by_role("button", name="Uncertainty").click()
    page.get_by_text("mm standard deviation").wait_for()
    with page.expect_download() as download:
        link.click()
    with open(download.value.path(), "rb") as file:
        assert file.read(4) == b"glTF"


def test_crime_map_and_the_end_of_its_kernel(page, server):
    kernels = []
    page.on("websocket", lambda socket: kernels.append(re.search(r"kernels/([\w-]+)/", socket.url)[1]))
    page.get_by_role("link", name="Crime map").click()
    page.locator(".js-plotly-plot .heatmaplayer image").wait_for(state="attached")
    box = page.locator(".js-plotly-plot").bounding_box()
    page.mouse.click(box["x"] + 0.5 * box["width"], box["y"] + 0.45 * box["height"])
    page.locator(".cf-history img").wait_for()
    page.locator(".js-plotly-plot .shapelayer path").wait_for(state="attached")
    page.get_by_role("button", name="Hotspots").click()
    page.locator(".js-plotly-plot").get_by_text("hotspot score").wait_for()
    assert picture(page, ".js-plotly-plot").std() > 10
    kernel = kernels[-1]
    assert status_of(server, kernel) == 200
    page.goto(server.address)
    end = time.monotonic() + 60
    while (status := status_of(server, kernel)) == 200 and time.monotonic() < end:
        time.sleep(0.5)
    assert status == 404, "the kernel of a closed page is culled"


def test_without_the_token_nothing_is_shown(server):
    with urllib.request.urlopen(server.address) as answer:
        assert "/login" in answer.url
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(f"{server.address}voila/api/contents")


def test_the_token_is_on_no_command_line(server):
    listing = f"/proc/{server.process.pid}/cmdline"
    if not os.path.exists(listing):
        pytest.skip("no /proc: what other users see of a process can't be read here")
    with open(listing, "rb") as file:
        assert server.token.encode() not in file.read()


def status_of(server, kernel: str) -> int:
    request = urllib.request.Request(
        f"{server.address}api/kernels/{kernel}", headers={"Authorization": f"token {server.token}"}
    )
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code
