"""Whether the logs, runs and evidence of a store are still what was signed; nothing that doesn't hold ends the look."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from crimeface_lib.core.errors import CrimefaceError, InputError, IntegrityError, NotFoundError
from crimeface_lib.core.hashing import sha256_bytes
from crimeface_lib.core.results import Result
from crimeface_lib.storage import Ledger
from crimeface_lib.workflow.seal import CHECKPOINT, MANIFEST, SIGNATURE, read_heads, read_manifest, verify_run
from crimeface_lib.workflow.store import CaseStore

#: Where a checkpoint is from, and what its file holds.
Held: TypeAlias = tuple[str, bytes]
#: Hears what is looked at, how many of it were, and how many there are.
Tell: TypeAlias = Callable[[str, int, int], object]
_SEALS = {"holds": "as signed", "BROKEN": "not as signed"}


@dataclass(frozen=True, slots=True)
class Finding(Result):
    """What was checked; whether it holds, None where it could not be checked; and why, in words."""

    what: str
    holds: bool | None
    detail: str


def check_store(store: CaseStore, *, held: Iterable[Held] = (), tell: Tell) -> list[Finding]:
    """Check the logs, the seals of all runs and every object of the evidence.

    Parameters
    ----------
    held : checkpoints that were kept outside of this store.
    tell : called before each run and each item of evidence; what it raises ends the check.
    """
    tell("logs", 0, 1)
    found = check_logs(store, held=held)
    found += _check_runs(store, tell)

    def read() -> str:
        report = store.evidence.verify(tell=lambda done, of: tell("contents of evidence", done, of))
        return f"{report.items} items, each read to its end; {report.erased} were erased"

    return [*found, _finding("contents of the evidence", read)]


def check_logs(store: CaseStore, *, held: Iterable[Held] = ()) -> list[Finding]:
    """Check each log by itself, against the checkpoints that runs left, and against those held elsewhere."""
    found = [
        _finding("audit log, by itself", lambda: _counted(store.audit.ledger.verify().entries)),
        _finding("custody log and records of evidence", lambda: _counted(store.evidence.verify(contents=False).events)),
    ]
    key = public_key(store)
    beside = [(path.parent.name, path) for path in sorted(store.settings.reports.glob(f"*/{CHECKPOINT}"))]
    left = [(name, path.read_bytes()) for name, path in beside if signer(path.parent) == key]
    # read anew: an open log remembers what the file was
    ledgers = {"audit": Ledger.open(store.folder / "audit.ledger")}
    ledgers["custody"] = Ledger.open(store.folder / "evidence" / "custody.jsonl")
    for where, files in (("left with the runs", left), ("held elsewhere", list(held))):
        for log, ledger in ledgers.items():
            said = [words for file in files if (words := _compare(file, log, ledger, key=key)) is not None]
            bad = [words for words in said if words]
            detail = bad[0] if bad else f"{len(said)} checkpoints agree" if said else "none was given"
            found.append(Finding(f"{log} log, against checkpoints {where}", not bad if said else None, detail))
    return found


def held_files(checkpoint: Path | None) -> Iterator[Held]:
    """Yield the checkpoint in a file, or all in a folder.

    Raises
    ------
    InputError : there is none.
    """
    if checkpoint is None:
        return
    files = sorted(checkpoint.rglob("*.json")) if checkpoint.is_dir() else [checkpoint]
    if not files or not files[0].is_file():
        raise InputError("checkpoint: got no file, expected a run's checkpoint.json or a folder of such files")
    yield from ((file.parent.name, file.read_bytes()) for file in files)


def own_runs(store: CaseStore) -> dict[str, Path]:
    """Return the folders of runs that this store's key signed, by id: other stores put theirs into the same folder."""
    key = public_key(store)
    folders = [path.parent for path in sorted(store.settings.reports.glob(f"*/{MANIFEST}"))]
    return {folder.name: folder for folder in folders if signer(folder) == key}


def public_key(store: CaseStore) -> str:
    """Return the hexadecimal key that a store's seals are checked with."""
    return store.keys.signing_key.public_key().public_bytes_raw().hex()


def signer(folder: Path) -> str:
    """Return the key that a run's seal names; nothing where there is none to read."""
    try:
        return str(json.loads((folder / SIGNATURE).read_bytes())["key"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def check_seal(folder: Path, key: str, *, status: str) -> tuple[str, str]:
    """Return a word for a run's seal, and what is wrong with it."""
    if status == "interrupted" and not (folder / SIGNATURE).exists():
        return "not sealed", ""
    try:
        verify_run(folder, key=key)
    except IntegrityError as error:
        return "BROKEN", str(error)
    return "holds", ""


def missing_run(store: CaseStore, id: str) -> str:
    """Return why a run that the audit log knows has no report: it has not ended, or was erased; else it is gone."""
    if (store.settings.reports / id).is_dir():
        return "not ended"
    erased = set(store.disposer.tombstones()["item"])
    return "erased by the schedule" if "sha256:" + sha256_bytes(f"report:{id}".encode()) in erased else "gone"


def _check_runs(store: CaseStore, tell: Tell) -> list[Finding]:
    """Return a finding for each run that doesn't hold, and one for all the others."""
    found, key, reports = [], public_key(store), store.settings.reports
    try:
        logged = {e.facts["run"] for e in store.audit.events() if e.event.startswith(("run.", "step."))}
    except IntegrityError:  # said of the log itself
        logged = set()
    runs, words = sorted(logged | set(own_runs(store))), Counter[str]()
    for done, id in enumerate(runs):
        tell("seals of runs", done, len(runs))
        try:
            if (reports / id / MANIFEST).exists():
                word, reason = check_seal(reports / id, key, status=str(read_manifest(reports / id).get("status")))
            else:
                word, reason = missing_run(store, id), "its report is gone without an erasure"
        except (CrimefaceError, KeyError, TypeError, OSError) as error:
            word, reason = "BROKEN", f"its manifest can't be read ({type(error).__name__})"
        words[_SEALS.get(word, word)] += 1
        if word in ("BROKEN", "gone"):
            found.append(Finding(f"run {id}", False, reason))
    said = ", ".join(f"{count} {word}" for word, count in sorted(words.items())) or "there are none"
    return [*found, Finding("runs", not found if runs else None, said)]


def _finding(what: str, check: Callable[[], str]) -> Finding:
    try:
        return Finding(what, True, check())
    except (IntegrityError, NotFoundError) as error:
        return Finding(what, False, str(error))
    except CrimefaceError as error:  # another process keeps the lock, say
        return Finding(what, None, str(error))
    except (OSError, ValueError, KeyError, TypeError) as error:
        return Finding(what, False, f"what is stored can't be read ({type(error).__name__})")


def _counted(events: int) -> str:
    return f"{events} events, each signed and in its place"


def _compare(held: Held, log: str, ledger: Ledger, *, key: str) -> str | None:
    """Return why a log does not continue from a checkpoint; nothing if it does, None if it is of the other log."""
    name, data = held
    try:
        head = read_heads(data, name="it").get(log)
        if head is None:
            return None
        head.verify_signature()
        if head.key != key:
            return f"{name}: signed by another key than this store's"
        if head.size > len(ledger):
            return f"{name}: had {head.size} entries on {head.at[:10]}, and has {len(ledger)} now"
        if ledger.root(head.size).hex() != head.root:
            return f"{name}: its first {head.size} entries are not those of {head.at[:10]}"
    except (OSError, ValueError, KeyError, TypeError, IntegrityError) as error:
        return f"{name}: no checkpoint of the {log} log ({type(error).__name__})"
    return ""
