"""Sweeps and comparisons: a grid of runs, one that fails or loses its kernel, going on, and the page over all."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from crimeface_lib.core.errors import ConfigError, InputError, MissingBackendError, NotFoundError
from crimeface_lib.core.settings import load_settings
from crimeface_lib.workflow import compare_runs, load_config, sweep
from crimeface_lib.workflow.config import config_path
from crimeface_lib.workflow.sweep import Point, load_sweep, plan_sweep, run_sweep


def points(*names):
    return sweep.Sweep("20260101-000000-sweep-x", "crime_overview", {}, None, [Point({"seed": n}) for n in names])


def settle(name, overrides, *, resume=None, began=None, config=None, settings):
    """Stand in for ``run_job``: 1 is well, 2 is refused, 3 loses its kernel at first, 4 always."""
    from nbclient.exceptions import DeadKernelError

    from crimeface_lib.core.errors import RefusedError

    number = int(resume.split("-")[-1]) if resume else overrides["seed"]
    folder = settings.reports / f"run-{number}"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "run.json").write_text('{"status": "interrupted"}', "utf-8")
    if began:
        began(folder)
    if number == 2:
        raise RefusedError("no approved DPIA")
    if number == 4 or (number == 3 and not resume):
        raise DeadKernelError("Kernel died")
    return folder


@pytest.fixture
def here(workplace, monkeypatch):
    """Run the points in this process, by turns."""
    from concurrent.futures import Future
    from contextlib import contextmanager

    @contextmanager
    def submitting(workers, scheduler):
        def submit(function, *arguments):
            future = Future()
            future.set_result(function(*arguments))
            return future

        yield submit, iter

    monkeypatch.setattr(sweep, "_submitting", submitting)

    def run_apart(id, place):
        sweep.run_here(id, place)
        return load_sweep(id).points[place]

    monkeypatch.setattr(sweep, "run_job", settle)
    monkeypatch.setattr(sweep, "run_apart", run_apart)
    return workplace


def test_each_ending_is_kept_and_only_what_is_not_done_runs_again(here, monkeypatch):
    seen = []
    found = run_sweep(points(1, 2, 3, 4), progress=lambda point: seen.append(point.status))
    assert seen == ["done", "refused", "done", "failed"]
    assert [point.attempts for point in found.points] == [1, 1, 2, 2]
    assert [point.exit_code for point in found.points] == [0, 3, 0, 1]
    assert "Kernel died" in found.points[3].reason
    kept = load_sweep(found.id)
    assert kept == found
    ran = []
    monkeypatch.setattr(sweep, "run_job", lambda *a, resume=None, **k: ran.append(resume))
    assert [point.status for point in run_sweep(kept).points] == ["done"] * 4
    assert ran == ["run-2", "run-4"]


def test_every_combination_is_checked_before_anything_runs(workplace):
    found = plan_sweep("crime_overview", {"make_grid.cell": [250, 500], "seed": [1, 2]}, {"crime": "x.zip"})
    assert [point.parameters for point in found.points][1] == {"make_grid.cell": 250, "seed": 2}
    with pytest.raises(ConfigError, match=r"make_grid.cell"):
        plan_sweep("crime_overview", {"make_grid.cell": [250, -1]}, {"crime": "x.zip"})
    with pytest.raises(InputError, match="given for the grid and for all runs"):
        plan_sweep("crime_overview", {"seed": [1]}, {"crime": "x.zip", "seed": 2})
    with pytest.raises(InputError, match="1 to 1,000"):
        plan_sweep("crime_overview", {"seed": range(1001)}, {"crime": "x.zip"})
    with pytest.raises(InputError, match="got nothing"):
        plan_sweep("crime_overview", {}, {"crime": "x.zip"})
    with pytest.raises(InputError, match="no sweep"):
        load_sweep("other")
    with pytest.raises(ConfigError, match="no path"):
        load_sweep("../other")


def test_one_force_of_several_may_be_asked_for_by_its_short_name(workplace, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = plan_sweep("crime_forecast", {"horizon": [1, 3], "force": ["merseyside"]}, {"crime": "x.zip"})
    assert found.shared["crime"] == str(tmp_path / "x.zip"), "gone on with from anywhere"
    cfg = load_config(config_path("crime_forecast"), {**found.shared, **found.points[1].parameters})
    assert (cfg.horizon, cfg.read_events.force, cfg.read_events.layout) == (3, "merseyside", "police.uk")
    with pytest.raises(ConfigError, match="expected one of them"):
        plan_sweep("crime_forecast", {"force": ["a"]}, {"crime": "x.zip", "read_events.force": "b"})


@pytest.mark.parametrize(
    ("does", "attempts", "reason"),
    [
        ("import os; os.kill(os.getpid(), 9)", 2, "ended with -9"),
        ("raise SystemExit('no such folder')", 1, "ended with 1: no such folder"),
    ],
)
def test_a_point_whose_process_dies_is_a_failed_one(workplace, monkeypatch, does, attempts, reason):
    monkeypatch.setattr(sweep, "_POINT", does)
    found = run_sweep(points(1, 2), workers=2)
    assert [(point.status, point.attempts, point.exit_code) for point in found.points] == [("failed", attempts, 1)] * 2
    assert reason in found.points[0].reason
    assert load_sweep(found.id) == found


def test_points_run_on_a_cluster_and_one_that_is_lost_there_stops_none(workplace, monkeypatch):
    distributed = pytest.importorskip("distributed", reason="no Dask: pip install 'crimeface-lib[distributed]'")

    def run_apart(id, place):
        if place == 1:
            raise RuntimeError("its worker died too often")
        sweep._keep(id, place, Point({"seed": place}, status="done"), load_settings())
        return load_sweep(id).points[place]

    monkeypatch.setattr(sweep, "run_apart", run_apart)
    options = {
        "n_workers": 1,
        "threads_per_worker": 2,
        "processes": False,
        "protocol": "tcp",
        "dashboard_address": None,
    }
    with distributed.LocalCluster(host="127.0.0.1", **options) as cluster:
        found = run_sweep(points(0, 1, 2), scheduler=cluster.scheduler_address)
    assert [point.status for point in found.points] == ["done", "failed", "done"]
    assert "died too often" in found.points[1].reason


def test_a_scheduler_that_does_not_answer_is_named(workplace, monkeypatch):
    distributed = pytest.importorskip("distributed", reason="no Dask: pip install 'crimeface-lib[distributed]'")
    monkeypatch.setattr(distributed, "Client", lambda *a, **k: (_ for _ in ()).throw(OSError("timed out")))
    with pytest.raises(InputError, match="dask scheduler"):
        run_sweep(points(1), scheduler="tcp://127.0.0.1:1")


def test_a_scheduler_needs_dask(workplace, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(MissingBackendError, match=r"crimeface-lib\[distributed\]"):
        run_sweep(points(1), scheduler="tcp://127.0.0.1:1")


STRUCK = """
import os, signal
from crimeface_lib.workflow import execute, job, sweep
killed, plain = [], execute.run_notebook
def strike(name, *, progress=None, **options):
    def cell_done(*_):
        while execute._KERNELS and not killed:
            os.killpg(execute._KERNELS.pop(), signal.SIGKILL)
            killed.append(1)
    return plain(name, progress=cell_done, **options)
job.run_notebook = strike
if __name__ == "__main__":
    found = sweep._run_point(sweep.Sweep("x", "governance_review", {}, None), sweep.Point({}))
    print(found.status, found.attempts, len(killed), found.reason)
"""


@pytest.mark.slow
def test_a_kernel_killed_from_outside_is_tried_again(workplace):
    """The real thing: papermill, a kernel, and the out-of-memory killer's signal; in a process that can leave mess."""
    done = subprocess.run([sys.executable, "-c", STRUCK], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "done 2 1", done.stdout + done.stderr


@pytest.mark.slow
def test_a_sweep_stopped_by_hand_goes_on_and_ends_with_a_page_that_compares(workplace):
    command = [Path(sys.executable).with_name("crimeface"), "sweep"]
    asked = ["governance_review", "--grid", "since=2026-01-01,2026-02-01"]
    begun = subprocess.Popen([*command, *asked], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    kept = workplace.root / "home" / "sweeps"
    while begun.poll() is None and len(list(kept.glob("*/*.json"))) < 2:
        time.sleep(0.1)
    begun.send_signal(signal.SIGINT)
    said = begun.communicate()[1]
    assert begun.returncode == 130, said
    (id,) = (path.stem for path in kept.glob("*.json"))
    assert {point.status for point in load_sweep(id).points} == {"interrupted"}
    interrupted = {path.name for path in workplace.runs()}
    done = subprocess.run([*command, "--resume", id], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert {point.run for point in load_sweep(id).points} == interrupted, "each went on with its own run"
    page = next(path for path in workplace.runs() if "compare" in path.name)
    steps = json.loads((page / "steps" / "compare_runs.json").read_text("utf-8"))
    assert "They differ in 1 parameter." in steps["found"]
    assert [entry["role"] for entry in steps["inputs"]] == ["run 1", "run 2"]
    assert steps["results"]["differences"] == [{"run": "1", "since": "2026-01-01"}, {"run": "2", "since": "2026-02-01"}]


CODE = {"commit": "c0ffee" * 6, "changed_since_commit": False, "packages": {"numpy": "2.4.6"}}


def make_run(reports, name, results, *, cell=250.0, sha="a" * 64):
    folder = reports / name
    (folder / "steps").mkdir(parents=True)
    step = {"parameters": {"make_grid": {"cell": cell}}, "inputs": [{"role": "crime", "sha256": sha}],
            "models": [{"model": "kde", "version": "1"}], "results": results}  # fmt: skip
    manifest = {"id": name, "notebook": "crime_overview", "status": "done", "started": "2026-01-01T00:00:00Z",
                "headline": "", "code": CODE, "outputs": []}  # fmt: skip
    (folder / "steps" / "crime_overview.json").write_text(json.dumps(step), "utf-8")
    (folder / "run.json").write_text(json.dumps(manifest), "utf-8")


def test_only_what_differs_is_shown_and_rows_are_known_by_their_words(tmp_path):
    pai = [{"model": "kde", "area": 0.01, "pai": 8.0}, {"model": "kde", "area": 0.05, "pai": 5.0}]
    make_run(tmp_path, "a", {"pai": pai, "hot": {"cells": 10, "alpha": 0.05}, "once": 1})
    moved = [{"model": "kde", "area": 0.05, "pai": 6.0}, {"model": "kde", "area": 0.01, "pai": 8.0}]
    more = {"model": "glm", "area": 0.01, "pai": 1.0}
    make_run(tmp_path, "b", {"pai": [*moved, more], "hot": {"cells": 40, "alpha": 0.05}}, cell=100.0, sha="b" * 64)
    found = compare_runs(["a", "b"], reports=tmp_path)
    assert found.results[["table", "row", "column", "1", "2", "range"]].to_numpy().tolist() == [
        ["hot", "", "cells", 10, 40, 30],
        ["pai", "model kde, area 0.05", "pai", 5, 6, 1],
    ]
    assert found.same == 2
    assert found.only == ("once (crime_overview): in runs 1", "1 rows of pai (crime_overview): not in all runs")
    assert found.differences[["what", "name"]].to_numpy().tolist() == [
        ["parameter", "crime_overview.make_grid.cell"],
        ["input", "crime"],
    ]
    assert found.found()[-1] == "The seal of run 1, 2 does not hold."
    assert found.runs["seal"].str.startswith("does not hold: run.json.sig is missing").all()


def test_many_runs_are_shown_a_row_a_run_and_few_a_row_a_difference(tmp_path):
    for number, cell in enumerate([100.0, 250.0, 500.0], 1):
        make_run(tmp_path, f"r{number}", {"hot": {"cells": 5 * number}}, cell=cell)
    found = compare_runs(["r1", "r2", "r3"], reports=tmp_path)
    assert found.differences_shown().to_dict("records") == [
        {"run": "1", "make_grid.cell": "100.0"},
        {"run": "2", "make_grid.cell": "250.0"},
        {"run": "3", "make_grid.cell": "500.0"},
    ]
    assert found.results_shown().to_dict("records") == [
        {"what differs": "hot, cells", "1": 5, "2": 10, "3": 15, "range": 10}
    ]
    make_run(tmp_path, "r4", {}, cell=1.0, sha="c" * 64)
    two = compare_runs(["r1", "r4"], reports=tmp_path).differences_shown()
    assert two[["what", "name", "1", "2"]].iloc[0].tolist() == ["parameter", "make_grid.cell", "100.0", "1.0"]


def test_runs_are_named_by_id_and_differ(tmp_path):
    make_run(tmp_path, "a", {})
    for runs in (["a"], ["a", "a"], ["a", "../a"]):
        with pytest.raises(InputError, match="expected the ids of two different runs"):
            compare_runs(runs, reports=tmp_path)
    with pytest.raises(NotFoundError):
        compare_runs(["a", "b"], reports=tmp_path)
