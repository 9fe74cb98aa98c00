"""Photos drawn of a face model in a known light, and spoilt as photos are, for the rows of the photometric stage."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
from bench_timing import Measured, Options, Skipped, side_by_side

from crimeface_lib import reconstruction
from crimeface_lib.reconstruction.light import harmonics, to_srgb, to_viewer
from crimeface_lib.reconstruction.photometric import refine_photometric
from crimeface_lib.reconstruction.uncertainty import vertex_normals

SPOILT = (
    "cast shadow", "shine", "hand", "spectacles", "grey", "grey and shine", "over-exposed", "coloured light",
    "80 px JPEG",
)  # fmt: skip


def albedo(model: Any, gen: np.random.Generator) -> np.ndarray:
    """Return (V, 3) linear albedo: a tone, blotches of 9 and 35 mm, grain, lips and brows with sharp edges."""
    from matplotlib.path import Path

    mean, points = model.mean[: model.regions["face"][1]], model.landmarks(model.mean)

    def blotches(width: float, count: int) -> np.ndarray:
        centres = mean[gen.choice(len(mean), count)]
        squared = (mean**2).sum(1)[:, None] + (centres**2).sum(1) - 2 * mean @ centres.T
        field = np.exp(-squared / (2 * width**2)) @ gen.standard_normal(count)
        return field / field.std()

    grey = 0.10 * blotches(35, 30) + 0.07 * blotches(9, 400)
    hue = np.stack([0.03 * blotches(25, 60) for _ in range(3)], 1)
    made = np.array([0.50, 0.27, 0.19]) * gen.uniform(0.25, 1.15) * np.exp(grey[:, None] + hue)
    lips = Path(points[48:60, :2]).contains_points(mean[:, :2]) & (mean[:, 2] > 0)
    made[lips] *= [0.8, 0.55, 0.6]
    for part in (slice(17, 22), slice(22, 27)):
        brow = points[part, :2]
        line = np.concatenate([brow[:-1] + (brow[1:] - brow[:-1]) * step for step in np.linspace(0, 1, 8)])
        made[np.linalg.norm(mean[:, None, :2] - line, axis=2).min(1) < 3.5] *= gen.uniform(0.25, 0.7)
    return np.clip(made * (1 + 0.04 * gen.standard_normal((len(mean), 1))), 0.01, 0.95)


def lamp(gen: np.random.Generator) -> np.ndarray:
    """Return (9, 3): a light from the viewer's side, uneven, nearly white."""
    lighting = np.zeros((9, 3))
    lighting[0] = gen.uniform(0.6, 1.1)
    towards = gen.standard_normal(3)
    towards[2] = abs(towards[2]) + 0.5
    lighting[1:4] = (gen.uniform(0.2, 0.6) * towards / np.linalg.norm(towards))[:, None] * lighting[0]
    lighting[4:] = gen.normal(0, 0.08, (5, 1))
    return lighting * (1 + gen.normal(0, 0.06, (1, 3)))


def photo(
    model: Any, vertices: np.ndarray, camera: reconstruction.Camera, paint: np.ndarray, lighting: np.ndarray,
    gen: np.random.Generator, spoilt: str = "",
) -> np.ndarray:  # fmt: skip
    """Return an (H, W, 3) uint8 photo, drawn at twice the size, with noise of 2 grey levels."""
    import cv2

    stop = model.regions["face"][1]
    triangles = model.triangles[(model.triangles < stop).all(1)]
    large, head = camera.resized(2), vertices[:stop]
    seen = reconstruction.rasterize(*large.project(head), triangles, height=large.size[0], width=large.size[1])
    normals = seen.interpolate(vertex_normals(head, triangles), triangles)
    facing = to_viewer(normals / np.linalg.norm(normals, axis=1, keepdims=True), camera.rotation)
    shone = np.maximum(harmonics(facing) @ lighting, 0.02)
    if spoilt == "cast shadow":
        points, angle = seen.interpolate(head, triangles)[:, :2], gen.uniform(0, 2 * np.pi)
        across = (points - points.mean(0)) @ [np.cos(angle), np.sin(angle)]
        shone = shone * np.where(across > gen.uniform(0, 30), 0.35, 1.0)[:, None]
    radiance = seen.interpolate(paint, triangles) * shone
    if spoilt.endswith("shine"):
        for _ in range(gen.integers(1, 4)):  # lamps: from greasy to wet, from faint to burnt out
            half = np.array([gen.normal(0, 0.3), gen.uniform(-0.1, 0.7), 1.0])
            gloss = np.clip(facing @ half / np.linalg.norm(half), 0, 1)[:, None] ** np.exp(gen.uniform(2.5, 4.5))
            radiance = radiance + np.exp(gen.uniform(-1.5, 0)) * lighting[0] * gloss
    wave = 1 + 0.3 * np.sin(np.arange(large.size[1]) / large.size[1] * gen.uniform(5, 30))
    picture = np.ones((*large.size, 3)) * gen.uniform(0.05, 0.8, 3) * wave[None, :, None]
    picture[seen.covered] = radiance
    points = large.project(model.landmarks(vertices))[0]
    if spoilt == "hand":
        middle, half = points[gen.choice([2, 4, 8, 12, 14])], 0.45 * np.linalg.norm(points[36] - points[45])
        y, x = np.mgrid[: large.size[0], : large.size[1]]
        over = ((x - middle[0]) / half) ** 2 + ((y - middle[1]) / (0.7 * half)) ** 2 < 1
        picture[over] = paint.mean(0) * gen.uniform(0.6, 1.1) * lighting[0]
    if spoilt == "spectacles":
        for eye in (points[36:42], points[42:48]):
            half = 0.85 * np.linalg.norm(eye[0] - eye[3])
            centre = tuple(np.round(eye.mean(0)).astype(int).tolist())
            cv2.circle(picture, centre, int(half), (0.02,) * 3, max(2, int(0.18 * half)))
    coded = to_srgb(picture * (2.2 if spoilt == "over-exposed" else 1.0))
    if spoilt.startswith("grey"):
        coded = np.repeat((coded @ [0.299, 0.587, 0.114])[..., None], 3, 2)
    small = cv2.resize(coded, camera.size[::-1], interpolation=cv2.INTER_AREA)
    taken = np.clip(small + gen.normal(0, 2.0, small.shape), 0, 255).round().astype(np.uint8)
    if spoilt == "80 px JPEG":
        _, packed = cv2.imencode(".jpg", taken, [cv2.IMWRITE_JPEG_QUALITY, int(gen.integers(40, 80))])
        taken = cv2.imdecode(packed, cv2.IMREAD_COLOR)
    return taken


def drawn_photos(
    model: Any, seed: int, count: int, spoilt: str = "", size: int = 256
) -> tuple[np.ndarray, list[reconstruction.View], list[np.ndarray]]:
    """Return the true identity, and landmarks (σ = 2 px of 512) and photos of ``size`` px."""
    size = 100 if spoilt == "80 px JPEG" else size
    gen = np.random.default_rng(seed)
    identity, expression = gen.standard_normal(len(model.identity)), np.zeros(len(model.expression))
    expression[gen.choice(len(expression), 10, replace=False)] = gen.uniform(0, 0.6, 10)
    vertices, paint, views, photos = model.decode(identity, expression), albedo(model, gen), [], []
    face, sd = vertices[slice(*model.regions["face"])], 2.0 * size / 512
    for yaw in (0, -35, 35)[:count]:
        turn, fov = (yaw + gen.uniform(-8, 8), gen.uniform(-15, 15)), gen.uniform(12, 35)
        camera = reconstruction.Camera.look(turn, face, size=size, fill=0.8, fov=fov)
        points = camera.project(model.landmarks(vertices))[0] + gen.normal(0, sd, (68, 2))
        views.append(reconstruction.View(points, (size, size), sd))
        lighting = lamp(gen) * (np.exp(gen.normal(0, 0.4, 3)) if spoilt == "coloured light" else 1.0)
        photos.append(photo(model, vertices, camera, paint, lighting, gen, spoilt))
    return identity, views, photos


def pixels_quality(model: Any, views: int, count: int, spoilt: str = "") -> Measured:
    """Return the error with the pixels as a share of that of the landmarks alone, %."""

    from crimeface_lib.metrics.surface import normal_error

    if model.name != "ict":
        raise Skipped("the bar is for ICT-FaceKit: crimeface fetch ict, or set CRIMEFACE_DATA_ROOT")
    part, rows, kept = slice(6706), [], 0  # ICT's narrow face
    for seed in range(count):
        identity, taken, photos = drawn_photos(model, seed, views, spoilt)
        truth = model.decode(identity)
        normals = vertex_normals(truth, model.triangles)[part]
        fit = reconstruction.fit_landmarks(model, taken, shared_expression=True, slide_contour=False)
        shading = refine_photometric(model, fit, taken, photos, shared_expression=True, slide_contour=False)
        kept += shading.refined
        rows.append([np.median(np.abs(normal_error(model.decode(found.identity)[part], truth[part], normals)))
                     for found in (shading.fit, fit)])  # fmt: skip
    after, before = np.median(rows, axis=0)
    better, worst = np.mean([a <= b for a, b in rows]), max(a - b for a, b in rows)
    note = f"{before:.2f} → {after:.2f} mm, N = {count}, moved {kept}, no worse {better:.0%}, worst {worst:+.2f} mm"
    return Measured((100 * after / before,), None, note, "" if count >= 30 else "N < 30")


def light_rows(model: Any, options: Options) -> Iterator[tuple[str, Callable[[], Measured]]]:

    def seconds(views: int) -> Measured:
        _, taken, photos = drawn_photos(model, 0, views)
        fit = reconstruction.fit_landmarks(model, taken, shared_expression=True)
        refine = partial(refine_photometric, model, fit, taken, photos, shared_expression=True)
        return side_by_side(lambda _: refine(), turns=3, note=f"{model.name} model")

    count = 30 if options.full else 6
    for views, in_words in ((1, "1 view"), (3, "3 views")):
        yield f"refine_photometric, {in_words}", partial(seconds, views)
        yield f"error with pixels, {in_words}", partial(pixels_quality, model, views, count)
    for spoilt in SPOILT:
        yield f"error with pixels, {spoilt}", partial(pixels_quality, model, 1, count, spoilt)
