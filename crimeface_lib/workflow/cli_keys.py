"""Command-line groups for what a store stands on: its keys, and the place of its records."""

from __future__ import annotations

import os
import shlex
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from crimeface_lib.core.errors import InputError
from crimeface_lib.core.settings import load_settings
from crimeface_lib.workflow.cli_governance import As, Store, acting, open_store
from crimeface_lib.workflow.origin import login_name

keys = typer.Typer(no_args_is_help=True, help="The keys of a store: show, rotate, seal.")
records = typer.Typer(no_args_is_help=True, help="Where a store keeps its records.")
out = Console(highlight=False, soft_wrap=True)


@keys.command("show")
def keys_show(store: Store = None) -> None:
    """Show the public key that reviewers need, and whether a rotation is unfinished. Secrets are never shown."""
    ring = open_store(store).keys
    out.print(f"verify key {ring.verify_key}\nsealed by  {ring.sealed_by}\nactive key {ring.active}")
    if ring.retiring:
        out.print(f"a rotation was interrupted: {', '.join(ring.retiring)} still here; run: crimeface keys rotate")


@keys.command("rotate")
def keys_rotate(store: Store = None, actor: As = None) -> None:
    """Make a new key, rewrap every object key with it and forget the older one. Contents are not touched."""
    opened = open_store(store)
    by = opened.people.require(acting(opened, actor), "manage_people")
    with Progress(console=out, transient=True) as bar:
        task = bar.add_task("rewrapping keys", total=None)
        count = opened.rotate_keys(
            actor=by.id, progress=lambda done, total: bar.update(task, completed=done, total=total)
        )
    out.print(f"{count} keys rewrapped by {opened.keys.active}; copies of the older key open nothing here")


@keys.command("seal")
def keys_seal(
    command: Annotated[
        str | None, typer.Option(metavar="WORDS", help="seal by a program that asks an HSM or KMS")
    ] = None,
    unsealed: Annotated[bool, typer.Option("--unsealed", help="leave the file to its permissions")] = False,
    store: Store = None,
    actor: As = None,
) -> None:
    """Seal the key file by a new passphrase, which is asked for, or by a command. The present one opens it first."""
    from crimeface_lib.storage.unlock import Command, Passphrase, Unlock

    if command is not None and unsealed:
        raise InputError("got --command and --unsealed, expected one of them")
    opened = open_store(store)
    by = opened.people.require(acting(opened, actor), "manage_people")
    way: Unlock | None = None
    if command is not None:
        way = Command(tuple(shlex.split(command)))
    elif not unsealed:
        way = Passphrase(typer.prompt("new passphrase", hide_input=True, confirmation_prompt=True))
    opened.keys.reseal(unlock=way)
    opened.audit.record("keys.sealed", actor=by.id, at=opened.clock(), way=way.kind if way else "permissions")
    told = {"passphrase": "CRIMEFACE_PASSPHRASE", "command": "CRIMEFACE_KEY_COMMAND"}.get(way.kind if way else "")
    out.print(f"sealed by {opened.keys.sealed_by}" + (f"; set {told} from now on" if told else ""))
    out.print("whoever kept the old file and what opened it has its keys: run crimeface keys rotate as well")


@records.command("move")
def records_move(store: Store = None) -> None:
    """Move the records of a store from JSON files to the database that CRIMEFACE_DOCUMENTS names."""
    from crimeface_lib.workflow.backing import move_records

    settings = load_settings()
    count = move_records(store or settings.default_store, settings=settings)
    opened = open_store(store)
    opened.audit.record("records.moved", actor=login_name(os.environ), at=opened.clock(), records=count)
    out.print(f"{count} records moved; each JSON file is now called .moved: delete it once you have a backup")
