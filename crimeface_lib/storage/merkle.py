"""The Merkle tree of RFC 6962: one hash for a whole log, short proofs about parts of it.

The functions need hashlib only, so that a verifier can use them without a store. ``MerkleTree`` keeps the hash of
every complete subtree: an append costs two hashes on average, a root or a proof costs O(log² n). ``Edge`` keeps
log n hashes, for reading through a log of any length.

References
----------
RFC 6962 §2.1 (hashes, audit paths, consistency proofs); RFC 9162 §2.1.3.2 and §2.1.4.2 (verification).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

from crimeface_lib.core.errors import InputError, IntegrityError

EMPTY_ROOT = hashlib.sha256(b"").digest()


def leaf_hash(data: bytes) -> bytes:
    """Return the hash of a leaf: SHA-256 of 0x00 and the data."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of a node: SHA-256 of 0x01, the left hash and the right hash."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def merkle_root(leaves: Iterable[bytes]) -> bytes:
    """Return the root over the data of all leaves.

    >>> merkle_root([]).hex()[:8], merkle_root([b""]).hex()[:8]
    ('e3b0c442', '6e340b9c')
    """
    edge = Edge()
    for leaf in leaves:
        edge.append(leaf_hash(leaf))
    return edge.root()


def verify_inclusion(leaf: bytes, *, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """Check that the data ``leaf`` is entry ``index`` of the tree of ``size`` leaves with this ``root``.

    Raises
    ------
    IntegrityError : it is not.
    """
    if not 0 <= index < size:
        raise IntegrityError(f"got entry {index} of a log of {size} entries")
    position, last, value = index, size - 1, leaf_hash(leaf)
    for sibling in proof:
        if last == 0:
            raise IntegrityError(f"entry {index}: the inclusion proof is longer than a log of {size} entries needs")
        if position & 1 or position == last:
            value = node_hash(sibling, value)
            while not position & 1 and position:
                position, last = position >> 1, last >> 1
        else:
            value = node_hash(value, sibling)
        position, last = position >> 1, last >> 1
    if last != 0 or value != root:
        raise IntegrityError(f"entry {index} is not what the log of {size} entries holds at that place")


def verify_consistency(
    *, old_size: int, new_size: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]
) -> None:
    """Check that the log of ``new_size`` entries begins with the very log of ``old_size`` entries.

    Raises
    ------
    IntegrityError : it does not: the log was rewritten, cut short or forked.
    """
    if not 0 <= old_size <= new_size:
        raise IntegrityError(f"the log has {new_size} entries where it had {old_size}: it was cut short")
    if old_size == new_size:
        if proof or old_root != new_root:
            raise IntegrityError(f"fork: two different logs of {new_size} entries")
        return
    wrong = IntegrityError(f"the log of {new_size} entries does not begin with the log of {old_size} entries")
    if old_size == 0:
        if proof or old_root != EMPTY_ROOT:
            raise wrong
        return
    path = list(proof) if old_size & (old_size - 1) else [old_root, *proof]
    if not path:
        raise wrong
    position, last = old_size - 1, new_size - 1
    while position & 1:
        position, last = position >> 1, last >> 1
    old = new = path[0]
    for sibling in path[1:]:
        if last == 0:
            raise wrong
        if position & 1 or position == last:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
            while not position & 1 and position:
                position, last = position >> 1, last >> 1
        else:
            new = node_hash(new, sibling)
        position, last = position >> 1, last >> 1
    if last != 0 or old != old_root or new != new_root:
        raise wrong


class Edge:
    """The right edge of a tree: log₂(n) hashes, enough to add leaves and to know the root, not for proofs."""

    def __init__(self, peaks: Iterable[tuple[int, bytes]] = ()) -> None:
        self._peaks = list(peaks)  # (number of leaves, hash) of the complete subtrees, from the left

    def __len__(self) -> int:
        return sum(width for width, _ in self._peaks)

    def append(self, leaf: bytes) -> None:
        """Add the hash of one leaf."""
        width, value = 1, leaf
        while self._peaks and self._peaks[-1][0] == width:
            value = node_hash(self._peaks.pop()[1], value)
            width *= 2
        self._peaks.append((width, value))

    def root(self) -> bytes:
        """Return the root over all leaves."""
        if not self._peaks:
            return EMPTY_ROOT
        value = self._peaks[-1][1]
        for _, left in reversed(self._peaks[:-1]):
            value = node_hash(left, value)
        return value


class MerkleTree:
    """A tree that grows at its right edge; leaves are given as hashes.

    >>> tree = MerkleTree()
    >>> for data in (b"a", b"b", b"c"):
    ...     tree.append(leaf_hash(data))
    >>> proof = tree.inclusion_proof(2)
    >>> verify_inclusion(b"c", index=2, size=3, proof=proof, root=tree.root())
    """

    def __init__(self) -> None:
        self._levels: list[bytearray] = [bytearray()]  # level k: hashes of complete subtrees of 2**k leaves

    def __len__(self) -> int:
        return len(self._levels[0]) // 32

    def append(self, leaf: bytes) -> None:
        """Add the hash of one leaf."""
        value = leaf
        for k in range(len(self).bit_length() + 1):
            if k == len(self._levels):
                self._levels.append(bytearray())
            self._levels[k] += value
            count = len(self._levels[k]) // 32
            if count % 2:
                return
            value = node_hash(self._at(k, count - 2), value)

    def edge(self) -> Edge:
        """Return a copy of the right edge, to which leaves may be added on trial."""
        count = len(self)
        widths = (k for k in reversed(range(count.bit_length())) if count >> k & 1)
        return Edge((1 << k, self._at(k, (count >> k) - 1)) for k in widths)

    def root(self, size: int | None = None) -> bytes:
        """Return the root over the first ``size`` leaves, all by default."""
        size = self._checked(size)
        return self._subtree(0, size) if size else EMPTY_ROOT

    def inclusion_proof(self, index: int, size: int | None = None) -> list[bytes]:
        """Return the audit path of leaf ``index`` in the tree of the first ``size`` leaves."""
        size = self._checked(size)
        if not 0 <= index < size:
            raise InputError(f"got entry {index}, expected 0 to {size - 1}")
        low, high, path = 0, size, []
        while high - low > 1:
            middle = low + _split(high - low)
            if index < middle:
                path.append(self._subtree(middle, high))
                high = middle
            else:
                path.append(self._subtree(low, middle))
                low = middle
        return path[::-1]

    def consistency_proof(self, old: int, new: int | None = None) -> list[bytes]:
        """Return the proof that the tree of ``new`` leaves begins with that of ``old`` leaves."""
        new = self._checked(new)
        if not 0 <= old <= new:
            raise InputError(f"got an old size of {old}, expected 0 to {new}")
        if old in (0, new):
            return []
        low, high, path = 0, new, []
        while high != old:
            middle = low + _split(high - low)
            if old <= middle:
                path.append(self._subtree(middle, high))
                high = middle
            else:
                path.append(self._subtree(low, middle))
                low = middle
        if low:  # else the old root itself, which the verifier has
            path.append(self._subtree(low, high))
        return path[::-1]

    def _checked(self, size: int | None) -> int:
        size = len(self) if size is None else size
        if not 0 <= size <= len(self):
            raise InputError(f"got a size of {size}, expected 0 to {len(self)}")
        return size

    def _subtree(self, low: int, high: int) -> bytes:
        width = high - low
        if width & (width - 1) == 0:
            k = width.bit_length() - 1
            return self._at(k, low >> k)
        middle = low + _split(width)
        return node_hash(self._subtree(low, middle), self._subtree(middle, high))

    def _at(self, level: int, index: int) -> bytes:
        return bytes(self._levels[level][32 * index : 32 * index + 32])


def _split(width: int) -> int:
    """Return the largest power of two below ``width``."""
    return 1 << ((width - 1).bit_length() - 1)
