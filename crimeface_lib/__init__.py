"""crimeface: 3D faces, candidate lists, evidence, governance and place-based crime analytics.

The verbs used most can be imported from here; each loads its layer on first use.
``import crimeface_lib`` itself imports no torch, opens no file and changes no global state.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "load_image": "faces",
    "detect_faces": "faces",
    "find_landmarks": "faces",
    "align_face": "faces",
    "assess_quality": "faces",
    "load_morphable_model": "reconstruction",
    "fit_landmarks": "reconstruction",
    "reconstruct": "reconstruction",
    "load_embedder": "recognition",
    "embed_images": "recognition",
    "score_pairs": "recognition",
    "Watchlist": "recognition",
    "fit_calibration": "recognition",
    "read_events": "crime",
    "make_grid": "crime",
    "kde": "crime",
    "predict_places": "crime",
    "evaluate_places": "crime",
    "EvidenceStore": "evidence",
    "load_config": "workflow",
    "open_run": "workflow",
    "run_notebook": "workflow",
    "publish": "workflow",
}

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'crimeface_lib' has no attribute {name!r}")
    return getattr(import_module(f"crimeface_lib.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
