"""A workplace of its own for each test, and one finished demonstration for all that look at its results."""

from __future__ import annotations

import base64
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from crimeface_lib.core.settings import Settings


class Clock:
    """Tells the time that a test sets."""

    now = datetime.now(UTC)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock():
    return Clock()


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


@pytest.fixture(scope="session")
def traces_of() -> Callable[[np.ndarray], Callable[[bytes], list[str]]]:
    """A function of a template that returns a function of bytes, which names the forms of the template in them.

    Any four of its numbers in a row: as float32 and float64 of either byte order, in base64 at each of its three
    offsets, in hexadecimal, and as decimals of four digits or more, whatever stands between them.
    """

    def of(template: np.ndarray) -> Callable[[bytes], list[str]]:
        forms: dict[str, bytes] = {}
        decimals = []
        for start in range(0, len(template) - 3, 4):
            some = template[start : start + 4]
            for kind in ("<f4", ">f4", "<f8", ">f8"):
                raw = some.astype(kind).tobytes()
                forms[f"{kind} at {start}"] = raw
                forms[f"hex {kind} at {start}"] = raw.hex().encode()
                forms[f"HEX {kind} at {start}"] = raw.hex().upper().encode()
                for offset in range(3):  # letters that neighbouring bytes have a share in are left out
                    text = base64.b64encode(bytes(offset) + raw).rstrip(b"=")
                    forms[f"base64 {kind} at {start}+{offset}"] = text[offset + 1 : -1]
            decimals.append([f"{abs(value):.9f}"[:6].encode() for value in some])

        def found(data: bytes) -> list[str]:
            seen = [name for name, form in forms.items() if form in data]
            for first, *rest in decimals:
                place = data.find(first)
                while place >= 0:
                    after = re.split(rb"[^0-9.]+", data[place : place + 120])[1:4]
                    if (
                        all(text.startswith(digits) for text, digits in zip(after, rest, strict=False))
                        and len(after) == 3
                    ):
                        seen.append("decimals")
                    place = data.find(first, place + 1)
            return seen

        return found

    return of
