"""dlib's trained models, found in the PyPI package ``face_recognition_models`` without importing it.

The package's own ``__init__`` needs ``pkg_resources``, which current setuptools no longer carries.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from crimeface_lib.core.artifacts import Artifact, find
from crimeface_lib.core.types import ImageArray


def _model(file: str, sha256: str, licence: str) -> Artifact:
    return Artifact(
        name=file,
        path=f"dlib/{file}",
        licence=licence,
        remedy="pip install face_recognition_models",
        package="face_recognition_models",
        package_path=f"models/{file}",
        sha256=sha256,
    )


POINTS_5 = _model(
    "shape_predictor_5_face_landmarks.dat",
    "c4b1e9804792707d3a405c2c16a80a20269e6675021f64a41d30fffafbc41888",
    "CC0-1.0",
)
POINTS_68 = _model(
    "shape_predictor_68_face_landmarks.dat",
    "fbdc2cb80eb9aa7a758672cbfdda32ba6300efe9b6e6c7a299ff7e736b11b92f",
    "non-commercial: trained on 300-W (iBUG); research use only",
)
RESNET = _model(
    "dlib_face_recognition_resnet_model_v1.dat",
    "55533b28a95800a551ba546ba62fe69625c7e95a7061c338adffead08719da30",
    "CC0-1.0",
)

_idle: list[Any] = []  # detectors that no thread uses now


@lru_cache(maxsize=4)
def shape_predictor(artifact: Artifact) -> Any:
    """Return dlib's shape predictor, loaded once a process (it is read only, so threads may share it)."""
    import dlib

    return dlib.shape_predictor(str(find(artifact)))


def run_frontal_detector(image: ImageArray, weakest: float) -> tuple[Any, Any, Any]:
    """Return boxes, scores and kinds of what dlib's HOG detector sees.

    The detector keeps its feature pyramid between calls, so two threads never use one; and it takes 0.4 s to make, so
    it is kept for the next thread.
    """
    try:
        detector = _idle.pop()
    except IndexError:
        import dlib

        detector = dlib.get_frontal_face_detector()
    try:
        return detector.run(image, 0, weakest)
    finally:
        _idle.append(detector)
