"""Likelihood ratios: true for Gaussians, clamped to the data, covered by their intervals (R4)."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest

from crimeface_lib.core.errors import InputError, NotFoundError, ShapeError
from crimeface_lib.faces import read_pairs
from crimeface_lib.recognition import calibrate_on_pairs, calibrate_on_photos, fit_calibration, load_calibration
from crimeface_lib.recognition.calibrate import Calibration

RNG = np.random.default_rng(4)
MATED, NONMATED = RNG.normal(2, 1, 2000), RNG.normal(0, 1, 2000)


@pytest.mark.parametrize("method", ["logistic", "pav"])
def test_gaussians_against_the_true_ratio(method):
    """N(2, 1) against N(0, 1): ln LR = 2s − 2."""
    fitted = fit_calibration(MATED, NONMATED, method=method, replicas=60)
    scores = np.array([0.5, 1.0, 1.5, 2.0])
    found = fitted.likelihood_ratio(scores)
    truth = np.exp(2 * scores - 2)
    assert np.allclose(np.log(found.lr), np.log(truth), atol=0.15 if method == "logistic" else 0.5)
    assert (found.low <= found.lr).all()
    assert (found.lr <= found.high).all()
    assert not found.clamped.any()


def test_intervals_cover():
    """Over 30 data sets, the 90 % interval at three scores holds the true ratio about nine times in ten."""
    rng, scores = np.random.default_rng(8), np.array([0.2, 1.0, 1.8])
    hits = []
    for _ in range(30):
        fitted = fit_calibration(rng.normal(2, 1, 100), rng.normal(0, 1, 100), replicas=40, rng=rng)
        low, high = fitted.interval(scores, level=0.9)
        truth = np.exp(2 * scores - 2)
        free = ~fitted.likelihood_ratio(scores).clamped  # what is held at the limit claims no more than its direction
        hits += ((low <= truth) & (truth <= high))[free].tolist()
    assert 0.80 <= np.mean(hits) <= 0.97


def test_ratios_are_clamped_and_flagged():
    fitted = fit_calibration(MATED, NONMATED, replicas=20)
    found = fitted.likelihood_ratio([-50.0, 50.0])
    assert found.clamped.all()
    assert found.lr[1] <= len(NONMATED) + 1
    assert found.lr[0] >= 1 / (len(MATED) + 1)
    assert (found.high <= 10 ** fitted.bounds[1] + 1e-9).all()


def test_bounds_of_separated_scores_by_hand():
    """No overlap at all: with one more misleading of either kind, 50/51 of the mated over 1/101 of the others."""
    fitted = fit_calibration(np.linspace(5, 6, 50), np.linspace(0, 1, 100), replicas=20)
    assert fitted.bounds == pytest.approx((-np.log10(51 * 100 / 101), np.log10(101 * 50 / 51)))


def people(count, *, photos, seed=0):
    """Templates of people: a direction each, and noise each photo."""
    rng = np.random.default_rng(seed)
    who = np.repeat(np.arange(count), photos)
    return rng.normal(size=(count, 128))[who] + rng.normal(size=(len(who), 128)), [f"p{i}" for i in who]


def test_all_pairs_of_photos_support_larger_ratios_than_a_list(templates):
    vectors, who = people(60, photos=3)
    found = templates(len(who), vectors=vectors)
    made = calibrate_on_photos(found, who, at=datetime(2026, 1, 1, tzinfo=UTC), dataset="made up", replicas=40)
    assert made.pairs == (180, 180 * 179 // 2 - 180)
    assert made.subjects == 60
    assert (made.embedder, made.version) == (found.embedder, found.version)
    few = calibrate_on_photos(
        templates(30, vectors=vectors[:30]), who[:30], at=datetime(2026, 1, 1, tzinfo=UTC), replicas=25
    )
    assert 10 ** few.bounds[1] <= 46  # 45 pairs of people
    assert 400 < 10 ** made.bounds[1] <= 60 * 59 / 2 + 1


def test_one_odd_person_lowers_the_bound():
    """Twenty people who look alike in two photos each: what was supported by many pairs is decided by few people."""
    rng = np.random.default_rng(6)
    mated, other = rng.normal(4, 1, 400), rng.normal(0, 1, 400)
    alone = np.arange(400).astype(str)
    sure = fit_calibration(mated, other, subjects=(alone, np.char.add("x", alone)), replicas=100)
    other[:6] = 4.0
    odd = np.char.add("x", alone)
    odd[:6] = "wolf"
    less = fit_calibration(mated, other, subjects=(alone, odd), replicas=100)
    assert less.bounds[1] < sure.bounds[1] - 0.3


def test_tail_of_the_false_rate():
    fitted = fit_calibration(MATED, NONMATED, replicas=20)
    at = np.array([-1.0, 0.0, 1.0, 2.0, 2.5, 3.0])
    assert fitted.fmr(at) == pytest.approx([(s <= NONMATED).mean() for s in at], rel=0.25)
    assert fitted.fmr([99.0])[0] == pytest.approx(1 / 2000)  # not seen further out, which is not never
    assert (np.diff(fitted.fmr(np.linspace(-3, 4, 50))) <= 0).all()


def test_subjects_that_repeat_widen_the_interval():
    """The same 2,000 comparisons, counted as made by 40 people: less is known."""
    people = np.repeat(np.arange(40), 50)
    effect = np.random.default_rng(1).normal(0, 0.7, 80)
    mated, nonmated = MATED + effect[people], NONMATED + effect[people + 40]
    naive = fit_calibration(mated, nonmated, replicas=40)
    honest = fit_calibration(mated, nonmated, subjects=(people, people + 40), replicas=40)

    def width(calibration: Calibration) -> float:
        low, high = calibration.interval([1.0])
        return float(np.log(high / low)[0])

    assert width(honest) > 1.8 * width(naive)
    assert honest.subjects == 80


def test_saved_and_read_again(tmp_path):
    fitted = fit_calibration(MATED, NONMATED, replicas=20, dataset="made up")
    fitted.save(tmp_path / "c.json")
    import json

    again = Calibration.from_dict(json.loads((tmp_path / "c.json").read_text()))
    scores = np.linspace(-3, 5, 30)
    assert np.allclose(again.likelihood_ratio(scores).lr, fitted.likelihood_ratio(scores).lr, rtol=1e-4)
    assert again.summary()["dataset"] == "made up"
    with pytest.raises(InputError, match="calibrate_on_pairs"):
        Calibration.from_dict({"knots": []})


def test_bad_input():
    with pytest.raises(ShapeError, match="at least 20"):
        fit_calibration([1.0], [0.0])
    with pytest.raises(InputError, match="logistic or pav"):
        fit_calibration(MATED, NONMATED, method="magic")
    with pytest.raises(InputError, match="higher to mean more similar"):
        fit_calibration(NONMATED, MATED, replicas=20)
    with pytest.raises(NotFoundError, match="there is: dlib"):
        load_calibration("nonesuch")
    with pytest.raises(ShapeError, match="NaN"):
        load_calibration().likelihood_ratio([np.nan])


def test_the_shipped_calibration_says_where_it_comes_from():
    shipped = load_calibration("dlib")
    assert sum(shipped.pairs) + shipped.failed == 3443 * 3442 // 2
    assert shipped.subjects == 2132
    assert 1e4 < 10 ** shipped.bounds[1] < shipped.subjects**2 / 2
    assert "DevTrain" in shipped.dataset
    assert "+mirror" in shipped.version
    assert shipped.quality["Cllr_min"] < shipped.quality["Cllr"] < 0.05
    assert len(shipped.replicas) == 200
    middle = shipped.likelihood_ratio([0.80, 0.97])
    assert middle.lr[0] < 0.01
    assert middle.lr[1] > 100


def test_the_shipped_calibration_can_be_made_again(data_root):
    """Every 44th pair, scored anew: the truth lies where the shipped numbers say."""
    lfw = data_root / "lfw"
    shipped = load_calibration("dlib")
    sample = calibrate_on_pairs(
        lfw / "images", lfw / "pairsDevTrain.txt", limit=50, at=datetime(2026, 1, 1, tzinfo=UTC), device="cpu"
    )
    assert sample.version == shipped.version
    assert np.median(sample.mated) == pytest.approx(np.median(shipped.mated), abs=0.01)
    assert np.median(sample.nonmated) == pytest.approx(np.median(shipped.nonmated), abs=0.02)
    assert shipped.likelihood_ratio(sample.mated[10:]).lr.min() > 1
    assert shipped.likelihood_ratio(sample.nonmated[:-10]).lr.max() < 1


def test_list_of_pairs(tmp_path):
    path = tmp_path / "pairs.txt"
    path.write_text("1\nAda_B\t1\t12\nAda_B\t2\tCy_D\t3\n")
    assert read_pairs(path) == [
        ("Ada_B/Ada_B_0001.jpg", "Ada_B/Ada_B_0012.jpg", True),
        ("Ada_B/Ada_B_0002.jpg", "Cy_D/Cy_D_0003.jpg", False),
    ]
    path.write_text("1\nAda_B one two\n")
    with pytest.raises(InputError, match="line 2"):
        read_pairs(path)
