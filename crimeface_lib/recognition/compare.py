"""Scores of pairs of templates."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from crimeface_lib.core.arrays import check_array
from crimeface_lib.core.errors import ShapeError
from crimeface_lib.core.types import FloatArray


def score_pairs(a: npt.ArrayLike, b: npt.ArrayLike) -> FloatArray:
    """Return the cosine similarity of each row of ``a`` with the same row of ``b``; higher is more similar.

    The cosine was chosen on LFW DevTrain over the negative Euclidean distance of dlib's raw descriptors: equal
    EER (1.0 %), lower Cllr (0.037 against 0.042); with mirrored averaging 0.031 against 0.034.

    Parameters
    ----------
    a, b : (N, D), of the same embedder and version.

    Returns
    -------
    (N,) float64 in [−1, 1].

    Raises
    ------
    ShapeError : unequal shapes, NaN (a failed image) or a row of zeros.

    >>> score_pairs([[1.0, 0.0]], [[0.6, 0.8]])
    array([0.6])
    """
    first = check_array(a, shape=(None, None), name="a")
    second = check_array(b, shape=first.shape, name="b")
    lengths = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    if (lengths == 0).any():
        raise ShapeError("got a row of zeros, expected templates; leave failed images out")
    return np.clip(np.einsum("nd,nd->n", first, second) / lengths, -1.0, 1.0)
