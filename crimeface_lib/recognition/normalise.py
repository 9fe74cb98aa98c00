"""A face turned to the front, made neutral and evenly lit, as another probe: how, and whether it helps.

With dlib's net it does not. On the LFW View 1 pairs whose faces are turned most against each other (DevTest, 53 mated
and 52 non-mated, median 40°, largest 70°; threshold and calibration from 106 DevTrain pairs chosen alike; 95 %
intervals by subject) the photos as they are reach an EER of 0 % and a Cllr of 0.03 (0.03–0.05); heads drawn from the
front by a landmark fit of ICT-FaceKit, in the photo's own light, 2 % (0–12) and 0.23 (0.12–0.41); the mean of both
scores 0 % and 0.05 (0.03–0.18). The drawing is for the eye; the photo stays the probe.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from crimeface_lib.core.arrays import check_array, check_image
from crimeface_lib.core.errors import ImageError, InputError, NoFaceError, SchemaError
from crimeface_lib.core.random import Seed
from crimeface_lib.core.results import Result
from crimeface_lib.core.types import FloatArray, ImageArray
from crimeface_lib.faces import Face, align_face, choose_face, detect_faces, load_image
from crimeface_lib.metrics.biometric import eer
from crimeface_lib.metrics.bootstrap import bootstrap_interval
from crimeface_lib.metrics.calibration import cllr
from crimeface_lib.recognition.calibrate import fit_calibration
from crimeface_lib.recognition.compare import score_pairs
from crimeface_lib.recognition.embed import Embedder

if TYPE_CHECKING:
    import pandas as pd

#: The five points of ``faces.Face`` among the 68: corners of the subject's left and right eye, base of the nose.
_FIVE = [45, 42, 36, 39, 33]
#: Kinds of score that ``score_probes`` gives: photo with photo; both normalised; the more turned one normalised; the
#: mean of the first two.
KINDS = ("photo", "normalised", "probe_normalised", "mean")


@dataclass(frozen=True, slots=True, repr=False)
class Frontal(Result):
    """A face drawn from the front, with a neutral expression and in an even light; any model may have drawn it.

    Parameters
    ----------
    picture : (H, W, 3) uint8 RGB.
    landmarks : (68, 2) px, iBUG order, where the face is in it.
    observed : (H, W) in [0, 1], 1 where a photo showed what is drawn, 0 where it is mirrored or filled in.
    yaw : degrees, how far the face was turned in the photo.
    """

    picture: ImageArray = field(repr=False)
    landmarks: FloatArray = field(repr=False)
    observed: FloatArray = field(repr=False)
    yaw: float

    def __post_init__(self) -> None:
        size = check_image(self.picture, name="picture").shape[:2]
        check_array(self.landmarks, shape=(68, 2), name="landmarks")
        check_array(self.observed, shape=size, name="observed")

    @property
    def observed_fraction(self) -> float:
        """Part of the face, within its landmarks, that the photo showed."""
        import cv2

        inside = np.zeros(self.observed.shape, np.uint8)
        cv2.fillConvexPoly(inside, cv2.convexHull(np.round(self.landmarks).astype(np.int32)), 1)
        return float(self.observed[inside > 0].mean()) if inside.any() else 0.0


def normalise_face(frontal: Frontal, *, minimum: float = 0.3) -> ImageArray:
    """Return the (150, 150, 3) uint8 chip of a face drawn from the front, for ``Embedder.embed``.

    Parameters
    ----------
    minimum : part of the face that the photo must have shown; a face that is mostly made up is no probe.

    Raises
    ------
    InputError : less of the face was seen.
    """
    if frontal.observed_fraction < minimum:
        raise InputError(
            f"got a face of which {frontal.observed_fraction:.0%} was seen, expected at least {minimum:.0%}; "
            "use the photo itself"
        )
    low, high = frontal.landmarks.min(0), frontal.landmarks.max(0)
    box = (float(low[0]), float(low[1]), float(high[0]), float(high[1]))
    return align_face(frontal.picture, Face(box, 1.0, frontal.landmarks[_FIVE], detector="frontal"))


def score_probes(
    images: str | Path,
    pairs: Iterable[tuple[str, str, bool]],
    frontalise: Callable[[ImageArray], Frontal],
    *,
    embedder: Embedder,
    minimum: float = 0.3,
) -> pd.DataFrame:
    """Return one row a pair with its scores of each of ``KINDS``, to be compared by ``probe_effect``.

    Parameters
    ----------
    images : folder of the pairs' files; pairs : as ``calibrate.read_pairs`` gives them.
    frontalise : draws a photo's face (the one nearest to the middle) from the front; raises an InputError where it
        can't, and then the normalised face is the photo's own, as a user would do.
    minimum : as in ``normalise_face``.

    Returns
    -------
    ``first``, ``second`` (subjects), ``mated``, ``yaw`` (of the more turned photo, degrees), ``turn`` (difference of
    the yaws), ``observed`` (of the more turned photo), and a column a kind. Pairs with a photo that shows no face
    are left out. Of each face the chip and its mirror image are averaged, for a drawn face has no larger and smaller
    chip: compare the columns with each other, not with scores of ``embed_images``.
    """
    import pandas as pd

    found: dict[str, tuple[FloatArray, FloatArray, float, float] | None] = {}

    def templates(file: str) -> tuple[FloatArray, FloatArray, float, float] | None:
        try:
            photo = load_image(Path(images) / file)
            face = choose_face(detect_faces(photo), which="central", size=photo.shape[:2]).face
        except (ImageError, NoFaceError):
            return None
        chip = other = align_face(photo, face)
        yaw, seen = 0.0, 1.0
        try:
            frontal = frontalise(photo)
            yaw, seen = frontal.yaw, frontal.observed_fraction
            other = normalise_face(frontal, minimum=minimum)
        except InputError:
            pass  # the photo itself, as the docstring says
        chips = np.stack([chip, other])
        own, turned = embedder.embed(chips) + embedder.embed(chips[:, :, ::-1])
        return own, turned, yaw, seen

    rows = []
    for first, second, mated in pairs:
        for file in (first, second):
            if file not in found:
                found[file] = templates(file)
        both_seen = [one for one in (found[first], found[second]) if one is not None]
        if len(both_seen) < 2:
            continue
        a, b = sorted(both_seen, key=lambda one: -abs(one[2]))
        photo, both, probe = (score_pairs(x[None], y[None])[0] for x, y in ((a[0], b[0]), (a[1], b[1]), (a[1], b[0])))
        rows.append((Path(first).parent.name, Path(second).parent.name, mated, abs(a[2]), abs(a[2] - b[2]), a[3],
                     photo, both, probe, (photo + both) / 2))  # fmt: skip
    columns = ["first", "second", "mated", "yaw", "turn", "observed", *KINDS]
    return pd.DataFrame(rows, columns=columns)


@dataclass(frozen=True, slots=True)
class ProbeEffect(Result):
    """How each kind of score tells pairs apart, by how far the two photos' faces are turned against each other.

    Parameters
    ----------
    table : one row a bin of ``turn`` and a kind: ``bin``, ``kind``, ``mated`` and ``nonmated`` (pairs), ``auc``,
        ``eer``, ``cllr`` with the ends of their 95 % intervals (``_low``, ``_high``; subjects resampled), ``fmr`` and
        ``fnmr`` at the threshold where both were equal on the training pairs. The calibration behind ``cllr`` is from
        the training pairs, too.
    pairs : training and test pairs.
    """

    table: pd.DataFrame
    pairs: tuple[int, int]

    def to_frame(self) -> pd.DataFrame:
        return self.table


def probe_effect(
    train: pd.DataFrame,
    test: pd.DataFrame,
    *,
    edges: Sequence[float] = (0.0, 20.0, 40.0, 180.0),
    replicas: int = 500,
    rng: Seed = None,
) -> ProbeEffect:
    """Return how well each kind of score separates, threshold and calibration from other pairs than those judged.

    Parameters
    ----------
    train, test : from ``score_probes``, of different people.
    edges : of the bins of ``turn``, degrees; a bin with fewer than 10 mated or non-mated pairs is left out, and all
        pairs together are the last bin.

    Raises
    ------
    SchemaError : a column is missing. InputError, ShapeError : too few training pairs, see ``fit_calibration``.
    """
    import pandas as pd

    for frame in (train, test):
        if missing := {"first", "second", "mated", "turn", *KINDS} - set(frame.columns):
            raise SchemaError(f"got no column {', '.join(sorted(missing))}, expected a table from score_probes")
    bins = list(pairwise(edges))
    rows = []
    for kind in KINDS:
        scores, same = train[kind].to_numpy(), train["mated"].to_numpy(bool)
        calibration = fit_calibration(scores[same], scores[~same], replicas=1, rng=rng)
        cut = np.quantile(scores[~same], 1 - eer(scores[same], scores[~same]))
        for low, high in [*bins, (edges[0], edges[-1])]:
            part = test[(test["turn"] >= low) & (test["turn"] < high)]
            mated = part["mated"].to_numpy(bool)
            if min(mated.sum(), (~mated).sum()) < 10:
                continue
            values = part[kind].to_numpy()
            ratios = calibration.likelihood_ratio(values).lr
            row = {
                "bin": f"{low:g}–{high:g}°",
                "kind": kind,
                "mated": int(mated.sum()),
                "nonmated": int((~mated).sum()),
            }
            subjects = part[["first", "second"]].to_numpy(str)
            for name, value, measure in (("auc", values, _auc), ("eer", values, eer), ("cllr", ratios, cllr)):
                found = bootstrap_interval(_weighted(measure, value, mated), subjects, replicas=replicas, rng=rng)
                row |= {name: found.estimate, f"{name}_low": found.low, f"{name}_high": found.high}
            rows.append(
                {**row, "fmr": float((values[~mated] >= cut).mean()), "fnmr": float((values[mated] < cut).mean())}
            )
    return ProbeEffect(pd.DataFrame(rows), (len(train), len(test)))


def _auc(mated: FloatArray, nonmated: FloatArray) -> float:
    """Return the chance that a mated score is above a non-mated one, ties counting half."""
    ordered = np.sort(nonmated)
    below = np.searchsorted(ordered, mated, "left") + np.searchsorted(ordered, mated, "right")
    return float(below.mean() / 2 / len(ordered))


def _weighted(
    measure: Callable[[FloatArray, FloatArray], float], values: FloatArray, mated: np.ndarray
) -> Callable[[FloatArray], float]:
    """Return ``measure`` of mated and non-mated values as a function of how often each pair is drawn."""

    def drawn(weights: FloatArray) -> float:
        often = weights.astype(int)
        a, b = (np.repeat(values[part], often[part]) for part in (mated, ~mated))
        return measure(a, b) if len(a) and len(b) else np.nan

    return drawn
