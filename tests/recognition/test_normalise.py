"""A face drawn from the front as a probe: the chip, the gate, and the measure of whether it helps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from crimeface_lib.core.errors import InputError, SchemaError, ShapeError
from crimeface_lib.faces import align_face, detect_faces, find_landmarks
from crimeface_lib.recognition import load_embedder, score_pairs
from crimeface_lib.recognition.normalise import KINDS, Frontal, _auc, normalise_face, probe_effect, score_probes


@pytest.fixture(scope="module")
def frontal(astronaut: np.ndarray) -> Frontal:
    """A photo that is frontal already stands for its own drawing."""
    landmarks = find_landmarks(astronaut, detect_faces(astronaut)[0]).points
    return Frontal(astronaut, landmarks, np.ones(astronaut.shape[:2]), yaw=2.0)


def test_the_chip_is_the_one_alignment_gives(frontal: Frontal, astronaut: np.ndarray) -> None:
    chip, usual = normalise_face(frontal), align_face(astronaut, detect_faces(astronaut)[0])
    assert chip.shape == (150, 150, 3)
    net = load_embedder("dlib", device="cpu")
    assert score_pairs(*net.embed(np.stack([chip, usual]))[:, None])[0] > 0.97  # the five points differ a little


def test_a_face_mostly_made_up_is_no_probe(frontal: Frontal) -> None:
    middle = int(frontal.landmarks[:, 0].mean())
    half = np.zeros(frontal.observed.shape)
    half[:, :middle] = 1.0
    turned = Frontal(frontal.picture, frontal.landmarks, half, yaw=60.0)
    assert turned.observed_fraction == pytest.approx(0.5, abs=0.1)
    normalise_face(turned)
    with pytest.raises(InputError, match="use the photo itself"):
        normalise_face(turned, minimum=0.8)
    with pytest.raises(ShapeError, match="observed"):
        Frontal(frontal.picture, frontal.landmarks, half[1:], yaw=0.0)


def test_auc_counts_as_scikit_learn_does() -> None:
    gen = np.random.default_rng(0)
    mated, nonmated = gen.normal(1, 1, 60).round(1), gen.normal(0, 1, 90).round(1)
    expected = roc_auc_score(np.r_[np.ones(60), np.zeros(90)], np.r_[mated, nonmated])
    assert _auc(mated, nonmated) == pytest.approx(expected)


def pairs_of(gen: np.random.Generator, apart: dict[str, float], count: int = 120) -> pd.DataFrame:
    """Drawn scores whose mated and non-mated means are so many standard deviations apart."""
    mated = np.arange(count) % 2 == 0
    table = pd.DataFrame({"first": [f"p{k}" for k in range(count)], "second": [f"p{k + 1}" for k in range(count)]})
    table.loc[mated, "second"] = table.loc[mated, "first"]
    table["mated"], table["turn"] = mated, gen.uniform(0, 60, count)
    for kind, gap in apart.items():
        table[kind] = gen.normal(0, 1, count) + gap * mated
    return table


def test_the_better_kind_of_score_is_seen_as_better() -> None:
    gen, apart = np.random.default_rng(1), {"photo": 3.0, "normalised": 1.0, "probe_normalised": 2.0, "mean": 3.0}
    train, test = pairs_of(gen, apart), pairs_of(gen, apart, count=400)
    effect = probe_effect(train, test, edges=(0, 30, 60, 90), replicas=50, rng=0)
    table = effect.to_frame().set_index(["bin", "kind"])
    assert sorted(set(effect.table["bin"])) == ["0–30°", "0–90°", "30–60°"]  # none is turned by more than 60°
    for name in ("0–30°", "30–60°", "0–90°"):
        part = table.loc[name]
        assert part.loc["photo", "auc"] > part.loc["normalised", "auc"]
        assert part.loc["photo", "eer"] < part.loc["normalised", "eer"]
        assert part.loc["photo", "cllr"] < part.loc["normalised", "cllr"]
    for measure in ("auc", "eer", "cllr"):
        assert (table[f"{measure}_low"] <= table[measure] + 1e-9).all()
        assert (table[f"{measure}_high"] >= table[measure] - 1e-9).all()
    whole = table.loc[("0–90°", "photo")]
    same = test["mated"]
    assert whole["auc"] == pytest.approx(roc_auc_score(same, test["photo"]))
    assert whole["fnmr"] == pytest.approx(0.067, abs=0.05)  # 3 sd apart: Φ(−1.5)
    assert effect.pairs == (120, 400)
    with pytest.raises(SchemaError, match="mean"):
        probe_effect(train, test.drop(columns="mean"))


def test_scores_of_real_pairs(data_root: Path) -> None:
    """With drawings that are the photos themselves every kind of score is the photo's; a failure leaves it so, too."""
    from crimeface_lib.recognition.calibrate import read_pairs

    pairs = read_pairs(data_root / "lfw" / "pairsDevTest.txt")
    chosen = [*pairs[:2], *pairs[-2:]]
    drawn: list[int] = []

    def itself(photo: np.ndarray) -> Frontal:
        drawn.append(len(drawn))
        if len(drawn) % 2:
            raise InputError("can't")
        face = min(detect_faces(photo), key=lambda one: abs((one.box[0] + one.box[2]) / 2 - photo.shape[1] / 2))
        landmarks = find_landmarks(photo, face).points
        return Frontal(photo, landmarks, np.ones(photo.shape[:2]), yaw=float(len(drawn)))

    table = score_probes(data_root / "lfw" / "images", chosen, itself, embedder=load_embedder("dlib", device="cpu"))
    assert list(table["mated"]) == [True, True, False, False]
    for kind in KINDS:
        np.testing.assert_allclose(table[kind], table["photo"], atol=0.04)
    assert table["photo"][:2].min() > table["photo"][2:].max()
    nowhere = [("nobody/nobody_0001.jpg", chosen[0][1], False)]
    assert score_probes(data_root / "lfw" / "images", nowhere, itself, embedder=load_embedder("dlib")).empty
