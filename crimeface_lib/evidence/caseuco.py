"""Items and custody events as CASE/UCO JSON-LD, for tools that read the community's ontology.

References
----------
CASE 1.5, https://caseontology.org; UCO 1.5, https://unifiedcyberontology.org; ``case_validate`` finds nothing to say.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

_UCO = "https://ontology.unifiedcyberontology.org/uco/"
_CONTEXT = {
    "kb": "urn:crimeface:",
    "case-investigation": "https://ontology.caseontology.org/case/investigation/",
    **{f"uco-{part}": f"{_UCO}{part}/" for part in ("action", "core", "identity", "observable", "tool", "types")},
    "xsd": "http://www.w3.org/2001/XMLSchema#",
}


def case_graph(items: Mapping[str, Mapping[str, Any]], events: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return a JSON-LD document: a file per item, an action per event, and the persons and tools they name.

    Parameters
    ----------
    items : record and notes by item id, as a package has them.
    events : the ledger's entries about these items, in order.

    >>> case_graph({}, [])["@graph"]
    []
    """
    records = {id: item["record"]["value"] | item.get("notes", {}).get("value", {}) for id, item in items.items()}
    actors = sorted({event["actor"] for event in events})
    tools = sorted({record["tool"] for record in records.values() if record["tool"]})
    graph = [_file(id, record) for id, record in records.items()]
    graph += [_provenance(id, record) for id, record in records.items()]
    graph += [
        {"@id": _id("Identity", actor), "@type": "uco-identity:Identity", "uco-core:name": actor} for actor in actors
    ]
    graph += [{"@id": _id("Tool", tool), "@type": "uco-tool:Tool", "uco-core:name": tool} for tool in tools]
    graph += [_action(event, records) for event in events]
    return {"@context": _CONTEXT, "@graph": graph}


def _file(id: str, record: Mapping[str, Any]) -> dict[str, Any]:
    hashes = [
        {
            "@id": _id("Hash", f"{id} {method}"),
            "@type": "uco-types:Hash",
            "uco-types:hashMethod": method,
            "uco-types:hashValue": {"@type": "xsd:hexBinary", "@value": record[method.lower()]},
        }
        for method in ("SHA256", "SHA512")
    ]
    return {
        "@id": _id("File", id),
        "@type": "uco-observable:File",
        "uco-core:tag": [record["kind"], *(tag for tag in record.get("tags", ()) if tag != record["kind"])],
        **({"uco-core:description": record["description"]} if record.get("description") else {}),
        "uco-core:hasFacet": [
            {
                "@id": _id("FileFacet", id),
                "@type": "uco-observable:FileFacet",
                "uco-observable:fileName": record.get("filename") or id,
                "uco-observable:filePath": f"data/objects/{id}",
                "uco-observable:sizeInBytes": {"@type": "xsd:integer", "@value": str(record["size"])},
            },
            {
                "@id": _id("ContentDataFacet", id),
                "@type": "uco-observable:ContentDataFacet",
                "uco-observable:mimeType": record.get("media_type", "application/octet-stream"),
                "uco-observable:hash": hashes,
            },
            *_picture_facets(id, record.get("metadata", {})),
        ],
    }


def _picture_facets(id: str, metadata: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return what a picture's header says, EXIF as one dictionary of text."""
    facets: list[dict[str, Any]] = []
    if "width" in metadata:
        facets.append(
            {
                "@id": _id("RasterPictureFacet", id),
                "@type": "uco-observable:RasterPictureFacet",
                "uco-observable:pictureType": metadata["format"],
                "uco-observable:pictureWidth": {"@type": "xsd:integer", "@value": str(metadata["width"])},
                "uco-observable:pictureHeight": {"@type": "xsd:integer", "@value": str(metadata["height"])},
            }
        )
    told = {f"{part}.{name}": value for part in ("exif", "gps") for name, value in metadata.get(part, {}).items()}
    if told:
        entries = [
            {
                "@id": _id("ControlledDictionaryEntry", f"{id} {name}"),
                "@type": "uco-types:ControlledDictionaryEntry",
                "uco-types:key": name,
                "uco-types:value": str(value),
            }
            for name, value in told.items()
        ]
        dictionary = {
            "@id": _id("ControlledDictionary", id),
            "@type": "uco-types:ControlledDictionary",
            "uco-types:entry": entries,
        }
        facets.append(
            {
                "@id": _id("EXIFFacet", id),
                "@type": "uco-observable:EXIFFacet",
                "uco-observable:exifData": [dictionary],
            }
        )
    return facets


def _provenance(id: str, record: Mapping[str, Any]) -> dict[str, Any]:
    node = {
        "@id": _id("ProvenanceRecord", id),
        "@type": "case-investigation:ProvenanceRecord",
        "uco-core:object": [{"@id": _id("File", id)}],
    }
    return node | ({"case-investigation:exhibitNumber": record["name"]} if record["name"] else {})


def _action(event: Mapping[str, Any], records: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    items = [id for id in event["items"] if id in records]
    node: dict[str, Any] = {
        "@id": _id("InvestigativeAction", str(event["index"])),
        "@type": "case-investigation:InvestigativeAction",
        "uco-core:name": event["event"],
        "uco-core:description": event["purpose"],
        "uco-action:startTime": {"@type": "xsd:dateTime", "@value": event["at"]},
        "uco-action:performer": {"@id": _id("Identity", event["actor"])},
    }
    if not event.get("parents"):
        return node | {"uco-action:object": [{"@id": _id("File", id)} for id in items]}
    tools = [records[id]["tool"] for id in items if records[id]["tool"]]
    node |= {
        "uco-action:object": [{"@id": _id("File", id)} for id in event["parents"]],
        "uco-action:result": [{"@id": _id("ProvenanceRecord", id)} for id in items],
    }
    return node | ({"uco-action:instrument": [{"@id": _id("Tool", tool)} for tool in tools]} if tools else {})


def _id(kind: str, name: str) -> str:
    """Return the same IRI for the same thing."""
    return f"kb:{kind}-{uuid.uuid5(uuid.NAMESPACE_URL, f'urn:crimeface:{kind}:{name}')}"
