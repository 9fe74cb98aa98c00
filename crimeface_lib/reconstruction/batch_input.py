"""The photos and video frames that ``reconstruct_batch`` goes through, and the processes that do it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from crimeface_lib.core.errors import CrimefaceError, ImageError, InputError
from crimeface_lib.reconstruction.batch_work import start_worker
from crimeface_lib.reconstruction.morphable import MorphableModel

#: Files of a folder that are tried; of a list every file is. Some can't be read, and then the table says so.
PHOTOS = {".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp", ".ppm", ".pgm", ".heic", ".heif", ".avif", ".gif"}
VIDEOS = {".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv"}

#: What came of a call: its result, or the exception that isn't the photo's fault.
Outcome = tuple[int, Any, BaseException | None]


def list_files(sources: str | Path | Sequence[str | Path], out: Path) -> dict[str, Path]:
    """Return the files by name: their path below the folder, or below what they have in common.

    Raises
    ------
    InputError : nothing there, or something that isn't a path.
    """
    if isinstance(sources, str | os.PathLike):
        root = Path(sources)
        if root.is_dir():
            ours = out.resolve()
            found = [path for path in sorted(root.rglob("*")) if path.suffix.lower() in PHOTOS | VIDEOS]
            files = [path for path in found if path.is_file() and ours not in path.resolve().parents]
        else:
            root, files = root.parent, [root]
    else:
        wrong = [type(one).__name__ for one in sources if not isinstance(one, str | os.PathLike)]
        if wrong:
            raise InputError(f"sources: got {wrong[0]}, expected paths; write pictures to files first")
        files = sorted({Path(one).absolute() for one in sources})
        root = Path(os.path.commonpath([path.parent for path in files])) if files else Path()
    if not files:
        raise InputError(
            f"sources: got no photo and no video, expected a file named {', '.join(sorted(PHOTOS | VIDEOS))}"
        )
    return {path.relative_to(root).as_posix(): path for path in files}


def read_frames(
    path: Path, *, every: float, every_frames: int | None, only: Sequence[int] | None = None
) -> Iterator[tuple[int, float, np.ndarray]]:
    """Yield number, second and (H, W, 3) uint8 RGB of every so many seconds or frames of a video, or ``only`` some.

    Raises
    ------
    ImageError : not a video, or none of its frames can be decoded.
    """
    import cv2

    capture = cv2.VideoCapture(str(path))
    try:
        rate, number, due, last = capture.get(cv2.CAP_PROP_FPS), 0, 0.0, max(only, default=0) if only else None
        while capture.isOpened() and capture.grab():
            second = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000 or (number / rate if rate > 0 else 0.0)
            if only is not None:
                wanted = number in only
            elif every_frames:
                wanted = number % every_frames == 0
            else:
                wanted = second >= due - 1e-6
            if wanted:
                due = max(due, second) + every
                whole, frame = capture.retrieve()
                if whole:
                    yield number, round(second, 3), cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
            number += 1
            if last is not None and number > last:
                return
    finally:
        capture.release()
    if number == 0:
        raise ImageError(f"{path.name}: got no frame, expected a video that OpenCV decodes; convert it to MP4")


class Pool:
    """Worker processes that hold the face model; one worker is a thread of this process.

    A call that takes its process down (no memory left, a crash in native code) is tried once more alone, so that it
    costs nobody else their result.
    """

    def __init__(self, workers: int, model: MorphableModel | str) -> None:
        self.workers, self.model = workers, model
        self.executor: Executor | None = self._start(workers)

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_: object) -> None:
        if self.executor is not None:
            self.executor.shutdown(wait=True, cancel_futures=True)

    def _start(self, workers: int) -> Executor:
        if workers == 1:
            start_worker(self.model, alone=True)
            return ThreadPoolExecutor(1)
        executor = ProcessPoolExecutor(workers, get_context("spawn"), _begin, (self.model,))
        try:
            executor.submit(os.getpid).result()
        except BrokenProcessPool as error:
            raise InputError(
                "workers: got processes that can't start, expected a script whose work is under "
                "`if __name__ == '__main__':`; or use workers=1"
            ) from error
        return executor

    def run(self, function: Callable[..., Any], calls: Sequence[tuple[Any, ...]]) -> Iterator[Outcome]:
        """Yield what comes of each call, as it is done.

        Raises
        ------
        CrimefaceError : what no photo is to blame for: an unknown backend, missing weights.
        """
        executor = self.executor = self.executor or self._start(self.workers)
        futures = {executor.submit(function, *call): index for index, call in enumerate(calls)}
        lost = []
        for future in as_completed(futures):
            if isinstance(future.exception(), BrokenProcessPool):
                lost.append(futures[future])
            else:
                yield _outcome(futures[future], future)
        if lost:
            executor.shutdown()
            self.executor = None  # started anew with the next calls
        for index in lost:
            with ProcessPoolExecutor(1, get_context("spawn"), _begin, (self.model,)) as alone:
                yield _outcome(index, alone.submit(function, *calls[index]))


def _begin(model: MorphableModel | str) -> None:
    start_worker(model, alone=False)


def _outcome(index: int, future: Future[Any]) -> Outcome:
    error = future.exception()
    if isinstance(error, CrimefaceError):
        raise error
    return index, None if error else future.result(), error
