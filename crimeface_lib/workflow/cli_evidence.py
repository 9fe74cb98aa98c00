"""Command-line group for evidence: take in, look at, pass on, hold, erase, export; each use with its purpose."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from crimeface_lib.core.errors import InputError, RefusedError
from crimeface_lib.core.files import write_atomic
from crimeface_lib.core.results import Result
from crimeface_lib.workflow.cli_governance import As, Store, acting, open_store

evidence = typer.Typer(
    no_args_is_help=True, help="Evidence: write-once originals, custody of every use, packages that prove themselves."
)
out = Console(highlight=False, soft_wrap=True, markup=False)
err = Console(stderr=True, highlight=False, soft_wrap=True, markup=False)

Id = Annotated[str, typer.Argument(metavar="ID", help="id of the item, or enough of its beginning")]
Purpose = Annotated[str, typer.Option(help="for what; stays in the custody record for ever, so name nobody in it")]
Json = Annotated[bool, typer.Option("--json", help="JSON, for scripts")]
Target = Annotated[Path, typer.Option("--out", help="new file to write; - for standard output")]
Day = Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"])]
Case = Annotated[str | None, typer.Option(help="case reference")]
Tags = Annotated[list[str] | None, typer.Option("--tag", help="tag; may be given several times")]


class _Desk:
    """The open store, and who acts in it for what purpose."""

    def __init__(self, store: Path | None, account: str | None, purpose: str) -> None:
        opened = open_store(store)
        user = opened.people.require(acting(opened, account), "keep_evidence")
        self.store, self.by = opened.evidence, {"actor": user.id, "purpose": purpose}

    def id(self, beginning: str) -> str:
        """Return the one id that begins so; ids say nothing, so looking them up is no use of evidence."""
        ids = {item for event in self.store.custody().events for item in event["items"]}
        fits = [id for id in ids if id.startswith(beginning)] if len(beginning) >= 4 else []
        if len(fits) > 1:
            raise InputError(f"{len(fits)} items have ids that begin with {beginning}; give more of it")
        return fits[0] if fits else beginning


@evidence.command("add")
def add(
    files: Annotated[list[Path], typer.Argument(metavar="FILE…", help="files and folders; links are refused")],
    purpose: Purpose,
    kind: Annotated[str, typer.Option(help="what they are: photo, extract, video, …")] = "file",
    case: Case = None,
    name: Annotated[str | None, typer.Option(help="exhibit reference, for one file")] = None,
    description: Annotated[str | None, typer.Option(help="what there is to say of them")] = None,
    tag: Tags = None,
    parent: Annotated[
        list[str] | None, typer.Option(help="id or SHA-256 of what it was made from, for one file")
    ] = None,
    tool: Annotated[str | None, typer.Option(help="name and version of what made it from its parents")] = None,
    store: Store = None,
    actor: As = None,
    as_json: Json = False,
) -> None:
    """Take in files, or folders with all that is in them. To go on after an interruption, run it again."""
    desk = _Desk(store, actor, purpose)
    said = {"kind": kind, "case": case, "description": description, "tags": tag or ()}
    if name or parent or tool:
        if len(files) != 1 or files[0].is_dir():
            raise InputError("--name, --parent and --tool are about one file; give one")
        parents = [desk.id(text) for text in parent or ()]
        added = desk.store.add(files[0], name=name, parents=parents, tool=tool, **said, **desk.by)
        _show(added, as_json=as_json)
        return
    columns = (TextColumn("taking in"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err, transient=True) as bar:
        task = bar.add_task("", total=None)
        taken = desk.store.add_files(
            files, progress=lambda done, total: bar.update(task, completed=done, total=total), **said, **desk.by
        )
    _show(taken, as_json=as_json)
    if not as_json:
        counts = [f"{len(taken[outcome])} {outcome}" for outcome in ("taken in", "here before", "refused", "failed")]
        out.print(", ".join(counts))
    if taken["failed"]:
        raise typer.Exit(InputError.exit_code)
    if taken["refused"]:
        raise typer.Exit(RefusedError.exit_code)


@evidence.command("list")
def list_items(
    purpose: Purpose,
    case: Case = None,
    kind: Annotated[str | None, typer.Option(help="what it is: photo, …")] = None,
    tag: Annotated[str | None, typer.Option(help="tag")] = None,
    hash: Annotated[str | None, typer.Option(help="how its SHA-256 or SHA-512 begins")] = None,
    text: Annotated[str | None, typer.Option(help="part of description, exhibit or file name")] = None,
    media_type: Annotated[str | None, typer.Option("--type", help="media type, or how it begins: image/")] = None,
    since: Day = None,
    until: Day = None,
    store: Store = None,
    actor: As = None,
    as_json: Json = False,
) -> None:
    """List the items that fit everything asked for. --until is the first day too late."""
    desk = _Desk(store, actor, purpose)
    found = desk.store.list(
        case=case, kind=kind, tag=tag, hash=hash, text=text, media_type=media_type,
        since=since and since.replace(tzinfo=UTC), until=until and until.replace(tzinfo=UTC), **desk.by,
    )  # fmt: skip
    _show(found, as_json=as_json, columns=("id", "added", "kind", "case", "name", "filename", "size", "tags"))


@evidence.command("consult")
def consult(id: Id, purpose: Purpose, store: Store = None, actor: As = None, as_json: Json = False) -> None:
    """Show what is recorded of an item, EXIF and GPS included, and its custody."""
    desk = _Desk(store, actor, purpose)
    item = desk.store.item(desk.id(id), **desk.by)
    custody = desk.store.custody(item.id)
    if as_json:
        out.print(json.dumps({"item": item.to_dict(), "custody": list(custody.events)}, ensure_ascii=False))
        return
    _show(item)
    out.print()
    _show(custody, columns=("time", "event", "actor", "purpose"))


@evidence.command("get")
def get(id: Id, purpose: Purpose, target: Target, store: Store = None, actor: As = None) -> None:
    """Write the content of an item to a file; a consultation."""
    _write(_Desk(store, actor, purpose), id, target)


@evidence.command("disclose")
def disclose(
    id: Id,
    purpose: Purpose,
    target: Target,
    to: Annotated[str, typer.Option(help="who receives it")],
    store: Store = None,
    actor: As = None,
) -> None:
    """Write the content of an item to a file to be passed on; a disclosure."""
    _write(_Desk(store, actor, purpose), id, target, recipient=to)


@evidence.command("amend")
def amend(
    id: Id,
    purpose: Purpose,
    description: Annotated[str | None, typer.Option(help="new description")] = None,
    tag: Tags = None,
    store: Store = None,
    actor: As = None,
    as_json: Json = False,
) -> None:
    """Change description or tags of an item; what came in never changes."""
    desk = _Desk(store, actor, purpose)
    _show(desk.store.amend(desk.id(id), description=description, tags=tag or None, **desk.by), as_json=as_json)


@evidence.command("hold")
def hold(id: Id, purpose: Purpose, store: Store = None, actor: As = None) -> None:
    """Forbid the deletion of an item until another person releases it."""
    desk = _Desk(store, actor, purpose)
    desk.store.hold(desk.id(id), **desk.by)
    out.print("held; another person may release it")


@evidence.command("release")
def release(id: Id, purpose: Purpose, store: Store = None, actor: As = None) -> None:
    """End the hold on an item; whoever holds it can't."""
    desk = _Desk(store, actor, purpose)
    desk.store.release(desk.id(id), **desk.by)
    out.print("released")


@evidence.command("delete")
def delete(id: Id, purpose: Purpose, store: Store = None, actor: As = None) -> None:
    """Erase an item: its keys are destroyed, a tombstone remains. The purpose must not repeat what is erased."""
    desk = _Desk(store, actor, purpose)
    desk.store.delete(desk.id(id), **desk.by)
    out.print("erased; its custody remains")


@evidence.command("export")
def export(
    purpose: Purpose,
    target: Annotated[Path, typer.Option("--out", help="new folder to write; or one file, if it ends in .zip")],
    checkpoint: Annotated[Path, typer.Option(help="new file for the checkpoint; send it another way than the package")],
    ids: Annotated[list[str] | None, typer.Argument(metavar="ID…", help="items; all by default")] = None,
    case: Annotated[str | None, typer.Option(help="all items of this case")] = None,
    to: Annotated[str | None, typer.Option(help="who receives it")] = None,
    timestamp_query: Annotated[
        Path | None, typer.Option(help="new file: a request to have the checkpoint time-stamped (RFC 3161)")
    ] = None,
    store: Store = None,
    actor: As = None,
) -> None:
    """Write items into a package that proves itself: BagIt, CASE/UCO, custody, proofs, public key."""
    for file in (checkpoint, timestamp_query):
        if file and (file.exists() or file.resolve().is_relative_to(target.resolve())):
            raise InputError(f"{file.name}: give a new file outside of the package; it has to travel another way")
    from crimeface_lib.evidence.parts import find_parts

    desk = _Desk(store, actor, purpose)
    chosen = [desk.id(id) for id in ids or ()]
    if case is not None:
        chosen += [item.id for item in desk.store.list(case=case, **desk.by)]
        if not chosen:
            raise InputError(f"case {case!r} has no items")
    written = desk.store.export(target, items=chosen or None, recipient=to, **desk.by)
    held = find_parts(written)["ledger/checkpoint.json"].read()
    write_atomic(checkpoint, held)
    if timestamp_query:
        from crimeface_lib.evidence import timestamp_request

        write_atomic(timestamp_query, timestamp_request(held))
    out.print(f"package    {written}")
    out.print(f"checkpoint {checkpoint}: send it another way, or keep it; then")
    out.print(f"           crimeface verify {target} --checkpoint {checkpoint}")


@evidence.command("replay")
def replay(
    package: Annotated[Path, typer.Argument(help="folder or zip that an export wrote")],
    checkpoint: Annotated[Path | None, typer.Option(help="checkpoint that you hold")] = None,
    as_json: Json = False,
) -> None:
    """Make the derivatives in a package again from their parents and compare; needs no store."""
    from crimeface_lib.evidence import replay_package

    report = replay_package(package, checkpoint=checkpoint)
    if report.warning:
        err.print(f"warning: {report.warning}")
    _show(report, as_json=as_json)
    if not report.agrees:
        raise typer.Exit(1)


def _write(desk: _Desk, id: str, target: Path, *, recipient: str | None = None) -> None:
    if str(target) != "-":
        written = desk.store.copy_to(desk.id(id), target, recipient=recipient, **desk.by)
        out.print(f"written {written}")
    elif recipient is None:
        sys.stdout.buffer.write(desk.store.get(desk.id(id), **desk.by))
    else:
        sys.stdout.buffer.write(desk.store.disclose(desk.id(id), recipient=recipient, **desk.by))


def _show(result: Result, *, as_json: bool = False, columns: tuple[str, ...] | None = None) -> None:
    if as_json:
        out.print(json.dumps(result.to_dict(), ensure_ascii=False))
        return
    frame = result.to_frame()
    frame = frame if columns is None else frame[list(columns)]
    if frame.empty:
        out.print("none")
        return
    table = Table(*frame.columns, box=None, pad_edge=False)
    for row in frame.itertuples(index=False):
        table.add_row(*(Text(_text(value)) for value in row))
    wide = out if out.is_terminal else Console(width=200, highlight=False)  # a pipe has no edge to fold at
    wide.print(table)


def _text(value: Any) -> str:
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    text = "" if value is None or value != value else str(value)  # NaN
    return "".join(c if c.isprintable() else "�" for c in text)
