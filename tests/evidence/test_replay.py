"""A third party repeats the processing from the package alone."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from crimeface_lib.core.errors import ImageError, InputError, IntegrityError, RefusedError
from crimeface_lib.evidence import PROCESSES, EvidenceStore, Process, replay_package

ADA = {"actor": "ada", "purpose": "research"}


def photo(size: tuple[int, int] = (40, 30)) -> bytes:
    pixels = np.random.default_rng(1).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG")
    return buffer.getvalue()


@pytest.fixture
def bag(store: EvidenceStore, tmp_path: Path) -> Path:
    original = store.add(photo(), **ADA, kind="photo")
    cut = store.derive(
        [original.id], process=PROCESSES["image.crop"], parameters={"box": [2, 3, 20, 25]}, **ADA, kind="crop"
    )
    store.derive([cut.sha256], process=PROCESSES["image.upright"], **ADA, kind="copy", case="other")
    return store.export(tmp_path / "bag", **ADA)


def outcomes(bag: Path, **processes: Process) -> list[str]:
    named = {**PROCESSES, **{p.name: p for p in processes.values()}}
    return [row["outcome"] for row in replay_package(bag, processes=named).rows]


def test_the_same_bytes_come_out(bag: Path) -> None:
    report = replay_package(bag)
    assert [row["outcome"] for row in report.rows] == ["identical", "identical"]
    assert report.agrees
    assert "no held checkpoint" in report.warning
    assert list(report.to_frame().process) == ["image.crop 1", "image.upright 1"]


def test_other_results_are_judged_by_the_recorded_tolerance(bag: Path) -> None:
    def shifted(by: int) -> Process:
        def run(contents: list[bytes], *, box: list[int]) -> bytes:
            pixels = np.asarray(Image.open(io.BytesIO(PROCESSES["image.crop"].run(contents, box=box)))).astype(int)
            buffer = io.BytesIO()
            Image.fromarray(np.clip(pixels + by, 0, 255).astype(np.uint8)).save(buffer, "PNG")
            return buffer.getvalue()

        return Process("image.crop", "1", run, distance=PROCESSES["image.crop"].distance, tolerance=99.0)

    assert outcomes(bag, crop=shifted(2))[0] == "within tolerance"
    assert outcomes(bag, crop=shifted(3))[0] == "different"  # what the replayer would tolerate doesn't count
    broken = Process("image.crop", "1", lambda contents, **_: 1 / 0)  # type: ignore[arg-type,return-value]
    assert outcomes(bag, crop=broken)[0] == "different"
    other = Process("image.crop", "1", lambda contents, **_: b"other bytes")
    assert outcomes(bag, crop=other)[0] == "different"
    assert outcomes(bag, crop=Process("image.crop", "2", other.run))[0] == "not replayed"
    assert not replay_package(bag, processes={}).agrees


def test_what_is_recorded_is_enough_to_repeat(store: EvidenceStore) -> None:
    original = store.add(photo(), **ADA, kind="photo")
    made = store.derive([original.id], process=PROCESSES["image.upright"], **ADA, kind="copy")
    assert made.tool == "image.upright 1"
    assert made.process is not None
    assert {"name", "version", "parameters", "environment", "tolerance"} == set(made.process)
    assert {"python", "machine", "pillow", "crimeface-lib"} == set(made.process["environment"])
    with pytest.raises(RefusedError, match="without a parent"):
        store.derive([], process=PROCESSES["image.upright"], **ADA, kind="copy")
    with pytest.raises(InputError, match="only what JSON can hold"):
        store.derive([original.id], process=PROCESSES["image.crop"], parameters={"box": {1}}, **ADA, kind="x")
    with pytest.raises(InputError, match="expected a part of"):
        store.derive([original.id], process=PROCESSES["image.crop"], parameters={"box": [0, 0, 99, 9]}, **ADA, kind="x")
    text = store.add(b"text", **ADA, kind="note")
    with pytest.raises(ImageError, match="not a picture"):
        store.derive([text.id], process=PROCESSES["image.upright"], **ADA, kind="x")


def test_a_derivative_whose_parent_stayed_behind_is_said(store: EvidenceStore, tmp_path: Path) -> None:
    original = store.add(photo(), **ADA, kind="photo")
    made = store.derive([original.id], process=PROCESSES["image.upright"], **ADA, kind="copy")
    by_hand = store.add(b"by hand", **ADA, kind="sketch", parents=[original.id], tool="pencil 2B")
    [one, two] = replay_package(store.export(tmp_path / "bag", **ADA, items=[made.id, by_hand.id])).rows
    assert one["reason"] == f"parent {original.id} is not in the package"
    assert "not recorded in a form" in two["reason"]


def test_only_a_sound_package_is_replayed(bag: Path) -> None:
    path = next((bag / "data/objects").iterdir())
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(IntegrityError, match="was changed"):
        replay_package(bag)


def test_upright_turns_and_forgets(exif_photo: bytes) -> None:
    picture = Image.open(io.BytesIO(PROCESSES["image.upright"].run([exif_photo])))
    assert picture.size == (20, 30)  # orientation 6: a quarter turn
    assert not picture.getexif()
