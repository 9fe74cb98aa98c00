"""From photos to templates: detect, align, embed, with every failure kept and named."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from crimeface_lib.core.artifacts import find
from crimeface_lib.core.device import resolve_device
from crimeface_lib.core.errors import ImageError, NoFaceError, ShapeError
from crimeface_lib.core.plugins import load_backend
from crimeface_lib.core.results import Result
from crimeface_lib.core.types import Float32Array, FloatArray, ImageArray
from crimeface_lib.faces import Detector, align_face, assess_quality, choose_face, detect_faces, load_image
from crimeface_lib.faces.weights import RESNET
from crimeface_lib.recognition.embedder_card import is_card

if TYPE_CHECKING:
    import pandas as pd

    from crimeface_lib.faces.image import ImageSource

#: Chips sent through the net together.
BATCH = 32


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
        out = np.empty((len(chips), self.dimension), dtype=np.float32)
        with torch.inference_mode():
            for start in range(0, len(chips), BATCH):
                batch = torch.from_numpy(np.ascontiguousarray(chips[start : start + BATCH])).to(self.device)
                out[start : start + BATCH] = self._net(batch.permute(0, 3, 1, 2).float()).cpu().numpy()
        return _unit(out) if normalise else out


@dataclass(frozen=True, slots=True, eq=False)
class Embeddings(Result):
    """Templates of N images. The vectors never show in a repr, a table or a dictionary.

    Parameters
    ----------
    vectors : (N, D) float32, unit length; NaN rows where ``failures`` says why.
    quality : (N,) float64, 0–100; NaN where there is no face.
    failures : index → reason, for images without a template.
    embedder, version : what made them; the version ends in "+mirror" where each is the mean of a face and
        its mirror image. Templates of different versions are never compared.
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

    def __len__(self) -> int:
        return len(self.vectors)

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
) -> Embeddings:
    """Return one template for each image; an image that can't be read or has no face is a named failure.

    Parameters
    ----------
    images : (H, W, 3) uint8 RGB arrays, or what ``faces.load_image`` takes; read one after the other.
    embedder : name of an entry point, or an embedder (``device`` is then its own).
    which : which face, where there are several: see ``faces.choose_face``.
    mirror : average the face with its mirror image. On LFW DevTrain this lowers the EER from 1.00 to 0.82 %.

    Raises
    ------
    ShapeError : an array that is no image. MissingBackendError, MissingArtifactError : see ``load_embedder``.
    """
    model = load_embedder(embedder, device=device) if isinstance(embedder, str) else embedder
    vectors: list[Float32Array] = []
    chips: list[ImageArray] = []
    quality: list[float] = []
    notes: list[str] = []
    failures: dict[int, str] = {}
    for index, image in enumerate(images):
        try:
            chip, score, note = _chip(image, model, detector=detector, which=which)
        except (ImageError, NoFaceError) as error:
            failures[index] = note = str(error)
            score = np.nan
        else:
            chips.append(chip)
        quality.append(score)
        notes.append(note)
        if len(chips) == BATCH:
            vectors.append(_templates(chips, model, mirror=mirror))
            chips = []
    vectors.append(_templates(chips, model, mirror=mirror))
    filled = np.full((len(quality), model.dimension), np.nan, dtype=np.float32)
    filled[[i for i in range(len(quality)) if i not in failures]] = np.concatenate(vectors)
    return Embeddings(
        vectors=filled,
        quality=np.array(quality, dtype=float),
        failures=failures,
        embedder=model.name,
        version=model.version + ("+mirror" if mirror else ""),
        notes=tuple(notes),
    )


def _chip(image: Any, model: Embedder, *, detector: str | Detector, which: str | int) -> tuple[ImageArray, float, str]:
    """Return the chip of the chosen face, its quality and the sentence about the choice."""
    photo = image if isinstance(image, np.ndarray) else load_image(image)
    choice = choose_face(detect_faces(photo, detector=detector), which=which, size=photo.shape[:2])
    chip = align_face(photo, choice.face, size=model.chip_size, template=model.template)
    usual = chip if model.template is None and model.chip_size == 150 else None  # quality is told from dlib's chip
    return chip, assess_quality(photo, choice.face, chip=usual).score, choice.sentence


def _templates(chips: list[ImageArray], model: Embedder, *, mirror: bool) -> Float32Array:
    if not chips:
        return np.empty((0, model.dimension), dtype=np.float32)
    stack = np.stack(chips)
    vectors = model.embed(stack)
    return _unit(vectors + model.embed(stack[:, :, ::-1])) if mirror else vectors


def _unit(vectors: Float32Array) -> Float32Array:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@lru_cache(maxsize=2)
def _dlib_net(device: str) -> Any:
    """Return the net, read and folded once a process and device."""
    import torch

    from crimeface_lib.recognition.dlib_weights import read_face_net
    from crimeface_lib.recognition.resnet import DlibResNet

    net = DlibResNet(read_face_net(find(RESNET))).eval().to(device)
    return net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # a fifth faster on a CPU
