"""The crate says what the manifest says, in the words of Process Run Crate 0.5, and nothing about a person (D3)."""

from __future__ import annotations

import json

import pytest

from crimeface_lib.core.hashing import sha256_file
from crimeface_lib.reporting import CRATE, build_crate, write_crate

FILES = {
    "recognise.html": b"<p>report</p>",
    "notebooks/recognise.ipynb": b"{}",
    "figures/recognise_candidates.png": b"png",
    "figures/reconstruct_face.png": b"face",
    "files/face.ply": b"ply",
    "steps/recognise.json": b"{}",
}
TIMES = {"started": "2026-03-01T09:00:00.123456Z", "finished": "2026-03-01T09:01:00.654321Z"}
INPUT = {"role": "probe", "sha256": "ab" * 32, "bytes": 10, "type": ".jpg", "evidence": "e1"}
MODEL = {"model": "dlib-resnet", "version": "0.3.0", "source": "PyPI", "licence": "CC0-1.0", "use": "as licensed"}
PERMIT = {"dpia": 4, "content_hash": "sha256:" + "cd" * 32, "review_by": "2026-12-31", "use": {}}


def step(folder, name="recognise", **changes):
    return {
        "notebook": name, "title": "Recognise", "question": "Who is like the probe?", **TIMES, "device": "cpu",
        "seed": 0, "config_hash": "sha256:00", "found": ["Subject canary-doe is first."], "inputs": [INPUT],
        "parameters": {"probe": "(input probe)", "search": {"top": 10}, "formats": ["glb"], "dpia": None},
        "models": [MODEL], "permits": [PERMIT],
        "files": [{"file": "face.ply", "sha256": sha256_file(folder / "files/face.ply")}], **changes,
    }  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    for name, data in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data)
    return tmp_path


@pytest.fixture
def manifest(folder):
    return {
        "id": "20260301-recognise", "title": "Recognise", "question": "Who is like the probe?", "status": "done",
        "reason": "", **TIMES, "actor": "rhea", "purpose": "method-evaluation", "method_validation": None,
        "code": {"packages": {"crimeface-lib": "0.1.0", "numpy": "2.4.6"}, "python": "3.11.7", "commit": "a" * 40,
                 "changed_since_commit": True},
        "inputs": [INPUT], "models": [MODEL], "permits": [PERMIT],
        "outputs": [{"path": name, "sha256": sha256_file(folder / name), "size": len(data)}
                    for name, data in FILES.items()],
    }  # fmt: skip


def by_id(crate):
    return {entity["@id"]: entity for entity in crate["@graph"]}


def refs(value):
    return [entry["@id"] for entry in (value if isinstance(value, list) else [value])]


def check_profile(crate):
    """What RO-Crate 1.1 and Process Run Crate 0.5 require, and what they recommend of an action."""
    graph = by_id(crate)
    assert len(graph) == len(crate["@graph"]), "ids are unique"
    assert graph[CRATE]["conformsTo"] == {"@id": "https://w3id.org/ro/crate/1.1"}
    assert graph[CRATE]["about"] == {"@id": "./"}
    root = graph["./"]
    profile = root["conformsTo"]["@id"]
    assert profile == "https://w3id.org/ro/wfrun/process/0.5"
    assert graph[profile]["@type"] == "CreativeWork"
    assert {"name", "description", "datePublished", "license"} <= root.keys()
    actions = [entity for entity in graph.values() if entity["@type"] == "CreateAction"]
    assert sorted(refs(root["mentions"])) == sorted(action["@id"] for action in actions)
    for action in actions:
        (software,) = refs(action["instrument"])
        assert graph[software]["@type"] == "SoftwareApplication"
        assert graph[software]["softwareVersion"]
        assert graph[action["agent"]["@id"]]["@type"] == "Person"
        assert action["actionStatus"].startswith("http://schema.org/")
        assert ("error" in action) == action["actionStatus"].endswith("FailedActionStatus")
    everything = json.dumps(crate)
    for entity in graph.values():
        for key, value in entity.items():
            ids = [v["@id"] for v in (value if isinstance(value, list) else [value]) if isinstance(v, dict)]
            assert key == "conformsTo" or set(ids) <= graph.keys(), f"{key} refers to something that isn't described"
    return graph, actions, everything


def test_a_finished_run(folder, manifest):
    graph, (action,), everything = check_profile(build_crate(manifest, [step(folder)]))
    assert action["actionStatus"] == "http://schema.org/CompletedActionStatus"
    assert set(refs(action["result"])) == set(FILES) - {"figures/reconstruct_face.png"}
    assert set(refs(graph["./"]["hasPart"])) == set(FILES)
    for name in FILES:
        assert graph[name]["sha256"] == sha256_file(folder / name)
    assert graph["#recognise-parameter-search.top"]["value"] == 10
    assert graph["#recognise-parameter-formats"]["value"] == '["glb"]'
    assert "#recognise-parameter-dpia" not in graph, "what isn't set is no parameter"
    assert {graph[id]["name"] for id in refs(action["environment"])} == {"device", "seed", "configuration"}
    assert graph["#input-probe-abababababababab"]["sha256"] == "ab" * 32
    assert (graph["#dpia-4"]["identifier"], graph["#dpia-4"]["version"]) == ("4", "sha256:" + "cd" * 32)
    assert refs(action["subjectOf"]) == ["#dpia-4"]
    assert graph["urn:crimeface:lib"]["softwareVersion"] == "0.1.0+aaaaaaaaaaaa.changed"
    assert "canary-doe" not in everything, "what was found may name a subject"


def test_a_run_that_failed_says_why(folder, manifest):
    failed = {**manifest, "status": "refused", "reason": "no approved DPIA", "outputs": [], "models": [], "permits": []}
    _, (action,), _ = check_profile(build_crate({**failed, "inputs": []}, []))
    assert action["error"] == "no approved DPIA"
    _, actions, _ = check_profile(build_crate({**manifest, "status": "interrupted"}, [step(folder)]))
    assert len(actions) == 2


def test_the_method_validation_is_named(folder, manifest):
    crate = build_crate({**manifest, "method_validation": "MV-2026-7"}, [step(folder)])
    assert by_id(crate)["#method-validation"]["identifier"] == "MV-2026-7"
    assert check_profile(crate)[0]["./"]["subjectOf"] == {"@id": "#method-validation"}


def test_round_trip_through_the_reference_library(folder, manifest, tmp_path_factory):
    rocrate = pytest.importorskip("rocrate.rocrate")
    write_crate(folder, manifest, [step(folder)])
    crate = rocrate.ROCrate(folder)
    assert {entity.id for entity in crate.data_entities} == set(FILES)
    action = crate.root_dataset["mentions"]
    action = action[0] if isinstance(action, list) else action
    assert action["instrument"]["name"] == "recognise.ipynb"
    assert action["agent"]["name"] == "rhea"
    again = tmp_path_factory.mktemp("again")
    crate.write(again)
    ours = by_id(json.loads((folder / CRATE).read_text()))
    theirs = by_id(json.loads((again / CRATE).read_text()))
    assert {k: v for k, v in theirs.items() if k != CRATE} == {k: v for k, v in ours.items() if k != CRATE}
    assert all(sha256_file(again / name) == sha256_file(folder / name) for name in FILES)


def test_a_path_is_written_as_an_address(folder, manifest):
    odd = {"path": "files/a b#1.ply", "sha256": "00", "size": 1}
    crate = build_crate({**manifest, "outputs": [odd]}, [])
    assert refs(by_id(crate)["./"]["hasPart"]) == ["files/a%20b%231.ply"]
