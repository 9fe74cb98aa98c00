"""The table of attacks: each test of this folder is a row, and README shows what came of it.

``python tests/adversarial/test_table.py`` runs the attacks and writes ``results.json`` and README's table anew.
"""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import xml.etree.ElementTree
from pathlib import Path

HERE = Path(__file__).resolve().parent
README = HERE.parents[1] / "README.md"
RESULTS = HERE / "results.json"
MARKS = ("<!-- attacks -->", "<!-- /attacks -->")
AREAS = ("storage", "evidence", "governance", "workflow", "recognition")


def read_attacks() -> list[dict[str, str]]:
    """Return area, test, attack, what should happen, and why it does not, from the docstrings of the tests."""
    rows = []
    for area in AREAS:
        for node in ast.parse((HERE / f"test_{area}.py").read_text()).body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                told = [" ".join(part.split()) for part in (ast.get_docstring(node) or "").split("→")]
                unmet = node.name.startswith("test_not_met_")
                assert len(told) == 2 + unmet, f"{node.name}: attack → what should happen"
                rows.append(
                    {"area": area, "test": node.name, "attack": told[0], "expected": told[1], "why": told[-1] * unmet}
                )
    return rows


def run_attacks() -> list[dict[str, str]]:
    """Return the rows with what came of each: ``met``, ``not met`` or ``failed``."""
    report = HERE / "junit.tmp"
    command = [sys.executable, "-m", "pytest", str(HERE), "-q", "-p", "no:cacheprovider", f"--junitxml={report}"]
    command += [f"--ignore={HERE / 'test_table.py'}"]
    subprocess.run(command, cwd=HERE.parents[1], check=False)
    failed, seen = set(), set()
    for case in xml.etree.ElementTree.parse(report).iter("testcase"):
        name = (case.get("name") or "").split("[")[0]
        seen.add(name)
        if len(case):  # a failure, an error or a skip
            failed.add(name)
    report.unlink()
    rows = read_attacks()
    for row in rows:
        ran = row["test"] in seen and row["test"] not in failed
        row["result"] = ("not met" if row["why"] else "met") if ran else "failed"
    return rows


def render(rows: list[dict[str, str]]) -> str:
    """Return README's table, attacks that succeed last."""
    lines = ["| against | attack | what should happen | result |", "|---|---|---|---|"]
    for row in sorted(rows, key=lambda row: row["result"] != "met"):
        result = f"**{row['result']}**: {row['why']}" if row["why"] else row["result"]
        cells = [row["area"], row["attack"], row["expected"], result]
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines)


def shown() -> str:
    text = README.read_text()
    return re.search(f"{MARKS[0]}\n(.*?)\n{MARKS[1]}", text, flags=re.S)[1]  # type: ignore[index]


def test_every_attack_is_in_the_results_and_none_failed():
    rows = json.loads(RESULTS.read_text())
    assert [{k: v for k, v in row.items() if k != "result"} for row in rows] == read_attacks()
    assert {row["result"] for row in rows} == {"met", "not met"}


def test_readme_shows_the_results():
    assert shown() == render(json.loads(RESULTS.read_text()))


if __name__ == "__main__":
    results = run_attacks()
    RESULTS.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n")
    README.write_text(README.read_text().replace(shown(), render(results)))
