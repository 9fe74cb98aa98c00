"""Every command of README.md is run, in order, as a new user would, on sample files under the names it uses."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from crimeface_lib.core.settings import Settings
from crimeface_lib.synthetic import degrade_photo, synthetic_crimes, write_police_uk

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
#: The dates in README.md are examples, and pass; an approval holds for a year at most.
README = re.sub(r"\d{4}-\d\d-\d\d", (date.today() + timedelta(days=180)).isoformat(), README)
COMMANDS = [line for block in re.findall(r"```sh\n(.*?)```", README, flags=re.S) for line in block.splitlines() if line]
#: What a make target must come down to; running them here would run this test inside itself, or never end.
TARGETS = {
    "demo": "crimeface demo", "test": "pytest", "lab": "jupyter lab", "apps": "crimeface apps",
    "bench": "tests/bench.py", "check": "lint-imports",
}  # fmt: skip

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("readme")]


@pytest.fixture(scope="module")
def place(tmp_path_factory, astronaut) -> Path:
    """A folder with the files that README names."""
    folder = tmp_path_factory.mktemp("readme")
    Image.fromarray(degrade_photo(astronaut, rng=np.random.default_rng(1))).save(folder / "face.jpg")
    (folder / "photos").mkdir()
    Image.fromarray(astronaut).save(folder / "photos/volunteer-1.png")
    (folder / "one-person").mkdir()
    for number, size in enumerate((512, 300)):
        Image.fromarray(astronaut[:size, :size]).save(folder / f"one-person/{number}.png")
    (folder / "photos/notes.txt").write_text("no photo")
    write_police_uk(synthetic_crimes(months=20, per_month=150, rng=1).table, folder / "police.zip")
    return folder


def test_make_targets_exist_and_do_what_they_say():
    make = shutil.which("make")
    if make is None:
        pytest.skip("no make on this machine")
    named = {command.split()[1] for command in COMMANDS if command.startswith("make ")}
    assert named == set(TARGETS)
    for target in sorted(named):
        done = subprocess.run([make, "-n", target], cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert TARGETS[target] in done.stdout


def test_every_crimeface_command_works_in_order(place):
    environment = {
        k: v for k, v in os.environ.items() if k not in {f"CRIMEFACE_{n.upper()}" for n in Settings.model_fields}
    }
    environment |= {
        "CRIMEFACE_HOME": str(place / "home"), "CRIMEFACE_REPORTS_DIR": str(place / "reports"),
        "CRIMEFACE_CACHE_DIR": str(place / "cache"), "CRIMEFACE_PASSWORD": "correct horse battery",
        "CRIMEFACE_NEW_PASSWORD": "correct horse battery",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }  # fmt: skip
    commands = [command for command in COMMANDS if not command.startswith("make ")]
    assert len(commands) > 15
    item = ""
    for command in commands:
        if " ID " in command:
            item = item or _item(place, environment)
            command = command.replace(" ID ", f" {item} ")
        if "reports/RUN" in command:
            command = command.replace("reports/RUN", shlex.quote(str(max((place / "reports").glob("*case-report")))))
        done = subprocess.run(
            command, shell=True, cwd=place, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        if "> " in command:
            rewrite(place / command.split("> ")[1])
    assert "1 enrolled, 1 failed" in _printed(place, environment)


def _item(place: Path, environment: dict[str, str]) -> str:
    """Return the id of the picture among the evidence, as the list shows it."""
    command = 'crimeface evidence list --type image/ --json --purpose "method evaluation" --as cleo'
    done = subprocess.run(command, shell=True, cwd=place, env=environment, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)["items"][0]["id"]


def rewrite(file: Path) -> None:
    """Do to the example what README asks of its reader, as far as a machine can."""
    text = file.read_text().replace("demonstration: true", "demonstration: false")
    text = text.replace("synthetic-faces", "default").replace("synthetic-crimes", "police.uk-street")
    file.write_text(text)


def _printed(place: Path, environment: dict[str, str]) -> str:
    """Return what enrolling again under another name prints."""
    command = next(c for c in COMMANDS if c.startswith("crimeface watchlist enrol")).replace("default", "second")
    return subprocess.run(
        command, shell=True, cwd=place, env=environment, capture_output=True, text=True, check=True
    ).stdout


def test_pictures_and_links_exist():
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target


def test_the_python_example_is_real():
    import crimeface_lib

    for block in re.findall(r"```python\n(.*?)```", README, flags=re.S):
        for name in re.findall(r"from crimeface_lib import (.+)", block)[0].split(", "):
            assert hasattr(crimeface_lib, name)
