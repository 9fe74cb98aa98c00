"""Command-line groups for bias reports, retention, the models' bill of materials and mail."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from crimeface_lib.core.clock import utc_now
from crimeface_lib.core.errors import InputError
from crimeface_lib.core.files import write_atomic
from crimeface_lib.workflow.bias_study import read_table
from crimeface_lib.workflow.cli_governance import As, Store, acting, open_store

bias = typer.Typer(no_args_is_help=True, help="Bias reports: error rates by group, kept and held against a band.")
retention = typer.Typer(no_args_is_help=True, help="What is due for deletion, legal holds, what went.")
models = typer.Typer(no_args_is_help=True, help="Models: cards, datasheets, licences, bill of materials.")
out = Console(highlight=False, soft_wrap=True)


@bias.command("add")
def bias_add(
    comparisons: Annotated[Path, typer.Argument(help="CSV: score, mated, <attribute>_a, <attribute>_b; a row each")],
    groups: Annotated[str, typer.Option(help="attributes, by commas: sex,age")],
    threshold: Annotated[float, typer.Option(help="one for all groups")],
    model: Annotated[str, typer.Option(help="as the DPIA names it")],
    version: Annotated[str, typer.Option(help="as the DPIA names it")],
    dataset: Annotated[str, typer.Option(help="id of the data")],
    protocol: Annotated[str, typer.Option(help="how the comparisons were made, in words")],
    dpia: Annotated[int | None, typer.Option(help="DPIA whose approved band the report is held against")] = None,
    enrolments: Annotated[Path | None, typer.Option(help="CSV: failed, <attribute>; a row an image")] = None,
    minimum: Annotated[int, typer.Option(min=1, help="no rate from fewer comparisons")] = 30,
    seed: Annotated[int, typer.Option(help="of the resampling")] = 0,
    store: Store = None,
    actor: As = None,
) -> None:
    """Measure error rates by group, keep the report, and say what is outside the approved band."""
    from crimeface_lib.governance import audit_bias
    from crimeface_lib.workflow.notices import tell_of_differentials

    opened = open_store(store)
    user = acting(opened, actor)
    report = audit_bias(
        read_table(comparisons, booleans=("mated",)), groups=[g.strip() for g in groups.split(",") if g.strip()],
        threshold=threshold, minimum=minimum, rng=seed,
        enrolments=read_table(enrolments, booleans=("failed",)) if enrolments else None,
    )  # fmt: skip
    stored = opened.bias.add(
        report, model=model, version=version, dataset=dataset, protocol=protocol, actor=user.id, dpia=dpia
    )
    _print_frame(stored.to_frame(), ("attribute", "measure", "value", "low", "high", "band_low", "band_high", "state"))
    for name, withheld in report.withheld.items():
        if withheld:
            out.print(f"too few to say anything about {name}: {', '.join(withheld)}", markup=False)
    for alert in stored.alerts:
        out.print("[yellow]outside its band[/] ", end="")
        out.print(alert.in_words(), markup=False)
    for line in tell_of_differentials(opened, stored):
        out.print(f"note: {line}", markup=False)
    out.print(f"bias report {stored.id} kept")


@bias.command("summary")
def bias_summary(store: Store = None) -> None:
    """Show the last report of each model and dataset."""
    found = open_store(store).bias.summary()
    columns = ("report", "model", "dataset", "attribute", "measure", "value", "low", "high", "state")
    _print_frame(found.to_frame(), columns)
    if found.withheld:
        out.print(f"too few to say anything about {', '.join(found.withheld)}", markup=False)


@bias.command("trend")
def bias_trend(
    measure: Annotated[str, typer.Argument(help="garbe, fdr, fmr_max_min …")],
    attribute: Annotated[str, typer.Option(help="attribute of people")],
    model: Annotated[str, typer.Option(help="id of the model")],
    dataset: Annotated[str | None, typer.Option(help="on this data only")] = None,
    figure: Annotated[Path | None, typer.Option("--figure", help="also draw it, as PNG")] = None,
    store: Store = None,
) -> None:
    """Show one measure over all reports on a model."""
    table = open_store(store).bias.trend(measure, attribute=attribute, model=model, dataset=dataset)
    _print_frame(table.to_frame(), ("report", "at", "version", "value", "low", "high", "state"))
    if figure:
        from crimeface_lib.reporting import bias_trend_figure
        from crimeface_lib.reporting.style import figure_png

        write_atomic(figure, figure_png(bias_trend_figure(table.to_frame())))
        out.print(f"wrote {figure}")


@bias.command("export")
def bias_export(
    report: Annotated[int, typer.Argument(help="number of the report")],
    file: Annotated[Path, typer.Option("--out", metavar="FILE", help="JSON to write; 'crimeface policy' reads it")],
    figure: Annotated[Path | None, typer.Option("--figure", help="also draw the rates by group, as PNG")] = None,
    store: Store = None,
) -> None:
    """Write a kept report, for a change of threshold say, and draw its rates by group."""
    import json

    from crimeface_lib.reporting import bias_rates_figure
    from crimeface_lib.reporting.style import figure_png

    stored = open_store(store).bias.get(report)
    write_atomic(file, json.dumps(stored.report.to_dict(), indent=1, ensure_ascii=False).encode())
    if figure:
        write_atomic(figure, figure_png(bias_rates_figure(stored.report.rates)))
    out.print(f"wrote {file}")


@retention.command("list")
def retention_list(store: Store = None, actor: As = None) -> None:
    """Dry run: what would go, what a hold keeps, and why. Nothing is deleted."""
    from crimeface_lib.workflow.retention import plan_retention

    opened = open_store(store)
    user = opened.people.require(acting(opened, actor), "keep_evidence")
    plan = plan_retention(opened, actor=user.id)
    _print_frame(plan.to_frame(), ("fate", "id", "category", "case", "expires", "why"))
    out.print(f"{len(plan.to_delete)} of {len(plan.items)} would go")


@retention.command("apply")
def retention_apply(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="only say what would go")] = False,
    store: Store = None,
    actor: As = None,
) -> None:
    """Delete what is due; what a hold keeps stays, and each refusal is logged."""
    from crimeface_lib.workflow.retention import apply_retention

    if dry_run:
        retention_list(store, actor)
        return
    opened = open_store(store)
    user = opened.people.require(acting(opened, actor), "keep_evidence")
    done = apply_retention(opened, actor=user.id)
    for id, reason in done.failed.items():
        out.print(f"not deleted: {id}: {reason}", markup=False)
    out.print(f"{len(done.erased)} deleted, {len(done.held)} held, {len(done.failed)} failed")
    if done.failed:
        raise typer.Exit(1)


@retention.command("hold")
def retention_hold(
    scope: Annotated[str, typer.Argument(help="case:REF, or item:ID as 'retention list' shows it")],
    reason: Annotated[str, typer.Option(help="why; no name of a person")],
    store: Store = None,
    actor: As = None,
) -> None:
    """Keep a case or a thing beyond its period, until another person releases it."""
    opened = open_store(store)
    number = opened.disposer.hold(scope, reason=reason, by=acting(opened, actor))
    out.print(f"hold {number} on {scope}", markup=False)


@retention.command("release")
def retention_release(hold: int, store: Store = None, actor: As = None) -> None:
    """End a hold; who placed it can't."""
    opened = open_store(store)
    opened.disposer.release(hold, by=acting(opened, actor))
    out.print(f"hold {hold} released")


@retention.command("holds")
def retention_holds(store: Store = None) -> None:
    """List the holds in force."""
    import pandas as pd

    columns = ("id", "scope", "reason", "by", "at")
    _print_frame(pd.DataFrame([h.to_dict() for h in open_store(store).disposer.holds()], columns=columns), columns)


@retention.command("gone")
def retention_gone(store: Store = None) -> None:
    """List the tombstones: what category went when, by which rule; nothing says what it was."""
    graves = open_store(store).disposer.tombstones()
    _print_frame(graves.assign(item=graves["item"].str[:19]), ("at", "category", "why", "by", "state", "item"))


@models.command("list")
def models_list(store: Store = None) -> None:
    """List the models that may be loaded, with the licences of code and weights."""
    import pandas as pd

    rows = [
        (c.name, c.version, c.kind, c.licence.code, c.licence.weights, "research only" if c.research_only else "")
        for c in open_store(store).models
    ]
    columns = ("name", "version", "kind", "code", "weights", "use")
    _print_frame(pd.DataFrame(rows, columns=columns), columns)


@models.command("add")
def models_add(
    file: Annotated[Path, typer.Argument(help="model card or datasheet, YAML")], store: Store = None, actor: As = None
) -> None:
    """Add a card or a datasheet to the store, if licence and data are known. An admin's duty."""
    from crimeface_lib.core.hashing import sha256_bytes
    from crimeface_lib.governance import ModelRegistry

    opened = open_store(store)
    user = opened.people.require(acting(opened, actor), "manage_people")
    try:
        data = file.read_bytes()
    except OSError as error:
        raise InputError(f"{file}: {error}") from error
    target = opened.folder / "models" / f"{sha256_bytes(data)[:16]}.yaml"
    write_atomic(target, data)
    try:
        ModelRegistry.open(target.parent)
    except BaseException:
        target.unlink()
        raise
    opened.audit.record("model.registered", actor=user.id, at=utc_now(), card=sha256_bytes(data))
    out.print(f"added {file.name}", markup=False)


def mlbom(
    file: Annotated[Path, typer.Option("--out", metavar="FILE", help="where to write it")],
    run: Annotated[Path | None, typer.Option(help="folder of a run: only the models that it used")] = None,
    store: Store = None,
) -> None:
    """Write the bill of materials of the models and their data: CycloneDX 1.6, with fairness assessments."""
    from importlib.metadata import version

    from crimeface_lib.governance import build_mlbom, mlbom_json
    from crimeface_lib.workflow.seal import read_manifest

    names = [model["model"] for model in read_manifest(run)["models"]] if run else None
    bom = build_mlbom(open_store(store).models, at=utc_now(), version=version("crimeface-lib"), models=names)
    write_atomic(file, mlbom_json(bom).encode())
    out.print(f"wrote {file}: {sum(c['type'] == 'machine-learning-model' for c in bom['components'])} models")


def notify(
    test: Annotated[bool, typer.Option("--test", help="send a test message instead")] = False, store: Store = None
) -> None:
    """Mail what people wait for: reviews that are due. For a timer; runs and bias reports send their own."""
    from crimeface_lib.reporting import Notice, send_notice
    from crimeface_lib.workflow.notices import tell_of_reviews

    opened = open_store(store)
    if not opened.settings.smtp_host:
        raise InputError("no mail server: set CRIMEFACE_SMTP_HOST, CRIMEFACE_SMTP_SENDER and CRIMEFACE_SMTP_RECIPIENTS")
    if test:
        send_notice(Notice("test", "Test", "Mail works."), settings=opened.settings, at=utc_now())
        out.print("sent")
        return
    failed = tell_of_reviews(opened)
    for line in failed:
        out.print(f"note: {line}", markup=False)
    if failed:
        raise typer.Exit(1)
    out.print("nobody is left to be told")


def _print_frame(frame: Any, columns: tuple[str, ...]) -> None:
    table = Table(*columns, box=None, pad_edge=False)
    for row in frame[list(columns)].itertuples(index=False, name=None):
        table.add_row(*(_cell(value) for value in row))
    wide = out if out.is_terminal else Console(width=200, highlight=False)  # a pipe has no edge to fold at
    wide.print(table if table.row_count else "none yet")


def _cell(value: Any) -> str:
    from rich.markup import escape

    if value is None or value != value:  # NaN, NaT
        return ""
    if hasattr(value, "strftime"):
        return f"{value:%Y-%m-%d}"
    return f"{value:.3g}" if isinstance(value, float) else escape(str(value))
