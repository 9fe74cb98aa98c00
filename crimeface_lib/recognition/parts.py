"""Templates of a large collection, part by part, so that hours of work can stop anywhere and go on.

Each finished part lies in a folder as one AES-256-GCM box: no template, no reason and no name of a file is on disk in
clear. A box is bound to the content of its photos and to how they were embedded, so it opens for nothing else; its name
is a keyed hash of the same, so that a photo which changed is simply embedded again.
"""

from __future__ import annotations

import base64
import hmac
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from crimeface_lib import __version__
from crimeface_lib.core.errors import InputError, IntegrityError
from crimeface_lib.core.files import write_atomic
from crimeface_lib.core.hashing import canonical_json, sha256_file
from crimeface_lib.recognition.embed import Embedder, Embeddings, embed_images

_DOMAIN = b"crimeface template parts v1"
_NONCE = 12


def embed_in_parts(
    embedder: Embedder,
    photos: Sequence[Path],
    *,
    folder: str | Path,
    key: bytes,
    detector: str = "dlib",
    which: str | int = "largest",
    part: int = 64,
    progress: Callable[[int, int], object] | None = None,
) -> Embeddings:
    """Return what ``embed_images`` returns of photos; parts that an earlier call finished are read back.

    Parameters
    ----------
    folder : for the sealed parts; delete it once the templates are no longer needed. key : 32 secret bytes, from
        ``storage.KeyRing.derive``.
    detector, which : as for ``embed_images``. part : photos sealed together, and lost at most by a stop.
    progress : called with how many photos are done, and of how many.

    Raises
    ------
    InputError : no photo, a key of another length, a part below 1. IntegrityError : a part was changed.
    """
    if not photos or len(key) != 32 or part < 1:
        raise InputError(
            f"got {len(photos)} photos, a key of {len(key)} bytes and parts of {part}, expected some photos, 32 and at "
            "least 1"
        )
    drawn = HKDF(algorithm=SHA256(), length=64, salt=None, info=_DOMAIN).derive(key)
    box, naming = AESGCM(drawn[:32]), drawn[32:]
    how = {
        "embedder": embedder.name, "version": embedder.version, "detector": detector, "which": which,
        "code": __version__,
    }  # fmt: skip
    found: list[Embeddings] = []
    for start in range(0, len(photos), part):
        some = photos[start : start + part]
        bound = _DOMAIN + canonical_json({**how, "photos": [sha256_file(path) for path in some]})
        file = Path(folder) / f"{hmac.digest(naming, bound, 'sha256').hex()[:32]}.part"
        if file.is_file():
            found.append(_opened(file, box, bound))
        else:
            found.append(embed_images(some, embedder=embedder, detector=detector, which=which, progress=False))
            nonce = os.urandom(_NONCE)
            write_atomic(file, nonce + box.encrypt(nonce, _packed(found[-1]), bound), mode=0o600)
        if progress:
            progress(start + len(some), len(photos))
    return _joined(found, part)


def _packed(found: Embeddings) -> bytes:
    record = {
        "vectors": base64.b64encode(found.vectors.astype("<f4").tobytes()).decode(),
        "dimension": found.vectors.shape[1], "quality": found.quality.tolist(), "notes": found.notes,
        "failures": list(found.failures.items()), "embedder": found.embedder, "version": found.version,
    }  # fmt: skip
    return json.dumps(record).encode()


def _opened(file: Path, box: AESGCM, bound: bytes) -> Embeddings:
    data = file.read_bytes()
    try:
        held: dict[str, Any] = json.loads(box.decrypt(data[:_NONCE], data[_NONCE:], bound))
    except (InvalidTag, ValueError) as error:
        raise IntegrityError(
            f"a part of the templates ({file.name}) was changed; delete it, and its photos are embedded again"
        ) from error
    vectors = np.frombuffer(base64.b64decode(held["vectors"]), dtype="<f4").reshape(-1, held["dimension"])
    return Embeddings(
        vectors=vectors.astype(np.float32), quality=np.array(held["quality"], dtype=float),
        failures=dict(held["failures"]), embedder=held["embedder"], version=held["version"],
        notes=tuple(held["notes"]),
    )  # fmt: skip


def _joined(found: list[Embeddings], part: int) -> Embeddings:
    first = found[0]
    return Embeddings(
        vectors=np.concatenate([one.vectors for one in found]),
        quality=np.concatenate([one.quality for one in found]),
        failures={k * part + row: why for k, one in enumerate(found) for row, why in one.failures.items()},
        embedder=first.embedder, version=first.version, notes=tuple(note for one in found for note in one.notes),
    )  # fmt: skip
