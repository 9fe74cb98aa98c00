"""What a notebook shows and keeps: a figure or a table with its caption, numbered, in the run's folder."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass, field
from html import escape
from typing import Any


@dataclass(frozen=True, slots=True)
class SavedFigure:
    """A figure on disk with its caption; a notebook shows both."""

    number: int
    path: str
    caption: str
    png: bytes = field(repr=False)

    def _repr_html_(self) -> str:
        image = b64encode(self.png).decode()
        return (
            f'<figure class="cf-figure"><img alt="{escape(self.caption)}" src="data:image/png;base64,{image}">'
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
