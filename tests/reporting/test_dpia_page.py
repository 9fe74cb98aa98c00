"""A DPIA on paper: complete, escaped, every empty field named, decisions and changes in it."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime

import pytest

from crimeface_lib.core.errors import InputError
from crimeface_lib.governance import Dpia, DpiaDiff, DpiaRecord, DpiaStatus, DpiaVersion, template
from crimeface_lib.governance.dpia import flatten
from crimeface_lib.reporting import find_chromium, publish_dpia

AT = datetime(2026, 1, 10, 12, tzinfo=UTC)


def make(content: Dpia, state: str = "approved") -> DpiaRecord:
    approved = state == "approved"
    scope = content.scope
    status = DpiaStatus(
        7, state, 2, content.title, scope.kind, scope.purpose, content.content_hash, intact=True, advised=approved,
        approved_at=AT if approved else None, review_by=date(2026, 6, 30) if approved else None,
    )  # fmt: skip
    signed = {"by": "dpo-1", "person": "p-dpo", "at": "2026-01-09T10:00:00Z"}
    advice = {"text": "Only with <b>evidence</b>.", "favourable": False, **signed} if approved else {}
    approval = {"overruled": "It was given.", "review_by": "2026-06-30", "content_hash": "sha256:00", **signed}
    versions = (DpiaVersion(1, content, "sha256:" + "ab" * 32, "author-1", "2026-01-08T10:00:00Z"),)
    steps = ({"step": "drafted", "by": "author-1", "at": "2026-01-08T10:00:00Z"},)
    return DpiaRecord(status, content, versions, advice, approval if approved else {}, steps)


@pytest.mark.parametrize("kind", ["face_search", "place_prediction"])
def test_every_field_is_on_the_page(kind, tmp_path):
    content = template(kind)
    page = publish_dpia(make(content), tmp_path / "dpia.html", at=AT).read_text()
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page)).replace("&#39;", "'")
    for place, value in flatten(content.to_dict()).items():
        if isinstance(value, str) and place not in ("scope.kind",):
            assert re.sub(r"\s+", " ", value) in text, place
    assert "against: Only with &lt;b&gt;evidence&lt;/b&gt;." in page
    for word in ("It was given.", "dpo-1, 2026-01-09 10:00 UTC", "What it permits", "2026-06-30", "author-1"):
        assert word in page
    assert not re.search(r"""(src|href)=["']https?:""", page)


def test_an_empty_field_is_named_and_what_has_not_happened_too(tmp_path):
    content = template("place_prediction").to_dict()
    content["title"], content["processing"]["retention"], content["risks"][0]["measures"] = "", "", []
    page = publish_dpia(make(Dpia.from_dict(content), "draft"), tmp_path / "d.html", at=AT).read_text()
    assert "2 fields are empty:</strong> title, processing.retention." in page
    assert page.count("EMPTY: to be filled in") >= 2
    assert "It permits nothing: it is a draft." in page
    assert page.count("not yet") >= 6
    assert "What it would permit" in page
    assert "none: the whole risk remains" in page


def test_what_a_version_changed_is_shown(tmp_path):
    diff = DpiaDiff(7, 1, 2, {"need": ("Old.", ""), "scope.datasets.2": (None, "<i>x</i>")})
    page = publish_dpia(make(template("face_search")), tmp_path / "d.html", diff=diff, at=AT).read_text()
    for word in ("What version 2 changed", "scope › datasets › 2", "not there", "&lt;i&gt;x&lt;/i&gt;", "Old."):
        assert word in page


def test_pdf_or_html_and_nothing_else(tmp_path):
    with pytest.raises(InputError, match=r"ends in .html or .pdf"):
        publish_dpia(make(template("face_search")), tmp_path / "d.docx", at=AT)
    try:
        find_chromium()
    except ImportError as error:
        pytest.skip(str(error))
    out = publish_dpia(make(template("face_search")), tmp_path / "d.pdf", at=AT)
    assert out.read_bytes().startswith(b"%PDF")
