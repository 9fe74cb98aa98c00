"""Figures and the numbers behind them are those that somebody looked at: compared with small copies in tests/golden.

All are made from synthetic data and the built-in head. After a change on purpose run
``python tests/notebooks/test_golden.py`` and look at what git says has changed.

A picture is scaled to 200 px and cut into tiles of 10 × 10 px; it differs as much as its tile that differs most does,
in mean absolute grey levels of 255. Letters that are 1 % larger or smaller, as other versions of matplotlib and
FreeType draw them, came out at up to 11.3; the mistakes below, most of them in one point of a figure, at 21 and more.
Numbers may differ by 0.1 %, for other orders of summing; a 1 % mistake is caught.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.text import Text
from PIL import Image

from crimeface_lib import crime, governance, metrics, recognition, reporting
from crimeface_lib.reconstruction import Camera, View, fit_landmarks, load_morphable_model, rasterize
from crimeface_lib.reporting.style import figure_png
from crimeface_lib.synthetic import synthetic_crimes, synthetic_scores, write_police_uk

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
WIDTH, TILE = 200, 10
PICTURE_TOLERANCE = 15.0  # grey levels of 255, in the worst tile
NUMBER_TOLERANCE = 1e-3
NOTE = {"attribution": "made up", "caveat": "of no real place"}


# -- what is drawn -----------------------------------------------------------------------------------------------
@cache
def town() -> tuple[Any, Any]:
    with tempfile.TemporaryDirectory() as folder:
        made = synthetic_crimes(months=36, per_month=150, rng=11)
        write_police_uk(made.table, Path(folder))
        return crime.read_events(folder), crime.make_grid(made.truth.area, crs=made.truth.crs, cell=250)


@cache
def evaluation() -> Any:
    events, grid = town()
    cutoffs = events.months[-6:].astype(str)
    return crime.evaluate_places(events, grid, cutoffs=cutoffs, horizon="1M", models=("counts",), rng=1)


@cache
def scores() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    return rng.normal(0.95, 0.02, 400), rng.normal(0.8, 0.05, 4000)


def head(first: float = 0.0) -> Any:
    """The built-in head from the front and the side, grey by depth: without light, so that only shape is compared."""
    model = load_morphable_model("builtin")
    shape = model.decode(np.array([first]))
    side = shape[:, [2, 1, 0]] * (1, 1, -1)
    pictures = []
    for vertices in (shape, side):
        xy = vertices[:, :2] * (1, -1) * 0.55 + 90
        seen = rasterize(xy, 500 - vertices[:, 2], model.triangles, height=180, width=180, backend="numba").zbuf
        pictures.append(np.where(np.isfinite(seen), np.clip(255 - 1.2 * (seen - 380), 0, 255), 255).astype(np.uint8))
    return reporting.contact_sheet([np.repeat(p[..., None], 3, 2) for p in pictures], ["front", "side"], columns=2)


def density(bandwidth: float = 300) -> Any:
    events, grid = town()
    return reporting.hotspot_map(crime.kde(events, grid, bandwidth=bandwidth), title="Density", **NOTE)


def hotspots(alpha: float = 0.05) -> Any:
    events, grid = town()
    return reporting.hotspot_map(crime.getis_ord(grid.count(events), grid, alpha=alpha), title="Hotspots", **NOTE)


def series(factor: float = 1.0) -> Any:
    frame = crime.monthly_series(town()[0], by="type").frame
    largest = frame.sum().nlargest(4).index
    frame = frame[largest]
    frame.iloc[20, 0] *= factor
    return reporting.monthly_series_figure(frame)


def decomposition(robust: bool = False) -> Any:
    total = crime.monthly_series(town()[0]).frame["all"]
    total.iloc[5] += 150 * robust
    return reporting.decomposition_figure(crime.decompose(total, rng=1))


def pai(shift: float = 0.0) -> Any:
    summary = evaluation().summary.copy()
    summary.loc[summary.index[:1], ["pai", "pai_low", "pai_high"]] += shift
    return reporting.pai_figure(summary, names=crime.MODEL_NAMES)


def calibration(scale: float = 1.0) -> Any:
    mated, nonmated = scores()
    return reporting.calibration_figure(recognition.fit_calibration(mated * scale, nonmated, replicas=20))


def det(scale: float = 1.0) -> Any:
    mated, nonmated = scores()
    return reporting.det_figure({"sample": metrics.det_curve(mated, nonmated * scale)})


def bias(rng: int = 1) -> Any:
    return reporting.bias_rates_figure(report(rng).rates)


@cache
def report(rng: int = 1) -> Any:
    made = synthetic_scores(rng=rng)
    return governance.audit_bias(made.comparisons, groups=("group",), threshold=made.threshold, replicas=50, rng=1)


#: Each figure, and a mistake that must be seen in it.
FIGURES: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
    "head": (head, lambda: head(2.0)),
    "density": (density, lambda: density(600)),
    "hotspots": (hotspots, lambda: hotspots(0.2)),
    "series": (series, lambda: series(2.0)),
    "decomposition": (decomposition, lambda: decomposition(True)),
    "pai": (pai, lambda: pai(2.0)),
    "calibration": (calibration, lambda: calibration(1.03)),
    "det": (det, lambda: det(1.02)),
    "bias": (bias, lambda: bias(2)),
}


def numbers() -> dict[str, list[float]]:
    """Return the numbers behind the figures, and those that no figure shows."""
    events, grid = town()
    model = load_morphable_model("builtin")
    truth = np.array([1.0, -0.5, 0.5, 0.0, 0.3])
    turn = np.array([[1.0, 0.0, 0.0], [0.0, -1.0, 0.0], [0.0, 0.0, -1.0]])
    middle = np.array([320.0, 240.0])
    camera = Camera(
        rotation=turn, translation=np.array([5.0, 0.0, 900.0]), focal=1200.0, principal=middle, size=(480, 640)
    )
    points, _ = camera.project(model.landmarks(model.decode(truth)))
    view = View(points, (480, 640), 1.0)
    fit = fit_landmarks(model, [view])
    spread = crime.kde(events, grid, bandwidth=300).values
    total = crime.monthly_series(events).frame["all"]
    counts = metrics.count_scores(*scores(), replicas=20)
    made = recognition.fit_calibration(*scores(), replicas=20)
    return {
        "head, extent in mm": list(np.ptp(model.mean, axis=0)),
        "head, spread of the first modes in mm": [float(np.linalg.norm(m, axis=1).mean()) for m in model.identity[:5]],
        "fit, residual in px": list(fit.residual_px),
        "fit, identity": list(fit.identity[:5]),
        "events by type": list(events.frame["type"].value_counts().sort_index()),
        "density, quantiles": list(np.quantile(spread, (0.5, 0.9, 0.99, 1.0))),
        "hotspots": [int(crime.getis_ord(grid.count(events), grid).hot.sum())],
        "forecast": list(crime.forecast(total, horizon=3).table["expected"]),
        "pai": list(evaluation().summary["pai"]),
        "rates": list(metrics.verification(counts).rates["FNMR"]),
        "likelihood ratios": list(made.likelihood_ratio(np.array([0.85, 0.9, 0.95])).lr),
        "differentials": list(report().measures()["value"]),
    }


# -- how it is compared ------------------------------------------------------------------------------------------
def small(figure: Any) -> Image.Image:
    """Return a figure as it is kept: 200 px wide."""
    picture = Image.open(BytesIO(figure_png(figure, dpi=120))).convert("RGB")
    return picture.resize((WIDTH, round(picture.height * WIDTH / picture.width)), Image.Resampling.BOX)


def difference(one: Image.Image, other: Image.Image) -> float:
    """Return the mean absolute difference of the tile that differs most; infinite where the shapes differ."""
    if abs(one.height - other.height) > 2:
        return float("inf")
    height = min(one.height, other.height) // TILE * TILE
    apart = np.abs(np.asarray(one, float)[:height] - np.asarray(other, float)[:height]).mean(axis=2)
    return float(apart.reshape(height // TILE, TILE, WIDTH // TILE, TILE).mean(axis=(1, 3)).max())


def agree(one: dict[str, list[float]], other: dict[str, list[float]]) -> bool:
    return one.keys() == other.keys() and all(
        len(one[key]) == len(other[key]) and np.allclose(one[key], other[key], rtol=NUMBER_TOLERANCE, atol=1e-6)
        for key in one
    )


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_is_the_one_that_was_looked_at(name):
    apart = difference(small(FIGURES[name][0]()), Image.open(GOLDEN / f"{name}.png"))
    assert apart < PICTURE_TOLERANCE, f"{name}.png differs by {apart:.1f}; if on purpose: python {Path(__file__).name}"


@pytest.mark.parametrize("name", FIGURES)
def test_a_mistake_in_a_figure_is_caught(name):
    assert difference(small(FIGURES[name][1]()), Image.open(GOLDEN / f"{name}.png")) > PICTURE_TOLERANCE


@pytest.mark.parametrize("name", ["density", "calibration", "det"])
@pytest.mark.parametrize("larger", [1.01, 0.99])
def test_another_drawing_of_the_letters_is_no_mistake(name, larger):
    figure = FIGURES[name][0]()
    for text in figure.findobj(Text):
        text.set_fontsize(text.get_fontsize() * larger)
    assert 0 < difference(small(figure), Image.open(GOLDEN / f"{name}.png")) < PICTURE_TOLERANCE


def test_the_numbers_behind_the_figures():
    found, kept = numbers(), json.loads((GOLDEN / "numbers.json").read_text())
    assert found.keys() == kept.keys()
    for key in kept:
        assert agree({key: found[key]}, {key: kept[key]}), f"{key}: got {found[key]}, expected {kept[key]}"
        assert not agree({key: [value * 1.01 + 1e-5 for value in found[key]]}, {key: kept[key]}), "1 % is caught"


def test_the_copies_are_small():
    assert {path.name for path in GOLDEN.iterdir()} == {"numbers.json", *(f"{name}.png" for name in FIGURES)}
    assert sum(path.stat().st_size for path in GOLDEN.iterdir()) < 500_000


if __name__ == "__main__":
    GOLDEN.mkdir(exist_ok=True)
    for name, (draw, _) in FIGURES.items():
        small(draw()).save(GOLDEN / f"{name}.png", optimize=True)
        sys.stdout.write(f"{name}.png\n")
    kept = {key: [float(f"{value:.6g}") for value in values] for key, values in numbers().items()}
    (GOLDEN / "numbers.json").write_text(json.dumps(kept, indent=1) + "\n")
