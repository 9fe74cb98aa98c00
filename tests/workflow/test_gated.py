"""A search from the run's side: gated at each call, written down, handed to two reviewers; a probe without a
candidate is not kept. No notebook is run here: the run object is what notebooks call."""

from __future__ import annotations

import importlib
import os
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from shapely.geometry import box

from crimeface_lib.core.errors import InputError, IntegrityError, NotFoundError, RefusedError
from crimeface_lib.core.hashing import sha256_file
from crimeface_lib.core.settings import load_settings
from crimeface_lib.crime import SYNTHETIC_ATTRIBUTION, geographic_profile, make_grid, read_points
from crimeface_lib.governance import Dpia, User, template
from crimeface_lib.recognition import Embeddings, load_calibration
from crimeface_lib.workflow import CaseStore, open_run
from crimeface_lib.workflow.config import RecogniseConfig
from crimeface_lib.workflow.identity import identify
from crimeface_lib.workflow.issue import issue_report
from crimeface_lib.workflow.origin import login_name
from crimeface_lib.workflow.search_page import SearchPage

PASSWORD = "correct horse battery"
FACTS = {
    "source": "synthetic", "rationale": "to test", "category": "sample", "added_by": "rhea",
    "expires": date.today() + timedelta(days=30),
}  # fmt: skip


class Desk:
    """A store with people, an approved DPIA, a watchlist of ten, and a probe of the first on it."""

    def __init__(self, workplace, monkeypatch) -> None:
        self.place, self.moved = workplace, timedelta()
        monkeypatch.setenv("CRIMEFACE_PASSWORD", PASSWORD)
        self.folder = workplace.root / "store"
        self.store = self.open()
        admin = self.store.people.add(User("ada", frozenset({"admin"})))
        for name, role in (("rhea", "researcher"), ("dora", "approver"), ("rev-1", "reviewer"), ("rev-2", "reviewer")):
            self.store.people.add(User(name, frozenset({role})), password=PASSWORD, by=admin)
        calibration = load_calibration("dlib")
        self.model = (calibration.embedder, calibration.version)
        vectors = np.random.default_rng(1).normal(size=(10, 128)).astype(np.float32)
        self.vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        self.store.open_watchlist("default", create=True).enrol_many(
            self.embeddings(self.vectors), subjects=[f"s{n}" for n in range(10)], **FACTS
        )
        noise = np.random.default_rng(2).integers(0, 255, (40, 40, 3), dtype=np.uint8)
        self.probe = workplace.root / "probe.png"
        Image.fromarray(noise).save(self.probe)

    def open(self) -> CaseStore:
        return CaseStore.open(self.folder, clock=lambda: datetime.now(UTC) + self.moved)

    def embeddings(self, vectors) -> Embeddings:
        name, version = self.model
        return Embeddings(
            vectors=np.asarray(vectors, dtype=np.float32), quality=np.full(len(vectors), 60.0), failures={},
            embedder=name, version=version,
        )  # fmt: skip

    def approve(self, threshold: float = 0.0) -> int:
        content = template("face_search").to_dict()
        name, version = self.model[0], self.model[1].partition("+")[0]
        content["demonstration"] = False
        content["scope"] |= {"datasets": ["default"], "models": [{"name": name, "version": version}]}
        content["faces"] |= {"algorithm": name, "version": version, "threshold": threshold}
        return self.approve_content(content)

    def approve_content(self, content: dict) -> int:
        rhea, dora = self.store.people.get("rhea"), self.store.people.get("dora")
        number = self.store.dpias.draft(Dpia.from_dict(content), author=rhea)
        self.store.dpias.submit(number, author=rhea)
        self.store.dpias.advise(number, "Fine.", favourable=True, adviser=dora)
        review_by = (datetime.now(UTC) + timedelta(days=20)).date()
        self.store.dpias.approve(number, approver=dora, review_by=review_by)
        return number

    def run(self, **changes):
        cfg = RecogniseConfig(
            title="t", question="q", probe=self.probe, store=self.folder, actor="rhea",
            **{"purpose": "method-evaluation", **changes},
        )  # fmt: skip
        run = open_run(cfg, settings=load_settings())
        run.store = self.store
        return run

    def permit(self, run):
        name, version = self.model
        return run.permit("face_search", dataset="default", model=name, version=version.partition("+")[0])

    def search(self, run):
        permit = self.permit(run)
        run.take_in(self.probe, role="probe", evidence=False)
        return run.search(self.embeddings(self.vectors[:1]), permit=permit)

    def events(self, event):
        return [(e.event, e.facts) for e in self.store.audit.events(event)]


@pytest.fixture
def desk(workplace, monkeypatch) -> Desk:
    return Desk(workplace, monkeypatch)


def test_a_list_by_rank_needs_an_assessment_without_a_threshold(desk):
    """R2: investigative and identification mode apart; rank would list what the approved threshold leaves out."""
    desk.approve(threshold=0.5)
    with pytest.raises(RefusedError, match=r"rank, which lists entries below the approved threshold 0\.5"):
        desk.search(desk.run(search={"mode": "rank"}))
    assert not desk.events("use."), "nothing was searched"


def test_a_list_by_rank_lists_the_best_however_low_and_says_so(desk):
    desk.approve(threshold=-1.0)
    found = desk.search(desk.run(search={"mode": "rank", "top": 3}))
    assert (found.mode, found.threshold, found.fpir, len(found)) == ("rank", None, None, 3)
    page = SearchPage(found, SimpleNamespace(
        name="net", version="1", research_only=True, licence=SimpleNamespace(code="MIT", weights="x-research-only")
    ))  # fmt: skip
    told = page.method_table().set_index("what")["value"]
    assert told["mode"].startswith("investigative, by rank")
    assert told["FPIR"].startswith("100 %")
    assert told["licence"].endswith("for research only")
    assert "100.0% of the exact list" in told["recall"]
    assert page.candidate_table()["rank"].tolist() == [1, 2, 3]
    tied = replace(found, candidates=(found.candidates[0], replace(found.candidates[1], lr_high=1e9, at_limit=False)))
    assert SearchPage(tied, page.card).tied_table()["why"].tolist() == ["the intervals overlap"]
    assert "1 more can't be told from the first" in SearchPage(tied, page.card).findings("One face.")[-1]


def test_a_use_is_written_down_with_all_it_was(desk):
    """P6: start, end, reference database, input, reviewers."""
    desk.approve()
    run = desk.run(reviewers=("rev-1", "rev-2"))
    found = desk.search(run)
    assert found.candidates[0].subject == "s0"
    (_, start), (_, end) = desk.events("use.")
    assert set(start) == {"permit", "reference_sha256", "input_sha256", "reviewers"}
    assert start["input_sha256"] == [sha256_file(desk.probe)]
    assert start["reviewers"] == ["rev-1", "rev-2"]
    assert start["permit"] == run.record["permits"][0]["content_hash"]
    assert (end["outcome"], len(end["output_sha256"])) == ("completed", 1)
    before = start["reference_sha256"]
    desk.store.open_watchlist("default").enrol(desk.embeddings(-desk.vectors[:1]), subject="s10", **FACTS)
    desk.search(desk.run())
    assert desk.events("use.started")[1][1]["reference_sha256"] != before, "the list as it was then"
    (review,) = run.record["reviews"]
    asked = desk.store.reviews.get(review["review"])
    assert (asked.run, asked.reviewers, asked.candidates[0]) == (
        run.id, ("rev-1", "rev-2"), found.candidates[0].record,
    )  # fmt: skip


def test_a_permit_that_ends_during_the_run_ends_the_searching(desk):
    """P2: expired, withdrawn, policy file gone: the next call is refused, and nothing is computed."""
    number = desk.approve()
    run = desk.run()
    permit, probe = desk.permit(run), desk.embeddings(desk.vectors[:1])
    called = []
    search = lambda: run.use(permit, lambda *a, **k: called.append(1) or "found", probe)  # noqa: E731
    assert search() == "found"
    desk.moved = timedelta(days=30)
    with pytest.raises(RefusedError, match="expired"):
        search()
    desk.moved = timedelta()
    policy = (desk.folder / "policy.json").read_bytes()
    (desk.folder / "policy.json").unlink()
    with pytest.raises(RefusedError, match="policy file"):
        search()
    (desk.folder / "policy.json").write_bytes(policy)
    assert search() == "found"
    desk.store.dpias.withdraw(number, "Over.", user=desk.store.people.get("rhea"))
    for way in (search, lambda: run.search(probe, permit=permit)):
        with pytest.raises(RefusedError, match="withdrawn"):
            way()
    assert len(called) == 2
    assert len(desk.events("policy.refused")) == 4
    assert len(desk.events("use.started")) == 2


def test_a_permit_is_for_one_kind_of_use_and_one_model(desk):
    """P2: a permit to forecast permits no search, and one model's permit none with another's templates."""
    from dataclasses import replace
    from types import SimpleNamespace

    from crimeface_lib.crime import check_places, predict_places, tune_places

    desk.approve()
    run = desk.run()
    permit, probe = desk.permit(run), desk.embeddings(desk.vectors[:1])
    watchlist = desk.store.open_watchlist("default")
    for function, arguments, options, said in (
        (predict_places, (None, None), {"at": "2026-01", "horizon": "1M"}, "kind: got place_prediction"),
        (tune_places, (None, None), {"model": "kde"}, "kind: got place_prediction; model: got kde"),
        (check_places, (None, None, SimpleNamespace(model="kde")), {}, "kind: got place_prediction; model: got kde"),
        (watchlist.search, (replace(probe, embedder="other"),), {}, "model: got other"),
        (watchlist.search, (replace(probe, version="0000"),), {}, "model_version: got 0000"),
    ):
        with pytest.raises(RefusedError, match=said):
            run.use(permit, function, *arguments, **options)
    assert desk.events("use.") == []
    assert [facts["reason"] for _, facts in desk.events("access.refused")] == ["other_permit"] * 5


def test_a_profile_needs_a_dpia_of_its_own_kind_and_for_its_method(desk):
    """P2: neither a DPIA on faces nor one for the other method lets a series be profiled."""
    desk.approve()
    run, made = desk.run(), SimpleNamespace(attribution=SYNTHETIC_ATTRIBUTION)
    with pytest.raises(RefusedError, match="no approved DPIA covers this geographic_profile"):
        run.permit_profile(made, dataset="synthetic-crimes")
    with pytest.raises(RefusedError, match="say what they are"):
        run.permit_profile(SimpleNamespace(attribution="a force"), dataset="synthetic-crimes")
    desk.approve_content(template("geographic_profile").to_dict())
    permit = run.permit_profile(made, dataset="synthetic-crimes")
    few_cells = make_grid(box(0, 0, 5e3, 5e3), crs="EPSG:27700")
    for options, said in (({"method": "rossmo"}, "model: got rossmo"), ({}, "events: got")):
        with pytest.raises((RefusedError, InputError), match=said):
            run.use(permit, geographic_profile, few_places(), few_cells, **options)
    assert len(desk.events("use.started")) == 1


def few_places():
    table = pd.DataFrame({"x": [1e3, 2e3], "y": [1e3, 1e3], "t": "2024-01-01"})
    return read_points(table, time="t", x="x", y="y", crs="EPSG:27700")


def test_a_use_that_fails_is_written_down_as_failed(desk):
    desk.approve()
    run = desk.run()
    permit = desk.permit(run)

    def stop(kind):
        raise kind("no")

    for kind in (InputError, RefusedError, KeyboardInterrupt):
        with pytest.raises(kind):
            run.use(permit, stop, kind)
    assert [facts["outcome"] for _, facts in desk.events("use.ended")] == ["failed", "refused", "failed"]


def test_a_probe_without_a_candidate_leaves_nothing(desk):
    """P4, by bytes: neither the photo nor its template is anywhere after the run."""
    desk.approve(threshold=1.5)
    run = desk.run()
    found = desk.search(run)
    assert found.candidates == ()
    run.figure(None, "probe", caption="The probe.")
    run.finish()
    assert not list((desk.folder / "evidence").rglob("*.key"))
    assert run.record["reviews"] == []
    assert "nothing was kept" in " ".join(run.record["found"])
    photo, template_ = desk.probe.read_bytes(), desk.vectors[0].astype("<f4").tobytes()
    for path in desk.place.root.rglob("*"):
        if path.is_file() and path != desk.probe:
            data = path.read_bytes()
            assert photo[:64] not in data, path
            assert template_[:16] not in data, path


def test_a_probe_with_a_candidate_is_evidence(desk):
    desk.approve()
    run = desk.run()
    desk.search(run)
    (entry,) = run.record["inputs"]
    item = desk.store.evidence.item(entry["evidence"], actor="rhea", purpose="test")
    assert item.sha256 == sha256_file(desk.probe)


def test_a_probe_that_changes_under_way_stops_the_run(desk):
    desk.approve()
    run = desk.run()
    permit = desk.permit(run)
    run.take_in(desk.probe, role="probe", evidence=False)
    Image.new("RGB", (9, 9)).save(desk.probe)
    with pytest.raises(IntegrityError, match="changed while it was used"):
        run.search(desk.embeddings(desk.vectors[:1]), permit=permit)


# -- who acts -------------------------------------------------------------------------------------------------
def test_acting_as_another_needs_proof(desk, monkeypatch):
    people = desk.store.people
    login = login_name({})
    with pytest.raises(NotFoundError):
        identify(desk.store, "", environ={})
    mine = people.add(User(login, frozenset({"stakeholder"})), by=people.get("ada"))
    assert identify(desk.store, "", environ={}) == mine
    assert identify(desk.store, login, environ={"USER": "dora", "LOGNAME": "dora"}) == mine, "variables are no proof"
    with pytest.raises(RefusedError, match="needs its password"):
        identify(desk.store, "rhea", environ={})
    with pytest.raises(RefusedError, match="wrong password"):
        identify(desk.store, "rhea", environ={"CRIMEFACE_PASSWORD": "wrong horse battery"})
    assert identify(desk.store, "rhea", environ={"CRIMEFACE_PASSWORD": PASSWORD}).id == "rhea"
    token = people.issue_token(people.get("rhea"))
    assert identify(desk.store, "rhea", environ={"CRIMEFACE_TOKEN": token}).id == "rhea"
    with pytest.raises(RefusedError, match="needs its password"):
        identify(desk.store, "dora", environ={"CRIMEFACE_TOKEN": token})
    with pytest.raises(RefusedError, match="this is no server of a Hub"):
        identify(desk.store, "dora", environ={"JUPYTERHUB_USER": "dora"})
    desk.approve()
    monkeypatch.delenv("CRIMEFACE_PASSWORD")
    with pytest.raises(RefusedError, match="acting as 'rhea' needs"):
        desk.run()


def test_a_job_hands_its_proof_to_the_kernels(desk):
    from crimeface_lib.workflow.checks import sign_in

    cfg = RecogniseConfig(title="t", question="q", probe=desk.probe, store=desk.folder, actor="rhea")
    sign_in(cfg)
    assert desk.store.people.read_token(os.environ["CRIMEFACE_TOKEN"]).id == "rhea"


# -- two reviewers --------------------------------------------------------------------------------------------
def test_the_report_is_a_draft_until_two_people_have_decided(desk, monkeypatch):
    """P5: the run's own page says draft; what may be passed on is refused before two decisions and bears both."""
    import nbformat

    desk.approve()
    run = desk.run()
    desk.search(run)
    (run.folder / "notebooks").mkdir()
    nbformat.write(nbformat.v4.new_notebook(), run.folder / "notebooks" / "recognise.ipynb")
    pages = importlib.import_module("crimeface_lib.workflow.publish")  # the package has a function of that name
    monkeypatch.setattr(pages, "_print_pages", lambda pages, settings: [])
    run.finish()
    draft = (run.folder / "recognise.html").read_text()
    assert "Draft, awaiting review" in draft
    out, rhea = desk.place.root / "issued.html", desk.store.people.get("rhea")

    def issue():
        return issue_report(run.id, out, store=desk.store, by=rhea)

    review = run.record["reviews"][0]["review"]
    for decided, account in ((0, "rev-1"), (1, "rev-2")):
        with pytest.raises(RefusedError, match=rf"awaiting review \({decided} of 2\)"):
            issue()
        assert not out.exists()
        reason = f"seen by {account}"
        desk.store.reviews.decide(review, "no_follow_up", reason=reason, by=desk.store.people.get(account))
    issued = issue().read_text()
    assert "Draft, awaiting review" not in issued
    for word in ("seen by rev-1", "seen by rev-2", "No follow up", "Both reviewers decided alike"):
        assert word in issued
    (event,) = desk.store.audit.events("report.issued")
    assert event.facts["sha256"] == sha256_file(out)
    with pytest.raises(InputError, match=r"ends in .html or .pdf"):
        issue_report(run.id, out.with_suffix(".docx"), store=desk.store, by=rhea)
    step = run.folder / "steps" / "recognise.json"
    step.write_text(step.read_text().replace('"s0"', '"s9"'))
    with pytest.raises(IntegrityError, match="was changed"):
        issue()


def test_the_review_by_commands(desk):
    desk.approve()
    run = desk.run()
    desk.search(run)
    cli, store = desk.place.run_cli, ("--store", desk.folder)
    assert "awaiting review (0 of 2)" in cli("review", "list", *store)[1]
    decide = ("review", "decide", "1", "--decision", "follow_up", "--rank", "1", "--reason", "same ear", *store)
    code, said = cli(*decide, "--as", "rhea")
    assert (code, "may not decide_candidates" in said) == (3, True)
    assert cli(*decide, "--as", "rev-1")[0] == 0
    code, said = cli("review", "show", "1", *store)
    assert (code, "1 of 2" in said, "same ear" in said) == (0, True, False)
    code, said = cli(*decide, "--as", "rev-1")
    assert (code, "has decided" in said) == (3, True)
    code, said = cli("review", "decide", "1", "--decision", "follow_up", "--rank", "99", "--reason", "r", *store)
    assert code == 2
    assert "agreed" in cli(*decide, "--as", "rev-2")[1]
    assert "same ear" in cli("review", "show", "1", *store)[1]


# -- children -------------------------------------------------------------------------------------------------
def test_children_are_enrolled_under_an_approval_of_their_photos(desk):
    from crimeface_lib.workflow.children import check_children

    photos = desk.place.root / "photos"
    photos.mkdir()
    Image.new("RGB", (9, 9), "red").save(photos / "a.png")
    cli, store = desk.place.run_cli, ("--store", desk.folder)
    enrol = ("watchlist", "enrol", photos, "--source", "s", "--rationale", "r", "--category", "c", "--expires",
             str(date.today() + timedelta(days=9)), *store, "--as", "rhea")  # fmt: skip
    code, said = cli(*enrol, "--children", "1")
    assert (code, "expected an approved change" in said) == (3, True)
    assert cli("policy", "children", photos, "--reason", "missing children", *store, "--as", "rhea")[0] == 0
    assert cli(*enrol, "--children", "1")[0] == 3
    code, said = cli("policy", "approve", "1", "--answer", "a", *store, "--as", "rhea")
    assert (code, "may not give_approval" in said) == (3, True)
    assert cli("policy", "approve", "1", "--answer", "weighed", *store, "--as", "dora")[0] == 0
    assert "approved" in cli("policy", "changes", *store)[1]
    rhea = desk.store.people.get("rhea")
    check_children(desk.store, 1, photos, watchlist="default", by=rhea)
    with pytest.raises(RefusedError, match="got 0 others for 'second'"):
        check_children(desk.store, 1, photos, watchlist="second", by=rhea)
    Image.new("RGB", (9, 9), "blue").save(photos / "b.png")
    code, said = cli(*enrol, "--children", "1")
    assert (code, "got 1 others" in said) == (3, True)
