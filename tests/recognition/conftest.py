"""Templates without faces: random directions, so that tests of the watchlist need no net."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from crimeface_lib.recognition import Embeddings


@pytest.fixture(scope="session")
def templates() -> Callable[..., Embeddings]:
    def make(count: int, *, seed: int = 0, version: str | None = None, vectors: np.ndarray | None = None) -> Embeddings:
        from crimeface_lib.recognition import load_calibration

        rows = np.random.default_rng(seed).normal(size=(count, 128)) if vectors is None else np.asarray(vectors)
        return Embeddings(
            vectors=(rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32),
            quality=np.full(len(rows), 80.0),
            failures={},
            embedder="dlib",
            version=version or load_calibration("dlib").version,
            subjects=tuple(f"S-{i:03d}" for i in range(len(rows))),
        )

    return make
