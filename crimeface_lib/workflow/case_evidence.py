"""The evidence of one case as its page shows it: items, lineage, custody, holds, integrity, a package.

Without a case there is a sample of our own making, in a store of its own that ends with the run: nothing of it enters
the records of real cases.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crimeface_lib.core.errors import ConfigError, InputError, IntegrityError, NotFoundError
from crimeface_lib.core.files import write_atomic
from crimeface_lib.evidence import (
    PROCESSES,
    EvidenceItem,
    EvidenceReport,
    EvidenceStore,
    Intake,
    Lineage,
    PackageReport,
    ReplayReport,
    replay_package,
    verify_package,
)
from crimeface_lib.evidence.parts import find_parts
from crimeface_lib.storage import Checkpoint, KeyRing
from crimeface_lib.workflow.identity import identify

if TYPE_CHECKING:
    import pandas as pd

    from crimeface_lib.workflow.run import Run

SAMPLE = "SAMPLE-1"
_ACTS = {
    "collection": "took in", "derivation": "derived", "combination": "combined", "alteration": "changed what is said",
    "consultation": "looked at", "disclosure": "passed on", "hold": "placed a hold", "release": "released a hold",
    "refusal": "was refused", "erasure": "erased",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class CheckedPackage:
    """A package that was written, checked against a checkpoint that is not in it, and whose derivatives were repeated.

    ``where`` it lies and ``against`` which checkpoint it was checked are words for the page.
    """

    report: PackageReport
    replay: ReplayReport
    where: str
    against: str

    def in_words(self) -> str:
        """Return what the check found, as a sentence."""
        again = self.replay.rows and self.replay.agrees
        repeated = " Its derivatives came out the same when made again." if again else ""
        return f"A package of {self.report.items} items was written and checked byte by byte.{repeated}"

    def replay_table(self) -> pd.DataFrame:
        """Return what came of each derivative that was made again, with short ids."""
        frame = self.replay.to_frame()
        return frame.assign(item=frame["item"].str[:8])

    def to_frame(self) -> pd.DataFrame:
        """Return what the check found: finding, value."""
        import pandas as pd

        said = self.report
        rows = [
            ("where it is", self.where), ("items", said.items), ("custody events in it", said.events),
            ("files", said.files), ("bytes", said.size), ("exported by", said.actor), ("exported at", said.exported),
            ("every byte as written", True), ("checkpoint that it was checked against", self.against),
            ("every derivative made again with the same result", self.replay.agrees),
        ]  # fmt: skip
        return pd.DataFrame(rows, columns=["finding", "value"])


@dataclass(frozen=True, slots=True)
class CaseEvidence:
    """The evidence of one case in an open run; use ``CaseEvidence.open``. Each look is a consultation in the custody
    record, by whoever runs the page."""

    run: Run
    store: EvidenceStore
    case: str
    sample: bool
    intake: Intake
    items: tuple[EvidenceItem, ...] = field(repr=False)
    held: Checkpoint | None = field(repr=False)

    @classmethod
    def open(cls, run: Run) -> CaseEvidence:
        """Open the case that a run's config names, after taking in the files that it names; or make the sample.

        Raises
        ------
        RefusedError : the account keeps no evidence. NotFoundError : the case has none.
        ConfigError : files or a package without a case.
        """
        cfg: Any = run.cfg
        if cfg.case is None:
            if cfg.files or cfg.package or cfg.checkpoint:
                raise ConfigError("case: got none, expected the case that the files, package or checkpoint belong to")
            return _open_sample(run)
        user = identify(run.store, run.actor, environ=os.environ)
        run.store.people.require(user, "keep_evidence")
        store, intake = run.store.evidence, Intake(())
        held = read_checkpoint(cfg.checkpoint) if cfg.checkpoint else None
        if cfg.files:
            run.take_in(cfg.files, role="evidence taken in", evidence=False, pattern="*")
            intake = store.add_files([cfg.files], actor=run.actor, purpose=cfg.purpose, kind=cfg.kind, case=cfg.case)
        return cls._of(run, store, case=cfg.case, sample=False, intake=intake, held=held)

    @classmethod
    def _of(cls, run: Run, store: EvidenceStore, *, case: str, **rest: Any) -> CaseEvidence:
        items = tuple(store.list(case=case, actor=run.actor, purpose=run.cfg.purpose))
        if not items:
            raise NotFoundError(f"case {case!r} has no evidence in this store; take some in with files=FILE or FOLDER")
        return cls(run=run, store=store, case=case, items=items, **rest)

    @property
    def lineage(self) -> Lineage:
        """What each item of the case was made from; an ancestor of another case is there by its id."""
        return Lineage(self.case, {item.id: item.parents for item in self.items}, {i.id: i for i in self.items})

    def item_table(self) -> pd.DataFrame:
        """Return one row an item. File names are left out: they can hold a person's name."""
        import pandas as pd

        rows = [
            (item.id[:8], item.kind, item.name or "", f"{item.added:%F %T}", item.size,
             ", ".join(parent[:8] for parent in item.parents) or "original", item.tool or "")
            for item in self.items
        ]  # fmt: skip
        columns = ["item", "kind", "exhibit", "came in (UTC)", "bytes", "made from", "made by"]
        return pd.DataFrame(rows, columns=columns)

    def hash_table(self) -> pd.DataFrame:
        """Return the hash of each content at its intake: item, SHA-256."""
        import pandas as pd

        return pd.DataFrame([(i.id[:8], i.sha256) for i in self.items], columns=["item", "SHA-256"])

    def intake_table(self) -> pd.DataFrame:
        """Return what became of each file of the intake: outcome, files, reason."""
        import pandas as pd

        frame = self.intake.to_frame()
        if frame.empty:
            return pd.DataFrame(columns=["outcome", "reason", "files"])
        return frame.groupby(["outcome", "reason"], as_index=False).agg(files=("path", "size"))

    def header_table(self) -> pd.DataFrame:
        """Return what the headers of the files say of themselves, EXIF and GPS: item, field, value."""
        import pandas as pd

        frames = [item.to_frame().assign(item=item.id[:8]) for item in self.items if item.metadata]
        if not frames:
            return pd.DataFrame(columns=["item", "field", "value"])
        table = pd.concat(frames)
        table = table[table["field"].str.startswith("metadata.")]
        said = table["field"].str.removeprefix("metadata.").str.replace(".", " › ", regex=False)
        return table.assign(field=said)[["item", "field", "value"]].reset_index(drop=True)

    def custody(self) -> pd.DataFrame:
        """Return the custody events of the case's items in order, with short ids: a row an event and item."""
        import pandas as pd

        ids = {item.id for item in self.items}
        frame = self.store.custody().to_frame()
        frame = frame[frame["item"].isin(ids)]
        return frame.assign(time=pd.to_datetime(frame["time"]).dt.floor("s"), item=frame["item"].str[:8])

    def people_table(self) -> pd.DataFrame:
        """Return who did what: account, what, how often, first and last time."""
        events = self.custody().drop_duplicates("index")
        events = events.assign(did=events["event"].map(_ACTS).fillna(events["event"]))
        groups = events.groupby(["actor", "did"], sort=False)["time"]
        counted = groups.agg(times="size", first="min", last="max").reset_index()
        return counted.rename(columns={"actor": "account"})

    def hold_table(self) -> pd.DataFrame:
        """Return what forbids a deletion: item, held by; legal holds on the case or on things of it besides."""
        import pandas as pd

        rows = [(item.id[:8], f"account {who}") for item in self.items for who in self.store.holders(item.id)]
        if not self.sample:
            for item in self.items:
                holds = self.run.store.disposer.holds_on(f"evidence:{item.id}", case=self.case)
                rows += [(item.id[:8], hold) for hold in holds]
        return pd.DataFrame(rows, columns=["item", "held by"])

    def verify(self) -> EvidenceReport:
        """Check ledger, records and every content against each other, and against the checkpoint that was held.

        Raises
        ------
        IntegrityError : names what differs.
        """
        return self.store.verify(self.held)

    def check_table(self, found: EvidenceReport) -> pd.DataFrame:
        """Return what a check went through, all of it in order: what, how many."""
        import pandas as pd

        rows = [
            ("items of the store, contents read and hashed", found.items), ("custody events", found.events),
            ("of which under the checkpoint that was held", found.checked_against),
            ("erased items, of which nothing is left", found.erased),
            ("stored objects that belong to no item", found.unrecorded),
        ]  # fmt: skip
        return pd.DataFrame(rows, columns=["what", "how many"]).astype({"how many": "Int64"})

    def in_words(self, found: EvidenceReport) -> str:
        """Return what a check found, as a sentence."""
        held = self.held
        against = (
            f"and the custody record still begins with the {held.size} events of the checkpoint held since "
            f"{held.at[:10]}"
            if held
            else "but no checkpoint was held elsewhere, so a record rewritten as a whole would not be noticed"
        )
        return f"Every content, record and event of the store ({found.items} items) is as it came in, {against}."

    def cannot_say(self) -> tuple[str, ...]:
        """Return what a reader has to know besides."""
        held = () if self.held else (
            "Whether the custody record was rewritten as a whole: no checkpoint held elsewhere was given. The "
            "checkpoint.json of an earlier run, kept by a reviewer, is one.",
        )  # fmt: skip
        return (*held, "Anything about a real case: this is a sample.") if self.sample else held

    def export(self) -> CheckedPackage | None:
        """Write the case into a package and check that as its recipient would; None where no place is named for it.

        The checkpoint goes into the run's files, to be handed over another way than the package. It is a disclosure.
        """
        cfg: Any = self.run.cfg
        if self.sample:
            target, where = self.run.folder / "files" / "sample-package.zip", "files/sample-package.zip of this run"
        elif cfg.package:
            target, where = cfg.package, "the place that was named for it"
        else:
            return None
        written = self.store.export(
            target, actor=self.run.actor, purpose=cfg.purpose, items=[item.id for item in self.items],
            recipient=cfg.recipient,
        )  # fmt: skip
        own = find_parts(written)["ledger/checkpoint.json"].read()
        self.run.export(_Written(own), "package-checkpoint.json")
        if self.sample:
            self.run.export(_Written(None), target.name)
        held = self.held or Checkpoint.from_dict(json.loads(own))
        against = f"one held since {held.at[:10]}" if self.held else "its own, copied out of it when it was made"
        report, replay = verify_package(written, checkpoint=held), replay_package(written, checkpoint=held)
        return CheckedPackage(report, replay, where, against)


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Return the custody record's checkpoint in a file: that of an export, or the ``checkpoint.json`` of a run.

    Raises
    ------
    InputError : no such file, or no checkpoint in it.
    """
    try:
        content = json.loads(Path(path).read_bytes())
    except (OSError, ValueError) as error:
        raise InputError(f"checkpoint: can't be read ({type(error).__name__})") from error
    if isinstance(content, Mapping):
        content = content.get("custody", content)
    try:
        return Checkpoint.from_dict(content)
    except IntegrityError as error:
        raise InputError(f"checkpoint: {error}") from error


@dataclass(frozen=True, slots=True)
class _Written:
    """Bytes to be written among a run's files; None for a file that lies there already and is only to be listed."""

    data: bytes | None

    def export(self, path: Path) -> list[Path]:
        if self.data is not None:
            write_atomic(path, self.data)
        return [path]


def _open_sample(run: Run) -> CaseEvidence:
    """Make the sample case: a public-domain portrait turned on its side, a note, two derivatives, a hold."""
    folder = run.scratch("sample")
    inputs = folder / "files"
    if not inputs.exists():
        _write_sample(inputs)
    run.take_in(inputs, role="sample files", evidence=False, pattern="*")
    store = EvidenceStore.open(folder / "evidence", keys=KeyRing.open(folder / "keys.json"))
    officer = {"actor": "sample-officer", "purpose": "sample: scene examination", "case": SAMPLE}
    intake = store.add_files([inputs], kind="file", description="sample", **officer)
    photo = next(row["item"] for row in intake.rows if row["path"].endswith(".jpg"))
    if not (folder / "held.json").exists():
        examiner = {"actor": "sample-examiner", "purpose": "sample: preparing the picture"}
        made = {"kind": "derivative", "case": SAMPLE, **examiner}
        upright = store.derive([photo], process=PROCESSES["image.upright"], name="SAMPLE-1/1a", **made)
        box = {"box": [130, 0, 330, 230]}
        store.derive([upright.id], process=PROCESSES["image.crop"], parameters=box, name="SAMPLE-1/1b", **made)
        (folder / "held.json").write_text(json.dumps(store.checkpoint().to_dict()))
        store.get(photo, **examiner)
        store.hold(photo, actor="sample-custodian", purpose="sample: needed in court")
        store.amend(photo, actor="sample-officer", purpose="sample: a tag was missing", tags=["portrait", "sample"])
    held = read_checkpoint(folder / "held.json")
    return CaseEvidence._of(run, store, case=SAMPLE, sample=True, intake=intake, held=held)


def _write_sample(folder: Path) -> None:
    """Write the sample files: the portrait with EXIF of our own invention, lying on its side, and a note."""
    from PIL import Image
    from skimage import data

    folder.mkdir(parents=True)
    picture = Image.fromarray(data.astronaut()).transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x010F], exif[0x0110], exif[0x0112] = "crimeface", "sample camera", 6  # make, model, orientation
    exif.get_ifd(0x8769)[0x9003] = "2026:01:01 12:00:00"  # taken
    exif.get_ifd(0x8825).update({1: "N", 2: (29.0, 33.0, 32.0), 3: "W", 4: (95.0, 5.0, 20.0)})
    buffer = BytesIO()
    picture.save(buffer, format="JPEG", quality=92, exif=exif)
    (folder / "portrait.jpg").write_bytes(buffer.getvalue())
    (folder / "note.txt").write_text("A sample: a public-domain portrait (NASA), EXIF made up by crimeface.\n")
