"""The figures and tables of a page: numbered, given a place to link to, scrolled by themselves where they are wide."""

from __future__ import annotations

import re
from base64 import b64decode
from dataclasses import dataclass
from html import unescape
from itertools import count
from textwrap import shorten

from crimeface_lib.reporting.style import FULL_WIDTH, PIXELS_PER_INCH

_SCROLL = '<div class="cf-scroll">'
_FIGURE = re.compile(
    r'<figure class="cf-figure">(<img [^>]*>)<figcaption>(?:<b>Figure \d+\.</b> )?(.*?)</figcaption></figure>',
    re.DOTALL,
)
_TABLE = re.compile(
    r'(<div class="cf-scroll"[^>]*>\s*)?'
    r"(<table\b[^>]*>)(?:<caption[^>]*>(.*?)</caption>)?(.*?</table>)(?(1)\s*</div>)",
    re.DOTALL,
)
_PERCENT = re.compile(r"(?<=[\d)])[ \u00a0\u2009\u202f]%")
_SHORT = 14  # rows of a table that paper keeps on one page
_WIDE = 9  # columns from which a table is set small on paper
_TALL = 1.2  # height over width of a picture that may take a whole page
_LONGEST = 110  # characters of a caption that the list of figures shows


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of the list of figures and tables: "Figure" or "Table", its number, the first sentence of its caption."""

    kind: str
    number: int
    words: str

    @property
    def anchor(self) -> str:
        return f"{self.kind.lower()}-{self.number}"

    @property
    def label(self) -> str:
        return f"{self.kind} {self.number}"


def number_parts(body: str) -> tuple[str, list[Entry]]:
    """Return the page's body with each captioned figure and table numbered and given an ``id``, and the list of them.

    >>> html, entries = number_parts('<div class="cf-scroll"><table><caption>Rates. All.</caption></table></div>')
    >>> entries[0]
    Entry(kind='Table', number=1, words='Rates')
    """
    figures, tables = count(1), count(1)
    entries: list[Entry] = []

    def enter(kind: str, number: int, caption: str) -> tuple[str, str]:
        first = re.split(r"(?<=[\w)])\. ", unescape(caption), maxsplit=1)[0].rstrip(".")
        entry = Entry(kind, number, shorten(first, _LONGEST, placeholder=" …"))
        entries.append(entry)
        return entry.anchor, f"<figcaption><b>{entry.label}.</b> {caption}</figcaption>"

    def figure(found: re.Match[str]) -> str:
        image, caption = found.groups()
        anchor, words = enter("Figure", next(figures), caption)
        if width := re.search(r' width="(\d+)"', image):  # of a figure as wide as the page, on any page
            share = min(1.0, int(width[1]) / (FULL_WIDTH * PIXELS_PER_INCH))
            image = image.replace(width[0], f' style="--share:{share:.3f}"', 1)
        kind = "cf-figure cf-tall" if _aspect(image) > _TALL else "cf-figure"
        return f'<figure class="{kind}" id="{anchor}">{_SCROLL}{image}</div>{words}</figure>'

    def table(found: re.Match[str]) -> str:
        _, head, caption, rest = found.groups()
        if not caption:
            return f"{_SCROLL}{head}{rest}</div>"
        anchor, words = enter("Table", next(tables), caption)
        kinds = "cf-tabled" + " cf-short" * (rest.count("<tr") <= _SHORT)
        kinds += " cf-wide" * (rest.partition("</tr>")[0].count("<th") >= _WIDE)
        return f'<figure class="{kinds}" id="{anchor}">{words}{_SCROLL}{head}{rest}</div></figure>'

    return _TABLE.sub(table, _FIGURE.sub(figure, body)), entries


def _aspect(image: str) -> float:
    """Return height over width of a picture, where it is a PNG."""
    found = re.search(r"data:image/png;base64,([\w+/]{32})", image)
    head = b64decode(found[1]) if found else bytes(24)
    return int.from_bytes(head[20:24]) / (int.from_bytes(head[16:20]) or 1)


def typeset(text: str) -> str:
    """Return text with percentages written one way, whoever wrote them.

    >>> typeset("5 % of 40%")
    '5% of 40%'
    """
    return _PERCENT.sub("%", text)
