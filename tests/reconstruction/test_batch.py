"""Many photos: every one has a row, none stops the rest, nothing is done twice, nothing depends on how it is done."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import cv2
import numpy as np
import pandas as pd
import pytest

from crimeface_lib.core.errors import InputError, MissingBackendError
from crimeface_lib.core.files import write_atomic
from crimeface_lib.reconstruction import MorphableModel, batch, reconstruct, reconstruct_batch
from crimeface_lib.reconstruction.batch_input import Pool
from crimeface_lib.reconstruction.batch_work import Look, Task, _record
from crimeface_lib.reconstruction.mesh import png_bytes

Run: TypeAlias = Callable[..., batch.BatchReconstruction]


@pytest.fixture(scope="module")
def run(toy: MorphableModel) -> Run:
    """``reconstruct_batch``, quickly."""
    return partial(reconstruct_batch, model=toy, workers=1, texture_size=64, photometric=False, progress=False)


@pytest.fixture(scope="module")
def photos(astronaut: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two photos of one public face, one without a face, one that is no photo, and a file that is not ours."""
    folder = tmp_path_factory.mktemp("photos")
    (folder / "more").mkdir()
    face = astronaut[:300, 60:360]
    contents = {"a.png": face, "more/a.png": face[:, ::-1], "blank.png": np.full((90, 90, 3), 99, np.uint8)}
    for name, picture in contents.items():
        (folder / name).write_bytes(png_bytes(np.ascontiguousarray(picture)))
    (folder / "broken.jpg").write_bytes(b"not a photo")
    (folder / "notes.txt").write_text("no photo")
    return folder


@pytest.fixture(scope="module")
def video(astronaut: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve frames at 10 a second: the face drifts, and is away in the last four."""
    path = tmp_path_factory.mktemp("video") / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, (240, 240))
    for number in range(12):
        frame = astronaut[:240, 90 + 5 * number : 330 + 5 * number] if number < 8 else np.zeros((240, 240, 3), np.uint8)
        writer.write(np.ascontiguousarray(frame[..., ::-1]))
    writer.release()
    return path


@pytest.fixture(scope="module")
def whole(run: Run, photos: Path, tmp_path_factory: pytest.TempPathFactory) -> batch.BatchReconstruction:
    return run(photos, tmp_path_factory.mktemp("out"), exports=(".glb", ".ply"))


def test_every_photo_has_a_row_and_the_good_ones_their_files(whole: batch.BatchReconstruction, photos: Path) -> None:
    rows = whole.to_frame().set_index("name")
    assert list(rows.index) == ["a.png", "blank.png", "broken.jpg", "more/a.png"]
    assert list(rows["status"]) == ["done", "failed", "failed", "done"]
    assert "no face" in rows["reason"]["blank.png"]
    assert "photo" in rows["reason"]["broken.jpg"]
    for name in ("a.png", "more/a.png"):
        written = {path.name for path in (whole.folder / name).iterdir()}
        assert written == {"head.glb", "head.ply", "fit.npz", "thumbnail.png", "record.json"}
        assert cv2.imread(str(whole.folder / name / "thumbnail.png")).shape == (192, 4 * 192, 3)
    assert whole.done == 2
    assert "2 of 4" in whole._repr_html_()


def test_a_row_is_what_reconstruct_gives(toy: MorphableModel, whole: batch.BatchReconstruction, photos: Path) -> None:
    alone = reconstruct(photos / "a.png", model=toy, texture_size=64, photometric=False)
    row = whole.table.set_index("name").loc["a.png"]
    assert row["residual_px"] == pytest.approx(alone.fit.residual_px[0])
    assert row["yaw_deg"] == pytest.approx(alone.fit.cameras[0].yaw_pitch_roll[0])
    assert 0.005 < row["nme"] < 0.2
    saved = np.load(whole.folder / "a.png" / "fit.npz")
    np.testing.assert_allclose(saved["identity"], alone.fit.identity)
    np.testing.assert_allclose(saved["rotation"][0], alone.cameras[0].rotation)
    points = alone.cameras[0].project(alone.model.landmarks(alone.mesh(True).vertices))[0]
    apart = np.linalg.norm(points - saved["landmarks"][0], axis=1)[17:].mean()
    assert row["nme"] == pytest.approx(apart / np.linalg.norm(saved["landmarks"][0][36] - saved["landmarks"][0][45]))


def test_the_table_is_on_disk_in_two_forms(whole: batch.BatchReconstruction) -> None:
    stored = pd.read_parquet(whole.folder / "table.parquet")
    pd.testing.assert_frame_equal(stored, whole.table)
    text = pd.read_csv(whole.folder / "table.csv")
    np.testing.assert_allclose(text["nme"], whole.table["nme"])
    json.dumps(whole.to_dict())


def test_what_is_done_is_not_done_again(
    run: Run, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, out = tmp_path / "in", tmp_path / "in" / "out"  # results among the photos are not taken for photos
    source.mkdir()
    for name in ("a.png", "blank.png"):
        (source / name).write_bytes((photos / name).read_bytes())
    made: list[str] = []

    def quick(task: Task, *_: Any) -> dict[str, Any]:
        made.append(task.name)
        write_atomic(task.folder / "head.glb", b"a head")
        row = task.row("done" if task.name == "a.png" else "failed")
        _record(task, row, ["head.glb"])
        return row

    monkeypatch.setattr(batch, "finish", quick)

    def again(**changed: Any) -> list[str]:
        made.clear()
        table = run(source, out, **changed).table
        assert list(table["status"]) == ["done", "failed"]
        assert list(table["reused"]) == [name not in made for name in table["name"]]
        return sorted(made)

    assert again() == ["a.png", "blank.png"]
    assert again() == []
    assert again(resume=False) == ["a.png", "blank.png"]
    assert again(texture_size=65) == ["a.png", "blank.png"]
    assert again(texture_size=65) == []
    (source / "a.png").write_bytes((photos / "more" / "a.png").read_bytes())
    assert again(texture_size=65) == ["a.png"]
    (out / "a.png" / "head.glb").unlink()
    assert again(texture_size=65) == ["a.png"]
    record = out / "a.png" / "record.json"
    record.write_bytes(record.read_bytes()[:-9])
    assert again(texture_size=65) == ["a.png"]


def test_stopped_by_hand_and_resumed(run: Run, photos: Path, tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(photos, tmp_path, progress=stop)
    assert len(pd.read_csv(tmp_path / "table.csv")) == 1
    seen: list[tuple[int, int]] = []
    table = run(photos, tmp_path, progress=lambda *at: seen.append(at)).table
    assert table["reused"].any()
    assert (table["status"] == "done").sum() == 2
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_frames_of_a_video(run: Run, video: Path, tmp_path: Path) -> None:
    table = run(video, tmp_path, every_frames=4).table
    assert list(table["name"]) == ["clip.avi/000000", "clip.avi/000004", "clip.avi/000008"]
    assert list(table["second"]) == [0, 0.4, 0.8]
    assert list(table["status"]) == ["done", "done", "failed"]
    timed = run(video, tmp_path, every=0.4).table
    assert list(timed["frame"]) == [0, 4, 8]
    assert timed["reused"].all()


def test_frames_of_one_person_share_the_head(run: Run, video: Path, tmp_path: Path) -> None:
    table = run([video], tmp_path, every_frames=3, same_person=True, best=2).table
    assert list(table["name"]) == ["clip.avi"]
    assert list(table["frames"]) == [2]
    assert len(np.load(tmp_path / "clip.avi" / "fit.npz")["rotation"]) == 2
    again = run([video], tmp_path, every_frames=3, same_person=True, best=2).table
    assert again["reused"].all()


def test_the_best_frames_differ_in_view() -> None:
    def at(number: int, quality: float, yaw: float) -> tuple[int, float, Look]:
        return number, number / 10, Look(None, quality, yaw)  # type: ignore[arg-type]

    seen = [at(0, 80, 0), at(1, 90, 2), at(2, 89, 1), at(3, 60, 35), at(4, 50, -30)]
    assert [one[0] for one in batch._spread(seen, 3)] == [1, 3, 4]
    assert len(batch._spread(seen, 9)) == 5


def test_a_broken_video_and_a_missing_file_are_rows(run: Run, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    listed = [tmp_path / "bad.mp4", photos / "nowhere.png", photos / "blank.png"]
    for options in ({}, {"same_person": True}):
        table = run(listed, tmp_path / "out", **options).table
        assert (table["status"] == "failed").all()
        assert table["reason"].str.contains("expected a video|No such file|no face").all()


def test_processes_give_the_same_and_survive_a_crash(
    photos: Path, toy: MorphableModel, whole: batch.BatchReconstruction, tmp_path: Path
) -> None:
    names = {"a.png": photos / "a.png", "more/a.png": photos / "more" / "a.png"}
    job = batch._Job(
        out=tmp_path, model=toy, device="cpu", exports=(".ply",), resume=False, every=1.0, every_frames=None, best=0,
        seeing={"which": "largest", "detector": "dlib", "landmarker": "dlib68"},
        making={"texture_size": 64, "photometric": False},
    )  # fmt: skip
    here = whole.table.set_index("name")["nme"]
    with Pool(2, toy) as pool:
        there = {row["name"]: row for row in job.rows(names, pool)}
        for name in names:
            assert there[name]["nme"] == pytest.approx(here[name], abs=1e-9)
        calls = [(signal.SIGKILL,), (signal.SIGCHLD,)]
        ended = {index: error for index, _, error in pool.run(signal.raise_signal, calls)}
        assert [ended[index] is None for index in range(2)] == [False, True]


def test_landmarks_fitted_together_give_the_same(
    run: Run, photos: Path, whole: batch.BatchReconstruction, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch, "resolve_device", str)  # the way to a GPU, fitted here on the CPU
    monkeypatch.setattr("crimeface_lib.reconstruction.fit_batch.resolve_device", lambda _: "cpu")
    table = run(photos, tmp_path, device="cuda").table
    same = ["name", "status", "reason", "frames", "outliers"]
    pd.testing.assert_frame_equal(table[same], whole.table[same])
    measured = ["nme", "residual_px", "yaw_deg", "information", "texture_observed"]
    np.testing.assert_allclose(table[measured], whole.table[measured], rtol=0.02, atol=1e-3)


@pytest.mark.gpu
def test_gpu_and_cpu_agree(run: Run, photos: Path, whole: batch.BatchReconstruction, tmp_path: Path) -> None:
    import torch

    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    table = run(photos, tmp_path, device="cuda").table
    np.testing.assert_allclose(table[["nme", "yaw_deg"]], whole.table[["nme", "yaw_deg"]], rtol=0.02, atol=1e-3)


def test_a_fault_of_ours_is_a_row_and_is_tried_again(
    run: Run, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise ZeroDivisionError("oops")

    with monkeypatch.context() as patch:
        patch.setattr(batch, "finish", fail)
        row = run(photos / "a.png", tmp_path).table.iloc[0]
        assert (row["status"], row["reason"]) == ("failed", "our fault: ZeroDivisionError: oops")
    assert run(photos / "a.png", tmp_path).table["status"][0] == "done"


def test_bad_calls_are_refused_before_any_work(run: Run, photos: Path, tmp_path: Path) -> None:
    for sources, options, words in (
        ([], {}, "got no photo"),
        (tmp_path, {}, "got no photo"),
        ([np.zeros((9, 9, 3))], {}, "expected paths"),
        (photos, {"texture_size": 9}, "texture_size"),
        (photos, {"every": 0}, "every"),
        (photos, {"exports": (".stl",)}, r"\.glb"),
    ):
        with pytest.raises(InputError, match=words):
            run(sources, tmp_path / "out", **options)
    with pytest.raises(MissingBackendError, match="installed: dlib"):
        run(photos, tmp_path / "out", detector="none")


def test_a_script_without_a_guard_is_told(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text("from crimeface_lib.reconstruction.batch_input import Pool\nPool(2, 'builtin')\n")
    done = subprocess.run([sys.executable, script], capture_output=True, text=True)
    assert done.returncode == 1
    assert "__main__" in done.stderr.strip().splitlines()[-1]


def test_the_summary_counts_all_photos_and_names_none(whole: batch.BatchReconstruction) -> None:
    summary = whole.summary().set_index("of the collection")["value"]
    assert summary["photos"] == 4
    assert summary["reconstructed, %"] == 50.0
    # Clopper and Pearson for 2 of 4, from the beta distribution's tables
    assert summary["  95 % interval from, %"] == pytest.approx(6.76, abs=0.01)
    assert summary["  to, %"] == pytest.approx(93.24, abs=0.01)
    errors = 100 * whole.table.loc[whole.table["status"] == "done", "nme"]
    assert summary["landmark error, %: median"] == pytest.approx(errors.mean())
    assert "2 of 4 photos were reconstructed with the toy model (50.0%" in whole.in_words().replace(
        whole.model.split()[0], "toy"
    )
    assert "a.png" not in json.dumps(whole.to_dict()), "a photo's name can be a person's"
    strips = whole.thumbnails(["a.png", "more/a.png"])
    assert [strip.shape for strip in strips] == [(192, 4 * 192, 3)] * 2
    failed = batch.BatchReconstruction(whole.folder, whole.table[whole.table["status"] == "failed"], whole.model)
    assert failed.in_words().startswith("0 of 2 photos")
    assert failed.in_words().endswith(").")
    assert len(failed.summary()) == 4
