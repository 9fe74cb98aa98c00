"""The 3D face in a real browser: by keyboard, drawn, moved by a slider, with large photos and wrong ones."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("browser")]
CANVAS = ".cf-stage canvas"


@pytest.fixture(scope="module")
def page(visiting, tab_to) -> Iterator:
    """The app with its sample photo, chosen without a mouse."""
    with visiting() as visit:
        page = visit.open("face_viewer")
        tab_to(page, page.get_by_role("button", name="Use the sample photo"))
        page.keyboard.press("Enter")
        page.get_by_role("link", name="GLB").wait_for()
        yield page


def test_it_is_drawn_and_an_expression_moves_it_by_keyboard(page, drawn, tab_to):
    before = drawn(page, CANVAS)
    slider = page.get_by_role("slider", name="Open mouth")
    tab_to(page, slider)
    for _ in range(10):
        page.keyboard.press("ArrowRight")
    assert float(slider.get_attribute("aria-valuenow")) > 0
    drawn(page, CANVAS, unlike=before)


def test_the_look_changes_by_keyboard(page, drawn, tab_to):
    before = drawn(page, CANVAS)
    tab_to(page, page.get_by_role("button", name="Uncertainty"))
    page.keyboard.press("Space")
    page.get_by_text("mm standard deviation").wait_for()
    drawn(page, CANVAS, unlike=before)


def test_the_face_is_saved(page):
    with page.expect_download() as download:
        page.get_by_role("link", name="GLB").click()
    assert Path(download.value.path()).read_bytes()[:4] == b"glTF"


def test_it_keeps_nobody_out(page, barriers):
    assert barriers(page) == []


@pytest.fixture
def photo_of_size(tmp_path, astronaut):
    """Return a function that writes the astronaut on a large grey ground, uncompressed."""

    def photo_of_size(megabytes: float) -> Path:
        side = int(np.sqrt(megabytes * 1e6 / 3))
        ground = Image.fromarray(np.full((side, side, 3), 90, dtype=np.uint8))
        head = Image.fromarray(astronaut).resize((side // 2, side // 2))
        ground.paste(head, (side // 4, side // 4))
        path = tmp_path / f"{megabytes:g}.bmp"
        ground.save(path)
        return path

    return photo_of_size


def give(page, path: Path) -> None:
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Choose photos").click()
    chooser.value.set_files(path)


@pytest.mark.parametrize("megabytes", [9, 40])
def test_a_large_photo_is_read(page, photo_of_size, megabytes):
    path = photo_of_size(megabytes)
    assert path.stat().st_size > (megabytes - 0.5) * 1e6
    give(page, path)
    page.locator(".cf-status.cf-busy").wait_for()
    page.locator(".cf-status.cf-ready", has_text="used").or_(page.get_by_text("One face was found")).first.wait_for()


def test_a_photo_over_the_limit_is_answered_with_the_limit(page, photo_of_size):
    give(page, photo_of_size(60))
    page.locator(".cf-status.cf-problem", has_text="50 MB").wait_for()


@pytest.mark.parametrize("kind", ["text", "cut", "drawing"])
def test_a_file_that_is_no_photo_is_answered(page, tmp_path, photo_of_size, kind):
    give(page, photo_of_size(60))  # what stands there is another message
    page.locator(".cf-status.cf-problem", has_text="50 MB").wait_for()
    path = tmp_path / {"text": "letter.jpg", "cut": "cut.jpg", "drawing": "drawing.svg"}[kind]
    if kind == "cut":
        Image.open(photo_of_size(1)).save(path)
        path.write_bytes(path.read_bytes()[:2000])
    else:
        path.write_text("no picture" if kind == "text" else '<svg xmlns="http://www.w3.org/2000/svg"/>')
    give(page, path)
    page.locator(".cf-status.cf-problem").filter(has_not_text="50 MB").wait_for()
