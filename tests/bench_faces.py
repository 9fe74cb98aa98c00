"""What ``bench.py`` measures of faces: recognition beside dlib, reconstruction beside its bars."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.spatial.transform import Rotation

from crimeface_lib import faces, recognition, reconstruction, synthetic
from crimeface_lib.reconstruction.contour import outward
from crimeface_lib.reconstruction.mesh import png_bytes

if TYPE_CHECKING:
    from bench import Measured, Options


def portraits(count: int) -> list[np.ndarray]:
    """Return jittered 250×250 crops of scikit-image's public-domain portrait."""
    import cv2
    from skimage import data

    gen, photo, made = np.random.default_rng(0), data.astronaut(), []
    for side in gen.integers(200, 300, count):
        left, top = (max(0, int(centre - side / 2 + gen.uniform(-15, 15))) for centre in (222, 120))
        crop = (photo[top : top + side, left : left + side] * gen.uniform(0.75, 1.0)).astype(np.uint8)
        made.append(cv2.resize(crop, (250, 250), interpolation=cv2.INTER_AREA))
    return made


def recognition_rows(options: Options) -> Iterator[tuple[str, Callable[[], Measured]]]:
    import dlib
    import torch
    from bench import side_by_side

    from crimeface_lib.core.artifacts import find
    from crimeface_lib.faces.weights import POINTS_5, RESNET

    turns, net = 9 if options.full else 5, recognition.load_embedder("dlib", device="cpu")
    theirs, points = dlib.face_recognition_model_v1(str(find(RESNET))), dlib.shape_predictor(str(find(POINTS_5)))
    detect, all_threads = dlib.get_frontal_face_detector(), torch.get_num_threads()
    threads = f"torch threads {all_threads}"

    def by_dlib(photos: list[np.ndarray]) -> int:
        found = [(photo, max(detect(photo, 0), key=lambda box: box.area(), default=None)) for photo in photos]
        return len([theirs.compute_face_descriptor(photo, points(photo, box)) for photo, box in found if box])

    def photos(taken: list[np.ndarray], *, mirror: bool = False) -> Measured:
        ours = partial(recognition.embed_images, taken, embedder=net, mirror=mirror)
        seen = f"face found in {len(taken) - len(ours().failures)} by us, {by_dlib(taken)} by dlib"
        note = f"n = {len(taken)}, {seen}, {threads}"
        return side_by_side(lambda _: ours(), lambda _: by_dlib(taken), turns=turns, items=len(taken), note=note)

    def chips(count: int) -> Measured:
        cut = np.stack([faces.align_face(photo, faces.detect_faces(photo)[0]) for photo in made])
        one_by_one = lambda _: [theirs.compute_face_descriptor(chip) for chip in cut]  # noqa: E731
        apart = np.abs(net.embed(cut, normalise=False) - np.array(one_by_one(0))).max()
        note = f"n = {len(cut)}, largest difference {apart:.0e}, torch threads {count}"
        torch.set_num_threads(count)
        try:
            return side_by_side(lambda _: net.embed(cut), one_by_one, turns=turns, items=len(cut), note=note)
        finally:
            torch.set_num_threads(all_threads)

    def lfw() -> Measured:
        paths = sorted(options.real("lfw/images").glob("*/*.jpg"))
        return photos([faces.load_image(paths[i]) for i in np.random.default_rng(0).choice(len(paths), 16, False)])

    def search() -> Measured:
        gallery, probe = (synthetic.synthetic_watchlist(n, embedder=net, rng=n) for n in (1000, 1))
        watchlist = recognition.Watchlist.open(options.scratch / "watchlist", key=bytes(32))
        why = {"source": "synthetic", "rationale": "benchmark", "category": "none", "added_by": "bench"}
        watchlist.enrol_many(gallery, expires=datetime(9999, 1, 1, tzinfo=UTC), **why)
        bare = lambda _: np.argsort(-(gallery.vectors @ probe.vectors[0]))[:20]  # noqa: E731
        return side_by_side(lambda _: watchlist.search(probe), bare, note="seeds 1000 and 1")

    made = portraits(16)
    yield "embed chips", partial(chips, all_threads)
    yield "embed chips, torch on 1 thread", partial(chips, 1)
    yield "photo to template, no mirror", lambda: photos(made)
    yield "photo to template, default", lambda: photos(made, mirror=True)
    yield "photo to template, LFW", lfw
    yield "watchlist search in 1,000", search


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
    from bench import Measured, Skipped

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

    from bench import Measured, Skipped

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


def reconstruction_rows(options: Options) -> Iterator[tuple[str, Callable[[], Measured]]]:
    from bench import side_by_side
    from bench_light import light_rows
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
