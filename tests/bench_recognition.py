"""What ``bench.py`` measures of recognition, beside dlib."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from typing import Any

import numpy as np
from bench_timing import Benchmark, Measured, Options, Skipped, medians, side_by_side
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from crimeface_lib import faces, recognition, synthetic
from crimeface_lib.recognition.search import ExactIndex, FaissIndex, measure_recall, unit_rows
from crimeface_lib.storage import open_documents

_CHIP = (
    "a chip of 250×250 photos of the public-domain portrait, jittered, seed 0; ours batched, dlib (no BLAS) one by one"
)
_PHOTO = "a photo in memory; HOG without upsampling, 5 points, largest face; dlib (no BLAS, 1 thread) photo by photo"
_DLIB = "dlib.face_recognition_model_v1"
_WHY = {"source": "synthetic", "rationale": "benchmark", "category": "none", "added_by": "bench"}

ROWS = [
    Benchmark("recognition", "embed chips", "ms", ("≥ 6×",), _DLIB, _CHIP, "dlib"),
    Benchmark("recognition", "embed chips, torch on 1 thread", "ms", ("≥ 6×",), _DLIB, _CHIP, "dlib"),
    Benchmark("recognition", "embed chips on a GPU", "/s", ("≥ 5000 /s",), "", f"{_CHIP}; copied to the GPU and back"),
    Benchmark("recognition", "photo to template, no mirror", "ms", ("≥ 3×", "≤ 35 ms"), _DLIB, _PHOTO, "dlib"),
    Benchmark("recognition", "photo to template, default", "ms", ("≥ 3×", "≤ 35 ms"), _DLIB,
              f"{_PHOTO}; ours also embeds the mirror image and two jittered chips", "dlib"),
    Benchmark("recognition", "photo to template, LFW", "ms", ("≥ 3×", "≤ 35 ms"), _DLIB,
              f"{_PHOTO}; View 1, seed 0, ours by default (four chips)", "dlib"),
    Benchmark("recognition", "watchlist search in 1,000", "ms", (), "bare numpy product on open templates",
              "a probe; ours reads the store, decrypts each entry and gives 20 likelihood ratios"),
    *(Benchmark("recognition", f"compare under encryption, {count:,} entries", "ms", (), "score_pairs on templates",
                "a probe, 128 numbers; ours is the comparing party's part: read the probe, multiply, write the answer",
                "tenseal") for count in (1_000, 10_000)),
    Benchmark("recognition", "enrol 100,000 templates", "s", (), "", "random, SQLite, 1,000 a batch, each on the disk"),
    Benchmark("recognition", "open 100,000 templates", "s", (), "", "read, decrypted, checked, for a search session"),
    *(Benchmark("recognition", f"exact search in {count:,}", "ms", ("≤ 150 ms",) * (count == 1_000_000),
                "faiss.IndexFlatIP, exact too", "a probe of 32 at once; 128 float32, the best 20", "faiss")
      for count in (1_000, 100_000, 1_000_000)),
    Benchmark("recognition", "approximate search in 100,000", "ms", (), "our exact search",
              "a probe of 32 at once; FAISS IVF-Flat by default, unstructured random rows, the best 20", "faiss"),
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

    def photos(taken: list[np.ndarray], **options: Any) -> Measured:
        ours = partial(recognition.embed_images, taken, embedder=net, **options)
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

    def on_gpu() -> Measured:
        if not torch.cuda.is_available():
            raise Skipped("torch sees no CUDA device")
        gpu = recognition.load_embedder("dlib", device="cuda")
        cut = np.stack([faces.align_face(photo, faces.detect_faces(photo)[0]) for photo in made])
        many = np.tile(cut, (256, 1, 1, 1))
        return side_by_side(lambda _: gpu.embed(many), turns=turns, items=len(many), note=torch.cuda.get_device_name())

    def lfw() -> Measured:
        paths = sorted(options.real("lfw/images").glob("*/*.jpg"))
        return photos([faces.load_image(paths[i]) for i in np.random.default_rng(0).choice(len(paths), 16, False)])

    def search() -> Measured:
        gallery, probe = (synthetic.synthetic_watchlist(n, embedder=net, rng=n) for n in (1000, 1))
        watchlist = recognition.Watchlist.open(options.scratch / "watchlist", key=bytes(32))
        watchlist.enrol_many(gallery, expires=datetime(9999, 1, 1, tzinfo=UTC), **_WHY)
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

    def enrolled() -> tuple[Measured, recognition.Watchlist]:
        people = synthetic.synthetic_watchlist(100_000, embedder=net, rng=0)
        store = open_documents(f"sqlite:///{options.scratch}/hundred-thousand.sqlite")
        watchlist = recognition.Watchlist.open(options.scratch, key=bytes(32), documents=store)
        start = time.perf_counter(), time.process_time()
        watchlist.enrol_many(people, expires=datetime(9999, 1, 1, tzinfo=UTC), **_WHY)
        end = time.perf_counter(), time.process_time()
        return medians({"ours": [tuple(b - a for a, b in zip(start, end, strict=True))]}, "once"), watchlist

    def enrol_many() -> Measured:
        measured, kept["watchlist"] = enrolled()
        return measured

    def open_many() -> Measured:
        return side_by_side(lambda _: kept["watchlist"].opened().close(), turns=3)

    def nearest(count: int, *, approximate: bool = False) -> Measured:
        import faiss

        gen = np.random.default_rng(0)
        rows, probes = (unit_rows(gen.normal(size=(n, 128)), name="rows") for n in (count, 32))
        exact = ExactIndex(rows)
        if approximate:
            index = FaissIndex(rows)
            found, of = measure_recall(rows, index, top=20)
            note = f"{index.name}; recall@20 {found:.1%} over {of} probes, without the time to build it"
            ours, peer = (lambda _: index.nearest(probes, top=20)), (lambda _: exact.nearest(probes, top=20))
        else:
            flat, note = faiss.IndexFlatIP(128), f"faiss threads {faiss.omp_get_max_threads()}"
            flat.add(rows)
            ours, peer = (lambda _: exact.nearest(probes, top=20)), (lambda _: flat.search(probes, 20))
        return side_by_side(ours, peer, turns=turns, items=32, note=note)

    kept: dict[str, recognition.Watchlist] = {}
    made = portraits(16)
    yield "embed chips", partial(chips, all_threads)
    yield "embed chips, torch on 1 thread", partial(chips, 1)
    yield "embed chips on a GPU", on_gpu
    yield "photo to template, no mirror", lambda: photos(made, mirror=False, jitter=0)
    yield "photo to template, default", lambda: photos(made)
    yield "photo to template, LFW", lfw
    yield "watchlist search in 1,000", search
    for count in (1_000, 10_000):
        yield f"compare under encryption, {count:,} entries", partial(encrypted, count)
    yield "enrol 100,000 templates", enrol_many
    yield "open 100,000 templates", open_many
    for count in (1_000, 100_000, 1_000_000):
        yield f"exact search in {count:,}", partial(nearest, count)
    yield "approximate search in 100,000", partial(nearest, 100_000, approximate=True)
