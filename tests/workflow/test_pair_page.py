"""The page of two photos: gated, one ratio in the right words, no number where a check fails."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image

from crimeface_lib.core.errors import ConfigError, RefusedError
from crimeface_lib.core.settings import load_settings
from crimeface_lib.governance import Dpia, User, template
from crimeface_lib.recognition import load_calibration, load_embedder
from crimeface_lib.recognition.pair import PairResult
from crimeface_lib.synthetic import degrade_photo
from crimeface_lib.workflow import CaseStore, load_config, open_run
from crimeface_lib.workflow.checks import check_policy
from crimeface_lib.workflow.config import config_path
from crimeface_lib.workflow.origin import login_name
from crimeface_lib.workflow.pair_study import PairStudy


@pytest.fixture
def photos(workplace, astronaut):
    Image.fromarray(astronaut).save(workplace.root / "a.png")
    Image.fromarray(degrade_photo(astronaut, rng=1)).save(workplace.root / "b.png")
    return {"photo_a": workplace.root / "a.png", "photo_b": workplace.root / "b.png", "dataset": "sample-pair",
            "actor": login_name({})}  # fmt: skip


def approve(store):
    boss = User(login_name({}), frozenset({"admin", "custodian", "researcher"}))
    store.people.add(boss)
    for name, role in (("rhea", "researcher"), ("dora", "approver"), ("abe", "approver")):
        store.people.add(User(name, frozenset({role})), by=boss)
    content = template("face_search").to_dict()
    content["scope"] |= {"datasets": ["sample-pair"], "purpose": "research"}
    author, dpo, approver = (store.people.get(name) for name in ("rhea", "dora", "abe"))
    number = store.dpias.draft(Dpia.from_dict(content), author=author)
    store.dpias.submit(number, author=author)
    store.dpias.advise(number, "Sample data only.", favourable=True, adviser=dpo)
    store.dpias.approve(number, approver=approver, review_by=store.clock().date() + timedelta(days=90))


def page(ratio, *, clamped=False, verbal=None):
    """A study with a made-up result: only its words and tables are looked at."""
    result = PairResult(0.93, ratio, ratio / 2, ratio * 2, clamped, 0.95, "dlib", "v", [])
    side = SimpleNamespace(quality=SimpleNamespace(score=80.0), choice=SimpleNamespace(sentence="One face."))
    return PairStudy(side, side, load_calibration("dlib"), (), result, verbal)


def test_the_meaning_is_about_the_score_and_points_the_right_way():
    assert "about 40 times more probable if both photos show the same person than if" in page(40.0).meaning
    assert "about 40 times more probable if the photos show two different people than if" in page(0.025).meaning
    said = " ".join(page(40.0).cautions)
    assert "is not the probability that they show two" in said
    assert "prosecutor's fallacy" in said
    assert "within what the calibration's comparisons support, 1/380 to 130,000" in said
    assert "how much further, these data can't tell" in " ".join(page(1.3e5, clamped=True).cautions)
    assert page(1.3e5, clamped=True).lr_words.endswith("held at the limit of the calibration data")
    assert "support" not in page(40.0).lr_words, "words of a scale only where asked for"
    assert page(40.0, verbal="enfsi").lr_words.endswith("support for the same person")


def test_prior_odds_are_multiplied_and_only_where_asked_for():
    rows = page(40.0).odds_table((0.001, 1.0)).to_dict("records")
    assert [row["posterior odds"] for row in rows] == ["0.04 (0.02 – 0.08)", "40 (20 – 80)"]
    given = {"photo_a": "a.jpg", "photo_b": "b.jpg"}
    path = config_path("verify_pair")
    assert load_config(path, given).without() == ("odds",)
    assert load_config(path, given | {"prior_odds": [0.01]}).without() == ()
    with pytest.raises(ConfigError, match="odds above 0"):
        load_config(path, given | {"prior_odds": [0]})


def test_rates_at_the_score_are_the_calibrations():
    calibration = load_calibration("dlib")
    found = page(40.0).error_table().set_index("how often")["share or value (95 % interval)"]
    share = float(calibration.fmr([0.93])[0])
    assert found["different people who reach this score"].startswith(f"{100 * share:.2g} %")
    assert found["Cllr, calibration"] == f"{calibration.quality['Cllr']:.3f}"
    beyond = replace(page(40.0), result=replace(page(40.0).result, score=0.999)).error_table().set_index("how often")
    assert beyond.loc["different people who reach this score"].iloc[0].startswith("none seen (up to 1 in ")


def test_no_comparison_without_an_assessment_or_where_a_check_fails(photos, monkeypatch):
    """P2: a comparison of two photos is a use of face recognition; nothing is compared before the permit."""
    store = CaseStore.open(load_settings().default_store)
    cfg = load_config(config_path("verify_pair"), photos)
    with pytest.raises(RefusedError, match=r"role that permits|no approved DPIA|no account"):
        check_policy((cfg,))
    approve(store)
    with pytest.raises(RefusedError, match="dataset: got other"):
        check_policy((load_config(config_path("verify_pair"), photos | {"dataset": "other"}),))
    embedder = load_embedder("dlib", device="cpu")
    twice = open_run(load_config(config_path("verify_pair"), photos | {"photo_b": photos["photo_a"]}))
    permit = twice.permit("face_search", dataset="sample-pair", model=embedder.name, version=embedder.version)
    monkeypatch.setattr("crimeface_lib.workflow.pair_study.compare_pair", lambda *_, **__: pytest.fail("compared"))
    study = PairStudy.of(twice, permit=permit, embedder=embedder)
    assert (study.result, study.lr_words) == (None, "none")
    assert "the same file" in study.findings[0]
    assert not list(store.audit.events("use."))
    assert "comparison" not in twice.record["results"]
    assert study.odds_table((1.0,)).empty
    assert study.change_table().empty


@pytest.mark.slow
def test_the_page_runs_whole_and_says_what_a_court_would_ask(workplace, photos, monkeypatch):
    monkeypatch.setenv("CRIMEFACE_CHROMIUM", "/nowhere/chromium")
    approve(CaseStore.open(load_settings().default_store))
    given = [part for name, value in photos.items() for part in ("-p", f"{name}={value}")]
    command = [Path(sys.executable).with_name("crimeface"), "run", "verify_pair", *given]
    asked = ["-p", "regardless=true", "-p", "prior_odds=[0.01]"]
    done = subprocess.run([*command, *asked], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (folder,) = workplace.runs()
    html = (folder / "verify_pair.html").read_text()
    for words in (
        "times more probable if both photos show the same person", "held at the limit", "prosecutor",
        "blurred a little",
        "posterior odds", "5,919,754", "No bias report", "weights CC0-1.0",
        "Compared although a check failed, as was asked for",
        "they look like copies of one picture",
    ):  # fmt: skip
        assert words in html.replace("&#x27;", "'"), words
    text = re.sub(r"<script.*?</script>|<style.*?</style>", "", html, flags=re.S)
    assert not re.search(r"\bmatch(es|ed)?\b", text, flags=re.I)
    assert str(workplace.root) not in (folder / "run.json").read_text()
