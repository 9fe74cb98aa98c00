"""Checks at the door: an array is what the docstring says, or a ShapeError says why not."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from crimeface_lib.core.errors import ShapeError
from crimeface_lib.core.types import FloatArray, ImageArray


def check_array(
    value: npt.ArrayLike,
    *,
    shape: tuple[int | None, ...],
    name: str,
    dtype: npt.DTypeLike = np.float64,
    finite: bool = True,
) -> Any:
    """Return ``value`` as a contiguous array of ``dtype``, or say what is wrong with it.

    Parameters
    ----------
    shape : expected shape; ``None`` stands for any length along that axis.
    name : what the caller calls the argument, for the message.
    finite : refuse NaN and infinity.

    Raises
    ------
    ShapeError : wrong shape, not numeric, or not finite.

    >>> check_array([[1, 2, 3]], shape=(None, 3), name="points").shape
    (1, 3)
    """
    try:
        array = np.ascontiguousarray(value, dtype=dtype)
    except (TypeError, ValueError) as error:
        raise ShapeError(f"{name}: got {type(value).__name__}, expected numbers ({error})") from error
    expected = "(" + ", ".join("N" if n is None else str(n) for n in shape) + ")"
    if array.ndim != len(shape) or any(n is not None and n != m for n, m in zip(shape, array.shape, strict=True)):
        raise ShapeError(f"{name}: got shape {array.shape}, expected {expected}")
    if finite and array.dtype.kind == "f" and not np.isfinite(array).all():
        bad = int((~np.isfinite(array)).sum())
        raise ShapeError(
            f"{name}: got {bad} values that are NaN or infinite, expected finite numbers; drop or fill them first"
        )
    return array


def check_vector(value: npt.ArrayLike, *, name: str, minimum: int = 0) -> FloatArray:
    """Return ``value`` as a finite (N,) float64 array with at least ``minimum`` entries."""
    array: FloatArray = check_array(value, shape=(None,), name=name)
    if len(array) < minimum:
        raise ShapeError(f"{name}: got {len(array)} values, expected at least {minimum}")
    return array


def check_image(value: npt.ArrayLike, *, name: str = "image") -> ImageArray:
    """Return ``value`` if it is an (H, W, 3) uint8 RGB image.

    Raises
    ------
    ShapeError : any other shape or type; the remedy is ``faces.load_image``.
    """
    array = np.asarray(value)
    if array.ndim != 3 or array.shape[2] != 3 or array.dtype != np.uint8:
        raise ShapeError(
            f"{name}: got {array.dtype} {array.shape}, expected uint8 (H, W, 3) RGB; read files with faces.load_image"
        )
    return np.ascontiguousarray(array)
