"""A table of many rows: filtered by text and by one column, a page at a time, saved as CSV."""

from __future__ import annotations

import base64
from collections.abc import Callable
from datetime import datetime
from html import escape
from typing import Any

import ipywidgets as widgets
import pandas as pd

from crimeface_lib.apps.page import column, html, row
from crimeface_lib.reporting import format_count, html_table

PAGE = 25
_EVERY = "All"
_LONGEST = 200  # characters of a cell; the CSV holds all of it
_MOST = 3_000_000  # bytes that a link may hold


class PagedTable:
    """The table; ``widget`` shows it.

    Parameters
    ----------
    name : of the file that is saved, and of the table for screen readers.
    none : what is said where there is no row.
    choose : the column that can be filtered by its values.
    may : asked before rows are sent; if it says no, none are.
    """

    def __init__(self, name: str, *, none: str, choose: str = "", may: Callable[[], bool] = lambda: True) -> None:
        self.name, self.none, self._choose, self._may = name, none, choose, may
        self.text = widgets.Text(description="Filter", placeholder="any text of a row")
        self.choice = widgets.Dropdown(description=choose.capitalize(), options=[_EVERY])
        self.back, self.next = widgets.Button(description="Previous"), widgets.Button(description="Next")
        self.count, self.table, self.save = html(), html(css="cf-rows"), html(css="cf-downloads")
        self._filters = row(self.text, self.choice) if choose else row(self.text)
        self._pages = row(self.back, self.next)
        self.widget = column(self._filters, self.count, self.table, row(self._pages, self.save))
        self._frame, self._cells, self._at = pd.DataFrame(), pd.DataFrame(), 0
        self.text.observe(self._on_filter, "value")
        self.choice.observe(self._on_filter, "value")
        self.back.on_click(lambda _: self._turn(-1))
        self.next.on_click(lambda _: self._turn(1))
        self.show(self._frame)

    def show(self, frame: pd.DataFrame) -> None:
        """Show other rows, the first on top; the filters are as at the beginning."""
        self._frame = pd.DataFrame()
        self.text.value, self.choice.options = "", [_EVERY]  # before there are rows: nothing is drawn twice
        self._frame = frame
        self._cells = frame.map(_cell) if len(frame) else frame
        if self._choose and len(frame):
            self.choice.options = [_EVERY, *sorted(set(self._cells[self._choose]))]
        _show_if(self._filters, len(frame) > 1)
        self._on_filter(None)

    @property
    def chosen(self) -> pd.DataFrame:
        """The rows that the filters leave, as they are shown."""
        cells = self._cells
        if cells.empty:
            return cells
        if self.choice.value != _EVERY:
            cells = cells[cells[self._choose] == self.choice.value]
        if wanted := self.text.value.strip().casefold():
            lines = cells.agg(" ".join, axis=1).str.casefold()
            cells = cells[lines.str.contains(wanted, regex=False)]
        return cells

    def _on_filter(self, _: Any) -> None:
        self._at = 0
        chosen = self.chosen if self._may() else self._cells.iloc[:0]
        self.save.value = self._link(chosen)
        self._draw(chosen)

    def _turn(self, pages: int) -> None:
        self._at += pages * PAGE
        self._draw(self.chosen if self._may() else self._cells.iloc[:0])

    def _draw(self, chosen: pd.DataFrame) -> None:
        total = len(chosen)
        self._at = max(min(self._at, PAGE * ((total - 1) // PAGE)), 0)
        page = chosen.iloc[self._at : self._at + PAGE]
        _show_if(self._pages, total > PAGE)
        self.back.disabled, self.next.disabled = self._at == 0, self._at + PAGE >= total
        if page.empty:
            said = "No row has that." if len(self._frame) and self._may() else self.none
            self.table.value, self.count.value = f'<p class="cf-note">{escape(said)}</p>', ""
            return
        shown = html_table(page.map(_short))
        region = f'<div class="cf-scroll" role="region" tabindex="0" aria-label="{escape(self.name)}">'
        self.table.value = shown.replace('<div class="cf-scroll">', region, 1)
        first, last = (format_count(number) for number in (self._at + 1, self._at + len(page)))
        of = "" if total == len(self._frame) else f", of {format_count(len(self._frame))} in all"
        where = f"{first}–{last} of {format_count(total)}{of}"
        self.count.value = f'<p class="cf-note" role="status">{where}</p>'

    def _link(self, cells: pd.DataFrame) -> str:
        """Return a link that holds the rows as CSV; a cell that a spreadsheet would compute is made text."""
        if cells.empty:
            return ""
        data = cells.map(lambda text: f"'{text}" if text[:1] in "=+@-\t\r" else text).to_csv(index=False).encode()
        if len(data) > _MOST:
            return '<span class="cf-note">Too long to save as CSV; choose a shorter period.</span>'
        file = self.name.lower().replace(" ", "-")
        return (
            f'<a download="{escape(file)}.csv" href="data:text/csv;charset=utf-8;base64,'
            f'{base64.b64encode(data).decode()}">Save as CSV ({format_count(len(cells))} rows)</a>'
        )


def _short(text: str) -> str:
    text = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
    return f"−{text[1:]}" if text[:1] == "-" and text[1:].isdigit() else text


def _cell(value: Any) -> str:
    """Return a value as text; times to the minute, in UTC."""
    if value is None or value is pd.NaT or (isinstance(value, float) and value != value):
        return "–"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M}"
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value)


def _show_if(part: Any, shown: bool) -> None:
    part.layout.display = "" if shown else "none"
