"""A detector of YuNet's kind from a file: only the right file is taken, and what is missing is named."""

from __future__ import annotations

import os

import numpy as np
import pytest

from crimeface_lib.core.errors import InputError, IntegrityError, MissingArtifactError
from crimeface_lib.core.hashing import sha256_file
from crimeface_lib.faces import Face, align_face, detect_faces
from crimeface_lib.faces.align import ARCFACE_TEMPLATE, face_from_marks
from crimeface_lib.faces.yunet import YuNetDetector


def test_a_missing_file_says_where_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setenv("CRIMEFACE_DATA_ROOT", str(tmp_path))
    monkeypatch.setenv("CRIMEFACE_CACHE_DIR", str(tmp_path))
    for path in (None, tmp_path / "net.onnx"):
        with pytest.raises(MissingArtifactError, match=r"libfacedetection\.train"):
            YuNetDetector(path, sha256="00")


def test_only_the_file_with_the_digest_is_taken(tmp_path):
    path = tmp_path / "net.onnx"
    path.write_bytes(b"no net")
    with pytest.raises(InputError, match=sha256_file(path)):
        YuNetDetector(path)
    with pytest.raises(IntegrityError, match="SHA-256"):
        YuNetDetector(path, sha256="ab" * 32)
    with pytest.raises(InputError, match="ONNX"):
        YuNetDetector(path, sha256=sha256_file(path))
    with pytest.raises(InputError, match="threshold"):
        YuNetDetector(path, sha256=sha256_file(path), threshold=2)


def test_marks_give_dlibs_box_and_points(astronaut):
    """Marks laid where they belong on a known face lead to what dlib finds by itself."""
    dlib = detect_faces(astronaut)[0]
    marks = np.array([(203.35, 103.62), (247.52, 104.45), (224.10, 127.69), (203.96, 143.14), (242.91, 143.67)])
    face = face_from_marks(astronaut, marks, score=0.9, detector="yunet")
    assert np.abs(np.array(face.box) - dlib.box).max() < 20
    assert np.abs(face.points - dlib.points).max() < 4
    chip = align_face(astronaut, face, size=112, template=ARCFACE_TEMPLATE)
    assert chip.shape == (112, 112, 3)


def test_the_real_net(astronaut):
    """With the net on this machine (CRIMEFACE_YUNET): the same face as dlib, upright and turned by 60 degrees."""
    import cv2

    path = os.environ.get("CRIMEFACE_YUNET")
    if not path:
        pytest.skip("no YuNet: set CRIMEFACE_YUNET to yunet_n_dynamic.onnx")
    net = YuNetDetector(path, sha256=sha256_file(path))
    dlib = detect_faces(astronaut)[0]
    face = detect_faces(astronaut, detector=net)[0]
    assert np.abs(face.points - dlib.points).max() < 4
    turn = cv2.getRotationMatrix2D((224.0, 120.0), 60, 1.0)
    seen: Face = detect_faces(cv2.warpAffine(astronaut, turn, (512, 512)), detector=net)[0]
    assert np.abs(seen.points - (dlib.points @ turn[:, :2].T + turn[:, 2])).max() < 6
