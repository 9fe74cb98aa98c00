"""Small parts that the apps are made of: text, status line, rows of widgets, what is said when something fails."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from html import escape
from typing import Any, Literal

import ipywidgets as widgets
from traitlets.log import get_logger

from crimeface_lib.core.errors import CrimefaceError

#: Set by ``workflow.app_server`` for its kernels: where it serves the code that widgets draw with.
BUNDLES = "CRIMEFACE_BUNDLES"
State = Literal["idle", "busy", "ready", "problem"]
_OUR_FAULT = "Something went wrong on our side: the server's log has the details."


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


@contextmanager
def excusing(
    say: Callable[[str], object], *, what: str, words: Callable[[CrimefaceError], str] = str
) -> Iterator[None]:
    """Say on the page what goes wrong inside, in plain words without a path; a fault of ours goes to the log.

    Parameters
    ----------
    what : was tried, for the log. words : what is said of an error that was made for people; its own by default.
    """
    try:
        yield
    except CrimefaceError as error:
        say(re.sub(r"(?<!\S)/\S*/", "", words(error)))
    except Exception:
        logger = get_logger()  # the kernel's own: what is printed here would go to the page
        logger.exception("%s failed", what)
        say(_OUR_FAULT)


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
