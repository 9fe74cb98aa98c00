"""Where CSV files come from: one file, a folder tree, or a zip whose sizes and names are checked first."""

from __future__ import annotations

import io
import re
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from crimeface_lib.core.errors import InputError, SchemaError

#: data.police.uk names its files ``2018-01-merseyside-street.csv``.
KINDS = {"-street.csv": "street", "-outcomes.csv": "outcomes", "-stop-and-search.csv": "stop-and-search"}
_NAME = re.compile(r"(\d{4}-\d{2})-(.+)-(street|outcomes|stop-and-search)\.csv")
_MAX_RATIO = 200
_MAX_FILE = 1 << 30
_MARKS = ((b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"))


@dataclass(frozen=True, slots=True)
class CsvFile:
    """A CSV that can be read, here or in another process.

    Parameters
    ----------
    name : inside the source.
    path, members : the file on disk, and the way into it: nothing, a member of the zip, or a zip in it and its member.
    size, mark : bytes, and what changes when the content does (the zip's checksum, or the time of the last change).
    """

    name: str
    path: Path
    members: tuple[str, ...]
    size: int
    mark: str

    @property
    def month(self) -> str:
        """The month of its name, or nothing."""
        found = _NAME.fullmatch(self._stem)
        return found[1] if found else ""

    @property
    def force(self) -> str:
        """The force's slug in its name, or nothing."""
        found = _NAME.fullmatch(self._stem)
        return found[2] if found else ""

    @property
    def _stem(self) -> str:
        return PurePosixPath(self.name).name.lower()

    def read(self) -> bytes:
        """Return the content.

        Raises
        ------
        InputError : a damaged zip.
        """
        if not self.members:
            return self.path.read_bytes()
        try:
            with _open_zip(self.path, self.members[:-1]) as archive, archive.open(self.members[-1]) as file:
                return file.read(self.size + 1)
        except (zipfile.BadZipFile, zlib.error, OSError, EOFError, NotImplementedError) as error:
            raise InputError(f"{self.path.name}: {self.name} is damaged ({error}); download the zip again") from error


class Found(NamedTuple):
    """Files of one kind; how many of other kinds were skipped, and how many a newer archive replaced."""

    files: list[CsvFile]
    skipped: dict[str, int]
    repeated: int


def find_files(source: str | Path, *, kind: str = "street", max_bytes: int) -> Found:
    """Return the files of one kind in ``source`` in name order.

    A force's month that is there more than once, as in archives that overlap, is taken from the last in name order.

    Raises
    ------
    InputError : no such source, no file of this kind in it, an unsafe or oversized zip.
    """
    path = Path(source)
    if not path.exists():
        raise InputError(f"no such file or folder: {path.name}; expected a folder, a zip or a CSV of data.police.uk")
    if path.is_dir():
        files: list[CsvFile] = []
        for p in sorted(p for p in path.rglob("*") if p.suffix.lower() in (".csv", ".zip") and p.is_file()):
            name = p.relative_to(path).as_posix()
            if p.suffix.lower() == ".zip":
                files += _zip_files(p, (), max_bytes=max_bytes, prefix=f"{name}/")
            else:
                status = p.stat()
                files.append(CsvFile(name, p, (), status.st_size, str(status.st_mtime_ns)))
    elif zipfile.is_zipfile(path):
        files = _zip_files(path, (), max_bytes=max_bytes)
    elif path.suffix.lower() == ".csv":
        if (found := _kind(path.name)) not in (kind, "other"):
            raise InputError(f"{path.name}: got a file of {found}, expected one of {kind} (…-{kind}.csv)")
        status = path.stat()
        _check_total(status.st_size, max_bytes, path.name)
        return Found([CsvFile(path.name, path, (), status.st_size, str(status.st_mtime_ns))], {}, 0)
    else:
        raise InputError(f"{path.name}: got neither a folder, a zip nor a CSV; download an archive from data.police.uk")
    _check_total(sum(f.size for f in files), max_bytes, path.name)
    files = [f for f in files if not PurePosixPath(f.name).name.startswith("._")]  # what macOS adds to a zip
    wanted = [f for f in files if _kind(f.name) == kind]
    skipped = Counter(_kind(f.name) for f in files if _kind(f.name) != kind)
    if not wanted:
        have = ", ".join(f"{n} {k}" for k, n in skipped.items()) or "no CSV at all"
        raise InputError(
            f"{path.name}: got {have}, expected files named …-{kind}.csv; give one CSV by its path to force it"
        )
    last = {(f.month, f.force) if f.month else f.name: f for f in wanted}
    kept = set(last.values())
    return Found([f for f in wanted if f in kept], dict(skipped), len(wanted) - len(kept))


def to_utf8(data: bytes, *, name: str) -> tuple[bytes, str]:
    """Return the text as UTF-8 without a byte order mark, and what it was: UTF-8, UTF-16 or Windows-1252.

    Raises
    ------
    SchemaError : bytes that are text in none of the three.
    """
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            try:
                return data[2:].decode(encoding).encode(), "UTF-16"
            except UnicodeDecodeError as error:
                raise SchemaError(f"{name}: got broken UTF-16 ({error.reason}); save the file as UTF-8") from error
    data = data.removeprefix(b"\xef\xbb\xbf")
    if b"\0" in data:
        row = data[: data.index(b"\0")].count(b"\n") + 1
        raise SchemaError(f"{name}, row {row}: got a zero byte, expected text; save the file as UTF-8 CSV")
    try:
        data.decode()
    except UnicodeDecodeError as error:
        try:
            return data.decode("cp1252").encode(), "Windows-1252"
        except UnicodeDecodeError:
            row = data[: error.start].count(b"\n") + 1
            raise SchemaError(
                f"{name}, row {row}: got bytes that are neither UTF-8 nor Windows-1252; save the file as UTF-8"
            ) from error
    return data, "UTF-8"


def _kind(name: str) -> str:
    lower = name.lower()
    return next((kind for suffix, kind in KINDS.items() if lower.endswith(suffix)), "other")


def _check_total(total: int, max_bytes: int, name: str) -> None:
    if total > max_bytes:
        raise InputError(
            f"{name}: got {total / 1e9:.1f} GB of CSV, expected at most {max_bytes / 1e9:.1f}; "
            "read fewer months or raise max_bytes"
        )


@contextmanager
def _open_zip(path: Path, within: tuple[str, ...]) -> Iterator[zipfile.ZipFile]:
    with zipfile.ZipFile(path) as archive:
        if not within:
            yield archive
            return
        with zipfile.ZipFile(io.BytesIO(archive.read(within[0]))) as inner:
            yield inner


def _zip_files(path: Path, within: tuple[str, ...], *, max_bytes: int, prefix: str = "") -> list[CsvFile]:
    """List the CSVs of a zip; nothing is extracted to disk, and sizes are checked before a byte is inflated."""
    label = "/".join((path.name, *within))
    try:
        with _open_zip(path, within) as archive:
            infos = sorted((i for i in archive.infolist() if not i.is_dir()), key=lambda i: i.filename)
    except (zipfile.BadZipFile, zlib.error, OSError) as error:
        raise InputError(f"{label}: got a damaged zip ({error}); download it again") from error
    files = []
    for info in infos:
        _check_member(info, label)
        name = info.filename.replace("\\", "/")
        if name.lower().endswith(".zip"):
            if within:
                raise InputError(f"{label}: got a zip in a zip in a zip ({name}); expected at most one inside another")
            files += _zip_files(path, (info.filename,), max_bytes=max_bytes, prefix=f"{prefix}{name}/")
        elif name.lower().endswith(".csv"):
            files.append(CsvFile(prefix + name, path, (*within, info.filename), info.file_size, f"{info.CRC:08x}"))
        _check_total(sum(f.size for f in files), max_bytes, label)
    return files


def _check_member(info: zipfile.ZipInfo, label: str) -> None:
    parts = PurePosixPath(info.filename.replace("\\", "/"))
    if parts.is_absolute() or ".." in parts.parts or any(":" in first for first in parts.parts[:1]):
        raise InputError(f"{label}: got a member that points outside the zip ({info.filename!r}); this zip is not safe")
    if info.flag_bits & 1:
        raise InputError(f"{label}: {info.filename} is encrypted; decrypt the zip first")
    if info.file_size > _MAX_FILE or info.file_size > _MAX_RATIO * max(info.compress_size, 1) + (1 << 20):
        raise InputError(
            f"{label}: {info.filename} would inflate from {info.compress_size:,} to {info.file_size:,} bytes; "
            f"expected at most {_MAX_RATIO} times and {_MAX_FILE:,} bytes"
        )
