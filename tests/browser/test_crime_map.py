"""The crime map in a real browser: drawn, changed over time, a cell's history, by mouse and by keyboard."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("browser")]
MAP = ".js-plotly-plot"


@pytest.fixture(scope="module")
def page(visiting) -> Iterator:
    with visiting() as visit:
        page = visit.open("crime_map")
        page.locator(f"{MAP} .heatmaplayer image").first.wait_for(state="attached")
        yield page


def test_it_is_drawn(page, drawn):
    drawn(page, MAP)


def test_it_keeps_nobody_out(page, barriers):
    assert barriers(page) == []


def test_another_layer_is_chosen_by_keyboard(page, drawn, tab_to):
    before = drawn(page, MAP)
    tab_to(page, page.get_by_role("button", name="Hotspots"))
    page.keyboard.press("Enter")
    page.locator(MAP).get_by_text("hotspot score").first.wait_for()
    drawn(page, MAP, unlike=before)


def test_a_month_is_chosen_by_keyboard(page, drawn, tab_to):
    before = drawn(page, MAP)
    tab_to(page, page.get_by_role("button", name="One month at a time"))
    page.keyboard.press("Space")
    tab_to(page, page.get_by_role("slider", name="Month"))
    first = drawn(page, MAP, unlike=before)
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    drawn(page, MAP, unlike=first)


def test_a_click_on_the_map_shows_the_history_of_a_cell(page):
    box = page.locator(MAP).bounding_box()
    page.mouse.click(box["x"] + 0.5 * box["width"], box["y"] + 0.45 * box["height"])
    page.locator(".cf-history img").first.wait_for()


def test_the_history_of_a_cell_is_reached_by_keyboard(page, tab_to):
    tab_to(page, page.get_by_label("Highest cells"))
    before = page.locator(".cf-history").inner_html()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.wait_for_function("before => document.querySelector('.cf-history').innerHTML !== before", arg=before)
