"""How results look in a notebook: tables and records in plain HTML that JupyterLab and a published page both style."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

_NUMBER = re.compile(r"[-−+<>≤≥]?[\d,.]+(?:e[-+]?\d+)?\u2009? ?%?")
_UNITS = {"px": "px", "mm": "mm", "deg": "°", "km2": "km²", "hours": "hours", "days": "days"}
#: JupyterLab sets every cell to the right; a published page follows the class.
_LEFT, _RIGHT = " style='text-align:left'", " class=num style='text-align:right'"
_SHORT, _MOST_TEXT, _MOST_ITEMS = 20, 300, 8


class Shown:
    """Base of dataclasses that show themselves as a list of their fields: arrays by shape, long texts cut."""

    __slots__ = ()

    def _repr_html_(self) -> str:
        return record_html(self)


def table_html(
    frame: pd.DataFrame, *, rows: int = 20, missing: str = "–", float_format: Callable[[float], str] | None = None
) -> str:
    """Return a frame as HTML: words left, numbers right; a wide table scrolls, of a long one the ends are shown.

    Parameters
    ----------
    rows : at most so many.
    missing : what stands for a value that is none.
    float_format : of numbers that aren't whole; four digits by default, with commas between thousands.

    >>> import pandas
    >>> "1,234</td>" in table_html(pandas.DataFrame({"events": [1234]}))
    True
    """
    import pandas as pd

    long = len(frame) > rows
    ends = pd.concat([frame.head(rows // 2), frame.tail(rows // 2)]) if long else frame
    shown = [
        [brief(value, missing=missing, float_format=float_format) for value in row]
        for row in ends.itertuples(index=False, name=None)
    ]
    sides = [_side([row[k] for row in shown], missing) for k in range(len(frame.columns))]
    if long:
        shown.insert(rows // 2, ["…"] * len(sides))
    heads = "".join(f"<th{side}>{escape(words(name))}</th>" for side, name in zip(sides, frame.columns, strict=True))
    body = "".join(
        "<tr>" + "".join(f"<td{side}>{escape(text)}</td>" for side, text in zip(sides, row, strict=True)) + "</tr>"
        for row in shown
    )
    more = f"<p>{len(frame):,} rows in all</p>" if long else ""
    table = f'<table class="cf-table"><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>'
    return f'<div class="cf-scroll" style="overflow-x:auto">{table}</div>{more}'


def _side(texts: list[str], missing: str) -> str:
    """Return the style of a column's cells: numbers to the right; what is short, such as a date, on one line."""
    if all(text == missing or _NUMBER.fullmatch(text) for text in texts):
        return _RIGHT
    return _LEFT if any(len(text) > _SHORT for text in texts) else _LEFT.replace("left", "left;white-space:nowrap")


def record_html(record: Any) -> str:
    """Return a dataclass as HTML: its name, and a line for each field that its ``repr`` shows."""
    name = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", type(record).__name__).capitalize()
    shown = {
        words(field.name): brief(getattr(record, field.name)) for field in dataclasses.fields(record) if field.repr
    }
    lines = "".join(f"<tr><th{_LEFT}>{escape(k)}</th><td{_LEFT}>{escape(v)}</td></tr>" for k, v in shown.items())
    return f'<table class="cf-table"><caption{_LEFT}><b>{name}</b></caption><tbody>{lines}</tbody></table>'


def list_html(sentences: Iterable[str]) -> str:
    """Return sentences as an HTML list; nothing where there is none.

    >>> list_html(["a < b"])
    '<ul><li>a &lt; b</li></ul>'
    """
    items = "".join(f"<li>{escape(text)}</li>" for text in sentences)
    return f"<ul>{items}</ul>" if items else ""


def words(name: object) -> str:
    """Return the name of a field or column as a reader expects it, its unit after a comma.

    >>> words("residual_px"), words("surface_sd_mm"), words("days")
    ('residual, px', 'surface sd, mm', 'days')
    """
    head, _, last = str(name).rpartition("_")
    text = f"{head}, {_UNITS[last]}" if head and last in _UNITS else str(name)
    return text.replace("_", " ")


def brief(value: Any, *, missing: str = "–", float_format: Callable[[float], str] | None = None) -> str:
    """Return a value in a few words: numbers with commas, arrays and frames by their shape, long things cut.

    >>> brief(1234.5), brief(0.123456), brief(True), brief(None), brief({"a": [1, 2]})
    ('1,234', '0.1235', 'yes', '–', 'a: 1, 2')
    """
    again: dict[str, Any] = {"missing": missing, "float_format": float_format}
    shape = getattr(value, "shape", None)
    if shape == ():  # a number of numpy
        value, shape = value.item(), None
    if shape is not None:
        return f"{'table' if hasattr(value, 'columns') else 'array'} of {' × '.join(f'{n:,}' for n in shape)}"
    if hasattr(value, "geom_type"):
        return str(value.geom_type)
    if value is None or str(value) in {"nan", "NaT", "<NA>"}:
        return missing
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return float_format(value) if float_format else f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S %Z}".strip()
    if isinstance(value, bytes):
        return f"{len(value):,} bytes"
    if isinstance(value, Mapping):
        value = [f"{words(key)}: {brief(one, **again)}" for key, one in value.items()]
    elif isinstance(value, list | tuple | set | frozenset):
        value = [
            brief(one, **again) for one in (sorted(value, key=str) if isinstance(value, set | frozenset) else value)
        ]
    elif dataclasses.is_dataclass(value):
        value = [
            f"{words(f.name)}: {brief(getattr(value, f.name), **again)}" for f in dataclasses.fields(value) if f.repr
        ]
    if isinstance(value, list):
        rest = f" … ({len(value):,} in all)" if len(value) > _MOST_ITEMS else ""
        value = ", ".join(value[:_MOST_ITEMS]) + rest if value else "none"
    text = str(value)
    return text if len(text) <= _MOST_TEXT else f"{text[:_MOST_TEXT]}…"
