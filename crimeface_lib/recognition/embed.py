"""From photos to templates: detect, align, embed, with every failure kept and named."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sized
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from threading import Barrier
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from crimeface_lib.core.arrays import check_image
from crimeface_lib.core.artifacts import find
from crimeface_lib.core.device import resolve_device
from crimeface_lib.core.display import table_html
from crimeface_lib.core.errors import InputError, ShapeError
from crimeface_lib.core.plugins import load_backend
from crimeface_lib.core.results import Result
from crimeface_lib.core.types import Float32Array, FloatArray, ImageArray
from crimeface_lib.faces import Detector, align_face, assess_quality, choose_face, detect_faces, load_image
from crimeface_lib.faces.weights import RESNET
from crimeface_lib.metrics import rate_interval
from crimeface_lib.recognition.embedder_card import is_card

if TYPE_CHECKING:
    import pandas as pd

    from crimeface_lib.faces.image import ImageSource

#: Chips sent through the net together, and faces kept for it.
BATCH = 32
#: (size, degrees, right, down) of the chips beside the first, shifts in parts of its side.
JITTER = (
    (0.92, 0.0, 0.0, 0.0),
    (1.08, 0.0, 0.0, 0.0),
    (1.0, 4.0, 0.0, 0.0),
    (1.0, -4.0, 0.0, 0.0),
    (1.0, 0.0, 0.03, 0.03),
    (1.0, 0.0, -0.03, -0.03),
    (1.0, 0.0, 0.03, -0.03),
    (1.0, 0.0, -0.03, 0.03),
)


class Embedder(Protocol):
    """What an entry point of ``crimeface.embedders`` returns when called with ``device=``.

    ``dimension`` is D, ``version`` names the weights (their SHA-256). ``chip_size`` and ``template`` say how
    ``faces.align_face`` cuts the chips: side S in px, and the reference points, or None for dlib's alignment.
    """

    name: str
    version: str
    dimension: int
    chip_size: int
    template: FloatArray | None

    def embed(self, chips: ImageArray, *, normalise: bool = True) -> Float32Array:
        """Return (N, D) templates of (N, S, S, 3) uint8 RGB chips."""
        ...


class DlibEmbedder:
    """dlib's face ResNet (CC0 weights) in PyTorch: within 1e-6 of dlib, batched, CPU or GPU.

    ``version`` is the SHA-256 of the weights.
    """

    name = "dlib"
    dimension = 128
    chip_size = 150
    template = None

    def __init__(self, *, device: str | None = None) -> None:
        self.device = resolve_device(device)
        self.version = str(RESNET.sha256)
        self.licence = RESNET.licence
        self._net = _dlib_net(self.device)

    def embed(self, chips: ImageArray, *, normalise: bool = True) -> Float32Array:
        """Return (N, 128) float32 templates, unit length.

        Parameters
        ----------
        chips : (N, 150, 150, 3) uint8 RGB.
        normalise : False gives dlib's own descriptors, whose lengths are about 1.4 and which dlib compares by
            Euclidean distance.

        Raises
        ------
        ShapeError : other chips.
        """
        import torch

        chips = np.asarray(chips)
        if chips.dtype != np.uint8 or chips.shape[1:] != (self.chip_size, self.chip_size, 3):
            raise ShapeError(
                f"chips: got {chips.dtype} {chips.shape}, expected uint8 (N, 150, 150, 3); "
                "make them with faces.align_face"
            )
        threads = torch.get_num_threads() if self.device == "cpu" else 1
        step = min(BATCH, max(1, -(-len(chips) // threads)))
        batches = [chips[start : start + step] for start in range(0, len(chips), step)]
        several = threads > 1 and len(batches) > 1
        found = list(_threads(threads).map(self._run, batches) if several else map(self._run, batches))
        out = np.concatenate([np.empty((0, self.dimension), dtype=np.float32), *found])
        return _unit(out) if normalise else out

    def _run(self, chips: ImageArray) -> Float32Array:
        import torch

        with torch.inference_mode():
            batch = torch.from_numpy(np.ascontiguousarray(chips)).to(self.device)
            return self._net(batch.permute(0, 3, 1, 2).float()).cpu().numpy()


@dataclass(frozen=True, slots=True, eq=False)
class Embeddings(Result):
    """Templates of N images. The vectors never show in a repr, a table or a dictionary.

    Parameters
    ----------
    vectors : (N, D) float32, unit length; NaN rows where ``failures`` says why.
    quality : (N,) float64, 0–100; NaN where there is no face.
    failures : index → reason, for images without a template.
    embedder, version : what made them; "+mirror" and "+jitter<n>" at its end say of which chips each is the mean.
        Templates of different versions are never compared.
    notes : N sentences: which face of how many was used.
    subjects : N names, or empty.
    """

    vectors: Float32Array = field(repr=False)
    quality: FloatArray
    failures: dict[int, str]
    embedder: str
    version: str
    notes: tuple[str, ...] = ()
    subjects: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        bad = set(np.flatnonzero(~np.isfinite(self.vectors).all(axis=1)).tolist())
        if bad != set(self.failures) or len(self.quality) != len(self.vectors):
            raise ShapeError(
                f"got {len(bad)} rows without a template and {len(self.failures)} reasons, expected one each"
            )

    def __reduce__(self) -> str:
        raise TypeError("templates are not pickled: they would lie in clear wherever that goes")

    def __len__(self) -> int:
        return len(self.vectors)

    @property
    def failure_to_enrol(self) -> float:
        """Share of the images without a template (ISO/IEC 19795-1); NaN of no image."""
        return len(self.failures) / len(self) if len(self) else float("nan")

    def __repr__(self) -> str:
        return (
            f"Embeddings({len(self)} images, {self.embedder} {self.version[:12]}…, failure to enrol "
            f"{len(self.failures)} of {len(self)})"
        )

    def _repr_html_(self) -> str:
        rate = f"failure to enrol: {len(self.failures)} of {len(self)} images"
        if len(self):
            low, high = rate_interval(len(self.failures), len(self))
            rate += f", {self.failure_to_enrol:.1%} (95 % interval {low:.1%} to {high:.1%})"
        table = table_html(self.to_frame().reset_index(names="image"), rows=20, float_format="{:.0f}".format)
        return f"<p><b>{len(self)} images</b>, {self.embedder} {self.version[:12]}…; {rate}.</p>{table}"

    def to_frame(self) -> pd.DataFrame:
        import pandas as pd

        reasons = [self.failures.get(i, "") for i in range(len(self))]
        table = pd.DataFrame({"quality": self.quality, "failure": reasons})
        if self.notes:
            table["note"] = self.notes
        if self.subjects:
            table.insert(0, "subject", self.subjects)
        return table


def load_embedder(name: str | Path = "dlib", *, device: str | None = None) -> Embedder:
    """Return the embedder behind the entry point ``crimeface.embedders``: ``name``.

    Parameters
    ----------
    name : of an entry point, or the path of the card (``.yaml``) of an ONNX net: see ``recognition.OnnxEmbedder``.

    Raises
    ------
    MissingBackendError : not installed, or no such device. MissingArtifactError : its weights are not here.
    """
    if is_card(name):
        return load_backend("embedders", "onnx")(name, device=device)
    return load_backend("embedders", str(name))(device=device)


def embed_images(
    images: Iterable[ImageArray | ImageSource],
    *,
    embedder: str | Embedder = "dlib",
    detector: str | Detector = "dlib",
    device: str | None = None,
    which: str | int = "largest",
    mirror: bool = True,
    jitter: int = 2,
    min_quality: float = 0.0,
    workers: int | None = None,
    progress: bool | None = None,
) -> Embeddings:
    """Return one template for each image; an image that can't be read or has no face is a named failure.

    Images are read as they are needed, a few ahead, so an endless generator costs no memory but its templates.

    What more chips of a face gave on LFW's View 1: right decisions on the training list (2,200 pairs, ten folds, each
    with the threshold of the others, 95 % interval), EER of the pairs with templates; and the net's CPU time:

    ==========================  ======================  =====  =======
    chip alone                  98.5 % (97.9 to 99.0)   1.0 %    6 ms
    and its mirror image        98.7 % (98.2 to 99.2)   0.8 %   12 ms
    two more chips, by default  99.1 % (98.7 to 99.5)   0.6 %   23 ms
    ==========================  ======================  =====  =======

    The test list of 1,000 can't tell them apart: 98.7, 98.9 and 98.8 % (97.9 to 99.4). Three or four of its 12
    wrong pairs look like different people under one name; in the others a face is turned, half hidden or blurred, or
    strangers are alike. Mean, median or maximum over pairs of chips, weights by agreement, and chips turned by 6
    degrees were no better on the training list. With detection (12 ms) and quality (6 ms) a photo of 250 × 250 px
    takes 45 ms of CPU time, dlib's own way with one chip 135 ms.

    Parameters
    ----------
    images : (H, W, 3) uint8 RGB arrays, or what ``faces.load_image`` takes.
    embedder : name of an entry point, or an embedder (``device`` is then its own).
    detector : see ``faces.detect_faces``.
    which : which face, where there are several: see ``faces.choose_face``.
    mirror : average the face with its mirror image.
    jitter : how many more chips to average, 0–8: the face 8 % smaller and larger, turned by
        4 degrees, shifted by 3 %.
    min_quality : lowest score (``faces.assess_quality``) that gets a template; below, a named failure to enrol.
    workers : threads that read, detect and align while the net works; by default as many as cores, at most 8.
    progress : show a bar; by default where more than 100 images are given and standard error is a terminal.

    Raises
    ------
    InputError : an impossible option. MissingBackendError, MissingArtifactError : see ``load_embedder``.
    """
    _checked(which, jitter, min_quality, workers)
    model = load_embedder(embedder, device=device) if isinstance(embedder, str) else embedder
    cut = partial(_chips, model=model, detector=detector, which=which, jitter=jitter, least=min_quality)
    vectors: list[Float32Array] = []
    waiting: list[ImageArray] = []
    quality: list[float] = []
    notes: list[str] = []
    failures: dict[int, str] = {}
    done = _ahead(cut, images, workers or min(8, len(os.sched_getaffinity(0))))
    for index, (chips, score, note) in enumerate(_shown(done, images, progress)):
        quality.append(score)
        notes.append(note)
        if chips is None:
            failures[index] = note
        else:
            waiting.append(chips)
        if len(waiting) == BATCH:
            vectors.append(_templates(waiting, model, mirror=mirror))
            waiting = []
    vectors.append(_templates(waiting, model, mirror=mirror))
    filled = np.full((len(quality), model.dimension), np.nan, dtype=np.float32)
    filled[[i for i in range(len(quality)) if i not in failures]] = np.concatenate(vectors)
    return Embeddings(
        vectors=filled,
        quality=np.array(quality, dtype=float),
        failures=failures,
        embedder=model.name,
        version=model.version + "+mirror" * mirror + f"+jitter{jitter}" * (jitter > 0),
        notes=tuple(notes),
    )


def _checked(which: str | int, jitter: int, min_quality: float, workers: int | None) -> None:
    if which not in ("largest", "central") and not (isinstance(which, int) and which >= 0):
        raise InputError(f"which: got {which!r}, expected 'largest', 'central' or the number of a face, from 0")
    if not 0 <= jitter <= len(JITTER):
        raise InputError(f"jitter: got {jitter}, expected 0–{len(JITTER)} chips")
    if not 0 <= min_quality <= 100:
        raise InputError(f"min_quality: got {min_quality}, expected 0–100")
    if workers is not None and workers < 1:
        raise InputError(f"workers: got {workers}, expected at least 1")


def _chips(
    image: Any, *, model: Embedder, detector: str | Detector, which: str | int, jitter: int, least: float
) -> tuple[ImageArray | None, float, str]:
    """Return the (1 + jitter, S, S, 3) chips of the chosen face or None, its quality, and the sentence about it."""
    try:
        photo = check_image(image) if isinstance(image, np.ndarray) else load_image(image)
        choice = choose_face(detect_faces(photo, detector=detector), which=which, size=photo.shape[:2])
    except InputError as error:
        return None, np.nan, str(error)
    cut = partial(align_face, photo, choice.face, size=model.chip_size, template=model.template)
    chip = cut()
    usual = chip if model.template is None and model.chip_size == 150 else None  # quality is told from dlib's chip
    found = assess_quality(photo, choice.face, chip=usual)
    if found.score < least:
        why = "; ".join(found.reasons) or "no part is good"
        return None, found.score, f"quality: got {found.score:.0f}, expected at least {least:g}: {why}"
    return np.stack([chip, *(cut(jitter=move) for move in JITTER[:jitter])]), found.score, choice.sentence


def _ahead(cut: Callable[[Any], Any], images: Iterable[Any], workers: int) -> Iterator[Any]:
    """Yield ``cut`` of each image in order, computed by threads that are at most a few images ahead."""
    pending: deque[Future[Any]] = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="faces") as pool:
        try:
            for image in images:
                pending.append(pool.submit(cut, image))
                if len(pending) > 2 * workers:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


def _shown(done: Iterator[Any], images: Iterable[Any], progress: bool | None) -> Iterable[Any]:
    """Return ``done`` behind a bar where one is wanted."""
    from rich.console import Console
    from rich.progress import track

    total = len(images) if isinstance(images, Sized) else None
    console = Console(stderr=True)
    wanted = (total is None or total > 100) and console.is_terminal if progress is None else progress
    return track(done, "photos to templates", total=total, console=console, transient=True) if wanted else done


def _templates(faces: list[ImageArray], model: Embedder, *, mirror: bool) -> Float32Array:
    """Return the mean template of each face's chips: the first as it is and mirrored, of the others every second."""
    if not faces:
        return np.empty((0, model.dimension), dtype=np.float32)
    stack = np.stack(faces)
    if mirror:
        mirrored = stack[:, :, :, ::-1].copy()
        stack[:, 1::2] = mirrored[:, 1::2]
        stack = np.concatenate([stack, mirrored[:, :1]], axis=1)
    vectors = model.embed(stack.reshape(-1, *stack.shape[2:])).reshape(*stack.shape[:2], -1)
    return _unit(vectors.sum(axis=1)) if stack.shape[1] > 1 else vectors[:, 0]


def _unit(vectors: Float32Array) -> Float32Array:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@lru_cache(maxsize=1)
def _threads(count: int) -> ThreadPoolExecutor:
    """Return threads in each of which torch computes alone.

    torch's own threads meet after each layer, and spin until the last has come: where others use the cores too, two of
    them took 2–4 times the CPU time of these.
    """
    import torch

    pool = ThreadPoolExecutor(count, "templates", torch.set_num_threads, (1,))
    started = Barrier(count)
    list(pool.map(lambda _: started.wait(), range(count)))
    torch.set_num_threads(count)  # which the last call set for threads to come, too
    return pool


os.register_at_fork(after_in_child=_threads.cache_clear)  # a fork has none of them


@lru_cache(maxsize=2)
def _dlib_net(device: str) -> Any:
    """Return the net, read and folded once a process and device."""
    import torch

    from crimeface_lib.recognition.dlib_weights import read_face_net
    from crimeface_lib.recognition.resnet import DlibResNet

    net = DlibResNet(read_face_net(find(RESNET))).eval().to(device)
    return net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # a fifth faster on a CPU
