"""Aliases: the element type of arrays, whose shapes and units docstrings say, and what is called with progress."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

FloatArray: TypeAlias = npt.NDArray[np.float64]
Float32Array: TypeAlias = npt.NDArray[np.float32]
IntArray: TypeAlias = npt.NDArray[np.int64]
BoolArray: TypeAlias = npt.NDArray[np.bool_]
ImageArray: TypeAlias = npt.NDArray[np.uint8]
Json: TypeAlias = dict[str, Any]
#: Called with how many are done, and of how many.
Progress: TypeAlias = Callable[[int, int], object]
