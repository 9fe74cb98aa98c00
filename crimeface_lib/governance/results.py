"""What this project measured of its models: result files, and the only way into cards, the README and the BOM.

``tests/evaluate.py`` writes ``governance/results/*.json``, one file an evaluation, with the protocol, the data, the
date and the code's version. Nobody writes such a figure by hand: text made from these files is compared by a test.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from crimeface_lib.core.errors import InputError
from crimeface_lib.core.results import Result


@dataclass(frozen=True, slots=True)
class Measured(Result):
    """One figure with its interval (None where there is none) and how many cases it rests on."""

    name: str
    value: float
    low: float | None
    high: float | None
    n: int
    unit: str = ""
    digits: int = 2

    def in_words(self) -> str:
        """Return the figure as text.

        >>> Measured("EER", 1.8, 0.9, 2.94, 1000, "%", 1).in_words()
        'EER 1.8 % (0.9 to 2.9), n = 1,000'
        """
        return f"{self.name} {self.in_short()}, n = {self.n:,}"

    def in_short(self) -> str:
        """Return value, unit and interval alone."""
        interval = "" if self.low is None else f" ({self.low:.{self.digits}f} to {self.high:.{self.digits}f})"
        return f"{self.value:.{self.digits}f}{f' {self.unit}' if self.unit else ''}{interval}"


@dataclass(frozen=True, slots=True)
class Measurement(Result):
    """An evaluation of one model.

    Parameters
    ----------
    model : name of its card. datasheet : name of the data's sheet.
    n : of each figure counts what ``protocol`` says.
    date, code : when, and the commit it was run at.
    """

    id: str
    model: str
    datasheet: str
    protocol: str
    date: str
    code: str
    figures: tuple[Measured, ...]

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Measurement:
        """Return the measurement of a result file.

        Raises
        ------
        InputError : a field is missing or unknown, or there is no figure.
        """
        try:
            figures = tuple(Measured(**figure) for figure in record["figures"])
            found = cls(**{**record, "figures": figures})
        except (KeyError, TypeError) as error:
            raise InputError(f"not a result file: {error}") from error
        if not figures:
            raise InputError(f"result {found.id}: got no figure, expected at least one")
        return found

    def in_words(self) -> str:
        """Return figures and protocol as one line."""
        figures = "; ".join(figure.in_words() for figure in self.figures)
        commit, _, changes = self.code.partition(" ")
        with_changes = f" {changes}" if changes else ""
        return f"{figures} — {self.protocol} (measured {self.date}, code {commit[:12]}{with_changes})"


@cache
def bundled_results() -> tuple[Measurement, ...]:
    """Return every measurement that comes with crimeface, by id."""
    folder = files("crimeface_lib.governance") / "results"
    texts = [entry.read_text(encoding="utf-8") for entry in folder.iterdir() if entry.name.endswith(".json")]
    found = [Measurement.from_dict(record) for text in texts for record in json.loads(text)]
    return tuple(sorted(found, key=lambda result: result.id))


def results_markdown(results: Iterable[Measurement]) -> str:
    """Return measurements as the tables that README shows: one for each protocol, a row a model."""
    by_protocol: dict[tuple[str, tuple[tuple[str, int], ...]], list[Measurement]] = {}
    for result in results:
        shape = tuple((figure.name, figure.n) for figure in result.figures)
        by_protocol.setdefault((result.protocol, shape), []).append(result)
    blocks = []
    for (protocol, shape), rows in by_protocol.items():
        heads = [f"{name} (n = {n:,})" for name, n in shape]
        lines = [f"| model | {' | '.join(heads)} |", "|---" * (len(heads) + 1) + "|"]
        lines += [f"| `{r.model}` | {' | '.join(figure.in_short() for figure in r.figures)} |" for r in rows]
        blocks.append(f"{protocol[:1].upper()}{protocol[1:]}.\n\n" + "\n".join(lines))
    return "\n\n".join(blocks)
