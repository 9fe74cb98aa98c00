"""The main job, once, for real: what it leaves, and whether that holds together."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
import zipfile
from pathlib import Path

import nbformat
import numpy as np
import pytest
import trimesh

from crimeface_lib.core.errors import IntegrityError
from crimeface_lib.core.hashing import sha256_file
from crimeface_lib.governance import AuditLog
from crimeface_lib.reporting import CRATE, find_chromium
from crimeface_lib.storage import Checkpoint, Ledger
from crimeface_lib.workflow import verify_run

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("demo")]
PAGES = ("reconstruct", "recognise", "crime_overview", "case_report")


@pytest.fixture(scope="module")
def manifest(demo_run) -> dict:
    return json.loads((demo_run / "run.json").read_text())


def step(demo_run: Path, name: str) -> dict:
    return json.loads((demo_run / "steps" / f"{name}.json").read_text())


def test_it_is_done_signed_and_listed(demo_run, manifest):
    assert manifest["status"] == "done"
    assert verify_run(demo_run).files == len(manifest["outputs"])
    assert demo_run.name in (demo_run.parent / "index.html").read_text()


def test_pages_are_self_contained(demo_run):
    load = re.compile(r"""(?:src|href)\s*=\s*["'](?!data:|#|blob:)([^"']+)["']|@import|url\(\s*["']?https?:""")
    for page in PAGES:
        html = (demo_run / f"{page}.html").read_text()
        assert len(html) < 12_000_000
        outside = [
            m.group(0) for m in load.finditer(re.sub(r"<script.*?</script>|srcdoc=\"[^\"]*\"", "", html, flags=re.S))
        ]
        assert all(re.search(r"(reconstruct|recognise|crime_overview)\.html", found) for found in outside), outside
        assert "not validated for casework" in html.lower()
        assert "$$" not in re.sub(r"<script.*?</script>|srcdoc=\"[^\"]*\"", "", html, flags=re.S), "raw TeX"


def test_pdf_comes_with_a_browser_and_a_clear_line_without(demo_run, manifest):
    try:
        find_chromium()
    except ImportError:
        assert any(note.startswith("no PDF: ") for note in manifest["notes"])
    else:
        for page in PAGES:
            assert (demo_run / f"{page}.pdf").read_bytes().startswith(b"%PDF")
            if reader := shutil.which("pdftotext"):
                text = subprocess.check_output([reader, demo_run / f"{page}.pdf", "-"], text=True)
                assert "not validated for casework" in text.lower()


def test_the_mesh_opens_and_is_a_head_in_its_unit(demo_run):
    heights = {}
    for suffix in ("glb", "obj", "ply"):
        mesh = trimesh.load(demo_run / "files" / f"face.{suffix}", force="mesh")
        assert len(mesh.faces) > 5_000
        heights[suffix] = float(np.ptp(mesh.vertices[:, 1]))
    assert heights["obj"] == pytest.approx(heights["ply"], rel=1e-3)
    assert heights["glb"] * 1000 == pytest.approx(heights["obj"], rel=1e-3), "GLB is in metres, OBJ in millimetres"
    assert 180 < heights["obj"] < 500


def test_the_sample_portrait_is_the_first_candidate_and_nobody_is_called_a_match(demo_run):
    found = step(demo_run, "recognise")["results"]["list"]
    first, second = found["candidates"][:2]
    assert first["subject"] == "sample-astronaut"
    assert first["likelihood_ratio"] > 100 > second["likelihood_ratio"]
    assert found["gallery_size"] == 501
    for path in [*demo_run.glob("*.html"), *(demo_run / "steps").glob("*.json"), demo_run / "run.json"]:
        text = re.sub(r"<script.*?</script>|<style.*?</style>|srcdoc=\"[^\"]*\"", "", path.read_text(), flags=re.S)
        assert not re.search(r"\bmatch(es|ed)?\b", text, flags=re.I), path.name


def test_the_quality_report_finds_what_the_generator_put_in(demo_run):
    events = step(demo_run, "crime_overview")["results"]["events"]
    assert len(events["quality"]["gaps"]) == 1
    assert events["quality"]["missing_id_not_asb"] == 0
    assert events["quality"]["duplicates_dropped"] > 0
    evaluation = step(demo_run, "crime_overview")["results"]["evaluation"]
    assert {row["model"] for row in evaluation["summary"]} >= {"decayed_counts", "counts"}
    assert all(row["pai"] > 1 for row in evaluation["summary"]), "better than chance, or the town has no structure"


def test_every_number_has_a_parent(demo_run, manifest):
    assert {entry["role"] for entry in manifest["inputs"]} == {"photo", "probe", "crime", "groups"}
    assert all(len(entry["sha256"]) == 64 for entry in manifest["inputs"])
    assert {permit["use"]["kind"] for permit in manifest["permits"]} == {"face_search", "place_prediction"}
    assert {"dlib-resnet", "dlib-68-landmarks"} <= {model["model"] for model in manifest["models"]}
    assert all(model["licence"] for model in manifest["models"])
    assert manifest["code"]["packages"]["numpy"] == np.__version__
    home = demo_run.parents[1] / "home/demo"
    photo = next(entry for entry in manifest["inputs"] if entry["role"] == "photo")
    assert photo["sha256"] == sha256_file(home / "inputs/photo.png")


def test_the_run_crate_says_what_the_manifest_says(demo_run, manifest):
    crate = {entity["@id"]: entity for entity in json.loads((demo_run / CRATE).read_text())["@graph"]}
    actions = {id.removeprefix("#run-") for id, entity in crate.items() if entity["@type"] == "CreateAction"}
    assert actions == set(PAGES)
    listed = {output["path"]: output["sha256"] for output in manifest["outputs"] if output["path"] != CRATE}
    assert {id: e["sha256"] for id, e in crate.items() if e["@type"] == "File"} == listed
    made = [ref["@id"] for page in PAGES for ref in crate[f"#run-{page}"]["result"]]
    assert sorted(made) == sorted(listed), "each output is the result of exactly one notebook"
    text = (demo_run / CRATE).read_text()
    assert not [word for word in ("photo.png", "probe.jpg", str(demo_run.parents[1])) if word in text]


def test_an_altered_cell_output_or_figure_is_found(demo_run):
    for name in ("notebooks/recognise.ipynb", "figures/recognise_candidates.png", CRATE):
        path = demo_run / name
        old = path.read_bytes()
        if path.suffix == ".ipynb":
            notebook = nbformat.reads(old.decode(), as_version=4)
            output = next(o for cell in notebook.cells for o in cell.get("outputs", []) if "data" in o)
            output["data"]["text/plain"] = "LR 10^6"
            path.write_text(nbformat.writes(notebook))
        else:
            path.write_bytes(old + b" ")
        with pytest.raises(IntegrityError, match=f"{path.name} was changed"):
            verify_run(demo_run)
        path.write_bytes(old)
    verify_run(demo_run)


def test_the_checkpoint_covers_both_logs(demo_run):
    heads = json.loads((demo_run / "checkpoint.json").read_text())
    store = demo_run.parents[1] / "home/demo/store"
    for name, ledger in (("audit", store / "audit.ledger"), ("custody", None)):
        checkpoint = Checkpoint.from_dict(heads[name])
        checkpoint.verify_signature()
        if ledger:
            Ledger.open(ledger).verify(checkpoint)


@pytest.fixture(scope="module")
def synthetic() -> np.ndarray:
    """The templates that the demonstration's watchlist holds beside the portrait's."""
    from crimeface_lib.core.random import make_rng
    from crimeface_lib.synthetic import synthetic_watchlist
    from crimeface_lib.workflow import demo

    return synthetic_watchlist(demo._ENTRIES, rng=make_rng(demo.SEED, stream="watchlist")).vectors


def test_no_template_is_anywhere_that_the_run_left_anything(demo_run, synthetic, traces_of):
    """T1, for a whole run: report, executed notebooks, store, ledgers, logs, cache: in none of its forms."""
    from crimeface_lib.recognition import embed_images

    inputs = demo_run.parents[1] / "home/demo/inputs"
    made = embed_images([inputs / "probe.jpg", inputs / "photo.png"], device="cpu").vectors
    look = {"probe's": traces_of(made[0]), "portrait's": traces_of(made[1]), "synthetic": traces_of(synthetic[0])}
    files = [path for path in demo_run.parents[1].rglob("*") if path.is_file()]
    names = {path.name for path in files}
    assert {"recognise.ipynb", "audit.ledger", "entries.json", "run.json", "recognise.html"} <= names, (
        "all are looked at"
    )
    for path in files:
        data = path.read_bytes()
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as packed:
                data += b"".join(packed.read(name) for name in packed.namelist())
        for whose, search in look.items():
            assert not search(data), f"the {whose} template in {path.name}"


def test_a_template_would_be_found_in_each_of_its_forms(synthetic, traces_of):
    vector = synthetic[0]
    search = traces_of(vector)
    single, double = vector.astype("<f4").tobytes(), vector.astype("<f8").tobytes()
    forms = [single, double, vector.astype(">f4").tobytes(), single.hex().encode(), double.hex().upper().encode()]
    forms += [base64.b64encode(b"x" * k + single) for k in range(3)] + [base64.b64encode(b"xy" + double)]
    forms += [json.dumps(vector.tolist()).encode(), np.array2string(vector, precision=6, threshold=200).encode()]
    forms += [" ".join(f"{value:.8f}" for value in vector).encode(), "\n".join(map(str, vector)).encode()]
    for form in forms:
        assert search(b"before " + form + b" after"), form[:60]
        assert search(form[len(form) // 3 :]), "a part of it"
    assert not search(json.dumps(synthetic[-1].tolist()).encode())


def test_no_path_of_this_machine_in_the_published_run(demo_run):
    for path in (*demo_run.glob("*.html"), *demo_run.glob("*.json")):
        assert str(demo_run.parents[1]).encode() not in path.read_bytes(), path.name


def test_executed_notebooks_hold_their_outputs_and_no_error(demo_run):
    for page in PAGES:
        notebook = nbformat.read(demo_run / "notebooks" / f"{page}.ipynb", as_version=4)
        outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
        assert outputs
        assert not [output for output in outputs if output.output_type == "error"]


def test_a_finished_run_is_never_reopened(demo_run, monkeypatch):
    from crimeface_lib.core.errors import InputError
    from crimeface_lib.workflow import run_job

    monkeypatch.setenv("CRIMEFACE_REPORTS_DIR", str(demo_run.parent))
    monkeypatch.setenv("CRIMEFACE_HOME", str(demo_run.parents[1] / "home"))
    before = (demo_run / "run.json").read_bytes()
    with pytest.raises(InputError, match="is done and signed"):
        run_job("case_report", {}, resume=demo_run.name)
    assert (demo_run / "run.json").read_bytes() == before


def test_the_audit_log_says_what_was_used_under_which_permit(demo_run, manifest):
    log = AuditLog(Ledger.open(demo_run.parents[1] / "home/demo/store/audit.ledger"))
    finished = {event.facts["step"]: event.facts for event in log.events("step.finished")}
    hashes = {entry["role"]: entry["sha256"] for entry in manifest["inputs"]}
    assert finished["recognise"]["inputs"] == [hashes["probe"]]
    (search,) = [p["content_hash"] for p in manifest["permits"] if p["use"]["kind"] == "face_search"]
    assert finished["recognise"]["permits"] == [search]


def test_a_changed_page_is_found(demo_run):
    page = demo_run / "case_report.html"
    old = page.read_bytes()
    page.write_bytes(old.replace(b"sample-astronaut", b"sample-someone-e"))
    with pytest.raises(IntegrityError, match=r"case_report\.html was changed"):
        verify_run(demo_run)
    page.write_bytes(old)
