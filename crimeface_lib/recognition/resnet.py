"""dlib's face ResNet-29 in PyTorch: needs numpy and torch, nothing else of this library's dependencies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import nn
from torch.nn import functional as F

from crimeface_lib.core.errors import IntegrityError
from crimeface_lib.recognition.dlib_weights import DlibLayer, DlibNet


class DlibResNet(nn.Module):
    """(N, 3, 150, 150) float RGB 0–255 in, (N, 128) descriptors out, as dlib computes them (not unit length).

    Each affine layer, which is batch normalisation frozen, is folded into the convolution before it.
    """

    def __init__(self, net: DlibNet) -> None:
        super().__init__()
        *body, last = net.layers
        if [layer.kind for layer in body] != ["con", "affine"] * 29 or last.kind != "fc":
            raise IntegrityError(
                f"got {len(net.layers)} layers, expected 29 convolutions, each with its affine, and fc"
            )
        convolutions = [_folded(con, affine) for con, affine in zip(body[::2], body[1::2], strict=True)]
        self.stem = convolutions[0]
        self.blocks = nn.ModuleList(
            nn.ModuleList(pair) for pair in zip(convolutions[1::2], convolutions[2::2], strict=True)
        )
        self.fc = nn.Parameter(torch.from_numpy(last.weight.copy()), requires_grad=False)
        self.mean: torch.Tensor
        self.register_buffer("mean", torch.tensor(net.mean).view(1, 3, 1, 1))

    def forward(self, chips: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.stem((chips - self.mean) / 256.0))
        x = F.max_pool2d(x, 3, 2)
        for pair in self.blocks:
            first, second = cast(Sequence[nn.Conv2d], pair)
            y = second(F.relu(first(x)))
            if first.stride == (2, 2):
                x, y = _same_shape(F.avg_pool2d(x, 2, 2), y)
            x = F.relu(x + y)
        return x.mean((2, 3)) @ self.fc


def _folded(con: DlibLayer, affine: DlibLayer) -> nn.Conv2d:
    """Return one convolution that does both."""
    outputs, inputs, rows, columns = con.weight.shape
    module = nn.Conv2d(inputs, outputs, (rows, columns), stride=con.stride, padding=con.padding)
    gain = torch.from_numpy(affine.weight)
    module.weight = nn.Parameter(torch.from_numpy(con.weight) * gain[:, None, None, None], requires_grad=False)
    module.bias = nn.Parameter(torch.from_numpy(con.bias) * gain + torch.from_numpy(affine.bias), requires_grad=False)
    return module


def _same_shape(a: torch.Tensor, b: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Pad both with zeros below, to the right and in channels, as dlib's add_prev does."""
    channels, rows, columns = (max(m, n) for m, n in zip(a.shape[1:], b.shape[1:], strict=True))
    a, b = (F.pad(t, (0, columns - t.shape[3], 0, rows - t.shape[2], 0, channels - t.shape[1])) for t in (a, b))
    return a, b
