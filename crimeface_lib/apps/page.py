"""Small parts that both apps are made of: text, status line, rows of widgets."""

from __future__ import annotations

from html import escape
from typing import Any, Literal

import ipywidgets as widgets

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


def status(text: str, *, state: State = "idle") -> str:
    """Return one line that says what the app is doing; plain text in, read out by screen readers."""
    spinner = '<i class="cf-spinner"></i>' if state == "busy" else ""
    return f'<div class="cf-status cf-{state}" role="status">{spinner}<span>{escape(text)}</span></div>'


def bullets(sentences: Any) -> str:
    """Return plain sentences as a list."""
    return "<ul>" + "".join(f"<li>{escape(str(one))}</li>" for one in sentences) + "</ul>"


def _box(children: Any, css: str, **options: Any) -> widgets.Box:
    made = widgets.Box(children=tuple(children), **options)
    made.add_class(css)
    return made
