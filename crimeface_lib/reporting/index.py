"""The list of runs: one page, read from each run's own record, that opens from disk."""

from __future__ import annotations

import json
from os import PathLike
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote

from crimeface_lib.core.errors import NotFoundError
from crimeface_lib.core.files import write_atomic
from crimeface_lib.reporting._contents import typeset
from crimeface_lib.reporting.publish import POLICY, STATUSES, environment, format_started, page_css

_PICTURES = {".png", ".jpg", ".jpeg", ".svg", ".webp"}


def publish_index(reports_dir: str | PathLike[str]) -> Path:
    """Write ``index.html`` into ``reports_dir``: each ``<run id>/run.json`` a row, newest first.

    A record that can't be read is listed as such, never left out.

    Raises
    ------
    NotFoundError : no such folder.
    """
    folder = Path(reports_dir)
    if not folder.is_dir():
        raise NotFoundError(f"no folder of reports at {folder}; run a notebook first")
    runs = sorted((_read_run(path) for path in folder.glob("*/run.json")), key=lambda run: run["sort"], reverse=True)
    page = environment().get_template("index.html.j2").render(policy=POLICY, css=page_css(), runs=runs)
    target = folder / "index.html"
    write_atomic(target, page.encode())
    return target


def _read_run(path: Path) -> dict[str, Any]:
    """Return what the page shows of one run."""
    name = path.parent.name
    try:
        record = json.loads(path.read_text("utf-8"))
        if not isinstance(record, dict):
            raise ValueError("not an object")
    except (OSError, ValueError) as error:
        record = {"status": "unreadable", "reason": f"run.json can't be read: {error}"}
    outputs = [link for output in record.get("outputs") or [] if (link := _link(path.parent, output))]
    pages = [link for _, link in outputs if link.endswith(".html")]
    own = [link for link in pages if PurePosixPath(link).stem == record.get("notebook")]  # else the first there is
    figures = [link for _, link in outputs if PurePosixPath(link).parent.name == "figures" and link.endswith(".png")]
    thumbnail = next((link for title, link in outputs if _is_thumbnail(title, link)), next(iter(figures), None))
    links = [(title, link) for title, link in outputs if link.endswith((".html", ".pdf"))]
    return {
        "id": str(record.get("id") or name),
        "title": str(record.get("title") or record.get("notebook") or name),
        "status": status if (status := record.get("status")) in STATUSES else "unreadable",
        "reason": str(record.get("reason") or ""),
        "headline": typeset(str(record.get("headline") or "")),
        "started": format_started(record.get("started")),
        "report": next(iter(own + pages), None),
        "thumbnail": thumbnail,
        "links": links,
        "sort": (str(record.get("started") or ""), name),
    }


def _link(folder: Path, output: Any) -> tuple[str, str] | None:
    """Return title and address of an output inside the run's folder; anything else is not linked."""
    path = PurePosixPath(str(output.get("path", "")) if isinstance(output, dict) else str(output))
    if not path.name or path.is_absolute() or ".." in path.parts:
        return None
    parts = path.parts[1:] if path.parts[0] == folder.name else path.parts
    inside = folder.joinpath(*parts)
    if not inside.is_file():
        return None
    title = (output.get("title") if isinstance(output, dict) else None) or path.name
    return str(title), quote(f"{folder.name}/{'/'.join(parts)}")


def _is_thumbnail(title: str, link: str) -> bool:
    path = PurePosixPath(link)
    return path.suffix.lower() in _PICTURES and (title == "thumbnail" or path.stem == "thumbnail")
