"""What ``bench.py`` measures of the apps: from the click on a link to text, and to something that can be used."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator
from functools import cache, partial

import bench_slider
from bench_timing import Benchmark, Measured, Options, Sample, Skipped, busy_seconds, medians

from crimeface_lib.core.errors import MissingBackendError
from crimeface_lib.core.settings import Settings
from crimeface_lib.reporting import find_chromium
from crimeface_lib.workflow.serve import running_apps

#: What has to be there for the app to be of use, and how that is said. Without an account the last two ask for one.
_USEFUL = {
    "face_viewer": (".cf-upload", "a photo can be chosen"),
    "crime_map": (".js-plotly-plot .heatmaplayer image", "the map is drawn"),
    "lineup": ("button:has-text('Sign in')", "one can sign in"),
    "governance_board": ("button:has-text('Sign in')", "one can sign in"),
}
_ARGUMENTS = ["--no-sandbox", "--disable-quic", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
_LOADS = 5
_PROTOCOL = "median of 5 loads after one, each with a kernel started ahead, 1280×800, one browser with its cache"

ROWS = [
    row
    for app, (_, useful) in _USEFUL.items()
    for row in (
        Benchmark("pages", f"{app}, first text", "s", ("≤ 4 s",), "", f"heading visible; {_PROTOCOL}", "playwright"),
        Benchmark("pages", f"{app}, ready", "s", ("≤ 4 s",), "", f"{useful}; {_PROTOCOL}", "playwright"),
    )
] + bench_slider.ROWS


def load_pages(app: str, options: Options) -> tuple[Measured, Measured]:
    """Return the seconds from asking for an app to its heading, and to what makes it of use."""
    from playwright.sync_api import sync_playwright

    try:
        chromium = str(find_chromium())
    except MissingBackendError as error:
        raise Skipped(str(error)) from error
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    pools = {"default": {"pool_size": 0}, f"{app}.ipynb": {"pool_size": _LOADS + 1}}
    ahead = (f"--VoilaKernelManager.kernel_pools_config={json.dumps(pools)}", "--PatientKernelManager.patience=3600")
    settings = Settings(home=options.scratch / "pages")
    with running_apps(port=port, settings=settings, options=ahead) as server, sync_playwright() as engine:
        browser = engine.chromium.launch(executable_path=chromium, args=_ARGUMENTS)
        context = browser.new_context(viewport={"width": 1280, "height": 800})
        context.new_page().goto(server.url)
        _wait_for_quiet()
        loads: list[Sample] = []
        busy, began = busy_seconds(), time.perf_counter()
        for _ in range(_LOADS + 1):
            page = context.new_page()
            page.set_default_timeout(120_000)
            start = time.perf_counter()
            page.goto(f"{server.address}voila/render/{app}.ipynb", wait_until="commit")
            page.locator("h1").first.wait_for()
            text = time.perf_counter() - start
            page.locator(_USEFUL[app][0]).first.wait_for(state="attached")
            loads.append((text, time.perf_counter() - start))
            page.close()
        cores = (busy_seconds() - busy) / (time.perf_counter() - began)
        browser.close()
    note = f"{_LOADS} loads, {cores:.1f} cores busy, the page's own included"
    parts = [[(load[which],) for load in loads[1:]] for which in (0, 1)]
    return medians({"ours": parts[0]}, note), medians({"ours": parts[1]}, note)


def _wait_for_quiet(*, most: float = 90.0) -> None:
    """Wait until the kernels have run their notebooks: less than a third of a core busy for three seconds."""
    end = time.monotonic() + most
    while time.monotonic() < end:
        busy = busy_seconds()
        time.sleep(3)
        if busy_seconds() - busy < 1.0:
            return


def measure(options: Options) -> Iterator[tuple[str, Callable[[], Measured]]]:
    once = cache(partial(load_pages, options=options))
    for app in _USEFUL:
        yield f"{app}, first text", lambda app=app: once(app)[0]
        yield f"{app}, ready", lambda app=app: once(app)[1]
    yield from bench_slider.measure(options)
