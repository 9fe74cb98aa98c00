"""Commands that hand a watchlist over and look after it: export, import, check, renew."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress

from crimeface_lib.core.errors import InputError, IntegrityError
from crimeface_lib.storage.modes import refuse_others
from crimeface_lib.workflow.cli_governance import As, Store, acting, open_store, out, watchlist

_Name = Annotated[str, typer.Option(help="watchlist")]
_Key = Annotated[Path, typer.Option("--key", help="file of the transfer key; send it by another way")]


@watchlist.command("export")
def watchlist_export(
    package: Annotated[Path, typer.Argument(help="the new file")],
    key: _Key,
    name: _Name = "default",
    store: Store = None,
    actor: As = None,
) -> None:
    """Write the entries that have not expired into one file, sealed under a transfer key; it is made if need be."""
    opened = open_store(store)
    by = opened.people.require(acting(opened, actor), "keep_evidence")
    made = opened.open_watchlist(name).export(package, key=_transfer_key(key, create=True))
    opened.audit.record(
        "watchlist.exported", actor=by.id, at=opened.clock(), watchlist=name, entries=made.entries, sha256=made.sha256
    )
    out.print(f"{made.entries} entries exported, {made.expired} left out as expired; SHA-256 {made.sha256}")


@watchlist.command("import")
def watchlist_import(
    package: Annotated[Path, typer.Argument(help="what crimeface watchlist export wrote")],
    key: _Key,
    name: _Name = "default",
    store: Store = None,
    actor: As = None,
) -> None:
    """Take in a package; entries that are there or have expired are counted. Interrupted, call it again."""
    opened = open_store(store)
    by = opened.people.require(acting(opened, actor), "face_search")
    transfer_key = _transfer_key(key, create=False)
    with Progress(console=out, transient=True) as bar:
        task = bar.add_task("taking in", total=None)
        took = opened.open_watchlist(name, create=True).import_package(
            package, key=transfer_key, progress=lambda done, total: bar.update(task, completed=done, total=total)
        )
    opened.audit.record(
        "watchlist.imported", actor=by.id, at=opened.clock(), watchlist=name, entries=took.entries,
        present=took.present, expired=took.expired, sha256=took.sha256,
    )  # fmt: skip
    out.print(f"{took.entries} entries taken in, {took.present} were there before, {took.expired} have expired")


@watchlist.command("check")
def watchlist_check(name: _Name = "default", store: Store = None) -> None:
    """Open every record once, and name those that are damaged, missing or put back."""
    entries = open_store(store).open_watchlist(name)
    if wrong := entries.check():
        raise IntegrityError(f"{len(wrong)} of {len(entries)} records: {', '.join(wrong)}; restore them from a backup")
    out.print(f"{len(entries)} records are whole")


@watchlist.command("renew")
def watchlist_renew(name: _Name = "default", store: Store = None, actor: As = None) -> None:
    """Seal every entry under a new key and forget the old one: for when the old one may be in other hands."""
    opened = open_store(store)
    by = opened.people.require(acting(opened, actor), "manage_people")
    count = opened.renew_watchlist(name, actor=by.id)
    out.print(f"{count} entries sealed under a new key; backups of the list are still opened by the old one")


def _transfer_key(path: Path, *, create: bool) -> bytes:
    """Return the 32 bytes that a key file holds in hexadecimal; made, readable by its owner only, if there is none."""
    if not path.exists() and create:
        with os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w", encoding="ascii") as file:
            file.write(secrets.token_hex(32) + "\n")
    if not path.is_file():
        raise InputError(f"no key file {path}; ask the sender for it")
    refuse_others(path)
    try:
        key = bytes.fromhex(path.read_text(encoding="ascii").strip())
    except (ValueError, UnicodeDecodeError):
        key = b""
    if len(key) != 32:
        raise InputError(f"{path} holds no transfer key, expected 64 hexadecimal digits")
    return key
