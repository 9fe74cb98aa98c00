"""Embeddings, comparison with calibrated likelihood ratios, encrypted watchlists and candidate lists.

Names load on first use, so that the tensor code (``recognition.resnet``) needs only numpy and torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {
    "Calibration": "calibrate",
    "Candidate": "candidates",
    "CandidateList": "candidates",
    "DlibEmbedder": "embed",
    "Embedder": "embed",
    "Embeddings": "embed",
    "Enrolment": "watchlist",
    "Entry": "watchlist",
    "Frontal": "normalise",
    "LikelihoodRatios": "calibrate",
    "ProbeEffect": "normalise",
    "Watchlist": "watchlist",
    "calibrate_on_pairs": "calibrate",
    "embed_images": "embed",
    "fit_calibration": "calibrate",
    "load_calibration": "calibrate",
    "load_embedder": "embed",
    "lr_text": "candidates",
    "normalise_face": "normalise",
    "probe_effect": "normalise",
    "score_pairs": "compare",
    "score_probes": "normalise",
}

__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'crimeface_lib.recognition' has no attribute {name!r}")
    return getattr(import_module(f"crimeface_lib.recognition.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
