"""Death at every call that reaches the disk, torn writes included: after it the state is the old one or the new one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from crimeface_lib.core.errors import IntegrityError, NotFoundError
from crimeface_lib.storage import DocumentStore, KeyRing, Ledger, TinyDocuments, Vault

AT = datetime(2026, 1, 2, tzinfo=UTC)
Outcomes = Callable[..., list[str]]
CUTS = (0.0, 0.03, 0.2, 0.5, 0.97, 1.0)


def old_then_new(said: list[str]) -> bool:
    """Whether nothing but old was seen, then nothing but new: a point of no return, and both sides of it."""
    return said == sorted(said, key=["old", "new"].index) and set(said) == {"old", "new"}


def records(folder: Path) -> TinyDocuments:
    return TinyDocuments.open(folder / "records.json")


def fill(folder: Path) -> None:
    records(folder).insert_many("row", [{"a": letter * 300} for letter in "abc"])


def both(store: DocumentStore) -> None:
    with store.transaction():
        store.update("row", 1, {"a": "Z"})
        store.delete("row", 2)
        store.insert("other", {"a": "Z"})


CHANGES: dict[str, Callable[[DocumentStore], object]] = {
    "insert": lambda store: store.insert("row", {"a": "Z"}),
    "insert_many": lambda store: store.insert_many("row", [{"a": "Z"}] * 3),
    "update": lambda store: store.update("row", 1, {"a": "Z" * 1500}),
    "delete": lambda store: store.delete("row", 3),
    "transaction": both,
}


def snapshot(store: DocumentStore) -> list[list[dict[str, object]]]:
    return [store.find("row"), store.find("other")]


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_documents(outcomes_of_death: Outcomes, tmp_path: Path, change: Callable[[DocumentStore], object]) -> None:
    (tmp_path / "new").mkdir()
    fill(tmp_path / "new")
    old = snapshot(records(tmp_path / "new"))
    change(records(tmp_path / "new"))
    new = snapshot(records(tmp_path / "new"))

    def check(folder: Path) -> str:
        now = snapshot(records(folder))
        assert now in (old, new)
        assert records(folder).insert("row", {}) not in {row["id"] for row in (*old[0], *now[0])}
        assert not list(folder.glob(".*.tmp")), "what the dead left is swept by the next writer"
        return "new" if now == new else "old"

    assert old_then_new(outcomes_of_death(fill, lambda folder: change(records(folder)), check))


def test_migration_of_documents(outcomes_of_death: Outcomes) -> None:
    plain = json.dumps({"row": {"1": {"a": 1}, "7": {"a": 2}}})

    def prepare(folder: Path) -> None:
        (folder / "records.json").write_text(plain)
        (folder / "records.json").chmod(0o600)

    def check(folder: Path) -> str:
        said = "new" if "_schema" in json.loads((folder / "records.json").read_bytes()) else "old"
        assert said == "old" or (folder / "records.json.v0.bak").read_text() == plain
        assert records(folder).insert("row", {}) == 8
        return said

    assert old_then_new(outcomes_of_death(prepare, records, check))


def keys(folder: Path) -> KeyRing:
    return KeyRing.open(folder / "keys.json")


def log(folder: Path) -> Ledger:
    return Ledger.open(folder / "log.jsonl", signing_key=keys(folder).signing_key)


def three_entries(folder: Path) -> None:
    for n in range(3):
        log(folder).append({"n": n}, at=AT)


def test_append_to_the_ledger(outcomes_of_death: Outcomes) -> None:
    def check(folder: Path) -> str:
        ledger = log(folder)
        entries = [entry["n"] for entry in ledger.entries()]
        assert ledger.append({"n": 9}, at=AT) == len(entries)
        assert ledger.verify().entries == len(entries) + 1
        return {3: "old", 4: "new"}[len(entries)]

    act = lambda folder: log(folder).append({"n": 3}, at=AT)  # noqa: E731
    assert old_then_new(outcomes_of_death(three_entries, act, check, cuts=CUTS))


def test_batch_to_the_ledger_keeps_a_beginning_of_it(outcomes_of_death: Outcomes) -> None:
    def check(folder: Path) -> str:
        entries = [entry["n"] for entry in log(folder).entries()]
        assert entries == list(range(len(entries)))
        assert log(folder).verify().entries == len(entries) >= 3
        return str(len(entries))

    batch = [{"n": n} for n in range(3, 8)]
    said = outcomes_of_death(three_entries, lambda folder: log(folder).append_many(batch, at=AT), check, cuts=CUTS)
    assert said == sorted(said)
    assert {"3", "8"} < set(said)


def test_repair_of_a_torn_tail(outcomes_of_death: Outcomes) -> None:
    def prepare(folder: Path) -> None:
        three_entries(folder)
        line = list(log(folder).lines())[-1]
        log(folder).append({"n": 3}, at=AT)
        path = folder / "log.jsonl"
        path.write_bytes(path.read_bytes()[: -len(line) // 2])

    def check(folder: Path) -> str:
        assert log(folder).verify().entries == 3
        assert len(list(folder.glob("log.jsonl.torn-*"))) == 1, "what was cut off is kept"
        return "sound"

    assert set(outcomes_of_death(prepare, log, check)) == {"sound"}


CONTENTS = {hashlib.sha256(content).hexdigest(): content for content in (b"first" * 50, b"second" * 50)}
FIRST, SECOND = CONTENTS


def vault(folder: Path) -> Vault:
    return Vault.open(folder / "vault", keys=keys(folder))


def contents(folder: Path) -> dict[str, bytes]:
    opened = vault(folder)
    assert not list(folder.rglob("*.tmp")), "what the dead left is swept when the vault opens"
    return {id: opened.read(id) for id in opened.ids()}


def test_put_into_the_vault(outcomes_of_death: Outcomes) -> None:
    def check(folder: Path) -> str:
        found = contents(folder)
        assert found.items() <= CONTENTS.items()
        assert FIRST in found
        assert vault(folder).put(CONTENTS[SECOND]).id == SECOND
        assert contents(folder) == CONTENTS
        return "new" if SECOND in found else "old"

    act = lambda folder: vault(folder).put(CONTENTS[SECOND])  # noqa: E731
    assert old_then_new(outcomes_of_death(lambda folder: vault(folder).put(CONTENTS[FIRST]), act, check))


def put_both(folder: Path) -> None:
    for content in CONTENTS.values():
        vault(folder).put(content)


def test_shred(outcomes_of_death: Outcomes) -> None:
    def check(folder: Path) -> str:
        found = contents(folder)
        assert found in (CONTENTS, {SECOND: CONTENTS[SECOND]})
        files = sorted(path.suffix for path in folder.rglob("*") if path.suffix in (".key", ".enc", ".shredded"))
        said = "old" if found == CONTENTS else "new"
        assert files == ([".enc", ".enc", ".key", ".key"] if said == "old" else [".enc", ".key", ".shredded"])
        if said == "new":
            left = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
            assert sum(data[20:68] in left for data in wrapped) == 1, "the other object's key, and no trace of this one"
        vault(folder).shred(FIRST)
        return said

    def prepare(folder: Path) -> None:
        put_both(folder)
        wrapped.extend(path.read_bytes() for path in folder.rglob("*.key"))

    wrapped: list[bytes] = []
    assert old_then_new(outcomes_of_death(prepare, lambda folder: vault(folder).shred(FIRST), check))


def test_rotation(outcomes_of_death: Outcomes) -> None:
    def rotate(folder: Path) -> None:
        ring = keys(folder)
        if not ring.retiring:
            ring.rotate()
        Vault.open(folder / "vault", keys=ring).rewrap()
        ring.rewrap_file(folder / "list.key", context=b"list")
        ring.retire()

    def prepare(folder: Path) -> None:
        put_both(folder)
        keys(folder).data_key(folder / "list.key", context=b"list", first=b"k" * 32)
        (folder / "old").mkdir(mode=0o700)
        (folder / "old/keys.json").write_bytes((folder / "keys.json").read_bytes())
        (folder / "old/keys.json").chmod(0o600)
        payloads.update({path.name: path.read_bytes() for path in folder.rglob("*.enc")})

    def check(folder: Path) -> str:
        stopped = keys(folder)
        assert stopped.data_key(folder / "list.key", context=b"list") == b"k" * 32
        assert contents(folder) == CONTENTS
        first = stopped.active == keys(folder / "old").active
        finished = not first and not stopped.retiring
        rotate(folder)  # taken up again
        assert contents(folder) == CONTENTS
        assert {path.name: path.read_bytes() for path in folder.rglob("*.enc")} == payloads
        assert not keys(folder).retiring
        old = Vault.open(folder / "vault", keys=keys(folder / "old"))
        for id in CONTENTS:
            with pytest.raises(NotFoundError, match="not in this ring"):
                old.read(id)
        with pytest.raises(NotFoundError, match="not in this ring"):
            keys(folder / "old").data_key(folder / "list.key", context=b"list")
        return "old" if first else "new" if finished else "between"

    payloads: dict[str, bytes] = {}
    said = outcomes_of_death(prepare, rotate, check)
    assert said == sorted(said, key=["old", "between", "new"].index)
    assert set(said) == {"old", "between", "new"}


def test_first_key_file_and_its_migration_and_new_seal(outcomes_of_death: Outcomes, cheap: None) -> None:
    def opens_with(folder: Path) -> str:
        for passphrase in ("before", "after"):
            try:
                KeyRing.open(folder / "keys.json", passphrase=passphrase, create=False)
            except IntegrityError:
                continue
            return {"before": "old", "after": "new"}[passphrase]
        raise AssertionError("the key file opens with neither passphrase")

    made = outcomes_of_death(lambda folder: None, keys, lambda folder: "new" if keys(folder).active else "")
    assert set(made) == {"new"}
    seal = lambda folder: KeyRing.open(folder / "keys.json", passphrase="before")  # noqa: E731
    said = outcomes_of_death(seal, lambda folder: seal(folder).reseal(passphrase="after"), opens_with)
    assert old_then_new(said)
