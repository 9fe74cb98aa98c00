"""What attacks are made on: a store with people and evidence, a package, and the checkpoint that a reviewer holds."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from crimeface_lib.core.settings import Settings
from crimeface_lib.evidence import verify_package
from crimeface_lib.governance import Use, User, template
from crimeface_lib.workflow.store import CaseStore

CY, DEE = {"actor": "cy", "purpose": "case work"}, {"actor": "dee", "purpose": "case work"}


class Clock:
    """Stands still until told otherwise."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 10, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        self.now += timedelta(milliseconds=1)
        return self.now


@dataclass
class Target:
    """A store on disk; ``open`` gives it as a fresh process would see it."""

    folder: Path
    clock: Clock

    def open(self) -> CaseStore:
        settings = Settings(home=self.folder / "home", project_root=self.folder)
        return CaseStore.open(self.folder / "store", settings=settings, clock=self.clock)

    def user(self, id: str) -> User:
        return self.open().people.get(id)

    @property
    def use(self) -> Use:
        model = template("face_search").scope.models[0]
        return Use("face_search", "method-evaluation", "synthetic-faces", model.name, model.version, "rhea")

    def approve(self) -> int:
        """Bring a DPIA for a face search through: rhea writes, dora advises, paul approves."""
        dpias = self.open().dpias
        number = dpias.draft(template("face_search"), author=self.user("rhea"))
        dpias.submit(number, author=self.user("rhea"))
        dpias.advise(number, "Proportionate.", favourable=True, adviser=self.user("dora"))
        dpias.approve(number, approver=self.user("paul"), review_by=date(2026, 6, 30))
        return number


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a store and a package, made once."""
    folder = tmp_path_factory.mktemp("target")
    target = Target(folder, Clock())
    store = target.open()
    store.people.add(User("ada", frozenset({"admin"})))
    admin = store.people.get("ada")
    accounts = {"rhea": "researcher", "dora": "approver", "paul": "approver", "cy": "custodian", "dee": "custodian"}
    for id, role in accounts.items():
        store.people.add(
            User(id, frozenset({role})), by=admin, password="correct horse battery" if id == "cy" else None
        )
    store.people.add(User("rhea-2", frozenset({"approver"}), "rhea"), by=admin)
    store.people.add(User("cy-2", frozenset({"custodian"}), "cy"), by=admin)
    photo = store.evidence.add(b"a photo" * 20, **CY, kind="photo", name="AB/1", case="C-7", description="at the gate")
    store.evidence.add(b"a note", **CY, kind="note", case="C-7")
    store.evidence.add(b"a mesh", **CY, kind="mesh", case="C-7", parents=[photo.id], tool="fit 1")
    store.evidence.get(photo.id, **DEE)
    store.evidence.export(folder / "bag", **CY, recipient="the defence")
    (folder / "held.json").write_bytes((folder / "bag/ledger/checkpoint.json").read_bytes())
    store.evidence.export(folder / "bag.zip", **CY)
    (folder / "heads.json").write_text(json.dumps({"custody": store.evidence.checkpoint().to_dict()}))
    return folder


@pytest.fixture
def target(made: Path, tmp_path: Path) -> Target:
    """A copy of the store, to be attacked."""
    shutil.copytree(made / "store", tmp_path / "store")
    return Target(tmp_path, Clock())


@pytest.fixture
def bag(made: Path, tmp_path: Path) -> Path:
    """A copy of the package, to be attacked."""
    return Path(shutil.copytree(made / "bag", tmp_path / "bag"))


@pytest.fixture
def check(made: Path) -> Callable[..., object]:
    """The verification that a reviewer would do, with the checkpoint that they hold."""
    return lambda package: verify_package(package, checkpoint=made / "held.json")
