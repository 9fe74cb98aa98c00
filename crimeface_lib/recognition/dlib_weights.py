"""Read dlib's serialised face ResNet: a strict, sequential parse that fails at the first unexpected byte.

What dlib writes (dlib/serialize.h, dlib/dnn/core.h, dlib/dnn/layers.h): integers as one length byte (top bit:
negative) and that many little-endian bytes; doubles as integer mantissa and exponent; booleans as "0" or "1";
strings and tensors with their sizes in front. A net opens with the version of every layer from the outside
in (2: a layer, 1: a tag or a skip, which hold nothing, 3: the innermost layer), and then gives the layers'
contents from the inside out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from crimeface_lib.core.errors import IntegrityError
from crimeface_lib.core.types import Float32Array

_LARGEST = 50_000_000


@dataclass(frozen=True, slots=True)
class DlibLayer:
    """One layer with parameters: kind "con", "affine" or "fc" and float32 arrays.

    con : weight (out, in, rows, columns), bias (out,), stride, padding. affine : weight and bias (channels,).
    fc : weight (in, out), bias (0,).
    """

    kind: str
    weight: Float32Array
    bias: Float32Array
    stride: int = 1
    padding: int = 0


@dataclass(frozen=True, slots=True)
class DlibNet:
    """The layers with parameters in order of computation, and what the input layer does."""

    layers: tuple[DlibLayer, ...]
    mean: tuple[float, float, float]
    size: int


def read_face_net(path: Path) -> DlibNet:
    """Return the parameters of ``dlib_face_recognition_resnet_model_v1.dat``.

    Raises
    ------
    IntegrityError : the file is not laid out as that net is; the message gives the byte.
    """
    reader = _Reader(path.read_bytes())
    reader.expect(reader.integer(), 1, "version of the loss layer")
    reader.expect(reader.text(), "loss_metric_2", "loss layer")
    reader.double(), reader.double()  # margin and distance threshold: used in training only
    versions = [reader.integer()]
    while versions[-1] in (1, 2):
        versions.append(reader.integer())
    reader.expect(versions[-1], 3, "version of the innermost layer")
    reader.expect(reader.text(), "input_rgb_image_sized", "input layer")
    mean = (reader.double(), reader.double(), reader.double())
    rows, columns = reader.integer(), reader.integer()
    reader.expect(rows, columns, "input rows and columns")
    layers = [reader.layer()]
    reader.expect(reader.integer(), 1, "samples per input")
    layers += [reader.layer() for version in versions if version == 2]
    reader.trailer()
    return DlibNet(layers=tuple(layer for layer in layers if layer is not None), mean=mean, size=rows)


class _Reader:
    """A position in the bytes, and one method for each thing dlib writes."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def fail(self, message: str) -> IntegrityError:
        return IntegrityError(
            f"dlib weights, byte {self.at} of {len(self.data)}: {message}; pip install --force-reinstall "
            "face_recognition_models"
        )

    def expect(self, got: Any, expected: Any, what: str) -> None:
        if got != expected:
            raise self.fail(f"{what}: got {got!r}, expected {expected!r}")

    def take(self, count: int) -> bytes:
        if not 0 <= count <= len(self.data) - self.at:
            raise self.fail(f"got {len(self.data) - self.at} bytes, expected {count} more")
        self.at += count
        return self.data[self.at - count : self.at]

    def integer(self) -> int:
        head = self.take(1)[0]
        if not 1 <= head & 0x7F <= 8:
            raise self.fail(f"got {head:#x}, expected the length of an integer")
        value = int.from_bytes(self.take(head & 0x7F), "little")
        return -value if head & 0x80 else value

    def integers(self, count: int) -> list[int]:
        return [self.integer() for _ in range(count)]

    def double(self) -> float:
        mantissa, exponent = self.integers(2)
        if not -1100 <= exponent <= 1100:
            raise self.fail(f"got exponent {exponent}, expected a finite number")
        return mantissa * 2.0**exponent

    def text(self) -> str:
        count = self.integer()
        if count > 100:
            raise self.fail(f"got a name of {count} bytes, expected at most 100")
        return self.take(count).decode("latin-1")

    def flag(self) -> bool:
        byte = self.take(1)
        if byte not in (b"0", b"1"):
            raise self.fail(f"got {byte!r}, expected b'0' or b'1'")
        return byte == b"1"

    def tensor(self) -> Float32Array:
        self.expect(self.integer(), 2, "tensor version")
        shape = self.integers(4)
        count = int(np.prod(shape))
        if min(shape) < 0 or count > _LARGEST:
            raise self.fail(f"got a tensor of shape {shape}")
        values = np.frombuffer(self.take(4 * count), "<f4").astype(np.float32)
        if not np.isfinite(values).all():
            raise self.fail("got NaN or infinite weights")
        return values

    def alias(self) -> list[int]:
        """The shape of a part of a tensor."""
        self.expect(self.integer(), 1, "alias version")
        return self.integers(4)

    def parts(self, values: Float32Array, first: list[int], second: list[int]) -> tuple[Float32Array, Float32Array]:
        split = int(np.prod(first))
        self.expect(len(values), split + int(np.prod(second)), "number of parameters")
        return values[:split].reshape(first), values[split:]

    def layer(self) -> DlibLayer | None:
        """Read one layer and what dlib keeps beside it; None for a layer without parameters."""
        name = self.text()
        read = _LAYERS.get(name)
        if read is None:
            raise self.fail(f"got layer {name!r}, expected one of {', '.join(_LAYERS)}")
        layer = read(self)
        for _ in range(3):
            self.flag()  # set up, gradient stale, output disabled
        for _ in range(3):
            self.expect(self.tensor().size, 0, "cached tensor")  # gradients and outputs of training
        return layer

    def trailer(self) -> None:
        self.expect(len(self.data) - self.at, 0, "bytes after the net")


def _con(reader: _Reader) -> DlibLayer:
    values = reader.tensor()
    _, _, _, down, across, pad, pad_across = reader.integers(7)
    reader.expect((down, pad), (across, pad_across), "stride and padding")
    weight, bias = reader.parts(values, reader.alias(), reader.alias())
    _rates(reader)
    return DlibLayer("con", weight, bias, stride=down, padding=pad)


def _affine(reader: _Reader) -> DlibLayer:
    values = reader.tensor()
    weight, bias = reader.parts(values, reader.alias(), reader.alias())
    reader.expect(reader.integer(), 0, "affine mode (0: per channel)")
    return DlibLayer("affine", weight.ravel(), bias)


def _fc(reader: _Reader) -> DlibLayer:
    outputs, inputs = reader.integers(2)
    values = reader.tensor()
    weight, bias = reader.parts(values, reader.alias(), reader.alias())
    reader.expect(weight.shape, (inputs, outputs, 1, 1), "fc shape")
    reader.expect(reader.integer(), 1, "fc bias mode (1: none)")
    _rates(reader)
    return DlibLayer("fc", weight.reshape(inputs, outputs), bias)


def _pool(reader: _Reader) -> None:
    reader.integers(6)  # window, stride, padding


def _nothing(reader: _Reader) -> None:
    """A layer that is only its name."""


def _rates(reader: _Reader) -> None:
    for _ in range(4):
        reader.double()  # learning rate and weight decay multipliers


_LAYERS: dict[str, Callable[[_Reader], DlibLayer | None]] = {
    "con_4": _con,
    "con_5": _con,
    "affine_": _affine,
    "fc_2": _fc,
    "max_pool_2": _pool,
    "avg_pool_2": _pool,
    "relu_": _nothing,
    "add_prev_": _nothing,
}
