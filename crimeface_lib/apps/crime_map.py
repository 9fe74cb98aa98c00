"""Recorded crime by place and month on a map, and under an approved DPIA where records are likely next.

The page is there at once; the events are read behind it. Without tiles in the config nothing outside is asked.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from crimeface_lib.apps.map_cell import cell_html
from crimeface_lib.apps.map_data import AppEvents, CellMonths, load_app_events
from crimeface_lib.apps.map_layers import Choice, make_layer
from crimeface_lib.apps.map_view import MapView
from crimeface_lib.apps.page import column, excusing, html, status
from crimeface_lib.apps.session import Session
from crimeface_lib.core.settings import Settings, load_settings
from crimeface_lib.workflow.apps_config import CrimeMapSection, load_apps_config
from crimeface_lib.workflow.crime_pages import named_borders

if TYPE_CHECKING:
    import geopandas as gpd

_LOADING = "Reading the recorded crime: some seconds for a large force…"


class CrimeMap:
    """The app; display it, or display ``widget``.

    Parameters
    ----------
    config : as ``configs/apps.yaml`` has it by default.

    Attributes
    ----------
    view : the map, once events are shown.
    """

    def __init__(
        self, *, settings: Settings | None = None, config: CrimeMapSection | None = None, session: Session | None = None
    ) -> None:
        self.settings = settings or load_settings()
        self.session = session or Session(optional="Sign in for the forecast", settings=self.settings)
        self._config = config
        self.view: MapView | None = None
        self._stage = column(html(status(_LOADING, state="busy")))
        self.widget = column(self.session.widget, self._stage)

    def _repr_mimebundle_(self, **options: Any) -> Any:
        return self.widget._repr_mimebundle_(**options)

    def load(self) -> threading.Thread:
        """Read what ``load_app_events`` finds in the background, then show it; what is wrong is said on the page."""
        show: Callable[..., object] = _at_once  # no page waits
        with suppress(RuntimeError):
            # widgets are made where the kernel answers the page: while it lists them, another thread must make none
            show = asyncio.get_running_loop().call_soon_threadsafe
        thread = threading.Thread(target=self._load, args=(show,), daemon=True)
        thread.start()
        return thread

    def _load(self, show: Callable[..., object]) -> None:
        import plotly.graph_objects as go

        with excusing(
            lambda text: show(self._fail, text), what="reading the events", words=lambda error: f"No map: {error}."
        ):
            prepared = self._prepare(load_app_events(settings=self.settings))
            _ = go.FigureWidget  # slow to import the first time
            show(self._put, *prepared)
            _rehearse(prepared[0])

    def show(self, source: AppEvents) -> MapView:
        """Show events; the map is whole before it is on the page.

        Raises
        ------
        InputError : no event has a location, or the cells are too fine. What ``named_borders`` raises.
        """
        return self._put(*self._prepare(source))

    def _prepare(self, source: AppEvents) -> tuple[CellMonths, CrimeMapSection, gpd.GeoDataFrame | None]:
        """Return all that takes time, without making a widget."""
        config = self._config or load_apps_config(self.settings).crime_map
        data, borders = CellMonths(source, cell=config.cell), None
        if config.boundaries is not None:
            borders = named_borders(config.boundaries, crs=source.events.crs, column=config.boundary_name)
        data.areas(borders)
        data.density(None, bandwidth=config.bandwidth)
        return data, config, borders

    def _put(self, data: CellMonths, config: CrimeMapSection, borders: gpd.GeoDataFrame | None) -> MapView:
        self.view = MapView(data, config=config, session=self.session, borders=borders)
        self._stage.children = (self.view.widget,)
        return self.view

    def _fail(self, text: str) -> None:
        self._stage.children = (html(status(text, state="problem")),)


def _rehearse(data: CellMonths) -> None:
    """Import and count, once the map is there, what its other layers and the first cell need."""
    every, last = np.ones(len(data.grid), dtype=bool), len(data.events.months) - 1
    for layer in ("hotspots", "points"):
        make_layer(data, Choice(layer, None, None, 0, last), every, bandwidth=1.0)
    cell_html(data, 0, Choice("counts", None, None, 0, last), None)


def _at_once(call: Callable[..., object], *arguments: Any) -> None:
    call(*arguments)
