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
    """Upload a file; what the status line said before is marked, so that the answer can be told from it."""
    page.eval_on_selector_all(".cf-status", "all => all.forEach(one => { one.dataset.before = '' })")
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Choose photos").click()
    chooser.value.set_files(path)


def answer(page, state: str) -> str:
    said = page.locator(f".cf-status.cf-{state}:not([data-before])").first
    said.wait_for()
    return said.inner_text()


@pytest.mark.parametrize("megabytes", [9, 40])
def test_a_large_photo_is_read(page, photo_of_size, megabytes):
    path = photo_of_size(megabytes)
    assert path.stat().st_size > (megabytes - 0.5) * 1e6
    give(page, path)
    assert "used" in answer(page, "ready") or "One face was found" in answer(page, "ready")


def test_a_photo_over_the_limit_is_answered_with_the_limit(page, photo_of_size):
    give(page, photo_of_size(60))
    assert "50 MB" in answer(page, "problem")


@pytest.mark.parametrize("name", ["letter.jpg", "cut.jpg", "drawing.svg"])
def test_a_file_that_is_no_photo_is_answered(page, tmp_path, photo_of_size, name):
    path = tmp_path / name
    if name == "cut.jpg":
        Image.open(photo_of_size(1)).save(path)
        path.write_bytes(path.read_bytes()[:2000])
    else:
        path.write_text("no picture" if name == "letter.jpg" else '<svg xmlns="http://www.w3.org/2000/svg"/>')
    give(page, path)
    said = answer(page, "problem")
    assert "50 MB" not in said
    assert "our side" not in said, "a wrong file is no fault of ours"
