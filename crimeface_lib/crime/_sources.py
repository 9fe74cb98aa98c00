"""Where CSV files come from: one file, a folder tree, or a zip whose sizes and names are checked first."""

from __future__ import annotations

import zipfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from crimeface_lib.core.errors import InputError

#: data.police.uk names its files ``2018-01-merseyside-street.csv``.
KINDS = {"-street.csv": "street", "-outcomes.csv": "outcomes", "-stop-and-search.csv": "stop-and-search"}
_MAX_RATIO = 200
_MAX_FILE = 1 << 30


@dataclass(frozen=True, slots=True)
class CsvFile:
    """A CSV that can be read: its name inside the source, and how to get its bytes."""

    name: str
    read: Callable[[], bytes]


def find_street_files(source: str | Path, *, max_bytes: int) -> tuple[list[CsvFile], dict[str, int]]:
    """Return the street files of ``source`` in name order, and how many files of other kinds were skipped.

    Raises
    ------
    InputError : no such source, no street file in it, an unsafe or oversized zip.
    """
    path = Path(source)
    if not path.exists():
        raise InputError(f"no such file or folder: {path.name}; expected a folder, a zip or a CSV of data.police.uk")
    if path.is_dir():
        files = [
            CsvFile(p.relative_to(path).as_posix(), p.read_bytes) for p in sorted(path.rglob("*.csv")) if p.is_file()
        ]
        total = sum(p.stat().st_size for p in path.rglob("*.csv"))
        _check_total(total, max_bytes, path.name)
    elif zipfile.is_zipfile(path):
        files = _zip_files(path, max_bytes=max_bytes)
    elif path.suffix.lower() == ".csv":
        kind = _kind(path.name)
        if kind not in ("street", "other"):
            raise InputError(f"{path.name}: got a file of {kind}, expected street-level crimes (…-street.csv)")
        _check_total(path.stat().st_size, max_bytes, path.name)
        return [CsvFile(path.name, path.read_bytes)], {}
    else:
        raise InputError(f"{path.name}: got neither a folder, a zip nor a CSV; download an archive from data.police.uk")
    street = [f for f in files if _kind(f.name) == "street"]
    skipped = Counter(_kind(f.name) for f in files if _kind(f.name) != "street")
    if not street:
        have = ", ".join(f"{n} {k}" for k, n in skipped.items()) or "no CSV at all"
        raise InputError(
            f"{path.name}: got {have}, expected files named …-street.csv; give one CSV by its path to force it"
        )
    return street, dict(skipped)


def _kind(name: str) -> str:
    lower = name.lower()
    return next((kind for suffix, kind in KINDS.items() if lower.endswith(suffix)), "other")


def _check_total(total: int, max_bytes: int, name: str) -> None:
    if total > max_bytes:
        raise InputError(
            f"{name}: got {total / 1e9:.1f} GB of CSV, expected at most {max_bytes / 1e9:.1f}; "
            "read fewer months or raise max_bytes"
        )


def _zip_files(path: Path, *, max_bytes: int) -> list[CsvFile]:
    """List the CSVs of a zip; nothing is extracted to disk, and sizes are checked before a byte is inflated."""
    try:
        with zipfile.ZipFile(path) as archive:
            infos = [i for i in archive.infolist() if not i.is_dir()]
    except zipfile.BadZipFile as error:
        raise InputError(f"{path.name}: got a damaged zip ({error}); download it again") from error
    for info in infos:
        parts = PurePosixPath(info.filename.replace("\\", "/"))
        if parts.is_absolute() or ".." in parts.parts or ":" in parts.parts[0]:
            raise InputError(
                f"{path.name}: got a member that points outside the zip ({info.filename!r}); this zip is not safe"
            )
        if info.flag_bits & 1:
            raise InputError(f"{path.name}: {info.filename} is encrypted; decrypt the zip first")
        if info.file_size > _MAX_FILE or info.file_size > _MAX_RATIO * max(info.compress_size, 1) + (1 << 20):
            raise InputError(
                f"{path.name}: {info.filename} would inflate from {info.compress_size:,} to {info.file_size:,} bytes; "
                f"expected at most {_MAX_RATIO} times and {_MAX_FILE:,} bytes"
            )
    infos = sorted((i for i in infos if i.filename.lower().endswith(".csv")), key=lambda i: i.filename)
    _check_total(sum(i.file_size for i in infos), max_bytes, path.name)
    return [CsvFile(i.filename, lambda i=i: _read_member(path, i)) for i in infos]  # type: ignore[misc]


def _read_member(path: Path, info: zipfile.ZipInfo) -> bytes:
    try:
        with zipfile.ZipFile(path) as archive, archive.open(info) as file:
            return file.read(info.file_size + 1)
    except (zipfile.BadZipFile, OSError) as error:
        raise InputError(f"{path.name}: {info.filename} is damaged ({error}); download the zip again") from error
