"""The server process of the apps: Voila, with files that browsers may keep and kernels that wait for their turn.

Compression is left out on purpose: the server listens on this machine only, where it would cost more than it saves.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from jinja2 import ChoiceLoader, FileSystemLoader
from jupyter_server.base.handlers import Template404
from jupyter_server.services.kernels.kernelmanager import AsyncMappingKernelManager
from traitlets import Float
from voila.app import Voila
from voila.static_file_handler import MultiStaticFileHandler
from voila.utils import create_include_assets_functions

from crimeface_lib.workflow.apps_config import load_apps_config

#: Environment variable that tells kernels where the server keeps the code that widgets draw with.
BUNDLES = "CRIMEFACE_BUNDLES"
_YEAR = 365 * 24 * 3600  # s
#: What each app draws with; fetched while the rest of its page starts.
_DRAWS_WITH = {"crime_map.ipynb": "widgetbundle.js", "face_viewer.ipynb": "widget.mjs"}


class PatientKernelManager(AsyncMappingKernelManager):
    """Starts the next kernel once the page has had time to load, and ends one only when two looks find it alone.

    A kernel started ahead may have been idle for hours when a page takes it, and has no page for the seconds in
    which that page loads; one look just then would end it.
    """

    patience = Float(8.0, help="seconds for which a page that took a kernel has the machine to itself").tag(config=True)

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._alone: set[str] = set()

    async def start_kernel(self, **options: Any) -> str:  # type: ignore[override]  # as Jupyter's own waiting one does
        """Start a kernel; one that replaces a taken one waits, until a visitor waits for it."""
        if "VOILA_REQUEST_URL" in options.get("env", {}):  # started because a page has just taken the one before
            end, task = time.monotonic() + self.patience, asyncio.current_task()
            pools: dict[str, list[Any]] = getattr(self, "_pools", {})  # Voila's own, of tasks not yet taken
            while time.monotonic() < end and any(task in pool for pool in pools.values()):
                await asyncio.sleep(0.1)
        started: str = await super().start_kernel(**options)
        return started

    async def cull_kernel_if_idle(self, kernel_id: str) -> None:
        """End the kernel if it is idle, has no page, and had none at the look before."""
        if self._kernel_connections.get(kernel_id, 0):
            self._alone.discard(kernel_id)
        elif kernel_id not in self._alone:
            self._alone.add(kernel_id)
            return
        await super().cull_kernel_if_idle(kernel_id)


class LastingFiles(MultiStaticFileHandler):
    """Files below an address that names their version: a browser that has one need not ask again."""

    def get_cache_time(self, path: str, modified: Any, mime_type: str) -> int:
        return _YEAR

    def set_extra_headers(self, path: str) -> None:
        self.set_header("Cache-Control", f"public, max-age={_YEAR}, immutable")


class CrimefaceVoila(Voila):
    """Voila as ``configs/voila`` sets it up, and what can't be said there."""

    def initialize(self, argv: Any = None) -> None:
        super().initialize(argv)
        self.lasting = f"{self.base_url}voila/{_versions()}/"
        os.environ[BUNDLES] = f"{self.lasting}bundles/"  # for the kernels
        self.voila_configuration.page_config_hook = self.page_config
        headers = self.tornado_settings["headers"]
        key = "Content-Security-Policy"
        headers[key] = content_policy(headers[key], load_apps_config().crime_map.tiles_origin)

    def init_settings(self) -> dict[str, Any]:
        """Return Voila's settings; the pages that Jupyter's server makes itself come from our templates too."""
        settings: dict[str, Any] = super().init_settings()
        pages = settings["jinja2_env"]
        pages.loader = ChoiceLoader([FileSystemLoader(self.template_paths), pages.loader])
        pages.globals.update(create_include_assets_functions(self.voila_configuration.template, self.base_url))
        return settings | {"default_handler_class": Template404}

    def page_config(self, page_config: dict[str, Any], *, notebook_path: str, **_: Any) -> dict[str, Any]:
        """Return what the page is told, with the addresses of files that it may keep."""
        drawing = _DRAWS_WITH.get(Path(notebook_path).name)
        return page_config | {
            "fullStaticUrl": f"{self.lasting}static",
            "fullLabextensionsUrl": f"{self.lasting}labextensions",
            "drawsWith": f"{self.lasting}bundles/{drawing}" if drawing else "",
        }

    def init_handlers(self) -> list[Any]:
        """Return Voila's addresses, after ours."""
        bundles = [_package("plotly") / "package_data", _package("k3d") / "static"]
        places = {
            "static/(.*)": self.static_paths,
            "labextensions/(.*)": self.labextensions_path,
            r"bundles/(widgetbundle\.js|widget\.mjs)": [str(folder) for folder in bundles],
        }
        ours = [(self.lasting + rest, LastingFiles, {"paths": paths}) for rest, paths in places.items()]
        return [*ours, *super().init_handlers()]


def content_policy(policy: str, tiles: str | None) -> str:
    """Return a content security policy that lets pictures and data come from one more host, where one is named.

    >>> content_policy("default-src 'self'; img-src 'self' data:; connect-src 'self'", "https://tiles.example.org")
    "default-src 'self'; img-src 'self' data: https://tiles.example.org; connect-src 'self' https://tiles.example.org"
    """
    if tiles is None:
        return policy
    rules = [rule.strip() for rule in policy.split(";") if rule.strip()]
    return "; ".join(f"{rule} {tiles}" if rule.split()[0] in ("img-src", "connect-src") else rule for rule in rules)


def _versions() -> str:
    """Return a word that changes with any package whose files the pages load."""
    packages = ("voila", "ipywidgets", "jupyterlab_widgets", "anywidget", "plotly", "k3d")
    return hashlib.sha256("".join(map(version, packages)).encode()).hexdigest()[:12]


def _package(name: str) -> Path:
    """Return a package's folder without importing it."""
    spec = find_spec(name)
    assert spec is not None, name
    assert spec.origin is not None, name
    return Path(spec.origin).parent


if __name__ == "__main__":
    CrimefaceVoila.launch_instance()
