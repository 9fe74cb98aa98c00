"""What ``bench.py`` measures of reconstruction, beside its bars."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache, partial
from typing import Any

import numpy as np
from bench_light import light_rows
from bench_recognition import portraits
from bench_timing import Benchmark, Measured, Options, Skipped, side_by_side
from scipy.spatial.transform import Rotation

from crimeface_lib import reconstruction
from crimeface_lib.reconstruction.contour import outward
from crimeface_lib.reconstruction.mesh import png_bytes

_FIT = "a face, as reconstruct() asks for it: jaw slides, expression free; BLAS 1 thread"
_AGREES = "a frontal face at 224² by PyTorch3D on a CPU; the worse of numba and torch"
_DRAWN = (
    "drawn ICT faces, 200 mm on 62 % of 512 px, σ = 2 px, focal length unknown, expression shared, jaw {}; "
    "bar: N ≥ 100 (--full)"
)
_LIT = (
    "median error of the pixels' shape as a share of the landmarks' one; drawn ICT faces at 256², known light, "
    "landmarks σ = 1 px; bar: N ≥ 30 (--full)"
)
_VIEWS = (("1 view", 15, "0.85"), ("3 views", 25, "0.60"), ("5 views", 40, "0.50"))

ROWS = [
    *(row for views, time_, error in _VIEWS for row in (
        Benchmark("reconstruction", f"fit_landmarks, {views}", "ms", (f"≤ {time_} ms",), "",
                  f"{_FIT}; uncertainty of scale and focal length; that of the vertices comes on first use"),
        Benchmark("reconstruction", f"fit_landmarks and vertex_sd, {views}", "ms", (), "", _FIT),
        *(row for jaw, name in (("fixed", ""), ("at the silhouette, and slid by the fit", ", sliding jaw")) for row in (
            Benchmark("reconstruction", f"error along the normal{name}, {views}", "mm", (f"≤ {error} mm",),
                      "the mean face",
                      f"median over faces of the median over the narrow face, after similarity; {_DRAWN.format(jaw)}"),
            Benchmark("reconstruction", f"truth within 2 sd{name}, {views}", "%", ("≥ 90 %", "≤ 98 %"), "",
                      f"mean share of the face's vertices within 2 posterior sd; {_DRAWN.format(jaw)}"),
        )),
    )),
    Benchmark("reconstruction", "fit_landmarks_batch", "/s", (), "", "one photo a face, jaw slides; bar: a GPU's"),
    Benchmark("reconstruction", "rasterize, numba", "ms", ("≤ 2 ms",), "", "a frontal face at 224², with its checks"),
    Benchmark("reconstruction", "rasterize, torch", "ms", ("≤ 12 ms",), "", "a frontal face at 224², with its checks"),
    Benchmark("reconstruction", "rasterize, PyTorch3D", "ms", ("≥ 1000×",), "PyTorch3D's CPU rasteriser",
              "a frontal face at 224², one face a pixel, no bins", "pytorch3d"),
    Benchmark("reconstruction", "rasterize_batch, torch", "ms", ("≤ 0.5 ms",), "",
              "a frame of 32 frontal faces at 224², from NumPy and back; bar: a GPU's"),
    Benchmark("reconstruction", "coverage apart, PyTorch3D", "px", ("≤ 0 px",), "", _AGREES, "pytorch3d"),
    Benchmark("reconstruction", "same triangle, PyTorch3D", "%", ("≥ 99.9 %",), "", _AGREES, "pytorch3d"),
    Benchmark("reconstruction", "weights apart, PyTorch3D", "", ("≤ 0.001",), "", _AGREES, "pytorch3d"),
    *(row for views, seconds in (("1 view", 3), ("3 views", 5)) for row in (
        Benchmark("reconstruction", f"refine_photometric, {views}", "s", (f"≤ {seconds} s",), "",
                  "a drawn ICT face at 256², expression shared; BLAS 1 thread"),
        Benchmark("reconstruction", f"error with pixels, {views}", "%", ("≤ 100 %",), "", _LIT),
    )),
    *(Benchmark("reconstruction", f"error with pixels, {spoilt}", "%", ("≤ 103 %",), "", _LIT)
      for spoilt in ("cast shadow", "shine", "hand", "spectacles", "grey", "over-exposed")),
    Benchmark("reconstruction", "bake_texture, 1 photo", "ms", (), "", "1024² texels from the 512² portrait, albedo"),
    Benchmark("reconstruction", "reconstruct, 1 photo", "ms", (), "",
              "detect, landmarks, fit, pixels, texture of 1024²; 512² portrait"),
    Benchmark("reconstruction", "reconstruct_batch, 8 photos", "/s", (), "reconstruct one by one",
              "8 portraits of 250²; thumbnails and fits written, no mesh, no photometry"),
]  # fmt: skip


def drawn_face(
    model: Any, seed: int, count: int, *, slides: bool = False
) -> tuple[np.ndarray, list[reconstruction.View]]:
    """Return the neutral vertices of a drawn face and its landmarks in ``count`` photos of 512 px, σ = 2 px.

    200 mm at the face's distance fill 62 % of the photo. With ``slides`` the jaw landmarks are where a detector sees
    them: at the outermost of the points of their contour lines, as the camera has it.
    """
    gen, views, origin = np.random.default_rng(seed), [], model.landmarks(model.mean).mean(0)
    identity, expression = gen.standard_normal(len(model.identity)), np.zeros(len(model.expression))
    expression[gen.choice(len(expression), 10, replace=False)] = gen.uniform(0, 0.6, 10)
    vertices = model.decode(identity, expression)
    for middle in (0, -35, 35, -18, 18)[:count]:
        yaw, pitch, roll = middle + gen.uniform(-8, 8), gen.uniform(-15, 15), gen.uniform(-10, 10)
        focal = 256 / np.tan(np.deg2rad(gen.uniform(12, 35)) / 2)
        turn = np.diag([1.0, -1.0, -1.0]) @ Rotation.from_euler("ZXY", [roll, pitch, yaw], degrees=True).as_matrix()
        shift = np.array([*gen.uniform(-8, 8, 2), focal * 200 / (0.62 * 512)]) - turn @ origin
        camera = reconstruction.Camera(turn, shift, focal, np.full(2, 256.0), (512, 512))
        points = camera.project(model.landmarks(vertices))[0]
        for index, line in enumerate(model.contour if slides else ()):
            drawn = np.vstack([points[index], camera.project(vertices[line])[0]])
            points[index] = drawn[((drawn - points[27:36].mean(0)) @ outward(points)[index]).argmax()]
        views.append(reconstruction.View(points + gen.normal(0, 2.0, (68, 2)), (512, 512), 2.0))
    return model.decode(identity), views


def fit_quality(model: Any, views: int, count: int, *, slides: bool = False) -> tuple[Measured, Measured]:
    """Return the error of the fit beside the mean face's, mm, and the share within 2 posterior sd, %."""

    from crimeface_lib.metrics.surface import normal_error
    from crimeface_lib.reconstruction.uncertainty import vertex_normals

    if model.name != "ict":
        raise Skipped("the bar is for ICT-FaceKit: crimeface fetch ict, or set CRIMEFACE_DATA_ROOT")
    rows, note = [], f"N = {count}, seeds 0–{count - 1}"
    narrow, whole = slice(6706), slice(*model.regions["face"])  # ICT's narrow face; where vertex_sd takes pose out
    for seed in range(count):
        truth, taken = drawn_face(model, seed, views, slides=slides)
        normals = vertex_normals(truth, model.triangles)
        fit = reconstruction.fit_landmarks(model, taken, shared_expression=True, slide_contour=slides)
        fitted = model.decode(fit.identity)
        error, mean = (normal_error(v[narrow], truth[narrow], normals[narrow]) for v in (fitted, model.mean))
        within = np.abs(normal_error(fitted[whole], truth[whole], normals[whole])) < 2 * fit.vertex_sd[whole]
        rows.append((np.median(np.abs(error)), np.median(np.abs(mean)), 100 * within.mean()))
    error, mean, _ = np.median(rows, axis=0)
    few = "" if count >= 100 else "N < 100"
    return Measured((error,), (mean,), note, few), Measured((np.mean(rows, axis=0)[2],), None, note, few)


def pytorch3d(vertices: np.ndarray, triangles: np.ndarray, camera: reconstruction.Camera) -> Callable[[int], Any]:
    import torch
    from pytorch3d.renderer import MeshRasterizer, PerspectiveCameras, RasterizationSettings
    from pytorch3d.structures import Meshes

    cameras = {k: torch.from_numpy(v) if isinstance(v, np.ndarray) else v for k, v in camera.to_pytorch3d().items()}
    mesh = Meshes(torch.from_numpy(vertices).float()[None], torch.from_numpy(triangles).long()[None])
    settings = RasterizationSettings(image_size=224, faces_per_pixel=1, bin_size=0)
    rasterizer = MeshRasterizer(cameras=PerspectiveCameras(**cameras), raster_settings=settings)
    return lambda _: rasterizer(mesh)


def agreement_with_pytorch3d(draw: Callable[..., reconstruction.Fragments]) -> tuple[Measured, ...]:
    """Return pixels covered by only one, % of the common ones that show one triangle, and the largest difference of
    weights there, for the worse of our two backends."""
    import warnings

    try:
        with warnings.catch_warnings(action="ignore", category=UserWarning):
            their = draw(backend="pytorch3d", device="cpu")
    except ImportError as error:
        raise Skipped(str(error)) from error
    rows = []
    for ours in (draw(backend=name) for name in ("numba", "torch")):
        both = ours.covered & their.covered
        same = both & (ours.pix_to_face == their.pix_to_face)
        apart = np.abs(ours.bary - their.bary)[same].max()
        rows.append(((ours.covered != their.covered).sum(), 100 * same.sum() / both.sum(), apart))
    pixels, share, apart = zip(*rows, strict=True)
    note = "the worse of numba and torch"
    return tuple(Measured((float(value),), None, note) for value in (max(pixels), min(share), max(apart)))


def measure(options: Options) -> Iterator[tuple[str, Callable[[], Measured]]]:
    from skimage import data

    model, photo = reconstruction.load_morphable_model("auto"), np.ascontiguousarray(data.astronaut())

    def fit(views: int, *, sd: bool = False) -> Measured:
        drawn = [drawn_face(model, seed, views)[1] for seed in range(8)]
        done = [reconstruction.fit_landmarks(model, face) for face in drawn]
        note = f"{model.name} model, seeds 0–7, {np.median([f.iterations for f in done]):g} iterations"
        each = lambda _: [reconstruction.fit_landmarks(model, face) for face in drawn]  # noqa: E731
        both = lambda turn: [found.vertex_sd for found in each(turn)]  # noqa: E731
        return side_by_side(both if sd else each, items=8, note=note)

    def batch() -> Measured:
        points = np.stack([drawn_face(model, seed % 16, 1)[1][0].points for seed in range(128)])
        run = partial(reconstruction.fit_landmarks_batch, model, points, (512, 512), sd=2.0, device=None)
        return side_by_side(lambda _: run(), items=128, turns=3, note=f"{model.name} model, on {run().device}")

    for views, in_words in ((1, "1 view"), (3, "3 views"), (5, "5 views")):
        yield f"fit_landmarks, {in_words}", partial(fit, views)
        yield f"fit_landmarks and vertex_sd, {in_words}", partial(fit, views, sd=True)
        for jaw in ("", ", sliding jaw"):
            quality = cache(partial(fit_quality, model, views, 100 if options.full else 30, slides=bool(jaw)))
            yield f"error along the normal{jaw}, {in_words}", lambda quality=quality: quality()[0]
            yield f"truth within 2 sd{jaw}, {in_words}", lambda quality=quality: quality()[1]
    yield "fit_landmarks_batch", batch
    triangles = model.triangles[(model.triangles < model.regions["face"][1]).all(1)]
    camera = reconstruction.Camera.look("frontal", model.mean[slice(*model.regions["face"])], size=224)
    draw = partial(reconstruction.rasterize, *camera.project(model.mean), triangles, height=224, width=224)
    note = f"{model.name} model, {len(triangles):,} triangles"
    for name in ("numba", "torch"):
        run = partial(draw, backend=name)
        yield f"rasterize, {name}", partial(side_by_side, lambda _, run=run: run(), turns=9, calls=10, note=note)

    def many() -> Measured:

        from crimeface_lib.core.device import resolve_device

        device = resolve_device(None)
        frames = {"height": 224, "width": 224, "backend": "torch", "device": device}
        xy, z = (np.stack([one] * 32) for one in camera.project(model.mean))
        run = lambda _: reconstruction.rasterize_batch(xy, z, triangles, **frames)  # noqa: E731
        found: Measured = side_by_side(run, items=32, turns=5, note=f"{note}, on {device}")
        return replace(found, unjudged="" if device != "cpu" else "the bar is a GPU's")

    yield "rasterize_batch, torch", many
    yield (
        "rasterize, PyTorch3D",
        lambda: side_by_side(lambda _: draw(), pytorch3d(model.mean, triangles, camera), turns=3, calls=10, note=note),
    )
    agreement = cache(partial(agreement_with_pytorch3d, draw))
    for index, name in enumerate(("coverage apart", "same triangle", "weights apart")):
        yield f"{name}, PyTorch3D", lambda index=index: agreement()[index]
    yield from light_rows(model, options)
    done = reconstruction.reconstruct(photo, model=model)
    shape, cameras = model.decode(done.fit.identity, done.fit.expressions[0]), list(done.fit.cameras)
    bake = partial(reconstruction.bake_texture, model, [shape], [photo], cameras, lighting=done.lighting)
    whole = partial(reconstruction.reconstruct, photo, model=model)
    for name, run in (("bake_texture", bake), ("reconstruct", whole)):
        yield f"{name}, 1 photo", partial(side_by_side, lambda _, run=run: run(), note=f"{model.name} model")

    def collection() -> Measured:
        import os
        from tempfile import mkdtemp

        folder, options_ = options.scratch / "photos", {"model": model, "photometric": False, "texture_size": 512}
        folder.mkdir(exist_ok=True)
        for index, picture in enumerate(portraits(8)):
            (folder / f"{index}.png").write_bytes(png_bytes(picture))
        ours = lambda _: reconstruction.reconstruct_batch(  # noqa: E731
            folder, mkdtemp(dir=options.scratch), exports=(), progress=False, **options_
        )
        one_by_one = lambda _: [reconstruction.reconstruct(path, **options_) for path in sorted(folder.iterdir())]  # noqa: E731
        note = f"{model.name} model, n = 8, {min(8, len(os.sched_getaffinity(0)))} processes, their start included"
        return side_by_side(ours, one_by_one, items=8, turns=3, note=note)

    yield "reconstruct_batch, 8 photos", collection
