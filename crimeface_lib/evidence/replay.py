"""Repeat the processing in a package and compare: the third party's check that a derivative is what it says."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crimeface_lib.core.results import Result
from crimeface_lib.evidence.parts import Part, find_parts
from crimeface_lib.evidence.processes import PROCESSES, Process
from crimeface_lib.evidence.verify import verify_package

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class ReplayReport(Result):
    """What came of each derivative: one row an item.

    ``outcome`` is ``identical``, ``within tolerance``, ``different`` or ``not replayed``; ``distance`` is in the unit
    of the process, ``tolerance`` the recorded one. ``warning`` is that of the package's verification.
    """

    rows: tuple[dict[str, Any], ...]
    warning: str

    @property
    def agrees(self) -> bool:
        """Whether every derivative was replayed and came out as it was, within the recorded tolerance."""
        return all(row["outcome"] in ("identical", "within tolerance") for row in self.rows)

    def to_frame(self) -> pd.DataFrame:
        """Return one row per derivative."""
        import pandas as pd

        columns = ["item", "process", "outcome", "distance", "tolerance", "reason"]
        return pd.DataFrame(list(self.rows), columns=columns)


def replay_package(
    path: str | Path, *, checkpoint: Any = None, processes: Mapping[str, Process] = PROCESSES
) -> ReplayReport:
    """Verify a package, then make each derivative in it again from its parents and compare.

    Parameters
    ----------
    checkpoint : as for ``verify_package``.
    processes : what may be run, by name. Nothing in the package says where code is, so nothing else ever runs.

    Raises
    ------
    IntegrityError, InputError, NotFoundError : as for ``verify_package``.
    """
    report = verify_package(path, checkpoint=checkpoint)
    parts = find_parts(Path(path))
    items = json.loads(parts["data/items.json"].read())
    records = {id: item["record"]["value"] for id, item in items.items()}
    contents = {id: parts[f"data/objects/{id}"] for id in records}
    rows = [
        {"item": id, "distance": None, "tolerance": None, "reason": "", "process": record.get("tool")}
        | _replay(id, record, contents, processes)
        for id, record in sorted(records.items(), key=lambda entry: entry[1]["added"])
        if record["parents"]
    ]
    return ReplayReport(tuple(rows), report.warning)


def _replay(
    id: str, record: Mapping[str, Any], contents: Mapping[str, Part], processes: Mapping[str, Process]
) -> dict[str, Any]:
    said = record.get("process")
    if not said:
        return _not("its process was not recorded in a form that can be repeated")
    process = processes.get(said["name"])
    if process is None:
        return _not(f"process {said['name']!r} is not among those given: {', '.join(sorted(processes)) or 'none'}")
    if process.version != said["version"]:
        return _not(f"made by version {said['version']} of {said['name']}, and version {process.version} is here")
    if missing := [parent for parent in record["parents"] if parent not in contents]:
        return _not(f"parent {missing[0]} is not in the package")
    try:
        made = process.run([contents[parent].read() for parent in record["parents"]], **said["parameters"])
    except Exception as error:  # noqa: BLE001 - whatever a process raises is the finding
        return {"outcome": "different", "reason": f"the process failed: {type(error).__name__}: {error}"}
    if hashlib.sha256(made).hexdigest() == record["sha256"]:
        return {"outcome": "identical", "distance": 0.0, "tolerance": said["tolerance"]}
    if process.distance is None:
        return {"outcome": "different", "reason": "other bytes, and the process declares no distance"}
    distance = process.distance(contents[id].read(), made)
    near = distance <= said["tolerance"]
    return {
        "outcome": "within tolerance" if near else "different",
        "distance": distance,
        "tolerance": said["tolerance"],
    }


def _not(reason: str) -> dict[str, Any]:
    return {"outcome": "not replayed", "reason": reason}
