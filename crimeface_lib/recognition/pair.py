"""Two photos before and in a comparison: their faces, what speaks against comparing them, and the one likelihood ratio.

To be called behind the gate: the workflow hands ``compare_pair`` to ``run.use`` with a permit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from crimeface_lib.core.errors import InputError
from crimeface_lib.core.hashing import sha256_file
from crimeface_lib.core.results import Result
from crimeface_lib.core.types import FloatArray, ImageArray
from crimeface_lib.faces import (
    Choice,
    Quality,
    align_face,
    assess_quality,
    choose_face,
    detect_faces,
    find_landmarks,
    load_image,
)
from crimeface_lib.recognition.compare import score_pairs
from crimeface_lib.recognition.embed import Embedder, Embeddings, embed_images
from crimeface_lib.recognition.likelihood_ratio import Calibration
from crimeface_lib.recognition.records import same_model

#: Correlation of the fine detail of two aligned faces from which they are copies of one picture. Of 160 pairs of one
#: person's different photos (LFW DevTest) none reached 0.81; of 240 copies, resized, turned, cut, brightened or
#: compressed again, 99 % lay above 0.87.
COPIES = 0.85
#: Margin around the face's box in the changed photos, in its sides.
_CUT = 0.6


@dataclass(frozen=True, slots=True, eq=False)
class PairedPhoto:
    """One of the two photos: the face that is used, its points, the chip that is compared, its quality."""

    name: str
    photo: ImageArray = field(repr=False)
    choice: Choice
    points: FloatArray = field(repr=False)
    chip: ImageArray = field(repr=False)
    quality: Quality
    sha256: str


@dataclass(frozen=True, slots=True)
class Check(Result):
    """What was asked before the comparison, what was found, whether it stops it, or goes on with a ``caution``."""

    check: str
    found: str
    passed: bool
    caution: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class PairResult(Result):
    """The one likelihood ratio, with its interval, and how it moves when the photos are changed a little.

    ``changes`` has a row a change: change, side ("A", "B" or "both"), score, LR and, where it failed, why.
    """

    score: float
    likelihood_ratio: float
    low: float
    high: float
    clamped: bool
    level: float
    embedder: str
    version: str
    changes: list[dict[str, Any]] = field(repr=False)


def compare_pair(
    embedder: Embedder,
    first: PairedPhoto,
    second: PairedPhoto,
    *,
    calibration: Calibration,
    detector: str,
    others: Sequence[str],
    level: float,
) -> PairResult:
    """Return the likelihood ratio of two photos, and the same after small changes to either. For ``run.use`` alone.

    Raises
    ------
    RefusedError : the calibration is for another embedder or version. InputError : a face can't be embedded.
    """
    sides = first, second
    plain = [
        embed_images([s.photo], embedder=embedder, detector=detector, which=s.choice.index, workers=1) for s in sides
    ]
    same_model("calibration", (calibration.embedder, calibration.version), plain[0])
    for side, found in zip(sides, plain, strict=True):
        if found.failures:
            raise InputError(f"photo {side.name}: {found.failures[0]}")
    score = float(score_pairs(plain[0].vectors, plain[1].vectors)[0])
    ratios = calibration.likelihood_ratio([score], level=level)
    rows = []
    for mine, other in ((0, 1), (1, 0)):
        altered = _altered(sides[mine])
        made = embed_images(list(altered.values()), embedder=embedder, detector=detector, which="central", workers=2)
        for row, change in enumerate(altered):
            rows.append(_row(change, sides[mine].name, made, row, plain[other].vectors, calibration))
    for name in others:
        made = embed_images([_cut(s) for s in sides], embedder=embedder, detector=name, which="central", workers=1)
        rows.append(_row(f"faces found by {name}", "both", made, 0, made.vectors[1:], calibration))
    return PairResult(
        score, float(ratios.lr[0]), float(ratios.low[0]), float(ratios.high[0]), bool(ratios.clamped[0]), level,
        plain[0].embedder, plain[0].version, rows,
    )  # fmt: skip


def look_at(path: Path, name: str, which: str | int, *, detector: str, embedder: Embedder) -> PairedPhoto:
    """Return a photo with the face that is to be compared.

    Raises
    ------
    ImageError : no readable photo. NoFaceError : no face in it. InputError : no such face.
    """
    photo = load_image(path)
    choice = choose_face(detect_faces(photo, detector=detector), which=which)
    chip = align_face(photo, choice.face, size=embedder.chip_size, template=embedder.template)
    points = find_landmarks(photo, choice.face).points
    return PairedPhoto(name, photo, choice, points, chip, assess_quality(photo, choice.face), sha256_file(path))


def check_pair(
    first: PairedPhoto, second: PairedPhoto, calibration: Calibration, *, minimum: float
) -> tuple[Check, ...]:
    """Return what is asked before anything is compared.

    Parameters
    ----------
    minimum : quality that either photo needs, 0–100.
    """
    same = first.sha256 == second.sha256
    alike = _alikeness(first, second)
    copies = alike >= COPIES
    checks = [
        Check("two files", "Both photos are the same file." if same else "The files differ.", not same),
        Check(
            "two pictures",
            f"The fine detail of both faces correlates at {alike:.2f}"
            + (": they look like copies of one picture, which says nothing about two." if copies
               else f"; copies of one picture reach {COPIES}."),
            not copies,
        ),
    ]  # fmt: skip
    for side in (first, second):
        worth = side.quality.score
        found = f"Photo {side.name} has quality {worth:.0f}, and at least {minimum:g} is asked for."
        checks += [
            Check(f"face in photo {side.name}", side.choice.sentence, side.choice.face.score >= 0),
            Check(f"quality of photo {side.name}", found, worth >= minimum),
        ]
    worst = min((first, second), key=lambda side: side.quality.score)
    known, found = calibration.photo_quality, "The calibration doesn't tell how good its photos were."
    like = bool(len(known)) and worst.quality.score >= known[1]
    if len(known):
        found = (
            f"98 % of the calibration's photos have {known[1]:.0f} to {known[99]:.0f}; the poorer one here, photo "
            f"{worst.name}, has {worst.quality.score:.0f}"
        )
        poor = ": the ratio comes from better photos than this, and is less reliable than its interval says."
        found += "." if like else poor
    checks.append(Check("quality like the calibration's", found, passed=True, caution=not like))
    return tuple(checks)


def _alikeness(first: PairedPhoto, second: PairedPhoto) -> float:
    """Return the correlation of the fine detail of the two aligned faces; 1 for copies."""
    import cv2

    fine = []
    for side in (first, second):
        chip = align_face(side.photo, side.choice.face)
        grey = cv2.GaussianBlur(cv2.cvtColor(chip, cv2.COLOR_RGB2GRAY).astype(float), (0, 0), 1.0)[35:115, 35:115]
        fine.append((grey - cv2.GaussianBlur(grey, (0, 0), 8.0)).ravel())
    if min(float(part.std()) for part in fine) == 0:
        return 0.0
    return float(np.corrcoef(fine[0], fine[1])[0, 1])


def _cut(side: PairedPhoto) -> ImageArray:
    """Return the surroundings of the face alone, so that it is found anew, and no other."""
    left, top, right, bottom = side.choice.face.box
    margin = _CUT * (right - left)
    rows = slice(max(0, int(top - margin)), int(bottom + margin))
    return np.ascontiguousarray(side.photo[rows, max(0, int(left - margin)) : int(right + margin)])


def _altered(side: PairedPhoto) -> dict[str, ImageArray]:
    """Return the photo after changes that leave the person the same: change → image."""
    import cv2

    cut = _cut(side)
    height, width = cut.shape[:2]
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), 5.0, 1.0)
    coded = cv2.imencode(".jpg", cut[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 50])[1]
    blur = max(0.03 * side.choice.face.interocular, 0.5)  # px
    made = {
        "cut out, found anew": cut,
        "mirror image": cut[:, ::-1],
        "turned by 5°": cv2.warpAffine(cut, turn, (width, height), borderMode=cv2.BORDER_REPLICATE),
        "three quarters the size": cv2.resize(cut, None, fx=0.75, fy=0.75, interpolation=cv2.INTER_AREA),
        "compressed, JPEG 50": np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR))[:, :, ::-1],
        "a quarter brighter": np.clip(cut * 1.25, 0, 255),
        "a quarter darker": cut * 0.75,
        "blurred a little": cv2.GaussianBlur(cut, (0, 0), blur),
    }
    return {name: np.ascontiguousarray(np.asarray(image).astype(np.uint8)) for name, image in made.items()}


def _row(
    change: str, side: str, made: Embeddings, row: int, other: npt.ArrayLike, calibration: Calibration
) -> dict[str, Any]:
    why = made.failures.get(row, "" if np.isfinite(other).all() else "no face was found")
    if why:
        return {"change": change, "side": side, "score": None, "lr": None, "why": f"not compared: {why}"}
    score = float(score_pairs(made.vectors[row : row + 1], other)[0])
    ratio = float(calibration.likelihood_ratio([score]).lr[0])
    return {"change": change, "side": side, "score": round(score, 3), "lr": ratio, "why": ""}
