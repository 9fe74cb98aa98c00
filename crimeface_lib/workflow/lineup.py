"""A candidate list as its reviewer sees it: the list that was signed, the probe, and the candidates' photos.

Nothing of a run is read before the account may decide on its list and the run is what was signed. Each opening of a
list is an audit event, each look at a photo an event of custody.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from crimeface_lib.core.errors import CrimefaceError, ImageError, IntegrityError, NoFaceError, NotFoundError
from crimeface_lib.core.types import FloatArray, ImageArray
from crimeface_lib.governance import Review, User
from crimeface_lib.recognition.candidates import Candidate, CandidateList
from crimeface_lib.workflow.issue import read_step, require_list
from crimeface_lib.workflow.reference_photos import KIND, photo_of
from crimeface_lib.workflow.seal import verify_run
from crimeface_lib.workflow.store import CaseStore

if TYPE_CHECKING:
    from crimeface_lib.faces import Face, Landmarks

SYNTHETIC = "synthetic"  # what the source of an entry without a person is called
_CHIP = 640  # px of the aligned face: both sides the same


@dataclass(frozen=True, slots=True, eq=False)
class Portrait:
    """A photo to compare, as far as it can be shown.

    Parameters
    ----------
    image : (H, W, 3) uint8 RGB. faces, index : those found, and which is compared. landmarks : of it.
    chip : (S, S, 3) uint8, the face laid upright at one size.
    why : in words, why there is no photo or no aligned face; empty where there are both.
    """

    image: ImageArray | None = None
    faces: tuple[Face, ...] = ()
    index: int = 0
    landmarks: Landmarks | None = None
    chip: ImageArray | None = None
    why: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class OpenedList:
    """A candidate list under review.

    Parameters
    ----------
    found : the list. quality : what the run measured of the probe: score, parts, reasons.
    probe : its photo. mated, nonmated : quantiles of the calibration's scores; empty where the run kept none.
    parameters : of the run's notebook.
    """

    review: Review
    found: CandidateList
    quality: dict[str, Any]
    probe: Portrait
    mated: FloatArray
    nonmated: FloatArray
    parameters: dict[str, Any]


def open_list(store: CaseStore, review: int, *, by: User) -> OpenedList:
    """Return the list of a review that waits for ``by``, with its probe.

    Raises
    ------
    RefusedError : ``by`` may not decide on it, the run is gone or unfinished, or it is not what was signed.
    """
    by = store.people.require(by, "decide_candidates", review=review)
    found = store.reviews.get(review)
    if barrier := store.reviews.barrier(review, by=by):
        message = f"review {review} is not open to you: {_BARRIERS[barrier]}"
        store.people.refuse(by.id, "decide_candidates", barrier, message, review=review)
    step = _signed_step(store, found, by)
    store.audit.record(
        "review.viewed", actor=by.id, at=store.clock(), review=review, run=found.run, list_sha256=found.list_sha256
    )
    results, parameters = step["results"], step["parameters"]
    scores = results.get("calibration_scores") or {"mated": [], "nonmated": []}
    return OpenedList(
        review=found, found=CandidateList.from_dict(results["list"]), quality=results.get("quality") or {},
        probe=_probe(store, step, purpose=_purpose(review), by=by), parameters=parameters,
        mated=np.array(scores["mated"], dtype=float), nonmated=np.array(scores["nonmated"], dtype=float),
    )  # fmt: skip


def reference_photo(store: CaseStore, opened: OpenedList, candidate: Candidate, *, by: User) -> Portrait:
    """Return the photo of a candidate's entry, where the evidence store holds it; else the reason in its place."""
    by = store.people.require(by, "decide_candidates", review=opened.review.id)
    if candidate.source == SYNTHETIC:
        return Portrait(why="This is a synthetic entry: there is no person and no photo.")
    ask = f"Only the template was kept. Ask the source for the photo: {candidate.source}."
    try:
        entry = store.open_watchlist(opened.parameters["watchlist"]).entry(candidate.record)
    except NotFoundError:
        return Portrait(why="The entry is no longer on the watchlist: it has expired or was removed.")
    except IntegrityError:
        return Portrait(why=f"The entry is damaged and can't be read. {ask}")
    if not (digest := photo_of(entry)):
        return Portrait(why=ask)
    who: dict[str, str] = {"actor": by.id, "purpose": _purpose(opened.review.id)}
    items = sorted(store.evidence.list(**who, hash=digest), key=lambda item: item.kind != KIND)
    if not items:
        return Portrait(why=f"{ask} Its SHA-256 begins with {digest[:12]}.")
    return read_portrait(store.evidence.get(items[0].id, **who), detector=_detector(opened.parameters))


def read_portrait(data: bytes, *, detector: str, face: str | int = "largest") -> Portrait:
    """Return a photo with the face that is compared; what can't be found in it is said in its place."""
    from crimeface_lib.faces import align_face, choose_face, detect_faces, find_landmarks, load_image

    try:
        image = load_image(data)
    except ImageError:
        return Portrait(why="The photo that was kept can't be read.")
    try:
        faces = detect_faces(image, detector=detector)
        choice = choose_face(faces, which=face)
    except NoFaceError:
        return Portrait(image=image, why="No face is found in this photo, so it can't be laid upright.")
    except CrimefaceError as error:  # the detector of the run is not installed here, say
        return Portrait(image=image, why=f"The face can't be laid upright here: {error}.")
    return Portrait(
        image, tuple(faces), choice.index, find_landmarks(image, choice.face),
        align_face(image, choice.face, size=_CHIP),
    )  # fmt: skip


_BARRIERS = {
    "own_work": "you ran the search",
    "decided": "you have decided; nothing can be changed",
    "complete": "two people have decided",
    "not_asked": "others were asked",
}


def _signed_step(store: CaseStore, review: Review, by: User) -> dict[str, Any]:
    """Return what the notebook that asked for a review left, if the run is still what was signed."""
    folder = store.settings.reports / review.run

    def refuse(reason: str, message: str) -> NoReturn:
        store.people.refuse(by.id, "decide_candidates", reason, message, review=review.id, run=review.run)

    try:
        verify_run(folder, key=store.keys.verify_key)
        steps = [read_step(folder, path.stem) for path in sorted((folder / "steps").glob("*.json"))]
        asked = {"review": review.id, "list_sha256": review.list_sha256}
        for step in steps:
            if {**asked, "notebook": step["notebook"]} in step["reviews"]:
                require_list(step, review.list_sha256, run=review.run)
                return step
    except NotFoundError:
        refuse("run_gone", f"run {review.run} has not finished, or its folder is gone; ask {review.asked_by}")
    except IntegrityError as error:
        said = str(error).replace(f"{folder}/", "")
        refuse("run_changed", f"run {review.run} is not what was signed, so nothing of it is shown: {said}")
    refuse("run_without_list", f"run {review.run} holds no list for review {review.id}; ask {review.asked_by}")


def _probe(store: CaseStore, step: dict[str, Any], *, purpose: str, by: User) -> Portrait:
    ids = [entry["evidence"] for entry in step["inputs"] if entry["role"] == "probe" and "evidence" in entry]
    try:
        data = store.evidence.get(ids[0], actor=by.id, purpose=purpose)
    except (IndexError, NotFoundError):
        return Portrait(why="The probe is no longer in the evidence store. Without it nobody can compare the photos.")
    return read_portrait(data, detector=_detector(step["parameters"]), face=step["parameters"]["face"])


def _detector(parameters: dict[str, Any]) -> str:
    return str(parameters["embed"]["detector"])


def _purpose(review: int) -> str:
    return f"review {review} of a candidate list"
