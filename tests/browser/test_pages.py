"""What holds for every page: the token, the index, what is lost, what two visitors see, and how a kernel ends."""

from __future__ import annotations

import os
import re
import time
import urllib.error
import urllib.request

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("browser")]
APPS = ("3D face", "Candidate review", "Crime map", "Governance board")


def test_the_index_links_every_app_and_keeps_nobody_out(visiting, barriers):
    with visiting() as visit:
        cards = visit.page.locator(".cf-cards h2").all_inner_texts()
        assert sorted(cards) == sorted(APPS)
        assert barriers(visit.page) == []


def test_two_visitors_dont_see_each_others_state(visiting):
    with visiting() as one, visiting() as other:
        page = one.open("governance_board")
        page.get_by_role("button", name="Open the demonstration").click()
        page.get_by_text("Signed in as").wait_for()
        theirs = other.open("governance_board")
        theirs.get_by_role("button", name="Sign in", exact=True).wait_for()
        assert not theirs.get_by_text("Signed in as").is_visible()
        assert page.get_by_text("Signed in as").is_visible()


def test_the_kernel_of_a_closed_page_ends(visiting, server):
    with visiting() as visit:
        visit.page.evaluate("navigator.sendBeacon = () => true")  # a browser that dies says no goodbye
        visit.page.add_init_script("navigator.sendBeacon = () => true")
        visit.open("governance_board")
        kernel = next(re.search(r"kernels/([\w-]+)/", url)[1] for url in visit.asked if url.startswith("ws:"))
        assert status_of(server, f"api/kernels/{kernel}") == 200
        visit.page.goto(server.address)
        end = time.monotonic() + 60
        while (status := status_of(server, f"api/kernels/{kernel}")) == 200 and time.monotonic() < end:
            time.sleep(0.5)
        assert status == 404


def test_a_widget_that_voila_gave_up_is_fetched_again(visiting):
    with visiting() as visit:
        page = visit.open("governance_board")
        page.evaluate("""() => {
          const given = document.createElement("div");
          given.className = "jupyter-widgets";
          given.textContent = "Error displaying widget: model not found";
          document.querySelector("#cf-main .jupyter-widgets").replaceWith(given);
        }""")
        page.get_by_role("button", name="Open the demonstration").click()
        page.get_by_text("Signed in as").wait_for()


def test_a_page_whose_server_has_gone_says_so(visiting):
    with visiting() as visit:
        page = visit.open("governance_board")
        page.route("**/api/kernels/*", lambda route: route.abort())
        page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")  # asks at once, not every ten seconds
        page.get_by_text("Nothing answers this page any more").wait_for()
        visit.complaints = [said for said in visit.complaints if "ERR_FAILED" not in said]


def test_what_doesnt_exist_is_said_with_a_way_back(visiting):
    with visiting() as visit:
        for lost in ("voila/render/nothing.ipynb", "nothing"):
            answer = visit.page.goto(visit.address + lost)
            assert answer.status == 404
            visit.page.get_by_role("link", name="the apps").click()
            visit.page.get_by_role("heading", name="Apps").wait_for()
        visit.complaints = [said for said in visit.complaints if "404" not in said]


def test_without_javascript_the_page_says_what_it_needs(visiting):
    with visiting(java_script_enabled=False) as visit:
        visit.page.goto(f"{visit.address}voila/render/governance_board.ipynb")
        visit.page.locator("noscript p").wait_for()
        assert visit.page.get_by_role("heading", name="Governance board").is_visible()
        assert not visit.page.locator("#cf-loading").is_visible()


@pytest.mark.parametrize("query", ["", "?token=wrong"])
def test_without_the_token_nothing_is_shown(server, query):
    with urllib.request.urlopen(server.address + query) as answer:
        assert "/login" in answer.url
    assert status_of(server, "voila/api/contents", token="wrong") == 403
    assert status_of(server, "voila/render/governance_board.ipynb", token="wrong") in (200, 403)
    with urllib.request.urlopen(f"{server.address}voila/render/governance_board.ipynb{query}") as answer:
        assert "/login" in answer.url


def test_a_link_with_an_old_key_is_explained_and_the_right_key_opens(browser, server, barriers):
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{server.address}?token=yesterday")
    page.get_by_text("Use the newest link").wait_for()
    assert barriers(page) == []
    for key, text in (("wrong", "not the key of this server"), (server.token, "run on this machine only")):
        page.get_by_label("Key").fill(key)
        page.keyboard.press("Enter")
        page.get_by_text(text).wait_for()
    context.close()


def test_the_token_is_on_no_command_line(server):
    listing = f"/proc/{server.process.pid}/cmdline"
    if not os.path.exists(listing):
        pytest.skip("no /proc: what other users see of a process can't be read here")
    with open(listing, "rb") as file:
        assert server.token.encode() not in file.read()


def status_of(server, path: str, *, token: str | None = None) -> int:
    headers = {"Authorization": f"token {token or server.token}"}
    try:
        with urllib.request.urlopen(urllib.request.Request(server.address + path, headers=headers)) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code
