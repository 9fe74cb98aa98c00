"""The bill of materials holds to the schema, and names the bytes that are loaded (D2)."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from crimeface_lib.core.artifacts import find
from crimeface_lib.core.errors import RefusedError
from crimeface_lib.core.hashing import sha256_file
from crimeface_lib.faces.weights import POINTS_5, POINTS_68, RESNET
from crimeface_lib.governance import ModelRegistry, build_mlbom, mlbom_json

AT = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def bom():
    return build_mlbom(ModelRegistry.bundled(), at=AT, version="0.1.0")


def component(bom, name):
    (found,) = [c for c in bom["components"] if c["name"] == name]
    return found


def test_it_holds_to_the_schema(bom):
    cyclonedx = pytest.importorskip("cyclonedx.validation.json")
    from cyclonedx.schema import SchemaVersion

    validator = cyclonedx.JsonStrictValidator(SchemaVersion.V1_6)
    assert validator.validate_str(mlbom_json(bom)) is None
    broken = json.loads(mlbom_json(bom))
    broken["components"][0]["modelCard"]["considerations"]["fairness"] = []
    assert validator.validate_str(json.dumps(broken)) is not None, "the validator can say no"


def test_every_model_has_fairness_assessments_licences_and_sheets(bom):
    refs = {c["bom-ref"] for c in bom["components"]}
    models = [c for c in bom["components"] if c["type"] == "machine-learning-model"]
    assert {c["name"] for c in models} == {card.name for card in ModelRegistry.bundled()}
    for model in models:
        for assessment in model["modelCard"]["considerations"]["fairnessAssessments"]:
            assert all(assessment[key] for key in ("groupAtRisk", "benefits", "harms", "mitigationStrategy"))
        assert {d["ref"] for d in model["modelCard"]["modelParameters"]["datasets"]} <= refs
        assert model["licenses"]
    assert all(set(entry.get("dependsOn", ())) <= refs for entry in bom["dependencies"])
    assert component(bom, "dlib-68-landmarks")["licenses"] == [{"license": {"name": "LicenseRef-300W-research-only"}}]


def test_the_hashes_are_those_of_the_weights_that_are_loaded(bom):
    listed = {file["name"]: file["hashes"][0]["content"] for c in bom["components"] for file in c.get("components", ())}
    for artifact in (RESNET, POINTS_5, POINTS_68):
        assert listed[artifact.name] == sha256_file(find(artifact)) == artifact.sha256


def test_measured_figures_come_with_interval_and_protocol(bom):
    metrics = component(bom, "decayed_counts")["modelCard"]["quantitativeAnalysis"]["performanceMetrics"]
    for metric in metrics:
        ends = metric["confidenceInterval"]
        assert float(ends["lowerBound"]) < float(metric["value"]) < float(ends["upperBound"])
        assert "chicago-assaults, n = 11" in metric["slice"]


def test_some_models_only_and_none_without_a_card(bom):
    some = build_mlbom(ModelRegistry.bundled(), at=AT, version="0.1.0", models=["ict"])
    assert [c["name"] for c in some["components"]] == ["ict", "ict-scans"]
    assert some["serialNumber"] != bom["serialNumber"]
    assert build_mlbom(ModelRegistry.bundled(), at=AT, version="0.1.0") == bom
    with pytest.raises(RefusedError, match="no model card"):
        build_mlbom(ModelRegistry.bundled(), at=AT, version="0.1.0", models=["arcface"])
