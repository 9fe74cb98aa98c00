"""Small parts that both apps are made of: text, status line, rows of widgets."""

from __future__ import annotations

import os
from functools import cache
from html import escape
from typing import Any, Literal

import ipywidgets as widgets

#: Set by ``workflow.app_server`` for its kernels: where it serves the code that widgets draw with.
BUNDLES = "CRIMEFACE_BUNDLES"
State = Literal["idle", "busy", "ready", "problem"]


def html(text: str = "", *, css: str = "") -> widgets.HTML:
    """Return a widget that shows ``text`` (HTML), with a class of the apps' style sheet."""
    part = widgets.HTML(text)
    if css:
        part.add_class(css)
    return part


def row(*children: Any) -> widgets.Box:
    """Return widgets side by side, wrapping where the page is narrow."""
    return _box(children, "cf-row")


def column(*children: Any) -> widgets.Box:
    """Return widgets below each other."""
    return _box(children, "cf-col", layout={"flex_flow": "column"})


def split(main: Any, side: Any) -> widgets.Box:
    """Return a wide part with a narrow one beside it; below it on a phone."""
    return _box((main, side), "cf-split")


def status(text: str, *, state: State = "idle", done: float | None = None) -> str:
    """Return one line that says what the app is doing; plain text in, read out by screen readers.

    Where it is known which part of the work is ``done``, in [0, 1], a bar shows it.
    """
    spinner = '<i class="cf-spinner"></i>' if state == "busy" else ""
    bar = "" if done is None else f'<progress max="1" value="{done:.2f}" aria-label="Progress"></progress>'
    return f'<div class="cf-status cf-{state}" role="status">{spinner}<span>{escape(text)}</span>{bar}</div>'


def bullets(sentences: Any) -> str:
    """Return plain sentences as a list."""
    return "<ul>" + "".join(f"<li>{escape(str(one))}</li>" for one in sentences) + "</ul>"


def figure_widget(figure: Any) -> Any:
    """Return a plotly figure as a widget; on a page of our server plotly's code comes from its files.

    From the kernel it would come as 5 MB of text in a message, which no browser keeps for the next page.
    """
    return _figure_kind(os.environ.get(BUNDLES))(figure)


@cache
def _figure_kind(bundles: str | None) -> Any:
    from plotly.graph_objects import FigureWidget

    if bundles is None:
        return FigureWidget
    there = f"new URL({bundles + 'widgetbundle.js'!r}, location.origin)"
    code = f"export default (await import({there})).default;"
    return type("FigureWidget", (FigureWidget,), {"_esm": code})


def _box(children: Any, css: str, **options: Any) -> widgets.Box:
    made = widgets.Box(children=tuple(children), **options)
    made.add_class(css)
    return made
