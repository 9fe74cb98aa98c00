"""The command line. Exit codes: 0 done, 2 bad input, 3 refused by policy, 1 our fault, 130 stopped by hand."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from crimeface_lib.core.errors import CrimefaceError, InputError
from crimeface_lib.core.yamltext import read_yaml
from crimeface_lib.workflow.cli_assurance import bias, mlbom, models, notify, retention
from crimeface_lib.workflow.cli_evidence import evidence
from crimeface_lib.workflow.cli_governance import dpia, people, show_who
from crimeface_lib.workflow.cli_keys import keys, records
from crimeface_lib.workflow.cli_review import audit, policy, review
from crimeface_lib.workflow.cli_watchlist import watchlist

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="3D faces, candidate lists, evidence, governance and crime by place: run a notebook, get a signed report.",
)
out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)

Parameters = Annotated[
    list[str] | None,
    typer.Option(
        "-p", "--parameter", metavar="NAME=VALUE", help="a parameter; dots reach into sections: make_grid.cell=100"
    ),
]
app.add_typer(people, name="people")
app.add_typer(dpia, name="dpia")
app.add_typer(watchlist, name="watchlist")
app.add_typer(review, name="review")
app.add_typer(policy, name="policy")
app.add_typer(audit, name="audit")
app.add_typer(evidence, name="evidence")
app.add_typer(bias, name="bias")
app.add_typer(retention, name="retention")
app.add_typer(models, name="models")
app.command("mlbom")(mlbom)
app.command("notify")(notify)
app.add_typer(keys, name="keys")
app.add_typer(records, name="records")


@app.command()
def run(
    notebook: Annotated[str, typer.Argument(help="reconstruct, recognise, crime_overview or case_report")],
    parameter: Parameters = None,
    config: Annotated[Path | None, typer.Option(help="YAML to use instead of configs/NOTEBOOK.yaml")] = None,
    resume: Annotated[str | None, typer.Option(metavar="RUN", help="go on with an interrupted run")] = None,
) -> None:
    """Run a notebook on your own input and publish the report."""
    overrides = parse_parameters(parameter or [])
    if sys.stdin.isatty() and (actor := overrides.get("actor")):
        show_who(str(actor), store=overrides.get("store"))
    _run_and_tell(notebook, overrides, config=config, resume=resume)


@app.command()
def sweep(
    notebook: Annotated[str, typer.Argument(help="the notebook that every point of the grid runs")] = "",
    grid: Annotated[
        list[str] | None, typer.Option(metavar="NAME=A,B,…", help="a parameter and its values; may be repeated")
    ] = None,
    parameter: Parameters = None,
    config: Annotated[Path | None, typer.Option(help="YAML to use instead of configs/NOTEBOOK.yaml")] = None,
    workers: Annotated[int, typer.Option(help="runs side by side on this machine")] = 2,
    scheduler: Annotated[str | None, typer.Option(help="address of a Dask scheduler, instead of this machine")] = None,
    resume: Annotated[str | None, typer.Option(metavar="SWEEP", help="go on with a sweep: what is done stays")] = None,
) -> None:
    """Run a notebook for every combination of parameters, then one page that compares the runs."""
    from crimeface_lib.workflow.sweep import load_sweep, plan_sweep, run_sweep

    if resume:
        if notebook or grid or parameter or config:
            raise InputError("a sweep that is gone on with keeps its notebook and parameters; give --resume alone")
        found = load_sweep(resume)
    else:
        if not notebook:
            raise InputError("no notebook; expected: crimeface sweep NOTEBOOK --grid NAME=A,B")
        found = plan_sweep(notebook, parse_grid(grid or []), parse_parameters(parameter or []), config=config)
    left = len(found.points) - len(found.done)
    again = f"; if stopped, it goes on with: crimeface sweep --resume {found.id}" if left else ""
    err.print(f"sweep  {found.id}: {len(found.points)} runs, {len(found.done)} done{again}")
    with _bars() as bars:
        task = bars.add_task(found.notebook, total=len(found.points), completed=len(found.done))

        def ended(point: Any) -> None:
            bars.advance(task)
            number = f"{bars.tasks[0].completed:.0f} of {len(found.points)}"
            bars.console.print(f"{number}  {point.status}: {_asked(point)}", markup=False)

        found = run_sweep(found, workers=workers, scheduler=scheduler, progress=ended)
    for point in found.points:
        out.print(_ending(point), markup=False)
    if len(found.done) >= 2:
        keep = {"actor", "store", "purpose", "case"}
        shared = {name: value for name, value in found.shared.items() if name in keep}
        _run_and_tell("compare_runs", {**shared, "runs": [point.run for point in found.done]})
    if code := max(point.exit_code for point in found.points):
        err.print(
            f"{len(found.points) - len(found.done)} runs are not done; go on with: crimeface sweep --resume {found.id}"
        )
        raise typer.Exit(code)


@app.command()
def compare(
    runs: Annotated[list[str], typer.Argument(help="two or more runs, by id")],
    parameter: Parameters = None,
) -> None:
    """Show runs beside one another: what was asked differently, on which inputs, and how the numbers moved."""
    _run_and_tell("compare_runs", {"runs": runs, **parse_parameters(parameter or [])})


@app.command()
def demo(parameter: Parameters = None) -> None:
    """Run the main job on sample input: a public-domain photo, a synthetic watchlist, synthetic crimes."""
    from crimeface_lib.workflow.demo import prepare_demo

    overrides, told = prepare_demo()
    for line in told:
        out.print(f"  {line}")
    _run_and_tell("case_report", {**overrides, **parse_parameters(parameter or [])})


@app.command()
def doctor() -> None:
    """Say what is installed, which device and models there are, their licences, and how to get what is missing."""
    from crimeface_lib.workflow.doctor import examine

    findings = examine()
    colours = {"ok": "green", "optional": "yellow", "missing": "red"}
    for item in findings:
        out.print(f"[{colours[item.state]}]{item.state:<9}[/]{item.part}: {item.detail}")
        if item.remedy:
            out.print(f"{'':<9}→ {item.remedy}", markup=False)
    if any(item.state == "missing" for item in findings):
        raise typer.Exit(1)


@app.command()
def verify(
    folder: Annotated[Path, typer.Argument(help="a run folder, an evidence package (folder or zip), or a store")],
    checkpoint: Annotated[
        Path | None, typer.Option(help="checkpoint that you hold: of a package, or the checkpoint.json of a run")
    ] = None,
    key: Annotated[str | None, typer.Option(help="public key that you hold (hexadecimal), for a run")] = None,
    stamp: Annotated[Path | None, typer.Option("--timestamp", help="time stamp (RFC 3161) of the checkpoint")] = None,
    authority: Annotated[
        Path | None, typer.Option(help="certificates (PEM) of the time-stamping authority that you trust")
    ] = None,
) -> None:
    """Check that a run or package is what was signed, or that a store's logs still agree with a checkpoint."""
    from crimeface_lib.evidence.verify import is_package, verify_package
    from crimeface_lib.workflow.seal import verify_run, verify_store

    if is_package(folder):
        report = verify_package(folder, checkpoint=checkpoint)
        if stamp is not None:
            _check_stamp(checkpoint, stamp, authority)
        if report.warning:
            err.print(f"[yellow]warning[/]: {report.warning}")
        out.print("[green]unchanged[/]: evidence package ", end="")
        out.print(f"{folder}, {report.items} items, exported {report.exported} by {report.actor}", markup=False)
        return
    if (folder / "keys.json").exists():
        events = verify_store(folder, checkpoint=checkpoint)
        out.print(f"[green]unchanged[/]: {', '.join(f'{count} {name} events' for name, count in events.items())}")
        return
    if folder.is_file():
        raise InputError(f"{folder} is a file and no .zip; give a run folder, an evidence package or a store")
    check = verify_run(folder, key=key)
    out.print(f"[green]unchanged[/]: run {check.run}, {check.files} files, signed by key {check.key}")


@app.command()
def fetch(what: Annotated[str, typer.Argument(help="ict")]) -> None:
    """Download a model once, with progress and a SHA-256 for each file."""
    from crimeface_lib.reconstruction.ict import fetch_ict

    if what != "ict":
        raise InputError(f"got {what!r}, expected ict: the only model that may be downloaded freely")
    out.print(f"ready: {fetch_ict()}")


@app.command()
def apps(port: Annotated[int, typer.Option(help="port on 127.0.0.1")] = 8866) -> None:
    """Serve the Voila apps on 127.0.0.1, behind a token."""
    from crimeface_lib.workflow.serve import serve_apps

    serve_apps(port=port)


def _check_stamp(checkpoint: Path | None, stamp: Path, authority: Path | None) -> None:
    from crimeface_lib.evidence import verify_timestamp

    if checkpoint is None or authority is None:
        raise InputError("a time stamp is checked with --checkpoint FILE, which it is of, and --authority CERTIFICATES")
    told = verify_timestamp(checkpoint.read_bytes(), stamp.read_bytes(), certificates=authority.read_bytes())
    out.print(f"checkpoint time-stamped {told.at:%Y-%m-%d %H:%M:%S} UTC by {told.authority}", markup=False)


def parse_parameters(pairs: list[str]) -> dict[str, Any]:
    """Return ``NAME=VALUE`` pairs as a mapping; values are read as YAML, so 3, true and [a, b] get their type.

    >>> parse_parameters(["make_grid.cell=100", "predict=false"])
    {'make_grid.cell': 100, 'predict': False}
    """
    values = {}
    for pair in pairs:
        name, sign, text = pair.partition("=")
        if not sign or not name:
            raise InputError(f"parameter: got {pair!r}, expected NAME=VALUE")
        try:
            values[name] = read_yaml(text) if text else ""
        except InputError:  # a path such as "C: [x" is text
            values[name] = text
    return values


def parse_grid(pairs: list[str]) -> dict[str, Any]:
    """Return ``NAME=A,B,…`` pairs as names and lists of values.

    >>> parse_grid(["horizon=1,3,6", "force=merseyside"])
    {'horizon': [1, 3, 6], 'force': ['merseyside']}
    """
    return parse_parameters([pair if "=[" in pair else pair.replace("=", "=[", 1) + "]" for pair in pairs])


def _asked(point: Any) -> str:
    return " ".join(f"{name}={value}" for name, value in point.parameters.items())


def _ending(point: Any) -> str:
    """Return how a point of a sweep ended, on one line."""
    again = "died once and was tried again" if point.attempts == 2 and point.status == "done" else ""
    return "  ".join(part for part in (f"{point.status:<11}", _asked(point), point.run, again, point.reason) if part)


def _bars() -> Progress:
    columns = (SpinnerColumn(), TextColumn("{task.description:<20}"), BarColumn(), TimeElapsedColumn())
    return Progress(*columns, console=err, transient=not err.is_terminal)


def _run_and_tell(notebook: str, overrides: dict[str, Any], **options: Any) -> None:
    from crimeface_lib.workflow.job import run_job

    with _bars() as bars:
        tasks: dict[str, Any] = {}

        def progress(name: str, done: int, total: int) -> None:
            if name not in tasks:
                tasks[name] = bars.add_task(name, total=total)
            bars.update(tasks[name], completed=done)

        folder = run_job(notebook, overrides, progress=progress, **options)
    from crimeface_lib.workflow.seal import read_manifest

    manifest = read_manifest(folder)
    for line in manifest["notes"]:
        out.print(f"note: {line}")
    out.print(f"run    {folder}")
    out.print(f"report {folder / (notebook + '.html')}")


def main() -> None:
    """Entry point: errors made on purpose become one line and an exit code."""
    import os

    arguments = sys.argv[1:]
    debug = "--debug" in arguments
    sys.argv = [sys.argv[0], *(a for a in arguments if a != "--debug")]
    try:
        app()
    except KeyboardInterrupt:
        err.print("stopped")
        sys.exit(130)
    except CrimefaceError as error:
        if debug:
            raise
        word = "refused" if error.exit_code == 3 else "error"
        err.print(f"[red]{word}:[/] ", end="")
        err.print(str(error), markup=False)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        os._exit(0)
    except Exception as error:
        if debug:
            raise
        err.print("[red]our fault:[/] ", end="")
        err.print(f"{type(error).__name__}: {error}; run again with --debug for the traceback", markup=False)
        sys.exit(1)
