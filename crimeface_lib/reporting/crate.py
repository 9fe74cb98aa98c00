"""A run's record as a Process Run Crate: what was done, by which software, from what, to what, under which approval.

The crate says nothing of its own: it is the signed manifest ``run.json`` in the words of RO-Crate, written before
the manifest, which lists it with its hash. Inputs are named by role and hash, never by path: a path can hold a name.

References: RO-Crate 1.1; Process Run Crate 0.5 (https://w3id.org/ro/wfrun/process/0.5).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import quote

from crimeface_lib.core.clock import from_iso
from crimeface_lib.core.files import write_atomic

Entity: TypeAlias = dict[str, Any]

_LIBRARY = "urn:crimeface:lib"
CRATE = "ro-crate-metadata.json"
PROFILE = "https://w3id.org/ro/wfrun/process/0.5"
_CONTEXT = ["https://w3id.org/ro/crate/1.1/context", "https://w3id.org/ro/terms/workflow-run/context"]
_STATUS = {"done": "http://schema.org/CompletedActionStatus"}
_FAILED = "http://schema.org/FailedActionStatus"
_FORMATS = {
    ".ipynb": "application/x-ipynb+json", ".html": "text/html", ".pdf": "application/pdf", ".png": "image/png",
    ".json": "application/json", ".glb": "model/gltf-binary", ".obj": "model/obj", ".ply": "application/octet-stream",
    ".npz": "application/octet-stream", ".csv": "text/csv",
}  # fmt: skip


def write_crate(folder: Path, manifest: Mapping[str, Any], steps: Sequence[Mapping[str, Any]]) -> Path:
    """Write ``ro-crate-metadata.json`` of a run and return its path; arguments as for ``build_crate``."""
    data = json.dumps(build_crate(manifest, steps), indent=1, ensure_ascii=False, allow_nan=False)
    write_atomic(folder / CRATE, data.encode())
    return folder / CRATE


def build_crate(manifest: Mapping[str, Any], steps: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return a run's record as RO-Crate metadata.

    Parameters
    ----------
    manifest : what ``run.json`` will hold, its ``outputs`` without the crate itself.
    steps : what each finished notebook left, in order; an action each. A run that did not finish has one action
        more, failed, that says why.
    """
    actions = [_action(manifest, step) for step in steps]
    if manifest["status"] != "done":
        actions.append(_unfinished(manifest))
    files = [_file(output) for output in manifest["outputs"]]
    root: Entity = {
        "@id": "./",
        "@type": "Dataset",
        "name": manifest["title"],
        "description": manifest["question"],
        "identifier": manifest["id"],
        "author": {"@id": "#agent"},
        "datePublished": _time(manifest["finished"]),
        "license": {"@id": "#terms"},
        "conformsTo": {"@id": PROFILE},
        "hasPart": _refs(files),
        "mentions": _refs([action for action, _ in actions]),
    }
    if manifest["method_validation"]:
        root["subjectOf"] = {"@id": "#method-validation"}
    descriptor = {
        "@id": CRATE,
        "@type": "CreativeWork",
        "about": {"@id": "./"},
        "conformsTo": {"@id": "https://w3id.org/ro/crate/1.1"},
    }
    profile = {"@id": PROFILE, "@type": "CreativeWork", "name": "Process Run Crate", "version": "0.5"}
    found = [descriptor, root, profile, *files, *_shared(manifest), *(e for a, more in actions for e in (a, *more))]
    graph = {entity["@id"]: {key: _single(value) for key, value in entity.items()} for entity in found}
    return {"@context": _CONTEXT, "@graph": list(graph.values())}


def _action(manifest: Mapping[str, Any], step: Mapping[str, Any]) -> tuple[Entity, list[Entity]]:
    """Return the action of one finished notebook, and what it alone refers to."""
    name = step["notebook"]
    parameters = [_value(f"#{name}-parameter-{key}", key, value) for key, value in _flat(step["parameters"])]
    facts = {"device": step["device"], "seed": step["seed"], "configuration": step["config_hash"]}
    environment = [_value(f"#{name}-{key}", key, value) for key, value in facts.items()]
    made = [output for output in manifest["outputs"] if _made_by(output["path"], name) or _exported(output, step)]
    notebook: Entity = {
        "@id": f"urn:crimeface:notebook:{name}",
        "@type": "SoftwareApplication",
        "name": f"{name}.ipynb",
        "softwareVersion": _version(manifest),
        "softwareRequirements": [{"@id": _LIBRARY}, *({"@id": _model_id(model)} for model in step["models"])],
    }
    action: Entity = {
        "@id": f"#run-{name}",
        "@type": "CreateAction",
        "name": step["title"],
        "description": step["question"],
        "instrument": {"@id": notebook["@id"]},
        "agent": {"@id": "#agent"},
        "startTime": _time(step["started"]),
        "endTime": _time(step["finished"]),
        "actionStatus": _STATUS["done"],
        "object": [*({"@id": _input_id(entry)} for entry in step["inputs"]), *_refs(parameters)],
        "result": [{"@id": _path_id(output["path"])} for output in made],
        "environment": _refs(environment),
    }
    if step["permits"]:
        action["subjectOf"] = [{"@id": f"#dpia-{permit['dpia']}"} for permit in step["permits"]]
    return action, [notebook, *parameters, *environment]


def _unfinished(manifest: Mapping[str, Any]) -> tuple[Entity, list[Entity]]:
    """Return the action that stands for a run that failed, was refused or interrupted."""
    action = {
        "@id": "#run",
        "@type": "CreateAction",
        "name": f"{manifest['title']} ({manifest['status']})",
        "instrument": {"@id": _LIBRARY},
        "agent": {"@id": "#agent"},
        "startTime": _time(manifest["started"]),
        "endTime": _time(manifest["finished"]),
        "actionStatus": _FAILED,
        "error": manifest["reason"] or manifest["status"],
    }
    return action, []


def _shared(manifest: Mapping[str, Any]) -> Iterator[Entity]:
    """Yield what several actions refer to: agent, software, models, inputs, approvals, terms."""
    code = manifest["code"]
    yield {"@id": "#agent", "@type": "Person", "name": manifest["actor"], "description": "account id, not a name"}
    terms = f"Made for the purpose {manifest['purpose']!r}; any other use needs an approval of its own."
    yield {"@id": "#terms", "@type": "CreativeWork", "name": "Terms of use", "description": terms}
    homes = {name: f"https://pypi.org/project/{name}/" for name in code["packages"] if name != "crimeface-lib"}
    homes["Python"] = "https://www.python.org/"
    versions = {**code["packages"], "Python": code["python"]}
    packages = [
        {"@id": url, "@type": "SoftwareApplication", "name": name, "url": url, "softwareVersion": versions[name]}
        for name, url in homes.items()
    ]
    yield from packages
    yield {
        "@id": _LIBRARY,
        "@type": "SoftwareApplication",
        "name": "crimeface-lib",
        "softwareVersion": _version(manifest),
        "softwareRequirements": _refs(packages),
    }
    for model in manifest["models"]:
        yield {
            "@id": _model_id(model), "@type": "SoftwareApplication", "name": model["model"],
            "softwareVersion": model["version"], "license": model["licence"], "description": model["source"],
            "usageInfo": model["use"],
        }  # fmt: skip
    for entry in manifest["inputs"]:
        yield {
            "@id": _input_id(entry), "@type": "CreativeWork", "name": entry["role"], "sha256": entry["sha256"],
            "description": "kept outside this crate; named by its role and hash",
            **({"contentSize": str(entry["bytes"])} if "bytes" in entry else {}),
            **({"identifier": entry["evidence"]} if "evidence" in entry else {}),
        }  # fmt: skip
    for permit in manifest["permits"]:
        yield {
            "@id": f"#dpia-{permit['dpia']}", "@type": "DigitalDocument",
            "name": "Data protection impact assessment", "identifier": str(permit["dpia"]),
            "version": permit["content_hash"], "expires": permit["review_by"],
        }  # fmt: skip
    if manifest["method_validation"]:
        yield {
            "@id": "#method-validation", "@type": "CreativeWork", "name": "Method validation",
            "identifier": manifest["method_validation"],
        }  # fmt: skip


def _file(output: Mapping[str, Any]) -> Entity:
    path = Path(output["path"])
    return {
        "@id": _path_id(output["path"]),
        "@type": "File",
        "name": output.get("title") or path.name,
        "encodingFormat": _FORMATS.get(path.suffix, "application/octet-stream"),
        "contentSize": str(output["size"]),
        "sha256": output["sha256"],
    }


def _made_by(path: str, notebook: str) -> bool:
    """Whether an output bears the name of a notebook: its report, its executed copy, its figures."""
    stem = Path(path).stem
    return stem == notebook or (path.startswith("figures/") and stem.startswith(f"{notebook}_"))


def _exported(output: Mapping[str, Any], step: Mapping[str, Any]) -> bool:
    return output["path"].startswith("files/") and output["sha256"] in {file["sha256"] for file in step["files"]}


def _flat(parameters: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Yield "make_grid.cell", 250.0 for each parameter that is set."""
    for key, value in parameters.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{above}{key}.")
        elif value is not None:
            yield f"{above}{key}", value


def _value(id: str, name: str, value: Any) -> Entity:
    plain = value if isinstance(value, str | int | float | bool) else json.dumps(value, ensure_ascii=False)
    return {"@id": id, "@type": "PropertyValue", "name": name, "value": plain}


def _version(manifest: Mapping[str, Any]) -> str:
    code = manifest["code"]
    commit = f"+{code['commit'][:12]}{'.changed' if code['changed_since_commit'] else ''}" if code["commit"] else ""
    return f"{code['packages']['crimeface-lib']}{commit}"


def _single(value: Any) -> Any:
    """Return the only entry of a list of one, as RO-Crate writes it."""
    return value[0] if isinstance(value, list) and len(value) == 1 else value


def _time(text: str) -> str:
    """Return a time to the second, which is as fine as the profile reads it."""
    return from_iso(text).isoformat(timespec="seconds")


def _refs(entities: Sequence[Entity]) -> list[Entity]:
    return [{"@id": entity["@id"]} for entity in entities]


def _model_id(model: Mapping[str, Any]) -> str:
    return f"urn:crimeface:model:{model['model']}"


def _input_id(entry: Mapping[str, Any]) -> str:
    return f"#input-{entry['role']}-{entry['sha256'][:16]}"


def _path_id(path: str) -> str:
    return quote(path)
