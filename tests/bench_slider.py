"""How soon a slider of the 3D face changes the picture, in headless Chromium, served as ``make apps`` does."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from bench_timing import Benchmark, Measured, Options, Skipped, busy_seconds

_STEPS = 20
#: As tests/browser starts it: no graphics card, so that a picture is drawn by the CPU.
_ARGUMENTS = ["--no-sandbox", "--disable-background-networking", "--use-angle=swiftshader",
              "--enable-unsafe-swiftshader"]  # fmt: skip
#: Seconds from a key on a slider until the canvas holds another picture, ``steps`` times. Reading the canvas waits
#: until what was asked of it is drawn. Where the page composes a frame only for us to look, that would be measured
#: too, so a timer looks, and no frame is asked for.
_SLIDE = """
async ({label, steps}) => {
  const canvas = document.querySelector('.cf-stage canvas');
  const small = Object.assign(document.createElement('canvas'), {width: 96, height: 64});
  const pen = small.getContext('2d', {willReadFrequently: true});
  pen.globalCompositeOperation = 'copy';
  const seen = () => { pen.drawImage(canvas, 0, 0, 96, 64); return pen.getImageData(0, 0, 96, 64).data.join(); };
  const pause = (ms) => new Promise((go) => setTimeout(go, ms));
  const sliders = [...document.querySelectorAll('.widget-slider')];
  const handle = sliders.find((one) => one.textContent.includes(label)).querySelector('.noUi-handle');
  const took = [];
  for (let step = 0; step <= steps; step++) {
    const before = seen(), start = performance.now();
    const key = step % 2 ? 'ArrowLeft' : 'ArrowRight';
    handle.dispatchEvent(new KeyboardEvent('keydown', {key, bubbles: true}));
    while (seen() === before && performance.now() - start < 10000) await pause(4);
    if (step) took.push((performance.now() - start) / 1000);  // the first warms up
    await pause(500);
  }
  return took;
}
"""

ROWS = [
    Benchmark("pages", "slider to pixels, ICT face", "ms", ("≤ 150 ms",), "", "sample photo in even light; a key on "
              f"“Open mouth” until the canvas differs, median of {_STEPS}; Chromium draws with the CPU", "playwright"),
]  # fmt: skip


def slider_to_pixels(options: Options) -> Measured:
    """Return the median time from a key on an expression slider to the changed picture."""
    from playwright.sync_api import sync_playwright

    from crimeface_lib.core.errors import MissingBackendError
    from crimeface_lib.core.settings import Settings
    from crimeface_lib.reporting import find_chromium
    from crimeface_lib.workflow.serve import running_apps

    options.real("ict")
    try:
        chromium = find_chromium()
    except MissingBackendError as error:
        raise Skipped(str(error)) from error
    settings = Settings(home=options.scratch / "apps", data_root=options.data)
    with running_apps(port=_free_port(), settings=settings) as server, sync_playwright() as engine:
        browser = engine.chromium.launch(executable_path=str(chromium), args=_ARGUMENTS)
        try:
            took, others = _slide(browser.new_page(viewport={"width": 1280, "height": 800}), server)
        finally:
            browser.close()
    note = f"90 % within {np.percentile(took, 90) * 1e3:.0f} ms, all processes kept {others:.1f} cores busy meanwhile"
    return Measured((float(np.median(took)),), None, note, samples={"ours": [(one,) for one in took]})


def _slide(page: Any, server: Any) -> tuple[list[float], float]:
    """Return seconds a step, and how many cores all processes together kept busy, ours included."""
    page.set_default_timeout(300_000)
    page.goto(server.url)
    page.goto(f"{server.address}voila/render/face_viewer.ipynb")
    page.get_by_role("button", name="Use the sample photo").click()
    page.get_by_role("link", name="GLB").wait_for()
    page.get_by_role("button", name="Even light").click()
    page.wait_for_timeout(4000)
    busy, began = busy_seconds(), page.evaluate("performance.now()")
    took = page.evaluate(_SLIDE, {"label": "Open mouth", "steps": _STEPS})
    return took, (busy_seconds() - busy) / (page.evaluate("performance.now()") - began) * 1e3


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def measure(options: Options) -> Iterator[tuple[str, Callable[[], Measured]]]:
    yield "slider to pixels, ICT face", lambda: slider_to_pixels(options)
