"""How governance records show themselves: one table of headed sections that a reviewer can read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

_STYLE = (
    "<style>.cf-record{border-collapse:collapse;max-width:60rem;line-height:1.4}"
    ".cf-record caption{text-align:left;font-size:1.15em;font-weight:600;padding:.4em .6em}"
    ".cf-record th,.cf-record td{text-align:left;vertical-align:top;padding:.3em .6em;white-space:normal}"
    ".cf-record th{width:12rem;font-weight:500}.cf-record td>ul{margin:0;padding-left:1.1em}"
    ".cf-record th.cf-part{font-weight:600;border-top:1px solid #8888;padding-top:.7em}"
    ".cf-record .cf-note{border-left:4px solid #b8860b;padding-left:.6em}</style>"
)


def record_html(title: str, parts: Mapping[str, Mapping[str, Any]], *, note: str = "") -> str:
    """Return a record as an HTML table: one headed part after another, every text escaped.

    Parameters
    ----------
    parts : heading → {label: text, or a list of texts}.
    note : shown above the first part, e.g. that a template is no assessment.

    >>> "&lt;b&gt;" in record_html("t", {"Need": {"why": "<b>"}})
    True
    """
    rows = [f'<tr><td colspan="2"><div class="cf-note">{escape(note)}</div></td></tr>'] if note else []
    for heading, items in parts.items():
        rows.append(f'<tr><th class="cf-part" colspan="2" scope="colgroup">{escape(heading)}</th></tr>')
        rows += [f'<tr><th scope="row">{escape(label)}</th><td>{_cell(v)}</td></tr>' for label, v in items.items()]
    return (
        f'{_STYLE}<table class="cf-table cf-record"><caption>{escape(title)}</caption>'
        f"<tbody>{''.join(rows)}</tbody></table>"
    )


def labelled(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``record`` with its field names as labels: ``lawful_basis`` → ``Lawful basis``, ``dpo`` → ``DPO``."""
    return {"DPO" if key == "dpo" else key.replace("_", " ").capitalize(): value for key, value in record.items()}


def _cell(value: Any) -> str:
    if isinstance(value, Iterable) and not isinstance(value, str):
        items = list(value)
        return "<ul>" + "".join(f"<li>{escape(str(v))}</li>" for v in items) + "</ul>" if items else "–"
    return escape(str(value)) if value not in (None, "") else "–"
