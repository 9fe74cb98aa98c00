"""The crime map's controls and what they change: one choice, one map, one cell."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

import ipywidgets as widgets
import numpy as np

from crimeface_lib.apps.map_cell import ASK, cell_html, highest
from crimeface_lib.apps.map_data import CellMonths
from crimeface_lib.apps.map_export import MapExport, links_html
from crimeface_lib.apps.map_forecast import MapForecast, make_forecast
from crimeface_lib.apps.map_layers import ALL, FORECAST, LAYERS, Choice, Layer, make_layer
from crimeface_lib.apps.map_plane import PlaneMap
from crimeface_lib.apps.page import bullets, column, html, row, split, status
from crimeface_lib.core.errors import CrimefaceError, InputError
from crimeface_lib.core.types import BoolArray
from crimeface_lib.reporting import format_count

if TYPE_CHECKING:
    import geopandas as gpd

    from crimeface_lib.apps.session import Session
    from crimeface_lib.workflow.apps_config import CrimeMapSection

EVERYWHERE = "Whole map"
_STEP = 1000  # ms between months when it plays
_CANNOT = (
    "The map says nothing about the people who live or pass there.",
    "A dark cell may be one car park or station that many records share.",
    "Small counts are shown as the source published them; the table to save leaves them out.",
    "A forecast is shown only to an account that may make one, under an approved DPIA: sign in above.",
)


class MapView:
    """The map of some events; ``widget`` shows it.

    Parameters
    ----------
    borders : drawn as lines, and their names to choose from. session : who looks; a forecast asks it.
    """

    def __init__(
        self, data: CellMonths, *, config: CrimeMapSection, session: Session, borders: gpd.GeoDataFrame | None = None
    ) -> None:
        self.data, self.config, self.session, self.borders = data, config, session, borders
        self.events, self.grid, self.areas = data.events, data.grid, data.areas(borders)
        self.cell: int | None = None
        self.forecast: MapForecast | None = None
        self._quiet = False
        self._make_choices()
        self._make_outputs()
        self.layer_shown = make_layer(self.data, self.choice, self._inside(), bandwidth=config.bandwidth)
        self.map = self._make_map(self.layer_shown)
        self.widget = self._lay_out()
        self._tell()
        session.on_change(self._offer_layers)

    # -- what is chosen ----------------------------------------------------------------------------------------
    @property
    def choice(self) -> Choice:
        """What is asked of the map now; a forecast is made from all months."""
        kind, area = (None if part.value in (ALL, EVERYWHERE) else part.value for part in (self.type, self.area))
        if self.layer.value == FORECAST:
            return Choice(FORECAST, kind, area, 0, len(self.events.months) - 1)
        first, last = self.months.value
        return Choice(self.layer.value, kind, area, first, last, self.month.value if self.by_month.value else None)

    def _inside(self) -> BoolArray:
        """Return (C,) the cells of the area chosen."""
        return self.areas.get(self.area.value, np.ones(len(self.grid), dtype=bool))

    def _make_choices(self) -> None:
        months = [(f"{month:%b %Y}", i) for i, month in enumerate(self.events.months)]
        whole = (0, len(months) - 1)
        self.area = widgets.Dropdown(description="Area", options=[EVERYWHERE, *self.areas])
        self.type = widgets.Dropdown(description="Type", options=[ALL, *self.events.types])
        self.layer = widgets.ToggleButtons(description="Layer", options=self._layers())
        self.months = widgets.SelectionRangeSlider(
            description="Period", options=months, value=whole, continuous_update=False
        )
        self.by_month = widgets.ToggleButton(description="One month at a time")
        self.month = widgets.SelectionSlider(description="Month", options=months)
        self.months.add_class("cf-months")
        # the browser keeps the time; its own buttons have icons for names, so it is hidden and a button stands for it
        self.clock = widgets.Play(min=0, max=whole[1], interval=_STEP, show_repeat=False)
        self.clock.layout.display = "none"
        self.play = widgets.Button(description="Play")
        widgets.link((self.clock, "value"), (self.month, "index"))
        for part in (self.type, self.layer, self.month):
            part.observe(lambda _: self._draw(), "value")
        self.area.observe(lambda _: self._on_area(), "value")
        self.months.observe(lambda _: self._on_period(), "value")
        self.by_month.observe(lambda _: self._on_period(), "value")
        self.clock.observe(lambda change: self._on_play(change["new"]), "playing")
        self.play.on_click(lambda _: setattr(self.clock, "playing", not self.clock.playing))

    def _make_outputs(self) -> None:
        self.status, self.note, self.facts, self.about = html(), html(css="cf-note"), html(), html()
        self.history, self.links = html(ASK, css="cf-history"), html(css="cf-downloads")
        self.highest = widgets.Select(description="Highest cells", options=[], rows=6)
        self.highest.add_class("cf-choose")
        self.save = widgets.Button(description="Make figure and table")
        self.highest.observe(self._on_highest, "value")
        self.save.on_click(lambda _: self.make_files())

    def _make_map(self, first: Layer) -> Any:
        if self.config.tiles is None:
            return PlaneMap(self.grid, self.borders, first, on_cell=self.show_cell)
        from crimeface_lib.apps.map_tiles import TileMap

        said = self.config.tiles_attribution or ""
        tiles = {"tiles": self.config.tiles, "attribution": said}
        return TileMap(self.grid, self.borders, first, on_cell=self.show_cell, **tiles)

    def _lay_out(self) -> widgets.Box:
        self._steps = row(self.play, self.month, self.clock)
        self._steps.layout.display = "none"
        self._time = column(row(self.months, self.by_month), self._steps)
        main = column(self.map.figure, self.note, row(self.save, self.links), self.about)
        side = column(self.facts, self.highest, self.history)
        whole = column(
            row(self.area, self.type), self.layer, self._time, self.status, split(main, side), self._limits()
        )
        whole.add_class("cf-map")
        return whole

    def _limits(self) -> widgets.HTML:
        said = bullets(one for one in (*self.events.caveats, *_CANNOT) if one != self.events.attribution)
        credits = filter(None, (self.events.attribution, self.config.tiles and self.config.tiles_attribution))
        source = f'<p class="cf-note">{escape(" ".join(map(str, credits)))}</p>'
        return html(f'<div class="cf-cannot"><b>What this can\'t say</b>{said}{source}</div>')

    # -- what changes ------------------------------------------------------------------------------------------
    def _layers(self) -> list[tuple[str, str]]:
        return [*LAYERS.items(), *([("Forecast", FORECAST)] if self.session.may("place_prediction") else [])]

    def _offer_layers(self) -> None:
        """Offer the forecast to whoever may make one; take it away with whoever leaves."""
        was = self.layer.value
        self._quiet = True
        self.layer.options = self._layers()
        self.layer.value = was if was != FORECAST else "density"
        self._quiet = False
        if was == FORECAST:
            self._draw()

    def _on_area(self) -> None:
        self.map.show_area(self._inside())
        self._draw()

    def _on_period(self) -> None:
        """Let the month slider run through the period, and show it where months are shown one by one."""
        if self._quiet:
            return
        first, last = self.months.value
        was = self.month.value
        self._quiet = True
        self.clock.playing = False
        self.clock.value = 0
        self.month.options = [(f"{self.events.months[i]:%b %Y}", i) for i in range(first, last + 1)]
        self.clock.max = last - first
        self.month.value = min(max(was, first), last)
        self._quiet = False
        self._steps.layout.display = "" if self.by_month.value else "none"
        self._draw()

    def _on_play(self, playing: bool) -> None:
        self.play.description = "Pause" if playing else "Play"

    def _draw(self) -> None:
        if self._quiet:
            return
        self.status.value = self.links.value = ""
        self.forecast = None
        if self.layer.value == FORECAST and not self._forecast():
            return
        choice, inside = self.choice, self._inside()
        self.layer_shown = (
            self.forecast.layer(inside)
            if self.forecast
            else make_layer(self.data, choice, inside, bandwidth=self.config.bandwidth)
        )
        self.map.draw(self.layer_shown)
        self._tell()

    def _forecast(self) -> bool:
        """Make the forecast, or say why there is none and show the density instead."""
        kind = self.choice.kind
        self.status.value = status("Making the forecast, and trying it on past months…", state="busy")
        try:
            self.forecast = make_forecast(self.session, self.data, kind, config=self.config)
            self.status.value = ""
        except CrimefaceError as error:
            self._quiet = True
            self.layer.value = "density"
            self._quiet = False
            self._draw()
            said = str(error).replace("place_prediction", "place prediction")
            self.status.value = status(f"No forecast was made. {said[0].upper()}{said[1:]}.", state="problem")
            return False
        return True

    def _tell(self) -> None:
        """Say in words what is shown."""
        choice, layer = self.choice, self.layer_shown
        timed = choice.layer != FORECAST
        self._time.layout.display = "" if timed else "none"
        when = "" if not timed else f"<b>{choice.period(self.events.months)}.</b> "
        self.note.value = f"<p>{when}{escape(layer.said)}</p>"
        self.facts.value = self._facts(choice)
        self.about.value = self.forecast.limits_html() if self.forecast else ""
        self._quiet = True
        self.highest.options = highest(self.data, layer, self._inside())
        self.highest.value = self.cell if self.cell in [cell for _, cell in self.highest.options] else None
        self._quiet = False
        if self.cell is not None:
            self._tell_cell()

    def _facts(self, choice: Choice) -> str:
        keep = self.data.chosen(choice.kind) & (self.data.month >= choice.shown.start)
        keep &= self.data.month < choice.shown.stop
        located = keep & (self.data.cell >= 0)
        if choice.area is None:
            off = f"<span><b>{format_count(keep.sum() - located.sum())}</b>without a place on the map</span>"
        else:
            keep, off = located & self._inside()[self.data.cell], f"<span>in {escape(choice.area)}</span>"
        table = self.events.completeness.iloc[:, choice.shown]
        delivered, asked = int(table.notna().sum().sum()), table.size
        gaps = [f"{month:%b %Y}" for month in table.columns[table.isna().any(axis=0)]]
        named = ", ".join(gaps[:6]) + (" …" if len(gaps) > 6 else "")
        missing = f" Missing, unknown and not zero: {named}." if gaps else ""
        unit = f"month{'s' * (asked != 1)}" if len(table) == 1 else f"force-months of {len(table)} forces"
        events = format_count(keep.sum()) if self.data.published[choice.shown].any() else "?"
        return (
            f'<p class="cf-facts"><span><b>{events}</b>events</span>{off}</p>'
            f"<p>{delivered} of {asked} {unit} published.{missing}</p>"
        )

    # -- one cell ----------------------------------------------------------------------------------------------
    def _on_highest(self, change: Any) -> None:
        if not self._quiet and change["new"] is not None:
            self.show_cell(change["new"])

    def show_cell(self, cell: int) -> None:
        """Show the monthly history of a cell, by its row in ``grid.cells``, and mark it on the map.

        Raises
        ------
        InputError : no such cell.
        """
        if not 0 <= cell < len(self.grid):
            raise InputError(f"cell: got {cell}, expected 0…{len(self.grid) - 1}")
        self.cell = cell
        self.map.ring(cell)
        self._quiet = True
        self.highest.value = cell if cell in [c for _, c in self.highest.options] else None
        self._quiet = False
        self._tell_cell()

    def _tell_cell(self) -> None:
        assert self.cell is not None
        self.history.value = cell_html(self.data, self.cell, self.choice, self.forecast)

    # -- what leaves the page ----------------------------------------------------------------------------------
    def export(self) -> MapExport:
        """Return what is shown, ready to be written to files."""
        return MapExport(
            self.data, self.choice, self.layer_shown, self._inside(), self.forecast, self.config.bandwidth, self.borders
        )  # fmt: skip

    def make_files(self) -> None:
        """Offer the map as a figure and a table; they are gone when something else is chosen."""
        self.save.disabled = True
        self.links.value = '<span class="cf-note">Drawing…</span>'
        try:
            self.links.value = links_html(self.export(), settings=self.session.settings)
        except CrimefaceError as error:
            self.links.value = ""
            self.status.value = status(f"No file was made: {error}.", state="problem")
        finally:
            self.save.disabled = False
