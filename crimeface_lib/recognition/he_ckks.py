"""Templates in ciphertexts: the parameters of CKKS, how numbers are laid out, and what of TenSEAL is used.

The product of a gallery's ciphertexts with a probe's, summed, needs neither relinearisation nor rotation nor rescaling,
so a public context is a public key and nothing more.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from crimeface_lib.core.errors import IntegrityError, MissingBackendError
from crimeface_lib.core.types import FloatArray

#: Ring degree, bits of the modulus and of the scale: 128-bit security asks for at most 218 bits at this degree. One
#: product without rescaling fits (2 × 46 of 100 bits), and leaves an error of 1e-10.
_DEGREE, _BITS, SCALE = 8192, (60, 40, 60), 2.0**46
_SLOTS = _DEGREE // 2
#: Numbers of a template in one ciphertext, for as many templates as then fit. More make probes smaller and answers
#: larger; 8 moves least at 10,000 entries.
FOLD = 8
BLOCK = _SLOTS // FOLD


def new_context() -> Any:
    """Return a context with new keys, public and secret."""
    tenseal = _tenseal()
    context = tenseal.context(
        tenseal.SCHEME_TYPE.CKKS, poly_modulus_degree=_DEGREE, coeff_mod_bit_sizes=list(_BITS), n_threads=1
    )
    context.global_scale = SCALE
    context.auto_relin, context.auto_rescale, context.auto_mod_switch = False, False, False  # stored with it
    return context


def open_context(data: bytes) -> Any:
    """Return the context that ``serialised`` wrote."""
    try:
        return _tenseal().context_from(data, n_threads=1)
    except (RuntimeError, ValueError) as error:
        raise IntegrityError(f"a context can't be read ({error}); get the file again") from error


def serialised(context: Any, *, secret: bool) -> bytes:
    """Return a context's public key and, if asked, its secret key."""
    return bytes(
        context.serialize(save_public_key=True, save_secret_key=secret, save_galois_keys=False, save_relin_keys=False)
    )


def encrypted(context: Any, rows: FloatArray) -> list[bytes]:
    """Return up to ``BLOCK`` templates as ciphertexts: each holds ``FOLD`` numbers of every one, number by number.

    The product with a probe laid out alike, summed over the ciphertexts, holds ``FOLD`` parts of each cosine.
    """
    tenseal = _tenseal()
    filled = np.zeros((BLOCK, -(-rows.shape[1] // FOLD) * FOLD))
    filled[: len(rows), : rows.shape[1]] = rows
    groups = filled.T.reshape(-1, FOLD * BLOCK)
    return [tenseal.ckks_vector(context, group.tolist()).serialize() for group in groups]


def loaded(context: Any, part: bytes, *, scale: float = SCALE) -> Any:
    """Return a ciphertext, or say that it is none of ours."""
    try:
        vector = _tenseal().ckks_vector_from(context, part)
        inner = vector.ciphertext()
        fits = vector.size() == _SLOTS and len(inner) == 1 and inner[0].scale == scale
    except (RuntimeError, ValueError) as error:
        raise IntegrityError(f"a ciphertext can't be read ({error}); get the file again") from error
    if not fits:
        raise IntegrityError(f"a ciphertext of another form, expected {_SLOTS} numbers at scale {scale:g}")
    return vector


def _tenseal() -> Any:
    try:
        import tenseal
    except ImportError as error:
        raise MissingBackendError(f"TenSEAL is missing ({error}); pip install 'crimeface-lib[he]'") from error
    return tenseal
