"""The verifier's Merkle code against the store's: written apart, they have to agree on every tree and every forgery."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from crimeface_lib.core.errors import IntegrityError
from crimeface_lib.evidence.proofs import Head, check_consistency, check_inclusion, read_head
from crimeface_lib.storage import Checkpoint
from crimeface_lib.storage.merkle import MerkleTree, leaf_hash, merkle_root


def head(size: int, root: bytes) -> Head:
    return Head("log", size, root, "", "")


@pytest.mark.parametrize("size", [*range(1, 18), 33, 64])
def test_both_agree(size: int) -> None:
    leaves = [b"%d" % n for n in range(size)]
    tree = MerkleTree()
    for leaf in leaves:
        tree.append(leaf_hash(leaf))
    now = head(size, tree.root())
    for index, leaf in enumerate(leaves):
        proof = tree.inclusion_proof(index)
        assert check_inclusion(leaf, index=index, head=now, proof=proof)
        assert not check_inclusion(leaf + b"x", index=index, head=now, proof=proof)
        assert not check_inclusion(leaf, index=index + 1, head=now, proof=proof)
        assert not check_inclusion(leaf, index=index, head=now, proof=[*proof, bytes(32)])
        assert not proof or not check_inclusion(leaf, index=index, head=now, proof=proof[:-1])
    for old in range(size + 1):
        proof, root = tree.consistency_proof(old), merkle_root(leaves[:old])
        assert check_consistency(old, root, head=now, proof=proof)
        assert not check_consistency(old, bytes(32), head=now, proof=proof)
        assert not check_consistency(old, root, head=now, proof=[*proof, bytes(32)])
        assert not proof or not check_consistency(old, root, head=now, proof=proof[:-1])
    assert not check_consistency(size + 1, now.root, head=now, proof=[])
    assert not check_consistency(-1, now.root, head=now, proof=[])


def test_a_head_is_a_signed_checkpoint() -> None:
    key = Ed25519PrivateKey.generate()
    signed = Checkpoint.sign(
        origin="log", size=3, root=bytes(32), at=datetime(2026, 1, 1, tzinfo=UTC), key=key
    ).to_dict()
    found = read_head(signed, name="x")
    assert (found.size, found.root, found.pem.splitlines()[0]) == (3, bytes(32), b"-----BEGIN PUBLIC KEY-----")
    for change in ({"size": 4}, {"size": "3"}, {"root": "11" * 32}, {"more": 1}, {"signature": "zz"}, {"key": "00"}):
        with pytest.raises(IntegrityError, match="x: "):
            read_head(signed | change, name="x")
    for junk in (None, [], "text", {}):
        with pytest.raises(IntegrityError, match="is not a checkpoint"):
            read_head(junk, name="x")
