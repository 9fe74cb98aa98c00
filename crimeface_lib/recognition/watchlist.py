"""An encrypted watchlist: each entry sealed on its own, lawful by its fields, gone when it expires.

How a record lies on disk, and what that tells without the key, is written in ``sealed``. Encryption is not
irreversibility: whoever has the key has the templates.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Literal

from crimeface_lib.core.clock import Clock, utc_now
from crimeface_lib.core.errors import InputError, IntegrityError, NoFaceError, RefusedError
from crimeface_lib.core.types import Float32Array
from crimeface_lib.recognition.calibrate import Calibration
from crimeface_lib.recognition.candidates import CandidateList
from crimeface_lib.recognition.embed import Embeddings
from crimeface_lib.recognition.enrolment import Enroller, Enrolment, check_policy, entries_to_be, minor_facts
from crimeface_lib.recognition.gallery import Gallery, only_probe
from crimeface_lib.recognition.locked import LockedRows
from crimeface_lib.recognition.records import Record, Records, require_whole
from crimeface_lib.recognition.rotation import Rotation, turn, turn_back
from crimeface_lib.recognition.sealed import Entry, Head, Seals, plain_words
from crimeface_lib.recognition.search import Progress
from crimeface_lib.recognition.transfer import Transfer, export_records, import_records
from crimeface_lib.storage import DocumentStore, TinyDocuments


class Watchlist:
    """Open with ``Watchlist.open(folder, key=…)``.

    The JSON file of a folder holds up to 10,000 entries; for more, give a database as ``documents``
    (``storage.open_documents("sqlite:///…")``).
    """

    def __init__(
        self, store: DocumentStore, *, key: bytes, clock: Clock = utc_now, rotation: Rotation | None = None
    ) -> None:
        self._records, self._clock, self._rotation = Records(store, key=key), clock, rotation
        head = self._records.head()
        if head is not None and len(head) and head.rotation != ("" if rotation is None else rotation.id):
            raise RefusedError("watchlist: its templates are turned by another rotation; open it with that one")

    @classmethod
    def open(
        cls,
        store: str | Path,
        *,
        key: bytes,
        clock: Clock = utc_now,
        documents: DocumentStore | None = None,
        rotation: Rotation | None = None,
        purge: bool = True,
    ) -> Watchlist:
        """Open the watchlist in the folder ``store``, made with the first entry; expired entries are purged.

        Parameters
        ----------
        key : 32 bytes, from ``storage.KeyRing.derive``.
        clock : tells when entries are added and expire.
        documents : where the sealed records lie; a JSON file in the folder by default.
        rotation : the turn of this application, from ``template_rotation``; templates are kept turned by it.
        purge : False where the caller knows of legal holds and purges itself.

        Raises
        ------
        InputError : a key of another length. IntegrityError : another key. RefusedError : the list was made with
            another rotation.
        """
        documents = documents or TinyDocuments.open(Path(store) / "entries.json")
        found = cls(documents, key=key, clock=clock, rotation=rotation)
        if purge:
            found.purge()
        return found

    def __repr__(self) -> str:
        return f"<Watchlist of {len(self)} entries>"

    def __len__(self) -> int:
        head = self._records.head()
        return 0 if head is None else len(head)

    @property
    def digest(self) -> str:
        """What identifies the list as it is now, for an audit log: it changes with each entry and gives none away."""
        head = self._records.head()
        return self._records.seals.label("digest", "" if head is None else f"{len(head)} {head.total:x}")

    # -- enrolment -----------------------------------------------------------------------------------------
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
        photo: str = "",
        duplicate_score: float | None = None,
    ) -> Entry:
        """Add one entry; each field is required by law or policy, so a missing one is refused by name.

        Parameters
        ----------
        embedding : of exactly one image; its quality and model are kept with the entry.
        source : where the photo lawfully comes from. rationale : why the person is on the list.
        expires : last day of the entry, not in the past.
        minor : the person is a child; then ``minor_approval``, the reference of the extra approval, is needed too.
        photo : SHA-256 of the photo, if known.
        duplicate_score : refuse a template that scores this much with that of another subject.

        Raises
        ------
        RefusedError : a field is missing, the entry would already have expired, the list holds templates of another
            model, or it holds this photo or template (``enrol_many`` reports those of other subjects instead).
            NoFaceError : the image has no template.
        """
        if len(embedding) != 1:
            raise InputError(f"embedding: got {len(embedding)} images, expected 1; enrol_many takes more")
        if embedding.failures:
            raise NoFaceError(f"not enrolled: {embedding.failures[0]}")
        facts = {"source": source, "rationale": rationale, "category": category, "added_by": added_by}
        facts |= minor_facts(minor, minor_approval)
        new = entries_to_be(embedding, [0], [subject], [photo], expires=expires, at=self._clock(), facts=facts)
        told = self._enroller("refuse", duplicate_score).add(embedding, [0], new)
        if told.present:
            raise RefusedError("watchlist entry: this photo is there under this name; remove that entry first")
        return new[0]

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
        photos: Sequence[str] | None = None,
        duplicates: str = "report",
        duplicate_score: float | None = None,
        batch: int = 1000,
        progress: Progress | None = None,
    ) -> Enrolment:
        """Add one entry for each image that has a template and is not there under its name; tell of the others.

        Each batch is on the disk or not at all. Interrupted and called again, it goes on where it was.

        Parameters
        ----------
        subjects : N names; ``embeddings.subjects`` by default. The other fields hold for all: see ``enrol``.
        photos : N SHA-256 of the photos, by which a photo is known again; the template itself by default.
        duplicates : what becomes of images that resemble somebody under another name: "report" them in the result,
            "skip" them, or "refuse" to enrol anything. The same photo or template always counts.
        duplicate_score : a score from which two templates count as well; this compares each new template with all.
        progress : called with how many are done, and of how many.

        Raises
        ------
        RefusedError, InputError : as ``enrol``, before anything is written; as many names as images are needed.
        """
        names = list(subjects if subjects is not None else embeddings.subjects)
        shas = list(photos if photos is not None else [""] * len(embeddings))
        for what, given in (("subjects", names), ("photos", shas)):
            if len(given) != len(embeddings):
                raise InputError(f"{what}: got {len(given)}, expected {len(embeddings)}, one for each image")
        if batch < 1:
            raise InputError(f"batch: got {batch}, expected at least 1")
        rows = [i for i in range(len(embeddings)) if i not in embeddings.failures]
        facts = {"source": source, "rationale": rationale, "category": category, "added_by": added_by}
        facts |= minor_facts(minor, minor_approval)
        new = entries_to_be(
            embeddings, rows, [names[i] for i in rows], [shas[i] for i in rows], expires=expires, at=self._clock(),
            facts=facts,
        )  # fmt: skip
        return self._enroller(duplicates, duplicate_score, batch, progress).add(embeddings, rows, new)

    def known(self, subjects: Iterable[str]) -> set[str]:
        """Return which of these subjects are on the list; no entry is opened."""
        labels = {self._records.seals.label("subject", plain_words(name)): name for name in subjects}
        return {labels[record["who"]] for record in self._records.found("who", set(labels))[0]}

    def _enroller(
        self, policy: str, score: float | None, batch: int = 1000, progress: Progress | None = None
    ) -> Enroller:
        check_policy(policy, score)
        return Enroller(self._records, self._rotation, self.opened, policy, score, batch, progress)

    # -- reading -------------------------------------------------------------------------------------------
    def entries(self, *, damaged: str = "refuse") -> list[Entry]:
        """Return what is known of each entry, in order of enrolment; no template is opened.

        Parameters
        ----------
        damaged : "refuse", or "skip" to list the others where records are damaged or missing.

        Raises
        ------
        IntegrityError : another key, or damaged records.
        """
        seals = self._records.seals

        def read(head: Head | None) -> list[Entry]:
            found: list[Entry] = []
            if head is not None:
                wrong = self._records.walk(head, lambda record: found.append(seals.about(record, head=head)))
                require_whole(wrong, head, damaged)
            return found

        return self._records.steady(read)

    def entry(self, record: str) -> Entry:
        """Return what is known of one entry. Raises NotFoundError, or IntegrityError if it is damaged."""
        found, head = self._records.by_name(record), self._records.head()
        assert head is not None
        return self._records.seals.about(found, head=head)

    def check(self) -> tuple[str, ...]:
        """Return what is wrong with the records, template and all: damaged, missing, put back; or nothing."""

        def read(head: Head | None) -> tuple[str, ...]:
            return () if head is None else self._records.walk(head, lambda r: self._records.verify(r, head=head))

        return self._records.steady(read)

    def opened(self, *, index: str = "exact", damaged: str = "refuse") -> Gallery:
        """Return the list as it is now with its templates open, for many searches; use it in a ``with`` block.

        Nobody is kept from writing. What is removed meanwhile is still found until the list is opened again; what
        expires is not.

        Parameters
        ----------
        index : "exact", or "faiss" ("faiss-ivf", "faiss-hnsw"): approximate, its recall is told with each list.
        damaged : "refuse", or "skip" to search the others where records are damaged or missing.

        Raises
        ------
        IntegrityError : another key, or damaged records. MissingBackendError : FAISS is not installed.
        """

        def read(head: Head | None) -> tuple[Head | None, LockedRows, list[Record], tuple[str, ...]]:
            if head is None:
                return None, LockedRows(0, 0), [], ()
            rows = LockedRows(len(head), head.dimension)
            records: list[Record] = []
            wrong = self._records.walk(head, lambda record: self._open_next(record, rows, records, head))
            require_whole(wrong, head, damaged)
            rows.array = rows.array[: len(records)]
            return head, rows, records, wrong

        head, rows, records, wrong = self._records.steady(read)
        return Gallery(
            records, rows, head=head, seals=self._records.seals, clock=self._clock, rotation=self._rotation,
            unreadable=wrong, index=index,
        )  # fmt: skip

    def _open_next(self, record: Record, rows: LockedRows, records: list[Record], head: Head) -> None:
        if len(records) == len(rows.array):
            raise IntegrityError("watchlist: got more records than were enrolled")
        self._records.seals.open_about(record, head=head)  # a candidate needs both
        self._records.seals.open_into(rows.array[len(records)], record, head=head)
        records.append(record | {"sealed": record["sealed"].partition(".")[0]})

    def search(
        self,
        embedding: Embeddings,
        *,
        top: int = 20,
        threshold: float | None = None,
        mode: str | None = None,
        calibration: Calibration | None = None,
        level: float = 0.95,
        index: str = "exact",
        damaged: str = "refuse",
    ) -> CandidateList:
        """Return the most similar entries with likelihood ratios; expired ones never appear.

        Parameters
        ----------
        embedding : of exactly one image; ``opened`` searches for several.
        top : at most so many candidates.
        threshold : entries that score below it are no candidates. Then the list says how often a search for somebody
            who is not on the watchlist would yield one (FPIR).
        mode : "threshold" (needs a threshold) or "rank" (the best, however low; has none). By default, what the
            threshold implies.
        calibration : for this embedder and version; the one that comes with the library by default.
        index, damaged : see ``opened``.

        Raises
        ------
        NoFaceError : the probe has no template. RefusedError : probe, entries and calibration are not of one
            model and version. InputError : ``top`` below 1, more than one probe, or a mode without its threshold.
        IntegrityError : another key, or damaged records.
        """
        only_probe(embedding)
        with self.opened(index=index, damaged=damaged) as gallery:
            found = gallery.search(
                embedding, top=top, threshold=threshold, mode=mode, calibration=calibration, level=level
            )
        return found.lists[0]

    # -- the end of entries --------------------------------------------------------------------------------
    def purge(self, at: datetime | None = None, *, held: Collection[str] = ()) -> int:
        """Delete the entries that expired before ``at`` (now by default) and return how many they were.

        Only expired entries are looked at; one that is damaged stays, and ``check`` names it.

        Parameters
        ----------
        held : records that a legal hold keeps; expired, they appear in no search.
        """
        with self._records.transaction():
            past = self._records.past(self._day(at))
            return self._records.delete(record for record in past if record["record"] not in held)

    def expired(self, at: datetime | None = None) -> list[str]:
        """Return the records that expired before ``at`` (now by default)."""
        return [record["record"] for record in self._records.past(self._day(at))]

    def remove(self, record: str) -> None:
        """Delete one entry before its time.

        Raises
        ------
        NotFoundError : no such record. IntegrityError : it is damaged; see ``forget_damaged``.
        """
        with self._records.transaction():
            self._records.delete([self._records.by_name(record)])

    def forget_damaged(self) -> tuple[str, ...]:
        """Delete the records that can't be read and return what was wrong; restore a backup instead if there is one."""
        return self._records.forget_damaged()

    def _day(self, at: datetime | None) -> int:
        return (at or self._clock()).date().toordinal()

    # -- handing over and renewal --------------------------------------------------------------------------
    def export(self, path: str | Path, *, key: bytes) -> Transfer:
        """Write all entries that have not expired, sealed under the transfer ``key``, into one new file.

        Templates are turned back in it, so that another application can turn them its own way.

        Raises
        ------
        InputError : a key of another length, an empty list, or the file is there already.
        IntegrityError : damaged records; nothing is written.
        """
        return export_records(self._records, Path(path), key=key, rotation=self._rotation, today=self._clock().date())

    def import_package(
        self, path: str | Path, *, key: bytes, batch: int = 1000, progress: Progress | None = None
    ) -> Transfer:
        """Take in the entries of a package that ``export`` wrote; those that are there, or have expired, are counted.

        The package is read through before anything is written. Interrupted and called again, it goes on.

        Raises
        ------
        NotFoundError, InputError : no package. IntegrityError : another key, or the package was changed.
        RefusedError : templates of another model. ShapeError : of another dimension.
        """
        return import_records(
            self._records, Path(path), key=key, rotation=self._rotation, today=self._clock().date(), batch=batch,
            progress=progress,
        )  # fmt: skip

    def renew(self, *, key: bytes | None = None, rotation: Rotation | Literal["keep"] | None = "keep") -> int:
        """Seal every entry anew under another ``key``, turned by another ``rotation``; all or none. Return how many.

        What the old key and the old turn opened is of no use with this list any more; copies and backups of the old
        one are opened by them still.

        Raises
        ------
        IntegrityError : damaged records; nothing was changed.
        """
        new = self._rotation if rotation == "keep" else rotation
        seals = self._records.seals if key is None else Seals(key)
        with self._records.transaction():
            head = self._records.head()
            if head is None:
                raise InputError("got an empty watchlist, expected entries to renew")
            require_whole(self.check(), head, "refuse")

            def turned(rows: Float32Array) -> Float32Array:
                return rows if rotation == "keep" else turn(turn_back(rows, self._rotation), new)

            count = self._records.reseal(head, seals, turned, rotation="" if new is None else new.id)
        self._rotation = new
        return count
