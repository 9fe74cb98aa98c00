"""T3, T4: what a turn per application gains and costs."""

from __future__ import annotations

import pickle

import matplotlib.pyplot as plt
import numpy as np
import pytest
from scipy import integrate, stats

from crimeface_lib.core.errors import InputError, ShapeError
from crimeface_lib.recognition import evaluate_unlinkability, linkability, score_pairs, template_rotation
from crimeface_lib.reporting import unlinkability_figure
from crimeface_lib.synthetic import synthetic_watchlist


@pytest.fixture(scope="module")
def photos() -> tuple[np.ndarray, list[str]]:
    """Four photos each of 150 people who don't exist: templates spread like real ones, with noise of a photo."""
    people = synthetic_watchlist(150, rng=0)
    gen = np.random.default_rng(1)
    rows = np.repeat(people.vectors, 4, axis=0) + 0.025 * gen.normal(size=(600, 128))
    return rows.astype(np.float32), [name for name in people.subjects for _ in range(4)]


def turn(application: str, key: int = 0, dimension: int = 128):
    return template_rotation(bytes([key]) * 32, application=application, dimension=dimension)


def test_a_turn_is_orthogonal_the_same_each_time_and_its_own():
    first = turn("border")
    assert first.matrix @ first.matrix.T == pytest.approx(np.eye(128), abs=1e-12)
    assert np.array_equal(first.matrix, turn("border").matrix)
    others = [turn("custody"), turn("border", key=1)]
    for other in others:
        assert other.id != first.id
        assert np.abs(first.matrix - other.matrix).max() > 0.1
    assert turn("border", dimension=3).matrix[0, 0] == pytest.approx(0.1963953860, abs=1e-9), "on every machine"


def test_turns_are_spread_evenly_over_all_orthogonal_matrices():
    """Haar: an entry of a D × D matrix is distributed as one coordinate of a random unit vector."""
    entries = np.concatenate([turn(str(i), dimension=8).matrix.ravel() for i in range(150)])
    coordinate = stats.beta(3.5, 3.5, loc=-1, scale=2)
    assert stats.kstest(entries, coordinate.cdf).pvalue > 0.01
    signs = [np.sign(np.linalg.det(turn(str(i), dimension=8).matrix)) for i in range(150)]
    assert abs(np.mean(signs)) < 0.25


def test_cosines_stay_within_and_are_noise_across(photos):
    rows, names = photos
    first, second = turn("border"), turn("custody")
    a, b = rows[::4], rows[1::4]
    assert score_pairs(first.apply(a), first.apply(b)) == pytest.approx(score_pairs(a, b), abs=1e-6)
    assert first.undo(first.apply(a)) == pytest.approx(a / np.linalg.norm(a, axis=1, keepdims=True), abs=1e-6)
    across = score_pairs(first.apply(a), second.apply(b))
    assert abs(across.mean()) < 0.35
    assert score_pairs(a, b).mean() > 0.9
    del names


def test_it_is_evaluated_in_one_call(photos):
    rows, names = photos
    told = evaluate_unlinkability(rows, names, rotations=(turn("border"), turn("custody")), replicas=30)
    assert len(told.within_mated) == len(told.across_mated) == 150 * 6
    assert told.d_unprotected > 0.5
    assert told.d_sys < 0.25 < told.d_unprotected
    assert told.low < told.d_sys < told.high
    assert told.chance < 0.1
    assert told.loss < 1e-6
    assert told.eer_turned == pytest.approx(told.eer_plain, abs=1e-3)
    assert "not irreversible" not in told.sentence
    assert "Neither the turn nor the encryption is irreversible" in told.sentence
    figure = unlinkability_figure(told)
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["Within one application", "Across two applications"]
    plt.close(figure)
    with pytest.raises(InputError, match="two different turns"):
        evaluate_unlinkability(rows, names, rotations=(turn("a"), turn("a")))
    with pytest.raises(InputError, match="as many"):
        evaluate_unlinkability(rows, names[:-1], rotations=(turn("a"), turn("b")))
    with pytest.raises(ShapeError, match="at least 20"):
        evaluate_unlinkability(rows[:8], names[:8], rotations=(turn("a"), turn("b")))


@pytest.mark.parametrize(("apart", "omega"), [(0.5, 1.0), (1.0, 1.0), (2.0, 1.0), (1.0, 0.3), (6.0, 1.0)])
def test_linkability_equals_the_integral_for_two_normals(apart, omega):
    """An independent reference: D_sys of N(d, 1) against N(0, 1), by quadrature."""
    gen = np.random.default_rng(0)
    mated, nonmated = gen.normal(apart, 1, 400_000), gen.normal(0, 1, 400_000)

    def inside(s: float) -> float:
        ratio = omega * np.exp(apart * s - apart**2 / 2)
        return stats.norm.pdf(s, apart) * (2 * ratio / (1 + ratio) - 1) if ratio > 1 else 0.0

    expected, _ = integrate.quad(inside, -8, 16, points=[apart / 2 - np.log(omega) / apart], limit=200)
    assert linkability(mated, nonmated, omega=omega) == pytest.approx(expected, abs=0.01)


def test_linkability_at_its_ends():
    gen = np.random.default_rng(0)
    assert linkability(gen.normal(9, 1, 500), gen.normal(-9, 1, 500)) == 1
    assert linkability(gen.normal(size=200_000), gen.normal(size=200_000)) < 0.01
    assert linkability(np.zeros(50), np.zeros(50)) == 0
    with pytest.raises(InputError, match="odds"):
        linkability(np.ones(20), np.ones(20), omega=0)
    with pytest.raises(ShapeError, match="NaN"):
        linkability([np.nan] * 20, np.ones(20))


def test_a_turn_is_kept_secret_and_refuses_what_it_does_not_fit():
    secret = turn("border")
    with pytest.raises(TypeError, match="secret"):
        pickle.dumps(secret)
    assert "array" not in repr(secret)
    with pytest.raises(ShapeError):
        secret.apply(np.ones((2, 64), dtype=np.float32))
    for wrong in ({"key": b"x", "application": "a"}, {"key": bytes(32), "application": " "},
                  {"key": bytes(32), "application": "a", "dimension": 1}):  # fmt: skip
        with pytest.raises(InputError, match="expected 32"):
            template_rotation(**wrong)
