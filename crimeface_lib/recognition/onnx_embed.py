"""Face nets that the user brings as ONNX files, each with a card: ArcFace, AdaFace, SFace, MobileFaceNet and the like.

The file that the card names is read once, its hash compared, and the same bytes are run. A net with parts in other
files is refused: their paths stand in the net and could name any file of this machine.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from crimeface_lib.core.device import resolve_device
from crimeface_lib.core.errors import (
    InputError,
    IntegrityError,
    MissingArtifactError,
    MissingBackendError,
    RefusedError,
    ShapeError,
)
from crimeface_lib.core.hashing import content_hash, sha256_bytes
from crimeface_lib.core.types import Float32Array, ImageArray
from crimeface_lib.recognition.embedder_card import HOW, EmbedderCard, read_card

#: Chips sent through the net together, where the net leaves it open.
BATCH = 32
#: Largest file that is read; face nets have 1 to 300 MB.
LARGEST = 1 << 30

_TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16}
#: An external tensor has an entry whose key is "location"; protobuf may write tag and length in more bytes than needed.
_EXTERNAL = re.compile(rb"(?:\x0a|\x8a\x80*\x00)(?:\x08|\x88\x80*\x00)location")


class OnnxEmbedder:
    """A net from an ONNX file, run by ONNX Runtime. ``load_embedder("path/to/card.yaml")`` makes one.

    ``version`` is the SHA-256 of the file, "+", and the beginning of a hash of how it is run: with other channels or
    another alignment the same weights make other templates, which are not comparable either.

    Parameters
    ----------
    card : path of the card.
    device : "cuda" needs ``onnxruntime-gpu``. threads : of the CPU; those this process may use, by default.

    Raises
    ------
    MissingBackendError : ONNX Runtime is not installed, or has no such device.
    MissingArtifactError : no card or no file. RefusedError : no licence; a net that has parts in other files.
    IntegrityError : not the file the card is for. InputError : not a net that makes templates as the card says.
    """

    def __init__(
        self, card: str | Path | None = None, *, device: str | None = None, threads: int | None = None
    ) -> None:
        if card is None:
            raise InputError(f"an ONNX embedder is loaded by its card, load_embedder('path/to/card.yaml'); {HOW}")
        self.card = read_card(card)
        self.device = _device(device)
        self.name, self.dimension, self.licence = self.card.name, self.card.dimension, self.card.licence
        self.chip_size, self.template = self.card.size, self.card.points
        run_as = self.card.model_dump(mode="json", include={"size", "template", "channels", "mean", "std", "output"})
        self.version = f"{self.card.sha256}+{content_hash(run_as).removeprefix('sha256:')[:12]}"
        self._session, self._failures = _session(_read(Path(card).parent, self.card), self.device, threads)
        self._input, self._output, self._batch = _check_ends(self._session, self.card)
        self.embed(np.full((1, self.chip_size, self.chip_size, 3), 127, dtype=np.uint8))  # what it gives is checked

    def __repr__(self) -> str:
        return f"<OnnxEmbedder {self.name}, {self.dimension} numbers, licence: {self.licence}, {self.version[:12]}…>"

    def _repr_html_(self) -> str:
        card = self.card
        said = {
            "licence": card.licence, "source": card.source, "intended use": card.intended_use, "file": card.file,
            "SHA-256": card.sha256, "templates": f"{card.dimension} numbers", "run on": self.device,
        }  # fmt: skip
        rows = "".join(f"<tr><th>{name}</th><td>{escape(value)}</td></tr>" for name, value in said.items())
        return f'<table class="cf-table"><caption>Embedder {escape(card.name)}</caption>{rows}</table>'

    def embed(self, chips: ImageArray, *, normalise: bool = True) -> Float32Array:
        """Return (N, D) float32 templates, unit length.

        Parameters
        ----------
        chips : (N, S, S, 3) uint8 RGB, S the card's size, made by ``faces.align_face`` with the card's template.
        normalise : False gives what the net gives.

        Raises
        ------
        ShapeError : other chips, or the net makes nothing usable of them. InputError : the net stops on them.
        """
        chips = np.asarray(chips)
        side = self.chip_size
        if chips.dtype != np.uint8 or chips.ndim != 4 or chips.shape[1:] != (side, side, 3):
            raise ShapeError(
                f"chips: got {chips.dtype} {chips.shape}, expected uint8 (N, {side}, {side}, 3); make them with "
                f"faces.align_face(image, face, size={side}, template=embedder.template)"
            )
        out = np.empty((len(chips), self.dimension), dtype=np.float32)
        step = self._batch or BATCH
        for start in range(0, len(chips), step):
            part = chips[start : start + step]
            if self._batch:  # the net takes so many, no fewer
                part = np.concatenate([part, np.zeros((step - len(part), side, side, 3), np.uint8)])
            out[start : start + step] = self._run(part)[: len(chips) - start]
        lengths = np.linalg.norm(out, axis=1, keepdims=True)
        if not np.isfinite(lengths).all() or (lengths == 0).any():
            bad = int((~np.isfinite(lengths) | (lengths == 0)).sum())
            raise ShapeError(
                f"{self.name}: got NaN, infinite or zero templates for {bad} of {len(chips)} chips, expected finite "
                "ones; check mean and std on its card, and that the file is whole"
            )
        return out / lengths if normalise else out

    def _run(self, chips: ImageArray) -> Float32Array:
        """Return what the net makes of one batch, (N, D)."""
        mean, std = (np.asarray(value, dtype=np.float32) for value in (self.card.mean, self.card.std))
        pixels = ((chips if self.card.channels == "RGB" else chips[..., ::-1]) - mean) / std
        if self.card.layout == "NCHW":
            pixels = pixels.transpose(0, 3, 1, 2)
        given = np.ascontiguousarray(pixels, dtype=_TYPES[self._input.type])
        try:
            (made,) = self._session.run([self._output], {self._input.name: given})
        except self._failures as error:
            raise InputError(f"{self.name}: the net stops on its input: {_short(error)}; check its card") from error
        if made.size != len(chips) * self.dimension or made.shape[:2] != (len(chips), self.dimension):
            raise ShapeError(
                f"{self.name}: the net makes {made.shape} of {len(chips)} chips, expected ({len(chips)}, "
                f"{self.dimension}); check dimension on its card"
            )
        return np.asarray(made, dtype=np.float32).reshape(len(chips), self.dimension)


def _read(folder: Path, card: EmbedderCard) -> bytes:
    """Return the bytes of the card's file: those that were hashed are those that are run."""
    path = folder / card.file
    try:
        if path.exists() and not path.is_file():
            raise InputError(f"{card.file}: got no ordinary file, expected an ONNX net")
        with path.open("rb") as file:
            data = file.read(LARGEST + 1)
        if len(data) > LARGEST:
            raise InputError(f"{card.file}: got more than {LARGEST >> 20:,} MiB, expected at most that")
    except OSError as error:
        raise MissingArtifactError(f"{card.file} is not beside its card ({error.strerror}); {card.source}") from error
    if (digest := sha256_bytes(data)) != card.sha256:
        raise IntegrityError(
            f"{card.file}: got SHA-256 {digest}, its card says {card.sha256}; it is another file or was changed: "
            "fetch it again, or, if you trust this one, write a card for it"
        )
    if _EXTERNAL.search(data):
        raise RefusedError(
            f"{card.file} refers to other files for its weights, which could be any on this machine; save it in one "
            "piece: onnx.save(onnx.load('net.onnx'), 'whole.onnx')"
        )
    return data


def _session(data: bytes, device: str, threads: int | None) -> tuple[Any, tuple[type[Exception], ...]]:
    """Return the net ready to run, and what ONNX Runtime raises: it has no common class for its errors."""
    try:
        import onnxruntime
        from onnxruntime.capi import onnxruntime_pybind11_state as state
    except ImportError as error:
        raise MissingBackendError(f"ONNX Runtime is missing ({error}); pip install 'crimeface-lib[onnx]'") from error
    raised = [error for error in vars(state).values() if isinstance(error, type) and issubclass(error, Exception)]
    failures: tuple[type[Exception], ...] = (RuntimeError, ValueError, *raised)
    provider = _provider(device)
    missing = f"device {device!r}: this ONNX Runtime can't use it; pip install onnxruntime-gpu, or take device='cpu'"
    if provider not in onnxruntime.get_available_providers():
        raise MissingBackendError(missing)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what is wrong comes as an error
    options.inter_op_num_threads = 1
    options.intra_op_num_threads = threads or _cores()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # waiting threads leave the cores alone
    options.add_session_config_entry("session.load_model_format", "ONNX")
    index = device.partition(":")[2] or "0"
    chosen = provider if device == "cpu" else (provider, {"device_id": index})
    try:
        session = onnxruntime.InferenceSession(data, options, providers=[chosen])
    except failures as error:
        raise InputError(f"not a net that ONNX Runtime {onnxruntime.__version__} runs: {_short(error)}") from error
    if provider not in session.get_providers():  # it goes on without a device whose libraries don't load
        raise MissingBackendError(missing)
    return session, failures


def _check_ends(session: Any, card: EmbedderCard) -> tuple[Any, str, int | None]:
    """Return input, name of the output and batch size (None: any), or say what does not fit the card."""
    inputs, outputs = session.get_inputs(), {output.name: output.type for output in session.get_outputs()}
    if len(inputs) != 1:
        raise InputError(f"{card.name}: the net has {len(inputs)} inputs, expected one, the chips")
    if (card.output is None and len(outputs) != 1) or card.output not in (None, *outputs):
        named = ", ".join(outputs)
        raise InputError(f"{card.name}: the net has the outputs {named}; say on its card, 'output: …', which to take")
    given, output = inputs[0], card.output or next(iter(outputs))
    for verb, kind in (("takes", given.type), ("gives", outputs[output])):
        if kind not in _TYPES:
            raise InputError(f"{card.name}: the net {verb} {kind}, expected {' or '.join(_TYPES)}")
    wanted = (3, card.size, card.size) if card.layout == "NCHW" else (card.size, card.size, 3)
    sides = given.shape[1:]
    if len(given.shape) != 4 or any(isinstance(n, int) and n != m for n, m in zip(sides, wanted, strict=True)):
        raise InputError(
            f"{card.name}: the net takes {given.shape}, its card says (N, {', '.join(map(str, wanted))}); correct its "
            "size or layout"
        )
    batch = given.shape[0] if isinstance(given.shape[0], int) and given.shape[0] > 0 else None
    return given, output, batch


def _device(name: str | None) -> str:
    """Return the device; left open, it is one that this ONNX Runtime can use too."""
    device = resolve_device(name)
    with suppress(ImportError):  # said when the net is loaded
        import onnxruntime

        if name in (None, "auto") and _provider(device) not in onnxruntime.get_available_providers():
            return "cpu"
    return device


def _provider(device: str) -> str:
    return "CPUExecutionProvider" if device == "cpu" else "CUDAExecutionProvider"


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
