"""The command line: exit codes, messages without tracebacks, and the way to a permitted search."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import yaml
from PIL import Image

from crimeface_lib.core import errors
from crimeface_lib.synthetic import synthetic_crimes, write_police_uk


@pytest.fixture
def photo(tmp_path, astronaut):
    Image.fromarray(astronaut).save(tmp_path / "face.jpg")
    return tmp_path / "face.jpg"


@pytest.fixture
def crime(tmp_path):
    write_police_uk(synthetic_crimes(months=14, per_month=120, rng=1).table, tmp_path / "police.zip")
    return tmp_path / "police.zip"


def test_no_search_without_an_approved_dpia(workplace, photo, crime):
    code, said = workplace.run_cli("run", "case_report", "-p", f"photo={photo}", "-p", f"crime={crime}")
    assert code == 3
    assert "refused:" in said
    (folder,) = workplace.runs()
    manifest = json.loads((folder / "run.json").read_text())
    assert manifest["status"] == "refused"
    assert not (folder / "notebooks").exists(), "nothing was computed"


def test_an_unknown_parameter_and_an_unknown_notebook_are_named(workplace, photo):
    code, said = workplace.run_cli("run", "reconstruct", "-p", f"phot={photo}")
    assert code == 2
    assert "unknown parameter 'phot'" in said
    assert "-p photo=VALUE" in said
    code, said = workplace.run_cli("run", "gossip")
    assert code == 2
    assert "there are: reconstruct" in said
    assert not workplace.runs(), "nothing was started"


def test_a_bug_of_ours_is_exit_code_1_and_one_line(workplace, photo, monkeypatch):
    monkeypatch.setattr("crimeface_lib.workflow.job.plan_job", lambda *a, **k: 1 / 0)
    code, said = workplace.run_cli("run", "reconstruct", "-p", f"photo={photo}")
    assert code == 1
    assert "our fault: ZeroDivisionError" in said
    assert "Traceback" not in said
    with pytest.raises(ZeroDivisionError):
        workplace.run_cli("--debug", "run", "reconstruct", "-p", f"photo={photo}")


def test_ctrl_c_is_recorded_and_can_be_resumed_from(workplace, photo, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("crimeface_lib.workflow.job.run_notebook", interrupt)
    code, said = workplace.run_cli("run", "reconstruct", "-p", f"photo={photo}")
    assert code == 130
    (folder,) = workplace.runs()
    manifest = json.loads((folder / "run.json").read_text())
    assert manifest["status"] == "interrupted"
    assert f"--resume {folder.name}" in manifest["reason"]
    for arguments, message in (
        (("crime_overview", "--resume", folder.name), "expected a run of the same notebook"),
        (("reconstruct", "--resume", folder.name, "-p", "seed=1"), "keeps its parameters"),
        (("reconstruct", "--resume", "20200101-000000-reconstruct"), "no run in"),
        (("reconstruct", "-p", f"photo={photo}", "-p", f"run={folder}"), "use --resume"),
    ):
        code, said = workplace.run_cli("run", *arguments)
        assert code == 2
        assert message in said

    resumed = []

    def finish(name, *, parameters, output, **_):
        resumed.append(parameters["config"])
        raise errors.CrimefaceError("far enough for this test")

    monkeypatch.setattr("crimeface_lib.workflow.job.run_notebook", finish)
    assert workplace.run_cli("run", "reconstruct", "--resume", folder.name)[0] == 1
    assert yaml.safe_load(Path(resumed[0]).read_text())["photo"] == str(photo), "with the parameters it had"
    assert workplace.runs() == [folder]


def test_doctor_names_every_part(workplace):
    code, said = workplace.run_cli("doctor")
    assert code == 0, said
    for word in ("device", "dlib_face_recognition_resnet", "CC0", "non-commercial", "face model builtin", "Chromium"):
        assert word in said, word


def test_only_another_person_approves(workplace, monkeypatch):
    monkeypatch.setenv("CRIMEFACE_PASSWORD", "correct horse battery")
    run = workplace.run_cli
    assert run("people", "add", "ada", "--role", "admin", "--password")[0] == 0
    assert (
        run("people", "add", "rhea", "--role", "researcher", "--role", "approver", "--password", "--as", "ada")[0] == 0
    )
    (workplace.root / "dpia.yaml").write_text(run("dpia", "new", "face_search")[1])
    assert run("dpia", "submit", workplace.root / "dpia.yaml", "--as", "rhea")[0] == 0
    code, said = run("dpia", "advise", "1", "--advice", "fine", "--favourable", "--as", "rhea")
    assert code == 3
    assert "same person" in said
    monkeypatch.setenv("CRIMEFACE_PASSWORD", "wrong password!")
    code, said = run("dpia", "approve", "1", "--review-by", "2027-01-01", "--as", "rhea")
    assert code == 3, said
    monkeypatch.setenv("CRIMEFACE_PASSWORD", "correct horse battery")
    assert "submitted" in run("dpia", "list")[1]


def test_help_never_needs_the_heavy_parts(workplace):
    code, said = workplace.run_cli("--help")
    assert code == 0
    for command in ("run", "demo", "doctor", "verify", "fetch", "apps", "dpia", "people", "watchlist"):
        assert command in said
    assert os.listdir(workplace.root) == [], "help writes nothing"
