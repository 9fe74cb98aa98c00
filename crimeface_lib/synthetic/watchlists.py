"""A gallery of people who don't exist, whose templates are spread like those of real ones."""

from __future__ import annotations

import json
from importlib import resources
from typing import Any

import numpy as np

from crimeface_lib.core.errors import InputError
from crimeface_lib.core.random import Seed, make_rng
from crimeface_lib.recognition import Embedder, Embeddings, load_embedder


def synthetic_watchlist(count: int, *, embedder: str | Embedder = "dlib", rng: Seed = None) -> Embeddings:
    """Return ``count`` templates of invented people, called SYN-0001, SYN-0002, …

    They are drawn from a normal distribution with the mean and the 64 leading principal directions of the
    templates of 2,131 people of LFW DevTrain (one photo each), then scaled to unit length. Their scores with
    each other follow those of real strangers: on LFW DevTest (963 people) the largest difference between the two
    distributions is 0.03 (Kolmogorov–Smirnov), and the 99th percentiles are 0.906 (synthetic) and 0.913 (real).
    So a search among them is about as hard as among strangers, a little easier in the upper tail.

    Parameters
    ----------
    embedder : the one that will embed the probes; the statistics fit those of ``embed_images`` with dlib and its
        defaults only.

    Raises
    ------
    InputError : ``count`` below 1, or another embedder.
    """
    model = load_embedder(embedder, device="cpu") if isinstance(embedder, str) else embedder
    known = json.loads((resources.files("crimeface_lib.synthetic") / "template_statistics.json").read_text("utf-8"))
    version = f"{model.version}+mirror+jitter2"
    if (model.name, version) != (known["embedder"], known["version"]):
        raise InputError(f"embedder: got {model.name} {model.version[:12]}, expected dlib {known['version'][:12]}")
    if count < 1:
        raise InputError(f"count: got {count}, expected at least 1")
    drawn = _drawn(known, count, make_rng(rng))
    return Embeddings(
        vectors=(drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32),
        quality=np.full(count, np.nan),
        failures={},
        embedder=model.name,
        version=version,
        notes=("A synthetic template: no photo, no person.",) * count,
        subjects=tuple(f"SYN-{i:04d}" for i in range(1, count + 1)),
    )


def synthetic_collection(
    people: int = 120, *, photos: int = 4, rng: Seed = None
) -> tuple[Embeddings, dict[str, tuple[str, ...]]]:
    """Return templates of several photos of each of so many invented people, and a group of each photo's person.

    A template is the sum of the person's part and the photo's, both drawn as for ``synthetic_watchlist``; the photo's
    is larger the lower its quality. Scores of different people spread as those of real strangers; those of one person
    are set, not measured: they show how an evaluation goes, and say nothing about any method. One photo in 60 has no
    template. The photos of group 2 are of lower quality, so error rates differ between the groups.

    Returns
    -------
    Embeddings with ``subjects``, of the default version of dlib's embedder; and "group" → "group 1" or "group 2".

    Raises
    ------
    InputError : fewer than two people or two photos of each.

    >>> made, groups = synthetic_collection(10, photos=3, rng=1)
    >>> len(made), len(set(made.subjects)), sorted(set(groups["group"]))
    (30, 10, ['group 1', 'group 2'])
    """
    if people < 2 or photos < 2:
        raise InputError(f"got {people} people with {photos} photos each, expected at least two of both")
    known = json.loads((resources.files("crimeface_lib.synthetic") / "template_statistics.json").read_text("utf-8"))
    gen, count = make_rng(rng), people * photos
    who = np.repeat(np.arange(people), photos)
    second = who % 2 == 1
    quality = np.clip(gen.normal(np.where(second, 60, 75), 12), 5, 98)
    own = (0.42 + 0.44 * quality / 100)[:, None]  # share of the variance that is the person's
    drawn = np.sqrt(own) * _drawn(known, people, gen, centred=True)[who]
    drawn += np.array(known["mean"]) + np.sqrt(1 - own) * _drawn(known, count, gen, centred=True)
    vectors = (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)
    lost = np.flatnonzero(gen.random(count) < 1 / 60)
    vectors[lost], quality[lost] = np.nan, np.nan
    made = Embeddings(
        vectors=vectors,
        quality=quality,
        failures={int(row): "a synthetic failure: no face" for row in lost},
        embedder=known["embedder"],
        version=known["version"],
        notes=("A synthetic template: no photo, no person.",) * count,
        subjects=tuple(f"SYN-{k + 1:04d}" for k in who),
    )
    return made, {"group": tuple(f"group {1 + group}" for group in second.astype(int))}


def _drawn(known: dict[str, Any], count: int, gen: np.random.Generator, *, centred: bool = False) -> np.ndarray:
    """Return (count, D) draws with the spread of real templates, around their mean or around 0."""
    directions = np.array(known["directions"])
    drawn: np.ndarray = (0.0 if centred else np.array(known["mean"])) + gen.normal(
        size=(count, len(directions))
    ) @ directions
    drawn += known["rest"] * gen.normal(size=drawn.shape)
    return drawn
