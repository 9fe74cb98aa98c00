"""Numbers as a reader expects them, and tables in the house's one style."""

from __future__ import annotations

import math
import re
from html import escape
from typing import TYPE_CHECKING

from crimeface_lib.core.errors import InputError, SchemaError

if TYPE_CHECKING:
    import pandas as pd

_LEFT = " style=text-align:left"  # JupyterLab sets every cell to the right
_THIN = "\u2009"
_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def format_lr(value: float, *, interval: tuple[float, float] | None = None) -> str:
    """Return a likelihood ratio in two digits, with its interval.

    Between 0.01 and 1000 it is written out; beyond, as a power of ten.

    Raises
    ------
    InputError : negative or not finite: a likelihood ratio is bounded by its calibration data.

    >>> format_lr(13_000, interval=(900, 190_000))
    '1.3 × 10⁴ (900 to 1.9 × 10⁵)'
    >>> format_lr(0.042), format_lr(1), format_lr(999.6)
    ('0.042', '1.0', '1.0 × 10³')
    """
    if not (math.isfinite(value) and value >= 0):
        raise InputError(f"likelihood ratio: got {value}, expected a finite number of 0 or more")
    if value == 0:
        text = "0"
    else:
        mantissa, _, power = f"{value:.1e}".partition("e")
        exponent = int(power)
        if -2 <= exponent < 3:
            text = f"{float(f'{mantissa}e{power}'):.{max(1 - exponent, 0)}f}"
        else:
            text = f"{mantissa} × 10{str(exponent).translate(_SUPERSCRIPT)}"
    if interval is None:
        return text
    return f"{text} ({format_lr(interval[0])} to {format_lr(interval[1])})"


def format_count(value: float) -> str:
    """Return a whole number with commas between thousands; a missing one is a dash.

    >>> format_count(1234567)
    '1,234,567'
    """
    return "–" if _missing(value) else f"{round(value):,}".replace("-", "−")


def format_percent(share: float, *, digits: int = 1) -> str:
    """Return a share of one as a percentage.

    >>> format_percent(0.1234)
    '12.3%'
    """
    return "–" if _missing(share) else f"{100 * share:.{digits}f}%".replace("-", "−")


def format_mm(value: float, *, digits: int = 1) -> str:
    """Return a length in millimetres.

    >>> format_mm(2.345).replace("\u2009", " ")
    '2.3 mm'
    """
    return "–" if _missing(value) else f"{value:.{digits}f}{_THIN}mm".replace("-", "−")


def html_table(frame: pd.DataFrame, *, caption: str = "", note: str = "") -> str:
    """Return ``frame`` as an HTML table: numbers to the right on aligned digits, text to the left.

    Format numbers that need it beforehand: a cell that already is text is shown as it stands, and its
    column goes to the right when every entry starts like a number. The index is not shown.

    Raises
    ------
    SchemaError : no column.
    """
    if not len(frame.columns):
        raise SchemaError("table: got no column, expected at least one")
    cells = [[_cell(value) for value in row] for row in frame.itertuples(index=False, name=None)]
    numeric = [bool(cells) and all(_numeric(row[i]) for row in cells) for i in range(len(frame.columns))]
    kinds = [' class="num"' if number else _LEFT for number in numeric]
    head = "".join(
        f"<th{kind} scope=col>{escape(str(name).replace('_', ' '))}</th>"
        for kind, name in zip(kinds, frame.columns, strict=True)
    )
    body = "".join(
        "<tr>"
        + "".join(f"<td{_special(text) or kind}>{escape(text)}</td>" for kind, text in zip(kinds, row, strict=True))
        + "</tr>"
        for row in cells
    )
    top = f"<caption>{escape(caption)}</caption>" if caption else ""
    bottom = f'<p class="cf-note">{escape(note)}</p>' if note else ""
    table = f'<table class="cf-table">{top}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
    return f'<div class="cf-scroll">{table}</div>{bottom}'


def _special(text: str) -> str:
    """Return the attributes of a cell that must not break over lines, or may break anywhere."""
    if is_date(text):
        return f' class="cf-date"{_LEFT}'
    return f' class="cf-hash"{_LEFT}' if re.fullmatch(r"(?:sha\d+:)?[0-9a-f]{32,128}", text) else ""


def is_date(text: str) -> bool:
    """Return whether a text is a day or a moment, which must not break over lines.

    >>> is_date("2026-03-01 09:12 UTC"), is_date("2026-03-01 to 2026-04-01")
    (True, False)
    """
    return re.fullmatch(r"\d{4}-\d\d-\d\d(?:[ T][\d:.]+)?(?: ?UTC|Z)?", text) is not None


def _missing(value: object) -> bool:
    return value is None or (isinstance(value, float) and not math.isfinite(value))


def _cell(value: object) -> str:
    if _missing(value) or str(value) in {"NaT", "<NA>"}:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if hasattr(value, "dtype") and value.dtype.kind == "b":
        return "yes" if value else "no"
    if isinstance(value, str):
        return value
    number = value.item() if hasattr(value, "item") else value
    if isinstance(number, int):
        return format_count(number)
    if isinstance(number, float):  # never as a power of ten where a reader would write the number out
        return (f"{number:,.0f}" if 1e4 <= abs(number) < 1e15 else f"{number:.4g}").replace("-", "−")
    return str(number)


def _numeric(text: str) -> bool:
    # words that begin with a number ("2 of 3 reviewers …", a run's id), and what is left of a hash
    if re.search(r"[A-Za-z]{4}", text) or (re.fullmatch(r"[0-9a-f]{6,}…?", text) and not text.isdigit()):
        return False
    return text == "–" or (text.lstrip("−-+<≤≥>")[:1].isdigit() and not (len(text) > 9 and text[4:5] == "-"))
