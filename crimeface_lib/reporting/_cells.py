"""An executed notebook made ready for the page: parameters, the error and live parts taken out of its cells."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterable
from copy import deepcopy
from dataclasses import dataclass
from html import escape
from html.parser import HTMLParser
from typing import Any

from nbformat import NotebookNode

_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_ONLY_SCRIPTS = re.compile(r"\s*(?:<script\b[^>]*>.*?</script\s*>\s*)+", re.DOTALL | re.IGNORECASE)
_CSS_LOAD = re.compile(r"@import\s+(?:url\()?\s*[\"']?([^\"')\s;]+)|url\(\s*[\"']?([^\"')\s]+)", re.IGNORECASE)
_WIDGET = "application/vnd.jupyter.widget-view+json"
_PLOTLY = "application/vnd.plotly.v1+json"
#: Attributes whose address a browser loads by itself, without a click.
_LOADING = {"src", "srcset", "poster", "data", "background", "xlink:href", "action", "formaction"}


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a run and where its value came from."""

    name: str
    value: Any
    origin: str


@dataclass(frozen=True, slots=True)
class CellError:
    """What stopped a run, for a reader: the message first, the traceback without terminal colours."""

    name: str
    message: str
    cell: int
    skipped: int
    traceback: str


@dataclass(frozen=True, slots=True)
class ReadyNotebook:
    """A notebook without what the page shows elsewhere."""

    notebook: NotebookNode
    title: str
    parameters: tuple[Parameter, ...]
    error: CellError | None
    live: bool


def make_ready(notebook: NotebookNode) -> ReadyNotebook:
    """Return a cleaned copy of an executed notebook; the one given is left as it is."""
    notebook = deepcopy(notebook)
    defaults = _assignments(_tagged(notebook.cells, "parameters"))
    injected = _assignments(_tagged(notebook.cells, "injected-parameters"))
    parameters = tuple(
        Parameter(name, value, "set for this run" if name in injected else "default")
        for name, value in (defaults | injected).items()
    )
    shown = [
        cell
        for cell in notebook.cells
        if not _tags(cell) & {"parameters", "injected-parameters", "papermill-error-cell-tag"}
    ]
    error, notebook.cells = _cut_at_error(notebook.cells, shown)
    title = _take_title(notebook.cells)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [ready for output in cell.outputs if (ready := _ready_output(output)) is not None]
    live = any('class="cf-plotly' in html for html in _html_outputs(notebook.cells))
    return ReadyNotebook(notebook, title, parameters, error, live)


def plotly_markup(figure_json: str) -> str:
    """Return the place where the published page draws a plotly figure."""
    data = figure_json.replace("</", "<\\/")
    return (
        '<div class="cf-plotly cf-interactive"><div></div>'
        f'<script type="application/json">{data}</script></div>'
    )  # fmt: skip


def outside_loads(html: str) -> list[str]:
    """Return the addresses that a browser showing ``html`` would load from elsewhere, in order.

    Links (``<a href>``) are no loads; scripts are not run here: the page's content policy stops theirs.

    >>> outside_loads('<a href="https://a.org">a</a><img src="https://b.org/x.png"><img src="data:,">')
    ['https://b.org/x.png']
    """
    finder = _LoadFinder()
    finder.feed(html)
    finder.close()
    return finder.found


class _LoadFinder(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._in_style = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._in_style = tag == "style"
        for name, value in attrs:
            if not value:
                continue
            if name == "srcdoc":
                self.found += outside_loads(value)
            elif name == "style":
                self._css(value)
            elif name in _LOADING or (name == "href" and tag in {"link", "base", "image", "use"}):
                self._note(value)

    def handle_data(self, data: str) -> None:
        if self._in_style:
            self._css(data)

    def handle_endtag(self, tag: str) -> None:
        self._in_style = False

    def _css(self, text: str) -> None:
        for pair in _CSS_LOAD.findall(text):
            self._note(pair[0] or pair[1])

    def _note(self, address: str) -> None:
        if not address.strip().lower().startswith(("data:", "#", "blob:", "about:")):
            self.found.append(address.strip()[:200])


def _tags(cell: NotebookNode) -> set[str]:
    return set(cell.metadata.get("tags", []))


def _tagged(cells: Iterable[NotebookNode], tag: str) -> str:
    return "\n".join(cell.source for cell in cells if tag in _tags(cell))


def _assignments(source: str) -> dict[str, Any]:
    """Return what a parameters cell assigns: literals as values, anything else as its source."""
    found: dict[str, Any] = {}
    try:
        statements = ast.parse(source).body
    except SyntaxError:
        return {"source": source}
    for statement in statements:
        if isinstance(statement, ast.Assign):
            names, value = statement.targets, statement.value
        elif isinstance(statement, ast.AnnAssign) and statement.value is not None:
            names, value = [statement.target], statement.value
        else:
            continue
        try:
            content = ast.literal_eval(value)
        except ValueError:
            content = ast.unparse(value)
        found |= {ast.unparse(name): content for name in names}
    return found


def _cut_at_error(every: list[NotebookNode], shown: list[NotebookNode]) -> tuple[CellError | None, list[NotebookNode]]:
    """Return the error, if any, and the cells up to the one that raised it."""
    for place, cell in enumerate(shown):
        errors = [o for o in cell.get("outputs", []) if o.output_type == "error"]
        if errors:
            code = [c for c in every if c.cell_type == "code"]
            skipped = sum(c.cell_type == "code" for c in shown[place + 1 :])
            text = _ANSI.sub("", "\n".join(errors[0].traceback))
            number = next(i for i, c in enumerate(code, 1) if c is cell)
            message = errors[0].evalue.strip() or errors[0].ename
            return CellError(errors[0].ename, message, number, skipped, text), shown[: place + 1]
    return None, shown


def _take_title(cells: list[NotebookNode]) -> str:
    """Remove the notebook's first-level heading and return its text: the page shows it as its title."""
    for cell in cells:
        if cell.cell_type == "markdown" and (found := re.match(r"\s*# +(.+?)\s*(?:\n|$)", cell.source)):
            cell.source = cell.source[found.end() :]
            return found[1]
    return ""


def _html_outputs(cells: Iterable[NotebookNode]) -> Iterable[str]:
    for cell in cells:
        for output in cell.get("outputs", []):
            yield _joined(output.get("data", {}).get("text/html", ""))


def _joined(text: str | list[str]) -> str:
    return text if isinstance(text, str) else "".join(text)


def _ready_output(output: NotebookNode) -> NotebookNode | None:
    """Return the output as the page shows it, or None for what has no place on paper."""
    if output.output_type == "stream":
        lines = (line.rstrip("\r").rpartition("\r")[2] for line in _joined(output.text).split("\n"))
        output.text = "\n".join(lines)  # of a progress bar the last state is left
        return output if output.text.strip() else None
    if output.output_type == "error":
        return output
    data = output.data
    html = _joined(data.get("text/html", ""))
    if _PLOTLY in data and "cf-plotly" not in html:
        data["text/html"] = plotly_markup(json.dumps(data[_PLOTLY]))
    elif _WIDGET in data and not html and not any(kind.startswith("image/") for kind in data):
        data["text/html"] = (
            '<p class="cf-note cf-interactive">A live widget stood here: open the notebook to use it.</p>'
        )
        if re.match(r"(HBox|VBox|FloatProgress|IntProgress|Output)\b|\s*\d+%\|", _joined(data.get("text/plain", ""))):
            return None  # a progress bar
    elif html and _ONLY_SCRIPTS.fullmatch(html):
        return None
    elif found := outside_loads(html):
        addresses = escape(", ".join(found))
        data["text/html"] = f'<p class="cf-note">Left out: this output would load {addresses} from elsewhere.</p>'
    data.pop(_WIDGET, None)
    data.pop(_PLOTLY, None)
    return output
