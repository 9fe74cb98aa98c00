"""Runs beside one another: what was asked differently, on which inputs, and how the numbers moved."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from crimeface_lib.core.errors import InputError, IntegrityError
from crimeface_lib.core.results import Result
from crimeface_lib.core.types import ImageArray
from crimeface_lib.reporting.publish import format_started
from crimeface_lib.workflow.seal import MANIFEST, read_manifest, verify_run

if TYPE_CHECKING:
    import pandas as pd

#: Not compared: they name the run itself.
_OWN = {"run", "title", "question"}
_LONGEST = 200  # numbers of a list that are compared one by one


@dataclass(frozen=True, slots=True)
class RunComparison(Result):
    """Each frame has a column a run, headed by its number in ``runs``; runs of different notebooks share few rows.

    Parameters
    ----------
    runs : number, run, notebook, status, seal ("holds", or what is wrong), started, found.
    differences : what (parameter, input, model or software) and name, where not all runs agree.
    results : notebook, table, row and column of every number that differs, and the range over the runs; those that
        differ most, relative to their size, first. A row of a table is known by its words.
    same : how many numbers are equal in all runs.
    only : results, and rows of tables, that not every run has.
    """

    runs: pd.DataFrame
    differences: pd.DataFrame
    results: pd.DataFrame
    same: int
    only: tuple[str, ...]

    def to_frame(self) -> pd.DataFrame:
        return self.results

    def differences_shown(self) -> pd.DataFrame:
        """Return what the runs differ in: a row a run where runs are more than differences, else a row a difference."""
        short = self.differences.assign(name=[self._short(name, ".") for name in self.differences["name"]])
        if len(self.runs) <= len(short) or short.empty or short["name"].duplicated().any():
            return short
        return short.drop(columns="what").set_index("name").T.rename_axis(index="run", columns=None).reset_index()

    def results_shown(self, *, most: int = 60) -> pd.DataFrame:
        """Return the numbers that differ most: one column of words, one a run, the range."""
        table = self.results.head(most)
        names = [f"{n}, {t}, {c}" + (f": {row}" if row else "") for n, t, row, c in table.iloc[:, :4].to_numpy()]
        words = [self._short(name, ", ").replace("_", " ") for name in names]
        return table.iloc[:, 4:].assign(**{"what differs": words})[["what differs", *table.columns[4:]]]

    def _short(self, name: str, end: str) -> str:
        """Return a name without the notebook, where all runs are of one."""
        one = set(self.runs["notebook"])
        return name.removeprefix(f"{next(iter(one))}{end}") if len(one) == 1 else name

    def found(self) -> tuple[str, ...]:
        """Return the sentences for the report's first block."""
        told = [f"{len(self.runs)} runs of {', '.join(sorted(set(self.runs['notebook'])))}: "
                f"{len(self.results)} numbers differ, {self.same} are equal."]  # fmt: skip
        counts = self.differences["what"].value_counts(sort=False)
        asked = [f"{count} {name}{'s' if count > 1 and name != 'software' else ''}" for name, count in counts.items()]
        told.append(f"They differ in {', '.join(asked)}." if asked else "They were asked the same, on the same input.")
        broken = self.runs.loc[self.runs["seal"] != "holds", "number"].tolist()
        return (*told, *([f"The seal of run {', '.join(broken)} does not hold."] if broken else []))

    def manifests(self, reports: Path) -> list[tuple[str, Path]]:
        """Return number and manifest of each run, for ``Run.take_in``: it holds the hash of every file of the run."""
        return [
            (number, reports / name / MANIFEST)
            for number, name in zip(self.runs["number"], self.runs["run"], strict=True)
        ]

    def pictures(self, reports: Path, *, most: int = 12) -> tuple[list[ImageArray], list[str]]:
        """Return the first figures that all runs have and that are not the same in all, by name, and their captions.

        At most four figures of each run, and of many runs so few that it makes ``most`` pictures, but one of each.
        """
        from PIL import Image

        folders = [reports / name / "figures" for name in self.runs["run"]]
        names = sorted(set.intersection(*({path.name for path in folder.glob("*.png")} for folder in folders)))
        differ = [name for name in names if len({(folder / name).read_bytes() for folder in folders}) > 1][
            : max(1, min(4, most // len(folders)))
        ]
        pictures = [np.array(Image.open(folder / name).convert("RGB")) for name in differ for folder in folders]
        captions = [f"{number}: {name[:-4].replace('_', ' ')}" for name in differ for number in self.runs["number"]]
        return pictures, captions


def compare_runs(runs: Sequence[str], *, reports: Path) -> RunComparison:
    """Return how runs differ: two, or all of a sweep.

    Parameters
    ----------
    runs : ids of two runs or more. One whose seal does not hold is compared too, and said to be so.
    reports : the folder that they lie in.

    Raises
    ------
    InputError : fewer than two runs, one of them twice, or a path for an id. NotFoundError : no such run.
    """
    import pandas as pd

    if len(set(runs)) != len(runs) or len(runs) < 2 or any(Path(run).name != run for run in runs):
        raise InputError(f"runs: got {', '.join(runs) or 'none'}; expected the ids of two different runs or more")
    paths = [reports / run for run in runs]
    manifests = [read_manifest(path) for path in paths]
    steps = [_steps(path) for path in paths]
    numbers = [str(number) for number in range(1, len(paths) + 1)]
    overview = [
        {"number": number, "run": path.name, "notebook": manifest["notebook"], "status": manifest["status"],
         "seal": _seal(path), "started": format_started(manifest["started"]), "found": manifest.get("headline", "")}
        for number, path, manifest in zip(numbers, paths, manifests, strict=True)
    ]  # fmt: skip
    facts = [dict(_facts(manifest, step)) for manifest, step in zip(manifests, steps, strict=True)]
    differences = [
        {"what": what, "name": name, **{n: fact.get((what, name), "–") for n, fact in zip(numbers, facts, strict=True)}}
        for what, name in dict.fromkeys(key for fact in facts for key in fact)
        if len({fact.get((what, name)) for fact in facts}) > 1
    ]
    results, same, only = _numbers(steps, numbers)
    return RunComparison(
        runs=pd.DataFrame(overview),
        differences=pd.DataFrame(differences, columns=["what", "name", *numbers]),
        results=results,
        same=same,
        only=only,
    )


def _steps(folder: Path) -> dict[str, Any]:
    return {path.stem: json.loads(path.read_bytes()) for path in sorted((folder / "steps").glob("*.json"))}


def _seal(folder: Path) -> str:
    try:
        verify_run(folder)
    except IntegrityError as error:
        return f"does not hold: {error}"
    return "holds"


def _facts(manifest: dict[str, Any], steps: dict[str, Any]) -> Iterator[tuple[tuple[str, str], str]]:
    """Yield what the run was made from, as text that can be compared."""
    for name, step in steps.items():
        for parameter, value in _leaves(step["parameters"]):
            if parameter not in _OWN:
                yield ("parameter", f"{name}.{parameter}"), str(value)
        for entry in step["inputs"]:
            yield ("input", entry["role"]), f"SHA-256 {entry['sha256'][:16]}…"
        for entry in step["models"]:
            yield ("model", entry["model"]), entry["version"][:24]
    code = manifest["code"]
    changed = " with changes" if code["changed_since_commit"] else ""
    yield ("software", "commit"), f"{(code['commit'] or 'unknown')[:12]}{changed}"
    for package, version in code["packages"].items():
        yield ("software", package), version


def _leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, below in value.items():
            yield from _leaves(below, f"{name}.{key}" if name else key)
    else:
        yield name, value


def _numbers(steps: list[dict[str, Any]], numbers: list[str]) -> tuple[pd.DataFrame, int, tuple[str, ...]]:
    """Return the table of numbers that differ, how many don't, and which results not all runs have."""
    import pandas as pd

    per_run = [
        {(notebook, table): rows for notebook, step in run.items() for table, rows in step["results"].items()}
        for run in steps
    ]
    everywhere = [name for name in per_run[0] if all(name in run for run in per_run)]
    only = [
        f"{name[1]} ({name[0]}): in runs {', '.join(n for n, run in zip(numbers, per_run, strict=True) if name in run)}"
        for name in dict.fromkeys(key for run in per_run for key in run)
        if name not in everywhere
    ]
    found, same = [], 0
    for notebook, table in everywhere:
        cells = [_cells(run[notebook, table]) for run in per_run]
        shared = [key for key in cells[0] if all(key in run for run in cells)]
        if apart := len({row for run in cells for row, _ in run} - {row for row, _ in shared}):
            only.append(f"{apart} rows of {table} ({notebook}): not in all runs")
        for row, column in shared:
            values = [run[row, column] for run in cells]
            if len(set(values)) == 1:
                same += 1
                continue
            found.append([notebook, table, row, column, *values, max(values) - min(values)])
    frame = pd.DataFrame(found, columns=["notebook", "table", "row", "column", *numbers, "range"])
    size = frame[numbers].abs().max(axis=1).replace(0, 1)
    frame = frame.iloc[np.argsort(-(frame["range"] / size).to_numpy(dtype=float), kind="stable")]
    return frame.reset_index(drop=True), same, tuple(only)


def _cells(result: Any) -> dict[tuple[str, str], float]:
    """Return row and column → number of a stored result: a table, or fields and short lists."""
    if not _is_table(result):
        return {("", name): number for name, value in _leaves(result) for name, number in _each(name, value)}
    named, keys = _row_names(result)
    return {
        (key, name): number
        for key, row in zip(keys, result, strict=True)
        for column, value in row.items()
        if column not in named
        for name, number in _each(column, value)
    }


def _each(name: str, value: Any) -> Iterator[tuple[str, float]]:
    if isinstance(value, bool | int | float):
        yield name, float(value)
    elif isinstance(value, list) and len(value) <= _LONGEST:
        for place, below in enumerate(value):
            yield from _each(f"{name}[{place}]", below)


def _is_table(result: Any) -> bool:
    return isinstance(result, list) and bool(result) and all(isinstance(row, dict) for row in result)


def _row_names(rows: list[dict[str, Any]]) -> tuple[list[str], list[str]]:
    """Return the columns that name a row, and its name: its words, then as many leading numbers as it takes."""
    words = [column for column, value in rows[0].items() if isinstance(value, str)]
    leading = [column for column, value in rows[0].items() if isinstance(value, int | float)]
    for take in range(min(len(leading), 2) + 1):
        named = [*words, *leading[:take]]
        names = [", ".join(f"{column} {row.get(column)}" for column in named) for row in rows]
        if named and len(set(names)) == len(rows):
            return named, names
    return [], [f"row {place}" for place in range(1, len(rows) + 1)]
