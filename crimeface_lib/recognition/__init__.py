"""Embeddings, comparison with calibrated likelihood ratios, encrypted watchlists and candidate lists.

Names load on first use, so that the tensor code (``recognition.resnet``) needs only numpy and torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {
    "Calibration": "likelihood_ratio",
    "Candidate": "candidates",
    "CandidateList": "candidates",
    "Comparer": "homomorphic",
    "DlibEmbedder": "embed",
    "Duplicate": "enrolment",
    "Embedder": "embed",
    "EmbedderCard": "embedder_card",
    "Embeddings": "embed",
    "EncryptedCandidates": "homomorphic",
    "Enrolment": "enrolment",
    "Entry": "sealed",
    "Frontal": "normalise",
    "Gallery": "gallery",
    "KeyHolder": "homomorphic",
    "LikelihoodRatios": "likelihood_ratio",
    "OnnxEmbedder": "onnx_embed",
    "OpenSetRate": "openset",
    "ProbeEffect": "normalise",
    "QualityCalibration": "conditioned",
    "RecognitionEvaluation": "evaluate",
    "Rotation": "rotation",
    "Searches": "candidates",
    "Transfer": "transfer",
    "Unlinkability": "unlinkability",
    "Watchlist": "watchlist",
    "calibrate_on_pairs": "calibrate",
    "calibrate_on_photos": "calibrate",
    "cllr_gain": "conditioned",
    "comparison_table": "evaluate",
    "embed_images": "embed",
    "embed_in_parts": "parts",
    "encrypt_probe": "homomorphic",
    "evaluate_recognition": "evaluate",
    "evaluate_unlinkability": "unlinkability",
    "fit_calibration": "calibrate",
    "fit_quality_calibration": "conditioned",
    "fpir_from_calibration": "openset",
    "linkability": "unlinkability",
    "load_calibration": "likelihood_ratio",
    "load_embedder": "embed",
    "lr_text": "candidates",
    "normalise_face": "normalise",
    "pair_rows": "evaluate",
    "probe_effect": "normalise",
    "read_card": "embedder_card",
    "score_pairs": "compare",
    "score_probes": "normalise",
    "template_rotation": "rotation",
}

__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'crimeface_lib.recognition' has no attribute {name!r}")
    return getattr(import_module(f"crimeface_lib.recognition.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
