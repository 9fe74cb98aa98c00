"""The device is resolved once, here, and passed on as an argument."""

from __future__ import annotations

from crimeface_lib.core.errors import InputError, MissingBackendError


def resolve_device(name: str | None = None) -> str:
    """Return a torch device string.

    Parameters
    ----------
    name : "cpu", "cuda", "cuda:1"; None or "auto" takes CUDA where torch sees one, else the CPU.

    Raises
    ------
    InputError : an unknown name.
    MissingBackendError : CUDA was asked for and torch sees none.

    >>> resolve_device("cpu")
    'cpu'
    """
    name = name or "auto"
    if name == "cpu":
        return name
    if name != "auto" and name.partition(":")[0] != "cuda":
        raise InputError(f"device: got {name!r}, expected auto, cpu, cuda or cuda:<index>")
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    index = name.partition(":")[2]
    count = torch.cuda.device_count()
    if count == 0 or (index and (not index.isdigit() or int(index) >= count)):
        raise MissingBackendError(
            f"device: got {name!r}, but torch sees {count} CUDA devices; use device='cpu' or 'auto'"
        )
    return name
