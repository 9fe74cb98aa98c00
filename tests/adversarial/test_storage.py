"""Attacks on what lies on disk: ledger, encrypted objects, keys, records."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from crimeface_lib.core.errors import CrimefaceError, IntegrityError, RefusedError
from crimeface_lib.evidence import EvidenceStore
from crimeface_lib.storage import Checkpoint, KeyRing, TinyDocuments, Vault

CY = {"actor": "cy", "purpose": "case work"}


def heads(made: Path) -> Checkpoint:
    return Checkpoint.from_dict(json.loads((made / "heads.json").read_bytes())["custody"])


def ledger(target) -> Path:
    return target.folder / "store/evidence/custody.jsonl"


def objects(target, *, suffix: str = "*.enc") -> list[Path]:
    found = sorted((target.folder / "store/evidence/vault").rglob(suffix))
    for path in found:
        path.chmod(0o600)
    return found


@pytest.mark.parametrize(
    "edit",
    [
        lambda lines: [*lines[:1], lines[1].replace(b'"cy"', b'"xx"'), *lines[2:]],
        lambda lines: [*lines[:1], *lines[2:]],
        lambda lines: [lines[1], lines[0], *lines[2:]],
        lambda lines: [*lines[:2], lines[1], *lines[2:]],
    ],
    ids=["edit", "drop", "reorder", "repeat"],
)
def test_line_edited(target, edit: Callable[[list[bytes]], list[bytes]]) -> None:
    """A line of the custody log is edited, dropped, moved or repeated. → Verification names the entry."""
    path = ledger(target)
    path.write_bytes(b"".join(edit(path.read_bytes().splitlines(keepends=True))))
    with pytest.raises(IntegrityError, match="entry"):
        target.open().evidence.verify(contents=False)


def test_tail_cut(target, made: Path) -> None:
    """The last lines of the custody log are cut off. → The held checkpoint shows that the log was cut short."""
    path = ledger(target)
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-2]))
    with pytest.raises(IntegrityError, match="cut short"):
        target.open().evidence.verify(heads(made), contents=False)


def test_rollback(target, made: Path) -> None:
    """The whole store is put back to an earlier copy. → The held checkpoint shows that entries are missing."""
    copy = target.folder / "copy"
    shutil.copytree(target.folder / "store", copy)
    evidence = target.open().evidence
    evidence.add(b"later", **CY, kind="note")
    held = evidence.checkpoint()
    shutil.rmtree(target.folder / "store")
    copy.rename(target.folder / "store")
    with pytest.raises(IntegrityError, match="cut short"):
        target.open().evidence.verify(held, contents=False)


def test_log_rewritten_with_the_key(target, made: Path) -> None:
    """A thief of the keys writes a new log of the same length. → The held checkpoint shows a fork."""
    ledger(target).unlink()
    (target.folder / "store/evidence/records.json").unlink()
    evidence = target.open().evidence
    for number in range(heads(made).size):
        evidence.add(b"%d" % number, **CY, kind="note")
    evidence.verify(contents=False)
    with pytest.raises(IntegrityError, match="fork"):
        evidence.verify(heads(made), contents=False)


def test_ciphertexts_swapped(target) -> None:
    """Two encrypted objects trade places, with and without their key files. → Neither opens."""
    contents, keys = objects(target)[:2], objects(target, suffix="*.key")[:2]
    for pairs in ([contents], [keys], [contents, keys]):
        swap(pairs)
        with pytest.raises(CrimefaceError):
            target.open().evidence.verify()
        swap(pairs)
    target.open().evidence.verify()


def swap(pairs: list[list[Path]]) -> None:
    for one, other in pairs:
        a, b = one.read_bytes(), other.read_bytes()
        one.write_bytes(b)
        other.write_bytes(a)


def test_chunks_truncated_or_spliced(tmp_path: Path) -> None:
    """Chunks of a large object are dropped, repeated or swapped, its end is cut off. → It does not open."""
    vault = Vault.open(tmp_path / "vault", keys=KeyRing.open(tmp_path / "keys.json"))
    stored = vault.put(b"".join(bytes([n]) * (1 << 20) for n in range(3)) + b"end")
    [path] = (tmp_path / "vault").rglob("*.enc")
    path.chmod(0o600)
    sound, step = path.read_bytes(), (1 << 20) + 16
    a, b, rest = sound[:step], sound[step : 2 * step], sound[2 * step :]
    for forged in (a + rest, a + a + rest, b + a + rest, sound[:-1], sound[: 3 * step], sound + b"x", b""):
        path.write_bytes(forged)
        with pytest.raises(IntegrityError):
            vault.read(stored.id)


def test_record_put_back(target) -> None:
    """An erased item's rows are put back from a backup of the records. → Nothing opens; verification says so."""
    path = target.folder / "store/evidence/records.json"
    before = path.read_bytes()
    evidence = target.open().evidence
    item = evidence.list(**CY)[1]
    evidence.delete(item.id, **CY)
    path.write_bytes(before)
    again = target.open().evidence
    with pytest.raises(CrimefaceError):
        again.get(item.id, **CY)
    with pytest.raises(IntegrityError, match="its record is back"):
        again.verify()


def test_key_file_open_to_others(target) -> None:
    """The key file is made readable for other accounts. → Refused until its permissions are right."""
    (target.folder / "store/keys.json").chmod(0o644)
    with pytest.raises(RefusedError, match="chmod 600"):
        target.open()


def test_costly_key_file(tmp_path: Path) -> None:
    """A forged key file asks for all memory (scrypt cost of 2^40). → Refused at once."""
    KeyRing.open(tmp_path / "keys.json", passphrase="correct horse")
    record = json.loads((tmp_path / "keys.json").read_bytes())
    text = json.dumps(record).replace('"n": 32768', '"n": 1099511627776')
    assert text != json.dumps(record)
    (tmp_path / "keys.json").write_text(text)
    with pytest.raises(IntegrityError):
        KeyRing.open(tmp_path / "keys.json", passphrase="correct horse")


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"item": ' * 50_000, '{"item": {"1": ' + "9" * 5000 + "}}", "NaN", ""]
)
def test_hostile_records(tmp_path: Path, text: str) -> None:
    """The records file nests 100,000 deep, or holds a number of 5,000 digits. → It is said to be no store."""
    (tmp_path / "records.json").write_text(text)
    (tmp_path / "records.json").chmod(0o600)
    with pytest.raises(IntegrityError):
        TinyDocuments.open(tmp_path / "records.json")


def test_not_met_no_checkpoint_kept(target) -> None:
    """A thief of the keys writes a new log, and nobody kept a checkpoint. → It should show. → It does not: keep one."""
    ledger(target).unlink()
    (target.folder / "store/evidence/records.json").unlink()
    target.open().evidence.add(b"forged", **CY, kind="note")
    target.open().evidence.verify()


def test_not_met_whole_store_deleted(target, made: Path) -> None:
    """The whole store is deleted. → Contents should survive. → They don't: only a backup helps."""
    shutil.rmtree(target.folder / "store/evidence")
    evidence = target.open().evidence
    assert len(evidence.list(**CY)) == 0
    with pytest.raises(IntegrityError, match="cut short"):  # so much the checkpoint shows
        evidence.verify(heads(made))


def test_not_met_root_on_the_machine(target) -> None:
    """Root, or code in the same process, takes the keys from memory. → Keys should be out of reach.
    → They are not: an HSM or KMS that never gives them out would be needed."""
    assert len(target.open().keys.derive("vault names")) == 32


def test_not_met_clock_set_back(target) -> None:
    """The machine's clock is set back. → Events should bear the true time.
    → They bear the machine's: order is proven, time only by an outside time stamp of a checkpoint."""
    target.clock.now = target.clock.now.replace(year=2001)
    evidence = EvidenceStore.open(target.folder / "store/evidence", keys=target.open().keys, clock=target.clock)
    evidence.add(b"new", **CY, kind="note")
    assert evidence.custody().events[-1]["at"].startswith("2001")
    evidence.verify()


def test_not_met_backup_of_a_key_file(target) -> None:
    """A key file is copied before the erasure and put back. → What was erased should stay so.
    → Its content opens again with that backup: keep none longer than the retention period."""
    backup = {
        path: path.read_bytes() for path in (target.folder / "store/evidence/vault").rglob("*.*") if path.is_file()
    }
    evidence = target.open().evidence
    item = evidence.list(**CY)[1]
    evidence.delete(item.id, **CY)
    for tombstone in (target.folder / "store/evidence/vault").rglob("*.shredded"):
        tombstone.unlink()
    for path, data in backup.items():
        if not path.exists():
            path.write_bytes(data)
    vault = Vault.open(target.folder / "store/evidence/vault", keys=target.open().keys)
    assert vault.read(item.sha256) == b"a note"
