"""The command line: exit codes, messages without tracebacks, and the way to a permitted search."""

from __future__ import annotations

import json
import os
import re
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
    monkeypatch.setenv("CRIMEFACE_NEW_PASSWORD", "correct horse battery")
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


def test_a_new_account_never_gets_the_password_of_who_adds_it(workplace, monkeypatch):
    run = workplace.run_cli
    for name in ("CRIMEFACE_PASSWORD", "CRIMEFACE_NEW_PASSWORD"):
        monkeypatch.setenv(name, "password of ada")
    assert run("people", "add", "ada", "--role", "admin", "--password")[0] == 0
    monkeypatch.setenv("CRIMEFACE_NEW_PASSWORD", "password of rhea")
    assert run("people", "add", "rhea", "--role", "researcher", "--password", "--as", "ada")[0] == 0
    assert run("people", "token", "--as", "rhea")[0] == 3
    monkeypatch.setenv("CRIMEFACE_PASSWORD", "password of rhea")
    assert run("people", "token", "--as", "rhea")[0] == 0


def test_help_never_needs_the_heavy_parts(workplace):
    code, said = workplace.run_cli("--help")
    assert code == 0
    for command in (
        "run",
        "demo",
        "doctor",
        "verify",
        "fetch",
        "apps",
        "dpia",
        "people",
        "watchlist",
        "review",
        "policy",
        "audit",
    ):
        assert command in said
    assert os.listdir(workplace.root) == [], "help writes nothing"


def test_a_dpia_is_kept_as_a_draft_compared_and_exported(workplace, monkeypatch):
    monkeypatch.setenv("CRIMEFACE_PASSWORD", "correct horse battery")
    monkeypatch.setenv("CRIMEFACE_NEW_PASSWORD", "correct horse battery")
    run, file = workplace.run_cli, workplace.root / "dpia.yaml"
    run("people", "add", "ada", "--role", "admin", "--password")
    run("people", "add", "rhea", "--role", "researcher", "--password", "--as", "ada")
    text = run("dpia", "new", "place_prediction")[1]
    empty = re.sub(r"(?m)^consultation: >-\n(  .*\n)+", "consultation: ''\n", text)
    assert empty != text
    file.write_text(empty)
    code, said = run("dpia", "submit", file, "--draft", "--as", "rhea")
    assert (code, "fields are empty: consultation" in said) == (0, True)
    code, said = run("dpia", "submit", file, "--edit", "1", "--as", "rhea")
    assert (code, "empty fields: consultation" in said) == (2, True)
    file.write_text(text)
    assert run("dpia", "submit", file, "--edit", "1", "--as", "rhea")[0] == 0
    said = run("dpia", "diff", "1")[1]
    assert "version 2 → 3: 1 fields differ" in said
    assert "consultation" in said
    said = run("dpia", "status", "1")[1]
    assert "submitted" in said
    assert "drafted" in said
    assert run("dpia", "export", "1", "--out", workplace.root / "dpia.html")[0] == 0
    assert "It permits nothing" in (workplace.root / "dpia.html").read_text()
    assert run("dpia", "export", "1", "--out", workplace.root / "dpia.txt")[0] == 2
    listed = run("audit", "list", "dpia.", "--dpia", "1", "--last", "2")[1]
    assert "dpia.submitted" in listed
    assert "dpia.drafted" not in listed
    assert "people.added" in run("audit", "show", "1")[1]
    assert "unchanged" in run("audit", "verify")[1]
    assert run("audit", "show", "999")[0] == 2


def test_passwords_roles_and_tokens_by_command(workplace, monkeypatch):
    monkeypatch.setenv("CRIMEFACE_PASSWORD", "correct horse battery")
    monkeypatch.setenv("CRIMEFACE_NEW_PASSWORD", "correct horse battery")
    run = workplace.run_cli
    run("people", "add", "ada", "--role", "admin", "--password")
    run("people", "add", "rhea", "--role", "researcher", "--password", "--as", "ada")
    code, token = run("people", "token", "--as", "rhea")
    assert code == 0
    monkeypatch.setenv("CRIMEFACE_NEW_PASSWORD", "correct horse battery two")
    assert run("people", "password", "rhea", "--as", "rhea")[0] == 0
    assert run("people", "token", "--as", "rhea")[0] == 3
    monkeypatch.setenv("CRIMEFACE_TOKEN", token.strip())
    code, said = run("people", "token", "--as", "rhea")
    assert (code, "this token ended" in said) == (3, True)
    monkeypatch.setenv("CRIMEFACE_TOKEN", "")
    assert run("people", "role", "rhea", "--role", "reviewer", "--as", "ada")[0] == 0
    assert run("people", "role", "ada", "--role", "approver", "--as", "ada")[0] == 3
    assert run("people", "hub", "http://hub:8081/hub/api", "--as", "ada")[0] == 0
    assert run("people", "hub", "hub", "--as", "ada")[0] == 2
    assert run("policy", "show")[0] == 0
    (workplace.root / "home/store/policy.json").unlink()
    code, said = run("policy", "show")
    assert (code, "crimeface policy restore" in said) == (3, True)
    assert run("policy", "restore", "--as", "ada")[0] == 0
    assert run("policy", "show")[0] == 0
