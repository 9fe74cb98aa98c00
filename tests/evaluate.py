"""Measure the models on real data: ``python tests/evaluate.py [faces] [places] [shape]``; minutes each.

Writes ``crimeface_lib/governance/results/*.json`` and README's table. The figures in cards, README and ML-BOM come
from these files and from nowhere else; ``tests/test_evaluate.py`` compares them.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "crimeface_lib" / "governance" / "results"
START, END = "<!-- results: written by tests/evaluate.py -->", "<!-- end of results -->"
SEED = 0


def faces(data: Path) -> Iterator[dict[str, Any]]:
    """LFW View 1: threshold on the training list, everything else on the test list."""
    from crimeface_lib.faces import read_pairs
    from crimeface_lib.recognition import embed_images, load_calibration, score_pairs

    lists = {name: read_pairs(data / f"lfw/pairsDev{name}.txt") for name in ("Train", "Test")}
    files = sorted({file for pairs in lists.values() for a, b, _ in pairs for file in (a, b)})
    found = embed_images((data / "lfw/images" / file for file in files), device="cpu", which="central")
    row = {file: i for i, file in enumerate(files)}
    used = {name: sorted({f for a, b, _ in pairs for f in (a, b)}) for name, pairs in lists.items()}
    lost = [row[file] in found.failures for file in used["Test"]]
    scores, mated, people = {}, {}, {}
    for name, pairs in lists.items():
        made = [p for p in pairs if row[p[0]] not in found.failures and row[p[1]] not in found.failures]
        first, second = (found.vectors[[row[p[side]] for p in made]] for side in (0, 1))
        scores[name], mated[name] = score_pairs(first, second), np.array([p[2] for p in made])
        people[name] = np.array([[Path(a).parent.name, Path(b).parent.name] for a, b, _ in made])
    threshold = float(np.quantile(scores["Train"][~mated["Train"]], 0.99))
    ratios = load_calibration("dlib").likelihood_ratio(scores["Test"]).lr
    protocol = (
        "LFW deep-funneled, View 1, test list of 1,000 pairs; face nearest to the middle, mean of face, mirror image "
        "and two jittered chips, cosine; threshold at FMR 1 % on the training list, for the accuracy where the "
        "training list has most right decisions; people resampled"
    )
    right = (scores["Test"] >= best_threshold(scores["Train"], mated["Train"])) == mated["Test"]
    figures = rates(scores["Test"], mated["Test"], people["Test"], threshold, ratios)
    yield record("dlib-resnet", "lfw", protocol, [*figures, accuracy(right, people["Test"])])
    protocol = "images of LFW View 1, test list; the detector was trained on LFW; exact interval"
    yield record("dlib-hog-detector", "lfw", protocol, [share("images without a usable face", lost, digits=2)])


def best_threshold(scores: Any, mated: Any) -> float:
    """Return the threshold with most right decisions; the middle one of several."""
    order = np.argsort(-scores)
    right = np.cumsum(mated[order]) - np.cumsum(~mated[order])
    best = np.flatnonzero(right == right.max())
    first = best[len(best) // 2]
    return float(scores[order][first : first + 2].mean())


def accuracy(right: Any, people: Any) -> dict[str, Any]:
    from crimeface_lib.metrics import bootstrap_interval

    share_right = lambda weights: 100 * float(np.average(right, weights=weights))  # noqa: E731
    found = bootstrap_interval(share_right, people, replicas=1000, rng=SEED)
    return figure("accuracy of decisions", found.estimate, found.low, found.high, len(right), "%", 1)


def rates(scores: Any, mated: Any, people: Any, threshold: float, ratios: Any) -> list[dict[str, Any]]:
    """Return EER, FMR and FNMR at the threshold, and Cllr, each with an interval over people."""
    from crimeface_lib.metrics import bootstrap_interval, eer

    def cost(weights: Any) -> float:
        sides = ((mated, 1 / ratios), (~mated, ratios))
        return sum(float(np.average(np.log2(1 + odds[side]), weights=weights[side])) for side, odds in sides) / 2

    def equal(weights: Any) -> float:
        drawn = np.repeat(np.arange(len(scores)), weights.astype(int))
        return 100 * eer(scores[drawn[mated[drawn]]], scores[drawn[~mated[drawn]]])

    def rate(side: Any, wrong: Any) -> Callable[[Any], float]:
        return lambda weights: 100 * float(np.average(wrong[side], weights=weights[side]))

    asked = [
        ("EER", equal, len(scores), "%", 1),
        ("FMR at the threshold", rate(~mated, scores >= threshold), int((~mated).sum()), "%", 1),
        ("FNMR at the threshold", rate(mated, scores < threshold), int(mated.sum()), "%", 1),
        ("Cllr of the shipped calibration", cost, len(scores), "", 3),
    ]
    found = [(bootstrap_interval(statistic, people, replicas=1000, rng=SEED), about) for _, statistic, *about in asked]
    return [
        figure(name, i.estimate, i.low, i.high, *about) for (name, *_), (i, about) in zip(asked, found, strict=True)
    ]


def places(data: Path) -> Iterator[dict[str, Any]]:
    """Chicago: eleven months of 2019, each predicted from what was known before."""
    import geopandas as gpd

    from crimeface_lib import crime

    where = {"time": "date", "x": "longitude", "y": "latitude", "crs": "EPSG:4326", "plane": "EPSG:26971"}
    events = crime.read_points(data / "crime/chicago/chicago_aggravated_assaults.csv.gz", **where)
    grid = crime.make_grid(gpd.read_file(data / "boundaries/chicago_police_districts.kml").to_crs("EPSG:26971"))
    cutoffs = [f"2019-{month:02d}-01" for month in range(1, 12)]
    models = tuple(crime.MODEL_NAMES)
    found = crime.evaluate_places(events, grid, cutoffs=cutoffs, horizon="30D", models=models, rng=SEED).summary
    protocol = (
        "Chicago aggravated assaults, 250 m cells inside the police districts, 30 days ahead of 11 monthly cut-offs "
        "in 2019 (n), cut-offs resampled; PAI by share of the area"
    )
    for model, rows in found.groupby("model"):
        figures = [
            figure(f"PAI at {row.area:.0%}", row.pai, row.pai_low, row.pai_high, len(cutoffs), "", 2)
            for row in rows.sort_values("area").itertuples()
        ]
        yield record(str(model), "chicago-assaults", protocol, figures)


def shape(data: Path) -> Iterator[dict[str, Any]]:
    """ICT faces drawn from the model itself, fitted from noisy landmarks."""
    sys.path.insert(0, str(ROOT / "tests"))
    from bench_reconstruction import drawn_face

    from crimeface_lib import reconstruction
    from crimeface_lib.metrics.surface import normal_error
    from crimeface_lib.reconstruction.uncertainty import vertex_normals

    model, part, count = reconstruction.load_morphable_model("ict"), slice(6706), 100  # ICT's narrow face
    errors: dict[int, list[float]] = {views: [] for views in (1, 3, 5)}
    for views, found in errors.items():
        for seed in range(count):
            truth, taken = drawn_face(model, seed, views)
            fit = reconstruction.fit_landmarks(model, taken, shared_expression=True, slide_contour=False)
            normals = vertex_normals(truth, model.triangles)[part]
            found.append(float(np.median(np.abs(normal_error(model.decode(fit.identity)[part], truth[part], normals)))))
    draws = np.random.default_rng(SEED).integers(0, count, (2000, count))
    figures = []
    for views, found in errors.items():
        low, high = np.quantile(np.median(np.array(found)[draws], axis=1), [0.025, 0.975])
        name = f"median error from {views} view{'s' if views > 1 else ''}"
        figures.append(figure(name, float(np.median(found)), low, high, count, "mm", 2))
    protocol = (
        "synthetic ICT faces (n), landmarks with σ = 2 px, error along the normal after similarity; generator and "
        "fitter share the model and its priors, so this says nothing about real faces"
    )
    yield record("ict", "ict-scans", protocol, figures)


def figure(name: str, value: float, low: float, high: float, n: int, unit: str, digits: int) -> dict[str, Any]:
    """Return one figure as the result files hold it, in six digits."""
    rounded = {k: float(f"{v:.6g}") for k, v in {"value": value, "low": low, "high": high}.items()}
    return {"name": name, **rounded, "n": n, "unit": unit, "digits": digits}


def share(name: str, cases: list[bool], *, digits: int) -> dict[str, Any]:
    from crimeface_lib.metrics import rate_interval

    low, high = rate_interval(sum(cases), len(cases))
    return figure(name, 100 * sum(cases) / len(cases), 100 * low, 100 * high, len(cases), "%", digits)


def record(model: str, datasheet: str, protocol: str, figures: list[dict[str, Any]]) -> dict[str, Any]:
    """Return an evaluation with its parents: data, protocol, date, code."""
    from crimeface_lib.workflow.origin import code_version

    code = code_version(ROOT)
    return {
        "id": f"{model}/{datasheet}", "model": model, "datasheet": datasheet, "protocol": protocol,
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "code": code["commit"] + " with changes" * code["changed_since_commit"],
        "figures": figures,
    }  # fmt: skip


def write_readme() -> None:
    """Put the table of all results between its two marks in README.md."""
    from crimeface_lib.governance.results import bundled_results, results_markdown

    text = (ROOT / "README.md").read_text("utf-8")
    before, rest = text.split(START)
    _, after = rest.split(END)
    (ROOT / "README.md").write_text(f"{before}{START}\n{results_markdown(bundled_results())}\n{END}{after}", "utf-8")


def main(names: list[str]) -> None:
    from crimeface_lib.core.settings import load_settings

    data = load_settings().data_root
    if data is None:
        sys.exit("no real data: set CRIMEFACE_DATA_ROOT (data/README.md)")
    sections = {"faces": faces, "places": places, "shape": shape}
    for name in names or sections:
        text = json.dumps(list(sections[name](data)), indent=1, ensure_ascii=False)
        (RESULTS / f"{name}.json").write_text(text + "\n", "utf-8")
    write_readme()


if __name__ == "__main__":
    main(sys.argv[1:])
