"""Comparing under encryption (CKKS, by TenSEAL): one party holds the key, another compares and learns nothing.

=============  ===============================================  ================================================
who            holds                                            learns
=============  ===============================================  ================================================
key holder     ``he_secret.key``, the records' names            rounded scores of the best records above a threshold
prober         ``he_public.ctx`` and a photo                    nothing but what the key holder tells
comparer       ``he_public.ctx`` and the encrypted gallery      how many entries there are, of which model, and when
                                                                it is asked; no template, no record, no score
=============  ===============================================  ================================================

The key holder signs context and gallery, so another gallery, another order of its records, or another context is found
out by whoever opens them. Three things it does not do. It does not make a comparer honest: one that computes something
else is not found out, and its answer may then be false or tell the key holder's client something of a template. It
does not bind a probe to a person. And templates are as sensitive as before to whoever holds the key.

CKKS is approximate, and **a raw decryption tells something of the secret key** (Li and Micciancio 2021; SEAL issue
720): who sees enough of them beside their ciphertexts computes it. So decrypted scores never leave ``KeyHolder``. What
leaves is blurred by noise half a million times the scheme's own error, rounded to ``STEP``, and only what
reaches the threshold, at most ``top``. This makes such an attack costly, it is no proof: never give results back to the
comparer, and make new keys (a new folder) now and then.

References: Cheon et al. 2017 (CKKS); Li and Micciancio 2021, Li et al. 2022 (decryptions); Boddeti 2018 (faces).
"""

from __future__ import annotations

import base64
import hmac
import json
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from crimeface_lib.core.arrays import check_array
from crimeface_lib.core.errors import (
    InputError,
    IntegrityError,
    NoFaceError,
    NotFoundError,
    RefusedError,
    ShapeError,
)
from crimeface_lib.core.files import write_atomic
from crimeface_lib.core.hashing import canonical_json, sha256_bytes
from crimeface_lib.core.results import Result
from crimeface_lib.core.types import FloatArray
from crimeface_lib.recognition.candidates import DECISIONS
from crimeface_lib.recognition.embed import Embeddings
from crimeface_lib.recognition.he_ckks import (
    BLOCK,
    FOLD,
    SCALE,
    encrypted,
    loaded,
    new_context,
    open_context,
    serialised,
)
from crimeface_lib.recognition.he_files import MARK, Opened, Source, pack, public_key, unpack, verify

if TYPE_CHECKING:
    import pandas as pd

PUBLIC, SECRET = "he_public.ctx", "he_secret.key"
#: What scores are rounded to, and the sd of the noise added before.
STEP, NOISE = 0.001, 1e-4
LARGEST = 100_000


@dataclass(frozen=True, slots=True)
class EncryptedCandidates(Result):
    """Records whose score, computed under encryption, reaches the threshold; best first. A score, and no verdict.

    ``Calibration.likelihood_ratio(found.scores)`` gives their likelihood ratios.

    Parameters
    ----------
    records, scores : names of the entries, and cosines rounded to ``step``; each is within ``step`` of the cosine
        that ``score_pairs`` gives, but for one in a million.
    gallery_size : entries compared. threshold, top : what was asked for.
    embedder, version : what made the templates.
    """

    records: tuple[str, ...]
    scores: tuple[float, ...]
    gallery_size: int
    threshold: float
    top: int
    step: float
    embedder: str
    version: str

    def __len__(self) -> int:
        return len(self.records)

    def to_frame(self) -> pd.DataFrame:
        import pandas as pd

        return pd.DataFrame({"record": self.records, "score": self.scores})

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{rank}</td><td>{escape(record)}</td><td>{score:.3f}</td></tr>"
            for rank, (record, score) in enumerate(zip(self.records, self.scores, strict=True), 1)
        )
        return (
            f'<div class="cf-candidates"><p><b>{len(self)} candidates</b> of {self.gallery_size:,} entries compared '
            f"under encryption · scores from {self.threshold:g}, rounded to {self.step:g}</p>"
            f'<table class="cf-table"><thead><tr><th></th><th>record</th><th>score</th></tr></thead>'
            f"<tbody>{rows}</tbody></table><p>{escape(DECISIONS)}</p></div>"
        )


class KeyHolder:
    """Whoever may decrypt. ``KeyHolder.create(folder, …)`` makes the keys, ``KeyHolder.open`` takes them up again.

    The folder then holds ``he_public.ctx``, to be given away with ``KeyRing.verify_key``, and the sealed
    ``he_secret.key``.
    """

    def __init__(self, context: Any, public: bytes, *, key: bytes, signing_key: Ed25519PrivateKey) -> None:
        self._context, self._box, self._blur = context, AESGCM(key), hmac.digest(key, b"blur", "sha256")
        self._signing = signing_key
        self.context_id = sha256_bytes(public)

    def __repr__(self) -> str:
        return f"<KeyHolder of context {self.context_id[:12]}…>"

    @classmethod
    def create(cls, folder: str | Path, *, key: bytes, signing_key: Ed25519PrivateKey) -> KeyHolder:
        """Make new keys in ``folder``.

        Parameters
        ----------
        key : 32 bytes that seal the secret key, from ``KeyRing.data_key``. signing_key : ``KeyRing.signing_key``.

        Raises
        ------
        InputError : there are keys already; replacing them would make their galleries unreadable.
        MissingBackendError : TenSEAL is not installed.
        """
        folder = Path(folder)
        if (folder / SECRET).exists() or (folder / PUBLIC).exists():
            raise InputError(f"{folder.name} holds keys already; open them, or make new ones in another folder")
        context = new_context()
        public = pack("context", {}, [serialised(context, secret=False)], signing_key=signing_key)
        nonce, name = secrets.token_bytes(12), sha256_bytes(public).encode()
        sealed = nonce + _cipher(key).encrypt(nonce, serialised(context, secret=True), MARK + name)
        write_atomic(folder / SECRET, sealed, mode=0o600)
        write_atomic(folder / PUBLIC, public)
        return cls.open(folder, key=key, signing_key=signing_key)

    @classmethod
    def open(cls, folder: str | Path, *, key: bytes, signing_key: Ed25519PrivateKey) -> KeyHolder:
        """Open the keys in ``folder``.

        Raises
        ------
        NotFoundError : there are none. IntegrityError : another key, or the files were changed or exchanged.
        """
        folder, cipher = Path(folder), _cipher(key)
        try:
            public, sealed = (folder / PUBLIC).read_bytes(), (folder / SECRET).read_bytes()
        except FileNotFoundError as error:
            raise NotFoundError(
                f"no {Path(str(error.filename)).name} in {folder.name}; make keys with KeyHolder.create"
            ) from error
        unpack(public, "context", verify_key=signing_key.public_key())
        try:
            secret = cipher.decrypt(sealed[:12], sealed[12:], MARK + sha256_bytes(public).encode())
        except (InvalidTag, ValueError) as error:
            raise IntegrityError(f"{SECRET}: sealed with another key, changed, or of another {PUBLIC}") from error
        return cls(open_context(secret), public, key=key, signing_key=signing_key)

    def protect(
        self,
        embeddings: Embeddings,
        *,
        records: Sequence[str],
        progress: Callable[[int, int], object] | None = None,
    ) -> bytes:
        """Return the gallery for the comparer: templates encrypted, names sealed, signed.

        Parameters
        ----------
        embeddings : (N, D), N from 1 to 100,000, without failures. records : N names, each once, to be found again.
        progress : called with the number of templates done and of all.

        Raises
        ------
        NoFaceError : an image without a template. InputError : not one name for each, a name twice, or too many.
        """
        count = len(embeddings)
        if not 1 <= count <= LARGEST or len(records) != count or len(set(records)) != count:
            raise InputError(
                f"got {count} templates and {len(set(records))} different names, expected 1 to {LARGEST:,} of each"
            )
        rows, parts = _templates(embeddings), []
        for start in range(0, count, BLOCK):
            parts += encrypted(self._context, rows[start : start + BLOCK])
            if progress is not None:
                progress(min(start + BLOCK, count), count)
        nonce = secrets.token_bytes(12)
        names = nonce + self._box.encrypt(nonce, canonical_json(list(records)), MARK + self.context_id.encode())
        said = _about(embeddings, self.context_id) | {"count": count, "records": base64.b64encode(names).decode()}
        return pack("gallery", said, parts, signing_key=self._signing)

    def candidates(self, answer: Source, *, probe: Source, threshold: float, top: int = 20) -> EncryptedCandidates:
        """Return what the comparer's answer says: rounded scores of the best records that reach the threshold.

        Parameters
        ----------
        answer : what ``Comparer.compare`` gave for ``probe``. threshold : a cosine. top : at most so many, 1–1,000.

        Raises
        ------
        IntegrityError : the answer is to another probe, of another gallery or key, or was changed.
        RefusedError : a probe of another model.
        InputError : no such threshold or number.
        """
        if not -1 <= threshold <= 1 or not 1 <= top <= 1000:
            raise InputError(f"got threshold={threshold} and top={top}, expected −1 to 1 and 1 to 1,000")
        said, asked = unpack(answer, "answer"), unpack(probe, "probe")
        gallery = self._gallery(said)
        if (
            said.head.get("probe") != asked.name
            or [gallery["context"], asked.head.get("context")] != [self.context_id] * 2
        ):
            raise IntegrityError("the answer is to another probe, or under another key; ask the comparer again")
        _require_same_model(asked.head, gallery)
        names = base64.b64decode(gallery["records"])
        records = json.loads(self._box.decrypt(names[:12], names[12:], MARK + self.context_id.encode()))
        seed = hmac.digest(self._blur, canonical_json(said.head["parts"]), "sha256")
        scores = self._scores(said.parts, len(records), seed=seed)
        best = np.argsort(-scores, kind="stable")[:top]
        best = best[scores[best] >= threshold]
        return EncryptedCandidates(
            records=tuple(records[place] for place in best),
            scores=tuple(float(scores[place]) for place in best),
            gallery_size=len(records),
            threshold=threshold,
            top=top,
            step=STEP,
            embedder=gallery["embedder"],
            version=gallery["version"],
        )

    def _gallery(self, answer: Opened) -> dict[str, Any]:
        """Return what the gallery that was compared says of itself, as this key holder signed it."""
        try:
            head, signature = answer.head["gallery"], bytes.fromhex(answer.head["signature"])
        except (KeyError, ValueError, TypeError) as error:
            raise IntegrityError("the answer does not say which gallery it is of; ask the comparer again") from error
        verify(head, signature, self._signing.public_key())
        return dict(head)

    def _scores(self, parts: list[bytes], count: int, *, seed: bytes) -> FloatArray:
        """Return the scores as they may leave: blurred (one answer always in the same way) and rounded."""
        if len(parts) != -(-count // BLOCK):
            raise IntegrityError(f"the answer has {len(parts)} parts for {count} entries; ask the comparer again")
        blocks = [np.array(loaded(self._context, part, scale=SCALE**2).decrypt()) for part in parts]
        raw = np.concatenate([block.reshape(FOLD, BLOCK).sum(axis=0) for block in blocks])
        if not (np.abs(raw) < 1.01).all() or (np.abs(raw[count:]) > STEP).any():
            raise IntegrityError("the answer decrypts to what no cosine is: made under another key, or changed")
        noise = np.random.default_rng(int.from_bytes(seed)).normal(0, NOISE, count)
        return np.clip(np.round((raw[:count] + noise) / STEP) * STEP, -1, 1).round(6)


class Comparer:
    """Whoever compares: public context and encrypted gallery in, encrypted scores out.

    Parameters
    ----------
    context : ``he_public.ctx``. gallery : from ``KeyHolder.protect``; both paths or bytes.
    verify_key : ``KeyRing.verify_key`` of the key holder, got on another way than the files.

    Raises
    ------
    RefusedError : the context can decrypt: a secret key has no business here.
    IntegrityError : not signed by the key holder, changed, or a gallery of another context.
    MissingBackendError : TenSEAL is not installed.
    """

    def __init__(self, context: Source, gallery: Source, *, verify_key: str) -> None:
        self._context, self.context_id = _public(context, verify_key)
        opened = unpack(gallery, "gallery", verify_key=public_key(verify_key))
        self._head, self._signature = opened.head, opened.signature
        if self._head["context"] != self.context_id:
            raise IntegrityError("the gallery is of another context; take the one that it was made under")
        width = -(-self._head["dimension"] // FOLD)
        vectors = [loaded(self._context, part) for part in opened.parts]
        self._blocks = [vectors[start : start + width] for start in range(0, len(vectors), width)]

    def __repr__(self) -> str:
        return f"<Comparer over {self._head['count']:,} encrypted templates of {self._head['embedder']}>"

    def compare(self, probe: Source) -> bytes:
        """Return the encrypted cosines of a probe with each entry, for the key holder.

        Raises
        ------
        RefusedError : a probe of another model. IntegrityError : under another context, or changed.
        """
        asked = unpack(probe, "probe")
        if asked.head.get("context") != self.context_id:
            raise IntegrityError("the probe was encrypted under another context; encrypt it under the gallery's")
        _require_same_model(asked.head, self._head)
        if len(asked.parts) != len(self._blocks[0]):
            raise IntegrityError(
                f"the probe has {len(asked.parts)} parts, expected {len(self._blocks[0])}; encrypt it again"
            )
        columns = [loaded(self._context, part) for part in asked.parts]
        answer = []
        for block in self._blocks:
            total = block[0] * columns[0]
            for mine, theirs in zip(block[1:], columns[1:], strict=True):
                total += mine * theirs
            answer.append(total.serialize())
        said = {"gallery": self._head, "signature": self._signature.hex(), "probe": asked.name}
        return pack("answer", said, answer)


def encrypt_probe(embedding: Embeddings, *, context: Source, verify_key: str) -> bytes:
    """Return a probe that only the key holder could decrypt, for ``Comparer.compare``.

    Parameters
    ----------
    embedding : of exactly one image. context, verify_key : as for ``Comparer``.

    Raises
    ------
    NoFaceError : the image has no template. RefusedError, IntegrityError : as for ``Comparer``.
    """
    if len(embedding) != 1:
        raise InputError(f"got {len(embedding)} images, expected one probe")
    public, name = _public(context, verify_key)
    rows = np.repeat(_templates(embedding), BLOCK, axis=0)
    return pack("probe", _about(embedding, name), encrypted(public, rows))


def _require_same_model(probe: dict[str, Any], gallery: dict[str, Any]) -> None:
    for field in ("embedder", "version", "dimension"):
        if (got := probe.get(field)) != gallery[field]:
            raise RefusedError(
                f"{field}: got a probe of {got}, the gallery has {gallery[field]}; templates of different models "
                "can't be compared"
            )


def _templates(embeddings: Embeddings) -> FloatArray:
    """Return the templates, checked: none missing, all of unit length, so that no score overflows."""
    if embeddings.failures:
        first = min(embeddings.failures)
        raise NoFaceError(f"image {first} has no template: {embeddings.failures[first]}; leave it out")
    rows: FloatArray = check_array(embeddings.vectors, shape=(None, None), name="vectors")
    lengths = np.linalg.norm(rows, axis=1)
    if (np.abs(lengths - 1) > 1e-3).any():
        raise ShapeError(
            f"vectors: got lengths {lengths.min():.4g} to {lengths.max():.4g}, expected templates of unit length"
        )
    return rows


def _about(embeddings: Embeddings, context: str) -> dict[str, Any]:
    return {
        "context": context, "embedder": embeddings.embedder, "version": embeddings.version,
        "dimension": embeddings.vectors.shape[1],
    }  # fmt: skip


def _public(source: Source, verify_key: str) -> tuple[Any, str]:
    """Return a public context and its id; one that can decrypt is refused, signed or not."""
    opened = unpack(source, "context", verify_key=public_key(verify_key))
    context = open_context(opened.parts[0])
    if context.is_private():
        raise RefusedError(f"the context holds a secret key, expected {PUBLIC}; give away no other file")
    return context, opened.name


def _cipher(key: bytes) -> AESGCM:
    if len(key) != 32:
        raise InputError(f"key: got {len(key)} bytes, expected 32; make one with storage.KeyRing.data_key")
    return AESGCM(key)
