"""Recognition evaluated on photos of known people: gated, resumable, and a card that the registry takes."""

from __future__ import annotations

import itertools
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from crimeface_lib.core.errors import ConfigError, InputError, RefusedError
from crimeface_lib.core.settings import load_settings
from crimeface_lib.governance import Dpia, ModelRegistry, User, template
from crimeface_lib.recognition import load_calibration
from crimeface_lib.synthetic import synthetic_collection
from crimeface_lib.workflow import CaseStore, load_config, open_run, recognition_study
from crimeface_lib.workflow.config import config_path
from crimeface_lib.workflow.origin import login_name
from crimeface_lib.workflow.recognition_card import card_of
from crimeface_lib.workflow.recognition_study import RecognitionStudy

QUICK = {"evaluate_recognition.replicas": 20, "audit_bias.replicas": 20}


def run_of(**overrides):
    return open_run(load_config(config_path("evaluate_recognition"), QUICK | overrides))


@pytest.fixture
def photos(workplace, monkeypatch):
    """Twenty people with four photos each, which are embedded as synthetic templates; an approval of such photos."""
    made, groups = synthetic_collection(20, photos=4, rng=5)
    root, row = workplace.root / "photos", {}
    for k, name in enumerate(made.subjects):
        path = root / name / f"{name}_{k % 4 + 1:04d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(str(k))
        row[path] = k

    def embed(embedder, files, *, folder, key, detector, which, progress):
        assert folder.is_dir()
        assert len(key) == 32
        progress(len(files), len(files))
        mask = np.zeros(len(made), dtype=bool)
        mask[[row[file] for file in files]] = True
        return recognition_study._rows(made, mask)

    monkeypatch.setattr(recognition_study, "embed_in_parts", embed)
    store = CaseStore.open(load_settings().default_store)
    boss = User(login_name({}), frozenset({"admin", "researcher"}))
    store.people.add(boss)
    people = [
        User(name, frozenset({role}))
        for name, role in (("rhea", "researcher"), ("dora", "approver"), ("abe", "approver"))
    ]
    for user in people:
        store.people.add(user, by=boss)
    number = store.dpias.draft(Dpia.from_dict(template("face_search").to_dict()), author=people[0])
    store.dpias.submit(number, author=people[0])
    store.dpias.advise(number, "Synthetic data only.", favourable=True, adviser=people[1])
    store.dpias.approve(number, approver=people[2], review_by=store.clock().date() + timedelta(days=20))
    return (
        {"photos": root, "purpose": "method-evaluation", "dataset": "synthetic-faces"},
        store,
        sorted(set(made.subjects)),
        groups,
    )


def listed(path, people, *, strangers):
    """Write a list of pairs in LFW's format: each person's first two photos, and neighbours."""
    lines = [f"{name}\t1\t2" for name in people]
    lines += [f"{a}\t1\t{b}\t3" for a, b in itertools.pairwise(people)][:strangers]
    path.write_text("\n".join(["1", *lines]) + "\n")
    return path


def test_without_photos_it_shows_itself_and_its_card_claims_nothing(workplace):
    run = run_of()
    study = RecognitionStudy.of(run)
    assert study.evaluation.subjects == 120
    assert study.evaluation.failed == len(study.evaluation.enrolments.query("failed")) > 0
    assert study.calibration.dataset == load_calibration("dlib").dataset
    assert study.protection.eer_turned == pytest.approx(study.protection.eer_plain, abs=1e-3)
    assert study.protection.d_unprotected > 0.9 > 0.3 > study.protection.d_sys
    rates = study.audit.rates.set_index("group")
    assert rates.FNMR["group 2"] > rates.FNMR["group 1"], "their photos are of lower quality"
    assert not study.fitted
    assert any("synthetic" in line for line in study.cannot_say())
    card = card_of(study, run)
    assert card.card.runs == (), "figures of invented people are none of the model's"
    assert "none of these figures is one of the model" in card.markdown
    with pytest.raises(InputError, match="expected fit=true"):
        study.export(workplace.root / "c.json")
    for given in ({"groups": workplace.root / "g.csv"}, {"limit": 9}):
        with pytest.raises(ConfigError, match="without photos"):
            RecognitionStudy.of(run_of(**given))


def test_photos_need_an_approval_that_names_them_and_the_use_is_logged(photos):
    given, store, people, _ = photos
    with pytest.raises(RefusedError, match="does not cover this run: dataset"):
        RecognitionStudy.of(run_of(**given | {"dataset": "lfw"}))
    run = run_of(**given)
    study = RecognitionStudy.of(run)
    assert study.dpia == 1
    assert (study.evaluation.images, study.evaluation.subjects) == (80, len(people))
    assert [entry["role"] for entry in run.record["inputs"]] == ["photos"]
    (end,) = store.audit.events("use.ended")
    assert end.facts["outcome"] == "completed"
    assert study.audit is None
    assert any("no file says" in line for line in study.cannot_say())
    assert any("every comparison reaches it" in line for line in study.notes), "the sample approves a threshold of 0"
    shown = study.about().to_csv() + study.to_frame().to_csv() + study.failures.to_csv() + str(study.to_dict())
    assert not [name for name in people if name in shown], "nobody in the photos is named"


def test_a_calibration_is_fitted_to_other_people_and_comes_back(photos, workplace):
    given, _, people, _ = photos
    study = RecognitionStudy.of(run_of(**given, fit=True))
    assert study.fitted
    assert study.calibration.subjects + study.evaluation.subjects == 20, "half and half, nobody in both"
    assert study.transferred["threshold"].str.match(r"0\.\d{4}").all()
    (file,) = study.export(workplace.root / "own.json")
    again = RecognitionStudy.of(run_of(**given, calibration=file))
    assert again.calibration.dataset == study.calibration.dataset == "synthetic-faces, half of the people"
    train = listed(workplace.root / "train.txt", people[:12], strangers=9)
    test = listed(workplace.root / "test.txt", people[10:], strangers=9)
    both = RecognitionStudy.of(run_of(**given, fit=True, fit_pairs=train, pairs=test))
    assert both.evaluation.subjects == 10
    assert both.calibration.subjects == 10, "the two people who are in both lists are evaluated, not fitted to"
    seen = both.evaluation.verification
    lost = seen.failed_mated + seen.failed_nonmated
    assert seen.mated + seen.nonmated + lost == 19, "the comparisons of the list"
    whole = RecognitionStudy.of(run_of(**given, pairs=test, compare="all")).evaluation.verification
    assert whole.nonmated > 19
    with pytest.raises(InputError, match="nobody who is not in the photos to evaluate"):
        RecognitionStudy.of(run_of(**given, fit=True, fit_pairs=test, pairs=test))


def test_groups_come_from_a_file_and_who_is_not_in_it_is_counted(photos, workplace):
    given, _, people, groups = photos
    file = workplace.root / "people.csv"
    told = dict(zip(people, groups["group"][::4], strict=True))
    file.write_text("person,group\n" + "".join(f"{name},{told[name]}\n" for name in people[:15]))
    study = RecognitionStudy.of(run_of(**given, groups=file))
    known = study.audit.rates.set_index("group")
    assert set(known.index) == {"group 1", "group 2", "group 1 × group 2"}
    assert known.attempts[["group 1", "group 2"]].sum() == 60
    assert any("about 20 photos" in line for line in study.notes)
    assert study.quality["group"].tolist() == ["all photos", "group 1", "group 2"]
    file.write_text("person,group\nnobody,a\n")
    with pytest.raises(InputError, match="nobody who is in these photos"):
        RecognitionStudy.of(run_of(**given, groups=file))


def test_fewer_people_each_with_all_of_their_photos_and_no_photos_outside_a_folder(photos):
    given, _, _, _ = photos
    few = RecognitionStudy.of(run_of(**given, limit=5)).evaluation
    assert (few.images, few.subjects) == (20, 5)
    (given["photos"] / "loose.jpg").write_text("x")
    with pytest.raises(InputError, match="a folder for each person"):
        RecognitionStudy.of(run_of(**given))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"fit_pairs": "a.txt"}, "without pairs and fit=true"),
        ({"fit": True, "calibration": "c.json"}, "beside fit=true"),
        ({"limit": 1}, "limit"),
    ],
)
def test_parameters_that_do_not_go_together(wrong, message):
    with pytest.raises(ConfigError, match=message):
        load_config(config_path("evaluate_recognition"), wrong)


def test_the_card_is_one_that_the_registry_takes(photos, workplace):
    given, _, _, _ = photos
    run = run_of(**given, fit=True)
    study = RecognitionStudy.of(run)
    card = card_of(study, run)
    sheet, page = card.export(workplace.root / "cards" / "model_card")
    registry = ModelRegistry.open(sheet.parent)
    added = registry.require(card.card.name)
    assert added == card.card
    assert added.runs[0].figure.startswith("failure to enrol: ")
    assert all(run.id in figure.by and "20 people" not in figure.protocol for figure in added.runs)
    assert registry.require("embedders:dlib").name == "dlib-resnet", "the model's own card still stands for it"
    assert "Found in a run" in added.to_html()
    text = page.read_text()
    for words in ("## Intended use", "## Limits", "EER", "10 people", "Thresholds set on other people", run.id):
        assert words in text


@pytest.mark.slow
def test_the_page_runs_whole_without_photos(workplace, monkeypatch):
    monkeypatch.setenv("CRIMEFACE_CHROMIUM", "/nowhere/chromium")
    options = [part for name, value in QUICK.items() for part in ("-p", f"{name}={value}")]
    command = [Path(sys.executable).with_name("crimeface"), "run", "evaluate_recognition", "-p", "fit=true", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (folder,) = workplace.runs()
    assert {path.name for path in (folder / "files").iterdir()} == {
        "model_card.yaml",
        "model_card.md",
        "calibration.json",
    }
    page = (folder / "evaluate_recognition.html").read_text()
    assert page.count('<figure class="cf-figure') == 10
    for words in ("Thresholds set on other people", "What the turn gains and costs", "Error rates by group"):
        assert words in page
    assert load_calibration(folder / "files" / "calibration.json").subjects == 60
    assert not list((workplace.root / "home").glob("scratch/**/*.part"))
