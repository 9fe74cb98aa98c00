"""Evidence with its chain of custody, packages that prove themselves, and the verifier that trusts neither."""

from __future__ import annotations

from crimeface_lib.evidence.intake import EvidenceStore
from crimeface_lib.evidence.items import CustodyRecord, EvidenceItem, EvidenceReport, ItemList
from crimeface_lib.evidence.verify import PackageReport, verify_package

__all__ = [
    "CustodyRecord",
    "EvidenceItem",
    "EvidenceReport",
    "EvidenceStore",
    "ItemList",
    "PackageReport",
    "verify_package",
]
