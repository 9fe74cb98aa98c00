"""RFC 6962 hashing against the published vectors of the Certificate Transparency reference tree."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crimeface_lib.core.errors import InputError, IntegrityError
from crimeface_lib.storage.merkle import (
    MerkleTree,
    leaf_hash,
    merkle_root,
    node_hash,
    verify_consistency,
    verify_inclusion,
)

LEAVES = [
    bytes.fromhex(text)
    for text in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
]
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
INCLUSION = {
    (0, 8): [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
    (5, 8): [
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
}
CONSISTENCY = {
    (1, 1): [],
    (1, 8): [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
    (6, 8): [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 5): [
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
}


def grown(leaves: list[bytes]) -> MerkleTree:
    tree = MerkleTree()
    for leaf in leaves:
        tree.append(leaf_hash(leaf))
    return tree


def by_definition(leaves: list[bytes]) -> bytes:
    """MTH as RFC 6962 §2.1 words it, with no shared code but hashlib."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\x00" + leaves[0]).digest()
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return hashlib.sha256(b"\x01" + by_definition(leaves[:k]) + by_definition(leaves[k:])).digest()


@pytest.mark.parametrize("size", range(9))
def test_published_roots(size: int) -> None:
    assert merkle_root(LEAVES[:size]).hex() == ROOTS[size]
    assert grown(LEAVES).root(size).hex() == ROOTS[size]


@pytest.mark.parametrize(("index", "size"), INCLUSION)
def test_published_inclusion_proofs(index: int, size: int) -> None:
    assert [step.hex() for step in grown(LEAVES).inclusion_proof(index, size)] == INCLUSION[index, size]


@pytest.mark.parametrize(("old", "new"), CONSISTENCY)
def test_published_consistency_proofs(old: int, new: int) -> None:
    assert [step.hex() for step in grown(LEAVES).consistency_proof(old, new)] == CONSISTENCY[old, new]


def test_every_proof_of_small_trees_verifies_and_no_altered_one_does() -> None:
    leaves = [str(i).encode() for i in range(20)]
    tree = grown(leaves)
    roots = [by_definition(leaves[:size]) for size in range(21)]
    for size in range(1, 21):
        assert tree.root(size) == roots[size]
        for index in range(size):
            proof = tree.inclusion_proof(index, size)
            verify_inclusion(leaves[index], index=index, size=size, proof=proof, root=roots[size])
            for wrong in (proof + [bytes(32)], proof[:-1], [bytes(32)] * len(proof)):
                if wrong != proof:
                    with pytest.raises(IntegrityError):
                        verify_inclusion(leaves[index], index=index, size=size, proof=wrong, root=roots[size])
            with pytest.raises(IntegrityError):
                verify_inclusion(b"other", index=index, size=size, proof=proof, root=roots[size])
        for old in range(size + 1):
            proof = tree.consistency_proof(old, size)
            sizes = {"old_size": old, "new_size": size}
            verify_consistency(**sizes, old_root=roots[old], new_root=roots[size], proof=proof)
            for wrong in (proof + [bytes(32)], proof[:-1], [bytes(32)] * len(proof)):
                if wrong != proof:
                    with pytest.raises(IntegrityError):
                        verify_consistency(**sizes, old_root=roots[old], new_root=roots[size], proof=wrong)
            with pytest.raises(IntegrityError):
                verify_consistency(**sizes, old_root=bytes(32), new_root=roots[size], proof=proof)


@given(st.lists(st.binary(max_size=8), max_size=70))
def test_the_grown_tree_is_the_defined_one(leaves: list[bytes]) -> None:
    tree = grown(leaves)
    assert merkle_root(leaves) == by_definition(leaves) == tree.root() == tree.edge().root()
    edge = tree.edge()
    edge.append(leaf_hash(b"more"))
    assert (len(edge), len(tree)) == (len(leaves) + 1, len(leaves))
    assert edge.root() == by_definition([*leaves, b"more"])


def test_a_leaf_is_never_a_node() -> None:
    left, right = leaf_hash(b"a"), leaf_hash(b"b")
    assert leaf_hash(left + right) != node_hash(left, right)


def test_sizes_and_indices_out_of_range_are_refused() -> None:
    tree = grown(LEAVES)
    for call in (
        lambda: tree.root(9),
        lambda: tree.inclusion_proof(8),
        lambda: tree.consistency_proof(5, 4),
        lambda: tree.consistency_proof(-1),
    ):
        with pytest.raises(InputError):
            call()
    with pytest.raises(IntegrityError, match="cut short"):
        verify_consistency(old_size=8, new_size=7, old_root=b"", new_root=b"", proof=[])
