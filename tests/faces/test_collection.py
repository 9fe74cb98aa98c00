"""Photos of a folder, in an order that doesn't depend on the machine."""

from __future__ import annotations

import pytest

from crimeface_lib.core.errors import InputError
from crimeface_lib.faces import list_photos, read_pairs


@pytest.fixture
def folder(tmp_path):
    for name in ("B/B_0001.jpg", "A/A_0002.JPG", "A/A_0001.jpg", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    return tmp_path


def names(photos):
    return [path.name for path in photos]


def test_photos_are_sorted_and_other_files_left_out(folder):
    assert names(list_photos(folder)) == ["A_0001.jpg", "A_0002.JPG", "B_0001.jpg"]
    assert names(list_photos(folder, limit=2)) == ["A_0001.jpg", "A_0002.JPG"]
    assert names(list_photos(folder, limit=9)) == names(list_photos(folder))


def test_only_those_of_a_list_of_pairs(folder):
    (folder / "pairs.txt").write_text("1\nA\t1\tB\t1\n")
    assert read_pairs(folder / "pairs.txt") == [("A/A_0001.jpg", "B/B_0001.jpg", False)]
    assert names(list_photos(folder, pairs=folder / "pairs.txt")) == ["A_0001.jpg", "B_0001.jpg"]
    (folder / "pairs.txt").write_text("1\nA\t1\t7\n")
    with pytest.raises(InputError, match=r"1 of 2 photos are not below .* A_0007\.jpg"):
        list_photos(folder, pairs=folder / "pairs.txt")


def test_a_list_that_climbs_out_of_the_folder_is_refused(folder):
    (folder / "pairs.txt").write_text("1\n../B\t1\t2\n")
    with pytest.raises(InputError, match="line 2"):
        read_pairs(folder / "pairs.txt")


def test_bad_input_says_what_is_wanted(folder, tmp_path):
    with pytest.raises(InputError, match="expected a folder"):
        list_photos(folder / "notes.txt")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="got none below"):
        list_photos(tmp_path / "empty")
    with pytest.raises(InputError, match="at least 1"):
        list_photos(folder, limit=0)
