"""An executed notebook becomes one HTML file that opens from disk and asks nothing of the network.

The page's order is fixed: what went wrong (if it did), whether the method is validated, what was asked, what
was found, what it can't say; then the list of figures and tables, and these; then provenance; then two
people's sign-off.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crimeface_lib.core.clock import from_iso
from crimeface_lib.core.errors import InputError, NotFoundError
from crimeface_lib.core.files import write_atomic
from crimeface_lib.core.results import to_plain
from crimeface_lib.reporting.style import css_variables
from crimeface_lib.reporting.tables import is_date

if TYPE_CHECKING:
    import jinja2
    from nbformat import NotebookNode

TEMPLATES = Path(__file__).with_name("templates")

#: What a report may load: what it carries. k3d compiles its code on arrival, hence 'unsafe-eval'.
POLICY = (
    "default-src 'none'; img-src data: blob: 'self' file:; style-src 'unsafe-inline'; font-src data:; "
    "script-src 'unsafe-inline' 'unsafe-eval' blob:; worker-src blob:; connect-src data: blob:; "
    "frame-src 'self' data: blob:; base-uri 'none'; form-action 'none'"
)
#: Sections whose names are code: shown as they are.
_VERBATIM = ("parameters", "code", "versions")
STATUSES = ("done", "failed", "refused", "interrupted")


@dataclass(frozen=True, slots=True)
class Cover:
    """What a reader learns before any figure.

    Parameters
    ----------
    asked, found, cannot_say : one sentence or several, plain text.
    status : done, failed, refused or interrupted; ``reason`` says why for the last three.
    started : when the run began.
    validation_id : the method validation this run stands on; without one the page says
        "not validated for casework".
    draft : why the page must not be passed on yet; a banner says it.
    decisions : of the reviewers, for the sign-off: one mapping each with by, decision, reason and at.
    """

    asked: str | Sequence[str]
    found: str | Sequence[str]
    cannot_say: str | Sequence[str]
    title: str = ""
    run_id: str = ""
    status: str = "done"
    reason: str = ""
    started: datetime | str | None = None
    validation_id: str | None = None
    draft: str = ""
    decisions: Sequence[Mapping[str, str]] = ()

    def __post_init__(self) -> None:
        if self.status not in STATUSES:
            raise InputError(f"status: got {self.status!r}, expected one of {', '.join(STATUSES)}")


def publish_notebook(
    executed: NotebookNode | str | PathLike[str],
    out_html: str | PathLike[str],
    *,
    cover: Cover | None = None,
    provenance: Mapping[str, Any] | None = None,
    title: str = "",
) -> Path:
    """Write an executed notebook as a self-contained report and return its path.

    Parameters
    ----------
    executed : the notebook after its run, or its path; one that stopped at an error is published as failed.
    provenance : section name → mapping, list of mappings or plain value: inputs with hashes, models with
        licence, DPIA, versions, seeds, device. The notebook's parameters are added unless a section has that name.
    title : else the cover's, else the notebook's first heading.

    Raises
    ------
    NotFoundError : no notebook at that path.
    InputError : not a notebook, or a text cell loads something from elsewhere.
    """
    from crimeface_lib.reporting._cells import make_ready, outside_loads
    from crimeface_lib.reporting._contents import number_parts, typeset

    ready = make_ready(_read_notebook(executed))
    body = _render_cells(ready.notebook)
    if found := outside_loads(body):
        raise InputError(
            f"text cells load {', '.join(found)}; expected none from elsewhere: attach the picture to the cell"
        )
    body, contents = number_parts(typeset(body))
    facts, sections = _split_provenance(provenance or {})
    status = cover.status if cover else "done"
    page = environment().get_template("report.html.j2").render(
        policy=POLICY,
        css=page_css(),
        title=title or (cover.title if cover else "") or ready.title or "Report",
        run_id=cover.run_id if cover else "",
        started=format_started(cover.started) if cover else "",
        validation_id=(cover.validation_id or "").strip() if cover else "",
        draft=cover.draft if cover else "",
        decisions=list(cover.decisions) if cover else [],
        status="failed" if ready.error and status == "done" else status,
        reason=cover.reason if cover else "",
        error=ready.error,
        cover=_cover_lines(cover) if cover else None,
        body=_trusted(body),
        contents=contents,
        verbatim=_VERBATIM,
        parameters=() if "parameters" in (provenance or {}) else ready.parameters,
        facts_alone=facts,
        sections=sections,
        plotly=_trusted(_plotly_bundle()) if ready.live else "",
    )  # fmt: skip
    target = Path(out_html)
    write_atomic(target, page.encode())
    return target


@cache
def environment() -> jinja2.Environment:
    """Return the page templates' environment: everything is escaped unless trusted by name."""
    import jinja2

    env = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    env.tests["digest"] = lambda text: re.fullmatch(r"(sha(256|512):)?[0-9a-f]{32,128}", text) is not None
    env.tests["date"] = is_date
    env.filters["words"] = _words
    env.filters["day"] = format_started
    env.filters["columns"] = lambda rows: list(dict.fromkeys(key for row in rows for key in row))
    return env


def page_css() -> Any:
    """Return the style sheet with the palette filled in, trusted as it is our own file."""
    return _trusted(css_variables() + (TEMPLATES / "report.css").read_text("utf-8"))


def format_started(at: datetime | str | None) -> str:
    """Return a start time as a reader reads it; anything that is no time is shown as it stands.

    >>> format_started("2026-03-01T09:12:05Z")
    '2026-03-01 09:12 UTC'
    """
    if not at:
        return ""
    try:
        moment = from_iso(at) if isinstance(at, str) else at
    except InputError:
        return str(at)
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def _trusted(html: str) -> Any:
    from markupsafe import Markup

    return Markup(html)


def _words(key: str) -> str:
    """Return a key as a label.

    >>> _words("input_hashes"), _words("DPIA")
    ('Input hashes', 'DPIA')
    """
    text = str(key).replace("_", " ")
    if text.lower() in {"id", "dpia", "sha256", "sha512", "url", "crs"}:
        return {"sha256": "SHA-256", "sha512": "SHA-512"}.get(text.lower(), text.upper())
    return text[:1].upper() + text[1:]


def _read_notebook(executed: NotebookNode | str | PathLike[str]) -> NotebookNode:
    import nbformat

    if isinstance(executed, nbformat.NotebookNode):
        return executed
    path = Path(executed)
    if not path.is_file():
        raise NotFoundError(f"no notebook at {path}; run it first")
    try:
        return nbformat.read(path, as_version=4)
    except (nbformat.reader.NotJSONError, nbformat.ValidationError) as error:
        raise InputError(f"{path.name}: got a file that is no notebook ({error}), expected .ipynb") from error


def _cover_lines(cover: Cover) -> dict[str, list[str]]:
    from crimeface_lib.reporting._contents import typeset

    def lines(text: str | Sequence[str]) -> list[str]:
        return [typeset(line) for line in ([text] if isinstance(text, str) else text)] or ["–"]

    return {"asked": lines(cover.asked), "found": lines(cover.found), "cannot_say": lines(cover.cannot_say)}


def _split_provenance(provenance: Mapping[str, Any]) -> tuple[list[tuple[str, Any]], list[tuple[str, Any]]]:
    """Return plain values, shown in one table, and sections that make a table each."""
    plain = to_plain(dict(provenance))
    facts: list[tuple[str, Any]] = []
    sections: list[tuple[str, Any]] = []
    for name, content in plain.items():
        records = isinstance(content, list) and content and all(isinstance(row, dict) for row in content)
        (sections if records or (isinstance(content, dict) and content) else facts).append((name, content))
    return facts, sections


def _render_cells(notebook: NotebookNode) -> str:
    from nbconvert import HTMLExporter

    from crimeface_lib.reporting._markdown import markdown_to_html

    exporter = HTMLExporter(
        template_name="crimeface",
        extra_template_basedirs=[str(TEMPLATES)],
        filters={"markdown2html": markdown_to_html},
        config={
            "NbConvertBase": {
                "display_data_priority": [
                    "text/html", "image/svg+xml", "image/png", "image/jpeg", "text/markdown", "text/plain",
                ]
            }
        },
    )  # fmt: skip
    body, _ = exporter.from_notebook_node(notebook)
    return body


@cache
def _plotly_bundle() -> str:
    from plotly.offline import get_plotlyjs

    return get_plotlyjs().replace("</script", "<\\/script")
