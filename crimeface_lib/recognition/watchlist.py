"""An encrypted watchlist: each entry sealed on its own, lawful by its fields, gone when it expires.

A record on disk is an id and one AES-256-GCM box; the box holds subject, model, version, purpose fields and template
together, and the id is its associated data. So nothing about a person is readable without the key, no field can be
changed, and two records can't be exchanged. Encryption is not irreversibility: whoever has the key has the templates.
"""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

import numpy as np
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from crimeface_lib.core.clock import Clock, to_iso, utc_now
from crimeface_lib.core.errors import InputError, IntegrityError, NoFaceError, NotFoundError, RefusedError
from crimeface_lib.core.hashing import canonical_json
from crimeface_lib.core.results import Result
from crimeface_lib.core.types import Float32Array
from crimeface_lib.recognition.calibrate import Calibration, load_calibration
from crimeface_lib.recognition.candidates import Candidate, CandidateList, caveats
from crimeface_lib.recognition.compare import score_pairs
from crimeface_lib.recognition.embed import Embeddings
from crimeface_lib.storage import DocumentStore, TinyDocuments

_TABLE = "entries"
_DOMAIN = b"crimeface watchlist v1|"


@dataclass(frozen=True, slots=True)
class Entry(Result):
    """What the watchlist knows of an entry; the template itself is never part of it.

    ``expires`` is the last day on which the entry is searched. ``quality`` is 0–100, None where unknown.
    ``minor_approval`` is the reference of the extra approval that an entry of a child (``minor``) has.
    """

    record: str
    subject: str
    source: str
    rationale: str
    category: str
    added_by: str
    added_at: str
    expires: date
    quality: float | None
    embedder: str
    version: str
    minor: bool = False
    minor_approval: str = ""


@dataclass(frozen=True, slots=True)
class Enrolment(Result):
    """How many of the images were enrolled, and why the others were not (index → reason)."""

    enrolled: int
    failures: dict[int, str]


class Watchlist:
    """Open with ``Watchlist.open(folder, key=…)``.

    Fit for some thousand entries: all lie in one JSON document store, which is read for each search (0.04 s for
    1,000, 0.4 s for 5,000) and rewritten for each enrolment (enrolling 5,000 at once takes 12 s).
    """

    def __init__(self, store: DocumentStore, *, key: bytes, clock: Clock) -> None:
        self._store, self._box, self._clock = store, AESGCM(key), clock

    @classmethod
    def open(
        cls,
        store: str | Path,
        *,
        key: bytes,
        clock: Clock = utc_now,
        documents: DocumentStore | None = None,
        purge: bool = True,
    ) -> Watchlist:
        """Open the watchlist in the folder ``store``, made with the first entry; expired entries are purged.

        Parameters
        ----------
        key : 32 bytes, from ``storage.KeyRing.derive``.
        clock : tells when entries are added and expire.
        documents : where the sealed records lie; a JSON file in the folder by default.
        purge : False where the caller knows of legal holds and purges itself.

        Raises
        ------
        InputError : a key of another length. IntegrityError : another key, or altered records.
        """
        if len(key) != 32:
            raise InputError(f"key: got {len(key)} bytes, expected 32; derive one with storage.KeyRing.derive")
        found = cls(documents or TinyDocuments.open(Path(store) / "entries.json"), key=key, clock=clock)
        if purge:
            found.purge()
        return found

    def __repr__(self) -> str:
        return f"<Watchlist of {len(self)} entries>"

    def __len__(self) -> int:
        return len(self._store.find(_TABLE))

    def enrol(
        self,
        embedding: Embeddings,
        *,
        subject: str | None = None,
        source: str | None = None,
        rationale: str | None = None,
        category: str | None = None,
        added_by: str | None = None,
        expires: date | None = None,
        minor: bool = False,
        minor_approval: str | None = None,
    ) -> Entry:
        """Add one entry; each field is required by law or policy, so a missing one is refused by name.

        Parameters
        ----------
        embedding : of exactly one image; its quality and model are kept with the entry.
        source : where the photo lawfully comes from. rationale : why the person is on the list.
        expires : last day of the entry, not in the past.
        minor : the person is a child; then ``minor_approval``, the reference of the extra approval, is needed too.

        Raises
        ------
        RefusedError : a field is missing, the entry would already have expired, or the list holds templates of
            another model. NoFaceError : the image has no template.
        """
        if len(embedding) != 1:
            raise InputError(f"embedding: got {len(embedding)} images, expected 1; enrol_many takes more")
        if embedding.failures:
            raise NoFaceError(f"not enrolled: {embedding.failures[0]}")
        shared = {"source": source, "rationale": rationale, "category": category, "added_by": added_by}
        return self._add(embedding, [0], [subject], shared | _minor(minor, minor_approval), expires)[0]

    def enrol_many(
        self,
        embeddings: Embeddings,
        *,
        subjects: Sequence[str] | None = None,
        source: str | None = None,
        rationale: str | None = None,
        category: str | None = None,
        added_by: str | None = None,
        expires: date | None = None,
        minor: bool = False,
        minor_approval: str | None = None,
    ) -> Enrolment:
        """Add one entry for each image that has a template, all or none; the others are told with their reason.

        Parameters
        ----------
        subjects : N names; ``embeddings.subjects`` by default. The other fields hold for all: see ``enrol``.

        Raises
        ------
        RefusedError, InputError : as ``enrol``; as many names as images are needed.
        """
        names = list(subjects if subjects is not None else embeddings.subjects)
        if len(names) != len(embeddings):
            raise InputError(f"subjects: got {len(names)}, expected {len(embeddings)}, one for each image")
        rows = [i for i in range(len(embeddings)) if i not in embeddings.failures]
        shared = {"source": source, "rationale": rationale, "category": category, "added_by": added_by}
        shared |= _minor(minor, minor_approval)
        added = self._add(embeddings, rows, [names[i] for i in rows], shared, expires)
        return Enrolment(enrolled=len(added), failures=dict(embeddings.failures))

    def entries(self) -> list[Entry]:
        """Return what is known of each entry, in order of enrolment, without templates.

        Raises
        ------
        IntegrityError : another key, or altered records.
        """
        return [entry for entry, _ in self._opened()]

    def search(
        self,
        embedding: Embeddings,
        *,
        top: int = 20,
        threshold: float | None = None,
        calibration: Calibration | None = None,
        level: float = 0.95,
    ) -> CandidateList:
        """Return the ``top`` most similar entries with likelihood ratios; expired ones never appear.

        Parameters
        ----------
        embedding : of exactly one image.
        threshold : entries that score below it are no candidates; None leaves none out.
        calibration : for this embedder and version; the one that comes with the library by default.

        Raises
        ------
        NoFaceError : the probe has no template. RefusedError : probe, entries and calibration are not of one
            model and version. InputError : ``top`` below 1, or more than one probe.
        IntegrityError : another key, or altered records.
        """
        if len(embedding) != 1 or top < 1:
            raise InputError(f"got {len(embedding)} probes and top={top}, expected one probe and top ≥ 1")
        if embedding.failures:
            raise NoFaceError(f"not searched: {embedding.failures[0]}")
        calibration = calibration or load_calibration(embedding.embedder)
        _same_model("calibration", (calibration.embedder, calibration.version), embedding)
        live = [(entry, row) for entry, row in self._opened() if not self._expired(entry, self._clock())]
        for entry, _ in live[:1]:
            _same_model("watchlist", (entry.embedder, entry.version), embedding)
        ranked: tuple[Candidate, ...] = ()
        if live:
            gallery = np.stack([row for _, row in live])
            scores = score_pairs(np.broadcast_to(embedding.vectors, gallery.shape), gallery)
            best = np.argsort(-scores, kind="stable")[:top]
            best = best[scores[best] >= (-np.inf if threshold is None else threshold)]
            ratios = calibration.likelihood_ratio(scores[best], level=level)
            ranked = tuple(
                _candidate(rank, live[place][0], scores[place], ratios, rank - 1) for rank, place in enumerate(best, 1)
            )
        return CandidateList(
            candidates=ranked,
            gallery_size=len(live),
            probe_quality=float(embedding.quality[0]),
            probe_note=embedding.notes[0] if embedding.notes else "",
            embedder=embedding.embedder,
            version=embedding.version,
            calibration=calibration.summary(),
            level=level,
            caveats=caveats(calibration, gallery_size=len(live), top=len(ranked)),
        )

    def purge(self, at: datetime | None = None, *, held: Collection[str] = ()) -> int:
        """Delete the entries that expired before ``at`` (now by default) and return how many they were.

        Parameters
        ----------
        held : records that a legal hold keeps; expired, they appear in no search.
        """
        return self._delete({record for record in self.expired(at) if record not in held})

    def expired(self, at: datetime | None = None) -> list[str]:
        """Return the records that expired before ``at`` (now by default)."""
        at = at or self._clock()
        return [entry.record for entry in self.entries() if self._expired(entry, at)]

    def remove(self, record: str) -> None:
        """Delete one entry before its time.

        Raises
        ------
        NotFoundError : no such record.
        """
        if not self._delete({record}):
            raise NotFoundError(f"no record {record!r} in this watchlist")

    def _delete(self, records: Collection[str]) -> int:
        with self._store.transaction():
            gone = [document["id"] for document in self._store.find(_TABLE) if document["record"] in records]
            for id in gone:
                self._store.delete(_TABLE, id)
        return len(gone)

    @staticmethod
    def _expired(entry: Entry, at: datetime) -> bool:
        return at.date() > entry.expires

    def _add(
        self,
        embeddings: Embeddings,
        rows: Sequence[int],
        subjects: Sequence[str | None],
        shared: dict[str, str | None],
        expires: date | None,
    ) -> list[Entry]:
        at = self._clock()
        if not isinstance(expires, date):
            raise RefusedError(f"watchlist entry: expires is missing (got {expires!r}), expected the last day, a date")
        last = expires.date() if isinstance(expires, datetime) else expires
        if last < at.date():
            raise RefusedError(f"watchlist entry: expires is {last}, expected {at.date()} or later")
        added = []
        with self._store.transaction():
            for document in self._store.find(_TABLE)[:1]:
                entry, _ = self._open(document)
                _same_model("watchlist", (entry.embedder, entry.version), embeddings)
            for row, subject in zip(rows, subjects, strict=True):
                quality = float(embeddings.quality[row])
                entry = Entry(
                    record=secrets.token_hex(12),
                    **_required({"subject": subject} | shared),
                    added_at=to_iso(at),
                    expires=last,
                    quality=quality if np.isfinite(quality) else None,
                    embedder=embeddings.embedder,
                    version=embeddings.version,
                    minor=bool(shared.get("minor_approval")),
                )
                sealed = self._seal(entry, embeddings.vectors[row])
                self._store.insert(_TABLE, {"record": entry.record, "sealed": sealed})
                added.append(entry)
        return added

    def _opened(self) -> list[tuple[Entry, Float32Array]]:
        return [self._open(document) for document in self._store.find(_TABLE)]

    def _seal(self, entry: Entry, template: Float32Array) -> str:
        head = canonical_json(entry.to_dict())
        plain = len(head).to_bytes(4, "big") + head + np.asarray(template, dtype="<f4").tobytes()
        nonce = secrets.token_bytes(12)
        return base64.b64encode(nonce + self._box.encrypt(nonce, plain, _DOMAIN + entry.record.encode())).decode()

    def _open(self, document: dict[str, Any]) -> tuple[Entry, Float32Array]:
        """Return entry and template of a stored record, or say that it is not what was written."""
        try:
            record, sealed = str(document["record"]), base64.b64decode(document["sealed"], validate=True)
            plain = self._box.decrypt(sealed[:12], sealed[12:], _DOMAIN + record.encode())
        except (InvalidTag, KeyError, TypeError, ValueError) as error:
            raise IntegrityError(
                f"watchlist record {document.get('id')}: altered, exchanged, or sealed with another key; "
                "restore it from a backup or open with the right key"
            ) from error
        end = 4 + int.from_bytes(plain[:4], "big")
        head = json.loads(plain[4:end])
        entry = Entry(**head | {"expires": date.fromisoformat(head["expires"])})
        return entry, np.frombuffer(plain[end:], dtype="<f4")


def _required(given: dict[str, str | None]) -> dict[str, str]:
    for name, value in given.items():
        if not isinstance(value, str) or not value.strip():
            raise RefusedError(
                f"watchlist entry: {name} is missing (got {value!r}), expected words; each entry needs one"
            )
    return {name: str(value).strip() for name, value in given.items()}


def _minor(minor: bool, approval: str | None) -> dict[str, str | None]:
    """Return what a child's entry needs besides; an approval without a child is a mistake somewhere."""
    if not minor and approval is not None:
        raise RefusedError("watchlist entry: got an approval for a child, expected minor=True with it")
    return {"minor_approval": approval} if minor else {}


def _same_model(what: str, known: tuple[str, str], given: Embeddings) -> None:
    if known != (given.embedder, given.version):
        raise RefusedError(
            f"{what}: got templates of {given.embedder} {_short(given.version)}, expected {known[0]} "
            f"{_short(known[1])}; templates of different models can't be compared: embed again with the same one"
        )


def _short(version: str) -> str:
    weights, plus, rest = version.partition("+")
    return weights[:12] + plus + rest


def _candidate(rank: int, entry: Entry, score: float, ratios: Any, place: int) -> Candidate:
    return Candidate(
        rank=rank,
        subject=entry.subject,
        record=entry.record,
        score=float(score),
        likelihood_ratio=float(ratios.lr[place]),
        lr_low=float(ratios.low[place]),
        lr_high=float(ratios.high[place]),
        at_limit=bool(ratios.clamped[place]),
        quality=entry.quality,
        category=entry.category,
        source=entry.source,
        expires=entry.expires,
    )
