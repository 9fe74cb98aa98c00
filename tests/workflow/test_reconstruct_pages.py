"""The three pages about reconstruction, run as a user runs them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from crimeface_lib.metrics.scan import NOW_LANDMARKS
from crimeface_lib.reconstruction import load_morphable_model

pytestmark = pytest.mark.slow
_QUICK = ("-p", "reconstruct.model=builtin", "-p", "reconstruct.texture_size=128", "-p", "formats=[ply]")


@pytest.fixture
def photos(tmp_path: Path, astronaut: np.ndarray) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    Image.fromarray(astronaut).save(folder / "1.png")
    Image.fromarray(astronaut[:300, 60:360]).resize((500, 500)).save(folder / "2.png")
    return folder


def run(*arguments: str) -> None:
    """In a process of its own, whose event loop ends with it; ``workplace`` has set its environment."""
    command = [str(Path(sys.executable).with_name("crimeface")), "run", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def step(workplace, name: str) -> dict:
    (folder,) = workplace.runs()
    assert (folder / f"{name}.html").is_file()
    return json.loads((folder / "steps" / f"{name}.json").read_text())


def test_one_photo_beside_a_scan(workplace, photos, tmp_path):
    model = load_morphable_model("builtin")
    np.savetxt(tmp_path / "marks.txt", model.landmarks(model.mean)[list(NOW_LANDMARKS)])
    import trimesh

    trimesh.Trimesh(model.mean, model.triangles, process=False).export(tmp_path / "scan.ply")
    run(
        "reconstruct", "-p", f"photo={photos / '1.png'}", "-p", f"scan={tmp_path / 'scan.ply'}",
        "-p", f"scan_landmarks={tmp_path / 'marks.txt'}", "-p", "reconstruct.interpupillary_mm=62", *_QUICK,
    )  # fmt: skip
    record = step(workplace, "reconstruct")
    assert {figure["name"] for figure in record["figures"]} == {"face", "light", "origin", "uncertainty", "scan"}
    assert "was given" in record["results"]["told"]["size"]
    assert 0 < record["results"]["scan"]["comparison"]["median"] < 5
    assert any("The scan lies" in sentence for sentence in record["found"])


def test_several_photos_of_one_person(workplace, photos):
    run("reconstruct_many", "-p", f"photos={photos}", "-p", "sets=2", *_QUICK)
    record = step(workplace, "reconstruct_many")
    assert {figure["name"] for figure in record["figures"]} == {"photos", "face", "gain", "uncertainty"}
    assert len(record["results"]["fit"]) == 2
    assert [row["photos"] for row in record["results"]["gain_table"]] == [0, 1, 2]


def test_a_folder_of_photos(workplace, photos):
    Image.new("RGB", (90, 90), "grey").save(photos / "blank.png")
    run("evaluate_reconstruction", "-p", f"photos={photos}", *_QUICK[:4], "-p", "reconstruct.photometric=false")
    record = step(workplace, "evaluate_reconstruction")
    assert {figure["name"] for figure in record["figures"]} == {"errors", "worst", "heads", "pose"}
    assert sum(row["photos"] for row in record["results"]["failed"]) == 1
    assert any("2 of 3 photos" in sentence for sentence in record["found"])
