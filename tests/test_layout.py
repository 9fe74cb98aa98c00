"""The shape of the house: layers, names, the public API, what is committed and what is not."""

from __future__ import annotations

import importlib
import inspect
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = sorted(p.parent.name for p in (ROOT / "crimeface_lib").glob("*/__init__.py"))
TOP_LEVEL = {
    "notebooks", "crimeface_lib", "data", "configs", "reports", "tests", "environment.yml", "pyproject.toml",
    "README.md", "LICENSE", "Makefile", "CHANGELOG.md", ".ci", ".gitignore", "env.example",
}  # fmt: skip


def tracked() -> list[Path]:
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip("not a git checkout: what is committed can't be listed")
    return [ROOT / name for name in done.stdout.split("\0") if name and (ROOT / name).exists()]


def test_import_linter_contracts_hold():
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:]


def test_no_module_has_a_name_that_says_nothing():
    bad = {"utils", "helpers", "common", "misc", "util", "helper"}
    assert not [p for p in (ROOT / "crimeface_lib").rglob("*.py") if p.stem.strip("_") in bad]


def test_nothing_unplanned_at_the_top_level():
    names = {path.relative_to(ROOT).parts[0] for path in tracked()}
    assert names <= TOP_LEVEL, f"unplanned: {sorted(names - TOP_LEVEL)}"


def test_public_api_is_the_one_we_listed():
    """To change it on purpose: python tests/test_layout.py, and a line in CHANGELOG.md."""
    assert api_surface() == json.loads((ROOT / "tests/api_surface.json").read_text())


def test_every_public_name_exists_and_is_documented():
    for package, names in api_surface().items():
        module = importlib.import_module(package)
        for name in names:
            thing = getattr(module, name)
            if inspect.isclass(thing) or inspect.isfunction(thing):
                assert (thing.__doc__ or "").strip(), f"{package}.{name} has no docstring"


def test_top_level_names_are_loaded_lazily_from_their_layer():
    import crimeface_lib

    for name in crimeface_lib.__all__:
        assert getattr(crimeface_lib, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        crimeface_lib.nonsense  # noqa: B018


def test_files_are_short_enough_to_read():
    long = {
        str(p.relative_to(ROOT)): n
        for p in (ROOT / "crimeface_lib").rglob("*.py")
        if (n := len(p.read_text().splitlines())) > 400
    }
    assert not long


def test_conda_route_is_in_step_with_pip():
    conda = yaml.safe_load((ROOT / "environment.yml").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    plain = [d for d in conda["dependencies"] if isinstance(d, str)]
    pip = next(d["pip"] for d in conda["dependencies"] if isinstance(d, dict))
    assert "pytorch3d" in plain, "the one package that only conda-forge has"
    assert any(re.fullmatch(r"python=3\.11", d) for d in plain)
    assert project["requires-python"] == ">=3.11"
    assert any("--editable .[" in line for line in pip), "everything else comes from pyproject.toml"
    assert any("configs/constraints.txt" in line for line in pip)
    extras = re.search(r"\[(.*)\]", next(line for line in pip if "--editable" in line)).group(1).split(",")
    assert set(extras) <= set(project["optional-dependencies"])


def test_constraints_pin_every_dependency():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = list(project["dependencies"])
    for extra in ("pdf", "test", "dev"):
        wanted += project["optional-dependencies"][extra]
    canonical = lambda name: re.sub(r"[-_.]+", "-", re.split(r"[<>=\[ ]", name)[0]).lower()  # noqa: E731
    lines = (ROOT / "configs/constraints.txt").read_text().splitlines()
    pinned = {canonical(line) for line in lines if "==" in line}
    assert not {canonical(w) for w in wanted} - pinned - {"crimeface-lib"}


def test_no_machine_path_and_no_secret_in_the_tree():
    path = re.compile(r"/(home|Users|root|work|farm)/[a-z]")
    secret = re.compile(r"BEGIN [A-Z ]*PRIVATE KEY|AKIA[0-9A-Z]{16}|ghp_[A-Za-z0-9]{36}")
    for file in tracked():
        if (
            file.suffix in {".py", ".md", ".yml", ".yaml", ".toml", ".ipynb", ".json", ".txt", ".css", ".j2", ""}
            and file.is_file()
        ):
            text = file.read_text(encoding="utf-8", errors="ignore")
            if file != Path(__file__):
                assert not path.search(text), f"{file}: a path of one machine"
                assert not secret.search(text), f"{file}: looks like a secret"


def test_no_large_file_and_no_photo_is_committed():
    for file in tracked():
        assert file.stat().st_size < 2_000_000, f"{file} is large"
        assert file.suffix.lower() not in {".jpg", ".jpeg", ".pgm", ".npz", ".dat", ".onnx"}, (
            f"{file}: photos and weights stay out"
        )


@pytest.mark.xdist_group("together")
def test_tests_of_a_group_stay_with_one_worker(request):
    """pytest-xdist does so by the test's name; a pytest that doesn't let it makes every costly fixture twice."""
    if not os.environ.get("PYTEST_XDIST_WORKER"):
        pytest.skip("one process: all tests are together")
    assert request.node.nodeid.endswith("@together")


def api_surface() -> dict[str, list[str]]:
    surface = {}
    for package in ["crimeface_lib", *(f"crimeface_lib.{p}" for p in PACKAGES if p != "core")]:
        surface[package] = sorted(importlib.import_module(package).__all__)
    return surface


if __name__ == "__main__":
    (ROOT / "tests/api_surface.json").write_text(json.dumps(api_surface(), indent=1) + "\n")
