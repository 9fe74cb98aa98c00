"""A DPIA as a page to read, print and file: the whole content, who decided what, and what changed."""

from __future__ import annotations

import tempfile
from datetime import datetime
from os import PathLike
from pathlib import Path
from typing import Any

from crimeface_lib.core.errors import InputError
from crimeface_lib.core.files import write_atomic
from crimeface_lib.governance.dpia import EMPTY, Risk
from crimeface_lib.governance.dpia_record import DpiaDiff, DpiaRecord
from crimeface_lib.reporting.pdf import html_to_pdf
from crimeface_lib.reporting.publish import POLICY, environment, format_started, page_css

#: State → the badge of the house that says as much.
_BADGES = {"approved": "done", "rejected": "refused", "expired": "refused", "withdrawn": "refused"}
_PENDING = "not yet"
_STATES = {"draft": "a draft", "submitted": "submitted, and not approved yet"}


def publish_dpia(
    record: DpiaRecord, out: str | PathLike[str], *, diff: DpiaDiff | None = None, at: datetime,
    chromium: Path | None = None,
) -> Path:  # fmt: skip
    """Write a DPIA as a self-contained page, or as PDF on A4, and return its path.

    Parameters
    ----------
    out : ends in ``.html`` or ``.pdf``.
    diff : what the last version changed. at : the time that the state is of.

    Raises
    ------
    InputError : another ending. MissingBackendError : PDF needs a browser; HTML needs none.
    """
    target = Path(out)
    html = dpia_html(record, diff=diff, at=at)
    if target.suffix.lower() == ".html":
        write_atomic(target, html.encode())
    elif target.suffix.lower() == ".pdf":
        with tempfile.TemporaryDirectory() as folder:
            page, pdf = Path(folder, "dpia.html"), Path(folder, "dpia.pdf")
            page.write_text(html, encoding="utf-8")
            html_to_pdf(page, pdf, chromium=chromium)
            write_atomic(target, pdf.read_bytes())
    else:
        raise InputError(f"out: got {target.name!r}, expected a name that ends in .html or .pdf")
    return target


def dpia_html(record: DpiaRecord, *, diff: DpiaDiff | None = None, at: datetime) -> str:
    """Return the page; every text in it is escaped, and every empty field says so."""
    status, content = record.status, record.content
    parts = content.parts()
    risks = next(heading for heading in parts if heading.startswith("Risks"))
    for shown_elsewhere in (risks, "Need"):
        parts.pop(shown_elsewhere)
    scope = content.scope
    versions = [
        {"Version": v.version, "Written by": v.by, "On": format_started(v.at), "Content hash": v.content_hash}
        for v in record.versions
    ]
    changes = [
        {"Field": field.replace(".", " › "), "Before": _said(before), "After": _said(after)}
        for field, (before, after) in (diff.changes.items() if diff else ())
    ]
    return environment().get_template("dpia.html.j2").render(
        policy=POLICY,
        css=page_css(),
        title=content.title or EMPTY,
        number=status.id,
        version=status.version,
        kind=scope.kind.replace("_", " "),
        state=status.state.replace("_", " "),
        badge=_BADGES.get(status.state, "interrupted"),
        at=format_started(at),
        banners=_banners(record),
        need=content.need or EMPTY,
        permits=[
            f"Purpose: {scope.purpose}",
            f"Data: {', '.join(scope.datasets)}",
            *(f"Model: {model.name}, version {model.version[:24]}" for model in scope.models),
            f"Until {status.review_by} (UTC)" if status.review_by else "No date: it is not approved",
        ],
        leaves=[
            f"Highest residual risk: {content.residual}",
            *(f"{risk.residual}: {risk.risk or EMPTY}" for risk in content.risks),
        ],
        parts=parts,
        after="Necessity and proportionality",
        risks=[_risk_row(number, risk) for number, risk in enumerate(content.risks, start=1)],
        decision=_decision(record),
        versions=versions,
        changes=changes,
        in_force=status.state in ("approved", "review_due"),
        steps=[{"Step": s["step"], "By": s["by"], "On": format_started(s["at"])} for s in record.steps],
    )  # fmt: skip


def _said(value: Any) -> str:
    return "not there" if value is None else EMPTY if value == "" else str(value)


def _banners(record: DpiaRecord) -> list[tuple[str, str]]:
    status, content = record.status, record.content
    banners = []
    if not status.intact:
        banners.append(("Altered.", "The stored content is not what was written: it permits nothing."))
    if status.state not in ("approved", "review_due"):
        why = f" {status.reason}" if status.reason else ""
        banners.append((f"It permits nothing: it is {_STATES.get(status.state, status.state)}.", why))
    if status.state == "review_due":
        banners.append(("Review is due.", f"It holds until {status.review_by} and permits nothing after."))
    if content.demonstration:
        banners.append(("A demonstration.", "Rewrite every field before it covers real data."))
    if empty := content.empty_fields:
        banners.append((f"{len(empty)} fields are empty:", ", ".join(empty) + "."))
    return banners


def _risk_row(number: int, risk: Risk) -> dict[str, Any]:
    measures = [
        f"{m.measure or EMPTY} ({m.effect}, leaves {m.residual}{'' if m.approved else '; not approved'})"
        for m in risk.measures
    ]
    return {
        "No.": number,
        "Risk": risk.risk or EMPTY,
        "Likelihood × severity": f"{risk.likelihood} × {risk.severity}",
        "Inherent": risk.inherent,
        "Measures": measures or "none: the whole risk remains",
        "Residual": risk.residual,
    }


def _decision(record: DpiaRecord) -> list[tuple[str, str]]:
    """Return the rows that sign the assessment; what has not happened yet is named as such."""
    advice, approval, status = record.advice, record.approval, record.status
    given = f"{'favourable' if advice.get('favourable') else 'against'}: {advice.get('text', '')}"
    rows = [
        ("Written by", ", ".join(dict.fromkeys(v.by for v in record.versions))),
        ("DPO's advice", given if advice else _PENDING),
        ("Advised by", f"{advice['by']}, {format_started(advice['at'])}" if advice else _PENDING),
        ("Advice overruled", (approval["overruled"] or "no") if approval else _PENDING),
        ("Approved by", f"{approval['by']}, {format_started(approval['at'])}" if approval else _PENDING),
        ("Review by", approval["review_by"] if approval else _PENDING),
        ("Content approved", approval["content_hash"] if approval else _PENDING),
    ]
    if status.reason:
        rows.append((f"Reason ({status.state})", status.reason))
    return rows
