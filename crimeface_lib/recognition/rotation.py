"""One secret orthogonal turn of all templates an application: cosines stay, and the next application sees noise.

It makes templates renewable (another turn, and the old ones no longer fit) and unlinkable between applications that
don't share the secret. It is no encryption: whoever has as many templates before and after it as they have
dimensions computes the turn, and whoever has the turn has the templates. So they are encrypted as well.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from scipy.special import ndtri

from crimeface_lib.core.display import Shown
from crimeface_lib.core.errors import InputError
from crimeface_lib.core.types import Float32Array, FloatArray
from crimeface_lib.recognition.search import unit_rows


@dataclass(frozen=True, slots=True, eq=False)
class Rotation(Shown):
    """The turn of one application; made by ``template_rotation``. ``id`` tells it from others and gives nothing away.

    ``matrix`` is (D, D), orthogonal, and secret.
    """

    application: str
    id: str
    matrix: FloatArray = field(repr=False)

    def __reduce__(self) -> str:
        raise TypeError("a rotation is a secret and is not pickled; make it from its key where it is needed")

    def apply(self, vectors: Float32Array) -> Float32Array:
        """Return (N, D) templates turned."""
        return self._turned(vectors, self.matrix.T)

    def undo(self, vectors: Float32Array) -> Float32Array:
        """Return (N, D) templates turned back."""
        return self._turned(vectors, self.matrix)

    def _turned(self, vectors: Float32Array, matrix: FloatArray) -> Float32Array:
        rows = unit_rows(vectors, name="vectors", dimension=len(self.matrix))
        return (rows.astype(np.float64) @ matrix).astype(np.float32)


def template_rotation(key: bytes, *, application: str, dimension: int = 128) -> Rotation:
    """Return the turn of an application, the same for the same key each time, on each machine.

    A matrix of normal numbers from AES-CTR under a key derived from ``key`` is made orthogonal (QR, signs fixed),
    so that every orthogonal matrix is equally likely.

    Parameters
    ----------
    key : 32 secret bytes, from ``storage.KeyRing.derive``; another one than that which seals the watchlist.
    application : a name. dimension : of the templates.

    Raises
    ------
    InputError : a key of another length, no name, or fewer than two dimensions.

    References : Mezzadri 2007 (QR of a normal matrix); ISO/IEC 24745 (renewable references).

    >>> turn = template_rotation(bytes(32), application="border", dimension=4)
    >>> bool(np.allclose(turn.matrix @ turn.matrix.T, np.eye(4)))
    True
    """
    if len(key) != 32 or not application.strip() or dimension < 2:
        raise InputError(
            f"got a key of {len(key)} bytes, application {application!r} and {dimension} dimensions, expected 32 "
            "bytes, a name and at least 2"
        )
    info = f"crimeface rotation v1|{dimension}|{application}".encode()
    drawn = HKDF(algorithm=SHA256(), length=56, salt=None, info=info).derive(key)
    stream = Cipher(AES(drawn[:32]), CTR(drawn[32:48])).encryptor().update(bytes(8 * dimension**2))
    uniform = (np.frombuffer(stream, dtype="<u8") >> np.uint64(11)).astype(np.float64)
    normal = ndtri((uniform + 0.5) / 2.0**53).reshape(dimension, dimension)
    matrix, triangle = np.linalg.qr(normal)
    return Rotation(application=application, id=drawn[48:].hex(), matrix=matrix * np.sign(np.diag(triangle)))


def turn(rows: Float32Array, rotation: Rotation | None) -> Float32Array:
    """Return rows turned, or as they are where there is no rotation."""
    return rows if rotation is None or not len(rows) else rotation.apply(rows)


def turn_back(rows: Float32Array, rotation: Rotation | None) -> Float32Array:
    """Return what ``turn`` was given, but for rounding."""
    return rows if rotation is None or not len(rows) else rotation.undo(rows)
