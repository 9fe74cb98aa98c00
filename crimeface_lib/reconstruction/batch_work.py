"""What a worker process does with one photo, video frame or set of frames of ``reconstruct_batch``."""

from __future__ import annotations

import io
import json
import os
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from crimeface_lib.core.errors import InputError
from crimeface_lib.core.files import write_atomic
from crimeface_lib.core.results import to_plain
from crimeface_lib.faces import assess_quality, load_image
from crimeface_lib.reconstruction.fit import Fit, fit_landmarks
from crimeface_lib.reconstruction.mesh import png_bytes
from crimeface_lib.reconstruction.morphable import MorphableModel, load_morphable_model
from crimeface_lib.reconstruction.portrait import Observation, Reconstruction, assemble, observe

#: The last file written for a photo: with it, the photo is done.
RECORD = "record.json"
#: Side of a picture in the thumbnail, px.
_SIDE = 192


@dataclass(frozen=True, slots=True)
class Task:
    """One output: from a photo, a frame of a video, or several frames of one person.

    Parameters
    ----------
    name : its folder, relative to ``out``; source : the file it comes from.
    key : hash of the photo, the options, the model and the code; what a record must hold to be used again.
    frames : (number, second) of each frame; empty for a photo.
    images : their pixels; empty for a photo, which the worker reads itself.
    """

    name: str
    source: Path
    out: Path
    key: str
    frames: tuple[tuple[int, float], ...] = ()
    images: tuple[np.ndarray, ...] = field(default=(), repr=False)

    @property
    def folder(self) -> Path:
        return self.out / self.name

    def row(self, status: str, reason: str = "", **found: Any) -> dict[str, Any]:
        """Return the task's row of the table."""
        number, second = self.frames[0] if self.frames else (None, None)
        start = {"name": self.name, "source": self.source.name, "frame": number, "second": second}
        return {**start, "frames": max(1, len(self.frames)), "status": status, "reason": reason, **found}

    def done(self) -> dict[str, Any] | None:
        """Return the row of an earlier run with the same photo, options, model and code whose files are there."""
        try:
            record = json.loads((self.folder / RECORD).read_text("utf-8"))
            whole = record["key"] == self.key and all((self.folder / file).is_file() for file in record["files"])
        except (OSError, ValueError, KeyError, TypeError):  # none, or cut short by a dying machine: make it again
            return None
        return record["row"] if whole else None


@dataclass(frozen=True, slots=True)
class Look:
    """What a photo says, without its pixels: small enough to travel between processes.

    ``quality`` (0–100) and ``yaw`` (degrees) are NaN unless asked for.
    """

    taken: Observation
    quality: float = np.nan
    yaw: float = np.nan


_MODELS: dict[str, MorphableModel] = {}


def start_worker(model: MorphableModel | str, *, alone: bool) -> None:
    """Prepare this process: one thread each, and Ctrl-C is the parent's business."""
    _MODELS["it"] = load_morphable_model(model) if isinstance(model, str) else model
    if alone:
        return
    import cv2
    from threadpoolctl import threadpool_limits

    os.environ["OMP_NUM_THREADS"] = "1"
    threadpool_limits(1)
    cv2.setNumThreads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def look(image: Path | np.ndarray, seeing: dict[str, Any], *, rank: bool) -> Look | str:
    """Return what a photo says, or why it says nothing; with ``rank`` also what frames are chosen by."""
    try:
        taken = observe(image, **seeing)
        small = replace(taken, photo=taken.photo[:0])
        if not rank:
            return Look(small)
        fit = fit_landmarks(_MODELS["it"], [taken.view])
    except InputError as error:
        return str(error)
    return Look(small, assess_quality(taken.photo, taken.face).score, fit.cameras[0].yaw_pitch_roll[0])


def finish(
    task: Task,
    seeing: dict[str, Any],
    making: dict[str, Any],
    exports: Sequence[str],
    seen: tuple[Look, Fit] | None = None,
) -> dict[str, Any]:
    """Reconstruct, write the task's files and then its record, and return its row; bad photos give a row, too."""
    begun, model = time.perf_counter(), _MODELS["it"]
    try:
        if seen is None:
            taken = [observe(image, **seeing) for image in task.images or (task.source,)]
            fit = fit_landmarks(model, [one.view for one in taken])
        else:
            photo = task.images[0] if task.images else load_image(task.source)
            taken, fit = [replace(seen[0].taken, photo=photo)], replace(seen[1], morphable=model)
        made = assemble(model, taken, fit, **making)
    except InputError as error:
        row = task.row("failed", str(error), seconds=round(time.perf_counter() - begun, 3))
        _record(task, row, ())
        return row
    (task.folder / RECORD).unlink(missing_ok=True)  # from here on the files are of two runs
    files = [file for suffix in exports for file in made.export(task.folder / f"head{suffix}")]
    for name, data in (("fit.npz", _fit_bytes(made, taken)), ("thumbnail.png", _thumbnail(made, taken[0]))):
        write_atomic(task.folder / name, data)
        files.append(task.folder / name)
    found = describe(made, taken)
    row = task.row("done", **found, seconds=round(time.perf_counter() - begun, 3))
    _record(task, row, [file.name for file in files])
    return row


def _record(task: Task, row: dict[str, Any], files: Sequence[str]) -> None:
    text = json.dumps({"key": task.key, "row": to_plain(row), "files": list(files)}, indent=1)
    write_atomic(task.folder / RECORD, text.encode())


def describe(made: Reconstruction, taken: Sequence[Observation]) -> dict[str, Any]:
    """Return the figures of a row; of several frames their means.

    ``nme`` is the normalised mean error of the fit against the detector's landmarks 17–67 (the jaw slides), over the
    distance between the outer eye corners; about how well the fit explains what was detected, not how true it is.
    """
    fit, errors = made.fit, []
    for camera, expression, one in zip(fit.cameras, fit.expressions, taken, strict=True):
        points = camera.project(made.model.landmarks(made.model.decode(fit.identity, expression)))[0]
        apart = np.linalg.norm(points - one.view.points, axis=1)[17:]
        errors.append(np.nanmean(apart) / np.linalg.norm(one.view.points[36] - one.view.points[45]))
    views = fit.to_frame().mean()
    return {
        "nme": float(np.mean(errors)), "residual_px": views.residual_px, "outliers": views.outliers,
        "yaw_deg": views.yaw_deg, "pitch_deg": views.pitch_deg, "roll_deg": views.roll_deg,
        "information": fit.information, "texture_observed": made.baked.observed_fraction,
        "warnings": " ".join(made.warnings),
    }  # fmt: skip


def _fit_bytes(made: Reconstruction, taken: Sequence[Observation]) -> bytes:
    """Return the fit as npz: coefficients, cameras (OpenCV, mm and px), landmarks (px), standard deviations (mm)."""
    fit, buffer, cameras = made.fit, io.BytesIO(), made.cameras
    np.savez_compressed(
        buffer, identity=fit.identity, expressions=fit.expressions, vertex_sd=made.vertex_sd, scale=made.scale,
        rotation=np.stack([camera.rotation for camera in cameras]), focal=[camera.focal for camera in cameras],
        translation=np.stack([camera.translation for camera in cameras]),
        principal=np.stack([camera.principal for camera in cameras]), size=[camera.size for camera in cameras],
        residual_px=fit.residual_px, landmarks=np.stack([one.view.points for one in taken]),
        about=np.array([f"{key}: {value}" for key, value in made.mesh().about.items()]),
    )  # fmt: skip
    return buffer.getvalue()


def _thumbnail(made: Reconstruction, taken: Observation) -> bytes:
    """Return a strip: the photo's face, the head from the front, its bare shape from the front and from aside."""
    import cv2

    left, top, right, bottom = taken.face.box
    centre, side = ((left + right) / 2, (top + bottom) / 2 - 0.05 * (bottom - top)), 1.5 * (right - left)
    place = np.array([[side / _SIDE, 0, centre[0] - side / 2], [0, side / _SIDE, centre[1] - side / 2]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    small = cv2.GaussianBlur(taken.photo, (0, 0), max(0.3, side / _SIDE / 3)) if side > 2 * _SIDE else taken.photo
    photo = cv2.warpAffine(small, place, (_SIDE, _SIDE), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    views = (("frontal", "texture"), ("frontal", "shape"), ("three-quarter", "shape"))
    pictures = [made.render(made.look(view, size=_SIDE, close=True), what=what) for view, what in views]
    return png_bytes(np.hstack([photo, *pictures]))
