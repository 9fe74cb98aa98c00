"""MediaPipe's face mesh as a detector: an optional package with its own nets, for faces large in the picture."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np

from crimeface_lib.core.errors import InputError, MissingBackendError
from crimeface_lib.core.types import ImageArray
from crimeface_lib.faces.align import face_from_marks
from crimeface_lib.faces.detect import Face

#: Mesh vertices of both eyes' corners, the tip of the nose and the corners of the mouth, left in the picture first.
_EYES, _NOSE, _MOUTH = ((33, 133), (362, 263)), 1, (61, 291)
_MOST = 16


class MediaPipeDetector:
    """MediaPipe FaceMesh (Apache-2.0), which brings its nets along; its score is one figure for all faces it reports.

    Its package wants an older protobuf and another OpenCV than the rest, so it goes beside them:
    ``pip install --target DIR --no-deps mediapipe==0.10.14 'protobuf<5' absl-py flatbuffers attrs``, then put DIR first
    on PYTHONPATH.

    Parameters
    ----------
    threshold : lowest confidence of a face that is reported, 0–1.

    Raises
    ------
    MissingBackendError : the package can't be imported. InputError : the threshold.
    References : Kartynnik et al. 2019, Real-time facial surface geometry from monocular video on mobile GPUs.
    """

    name = "mediapipe"

    def __init__(self, *, threshold: float = 0.5) -> None:
        if not 0 < threshold < 1:
            raise InputError(f"threshold: got {threshold}, expected a number between 0 and 1")
        try:
            from mediapipe.python.solutions import face_mesh
        except (ImportError, TypeError) as error:  # TypeError: with the newer protobuf
            raise MissingBackendError(
                f"detector 'mediapipe' can't be imported: {error}; put it beside the other packages: pip install "
                "--target DIR --no-deps mediapipe==0.10.14 'protobuf<5' absl-py flatbuffers attrs; then DIR first on "
                "PYTHONPATH"
            ) from error
        self._module, self.threshold = face_mesh, threshold
        self._thread = threading.local()  # a graph is fed by one thread at a time

    def detect(self, image: ImageArray) -> list[Face]:
        found = self._mesh().process(np.ascontiguousarray(image)).multi_face_landmarks or ()
        height, width = image.shape[:2]
        faces = []
        for mesh in found:
            points = np.array([(p.x * width, p.y * height) for p in mesh.landmark]) - 0.5
            eyes = [points[list(corners)].mean(axis=0) for corners in _EYES]
            marks = np.array([*eyes, points[_NOSE], *points[list(_MOUTH)]])
            faces.append(face_from_marks(image, marks, score=self.threshold, detector=self.name))
        return faces

    def _mesh(self) -> Any:
        if not hasattr(self._thread, "mesh"):
            self._thread.mesh = self._module.FaceMesh(
                static_image_mode=True, max_num_faces=_MOST, min_detection_confidence=self.threshold
            )
        return self._thread.mesh
