"""Pickles of NumPy arrays read without running them: nothing that the file names is imported or called.

A pickle is a programme that may call anything. Here each class or function it names becomes a ``Stand_in``
that only keeps its arguments; afterwards the few shapes that we know (arrays, sparse matrices, chumpy's
wrapped arrays) are rebuilt from the bytes by our own code. A name outside the packages that such a file has
any business with is refused.
"""

from __future__ import annotations

import io
import pickle
import re
from pathlib import Path
from typing import Any, Literal

import numpy as np

from crimeface_lib.core.errors import InputError

_PACKAGES = ("numpy", "scipy", "chumpy", "copy_reg", "copyreg", "_codecs", "torch", "collections")
_BUILTINS = ("set", "frozenset", "object", "list", "dict", "tuple", "bytearray", "complex")
_DTYPE = re.compile(r"[<>|=]?([biuf][1248])$")


class StandIn:
    """What a name in the pickle became: the name, the arguments it was called with, and the state it was given."""

    name = ""
    arguments: tuple[Any, ...]
    state: Any
    items: dict[Any, Any]

    def __new__(cls, *arguments: Any) -> StandIn:
        made = super().__new__(cls)
        made.arguments, made.state, made.items = arguments, None, {}
        return made

    def __init__(self, *_: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def __setitem__(self, key: Any, value: Any) -> None:
        self.items[key] = value

    def append(self, value: Any) -> None:
        self.items[len(self.items)] = value


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> type[StandIn]:
        root = module.partition(".")[0]
        if root not in _PACKAGES and not (root in ("builtins", "__builtin__") and name in _BUILTINS):
            raise InputError(f"names {module}.{name}, which no array needs: nothing of it was run")
        return type("StandIn", (StandIn,), {"name": f"{module}.{name}"})


def read_inert(file: Path) -> dict[str, Any]:
    """Return the dictionary that a .pkl, or a .npy of one object, holds; values are plain or StandIns.

    Raises
    ------
    InputError : not such a file, damaged, or it names something that no array needs.
    """
    data = io.BytesIO(file.read_bytes())
    try:
        if data.getvalue()[:6] == b"\x93NUMPY":
            np.lib.format.read_magic(data)
            np.lib.format.read_array_header_1_0(data)
        found = _Reader(data, encoding="latin1").load()
    except InputError as error:
        raise InputError(f"{file.name}: {error}") from error
    except Exception as error:  # a damaged pickle raises whatever its stack machine stumbles over
        raise InputError(f"{file.name}: got no readable pickle ({type(error).__name__}: {error})") from error
    if isinstance(found, StandIn) and found.name.endswith("_reconstruct"):
        inside = found.state[4] if isinstance(found.state, tuple) and len(found.state) == 5 else []
        found = inside[0] if isinstance(inside, list) and len(inside) == 1 else found
    if isinstance(found, StandIn):
        found = {**(found.state if isinstance(found.state, dict) else {}), **found.items}
    if not isinstance(found, dict):
        raise InputError(f"{file.name}: got a pickled {type(found).__name__}, expected a dictionary of arrays")
    return {str(key): value for key, value in found.items()}


def as_array(value: Any, *, name: str) -> np.ndarray:
    """Return numbers as an array: from an array, a sparse matrix (made dense), a chumpy array, or a list.

    Raises
    ------
    InputError : anything else.
    """
    try:
        array = _rebuild(value)
    except InputError as error:
        raise InputError(f"{name}: {error}") from error
    except Exception as error:  # tuples of the wrong length, sizes that don't agree, ...
        raise InputError(f"{name}: got a damaged array ({error})") from error
    if array.dtype.kind not in "biuf":
        raise InputError(f"{name}: got {array.dtype}, expected numbers")
    return array


def _rebuild(value: Any) -> np.ndarray:
    if not isinstance(value, StandIn):
        return np.asarray(value)
    short, state = value.name.rpartition(".")[2], value.state
    if short == "_reconstruct" and isinstance(state, tuple) and len(state) == 5:
        _, shape, dtype, fortran, raw = state
        return _from_bytes(raw, dtype, shape, "F" if fortran else "C")
    if short == "_frombuffer":
        raw, dtype, shape, order, *axes = value.arguments
        array = _from_bytes(raw, dtype, shape, "F" if order == "F" else "C")
        return array.transpose(axes[0]) if order == "K" and axes and axes[0] is not None else array
    kept = _state(value)
    if value.name.startswith("chumpy") or (short == "_reconstructor" and "x" in kept):
        if "x" not in kept:
            raise InputError(f"got {value.name}, a chumpy expression, expected a chumpy array; save it as numbers")
        return _rebuild(kept["x"])
    if {"data", "indices", "indptr"} <= set(kept):
        from scipy.sparse import csc_matrix, csr_matrix

        wrapped = value.arguments[0].name if short == "_reconstructor" else value.name
        kind = csr_matrix if "csr" in wrapped else csc_matrix
        parts = tuple(_rebuild(kept[key]) for key in ("data", "indices", "indptr"))
        shape = tuple(int(n) for n in kept["_shape" if "_shape" in kept else "shape"])
        if np.prod(shape, dtype=float) > 1e8:
            raise InputError(f"got a sparse matrix of {shape}, expected one that fits in memory")
        return np.asarray(kind(parts, shape=shape).toarray())
    raise InputError(f"got {value.name}, expected an array")


def _state(value: StandIn) -> dict[str, Any]:
    state = value.state
    if isinstance(state, tuple) and len(state) == 2:  # (dict, slots)
        state = state[0]
    return state if isinstance(state, dict) else {}


def _from_bytes(raw: Any, dtype: Any, shape: Any, order: Literal["C", "F"]) -> np.ndarray:
    """Return the array whose bytes these are; ``raw`` came as text (latin-1) from Python 2."""
    if isinstance(raw, StandIn) and raw.name == "_codecs.encode":
        raw = raw.arguments[0]
    if isinstance(raw, StandIn):  # an empty one, or bytearray
        raw = raw.arguments[0] if raw.arguments else b""
    raw = raw.encode("latin1") if isinstance(raw, str) else raw
    code = dtype.arguments[0] if isinstance(dtype, StandIn) else None
    match = _DTYPE.match(str(code))
    if not match or not isinstance(raw, bytes | bytearray):
        raise InputError(f"got an array of {code!r}, expected numbers")
    state = dtype.state
    big = isinstance(state, tuple) and len(state) > 1 and state[1] == ">"
    kind = np.dtype((">" if big else "<") + match[1])
    shape = tuple(int(n) for n in shape)
    if len(raw) != kind.itemsize * int(np.prod(shape, dtype=object)):
        raise InputError(f"got {len(raw):,} bytes for an array {shape} of {kind}")
    flat = np.frombuffer(bytes(raw), kind).astype(kind.newbyteorder("="))
    return flat.reshape(shape, order=order)
