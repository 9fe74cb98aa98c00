"""What ``bench.py`` measures of recognition, beside dlib."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial

import numpy as np
from bench_timing import Benchmark, Measured, Options, side_by_side
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from crimeface_lib import faces, recognition, synthetic

_CHIP = (
    "a chip of 250×250 photos of the public-domain portrait, jittered, seed 0; ours batched, dlib (no BLAS) one by one"
)
_PHOTO = "a photo in memory; HOG without upsampling, 5 points, largest face; dlib (no BLAS, 1 thread) photo by photo"
_DLIB = "dlib.face_recognition_model_v1"

ROWS = [
    Benchmark("recognition", "embed chips", "ms", ("≥ 6×",), _DLIB, _CHIP, "dlib"),
    Benchmark("recognition", "embed chips, torch on 1 thread", "ms", ("≥ 6×",), _DLIB, _CHIP, "dlib"),
    Benchmark("recognition", "photo to template, no mirror", "ms", ("≥ 3×", "≤ 35 ms"), _DLIB, _PHOTO, "dlib"),
    Benchmark("recognition", "photo to template, default", "ms", ("≥ 3×", "≤ 35 ms"), _DLIB,
              f"{_PHOTO}; ours also embeds the mirror image", "dlib"),
    Benchmark("recognition", "photo to template, LFW", "ms", ("≥ 3×", "≤ 35 ms"), _DLIB,
              f"{_PHOTO}; View 1, seed 0, no mirror", "dlib"),
    Benchmark("recognition", "watchlist search in 1,000", "ms", (), "bare numpy product on open templates",
              "a probe; ours reads the store, decrypts each entry and gives 20 likelihood ratios"),
    *(Benchmark("recognition", f"compare under encryption, {count:,} entries", "ms", (), "score_pairs on templates",
                "a probe, 128 numbers; ours is the comparing party's part: read the probe, multiply, write the answer",
                "tenseal") for count in (1_000, 10_000)),
]  # fmt: skip


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


def measure(options: Options) -> Iterator[tuple[str, Callable[[], Measured]]]:
    import dlib
    import torch

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

    def encrypted(count: int) -> Measured:
        gallery, probe = (synthetic.synthetic_watchlist(n, embedder=net, rng=n) for n in (count, 1))
        folder, signing = options.scratch / f"he_{count}", Ed25519PrivateKey.generate()
        public = {"verify_key": signing.public_key().public_bytes_raw().hex()}
        holder = recognition.KeyHolder.create(folder, key=bytes(32), signing_key=signing)
        sealed = holder.protect(gallery, records=[str(row) for row in range(count)])
        comparer = recognition.Comparer(folder / "he_public.ctx", sealed, **public)
        began = time.perf_counter()
        sent = recognition.encrypt_probe(probe, context=folder / "he_public.ctx", **public)
        asked, answer = time.perf_counter(), comparer.compare(sent)
        answered, found = time.perf_counter(), holder.candidates(answer, probe=sent, threshold=-1, top=1000)
        ended, plain = (
            time.perf_counter(),
            lambda _: recognition.score_pairs(probe.vectors.repeat(count, 0), gallery.vectors),
        )
        apart = np.abs(plain(0)[[int(row) for row in found.records]] - found.scores).max()
        note = f"gallery {len(sealed) / 1e6:.1f} MB, probe {len(sent) / 1e6:.1f} MB in {1e3 * (asked - began):.0f} ms, "
        note += (
            f"answer {len(answer) / 1e6:.1f} MB opened in {1e3 * (ended - answered):.0f} ms, scores off by {apart:.1g}"
        )
        return side_by_side(lambda _: comparer.compare(sent), plain, turns=turns, note=note)

    made = portraits(16)
    yield "embed chips", partial(chips, all_threads)
    yield "embed chips, torch on 1 thread", partial(chips, 1)
    yield "photo to template, no mirror", lambda: photos(made)
    yield "photo to template, default", lambda: photos(made, mirror=True)
    yield "photo to template, LFW", lfw
    yield "watchlist search in 1,000", search
    for count in (1_000, 10_000):
        yield f"compare under encryption, {count:,} entries", partial(encrypted, count)
