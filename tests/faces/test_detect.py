"""Detection, choice, landmarks and alignment on a public-domain photo, against dlib called directly."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from crimeface_lib.core.errors import InputError, MissingBackendError, NoFaceError, ShapeError
from crimeface_lib.faces import Face, align_face, choose_face, detect_faces, find_landmarks
from crimeface_lib.faces.landmarks import MIRROR, PARTS
from crimeface_lib.faces.weights import POINTS_5, POINTS_68, shape_predictor

dlib = pytest.importorskip("dlib")


@pytest.fixture(scope="module")
def face(astronaut) -> Face:
    return detect_faces(astronaut)[0]


def test_equals_dlib_called_directly(astronaut, face):
    rectangle = dlib.get_frontal_face_detector()(astronaut, 0)[0]
    assert face.box == (rectangle.left(), rectangle.top(), rectangle.right() + 1, rectangle.bottom() + 1)
    five = shape_predictor(POINTS_5)(astronaut, rectangle)
    assert face.points.tolist() == [[p.x, p.y] for p in five.parts()]
    sixty_eight = shape_predictor(POINTS_68)(astronaut, rectangle)
    found = find_landmarks(astronaut, face)
    assert found.points.tolist() == [[p.x, p.y] for p in sixty_eight.parts()]
    assert np.array_equal(align_face(astronaut, face), dlib.get_face_chip(astronaut, five, 150, 0.25))


def test_order_of_the_points(face):
    """Her left eye is right in the picture; outer corners are further out than inner ones."""
    left_outer, left_inner, right_inner, right_outer = face.points[[0, 1, 3, 2], 0]
    assert left_outer > left_inner > right_inner > right_outer
    assert face.points[4, 1] > face.points[:4, 1].max()


@pytest.mark.parametrize("scale", [0.5, 3.0, 7.0])
def test_small_and_large_pictures_give_the_same_face(astronaut, face, scale):
    resized = cv2.resize(
        astronaut, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    )
    again = detect_faces(resized)[0]
    assert np.allclose(np.array(again.box) / scale, face.box, atol=12)
    assert np.abs(again.points / scale - face.points).max() < 3.5
    dense = find_landmarks(resized, again).points / scale
    assert np.abs(dense - find_landmarks(astronaut, face).points).max() < 7


def test_no_face_is_an_empty_list_and_choosing_is_an_error():
    flat = np.full((200, 300, 3), 127, np.uint8)
    assert detect_faces(flat) == []
    with pytest.raises(NoFaceError, match="expected at least one"):
        choose_face([])


def test_a_weak_detection_says_so(astronaut):
    """scikit-image's cameraman is seen from the side: dlib scores him below its threshold."""
    data = pytest.importorskip("skimage.data")
    faces = detect_faces(np.repeat(data.camera()[..., None], 3, axis=2))
    assert len(faces) == 1
    assert -0.3 <= faces[0].score < 0
    assert "weak" in choose_face(faces).sentence
    assert "weak" not in choose_face(detect_faces(astronaut)).sentence


def test_min_size_drops_small_faces(astronaut):
    assert detect_faces(astronaut, min_size=200) == []


def test_choice_among_several():
    points = np.zeros((5, 2))
    large = Face(box=(0, 0, 100, 100), score=1.0, points=points)
    small = Face(box=(180, 180, 230, 230), score=2.0, points=points)
    assert choose_face([large, small]).index == 0
    central = choose_face([large, small], which="central", size=(400, 400))
    assert central.face is small
    assert central.sentence == "2 faces were found; the central one (50 px wide) is used."
    assert choose_face([large, small], which=1).face is small
    for wrong in (2, -1, "prettiest", "central"):
        with pytest.raises(InputError, match="which"):
            choose_face([large, small], which=wrong)


def test_two_faces_side_by_side_largest_first(astronaut):
    head = astronaut[:256, 96:352]
    pair = np.hstack([head, cv2.resize(head, None, fx=1.5, fy=1.5)[:256]])
    faces = detect_faces(pair)
    assert len(faces) == 2
    assert faces[0].width > faces[1].width
    assert faces[0].box[0] > 256


def test_errors_say_what_was_expected(astronaut, face):
    with pytest.raises(ShapeError, match="load_image"):
        detect_faces(astronaut[..., 0])
    with pytest.raises(MissingBackendError, match="installed: dlib"):
        detect_faces(astronaut, detector="nonesuch")
    with pytest.raises(InputError, match="32–1024"):
        align_face(astronaut, face, size=5)


def test_landmark_parts_and_sd(astronaut, face):
    found = find_landmarks(astronaut, face)
    frame = found.to_frame()
    assert list(frame.groupby("part", sort=False).size()) == [len(r) for r in PARTS.values()]
    assert (found.sd >= 0.0119 * found.interocular).all()
    assert found.sd.max() < 0.2 * found.interocular
    assert "non-commercial" in found.licence
    assert np.array_equal(MIRROR[MIRROR], np.arange(68))


def test_sd_grows_when_the_photo_gets_worse(astronaut, face):
    blurred = cv2.GaussianBlur(astronaut, (0, 0), 8)
    noisy = np.clip(blurred + np.random.default_rng(1).normal(0, 40, blurred.shape), 0, 255).astype(np.uint8)
    assert find_landmarks(noisy, face).sd.mean() > 1.3 * find_landmarks(astronaut, face).sd.mean()


@pytest.mark.parametrize("angle", [-30, 0, 25])
def test_alignment_undoes_rotation(astronaut, face, angle):
    """The eyes come out level, at the heights of dlib's mean face, however the photo was turned."""
    turn = cv2.getRotationMatrix2D((224.0, 120.0), angle, 1.7)
    turned = cv2.warpAffine(astronaut, turn, (512, 512))
    points = face.points @ turn[:, :2].T + turn[:, 2]
    box = (points[:, 0].min(), points[:, 1].min(), points[:, 0].max(), points[:, 1].max())
    chip = align_face(turned, Face(box=tuple(map(float, box)), score=1.0, points=points))
    straight = align_face(astronaut, face)
    inner = np.s_[30:120, 30:120]
    assert np.abs(chip[inner].astype(float) - straight[inner]).mean() < 6


def test_similarity_and_bilinear_reimplemented_with_opencv(astronaut, face):
    """Independent of dlib's code: least squares on dlib's mean face, one bilinear warp."""
    mean_face = np.array(
        [
            (0.8595674595992, 0.2134981538014),
            (0.6460604764104, 0.2289674387677),
            (0.1205750620789, 0.2137274526848),
            (0.3340850613712, 0.2290642403242),
            (0.4901123135679, 0.6277975316475),
        ]
    )
    target = (0.25 + mean_face) / 1.5 * 150 - 0.5  # dlib puts the middle of its chip between pixels
    a = target - target.mean(axis=0)
    b = face.points - face.points.mean(axis=0)
    z = (b[:, 0] + 1j * b[:, 1]) @ np.conj(a[:, 0] + 1j * a[:, 1]) / (a**2).sum()
    rotation = np.array([[z.real, -z.imag], [z.imag, z.real]])
    matrix = np.column_stack([rotation, face.points.mean(axis=0) - rotation @ target.mean(axis=0)])
    ours = cv2.warpAffine(astronaut, matrix, (150, 150), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    difference = np.abs(ours.astype(int) - align_face(astronaut, face))
    assert difference.mean() < 1.0


def test_on_real_photos_nearly_every_face_is_found(data_root):
    from crimeface_lib.faces import load_image

    photos = sorted((data_root / "lfw" / "images").glob("*/*.jpg"))[::100]
    found = [len(detect_faces(load_image(photo))) for photo in photos]
    assert np.mean([n > 0 for n in found]) > 0.95


@pytest.mark.parametrize("scale", [0.5, 1.0, 4.0])
def test_another_template_puts_its_points_where_it_says(astronaut, face, scale):
    """Spots painted on the photo arrive at the reference points of the chip, to half a pixel."""
    from crimeface_lib.faces.align import ARCFACE_TEMPLATE, similarity

    turned = (ARCFACE_TEMPLATE - 56) @ np.array([[0.8, 0.6], [-0.6, 0.8]]) * scale + 250.0
    for template, marks in ((ARCFACE_TEMPLATE, turned), (ARCFACE_TEMPLATE[:2], None)):
        seen = Face(box=(200, 200, 300, 300), score=1.0, points=turned[[1, 1, 0, 0, 2]], marks=marks)
        for k in range(len(template)):
            rows, columns = np.mgrid[:500, :500]
            far = np.hypot(columns - turned[k, 0], rows - turned[k, 1]) / (4 * scale)
            photo = np.repeat((255 * np.exp(-(far**2))).astype(np.uint8)[..., None], 3, axis=2)
            chip = align_face(photo, seen, size=112, template=template)[..., 0].astype(float)
            rows, columns = np.mgrid[:112, :112]
            middle = np.array([(columns * chip).sum(), (rows * chip).sum()]) / chip.sum()
            assert np.abs(middle - template[k]).max() < 0.5
    matrix = similarity(face.points, face.points * 2 + 7)
    assert np.allclose(matrix, [[2, 0, 7], [0, 2, 7]])


def test_a_face_without_marks_lies_on_the_template_too(astronaut, face):
    from crimeface_lib.faces.align import ARCFACE_TEMPLATE

    chip = align_face(astronaut, face, size=112, template=ARCFACE_TEMPLATE)
    again = find_landmarks(chip, Face(box=(20, 25, 92, 97), score=1.0, points=face.points)).points
    eyes = np.array([again[36:42].mean(axis=0), again[42:48].mean(axis=0)])
    assert np.abs(eyes - ARCFACE_TEMPLATE[:2]).max() < 4
    with pytest.raises(ShapeError, match=r"\(5, 2\)"):
        align_face(astronaut, face, size=112, template=np.zeros((3, 2)))
