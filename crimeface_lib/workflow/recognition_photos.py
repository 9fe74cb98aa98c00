"""Which photos of known people an evaluation takes, who is in them, and which of them a calibration is fitted to.

Nobody is in both parts: a calibration that is judged on the people it was fitted to looks better than it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from crimeface_lib.core.errors import InputError
from crimeface_lib.core.hashing import content_hash, sha256_file
from crimeface_lib.workflow.bias_study import read_groups

if TYPE_CHECKING:
    from crimeface_lib.workflow.run import Run

Groups = Mapping[str, Sequence[str]]


@dataclass(frozen=True, slots=True)
class ChosenPhotos:
    """Photos, who is in them, which are evaluated and which fitted on; the list's pairs; groups, "" where untold."""

    files: list[Path]
    people: list[str]
    evaluated: np.ndarray
    fitted: np.ndarray
    pairs: list[tuple[str, str, bool]]
    groups: Groups | None


def choose_photos(run: Run) -> ChosenPhotos:
    """Return what a config names, hashed into the run's inputs."""
    from crimeface_lib.faces import list_photos, read_pairs

    cfg: Any = run.cfg
    for role in ("pairs", "fit_pairs"):
        if getattr(cfg, role) is not None:
            run.take_in(getattr(cfg, role), role=role, evidence=False)
    test = set(list_photos(cfg.photos, pairs=cfg.pairs))
    train = set(list_photos(cfg.photos, pairs=cfg.fit_pairs)) if cfg.fit_pairs else set()
    person = {file: _person(file, cfg.photos) for file in test | train}
    held = _spread({person[file] for file in test}, cfg.limit)
    other = _spread({person[file] for file in train} - {person[file] for file in test}, cfg.limit)
    files = sorted([f for f in test if person[f] in held] + [f for f in train - test if person[f] in other])
    people = np.array([person[file] for file in files])
    fitted = np.isin(people, sorted(other))
    if cfg.fit and not cfg.fit_pairs:
        fitted = half_of(people, run)
    if cfg.fit and not fitted.any():
        raise InputError("fit_pairs: got nobody who is not in the photos to evaluate, expected other people")
    digests = {file.relative_to(cfg.photos).as_posix(): sha256_file(file) for file in files}
    run._add("inputs", role="photos", sha256=content_hash(digests).removeprefix("sha256:"), files=len(digests))
    evaluated = np.isin(people, sorted(held)) & ~fitted
    pairs = read_pairs(cfg.pairs) if cfg.pairs else []
    return ChosenPhotos(files, people.tolist(), evaluated, fitted, pairs, _groups(run, people))


def _groups(run: Run, people: np.ndarray) -> Groups | None:
    cfg: Any = run.cfg
    if cfg.groups is None:
        return None
    known = read_groups(run.take_in(cfg.groups, role="groups", evidence=False), attributes=cfg.attributes)
    if not known.index.isin(people).any():
        raise InputError("groups: got nobody who is in these photos, expected the folders' names in the column person")
    told = known.reindex(people)
    return {name: tuple(told[name].fillna("")) for name in cfg.attributes}


def _person(file: Path, root: Path) -> str:
    parts = file.relative_to(root).parts
    if len(parts) < 2:
        raise InputError("photos: got photos in the folder itself, expected a folder for each person, photos in it")
    return parts[0]


def _spread(people: set[str], limit: int | None) -> set[str]:
    """Return so many of the people, spread evenly, each with all of their photos."""
    names, count = sorted(people), min(limit or len(people), len(people))
    return {names[k * len(names) // count] for k in range(count)}


def half_of(people: np.ndarray, run: Run) -> np.ndarray:
    """Return which photos are of one half of the people, drawn at random."""
    names = np.unique(people)
    return np.isin(people, run.rng.permutation(names)[: len(names) // 2])
