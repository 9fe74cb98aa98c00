"""Parts of a page that its settings leave out: ``crimeface run`` drops their cells, a page by hand passes them over.

Such a cell has a tag, ``forecast`` say, and begins with ``# only with: forecast``, since a kernel is told no tags.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Collection
from dataclasses import dataclass
from html import escape

_ONLY = re.compile(r"# only with: (\w+(?:, \w+)*)\s*$")


@dataclass(frozen=True, slots=True)
class PassedOver:
    """Stands where a cell was not run."""

    part: str

    def _repr_html_(self) -> str:
        return f'<p class="cf-note">Not run: the settings leave this part out ({escape(self.part)}).</p>'


@dataclass(frozen=True, slots=True)
class _Pass:
    """What IPython asks for each cell, given as lines, before it runs it."""

    tags: frozenset[str]

    def __call__(self, lines: list[str]) -> list[str]:
        found = _ONLY.match(lines[0]) if lines else None
        absent = [tag for tag in found[1].split(", ") if tag in self.tags] if found else []
        if not absent:
            return lines
        return [f"from {__name__} import PassedOver\n", f"PassedOver({', '.join(absent)!r})\n"]


def pass_over(tags: Collection[str]) -> None:
    """Pass over the cells of this kernel that are only for one of ``tags``; outside a notebook nothing happens."""
    if "IPython" not in sys.modules:
        return
    from IPython import get_ipython

    if (shell := get_ipython()) is not None:
        others = [one for one in shell.input_transformers_cleanup if not isinstance(one, _Pass)]
        shell.input_transformers_cleanup[:] = [*others, _Pass(frozenset(tags))]
