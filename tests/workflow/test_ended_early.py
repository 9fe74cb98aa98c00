"""A run that ended before its notebook began: its page says why, and what was asked, and no path of this machine."""

from __future__ import annotations

import re

import pytest

from crimeface_lib.synthetic import synthetic_crimes, write_police_uk

PAGE = r'class="cf-message">(.*?)</p>'


@pytest.mark.parametrize(
    ("asked", "code", "heading", "reason"),
    [
        ({"crime": "no-zip.zip"}, 2, "The run failed", "got neither a folder, a zip nor a CSV"),
        ({"crime": "town.zip", "predict": "true"}, 3, "The run was refused", "no account"),
    ],
)
def test_its_page_gives_the_reason_first(workplace, asked, code, heading, reason):
    (workplace.root / "no-zip.zip").write_bytes(b"PK no zip")
    write_police_uk(synthetic_crimes(months=3, per_month=20, rng=1).table, workplace.root / "town.zip")
    asked = {"predict": "false", **asked, "crime": workplace.root / asked["crime"]}
    pairs = [text for name, value in asked.items() for text in ("-p", f"{name}={value}")]
    assert workplace.run_cli("run", "crime_overview", *pairs)[0] == code
    (run,) = workplace.runs()
    html = (run / "crime_overview.html").read_text("utf-8")
    assert html.index(heading) < html.index("What was asked") < html.index("make_grid.cell")
    assert reason in re.search(PAGE, html, flags=re.DOTALL)[1]
    assert str(workplace.root) not in html
    assert "Sign-off" not in html
    assert f"{run.name}/crime_overview.html" in (workplace.reports / "index.html").read_text("utf-8")
