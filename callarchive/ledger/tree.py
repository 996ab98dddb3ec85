"""The Merkle tree of RFC 6962: leaf and node hashes, roots of a growing tree, inclusion proofs."""

import hashlib
from collections.abc import Iterable, Sequence
from itertools import islice

EMPTY_ROOT = hashlib.sha256(b"").digest()


def leaf_hash(entry: bytes) -> bytes:
    """Return the hash of an entry: SHA-256 of a zero byte and the entry."""
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of a node: SHA-256 of a one byte and the hashes of both children."""
    return hashlib.sha256(b"\x01" + left + right).digest()


class Frontier:
    """The roots of the complete subtrees of a tree, largest first: all that is needed to append to it and to hash it."""

    def __init__(self, size: int = 0, hashes: Iterable[bytes] = ()) -> None:
        self.size = size
        self.hashes = list(hashes)
        if size < 0 or len(self.hashes) != size.bit_count():
            raise ValueError(
                f"a tree of {size} entries has {size.bit_count()} complete subtrees, not {len(self.hashes)}"
            )

    def copy(self) -> "Frontier":
        """Return a frontier that grows on its own."""
        return Frontier(self.size, self.hashes)

    def append(self, leaf: bytes) -> None:
        """Add the hash of the next entry."""
        size, hashes = self.size, self.hashes
        while size & 1:
            leaf = hashlib.sha256(b"\x01" + hashes.pop() + leaf).digest()
            size >>= 1
        hashes.append(leaf)
        self.size += 1

    def root(self) -> bytes:
        """Return the root hash of the tree."""
        if not self.hashes:
            return EMPTY_ROOT
        root = self.hashes[-1]
        for left in reversed(self.hashes[:-1]):
            root = node_hash(left, root)
        return root


def root_of(leaves: Sequence[bytes]) -> bytes:
    """Return the root hash of the tree with these leaf hashes."""
    frontier = Frontier()
    for leaf in leaves:
        frontier.append(leaf)
    return frontier.root()


def proof_ranges(index: int, size: int) -> list[range]:
    """Return the entries below each hash of an inclusion proof, lowest hash first. Raises IndexError."""
    if not 0 <= index < size:
        raise IndexError(f"the tree has no entry {index}: it has {size}")
    ranges, first, last = [], 0, size
    while last - first > 1:
        split = first + (1 << ((last - first - 1).bit_length() - 1))
        if index < split:
            ranges.append(range(split, last))
            last = split
        else:
            ranges.append(range(first, split))
            first = split
    return ranges[::-1]


def inclusion_proof(leaves: Iterable[bytes], index: int, size: int) -> list[bytes]:
    """Return the hashes that lead from the leaf at `index` to the root of the first `size` leaves, lowest first.

    Raises IndexError if there is no leaf with this index.
    """
    proof = {part: Frontier() for part in proof_ranges(index, size)}
    rest = iter(leaves)
    for part in sorted([*proof, range(index, index + 1)], key=lambda part: part.start):
        for leaf in islice(rest, len(part)):
            if part in proof:
                proof[part].append(leaf)
    return [tree.root() for tree in proof.values()]


def proven_root(leaf: bytes, index: int, size: int, proof: Sequence[bytes]) -> bytes:
    """Return the root hash to which an inclusion proof leads (RFC 9162, section 2.1.3.2).

    Raises ValueError if the proof has the wrong number of hashes for the index and the size.
    """
    if not 0 <= index < size:
        raise ValueError(f"a tree of {size} entries has no entry {index}")
    node, last, root = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            raise ValueError("the proof is too long")
        if node & 1 or node == last:
            root = node_hash(sibling, root)
            while not node & 1 and node:
                node >>= 1
                last >>= 1
        else:
            root = node_hash(root, sibling)
        node >>= 1
        last >>= 1
    if last:
        raise ValueError("the proof is too short")
    return root
