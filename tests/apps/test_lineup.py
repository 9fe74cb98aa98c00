"""Candidate review: who sees what, what is checked first, what is logged, and two decisions blind to each other."""

from __future__ import annotations

import dataclasses
import io
import json
import re
from datetime import timedelta
from html import unescape

import numpy as np
import pytest
from PIL import Image

from crimeface_lib.apps import Lineup, Session
from crimeface_lib.apps.lineup_parts import VIEWS, quality_html, view_style
from crimeface_lib.core.errors import RefusedError
from crimeface_lib.core.hashing import content_hash, sha256_bytes
from crimeface_lib.faces import assess_quality, detect_faces
from crimeface_lib.recognition import Embeddings, load_calibration
from crimeface_lib.recognition.candidates import CandidateList
from crimeface_lib.workflow.lineup import open_list, read_portrait
from crimeface_lib.workflow.reference_photos import KIND, case_of
from crimeface_lib.workflow.seal import list_outputs, sign_manifest, write_manifest
from crimeface_lib.workflow.store import CaseStore

RUN, REASON = "20260110-120000-recognise", "The brows and the nose agree."


@pytest.fixture(scope="module")
def photo():
    from skimage import data

    buffer = io.BytesIO()
    Image.fromarray(data.astronaut()).save(buffer, format="PNG")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def quality(photo):
    image = np.asarray(Image.open(io.BytesIO(photo)))
    return assess_quality(image, detect_faces(image)[0]).to_dict()


@pytest.fixture
def office(tmp_path, settle):
    """Settings of a place with accounts that have no password: tokens are quicker."""
    roles = {"ada": "admin", "rhea": "researcher", "rita": "reviewer", "remy": "reviewer", "ruth": "reviewer",
             "stan": "stakeholder"}  # fmt: skip
    return settle(tmp_path, roles)


class Case:
    """A team's store with a signed run whose list two people are to decide on."""

    def __init__(self, settings, photo, quality, *, candidates=3, reviewers=(), own_calibration=False):
        self.settings, self.photo = settings, photo
        self.store = CaseStore.open(settings.default_store, settings=settings)
        self.probe = self.store.evidence.add(self._degraded(), actor="rhea", purpose="case", kind="photo", case="C-1")
        self.found = self._search(candidates)
        self.step = self._step(quality, own_calibration)
        self.folder = settings.reports / RUN
        self.review = self._ask(reviewers)
        self.sign()

    def _degraded(self):
        """Return the photo smaller and compressed: the probe is another file than the reference photo."""
        buffer = io.BytesIO()
        Image.open(io.BytesIO(self.photo)).resize((320, 320)).save(buffer, format="JPEG", quality=60)
        return buffer.getvalue()

    def _search(self, count) -> CandidateList:
        """Enrol templates drawn at random, the first with its photo, and search for something like it."""
        calibration = load_calibration("dlib")
        rng = np.random.default_rng(7)
        vectors = rng.normal(size=(max(count, 1), 128)).astype(np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        made = Embeddings(
            vectors=vectors, quality=np.full(len(vectors), np.nan), failures={}, embedder="dlib",
            version=calibration.version,
        )  # fmt: skip
        watchlist = self.store.open_watchlist("default", create=True)
        photos = [sha256_bytes(self.photo), *[""] * (len(vectors) - 1)]
        watchlist.enrol_many(
            made, subjects=[f"S-{n}" for n in range(len(vectors))], photos=photos, source="county records",
            rationale="r", category="wanted", added_by="rhea", expires=(self.store.clock() + timedelta(days=9)).date(),
        )  # fmt: skip
        one = dataclasses.replace(made, vectors=vectors[:1] * 1.0, quality=np.array([np.nan]))
        found = watchlist.search(one, top=count or 1)
        return found if count else dataclasses.replace(found, candidates=())

    def _step(self, quality, own_calibration):
        calibration = load_calibration("dlib")
        scores = {name: getattr(calibration, name).tolist() for name in ("mated", "nonmated")}
        return {
            "notebook": "recognise",
            "inputs": [{"role": "probe", "sha256": self.probe.sha256, "evidence": self.probe.id}],
            "parameters": {
                "watchlist": "default",
                "face": "largest",
                "embed": {"embedder": "dlib", "detector": "dlib"},
            },
            "results": {"list": self.found.to_dict(), "quality": quality}
            | ({} if own_calibration else {"calibration_scores": scores}),
            "reviews": [],
        }

    def _ask(self, reviewers):
        digest = content_hash(self.step["results"]["list"]).removeprefix("sha256:")
        by = self.store.people.get("rhea")
        records = [one.record for one in self.found.candidates]
        asked = self.store.reviews.ask(run=RUN, list_sha256=digest, candidates=records, by=by, reviewers=reviewers)
        self.step["reviews"] = [{"review": asked.id, "notebook": "recognise", "list_sha256": digest}]
        return asked.id

    def sign(self):
        (self.folder / "steps").mkdir(parents=True, exist_ok=True)
        (self.folder / "steps" / "recognise.json").write_text(json.dumps(self.step))
        manifest = {"id": RUN, "outputs": list_outputs(self.folder)}
        sign_manifest(self.folder, write_manifest(self.folder, manifest), self.store.keys.signing_key)

    def app(self, account=None) -> Lineup:
        lineup = Lineup(Session(settings=self.settings, environ={}))
        if account:
            people = self.store.people
            lineup.session.sign_in(account, people.issue_token(people.get(account)))
        return lineup

    def opened(self, account="rita") -> Lineup:
        lineup = self.app(account)
        lineup.open.click()
        assert lineup.opened is not None, lineup.status.value
        return lineup

    def keep_photo(self):
        return self.store.evidence.add(
            self.photo, actor="rhea", purpose="reference", kind=KIND, case=case_of("default")
        )

    def events(self, name="review."):
        return [event.event for event in self.store.audit.events(name)]


@pytest.fixture
def case(office, photo, quality):
    return Case(office, photo, quality)


def text(lineup) -> str:
    """Everything the page holds, pictures left out."""
    import ipywidgets as widgets

    def walk(part):
        yield " ".join(str(getattr(part, name, "")) for name in ("value", "description", "options"))
        for child in getattr(part, "children", ()):
            yield from walk(child)

    assert isinstance(lineup.widget, widgets.Box)
    return unescape(re.sub(r"base64,[A-Za-z0-9+/=]+", "", " ".join(walk(lineup.widget))))


def choose(lineup, subject):
    lineup.comparison.chosen.value = next(
        one.record for one in lineup.opened.found.candidates if one.subject == subject
    )


def decide(lineup, decision, reason=REASON):
    lineup.form.decision.value = decision
    lineup.form.reason.value = reason
    lineup.form.ask.click()
    lineup.form.yes.click()


# -- who sees what ---------------------------------------------------------------------------------------
def test_nothing_of_a_run_is_shown_before_somebody_signs_in(case):
    page = text(case.app())
    assert "Sign in" in page
    assert RUN not in page
    assert "S-0" not in page


@pytest.mark.parametrize(
    ("account", "sees"),
    [("rhea", "not what is in it"), ("stan", "not what is in it"), ("ada", "roles don't let you see reviews")],
)
def test_who_does_not_decide_sees_states_at_most(case, account, sees):
    lineup = case.app(account)
    page = text(lineup)
    assert sees in page
    assert ("awaiting review (0 of 2)" in page) == (account != "ada")
    assert "S-0" not in page
    assert lineup._choice.layout.display == "none"
    lineup.open_review(case.review)
    assert lineup.opened is None
    assert "cf-problem" in lineup.status.value


def test_a_reviewer_sees_what_waits_and_who_asked(case):
    page = text(case.app("rita"))
    for part in ("One review waits for you", RUN, "rhea", "Review 1"):
        assert part in page
    assert "S-0" not in page


def test_a_list_that_others_were_asked_about_stays_shut(office, photo, quality):
    case = Case(office, photo, quality, reviewers=("rita", "remy"))
    lineup = case.app("ruth")
    assert "No review waits for you" in text(lineup)
    lineup.open_review(case.review)
    assert "others were asked" in lineup.status.value
    assert [e.facts["reason"] for e in case.store.audit.events("access.refused")] == ["not_asked"]


def test_signing_out_takes_everything_off_the_page(case):
    lineup = case.opened()
    comparison = lineup.comparison
    lineup.session.leave.click()
    assert lineup.opened is lineup.comparison is lineup.form is None
    assert (comparison.pair.value, RUN in text(lineup), "S-0" in text(lineup)) == ("", False, False)


def test_a_list_can_be_closed_and_opened_again(case):
    lineup = case.opened()
    for _ in range(2):
        top = lineup._table.children[0]
        top.children[-1].click()
        assert lineup.opened is None
        assert "One review waits" in text(lineup)
        lineup.open.click()
        assert lineup.opened is not None
        assert all(part.comm is not None for part in lineup._table.children[0].children), "a closed button has none"
    assert case.events()[1:] == ["review.viewed"] * 3


# -- what is checked first -------------------------------------------------------------------------------
def test_a_changed_run_is_refused_and_logged(case):
    path = case.folder / "steps" / "recognise.json"
    path.write_text(path.read_text().replace("county", "another"))
    lineup = case.app("rita")
    lineup.open.click()
    assert lineup.opened is None
    assert "not what was signed" in lineup.status.value
    assert "One review waits" not in lineup.status.value
    assert RUN in lineup.reviews.value, "the list of reviews stays"
    assert "recognise.json was changed" in lineup.status.value
    assert str(case.settings.reports) not in lineup.status.value, "no path on the page"
    assert [e.facts["reason"] for e in case.store.audit.events("access.refused")] == ["run_changed"]
    assert case.events() == ["review.asked"], "nothing was viewed"


def test_another_list_under_a_good_seal_is_refused(case):
    case.step["results"]["list"]["gallery_size"] = 9
    case.sign()
    lineup = case.app("rita")
    lineup.open.click()
    assert "not the one that was handed to the reviewers" in lineup.status.value


def test_a_run_signed_by_another_key_or_gone_is_refused(case, tmp_path):
    import shutil

    from crimeface_lib.storage import KeyRing

    data = (case.folder / "run.json").read_bytes()
    sign_manifest(case.folder, data, KeyRing.open(tmp_path / "other.json").signing_key)
    lineup = case.app("rita")
    lineup.open.click()
    assert "signed by key" in lineup.status.value
    shutil.rmtree(case.folder)
    lineup.open.click()
    assert "its folder is gone" in lineup.status.value
    assert str(case.settings.reports) not in text(lineup)


# -- what is shown ---------------------------------------------------------------------------------------
def test_probe_and_reference_photo_lie_side_by_side_at_one_size_and_each_look_is_logged(case):
    kept = case.keep_photo()
    lineup = case.opened()
    choose(lineup, "S-0")
    choose(lineup, "S-1")
    choose(lineup, "S-0")
    portraits = [lineup.opened.probe, lineup.comparison._portraits[lineup.comparison.candidate.record]]
    assert [one.chip.shape for one in portraits] == [(640, 640, 3)] * 2
    assert lineup.comparison.pair.value.count("<img") == 2
    assert "px between the eyes" in lineup.comparison.pair.value
    for item in (case.probe.id, kept.id):
        looks = case.store.evidence.custody(item).to_frame()
        shown = looks[(looks.actor == "rita") & (looks.purpose == "review 1 of a candidate list")]
        assert set(shown.event) == {"consultation"}
    assert len(looks[looks.actor == "rita"]) == 2, "found and read, once however often it is shown"
    assert case.events() == ["review.asked", "review.viewed"]


def test_where_there_is_no_photo_the_page_says_why(case):
    gone = next(one.record for one in case.found.candidates if one.subject == "S-2")
    case.store.open_watchlist("default").remove(gone)
    lineup = case.opened()
    choose(lineup, "S-1")
    assert "Only the template was kept. Ask the source for the photo: county records." in lineup.comparison.pair.value
    choose(lineup, "S-0")
    assert sha256_bytes(case.photo)[:12] in lineup.comparison.pair.value
    choose(lineup, "S-2")
    assert "no longer on the watchlist" in lineup.comparison.pair.value


def test_a_probe_that_was_erased_is_told_and_the_list_can_still_be_decided_on(case):
    case.store.evidence.delete(case.probe.id, actor="rhea", purpose="end of term")
    lineup = case.opened()
    assert "no longer in the evidence store" in lineup.comparison.pair.value
    decide(lineup, "inconclusive")
    assert "your decision is sealed, 1 of 2" in lineup.status.value


def test_scores_are_hidden_until_asked_for_and_the_log_says_when(case):
    lineup = case.opened()
    comparison = lineup.comparison
    assert comparison.scores.value == comparison.table.value == ""
    assert not re.search(r"\d × 10|Likelihood ratio|Rank</dt>", text(lineup))
    before = comparison.chosen.value
    assert [record for _, record in comparison.chosen.options] == sorted(r for _, r in comparison.chosen.options)
    comparison.photos_first.value = False
    assert comparison.chosen.value == before
    assert [record for _, record in comparison.chosen.options] == [c.record for c in case.found.candidates]
    first = case.found.candidates[0]
    choose(lineup, first.subject)
    for part in (first.lr_words, f"{first.score:.3f}", "grey and dashed", "All 3 candidates"):
        assert part in text(lineup)
    assert comparison.scores.value.count("<img") == 1
    comparison.photos_first.value = True
    comparison.photos_first.value = False
    assert case.events()[2:] == ["review.scores_shown"], "once"


def test_scores_that_may_not_be_shown_stay_hidden(case):
    lineup = case.opened()
    case.store.people.set_roles("rita", [], by=case.store.people.get("ada"))
    lineup.comparison.photos_first.value = False
    assert lineup.comparison.photos_first.value
    assert lineup.comparison.scores.value == ""
    assert "cf-problem" in lineup.status.value


def test_a_run_that_kept_no_calibration_scores_says_so(office, photo, quality):
    lineup = Case(office, photo, quality, own_calibration=True).opened()
    lineup.comparison.photos_first.value = False
    assert "kept no scores of its calibration" in lineup.comparison.scores.value


def test_every_view_zoom_and_flip_changes_what_it_should(case):
    case.keep_photo()
    lineup = case.opened()
    choose(lineup, "S-0")
    comparison = lineup.comparison
    seen = {}
    for view in VIEWS.values():
        comparison.view.value = view
        seen[view] = comparison.pair.value
    assert "<svg" in seen["photos"]
    assert "circle" not in seen["photos"]
    assert "cf-over" in seen["over"]
    comparison.view.value = "photos"
    comparison.landmarks.value = True
    assert comparison.pair.value.count("<circle") == 2 * 68
    sent = comparison.pair.value
    comparison.zoom.value, comparison.region.value = 3.0, "Mouth"
    comparison.flip.click()
    assert comparison.style.value == view_style(zoom=3.0, region="Mouth", blend=0.0)
    comparison.flip.click()
    assert "--cf-blend:1.00" in comparison.style.value
    assert comparison.pair.value == sent, "no picture is sent again"


@pytest.mark.parametrize("count", [0, 1, 100])
def test_lists_of_any_length(office, photo, quality, count):
    lineup = Case(office, photo, quality, candidates=count).opened()
    lineup.comparison.photos_first.value = False
    assert len(lineup.comparison.chosen.options) == count
    if count == 0:
        decide(lineup, "follow_up")
        assert "no candidate to follow up" in lineup.form.said.value
        decide(lineup, "no_follow_up")
        assert "is sealed" in lineup.status.value


def test_the_weakest_part_of_the_probe_is_named_and_an_unknown_quality_told(quality):
    weakest = min(quality["parts"], key=quality["parts"].get)
    assert f"Weakest: {weakest}" in quality_html(quality)
    assert quality_html(quality).count("<tr>") == 8
    assert "not known" in quality_html({})
    assert "Quality of the probe: unknown<" in quality_html({"score": None, "parts": {"pose": 0.5}})


def test_a_photo_without_a_face_is_shown_as_it_is():
    buffer = io.BytesIO()
    Image.new("RGB", (80, 60), "grey").save(buffer, format="PNG")
    portrait = read_portrait(buffer.getvalue(), detector="dlib")
    assert portrait.image is not None
    assert "No face is found" in portrait.why
    assert "can't be read" in read_portrait(b"not a photo", detector="dlib").why
    assert "nonsense" in read_portrait(buffer.getvalue(), detector="nonsense").why


# -- decisions -------------------------------------------------------------------------------------------
def test_two_reviewers_decide_and_the_second_sees_nothing_of_the_first(case):
    first = case.opened("rita")
    choose(first, "S-0")
    decide(first, "follow_up")
    assert "1 of 2 have decided" in first.status.value
    assert REASON not in text(first)
    assert "not before both have decided" in text(first)
    second = case.opened("remy")
    page = text(second)
    assert REASON not in page
    assert "rita" not in page
    choose(second, "S-0")
    decide(second, "follow_up", "The ears as well.")
    page = text(second)
    for part in ("Both decided alike: follow up candidate 1", REASON, "The ears as well.", "crimeface review issue"):
        assert part in page
    first.refresh.click()
    assert "The ears as well." in text(first)
    assert case.store.reviews.get(case.review).state == "agreed"
    assert "agreed" in text(case.app("stan"))
    assert REASON not in text(case.app("stan"))


def test_a_decision_needs_a_choice_a_reason_and_a_second_look(case):
    lineup = case.opened()
    form = lineup.form
    assert form.decision.value is None, "none is suggested"
    form.ask.click()
    assert "Choose one of the three" in form.said.value
    form.decision.value = "inconclusive"
    form.reason.value = "  "
    form.ask.click()
    assert "Write the reason" in form.said.value
    form.reason.value = "x" * 2001
    form.ask.click()
    assert "shorten it to 2,000" in form.said.value
    form.yes.click()
    form.reason.value = "<b>blurred</b>"
    form.ask.click()
    assert "&lt;b&gt;blurred" in form.said.value
    assert form.reason.disabled
    form.back.click()
    assert not form.reason.disabled
    form.yes.click()
    assert case.store.reviews.get(case.review).decided == 0
    form.ask.click()
    form.yes.click()
    assert case.store.reviews.get(case.review).decided == 1


def test_what_is_confirmed_is_what_is_recorded(case):
    lineup = case.opened()
    choose(lineup, "S-1")
    lineup.form.decision.value, lineup.form.reason.value = "follow_up", REASON
    lineup.form.ask.click()
    assert "follow up S-1" in lineup.form.said.value
    choose(lineup, "S-2")
    lineup.form.yes.click()
    second = case.opened("remy")
    decide(second, "inconclusive")
    said = {one.by: one.candidate for one in case.store.reviews.get(case.review).decisions}
    assert said["rita"] == next(c.record for c in case.found.candidates if c.subject == "S-1")


def test_who_has_decided_cannot_open_or_decide_again(case):
    lineup = case.opened()
    decide(lineup, "no_follow_up")
    assert "No review waits for you" in text(case.app("rita"))
    with pytest.raises(RefusedError, match="you have decided"):
        open_list(case.store, case.review, by=case.store.people.get("rita"))


def test_a_refused_decision_is_said_beside_the_button(case):
    lineup = case.opened()
    case.store.people.set_roles("rita", [], by=case.store.people.get("ada"))
    decide(lineup, "no_follow_up")
    assert "cf-problem" in lineup.form.said.value
    assert case.store.reviews.get(case.review).decided == 0


def test_our_own_faults_show_no_traceback(case, monkeypatch):
    import crimeface_lib.workflow.lineup as module

    def broken(*arguments, **options):
        raise RuntimeError("secret detail")

    monkeypatch.setattr(module, "open_list", broken)
    lineup = case.app("rita")
    lineup.open.click()
    assert "Something went wrong on our side" in lineup.status.value
    assert "secret detail" not in text(lineup)


def test_no_page_speaks_of_a_verdict(case):
    lineup = case.opened()
    lineup.comparison.photos_first.value = False
    assert not re.search(r"\bmatch(es|ed)?\b|\bidentified\b", text(lineup), flags=re.I)


def test_a_list_survives_the_way_through_json(case):
    assert CandidateList.from_dict(json.loads(json.dumps(case.found.to_dict()))).candidates == case.found.candidates
