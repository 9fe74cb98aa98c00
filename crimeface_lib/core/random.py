"""Randomness is an argument: a seed or a generator in, a generator out."""

from __future__ import annotations

import hashlib

import numpy as np

Seed = int | np.random.Generator | None


def make_rng(seed: Seed, *, stream: str = "") -> np.random.Generator:
    """Return a generator; a named stream is independent of every other stream of the same seed.

    >>> a, b = make_rng(1, stream="a"), make_rng(1, stream="b")
    >>> bool(a.random() == b.random())
    False
    """
    if isinstance(seed, np.random.Generator) or not stream:
        return np.random.default_rng(seed)
    words = np.frombuffer(hashlib.sha256(stream.encode()).digest(), dtype=np.uint32)
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=tuple(int(w) for w in words)))
