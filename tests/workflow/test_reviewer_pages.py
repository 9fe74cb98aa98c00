"""The four pages that a reviewer or a DPO reads: what they find, what they refuse, and that they run whole."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from crimeface_lib.core.errors import ConfigError, InputError, NotFoundError, RefusedError, SchemaError
from crimeface_lib.core.settings import load_settings
from crimeface_lib.governance import Dpia, User, audit_bias, template
from crimeface_lib.synthetic import synthetic_scores
from crimeface_lib.workflow import CaseStore, open_run
from crimeface_lib.workflow.bias_study import BiasStudy, compare_with_truth, read_groups
from crimeface_lib.workflow.case_evidence import CaseEvidence, read_checkpoint
from crimeface_lib.workflow.config import config_path, load_config
from crimeface_lib.workflow.dpia_review import DpiaReview
from crimeface_lib.workflow.governance_review import review_governance
from crimeface_lib.workflow.origin import login_name

ME = login_name({})


@pytest.fixture
def store(workplace):
    """A store in which whoever runs the tests keeps evidence and may search; Dora advises, Abe approves."""
    opened = CaseStore.open(load_settings().default_store)
    boss = User(ME, frozenset({"admin", "custodian", "researcher"}))
    opened.people.add(boss)
    for name, role in (("rhea", "researcher"), ("dora", "approver"), ("abe", "approver"), ("stan", "stakeholder")):
        opened.people.add(User(name, frozenset({role})), by=boss)
    return opened


@pytest.fixture
def approved(store):
    """A DPIA in its second version, approved for 20 days."""
    author, dpo, approver = (store.people.get(name) for name in ("rhea", "dora", "abe"))
    content = template("face_search").to_dict()
    number = store.dpias.draft(Dpia.from_dict(content | {"title": "First words"}), author=author)
    store.dpias.edit(number, Dpia.from_dict(content), author=author)
    store.dpias.submit(number, author=author)
    store.dpias.advise(number, "Synthetic data only.", favourable=True, adviser=dpo)
    store.dpias.approve(number, approver=approver, review_by=store.clock().date() + timedelta(days=20))
    return number


def run_of(name, **overrides):
    return open_run(load_config(config_path(name), overrides))


def crimeface(*arguments):
    """Run the command as a user does: papermill in a test's own process leaves an open loop behind."""
    command = [Path(sys.executable).with_name("crimeface"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


# -- bias ------------------------------------------------------------------------------------------------------
def test_synthetic_scores_have_the_rates_asked_for():
    made = synthetic_scores({"a": (0.02, 0.05), "b": (0.10, 0.20)}, people=4000, rng=3)
    table, truth = made.comparisons, made.truth.set_index("group")
    for name in "ab":
        own = table[(table.group_a == name) & (table.group_b == name)]
        fmr = (own[~own.mated].score >= made.threshold).mean()
        fnmr = (own[own.mated].score < made.threshold).mean()
        assert (fmr, fnmr) == pytest.approx(tuple(truth.loc[name, ["FMR", "FNMR"]]), rel=0.08)
    assert (table.subject_a == table.subject_b).equals(table.mated)
    with pytest.raises(InputError, match="rates in"):
        synthetic_scores({"a": (0.0, 0.1), "b": (0.1, 0.1)})


def test_an_audit_recovers_what_is_known_and_withholds_what_nobody_can_know():
    inside = []
    for seed in range(6):
        made = synthetic_scores(rng=seed)
        report = audit_bias(made.comparisons, groups=["group"], threshold=made.threshold, replicas=200, rng=seed)
        assert report.withheld == {"group": ("group 4",)}
        compared = compare_with_truth(report, made.truth)
        assert not compared.what.str.contains("FNMR of group 4").any()
        inside += compared.inside.tolist()
    assert 0.85 < np.mean(inside) <= 1.0, "95 % intervals"
    far = compare_with_truth(report, made.truth.assign(FMR=made.truth.FMR * 4))
    assert not far.inside.all(), "it would see another truth"


def test_groups_come_from_the_users_file_or_not_at_all(tmp_path):
    file = tmp_path / "people.csv"
    file.write_text("person,sex\nA,x\nB,y\nC,\n")
    assert read_groups(file, attributes=["sex"])["sex"].to_dict() == {"A": "x", "B": "y"}
    with pytest.raises(SchemaError, match="lacks age"):
        read_groups(file, attributes=["age"])
    file.write_text("person,sex\nA,x\nA,y\n")
    with pytest.raises(SchemaError, match="1 persons stand there twice"):
        read_groups(file, attributes=["sex"])


def test_to_compare_photos_by_group_needs_a_dpia_and_is_in_the_log(store, approved, tmp_path, astronaut, monkeypatch):
    from PIL import Image

    for person, shift in (("A", 0), ("A", 20), ("B", 40)):
        folder = tmp_path / "photos" / person
        folder.mkdir(parents=True, exist_ok=True)
        place = folder / f"{person}_{len(list(folder.iterdir())) + 1:04d}.jpg"
        Image.fromarray(np.roll(astronaut, shift, axis=1)).save(place)
    (tmp_path / "pairs.txt").write_text("2\nA\t1\t2\nA\t1\tB\t1\nA\t1\tZ\t1\n")
    (tmp_path / "people.csv").write_text("person,sex\nA,x\nB,y\n")
    given = {
        "photos": tmp_path / "photos", "pairs": tmp_path / "pairs.txt", "groups": tmp_path / "people.csv",
        "attributes": ["sex"], "purpose": "method-evaluation", "audit_bias.replicas": 20,
    }  # fmt: skip
    with pytest.raises(RefusedError, match="does not cover this run: dataset"):
        BiasStudy.of(run_of("bias_audit", **given, dataset="lfw"))
    run = run_of("bias_audit", **given, dataset="synthetic-faces")
    study = BiasStudy.of(run)
    assert study.threshold == template("face_search").faces.threshold, "the approved one"
    assert study.left_out == 1, "nobody said to which group Z belongs"
    assert study.comparisons.mated.tolist() == [True, False]
    assert study.comparisons.score.min() > 0.8, "one face, three times"
    kept = study.keep(run, study.audit(run))
    assert kept.dpia == approved
    assert kept.bands == template("face_search").faces.bands
    (end,) = store.audit.events("use.ended")
    assert end.facts["outcome"] == "completed"
    with pytest.raises(ConfigError, match="also give pairs"):
        BiasStudy.of(run_of("bias_audit", photos=tmp_path / "photos"))


# -- one DPIA --------------------------------------------------------------------------------------------------
def test_the_page_of_a_dpia_says_what_the_gate_would(store, approved):
    review = DpiaReview.of(store, None)
    before = len(store.audit.ledger)
    said = review.refusal_table(actor=ME).set_index("a run that asks for")
    assert len(store.audit.ledger) == before, "a question leaves no trace"
    assert said.permitted.sum() == 1
    assert said.index[said.permitted][0] == f"exactly this, by {ME}"
    reasons = said["the gate says"]
    for what, word in {"another purpose": "purpose", "other data": "dataset", "another model": "model"}.items():
        assert f"{word}: got something-else" in reasons[what]
    assert "role" in reasons.filter(like="exactly this, by ").iloc[1]
    assert "expired" in reasons.iloc[-1]
    steps = review.step_table()
    assert steps.event.tolist()[-2:] == ["review due", "expired"]
    assert steps.set_index("event").reason["advised"] == "favourable: Synthetic data only."
    assert review.version_table()["fields changed"].tolist() == ["first draft", 1]
    assert review.change_table().to_dict("records")[0]["before"] == "First words"
    with pytest.raises(NotFoundError, match="no DPIA 9"):
        DpiaReview.of(store, 9)


def test_without_a_dpia_the_page_says_how_to_start_one(store):
    with pytest.raises(NotFoundError, match="crimeface dpia new"):
        DpiaReview.of(store, None)


# -- a case ----------------------------------------------------------------------------------------------------
def test_a_case_is_taken_in_checked_against_a_held_checkpoint_and_packed(store, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.txt").write_text("one")
    first = CaseEvidence.open(run_of("evidence_case", case="C-1", files=folder))
    assert first.intake_table().to_dict("records") == [{"outcome": "taken in", "reason": "", "files": 1}]
    held = tmp_path / "held.json"
    held.write_text(json.dumps({"custody": store.evidence.checkpoint().to_dict()}))
    assert first.export() is None, "nothing decrypted goes anywhere unasked"
    case = CaseEvidence.open(run_of("evidence_case", case="C-1", checkpoint=held, package=tmp_path / "c.zip"))
    assert "held since" in case.in_words(case.verify())
    package = case.export()
    assert package.report.checkpoint_size == read_checkpoint(held).size
    assert (tmp_path / "c.zip").exists()
    assert set(case.people_table().did) == {"took in", "looked at", "passed on"}
    with pytest.raises(NotFoundError, match="no evidence"):
        CaseEvidence.open(run_of("evidence_case", case="C-2"))
    with pytest.raises(ConfigError, match="case: got none"):
        CaseEvidence.open(run_of("evidence_case", files=folder))


# -- the review of a period --------------------------------------------------------------------------------------
def test_a_review_finds_what_does_not_hold(store, approved, tmp_path):
    for seed in (1, 2, 3):
        run = run_of("bias_audit", seed=seed)
        run.found("A finding.")
        run.finish()
    quiet = review_governance(store, actor=ME)
    assert quiet.runs.seal.tolist() == ["holds"] * 3
    assert quiet.integrity.holds.dropna().all()
    assert any("review due" in line for line in quiet.attention)
    assert any("no retention schedule" in note for note in quiet.notes)
    held = tmp_path / "held"
    held.mkdir()
    shutil.copy(store.settings.reports / quiet.runs.run.iloc[-1] / "checkpoint.json", held)

    with pytest.raises(RefusedError):
        store.dpias.approve(approved, approver=store.people.get("rhea"), review_by=store.clock().date())
    altered, gone = (store.settings.reports / quiet.runs.run.iloc[place] for place in (0, 1))
    (altered / "steps" / "bias_audit.json").write_text("{}")
    shutil.rmtree(gone)
    store.audit.start_use(actor=ME, at=store.clock(), permit="sha256:0", reference_sha256="0", input_sha256=[])
    found = review_governance(store, actor=ME, checkpoint=held)
    assert found.runs.set_index("run").status[gone.name] == "gone"
    assert found.runs.set_index("run").seal[altered.name] == "BROKEN"
    assert found.refusals.by.tolist() == ["rhea"]
    said = " ".join(found.attention)
    for words in ("bias_audit.json was changed", gone.name, "without a recorded end: 1"):
        assert words in said

    ledger = store.folder / "audit.ledger"
    kept = ledger.read_bytes().splitlines(keepends=True)
    ledger.write_bytes(b"".join(kept[:-8]))
    shorter = review_governance(CaseStore.open(store.folder), actor=ME, checkpoint=held)
    row = shorter.integrity.set_index("what").loc["audit log, against checkpoints held elsewhere"]
    assert row.holds is False or not row.holds
    assert "entries" in row.detail
    with pytest.raises(InputError, match="first day first"):
        review_governance(store, actor=ME, since=store.clock().date(), until=store.clock().date() - timedelta(days=1))


# -- whole ---------------------------------------------------------------------------------------------------------
@pytest.mark.slow
@pytest.mark.parametrize(
    ("notebook", "arguments", "words"),
    [
        ("evidence_case", [], ["Case SAMPLE-1 has 4 items", "one held since", "sample camera", "identical"]),
        ("bias_audit", ["-p", "audit_bias.replicas=50"], ["which is known here", "Kept as bias report 1"]),
        ("dpia", [], ["is review due and holds until", "another purpose", "There is no PDF"]),
        ("governance_review", [], ["there were 1 runs: 1 failed", "DPIA 1 is review due"]),
    ],
)
def test_each_page_runs_whole_and_reads_well(workplace, approved, notebook, arguments, words, monkeypatch):
    monkeypatch.setenv("CRIMEFACE_CHROMIUM", "/nowhere/chromium")
    if notebook == "governance_review":
        assert crimeface("run", "recognise", "-p", f"probe={Path(__file__)}").returncode == 2, (
            "no photo: the run is recorded, and listed"
        )
    done = crimeface("run", notebook, *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    folder = max(path for path in workplace.runs() if path.name.endswith(notebook.replace("_", "-")))
    page = (folder / f"{notebook}.html").read_text()
    for text in words:
        assert text in page, text
