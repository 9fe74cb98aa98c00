"""Command-line groups for what two people decide: reviews of candidate lists, changes of policy; and the audit log."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from crimeface_lib.core.errors import InputError
from crimeface_lib.workflow.cli_governance import As, Store, acting, open_store, out, show_table

review = typer.Typer(no_args_is_help=True, help="Candidate lists: two people decide, the second blind to the first.")
policy = typer.Typer(no_args_is_help=True, help="Thresholds and children on watchlists: one asks, another approves.")
audit = typer.Typer(no_args_is_help=True, help="The audit log: who did what, when, under which assessment.")

Report = Annotated[Path, typer.Option(help="bias report at that threshold, as JSON")]
Day = Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"], help="UTC")]


@review.command("list")
def review_list(run: Annotated[str | None, typer.Option(help="of this run only")] = None, store: Store = None) -> None:
    """List the candidate lists and where their reviews stand."""
    show_table(open_store(store).reviews.list(run=run), ("id", "state", "run", "asked_by", "reviewers", "outcome"))


@review.command("show")
def review_show(number: int, store: Store = None) -> None:
    """Show one review: its candidates, and, once both have decided, the decisions."""
    found = open_store(store).reviews.get(number)
    out.print(f"review {number} of run {found.run}: {found.state}\n{found.outcome}\ncandidates, best first:")
    for rank, record in enumerate(found.candidates, start=1):
        out.print(f"  {rank}. {record}")
    if found.decisions:
        show_table(found.decisions, ("by", "decision", "candidate", "reason", "at"))


@review.command("decide")
def review_decide(
    number: int,
    decision: Annotated[str, typer.Option(help="follow_up, no_follow_up or inconclusive")],
    reason: Annotated[str, typer.Option(help="what was seen in the photos")],
    rank: Annotated[int | None, typer.Option(help="rank of the candidate to follow up")] = None,
    store: Store = None,
    actor: As = None,
) -> None:
    """Decide on a candidate list; nobody sees it before another person has decided too."""
    opened = open_store(store)
    candidates = opened.reviews.get(number).candidates
    if rank is not None and not 1 <= rank <= len(candidates):
        raise InputError(f"rank: got {rank}, expected 1 to {len(candidates)}")
    candidate = "" if rank is None else candidates[rank - 1]
    user = acting(opened, actor)
    done = opened.reviews.decide(number, decision, reason=reason, candidate=candidate, by=user)
    out.print(f"review {number}: {done.state}. {done.outcome}")


@review.command("issue")
def review_issue(
    run: Annotated[str, typer.Argument(help="id of the run")],
    file: Annotated[Path, typer.Option("--out", help="report to write: FILE.html or FILE.pdf")],
    notebook: Annotated[str | None, typer.Option(help="page of the run; its main one by default")] = None,
    store: Store = None,
    actor: As = None,
) -> None:
    """Write a run's report with both decisions, to be passed on; refused before two people have decided."""
    from crimeface_lib.workflow.issue import issue_report

    opened = open_store(store)
    issue_report(run, file, store=opened, by=acting(opened, actor), notebook=notebook)
    out.print(f"issued {file}")


@policy.command("show")
def policy_show(store: Store = None) -> None:
    """List the thresholds that were changed; for every other model the one in its DPIA stands."""
    show_table(open_store(store).policy.thresholds(), ("model", "version", "threshold", "change"))


@policy.command("changes")
def policy_changes(store: Store = None) -> None:
    """List every change that was asked for, and what became of it."""
    columns = ("id", "state", "kind", "asked_by", "asked_at", "decided_by", "reason", "answer")
    show_table(open_store(store).changes.list(), columns)


@policy.command("threshold")
def policy_threshold(
    threshold: float,
    model: Annotated[str, typer.Option(help="model, as its DPIA names it")],
    version: Annotated[str, typer.Option(help="version, as its DPIA names it")],
    before: Report,
    after: Report,
    reason: Annotated[str, typer.Option(help="why")],
    store: Store = None,
    actor: As = None,
) -> None:
    """Ask for another threshold, with the differentials between groups before and after."""
    from crimeface_lib.governance.thresholds import read_report

    opened = open_store(store)
    reports = {"before": read_report(before), "after": read_report(after)}
    by = acting(opened, actor)
    number = opened.policy.ask(threshold, model=model, version=version, **reports, reason=reason, by=by)
    out.print(f"change {number} asked for; next: crimeface policy approve {number} --as APPROVER")


@policy.command("children")
def policy_children(
    folder: Annotated[Path, typer.Argument(help="folder of the children's photos")],
    reason: Annotated[str, typer.Option(help="why children have to be on it")],
    name: Annotated[str, typer.Option(help="watchlist")] = "default",
    store: Store = None,
    actor: As = None,
) -> None:
    """Ask for the extra approval that photos of children need before they are enrolled."""
    from crimeface_lib.workflow.children import ask_for_children

    opened = open_store(store)
    number = ask_for_children(opened, folder, watchlist=name, reason=reason, by=acting(opened, actor))
    out.print(f"change {number} asked for; next: crimeface policy approve {number} --as APPROVER")


@policy.command("approve")
def policy_approve(
    number: int,
    answer: Annotated[str, typer.Option(help="what was weighed")],
    store: Store = None,
    actor: As = None,
) -> None:
    """Approve a change that another person asked for; a threshold is in force at once."""
    opened = open_store(store)
    by = acting(opened, actor)
    change = opened.changes.approve(number, answer=answer, by=by)
    if change.kind == "threshold":
        new = opened.policy.apply(number, by=by)
        out.print(f"threshold {new.threshold:g} in force; DPIAs that name another permit nothing until edited")
    else:
        out.print(f"change {number} approved; next: crimeface watchlist enrol FOLDER --children {number}")


@policy.command("reject")
def policy_reject(
    number: int, answer: Annotated[str, typer.Option(help="why")], store: Store = None, actor: As = None
) -> None:
    """Reject a change."""
    opened = open_store(store)
    opened.changes.reject(number, answer=answer, by=acting(opened, actor))
    out.print(f"change {number} rejected")


@policy.command("restore")
def policy_restore(store: Store = None, actor: As = None) -> None:
    """Write a lost or altered policy file anew from the approved changes; an admin does."""
    opened = open_store(store)
    restored = opened.policy.restore(by=acting(opened, actor))
    out.print(f"policy file written: {len(restored)} changed thresholds")


@audit.command("list")
def audit_list(
    event: Annotated[str, typer.Argument(help="how the event's name starts, e.g. policy. or dpia.approved")] = "",
    since: Day = None,
    until: Day = None,
    actor: Annotated[str | None, typer.Option("--actor", help="account that did it")] = None,
    run: Annotated[str | None, typer.Option(help="id of a run")] = None,
    number: Annotated[int | None, typer.Option("--dpia", help="number of a DPIA")] = None,
    last: Annotated[int | None, typer.Option(help="only the last so many", min=1)] = None,
    store: Store = None,
) -> None:
    """List events, oldest first."""
    facts: dict[str, Any] = {key: value for key, value in (("run", run), ("dpia", number)) if value is not None}
    times = {"since": since and since.replace(tzinfo=UTC), "until": until and until.replace(tzinfo=UTC)}
    frame = open_store(store).audit.search(event, actor=actor, **times, **facts).to_frame()
    rows = frame.tail(last) if last else frame
    show_table(rows.to_dict("records"), tuple(frame.columns))


@audit.command("show")
def audit_show(index: int, store: Store = None) -> None:
    """Show one event whole."""
    for key, value in open_store(store).audit.show(index).to_dict().items():
        pairs = value.items() if isinstance(value, dict) else [(key, value)]
        for name, fact in pairs:
            out.print(f"{name:<18}{fact}")


@audit.command("verify")
def audit_verify(
    checkpoint: Annotated[Path | None, typer.Option(help="checkpoint.json of a run, that you kept")] = None,
    store: Store = None,
) -> None:
    """Check the store's logs against themselves and against a checkpoint that you kept."""
    from crimeface_lib.workflow.seal import verify_store

    events = verify_store(open_store(store).folder, checkpoint=checkpoint)
    held = "they agree with your checkpoint" if checkpoint else "without a checkpoint a log rewritten whole would pass"
    out.print(f"[green]unchanged[/]: {', '.join(f'{count} {name} events' for name, count in events.items())}; {held}")
