"""The vault: what was put in comes out, or an error; what was shredded never does."""

from __future__ import annotations

import hashlib
import io
import json
import os
import resource
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from crimeface_lib.core.errors import InputError, IntegrityError, NotFoundError, RefusedError
from crimeface_lib.storage import KeyRing, Vault

CHUNK = 64  # small chunks in these tests: the same code, many chunks
SEALED = CHUNK + 16


@pytest.fixture
def vault(tmp_path: Path, keys: KeyRing, monkeypatch: pytest.MonkeyPatch) -> Vault:
    monkeypatch.setitem(Vault.put.__globals__, "CHUNK", CHUNK)
    return Vault.open(tmp_path / "vault", keys=keys)


def files(tmp_path: Path, suffix: str) -> list[Path]:
    return sorted((tmp_path / "vault").rglob(f"*{suffix}"))


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 5 * CHUNK])
def test_what_goes_in_comes_out(vault: Vault, tmp_path: Path, size: int) -> None:
    content = os.urandom(size)
    stored = vault.put(content)
    assert stored.id == hashlib.sha256(content).hexdigest()
    assert (stored.sha512, stored.size) == (hashlib.sha512(content).hexdigest(), size)
    assert vault.read(stored.id) == content
    assert vault.open_to(stored.id, tmp_path / "out").read_bytes() == content
    assert vault.describe(stored.id) == stored
    (tmp_path / "source").write_bytes(content)
    assert vault.put(tmp_path / "source") == vault.put(io.BytesIO(content)) == stored
    assert vault.ids() == [stored.id]
    assert len(files(tmp_path, ".enc")) == 1


def test_nothing_readable_is_on_the_disk(vault: Vault, tmp_path: Path) -> None:
    content = b"a canary that sings of nobody" * 20
    stored = vault.put(content)
    on_disk = b"".join(path.name.encode() + path.read_bytes() for path in (tmp_path / "vault").rglob("*.*"))
    for secret in (content[:29], stored.id.encode(), bytes.fromhex(stored.id), stored.sha512.encode()):
        assert secret not in on_disk
    assert [path.stat().st_mode & 0o777 for path in files(tmp_path, ".enc")] == [0o400]
    assert not files(tmp_path, ".tmp")


def rewrite(path: Path, change: Callable[[bytes], bytes]) -> None:
    path.chmod(0o600)
    path.write_bytes(change(path.read_bytes()))


@pytest.mark.parametrize(
    "change",
    {
        "drop the first chunk": lambda data: data[SEALED:],
        "drop a middle chunk": lambda data: data[:SEALED] + data[2 * SEALED :],
        "drop the last chunk": lambda data: data[: 3 * SEALED],
        "cut within a chunk": lambda data: data[:-5],
        "cut to nothing": lambda data: b"",
        "swap two chunks": lambda data: data[SEALED : 2 * SEALED] + data[:SEALED] + data[2 * SEALED :],
        "repeat a chunk": lambda data: data[:SEALED] + data,
        "repeat the last chunk": lambda data: data + data[3 * SEALED :],
        "append bytes": lambda data: data + b"\0",
        "append a chunk of zeros": lambda data: data + bytes(SEALED),
    }.values(),
)
def test_no_chunk_can_be_moved(vault: Vault, tmp_path: Path, change: Callable[[bytes], bytes]) -> None:
    stored = vault.put(os.urandom(3 * CHUNK + 20))
    rewrite(files(tmp_path, ".enc")[0], change)
    with pytest.raises(IntegrityError, match="not what was stored"):
        vault.read(stored.id)
    with pytest.raises(IntegrityError):
        vault.open_to(stored.id, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob(".*.tmp"))


def test_no_byte_can_be_flipped(vault: Vault, tmp_path: Path) -> None:
    stored = vault.put(os.urandom(CHUNK + 20))
    for path in (*files(tmp_path, ".enc"), *files(tmp_path, ".key")):
        sound = path.read_bytes()
        for index in range(0, len(sound), 3):
            rewrite(path, lambda data, i=index, s=sound: s[:i] + bytes([s[i] ^ 1]) + s[i + 1 :])
            with pytest.raises((IntegrityError, NotFoundError)):
                vault.read(stored.id)
        path.write_bytes(sound)
    assert len(vault.read(stored.id)) == CHUNK + 20


def test_objects_and_chunks_cannot_change_places(vault: Vault, tmp_path: Path) -> None:
    one, two = vault.put(b"1" * 3 * CHUNK), vault.put(b"2" * 3 * CHUNK)
    for suffixes in ((".enc",), (".key",), (".enc", ".key")):

        def swap(suffixes: tuple[str, ...] = suffixes) -> None:
            for suffix in suffixes:
                a, b = files(tmp_path, suffix)
                content = a.read_bytes(), b.read_bytes()
                rewrite(a, lambda data, c=content: c[1])
                rewrite(b, lambda data, c=content: c[0])

        swap()
        for stored in (one, two):
            with pytest.raises(IntegrityError):
                vault.read(stored.id)
        swap()
    a, b = files(tmp_path, ".enc")
    spliced = a.read_bytes()[:SEALED] + b.read_bytes()[SEALED:]
    rewrite(a, lambda data: spliced)
    with pytest.raises(IntegrityError):
        [vault.read(stored.id) for stored in (one, two)]
    b.unlink()
    with pytest.raises(IntegrityError):
        [vault.read(stored.id) for stored in (two, one)]


def test_a_shredded_object_is_gone_and_leaves_a_tombstone(vault: Vault, tmp_path: Path) -> None:
    kept, gone = vault.put(b"kept"), vault.put(b"gone")
    key_files = {path: path.read_bytes() for path in files(tmp_path, ".key")}
    vault.shred(gone.id)
    vault.shred(gone.id)
    assert not vault.exists(gone.id)
    for call in (vault.read, vault.describe):
        with pytest.raises(NotFoundError):
            call(gone.id)
    assert vault.ids() == [kept.id]
    assert vault.read(kept.id) == b"kept"
    tombstone = files(tmp_path, ".shredded")[0]
    assert tombstone.read_bytes() == b""
    wrapped = next(data for path, data in key_files.items() if not path.exists())
    on_disk = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert wrapped[20:68] not in on_disk
    with pytest.raises(NotFoundError):
        vault.shred(hashlib.sha256(b"never").hexdigest())


def test_content_may_come_back_after_it_was_shredded(vault: Vault, tmp_path: Path) -> None:
    stored = vault.put(b"content")
    vault.shred(stored.id)
    assert vault.put(b"content") == stored
    assert vault.read(stored.id) == b"content"
    assert not files(tmp_path, ".shredded")


def test_an_older_wrap_opens_after_a_rotation(vault: Vault, keys: KeyRing, tmp_path: Path) -> None:
    stored = vault.put(b"content")
    keys.rotate()
    again = Vault.open(tmp_path / "vault", keys=KeyRing.open(tmp_path / "keys.json"))
    assert again.read(stored.id) == b"content"
    other = Vault.open(tmp_path / "vault", keys=KeyRing.open(tmp_path / "other.json"))
    with pytest.raises(NotFoundError):
        other.read(stored.id)


def test_a_rotation_rewraps_keys_only_and_the_old_ring_alone_opens_nothing(
    vault: Vault, keys: KeyRing, tmp_path: Path
) -> None:
    stored = [vault.put(os.urandom(200)) for _ in range(5)]
    before = {object_.id: vault.read(object_.id) for object_ in stored}
    payloads = {path: path.read_bytes() for path in files(tmp_path, ".enc")}
    old_keys = {path: path.read_bytes() for path in files(tmp_path, ".key")}
    old = tmp_path / "old.json"
    old.write_bytes((tmp_path / "keys.json").read_bytes())
    old.chmod(0o600)
    keys.rotate()
    told: list[tuple[int, int]] = []
    assert vault.rewrap(progress=lambda done, of: told.append((done, of))) == 5
    assert told[-1] == (5, 5)
    assert vault.rewrap() == 0
    keys.retire()
    assert {path: path.read_bytes() for path in payloads} == payloads
    assert all(path.read_bytes() != data for path, data in old_keys.items())
    again = Vault.open(tmp_path / "vault", keys=KeyRing.open(tmp_path / "keys.json"))
    assert {id: again.read(id) for id in again.ids()} == before
    stale = Vault.open(tmp_path / "vault", keys=KeyRing.open(old))
    for id in before:
        with pytest.raises(NotFoundError, match="not in this ring"):
            stale.read(id)


def test_a_rotation_while_others_put_and_read_loses_nothing(tmp_path: Path) -> None:
    """Each opens ring and vault as a process of its own would; those that wrap with a key about to go would lose."""
    stop, failed = threading.Event(), []
    open_vault = lambda: Vault.open(tmp_path / "vault", keys=KeyRing.open(tmp_path / "keys.json"))  # noqa: E731
    put: list[tuple[str, bytes]] = []

    def work(name: str) -> None:
        mine, n = open_vault(), 0
        while not stop.is_set():
            content, n = f"{name} {n}".encode(), n + 1
            try:
                put.append((mine.put(content).id, content))
                assert mine.read(put[0][0]) == put[0][1]
            except Exception as error:  # noqa: BLE001  (whatever it is fails the test)
                failed.append(error)
                return

    threads = [threading.Thread(target=work, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    keys = KeyRing.open(tmp_path / "keys.json")
    for _ in range(4):
        keys.rotate()
        Vault.open(tmp_path / "vault", keys=keys).rewrap()
        keys.retire()
    stop.set()
    for thread in threads:
        thread.join()
    assert failed == []
    last = open_vault()
    assert all(last.read(id) == content for id, content in put)


def test_what_is_being_written_is_not_swept_away(vault: Vault, keys: KeyRing, tmp_path: Path) -> None:
    class Slow(io.BytesIO):
        def read(self, *size: int) -> bytes:
            Vault.open(tmp_path / "vault", keys=keys)  # sweeps
            return super().read(*size)

    left = tmp_path / "vault" / "objects" / "tmpdead.tmp"
    left.write_bytes(b"what a dead process left")
    stored = vault.put(Slow(b"content" * 100))
    assert vault.read(stored.id) == b"content" * 100
    assert not left.exists()


def test_folders_are_private_and_a_newer_vault_is_refused(vault: Vault, keys: KeyRing, tmp_path: Path) -> None:
    folder = tmp_path / "vault"
    assert {stat.S_IMODE(path.stat().st_mode) for path in (folder, folder / "keys", folder / "objects")} == {0o700}
    for path in (folder / "keys", folder):
        path.chmod(0o750)
        with pytest.raises(RefusedError, match=r"mode is 750.*chmod 700"):
            Vault.open(folder, keys=keys)
        path.chmod(0o700)
    mark = folder / "format.json"
    assert json.loads(mark.read_bytes()) == {"vault": 1}
    mark.unlink()  # as the first vaults were
    stored = vault.put(b"x")
    assert Vault.open(folder, keys=keys).read(stored.id) == b"x"
    assert mark.exists()
    mark.write_text('{"vault": 2}')
    with pytest.raises(InputError, match="the vault is in format 2"):
        Vault.open(folder, keys=keys)
    mark.write_text("{")
    with pytest.raises(IntegrityError, match=r"format\.json"):
        Vault.open(folder, keys=keys)


def test_bad_sources_and_ids_are_refused(vault: Vault) -> None:
    with pytest.raises(InputError, match="can seek"):
        vault.put(object())  # type: ignore[arg-type]
    for id in ("x", "../" * 22, "A" * 64):
        with pytest.raises(InputError, match="hexadecimal"):
            vault.read(id)
    with pytest.raises(NotFoundError):
        vault.read("0" * 64)


def test_a_source_that_changes_meanwhile_is_not_kept(vault: Vault, tmp_path: Path) -> None:
    class Growing(io.BytesIO):
        def seek(self, offset: int, whence: int = 0) -> int:
            if self.tell():
                super().seek(0, 2)
                self.write(b"more")
            return super().seek(offset, whence)

    with pytest.raises(IntegrityError, match="changed while"):
        vault.put(Growing(b"content"))
    assert vault.ids() == []
    assert not files(tmp_path, ".enc")


def test_memory_stays_bounded(tmp_path: Path, keys: KeyRing) -> None:
    source = tmp_path / "large"
    with open(source, "wb") as file:
        file.truncate(96 << 20)
    vault = Vault.open(tmp_path / "vault", keys=keys)
    vault.put(b"warm")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    vault.open_to(vault.put(source).id, tmp_path / "out")
    assert (tmp_path / "out").stat().st_size == 96 << 20
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 32 << 10  # KiB
