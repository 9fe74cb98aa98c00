"""The models and data of an installation as a machine-learning bill of materials (CycloneDX 1.6 JSON).

Made from the cards, the datasheets and the result files; it says nothing that they don't. A model of several weight
files has a component for each, with its SHA-256.

References: ECMA-424 (CycloneDX 1.6), component.modelCard.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from crimeface_lib.core.clock import to_iso
from crimeface_lib.core.hashing import content_hash
from crimeface_lib.governance.datasheet import Datasheet
from crimeface_lib.governance.modelcard import LICENCES, Fairness, ModelCard, ModelRegistry
from crimeface_lib.governance.results import Measured, Measurement

#: What our licence words are called in SPDX; any other goes by name.
_SPDX = frozenset({"MIT", "BSL-1.0", "Apache-2.0", "CC0-1.0"})
_TASKS = {
    "detector": "face detection", "landmarker": "facial landmarks", "embedder": "face recognition",
    "morphable model": "3D face reconstruction", "place model": "forecast of recorded events by place",
    "profile model": "ranking of cells as the anchor of a series",
}  # fmt: skip


def build_mlbom(
    registry: ModelRegistry, *, at: datetime, version: str, models: Iterable[str] | None = None
) -> dict[str, Any]:
    """Return the bill of materials as JSON can hold it.

    Parameters
    ----------
    version : of crimeface-lib. models : names of cards; all of the registry by default.

    Raises
    ------
    RefusedError : a model without a card.
    """
    cards = [registry.require(name) for name in models] if models is not None else list(registry)
    used = sorted({name for card in cards for name in card.datasheets})
    components = [_model(card) for card in cards] + [_data(registry.datasheets[name]) for name in used]
    library = {"type": "library", "bom-ref": "crimeface-lib", "name": "crimeface-lib", "version": version}
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, content_hash(components))}",
        "version": 1,
        "metadata": {"timestamp": to_iso(at), "component": library, "licenses": [_licence("MIT")]},
        "components": components,
        "dependencies": [
            {"ref": "crimeface-lib", "dependsOn": [_ref(card) for card in cards]},
            *({"ref": _ref(card), "dependsOn": [f"data:{name}" for name in card.datasheets]} for card in cards),
            *({"ref": f"data:{name}"} for name in used),
        ],
    }


def mlbom_json(bom: Mapping[str, Any]) -> str:
    """Return the bill of materials as text."""
    return json.dumps(bom, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _model(card: ModelCard) -> dict[str, Any]:
    """Return a model and its card as a component."""
    weights = card.licence.weights if card.licence.weights != "none" else card.licence.code
    considerations = {
        "useCases": [card.intended_use],
        "technicalLimitations": [*card.caveats, *(f"Not for: {use}" for use in card.out_of_scope)],
        "fairnessAssessments": [_fairness(entry) for entry in card.fairness],
    }
    metrics = [_metric(figure, result) for result in card.measured for figure in result.figures]
    model_card: dict[str, Any] = {
        "modelParameters": {
            "task": _TASKS[card.kind],
            "datasets": [{"ref": f"data:{name}"} for name in card.datasheets],
        },
        "considerations": considerations,
        "properties": [{"name": "crimeface:trainingData", "value": card.training_data}],
    }
    if metrics:
        model_card["quantitativeAnalysis"] = {"performanceMetrics": metrics}
    files = [
        {"type": "file", "bom-ref": f"{_ref(card)}/{name}", "name": name, "hashes": [{"alg": "SHA-256", "content": d}]}
        for name, d in card.weights_sha256.items()
    ]
    return {
        "type": "machine-learning-model",
        "bom-ref": _ref(card),
        "name": card.name,
        "version": card.version,
        "description": card.source,
        "licenses": [_licence(weights)],
        "modelCard": model_card,
        "properties": [
            {"name": "crimeface:backend", "value": card.backend},
            {"name": "crimeface:licence:code", "value": card.licence.code},
            {"name": "crimeface:licence:weights", "value": f"{card.licence.weights}: {LICENCES.get(weights, '')}"},
        ],
        **({"components": files} if files else {}),
    }


def _data(sheet: Datasheet) -> dict[str, Any]:
    """Return a dataset and its sheet as a component."""
    told = {"composition": sheet.composition, "collection": sheet.collection, "consent": sheet.consent}
    return {
        "type": "data",
        "bom-ref": f"data:{sheet.name}",
        "name": sheet.name,
        "description": sheet.title,
        "licenses": [{"license": {"name": sheet.licence}}],
        "data": [
            {
                "type": "dataset",
                "name": sheet.name,
                "description": f"{sheet.motivation} {sheet.composition}",
                "sensitiveData": [sheet.consent],
                "contents": {"properties": [{"name": f"crimeface:{key}", "value": text} for key, text in told.items()]},
            }
        ],
        "properties": [{"name": "crimeface:unsuitable", "value": use} for use in sheet.unsuitable],
    }


def _fairness(entry: Fairness) -> dict[str, str]:
    return {
        "groupAtRisk": entry.group_at_risk,
        "benefits": entry.benefits,
        "harms": entry.harms,
        "mitigationStrategy": entry.mitigation,
    }


def _metric(figure: Measured, result: Measurement) -> dict[str, Any]:
    metric: dict[str, Any] = {
        "type": figure.name,
        "value": f"{figure.value:g} {figure.unit}".strip(),
        "slice": f"{result.datasheet}, n = {figure.n}: {result.protocol}",
    }
    if figure.low is not None and figure.high is not None:
        metric["confidenceInterval"] = {"lowerBound": f"{figure.low:g}", "upperBound": f"{figure.high:g}"}
    return metric


def _licence(name: str) -> dict[str, Any]:
    return {"license": {"id": name} if name in _SPDX else {"name": name}}


def _ref(card: ModelCard) -> str:
    return f"model:{card.name}@{card.version}"
