"""The apps' server process: what browsers may keep and ask, and when kernels start and end."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

import pytest
from jupyter_server.services.kernels.kernelmanager import AsyncMappingKernelManager
from tornado.testing import AsyncHTTPTestCase
from tornado.web import Application

from crimeface_lib.apps import page
from crimeface_lib.workflow import app_server

VOILA = Path(__file__).resolve().parents[2] / "configs" / "voila" / "voila.json"
POLICY = json.loads(VOILA.read_text())["Voila"]["tornado_settings"]["headers"]["Content-Security-Policy"]


def sources(policy: str) -> dict[str, set[str]]:
    return {rule.split()[0]: set(rule.split()[1:]) for rule in policy.split(";")}


def test_without_a_host_of_tiles_nothing_outside_is_allowed():
    said = sources(app_server.content_policy(POLICY, None))
    assert set().union(*said.values()) <= {"'self'", "data:", "blob:", "'unsafe-inline'", "'unsafe-eval'"}


def test_with_a_host_of_tiles_pictures_and_data_may_come_from_it_alone():
    tiles = "https://tiles.example.org"
    before, after = sources(POLICY), sources(app_server.content_policy(POLICY, tiles))
    assert {name: after[name] - before[name] for name in after if after[name] != before[name]} == {
        "img-src": {tiles}, "connect-src": {tiles},
    }  # fmt: skip


def test_kernels_and_widgets_agree_on_where_the_bundles_are():
    assert app_server.BUNDLES == page.BUNDLES


def test_a_figure_takes_its_code_from_the_server_where_there_is_one(monkeypatch):
    from plotly.graph_objects import Figure, FigureWidget

    monkeypatch.delenv(page.BUNDLES, raising=False)
    assert len(page.figure_widget(Figure())._esm) > 1_000_000
    monkeypatch.setenv(page.BUNDLES, "/voila/1/bundles/")
    found = page.figure_widget(Figure())
    assert isinstance(found, FigureWidget)
    assert "/voila/1/bundles/widgetbundle.js" in found._esm
    assert len(found._esm) < 500


@pytest.mark.parametrize(
    ("package", "file"), [("plotly", "package_data/widgetbundle.js"), ("k3d", "static/widget.mjs")]
)
def test_the_bundles_are_where_the_packages_keep_them(package, file):
    assert (app_server._package(package) / file).stat().st_size > 1_000_000


class TestLastingFiles(AsyncHTTPTestCase):
    def get_app(self):
        place = str(app_server._package("k3d") / "static")
        return Application([("/v1/(.*)", app_server.LastingFiles, {"paths": [place]})])

    def test_they_may_be_kept_and_nothing_else_is_served(self):
        answer = self.fetch("/v1/widget.mjs")
        assert answer.code == 200
        assert "immutable" in answer.headers["Cache-Control"]
        assert "javascript" in answer.headers["Content-Type"]
        assert self.fetch("/v1/../_widget.py").code in (403, 404)


@pytest.fixture
def manager(monkeypatch):
    async def start(self, **options):
        return "k"

    monkeypatch.setattr(AsyncMappingKernelManager, "start_kernel", start)
    manager = app_server.PatientKernelManager()
    manager._pools = {}
    return manager


def seconds_to_start(manager, *, patience: float, take_after: float | None = None, env=None) -> float:
    """Start a kernel as Voila does for its pool; ``take_after`` seconds later a visitor takes the task."""

    async def run():
        manager.patience = patience
        task = asyncio.create_task(manager.start_kernel(env={"VOILA_REQUEST_URL": "/"} if env is None else env))
        manager._pools["a.ipynb"] = [task]
        if take_after is not None:
            await asyncio.sleep(take_after)
            manager._pools["a.ipynb"].clear()
        await task

    began = time.monotonic()
    asyncio.run(run())
    return time.monotonic() - began


def test_the_next_kernel_lets_the_page_load_first(manager):
    assert seconds_to_start(manager, patience=0.5) >= 0.5


def test_it_starts_at_once_when_a_visitor_waits_for_it(manager):
    assert seconds_to_start(manager, patience=60.0, take_after=0.2) < 30


def test_kernels_of_the_start_wait_for_nothing(manager):
    assert seconds_to_start(manager, patience=60.0, env={}) < 30


def test_a_kernel_is_ended_at_the_second_look_without_a_page_only(monkeypatch):
    ended = []

    async def end(self, kernel_id):
        ended.append(kernel_id)

    monkeypatch.setattr(AsyncMappingKernelManager, "cull_kernel_if_idle", end)
    manager = app_server.PatientKernelManager()
    look = lambda: asyncio.run(manager.cull_kernel_if_idle("k"))  # noqa: E731
    look()
    assert ended == [], "its page may be loading"
    manager._kernel_connections["k"] = 1
    look()
    manager._kernel_connections["k"] = 0
    ended.clear()
    look()
    assert ended == [], "it was with a page at the look before"
    look()
    assert ended == ["k"]
