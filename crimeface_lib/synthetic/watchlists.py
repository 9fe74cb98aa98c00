"""A gallery of people who don't exist, whose templates are spread like those of real ones."""

from __future__ import annotations

import json
from importlib import resources

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
    embedder : the one that will embed the probes; the statistics fit those of ``embed_images`` with dlib and its defaults only.

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
    gen = make_rng(rng)
    directions = np.array(known["directions"])
    drawn = np.array(known["mean"]) + gen.normal(size=(count, len(directions))) @ directions
    drawn += known["rest"] * gen.normal(size=drawn.shape)
    return Embeddings(
        vectors=(drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32),
        quality=np.full(count, np.nan),
        failures={},
        embedder=model.name,
        version=version,
        notes=("A synthetic template: no photo, no person.",) * count,
        subjects=tuple(f"SYN-{i:04d}" for i in range(1, count + 1)),
    )
