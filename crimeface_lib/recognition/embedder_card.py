"""The card of a face net that the user brings: what it is, under which terms, and how it is to be run.

A small YAML file beside the net; ``configs/models/embedder.yaml`` is one to copy. It names the file and its SHA-256, so
that a net is what it was when somebody read its licence.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError, field_validator

from crimeface_lib.core.errors import InputError, MissingArtifactError, RefusedError
from crimeface_lib.core.types import FloatArray
from crimeface_lib.core.yamltext import read_yaml
from crimeface_lib.faces.align import ARCFACE_TEMPLATE

#: What to do without a card.
HOW = "copy configs/models/embedder.yaml beside the .onnx file and fill it in"

#: What stands for not knowing.
_NO_LICENCE = ("", "none", "unknown", "n/a", "na", "tbd", "todo", "not known", "unclear", "unspecified", "other")

Words = Annotated[str, Field(min_length=1, max_length=2000)]
Numbers = FiniteFloat | tuple[FiniteFloat, FiniteFloat, FiniteFloat]
Points = Annotated[tuple[tuple[FiniteFloat, FiniteFloat], ...], Field(min_length=5, max_length=5)]


class EmbedderCard(BaseModel):
    """What is said of an ONNX file; nothing but ``layout`` and ``output`` may be left out.

    Parameters
    ----------
    name : what templates made by it are called; small letters, digits and ``_``.
    file, sha256 : the .onnx file, beside the card. dimension : of its templates.
    licence : of the weights. source : where the file is from. intended_use : what it was made for.
    size : side of the chips, px. template : where the face lies in them: ``arcface112``, ``dlib``, or five points
        (eyes, tip of the nose, corners of the mouth, the one left in the picture first), px.
    channels, layout : order of the net's input. mean, std : the net gets (pixel − mean) / std of pixels 0–255, one
        number or one for each channel in the net's order.
    output : which output, where the net has several.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True)

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
    file: Annotated[str, Field(pattern=r"^[^/\\\x00]+\.onnx$")]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    licence: Words
    source: Words
    intended_use: Words
    dimension: Annotated[int, Field(ge=2, le=8192)]
    size: Annotated[int, Field(ge=32, le=1024)]
    template: Literal["arcface112", "dlib"] | Points
    channels: Literal["RGB", "BGR"]
    layout: Literal["NCHW", "NHWC"] = "NCHW"
    mean: Numbers
    std: Numbers
    output: str | None = None

    @field_validator("name")
    @classmethod
    def _own_name(cls, name: str) -> str:
        if name in ("dlib", "onnx"):
            raise ValueError("taken by crimeface's own; choose another")
        return name

    @field_validator("std")
    @classmethod
    def _divides(cls, std: Numbers) -> Numbers:
        if np.any(np.asarray(std) <= 0):
            raise ValueError("expected numbers above 0")
        return std

    @property
    def points(self) -> FloatArray | None:
        """The template as ``faces.align_face`` takes it: (5, 2) px of the chip, or None for dlib's."""
        if self.template == "dlib":
            return None
        return ARCFACE_TEMPLATE * (self.size / 112) if self.template == "arcface112" else np.array(self.template)


def is_card(name: str | Path) -> bool:
    """Return whether ``name`` is the path of a card, or of a net that should have one, and no name of an entry point.

    >>> is_card("models/sface.yaml"), is_card("dlib")
    (True, False)
    """
    return Path(name).suffix in (".yaml", ".yml", ".onnx")


def read_card(path: str | Path) -> EmbedderCard:
    """Return the card of an ONNX embedder; the net itself is not touched.

    Raises
    ------
    MissingArtifactError : no such file. RefusedError : it names no licence. InputError : not such a card.
    """
    path = Path(path)
    if path.suffix == ".onnx":
        raise RefusedError(f"got {path.name}, a net without a card: its licence and how to run it must be known; {HOW}")
    try:
        said = read_yaml(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise MissingArtifactError(f"no card {path} ({error.strerror}); {HOW}") from error
    except (UnicodeDecodeError, InputError) as error:
        raise InputError(f"{path.name}: {error}; {HOW}") from error
    if not isinstance(said, dict):
        raise InputError(f"{path.name}: got {type(said).__name__}, expected the fields of a card; {HOW}")
    if str(said.get("licence") or "").strip(" .?!-").casefold() in _NO_LICENCE:
        raise RefusedError(
            f"{path.name} names no licence, so the net is not loaded; find out the terms of its weights (not those of "
            "the code that runs it) and write, for example, 'licence: Apache-2.0'"
        )
    try:
        return EmbedderCard.model_validate(said)
    except ValidationError as error:
        wrong = "; ".join(
            f"{'.'.join(str(part) for part in one['loc'])}: {one['msg'][0].lower()}{one['msg'][1:]}"
            for one in error.errors()
        )
        raise InputError(f"{path.name}: {wrong}; see configs/models/embedder.yaml") from error
