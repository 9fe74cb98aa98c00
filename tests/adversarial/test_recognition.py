"""Attacks on templates: somebody has the files, somebody has the objects, somebody has two lists."""

from __future__ import annotations

import base64
import json
import logging
import pickle
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pytest

from crimeface_lib.core.errors import IntegrityError, RefusedError
from crimeface_lib.recognition import Embeddings, Watchlist, load_calibration, score_pairs, template_rotation
from crimeface_lib.storage import open_documents

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
FACTS = {
    "source": "custody", "rationale": "warrant", "category": "wanted", "added_by": "o7", "expires": date(2027, 1, 1),
}  # fmt: skip


def templates(count: int, *, seed: int = 0) -> Embeddings:
    rows = np.random.default_rng(seed).normal(size=(count, 128))
    return Embeddings(
        vectors=(rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32), quality=np.full(count, 80.0),
        failures={}, embedder="dlib", version=load_calibration("dlib").version,
        subjects=tuple(f"Canary Subject {i}" for i in range(count)),
    )  # fmt: skip


def opened(place: str, tmp_path: Path, **more) -> Watchlist:
    return Watchlist.open(tmp_path, key=bytes(range(32)), clock=lambda: NOW, documents=open_documents(place), **more)


def forms(template: np.ndarray) -> list[bytes]:
    """A template as it might lie somewhere: raw, hexadecimal, base64 at each offset, decimals."""
    found = []
    for kind in ("<f4", ">f4", "<f8", ">f8", "<f2"):
        raw = template.astype(kind).tobytes()
        found += [raw[:16], raw[64:80], raw.hex()[:24].encode(), raw.hex()[:24].upper().encode()]
        found += [base64.b64encode(raw[shift:])[4:40] for shift in range(3)]
    for value in template[:40]:
        found += [text.encode() for text in (f"{value:.5f}", repr(float(value))[:9], str(value)[:9], f"{value:.4e}")]
    return found


@pytest.mark.parametrize("kind", ["json", "sqlite"])
def test_templates_looked_for_in_all_that_is_written(tmp_path: Path, caplog, kind: str) -> None:
    """A template is looked for, in every form, in the list, its database, an export, the log, and what results show.
    → Nothing found."""
    place = str(tmp_path / "entries.json") if kind == "json" else f"sqlite:///{tmp_path}/list.sqlite"
    people = templates(3, seed=99)
    with caplog.at_level(logging.DEBUG):
        watchlist = opened(place, tmp_path)
        told = watchlist.enrol_many(people, **FACTS, duplicate_score=0.5)
        sent = watchlist.export(tmp_path / "package", key=bytes(32))
        with watchlist.opened() as gallery:
            found = gallery.search(people, threshold=0.1)
            rate = gallery.false_positives(0.9)
            words = repr(gallery) + str(gallery)
        watchlist.renew(rotation=template_rotation(bytes(32), application="a"))
    shown = [told, sent, found, rate, *watchlist.entries(), people]
    words += "".join(repr(x) + str(x) + str(x.to_dict()) + x._repr_html_() + x.to_frame().to_csv() for x in shown)
    kept = b"".join(pickle.dumps(x) for x in shown if x is not people)
    disk = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert len(disk) > 5_000
    for template in people.vectors:
        for form in forms(template):
            assert form not in disk
            assert form not in kept
            assert form not in (words + caplog.text).encode()
    assert b"Canary Subject" not in disk
    assert "Canary Subject" in words


def test_open_templates_sent_to_another_process(tmp_path: Path) -> None:
    """An open list, its keys, a rotation or templates are pickled, as a pool of processes would. → Refused."""
    turn = template_rotation(bytes(32), application="a")
    watchlist = opened(str(tmp_path / "entries.json"), tmp_path, rotation=turn)
    watchlist.enrol_many(templates(2), **FACTS)
    with watchlist.opened() as gallery:
        for secret in (watchlist, gallery, turn, templates(2)):
            with pytest.raises(TypeError, match="pickle"):
                pickle.dumps(secret)


def test_a_template_put_under_another_name(tmp_path: Path) -> None:
    """Somebody's template box is exchanged for another's, so that a search names the wrong person. → Found."""
    watchlist = opened(str(tmp_path / "entries.json"), tmp_path)
    watchlist.enrol_many(templates(2), **FACTS)
    path = tmp_path / "entries.json"
    tables = json.loads(path.read_bytes())
    one, other = tables["entries"]["1"], tables["entries"]["2"]
    about = [row["sealed"].split(".")[0] for row in (one, other)]
    boxes = [row["sealed"].split(".")[1] for row in (one, other)]
    one["sealed"], other["sealed"] = f"{about[0]}.{boxes[1]}", f"{about[1]}.{boxes[0]}"
    path.write_text(json.dumps(tables))
    with pytest.raises(IntegrityError, match="2 of 2 records"):
        watchlist.search(templates(1))


def test_an_entry_taken_off_the_list(tmp_path: Path) -> None:
    """Somebody's record is deleted from the file, so that no search names them. → Found."""
    watchlist = opened(str(tmp_path / "entries.json"), tmp_path)
    watchlist.enrol_many(templates(3), **FACTS)
    open_documents(tmp_path / "entries.json").delete("entries", 2)
    with pytest.raises(IntegrityError, match="1 that is missing"):
        watchlist.search(templates(1))


def test_an_erased_entry_put_back(tmp_path: Path) -> None:
    """A record that was removed is put back from a copy of the file. → Found."""
    watchlist, store = opened(str(tmp_path / "entries.json"), tmp_path), open_documents(tmp_path / "entries.json")
    watchlist.enrol_many(templates(3), **FACTS)
    copy = {name: value for name, value in store.find("entries")[1].items() if name != "id"}
    watchlist.remove(copy["record"])
    store.insert("entries", copy)
    with pytest.raises(IntegrityError, match="removed and are back"):
        watchlist.search(templates(1))


def test_lists_of_two_applications_compared(tmp_path: Path) -> None:
    """Open templates of two applications are compared to find who is on both. → The scores are noise."""
    people = templates(200)
    rows = []
    for name in ("border", "custody"):
        turn = template_rotation(bytes(32), application=name)
        watchlist = opened(str(tmp_path / name / "entries.json"), tmp_path, rotation=turn)
        watchlist.enrol_many(people, **FACTS)
        with watchlist.opened() as gallery:
            rows.append(gallery._rows.array.copy())
        with pytest.raises(RefusedError, match="another rotation"):
            opened(str(tmp_path / name / "entries.json"), tmp_path)
    same, other = score_pairs(*rows), score_pairs(rows[0], np.roll(rows[1], 1, axis=0))
    assert abs(same.mean() - other.mean()) < 3 * np.hypot(same.std(), other.std()) / np.sqrt(200)
    assert max(abs(same)) < 0.5
