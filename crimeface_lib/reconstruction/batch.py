"""Many reconstructions: a folder, a list of photos or a video; over processes or on a GPU; resumable."""

from __future__ import annotations

import base64
import html
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from crimeface_lib.core.device import resolve_device
from crimeface_lib.core.display import table_html
from crimeface_lib.core.errors import ImageError, InputError
from crimeface_lib.core.files import write_atomic
from crimeface_lib.core.hashing import content_hash, sha256_file
from crimeface_lib.core.results import Result, to_plain
from crimeface_lib.faces import load_image
from crimeface_lib.metrics.biometric import rate_interval
from crimeface_lib.reconstruction.batch_input import VIDEOS, Pool, list_files, read_frames
from crimeface_lib.reconstruction.batch_work import Look, Task, finish, look
from crimeface_lib.reconstruction.mesh import SUFFIXES
from crimeface_lib.reconstruction.morphable import MorphableModel, load_morphable_model

if TYPE_CHECKING:
    import pandas as pd

    from crimeface_lib.reconstruction.fit import Fit

#: Tasks, and bytes of video frames, that are under way together.
_CHUNK, _BYTES = 64, 512 << 20


@dataclass(frozen=True, slots=True)
class BatchReconstruction(Result):
    """What became of each photo.

    Parameters
    ----------
    folder : where ``table.csv``, ``table.parquet`` and one folder a photo are.
    table : one row a photo, frame or video: ``name`` (its folder), ``source``, ``frame``, ``second``, ``frames``,
        ``status`` ("done" or "failed"), ``reason``, ``nme`` (of the fit against the detector's landmarks; how well it
        explains them, not how true it is), ``residual_px``, ``outliers``, ``yaw_deg``, ``pitch_deg``, ``roll_deg``,
        ``information``, ``texture_observed``, ``warnings``, ``seconds``, ``reused`` (from an earlier run).
    model : the face model and its version.
    files : the photo or video of each name that ``list_files`` gave.
    """

    folder: Path
    table: pd.DataFrame = field(repr=False)
    model: str
    files: dict[str, Path] = field(repr=False, default_factory=dict)

    @property
    def done(self) -> int:
        return int((self.table["status"] == "done").sum())

    def to_frame(self) -> pd.DataFrame:
        return self.table

    def to_dict(self) -> dict[str, Any]:
        """Return the summary; names of photos can be names of people, and stay in the table."""
        return {"model": self.model, "summary": to_plain(self.summary())}

    def summary(self) -> pd.DataFrame:
        """Return photos, share reconstructed with its 95 % interval (Clopper and Pearson), and quantiles of the
        landmark error (% of the distance between the outer eye corners) and of the seconds a photo took."""
        import pandas as pd

        low, high = rate_interval(self.done, len(self.table))
        done = self.table[self.table["status"] == "done"]
        rows = [("photos", len(self.table)), ("reconstructed, %", 100 * self.done / len(self.table)),
                ("  95 % interval from, %", 100 * low), ("  to, %", 100 * high)]  # fmt: skip
        for words, values in (("landmark error, %", 100 * done["nme"]), ("seconds a photo", done["seconds"])):
            if len(values):
                rows += [(f"{words}: median", values.median()), (f"{words}: 95 % are below", values.quantile(0.95))]
        return pd.DataFrame(rows, columns=["of the collection", "value"])

    def in_words(self) -> str:
        """Return the outcome in a sentence."""
        low, high = rate_interval(self.done, len(self.table))
        said = (
            f"{self.done:,} of {len(self.table):,} photos were reconstructed with the {self.model.split()[0]} model "
            f"({self.done / len(self.table):.1%}, 95 % interval {low:.1%} to {high:.1%})"
        )
        if not self.done:
            return f"{said}."
        done = self.table[self.table["status"] == "done"]
        return (
            f"{said}; the landmark error is {done['nme'].median():.1%} of the distance between the eyes in the median "
            f"and below {done['nme'].quantile(0.95):.1%} for 95 %."
        )

    def thumbnails(self, names: Sequence[str]) -> list[np.ndarray]:
        """Return the (H, W, 3) uint8 strip of each name: photo, head, bare shape from the front and from aside."""
        return [load_image(self.folder / name / "thumbnail.png") for name in names]

    def _repr_html_(self) -> str:
        shown = self.table[self.table["status"] == "done"].nlargest(6, "nme")
        pictures = "".join(
            f'<figure><img alt="photo, head and shape" src="data:image/png;base64,'
            f'{base64.b64encode((self.folder / row.name_ / "thumbnail.png").read_bytes()).decode()}"/>'
            f"<figcaption>{html.escape(row.name_)}: NME {row.nme:.1%}</figcaption></figure>"
            for row in shown.rename(columns={"name": "name_"}).itertuples()
        )
        columns = ["name", "frame", "status", "reason", "nme", "residual_px", "yaw_deg", "seconds"]
        table = table_html(self.table[columns])
        heading = f"{self.done} of {len(self.table)} reconstructed with {html.escape(self.model)}"
        return f"<p>{heading}; the fits that explain their landmarks worst:</p>{pictures}{table}"


def reconstruct_batch(
    sources: str | Path | Sequence[str | Path],
    out: str | Path,
    *,
    model: str | MorphableModel = "auto",
    which: str | int = "largest",
    detector: str = "dlib",
    landmarker: str = "dlib68",
    photometric: bool = True,
    texture_size: int = 1024,
    exports: Sequence[str] = (".glb",),
    every: float = 1.0,
    every_frames: int | None = None,
    same_person: bool = False,
    best: int = 5,
    workers: int | None = None,
    device: str = "cpu",
    resume: bool = True,
    progress: bool | Callable[[int, int], object] = True,
) -> BatchReconstruction:
    """Reconstruct every photo of a folder or list, and frames of videos, one head each.

    Each gets a folder below ``out`` with the head in the chosen formats, ``fit.npz``, ``thumbnail.png`` and
    ``record.json``. A photo that can't be used is a row that says why. Stopped by Ctrl-C, the same call goes on where
    it was: what is done isn't done again unless the photo, an option, the model or crimeface changed.

    Parameters
    ----------
    sources : a folder (searched to the bottom), a photo, a video, or a list of those.
    photometric : also fit shape and albedo to the shading, as ``reconstruct`` does: some seconds a photo.
    exports : suffixes that ``Mesh.export`` knows; none writes no mesh.
    every, every_frames : seconds between the frames of a video that are used, or their number.
    same_person : a video shows one person: one head from its ``best`` frames, chosen for quality and different views.
    workers : processes; by default one a core, at most 8. 1 is this process. With more, a script needs
        ``if __name__ == "__main__":``.
    device : where the landmarks of many photos are fitted together; "cpu" fits each in its own worker.
    progress : True shows a bar; or a function called with how many are done and how many there are.

    Raises
    ------
    InputError : no photo, or an option out of range. MissingBackendError, MissingArtifactError : see ``reconstruct``.
    """
    out, device = Path(out), resolve_device(device)
    if not 64 <= texture_size <= 2048 or best < 1 or not every > 0 or (every_frames is not None and every_frames < 1):
        raise InputError(
            f"texture_size, best, every, every_frames: got {texture_size}, {best}, {every}, {every_frames}, "
            "expected 64–2048, at least 1, more than 0 seconds, at least 1"
        )
    if set(exports) - set(SUFFIXES):
        raise InputError(f"exports: got {tuple(exports)}, expected some of {', '.join(SUFFIXES)}, or none")
    files = list_files(sources, out)
    loaded = load_morphable_model(model) if isinstance(model, str) else model
    job = _Job(
        out=out, model=loaded, device=device, exports=tuple(exports), resume=resume, every=every,
        every_frames=every_frames, best=best if same_person else 0,
        seeing={"which": which, "detector": detector, "landmarker": landmarker},
        making={"photometric": photometric, "texture_size": texture_size},
    )  # fmt: skip
    workers = workers or min(8, len(os.sched_getaffinity(0)))
    rows: list[dict[str, Any]] = []
    name = f"{loaded.name} {loaded.version}"
    try:
        with _bar(progress) as tell, Pool(workers, loaded.name if isinstance(model, str) else loaded) as pool:
            for row in job.rows(files, pool):
                rows.append(row)
                tell(len(rows), max(len(files), len(rows)))
    finally:  # also when stopped: what is done is in the table
        table = _table(rows)
        write_atomic(out / "table.csv", table.to_csv(index=False).encode())
        write_atomic(out / "table.parquet", table.to_parquet(index=False))
    return BatchReconstruction(out, table, name, files)


@dataclass(frozen=True, slots=True)
class _Job:
    """The options of one call."""

    out: Path
    model: MorphableModel
    device: str
    exports: tuple[str, ...]
    resume: bool
    every: float
    every_frames: int | None
    best: int
    seeing: dict[str, Any]
    making: dict[str, Any]

    def rows(self, files: dict[str, Path], pool: Pool) -> Iterator[dict[str, Any]]:
        """Yield the row of each task, as it is done; a bounded number are under way."""
        chunk: list[Task] = []
        for item in self.tasks(files, pool):
            earlier = item if isinstance(item, dict) else self.earlier(item)
            if earlier:
                yield earlier
                continue
            chunk.append(item)  # type: ignore[arg-type]
            if len(chunk) == _CHUNK or sum(image.nbytes for task in chunk for image in task.images) > _BYTES:
                yield from self.work(chunk, pool)
                chunk = []
        yield from self.work(chunk, pool)

    def tasks(self, files: dict[str, Path], pool: Pool) -> Iterator[Task | dict[str, Any]]:
        """Yield what there is to do, and rows for what can't be done."""
        for name, path in files.items():
            blank = Task(name, path, self.out, "")
            try:
                blank = replace(blank, key=self.key(path))
                if path.suffix.lower() not in VIDEOS:
                    yield blank
                elif not self.best:
                    for number, second, image in read_frames(path, every=self.every, every_frames=self.every_frames):
                        frame = replace(blank, name=f"{name}/{number:06d}", key=f"{blank.key} {number}")
                        yield replace(frame, frames=((number, second),), images=(image,))
                else:
                    yield self.earlier(blank) or self.choose(blank, pool)
            except (OSError, ImageError) as error:
                yield blank.row("failed", str(error) if isinstance(error, ImageError) else f"{error.strerror}")

    def key(self, path: Path) -> str:
        from crimeface_lib import __version__

        options = {**self.seeing, **self.making, "exports": sorted(self.exports), "best": self.best}
        if self.best:
            options |= {"every": self.every, "every_frames": self.every_frames}
        about = {"sha256": sha256_file(path), "model": [self.model.name, self.model.version], "code": __version__}
        return content_hash({**about, **options})

    def earlier(self, task: Task) -> dict[str, Any] | None:
        row = task.done() if self.resume else None
        return row and {**row, "reused": True}

    def choose(self, task: Task, pool: Pool) -> Task:
        """Return the task with the best frames of its video: each adds quality, or a view not yet there.

        Raises
        ------
        ImageError : no frame shows a face.
        """
        seen: list[tuple[int, float, Look]] = []
        chunk: list[tuple[int, float, np.ndarray]] = []

        def flush() -> None:
            calls = [(image, self.seeing) for _, _, image in chunk]
            for index, found, _ in pool.run(partial(look, rank=True), calls):
                if isinstance(found, Look):
                    seen.append((*chunk[index][:2], found))
            chunk.clear()

        for frame in read_frames(task.source, every=self.every, every_frames=self.every_frames):
            chunk.append(frame)
            if len(chunk) == _CHUNK or sum(image.nbytes for *_, image in chunk) > _BYTES:
                flush()
        flush()
        if not seen:
            raise ImageError(f"{task.source.name}: got no frame with a face, expected at least one")
        chosen = _spread(sorted(seen, key=lambda one: one[0]), self.best)
        frames = list(read_frames(task.source, every=self.every, every_frames=None, only=[one[0] for one in chosen]))
        return replace(
            task,
            frames=tuple((number, second) for number, second, _ in frames),
            images=tuple(image for *_, image in frames),
        )

    def work(self, chunk: list[Task], pool: Pool) -> Iterator[dict[str, Any]]:
        """Yield the rows of tasks that are done together."""
        seen = self.fit_together(chunk, pool) if self.device != "cpu" else {}
        calls = [(task, self.seeing, self.making, self.exports, seen.get(index)) for index, task in enumerate(chunk)]
        for index, row, error in pool.run(finish, calls):
            why = f"our fault: {type(error).__name__}: {error}"  # not recorded: tried again when resumed
            yield {**(row or chunk[index].row("failed", why)), "reused": False}

    def fit_together(self, chunk: list[Task], pool: Pool) -> dict[int, tuple[Look, Fit]]:
        """Return what the single photos among the tasks say, and their fits from one batch on the device."""
        from crimeface_lib.reconstruction.fit_batch import fit_landmarks_batch

        single = [index for index, task in enumerate(chunk) if len(task.images) <= 1]
        calls = [(*(chunk[index].images or (chunk[index].source,)), self.seeing) for index in single]
        found = {single[at]: one for at, one, _ in pool.run(partial(look, rank=False), calls) if isinstance(one, Look)}
        if not found:
            return {}
        views = [one.taken.view for one in found.values()]
        fits = fit_landmarks_batch(
            self.model, np.stack([view.points for view in views]), [view.size for view in views], device=self.device,
            sd=np.stack([np.broadcast_to(view.sd, 68) for view in views]),
            focal_prior=[view.focal_prior for view in views],
        )  # fmt: skip
        # a worker has the model already; what failed is left to it, to say so in a row
        light = [None if at in fits.failures else replace(fits[at], morphable=None) for at in range(len(fits))]  # type: ignore[arg-type]
        return {index: (one, fit) for (index, one), fit in zip(found.items(), light, strict=True) if fit}


def _spread(seen: list[tuple[int, float, Look]], best: int) -> list[tuple[int, float, Look]]:
    """Return up to ``best`` frames: first the one of best quality, then each that adds most of quality and turn."""
    chosen: list[tuple[int, float, Look]] = []
    while len(chosen) < min(best, len(seen)):
        left = [one for one in seen if one not in chosen]
        turn = lambda one: min((abs(one[2].yaw - other[2].yaw) / 30 for other in chosen), default=0.0)  # noqa: E731
        chosen.append(max(left, key=lambda one: one[2].quality / 100 + min(1.0, turn(one))))
    return chosen


def _table(rows: list[dict[str, Any]]) -> pd.DataFrame:
    import pandas as pd

    columns = ["name", "source", "frame", "second", "frames", "status", "reason", "nme", "residual_px", "outliers",
               "yaw_deg", "pitch_deg", "roll_deg", "information", "texture_observed", "warnings", "seconds",
               "reused"]  # fmt: skip
    table = pd.DataFrame(rows, columns=columns).sort_values("name", ignore_index=True)
    words = ["name", "source", "status", "reason", "warnings"]
    numbers = [column for column in columns if column not in [*words, "reused"]]
    return table.astype({**dict.fromkeys(words, "string"), **dict.fromkeys(numbers, "float64")})


@contextmanager
def _bar(progress: bool | Callable[[int, int], object]) -> Iterator[Callable[[int, int], object]]:
    """Give a function that shows how far the work is."""
    if callable(progress):
        yield progress
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (TextColumn("reconstruct"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), disable=not progress) as bars:
        task = bars.add_task("reconstruct", total=None)
        yield lambda done, total: bars.update(task, completed=done, total=total)
