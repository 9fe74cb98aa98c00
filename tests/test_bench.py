"""The table of ``bench.py``, without measuring anything: each row says its bar and its protocol."""

from __future__ import annotations

import io
import re
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    import bench

    return bench


@pytest.fixture
def timing(bench: ModuleType) -> ModuleType:
    import bench_timing

    return bench_timing


def test_each_row_names_its_bar_and_protocol(bench: ModuleType, timing: ModuleType) -> None:
    names = [(row.section, row.name) for row in bench.BENCHMARKS]
    assert len(set(names)) == len(names)
    for row in bench.BENCHMARKS:
        assert len(row.protocol) > 5, row.name
        for bar in row.bars:
            found = re.fullmatch(r"[≥≤] [\d.e-]+(× ?|\b.*)", bar)
            assert found, bar
            assert ("×" in bar) <= (bool(row.peer) and row.unit in timing.SCALE), row.name
            assert "×" in bar or bar.endswith(row.unit) or row.unit.startswith("%"), bar


def test_each_row_has_a_measurement_of_its_name(bench: ModuleType) -> None:
    source = "".join(path.read_text("utf-8") for path in Path(__file__).parent.glob("bench_*.py"))
    yielded = re.findall(r'yield f?"([^"]+)"', source)
    patterns = ["".join(".*" if part.startswith("{") else re.escape(part) for part in re.split(r"(\{[^}]*\})", text))
                for text in yielded]  # fmt: skip
    for row in bench.BENCHMARKS:
        assert any(re.fullmatch(pattern, row.name) for pattern in patterns), row.name


def test_sides_take_turns_after_one_warm_up(bench: ModuleType, timing: ModuleType) -> None:
    order: list[str] = []
    found = timing.side_by_side(
        lambda turn: order.append(f"a{turn}"), lambda turn: order.append(f"b{turn}"), turns=3, items=2
    )
    assert order == ["a0", "b0", "a1", "b1", "a2", "b2", "a3", "b3"]
    assert [len(found.samples[side]) for side in ("ours", "peer")] == [3, 3]
    assert found.ours == tuple(sorted(one[clock] for one in found.samples["ours"])[1] for clock in (0, 1))


def test_the_wall_clock_decides_and_a_different_cpu_time_is_said(bench: ModuleType) -> None:
    row = bench.Benchmark("crime", "a", "ms", ("≥ 3×", "≤ 35 ms"), "b", "a protocol")
    fast = bench.Measured((0.010, 0.020), (0.040, 0.040))
    assert row.ratios(fast) == (4.0, 2.0)
    assert [row.verdict(bar, fast) for bar in row.bars] == ["met (CPU: missed)", "met"]
    slow = bench.Measured((0.040, 0.050), (0.040, 0.040))
    assert [row.verdict(bar, slow) for bar in row.bars] == ["missed", "missed"]
    rate = row._replace(unit="/s", bars=())
    assert rate.shown((0.5, 0.25)) == (2.0, 4.0)
    share = row._replace(unit="%", bars=("≥ 90 %", "≤ 98 %"))
    assert [share.verdict(bar, bench.Measured((99.0,))) for bar in share.bars] == ["met", "missed"]
    assert share.verdict("≥ 90 %", bench.Measured((99.0,), unjudged="N < 100")) == "not judged: N < 100"


def test_the_table_shows_what_was_skipped_and_why(bench: ModuleType) -> None:
    from rich.console import Console

    row = bench.BENCHMARKS[0]
    console = Console(width=160, file=io.StringIO())
    console.print(bench.as_table({row: "skipped: dlib is not installed"}, "title"))
    text = console.file.getvalue()
    assert "skipped: dlib is not installed" in text
    assert row.bars[0] in text


def test_real_data_is_asked_for(bench: ModuleType) -> None:
    with pytest.raises(bench.Skipped, match="CRIMEFACE_DATA_ROOT"):
        bench.Options(False, None, Path()).real("crime")
