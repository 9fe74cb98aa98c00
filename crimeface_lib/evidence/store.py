"""The evidence store: originals that can't change, derivatives that name their parents, custody of every use.

Content and records lie encrypted in a vault, each under its hash; a document store holds opaque ids and states. Each
use is an event in a ledger that can't be edited, so the ledger holds opaque ids only: the intake event commits to the
item's record through a salted hash, and an erasure destroys the keys of content, record and salt. What remains then
says that there was an item, and who did what when, and nothing of what it was.

An intake, an alteration and an erasure each touch several places. All leave a mark first, so that one which was
interrupted is undone or completed when the store is opened again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from crimeface_lib.core.clock import Clock, utc_now
from crimeface_lib.core.errors import InputError, RefusedError
from crimeface_lib.evidence.changes import Changes
from crimeface_lib.evidence.custody import Custody, account_of, check_words, plain_parameters, require
from crimeface_lib.evidence.intake import Incoming, hash_file, intake_row, list_files, show_name
from crimeface_lib.evidence.items import EvidenceItem, EvidenceReport, Intake
from crimeface_lib.evidence.package import write_package
from crimeface_lib.evidence.processes import Process
from crimeface_lib.evidence.records import Records, Row, Tell
from crimeface_lib.evidence.uses import Uses
from crimeface_lib.storage import Checkpoint, DocumentStore, KeyRing, Ledger, TinyDocuments, Vault
from crimeface_lib.storage.locking import file_lock, held
from crimeface_lib.storage.vault import Source

#: Id and case of an item → what holds it besides the holds placed here.
LegalHolds: TypeAlias = Callable[[str, str | None], tuple[str, ...]]
_BATCH = 64  # files whose records are written together


class EvidenceStore(Uses):
    """Items of evidence with their chain of custody.

    Each method that brings in, shows, alters, passes on or removes anything of an item writes exactly one event, with
    who and for what purpose. Events can't be erased: put no names of persons into ``actor``, ``purpose`` or
    ``recipient`` other than those of the staff who act.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> store = EvidenceStore.open(folder / "evidence", keys=KeyRing.open(folder / "keys.json"))
    >>> photo = store.add(b"a photo", actor="ada", purpose="intake", kind="photo", name="AB/1", case="C-7")
    >>> store.get(photo.id, actor="ben", purpose="reconstruction")
    b'a photo'
    >>> list(store.custody(photo.id).to_frame().event)
    ['collection', 'consultation']
    """

    def __init__(
        self, path: Path, *, keys: KeyRing, clock: Clock, documents: DocumentStore | None,
        person_of: Callable[[str], str], legal_holds: LegalHolds,
    ) -> None:  # fmt: skip
        self._clock, self._legal_holds = clock, legal_holds
        self._vault = Vault.open(path / "vault", keys=keys)
        documents = documents or TinyDocuments.open(path / "records.json")
        self._records = Records(documents, self._vault, keys)
        ledger = Ledger.open(path / "custody.jsonl", signing_key=keys.signing_key)
        self._custody = Custody(ledger, clock=clock, person_of=person_of)
        self._changes = Changes(self._records, self._vault, self._custody, clock)
        self._lock = file_lock(path / "evidence")

    @classmethod
    def open(
        cls,
        path: str | Path,
        *,
        keys: KeyRing,
        clock: Clock = utc_now,
        documents: DocumentStore | None = None,
        person_of: Callable[[str], str] = account_of,
        legal_holds: LegalHolds = lambda id, case: (),
    ) -> EvidenceStore:
        """Open the store in the folder ``path``, made if need be; what was interrupted is undone or completed.

        Parameters
        ----------
        documents : where ids and states lie; a TinyDB file in the folder by default.
        person_of : the person behind an account, so that a second account of a holder is no other person.
        legal_holds : id and case of an item → holds placed elsewhere, on a case say; they win over a deletion too.
        """
        path = Path(path).resolve()
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        store = cls(path, keys=keys, clock=clock, documents=documents, person_of=person_of, legal_holds=legal_holds)
        with held(store._lock):
            store._records.migrate()
            store._changes.recover()
        return store

    # -- in ------------------------------------------------------------------------------------------------
    def add(
        self,
        source: Source,
        *,
        actor: str,
        purpose: str,
        kind: str,
        name: str | None = None,
        case: str | None = None,
        description: str | None = None,
        tags: Sequence[str] = (),
        parents: Sequence[str] = (),
        tool: str | None = None,
    ) -> EvidenceItem:
        """Take in an original, or a derivative of items that are here.

        The same content in the same case is one item: it is returned as it was recorded, and the intake is logged.
        What a picture says of itself (EXIF, GPS) is read into the item's ``metadata``; the original keeps all of it.

        Parameters
        ----------
        source : bytes, a path, or a binary file that can seek.
        kind : what it is, e.g. ``photo``.
        name, case : exhibit and case reference.
        description, tags : what there is to say of it; ``amend`` may change it later.
        parents : ids or SHA-256 of the items that this one was made from.
        tool : name and version of what made a derivative; ``derive`` records more, so that it can be repeated.

        Raises
        ------
        RefusedError : a derivative (it has a tool, or is of kind ``derivative``) without a parent; the content is here
            already as another kind of thing; the path is a link or a device.
        NotFoundError : a parent is not in the store.
        InputError : no actor, purpose or kind; the file can't be read.
        """
        require(actor=actor, purpose=purpose, kind=kind)
        with held(self._lock):
            ancestors = [self._records.parent(parent, case=case) for parent in parents]
            if (tool is not None or kind == "derivative") and not ancestors:
                raise RefusedError("got a derivative without a parent; name the ids or hashes of what it was made from")
            record = Row(kind=kind, name=name, case=case, parents=ancestors, tool=tool)
            if isinstance(source, str | Path):
                record["filename"] = show_name(Path(source).name)
            return self._enter_one(Incoming(source, record, _notes(description, tags)), actor=actor, purpose=purpose)

    def add_files(
        self,
        paths: Sequence[str | Path],
        *,
        actor: str,
        purpose: str,
        kind: str,
        case: str | None = None,
        description: str | None = None,
        tags: Sequence[str] = (),
        progress: Callable[[int, int], None] | None = None,
    ) -> Intake:
        """Take in files and folders, folders with all that is in them; one event for each file taken in.

        One bad file doesn't stop the rest: it is in the result, with the reason. Links are refused. To go on after an
        interruption do the same again: content that this case has already is passed over.

        Parameters
        ----------
        progress : called with the number of files done and the number of all.
        """
        require(actor=actor, purpose=purpose, kind=kind)
        notes, files = _notes(description, tags), list_files(paths)
        if not files:
            raise InputError("got no file; give files, or folders that have some")
        rows: list[Row] = []
        for start in range(0, len(files), _BATCH):
            batch = files[start : start + _BATCH]
            with held(self._lock):
                rows += self._enter_batch(batch, case=case, kind=kind, notes=notes, actor=actor, purpose=purpose)
            if progress:
                progress(len(rows), len(files))
        return Intake(tuple(rows))

    def derive(
        self,
        parents: Sequence[str],
        *,
        process: Process,
        parameters: Mapping[str, Any] | None = None,
        actor: str,
        purpose: str,
        kind: str,
        name: str | None = None,
        case: str | None = None,
        description: str | None = None,
        tags: Sequence[str] = (),
    ) -> EvidenceItem:
        """Make a derivative by running ``process`` on items that are here, and record what a third party needs to
        repeat it: name, version, parameters, environment, tolerance. ``replay_package`` repeats it.

        Parameters
        ----------
        parents : ids or SHA-256, in the order in which the process takes them.
        parameters : keywords of the process, of what JSON can hold.
        """
        require(actor=actor, purpose=purpose, kind=kind)
        plain = plain_parameters(parameters or {})
        with held(self._lock):
            ancestors = [self._records.parent(parent, case=case) for parent in parents]
            if not ancestors:
                raise RefusedError("got a derivative without a parent; name the ids or hashes of what to make it from")
            contents = [self._vault.read(self._records.record(id)["sha256"]) for id in ancestors]
            made = process.run(contents, **plain)
            said = {
                "name": process.name, "version": process.version, "parameters": plain,
                "environment": process.environment(), "tolerance": process.tolerance,
            }  # fmt: skip
            tool = f"{process.name} {process.version}"
            record = Row(kind=kind, name=name, case=case, parents=ancestors, tool=tool, process=said)
            return self._enter_one(Incoming(made, record, _notes(description, tags)), actor=actor, purpose=purpose)

    def amend(
        self,
        id: str,
        *,
        actor: str,
        purpose: str,
        description: str | None = None,
        tags: Sequence[str] | None = None,
    ) -> EvidenceItem:
        """Change what is said of an item, its description and tags; an alteration. What came in never changes.

        Parameters
        ----------
        description, tags : the new ones; None leaves them as they are.
        """
        require(actor=actor, purpose=purpose)
        with held(self._lock):
            row = self._records.row(id)
            before = self._records.open(row["notes"]) if row.get("notes") else {}
            after = _notes(
                before.get("description") if description is None else description,
                before.get("tags", ()) if tags is None else tags,
            )
            self._changes.amend(row, after, actor=actor, purpose=purpose)
            return self._records.item(self._records.row(id))

    # -- out -----------------------------------------------------------------------------------------------
    def export(
        self,
        out: str | Path,
        *,
        actor: str,
        purpose: str,
        items: Iterable[str] | None = None,
        recipient: str | None = None,
    ) -> Path:
        """Write items, decrypted, into a new folder or zip that proves itself; a disclosure of all of them.

        ``verify_package`` checks it against a checkpoint that went another way: the file ``ledger/checkpoint.json``
        of this package, handed over separately, or any earlier one that ``checkpoint`` gave.

        Parameters
        ----------
        out : a folder; or one file, if its name ends in ``.zip``.
        items : ids; all items by default.
        recipient : who will get it.
        """
        require(actor=actor, purpose=purpose)
        with held(self._lock):
            rows = self._records.live() if items is None else [self._records.row(id) for id in dict.fromkeys(items)]
            if not rows:
                raise InputError("got no items to export; add some, or name those you want")
            ids = [row["item"] for row in rows]
            return write_package(
                Path(out).resolve(),
                items={row["item"]: self._records.openings(row) for row in rows},
                vault=self._vault,
                ledger=self._custody.ledger,
                proven_sizes=[row["size"] for row in self._records.documents.find("checkpoint")],
                checkpoint=self.checkpoint,
                log=lambda digest: self._custody.log(
                    "disclosure", actor, purpose, ids, recipient=recipient, package=digest
                ),
            )

    # -- holds and erasure ---------------------------------------------------------------------------------
    def hold(self, id: str, *, actor: str, purpose: str) -> None:
        """Forbid the deletion of an item until another person releases it."""
        with held(self._lock):
            self._use("hold", id, actor=actor, purpose=purpose)

    def release(self, id: str, *, actor: str, purpose: str) -> None:
        """End all holds on an item.

        Raises
        ------
        RefusedError : ``actor`` is one of the holders, under whatever account; the attempt is logged.
        InputError : nobody holds it.
        """
        require(actor=actor, purpose=purpose)
        with held(self._lock):
            self._records.row(id)
            holders = self.holders(id)
            if not holders:
                raise InputError(f"nobody holds item {id}; there is nothing to release")
            if any(self._custody.same_person(actor, holder) for holder in holders):
                message = f"{actor} holds item {id} and can't release it; another person has to"
                raise self._custody.refuse(actor, purpose, id, "release", message)
            self._custody.log("release", actor, purpose, [id])

    def delete(self, id: str, *, actor: str, purpose: str) -> None:
        """Erase an item: destroy the keys of its content, its record and what was said of it; a tombstone remains.

        The content stays where another item, of another case, has the same. Derivatives stay: delete them as well.

        Raises
        ------
        RefusedError : somebody holds the item; the attempt is logged.
        InputError : ``purpose`` repeats something of what is to be erased.
        """
        require(actor=actor, purpose=purpose)
        with held(self._lock):
            row = self._records.row(id)
            item = self._records.item(row)
            if holders := (*self.holders(id), *self._legal_holds(id, item.case)):
                message = f"item {id} is held by {', '.join(holders)}; another person has to release it first"
                raise self._custody.refuse(actor, purpose, id, "erasure", message)
            secret = [item.name, item.case, item.filename, Path(item.filename or "").stem, item.description, *item.tags]
            check_words(f"{actor} {purpose}", secret=secret, hashes=[item.sha256, item.sha512])
            self._changes.erase(row, actor=actor, purpose=purpose)

    # -- proof ---------------------------------------------------------------------------------------------
    def checkpoint(self) -> Checkpoint:
        """Sign the present state of the ledger. Give it to the reviewer: only outside of the store is it of use.

        The store remembers its size, so that a later package can prove that it continues from here.
        """
        checkpoint = self._custody.ledger.checkpoint(at=self._clock())
        documents = self._records.documents
        with documents.transaction():
            if not documents.find("checkpoint", size=checkpoint.size):
                documents.insert("checkpoint", {"size": checkpoint.size})
        return checkpoint

    def verify(
        self, checkpoint: Checkpoint | None = None, *, contents: bool = True, tell: Tell = lambda done, of: None
    ) -> EvidenceReport:
        """Check ledger, records and contents against each other, and the ledger against ``checkpoint``.

        Parameters
        ----------
        checkpoint : one that was kept outside; without it a cut or rewritten ledger can't be seen.
        contents : also read every object through; nobody has to wait for that.
        tell : called before each item with how many are done and how many there are; what it raises ends the check.

        Raises
        ------
        IntegrityError : names what differs.
        """
        with held(self._lock):
            report = self._custody.ledger.verify(checkpoint)
            state = self._custody.state()
            items = self._records.check_all(state)
            unrecorded = len(set(self._vault.ids()) - self._records.addresses())
        if contents:
            self._records.check_contents(tell)
        return EvidenceReport(report.entries, report.root, report.checked_against, items, len(state.erased), unrecorded)

    # -- inside --------------------------------------------------------------------------------------------
    def _enter_one(self, thing: Incoming, *, actor: str, purpose: str) -> EvidenceItem:
        [entered] = self._changes.enter([thing], actor=actor, purpose=purpose)
        if isinstance(entered, Exception):
            raise entered
        return self._records.item(entered)

    def _enter_batch(
        self, batch: Sequence[tuple[str, Path]], *, case: str | None, kind: str, notes: Row, actor: str, purpose: str
    ) -> Sequence[Row]:
        """Take in what this case doesn't have yet; return a row for each file."""
        digests = [_digest(path) for _, path in batch]
        with self._records.indexed():
            known = [self._records.known(digest, case=case) if digest else None for digest in digests]
        new = [at for at, digest in enumerate(digests) if not (known[at] or (digest and digest in digests[:at]))]
        facts = Row(kind=kind, name=None, case=case, parents=[], tool=None)
        incoming = [Incoming(batch[at][1], {**facts, "filename": batch[at][0]}, notes) for at in new]
        entered = dict(zip(new, self._changes.enter(incoming, actor=actor, purpose=purpose), strict=True))
        for at, digest in enumerate(digests):
            if at not in entered and known[at] is None:  # the same content as one before it
                first = entered[digests.index(digest)]
                known[at] = first["item"] if isinstance(first, dict) else None
                entered[at] = first
        return [intake_row(name, known[at], entered.get(at)) for at, (name, _) in enumerate(batch)]


def _digest(path: Path) -> str | None:
    """Return the SHA-256 of a file; None where it can't be read, of which its intake will say why."""
    try:
        return hash_file(path)
    except (InputError, RefusedError):
        return None


def _notes(description: str | None, tags: Sequence[str]) -> Row:
    """Return what is said of an item; nothing at all if there is nothing."""
    if isinstance(tags, str):
        raise InputError(f"tags: got the text {tags!r}, expected a list of words")
    said = Row(description=(description or "").strip(), tags=sorted({tag.strip() for tag in tags} - {""}))
    return said if any(said.values()) else {}
