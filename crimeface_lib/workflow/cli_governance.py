"""Command-line groups for people, DPIAs and watchlists: what must stand before a search may run."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, get_args

import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from crimeface_lib.core.errors import InputError
from crimeface_lib.core.settings import load_settings
from crimeface_lib.workflow.origin import login_name

people = typer.Typer(no_args_is_help=True, help="Accounts and roles.")
dpia = typer.Typer(no_args_is_help=True, help="Data protection impact assessments: draft, submit, advise, approve.")
watchlist = typer.Typer(no_args_is_help=True, help="Watchlists: encrypted, purpose-bound, expiring.")
out = Console(highlight=False, soft_wrap=True)

Store = Annotated[Path | None, typer.Option(help="folder of the store; .crimeface/store by default")]
As = Annotated[
    str | None, typer.Option("--as", metavar="ACCOUNT", help="account that acts; your login name by default")
]


def open_store(folder: Path | None) -> Any:
    """Return the store to work on."""
    from crimeface_lib.workflow.store import CaseStore

    settings = load_settings()
    return CaseStore.open(folder or settings.default_store, settings=settings)


def acting(store: Any, account: str | None) -> Any:
    """Return the account that acts: one's own by login, anybody else's by its password or token."""
    from crimeface_lib.workflow.identity import PASSWORD, TOKEN, identify

    account, environ = account or "", dict(os.environ)
    if account not in ("", login_name(environ)) and not (environ.get(PASSWORD) or environ.get(TOKEN)):
        environ[PASSWORD] = typer.prompt(f"password of {account}", hide_input=True)
    return identify(store, account, environ=environ)


def show_who(account: str, *, store: Path | None) -> None:
    """Ask for the password of another's account, so that the notebooks to be run may act as it."""
    from crimeface_lib.workflow.identity import PASSWORD, TOKEN

    if account != login_name(os.environ) and not (os.environ.get(PASSWORD) or os.environ.get(TOKEN)):
        opened = open_store(store)
        os.environ[TOKEN] = opened.people.issue_token(acting(opened, account))


@people.command("add")
def people_add(
    account: Annotated[str, typer.Argument(help="id of the account; never a person's name")],
    role: Annotated[list[str], typer.Option(help="researcher, reviewer, approver, custodian, stakeholder or admin")],
    person: Annotated[str, typer.Option(help="id of the person, where one person has several accounts")] = "",
    password: Annotated[bool, typer.Option(help="ask for a password, so that others' logins can't act as it")] = False,
    store: Store = None,
    actor: As = None,
) -> None:
    """Add an account. The first must be an admin's."""
    from crimeface_lib.governance import User

    opened = open_store(store)
    by = acting(opened, actor) if opened.people.list() else None
    secret = None
    if password:
        secret = os.environ.get("CRIMEFACE_NEW_PASSWORD") or typer.prompt(  # CRIMEFACE_PASSWORD is of who acts
            f"password of {account}", hide_input=True, confirmation_prompt=True
        )
    opened.people.add(User(account, frozenset(role), person), password=secret, by=by)  # type: ignore[arg-type]
    out.print(f"added {account}: {', '.join(sorted(role))}")


@people.command("role")
def people_role(
    account: str,
    role: Annotated[list[str] | None, typer.Option(help="every role it has from now on; none closes it")] = None,
    store: Store = None,
    actor: As = None,
) -> None:
    """Replace the roles of an account; its tokens end. An admin does, for others only."""
    opened = open_store(store)
    changed = opened.people.set_roles(account, role or [], by=acting(opened, actor))
    out.print(f"{account}: {', '.join(sorted(changed.roles)) or 'no role: closed'}")


@people.command("password")
def people_password(account: str, store: Store = None, actor: As = None) -> None:
    """Set a password: one's own with the old one, another's as an admin. Tokens end, and a lock is lifted."""
    opened = open_store(store)
    by = acting(opened, actor or account)
    old = ""
    if by.id == account:
        old = os.environ.get("CRIMEFACE_PASSWORD") or typer.prompt("old password", hide_input=True, default="")
    new = os.environ.get("CRIMEFACE_NEW_PASSWORD") or typer.prompt(
        f"new password of {account}", hide_input=True, confirmation_prompt=True
    )
    opened.people.set_password(account, new, by=by, old=old)
    out.print(f"{account}: password set, tokens ended")


@people.command("token")
def people_token(
    hours: Annotated[float, typer.Option(help="how long it holds", min=0.01, max=24)] = 8.0,
    store: Store = None,
    actor: As = None,
) -> None:
    """Print a token to put into CRIMEFACE_TOKEN, so that notebooks can act as the account."""
    from datetime import timedelta

    opened = open_store(store)
    typer.echo(opened.people.issue_token(acting(opened, actor), lifetime=timedelta(hours=hours)))


@people.command("hub")
def people_hub(url: str, store: Store = None, actor: As = None) -> None:
    """Name the JupyterHub whose word counts on who is logged in: the address of its API. An admin does."""
    opened = open_store(store)
    opened.people.trust_hub(url, by=acting(opened, actor))
    out.print("the Hub is asked from now on who is logged in")


@people.command("list")
def people_list(store: Store = None) -> None:
    """List accounts, roles and the persons behind them."""
    show_table(open_store(store).people.list(), ("id", "roles", "person"))


@dpia.command("new")
def dpia_new(kind: Annotated[str, typer.Argument(help="face_search, place_prediction or geographic_profile")]) -> None:
    """Print a filled-in example to start from: crimeface dpia new face_search > dpia.yaml"""
    from crimeface_lib.governance.dpia import Kind, template_text

    if kind not in get_args(Kind):
        raise InputError(f"got {kind!r}, expected {' or '.join(get_args(Kind))}")
    typer.echo(template_text(kind), nl=False)  # type: ignore[arg-type]


@dpia.command("submit")
def dpia_submit(
    file: Annotated[Path, typer.Argument(help="the DPIA as YAML")],
    number: Annotated[int | None, typer.Option("--edit", metavar="N", help="make it a new version of DPIA N")] = None,
    draft: Annotated[bool, typer.Option("--draft", help="only keep it; fields may still be empty")] = False,
    store: Store = None,
    actor: As = None,
) -> None:
    """Put a DPIA into the register and hand it in for advice and approval."""
    from crimeface_lib.governance import Dpia

    try:
        content = Dpia.from_yaml(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file}: {error}") from error
    opened = open_store(store)
    author = acting(opened, actor)
    if number is None:
        number = opened.dpias.draft(content, author=author)
    else:
        opened.dpias.edit(number, content, author=author)
    if draft:
        out.print(f"DPIA {number} kept as a draft; {content.note or 'no field is empty.'}")
        return
    opened.dpias.submit(number, author=author)
    out.print(f"DPIA {number} submitted; next: crimeface dpia advise {number} --as DPO")


@dpia.command("advise")
def dpia_advise(
    number: int,
    advice: Annotated[str, typer.Option(help="what the data protection officer says")],
    favourable: Annotated[bool, typer.Option("--favourable/--against", help="the advice, in one word")],
    store: Store = None,
    actor: As = None,
) -> None:
    """Record the data protection officer's advice; nothing is approved before it."""
    opened = open_store(store)
    opened.dpias.advise(number, advice, favourable=favourable, adviser=acting(opened, actor))
    out.print(f"advice on DPIA {number} recorded; next: crimeface dpia approve {number} --review-by DATE --as APPROVER")


@dpia.command("approve")
def dpia_approve(
    number: int,
    review_by: Annotated[datetime, typer.Option(formats=["%Y-%m-%d"], help="last day it holds, at most a year ahead")],
    overruled: Annotated[str, typer.Option(help="reasons, where the advice was against")] = "",
    store: Store = None,
    actor: As = None,
) -> None:
    """Approve a submitted DPIA; its author can't."""
    opened = open_store(store)
    opened.dpias.approve(number, approver=acting(opened, actor), review_by=review_by.date(), overruled=overruled)
    out.print(f"DPIA {number} approved until {review_by:%Y-%m-%d}")


@dpia.command("reject")
def dpia_reject(
    number: int, reason: Annotated[str, typer.Option(help="why")], store: Store = None, actor: As = None
) -> None:
    """Send a submitted DPIA back to its author."""
    opened = open_store(store)
    opened.dpias.reject(number, reason, approver=acting(opened, actor))
    out.print(f"DPIA {number} rejected")


@dpia.command("withdraw")
def dpia_withdraw(
    number: int, reason: Annotated[str, typer.Option(help="why")], store: Store = None, actor: As = None
) -> None:
    """End an approval for good; runs under it stop at their next call."""
    opened = open_store(store)
    opened.dpias.withdraw(number, reason, user=acting(opened, actor))
    out.print(f"DPIA {number} withdrawn")


@dpia.command("list")
def dpia_list(store: Store = None) -> None:
    """List the DPIAs with their state today."""
    show_table(open_store(store).dpias.list(), ("id", "state", "kind", "purpose", "version", "review_by", "title"))


@dpia.command("status")
def dpia_status(number: int, store: Store = None) -> None:
    """Say where a DPIA stands today, and every step so far."""
    record = open_store(store).dpias.record(number)
    for key, value in record.status.to_dict().items():
        out.print(f"{key:<14}{_text(value)}", markup=False)
    if record.content.note:
        out.print(record.content.note, markup=False)
    show_table(record.steps, ("at", "step", "by"))


@dpia.command("diff")
def dpia_diff(
    number: int,
    before: Annotated[int | None, typer.Option("--from", help="version; the one before by default")] = None,
    after: Annotated[int | None, typer.Option("--to", help="version; the last one by default")] = None,
    store: Store = None,
) -> None:
    """Show what differs between two versions of a DPIA."""
    found = open_store(store).dpias.diff(number, before=before, after=after)
    out.print(f"DPIA {number}, version {found.before} → {found.after}: {len(found.changes)} fields differ")
    for field, (old, new) in found.changes.items():
        out.print(f"{field}\n  - {_text(old)}\n  + {_text(new)}", markup=False)


@dpia.command("export")
def dpia_export(
    number: int,
    file: Annotated[Path, typer.Option("--out", help="FILE.pdf or FILE.html")],
    store: Store = None,
) -> None:
    """Write a DPIA with its decisions and versions as a page to print and file."""
    from crimeface_lib.reporting import publish_dpia

    opened = open_store(store)
    record, diff = opened.dpias.record(number), opened.dpias.diff(number)
    publish_dpia(record, file, diff=diff, at=opened.clock(), chromium=load_settings().chromium)
    out.print(f"written {file}")


@watchlist.command("enrol")
def watchlist_enrol(
    folder: Annotated[
        Path, typer.Argument(help="folder of photos, one a subject; the file's name is the subject's id")
    ],
    source: Annotated[str, typer.Option(help="where the photos lawfully come from")],
    rationale: Annotated[str, typer.Option(help="why these people are on it")],
    category: Annotated[str, typer.Option(help="category of the entries")],
    expires: Annotated[datetime, typer.Option(formats=["%Y-%m-%d"], help="last day of the entries")],
    name: Annotated[str, typer.Option(help="watchlist; the dataset a DPIA names")] = "default",
    embedder: Annotated[str, typer.Option(help="an installed one, or the card (.yaml) of an ONNX net")] = "dlib",
    children: Annotated[
        int | None, typer.Option(metavar="CHANGE", help="these are children: number of the extra approval")
    ] = None,
    duplicates: Annotated[
        str, typer.Option(help="what becomes of those who resemble somebody else: report, skip or refuse")
    ] = "report",
    duplicate_score: Annotated[
        float | None, typer.Option(help="score from which two resemble each other; otherwise the same photo only")
    ] = None,
    keep_photos: Annotated[
        bool, typer.Option("--keep-photos", help="keep each photo as evidence, for reviewers; it goes with its entry")
    ] = False,
    store: Store = None,
    actor: As = None,
) -> None:
    """Enrol a folder of photos. Photos without a usable face are listed, never dropped in silence."""
    from crimeface_lib.core.hashing import sha256_file
    from crimeface_lib.recognition import embed_images, load_embedder
    from crimeface_lib.workflow.children import check_children
    from crimeface_lib.workflow.reference_photos import keep_enrolled_photos

    opened = open_store(store)
    user = acting(opened, actor)
    opened.people.require(user, "face_search")
    if not folder.is_dir():
        raise InputError(f"got {folder}, expected a folder of photos")
    if children is not None:
        check_children(opened, children, folder, watchlist=name, by=user)
    opened.require_model("embedders", embedder)
    net = load_embedder(embedder)
    entries = opened.open_watchlist(name, create=True)
    facts = {
        "source": source,
        "rationale": rationale,
        "category": category,
        "added_by": user.id,
        "expires": expires.date(),
        "minor": children is not None,
        "minor_approval": None if children is None else f"change {children}",
    }
    files = [path for path in sorted(folder.iterdir()) if path.is_file()]
    known = entries.known(path.stem for path in files)
    files, there, added = [path for path in files if path.stem not in known], len(known), 0
    failed, alike = [], []
    try:
        for start in track(range(0, len(files), 32), description="enrolling", transient=True):
            some = files[start : start + 32]
            told = entries.enrol_many(
                embed_images(some, embedder=net), subjects=[path.stem for path in some],
                photos=[sha256_file(path) for path in some], duplicates=duplicates, duplicate_score=duplicate_score,
                **facts,
            )  # fmt: skip
            added, there = added + told.enrolled, there + told.present
            failed += [f"{some[index].name}: {why}" for index, why in told.failures.items()]
            alike += [f"{one.subject} and {one.other}: {one.reason}, score {one.score:.3f}" for one in told.duplicates]
    finally:  # also of what was enrolled before it was interrupted
        opened.audit.record(
            "watchlist.enrolled", actor=user.id, at=opened.clock(), watchlist=name, entries=added, present=there,
            failed=len(failed),
        )  # fmt: skip
    for line in failed:
        out.print(f"not enrolled: {line}")
    for line in alike:
        out.print(f"perhaps one person, for people to check: {line}")
    out.print(f"{added} enrolled, {len(failed)} failed, {there} were there before")
    if keep_photos:
        kept = keep_enrolled_photos(opened, folder, watchlist=name, actor=user.id)
        out.print(f"{kept} photos kept as evidence; each goes with its entry, and no export of the list holds it")


@watchlist.command("list")
def watchlist_list(name: Annotated[str, typer.Option(help="watchlist")] = "default", store: Store = None) -> None:
    """List the entries of a watchlist; templates are never shown."""
    show_table(
        open_store(store).open_watchlist(name).entries(),
        ("subject", "category", "source", "added_by", "expires", "minor_approval"),
    )


@watchlist.command("purge")
def watchlist_purge(name: Annotated[str, typer.Option(help="watchlist")] = "default", store: Store = None) -> None:
    """Delete the entries that have expired and that no legal hold keeps."""
    opened = open_store(store)
    before = len(opened.disposer.tombstones())
    left = len(opened.open_watchlist(name))  # which purges it
    out.print(f"{len(opened.disposer.tombstones()) - before} purged, {left} left")


def show_table(rows: Any, columns: tuple[str, ...]) -> None:
    """Print results, or mappings, as a table of these columns."""
    table = Table(*columns, box=None, pad_edge=False)
    for row in rows:
        values = row if isinstance(row, dict) else row.to_dict()
        table.add_row(*(_text(values.get(column)) for column in columns))
    wide = out if out.is_terminal else Console(width=200, highlight=False)  # a pipe has no edge to fold at
    wide.print(table if table.row_count else "none yet")


def _text(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else "" if value is None else str(value)
