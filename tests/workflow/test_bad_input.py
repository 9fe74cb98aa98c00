"""Bad input: a clear error, exit code 2, a failed run that is recorded and listed, nothing else touched."""

from __future__ import annotations

import json
import struct
import zipfile
import zlib

import numpy as np
import pytest
from PIL import Image

from crimeface_lib.synthetic import synthetic_crimes, write_police_uk

HEADER = (
    "Crime ID,Month,Reported by,Falls within,Longitude,Latitude,Location,LSOA code,LSOA name,Crime type,"
    "Last outcome category,Context\n"
)


def huge_png(side: int) -> bytes:
    """A black 1-bit PNG of ``side`` × ``side``: small on disk, 900 megapixels in memory."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    packer = zlib.compressobj(1)
    row = bytes(1 + (side + 7) // 8)
    data = b"".join(packer.compress(row * 1000) for _ in range(side // 1000)) + packer.flush()
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


@pytest.fixture
def photos(tmp_path, astronaut):
    folder = tmp_path / "photos"
    folder.mkdir()
    Image.fromarray(astronaut).save(folder / "good.jpg")
    (folder / "text.jpg").write_text("this is no photo")
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "truncated.jpg").write_bytes((folder / "good.jpg").read_bytes()[:9000])
    Image.new("RGB", (1, 1)).save(folder / "one.png")
    (folder / "huge.png").write_bytes(huge_png(30_000))
    noise = np.random.default_rng(0).integers(0, 255, (300, 300, 3), dtype=np.uint8)
    Image.fromarray(noise).save(folder / "nobody.png")
    (folder / "folder.jpg").mkdir()
    return folder


@pytest.fixture
def crimes(tmp_path):
    folder = tmp_path / "crimes"
    folder.mkdir()
    made = synthetic_crimes(months=14, per_month=120, rng=1)
    write_police_uk(made.table, folder / "good.zip")
    (folder / "2023-01-x-street.csv").write_text(HEADER)
    (folder / "lacking-street.csv").write_text(HEADER.replace("Month,", "") + "a,b,c\n")
    (folder / "persons-street.csv").write_text(HEADER.strip() + ",Date of birth\n")
    (folder / "text.zip").write_text("no zip")
    with zipfile.ZipFile(folder / "nothing.zip", "w") as archive:
        archive.writestr("readme.txt", "nothing here")
    return folder


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("text.jpg", "give a JPEG, PNG"),
        ("empty.jpg", "expected"),
        ("truncated.jpg", "truncated"),
        ("one.png", "1"),
        ("huge.png", "too many pixels"),
        ("nobody.png", "no face"),
        ("folder.jpg", "folder|directory"),
        ("missing.jpg", "no such file|no file|not found"),
    ],
)
def test_a_bad_photo(workplace, photos, crimes, name, message):
    code, said = workplace.run_cli(
        "run", "case_report", "-p", f"photo={photos / name}", "-p", f"crime={crimes / 'good.zip'}"
    )
    check_failed(workplace, code, said, message, secret=photos.name + "/" + name)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("lacking-street.csv", "Month"),
        ("2023-01-x-street.csv", "no rows|at least one event"),
        ("text.zip", "zip"),
        ("nothing.zip", "street"),
        ("missing.zip", "no such|no file|not found|nothing"),
    ],
)
def test_a_bad_crime_file(workplace, photos, crimes, name, message):
    code, said = workplace.run_cli(
        "run", "case_report", "-p", f"photo={photos / 'good.jpg'}", "-p", f"crime={crimes / name}"
    )
    check_failed(workplace, code, said, message, secret=crimes.name + "/" + name)


def test_columns_about_persons_are_refused_not_just_bad(workplace, crimes):
    code, said = workplace.run_cli(
        "run", "crime_overview", "-p", f"crime={crimes / 'persons-street.csv'}", "-p", "predict=no"
    )
    assert code == 3
    assert "Date of birth" in said


def check_failed(workplace, code, said, message, *, secret):
    import re

    assert code == 2, said
    assert re.search(message, said, flags=re.I), said
    assert "Traceback" not in said
    (folder,) = workplace.runs()
    manifest = json.loads((folder / "run.json").read_text())
    assert manifest["status"] == "failed"
    assert secret not in manifest["reason"], "a path can hold a name"
    (page,) = folder.glob("*.html")
    assert "The run" in page.read_text(), "it says why"
    assert secret not in page.read_text()
    assert folder.name in (workplace.reports / "index.html").read_text()
    assert not list((workplace.root / "home/store").glob("watchlists/*"))
    assert not list((workplace.root / "home/store").glob("evidence/vault/**/*.obj"))


def test_a_folder_with_one_photo_is_no_folder_of_several(workplace, photos, tmp_path):
    (tmp_path / "someone").mkdir()
    (tmp_path / "someone" / "only.jpg").write_bytes((photos / "good.jpg").read_bytes())
    code, said = workplace.run_cli("run", "reconstruct_many", "-p", f"photos={tmp_path / 'someone'}")
    check_failed(workplace, code, said, "photos.*got 1 .*at least 2", secret="someone")


def test_a_missing_table_of_groups(workplace, crimes, tmp_path):
    code, said = workplace.run_cli(
        "run", "crime_overview", "-p", f"crime={crimes / 'good.zip'}", "-p", f"groups={tmp_path / 'someone.csv'}",
        "-p", "predict=no",
    )  # fmt: skip
    check_failed(workplace, code, said, "groups: .*columns area, group", secret="someone")
