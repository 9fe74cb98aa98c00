"""A workplace of its own for each test, and one finished demonstration for all that look at its results."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from crimeface_lib.core.settings import Settings


@dataclass(frozen=True)
class Workplace:
    root: Path
    run_cli: object

    @property
    def reports(self) -> Path:
        return self.root / "reports"

    def runs(self) -> list[Path]:
        return sorted(path.parent for path in self.reports.glob("*/run.json"))


def _environment(patch: pytest.MonkeyPatch, root: Path) -> None:
    for name in Settings.model_fields:
        patch.delenv(f"CRIMEFACE_{name.upper()}", raising=False)
    patch.setenv("CRIMEFACE_TOKEN", "")  # what a test signs in with ends with the test
    patch.setenv("CRIMEFACE_HOME", str(root / "home"))
    patch.setenv("CRIMEFACE_REPORTS_DIR", str(root / "reports"))
    patch.setenv("CRIMEFACE_CACHE_DIR", str(root / "cache"))


@pytest.fixture
def workplace(tmp_path, monkeypatch, capsys) -> Workplace:
    """Empty stores and reports; ``run_cli(*arguments)`` returns (exit code, what was printed)."""
    from crimeface_lib.workflow.cli import main

    _environment(monkeypatch, tmp_path)

    def run_cli(*arguments: object) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["crimeface", *map(str, arguments)])
        capsys.readouterr()
        try:
            main()
            code = 0
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else 0 if stop.code is None else 1
        printed = capsys.readouterr()
        return code, printed.out + printed.err

    return Workplace(tmp_path, run_cli)


@pytest.fixture(scope="session")
def demo_run(tmp_path_factory) -> Path:
    """The folder of one finished ``crimeface demo``, run as a user runs it."""
    root = tmp_path_factory.mktemp("demo")
    with pytest.MonkeyPatch.context() as patch:
        _environment(patch, root)
        command = [Path(sys.executable).with_name("crimeface"), "demo"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "approved by demo-approver" in done.stdout
    return Path(re.search(r"^run +(.+)$", done.stdout, flags=re.M)[1])
