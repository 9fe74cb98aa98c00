"""Candidate review and governance board in a real browser, as sample accounts of the demonstration see them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("browser")]


def enter(page, tab_to, account: str) -> None:
    """Open the demonstration as an account, by keyboard."""
    page.get_by_label("Sample account").select_option(label=account)
    tab_to(page, page.get_by_role("button", name="Open the demonstration"))
    page.keyboard.press("Enter")
    page.get_by_text("Signed in as").wait_for()


@pytest.fixture(scope="module")
def board(visiting, tab_to) -> Iterator:
    with visiting() as visit:
        page = visit.open("governance_board")
        enter(page, tab_to, "demo-approver (approver)")
        yield page


@pytest.fixture(scope="module")
def lineup(visiting, tab_to) -> Iterator:
    """The review of the demonstration, opened by keyboard."""
    with visiting() as visit:
        page = visit.open("lineup")
        enter(page, tab_to, "demo-reviewer-1 (reviewer)")
        tab_to(page, page.get_by_role("button", name="Open", exact=True))
        page.keyboard.press("Enter")
        page.get_by_label("Candidates").wait_for()
        yield page


def test_the_board_keeps_nobody_out(board, barriers):
    assert barriers(board) == []


def test_the_integrity_check_is_one_button_by_keyboard(board, tab_to):
    tab_to(board, board.get_by_role("button", name="Integrity", exact=True))
    board.keyboard.press("Space")
    tab_to(board, board.get_by_role("button", name="Check integrity"))
    board.keyboard.press("Enter")
    board.get_by_text("checked holds").first.wait_for()


def test_a_review_is_opened_by_keyboard_and_shows_probe_and_candidate(lineup, tab_to):
    tab_to(lineup, lineup.get_by_label("Candidates"))
    lineup.keyboard.type("sample")  # the one candidate who has a photo
    lineup.get_by_text("Reference photo of sample-astronaut").wait_for()
    assert lineup.locator("#cf-main img").count() == 2


def test_the_review_keeps_nobody_out(lineup, barriers):
    assert barriers(lineup) == []


def test_a_decision_needs_a_reason_and_is_asked_for_twice_by_keyboard(lineup, tab_to):
    tab_to(lineup, lineup.get_by_role("radio").first)
    lineup.keyboard.press("Space")
    tab_to(lineup, lineup.get_by_role("button", name="Record my decision"))
    lineup.keyboard.press("Enter")
    lineup.locator(".cf-problem").first.wait_for()
    lineup.get_by_label("Reason (required)").fill("Shape of the ears and the hairline differ.")
    tab_to(lineup, lineup.get_by_role("button", name="Record my decision"))
    lineup.keyboard.press("Enter")
    tab_to(lineup, lineup.get_by_role("button", name="Yes, seal it"))
    lineup.keyboard.press("Enter")
    lineup.get_by_role("button", name="Yes, seal it").wait_for(state="hidden")
