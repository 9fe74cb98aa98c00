"""Where things are kept: documents, encrypted blobs, the tamper-evident ledger, and the keys to them."""

from __future__ import annotations

from crimeface_lib.storage.checkpoint import Checkpoint
from crimeface_lib.storage.documents import DocumentStore, TinyDocuments, open_documents
from crimeface_lib.storage.keys import KeyRing
from crimeface_lib.storage.ledger import Ledger, LedgerReport
from crimeface_lib.storage.vault import StoredObject, Vault

__all__ = [
    "Checkpoint",
    "DocumentStore",
    "KeyRing",
    "Ledger",
    "LedgerReport",
    "StoredObject",
    "TinyDocuments",
    "Vault",
    "open_documents",
]
