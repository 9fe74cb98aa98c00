"""MediaPipe's mesh as a detector: absent it says how to get it; present it finds what dlib finds."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from crimeface_lib.core.errors import InputError, MissingBackendError
from crimeface_lib.faces import detect_faces
from crimeface_lib.faces.mediapipe_mesh import MediaPipeDetector


def test_absent_it_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "mediapipe", None)
    with pytest.raises(MissingBackendError, match=r"pip install --target DIR --no-deps mediapipe==0\.10\.14"):
        MediaPipeDetector()
    with pytest.raises(InputError, match="threshold"):
        MediaPipeDetector(threshold=1)


@pytest.mark.filterwarnings("ignore")
def test_it_finds_what_dlib_finds(astronaut):
    pytest.importorskip("mediapipe", reason="MediaPipe is not installed")
    detector = MediaPipeDetector()
    (face,), (dlib,) = detect_faces(astronaut, detector=detector), detect_faces(astronaut)
    assert np.abs(face.points - dlib.points).max() < 4
    assert detect_faces(np.zeros((200, 200, 3), np.uint8), detector=detector) == []
