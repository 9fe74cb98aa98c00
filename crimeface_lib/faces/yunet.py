"""Detectors of YuNet's kind: small ONNX nets that OpenCV runs, read from a file that the user has."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from crimeface_lib.core.artifacts import Artifact, find
from crimeface_lib.core.errors import InputError, IntegrityError, MissingArtifactError
from crimeface_lib.core.hashing import sha256_bytes
from crimeface_lib.core.types import FloatArray, ImageArray
from crimeface_lib.faces.align import face_from_marks
from crimeface_lib.faces.detect import Face, resize

#: Longest side looked at, px: the net was trained on faces of 10–300 px.
LONGEST = 1024
YUNET = Artifact(
    name="YuNet",
    path="yunet/yunet_n_dynamic.onnx",
    licence="Apache-2.0 (libfacedetection.train)",
    remedy="copy onnx/yunet_n_dynamic.onnx of github.com/ShiqiYu/libfacedetection.train there",
    sha256="104ee26c71d5c270ce79a6b3dced91c91013260d29a6bf18f9296c5b8c4c2b12",
)


class YuNetDetector:
    """YuNet, or any ONNX net with its outputs, run by ``cv2.FaceDetectorYN``. Finds small and turned faces well.

    Parameters
    ----------
    path : the ONNX file; None takes ``yunet/yunet_n_dynamic.onnx`` below the data root or the cache.
    sha256 : its digest, in hexadecimal; required with ``path``, so that a run names the net it used.
    threshold : lowest score reported, 0–1.

    Raises
    ------
    MissingArtifactError : no such file. IntegrityError : another digest. InputError : not such a net.
    References : Wu, Peng, Yu 2023, YuNet: a tiny millisecond-level face detector.
    """

    name = "yunet"

    def __init__(self, path: str | Path | None = None, *, sha256: str | None = None, threshold: float = 0.7) -> None:
        if not 0 < threshold < 1:
            raise InputError(f"threshold: got {threshold}, expected a number between 0 and 1")
        self.path = find(YUNET) if path is None else Path(path)
        self._data, self.version = _read(self.path, YUNET.sha256 if path is None else sha256)
        self.threshold = threshold
        self._thread = threading.local()  # the net keeps its input size, so each thread has one of its own
        self.detect(np.zeros((64, 64, 3), np.uint8))  # a file that is no such net is told here

    def detect(self, image: ImageArray) -> list[Face]:
        import cv2

        scale = min(1.0, LONGEST / max(image.shape))
        seen = np.ascontiguousarray(resize(image, scale)[..., ::-1])
        net = self._net()
        try:
            net.setInputSize(seen.shape[1::-1])
            _, rows = net.detect(seen)
        except cv2.error as error:
            raise InputError(f"{self.path.name}: {error}; expected an ONNX net with YuNet's outputs") from error
        return [self._face(image, row.astype(float), scale) for row in (() if rows is None else rows)]

    def _face(self, image: ImageArray, row: FloatArray, scale: float) -> Face:
        marks = (row[4:14].reshape(5, 2) + 0.5) / scale - 0.5
        return face_from_marks(image, marks, score=float(row[14]), detector=self.name)

    def _net(self) -> Any:
        import cv2

        if not hasattr(self._thread, "net"):
            try:
                self._thread.net = cv2.FaceDetectorYN.create(
                    "onnx", self._data, np.empty(0, np.uint8), (320, 320), self.threshold
                )
            except cv2.error as error:
                raise InputError(f"{self.path.name}: {error}; expected an ONNX net with YuNet's outputs") from error
        return self._thread.net


def _read(path: Path, sha256: str | None) -> tuple[npt.NDArray[np.uint8], str]:
    """Return the bytes of the net and their digest: those that were hashed are those that are run."""
    if not path.is_file():
        raise MissingArtifactError(f"detector: got no file {path.name!r}, expected an ONNX net; {YUNET.remedy}")
    data = path.read_bytes()
    digest = sha256_bytes(data)
    if sha256 is None:
        raise InputError(f"sha256: got none for {path.name!r}, expected its digest; it is {digest}: check the source")
    if digest != sha256.lower():
        raise IntegrityError(f"{path.name}: got SHA-256 {digest[:16]}…, expected {sha256[:16]}…; copy the file again")
    return np.frombuffer(data, np.uint8), digest
