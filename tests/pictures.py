"""Make README's pictures anew, from a demonstration and the apps in a browser: ``python tests/pictures.py``.

Everything happens in a folder of its own that is deleted afterwards; the built-in head is used, as on a fresh clone.
Pictures are brought to few colours, so that they stay small.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image

from crimeface_lib.core.settings import Settings
from crimeface_lib.reporting import find_chromium
from crimeface_lib.workflow.serve import AppServer, running_apps

ROOT = Path(__file__).resolve().parents[1]
PICTURES = ROOT / "data" / "pictures"
FIGURES = {
    "face": "reconstruct_face.png",
    "uncertainty": "reconstruct_uncertainty.png",
    "candidates": "recognise_candidates.png",
    "density": "crime_overview_density.png",
}
WIDTH, COLOURS = 1067, 128
ARGUMENTS = [
    "--no-sandbox", "--disable-background-networking", "--use-angle=swiftshader", "--enable-unsafe-swiftshader",
]  # fmt: skip


def keep(name: str, picture: Image.Image) -> None:
    """Write a picture of README, at most 1,067 px wide and with 128 colours."""
    picture = picture.convert("RGB")
    picture.thumbnail((WIDTH, 10_000), Image.Resampling.LANCZOS)
    picture.quantize(COLOURS, dither=Image.Dither.NONE).save(PICTURES / f"{name}.png", optimize=True)
    sys.stdout.write(f"{name}.png  {(PICTURES / f'{name}.png').stat().st_size / 1000:.0f} kB\n")


def demonstrate(folder: Path) -> Path:
    """Run ``crimeface demo`` in ``folder`` and return the run's folder."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CRIMEFACE_")}
    environment |= {"CRIMEFACE_HOME": str(folder / "home"), "CRIMEFACE_REPORTS_DIR": str(folder / "reports")}
    subprocess.run([Path(sys.executable).with_name("crimeface"), "demo"], env=environment, check=True)
    return next((folder / "reports").glob("*-case-report"))


@contextmanager
def pages(server: AppServer) -> Iterator[Callable[[str], Any]]:
    """Yield what opens an app by the title of its card and returns its page."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as engine:
        browser = engine.chromium.launch(executable_path=str(find_chromium()), args=ARGUMENTS)

        def open_app(title: str) -> Any:
            page = browser.new_context(viewport={"width": 1280, "height": 1060}).new_page()
            page.set_default_timeout(120_000)
            page.goto(server.url)
            if title:
                page.get_by_role("link", name=title).click()
            return page

        yield open_app
        browser.close()


def sign_in(page: Any, account: str) -> None:
    page.get_by_label("Sample account").select_option(label=account)
    page.get_by_role("button", name="Open the demonstration").click()
    page.get_by_text("Signed in as").wait_for()


def shoot(name: str, page: Any, *, wait: int = 4000) -> None:
    page.wait_for_timeout(wait)  # what is drawn in the browser has no end that could be waited for
    keep(name, Image.open(BytesIO(page.screenshot())))


def main() -> None:
    """Make all pictures."""
    with tempfile.TemporaryDirectory() as place:
        run = demonstrate(Path(place))
        for name, file in FIGURES.items():
            keep(name, Image.open(run / "figures" / file))
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        settings = Settings(home=Path(place, "home"), reports_dir=Path(place, "reports"), data_root=None)
        with running_apps(port=port, settings=settings) as server, pages(server) as open_app:
            face = open_app("3D face")
            face.get_by_role("button", name="Use the sample photo").click()
            face.get_by_role("link", name="GLB").wait_for()
            shoot("app_face", face)
            crimes = open_app("Crime map")
            crimes.get_by_role("button", name="Hotspots").click()
            shoot("app_map", crimes)
            lineup = open_app("Candidate review")
            sign_in(lineup, "demo-reviewer-1 (reviewer)")
            lineup.get_by_role("button", name="Open", exact=True).click()
            lineup.get_by_label("Compare the photos first", exact=False).uncheck()
            lineup.get_by_label("Candidates").select_option(label="1 · sample-astronaut")
            shoot("app_lineup", lineup)
            board = open_app("Governance board")
            sign_in(board, "demo-dpo (approver)")
            shoot("app_board", board)


if __name__ == "__main__":
    main()
