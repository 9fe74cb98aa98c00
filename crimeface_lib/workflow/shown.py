"""What a notebook shows and keeps: a figure or a table with its caption, numbered, in the run's folder."""

from __future__ import annotations

import time
from base64 import b64encode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any, TypeVar

_Item = TypeVar("_Item")
#: Shows nothing in a notebook, and a published page drops it.
_NOTHING = "<script></script>"
#: Seconds between two messages to a notebook.
_BETWEEN = 0.3
#: Pixels an inch of a saved figure.
DPI = 150


@dataclass(frozen=True, slots=True)
class SavedFigure:
    """A figure on disk with its caption; a notebook shows both."""

    number: int
    path: str
    caption: str
    png: bytes = field(repr=False)
    alt: str = ""

    def _repr_html_(self) -> str:
        from crimeface_lib.reporting.style import PIXELS_PER_INCH

        image = b64encode(self.png).decode()
        width = round(int.from_bytes(self.png[16:20]) * PIXELS_PER_INCH / DPI)  # a PNG's width stands there
        return (
            f'<figure class="cf-figure"><img alt="{escape(self.alt or self.caption)}" width="{width}" '
            f'src="data:image/png;base64,{image}">'
            f"<figcaption><b>Figure {self.number}.</b> {escape(self.caption)}</figcaption></figure>"
        )


@dataclass(frozen=True, slots=True)
class NotShown:
    """Where a figure would stand that this run has not."""

    caption: str
    why: str = "there was no candidate"

    def _repr_html_(self) -> str:
        return f'<p class="cf-note">Not shown, as {escape(self.why)}: {escape(self.caption)}</p>'


@dataclass(frozen=True, slots=True)
class SavedTable:
    """A table with its caption; ``rows`` is what another notebook of the run can show again."""

    caption: str
    rows: list[dict[str, Any]]

    def _repr_html_(self) -> str:
        import pandas as pd

        from crimeface_lib.reporting import html_table

        if not self.rows:
            return f'<p class="cf-note">{escape(self.caption)} None.</p>'
        return html_table(pd.DataFrame(self.rows), caption=self.caption)


class Working:
    """Shows how far long work is: in a notebook a line that goes when it is done, else a bar where there is a terminal.

    Hand it to a function as its ``progress``, or let it count what is taken from a list.

    >>> Working("photos to templates")(1, 2)
    >>> list(Working("photos").each(["a.jpg"]))
    ['a.jpg']
    """

    def __init__(self, what: str) -> None:
        import sys

        self._what = what
        self._line: Any = None
        self._bar: Any = None
        self._began, self._told = time.monotonic(), 0.0
        if "ipykernel" in sys.modules and _in_notebook():
            from IPython.display import HTML, display

            self._line = display(HTML(f'<p class="cf-note">{escape(what)} …</p>'), display_id=True)

    def __enter__(self) -> Working:
        if self._line is None:
            from rich.console import Console
            from rich.progress import Progress

            console = Console(stderr=True)
            self._bar = Progress(console=console, disable=not console.is_terminal, transient=True)
            self._bar.start()
            self._bar.add_task(self._what, total=None)
        return self

    def __call__(self, done: int, total: int) -> None:
        if self._line is None and self._bar is None:
            self.__enter__()
        now = time.monotonic()
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=done, total=total)
        elif now - self._told > _BETWEEN:
            self._told, left = now, (now - self._began) * (total - done) / max(done, 1)
            words = f"{self._what}: {done:,} of {total:,}, {_in_words(left)} to go" if done else f"{self._what} …"
            self._show(f'<p class="cf-note">{escape(words)}</p>')
        if done >= total:
            self.__exit__()

    def each(self, items: Sequence[_Item]) -> Iterator[_Item]:
        """Yield the items, telling how many are done."""
        for number, item in enumerate(items):
            self(number, len(items))
            yield item
        self(len(items), len(items))

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.stop()
        elif self._line is not None:
            self._show(_NOTHING)

    def _show(self, html: str) -> None:
        from IPython.display import HTML

        self._line.update(HTML(html))


def _in_words(seconds: float) -> str:
    """Return about how long.

    >>> _in_words(7), _in_words(200)
    ('about 7 s', 'about 3 min')
    """
    return f"about {seconds:.0f} s" if seconds < 90 else f"about {seconds / 60:.0f} min"


def _in_notebook() -> bool:
    from IPython import get_ipython

    return getattr(get_ipython(), "kernel", None) is not None
